"""A usage log as one Ibis expression: its rows checked, priced and on the local clock.

The log is scanned in place, by a DuckDB of this process or by the backend of an Ibis table; what a query cannot hold in
memory goes to a folder that is deleted afterwards. A request's date and length become numbers of the few slots and
levels that the rate book knows, so that a plain equality join with a small table prices it, on Spark as well.
"""

import tempfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import lazy_loader
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tierlab.core.tables import REQUEST_COLUMNS, check_columns
from tierlab.core.untrusted import regular
from tierlab.core.vocabulary import BUCKETS
from tierlab.prices.daily import Bought
from tierlab.prices.offers import BIT, find_offer
from tierlab.prices.pricing import rate_book
from tierlab.usage.files import Fault, first_of_copies, header_of, lines_of, table

if TYPE_CHECKING:
    import ibis
else:  # the command line checks a log's first rows with this module, which needs no engine
    ibis = lazy_loader.load("ibis", error_on_import=True)

NO_PRICE = ("unknown model", "no price where it was bought")
NO_ROW, COPY = "a line that is no row of its file", "a copy of another file, or a second name of it"
BOUGHT = (
    "model_id",
    "platform",
    "region",
    "service_tier",
)  # columns that decide the price of a request
NEEDED = ("at", "model_id", "uncached_input_tokens", "output_tokens")
MEMORY = "2GB"  # DuckDB may hold this before it spills
_ENDINGS = (".parquet", ".csv", ".csv.gz")

TOKENS = tuple(f"{bucket}_tokens" for bucket in BUCKETS)
# Counts that may be missing in a row, because no price depends on them.
OPTIONAL_COUNTS = ("reasoning_tokens", "requests", "attempts", "context_above")
# Kinds of rows: a single request; an aggregate that reports its context band; one that does not.
ONE, REPORTED, UNREPORTED = range(3)
_TIMES = (pd.Timestamp("2000-01-01"), pd.Timestamp("2099-12-31 23:59:59.999999"))
_WHOLE = 2**53  # up to this a float holds every whole number


