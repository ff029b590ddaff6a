"""One Ibis expression for the rows of a usage log: counts checked, the local time, and the rate that prices each.

Dates and context steps are counted off against the few that the rate book knows, which leaves a plain equality
join with a small table: the same expression runs on DuckDB and on Spark.

The tables of a cube, from priced rows: the engine adds up, and what it hands over grows with groups, not rows.

A usage log x prices -> small tables, whatever the size of the log.

The engine sums whole tokens by day, model and so on, and by the rate that prices them; here the sums become
dollars. So the numbers equal `tierlab.price` row by row, and do not depend on the order in which an engine adds.
"""

import hashlib
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import ibis
import numpy as np
import pandas as pd

from tierlab.core.tables import REQUEST_COLUMNS
from tierlab.core.vocabulary import BUCKETS, unknown
from tierlab.prices.pricing import COST_COLUMNS, FLAGS, rate_book
from tierlab.quarter.engine import open_log

COUNTS = (
    *(f"{bucket}_tokens" for bucket in BUCKETS),
    "reasoning_tokens",
    "requests",
    "attempts",
    "context_above",
)
OPTIONAL_COUNTS = COUNTS[5:]  # may be missing in a row: they decide no price
ONE, REPORTED, UNREPORTED = range(
    3
)  # a single request; an aggregate with its context band; one without
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
            columns[name] = (
                table[name]
                if table[name].type().is_boolean()
                else _text(table[name]).try_cast("boolean")
            )
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
        faults.append(
            (
                columns["reasoning_tokens"] > columns["output_tokens"],
                "more reasoning than output tokens",
            )
        )
    return table.select(**columns, fault=ibis.cases(*faults, else_=ibis.null("string")))


def _text(column):
    return column if column.type().is_string() else column.cast("string")


def _time(column):
    kind = column.type()
    if not (kind.is_timestamp() or kind.is_date() or kind.is_string() or kind.is_null()):
        raise ValueError(f"column 'at' has type {kind}; turn it into times")
    if kind.is_timestamp() and kind.timezone is None:
        return column.cast("timestamp(6)")
    moment = (
        column.try_cast("timestamp('UTC')") if kind.is_string() else column.cast("timestamp('UTC')")
    )
    return moment.cast("timestamp(6)")


def _number(column):
    """A column as numbers, missing where it is none; and whether it holds something that is no number."""
    kind = column.type()
    if kind.is_integer():
        return column.cast("int64"), None
    if kind.is_string():
        number = column.try_cast("float64")
        return number.isnan().ifelse(ibis.null("float64"), number), number.isnull() & (
            column.strip() != ""
        )
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
    book = rate_book(prices, names, True)
    edges = book.slots.astype("datetime64[us]")
    begun = int((edges <= np.datetime64(first_at, "us")).sum())
    edges = edges[begun : int((edges <= np.datetime64(last_at, "us")).sum())]
    lengths = np.append(book.steps, book.window)
    levels = np.unique(lengths[np.isfinite(lengths)]).astype("int64")
    index = pd.MultiIndex.from_product(
        [list(ids), range(len(edges) + 1), range(len(levels) + 1), [False, True]],
        names=["spelt", "slot", "level", "batch"],
    )
    frame = index.to_frame(index=False).assign(rate=np.arange(len(index), dtype="int32"))
    model = (
        frame["spelt"]
        .map({name: names.index(model_id) for name, model_id in ids.items()})
        .to_numpy("intp")
    )
    key = model * (len(book.slots) + 1) + begun + frame["slot"].to_numpy()
    length = np.append(0, levels + 0.5)[frame["level"]]  # stands for every input of its level
    row = (
        book.first[key]
        + 2 * (length[:, None] > book.steps[key]).sum(axis=1)
        + frame["batch"].to_numpy()
    )
    frame = frame.assign(
        model_id=np.array(names, object)[model],
        **{f"usd_{bucket}": book.rates[place][row] for place, bucket in enumerate(BUCKETS)},
        **{f"no_{bucket}": book.missing[place][row] for place, bucket in enumerate(BUCKETS)},
        bits=book.flags[key] | book.row_flags[row],
        write_bits=book.write_flag[row],
        over=length > book.window[key],
        stepped=np.isfinite(book.steps[key]).any(axis=1),
    )
    return RateTable(
        ids, frame.astype({"slot": "int16", "level": "int16", "spelt": "str"}), edges, levels
    )


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
        kind = (
            rows["aggregate"].ifelse(band.isnull().ifelse(UNREPORTED, REPORTED), ONE).cast("int8")
        )
        given = rows["aggregate"].ifelse(ibis.coalesce(band + 1, 0), given)
    rows = rows.mutate(
        kind=kind,
        slot=_count_off([rows.at >= pd.Timestamp(edge) for edge in rates.edges]),
        level=_count_off([given > level for level in rates.levels.tolist()]),
    )
    batch = rows.batch if "batch" in rows.columns else ibis.literal(False)
    gaps = [bucket for bucket in have if rates.frame[f"no_{bucket}"].any()]
    columns = [
        "spelt",
        "slot",
        "level",
        "batch",
        "rate",
        *(f"usd_{b}" for b in have),
        *(f"no_{b}" for b in gaps),
    ]
    book = ibis.memtable(
        rates.frame[columns].rename(
            columns={"slot": "r_slot", "level": "r_level", "batch": "r_batch"}
        )
    )
    rows = rows.inner_join(
        book,
        [
            rows.model_id == book.spelt,
            rows.slot == book.r_slot,
            rows.level == book.r_level,
            batch == book.r_batch,
        ],
    )
    lacking = [(rows[f"no_{b}"] & (rows[f"{b}_tokens"] > 0), b) for b in gaps]
    reasons = [(bad & rows.r_batch, f"no batch rate for {b}") for bad, b in lacking] + [
        (bad, f"no rate for {b}") for bad, b in lacking
    ]
    if (
        "billed_usd" in rows.columns
    ):  # paid for something that is not a token: nothing here has its price
        tokens = sum(rows[f"{b}_tokens"] for b in have)
        reasons.append(((rows.billed_usd > 0) & (tokens == 0), "billed, but without a token"))
    return rows.mutate(
        gap=ibis.cases(*reasons, else_=ibis.null("string")) if reasons else ibis.null("string")
    )


