"""What tokens cost under a contract in a quarter, also tokens that are changed: another model, no cache, a forecast."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from tierlab.prices.catalog import Prices
from tierlab.prices.contract import Contract, settle
from tierlab.prices.daily import PARTS, in_batch
from tierlab.quarter.engine import TOKENS

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
