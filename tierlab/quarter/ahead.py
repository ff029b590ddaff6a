"""What tokens cost under a contract in a quarter, also tokens that are changed: another model, no cache, a forecast."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from tierlab.prices.catalog import Prices
from tierlab.prices.contract import Contract, settle
from tierlab.prices.pricing import (
    PARTS,
    TIER_LABELS,
    at_base,
    changes_of,
    in_batch,
    on_model,
    rates_at,
    repriced,
    repriced_parts,
    tiers_of,
)
from tierlab.quarter.engine import TOKENS

RETIRE_DAYS = 180

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
        The quarter. A commitment over a year or a term counts with this quarter's part of it, and an unused rest that
        could be carried over as due: a quarter alone cannot say what a year will use.
    """

    contract: Contract
    prices: Prices
    period: pd.Period
    rows: pd.DataFrame = field(repr=False)

    @cached_property
    def terms(self):
        """The contract as it is in the quarter."""
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
        """Contracted and effective cost of rows of the quarter: US dollars, two numbers.

        Parameters
        ----------
        rows : DataFrame
            From `table`, or changed.
        """
        requests = rows[[*TOKENS, "model_id", "batch"]].assign(at=rows["at"])
        for name in _BOUGHT:
            if name in rows:
                requests[name] = rows[name]
        priced = rows[list(PARTS)].assign(cost_usd=rows[[*PARTS, "other_usd"]].sum(axis=1))
        found = settle(requests, priced, self.prices, self.terms, until=self.period.end_time)
        contracted = float(found.rows["contracted_usd"].sum())
        return contracted, contracted + float(found.lines["usd"].sum())

    def saving(self, *changes):
        """What changes save: contracted and effective, US dollars.

        Parameters
        ----------
        changes : (DataFrame, DataFrame)
            Rows of this table before and after; before may hold more of them than there are, as an event that goes on.
        """
        rest = self.rows.drop(index=[place for _, after in changes for place in after.index])
        before = self.cost(pd.concat([rest, *(one for one, _ in changes)]))
        after = self.cost(pd.concat([rest, *(one for _, one in changes)]))
        return before[0] - after[0], before[1] - after[1]


def table(daily, usd, period):
    """Rows for a `Deal`: tokens and US dollars by part, moved into its quarter day by day.

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
    spelt = daily["spelt"] if "spelt" in daily else daily["model_id"]
    return pd.DataFrame(
        {
            **{name: daily[name].astype(float) for name in TOKENS},
            **dict(zip(PARTS, np.asarray(usd, float).T, strict=True)),
            "other_usd": daily.get("other_usd", 0.0),
            "model_id": spelt.astype(object),
            "batch": in_batch(daily),
            "at": at.clip(upper=period.end_time.normalize()),
            **bought,
        },
        index=daily.index,
    )


def on_another(rows, model_id, usd):
    """Rows of `table` on another model, bought at its maker's standard price; `usd` by part, at list."""
    plain = rows.drop(columns=[name for name in _BOUGHT if name in rows]).assign(model_id=model_id)
    return plain.assign(**dict(zip(PARTS, np.asarray(usd, float).T, strict=True)))


def times(rows, factor):
    """So much of the same rows: tokens and dollars."""
    own = [*TOKENS, *PARTS, "other_usd"]
    return rows.assign(**{name: rows[name] * factor for name in own})


def without_output(rows):
    """The same rows without their output."""
    return rows.assign(output_tokens=0.0, output_usd=0.0)


def without_cache(rows, usd):
    """The same rows, all their input uncached; `usd` by part, at list."""
    given = rows[list(TOKENS[:4])].sum(axis=1)
    none = dict.fromkeys(TOKENS[1:4], 0.0) | {TOKENS[0]: given}
    return rows.assign(**none, **dict(zip(PARTS, np.asarray(usd, float).T, strict=True)))


