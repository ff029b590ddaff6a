"""What a reader is: how a file is recognised, and how its records become rows; and the way of a file through its reader.

Files are read a block at a time. Blocks of the same reader and columns go through one sheet together, so that a
folder of many small files takes no longer than one large file.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, chain, islice
from pathlib import Path

import numpy as np
import pandas as pd

from tierlab.core.tables import TOKEN_COLUMNS
from tierlab.core.untrusted import shown
from tierlab.usage.counters import ALL, Counters
from tierlab.usage.files import BLOCK, Fault, block_of, opened, parsed, records
from tierlab.usage.repeats import counted_tokens
from tierlab.usage.sheet import Sheet

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
_NO_COUNTER = re.compile(r"first_?token|max_?|limit|per_?token", re.I)
_NOTES = 100  # different things that are told of one file
_PROBED = 1000  # records looked at before a file counts as unknown


@dataclass(frozen=True)
class Reader:
    """One format of one source.

    Attributes
    ----------
    name : str
        What `format` calls it.
    marks : tuple of tuple of str
        Fields that give it away, nested ones as "outer.inner", with a value as "field=value": a record that has all of
        one tuple is of this format.
    columns : callable
        Sheet -> dict of columns of the requests table (and, for money, `provider`, `line` and `usd`). Beside them
        `key`, a hash of what names a row wherever it turns up again (0: nothing does); `call`, a hash that makes
        rows of one key the same call even if their input counts differ; `updated`, times by which the newest row of
        a key counts and not the fullest; `span` and `parent`, hashes of a span and of the one above it; and `own_tokens`,
        `own_money` and `own_currency`, the source's own totals, never sums of what was read.
    rows : callable, optional
        (line, record) pairs -> (line, flat dict) pairs, None in place of a dict that cannot be one; without it
        records are flat rows already. See `picked`.
    provider : str
        Whose usage or bill it is; "" for a log of many.
    kind : {"requests", "usage", "money"}
        One request a row, an aggregate of tokens, or dollars.
    whole : bool
        Whether `rows` needs all records of a file at once.
    idle : tuple of str
        Of a flat table: numeric columns that are read by no rule and need not be told.
    counters : str
        Of a flat table: a pattern for the names of columns that are told where no rule reads them.
    check : callable, optional
        Takes the first rows of a file as a DataFrame, raises ValueError where it cannot be read at all, and returns the
        reader of the file.
    """

    name: str
    marks: tuple
    columns: Callable
    rows: Callable | None = None
    provider: str = ""
    kind: str = "requests"
    whole: bool = False
    idle: tuple = ()
    counters: str = ""
    check: Callable | None = None


TOKENS = "*token*"  # in place of a usage object: the counters of a record that have the word in their names
# Fields of a record that may hold counters, but for those that may repeat a whole request or answer with its usage.
_BODIES = re.compile(
    r"message|request|response|body|metadata|propert|input|output|prompt|choice|header|param", re.I
)


def picked(fields, *, lists=(), texts=(), usage=(), idle=()):
    """A `rows` function that picks fields out of nested records.

    Parameters
    ----------
    fields : dict of str to tuple of str
        Column -> where its value may be, as "outer.inner"; the first place that holds one counts.
    lists : sequence of str
        Lists inside lists, the outermost first, each of whose objects is a row with the fields around it.
    texts : sequence of str
        Fields whose object may be written as JSON text.
    usage : sequence of str
        Where usage objects lie; "" is the record itself, `TOKENS` what speaks of tokens in it. Numbers
        in them that `fields` does not read are told (`tierlab.usage.counters`). Of the places of one counter the
        first that is not zero counts, and others that hold another number are told.
    idle : sequence of str
        Places inside usage objects that hold nothing more.
    """
    # Places share their beginnings, and each object on the way is looked up once: `walk` has, for the number of
    # each object, the steps out of it and the numbers of what they lead to.
    numbers, walk = {"": 0}, {}
    for place in chain.from_iterable(fields.values()):
        for name in accumulate(place.split("."), "{}.{}".format):
            if name not in numbers:
                outer, _, step = name.rpartition(".")
                numbers[name] = len(numbers)
                walk.setdefault(numbers[outer], []).append((step, numbers[name]))
    first = {ours: numbers[theirs[0]] for ours, theirs in fields.items()}
    others = [(ours, numbers[one], one) for ours, theirs in fields.items() for one in theirs[1:]]
    places = list(chain.from_iterable(fields.values()))
    idle = [*idle, *(f"{name}.{ALL}" for name in lists)]
    counters = {
        place: Counters([_within(one, place) for one in places if _within(one, place)], idle)
        for place in usage
    }
    counted = {
        ours
        for ours, theirs in fields.items()
        if all(any(_within(one, place) for place in usage) for one in theirs)
    }

    empty = [None] * (len(numbers) - 1)

    def row_of(record):
        values = [record, *empty]
        for outer, steps in walk.items():
            value = values[outer]
            if isinstance(value, list):  # its first object
                value = next((item for item in value if isinstance(item, dict)), None)
            if isinstance(value, dict):
                for step, number in steps:
                    values[number] = value.get(step)
        row = {ours: values[number] for ours, number in first.items()}
        left = {}
        for ours, number, place in others:
            value, chosen = values[number], row[ours]
            if value is None:
                continue
            if chosen is None or (not chosen and ours in counted):
                row[ours] = value
            elif value and value != chosen and ours in counted:
                left |= Counters(()).left({place: value})
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
            record = record | {name: loaded(record[name]) for name in texts if name in record}
            for item in unfolded(record, lists) if lists else (record,):
                yield line, None if item is None else row_of(item)

    return rows


def _within(place, usage):
    """A place as seen from a usage object, "" where it lies outside."""
    if usage in ("", TOKENS):
        return place
    return place.removeprefix(f"{usage}.") if place.startswith(f"{usage}.") else ""


@lru_cache(maxsize=1000)
def _of_tokens(names):
    """Those of a record's fields that may hold counters of tokens."""
    return [
        name
        for name in names
        if ("oken" in name or not _BODIES.search(name)) and not _NO_COUNTER.search(name)
    ]


