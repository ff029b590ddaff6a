"""The six-month review: what changed since a decision was filed, whether it still stands, and what keeping it costs."""

from dataclasses import dataclass, field

import pandas as pd

from tierlab.catalog import load_prices
from tierlab.money import usd
from tierlab.options import weigh
from tierlab.recommendation import REVIEW_MONTHS
from tierlab.record import load_record, workload_of


@dataclass(frozen=True, eq=False)
class Review:
    """What `review` found.

    Attributes
    ----------
    stands : bool
        Whether the model that was chosen is still there and still the cheapest all in.
    verdict : str
        The same in a sentence, with the dollars.
    changes : DataFrame
        model_id, tier, kind ("price", "retired", "retires", "new"), what, before_usd, after_usd (USD per request).
    money : DataFrame
        Rows "decided" (as filed), "kept" (the choice at today's prices) and "best" (the cheapest today): model_id, tier,
        and US dollars per day: bill_usd, errors_usd, time_usd, expected_usd.
    table : DataFrame
        Every candidate today: see `tierlab.options.Options`.
    grounds : tuple of str
    """

    stands: bool
    verdict: str
    changes: pd.DataFrame = field(repr=False)
    money: pd.DataFrame = field(repr=False)
    table: pd.DataFrame = field(repr=False)
    grounds: tuple

    def __repr__(self):
        changes = [f"  {row.model_id}: {row.what}" for row in self.changes.itertuples()] or ["  nothing changed"]
        return "\n".join([self.verdict, "Since then:", *changes, *(f"Note: {line}." for line in self.grounds)])


def review(record, *, prices=None):
    """Judge a filed decision again at other prices.

    Parameters
    ----------
    record : Record or path
    prices : Prices, optional
        Of the day on which you stand; by default the maintained catalogue.

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
    the lineup have moved. A model that is new in a lineup of one of the record's providers stands in with the error
    rate and time that the record has for its tier; only your own examples can say better.
    """
    record = record if hasattr(record, "candidates") else load_record(record)
    prices = load_prices("maintained") if prices is None else prices
    if prices.as_of < pd.Timestamp(record.decided_on):
        raise ValueError(f"the prices are of {prices.as_of:%Y-%m-%d}, before the decision of {record.decided_on}")
    filed = pd.DataFrame(record.candidates).set_index("model_id")
    known = set(prices.frame["model_id"])
    lost = [model for model in filed.index if model not in known]
    new = _new_models(filed, prices)
    if lost == list(filed.index) and not new:
        raise ValueError(f"none of the record's models has a price in {prices.source}: {', '.join(lost)}")
    there = [model for model in filed.index if model not in lost]
    errors, seconds = _rates(filed, there, new)
    found = weigh(prices=prices, workload=workload_of(record), models=[*there, *new], error_rates=errors, second_usd=record.second_usd,
                  seconds=seconds, error_cost_usd=record.error_cost_usd)  # fmt: skip
    table = found.table.set_index("model_id")
    changes = _changes(filed, table, prices, lost, new)
    money = _money(record, filed, table, workload_of(record).point().requests_per_day)
    notes = [f"{model} is new and has the error rate that the record has for {tier}" for model, tier in new.items()]
    notes += [f"{model} has no price in {prices.source} and is left out" for model in lost]
    stands, verdict = _verdict(record, money, table, prices)
    return Review(stands, verdict, changes, money, found.table, tuple(notes))


def _new_models(filed, prices):
    """Models of today's lineup that the record does not know, of its providers and tiers: model -> tier."""
    lineup = prices.lineup()
    slots = lineup.loc[[p for p in lineup.index if p in set(filed["provider"])]].stack().dropna()
    return {model: tier for (_, tier), model in slots.items() if model not in filed.index and tier in set(filed["tier"])}


def _rates(filed, there, new):
    by_tier = filed.groupby("tier")[["error_rate", "error_low", "error_high", "seconds"]].median()
    errors = {model: tuple(filed.loc[model, ["error_rate", "error_low", "error_high"]].astype(float)) for model in there}
    errors |= {
        model: tuple(by_tier.loc[tier, ["error_rate", "error_low", "error_high"]].astype(float)) for model, tier in new.items()
    }
    times = {model: filed.at[model, "seconds"] for model in there} | {
        model: by_tier.at[tier, "seconds"] for model, tier in new.items()
    }
    return errors, None if any(pd.isna(value) for value in times.values()) else times


