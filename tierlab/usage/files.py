"""Files of logs: find them, open them whatever their packing and encoding, and hand out their records.

A record that cannot be read becomes a `Fault`; the rest of the file goes on. Nothing is held in memory but a
block of rows, or of 64 MiB of text, whichever is less.

A line ends at \n, \r\n or \r. A row of a CSV file is what Python's csv module reads of its lines: a quotation mark
opens a cell only as its first character, anywhere else it is a character like any other. A row of more than one
line is believed if csv reads it strictly, it has as many cells as the header, and it does not hold another row of
the file whole. Otherwise the quote is a stray one: each of its lines stands alone (the last of them is read anew,
and may begin a row of several lines). A line on its own in which a quote stays open is set aside. So every line is
looked at twice at most, and the lines that went in are counted against those that came out.

Files: recognised, read a block at a time, their rows kept or set aside; small files of one form go through together.
"""

import csv
import gzip
import io
import json
import zlib
from collections import Counter, deque
from dataclasses import dataclass, field
from glob import glob, has_magic
from hashlib import file_digest
from itertools import chain, dropwhile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from tierlab.core.untrusted import LINE_BYTES, regular, shown
from tierlab.core.vocabulary import unknown
from tierlab.usage.formats.mending import mended
from tierlab.usage.reader import nearest, recognised
from tierlab.usage.sheet import Sheet

SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".log", ".txt")
BLOCK = 1 << 16  # rows handled at a time: with `LINE_BYTES`, what bounds the memory
FAST_BLOCK = 1 << 14  # lines read at once the fast way: what one bad line sends the slow way
_MiB = LINE_BYTES >> 20
_TOO_LONG = f"above the limit of {_MiB} MiB for one line"
_ENDS_EARLY = "packed file ends early"
_CELLS = "another number of cells than the header"
csv.field_size_limit(2 * LINE_BYTES)


@dataclass(frozen=True)
class Fault:
    """A record that cannot be read: its line, why, and what may be shown of it (never its text)."""

    line: int
    reason: str
    excerpt: str = ""


def find(paths):
    """Every file that paths, folders (all levels) and glob patterns lead to, each once.

    Raises
    ------
    ValueError
        If a path does not exist (with the nearest name beside it), or a folder or pattern leads to no file.
    """
    found = []
    for given in [paths] if isinstance(paths, (str, Path)) else list(paths):
        path = Path(given).expanduser()
        if path.is_dir():
            files = _inside(path)
        elif path.exists():
            files = [regular(path)]
        elif has_magic(str(given)):
            names = sorted(glob(str(path), recursive=True))  # noqa: PTH207
            files = [file for name in names for file in _inside(Path(name))]
        else:
            beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
            raise ValueError(
                f"{given}: no such file; "
                + unknown("name", path.name, beside or ["(the folder does not exist)"])
            )
        if not files:
            raise ValueError(
                f"{given}: leads to no file; readable are {', '.join(SUFFIXES)} and each with .gz"
            )
        found += files
    if not found:
        raise ValueError("paths is empty; give a file, a folder or a pattern")
    return list({file.absolute(): file for file in found}.values())


def first_of_copies(files):
    """For each file whose content came before in the list, under another name or as a copy: the file it repeats."""
    stats = {file: file.stat() for file in files}
    sizes = Counter({(one.st_dev, one.st_ino): one.st_size for one in stats.values()}.values())
    names, contents, found = {}, {}, {}
    for file, one in stats.items():
        first = names.setdefault((one.st_dev, one.st_ino), file)
        if first is file and sizes[one.st_size] > 1:
            with file.open("rb") as stream:
                first = contents.setdefault(file_digest(stream, "blake2b").digest(), file)
        if first is not file:
            found[file] = found.get(first, first)
    return found


def _inside(path):
    return (
        sorted(file for file in path.rglob("*") if _is_log(file))
        if path.is_dir()
        else [regular(path)]
    )


def _is_log(file):
    name = file.name.lower().removesuffix(".gz")
    return name.endswith(SUFFIXES) and not name.startswith(".") and file.is_file()


