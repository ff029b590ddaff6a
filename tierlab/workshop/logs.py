"""Check exercises 3, 4 and 10: usage logs in five disjoint buckets, responses written twice, a quarterly report."""

import json
import math
from dataclasses import fields
from functools import lru_cache

import numpy as np
import pandas as pd

from tierlab.core.format import usd
from tierlab.core.paths import DATA
from tierlab.core.tables import TOKEN_COLUMNS
from tierlab.core.vocabulary import unknown
from tierlab.prices.catalog import load_prices
from tierlab.prices.pricing import price
from tierlab.usage.read import read_usage
from tierlab.workshop.values import Hint, compare, frame, number, table

FOLDER = DATA / "workshop"
_OUT = "message.usage.output_tokens"
# The effect that moves most when an event is left out of the simulated quarters; tests/workshop makes the count.
SEEN_IN = {"leak": "task_mix", "cache_break": "cache_batch", "price_change": "price"}
_WHY = {
    "leak": "the leak brings requests of a kind that the quarter before did not have",
    "cache_break": "when a cache breaks, the same tokens are paid for at another rate of the same list",
    "price_change": "a price change leaves the requests as they are",
}


def five_buckets(anthropic, openai):
    """Check exercise 3: one table for each of two logs, without the rows that are not requests."""
    for name, answer, file in (
        ("anthropic", anthropic, "anthropic_usage.json"),
        ("openai", openai, "openai_usage.csv"),
    ):
        right = _requests(file)[list(TOKEN_COLUMNS)].astype(float)
        counts = _counts(name, answer, right)
        theirs, ours = counts.sum(), right.sum()
        for column in TOKEN_COLUMNS:
            try:
                compare(
                    f"the sum of {name}[{column!r}]",
                    theirs[column],
                    ours[column],
                    mistakes=_misread(name, ours)[column],
                )
            except Hint as hint:
                over = np.sign(theirs.sum() - ours.sum())
                found = {0: "as many tokens as", 1: "more tokens than", -1: "fewer tokens than"}
                raise Hint(
                    f"{hint} (the five buckets of {name} together hold {found[over]} the file)"
                ) from None
        if sorted(counts.itertuples(index=False)) != sorted(right.itertuples(index=False)):
            raise Hint(
                f"the sums of {name} are right, but counts have moved to other rows: keep those of one row together"
            )
        yield name
    used = _requests("openai_usage.csv")
    twice = used["uncached_input_tokens"] + used["cache_read_tokens"]
    billed, wrong = (_bill(rows) for rows in (used, used.assign(uncached_input_tokens=twice)))
    added = usd(1_000 * (wrong / billed - 1))
    return f"Counting cached tokens twice would add {added} to every $1,000 of OpenAI's bill."


def _bill(requests):
    """Return the US dollars that requests cost at the maintained prices of the days in the logs."""
    prices = load_prices("maintained", as_of="2026-09-01")
    return price(requests, prices)["cost_usd"].sum()


@lru_cache
def _requests(file):
    return read_usage(FOLDER / file).requests


def _counts(name, answer, right):
    """Return the answer's five columns as numbers, if it has one row for each usage row of the file."""
    frame(name, answer, columns=TOKEN_COLUMNS)
    columns = answer[list(TOKEN_COLUMNS)]
    if columns.isna().any(axis=None) and len(answer) == len(right):
        raise Hint(f"{name} has missing counts: a bucket that a provider does not have is zero")
    try:
        columns = columns.astype(float)
    except (TypeError, ValueError):
        raise Hint(f"{name} has counts that are not numbers, such as text") from None
    whole, rows = columns.sum().sum(), len(right)
    if len(answer) > rows and math.isclose(whole, len(answer) / rows * right.sum().sum()):
        raise Hint(f"{name} has rows more than once")
    if len(answer) > rows:
        raise Hint(
            f"{name} has rows that are not usage: what does the file write for a day on which nobody asked anything?"
        )
    if len(answer) < rows and whole == right.sum().sum():
        raise Hint(f"{name} has rows added up; keep one row for each row of the file that is usage")
    if len(answer) < rows:
        raise Hint(f"{name} has lost rows that hold tokens")
    return columns


def _misread(name, ours):
    """Return what usual misreadings of a provider's counters add up to, by bucket."""
    plain, read, short, long, _ = ours
    mistakes = {column: {} for column in TOKEN_COLUMNS}
    if name == "openai":
        return mistakes | {
            "uncached_input_tokens": {
                "OpenAI's input_tokens holds the cached tokens as well, so these are counted twice": (
                    plain + read
                ),
                "the cached tokens are taken off twice": plain - read,
            },
            "cache_read_tokens": {
                "the cached tokens are missing: they are cheaper than the others, not free": 0.0
            },
        }
    both = {"both times to live are in one bucket": short + long}
    swapped = "the two times to live have changed places"
    return mistakes | {
        "uncached_input_tokens": {
            "Anthropic's counter leaves the cached tokens out already; nothing is to be taken off": (
                plain - read,
                plain - read - short - long,
            ),
            "this is the whole input; what was read from or written to the cache has buckets of its own": (
                plain + read,
                plain + read + short + long,
            ),
        },
        "cache_write_short_tokens": both | {swapped: long, "the cache writes are missing": 0.0},
        "cache_write_long_tokens": (
            both | {swapped: short, "the cache writes of the longer time to live are missing": 0.0}
        ),
    }


