"""Answers as providers give them, the results of their batches, and Amazon Bedrock's logs of invocations.

OpenAI's input includes what was read from the cache and written to it. Anthropic's and Bedrock's inputs leave both out,
except for OpenAI's models on Bedrock. Bedrock's log does not say how long its cache writes live; the answer in it does.
Gemini's input includes the cached tokens; its thoughts stand beside the candidates and are output.
"""

from functools import partial

import numpy as np
import pandas as pd

from tierlab.usage.columns import UNTIMED_CALLS, buckets, calls, tiers, units
from tierlab.usage.reader import (
    Counters,
    Reader,
    added,
    child,
    children,
    loaded,
    picked,
    same,
    unfolded,
)

_INSIDE = ("body.usage.prompt_tokens_details", "body.usage.input_tokens_details")
_THOUGHT = ("body.usage.completion_tokens_details", "body.usage.output_tokens_details")
_KINDS = ("audio", "image")
_TTL = "cache_write_tokens_details"
_HITS = (  # DeepSeek's and Moonshot's; their input includes them
    "body.usage.prompt_cache_hit_tokens",
    "body.usage.cached_tokens",
)
_SUMS = (
    "input_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "output_tokens",
)
ODD = "iterations do not add up to their message's counters"
_METRICS = "body.amazon-bedrock-invocationMetrics"
_answer_fields = picked(
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
            *_HITS,
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
        "odd": ("body.usage.odd",),
        "inside": (*_INSIDE, *_HITS),
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


def messages(usage, model):
    """Return the usage objects of the calls that one usage object of Anthropic reports.

    The counters of a message are the sums of its iterations of type "message". Compactions and an advisor's answers
    lie outside them, unless the sums show otherwise, and may be of another model. An iteration inside that names
    another model is taken out of the message.

    Returns
    -------
    list of dict
        The message's usage, in which `odd` says whether its iterations do not add up to it, and those beside it, which
        name their `model` if it is another one.
    """
    parts = [part or {} for part in children(usage, "iterations")]
    if not parts:
        return [usage]
    top = {name: value for name, value in usage.items() if name != "iterations"}
    inside = [part for part in parts if part.get("type") in (None, "message")]
    if _add_up(parts, top):
        inside = parts
    odd = bool(inside) and not _add_up(inside, top)
    beside = [part for part in parts if part not in inside]
    for part in inside:
        if part.get("model") not in (None, model):
            beside.append(part)
            top = _less(top, part)
    return [top | {"odd": odd}, *beside]


def _add_up(parts, whole):
    sums = {name: added([part.get(name) for part in parts]) for name in _SUMS}
    return all((whole.get(name) or 0) == (sums[name] or 0) for name in _SUMS)


def _less(whole, part):
    """Return the counters of a usage object without those of a part of it."""
    left = dict(whole)
    for name, value in part.items():
        if isinstance(value, dict):
            left[name] = _less(child(whole, name), value)
        elif is_count(value) and is_count(whole.get(name)):
            left[name] = whole[name] - value
    return left


def is_count(value):
    """Return whether a value is a number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _calls(records):
    """Yield each answer, in its record as `body` and `counts`, and each iteration of it that is a call of its own."""
    for line, record in records:
        body, counts = _body(record), _counts(record)
        first, *beside = messages(child(body, "usage"), body.get("model"))
        yield line, record | {"body": body | {"usage": first}, "counts": counts}
        said = {name: word for name, word in first.items() if isinstance(word, str)}  # tier, region
        for place, usage in enumerate(beside, 1):
            name = f"{record.get('requestId') or body.get('id')}#{place}"
            model = usage.get("model") or record.get("modelId") or body.get("model")
            about = {"requestId": name, "modelId": model, "body": body | {"usage": said | usage}}
            yield line, record | about | {"counts": {}}


def _answer_rows(records):
    """Yield a row for each answer, wherever in its record it is."""
    for line, row in _answer_fields(_calls(records)):
        for item in filter(None, children(row, "details")):
            side = "write_long" if item.get("ttl") == "1h" else "write_short"
            row[side] = added([row[side], item.get("inputTokens")])
        searches = sum(map(_searched, filter(None, children(row, "items"))))
        row["searches"] = row["searches"] or searches or None
        del row["items"]  # the answer itself is not kept
        if row["result"] != "succeeded":
            row["error"] = row["error"] or row["result"]
        hidden = (
            isinstance(row["model"], str) and "profile/" in row["model"]
        )  # does not name the model
        model = (row["told_model"] or row["model"]) if hidden else row["model"]
        failed = row["error"] and not model
        aside = {"aside": "failed before any model answered"} if failed else {}
        yield line, row | {"model": model} | aside


def _invocation_rows(records):
    """Yield a row for each of Bedrock's invocations, also of those that are text in events of CloudWatch."""
    events = (
        (line, event)
        for line, record in records
        for event in unfolded(record, ("events", "logEvents"))
    )
    yield from _answer_rows(
        (line, loaded((event or {}).get("message")) or event or {}) for line, event in events
    )


def _searched(item):
    """Return whether an item of an answer is a completed web search; opening a page is not billed."""
    action = child(item, "action").get("type")
    called = item.get("type") == "web_search_call" and item.get("status") in (None, "completed")
    return called and action in (None, "search")


def _counts(record):
    """Return Bedrock's own counters, which lie beside the bodies of a request and of its answer."""
    sides = child(record, "input") | child(record, "output")
    return {name: value for name, value in sides.items() if "Body" not in name}


def _body(record):
    """Return the answer in a record; the chunks of a streamed answer are put together."""
    response, output = child(record, "response"), child(record, "output")
    body = {}
    for chunk in filter(None, children(output, "outputBodyJson")):
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


def _answer(sheet, *, scope, batch=False, unit=None, timed=True):
    model = sheet.words("model")
    # On Bedrock the total of OpenAI's models counts the cached tokens again.
    hosted = model.str.contains("openai.", regex=False).to_numpy(bool)
    sheet.assume(sheet.cells("odd").eq(True), ODD)
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
    return _answer(sheet, scope="openai_batch_object", batch=True, unit="s") | {
        "aggregate": True,
        "requests": sheet.counts("requests", np.nan),
    }


_GEMINI = {
    "prompt": ("promptTokenCount", "prompt_token_count"),
    "cached": ("cachedContentTokenCount", "cached_content_token_count"),
    "answer": (
        "candidatesTokenCount",
        "candidates_token_count",
        "responseTokenCount",  # of the Live API
        "response_token_count",
    ),
    "thoughts": ("thoughtsTokenCount", "thoughts_token_count"),
    "tools": ("toolUsePromptTokenCount", "tool_use_prompt_token_count"),
    "total": ("totalTokenCount", "total_token_count"),
    "traffic": ("trafficType", "traffic_type"),
    "tier": ("serviceTier", "service_tier"),
}
_DETAILS = {
    "input": ("promptTokensDetails", "prompt_tokens_details"),
    "cache": ("cacheTokensDetails", "cache_tokens_details"),
    "tool": ("toolUsePromptTokensDetails", "tool_use_prompt_tokens_details"),
    "output": (
        "candidatesTokensDetails",
        "candidates_tokens_details",
        "responseTokensDetails",
        "response_tokens_details",
    ),
}
_MEDIA = ("audio", "image", "video")
_TEXT = ("text", "document", "modality_unspecified")
_GEMINI_USAGES = ("usageMetadata", "usage_metadata")
_gemini_fields = picked(
    {
        "time": (
            "logged_at",
            "timestamp",
            "time",
            "createTime",
            "create_time",
            "created_at",
            "processed_time",
        ),
        "model": ("modelVersion", "model_version", "model"),
        "id": ("responseId", "response_id"),
        "finish": ("candidates.finishReason",),
        "queries": (
            "candidates.groundingMetadata.webSearchQueries",
            "candidates.grounding_metadata.web_search_queries",
        ),
    }
    | {
        name: tuple(f"{usage}.{place}" for usage in _GEMINI_USAGES for place in places)
        for name, places in (_GEMINI | _DETAILS).items()
    }
    | same("in_batch", "aside"),
    usage=_GEMINI_USAGES,
    idle=[
        f"{name}.{field}"
        for names in _DETAILS.values()
        for name in names
        for field in ("tokenCount", "token_count")
    ],
)


def _gemini_answers(records):
    """Yield answers; a line of a batch's results, and one of Cloud Code, holds its own under `response`."""
    for line, record in records:
        in_batch = bool({"key", "processed_time"} & record.keys())
        aside = "failed before any model answered" if in_batch and record.get("error") else None
        about = {"in_batch": in_batch, "aside": aside}
        yield line, record | child(record, "response") | about


def _gemini_rows(records):
    """Yield a row for each answer, with its counts by side and modality; an unknown modality is reported."""
    for line, row in _gemini_fields(_gemini_answers(records)):
        sums = {}
        for side in _DETAILS:
            for item in filter(None, children(row, side)):
                kind = str(item.get("modality") or _TEXT[0]).lower()
                count = item.get("tokenCount", item.get("token_count"))
                sums.setdefault((side, kind), []).append(count)
        known = {(side, kind): added(counts) for (side, kind), counts in sums.items()}
        row |= {f"{side}_{kind}": known.get((side, kind)) for side in _DETAILS for kind in _MEDIA}
        strange = {
            f"{side} {kind}": count
            for (side, kind), count in known.items()
            if kind not in (*_MEDIA, *_TEXT)
        }
        row["unread"] = (row["unread"] or {}) | Counters(()).left(strange) or None
        row["searches"] = len(children(row, "queries")) or None
        del row["queries"]  # what was searched for is not kept
        yield line, row


def _gemini(sheet):
    tokens = buckets(
        sheet,
        sheet.counts("prompt", missing=None) + sheet.counts("tools"),
        sheet.counts("answer"),
        read=sheet.counts("cached"),
        cache_inside=True,
        reasoning=sheet.counts("thoughts"),
        reasoning_inside=False,
        total=sheet.numbers("total"),
    )
    parts = {}
    for kind in _MEDIA:
        prompt, cached, tool, output = (sheet.counts(f"{side}_{kind}") for side in _DETAILS)
        prompt = np.maximum(prompt - cached, 0) + tool
        parts[f"input_{kind}_tokens"] = "uncached_input_tokens", prompt
        parts[f"cache_{kind}_read_tokens"] = "cache_read_tokens", cached
        parts[f"output_{kind}_tokens"] = "output_tokens", output
    model = sheet.models("model")
    # Google bills searches of Gemini 3 one by one, those of earlier models once an answer.
    once = pd.Series(model, dtype=object).astype("str").str.match("gemini-[12]").to_numpy(bool)
    searches = sheet.counts("searches")
    batch = sheet.cells("in_batch").eq(True).to_numpy(bool)
    untimed = sheet.empty("time")
    sheet.refuse(untimed & ~batch, "no time")
    sheet.assume(untimed, UNTIMED_CALLS)
    tier = tiers(sheet, "traffic", "tier")
    parts["web_searches"] = None, np.where(once, np.minimum(searches, 1), searches)
    return (
        units(sheet, tokens, parts)
        | tier
        | {
            "batch": tier["batch"] | batch,
            "at": sheet.times("time", missing=True),
            "model_id": model,
            "platform": np.where(sheet.empty("traffic"), None, "vertex"),
            "status": sheet.finished("finish"),
            "source": "recorded",
            "key": sheet.identity("gemini", "id"),
            "own_tokens": sheet.numbers("total"),
        }
    )


_openai = partial(_answer, scope="openai", unit="s")
READERS = (
    Reader(
        "bedrock_log",
        (
            ("schemaType=ModelInvocationLog", "modelId"),
            ("events.message", "events.ingestionTime"),  # as CloudWatch hands out its logs
            ("logEvents.message", "messageType"),
        ),
        partial(_answer, scope="bedrock"),
        _invocation_rows,
    ),
    Reader(
        "bedrock_batch",
        (("recordId", "modelOutput"), ("recordId", "modelInput", "error")),
        partial(_answer, scope="bedrock", batch=True, timed=False),
        _answer_rows,
    ),
    Reader(
        "openai_batch",
        (("custom_id", "response.body"), ("custom_id", "response", "error.code")),
        partial(_openai, batch=True, timed=False),  # embeddings have no time
        _answer_rows,
    ),
    Reader(
        "openai_batch_object",
        (("object=batch", "request_counts", "usage"),),
        _batch_object,
        _answer_rows,
        provider="openai",
        kind="usage",
    ),
    Reader(
        "openai_answers",
        (
            ("object=response", "usage"),
            ("object=chat.completion", "usage"),
            ("object=chat.completion.chunk", "usage"),
            ("response.object=response", "response.usage"),  # events of a stream
        ),
        _openai,
        _answer_rows,
    ),
    Reader(
        "anthropic_batch",
        (("custom_id", "result.type"),),
        partial(_answer, scope="anthropic", batch=True, timed=False),
        _answer_rows,
    ),
    Reader(
        "anthropic_answers",
        (("type=message", "role", "usage.input_tokens"),),
        partial(_answer, scope="anthropic", timed=False),
        _answer_rows,
    ),
    Reader(
        "gemini",
        (
            ("usageMetadata.promptTokenCount",),
            ("usage_metadata.prompt_token_count",),
            ("response.usageMetadata.promptTokenCount",),
        ),
        _gemini,
        _gemini_rows,
    ),
)