def opened(path):
    """(kind, stream) of a file.

    The stream of a "table" (CSV, Parquet) yields (lines, DataFrame of a block of rows), that of "lines" (line, JSON
    text), that of a "document" (line, what it holds); each yields a Fault for what cannot be read. "empty" has none.
    """
    with regular(path).open("rb") as file:
        magic = file.read(4)
    if magic == b"PAR1":
        return "table", _parquet(path)
    stream = dropwhile(_is_blank, lines_of(path))
    head = block_of(stream, 50)
    texts = [item[1] for item in head if not isinstance(item, Fault) and not _is_blank(item)]
    stream = chain(head, stream)
    if not texts:
        return ("lines" if head else "empty"), stream
    if 2 * sum(isinstance(parsed(line), (dict, list)) for line in texts) >= len(texts):
        return "lines", (item for item in stream if not _is_blank(item))
    return (
        ("document", _document(stream))
        if texts[0].lstrip()[0] in "{["
        else ("table", table(stream))
    )


def _is_blank(item):
    return not isinstance(item, Fault) and not item[1].strip()


def block_of(stream, most):
    """The next items of a stream in a list: so many at most, and few enough to hold little more than one long line."""
    block, room = [], LINE_BYTES
    for item in stream:
        block.append(item)
        room -= size(item)
        if len(block) == most or room <= 0:
            break
    return block


def size(item):
    """Characters of the text in an item of a stream."""
    return len(item[1]) if isinstance(item, tuple) and isinstance(item[1], str) else 0


def lines_of(path):
    """(number, text) of each line; UTF-8, UTF-16, UTF-32 or Latin-1, packed or not. A line above the limit is a Fault."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    number = 0
    with gzip.open(path, "rb") if packed else path.open("rb") as file:
        try:
            wide = _wide(file.read(4))
            file.seek(0)
            # Latin-1 gives each byte a character: enough to find the ends of lines, and to have the bytes back.
            source = io.TextIOWrapper(file, wide or "latin-1", errors="replace", newline="")
            while line := source.readline(LINE_BYTES + 1):
                number += 1
                if len(line) > LINE_BYTES:
                    while line and line[-1] not in "\r\n":
                        line = source.readline(1 << 20)
                    yield Fault(number, _TOO_LONG)
                    continue
                text = line if wide or line.isascii() else _text(line.encode("latin-1"))
                yield number, text.lstrip("\ufeff") if number == 1 else text
        except (EOFError, gzip.BadGzipFile, zlib.error):
            yield Fault(number + 1, _ENDS_EARLY)


def _wide(head):
    if head in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        return "utf-32"
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    zeros = [byte == 0 for byte in head]
    return {(False, True, False, True): "utf-16-le", (True, False, True, False): "utf-16-be"}.get(
        tuple(zeros)
    )


def _text(line):
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _document(stream):
    lines, faults, held = [], [], 0
    for item in stream:
        (faults if isinstance(item, Fault) else lines).append(item)
        held += size(item)
        if held > LINE_BYTES:
            raise ValueError(
                f"a JSON document above the limit of {_MiB} MiB; write it as JSON lines, a record a line"
            )
    document, cuts = mended("".join(line for _, line in lines))
    if document is None:  # no document after all
        yield from (item for item in lines if item[1].strip())
    else:
        yield 1, document
        yield from (Fault(line, "broken JSON", f"{length:,} characters") for line, length in cuts)
    yield from faults


def parsed(line):
    """The JSON value of a line, None where it holds none."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def records(stream, faults):
    """(line, object) of a stream of JSON lines or documents, lists opened; what is no object goes to `faults`."""
    for item in stream:
        if isinstance(item, Fault):
            faults.append(item)
            continue
        number, value = item
        if isinstance(value, str):
            line, value = value, parsed(value)
            if value is None:
                faults.append(Fault(number, "broken JSON line", f"{len(line):,} characters"))
                continue
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                yield number, one
            else:
                faults.append(Fault(number, "not an object"))


