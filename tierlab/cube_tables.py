"""The tables of a cube, from priced rows: the engine adds up, and what it hands over grows with groups, not rows."""

import ibis
import numpy as np
import pandas as pd

from tierlab.names import BUCKETS
from tierlab.priced_rows import COUNTS, ONE, UNREPORTED
from tierlab.pricing import COST_COLUMNS, FLAGS

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


def daily_table(sums, rates):
    """Sums of tokens x their rates, by day and dimensions."""
    sums = sums.sort_values(["rate", "kind"], ignore_index=True)  # dollars add up in one order, however rows arrived
    rate = rates.frame.take(sums["rate"]).reset_index(drop=True)
    sums = sums.assign(model_id=rate["model_id"])
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


def users_table(backend, rows):
    """Active users and the share of cost of the top ones, ranked in the engine: here arrive the totals."""
    columns = ["period", "over", "team", "active_users", "top_users", "top_share", "requests", "cost_usd"]
    if "user" not in rows.columns:
        return pd.DataFrame(columns=columns)
    rows = rows.filter(rows.gap.isnull(), rows.user.notnull())
    cost = sum(rows[f"{b}_tokens"] * rows[f"usd_{b}"] for b in BUCKETS if f"{b}_tokens" in rows.columns)
    by = ["user", *(["team"] if "team" in rows.columns else [])]
    month = rows.local.year().cast("int32") * 12 + rows.local.month() - 1
    found = []
    with rows.group_by(*by, month=month).agg(cost_usd=cost.sum(), requests=_requests(rows).sum()).cache() as users:
        for unit, months in (("Q", 3), ("M", 1)):
            for over in ("all", "team")[: len(by)]:
                keys = ["period", *(["team"] if over == "team" else [])]
                table = backend.execute(_ranked(users.mutate(period=(users.month // months).cast("int32")), keys)).sort_values(
                    keys
                )
                found.append(table.assign(period=_period(table["period"], unit), over=over))
    table = pd.concat(found, ignore_index=True)
    table["top_share"] = table["top_usd"] / table["cost_usd"].where(table["cost_usd"] > 0)
    return table.reindex(columns=columns)


def _period(number, unit):
    """Names of quarters or months, counted from year 0."""
    return [f"{n // 4}Q{n % 4 + 1}" if unit == "Q" else f"{n // 12}-{n % 12 + 1:02d}" for n in number]


def _ranked(users, by):
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


def latency_table(backend, rows, ids):
    """Percentiles from counts per bin of 1 %, which any engine adds up alike and in little memory."""
    rows = rows.filter(rows.status.fill_null("ok").isin(_ANSWERED)) if "status" in rows.columns else rows
    rows = rows.filter(~rows["aggregate"]) if "aggregate" in rows.columns else rows
    by = ["model_id", *(["task"] if "task" in rows.columns else [])]
    counts = []
    for measure in (column for column in ("ttft_s", "end_to_end_s") if column in rows.columns):
        spent = rows.filter(rows[measure].between(0, _LONGEST))
        place = (spent[measure] > 0).ifelse((spent[measure].ln() / float(np.log(_BIN))).floor(), _NO_TIME).cast("int32")
        quarter = spent.local.year().cast("int32") * 4 + spent.local.quarter() - 1
        counted = spent.group_by(*by, quarter=quarter, place=place).agg(n=lambda t: t.count())
        counts.append(backend.execute(counted).assign(measure=measure))
    keys = ["over", "quarter", "measure", "model_id", "task"]
    if not counts:
        return pd.DataFrame(columns=[*keys, "n", *_PERCENTILES])
    counts = pd.concat(counts)
    counts = counts.assign(model_id=counts["model_id"].map(ids), quarter=_period(counts["quarter"], "Q"))
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
