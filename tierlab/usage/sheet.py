"""A block of a source's rows: typed columns out of it, and for each row the first thing that is wrong.

A cell that is not what it should be never becomes a number: its row is refused with a reason, and what may be
shown of the cell is a number or a short word, never text that could be a prompt, an e-mail address or a key.
"""

import re
from hashlib import blake2b

import numpy as np
import pandas as pd

from tierlab.core import untrusted
from tierlab.prices.names import canonical

EARLIEST, LATEST = pd.Timestamp("2000-01-01"), pd.Timestamp("2100-01-01")
MOST = 1e15  # tokens or dollars in one row beyond which a cell is nonsense
_ZONED = r"(?:[zZ]|[+-]\d\d:?\d\d)\s*$"
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+")
_SHOWN = re.compile(r"[\w.:+/-]{1,32}")
_KEY_LIKE = re.compile(r"^(?:sk|pk|rk|key|AIza|ghp|Bearer)|[A-Za-z0-9_-]{25,}")
_PROVIDER_ID = r"(?:msg_|chatcmpl-|resp_|gen-)[A-Za-z0-9_-]+$"
FAILED = {
    401: "auth",
    402: "auth",
    403: "auth",
    408: "timeout",
    413: "context_overflow",
    429: "rate_limited",
}
FAILED |= {499: "cancelled", 503: "overloaded", 504: "timeout", 529: "overloaded"}
FINISHED = {
    "length": "truncated",
    "max_tokens": "truncated",
    "max_output_tokens": "truncated",
    "error": "unavailable",
}
FINISHED |= {
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
}
_BATCH, _NO_BATCH = ("batch", "true"), ("standard", "default", "auto", "false", "message")


