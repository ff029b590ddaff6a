"""Small tables of a priced usage log, whatever its size.

The engine sums whole tokens by day, model and so on, and by the rate that prices them; here the sums become dollars.
So the numbers equal `tierlab.price` row by row, and do not depend on the order in which an engine adds.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING
from zoneinfo import available_timezones

import lazy_loader
import numpy as np
import pandas as pd

from tierlab.core.vocabulary import BUCKETS, unknown
from tierlab.prices.catalog import Prices
from tierlab.prices.contract import Contract, Settlement, settle
from tierlab.prices.offers import FLAGS, request_fees, unit_rate
from tierlab.prices.pricing import PARTS
from tierlab.quarter.engine import (
    BOUGHT,
    NO_PRICE,
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

if TYPE_CHECKING:
    import ibis
else:
    ibis = lazy_loader.load("ibis", error_on_import=True)

DIMENSIONS = ("task", "team", "batch", "status", "platform", "region", "service_tier")
SESSION_ROWS = (
    100_000  # rows of sessions that several models answered; more are counted and not read
)
GAP = 0.01  # share of the larger of price and bill; a smaller difference is rounding
ONE_IN = 20  # one in so many users is a top user, whose share of the cost is reported: the top 5%
_OPTIONAL = DIMENSIONS + TOKENS[1:4]
_OPTIONAL += ("user", "requests", "attempts", "reasoning_tokens", "ttft_s", "end_to_end_s")
_OPTIONAL += ("billed_usd",)
_ANSWERED = ("ok", "truncated")
_LONGEST = 1e9  # seconds; a longer latency is an error
_NO_TIME = -(10**6)  # the bin of a latency of 0
_BIN = 1.01  # ratio of the ends of a bin of latencies
_PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_USERS = ["period", "over", "team", "active_users", "top_users", "top_share"]
_USERS += ["requests", "cost_usd"]
_TURNS = ["at", "quarter", "session_id", "model_id", *TOKENS, "cost_usd"]
_LATENCY = ["quarter", "measure", "model_id"]


@dataclass(frozen=True)
class Account:
    """What became of every row of a log: rows_read = rows_priced + the rows of set_aside.

    Attributes
    ----------
    rows_read, rows_priced : int
    set_aside : DataFrame
        reason, model_id (as it was spelt), rows.
    unpriced : DataFrame
        The rows of set_aside that are in the period: quarter ("" where the row has no time), reason, model_id, rows,
        billed_usd (US dollars that the log says were billed for them; NaN where it does not say).
    gaps : DataFrame
        Days and models on which the log's own money and our price of the same rows differ by more than 1%: day,
        model_id, priced_usd, billed_usd.
    first_at, last_at : Timestamp
        UTC times of the first and the last row without a fault; NaT when there is none.
    timezone : str
        IANA name of the zone in which days, months and quarters begin.
    engine : str
        Name of the Ibis backend.
    price_source, price_as_of, price_sha256 : str
        The catalogue, its `as_of`, and the hash of its table.
    """

    rows_read: int
    rows_priced: int
    set_aside: pd.DataFrame
    unpriced: pd.DataFrame
    gaps: pd.DataFrame
    first_at: pd.Timestamp
    last_at: pd.Timestamp
    timezone: str
    engine: str
    price_source: str
    price_as_of: str
    price_sha256: str

    @property
    def unknown_models(self):
        """Rows of each model that the catalogue has no price for: Series, indexed by the name as it was spelt."""
        rows = self.set_aside[self.set_aside["reason"].isin(NO_PRICE)]
        return rows.groupby("model_id")["rows"].sum()


@dataclass(frozen=True)
class Cube:
    """A priced usage log, summed.

    Attributes
    ----------
    daily : DataFrame
        One row per day, model_id, task, team, batch, status, platform, region and service_tier, as far as the log has
        them, and offer (`tierlab.prices.daily.Bought`: the seller, region and tier whose rate priced it): rows,
        requests, uncounted_rows (aggregate rows that report no number of requests), attempts, the five token
        buckets and reasoning_tokens, US dollars by bucket, other_usd (fees, and units that are not text tokens),
        cost_usd, billed_usd and billed_rows, covered_usd (our price of the rows that say what was billed), under a
        contract contracted_usd and effective_usd, and for each of `tierlab.prices.offers.FLAGS` the rows that carry it.
    users : DataFrame
        One row per quarter (`period`), for all teams and for each (`over`, team): active_users,
        top_users (one in twenty, rounded up), top_share (their share 0-1 of the cost), requests and cost_usd of
        rows that name a user, for their text tokens alone.
    latency : DataFrame
        One row per quarter, measure (ttft_s, end_to_end_s) and model_id: n, p50, p95, p99 (seconds), of single requests
        that were answered. A value is within 0.5% of the nearest-rank percentile, because the engine counts in bins
        of 1%.
    account : Account
    missing : tuple of str
        Optional columns that the log does not have.
    turns : DataFrame
        The rows of sessions that more than one model answered, in order, for a replay: at, quarter, session_id, team,
        model_id, the token buckets and cost_usd. Only single online requests count. It is empty where there are more
        than `SESSION_ROWS`.
    mixed_turns : int
        How many such rows the log has.
    settlement : Settlement or None
        What the contract makes of the log (`tierlab.settle`).
    contract : Contract or None
        None also where it has no terms.
    """

    daily: pd.DataFrame
    users: pd.DataFrame
    latency: pd.DataFrame
    account: Account
    missing: tuple
    turns: pd.DataFrame
    mixed_turns: int = 0
    settlement: Settlement | None = None
    contract: Contract | None = None


def build_cube(
    usage: pd.DataFrame | str | os.PathLike | ibis.Table,
    prices: Prices,
    *,
    timezone: str = "UTC",
    start: str | pd.Timestamp | None = None,
    end: str | pd.Timestamp | None = None,
    contract: Contract | None = None,
) -> Cube:
    """Price a usage log of any size, each row at its own date, and sum it.

    Parameters
    ----------
    usage : DataFrame, path, glob or ibis.Table
        A requests table with at least at, model_id, uncached_input_tokens and output_tokens; or Parquet or CSV
        files of such columns, which are scanned and never loaded whole; or a table of any Ibis backend.
    prices : Prices
    timezone : str
        IANA name of the zone in which days, months and quarters begin. Rates change at midnight UTC.
    start, end : str or Timestamp, optional
        The first day, and the day after the last, in that zone; give both or neither.
    contract : Contract, optional
        From `tierlab.load_contract`. What is unused of a commitment is due from the `as_of` of `prices` on.

    Returns
    -------
    Cube

    Raises
    ------
    ValueError
        If a column is missing or misspelt, a file or the time zone does not exist, or the log changes while it is read.
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
    contract = contract if contract is not None and contract.has_terms else None
    if timezone not in available_timezones():
        raise ValueError(unknown("time zone", timezone, sorted(available_timezones())))
    if start is not None:
        days = pd.DatetimeIndex([start, end]).normalize().tz_localize(timezone)
        start, end = days.tz_convert("UTC").tz_localize(None)
    with open_log(usage) as (log, unread):
        have, engine = log.columns, log.get_backend().name
        rows = checked_rows(log, start, end)
        ends = {"first_at": rows.at.min(), "last_at": rows.at.max()}
        bought = [name for name in BOUGHT if name in have]
        survey = rows.group_by("fault", *bought).agg(rows=rows.count(), **ends).execute()
        sound = survey[survey["fault"].isna()]
        first, last = sound["first_at"].min(), sound["last_at"].max()
        span = (prices.as_of, prices.as_of) if sound.empty else (first, last)
        rates = rate_table(prices, sound[bought].reset_index(drop=True), *span)
        rows = with_local(rows, local_clock(timezone, *span))
        unread = {reason: n for reason, n in unread.items() if n}
        aside = [pd.DataFrame(unread.items(), columns=["reason", "rows"]).assign(quarter="")]
        # A query that finds nothing, and a filter that no row needs, would still read every column.
        if len(sound) < len(survey) or len(rates.refused):
            aside.append(_refused(rows, rates.refused, have))
            rows = rows.filter(rows.fault.isnull())
        priced = priced_rows(rows, rates)
        sums = _other(_sums(priced, have), rates, prices)
        users, latency = _users(priced, have), _latency(rows, rates, have)
        turns, mixed = _turns(priced, rates, have)
    aside.append(_lacking(sums[sums["gap"].notna()], rates))
    columns = ["reason", "model_id", "quarter", "rows", "billed_usd"]
    aside = pd.concat(aside).reindex(columns=columns).astype({"rows": "int64"})
    sums = sums[sums["gap"].isna()]
    daily, settled = _daily(sums, rates, prices, contract)
    account = Account(
        rows_read=int(survey["rows"].sum()) + sum(unread.values()),
        rows_priced=int(sums["rows"].sum()),
        set_aside=aside.groupby(["reason", "model_id"], dropna=False)["rows"].sum().reset_index(),
        unpriced=_unpriced(aside),
        gaps=billing_gaps(daily),
        first_at=first,
        last_at=last,
        timezone=timezone,
        engine=engine,
        price_source=prices.source,
        price_as_of=f"{prices.as_of:%Y-%m-%d}",
        price_sha256=hashlib.sha256(prices.rates.to_csv(index=False).encode()).hexdigest(),
    )
    if account.rows_read != account.rows_priced + aside["rows"].sum():
        raise ValueError(
            "the log changed while it was read; let what writes it finish, or copy it first"
        )
    missing = tuple(column for column in _OPTIONAL if column not in have)
    return Cube(daily, users, latency, account, missing, turns, mixed, settled, contract)


