"""Why spend changed: volume, task mix, tier mix, model mix, tokens per request, cache and batch, price; they add up."""

from itertools import combinations
from math import comb

import numpy as np
import pandas as pd

from tierlab.core.format import change
from tierlab.core.vocabulary import BUCKETS
from tierlab.prices.daily import at_base, bought, in_batch, labelled, rates_at, tiers_of
from tierlab.prices.pricing import PARTS
from tierlab.quarter.engine import TOKENS

EFFECTS = {
    "volume": "number of requests",
    "task_mix": "which tasks they belong to",
    "tier_mix": "which tier answers a task",
    "model_mix": "which model of a tier answers",
    "tokens_per_request": "length of input and output, context steps included",
    "cache_batch": "share of tokens cached, written or in batch",
    "price": "list prices",
}
CONTRACT = "contract"  # the factor by which a contract's rates differ from list prices
_UNUSED = "unused of commitments and capacity"
NAMES = {name: name.replace("_", " ") for name in EFFECTS} | {
    "cache_batch": "cache and batch",
    "other_units": "images, audio and fees",
    CONTRACT: "contract rates",
    "unused": _UNUSED,
}
_IN_TOKENS = {"volume": "number of tokens", "tokens_per_request": "input against output"}
_OTHER = "images, audio, searches and fees per request"
_KINDS = ("count", "list", "usd")  # tokens, and their dollars at base rates and with context steps
_WAYS = ("online", "batch")
# Which buckets are on one side of a request: the four of input, and output alone.
_SIDES = np.zeros((len(BUCKETS), len(BUCKETS)))
_SIDES[:4, :4] = _SIDES[4, 4] = 1


def variance(now, before, prices, unused=(0.0, 0.0)):
    """Split the change of spend between two quarters into effects that add up to it.

    Parameters
    ----------
    now, before : DataFrame
        Rows of `Cube.daily` of each quarter.
    prices : Prices
        The catalogue that priced them.
    unused : (float, float)
        Under a contract, what is unused of commitments and capacity in this quarter and the one before (US dollars).

    Returns
    -------
    DataFrame
        effect (those of `EFFECTS`, and "other_units" where something is not a text token), what (in words), usd (US
        dollars, which add up to the change) and share_of_before. Under a contract contracted_usd and effective_usd as
        well, with rows for its rates and for what is unused.

    Raises
    ------
    ValueError
        If one of the quarters has no spend.

    Notes
    -----
    Spend is N sum_c a_t w_t v_m [i sum_j h_j k_j p_j + o sum_b g_b k_b p_b] over cells of task t and model m: N
    requests, a the task's share of them, w the tier's share of the task, v the model's share of the tier, i and o
    input and output tokens per request, h the shares of the input buckets (each in batch or not), g those of the
    output, p the list rate below any context step (mean over the quarter's days, weighted by tokens), k the factor that
    context steps add. Each effect is the Shapley value of its factor: the mean change of spend when the factor moves
    from its old to its new value, over all orders in which the factors can move. No order is preferred and no residual
    is left (Shapley 1953; Albrecht, Francois and Schoors, Energy Policy 30 (2002) 727-736). i, o and k move together,
    and so do h and g. What a cell lacks in one quarter is taken from the other, so that a new model counts as mix; for p
    the catalogue's own rates of that quarter are used, so that the price effect reprices the tokens on the model. Where
    rows do not count their requests, N is tokens, and "tokens_per_request" is the ratio of input to output alone.
    """
    if not (now["cost_usd"].sum() > 0 and before["cost_usd"].sum() > 0):
        raise ValueError("a variance needs spend in both quarters")
    cells = [_cells(daily, prices) for daily in (before, now)]
    index = cells[0].index.union(cells[1].index)
    uncounted = any(own["uncounted"].any() or (own["idle"] > 0).any() for own in cells)
    activity = "tokens" if uncounted else "requests"
    old, new = (
        _factors(own.reindex(index), activity, daily["day"], prices)
        for own, daily in zip(cells, (before, now), strict=True)
    )
    sides = _filled(old, new), _filled(new, old)
    usd = _shapley(*sides, list(EFFECTS))
    what = EFFECTS | (_IN_TOKENS if uncounted else {})
    table = pd.DataFrame({"effect": list(EFFECTS), "what": what.values(), "usd": usd})
    other = [daily["other_usd"].sum() if "other_usd" in daily else 0.0 for daily in (before, now)]
    if any(other):
        table.loc[len(table)] = ["other_units", _OTHER, other[1] - other[0]]
    if "contracted_usd" in now:
        table = _under_contract(table, sides, (before, now), unused)
    return table.assign(share_of_before=table["usd"] / before["cost_usd"].sum())


