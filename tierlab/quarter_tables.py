"""The sections of the quarterly report that are sums and shares: who spent what on which tier, and what came of it."""

import numpy as np
import pandas as pd

from tierlab.intervals import mean_interval
from tierlab.names import BUCKETS
from tierlab.pricing import FLAGS
from tierlab.repriced import TIER_LABELS, in_batch, labelled, rates_at, tiers_of

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
    table = now[["cost_usd", "requests", "uncounted_rows"]].assign(tokens=tokens).groupby(name).sum().rename_axis("name")
    counted = table["requests"].where((table["uncounted_rows"] == 0) & (table["requests"] > 0))
    table = pd.DataFrame(
        {
            "cost_usd": table["cost_usd"],
            "share": table["cost_usd"] / table["cost_usd"].sum(),
            "requests": counted,
            "usd_per_request": table["cost_usd"] / counted,
            "tokens_per_request": table["tokens"] / counted,
            "usd_per_1k_tokens": 1000 * table["cost_usd"] / table["tokens"].where(table["tokens"] > 0),
        }
    )
    if users is not None and len(users):
        users = users.set_index(labelled(users[column]) if column else pd.Index(["all"] * len(users)))
        table = table.join(users[["active_users", "top_users", "top_share"]])
        # Cost of rows that name a user over the users; rows without a user have nobody to divide by.
        table.insert(table.columns.get_loc("top_users"), "usd_per_active_user", users["cost_usd"] / users["active_users"])
    return table.sort_values("cost_usd", ascending=False, kind="stable").reset_index()


def tier_mix(daily, prices, unit="Q"):
    """Share of requests, tokens and spend by tier of the lineup of the day, per quarter ("Q") or month ("M").

    Returns
    -------
    DataFrame
        period, tier, cost_usd, requests, tokens, spend_share, request_share, token_share, usd_per_mtok.
    """
    tokens = daily[[f"{bucket}_tokens" for bucket in BUCKETS]].sum(axis=1)
    tier = pd.Categorical(tiers_of(prices, daily["model_id"], daily["day"]), TIER_LABELS, ordered=True)
    table = daily[["cost_usd", "requests"]].assign(tokens=tokens, period=daily["day"].dt.to_period(unit).astype(str), tier=tier)
    table = table.groupby(["period", "tier"], observed=True).sum().reset_index()
    whole = table.groupby("period")[["cost_usd", "requests", "tokens"]].transform("sum")
    table["spend_share"], table["request_share"] = table["cost_usd"] / whole["cost_usd"], table["requests"] / whole["requests"]
    table["token_share"] = table["tokens"] / whole["tokens"]
    return table.assign(usd_per_mtok=1e6 * table["cost_usd"] / table["tokens"].where(table["tokens"] > 0))


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
    table = pd.DataFrame({"model_id": now["model_id"].astype(object), "input_tokens": tokens[:, :4].sum(axis=1)})
    table = table.assign(read=tokens[:, 1], saved_usd=gap[:, 1], premium_usd=-(gap[:, 2] + gap[:, 3]))
    table = table.groupby("model_id", as_index=False).sum().sort_values("input_tokens", ascending=False, kind="stable")
    table = pd.concat([table, table.sum(numeric_only=True).to_frame().T.assign(model_id="all")], ignore_index=True)
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
    table = pd.DataFrame({"model_id": now["model_id"].astype(object), "input": now[list(INPUT_TOKENS)].sum(axis=1)})
    table = table.join(now[["output_tokens", "output_usd", "cost_usd", "requests"]])
    if "reasoning_tokens" in now:
        table["reasoning"] = now["reasoning_tokens"]
    if "status" in now:
        table["cut"] = now["requests"].where(now["status"] == "truncated", 0)
    table = table.groupby("model_id", as_index=False).sum().sort_values("output_tokens", ascending=False, kind="stable")
    table = pd.concat([table, table.sum(numeric_only=True).to_frame().T.assign(model_id="all")], ignore_index=True)
    result = table[["model_id", "output_tokens"]].assign(
        output_over_input=table["output_tokens"] / table["input"].where(table["input"] > 0),
        output_usd_share=table["output_usd"] / table["cost_usd"].where(table["cost_usd"] > 0),
    )
    if "reasoning" in table:
        result["reasoning_share"] = table["reasoning"] / table["output_tokens"].where(table["output_tokens"] > 0)
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
        columns |= {"extra_attempts": extra, "retry_usd": now["cost_usd"] * extra / now["attempts"].where(now["attempts"] > 0)}
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
        low, high, method = mean_interval(scores, own["prompt_id"].to_numpy(), binary=binary, confidence=confidence)
        row = {"task": name, "model_id": model_id, "prompts": len(scores), "score": scores.mean(), "low": low, "high": high}
        row |= {"method": method} | ({"last_at": own["at"].max()} if "at" in own else {})
        rows.append(row)
    table = pd.DataFrame(rows)
    table.insert(1, "tier", tiers_of(prices, table["model_id"], [on] * len(table)))
    return table


def coverage(account, now, before):
    """What became of the log's rows (`tierlab.cube.Account`), and the days without usage: what, count."""
    rows = [("rows read", account.rows_read), ("rows priced", account.rows_priced)]
    for aside in account.set_aside.itertuples():
        who = f" ({aside.model_id})" if isinstance(aside.model_id, str) else ""
        rows.append((f"set aside: {aside.reason}{who}", aside.rows))
    period = now["day"].iloc[0].to_period("Q")
    rows += [("rows of the quarter", int(now["rows"].sum())), ("days of the quarter without usage", _gaps(now, period))]
    rows += [("days of the quarter before without usage", _gaps(before, period - 1))] if len(before) else []
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
