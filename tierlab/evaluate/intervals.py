"""Intervals that hold on small samples: of a share, a mean score, a paired difference, and by the bootstrap.

Scores lie in 0-1 and differences in -1 to 1 throughout. A group is what was drawn independently: an example, or several
that belong together. scipy and evalstats are imported when used, because they take longer to load than the rest of the kit.
"""

import warnings
from collections.abc import Callable
from functools import lru_cache, partial
from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from tierlab.core.format import counted
from tierlab.core.tables import plain
from tierlab.core.vocabulary import is_whole, needs

SHARE = "a share between 0 and 1"


def wilson_interval(
    successes: ArrayLike, trials: ArrayLike, *, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Return the Wilson score interval of a share.

    For a share of right answers on up to a few hundred prompts this interval stays near its level, where the percentile
    bootstrap and the normal interval do not: at 50 prompts and a true share of 0.98, a nominal 95% interval
    covers 92% of the time by Wilson and 62% by either of the two.

    Parameters
    ----------
    successes, trials : float or array_like of float
        Successes may be a sum of scores.
    confidence : float
        Level, 0-1.

    Returns
    -------
    low, high : ndarray
        Shares, 0-1, of the broadcast shape.

    Raises
    ------
    ValueError
        If the successes are not from 0 to all of at least one trial, or the level is not between 0 and 1.

    Notes
    -----
    Wilson, JASA 22 (1927) 209-212. A fractional count is cautious for any score in 0-1, because no score varies more
    than a right-or-wrong one of the same mean (Bhatia & Davis 2000).

    Examples
    --------
    >>> low, high = wilson_interval(85, 100)
    >>> round(float(low), 3), round(float(high), 3)
    (0.767, 0.907)
    """
    needs("confidence", confidence, 0 < confidence < 1, SHARE)
    successes, trials = np.asarray(successes, float), np.asarray(trials, float)
    share = successes / trials
    if not ((share >= 0) & (share <= 1)).all():
        raise ValueError("successes must lie between 0 and trials, and trials must be at least 1")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (successes + z**2 / 2) / (trials + z**2)
    half = z / (trials + z**2) * np.sqrt(successes * (1 - share) + z**2 / 4)
    # Where all or none succeed one end is exact, and rounding must not move it.
    low = np.where(share == 0, 0.0, centre - half)
    return low, np.where(share == 1, 1.0, centre + half)


def bootstrap_weights(n, *, resamples=1000, seed):
    """Draw how often each of `n` prompts is in each bootstrap resample, in blocks that fit in memory.

    The same weights applied to two policies pair them: they meet the same prompts in every resample. A curve
    is sorted once and then needs only sums of weights, so a band costs no further sort.

    Parameters
    ----------
    n : int
        Prompts, from 1 up.
    resamples : int
        From 1 up.
    seed : int or numpy.random.Generator

    Yields
    ------
    ndarray of float, shape (resamples in the block, n)
        Counts; every row sums to `n`.

    Examples
    --------
    >>> [block.sum(axis=1).tolist() for block in bootstrap_weights(4, resamples=3, seed=1)]
    [[4.0, 4.0, 4.0]]
    """
    for name, value in (("n", n), ("resamples", resamples)):
        needs(name, value, is_whole(value, 1), "a whole number from 1 up")
    rng = np.random.default_rng(seed)
    step = max(1, (1 << 22) // n)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(0, n, size=(rows, n))
        drawn += n * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(float)


def bootstrap(
    table: pd.DataFrame,
    statistic: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int | np.random.Generator,
) -> pd.DataFrame:
    """Return percentile bootstrap intervals of column means over prompts, and of anything computed from them.

    Every column meets the same resamples, so a difference or ratio of two columns is a paired comparison.

    Parameters
    ----------
    table : DataFrame
        One row per prompt, numeric columns, no missing values.
    statistic : callable, optional
        Maps a DataFrame of means (a row per resample, the columns of `table`) to a DataFrame of quantities,
        row by row, for instance ``lambda m: m.assign(saving=1 - m["routed"] / m["flagship"])``.
    confidence : float
        Level, 0-1.
    resamples : int
        From 1 up.
    seed : int or numpy.random.Generator

    Returns
    -------
    DataFrame
        A row per quantity: estimate (on the table itself), low, high, prompts, resamples, confidence. A
        quantity that is undefined in some resample has NaN ends.

    Raises
    ------
    ValueError
        If the table has a missing or infinite value, or a number is out of its range.

    Notes
    -----
    Efron & Tibshirani 1993, chapter 13. For a single share with fewer than a few hundred prompts, or near 0 or 1, use
    `wilson_interval`.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"small": [0, 1, 0, 1] * 50, "flagship": [1, 1, 0, 1] * 50})
    >>> bootstrap(table, lambda m: m.assign(gap=m["flagship"] - m["small"]), seed=1)["estimate"].to_dict()
    {'small': 0.5, 'flagship': 0.75, 'gap': 0.25}
    """
    needs("confidence", confidence, 0 < confidence < 1, SHARE)
    values = table.to_numpy(float)
    if not np.isfinite(values).all():
        row, column = (found[0] for found in np.nonzero(~np.isfinite(values)))
        raise ValueError(
            f"a value is missing or infinite in {counted((~np.isfinite(values)).any(axis=1).sum(), 'row')}; first row "
            f"{plain(table.index[row])!r}, column {table.columns[column]!r}; intervals over the other rows would not be those of the table"
        )
    blocks = bootstrap_weights(len(table), resamples=resamples, seed=seed)
    means = np.concatenate([weights @ values for weights in blocks]) / len(table)
    apply = statistic or (lambda frame: frame)
    drawn = apply(pd.DataFrame(means, columns=table.columns))
    estimate = apply(pd.DataFrame(values.mean(axis=0)[None], columns=table.columns)).iloc[0]
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn.to_numpy(float), [tail, 1 - tail], axis=0)
    ends = {"estimate": estimate, "low": low, "high": high}
    return pd.DataFrame(ends, index=drawn.columns).assign(
        prompts=len(table), resamples=resamples, confidence=confidence
    )


# A t interval of bounded scores is too short if fewer than this many groups differ at all and these are the smaller half:
# simulated coverage falls to 70-92% (tests/evaluate/test_intervals.py), because the rare large difference is not yet seen.
FEW = 20


def mean_interval(scores, groups=None, *, binary=False, confidence=0.95):
    """Return the confidence interval of a mean score.

    Parameters
    ----------
    scores : array_like of float
        One per example, 0-1.
    groups : array_like, optional
        The group that each example belongs to; by default each is its own.
    binary : bool
        Whether every example has one right-or-wrong answer and its own group; gives the Wilson interval.
    confidence : float
        Level, 0-1.

    Returns
    -------
    low, high : float
    method : str
        "Wilson"; "clustered t" (cluster-robust errors and t(groups - 1), which is the ordinary t interval when every
        example is a group); "Wilson on groups" when nearly all groups have a perfect score, or nearly all have zero.

    Notes
    -----
    Miller 2024 (arXiv 2411.00640) for clustered errors.

    Examples
    --------
    >>> low, high, method = mean_interval([1] * 85 + [0] * 15, binary=True)
    >>> round(low, 3), round(high, 3), method
    (0.767, 0.907, 'Wilson')
    """
    scores = np.asarray(scores, float)
    if not len(scores):
        return np.nan, np.nan, "none: no scored answer"
    codes, count = _codes(groups, len(scores))
    error = clustered_se(scores, groups)
    touched = min(len(np.unique(codes[off])) for off in (scores < 1, scores > 0))
    if binary or _few(touched, count, error):
        low, high = wilson_interval(scores.mean() * count, count, confidence=confidence)
        return float(low), float(high), "Wilson" if binary else "Wilson on groups"
    low, high = np.clip(_t_interval(scores.mean(), error, count, confidence), 0, 1)
    return float(low), float(high), "clustered t"


def quantile_interval(values, share, *, confidence=0.95):
    """Return a quantile and its confidence interval.

    Parameters
    ----------
    values : array_like of float
    share : float
        Which quantile, 0-1.
    confidence : float
        Level, 0-1.

    Returns
    -------
    quantile, low, high : float
        An end is NaN if the values are too few to give it; all are NaN without values.

    Notes
    -----
    The interval is made of order statistics and assumes no distribution (Conover 1999, 3.2).
    """
    from scipy.stats import quantile_test

    if not len(values):
        return (np.nan,) * 3
    low, high = quantile_test(values, q=0, p=share).confidence_interval(confidence)
    return float(np.quantile(values, share)), low, high


def paired_interval(differences, groups=None, *, binary=False):
    """Return the confidence interval of a mean paired difference, as a function of the level.

    Parameters
    ----------
    differences : array_like of float
        Candidate's score minus reference's on each example, -1 to 1.
    groups : array_like, optional
        The group that each example belongs to; by default each is its own.
    binary : bool
        Whether the answers are right or wrong and each example is its own group; gives Tango's score interval.

    Returns
    -------
    method : str
        "Tango score"; "clustered t" (see `mean_interval`); "Wilson square-and-add" when few groups differ.
    interval : callable
        ``interval(confidence) -> (low, high)``.

    Notes
    -----
    Tango, Statistics in Medicine 17 (1998) 891-908. Square-and-add: Newcombe, ibid. 2635-2650, here of the mean gain
    and the mean loss, each with its Wilson interval. It keeps a width even if all differences have one sign or are zero.

    Examples
    --------
    Two models that agree on all of 50 examples may still differ by seven points:

    >>> method, interval = paired_interval([0] * 50, binary=True)
    >>> method, [round(end, 3) for end in interval(0.95)]
    ('Tango score', [-0.071, 0.071])
    """
    differences = np.asarray(differences, float)
    if not len(differences):
        return "none: no common example", lambda confidence: (-1.0, 1.0)
    if binary:
        better, worse = int((differences > 0).sum()), int((differences < 0).sum())
        n = len(differences)
        return "Tango score", lambda level: tango_interval(better, worse, n, confidence=level)
    codes, count = _codes(groups, len(differences))
    error = clustered_se(differences, groups)
    if _few(len(np.unique(codes[differences != 0])), count, error):
        return "Wilson square-and-add", partial(_square_and_add, differences, count)
    mean = differences.mean()
    return "clustered t", lambda confidence: tuple(
        np.clip(_t_interval(mean, error, count, confidence), -1, 1).tolist()
    )


@lru_cache(maxsize=1 << 16)
def tango_interval(better, worse, n, *, confidence=0.95):
    """Return Tango's score interval of a difference of paired shares, from counts.

    Parameters
    ----------
    better, worse : int
        Examples on which only the candidate, or only the reference, is right.
    n : int
        Examples.
    confidence : float
        Level, 0-1.

    Returns
    -------
    low, high : float

    Notes
    -----
    The exact form of evalstats.

    Examples
    --------
    >>> [round(end, 3) for end in tango_interval(1, 7, 21)]
    [-0.517, -0.026]
    """
    from evalstats import pairwise_differences

    scores = np.zeros((2, n))
    scores[0, :better] = scores[1, better : better + worse] = 1
    with warnings.catch_warnings():  # of a deviation, which a single difference does not have
        warnings.simplefilter("ignore", RuntimeWarning)
        result = pairwise_differences(scores, 0, 1, method="tango", ci=confidence)
    return result.ci_low, result.ci_high


def one_sided_p(interval, value):
    """Return the p value of "the difference is not above `value`": the level at which the interval's lower end reaches it.

    Parameters
    ----------
    interval : callable
        From `paired_interval`.
    value : float

    Returns
    -------
    float
        For "not below", take 1 minus this. Exact to 1e-10; smaller p values are given as 1e-10.

    Examples
    --------
    >>> _, interval = paired_interval([1] * 7 + [-1] + [0] * 13, binary=True)
    >>> round(one_sided_p(interval, 0), 4)
    0.0169
    """
    from scipy.optimize import brentq

    tiny = 1e-10
    side = 0 if sum(interval(tiny)) / 2 > value else 1  # at level 0 both ends are the estimate

    def beyond(tail):
        end = interval(1 - 2 * tail)[side] - value
        return end if side == 0 else -end

    if beyond(tiny) >= 0:
        tail = tiny
    elif beyond(0.5 - tiny) <= 0:
        tail = 0.5
    else:
        tail = brentq(beyond, tiny, 0.5 - tiny, xtol=1e-12)
    return tail if side == 0 else 1 - tail


def _codes(groups, n):
    """Return the code of each example's group, and the number of groups."""
    if groups is None:
        return np.arange(n), n
    found, codes = np.unique(np.asarray(groups), return_inverse=True)
    return codes, len(found)


