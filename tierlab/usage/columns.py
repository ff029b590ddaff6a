"""Columns of the requests table, made from a sheet: buckets, units, service tiers, sellers, money and statuses.

Readers of single calls whose fields have our own short names share `calls`, which makes all columns at once.
"""

import re
from itertools import product

import numpy as np
import pandas as pd

from tierlab.core.tables import TOKEN_COLUMNS
from tierlab.prices.names import platform_of, sellers
from tierlab.usage.sheet import mapped

UNTIMED_CALLS = "no time in this file"
UNTIMED = "cache writes without a time to live, taken as 5 minutes"
_OTHER_SIDE = "by the source's own total, {} lie on the other side of its {} counter than usual"
_TIER_WORDS = {
    "default": "standard",
    "on_demand": "standard",
    "scale": "provisioned",
    "reserved": "provisioned",
    "provisioned_throughput": "provisioned",
    "true": "batch",
}
_NO_TIER = ("", "auto", "false", "message", "traffic_type_unspecified")
FAILED = {  # HTTP status -> failure word
    401: "auth",
    402: "auth",
    403: "auth",
    408: "timeout",
    413: "context_overflow",
    429: "rate_limited",
    499: "cancelled",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}
# How a log words a failure -> failure word; the first pattern that is found counts.
_FAILURES = (
    ("throttl|rate.?limit|too.?many|quota", "rate_limited"),
    ("time.?out|timed out", "timeout"),
    ("cancel|abort", "cancelled"),
    ("expired", "timeout"),
    ("access|auth|permission", "auth"),
    ("validation|invalid|not.?found|bad", "bad_request"),
)
_NO_PRICE = ("included", "-", "n/a", "null", "none")
_FREE = ("free", "no charge", "errored, no charge", "aborted, not charged", "not charged")
MONEY = re.compile(r"(?:us)?\$\s*(?=[-\d.])|\s*usd$")
_GROUPED = r"-?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?"  # grouped thousands; "0,008" is not a number here


def calls(sheet, *, scope, inside, reasoning_inside=True, unit=None, zone=None, timed=True):
    """Return the columns of single calls, from flat fields with our own short names.

    The fields are at, id, model, input, output, read, write, write_short, write_long, reasoning, total, usd, user, team,
    task, session, tier, speed, platform, region, code, error, finish, ms and ttft_ms; any may be missing.

    Parameters
    ----------
    sheet : Sheet
    scope : str
        Whose ids these are.
    inside : bool or ndarray of bool
        Whether `input` includes the cached tokens, where the row's own `total` does not tell.
    reasoning_inside : bool
        Whether `output` includes `reasoning`.
    unit, zone : str, optional
        Unit and zone of `at`, as in `Sheet.times`.
    timed : bool
        Whether a row must have a time.
    """
    failed = ~sheet.empty("error") | (sheet.durations("code") >= 400)
    sheet.refuse(sheet.empty("input") & sheet.empty("output") & ~failed, "no token counts")
    names = ("input", "output", "read", "write_short", "write_long")
    whole, output, read, short, long = map(sheet.counts, names)
    written = np.where(sheet.empty("write"), short + long, sheet.counts("write"))
    wrong = "more cache writes of a known time to live than cache writes"
    sheet.refuse(short + long > written, wrong)
    sheet.assume(written > short + long, UNTIMED)
    sheet.assume(sheet.empty("at") & (not timed), UNTIMED_CALLS)
    usd, total = money(sheet, "usd"), sheet.numbers("total")
    tokens = buckets(
        sheet,
        whole,
        output,
        read=read,
        write_short=written - long,
        write_long=long,
        cache_inside=inside,
        reasoning=sheet.counts("reasoning", np.nan),
        reasoning_inside=reasoning_inside,
        total=total,
    )
    words = {"task": "task", "user": "user", "team": "team", "session_id": "session"}
    return (
        tokens
        | tiers(sheet, "tier", "speed")
        | {ours: sheet.text(theirs) for ours, theirs in words.items()}
        | {
            "at": sheet.times("at", unit=unit, zone=zone, missing=not timed),
            "model_id": sheet.models("model"),
            "platform": sheet.text("platform"),
            "region": sheet.text("region"),
            "status": np.where(failed, failures(sheet), sheet.finished("finish")),
            "ttft_s": sheet.durations("ttft_ms", 1e-3),
            "end_to_end_s": sheet.durations("ms", 1e-3),
            "billed_usd": usd,
            "source": np.where(np.isnan(usd), "recorded", "billed"),
            "key": sheet.identity(scope, "id"),
            "own_tokens": total,
        }
    )


