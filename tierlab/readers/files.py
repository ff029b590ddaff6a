"""Files of logs: find them, open them whatever their packing and encoding, and hand out their records.

A record that cannot be read becomes a `Fault`; the rest of the file goes on.
"""

import csv
import gzip
import io
import json
import zlib
from collections import Counter
from dataclasses import dataclass
from glob import glob, has_magic
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from tierlab.names import unknown
from tierlab.readers.mending import mended

SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".log", ".txt")
BLOCK = 1 << 16  # rows handled at a time: what bounds the memory
FAST_BLOCK = 1 << 14  # lines read at once the fast way: what one bad line sends the slow way
_ENDS_EARLY = "\x00packed file ends early"  # stands for the line that is not there
_CELLS = "another number of cells than the header"
_OPEN_QUOTE_LINES = 50  # lines that a quoted cell may span before its quote counts as stray
csv.field_size_limit(1 << 30)


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
    found = {}
    for given in [paths] if isinstance(paths, (str, Path)) else list(paths):
        path = Path(given).expanduser()
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if _is_log(file))
        elif path.exists():
            files = [path]
        elif has_magic(str(given)):
            names = sorted(glob(str(path), recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
            files = [file for name in names for file in _inside(Path(name))]
        else:
            beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
            raise ValueError(f"{given}: no such file; " + unknown("name", path.name, beside or ["(the folder does not exist)"]))
        if not files:
            raise ValueError(f"{given}: leads to no file; readable are {', '.join(SUFFIXES)} and each with .gz")
        found |= {file.resolve(): file for file in files}
    if not found:
        raise ValueError("paths is empty; give a file, a folder or a pattern")
    return list(dict.fromkeys(found.values()))


def _inside(path):
    return sorted(file for file in path.rglob("*") if _is_log(file)) if path.is_dir() else [path]


def _is_log(file):
    name = file.name.lower().removesuffix(".gz")
    return file.is_file() and not file.name.startswith(".") and name.endswith(SUFFIXES)


def opened(path):
    """(kind, stream) of a file.

    The stream of a "table" (CSV, Parquet) yields (lines, DataFrame of a block of rows), that of "lines" (line, JSON
    text), that of a "document" (line, what it holds); each yields a Fault for what cannot be read. "empty" has none.
    """
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == b"PAR1":
        return "table", _parquet(path)
    stream = _lines(path)
    head = list(islice(stream, 50))
    texts = [line for _, line in head if line.strip()]
    if not texts:
        return "empty", iter(())
    stream = chain(head, stream)
    if 2 * sum(isinstance(parsed(line), (dict, list)) for line in texts) >= len(texts):
        return "lines", (item for item in stream if item[1].strip())
    return ("document", _document(stream)) if texts[0].lstrip()[0] in "{[" else ("table", _table(stream))


def _lines(path):
    """(number, text) of each line; UTF-8, UTF-16 or Latin-1, packed or not."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rb") if packed else path.open("rb") as file:
        try:
            head = file.read(4)
            file.seek(0)
            wide = _wide(head)
            source = io.TextIOWrapper(file, wide, errors="replace", newline="\n") if wide else file
            for number, line in enumerate(source, 1):
                text = line if wide else _text(line)
                yield number, text.lstrip("\ufeff") if number == 1 else text
        except (EOFError, gzip.BadGzipFile, zlib.error):
            yield 0, _ENDS_EARLY


def _wide(head):
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    zeros = [byte == 0 for byte in head]
    return {(False, True, False, True): "utf-16-le", (True, False, True, False): "utf-16-be"}.get(tuple(zeros))


def _text(line):
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _document(lines):
    lines = list(lines)
    document, faults = mended("".join(line for _, line in lines if line != _ENDS_EARLY))
    if document is None:  # no document after all
        yield from (item for item in lines if item[1].strip())
        return
    yield 1, document
    yield from (Fault(line, "broken JSON", f"{size:,} characters") for line, size in faults)
    if lines[-1][1] == _ENDS_EARLY:
        yield Fault(0, _ENDS_EARLY[1:])


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
                early = line == _ENDS_EARLY
                faults.append(
                    Fault(number, line[1:] if early else "broken JSON line", "" if early else f"{len(line):,} characters")
                )
                continue
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                yield number, one
            else:
                faults.append(Fault(number, "not an object"))


def _table(lines):
    """Blocks of rows of a CSV file; a row with another number of cells than the header is a fault."""
    lines = ((number, line) for number, line in lines if line.strip())
    header_line = next(lines)
    delimiter = Counter({mark: header_line[1].count(mark) for mark in ",;\t"}).most_common(1)[0][0]
    try:
        header = [name.strip() for name in next(csv.reader([header_line[1].rstrip("\r\n")], delimiter=delimiter))]
    except csv.Error:
        raise ValueError("the header cannot be read") from None
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise ValueError(f"the header has {twice!r} twice")
    while block := list(islice(lines, BLOCK)):
        text = "".join(line for _, line in block)
        if "\x00" not in text and text.count("\r") == text.count("\r\n") and not any(line.count('"') % 2 for _, line in block):
            try:
                yield from _clean_rows(block, header, delimiter)
                continue
            except pa.ArrowInvalid:
                pass
        while block and sum(line.count('"') for _, line in block) % 2 and (more := next(lines, None)):
            block.append(more)  # a cell that goes on beyond the block
        yield from _careful_rows(block, header, delimiter)


def _clean_rows(block, header, delimiter):
    """Rows of lines in which every quote closes, through Arrow."""
    wrong = []

    def refused(row):
        wrong.append(row)
        return "skip"

    table = pa_csv.read_csv(
        pa.py_buffer("".join(line if line.endswith("\n") else line + "\n" for _, line in block).encode("utf-8", "replace")),
        read_options=pa_csv.ReadOptions(column_names=header, use_threads=False, block_size=1 << 28),
        parse_options=pa_csv.ParseOptions(delimiter=delimiter, invalid_row_handler=refused),
        convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False),
    )
    numbers = np.array([number for number, _ in block])
    bad = np.array([row.number - 1 for row in wrong], int)
    for at, row in zip(bad, wrong, strict=True):
        yield Fault(int(numbers[at]), _CELLS, f"{row.actual_columns} cells, {row.expected_columns} in the header")
    yield np.delete(numbers, bad), table.to_pandas()


def _careful_rows(block, header, delimiter):
    """Rows of lines with a quote that does not close on its line: a cell of several lines, or a stray quote."""
    lines, rows = [], []
    for number, text in _balanced(block):
        if text is None or text == _ENDS_EARLY:
            yield Fault(number, "a quote that does not close" if text is None else text[1:])
            continue
        try:
            cells = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
        except (csv.Error, StopIteration):
            yield Fault(number, "broken CSV row", f"{len(text):,} characters")
            continue
        if len(cells) == len(header):
            lines.append(number)
            rows.append(cells)
        else:
            yield Fault(number, _CELLS, f"{len(cells)} cells, {len(header)} in the header")
    yield np.array(lines, int), pd.DataFrame(rows, columns=header, dtype="str")


def _balanced(lines):
    """(first line number, text) of CSV records; a stray quote costs its own line, not the rest of the file."""
    waiting = []
    for number, line in lines:
        waiting.append((number, line))
        while waiting:
            if len(waiting) == 1 and '"' not in waiting[0][1]:
                yield waiting.pop()
                break
            end = _end_of_record(waiting)
            if end:
                yield waiting[0][0], "".join(text for _, text in waiting[:end])
                del waiting[:end]
            elif len(waiting) > _OPEN_QUOTE_LINES:
                yield waiting.pop(0)[0], None
            else:
                break
    while waiting:
        end = _end_of_record(waiting)
        yield (waiting[0][0], "".join(text for _, text in waiting[:end])) if end else (waiting[0][0], None)
        del waiting[: end or 1]


def _end_of_record(waiting):
    quotes = 0
    for count, (_, text) in enumerate(waiting, 1):
        quotes += text.count('"')
        if quotes % 2 == 0:
            return count
    return 0


def _parquet(path):
    number = 0
    for batch in pq.ParquetFile(path).iter_batches(BLOCK):
        yield np.arange(number + 1, number + 1 + batch.num_rows), batch.to_pandas()
        number += batch.num_rows
