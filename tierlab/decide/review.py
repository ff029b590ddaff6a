"""The six-month review: what changed since a decision was filed, whether it still stands, and what keeping it costs."""

from dataclasses import dataclass, field, replace

import pandas as pd

from tierlab.core.format import usd
from tierlab.core.vocabulary import RATES
from tierlab.decide.options import INTERVAL, weigh
from tierlab.decide.record import Record, load_record, workload_of
from tierlab.decide.tasks import REVIEW_MONTHS, scheduled_said, until_review
from tierlab.prices.catalog import load_prices
from tierlab.prices.names import canonical

_ERRORS = ["error_rate", "error_low", "error_high"]
_TIMES = ["seconds", "seconds_low", "seconds_high"]
_SAME = 1 + 1e-9  # amounts that differ by less are the same amount


@dataclass(frozen=True, eq=False)
class Review:
    """What `review` found.

    Attributes
    ----------
    stands : bool
        Whether the model that was chosen is still there and still the cheapest all in.
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
    """

    stands: bool
    verdict: str
    changes: pd.DataFrame = field(repr=False)
    money: pd.DataFrame = field(repr=False)
    table: pd.DataFrame = field(repr=False)
    grounds: tuple

    def __repr__(self):
        changes = [f"  {row.model_id}: {row.what}" for row in self.changes.itertuples()] or [
            "  nothing changed"
        ]
        return "\n".join(
            [self.verdict, "Since then:", *changes, *(f"Note: {line}." for line in self.grounds)]
        )


def review(record, *, prices=None):
    """Judge a filed decision again at other prices.

    Parameters
    ----------
    record : Record or path
    prices : Prices, optional
        Of the day on which you stand; by default the maintained catalogue. Rates are the mean of those scheduled until
        the next review.

    Returns
    -------
    Review

    Raises
    ------
    ValueError
        If the prices are older than the decision, or the file is no decision record.

    Notes
    -----
    The workload, the cost of an error and each model's error rate are those of the record: only prices, retirements and
    the lineup have moved. A model of one of the record's providers and tiers is new if it is in today's lineup and was in
    none on the day of the decision. It borrows error rate and time from the record's candidate of its provider and tier,
    or from the mean of the tier; only your own examples can say better.
    """
    record = record if isinstance(record, Record) else load_record(record)
    of_today = load_prices("maintained") if prices is None else prices
    prices = until_review(of_today)
    if prices.as_of < pd.Timestamp(record.prices["as_of"]):
        raise ValueError(
            f"the prices are of {prices.as_of:%Y-%m-%d}, before those of the decision, {record.prices['as_of']}"
        )
    record = _named(record, prices)
    filed = pd.DataFrame(record.candidates).set_index("model_id")
    floats = ["price_usd", "price_scale", *_ERRORS, "worth", "shared", *_TIMES, "expected_usd"]
    filed = filed.astype(dict.fromkeys(floats, float)).assign(like=filed.index)
    known = filed.index.isin(prices.frame["model_id"])
    kept_price = filed[~known & (filed["price_basis"] != "catalogue")]["price_usd"].dropna()
    lost = [model for model in filed.index[~known] if model not in kept_price]
    new = _new_models(filed, prices, record.prices["as_of"])
    if len(lost) == len(filed) and not new:
        raise ValueError(
            f"none of the record's models has a price in {prices.source}: {', '.join(lost)}"
        )
    notes = _notes(record, filed, known, kept_price, lost, prices)
    there = filed.drop(index=lost)
    numbers = pd.concat(
        [there, *(_borrowed(filed, model, *slot, notes) for model, slot in new.items())]
    )
    found = weigh(
        prices=_scaled(
            prices,
            numbers["price_scale"].fillna(filed["price_scale"].mean()).fillna(1.0),
            numbers["price_basis"],
        ),
        workload=workload_of(record),
        models=list(numbers.index),
        own_prices=kept_price.to_dict(),
        error_rates={model: tuple(row) for model, *row in numbers[_ERRORS].itertuples()},
        spread=numbers[["worth", "shared", "like"]],
        second_usd=record.second_usd,
        seconds=None
        if numbers["seconds"].isna().any()
        else {m: tuple(row) for m, *row in numbers[_TIMES].itertuples()},
        error_cost_usd=(record.error_cost_usd, record.error_cost_low, record.error_cost_high),
    )
    table = found.table.set_index("model_id")
    money = _money(record, filed, table)
    changes = _changes(filed, table, prices, lost, new)
    stands, verdict = _verdict(record, money, table, prices, changes)
    if later := scheduled_said(of_today, list(numbers.index)):
        notes.append(later)
    return Review(stands, verdict, changes, money, found.table, tuple(notes))