def buckets(
    sheet,
    whole,
    output,
    *,
    read=0.0,
    write_short=0.0,
    write_long=0.0,
    cache_inside,
    reasoning=None,
    reasoning_inside=True,
    total=None,
):
    """Return the five disjoint buckets of a source's own counters, and refuse rows in which they cannot be true.

    Parameters
    ----------
    sheet : Sheet
    whole, output : ndarray of float
        The input and output counters.
    read, write_short, write_long : ndarray of float
        The counters of the cache.
    cache_inside, reasoning_inside : bool
        Whether `whole` includes the cached tokens, and `output` the reasoning tokens.
    reasoning : ndarray of float, optional
        Reasoning tokens, missing where the source does not report them.
    total : ndarray of float, optional
        The source's own total, missing where it has none. If it shows that cache or reasoning lie on the other side
        than `cache_inside` and `reasoning_inside` say, the row is read that way, and a note says so.

    Returns
    -------
    dict of str to ndarray
        Columns of the requests table.
    """
    cached = read + write_short + write_long
    told = 0.0 if reasoning is None else np.nan_to_num(reasoning)
    inside, within = np.full(len(sheet), cache_inside), np.full(len(sheet), reasoning_inside)
    if total is not None:
        # Of the four ways in which the parts may add up to the total the usual one, tried last, wins.
        for flip_cache, flip_reasoning in product((True, False), repeat=2):
            cache = np.not_equal(cache_inside, flip_cache)
            thought = reasoning_inside != flip_reasoning
            adds = total == whole + output + np.where(cache, 0, cached) + np.where(thought, 0, told)
            inside, within = np.where(adds, cache, inside), np.where(adds, thought, within)
        other = (inside != cache_inside) & (cached > 0)
        sheet.assume(other, _OTHER_SIDE.format("cached tokens", "input"))
        other = (within != reasoning_inside) & (told > 0)
        sheet.assume(other, _OTHER_SIDE.format("reasoning", "output"))
    uncached = np.where(inside, whole - cached, whole)
    sheet.refuse(uncached < 0, "more cached than input tokens")
    memo = {}
    if reasoning is not None:
        output = output + np.where(within, 0, told)
        sheet.refuse(reasoning > output, "more reasoning than output tokens")
        memo["reasoning_tokens"] = np.where(np.isnan(reasoning) & (output == 0), 0, reasoning)
    found = (uncached, read, write_short, write_long, output)
    return dict(zip(TOKEN_COLUMNS, found, strict=True)) | memo


def units(sheet, tokens, parts):
    """Take what is not a text token out of the buckets, into `unit` and `quantity`.

    A row has one unit. If a row has several, the largest becomes its unit; the others stay in their buckets, and a note
    says so.

    Parameters
    ----------
    sheet : Sheet
    tokens : dict of str to ndarray
        The columns that `buckets` returned.
    parts : dict of str to (str or None, ndarray of float)
        Unit, a usage key of genai-prices such as "input_audio_tokens" or "web_searches" -> the column of `tokens`
        that includes it (None: it stands beside them), and how much of it there is.

    Returns
    -------
    dict of str to ndarray
        The columns of `tokens`, `unit` and `quantity`.
    """
    sizes = np.array([size for _, size in parts.values()])
    most, largest = sizes.argmax(axis=0), sizes.max(axis=0)
    tokens = dict(tokens)
    for place, (name, (bucket, size)) in enumerate(parts.items()):
        mine = (most == place) & (size > 0)
        if bucket:
            sheet.refuse(size > tokens[bucket], f"{name} above all that they are part of")
            tokens[bucket] = tokens[bucket] - np.where(mine, size, 0)
        left = (size > 0) & ~mine
        sheet.assume(left, f"{name} beside another unit, not priced at a rate of their own", size)
    if "reasoning_tokens" in tokens:  # a memo inside output, which has become less
        tokens["reasoning_tokens"] = np.minimum(tokens["reasoning_tokens"], tokens["output_tokens"])
    found = largest > 0
    unit = np.where(found, np.array(list(parts), object)[most], None)
    return tokens | {"unit": unit, "quantity": np.where(found, largest, np.nan)}


