"""OpenTelemetry: spans in OTLP/JSON that report calls of a model, in today's and in earlier conventions.

The names of GenAI (all so far, with pydantic-ai's and Sentry's), OpenInference (Phoenix, Arize) and the Vercel AI SDK
are known. Input includes both kinds of cached tokens and output includes reasoning (semantic conventions, GenAI
registry), unless the span's own total, or more cached than input tokens, shows otherwise. Integers are text in
OTLP/JSON. Metrics do not hold single requests and are not read. A span above other spans with usage is their sum
(`tierlab.usage.repeats`).
"""

import numpy as np
import pandas as pd

from tierlab.usage.columns import UNTIMED, buckets, platforms, statuses, tiers, units
from tierlab.usage.reader import Counters, Reader, child, children, loaded, picked, same

_OURS, _OLD, _VERCEL, _INFERENCE = "gen_ai.usage.", "llm.usage.", "ai.usage.", "llm.token_count."
_PREFIXES = (_OURS, _OLD, _VERCEL, _INFERENCE)


def _named(ours="", old="", vercel="", inference=""):
    """Return attribute names, from what follows each prefix; several names of one prefix are separated by spaces."""
    given = zip(_PREFIXES, (ours, old, vercel, inference), strict=True)
    return tuple(prefix + name for prefix, names in given for name in names.split())


# If a counter has several names, the first that is not zero counts, and a different number under another is reported.
_COUNTERS = {
    "input": _named(
        "input_tokens prompt_tokens", "prompt_tokens", "inputTokens promptTokens tokens", "prompt"
    ),
    "output": _named(
        "output_tokens completion_tokens",
        "completion_tokens",
        "outputTokens completionTokens",
        "completion",
    ),
    "read": _named(
        "cache_read.input_tokens cache_read_input_tokens input_tokens.cached cached_tokens"
        " details.cache_read_tokens details.cache_read_input_tokens details.cached_tokens",
        "cache_read_input_tokens",
        "cachedInputTokens inputTokenDetails.cacheReadTokens",
        "prompt_details.cache_read",
    ),
    "write": _named(
        "cache_write.input_tokens cache_creation.input_tokens cache_creation_input_tokens"
        " input_tokens.cache_write details.cache_write_tokens details.cache_creation_input_tokens",
        "cache_creation_input_tokens",
        "inputTokenDetails.cacheWriteTokens",
        "prompt_details.cache_write",
    ),
    "reasoning": _named(
        "reasoning.output_tokens reasoning_tokens output_tokens.reasoning details.reasoning_tokens",
        "reasoning_tokens",
        "reasoningTokens outputTokenDetails.reasoningTokens",
        "completion_details.reasoning",
    ),
    "total": _named("total_tokens", "total_tokens", "totalTokens", "total"),
    "no_cache": _named(vercel="inputTokenDetails.noCacheTokens"),
} | {
    f"{kind}_{side}": _named(name, inference=inference)
    for kind in ("audio", "image")
    for side, name, inference in (
        ("in", f"{kind}.input_tokens", f"prompt_details.{kind}"),
        ("read", f"{kind}.cache_read.input_tokens", ""),
        ("out", f"{kind}.output_tokens", f"completion_details.{kind}"),
    )
}
_IDLE = _named(
    "text.input_tokens text.output_tokens details.input_tokens details.output_tokens",
    vercel="outputTokenDetails.textTokens",
    inference="prompt_details.cache_input",  # all cached tokens, of any kind
)
_counters = Counters([(name,) for names in (*_COUNTERS.values(), _IDLE) for name in names])
_SAID = (  # Anthropic's own counters, which the Vercel AI SDK hands on
    "cacheCreationInputTokens",
    "usage.input_tokens",
    "usage.output_tokens",
    "usage.cache_read_input_tokens",
    "usage.cache_creation_input_tokens",
)
_said = Counters(_SAID)
_NAMES = _COUNTERS | {
    "finish": ("gen_ai.response.finish_reasons", "ai.response.finishReason"),
    "response_model": ("gen_ai.response.model", "ai.response.model"),
    "request_model": (
        "gen_ai.request.model",
        "ai.model.id",
        "llm.model_name",
        "embedding.model_name",
        "model_name",
    ),
    "response": ("gen_ai.response.id", "ai.response.id"),
    "provider": ("gen_ai.provider.name", "gen_ai.system", "ai.model.provider", "llm.provider"),
    "tier": ("openai.response.service_tier", "gen_ai.openai.response.service_tier"),
    "ttft": ("gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token"),
    "user": ("user.id", "enduser.id", "gen_ai.user.id"),
    "session": ("gen_ai.conversation.id", "session.id"),
    "error": ("error.type", "http.response.status_code"),
}
_PLACES = {  # attribute -> its place in the order of preference, the field it is for, and itself
    name: (place, ours, name)
    for place, (ours, name) in enumerate(
        (ours, name) for ours, names in _NAMES.items() for name in names
    )
}
# The usage of these spans is that of their children.
_PARENTS = ("invoke_agent", "create_agent", "execute_tool", "invoke_workflow")
_TWINS = "tokens of spans beside each other with the same counts: is one call told twice?"
_CALLS = ("LLM", "EMBEDDING")  # OpenInference's kinds of span that are calls of a model


