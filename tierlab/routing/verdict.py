"""Compare policies: against honest baselines, at other prices and task mixes, and in conversations."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from tierlab.core.format import counted, number, share, usd
from tierlab.core.vocabulary import known, needs_usd, unknown
from tierlab.evaluate.intervals import bootstrap
from tierlab.routing.curve import hull, lined_up, paired_curve
from tierlab.routing.policies import Always, Policy, Rules, check_shares, draw
from tierlab.routing.route import pair_outcomes, route
from tierlab.routing.sessions import Caches, equal_conversations


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
    """Compare the quality and cost of several policies on the same prompts, with paired intervals.

    Parameters
    ----------
    outcomes, features
        As for `route`.
    policies : mapping of str to Policy
        Policies by name.
    reference : str
        Name of the policy against which saving and change of score are measured, such as always the flagship.
    seed : int
        For the policies that draw, and for the resamples.
    error_cost_usd : float
        Cost of a wrong answer (score 0 instead of 1), US dollars.
    confidence, resamples
        As for `tierlab.evaluate.intervals.bootstrap`: every policy meets the same resampled prompts.

    Returns
    -------
    DataFrame
        By policy and measure: estimate, low, high, prompts, resamples, confidence, reason (why a number is
        missing). The measures are score (mean, 0-1); usd_per_1000 (per thousand requests, everything included);
        router_usd_per_1000 (own calls and discarded answers); saving (share of the reference's cost);
        score_change (against the reference); net_usd_per_1000 (cost saved against the reference, less what the
        lost score is worth at error_cost_usd); over_control (score minus that of a random mix of the same cost,
        `same_cost_mix`) and over_zero (the same against the best random mix of single models at that cost,
        RouterBench's zero router); p50_s and p95_s (latency, without interval).

    Raises
    ------
    ValueError
        If `reference` is not one of the policies, and as `route`.
    """
    known("policy", reference, policies)
    needs_usd("error_cost_usd", error_cost_usd)
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
    """Compute the measures of `compare_policies` from the means of each resample."""
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
    """Return the random mix that costs as much as a policy did: what its money buys without its knowledge.

    It starts from the policy's own shares, as if its choices were dealt out to other prompts, and moves them towards the
    cheapest or the most expensive model until the expected cost equals all that the policy spent, its own calls included.

    Parameters
    ----------
    routes : DataFrame
        From `route`.
    outcomes : DataFrame
        The table that was routed.

    Returns
    -------
    Series
        Share of the requests, 0-1, by model_id in the order of the table; NaN if a cost is unknown or no request was
        answered.
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
    """Return the mean cost and score of each model by itself."""
    means = {name: grid.values(name).mean(axis=0) for name in ("cost_usd", "score")}
    return pd.DataFrame(means, index=grid.models)


def _best_mix(singles, cost_usd):
    """Return the share of each model in the best random mix at a cost; NaN if a cost is unknown.

    The mix consists of two neighbours on the hull of the models, or beyond an end of the hull of the model there.
    """
    if singles["cost_usd"].isna().any() or not np.isfinite(cost_usd):
        return pd.Series(np.nan, singles.index)
    best = hull(singles)
    places = np.arange(len(best))
    apart = np.abs(places - np.interp(cost_usd, best["cost_usd"], places))
    shares = pd.Series(np.maximum(1 - apart, 0), best.index)
    return shares.reindex(singles.index, fill_value=0.0)


def worth_rows(compared, names):
    """Show what policies are worth: their quality, their cost, and their gain over what the money buys without them.

    Parameters
    ----------
    compared : DataFrame
        From `tierlab.compare_policies`.
    names : sequence of str
        Policies to show.

    Returns
    -------
    DataFrame
        Text, with headings in words.
    """
    means = compared["estimate"].unstack("measure").loc[list(names)]
    return pd.DataFrame(
        {
            "policy": means.index,
            "right answers": means["score"].map(share),
            "1,000 messages": means["usd_per_1000"].map(usd),
            "own calls": means["router_usd_per_1000"].map(usd),
            "over a random mix": (100 * means["over_control"]).map("{:+.1f} points".format),
            "over single models": (100 * means["over_zero"]).map("{:+.1f} points".format),
        }
    ).reset_index(drop=True)


def measure_rows(compared):
    """Return every known measure of `tierlab.compare_policies` with its interval, a row per policy and measure.

    Parameters
    ----------
    compared : DataFrame
        From `compare_policies`.
    """
    table = compared[["estimate", "low", "high"]].dropna(subset="estimate").reset_index()
    return table.astype({"policy": str, "measure": str})


def policy_points(compared, policies):
    """Return the points of `figures.policies`: label, cost, score with its interval, and the tier of a single model.

    Parameters
    ----------
    compared : DataFrame
        From `compare_policies`.
    policies : mapping of str to Policy
        Policies by name.
    """
    measures = compared.unstack("measure").loc[list(policies)]
    tiers = [policy.model if isinstance(policy, Always) else None for policy in policies.values()]
    return pd.DataFrame(
        {
            "label": list(policies),
            "cost_usd": measures["estimate", "usd_per_1000"].to_numpy(float) / 1000,
            "score": measures["estimate", "score"].to_numpy(float),
            "score_low": measures["low", "score"].to_numpy(float),
            "score_high": measures["high", "score"].to_numpy(float),
            "interval": "95% of 1,000 paired bootstrap resamples",
            "tier": tiers,
        }
    )


def mid_words(means):
    """Say how far the mid tier lies below the flagship, compared with the article's 10-20%.

    Parameters
    ----------
    means : DataFrame
        By policy: score (0-1) and usd_per_1000.
    """
    if "always mid" not in means.index:
        return "These outcomes have no mid tier, so the article's 10-20% below the flagship stays open here."
    score = means["score"]
    gap = 1 - score["always mid"] / score["always flagship"]
    where = "inside" if 0.1 <= gap <= 0.2 else "outside"
    single = [name for name in means.index if name.startswith("always")]
    best = (score / means["usd_per_1000"])[single].idxmax()
    return (
        f"The mid tier scores **{gap:.1%} below the flagship**: {where} the article's 10-20%, which is for hard "
        f"benchmarks. Per dollar, {best} scores most."
    )


def mix_weights(outcomes, mix, *, by="task"):
    """Weight the prompts of a table as if its tasks had another mix: what would a router be worth on other traffic?

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table.
    mix : mapping of str to float
        Task -> share of requests, 0-1; they add up to 1.
    by : str
        Column with the task.

    Returns
    -------
    Series
        Weight of each prompt, mean 1, indexed by prompt_id: for `cost_quality_curve(weights=...)`.

    Raises
    ------
    ValueError
        If a task of the mix is not in the table, because no weight can stand for prompts that were never asked; or if
        the shares do not add up to 1.

    Examples
    --------
    >>> table = pd.DataFrame({"prompt_id": [1, 2, 3, 4], "task": ["a", "a", "a", "b"]})
    >>> mix_weights(table, {"a": 0.5, "b": 0.5}).round(4).tolist()
    [0.6667, 0.6667, 0.6667, 2.0]
    """
    task = outcomes.drop_duplicates("prompt_id").set_index("prompt_id")[by].astype(object)
    present = task.value_counts(normalize=True)
    for name, part in mix.items():
        if name not in present and part:
            raise ValueError(unknown(by, name, present.index))
    check_shares("the mix", mix)
    weight = pd.Series(mix, dtype=float).reindex(present.index, fill_value=0.0) / present
    return task.map(weight).astype(float).rename("weight")


def calibrate_threshold(
    outcomes, router_score, *, weak, strong, seed, strong_share, resamples=1000
):
    """Choose a threshold on one half of the prompts and see what it does on the other half.

    Parameters
    ----------
    outcomes, router_score, weak, strong
        As for `tierlab.cost_quality_curve`.
    seed : int
        Splits the prompts (by id) and draws the resamples.
    strong_share : float
        Largest share of strong calls, 0-1, that is allowed on the calibration part.
    resamples : int
        As for `tierlab.evaluate.intervals.bootstrap`.

    Returns
    -------
    DataFrame
        By part ("calibration", "held out"): prompts, threshold (the strong model from here on), and
        strong_share, score, cost_usd, pgr (performance gap recovered), each with _low and _high (95%). Quote the
        interval of the held-out part; the other half chose the threshold.

    Raises
    ------
    ValueError
        If `strong_share` does not lie from 0 to 1, or there are too few prompts to split.
    """
    if not 0 <= strong_share <= 1:
        raise ValueError(f"strong_share={strong_share!r}; give a share from 0 to 1")
    pairs = lined_up(outcomes, router_score, weak=weak, strong=strong).sort_index()
    fit = draw({"prompt_id": pairs.index.to_numpy(), "seed": seed}, "calibration") < 0.5
    if fit.all() or not fit.any():
        raise ValueError(f"too few to split: {counted(len(pairs), 'prompt')}")
    curve = paired_curve(pairs[fit])
    threshold = curve.loc[curve["strong_share"] <= strong_share + 1e-12, "threshold"].iloc[-1]
    rows = {}
    for part, keep in (("calibration", fit), ("held out", ~fit)):
        half = pairs[keep]
        harder = half["router_score"] >= threshold
        table = half[["weak_score", "strong_score"]].assign(strong_share=harder.astype(float))
        for name in ("score", "cost_usd"):
            table[name] = half[f"strong_{name}"].where(harder, half[f"weak_{name}"])
        table = table.dropna(axis=1)  # without costs that are not known
        found = bootstrap(table, _with_pgr, resamples=resamples, seed=seed)
        row = {"prompts": keep.sum(), "threshold": threshold}
        for name, ends in found[["estimate", "low", "high"]].iterrows():
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
        rows[part] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("part")


def _with_pgr(means):
    """Add the performance gap recovered to means; a cost that is not known becomes NaN."""
    gap = means["strong_score"] - means["weak_score"]
    pgr = (means["score"] - means["weak_score"]) / gap.where(gap > 0)
    return means.assign(pgr=pgr).reindex(columns=["strong_share", "score", "cost_usd", "pgr"])


def price_sensitivity(
    outcomes, policy, *, model, factors, error_cost_usd=0.0, seed=None, features=None
):
    """Return what routing and each single model would cost, errors included, at other prices of one model.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table with costs.
    policy : Policy
        Decides anew at every price if it looks at money.
    model : str
        Model id or tier whose price changes.
    factors : sequence of float
        Its prices as multiples of today's, from 0.
    error_cost_usd : float
        Cost of a wrong answer (score 0 instead of 1), US dollars.
    seed, features
        As for `route`.

    Returns
    -------
    DataFrame
        By factor: policy and one column per model (US dollars per request, errors included), and cheapest.

    Raises
    ------
    ValueError
        If a factor is below 0 or the model is unknown, and as `route`.

    Notes
    -----
    For policies that do not look at money the columns are straight lines, and `break_even_factor` is exact.
    """
    needs_usd("error_cost_usd", error_cost_usd)
    grid = pair_outcomes(outcomes)
    name = grid.models[grid.column(model)]
    chosen, rows = outcomes["model_id"] == name, {}
    for factor in factors:
        if not factor >= 0:
            raise ValueError(f"factor={factor!r}; give a multiple of today's price, from 0 up")
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
    """Find the price factors at which the policy costs as much as a model.

    Parameters
    ----------
    sensitivity : DataFrame
        From `price_sensitivity`.
    against : str
        Model id.

    Returns
    -------
    DataFrame
        A row per crossing: factor, and policy_pays, the side ("above" or "below" it) on which the policy is cheaper.
        There are no rows if nothing crosses within the range.

    Raises
    ------
    ValueError
        If `against` is not in the table.

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


def price_words(sensitivity, router, models):
    """Say at which price of the flagship a router stops paying, against each model of `price_sensitivity`.

    Parameters
    ----------
    sensitivity : DataFrame
        From `price_sensitivity`.
    router : str
        Name of the router.
    models : sequence of str
        Ids of the models to compare it with.
    """
    parts = [
        f"than {model} {row.policy_pays} {number(row.factor)} times"
        for model in models
        for row in break_even_factor(sensitivity, model).itertuples()
    ]
    if not parts:
        return f"At none of these prices of the flagship does the choice between {router} and a single model turn."
    return f"{router} costs less {', '.join(parts)} today's price of the flagship, errors included."


def compare_conversations(
    outcomes: pd.DataFrame,
    policies: Mapping[str, Policy],
    caches: Caches,
    *,
    reference: str,
    seed: int,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> pd.DataFrame:
    """Compare what policies save in conversations with what the shares of their turns promise.

    Parameters
    ----------
    outcomes : DataFrame
        An outcomes table with session_id and turn.
    policies : mapping of str to Policy
        Policies by name.
    caches : Caches
        Prices and rules of the prompt caches.
    reference : str
        Id of the model that savings are measured against, as if it answered everything.
    seed : int
        For policies that draw, and for the resamples (whole sessions).
    confidence, resamples
        As for `tierlab.evaluate.intervals.bootstrap`.

    Returns
    -------
    DataFrame
        By policy: usd_per_session; saving with low and high, against the reference model alone; promised, the saving
        of the same shares of turns if each model answered whole sessions; switches per session; score (mean over
        turns), sessions, turns.

    Raises
    ------
    ValueError
        If `reference` is not a model of the table, and as `route`.
    """
    singles, names = {}, list(pd.unique(outcomes["model_id"]))
    known("model", reference, names)
    for name in names:
        singles[name] = _by_session(route(outcomes, Always(name), sessions=caches))["cost_usd"]
    rows = {}
    for label, policy in policies.items():
        routes = route(outcomes, policy, seed=seed, sessions=caches)
        costs = _by_session(routes)
        table = costs.assign(reference=singles[reference])
        saving = bootstrap(
            table[["cost_usd", "reference"]],
            lambda means: pd.DataFrame({"saving": 1 - means["cost_usd"] / means["reference"]}),
            confidence=confidence,
            resamples=resamples,
            seed=seed,
        ).loc["saving"]
        shares = routes["model_id"].value_counts(normalize=True)
        alone = sum(part * singles[name].sum() for name, part in shares.items())
        rows[label] = {
            "usd_per_session": costs["cost_usd"].mean(),
            "saving": saving["estimate"],
            "low": saving["low"],
            "high": saving["high"],
            "promised": 1 - alone / singles[reference].sum(),
            "switches": costs["switches"].mean(),
            "score": routes["score"].mean(),
            "sessions": len(costs),
            "turns": len(routes),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("policy")


def _by_session(routes):
    """Return the cost of each session and how often its model changes."""
    ordered = routes.sort_values(["session_id", "turn"], kind="stable")
    model, session = ordered["model_id"].astype(object), ordered["session_id"]
    table = ordered[["session_id"]].assign(
        cost_usd=ordered["cost_usd"] + ordered["router_cost_usd"],
        switches=session.eq(session.shift()) & model.ne(model.shift()),
    )
    return table.groupby("session_id").sum()


def errors_included(replayed, error_cost_usd):
    """Return what a conversation costs with each policy of `compare_conversations`, errors included (US dollars).

    Parameters
    ----------
    replayed : DataFrame
        From `compare_conversations`.
    error_cost_usd : float
        Cost of a wrong answer (US dollars).
    """
    needs_usd("error_cost_usd", error_cost_usd)
    turns = replayed["turns"] / replayed["sessions"]
    return replayed["usd_per_session"] + turns * (1 - replayed["score"]) * error_cost_usd


def conversation_rows(replayed, *, error_cost_usd):
    """Show `compare_conversations` with headings in words, and what a conversation costs with its errors.

    Parameters
    ----------
    replayed, error_cost_usd
        As for `errors_included`.

    Returns
    -------
    DataFrame
        Text, with headings in words.
    """
    total = errors_included(replayed, error_cost_usd)
    return pd.DataFrame(
        {
            "policy": replayed.index,
            "replayed saving": replayed["saving"].map(share),
            "promised saving": replayed["promised"].map(share),
            "changes of model": replayed["switches"].map("{:.2f}".format),
            "right answers": replayed["score"].map(share),
            "with errors": total.map(usd),
        }
    ).reset_index(drop=True)


def one_switch(shape, prices, *, small, flagship):
    """Replay a conversation on the small model whose last turn but one goes to the flagship.

    Parameters
    ----------
    shape : tierlab.core.product.Conversation
    prices : Prices
    small, flagship : str
        Model ids.

    Returns
    -------
    (DataFrame, float)
        The route with tier and input_tokens, and what the whole conversation costs on the small model alone (US dollars).
    """
    outcomes = equal_conversations(shape, {small: 1.0, flagship: 1.0})
    switch = Rules({max(shape.turns - 1, 1): flagship}, column="turn", default=small)
    turns, alone = (
        route(outcomes, policy, sessions=Caches(prices)) for policy in (switch, Always(small))
    )
    tier = np.where(turns["model_id"] == flagship, "flagship", "small")
    whole = outcomes.loc[outcomes["model_id"] == small, "uncached_input_tokens"].to_numpy()
    return turns.assign(tier=tier, input_tokens=whole), float(alone["cost_usd"].sum())
