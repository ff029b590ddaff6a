"""Coding agents: telemetry of Claude Code and Gemini CLI, Gemini CLI's sessions, `codex exec --json`, usage of Cursor and
GitHub Copilot, and Anthropic's report on Claude Code.

Claude Code, Cursor and Copilot count the cache beside the input, Gemini CLI and Codex inside; Gemini's thoughts and the
prompts of its tools stand beside its counters. What an agent says that a call cost is its own estimate at list prices,
on a subscription too: it is not taken for a bill. Cursor and Copilot say what was charged.
"""

from functools import partial

import numpy as np

from tierlab.usage.counters import Counters
from tierlab.usage.formats.calls import calls
from tierlab.usage.formats.otel import attributes_of
from tierlab.usage.reader import Reader, added, child, picked

_ESTIMATE = "the cost that an agent estimates at list prices is not a bill: it is left out"
# Events, in OTLP or as the client's exporter writes them.
_EVENT = {
    "at": ("event.timestamp",),
    "model": ("model",),
    "input": ("input_tokens", "input_token_count"),
    "output": ("output_tokens", "output_token_count"),
    "read": ("cache_read_tokens", "cached_content_token_count"),
    "write": ("cache_creation_tokens",),
    "reasoning": ("thoughts_token_count",),
    "tool": ("tool_token_count",),
    "total": ("total_token_count",),
    "estimate": ("cost_usd",),
    "ms": ("duration_ms",),
    "code": ("status_code",),
    "error": ("error", "error_type"),
    "user": ("user.id",),
    "session": ("session.id",),
    "speed": ("speed",),
    "request": ("request_id",),
    "sequence": ("event.sequence", "event.timestamp"),
    "finish": ("finish_reasons",),
}
_EVENTS = Counters([(name,) for names in _EVENT.values() for name in names])
_REQUESTS = ("api_request", "api_error", "gemini_cli.api_response", "gemini_cli.api_error")
_TOLD_TWICE = "gen_ai.client.inference.operation.details"
_records = picked(
    {"attributes": ("attributes",)}, lists=("resourceLogs", "scopeLogs", "logRecords")
)


def _events(records):
    """A row per event."""
    for line, record in _records(records):
        said = attributes_of(record or {})
        row = {
            ours: next((said[name] for name in names if said.get(name) is not None), None)
            for ours, names in _EVENT.items()
        }
        name = str(said.get("event.name")).removeprefix("claude_code.")
        aside = None if name in _REQUESTS else "an event that is not a request"
        if name == _TOLD_TWICE:
            aside = "says a request again that gemini_cli.api_response tells"
        nested = {key for key, value in said.items() if isinstance(value, dict | list)}
        counters = {key: said[key] for key in said if "token" in key or key in nested}
        row["unread"] = _EVENTS.left(counters) or None
        row["input"] = added([row["input"], row["tool"]])
        row["error"] = row["error"] or ("error" if name.endswith("api_error") else None)
        row["speed"] = None if row["speed"] == "normal" else row["speed"]
        row["id"] = row["request"] or f"{row['session']}/{row['sequence']}"
        yield line, row | {"aside": aside, "inside": name.startswith("gemini")}


def _telemetry(sheet):
    sheet.assume(~sheet.empty("estimate"), _ESTIMATE, sheet.numbers("estimate", 0.0))
    return calls(
        sheet,
        scope="agent_telemetry",
        inside=sheet.cells("inside").eq(True).to_numpy(bool),
        reasoning_inside=False,
    )


_session_fields = picked(
    {
        "at": ("timestamp",),
        "id": ("id",),
        "model": ("model",),
        "input": ("tokens.input",),
        "output": ("tokens.output",),
        "read": ("tokens.cached",),
        "reasoning": ("tokens.thoughts",),
        "tool": ("tokens.tool",),
        "total": ("tokens.total",),
    },
    usage=("tokens",),
)


def _sessions(records):
    """A row per message of a Gemini CLI session; a message may be written again."""
    for line, row in _session_fields(records):
        aside = "a line without usage" if row["input"] is None else None
        yield line, row | {"input": added([row["input"], row["tool"]]), "aside": aside}


# Codex. The counters of a turn are those of the thread so far.
_COUNTERS = {
    "input": "input_tokens",
    "read": "cached_input_tokens",
    "write": "cache_write_input_tokens",
    "output": "output_tokens",
    "reasoning": "reasoning_output_tokens",
}
_TURN = Counters(_COUNTERS.values())


def _exec_rows(records):
    """A row per line; a turn's counts are what the thread's have grown by."""
    before, thread = {}, None
    for line, record in records:
        usage, thread = child(record, "usage"), record.get("thread_id") or thread
        if record.get("type") != "turn.completed" or not usage:
            yield line, {"aside": "a line without usage"}
            continue
        row = {ours: usage.get(theirs) for ours, theirs in _COUNTERS.items()}
        seen = before.get(thread, {})
        grown = {name: added([count, -seen.get(name, 0)]) for name, count in row.items()}
        counts = {name: count for name, count in row.items() if type(count) in (int, float)}
        before[thread] = seen | counts
        grown |= {"unread": _TURN.left(usage) or None, "first": not seen}
        yield line, grown | {"model": "codex", "id": f"{thread}/{list(row.values())}"}


