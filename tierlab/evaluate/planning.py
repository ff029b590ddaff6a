"""How many examples a decision takes: planned before the run, or decided while it goes on."""

import math
from bisect import bisect_left
from statistics import NormalDist

import numpy as np
import pandas as pd

from tierlab.core.vocabulary import is_whole, known, needs
from tierlab.evaluate.intervals import SHARE, tango_interval
from tierlab.evaluate.rows import paired, scored_rows

BETS = 200  # evenly spread over all admissible bets
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
    """Return how many examples show that a model is not worse than another by more than a margin.

    Parameters
    ----------
    margin : float
        How much worse the candidate may be, 0-1 (0.05 is five points). To show a difference instead, use
        `tierlab.paired_sample_size`.
    difference : float
        Assumed true mean difference, candidate minus reference.
    discordant : float, optional
        For right-or-wrong scores: share of examples, 0-1, on which exactly one of the two models is right.
    sd : float, optional
        For any score: standard deviation of the differences per example. Give either this or `discordant`.
    power : float
        Probability of the right decision when the assumptions hold, 0-1.
    alpha : float
        One-sided level, 0-1.

    Returns
    -------
    int
        Examples, each answered by both models.

    Raises
    ------
    ValueError
        If a number is out of its range, or the assumed difference is at or below minus the margin.

    Notes
    -----
    With `discordant`: Nam, Biometrics 53 (1997) 1422-1430, for the score test that `tierlab.compare` uses:
    n = (z_a sqrt(v0) + z_b sqrt(v1))^2 / (margin + difference)^2, where v0 and v1 are the variances at the margin and
    at the assumption. With `sd`: v0 = v1 = sd^2. `noninferiority_power` gives the exact power at an n.

    Examples
    --------
    Two equally good models disagree on 10% of the examples: 50-100 examples settle ten points, but not five.

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
    """Return how many examples show a difference in mean score between two models.

    Parameters
    ----------
    difference : float
        Difference in mean score to be shown, 0-1 (0.05 is five points).
    discordant, sd
        As for `required_examples`; give either of the two.
    power : float
        Probability of finding the difference when it is there, 0-1.
    alpha : float
        Two-sided level of the test, 0-1.

    Returns
    -------
    int
        Examples, each answered by both models.

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
    """Return the smallest margin that `n` examples can settle: the inverse of `required_examples`.

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

    needs("n", n, is_whole(n, 1), "a whole number from 1 up")

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
    """Return the probability that `n` right-or-wrong examples show "not worse by more than the margin".

    Parameters
    ----------
    n : int
        Examples, each answered by both models.
    margin, discordant, difference, alpha : float
        As for `required_examples`. With ``difference=-margin`` the result is the probability of the wrong decision.

    Returns
    -------
    float
        Probability, 0-1.

    Notes
    -----
    Sums the multinomial probabilities of all outcomes whose Tango bound lies above the margin. The paired t bound
    would decide more often (0.48 for 0.44 at n = 100 below), but would be wrong more often than `alpha`.

    Examples
    --------
    >>> [round(noninferiority_power(n, 0.05, discordant=0.10), 2) for n in (50, 100, 200)]
    [0.24, 0.44, 0.69]
    """
    from scipy.stats import binom

    needs("n", n, is_whole(n, 1), "a whole number from 1 up")
    needs("margin", margin, 0 < margin < 1, SHARE)
    _assumed(discordant, None, difference, alpha=alpha)
    counts = np.arange(n + 1)
    weights = binom.pmf(counts, n, discordant)
    gain = (1 + difference / discordant) / 2 if discordant else 0.5
    return float(
        sum(
            weights[pairs] * binom.sf(_needed_wins(int(pairs), n, margin, alpha) - 1, pairs, gain)
            for pairs in counts[weights > 1e-12]
        )
    )


def sequential_test(
    samples: pd.DataFrame,
    *,
    candidate: str,
    reference: str,
    margin: float | None = None,
    alpha: float = 0.05,
    truncated: str = "set_aside",
) -> pd.DataFrame:
    """Test a candidate against a reference after every example, so that a run can stop as soon as it is decided.

    Whoever repeats McNemar's test until it says "different" finds a difference between equal models far more often
    than the 5% it promises. This test may be read after every example, and the run stopped at any of them.

    Parameters
    ----------
    samples : DataFrame
        From `tierlab.sample`, in the order in which the examples were drawn. Repeats are averaged, and the examples
        of a group make one step.
    candidate, reference : str
        Model ids.
    margin : float, optional
        Tests for "not worse by more than this" and for "worse" by more, 0-1. Without it: for any difference.
    alpha : float
        Probability of a wrong finding at any time, 0-1; with a margin, of each of the two findings.
    truncated : {"set_aside", "wrong"}
        Whether an answer cut off by length has no score or a score of 0.

    Returns
    -------
    DataFrame
        A row per step, numbered from 1: difference (mean so far), evidence (e-value; with a margin one per finding:
        evidence_not_worse and evidence_worse) and finding, which is "cannot tell" until an e-value reaches 1/alpha
        and does not change after that.

    Raises
    ------
    ValueError
        If a model is not in the table, or margin or alpha is not a share between 0 and 1.

    Notes
    -----
    Testing by betting (Waudby-Smith & Ramdas, JRSS B 86 (2024) 1-27): a stake grows by 1 + bet (difference + margin)
    at each step, so that it is a supermartingale while the margin is exceeded; the evidence is its mean over bets
    spread evenly. By Ville's inequality (1939) it ever reaches 1/alpha with probability alpha at most, for any n and
    any score in 0-1. Without a margin and with right-or-wrong scores it is Robbins' (1970) mixture for the sign test
    on the examples on which exactly one model is right. Looking has its price: the test needs more examples than one
    of planned size.

    Examples
    --------
    The eighth loss in a row decides (half of 2^9 / 9 is above 20), here on the eleventh example:

    >>> rows = {"prompt_id": [*range(30)] * 2, "model_id": ["a"] * 30 + ["b"] * 30, "score": [0] * 30 + [1, 1, 0] * 10}
    >>> steps = sequential_test(pd.DataFrame(rows), candidate="a", reference="b")
    >>> int((steps["finding"] == "cannot tell").sum()), steps["finding"].iloc[-1]
    (10, 'different')
    """
    needs("alpha", alpha, 0 < alpha < 1, SHARE)
    rows = scored_rows(samples, truncated=truncated)
    models = rows["model_id"].unique()
    for name in (candidate, reference):
        known("model", name, models)
    pair = paired(rows, candidate, reference)
    steps = pd.Series(pair.differences).groupby(pair.clusters, sort=False).mean().to_numpy(float)
    found = betting_evidence(steps, margin=margin)
    table = pd.DataFrame(found, index=pd.RangeIndex(1, len(steps) + 1, name="examples"))
    # The first finding whose evidence is enough stands from that step on.
    enough = table.ge(1 / alpha)
    finding = enough.idxmax(axis="columns").where(enough.any(axis="columns")).ffill()
    finding = finding.where(finding.isna(), finding.dropna().iloc[:1].squeeze())
    names = {name: f"evidence_{name.replace(' ', '_')}" for name in found}
    table = table.rename(columns={"different": "evidence"} if margin is None else names)
    table.insert(0, "difference", np.cumsum(steps) / table.index)
    return table.assign(finding=finding.fillna("cannot tell").astype(object))


def betting_evidence(differences, *, margin=None):
    """Return the e-values of `sequential_test` along the last axis.

    Parameters
    ----------
    differences : array_like of float
        Candidate's score minus reference's, -1 to 1, in the order in which they came.
    margin : float, optional
        As for `sequential_test`, 0-1.

    Returns
    -------
    dict of str to ndarray
        Finding to evidence, of the shape of `differences`: "different" without a margin; "not worse" and "worse" with
        one.

    Examples
    --------
    Five wins, no loss: the mean of (1 + bet)^5 and (1 - bet)^5 over bets from 0 to 1 is 63/6 and 1/6, half of each:

    >>> betting_evidence([1, 1, 1, 1, 1])["different"].round(1).tolist()
    [1.0, 1.3, 2.0, 3.2, 5.3]
    """
    differences = np.asarray(differences, float)
    if margin is None:
        up, down = _mixture(differences, 1.0), _mixture(-differences, 1.0)
        return {"different": (up + down) / 2}
    needs("margin", margin, 0 < margin < 1, SHARE)
    shifted = differences + margin
    return {
        "not worse": _mixture(shifted, 1 / (1 - margin)),
        "worse": _mixture(-shifted, 1 / (1 + margin)),
    }


def _mixture(gains, largest_bet):
    """Return the mean over bets of the stake after each gain; the worst gain would use up the largest bet."""
    bets = (np.arange(BETS) + 0.5) / BETS * largest_bet
    return sum(np.cumprod(1 + bet * gains, axis=-1) for bet in bets) / BETS


def _variance_at(margin, difference, discordant):
    """Return the variance of one example's difference under the margin (restricted likelihood)."""
    loss = (discordant - difference) / 2
    slope = discordant + (2 - difference) * margin
    restricted = (slope + math.sqrt(max(0.0, slope**2 - 8 * loss * margin * (1 + margin)))) / 4
    return 2 * restricted - margin * (1 + margin)


def _assumed(discordant, sd, difference, **shares):
    """Check all that is assumed, and return the assumed variance of one example's difference."""
    for name, value in shares.items():
        needs(name, value, 0 < value < 1, SHARE)
    if (discordant is None) == (sd is None):
        raise ValueError("give either discordant or sd")
    if sd is not None:
        needs("sd", sd, 0 < sd < math.inf, "a standard deviation above 0")
        return sd**2
    gap = abs(difference)
    bound = f"a share from {gap!r} (the difference) to 1"
    needs("discordant", discordant, gap <= discordant <= 1, bound)
    return discordant - difference**2


def _needed_wins(pairs, n, margin, alpha):
    """Return the fewest wins among the discordant pairs that put the bound above the margin; pairs + 1 if none do."""

    def above(wins):
        return tango_interval(wins, pairs - wins, n, confidence=1 - 2 * alpha)[0] > -margin

    return bisect_left(range(pairs + 1), True, key=above)