def table(stream):
    """(first lines, DataFrame) of blocks of rows of a CSV file, and a Fault for what is no row.

    Raises
    ------
    ValueError
        If the header cannot be read, or names a column twice; and if a line is neither in a row nor in a fault.
    """
    tape = _Tape(stream)
    header, delimiter = _header(tape)
    lines, rows, room, accounted = [], [], LINE_BYTES, 1
    for number, span, cells, why in _rows(tape, delimiter, len(header)):
        accounted += span
        if why:
            yield Fault(
                number,
                why,
                "" if cells is None else f"{len(cells)} cells, {len(header)} in the header",
            )
        else:
            lines.append(number)
            rows.append(cells)
            room -= sum(map(len, cells))
        yield from tape.told()
        if len(rows) == BLOCK or room <= 0:
            yield np.array(lines, int), pd.DataFrame(rows, columns=header, dtype="str")
            lines, rows, room = [], [], LINE_BYTES
    yield from tape.told()
    yield np.array(lines, int), pd.DataFrame(rows, columns=header, dtype="str")
    if accounted != tape.read:
        raise ValueError(f"{tape.read:,} lines were read, and {accounted:,} are accounted for")


def header_of(path):
    """Names of the columns of a CSV file."""
    return _header(_Tape(dropwhile(_is_blank, lines_of(path))))[0]


class _Tape:
    """Lines for the csv module, which may be wound back. `taken`: those of the row that is being read."""

    def __init__(self, stream):
        self.taken, self.read, self._stream, self._back, self._faults, self._room = (
            [],
            0,
            stream,
            deque(),
            [],
            LINE_BYTES,
        )

    def __iter__(self):
        return self

    def __next__(self):
        if self._room < 0:  # a row of many lines is bounded as a line is: no row goes on for ever
            raise StopIteration
        line = self._back.popleft() if self._back else self._next()
        self.taken.append(line)
        self._room -= len(line[1])
        return line[1]

    def _next(self):
        for item in self._stream:
            if isinstance(item, Fault):
                self._faults.append(item)
            elif item[1].rstrip("\r\n"):
                self.read += 1
                return item
        raise StopIteration

    def begin(self):
        self.taken, self._room = [], LINE_BYTES

    def back(self, lines):
        self._back.extendleft(reversed(lines))

    def told(self):
        found, self._faults = self._faults, []
        return found


def _header(tape):
    try:
        first = next(tape)
    except StopIteration:
        raise ValueError("the file is empty") from None
    delimiter = Counter({mark: first.count(mark) for mark in ",;\t"}).most_common(1)[0][0]
    cells = _alone(first, delimiter)
    if cells is None:
        raise ValueError("the header has a quote that does not close")
    header = [name.strip() for name in cells]
    if len(set(header)) < len(header):
        twice = next(name for name, times in Counter(header).items() if times > 1)
        raise ValueError(f"the header has {shown(repr(twice))} twice")
    return header, delimiter


def _rows(tape, delimiter, width):
    """(first line, lines, cells, why it is no row or "") of each row of a tape; see the module's words on the grammar."""
    strict = csv.reader(tape, delimiter=delimiter, strict=True)
    while True:
        tape.begin()
        try:
            cells = next(strict)
        except StopIteration:
            return
        except csv.Error:
            cells = None
        lines = tape.taken
        if cells is not None and (
            len(lines) == 1 or (len(cells) == width and not _holds_a_row(lines, delimiter, width))
        ):
            yield lines[0][0], len(lines), cells, "" if len(cells) == width else _CELLS
            continue
        if len(lines) > 1:
            tape.back([lines.pop()])
        for number, line in lines:
            cells = _alone(line, delimiter)
            why = (
                "a quote that does not close"
                if cells is None
                else ""
                if len(cells) == width
                else _CELLS
            )
            yield number, 1, cells, why