def _count_off(passed):
    """How many of some nested conditions hold."""
    return sum((condition.cast("int16") for condition in passed), ibis.literal(0, "int16")).cast(
        "int16"
    )


def with_local(rows, clock):
    """Rows with `local`, the time that a clock of `local_clock` shows."""
    local = rows.at + ibis.interval(seconds=clock[0][1]) if clock[0][1] else rows.at
    later = [
        (rows.at >= edge, rows.at + ibis.interval(seconds=seconds))
        for edge, seconds in clock[:0:-1]
    ]
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
        return (
            (times - utc.tz_convert(zone).tz_localize(None)) // pd.Timedelta(seconds=-1)
        ).to_numpy()

    days = pd.date_range(
        pd.Timestamp(first_at).floor("D"),
        pd.Timestamp(last_at).ceil("D") + pd.Timedelta(days=1),
        unit="us",
    )
    seconds = ahead(days)
    clock = [(None, int(seconds[0]))]
    for place in np.flatnonzero(np.diff(seconds)):
        minutes = pd.date_range(days[place], days[place + 1], freq="min", unit="us")
        edge = minutes[np.flatnonzero(ahead(minutes) != clock[-1][1])[0]]
        clock.append((edge, int(seconds[place + 1])))
    return clock


DIMENSIONS = ("task", "team", "batch", "status", "region")
ONE_IN = 20  # of the users, those with the highest cost, whose share is reported: the top 5 %
_ANSWERED = ("ok", "truncated")
_LONGEST = 1e9  # seconds: a longer latency is none
_NO_TIME = -(10**6)  # the bin of a latency of 0
_BIN = 1.01  # a latency is known to a bin of this ratio
_PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def summed(backend, rows):
    """Tokens and counts by day, dimensions and rate: whole numbers, which add up alike in any order."""
    have = rows.columns
    keys = ["rate", "kind", "gap", *(d for d in DIMENSIONS if d in have)]
    requests = _requests(rows)
    sums = {
        "rows": rows.count(),
        "requests": requests.sum(),
        "uncounted_rows": requests.isnull().sum(),
    }
    if "attempts" in have:
        sums["attempts"] = ibis.coalesce(rows.attempts, requests).sum()
    sums |= {
        f"{b}_tokens": rows[f"{b}_tokens"].sum() if f"{b}_tokens" in have else ibis.literal(0)
        for b in BUCKETS
    }
    if "reasoning_tokens" in have:
        sums["reasoning_tokens"] = rows.reasoning_tokens.sum()
    written = [rows[c] for c in COUNTS[2:4] if c in have]
    sums["writing_rows"] = (sum(written) > 0).sum() if written else ibis.literal(0)
    if "billed_usd" in have:
        sums |= {"billed_usd": rows.billed_usd.sum(), "billed_rows": rows.billed_usd.count()}
    table = backend.execute(rows.group_by(*keys, day=rows.local.date()).agg(**sums))
    whole = [c for c in sums if c != "billed_usd"]
    return table.assign(
        **{c: table[c].fillna(0).astype("int64") for c in whole},
        day=pd.to_datetime(table["day"]).astype("datetime64[us]"),
    )