def forecast_paid(totals, recent, contract, prices):
    """A forecast's totals under a contract, with the mix of some recent rows of `Cube.daily`.

    Parameters
    ----------
    totals : DataFrame
        Index period; usd, low, high at list prices.

    Returns
    -------
    DataFrame
        contracted_usd, effective_usd, effective_low and effective_high added; NaN where not all of a quarter is ahead,
        because what is unused then depends on the days behind.
    """
    listed, usd = float(recent["cost_usd"].sum()), recent[list(PARTS)].to_numpy()
    names = [
        f"{kind}_{end}" for end in ("usd", "low", "high") for kind in ("contracted", "effective")
    ]
    paid = pd.DataFrame(np.nan, totals.index, names)
    for quarter in totals.index[totals["days"] > 31]:
        period = pd.Period(quarter, freq="Q")
        months = pd.period_range(period.start_time, period.end_time, freq="M").astype(str).tolist()
        if not set(months) <= set(totals.index):
            continue
        deal = Deal(contract, prices, period, recent)
        rows = table(recent, usd, period)
        for column in ("usd", "low", "high"):
            # A quarter's own quantile is not the sum of its months': the months are scaled to it.
            scale = totals.at[quarter, column] / totals.loc[months, column].sum()
            parts = [
                times(rows, scale * totals.at[month, column] / listed).assign(
                    at=pd.Timestamp(month)
                )
                for month in months
            ]
            cost = deal.cost(pd.concat(parts, ignore_index=True))
            paid.loc[quarter, [f"contracted_{column}", f"effective_{column}"]] = cost
    return totals.join(paid.drop(columns=["contracted_low", "contracted_high"]))


@dataclass(frozen=True, eq=False)
class Ahead:
    """A quarter's own tokens in the first whole quarter from a day on, at the mean of the rates scheduled for it.

    Attributes
    ----------
    prices : Prices
        The catalogue, whose rates priced the tokens.
    on : Timestamp
        The day on which one stands.
    now : DataFrame, optional
        Rows of `Cube.daily` of the quarter, and the contract they are under.
    contract : Contract, optional
    """

    prices: Prices
    on: pd.Timestamp
    now: pd.DataFrame | None = None
    contract: Contract | None = None

    @cached_property
    def deal(self):
        """The quarter's own tokens in the quarter ahead under the contract."""
        usd = repriced_parts(self.now, self.prices, self.rates.as_of, ahead=self.rates)
        return Deal(self.contract, self.prices, self.period, table(self.now, usd, self.period))

    def change(self, proposal):
        """The rows that a proposal concerns, before and after it, for `Deal.saving`."""
        own, rates = proposal.get("daily", proposal["rows"]), self.rates
        rows, to = self.deal.rows.loc[own.index], proposal.get("to")
        if to:
            usd = at_base(own, rates_at(rates, [to] * len(own), rates.as_of, in_batch(own)))
            return rows, on_another(rows, to, usd)
        if proposal["kind"] == "batch":
            usd = repriced_parts(own, self.prices, rates.as_of, batch=True, ahead=rates)
            return rows, rows.assign(batch=True, **dict(zip(PARTS, usd.T, strict=True)))
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
        """US dollars of the rows' tokens on their own models; NaN where a rate is not known."""
        return float(
            repriced(rows, self.prices, self.rates.as_of, batch=batch, ahead=self.rates).sum(
                skipna=False
            )
        )

    def cost_on(self, rows, model_id):
        """US dollars of the rows' tokens on another model."""
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
        """What is scheduled for some models up to the end of the quarter ahead, with its dates; "" for nothing."""
        return "; ".join(
            f"{model} costs {self._scheduled[model]}"
            for model in models
            if model in self._scheduled
        )


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
        one on the whole quarter's. NaN where a mode ends that the log does not tell apart. Under a contract
        contracted_usd: the effect times what those tokens cost under it over their list price.
    """
    columns = ["on", "model_id", "change", "scheduled", "tokens_from", "before_usd", "after_usd"]
    changes, rows, ratios = changes_of(prices, now["model_id"].unique(), start, end), [], []
    for (on, model_id), part in changes.groupby(["on", "model_id"], sort=False):
        own, scheduled = now[now["model_id"] == model_id], bool(on > now["day"].max())
        own = own if scheduled else own[own["day"] >= on]
        costs = [np.nan, np.nan]
        if (part["kind"] == "rate").any():
            days = (on - pd.Timedelta(days=1), on)
            costs = [repriced(own, prices, day).sum(skipna=False) for day in days]
        rows.append((on, model_id, _in_words(part), scheduled, own["day"].min(), *costs))
        if "contracted_usd" in now:
            ratios.append(own["contracted_usd"].sum() / own["cost_usd"].sum())
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
    """Spend of the quarter on models that retire up to a day, and what their tokens cost on the lineup's model.

    Returns
    -------
    DataFrame
        model_id, retires_on, spend_usd, share, last_used, then successor (same provider and tier in the lineup of
        the day `on`, "" if that is the model itself or none), successor_usd, at the mean rates of the first whole
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
    """The lineup's model of the same provider on a day, of the same tier or one `steps_down` lower.

    "" where the model has no tier, is that model itself, or the lineup's retires within 180 days.
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
