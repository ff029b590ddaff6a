"""Cost against quality between two models: exact curves over every threshold, their bands, hulls and metrics.

A curve is a table with one point per threshold: `threshold`, `strong_calls`, `strong_share` (0-1), `score` (mean,
0-1) and `cost_usd` (mean per request). Requests with equal scores move together, so a router that gives every
request the same score has only two points. A metric that does not apply is NaN and says why: ``apgr(curve).reason``.
"""

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
import pandas as pd

from tierlab.core.tables import one_of
from tierlab.evaluate.intervals import bootstrap_weights
from tierlab.routing.route import align, pair_outcomes


def cost_quality_curve(
    outcomes: pd.DataFrame,
    router_score: pd.Series,
    *,
    weak: str,
    strong: str,
    weights: pd.Series | None = None,
) -> pd.DataFrame:
    """Return every trade-off that a two-tier router offers, one point per distinct score.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table, with both models' answers to every prompt.
    router_score : Series
        The router's score, indexed by prompt_id; the higher it is, the more the strong model is needed.
    weak, strong : str
        Model ids, or tiers.
    weights : Series, optional
        Weight of each prompt, indexed by prompt_id (`tierlab.routing.verdict.mix_weights` for another task mix).

    Returns
    -------
    DataFrame
        From no strong call to all of them: threshold (the strong model answers from this score on), strong_calls,
        strong_share, score, cost_usd (US dollars per request without the router's own call; NaN where the table
        has no costs).

    Raises
    ------
    ValueError
        If a prompt has no score or an infinite one, if the weights are not numbers from 0 up, and as `pair_outcomes`.

    Examples
    --------
    >>> table = pd.DataFrame({"prompt_id": [1, 1, 2, 2], "model_id": ["a", "b"] * 2, "score": [1, 1, 0, 1]})
    >>> curve = cost_quality_curve(table, pd.Series({1: 0.2, 2: 0.7}), weak="a", strong="b")
    >>> curve[["strong_share", "score"]].to_numpy().tolist()
    [[0.0, 0.5], [0.5, 1.0], [1.0, 1.0]]
    """
    pairs = lined_up(outcomes, router_score, weak=weak, strong=strong)
    if weights is not None:
        weights = align(weights.rename("weight"), pairs.index).to_numpy(float)
        if not (np.isfinite(weights) & (weights >= 0)).all() or not weights.sum() > 0:
            raise ValueError("weights must be numbers from 0 up, and not all 0")
    return paired_curve(pairs, weights=weights)


def paired_curve(pairs, *, weights=None):
    """Return the `cost_quality_curve` of answers that are already lined up (`lined_up`).

    Parameters
    ----------
    pairs : DataFrame
        From `lined_up`.
    weights : ndarray of float, optional
        Weight of each row.

    Examples
    --------
    >>> pairs = pd.DataFrame({"router_score": 0.5, "weak_score": [0, 1], "strong_score": 1})
    >>> paired_curve(pairs.assign(weak_cost_usd=1, strong_cost_usd=2))[["strong_share", "score"]].to_numpy().tolist()
    [[0.0, 0.5], [1.0, 1.0]]
    """
    scores = pairs["router_score"].to_numpy(float)
    order, ends = ranked_runs(scores)
    weights = None if weights is None else (weights / weights.mean())[None]
    lines = {name: path[0] for name, path in _paths(pairs, (order, ends), weights).items()}
    threshold, calls = np.full(len(ends) + 1, np.inf), np.zeros(len(ends) + 1, int)
    threshold[1:], calls[1:] = scores[order[ends]], ends + 1
    first = {"threshold": threshold, "strong_calls": calls}
    return pd.DataFrame(first | lines, copy=False)


def ranked_runs(scores):
    """Return the positions from the highest score to the lowest, and where each run of equal scores ends."""
    lost = ~np.isfinite(scores)
    if lost.any() or not len(scores):
        raise ValueError(f"{lost.sum():,} of {len(scores):,} router scores are missing or infinite")
    order = np.argsort(scores)[::-1]
    ranked = scores[order]
    return order, np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(scores) - 1)


