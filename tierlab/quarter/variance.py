"""Why spend changed: volume, task mix, tier mix, model mix, tokens per request, cache and batch, price; they add up."""

from itertools import combinations
from math import factorial

import numpy as np
import pandas as pd

from tierlab.core.vocabulary import BUCKETS
from tierlab.prices.pricing import at_base, in_batch, labelled, rates_at, tiers_of

EFFECTS = {
    "volume": "number of requests",
    "task_mix": "which tasks they belong to",
    "tier_mix": "which tier answers a task",
    "model_mix": "which model of a tier answers",
    "tokens_per_request": "length of input and output, context steps included",
    "cache_batch": "share of tokens cached, written or in batch",
    "price": "list prices",
}
_INPUTS = len(BUCKETS) - 1


def variance(now, before, prices):
    """Split the change of spend between two quarters into effects that add up to it.

    Parameters
    ----------
    now, before : DataFrame
        Rows of `Cube.daily` of each quarter.
    prices : Prices
        The catalogue that priced them.

    Returns
    -------
    DataFrame
        effect, what (in words), usd (US dollars; they sum to the change) and share_of_before.

    Raises
    ------
    ValueError
        If one of the quarters holds no spend.

    Notes
    -----
    Spend is N sum_c a_t w_t v_m [i sum_j h_j k_j p_j + o sum_b g_b k_b p_b] over cells of task t and model m: N
    requests, a the task's share of them, w the tier's share of the task, v the model's share of the tier, i and o
    input and output tokens per request, h the shares of the input buckets (each in batch or not), g those of the
    output, p the list rate below any context step (mean over the quarter's days, weighted by tokens), k what context
    steps added to it. Each effect is the Shapley value of its factor: the mean, over all orders in which the factors
    can move from their old to their new values, of what spend changes when it moves. No order is preferred and no
    residual is left (Shapley 1953; Albrecht, Francois and Schoors, Energy Policy 30 (2002) 727-736). i, o and k move
    together, h and g too. What a cell lacks in one quarter is taken from the other, so that a new model counts as
    mix; for p the catalogue's own rates of that quarter are used, so that the price effect reprices the tokens on the
    model. Where rows do not count their requests, N is tokens, and "tokens_per_request" is the ratio of input and
    output alone.
    """
    if not (now["cost_usd"].sum() > 0 and before["cost_usd"].sum() > 0):
        raise ValueError("a variance needs spend in both quarters")
    quarters = [_cells(table, prices) for table in (before, now)]
    index = quarters[0].index.union(quarters[1].index)
    activity = (
        "tokens"
        if any(
            (q["cost"] > 0).mul(q["requests"] <= 0).any() or q["uncounted"].any() for q in quarters
        )
        else "requests"
    )
    old, new = (
        _factors(q.reindex(index), activity, days, prices)
        for q, days in zip(quarters, _days(before, now), strict=True)
    )
    old, new = _filled(old, new, index), _filled(new, old, index)
    names = list(EFFECTS)
    spend = {}
    for size in range(len(names) + 1):
        for moved in combinations(names, size):
            spend[frozenset(moved)] = _spend(
                {name: (new if name in moved else old)[name] for name in names}
            )
    usd = [_shapley(spend, name, names) for name in names]
    table = pd.DataFrame({"effect": names, "what": list(EFFECTS.values()), "usd": usd})
    if activity == "tokens":
        table["what"] = table["what"].replace(
            {
                EFFECTS["volume"]: "number of tokens",
                EFFECTS["tokens_per_request"]: "input against output",
            }
        )
    return table.assign(share_of_before=table["usd"] / before["cost_usd"].sum())


def _days(before, now):
    return [pd.date_range(t["day"].min(), t["day"].max(), unit="us") for t in (before, now)]


def _cells(daily, prices):
    """By task, tier and model: requests, and tokens, dollars and dollars at list rates in 10 columns each."""
    batch = in_batch(daily)
    rates = rates_at(prices, daily["model_id"], daily["day"], batch)
    tokens = daily[[f"{b}_tokens" for b in BUCKETS]].to_numpy(float)
    listed = np.nan_to_num(np.where(tokens > 0, tokens * rates, 0.0))
    base, paid = (
        at_base(daily, np.nan_to_num(rates)),
        daily[["uncached_input_usd", "cache_read_usd", "cache_write_usd", "output_usd"]],
    )
    paid = paid.to_numpy(float)
    step = np.divide(paid, base, out=np.ones_like(paid), where=base > 0)[:, [0, 1, 2, 2, 3]]
    columns = {}
    for way, mask in (("", ~batch), ("batch_", batch)):
        for j, bucket in enumerate(BUCKETS):
            columns[f"tokens_{way}{bucket}"] = tokens[:, j] * mask
            columns[f"list_{way}{bucket}"] = listed[:, j] * mask
            columns[f"usd_{way}{bucket}"] = listed[:, j] * step[:, j] * mask
    table = pd.DataFrame(columns, index=daily.index).assign(
        task=labelled(daily["task"]) if "task" in daily else "", tier=tiers_of(prices, daily["model_id"], daily["day"]),
        model_id=daily["model_id"].astype(object), requests=daily["requests"].astype(float), cost=daily["cost_usd"],
        uncounted=daily["uncounted_rows"] > 0, tokens=tokens.sum(axis=1),
    )  # fmt: skip
    return table.groupby(["task", "tier", "model_id"]).sum()


