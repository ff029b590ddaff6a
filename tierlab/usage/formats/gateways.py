"""Gateways and tracers: LiteLLM's spend logs, Helicone's requests, OpenRouter's activity and Langfuse's observations.

Each has a row for each request, with what the gateway says that it cost; OpenRouter's activity also comes as daily sums.
A gateway that answers from its own cache sends nothing to the provider: such rows are set aside.
"""

import re

import numpy as np
import pandas as pd

from tierlab.core.tables import TOKEN_COLUMNS
from tierlab.usage.columns import (
    UNTIMED,
    buckets,
    calls,
    places,
    platforms,
    statuses,
    tiers,
    units,
)
from tierlab.usage.reader import TOKENS, Counters, Reader, added, loaded, picked, same
from tierlab.usage.sheet import mapped

# LiteLLM. Prompt tokens include both cache kinds, for Anthropic too. The metadata are JSON inside JSON; older versions
# have only the second of these usage objects, which holds all but the three sums.
_USAGES = ("metadata.usage_object", "metadata.additional_usage_values")


def _in_usage(*names):
    return tuple(f"{usage}.{name}" for name in names for usage in _USAGES)


_DETAILS, _OUTPUT = "prompt_tokens_details", "completion_tokens_details"
_SPLIT = (f"{_DETAILS}.cache_creation_token_details", "cache_creation")
_KINDS = ("audio", "image")
_SIDES = (("input", "in", "uncached_input_tokens"), ("output", "out", "output_tokens"))
_litellm_rows = picked(
    same(
        "request_id",
        "call_type",
        "spend",
        "startTime",
        "endTime",
        "completionStartTime",
        "model",
        "model_group",
        "custom_llm_provider",
        "api_base",
        "user",
        "end_user",
        "team_id",
        "session_id",
        "status",
        "cache_hit",
        "request_tags",
    )
    | {
        name: (name, *_in_usage(name))
        for name in ("total_tokens", "prompt_tokens", "completion_tokens")
    }
    | {
        "usage": _USAGES,
        "batch_models": ("metadata.batch_models",),
        "cache_read": _in_usage(f"{_DETAILS}.cached_tokens", "cache_read_input_tokens"),
        "cache_write": _in_usage(
            f"{_DETAILS}.cache_creation_tokens", "cache_creation_input_tokens"
        ),
        "split": _in_usage(*_SPLIT),
        "cache_write_long": _in_usage(*(f"{split}.ephemeral_1h_input_tokens" for split in _SPLIT)),
        "reasoning": _in_usage(f"{_OUTPUT}.reasoning_tokens"),
        "searches": _in_usage(
            "server_tool_use.web_search_requests", f"{_DETAILS}.web_search_requests"
        ),
        "tier": ("service_tier", "metadata.service_tier", *_in_usage("service_tier")),
        "speed": _in_usage("speed"),
        "geo": _in_usage("inference_geo"),
        "retries": ("metadata.attempted_retries",),
        "error_code": ("metadata.error_information.error_code",),
    }
    | {f"{kind}_in": _in_usage(f"{_DETAILS}.{kind}_tokens") for kind in _KINDS}
    | {f"{kind}_out": _in_usage(f"{_OUTPUT}.{kind}_tokens") for kind in _KINDS},
    texts=("metadata",),
    usage=(*_USAGES, TOKENS),
    idle=(
        f"{_DETAILS}.text_tokens",
        f"{_OUTPUT}.text_tokens",
        f"{_OUTPUT}.accepted_prediction_tokens",  # inside completion_tokens, billed alike
        f"{_OUTPUT}.rejected_prediction_tokens",
        *(f"{split}.ephemeral_5m_input_tokens" for split in _SPLIT),
    ),
)
_TASK_TAGS = ("task:", "feature:", "use_case:")
_BASES = re.compile(r"//(?:bedrock-runtime[\w-]*\.)?([a-z]{2,}-[a-z]+-?\d+)[.-]")


