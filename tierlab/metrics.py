"""Metrics of routing as published, as coded and exact: APGR, CPT, AIQ, the RouterArena score.

A metric is a number, or NaN with the reason why it does not apply (`Metric.reason`).
"""

import numpy as np

from tierlab.buckets import one_of

VARIANTS = ("exact", "paper", "as_coded")


class Metric(float):
    """A number that can say why it is NaN.

    Examples
    --------
    >>> Metric(float("nan"), "one model only").reason
    'one model only'
    """

    def __new__(cls, value, reason=""):
        metric = super().__new__(cls, value)
        metric.reason = reason
        return metric


def _ends(curve):
    """Weak and strong quality of a curve, or the reason why there is nothing between them."""
    weak, strong = curve["quality"].iloc[0], curve["quality"].iloc[-1]
    if len(curve) < 2 or not np.isfinite([weak, strong]).all():
        return weak, strong, "the curve has no prompt"
    return (
        weak,
        strong,
        "" if strong > weak else "the strong model is no better than the weak one, so there is no gap to recover",
    )


def _coded(curve):
    """Share and quality at RouteLLM's eleven thresholds, from no strong call to all, or the reason why there are none.

    RouteLLM (0b64fda) cuts the scores at their deciles and calls the strong model at or above each edge, strictly
    above the last one. It stops on repeated edges.
    """
    scores = np.repeat(curve["threshold"].to_numpy()[1:], np.diff(curve["strong_calls"]))[::-1]
    edges = np.quantile(scores, np.linspace(0, 1, 11))
    if (np.diff(edges) == 0).any():
        return None, None, "repeated scores leave fewer than ten distinct deciles, where the published code stops with an error"
    calls = np.array([np.sum(scores >= edge) for edge in edges[:-1]] + [np.sum(scores > edges[-1])])
    at = np.searchsorted(curve["strong_calls"].to_numpy(), calls)
    return curve["share_strong"].to_numpy()[at][::-1], curve["quality"].to_numpy()[at][::-1], ""


def apgr(curve, variant="exact"):
    """Average performance gap recovered by a router between two models.

    Parameters
    ----------
    curve : DataFrame
        From `cost_quality_curve`.
    variant : {"exact", "paper", "as_coded"}
        Trapezoid over every distinct threshold; mean recovered gap at 10 %, 20 %, ... 100 % of strong calls; or
        the published code's trapezoid over eleven decile thresholds.

    Returns
    -------
    Metric
        0.5 for a random router, above 1 possible; NaN with a reason where the strong model is not better, or
        where the published code stops with an error.

    Notes
    -----
    Ong et al., RouteLLM, arXiv 2406.18665; code lm-sys/RouteLLM 0b64fda, routellm/evals/benchmarks.py. The two
    are different numbers.
    """
    one_of("variant", variant, VARIANTS)
    weak, strong, reason = _ends(curve)
    if reason:
        return Metric(np.nan, reason)
    share, quality = curve["share_strong"].to_numpy(), curve["quality"].to_numpy()
    if variant == "paper":
        return Metric((np.interp(np.arange(1, 11) / 10, share, quality).mean() - weak) / (strong - weak))
    if variant == "as_coded":
        share, quality, reason = _coded(curve)
        if reason:
            return Metric(np.nan, reason)
    return Metric((np.trapezoid(quality, share) / (share[-1] - share[0]) - weak) / (strong - weak))


