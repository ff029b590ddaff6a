"""A token bucket: what happens to arrivals at a rate limit that refills continuously."""

import numpy as np
import pandas as pd

from tierlab.buckets import plain

_ROUNDING = 1e-9  # of a full bucket: 0.3 s - 0.2 s is a little less than 0.1 s, and is not to refuse a request that fits


def token_bucket(at, tokens, *, per_minute, capacity=None):
    """Replay arrivals against a token bucket: which are refused, and how long they wait if they stand in line.

    Parameters
    ----------
    at : array_like of datetime64, or of float (seconds)
        Arrivals, in order.
    tokens : array_like of float
        What each takes: 1 for a limit on requests.
    per_minute : float
        Refill, above 0.
    capacity : float, optional
        What a full bucket holds; by default a minute's refill. The bucket is full at the start.

    Returns
    -------
    DataFrame
        In the order given: refused (bool: not enough in the bucket on arrival, and not sent again), delay_s (seconds to
        wait if every request stands in line, first come first served; infinite if it takes more than the bucket holds).

    Notes
    -----
    Bucket: RFC 2697, section 3 (without the second burst size); it refills continuously, as Anthropic says of its own
    (rate limits page, read 2026-10-08). The size of a provider's bucket is not published: Anthropic warns that 60 requests
    a minute may be enforced as one a second, which is a `capacity` of ``per_minute / 60``. Line: virtual scheduling, ITU-T
    I.371, annex A (GCRA). With T the time at which the bucket would be full again and r the refill per second, request k
    leaves at d = max(at, d before it, T + (tokens - capacity) / r), and T becomes max(at, T) + tokens / r, which is a sum
    and a running maximum. More refill never means a longer wait; it can mean more refusals, when it lets a large request
    in that empties the bucket for small ones. Output tokens are taken on arrival here; a provider counts them as they come.

    Examples
    --------
    >>> token_bucket([0.0, 0.0, 1.0], [60, 60, 60], per_minute=3600, capacity=60).values.tolist()
    [[False, 0.0], [True, 1.0], [False, 1.0]]
    """
    seconds, tokens = _seconds(at), np.asarray(tokens, float)
    capacity = per_minute if capacity is None else capacity
    if not (per_minute > 0 and capacity > 0):
        raise ValueError(f"per_minute={plain(per_minute)!r} and capacity={plain(capacity)!r}: both are to be above 0")
    if len(seconds) != len(tokens) or (np.diff(seconds) < 0).any() or not (tokens >= 0).all():
        raise ValueError(
            f"{len(seconds):,} arrivals in order and as many counts from 0 up are needed, got {len(tokens):,} counts"
        )
    rate, fits = per_minute / 60, tokens <= capacity * (1 + _ROUNDING)
    delay = np.full(len(tokens), np.inf)
    delay[fits] = _line(seconds[fits], tokens[fits], rate, capacity)
    return pd.DataFrame({"refused": _refused(seconds, tokens, rate, capacity), "delay_s": delay})


def _seconds(at):
    values = np.asarray(at)
    if values.dtype.kind == "M":
        values = (values - values[:1]) / np.timedelta64(1, "s")
    return values.astype(float)


def _line(at, tokens, rate, capacity):
    """Seconds that each request waits in a first-come line; none takes more than the bucket holds."""
    spent = np.concatenate([[0.0], np.cumsum(tokens / rate)])
    full = np.maximum.accumulate(np.concatenate([[-np.inf], at - spent[:-1]])) + spent  # T before each request, and at the end
    leaves = np.maximum.accumulate(np.maximum(at, full[:-1] + (tokens - capacity) / rate))
    return leaves - at


def _refused(at, tokens, rate, capacity):
    """Which requests find too little in the bucket; what is refused takes nothing, so each step needs the one before."""
    refused, level, before = np.zeros(len(at), bool), capacity, at[0] if len(at) else 0.0
    for place, (now, wanted) in enumerate(zip(at.tolist(), tokens.tolist(), strict=True)):
        level, before = min(capacity, level + (now - before) * rate), now
        if wanted > level + _ROUNDING * capacity:
            refused[place] = True
        else:
            level -= wanted
    return refused