def _litellm_tokens(sheet, batch):
    """Return the buckets, and what in them is not text, as `units` takes it."""
    write, hour = sheet.counts("cache_write"), sheet.counts("cache_write_long")
    sheet.refuse(hour > write, "more 1-hour cache writes than cache writes")
    sheet.assume((write > 0) & ~sheet.cells("split").map(bool), UNTIMED)
    reasoning = sheet.counts("reasoning", np.nan)
    has_usage = sheet.cells("usage").map(bool).to_numpy(bool)
    whole, output = sheet.counts("prompt_tokens"), sheet.counts("completion_tokens")
    poll = batch & (whole + output == 0) & (sheet.numbers("spend", 0.0) == 0)
    sheet.refuse(poll, "asks how a batch is doing: no usage in it")
    # As text, because a broken cell may hold an object, which cannot be compared.
    told = sheet.raw[["model", "spend", "prompt_tokens", "completion_tokens"]].map(str)
    sheet.assume(
        batch & told.duplicated(), "a finished batch equal to one before: is it written twice?"
    )
    tokens = buckets(
        sheet,
        whole,
        output,
        read=sheet.counts("cache_read"),
        write_short=write - hour,
        write_long=hour,
        cache_inside=True,
        reasoning=np.where(np.isnan(reasoning) & has_usage, 0, reasoning),
        total=sheet.numbers("total_tokens"),
    )
    parts = {
        f"{side}_{kind}_tokens": (bucket, sheet.counts(f"{kind}_{way}"))
        for side, way, bucket in _SIDES
        for kind in _KINDS
    }
    parts["web_searches"] = None, sheet.counts("searches")
    return tokens, parts


def _litellm(sheet):
    hit = sheet.words("cache_hit") == "true"
    sheet.refuse(hit, "answered from LiteLLM's own cache: nothing was sent to the provider")
    batch = sheet.words("call_type").str.contains("batch").to_numpy(bool)
    tokens, parts = _litellm_tokens(sheet, batch)
    start, end = sheet.times("startTime"), sheet.times("endTime", missing=True)
    first = sheet.times("completionStartTime", missing=True)
    tags = sheet.cells("request_tags")
    sheet.raw["task"] = mapped(tags, _task) if tags.dtype == "str" else tags.map(_task)
    # In a batch, `model` is the name of the deployment; `batch_models` may name the one model of its requests.
    models = sheet.cells("batch_models")
    sheet.raw["batch_model"] = models.map(
        lambda found: found[0] if isinstance(found, list) and len(found) == 1 else None
    )
    base = mapped(sheet.text("api_base"), lambda text: (found := _BASES.search(text)) and found[1])
    tier = tiers(sheet, "tier", "speed")
    return (
        units(sheet, tokens, parts)
        | tier
        | {
            "at": start,
            "model_id": sheet.models("batch_model", "model", "model_group"),
            "platform": platforms(sheet, "custom_llm_provider"),
            "region": np.where(pd.isna(base), places(sheet, "geo"), base),
            "task": sheet.text("task"),
            "user": sheet.text("end_user", "user"),
            "team": sheet.text("team_id"),
            "session_id": sheet.text("session_id"),
            "batch": tier["batch"] | batch,
            "aggregate": batch,
            "requests": np.where(batch, np.nan, 1),
            "status": statuses(sheet, "error_code", sheet.words("status") == "failure"),
            "attempts": sheet.counts("retries") + 1,
            "ttft_s": np.where(first < end, sheet.seconds(start, first), np.nan),
            "end_to_end_s": sheet.seconds(start, end),
            "billed_usd": sheet.numbers("spend"),
            "source": "billed",
            "key": sheet.identity("litellm", "request_id"),
            "call": np.where(batch, sheet.identity("litellm batch", "request_id"), np.uint64(0)),
            "own_tokens": sheet.numbers("total_tokens"),
        }
    )


def _task(tags):
    """Return the task that a request's tags name, or None."""
    words = [tag for tag in loaded(tags, list) if isinstance(tag, str)]
    named = [tag.partition(":")[2] for tag in words if tag.startswith(_TASK_TAGS)]
    return named[0] if named else None