class Sheet:
    """Typed columns of a block of rows.

    Parameters
    ----------
    raw : DataFrame
        The source's own fields, one row each.
    timezone : str
        What times without a zone are in.

    Attributes
    ----------
    reason : ndarray of str
        Why a row is set aside, "" for none.
    excerpt : ndarray of str
        The cell that was wrong, where it may be shown.
    money_only : ndarray of bool
        Rows that are dollars without tokens.
    assumed : dict of str to ndarray of int
        What was taken for granted, and how often in each row.
    """

    def __init__(self, raw, timezone="UTC"):
        self.raw, self.timezone = raw, timezone
        self.reason, self.excerpt = np.full(len(raw), "", object), np.full(len(raw), "", object)
        self.money_only = np.zeros(len(raw), bool)
        self.assumed = {}
        if "aside" in raw:
            rows = np.flatnonzero(raw["aside"].notna())
            self.reason[rows] = raw["aside"].iloc[rows]

    def __len__(self):
        return len(self.raw)

    def __contains__(self, name):
        return name in self.raw

    def refuse(self, bad, why, name=None):
        """Set rows aside; the first reason stays."""
        rows = np.flatnonzero(np.asarray(bad, bool) & (self.reason == ""))
        self.reason[rows] = why
        if name in self.raw:
            self.excerpt[rows] = [f"{name}={shown(cell)}" for cell in self.raw[name].iloc[rows]]

    def assume(self, where, what):
        """Count rows in which something was taken for granted."""
        self.assumed[what] = self.assumed.get(what, 0) + (
            np.asarray(where, bool) & (self.reason == "")
        ).astype(int)

    def assume_pages(self):
        """Count rows of a page after which the source has more, which must have been read too."""
        self.assume(
            self.cells("has_more").eq(True),
            "on a page after which there are more: are they here too?",
        )

    def cells(self, name):
        """A column as it stands; all missing where the source lacks it."""
        return (
            self.raw[name]
            if name in self.raw
            else pd.Series(np.full(len(self), None, object), self.raw.index)
        )

    def empty(self, name):
        column = self.cells(name)
        return (
            column.isna().to_numpy() | (column == "").to_numpy()
            if column.dtype.kind in "OTU"
            else column.isna().to_numpy()
        )

    def numbers(self, name, missing=np.nan, most=MOST):
        """A column of numbers as float; `missing` for empty cells, a refused row for what is no number."""
        column, empty = self.cells(name), self.empty(name)
        if empty.all():
            return np.full(len(self), missing, float)
        if pd.api.types.is_bool_dtype(column) or (
            column.dtype == object and column.map(type).isin([bool]).any()
        ):
            column = column.map(lambda cell: None if isinstance(cell, bool) else cell)
        try:
            values = pd.to_numeric(column, errors="coerce").to_numpy(float, na_value=np.nan)
        except (OverflowError, TypeError, ValueError):
            values = np.array([_number(cell) for cell in column], float)
        self.refuse(~empty & ~(np.abs(values) <= most), "not a number", name)
        return np.where(empty, missing, values)

    def counts(self, name, missing=0):
        """A column of token counts as float, whole and from 0 up; missing=None refuses empty cells."""
        values = self.numbers(name, 0 if missing is None else missing)
        if missing is None:
            self.refuse(self.empty(name), f"no {name}", name)
        with np.errstate(invalid="ignore"):
            self.refuse(
                (values < 0) | (values != np.floor(values)) & ~np.isnan(values),
                "not a count from 0 up",
                name,
            )
        return values

    def times(self, name, *, unit=None, zone=None, missing=False):
        """A column of times in UTC (datetime64[us], no zone).

        Parameters
        ----------
        unit : {"s", "ms", "ns"}, optional
            Of numbers since 1970; otherwise ISO text or times.
        zone : str, optional
            Of times without one; by default the sheet's.
        missing : bool
            Whether an empty cell is allowed.
        """
        column, zone = self.cells(name), zone or self.timezone
        if unit:
            values = self.numbers(name, most=1e19) * {"s": 1e6, "ms": 1e3, "ns": 1e-3}[unit]
            values = np.where(
                np.isnan(values) | (np.abs(values) > 2**52), np.iinfo("int64").min, values
            ).astype("int64")
            at = pd.Series(values.view("datetime64[us]"), column.index)
        else:
            at = self._parsed(column, zone)
        empty = self.empty(name)
        self.refuse(~empty & at.isna().to_numpy(), "not a time", name)
        self.refuse(
            at.lt(EARLIEST).to_numpy() | at.ge(LATEST).to_numpy(), "a time outside 2000-2099", name
        )
        if not missing:
            self.refuse(empty, f"no {name}")
        return at.to_numpy("datetime64[us]")

    def _parsed(self, column, zone):
        if not pd.api.types.is_datetime64_any_dtype(column):
            text = (
                column.where(column.map(type).isin([str, pd.Timestamp]))
                if column.dtype == object
                else column.astype("str")
            )
            zoned = (
                text.astype("str").str.contains(_ZONED, regex=True, na=False)
                if zone != "UTC"
                else None
            )
            at = pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce").dt.tz_localize(
                None
            )
        else:
            at, zoned = column, pd.Series(column.dt.tz is not None, column.index)
            at = (
                column.dt.tz_convert("UTC").dt.tz_localize(None)
                if column.dt.tz is not None
                else column
            )
        at = at.astype("datetime64[us]")
        if zone == "UTC":
            return at
        local = at.dt.tz_localize(
            zone, ambiguous=np.ones(len(at), bool), nonexistent="shift_forward"
        )
        twice = (
            at.dt.tz_localize(zone, ambiguous="NaT", nonexistent="shift_forward").isna()
            & at.notna()
            & ~zoned
        )
        self.assume(twice, f"a time that {zone} has twice, taken as the first")
        return at.where(zoned, local.dt.tz_convert("UTC").dt.tz_localize(None))

    def seconds(self, start, end):
        """Seconds from one time to another; missing where either is, or where the end comes first."""
        seconds = (end - start) / np.timedelta64(1, "s")
        with np.errstate(invalid="ignore"):
            return np.where(seconds >= 0, seconds, np.nan)

    def durations(self, name, unit_s=1.0):
        """A column of durations in seconds; what is negative or no number is missing, not a reason to lose the row."""
        column = self.cells(name)
        try:
            values = (
                pd.to_numeric(column, errors="coerce").to_numpy(float, na_value=np.nan) * unit_s
            )
        except (OverflowError, TypeError, ValueError):
            values = np.array([_number(cell) for cell in column], float) * unit_s
        with np.errstate(invalid="ignore"):
            return np.where((values >= 0) & (values <= MOST), values, np.nan)

    def text(self, *names):
        """The first of some columns that has a word in it; an e-mail address becomes a pseudonym, None for nothing."""
        result = np.full(len(self), None, object)
        for name in names:
            if name in self.raw:
                open_rows = pd.isna(result)
                result[open_rows] = _words(self.raw[name])[open_rows]
        return result

    def models(self, *names):
        """Model ids: the catalogue's where a spelling is known, else the name as it stands; none is refused."""
        codes, spelt = pd.factorize(pd.Series(self.text(*names), dtype=object))
        self.refuse(codes < 0, "no model")
        ids = np.array([*(canonical(name) or name for name in spelt), None], object)
        return ids[codes]

    def identity(self, scope, *names):
        """A hash of what names each row, 0 where every named cell is empty; ids that a provider gave count everywhere."""
        words = {name: self.cells(name) for name in names}
        for name, column in words.items():
            words[name] = (
                (
                    column
                    if column.dtype == "str"
                    else column.astype(object).map(str, na_action="ignore")
                )
                .fillna("")
                .astype("str")
            )
        text = (
            words[names[0]].str.cat([words[name] for name in names[1:]], sep="\x1f")
            if len(names) > 1
            else words[names[0]]
        )
        given = text.str.match(_PROVIDER_ID).to_numpy(bool)
        scoped = np.where(given, text, scope + "\x1f" + text).astype(object)
        return np.where(
            text.str.strip("\x1f").eq(""),
            np.uint64(0),
            pd.util.hash_array(scoped, categorize=False),
        )

    def finished(self, name):
        """Statuses from a column of reasons why an answer ended."""
        words = pd.Series(self.text(name), dtype=object).str.lower()
        return words.map(FINISHED).astype(object).fillna("ok").to_numpy(object)

    def currencies(self, name):
        """Currency codes; USD where the source has no such column."""
        words = self.text(name) if name in self else np.full(len(self), "USD", object)
        return pd.Series(words, dtype=object).fillna("(none)").str.upper().to_numpy(object)

    def only_usd(self, name, where=True):
        """Set aside what is money in another currency; returns which rows are in US dollars."""
        dollars = self.currencies(name) == "USD"
        self.refuse(~dollars & where, "a currency other than USD", name)
        return dollars


