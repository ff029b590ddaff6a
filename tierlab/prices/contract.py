"""What a company really pays: discounts, commitments, provisioned capacity, credits, tax and currency.

A contract is a YAML file (`contract.yaml`). Its steps are applied in this order: list price, discount, provisioned
capacity, commitment, credit, tax, currency. An empty contract changes no number.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tierlab.core.tables import times
from tierlab.core.untrusted import read_text, read_yaml, shown
from tierlab.core.vocabulary import BUCKETS, unknown
from tierlab.prices.catalog import Prices
from tierlab.prices.names import listed, platform_of
from tierlab.prices.offers import normal_tier

_PERIODS = {"month": ("M", 1), "quarter": ("Q", 3), "year": ("Y", 12)}  # months of each
_COLUMNS = {  # the cost column that a negotiated rate replaces
    "uncached_input": "uncached_input_usd",
    "cache_read": "cache_read_usd",
    "output": "output_usd",
}
_WRITES = BUCKETS[2:4]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class _Dated(_Strict):
    @model_validator(mode="after")
    def _in_order(self):
        if self.start and self.end and self.start > self.end:
            raise ValueError(f"from {self.start} is after to {self.end}")
        return self


class Scope(_Dated):
    """The requests that a clause is about; what it leaves out may have any value."""

    provider: str | None = None
    model: str | None = None
    platform: str | None = None
    region: str | None = None
    tier: str | None = None
    batch: bool | None = None
    start: date | None = Field(None, alias="from")
    end: date | None = Field(None, alias="to")


class Discount(Scope):
    """A share off the list price, or negotiated rates (USD per million tokens by bucket)."""

    share: float | None = Field(None, ge=0, le=1)
    rate: dict[str, float] | None = None

    @model_validator(mode="after")
    def _one_of_two(self):
        if (self.share is None) == (self.rate is None):
            raise ValueError("a discount needs either a share or a rate, not both")
        for bucket, usd in (self.rate or {}).items():
            if bucket not in BUCKETS:
                raise ValueError(unknown("bucket", bucket, BUCKETS))
            if usd < 0:
                raise ValueError(f"the rate of {bucket} is negative")
        if len({*_WRITES} & {*(self.rate or {})}) == 1:
            raise ValueError(f"a rate for cache writes names both: {', '.join(_WRITES)}")
        return self


class Commitment(Scope):
    """A spend promised for each period."""

    id: str
    usd: float = Field(ge=0)
    every: Literal["month", "quarter", "year", "term"] = "month"
    measure: Literal["list", "contracted", "billed"] = "contracted"
    shortfall: Literal["pay", "carry", "forgive"] = "pay"


class Provisioned(_Dated):
    """Capacity that is paid for by the hour, whether it is used or not."""

    id: str
    alias: str
    units: float = Field(gt=0)
    usd_per_unit_hour: float = Field(ge=0)
    share: float = Field(0, ge=0, le=1)
    input_tpm_per_unit: float = Field(gt=0)
    output_weight: float = Field(gt=0)
    spillover: Literal["list"] = "list"
    start: date = Field(alias="from")
    end: date | None = Field(None, alias="to")


class Credit(Scope):
    """Money that pays for requests, but not for what is unused; the credit that expires first is used first."""

    usd: float = Field(ge=0)
    toward_commitment: bool = False


class Bought(_Strict):
    """What an alias stands for."""

    model: str
    platform: str | None = None
    region: str | None = None
    tier: str | None = None


class Contract(_Strict):
    """A contract as it stands in its file; see `load_contract`."""

    contract: str = ""
    currency: str = "USD"
    rates: dict[str, float] = {}
    tax: float = Field(0, ge=0, le=1)
    aliases: dict[str, Bought] = {}
    discounts: list[Discount] = []
    commitments: list[Commitment] = []
    provisioned: list[Provisioned] = []
    credits: list[Credit] = []

    @property
    def has_terms(self):
        """Whether the contract moves any money; one that only names things does not."""
        lists = (self.discounts, self.commitments, self.provisioned, self.credits)
        return any(lists) or self.tax > 0 or self.currency != "USD"

    def in_currency(self, month):
        """Return the units of the contract's currency per USD in a month ("2026-11").

        Raises
        ------
        ValueError
            If the contract has no rate for that month.
        """
        if self.currency == "USD":
            return 1.0
        if month not in self.rates:
            raise ValueError(
                f"contract {self.contract!r}: no rate of {self.currency} for {month} (under 'rates')"
            )
        return self.rates[month]


@dataclass(frozen=True, eq=False)
class Settlement:
    """What a contract makes of a bill.

    Attributes
    ----------
    rows : DataFrame
        list_usd, contracted_usd and effective_usd of each request. A request that capacity covers costs its part of
        the capacity.
    lines : DataFrame
        Items that belong to no request: month, kind ("unused commitment", "unused capacity"), id, usd.
    invoice : DataFrame
        One row per month: list_usd, contracted_usd, lines_usd, credit_usd (negative), billed_usd, tax_usd,
        total_usd, and `total` in the contract's currency.
    capacity : DataFrame
        One row per provisioned capacity and month: list_usd, contracted_usd, used_usd, unused_usd, capacity_mtok and
        served_mtok (million input tokens or their equivalent), worth_usd (the served tokens at list price),
        usd_per_mtok, break_even (the utilisation at which the capacity costs as much as its tokens at list price).
    idle : tuple of str
        Clauses that apply to no request, numbered as in the file: "discounts.0" is the first discount.
    """

    rows: pd.DataFrame
    lines: pd.DataFrame
    invoice: pd.DataFrame
    capacity: pd.DataFrame
    idle: tuple = ()


def load_contract(path: str | Path) -> Contract:
    """Read and check a contract.

    Parameters
    ----------
    path : path
        A YAML file; its keys are those of `Contract`. A discount names what it is about (provider, model,
        platform, region, tier, batch, from, to) and a `share` off the list price or a `rate` by bucket.

    Returns
    -------
    Contract

    Raises
    ------
    ValueError
        If the file cannot be read as a contract; the message names the file and the key.
    """
    try:
        said = read_yaml(read_text(path)) or {}
        return Contract.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ValueError(f"{path}: {where}: {shown(first['msg'])}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def settle(
    requests: pd.DataFrame,
    priced: pd.DataFrame,
    prices: Prices,
    contract: Contract,
    *,
    spread: bool = False,
    until: str | pd.Timestamp | None = None,
) -> Settlement:
    """Work out the list, contracted and effective cost of priced requests.

    Parameters
    ----------
    requests : DataFrame
        The requests table, with `at`.
    priced : DataFrame
        The same requests as `price` returns them, at list prices.
    prices : Prices
        The catalogue that priced them.
    contract : Contract
    spread : bool
        Spread the unused part of a commitment over the requests that it is for, in addition to showing it as a line.
    until : str, optional
        ISO date; a period that ends by then is over, so that its shortfall is due. By default the end of the month
        of the last request.

    Returns
    -------
    Settlement

    Raises
    ------
    ValueError
        If a clause names a model, a provider, a tier or an alias that is in neither the catalogue nor a request.
    """
    facts = _facts(requests, prices)
    idle = _idle(contract, facts, prices)
    rows = pd.DataFrame({"list_usd": priced["cost_usd"].astype(float)})
    rows["contracted_usd"] = _discounted(facts, requests, priced, contract, prices)
    open_ = rows.assign(share=1.0)  # what no capacity covers yet
    capacity = [_cover(one, facts, requests, (rows, open_), prices) for one in contract.provisioned]
    capacity = pd.concat(capacity, ignore_index=True) if capacity else pd.DataFrame()
    rows["effective_usd"] = rows["contracted_usd"]
    last = facts["at"].max().to_period("M").end_time if until is None else pd.Timestamp(until)
    months = facts["at"].dt.to_period("M")
    credits = _credits(contract, facts, rows, prices)
    lines = [
        (row.month, "unused capacity", row.id, row.unused_usd) for row in capacity.itertuples()
    ]
    for one in contract.commitments:
        mask = holds(one, facts, prices)
        for month, due, places in _shortfalls(one, facts, rows, mask, credits, last):
            lines.append((month, "unused commitment", one.id, due))
            if spread and len(places):
                paid = rows["contracted_usd"].to_numpy()[places]
                column = rows.columns.get_loc("effective_usd")
                rows.iloc[places, column] += due * paid / paid.sum()
    lines = pd.DataFrame(lines, columns=["month", "kind", "id", "usd"])
    invoice = _invoice(rows, lines, months, credits, contract)
    return Settlement(rows, lines, invoice, capacity, idle)


def _idle(contract, facts, prices):
    """Return the clauses that apply to no row, and refuse those that never could."""
    known = {
        "provider": {entry.provider for entry in listed()} | {*prices.rates["provider"]},
        "tier": {"standard", "provisioned", *prices.rates["service_tier"]},
    }
    idle = []
    for kind in ("discounts", "commitments", "credits"):
        for place, one in enumerate(getattr(contract, kind)):
            for name, allowed in known.items():
                value, allowed = getattr(one, name), allowed | {*facts[name].dropna()}
                if value is not None and value not in allowed:
                    raise ValueError(f"{kind}.{place}: {unknown(name, value, sorted(allowed))}")
            if one.model is not None and prices.alias(one.model).model_id is None:
                raise ValueError(f"{kind}.{place}: {prices.no_price(one.model, None)}")
            if not holds(one, facts, prices).any():
                idle.append(f"{kind}.{place}")
    for place, one in enumerate(contract.provisioned):
        if prices.alias(one.alias).model_id is None:
            said = unknown("alias", one.alias, sorted({*prices.aliases, *contract.aliases}))
            if one.alias in contract.aliases:
                said = f"the catalogue does not know {one.alias!r}; load it with the contract's aliases"
            raise ValueError(f"provisioned.{place}: {said}")
    return tuple(idle)


def holds(scope, facts, prices):
    """Return which rows a clause is about."""
    mask = np.ones(len(facts), bool)
    said = {
        "provider": scope.provider,
        "tier": scope.tier,
        "batch": scope.batch,
        "region": scope.region,
    }
    said["platform"] = platform_of(scope.platform) if scope.platform else None
    if scope.model is not None:
        said["model"] = prices.alias(scope.model).model_id or scope.model
    for column, value in said.items():
        if value is not None:
            mask &= facts[column].eq(value).to_numpy(bool)
    return mask & _within(scope, facts["at"])


def _within(clause, at):
    """Return which times lie between the days of a clause, both included; either may be open."""
    day = at.dt.normalize()
    after = clause.start is None or day >= pd.Timestamp(clause.start)
    return np.asarray(after & (clause.end is None or day <= pd.Timestamp(clause.end)))


def _facts(requests, prices):
    """Return what clauses look at in each row: model, provider, platform, region, tier, batch, at."""
    found = {name: prices.alias(name) for name in requests["model_id"].unique()}
    spelt = requests["model_id"].astype(object)
    makers = {
        name: prices.maker(prices.sellers[one.model_id]) if one.model_id in prices.sellers else None
        for name, one in found.items()
    }
    facts = pd.DataFrame({"spelt": spelt, "provider": spelt.map(makers)}, index=requests.index)
    facts["model"] = spelt.map({name: one.model_id for name, one in found.items()})
    told = {"platform": "platform", "region": "region", "tier": "service_tier"}
    for column, name in told.items():
        own = spelt.map({spelling: getattr(one, name) for spelling, one in found.items()})
        given = (
            requests[name].astype(object) if name in requests else pd.Series(None, requests.index)
        )
        if name == "platform":
            given = given.map(lambda text: platform_of(text) if isinstance(text, str) else None)
        facts[column] = given.where(given.notna(), own)
    first_party = facts["platform"].isna() | facts["platform"].eq("first_party")
    facts["platform"] = facts["platform"].mask(first_party, facts["provider"])
    tiers = zip(facts["tier"].where(facts["tier"].notna(), None), facts["provider"], strict=True)
    facts["tier"] = [normal_tier(tier, maker) or "standard" for tier, maker in tiers]
    facts["batch"] = requests["batch"].to_numpy(bool) if "batch" in requests else False
    return facts.assign(at=pd.to_datetime(times(requests), unit="us"))


def _discounted(facts, requests, priced, contract, prices):
    """Price each row at its most specific discount; of two equally specific ones, at the one that began later."""
    usd = priced["cost_usd"].to_numpy(float).copy()
    narrow = ("provider", "model", "platform", "region", "tier", "batch")

    def order(one):
        said = sum(getattr(one, name) is not None for name in narrow)
        return said, one.start or date.min

    for one in sorted(contract.discounts, key=order):
        mask = holds(one, facts, prices)
        list_usd = priced["cost_usd"].to_numpy(float)[mask]
        if one.share is not None:
            usd[mask] = list_usd * (1 - one.share)
            continue
        columns = [_COLUMNS[bucket] for bucket in one.rate if bucket in _COLUMNS]
        columns += ["cache_write_usd"] if one.rate.keys() & {*_WRITES} else []
        own = sum(
            requests[f"{bucket}_tokens"].to_numpy(float)[mask] * rate / 1e6
            for bucket, rate in one.rate.items()
            if f"{bucket}_tokens" in requests
        )
        usd[mask] = list_usd - priced.loc[mask, columns].sum(axis=1).to_numpy() + own
    return usd


def _cover(one, facts, requests, tables, prices):
    """Give covered rows their part of a capacity's cost, in place; return a row per month of what it cost and served.

    `tables` are the rows, and what the capacities before this one have left of them. A month's demand is compared with
    the month's capacity, although peaks within the month may spill over earlier.
    """
    rows, open_ = tables
    bought = prices.alias(one.alias)
    mine = facts["spelt"].eq(one.alias) | (
        facts["model"].eq(bought.model_id)
        & facts["platform"].eq(bought.platform)
        & facts["tier"].eq("provisioned")
    )
    mine &= _within(one, facts["at"])
    count = {
        b: requests[f"{b}_tokens"].to_numpy(float) for b in BUCKETS if f"{b}_tokens" in requests
    }
    weight = {"cache_read": 0.0, "output": one.output_weight}  # reads need no capacity
    equivalent = sum(tokens * weight.get(bucket, 1.0) for bucket, tokens in count.items()) / 1e6
    months, found = facts["at"].dt.to_period("M"), []
    last = min(months.max(), pd.Period(one.end, "M")) if one.end else months.max()
    for month in pd.period_range(pd.Period(one.start, "M"), last, freq="M"):
        first = max(month.start_time.date(), one.start)
        hours = 24 * ((min(month.end_time.date(), one.end or date.max) - first).days + 1)
        cost = one.units * one.usd_per_unit_hour * hours
        capacity = one.units * one.input_tpm_per_unit * 60 * hours / 1e6
        here = (mine & (months == month)).to_numpy()
        wanted = equivalent[here] * open_.loc[here, "share"].to_numpy()
        asked = wanted.sum()
        share = min(1.0, capacity / asked) if asked else 0.0
        paid = cost * (1 - one.share)
        used = paid * asked * share / capacity
        worth = open_.loc[here, "list_usd"].sum() * share
        if asked:
            part = used * wanted / asked
            rows.loc[here, "contracted_usd"] += part - open_.loc[here, "contracted_usd"] * share
            open_.loc[here] *= 1 - share
        served = asked * share
        list_rate = worth / served if served else np.nan
        found.append(
            {
                "id": one.id,
                "month": str(month),
                "list_usd": cost,
                "contracted_usd": paid,
                "used_usd": used,
                "unused_usd": paid - used,
                "capacity_mtok": capacity,
                "served_mtok": served,
                "worth_usd": worth,
                "usd_per_mtok": paid / served if served else np.nan,
                "break_even": paid / (capacity * list_rate),
            }
        )
    return pd.DataFrame(found)


def _shortfalls(one, facts, rows, mask, credits, last):
    """Return (month in which it is due, USD, positions of the rows it is for) for each period that is over."""
    measured = (
        rows["list_usd" if one.measure == "list" else "contracted_usd"].to_numpy(float).copy()
    )
    if one.measure == "billed":
        measured -= sum(part for credit, part in credits if not credit.toward_commitment)
    at = facts["at"]
    start = pd.Timestamp(one.start) if one.start else at.min().to_period("M").start_time
    end = pd.Timestamp(one.end) + pd.Timedelta(days=1, nanoseconds=-1) if one.end else last
    if one.every == "term":
        periods = [(start, end)]
    else:
        frequency, months = _PERIODS[one.every]
        start = start if one.start else start.to_period(frequency).start_time
        count = len(pd.period_range(start, end, freq="M")) // months + 1
        begins = [start + pd.DateOffset(months=months * n) for n in range(count + 1)]
        stops = [begin - pd.Timedelta(nanoseconds=1) for begin in begins[1:]]
        periods = [pair for pair in zip(begins, stops, strict=False) if pair[0] <= end]
    found, owed = [], 0.0
    for begin, stop in periods:
        if stop.normalize() > last.normalize():
            break
        places = np.flatnonzero(mask & (at >= begin).to_numpy() & (at <= stop).to_numpy())
        due = one.usd + owed - measured[places].sum()
        final = stop.normalize() >= end.normalize() and one.end is not None
        owed = max(due, 0.0) if one.shortfall == "carry" and not final else 0.0
        if due > 0 and (one.shortfall == "pay" or (one.shortfall == "carry" and final)):
            found.append((str(stop.to_period("M")), due, places))
    return found


def _credits(contract, facts, rows, prices):
    """Return (credit, USD of it on each row); a credit is used in order of time, the first to expire first."""
    left, used = rows["contracted_usd"].to_numpy(float).copy(), []
    for one in sorted(contract.credits, key=lambda credit: credit.end or date.max):
        mask = holds(one, facts, prices)
        order = np.flatnonzero(mask)[np.argsort(facts["at"].to_numpy()[mask], kind="stable")]
        part = np.zeros(len(facts))
        part[order] = np.clip(one.usd - np.cumsum(left[order]) + left[order], 0, left[order])
        left -= part
        used.append((one, part))
    return used


def _invoice(rows, lines, months, credits, contract):
    """Return the bill of each month: usage, lines, credits, tax and currency."""
    by_month = months.astype(str).to_numpy()
    table = rows[["list_usd", "contracted_usd"]].groupby(by_month).sum()
    table = table.reindex(sorted({*table.index, *lines["month"]}), fill_value=0.0)
    table["lines_usd"] = lines.groupby("month")["usd"].sum().reindex(table.index, fill_value=0.0)
    paid = (
        pd.Series(sum((part for _, part in credits), 0.0), rows.index, dtype=float)
        .groupby(by_month)
        .sum()
    )
    table["credit_usd"] = -paid.reindex(table.index, fill_value=0.0)
    table["billed_usd"] = table[["contracted_usd", "lines_usd", "credit_usd"]].sum(axis=1)
    table["tax_usd"] = table["billed_usd"] * contract.tax
    table["total_usd"] = table["billed_usd"] + table["tax_usd"]
    factor = np.array([contract.in_currency(month) for month in table.index])
    table["total"] = table["total_usd"] * factor
    return table.rename_axis("month").assign(currency=contract.currency).reset_index()