# Helicone. Prompt tokens leave out what was read from the cache; OpenAI's include what was written to it.
_NAMES_OF_TASKS = ("task", "feature", "use_case")
_helicone_rows = picked(
    same(
        "request_id",
        "request_created_at",
        "response_status",
        "response_model",
        "model",
        "request_model",
        "provider",
        "request_user_id",
        "delay_ms",
        "time_to_first_token",
        "total_tokens",
        "prompt_tokens",
        "prompt_cache_write_tokens",
        "prompt_cache_read_tokens",
        "completion_tokens",
        "costUSD",
        "cache_reference_id",
    )
    | {
        "task": tuple(
            f"{where}.{name}"
            for name in _NAMES_OF_TASKS
            for where in ("properties", "request_properties")
        ),
        "team": ("properties.team", "request_properties.team"),
    },
    texts=("properties", "request_properties"),
    usage=(TOKENS,),
)
_NOT_CACHED = ("", "00000000-0000-0000-0000-000000000000")


def _helicone(sheet):
    sheet.refuse(
        ~sheet.words("cache_reference_id").isin(_NOT_CACHED),
        "answered from Helicone's own cache: nothing was sent to the provider",
    )
    openai = sheet.words("provider").isin(("openai", "azure")).to_numpy(bool)
    prompt, output = sheet.counts("prompt_tokens"), sheet.counts("completion_tokens")
    read, write = (sheet.counts(f"prompt_cache_{way}_tokens") for way in ("read", "write"))
    sheet.assume(write > 0, UNTIMED)
    sheet.assume(
        openai & (output > 0),
        "reasoning tokens may be missing from completion_tokens in this export",
    )
    whole = np.where(openai, prompt - write, prompt)
    code = np.nan_to_num(sheet.durations("response_status"), nan=200.0)
    return buckets(sheet, whole, output, read=read, write_short=write, cache_inside=False) | {
        "at": sheet.times("request_created_at"),
        "model_id": sheet.models("response_model", "model", "request_model"),
        "platform": platforms(sheet, "provider"),
        "task": sheet.text("task"),
        "user": sheet.text("request_user_id"),
        "team": sheet.text("team"),
        "status": statuses(sheet, "response_status", code >= 400),
        "ttft_s": sheet.durations("time_to_first_token", 1e-3),
        "end_to_end_s": sheet.durations("delay_ms", 1e-3),
        "billed_usd": sheet.numbers("costUSD"),
        "source": "billed",
        "key": sheet.identity("helicone", "request_id"),
        "own_tokens": sheet.numbers("total_tokens") + read + np.where(openai, 0.0, write),
    }


# These variants of a model are models of their own; others only say how a call is routed.
_VARIANTS = ("free", "batch", "thinking", "extended")
_PARTS_OF_COST = ("cost_web_search", "cost_cache", "cost_file_processing")


def _openrouter(sheet):
    tokens = buckets(
        sheet,
        sheet.counts("tokens_prompt", missing=None),
        sheet.counts("tokens_completion", missing=None),
        read=sheet.counts("tokens_cached"),
        cache_inside=True,
        reasoning=sheet.counts("tokens_reasoning"),
    )
    key_of_own = sheet.numbers("byok_usage_inference", 0.0)
    sheet.assume(
        key_of_own > 0,
        "spend on a key of one's own is billed by the provider, not by OpenRouter; it is counted in",
    )
    variant = pd.Series(sheet.text("variant"), dtype=object)
    slug = pd.Series(sheet.text("model_permaslug"), dtype=object)
    sheet.raw["slug"] = (slug + ":" + variant).where(variant.isin(_VARIANTS), slug)
    model = sheet.models("slug")
    claude = pd.Series(model, dtype="str").str.contains("claude", na=False)
    sheet.assume(claude, "cache writes are not in this export: they count as plain input")
    ended = sheet.finished("finish_reason_normalized")
    vertex = sheet.words("provider_name") == "google"  # beside "Google AI Studio", the Gemini API
    own = pd.Series(model, dtype="str").str.endswith((":free", ":batch", ":extended"))
    sold = np.where(vertex, "vertex", platforms(sheet, "provider_name"))
    money = sheet.numbers("cost_total") + key_of_own
    return tokens | {
        "at": sheet.times("created_at", zone="UTC"),
        "model_id": model,
        "platform": np.where(own, "openrouter", sold),  # a price of its own
        "task": sheet.text("app_name"),
        "user": sheet.text("user"),
        "status": np.where(sheet.words("cancelled") == "true", "cancelled", ended),
        "ttft_s": sheet.durations("time_to_first_token_ms", 1e-3),
        "end_to_end_s": sheet.durations("generation_time_ms", 1e-3),
        "billed_usd": money,
        "source": "billed",
        "key": sheet.identity("openrouter", "generation_id"),
    }


