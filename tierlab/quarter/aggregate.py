"""A usage log x prices -> small tables, whatever the size of the log.

The engine sums whole tokens by day, model and so on, and by the rate that prices them; here the sums become dollars.
So the numbers equal `tierlab.price` row by row, and do not depend on the order in which an engine adds.
"""

import hashlib
from dataclasses import dataclass
from zoneinfo import ZoneInfo, available_timezones

import ibis
import numpy as np
import pandas as pd

from tierlab.core.vocabulary import BUCKETS, unknown
from tierlab.prices.catalog import Prices
from tierlab.prices.pricing import FLAGS, PARTS
from tierlab.quarter.engine import (
    ONE,
    TOKENS,
    UNREPORTED,
    checked_rows,
    local_clock,
    open_log,
    priced_rows,
    rate_table,
    with_local,
)

DIMENSIONS = ("task", "team", "batch", "status", "region")
ONE_IN = 20  # of the users, those with the highest cost, whose share is reported: the top 5 %
_OPTIONAL = DIMENSIONS + TOKENS[1:4]
_OPTIONAL += ("user", "requests", "attempts", "reasoning_tokens", "ttft_s", "end_to_end_s")
_OPTIONAL += ("billed_usd",)
_ANSWERED = ("ok", "truncated")
_LONGEST = 1e9  # seconds: a longer latency is none
_NO_TIME = -(10**6)  # the bin of a latency of 0
_BIN = 1.01  # a latency is known to a bin of this ratio
_PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_USERS = ["period", "over", "team", "active_users", "top_users", "top_share"]
_USERS += ["requests", "cost_usd"]
_LATENCY = ["over", "quarter", "measure", "model_id", "task"]


