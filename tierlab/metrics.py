"""Numbers that the literature takes from a cost-quality curve, each as published and as coded.

Where a metric does not apply it is NaN, and says why: ``apgr(curve).reason``.
"""

import numpy as np
import pandas as pd

from tierlab.buckets import one_of
from tierlab.evaluation import bootstrap_weights
from tierlab.frontier import hull, lined_up, ranked_runs, running_sums


class Metric(float):
    """A number, or NaN with the reason for it.

    Examples
    --------
    >>> Metric(reason="the two models score alike")
    nan (the two models score alike)
    >>> Metric(0.25) + 1
    1.25
    """

    def __new__(cls, value=np.nan, reason=""):
        number = super().__new__(cls, value)
        number.reason = reason
        return number

    def __repr__(self):
        return f"{float(self)!r} ({self.reason})" if self.reason else repr(float(self))

    __str__ = __repr__

    def __reduce__(self):
        return Metric, (float(self), self.reason)


def apgr(curve, *, variant="exact"):
    """Average performance gap recovered: the mean over all shares of strong calls of how much of the gap is closed.

    PGR is (score - weak) / (strong - weak). 0.5 is a random mix; above 1 is possible, because the weak model is
    right on some prompts where the strong one is wrong.

    Parameters
    ----------
    curve : DataFrame
        From `tierlab.frontier.cost_quality_curve`.
    variant : {"exact", "paper", "as_coded"}
        exact: the trapezoid over every distinct threshold. paper: the mean PGR at shares 0.1, 0.2, ... 1.0
        (RouteLLM, Ong et al., arXiv 2406.18665, section 2; between thresholds by straight lines). as_coded:
        the trapezoid over 11 points at the deciles of the scores (lm-sys/RouteLLM 0b64fda, evaluate.py).

    Returns
    -------
    Metric

    Examples
    --------
    >>> curve = pd.DataFrame({"strong_share": [0.0, 0.5, 1.0], "score": [0.5, 0.9, 0.9]})
    >>> apgr(curve)
    0.75
    """
    one_of("variant", variant, ("exact", "paper", "as_coded"))
    share, gain, why = _gap(curve)
    if why:
        return Metric(reason=why)
    if variant == "paper":
        return Metric(np.interp(np.arange(1, 11) / 10, share, gain).mean())
    if variant == "as_coded":
        share, gain, why = _deciles(curve)
        if why:
            return Metric(reason=why)
        return Metric(np.trapezoid(gain, share) / (share[-1] - share[0]))
    return Metric(np.trapezoid(gain, share))


def cpt(curve, level, *, variant="exact"):
    """Call-performance threshold: the share of strong calls that closes a given part of the gap.

    Parameters
    ----------
    curve : DataFrame
        From `tierlab.frontier.cost_quality_curve`.
    level : float
        Part of the gap, 0-1.
    variant : {"exact", "paper", "as_coded"}
        exact: where the curve first reaches it, by straight lines between thresholds (a share of the requests
        at one score can be sent on at random). paper: the first threshold that reaches it. as_coded: numpy.interp
        over the 11 decile points with the scores as they come, sorted or not; the kit gives a share, not percent.

    Returns
    -------
    Metric
        Share of strong calls, 0-1.

    Examples
    --------
    >>> curve = pd.DataFrame({"strong_share": [0.0, 0.5, 1.0], "score": [0.5, 0.9, 0.9]})
    >>> cpt(curve, 0.5), cpt(curve, 0.5, variant="paper")
    (0.25, 0.5)
    """
    one_of("variant", variant, ("exact", "paper", "as_coded"))
    if not 0 <= level <= 1:
        raise ValueError(f"level={level!r}; a part of the gap from 0 to 1 is needed")
    share, gain, why = _deciles(curve) if variant == "as_coded" else _gap(curve)
    if why:
        return Metric(reason=why)
    if variant == "as_coded":
        return Metric(np.interp(level, gain, share))
    if variant == "paper":
        reached = np.flatnonzero(gain >= level - 1e-12)
        return Metric(share[reached[0]])
    return Metric(_crossing(share[None], gain[None], level)[0])


