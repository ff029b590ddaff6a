"""Files of logs: find them, open them whatever their packing and encoding, and hand out their records.

A record that cannot be read becomes a `Fault`, and the rest of the file goes on. Memory never holds more than a block of
rows, or 64 MiB of text, whichever is less.

A line ends at \\n, \\r\\n or \\r. A row of a CSV file is what Python's csv module reads from its lines: a quotation mark
opens a cell only as its first character; anywhere else it is a character like any other. A row of several lines is
believed if csv reads it strictly, if it has as many cells as the header, and if it does not contain another whole row.
Otherwise its opening quote is a stray one, and each of its lines stands alone, except that the last is read anew and
may begin a row of several lines. A line that stands alone with an open quote is set aside. So every line is looked at
twice at most, and each ends up in a row or in a fault.
"""

import csv
import gzip
import io
import json
import zlib
from collections import Counter
from dataclasses import dataclass
from glob import glob, has_magic
from hashlib import file_digest
from itertools import chain, dropwhile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from tierlab.core.untrusted import LINE_BYTES, regular, shown
from tierlab.core.vocabulary import unknown

SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".log", ".txt")
BLOCK = 1 << 16  # rows handled at a time; with `LINE_BYTES`, this bounds the memory
_FIRST = 200  # rows in a table's first block, which can be checked before the rest is read
_MiB = LINE_BYTES >> 20
_TOO_LONG = f"above the limit of {_MiB} MiB for one line"
_ENDS_EARLY = "packed file ends early"
_CELLS = "another number of cells than the header"
_MARKED = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_ZEROS = {(False, True, False, True): "utf-16-le", (True, False, True, False): "utf-16-be"}
_DECODER = json.JSONDecoder()
csv.field_size_limit(2 * LINE_BYTES)


@dataclass(frozen=True)
class Fault:
    """A record that cannot be read: its line, the reason, and what may be shown of it (never its text)."""

    line: int
    reason: str
    excerpt: str = ""


def find(paths):
    """Return every file that paths, folders (all levels) and glob patterns lead to, each once.

    Raises
    ------
    ValueError
        If a path does not exist (the nearest name beside it is given), or a folder or pattern leads to no file.
    """
    found = []
    # A folder "2026" arrives as a number from a command line that reads numbers.
    for given in [paths] if isinstance(paths, (str, Path, int)) else list(paths):
        path = Path(str(given)).expanduser()
        if path.exists():
            files = _inside(path)
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
                f"{given}: no file to read there; names end with {', '.join(SUFFIXES)}, each also with .gz"
            )
        found += files
    if not found:
        raise ValueError("paths is empty; give a file, a folder or a pattern")
    return list({file.absolute(): file for file in found}.values())


def _inside(path):
    return sorted(filter(_is_log, path.rglob("*"))) if path.is_dir() else [regular(path)]


def _is_log(file):
    name = file.name.lower().removesuffix(".gz")
    return name.endswith(SUFFIXES) and not name.startswith(".") and file.is_file()


def first_of_copies(files):
    """Return, for each file whose content came earlier in the list (a copy or a second name), the file that it repeats."""
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


def opened(path):
    """Return a file's kind and a stream of what is in it.

    The stream of a "table" (CSV, Parquet) yields (lines, DataFrame of a block of rows) and begins with such a block; the
    stream of "records" yields (line, JSON text or value). Both yield a Fault for what cannot be read.

    Raises
    ------
    ValueError
        If the file is empty or a ZIP archive; and, from the stream, if JSON over several lines is broken or too long.
    """
    with regular(path).open("rb") as file:
        magic = file.read(4)
    if magic == b"PAR1":
        return "table", _parquet(path)
    if magic == b"PK\3\4":
        raise ValueError("a ZIP archive or an Excel workbook: unpack it, or save it as CSV")
    stream = dropwhile(_is_blank, lines_of(path))
    head = block_of(stream, 50)
    if not head:
        raise ValueError("the file is empty")
    texts = [item[1] for item in head if not isinstance(item, Fault) and not _is_blank(item)]
    stream = chain(head, stream)
    if 2 * sum(isinstance(parsed(line), (dict, list)) for line in texts) >= len(texts):
        return "records", (item for item in stream if not _is_blank(item))
    if texts[0].lstrip()[0] in "{[":
        return "records", _document(stream)
    return "table", table(stream)


