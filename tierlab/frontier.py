"""Cost against quality: the exact routing curve and its band, the dollar frontier of any number of tiers, sensitivity."""

import numpy as np
import pandas as pd

from tierlab.evaluation import bootstrap_weights
from tierlab.metrics import Metric, apgr
from tierlab.names import unknown


def pair(outcomes, router_score, *, weak, strong):
    """Outcomes of two models and a router's score, side by side.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table; one row per prompt and model.
    router_score : Series
        Indexed by prompt_id; a higher score calls the strong model sooner.
    weak, strong : str
        Two model_ids of the table.

    Returns
    -------
    DataFrame
        Per prompt: router_score, weak_score, strong_score (0-1), weak_usd, strong_usd (NaN where unknown).

    Raises
    ------
    ValueError
        If a model is not in the table, a prompt has two rows for a model, only one of the models, or no
        router score, or a score is missing or outside 0-1; names the prompts.
    """
    if weak == strong:
        raise ValueError(f"weak and strong are both {weak!r}; a routing curve lies between two models")
    column = outcomes["model_id"]
    sides = {}
    for name, model in (("weak", weak), ("strong", strong)):
        if isinstance(column.dtype, pd.CategoricalDtype):
            code = column.cat.categories.get_indexer([model])[0]
            rows = np.flatnonzero(column.cat.codes.to_numpy() == code) if code >= 0 else []
        else:
            rows = np.flatnonzero(column.to_numpy() == model)
        if not len(rows):
            raise ValueError(unknown("model", model, column.unique()))
        cost = outcomes["cost_usd"].to_numpy(float)[rows] if "cost_usd" in outcomes else np.full(len(rows), np.nan)
        sides[name] = outcomes["prompt_id"].to_numpy()[rows], outcomes["score"].to_numpy(float)[rows], cost
    ids, score, cost = sides["weak"]
    others = sides["strong"]
    if not np.array_equal(ids, others[0]):
        order, match = _sorted(ids, weak), _sorted(others[0], strong)
        ids, score, cost, others = ids[order], score[order], cost[order], [column[match] for column in others]
        if not np.array_equal(ids, others[0]):
            alone = np.setxor1d(ids, others[0])
            raise ValueError(f"{len(alone):,} prompts have only one of {weak!r} and {strong!r}; first: {_named(alone)}")
    elif not router_score.index.is_unique or len(router_score) != len(ids):
        _sorted(ids, weak)
    given = router_score.to_numpy(float)
    if not (len(router_score) == len(ids) and np.array_equal(router_score.index.to_numpy(), ids)):
        if not router_score.index.is_unique:
            raise ValueError(
                f"the router scores a prompt twice; first: {_named(router_score.index[router_score.index.duplicated()])}"
            )
        given = router_score.reindex(ids).to_numpy(float)
    for what, values in (("no router score", given), ("no score", score + others[1])):
        if np.isnan(values).any():
            lost = ids[np.isnan(values)]
            raise ValueError(f"{len(lost):,} prompts have {what}; first: {_named(lost)}; a missing score is not a low one")
    if min(score.min(initial=0), others[1].min(initial=0)) < 0 or max(score.max(initial=0), others[1].max(initial=0)) > 1:
        outside = ids[(score < 0) | (score > 1) | (others[1] < 0) | (others[1] > 1)]
        raise ValueError(f"{len(outside):,} prompts have a score outside 0-1; first: {_named(outside)}")
    columns = {"router_score": given, "weak_score": score, "strong_score": others[1], "weak_usd": cost, "strong_usd": others[2]}
    return pd.DataFrame(columns, index=pd.Index(ids, name="prompt_id"), copy=False)


def _sorted(ids, model):
    order = np.argsort(ids, kind="stable")
    twice = ids[order][1:] == ids[order][:-1]
    if twice.any():
        raise ValueError(
            f"{int(twice.sum()):,} prompts have a second row for {model!r}; first: {_named(ids[order][1:][twice])}"
        )
    return order


def _named(ids):
    return ", ".join(repr(name.item() if isinstance(name, np.generic) else name) for name in list(ids[:3]))


def cost_quality_curve(outcomes, router_score, *, weak, strong):
    """Quality and cost of routing between two models at every threshold of a router's score.

    Prompts with equal scores move together, so no order among them is invented.

    Parameters
    ----------
    outcomes, router_score, weak, strong
        As for `pair`.

    Returns
    -------
    DataFrame
        A row per distinct threshold, from no strong call to all: threshold (the strong model is called where
        the score is at least this; infinite in the first row), strong_calls, share_strong (0-1), quality (mean
        score), cost_usd (USD per request, the answers alone; NaN where a cost is unknown).

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"prompt_id": [1, 2] * 2, "model_id": ["s"] * 2 + ["f"] * 2, "score": [1, 0, 1, 1]})
    >>> cost_quality_curve(table, pd.Series([0.1, 0.9], [1, 2]), weak="s", strong="f")["quality"].tolist()
    [0.5, 1.0, 1.0]
    """
    return _curve(*pair(outcomes, router_score, weak=weak, strong=strong).to_numpy().T)