def _requests(rows):
    """Requests of each row: a single one unless it says otherwise, unknown for an aggregate that does not say."""
    single = (rows.kind == ONE).ifelse(1, ibis.null("int64"))
    return ibis.coalesce(rows.requests, single) if "requests" in rows.columns else single


def daily_table(sums, rates):
    """Sums of tokens x their rates, by day and dimensions."""
    sums = sums.sort_values(
        ["rate", "kind"], ignore_index=True
    )  # dollars add up in one order, however rows arrived
    rate = rates.frame.take(sums["rate"]).reset_index(drop=True)
    sums = sums.assign(model_id=rate["model_id"])
    usd = {b: sums[f"{b}_tokens"] * rate[f"usd_{b}"] for b in BUCKETS}
    parts = (
        usd["uncached_input"],
        usd["cache_read"],
        usd["cache_write_5m"] + usd["cache_write_1h"],
        usd["output"],
    )
    sums = sums.assign(**dict(zip(COST_COLUMNS, (*parts, sum(parts)), strict=True)))
    bits, write_bits = rate["bits"].to_numpy().copy(), rate["write_bits"].to_numpy()
    bits[(rate["over"] & (sums["kind"] == ONE)).to_numpy()] |= 1 << FLAGS.index("over_window")
    bits[(rate["stepped"] & (sums["kind"] == UNREPORTED)).to_numpy()] |= 1 << FLAGS.index(
        "aggregate_without_band"
    )
    for place, flag in enumerate(FLAGS):
        sums[flag] = np.where(
            bits >> place & 1,
            sums["rows"],
            np.where(write_bits >> place & 1, sums["writing_rows"], 0),
        )
    keys = ["day", "model_id", *(d for d in DIMENSIONS if d in sums)]
    sums = sums.drop(columns=["rate", "kind", "gap", "writing_rows"])
    grouped = sums.groupby(keys, dropna=False, observed=True)
    daily = grouped.sum()
    if "billed_usd" in sums:
        daily["billed_usd"] = grouped["billed_usd"].sum(min_count=1)
    return daily.reset_index()