def _alone(line, delimiter):
    """The cells of one line, None where a quote stays open at its end."""
    reader = csv.reader((line, ""), delimiter=delimiter)
    cells = next(reader)
    return cells if reader.line_num == 1 else None


def _holds_a_row(lines, delimiter, width):
    """Whether a row of several lines is two rows with a stray quote each: both its first line and a later one, with
    their quotes as characters, have a row's number of cells, and numbers in the same of them."""
    first, *later = (line.strip().split(delimiter) for _, line in lines)
    numbers = [cell.replace(".", "", 1).isdecimal() for cell in first]
    return (
        len(first) == width
        and any(numbers)
        and any(
            len(cells) == width
            and [cell.replace(".", "", 1).isdecimal() for cell in cells] == numbers
            for cells in later
        )
    )


def _parquet(path):
    number = 0
    for batch in pq.ParquetFile(path).iter_batches(BLOCK):
        yield np.arange(number + 1, number + 1 + batch.num_rows), batch.to_pandas()
        number += batch.num_rows


_PROBED = 1000  # records looked at before a file counts as unknown


@dataclass
class Piece:
    """What came out of one file."""

    file: Path
    format: str
    kind: str = "requests"
    provider: str = ""
    problem: str = ""
    copied: int = 0
    rows_read: int = 0
    faults: list = field(default_factory=list)
    assumed: Counter = field(default_factory=Counter)


def copied(file, piece):
    """A file with the content of one that was read before: all its rows are duplicates."""
    told = Counter({f"the same content as {piece.file.name}, which counts once": piece.rows_read})
    read = piece.rows_read
    return Piece(
        file,
        piece.format,
        piece.kind,
        problem=piece.problem,
        rows_read=read,
        copied=read,
        assumed=told,
    )


class Pool:
    """Blocks of rows on their way through the readers; what has the same reader and columns goes through in one sheet.

    A sheet looks at each row on its own, so that a row comes out the same whichever others are beside it.

    Attributes
    ----------
    kept, aside : list of DataFrame
        Rows, with `file` (its place in the list of files) and `block` (the place of their block in the order of reading).
    """

    def __init__(self, timezone):
        self.kept, self.aside, self._timezone, self._waiting, self._rows, self._blocks = (
            [],
            [],
            timezone,
            {},
            Counter(),
            0,
        )

    def add(self, place, piece, reader, lines, frame):
        """Take a block of rows of the piece at a place in the list of files."""
        self._blocks += 1
        key = reader, tuple(frame.columns), tuple(map(str, frame.dtypes))
        group = self._waiting.setdefault(key, [])
        group.append((place, self._blocks, piece, np.asarray(lines, int), frame))
        self._rows[key] += len(frame)
        if self._rows[key] >= BLOCK:
            del self._rows[key]
            self._through(reader, self._waiting.pop(key))

    def finish(self):
        """Read what still waits."""
        for (reader, *_), group in self._waiting.items():
            self._through(reader, group)
        self._waiting, self._rows = {}, Counter()

    def _through(self, reader, group):
        places, blocks, pieces, lines, frames = zip(*group, strict=True)
        sheet = Sheet(
            pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0], self._timezone
        )
        try:
            with np.errstate(invalid="ignore"):
                columns = reader.columns(sheet)
        except ValueError as error:
            if len(group) == 1:
                pieces[0].problem = str(error)
            else:  # which of them it is
                for block in group:
                    self._through(reader, [block])
            return
        sizes = np.array([len(frame) for frame in frames])
        good = sheet.reason == ""
        table = pd.DataFrame(columns, index=sheet.raw.index).assign(
            row=np.concatenate(lines),
            money_only=sheet.money_only,
            file=np.repeat(places, sizes),
            block=np.repeat(blocks, sizes),
        )
        self.kept.append(table[good])
        owned = [
            name
            for name in ("file", "block", "own_tokens", "own_money", "own_currency")
            if name in table
        ]
        bad = table.loc[~good, owned].assign(
            line=table["row"][~good], reason=sheet.reason[~good], excerpt=sheet.excerpt[~good]
        )
        self.aside.append(bad)
        ends = np.cumsum(sizes)
        for what, often in sheet.assumed.items():
            sums = np.concatenate([[0], np.cumsum(often)])
            for piece, count in zip(pieces, sums[ends] - sums[ends - sizes], strict=True):
                piece.assumed[what] += int(count)
        for piece, rows in zip(pieces, sizes, strict=True):
            piece.rows_read += int(rows)


