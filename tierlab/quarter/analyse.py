"""The numbers of the quarterly report, from the small tables of a priced usage log."""

import re
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from tierlab.core.format import counted
from tierlab.core.untrusted import shown
from tierlab.evaluate.compare import quality_by_model
from tierlab.evaluate.rows import scored_rows
from tierlab.prices.catalog import Prices
from tierlab.prices.daily import (
    TIER_LABELS,
    at_base,
    bought,
    in_batch,
    labelled,
    rates_at,
    tiers_of,
)
from tierlab.prices.offers import FLAGS
from tierlab.prices.pricing import PARTS
from tierlab.quarter.aggregate import Cube
from tierlab.quarter.ahead import (
    Ahead,
    Deal,
    contract_rows,
    forecast_paid,
    paid_share,
    price_changes,
    retiring,
    with_parts,
    without_cache,
)
from tierlab.quarter.arrival import arrivals, decided_by, decided_in
from tierlab.quarter.engine import TOKENS
from tierlab.quarter.outlook import (
    CONFIDENCE,
    WINDOW,
    Forecast,
    anomalies,
    error_of_last,
    next_quarter,
    robust_z,
)
from tierlab.quarter.savings import (
    SURE,
    Terms,
    per_session,
    ranked,
    reconciliation,
    saved_usd,
    savings,
    without_price,
)
from tierlab.quarter.variance import changes_by, variance

INPUTS = list(TOKENS[:4])
_ANSWERED = ("ok", "truncated")
_COLUMNS = {  # column that a log may lack -> the sections that need it
    "team": ("teams",),
    "task": ("tasks",),
    "user": ("users",),
    "status": ("reliability", "truncated answers"),
    "attempts": ("retries",),
    "reasoning_tokens": ("reasoning",),
    "batch": ("batch savings",),
    "cache_read_tokens": ("cache",),
    "ttft_s": ("latency (ttft_s)",),
    "end_to_end_s": ("latency (end_to_end_s)",),
}