def _paths(pairs, runs, weights, means=("score", "cost_usd")):
    """Return the share of strong calls, mean score and mean cost while prompts move from weak to strong.

    `runs` are those of the router's scores (`ranked_runs`). Weights have shape (rows, prompts) and mean 1, or are None for
    one row of equal weights; each path has shape (rows, distinct router scores + 1).
    """
    order, ends = runs
    n, equal = len(pairs), weights is None
    ranked = None if equal else weights[:, order]
    # Equal weights are the common case, and need no multiplication by one.
    paths = {
        "strong_share": np.append(0.0, ends + 1)[None] if equal else running_sums(ranked, ends)
    }
    for name in means:
        weak, strong = (pairs[f"{side}_{name}"].to_numpy(float) for side in ("weak", "strong"))
        gain = (strong - weak)[order]
        paths[name] = running_sums(gain[None] if equal else ranked * gain, ends)
        paths[name] += weak.sum() if equal else (weights @ weak)[:, None]
    for path in paths.values():
        path /= n
    return paths


def running_sums(values, ends):
    """Return the running sums of each row at the ends of the runs, after a first column of 0."""
    sums = np.zeros((len(values), len(ends) + 1))
    if (
        len(ends) == values.shape[1]
    ):  # no two scores are equal: every sum counts, and no copy is needed
        np.cumsum(values, axis=1, out=sums[:, 1:])
    else:
        sums[:, 1:] = np.cumsum(values, axis=1)[:, ends]
    return sums