def batch(sheet, *names):
    """Whether rows were batch requests, by columns of yes and no or of service tiers; what no column says is no."""
    result, told = np.zeros(len(sheet), bool), np.zeros(len(sheet), bool)
    for name in names:
        words = pd.Series(sheet.text(name), dtype=object).str.lower()
        result |= words.isin(_BATCH).to_numpy(bool)
        told |= words.notna().to_numpy(bool)
        other = words.notna() & ~words.isin((*_BATCH, *_NO_BATCH))
        for word in words[other].unique():
            sheet.assume(
                words == word,
                f"{name} {shown(word)!r}, which may have a price of its own, is priced as standard",
            )
    sheet.assume(~told, f"not grouped by {names[-1]}: taken as no batch")
    return result


def buckets(
    sheet,
    whole,
    read=0.0,
    write_5m=0.0,
    write_1h=0.0,
    output=0.0,
    *,
    cache_inside,
    reasoning=None,
    reasoning_inside=True,
):
    """The five disjoint buckets from a source's own counters, refusing rows in which they cannot be true."""
    uncached = whole - read - write_5m - write_1h if cache_inside else whole
    sheet.refuse(uncached < 0, "more cached than input tokens")
    columns = {}
    if reasoning is not None:
        output = output if reasoning_inside else output + np.nan_to_num(reasoning)
        with np.errstate(invalid="ignore"):
            sheet.refuse(reasoning > output, "more reasoning than output tokens")
        columns["reasoning_tokens"] = np.where(np.isnan(reasoning) & (output == 0), 0, reasoning)
    names = (
        "uncached_input_tokens",
        "cache_read_tokens",
        "cache_write_5m_tokens",
        "cache_write_1h_tokens",
        "output_tokens",
    )
    return dict(zip(names, (uncached, read, write_5m, write_1h, output), strict=True)) | columns


def shown(cell):
    """What may be shown of a cell: a number or a short word; otherwise only what kind of thing it is."""
    if cell is None or isinstance(cell, (bool, int, float, np.number)):
        return str(cell)[:32]
    if isinstance(cell, str):
        return (
            cell
            if _SHOWN.fullmatch(cell) and not _KEY_LIKE.search(cell)
            else f"({len(cell):,} characters)"
        )
    return f"({type(cell).__name__})"


def pseudonym(text):
    """A name that looks like an e-mail address as a stable pseudonym; any other name as it stands.

    Examples
    --------
    >>> pseudonym("u1"), pseudonym("Jo@example.com") == pseudonym("jo@example.com")
    ('u1', True)
    """
    return (
        "user-" + blake2b(text.strip().lower().encode(), digest_size=5).hexdigest()
        if _EMAIL.search(text)
        else text
    )


def status_of(code):
    """The failure word of an HTTP status."""
    return FAILED.get(code, "unavailable" if code >= 500 else "bad_request")


def statuses(sheet, name, failed):
    """ "ok", or the failure word of the HTTP status in a column."""
    codes = [
        int(code) if 100 <= code < 1000 else 0 for code in np.nan_to_num(sheet.durations(name))
    ]
    return np.array(
        [
            (status_of(code) if code else "unavailable") if bad else "ok"
            for code, bad in zip(codes, failed, strict=True)
        ],
        object,
    )


def _words(column):
    if column.dtype == object and not column.map(type).isin([str, type(None), float, int]).all():
        column = column.map(lambda cell: cell if isinstance(cell, (str, int, float)) else None)
    codes, values = pd.factorize(column)
    words = ["" if pd.isna(value) else pseudonym(untrusted.shown(str(value))) for value in values]
    return np.array([*(word or None for word in words), None], object)[codes]


def _number(cell):
    try:
        return np.nan if isinstance(cell, bool) or cell is None else float(cell)
    except (TypeError, ValueError, OverflowError):
        return np.nan
