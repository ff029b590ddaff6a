"""The quarterly report's numbers: everything that notebook 90 shows, from the small tables of a priced usage log."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tierlab import quarter_tables as tables
from tierlab.anomalies import WINDOW
from tierlab.forecast import CONFIDENCE, Forecast
from tierlab.outlook import error_of_last, judged_days, next_quarter
from tierlab.quarter_prices import RETIRE_DAYS, Ahead, price_changes, reconciliation, retiring, without_price
from tierlab.quarter_summary import headline as headline
from tierlab.quarter_summary import summary as summary
from tierlab.savings import decisions, savings
from tierlab.variance import changes_by, variance


@dataclass(frozen=True, eq=False)
class Quarter:
    """What a quarter cost and why, and what to do about it. Each table is described where it is made.

    Attributes
    ----------
    quarter : str
    start, end, last_day : Timestamp
        First and last day of the quarter, and the last day with usage in it.
    complete : bool
        Whether every day of the quarter has usage.
    spend_usd, before_usd, budget_usd : float
        US dollars; NaN where not known.
    unpriced_rows, unpriced_usd : int, float
        What was used or billed in the quarter and has no price (rows without a time count too), and what was billed for
        it (US dollars; NaN where the log does not say). It is not in `spend_usd`.
    ahead : str
        The first whole quarter from the day on which one stands, at whose scheduled rates savings are counted.
    spend, variance, changes, units, teams, tasks, tiers, months, cache, output, reliability, latency, quality, events,
    savings, decisions, price_changes, retiring, reconciliation, coverage, flags, assumptions, forecast_error : DataFrame
        `tierlab.quarter_tables`, `tierlab.variance`, `tierlab.anomalies`, `tierlab.savings`.
    days : DataFrame
        day, usd, expected (NaN before 28 days of history), flagged.
    forecast : Forecast or None
    missing : dict of str to str
        Section -> what it needs. A section that is not there has an empty table and a sentence here.
    """

    quarter: str
    start: pd.Timestamp
    end: pd.Timestamp
    last_day: pd.Timestamp
    complete: bool
    spend_usd: float
    before_usd: float
    budget_usd: float
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
    price_changes: pd.DataFrame = field(repr=False)
    retiring: pd.DataFrame = field(repr=False)
    reconciliation: pd.DataFrame = field(repr=False)
    coverage: pd.DataFrame = field(repr=False)
    flags: pd.DataFrame = field(repr=False)
    assumptions: pd.DataFrame = field(repr=False)
    missing: dict


def analyse(
    cube,
    prices,
    quarter="2026Q3",
    *,
    previous=None,
    budget_usd=None,
    billed=None,
    outcomes=None,
    last_summary=None,
    margin=None,
    may_wait=None,
    tasks=None,
    retire_days=RETIRE_DAYS,
    unread_usd=0.0,
    seed=0,
):
    """Everything that the quarterly report says, from a priced usage log.

    Parameters
    ----------
    cube : Cube
        From `tierlab.build_cube`; may hold the quarter before as well.
    prices : Prices
        The catalogue that priced it; its `as_of` is the day on which one stands.
    quarter : str
        Such as "2026Q3".
    previous : Cube, optional
        The quarter before, where `cube` does not hold it.
    budget_usd : float, optional
        Of the quarter, US dollars.
    billed : DataFrame, optional
        `Usage.billed`.
    outcomes : DataFrame, optional
        The outcomes table of the team's own evaluation.
    last_summary : mapping, optional
        `summary` of the quarter before, for its forecast.
    margin : float, optional
        How much worse a cheaper model may be (0-1); with `outcomes` it settles the moves.
    may_wait : sequence of str, optional
        Tasks whose answers may take a day.
    tasks : mapping of str to str, optional
        The log's names of tasks -> those of data/tasks.csv, where they differ.
    retire_days : int
        How far ahead to look for models that retire, days after the day on which one stands.
    unread_usd : float
        US dollars that the sources bill for rows that no reader could turn into tokens.
    seed : int
        Of the simulated futures.

    Returns
    -------
    Quarter

    Raises
    ------
    ValueError
        If the quarter is no quarter, has no usage, or the budget is not above 0.
    """
    period = _period(quarter)
    start, end = period.start_time, period.end_time.normalize()
    if budget_usd is not None and not (np.isfinite(budget_usd) and budget_usd > 0):
        raise ValueError(f"budget_usd={budget_usd!r}; US dollars above 0 are needed")
    daily = cube.daily[cube.daily["day"].between(start, end)]
    if daily.empty or not daily["cost_usd"].sum() > 0:
        held = ", ".join(sorted(cube.daily["day"].dt.to_period("Q").astype(str).unique())) or "nothing"
        raise ValueError(f"no spend in {period}; the log holds {held}")
    history = (cube if previous is None else previous).daily
    history = history[history["day"] < start]
    before = history[history["day"] >= (period - 1).start_time]
    last = daily["day"].max()
    on = max(prices.as_of, last)
    missing = _missing(cube, budget_usd, before, daily, outcomes)
    found = _sections(cube, daily, before, prices, period, on, outcomes, missing)
    every = pd.concat([history, daily], ignore_index=True)
    days, events = judged_days(every, start, end, missing)
    table = savings(daily, prices, on, events=events, may_wait=may_wait, outcomes=outcomes, margin=margin, tasks=tasks)
    future = Ahead(prices, on).period
    ahead = next_quarter(every, events, prices, last, (period + 1).end_time.normalize(), seed, missing)
    bills = reconciliation(daily, prices, billed)
    if bills.empty:
        missing["reconciliation"] = "needs a column 'billed_usd' in the log, or the provider's bills (`billed`)"
    unpriced_rows, unpriced_usd = without_price(cube.account, bills, str(period), unread_usd)
    return Quarter(
        quarter=str(period), start=start, end=end, last_day=last,
        complete=daily["day"].nunique() == (end - start).days + 1,
        spend_usd=float(daily["cost_usd"].sum()),
        before_usd=float(before["cost_usd"].sum()) if len(before) else float("nan"),
        budget_usd=float("nan") if budget_usd is None else float(budget_usd),
        unpriced_rows=unpriced_rows, unpriced_usd=unpriced_usd, ahead=str(future),
        spend=tables.spend_table(daily, before, budget_usd=budget_usd),
        days=days, events=events, savings=table, decisions=decisions(table, daily), forecast=ahead,
        forecast_error=error_of_last(daily, before, prices, period, last_summary, seed, missing),
        price_changes=price_changes(daily, prices, start - pd.Timedelta(days=1), max(period + 1, future).end_time),
        retiring=retiring(daily, prices, on + pd.Timedelta(days=retire_days), on),
        reconciliation=bills, missing=missing,
        assumptions=_assumptions(cube, prices, on, margin), **found,
    )  # fmt: skip


def _period(quarter):
    try:
        return pd.Period(quarter, freq="Q")
    except (ValueError, TypeError):
        raise ValueError(f"{quarter!r} is not a quarter; write it as '2026Q3'") from None


def _missing(cube, budget_usd, before, now, outcomes):
    """Section -> the sentence that says what it needs."""
    gone, needs = set(cube.missing), {}
    if budget_usd is None:
        needs["budget"] = "needs the quarter's budget (`budget_usd`)"
    if before.empty or not before["cost_usd"].sum() > 0:
        needs["variance"] = needs["changes"] = "needs usage of the quarter before, in the same log or as `previous`"
    for section, column in (("teams", "team"), ("tasks", "task"), ("users", "user"), ("reliability", "status"), ("retries", "attempts"),
                            ("reasoning", "reasoning_tokens"), ("batch savings", "batch")):  # fmt: skip
        if column in gone:
            needs[section] = f"needs a column {column!r} in the log"
    if "status" in gone:
        needs["truncated answers"] = "needs a column 'status' in the log, with 'truncated' for answers cut off by length"
    if "cache_read_tokens" in gone:
        needs["cache"] = "needs a column 'cache_read_tokens' in the log"
    for column in ("ttft_s", "end_to_end_s"):
        if column in gone:
            needs["latency" if {"ttft_s", "end_to_end_s"} <= gone else f"latency ({column})"] = (
                f"needs a column {column!r} in the log"
            )
    if {"ttft_s", "end_to_end_s"} <= gone:
        needs["latency"] = "needs a column 'ttft_s' or 'end_to_end_s' in the log"
    if outcomes is None:
        needs["quality"] = "needs scores of the team's own examples (`outcomes`: prompt_id, model_id, score, task)"
    uncounted = int(now["uncounted_rows"].sum())
    if uncounted:
        needs["cost per request"] = f"needs a number in the column 'requests' of {uncounted:,} aggregate rows"
    return needs


def _sections(cube, now, before, prices, period, on, outcomes, missing):
    """The tables that are sums of the quarter's rows."""
    users = cube.users[cube.users["period"] == str(period)]
    by_team = users[users["over"] == "team"]
    latency = (
        cube.latency[cube.latency["quarter"] == str(period)].drop(columns="quarter") if len(cube.latency) else cube.latency
    )
    empty = pd.DataFrame()
    both = pd.concat([before, now], ignore_index=True)
    compared = "variance" not in missing
    columns = [c for c in ("team", "task", "model_id") if c in now and c in before] if compared else []
    changes = [changes_by(now, before, c).rename(columns={c: "name"}).assign(by=c) for c in columns]
    return {
        "variance": variance(now, before, prices) if compared else empty,
        "changes": pd.concat(changes, ignore_index=True)[["by", "name", "before_usd", "now_usd", "change_usd"]]
        if changes
        else empty,
        "units": tables.units(now, users=users[users["over"] == "all"]),
        "teams": tables.units(now, "team", by_team) if "team" in now else empty,
        "tasks": tables.units(now, "task") if "task" in now else empty,
        "tiers": tables.tier_mix(both, prices),
        "months": tables.tier_mix(both, prices, "M"),
        "cache": tables.cache(now, prices) if "cache" not in missing else empty,
        "output": tables.output(now),
        "reliability": tables.reliability(now) if "reliability" not in missing else empty,
        "latency": latency,
        "quality": tables.quality(outcomes, prices, on) if outcomes is not None else empty,
        "coverage": tables.coverage(cube.account, now, before),
        "flags": tables.flag_counts(now),
    }


def _assumptions(cube, prices, on, margin):
    account = cube.account
    rows = {
        "prices": account.price_source, "prices seen from": account.price_as_of, "prices, sha256": account.price_sha256,
        "rates": "each row at the rates of its own day (UTC)", "days begin in": account.timezone, "engine": account.engine,
        "lineups": ", ".join(f"{d:%Y-%m-%d}" for d in prices.lineups["as_of"].drop_duplicates()) or "none",
        "variance": "Shapley values of seven factors by task, tier and model (Albrecht et al. 2002)",
        "anomalies": f"robust z against {WINDOW} days, weekdays taken out (Iglewicz and Hoaglin 1993)",
        "forecast": f"local level with drift on weekly spend at constant prices, {CONFIDENCE:.0%} band",
        "savings": f"the quarter's own tokens so far at the mean of the rates scheduled for {Ahead(prices, on).period}, "
        f"with the lineup of {on:%Y-%m-%d}; not additive",
        "margin of a move": "not given" if margin is None else f"{100 * margin:g} points",
    }  # fmt: skip
    return pd.DataFrame(rows.items(), columns=["what", "value"])
