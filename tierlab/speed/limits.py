"""Rate limits and context windows: the smallest limit tier that carries a trace, and which requests fit a model.

A limit tier (Start, Tier 3) is what a provider grants an organisation; it has nothing to do with a model's tier.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from tierlab.core.paths import DATA
from tierlab.core.tables import (
    booleans,
    check_columns,
    checked_tokens,
    one_of,
    refuse,
    times,
)
from tierlab.core.vocabulary import needs, unknown
from tierlab.prices.pricing import reprice
from tierlab.scaling.workload import TRACE_ORIGIN, check_single

QUANTILE = 0.99  # of minutes that must fit
CACHED = ("free", "counted")
LIMITS = {
    "rpm": "requests",
    "rpd": "requests a day",
    "itpm": "input tokens",
    "otpm": "output tokens",
    "tpm": "all tokens",
}
NO_WINDOW = "the price source gives no context window"
NO_OUTPUT_LIMIT = "the price source gives no output limit: only the window is checked"
_NEEDED = ("provider", "limit_tier", "model_id", "cached_input")
_MINUTES_PER_DAY = 1440
_ROUNDING = 1e-9  # of a full bucket: 0.3 s - 0.2 s is a little less than 0.1 s, and must not refuse a request that fits


def load_rate_limits(path=DATA / "rate_limits.csv"):
    """Load the documented rate limits by limit tier and model, or those of your own contract.

    Parameters
    ----------
    path : path
        A CSV file with provider, limit_tier, model_id, cached_input ("free" or "counted": whether cache reads count as
        input tokens) and at least one of rpm, rpd, itpm, otpm, tpm (requests per minute, requests per day, and input,
        output and all tokens per minute; empty where there is no such limit). The limit tiers of a model go from small
        to large.

    Returns
    -------
    DataFrame
        The rows of the file in their order, with limits as float (NaN where there is no such limit).

    Raises
    ------
    ValueError
        If a column is missing, a limit is not above 0, a row has no limit, or a limit tier comes twice or is below the
        one before it.

    Examples
    --------
    >>> load_rate_limits().query("model_id == 'claude-haiku-5-5'")[["limit_tier", "rpm"]].to_dict("list")
    {'limit_tier': ['Start', 'Build', 'Scale'], 'rpm': [1000.0, 5000.0, 10000.0]}
    """
    try:
        return _rate_limits(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _rate_limits(path):
    texts = dict.fromkeys((*_NEEDED, "pool", "source", "read_on", "note"), str)
    table = pd.read_csv(path, dtype=texts)
    if missing := [column for column in _NEEDED if column not in table]:
        raise ValueError(f"column {missing[0]!r} is missing; rate limits need {', '.join(_NEEDED)}")
    for column in table.columns.difference(
        [*_NEEDED, *LIMITS]
    ):  # a misspelt limit would be ignored
        near = unknown("column", column, (*_NEEDED, *LIMITS))
        if "did you mean" in near:
            raise ValueError(near)
    for value in table["cached_input"].drop_duplicates():
        one_of("cached_input", value, CACHED)
    given = table.reindex(columns=list(LIMITS))
    limits = given.apply(pd.to_numeric, errors="coerce").astype(float)
    rows = table.set_axis(range(2, len(table) + 2))  # errors name the row of the file
    for name in LIMITS:
        allowed = given[name].isna() | (np.isfinite(limits[name]) & (limits[name] > 0))
        refuse(rows, name, ~allowed, "a limit that is not above 0")
    refuse(rows, "limit_tier", limits.isna().all(axis=1), "no limit at all")
    keys = ["provider", "model_id"]
    refuse(rows, "limit_tier", table.duplicated([*keys, "limit_tier"]), "a limit tier twice")
    # The first limit tier that carries a trace is the smallest one only if they go from small to large.
    now = limits.fillna(np.inf)
    before = now.groupby([table[key] for key in keys]).shift()
    smaller = (now < before).any(axis=1) & ~(now > before).any(axis=1)
    refuse(rows, "limit_tier", smaller, "limit tiers that do not go from small to large")
    return table.assign(**limits)


def busiest_hour(workload, *, share, minute_spread=0.3, seed):
    """Simulate the requests of the busiest hour of a day, with their arrival times.

    Parameters
    ----------
    workload : Workload
    share : float
        Share of the day's requests in that hour, above 0 and up to 1; 1/24 is a day without a peak.
    minute_spread : float
        Coefficient of variation of the rate from minute to minute, in addition to chance; 0 is a Poisson process. A
        recorded hour of Azure's conversations has 0.28, one of its code completions 1.02.
    seed : int or numpy.random.Generator

    Returns
    -------
    DataFrame
        The requests table, sorted by `at`, which counts from 2000-01-01.

    Notes
    -----
    Arrivals are Poisson with a rate that is drawn each minute from a gamma distribution with mean 1, so that counts per
    minute are negative binomial: the usual model of overdispersed counts (Greenwood & Yule 1920).

    Examples
    --------
    >>> from tierlab.scaling.workload import Workload
    >>> len(busiest_hour(Workload(requests_per_day=20_000), share=0.12, seed=1))
    2400
    """
    needs("share", share, 0 < share <= 1, "a share above 0 and up to 1")
    needs("minute_spread", minute_spread, minute_spread >= 0, "a number from 0 up")
    number = max(1, round(workload.requests_per_day * share))
    requests, rng = workload.requests(number, seed=seed), np.random.default_rng(seed)
    rate = rng.gamma(minute_spread**-2, size=60) if minute_spread else np.ones(60)
    numbers = rng.multinomial(number, rate / rate.sum())
    seconds = np.sort(60 * (np.repeat(np.arange(60), numbers) + rng.random(number)))
    return requests.assign(at=TRACE_ORIGIN + pd.to_timedelta(seconds, unit="s"))


def usage_per_minute(requests):
    """Sum up what each minute of a trace uses.

    Parameters
    ----------
    requests : DataFrame
        The requests table, one row per request, with `at` (UTC).

    Returns
    -------
    DataFrame
        A row per minute from the first to the last request, including idle ones: requests, uncached_tokens (uncached
        input and cache writes), cache_read_tokens, output_tokens. Batch requests have limits of their own and are left
        out; ``attrs["batch_requests"]`` is their number.

    Raises
    ------
    ValueError
        If there are no times, a row stands for several requests, or all requests are in batches.

    Examples
    --------
    >>> log = pd.DataFrame({"at": pd.to_datetime(["2026-01-01 00:00:59", "2026-01-01 00:02:00"]),
    ...                     "uncached_input_tokens": [500, 700], "output_tokens": [30, 40]})
    >>> usage_per_minute(log)["uncached_tokens"].tolist()
    [500, 0, 700]
    """
    each, left_out = _use(requests)
    usage = each.resample("min").sum()
    usage.attrs["batch_requests"] = left_out
    return usage


def _use(requests):
    """Return what each request outside of batches uses, by its time, and the number of requests in batches."""
    check_columns(requests, needed=("at", "uncached_input_tokens", "output_tokens"))
    check_single(requests, "minutes need")
    batch = booleans(requests, "batch")
    live = requests if batch is None else requests[~batch]
    if live.empty:
        raise ValueError("there is no request outside of a batch: batches have limits of their own")
    tokens, none = checked_tokens(live), np.zeros(len(live), "int64")
    written = tokens.get("cache_write_short", none) + tokens.get("cache_write_long", none)
    each = pd.DataFrame(
        {
            "requests": 1,
            "uncached_tokens": tokens["uncached_input"] + written,
            "cache_read_tokens": tokens.get("cache_read", none),
            "output_tokens": tokens["output"],
        },
        index=pd.DatetimeIndex(times(live).astype("datetime64[us]"), name="at"),
    )
    return each, len(requests) - len(live)


def _counted(usage, cached_input):
    """Return what counts towards each limit per minute; `cached_input` says whether cache reads do."""
    given, output = usage["uncached_tokens"], usage["output_tokens"]
    if cached_input == "counted":
        given = given + usage["cache_read_tokens"]
    return pd.DataFrame(
        {"rpm": usage["requests"], "itpm": given, "otpm": output, "tpm": given + output}
    )


def usage_quantiles(usage):
    """Compute quantiles of the use per minute as observed values: the least that this share of minutes does not pass.

    Parameters
    ----------
    usage : DataFrame
        From `usage_per_minute`.

    Returns
    -------
    DataFrame
        A row per column of `usage`: mean, p50, p95, p99, max. With 60 minutes the 99th percentile is the busiest.
    """
    columns = {f"p{q * 100:g}": _observed(usage, q) for q in (0.5, 0.95, QUANTILE)}
    return pd.DataFrame({"mean": usage.mean(), **columns, "max": usage.max()})


def _observed(table, quantile):
    """Return a quantile of each column that is one of its values."""
    return pd.Series(np.quantile(table, quantile, axis=0, method="inverted_cdf"), table.columns)


def loads(usage, limits, *, quantile=QUANTILE):
    """Compute how much of each limit the trace uses, for every model and limit tier.

    Parameters
    ----------
    usage : DataFrame
        From `usage_per_minute`.
    limits : DataFrame
        From `load_rate_limits`.
    quantile : float
        Share of minutes that must fit (0-1), for each quantity by itself. Requests per day are those of the busiest 24
        hours or, in a shorter trace, 24 hours at the mean rate.

    Returns
    -------
    DataFrame
        provider, model_id, limit_tier; one column per limit with the share used (above 1 does not fit, NaN where there
        is no such limit); binding (the limit that is nearest), used (its share), carries (bool), over_share (share 0-1
        of the requests in minutes that pass a limit per minute). Idle minutes count, so a trace that is mostly idle can
        have nearly all its requests in the minutes that the quantile leaves out.
    """
    needs("quantile", quantile, 0 < quantile <= 1, "a share of minutes above 0 and up to 1")
    counted = {kind: _counted(usage, kind) for kind in CACHED}
    busy = pd.DataFrame({kind: _observed(table, quantile) for kind, table in counted.items()}).T
    day = usage["requests"].rolling(_MINUTES_PER_DAY).sum().max()
    busy["rpd"] = usage["requests"].mean() * _MINUTES_PER_DAY if np.isnan(day) else day
    names = list(LIMITS)
    used = busy.loc[limits["cached_input"], names].set_axis(limits.index) / limits[names]
    over = []
    for row in limits.to_dict("records"):
        each = counted[row["cached_input"]]
        passed = (each > [row[name] for name in each]).any(axis=1)
        over.append(usage["requests"][passed].sum() / usage["requests"].sum())
    return (
        limits[["provider", "model_id", "limit_tier"]]
        .join(used)
        .assign(
            binding=used.idxmax(axis=1).map(LIMITS),
            used=used.max(axis=1),
            carries=used.max(axis=1) <= 1,
            over_share=over,
        )
    )


def smallest_of(loads):
    """Find the smallest limit tier of each model that carries the trace, and the limit that binds there.

    Parameters
    ----------
    loads : DataFrame
        From `loads`.

    Returns
    -------
    DataFrame
        One row per model in the order of the limits: provider, model_id, limit_tier (missing if none carries the trace;
        the other columns are then those of the largest), ruled_out_below (the limit that rules out the next smaller
        limit tier, "" for the smallest), binding, used (share of the binding limit), headroom (share by which all use
        can grow until the limit is reached; negative if it is passed), over_share (share of the requests in minutes
        that pass a limit).

    Examples
    --------
    >>> usage = pd.DataFrame({"requests": [800], "uncached_tokens": [3_000_000], "cache_read_tokens": 0, "output_tokens": [9]})
    >>> limits = load_rate_limits().query("model_id == 'claude-haiku-5-5'")
    >>> smallest_of(loads(usage, limits))[["limit_tier", "ruled_out_below", "used"]].values.tolist()
    [['Build', 'input tokens', 0.6]]
    """
    table = loads.copy()
    models = table.groupby(["provider", "model_id"], sort=False)
    table["ruled_out_below"] = models["binding"].shift().fillna("")
    table["headroom"] = 1 / table["used"] - 1
    # The first limit tier that carries the trace, or else the largest one, without its name.
    largest = models.tail(1).assign(limit_tier=None)
    found = pd.concat([table[table["carries"]], largest]).drop_duplicates(["provider", "model_id"])
    columns = ["limit_tier", "ruled_out_below", "binding", "used", "headroom", "over_share"]
    order = pd.MultiIndex.from_frame(largest[["provider", "model_id"]])
    return found.set_index(["provider", "model_id"]).loc[order, columns].reset_index()


def replay(requests, limits, *, burst_s=60.0):
    """Compute the share of a trace that the token buckets of a limit tier would refuse, for each limit by itself.

    Parameters
    ----------
    requests : DataFrame
        As for `usage_per_minute`.
    limits : DataFrame
        Rows of `load_rate_limits`.
    burst_s : float
        Seconds of refill that a full bucket holds. Providers do not publish it; 60 is the allowance of a whole minute.
        A bucket of requests holds at least one: 50 per minute with one second are a request every 1.2 seconds, not
        none.

    Returns
    -------
    DataFrame
        provider, model_id, limit_tier, limit, per_minute, refused_share (share 0-1 of requests, which are not sent
        again).
    """
    each, _ = _use(requests)
    each = each.sort_index(kind="stable")
    at = each.index.to_numpy("datetime64[us]").astype("int64") / 1e6
    rows = []
    for row in limits.to_dict("records"):
        for name, takes in _counted(each, row["cached_input"]).items():
            if np.isfinite(row[name]):
                capacity = max(row[name] * burst_s / 60, 1.0 if name == "rpm" else 0.0)
                refused = token_bucket(at, takes, per_minute=row[name], capacity=capacity)
                own = {key: row[key] for key in ("provider", "model_id", "limit_tier")}
                own |= {"limit": LIMITS[name], "per_minute": row[name]}
                rows.append(own | {"refused_share": refused.mean()})
    return pd.DataFrame(rows)


def token_bucket(at, tokens, *, per_minute, capacity):
    """Replay arrivals against a token bucket and return which are refused.

    Parameters
    ----------
    at : array_like of float
        Arrivals (seconds), in order.
    tokens : array_like of float
        Tokens that each arrival takes; 1 for a limit on requests.
    per_minute : float
        Tokens that flow in per minute, above 0.
    capacity : float
        Tokens that a full bucket holds, above 0. The bucket is full at the start.

    Returns
    -------
    ndarray of bool
        In the order given: whether there was not enough in the bucket on arrival. What is refused is not sent again and
        takes nothing.

    Notes ----- RFC 2697, section 3 (without the second burst size); the bucket refills continuously, as Anthropic says
    of its own (rate limits page, read 2026-10-08). The size of a provider's bucket is not published: Anthropic warns
    that 60 requests a minute may be enforced as one a second, which is a `capacity` of ``per_minute / 60``. More refill
    can mean more refusals, when it lets a large request in that empties the bucket for small ones. Output tokens are
    taken on arrival here; a provider counts them as they come.

    Examples
    --------
    >>> token_bucket([0.0, 0.0, 1.0], [60, 60, 60], per_minute=3600, capacity=60).tolist()
    [False, True, False]
    """
    at, tokens = np.asarray(at, float).tolist(), np.asarray(tokens, float).tolist()
    refused, level, before = np.zeros(len(at), bool), capacity, at[0] if at else 0.0
    for place, (now, wanted) in enumerate(zip(at, tokens, strict=True)):
        level, before = min(capacity, level + (now - before) * per_minute / 60), now
        if wanted > level + _ROUNDING * capacity:
            refused[place] = True
        else:
            level -= wanted
    return refused


def fits_window(requests, prices, models=None):
    """Compute the share of requests that fits each model's context window.

    Parameters
    ----------
    requests : DataFrame
        The requests table, one row per request.
    prices : Prices
        With context_window and max_output_tokens.
    models : sequence of str, optional
        By default the lineup.

    Returns
    -------
    DataFrame
        One row per model: provider, tier, model_id, context_window, max_output_tokens, fits_share (of requests),
        fits_token_share (of all tokens), too_long (requests), longest_tokens (of the longest request with its answer),
        reason. The window must hold the recorded answer as well, as it does at Anthropic and OpenAI (Google gives the
        input a window of its own), and an answer above max_output_tokens does not fit either. A model whose window is
        not known has no share (NaN), and the reason says so.

    Examples
    --------
    >>> import tierlab as tl
    >>> log = pd.DataFrame({"uncached_input_tokens": [100_000, 127_000, 200_000], "output_tokens": [500, 1_500, 500]})
    >>> fits_window(log, tl.load_prices("maintained"), ["gpt-4o"])[["fits_share", "too_long"]].round(3).values.tolist()
    [[0.333, 2.0]]
    """
    whole, output = _lengths(requests)
    total = whole + output
    rows = []
    for row in _windows(prices, models).to_dict("records"):
        longest = row["max_output_tokens"]
        # A comparison with what is not known is false, so an unknown output limit refuses nothing.
        fits = ~((total > row["context_window"]) | (output > longest))
        row |= {
            "fits_share": fits.mean(),
            "fits_token_share": total[fits].sum() / total.sum() if total.sum() else np.nan,
            "too_long": int((~fits).sum()),
            "longest_tokens": int(total.max()),
            "reason": NO_OUTPUT_LIMIT if np.isnan(longest) else "",
        }
        if np.isnan(row["context_window"]):
            row |= dict.fromkeys(("fits_share", "fits_token_share", "too_long"), np.nan)
            row["reason"] = NO_WINDOW
        rows.append(row)
    return pd.DataFrame(rows)


def cliff_cost(requests, prices, models=None):
    """Compute what the step in price above a context length adds to the bill.

    Parameters
    ----------
    requests : DataFrame
        The requests table, one row per request; its own model_id is not used.
    prices : Prices
        The rates in force on its `as_of` are used.
    models : sequence of str, optional
        By default the lineup.

    Returns
    -------
    DataFrame
        One row per model: provider, tier, model_id, context_above (tokens of the first step; NaN without one),
        above_share (of requests), cost_usd (of all requests), base_usd (the same at the rates below the step),
        added_usd, added_share (of the base), flags (what was assumed). An input over the window is flagged, but priced
        all the same.

    Notes ----- A step is a cliff: above it every token of the request pays the higher rate, not only the tokens above
    the step (`tierlab.price`). `tierlab.cliff_break_even` turns the two costs of a request into the share above the
    step at which a model without a step is as cheap.
    """
    whole, _ = _lengths(requests)
    table = _windows(prices, models)[["provider", "tier", "model_id"]]
    in_force = prices.in_force()
    steps = in_force[in_force["context_above"] > 0].groupby("model_id")["context_above"].min()
    table["context_above"] = table["model_id"].map(steps).astype(float)
    # A comparison with NaN is false: without a step, no request is above it.
    table["above_share"] = [(whole > step).mean() for step in table["context_above"]]
    flat = replace(
        prices, frame=prices.frame[prices.frame["context_above"] == 0].reset_index(drop=True)
    )
    with_steps, without = (
        reprice(requests, p, table["model_id"], over_window="price") for p in (prices, flat)
    )
    table["cost_usd"] = table["model_id"].map(with_steps.sum())
    table["base_usd"] = table["model_id"].map(without.sum())
    table["added_usd"] = table["cost_usd"] - table["base_usd"]
    table["added_share"] = (table["added_usd"] / table["base_usd"]).where(table["base_usd"] > 0)
    return table.assign(
        flags=[with_steps.attrs["flags"].get(name, "") for name in table["model_id"]]
    )


def _lengths(requests):
    """Return the whole input and the output of each request, in tokens."""
    check_columns(requests, needed=("uncached_input_tokens", "output_tokens"))
    if requests.empty:
        raise ValueError("there are no requests")
    check_single(requests, "lengths need")
    tokens = checked_tokens(requests)
    output = tokens.pop("output")
    return sum(tokens.values()), output


def _windows(prices, models):
    rates = prices.base_rates(prices.models() if models is None else models)
    return rates[["provider", "tier", "model_id", "context_window", "max_output_tokens"]]
