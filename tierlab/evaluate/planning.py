"""How many examples before the run: for a margin and for a difference."""

import math
from bisect import bisect_left
from statistics import NormalDist

import numpy as np

from tierlab.core.vocabulary import needs
from tierlab.evaluate.intervals import SHARE, tango_interval

_QUANTILE = NormalDist().inv_cdf


def required_examples(
    *,
    margin: float,
    difference: float = 0.0,
    discordant: float | None = None,
    sd: float | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
) -> int:
    """How many examples, each answered by both models, show that a model is not worse by more than a margin.

    Parameters
    ----------
    margin : float
        To show that the candidate is not worse by more than this, 0-1 (0.05 is five points). To show a difference,
        see `tierlab.paired_sample_size`.
    difference : float
        True mean difference that is assumed, candidate minus reference.
    discordant : float, optional
        For right-or-wrong scores: share of examples, 0-1, on which exactly one of the two is right.
    sd : float, optional
        For any score: standard deviation of the differences per example. Give one of the two.
    power : float
        Probability of the right decision when the assumptions hold.
    alpha : float
        One-sided level.

    Returns
    -------
    int

    Notes
    -----
    With `discordant`: Nam, Biometrics 53 (1997) 1422-1430, for the score test that `tierlab.compare` uses:
    n = (z_a sqrt(v0) + z_b sqrt(v1))^2 / (margin + difference)^2, v0 and v1 the variances at the margin and at the
    assumption. With `sd`: v0 = v1 = sd^2. `noninferiority_power` gives the exact power at an n.

    Examples
    --------
    Two equally good models that disagree on 10% of the examples: 50-100 examples settle ten points and not five.

    >>> required_examples(margin=0.10, discordant=0.10), required_examples(margin=0.05, discordant=0.10)
    (81, 274)
    """
    needs("margin", margin, 0 < margin < 1, SHARE)
    assumed = _assumed(discordant, sd, difference, power=power, alpha=alpha)
    if not difference > -margin:
        raise ValueError(
            f"difference={difference!r}: a model that is worse by the margin of {margin!r} or more cannot be shown not to be"
        )
    at_margin = assumed if sd is not None else _variance_at(margin, difference, discordant)
    level, reach = _QUANTILE(1 - alpha), _QUANTILE(power)
    n = ((level * math.sqrt(at_margin) + reach * math.sqrt(assumed)) / (margin + difference)) ** 2
    return max(1, math.ceil(n))


def paired_sample_size(
    difference: float,
    *,
    discordant: float | None = None,
    sd: float | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
) -> int:
    """How many examples, each answered by both models, show a difference in mean score.

    Parameters
    ----------
    difference : float
        Difference in mean score to be shown, 0-1 (0.05 is five points).
    discordant : float, optional
        For right-or-wrong scores: share of examples, 0-1, on which exactly one of the two is right.
    sd : float, optional
        For any score: standard deviation of the per-prompt differences. Give one of the two.
    power : float
        Probability of finding the difference when it is there.
    alpha : float
        Two-sided level of the test.

    Returns
    -------
    int

    Notes
    -----
    With `discordant`, Connor, Biometrics 43 (1987) 207-211 for McNemar's test:
    n = (z_a sqrt(p) + z_b sqrt(p - d^2))^2 / d^2. With `sd`, n = ((z_a + z_b) sd / d)^2.

    Examples
    --------
    Five points at 15% discordant examples, the case behind "collect 50-100 examples":

    >>> paired_sample_size(0.05, discordant=0.15)
    469
    """
    gap = abs(difference)
    needs("difference", difference, 0 < gap <= 1, "a difference in score above 0 and up to 1")
    variance = _assumed(discordant, sd, difference, power=power, alpha=alpha)
    reach = _QUANTILE(1 - alpha / 2) * math.sqrt(discordant if sd is None else variance)
    return math.ceil(((reach + _QUANTILE(power) * math.sqrt(variance)) / gap) ** 2)