# Resources hold scopes, scopes hold spans.
_spans = picked(
    same("resource", "resourceMetrics", "attributes")
    | {
        "start": ("startTimeUnixNano",),
        "end": ("endTimeUnixNano",),
        "trace": ("traceId",),
        "span": ("spanId",),
        "parent": ("parentSpanId",),
        "code": ("status.code",),
    },
    lists=("resourceSpans", "scopeSpans", "instrumentationLibrarySpans", "spans"),
)


def _rows(records):
    for line, span in _spans(records):
        yield line, span and _row(span)


def _row(span):
    attributes, resource = attributes_of(span), attributes_of(child(span, "resource"))
    row, left = dict.fromkeys(_NAMES), {}
    for _, ours, name in sorted(_PLACES[name] for name in attributes.keys() & _PLACES.keys()):
        value = attributes[name]
        if not row[ours]:
            row[ours] = row[ours] if value is None else value
        elif value and value != row[ours] and ours in _COUNTERS:
            left[name] = value
    usage = {name: value for name, value in attributes.items() if name.startswith(_PREFIXES)}
    left = (Counters(()).left(left) if left else {}) | _counters.left(usage)
    kind = attributes.get("openinference.span.kind")
    aside = None
    if span["resourceMetrics"] is not None:
        aside = "metrics hold no single requests: export spans"
    elif not any(name.startswith(("gen_ai.", "llm.", "ai.")) for name in attributes):
        aside = "a span without GenAI attributes"
    elif attributes.get("gen_ai.operation.name") in _PARENTS or kind not in (None, *_CALLS):
        aside = "an agent's or a tool's span: the usage is in the spans below it"
    if isinstance(row["finish"], list):
        row["finish"] = next(iter(row["finish"]), None)
    # Before version 6, the Vercel AI SDK has cache writes only among the provider's own counters.
    said = child(loaded(attributes.get("ai.response.providerMetadata")), "anthropic")
    usage = child(said, "usage")
    row["write"] = row["write"] or said.get(_SAID[0]) or usage.get("cache_creation_input_tokens")
    left |= _said.left(said)
    row |= {"task": resource.get("service.name"), "team": resource.get("service.namespace")}
    row |= {"vercel": attributes.get("ai.model.provider"), "aside": aside, "unread": left or None}
    return span | row


def attributes_of(holder):
    """Return attributes as a dict, from OTLP's list of keys and typed values or from a plain object."""
    given = holder.get("attributes")
    if isinstance(given, dict):
        return _flat(given) if any(isinstance(value, dict) for value in given.values()) else given
    pairs = [
        pair for pair in children(holder, "attributes") if pair and isinstance(pair.get("key"), str)
    ]
    return {pair["key"]: _value(child(pair, "value")) for pair in pairs}