def _block(cells, kind):
    """The 10 columns of one kind, shape (cells, batch or not, buckets)."""
    names = [f"{kind}_{way}{bucket}" for way in ("", "batch_") for bucket in BUCKETS]
    return cells[names].to_numpy(float).reshape(-1, 2, len(BUCKETS))


def _factors(cells, activity, days, prices):
    """Each effect's factors in one quarter; NaN where the quarter does not have what it takes."""
    n = cells[activity].fillna(0)
    task, tier = (n.groupby(level=list(range(k))).transform("sum") for k in (1, 2))
    tokens = np.nan_to_num(_block(cells, "tokens"))
    given, answered = tokens[:, :, :_INPUTS].sum(axis=(1, 2)), tokens[:, :, _INPUTS].sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = _block(cells, "list") / np.where(tokens > 0, tokens, np.nan)
        steps = _block(cells, "usd") / np.where(
            _block(cells, "list") > 0, _block(cells, "list"), np.nan
        )
        total = np.concatenate([np.repeat(given[:, None], _INPUTS, 1), answered[:, None]], axis=1)[
            :, None, :
        ]
        factors = {
            "volume": np.full(len(cells), n.sum()),
            "task_mix": (task / n.sum()).to_numpy(),
            "tier_mix": (tier / task).to_numpy(),
            "model_mix": (n / tier).to_numpy(),
            "tokens_per_request": (given / n.to_numpy(), answered / n.to_numpy(), steps),
            "cache_batch": tokens / np.where(total > 0, total, np.nan),
            "price": rates,
        }
    listed = np.stack(
        [
            _mean_rate(prices, cells.index.get_level_values("model_id"), days, batch)
            for batch in (False, True)
        ],
        axis=1,
    )
    return factors | {"listed": listed}


def _mean_rate(prices, models, days, batch):
    unique = models.unique()
    each = rates_at(prices, np.repeat(unique, len(days)), np.tile(days, len(unique)), batch)
    mean = each.reshape(len(unique), len(days), -1).mean(axis=1)
    return mean[unique.get_indexer(models)]


def _filled(own, other, index):
    """A quarter's factors with its gaps filled: shares, lengths and steps from the other quarter, rates from the catalogue."""

    def first(*options):
        result = options[0]
        for option in options[1:]:
            result = np.where(np.isfinite(result), result, option)
        return np.where(np.isfinite(result), result, 0.0)

    filled = {
        name: first(own[name], other[name])
        for name in ("volume", "task_mix", "tier_mix", "model_mix", "cache_batch")
    }
    filled["tokens_per_request"] = tuple(
        first(mine, theirs, 1.0) if place == 2 else first(mine, theirs)
        for place, (mine, theirs) in enumerate(
            zip(own["tokens_per_request"], other["tokens_per_request"], strict=True)
        )
    )
    filled["price"] = first(own["price"], own["listed"], other["price"], other["listed"])
    return filled


def _spend(f):
    given, answered, steps = f["tokens_per_request"]
    length = np.concatenate([np.repeat(given[:, None], _INPUTS, 1), answered[:, None]], axis=1)[
        :, None, :
    ]
    per_request = (length * f["cache_batch"] * steps * f["price"]).sum(axis=(1, 2))
    return float((f["volume"] * f["task_mix"] * f["tier_mix"] * f["model_mix"] * per_request).sum())


def _shapley(spend, name, names):
    total = 0.0
    for moved, value in spend.items():
        if name not in moved:
            weight = (
                factorial(len(moved))
                * factorial(len(names) - len(moved) - 1)
                / factorial(len(names))
            )
            total += weight * (spend[moved | {name}] - value)
    return total


def changes_by(now, before, column):
    """Spend of each team, task, model or tier in both quarters, the largest change first.

    Returns
    -------
    DataFrame
        The column, before_usd, now_usd, change_usd.
    """
    sums = [t["cost_usd"].groupby(labelled(t[column])).sum() for t in (before, now)]
    table = (
        pd.concat(sums, axis=1, keys=["before_usd", "now_usd"])
        .fillna(0.0)
        .rename_axis(column)
        .reset_index()
    )
    table = table.assign(change_usd=table["now_usd"] - table["before_usd"])
    return table.sort_values("change_usd", key=np.abs, ascending=False, kind="stable").reset_index(
        drop=True
    )