def _gap(curve):
    """Shares, PGR at each, and why there is none."""
    if not {"strong_share", "score"} <= set(curve):
        return None, None, "defined between two models; this is not a curve of cost_quality_curve"
    share, score = curve["strong_share"].to_numpy(float), curve["score"].to_numpy(float)
    gap = score[-1] - score[0]
    if not gap > 0:
        return None, None, f"no gap to recover: strong {score[-1]:.4g}, weak {score[0]:.4g}"
    return share, (score - score[0]) / gap, ""


def _deciles(curve):
    """The 11 points of RouteLLM's code."""
    share, gain, why = _gap(curve)
    if why:
        return None, None, why
    if not {"threshold", "strong_calls"} <= set(curve):
        return None, None, "the curve has no thresholds and counts of calls"
    calls, values = curve["strong_calls"].to_numpy(), curve["threshold"].to_numpy(float)
    if not np.allclose(share, calls / calls[-1]):
        return None, None, "the published code knows no weights"
    # scores ascending, as often as they occur: what pandas.qcut would see
    edges = np.quantile(np.repeat(values[:0:-1], np.diff(calls)[::-1]), np.arange(11) / 10)
    if len(np.unique(edges)) < 11:
        return None, None, "equal scores: the deciles are not distinct, and the published code stops there"
    at = np.searchsorted(-values[1:], -edges, side="right")
    at[-1] = 0  # at the last edge the code takes only what is above it
    return share[at][::-1], gain[at][::-1], ""


def _crossing(share, gain, level):
    """First share at which each row of `gain` reaches the level, by straight lines; NaN where it never does."""
    reached = gain >= level - 1e-12
    j = reached.argmax(axis=1)
    rows, i = np.arange(len(gain)), np.maximum(j - 1, 0)
    rise = gain[rows, j] - gain[rows, i]
    part = np.divide(level - gain[rows, i], rise, out=np.ones(len(gain)), where=rise > 0)
    x = share[rows, i] + np.clip(part, 0, 1) * (share[rows, j] - share[rows, i])
    return np.where(reached.any(axis=1), x, np.nan)


def metric_intervals(outcomes, router_scores, *, weak, strong, seed, levels=(0.5, 0.8), confidence=0.95, resamples=1000):
    """APGR and CPT (exact) with bootstrap intervals over prompts, paired between routers.

    Parameters
    ----------
    outcomes, weak, strong
        As for `tierlab.frontier.cost_quality_curve`.
    router_scores : Series, DataFrame or mapping of str to Series
        One or more routers' scores, indexed by prompt_id. Each further one is also compared with the first.
    seed : int
    levels : sequence of float
        Parts of the gap for which to give CPT.
    confidence, resamples
        As for `tierlab.evaluation.bootstrap`.

    Returns
    -------
    DataFrame
        By router (or "b - a") and metric: estimate, low, high, prompts, resamples, confidence, reason. The
        routers are taken as they are: how another training set would change them is not in the interval.
    """
    if isinstance(router_scores, pd.Series):
        router_scores = {router_scores.name or "router": router_scores}
    names = ["apgr", *(f"cpt_{level:g}" for level in levels)]
    points, draws = {}, {}
    for router, scores in dict(router_scores).items():
        values, columns = lined_up(outcomes, scores, weak, strong)
        order, ends = ranked_runs(values)
        change = (columns["strong"] - columns["weak"])[order]
        whole = np.ones((1, len(values)))
        points[router] = _metrics(whole, change, ends, levels)[0]
        # the same seed, and prompts in the order of their ids: every router meets the same resamples
        blocks = bootstrap_weights(len(values), resamples=resamples, seed=seed)
        draws[router] = np.concatenate([_metrics(block[:, order], change, ends, levels) for block in blocks])
    first, *others = points
    for other in others:
        points[f"{other} - {first}"] = points[other] - points[first]
        draws[f"{other} - {first}"] = draws[other] - draws[first]
    tail = (1 - confidence) / 2
    index = pd.MultiIndex.from_product([points, names], names=["router", "metric"])
    low, high = np.quantile(np.stack(list(draws.values())), [tail, 1 - tail], axis=1)
    ends = {"estimate": np.concatenate(list(points.values())), "low": low.ravel(), "high": high.ravel()}
    table = pd.DataFrame(ends, index=index).assign(prompts=len(values), resamples=resamples, confidence=confidence)
    return table.assign(
        reason=np.where(table["low"].isna(), "without a gap between the models, in the table or in a resample", "")
    )