def curve_band(
    outcomes: pd.DataFrame,
    router_score: pd.Series,
    *,
    weak: str,
    strong: str,
    seed: int | np.random.Generator,
    shares: Sequence[float] | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> pd.DataFrame:
    """Return the confidence band of a curve: a bootstrap over prompts, at fixed shares of strong calls.

    Parameters
    ----------
    outcomes, router_score, weak, strong
        As for `cost_quality_curve`.
    seed : int or numpy.random.Generator
        Draws the resamples.
    shares : sequence of float, optional
        Shares of strong calls, 0-1, at which to give the band; by default 0, 0.01, ... 1.
    confidence, resamples
        As for `tierlab.evaluate.intervals.bootstrap`.

    Returns
    -------
    DataFrame
        strong_share; score, score_low, score_high; cost_usd, cost_usd_low, cost_usd_high. The band is pointwise and for
        the router as it is; it does not show how another training set would change the router.
    """
    at = np.linspace(0, 1, 101) if shares is None else np.asarray(shares, float)
    pairs = lined_up(outcomes, router_score, weak=weak, strong=strong).sort_index()
    curve, drawn = paired_curve(pairs), {"score": [], "cost_usd": []}
    runs = ranked_runs(pairs["router_score"].to_numpy())
    for block in bootstrap_weights(len(pairs), resamples=resamples, seed=seed):
        paths = _paths(pairs, runs, block)
        for name, lines in drawn.items():
            pairs_of_rows = zip(paths["strong_share"], paths[name], strict=True)
            lines += [np.interp(at, share, path) for share, path in pairs_of_rows]
    band, tail = {"strong_share": at}, (1 - confidence) / 2
    for name, lines in drawn.items():
        band[name] = np.interp(at, curve["strong_share"], curve[name])
        band[f"{name}_low"], band[f"{name}_high"] = np.quantile(lines, [tail, 1 - tail], axis=0)
    return pd.DataFrame(band)


def lined_up(outcomes, router_score, *, weak, strong):
    """Put both models' answers to each prompt beside the router's score.

    Parameters
    ----------
    outcomes, router_score, weak, strong
        As for `cost_quality_curve`.

    Returns
    -------
    DataFrame
        Indexed by prompt_id: router_score, and score and cost_usd of both (weak_score, ...). Sort it by prompt_id
        before resampling, so that every router meets the same resamples.
    """
    grid = pair_outcomes(outcomes, [weak, strong])
    if grid.column(weak) == grid.column(strong):
        raise ValueError(f"weak and strong are both {weak!r}; name two models")
    named = router_score.rename(router_score.name or "router_score")
    columns = {"router_score": align(named, grid.prompts).to_numpy(float)}
    for side, model in (("weak", weak), ("strong", strong)):
        for name in ("score", "cost_usd"):
            columns[f"{side}_{name}"] = grid.values(name, model)
    return pd.DataFrame(columns, grid.prompts, copy=False)


def hull(points: pd.DataFrame) -> pd.DataFrame:
    """Return the non-decreasing concave hull: what mixing the best of some models and policies at random achieves.

    Parameters
    ----------
    points : DataFrame
        One row per model, policy or setting, with cost_usd and score; other columns and the index are kept.

    Returns
    -------
    DataFrame
        The rows on the hull, cheapest first, with error_cost_usd: what a wrong answer (score 0 instead of 1)
        must cost, in US dollars, from which on the row costs least with its errors included.

    Raises
    ------
    ValueError
        If there are no points, or a cost or score is missing or infinite.

    Notes
    -----
    This is RouterBench's NDCH (Hu et al., arXiv 2403.12031); on single models alone it is their "zero router".

    Examples
    --------
    >>> hull(pd.DataFrame({"cost_usd": [1.0, 2.0, 3.0], "score": [0.5, 0.6, 0.9]}, index=["s", "m", "f"]))
       cost_usd  score  error_cost_usd
    s       1.0    0.5             0.0
    f       3.0    0.9             5.0
    """
    table = points.sort_values(["cost_usd", "score"], ascending=[True, False], kind="stable")
    x, y = table["cost_usd"].to_numpy(float), table["score"].to_numpy(float)
    known = np.isfinite(x) & np.isfinite(y)
    if not known.all() or not len(x):
        raise ValueError(f"{(~known).sum():,} of {len(x):,} points have no cost or score")
    kept = []
    # a point that scores no more than a cheaper one cannot be on the hull
    for i in np.flatnonzero(np.append(True, y[1:] > np.maximum.accumulate(y)[:-1])):
        # drop the last point while the line from the one before it to the new point passes above it
        while len(kept) > 1 and (y[kept[-1]] - y[kept[-2]]) * (x[i] - x[kept[-2]]) <= (
            y[i] - y[kept[-2]]
        ) * (x[kept[-1]] - x[kept[-2]]):
            kept.pop()
        kept.append(i)
    steps = np.diff(x[kept]) / np.diff(y[kept])
    return table.iloc[kept].assign(error_cost_usd=np.append(0.0, steps))


class Metric(float):
    """A number, or NaN with the reason for it.

    Examples
    --------
    >>> Metric(reason="the two models score alike")
    nan (the two models score alike)
    >>> Metric(0.25) + 1
    1.25
    """

    def __new__(cls, value: float = np.nan, reason: str = "") -> "Metric":
        number = super().__new__(cls, value)
        number.reason = reason
        return number

    def __repr__(self):
        return f"{float(self)!r} ({self.reason})" if self.reason else repr(float(self))

    __str__ = __repr__


def apgr(curve: pd.DataFrame, *, variant: str = "exact") -> Metric:
    """Return the average performance gap recovered (APGR): how much of the gap is closed, over all shares of strong calls.

    PGR is (score - weak) / (strong - weak). A random mix has an APGR of 0.5; more than 1 is possible, because the weak
    model is right on some prompts where the strong one is wrong.

    Parameters
    ----------
    curve : DataFrame
        From `tierlab.cost_quality_curve`.
    variant : {"exact", "paper", "as_coded"}
        exact: the trapezoid over every distinct threshold. paper: the mean PGR at shares 0.1, 0.2, ... 1.0
        (RouteLLM, Ong et al., arXiv 2406.18665, section 2; between thresholds by straight lines). as_coded:
        the trapezoid over 11 points at the deciles of the scores (lm-sys/RouteLLM 0b64fda, evaluate.py).

    Returns
    -------
    Metric
        NaN with its reason if there is no gap to recover.

    Examples
    --------
    >>> curve = pd.DataFrame({"strong_share": [0.0, 0.5, 1.0], "score": [0.5, 0.9, 0.9]})
    >>> apgr(curve)
    0.75
    """
    one_of("variant", variant, ("exact", "paper", "as_coded"))
    share, gain, why = _deciles(curve) if variant == "as_coded" else _gap(curve)
    if why:
        return Metric(reason=why)
    if variant == "paper":
        return Metric(np.interp(np.arange(1, 11) / 10, share, gain).mean())
    return Metric(np.trapezoid(gain, share) / (share[-1] - share[0]))


def cpt(curve: pd.DataFrame, level: float, *, variant: str = "exact") -> Metric:
    """Return the call-performance threshold (CPT): the share of strong calls that closes a given part of the gap.

    Parameters
    ----------
    curve : DataFrame
        From `tierlab.cost_quality_curve`.
    level : float
        Part of the gap, 0-1.
    variant : {"exact", "paper", "as_coded"}
        exact: where the curve first reaches the level, by straight lines between thresholds (a share of the requests
        with one score can be sent on at random). paper: the first threshold that reaches it. as_coded: numpy.interp
        over the 11 decile points with the scores as they come, sorted or not; the kit gives a share, not per cent.

    Returns
    -------
    Metric
        Share of strong calls, 0-1; NaN with its reason if there is no gap to recover.

    Raises
    ------
    ValueError
        If `level` does not lie from 0 to 1.

    Examples
    --------
    >>> curve = pd.DataFrame({"strong_share": [0.0, 0.5, 1.0], "score": [0.5, 0.9, 0.9]})
    >>> cpt(curve, 0.5), cpt(curve, 0.5, variant="paper")
    (0.25, 0.5)
    """
    one_of("variant", variant, ("exact", "paper", "as_coded"))
    if not 0 <= level <= 1:
        raise ValueError(f"level={level!r}; give a part of the gap from 0 to 1")
    share, gain, why = _deciles(curve) if variant == "as_coded" else _gap(curve)
    if why:
        return Metric(reason=why)
    if variant == "as_coded":
        return Metric(np.interp(level, gain, share))
    if variant == "paper":
        return Metric(share[(gain >= level - 1e-12).argmax()])
    return Metric(_crossing(share[None], gain[None], level)[0])


def _gap(curve):
    """Return the shares, the performance gap recovered (PGR) at each, and why there is none."""
    if not {"strong_share", "score"} <= set(curve):
        return None, None, "defined between two models; this is not a curve of cost_quality_curve"
    score = curve["score"].to_numpy(float)
    if not score[-1] > score[0]:
        return None, None, f"no gap to recover: strong {score[-1]:.4g}, weak {score[0]:.4g}"
    return curve["strong_share"].to_numpy(float), _recovered(score), ""


def _recovered(score):
    """Return the PGR along the last axis of scores; NaN where the strong model is no better than the weak one."""
    gain, gap = score - score[..., :1], score[..., -1:] - score[..., :1]
    return np.divide(gain, gap, out=np.full_like(gain, np.nan), where=gap > 0)


def _deciles(curve):
    """Return the 11 points of RouteLLM's code, or why there are none."""
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
        why = "equal scores: the deciles are not distinct, and the published code stops there"
        return None, None, why
    at = np.searchsorted(-values[1:], -edges, side="right")
    at[-1] = 0  # at the last edge the code takes only what is above it
    return share[at][::-1], gain[at][::-1], ""


def _crossing(share, gain, level):
    """Return the first share at which each row of `gain` reaches the level, by straight lines; NaN if it never does."""
    reached = gain >= level - 1e-12
    j = reached.argmax(axis=1)
    rows, i = np.arange(len(gain)), np.maximum(j - 1, 0)
    rise = gain[rows, j] - gain[rows, i]
    part = np.divide(level - gain[rows, i], rise, out=np.ones(len(gain)), where=rise > 0)
    x = share[rows, i] + np.clip(part, 0, 1) * (share[rows, j] - share[rows, i])
    return np.where(reached.any(axis=1), x, np.nan)


def metric_intervals(
    outcomes: pd.DataFrame,
    router_scores: pd.Series | pd.DataFrame | Mapping[str, pd.Series],
    *,
    weak: str,
    strong: str,
    seed: int,
    levels: Sequence[float] = (0.5, 0.8),
    confidence: float = 0.95,
    resamples: int = 1000,
) -> pd.DataFrame:
    """Return APGR and CPT (exact) with bootstrap intervals over prompts, paired between routers.

    Parameters
    ----------
    outcomes, weak, strong
        As for `cost_quality_curve`.
    router_scores : Series, DataFrame or mapping of str to Series
        Scores of one or more routers, indexed by prompt_id. Each further router is also compared with the first.
    seed : int
        Draws the resamples.
    levels : sequence of float
        Parts of the gap, 0-1, for which to give CPT.
    confidence, resamples
        As for `tierlab.evaluate.intervals.bootstrap`.

    Returns
    -------
    DataFrame
        By router (or "b - a") and metric: estimate, low, high, prompts, resamples, confidence, reason (why an interval is
        missing). The intervals are for the routers as they are; they do not show how another training set would change
        them.
    """
    if isinstance(router_scores, pd.Series):
        router_scores = {router_scores.name or "router": router_scores}
    draws = {}
    for router, scores in dict(router_scores).items():
        pairs = lined_up(outcomes, scores, weak=weak, strong=strong).sort_index()
        # the table as it is, then its resamples: the same ones for every router
        drawn = bootstrap_weights(len(pairs), resamples=resamples, seed=seed)
        runs, rows = ranked_runs(pairs["router_score"].to_numpy()), []
        for block in chain([np.ones((1, len(pairs)))], drawn):
            share, score = _paths(pairs, runs, block, ["score"]).values()
            gain = _recovered(score)
            crossings = [_crossing(share, gain, level) for level in levels]
            rows.append(np.column_stack([np.trapezoid(gain, share), *crossings]))
        draws[router] = np.concatenate(rows)
    first, *others = draws
    draws |= {f"{other} - {first}": draws[other] - draws[first] for other in others}
    tables, tail = {}, (1 - confidence) / 2
    names = pd.Index(["apgr", *(f"cpt_{level:g}" for level in levels)])
    for router, values in draws.items():
        low, high = np.quantile(values[1:], [tail, 1 - tail], axis=0)
        tables[router] = pd.DataFrame({"estimate": values[0], "low": low, "high": high}, names)
    table = pd.concat(tables, names=["router", "metric"]).assign(
        prompts=len(pairs), resamples=resamples, confidence=confidence
    )
    why = "without a gap between the models, in the table or in a resample"
    return table.assign(reason=np.where(table["low"].isna(), why, ""))


def aiq(points: pd.DataFrame, *, variant: str = "paper") -> Metric:
    """Return the average improvement in quality (AIQ): the mean height of the non-decreasing hull over the range of costs.

    Parameters
    ----------
    points : DataFrame
        Settings of a router with cost_usd and score, or a curve.
    variant : {"paper", "as_coded"}
        paper: the area under the hull from the lowest to the highest cost, divided by that range (RouterBench,
        Hu et al., arXiv 2403.12031). as_coded: the area, divided by the highest cost (withmartian/routerbench
        cc67d10, evaluation/AIQ.py).

    Returns
    -------
    Metric
        NaN with its reason if a cost or score is missing or all costs are equal.

    Examples
    --------
    >>> line = pd.DataFrame({"cost_usd": [1.0, 3.0], "score": [0.5, 0.9]})
    >>> round(aiq(line), 4), round(aiq(line, variant="as_coded"), 4)
    (0.7, 0.4667)
    """
    one_of("variant", variant, ("paper", "as_coded"))
    known = points.reindex(columns=["cost_usd", "score"]).to_numpy(float)
    if not np.isfinite(known).all():
        return Metric(reason="a point without a cost or a score")
    best = hull(points)
    x, y = best["cost_usd"].to_numpy(float), best["score"].to_numpy(float)
    last = points["cost_usd"].max()
    area = np.trapezoid(np.append(y, y[-1]), np.append(x, last))
    width = last - x[0] if variant == "paper" else last
    return Metric(area / width) if width > 0 else Metric(reason="all points cost the same")


def variants(curve):
    """Return the metrics of the literature for one router, each with its variant, its value, and why one is missing."""
    found = {
        "APGR, exact": apgr(curve),
        "APGR, as in the paper": apgr(curve, variant="paper"),
        "APGR, as coded": apgr(curve, variant="as_coded"),
        "CPT 50%, exact": cpt(curve, 0.5),
        "AIQ, as in the paper": aiq(curve[["cost_usd", "score"]]),
    }
    rows = [(name, float(value), value.reason) for name, value in found.items()]
    return pd.DataFrame(rows, columns=["metric", "value", "why not"])
