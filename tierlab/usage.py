"""Usage that a team already has: provider reports, gateway logs, traces -> requests and billed dollars.

Every source counts in its own way (cached tokens inside the input or beside it, cents or dollars, a line a
request or a line a block); each becomes the five disjoint buckets of the requests table. What cannot be read
is set aside with its reason, and the account says how much of each source was kept.
"""

from collections import Counter
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from tierlab.buckets import REQUEST_COLUMNS, TOKEN_COLUMNS
from tierlab.names import canonical, unknown
from tierlab.readers import gateways
from tierlab.readers.files import BLOCK, Fault, find, opened
from tierlab.readers.plain import plain
from tierlab.readers.reader import nearest, recognised
from tierlab.readers.sheet import Sheet

READERS = (*gateways.READERS,)
BILLED_COLUMNS = ("day", "provider", "model_id", "line", "usd", "file")
_TEXT = ("model_id", "task", "user", "team", "region", "status", "source")
_INNER = ("key", "file", "row", "own_tokens", "own_usd", "line", "usd", "provider", "own_line")
_PROBED = 1000  # records looked at before a file counts as unknown


@dataclass(frozen=True)
class Account:
    """What was read, and what became of it.

    Attributes
    ----------
    files : DataFrame
        file, format, rows_read = kept + set_aside + duplicates, assumed (what was taken for granted, with
        counts), problem (why a file could not be read).
    set_aside : DataFrame
        file, reason, rows.
    unknown_models : DataFrame
        model_id, rows, tokens: names that the maintained catalogue lacks. Their rows are kept.
    totals : DataFrame
        file, what ("tokens" or a currency), theirs (the source's own total), ours, difference. Theirs counts what was
        set aside too, and no duplicate.
    timezone : str
        What times without a zone were taken to be in.
    """

    files: pd.DataFrame
    set_aside: pd.DataFrame
    unknown_models: pd.DataFrame
    totals: pd.DataFrame
    timezone: str


@dataclass(frozen=True)
class Usage:
    """What `read_usage` found.

    Attributes
    ----------
    requests : DataFrame
        The requests table. `requests` is missing (Int64) in aggregate rows whose source does not count them.
    billed : DataFrame
        Dollars without tokens: day, provider, model_id, line (what for), usd, file.
    account : Account
    quarantine : DataFrame
        file, line, reason, excerpt of each row set aside; no prompts, e-mail addresses or keys.
    """

    requests: pd.DataFrame
    billed: pd.DataFrame
    account: Account
    quarantine: pd.DataFrame

    def __repr__(self):
        files = self.account.files
        read, kept, aside, twice = (int(files[name].sum()) for name in ("rows_read", "kept", "set_aside", "duplicates"))
        return f"Usage({len(files)} files, {read:,} rows read: {kept:,} kept, {aside:,} set aside, {twice:,} duplicates)"


