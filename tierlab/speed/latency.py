"""How long a request takes, what share of requests is within a time limit, and what waiting costs."""

from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from tierlab.core.tables import numbers
from tierlab.core.vocabulary import known, needs
from tierlab.evaluate.intervals import quantile_interval, wilson_interval
from tierlab.scaling.costs import daily_cost
from tierlab.scaling.workload import Workload
from tierlab.speed.speeds import load_routers, load_speeds

TTFT_TAIL = 2.5  # 95th percentile over the median; a week of probes of six models had 1.5 to 4.2 (jonathanwrede.de, 2026)
SPEED_TAIL = 1.3  # median over the 5th percentile; assumed: the recorded models, alone on a machine, have 1.1 to 1.3
OUTPUT_TAIL = 2.5  # 95th percentile over the median length of an answer; assumed: the recorded ones have 2.9 to 5.8
LLM_ROUTER_TOKENS = 3  # of an answer "simple" or "complex", with its end
_Z95 = 1.6448536269514722  # 95 % quantile of the normal distribution
# The columns of a table of speeds that give the middle, the shortest and the longest time.
_ENDS = {
    "seconds": ("ttft_s", "tokens_per_s"),
    "low": ("ttft_s_low", "tokens_per_s_high"),
    "high": ("ttft_s_high", "tokens_per_s_low"),
}


def seconds_per_request(
    output_tokens: ArrayLike, ttft_s: ArrayLike, tokens_per_s: ArrayLike
) -> float | np.ndarray:
    """Return the time from sending a request to its last token.

    Parameters
    ----------
    output_tokens : array_like of float
        Output tokens, at least 1.
    ttft_s : array_like of float
        Seconds to the first token, 0 or more.
    tokens_per_s : array_like of float
        Output tokens per second after the first, above 0.

    Returns
    -------
    float or ndarray
        Seconds.

    Raises
    ------
    ValueError
        If a value is outside its range.

    Notes
    -----
    ttft + (n - 1) / speed: the first token arrives after the time to the first token, the other n - 1 at the
    speed. This follows from the time per output token as vLLM and MLPerf Inference define it,
    (end to end - ttft) / (n - 1).

    Examples
    --------
    300 tokens at the article's 125 tokens per second, and at 55:

    >>> seconds_per_request(300, 1.0, [125, 55]).round(2).tolist()
    [3.39, 6.44]
    """
    tokens, ttft, speed = (
        np.asarray(value, float) for value in (output_tokens, ttft_s, tokens_per_s)
    )
    if not ((tokens >= 1).all() and (ttft >= 0).all() and (speed > 0).all()):
        raise ValueError(
            f"output_tokens={output_tokens!r}, ttft_s={ttft_s!r}, tokens_per_s={tokens_per_s!r}; "
            "at least one token, no negative wait and a speed above zero are needed"
        )
    seconds = ttft + (tokens - 1) / speed
    return seconds if seconds.ndim else float(seconds)


def seconds_range(speeds, output_tokens, *, router_s=(0.0, 0.0, 0.0)):
    """Return the median time of a request on each row of a table of speeds, with the ends of its range.

    Parameters
    ----------
    speeds : DataFrame
        From `load_speeds`.
    output_tokens : int
        At least 1.
    router_s : tuple of float
        Seconds that a router adds to each request: value, low, high (`router_seconds`).

    Returns
    -------
    DataFrame
        provider, tier, model_id, seconds, low (short wait and fast), high (long wait and slow), basis. The basis is
        that of the speed and the wait where they have the same one, otherwise "assumed".

    Examples
    --------
    >>> seconds_range(load_speeds(), 300)["seconds"].round(2).to_list()[:3]
    [6.64, 4.42, 2.67]
    """
    table = speeds[["provider", "tier", "model_id"]].copy()
    for (name, (wait, speed)), router in zip(_ENDS.items(), router_s, strict=True):
        table[name] = router + seconds_per_request(output_tokens, speeds[wait], speeds[speed])
    basis = speeds["basis"].where(speeds["basis"] == speeds["ttft_basis"], "assumed")
    return table.assign(basis=basis)


