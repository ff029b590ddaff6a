"""Is a router worth it: policies side by side, against honest baselines, and when the answer changes."""

import numpy as np
import pandas as pd

from tierlab.core.tables import TOKEN_COLUMNS
from tierlab.core.vocabulary import unknown
from tierlab.evaluate.intervals import bootstrap, bootstrap_weights
from tierlab.prices.pricing import price
from tierlab.routing.curve import hull, lined_up, paired_curve
from tierlab.routing.outcomes import price_outcomes
from tierlab.routing.policies import Always, RandomMix, draw
from tierlab.routing.route import pair_outcomes, route


def compare_policies(
    outcomes,
    policies,
    prices=None,
    *,
    reference,
    seed,
    error_cost_usd=0.0,
    confidence=0.95,
    resamples=1000,
    **world,
):
    """Quality and cost of several policies on the same prompts, with paired intervals.

    Parameters
    ----------
    outcomes, prices
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
    **world
        Passed on to `route`: features, tiers, requests_per_minute, context_windows.

    Returns
    -------
    DataFrame
        By policy and measure: estimate, low, high, prompts, resamples, confidence, reason (why a number is
        missing). Measures: score (mean, 0-1); usd_per_1000 (per thousand requests, everything included);
        router_usd_per_1000 (own calls and discarded answers); saving (share of the reference's cost);
        score_change (against the reference); net_usd_per_1000 (cost saved against the reference, less what the
        lost score is worth at error_cost_usd); over_control (score minus that of a random mix of the same cost,
        `shuffled_control`) and over_zero (the same against the best such mix, `zero_router`); p50_s and p95_s
        (latency, without interval).
    """
    if reference not in policies:
        raise ValueError(unknown("policy", reference, policies))
    if prices is not None:
        outcomes = price_outcomes(outcomes, prices, missing_price="raise")
    grid, columns, waits = pair_outcomes(outcomes), {}, {}
    singles = _singles(grid)
    best = hull(singles) if singles["cost_usd"].notna().all() else None
    for name, policy in policies.items():
        routes = route(outcomes, policy, seed=seed, **world)
        spent = (routes["cost_usd"] + routes["router_cost_usd"]).mean(skipna=False)
        mixes = {
            "control": shuffled_control(routes, outcomes),
            "zero": None if best is None else _mix_at(best, spent),
        }
        columns[name, "score"] = routes["score"].to_numpy()
        columns[name, "cost"] = 1000 * (routes["cost_usd"] + routes["router_cost_usd"]).to_numpy()
        columns[name, "own"] = 1000 * routes["router_cost_usd"].to_numpy()
        for kind, mix in mixes.items():
            columns[name, kind] = (
                np.nan
                if mix is None
                else grid.values("score") @ [mix.shares.get(m, 0) for m in grid.models]
            )
        waits[name] = routes["end_to_end_s"]
    table = pd.DataFrame(columns, index=routes["prompt_id"])
    known = table.columns[table.notna().all()]
    result = bootstrap(
        table[known].sort_index(),
        lambda means: _measures(
            means.reindex(columns=table.columns), policies, reference, error_cost_usd
        ),
        **{"confidence": confidence, "resamples": resamples, "seed": seed},
    )
    result.index = pd.MultiIndex.from_tuples(result.index, names=["policy", "measure"])
    settings = {"prompts": len(table), "resamples": resamples, "confidence": confidence}
    rows = {
        (p, f"p{q}_s"): {"estimate": w.quantile(q / 100), **settings}
        for p, w in waits.items()
        for q in (50, 95)
    }
    result = pd.concat(
        [result, pd.DataFrame.from_dict(rows, orient="index").rename_axis(["policy", "measure"])]
    )
    result["reason"] = np.where(
        result["estimate"].isna(),
        "a cost or latency that it needs is not in the table, or the reference costs nothing",
        "",
    )
    return result.loc[list(policies)]


def _measures(means, policies, reference, error_cost_usd):
    base = means[reference]
    parts = {}
    for name in policies:
        own = means[name]
        parts[name, "score"] = own["score"]
        parts[name, "usd_per_1000"] = own["cost"]
        parts[name, "router_usd_per_1000"] = own["own"]
        parts[name, "saving"] = 1 - own["cost"] / base["cost"].where(base["cost"] > 0)
        parts[name, "score_change"] = own["score"] - base["score"]
        parts[name, "net_usd_per_1000"] = (
            base["cost"] - own["cost"] + 1000 * error_cost_usd * parts[name, "score_change"]
        )
        parts[name, "over_control"] = own["score"] - own["control"]
        parts[name, "over_zero"] = own["score"] - own["zero"]
    return pd.DataFrame(parts)