def _lacking(sums, rates):
    """Return the sums that have no price in the form of `_refused`, each with its reason."""
    spelt = rates.frame["model_id"].take(sums["rate"]).to_numpy()
    quarter = sums["day"].dt.to_period("Q").astype(str)
    return sums.assign(reason=sums["gap"], model_id=spelt, quarter=quarter)


def _unpriced(aside):
    """Sum up what was set aside and is in the period."""
    lost = aside[aside["reason"] != "outside the period"]
    lost = lost.groupby(["quarter", "reason", "model_id"], dropna=False)[["rows", "billed_usd"]]
    return lost.sum(min_count=1).reset_index()


def _sums(rows, have):
    """Sum tokens and counts by day, dimensions and rate: whole numbers, which add up alike in any order."""
    told = {}
    sums = {
        "rows": rows.count(),
        "requests": rows.requests.sum(),
        "uncounted_rows": rows.requests.isnull().sum(),
        "writing_rows": (rows.cache_write_short_tokens + rows.cache_write_long_tokens > 0).sum(),
        **{column: rows[column].sum() for column in TOKENS},
    }
    if "attempts" in have:
        sums["attempts"] = ibis.coalesce(rows.attempts, rows.requests).sum()
    if "reasoning_tokens" in have:
        sums["reasoning_tokens"] = rows.reasoning_tokens.sum()
    if "billed_usd" in have:
        sums |= {"billed_rows": rows.billed_usd.count(), "billed_usd": rows.billed_usd.sum()}
        told = {"told": rows.billed_usd.notnull()}
    keys = {"rate": rows.rate, "kind": rows.kind, "gap": rows.gap, "day": rows.local.date()}
    keys |= {dimension: rows[dimension] for dimension in DIMENSIONS if dimension in rows.columns}
    if "unit" in have:
        sums["quantity"] = rows.quantity.sum()
        keys |= {"unit": rows.unit, "on": rows.at.date()}
    table = rows.group_by(**keys, **told).agg(**sums).execute()
    whole = [name for name in sums if name not in ("billed_usd", "quantity")]
    table[whole] = table[whole].fillna(0).astype("int64")
    return table.assign(day=pd.to_datetime(table["day"]).astype("datetime64[us]"))