def _flat(nested, prefix=""):
    """Return nested objects as one object with dotted names."""
    found = {}
    for name, value in nested.items():
        deeper = isinstance(value, dict)
        found |= _flat(value, f"{prefix}{name}.") if deeper else {f"{prefix}{name}": value}
    return found


def _value(typed):
    if "arrayValue" in typed:
        return [_value(item) for item in children(child(typed, "arrayValue"), "values") if item]
    return next((value for name, value in typed.items() if name.endswith("Value")), None)


def _failures(sheet):
    """Return failure words, from the HTTP status or the name of an error in one column."""
    words, code = sheet.words("error"), np.nan_to_num(sheet.durations("error"))
    named = np.select(
        [words.str.contains("timeout"), words.str.contains(r"rate.?limit|too.?many")],
        ["timeout", "rate_limited"],
        "unavailable",
    )
    return np.where(code >= 400, statuses(sheet, "error", True), named)


def _columns(sheet):
    failed = sheet.cells("code").isin((2, "STATUS_CODE_ERROR")).to_numpy(bool)
    sheet.refuse(sheet.empty("input") & sheet.empty("output") & ~failed, "no token counts")
    whole, output, read, write = (
        sheet.counts(name) for name in ("input", "output", "read", "write")
    )
    sheet.assume(write > 0, UNTIMED)
    # Before version 6, Vercel's SDK hands Anthropic's counters on, and its total sums only those that it knows.
    vercel = sheet.words("vercel").str.startswith("anthropic") & sheet.empty("no_cache")
    beside = (read + write > whole) | vercel.to_numpy(bool)
    total = np.where(beside & (read + write > 0), np.nan, sheet.numbers("total"))
    tokens = buckets(
        sheet,
        np.where(beside, whole + read + write, whole),
        output,
        read=read,
        write_short=write,
        cache_inside=True,
        reasoning=sheet.counts("reasoning", np.nan),
        total=total,
    )
    parts = {}
    for kind in ("audio", "image"):
        prompt, cached, made = (sheet.counts(f"{kind}_{side}") for side in ("in", "read", "out"))
        parts[f"input_{kind}_tokens"] = "uncached_input_tokens", np.maximum(prompt - cached, 0)
        parts[f"cache_{kind}_read_tokens"] = "cache_read_tokens", cached
        parts[f"output_{kind}_tokens"] = "output_tokens", made
    start, end = (sheet.times(name, unit="ns", missing=name == "end") for name in ("start", "end"))
    span, parent = (sheet.identity("otel", "trace", name) for name in ("span", "parent"))
    response = sheet.identity("otel", "response")
    twins = pd.DataFrame({"parent": parent, "whole": whole, "output": output})
    twins = twins.duplicated() & ~(twins.assign(response=response).duplicated() & (response != 0))
    twins &= ~sheet.empty("parent") & (output > 0)
    sheet.assume(twins, _TWINS, whole + output)
    return (
        units(sheet, tokens, parts)
        | tiers(sheet, "tier")
        | {
            "at": start,
            "model_id": sheet.models("response_model", "request_model"),
            "platform": platforms(sheet, "provider"),
            "task": sheet.text("task"),
            "team": sheet.text("team"),
            "user": sheet.text("user"),
            "session_id": sheet.text("session"),
            "status": np.where(failed, _failures(sheet), sheet.finished("finish")),
            "ttft_s": sheet.durations("ttft"),
            "end_to_end_s": sheet.seconds(start, end),
            "source": "recorded",
            # Two instrumentations may report one answer side by side: in one trace, its id is one call.
            "key": np.where(response == 0, span, response),
            "call": np.where(
                response == 0, np.uint64(0), sheet.identity("call", "trace", "response")
            ),
            "span": np.where(sheet.empty("span"), np.uint64(0), span),
            "parent": np.where(sheet.empty("parent"), np.uint64(0), parent),
            "own_tokens": total,
        }
    )


READERS = (
    Reader(
        "otel",
        (("resourceSpans",), ("resourceMetrics",), ("spanId", "startTimeUnixNano", "attributes")),
        _columns,
        _rows,
    ),
)
