"""Coding agents: sessions of Claude Code, Codex and Gemini CLI, their telemetry, and usage of Cursor and GitHub Copilot.

Claude Code, Cursor and Copilot count the cache beside the input, Gemini CLI and Codex inside it; Gemini's thoughts and
the prompts of its tools stand beside its other counters. What an agent says that a call cost is its own estimate at list
prices, on a subscription too, and is not taken for a bill. Cursor and Copilot say what was charged.

Claude Code writes one response on 2 to 14 lines, partial output first: rows with one message id are one request, the
one with the most output, at the first time. Codex writes what the last request used and a running total; a total
that was there before is not a new request.
"""

from collections import Counter
from functools import partial
from operator import itemgetter

import numpy as np
import pandas as pd

from tierlab.usage.columns import UNTIMED, buckets, calls, places, tiers, units
from tierlab.usage.formats.answers import ODD, is_count, messages
from tierlab.usage.formats.otel import attributes_of
from tierlab.usage.reader import Counters, Reader, added, child, picked, same

_CLAUDE_COUNTERS = {
    "input": "input_tokens",
    "read": "cache_read_input_tokens",
    "written": "cache_creation_input_tokens",
    "write_short": "cache_creation.ephemeral_5m_input_tokens",
    "write_long": "cache_creation.ephemeral_1h_input_tokens",
    "output": "output_tokens",
    "thinking": "output_tokens_details.thinking_tokens",
    "searches": "server_tool_use.web_search_requests",
}
_counted = picked(
    {ours: (theirs,) for ours, theirs in _CLAUDE_COUNTERS.items()} | same("model", "odd"),
    usage=("",),
    idle=("server_tool_use.web_fetch_requests",),  # fetched pages come in as input tokens
)
_claude_records = picked(
    same("type", "requestId", "isSidechain")
    | {
        "at": ("timestamp",),
        "id": ("message.id", "requestId", "uuid"),
        "session": ("sessionId",),
        "model": ("message.model",),
        "stop": ("message.stop_reason",),
        "usage": ("message.usage",),
        "service_tier": ("message.usage.service_tier",),
        "speed": ("message.usage.speed",),
        "geo": ("message.usage.inference_geo",),
    }
)


def _claude_rows(records):
    """Yield a row for each message, and for each iteration outside its counters or of another model."""
    for line, row in _claude_records(records):
        found = messages(child(row, "usage"), row["model"])
        for place, (_, counts) in enumerate(_counted((line, usage) for usage in found)):
            mine = {"id": f"{row['id']}#{place}"} if place else {}
            yield line, row | counts | {"model": counts["model"] or row["model"]} | mine


def _claude(sheet):
    told = (sheet.cells("type") == "assistant") & sheet.cells("usage").map(bool)
    sheet.refuse(~told, "a line without usage")
    sheet.refuse(
        sheet.cells("model") == "<synthetic>", "written by the client itself, not by a model"
    )
    # A side chain repeats messages of its parent under other requests.
    side = sheet.cells("isSidechain").eq(True).to_numpy(bool)
    written, short, long = (sheet.counts(name) for name in ("written", "write_short", "write_long"))
    untimed = np.maximum(written - short - long, 0)
    sheet.assume(untimed > 0, UNTIMED)
    sheet.assume(sheet.cells("odd").eq(True), ODD)
    tokens = buckets(
        sheet,
        sheet.counts("input", missing=None),
        sheet.counts("output", missing=None),
        read=sheet.counts("read"),
        write_short=short + untimed,
        write_long=long,
        cache_inside=False,
        reasoning=sheet.counts("thinking", np.nan),
    )
    tokens = units(sheet, tokens, {"web_searches": (None, sheet.counts("searches"))})
    return (
        tokens
        | tiers(sheet, "service_tier", "speed")
        | {
            "model_id": sheet.models("model"),
            "region": places(sheet, "geo"),
            "at": sheet.times("at"),
            "session_id": sheet.text("session"),
            "status": sheet.finished("stop"),
            "source": "recorded",
            "key": sheet.identity("claude_code", "id"),
            "call": np.where(side, np.uint64(0), sheet.identity("claude_code call", "requestId")),
        }
    )


