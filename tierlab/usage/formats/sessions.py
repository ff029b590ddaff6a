"""Session logs of coding agents: Claude Code and Codex.

Claude Code writes one response on 2 to 14 lines, partial output first: rows of one message id are one request, the
one with the most output, at the first time. Codex writes what the last request used and a running total; a total
that was there before is not a new request. Used on a subscription, such tokens are not billed one by one.
"""

from collections import Counter
from operator import itemgetter

import numpy as np
import pandas as pd

from tierlab.usage.counters import ALL, Counters
from tierlab.usage.formats.anthropic import places
from tierlab.usage.reader import Reader, added, child, children, picked, same
from tierlab.usage.sheet import UNTIMED, buckets, tiers, units

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
_SUMS = ("input", "read", "written", "output")
_counted = picked(
    {ours: (theirs,) for ours, theirs in _CLAUDE_COUNTERS.items()}
    | {"model": ("model",), "kind": ("type",)},
    usage=("",),
    # Fetched pages come in as input tokens.
    idle=("server_tool_use.web_fetch_requests", f"iterations.{ALL}"),
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


def messages(usage):
    """The calls of a model that one usage object of Anthropic tells of: its message, and the iterations beside it.

    The counters of a message are the sums of its iterations of type "message"; compactions and an advisor's answers
    lie outside them, unless the sums say otherwise, and may be another model's. An iteration inside that names
    another model is taken out of the message.

    Returns
    -------
    list of dict
        input, read, written, write_short, write_long, output, thinking, searches, model (None: the message's), kind,
        unread and, of the message, odd: whether its iterations do not add up to it.
    """
    given = (usage, *children(usage, "iterations"))
    top, *parts = (row for _, row in _counted((0, one or {}) for one in given))
    if not parts:
        return [top]
    inside = [part for part in parts if part["kind"] in (None, "message")]
    if _add_up(parts, top):
        inside = parts
    beside = [part for part in parts if part not in inside]
    for part in inside:
        if part["model"] not in (None, top["model"]):
            beside.append(part)
            top = top | {name: _less(top[name], part[name]) for name in _CLAUDE_COUNTERS}
    odd = bool(inside) and not _add_up(inside, top)
    return [top | {"odd": odd}, *beside]


def _add_up(parts, whole):
    sums = {name: added([part[name] for part in parts]) for name in _SUMS}
    return all((whole[name] or 0) == (sums[name] or 0) for name in _SUMS)


def _less(whole, part):
    return whole - part if _is_count(whole) and _is_count(part) else whole


def _claude_rows(records):
    """A row per message, and one per iteration that lies outside its counters or is another model's."""
    for line, row in _claude_records(records):
        found = messages(child(row, "usage") | {"model": row["model"]})
        for place, counts in enumerate(found):
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
    return claude_columns(sheet) | {
        "at": sheet.times("at"),
        "session_id": sheet.text("session"),
        "status": sheet.finished("stop"),
        "source": "recorded",
        "key": sheet.identity("claude_code", "id"),
        "call": np.where(side, np.uint64(0), sheet.identity("claude_code call", "requestId")),
    }


def claude_columns(sheet):
    """The columns that the usage objects of Anthropic's messages fill, from the fields of `messages`."""
    written, short, long = (sheet.counts(name) for name in ("written", "write_short", "write_long"))
    untimed = np.maximum(written - short - long, 0)
    sheet.assume(untimed > 0, UNTIMED)
    sheet.assume(
        sheet.cells("odd").eq(True), "iterations do not add up to their message's counters"
    )
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
    """A row per line; the counts of a request are those of last_token_usage, or what the total has grown by."""
    # A running total has an order, and so all lines of a file are held at once: what was said in them is not kept.
    records = sorted(_codex_records(records), key=lambda pair: str(pair[1]["at"]))
    rows = [row for _, row in records]
    turns = [row["model"] for row in rows if row["type"] == "turn_context" and row["model"]]
    about = {"model": turns[0] if turns else None, "tier": None}
    session, replayed = _codex_session(records)
    recorded = Counter(_mark(row["usage"]) for row in rows if row["type"] == _RECORD)
    seen, highest = set(), dict.fromkeys(_CODEX_COUNTERS, 0)
    for (line, row), replay in zip(records, replayed, strict=True):
        if row["type"] == "turn_context" or row["kind"] == "thread_settings_applied":
            about |= {"model": row["model"] or about["model"]}
        if row["kind"] == "thread_settings_applied":
            about |= {"tier": row["tier"]}
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
            if (
                _is_count(total.get("total_tokens"))
                and total["total_tokens"] < highest["total_tokens"]
            ):
                highest = dict.fromkeys(_CODEX_COUNTERS, 0)  # after a compaction it begins anew
            grown = {name: _grown(total.get(name), highest[name]) for name in _CODEX_COUNTERS}
            known = {name: total[name] for name in highest if _is_count(total.get(name))}
            highest |= {name: max(count, highest[name]) for name, count in known.items()}
            counts, own = last or grown, grown["total_tokens"]
            if recorded[_mark(counts)]:
                recorded[_mark(counts)] -= 1
                aside = "says again what a record of usage says"
        if replay and not aside:
            aside = "replays the session that this one was forked from: counted there"
        if aside:
            yield line, {"aside": aside}
        else:
            unread = _codex_counters.left(counts) or None
            named = {
                "at": row["at"],
                "session": session,
                "mark": mark,
                "own": own,
                "unread": unread,
            }
            yield line, {name: counts.get(name) for name in _CODEX_COUNTERS} | about | named


def _codex_session(records):
    """The id of a session, and which of its lines, in the order of time, were written by the one it was forked from."""
    rows = [row for _, row in records]
    # Its own comes first in the file; those of the sessions before it may have kept their earlier times.
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
    if _is_count(first):
        return own["id"], [_is_count(row["ordinal"]) and row["ordinal"] < first for row in rows]
    return own["id"], [place < until for place in range(len(rows))]


def _mark(usage):
    counts = usage if isinstance(usage, dict) else {}
    return "/".join(str(counts.get(name)) for name in _CODEX_COUNTERS[:-1])


def _grown(value, before):
    return max(value - before, 0) if _is_count(value) else value


def _is_count(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


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
)