def _under_contract(table, sides, quarters, unused):
    """Add the effects at contract rates, for which the contract's share of list prices is one more factor."""
    paid = _shapley(*sides, [*EFFECTS, CONTRACT])
    moved = np.diff([daily["contracted_usd"].sum() for daily in quarters])[0]
    rest = [moved - sum(paid)] * (len(table) - len(EFFECTS))  # of images, audio and fees
    table = table.assign(contracted_usd=[*paid[:-1], *rest])
    table.loc[len(table)] = [CONTRACT, "discounts and rates of one's own", 0.0, paid[-1]]
    table.loc[len(table)] = ["unused", _UNUSED, 0.0, 0.0]
    effective = table["contracted_usd"].to_numpy().copy()
    effective[-1] = unused[0] - unused[1]
    return table.assign(effective_usd=effective)


def _cells(daily, prices):
    """Sum up by task, tier and model: requests, tokens, and each of `_KINDS` per way (batch or not) and bucket."""
    batch = in_batch(daily)
    rates = np.nan_to_num(rates_at(prices, bought(daily), daily["day"], batch))
    tokens = daily[list(TOKENS)].to_numpy(float)
    base, paid = at_base(daily, rates), daily[list(PARTS)].to_numpy(float)
    # What a context step adds is known by part; both kinds of cache writes share one.
    step = np.divide(paid, base, out=np.ones_like(paid), where=base > 0)[:, [0, 1, 2, 2, 3]]
    blocks = np.stack([tokens, tokens * rates, tokens * rates * step], axis=1)[:, :, None]
    blocks = blocks * np.column_stack([~batch, batch])[:, None, :, None]
    columns = pd.MultiIndex.from_product([_KINDS, _WAYS, BUCKETS]).map("_".join)
    table = pd.DataFrame(blocks.reshape(len(daily), -1), daily.index, columns).assign(
        requests=daily["requests"].astype(float),
        tokens=tokens.sum(axis=1),
        uncounted=daily["uncounted_rows"] > 0,
    )
    task = labelled(daily["task"]) if "task" in daily else pd.Series("", daily.index)
    tier = tiers_of(prices, daily["model_id"], daily["day"])
    cell = [task.rename("task"), pd.Series(tier, daily.index, name="tier"), bought(daily)]
    table = table.groupby(cell).sum()
    cost = daily["cost_usd"].groupby(cell).sum()
    paid = daily.get("contracted_usd", daily["cost_usd"]).groupby(cell).sum()
    return table.assign(
        idle=cost.where(table["requests"] <= 0, 0.0), contract=paid / cost.where(cost > 0)
    )


def _factors(cells, activity, days, prices):
    """Return each effect's factors in one quarter; NaN where the quarter lacks what they need."""
    n = cells[activity].fillna(0)
    task, tier = (n.groupby(level=list(range(k))).transform("sum") for k in (1, 2))
    # Tokens, and their dollars at base rates and with context steps, in the shape (cells, batch or not, buckets).
    blocks = [cells.filter(regex=f"^{kind}_").to_numpy(float) for kind in _KINDS]
    tokens, listed, usd = (np.nan_to_num(b).reshape(len(b), 2, len(BUCKETS)) for b in blocks)
    # For each bucket the whole input or output of the cell that it is a share of.
    of_side = tokens.sum(axis=1) @ _SIDES
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "volume": np.full(len(cells), n.sum()),
            "task_mix": (task / n.sum()).to_numpy(),
            "tier_mix": (tier / task).to_numpy(),
            "model_mix": (n / tier).to_numpy(),
            "tokens_per_request": of_side / n.to_numpy()[:, None],
            "steps": usd / np.where(listed > 0, listed, np.nan),
            "cache_batch": tokens / np.where(of_side > 0, of_side, np.nan)[:, None, :],
            "price": listed / np.where(tokens > 0, tokens, np.nan),
            CONTRACT: cells["contract"].to_numpy(float),
            "catalogue": _mean_rates(prices, cells.index.get_level_values(2), days),
        }


