"""The share of requests within a time limit: by tier, by assumed speeds, and for a mix of tiers."""

import numpy as np
import pandas as pd

from tierlab.evaluation import wilson_interval
from tierlab.latency import simulate_latency
from tierlab.names import unknown


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
    within = (times[column] <= slo_s).groupby(times[by], sort=False, observed=True).agg(["sum", "size"])
    low, high = wilson_interval(within["sum"].to_numpy(), within["size"].to_numpy(), confidence=confidence)
    table = pd.DataFrame({"share": within["sum"] / within["size"], "low": low, "high": high, "requests": within["size"]})
    aside = rows[column].isna().groupby(rows[by], sort=False, observed=True).sum()
    table = table.reindex(aside.index).assign(set_aside=aside)  # a group without any time has no share, and is still there
    return table.assign(requests=table["requests"].fillna(0).astype(int))


def assumed_attainment(speeds, slo_s, *, output_tokens, router_s=(0.0, 0.0, 0.0), n=4000, seed, **tails):
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
    >>> from tierlab.speeds import load_speeds
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
        raise ValueError(f"shares of traffic lie between 0 and 1 and add up to 1; got {dict(shares)}")
    known = attainment.loc[weights.index]
    share = float(weights @ known["share"])
    if together:
        return share, float(weights @ known["low"]), float(weights @ known["high"])
    down, up = (np.sqrt(((weights * (known["share"] - known[end])) ** 2).sum()) for end in ("low", "high"))
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
