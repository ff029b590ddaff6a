"""A usage log x prices -> small tables, whatever the size of the log.

The engine sums whole tokens by day, model and so on, and by the rate that prices them; here the sums become
dollars. So the numbers equal `tierlab.price` row by row, and do not depend on the order in which an engine adds.
"""

import hashlib
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import ibis
import numpy as np
import pandas as pd

from tierlab.engine import open_log
from tierlab.names import BUCKETS, unknown
from tierlab.priced_rows import COUNTS, ONE, UNREPORTED, checked_rows, count_off, local_clock, periods, priced_rows, rate_table
from tierlab.pricing import COST_COLUMNS, FLAGS

DIMENSIONS = ("task", "team", "batch", "status", "region")
ONE_IN = 20  # of the users with the highest cost, whose share is reported: the top 5 %
_LONGEST = 1e9  # seconds: a longer latency is none
_NO_TIME = -(10**6)  # the bin of a latency of 0
_BIN = 1.01  # a latency is known to a bin of this ratio
_PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_OPTIONAL = (
    *DIMENSIONS,
    "user",
    "requests",
    "attempts",
    *COUNTS[1:4],
    "reasoning_tokens",
    "ttft_s",
    "end_to_end_s",
    "billed_usd",
)


@dataclass(frozen=True)
class Account:
    """What became of every row of a log: rows_read = rows_priced + the rows of set_aside.

    Attributes
    ----------
    rows_read, rows_priced : int
    set_aside : DataFrame
        reason, model_id (as it was spelt), rows.
    first_at, last_at : Timestamp
        UTC times of the first and the last priced row; missing when there is none.
    timezone : str
        Where days, months and quarters begin.
    engine : str
    price_source, price_as_of, price_sha256 : str
        The catalogue, the day on which one stands, and the hash of its table.
    """

    rows_read: int
    rows_priced: int
    set_aside: pd.DataFrame
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
        first, last = (pd.to_datetime(x) for x in (sound["first_at"].min(), sound["last_at"].max()))
        span = (prices.as_of, prices.as_of) if sound.empty else (first, last)
        rates = rate_table(prices, sound["model_id"], *span)
        rows = rows if len(sound) == len(survey) else rows.filter(rows.fault.isnull())  # a check that none needs costs a third
        priced = priced_rows(rows, rates, local_clock(timezone, *span))
        sums = _summed(log.backend, priced)
        quarters, months = (periods(unit, timezone, *span) for unit in "QM")
        users = _users(log.backend, priced, months, quarters)
        latency = _latency(log.backend, rows, quarters, rates.ids)
    known = sound["model_id"].isin(rates.ids)
    if sums["rows"].sum() != sound.loc[known, "rows"].sum():
        raise ValueError("the log changed while it was read; let what writes it finish, or copy it first")
    lost = [pd.DataFrame({"reason": ["a line that is no row of its file"], "model_id": [None], "rows": [log.unreadable]})]
    lost += [survey[survey["fault"].notna()].rename(columns={"fault": "reason"}), sound[~known].assign(reason="unknown model")]
    lost += [
        sums[sums["gap"].notna()].assign(
            model_id=lambda t: rates.frame["spelt"].take(t["rate"]).to_numpy(), reason=lambda t: t["gap"]
        )
    ]
    lost = pd.concat([part[["reason", "model_id", "rows"]] for part in lost])
    sums = sums[sums["gap"].isna()]
    account = Account(
        rows_read=int(survey["rows"].sum()) + log.unreadable,
        rows_priced=int(sums["rows"].sum()),
        set_aside=_total(lost[lost["rows"] > 0], ["reason", "model_id"]),
        first_at=first,
        last_at=last,
        timezone=timezone,
        engine=log.backend.name,
        price_source=prices.source,
        price_as_of=f"{prices.as_of:%Y-%m-%d}",
        price_sha256=hashlib.sha256(prices.frame.to_csv(index=False).encode()).hexdigest(),
    )
    return Cube(_daily(sums, rates), users, latency, account, tuple(c for c in _OPTIONAL if c not in log.table.columns))


def _zone(timezone):
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(unknown("time zone", timezone, sorted(available_timezones()))) from None


def _utc(local, zone):
    return local.tz_localize(zone).tz_convert("UTC").tz_localize(None)


def _total(table, by):
    return table.groupby(by, dropna=False, as_index=False, observed=True).sum()


def _summed(backend, rows):
    """Tokens and counts by day, dimensions and rate: whole numbers, which add up alike in any order."""
    have = rows.columns
    keys = ["rate", "kind", "gap", *(d for d in DIMENSIONS if d in have)]
    requests = _requests(rows)
    sums = {"rows": rows.count(), "requests": requests.sum(), "uncounted_rows": requests.isnull().sum()}
    if "attempts" in have:
        sums["attempts"] = ibis.coalesce(rows.attempts, requests).sum()
    sums |= {f"{b}_tokens": rows[f"{b}_tokens"].sum() if f"{b}_tokens" in have else ibis.literal(0) for b in BUCKETS}
    if "reasoning_tokens" in have:
        sums["reasoning_tokens"] = rows.reasoning_tokens.sum()
    written = [rows[c] for c in COUNTS[2:4] if c in have]
    sums["writing_rows"] = (sum(written) > 0).sum() if written else ibis.literal(0)
    if "billed_usd" in have:
        sums |= {"billed_usd": rows.billed_usd.sum(), "billed_rows": rows.billed_usd.count()}
    table = backend.execute(rows.group_by(*keys, day=rows.local.date()).agg(**sums))
    whole = [c for c in sums if c != "billed_usd"]
    return table.assign(
        **{c: table[c].fillna(0).astype("int64") for c in whole}, day=pd.to_datetime(table["day"]).astype("datetime64[us]")
    )