def router_seconds(kind, speeds=None, *, provider=None):
    """Return the seconds that a router adds before a request is sent on: value, low and high.

    Parameters
    ----------
    kind : str
        "small_llm", a call of the provider's small model that answers with one word, or a row of
        `tierlab.speed.speeds.load_routers` ("none", "text_features", "embedding_local", "embedding_hosted").
    speeds : DataFrame, optional
        By default `load_speeds()`; used with "small_llm" only.
    provider : str, optional
        The provider of the small model, needed with "small_llm".

    Returns
    -------
    tuple of float

    Raises
    ------
    ValueError
        For an unknown kind or provider.

    Examples
    --------
    >>> [round(value, 3) for value in router_seconds("small_llm", provider="anthropic")]
    [0.515, 0.161, 1.52]
    >>> router_seconds("embedding_local")
    (0.042, 0.014, 0.077)
    """
    if kind == "small_llm":
        speeds = load_speeds() if speeds is None else speeds
        small = speeds[speeds["tier"] == "small"].set_index("provider", drop=False)
        known("provider with a small model", provider, small.index)
        routers, row = seconds_range(small, LLM_ROUTER_TOKENS), provider
    else:
        routers, row = load_routers(), kind
        known("router", kind, ["small_llm", *routers.index])
    return tuple(routers.loc[row, ["seconds", "low", "high"]].astype(float).tolist())


def simulate_latency(
    n: int,
    *,
    output_tokens: float,
    ttft_s: float,
    tokens_per_s: float,
    router_s: float = 0.0,
    seed: int | np.random.Generator,
) -> pd.DataFrame:
    """Simulate requests around a given speed.

    Parameters
    ----------
    n : int
        Number of requests.
    output_tokens : float
        Mean of the output tokens, as in a `Workload`, because the bill follows the mean.
    ttft_s, tokens_per_s : float
        Median seconds to the first token, and median output tokens per second after it.
    router_s : float
        Median seconds of a router's call before the request; it spreads as the time to the first token does.
    seed : int or numpy.random.Generator

    Returns
    -------
    DataFrame
        output_tokens, ttft_s (router and wait), end_to_end_s, source ("simulated"). With the same seed, a shorter
        wait, a faster model or fewer tokens make no request slower.

    Raises
    ------
    ValueError
        For a value that `seconds_per_request` refuses.

    Notes
    -----
    There are four independent log-normal variables, median x tail^(z / 1.645), with z standard normal and the tails
    of this module. Independence is the optimistic case: under load, wait and speed get worse together.

    Examples
    --------
    >>> rows = simulate_latency(20_000, output_tokens=300, ttft_s=1.0, tokens_per_s=60, seed=1)
    >>> round(float(rows["ttft_s"].quantile(0.95) / rows["ttft_s"].median()), 1)
    2.5
    """
    needs("router_s", router_s, 0 <= router_s < np.inf, "a number of seconds from 0 up")
    z = np.random.default_rng(seed).standard_normal((4, n)) / _Z95
    wait = ttft_s * TTFT_TAIL ** z[0]
    call = router_s * TTFT_TAIL ** z[1]
    speed = tokens_per_s * SPEED_TAIL ** z[2]
    median = output_tokens / _mean_factor(OUTPUT_TAIL)
    tokens = np.maximum(1, np.round(median * OUTPUT_TAIL ** z[3]))
    return pd.DataFrame(
        {
            "output_tokens": tokens,
            "ttft_s": call + wait,
            "end_to_end_s": call + seconds_per_request(tokens, wait, speed),
            "source": "simulated",
        }
    )