# OpenRouter's daily sums, under the endpoint's names or the CSV file's headings.
_DAILY = ("date", "usage", "requests", "prompt_tokens", "completion_tokens", "reasoning_tokens")
_activity_rows = picked(
    {name: (name, name.replace("_", " ").title()) for name in _DAILY}
    | {
        "endpoint_id": ("endpoint_id", "Endpoint ID"),
        "provider_name": ("provider_name", "Provider Name"),
        "model": ("slug", "Slug", "model_permaslug", "model", "Model"),
        "byok": ("byok_usage", "BYOK Usage", "byok_usage_inference"),
    },
    lists=("data",),
    usage=("",),
    idle=("byok_requests",),
)


def _activity(sheet):
    whole = sheet.counts("prompt_tokens", missing=None)
    sheet.assume(
        whole > 0, "cached tokens are not told apart in this export: all input counts as uncached"
    )
    money = sheet.numbers("usage") + sheet.numbers("byok", 0.0)
    tokens = buckets(
        sheet,
        whole,
        sheet.counts("completion_tokens", missing=None),
        cache_inside=True,
        reasoning=sheet.counts("reasoning_tokens"),
    )
    return tokens | {
        "at": sheet.times("date", zone="UTC"),
        "model_id": sheet.models("model"),
        "platform": platforms(sheet, "provider_name"),
        "requests": sheet.counts("requests", np.nan),
        "aggregate": True,
        "billed_usd": money,
        "source": "billed",
        "key": sheet.identity("openrouter", "date", "model", "endpoint_id", "provider_name"),
    }


# Langfuse: observations as its API exports them, as they lie in blob storage, and from before version 3. If Langfuse
# parsed the usage, the keys of the usage details are disjoint and add up to their total. What a user sent is not
# rewritten: if input and output alone are the total, the cached tokens are inside. Before version 3 there were three
# counters and a unit, which may be characters.
_LANGFUSE_KEYS = {  # a key that is not listed goes by its first word
    "input_cached_tokens": "read",
    "input_cache_read": "read",
    "cache_read_input_tokens": "read",
    "input_cache_creation": "write",
    "cache_creation_input_tokens": "write",
    "input_cache_creation_5m": "write_short",
    "input_cache_creation_1h": "write_long",
    "output_reasoning_tokens": "reasoning",
    "output_reasoning": "reasoning",
    "promptTokens": "input",
    "completionTokens": "output",
}
_LANGFUSE_SIDES = ("input", "output")
_LANGFUSE_MONEY = (
    "inputCost",
    "outputCost",
    "totalCost",
    "unit",
)  # in the `usage` of before version 3
_LANGFUSE_KNOWN = {
    *_LANGFUSE_KEYS,
    *_LANGFUSE_SIDES,
    "total",
    "totalTokens",
    "input_text_tokens",
    "output_text_tokens",
}
_LANGFUSE_BUCKETS = (*_LANGFUSE_SIDES, *dict.fromkeys(_LANGFUSE_KEYS.values()))
_LANGFUSE_DETAILS = ("usageDetails", "usage_details")
_observations = picked(
    {
        "id": ("id",),
        "type": ("type",),
        "task": ("name",),
        "at": ("startTime", "start_time"),
        "end": ("endTime", "end_time"),
        "first": ("completionStartTime", "completion_start_time"),
        "model": ("model", "provided_model_name"),
        "usd": ("totalCost", "total_cost", "calculatedTotalCost"),
        "level": ("level",),
        "user": ("userId", "user_id"),
        "session": ("sessionId", "session_id"),
        "details": (*_LANGFUSE_DETAILS, "usage"),
        "total": (
            *(f"{place}.total" for place in _LANGFUSE_DETAILS),
            "usage.total",
            "usage.totalTokens",
            "totalTokens",
        ),
        "unit": ("usage.unit", "unit"),
        "prompt": ("promptTokens",),
        "completion": ("completionTokens",),
        "updated": ("updated_at", "updatedAt"),
        "trace": ("traceId", "trace_id"),
        "parent": ("parentObservationId", "parent_observation_id"),
    },
    texts=(*_LANGFUSE_DETAILS, "usage"),
    usage=(TOKENS,),
    idle=[f"{place}.*" for place in (*_LANGFUSE_DETAILS, "usage", "costDetails", "cost_details")],
)


