"""OpenAI: the usage and costs endpoints, and the dashboard's CSV files of both.

Input counters include cached and cache-write tokens. There is no reasoning counter. Days are UTC, times are
seconds since 1970; an amount may come as text with thirty digits. The e-mail column is not read.
"""

import re

import numpy as np
import pandas as pd

from tierlab.usage.reader import Reader, picked, same
from tierlab.usage.sheet import buckets, mapped, tiers, units

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
    "input_cache_write_12h_tokens",
    "input_audio_tokens",
    "input_image_tokens",
    "output_audio_tokens",
    "output_image_tokens",
    "num_model_requests",
)
# Parts of other counters: what is text, and the cache writes of 30 minutes, which are all that are not of 12 hours.
_IDLE_COUNTERS = (
    "input_text_tokens",
    "output_text_tokens",
    "input_cached_text_tokens",
    "input_uncached_tokens",
    "input_cache_write_30m_tokens",
)
# Pages of buckets of results, or the buckets themselves. All results of a bucket count.
_rows = picked(
    same(*_DIMENSIONS, *_COUNTERS, "has_more")
    | {"amount_value": ("amount.value",), "amount_currency": ("amount.currency",)},
    lists=("data", "results"),
    usage=("",),
    idle=(*_IDLE_COUNTERS, "quantity"),
)
_TOKEN_LINE = re.compile(
    r"^(?:.*\| *)?(?P<model>[^|,]+), *(?:cached |cache write |batch )*(?:input|output)\b"
)
_IDLE = "an idle day: no usage in it"


def _usage(sheet):
    idle = sheet.empty("input_tokens") & sheet.empty("output_tokens") & sheet.empty("model")
    sheet.refuse(idle, _IDLE)
    sheet.assume_pages()
    sheet.assume(sheet.empty("service_tier"), "not grouped by service_tier: taken as no batch")
    written, long = (sheet.counts(f"input_cache_write_{name}tokens") for name in ("", "12h_"))
    sheet.refuse(long > written, "more 12-hour cache writes than cache writes")
    tokens = buckets(
        sheet,
        sheet.counts("input_tokens", missing=None),
        sheet.counts("output_tokens", missing=None),
        read=sheet.counts("input_cached_tokens"),
        write_short=written - long,
        write_long=long,
        cache_inside=True,
    )
    parts = {
        f"{side}_{kind}_tokens": (bucket, sheet.counts(f"{side}_{kind}_tokens"))
        for side, bucket in (("input", "uncached_input_tokens"), ("output", "output_tokens"))
        for kind in ("audio", "image")
    }
    return (
        units(sheet, tokens, parts)
        | tiers(sheet, "batch", "service_tier")
        | {
            "at": sheet.times("start_time", unit="s"),
            "model_id": sheet.models("model"),
            "user": sheet.text("user_id"),
            "team": sheet.text("project_id"),
            "requests": sheet.counts("num_model_requests", np.nan),
            "aggregate": True,
            "source": "billed",
            "key": sheet.identity("openai", *_DIMENSIONS),
        }
    )


def _costs(sheet):
    sheet.refuse(sheet.empty("amount_value") & sheet.empty("line_item"), _IDLE)
    line = sheet.text("line_item")
    return sheet.dollars("amount_value", currency="amount_currency") | {
        "at": sheet.times("start_time", unit="s"),
        "model_id": sheet.resolved(mapped(line, _model_of)),
        "line": np.where(pd.isna(line), "all lines", line),
        "key": sheet.identity("openai", *_DIMENSIONS),
    }


def _model_of(line):
    """The model of a line item ("evals | gpt-4o-mini-2024-07-18, cached input"), None for a tool's."""
    found = _TOKEN_LINE.match(line)
    return found and found["model"].strip()


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
        idle=("quantity",),
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
        idle=_IDLE_COUNTERS,
    ),
)