@dataclass(frozen=True, eq=False)
class Quarter:
    """What a quarter cost and why, and what to do about it. Each table is described where it is made.

    Attributes
    ----------
    quarter : str
        Such as "2026Q3".
    start, end, last_day : Timestamp
        The first and the last day of the quarter, and the last day with usage in it.
    complete : bool
        Whether every day of the quarter has usage.
    spend_usd, before_usd, budget_usd : float
        The quarter and the quarter before at list prices, and the budget (US dollars); NaN where not known.
    contracted_usd, effective_usd : float
        The quarter under the contract (US dollars): after discounts, and with what stays unused of commitments and
        capacity. NaN without a contract.
    before_paid_usd : float
        The quarter before under the contract; `before_usd` without one.
    saved_usd, sure_usd : float
        What all decisions save together in the quarter ahead, at effective rates under a contract, and what those
        save that need no test (US dollars).
    unpriced_rows, unpriced_usd : int, float
        How many rows were used or billed in the quarter and have no price (rows without a time included), and what was
        billed for them (US dollars; NaN where the log does not say). It is not in `spend_usd`.
    unpriced, gaps : DataFrame
        What has no price (`tierlab.quarter.savings.without_price`), and on which days and models the log's own money
        and our price differ (`tierlab.quarter.aggregate.Account`).
    invoice : DataFrame
        What the contract makes of each month (`tierlab.prices.contract.Settlement`).
    ahead : str
        The first whole quarter from the day of the report on, at whose scheduled rates savings are counted.
    arrival : DataFrame
        Earlier decisions held against the log (`tierlab.quarter.arrival`): those of the last summary and filed records.
    spend, variance, changes, units, teams, tasks, tiers, months, cache, output, reliability, latency, quality, events,
    savings, decisions, price_changes, retiring, reconciliation, coverage, flags, assumptions, forecast_error : DataFrame
        From `tierlab.quarter.analyse`, `ahead`, `outlook`, `savings` and `variance`.
    days : DataFrame
        day, usd, expected (NaN before 28 days of history), flagged.
    forecast : Forecast or None
    missing : dict of str to str
        Section -> what it needs. A section that is missing has an empty table and a sentence here.
    """

    quarter: str
    start: pd.Timestamp
    end: pd.Timestamp
    last_day: pd.Timestamp
    complete: bool
    spend_usd: float
    before_usd: float
    budget_usd: float
    contracted_usd: float
    effective_usd: float
    before_paid_usd: float
    saved_usd: float
    sure_usd: float
    unpriced_rows: int
    unpriced_usd: float
    ahead: str
    spend: pd.DataFrame = field(repr=False)
    variance: pd.DataFrame = field(repr=False)
    changes: pd.DataFrame = field(repr=False)
    units: pd.DataFrame = field(repr=False)
    teams: pd.DataFrame = field(repr=False)
    tasks: pd.DataFrame = field(repr=False)
    tiers: pd.DataFrame = field(repr=False)
    months: pd.DataFrame = field(repr=False)
    cache: pd.DataFrame = field(repr=False)
    output: pd.DataFrame = field(repr=False)
    reliability: pd.DataFrame = field(repr=False)
    latency: pd.DataFrame = field(repr=False)
    quality: pd.DataFrame = field(repr=False)
    days: pd.DataFrame = field(repr=False)
    events: pd.DataFrame = field(repr=False)
    forecast: Forecast | None = field(repr=False)
    forecast_error: pd.DataFrame = field(repr=False)
    savings: pd.DataFrame = field(repr=False)
    decisions: pd.DataFrame = field(repr=False)
    arrival: pd.DataFrame = field(repr=False)
    price_changes: pd.DataFrame = field(repr=False)
    retiring: pd.DataFrame = field(repr=False)
    unpriced: pd.DataFrame = field(repr=False)
    gaps: pd.DataFrame = field(repr=False)
    invoice: pd.DataFrame = field(repr=False)
    reconciliation: pd.DataFrame = field(repr=False)
    coverage: pd.DataFrame = field(repr=False)
    flags: pd.DataFrame = field(repr=False)
    assumptions: pd.DataFrame = field(repr=False)
    missing: dict

    @property
    def under_contract(self) -> bool:
        """Whether a contract says what the quarter costs."""
        return not np.isnan(self.effective_usd)

    @property
    def due_usd(self) -> float:
        """What the quarter's priced usage cost (US dollars): under the contract where there is one."""
        return self.effective_usd if self.under_contract else self.spend_usd

    @property
    def paid_usd(self) -> float:
        """What the quarter cost (US dollars), with what is billed without a price."""
        return self.due_usd + (self.unpriced_usd if self.unpriced_usd > 0 else 0.0)

    @property
    def over_budget_usd(self) -> float:
        """How far the quarter is over its budget (US dollars); NaN without one."""
        return self.paid_usd - self.budget_usd

    @property
    def priced_only(self) -> bool:
        """Whether something used or billed has no price, so that only a part of the cost is known."""
        return bool(self.unpriced_usd > 0 or (self.unpriced_rows and self.unpriced_usd != 0))


def _set_aside(cube, unread):
    """Return in words why most rows of a log were set aside, "" if none were."""
    rows = pd.concat([cube.account.set_aside, unread]).sort_values("rows", ascending=False)
    named = rows.reindex(columns=["rows", "reason", "model_id"]).astype(object).fillna("")
    said = [
        f"{counted(number, 'row')} ({shown(', '.join(filter(None, about)), 80)})"
        for number, *about in named.head(3).itertuples(index=False)
    ]
    return f"; set aside are {', '.join(said)}" if said else ""


