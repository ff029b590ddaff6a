"""What scores can tell: intervals over prompts, paired between policies, and how many prompts are enough.

scipy.stats is imported when used: it takes longer to load than all the rest of the kit.
"""

import math

import numpy as np
import pandas as pd

from tierlab.buckets import plain
from tierlab.scoring import numeric_answer, score_numeric

__all__ = [
    "bootstrap",
    "bootstrap_weights",
    "numeric_answer",
    "paired_power",
    "paired_sample_size",
    "score_numeric",
    "wilson_interval",
]


def wilson_interval(successes, trials, *, confidence=0.95):
    """Wilson score interval of a share: `scipy.stats.binomtest(...).proportion_ci(method="wilson")`.

    For a share of right answers on up to a few hundred prompts this stays near its level where the percentile
    bootstrap and the normal interval do not: at 50 prompts and a true share of 0.98 a nominal 95% interval
    covers 92% of the time by Wilson and 62% by either of them.

    Parameters
    ----------
    successes, trials : int or array_like of int
    confidence : float
        Level, 0-1.

    Returns
    -------
    low, high : ndarray
        Shares, 0-1, of the broadcast shape.

    Examples
    --------
    >>> low, high = wilson_interval(85, 100)
    >>> round(float(low), 3), round(float(high), 3)
    (0.767, 0.907)
    """
    from scipy.stats import binomtest

    _share("confidence", confidence)
    pairs = np.broadcast_arrays(successes, trials)
    ends = [
        binomtest(int(k), int(n)).proportion_ci(confidence, method="wilson") for k, n in zip(*map(np.ravel, pairs), strict=True)
    ]
    low, high = np.array(ends, float).reshape(-1, 2).T
    return low.reshape(pairs[0].shape), high.reshape(pairs[0].shape)


def bootstrap_weights(n, *, resamples=1000, seed):
    """How often each of `n` prompts is drawn in each bootstrap resample, in blocks that fit in memory.

    The same weights applied to two policies pair them: they meet the same prompts in every resample. A curve
    needs one sort and then only sums of weights, so a band costs no further sort.

    Parameters
    ----------
    n : int
        Prompts.
    resamples : int
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
        if value < 1 or value != int(value):
            raise ValueError(f"{name}={value!r}; a whole number from 1 up is needed")
    rng = np.random.default_rng(seed)
    step = max(1, (1 << 22) // n)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(0, n, size=(rows, n))
        drawn += n * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(float)


def bootstrap(table, statistic=None, *, confidence=0.95, resamples=1000, seed):
    """Percentile bootstrap intervals of column means over prompts, and of anything computed from them.

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
    seed : int or numpy.random.Generator

    Returns
    -------
    DataFrame
        A row per quantity: estimate (on the table itself), low, high, prompts, resamples, confidence. A
        quantity that is undefined in some resample has NaN ends.

    Notes
    -----
    Efron & Tibshirani 1993, chapter 13. With fewer than some hundred prompts, or a share near 0 or 1, use
    `wilson_interval` for a single share.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"small": [0, 1, 0, 1] * 50, "flagship": [1, 1, 0, 1] * 50})
    >>> bootstrap(table, lambda m: m.assign(gap=m["flagship"] - m["small"]), seed=1)["estimate"].to_dict()
    {'small': 0.5, 'flagship': 0.75, 'gap': 0.25}
    """
    _share("confidence", confidence)
    values = table.to_numpy(float)
    if not np.isfinite(values).all():
        row, column = (found[0] for found in np.nonzero(~np.isfinite(values)))
        raise ValueError(
            f"{int((~np.isfinite(values)).any(axis=1).sum()):,} rows hold a missing or infinite value; first row "
            f"{plain(table.index[row])!r}, column {table.columns[column]!r}; intervals over what is left would not be the table's"
        )
    means = np.concatenate([w @ values for w in bootstrap_weights(len(table), resamples=resamples, seed=seed)]) / len(table)
    apply = statistic or (lambda frame: frame)
    drawn = apply(pd.DataFrame(means, columns=table.columns))
    estimate = apply(pd.DataFrame(values.mean(axis=0)[None], columns=table.columns)).iloc[0]
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn.to_numpy(float), [tail, 1 - tail], axis=0)
    ends = {"estimate": estimate, "low": low, "high": high}
    return pd.DataFrame(ends, index=drawn.columns).assign(prompts=len(table), resamples=resamples, confidence=confidence)


def paired_sample_size(difference, *, discordant=None, sd=None, power=0.8, alpha=0.05):
    """How many prompts, each answered by both models, show a difference in mean score.

    Parameters
    ----------
    difference : float
        Difference in mean score to be shown, 0-1 (0.05 is five points).
    discordant : float, optional
        For right-or-wrong scores: share of prompts, 0-1, on which exactly one of the two is right.
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
    Five points at 15% discordant prompts, the case behind "collect 50-100 examples":

    >>> paired_sample_size(0.05, discordant=0.15)
    469
    """
    from scipy.stats import norm

    _share("power", power)
    _share("alpha", alpha)
    gap = abs(difference)
    if not 0 < gap <= 1:
        raise ValueError(f"difference={difference!r}; a difference in mean score above 0 and up to 1 is needed")
    if (discordant is None) == (sd is None):
        raise ValueError("give one of discordant and sd")
    level, reach = norm.ppf(1 - alpha / 2), norm.ppf(power)
    if sd is not None:
        if not (np.isfinite(sd) and sd > 0):
            raise ValueError(f"sd={sd!r}; a standard deviation above 0 is needed")
        return math.ceil(((level + reach) * sd / gap) ** 2)
    _discordant(gap, discordant)
    return math.ceil(((level * math.sqrt(discordant) + reach * math.sqrt(discordant - gap**2)) / gap) ** 2)


def paired_power(n, difference, *, discordant, alpha=0.05):
    """Probability that McNemar's exact test finds a difference on `n` prompts, by enumeration.

    Parameters
    ----------
    n : int
        Prompts, each answered by both models.
    difference, discordant, alpha : float
        As for `paired_sample_size`.

    Returns
    -------
    float

    Examples
    --------
    Ten points (15% one way, 5% the other) on 50 and on 100 examples:

    >>> [round(paired_power(n, 0.10, discordant=0.20), 2) for n in (50, 100)]
    [0.24, 0.54]
    """
    from scipy.stats import binom

    _share("alpha", alpha)
    _discordant(abs(difference), discordant)
    m = np.arange(n + 1)
    critical = binom.ppf(alpha / 2, m, 0.5)
    critical -= binom.cdf(critical, m, 0.5) > alpha / 2
    better = (1 + abs(difference) / discordant) / 2
    found = binom.cdf(critical, m, better) + binom.sf(m - critical - 1, m, better)
    return float(np.sum(binom.pmf(m, n, discordant) * found))


def _share(name, value):
    if not 0 < value < 1:
        raise ValueError(f"{name}={value!r}; a share between 0 and 1 is needed")


def _discordant(gap, discordant):
    if not gap <= discordant <= 1:
        raise ValueError(
            f"discordant={discordant!r}; a difference of {gap!r} needs at least that share of prompts on which one is right, and at most 1"
        )
