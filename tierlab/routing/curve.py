"""Cost against quality: exact curves over every threshold, their bands, the frontier of many tiers, and hulls.

A curve is a table with a point per threshold: `threshold`, `strong_calls`, `strong_share` (0-1), `score` (mean,
0-1) and `cost_usd` (mean per request). Requests with equal scores move together, so a router that says the same
of every request has two points, not an error.

Numbers that the literature takes from a cost-quality curve, each as published and as coded.

Where a metric does not apply it is NaN, and says why: ``apgr(curve).reason``.
"""

import numpy as np
import pandas as pd

from tierlab.core.tables import one_of
from tierlab.evaluate.intervals import bootstrap_weights
from tierlab.routing.route import align, pair_outcomes


def cost_quality_curve(outcomes, router_score, *, weak, strong, weights=None):
    """Every trade-off a two-tier router offers, one point per distinct score.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table, with both models' answers to every prompt.
    router_score : Series
        The router's score, indexed by prompt_id; the higher, the more the strong model is needed.
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
        If a prompt has no score, or a score that is missing or infinite; and as `pair_outcomes`.

    Examples
    --------
    >>> table = pd.DataFrame({"prompt_id": [1, 1, 2, 2], "model_id": ["a", "b"] * 2, "score": [1, 1, 0, 1]})
    >>> curve = cost_quality_curve(table, pd.Series({1: 0.2, 2: 0.7}), weak="a", strong="b")
    >>> curve[["strong_share", "score"]].to_numpy().tolist()
    [[0.0, 0.5], [0.5, 1.0], [1.0, 1.0]]
    """
    grid = pair_outcomes(outcomes, [weak, strong])
    scores = align(router_score.rename(router_score.name or "router_score"), grid.prompts).to_numpy(
        float
    )
    columns = [
        grid.values(column, model) for column in ("score", "cost_usd") for model in (weak, strong)
    ]
    weights = (
        None if weights is None else align(weights.rename("weight"), grid.prompts).to_numpy(float)
    )
    return paired_curve(scores, *columns, weights=weights)


def paired_curve(
    router_score,
    weak_score,
    strong_score,
    weak_cost_usd=None,
    strong_cost_usd=None,
    *,
    weights=None,
):
    """`cost_quality_curve` from arrays that are lined up already, one element per prompt.

    Examples
    --------
    >>> paired_curve([0.5, 0.5], [0, 1], [1, 1])[["strong_share", "score"]].to_numpy().tolist()
    [[0.0, 0.5], [1.0, 1.0]]
    """
    scores = np.asarray(router_score, float)
    if not len(scores) or not np.isfinite(scores).all():
        raise ValueError(
            f"{int((~np.isfinite(scores)).sum()):,} of {len(scores):,} router scores are missing or infinite"
        )
    order, ends = ranked_runs(scores)
    n, w = len(scores), None
    if weights is not None:
        w = np.asarray(weights, float)
        if not (np.isfinite(w) & (w >= 0)).all() or not w.sum() > 0:
            raise ValueError("weights are numbers from 0 up, and not all 0")
        w = w[order] / w.mean()
    calls = np.append(0, ends + 1)
    curve = {
        "threshold": np.append(np.inf, scores[order[ends]]),
        "strong_calls": calls,
        "strong_share": calls / n if w is None else np.append(0, np.cumsum(w)[ends]) / n,
    }
    pairs = {"score": (weak_score, strong_score), "cost_usd": (weak_cost_usd, strong_cost_usd)}
    for name, (weak, strong) in pairs.items():
        curve[name] = (
            np.full(len(calls), np.nan) if weak is None else _path(weak, strong, order, ends, w)
        )
    return pd.DataFrame(curve, copy=False)


def ranked_runs(scores):
    """Positions from the highest score to the lowest, and where each run of equal scores ends."""
    order = np.argsort(scores)[::-1]
    ranked = scores[order]
    return order, np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(scores) - 1)