def one_response(responses, output_tokens, day, over_count):
    """Check exercise 4: what a session log of a coding agent really holds."""
    file = "claude_code_session.jsonl"
    right = _requests(file)
    lines = pd.json_normalize(
        [json.loads(line) for line in (FOLDER / file).read_text(encoding="utf-8").splitlines()]
    )
    told = lines[lines[_OUT].notna()]
    by_model = told[told["message.model"] != "<synthetic>"]
    once = by_model.drop_duplicates("message.id")
    twice = by_model.groupby(["message.id", "requestId"])[_OUT].max()
    side = "a message that a side chain repeats under another request id is still the same message"
    compare(
        "responses",
        responses,
        len(right),
        mistakes={
            side: len(twice),
            "these are lines; one response is written on several": len(by_model),
            "one of these was written by the client itself, and all lines of a response are counted": (
                len(told)
            ),
            "these are all lines of the file": len(lines),
        },
    )
    yield "responses"
    billed, raw = float(right["output_tokens"].sum()), by_model[_OUT].sum()
    compare(
        "output_tokens",
        output_tokens,
        billed,
        mistakes={
            "every line of a response is added up": raw,
            "lines of one response are added up; each repeats what is already there": (
                by_model.drop_duplicates(["message.id", _OUT])[_OUT].sum()
            ),
            side: twice.sum(),
            "the first line of a response is written while it is still being answered: more follows": (
                once[_OUT].sum()
            ),
        },
    )
    yield "output_tokens"
    _is_day(day, right["at"].min(), by_model["timestamp"])
    yield "day"
    compare(
        "over_count",
        over_count,
        raw / billed,
        rel=1e-6,
        mistakes={
            "upside down: by which factor is the plain sum too large?": billed / raw,
            "this is the excess alone; the factor is the plain sum over what is right": (
                (raw - billed) / billed
            ),
            "this compares lines with responses; the exercise asks for tokens": len(by_model)
            / len(right),
        },
    )
    yield "over_count"
    return f"For every $1,000 of output, adding up lines would book {usd(1_000 * raw / billed)}."


def _is_day(day, at, stamps):
    try:
        found = pd.Timestamp(day).date()
    except (ValueError, TypeError):
        raise Hint("day is not a date: write it as 'YYYY-MM-DD'") from None
    if found == at.date():
        return
    if found in {pd.Timestamp(stamp).date() for stamp in stamps}:
        raise Hint("day is that of a later line: which line of a response says when it began?")
    raise Hint("day is not one on which this log was written (times are UTC)")


def quarterly(report, change_usd, effects, unpriced_share, seen_in):
    """Check exercise 10: a complete report, its waterfall, what it left out, and where three events show."""
    from tierlab.quarter.analyse import Quarter

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
            "this is the spend of the quarter; by how much has it changed?": report.spend_usd,
            "this is the distance to the budget; the quarter before is the measure": (
                report.spend_usd - report.budget_usd
            ),
            "this is the share; the exercise asks for US dollars": change / report.before_usd,
        },
    )
    yield "change_usd"
    given = table("effects", effects, list(right.index))
    shares = report.variance.set_index("effect")["share_of_before"]
    for effect, dollars in given.items():
        compare(
            f"effects[{effect!r}]",
            dollars,
            right[effect],
            abs=1e-6,
            mistakes={"this is the share; the exercise asks for US dollars": shares[effect]},
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
    return f"Stopping the leak is worth about {usd(right[SEEN_IN['leak']])} a quarter."


def _complete(report):
    """Refuse a report that has an empty section or no budget."""
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
            "some rows are in no figure: what does the report's coverage say became of the rows that were read?": 0.0,
            "this is a number of rows; what share of the rows read is it?": aside,
            "this is the share that is priced": priced / read,
            "this divides by the rows that are priced; the exercise asks for all rows that were read": aside
            / priced,
            "this divides by the rows of one quarter; the log holds two": (
                aside / count["rows of the quarter"]
            ),
        },
    )


def _explained(seen_in):
    from tierlab.quarter.variance import EFFECTS

    for event, effect in table("seen_in", seen_in, list(SEEN_IN)).items():
        if not isinstance(effect, str) or effect not in EFFECTS:
            raise Hint(f"seen_in[{event!r}]: {unknown('effect', effect, EFFECTS)}")
        if effect != SEEN_IN[event]:
            raise Hint(f"seen_in[{event!r}] is another effect: {_WHY[event]}")
