"""What a reader is: how a file is recognised, how its records become rows; and a file's way through its reader.

Files are read a block at a time. Blocks with the same reader and columns go through one sheet together, so that a
folder of many small files takes no longer than one large file.

A usage object (`usage`, `usageMetadata`, `gen_ai.usage.*`, whatever its format calls it) may hold a counter that no
rule knows: renamed, new, one level deeper, inside a list. To pass over it would be a silent wrong number, so every
reader says where its usage objects lie, and each non-zero number in them that it does not read is reported in the
account. A reader of nested records says ``picked(fields, usage=("message.usage",), idle=("total_tokens",))``. One that
walks records itself makes a `Counters` and puts ``counters.left(usage)`` under "unread". A reader of flat tables says
nothing: every numeric column that it does not look at is reported, except those in `Reader.idle`.
"""

import json
import math
import re
import warnings
from ast import literal_eval
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, chain, islice
from pathlib import Path

import numpy as np
import pandas as pd

from tierlab.core.format import counted
from tierlab.core.tables import TOKEN_COLUMNS
from tierlab.core.untrusted import shown
from tierlab.usage.files import BLOCK, Fault, block_of, opened, parsed, records
from tierlab.usage.repeats import counted_tokens
from tierlab.usage.sheet import Sheet, as_float, floats

ASIDE = (
    "file",
    "block",
    "line",
    "reason",
    "excerpt",
    "own_tokens",
    "own_money",
    "own_currency",
    "span",
    "parent",
)
UNLINKED = dict.fromkeys(("span", "parent", "call"), np.uint64(0))
ALL = "*"  # at the end of a place: everything beneath it has been read
TOKENS = (
    "*token*"  # in place of a usage object: a record's counters that have "token" in their names
)
_NO_COUNTER = re.compile(r"first_?token|max_?|limit|per_?token", re.I)
# Fields that may repeat a whole request or answer with its usage; any other field of a record may hold counters.
_BODIES = re.compile(
    r"message|request|response|body|metadata|propert|input|output|prompt|choice|header|param", re.I
)
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3}){1,6}")
_USAGE = re.compile("usage|token", re.I)
_COUNTER_NAME = re.compile(r"[\w.()/ -]{1,100}")
_NOTES = 100  # the most different notes on one file, and the most counters of objects in one column
_PROBED = 1000  # records that are looked at before a file counts as unknown


@dataclass(frozen=True)
class Reader:
    """One format of one source.

    Attributes
    ----------
    name : str
        What `format` calls it.
    marks : tuple of tuple of str
        Fields that give it away, nested ones as "outer.inner", with a value as "field=value". A record is of this
        format if it has all fields of one of the tuples.
    columns : callable
        Sheet -> dict of columns of the requests table (and, for money, `provider`, `line` and `usd`). It may also have
        `key`, a hash of what names a row wherever the row turns up again (0: nothing does); `call`, a hash that makes
        rows with one key the same call even if their input counts differ; `updated`, times by which the newest row of
        a key counts rather than the fullest; `span` and `parent`, hashes of a span and of the one above it; and
        `own_tokens`, `own_money` and `own_currency`, the source's own totals, never sums of what was read.
    rows : callable, optional
        (line, record) pairs -> (line, flat dict) pairs, with None in place of a dict for what is not an object.
        Without it, records are flat rows already. See `picked`.
    provider : str
        Whose usage or bill it is; "" for a log of many providers.
    kind : {"requests", "usage", "money"}
        Whether a row is one request, an aggregate of tokens, or dollars.
    whole : bool
        Whether `rows` needs all records of a file at once.
    idle : tuple of str
        Numeric columns of a flat table that no rule reads and that need not be reported.
    check : callable, optional
        Takes the first rows of a file as a DataFrame and returns the reader of the file; raises ValueError if the file
        cannot be read at all.
    """

    name: str
    marks: tuple
    columns: Callable
    rows: Callable | None = None
    provider: str = ""
    kind: str = "requests"
    whole: bool = False
    idle: tuple = ()
    check: Callable | None = None