@dataclass(frozen=True)
class Account:
    """What became of every row of a log: rows_read = rows_priced + the rows of set_aside.

    Attributes
    ----------
    rows_read, rows_priced : int
    set_aside : DataFrame
        reason, model_id (as it was spelt), rows.
    unpriced : DataFrame
        The rows of set_aside that are in the period: quarter ("" where the row has no time), rows, billed_usd (what
        the log says was billed for them; NaN where it does not say).
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
        One row per quarter (`period`), for all teams and for each (`over`, team): active_users,
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


def build_cube(usage, prices: Prices, *, timezone: str = "UTC", start=None, end=None) -> Cube:
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
    start, end = (day if day is None else _utc(day, timezone) for day in (start, end))
    if timezone not in available_timezones():
        raise ValueError(unknown("time zone", timezone, sorted(available_timezones())))
    with open_log(usage) as (log, unread):
        rows = checked_rows(log, start, end)
        ends = {"first_at": rows.at.min(), "last_at": rows.at.max()}
        survey = rows.group_by("fault", "model_id").agg(rows=rows.count(), **ends).execute()
        sound = survey[survey["fault"].isna()]
        first, last = sound["first_at"].min(), sound["last_at"].max()
        span = (prices.as_of, prices.as_of) if sound.empty else (first, last)
        rates = rate_table(prices, sound["model_id"], *span)
        rows = with_local(rows, local_clock(timezone, *span))
        known, aside = sound["model_id"].isin(rates.ids), [_unread(unread)]
        # A query that finds nothing, and a filter that no row needs, would still read every column.
        if len(sound) < len(survey) or not known.all():
            aside.append(_refused(rows, rates.ids))
            rows = rows.filter(rows.fault.isnull())
        priced = priced_rows(rows, rates)
        sums = _sums(priced)
        users, latency = _users(priced), _latency(rows, rates.ids)
        columns, engine = log.columns, log.get_backend().name
    gaps = sums["gap"].notna()
    aside = pd.concat([*aside, _unpriceable(sums[gaps], rates)]).astype({"rows": "int64"})
    lost = aside[aside["reason"] != "outside the period"].groupby("quarter")
    sums = sums[~gaps]
    account = Account(
        rows_read=int(survey["rows"].sum()) + unread.total(),
        rows_priced=int(sums["rows"].sum()),
        set_aside=aside.groupby(["reason", "model_id"], dropna=False)["rows"].sum().reset_index(),
        unpriced=lost[["rows", "billed_usd"]].sum(min_count=1).reset_index(),
        first_at=first,
        last_at=last,
        timezone=timezone,
        engine=engine,
        price_source=prices.source,
        price_as_of=f"{prices.as_of:%Y-%m-%d}",
        price_sha256=hashlib.sha256(prices.frame.to_csv(index=False).encode()).hexdigest(),
    )
    if account.rows_read != account.rows_priced + aside["rows"].sum():
        raise ValueError(
            "the log changed while it was read; let what writes it finish, or copy it first"
        )
    missing = tuple(column for column in _OPTIONAL if column not in columns)
    return Cube(_daily(sums, rates), users, latency, account, missing)


def _utc(day, timezone):
    local = pd.Timestamp(day).normalize().tz_localize(ZoneInfo(timezone))
    return local.tz_convert("UTC").tz_localize(None)


def _sums(rows):
    """Tokens and counts by day, dimensions and rate: whole numbers, which add up alike in any order."""
    have = rows.columns
    requests = _requests(rows)
    sums = {
        "rows": rows.count(),
        "requests": requests.sum(),
        "uncounted_rows": requests.isnull().sum(),
    }
    if "attempts" in have:
        sums["attempts"] = ibis.coalesce(rows.attempts, requests).sum()
    none = ibis.literal(0)
    sums |= {column: rows[column].sum() if column in have else none for column in TOKENS}
    if "reasoning_tokens" in have:
        sums["reasoning_tokens"] = rows.reasoning_tokens.sum()
    written = [rows[column] for column in TOKENS[2:4] if column in have]
    sums["writing_rows"] = (sum(written) > 0).sum() if written else none
    whole = list(sums)
    if "billed_usd" in have:
        sums |= {"billed_usd": rows.billed_usd.sum(), "billed_rows": rows.billed_usd.count()}
        whole.append("billed_rows")
    keys = ["rate", "kind", "gap", *(d for d in DIMENSIONS if d in have)]
    table = rows.group_by(*keys, day=rows.local.date()).agg(**sums).execute()
    table[whole] = table[whole].fillna(0).astype("int64")
    return table.assign(day=pd.to_datetime(table["day"]).astype("datetime64[us]"))


def _requests(rows):
    """Requests of each row: a single one unless it says otherwise, unknown for an aggregate that does not say."""
    single = (rows.kind == ONE).ifelse(1, ibis.null("int64"))
    return ibis.coalesce(rows.requests, single) if "requests" in rows.columns else single


def _daily(sums, rates):
    """Sums of tokens x their rates, by day and dimensions."""
    # Dollars add up in one order, however rows arrived.
    sums = sums.sort_values(["rate", "kind"], ignore_index=True)
    rate = rates.frame.take(sums["rate"]).reset_index(drop=True)
    sums = sums.assign(model_id=rate["model_id"])
    for part, buckets in PARTS.items():
        sums[part] = sum(sums[f"{b}_tokens"] * rate[f"usd_{b}"] for b in buckets)
    sums["cost_usd"] = sums[list(PARTS)].sum(axis=1)
    bits, write_bits = rate["bits"].to_numpy().copy(), rate["write_bits"].to_numpy()
    single, unreported = sums["kind"] == ONE, sums["kind"] == UNREPORTED
    bits[rate["over"] & single] |= 1 << FLAGS.index("over_window")
    bits[rate["stepped"] & unreported] |= 1 << FLAGS.index("aggregate_without_band")
    for place, flag in enumerate(FLAGS):
        written = np.where(write_bits >> place & 1, sums["writing_rows"], 0)
        sums[flag] = np.where(bits >> place & 1, sums["rows"], written)
    keys = ["day", "model_id", *(d for d in DIMENSIONS if d in sums)]
    grouped = sums.groupby(keys, dropna=False, observed=True)
    daily = grouped.sum().drop(columns=["rate", "kind", "gap", "writing_rows"])
    if "billed_usd" in sums:
        daily["billed_usd"] = grouped["billed_usd"].sum(min_count=1)
    return daily.reset_index()


def _users(rows):
    """Active users and the share of cost of the top ones, ranked in the engine: here arrive the totals."""
    if "user" not in rows.columns:
        return pd.DataFrame(columns=_USERS)
    rows = rows.filter(rows.gap.isnull(), rows.user.notnull())
    have = [bucket for bucket in BUCKETS if f"{bucket}_tokens" in rows.columns]
    cost = sum(rows[f"{bucket}_tokens"] * rows[f"usd_{bucket}"] for bucket in have)
    by = ["user", "team"] if "team" in rows.columns else ["user"]
    quarter = rows.local.year().cast("int32") * 4 + rows.local.quarter() - 1
    totals = rows.group_by(*by, period=quarter)
    found = []
    with totals.agg(cost_usd=cost.sum(), requests=_requests(rows).sum()).cache() as users:
        for over in ("all", "team")[: len(by)]:
            keys = ["period", "team"] if over == "team" else ["period"]
            found.append(_ranked(users, keys).execute().sort_values(keys).assign(over=over))
    table = pd.concat(found, ignore_index=True)
    share = table["top_usd"] / table["cost_usd"].where(table["cost_usd"] > 0)
    table = table.assign(period=_quarters(table["period"]), top_share=share)
    return table.reindex(columns=_USERS)


def _quarters(number):
    """Names of quarters that are counted from year 0."""
    return [f"{n // 4}Q{n % 4 + 1}" for n in number]


def _ranked(users, by):
    """By period or team: its users, and those of the top 5 % (rounded up) with what they cost."""
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


def _latency(rows, ids):
    """Percentiles from counts per bin of 1 %, which any engine adds up alike and in little memory."""
    have = rows.columns
    if "status" in have:
        rows = rows.filter(rows.status.fill_null("ok").isin(_ANSWERED))
    if "aggregate" in have:
        rows = rows.filter(~rows["aggregate"])
    counts = []
    for measure in ("end_to_end_s", "ttft_s"):
        if measure in have:
            spent = rows.filter(rows[measure].between(0, _LONGEST))
            bins = (spent[measure].ln() / float(np.log(_BIN))).floor()
            counted = spent.group_by(
                "model_id",
                task=spent.task if "task" in have else ibis.null("string"),
                quarter=spent.local.year().cast("int32") * 4 + spent.local.quarter() - 1,
                place=(spent[measure] > 0).ifelse(bins, _NO_TIME).cast("int32"),
            ).agg(n=lambda t: t.count())
            counts.append(counted.execute().assign(measure=measure))
    if not counts:
        return pd.DataFrame(columns=[*_LATENCY, "n", *_PERCENTILES])
    table = pd.concat(counts)
    table = table.assign(
        model_id=table["model_id"].map(ids), quarter=_quarters(table["quarter"]), over="all"
    )
    table = table[table["model_id"].notna()]
    parts = [table.assign(task=None), table.assign(over="task")][: 1 + ("task" in have)]
    return pd.concat([_percentiles(part) for part in parts], ignore_index=True)


def _percentiles(counts):
    """Nearest-rank percentiles of each group, at the geometric middle of their bin."""
    counts = counts.groupby([*_LATENCY, "place"], dropna=False)["n"].sum().reset_index()
    groups = counts.groupby(_LATENCY, dropna=False)["n"]
    total, reached = groups.transform("sum"), groups.cumsum()
    counts["value"] = np.where(counts["place"] == _NO_TIME, 0, _BIN ** (counts["place"] + 0.5))
    found = {"n": groups.sum()}
    for name, share in _PERCENTILES.items():
        first = counts[reached >= np.ceil(share * total)]
        found[name] = first.groupby(_LATENCY, dropna=False)["value"].min()
    return pd.DataFrame(found).reset_index()


def _unread(unread):
    """Rows of files that are not in the log, of no model and no quarter; all that is set aside has these columns."""
    counts = {reason: rows for reason, rows in unread.items() if rows}
    table = pd.DataFrame({"reason": list(counts), "rows": list(counts.values())})
    return table.assign(model_id=None, quarter="", billed_usd=np.nan)


def _refused(rows, ids):
    """Rows with a fault or of a model without a price, and what was billed for them, by quarter of the local time."""
    known = rows.model_id.isin(list(ids)) if ids else ibis.literal(False)
    rows = rows.filter(rows.fault.notnull() | ~known)
    by = rows.group_by(
        "model_id",
        reason=ibis.coalesce(rows.fault, "unknown model"),
        year=rows.local.year(),
        number=rows.local.quarter(),
    )
    sums = {"rows": rows.count()}
    if "billed_usd" in rows.columns:
        sums["billed_usd"] = rows.billed_usd.sum()
    table = by.agg(**sums).execute().astype({"year": "Int64", "number": "Int64"})
    named = table["year"].astype(str) + "Q" + table["number"].astype(str)
    return table.assign(quarter=named.where(table["year"].between(2000, 2099), ""))


def _unpriceable(sums, rates):
    """Rows with tokens for which their model has no rate."""
    return pd.DataFrame(
        {
            "reason": sums["gap"],
            "model_id": rates.frame["spelt"].take(sums["rate"]).to_numpy(),
            "quarter": sums["day"].dt.to_period("Q").astype(str),
            "rows": sums["rows"],
            "billed_usd": sums.get("billed_usd", np.nan),
        }
    )
