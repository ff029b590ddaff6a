"""The six-month review: what has changed since a decision was filed, whether it still stands, and what keeping it costs."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from tierlab.core.format import usd
from tierlab.core.vocabulary import RATES
from tierlab.decide.checklist import review_day, scheduled_said, until_review
from tierlab.decide.options import COST, GROWTH, INTERVAL, TIMES, resolved, total_costs
from tierlab.decide.record import KIND, Candidate, Record, load_record, workload_of
from tierlab.decide.tasks import ERRORS
from tierlab.prices.catalog import Prices, load_prices
from tierlab.prices.names import canonical

_LENT = [*ERRORS, "worth", "shared", *TIMES]
_SOURCES = {"samples": "from samples", "given": "given by hand"}
_DOLLARS = {
    "price_usd": "bill_usd",
    "error_usd": "errors_usd",
    "time_usd": "time_usd",
    "expected_usd": "expected_usd",
    "low": "low_usd",
    "high": "high_usd",
}
_SAME = 1 + 1e-9  # amounts that differ by less are the same amount


@dataclass(frozen=True, eq=False)
class Review:
    """Whether a filed decision still stands, and the numbers behind that.

    Attributes
    ----------
    stands : bool
        Whether the chosen model is still available and still has the lowest total cost.
    verdict : str
        The same in a sentence, with the dollars and how sure they are.
    changes : DataFrame
        model_id, tier, kind ("price", "retired", "retires", "out", "new"), what, before_usd, after_usd (USD per request).
    money : DataFrame
        Rows "decided" (as filed), "kept" (the choice at today's prices) and "best" (the cheapest today): model_id, tier,
        and US dollars per day: bill_usd, errors_usd, time_usd, expected_usd, low_usd, high_usd
        (`tierlab.decide.options.INTERVAL`); best_share (share of the draws in which it is the cheapest).
    table : DataFrame
        Every candidate today: see `tierlab.decide.options.Options`.
    grounds : tuple of str
        What a reader should know about the numbers, as sentences.
    since : str
        The heading of the changes, with the two dates of prices that they lie between.
    """

    stands: bool
    verdict: str
    changes: pd.DataFrame = field(repr=False)
    money: pd.DataFrame = field(repr=False)
    table: pd.DataFrame = field(repr=False)
    grounds: tuple
    since: str = "Changed:"

    def __repr__(self):
        changes = [f"  {row.model_id}: {row.what}" for row in self.changes.itertuples()]
        notes = [f"Note: {line}." for line in self.grounds]
        return "\n".join([self.verdict, self.since, *(changes or ["  nothing changed"]), *notes])


def review(record: Record | str | Path, *, prices: Prices | None = None) -> Review:
    """Judge a filed decision again at today's prices.

    Parameters
    ----------
    record : Record or path
        The decision.
    prices : Prices, optional
        Prices of the day of the review; by default the maintained catalogue. Rates are averaged over those scheduled
        until the next review.

    Returns
    -------
    Review

    Raises
    ------
    ValueError
        If the prices are older than the decision, or the file is not a decision record.

    Notes
    -----
    The workload, the cost of an error and each model's error rate are those of the record; only prices, retirements and
    the lineup are today's. A model of one of the record's providers and tiers is new if it is in today's lineup and was
    in none on the day of the decision. It borrows error rate and time from the record's candidate of its provider and
    tier, or the mean of the tier; your own examples are the only better source.
    """
    record = record if isinstance(record, Record) else load_record(record)
    of_today = prices or load_prices("maintained")
    prices, decided_at = until_review(of_today), pd.Timestamp(record.prices["as_of"])
    if prices.as_of < decided_at:
        raise ValueError(
            f"the prices of {prices.as_of:%Y-%m-%d} are from before those of the decision, {decided_at:%Y-%m-%d}"
        )
    filed, choice = _filed(record, prices), _own_name(record.model_id, prices)
    new = _new_models(filed, prices, decided_at)
    numbers = filed[filed["is_listed"] | filed["paid"].notna()]
    lost = filed.index.difference(numbers.index, sort=False)
    if numbers.empty and not new:
        raise ValueError(
            f"none of the record's models has a price in {prices.source}: {', '.join(lost)}"
        )
    grounds = _grounds(record, filed, prices)
    for model, (provider, tier) in new.items():
        lent, whose = _borrowed(filed, provider, tier)
        numbers = pd.concat([numbers, lent.set_axis([model])])
        grounds.append(
            f"{model} is new: its error rate and time are {whose}, until you run examples of your own"
        )
    basis = np.where(numbers.index.isin(prices.by_model.index), "catalogue", "given")
    table, _ = total_costs(
        numbers.assign(price_basis=basis),
        prices=_scaled(prices, numbers, filed["price_scale"].mean()),
        workload=workload_of(record.workload),
        cost={end: getattr(record, end) for end in COST},
        second_usd=record.second_usd,
    )
    own = table.set_index("model_id")
    money = _money(record, choice, filed, own)
    changes = _changes(filed, own, prices, lost, new)
    when = f"on {prices.as_of:%Y-%m-%d}"
    if prices.as_of < pd.Timestamp(record.decided_on):
        when = f"at the prices of {prices.as_of:%Y-%m-%d}, older than the decision of {record.decided_on}"
    stands, verdict = _verdict(money, own, when, changes)
    later = scheduled_said(of_today, numbers.index)
    grounds += [later] if later else []
    since = f"Changed from the prices of {decided_at:%Y-%m-%d} to those of {prices.as_of:%Y-%m-%d}:"
    return Review(stands, verdict, changes, money, table, tuple(grounds), since)


def _own_name(name, prices):
    """The catalogue's name of a model, however the record spells it."""
    name = resolved(name, prices)
    return canonical(name) or name


def _filed(record, prices):
    """The record's candidates by model, with what a request on them cost then (USD).

    `is_listed` says whether the catalogue has the model; `paid` is the filed price of one that it never had.
    """
    filed = pd.DataFrame(record.candidates, columns=list(Candidate.__annotations__))
    filed.index = [_own_name(name, prices) for name in filed.pop("model_id")]
    floats = ["price_usd", "price_scale", *_LENT, "expected_usd"]
    filed = filed.astype(dict.fromkeys(floats, float)).assign(like=filed.index)
    # Version 1 did not say what its draws were made of: they are taken as ranges that were not counted.
    ends = dict.fromkeys(TIMES[1:], filed["seconds"])
    filed = filed.fillna({"worth": 0.0, "shared": 1.0} | ends)
    waits = record.second_usd * (1 - workload_of(record.workload).point().batch_share)
    error, time = filed["error_rate"] * record.error_cost_usd, filed["seconds"] * waits
    time = time if waits else 0.0  # nobody waits for what is in batch
    total = filed["price_usd"] + error + time
    was_edited = (filed["expected_usd"] - total).abs() > 1e-6 * total
    is_listed = filed.index.isin(prices.by_model.index)
    paid = filed["price_usd"].where(~is_listed & filed["price_basis"].ne("catalogue"))
    amounts = {"error_usd": error, "time_usd": time, "expected_usd": total, "paid": paid}
    return filed.assign(**amounts, was_edited=was_edited, is_listed=is_listed)


def _new_models(filed, prices, decided_at):
    """Models of the record's providers and tiers that have joined the lineup since: model -> (provider, tier)."""
    first = max(decided_at, prices.lineups["as_of"].min())
    if prices.lineups.empty or first > prices.as_of:
        return {}
    old, slots = {*prices.models(first), *filed.index}, prices.lineup().stack().dropna()
    providers, tiers = set(filed["provider"]), set(filed["tier"])
    return {
        model: (provider, tier)
        for (provider, tier), model in slots.items()
        if model not in old and provider in providers and tier in tiers
    }


def _borrowed(filed, provider, tier):
    """The numbers that a new model borrows, from the candidate in its place or the mean of its tier, and whose they are."""
    peers = filed[filed["tier"] == tier]
    own = peers[peers["provider"] == provider].head(1)
    peers = own if len(own) else peers
    lent = peers.head(1).assign(provider=provider, tier=tier)
    lent[_LENT] = peers[_LENT].mean(skipna=False).to_numpy()
    lent["price_scale"] = peers["price_scale"].mean()
    names = ", ".join(peers.index)
    return lent, f"those of {names}" if len(peers) == 1 else f"the mean of {names}"


def _scaled(prices, numbers, usual):
    """A catalogue scaled so that the filed workload costs what was filed, moved as the rates have moved (`price_scale`)."""
    scale = numbers["price_scale"].fillna(usual).fillna(1.0)
    if scale.eq(1).all():
        return prices
    frame = prices.frame
    factor = frame["model_id"].map(scale).fillna(1.0)
    measured = numbers.index[numbers["price_basis"] != "catalogue"]
    rates = {rate: frame[rate] * factor for rate in RATES}
    rough = frame["approximate"] & ~frame["model_id"].isin(measured)
    return replace(prices, frame=frame.assign(approximate=rough, **rates))


def _grounds(record, filed, prices):
    """What a reader of the review should know about the record's numbers."""
    source = filed["price_basis"].map(_SOURCES)
    kept, own = filed[filed["paid"].notna()], filed[filed["is_listed"] & source.notna()]
    grounds = [
        f"{model} is not in the catalogue: its price as filed stands, {usd(price)} a request, {source[model]}"
        for model, price in kept["paid"].items()
    ]
    moves = own["price_scale"].notna()
    grounds += [
        f"the price of {model} as filed, {source[model]}, moves with the catalogue's rates"
        for model in own.index[moves]
    ]
    grounds += [
        f"{model} is in the catalogue now, whose price replaces the one {source[model]}"
        for model in own.index[~moves]
    ]
    grounds += [
        f"{model} has no price in {prices.source} and is left out"
        for model in filed.index[~filed["is_listed"] & filed["paid"].isna()]
    ]
    edited, choice = ", ".join(filed.index[filed["was_edited"]]), _own_name(record.model_id, prices)
    asides = [
        (
            edited,
            f"the filed expected_usd of {edited} does not follow from the other numbers (was it edited?): the sum is used",
        ),
        (
            record.kind != KIND,
            "the record does not say how its error rates were counted: they are drawn over their ranges",
        ),
        (
            not record.tier,
            f"{choice} has no tier: no model of today's lineup was compared in its place",
        ),
        (
            record.workload.get("monthly_growth"),
            GROWTH,
        ),
    ]
    return grounds + [said for holds, said in asides if holds]


def _changes(filed, table, prices, lost, new):
    """A row for each thing that happened to a model: a new price, its retirement, or that it is new."""
    retires, horizon, rows = prices.by_model["retires_on"], review_day(prices), []
    for model in [*filed.index, *new]:
        tier = filed.at[model, "tier"] if model in filed.index else new[model][1]
        before, after = filed["price_usd"].get(model, np.nan), table["price_usd"].get(model, np.nan)
        leaves, said = retires.get(model), []
        if model in new:
            price = f"at {usd(after)} a request" if pd.notna(after) else "without a price"
            said.append(("new", f"new in the lineup, {price}"))
        elif abs(after - before) > (_SAME - 1) * before:
            ratio = f" ({after / before - 1:+.0%})" if before else ""
            said.append(("price", f"a request costs {usd(after)} instead of {usd(before)}{ratio}"))
        if model in lost:
            was_listed = filed.at[model, "price_basis"] == "catalogue"
            why = "no longer in the catalogue" if was_listed else "no price was filed"
            said.append(("retired", why))
        elif pd.notna(leaves) and leaves <= prices.as_of:
            said.append(("retired", f"retired on {leaves:%Y-%m-%d}"))
        elif pd.notna(leaves) and leaves <= horizon:
            said.append(("retires", f"retires on {leaves:%Y-%m-%d}"))
        elif pd.isna(after):
            said.append(("out", f"out of the running: {table.at[model, 'note']}"))
        rows += [(model, tier, kind, what, before, after) for kind, what in said]
    columns = ["model_id", "tier", "kind", "what", "before_usd", "after_usd"]
    return pd.DataFrame(rows, columns=columns)


def _money(record, choice, filed, table):
    """US dollars per day as filed, as kept, and on the cheapest model today; a choice that ties is the cheapest."""
    decided = filed.loc[choice]
    kept = table.loc[choice] if choice in table.index else decided[["tier"]]
    best = table.iloc[0]
    if kept.get("expected_usd", np.inf) <= best["expected_usd"] * _SAME:
        best = kept
    rows = pd.DataFrame({"decided": decided, "kept": kept, "best": best}).T
    money = rows.reindex(columns=["tier", *_DOLLARS, "best_share"]).rename(columns=_DOLLARS)
    money.insert(0, "model_id", [choice, choice, best.name])
    amounts = list(_DOLLARS.values())
    money = money.astype(dict.fromkeys([*amounts, "best_share"], float)).rename_axis("what")
    money[amounts] *= workload_of(record.workload).point().requests_per_day
    if pd.isna(money.at["kept", "expected_usd"]):  # out of the running: nothing of it is a cost
        money.loc["kept", amounts] = np.nan
    return money


def _verdict(money, table, when, changes):
    kept, best = money.loc["kept"], money.loc["best"]
    choice, rival = kept["model_id"], best["model_id"]
    sure = f"the cheapest in {best['best_share']:.0%} of the draws"
    if best["low_usd"] * _SAME < best["high_usd"]:
        sure = f"{usd(best['low_usd'])} to {usd(best['high_usd'])} in {INTERVAL}; {sure}"
    total = f"{usd(best['expected_usd'])} a day and {usd(365 * best['expected_usd'])} a year in total ({sure})"
    if pd.isna(kept["expected_usd"]):
        why = table["note"].get(choice, "it has no price any more")
        return False, (
            f"The decision cannot stand {when}: {choice}, {why}. The cheapest now is {rival}, {total}."
        )
    if rival == choice:
        moved = kept["expected_usd"] - money.at["decided", "expected_usd"]
        since = f"{usd(abs(moved))} {'more' if moved > 0 else 'less'} than"
        if abs(moved) <= (_SAME - 1) * kept["expected_usd"]:
            since = "as much as"
        leaves = changes[(changes["model_id"] == choice) & (changes["kind"] == "retires")]["what"]
        but = "".join(f", but it {said}" for said in leaves)
        return True, (
            f"The decision stands {when}: {choice} is still the cheapest, {total}, {since} when it was filed{but}."
        )
    saved, bill = kept["expected_usd"] - best["expected_usd"], best["bill_usd"] - kept["bill_usd"]
    alone = f"{usd(abs(bill))} a day {'higher' if bill > 0 else 'lower'}" if bill else "the same"
    return False, (
        f"The decision flips {when}: {rival} in place of {choice} saves {usd(saved)} a day in total "
        f"({usd(365 * saved)} a year); the bill alone would be {alone}. {rival} costs {total}."
    )


def review_said(found, day):
    """Say whether a decision stands on a day, in dollars a day."""
    kept, best = found.money.loc["kept"], found.money.loc["best"]
    cheapest = f"{best['model_id']} costs {usd(best['expected_usd'])} a day, errors included"
    if found.stands:
        return f"On {day} the decision stands: {cheapest}."
    return f"On {day} the decision flips: {cheapest}, and {kept['model_id']} {usd(kept['expected_usd'])}."


def review_tables(found):
    """Return a day's cost as filed, as kept and on the best model, and what changed, for `tierlab.finding`."""
    heads = {"decided": "as filed", "kept": "kept", "best": "best on the day"}
    money = {
        "expected_usd": "total (USD a day)",
        "bill_usd": "bill",
        "errors_usd": "errors",
        "low_usd": "low",
        "high_usd": "high",
        "model_id": "model",
    }
    changes = {"model_id": "model", "tier": "tier", "what": "what changed"}
    numbers = found.money.rename(index=heads).rename_axis("decision")
    return {
        "numbers": numbers[list(money)].rename(columns=money),
        "table": found.changes[list(changes)].rename(columns=changes),
    }
