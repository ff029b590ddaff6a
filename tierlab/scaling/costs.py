"""How cost grows: daily cost, curves over any part of a workload, crossovers, break-evens, dated changes."""

from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pandas as pd

from tierlab.core.vocabulary import unknown
from tierlab.prices.pricing import FLAGS, price_tokens
from tierlab.scaling.workload import NUMERIC

APPROXIMATE_BAND = (
    0.10  # "roughly $5" is read as 4.50 to 5.50: half a unit of its last digit to either side
)
DAYS_PER_MONTH = 365.25 / 12
_Z95 = 1.959963984540054  # 97.5 % quantile of the normal distribution


def daily_cost(workload, prices, models=None, *, approximate_band=APPROXIMATE_BAND):
    """Cost per day of a workload on each model, with a band where an input is a range.

    Parameters
    ----------
    workload : Workload
    prices : Prices
        Rates in force on its `as_of`.
    models : sequence of str, optional
        By default the lineup.
    approximate_band : float
        Half-width of an approximate price, as a share of it.

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
    curve = cost_curve(
        workload, prices, models, over=None, values=[0], approximate_band=approximate_band
    )
    return curve.drop(columns="value")


def cost_curve(workload, prices, models=None, *, over, values, approximate_band=APPROXIMATE_BAND):
    """Cost per day of each model while one part of the workload varies.

    Parameters
    ----------
    workload : Workload
    prices : Prices
    models : sequence of str, optional
        By default the lineup.
    over : str
        A field of `Workload` other than its table, or "months" (of `monthly_growth`, from now).
    values : sequence
        Values of that field.
    approximate_band : float
        Half-width of an approximate price, as a share of it.

    Returns
    -------
    DataFrame
        Columns of `daily_cost` and one named by `over`; a row per model and value.

    Raises
    ------
    ValueError
        If `over` is no such field, or a value is not allowed for it.
    """
    allowed = [*NUMERIC, "turns", "cache_ttl", "task_mix", "months"]
    if over is not None and over not in allowed:
        raise ValueError(unknown("part of a workload", over, allowed))
    points = [
        workload if over in (None, "months") else replace(workload, **{over: value})
        for value in values
    ]
    corners = [
        (i, corner)
        for i, point in enumerate(points)
        for corner in (point.point(), *point.corners())
    ]
    growth = {i: value if over == "months" else 0 for i, value in enumerate(values)}
    tokens, weight, owner = _stack([corner for _, corner in corners])
    volume = np.array(
        [
            corner.requests_per_day * (1 + corner.monthly_growth) ** growth[i]
            for i, corner in corners
        ]
    )
    batch_share = np.array([corner.batch_share for _, corner in corners])
    starts = [
        position
        for position, (i, _) in enumerate(corners)
        if position == 0 or corners[position - 1][0] != i
    ]
    known = prices.by_model[["provider", "tier"]]
    rows = np.bincount(owner, weight**2)[
        starts
    ]  # 1 over as many as there are, fewer where a task mix weights them
    parts, names = [], [prices.resolve(name) for name in (models or prices.models())]
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
            low, high = low * (1 - approximate_band), high * (1 + approximate_band)
            reasons = _joined(reasons, f"approximate price, {approximate_band:.0%} to either side")
        over_window = over_share[starts]
        said = np.where(
            over_window > 0,
            ";".join(flags),
            ";".join(flag for flag in flags if flag != "over_window"),
        )
        parts.append((cost[starts], low, high, reasons, over_window, said))
    cost_usd, low, high, interval, over_window, said = (
        np.concatenate(part) for part in zip(*parts, strict=True)
    )
    table = pd.DataFrame({
        "provider": np.repeat(known.loc[names, "provider"].to_numpy(), len(values)),
        "tier": np.repeat(known.loc[names, "tier"].to_numpy(), len(values)),
        "model_id": np.repeat(np.array(names, object), len(values)),
        over or "value": pd.Series(list(values) * len(names), dtype=object if over in ("cache_ttl", "task_mix") else None),
        "cost_usd": cost_usd, "low": low, "high": high, "interval": interval, "over_window_share": over_window, "flags": said,
    })  # fmt: skip
    return table.astype(
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


def crossovers(curve, over=None):
    """Where the cost curves of two models cross.

    Parameters
    ----------
    curve : DataFrame
        From `cost_curve`.
    over : str, optional
        Its varied column; by default the one it has.

    Returns
    -------
    DataFrame
        The varied column, cost_usd (USD per day) at the crossing, model_id cheaper before and cheaper after.
        Linear between neighbouring values of the curve, so exact where the curves are straight.

    Raises
    ------
    ValueError
        If the curve varies what has no order (cache_ttl, task_mix).
    """
    ordered = [*NUMERIC, "turns", "months"]
    over = over or next((column for column in ordered if column in curve), None)
    if over not in ordered:
        raise ValueError(f"a crossing needs a curve over one of {', '.join(ordered)}")
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


def cost_calendar(workload, prices, models=None, *, start, end):
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
    tables = []
    for day in days:
        grown = (1 + workload.point().monthly_growth) ** ((day - start).days / DAYS_PER_MONTH)
        work = replace(workload.point(), requests_per_day=workload.point().requests_per_day * grown)
        tables.append(daily_cost(work, replace(prices, as_of=day), names).assign(on=day))
    table = pd.concat(tables, ignore_index=True)
    gone = table["model_id"].map(retires) <= table["on"]
    texts = (
        changes.assign(text=[_change_text(row) for row in changes.itertuples()])
        .groupby(["on", "model_id"])["text"]
        .agg(", ".join)
    )
    texts = pd.concat(
        [
            texts,
            pd.Series("retires", pd.MultiIndex.from_arrays([leaving, leaving.index]), dtype=object),
        ]
    )
    key = pd.MultiIndex.from_frame(table[["on", "model_id"]])
    table = table.assign(
        change=texts.groupby(level=[0, 1]).agg(", ".join).reindex(key).fillna("").to_numpy()
    )
    table["cost_usd"] = table["cost_usd"].where(~gone)
    return table[["on", "provider", "tier", "model_id", "cost_usd", "change", "flags"]]


def _change_text(row):
    above = f" above {row.context_above:,}" if row.context_above else ""
    return f"{row.rate.replace('uncached_', '')}{above} {row.before:g} to {row.after:g}"


def cache_break_even(write_multiplier, read_multiplier):
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


def cliff_break_even(cost_below_usd, cost_above_usd, cost_flat_usd):
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


def batch_break_even(cost_dear_usd, cost_cheap_usd, discount=0.5):
    """Share of requests in batch at which a dearer model costs as much as a cheaper one without batch.

    Parameters
    ----------
    cost_dear_usd, cost_cheap_usd : float
        USD per request, without batch.
    discount : float
        Share 0-1 by which batch is cheaper.

    Returns
    -------
    float
        Share 0-1 of the dear model's requests; NaN where even all of them in batch cost more.

    Notes
    -----
    c_dear (1 - b d) = c_cheap, so b = (1 - c_cheap / c_dear) / d.

    Examples
    --------
    >>> batch_break_even(5.0, 3.0)
    0.8
    """
    return _share((1 - cost_cheap_usd / cost_dear_usd) / discount)


def _share(value):
    room = 1e-9  # an end of the range, missed by the last digit, is that end
    return float(np.clip(value, 0, 1)) if -room <= value <= 1 + room else float("nan")


def error_cost_break_even(cost_dear_usd, cost_cheap_usd, error_dear, error_cheap):
    """Cost of one error above which the dearer model is the cheaper choice.

    Parameters
    ----------
    cost_dear_usd, cost_cheap_usd : float
        USD per request.
    error_dear, error_cheap : float
        Share 0-1 of requests answered wrongly.

    Returns
    -------
    float
        USD per error; infinite when the dearer model makes no fewer errors.

    Notes
    -----
    c_d + e_d C = c_c + e_c C, so C = (c_d - c_c) / (e_c - e_d).

    Examples
    --------
    Opus 4.8 over Haiku 4.5 at 500 and 300 tokens, with five points fewer errors:

    >>> round(error_cost_break_even(0.010, 0.002, 0.05, 0.10), 6)
    0.16
    """
    if error_cheap <= error_dear:
        return float("inf")
    return (cost_dear_usd - cost_cheap_usd) / (error_cheap - error_dear)
