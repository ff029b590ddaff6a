"""One Ibis expression for the rows of a usage log: counts checked, the local time, and the rate that prices each.

Dates and context steps are counted off against the few that the rate book knows, which leaves a plain equality
join with a small table: the same expression runs on DuckDB and on Spark.
"""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import ibis
import numpy as np
import pandas as pd

from tierlab.buckets import REQUEST_COLUMNS
from tierlab.names import BUCKETS
from tierlab.pricing import _rate_book

COUNTS = (*(f"{bucket}_tokens" for bucket in BUCKETS), "reasoning_tokens", "requests", "attempts", "context_above")
OPTIONAL_COUNTS = COUNTS[5:]  # may be missing in a row: they decide no price
ONE, REPORTED, UNREPORTED = range(3)  # a single request; an aggregate with its context band; one without
_TIMES = (pd.Timestamp("2000-01-01"), pd.Timestamp("2099-12-31 23:59:59.999999"))
_WHOLE = 2**53  # up to here a float holds every whole number


def checked_rows(table, start=None, end=None):
    """A log's columns under one type each, and `fault`: why a row cannot be priced, missing where nothing is wrong.

    Text, as a CSV file has it, is read as numbers, times and truth values.

    Parameters
    ----------
    table : ibis.Table
        Columns of the requests table, of any type.
    start, end : Timestamp, optional
        UTC; rows from the first on and before the second are in the period.
    """
    have = [column for column in REQUEST_COLUMNS if column in table.columns]
    columns = {"model_id": _text(table.model_id), "at": _time(table.at)}
    at = columns["at"]
    faults = [(at.isnull(), "missing at"), (~at.between(*_TIMES), "at outside 2000 to 2099")]
    faults += [(at < start, "outside the period")] if start is not None else []
    faults += [(at >= end, "outside the period")] if end is not None else []
    faults.append((columns["model_id"].isnull(), "missing model_id"))
    for name in have:
        if name in ("batch", "aggregate"):
            columns[name] = table[name] if table[name].type().is_boolean() else _text(table[name]).try_cast("boolean")
            faults.append((columns[name].isnull(), f"{name} is neither true nor false"))
        elif name in COUNTS:
            columns[name], wrong = _count(table[name], name)
            faults += wrong
        elif name in ("ttft_s", "end_to_end_s", "billed_usd"):
            columns[name] = _number(table[name])[0]
        elif name in ("task", "user", "team", "region", "status"):
            columns[name] = _text(table[name])
    if "requests" in have:  # a row of several requests is a sum, whether or not it says so
        several = (columns["requests"] > 1).fill_null(False)
        columns["aggregate"] = columns["aggregate"] | several if "aggregate" in have else several
    if "reasoning_tokens" in have:
        faults.append((columns["reasoning_tokens"] > columns["output_tokens"], "more reasoning than output tokens"))
    return table.select(**columns, fault=ibis.cases(*faults, else_=ibis.null("string")))


def _text(column):
    return column if column.type().is_string() else column.cast("string")


def _time(column):
    kind = column.type()
    if not (kind.is_timestamp() or kind.is_date() or kind.is_string() or kind.is_null()):
        raise ValueError(f"column 'at' has type {kind}; turn it into times")
    if kind.is_timestamp() and kind.timezone is None:
        return column.cast("timestamp(6)")
    moment = column.try_cast("timestamp('UTC')") if kind.is_string() else column.cast("timestamp('UTC')")
    return moment.cast("timestamp(6)")


def _number(column):
    """A column as numbers, missing where it is none; and whether it holds something that is no number."""
    kind = column.type()
    if kind.is_integer():
        return column.cast("int64"), None
    if kind.is_string():
        number = column.try_cast("float64")
        return number.isnan().ifelse(ibis.null("float64"), number), number.isnull() & (column.strip() != "")
    number = column.cast("float64")
    return number.isnan().ifelse(ibis.null("float64"), number), None


