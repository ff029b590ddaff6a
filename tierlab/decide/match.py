"""Where each tier is the cheapest, over the cost of an error and the complexity of a task, and what would settle a choice."""

import numpy as np
import pandas as pd

from tierlab.core.tables import load_tasks
from tierlab.decide.recommend import recommend
from tierlab.decide.tasks import assumed, load_assumptions, rated
from tierlab.evaluate.planning import paired_sample_size

COMPLEXITIES = np.linspace(1, 3, 41)


def cheapest_ranges(options):
    """From which to which cost of an error each model is its provider's cheapest, errors included.

    Parameters
    ----------
    options : DataFrame
        Table of `tierlab.recommend`: provider, tier, model_id, expected_usd, error_usd (USD per request), error_rate.

    Returns
    -------
    DataFrame
        provider, tier, model_id, from_usd, to_usd (USD per error; infinite at the end), in rising order. A model that
        is never the cheapest has no row.

    Notes
    -----
    Total cost is a straight line in the cost of an error, so the cheapest changes only where two lines cross.

    Examples
    --------
    >>> options = pd.DataFrame({"provider": "p", "tier": ["small", "flagship"], "model_id": ["a", "b"], "error_usd": 0.0,
    ...                         "expected_usd": [0.002, 0.010], "error_rate": [0.10, 0.05]})
    >>> cheapest_ranges(options)["to_usd"].round(6).tolist()
    [0.16, inf]
    """
    parts = []
    for _, own in options[options["expected_usd"].notna()].groupby("provider", sort=False):
        base, rate = _lines(own)
        edges = _crossings(base, rate)
        middles = (edges + np.append(edges[1:], 2 * edges[-1] + 1)) / 2
        best = (base + np.outer(middles, rate)).argmin(axis=1)
        first = np.r_[True, best[1:] != best[:-1]]
        part = own.iloc[best[first]][["provider", "tier", "model_id"]]
        begins = edges[first]
        parts.append(part.assign(from_usd=begins, to_usd=np.append(begins[1:], np.inf)))
    return pd.concat(parts, ignore_index=True)


def extra_costs(options, *, now, requests_per_day=1.0):
    """What each model costs more than its provider's cheapest, over the cost of an error.

    Parameters
    ----------
    options : DataFrame
        As for `cheapest_ranges`.
    now : float
        USD per error, a point of every line.
    requests_per_day : float

    Returns
    -------
    DataFrame
        provider, tier, model_id, error_cost_usd, extra_usd (USD a day). Between two costs of an error a line is
        straight; it ends half as far again as the last change of tier, or as `now`.
    """
    ends = cheapest_ranges(options)["from_usd"]
    top, parts = 1.5 * max(now, ends.max()), []
    for _, own in options[options["expected_usd"].notna()].groupby("provider", sort=False):
        base, rate = _lines(own)
        at = _crossings(base, rate)
        at = np.unique(np.r_[at[at < top], now, top])
        total = base + np.outer(at, rate)
        extra = (total - total.min(axis=1, keepdims=True)) * requests_per_day
        rows = own.loc[own.index.repeat(len(at)), ["provider", "tier", "model_id"]]
        rows = rows.assign(error_cost_usd=np.tile(at, len(own)), extra_usd=extra.T.ravel())
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)


def _lines(own):
    """Cost of a request without errors, and error rate, of each model."""
    return (own["expected_usd"] - own["error_usd"]).to_numpy(), own["error_rate"].to_numpy()


