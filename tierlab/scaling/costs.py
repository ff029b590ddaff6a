"""How cost grows: daily cost, curves over any part of a workload, break-evens, dated changes, conversations."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, combinations, pairwise, permutations

import numpy as np
import pandas as pd

from tierlab.core.tables import iso_day
from tierlab.core.vocabulary import needs, unknown
from tierlab.prices.catalog import Prices
from tierlab.prices.pricing import FLAGS, price, price_tokens
from tierlab.scaling.workload import NUMERIC, Workload

# Half-width of an approximate price as a share of it: "roughly $5" is read as 4.50 to 5.50.
APPROXIMATE_BAND = 0.10
DAYS_PER_MONTH = 365.25 / 12
_ABOUT = ["provider", "tier", "model_id"]
_VARIED = (*NUMERIC, "turns")
_Z95 = 1.959963984540054  # 97.5 % quantile of the normal distribution


def daily_cost(
    workload: Workload, prices: Prices, models: Sequence[str] | None = None
) -> pd.DataFrame:
    """Work out the cost per day of a workload on each model, with a band where an input is a range.

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
        high are, "" for a point), over_window_share (share of requests that do not fit, 0-1) and flags. A model
        whose window is too short for some request has no cost (NaN) rather than a lower one.

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
    """Work out the cost per day of each model while one part of the workload varies.

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
        The columns of `daily_cost` and one named by `over`; a row per model and value.

    Raises
    ------
    ValueError
        If `over` is not such a field, there are no values, or a value is not allowed for the field.
    """
    if over is not None and over not in _VARIED:
        raise ValueError(unknown("part of a workload", over, _VARIED))
    needs("values", values, len(values) > 0, "at least one value")
    points = [workload if over is None else replace(workload, **{over: value}) for value in values]
    # The cells of each point: its middle, then the corners of its ranges.
    stages = [[point.point(), *point.corners()] for point in points]
    sizes = [len(stage) for stage in stages]
    starts = np.cumsum(sizes) - sizes
    corners = list(chain.from_iterable(stages))
    tokens, weight, owner = _stack(corners)
    batch_share = np.array([corner.batch_share for corner in corners])
    volume = np.array([corner.requests_per_day for corner in corners])
    # The variance of a weighted mean is that of a row times the sum of squared weights: 1 / n for equal ones.
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
    table = pd.concat(parts, ignore_index=True)
    table = table.astype({"model_id": prices.frame["model_id"].dtype})
    return table.join(known, on="model_id")[["provider", "tier", *table.columns]]


def _stack(workloads):
    """Join the cells of many workloads: tokens by bucket, weights, and the workload that each cell belongs to."""
    cells = [work.cells() for work in workloads]
    buckets = {bucket for tokens, _ in cells for bucket in tokens}
    sizes = [len(weight) for _, weight in cells]
    tokens = {
        b: np.concatenate([t.get(b, np.zeros(n)) for (t, _), n in zip(cells, sizes, strict=True)])
        for b in buckets
    }
    weight = np.concatenate([weight for _, weight in cells])
    return tokens, weight, np.repeat(np.arange(len(cells)), sizes)


def _per_request(tokens, weight, owner, batch_share, prices, model_id):
    """Return mean and standard deviation of the cost of a request (USD), share over the window, names of flags."""
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
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    return mean, spread, np.bincount(owner, weight * over, count), names


def _joined(texts, more):
    return np.array([f"{text}; {more}" if text else more for text in texts], object)


