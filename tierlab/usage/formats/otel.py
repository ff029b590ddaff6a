"""OpenTelemetry: GenAI spans in OTLP/JSON, under the attribute names of today and of earlier conventions.

Input includes both cache kinds, output includes reasoning (semantic conventions, GenAI registry). Integers of
OTLP/JSON are text. Metrics hold no single requests and are not read.
"""

import numpy as np
import pandas as pd

from tierlab.usage.reader import Reader, child, children
from tierlab.usage.sheet import buckets, status_of

_USAGE = "gen_ai.usage."
_NAMES = {
    "input": (f"{_USAGE}input_tokens", f"{_USAGE}prompt_tokens", "llm.usage.prompt_tokens"),
    "output": (
        f"{_USAGE}output_tokens",
        f"{_USAGE}completion_tokens",
        "llm.usage.completion_tokens",
    ),
    "read": (
        f"{_USAGE}cache_read.input_tokens",
        f"{_USAGE}cache_read_input_tokens",
        f"{_USAGE}input_tokens.cached",
    ),
    "write": (
        *(f"{_USAGE}cache_creation.input_tokens", f"{_USAGE}cache_creation_input_tokens"),
        f"{_USAGE}input_tokens.cache_write",
    ),
    "reasoning": (
        f"{_USAGE}reasoning.output_tokens",
        f"{_USAGE}reasoning_tokens",
        f"{_USAGE}output_tokens.reasoning",
    ),
    "response_model": ("gen_ai.response.model",),
    "request_model": ("gen_ai.request.model",),
    "ttft": ("gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token"),
    "user": ("user.id", "enduser.id", "gen_ai.user.id"),
    "error": ("error.type", "http.response.status_code"),
    "total": (f"{_USAGE}total_tokens", "llm.usage.total_tokens"),
}
_PARENTS = (
    "invoke_agent",
    "create_agent",
    "execute_tool",
    "invoke_workflow",
)  # their usage is their children's


def _rows(records):
    for line, record in records:
        if "resourceMetrics" in record:
            yield line, {"aside": "metrics hold no single requests: export spans"}
            continue
        groups = (
            children(record, "resourceSpans")
            if "resourceSpans" in record
            else [{"scopeSpans": [{"spans": [record]}]}]
        )
        for group in groups:
            resource = _attributes(child(group or {}, "resource"))
            scopes = (
                [None]
                if group is None
                else children(group, "scopeSpans") or children(group, "instrumentationLibrarySpans")
            )
            for span in (
                span for scope in scopes for span in (children(scope, "spans") if scope else [None])
            ):
                yield line, None if span is None else _span(span, resource)


def _span(span, resource):
    attributes = _attributes(span)
    row = {
        ours: next((attributes[name] for name in names if attributes.get(name) is not None), None)
        for ours, names in _NAMES.items()
    }
    finish = attributes.get("gen_ai.response.finish_reasons")
    operation = attributes.get("gen_ai.operation.name")
    aside = None
    if not any(name.startswith(("gen_ai.", "llm.")) for name in attributes):
        aside = "a span without GenAI attributes"
    elif operation in _PARENTS:
        aside = "an agent's or a tool's span: the usage is in the spans below it"
    return row | {
        "start": span.get("startTimeUnixNano"),
        "end": span.get("endTimeUnixNano"),
        "trace": span.get("traceId"),
        "span": span.get("spanId"),
        "finish": finish[0] if isinstance(finish, list) and finish else finish,
        "failed": child(span, "status").get("code") in (2, "STATUS_CODE_ERROR"),
        "task": resource.get("service.name"),
        "team": resource.get("service.namespace"),
        "aside": aside,
    }


def _attributes(holder):
    """Attributes as a dict, from OTLP's list of keys and typed values or from a plain object."""
    given = holder.get("attributes")
    if isinstance(given, dict):
        return given
    pairs = [
        pair for pair in children(holder, "attributes") if pair and isinstance(pair.get("key"), str)
    ]
    return {pair["key"]: _value(child(pair, "value")) for pair in pairs}


def _value(typed):
    if "arrayValue" in typed:
        return [_value(item) for item in children(child(typed, "arrayValue"), "values") if item]
    return next((value for name, value in typed.items() if name.endswith("Value")), None)


def _columns(sheet):
    sheet.refuse(
        sheet.empty("input") & sheet.empty("output") & ~sheet.cells("failed").eq(True),
        "no token counts",
    )
    whole, output, read, write = (
        sheet.counts(name) for name in ("input", "output", "read", "write")
    )
    sheet.assume(write > 0, "cache writes without a time to live, taken as 5 minutes")
    reasoning = sheet.counts("reasoning", np.nan)
    start, end = (sheet.times(name, unit="ns", missing=name == "end") for name in ("start", "end"))
    code = np.nan_to_num(sheet.durations("error"))
    failed = sheet.cells("failed").eq(True).to_numpy(bool)
    words = pd.Series(sheet.text("error"), dtype=object).fillna("").astype("str").str.lower()
    named = np.where(
        words.str.contains("timeout"),
        "timeout",
        np.where(words.str.contains(r"rate.?limit|too.?many"), "rate_limited", "unavailable"),
    )
    failure = np.where(code >= 400, [status_of(int(c)) for c in np.clip(code, 0, 999)], named)
    return buckets(
        sheet, whole, read, write, 0.0, output, cache_inside=True, reasoning=reasoning
    ) | {
        "at": start,
        "model_id": sheet.models("response_model", "request_model"),
        "task": sheet.text("task"),
        "team": sheet.text("team"),
        "user": sheet.text("user"),
        "status": np.where(failed, failure, sheet.finished("finish")),
        "ttft_s": sheet.durations("ttft"),
        "end_to_end_s": sheet.seconds(start, end),
        "source": "recorded",
        "key": sheet.identity("otel", "trace", "span"),
        "own_tokens": np.where(sheet.empty("total"), whole + output, sheet.numbers("total")),
    }


READERS = (
    Reader(
        "otel",
        (("resourceSpans",), ("resourceMetrics",), ("spanId", "startTimeUnixNano", "attributes")),
        _columns,
        _rows,
    ),
)