def _other(sums, rates, prices):
    """Add other_usd: fees per request, and units that are not text tokens; where a unit has no rate, `gap` says so."""
    offers = [rates.offers[place] for place in rates.frame["offer"].take(sums["rate"])]
    fees = [request_fees().get(offer.name, 0.0) if prices.hosted else 0.0 for offer in offers]
    usd = (sums["requests"] + sums["uncounted_rows"]) * np.array(fees)
    gap = sums["gap"].to_numpy(object)
    rate_of = cache(partial(unit_rate, prices))
    for row in np.flatnonzero(sums["unit"].notna()) if "unit" in sums else ():
        unit, batch = sums["unit"].iat[row], rates.frame["in_batch"].iat[sums["rate"].iat[row]]
        try:
            rate = rate_of(offers[row], unit, sums["on"].iat[row], bool(batch))
            usd.iat[row] += sums["quantity"].iat[row] * rate * offers[row].factor
        except ValueError:
            gap[row] = f"no rate for {unit}"
    return sums.assign(other_usd=usd, gap=gap)


def _daily(sums, rates, prices, contract):
    """Price the sums, and add them up by day and dimensions; settle them if there is a contract."""
    # Dollars add up in one order, however rows arrived.
    order = [name for name in ("rate", "kind", "day", *DIMENSIONS, "told") if name in sums]
    sums = sums.sort_values(order, ignore_index=True)
    rate = rates.frame.take(sums["rate"]).reset_index(drop=True)
    offer = [rates.bought[place] for place in rate["offer"]]
    sums = sums.assign(model_id=[one.model_id for one in offer], offer=offer)
    for part, buckets in PARTS.items():
        sums[part] = sum(sums[f"{b}_tokens"] * rate[f"usd_{b}"] for b in buckets)
    sums["cost_usd"] = sums[list(PARTS)].sum(axis=1) + sums["other_usd"]
    settled, due = None, "cost_usd"
    if contract is not None and len(sums):
        requests = sums.assign(model_id=rate["model_id"], at=sums["day"])
        until = max(prices.as_of, sums["day"].max())
        settled = settle(requests, sums, prices, contract, until=until)
        sums = sums.join(settled.rows[["contracted_usd", "effective_usd"]])
        due = "contracted_usd"
        if contract.provisioned:  # capacity is bought under the company's own name for a model
            sums["spelt"] = rate["model_id"]
    if "told" in sums:
        sums["covered_usd"] = sums[due].where(sums["told"], 0.0)
    bits, write_bits = rate["bits"].to_numpy().copy(), rate["write_bits"].to_numpy()
    bits[rate["over"] & (sums["kind"] == ONE)] |= 1 << FLAGS.index("over_window")
    unreported = rate["stepped"] & (sums["kind"] == UNREPORTED)
    bits[unreported] |= 1 << FLAGS.index("aggregate_without_band")
    for place, flag in enumerate(FLAGS):
        written = np.where(write_bits >> place & 1, sums["writing_rows"], 0)
        sums[flag] = np.where(bits >> place & 1, sums["rows"], written)
    keys = ["day", "model_id", *(d for d in (*DIMENSIONS, "spelt") if d in sums), "offer"]
    sums = sums.drop(
        columns=["rate", "kind", "gap", "writing_rows", "unit", "on", "quantity"], errors="ignore"
    )
    grouped = sums.groupby(keys, dropna=False, observed=True)
    daily = grouped.sum().drop(columns="told", errors="ignore")
    if "billed_usd" in sums:
        daily["billed_usd"] = grouped["billed_usd"].sum(min_count=1)
    return daily.reset_index(), settled