def _object(record, place):
    """The usage object, or the list of them, at a place of a record."""
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
    """Fields whose columns have the source's own names."""
    return {name: (name,) for name in names}


def unfolded(record, lists):
    """The objects in lists inside lists, each with the fields around it; None for each that is not an object."""
    if record is None or not lists:
        yield record
        return
    first, *rest = lists
    for item in children(record, first) if first in record else [{}]:
        yield from unfolded(None if item is None else record | item, rest)


def child(record, name):
    """The object under a name; {} where there is none, or something else."""
    value = record.get(name)
    return value if isinstance(value, dict) else {}


def children(record, name):
    """The objects in the list under a name, with None for each that is not an object."""
    value = record.get(name)
    if value is None:
        return []
    return [
        item if isinstance(item, dict) else None
        for item in (value if isinstance(value, list) else [None])
    ]


def added(values):
    """The sum of some counts, None for none; or the first that is not a number, so that its row shows what is wrong."""
    given = [value for value in values if value is not None]
    wrong = [one for one in given if isinstance(one, bool) or not isinstance(one, (int, float))]
    if wrong or not given:
        return wrong[0] if wrong else None
    return sum(given)


def loaded(value, kind=dict):
    """A nested object that may have been written as JSON text; empty where it is neither."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        value = parsed(value)
    elif isinstance(value, list) and kind is dict and all(isinstance(one, tuple) for one in value):
        value = dict(value)  # a map of a Parquet file
    return value if isinstance(value, kind) else kind()


def _has(record, path):
    """Whether a record has a field; "data.results.amount" looks into objects and the first items of lists."""
    path, equals, wanted = path.partition("=")
    first, _, rest = path.partition(".")
    if not isinstance(record, dict) or first not in record:
        return False
    value = record[first]
    if not rest:
        return not equals or value == wanted
    return any(
        _has(item, rest + equals + wanted)
        for item in (value[:20] if isinstance(value, list) else [value])
    )


def _recognised(record, readers):
    """The reader whose marks a record bears, or None."""
    bears = (
        reader
        for reader in readers
        if any(all(_has(record, path) for path in marks) for marks in reader.marks)
    )
    return next(bears, None)


def _strange(kind, head, seen, readers):
    """What is said of a file that no reader recognises: how a table of one's own would be read, and what was looked for."""
    told = ""
    own = next((reader for reader in readers if reader.check), None)
    if kind == "table" and own:
        try:
            own.check(head[0][1])
        except ValueError as error:
            told = f"as a table of one's own, {error}"
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
    """What came out of one file; `place` is its place in the list of files."""

    file: Path
    place: int
    format: str = ""
    problem: str = ""
    copied: int = 0
    rows_read: int = 0
    assumed: dict = field(default_factory=dict)

    def note(self, what, rows, total=np.nan):
        """Count rows in which something is taken for granted, with the sum of what it is about."""
        if rows and (what in self.assumed or len(self.assumed) < _NOTES):
            before, summed = self.assumed.get(what, (0, 0.0))
            self.assumed[what] = before + rows, summed + total

    def again(self, file, place):
        """The piece of a file with the same content: all its rows are duplicates."""
        rows, told = self.rows_read, f"the same content as {self.file.name}, which counts once"
        return Piece(file, place, self.format, self.problem, rows, rows, {told: (rows, np.nan)})