def _count(column, name):
    """A column of counts as whole numbers, and the faults to look for."""
    kind = column.type()
    if not (kind.is_string() or kind.is_null() or (kind.is_numeric() and not kind.is_boolean())):
        raise ValueError(f"column {name!r} has type {kind}; counts are whole numbers")
    number, no_number = _number(column)
    faults = [] if no_number is None else [(no_number, f"no number in {name}")]
    if name not in OPTIONAL_COUNTS:
        faults.append((number.isnull(), f"missing {name}"))
    if not number.type().is_integer():
        whole = (number.abs() <= _WHOLE) & (number % 1 == 0)
        faults.append((~whole, f"fractional {name}"))
        number = whole.ifelse(number, ibis.null("float64")).cast("int64")
    return number, [*faults, (number < 0, f"negative {name}")]


@dataclass(frozen=True)
class RateTable:
    """The rates that a log can need, one row per spelling of a model, slot of time, context level and batch.

    Attributes
    ----------
    ids : dict of str to str
        Spelling -> model id.
    frame : DataFrame
        spelt, slot, level, batch; rate (position), model_id, usd_<bucket> (per token, 0 where there is none),
        no_<bucket>, bits (flags of every request), write_bits (flags of one that writes to a cache), over
        (whether the input is over the window), stepped (whether the model has a context step).
    edges : ndarray of datetime64
        Where a slot of time begins, after the first.
    levels : ndarray of int
        Inputs above which a context level begins, after the first.
    """

    ids: dict
    frame: pd.DataFrame
    edges: np.ndarray
    levels: np.ndarray


def rate_table(prices, spellings, first_at, last_at):
    """The rates of some models between two times; a spelling that `prices` does not know is left out."""
    ids = {}
    for name in spellings:
        try:
            ids[name] = prices.resolve(name)
        except ValueError:
            continue  # whoever asks sees that its rows find no rate
    names = list(dict.fromkeys(ids.values()))
    book = _rate_book(prices, names, True)
    edges = book.slots.astype("datetime64[us]")
    begun = int((edges <= np.datetime64(first_at, "us")).sum())
    edges = edges[begun : int((edges <= np.datetime64(last_at, "us")).sum())]
    lengths = np.append(book.steps, book.window)
    levels = np.unique(lengths[np.isfinite(lengths)]).astype("int64")
    index = pd.MultiIndex.from_product(
        [list(ids), range(len(edges) + 1), range(len(levels) + 1), [False, True]], names=["spelt", "slot", "level", "batch"]
    )
    frame = index.to_frame(index=False).assign(rate=np.arange(len(index), dtype="int32"))
    model = frame["spelt"].map({name: names.index(model_id) for name, model_id in ids.items()}).to_numpy("intp")
    key = model * (len(book.slots) + 1) + begun + frame["slot"].to_numpy()
    length = np.append(0, levels + 0.5)[frame["level"]]  # stands for every input of its level
    row = book.first[key] + 2 * (length[:, None] > book.steps[key]).sum(axis=1) + frame["batch"].to_numpy()
    frame = frame.assign(
        model_id=np.array(names, object)[model],
        **{f"usd_{bucket}": book.rates[place][row] for place, bucket in enumerate(BUCKETS)},
        **{f"no_{bucket}": book.missing[place][row] for place, bucket in enumerate(BUCKETS)},
        bits=book.flags[key] | book.row_flags[row],
        write_bits=book.write_flag[row],
        over=length > book.window[key],
        stepped=np.isfinite(book.steps[key]).any(axis=1),
    )
    return RateTable(ids, frame.astype({"slot": "int16", "level": "int16", "spelt": "str"}), edges, levels)