def read_usage(paths, *, format="auto", timezone="UTC", columns=None, cache_inside=None, reasoning_inside=True):
    """Read usage from files of any known format.

    Parameters
    ----------
    paths : path or sequence of paths
        Files, folders (all levels) or patterns; .gz is unpacked; formats may be mixed.
    format : str
        "auto" recognises each file by its fields; or the name of a format in `FORMATS`.
    timezone : str
        IANA name of the zone that times without one are in. Days of provider reports are UTC whatever it says.
    columns : mapping of str to str, optional
        For a CSV, Parquet or JSON-lines file of your own: its column -> ours.
    cache_inside : bool, optional
        For a file of your own that has input_tokens and cache columns: whether input includes the cached ones.
    reasoning_inside : bool
        For a file of your own: whether output_tokens includes reasoning_tokens.

    Returns
    -------
    Usage

    Raises
    ------
    ValueError
        For a path, format, zone or column that is unknown, with the nearest known one; for a single file that
        cannot be read. One of many that cannot be read is named in the account.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> log = pathlib.Path(tempfile.mkdtemp(), "log.csv")
    >>> _ = log.write_text("when,model,prompt,cached,output\\n2026-09-01T10:00:00,gpt-5.5,1000,800,50\\n")
    >>> ours = {"when": "at", "model": "model_id", "prompt": "input_tokens", "cached": "cache_read_tokens", "output": "output_tokens"}
    >>> usage = read_usage(log, columns=ours, cache_inside=True, timezone="Europe/Berlin")
    >>> usage.requests[["at", "uncached_input_tokens", "cache_read_tokens"]].to_dict("records")
    [{'at': Timestamp('2026-09-01 08:00:00'), 'uncached_input_tokens': 200, 'cache_read_tokens': 800}]

    Notes
    -----
    E-mail addresses become pseudonyms ("user-" and a hash that is the same in every run and file); prompts and
    answers are not kept. Duplicates: of two rows for the same request the one with more output stays, at the
    first time; of a report bucket read twice one stays.
    """
    own = plain(columns, cache_inside, reasoning_inside)
    readers = (own, *READERS) if columns else (*READERS, own)
    chosen = None
    if format != "auto":
        by_name = {reader.name: reader for reader in readers}
        if format not in by_name:
            raise ValueError(unknown("format", format, ["auto", *sorted(by_name)]))
        chosen = by_name[format]
    try:
        ZoneInfo(timezone)
    except (OSError, ValueError, TypeError):
        raise ValueError(f"unknown timezone {timezone!r}; give an IANA name such as 'UTC' or 'Europe/Berlin'") from None
    files, pieces = find(paths), []
    for file in files:
        try:
            pieces.append(_read(file, chosen, readers, timezone))
        except (ValueError, OSError) as error:
            if len(files) == 1:
                raise ValueError(f"{file}: {error}") from None
            pieces.append(_Piece(file, "", problem=str(error)))
    return _together(pieces, timezone)


@dataclass
class _Piece:
    """What came out of one file."""

    file: Path
    format: str
    kind: str = "requests"
    problem: str = ""
    rows_read: int = 0
    kept: list = field(default_factory=list)
    aside: list = field(default_factory=list)
    faults: list = field(default_factory=list)
    assumed: Counter = field(default_factory=Counter)


def _read(file, reader, readers, timezone):
    kind, stream = opened(file)
    if kind == "empty":
        raise ValueError("the file is empty")
    piece = _Piece(file, "")
    if kind == "parquet":
        head = list(islice(stream, 1))
        probe, rest = [{str(name): None for name in head[0][1]}] if head else [], stream
    else:
        stream = _records(stream, piece.faults)
        head = []
        for item in islice(stream, _PROBED):
            head.append(item)
            if reader or recognised(item[1], readers):
                break
        probe, rest = [record for _, record in head], stream
    reader = reader or next((found for record in reversed(probe) if (found := recognised(record, readers))), None)
    if reader is None:
        near = nearest(probe, readers)
        fields = list(dict.fromkeys(name for record in probe[:50] for name in record))[:12]
        raise ValueError(f"the format is unknown{f'; nearest is {near!r}' if near else ''}; its fields are {fields}")
    piece.format, piece.kind = reader.name, reader.kind
    for lines, frame in _blocks(head, rest, kind == "parquet", reader, piece.faults):
        sheet = Sheet(frame, timezone)
        with np.errstate(invalid="ignore"):
            _sort_rows(piece, sheet, reader.columns(sheet), np.asarray(lines))
    piece.rows_read += len(piece.faults)
    return piece


def _records(stream, faults):
    """The objects of a stream, one by one; what is none is a fault."""
    for item in stream:
        if isinstance(item, Fault):
            faults.append(item)
            continue
        line, record = item
        for one in record if isinstance(record, list) else [record]:
            if isinstance(one, dict):
                yield line, one
            else:
                faults.append(Fault(line, "not an object"))