class Pool:
    """Blocks of rows on their way through the readers; what has the same reader and columns goes through in one sheet.

    A sheet looks at each row on its own, so that a row comes out the same whichever others are beside it.

    Attributes
    ----------
    kept, aside : list of DataFrame
        Rows, with `file` (its place in the list of files) and `block` (the place of their block in the order of reading).
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
        """Set aside what is not a row."""
        if faults:
            piece.rows_read += len(faults)
            rows = pd.DataFrame(faults).assign(file=piece.place, block=0)
            self.aside.append(rows.assign(**UNLINKED))

    def finish(self):
        """Read what still waits."""
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
            else:  # which of them it is
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
            sheet.tell_columns(raw, reader)
        for what, (often, total) in sheet.assumed.items():
            rows, sums = (np.bincount(which[good], of[good], len(group)) for of in (often, total))
            for piece, count, summed in zip(pieces, rows, sums, strict=True):
                piece.note(what, int(count), summed)


def checked(table, sheet):
    """Rows of a reader held against what they say of themselves: their money, and their source's total of tokens."""
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


def read_file(piece, pool, readers, *, chosen=None, otherwise=None):
    """Put the file of a piece into a pool, through the reader chosen, or the one that recognises it, or else `otherwise`.

    Without a pool its first rows are looked at, whether they can be read, and that is all.

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
    pool.refuse(piece, faults)


def names_of(file):
    """Names of the fields of a file's first record."""
    kind, stream = opened(file)
    return list(next(iter(_probe(kind, block_of(stream, 1))), ()))


def _opened(file, readers, chosen, otherwise):
    """Kind, first items, the rest and reader of a file."""
    kind, stream = opened(file)
    head = block_of(stream, 1 if kind == "table" else _PROBED)
    seen, reader = [], chosen
    for record in _probe(kind, head):
        seen.append(record)
        reader = chosen or _recognised(record, readers)
        if reader:
            break
    if not seen and head and isinstance(head[0], Fault):
        raise ValueError(f"line {head[0].line}: {head[0].reason}")
    reader = reader or (otherwise if seen else None)
    if reader is None:
        raise ValueError(_strange(kind, head, seen, readers))
    return kind, head, stream, reader


def _probe(kind, head):
    """The first records of a file; of a table, one with the names of its columns."""
    if kind == "table":
        return [dict.fromkeys(map(str, frame)) for _, frame in head]
    first = islice(records(head), _PROBED)
    return (item[1] for item in first if not isinstance(item, Fault))


def _blocks(kind, stream, reader):
    """(lines, DataFrame of flat rows, faults) of a file's blocks."""
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