def _named(record, prices):
    """The record with the catalogue's model ids, whatever spelling stands in its head."""

    def own(name):
        try:
            return prices.resolve(name)
        except ValueError:
            return canonical(name) or name

    rows = [row | {"model_id": own(row["model_id"])} for row in record.candidates]
    return replace(record, model_id=own(record.model_id), candidates=rows)


def _new_models(filed, prices, as_of):
    """Models of today's lineup that were in none when it was decided, of its providers and tiers: model -> (provider, tier)."""
    first = max(pd.Timestamp(as_of), prices.lineups["as_of"].min())
    if prices.lineups.empty or first > prices.as_of:
        return {}
    old, slots = set(prices.models(first)), prices.lineup().stack().dropna()
    providers, tiers = set(filed["provider"]), set(filed["tier"])
    return {
        model: (provider, tier)
        for (provider, tier), model in slots.items()
        if model not in old and model not in filed.index and provider in providers and tier in tiers
    }


def _borrowed(filed, model, provider, tier, notes):
    """Numbers of a new model: those of the record's candidate in its place, or the mean of its tier."""
    peers = filed[(filed["provider"] == provider) & (filed["tier"] == tier)].head(1)
    peers = peers if len(peers) else filed[filed["tier"] == tier]
    whose = (
        f"those of {peers.index[0]}" if len(peers) == 1 else f"the mean of {', '.join(peers.index)}"
    )
    notes.append(
        f"{model} is new: its error rate and time are {whose}, until you run examples of your own"
    )
    numbers = peers[[*_ERRORS, "worth", "shared", *_TIMES]].mean(skipna=False)
    numbers["price_scale"] = peers["price_scale"].mean()
    borrowed = {
        "provider": provider,
        "tier": tier,
        "like": peers.index[0],
        "price_basis": peers["price_basis"].iloc[0],
    }
    return pd.DataFrame([numbers], index=[model]).assign(**borrowed)


def _scaled(prices, scale, basis):
    """A catalogue in which the filed workload costs what was filed, times what the rates have moved (`Record.candidates`)."""
    if scale.eq(1).all():
        return prices
    factor = prices.frame["model_id"].map(scale).fillna(1.0)
    rough = prices.frame["approximate"] & ~prices.frame["model_id"].isin(
        basis.index[basis != "catalogue"]
    )
    return replace(
        prices,
        frame=prices.frame.assign(
            approximate=rough, **{rate: prices.frame[rate] * factor for rate in RATES}
        ),
    )


def _notes(record, filed, known, kept_price, lost, prices):
    basis = filed["price_basis"]
    from_where = {"samples": "from samples", "given": "given by hand"}
    notes = [
        f"{model} is not in the catalogue: its price as filed stands, {usd(price)} a request, {from_where[basis[model]]}"
        for model, price in kept_price.items()
    ]
    notes += [
        f"the price of {model} as filed, {from_where[basis[model]]}, moves with the catalogue's rates"
        for model in filed.index[known & (basis != "catalogue") & filed["price_scale"].notna()]
    ]
    notes += [
        f"{model} is in the catalogue now, whose price replaces the one {from_where[basis[model]]}"
        for model in filed.index[known & (basis != "catalogue") & filed["price_scale"].isna()]
    ]
    notes += [f"{model} has no price in {prices.source} and is left out" for model in lost]
    sums = (
        filed["price_usd"]
        + filed["error_rate"] * record.error_cost_usd
        + _time_usd(record, filed["seconds"])
    )
    off = filed.index[(filed["expected_usd"] - sums).abs() > 1e-6 * sums]
    if len(off):
        notes.append(
            f"the filed expected_usd of {', '.join(off)} does not follow from the head (was it edited?): the sum is used"
        )
    if not record.tier:
        notes.append(
            f"{record.model_id} has no tier: no model of today's lineup was compared in its place"
        )
    if record.workload.get("monthly_growth"):
        notes.append(
            "dollars a day are those of the volume on the first day; the growth that was filed comes on top"
        )
    return notes


def _time_usd(record, seconds):
    """What the waiting for a request costs: nobody waits for what is in batch."""
    waits = record.second_usd * (1 - workload_of(record).point().batch_share)
    return seconds * waits if waits else 0.0