def _is_blank(item):
    return not isinstance(item, Fault) and not item[1].strip()


def block_of(stream, most):
    """Return the next items of a stream: at most `most`, and not much more text than one line may have."""
    block, room = [], LINE_BYTES
    for item in stream:
        block.append(item)
        room -= _size(item)
        if len(block) == most or room <= 0:
            break
    return block


def _size(item):
    """Return how many characters an item of a stream holds, in a line or in the cells of a row."""
    text = "" if isinstance(item, Fault) else item[1]
    if isinstance(text, str):
        return len(text)
    is_row = isinstance(text, list) and isinstance(text[0] if text else "", str)
    return len("".join(text)) if is_row else 0


def lines_of(path):
    """Yield (number, text) for each line of UTF-8, UTF-16, UTF-32 or Latin-1, packed or not; a Fault for one too long."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    number = 0
    with gzip.open(path, "rb") if packed else path.open("rb") as file:
        try:
            # A wide encoding is known by its mark, or by the zeros between letters.
            head = file.read(4)
            zeros = tuple(byte == 0 for byte in head)
            wide = _MARKED.get(head) or _MARKED.get(head[:2]) or _ZEROS.get(zeros)
            file.seek(0)
            # Latin-1 gives each byte a character, so that line ends are found and the bytes can be had back.
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


def _text(line):
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _document(stream):
    """Yield (first line, value) for a file that is one JSON value on several lines, or several such values in a row."""
    texts, held, first, several = [], 0, 1, True
    for item in stream:
        if isinstance(item, Fault):
            raise ValueError(f"line {item.line}: {item.reason}")
        texts.append(item[1])
        held += len(item[1])
        if held > LINE_BYTES:
            raise ValueError(
                f"a JSON document above the limit of {_MiB} MiB; write it as JSON lines, a record a line"
            )
        if several and item[1][:1] in ("}", "]"):
            value = parsed("".join(texts))
            several = (
                value is not None
            )  # otherwise that bracket is inside the one value of the file
            if several:
                yield first, value
                texts, held, first = [], 0, item[0] + 1
    rest = "".join(texts)
    try:
        if rest.strip():
            yield first, json.loads(rest)
    except (ValueError, RecursionError) as error:
        broken = isinstance(error, json.JSONDecodeError)
        where = f"line {first - 1 + error.lineno}" if broken else "some depth"
        raise ValueError(
            f"broken JSON at {where}: mend the file, or write it as JSON lines, a record a line"
        ) from None


def parsed(line):
    """Return the JSON value of a line, None if it is not one."""
    try:
        return _DECODER.decode(line)
    except (ValueError, RecursionError):
        return None


def records(stream):
    """Yield (line, object) for a stream of JSON texts or values, lists opened; a Fault for what is not an object."""
    for item in stream:
        if isinstance(item, Fault):
            yield item
            continue
        number, value = item
        if isinstance(value, str):
            value = parsed(value)
            if value is None:
                yield Fault(number, "broken JSON line", f"{len(item[1]):,} characters")
                continue
        for one in value if isinstance(value, list) else [value]:
            yield (number, one) if isinstance(one, dict) else Fault(number, "not an object")


def table(stream):
    """Yield (first lines, DataFrame) for each block of rows of a CSV file, at least one, and a Fault for any other line.

    Raises
    ------
    ValueError
        If the header cannot be read, or names a column twice.
    """
    lines = (item for item in stream if isinstance(item, Fault) or item[1].rstrip("\r\n"))
    header, delimiter, faults = _header(lines)
    rows, block, size = chain(faults, _rows(lines, delimiter, len(header))), True, _FIRST
    while block:
        block, size = block_of(rows, size), BLOCK
        good = [item for item in block if not isinstance(item, Fault)]
        numbers = np.array([number for number, _ in good], int)
        yield numbers, _frame([row for _, row in good], header, delimiter)
        yield from (item for item in block if isinstance(item, Fault))


def _frame(rows, header, delimiter):
    """Return rows, each a text without quotes or a list of cells, as a DataFrame of text."""
    if rows and all(isinstance(row, str) for row in rows):
        text = "\n".join(rows).encode()
        read = arrow_csv.read_csv(
            io.BytesIO(text),
            arrow_csv.ReadOptions(column_names=header, block_size=len(text) + 1),
            arrow_csv.ParseOptions(delimiter=delimiter, quote_char=False),
            arrow_csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string())),
        )
        return read.to_pandas().astype("str")
    cells = [row.split(delimiter) if isinstance(row, str) else row for row in rows]
    return pd.DataFrame(cells, columns=header, dtype="str")


def header_of(path):
    """Return the names of the columns of a CSV file."""
    return _header(dropwhile(_is_blank, lines_of(path)))[0]


def _header(lines):
    """Return the names of the columns, the delimiter, and the faults that come before the header."""
    faults = []
    for item in lines:
        if not isinstance(item, Fault):
            break
        faults.append(item)
    else:
        raise ValueError("the file is empty")
    delimiter = Counter({mark: item[1].count(mark) for mark in ",;\t"}).most_common(1)[0][0]
    cells = _alone(item[1], delimiter)
    if cells is None:
        raise ValueError("the header has a quote that does not close")
    header = [name.strip() for name in cells]
    twice = [name for name, times in Counter(header).items() if times > 1]
    if twice:
        raise ValueError(f"the header has {shown(repr(twice[0]))} twice")
    return header, delimiter, faults


def _rows(lines, delimiter, width):
    """Yield (first line, cells) for each row, or a Fault; the module's docstring has the grammar."""
    again = None
    while (item := again or next(lines, None)) is not None:
        again = None
        if isinstance(item, Fault):
            yield item
        elif '"' in item[1]:
            cells, taken, faults = _quoted(chain((item,), lines), delimiter)
            single = len(taken) == 1
            whole = bool(cells) and len(cells) == width
            if whole and (single or not _holds_a_row(taken, delimiter, width)):
                yield item[0], cells
            else:
                again = None if single else taken.pop()
                yield from (_row(number, _alone(line, delimiter), width) for number, line in taken)
            yield from faults
        # A line without a quote is a whole row, and split() is faster than csv.
        elif item[1].count(delimiter) == width - 1:
            yield item[0], item[1].rstrip("\r\n")
        else:
            yield _row(item[0], item[1].rstrip("\r\n").split(delimiter), width)