def _path(weak, strong, order, ends, weights):
    """Mean over all prompts while the first ones in `order` move from the weak model to the strong, shape (m + 1,)."""
    weak, strong = np.asarray(weak, float), np.asarray(strong, float)
    change = np.subtract(strong, weak)[order]
    base = weak.mean() if weights is None else (weak[order] * weights).mean()
    total = np.cumsum(change if weights is None else change * weights, out=change)
    path = np.empty(len(ends) + 1)
    path[0] = base
    np.divide(total if len(ends) == len(total) else total[ends], len(order), out=path[1:])
    path[1:] += base
    return path


def curve_band(
    outcomes, router_score, *, weak, strong, seed, shares=101, confidence=0.95, resamples=1000
):
    """Confidence band of a curve: bootstrap over prompts, at fixed shares of strong calls.

    Parameters
    ----------
    outcomes, router_score, weak, strong
        As for `cost_quality_curve`.
    seed : int or numpy.random.Generator
    shares : int or sequence of float
        Shares of strong calls, 0-1, at which to give it; a number stands for that many from 0 to 1.
    confidence, resamples
        As for `tierlab.evaluate.intervals.bootstrap`.

    Returns
    -------
    DataFrame
        strong_share; score, score_low, score_high; cost_usd, cost_usd_low, cost_usd_high. Pointwise, and for
        the router as it is: how another training set would change it is not in the band.

    Notes
    -----
    One sort; a resample changes only the weights of the sorted prompts.
    """
    shares = np.linspace(0, 1, shares) if isinstance(shares, int) else np.asarray(shares, float)
    scores, columns = lined_up(outcomes, router_score, weak, strong)
    order, ends = ranked_runs(scores)
    curve = paired_curve(scores, *columns.values())
    tail = (1 - confidence) / 2
    names = {"score": columns["weak"], "cost_usd": columns["weak_cost"]}
    changes = {
        "score": columns["strong"] - columns["weak"],
        "cost_usd": columns["strong_cost"] - columns["weak_cost"],
    }
    drawn = {name: [] for name in names}
    for block in bootstrap_weights(len(scores), resamples=resamples, seed=seed):
        ranked = block[:, order]
        share = running_sums(ranked, ends) / len(scores)
        for name, base in names.items():
            path = (
                running_sums(ranked * changes[name][order], ends) + (block @ base)[:, None]
            ) / len(scores)
            drawn[name] += [np.interp(shares, x, y) for x, y in zip(share, path, strict=True)]
    band = {"strong_share": shares}
    for name, lines in drawn.items():
        low, high = np.quantile(lines, [tail, 1 - tail], axis=0)
        band |= {
            name: np.interp(shares, curve["strong_share"], curve[name]),
            f"{name}_low": low,
            f"{name}_high": high,
        }
    return pd.DataFrame(band)


def lined_up(outcomes, router_score, weak, strong):
    """Scores and the four columns of a pair, the prompts in the order of their ids: so that resamples pair."""
    grid = pair_outcomes(outcomes, [weak, strong])
    scores = align(router_score.rename(router_score.name or "router_score"), grid.prompts).to_numpy(
        float
    )
    by_id = np.argsort(grid.prompts.to_numpy())
    parts = [
        grid.values(column, model)[by_id]
        for column in ("score", "cost_usd")
        for model in (weak, strong)
    ]
    return scores[by_id], dict(
        zip(("weak", "strong", "weak_cost", "strong_cost"), parts, strict=True)
    )


def running_sums(values, ends):
    """Running sums of each row at the ends of the runs, with a first column of 0."""
    total = np.cumsum(values, axis=1)
    return np.concatenate(
        [np.zeros((len(values), 1)), total if len(ends) == values.shape[1] else total[:, ends]],
        axis=1,
    )