def _requests(rows):
    """Requests of each row: a single one unless it says otherwise, unknown for an aggregate that does not say."""
    single = (rows.kind == ONE).ifelse(1, ibis.null("int64"))
    return ibis.coalesce(rows.requests, single) if "requests" in rows.columns else single


def _daily(sums, rates):
    """Sums of tokens x their rates, by day and dimensions."""
    rate = rates.frame.take(sums["rate"]).reset_index(drop=True)
    sums = sums.reset_index(drop=True).assign(model_id=rate["model_id"])
    usd = {b: sums[f"{b}_tokens"] * rate[f"usd_{b}"] for b in BUCKETS}
    parts = (usd["uncached_input"], usd["cache_read"], usd["cache_write_5m"] + usd["cache_write_1h"], usd["output"])
    sums = sums.assign(**dict(zip(COST_COLUMNS, (*parts, sum(parts)), strict=True)))
    bits, write_bits = rate["bits"].to_numpy().copy(), rate["write_bits"].to_numpy()
    bits[(rate["over"] & (sums["kind"] == ONE)).to_numpy()] |= 1 << FLAGS.index("over_window")
    bits[(rate["stepped"] & (sums["kind"] == UNREPORTED)).to_numpy()] |= 1 << FLAGS.index("aggregate_without_band")
    for place, flag in enumerate(FLAGS):
        sums[flag] = np.where(bits >> place & 1, sums["rows"], np.where(write_bits >> place & 1, sums["writing_rows"], 0))
    keys = ["day", "model_id", *(d for d in DIMENSIONS if d in sums)]
    sums = sums.drop(columns=["rate", "kind", "gap", "writing_rows"])
    grouped = sums.groupby(keys, dropna=False, observed=True)
    daily = grouped.sum()
    if "billed_usd" in sums:
        daily["billed_usd"] = grouped["billed_usd"].sum(min_count=1)
    return daily.reset_index()


def _users(backend, rows, months, quarters):
    """Active users and the share of cost of the top ones, ranked in the engine: here arrive the totals."""
    columns = ["period", "over", "team", "active_users", "top_users", "top_share", "requests", "cost_usd"]
    if "user" not in rows.columns:
        return pd.DataFrame(columns=columns)
    rows = rows.filter(rows.gap.isnull(), rows.user.notnull())
    cost = sum(rows[f"{b}_tokens"] * rows[f"usd_{b}"] for b in BUCKETS if f"{b}_tokens" in rows.columns)
    month = count_off([rows.at >= start for start in list(months.values())[1:]])
    by = ["user", *(["team"] if "team" in rows.columns else [])]
    users = rows.group_by(*by, month=month).agg(cost_usd=cost.sum(), requests=_requests(rows).sum()).cache()
    quarter = count_off([users.month >= i for i, start in enumerate(months.values()) if start in list(quarters.values())[1:]])
    found = []
    for names, number in ((list(quarters), quarter), (list(months), users.month)):
        for over in ("all", "team")[: len(by)]:
            table = backend.execute(_ranked(users.mutate(period=number), by[1:] if over == "team" else []))
            found.append(table.assign(period=np.array(names)[table["period"]], over=over))
    table = pd.concat(
        [part.sort_values(["period", *(["team"] if "team" in part else [])]) for part in found], ignore_index=True
    )
    table["top_share"] = table["top_usd"] / table["cost_usd"].where(table["cost_usd"] > 0)
    return table.reindex(columns=columns)


def _ranked(users, by):
    by = ["period", *by]
    users = users.group_by(*by, "user").agg(cost_usd=lambda t: t.cost_usd.sum(), requests=lambda t: t.requests.sum())
    place = ibis.row_number().over(group_by=by, order_by=users.cost_usd.desc())  # from 0
    users = users.mutate(top=place * ONE_IN < users.count().over(group_by=by))
    return users.group_by(*by).agg(
        active_users=users.count(),
        top_users=users.top.sum(),
        top_usd=users.cost_usd.sum(where=users.top),
        requests=users.requests.sum(),
        cost_usd=users.cost_usd.sum(),
    )


def _latency(backend, rows, quarters, ids):
    """Percentiles from counts per bin of 1 %, which any engine adds up alike and in little memory."""
    rows = rows.filter(rows.status.isin(["ok", "truncated"])) if "status" in rows.columns else rows
    rows = rows.filter(~rows["aggregate"]) if "aggregate" in rows.columns else rows
    by = ["model_id", *(["task"] if "task" in rows.columns else [])]
    counts = []
    for measure in (column for column in ("ttft_s", "end_to_end_s") if column in rows.columns):
        spent = rows.filter(rows[measure].between(0, _LONGEST))
        place = (spent[measure] > 0).ifelse((spent[measure].ln() / float(np.log(_BIN))).floor(), _NO_TIME).cast("int32")
        quarter = count_off([spent.at >= start for start in list(quarters.values())[1:]])
        counted = spent.group_by(*by, quarter=quarter, place=place).agg(n=lambda t: t.count())
        counts.append(backend.execute(counted).assign(measure=measure))
    keys = ["over", "quarter", "measure", "model_id", "task"]
    if not counts:
        return pd.DataFrame(columns=[*keys, "n", *_PERCENTILES])
    counts = pd.concat(counts)
    counts = counts.assign(model_id=counts["model_id"].map(ids), quarter=np.array(list(quarters))[counts["quarter"]])
    counts = counts[counts["model_id"].notna()]
    parts = [counts.assign(over="all", task=None)] + ([counts.assign(over="task")] if "task" in by else [])
    return pd.concat(
        [_percentiles(part.groupby([*keys, "place"], dropna=False)["n"].sum(), keys) for part in parts], ignore_index=True
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
