"""The sections of the quarterly report that set own tokens against other prices: changes, retirements, bills."""

import numpy as np
import pandas as pd

from tierlab.repriced import TIER_LABELS, changes_of, on_model, repriced, tiers_of

RETIRE_DAYS = 180


def price_changes(now, prices, start, end):
    """Dated changes of the models in use, repriced on the team's own tokens of the quarter.

    Parameters
    ----------
    now : DataFrame
        Rows of `Cube.daily` of the quarter.
    start, end : Timestamp
        The changes after `start` and up to `end`; one after the last day is scheduled.

    Returns
    -------
    DataFrame
        on, model_id, change (in words, USD per million tokens), scheduled, tokens_from (from which day the tokens
        are counted), before_usd, after_usd, effect_usd: what those tokens cost at the rates of the day before the
        change and of the day itself. A change in the quarter is priced on the tokens from that day on, a scheduled
        one on the whole quarter's. NaN where a mode ends that the log does not tell apart.
    """
    columns = ["on", "model_id", "change", "scheduled", "tokens_from", "before_usd", "after_usd", "effect_usd"]
    changes = changes_of(prices, now["model_id"].unique(), start, end)
    rows, last = [], now["day"].max()
    for (on, model_id), part in changes.groupby(["on", "model_id"], sort=False):
        own = now[now["model_id"] == model_id]
        scheduled = bool(on > last)
        own = own if scheduled else own[own["day"] >= on]
        base = part[(part["kind"] == "rate") & (part["context_above"] == 0)].sort_values("rate", ascending=False)
        words = [f"{r.rate.replace('uncached_', '').replace('_', ' ')} {r.before:g} to {r.after:g}" for r in base.itertuples()]
        words += [f"{rate} ends" for rate in part.loc[part["kind"] == "end", "rate"]]
        costs = [repriced(own, prices, day).sum(skipna=False) for day in (on - pd.Timedelta(days=1), on)]
        costs = costs if (part["kind"] == "rate").any() else [np.nan, np.nan]
        rows.append((on, model_id, ", ".join(words), scheduled, own["day"].min(), *costs, costs[1] - costs[0]))
    return pd.DataFrame(rows, columns=columns)


def retiring(now, prices, by, on):
    """Spend of the quarter on models that retire up to a day, and what their tokens cost on the lineup's model.

    Returns
    -------
    DataFrame
        model_id, retires_on, spend_usd, share, last_used, then successor (same provider and tier in the lineup of
        the day `on`, "" if that is the model itself or none) and successor_usd, at the rates of `on`.
    """
    known = prices.by_model
    own = known.loc[known.index.isin(now["model_id"].unique()) & (known["retires_on"] <= pd.Timestamp(by)), ["retires_on"]]
    columns = ["model_id", "retires_on", "spend_usd", "share", "last_used", "successor", "successor_usd"]
    rows = []
    for model_id, when in own["retires_on"].items():
        part = now[now["model_id"] == model_id]
        after = successor(prices, model_id, on)
        cost = on_model(part, prices, after, on).sum(skipna=False) if after else np.nan
        usd = part["cost_usd"].sum()
        rows.append((model_id, when, usd, usd / now["cost_usd"].sum(), part["day"].max(), after, cost))
    return pd.DataFrame(rows, columns=columns).sort_values("retires_on").reset_index(drop=True)


def successor(prices, model_id, on, *, steps_down=0):
    """The lineup's model of the same provider on a day, of the same tier or one `steps_down` lower.

    "" where the model has no tier, is that model itself, or the lineup's retires within 180 days.
    """
    known = prices.by_model
    ladder, on = list(TIER_LABELS[:3]), pd.Timestamp(on)
    tier = tiers_of(prices, [model_id], [on])[0]
    place = ladder.index(tier) + steps_down if tier in ladder else len(ladder)
    if place >= len(ladder) or len(prices.lineups) == 0:
        return ""
    table = prices.lineup(max(on, prices.lineups["as_of"].min()))
    provider = known.at[model_id, "provider"]
    name = table.at[provider, ladder[place]] if provider in table.index else None
    if pd.isna(name) or name == model_id or known.at[name, "retires_on"] <= on + pd.Timedelta(days=RETIRE_DAYS):
        return ""
    return name


def reconciliation(now, prices, billed=None):
    """Priced spend against what was billed, by month and provider.

    Parameters
    ----------
    now : DataFrame
        Rows of `Cube.daily` of the quarter.
    billed : DataFrame, optional
        `Usage.billed`: day, provider, usd (US dollars).

    Returns
    -------
    DataFrame
        month, provider, against ("billed_usd of the rows" or "bills"), priced_usd, billed_usd, difference_usd
        (priced minus billed), ratio (priced over billed, minus 1), uncovered_usd (priced spend of groups in which
        some row has no billed_usd).
    """
    provider = now["model_id"].map(prices.by_model["provider"])
    month = now["day"].dt.to_period("M").astype(str)
    parts = []
    if "billed_usd" in now and now["billed_rows"].sum() > 0:
        whole = now["billed_rows"] == now["rows"]
        table = pd.DataFrame({"month": month, "provider": provider, "priced_usd": now["cost_usd"].where(whole, 0.0),
                              "billed_usd": now["billed_usd"].where(whole, 0.0), "uncovered_usd": now["cost_usd"].where(~whole, 0.0)})  # fmt: skip
        parts.append(table.groupby(["month", "provider"], as_index=False).sum().assign(against="billed_usd of the rows"))
    if billed is not None and len(billed):
        day = pd.to_datetime(billed["day"])
        inside = day.between(now["day"].min().to_period("Q").start_time, now["day"].max().to_period("Q").end_time)
        bills = billed[inside].assign(month=day[inside].dt.to_period("M").astype(str))
        sums = bills.groupby(["month", "provider"])["usd"].sum().rename("billed_usd")
        priced = now["cost_usd"].groupby([month.rename("month"), provider.rename("provider")]).sum().rename("priced_usd")
        table = pd.concat([priced, sums], axis=1).fillna(0.0).rename_axis(["month", "provider"]).reset_index()
        parts.append(table.assign(against="bills", uncovered_usd=0.0))
    columns = ["month", "provider", "against", "priced_usd", "billed_usd", "difference_usd", "ratio", "uncovered_usd"]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
    table["difference_usd"] = table["priced_usd"] - table["billed_usd"]
    table["ratio"] = table["priced_usd"] / table["billed_usd"].where(table["billed_usd"] != 0) - 1
    return table[columns]