class Counters:
    """The counters of a usage object that a reader reads.

    Parameters
    ----------
    read : iterable of str or tuple of str
        Places of the counters that it reads, as "outer.inner" or ("outer", "inner"); lists are looked into.
    idle : iterable of str or tuple of str
        Places that add nothing: totals of other counters, and numbers that are not counters.

    Examples
    --------
    >>> counters = Counters(["input_tokens", "details.cached_tokens"], ["total_tokens"])
    >>> counters.left({"input_tokens": 7, "details": {"cached_tokens": 5, "video": [1, 2]}, "total_tokens": 7})
    {'details.video': 3.0}
    """

    def __init__(self, read=(), idle=()):
        self._tree = {}
        for place in (*read, *idle):
            node = self._tree
            for step in place.split(".") if isinstance(place, str) else place:
                node = node.setdefault(step, {})

    def left(self, usage):
        """Return the name and sum of each non-zero number that is not read; {} if all are."""
        found, waiting = {}, [(self._tree, "", usage)]
        while waiting:
            tree, name, value = waiting.pop()
            if isinstance(value, dict):
                for step, inner in value.items():
                    node = tree.get(step)
                    # A number in a known place has been read; an object there may hold other numbers.
                    if node is None or (type(inner) in (dict, list) and ALL not in node):
                        waiting.append((node or {}, f"{name}.{step}" if name else step, inner))
            elif isinstance(value, list):
                waiting += ((tree, name, item) for item in value)
            elif number := _number(value):
                found[name] = found.get(name, 0.0) + number
        return found


def _number(value):
    """Return a number, also one that is written as text; 0 for what is not one or not finite."""
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


def unread(name):
    """Return the note on a counter that no rule reads; its name is left out if it could be a key or an address."""
    plain = _COUNTER_NAME.fullmatch(name) and sum(map(str.isdigit, name)) < 8
    return f"a counter that no rule reads{f', {name!r}' if plain else f' ({len(name)} characters)'}"


def picked(fields, *, lists=(), texts=(), usage=(), idle=()):
    """Return a `rows` function that picks fields out of nested records.

    Parameters
    ----------
    fields : dict of str to tuple of str
        Column -> where its value may be, as "outer.inner"; the first place that holds one counts.
    lists : sequence of str
        Lists inside lists, the outermost first; each object in the innermost is a row, with the fields around it.
    texts : sequence of str
        Fields whose object may be written as JSON text.
    usage : sequence of str
        Where usage objects lie; "" is the record itself, `TOKENS` its counters of tokens. Numbers in them that `fields`
        does not read are reported. If a counter has several places, the first that is not zero counts, and a different
        number in another place is reported.
    idle : sequence of str
        Places inside usage objects that add nothing.
    """
    # Places share their beginnings, and each object on the way is looked up once: `walk` has, for the place of each
    # object, the steps out of it and the places they lead to, an outer object always before those inside it.
    walk, places = {}, list(chain.from_iterable(fields.values()))
    for place in places:
        for name in accumulate(place.split("."), "{}.{}".format):
            outer, _, step = name.rpartition(".")
            walk.setdefault(outer, {})[step] = name
    steps_of = [(outer, tuple(steps.items())) for outer, steps in walk.items()]
    first = {ours: theirs[0] for ours, theirs in fields.items()}
    others = [(ours, place) for ours, theirs in fields.items() for place in theirs[1:]]
    idle = [*idle, *(f"{name}.{ALL}" for name in lists)]
    counters = {
        place: Counters([_within(one, place) for one in places if _within(one, place)], idle)
        for place in usage
    }
    of_usage = {
        ours
        for ours, theirs in fields.items()
        if all(any(_within(one, place) for place in usage) for one in theirs)
    }

    def row_of(record):
        values = {"": record}
        for outer, steps in steps_of:
            value = values.get(outer)
            if isinstance(value, list):  # its first object
                value = next((item for item in value if isinstance(item, dict)), None)
            if isinstance(value, dict):
                for step, name in steps:
                    values[name] = value.get(step)
        row = {ours: values.get(place) for ours, place in first.items()}
        left = {}
        for ours, place in others:
            value, chosen = values.get(place), row[ours]
            if value is None:
                continue
            if chosen is None or (not chosen and ours in of_usage):
                row[ours] = value
            elif value and value != chosen and ours in of_usage:
                left |= Counters().left({place: value})
        for place, counter in counters.items():
            found = counter.left(_object(record, place))
            if found and place == TOKENS:
                found = {name: number for name, number in found.items() if "oken" in name}
            left |= found
        if usage:
            row["unread"] = left or None
        return row

    def rows(pairs):
        for line, record in pairs:
            objects = {name: loaded(record[name]) for name in texts if name in record}
            broken = [name for name in objects if not objects[name] and _is_full(record[name])]
            record = record | objects
            for item in unfolded(record, lists) if lists else (record,):
                row = None if item is None else row_of(item)
                if row and broken:
                    row["aside"] = f"{broken[0]} cannot be read, and usage may be in it"
                yield line, row

    return rows


