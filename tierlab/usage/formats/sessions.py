"""Session logs of coding agents: Claude Code and Codex.

Claude Code writes one response on 2 to 14 lines, partial output first: rows of one message id are one request, the
one with the most output, at the first time. Codex writes what the last request used and a running total; a total
that was there before is no new request. Used on a subscription, such tokens are not billed one by one.
"""

import numpy as np

from tierlab.usage.reader import Reader, child
from tierlab.usage.sheet import batch, buckets

_TOTAL = (
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
    "total_tokens",
)


def _claude_rows(records):
    for line, record in records:
        message = child(record, "message")
        usage = child(message, "usage")
        aside = None
        if record.get("type") != "assistant" or not usage:
            aside = "a line without usage"
        elif message.get("model") == "<synthetic>":
            aside = "written by the client itself, not by a model"
        compaction = [
            item for item in _list(usage, "iterations") if item.get("type") == "compaction"
        ]
        parts = [_claude_counts(item) for item in (usage, *compaction)]
        row = (
            parts[0]
            if len(parts) == 1
            else {name: _added([part[name] for part in parts]) for name in parts[0]}
        )
        yield (
            line,
            row
            | {
                "at": record.get("timestamp"),
                "id": message.get("id") or record.get("requestId") or record.get("uuid"),
                "model": message.get("model"),
                "stop": message.get("stop_reason"),
                "service_tier": usage.get("service_tier"),
                "speed": usage.get("speed"),
                "aside": aside,
            },
        )


def _claude_counts(usage):
    split = child(usage, "cache_creation")
    names = {"5m": "ephemeral_5m_input_tokens", "1h": "ephemeral_1h_input_tokens"}
    return {
        "input": usage.get("input_tokens"),
        "read": usage.get("cache_read_input_tokens"),
        "write_5m": split.get(names["5m"]) if split else usage.get("cache_creation_input_tokens"),
        "write_1h": split.get(names["1h"]),
        "output": usage.get("output_tokens"),
        "thinking": child(usage, "output_tokens_details").get("thinking_tokens"),
        "untimed": None if split else usage.get("cache_creation_input_tokens"),
    }


def _list(record, name):
    value = record.get(name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _added(values):
    """The sum of some counts, or the first that is none, so that its row shows what is wrong."""
    given = [value for value in values if value is not None]
    wrong = [
        value for value in given if isinstance(value, bool) or not isinstance(value, (int, float))
    ]
    return wrong[0] if wrong else sum(given) if given else None


def _claude(sheet):
    whole, output = sheet.counts("input", missing=None), sheet.counts("output", missing=None)
    read, write_5m, write_1h = (sheet.counts(name) for name in ("read", "write_5m", "write_1h"))
    sheet.assume(
        sheet.counts("untimed") > 0, "cache writes without a time to live, taken as 5 minutes"
    )
    sheet.assume(
        sheet.cells("speed").eq("fast"),
        "speed 'fast', which has a price of its own, is priced as standard",
    )
    thinking = sheet.counts("thinking", np.nan)
    return buckets(
        sheet, whole, read, write_5m, write_1h, output, cache_inside=False, reasoning=thinking
    ) | {
        "at": sheet.times("at"),
        "model_id": sheet.models("model"),
        "batch": batch(sheet, "service_tier"),
        "status": sheet.finished("stop"),
        "source": "recorded",
        "key": sheet.identity("claude_code", "id"),
        "own_tokens": whole + read + write_5m + write_1h + output,
    }


def _codex_rows(records):
    """A row per line; the counts of a request are those of last_token_usage, or what the total has grown by."""
    # A running total has an order, and so all lines of a file are held at once: what was said in them is not kept.
    records = sorted(
        ((line, _counters(record)) for line, record in records),
        key=lambda pair: str(pair[1]["timestamp"]),
    )
    models = [
        child(record, "payload").get("model")
        for _, record in records
        if record.get("type") == "turn_context"
    ]
    model = next((name for name in models if name), None)
    seen, highest = set(), dict.fromkeys(_TOTAL, 0)
    for line, record in records:
        payload = child(record, "payload")
        if record.get("type") == "turn_context":
            model = payload.get("model") or model
        info = child(payload, "info")
        last, total = child(info, "last_token_usage"), child(info, "total_token_usage")
        if payload.get("type") != "token_count" or not (last or total):
            yield line, {"aside": "a line without usage"}
            continue
        mark = tuple(str(total.get(name)) for name in _TOTAL)
        if total and mark in seen:
            yield line, {"aside": "says the running total again: no new request"}
            continue
        seen.add(mark)
        grown = {name: _grown(total.get(name), highest[name]) for name in _TOTAL}
        highest |= {
            name: total[name]
            for name in _TOTAL
            if _is_count(total.get(name)) and total[name] > highest[name]
        }
        row = {name: (last or grown).get(name) for name in _TOTAL}
        yield (
            line,
            row
            | {
                "at": record.get("timestamp"),
                "model": model,
                "mark": "/".join(mark),
                "own": grown["total_tokens"],
            },
        )


def _counters(record):
    payload = child(record, "payload")
    kept = {name: payload.get(name) for name in ("type", "model", "info")}
    return {"timestamp": record.get("timestamp"), "type": record.get("type"), "payload": kept}


def _grown(value, before):
    return max(value - before, 0) if _is_count(value) else value


def _is_count(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _codex(sheet):
    whole, read = sheet.counts("input_tokens", missing=None), sheet.counts("cached_input_tokens")
    output, reasoning = (
        sheet.counts("output_tokens", missing=None),
        sheet.counts("reasoning_output_tokens"),
    )
    return buckets(sheet, whole, read, 0.0, 0.0, output, cache_inside=True, reasoning=reasoning) | {
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
    ),
)
