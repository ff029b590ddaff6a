"""OpenAI: the usage and costs endpoints, and the dashboard's CSV files of both.

Input counters include cached and cache-write tokens. There is no reasoning counter. Days are UTC, times are
seconds since 1970; an amount may come as text with thirty digits. The e-mail column is not read.
"""

import re

import numpy as np
import pandas as pd

from tierlab.prices.names import canonical
from tierlab.usage.reader import Reader, picked, same
from tierlab.usage.sheet import batch, buckets, mapped

_DIMENSIONS = (
    "start_time",
    "end_time",
    "model",
    "project_id",
    "user_id",
    "api_key_id",
    "batch",
    "service_tier",
    "line_item",
)
_COUNTERS = (
    "input_tokens",
    "output_tokens",
    "input_cached_tokens",
    "input_cache_write_tokens",
    "input_audio_tokens",
    "output_audio_tokens",
    "num_model_requests",
)
# Pages of buckets of results, or the buckets themselves. All results of a bucket count.
_rows = picked(
    same(*_DIMENSIONS, *_COUNTERS, "has_more")
    | {"amount_value": ("amount.value",), "amount_currency": ("amount.currency",)},
    lists=("data", "results"),
)
_TOKEN_LINE = re.compile(
    r"^(?:.*\| *)?(?P<model>[^|,]+), *(?:cached |cache write |batch )*(?:input|output)\b"
)
_IDLE = "an idle day: no usage in it"


def _usage(sheet):
    idle = sheet.empty("input_tokens") & sheet.empty("output_tokens") & sheet.empty("model")
    sheet.refuse(idle, _IDLE)
    sheet.assume_pages()
    audio = sheet.counts("input_audio_tokens") + sheet.counts("output_audio_tokens")
    sheet.assume(audio > 0, "audio tokens, which have a price of their own, are priced as text")
    tokens = buckets(
        sheet,
        sheet.counts("input_tokens", missing=None),
        sheet.counts("output_tokens", missing=None),
        read=sheet.counts("input_cached_tokens"),
        write_short=sheet.counts("input_cache_write_tokens"),
        cache_inside=True,
    )
    return tokens | {
        "at": sheet.times("start_time", unit="s"),
        "model_id": sheet.models("model"),
        "user": sheet.text("user_id"),
        "team": sheet.text("project_id"),
        "batch": batch(sheet, "batch", "service_tier"),
        "requests": sheet.counts("num_model_requests", np.nan),
        "aggregate": True,
        "source": "billed",
        "key": sheet.identity("openai", *_DIMENSIONS),
        "own_tokens": sheet.numbers("input_tokens") + sheet.numbers("output_tokens"),
    }


def _costs(sheet):
    sheet.refuse(sheet.empty("amount_value") & sheet.empty("line_item"), _IDLE)
    line = sheet.text("line_item")
    return sheet.dollars("amount_value", currency="amount_currency") | {
        "at": sheet.times("start_time", unit="s"),
        "model_id": mapped(line, _model_of),
        "line": np.where(pd.isna(line), "all lines", line),
        "key": sheet.identity("openai", *_DIMENSIONS),
    }


def _model_of(line):
    """The model of a line item ("evals | gpt-4o-mini-2024-07-18, cached input"), None for a tool's."""
    found = _TOKEN_LINE.match(line)
    return found and (canonical(found["model"].strip()) or found["model"].strip())


READERS = (
    Reader(
        "openai_costs",
        (("data.start_time", "data.results.amount"), ("start_time", "results.amount")),
        _costs,
        _rows,
        provider="openai",
        kind="money",
    ),
    Reader(
        "openai_usage",
        (
            ("data.start_time", "data.results.num_model_requests"),
            ("start_time", "results.num_model_requests"),
            ("data.start_time", "data.results.input_tokens"),
            ("data.start_time", "data.results"),
        ),
        _usage,
        _rows,
        provider="openai",
        kind="usage",
    ),
    Reader(
        "openai_dashboard_cost",
        (("start_time", "amount_value", "line_item"),),
        _costs,
        provider="openai",
        kind="money",
    ),
    Reader(
        "openai_dashboard_usage",
        (
            ("start_time", "num_model_requests", "input_tokens"),
            ("start_time", "end_time", "start_time_iso", "end_time_iso"),
        ),
        _usage,
        provider="openai",
        kind="usage",
    ),
)