def analyse(
    cube: Cube,
    prices: Prices,
    quarter: str = "2026Q3",
    *,
    budget_usd: float | None = None,
    billed: pd.DataFrame | None = None,
    outcomes: pd.DataFrame | None = None,
    last_summary: dict | None = None,
    terms: Terms | None = None,
    unread: pd.DataFrame | None = None,
    seed: int = 0,
) -> Quarter:
    """Work out everything that the quarterly report says, from a priced usage log.

    Parameters
    ----------
    cube : Cube
        From `tierlab.build_cube`; should hold the quarter before as well.
    prices : Prices
        The catalogue that priced it; its `as_of` is the day of the report.
    quarter : str
        Such as "2026Q3".
    budget_usd : float, optional
        Budget of the quarter, US dollars above 0.
    billed : DataFrame, optional
        `Usage.billed`.
    outcomes : DataFrame, optional
        The outcomes table of the team's own evaluation.
    last_summary : mapping, optional
        `summary` of the quarter before, for its forecast and its decisions.
    terms : Terms, optional
        How far advice may go.
    unread : DataFrame, optional
        `Usage.account.set_aside`: rows that no reader could turn into tokens, and what the sources bill for them.
    seed : int
        Seed of the simulated futures.

    Returns
    -------
    Quarter

    Raises
    ------
    ValueError
        If `quarter` is not a quarter or has no usage, the budget is not above 0, or `last_summary` is not of a quarter
        before.
    """
    period, terms = _checked(quarter, budget_usd, last_summary), terms or Terms()
    start, end = period.start_time, period.end_time.normalize()
    history = cube.daily[cube.daily["day"] <= end]
    now = history[history["day"] >= start]
    if not now["cost_usd"].sum() > 0:
        held = sorted(cube.daily["day"].dt.to_period("Q").astype(str).unique())
        priced = ", ".join(held) or "nothing that has a price"
        raise ValueError(f"no spend in {period}; the log holds {priced}{_set_aside(cube, unread)}")
    before = history[history["day"].between((period - 1).start_time, start, inclusive="left")]
    last = now["day"].max()
    on = max(prices.as_of, last)
    money = _spent(cube, now, before, period)
    days = robust_z(history.groupby("day")["cost_usd"].sum())
    judged = int((days.index < start).sum())
    days = days.loc[start:end].rename_axis("day").reset_index().rename(columns={"value": "usd"})
    events = anomalies(history, start, end)
    later = Ahead(prices, on, now, cube.contract)
    sessions, no_sessions = per_session(cube, period, later.rates)
    offered = savings(later, events=events, outcomes=outcomes, terms=terms, sessions=sessions)
    offered = ranked(offered, now)
    decided = offered[offered["place"] > 0].reset_index(drop=True)
    ahead, no_forecast = next_quarter(
        history, events, prices, last, (period + 1).end_time.normalize(), seed
    )
    if ahead and cube.contract:
        recent = history[history["day"] > last - pd.Timedelta(days=WINDOW)]
        totals = forecast_paid(ahead.totals, recent, cube.contract, prices)
        ahead = replace(ahead, totals=totals)
    error, no_error = error_of_last(now, before, prices, period, last_summary, seed)
    earlier = decided_in(last_summary) if last_summary else []
    earlier += [decided_by(record, terms.tasks) for record in terms.records]
    bills = reconciliation(now, prices, billed)
    unpriced, gaps = without_price(cube.account, bills, str(period), unread), cube.account.gaps
    missing = _missing(cube, now, before) | {
        section: words
        for section, lacks, words in (
            ("budget", budget_usd is None, "needs the quarter's budget (`budget_usd`)"),
            ("quality", outcomes is None, _SCORES),
            ("events", judged < WINDOW, f"{_HISTORY}; there are {judged}"),
            ("forecast", no_forecast, no_forecast),
            ("forecast_error", no_error, no_error),
            ("reconciliation", bills.empty, _BILLS),
            ("arrival", not earlier, _EARLIER),
            ("sessions", no_sessions, no_sessions),
        )
        if lacks
    }
    return Quarter(
        quarter=str(period),
        start=start,
        end=end,
        last_day=last,
        complete=now["day"].nunique() == (end - start).days + 1,
        budget_usd=float("nan") if budget_usd is None else float(budget_usd),
        unpriced_rows=int(unpriced["rows"].sum()),
        unpriced_usd=float(unpriced["billed_usd"].sum(min_count=min(1, len(unpriced)))),
        ahead=str(later.period),
        saved_usd=saved_usd(decided, later),
        sure_usd=saved_usd(decided[decided["status"].isin(SURE)], later),
        spend=spend_table(now, before, budget_usd, money["effective_usd"]),
        quality=pd.DataFrame() if outcomes is None else quality(outcomes, prices, on),
        days=days.drop(columns="z"),
        events=_at_contract(events, history),
        forecast=ahead,
        forecast_error=error,
        savings=offered.drop(columns=["rows", "change"]),
        decisions=decided.drop(columns=["rows", "change"]),
        arrival=arrivals(history, prices, earlier),
        price_changes=price_changes(
            now, prices, start - pd.Timedelta(days=1), max(period + 1, later.period).end_time
        ),
        retiring=retiring(now, prices, on + pd.Timedelta(days=terms.retire_days), on),
        unpriced=unpriced,
        gaps=gaps[gaps["day"].between(start, end)].reset_index(drop=True),
        reconciliation=bills,
        assumptions=_assumptions(cube, later, terms.margin),
        missing=missing,
        **money,
        **_sections(cube, prices, now, before, period, missing),
    )


