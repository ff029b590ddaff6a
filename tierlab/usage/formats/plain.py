"""A table of one's own: CSV, Parquet or JSON lines with the columns of the requests table, or a map to them."""

import numpy as np
import pandas as pd

from tierlab.core.tables import REQUEST_COLUMNS
from tierlab.core.untrusted import cited, shown
from tierlab.core.vocabulary import unknown
from tierlab.usage.reader import Reader
from tierlab.usage.sheet import buckets

OURS = (*REQUEST_COLUMNS, "input_tokens", "request_id")
_TRUTH = {"true": True, "1": True, "yes": True, "t": True, "1.0": True}
_TRUTH |= {"false": False, "0": False, "no": False, "f": False, "0.0": False}
MARKS = (
    ("model_id", "uncached_input_tokens", "output_tokens"),
    ("model_id", "input_tokens", "output_tokens"),
)


def plain(columns=None, cache_inside=None, reasoning_inside=True):
    """A reader for tables whose columns are ours, or are led to ours by a map of theirs to ours.

    Raises
    ------
    ValueError
        If the map leads to a column that is not ours, with the nearest that is.
    """
    for ours in (columns := dict(columns or {})).values():
        if ours not in OURS:
            raise ValueError("columns: " + unknown("column", ours, OURS))

    def read(sheet):
        check_header(sheet.raw.columns, columns)
        sheet.raw = sheet.raw.rename(columns=columns)
        return _columns(sheet, cache_inside, reasoning_inside)

    marks = (tuple(columns),) if columns else ()
    return Reader("plain", (*marks, *MARKS), read)


def check_header(header, columns):
    """Refuse a header that lacks what the map names or a needed column, or has one that is nearly ours.

    Raises
    ------
    ValueError
    """
    for theirs in columns:
        if theirs not in header:
            raise ValueError(
                f"columns names {theirs!r}, which the file lacks: {unknown('column', theirs, header)}"
            )
    ours = [columns.get(name, name) for name in header]
    for name in ours:
        near = unknown("column", name, [column for column in OURS if column not in ours])
        if (
            name not in OURS
            and "did you mean" in near
            and str(name).endswith(("_tokens", "_usd", "_s", "_id", "_ids"))
        ):
            raise ValueError(f"{near} (a map says so: columns={{{cited(name)}: ...}})")
    twice = [name for name in dict.fromkeys(ours) if ours.count(name) > 1 and name in OURS]
    if twice:
        raise ValueError(
            f"column {twice[0]!r} comes twice once the map is applied; there are {shown(ours)}"
        )
    for needed in ("model_id", "output_tokens"):
        if needed not in ours:
            raise ValueError(
                f"column {needed!r} is missing; the file has {shown(list(header))}: map one to it with columns={{...}}"
            )
    if "uncached_input_tokens" not in ours and "input_tokens" not in ours:
        raise ValueError(
            f"the file has neither 'uncached_input_tokens' nor 'input_tokens' but {shown(list(header))}: map one with columns={{...}}"
        )


def _columns(sheet, cache_inside, reasoning_inside):
    names = ("cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
    cached = [sheet.counts(name) for name in names]
    own = "uncached_input_tokens" in sheet
    if not own and cache_inside is None and any(name in sheet for name in names):
        raise ValueError(
            "'input_tokens' is a provider's own counter: say cache_inside=True (OpenAI, Gemini) or False (Anthropic)"
        )
    whole = sheet.counts("uncached_input_tokens" if own else "input_tokens", missing=None)
    reasoning = (
        sheet.counts("reasoning_tokens", missing=np.nan) if "reasoning_tokens" in sheet else None
    )
    output = sheet.counts("output_tokens", missing=None)
    inside = bool(cache_inside) and not own
    found = buckets(
        sheet,
        whole,
        *cached,
        output,
        cache_inside=inside,
        reasoning=reasoning,
        reasoning_inside=reasoning_inside,
    )
    aggregate = _truth(sheet, "aggregate")
    found |= {
        "model_id": sheet.models("model_id"),
        "batch": _truth(sheet, "batch"),
        "aggregate": aggregate,
        "requests": sheet.counts("requests", missing=1)
        if "requests" in sheet
        else np.where(aggregate, np.nan, 1),
        "key": sheet.identity("plain", "request_id"),
    }
    if "at" in sheet:
        found["at"] = sheet.times("at")
    for name in ("task", "user", "team", "region", "status"):
        if name in sheet:
            found[name] = sheet.text(name)
    if "status" in sheet:
        found["status"] = np.where(pd.isna(found["status"]), "ok", found["status"])
    for name in ("ttft_s", "end_to_end_s"):
        if name in sheet:
            found[name] = sheet.durations(name)
    for name, read in (
        ("attempts", sheet.counts),
        ("context_above", sheet.counts),
        ("billed_usd", sheet.numbers),
    ):
        if name in sheet:
            found[name] = read(name, np.nan)
    if "prefix_ids" in sheet:
        found["prefix_ids"] = sheet.cells("prefix_ids").to_numpy(object)
    found["source"] = (
        sheet.text("source")
        if "source" in sheet
        else "billed"
        if "billed_usd" in sheet
        else "recorded"
    )
    return found


def _truth(sheet, name):
    """A column of yes and no as booleans; an empty cell is no, anything else refuses the row."""
    words = sheet.cells(name).map(lambda cell: str(cell).strip().lower(), na_action="ignore")
    known = words.map(_TRUTH)
    sheet.refuse(~sheet.empty(name) & known.isna().to_numpy(), "neither true nor false", name)
    return known.eq(True).to_numpy(bool)
