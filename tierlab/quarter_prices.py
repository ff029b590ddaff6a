"""The sections of the quarterly report that set own tokens against other prices: changes, retirements, bills."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from tierlab.catalog import Prices
from tierlab.repriced import TIER_LABELS, changes_of, on_model, repriced, tiers_of

RETIRE_DAYS = 180


@dataclass(frozen=True, eq=False)
class Ahead:
    """A quarter's own tokens in the first whole quarter from a day on, at the mean of the rates scheduled for it.

    Attributes
    ----------
    prices : Prices
        The catalogue, whose rates priced the tokens.
    on : Timestamp
        The day on which one stands.
    """

    prices: Prices
    on: pd.Timestamp

    @cached_property
    def period(self):
        quarter = self.on.to_period("Q")
        return quarter if self.on == quarter.start_time else quarter + 1

    @cached_property
    def rates(self):
        """The catalogue with the mean rates of the quarter ahead."""
        return self.prices.over(self.period.start_time, self.period.end_time)

    def cost(self, rows, *, batch=None):
        """US dollars of the rows' tokens on their own models; NaN where a rate is not known."""
        return float(repriced(rows, self.prices, self.rates.as_of, batch=batch, ahead=self.rates).sum(skipna=False))

    def cost_on(self, rows, model_id):
        """US dollars of the rows' tokens on another model."""
        return float(on_model(rows, self.rates, model_id, self.rates.as_of).sum(skipna=False))

    @cached_property
    def _scheduled(self):
        seen = replace(self.prices, as_of=self.on)
        return seen.scheduled(list(self.prices.rows_of), self.period.end_time)

    def changes(self, *models):
        """What is scheduled for some models up to the end of the quarter ahead, with its dates; "" for nothing."""
        return "; ".join(f"{model} costs {self._scheduled[model]}" for model in models if model in self._scheduled)


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
        the day `on`, "" if that is the model itself or none), successor_usd, at the mean rates of the first whole
        quarter from `on`, and scheduled: which of the successor's rates change until its end, "" for none.
    """
    ahead = Ahead(prices, pd.Timestamp(on))
    known = prices.by_model
    own = known.loc[known.index.isin(now["model_id"].unique()) & (known["retires_on"] <= pd.Timestamp(by)), ["retires_on"]]
    columns = ["model_id", "retires_on", "spend_usd", "share", "last_used", "successor", "successor_usd", "scheduled"]
    rows = []
    for model_id, when in own["retires_on"].items():
        part = now[now["model_id"] == model_id]
        after = successor(prices, model_id, on)
        cost = ahead.cost_on(part, after) if after else np.nan
        usd = part["cost_usd"].sum()
        rows.append((model_id, when, usd, usd / now["cost_usd"].sum(), part["day"].max(), after, cost, ahead.changes(after)))
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


def without_price(account, bills, quarter, unread_usd=0.0):
    """What was used or billed in a quarter and has no price.

    Parameters
    ----------
    account : tierlab.cube.Account
    bills : DataFrame
        From `reconciliation`: what is billed by a provider of which the log has no usage has no price either.
    quarter : str
    unread_usd : float
        US dollars of rows that no reader could turn into tokens.

    Returns
    -------
    rows : int
    usd : float
        US dollars billed for it; NaN where the log does not say.
    """
    own = account.unpriced[account.unpriced["quarter"].isin([quarter, ""])]
    rows, usd = int(own["rows"].sum()), own["billed_usd"].sum(min_count=1)
    others = bills.loc[(bills["against"] == "bills") & (bills["priced_usd"] == 0), "billed_usd"].sum() + unread_usd
    known = others + (usd if usd == usd else 0.0)
    return rows, float("nan") if rows and usd != usd and not known else float(known)


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