_SCORES = "needs scores of the team's own examples (`outcomes`: prompt_id, model_id, score, task)"
_HISTORY = f"needs {WINDOW} days of usage before the quarter to judge its first days"
_EARLIER = "needs the summary.json of the quarter before (`last_summary`) or filed decisions"
_BILLS = "needs a column 'billed_usd' in the log, or the provider's bills (`billed`)"


def _checked(quarter, budget_usd, last_summary):
    period = period_of(quarter)
    if budget_usd is not None and not (np.isfinite(budget_usd) and budget_usd > 0):
        raise ValueError(f"budget_usd={budget_usd!r}; US dollars above 0 are needed")
    if last_summary and pd.Period(last_summary["quarter"], freq="Q") >= period:
        raise ValueError(
            f"the earlier report is that of {last_summary['quarter']}, which is not before {period}; "
            "give the summary.json of a quarter before it"
        )
    return period


def _spent(cube, now, before, period):
    """Return the quarter's cost and that of the quarter before, by their names in `Quarter`, and the invoice."""
    spend, earlier = float(now["cost_usd"].sum()), float(before["cost_usd"].sum())
    found = {
        "spend_usd": spend,
        "before_usd": earlier if len(before) else float("nan"),
        "before_paid_usd": earlier,
        "contracted_usd": float("nan"),
        "effective_usd": float("nan"),
        "invoice": pd.DataFrame(),
    }
    if cube.settlement is None:
        return found
    invoice = cube.settlement.invoice
    return found | {
        "before_paid_usd": _effective(cube, before, period - 1),
        "contracted_usd": float(now["contracted_usd"].sum()),
        "effective_usd": _effective(cube, now, period),
        "invoice": invoice[_of_quarter(invoice, period)].reset_index(drop=True),
    }


def _effective(cube, rows, period):
    """Return what the rows of a quarter cost under the contract, with what stays unused of it."""
    lines = cube.settlement.lines
    return float(rows["effective_usd"].sum() + lines.loc[_of_quarter(lines, period), "usd"].sum())


def _of_quarter(table, period):
    return pd.PeriodIndex(table["month"].astype(str), freq="M").asfreq("Q") == period


