"""Typed columns of a block of a source's rows, and for each row the first thing that is wrong with it.

A cell that is not what it should be never becomes a number: its row is refused with a reason. Of the cell itself only
a number or a short word is ever shown, never text that could be a prompt, an e-mail address or a key.
"""

import re
from contextlib import suppress
from hashlib import blake2b

import numpy as np
import pandas as pd

from tierlab.core import untrusted
from tierlab.prices.names import resolved

EARLIEST, LATEST = pd.Timestamp("2000-01-01"), pd.Timestamp("2100-01-01")
MOST = 1e15  # a cell with more tokens or dollars than this is nonsense
_UTC = r"(?:\s*\+00:?00)?\s*(?:UTC|GMT)$"  # as BigQuery and Go write it
_ZONED = rf"(?:[zZ]|[T :]\d[\d:.,]*\s*[+-]\d\d(?::?\d\d)?|{_UTC})\s*$"
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+")
_SHOWN = re.compile(r"[\w.:+/-]{1,32}")
_KEY_LIKE = re.compile(r"^(?:sk|pk|rk|key|AIza|ghp|Bearer)|[A-Za-z0-9_-]{25,}")
_PROVIDER_ID = r"(?:msg_|chatcmpl-|resp_|gen-)[A-Za-z0-9_-]+$"
FINISHED = {
    "length": "truncated",
    "max_tokens": "truncated",
    "max_output_tokens": "truncated",
    "error": "unavailable",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
}
NAMED = ("platform", "region", "service_tier")  # what a model's name may say beside the model
_PRICE_CLASSES = ("global", "data_zone")  # "regions" that name a price, not a place


def pseudonym(text):
    """Return a stable pseudonym for a name that looks like an e-mail address; any other name stays as it is.

    Examples
    --------
    >>> pseudonym("u1"), pseudonym("Jo@example.com") == pseudonym("jo@example.com")
    ('u1', True)
    """
    if not _EMAIL.search(text):
        return text
    return "user-" + blake2b(text.strip().lower().encode(), digest_size=5).hexdigest()


