"""Cost against quality: exact curves over every threshold, their bands, the frontier of many tiers, and hulls.

A curve is a table with a point per threshold: `threshold`, `strong_calls`, `strong_share` (0-1), `score` (mean,
0-1) and `cost_usd` (mean per request). Requests with equal scores move together, so a router that says the same
of every request has two points, not an error.
"""

import numpy as np
import pandas as pd

from tierlab.evaluation import bootstrap_weights
from tierlab.grid import align, pair_outcomes


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
        Weight of each prompt, indexed by prompt_id (`tierlab.verdict.mix_weights` for another task mix).

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
    scores = align(router_score.rename(router_score.name or "router_score"), grid.prompts).to_numpy(float)
    columns = [grid.values(column, model) for column in ("score", "cost_usd") for model in (weak, strong)]
    weights = None if weights is None else align(weights.rename("weight"), grid.prompts).to_numpy(float)
    return paired_curve(scores, *columns, weights=weights)


def paired_curve(router_score, weak_score, strong_score, weak_cost_usd=None, strong_cost_usd=None, *, weights=None):
    """`cost_quality_curve` from arrays that are lined up already, one element per prompt.

    Examples
    --------
    >>> paired_curve([0.5, 0.5], [0, 1], [1, 1])[["strong_share", "score"]].to_numpy().tolist()
    [[0.0, 0.5], [1.0, 1.0]]
    """
    scores = np.asarray(router_score, float)
    if not len(scores) or not np.isfinite(scores).all():
        raise ValueError(f"{int((~np.isfinite(scores)).sum()):,} of {len(scores):,} router scores are missing or infinite")
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
        curve[name] = np.full(len(calls), np.nan) if weak is None else _path(weak, strong, order, ends, w)
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


def curve_band(outcomes, router_score, *, weak, strong, seed, shares=101, confidence=0.95, resamples=1000):
    """Confidence band of a curve: bootstrap over prompts, at fixed shares of strong calls.

    Parameters
    ----------
    outcomes, router_score, weak, strong
        As for `cost_quality_curve`.
    seed : int or numpy.random.Generator
    shares : int or sequence of float
        Shares of strong calls, 0-1, at which to give it; a number stands for that many from 0 to 1.
    confidence, resamples
        As for `tierlab.evaluation.bootstrap`.

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
    changes = {"score": columns["strong"] - columns["weak"], "cost_usd": columns["strong_cost"] - columns["weak_cost"]}
    drawn = {name: [] for name in names}
    for block in bootstrap_weights(len(scores), resamples=resamples, seed=seed):
        ranked = block[:, order]
        share = running_sums(ranked, ends) / len(scores)
        for name, base in names.items():
            path = (running_sums(ranked * changes[name][order], ends) + (block @ base)[:, None]) / len(scores)
            drawn[name] += [np.interp(shares, x, y) for x, y in zip(share, path, strict=True)]
    band = {"strong_share": shares}
    for name, lines in drawn.items():
        low, high = np.quantile(lines, [tail, 1 - tail], axis=0)
        band |= {name: np.interp(shares, curve["strong_share"], curve[name]), f"{name}_low": low, f"{name}_high": high}
    return pd.DataFrame(band)


def lined_up(outcomes, router_score, weak, strong):
    """Scores and the four columns of a pair, the prompts in the order of their ids: so that resamples pair."""
    grid = pair_outcomes(outcomes, [weak, strong])
    scores = align(router_score.rename(router_score.name or "router_score"), grid.prompts).to_numpy(float)
    by_id = np.argsort(grid.prompts.to_numpy())
    parts = [grid.values(column, model)[by_id] for column in ("score", "cost_usd") for model in (weak, strong)]
    return scores[by_id], dict(zip(("weak", "strong", "weak_cost", "strong_cost"), parts, strict=True))


def running_sums(values, ends):
    """Running sums of each row at the ends of the runs, with a first column of 0."""
    total = np.cumsum(values, axis=1)
    return np.concatenate([np.zeros((len(values), 1)), total if len(ends) == values.shape[1] else total[:, ends]], axis=1)


def tier_frontier(outcomes, quality, *, models=None, expected_cost_usd=None):
    """Dollars against quality for any number of tiers, exact over every willingness to pay.

    Each request goes to the model with the highest ``usd_per_point x predicted score - expected cost``, as
    `tierlab.policies.Utility` does it; as usd_per_point rises from 0, requests move one by one to more expensive models.

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
    expected = cost.mean(axis=0) if expected_cost_usd is None else np.array([expected_cost_usd[name] for name in names], float)
    start, moves = _upgrades(guess, expected)
    n = len(score)
    worth, row, old, new = moves
    order = np.argsort(worth, kind="stable")
    worth, row, old, new = (part[order] for part in (worth, row, old, new))
    ends = np.append(np.flatnonzero(np.diff(worth)), len(worth) - 1) if len(worth) else np.array([], int)
    every = np.arange(n)
    path = {"usd_per_point": np.append(0.0, worth[ends])}
    for name, values in (("cost_usd", cost), ("score", score)):
        path[name] = (values[every, start].sum() + np.append(0.0, np.cumsum(values[row, new] - values[row, old])[ends])) / n
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
    return start, [np.concatenate(parts) for parts in zip(*moves, strict=True)] if moves else [np.array([], int)] * 4


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
        raise ValueError(f"{int((~(np.isfinite(x) & np.isfinite(y))).sum()):,} of {len(x):,} points have no cost or score")
    rising = np.flatnonzero(np.append(True, y[1:] > np.maximum.accumulate(y)[:-1]))
    kept = []
    for i in rising:
        while len(kept) > 1 and (y[kept[-1]] - y[kept[-2]]) * (x[i] - x[kept[-2]]) <= (y[i] - y[kept[-2]]) * (
            x[kept[-1]] - x[kept[-2]]
        ):
            kept.pop()
        kept.append(i)
    steps = np.diff(x[kept]) / np.diff(y[kept])
    return table.iloc[kept].assign(error_cost_usd=np.append(0.0, steps))