def read_file(place, file, pool, reader, readers, otherwise=None):
    """One file into a pool, for a reader, or for the one that recognises it, or else for `otherwise`.

    Raises
    ------
    ValueError
        If no reader recognises the file.
    """
    kind, stream = opened(file)
    if kind == "empty":
        raise ValueError("the file is empty")
    piece, head, probe, room = Piece(file, ""), [], [], LINE_BYTES
    for item in stream:
        head.append(item)
        room -= size(item)
        if not isinstance(item, Fault):
            probe += (
                [dict.fromkeys(map(str, item[1]))]
                if kind == "table"
                else [one for _, one in records([item], [])][:_PROBED]
            )
        if probe and (reader or kind == "table" or recognised(probe[-1], readers)):
            break
        if kind != "table" and (len(head) == _PROBED or room <= 0):
            break
    reader = reader or next(
        (found for record in reversed(probe) if (found := recognised(record, readers))), None
    )
    if reader is None and otherwise and probe:
        reader = otherwise
    if not probe and head and isinstance(head[0], Fault):
        raise ValueError(f"line {head[0].line}: {head[0].reason}")
    if reader is None:
        near = nearest(probe, readers)
        fields = list(dict.fromkeys(name for record in probe[:50] for name in record))[:12]
        raise ValueError(
            f"the format is unknown{f'; nearest is {near!r}' if near else ''}; its fields are {[shown(name, 40) for name in fields]}"
        )
    piece.format, piece.kind, piece.provider = reader.name, reader.kind, reader.provider
    blocks = (
        _frames
        if kind == "table"
        else _line_blocks
        if reader.fast and kind == "lines"
        else _record_blocks
    )
    for lines, frame in blocks(chain(head, stream), reader, piece.faults):
        pool.add(place, piece, reader, lines, frame)
    piece.rows_read += len(piece.faults)
    return piece


def _frames(tables, reader, faults):
    """(lines, DataFrame of flat rows) of a table's blocks."""
    for item in tables:
        if isinstance(item, Fault):
            faults.append(item)
        elif reader.rows is None:
            yield item[0], item[1].rename(columns=str).reset_index(drop=True)
        else:
            yield from _record_blocks(
                zip(item[0].tolist(), item[1].to_dict("records"), strict=True), reader, faults
            )


def _record_blocks(stream, reader, faults):
    """Blocks of JSON records, which end where many rows or much text has been taken in."""
    taken = 0

    def counted():
        nonlocal taken
        for item in stream:
            taken += size(item)
            yield item

    pairs = records(counted(), faults)
    rows, block = reader.rows(pairs) if reader.rows else pairs, []
    for line, row in rows:
        if row is None:
            faults.append(Fault(line, "not an object"))
            continue
        block.append((line, row))
        if len(block) == BLOCK or taken > LINE_BYTES:
            yield _framed(block)
            block, taken = [], 0
    yield _framed(block)


def _line_blocks(stream, reader, faults):
    """Blocks of JSON lines through the reader's fast way, one by one where a line of the block does not fit it."""
    while block := block_of(stream, FAST_BLOCK):
        faults.extend(item for item in block if isinstance(item, Fault))
        block = [item for item in block if not isinstance(item, Fault)]
        frame = (
            reader.fast([line for _, line in block]) if len(block) > 5 else None
        )  # a few are faster one by one
        if frame is None:
            yield from _record_blocks(block, reader, faults)
        else:
            yield [number for number, _ in block], frame


def _framed(block):
    return [line for line, _ in block], pd.DataFrame([row for _, row in block]).reset_index(
        drop=True
    )
