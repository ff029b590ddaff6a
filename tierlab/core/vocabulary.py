"""Words that everything shares: tiers, token buckets, statuses, and the nearest known name."""

import difflib

from tierlab.core.untrusted import cited, shown

TIERS = ("small", "mid", "flagship")
BUCKETS = ("uncached_input", "cache_read", "cache_write_short", "cache_write_long", "output")
BATCH_RATES = tuple(f"batch_{bucket}" for bucket in BUCKETS)
RATES = BUCKETS + BATCH_RATES


def unknown(kind, value, allowed):
    """Say that a name is unknown and which known one is nearest.

    Examples
    --------
    >>> unknown("model", "gpt-4-o", ["gpt-4o", "gpt-5.5"])
    "unknown model 'gpt-4-o'; did you mean 'gpt-4o'?"
    """
    allowed = [shown(str(name), 80) for name in allowed]
    near = difflib.get_close_matches(str(value)[:80], allowed, n=1, cutoff=0.6)
    if near:
        return f"unknown {kind} {cited(value)}; did you mean {near[0]!r}?"
    return f"unknown {kind} {cited(value)}; known: {', '.join(allowed[:12])}{', ...' if len(allowed) > 12 else ''}"


def known(kind, value, allowed):
    """Refuse a name that is not one of those allowed, naming the nearest."""
    if value not in allowed:
        raise ValueError(unknown(kind, value, allowed))


def needs(name, value, right, what):
    """Refuse a value that is not what is needed.

    Examples
    --------
    >>> needs("choice: options", 3, False, "a list of texts")
    Traceback (most recent call last):
    ...
    ValueError: choice: options=3; a list of texts is needed
    """
    if not right:
        raise ValueError(f"{name}={value!r}; {what} is needed")


STATUSES = ("ok", "error", "rate_limited", "context_overflow")  # of a request in a log
ANSWERED = ("ok", "truncated", "refused", "empty", "content_filter")  # of a call: it was answered
FAILURES = (
    "auth",
    "rate_limited",
    "overloaded",
    "unavailable",
    "wrong_address",
    "timeout",
    "broken_stream",
    "early_end",
    "malformed",
    "context_overflow",
    "bad_request",
    "not_recorded",
    "over_budget",
)
# The service began to work on these before it failed: nobody knows whether they are billed.
IN_DOUBT = ("timeout", "broken_stream", "early_end", "malformed")
