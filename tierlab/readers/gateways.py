"""Gateways and tracers: Langfuse observations, Helicone requests, OpenRouter activity."""

import numpy as np
import pandas as pd

from tierlab.readers.reader import Reader, children, loaded
from tierlab.readers.sheet import buckets, statuses

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
                parts[bucket] = parts[bucket] + value if _is_number(value) and _is_number(parts[bucket]) else value
        names = ("id", "name", "startTime", "endTime", "completionStartTime", "model", "totalCost", "level", "userId")
        row = {name: record.get(name) for name in names} | parts
        row |= {"total": usage.get("total"), "latency": record.get("latency"), "ttft": record.get("timeToFirstToken")}
        row["aside"] = None if kind == "GENERATION" else "an observation that is no generation"
        yield line, row


def _langfuse_bucket(name):
    for bucket, names in (("read", _READ), ("write_5m", _WRITE_5M), ("write_1h", _WRITE_1H), ("reasoning", _REASONING)):
        if name in names:
            return bucket
    return next((side for side in ("input", "output") if name.startswith(side)), None)


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _langfuse(sheet):
    whole, read, write_5m, write_1h = (sheet.counts(name) for name in ("input", "read", "write_5m", "write_1h"))
    reasoning, answer, total = sheet.counts("reasoning"), sheet.counts("output"), sheet.numbers("total")
    found = buckets(
        sheet, whole, read, write_5m, write_1h, answer, cache_inside=False, reasoning=reasoning, reasoning_inside=False
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
    *("request_id", "request_created_at", "response_status", "response_model", "model", "request_model", "provider"),
    *("request_user_id", "delay_ms", "time_to_first_token", "total_tokens", "prompt_tokens", "prompt_cache_write_tokens"),
    *("prompt_cache_read_tokens", "completion_tokens", "costUSD", "cache_reference_id"),
)
_NO_REFERENCE = "00000000-0000-0000-0000-000000000000"


def _helicone_rows(records):
    for line, record in records:
        properties = loaded(record.get("request_properties")) | loaded(record.get("properties"))
        row = {name: record.get(name) for name in _HELICONE_FIELDS}
        row["task"] = next((properties[name] for name in ("task", "feature", "use_case") if name in properties), None)
        yield line, row | {"team": properties.get("team"), "aside": _from_its_cache(row["cache_reference_id"])}


def _from_its_cache(reference):
    return "answered from Helicone's own cache: nothing was sent to the provider" if reference not in _NOT_CACHED else None


_NOT_CACHED = (None, "", _NO_REFERENCE)


def _helicone(sheet):
    openai = pd.Series(sheet.text("provider"), dtype=object).fillna("").str.upper().isin(("OPENAI", "AZURE")).to_numpy(bool)
    prompt, output = sheet.counts("prompt_tokens"), sheet.counts("completion_tokens")
    read, write = sheet.counts("prompt_cache_read_tokens"), sheet.counts("prompt_cache_write_tokens")
    sheet.assume(write > 0, "cache writes without a time to live, taken as 5 minutes")
    sheet.assume(openai & (output > 0), "reasoning tokens may be missing from completion_tokens in this export")
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
    whole, output = sheet.counts("tokens_prompt", missing=None), sheet.counts("tokens_completion", missing=None)
    found = buckets(sheet, whole, read, 0.0, 0.0, output, cache_inside=True, reasoning=reasoning)
    cancelled = pd.Series(sheet.text("cancelled"), dtype=object).str.lower().eq("true").to_numpy(bool)
    key_of_own = sheet.numbers("byok_usage_inference", 0.0)
    sheet.assume(key_of_own > 0, "spend on a key of one's own is billed by the provider, not by OpenRouter; it is counted in")
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
    reasoning, output = sheet.counts("reasoning_tokens"), sheet.counts("completion_tokens", missing=None)
    whole = sheet.counts("prompt_tokens", missing=None)
    sheet.assume(whole > 0, "cached tokens are not told apart in this export: all input counts as uncached")
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
    Reader(
        "langfuse", (("id", "type", "usageDetails"), ("traceId", "type", "startTime", "totalCost")), _langfuse, _langfuse_rows
    ),
    Reader("helicone", (("request_created_at", "prompt_tokens", "completion_tokens"),), _helicone, _helicone_rows),
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