def _sections(cube, prices, now, before, period, missing):
    """Return the tables that the rows of the two quarters give, by their names in `Quarter`."""
    empty, deal, unused = pd.DataFrame(), None, (0.0, 0.0)
    if cube.contract:
        rows = contract_rows(now, now[list(PARTS)].to_numpy(), period)
        deal = Deal(cube.contract, prices, period, rows)
        unused = [
            _effective(cube, rows, one) - rows["contracted_usd"].sum()
            for rows, one in ((now, period), (before, period - 1))
        ]
    compared = "variance" not in missing
    users = cube.users[cube.users["period"] == str(period)]
    both = pd.concat([before, now], ignore_index=True)
    return {
        "variance": variance(now, before, prices, unused) if compared else empty,
        "changes": changes_by(now, before) if compared else empty,
        "units": units(now, users=users[users["over"] == "all"]),
        "teams": units(now, "team", users[users["over"] == "team"]) if "team" in now else empty,
        "tasks": units(now, "task") if "task" in now else empty,
        "tiers": tier_mix(both, prices),
        "months": tier_mix(both, prices, "M"),
        "cache": cache(now, prices, deal) if "cache" not in missing else empty,
        "output": output(now, deal),
        "reliability": reliability(now) if "reliability" not in missing else empty,
        "latency": cube.latency[cube.latency["quarter"] == str(period)].drop(columns="quarter"),
        "coverage": coverage(cube.account, now, before),
        "flags": flag_counts(now),
    }


def period_of(quarter):
    """Return a quarter such as "2026Q3" as a Period."""
    if not re.fullmatch(r"\d{4}-?Q[1-4]", str(quarter).strip(), re.IGNORECASE):
        raise ValueError(f"{quarter!r} is not a quarter; write it as '2026Q3'")
    return pd.Period(str(quarter).strip(), freq="Q")


def _missing(cube, now, before):
    """Return what each missing section needs of the log."""
    needs = {
        section: f"needs a column {column!r} in the log"
        for column, sections in _COLUMNS.items()
        if column in cube.missing
        for section in sections
    }
    if "truncated answers" in needs:
        needs["truncated answers"] += ", with 'truncated' for answers cut off by length"
    if {"ttft_s", "end_to_end_s"} <= set(cube.missing):
        needs["latency"] = "needs a column 'ttft_s' or 'end_to_end_s' in the log"
    if not before["cost_usd"].sum() > 0:
        needs["variance"] = needs["changes"] = "needs usage of the quarter before in the log"
    if uncounted := int(now["uncounted_rows"].sum()):
        rows = f"{uncounted:,} aggregate rows"
        needs["cost per request"] = f"needs a number in the column 'requests' of {rows}"
    return needs


def _assumptions(cube, later, margin):
    account, lineups = cube.account, later.prices.lineups["as_of"].drop_duplicates()
    rows = {
        "prices": account.price_source,
        "prices seen from": account.price_as_of,
        "prices, sha256": account.price_sha256,
        "rates": "each row at the rates of its own day (UTC)",
        "days begin in": account.timezone,
        "engine": account.engine,
        "lineups": ", ".join(f"{day:%Y-%m-%d}" for day in lineups) or "none",
        "variance": "Shapley values of seven factors by task, tier and model (Albrecht et al. 2002)",
        "anomalies": f"robust z against {WINDOW} days, weekdays taken out (Iglewicz and Hoaglin 1993)",
        "forecast": "local level with drift on weekly spend at constant prices, "
        f"{CONFIDENCE:.0%} band",
        "savings": "the quarter's own tokens so far at the mean of the rates scheduled for "
        f"{later.period}, with the lineup of {later.on:%Y-%m-%d}; not additive",
        "margin of a move": "not given" if margin is None else f"{100 * margin:g} points",
    }
    return pd.DataFrame(rows.items(), columns=["what", "value"])


def spend_table(now, before, budget_usd=None, effective=np.nan):
    """Compare the spend with the budget and the quarter before: what, usd, difference_usd, ratio.

    Under a contract the contracted and the effective cost and what stays unused have rows as well, and the budget is
    compared with the effective cost.
    """
    spend = float(now["cost_usd"].sum())
    usd = {"this quarter": spend}
    if not np.isnan(effective):
        usd |= {
            "contracted": now["contracted_usd"].sum(),
            "unused of commitments and capacity": effective - now["effective_usd"].sum(),
            "effective": effective,
        }
    usd |= {
        "budget": budget_usd,
        "quarter before": before["cost_usd"].sum() if len(before) else None,
    }
    table = pd.DataFrame(usd.items(), columns=["what", "usd"]).dropna(ignore_index=True)
    table = table.astype({"usd": float})
    paid = np.where(table["what"].eq("budget") & ~np.isnan(effective), effective, spend)
    ratio = paid / table["usd"].where(table["usd"] > 0)
    return table.assign(difference_usd=paid - table["usd"], ratio=ratio)


