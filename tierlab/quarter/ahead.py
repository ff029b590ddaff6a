"""What a quarter's own tokens cost elsewhere: under a contract, in the quarter ahead, on another model.

Price changes and retirements are told by what they do to these tokens.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from tierlab.prices.catalog import Prices
from tierlab.prices.contract import Contract, settle
from tierlab.prices.daily import (
    TIER_LABELS,
    at_base,
    in_batch,
    on_model,
    rates_at,
    repriced,
    repriced_parts,
    tiers_of,
)
from tierlab.prices.pricing import PARTS
from tierlab.quarter.engine import TOKENS

RETIRE_DAYS = 180  # a model that retires sooner replaces no other

_BOUGHT = ("platform", "region", "service_tier")


@dataclass(frozen=True, eq=False)
class Deal:
    """A contract in one quarter.

    Attributes
    ----------
    contract : Contract
    prices : Prices
        The catalogue that knows the models' makers and the contract's names.
    period : Period
        The quarter. A commitment over a year or a term counts with this quarter's part of it, and what is unused counts
        as due even if it could be carried over: a quarter alone cannot say what a year will use.
    rows : DataFrame
        All the usage of the quarter, from `contract_rows`.
    """

    contract: Contract
    prices: Prices
    period: pd.Period
    rows: pd.DataFrame = field(repr=False)

    @cached_property
    def terms(self):
        """The contract's clauses that hold in the quarter, cut to it."""
        first, last = self.period.start_time.date(), self.period.end_time.date()
        days, kept = (last - first).days + 1, []
        for one in self.contract.commitments:
            since, until = one.start or first, one.end or last
            if one.shortfall == "forgive" or since > last or until < first:
                continue
            term = (until - since).days + 1
            part = {"year": 0.25, "term": days / max(term, days)}.get(one.every, 1.0)
            every = one.every if one.every in ("month", "quarter") else "quarter"
            own = {"usd": one.usd * part, "every": every, "shortfall": "pay"}
            kept.append(one.model_copy(update=own | {"start": first, "end": None}))
        capacity = [
            one.model_copy(update={"start": max(one.start, first)})
            for one in self.contract.provisioned
            if one.start <= last and (one.end is None or one.end >= first)
        ]
        return self.contract.model_copy(update={"commitments": kept, "provisioned": capacity})

    def cost(self, rows):
        """Return the contracted and the effective cost of rows of the quarter (US dollars).

        Parameters
        ----------
        rows : DataFrame
            From `contract_rows`, changed or not.
        """
        requests = rows.drop(columns=[*PARTS, "other_usd"])
        priced = rows[list(PARTS)].assign(cost_usd=rows[[*PARTS, "other_usd"]].sum(axis=1))
        found = settle(requests, priced, self.prices, self.terms, until=self.period.end_time)
        contracted = float(found.rows["contracted_usd"].sum())
        return contracted, contracted + float(found.lines["usd"].sum())

    def saving(self, *changes):
        """Return what changes save: contracted and effective (US dollars).

        Parameters
        ----------
        changes : (DataFrame, DataFrame)
            Rows of the quarter before and after the change. Before may hold more than there were: an event that began
            late in the quarter runs for all of the next.
        """
        rest = self.rows.drop(index=[place for _, after in changes for place in after.index])
        before = self.cost(pd.concat([rest, *(one for one, _ in changes)]))
        after = self.cost(pd.concat([rest, *(one for _, one in changes)]))
        return before[0] - after[0], before[1] - after[1]


def contract_rows(daily, usd, period):
    """Return rows for a `Deal`: tokens and US dollars by part, moved into its quarter day by day.

    Parameters
    ----------
    daily : DataFrame
        Rows of `Cube.daily`.
    usd : ndarray, shape (n, 4)
        US dollars by `PARTS`, at list.
    period : Period
    """
    start = daily["day"].dt.to_period("Q").dt.start_time
    at = period.start_time + (daily["day"] - start)
    bought = {}
    if "offer" in daily:
        for name in _BOUGHT:
            said = daily["offer"].map(lambda offer, name=name: getattr(offer, name) or None)
            bought[name] = daily[name].fillna(said) if name in daily else said
    rows = (
        daily[list(TOKENS)]
        .astype(float)
        .assign(
            other_usd=daily.get("other_usd", 0.0),
            model_id=daily.get("spelt", daily["model_id"]).astype(object),
            batch=in_batch(daily),
            at=at.clip(upper=period.end_time.normalize()),
            **bought,
        )
    )
    return with_parts(rows, usd)


def with_parts(rows, usd):
    """Return rows with other US dollars by part, shape (n, 4)."""
    return rows.assign(**dict(zip(PARTS, np.asarray(usd, float).T, strict=True)))


def times(rows, factor):
    """Return rows with their tokens and dollars multiplied."""
    own = [*TOKENS, *PARTS, "other_usd"]
    return rows.assign(**{name: rows[name] * factor for name in own})


def without_cache(rows, usd):
    """Return rows with all their input uncached, which costs `usd` by part."""
    given = rows[list(TOKENS[:4])].sum(axis=1)
    none = dict.fromkeys(TOKENS[1:4], 0.0) | {TOKENS[0]: given}
    return with_parts(rows.assign(**none), usd)


