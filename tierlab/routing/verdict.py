"""Is a router worth it: policies side by side, against honest baselines, and when the answer changes."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from tierlab.core.vocabulary import unknown
from tierlab.evaluate.intervals import bootstrap
from tierlab.routing.curve import hull, lined_up, paired_curve
from tierlab.routing.policies import Policy, check_shares, draw
from tierlab.routing.route import pair_outcomes, route


def compare_policies(
    outcomes: pd.DataFrame,
    policies: Mapping[str, Policy],
    *,
    reference: str,
    seed: int,
    features: pd.Series | pd.DataFrame | None = None,
    error_cost_usd: float = 0.0,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> pd.DataFrame:
    """Quality and cost of several policies on the same prompts, with paired intervals.

    Parameters
    ----------
    outcomes, features
        As for `route`.
    policies : mapping of str to Policy
    reference : str
        The policy of these against which saving and change in score are measured, such as always the flagship.
    seed : int
        For the policies that draw, and for the resamples.
    error_cost_usd : float
        What a wrong answer (score 0 instead of 1) costs, US dollars.
    confidence, resamples
        As for `tierlab.evaluate.intervals.bootstrap`: every policy meets the same resampled prompts.

    Returns
    -------
    DataFrame
        By policy and measure: estimate, low, high, prompts, resamples, confidence, reason (why a number is
        missing). Measures: score (mean, 0-1); usd_per_1000 (per thousand requests, everything included);
        router_usd_per_1000 (own calls and discarded answers); saving (share of the reference's cost);
        score_change (against the reference); net_usd_per_1000 (cost saved against the reference, less what the
        lost score is worth at error_cost_usd); over_control (score minus that of a random mix of the same cost,
        `same_cost_mix`) and over_zero (the same against the best random mix of single models at that cost,
        RouterBench's zero router); p50_s and p95_s (latency, without interval).
    """
    if reference not in policies:
        raise ValueError(unknown("policy", reference, policies))
    grid, columns, waits = pair_outcomes(outcomes), {}, {}
    scores, singles = grid.values("score"), _singles(grid)
    for name, policy in policies.items():
        routes = route(outcomes, policy, seed=seed, features=features)
        cost = routes["cost_usd"] + routes["router_cost_usd"]
        columns[name, "score"] = routes["score"].to_numpy()
        columns[name, "cost"] = 1000 * cost.to_numpy()
        columns[name, "own"] = 1000 * routes["router_cost_usd"].to_numpy()
        columns[name, "control"] = scores @ same_cost_mix(routes, outcomes)
        columns[name, "zero"] = scores @ _best_mix(singles, cost.mean(skipna=False))
        waits[name] = routes["end_to_end_s"]
    # a cost that is not known makes every number that needs it NaN
    table = pd.DataFrame(columns, index=grid.prompts).dropna(axis=1)
    result = bootstrap(
        table.sort_index(),
        lambda means: _measures(
            means.reindex(columns=list(columns)), policies, reference, error_cost_usd
        ),
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )
    seconds = pd.DataFrame(waits).quantile([0.5, 0.95]).set_axis(["p50_s", "p95_s"])
    result = pd.concat([result, seconds.unstack().to_frame("estimate")])
    settings = {"prompts": len(table), "resamples": resamples, "confidence": confidence}
    why = "a cost or latency that it needs is not in the table, or the reference costs nothing"
    missing = result["estimate"].isna()
    result = result.assign(**settings, reason=np.where(missing, why, "")).loc[list(policies)]
    return result.rename_axis(["policy", "measure"])


def _measures(means, policies, reference, error_cost_usd):
    base, parts = means[reference], {}
    for name in policies:
        own = means[name]
        change = own["score"] - base["score"]
        parts[name] = pd.DataFrame(
            {
                "score": own["score"],
                "usd_per_1000": own["cost"],
                "router_usd_per_1000": own["own"],
                "saving": 1 - own["cost"] / base["cost"].where(base["cost"] > 0),
                "score_change": change,
                "net_usd_per_1000": base["cost"] - own["cost"] + 1000 * error_cost_usd * change,
                "over_control": own["score"] - own["control"],
                "over_zero": own["score"] - own["zero"],
            }
        )
    return pd.concat(parts, axis=1)


def same_cost_mix(routes, outcomes):
    """The random mix that costs what a policy cost: what its money buys without its knowledge.

    The policy's own shares, which are its choices dealt out to other prompts; moved towards the cheapest or the
    most expensive model until the expected cost equals all that the policy spent, its own calls included.

    Parameters
    ----------
    routes : DataFrame
        From `route`.
    outcomes : DataFrame
        The table that was routed.

    Returns
    -------
    Series
        Share of the requests, 0-1, by model_id in the order of the table; NaN where a cost is unknown or no request
        was answered.
    """
    grid = pair_outcomes(outcomes)
    cost = _singles(grid)["cost_usd"]
    shares = routes["model_id"].astype(object).value_counts(normalize=True)
    shares = shares.reindex(grid.models, fill_value=0.0)
    target = (routes["cost_usd"] + routes["router_cost_usd"]).mean()
    if not (np.isfinite(target) and np.isfinite(cost).all()):
        return shares * np.nan
    now = shares @ cost
    end = cost.idxmax() if target > now else cost.idxmin()
    gap = cost[end] - now
    step = min(1.0, (target - now) / gap) if gap else 0.0
    mix = (1 - step) * shares + step * (shares.index == end)
    return mix / mix.sum()


def _singles(grid):
    """Mean cost and score of each model by itself."""
    means = {name: grid.values(name).mean(axis=0) for name in ("cost_usd", "score")}
    return pd.DataFrame(means, index=grid.models)


def _best_mix(singles, cost_usd):
    """Share of each model in the best random mix at a cost; NaN where a cost is unknown.

    It mixes two neighbours on the hull of the models; beyond its ends it is the model there.
    """
    if singles["cost_usd"].isna().any() or not np.isfinite(cost_usd):
        return pd.Series(np.nan, singles.index)
    best = hull(singles)
    places = np.arange(len(best))
    apart = np.abs(places - np.interp(cost_usd, best["cost_usd"], places))
    shares = pd.Series(np.maximum(1 - apart, 0), best.index)
    return shares.reindex(singles.index, fill_value=0.0)


def mix_weights(outcomes, mix, *, by="task"):
    """Weights that turn the task mix of a table into another: what a router would be worth on other traffic.

    Parameters
    ----------
    outcomes : DataFrame
    mix : mapping of str to float
        Task -> share of requests, 0-1; they add up to 1.
    by : str
        The column.

    Returns
    -------
    Series
        Weight of each prompt, mean 1, indexed by prompt_id: for `cost_quality_curve(weights=...)`.

    Raises
    ------
    ValueError
        If a task of the mix is not in the table: no weight can stand for prompts that were never asked.

    Examples
    --------
    >>> table = pd.DataFrame({"prompt_id": [1, 2, 3, 4], "task": ["a", "a", "a", "b"]})
    >>> mix_weights(table, {"a": 0.5, "b": 0.5}).round(4).tolist()
    [0.6667, 0.6667, 0.6667, 2.0]
    """
    task = outcomes.drop_duplicates("prompt_id").set_index("prompt_id")[by].astype(object)
    present = task.value_counts(normalize=True)
    for name, share in mix.items():
        if name not in present and share:
            raise ValueError(unknown(by, name, present.index))
    check_shares("the mix", mix)
    weight = pd.Series(mix, dtype=float).reindex(present.index, fill_value=0.0) / present
    return task.map(weight).astype(float).rename("weight")


def calibrate_threshold(
    outcomes, router_score, *, weak, strong, seed, strong_share, resamples=1000
):
    """Choose a threshold on one half of the prompts and see what it does on the other.

    Parameters
    ----------
    outcomes, router_score, weak, strong
        As for `tierlab.routing.curve.cost_quality_curve`.
    seed : int
        Splits the prompts (by id) and draws the resamples.
    strong_share : float
        The largest share of strong calls (0-1) on the calibration part.
    resamples : int
        As for `tierlab.evaluate.intervals.bootstrap`.

    Returns
    -------
    DataFrame
        By part ("calibration", "held out"): prompts, threshold (the strong model from here on), and
        strong_share, score, cost_usd, pgr (performance gap recovered), each with _low and _high (95%). The interval
        of the held-out part is the one to quote; the calibration part was looked at.
    """
    if not 0 <= strong_share <= 1:
        raise ValueError(f"strong_share={strong_share!r}; a share from 0 to 1 is needed")
    pairs = lined_up(outcomes, router_score, weak=weak, strong=strong).sort_index()
    fit = draw({"prompt_id": pairs.index.to_numpy(), "seed": seed}, "calibration") < 0.5
    if fit.all() or not fit.any():
        raise ValueError(f"{len(pairs):,} prompts are too few to split")
    curve = paired_curve(pairs[fit])
    threshold = curve.loc[curve["strong_share"] <= strong_share + 1e-12, "threshold"].iloc[-1]
    rows = {}
    for part, keep in (("calibration", fit), ("held out", ~fit)):
        half = pairs[keep]
        harder = half["router_score"] >= threshold
        table = half[["weak_score", "strong_score"]].assign(strong_share=harder.astype(float))
        for name in ("score", "cost_usd"):
            table[name] = half[f"strong_{name}"].where(harder, half[f"weak_{name}"])
        table = table.dropna(axis=1)  # costs that are not known
        found = bootstrap(table, _with_pgr, resamples=resamples, seed=seed)
        row = {"prompts": keep.sum(), "threshold": threshold}
        for name, ends in found[["estimate", "low", "high"]].iterrows():
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
        rows[part] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("part")


def _with_pgr(means):
    """Means with the performance gap recovered; a cost that is not known is NaN."""
    gap = means["strong_score"] - means["weak_score"]
    pgr = (means["score"] - means["weak_score"]) / gap.where(gap > 0)
    return means.assign(pgr=pgr).reindex(columns=["strong_share", "score", "cost_usd", "pgr"])


def price_sensitivity(
    outcomes, policy, *, model, factors, error_cost_usd=0.0, seed=None, features=None
):
    """What routing and each single model would cost in all, at other prices of one model.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table with costs.
    policy : Policy
        Decides anew at every price, if it looks at money.
    model : str
        Model id or tier whose price changes.
    factors : sequence of float
        Its price against today's.
    error_cost_usd : float
        What a wrong answer (score 0 instead of 1) costs, US dollars.
    seed, features
        As for `route`.

    Returns
    -------
    DataFrame
        By factor: policy and one column per model (US dollars per request, mistakes included), and cheapest.

    Notes
    -----
    For policies that do not look at money the columns are straight lines, and `break_even_factor` is exact.
    """
    grid = pair_outcomes(outcomes)
    name = grid.models[grid.column(model)]
    chosen, rows = outcomes["model_id"] == name, {}
    for factor in factors:
        if not factor >= 0:
            raise ValueError(f"factor={factor!r}; a price against today's, from 0 up, is needed")
        cost = outcomes["cost_usd"].where(~chosen, outcomes["cost_usd"] * factor)
        routes = route(outcomes.assign(cost_usd=cost), policy, seed=seed, features=features)
        own = (
            routes["cost_usd"] + routes["router_cost_usd"] + error_cost_usd * (1 - routes["score"])
        )
        singles = _singles(pair_outcomes(outcomes.assign(cost_usd=cost)))
        singles = singles["cost_usd"] + error_cost_usd * (1 - singles["score"])
        rows[factor] = {"policy": own.mean(skipna=False), **singles}
    result = pd.DataFrame.from_dict(rows, orient="index").rename_axis("factor")
    known = result.notna().all(axis=None)
    return result.assign(cheapest=result.idxmin(axis=1) if known else np.nan)


def break_even_factor(sensitivity, against):
    """The price factor at which the policy costs as much as a model: (factor, side on which the policy is cheaper).

    Parameters
    ----------
    sensitivity : DataFrame
        From `price_sensitivity`.
    against : str
        Model id.

    Returns
    -------
    DataFrame
        A row per crossing: factor, and policy_pays ("above" or "below" it). Empty when there is none in range.

    Examples
    --------
    >>> table = pd.DataFrame({"policy": [2.0, 3.0], "flagship": [1.0, 5.0]}, index=[1.0, 2.0])
    >>> break_even_factor(table, "flagship").round(4).to_dict("records")
    [{'factor': 1.3333, 'policy_pays': 'above'}]
    """
    if against not in sensitivity:
        raise ValueError(unknown("model", against, sensitivity))
    table = sensitivity.sort_index()
    factor, gain = table.index.to_numpy(float), (table[against] - table["policy"]).to_numpy(float)
    at = np.flatnonzero(gain[:-1] * gain[1:] < 0)
    cross = factor[at] - gain[at] * (factor[at + 1] - factor[at]) / (gain[at + 1] - gain[at])
    return pd.DataFrame(
        {"factor": cross, "policy_pays": np.where(gain[at] < 0, "above", "below").astype(object)}
    )
