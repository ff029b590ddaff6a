"""OpenTelemetry: GenAI spans in OTLP/JSON, under the attribute names of today and of earlier conventions.

Input includes both cache kinds, output includes reasoning (semantic conventions, GenAI registry). Integers of
OTLP/JSON are text. Metrics hold no single requests and are not read.
"""

import numpy as np

from tierlab.usage.reader import Reader, child, children, picked, same
from tierlab.usage.sheet import UNTIMED, buckets, statuses

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
        f"{_USAGE}cache_creation.input_tokens",
        f"{_USAGE}cache_creation_input_tokens",
        f"{_USAGE}input_tokens.cache_write",
    ),
    "reasoning": (
        f"{_USAGE}reasoning.output_tokens",
        f"{_USAGE}reasoning_tokens",
        f"{_USAGE}output_tokens.reasoning",
    ),
    "finish": ("gen_ai.response.finish_reasons",),
    "response_model": ("gen_ai.response.model",),
    "request_model": ("gen_ai.request.model",),
    "ttft": ("gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token"),
    "user": ("user.id", "enduser.id", "gen_ai.user.id"),
    "error": ("error.type", "http.response.status_code"),
    "total": (f"{_USAGE}total_tokens", "llm.usage.total_tokens"),
}
# The usage of these is their children's.
_PARENTS = ("invoke_agent", "create_agent", "execute_tool", "invoke_workflow")


# Resources hold scopes, scopes hold spans.
_spans = picked(
    same("resource", "resourceMetrics", "attributes")
    | {
        "start": ("startTimeUnixNano",),
        "end": ("endTimeUnixNano",),
        "trace": ("traceId",),
        "span": ("spanId",),
        "code": ("status.code",),
    },
    lists=("resourceSpans", "scopeSpans", "instrumentationLibrarySpans", "spans"),
)


def _rows(records):
    for line, span in _spans(records):
        yield line, span and _row(span)


def _row(span):
    attributes, resource = attributes_of(span), attributes_of(child(span, "resource"))
    row = {
        ours: next((attributes[name] for name in names if attributes.get(name) is not None), None)
        for ours, names in _NAMES.items()
    }
    aside = None
    if span["resourceMetrics"] is not None:
        aside = "metrics hold no single requests: export spans"
    elif not any(name.startswith(("gen_ai.", "llm.")) for name in attributes):
        aside = "a span without GenAI attributes"
    elif attributes.get("gen_ai.operation.name") in _PARENTS:
        aside = "an agent's or a tool's span: the usage is in the spans below it"
    if isinstance(row["finish"], list):
        row["finish"] = next(iter(row["finish"]), None)
    about = {"task": resource.get("service.name"), "team": resource.get("service.namespace")}
    return span | row | about | {"aside": aside}


def attributes_of(holder):
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
    failed = sheet.cells("code").isin((2, "STATUS_CODE_ERROR")).to_numpy(bool)
    sheet.refuse(sheet.empty("input") & sheet.empty("output") & ~failed, "no token counts")
    whole, output, write = (sheet.counts(name) for name in ("input", "output", "write"))
    sheet.assume(write > 0, UNTIMED)
    tokens = buckets(
        sheet,
        whole,
        output,
        read=sheet.counts("read"),
        write_short=write,
        cache_inside=True,
        reasoning=sheet.counts("reasoning", np.nan),
    )
    start, end = (sheet.times(name, unit="ns", missing=name == "end") for name in ("start", "end"))
    words, code = sheet.words("error"), np.nan_to_num(sheet.durations("error"))
    named = np.select(
        [words.str.contains("timeout"), words.str.contains(r"rate.?limit|too.?many")],
        ["timeout", "rate_limited"],
        "unavailable",
    )
    failure = np.where(code >= 400, statuses(sheet, "error", failed), named)
    return tokens | {
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