def _is_full(text):
    """Return whether a text begins like an object that is not empty."""
    return isinstance(text, str) and bool(re.match(r"""["\s]*\{\s*[^\s}]""", text))


def _within(place, usage):
    """Return a place as seen from a usage object, "" if it lies outside."""
    if usage in ("", TOKENS):
        return place
    return place.removeprefix(f"{usage}.") if place.startswith(f"{usage}.") else ""


@lru_cache(maxsize=1000)
def _of_tokens(names):
    """Return those fields of a record that may hold counters of tokens."""
    return [
        name
        for name in names
        if ("oken" in name or not _BODIES.search(name)) and not _NO_COUNTER.search(name)
    ]


def _object(record, place):
    """Return the usage object, or the list of them, at a place of a record."""
    if place == TOKENS:
        return {
            name: record[name]
            for name in _of_tokens(tuple(record))
            if "oken" in name or type(record[name]) in (dict, list)
        }
    for step in place.split(".") if place else ():
        record = record.get(step) if isinstance(record, dict) else None
    return record


def same(*names):
    """Return fields whose columns have the source's own names."""
    return {name: (name,) for name in names}


def unfolded(record, lists):
    """Yield the objects in lists inside lists, each with the fields around it; None for each that is not an object."""
    if record is None or not lists:
        yield record
        return
    first, *rest = lists
    for item in children(record, first) if first in record else [{}]:
        yield from unfolded(None if item is None else record | item, rest)


def child(record, name):
    """Return the object under a name; {} if there is none, or something else."""
    value = record.get(name)
    return value if isinstance(value, dict) else {}


def children(record, name):
    """Return the objects in the list under a name, with None for each that is not an object."""
    value = record.get(name)
    if value is None:
        return []
    items = value if isinstance(value, list) else [None]
    return [item if isinstance(item, dict) else None for item in items]


def added(values):
    """Return the sum of some counts, None for none; if one is not a number, return it, so that its row is refused.

    A count may be text, as OTLP writes whole numbers.
    """
    given = [value for value in values if value is not None]
    wrong = [one for one in given if math.isnan(as_float(one))]
    if wrong or not given:
        return wrong[0] if wrong else None
    return sum(float(one) if isinstance(one, str) else one for one in given)


def _unpacked(text):
    """Return what a text holds, as JSON, as JSON inside JSON, or as Python writes it (pandas in a CSV file); else None."""
    value = parsed(text) if text[:1] in ("{", "[", '"') else None
    if isinstance(value, str):
        return parsed(value)
    if value is None and text[:1] in ("{", "["):
        wrong = (ValueError, TypeError, SyntaxError, RecursionError, MemoryError)
        with suppress(*wrong), warnings.catch_warnings(action="ignore"):
            return parsed(json.dumps(literal_eval(text)))
    return value


def loaded(value, kind=dict):
    """Return a nested object that may be written as text; an empty one for anything else."""
    if isinstance(value, str):
        value = _unpacked(value)
    elif isinstance(value, list) and kind is dict and all(isinstance(one, tuple) for one in value):
        value = dict(value)  # a map of a Parquet file
    return value if isinstance(value, kind) else kind()


def has_field(record, path):
    """Return whether a record has a field; "data.results.amount" looks into objects and the first items of lists."""
    path, equals, wanted = path.partition("=")
    first, _, rest = path.partition(".")
    if not isinstance(record, dict) or first not in record:
        return False
    value = record[first]
    if not rest:
        return not equals or value == wanted
    items = value[:20] if isinstance(value, list) else [value]
    return any(has_field(item, rest + equals + wanted) for item in items)


def _bears(record, reader):
    return any(all(has_field(record, path) for path in marks) for marks in reader.marks)


def _strange(kind, head, seen, readers):
    """Return the error for a file that no reader recognises: why it is not the user's own table, and what was looked for."""
    told = ""
    own = next((reader for reader in readers if reader.check), None)
    if kind == "table" and own:
        try:
            own.check(head[0][1])
        except ValueError as error:
            told = f"read as your own table, {error}"
    fields = list(dict.fromkeys(name for record in seen[:50] for name in record))[:12]
    told = told or f"its fields are {[shown(name, 40) for name in fields]}"
    flat = [reader for reader in readers if not re.search("[.=]", "".join(reader.marks[0]))]
    known = "; ".join(
        f"{reader.name} ({', '.join(reader.marks[0])})"
        for reader in (flat if kind == "table" else readers)
    )
    return f"not a known format: {told}. Looked for were the fields of {known}"