def _exec(sheet):
    sheet.assume(
        sheet.cells("first").eq(True),
        "a thread that may have been resumed here: what came before counts too",
    )
    sheet.assume(
        ~sheet.empty("model"), "no model in this log: 'codex', which an alias leads to a model"
    )
    return calls(sheet, scope="codex_exec", inside=True, timed=False)


_cursor_rows = picked(
    {
        "at": ("Date",),
        "kind": ("Kind",),
        "model": ("Model",),
        "write": ("Input (w/ Cache Write)",),
        "input": ("Input (w/o Cache Write)",),
        "read": ("Cache Read",),
        "output": ("Output Tokens",),
        "total": ("Total Tokens", "Tokens"),
        "usd": ("Cost to you", "Cost", "Cost ($)"),
        "user": ("User",),
        "agent": ("Cloud Agent ID",),
        "automation": ("Automation ID",),
        "mode": ("Max Mode",),
        "requests_of_plan": ("Requests",),
    },
    usage=("",),
)


def _cursor(sheet):
    kind = sheet.words("kind")
    sheet.raw["error"] = kind.where(kind.str.contains("errored|aborted")).to_numpy(object)
    key = sheet.identity("cursor", *sheet.raw.columns)
    return calls(sheet, scope="cursor", inside=False) | {"key": key}


_copilot_rows = picked(
    {
        "at": ("date",),
        "model": ("model",),
        "unit_type": ("unit_type",),
        "input": ("input", "total_input_tokens"),
        "output": ("output", "total_output_tokens"),
        "read": ("cache_read", "total_cache_read_tokens"),
        "write": ("cache_write", "total_cache_creation_tokens"),
        "usd": ("net_amount",),
        "user": ("username",),
        "team": ("cost_center_name", "organization"),
        "repository": ("repository",),
    },
    usage=("",),
    idle=(
        "quantity",
        "applied_cost_per_quantity",
        "gross_amount",
        "discount_amount",
        "total_monthly_quota",
        "aic_quantity",
        "aic_gross_amount",
    ),
)


def _copilot(sheet):
    tokens = sheet.words("unit_type") == "ai-credits"
    sheet.refuse(~tokens, "counted in another unit than tokens", "unit_type")
    auto = sheet.words("model").str.startswith("auto: ")
    sheet.assume(auto, "a model chosen by 'Auto' is charged at nine tenths of its price")
    sheet.raw["model"] = sheet.cells("model").astype("str").str.removeprefix("Auto: ")
    return _daily(calls(sheet, scope="copilot", inside=False), sheet) | {
        "platform": "github-copilot"
    }


_report_rows = picked(
    {
        "at": ("date",),
        "model": ("model",),
        "input": ("tokens.input",),
        "output": ("tokens.output",),
        "read": ("tokens.cache_read",),
        "write": ("tokens.cache_creation",),
        "estimate": ("estimated_cost.amount",),
        "user": ("actor.email_address", "actor.api_key_name"),
        "team": ("organization_id",),
        "customer": ("customer_type",),
        "terminal": ("terminal_type",),
        "has_more": ("has_more",),
    },
    lists=("data", "model_breakdown"),
    usage=("tokens",),
)


def _report(sheet):
    sheet.assume_pages()
    dollars = sheet.numbers("estimate", 0.0) / 100
    sheet.assume(~sheet.empty("estimate"), _ESTIMATE, dollars)
    return _daily(calls(sheet, scope="claude_code_report", inside=False, zone="UTC"), sheet)


def _daily(found, sheet):
    """The columns of rows that are a day's sums, each named by what it is the sum of."""
    names = ("at", "model", "user", "team", "customer", "terminal", "repository")
    key = sheet.identity("daily", *(name for name in names if name in sheet))
    return found | {"aggregate": True, "requests": np.nan, "key": key}


READERS = (
    Reader(
        "agent_telemetry",
        (("resourceLogs",), ("hrTime", "hrTimeObserved", "attributes")),
        _telemetry,
        _events,
    ),
    Reader(
        "gemini_cli_session",
        (("type=gemini", "tokens.input"),),
        partial(calls, scope="gemini_cli", inside=True, reasoning_inside=False),
        _sessions,
    ),
    Reader(
        "codex_exec",
        (("type=thread.started", "thread_id"), ("type=turn.completed", "usage.input_tokens")),
        _exec,
        _exec_rows,
        whole=True,
    ),
    Reader(
        "cursor",
        (
            ("Date", "Model", "Input (w/ Cache Write)", "Input (w/o Cache Write)"),
            ("Date", "Kind", "Max Mode", "Model", "Tokens"),
        ),
        _cursor,
        _cursor_rows,
    ),
    Reader(
        "copilot",
        (
            ("sku", "unit_type", "gross_amount", "input", "cache_write"),
            ("sku", "unit_type", "gross_amount", "total_input_tokens"),
        ),
        _copilot,
        _copilot_rows,
        kind="usage",
    ),
    Reader(
        "claude_code_analytics",
        (("data.model_breakdown", "data.core_metrics"), ("model_breakdown", "core_metrics")),
        _report,
        _report_rows,
        provider="anthropic",
        kind="usage",
    ),
)
