"""Answers as providers give them (OpenAI's responses and chat completions, Anthropic's messages), the results of their
batches, and Amazon Bedrock's logs of invocations and results of batches.

OpenAI's input includes what was read from the cache and written to it, Anthropic's and Bedrock's leave both out, but
for OpenAI's models on Bedrock. Bedrock's log does not tell how long its cache writes live: the answer in it does.
"""

from functools import partial

import numpy as np

from tierlab.usage.formats.calls import calls
from tierlab.usage.reader import Reader, added, child, children, picked
from tierlab.usage.sheet import units

_INSIDE = ("body.usage.prompt_tokens_details", "body.usage.input_tokens_details")
_THOUGHT = ("body.usage.completion_tokens_details", "body.usage.output_tokens_details")
_KINDS = ("audio", "image")
_TTL = "cache_write_tokens_details"
_HIT = "body.usage.prompt_cache_hit_tokens"  # DeepSeek's; its input includes them
_METRICS = "body.amazon-bedrock-invocationMetrics"
_fields = picked(
    {
        "at": ("timestamp", "body.created_at", "body.created"),
        "id": ("requestId", "body.id", "id"),
        "model": ("modelId", "body.model"),
        "told_model": ("body.model",),
        "tier": ("body.service_tier", "body.serviceTier.type", "body.usage.service_tier"),
        "speed": ("body.usage.speed",),
        "region": ("inferenceRegion", "region", "body.usage.inference_geo"),
        "user": ("requestMetadata.user",),
        "task": ("requestMetadata.task",),
        "team": ("requestMetadata.team",),
        "input": (
            "counts.inputTokenCount",
            "body.usage.prompt_tokens",
            "body.usage.input_tokens",
            "body.usage.inputTokens",
        ),
        "output": (
            "counts.outputTokenCount",
            "body.usage.completion_tokens",
            "body.usage.output_tokens",
            "body.usage.outputTokens",
        ),
        "read": (
            "counts.cacheReadInputTokenCount",
            "body.usage.cache_read_input_tokens",
            "body.usage.cacheReadInputTokens",
            *(f"{place}.cached_tokens" for place in _INSIDE),
            _HIT,
        ),
        "write": (
            "counts.cacheWriteInputTokenCount",
            "body.usage.cache_creation_input_tokens",
            "body.usage.cacheWriteInputTokens",
            *(f"{place}.cache_write_tokens" for place in _INSIDE),
        ),
        "write_short": (
            "body.usage.cache_creation.ephemeral_5m_input_tokens",
            *(f"{place}.{_TTL}.ttl_30m_tokens" for place in _INSIDE),
        ),
        "write_long": (
            "body.usage.cache_creation.ephemeral_1h_input_tokens",
            *(f"{place}.{_TTL}.ttl_12h_tokens" for place in _INSIDE),
        ),
        "reasoning": (
            *(f"{place}.reasoning_tokens" for place in _THOUGHT),
            "body.usage.output_tokens_details.thinking_tokens",
        ),
        "searches": ("body.usage.server_tool_use.web_search_requests",),
        "items": ("body.output",),
        "total": ("body.usage.total_tokens", "body.usage.totalTokens"),
        "details": ("body.usage.cacheDetails",),
        "inside": (*_INSIDE, _HIT),
        "code": ("response.status_code",),
        "error": (
            "errorCode",
            "error.code",
            "error.errorCode",
            "body.error.code",
            "body.error.type",
            "result.error.error.type",
        ),
        "result": ("result.type",),
        "finish": (
            "body.choices.finish_reason",
            "body.incomplete_details.reason",
            "body.stop_reason",
            "body.stopReason",
        ),
        "ms": ("body.metrics.latencyMs", f"{_METRICS}.invocationLatency"),
        "ttft_ms": (f"{_METRICS}.firstByteLatency",),
        "requests": ("body.request_counts.completed",),
    }
    | {
        f"{kind}_{side}": tuple(f"{place}.{kind}_tokens" for place in places)
        for kind in _KINDS
        for side, places in (("input", _INSIDE), ("output", _THOUGHT))
    },
    usage=("body.usage", "counts"),
    idle=(
        "cacheDetails.*",
        "prompt_cache_miss_tokens",  # the rest of the input
        *(
            f"{side}_tokens_details.text_tokens"
            for side in ("prompt", "input", "completion", "output")
        ),
        "completion_tokens_details.accepted_prediction_tokens",  # inside completion_tokens, billed alike
        "completion_tokens_details.rejected_prediction_tokens",
    ),
)


