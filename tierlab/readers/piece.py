"""Files: recognised, read a block at a time, their rows kept or set aside; small files of one form go through together."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from tierlab.core.untrusted import LINE_BYTES, shown
from tierlab.readers.files import BLOCK, FAST_BLOCK, Fault, block_of, opened, records, size
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
    faults: list = field(default_factory=list)
    assumed: Counter = field(default_factory=Counter)


def copied(file, piece):
    """A file with the content of one that was read before: all its rows are duplicates."""
    told = Counter({f"the same content as {piece.file.name}, which counts once": piece.rows_read})
    read = piece.rows_read
    return Piece(file, piece.format, piece.kind, problem=piece.problem, rows_read=read, copied=read, assumed=told)


class Pool:
    """Blocks of rows on their way through the readers; what has the same reader and columns goes through in one sheet.

    A sheet looks at each row on its own, so that a row comes out the same whichever others are beside it.

    Attributes
    ----------
    kept, aside : list of DataFrame
        Rows, with `file` (its place in the list of files) and `block` (the place of their block in the order of reading).
    """

    def __init__(self, timezone):
        self.kept, self.aside, self._timezone, self._waiting, self._rows, self._blocks = [], [], timezone, {}, Counter(), 0

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
        sheet = Sheet(pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0], self._timezone)
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
        owned = [name for name in ("file", "block", "own_tokens", "own_money", "own_currency") if name in table]
        bad = table.loc[~good, owned].assign(line=table["row"][~good], reason=sheet.reason[~good], excerpt=sheet.excerpt[~good])
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
                [dict.fromkeys(map(str, item[1]))] if kind == "table" else [one for _, one in records([item], [])][:_PROBED]
            )
        if probe and (reader or kind == "table" or recognised(probe[-1], readers)):
            break
        if kind != "table" and (len(head) == _PROBED or room <= 0):
            break
    reader = reader or next((found for record in reversed(probe) if (found := recognised(record, readers))), None)
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
    blocks = _frames if kind == "table" else _line_blocks if reader.fast and kind == "lines" else _record_blocks
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
            yield from _record_blocks(zip(item[0].tolist(), item[1].to_dict("records"), strict=True), reader, faults)


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
        frame = reader.fast([line for _, line in block]) if len(block) > 5 else None  # a few are faster one by one
        if frame is None:
            yield from _record_blocks(block, reader, faults)
        else:
            yield [number for number, _ in block], frame


def _framed(block):
    return [line for line, _ in block], pd.DataFrame([row for _, row in block]).reset_index(drop=True)
