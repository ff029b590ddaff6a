"""LiteLLM spend logs, as JSON lines or CSV: a row per request, with what the gateway says that it cost.

Prompt tokens include both cache kinds, for Anthropic too. `cache_hit` is LiteLLM's own cache: such a row sent
nothing to the provider. The metadata are JSON inside JSON.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json

from tierlab.readers.reader import Reader, child, loaded
from tierlab.readers.sheet import buckets, statuses

_TASK_TAGS = ("task:", "feature:", "use_case:")


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
        row["task"] = _task(record.get("request_tags"))
        yield line, row


_TEXT, _WHOLE, _MONEY = pa.string(), pa.int64(), pa.float64()
_LITELLM_KINDS = dict.fromkeys(_LITELLM_FIELDS, _TEXT) | {"spend": _MONEY, "metadata": _TEXT, "request_tags": _TEXT}
_LITELLM_KINDS |= dict.fromkeys(("total_tokens", "prompt_tokens", "completion_tokens"), _WHOLE)
_SPLIT = pa.struct([("ephemeral_1h_input_tokens", _WHOLE)])
_DETAILS = [("cached_tokens", _WHOLE), ("cache_creation_tokens", _WHOLE), ("cache_creation_token_details", _SPLIT)]
_USAGE_OBJECT = [
    ("prompt_tokens_details", pa.struct(_DETAILS)),
    ("completion_tokens_details", pa.struct([("reasoning_tokens", _WHOLE)])),
    ("cache_read_input_tokens", _WHOLE),
    ("cache_creation_input_tokens", _WHOLE),
    ("cache_creation", _SPLIT),
]
_METADATA_KINDS = {
    "usage_object": pa.struct(_USAGE_OBJECT),
    "attempted_retries": _WHOLE,
    "error_information": pa.struct([("error_code", _TEXT)]),
}


def _litellm_fast(lines):
    """What `_litellm_rows` gives for lines of the usual types, through Arrow; None where a line is of another kind."""
    table = _arrow(lines, _LITELLM_KINDS)
    if table is None:
        return None
    metadata = _arrow([text or "{}" for text in table["metadata"].to_pylist()], _METADATA_KINDS)
    if metadata is None:
        return None

    def inner(*path):
        column = metadata[path[0]]
        for name in path[1:]:
            column = pc.struct_field(column, name)
        return column.to_pandas()

    usage = "usage_object"
    known = metadata[usage].is_valid().to_pandas()
    frame = table.select(_LITELLM_FIELDS).to_pandas()
    details = (usage, "prompt_tokens_details")
    hour = inner(*details, "cache_creation_token_details", "ephemeral_1h_input_tokens")
    tags, texts = pd.factorize(table["request_tags"].to_pandas())
    return frame.assign(
        cache_read=inner(*details, "cached_tokens").fillna(inner(usage, "cache_read_input_tokens")),
        cache_write=inner(*details, "cache_creation_tokens").fillna(inner(usage, "cache_creation_input_tokens")),
        cache_write_1h=hour.fillna(inner(usage, "cache_creation", "ephemeral_1h_input_tokens")),
        ttl_known=inner(*details, "cache_creation_token_details").notna() | inner(usage, "cache_creation").notna(),
        reasoning=inner(usage, "completion_tokens_details", "reasoning_tokens").fillna(known.map({True: 0.0, False: np.nan})),
        retries=inner("attempted_retries"),
        error_code=inner("error_information", "error_code"),
        task=np.array([*(_task(text) for text in texts), None], object)[tags],
    )


def _arrow(lines, kinds):
    """JSON lines as an Arrow table of the fields and types asked for, or None where they are not so."""
    data = "\n".join(line.strip() for line in lines).encode("utf-8", "surrogatepass")
    schema = pa.schema(list(kinds.items()))
    options = pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    try:
        table = pa_json.read_json(pa.BufferReader(data), pa_json.ReadOptions(block_size=len(data) + 1), options)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    return table if table.num_rows == len(lines) else None


def _task(tags):
    """The task in a request's tags, where one is named as such."""
    words = [tag for tag in loaded(tags, list) if isinstance(tag, str)]
    return next((tag.split(":", 1)[1] for tag in words if tag.startswith(_TASK_TAGS)), None)


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
        "own_money": sheet.numbers("spend"),
    }


READERS = (
    Reader(
        "litellm",
        (("request_id", "spend", "prompt_tokens", "startTime"), ("spend", "model_group", "startTime")),
        _litellm_columns,
        _litellm_rows,
        _litellm_fast,
    ),
)