def _quoted(lines, delimiter):
    """Read the row that begins a stream of lines.

    Returns
    -------
    cells : list of str or None
        None if csv cannot read the row strictly.
    taken : list of (int, str)
        The lines that csv took for it.
    faults : list of Fault
        The faults among these lines.
    """
    taken, faults = [], []

    def feed():
        room = LINE_BYTES  # a row of many lines is bounded as a line is, so that no row goes on for ever
        for item in lines:
            if isinstance(item, Fault):
                faults.append(item)
                continue
            taken.append(item)
            yield item[1]
            room -= len(item[1])
            if room < 0:
                return

    try:
        cells = next(csv.reader(feed(), delimiter=delimiter, strict=True), None)
    except csv.Error:
        cells = None
    return cells, taken, faults


def _row(number, cells, width):
    if cells is None:
        return Fault(number, "a quote that does not close")
    if len(cells) != width:
        return Fault(number, _CELLS, f"{len(cells)} cells, {width} in the header")
    return number, cells


def _alone(line, delimiter):
    """Return the cells of one line, None if a quote is still open at its end."""
    reader = csv.reader((line, ""), delimiter=delimiter)
    cells = next(reader)
    return cells if reader.line_num == 1 else None


def _holds_a_row(lines, delimiter, width):
    """Return whether a row of several lines is really two rows with a stray quote each.

    It is if its first line and a later one, with their quotes as plain characters, both have as many cells as the
    header, and numbers in the same cells.
    """
    first, *later = (line.strip().split(delimiter) for _, line in lines)
    if len(first) != width or not any(map(_is_decimal, first)):
        return False
    numbers = list(map(_is_decimal, first))
    return any(list(map(_is_decimal, cells)) == numbers for cells in later)


def _is_decimal(cell):
    return cell.replace(".", "", 1).isdecimal()


def _parquet(path):
    number = 0
    for batch in pq.ParquetFile(path).iter_batches(BLOCK):
        batch.validate(full=True)  # text that is not UTF-8 would fail only where it is used
        yield np.arange(number + 1, number + 1 + batch.num_rows), batch.to_pandas()
        number += batch.num_rows