def priced_rows(rows, rates):
    """The rows of known models, each with its rate.

    Parameters
    ----------
    rows : ibis.Table
        From `checked_rows`, those without a fault.
    rates : RateTable

    Returns
    -------
    ibis.Table
        With kind (`ONE`, `REPORTED` or `UNREPORTED`), gap (why there is no price, missing where
        the row has one) and rate and usd_<bucket> of `rates.frame`.
    """
    have = [bucket for bucket in BUCKETS if f"{bucket}_tokens" in rows.columns]
    given, kind = sum(rows[f"{bucket}_tokens"] for bucket in have[:-1]), ibis.literal(ONE, "int8")
    if "aggregate" in rows.columns:
        band = rows.context_above if "context_above" in rows.columns else ibis.null("int64")
        kind = rows["aggregate"].ifelse(band.isnull().ifelse(UNREPORTED, REPORTED), ONE).cast("int8")
        given = rows["aggregate"].ifelse(ibis.coalesce(band + 1, 0), given)
    rows = rows.mutate(
        kind=kind,
        slot=_count_off([rows.at >= pd.Timestamp(edge) for edge in rates.edges]),
        level=_count_off([given > level for level in rates.levels.tolist()]),
    )
    batch = rows.batch if "batch" in rows.columns else ibis.literal(False)
    gaps = [bucket for bucket in have if rates.frame[f"no_{bucket}"].any()]
    columns = ["spelt", "slot", "level", "batch", "rate", *(f"usd_{b}" for b in have), *(f"no_{b}" for b in gaps)]
    book = ibis.memtable(rates.frame[columns].rename(columns={"slot": "r_slot", "level": "r_level", "batch": "r_batch"}))
    rows = rows.inner_join(
        book,
        [rows.model_id == book.spelt, rows.slot == book.r_slot, rows.level == book.r_level, batch == book.r_batch],
    )
    lacking = [(rows[f"no_{b}"] & (rows[f"{b}_tokens"] > 0), b) for b in gaps]
    reasons = [(bad & rows.r_batch, f"no batch rate for {b}") for bad, b in lacking] + [
        (bad, f"no rate for {b}") for bad, b in lacking
    ]
    if "billed_usd" in rows.columns:  # paid for something that is not a token: nothing here has its price
        tokens = sum(rows[f"{b}_tokens"] for b in have)
        reasons.append(((rows.billed_usd > 0) & (tokens == 0), "billed, but without a token"))
    return rows.mutate(gap=ibis.cases(*reasons, else_=ibis.null("string")) if reasons else ibis.null("string"))


def _count_off(passed):
    """How many of some nested conditions hold."""
    return sum((condition.cast("int16") for condition in passed), ibis.literal(0, "int16")).cast("int16")


def with_local(rows, clock):
    """Rows with `local`, the time that a clock of `local_clock` shows."""
    local = rows.at + ibis.interval(seconds=clock[0][1]) if clock[0][1] else rows.at
    later = [(rows.at >= edge, rows.at + ibis.interval(seconds=seconds)) for edge, seconds in clock[:0:-1]]
    return rows.mutate(local=ibis.cases(*later, else_=local) if later else local)


def local_clock(timezone, first_at, last_at):
    """What a time zone adds to UTC between two times: (from when, seconds) pairs, the first from ever.

    Engines differ in their time zone functions; an addition they all do alike.

    Examples
    --------
    >>> clock = local_clock("Europe/Berlin", pd.Timestamp("2026-10-01"), pd.Timestamp("2026-11-30"))
    >>> [(str(edge), seconds) for edge, seconds in clock]
    [('None', 7200), ('2026-10-25 01:00:00', 3600)]
    """
    zone = ZoneInfo(timezone)

    def ahead(times):
        utc = times.tz_localize("UTC")
        return ((times - utc.tz_convert(zone).tz_localize(None)) // pd.Timedelta(seconds=-1)).to_numpy()

    days = pd.date_range(pd.Timestamp(first_at).floor("D"), pd.Timestamp(last_at).ceil("D") + pd.Timedelta(days=1), unit="us")
    seconds = ahead(days)
    clock = [(None, int(seconds[0]))]
    for place in np.flatnonzero(np.diff(seconds)):
        minutes = pd.date_range(days[place], days[place + 1], freq="min", unit="us")
        edge = minutes[np.flatnonzero(ahead(minutes) != clock[-1][1])[0]]
        clock.append((edge, int(seconds[place + 1])))
    return clock
