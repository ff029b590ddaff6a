"""A usage log x prices -> small tables, whatever the size of the log.

The engine sums whole tokens by day, model and so on, and by the rate that prices them; here the sums become
dollars. So the numbers equal `tierlab.price` row by row, and do not depend on the order in which an engine adds.
"""

import hashlib
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import ibis
import pandas as pd

from tierlab.cube_tables import DIMENSIONS, daily_table, latency_table, summed, users_table
from tierlab.engine import open_log
from tierlab.names import BUCKETS, unknown
from tierlab.priced_rows import checked_rows, local_clock, priced_rows, rate_table, with_local

_OPTIONAL = (
    *(*DIMENSIONS, "user", "requests", "attempts", *(f"{bucket}_tokens" for bucket in BUCKETS[1:4])),
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
        of `tierlab.pricing.FLAGS` the rows that carry it.
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


def build_cube(usage, prices, *, timezone="UTC", start=None, end=None, engine=None, memory_limit="2GB"):
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
    start, end = (day if day is None else _utc(pd.Timestamp(day).normalize(), zone) for day in (start, end))
    with open_log(usage, engine, memory_limit) as log:
        rows = checked_rows(log.table, start, end)
        survey = log.backend.execute(
            rows.group_by("fault", "model_id").agg(rows=rows.count(), first_at=rows.at.min(), last_at=rows.at.max())
        )
        sound = survey[survey["fault"].isna()]
        first, last = (pd.to_datetime(at) for at in (sound["first_at"].min(), sound["last_at"].max()))
        span = (prices.as_of, prices.as_of) if sound.empty else (first, last)
        rates = rate_table(prices, sound["model_id"], *span)
        clock, lost = local_clock(timezone, *span), None
        if not survey["fault"].eq("outside the period").mask(survey["fault"].isna(), survey["model_id"].isin(rates.ids)).all():
            lost = _lost(log.backend, with_local(rows, clock), rates.ids)
        if len(sound) < len(survey):  # a filter that no row needs would still read every column
            rows = rows.filter(rows.fault.isnull())
        rows = with_local(rows, clock)
        priced = priced_rows(rows, rates)
        sums = summed(log.backend, priced)
        users, latency = users_table(log.backend, priced), latency_table(log.backend, rows, rates.ids)
    set_aside, unpriced = _set_aside(survey, sums, rates, log.aside), _unpriced(lost, sums, log.aside.total())
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
        raise ValueError("the log changed while it was read; let what writes it finish, or copy it first")
    return Cube(daily_table(sums, rates), users, latency, account, tuple(c for c in _OPTIONAL if c not in log.table.columns))


def _set_aside(survey, sums, rates, unread):
    """Rows without a price, by reason and model."""
    unknown_model = survey["fault"].isna() & ~survey["model_id"].isin(rates.ids)
    survey = survey.assign(reason=survey["fault"].mask(unknown_model, "unknown model"))
    gaps = sums[sums["gap"].notna()]
    gaps = gaps.assign(model_id=rates.frame["spelt"].take(gaps["rate"]).to_numpy(), reason=gaps["gap"])
    lines = pd.DataFrame({"reason": list(unread), "model_id": None, "rows": list(unread.values())})
    parts = [
        part[["reason", "model_id", "rows"]] for part in (survey[survey["reason"].notna()], gaps, lines[lines["rows"] > 0])
    ]
    return pd.concat(parts).groupby(["reason", "model_id"], dropna=False, as_index=False)["rows"].sum()


def _lost(backend, rows, ids):
    """Rows and billed dollars of what has a fault or an unknown model, by quarter of the local time."""
    known = rows.model_id.isin(list(ids)) if ids else ibis.literal(False)
    rows = rows.filter(rows.fault.isnull().ifelse(~known, rows.fault != "outside the period"))
    sums = {"rows": rows.count()} | ({"billed_usd": rows.billed_usd.sum()} if "billed_usd" in rows.columns else {})
    table = backend.execute(rows.group_by(year=rows.local.year(), number=rows.local.quarter()).agg(**sums))
    dated = table["year"].between(2000, 2099)
    quarter = [f"{int(y)}Q{int(n)}" if d else "" for y, n, d in zip(table["year"], table["number"], dated, strict=True)]
    return table.assign(quarter=quarter)


def _unpriced(lost, sums, unreadable):
    gaps = sums[sums["gap"].notna()]
    gaps = gaps.assign(quarter=gaps["day"].dt.to_period("Q").astype(str))
    lines = pd.DataFrame({"quarter": [""], "rows": [unreadable]})
    table = pd.concat([lost, gaps, lines[lines["rows"] > 0]]).reindex(columns=["quarter", "rows", "billed_usd"])
    table = table.astype({"quarter": str, "rows": "int64", "billed_usd": float})
    return table.groupby("quarter", as_index=False).agg({"rows": "sum", "billed_usd": lambda usd: usd.sum(min_count=1)})


def _zone(timezone):
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(unknown("time zone", timezone, sorted(available_timezones()))) from None


def _utc(local, zone):
    return local.tz_localize(zone).tz_convert("UTC").tz_localize(None)
