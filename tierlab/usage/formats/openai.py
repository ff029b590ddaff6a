"""OpenAI: the usage and costs endpoints, and the dashboard's CSV files of both.

Input counters include cached and cache-write tokens. There is no reasoning counter. Days are UTC, times are
seconds since 1970; an amount may come as text with thirty digits. The e-mail column is not read.
"""

import re

import numpy as np
import pandas as pd

from tierlab.prices.names import canonical
from tierlab.usage.reader import Reader, child, children
from tierlab.usage.sheet import batch, buckets

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
_TOKEN_LINE = re.compile(
    r"^(?:.*\| *)?(?P<model>[^|,]+), *(?:cached |cache write |batch )*(?:input|output)\b"
)
_IDLE = "an idle day: no usage in it"


def _rows(records):
    """A row per result: pages of buckets of results, or the buckets themselves. All results of a bucket count."""
    for line, page in records:
        for bucket in children(page, "data") if "data" in page else [page]:
            for result in children(bucket, "results") if bucket else [None]:
                if result is None:
                    yield line, None
                    continue
                amount = child(result, "amount")
                times = {name: bucket.get(name) for name in ("start_time", "end_time")} | {
                    "has_more": page.get("has_more")
                }
                money = (
                    {"amount_value": amount.get("value"), "amount_currency": amount.get("currency")}
                    if amount
                    else {}
                )
                yield (
                    line,
                    {name: value for name, value in result.items() if name != "amount"}
                    | money
                    | times,
                )


def _usage(sheet):
    sheet.refuse(
        sheet.empty("input_tokens") & sheet.empty("output_tokens") & sheet.empty("model"), _IDLE
    )
    sheet.assume_pages()
    whole, output = (
        sheet.counts("input_tokens", missing=None),
        sheet.counts("output_tokens", missing=None),
    )
    read, write = sheet.counts("input_cached_tokens"), sheet.counts("input_cache_write_tokens")
    audio = sheet.counts("input_audio_tokens") + sheet.counts("output_audio_tokens")
    sheet.assume(audio > 0, "audio tokens, which have a price of their own, are priced as text")
    return buckets(sheet, whole, read, write, 0.0, output, cache_inside=True) | {
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
    sheet.refuse(sheet.empty("amount_value"), "no amount_value")
    sheet.assume_pages()
    sheet.only_usd("amount_currency")
    sheet.money_only[:] = True
    line, usd = sheet.text("line_item"), sheet.numbers("amount_value")
    return {
        "at": sheet.times("start_time", unit="s"),
        "model_id": pd.Series(line, dtype=object)
        .map(_model_of, na_action="ignore")
        .to_numpy(object),
        "line": np.where(pd.isna(line), "all lines", line),
        "usd": usd,
        "own_money": usd,
        "provider": "openai",
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
