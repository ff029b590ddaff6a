"""Columns of rows whose fields already have our own short names: what the readers of single calls share."""

import re

import numpy as np
import pandas as pd

from tierlab.usage.sheet import UNTIMED, buckets, mapped, status_of, tiers

# What a log says of a failure in words; the first that is found counts.
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
_GROUPED = r"-?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?"  # thousands; "0,008" is not a number of ours


def calls(sheet, *, scope, inside, reasoning_inside=True, unit=None, zone=None, timed=True):
    """Columns of the requests table from the flat fields at, id, model, input, output, read, write, write_short,
    write_long, reasoning, total, usd, user, team, task, session, tier, speed, platform, region, code, error, finish,
    ms and ttft_ms.

    Parameters
    ----------
    sheet : Sheet
    scope : str
        Whose ids these are.
    inside : bool or ndarray of bool
        Whether `input` includes the cached tokens where the row's own `total` does not tell.
    reasoning_inside : bool
        Whether `output` includes `reasoning`.
    unit, zone : str, optional
        Of `at`, as in `Sheet.times`.
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
    sheet.assume(sheet.empty("at") & (not timed), "no time in this file")
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


def failures(sheet):
    """The failure word of each row, by the HTTP status in `code`, or else by the words in `error`."""
    words, codes = sheet.words("error"), np.nan_to_num(sheet.durations("code"))
    told = mapped(
        words, lambda word: next((kind for said, kind in _FAILURES if re.search(said, word)), None)
    )
    told = np.where(pd.isna(told), "error", told)
    return np.where(codes >= 400, [status_of(int(min(code, 999))) for code in codes], told)


def money(sheet, name):
    """A column of US dollars: with or without their sign, "Included" in a plan missing, "No Charge" 0."""
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