def _changes(filed, table, prices, lost, new):
    rows = []
    retires = prices.frame.drop_duplicates("model_id").set_index("model_id")["retires_on"]
    horizon = prices.as_of + pd.DateOffset(months=REVIEW_MONTHS)
    for model in [*filed.index, *new]:
        tier = filed.at[model, "tier"] if model in filed.index else new[model]
        before = float(filed.at[model, "price_usd"]) if model in filed.index else float("nan")
        after = float(table.at[model, "price_usd"]) if model in table.index else float("nan")
        said = []
        if model in new:
            said.append(
                (
                    "new",
                    f"new in the lineup, at {usd(after)} a request" if after == after else "new in the lineup, without a price",
                )
            )
        elif after == after and abs(after - before) > 1e-9 * before:
            said.append(("price", f"a request costs {usd(after)} instead of {usd(before)} ({after / before - 1:+.0%})"))
        leaves = retires.get(model)
        if model in lost:
            said.append(("retired", "no longer in the catalogue"))
        elif pd.notna(leaves) and leaves <= prices.as_of:
            said.append(("retired", f"retired on {leaves:%Y-%m-%d}"))
        elif pd.notna(leaves) and leaves <= horizon:
            said.append(("retires", f"retires on {leaves:%Y-%m-%d}"))
        rows += [
            {"model_id": model, "tier": tier, "kind": kind, "what": what, "before_usd": before, "after_usd": after}
            for kind, what in said
        ]
    return pd.DataFrame(rows, columns=["model_id", "tier", "kind", "what", "before_usd", "after_usd"])


def _money(record, filed, table, per_day):
    own = filed.loc[record.model_id]
    best = table[table["expected_usd"].notna()].iloc[0]
    kept = table.loc[record.model_id] if record.model_id in table.index else None
    rows = [
        _day(
            "decided",
            record.model_id,
            own["tier"],
            own["price_usd"],
            own["error_rate"] * record.error_cost_usd,
            own["expected_usd"],
            per_day,
        )
    ]
    if kept is None:
        rows.append(_day("kept", record.model_id, own["tier"], *[float("nan")] * 3, per_day))
    else:
        rows.append(
            _day("kept", record.model_id, kept["tier"], kept["price_usd"], kept["error_usd"], kept["expected_usd"], per_day)
        )
    rows.append(_day("best", best.name, best["tier"], best["price_usd"], best["error_usd"], best["expected_usd"], per_day))
    return pd.DataFrame(rows).set_index("what")


def _day(what, model, tier, price, errors, expected, per_day):
    parts = {"bill_usd": price, "errors_usd": errors, "time_usd": expected - price - errors, "expected_usd": expected}
    return {"what": what, "model_id": model, "tier": tier} | {name: float(value) * per_day for name, value in parts.items()}


def _verdict(record, money, table, prices):
    kept, best = money.loc["kept"], money.loc["best"]
    when = f"{prices.as_of:%Y-%m-%d}"
    if pd.isna(kept["expected_usd"]):
        why = table.at[record.model_id, "note"] if record.model_id in table.index else "it has no price any more"
        return (
            False,
            f"The decision cannot stand on {when}: {record.model_id}, {why}. The cheapest now is {best['model_id']}, {usd(best['expected_usd'])} a day all in.",
        )
    if best["model_id"] == record.model_id:
        moved = kept["expected_usd"] - money.at["decided", "expected_usd"]
        since = f"{usd(abs(moved))} {'more' if moved > 0 else 'less'} than" if abs(moved) > 1e-9 else "as much as"
        return (
            True,
            f"The decision stands on {when}: {record.model_id} is still the cheapest, {usd(kept['expected_usd'])} a day all in "
            f"({since} when it was filed).",
        )
    saved, bill = kept["expected_usd"] - best["expected_usd"], best["bill_usd"] - kept["bill_usd"]
    return False, (
        f"The decision flips on {when}: {best['model_id']} in place of {record.model_id} saves {usd(saved)} a day all in "
        f"({usd(365 * saved)} a year); the bill alone would be {usd(abs(bill))} a day {'higher' if bill > 0 else 'lower'}."
    )
