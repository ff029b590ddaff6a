"""A block of a source's rows: typed columns out of it, and for each row the first thing that is wrong.

A cell that is not what it should be never becomes a number: its row is refused with a reason, and what may be
shown of the cell is a number or a short word, never text that could be a prompt, an e-mail address or a key.
"""

import re
from hashlib import blake2b

import numpy as np
import pandas as pd

from tierlab.core import untrusted
from tierlab.core.tables import TOKEN_COLUMNS
from tierlab.prices.names import platform_of, resolved, sellers
from tierlab.usage.counters import Counters

EARLIEST, LATEST = pd.Timestamp("2000-01-01"), pd.Timestamp("2100-01-01")
MOST = 1e15  # tokens or dollars in one row beyond which a cell is nonsense
_ZONED = r"(?:[zZ]|[+-]\d\d:?\d\d)\s*$"
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+")
_TOLD = 100  # different counters of objects in one column
_USAGE = re.compile("usage|token", re.I)
_SHOWN = re.compile(r"[\w.:+/-]{1,32}")
_COUNTER_NAME = re.compile(r"[\w.()/ -]{1,100}")
_KEY_LIKE = re.compile(r"^(?:sk|pk|rk|key|AIza|ghp|Bearer)|[A-Za-z0-9_-]{25,}")
_PROVIDER_ID = r"(?:msg_|chatcmpl-|resp_|gen-)[A-Za-z0-9_-]+$"
FAILED = {
    401: "auth",
    402: "auth",
    403: "auth",
    408: "timeout",
    413: "context_overflow",
    429: "rate_limited",
    499: "cancelled",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}