_CODEX_COUNTERS = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
    "total_tokens",
)
_codex_records = picked(
    same("type", "ordinal")
    | {
        "at": ("timestamp",),
        "kind": ("payload.type",),
        "model": ("payload.thread_settings.model", "payload.model"),
        "tier": ("payload.thread_settings.service_tier",),
        "id": ("payload.id",),
        "fork": ("payload.forked_from_id",),
        "start": ("payload.subagent_history_start_ordinal",),
        "response": ("payload.response_id",),
        "usage": ("payload.usage",),
        "last": ("payload.info.last_token_usage",),
        "total": ("payload.info.total_token_usage",),
    }
)
_codex_counters = Counters(_CODEX_COUNTERS)
_RECORD = "token_usage_record"  # stands beside token_count since 2026, with the same counts
_REPLAY_S = 1.0  # a fork writes its parent's lines in one go: no model answers within that time


def _codex_rows(records):
    """Yield a row for each line; a request's counts are those of last_token_usage, or the growth of the total."""
    # A running total needs its lines in order, so all lines of a file are held at once, without the text in them.
    records = sorted(_codex_records(records), key=lambda pair: str(pair[1]["at"]))
    rows = [row for _, row in records]
    turns = [row["model"] for row in rows if row["type"] == "turn_context" and row["model"]]
    about = {"model": turns[0] if turns else None, "tier": None}
    session, replayed = _codex_session(records)
    recorded = Counter(_mark(row["usage"]) for row in rows if row["type"] == _RECORD)
    seen, highest = set(), dict.fromkeys(_CODEX_COUNTERS, 0)
    for (line, row), replay in zip(records, replayed, strict=True):
        if row["kind"] == "thread_settings_applied":
            about["tier"] = row["tier"]
        if row["type"] == "turn_context" or row["kind"] == "thread_settings_applied":
            about["model"] = row["model"] or about["model"]
        last, total, usage = (child(row, name) for name in ("last", "total", "usage"))
        mark = _mark(total)
        counts, aside, own = last, None, None
        if row["type"] == _RECORD and usage:
            counts, mark = usage, str(row["response"])
        elif row["kind"] != "token_count" or not (last or total):
            aside = "a line without usage"
        elif total and mark in seen:
            aside = "says the running total again: no new request"
        else:
            seen.add(mark)
            grown, highest = _growth(total, highest)
            counts, own = last or grown, grown["total_tokens"]
            if recorded[_mark(counts)]:
                recorded[_mark(counts)] -= 1
                aside = "says again what a record of usage says"
        if replay and not aside:
            aside = "replays the session that this one was forked from: counted there"
        if aside:
            yield line, {"aside": aside}
        else:
            named = {"at": row["at"], "session": session, "mark": mark, "own": own}
            named["unread"] = _codex_counters.left(counts) or None
            yield line, {name: counts.get(name) for name in _CODEX_COUNTERS} | about | named


def _codex_session(records):
    """Return a session's id, and which of its lines (in order of time) the session it was forked from wrote."""
    rows = [row for _, row in records]
    # Its own comes first in the file; those of the sessions before it may still have their earlier times.
    metas = [row for _, row in sorted(records, key=itemgetter(0)) if row["type"] == "session_meta"]
    own = next((row for row in metas if row["fork"]), metas[0] if metas else None)
    if own is None or not own["fork"]:
        return own and own["id"], [False] * len(rows)
    times = pd.to_datetime([row["at"] for row in rows], format="ISO8601", utc=True, errors="coerce")
    gaps = (times[1:] - times[:-1]).total_seconds()
    begun = next(place for place, row in enumerate(rows) if row is own)
    pauses = np.flatnonzero(np.append(False, gaps > _REPLAY_S)[begun + 1 :])
    until = begun + 1 + pauses[0] if len(pauses) else len(rows)
    first = own["start"]
    if is_count(first):
        return own["id"], [is_count(row["ordinal"]) and row["ordinal"] < first for row in rows]
    return own["id"], [place < until for place in range(len(rows))]