class Sheet:
    """Typed columns of a block of rows.

    Parameters
    ----------
    raw : DataFrame
        The source's own fields, one row each.
    timezone : str
        The zone of times that do not name one.
    aliases : dict of str to str, optional
        The user's own names for models -> the model behind each.

    Attributes
    ----------
    reason : ndarray of str
        Why a row is set aside, "" where it is not.
    excerpt : ndarray of str
        The cell that was wrong, where it may be shown.
    money_only : ndarray of bool
        Rows that are dollars without tokens.
    assumed : dict of str to (ndarray of int, ndarray of float)
        What was taken for granted: how often in each row, and how much of it (missing where it has no size).
    looked : set of str
        The columns that a reader has looked at.
    """

    def __init__(self, raw, timezone="UTC", aliases=None):
        self.raw, self.timezone, self.aliases = raw, timezone, aliases or {}
        self.looked, self._named = set(), {}
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
        """Set rows aside; a row keeps its first reason."""
        rows = np.flatnonzero(np.asarray(bad, bool) & (self.reason == ""))
        self.reason[rows] = why
        if name in self.raw:
            self.excerpt[rows] = [f"{name}={shown(cell)}" for cell in self.raw[name].iloc[rows]]

    def assume(self, where, what, size=np.nan):
        """Note in which rows something is taken for granted and, if it can be measured, how much of it."""
        where = np.asarray(where, bool)
        often, total = self.assumed.get(what, (0, 0.0))
        self.assumed[what] = often + where, total + np.where(where, size, 0)

    def assume_pages(self):
        """Note the rows of a page after which the source has more pages, which must be read too."""
        self.assume(
            self.cells("has_more").eq(True),
            "on a page after which there are more: are they here too?",
        )

    def cells(self, name):
        """Return a column as it stands; all cells are missing if the source lacks it."""
        self.looked.add(name)
        if name in self.raw:
            return self.raw[name]
        return pd.Series(np.full(len(self), None, object), self.raw.index)

    def rename(self, names):
        """Rename columns; the old names count as looked at."""
        self.looked.update(names)
        self.raw = self.raw.rename(columns=names)

    def empty(self, name):
        """Return which cells of a column hold nothing."""
        column = self.cells(name)
        nothing = column.isna().to_numpy()
        return nothing | (column == "").to_numpy() if column.dtype.kind in "OTU" else nothing

    def numbers(self, name, missing=np.nan, most=MOST):
        """Return a column as floats: `missing` for empty cells; a cell that is not a number refuses its row."""
        if name not in self.raw:
            return np.full(len(self), missing, float)
        values, empty = floats(self.cells(name)), self.empty(name)
        self.refuse(~empty & ~(np.abs(values) <= most), "not a number", name)
        return np.where(empty, missing, values)

    def counts(self, name, missing=0):
        """Return a column of token counts as floats, whole and from 0 up; missing=None refuses empty cells."""
        values = self.numbers(name, 0 if missing is None else missing)
        if missing is None:
            self.refuse(self.empty(name), f"no {name}", name)
        return self.whole(values, name)

    def whole(self, values, name):
        """Refuse rows in which a count is negative or a fraction; missing counts pass."""
        wrong = (values < 0) | (values != np.floor(values)) & ~np.isnan(values)
        self.refuse(wrong, "not a count from 0 up", name)
        return values

    def times(self, name, *, unit=None, zone=None, missing=False):
        """Return a column of times in UTC (datetime64[us], no zone).

        Parameters
        ----------
        unit : {"s", "ns"}, optional
            The unit of times that are numbers since 1970; without it they are ISO text or timestamps.
        zone : str, optional
            The zone of times that do not name one; by default the sheet's.
        missing : bool
            Whether a cell may be empty.
        """
        if unit:
            micros = self.numbers(name, most=1e19) * {"s": 1e6, "ns": 1e-3}[unit]
            known = np.abs(micros) <= 2**52
            micros = np.where(known, micros, np.iinfo("int64").min).astype("int64")
            at = pd.Series(micros.view("datetime64[us]"))
        else:
            at = self._parsed(self.cells(name), zone or self.timezone)
        empty = self.empty(name)
        self.refuse(~empty & at.isna().to_numpy(), "not a time", name)
        outside = at.lt(EARLIEST).to_numpy() | at.ge(LATEST).to_numpy()
        self.refuse(outside, "a time outside 2000-2099", name)
        if not missing:
            self.refuse(empty, f"no {name}")
        return at.to_numpy("datetime64[us]")

    def _parsed(self, column, zone):
        is_time = pd.api.types.is_datetime64_any_dtype(column)
        if column.dtype == object:
            column = column.where(column.map(type).isin([str, pd.Timestamp]))
        text = column if is_time else column.astype("str")
        at = iso_times(text).dt.tz_localize(None).astype("datetime64[us]")
        if zone == "UTC":
            return at
        zoned = text.dt.tz is not None if is_time else text.str.contains(_ZONED, na=False)
        zoned = pd.Series(zoned, at.index)
        # When clocks change, an hour that comes twice is read as the first of the two, a skipped one as the next.
        first = np.ones(len(at), bool)
        local = at.dt.tz_localize(zone, ambiguous=first, nonexistent="shift_forward")
        twice = at.dt.tz_localize(zone, ambiguous="NaT", nonexistent="shift_forward").isna()
        self.assume(
            twice & at.notna() & ~zoned, f"a time that {zone} has twice, taken as the first"
        )
        return at.where(zoned, local.dt.tz_convert("UTC").dt.tz_localize(None))

    def seconds(self, start, end):
        """Return the seconds from one time to another; missing if either is, or if the end comes first."""
        seconds = (end - start) / np.timedelta64(1, "s")
        return np.where(seconds >= 0, seconds, np.nan)

    def durations(self, name, unit_s=1.0):
        """Return a column of durations in seconds; a negative one or a cell that is not a number is missing."""
        values = floats(self.cells(name)) * unit_s
        return np.where((values >= 0) & (values <= MOST), values, np.nan)

    def text(self, *names, written=pseudonym):
        """Return each row's first text among some columns, None if all are empty; `written` is applied to each text.

        Unless told otherwise, it turns e-mail addresses into pseudonyms.
        """
        result = np.full(len(self), None, object)
        for name in names:
            if name in self.raw:
                open_rows = pd.isna(result)
                result[open_rows] = _words(self.cells(name), written)[open_rows]
        return result

    def words(self, *names):
        """Return `text` in lower case as a Series, with "" for an empty cell."""
        return pd.Series(self.text(*names), dtype=object).fillna("").astype("str").str.lower()

    def models(self, *names, needed=True):
        """Return model ids: the catalogue's id for a spelling that it knows, else the name as it stands.

        A row without a model is refused if it needs one.
        """
        ids = self.resolved(self.text(*names, written=str))
        self.refuse(pd.isna(ids) & needed, "no model")
        return ids

    def resolved(self, names):
        """Return the model ids of an array of names (None for None).

        What a name says of platform, region and service tier is kept for `filled`.
        """
        codes, different = pd.factorize(pd.Series(names, dtype=object))
        own = [self.aliases.get(name, name) for name in different]
        found = [resolved(name) for name in own] + [(None,) * 4]
        for place, part in enumerate(NAMED, 1):
            self._named[part] = np.array([one[place] for one in found], object)[codes]
        ids = [one[0] or name for one, name in zip(found, [*own, None], strict=True)]
        return np.array(ids, object)[codes]

    def filled(self, table):
        """Fill the platform, region and service tier of a table of columns from the names of its models."""
        for part, named in self._named.items():
            own = table[part] if part in table else pd.Series(None, table.index, object)
            # The price class in a name counts even if the source names a place.
            priced = np.isin(named.astype(str), _PRICE_CLASSES)
            table[part] = own.where(own.notna() & ~priced, named)
        if "service_tier" in table:  # OpenAI calls one tier by two names
            openai = table["model_id"].astype("str").str.match(r"gpt|o\d|codex|chatgpt")
            fast = openai & table["service_tier"].eq("fast")
            table["service_tier"] = table["service_tier"].mask(fast, "priority")
        return table

    def identity(self, scope, *names):
        """Return a hash of the cells that name each row, 0 where all of them are empty.

        The scope is part of the hash, except for ids that a provider gave: these name the same call in every format.
        """
        columns = (self.cells(name).astype(object) for name in names)
        words = [
            column.map(str, na_action="ignore").astype(object).fillna("").astype("str")
            for column in columns
        ]
        scoped = pd.Series(scope, self.raw.index, "str").str.cat(words, sep="\x1f")
        text = scoped.str[len(scope) + 1 :]
        given = text.str.match(_PROVIDER_ID)
        hashes = pd.util.hash_array(text.where(given, scoped).to_numpy(object), categorize=False)
        return np.where(text.str.strip("\x1f").eq(""), np.uint64(0), hashes)

    def finished(self, name):
        """Return statuses from a column that says why an answer ended."""
        return self.words(name).map(FINISHED).astype(object).fillna("ok").to_numpy(object)

    def currencies(self, name):
        """Return currency codes; USD for every row if the source has no such column."""
        if name not in self:
            return np.full(len(self), "USD", object)
        return self.words(name).replace("", "(none)").str.upper().to_numpy(object)

    def only_usd(self, name, where=True):
        """Set aside money in another currency, and return which rows are in US dollars."""
        dollars = self.currencies(name) == "USD"
        self.refuse(~dollars & where, "a currency other than USD", name)
        return dollars

    def dollars(self, name, *, currency="currency", per_usd=1):
        """Return the columns of rows that are US dollars without tokens."""
        self.refuse(self.empty(name), f"no {name}")
        self.assume_pages()
        self.only_usd(currency)
        self.money_only[:] = True
        usd = self.numbers(name) / per_usd
        return {"usd": usd, "own_money": usd}