FINISHED = {
    "length": "truncated",
    "max_tokens": "truncated",
    "max_output_tokens": "truncated",
    "error": "unavailable",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
}
UNTIMED = "cache writes without a time to live, taken as 5 minutes"
_OTHER_SIDE = "by the source's own total, {} lie on the other side of its {} counter than usual"
NAMED = ("platform", "region", "service_tier")  # what the name of a model may say beside the model
TIERS = ("standard", "flex", "priority", "fast", "ultrafast", "offpeak", "provisioned")
_TIER_WORDS = dict(zip(TIERS, TIERS, strict=True)) | {
    "default": "standard",
    "on_demand": "standard",
    "scale": "provisioned",
    "reserved": "provisioned",
    "provisioned_throughput": "provisioned",
    "batch": "batch",
    "true": "batch",
}
_PRICE_CLASSES = ("global", "data_zone")  # regions that say at which price, not where
_NO_TIER = ("", "auto", "false", "message", "traffic_type_unspecified")


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
    assumed : dict of str to (ndarray of int, ndarray of float)
        What was taken for granted: how often in each row, and how much of it (missing where it has no size).
    """

    def __init__(self, raw, timezone="UTC", aliases=None):
        self.raw, self.timezone, self.aliases = raw, timezone, aliases or {}
        self._looked, self._named = set(), {}
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

    def assume(self, where, what, size=np.nan):
        """Say in which rows something is taken for granted, and, where it has one, its size."""
        where = np.asarray(where, bool)
        often, total = self.assumed.get(what, (0, 0.0))
        self.assumed[what] = often + where, total + np.where(where, size, 0)

    def assume_pages(self):
        """Count rows of a page after which the source has more, which must have been read too."""
        self.assume(
            self.cells("has_more").eq(True),
            "on a page after which there are more: are they here too?",
        )

    def cells(self, name):
        """A column as it stands; all missing where the source lacks it."""
        self._looked.add(name)
        return (
            self.raw[name]
            if name in self.raw
            else pd.Series(np.full(len(self), None, object), self.raw.index)
        )

    def rename(self, names):
        """Give columns other names; under the old ones they count as looked at."""
        self._looked.update(names)
        self.raw = self.raw.rename(columns=names)

    def empty(self, name):
        """Which cells of a column hold nothing."""
        column = self.cells(name)
        nothing = column.isna().to_numpy()
        return nothing | (column == "").to_numpy() if column.dtype.kind in "OTU" else nothing

    def numbers(self, name, missing=np.nan, most=MOST):
        """A column of numbers as float; `missing` for empty cells, a refused row for what is not a number."""
        if name not in self.raw:
            return np.full(len(self), missing, float)
        values, empty = _numbers(self.cells(name)), self.empty(name)
        self.refuse(~empty & ~(np.abs(values) <= most), "not a number", name)
        return np.where(empty, missing, values)

    def counts(self, name, missing=0):
        """A column of token counts as float, whole and from 0 up; missing=None refuses empty cells."""
        values = self.numbers(name, 0 if missing is None else missing)
        if missing is None:
            self.refuse(self.empty(name), f"no {name}", name)
        return self.whole(values, name)

    def whole(self, values, name):
        """Refuse rows in which a count is negative or a fraction; missing ones pass."""
        wrong = (values < 0) | (values != np.floor(values)) & ~np.isnan(values)
        self.refuse(wrong, "not a count from 0 up", name)
        return values

    def times(self, name, *, unit=None, zone=None, missing=False):
        """A column of times in UTC (datetime64[us], no zone).

        Parameters
        ----------
        unit : {"s", "ns"}, optional
            Of numbers since 1970; otherwise ISO text or times.
        zone : str, optional
            Of times without one; by default the sheet's.
        missing : bool
            Whether an empty cell is allowed.
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
        at = pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")
        at = at.dt.tz_localize(None).astype("datetime64[us]")
        if zone == "UTC":
            return at
        zoned = text.dt.tz is not None if is_time else text.str.contains(_ZONED, na=False)
        # An hour that comes twice is taken as the first of the two, one that is left out as the next.
        first = np.ones(len(at), bool)
        local = at.dt.tz_localize(zone, ambiguous=first, nonexistent="shift_forward")
        twice = at.dt.tz_localize(zone, ambiguous="NaT", nonexistent="shift_forward").isna()
        self.assume(
            twice & at.notna() & ~zoned, f"a time that {zone} has twice, taken as the first"
        )
        return at.where(zoned, local.dt.tz_convert("UTC").dt.tz_localize(None))

    def seconds(self, start, end):
        """Seconds from one time to another; missing where either is, or where the end comes first."""
        seconds = (end - start) / np.timedelta64(1, "s")
        return np.where(seconds >= 0, seconds, np.nan)

    def durations(self, name, unit_s=1.0):
        """A column of durations in seconds; what is negative or no number is missing, not a reason to lose the row."""
        values = _numbers(self.cells(name)) * unit_s
        return np.where((values >= 0) & (values <= MOST), values, np.nan)

    def text(self, *names):
        """The first of some columns that has a word in it; an e-mail address becomes a pseudonym, None for nothing."""
        return self._first(names, pseudonym)

    def _first(self, names, written):
        result = np.full(len(self), None, object)
        for name in names:
            if name in self.raw:
                open_rows = pd.isna(result)
                result[open_rows] = _words(self.cells(name), written)[open_rows]
        return result

    def words(self, *names):
        """`text` in lower case as a Series, "" for nothing."""
        return pd.Series(self.text(*names), dtype=object).fillna("").astype("str").str.lower()

    def models(self, *names, needed=True):
        """Model ids: the catalogue's where a spelling is known, else the name as it stands; none is refused if needed."""
        ids = self.resolved(self._first(names, str))
        self.refuse(pd.isna(ids) & needed, "no model")
        return ids

    def resolved(self, names):
        """Model ids of an array of names (None for none); what a name says of platform, region and tier is kept."""
        codes, different = pd.factorize(pd.Series(names, dtype=object))
        own = [self.aliases.get(name, name) for name in different]
        found = [resolved(name) for name in own] + [(None,) * 4]
        for place, part in enumerate(NAMED, 1):
            self._named[part] = np.array([one[place] for one in found], object)[codes]
        ids = [one[0] or name for one, name in zip(found, [*own, None], strict=True)]
        return np.array(ids, object)[codes]

    def filled(self, table):
        """A table of the reader's columns, its platform, region and tier filled up from the names of its models."""
        for part, named in self._named.items():
            own = table[part] if part in table else pd.Series(None, table.index, object)
            priced = np.isin(named.astype(str), _PRICE_CLASSES)  # whatever place is told beside
            table[part] = own.where(own.notna() & ~priced, named)
        if "service_tier" in table:  # OpenAI calls one tier by two names
            openai = table["model_id"].astype("str").str.match(r"gpt|o\d|codex|chatgpt")
            fast = openai & table["service_tier"].eq("fast")
            table["service_tier"] = table["service_tier"].mask(fast, "priority")
        return table

    def tell_columns(self, raw, reader):
        """Tell of the numeric columns of a flat table that the reader did not look at."""
        for name in raw.columns.difference([*self._looked, *reader.idle], sort=False):
            if _USAGE.search(str(name)) and raw[name].map(type).eq(dict).any():
                self._tell_objects(str(name), raw[name])
            elif raw[name].dtype.kind in "OTUiuf" and re.search(reader.counters, str(name), re.I):
                numbers = _numbers(raw[name])
                there = np.isfinite(numbers) & (numbers != 0)
                self.assume(there, unread(str(name)), np.where(there, numbers, 0))

    def _tell_objects(self, name, cells):
        sizes = {}
        for place, cell in enumerate(cells):
            for inner, number in Counters(()).left(cell if type(cell) is dict else {}).items():
                if inner in sizes or len(sizes) < _TOLD:
                    sizes.setdefault(inner, np.zeros(len(cells)))[place] = number
        for inner, size in sizes.items():
            self.assume(size != 0, unread(f"{name}.{inner}"), size)

    def identity(self, scope, *names):
        """A hash of what names each row, 0 where every named cell is empty; ids that a provider gave count everywhere."""
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
        """Statuses from a column of reasons why an answer ended."""
        return self.words(name).map(FINISHED).astype(object).fillna("ok").to_numpy(object)

    def currencies(self, name):
        """Currency codes; USD where the source has no such column."""
        if name not in self:
            return np.full(len(self), "USD", object)
        return self.words(name).replace("", "(none)").str.upper().to_numpy(object)

    def only_usd(self, name, where=True):
        """Set aside what is money in another currency; returns which rows are in US dollars."""
        dollars = self.currencies(name) == "USD"
        self.refuse(~dollars & where, "a currency other than USD", name)
        return dollars

    def dollars(self, name, *, currency="currency", per_usd=1):
        """Columns of rows that are an amount of money without tokens, all of it in US dollars."""
        self.refuse(self.empty(name), f"no {name}")
        self.assume_pages()
        self.only_usd(currency)
        self.money_only[:] = True
        usd = self.numbers(name) / per_usd
        return {"usd": usd, "own_money": usd}