def crossovers(curve: pd.DataFrame) -> pd.DataFrame:
    """Find where the cost curves of two models cross.

    Parameters
    ----------
    curve : DataFrame
        From `cost_curve`.

    Returns
    -------
    DataFrame
        The varied column, cost_usd (USD per day) at the crossing, cheaper_before and cheaper_after (model ids). The
        curve is taken as linear between neighbouring values, so a crossing is exact where the curves are straight.
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
    """Work out the cost per day over calendar time: scheduled price changes are steps, growth compounds.

    Parameters
    ----------
    workload : Workload
        Its ranges are taken at their middle; `monthly_growth` compounds from `start`.
    prices : Prices
    models : sequence of str, optional
        By default the lineup.
    start, end : str
        ISO dates.

    Returns
    -------
    DataFrame
        on, provider, tier, model_id, cost_usd (USD per day, NaN from the day of retirement), change (what
        changed that day, "" for nothing), flags. Each model has a row on `start`, on the first of each month, on
        each day on which one of the models changes, and on `end`.
    """
    names = [prices.resolve(name) for name in (models or prices.models())]
    start, end = iso_day(start), iso_day(end)
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
    """Return the cache hit rate above which writing to a cache pays.

    Parameters
    ----------
    write_multiplier, read_multiplier : float
        Price of a written token (1 or more) and of a read token (below 1) as multiples of plain input.

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
    """Return the share of requests above a context step at which a stepped model costs as much as a flat one.

    Parameters
    ----------
    cost_below_usd, cost_above_usd : float
        USD per request of the stepped model, below and above its step.
    cost_flat_usd : float
        USD per request of the other model.

    Returns
    -------
    float
        Share 0-1 of requests; NaN where there is no such share.

    Notes
    -----
    (1 - s) c_below + s c_above = c_flat, so s = (c_flat - c_below) / (c_above - c_below).

    Examples
    --------
    >>> cliff_break_even(2.0, 4.0, 3.0)
    0.5
    """
    return _share(cost_flat_usd - cost_below_usd, cost_above_usd - cost_below_usd)


def batch_break_even(cost_high_usd: float, cost_low_usd: float, discount: float = 0.5) -> float:
    """Return the share in batch at which a more expensive model costs as much as a cheaper one without batch.

    Parameters
    ----------
    cost_high_usd, cost_low_usd : float
        USD per request, without batch.
    discount : float
        Share 0-1 by which batch is cheaper.

    Returns
    -------
    float
        Share 0-1 of the more expensive model's requests; NaN where they cost more even with all of them in batch.

    Notes
    -----
    c_high (1 - b d) = c_low, so b = (1 - c_low / c_high) / d.

    Examples
    --------
    >>> batch_break_even(5.0, 3.0)
    0.8
    """
    needs("discount", discount, 0 < discount <= 1, "a share above 0 and up to 1")
    return _share(cost_high_usd - cost_low_usd, cost_high_usd * discount)


def _share(part, whole):
    value = part / whole if whole else np.nan
    near = 1e-9  # a value that misses an end of the range by rounding is that end
    return float(np.clip(value, 0, 1)) if -near <= value <= 1 + near else float("nan")


def error_cost_break_even(
    cost_high_usd: float, cost_low_usd: float, error_high: float, error_low: float
) -> float:
    """Return the cost of one error above which the more expensive model is the cheaper choice.

    Parameters
    ----------
    cost_high_usd, cost_low_usd : float or ndarray
        USD per request.
    error_high, error_low : float
        Share 0-1 of requests that each answers wrongly.

    Returns
    -------
    float or ndarray
        USD per error; infinite if the more expensive model does not make fewer errors, and 0 if it makes fewer and does
        not cost more.

    Notes
    -----
    c_h + e_h C = c_l + e_l C, so C = (c_h - c_l) / (e_l - e_h).

    Examples
    --------
    Opus 4.8 over Haiku 4.5 at 500 and 300 tokens, with five points fewer errors:

    >>> round(error_cost_break_even(0.010, 0.002, 0.05, 0.10), 6)
    0.16
    """
    for name, value in (("error_high", error_high), ("error_low", error_low)):
        needs(name, value, 0 <= value <= 1, "a share from 0 to 1")
    if error_low <= error_high:
        return float("inf")
    found = np.maximum((cost_high_usd - cost_low_usd) / (error_low - error_high), 0.0)
    return found if np.ndim(found) else float(found)


