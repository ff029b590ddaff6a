"""Usage that a team already has: provider reports, gateway logs, traces -> requests and billed dollars.

Every source counts in its own way (cached tokens inside the input or beside it, cents or dollars, a line a
request or a line a block); each becomes the five disjoint buckets of the requests table. What cannot be read
is set aside with its reason, and the account says how much of each source was kept.
"""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from tierlab.core.tables import REQUEST_COLUMNS, TOKEN_COLUMNS
from tierlab.core.untrusted import LINE_BYTES
from tierlab.core.vocabulary import unknown
from tierlab.prices.names import canonical
from tierlab.usage.files import Piece, Pool, copied, find, first_of_copies, read_file
from tierlab.usage.formats import anthropic, focus, gateways, google, openai, otel, sessions
from tierlab.usage.formats.plain import plain
from tierlab.usage.repeats import covered, logged_and_reported, repeats

READERS = tuple(
    reader
    for room in (anthropic, openai, google, gateways, otel, sessions, focus)
    for reader in room.READERS
)
FORMATS = (*(reader.name for reader in READERS), "plain")
BILLED_COLUMNS = ("day", "provider", "model_id", "line", "usd", "file")
_TEXT = ("model_id", "task", "user", "team", "region", "status", "source")


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
    overlaps : DataFrame
        provider, what, first_day, last_day, kept, dropped, rows: days of which two sources tell. Of two reports one
        counts and the other's rows are duplicates; single requests and reports of the same days are both kept
        (dropped is ""), because nothing says which of them is complete: select by the column `aggregate`.
    timezone : str
        What times without a zone were taken to be in.
    """

    files: pd.DataFrame
    set_aside: pd.DataFrame
    unknown_models: pd.DataFrame
    totals: pd.DataFrame
    overlaps: pd.DataFrame
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
        read, kept, aside, twice = (
            int(files[name].sum()) for name in ("rows_read", "kept", "set_aside", "duplicates")
        )
        both = self.account.overlaps.query("dropped == ''")["provider"].unique()
        warning = (
            f"; single requests AND reports of the same days: {', '.join(both)}"
            if len(both)
            else ""
        )
        return f"Usage({len(files)} files, {read:,} rows read: {kept:,} kept, {aside:,} set aside, {twice:,} duplicates{warning})"


def read_usage(
    paths, *, format="auto", timezone="UTC", columns=None, cache_inside=None, reasoning_inside=True
):
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
    answers are not kept. A line above 64 MiB is set aside, a JSON document above it refused. Duplicates: of two rows for the same request the one with more output stays, at the
    first time; of a report bucket read twice one stays; a file that is a copy of another, or a second name of it, is
    duplicates throughout. How a CSV is split into rows, stray quotes and all: `tierlab.usage.files`.
    """
    own = plain(columns, cache_inside, reasoning_inside)
    readers = (own, *READERS) if columns else (*READERS, own)
    chosen = None
    if format != "auto":
        by_name = {reader.name: reader for reader in readers}
        if format not in by_name:
            raise ValueError(unknown("format", format, ["auto", *FORMATS]))
        chosen = by_name[format]
    try:
        ZoneInfo(timezone)
    except (KeyError, OSError, ValueError, TypeError):
        raise ValueError(
            f"unknown timezone {timezone!r}; give an IANA name such as 'UTC' or 'Europe/Berlin'"
        ) from None
    files, pool, pieces = find(paths), Pool(timezone), {}
    copies, waiting = first_of_copies(files), 0
    for place, file in enumerate(files):
        if file in copies:
            continue
        waiting += file.stat().st_size * (100 if file.suffix == ".gz" else 1)
        if waiting > LINE_BYTES:  # what waits in the pool is bounded in bytes too
            pool.finish()
            waiting = 0
        try:
            pieces[file] = read_file(place, file, pool, chosen, readers, own if columns else None)
        except (ValueError, OSError) as error:
            pieces[file] = Piece(file, "", problem=str(error))
    pool.finish()
    pieces |= {file: copied(file, pieces[first]) for file, first in copies.items()}
    if len(files) == 1 and pieces[files[0]].problem:
        raise ValueError(f"{files[0]}: {pieces[files[0]].problem}")
    return _together([pieces[file] for file in files], pool, timezone)