def paid_share(rows):
    """Return what rows of `Cube.daily` cost under the contract over what they cost at list."""
    return rows["contracted_usd"].sum() / rows["cost_usd"].sum()


def forecast_paid(totals, recent, contract, prices):
    """Price a forecast under a contract, with the mix of recent usage.

    Parameters
    ----------
    totals : DataFrame
        Of `Forecast`: index period; usd, low and high at list prices, days.
    recent : DataFrame
        Rows of `Cube.daily`.
    contract : Contract
    prices : Prices

    Returns
    -------
    DataFrame
        `totals` with contracted_usd, effective_usd, effective_low and effective_high. They are NaN for months, and for a
        quarter of which a part is past: what stays unused depends on that part.
    """
    listed, usd = float(recent["cost_usd"].sum()), recent[list(PARTS)].to_numpy()
    columns = ["contracted_usd", "effective_usd", "effective_low", "effective_high"]
    paid = pd.DataFrame(np.nan, totals.index, columns)
    for quarter in totals.index[totals["days"] > 31]:
        period = pd.Period(quarter, freq="Q")
        months = pd.period_range(period.start_time, period.end_time, freq="M").astype(str).tolist()
        if not set(months) <= set(totals.index):
            continue
        deal = Deal(contract, prices, period, recent)
        rows = contract_rows(recent, usd, period)
        costs = []
        for column in ("usd", "low", "high"):
            # A quarter's own quantile is not the sum of its months': the months are scaled to it.
            scale = totals.at[quarter, column] / totals.loc[months, column].sum()
            parts = [
                times(rows, scale * totals.at[month, column] / listed).assign(
                    at=pd.Timestamp(month)
                )
                for month in months
            ]
            costs.append(deal.cost(pd.concat(parts, ignore_index=True)))
        paid.loc[quarter] = [costs[0][0], *(effective for _, effective in costs)]
    return totals.join(paid)


@dataclass(frozen=True, eq=False)
class Ahead:
    """A quarter's own tokens in the first whole quarter from a day on, at the mean of the rates scheduled for it.

    Attributes
    ----------
    prices : Prices
        The catalogue, whose rates priced the tokens.
    on : Timestamp
        The day of the report.
    now : DataFrame, optional
        Rows of `Cube.daily` of the quarter.
    contract : Contract, optional
        The contract that they are under.
    """

    prices: Prices
    on: pd.Timestamp
    now: pd.DataFrame | None = None
    contract: Contract | None = None

    @cached_property
    def deal(self):
        """The quarter's own tokens in the quarter ahead under the contract."""
        usd = repriced_parts(self.now, self.prices, self.rates.as_of, ahead=self.rates)
        rows = contract_rows(self.now, usd, self.period)
        return Deal(self.contract, self.prices, self.period, rows)

    def change(self, proposal):
        """Return the rows that a proposal concerns, before and after it, for `Deal.saving`."""
        own, rates = proposal.get("daily", proposal["rows"]), self.rates
        rows, to = self.deal.rows.loc[own.index], proposal.get("to")
        if to:
            usd = at_base(own, rates_at(rates, [to] * len(own), rates.as_of, in_batch(own)))
            # Another model is bought at its maker's standard price.
            plain = rows.drop(columns=[name for name in _BOUGHT if name in rows])
            return rows, with_parts(plain.assign(model_id=to), usd)
        if proposal["kind"] == "batch":
            usd = repriced_parts(own, self.prices, rates.as_of, batch=True, ahead=rates)
            return rows, with_parts(rows.assign(batch=True), usd)
        listed = rows[[*PARTS, "other_usd"]].to_numpy().sum()
        share = proposal["usd"] / listed if listed > 0 else 0.0
        # What runs for a part of the quarter costs more in a whole one.
        return times(rows, max(share, 1.0)), times(rows, max(1.0 - share, 0.0))

    @cached_property
    def period(self):
        quarter = self.on.to_period("Q")
        return quarter if self.on == quarter.start_time else quarter + 1

    @cached_property
    def rates(self):
        """The catalogue with the mean rates of the quarter ahead."""
        return self.prices.over(self.period.start_time, self.period.end_time)

    def cost(self, rows, *, batch=None):
        """Return what the rows' tokens cost on their own models (US dollars); NaN where a rate is not known."""
        usd = repriced(rows, self.prices, self.rates.as_of, batch=batch, ahead=self.rates)
        return float(usd.sum(skipna=False))

    def cost_on(self, rows, model_id):
        """Return what the rows' tokens cost on another model (US dollars)."""
        return float(on_model(rows, self.rates, model_id, self.rates.as_of).sum(skipna=False))

    @cached_property
    def _scheduled(self):
        seen = replace(self.prices, as_of=self.on)
        # Only what is used and what could replace it is asked for: a catalogue has hundreds of models.
        asked = {*seen.lineups["model_id"], *([] if self.now is None else self.now["model_id"])}
        return seen.scheduled(
            [name for name in asked if name in seen.rows_of], self.period.end_time
        )

    def changes(self, *models):
        """Say what is scheduled for models up to the end of the quarter ahead, with its dates; return "" for nothing."""
        return "; ".join(
            f"{model} costs {self._scheduled[model]}"
            for model in models
            if model in self._scheduled
        )