@dataclass
class Piece:
    """What came of one file; `place` is its place in the list of files."""

    file: Path
    place: int
    format: str = ""
    problem: str = ""
    copied: int = 0
    rows_read: int = 0
    assumed: dict = field(default_factory=dict)

    def note(self, what, rows, total=np.nan):
        """Count the rows in which something is taken for granted, and add up how much of it there is."""
        if rows and (what in self.assumed or len(self.assumed) < _NOTES):
            before, summed = self.assumed.get(what, (0, 0.0))
            self.assumed[what] = before + rows, summed + total

    def words(self):
        """Yield each note in words, with how much there is of it and in how many rows."""
        for what, (rows, total) in self.assumed.items():
            size = "" if np.isnan(total) else f": {total:,.12g}"
            yield f"{what}{size} ({counted(rows, 'row')})"

    def again(self, file, place):
        """Return the piece of another file with the same content, whose rows are all duplicates."""
        rows, told = self.rows_read, f"the same content as {self.file.name}, which counts once"
        return Piece(file, place, self.format, self.problem, rows, rows, {told: (rows, np.nan)})


class Pool:
    """Blocks of rows on their way through the readers; those with the same reader and columns share one sheet.

    A sheet looks at each row on its own, so that a row comes out the same whichever rows are beside it.

    Attributes
    ----------
    kept, aside : list of DataFrame
        Rows, with `file` (its place in the list of files) and `block` (its block's place in the order of reading).
    """

    def __init__(self, timezone, aliases):
        self.kept, self.aside = [], []
        self._timezone, self._aliases = timezone, aliases
        self._waiting, self._rows, self._blocks = {}, 0, 0

    def add(self, piece, reader, lines, frame):
        """Take a block of rows of a piece."""
        self._blocks += 1
        self._rows += len(frame)
        piece.rows_read += len(frame)
        key = reader, tuple(frame.columns), tuple(frame.dtypes)
        block = piece, self._blocks, np.asarray(lines, int), frame
        self._waiting.setdefault(key, []).append(block)
        if self._rows >= BLOCK:
            self.finish()

    def refuse(self, piece, faults):
        """Set aside the faults of a piece, which are not rows."""
        if faults:
            piece.rows_read += len(faults)
            rows = pd.DataFrame(faults).assign(file=piece.place, block=0, **UNLINKED)
            self.aside.append(rows.reindex(columns=ASIDE))

    def finish(self):
        """Read the blocks that are still waiting."""
        for (reader, *_), group in self._waiting.items():
            self._through(reader, group)
        self._waiting, self._rows = {}, 0

    def _through(self, reader, group):
        pieces, blocks, lines, frames = zip(*group, strict=True)
        raw = pd.concat(frames, ignore_index=True)
        sheet = Sheet(raw, self._timezone, self._aliases)
        try:
            with np.errstate(invalid="ignore"):
                columns = {"provider": reader.provider, "at": pd.NaT} | UNLINKED
                columns |= reader.columns(sheet)
        except ValueError as error:
            if len(group) == 1:
                pieces[0].problem = str(error)
            else:  # find the one it is about
                for block in group:
                    self._through(reader, [block])
            return
        which = np.repeat(np.arange(len(group)), [len(frame) for frame in frames])
        table = pd.DataFrame(columns, index=raw.index).assign(
            kind=np.where(sheet.money_only, "money", reader.kind),
            format=reader.name,
            file=np.array([piece.place for piece in pieces])[which],
            block=np.array(blocks)[which],
            row=np.concatenate(lines),
            unread=raw.get("unread"),
        )
        table["provider"] = table["provider"].fillna(reader.provider)
        table = checked(sheet.filled(table), sheet)
        good = sheet.reason == ""
        self.kept.append(table[good])
        bad = table.assign(line=table["row"], reason=sheet.reason, excerpt=sheet.excerpt)
        self.aside.append(bad.reindex(columns=ASIDE)[~good])
        if reader.rows is None:
            _note_columns(sheet, raw, reader)
        for what, (often, total) in sheet.assumed.items():
            rows, sums = (np.bincount(which[good], of[good], len(group)) for of in (often, total))
            for piece, count, summed in zip(pieces, rows, sums, strict=True):
                piece.note(what, int(count), summed)