def _few(touched, count, error):
    return (touched < FEW and 2 * touched < count) or not error > 1e-12


def clustered_se(values, groups=None):
    """Return the cluster-robust standard error of a mean.

    Parameters
    ----------
    values : array_like of float
    groups : array_like, optional
        The group that each value belongs to; by default each is its own.

    Returns
    -------
    float
        NaN with fewer than two groups.
    """
    codes, count = _codes(groups, len(values))
    if count < 2:
        return np.nan
    sums = np.bincount(codes, weights=np.asarray(values, float) - np.mean(values))
    return float(np.sqrt(count / (count - 1) * (sums**2).sum()) / len(values))


def _t_interval(mean, error, groups, confidence):
    from scipy.special import stdtrit

    half = stdtrit(groups - 1, (1 + confidence) / 2) * error
    return mean - half, mean + half


def _square_and_add(differences, n, confidence):
    gain, loss = np.maximum(differences, 0).mean(), np.maximum(-differences, 0).mean()
    lows, highs = wilson_interval(np.array([gain, loss]) * n, n, confidence=confidence)
    low = gain - loss - np.hypot(gain - lows[0], highs[1] - loss)
    high = gain - loss + np.hypot(highs[0] - gain, loss - lows[1])
    return max(-1.0, float(low)), min(1.0, float(high))
