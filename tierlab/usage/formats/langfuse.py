"""Langfuse: observations as its interface exports them, as they lie in blob storage, and from before version 3.

The keys of the usage details are disjoint and add up to their total where Langfuse parsed the usage; what a user sent
is not rewritten, and where input and output alone are the total, the cached tokens are inside. Before version 3 there
were three counters and a unit, which may be characters.
"""

import numpy as np

from tierlab.core.tables import TOKEN_COLUMNS
from tierlab.usage.counters import Counters
from tierlab.usage.formats.calls import calls
from tierlab.usage.reader import TOKENS, Reader, added, picked

# Those not listed go by their first word.
_KEYS = {
    "input_cached_tokens": "read",
    "input_cache_read": "read",
    "cache_read_input_tokens": "read",
    "input_cache_creation": "write",
    "cache_creation_input_tokens": "write",
    "input_cache_creation_5m": "write_short",
    "input_cache_creation_1h": "write_long",
    "output_reasoning_tokens": "reasoning",
    "output_reasoning": "reasoning",
    "promptTokens": "input",
    "completionTokens": "output",
}
_SIDES = ("input", "output")
_MONEY = ("inputCost", "outputCost", "totalCost", "unit")  # in `usage` of before version 3
_KNOWN = {*_KEYS, *_SIDES, "total", "totalTokens", "input_text_tokens", "output_text_tokens"}
_BUCKETS = (*_SIDES, *dict.fromkeys(_KEYS.values()))
_DETAILS = ("usageDetails", "usage_details")
_records = picked(
    {
        "id": ("id",),
        "type": ("type",),
        "task": ("name",),
        "at": ("startTime", "start_time"),
        "end": ("endTime", "end_time"),
        "first": ("completionStartTime", "completion_start_time"),
        "model": ("model", "provided_model_name"),
        "usd": ("totalCost", "total_cost", "calculatedTotalCost"),
        "level": ("level",),
        "user": ("userId", "user_id"),
        "session": ("sessionId", "session_id"),
        "details": (*_DETAILS, "usage"),
        "total": (
            *(f"{place}.total" for place in _DETAILS),
            "usage.total",
            "usage.totalTokens",
            "totalTokens",
        ),
        "unit": ("usage.unit", "unit"),
        "prompt": ("promptTokens",),
        "completion": ("completionTokens",),
        "updated": ("updated_at", "updatedAt"),
        "trace": ("traceId", "trace_id"),
        "parent": ("parentObservationId", "parent_observation_id"),
    },
    texts=(*_DETAILS, "usage"),
    usage=(TOKENS,),
    idle=[f"{place}.*" for place in (*_DETAILS, "usage", "costDetails", "cost_details")],
)


def _rows(records):
    """Observations with their usage summed by bucket; a key that is of no side is told."""
    for line, row in _records(records):
        parts, strange = {bucket: [] for bucket in _BUCKETS}, {}
        for name, value in (row.pop("details") or {}).items():
            side = next((side for side in _SIDES if name.startswith(side)), None)
            bucket = _KEYS.get(name, side)
            if bucket and not isinstance(value, dict | list):
                parts[bucket].append(value)
            if name not in _KNOWN:  # told also where it goes by its first word
                strange[name] = value
        counts = {bucket: added(values) for bucket, values in parts.items()}
        if counts["input"] is None and counts["output"] is None:
            counts |= {"input": row["prompt"], "output": row["completion"]}
        row["error"] = "error" if str(row["level"]).lower() == "error" else None
        row["unread"] = (row["unread"] or {}) | Counters((), _MONEY).left(strange) or None
        yield line, row | counts


def _columns(sheet):
    model = sheet.words("type").isin(("generation", "embedding"))
    sheet.refuse(~model, "an observation that is not a generation")
    other = ~sheet.words("unit").isin(("", "tokens"))
    sheet.refuse(other, "counted in another unit than tokens", "unit")
    found = calls(sheet, scope="langfuse", inside=False, reasoning_inside=False)
    ours, told = sum(found[name] for name in TOKEN_COLUMNS), found["own_tokens"]
    sheet.refuse((told != ours) & ~np.isnan(told), "usageDetails do not add up to their total")
    end, first, updated = (sheet.times(name, missing=True) for name in ("end", "first", "updated"))
    return found | {
        "ttft_s": sheet.seconds(found["at"], first),
        "end_to_end_s": sheet.seconds(found["at"], end),
        "updated": updated,
        "span": np.where(
            sheet.empty("id"), np.uint64(0), sheet.identity("langfuse", "trace", "id")
        ),
        "parent": np.where(
            sheet.empty("parent"), np.uint64(0), sheet.identity("langfuse", "trace", "parent")
        ),
    }


READERS = (
    Reader(
        "langfuse",
        (
            ("id", "type", "usageDetails"),
            ("traceId", "type", "startTime", "totalCost"),
            ("id", "type", "start_time", "provided_model_name"),
            ("traceId", "type", "promptTokens", "completionTokens"),
        ),
        _columns,
        _rows,
    ),
)
