"""Session logs of coding agents: Claude Code and Codex.

Claude Code writes one response on 2 to 14 lines, partial output first: rows of one message id are one request, the
one with the most output, at the first time. Codex writes what the last request used and a running total; a total
that was there before is no new request. Used on a subscription, such tokens are not billed one by one.
"""

import numpy as np

from tierlab.usage.reader import Reader, added, child, children, picked, same
from tierlab.usage.sheet import UNTIMED, buckets, tiers

_TOTAL = (
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
    "total_tokens",
)


_claude_records = picked(
    same("type")
    | {
        "at": ("timestamp",),
        "id": ("message.id", "requestId", "uuid"),
        "model": ("message.model",),
        "stop": ("message.stop_reason",),
        "usage": ("message.usage",),
        "service_tier": ("message.usage.service_tier",),
        "speed": ("message.usage.speed",),
    }
)


def _claude_rows(records):
    """A row per line, with the counts of the message and of the compactions beside it."""
    for line, row in _claude_records(records):
        usage = child(row, "usage")
        beside = children(usage, "iterations") if isinstance(usage.get("iterations"), list) else []
        beside = [item for item in beside if item and item.get("type") == "compaction"]
        parts = [_claude_counts(item) for item in (usage, *beside)]
        yield line, row | {name: added([part[name] for part in parts]) for name in parts[0]}


def _claude_counts(usage):
    split, written = child(usage, "cache_creation"), usage.get("cache_creation_input_tokens")
    return {
        "input": usage.get("input_tokens"),
        "read": usage.get("cache_read_input_tokens"),
        "write_short": split.get("ephemeral_5m_input_tokens") if split else written,
        "write_long": split.get("ephemeral_1h_input_tokens"),
        "output": usage.get("output_tokens"),
        "thinking": child(usage, "output_tokens_details").get("thinking_tokens"),
        "untimed": None if split else written,
    }


def _claude(sheet):
    told = (sheet.cells("type") == "assistant") & sheet.cells("usage").map(bool)
    sheet.refuse(~told, "a line without usage")
    sheet.refuse(
        sheet.cells("model") == "<synthetic>", "written by the client itself, not by a model"
    )
    sheet.assume(sheet.counts("untimed") > 0, UNTIMED)
    tokens = buckets(
        sheet,
        sheet.counts("input", missing=None),
        sheet.counts("output", missing=None),
        read=sheet.counts("read"),
        write_short=sheet.counts("write_short"),
        write_long=sheet.counts("write_long"),
        cache_inside=False,
        reasoning=sheet.counts("thinking", np.nan),
    )
    return (
        tokens
        | tiers(sheet, "service_tier", "speed")
        | {
            "at": sheet.times("at"),
            "model_id": sheet.models("model"),
            "status": sheet.finished("stop"),
            "source": "recorded",
            "key": sheet.identity("claude_code", "id"),
        }
    )


_codex_records = picked(
    {
        "at": ("timestamp",),
        "type": ("type",),
        "kind": ("payload.type",),
        "model": ("payload.model",),
        "last": ("payload.info.last_token_usage",),
        "total": ("payload.info.total_token_usage",),
    }
)


def _codex_rows(records):
    """A row per line; the counts of a request are those of last_token_usage, or what the total has grown by."""
    # A running total has an order, and so all lines of a file are held at once: what was said in them is not kept.
    records = sorted(_codex_records(records), key=lambda pair: str(pair[1]["at"]))
    turns = [row["model"] for _, row in records if row["type"] == "turn_context" and row["model"]]
    model = turns[0] if turns else None
    seen, highest = set(), dict.fromkeys(_TOTAL, 0)
    for line, row in records:
        if row["type"] == "turn_context":
            model = row["model"] or model
        last, total = child(row, "last"), child(row, "total")
        mark = "/".join(str(total.get(name)) for name in _TOTAL)
        if row["kind"] != "token_count" or not (last or total):
            yield line, {"aside": "a line without usage"}
        elif total and mark in seen:
            yield line, {"aside": "says the running total again: no new request"}
        else:
            seen.add(mark)
            grown = {name: _grown(total.get(name), highest[name]) for name in _TOTAL}
            counts = {name: total[name] for name in _TOTAL if _is_count(total.get(name))}
            highest |= {name: max(count, highest[name]) for name, count in counts.items()}
            about = {"at": row["at"], "model": model, "mark": mark, "own": grown["total_tokens"]}
            yield line, {name: (last or grown).get(name) for name in _TOTAL} | about


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
        cache_inside=True,
        reasoning=sheet.counts("reasoning_output_tokens"),
    )
    return tokens | {
        "at": sheet.times("at"),
        "model_id": sheet.models("model"),
        "source": "recorded",
        "key": sheet.identity("codex", "at", "mark"),
        "own_tokens": sheet.numbers("own"),
    }


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