def session(conversation, turns=None, *, cached=False):
    """Return the requests of one session: every turn sends all that came before it.

    Parameters
    ----------
    conversation : tierlab.core.product.Conversation
    turns : int, optional
        By default those of the conversation.
    cached : bool
        Whether each turn reads the input of the turn before from the cache and writes what is new, including the last
        answer.

    Returns
    -------
    DataFrame
        A row per turn: turn, the input buckets and output_tokens.

    Examples
    --------
    >>> from tierlab.core.product import load_product
    >>> session(load_product().conversation, 2, cached=True)[["cache_read_tokens", "cache_write_short_tokens"]].values.tolist()
    [[0, 6200], [6200, 500]]
    """
    turn = np.arange(1, (turns or conversation.turns) + 1)
    whole = (
        conversation.system_tokens
        + turn * conversation.input_tokens
        + (turn - 1) * conversation.output_tokens
    )
    before = np.r_[0, whole[:-1]] if cached else 0 * whole
    return pd.DataFrame(
        {
            "turn": turn,
            "uncached_input_tokens": 0 * whole if cached else whole,
            "cache_read_tokens": before,
            "cache_write_short_tokens": whole - before if cached else 0 * whole,
            "output_tokens": conversation.output_tokens,
        }
    )


def hit_rate(conversation):
    """Return the share (0-1) of the input tokens of a session that is read from the cache.

    Examples
    --------
    27,800 of 36,000 tokens:

    >>> from tierlab.core.product import load_product
    >>> round(hit_rate(load_product().conversation), 4)
    0.7722
    """
    turns = session(conversation, cached=True)
    read, written = turns["cache_read_tokens"].sum(), turns["cache_write_short_tokens"].sum()
    return float(read / (read + written))


def session_costs(conversation, prices, models, *, turns=None):
    """Work out what a session has cost after each turn, with and without a cache.

    Parameters
    ----------
    conversation : tierlab.core.product.Conversation
    prices : Prices
    models : sequence of str
    turns : int, optional
        By default those of the conversation.

    Returns
    -------
    DataFrame
        provider, tier, model_id, cached, turn, the buckets, turn_usd and session_usd (the turns so far). A model
        without cache rates has no cost with a cache, and a model whose window is exceeded has none from that turn on.
    """
    both = pd.concat(
        session(conversation, turns, cached=way).assign(cached=way) for way in (False, True)
    )
    table = prices.base_rates(models)[_ABOUT].merge(both, how="cross")
    table["turn_usd"] = _dollars(table, prices, table["cached"])
    table["session_usd"] = table.groupby(["model_id", "cached"], sort=False)["turn_usd"].transform(
        lambda usd: usd.cumsum().where(usd.notna().cummin())
    )
    return table


def what_bends(product, prices, models, *, until):
    """Work out the cost of one message under each change, as a multiple of today's message.

    Parameters
    ----------
    product : tierlab.core.product.Product
    prices : Prices
    models : sequence of str
    until : str
        ISO date; price changes announced for up to that day are applied.

    Returns
    -------
    DataFrame
        provider, tier, model_id, kind (volume, conversation, cached, long, batch, announced), change (the same in
        words), usd (of one message; of the mean turn of a conversation; of two messages for twice the volume) and
        multiple. Both are missing where a rate is missing or the input does not fit.
    """
    about = prices.base_rates(models)[_ABOUT]
    steps = prices.in_force().query("model_id in @models and context_above > 0")["context_above"]
    longer = int(steps.min()) + 1 if len(steps) else 100_000
    message = about.assign(
        uncached_input_tokens=product.message.input_tokens,
        output_tokens=product.message.output_tokens,
    )
    today = _dollars(message, prices)
    talk = session_costs(product.conversation, prices, models)
    turn = talk.groupby(["model_id", "cached"])["turn_usd"].agg(lambda usd: usd.mean(skipna=False))
    turn = turn.unstack().loc[about["model_id"]]
    turns = product.conversation.turns
    later = replace(prices, as_of=iso_day(until))
    changes = [
        ("volume", "twice the messages", 2 * today),
        ("conversation", f"conversation of {turns} turns", turn[False].to_numpy()),
        ("cached", "the same, cache read", turn[True].to_numpy()),
        (
            "long",
            f"input of {longer:,} tokens",
            _dollars(message.assign(uncached_input_tokens=longer), prices),
        ),
        ("batch", "all in batch", _dollars(message.assign(batch=True), prices)),
        ("announced", f"announced prices to {until}", _dollars(message, later)),
    ]
    parts = [
        about.assign(kind=kind, change=words, usd=usd, multiple=usd / today)
        for kind, words, usd in changes
    ]
    return pd.concat(parts, ignore_index=True)