def iso_times(column):
    """Return texts in ISO format, or times, as times in UTC; NaT for any other text."""
    if column.dtype == "str" and column.str.endswith(("UTC", "GMT")).any():
        column = column.str.replace(_UTC, "Z", regex=True)
    return pd.to_datetime(column, format="ISO8601", utc=True, errors="coerce")


def mapped(words, function):
    """Apply a function to each different word of an array once; None stays None."""
    codes, different = pd.factorize(pd.Series(words, dtype=object))
    return np.array([*map(function, different), None], object)[codes]


def shown(cell):
    """Return what may be shown of a cell: a number or a short word; of anything else only its kind or length."""
    if cell is None or isinstance(cell, (bool, int, float, np.number)):
        return str(cell)[:32]
    if not isinstance(cell, str):
        return f"({type(cell).__name__})"
    if _SHOWN.fullmatch(cell) and not _KEY_LIKE.search(cell):
        return cell
    return f"({len(cell):,} characters)"


def _words(column, written):
    kind = pd.api.types.infer_dtype(column) if column.dtype == object else "string"
    if kind not in ("string", "empty"):
        column = column.where([isinstance(cell, (str, int, float)) for cell in column], None)
    return mapped(column, lambda cell: written(untrusted.shown(str(cell))) or None)


def floats(column):
    """Return a column as floats, NaN for a cell that is not a number; true and false are not numbers."""
    kind = pd.api.types.infer_dtype(column) if column.dtype == object else ""
    # These kinds hold neither text nor true and false, so that the whole column can be converted at once.
    if kind in ("empty", "integer", "floating", "mixed-integer-float"):
        with suppress(OverflowError):  # a whole number beyond all floats
            return column.to_numpy(float, na_value=np.nan)
    if column.dtype == object or pd.api.types.is_bool_dtype(column):
        return np.array([as_float(cell) for cell in column], float)
    return pd.to_numeric(column, errors="coerce").to_numpy(float, na_value=np.nan)


def as_float(cell):
    """Return a cell as a float, NaN if it is not a number; true and false are not numbers."""
    try:
        return np.nan if isinstance(cell, bool) else float(cell)
    except (TypeError, ValueError, OverflowError):
        return np.nan
