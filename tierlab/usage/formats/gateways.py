"""LiteLLM spend logs, as JSON lines or CSV: a row per request, with what the gateway says that it cost.

Prompt tokens include both cache kinds, for Anthropic too. `cache_hit` is LiteLLM's own cache: such a row sent
nothing to the provider. The metadata are JSON inside JSON.

Gateways and tracers: Langfuse observations, Helicone requests, OpenRouter activity.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json

from tierlab.usage.reader import Reader, child, children, loaded
from tierlab.usage.sheet import buckets, statuses

_TASK_TAGS = ("task:", "feature:", "use_case:")


_LITELLM_FIELDS = (
    *(
        "request_id",
        "call_type",
        "spend",
        "total_tokens",
        "prompt_tokens",
        "completion_tokens",
        "startTime",
        "endTime",
    ),
    *(
        "completionStartTime",
        "model",
        "model_group",
        "user",
        "end_user",
        "team_id",
        "status",
        "cache_hit",
    ),
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
        row["reasoning"] = child(usage, "completion_tokens_details").get(
            "reasoning_tokens", 0 if usage else None
        )
        row["retries"] = metadata.get("attempted_retries")
        row["error_code"] = child(metadata, "error_information").get("error_code")
        row["task"] = _task(record.get("request_tags"))
        yield line, row


_TEXT, _WHOLE, _MONEY = pa.string(), pa.int64(), pa.float64()
_LITELLM_KINDS = dict.fromkeys(_LITELLM_FIELDS, _TEXT) | {
    "spend": _MONEY,
    "metadata": _TEXT,
    "request_tags": _TEXT,
}
_LITELLM_KINDS |= dict.fromkeys(("total_tokens", "prompt_tokens", "completion_tokens"), _WHOLE)
_SPLIT = pa.struct([("ephemeral_1h_input_tokens", _WHOLE)])
_DETAILS = [
    ("cached_tokens", _WHOLE),
    ("cache_creation_tokens", _WHOLE),
    ("cache_creation_token_details", _SPLIT),
]
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
        cache_write=inner(*details, "cache_creation_tokens").fillna(
            inner(usage, "cache_creation_input_tokens")
        ),
        cache_write_1h=hour.fillna(inner(usage, "cache_creation", "ephemeral_1h_input_tokens")),
        ttl_known=inner(*details, "cache_creation_token_details").notna()
        | inner(usage, "cache_creation").notna(),
        reasoning=inner(usage, "completion_tokens_details", "reasoning_tokens").fillna(
            known.map({True: 0.0, False: np.nan})
        ),
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
        table = pa_json.read_json(
            pa.BufferReader(data), pa_json.ReadOptions(block_size=len(data) + 1), options
        )
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
        (write > 0) & ~sheet.cells("ttl_known").astype(bool),
        "cache writes without a time to live, taken as 5 minutes",
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


_LITELLM = (
    Reader(
        "litellm",
        (
            ("request_id", "spend", "prompt_tokens", "startTime"),
            ("spend", "model_group", "startTime"),
        ),
        _litellm_columns,
        _litellm_rows,
        _litellm_fast,
    ),
)


_READ = ("input_cached_tokens", "input_cache_read", "cache_read_input_tokens")
_WRITE_5M = ("input_cache_creation", "input_cache_creation_5m", "cache_creation_input_tokens")
_WRITE_1H = ("input_cache_creation_1h",)
_REASONING = ("output_reasoning_tokens", "output_reasoning")


def _langfuse_rows(records):
    """Observations with their usage summed by bucket: the keys of usageDetails are disjoint and add up to total."""
    for line, record in records:
        kind = record.get("type")
        usage = loaded(record.get("usageDetails"))
        parts = {"read": 0, "write_5m": 0, "write_1h": 0, "reasoning": 0, "input": 0, "output": 0}
        for name, value in usage.items():
            bucket = _langfuse_bucket(name)
            if bucket and value is not None:
                parts[bucket] = (
                    parts[bucket] + value
                    if _is_number(value) and _is_number(parts[bucket])
                    else value
                )
        names = (
            "id",
            "name",
            "startTime",
            "endTime",
            "completionStartTime",
            "model",
            "totalCost",
            "level",
            "userId",
        )
        row = {name: record.get(name) for name in names} | parts
        row |= {
            "total": usage.get("total"),
            "latency": record.get("latency"),
            "ttft": record.get("timeToFirstToken"),
        }
        row["aside"] = None if kind == "GENERATION" else "an observation that is no generation"
        yield line, row


def _langfuse_bucket(name):
    for bucket, names in (
        ("read", _READ),
        ("write_5m", _WRITE_5M),
        ("write_1h", _WRITE_1H),
        ("reasoning", _REASONING),
    ):
        if name in names:
            return bucket
    return next((side for side in ("input", "output") if name.startswith(side)), None)


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _langfuse(sheet):
    whole, read, write_5m, write_1h = (
        sheet.counts(name) for name in ("input", "read", "write_5m", "write_1h")
    )
    reasoning, answer, total = (
        sheet.counts("reasoning"),
        sheet.counts("output"),
        sheet.numbers("total"),
    )
    found = buckets(
        sheet,
        whole,
        read,
        write_5m,
        write_1h,
        answer,
        cache_inside=False,
        reasoning=reasoning,
        reasoning_inside=False,
    )
    summed = whole + read + write_5m + write_1h + answer + reasoning
    sheet.refuse(~np.isnan(total) & (summed != total), "usageDetails do not add up to their total")
    start = sheet.times("startTime")
    end, first = (sheet.times(name, missing=True) for name in ("endTime", "completionStartTime"))
    given, ttft = sheet.durations("latency"), sheet.durations("ttft")
    failed = pd.Series(sheet.text("level"), dtype=object).eq("ERROR").to_numpy(bool)
    return found | {
        "at": start,
        "model_id": sheet.models("model"),
        "task": sheet.text("name"),
        "user": sheet.text("userId"),
        "status": np.where(failed, "unavailable", "ok"),
        "ttft_s": np.where(np.isnan(ttft), sheet.seconds(start, first), ttft),
        "end_to_end_s": np.where(np.isnan(given), sheet.seconds(start, end), given),
        "billed_usd": sheet.numbers("totalCost"),
        "source": "billed",
        "key": sheet.identity("langfuse", "id"),
        "own_tokens": total,
        "own_money": sheet.numbers("totalCost"),
    }


_HELICONE_FIELDS = (
    *(
        "request_id",
        "request_created_at",
        "response_status",
        "response_model",
        "model",
        "request_model",
        "provider",
    ),
    *(
        "request_user_id",
        "delay_ms",
        "time_to_first_token",
        "total_tokens",
        "prompt_tokens",
        "prompt_cache_write_tokens",
    ),
    *("prompt_cache_read_tokens", "completion_tokens", "costUSD", "cache_reference_id"),
)
_NO_REFERENCE = "00000000-0000-0000-0000-000000000000"


def _helicone_rows(records):
    for line, record in records:
        properties = loaded(record.get("request_properties")) | loaded(record.get("properties"))
        row = {name: record.get(name) for name in _HELICONE_FIELDS}
        row["task"] = next(
            (properties[name] for name in ("task", "feature", "use_case") if name in properties),
            None,
        )
        yield (
            line,
            row
            | {"team": properties.get("team"), "aside": _from_its_cache(row["cache_reference_id"])},
        )


def _from_its_cache(reference):
    return (
        "answered from Helicone's own cache: nothing was sent to the provider"
        if reference not in _NOT_CACHED
        else None
    )


_NOT_CACHED = (None, "", _NO_REFERENCE)


def _helicone(sheet):
    openai = (
        pd.Series(sheet.text("provider"), dtype=object)
        .fillna("")
        .str.upper()
        .isin(("OPENAI", "AZURE"))
        .to_numpy(bool)
    )
    prompt, output = sheet.counts("prompt_tokens"), sheet.counts("completion_tokens")
    read, write = (
        sheet.counts("prompt_cache_read_tokens"),
        sheet.counts("prompt_cache_write_tokens"),
    )
    sheet.assume(write > 0, "cache writes without a time to live, taken as 5 minutes")
    sheet.assume(
        openai & (output > 0),
        "reasoning tokens may be missing from completion_tokens in this export",
    )
    whole = np.where(openai, prompt - write, prompt)
    code = np.nan_to_num(sheet.durations("response_status"), nan=200.0)
    return buckets(sheet, whole, read, write, 0.0, output, cache_inside=False) | {
        "at": sheet.times("request_created_at"),
        "model_id": sheet.models("response_model", "model", "request_model"),
        "task": sheet.text("task"),
        "user": sheet.text("request_user_id"),
        "team": sheet.text("team"),
        "status": statuses(sheet, "response_status", code >= 400),
        "ttft_s": sheet.durations("time_to_first_token", 1e-3),
        "end_to_end_s": sheet.durations("delay_ms", 1e-3),
        "billed_usd": sheet.numbers("costUSD"),
        "source": "billed",
        "key": sheet.identity("helicone", "request_id"),
        "own_tokens": sheet.numbers("total_tokens", 0.0) + read + np.where(openai, 0.0, write),
        "own_money": sheet.numbers("costUSD"),
    }


def _openrouter(sheet):
    reasoning, read = sheet.counts("tokens_reasoning"), sheet.counts("tokens_cached")
    whole, output = (
        sheet.counts("tokens_prompt", missing=None),
        sheet.counts("tokens_completion", missing=None),
    )
    found = buckets(sheet, whole, read, 0.0, 0.0, output, cache_inside=True, reasoning=reasoning)
    cancelled = (
        pd.Series(sheet.text("cancelled"), dtype=object).str.lower().eq("true").to_numpy(bool)
    )
    key_of_own = sheet.numbers("byok_usage_inference", 0.0)
    sheet.assume(
        key_of_own > 0,
        "spend on a key of one's own is billed by the provider, not by OpenRouter; it is counted in",
    )
    model = sheet.models("model_permaslug")
    claude = pd.Series(model, dtype=object).astype("str").str.contains("claude", na=False)
    sheet.assume(claude, "cache writes are not in this export: they count as plain input")
    money = sheet.numbers("cost_total") + key_of_own
    return found | {
        "at": sheet.times("created_at", zone="UTC"),
        "model_id": model,
        "task": sheet.text("app_name"),
        "user": sheet.text("user"),
        "status": np.where(cancelled, "cancelled", sheet.finished("finish_reason_normalized")),
        "ttft_s": sheet.durations("time_to_first_token_ms", 1e-3),
        "end_to_end_s": sheet.durations("generation_time_ms", 1e-3),
        "billed_usd": money,
        "source": "billed",
        "key": sheet.identity("openrouter", "generation_id"),
        "own_tokens": sheet.numbers("tokens_prompt") + sheet.numbers("tokens_completion"),
        "own_money": money,
    }


def _activity_rows(records):
    """The daily rows, under the CSV's headings or the endpoint's names, as the endpoint names them."""
    for line, page in records:
        for row in children(page, "data") if "data" in page else [page]:
            if row is None:
                yield line, None
                continue
            row = {str(name).lower().replace(" ", "_"): value for name, value in row.items()}
            row["model"] = row.get("slug", row.get("model_permaslug", row.get("model")))
            row["byok"] = row.get("byok_usage", row.get("byok_usage_inference"))
            yield line, row


def _activity(sheet):
    reasoning, output = (
        sheet.counts("reasoning_tokens"),
        sheet.counts("completion_tokens", missing=None),
    )
    whole = sheet.counts("prompt_tokens", missing=None)
    sheet.assume(
        whole > 0, "cached tokens are not told apart in this export: all input counts as uncached"
    )
    money = sheet.numbers("usage") + sheet.numbers("byok", 0.0)
    return buckets(sheet, whole, output=output, cache_inside=True, reasoning=reasoning) | {
        "at": sheet.times("date", zone="UTC"),
        "model_id": sheet.models("model"),
        "requests": sheet.counts("requests", np.nan),
        "aggregate": True,
        "billed_usd": money,
        "source": "billed",
        "key": sheet.identity("openrouter", "date", "model", "endpoint_id", "provider_name"),
        "own_tokens": sheet.numbers("prompt_tokens") + sheet.numbers("completion_tokens"),
        "own_money": money,
    }


READERS = (
    *_LITELLM,
    Reader(
        "langfuse",
        (("id", "type", "usageDetails"), ("traceId", "type", "startTime", "totalCost")),
        _langfuse,
        _langfuse_rows,
    ),
    Reader(
        "helicone",
        (("request_created_at", "prompt_tokens", "completion_tokens"),),
        _helicone,
        _helicone_rows,
    ),
    Reader("openrouter", (("generation_id", "cost_total", "tokens_prompt"),), _openrouter),
    Reader(
        "openrouter_daily",
        (
            ("Date", "Slug", "Usage", "Prompt Tokens"),
            ("data.date", "data.byok_usage_inference", "data.prompt_tokens"),
            ("date", "byok_usage_inference", "prompt_tokens"),
        ),
        _activity,
        _activity_rows,
        provider="openrouter",
        kind="usage",
    ),
)