def _blocks(head, rest, framed, reader, faults):
    """(lines, DataFrame of flat rows) of a file, a block at a time."""
    if framed and reader.rows is None:
        for first, frame in chain(head, rest):
            yield np.arange(first, first + len(frame)), frame.rename(columns=str).reset_index(drop=True)
        return
    records = chain(head, rest)
    if framed:
        records = ((first + i, row) for first, frame in records for i, row in enumerate(frame.to_dict("records")))
    rows = reader.rows(records) if reader.rows else records
    while block := list(islice(rows, BLOCK)):
        faults.extend(Fault(line, "not an object") for line, row in block if row is None)
        block = [(line, row) for line, row in block if row is not None]
        yield [line for line, _ in block], pd.DataFrame([row for _, row in block]).reset_index(drop=True)


def _sort_rows(piece, sheet, columns, lines):
    """Put the rows of a block where they belong: kept, or aside."""
    good = sheet.reason == ""
    table = pd.DataFrame(columns, index=sheet.raw.index).assign(row=lines, money_only=sheet.money_only)
    piece.kept.append(table[good])
    owned = [name for name in ("own_tokens", "own_usd") if name in table]
    bad = table.loc[~good, owned].assign(line=lines[~good], reason=sheet.reason[~good], excerpt=sheet.excerpt[~good])
    piece.aside.append(bad)
    piece.assumed.update(sheet.assumed)
    piece.rows_read += len(sheet)


def _together(pieces, timezone):
    """One Usage of all files: one table, repeated rows out, the account of each file."""
    tables = [table.assign(file=number, kind=piece.kind) for number, piece in enumerate(pieces) for table in piece.kept]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({"file": [], "kind": []})
    for name in ("key", "money_only", "model_id"):
        if name not in table:
            table[name] = False if name == "money_only" else None if name == "model_id" else 0
    table = table.assign(key=table["key"].fillna(0).astype("uint64"), money_only=table["money_only"].eq(True))
    twice = repeats(table)
    kept = table[~twice]
    names = [str(piece.file) for piece in pieces]
    quarantine = _quarantine(pieces)
    files = pd.DataFrame(
        {
            "file": names,
            "format": [piece.format for piece in pieces],
            "rows_read": [piece.rows_read for piece in pieces],
            "kept": np.bincount(kept["file"].astype(int), minlength=len(pieces)),
            "set_aside": [sum(map(len, piece.aside)) + len(piece.faults) for piece in pieces],
            "duplicates": np.bincount(table["file"][twice].astype(int), minlength=len(pieces)),
            "assumed": ["; ".join(f"{what} ({n:,} rows)" for what, n in piece.assumed.items() if n) for piece in pieces],
            "problem": [piece.problem for piece in pieces],
        }
    )
    requests, billed = _requests(kept[~kept["money_only"]]), _billed(kept[kept["money_only"]], names)
    unknown_rows = kept[kept["model_id"].map(lambda name: isinstance(name, str) and canonical(name) is None)]
    tokens = unknown_rows.reindex(columns=list(TOKEN_COLUMNS)).sum(axis=1).astype("int64")
    models = tokens.groupby(unknown_rows["model_id"]).agg(rows="size", tokens="sum").reset_index()
    aside = quarantine.groupby(["file", "reason"], sort=False).size().rename("rows").reset_index()
    return Usage(requests, billed, Account(files, aside, models, _totals(pieces, kept), timezone), quarantine)


