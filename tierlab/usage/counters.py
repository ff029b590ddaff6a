"""The counters of usage objects: those that a reader reads, and those that nothing reads, which are told.

A usage object (`usage`, `usageMetadata`, `gen_ai.usage.*`, whatever its format calls it) may hold a counter that no
rule of ours knows: renamed, new, one level deeper, inside a list. Passing over it would be a silent wrong number.
So every reader says where its usage objects lie, and each non-zero number in them that it does not read comes
out in the cell `unread` of its row, a dict of name and sum, and from there in the account.

A reader of nested records says ``picked(fields, usage=("message.usage",), idle=("total_tokens",))``: the places of
`fields` inside a usage object are read, the names in `idle` hold nothing more than others do. A reader that walks
records by itself makes a `Counters` and puts ``counters.left(usage)`` under "unread". A reader of flat tables
(without `rows`) says nothing: each numeric column that it does not look at is told, but for those in `Reader.idle`.
"""

import math
import re

_GROUPED = re.compile(r"\d{1,3}(?:,\d{3}){1,6}")
ALL = "*"  # a place that ends with it: whatever lies beneath has been read


class Counters:
    """What a reader reads of a usage object.

    Parameters
    ----------
    read : iterable of str or tuple of str
        Places of the counters it reads, as "outer.inner" or ("outer", "inner"); lists are looked into.
    idle : iterable of str or tuple of str
        Places that hold nothing more: totals of others, numbers that are not counters.

    Examples
    --------
    >>> counters = Counters(["input_tokens", "details.cached_tokens"], ["total_tokens"])
    >>> counters.left({"input_tokens": 7, "details": {"cached_tokens": 5, "video": [1, 2]}, "total_tokens": 7})
    {'details.video': 3.0}
    """

    def __init__(self, read, idle=()):
        self._tree = {}
        for place in (*read, *idle):
            node = self._tree
            for step in place.split(".") if isinstance(place, str) else place:
                node = node.setdefault(step, {})

    def left(self, usage):
        """Name and sum of each non-zero number that is not read; {} where every one is."""
        found, waiting = {}, [(self._tree, "", usage)]
        while waiting:
            tree, name, value = waiting.pop()
            if isinstance(value, dict):
                for step, inner in value.items():
                    node = tree.get(step)
                    # A number in its place has been read; an object there may hold others.
                    if node is None or (type(inner) in (dict, list) and ALL not in node):
                        waiting.append((node or {}, f"{name}.{step}" if name else step, inner))
            elif isinstance(value, list):
                waiting += ((tree, name, item) for item in value)
            elif number := _number(value):
                found[name] = found.get(name, 0.0) + number
        return found


def _number(value):
    """A number, also one written as text; 0 for what is not one, or not finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return 0.0
    try:
        if isinstance(value, str):
            value = value.replace(",", "") if _GROUPED.fullmatch(value) else value
            value = value if len(value) < 40 else 0
        number = float(value)
    except (ValueError, OverflowError):
        return 0.0
    return number if math.isfinite(number) else 0.0