def mean_seconds(
    output_tokens: ArrayLike,
    ttft_s: ArrayLike,
    tokens_per_s: ArrayLike,
    *,
    router_s: float = 0.0,
) -> float | np.ndarray:
    """Return the mean time of a request, from which the cost of waiting is summed.

    What users experience is better described by percentiles.

    Parameters
    ----------
    output_tokens : array_like of float
        Mean of the output tokens, at least 1.
    ttft_s, tokens_per_s, router_s : array_like of float
        Median seconds to the first token, output tokens per second and seconds of a router.

    Returns
    -------
    float or ndarray
        Seconds.

    Notes
    -----
    The mean of a log-normal variable is median x exp(sigma^2 / 2) with sigma = ln(tail) / 1.645; its inverse has the
    same sigma.

    Examples
    --------
    The mean is a little more than the time at the medians:

    >>> round(mean_seconds(300, 1.0, 125), 2), round(seconds_per_request(300, 1.0, 125), 2)
    (3.59, 3.39)
    """
    wait = (np.asarray(ttft_s) + router_s) * _mean_factor(TTFT_TAIL)
    speed = np.asarray(tokens_per_s) / _mean_factor(SPEED_TAIL)
    return seconds_per_request(output_tokens, wait, speed)


def _mean_factor(tail):
    """Return the mean of a log-normal variable with this tail over its median."""
    return np.exp((np.log(tail) / _Z95) ** 2 / 2)