def _curve(router, weak_score, strong_score, weak_usd, strong_usd):
    n = len(router)
    order = np.argsort(router)[::-1]
    ranked = router[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if n else np.array([], int)
    calls = np.append(0, last + 1)
    curve = {"threshold": np.append(np.inf, ranked[last]), "strong_calls": calls, "share_strong": calls / max(n, 1)}
    for name, weak, strong in (("quality", weak_score, strong_score), ("cost_usd", weak_usd, strong_usd)):
        gained = np.cumsum((strong - weak)[order])[last]
        curve[name] = (weak.sum() + np.append(0.0, gained)) / n if n else np.array([np.nan])
    return pd.DataFrame(curve, copy=False)


def tier_frontier(outcomes, predicted):
    """Exact dollar frontier of routing among any number of models by predicted quality.

    For every willingness to pay w the model with the highest w x predicted quality - cost answers; the frontier
    walks through all w at once, because each prompt climbs its own upper hull.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table with cost_usd, every prompt answered by every model.
    predicted : DataFrame
        Predicted quality, prompt_id x model_id. The true scores give the oracle's frontier.

    Returns
    -------
    DataFrame
        willingness_usd (USD per unit of quality at which the step is taken; 0 in the first row), cost_usd (USD
        per request) and quality (mean score), one row per distinct step.
    """
    wide = {name: outcomes.pivot(index="prompt_id", columns="model_id", values=name) for name in ("score", "cost_usd")}
    score, cost = wide["score"], wide["cost_usd"]
    if score.isna().any(axis=None) or cost.isna().any(axis=None):
        raise ValueError("every prompt needs a score and a cost for every model; see tierlab.outcomes.check_outcomes")
    guess = predicted.reindex(index=score.index, columns=score.columns).to_numpy(float)
    if np.isnan(guess).any():
        raise ValueError(f"{int(np.isnan(guess).any(axis=1).sum()):,} prompts have no prediction for some model")
    score, cost, rows = score.to_numpy(), cost.to_numpy(), np.arange(len(score))
    ties = np.lexsort((-guess, cost))[:, 0] if guess.shape[1] else None
    here, steps = ties, []
    for _ in range(guess.shape[1] - 1):
        more, dearer = guess - guess[rows, here][:, None], cost - cost[rows, here][:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.where((more > 0) & (dearer > 0), more / dearer, 0.0)
        there = slope.argmax(axis=1)
        climbs = slope[rows, there] > 0
        moved = rows[climbs], here[climbs], there[climbs]
        steps.append(
            (
                1 / slope[moved[0], moved[2]],
                cost[moved[0], moved[2]] - cost[moved[:2]],
                score[moved[0], moved[2]] - score[moved[:2]],
            )
        )
        here = np.where(climbs, there, here)
    at, more_usd, gained = (np.concatenate([step[part] for step in steps] or [[]]) for part in range(3))
    order = np.argsort(at, kind="stable")
    last = np.flatnonzero(np.append(np.diff(at[order]) > 0, True)) if len(at) else np.array([], int)
    start = cost[rows, ties].sum(), score[rows, ties].sum()
    totals = [np.append(0, np.cumsum(step[order])[last]) + base for step, base in zip((more_usd, gained), start, strict=True)]
    frontier = {"willingness_usd": np.append(0, at[order][last]), "cost_usd": totals[0], "quality": totals[1]}
    return pd.DataFrame(frontier).assign(cost_usd=totals[0] / len(score), quality=totals[1] / len(score))


def curve_band(outcomes, router_score, *, weak, strong, points=101, confidence=0.95, resamples=1000, seed):
    """Bootstrap band of a routing curve, and interval of its exact APGR.

    Prompts are drawn with replacement, both models of a prompt together; every resample has its own weak and
    strong ends. One sort serves all resamples.

    Returns
    -------
    band : DataFrame
        share_strong (a grid from 0 to 1), quality, low, high, prompts, resamples, confidence.
    interval : tuple of Metric
        Lower and upper end for the exact APGR.
    """
    table = pair(outcomes, router_score, weak=weak, strong=strong).sort_values("router_score", ascending=False, kind="stable")
    curve, grid, n = _curve(*table.to_numpy().T), np.linspace(0, 1, points), len(table)
    ends = curve["strong_calls"].to_numpy()[1:] - 1
    weak_score, gain = table["weak_score"].to_numpy(), (table["strong_score"] - table["weak_score"]).to_numpy()
    qualities, recovered = [], []
    for block in bootstrap_weights(n, resamples=resamples, seed=seed):
        base = block @ weak_score / n
        shares = np.cumsum(block, axis=1)[:, ends] / n
        gains = np.cumsum(block * gain, axis=1)[:, ends] / n
        for first, share, gained in zip(base, shares, gains, strict=True):
            share, quality = np.append(0, share), first + np.append(0, gained)
            qualities.append(np.interp(grid, share, quality))
            recovered.append(apgr(pd.DataFrame({"share_strong": share, "quality": quality})) if gained[-1] > 0 else np.nan)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(qualities, tails, axis=0)
    at = np.interp(grid, curve["share_strong"], curve["quality"])
    about = {"prompts": n, "resamples": resamples, "confidence": confidence}
    band = pd.DataFrame({"share_strong": grid, "quality": at, "low": low, "high": high}).assign(**about)
    if np.isnan(recovered).any():
        reason = "in some resample the strong model is no better than the weak one"
        return band, (Metric(np.nan, reason), Metric(np.nan, reason))
    return band, tuple(Metric(end) for end in np.quantile(recovered, tails))


def calibrate(outcomes, router_score, *, weak, strong, share_strong, seed):
    """Choose a threshold for a share of strong calls on one half of the prompts and see what it does on the other.

    Returns
    -------
    DataFrame
        Rows "calibration" and "held out": prompts, threshold, share_strong, quality, cost_usd.
    """
    table = pair(outcomes, router_score, weak=weak, strong=strong)
    half = np.random.default_rng(seed).permutation(len(table)) < len(table) // 2
    chosen = _curve(*table[half].to_numpy().T)
    threshold = chosen["threshold"].iloc[int((chosen["share_strong"] - share_strong).abs().to_numpy().argmin())]
    rows = []
    for part in (table[half], table[~half]):
        up = part["router_score"] >= threshold
        mean = {name: part[f"strong_{name}"].where(up, part[f"weak_{name}"]).mean(skipna=False) for name in ("score", "usd")}
        rows.append(
            {
                "prompts": len(part),
                "threshold": threshold,
                "share_strong": up.mean(),
                "quality": mean["score"],
                "cost_usd": mean["usd"],
            }
        )
    return pd.DataFrame(rows, index=["calibration", "held out"])


def strong_price_break_even(share_strong, weak_usd, router_usd):
    """Cost of a strong answer (USD per request) below which routing no longer pays.

    Notes
    -----
    Always strong costs c_s; routed s c_s + (1 - s) c_w + r. They meet at c_s = c_w + r / (1 - s). Infinite when
    everything goes to the strong model.

    Examples
    --------
    The article's router: 20 % to Opus, Haiku at $0.002, a classifier call of $0.00056.

    >>> round(strong_price_break_even(0.2, 0.002, 0.00056), 6)
    0.0027
    """
    return weak_usd + router_usd / (1 - share_strong) if share_strong < 1 else float("inf")


def error_cost_limit(saving_usd, quality_lost):
    """Cost of one error (USD) above which the errors of routing eat its saving; infinite if no quality is lost.

    Examples
    --------
    >>> error_cost_limit(0.0064, 0.02)
    0.32
    """
    return saving_usd / quality_lost if quality_lost > 0 else float("inf")


def pays_back_after(build_usd, saving_usd):
    """Requests after which a router has earned what it cost to build; infinite where it saves nothing.

    Examples
    --------
    >>> pays_back_after(20_000, 0.005)
    4000000.0
    """
    return build_usd / saving_usd if saving_usd > 0 else float("inf")


def reweighted(routed, task_share):
    """Quality and cost of a routed table if tasks came in other shares.

    Parameters
    ----------
    routed : DataFrame
        From `tierlab.route`, with task, score and cost_usd.
    task_share : mapping of str to float
        Task -> share of requests; sums to 1. Every task must occur in the table.

    Returns
    -------
    Series
        quality (mean score) and cost_usd (USD per request).
    """
    shares = pd.Series(task_share, dtype=float)
    if not np.isclose(shares.sum(), 1):
        raise ValueError(f"the shares of the tasks sum to {shares.sum()}, not to 1")
    means = routed.groupby("task", observed=True)[["score", "cost_usd"]].mean()
    for task in shares.index.difference(means.index):
        raise ValueError(unknown("task", task, means.index))
    return (means.loc[shares.index].mul(shares, axis=0)).sum().rename({"score": "quality"})
