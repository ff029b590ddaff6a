"""What a reader is: how a file is recognised, and how its records become rows."""

import json
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Reader:
    """One format of one source.

    Attributes
    ----------
    name : str
        What `format` calls it.
    marks : tuple of tuple of str
        Fields that give it away, nested ones as "outer.inner": a record that has all of one tuple is of this format.
    columns : callable
        Sheet -> dict of columns of the requests table (and, for money, `provider`, `line` and `usd`). Beside them
        `key`, a hash of what names a row wherever it turns up again (0: nothing does), and `own_tokens` and
        `own_usd`, the source's own totals.
    rows : callable, optional
        (line, record) pairs -> (line, flat dict) pairs, None in place of a dict that cannot be one; without it
        records are flat rows already.
    fast : callable, optional
        JSON lines -> DataFrame of what `rows` gives, or None where a line does not fit.
    provider : str
        Whose usage or bill it is; "" for a log of many.
    kind : {"requests", "usage", "money"}
        One request a row, an aggregate of tokens, or dollars.
    """

    name: str
    marks: tuple
    columns: Callable
    rows: Callable | None = None
    fast: Callable | None = None
    provider: str = ""
    kind: str = "requests"


def child(record, name):
    """The object under a name; {} where there is none, or something else."""
    value = record.get(name)
    return value if isinstance(value, dict) else {}


def children(record, name):
    """The objects in the list under a name, with None for each that is no object."""
    value = record.get(name)
    if value is None:
        return []
    return [
        item if isinstance(item, dict) else None
        for item in (value if isinstance(value, list) else [None])
    ]


def loaded(value, kind=dict):
    """A nested object that may have been written as JSON text; empty where it is neither."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return kind()
    return value if isinstance(value, kind) else kind()


def has(record, field):
    """Whether a record has a field; "data.results.amount" looks into objects and the first items of lists."""
    first, _, rest = field.partition(".")
    if not isinstance(record, dict) or first not in record:
        return False
    value = record[first]
    return not rest or any(
        has(item, rest) for item in (value[:20] if isinstance(value, list) else [value])
    )


def recognised(record, readers):
    """The reader whose marks a record bears, or None."""
    return next(
        (
            reader
            for reader in readers
            if any(all(has(record, f) for f in fields) for fields in reader.marks)
        ),
        None,
    )


def nearest(records, readers):
    """Name of the format whose marks come closest to what the records hold, or ""."""
    shares = {}
    for reader in readers:
        for fields in reader.marks:
            share = max(
                (sum(has(record, f) for f in fields) / len(fields) for record in records), default=0
            )
            shares[reader.name] = max(share, shares.get(reader.name, 0))
    best = max(shares, key=shares.get)
    return best if shares[best] > 0 else ""
