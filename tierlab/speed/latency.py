"""How long a request takes: its parts, its percentiles, and a simulation of them.

The share of requests within a time limit: by tier, by assumed speeds, and for a mix of tiers.
"""

import numpy as np
import pandas as pd

from tierlab.core.vocabulary import unknown
from tierlab.evaluate.intervals import wilson_interval
from tierlab.speed.speeds import load_routers, load_speeds

TTFT_TAIL = 2.5  # 95th percentile over the median; a week of probes of six models had 1.5 to 4.2 (jonathanwrede.de, 2026)
SPEED_TAIL = 1.3  # median over the 5th percentile; assumed: the recorded models, alone on a machine, have 1.1 to 1.3
OUTPUT_TAIL = 2.5  # 95th percentile over the median of the answers' lengths; assumed: the recorded ones have 2.9 to 5.8
LLM_ROUTER_TOKENS = 3  # "simple" or "complex", and the end
_Z95 = 1.6448536269514722  # 95 % quantile of the normal distribution


def seconds_per_request(output_tokens, ttft_s, tokens_per_s):
    """Time from sending a request to its last token.

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
    ttft + (n - 1) / speed: the first token arrives with the time to the first token, the other n - 1 at the
    speed (time per output token as vLLM and MLPerf Inference define it, (end to end - ttft) / (n - 1), turned round).

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
    """Median time of a request on each row of a table of speeds, with the ends of its ranges.

    Parameters
    ----------
    speeds : DataFrame
        Of `load_speeds`.
    output_tokens : int
    router_s : tuple of float
        Seconds of a router in front of each request: value, low, high (`router_seconds`).

    Returns
    -------
    DataFrame
        provider, tier, model_id, seconds, low (short wait and fast), high (long wait and slow), basis: "article" or
        "measured" only where speed and wait both are, otherwise "assumed".

    Examples
    --------
    >>> seconds_range(load_speeds(), 300)["seconds"].round(2).to_list()[:3]
    [6.64, 4.42, 2.67]
    """
    table = speeds[["provider", "tier", "model_id"]].copy()
    ends = {"seconds": ("", ""), "low": ("_low", "_high"), "high": ("_high", "_low")}
    for (name, (wait, speed)), router in zip(ends.items(), router_s, strict=True):
        table[name] = router + seconds_per_request(
            output_tokens, speeds[f"ttft_s{wait}"], speeds[f"tokens_per_s{speed}"]
        )
    return table.assign(
        basis=speeds["basis"].where(speeds["basis"] == speeds["ttft_basis"], "assumed")
    )


def router_seconds(kind, speeds=None, *, provider=None, routers=None):
    """Seconds that a router adds before a request is sent on: value, low and high.

    Parameters
    ----------
    kind : str
        "small_llm", a call of the provider's small model that answers with one word, or a row of
        `tierlab.speed.speeds.load_routers` ("none", "text_features", "embedding_local", "embedding_hosted").
    speeds : DataFrame, optional
        By default `load_speeds()`; read with "small_llm".
    provider : str, optional
        Whose small model, with "small_llm".
    routers : DataFrame, optional
        By default `tierlab.speed.speeds.load_routers()`.

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
        small = speeds[(speeds["provider"] == provider) & (speeds["tier"] == "small")]
        if small.empty:
            raise ValueError(
                unknown("provider with a small model", provider, speeds["provider"].unique())
            )
        return tuple(
            float(v)
            for v in seconds_range(small, LLM_ROUTER_TOKENS).iloc[0][["seconds", "low", "high"]]
        )
    routers = load_routers() if routers is None else routers
    if kind not in routers.index:
        raise ValueError(unknown("router", kind, ["small_llm", *routers.index]))
    return tuple(float(value) for value in routers.loc[kind, ["seconds", "low", "high"]])


def simulate_latency(n, *, output_tokens, ttft_s, tokens_per_s, router_s=0.0, ttft_tail=TTFT_TAIL, speed_tail=SPEED_TAIL,
                     output_tail=OUTPUT_TAIL, seed):  # fmt: skip
    """Simulated requests around a given speed.

    Parameters
    ----------
    n : int
        Requests.
    output_tokens : float
        Mean, as of a `Workload`: what is billed is the mean.
    ttft_s, tokens_per_s : float
        Medians.
    router_s : float
        Median of a router's call in front, seconds; it spreads as the time to the first token does.
    ttft_tail, speed_tail, output_tail : float
        Tail of each, 1 or more: the 95th percentile as a multiple of the median (for the speed the median as a
        multiple of the 5th percentile, since it is the slow end that hurts). 1 is no spread.
    seed : int or numpy.random.Generator

    Returns
    -------
    DataFrame
        output_tokens, ttft_s (router and wait), end_to_end_s, source ("simulated"). With equal seeds a shorter wait, a
        faster model or fewer tokens make no request slower.

    Raises
    ------
    ValueError
        For a tail below 1, or a value that `seconds_per_request` refuses.

    Notes
    -----
    Four independent log-normal variables, median x tail^(z / 1.645) with z standard normal. Independence is the
    optimistic case: under load wait and speed get worse together.

    Examples
    --------
    >>> rows = simulate_latency(20_000, output_tokens=300, ttft_s=1.0, tokens_per_s=60, seed=1)
    >>> round(float(rows["ttft_s"].quantile(0.95) / rows["ttft_s"].median()), 1)
    2.5
    """
    z = np.random.default_rng(seed).standard_normal((4, n)) / _Z95
    (
        _mean_factor("ttft_tail", ttft_tail),
        _mean_factor("speed_tail", speed_tail),
    )  # refuse what is no tail
    wait, call, speed = (
        ttft_s * ttft_tail ** z[0],
        router_s * ttft_tail ** z[1],
        tokens_per_s * speed_tail ** z[2],
    )
    tokens = np.maximum(
        1, np.round(output_tokens / _mean_factor("output_tail", output_tail) * output_tail ** z[3])
    )
    total = call + seconds_per_request(tokens, wait, speed)
    return pd.DataFrame(
        {
            "output_tokens": tokens,
            "ttft_s": call + wait,
            "end_to_end_s": total,
            "source": "simulated",
        }
    )


