"""How cost grows: daily cost, curves over any part of a workload, crossovers, break-evens, dated changes."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, combinations, pairwise

import numpy as np
import pandas as pd

from tierlab.core.vocabulary import unknown
from tierlab.prices.catalog import Prices
from tierlab.prices.pricing import FLAGS, price_tokens
from tierlab.scaling.workload import NUMERIC, Workload

# Half-width of an approximate price as a share of it: "roughly $5" is read as 4.50 to 5.50, half a unit to either side.
APPROXIMATE_BAND = 0.10
DAYS_PER_MONTH = 365.25 / 12
_VARIED = (*NUMERIC, "turns")
_Z95 = 1.959963984540054  # 97.5 % quantile of the normal distribution


def daily_cost(
    workload: Workload, prices: Prices, models: Sequence[str] | None = None
) -> pd.DataFrame:
    """Cost per day of a workload on each model, with a band where an input is a range.

    Parameters
    ----------
    workload : Workload
    prices : Prices
        Rates in force on its `as_of`.
    models : sequence of str, optional
        By default the lineup.

    Returns
    -------
    DataFrame
        One row per model: provider, tier, model_id, cost_usd, low, high (USD per day), interval (what low and
        high are, "" for a point), over_window_share (share of requests that do not fit) and flags. A model
        that some request does not fit has no cost (NaN), not a lower one.

    Examples
    --------
    >>> import tierlab as tl
    >>> table = tl.daily_cost(tl.Workload(requests_per_day=1e6), tl.load_prices("article"), ["Claude Opus 4.8"])
    >>> float(table["cost_usd"].iloc[0].round(6))
    10000.0
    """
    curve = cost_curve(workload, prices, models, over=None, values=[0])
    return curve.drop(columns="value")


def cost_curve(
    workload: Workload,
    prices: Prices,
    models: Sequence[str] | None = None,
    *,
    over: str | None,
    values: Sequence[float],
) -> pd.DataFrame:
    """Cost per day of each model while one part of the workload varies.

    Parameters
    ----------
    workload : Workload
    prices : Prices
    models : sequence of str, optional
        By default the lineup.
    over : str
        A field of `Workload` that is a number.
    values : sequence of float
        Values of that field.

    Returns
    -------
    DataFrame
        Columns of `daily_cost` and one named by `over`; a row per model and value.

    Raises
    ------
    ValueError
        If `over` is not such a field, or a value is not allowed for it.
    """
    if over is not None and over not in _VARIED:
        raise ValueError(unknown("part of a workload", over, _VARIED))
    points = [workload if over is None else replace(workload, **{over: value}) for value in values]
    # The cells of each point: its middle, then the corners of its ranges.
    stages = [[point.point(), *point.corners()] for point in points]
    sizes = [len(stage) for stage in stages]
    starts = np.cumsum(sizes) - sizes
    corners = list(chain.from_iterable(stages))
    tokens, weight, owner = _stack(corners)
    batch_share = np.array([corner.batch_share for corner in corners])
    volume = np.array([corner.requests_per_day for corner in corners])
    # One over the number of rows, or more where a task mix weights them.
    rows = np.bincount(owner, weight**2)[starts]
    names = [prices.resolve(name) for name in (models or prices.models())]
    known = prices.by_model[["provider", "tier"]]
    parts = []
    for model_id in names:
        mean, spread, over_share, flags = _per_request(
            tokens, weight, owner, batch_share, prices, model_id
        )
        cost = np.where(over_share > 0, np.nan, mean * volume)
        low, high = np.fmin.reduceat(cost, starts), np.fmax.reduceat(cost, starts)
        reasons = np.where(high > low, "ends of the given ranges", "").astype(object)
        if workload.table is not None and len(workload.table) > 1:
            error = _Z95 * spread[starts] * volume[starts] * np.sqrt(rows)
            low, high = low - error, high + error
            reasons = _joined(
                reasons, f"95% of the mean of {len(workload.table):,} recorded requests"
            )
        if "approximate_price" in flags:
            low, high = low * (1 - APPROXIMATE_BAND), high * (1 + APPROXIMATE_BAND)
            reasons = _joined(reasons, f"approximate price, {APPROXIMATE_BAND:.0%} to either side")
        over_window = over_share[starts]
        others = ";".join(flag for flag in flags if flag != "over_window")
        part = {
            "provider": known.at[model_id, "provider"],
            "tier": known.at[model_id, "tier"],
            "model_id": model_id,
            over or "value": list(values),
            "cost_usd": cost[starts],
            "low": low,
            "high": high,
            "interval": reasons,
            "over_window_share": over_window,
            "flags": np.where(over_window > 0, ";".join(flags), others),
        }
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True).astype(
        {
            "provider": known["provider"].dtype,
            "tier": known["tier"].dtype,
            "model_id": prices.frame["model_id"].dtype,
        }
    )


def _stack(workloads):
    """Cells of many workloads as one table: tokens by bucket, weights, and whose cell each is."""
    cells = [work.cells() for work in workloads]
    buckets = {bucket for tokens, _ in cells for bucket in tokens}
    sizes = [len(weight) for _, weight in cells]
    tokens = {
        b: np.concatenate([t.get(b, np.zeros(n)) for (t, _), n in zip(cells, sizes, strict=True)])
        for b in buckets
    }
    return (
        tokens,
        np.concatenate([weight for _, weight in cells]),
        np.repeat(np.arange(len(cells)), sizes),
    )


def _per_request(tokens, weight, owner, batch_share, prices, model_id):
    """Mean and standard deviation of the cost of one request (USD), share over the window, names of flags."""
    parts, bits = [], 0
    for batch, share in ((False, 1 - batch_share), (True, batch_share)):
        if share.any():
            costs, flags = price_tokens(tokens, prices, model_id, batch=np.full(len(weight), batch))
            parts.append((costs[4], share))
            bits |= int(np.bitwise_or.reduce(flags))
    over = (flags >> FLAGS.index("over_window")) & 1
    count = len(batch_share)
    mean = sum(share * np.bincount(owner, weight * cost, count) for cost, share in parts)
    square = sum(share * np.bincount(owner, weight * cost**2, count) for cost, share in parts)
    names = [flag for place, flag in enumerate(FLAGS) if bits >> place & 1]
    return (
        mean,
        np.sqrt(np.maximum(square - mean**2, 0)),
        np.bincount(owner, weight * over, count),
        names,
    )


def _joined(texts, more):
    return np.array([f"{text}; {more}" if text else more for text in texts], object)


def crossovers(curve: pd.DataFrame) -> pd.DataFrame:
    """Where the cost curves of two models cross.

    Parameters
    ----------
    curve : DataFrame
        From `cost_curve`.

    Returns
    -------
    DataFrame
        The varied column, cost_usd (USD per day) at the crossing, model_id cheaper before and cheaper after.
        Linear between neighbouring values of the curve, so exact where the curves are straight.
    """
    over = next(column for column in _VARIED if column in curve)
    wide = curve.pivot(index=over, columns="model_id", values="cost_usd").sort_index()
    x, rows = wide.index.to_numpy(float), []
    for left, right in combinations(wide.columns, 2):
        gap = (wide[left] - wide[right]).to_numpy()
        sign = np.sign(np.where(np.abs(gap) <= 1e-12 * wide[left].abs().to_numpy(), 0, gap))
        solid = np.flatnonzero(np.isfinite(gap) & (sign != 0))
        for a, b in pairwise(solid):
            if sign[a] != sign[b] and np.isfinite(gap[a : b + 1]).all():
                share = gap[a] / (gap[a] - gap[b])
                cost = wide[left].iloc[a] + share * (wide[left].iloc[b] - wide[left].iloc[a])
                before, after = (left, right) if gap[a] < 0 else (right, left)
                rows.append(
                    {
                        over: x[a] + share * (x[b] - x[a]),
                        "cost_usd": cost,
                        "cheaper_before": before,
                        "cheaper_after": after,
                    }
                )
    table = pd.DataFrame(rows, columns=[over, "cost_usd", "cheaper_before", "cheaper_after"])
    return table.sort_values([over, "cost_usd"]).reset_index(drop=True)


def cost_calendar(
    workload: Workload,
    prices: Prices,
    models: Sequence[str] | None = None,
    *,
    start: str,
    end: str,
) -> pd.DataFrame:
    """Cost per day over calendar time: scheduled price changes are steps, growth compounds.

    Parameters
    ----------
    workload : Workload
        Its ranges stand at their middle; `monthly_growth` compounds from `start`.
    prices : Prices
    models : sequence of str, optional
        By default the lineup.
    start, end : str
        ISO dates.

    Returns
    -------
    DataFrame
        on, provider, tier, model_id, cost_usd (USD per day, NaN from the day of retirement), change (what
        changed that day, "" for nothing), flags: a row per model on `start`, on the first of each month, on
        each day on which one of the models changes, and on `end`.
    """
    names = [prices.resolve(name) for name in (models or prices.models())]
    start, end = pd.Timestamp(start), pd.Timestamp(end)
    changes = prices.changes(start, end).query("kind == 'rate' and model_id in @names")
    changes = changes[changes["rate"].isin(["uncached_input", "output"])]
    retires = prices.by_model["retires_on"]
    leaving = retires[names][retires[names].between(start, end, inclusive="right")]
    days = sorted({start, *pd.date_range(start, end, freq="MS"), *changes["on"], *leaving, end})
    work, tables = workload.point(), []
    for day in days:
        months = (day - start).days / DAYS_PER_MONTH
        grown = work.requests_per_day * (1 + work.monthly_growth) ** months
        own = replace(work, requests_per_day=grown)
        tables.append(daily_cost(own, replace(prices, as_of=day), names).assign(on=day))
    table = pd.concat(tables, ignore_index=True)
    texts = pd.concat(
        [
            changes.assign(change=[_change_text(row) for row in changes.itertuples()]),
            pd.DataFrame({"on": leaving, "model_id": leaving.index, "change": "retires"}),
        ]
    )
    said = texts.groupby(["on", "model_id"])["change"].agg(", ".join)
    table = table.join(said, on=["on", "model_id"]).fillna({"change": ""})
    gone = table["model_id"].map(retires) <= table["on"]
    table["cost_usd"] = table["cost_usd"].where(~gone)
    return table[["on", "provider", "tier", "model_id", "cost_usd", "change", "flags"]]


def _change_text(row):
    above = f" above {row.context_above:,}" if row.context_above else ""
    return f"{row.rate.replace('uncached_', '')}{above} {row.before:g} to {row.after:g}"


def cache_break_even(write_multiplier: float, read_multiplier: float) -> float:
    """Cache hit rate above which writing to a cache pays.

    Parameters
    ----------
    write_multiplier, read_multiplier : float
        Price of a written and of a read token, as multiples of plain input.

    Returns
    -------
    float
        Share 0-1 of input tokens.

    Notes
    -----
    h m_r + (1 - h) m_w = 1, so h = (m_w - 1) / (m_w - m_r). Anthropic's multipliers: 1.25 (5 minutes) and 2 (1
    hour) for writes, 0.1 for reads.

    Examples
    --------
    >>> [round(cache_break_even(write, 0.1), 4) for write in (1.25, 2)]
    [0.2174, 0.5263]
    """
    if not read_multiplier < 1 <= write_multiplier:
        raise ValueError(
            f"read {read_multiplier} and write {write_multiplier}: a cache needs read < 1 <= write to break even"
        )
    return (write_multiplier - 1) / (write_multiplier - read_multiplier)


def cliff_break_even(cost_below_usd: float, cost_above_usd: float, cost_flat_usd: float) -> float:
    """Share of requests above a context step at which a stepped model costs as much as a flat one.

    Parameters
    ----------
    cost_below_usd, cost_above_usd : float
        USD per request of the stepped model, below and above its step.
    cost_flat_usd : float
        USD per request of the other model.

    Returns
    -------
    float
        Share 0-1 of requests; NaN where no share does.

    Notes
    -----
    (1 - s) c_below + s c_above = c_flat, so s = (c_flat - c_below) / (c_above - c_below).

    Examples
    --------
    >>> cliff_break_even(2.0, 4.0, 3.0)
    0.5
    """
    return _share((cost_flat_usd - cost_below_usd) / (cost_above_usd - cost_below_usd))


def batch_break_even(cost_high_usd: float, cost_low_usd: float, discount: float = 0.5) -> float:
    """Share of requests in batch at which a more expensive model costs as much as a cheaper one without batch.

    Parameters
    ----------
    cost_high_usd, cost_low_usd : float
        USD per request, without batch.
    discount : float
        Share 0-1 by which batch is cheaper.

    Returns
    -------
    float
        Share 0-1 of the more expensive model's requests; NaN where even all of them in batch cost more.

    Notes
    -----
    c_high (1 - b d) = c_low, so b = (1 - c_low / c_high) / d.

    Examples
    --------
    >>> batch_break_even(5.0, 3.0)
    0.8
    """
    return _share((1 - cost_low_usd / cost_high_usd) / discount)


def _share(value):
    near = 1e-9  # an end of the range, missed by the last digit, is that end
    return float(np.clip(value, 0, 1)) if -near <= value <= 1 + near else float("nan")


def error_cost_break_even(
    cost_high_usd: float, cost_low_usd: float, error_high: float, error_low: float
) -> float:
    """Cost of one error above which the more expensive model is the cheaper choice.

    Parameters
    ----------
    cost_high_usd, cost_low_usd : float
        USD per request.
    error_high, error_low : float
        Share 0-1 of requests answered wrongly by each.

    Returns
    -------
    float
        USD per error; infinite when the more expensive model makes no fewer errors.

    Notes
    -----
    c_h + e_h C = c_l + e_l C, so C = (c_h - c_l) / (e_l - e_h).

    Examples
    --------
    Opus 4.8 over Haiku 4.5 at 500 and 300 tokens, with five points fewer errors:

    >>> round(error_cost_break_even(0.010, 0.002, 0.05, 0.10), 6)
    0.16
    """
    if error_low <= error_high:
        return float("inf")
    return (cost_high_usd - cost_low_usd) / (error_low - error_high)