def billing_gaps(daily):
    """Return the days and models on which the log's own money and our price of the same rows differ."""
    usd = ["covered_usd", "billed_usd"]
    told = daily[daily["billed_rows"] > 0] if "billed_rows" in daily else daily.head(0)
    table = told.reindex(columns=["day", "model_id", *usd]).groupby(["day", "model_id"]).sum()
    wide = (table["covered_usd"] - table["billed_usd"]).abs() > GAP * table.max(axis=1)
    return table[wide].rename(columns={"covered_usd": "priced_usd"}).reset_index()


def _users(rows, have):
    """Count active users and the share of the cost of the top ones; the engine ranks them, only totals leave it."""
    if "user" not in have:
        return pd.DataFrame(columns=_USERS)
    rows = rows.filter(rows.gap.isnull(), rows.user.notnull())
    cost = sum(rows[f"{bucket}_tokens"] * rows[f"usd_{bucket}"] for bucket in BUCKETS)
    by = ["user", "team"] if "team" in have else ["user"]
    totals, found = rows.group_by(*by, period=rows.quarter), []
    with totals.agg(cost_usd=cost.sum(), requests=rows.requests.sum()).cache() as users:
        for over in ("all", "team")[: len(by)]:
            keys = ["period", "team"] if over == "team" else ["period"]
            found.append(_ranked(users, keys).execute().sort_values(keys).assign(over=over))
    table = pd.concat(found, ignore_index=True)
    share = table["top_usd"] / table["cost_usd"].where(table["cost_usd"] > 0)
    table = table.assign(period=quarter_names(table["period"]), top_share=share)
    return table.reindex(columns=_USERS)