def mean_seconds(
    output_tokens, ttft_s, tokens_per_s, *, router_s=0.0, ttft_tail=TTFT_TAIL, speed_tail=SPEED_TAIL
):
    """Mean time of a request, which is what a sum of money for waiting adds up from; for people, see the percentiles.

    Parameters
    ----------
    output_tokens : array_like of float
        Mean, at least 1.
    ttft_s, tokens_per_s, router_s : array_like of float
        Medians.
    ttft_tail, speed_tail : float
        As for `simulate_latency`.

    Returns
    -------
    float or ndarray
        Seconds.

    Notes
    -----
    A log-normal variable has the mean median x exp(sigma^2 / 2), sigma = ln(tail) / 1.645, and so has one over it.

    Examples
    --------
    Without tails it is the time at the medians:

    >>> mean_seconds(300, 1.0, 125, ttft_tail=1, speed_tail=1) == seconds_per_request(300, 1.0, 125)
    True
    """
    wait = (np.asarray(ttft_s) + router_s) * _mean_factor("ttft_tail", ttft_tail)
    return seconds_per_request(
        output_tokens, wait, np.asarray(tokens_per_s) / _mean_factor("speed_tail", speed_tail)
    )


def _mean_factor(name, tail):
    """Mean over median of a log-normal variable with this tail."""
    if not tail >= 1:
        raise ValueError(f"{name}={tail!r}; a tail is a multiple of the median, 1 or more")
    return np.exp((np.log(tail) / _Z95) ** 2 / 2)


def latency_percentiles(
    rows, *, by="model_id", column="end_to_end_s", percentiles=(50, 90, 95, 99), confidence=0.95
):
    """Percentiles of the latency, each with its interval.

    Parameters
    ----------
    rows : DataFrame
        One row per request: a samples table, a requests table with times, or `simulate_latency`.
    by : str
        Column whose values have a row each.
    column : str
        Times in seconds.
    percentiles : sequence of float
        0-100.
    confidence : float
        Level, 0-1.

    Returns
    -------
    DataFrame
        by, percentile, seconds, low, high, requests, set_aside (rows without a time). An end that so few requests
        cannot give is missing, and so is everything of a group in which no row has a time.

    Notes
    -----
    The interval is made of order statistics and assumes no distribution (Conover 1999, 3.2), by
    `scipy.stats.quantile_test`.

    Examples
    --------
    >>> rows = pd.DataFrame({"model_id": "a", "end_to_end_s": range(1, 102)})
    >>> latency_percentiles(rows, percentiles=(50, 99))[["seconds", "low", "high"]].to_numpy().tolist()
    [[51.0, 41.0, 61.0], [100.0, 98.0, nan]]
    """
    from scipy.stats import quantile_test

    found = []
    for name, group in rows.groupby(by, sort=False, observed=True):
        seconds = group[column].dropna().to_numpy(float)
        counts = (len(seconds), len(group) - len(seconds))
        for q in percentiles:
            if not len(seconds):
                found.append((name, q, np.nan, np.nan, np.nan, *counts))
                continue
            ends = quantile_test(seconds, q=0, p=q / 100).confidence_interval(confidence)
            found.append(
                (name, q, float(np.quantile(seconds, q / 100)), ends.low, ends.high, *counts)
            )
    return pd.DataFrame(
        found, columns=[by, "percentile", "seconds", "low", "high", "requests", "set_aside"]
    )


