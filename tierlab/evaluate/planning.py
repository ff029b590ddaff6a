"""How many examples before the run: for a margin, for a difference, for an interval of a given width."""

import math

import numpy as np

from tierlab.evaluate.intervals import paired_sample_size, tango_interval


def required_examples(
    *, margin=None, difference=0.0, discordant=None, sd=None, power=0.8, alpha=0.05
):
    """How many examples, each answered by both models, decide a comparison.

    Parameters
    ----------
    margin : float, optional
        To show that the candidate is not worse by more than this, 0-1 (0.05 is five points). Without it: to
        show the `difference`, two-sided (`tierlab.paired_sample_size`).
    difference : float
        True mean difference that is assumed, candidate minus reference.
    discordant : float, optional
        For right-or-wrong scores: share of examples, 0-1, on which exactly one of the two is right.
    sd : float, optional
        For any score: standard deviation of the differences per example. Give one of the two.
    power : float
        Probability of the right decision when the assumptions hold.
    alpha : float
        Level: one-sided with a margin, two-sided without.

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
    from scipy.stats import norm

    if margin is None:
        return paired_sample_size(
            difference, discordant=discordant, sd=sd, power=power, alpha=alpha
        )
    _checked(margin=margin, power=power, alpha=alpha)
    _one_spread(discordant, sd, difference)
    if not difference > -margin:
        raise ValueError(
            f"difference={difference!r}: a model that is worse by the margin of {margin!r} or more cannot be shown not to be"
        )
    level, reach = norm.ppf(1 - alpha), norm.ppf(power)
    at_margin, assumed = (
        (sd**2, sd**2) if sd is not None else _variances(margin, difference, discordant)
    )
    n = ((level * math.sqrt(at_margin) + reach * math.sqrt(assumed)) / (margin + difference)) ** 2
    return max(1, math.ceil(n))


def achievable_margin(n, *, discordant=None, sd=None, difference=0.0, power=0.8, alpha=0.05):
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

    whole("n", n)
    settings = {
        "discordant": discordant,
        "sd": sd,
        "difference": difference,
        "power": power,
        "alpha": alpha,
    }

    def missing(margin):
        return required_examples(margin=margin, **settings) - n - 0.5

    low, high = max(0.0, -difference) + 1e-6, 1 - 1e-6
    if missing(high) > 0:
        return math.nan
    return brentq(missing, low, high, xtol=1e-9) if missing(low) > 0 else low


def noninferiority_power(n, margin, *, discordant, difference=0.0, alpha=0.05):
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

    whole("n", n)
    _checked(margin=margin, alpha=alpha)
    _one_spread(discordant, None, difference)
    counts = np.arange(n + 1)
    weights = binom.pmf(counts, n, discordant)
    gain = (1 + difference / discordant) / 2 if discordant else 0.5
    found = 0.0
    for pairs in counts[weights > 1e-12]:
        found += weights[pairs] * binom.sf(
            _needed_wins(int(pairs), n, margin, alpha) - 1, pairs, gain
        )
    return float(found)


def interval_half_width(n, *, rate=None, discordant=None, confidence=0.95):
    """Half the width of the interval to be expected at `n` examples.

    Parameters
    ----------
    n : int
    rate : float, optional
        Of one model's pass rate: the rate, 0-1 (Wilson).
    discordant : float, optional
        Of the difference of two equally good models: the share on which they differ, 0-1 (Tango, at the nearest
        whole numbers). Give one of the two.
    confidence : float

    Returns
    -------
    float

    Examples
    --------
    >>> [round(100 * interval_half_width(n, rate=0.8), 1) for n in (50, 80, 100, 400)]
    [10.9, 8.7, 7.8, 3.9]
    """
    from statsmodels.stats.proportion import proportion_confint

    whole("n", n)
    _checked(confidence=confidence)
    if (rate is None) == (discordant is None):
        raise ValueError("give one of rate and discordant")
    share = rate if discordant is None else discordant
    if not 0 <= share <= 1:
        raise ValueError(
            f"{'rate' if discordant is None else 'discordant'}={share!r}; a share from 0 to 1 is needed"
        )
    if rate is not None:
        low, high = proportion_confint(rate * n, n, alpha=1 - confidence, method="wilson")
    else:
        pairs = round(discordant * n)
        low, high = tango_interval(pairs - pairs // 2, pairs // 2, n, confidence=confidence)
    return float(high - low) / 2


def whole(name, value):
    """Refuse what is no count from 1 up."""
    if value < 1 or value != int(value):
        raise ValueError(f"{name}={value!r}; a whole number from 1 up is needed")


def _variances(margin, difference, discordant):
    """Variance of one example's difference under the margin (restricted likelihood) and as assumed."""
    loss = (discordant - difference) / 2
    slope = discordant + (2 - difference) * margin
    restricted = (slope + math.sqrt(max(0.0, slope**2 - 8 * loss * margin * (1 + margin)))) / 4
    return 2 * restricted - margin * (1 + margin), discordant - difference**2


def _needed_wins(pairs, n, margin, alpha):
    """Fewest wins among the discordant pairs with which the one-sided bound lies above the margin; pairs + 1 if none."""
    low, high = 0, pairs + 1
    while low < high:
        wins = (low + high) // 2
        above = tango_interval(wins, pairs - wins, n, confidence=1 - 2 * alpha)[0] > -margin
        low, high = (low, wins) if above else (wins + 1, high)
    return low


def _checked(**shares):
    for name, value in shares.items():
        if not 0 < value < 1:
            raise ValueError(f"{name}={value!r}; a share between 0 and 1 is needed")


def _one_spread(discordant, sd, difference):
    if (discordant is None) == (sd is None):
        raise ValueError("give one of discordant and sd")
    if sd is not None and not (np.isfinite(sd) and sd > 0):
        raise ValueError(f"sd={sd!r}; a standard deviation above 0 is needed")
    if discordant is not None and not abs(difference) <= discordant <= 1:
        raise ValueError(
            f"discordant={discordant!r}; a share from {abs(difference)!r} (the difference) to 1 is needed"
        )