def _mean_rates(prices, models, days):
    """Return the catalogue's mean rates over a quarter's days, shape (models, batch or not, buckets)."""
    days = pd.date_range(days.min(), days.max(), unit="us")
    names, each = np.repeat(models, len(days)), np.tile(days, len(models))
    rates = [rates_at(prices, names, each, batch) for batch in (False, True)]
    return np.stack(rates, axis=1).reshape(len(models), len(days), 2, -1).mean(axis=1)


def _filled(own, other):
    """Fill the gaps of a quarter's factors: rates from the catalogue, everything else from the other quarter."""
    price = _known(
        _known(own["price"], own["catalogue"]), _known(other["price"], other["catalogue"])
    )
    filled = {name: np.nan_to_num(_known(own[name], other[name])) for name in EFFECTS}
    filled[CONTRACT] = np.nan_to_num(_known(own[CONTRACT], other[CONTRACT]), nan=1.0)
    # Context steps belong to the length of requests: they move with it.
    steps = np.nan_to_num(_known(own["steps"], other["steps"]), nan=1.0)
    lengths = filled["tokens_per_request"][:, None, :] * steps
    return filled | {"tokens_per_request": lengths, "price": np.nan_to_num(price)}


def _known(one, other):
    """Return an array, filled from another where it is not known."""
    return np.where(np.isfinite(one), one, other)


def _spend(factors):
    per_request = factors["tokens_per_request"] * factors["cache_batch"] * factors["price"]
    own = ("volume", "task_mix", "tier_mix", "model_mix", CONTRACT)
    requests = [factors[name] for name in own if name in factors]
    return float((np.prod(requests, axis=0) * per_request.sum(axis=(1, 2))).sum())


def _shapley(old, new, names):
    """Return for each factor the mean change of spend when it moves, over all orders in which the factors can move."""
    n = len(names)
    subsets = (moved for size in range(n + 1) for moved in combinations(names, size))
    spend = {
        frozenset(moved): _spend({name: (new if name in moved else old)[name] for name in names})
        for moved in subsets
    }
    usd = dict.fromkeys(names, 0.0)
    for moved, before in spend.items():
        for name in set(names) - moved:
            usd[name] += (spend[moved | {name}] - before) / (n * comb(n - 1, len(moved)))
    return list(usd.values())


def causes(table, least=0.0):
    """Name the effects of a variance with their dollars, the largest first, without those below `least` US dollars."""
    large = table[table["usd"].abs() >= least].sort_values("usd", key=abs, ascending=False)
    return [f"{NAMES[row.effect]} {change(row.usd)}" for row in large.itertuples()]


def changes_by(now, before):
    """Return the spend of each team, task and model in both quarters, the largest change of each first.

    Parameters
    ----------
    now, before : DataFrame
        Rows of `Cube.daily` of each quarter.

    Returns
    -------
    DataFrame
        by ("team", "task", "model_id"), name, before_usd, now_usd, change_usd, and under a contract contracted_usd and
        effective_usd of this quarter.
    """
    parts, paid = [], [name for name in ("contracted_usd", "effective_usd") if name in now]
    for column in ("team", "task", "model_id"):
        if column in now and column in before:
            both = [own["cost_usd"].groupby(labelled(own[column])).sum() for own in (before, now)]
            table = pd.concat(both, axis=1, keys=["before_usd", "now_usd"])
            table = table.join(now.groupby(labelled(now[column]))[paid].sum()).fillna(0.0)
            table = table.rename_axis("name").reset_index().assign(by=column)
            table["change_usd"] = table["now_usd"] - table["before_usd"]
            parts.append(
                table.sort_values("change_usd", key=np.abs, ascending=False, kind="stable")
            )
    columns = ["by", "name", "before_usd", "now_usd", "change_usd", *paid]
    return pd.concat(parts, ignore_index=True)[columns]