def tiers(sheet, *names):
    """Return `batch` and `service_tier`, from columns that hold yes and no or name a tier; the last that names one counts.

    A tier that the catalogue does not know keeps its name, so that pricing can say that it has no rate.
    """
    tier, is_batch = np.full(len(sheet), None, object), np.zeros(len(sheet), bool)
    for name in names:
        words = sheet.words(name).str.replace("-", "_").str.removeprefix("on_demand_")
        word = words.map(lambda one: _TIER_WORDS.get(one, one)).to_numpy(object)
        said = ~words.isin(_NO_TIER).to_numpy(bool)
        is_batch |= word == "batch"
        better = said & (word != "batch") & (pd.isna(tier) | (word != "standard"))
        tier = np.where(better, word, tier)
    return {"batch": is_batch, "service_tier": tier}


def platforms(sheet, *names):
    """Return the seller, from columns that name a provider, alone or before a dot; None if the catalogue lacks it."""
    words = sheet.text(*names)
    found = mapped(words, _seller)
    lacking = pd.notna(words) & pd.isna(found)
    sheet.assume(lacking, "a seller that the catalogue lacks: priced as if its maker had sold it")
    return found


def _seller(word):
    found = (platform_of(part) for part in (word, word.partition(".")[0]))
    return next((name for name in found if name in sellers()), None)


def places(sheet, name):
    """Return where Anthropic computed ("global" or "us"); None for "not_available" or an empty cell."""
    return mapped(sheet.text(name), lambda word: None if word == "not_available" else word)


def bands(sheet, name):
    """Return the context length above which a row's requests lie: 200,000 or 0, missing if the source does not say."""
    words = sheet.words(name).str.replace(" ", "")
    above, below = words.str.contains(r">|200k-|long"), words.str.contains(r"200k|short")
    return np.where(above, 200_000.0, np.where(below, 0.0, np.nan))


def money(sheet, name):
    """Return a column of US dollars, with or without their sign: missing for "Included" in a plan, 0 for "No Charge"."""
    cells = sheet.cells(name)
    if cells.dtype.kind in "OTU":
        words = cells.astype("str")
        if not words.str.contains("[^0-9.]", na=False).any():
            return sheet.numbers(name)
        words = words.str.strip().str.lower()
        plan = words.isin(_NO_PRICE)
        sheet.assume(plan, "a cost that is included in a plan has no dollars of its own")
        other = words.str.contains("[€£¥]|eur|gbp", na=False)
        sheet.refuse(other, "a currency other than USD", name)
        amount = words.str.replace(MONEY, "", regex=True)
        grouped = amount.str.fullmatch(_GROUPED, na=False)
        amount = amount.mask(grouped, amount.str.replace(",", ""))
        sheet.raw[name] = amount.mask(plan | other).mask(words.isin(_FREE), "0")
    return sheet.numbers(name)


def statuses(sheet, name, failed):
    """Return "ok" or, for rows that failed, the failure word of the HTTP status in a column."""
    codes = np.clip(np.nan_to_num(sheet.durations(name)), 0, 999).astype(int)
    words = [
        FAILED.get(code, "bad_request" if 100 <= code < 500 else "unavailable") for code in codes
    ]
    return np.where(failed, words, "ok")


def failures(sheet):
    """Return each row's failure word: by the HTTP status in `code`, or else by the words in `error`."""
    words, codes = sheet.words("error"), np.nan_to_num(sheet.durations("code"))
    told = mapped(
        words, lambda word: next((kind for said, kind in _FAILURES if re.search(said, word)), None)
    )
    told = np.where(pd.isna(told), "error", told)
    return np.where(codes >= 400, statuses(sheet, "code", True), told)
