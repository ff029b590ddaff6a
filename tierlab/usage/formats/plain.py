"""A table of one's own: CSV, Parquet or JSON lines with the columns of the requests table, or a map to them."""

from functools import partial

import numpy as np
import pandas as pd

from tierlab.core.tables import REQUEST_COLUMNS
from tierlab.core.untrusted import cited, shown
from tierlab.core.vocabulary import unknown
from tierlab.usage.reader import Reader
from tierlab.usage.sheet import Sheet, buckets

OURS = (*REQUEST_COLUMNS, "input_tokens", "request_id")
_TRUE, _FALSE = ("true", "1", "yes", "t", "1.0"), ("false", "0", "no", "f", "0.0")
_MARKS = (
    ("model_id", "uncached_input_tokens", "output_tokens"),
    ("model_id", "input_tokens", "output_tokens"),
)
_NEEDED = (("model_id",), ("output_tokens",), ("uncached_input_tokens", "input_tokens"))
_CACHED = ("cache_read_tokens", "cache_write_short_tokens", "cache_write_long_tokens")
_NUMBER_ENDS = ("_tokens", "_usd", "_s", "_id", "_ids")
# How the columns are read that a table may lack.
_OPTIONAL = (
    dict.fromkeys(("task", "user", "team", "region"), Sheet.text)
    | dict.fromkeys(("ttft_s", "end_to_end_s"), Sheet.durations)
    | dict.fromkeys(("attempts", "context_above"), partial(Sheet.counts, missing=np.nan))
    | {
        "at": Sheet.times,
        "billed_usd": Sheet.numbers,
        "requests": partial(Sheet.counts, missing=1),
        "source": Sheet.text,
        "prefix_ids": Sheet.cells,
    }
)


def plain(columns=None, cache_inside=None, reasoning_inside=True):
    """A reader for tables whose columns are ours, or are led to ours by a map of theirs to ours.

    Raises
    ------
    ValueError
        If the map leads to a column that is not ours, with the nearest that is.
    """
    columns = dict(columns or {})
    for ours in columns.values():
        if ours not in OURS:
            raise ValueError("columns: " + unknown("column", ours, OURS))

    def read(sheet):
        _check_header(list(sheet.raw.columns), columns)
        sheet.raw = sheet.raw.rename(columns=columns)
        return _columns(sheet, cache_inside, reasoning_inside)

    marks = (tuple(columns),) if columns else ()
    return Reader("plain", (*marks, *_MARKS), read)


def _check_header(header, columns):
    """Refuse a header that lacks what the map names or a needed column, or has one that is nearly ours."""
    for theirs in columns:
        if theirs not in header:
            raise ValueError(
                f"columns names {theirs!r}, which the file lacks: {unknown('column', theirs, header)}"
            )
    ours = [columns.get(name, name) for name in header]
    left = [column for column in OURS if column not in ours]
    for name in ours:
        near = unknown("column", name, left)
        if name not in OURS and str(name).endswith(_NUMBER_ENDS) and "did you mean" in near:
            raise ValueError(f"{near} (a map says so: columns={{{cited(name)}: ...}})")
        if name in OURS and ours.count(name) > 1:
            raise ValueError(
                f"column {name!r} comes twice once the map is applied; there are {shown(ours)}"
            )
    for needed in _NEEDED:
        if not set(needed) & set(ours):
            raise ValueError(
                f"column {' or '.join(map(repr, needed))} is missing; the file has {shown(header)}: "
                "map one to it with columns={...}"
            )


def _columns(sheet, cache_inside, reasoning_inside):
    own = "uncached_input_tokens" in sheet
    if not own and cache_inside is None and any(name in sheet for name in _CACHED):
        raise ValueError(
            "'input_tokens' is a provider's own counter: say cache_inside=True (OpenAI, Gemini) or False (Anthropic)"
        )
    read, write_short, write_long = (sheet.counts(name) for name in _CACHED)
    told = "reasoning_tokens" in sheet
    reasoning = sheet.counts("reasoning_tokens", np.nan) if told else None
    tokens = buckets(
        sheet,
        sheet.counts("uncached_input_tokens" if own else "input_tokens", missing=None),
        sheet.counts("output_tokens", missing=None),
        read=read,
        write_short=write_short,
        write_long=write_long,
        cache_inside=bool(cache_inside) and not own,
        reasoning=reasoning,
        reasoning_inside=reasoning_inside,
    )
    aggregate = _truth(sheet, "aggregate")
    found = {
        "model_id": sheet.models("model_id"),
        "batch": _truth(sheet, "batch"),
        "aggregate": aggregate,
        "requests": np.where(aggregate, np.nan, 1),
        "source": "billed" if "billed_usd" in sheet else "recorded",
        "key": sheet.identity("plain", "request_id"),
    }
    if "status" in sheet:
        status = sheet.text("status")
        found["status"] = np.where(pd.isna(status), "ok", status)
    optional = {name: column(sheet, name) for name, column in _OPTIONAL.items() if name in sheet}
    return tokens | found | optional


def _truth(sheet, name):
    """A column of yes and no as booleans; an empty cell is no, anything else refuses the row."""
    words = sheet.cells(name).map(lambda cell: str(cell).strip().lower(), na_action="ignore")
    sheet.refuse(~sheet.empty(name) & ~words.isin(_TRUE + _FALSE), "neither true nor false", name)
    return words.isin(_TRUE).to_numpy(bool)