def latency_percentiles(
    rows: pd.DataFrame,
    *,
    by: str = "model_id",
    column: str = "end_to_end_s",
    percentiles: Sequence[float] = (50, 90, 95, 99),
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Compute percentiles of the latency, each with its interval.

    Parameters
    ----------
    rows : DataFrame
        One row per request: a samples table, a requests table with times, or `simulate_latency`.
    by : str
        Column to group by.
    column : str
        Column of times in seconds.
    percentiles : sequence of float
        From 0 to 100.
    confidence : float
        Level, 0-1.

    Returns
    -------
    DataFrame
        by, percentile, seconds, low, high, requests, set_aside (rows without a time). An end of an interval is missing
        where there are too few requests for it, and all numbers of a group are missing where no row has a time.

    Notes
    -----
    Intervals come from order statistics: see `tierlab.evaluate.intervals.quantile_interval`.

    Examples
    --------
    >>> rows = pd.DataFrame({"model_id": "a", "end_to_end_s": range(1, 102)})
    >>> latency_percentiles(rows, percentiles=(50, 99))[["seconds", "low", "high"]].to_numpy().tolist()
    [[51.0, 41.0, 61.0], [100.0, 98.0, nan]]
    """
    for q in percentiles:
        needs("percentiles", q, 0 < q < 100, "a number between 0 and 100")
    found, times = [], _times(rows, column)
    for name, group in times.groupby(rows[by], sort=False, observed=True):
        seconds = group.dropna().to_numpy()
        for q in percentiles:
            ends = quantile_interval(seconds, q / 100, confidence=confidence)
            found.append((name, q, *ends, len(seconds), len(group) - len(seconds)))
    return pd.DataFrame(
        found, columns=[by, "percentile", "seconds", "low", "high", "requests", "set_aside"]
    )


def _times(rows, column):
    """Return a column of seconds by row; refuse a column that is not there, and what is no time."""
    known("column", column, rows)
    return pd.Series(numbers(rows, column), rows.index)


def slo_attainment(
    rows: pd.DataFrame,
    slo_s: float,
    *,
    by: str = "tier",
    column: str = "end_to_end_s",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Compute the share of requests that are answered within a limit, with its Wilson interval.

    Parameters
    ----------
    rows : DataFrame
        One row per request.
    slo_s : float
        Limit in seconds (the service level objective); a request that takes exactly that time is within it.
    by, column, confidence
        As for `latency_percentiles`.

    Returns
    -------
    DataFrame
        Indexed by `by`: share, low, high (0-1), requests, set_aside.

    Examples
    --------
    >>> rows = pd.DataFrame({"tier": "small", "end_to_end_s": [0.5, 1.0, 2.0, 4.0]})
    >>> slo_attainment(rows, 2.0)["share"].to_dict()
    {'small': 0.75}
    """
    needs("slo_s", slo_s, isinstance(slo_s, Real) and slo_s >= 0, "a number of seconds from 0 up")
    seconds = _times(rows, column)
    times = seconds.groupby(rows[by], sort=False, observed=True).agg(["count", "size"])
    within = seconds.le(slo_s).groupby(rows[by], sort=False, observed=True).sum()
    # A group in which no row has a time keeps its row but has no share: 0 of 1 stands in until it is masked.
    trials = times["count"].clip(lower=1)
    low, high = wilson_interval(within.to_numpy(), trials.to_numpy(), confidence=confidence)
    table = pd.DataFrame({"share": within / trials, "low": low, "high": high})
    return table.where(times["count"] > 0).assign(
        requests=times["count"], set_aside=times["size"] - times["count"]
    )


def assumed_attainment(speeds, slo_s, *, output_tokens, router_s=(0.0, 0.0, 0.0), n=4000, seed):
    """Simulate the share of requests within a limit for each row of a table of speeds, with the ends of its range.

    Parameters
    ----------
    speeds : DataFrame
        From `load_speeds`, of one provider or all.
    slo_s : float
        Limit in seconds.
    output_tokens : float
        Mean of the output tokens.
    router_s : tuple of float
        Seconds that a router adds: value, low, high.
    n : int
        Simulated requests per row and end.
    seed : int

    Returns
    -------
    DataFrame
        provider, tier, share, low, high (0-1). Low takes the long wait, the slow speed and the slow router at once,
        high the opposite. This uncertainty about the speeds is larger than the error of 4,000 draws.

    Examples
    --------
    >>> speeds = load_speeds().query("provider == 'google'")
    >>> table = assumed_attainment(speeds, 4.0, output_tokens=300, seed=1)
    >>> bool((table["low"] <= table["share"]).all() and (table["share"] <= table["high"]).all())
    True
    """
    table = speeds[["provider", "tier"]].copy()
    # The longest times give the lowest share.
    for name, (wait, speed), router in zip(
        ("share", "high", "low"), _ENDS.values(), router_s, strict=True
    ):
        simulated = [
            simulate_latency(
                n,
                output_tokens=output_tokens,
                ttft_s=ttft,
                tokens_per_s=rate,
                router_s=router,
                seed=seed,
            )
            for ttft, rate in zip(speeds[wait], speeds[speed], strict=True)
        ]
        table[name] = [float((rows["end_to_end_s"] <= slo_s).mean()) for rows in simulated]
    return table[["provider", "tier", "share", "low", "high"]]


def mix_attainment(
    attainment: pd.DataFrame, shares: Mapping[str, float], *, together: bool = False
) -> tuple[float, float, float]:
    """Compute the share of requests within the limit when each tier has a share of the traffic.

    Parameters
    ----------
    attainment : DataFrame
        share, low, high, indexed by tier (`slo_attainment`, or `assumed_attainment` of one provider).
    shares : mapping of str to float
        Tier -> share of requests, 0-1; the shares sum to 1.
    together : bool
        Whether the ends hold for all tiers at once, as those of `assumed_attainment` do. Otherwise the intervals of
        the tiers are independent of one another.

    Returns
    -------
    tuple of float
        share, low, high.

    Raises
    ------
    ValueError
        If the shares are not 0-1 or do not sum to 1, or a tier is not in the table.

    Notes
    -----
    The attainment of a mix is the weighted mean of the attainments, whereas a percentile of a mix is not the mean of
    the percentiles. Independent intervals are combined by MOVER: the distance of each end is the root of the sum of
    squares of the weighted distances (Zou & Donner, Statistics in Medicine 27, 2008, 1693-1702).

    Examples
    --------
    >>> table = pd.DataFrame({"share": [1.0, 0.5], "low": [0.9, 0.4], "high": [1.0, 0.6]}, ["small", "flagship"])
    >>> [round(value, 3) for value in mix_attainment(table, {"small": 0.8, "flagship": 0.2})]
    [0.9, 0.818, 0.92]
    """
    weights = pd.Series(shares, dtype=float)
    for tier in weights.index:
        known("tier", tier, attainment.index)
    parts = weights.between(0, 1).all() and np.isclose(weights.sum(), 1)
    needs("shares", dict(shares), parts, "a share from 0 to 1 for each tier, together 1,")
    own = attainment.loc[weights.index]
    share, low, high = (float(weights @ own[name]) for name in ("share", "low", "high"))
    if not together:
        down, up = (
            float(np.linalg.norm(weights * (own["share"] - own[end]))) for end in ("low", "high")
        )
        low, high = share - down, share + up
    return share, low, high


def request_costs(speeds, prices, *, input_tokens, output_tokens, router_s=0.0):
    """Compute the price and the mean time of a request on each row of a table of speeds.

    Parameters
    ----------
    speeds : DataFrame
        From `tierlab.load_speeds`. Its models are priced, whatever the lineup of `prices` is.
    prices : Prices
    input_tokens, output_tokens : int
        Means per request.
    router_s : float
        Median seconds that a router adds.

    Returns
    -------
    DataFrame
        provider, tier, model_id, price_usd (USD per request, without the router's own price), seconds (mean), flags.

    Examples
    --------
    >>> import tierlab as tl
    >>> costs = request_costs(tl.load_speeds(), tl.load_prices("article"), input_tokens=500, output_tokens=300)
    >>> costs["price_usd"].round(6).to_list()[:3]
    [0.01, 0.006, 0.002]
    """
    work = Workload(requests_per_day=1, input_tokens=input_tokens, output_tokens=output_tokens)
    models = speeds["model_id"].tolist()
    day = daily_cost(work, prices, models).set_index("model_id").loc[models]
    seconds = mean_seconds(
        output_tokens, speeds["ttft_s"], speeds["tokens_per_s"], router_s=router_s
    )
    table = speeds[["provider", "tier", "model_id"]].reset_index(drop=True)
    table["price_usd"], table["seconds"] = day["cost_usd"].to_numpy(), seconds
    return table.assign(flags=day["flags"].to_numpy())


def premium(costs, hours_usd):
    """Compute how much more a request costs on a provider's flagship than on its small model, in price and waiting.

    Parameters
    ----------
    costs : DataFrame
        From `request_costs`.
    hours_usd : sequence of float
        Values of an hour of waiting (USD).

    Returns
    -------
    DataFrame
        provider, hour_usd, extra_usd (USD per request), price_gap_usd, time_gap_s, equal_hour_usd. The last is the
        value of an hour at which the wait costs as much as the price difference; it is infinite where the flagship is
        not slower.

    Examples
    --------
    >>> costs = pd.DataFrame({"provider": "p", "tier": ["small", "flagship"], "price_usd": [0.002, 0.010], "seconds": [2, 6]})
    >>> premium(costs, [0, 7.2])["extra_usd"].round(6).tolist()
    [0.008, 0.016]
    """
    sides = [
        costs[costs["tier"] == tier].set_index("provider")[["price_usd", "seconds"]]
        for tier in ("flagship", "small")
    ]
    gaps = (sides[0] - sides[1]).loc[costs["provider"].unique()]
    gaps = gaps.set_axis(["price_gap_usd", "time_gap_s"], axis=1).reset_index()
    equal = gaps["price_gap_usd"] / gaps["time_gap_s"] * 3600
    gaps["equal_hour_usd"] = equal.where(gaps["time_gap_s"] > 0, np.inf)
    table = gaps.merge(pd.Series(hours_usd, name="hour_usd"), how="cross")
    waiting_usd = table["time_gap_s"] * table["hour_usd"] / 3600
    table.insert(1, "hour_usd", table.pop("hour_usd"))
    table.insert(2, "extra_usd", table["price_gap_usd"] + waiting_usd)
    return table