def shuffled_control(routes, outcomes):
    """A random mix that costs what a policy cost: what its money buys without its knowledge.

    The policy's own shares, which are its choices dealt out to other prompts; moved towards the cheapest or the
    dearest model until the expected cost equals all that the policy spent, its own calls included.

    Parameters
    ----------
    routes : DataFrame
        From `route`.
    outcomes : DataFrame
        The table that was routed.

    Returns
    -------
    RandomMix or None
        None where a cost is unknown or no request was answered.
    """
    models = outcomes["model_id"].astype(object)
    cost = (
        outcomes["cost_usd"].groupby(models, sort=False).mean()
        if "cost_usd" in outcomes
        else pd.Series(dtype=float)
    )
    shares = (
        routes["model_id"]
        .astype(object)
        .value_counts(normalize=True)
        .reindex(cost.index, fill_value=0.0)
    )
    target = (routes["cost_usd"] + routes["router_cost_usd"]).mean()
    if not (np.isfinite(target) and np.isfinite(cost).all() and shares.sum() > 0):
        return None
    now = shares @ cost
    end = cost.idxmax() if target > now else cost.idxmin()
    gap = cost[end] - now
    step = min(1.0, (target - now) / gap) if gap else 0.0
    mix = (1 - step) * shares + step * (shares.index == end)
    return RandomMix((mix / mix.sum()).to_dict())


def classifier_cost(outcomes, prices, model, *, overhead_tokens=45, output_tokens=3):
    """Cost of one classifier call per prompt: the message plus the classifier's prompt in, one word out.

    Parameters
    ----------
    outcomes : DataFrame
        With uncached_input_tokens (and cache buckets): the message as the models get it.
    prices : Prices
    model : str
        The model that classifies.
    overhead_tokens, output_tokens : int
        Tokens of the classifier's prompt and of its reply; 45 and 3 estimate the article's two prompts and
        one-word reply.

    Returns
    -------
    Series
        US dollars, indexed by prompt_id, named router_call_usd: pass it to `route(features=...)`.
    """
    first = outcomes.drop_duplicates("prompt_id")
    message = first[[column for column in TOKEN_COLUMNS[:-1] if column in first]].sum(axis=1)
    calls = {"uncached_input_tokens": message + overhead_tokens, "output_tokens": output_tokens}
    cost = price(pd.DataFrame(calls).assign(model_id=model), prices)["cost_usd"].to_numpy()
    return pd.Series(cost, index=pd.Index(first["prompt_id"]), name="router_call_usd")