def _crossings(base, rate):
    """The costs of an error at which any two lines cross, from 0 up."""
    one, other = np.triu_indices(len(base), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = (base[one] - base[other]) / (rate[other] - rate[one])
    return np.unique(np.r_[0.0, at[np.isfinite(at) & (at > 0)]])


def complexity_ranges(options):
    """`cheapest_ranges` at every complexity from 1 to 3, with the error rates that are assumed there.

    Parameters
    ----------
    options : DataFrame
        Table of `tierlab.recommend`; its error rates are not used.

    Returns
    -------
    DataFrame
        complexity, and the columns of `cheapest_ranges`. Between two ratings error rates run straight from one to the
        other.
    """
    rates = load_assumptions().query("quantity == 'error_rate'")
    rates = rates.pivot(index="rating", columns="tier", values="value")
    base, parts = options["expected_usd"] - options["error_usd"], []
    for complexity in COMPLEXITIES:
        rate = {tier: np.interp(complexity, rates.index, rates[tier]) for tier in rates}
        here = options.assign(
            expected_usd=base, error_usd=0.0, error_rate=options["tier"].map(rate)
        )
        parts.append(cheapest_ranges(here).assign(complexity=complexity))
    return pd.concat(parts, ignore_index=True)


def match_tasks(*, prices, workload, provider, own_costs=None, seed=0):
    """The tier that each of the nine task types calls for, by its assumed errors and the cost of one.

    Parameters
    ----------
    prices : Prices
    workload : Workload
    provider : str
    own_costs : mapping, optional
        USD per error of some tasks, in place of the one that is assumed from the stakes.
    seed : int

    Returns
    -------
    DataFrame
        By task: name, tier, model_id, best_share (of the draws), close (whether it is too close to call), complexity,
        complexity_low, complexity_high (1 to 3), error_cost_usd, cost_low, cost_high (USD), rule (the tier or
        tiers of the article's two questions), article (those of its table), agrees.
    """
    tasks, rows = load_tasks(), []
    for task, row in tasks.iterrows():
        own = (own_costs or {}).get(task)
        found = recommend(
            task=task,
            error_cost_usd=own,
            prices=prices,
            workload=workload,
            provider=provider,
            seed=seed,
        )
        cost = [own] * 3 if own is not None else assumed("error_cost", task).iloc[0].tolist()
        low, high = int(row["complexity_low"]), int(row["complexity_high"])
        tiers = list(dict.fromkeys([row["tier_low"], row["tier_high"]]))
        rows.append(
            {
                "name": row["name"],
                "tier": found.tier,
                "model_id": found.model_id,
                "best_share": found.table["best_share"].iloc[0],
                "close": bool(found.close),
                "complexity": (low + high) / 2,
                "complexity_low": low,
                "complexity_high": high,
                **dict(zip(("error_cost_usd", "cost_low", "cost_high"), cost, strict=True)),
                "rule": rated(task).rule,
                "article": " to ".join(tiers),
                "agrees": found.tier in tiers,
            }
        )
    return pd.DataFrame(rows, index=tasks.index)


def settling(found):
    """How far each rival's error rate is from turning the choice, and how many own examples would tell.

    Parameters
    ----------
    found : Recommendation

    Returns
    -------
    DataFrame
        One row per rival: tier, model_id; lead (share 0-1 of requests that the choice answers wrongly less often, as
        assumed), needed (the lead from which the choice pays), distance (their difference), sd (of the difference in
        errors on one example), examples (that show on which side of `needed` the lead lies), behind_usd (what the rival
        costs more, USD a day). Where no error rate turns the choice, distance is above 1 and examples NaN.

    Notes
    -----
    Two models that err independently; both answer the same examples. Examples: `tierlab.paired_sample_size`, power 80%,
    two-sided level 5%.
    """
    table, cost = found.running(), found.cost["error_cost_usd"]
    best, rivals = table.iloc[0], table.iloc[1:]
    lead = rivals["error_rate"] - best["error_rate"]
    other = rivals["expected_usd"] - rivals["error_usd"]
    needed = ((best["expected_usd"] - best["error_usd"]) - other) / cost
    apart = rivals["error_rate"] + best["error_rate"]
    apart = apart - 2 * rivals["error_rate"] * best["error_rate"]
    result = rivals[["tier", "model_id"]].assign(
        lead=lead, needed=needed, distance=lead - needed, sd=np.sqrt(apart - lead**2)
    )
    result["behind_usd"] = (rivals["expected_usd"] - best["expected_usd"]) * (
        found.workload.point().requests_per_day
    )
    result["examples"] = [
        paired_sample_size(row.distance, sd=row.sd) if 0 < row.distance <= 1 else np.nan
        for row in result.itertuples()
    ]
    return result.reset_index(drop=True)
