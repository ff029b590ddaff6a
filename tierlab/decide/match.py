"""Where each tier is the cheapest, by cost of an error and complexity, what would settle a choice, and both in words."""

import numpy as np
import pandas as pd

from tierlab.core.format import listed, number, usd
from tierlab.core.tables import load_tasks
from tierlab.core.vocabulary import PROVIDER_NAMES, TIERS
from tierlab.decide.recommend import recommend
from tierlab.decide.tasks import assumed, load_assumptions, rated
from tierlab.evaluate.planning import paired_sample_size

COMPLEXITIES = np.linspace(1, 3, 41)


def cheapest_ranges(options):
    """Return the range of error costs over which each model is its provider's cheapest, errors included.

    Parameters
    ----------
    options : DataFrame
        Table of `tierlab.recommend`: provider, tier, model_id, expected_usd, error_usd (USD per request), error_rate
        (0-1).

    Returns
    -------
    DataFrame
        provider, tier, model_id, from_usd, to_usd (USD per error; the last is infinite), in rising order. A model that
        is never the cheapest has no row.

    Notes
    -----
    Total cost is a straight line over the cost of an error, so the cheapest model changes only where two lines cross.

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
    """Return what each model costs above its provider's cheapest, over the cost of an error.

    Parameters
    ----------
    options : DataFrame
        As for `cheapest_ranges`.
    now : float
        USD per error; every line has a point there.
    requests_per_day : float
        Requests a day that the amounts are for.

    Returns
    -------
    DataFrame
        provider, tier, model_id, error_cost_usd, extra_usd (USD a day). A line is straight between its points. It ends
        at 1.5 times the last change of tier, or 1.5 times `now` if that is more.
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
    """The cost of a request without its errors, and the error rate, of each model."""
    return (own["expected_usd"] - own["error_usd"]).to_numpy(), own["error_rate"].to_numpy()


