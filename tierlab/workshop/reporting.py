"""Check of exercise 10: a quarterly report without gaps, and what its waterfall says."""

from dataclasses import fields

import pandas as pd

from tierlab.core.format import usd as money
from tierlab.core.vocabulary import unknown
from tierlab.quarter.analyse import Quarter
from tierlab.quarter.variance import EFFECTS
from tierlab.workshop.values import Hint, compare, number, table

# Effect that moves most when an event is left out of the simulated quarters (tests/workshop counts).
SEEN_IN = {"leak": "task_mix", "cache_break": "cache_batch", "price_change": "price"}
_WHY = {
    "leak": "the leak brings requests of a kind that the quarter before did not have",
    "cache_break": "when a cache breaks, the same tokens are paid for at another rate of the same list",
    "price_change": "a price change leaves the requests as they are",
}


def quarterly(report, change_usd, effects, unpriced_share, seen_in):
    """Exercise 10: a report whose sections are all there, its waterfall, what it left out, and where three events show."""
    if not isinstance(report, Quarter):
        raise Hint("report is not what tl.analyse returns")
    _complete(report)
    yield "report"
    right = report.variance.set_index("effect")["usd"]
    change = report.spend_usd - report.before_usd
    compare(
        "change_usd",
        change_usd,
        change,
        abs=1e-6,
        mistakes={
            report.spend_usd: "this is the spend of the quarter; by how much has it changed?",
            report.spend_usd
            - report.budget_usd: "this is the distance to the budget; the quarter before is the measure",
            change / report.before_usd: "this is the share; US dollars are asked for",
        },
    )
    yield "change_usd"
    given = table("effects", effects, list(right.index))
    shares = report.variance.set_index("effect")["share_of_before"]
    for effect, usd in given.items():
        compare(
            f"effects[{effect!r}]",
            usd,
            right[effect],
            abs=1e-6,
            mistakes={shares[effect]: "this is the share; US dollars are asked for"},
        )
    if abs(sum(map(float, given.values())) - number("change_usd", change_usd)) > 1e-6:
        raise Hint(
            "the effects are rounded, and no longer add up to change_usd: round when you show, not before"
        )
    yield "effects"
    _unpriced(unpriced_share, report.coverage.set_index("what")["count"])
    yield "unpriced_share"
    _explained(seen_in)
    yield "seen_in"
    return f"Stopping the leak is worth about {money(right[SEEN_IN['leak']])} a quarter."


def _complete(report):
    """Every section holds something, and the budget is given."""
    tables = [
        field.name
        for field in fields(report)
        if isinstance(getattr(report, field.name), pd.DataFrame)
        and field.name not in ("arrival", "gaps", "invoice")
    ]
    empty = [name for name in tables if getattr(report, name).empty] + ["forecast"] * (
        report.forecast is None
    )
    empty += ["budget"] if "budget" in report.missing else []
    if empty:
        said = "; ".join(f"{name} {report.missing.get(name, 'is empty')}" for name in empty)
        raise Hint(f"the report has sections with nothing in them: {said}")


def _unpriced(answer, count):
    read, priced = count["rows read"], count["rows priced"]
    aside = read - priced
    compare(
        "unpriced_share",
        answer,
        aside / read,
        rel=1e-3,
        mistakes={
            0.0: "some rows are in no figure: what does the report's coverage say became of the rows that were read?",
            aside: "this is a number of rows; what share of the rows read is it?",
            priced / read: "this is the share that is priced",
            aside / priced: "this divides by the rows that are priced; all rows read are asked for",
            aside
            / count[
                "rows of the quarter"
            ]: "this divides by the rows of one quarter; the log holds two",
        },
    )


def _explained(seen_in):
    for event, effect in table("seen_in", seen_in, list(SEEN_IN)).items():
        if not isinstance(effect, str) or effect not in EFFECTS:
            raise Hint(f"seen_in[{event!r}]: {unknown('effect', effect, EFFECTS)}")
        if effect != SEEN_IN[event]:
            raise Hint(f"seen_in[{event!r}] is another effect: {_WHY[event]}")