@contextmanager
def open_log(usage):
    """Open a requests table for queries, and clean up after them.

    Parameters
    ----------
    usage : DataFrame, ibis.Table, path or glob
        A requests table, or Parquet or CSV files of its columns; a folder stands for all such files in it.

    Yields
    ------
    table : ibis.Table
        The requests table, with its columns as they were found.
    aside : Counter
        Rows of the files that are not in the table, by reason.

    Raises
    ------
    ValueError
        If a needed column is missing, a file cannot be read, or the backend's time zone is not UTC.
    """
    if isinstance(usage, ibis.Table):
        backend = usage.get_backend()
        midnight = ibis.literal("1970-01-01T00:00:00+00:00").cast("timestamp('UTC')")
        if backend.execute(midnight.cast("timestamp").hour()) != 0:
            why = "has another time zone than UTC, which would move days and prices"
            raise ValueError(f"the session of {backend.name} {why}")
        yield _checked(usage), Counter()
        return
    with tempfile.TemporaryDirectory(prefix="tierlab-", ignore_cleanup_errors=True) as folder:
        options = {"temp_directory": folder, "preserve_insertion_order": False}
        backend = ibis.duckdb.connect(memory_limit=MEMORY, **options)
        try:
            backend.raw_sql("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
            if isinstance(usage, pd.DataFrame):
                yield backend.create_view("requests", ibis.memtable(_columnar(usage))), Counter()
            else:
                yield _scanned(files_of(usage), backend, Path(folder))
        finally:
            backend.disconnect()


def _checked(log):
    check_columns(pd.DataFrame(columns=list(log.columns)), needed=NEEDED)
    return log


def _columnar(frame):
    """Return the columns of a frame that a query may need, each of one type."""
    frame = _checked(frame)[[c for c in frame if c in REQUEST_COLUMNS and c != "prefix_ids"]]
    mixed = [column for column in frame if frame[column].dtype == object]
    return frame.astype(dict.fromkeys(mixed, "string")).reset_index(drop=True)


def files_of(usage):
    """Return the Parquet or CSV files that a path, a folder or a glob names, sorted.

    Raises
    ------
    ValueError
        If there is no such file, or if there are both kinds.
    """
    name = regular(usage)
    pattern = name / "**" / "*" if name.is_dir() else name
    inside = Path(name.anchor).glob(str(pattern.relative_to(name.anchor)))
    found = sorted(path for path in inside if path.name.endswith(_ENDINGS) and path.is_file())
    if name.is_file() and not found:
        why = "a usage log is a .parquet or .csv file; tierlab.read_usage reads other formats"
        raise ValueError(f"{name}: {why}")
    if len({path.suffix == ".parquet" for path in found}) != 1:
        both = "both .parquet and .csv files; give one kind"
        raise ValueError(f"{name}: {both if found else 'no .parquet or .csv file'}")
    return found


def columns_of(file):
    """Return the names of the columns of a Parquet or CSV file."""
    return pq.read_schema(file).names if file.suffix == ".parquet" else header_of(file)


def _scanned(files, backend, folder):
    copies, aside, scanned = first_of_copies(files), Counter(), []
    for place, file in enumerate(file for file in files if file not in copies):
        source, lost = file, 0
        if file.suffix != ".parquet":
            source = folder / f"{place}.parquet"
            lost = _as_parquet(file, source)
        rows = pq.read_metadata(source).num_rows + lost
        aside.update({NO_ROW: lost, COPY: rows * list(copies.values()).count(file)})
        scanned.append(source)
    return _checked(backend.read_parquet(scanned, union_by_name=True)), aside


def _as_parquet(file, copy):
    """Write a CSV file as Parquet, each cell as text, and return how many lines are not rows."""
    lost = 0
    try:
        types = pa.schema([(name, pa.string()) for name in header_of(file)])
        with pq.ParquetWriter(copy, types) as writer:
            for item in table(lines_of(file)):
                if isinstance(item, Fault):
                    lost += 1
                else:
                    cells = item[1].astype(object).where(item[1] != "", None)  # empty is missing
                    writer.write_table(pa.Table.from_pandas(cells, types, preserve_index=False))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    return lost


def checked_rows(log, start=None, end=None):
    """Give each column of a log its type, and say in `fault` why a row cannot be priced.

    Text, as a CSV file has it, is read as numbers, times and truth values.

    Parameters
    ----------
    log : ibis.Table
        Columns of the requests table, of any type.
    start, end : Timestamp, optional
        UTC; rows from the first on and before the second are in the period.

    Returns
    -------
    ibis.Table
        The log's columns, and every token bucket, `aggregate`, `requests` (missing for an aggregate that does not count
        them) and `context_above` even if the log lacks them; `fault` is missing where nothing is wrong.
    """
    columns, faults = {}, []
    for name in REQUEST_COLUMNS:  # a row's reason is its first fault in this order
        if name in log.columns and name in _READERS:
            columns[name], wrong = _READERS[name](log[name], name)
            faults += wrong
        if name == "at" and start is not None:
            inside = (columns["at"] >= start) & (columns["at"] < end)
            faults.append((~inside, "outside the period"))
    if "reasoning_tokens" in columns:
        more = columns["reasoning_tokens"] > columns["output_tokens"]
        faults.append((more, "more reasoning than output tokens"))
    if "quantity" in columns:
        unknown = columns.get("unit", ibis.null("string")).notnull() & ~(columns["quantity"] >= 0)
        faults.append((unknown.fill_null(True), "a unit without a quantity"))
    if "service_tier" in columns:  # Anthropic's word for the batch endpoint
        by_tier = (columns["service_tier"] == "batch").fill_null(False)
        columns["batch"] = columns.get("batch", ibis.literal(False)) | by_tier
    columns = _absent() | columns
    # A row of several requests is a sum, whether or not it says so; a single one counts as one.
    columns["aggregate"] |= (columns["requests"] > 1).fill_null(False)
    single = columns["aggregate"].ifelse(ibis.null("int64"), 1)
    columns["requests"] = ibis.coalesce(columns["requests"], single)
    return log.select(**columns, fault=ibis.cases(*faults, else_=ibis.null("string")))


@cache
def _absent():
    """Return what a log says that lacks a column."""
    return {
        **dict.fromkeys(TOKENS, ibis.literal(0, "int64")),
        **dict.fromkeys(("requests", "context_above"), ibis.null("int64")),
        "aggregate": ibis.literal(False),
    }


def _text(column, name):
    text = column.cast("string")
    return text, [(text.isnull(), f"missing {name}")] if name == "model_id" else []


def _time(column, name):
    kind = column.type()
    if kind.is_string():
        column = column.try_cast("timestamp('UTC')")
    elif kind.is_date() or kind.is_null() or (kind.is_timestamp() and kind.timezone is not None):
        column = column.cast("timestamp('UTC')")
    elif not kind.is_timestamp():
        raise ValueError(f"column {name!r} has type {kind}; turn it into times")
    at = column.cast("timestamp(6)")
    return at, [(at.isnull(), f"missing {name}"), (~at.between(*_TIMES), "at outside 2000 to 2099")]


def _truth(column, name):
    if not column.type().is_boolean():
        column = column.cast("string").try_cast("boolean")
    return column, [(column.isnull(), f"{name} is neither true nor false")]


def _number(column, name):
    """Read a column as numbers, missing where it holds none."""
    number = (column.try_cast if column.type().is_string() else column.cast)("float64")
    return number.isnan().ifelse(ibis.null("float64"), number), []


def _count(column, name):
    """Read a column as whole numbers from 0 up."""
    kind, faults = column.type(), []
    if kind.is_boolean() or not (kind.is_string() or kind.is_null() or kind.is_numeric()):
        raise ValueError(f"column {name!r} has type {kind}; counts are whole numbers")
    number = column.cast("int64") if kind.is_integer() else _number(column, name)[0]
    if kind.is_string():
        faults.append((number.isnull() & (column.strip() != ""), f"no number in {name}"))
        thousands = column.strip().re_search(r"^[1-9][0-9]{0,2}\.[0-9]{3}$")
        faults.append((thousands, f"1.000 or 1,000 in {name}"))
    if name not in OPTIONAL_COUNTS:
        faults.append((number.isnull(), f"missing {name}"))
    if not kind.is_integer():
        whole = (number.abs() <= _WHOLE) & (number % 1 == 0)
        faults.append((~whole, f"fractional {name}"))
        number = whole.ifelse(number, ibis.null("float64")).cast("int64")
    return number, [*faults, (number < 0, f"negative {name}")]


_READERS = {
    "at": _time,
    **dict.fromkeys((*BOUGHT, "task", "user", "team", "session_id", "status", "unit"), _text),
    **dict.fromkeys(("batch", "aggregate"), _truth),
    **dict.fromkeys((*TOKENS, *OPTIONAL_COUNTS), _count),
    **dict.fromkeys(("quantity", "ttft_s", "end_to_end_s", "billed_usd"), _number),
}


@dataclass(frozen=True)
class RateTable:
    """The rates that a log can need: one for each purchase it names, slot of time, context level, hour and batch mode.

    Attributes
    ----------
    refused : DataFrame
        What has no price: the columns of `BOUGHT` that the log has ("" where it says nothing), and why.
    offers : list of tierlab.prices.offers.Offer
    bought : list of tierlab.prices.pricing.Bought
        For each offer, the model, seller, region and tier of its rate in any catalogue, and the factor on it.
    frame : DataFrame
        The columns of `BOUGHT` that the log has, in_slot, in_level, in_hour, in_batch; rate (position), offer (place in
        `offers`), usd_<bucket> (per token, 0 where there is none), no_<bucket>, bits (flags of every request), write_bits
        (flags of one that writes to a cache), over (whether the input is over the window), stepped (whether the model
        has a context step).
    edges : ndarray of datetime64
        The times at which a slot begins, without the first.
    levels : ndarray of int
        The inputs above which a context level begins, without the first.
    hours : list of int
        The seconds of a UTC day at which a peak rate begins or ends.
    """

    refused: pd.DataFrame
    offers: list
    bought: list
    frame: pd.DataFrame
    edges: np.ndarray
    levels: np.ndarray
    hours: list


def rate_table(prices, bought, first_at, last_at):
    """Return the rates of purchases between two times.

    Parameters
    ----------
    prices : Prices
    bought : DataFrame
        The columns of `BOUGHT` that a log has, each combination once.
    first_at, last_at : Timestamp
        UTC times of the first and the last row.

    Returns
    -------
    RateTable
    """
    told = tuple(c for c in bought.columns[1:] if bought[c].notna().any())
    found, why = [], []
    for said in bought.astype(object).where(bought.notna(), None).to_dict("records"):
        spelling = said.pop("model_id")
        try:
            found.append(find_offer(prices, spelling, **said, told=told))
        except ValueError:
            named = prices.alias(spelling).model_id in prices.sellers
            why.append(NO_PRICE[named])
            found.append(None)
    bought = bought.fillna("")
    known = np.array([offer is not None for offer in found], bool)
    refused = bought[~known].assign(why=why)
    bought, found = bought[known].reset_index(drop=True), [offer for offer in found if offer]
    hours = sorted({second for offer in found for span in offer.hours for second in span})
    hourly = [[_at_second(offer, second) for second in (0, *hours)] for offer in found]
    offers = list(dict.fromkeys(offer for own in hourly for offer in own))
    number = {offer: place for place, offer in enumerate(offers)}
    hourly = np.array([[number[offer] for offer in own] for own in hourly], "int64")
    book = rate_book(prices, offers, first_at, last_at)
    edges = book.slots.astype("datetime64[us]")
    lengths = np.append(book.steps, book.window)
    levels = np.unique(lengths[np.isfinite(lengths)]).astype("int64")
    sizes = (len(bought), len(edges) + 1, len(levels) + 1, len(hours) + 1, 2)
    names = ["place", "in_slot", "in_level", "in_hour", "in_batch"]
    index = pd.MultiIndex.from_product([range(size) for size in sizes], names=names)
    frame = index.to_frame(index=False).astype("int16" if len(bought) < 2**15 else "int32")
    frame = frame.assign(in_batch=frame["in_batch"] > 0, rate=np.arange(len(index), dtype="int32"))
    offer = hourly.reshape(len(bought), len(hours) + 1)[frame["place"], frame["in_hour"]]
    # `length` stands for every input of its level.
    key = offer * (len(book.slots) + 1) + frame["in_slot"].to_numpy()
    length = np.append(0, levels + 0.5)[frame["in_level"]]
    row = book.first[key] + 2 * (length[:, None] > book.steps[key]).sum(axis=1) + frame["in_batch"]
    spelt = bought.astype("str").take(frame.pop("place")).reset_index(drop=True)
    frame = spelt.join(frame).assign(
        offer=offer,
        **{f"usd_{bucket}": rates[row] for bucket, rates in zip(BUCKETS, book.rates, strict=True)},
        **{f"no_{bucket}": none[row] for bucket, none in zip(BUCKETS, book.missing, strict=True)},
        bits=book.flags[key] | book.row_flags[row],
        write_bits=book.write_flag[row],
        over=length > book.window[key],
        stepped=np.isfinite(book.steps[key]).any(axis=1),
    )
    rows = prices.rates.take([offer.rows[0] for offer in offers])[list(BOUGHT)]
    sold = [
        Bought(*key, offer.factor)
        for key, offer in zip(rows.itertuples(index=False), offers, strict=True)
    ]
    return RateTable(refused, offers, sold, frame, edges, levels, hours)


def _at_second(offer, second):
    """Return an offer at a second of the day, where the hour makes a difference."""
    if not offer.hours:
        return offer
    peak = any(start <= second < end for start, end in offer.hours)
    flags = offer.flags & ~BIT["assumed_peak_hours"]
    rows = offer.rows if peak else offer.off_peak
    return offer._replace(rows=rows, flags=flags, hours=(), off_peak=())


def priced_rows(rows, rates):
    """Join each row with its rate.

    Parameters
    ----------
    rows : ibis.Table
        From `checked_rows`, those without a fault.
    rates : RateTable

    Returns
    -------
    ibis.Table
        The rows with kind (`ONE`, `REPORTED` or `UNREPORTED`), gap (why there is no price; missing where the row has
        one), and rate and usd_<bucket> of `rates.frame`.
    """
    gaps = [bucket for bucket in BUCKETS if rates.frame[f"no_{bucket}"].any()]
    # A context step does not apply to a sum: its band decides, else the base rate.
    summed = rows.context_above.isnull().ifelse(UNREPORTED, REPORTED)
    given = rows["aggregate"].ifelse(
        ibis.coalesce(rows.context_above + 1, 0), sum(rows[column] for column in TOKENS[:4])
    )
    second = rows.at.epoch_seconds() % 86_400 if rates.hours else None
    rows = rows.mutate(
        kind=rows["aggregate"].ifelse(summed, ONE).cast("int8"),
        slot=_count_off([rows.at >= pd.Timestamp(edge) for edge in rates.edges]),
        level=_count_off([given > level for level in rates.levels.tolist()]),
        hour=_count_off([second >= edge for edge in rates.hours]),
        by_batch=rows.batch if "batch" in rows.columns else ibis.literal(False),
        **{f"by_{name}": rows[name].fill_null("") for name in BOUGHT if name in rates.frame},
    )
    same = [("slot", "in_slot"), ("level", "in_level"), ("by_batch", "in_batch")]
    same += [(f"by_{name}", f"in_{name}") for name in BOUGHT if name in rates.frame]
    same += [("hour", "in_hour")] * bool(rates.hours)
    book = rates.frame.rename(columns={name: f"in_{name}" for name in BOUGHT})
    columns = [*(name for _, name in same), "rate", *(f"usd_{bucket}" for bucket in BUCKETS)]
    columns += [f"no_{bucket}" for bucket in gaps]
    rows = rows.inner_join(ibis.memtable(book[columns]), same)
    lacking = {bucket: rows[f"no_{bucket}"] & (rows[f"{bucket}_tokens"] > 0) for bucket in gaps}
    reasons = [(bad & rows.by_batch, f"no batch rate for {b}") for b, bad in lacking.items()]
    reasons += [(bad, f"no rate for {bucket}") for bucket, bad in lacking.items()]
    if "billed_usd" in rows.columns:  # paid for what is not a token: nothing here has its price
        units = rows.quantity.fill_null(0) if "quantity" in rows.columns else 0
        nothing = sum(rows[column] for column in TOKENS) + units == 0
        reasons.append(((rows.billed_usd > 0) & nothing, "billed, but without a token"))
    # A case that never holds: an engine wants at least one.
    never = (ibis.literal(False), "")
    return rows.mutate(gap=ibis.cases(*reasons, never, else_=ibis.null("string")))


def _count_off(passed):
    """Count how many of nested conditions hold."""
    number = sum((condition.cast("int16") for condition in passed), ibis.literal(0, "int16"))
    return number.cast("int16")


def with_local(rows, clock):
    """Add `local`, the time that a clock of `local_clock` shows, and its `quarter`, counted from year 0."""
    times = [rows.at + ibis.interval(seconds=more) if more else rows.at for _, more in clock]
    later = [(rows.at >= edge, at) for (edge, _), at in zip(clock, times, strict=True)][:0:-1]
    local = ibis.cases(*later, else_=times[0]) if later else times[0]
    return rows.mutate(local=local, quarter=local.year().cast("int32") * 4 + local.quarter() - 1)


def local_clock(timezone, first_at, last_at):
    """Return what a time zone adds to UTC between two times: (from when, seconds) pairs, the first without a beginning.

    Engines differ in their time zone functions, but they all add alike. Clocks change on a quarter of an hour.

    Examples
    --------
    >>> clock = local_clock("Europe/Berlin", pd.Timestamp("2026-10-01"), pd.Timestamp("2026-11-30"))
    >>> [(str(edge), seconds) for edge, seconds in clock]
    [('None', 7200), ('2026-10-25 01:00:00', 3600)]
    """
    last = pd.Timestamp(last_at).ceil("D") + pd.Timedelta(days=1)
    times = pd.date_range(pd.Timestamp(first_at).floor("D"), last, freq="15min", unit="us")
    local = times.tz_localize("UTC").tz_convert(timezone).tz_localize(None)
    ahead = ((local - times) // pd.Timedelta(seconds=1)).to_numpy()
    changed = np.flatnonzero(np.diff(ahead)) + 1
    return [(None, int(ahead[0])), *((times[place], int(ahead[place])) for place in changed)]
