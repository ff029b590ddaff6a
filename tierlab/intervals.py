"""Intervals that hold on small samples: of a mean score and of a paired difference, over independent groups.

The heavy libraries (statsmodels, evalstats) are imported when used. Scores lie in 0-1 and differences in -1 to 1
throughout; a group is what was drawn independently: an example, or several that belong together.
"""

import warnings
from functools import lru_cache

import numpy as np

from tierlab.evaluation import wilson_interval

# Below this many groups that differ at all, and when they are the smaller half, a t interval of bounded scores is too
# short: simulated coverage falls to 70-92% (tests/test_intervals.py), because the rare large difference is not yet seen.
FEW = 20


def mean_interval(scores, groups=None, *, binary=False, confidence=0.95):
    """Confidence interval of a mean score: (low, high, method).

    Parameters
    ----------
    scores : array_like of float
        One per example, 0-1.
    groups : array_like, optional
        The independent unit that each example belongs to; by default each is its own.
    binary : bool
        One right-or-wrong answer per example, each its own group: the Wilson interval.
    confidence : float
        Level, 0-1.

    Returns
    -------
    low, high : float
    method : str
        "Wilson"; "clustered t": statsmodels' least squares with cluster-robust errors and t(groups - 1), which is
        the ordinary t interval when every example is a group; "Wilson on groups" when few groups are off a perfect
        or a zero score.

    Notes
    -----
    Miller 2024 (arXiv 2411.00640) for clustered errors. Wilson with a fractional count is cautious for any score in
    0-1, because none with the same mean varies more than a right-or-wrong one (Bhatia & Davis 2000).

    Examples
    --------
    >>> low, high, method = mean_interval([1] * 85 + [0] * 15, binary=True)
    >>> round(low, 3), round(high, 3), method
    (0.767, 0.907, 'Wilson')
    """
    scores = np.asarray(scores, float)
    if not len(scores):
        return np.nan, np.nan, "none: no scored answer"
    if binary:
        low, high = wilson_interval(int(scores.sum()), len(scores), confidence=confidence)
        return float(low), float(high), "Wilson"
    codes, count = _codes(groups, len(scores))
    touched = [len(np.unique(codes[off])) for off in (scores < 1, scores > 0)]
    fit = _fit(scores, codes) if count > 1 else None
    if fit is None or _few(min(touched), count) or fit.bse[0] < 1e-12:
        low, high = _wilson_share(scores.mean(), count, confidence)
        return low, high, "Wilson on groups"
    low, high = fit.conf_int(1 - confidence)[0]
    return max(0.0, float(low)), min(1.0, float(high)), "clustered t"


def paired_interval(differences, groups=None, *, binary=False, bootstrap=False, seed=0):
    """Confidence interval of a mean paired difference, as a function of the level.

    Parameters
    ----------
    differences : array_like of float
        Candidate's score minus reference's on each example, -1 to 1.
    groups : array_like, optional
        The independent unit that each example belongs to; by default each is its own.
    binary : bool
        Right-or-wrong answers, each example its own group: Tango's score interval.
    bootstrap : bool
        For other scores: `scipy.stats.bootstrap` (BCa) over groups in place of the t interval.
    seed : int
        For the bootstrap.

    Returns
    -------
    method : str
        "Tango score"; "clustered t" (see `mean_interval`); "BCa bootstrap"; "Wilson square-and-add" when few groups
        differ at all.
    interval : callable
        ``interval(confidence) -> (low, high)``.

    Notes
    -----
    Tango, Statistics in Medicine 17 (1998) 891-908. Square-and-add: Newcombe, ibid. 2635-2650, here of the mean gain
    and the mean loss, each with its Wilson interval; with differences of one sign or none it is not degenerate.

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
        return "Tango score", lambda confidence: tango_interval(better, worse, len(differences), confidence=confidence)
    codes, count = _codes(groups, len(differences))
    fit = _fit(differences, codes) if count > 1 else None
    if fit is None or _few(len(np.unique(codes[differences != 0])), count) or fit.bse[0] < 1e-12:
        gain, loss = np.maximum(differences, 0).mean(), np.maximum(-differences, 0).mean()
        return "Wilson square-and-add", lambda confidence: _square_and_add(gain, loss, count, confidence)
    if bootstrap:
        return "BCa bootstrap", lambda confidence: _bca(differences, codes, confidence, seed)
    return "clustered t", lambda confidence: tuple(np.clip(fit.conf_int(1 - confidence)[0], -1, 1).tolist())


@lru_cache(maxsize=1 << 16)
def tango_interval(better, worse, n, *, confidence=0.95):
    """Tango's score interval of a difference of paired shares, from counts: `evalstats`' exact form.

    Parameters
    ----------
    better, worse : int
        Examples on which only the candidate, or only the reference, is right.
    n : int
        Examples.
    confidence : float

    Returns
    -------
    low, high : float

    Examples
    --------
    >>> [round(end, 3) for end in tango_interval(1, 7, 21)]
    [-0.517, -0.026]
    """
    from evalstats import pairwise_differences

    scores = np.zeros((2, n))
    scores[0, :better] = scores[1, better : better + worse] = 1
    with warnings.catch_warnings():  # it also takes the deviation of what may be one difference
        warnings.simplefilter("ignore", RuntimeWarning)
        result = pairwise_differences(scores, 0, 1, method="tango", ci=confidence)
    return result.ci_low, result.ci_high


def one_sided_p(interval, value):
    """p value of "the difference is not above `value`": the level at which the interval's lower end reaches it.

    Parameters
    ----------
    interval : callable
        From `paired_interval`.
    value : float

    Returns
    -------
    float
        For "not below" take 1 minus it. Exact to 1e-10: smaller ones are given as that.

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
    """(code of the group of each example, number of groups)."""
    if groups is None:
        return np.arange(n), n
    found, codes = np.unique(np.asarray(groups), return_inverse=True)
    return codes, len(found)


def _few(touched, count):
    return touched < FEW and 2 * touched < count


def _fit(values, codes):
    from statsmodels.regression.linear_model import OLS

    return OLS(values, np.ones(len(values))).fit(cov_type="cluster", cov_kwds={"groups": codes}, use_t=True)


def clustered_se(values, groups=None):
    """Standard error of a mean over groups (statsmodels, cluster-robust); NaN with fewer than two groups."""
    codes, count = _codes(groups, len(values))
    return float(_fit(np.asarray(values, float), codes).bse[0]) if count > 1 else np.nan


def _wilson_share(share, n, confidence):
    from statsmodels.stats.proportion import proportion_confint

    return tuple(map(float, proportion_confint(share * n, n, alpha=1 - confidence, method="wilson")))


def _square_and_add(gain, loss, n, confidence):
    (gain_low, gain_high), (loss_low, loss_high) = (_wilson_share(share, n, confidence) for share in (gain, loss))
    low = gain - loss - np.hypot(gain - gain_low, loss_high - loss)
    high = gain - loss + np.hypot(gain_high - gain, loss - loss_low)
    return max(-1.0, float(low)), min(1.0, float(high))


def _bca(differences, codes, confidence, seed):
    from scipy.stats import bootstrap

    sums, sizes = np.bincount(codes, weights=differences), np.bincount(codes)
    result = bootstrap(
        (sums, sizes),
        lambda total, size, axis=-1: total.sum(axis) / size.sum(axis),
        paired=True,
        method="BCa",
        confidence_level=confidence,
        rng=np.random.default_rng(seed),
    )
    return tuple(map(float, result.confidence_interval))