def tier_frontier(outcomes, quality, *, models=None, expected_cost_usd=None):
    """Dollars against quality for any number of tiers, exact over every willingness to pay.

    Each request goes to the model with the highest ``usd_per_point x predicted score - expected cost``, as
    `tierlab.routing.policies.Utility` does it; as usd_per_point rises from 0, requests move one by one to more expensive models.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table with costs.
    quality : DataFrame
        Predicted score of every model (a column per model id or tier), indexed by prompt_id. The true scores
        give the oracle's frontier.
    models : sequence of str, optional
        By default the columns of `quality`.
    expected_cost_usd : mapping of str to float, optional
        What a request to each model is expected to cost; by default the mean in the table.

    Returns
    -------
    DataFrame
        usd_per_point (from this worth of a whole point of score on), cost_usd and score (mean per request, as
        they turned out), and the share of requests per model.

    Examples
    --------
    >>> table = pd.DataFrame({"prompt_id": [1, 1, 2, 2], "model_id": ["a", "b"] * 2,
    ...                       "score": [1, 1, 0, 1], "cost_usd": [1.0, 3.0] * 2})
    >>> guess = pd.DataFrame({"a": [0.9, 0.5], "b": [0.9, 0.9]}, index=[1, 2])
    >>> tier_frontier(table, guess)[["usd_per_point", "cost_usd", "score"]].round(6).to_numpy().tolist()
    [[0.0, 1.0, 0.5], [5.0, 2.0, 1.0]]
    """
    grid = pair_outcomes(outcomes, list(models or quality.columns))
    names = list(models or quality.columns)
    guess = np.column_stack([align(quality[name], grid.prompts).to_numpy(float) for name in names])
    score, cost = grid.values("score"), grid.values("cost_usd")
    if np.isnan(cost).any():
        raise ValueError(
            f"{int(np.isnan(cost).any(axis=1).sum()):,} prompts have an answer without a cost; give prices to load_outcomes"
        )
    expected = (
        cost.mean(axis=0)
        if expected_cost_usd is None
        else np.array([expected_cost_usd[name] for name in names], float)
    )
    start, moves = _upgrades(guess, expected)
    n = len(score)
    worth, row, old, new = moves
    order = np.argsort(worth, kind="stable")
    worth, row, old, new = (part[order] for part in (worth, row, old, new))
    ends = (
        np.append(np.flatnonzero(np.diff(worth)), len(worth) - 1)
        if len(worth)
        else np.array([], int)
    )
    every = np.arange(n)
    path = {"usd_per_point": np.append(0.0, worth[ends])}
    for name, values in (("cost_usd", cost), ("score", score)):
        path[name] = (
            values[every, start].sum()
            + np.append(0.0, np.cumsum(values[row, new] - values[row, old])[ends])
        ) / n
    for column, name in enumerate(names):
        change = np.append(0, np.cumsum((new == column).astype(int) - (old == column))[ends])
        path[f"share:{name}"] = ((start == column).sum() + change) / n
    return pd.DataFrame(path)


def _upgrades(guess, expected):
    """First model of each row, and every move to a more expensive one: (worth at which it pays, row, from, to).

    Walks the upper hull of each row's (cost, predicted score) points: the steepest step up comes first.
    """
    n, k = guess.shape
    cheapest = expected == expected.min()
    at = np.where(cheapest, guess, -np.inf).argmax(axis=1)
    start, rows, moves = at, np.arange(n), []
    for _ in range(k - 1):
        rise = guess[rows] - guess[rows, at][:, None]
        run = expected - expected[at][:, None]
        slope = np.where((run > 0) & (rise > 0), rise / np.where(run > 0, run, 1.0), 0.0)
        best = slope.max(axis=1, initial=0.0)
        # of equal steps the longest, so that a request moves once
        to = np.where((slope == best[:, None]) & (slope > 0), run, -1.0).argmax(axis=1)
        go = best > 0
        moves.append((1 / best[go], rows[go], at[go], to[go]))
        rows, at = rows[go], to[go]
    return start, [np.concatenate(parts) for parts in zip(*moves, strict=True)] if moves else [
        np.array([], int)
    ] * 4