def price_changes(now, prices, start, end):
    """Reprice the quarter's own tokens for each dated price change of the models in use.

    Parameters
    ----------
    now : DataFrame
        Rows of `Cube.daily` of the quarter.
    prices : Prices
    start, end : Timestamp
        Changes count after `start` and up to `end`; one after the last day of usage is scheduled.

    Returns
    -------
    DataFrame
        on, model_id, change (in words, USD per million tokens), scheduled, tokens_from (the day from which tokens
        count), before_usd, after_usd, effect_usd: what those tokens cost at the rates of the day before the
        change and of the day itself. A change in the quarter is priced on the tokens from that day on, a scheduled
        one on the whole quarter's. NaN where a mode ends that the log does not tell apart. Under a contract
        contracted_usd: the effect at the share of the list price that those tokens cost under it.
    """
    columns = ["on", "model_id", "change", "scheduled", "tokens_from", "before_usd", "after_usd"]
    changes = prices.changes(start, end, models=now["model_id"].unique())
    rows, ratios = [], []
    for (on, model_id), part in changes.groupby(["on", "model_id"], sort=False):
        own, scheduled = now[now["model_id"] == model_id], bool(on > now["day"].max())
        own = own if scheduled else own[own["day"] >= on]
        costs = [np.nan, np.nan]
        if (part["kind"] == "rate").any():
            days = (on - pd.Timedelta(days=1), on)
            costs = [repriced(own, prices, day).sum(skipna=False) for day in days]
        rows.append((on, model_id, _in_words(part), scheduled, own["day"].min(), *costs))
        if "contracted_usd" in now:
            ratios.append(paid_share(own))
    table = pd.DataFrame(rows, columns=columns)
    table = table.assign(effect_usd=table["after_usd"] - table["before_usd"])
    return table.assign(contracted_usd=table["effect_usd"] * ratios) if ratios else table


def _in_words(changes):
    base = changes[(changes["kind"] == "rate") & (changes["context_above"] == 0)]
    words = [
        f"{row.rate.replace('uncached_', '').replace('_', ' ')} {row.before:g} to {row.after:g}"
        for row in base.sort_values("rate", ascending=False).itertuples()
    ]
    ends = changes.loc[changes["kind"] == "end", "rate"]
    return ", ".join([*words, *(f"{mode} ends" for mode in ends)])


def retiring(now, prices, by, on):
    """Return the quarter's spend on models that retire up to a day, and what their tokens cost on a successor.

    Parameters
    ----------
    now : DataFrame
        Rows of `Cube.daily` of the quarter.
    prices : Prices
    by : Timestamp
        The last day of retirement that counts.
    on : Timestamp
        The day of the report.

    Returns
    -------
    DataFrame
        model_id, retires_on, spend_usd, share, last_used, successor (of the same provider and tier in the lineup of
        the day `on`; "" if that is the model itself or none), successor_usd at the mean rates of the first whole
        quarter from `on`, and scheduled: which of the successor's rates change until its end, "" for none.
    """
    ahead = Ahead(prices, pd.Timestamp(on))
    table = now.groupby(now["model_id"].astype(object)).agg(
        spend_usd=("cost_usd", "sum"), last_used=("day", "max")
    )
    table.insert(0, "retires_on", prices.by_model["retires_on"].reindex(table.index))
    table.insert(2, "share", table["spend_usd"] / table["spend_usd"].sum())
    table = table[table["retires_on"] <= pd.Timestamp(by)].reset_index()
    after = [successor(prices, model_id, on) for model_id in table["model_id"]]
    own = [now[now["model_id"] == model_id] for model_id in table["model_id"]]
    usd = [ahead.cost_on(rows, to) if to else np.nan for rows, to in zip(own, after, strict=True)]
    scheduled = [ahead.changes(to) for to in after]
    table = table.assign(successor=after, successor_usd=usd, scheduled=scheduled)
    return table.sort_values("retires_on", ignore_index=True)


def successor(prices, model_id, on, *, steps_down=0):
    """Return the lineup's model of the same provider and tier on a day, or of a tier `steps_down` lower.

    It is "" where the model has no tier or is that model itself, or where the lineup's retires within 180 days.
    """
    ladder, on = TIER_LABELS[:3], pd.Timestamp(on)
    tier = tiers_of(prices, [model_id], [on])[0]
    below = ladder[ladder.index(tier) + steps_down :] if tier in ladder else ()
    if not below or prices.lineups.empty:
        return ""
    known, lineup = prices.by_model, prices.lineup(max(on, prices.lineups["as_of"].min()))
    name = lineup[below[0]].get(known.at[model_id, "provider"])
    if pd.isna(name) or name == model_id:
        return ""
    soon = on + pd.Timedelta(days=RETIRE_DAYS)
    return "" if known.at[name, "retires_on"] <= soon else name
