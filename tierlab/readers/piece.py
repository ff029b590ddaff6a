"""One file: recognised, read a block at a time, its rows kept or set aside."""

from collections import Counter
from dataclasses import dataclass, field
from hashlib import file_digest
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pandas as pd

from tierlab.readers.files import BLOCK, FAST_BLOCK, Fault, opened, records
from tierlab.readers.reader import nearest, recognised
from tierlab.readers.sheet import Sheet

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
    kept: list = field(default_factory=list)
    aside: list = field(default_factory=list)
    faults: list = field(default_factory=list)
    assumed: Counter = field(default_factory=Counter)


def content(file):
    """A digest of what a file holds."""
    with file.open("rb") as stream:
        return file_digest(stream, "blake2b").digest()


def copied(file, piece):
    """A file with the content of one that was read before: all its rows are duplicates."""
    return Piece(file, piece.format, piece.kind, problem=piece.problem, rows_read=piece.rows_read, copied=piece.rows_read)


def read_file(file, reader, readers, timezone, otherwise=None):
    """One file through a reader, or through the one that recognises it, or else through `otherwise`.

    Raises
    ------
    ValueError
        If no reader recognises the file, or its header is not what the reader needs.
    """
    kind, stream = opened(file)
    if kind == "empty":
        raise ValueError("the file is empty")
    piece, head, probe = Piece(file, ""), [], []
    for item in islice(stream, _PROBED):
        head.append(item)
        if not isinstance(item, Fault):
            table = kind == "table"
            probe += [dict.fromkeys(map(str, item[1]))] if table else [one for _, one in records([item], [])][:_PROBED]
        if probe and (reader or kind == "table" or recognised(probe[-1], readers)):
            break
    reader = reader or next((found for record in reversed(probe) if (found := recognised(record, readers))), None)
    if reader is None and otherwise and probe:
        reader = otherwise
    if reader is None:
        near = nearest(probe, readers)
        fields = list(dict.fromkeys(name for record in probe[:50] for name in record))[:12]
        raise ValueError(f"the format is unknown{f'; nearest is {near!r}' if near else ''}; its fields are {fields}")
    piece.format, piece.kind, piece.provider = reader.name, reader.kind, reader.provider
    blocks = _frames if kind == "table" else _line_blocks if reader.fast and kind == "lines" else _record_blocks
    for lines, frame in blocks(chain(head, stream), reader, piece.faults):
        sheet = Sheet(frame, timezone)
        with np.errstate(invalid="ignore"):
            _sort_rows(piece, sheet, reader.columns(sheet), np.asarray(lines))
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
            yield from _blocks(zip(item[0].tolist(), item[1].to_dict("records"), strict=True), reader, faults)


def _record_blocks(stream, reader, faults):
    return _blocks(records(stream, faults), reader, faults)


def _line_blocks(stream, reader, faults):
    """Blocks of JSON lines through the reader's fast way, one by one where a line of the block does not fit it."""
    while block := list(islice(stream, FAST_BLOCK)):
        frame = reader.fast([line for _, line in block])
        if frame is None:
            yield from _record_blocks(block, reader, faults)
        else:
            yield [number for number, _ in block], frame


def _blocks(pairs, reader, faults):
    """(lines, DataFrame of flat rows) of JSON records, a block at a time."""
    rows = reader.rows(pairs) if reader.rows else pairs
    while block := list(islice(rows, BLOCK)):
        faults.extend(Fault(line, "not an object") for line, row in block if row is None)
        block = [(line, row) for line, row in block if row is not None]
        yield [line for line, _ in block], pd.DataFrame([row for _, row in block]).reset_index(drop=True)


def _sort_rows(piece, sheet, columns, lines):
    """Put the rows of a block where they belong: kept, or aside."""
    good = sheet.reason == ""
    table = pd.DataFrame(columns, index=sheet.raw.index).assign(row=lines, money_only=sheet.money_only)
    piece.kept.append(table[good])
    owned = [name for name in ("own_tokens", "own_money", "own_currency") if name in table]
    bad = table.loc[~good, owned].assign(line=lines[~good], reason=sheet.reason[~good], excerpt=sheet.excerpt[~good])
    piece.aside.append(bad)
    piece.assumed.update(sheet.assumed)
    piece.rows_read += len(sheet)