def _together(pieces, pool, timezone):
    """One Usage of all files: one table, repeated rows out, the account of each file."""
    failed = [place for place, piece in enumerate(pieces) if piece.problem]
    for place in failed:
        pieces[place] = Piece(pieces[place].file, "", problem=pieces[place].problem)
    table, aside = (_in_order(parts, failed) for parts in (pool.kept, pool.aside))
    table = table.assign(
        kind=np.array([piece.kind for piece in pieces], object)[table["file"].astype(int)]
    )
    table = table.reindex(
        columns=list(
            dict.fromkeys([*table.columns, "key", "money_only", "model_id", "provider", "at"])
        )
    )
    table = table.assign(
        key=table["key"].fillna(0).astype("uint64"), money_only=table["money_only"].eq(True)
    )
    table.loc[table["money_only"], "kind"] = "money"
    table["at"] = table["at"].astype("datetime64[us]")
    table["format"] = table["file"].map(dict(enumerate(piece.format for piece in pieces)))
    whose = table["file"].map(dict(enumerate(piece.provider for piece in pieces)))
    table["provider"] = table["provider"].astype(object).where(table["provider"].notna(), whose)
    twice = repeats(table)
    overlaps = covered(table, twice, [reader.name for reader in READERS])
    kept = table[~twice]
    overlaps = pd.concat([overlaps, logged_and_reported(kept)], ignore_index=True)
    names = [str(piece.file) for piece in pieces]
    quarantine = _quarantine(pieces, aside)
    files = pd.DataFrame(
        {
            "file": names,
            "format": [piece.format for piece in pieces],
            "rows_read": [piece.rows_read for piece in pieces],
            "kept": np.bincount(kept["file"].astype(int), minlength=len(pieces)),
            "set_aside": np.bincount(aside["file"].astype(int), minlength=len(pieces))
            + [len(piece.faults) for piece in pieces],
            "duplicates": np.bincount(table["file"][twice].astype(int), minlength=len(pieces))
            + [piece.copied for piece in pieces],
            "assumed": [
                "; ".join(f"{what} ({n:,} rows)" for what, n in piece.assumed.items() if n)
                for piece in pieces
            ],
            "problem": [piece.problem for piece in pieces],
        }
    )
    requests, billed = (
        _requests(kept[~kept["money_only"]]),
        _billed(kept[kept["money_only"]], names),
    )
    strange = [name for name in kept["model_id"].dropna().unique() if canonical(name) is None]
    unknown_rows = kept[kept["model_id"].isin(strange)]
    tokens = unknown_rows.reindex(columns=list(TOKEN_COLUMNS)).sum(axis=1).astype("int64")
    models = tokens.groupby(unknown_rows["model_id"]).agg(rows="size", tokens="sum").reset_index()
    reasons = quarantine.groupby(["file", "reason"], sort=False).size().rename("rows").reset_index()
    totals = _totals(names, kept, aside)
    return Usage(
        requests, billed, Account(files, reasons, models, totals, overlaps, timezone), quarantine
    )


def _in_order(parts, failed):
    """Rows of a pool in the order in which they were read, without those of files that could not be read to their end."""
    table = (
        pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"file": [], "block": []})
    )
    return table[~table["file"].isin(failed)].sort_values("block", kind="stable", ignore_index=True)


def _requests(kept):
    """The requests table out of the kept rows, with the columns that any source has."""
    table = kept.reindex(
        columns=[name for name in REQUEST_COLUMNS if name in kept and kept[name].notna().any()]
    )
    for name in TOKEN_COLUMNS:
        table[name] = kept[name].fillna(0).astype("int64") if name in kept else 0
    for name in ("reasoning_tokens", "requests", "attempts", "context_above"):
        if name in table:
            table[name] = table[name].astype("Int64")
    for name in ("batch", "aggregate"):
        table[name] = kept[name].eq(True) if name in kept else False
    counted = table["requests"] if "requests" in table else pd.Series(pd.NA, table.index, "Int64")
    table["requests"] = counted.mask(counted.isna() & ~table["aggregate"], 1)
    for name in _TEXT:
        if name in table:
            table[name] = table[name].astype("str")
    if "at" in table:
        table["at"] = table["at"].astype("datetime64[us]")
    return table[[name for name in REQUEST_COLUMNS if name in table]].reset_index(drop=True)


def _billed(kept, names):
    table = kept.reindex(columns=["at", "provider", "model_id", "line", "usd", "file"]).rename(
        columns={"at": "day"}
    )
    table["day"] = pd.to_datetime(table["day"]).dt.floor("D")
    table["file"] = [names[int(number)] for number in table["file"]]
    table = table.astype(
        {
            "day": "datetime64[us]",
            "usd": float,
            "provider": "str",
            "model_id": "str",
            "line": "str",
            "file": "str",
        }
    )
    return table[list(BILLED_COLUMNS)].reset_index(drop=True)


def _quarantine(pieces, aside):
    faults = [
        (n, fault.line, fault.reason, fault.excerpt)
        for n, piece in enumerate(pieces)
        for fault in piece.faults
    ]
    columns = ["file", "line", "reason", "excerpt"]
    parts = [
        part
        for part in (pd.DataFrame(faults, columns=columns), aside.reindex(columns=columns))
        if len(part)
    ]
    if not parts:
        return pd.DataFrame(columns=columns)
    table = pd.concat(parts).sort_values("file", kind="stable", ignore_index=True)
    return table.assign(
        file=np.array([str(piece.file) for piece in pieces], object)[table["file"].astype(int)]
    )


def _totals(names, kept, aside):
    """The source's own totals beside ours, for each file that states one."""
    told = pd.concat([kept, aside]).reindex(
        columns=["file", "own_tokens", "own_money", "own_currency"]
    )
    tokens = told.assign(what="tokens", theirs=told["own_tokens"])
    money = told.assign(
        what=told["own_currency"].astype(object).fillna("USD"), theirs=told["own_money"]
    )
    stated = pd.concat(
        [
            part.groupby(["file", "what"])["theirs"].sum(min_count=1).dropna()
            for part in (tokens, money)
        ]
    )
    counted = {"tokens": list(TOKEN_COLUMNS), "USD": ["billed_usd", "usd"]}
    ours = {
        what: kept.reindex(columns=buckets).groupby(kept["file"]).sum().sum(axis=1)
        for what, buckets in counted.items()
    }
    rows = []
    for (number, what), theirs in stated.sort_index(
        level="file", sort_remaining=False, kind="stable"
    ).items():
        own = float(ours[what].get(number, 0.0)) if what in ours else 0.0
        rows.append((names[int(number)], what, float(theirs), own, float(theirs) - own))
    return pd.DataFrame(rows, columns=["file", "what", "theirs", "ours", "difference"])