def costs(table):
    """Return the columns of cost that a table has: at list and, under a contract, contracted and effective."""
    return [name for name in ("cost_usd", "contracted_usd", "effective_usd") if name in table]


def units(now, column=None, users=None):
    """Return the cost per request, per thousand tokens and, where users are known, per active user.

    Parameters
    ----------
    now : DataFrame
        Rows of `Cube.daily`.
    column : {"team", "task"}, optional
        Column to group by; by default all rows together, under the name "all".
    users : DataFrame, optional
        Rows of `Cube.users` of the quarter, over the same groups.

    Returns
    -------
    DataFrame
        name, cost_usd, share (of spend), requests, usd_per_request (NaN where a row does not count its requests),
        tokens_per_request, usd_per_1k_tokens, and active_users, usd_per_active_user, top_users, top_share (the share
        of the cost that the top 5% of users make).
    """
    name = labelled(now[column]) if column else pd.Series("all", now.index)
    table = now[[*costs(now), "requests", "uncounted_rows"]].assign(tokens=_tokens(now))
    table = table.groupby(name).sum().rename_axis("name")
    more = table[costs(table)[1:]]
    cost, tokens = table["cost_usd"], table["tokens"]
    counted = table["requests"].where((table["uncounted_rows"] == 0) & (table["requests"] > 0))
    table = pd.DataFrame(
        {
            "cost_usd": cost,
            "share": cost / cost.sum(),
            "requests": counted,
            "usd_per_request": cost / counted,
            "tokens_per_request": tokens / counted,
            "usd_per_1k_tokens": 1000 * cost / tokens.where(tokens > 0),
        }
    ).join(more)
    if users is not None and len(users):
        users = users.set_index(labelled(users[column]) if column else users["over"])
        # Cost of rows that name a user over the users; rows without a user have nobody to divide by.
        per_user = users["cost_usd"] / users["active_users"]
        users = users[["active_users", "top_users", "top_share"]]
        users.insert(1, "usd_per_active_user", per_user)
        table = table.join(users)
    return table.sort_values("cost_usd", ascending=False, kind="stable").reset_index()


def _tokens(daily):
    return daily[list(TOKENS)].sum(axis=1)


def tier_mix(daily, prices, unit="Q"):
    """Return each tier's share of requests, tokens and spend, per quarter ("Q") or month ("M").

    A model's tier is that of the lineup of the day.

    Returns
    -------
    DataFrame
        period, tier, cost_usd, requests, tokens, spend_share, request_share, token_share, usd_per_mtok.
    """
    tier = tiers_of(prices, daily["model_id"], daily["day"])
    table = daily[[*costs(daily), "requests"]].assign(
        tokens=_tokens(daily),
        period=daily["day"].dt.to_period(unit).astype(str),
        tier=pd.Categorical(tier, TIER_LABELS, ordered=True),
    )
    table = table.groupby(["period", "tier"], observed=True).sum().reset_index()
    whole = table.groupby("period")[["cost_usd", "requests", "tokens"]].transform("sum")
    return table.assign(
        spend_share=table["cost_usd"] / whole["cost_usd"],
        request_share=table["requests"] / whole["requests"],
        token_share=table["tokens"] / whole["tokens"],
        usd_per_mtok=1e6 * table["cost_usd"] / table["tokens"].where(table["tokens"] > 0),
    )


def _at_contract(events, daily):
    """Add contracted_usd to events under a contract: their excess at the share of the list price that their rows cost."""
    if "contracted_usd" not in daily:
        return events
    columns, paid = {"team": "team", "model": "model_id", "cache": "model_id"}, []
    for event in events.itertuples():
        rows = daily[daily["day"].between(event.start, event.end)]
        if event.over in columns:
            rows = rows[labelled(rows[columns[event.over]]) == event.name]
        paid.append(event.excess_usd * paid_share(rows))
    return events.assign(contracted_usd=np.array(paid, float))