def hull(points):
    """The non-decreasing concave hull: what mixing the best of some models and policies at random achieves.

    Parameters
    ----------
    points : DataFrame
        cost_usd and score, any further columns and any index; one row per model, policy or setting.

    Returns
    -------
    DataFrame
        The rows on the hull, cheapest first, with error_cost_usd: what a wrong answer (score 0 instead of 1)
        must cost, in US dollars, for this row to be the cheapest in all, mistakes included.

    Notes
    -----
    RouterBench's NDCH (Hu et al., arXiv 2403.12031); on single models alone it is their "zero router".

    Examples
    --------
    >>> hull(pd.DataFrame({"cost_usd": [1.0, 2.0, 3.0], "score": [0.5, 0.6, 0.9]}, index=["s", "m", "f"]))
       cost_usd  score  error_cost_usd
    s       1.0    0.5             0.0
    f       3.0    0.9             5.0
    """
    table = points.iloc[np.lexsort((-points["score"].to_numpy(), points["cost_usd"].to_numpy()))]
    x, y = table["cost_usd"].to_numpy(float), table["score"].to_numpy(float)
    if not len(x) or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError(
            f"{int((~(np.isfinite(x) & np.isfinite(y))).sum()):,} of {len(x):,} points have no cost or score"
        )
    rising = np.flatnonzero(np.append(True, y[1:] > np.maximum.accumulate(y)[:-1]))
    kept = []
    for i in rising:
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
        From `tierlab.routing.curve.cost_quality_curve`.
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
        From `tierlab.routing.curve.cost_quality_curve`.
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
        return (
            None,
            None,
            "equal scores: the deciles are not distinct, and the published code stops there",
        )
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


def metric_intervals(
    outcomes,
    router_scores,
    *,
    weak,
    strong,
    seed,
    levels=(0.5, 0.8),
    confidence=0.95,
    resamples=1000,
):
    """APGR and CPT (exact) with bootstrap intervals over prompts, paired between routers.

    Parameters
    ----------
    outcomes, weak, strong
        As for `tierlab.routing.curve.cost_quality_curve`.
    router_scores : Series, DataFrame or mapping of str to Series
        One or more routers' scores, indexed by prompt_id. Each further one is also compared with the first.
    seed : int
    levels : sequence of float
        Parts of the gap for which to give CPT.
    confidence, resamples
        As for `tierlab.evaluate.intervals.bootstrap`.

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
        draws[router] = np.concatenate(
            [_metrics(block[:, order], change, ends, levels) for block in blocks]
        )
    first, *others = points
    for other in others:
        points[f"{other} - {first}"] = points[other] - points[first]
        draws[f"{other} - {first}"] = draws[other] - draws[first]
    tail = (1 - confidence) / 2
    index = pd.MultiIndex.from_product([points, names], names=["router", "metric"])
    low, high = np.quantile(np.stack(list(draws.values())), [tail, 1 - tail], axis=1)
    ends = {
        "estimate": np.concatenate(list(points.values())),
        "low": low.ravel(),
        "high": high.ravel(),
    }
    table = pd.DataFrame(ends, index=index).assign(
        prompts=len(values), resamples=resamples, confidence=confidence
    )
    return table.assign(
        reason=np.where(
            table["low"].isna(),
            "without a gap between the models, in the table or in a resample",
            "",
        )
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
    if (
        not {"cost_usd", "score"} <= set(points)
        or not np.isfinite(points[["cost_usd", "score"]].to_numpy(float)).all()
    ):
        return Metric(reason="a point without a cost or a score")
    best = hull(points)
    x, y = best["cost_usd"].to_numpy(float), best["score"].to_numpy(float)
    last = float(points["cost_usd"].max()) if max_cost_usd is None else float(max_cost_usd)
    if last < points["cost_usd"].max():
        raise ValueError(
            f"max_cost_usd={max_cost_usd!r} lies below the dearest point, {points['cost_usd'].max()!r}"
        )
    area, width = (
        np.trapezoid(np.append(y, y[-1]), np.append(x, last)),
        last - (x[0] if variant == "paper" else 0.0),
    )
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
        return Metric(
            reason=f"a cost of {usd_per_1000:g} USD per thousand is off the scale, above 0 and below 200"
        )
    cheap = np.log2(200 / usd_per_1000) / np.log2(200 / 0.0044)
    return Metric((1 + beta) * accuracy * cheap / (beta * accuracy + cheap))