def _requests(kept):
    """The requests table out of the kept rows, with the columns that any source has."""
    table = kept.reindex(columns=[name for name in REQUEST_COLUMNS if name in kept and kept[name].notna().any()])
    for name in TOKEN_COLUMNS:
        table[name] = kept[name].fillna(0).astype("int64") if name in kept else 0
    for name in ("reasoning_tokens", "requests", "attempts", "context_above"):
        if name in table:
            table[name] = table[name].astype("Int64")
    for name in ("batch", "aggregate"):
        table[name] = kept[name].eq(True) if name in kept else False
    if "requests" not in table:
        table["requests"] = pd.array([1] * len(table), "Int64")
    for name in _TEXT:
        if name in table:
            table[name] = table[name].astype("str")
    if "at" in table:
        table["at"] = table["at"].astype("datetime64[us]")
    return table[[name for name in REQUEST_COLUMNS if name in table]].reset_index(drop=True)


def _billed(kept, names):
    table = kept.reindex(columns=["at", "provider", "model_id", "line", "usd", "file"]).rename(columns={"at": "day"})
    table["day"] = pd.to_datetime(table["day"]).dt.floor("D")
    table["file"] = [names[int(number)] for number in table["file"]]
    table = table.astype(
        {"day": "datetime64[us]", "usd": float, "provider": "str", "model_id": "str", "line": "str", "file": "str"}
    )
    return table[list(BILLED_COLUMNS)].reset_index(drop=True)


def _quarantine(pieces):
    parts = [pd.DataFrame(columns=["file", "line", "reason", "excerpt"])]
    for piece in pieces:
        rows = [(fault.line, fault.reason, fault.excerpt) for fault in piece.faults]
        parts += [pd.DataFrame(rows, columns=["line", "reason", "excerpt"])] if rows else []
        parts += [frame[["line", "reason", "excerpt"]] for frame in piece.aside if len(frame)]
        parts = [part if "file" in part else part.assign(file=str(piece.file)) for part in parts]
    return pd.concat(parts[1:] or parts, ignore_index=True)[["file", "line", "reason", "excerpt"]]


def _totals(pieces, kept):
    """The source's own totals beside ours, for each file that states one."""
    rows = []
    for number, piece in enumerate(pieces):
        mine = kept[kept["file"] == number]
        aside = pd.concat([pd.DataFrame(), *piece.aside])
        tokens = float(mine.reindex(columns=list(TOKEN_COLUMNS)).sum().sum())
        money = float(mine.reindex(columns=["billed_usd", "usd"]).sum().sum())
        for what, own, ours in (("tokens", "own_tokens", tokens), ("USD", "own_usd", money)):
            if own in mine or own in aside:
                theirs = float(sum(part[own].sum() for part in (mine, aside) if own in part))
                rows.append((str(piece.file), what, theirs, ours, theirs - ours))
    return pd.DataFrame(rows, columns=["file", "what", "theirs", "ours", "difference"])


def repeats(table):
    """Which rows say again what another row says; the rows that stay get the first time of all their copies.

    Of a request the copy with the most output stays. Of a report bucket an exact copy is dropped, and where files
    differ about a bucket the one that holds more of it stays (reports fill up for hours).
    """
    twice = np.zeros(len(table), bool)
    keyed = table.index[(table["key"] != 0) & table["key"].duplicated(keep=False)]
    if not len(keyed):
        return twice
    part = table.loc[keyed]
    logs, reports = part[part["kind"] == "requests"], part[part["kind"] != "requests"]
    if len(logs):
        table.loc[logs.index, "at"] = logs.groupby("key")["at"].transform("min") if "at" in logs else None
        order = logs.sort_values("output_tokens", ascending=False, kind="stable")
        twice[order.index[order.duplicated("key")]] = True
    if len(reports):
        values = [name for name in (*TOKEN_COLUMNS, "usd", "billed_usd") if name in reports]
        exact = reports.duplicated(["key", *values])
        twice[reports.index[exact]] = True
        left = reports[~exact]
        size = left[values].abs().sum(axis=1).groupby([left["key"], left["file"]]).sum().reset_index(name="size")
        best = size.sort_values("size", ascending=False, kind="stable").drop_duplicates("key").set_index("key")["file"]
        twice[left.index[left["file"].to_numpy() != left["key"].map(best).to_numpy()]] = True
    return twice