def cache(now, prices, deal=None):
    """Return the cache hit rate and the net saving by model.

    Returns
    -------
    DataFrame
        model_id, input_tokens, hit_rate (read over all input, 0-1), saved_usd (reads at the input rate, minus what
        they cost), premium_usd (what writes cost beyond plain input), net_usd; the last row is "all". Under a contract
        (`tierlab.quarter.ahead.Deal`) contracted_usd and effective_usd: the net saving in its rates.

    Notes
    -----
    Net saving = reads x (input rate - read rate) - writes x (write rate - input rate), each row at its own day's rates.
    """
    rates = rates_at(prices, bought(now), now["day"], in_batch(now))
    tokens = now[INPUTS].to_numpy(float)
    # What each bucket would have cost as plain input, beyond what it cost.
    gap = np.where(tokens > 0, tokens * (rates[:, :1] - rates[:, :4]), 0.0)
    columns = {
        "input_tokens": tokens.sum(axis=1),
        "read": tokens[:, 1],
        "saved_usd": gap[:, 1],
        "premium_usd": -(gap[:, 2] + gap[:, 3]),
    }
    table = _by_model(now, columns)
    hits = table["read"] / table["input_tokens"].where(table["input_tokens"] > 0)
    table.insert(2, "hit_rate", hits)
    table = table.drop(columns="read").assign(net_usd=table["saved_usd"] - table["premium_usd"])
    if deal is None:
        return table
    given = np.where(tokens.any(axis=1), tokens.sum(axis=1) * rates[:, 0], 0.0)
    usd = at_base(now, rates)
    uncached = without_cache(deal.rows, np.column_stack([given, 0 * given, 0 * given, usd[:, 3]]))
    return _paid(table, now, deal, uncached, with_parts(deal.rows, usd))


def _paid(table, now, deal, before, after):
    """Add to a table by model what a change of rows saves under a contract: contracted_usd, effective_usd."""
    saved = []
    for name in table["model_id"]:
        own = now.index if name == "all" else now.index[now["model_id"] == name]
        saved.append(deal.saving((before.loc[own], after.loc[own])))
    contracted, effective = zip(*saved, strict=True)
    return table.assign(contracted_usd=contracted, effective_usd=effective)


def _by_model(now, columns):
    """Sum columns by model, the largest of the first column first, with a last row "all"."""
    table = pd.DataFrame({"model_id": now["model_id"].astype(object), **columns})
    table = table.groupby("model_id", as_index=False).sum()
    table = table.sort_values(table.columns[1], ascending=False, kind="stable")
    whole = table.sum(numeric_only=True).to_frame().T.assign(model_id="all")
    return pd.concat([table, whole], ignore_index=True)


def output(now, deal=None):
    """Return the output by model: its cost, its ratio to the input, reasoning and truncated answers.

    Returns
    -------
    DataFrame
        model_id (the last row is "all"), output_tokens, output_usd (contracted_usd and effective_usd under a contract),
        output_over_input, output_usd_share, and reasoning_share (of output tokens), truncated_share (of requests) where
        the log has reasoning_tokens and status.
    """
    sums = now[["output_tokens", "output_usd", "cost_usd", "requests"]].assign(
        given=now[INPUTS].sum(axis=1)
    )
    if "reasoning_tokens" in now:
        sums["reasoning"] = now["reasoning_tokens"]
    if "status" in now:
        sums["cut"] = now["requests"].where(now["status"] == "truncated", 0)
    table = _by_model(now, sums)
    shares = {
        "output_over_input": ("output_tokens", "given"),
        "output_usd_share": ("output_usd", "cost_usd"),
        "reasoning_share": ("reasoning", "output_tokens"),
        "truncated_share": ("cut", "requests"),
    }
    result = table[["model_id", "output_tokens", "output_usd"]].copy()
    for name, (part, whole) in shares.items():
        if part in table:
            result[name] = table[part] / table[whole].where(table[whole] > 0)
    if deal is None:
        return result
    silent = deal.rows.assign(output_tokens=0.0, output_usd=0.0)
    return _paid(result, now, deal, deal.rows, silent)