def cpt(curve, recovered, variant="exact"):
    """Call-performance threshold: share of strong calls needed to recover a share of the quality gap.

    Parameters
    ----------
    curve : DataFrame
        From `cost_quality_curve`.
    recovered : float
        Share 0-1 of the gap between the two models.
    variant : {"exact", "paper", "as_coded"}
        First crossing of the curve, ties split at random; smallest share of a threshold that reaches it; or
        the published code, which interpolates over unsorted qualities and can return a later crossing.

    Returns
    -------
    Metric
        Share 0-1 of strong calls.

    Notes
    -----
    Ong et al., RouteLLM, arXiv 2406.18665; code lm-sys/RouteLLM 0b64fda.
    """
    one_of("variant", variant, VARIANTS)
    if not 0 <= recovered <= 1:
        raise ValueError(f"recovered={recovered!r}; a share of the gap lies between 0 and 1")
    weak, strong, reason = _ends(curve)
    if reason:
        return Metric(np.nan, reason)
    wanted = weak + recovered * (strong - weak)
    share, quality = curve["share_strong"].to_numpy(), curve["quality"].to_numpy()
    if variant == "as_coded":
        share, quality, reason = _coded(curve)
        return Metric(np.nan, reason) if reason else Metric(np.interp(wanted, quality, share))
    reached = int(np.argmax(quality >= wanted - 1e-12))
    if variant == "paper" or reached == 0:
        return Metric(share[reached])
    part = (wanted - quality[reached - 1]) / (quality[reached] - quality[reached - 1])
    return Metric(share[reached - 1] + min(part, 1.0) * (share[reached] - share[reached - 1]))


def hull(points):
    """Non-decreasing upper hull of cost and quality: what mixing the given models and policies can reach.

    Parameters
    ----------
    points : DataFrame
        cost_usd and quality; a row per model, policy or curve point.

    Returns
    -------
    DataFrame
        The rows on the hull, by cost: each dearer row is better, each step buys less per dollar.
    """
    if points[["cost_usd", "quality"]].isna().any(axis=None):
        raise ValueError("a hull needs a cost and a quality in every row")
    best = points.sort_values(["cost_usd", "quality"], ascending=[True, False]).drop_duplicates("cost_usd")
    best = best[best["quality"] > best["quality"].cummax().shift(fill_value=-np.inf)]
    kept = []
    for row, (x, y) in enumerate(best[["cost_usd", "quality"]].to_numpy()):
        while len(kept) > 1 and (kept[-1][2] - kept[-2][2]) * (x - kept[-2][1]) <= (y - kept[-2][2]) * (
            kept[-1][1] - kept[-2][1]
        ):
            kept.pop()
        kept.append((row, x, y))
    return best.iloc[[row for row, _, _ in kept]].reset_index(drop=True)


def aiq(points, variant="paper", *, highest_usd=None):
    """Average improvement in quality: area under the hull over its range of cost.

    Parameters
    ----------
    points : DataFrame
        As for `hull`.
    variant : {"paper", "as_coded"}
        Area between the cheapest and the dearest cost, divided by that range; or the code's area divided by the
        dearest cost.
    highest_usd : float, optional
        Dearest cost of all routers that are compared; the hull goes on flat to it.

    Returns
    -------
    Metric

    Notes
    -----
    Hu et al., RouterBench, arXiv 2403.12031; code withmartian/routerbench cc67d10, evaluation/AIQ.py.
    """
    one_of("variant", variant, ("paper", "as_coded"))
    if points.empty:
        return Metric(np.nan, "there is no point")
    edge = hull(points)
    dearest = max(points["cost_usd"].max(), highest_usd or 0)
    x, y = np.append(edge["cost_usd"], dearest), np.append(edge["quality"], edge["quality"].iloc[-1])
    if dearest == x[0]:
        return Metric(np.nan, "all points cost the same, so there is no range of cost")
    return Metric(np.trapezoid(y, x) / (dearest - x[0] if variant == "paper" else dearest))


def routerarena_score(accuracy, usd_per_1000, *, beta=0.1):
    """RouterArena's score of accuracy (0-1) and cost (USD per 1,000 requests).

    Notes
    -----
    C = (log2 200 - log2 c) / (log2 200 - log2 0.0044), S = (1 + b) A C / (b A + C); RouteWorks/RouterArena 4714a9a.

    Examples
    --------
    >>> round(routerarena_score(0.7, 0.5), 4)
    0.6843
    """
    if not usd_per_1000 > 0:
        return Metric(np.nan, "the score takes the logarithm of the cost, which must be above 0")
    cheapness = (np.log2(200) - np.log2(usd_per_1000)) / (np.log2(200) - np.log2(0.0044))
    if beta * accuracy + cheapness == 0:
        return Metric(np.nan, "accuracy and cheapness are both 0")
    return Metric((1 + beta) * accuracy * cheapness / (beta * accuracy + cheapness))