def slo_attainment(rows, slo_s, *, by="tier", column="end_to_end_s", confidence=0.95):
    """Share of requests that are answered within a limit, with its Wilson interval.

    Parameters
    ----------
    rows : DataFrame
        One row per request.
    slo_s : float
        Limit, seconds (the service level objective); a request of exactly that time is within.
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
    times = rows.dropna(subset=column)
    within = (
        (times[column] <= slo_s).groupby(times[by], sort=False, observed=True).agg(["sum", "size"])
    )
    low, high = wilson_interval(
        within["sum"].to_numpy(), within["size"].to_numpy(), confidence=confidence
    )
    table = pd.DataFrame(
        {
            "share": within["sum"] / within["size"],
            "low": low,
            "high": high,
            "requests": within["size"],
        }
    )
    aside = rows[column].isna().groupby(rows[by], sort=False, observed=True).sum()
    table = table.reindex(aside.index).assign(
        set_aside=aside
    )  # a group without any time has no share, and is still there
    return table.assign(requests=table["requests"].fillna(0).astype(int))


def assumed_attainment(
    speeds, slo_s, *, output_tokens, router_s=(0.0, 0.0, 0.0), n=4000, seed, **tails
):
    """Share of requests within a limit for each row of a table of speeds, simulated, with the ends of its ranges.

    Parameters
    ----------
    speeds : DataFrame
        Of `load_speeds`, one provider's or all.
    slo_s : float
        Limit, seconds.
    output_tokens : float
        Mean.
    router_s : tuple of float
        Seconds of a router in front: value, low, high.
    n : int
        Simulated requests per row and end.
    seed : int
    **tails
        As for `simulate_latency`.

    Returns
    -------
    DataFrame
        provider, tier, share, low, high. Low has the long wait, the slow speed and the slow router at once, high the
        opposite: what is not known about the speeds is larger than what 4,000 draws leave open.

    Examples
    --------
    >>> from tierlab.speed.speeds import load_speeds
    >>> speeds = load_speeds().query("provider == 'google'")
    >>> table = assumed_attainment(speeds, 4.0, output_tokens=300, seed=1)
    >>> bool((table["low"] <= table["share"]).all() and (table["share"] <= table["high"]).all())
    True
    """
    ends = {"share": (0, "", ""), "low": (2, "_high", "_low"), "high": (1, "_low", "_high")}
    table = speeds[["provider", "tier"]].copy()
    for name, (router, wait, speed) in ends.items():
        medians = zip(speeds[f"ttft_s{wait}"], speeds[f"tokens_per_s{speed}"], strict=True)
        table[name] = [
            float((simulate_latency(n, output_tokens=output_tokens, ttft_s=ttft, tokens_per_s=rate, router_s=router_s[router],
                                    seed=seed, **tails)["end_to_end_s"] <= slo_s).mean())
            for ttft, rate in medians
        ]  # fmt: skip
    return table


def mix_attainment(attainment, shares, *, together=False):
    """Share of requests within the limit when each tier has a share of the traffic.

    Parameters
    ----------
    attainment : DataFrame
        share, low, high, indexed by tier (`slo_attainment`, or `assumed_attainment` of one provider).
    shares : mapping of str to float
        Tier -> share of requests, 0-1, together 1.
    together : bool
        Whether the ends hold for all tiers at once, as those of `assumed_attainment` do; otherwise the tiers'
        intervals are independent of one another.

    Returns
    -------
    tuple of float
        share, low, high.

    Raises
    ------
    ValueError
        If the shares are not 0-1 or do not add up to 1, or a tier is not in the table.

    Notes
    -----
    The attainment of a mix is the weighted mean of the attainments: a percentile of a mix is not the mean of the
    percentiles. Independent intervals are combined by MOVER: the distance of each end is the root of the sum of
    squares of the weighted distances (Zou & Donner, Statistics in Medicine 27, 2008, 1693-1702).

    Examples
    --------
    >>> table = pd.DataFrame({"share": [1.0, 0.5], "low": [0.9, 0.4], "high": [1.0, 0.6]}, ["small", "flagship"])
    >>> [round(value, 3) for value in mix_attainment(table, {"small": 0.8, "flagship": 0.2})]
    [0.9, 0.818, 0.92]
    """
    weights = pd.Series(shares, dtype=float)
    for tier in weights.index.difference(attainment.index):
        raise ValueError(unknown("tier", tier, attainment.index))
    if not (weights.between(0, 1).all() and np.isclose(weights.sum(), 1)):
        raise ValueError(
            f"shares of traffic lie between 0 and 1 and add up to 1; got {dict(shares)}"
        )
    known = attainment.loc[weights.index]
    share = float(weights @ known["share"])
    if together:
        return share, float(weights @ known["low"]), float(weights @ known["high"])
    down, up = (
        np.sqrt(((weights * (known["share"] - known[end])) ** 2).sum()) for end in ("low", "high")
    )
    return share, float(share - down), float(share + up)


def slow_share_limit(target, fast, slow):
    """Largest share of traffic that may go to the slower tier while the mix keeps the target.

    Parameters
    ----------
    target : float
        Share of requests that must be within the limit, 0-1.
    fast, slow : float
        Attainment of each tier, 0-1.

    Returns
    -------
    float
        Share 0-1; NaN where even the faster tier alone misses the target.

    Notes
    -----
    s a_slow + (1 - s) a_fast = target, so s = (a_fast - target) / (a_fast - a_slow).

    Examples
    --------
    >>> round(slow_share_limit(0.95, 0.99, 0.79), 6)
    0.2
    """
    if fast < target:
        return float("nan")
    return 1.0 if slow >= target else float((fast - target) / (fast - slow))