def checked(table, sheet):
    """Check rows against what they say of themselves: their money, and their source's own total of tokens."""
    if "billed_usd" in table:
        table["own_money"] = table.get("own_money", table["billed_usd"])
        measures = table.reindex(columns=[*TOKEN_COLUMNS, "quantity"]).fillna(0)
        nothing = measures.eq(0).all(axis=1) & ~sheet.money_only
        sheet.refuse(nothing & (table["billed_usd"].fillna(0) != 0), "money without tokens")
    if "own_tokens" in table:
        gap = (table["own_tokens"] - counted_tokens(table)).fillna(0).where(~sheet.money_only, 0)
        told = "the source's own total of tokens is not the sum of its parts; the difference"
        sheet.assume(gap != 0, told, gap)
    return table


def _note_columns(sheet, raw, reader):
    """Note the numeric columns of a flat table, and the numbers in its usage objects, that the reader did not look at."""
    for column in raw.columns.difference([*sheet.looked, *reader.idle], sort=False):
        cells, name, sizes = raw[column], str(column), {}
        if _USAGE.search(name) and cells.map(type).eq(dict).any():
            for row, cell in enumerate(cells):
                inside = Counters().left({name: cell} if type(cell) is dict else {})
                for counter, number in inside.items():
                    if counter in sizes or len(sizes) < _NOTES:
                        sizes.setdefault(counter, np.zeros(len(cells)))[row] = number
        elif cells.dtype.kind in "OTUiuf":
            numbers = floats(cells)
            sizes[name] = np.where(np.isfinite(numbers), numbers, 0)
        for counter, size in sizes.items():
            sheet.assume(size != 0, unread(counter), size)


def read_file(piece, pool, readers, *, chosen=None, otherwise=None):
    """Read the file of a piece into a pool, with the reader chosen, the one that recognises it, or else `otherwise`.

    Without a pool, only check whether the first rows can be read.

    Raises
    ------
    ValueError
        If no reader recognises the file, or its first rows cannot be read.
    """
    kind, head, stream, reader = _opened(piece.file, readers, chosen, otherwise)
    piece.format, faults, unchecked = reader.name, [], reader.check
    rest = () if pool is None else stream
    for lines, frame, broken in _blocks(kind, chain(head, rest), reader):
        faults += broken
        if len(frame.columns):  # not faults alone
            if unchecked:
                reader, unchecked = unchecked(frame), None
            if pool is None:
                return
            pool.add(piece, reader, lines, frame)
    if pool is not None:
        pool.refuse(piece, faults)


def names_of(file):
    """Return the names of the fields of a file's first record."""
    kind, stream = opened(file)
    return list(next(iter(_probe(kind, block_of(stream, 1))), ()))


def _opened(file, readers, chosen, otherwise):
    """Return the kind of a file, its first items, the rest of its stream, and its reader."""
    kind, stream = opened(file)
    head = block_of(stream, 1 if kind == "table" else _PROBED)
    seen, reader = [], chosen
    for record in _probe(kind, head):
        seen.append(record)
        reader = chosen or next((one for one in readers if _bears(record, one)), None)
        if reader:
            break
    if not seen and head and isinstance(head[0], Fault):
        raise ValueError(f"line {head[0].line}: {head[0].reason}")
    reader = reader or (otherwise if seen else None)
    if reader is None:
        raise ValueError(_strange(kind, head, seen, readers))
    return kind, head, stream, reader


def _probe(kind, head):
    """Return the first records of a file or, for a table, one record with the names of its columns."""
    if kind == "table":
        return [dict.fromkeys(map(str, frame)) for _, frame in head]
    first = islice(records(head), _PROBED)
    return (item[1] for item in first if not isinstance(item, Fault))


def _blocks(kind, stream, reader):
    """Yield (lines, DataFrame of flat rows, faults) for each block of a file."""
    if kind == "records":
        blocks = [stream] if reader.whole else iter(lambda: block_of(stream, BLOCK), [])
        for block in blocks:
            yield _framed(records(block), reader)
        return
    for item in stream:
        if isinstance(item, Fault):
            yield [], pd.DataFrame(), [item]
        elif reader.rows is None:
            yield item[0], item[1].rename(columns=str).reset_index(drop=True), []
        else:
            lines, frame = item
            yield _framed(zip(lines.tolist(), frame.to_dict("records"), strict=True), reader)


def _framed(items, reader):
    faults = []

    def pairs():
        for item in items:
            if isinstance(item, Fault):
                faults.append(item)
            else:
                yield item

    lines, rows = [], []
    for line, row in reader.rows(pairs()) if reader.rows else pairs():
        if row is None:
            faults.append(Fault(line, "not an object"))
        else:
            lines.append(line)
            rows.append(row)
    return lines, pd.DataFrame(rows), faults