def _changes(filed, table, prices, lost, new):
    retires = prices.by_model["retires_on"]
    horizon = prices.as_of + pd.DateOffset(months=REVIEW_MONTHS)
    rows = []
    for model in [*filed.index, *new]:
        tier = filed.at[model, "tier"] if model in filed.index else new[model][1]
        before = filed["price_usd"].get(model, float("nan"))
        after, leaves = table["price_usd"].get(model, float("nan")), retires.get(model)
        said = []
        if model in new:
            said.append(
                (
                    "new",
                    "new in the lineup, "
                    + (f"at {usd(after)} a request" if after == after else "without a price"),
                )
            )
        elif abs(after - before) > (_SAME - 1) * before:
            ratio = f" ({after / before - 1:+.0%})" if before else ""
            said.append(("price", f"a request costs {usd(after)} instead of {usd(before)}{ratio}"))
        if model in lost:
            gone = filed.at[model, "price_basis"] == "catalogue"
            said.append(("retired", "no longer in the catalogue" if gone else "no price was filed"))
        elif pd.notna(leaves) and leaves <= prices.as_of:
            said.append(("retired", f"retired on {leaves:%Y-%m-%d}"))
        elif pd.notna(leaves) and leaves <= horizon:
            said.append(("retires", f"retires on {leaves:%Y-%m-%d}"))
        elif after != after and model in table.index:
            said.append(("out", f"out of the running: {table.at[model, 'note']}"))
        rows += [(model, tier, kind, what, before, after) for kind, what in said]
    return pd.DataFrame(
        rows, columns=["model_id", "tier", "kind", "what", "before_usd", "after_usd"]
    )


def _money(record, filed, table):
    """US dollars per day: as filed, kept, and of the cheapest today; a choice that ties is the cheapest."""
    own, running = filed.loc[record.model_id], table[table["expected_usd"].notna()]
    kept = (
        table.loc[record.model_id]
        if record.model_id in table.index
        else pd.Series({"tier": own["tier"]})
    )
    best = running.iloc[0]
    if kept.get("expected_usd", float("inf")) <= best["expected_usd"] * _SAME:
        best = running.loc[record.model_id]
    errors, time = own["error_rate"] * record.error_cost_usd, _time_usd(record, own["seconds"])
    decided = {"tier": own["tier"], "price_usd": own["price_usd"], "error_usd": errors, "time_usd": time,
               "expected_usd": own["price_usd"] + errors + time}  # fmt: skip
    columns = {"price_usd": "bill_usd", "error_usd": "errors_usd", "time_usd": "time_usd", "expected_usd": "expected_usd",
               "low": "low_usd", "high": "high_usd"}  # fmt: skip
    money = pd.DataFrame({"decided": decided, "kept": kept, "best": best}).T.rename_axis("what")
    money = money.reindex(columns=["tier", *columns, "best_share"]).rename(columns=columns)
    money.insert(0, "model_id", [record.model_id, record.model_id, best.name])
    days = workload_of(record).point().requests_per_day
    dollars = {name: money[name].astype(float) * days for name in columns.values()}
    money = money.assign(**dollars, best_share=money["best_share"].astype(float))
    if pd.isna(money.at["kept", "expected_usd"]):  # out of the running: nothing of it is a cost
        money.loc["kept", list(columns.values())] = float("nan")
    return money


def _verdict(record, money, table, prices, changes):
    kept, best = money.loc["kept"], money.loc["best"]
    when, total = f"{prices.as_of:%Y-%m-%d}", f"{usd(best['expected_usd'])} a day all in"
    if pd.isna(kept["expected_usd"]):
        why = (
            table.at[record.model_id, "note"]
            if record.model_id in table.index
            else "it has no price any more"
        )
        return (
            False,
            f"The decision cannot stand on {when}: {record.model_id}, {why}. The cheapest now is {best['model_id']}, {total} ({_sure(best)}).",
        )
    if best["model_id"] == record.model_id:
        moved = kept["expected_usd"] - money.at["decided", "expected_usd"]
        same = abs(moved) <= (_SAME - 1) * kept["expected_usd"]
        since = (
            "as much as" if same else f"{usd(abs(moved))} {'more' if moved > 0 else 'less'} than"
        )
        leaves = changes[(changes["model_id"] == record.model_id) & (changes["kind"] == "retires")][
            "what"
        ]
        but = f", but it {leaves.iloc[0]}" if len(leaves) else ""
        return (
            True,
            f"The decision stands on {when}: {record.model_id} is still the cheapest, {total} ({_sure(best)}), {since} when it was filed{but}.",
        )
    saved, bill = kept["expected_usd"] - best["expected_usd"], best["bill_usd"] - kept["bill_usd"]
    alone = f"{usd(abs(bill))} a day {'higher' if bill > 0 else 'lower'}" if bill else "the same"
    return False, (
        f"The decision flips on {when}: {best['model_id']} in place of {record.model_id} saves {usd(saved)} a day all in "
        f"({usd(365 * saved)} a year); the bill alone would be {alone}. {best['model_id']} costs {total} ({_sure(best)})."
    )


def _sure(row):
    """How sure an amount is, and that it is the least."""
    span = f"{usd(row['low_usd'])} to {usd(row['high_usd'])} in {INTERVAL}; "
    return (
        span if row["low_usd"] * _SAME < row["high_usd"] else ""
    ) + f"the cheapest in {row['best_share']:.0%} of the draws"