def _crossings(base, rate):
    """The costs of an error at which any two lines cross, from 0 up."""
    one, other = np.triu_indices(len(base), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = (base[one] - base[other]) / (rate[other] - rate[one])
    return np.unique(np.r_[0.0, at[np.isfinite(at) & (at > 0)]])


def complexity_ranges(options):
    """Return `cheapest_ranges` at every complexity from 1 to 3, with the error rates that are assumed there.

    Parameters
    ----------
    options : DataFrame
        Table of `tierlab.recommend`; its error rates are not used.

    Returns
    -------
    DataFrame
        complexity, and the columns of `cheapest_ranges`. Between two ratings the error rates are interpolated linearly.
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
    """Recommend a tier for each of the nine task types, by its assumed error rates and the cost of an error.

    Parameters
    ----------
    prices : Prices
    workload : Workload
    provider : str
        Its lineup is compared.
    own_costs : mapping of str to float, optional
        USD per error of some tasks, in place of the cost that is assumed from their stakes.
    seed : int
        Seed of the draws.

    Returns
    -------
    DataFrame
        By task: name, tier, model_id, best_share (0-1 of the draws), close (whether it is too close to call),
        complexity, complexity_low, complexity_high (1 to 3), error_cost_usd, cost_low, cost_high (USD per error), rule
        (the tier or tiers that the article's two questions give), article (those of its table), agrees (whether the
        tier is one of the article's).
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
    """Return how far each rival's error rate is from turning the choice, and how many examples would show it.

    Parameters
    ----------
    found : Recommendation

    Returns
    -------
    DataFrame
        One row per rival: tier, model_id; lead (0-1, how much less often the choice is wrong, as assumed); needed (the
        lead above which the choice pays); distance (lead minus needed); sd (standard deviation of the difference in
        errors on one example); examples (how many show on which side of `needed` the lead lies); behind_usd (what the
        rival costs above the choice, USD a day). Where no error rate turns the choice, distance is above 1 and examples
        is NaN.

    Notes
    -----
    The two models are taken to err independently, and both answer the same examples. The number of examples is that of
    `tierlab.paired_sample_size` with a power of 80% and a two-sided level of 5%.
    """
    table, cost = found.running(), found.cost["error_cost_usd"]
    day = found.workload.point().requests_per_day
    best, rivals = table.iloc[0], table.iloc[1:]
    lead = rivals["error_rate"] - best["error_rate"]
    other = rivals["expected_usd"] - rivals["error_usd"]
    needed = ((best["expected_usd"] - best["error_usd"]) - other) / cost
    # The share of examples on which exactly one of two independent models is wrong; its mean square is the same.
    apart = rivals["error_rate"] + best["error_rate"]
    apart = apart - 2 * rivals["error_rate"] * best["error_rate"]
    result = rivals[["tier", "model_id"]].assign(
        lead=lead,
        needed=needed,
        distance=lead - needed,
        sd=np.sqrt(apart - lead**2),
        behind_usd=(rivals["expected_usd"] - best["expected_usd"]) * day,
    )
    result["examples"] = [
        paired_sample_size(row.distance, sd=row.sd) if 0 < row.distance <= 1 else np.nan
        for row in result.itertuples()
    ]
    return result.reset_index(drop=True)


# In words


def points(rate):
    """Say a difference of error rates: "1 point", "2.5 points"."""
    said = number(100 * rate)
    return f"{said} point" if said == "1" else f"{said} points"


def about(count):
    """Say a count to three digits: "about 13,400"."""
    return f"about {float(f'{count:.3g}'):,.0f}"


def ranges_said(ranges):
    """Say in one sentence which tier is the cheapest where, from the `cheapest_ranges` of one provider."""
    rows = list(ranges.itertuples())
    first, last = rows[0], rows[-1]
    if first is last:
        return f"The {first.tier} tier is the cheapest at every cost of an error."
    between = "".join(f", {row.tier} from there to {usd(row.to_usd)}" for row in rows[1:-1])
    return (
        f"Up to {usd(first.to_usd)} an error the {first.tier} tier is the cheapest{between}, "
        f"{last.tier} above {usd(last.from_usd)}."
    )


def providers_said(ranges, now):
    """Say which tier each provider's lineup calls for at `now` USD an error, from `cheapest_ranges`."""
    here = ranges[(ranges["from_usd"] <= now) & (now < ranges["to_usd"])]
    words = "; ".join(
        f"the {tier} tier is the cheapest at {listed([PROVIDER_NAMES.get(name, name) for name in names])}"
        for tier, names in here.groupby("tier", sort=False)["provider"]
    )
    return f"At {usd(now)} an error {words}."


def matches_said(matched):
    """Say how many task types get the tier that the article names, and which do not."""
    others = matched[~matched["agrees"]].to_dict("records")
    agree = len(matched) - len(others)
    said = f"{agree} of {len(matched)} task types get the tier that the article names"
    words = "; ".join(f"{row['name']} gets {row['tier']}, not {row['article']}" for row in others)
    return f"{said}. {words}." if words else f"{said}."


def settled_said(rivals):
    """Say which rival is nearest to turning the choice, and how many examples would settle it."""
    known = rivals[rivals["examples"].notna()]
    if known.empty:
        return "No error rate turns the choice: an error costs too little."
    near = known.loc[known["distance"].idxmin()]
    return (
        f"{points(near['distance'])} of error rate would turn the choice to {near['tier']}; "
        f"{about(near['examples'])} examples of your own would settle it."
    )


def range_tables(ranges, extra):
    """Return the ranges with headings in words, and what each tier costs above the cheapest at each corner of its line.

    Parameters
    ----------
    ranges : DataFrame
        From `cheapest_ranges`.
    extra : DataFrame
        From `extra_costs`.

    Returns
    -------
    dict
        The arguments "numbers" and "table" of `tierlab.finding`.
    """
    few = ranges.replace({"to_usd": {np.inf: "no end"}})
    corners = {
        "tier": "tier",
        "error_cost_usd": "cost of an error (USD)",
        "extra_usd": "above the cheapest (USD a day)",
    }
    if ranges["provider"].nunique() == 1:
        few = few.drop(columns="provider")
    else:
        corners = {"provider": "provider"} | corners
        few = few.pivot(index="provider", columns="tier", values="to_usd").fillna("never")
        few = few.reindex(columns=[tier for tier in TIERS if tier in few])
        few = few.rename(columns=lambda tier: f"{tier} up to (USD an error)").reset_index()
    names = {
        "model_id": "model",
        "from_usd": "cheapest from (USD an error)",
        "to_usd": "to (USD an error)",
    }
    return {"numbers": few.rename(columns=names), "table": _columns(extra.round(6), corners)}


def match_tables(matched, provider):
    """Return the task types that one provider's tiers get, and the table of all providers, for `tierlab.finding`."""
    own = matched[provider].assign(cost=matched[provider]["error_cost_usd"].map(usd))
    few = own.groupby("tier", sort=False)[["name", "cost", "rule", "article"]].agg(
        lambda values: ", ".join(dict.fromkeys(values))
    )
    few = few.reindex([tier for tier in TIERS if tier in few.index]).rename_axis("tier")
    heads = {
        "name": "task types",
        "cost": "an error costs",
        "rule": "the two questions say",
        "article": "the article says",
    }
    whole = {
        "provider": "provider",
        "name": "task type",
        "tier": "tier",
        "best_share": "cheapest in draws",
        "close": "too close to call",
        "error_cost_usd": "cost of an error (USD)",
        "complexity": "complexity (1 to 3)",
        "rule": heads["rule"],
        "article": heads["article"],
    }
    everywhere = pd.concat(matched, names=["provider"]).reset_index()
    return {"numbers": few.rename(columns=heads), "table": _columns(everywhere, whole)}


def settling_tables(rivals):
    """Return how far each rival is from turning the choice, and the table of what is assumed, for `tierlab.finding`."""
    few = rivals[["tier"]].assign(
        lead=100 * rivals["lead"],
        needed=100 * rivals["needed"],
        examples=[about(n) if n == n else "none would" for n in rivals["examples"]],
        hundred=100 * rivals["distance"] * (rivals["examples"] / 100) ** 0.5,
        behind=rivals["behind_usd"],
    )
    heads = {
        "tier": "against",
        "lead": "lead (points)",
        "needed": "turns at (points)",
        "examples": "examples needed",
        "hundred": "100 show (points)",
        "behind": "behind (USD a day)",
    }
    columns = ["quantity", "rating", "tier", "value", "low", "high", "unit", "basis", "reason"]
    return {"numbers": _columns(few, heads), "table": load_assumptions()[columns]}


def _columns(table, heads):
    return table[list(heads)].rename(columns=heads)