def _mark(usage):
    counts = usage if isinstance(usage, dict) else {}
    return "/".join(str(counts.get(name)) for name in _CODEX_COUNTERS[:-1])


def _growth(total, highest):
    """Return what a running total has grown by, and its highest counts so far."""
    known = {name: total[name] for name in highest if is_count(total.get(name))}
    if known.get("total_tokens", np.inf) < highest["total_tokens"]:
        highest = dict.fromkeys(highest, 0)  # after a compaction the total begins anew
    grown = {name: max(count - highest[name], 0) for name, count in known.items()}
    highest |= {name: max(count, highest[name]) for name, count in known.items()}
    return {name: total.get(name) for name in highest} | grown, highest


def _codex(sheet):
    tokens = buckets(
        sheet,
        sheet.counts("input_tokens", missing=None),
        sheet.counts("output_tokens", missing=None),
        read=sheet.counts("cached_input_tokens"),
        write_short=sheet.counts("cache_write_input_tokens"),
        cache_inside=True,
        reasoning=sheet.counts("reasoning_output_tokens"),
    )
    return (
        tokens
        | tiers(sheet, "tier")
        | {
            "at": sheet.times("at"),
            "model_id": sheet.models("model"),
            "session_id": sheet.text("session"),
            "source": "recorded",
            "key": sheet.identity("codex", "session", "at", "mark"),
            "own_tokens": sheet.numbers("own"),
        }
    )


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
_event_records = picked(
    {"attributes": ("attributes",)}, lists=("resourceLogs", "scopeLogs", "logRecords")
)


def _events(records):
    for line, record in _event_records(records):
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


_gemini_fields = picked(
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
        "session": ("sessionId",),
    },
    lists=("messages",),
    usage=("tokens",),
)


def _gemini_rows(records):
    """Yield a row for each message of a Gemini CLI session; a message may be written again."""
    for line, row in _gemini_fields(records):
        aside = "a line without usage" if row["input"] is None else None
        yield line, row | {"input": added([row["input"], row["tool"]]), "aside": aside}


# `codex exec --json`. The counters of a turn are those of its thread so far.
_EXEC_COUNTERS = {
    "input": "input_tokens",
    "read": "cached_input_tokens",
    "write": "cache_write_input_tokens",
    "output": "output_tokens",
    "reasoning": "reasoning_output_tokens",
}
_TURN = Counters(_EXEC_COUNTERS.values())


def _exec_rows(records):
    """Yield a row for each line; a turn's counts are the growth of its thread's counters."""
    before, thread = {}, None
    for line, record in records:
        usage, thread = child(record, "usage"), record.get("thread_id") or thread
        if record.get("type") != "turn.completed" or not usage:
            yield line, {"aside": "a line without usage"}
            continue
        row = {ours: usage.get(theirs) for ours, theirs in _EXEC_COUNTERS.items()}
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
    return _daily(calls(sheet, scope="copilot", inside=False, zone="UTC"), sheet) | {
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
    """Return the columns of rows that are sums of a day; what a row sums up is its name."""
    names = ("at", "model", "user", "team", "customer", "terminal", "repository")
    key = sheet.identity("daily", *(name for name in names if name in sheet))
    return found | {"aggregate": True, "requests": np.nan, "key": key}


READERS = (
    Reader(
        "claude_code",
        (("sessionId", "message.usage"), ("sessionId", "type", "message.role")),
        _claude,
        _claude_rows,
    ),
    Reader(
        "codex",
        (
            ("timestamp", "type", "payload.info"),
            ("timestamp", "type", "payload.model"),
            ("timestamp", "type", "payload.id"),
        ),
        _codex,
        _codex_rows,
        whole=True,
    ),
    Reader(
        "agent_telemetry",
        (("resourceLogs",), ("hrTime", "hrTimeObserved", "attributes")),
        _telemetry,
        _events,
    ),
    Reader(
        "gemini_cli_session",
        (("type=gemini", "tokens.input"), ("messages.type=gemini", "messages.tokens.input")),
        partial(calls, scope="gemini_cli", inside=True, reasoning_inside=False),
        _gemini_rows,
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