def _langfuse_rows(records):
    """Yield observations with their usage summed by bucket; a key that no rule reads is reported."""
    for line, row in _observations(records):
        parts, strange = {bucket: [] for bucket in _LANGFUSE_BUCKETS}, {}
        for name, value in (row.pop("details") or {}).items():
            side = next((side for side in _LANGFUSE_SIDES if name.startswith(side)), None)
            bucket = _LANGFUSE_KEYS.get(name, side)
            if bucket and not isinstance(value, dict | list):
                parts[bucket].append(value)
            if name not in _LANGFUSE_KNOWN:  # reported even if its first word names a bucket
                strange[name] = value
        counts = {bucket: added(values) for bucket, values in parts.items()}
        if counts["input"] is None and counts["output"] is None:
            counts |= {"input": row["prompt"], "output": row["completion"]}
        row["error"] = "error" if str(row["level"]).lower() == "error" else None
        row["unread"] = (row["unread"] or {}) | Counters((), _LANGFUSE_MONEY).left(strange) or None
        yield line, row | counts


def _langfuse(sheet):
    model = sheet.words("type").isin(("generation", "embedding"))
    sheet.refuse(~model, "an observation that is not a generation")
    other = ~sheet.words("unit").isin(("", "tokens"))
    sheet.refuse(other, "counted in another unit than tokens", "unit")
    found = calls(sheet, scope="langfuse", inside=False, reasoning_inside=False)
    ours, told = sum(found[name] for name in TOKEN_COLUMNS), found["own_tokens"]
    sheet.refuse((told != ours) & ~np.isnan(told), "usageDetails do not add up to their total")
    end, first, updated = (sheet.times(name, missing=True) for name in ("end", "first", "updated"))
    return found | {
        "ttft_s": sheet.seconds(found["at"], first),
        "end_to_end_s": sheet.seconds(found["at"], end),
        "updated": updated,
        "span": np.where(
            sheet.empty("id"), np.uint64(0), sheet.identity("langfuse", "trace", "id")
        ),
        "parent": np.where(
            sheet.empty("parent"), np.uint64(0), sheet.identity("langfuse", "trace", "parent")
        ),
    }


READERS = (
    Reader(
        "litellm",
        (
            ("request_id", "spend", "prompt_tokens", "startTime"),
            ("spend", "model_group", "startTime"),
        ),
        _litellm,
        _litellm_rows,
    ),
    Reader(
        "helicone",
        (("request_created_at", "prompt_tokens", "completion_tokens"),),
        _helicone,
        _helicone_rows,
    ),
    Reader(
        "openrouter",
        (("generation_id", "cost_total", "tokens_prompt"),),
        _openrouter,
        idle=_PARTS_OF_COST,
    ),
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
    Reader(
        "langfuse",
        (
            ("id", "type", "usageDetails"),
            ("traceId", "type", "startTime", "totalCost"),
            ("id", "type", "start_time", "provided_model_name"),
            ("traceId", "type", "promptTokens", "completionTokens"),
        ),
        _langfuse,
        _langfuse_rows,
    ),
)