def reliability(now):
    """Return requests and spend by status, and what second attempts may have cost.

    Returns
    -------
    DataFrame
        status, failed, requests, share (of requests), cost_usd, and extra_attempts, retry_usd where the log has
        attempts.

    Notes
    -----
    A log says how often a request was tried, not what each attempt cost: retry_usd = cost x extra / attempts assumes
    that the attempts of a request cost the same and that the log has all of them.
    """
    table = now[["requests", *costs(now)]].copy()
    if "attempts" in now:
        extra = (now["attempts"] - now["requests"]).clip(lower=0)
        table["extra_attempts"] = extra
        table["retry_usd"] = now["cost_usd"] * extra / now["attempts"].where(now["attempts"] > 0)
    table = table.groupby(labelled(now["status"])).sum().rename_axis("status").reset_index()
    table.insert(1, "failed", ~table["status"].isin((*_ANSWERED, "(none)")))
    table.insert(3, "share", table["requests"] / max(table["requests"].sum(), 1))
    return table.sort_values("requests", ascending=False, kind="stable", ignore_index=True)


def quality(outcomes, prices, on):
    """Return the mean score per task and model with its 95% interval, counted as in `tierlab.compare`.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table: prompt_id, model_id, score (0-1), optionally task and at.
    prices : Prices
    on : Timestamp
        The day whose lineup gives the tiers.

    Returns
    -------
    DataFrame
        task, tier, model_id, examples, set_aside (answers without a score), score, low, high, method (Wilson's for
        right-or-wrong scores), last_at where the table has times.
    """
    task = labelled(outcomes["task"]) if "task" in outcomes else pd.Series("(none)", outcomes.index)
    parts = []
    for name, own in outcomes.groupby(task):
        rows = scored_rows(own)
        table = quality_by_model(rows, sorted(rows["model_id"].unique()), 0.95).reset_index()
        tier = tiers_of(prices, table["model_id"], [on] * len(table))
        if "at" in rows:
            table["last_at"] = table["model_id"].map(rows.groupby("model_id")["at"].max())
        parts.append(table.assign(task=name, tier=tier))
    columns = [
        "task",
        "tier",
        "model_id",
        "examples",
        "set_aside",
        "score",
        "low",
        "high",
        "method",
    ]
    return pd.concat(parts, ignore_index=True)[columns + ["last_at"] * ("at" in outcomes)]


def coverage(account, now, before):
    """Count what became of the log's rows (`tierlab.quarter.aggregate.Account`) and the days without usage."""
    aside = account.set_aside
    who = " (" + aside["model_id"].astype(object) + ")"
    rows = [("rows read", account.rows_read), ("rows priced", account.rows_priced)]
    rows += zip("set aside: " + aside["reason"] + who.fillna(""), aside["rows"], strict=True)
    rows += [("rows of the quarter", int(now["rows"].sum()))]
    rows += [("days of the quarter without usage", days_without_usage(now))]
    if len(before):
        rows.append(("days of the quarter before without usage", days_without_usage(before)))
    return pd.DataFrame(rows, columns=["what", "count"])


def days_without_usage(rows):
    period = rows["day"].iloc[0].to_period("Q")
    return (period.end_time.normalize() - period.start_time).days + 1 - rows["day"].nunique()


def flag_counts(now):
    """Count what had to be assumed in pricing: flag, rows that carry it, models."""
    marked = now[["model_id", *FLAGS]].groupby("model_id").sum()
    rows = [
        (flag, int(count.sum()), ", ".join(count.index[count > 0]))
        for flag, count in marked.items()
        if count.any()
    ]
    return pd.DataFrame(rows, columns=["flag", "rows", "models"])
