"""The quarterly report's numbers: everything that notebook 90 shows, from the small tables of a priced usage log.

The sections of the quarterly report that are sums and shares: who spent what on which tier, and what came of it.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tierlab.core.vocabulary import BUCKETS
from tierlab.evaluate.intervals import mean_interval
from tierlab.prices.pricing import FLAGS, TIER_LABELS, in_batch, labelled, rates_at, tiers_of
from tierlab.quarter.outlook import (
    CONFIDENCE,
    WINDOW,
    Forecast,
    error_of_last,
    judged_days,
    next_quarter,
)
from tierlab.quarter.savings import (
    RETIRE_DAYS,
    Ahead,
    decisions,
    price_changes,
    reconciliation,
    retiring,
    savings,
    without_price,
)
from tierlab.quarter.variance import changes_by, variance


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
        `tierlab.quarter.analyse`, `tierlab.quarter.variance`, `tierlab.quarter.outlook`, `tierlab.quarter.savings`.
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
        held = (
            ", ".join(sorted(cube.daily["day"].dt.to_period("Q").astype(str).unique())) or "nothing"
        )
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
    table = savings(
        daily,
        prices,
        on,
        events=events,
        may_wait=may_wait,
        outcomes=outcomes,
        margin=margin,
        tasks=tasks,
    )
    future = Ahead(prices, on).period
    ahead = next_quarter(
        every, events, prices, last, (period + 1).end_time.normalize(), seed, missing
    )
    bills = reconciliation(daily, prices, billed)
    if bills.empty:
        missing["reconciliation"] = (
            "needs a column 'billed_usd' in the log, or the provider's bills (`billed`)"
        )
    unpriced_rows, unpriced_usd = without_price(cube.account, bills, str(period), unread_usd)
    return Quarter(
        quarter=str(period), start=start, end=end, last_day=last,
        complete=daily["day"].nunique() == (end - start).days + 1,
        spend_usd=float(daily["cost_usd"].sum()),
        before_usd=float(before["cost_usd"].sum()) if len(before) else float("nan"),
        budget_usd=float("nan") if budget_usd is None else float(budget_usd),
        unpriced_rows=unpriced_rows, unpriced_usd=unpriced_usd, ahead=str(future),
        spend=spend_table(daily, before, budget_usd=budget_usd),
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
        needs["variance"] = needs["changes"] = (
            "needs usage of the quarter before, in the same log or as `previous`"
        )
    for section, column in (("teams", "team"), ("tasks", "task"), ("users", "user"), ("reliability", "status"), ("retries", "attempts"),
                            ("reasoning", "reasoning_tokens"), ("batch savings", "batch")):  # fmt: skip
        if column in gone:
            needs[section] = f"needs a column {column!r} in the log"
    if "status" in gone:
        needs["truncated answers"] = (
            "needs a column 'status' in the log, with 'truncated' for answers cut off by length"
        )
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
        needs["quality"] = (
            "needs scores of the team's own examples (`outcomes`: prompt_id, model_id, score, task)"
        )
    uncounted = int(now["uncounted_rows"].sum())
    if uncounted:
        needs["cost per request"] = (
            f"needs a number in the column 'requests' of {uncounted:,} aggregate rows"
        )
    return needs


def _sections(cube, now, before, prices, period, on, outcomes, missing):
    """The tables that are sums of the quarter's rows."""
    users = cube.users[cube.users["period"] == str(period)]
    by_team = users[users["over"] == "team"]
    latency = (
        cube.latency[cube.latency["quarter"] == str(period)].drop(columns="quarter")
        if len(cube.latency)
        else cube.latency
    )
    empty = pd.DataFrame()
    both = pd.concat([before, now], ignore_index=True)
    compared = "variance" not in missing
    columns = (
        [c for c in ("team", "task", "model_id") if c in now and c in before] if compared else []
    )
    changes = [changes_by(now, before, c).rename(columns={c: "name"}).assign(by=c) for c in columns]
    return {
        "variance": variance(now, before, prices) if compared else empty,
        "changes": pd.concat(changes, ignore_index=True)[
            ["by", "name", "before_usd", "now_usd", "change_usd"]
        ]
        if changes
        else empty,
        "units": units(now, users=users[users["over"] == "all"]),
        "teams": units(now, "team", by_team) if "team" in now else empty,
        "tasks": units(now, "task") if "task" in now else empty,
        "tiers": tier_mix(both, prices),
        "months": tier_mix(both, prices, "M"),
        "cache": cache(now, prices) if "cache" not in missing else empty,
        "output": output(now),
        "reliability": reliability(now) if "reliability" not in missing else empty,
        "latency": latency,
        "quality": quality(outcomes, prices, on) if outcomes is not None else empty,
        "coverage": coverage(cube.account, now, before),
        "flags": flag_counts(now),
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


INPUT_TOKENS = tuple(f"{bucket}_tokens" for bucket in BUCKETS[:4])
_FAILED_NOT = ("ok", "truncated")


def spend_table(now, before, *, budget_usd=None):
    """Spend against the budget and the quarter before: a row each of spend, budget, quarter before."""
    spend = float(now["cost_usd"].sum())
    rows = [("this quarter", spend)]
    rows += [("budget", float(budget_usd))] if budget_usd is not None else []
    rows += [("quarter before", float(before["cost_usd"].sum()))] if len(before) else []
    table = pd.DataFrame(rows, columns=["what", "usd"])
    ratio = table["usd"].where(table["usd"] > 0)
    return table.assign(difference_usd=spend - table["usd"], ratio=spend / ratio)


def units(now, column=None, users=None):
    """Unit economics: cost per request, per thousand tokens and, where users are known, per active user.

    Parameters
    ----------
    now : DataFrame
        Rows of `Cube.daily`.
    column : {"team", "task"}, optional
        By what; by default all together, as name "all".
    users : DataFrame, optional
        Rows of `Cube.users` of the quarter, over the same.

    Returns
    -------
    DataFrame
        name, cost_usd, share (of spend), requests, usd_per_request (NaN where a row does not count its requests),
        tokens_per_request, usd_per_1k_tokens, and active_users, usd_per_active_user, top_users, top_share (the share
        of the cost that the top 5 % of users make).
    """
    tokens = now[[f"{bucket}_tokens" for bucket in BUCKETS]].sum(axis=1)
    name = labelled(now[column]) if column else pd.Series("all", now.index)
    table = (
        now[["cost_usd", "requests", "uncounted_rows"]]
        .assign(tokens=tokens)
        .groupby(name)
        .sum()
        .rename_axis("name")
    )
    counted = table["requests"].where((table["uncounted_rows"] == 0) & (table["requests"] > 0))
    table = pd.DataFrame(
        {
            "cost_usd": table["cost_usd"],
            "share": table["cost_usd"] / table["cost_usd"].sum(),
            "requests": counted,
            "usd_per_request": table["cost_usd"] / counted,
            "tokens_per_request": table["tokens"] / counted,
            "usd_per_1k_tokens": 1000
            * table["cost_usd"]
            / table["tokens"].where(table["tokens"] > 0),
        }
    )
    if users is not None and len(users):
        users = users.set_index(
            labelled(users[column]) if column else pd.Index(["all"] * len(users))
        )
        table = table.join(users[["active_users", "top_users", "top_share"]])
        # Cost of rows that name a user over the users; rows without a user have nobody to divide by.
        table.insert(
            table.columns.get_loc("top_users"),
            "usd_per_active_user",
            users["cost_usd"] / users["active_users"],
        )
    return table.sort_values("cost_usd", ascending=False, kind="stable").reset_index()


def tier_mix(daily, prices, unit="Q"):
    """Share of requests, tokens and spend by tier of the lineup of the day, per quarter ("Q") or month ("M").

    Returns
    -------
    DataFrame
        period, tier, cost_usd, requests, tokens, spend_share, request_share, token_share, usd_per_mtok.
    """
    tokens = daily[[f"{bucket}_tokens" for bucket in BUCKETS]].sum(axis=1)
    tier = pd.Categorical(
        tiers_of(prices, daily["model_id"], daily["day"]), TIER_LABELS, ordered=True
    )
    table = daily[["cost_usd", "requests"]].assign(
        tokens=tokens, period=daily["day"].dt.to_period(unit).astype(str), tier=tier
    )
    table = table.groupby(["period", "tier"], observed=True).sum().reset_index()
    whole = table.groupby("period")[["cost_usd", "requests", "tokens"]].transform("sum")
    table["spend_share"], table["request_share"] = (
        table["cost_usd"] / whole["cost_usd"],
        table["requests"] / whole["requests"],
    )
    table["token_share"] = table["tokens"] / whole["tokens"]
    return table.assign(
        usd_per_mtok=1e6 * table["cost_usd"] / table["tokens"].where(table["tokens"] > 0)
    )


def cache(now, prices):
    """Cache hit rate and net saving, by model.

    Returns
    -------
    DataFrame
        model_id, input_tokens, hit_rate (read over all input, 0-1), saved_usd (reads at the input rate, minus what
        they cost), premium_usd (what writes cost beyond plain input), net_usd; the last row is "all".

    Notes
    -----
    Net saving = reads x (input rate - read rate) - writes x (write rate - input rate), each row at its own day's rates.
    """
    rates = rates_at(prices, now["model_id"], now["day"], in_batch(now))
    tokens = now[[f"{bucket}_tokens" for bucket in BUCKETS]].to_numpy(float)
    gap = np.where(tokens[:, :4] > 0, tokens[:, :4] * (rates[:, :1] - rates[:, :4]), 0.0)
    table = pd.DataFrame(
        {"model_id": now["model_id"].astype(object), "input_tokens": tokens[:, :4].sum(axis=1)}
    )
    table = table.assign(
        read=tokens[:, 1], saved_usd=gap[:, 1], premium_usd=-(gap[:, 2] + gap[:, 3])
    )
    table = (
        table.groupby("model_id", as_index=False)
        .sum()
        .sort_values("input_tokens", ascending=False, kind="stable")
    )
    table = pd.concat(
        [table, table.sum(numeric_only=True).to_frame().T.assign(model_id="all")], ignore_index=True
    )
    table["hit_rate"] = table["read"] / table["input_tokens"].where(table["input_tokens"] > 0)
    table["net_usd"] = table["saved_usd"] - table["premium_usd"]
    return table[["model_id", "input_tokens", "hit_rate", "saved_usd", "premium_usd", "net_usd"]]


def output(now):
    """Reasoning share, output over input, and truncated share, by model; the last row is "all".

    Returns
    -------
    DataFrame
        model_id, output_tokens, output_over_input, output_usd_share, and reasoning_share (of output tokens),
        truncated_share (of requests) where the log has reasoning_tokens and status.
    """
    table = pd.DataFrame(
        {"model_id": now["model_id"].astype(object), "input": now[list(INPUT_TOKENS)].sum(axis=1)}
    )
    table = table.join(now[["output_tokens", "output_usd", "cost_usd", "requests"]])
    if "reasoning_tokens" in now:
        table["reasoning"] = now["reasoning_tokens"]
    if "status" in now:
        table["cut"] = now["requests"].where(now["status"] == "truncated", 0)
    table = (
        table.groupby("model_id", as_index=False)
        .sum()
        .sort_values("output_tokens", ascending=False, kind="stable")
    )
    table = pd.concat(
        [table, table.sum(numeric_only=True).to_frame().T.assign(model_id="all")], ignore_index=True
    )
    result = table[["model_id", "output_tokens"]].assign(
        output_over_input=table["output_tokens"] / table["input"].where(table["input"] > 0),
        output_usd_share=table["output_usd"] / table["cost_usd"].where(table["cost_usd"] > 0),
    )
    if "reasoning" in table:
        result["reasoning_share"] = table["reasoning"] / table["output_tokens"].where(
            table["output_tokens"] > 0
        )
    if "cut" in table:
        result["truncated_share"] = table["cut"] / table["requests"].where(table["requests"] > 0)
    return result


def reliability(now):
    """Requests and spend by status, and what second attempts may have cost.

    Returns
    -------
    DataFrame
        status, failed, requests, share (of requests), cost_usd, and extra_attempts, retry_usd where the log has
        attempts.

    Notes
    -----
    A log says how often a request was tried, not what each attempt cost: retry_usd = cost x extra / attempts takes the
    attempts of a request as equally expensive and all of them as logged.
    """
    status = labelled(now["status"]) if "status" in now else pd.Series("not recorded", now.index)
    columns = {"requests": now["requests"], "cost_usd": now["cost_usd"]}
    if "attempts" in now:
        extra = (now["attempts"] - now["requests"]).clip(lower=0)
        columns |= {
            "extra_attempts": extra,
            "retry_usd": now["cost_usd"] * extra / now["attempts"].where(now["attempts"] > 0),
        }
    table = pd.DataFrame(columns).groupby(status).sum().rename_axis("status").reset_index()
    table.insert(1, "failed", ~table["status"].isin((*_FAILED_NOT, "not recorded", "(none)")))
    table.insert(3, "share", table["requests"] / max(table["requests"].sum(), 1))
    return table.sort_values("requests", ascending=False, kind="stable").reset_index(drop=True)


def quality(outcomes, prices, on, *, confidence=0.95):
    """Mean score per task and model with its interval.

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
        task, tier, model_id, prompts, score, low, high, method (Wilson's for right-or-wrong scores), last_at where
        the table has times.
    """
    task = labelled(outcomes["task"]) if "task" in outcomes else pd.Series("(none)", outcomes.index)
    rows = []
    for (name, model_id), own in outcomes.groupby([task, outcomes["model_id"].astype(str)]):
        scores = own["score"].astype(float)
        if scores.isna().any():
            raise ValueError(
                f"{int(scores.isna().sum()):,} scores of {model_id!r} on {name!r} are missing; set those rows aside by name"
            )
        binary = scores.isin([0, 1]).all() and own["prompt_id"].is_unique
        low, high, method = mean_interval(
            scores, own["prompt_id"].to_numpy(), binary=binary, confidence=confidence
        )
        row = {
            "task": name,
            "model_id": model_id,
            "prompts": len(scores),
            "score": scores.mean(),
            "low": low,
            "high": high,
        }
        row |= {"method": method} | ({"last_at": own["at"].max()} if "at" in own else {})
        rows.append(row)
    table = pd.DataFrame(rows)
    table.insert(1, "tier", tiers_of(prices, table["model_id"], [on] * len(table)))
    return table


def coverage(account, now, before):
    """What became of the log's rows (`tierlab.quarter.aggregate.Account`), and the days without usage: what, count."""
    rows = [("rows read", account.rows_read), ("rows priced", account.rows_priced)]
    for aside in account.set_aside.itertuples():
        who = f" ({aside.model_id})" if isinstance(aside.model_id, str) else ""
        rows.append((f"set aside: {aside.reason}{who}", aside.rows))
    period = now["day"].iloc[0].to_period("Q")
    rows += [
        ("rows of the quarter", int(now["rows"].sum())),
        ("days of the quarter without usage", _gaps(now, period)),
    ]
    rows += (
        [("days of the quarter before without usage", _gaps(before, period - 1))]
        if len(before)
        else []
    )
    return pd.DataFrame(rows, columns=["what", "count"])


def _gaps(rows, period):
    return (period.end_time.normalize() - period.start_time).days + 1 - rows["day"].nunique()


def flag_counts(now):
    """What had to be assumed in pricing: flag, rows that carry it, models."""
    rows = [
        (flag, int(now[flag].sum()), ", ".join(sorted(now.loc[now[flag] > 0, "model_id"].unique())))
        for flag in FLAGS
        if flag in now and now[flag].sum() > 0
    ]
    return pd.DataFrame(rows, columns=["flag", "rows", "models"])