def users_table(backend, rows):
    """Active users and the share of cost of the top ones, ranked in the engine: here arrive the totals."""
    columns = [
        "period",
        "over",
        "team",
        "active_users",
        "top_users",
        "top_share",
        "requests",
        "cost_usd",
    ]
    if "user" not in rows.columns:
        return pd.DataFrame(columns=columns)
    rows = rows.filter(rows.gap.isnull(), rows.user.notnull())
    cost = sum(
        rows[f"{b}_tokens"] * rows[f"usd_{b}"] for b in BUCKETS if f"{b}_tokens" in rows.columns
    )
    by = ["user", *(["team"] if "team" in rows.columns else [])]
    month = rows.local.year().cast("int32") * 12 + rows.local.month() - 1
    found = []
    with (
        rows.group_by(*by, month=month)
        .agg(cost_usd=cost.sum(), requests=_requests(rows).sum())
        .cache() as users
    ):
        for unit, months in (("Q", 3), ("M", 1)):
            for over in ("all", "team")[: len(by)]:
                keys = ["period", *(["team"] if over == "team" else [])]
                table = backend.execute(
                    _ranked(users.mutate(period=(users.month // months).cast("int32")), keys)
                ).sort_values(keys)
                found.append(table.assign(period=_period(table["period"], unit), over=over))
    table = pd.concat(found, ignore_index=True)
    table["top_share"] = table["top_usd"] / table["cost_usd"].where(table["cost_usd"] > 0)
    return table.reindex(columns=columns)


def _period(number, unit):
    """Names of quarters or months, counted from year 0."""
    return [
        f"{n // 4}Q{n % 4 + 1}" if unit == "Q" else f"{n // 12}-{n % 12 + 1:02d}" for n in number
    ]


def _ranked(users, by):
    users = users.group_by(*by, "user").agg(
        cost_usd=lambda t: t.cost_usd.sum(), requests=lambda t: t.requests.sum()
    )
    place = ibis.row_number().over(group_by=by, order_by=users.cost_usd.desc())  # from 0
    users = users.mutate(top=place * ONE_IN < users.count().over(group_by=by))
    return users.group_by(*by).agg(
        active_users=users.count(),
        top_users=users.top.sum(),
        top_usd=users.cost_usd.sum(where=users.top),
        requests=users.requests.sum(),
        cost_usd=users.cost_usd.sum(),
    )


def latency_table(backend, rows, ids):
    """Percentiles from counts per bin of 1 %, which any engine adds up alike and in little memory."""
    rows = (
        rows.filter(rows.status.fill_null("ok").isin(_ANSWERED))
        if "status" in rows.columns
        else rows
    )
    rows = rows.filter(~rows["aggregate"]) if "aggregate" in rows.columns else rows
    by = ["model_id", *(["task"] if "task" in rows.columns else [])]
    counts = []
    for measure in (column for column in ("ttft_s", "end_to_end_s") if column in rows.columns):
        spent = rows.filter(rows[measure].between(0, _LONGEST))
        place = (
            (spent[measure] > 0)
            .ifelse((spent[measure].ln() / float(np.log(_BIN))).floor(), _NO_TIME)
            .cast("int32")
        )
        quarter = spent.local.year().cast("int32") * 4 + spent.local.quarter() - 1
        counted = spent.group_by(*by, quarter=quarter, place=place).agg(n=lambda t: t.count())
        counts.append(backend.execute(counted).assign(measure=measure))
    keys = ["over", "quarter", "measure", "model_id", "task"]
    if not counts:
        return pd.DataFrame(columns=[*keys, "n", *_PERCENTILES])
    counts = pd.concat(counts)
    counts = counts.assign(
        model_id=counts["model_id"].map(ids), quarter=_period(counts["quarter"], "Q")
    )
    counts = counts[counts["model_id"].notna()]
    parts = [counts.assign(over="all", task=None)] + (
        [counts.assign(over="task")] if "task" in by else []
    )
    return pd.concat(
        [
            _percentiles(part.groupby([*keys, "place"], dropna=False)["n"].sum(), keys)
            for part in parts
        ],
        ignore_index=True,
    )


def _percentiles(counts, keys):
    """Nearest-rank percentiles of each group, at the geometric middle of their bin."""
    counts = counts.reset_index()
    groups = counts.groupby(keys, dropna=False)["n"]
    total, reached = groups.transform("sum"), groups.cumsum()
    counts["value"] = np.where(counts["place"] == _NO_TIME, 0, _BIN ** (counts["place"] + 0.5))
    found = {"n": groups.sum()}
    for name, share in _PERCENTILES.items():
        first = counts["value"].where(reached >= np.ceil(share * total))
        found[name] = first.groupby([counts[key] for key in keys], dropna=False).min()
    return pd.DataFrame(found).reset_index()


_OPTIONAL = (
    *(
        *DIMENSIONS,
        "user",
        "requests",
        "attempts",
        *(f"{bucket}_tokens" for bucket in BUCKETS[1:4]),
    ),
    *("reasoning_tokens", "ttft_s", "end_to_end_s", "billed_usd"),
)


@dataclass(frozen=True)
class Account:
    """What became of every row of a log: rows_read = rows_priced + the rows of set_aside.

    Attributes
    ----------
    rows_read, rows_priced : int
    set_aside : DataFrame
        reason, model_id (as it was spelt), rows.
    unpriced : DataFrame
        The rows of set_aside that are in the period: quarter ("" where the row has no time), rows, billed_usd (what the
        log says was billed for them; NaN where it does not say).
    first_at, last_at : Timestamp
        UTC times of the first and the last row without a fault; missing when there is none.
    timezone : str
        Where days, months and quarters begin.
    engine : str
    price_source, price_as_of, price_sha256 : str
        The catalogue, the day on which one stands, and the hash of its table.
    """

    rows_read: int
    rows_priced: int
    set_aside: pd.DataFrame
    unpriced: pd.DataFrame
    first_at: pd.Timestamp
    last_at: pd.Timestamp
    timezone: str
    engine: str
    price_source: str
    price_as_of: str
    price_sha256: str

    @property
    def unknown_models(self):
        """Rows of each name that the catalogue has no price for: Series, index the name as it was spelt."""
        rows = self.set_aside[self.set_aside["reason"] == "unknown model"]
        return rows.set_index("model_id")["rows"]


@dataclass(frozen=True)
class Cube:
    """A priced usage log, summed.

    Attributes
    ----------
    daily : DataFrame
        One row per day, model_id, task, team, batch, status and region, as far as the log has them: rows,
        requests, uncounted_rows (aggregate rows that report no number of requests), attempts, the five token
        buckets and reasoning_tokens, US dollars by bucket, cost_usd, billed_usd and billed_rows, and for each
        of `tierlab.prices.pricing.FLAGS` the rows that carry it.
    users : DataFrame
        One row per quarter and month (`period`), for all teams and for each (`over`, team): active_users,
        top_users (one in twenty, rounded up), top_share (their share 0-1 of the cost), requests and cost_usd of
        rows that name a user.
    latency : DataFrame
        One row per quarter, measure (ttft_s, end_to_end_s) and model_id, for all tasks and for each (`over`,
        task): n, p50, p95, p99 (seconds). Over single requests that were answered; a value is within 0.5 % of
        the nearest-rank percentile, because the engine counts in bins of 1 %.
    account : Account
    missing : tuple of str
        Optional columns that the log does not have.
    """

    daily: pd.DataFrame
    users: pd.DataFrame
    latency: pd.DataFrame
    account: Account
    missing: tuple


def build_cube(
    usage, prices, *, timezone="UTC", start=None, end=None, engine=None, memory_limit="2GB"
):
    """Price a usage log of any size, each row at its own date, and sum it.

    Parameters
    ----------
    usage : DataFrame, path, glob, list of paths or ibis.Table
        A requests table with at least at, model_id, uncached_input_tokens and output_tokens; or Parquet or CSV
        files of such columns, which are scanned and never loaded whole; or a table of any Ibis backend.
    prices : Prices
    timezone : str
        IANA name of the zone in which days, months and quarters begin. Rates change at midnight UTC.
    start, end : str or Timestamp, optional
        First day, and the day after the last, in that zone.
    engine : ibis backend, optional
        Where frames and files are read; by default a DuckDB of this process.
    memory_limit : str
        What that DuckDB may hold before it spills to disk.

    Returns
    -------
    Cube

    Raises
    ------
    ValueError
        If a column is missing or misspelt, a file or the time zone is not there, or the log changes meanwhile.
        A row that cannot be priced does not raise: it is set aside, and counted with its reason.

    Examples
    --------
    >>> import pandas as pd, tierlab as tl
    >>> log = pd.DataFrame({"at": pd.to_datetime(["2026-07-01 09:00", "2026-07-01 10:00"]), "model_id": ["gpt-4o", "gpt-9"],
    ...                     "uncached_input_tokens": [500, 500], "output_tokens": [300, 300]})
    >>> cube = build_cube(log, tl.load_prices("article"))
    >>> cube.daily[["day", "model_id", "cost_usd"]].values.tolist()
    [[Timestamp('2026-07-01 00:00:00'), 'gpt-4o', 0.00425]]
    >>> cube.account.set_aside.values.tolist()
    [['unknown model', 'gpt-9', 1]]
    """
    zone = _zone(timezone)
    start, end = (
        day if day is None else _utc(pd.Timestamp(day).normalize(), zone) for day in (start, end)
    )
    with open_log(usage, engine, memory_limit) as log:
        rows = checked_rows(log.table, start, end)
        survey = log.backend.execute(
            rows.group_by("fault", "model_id").agg(
                rows=rows.count(), first_at=rows.at.min(), last_at=rows.at.max()
            )
        )
        sound = survey[survey["fault"].isna()]
        first, last = (
            pd.to_datetime(at) for at in (sound["first_at"].min(), sound["last_at"].max())
        )
        span = (prices.as_of, prices.as_of) if sound.empty else (first, last)
        rates = rate_table(prices, sound["model_id"], *span)
        clock, lost = local_clock(timezone, *span), None
        if (
            not survey["fault"]
            .eq("outside the period")
            .mask(survey["fault"].isna(), survey["model_id"].isin(rates.ids))
            .all()
        ):
            lost = _lost(log.backend, with_local(rows, clock), rates.ids)
        if len(sound) < len(survey):  # a filter that no row needs would still read every column
            rows = rows.filter(rows.fault.isnull())
        rows = with_local(rows, clock)
        priced = priced_rows(rows, rates)
        sums = summed(log.backend, priced)
        users, latency = (
            users_table(log.backend, priced),
            latency_table(log.backend, rows, rates.ids),
        )
    set_aside, unpriced = (
        _set_aside(survey, sums, rates, log.aside),
        _unpriced(lost, sums, log.aside.total()),
    )
    sums = sums[sums["gap"].isna()]
    account = Account(
        rows_read=int(survey["rows"].sum()) + log.aside.total(),
        rows_priced=int(sums["rows"].sum()),
        set_aside=set_aside,
        unpriced=unpriced,
        first_at=first,
        last_at=last,
        timezone=timezone,
        engine=log.backend.name,
        price_source=prices.source,
        price_as_of=f"{prices.as_of:%Y-%m-%d}",
        price_sha256=hashlib.sha256(prices.frame.to_csv(index=False).encode()).hexdigest(),
    )
    if account.rows_read != account.rows_priced + set_aside["rows"].sum():
        raise ValueError(
            "the log changed while it was read; let what writes it finish, or copy it first"
        )
    return Cube(
        daily_table(sums, rates),
        users,
        latency,
        account,
        tuple(c for c in _OPTIONAL if c not in log.table.columns),
    )


def _set_aside(survey, sums, rates, unread):
    """Rows without a price, by reason and model."""
    unknown_model = survey["fault"].isna() & ~survey["model_id"].isin(rates.ids)
    survey = survey.assign(reason=survey["fault"].mask(unknown_model, "unknown model"))
    gaps = sums[sums["gap"].notna()]
    gaps = gaps.assign(
        model_id=rates.frame["spelt"].take(gaps["rate"]).to_numpy(), reason=gaps["gap"]
    )
    lines = pd.DataFrame({"reason": list(unread), "model_id": None, "rows": list(unread.values())})
    parts = [
        part[["reason", "model_id", "rows"]]
        for part in (survey[survey["reason"].notna()], gaps, lines[lines["rows"] > 0])
    ]
    parts = pd.concat(parts).astype({"rows": "int64"})
    return parts.groupby(["reason", "model_id"], dropna=False, as_index=False)["rows"].sum()


def _lost(backend, rows, ids):
    """Rows and billed dollars of what has a fault or an unknown model, by quarter of the local time."""
    known = rows.model_id.isin(list(ids)) if ids else ibis.literal(False)
    rows = rows.filter(rows.fault.isnull().ifelse(~known, rows.fault != "outside the period"))
    sums = {"rows": rows.count()} | (
        {"billed_usd": rows.billed_usd.sum()} if "billed_usd" in rows.columns else {}
    )
    table = backend.execute(
        rows.group_by(year=rows.local.year(), number=rows.local.quarter()).agg(**sums)
    )
    dated = table["year"].between(2000, 2099)
    quarter = [
        f"{int(y)}Q{int(n)}" if d else ""
        for y, n, d in zip(table["year"], table["number"], dated, strict=True)
    ]
    return table.assign(quarter=quarter)


def _unpriced(lost, sums, unreadable):
    gaps = sums[sums["gap"].notna()]
    gaps = gaps.assign(quarter=gaps["day"].dt.to_period("Q").astype(str))
    lines = pd.DataFrame({"quarter": [""], "rows": [unreadable]})
    table = pd.concat([lost, gaps, lines[lines["rows"] > 0]]).reindex(
        columns=["quarter", "rows", "billed_usd"]
    )
    table = table.astype({"quarter": str, "rows": "int64", "billed_usd": float})
    return table.groupby("quarter", as_index=False).agg(
        {"rows": "sum", "billed_usd": lambda usd: usd.sum(min_count=1)}
    )


def _zone(timezone):
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(unknown("time zone", timezone, sorted(available_timezones()))) from None


def _utc(local, zone):
    return local.tz_localize(zone).tz_convert("UTC").tz_localize(None)