def unread(name):
    """What is told of a counter that no rule reads: its name, but for one that could be a key or an address."""
    plain = _COUNTER_NAME.fullmatch(name) and sum(map(str.isdigit, name)) < 8
    return (
        f"a counter that no rule reads, {name!r}"
        if plain
        else f"a counter that no rule reads ({len(name)} characters)"
    )


def tiers(sheet, *names):
    """Columns `batch` and `service_tier`, by columns of yes and no or of service tiers; of several words the last counts.

    A tier of another name than ours stays as it stands: pricing says that it has no rate.
    """
    tier, is_batch = np.full(len(sheet), None, object), np.zeros(len(sheet), bool)
    for name in names:
        words = sheet.words(name).str.replace("-", "_").str.removeprefix("on_demand_")
        word = words.map(lambda one: _TIER_WORDS.get(one, one)).to_numpy(object)
        said = ~words.isin(_NO_TIER).to_numpy(bool)
        is_batch |= word == "batch"
        better = said & (word != "batch") & (pd.isna(tier) | (word != "standard"))
        tier = np.where(better, word, tier)
    return {"batch": is_batch, "service_tier": tier}


def platforms(sheet, *names):
    """The seller, from columns that name a provider, alone or before a dot; None for one that the catalogue lacks."""
    words = sheet.text(*names)
    found = mapped(words, _seller)
    lacking = pd.notna(words) & pd.isna(found)
    sheet.assume(lacking, "a seller that the catalogue lacks: priced as if its maker had sold it")
    return found


def _seller(word):
    found = (platform_of(part) for part in (word, word.partition(".")[0]))
    return next((name for name in found if name in sellers()), None)


def buckets(
    sheet,
    whole,
    output,
    *,
    read=0.0,
    write_short=0.0,
    write_long=0.0,
    cache_inside,
    reasoning=None,
    reasoning_inside=True,
    total=None,
):
    """The five disjoint buckets from a source's own counters, refusing rows in which they cannot be true.

    Parameters
    ----------
    whole, output : ndarray of float
        The input and output counters.
    read, write_short, write_long : ndarray of float
        The counters of the cache.
    reasoning : ndarray of float, optional
        Reasoning tokens, missing where the source does not tell them.
    cache_inside, reasoning_inside : bool
        Whether `whole` includes the cached tokens, and `output` the reasoning tokens.
    total : ndarray of float, optional
        The source's own total, missing where it has none. Where it says that cache or reasoning lie on the other
        side than `cache_inside` and `reasoning_inside` say, the row is read so, and told.

    Returns
    -------
    dict of str to ndarray
        Columns of the requests table.
    """
    cached = read + write_short + write_long
    told = 0.0 if reasoning is None else np.nan_to_num(reasoning)
    inside, within = np.full(len(sheet), cache_inside), np.full(len(sheet), reasoning_inside)
    if total is not None:
        for flip_cache, flip_reasoning in (
            (True, True),
            (True, False),
            (False, True),
            (False, False),
        ):
            cache, thought = (
                np.not_equal(cache_inside, flip_cache),
                reasoning_inside != flip_reasoning,
            )
            adds = total == whole + output + np.where(cache, 0, cached) + np.where(thought, 0, told)
            inside, within = np.where(adds, cache, inside), np.where(adds, thought, within)
        sheet.assume(
            (inside != cache_inside) & (cached > 0), _OTHER_SIDE.format("cached tokens", "input")
        )
        sheet.assume(
            (within != reasoning_inside) & (told > 0), _OTHER_SIDE.format("reasoning", "output")
        )
    uncached = np.where(inside, whole - cached, whole)
    sheet.refuse(uncached < 0, "more cached than input tokens")
    memo = {}
    if reasoning is not None:
        output = output + np.where(within, 0, told)
        sheet.refuse(reasoning > output, "more reasoning than output tokens")
        memo["reasoning_tokens"] = np.where(np.isnan(reasoning) & (output == 0), 0, reasoning)
    found = (uncached, read, write_short, write_long, output)
    return dict(zip(TOKEN_COLUMNS, found, strict=True)) | memo