def _rows(records):
    """A row per answer, wherever in its record it is."""
    inner = (
        (line, record | {"body": _body(record), "counts": _counts(record)})
        for line, record in records
    )
    for line, row in _fields(inner):
        for item in children(row, "details"):
            side = "write_long" if child({"": item}, "").get("ttl") == "1h" else "write_short"
            row[side] = added([row[side], child({"": item}, "").get("inputTokens")])
        row["searches"] = row["searches"] or sum(map(_searched, children(row, "items"))) or None
        del row["items"]  # the answer itself is not kept
        if row["result"] != "succeeded":
            row["error"] = row["error"] or row["result"]
        hidden = isinstance(row["model"], str) and "profile/" in row["model"]  # names no model
        model = (row["told_model"] or row["model"]) if hidden else row["model"]
        aside = {} if model else {"aside": "failed before any model answered"}
        yield line, row | {"model": model} | aside


def _searched(item):
    """Whether an item of an answer is a search of the web that was done; opening a page is not billed."""
    item = item or {}
    action = child(item, "action").get("type")
    called = item.get("type") == "web_search_call" and item.get("status") in (None, "completed")
    return called and action in (None, "search")


def _counts(record):
    """Bedrock's own counters, which lie beside the bodies of a request and of its answer."""
    sides = child(record, "input") | child(record, "output")
    return {name: value for name, value in sides.items() if "Body" not in name}


def _body(record):
    """The answer in a record; the chunks of a streamed one together."""
    response, output = child(record, "response"), child(record, "output")
    chunks = (
        children(output, "outputBodyJson") if isinstance(output.get("outputBodyJson"), list) else []
    )
    body = {}
    for chunk in filter(None, chunks):
        part = chunk | child(chunk, "message") | child(chunk, "metadata")
        body |= part | {"usage": child(body, "usage") | child(part, "usage")}
    return (
        body
        or child(output, "outputBodyJson")
        or child(response, "body")
        or response
        or child(child(record, "result"), "message")
        or child(record, "modelOutput")
        or record
    )


def _columns(sheet, *, scope, batch=False, unit=None, timed=True):
    model = sheet.words("model")
    # On Bedrock the total of OpenAI's models counts the cached tokens again.
    hosted = model.str.contains("openai.", regex=False).to_numpy(bool)
    sheet.raw["total"] = sheet.cells("total").mask(hosted)
    inside = hosted | ~sheet.empty("inside")
    found = calls(sheet, scope=scope, inside=inside, unit=unit, timed=timed)
    parts = {
        f"{side}_{kind}_tokens": (bucket, sheet.counts(f"{kind}_{side}"))
        for kind in _KINDS
        for side, bucket in (("input", "uncached_input_tokens"), ("output", "output_tokens"))
    } | {"web_searches": (None, sheet.counts("searches"))}
    seller = {"platform": np.full(len(sheet), "bedrock", object)} if scope == "bedrock" else {}
    return units(sheet, found, parts) | seller | {"batch": found["batch"] | batch}


def _batch_object(sheet):
    return _columns(sheet, scope="openai_batch_object", batch=True, unit="s") | {
        "aggregate": True,
        "requests": sheet.counts("requests", np.nan),
    }


_openai = partial(_columns, scope="openai", unit="s")
READERS = (
    Reader(
        "bedrock_log",
        (("schemaType=ModelInvocationLog", "modelId"),),
        partial(_columns, scope="bedrock"),
        _rows,
    ),
    Reader(
        "bedrock_batch",
        (("recordId", "modelOutput"), ("recordId", "modelInput", "error")),
        partial(_columns, scope="bedrock", batch=True, timed=False),
        _rows,
    ),
    Reader(
        "openai_batch",
        (("custom_id", "response.body"), ("custom_id", "response", "error.code")),
        partial(_openai, batch=True),
        _rows,
    ),
    Reader(
        "openai_batch_object",
        (("object=batch", "request_counts", "usage"),),
        _batch_object,
        _rows,
        provider="openai",
        kind="usage",
    ),
    Reader(
        "openai_answers",
        (
            ("object=response", "usage"),
            ("object=chat.completion", "usage"),
            ("type=response.completed", "response.usage"),
        ),
        _openai,
        _rows,
    ),
    Reader(
        "anthropic_batch",
        (("custom_id", "result.type"),),
        partial(_columns, scope="anthropic", batch=True, timed=False),
        _rows,
    ),
    Reader(
        "anthropic_answers",
        (("type=message", "role", "usage.input_tokens"),),
        partial(_columns, scope="anthropic", timed=False),
        _rows,
    ),
)
