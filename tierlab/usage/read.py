"""Usage that a team already has: provider reports, gateway logs, traces -> requests and billed dollars.

Every source counts in its own way: cached tokens inside the input or beside it, cents or dollars, a line for each
request or for each part of one. All become the five disjoint buckets of the requests table. What cannot be read is set
aside with its reason, and the account says how much of each source was kept.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from tierlab.core.format import counted
from tierlab.core.tables import REQUEST_COLUMNS, TOKEN_COLUMNS
from tierlab.core.untrusted import LINE_BYTES
from tierlab.core.vocabulary import unknown
from tierlab.prices.names import resolved
from tierlab.usage.files import find, first_of_copies
from tierlab.usage.formats import agents, answers, clouds, focus, gateways, otel, reports
from tierlab.usage.formats.plain import guessed, plain
from tierlab.usage.reader import UNLINKED, Piece, Pool, names_of, read_file, unread
from tierlab.usage.repeats import containers, covered, logged_and_reported, repeats, shared

READERS = (
    *reports.READERS,
    *gateways.READERS,
    *otel.READERS,
    *agents.READERS,
    *answers.READERS,
    *clouds.READERS,
    *focus.READERS,
)
_ABOVE = "tokens of a span above others, left out, beyond what those count: are calls missing?"
_AGAIN = (
    "an id that comes again with the same input in another call, or at another time: another call"
)
FORMATS = (*(reader.name for reader in READERS), "plain")
BILLED_COLUMNS = ("day", "provider", "model_id", "line", "usd", "file")
_ALWAYS = (*TOKEN_COLUMNS, "batch", "aggregate", "requests")  # columns of every requests table
_NEEDED = ("at", "model_id")  # columns that an empty table has too
_KINDS = (
    dict.fromkeys(TOKEN_COLUMNS, "int64")
    | dict.fromkeys(("reasoning_tokens", "attempts", "context_above", "turn"), "Int64")
    | dict.fromkeys(("model_id", "platform", "region", "service_tier", "task", "user"), "str")
    | dict.fromkeys(("team", "session_id", "status", "unit", "source"), "str")
    | {"at": "datetime64[us]"}
)
_BILLED_KINDS = dict.fromkeys(BILLED_COLUMNS, "str") | {"day": "datetime64[us]", "usd": "float64"}
_NOTHING = pd.DataFrame(
    {
        "file": 0,
        "block": 0,
        "key": np.uint64(0),
        "model_id": "",
        "provider": "",
        "at": pd.NaT,
        "kind": "",
        "format": "",
        "reason": "",
        "line": 0,
        "excerpt": "",
        "own_money": 0.0,
        "own_currency": "",
        "unread": None,
    }
    | UNLINKED,
    index=[],
)


@dataclass(frozen=True)
class Account:
    """What was read, and what became of it.

    Attributes
    ----------
    files : DataFrame
        file, format, rows_read (= kept + set_aside + duplicates), assumed (what was taken for granted, in words),
        problem (why a file could not be read).
    assumed : DataFrame
        file, what, rows, total: what was taken for granted, in how many rows, and how much of it there is (the sum of a
        counter that no rule reads, the gap between a source's total and its parts); missing if it cannot be measured.
    set_aside : DataFrame
        file, reason, rows, usd (what the source says that these rows cost).
    unknown_models : DataFrame
        model_id, rows, tokens: names that the maintained catalogue does not know. Their rows are kept.
    totals : DataFrame
        file, what ("tokens" or a currency), theirs (the source's own total), ours, difference. Theirs includes what
        was set aside, and no duplicates.
    overlaps : DataFrame
        provider, what, first_day, last_day, kept, dropped, rows: days that two sources report. Of two reports one
        counts and the other's rows are duplicates. Single requests and reports of the same days are both kept
        (dropped is ""), because nothing says which of them is complete: select by the column `aggregate`. So are
        equal requests without ids, and reports of one day, in two files of one format.
    timezone : str
        The zone in which times that do not name one were read.
    """

    files: pd.DataFrame
    assumed: pd.DataFrame
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
        The requests table. `requests` is missing (Int64) in aggregate rows whose source does not count requests.
    billed : DataFrame
        Dollars without tokens: day, provider, model_id, line (what they are for), usd, file.
    account : Account
        What was read, and what became of it.
    quarantine : DataFrame
        file, line, reason, excerpt of each row set aside, without prompts, e-mail addresses or keys.
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
        told = self.account.overlaps.query("dropped == ''")
        alike = told["what"].str.endswith("of one format")
        both = told.loc[~alike, "provider"].unique()
        warning = (
            f"; single requests AND reports of the same days: {', '.join(both)}"
            if len(both)
            else ""
        ) + ("; files of one format that may overlap" if alike.any() else "")
        return f"Usage({counted(len(files), 'file')}, {counted(read, 'row')} read: {kept:,} kept, {aside:,} set aside, {counted(twice, 'duplicate')}{warning})"


def read_usage(
    paths: str | Path | Iterable[str | Path],
    *,
    format: str = "auto",
    timezone: str = "UTC",
    columns: Mapping[str, str] | None = None,
    cache_inside: bool | None = None,
    reasoning_inside: bool = True,
    date_format: str | None = None,
    decimal: str | None = None,
    aliases: Mapping[str, str] | None = None,
) -> Usage:
    """Read usage from files of any known format.

    Parameters
    ----------
    paths : path or sequence of paths
        Files, folders (all levels) or patterns. Files that end with .gz are unpacked; formats may be mixed.
    format : str
        "auto" recognises each file by its fields; otherwise the name of a format in `FORMATS`.
    timezone : str
        IANA name of the zone of times that do not name one. Days of provider reports are UTC in any case.
    columns : mapping of str to str, optional
        For your own CSV, Parquet or JSON-lines file: its column -> ours; `guess_columns` proposes a map.
    cache_inside : bool, optional
        For your own file, if it has input_tokens and cache columns: whether input includes the cached tokens.
    reasoning_inside : bool
        For your own file: whether output_tokens includes reasoning_tokens.
    date_format : str, optional
        For your own file: how its times are written if not in ISO format, such as "%d.%m.%Y %H:%M"; "s" or "ms"
        for seconds or milliseconds since 1970.
    decimal : {".", ","}, optional
        For your own file: the decimal mark of its numbers, if they do not show it themselves.
    aliases : mapping of str to str, optional
        Your own names for models, such as those of Azure deployments -> the model behind each.

    Returns
    -------
    Usage
        The requests, the billed dollars, the account of each file, and what was set aside.

    Raises
    ------
    ValueError
        If a path, format, zone or column is unknown (the nearest known one is named), or if a single file cannot be
        read. If one of many files cannot be read, the account names it.

    Notes
    -----
    E-mail addresses become pseudonyms ("user-" and a hash that is the same in every run and file); prompts and
    answers are not kept. A line above 64 MiB is set aside, and a JSON document above 64 MiB is refused.

    Duplicates: of two rows for the same request, the one with more output stays, at the first time; of a report's
    bucket that was read twice, one stays; in a copy of another file, or under a second name of it, all rows are
    duplicates. `tierlab.usage.files` describes how a CSV file is split into rows, even with stray quotes.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> log = pathlib.Path(tempfile.mkdtemp(), "log.csv")
    >>> _ = log.write_text("when,model,prompt,cached,output\\n2026-09-01T10:00:00,gpt-5.5,1000,800,50\\n")
    >>> ours = {"when": "at", "model": "model_id", "prompt": "input_tokens", "cached": "cache_read_tokens", "output": "output_tokens"}
    >>> usage = read_usage(log, columns=ours, cache_inside=True, timezone="Europe/Berlin")
    >>> usage.requests[["at", "uncached_input_tokens", "cache_read_tokens"]].to_dict("records")
    [{'at': Timestamp('2026-09-01 08:00:00'), 'uncached_input_tokens': 200, 'cache_read_tokens': 800}]
    """
    own = plain(columns, cache_inside, reasoning_inside, date_format, decimal)
    readers, chosen, otherwise = _readers(own, columns, format)
    try:
        ZoneInfo(timezone)
    except (KeyError, OSError, ValueError, TypeError):
        raise ValueError(
            f"unknown timezone {timezone!r}; give an IANA name such as 'UTC' or 'Europe/Berlin'"
        ) from None
    files, pool, pieces = find(paths), Pool(timezone, aliases), {}
    copies, waiting = first_of_copies(files), 0
    for place, file in enumerate(files):
        if file in copies:
            continue
        waiting += file.stat().st_size * (100 if file.suffix == ".gz" else 1)
        if waiting > LINE_BYTES:  # bounds what waits in the pool in bytes, as `Pool` does in rows
            pool.finish()
            waiting = 0
        pieces[file] = Piece(file, place)
        try:
            read_file(pieces[file], pool, readers, chosen=chosen, otherwise=otherwise)
        except (ValueError, OSError) as error:
            pieces[file].problem = str(error)
    pool.finish()
    pieces = [
        pieces[copies[file]].again(file, place) if file in copies else pieces[file]
        for place, file in enumerate(files)
    ]
    if len(files) == 1 and pieces[0].problem:
        raise ValueError(f"{files[0]}: {pieces[0].problem}")
    return _together(pieces, pool, timezone)


def check_usage(
    paths, *, format="auto", columns=None, cache_inside=None, date_format=None, decimal=None
):
    """Check within a moment, by the first rows of its files, whether usage can be read.

    Parameters are those of `read_usage`.

    Raises
    ------
    ValueError
        If no file can be read; the message says what is wrong with the first.
    """
    own = plain(columns, cache_inside, date_format=date_format, decimal=decimal)
    problems = []
    readers, chosen, otherwise = _readers(own, columns, format)
    for file in find(paths):
        try:
            read_file(Piece(file, 0), None, readers, chosen=chosen, otherwise=otherwise)
            return
        except (ValueError, OSError) as error:
            problems.append(f"{file}: {error}")
    raise ValueError(problems[0])


def guess_columns(paths):
    """Return a map of the first file's columns to ours, by their names; see `tierlab.usage.formats.plain`."""
    return guessed(names_of(find(paths)[0]))


def _readers(own, columns, format):
    """Return all readers, the one that a format names, and the one for files that none recognises."""
    readers = (own, *READERS) if columns else (*READERS, own)
    by_name = {"auto": None} | {reader.name: reader for reader in readers}
    if format not in by_name:
        raise ValueError(unknown("format", format, ["auto", *FORMATS]))
    return readers, by_name[format], own if columns else None


def _together(pieces, pool, timezone):
    """Put all files together: one table without repeated rows, and the account of each file."""
    failed = [piece.place for piece in pieces if piece.problem]
    pieces = [
        Piece(piece.file, piece.place, problem=piece.problem) if piece.problem else piece
        for piece in pieces
    ]
    names = np.array([str(piece.file) for piece in pieces], object)
    table, aside = (_in_order(parts, failed) for parts in (pool.kept, pool.aside))
    above, more = containers(table, aside)
    for place, tokens in pd.Series(more[more > 0]).groupby(table["file"].to_numpy()[more > 0]):
        pieces[place].note(_ABOVE, len(tokens), tokens.sum())
    table, twice, again = repeats(table, above)
    for place, rows in table.loc[again, "file"].value_counts().items():
        pieces[place].note(_AGAIN, rows, np.nan)
    twice, overlaps = covered(table, twice, [reader.name for reader in READERS])
    kept = table[~twice]
    left = kept.loc[kept["unread"].notna(), ["file", "unread"]]
    for place, numbers in left.itertuples(index=False):
        for name, number in numbers.items():
            pieces[place].note(unread(name), 1, number)
    notes = [
        (str(piece.file), what, *note) for piece in pieces for what, note in piece.assumed.items()
    ]
    quarantine = aside.sort_values("file", kind="stable", ignore_index=True)
    quarantine = quarantine.assign(file=names[quarantine["file"]])
    in_dollars = quarantine["own_currency"].astype(object).fillna("USD").eq("USD")
    usd = quarantine["own_money"].astype(float).fillna(0).where(in_dollars, 0)
    reasons = quarantine.assign(usd=usd).groupby(["file", "reason"], sort=False)["usd"]
    found = [overlaps, logged_and_reported(kept), shared(kept)]
    account = Account(
        files=_files(pieces, names, kept, aside, table[twice]),
        assumed=pd.DataFrame(notes, columns=["file", "what", "rows", "total"]),
        set_aside=reasons.agg(rows="size", usd="sum").reset_index(),
        unknown_models=_unknown_models(kept),
        totals=_totals(names, kept, aside),
        overlaps=pd.concat(found, ignore_index=True),
        timezone=timezone,
    )
    money = kept["kind"] == "money"
    billed = kept[money].rename(columns={"at": "day"})
    billed = billed.assign(day=billed["day"].dt.floor("D"), file=names[billed["file"]])
    billed = billed.reindex(columns=list(BILLED_COLUMNS)).astype(_BILLED_KINDS)
    return Usage(
        _requests(kept[~money]),
        billed.reset_index(drop=True),
        account,
        quarantine[["file", "line", "reason", "excerpt"]],
    )


def _files(pieces, names, *parts):
    """Return the account's `files`; `parts` are the rows kept, set aside and dropped as duplicates."""
    kept, aside, twice = (np.bincount(part["file"], minlength=len(pieces)) for part in parts)
    return pd.DataFrame(
        {
            "file": names,
            "format": [piece.format for piece in pieces],
            "rows_read": [piece.rows_read for piece in pieces],
            "kept": kept,
            "set_aside": aside,
            "duplicates": twice + [piece.copied for piece in pieces],
            "assumed": ["; ".join(piece.words()) for piece in pieces],
            "problem": [piece.problem for piece in pieces],
        }
    )


def _in_order(parts, failed):
    """Return the rows of a pool in the order of reading, without those of files that could not be read to their end."""
    table = pd.concat(parts or [_NOTHING], ignore_index=True)
    return table[~table["file"].isin(failed)].sort_values("block", kind="stable", ignore_index=True)


def _requests(kept):
    """Return the requests table of the kept rows, with the columns that any source has."""
    table = kept.reindex(
        columns=[
            name
            for name in REQUEST_COLUMNS
            if name in _ALWAYS
            or (name in kept and kept[name].notna().any())
            or (name in _NEEDED and kept.empty)
        ]
    )
    tokens, flags = list(TOKEN_COLUMNS), ["batch", "aggregate"]
    table[tokens], table[flags] = table[tokens].fillna(0), table[flags].eq(True)
    number = table["requests"].astype("Int64")
    table["requests"] = number.mask(number.isna() & ~table["aggregate"], 1)
    kinds = {name: kind for name, kind in _KINDS.items() if name in table}
    return table.astype(kinds).reset_index(drop=True)


def _unknown_models(kept):
    """Return the names that the maintained catalogue does not know, with their rows and tokens."""
    names = kept["model_id"].dropna().unique()
    strange = [name for name in names if resolved(name).model_id is None]
    rows = kept[kept["model_id"].isin(strange)]
    tokens = rows.reindex(columns=list(TOKEN_COLUMNS)).sum(axis=1).astype("int64")
    return tokens.groupby(rows["model_id"]).agg(rows="size", tokens="sum").reset_index()


def _totals(names, kept, aside):
    """Return the sources' own totals beside ours, for each file that states one."""
    dollars, own = ["billed_usd", "usd"], ["own_tokens", "own_money", "own_currency"]
    told = pd.concat([kept, aside]).reindex(
        columns=["file", *TOKEN_COLUMNS, "quantity", "unit", *dollars, *own]
    )
    told["quantity"] = told["quantity"].where(told["unit"].astype("str").str.endswith("_tokens"))
    currency = told["own_currency"].astype(object).fillna("USD")
    parts = [
        told[["file"]].assign(what=what, theirs=theirs, ours=told[list(columns)].sum(axis=1))
        for what, theirs, columns in (
            ("tokens", told["own_tokens"], (*TOKEN_COLUMNS, "quantity")),
            (currency, told["own_money"], dollars),
        )
    ]
    sums = pd.concat([part.groupby(["file", "what"]).sum(min_count=1) for part in parts])
    sums = sums.dropna(subset="theirs").reset_index().sort_values("file", kind="stable")
    return sums.assign(
        file=names[sums["file"]], difference=sums["theirs"] - sums["ours"]
    ).reset_index(drop=True)