def operating_points(outcomes, policies, prices=None, *, seed=None, **world):
    """Cost and quality of each single model and each policy: points for `tierlab.routing.curve.hull`.

    Returns
    -------
    DataFrame
        By name: cost_usd (mean per request, everything included), score (mean, 0-1), kind ("model", "policy").
    """
    if prices is not None:
        outcomes = price_outcomes(outcomes, prices, missing_price="raise")
    singles = {name: Always(name) for name in pd.unique(outcomes["model_id"])}
    rows = {}
    for name, policy in {**singles, **policies}.items():
        routes = route(outcomes, policy, seed=seed, **world)
        cost = (routes["cost_usd"] + routes["router_cost_usd"]).mean(skipna=False)
        rows[name] = {
            "cost_usd": cost,
            "score": routes["score"].mean(),
            "kind": "policy" if name in policies else "model",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def zero_router(outcomes, cost_usd):
    """The best random mix of single models at a given cost: RouterBench's zero router, as a policy.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table with costs.
    cost_usd : float
        Mean cost per request to spend, US dollars; beyond the ends of the hull, the model at that end.

    Returns
    -------
    RandomMix
    """
    return _mix_at(hull(_singles(pair_outcomes(outcomes))), cost_usd)


def _singles(grid):
    """Mean cost and score of each model by itself."""
    return pd.DataFrame(
        {name: grid.values(name).mean(axis=0) for name in ("cost_usd", "score")}, index=grid.models
    )


def _mix_at(best, cost_usd):
    """The mix of the two models of a hull that costs so much; beyond its ends the model there, None without a cost."""
    if not np.isfinite(cost_usd):
        return None
    place = np.interp(cost_usd, best["cost_usd"], np.arange(len(best)))
    low = int(place)
    shares = {best.index[low]: 1 - (place - low)} | (
        {best.index[low + 1]: place - low} if place > low else {}
    )
    return RandomMix({name: float(share) for name, share in shares.items()})


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
    values = np.array(list(mix.values()), float)
    if not (values >= 0).all() or not np.isclose(values.sum(), 1):
        raise ValueError(f"the mix is {dict(mix)}; shares are 0-1 and add up to 1")
    return (
        task.map(pd.Series(mix, dtype=float).reindex(present.index, fill_value=0.0) / present)
        .astype(float)
        .rename("weight")
    )


def calibrate_threshold(
    outcomes, router_score, *, weak, strong, seed, strong_share=None, cost_usd=None, pgr=None,
    split=0.5, confidence=0.95, resamples=1000,
):  # fmt: skip
    """Choose a threshold on one part of the prompts and see what it does on the other.

    Parameters
    ----------
    outcomes, router_score, weak, strong
        As for `tierlab.routing.curve.cost_quality_curve`.
    seed : int
        Splits the prompts (by id) and draws the resamples.
    strong_share, cost_usd, pgr : float, optional
        Give one: the largest share of strong calls (0-1), the largest mean cost per request (US dollars), or
        the smallest part of the performance gap to close (0-1) on the calibration part.
    split : float
        Share of the prompts to calibrate on, 0-1.
    confidence, resamples
        As for `tierlab.evaluate.intervals.bootstrap`.

    Returns
    -------
    DataFrame
        By part ("calibration", "held out"): prompts, threshold (the strong model from here on), and
        strong_share, score, cost_usd, pgr, each with _low and _high. The interval of the held-out part is the
        one to quote; the calibration part was looked at.
    """
    wanted = {
        name: value
        for name, value in (("strong_share", strong_share), ("cost_usd", cost_usd), ("pgr", pgr))
        if value is not None
    }
    if len(wanted) != 1 or not 0 < split < 1:
        raise ValueError(
            f"give one of strong_share, cost_usd and pgr, and a split between 0 and 1; got {wanted}, split={split!r}"
        )
    ((target, value),) = wanted.items()
    scores, pair = lined_up(outcomes, router_score, weak, strong)
    ids = np.sort(pair_outcomes(outcomes, [weak, strong]).prompts.to_numpy())
    fit = draw({"prompt_id": ids, "seed": seed}, "calibration") < split
    if fit.all() or not fit.any():
        raise ValueError(f"{len(ids):,} prompts are too few to split at {split!r}")
    curve = paired_curve(scores[fit], *(column[fit] for column in pair.values()))
    gap = curve["score"].iloc[-1] - curve["score"].iloc[0]
    reached = (curve["score"] - curve["score"].iloc[0]) >= (
        value * gap if target == "pgr" and gap > 0 else np.inf
    )
    fine = reached if target == "pgr" else curve[target] <= value * (1 + 1e-12)
    if not fine.any():
        raise ValueError(
            f"no threshold gives {target}={value!r} on the calibration part; its range is {curve[target].min() if target in curve else 0:.6g} to {curve[target].max() if target in curve else 1:.6g}"
        )
    threshold = curve["threshold"][np.flatnonzero(fine)[0 if target == "pgr" else -1]]
    rows = {}
    for part, keep in (("calibration", fit), ("held out", ~fit)):
        rows[part] = _at_threshold(
            scores[keep] >= threshold,
            {name: c[keep] for name, c in pair.items()},
            seed,
            confidence,
            resamples,
        )
    return (
        pd.DataFrame.from_dict(rows, orient="index").assign(threshold=threshold).rename_axis("part")
    )


def _at_threshold(harder, pair, seed, confidence, resamples):
    """Share, score, cost and PGR of a fixed routing with bootstrap intervals."""
    columns = {
        "strong_share": harder.astype(float),
        "score": np.where(harder, pair["strong"], pair["weak"]),
        "cost_usd": np.where(harder, pair["strong_cost"], pair["weak_cost"]),
        **{name: pair[name] for name in ("weak", "strong")},
    }
    table = np.column_stack(list(columns.values()))
    means = np.concatenate(
        [w @ table for w in bootstrap_weights(len(harder), resamples=resamples, seed=seed)]
    ) / len(harder)
    means = np.vstack([table.mean(axis=0), means])
    gap = means[:, 4] - means[:, 3]
    recovered = np.divide(
        means[:, 1] - means[:, 3], gap, out=np.full(len(gap), np.nan), where=gap > 0
    )
    tail, row = (1 - confidence) / 2, {"prompts": len(harder)}
    for name, values in zip(
        ("strong_share", "score", "cost_usd", "pgr"), (*means[:, :3].T, recovered), strict=True
    ):
        low, high = np.quantile(values[1:], [tail, 1 - tail])
        row |= {name: values[0], f"{name}_low": low, f"{name}_high": high}
    return row


def price_sensitivity(outcomes, policy, *, model, factors, error_cost_usd=0.0, seed=None, **world):
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
    chosen = (outcomes["model_id"] == name).to_numpy()
    rows = {}
    for factor in factors:
        if not factor >= 0:
            raise ValueError(f"factor={factor!r}; a price against today's, from 0 up, is needed")
        table = outcomes.assign(
            cost_usd=outcomes["cost_usd"].where(~chosen, outcomes["cost_usd"] * factor)
        )
        points = operating_points(table, {"policy": policy}, seed=seed, **world)
        rows[factor] = points["cost_usd"] + error_cost_usd * (1 - points["score"])
    result = pd.DataFrame.from_dict(rows, orient="index").rename_axis("factor")
    result = result[["policy", *grid.models]]
    return result.assign(
        cheapest=result.idxmin(axis=1, skipna=True) if result.notna().all(axis=None) else np.nan
    )


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
        raise ValueError(
            unknown(
                "model", against, sensitivity.columns.drop(["policy", "cheapest"], errors="ignore")
            )
        )
    table = sensitivity.sort_index()
    factor, gain = table.index.to_numpy(float), (table[against] - table["policy"]).to_numpy(float)
    at = np.flatnonzero(gain[:-1] * gain[1:] < 0)
    cross = factor[at] - gain[at] * (factor[at + 1] - factor[at]) / (gain[at + 1] - gain[at])
    return pd.DataFrame(
        {"factor": cross, "policy_pays": np.where(gain[at] < 0, "above", "below").astype(object)}
    )