def _turns(rows, rates, have):
    """Return the rows of sessions that more than one model answered, and how many they are; only these leave the engine."""
    if "session_id" not in have:
        return pd.DataFrame(columns=_TURNS), 0
    alone = rows.gap.isnull() & ~rows["aggregate"] & (rows.requests == 1) & ~rows.by_batch
    rows = rows.filter(alone, rows.session_id.notnull(), sum(rows[name] for name in TOKENS) > 0)
    mixed = rows.group_by("session_id").agg(models=rows.model_id.nunique(), turns=rows.count())
    mixed = mixed.filter(mixed.models > 1)
    count = int(mixed.turns.sum().fill_null(0).execute())
    if not 0 < count <= SESSION_ROWS:
        return pd.DataFrame(columns=_TURNS), count
    rows = rows.semi_join(mixed, "session_id")
    usd = sum(rows[f"{bucket}_tokens"] * rows[f"usd_{bucket}"] for bucket in BUCKETS)
    kept = ["rate", "at", "quarter", "session_id", *["team"] * ("team" in have), *TOKENS]
    table = rows.select(*kept, cost_usd=usd).execute()
    offer = rates.frame["offer"].take(table.pop("rate"))
    model_id = [rates.bought[place].model_id for place in offer]
    table = table.assign(model_id=model_id, quarter=quarter_names(table["quarter"]))
    # Two spellings of one model are one model.
    several = table.groupby("session_id")["model_id"].transform("nunique") > 1
    order = ["session_id", "at", "model_id", *TOKENS]
    return table[several].sort_values(order, ignore_index=True), count


def _ranked(users, by):
    """Count users by period or team, and those of the top 5% (rounded up) with what they cost."""
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


def quarter_names(number):
    """Name quarters that are counted from year 0; "" for a time that is missing or not of this century."""
    number = number.astype("Int64").fillna(0)
    return [f"{n // 4}Q{n % 4 + 1}" if 8000 <= n < 8400 else "" for n in number]


def _latency(rows, rates, have):
    """Return nearest-rank percentiles from counts per bin of 1%, which any engine adds up alike and in little memory."""
    if "status" in have:
        rows = rows.filter(rows.status.fill_null("ok").isin(_ANSWERED))
    rows, counted = rows.filter(~rows["aggregate"]), []
    for measure in ("end_to_end_s", "ttft_s"):
        if measure in have:
            spent = rows.filter(rows[measure].between(0, _LONGEST))
            bins = (spent[measure].ln() / float(np.log(_BIN))).floor()
            place = (spent[measure] > 0).ifelse(bins, _NO_TIME).cast("int32")
            counts = spent.group_by("model_id", "quarter", place=place).agg(n=spent.count())
            counted.append(counts.execute().assign(measure=measure))
    if not counted:
        return pd.DataFrame(columns=[*_LATENCY, "n", *_PERCENTILES])
    table = pd.concat(counted)
    # What a spelling names does not depend on where it was bought.
    offer = rates.frame.drop_duplicates("model_id").set_index("model_id")["offer"]
    ids = offer.map(lambda place: rates.bought[place].model_id)
    model_id, quarter = table["model_id"].map(ids), quarter_names(table["quarter"])
    table = table.assign(model_id=model_id, quarter=quarter).dropna(subset="model_id")
    table = table.groupby([*_LATENCY, "place"])["n"].sum().reset_index()
    groups = table.groupby(_LATENCY)["n"]
    total, reached = groups.transform("sum"), groups.cumsum()
    # The geometric middle of a bin stands for all in it.
    table["value"] = np.where(table["place"] == _NO_TIME, 0, _BIN ** (table["place"] + 0.5))
    found = {"n": groups.sum()}
    for name, share in _PERCENTILES.items():
        found[name] = table[reached >= np.ceil(share * total)].groupby(_LATENCY)["value"].min()
    return pd.DataFrame(found).reset_index()


def _refused(rows, refused, have):
    """Count rows with a fault or without a price, and what was billed for them, by quarter of the local time."""
    reason = rows.fault
    if len(refused):
        keys = [name for name in refused if name != "why"]
        named = refused.rename(columns={name: f"in_{name}" for name in keys}).astype("str")
        rows = rows.mutate(**{f"by_{name}": rows[name].fill_null("") for name in keys})
        rows = rows.left_join(ibis.memtable(named), [(f"by_{name}", f"in_{name}") for name in keys])
        reason = ibis.coalesce(rows.fault, rows.why)
    rows = rows.mutate(reason=reason).filter(reason.notnull())
    billed = rows.billed_usd.sum() if "billed_usd" in have else ibis.null("float64")
    by = rows.group_by("model_id", "quarter", "reason")
    table = by.agg(rows=rows.count(), billed_usd=billed).execute()
    return table.assign(quarter=quarter_names(table["quarter"]))