def _metrics(weights, change, ends, levels):
    """APGR and CPTs of each row of weights (already in the order of the scores), shape (rows, metrics)."""
    share = running_sums(weights, ends) / weights.shape[1]
    gain = running_sums(weights * change, ends)
    gap = gain[:, -1:]
    gain = np.divide(gain, gap, out=np.full_like(gain, np.nan), where=gap > 0)
    area = ((gain[:, 1:] + gain[:, :-1]) * np.diff(share, axis=1)).sum(axis=1) / 2
    return np.column_stack([area, *(_crossing(share, gain, level) for level in levels)])


def aiq(points, *, variant="paper", max_cost_usd=None):
    """Average improvement in quality: the mean height of the non-decreasing hull over the range of costs.

    Parameters
    ----------
    points : DataFrame
        cost_usd and score of a router's settings, or a curve.
    variant : {"paper", "as_coded"}
        paper: the area under the hull from the lowest to the highest cost, divided by that range (RouterBench,
        Hu et al., arXiv 2403.12031). as_coded: the area, divided by the highest cost (withmartian/routerbench
        cc67d10, evaluation/AIQ.py).
    max_cost_usd : float, optional
        The highest cost of all routers compared, to which the hull is extended flat; by default of these points.

    Returns
    -------
    Metric

    Examples
    --------
    >>> line = pd.DataFrame({"cost_usd": [1.0, 3.0], "score": [0.5, 0.9]})
    >>> round(aiq(line), 4), round(aiq(line, variant="as_coded"), 4)
    (0.7, 0.4667)
    """
    one_of("variant", variant, ("paper", "as_coded"))
    if not {"cost_usd", "score"} <= set(points) or not np.isfinite(points[["cost_usd", "score"]].to_numpy(float)).all():
        return Metric(reason="a point without a cost or a score")
    best = hull(points)
    x, y = best["cost_usd"].to_numpy(float), best["score"].to_numpy(float)
    last = float(points["cost_usd"].max()) if max_cost_usd is None else float(max_cost_usd)
    if last < points["cost_usd"].max():
        raise ValueError(f"max_cost_usd={max_cost_usd!r} lies below the dearest point, {points['cost_usd'].max()!r}")
    area, width = np.trapezoid(np.append(y, y[-1]), np.append(x, last)), last - (x[0] if variant == "paper" else 0.0)
    return Metric(area / width) if width > 0 else Metric(reason="all points cost the same")


def routerarena_score(accuracy, usd_per_1000, *, beta=0.1):
    """RouterArena's score: a weighted harmonic mean of accuracy and of cheapness on a log scale.

    Parameters
    ----------
    accuracy : float
        0-1.
    usd_per_1000 : float
        Cost per thousand queries, US dollars.
    beta : float
        Weight.

    Returns
    -------
    Metric
        0-1.

    Notes
    -----
    C = (log2 200 - log2 c) / (log2 200 - log2 0.0044); S = (1 + beta) A C / (beta A + C). Lu et al., arXiv
    2510.00202; RouteWorks/RouterArena 4714a9a, compute_scores.py.

    Examples
    --------
    >>> round(100 * routerarena_score(0.7396, 10.02), 1)
    64.3
    """
    if not 0 <= accuracy <= 1:
        raise ValueError(f"accuracy={accuracy!r}; a share from 0 to 1 is needed")
    if not 0 < usd_per_1000 < 200:
        return Metric(reason=f"a cost of {usd_per_1000:g} USD per thousand is off the scale, above 0 and below 200")
    cheap = np.log2(200 / usd_per_1000) / np.log2(200 / 0.0044)
    return Metric((1 + beta) * accuracy * cheap / (beta * accuracy + cheap))
