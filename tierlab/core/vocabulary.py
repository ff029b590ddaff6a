"""Words that everything shares (tiers, token buckets, statuses, extras), and the errors for a word that is unknown."""

import difflib
import math
from numbers import Real

from tierlab.core.untrusted import cited, shown

TIERS = ("small", "mid", "flagship")
PROVIDER_NAMES = {"anthropic": "Anthropic", "openai": "OpenAI", "google": "Google"}
BUCKETS = ("uncached_input", "cache_read", "cache_write_short", "cache_write_long", "output")
BATCH_RATES = tuple(f"batch_{bucket}" for bucket in BUCKETS)
RATES = BUCKETS + BATCH_RATES
STATUSES = ("ok", "error", "rate_limited", "context_overflow")  # of a request in a log
ANSWERED = ("ok", "truncated", "refused", "empty", "content_filter")  # of a call that was answered
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
# The service may have begun to work on these before they failed, so it is unknown whether they are billed.
IN_DOUBT = ("timeout", "broken_stream", "early_end", "malformed")

EXTRAS = {  # extra of the installation -> the packages that come with it
    "stats": ("statsmodels", "evalstats", "sklearn", "bpe_openai"),
    "live": ("anthropic", "openai", "google", "httpx2"),
    "usage": ("duckdb", "ibis", "pyarrow", "sqlglot"),
    "report": (
        "papermill",
        "nbconvert",
        "nbformat",
        "ipykernel",
        "ipywidgets",
        "IPython",
        "nh3",
        "mistune",
        "latex2mathml",
        "bs4",
    ),
    "lab": ("jupyterlab", "voila"),
}


def unknown(kind, value, allowed):
    """Return a message that a name is unknown, with the nearest known one, or up to twelve if none is near.

    Parameters
    ----------
    kind : str
        What the name names.
    value : object
    allowed : iterable of str

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


def task_name(task):
    """Write the id of a task in words.

    Examples
    --------
    >>> task_name("faq_answering"), task_name("legal_medical_analysis")
    ('FAQ answering', 'legal or medical analysis')
    """
    words = task.replace("_", " ").replace("faq", "FAQ")
    return words.replace("legal medical", "legal or medical")


def known(kind, value, allowed):
    """Raise ValueError for a name that is not allowed; its message is that of `unknown`."""
    if value not in allowed:
        raise ValueError(unknown(kind, value, allowed))


def needs(name, value, right, what):
    """Raise ValueError for a value that is not right.

    Parameters
    ----------
    name, what : str
        What the value belongs to, and what is needed.
    value : object
    right : bool
        Whether the value is allowed.

    Examples
    --------
    >>> needs("choice: options", 3, False, "a list of texts")
    Traceback (most recent call last):
    ...
    ValueError: choice: options=3; a list of texts is needed
    """
    if not right:
        raise ValueError(f"{name}={value!r}; {what} is needed")


def needs_usd(name, value):
    """Raise ValueError for a value that is not an amount of US dollars from 0 up."""
    right = isinstance(value, Real) and 0 <= value < math.inf
    needs(name, value, right, "a number of US dollars from 0 up")


def is_whole(value, least):
    """Return whether a value is a whole number from `least` up.

    Examples
    --------
    >>> [is_whole(value, 1) for value in (3, 3.0, 2.5, 0, float("nan"), "3")]
    [True, True, False, False, False, False]
    """
    return isinstance(value, Real) and value >= least and value % 1 == 0


def install_line(error):
    """Say in words for a user which package a ModuleNotFoundError misses, and which line installs it.

    Parameters
    ----------
    error : ModuleNotFoundError

    Returns
    -------
    str

    Examples
    --------
    >>> install_line(ModuleNotFoundError("No module named 'duckdb'", name="duckdb"))
    "this needs duckdb, which is not installed: pip install 'tierlab[usage]'"
    """
    package = (error.name or "").split(".")[0]
    extra = next((extra for extra, packages in EXTRAS.items() if package in packages), None)
    if extra is None:
        return str(error)
    return f"this needs {package}, which is not installed: pip install 'tierlab[{extra}]'"