def achievable_margin(
    n: int,
    *,
    discordant: float | None = None,
    sd: float | None = None,
    difference: float = 0.0,
    power: float = 0.8,
    alpha: float = 0.05,
) -> float:
    """The smallest margin that `n` examples can settle: the inverse of `required_examples`.

    Parameters
    ----------
    n : int
        Examples, each answered by both models.
    discordant, sd, difference, power, alpha
        As for `required_examples`.

    Returns
    -------
    float
        Margin, 0-1; NaN if no margin below 1 can be settled.

    Examples
    --------
    >>> [round(achievable_margin(n, discordant=0.10), 3) for n in (50, 100, 400)]
    [0.133, 0.088, 0.041]
    """
    from scipy.optimize import brentq

    needs("n", n, n >= 1 and n == int(n), "a whole number from 1 up")

    def missing(margin):
        needed = required_examples(
            margin=margin,
            difference=difference,
            discordant=discordant,
            sd=sd,
            power=power,
            alpha=alpha,
        )
        return needed - n - 0.5

    low, high = max(0.0, -difference) + 1e-6, 1 - 1e-6
    if missing(high) > 0:
        return math.nan
    return brentq(missing, low, high, xtol=1e-9) if missing(low) > 0 else low


def noninferiority_power(
    n: int, margin: float, *, discordant: float, difference: float = 0.0, alpha: float = 0.05
) -> float:
    """Probability that `n` right-or-wrong examples show "not worse by more than the margin", by enumeration.

    Parameters
    ----------
    n : int
    margin, discordant, difference, alpha : float
        As for `required_examples`. With ``difference=-margin`` it is the probability of the wrong decision.

    Returns
    -------
    float

    Notes
    -----
    Sums the multinomial probabilities of all outcomes whose Tango bound lies above the margin. The paired t bound
    would decide more often (0.48 for 0.44 at n = 100 below), and wrongly more often than `alpha`.

    Examples
    --------
    >>> [round(noninferiority_power(n, 0.05, discordant=0.10), 2) for n in (50, 100, 200)]
    [0.24, 0.44, 0.69]
    """
    from scipy.stats import binom

    needs("n", n, n >= 1 and n == int(n), "a whole number from 1 up")
    needs("margin", margin, 0 < margin < 1, SHARE)
    _assumed(discordant, None, difference, alpha=alpha)
    counts = np.arange(n + 1)
    weights = binom.pmf(counts, n, discordant)
    gain = (1 + difference / discordant) / 2 if discordant else 0.5
    found = 0.0
    for pairs in counts[weights > 1e-12]:
        found += weights[pairs] * binom.sf(
            _needed_wins(int(pairs), n, margin, alpha) - 1, pairs, gain
        )
    return float(found)


def _variance_at(margin, difference, discordant):
    """Variance of one example's difference under the margin (restricted likelihood)."""
    loss = (discordant - difference) / 2
    slope = discordant + (2 - difference) * margin
    restricted = (slope + math.sqrt(max(0.0, slope**2 - 8 * loss * margin * (1 + margin)))) / 4
    return 2 * restricted - margin * (1 + margin)


def _assumed(discordant, sd, difference, **shares):
    """Variance of one example's difference as assumed, once all that is assumed has been checked."""
    for name, value in shares.items():
        needs(name, value, 0 < value < 1, SHARE)
    if (discordant is None) == (sd is None):
        raise ValueError("give one of discordant and sd")
    if sd is not None:
        needs("sd", sd, 0 < sd < math.inf, "a standard deviation above 0")
        return sd**2
    gap = abs(difference)
    needs(
        "discordant",
        discordant,
        gap <= discordant <= 1,
        f"a share from {gap!r} (the difference) to 1",
    )
    return discordant - difference**2


def _needed_wins(pairs, n, margin, alpha):
    """Fewest wins among the discordant pairs with which the one-sided bound lies above the margin; pairs + 1 if none."""

    def above(wins):
        return tango_interval(wins, pairs - wins, n, confidence=1 - 2 * alpha)[0] > -margin

    return bisect_left(range(pairs + 1), True, key=above)