def units(sheet, tokens, parts):
    """Buckets without what is not a text token, and `unit` and `quantity` for it.

    A row has one unit: of several the largest counts, and the others stay where they are, which is told.

    Parameters
    ----------
    tokens : dict of str to ndarray
        What `buckets` found.
    parts : dict of str to (str or None, ndarray of float)
        Unit, a usage key of genai-prices such as "input_audio_tokens" or "web_searches" -> the column of `tokens`
        that holds it (None: it stands beside them), and how much of it there is.

    Returns
    -------
    dict of str to ndarray
        The columns of `tokens`, `unit` and `quantity`.
    """
    sizes = np.array([size for _, size in parts.values()])
    most, largest = sizes.argmax(axis=0), sizes.max(axis=0)
    tokens = dict(tokens)
    for place, (name, (bucket, size)) in enumerate(parts.items()):
        mine = (most == place) & (size > 0)
        if bucket:
            sheet.refuse(size > tokens[bucket], f"{name} above all that they are part of")
            tokens[bucket] = tokens[bucket] - np.where(mine, size, 0)
        left = (size > 0) & ~mine
        sheet.assume(left, f"{name} beside another unit, not priced at a rate of their own", size)
    if "reasoning_tokens" in tokens:  # a memo inside output, which has become less
        tokens["reasoning_tokens"] = np.minimum(tokens["reasoning_tokens"], tokens["output_tokens"])
    found = largest > 0
    unit = np.where(found, np.array(list(parts), object)[most], None)
    return tokens | {"unit": unit, "quantity": np.where(found, largest, np.nan)}


def mapped(words, function):
    """A function of each word of an array, called once for each different one; None for None."""
    codes, different = pd.factorize(pd.Series(words, dtype=object))
    return np.array([*map(function, different), None], object)[codes]


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
    """The failure word of an HTTP status, "unavailable" for what is not one."""
    return FAILED.get(code, "bad_request" if 100 <= code < 500 else "unavailable")


def statuses(sheet, name, failed):
    """ "ok", or the failure word of the HTTP status in a column."""
    codes = pd.Series(np.clip(np.nan_to_num(sheet.durations(name)), 0, 999).astype(int))
    return np.where(failed, codes.map(status_of), "ok")


def _words(column, written=pseudonym):
    kind = pd.api.types.infer_dtype(column) if column.dtype == object else "string"
    if kind == "empty":
        return np.full(len(column), None, object)
    if kind != "string":
        column = column.where([isinstance(cell, (str, int, float)) for cell in column], None)
    return mapped(column, lambda cell: written(untrusted.shown(str(cell))) or None)


def _numbers(column):
    """A column as float, NaN for what is not a number; true and false are none."""
    kind = pd.api.types.infer_dtype(column) if column.dtype == object else ""
    if kind in (
        "empty",
        "integer",
        "floating",
        "mixed-integer-float",
    ):  # no text, nor true or false
        return _as_floats(column)
    if column.dtype == object or pd.api.types.is_bool_dtype(column):
        return np.array([_number(cell) for cell in column], float)
    return pd.to_numeric(column, errors="coerce").to_numpy(float, na_value=np.nan)


def _as_floats(column):
    try:
        return column.to_numpy(float, na_value=np.nan)
    except OverflowError:  # a whole number beyond all floats
        return np.array([_number(cell) for cell in column], float)


def _number(cell):
    try:
        return np.nan if isinstance(cell, bool) else float(cell)
    except (TypeError, ValueError, OverflowError):
        return np.nan
