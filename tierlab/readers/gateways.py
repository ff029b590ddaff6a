"""Gateways and tracers: LiteLLM spend logs, Langfuse observations, Helicone requests, OpenRouter activity."""

import json

import numpy as np
import pandas as pd

from tierlab.readers.reader import Reader, child
from tierlab.readers.sheet import buckets, status_of

_TASK_TAGS = ("task:", "feature:", "use_case:")


def loaded(value, kind=dict):
    """A nested object that may have been written as JSON text; empty where it is neither."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return kind()
    return value if isinstance(value, kind) else kind()


_LITELLM_FIELDS = (
    *("request_id", "call_type", "spend", "total_tokens", "prompt_tokens", "completion_tokens", "startTime", "endTime"),
    *("completionStartTime", "model", "model_group", "user", "end_user", "team_id", "status", "cache_hit"),
)


def _litellm_rows(records):
    for line, record in records:
        metadata = loaded(record.get("metadata"))
        usage = child(metadata, "usage_object")
        details = child(usage, "prompt_tokens_details")
        split = child(details, "cache_creation_token_details") or child(usage, "cache_creation")
        read, write = details.get("cached_tokens"), details.get("cache_creation_tokens")
        row = {name: record.get(name) for name in _LITELLM_FIELDS}
        row["cache_read"] = usage.get("cache_read_input_tokens") if read is None else read
        row["cache_write"] = usage.get("cache_creation_input_tokens") if write is None else write
        row["cache_write_1h"] = split.get("ephemeral_1h_input_tokens")
        row["ttl_known"] = bool(split)
        row["reasoning"] = child(usage, "completion_tokens_details").get("reasoning_tokens", 0 if usage else None)
        row["retries"] = metadata.get("attempted_retries")
        row["error_code"] = child(metadata, "error_information").get("error_code")
        tags = [tag for tag in loaded(record.get("request_tags"), list) if isinstance(tag, str)]
        row["task"] = next((tag.split(":", 1)[1] for tag in tags if tag.startswith(_TASK_TAGS)), None)
        yield line, row


def _litellm_columns(sheet):
    hit = sheet.cells("cache_hit").map(lambda cell: str(cell).lower() == "true").to_numpy(bool)
    sheet.refuse(hit, "answered from LiteLLM's own cache: nothing was sent to the provider")
    write, hour = sheet.counts("cache_write"), sheet.counts("cache_write_1h")
    sheet.refuse(hour > write, "more 1-hour cache writes than cache writes")
    sheet.assume(
        (write > 0) & ~sheet.cells("ttl_known").astype(bool), "cache writes without a time to live, taken as 5 minutes"
    )
    failed = pd.Series(sheet.text("status"), dtype=object).str.lower().eq("failure").to_numpy(bool)
    tokens = buckets(
        sheet,
        sheet.counts("prompt_tokens"),
        sheet.counts("cache_read"),
        write - hour,
        hour,
        sheet.counts("completion_tokens"),
        cache_inside=True,
        reasoning=sheet.counts("reasoning", np.nan),
    )
    start, end = sheet.times("startTime"), sheet.times("endTime", missing=True)
    first = sheet.times("completionStartTime", missing=True)
    return tokens | {
        "at": start,
        "model_id": sheet.models("model", "model_group"),
        "task": sheet.text("task"),
        "user": sheet.text("end_user", "user"),
        "team": sheet.text("team_id"),
        "status": statuses(sheet, "error_code", failed),
        "attempts": sheet.counts("retries") + 1,
        "ttft_s": np.where(first < end, sheet.seconds(start, first), np.nan),
        "end_to_end_s": sheet.seconds(start, end),
        "billed_usd": sheet.numbers("spend"),
        "source": "billed",
        "key": sheet.identity("litellm", "request_id"),
        "own_tokens": sheet.numbers("total_tokens"),
        "own_usd": sheet.numbers("spend"),
    }


def statuses(sheet, name, failed):
    """ "ok", or the failure word of the HTTP status in a column."""
    codes = [int(code) if 100 <= code < 1000 else 0 for code in np.nan_to_num(sheet.durations(name))]
    return np.array(
        [(status_of(code) if code else "unavailable") if bad else "ok" for code, bad in zip(codes, failed, strict=True)], object
    )


READERS = (
    Reader(
        "litellm",
        (("request_id", "spend", "prompt_tokens", "startTime"), ("spend", "model_group", "startTime")),
        _litellm_columns,
        _litellm_rows,
    ),
)