def cache_factors(prices, models):
    """Compare each model's cache prices with plain input, and find the hit rate above which a cache pays.

    Parameters
    ----------
    prices : Prices
    models : sequence of str

    Returns
    -------
    DataFrame
        provider, tier, model_id, write ("short", "long"), write_multiple, read_multiple, break_even (hit rate, 0-1;
        0 where a write costs no more than plain input). A model that does not sell such a write is left out.
    """
    rates = prices.base_rates(models)
    parts = [
        rates[_ABOUT].assign(
            write=kind,
            write_multiple=rates[f"cache_write_{kind}"] / rates["uncached_input"],
            read_multiple=rates["cache_read"] / rates["uncached_input"],
        )
        for kind in ("short", "long")
    ]
    table = pd.concat(parts, ignore_index=True).dropna(subset=["write_multiple", "read_multiple"])
    fee = table["write_multiple"] - 1
    return table.assign(break_even=fee / (table["write_multiple"] - table["read_multiple"]))


def overtakings(message, prices, *, error_gap):
    """Find where one model of the lineup overtakes another, for one message, in three ways.

    Parameters
    ----------
    message : tierlab.core.product.Message
    prices : Prices
    error_gap : float
        Share of messages (0-1) that a provider's flagship answers right and its small model wrong.

    Returns
    -------
    DataFrame
        higher and lower (model ids), break_even (number) and of (what the number is): the USD that one error must cost
        before a flagship is worth more than the small model, the share that must go through batch before a more
        expensive model costs as much as a cheaper one without batch, and the share of requests over a context step at
        which a model with a step costs as much as one without. A pair that no number makes equal is left out.
    """
    models = prices.models()

    def costs(requests):
        return dict(zip(models, _dollars(requests, prices), strict=True))

    request = prices.base_rates(models)[["model_id"]].assign(
        uncached_input_tokens=message.input_tokens, output_tokens=message.output_tokens
    )
    usd = costs(request)
    rows = [
        (
            large,
            small,
            error_cost_break_even(usd[large], usd[small], 0.0, error_gap),
            "USD per error",
        )
        for small, large in prices.lineup()[["small", "flagship"]].dropna().itertuples(index=False)
        if usd[large] > usd[small]
    ]
    shares = [
        (high, low, batch_break_even(usd[high], usd[low]), "share in batch")
        for high, low in permutations(models, 2)
    ]
    steps = prices.in_force().query("model_id in @models and context_above > 0")
    flat = [model for model in models if model not in set(steps["model_id"])]
    for step in steps.drop_duplicates("model_id").itertuples():
        of = f"share above {step.context_above:,} tokens"
        lengths = (step.context_above, step.context_above + 1)
        below, above = (costs(request.assign(uncached_input_tokens=tokens)) for tokens in lengths)
        shares += [
            (
                step.model_id,
                other,
                cliff_break_even(below[step.model_id], above[step.model_id], below[other]),
                of,
            )
            for other in flat
        ]
    rows += [row for row in shares if row[2] > 0]
    return pd.DataFrame(rows, columns=["higher", "lower", "break_even", "of"])


def _dollars(requests, prices, cached=False):
    """Return the cost (USD) of each request, missing where a rate is missing or the input does not fit."""
    rates = prices.base_rates(requests["model_id"])
    known = ~(np.asarray(cached) & rates[["cache_read", "cache_write_short"]].isna().any(axis=1))
    if "batch" in requests:
        known &= rates[["batch_uncached_input", "batch_output"]].notna().all(axis=1)
    known = known.to_numpy()
    found = price(requests[known], prices)
    fits = ~found["flags"].astype(str).str.contains("over_window")
    return found["cost_usd"].where(fits).reindex(requests.index).to_numpy()
