"""The head of a decision record: its fields, and the checks that stop a head that was edited into nonsense."""

import datetime
from dataclasses import dataclass, fields

import numpy as np

from tierlab.core.untrusted import cited
from tierlab.names import canonical, unknown
from tierlab.workload import Workload

KIND = "tierlab decision record, version 2"
SHAPE = ("requests_per_day", "input_tokens", "output_tokens", "input_spread", "output_spread", "turns", "cache_hit_rate",
         "cache_ttl", "batch_share", "reasoning_share", "monthly_growth")  # fmt: skip
CANDIDATE = ("model_id", "provider", "tier", "price_usd", "price_basis", "price_scale", "error_rate", "error_low", "error_high",
             "worth", "shared", "seconds", "seconds_low", "seconds_high", "expected_usd")  # fmt: skip
_BASES = ("catalogue", "samples", "given")


@dataclass(frozen=True)
class Record:
    """The head of a decision record.

    Attributes
    ----------
    title, owner : str
    decided_on, review_on : date
    task : str
        "" where none was named.
    stakes, complexity : list of int
        The ratings of the task, (low, high) from 1 to 3; empty without.
    model_id, tier, provider : str
        The choice.
    workload : dict
        Fields of `tierlab.Workload`; a range is a list of two numbers.
    tool_calls : int
        Per request; the error rates include theirs.
    error_cost_usd, error_cost_low, error_cost_high, second_usd : float
        USD per error, its range, and USD per second of waiting.
    basis : str
        Where the error rates came from.
    examples : int
        How many of your own examples stand behind them; of samples, those that the choice has in common with its rival.
    examples_needed, margin : int, float
        How many the margin takes (how much worse than a rival the choice may be, 0-1); 0 without samples.
    prices : dict
        source, as_of.
    candidates : list of dict
        The models that were compared, per request: price_usd, price_basis ("catalogue", "samples", "given"), price_scale
        (price_usd over the catalogue's price of `workload`: not 1 where a table of requests was filed as its mean, or the
        price is that of samples; None for a model outside the catalogue), error_rate, error_low, error_high, worth, shared
        (what the draws are made of: `tierlab.error_rates.Errors`), seconds, seconds_low, seconds_high, expected_usd.
    flips : list of dict
        What would change the choice: what, unit, now, below, below_to, above, above_to, note.
    next_step : int
        Step of the checklist that was next when it was filed, 1 to 7.
    grounds : list of str
    """

    title: str
    owner: str
    decided_on: datetime.date
    review_on: datetime.date
    task: str
    stakes: list
    complexity: list
    model_id: str
    tier: str
    provider: str
    workload: dict
    tool_calls: int
    error_cost_usd: float
    error_cost_low: float
    error_cost_high: float
    second_usd: float
    basis: str
    examples: int
    examples_needed: int
    margin: float
    prices: dict
    candidates: list
    flips: list
    next_step: int
    grounds: list


def workload_of(filed):
    """The `tierlab.Workload` of a record, or of the fields that one holds."""
    filed = filed.workload if isinstance(filed, Record) else filed
    return Workload(**{name: tuple(value) if isinstance(value, list) else value for name, value in filed.items()})


def checked(head):
    """The record that a head describes.

    Parameters
    ----------
    head : dict
        As read from YAML, with the line `kind`.

    Returns
    -------
    Record

    Raises
    ------
    ValueError
        If a field is missing, unknown, of the wrong kind or out of its range; names it.
    """
    if not isinstance(head, dict) or head.get("kind") != KIND:
        raise ValueError(f"the head has no line 'kind: {KIND}'")
    kinds = {field.name: field.type for field in fields(Record)}
    for name in head:
        if name != "kind" and name not in kinds:
            raise ValueError(unknown("field", name, kinds))
    values = {name: _of_kind(name, head, kind) for name, kind in kinds.items()}
    record = Record(**values)
    for name in ("error_cost_usd", "second_usd", "tool_calls", "examples", "examples_needed", "margin"):
        _number(name, values[name])
    if not 0 <= record.error_cost_low <= record.error_cost_usd <= record.error_cost_high < np.inf:
        raise ValueError("error_cost_low, error_cost_usd and error_cost_high are numbers in that order, from 0 up")
    if not isinstance(record.prices.get("source"), str) or not _is_date(record.prices.get("as_of")):
        raise ValueError(f"prices = {cited(record.prices)}; a source and a date as_of are needed")
    _check_lists(record)
    _check_workload(record.workload)
    _check_candidates(record)
    return record


def _of_kind(name, head, kind):
    if name not in head:
        raise ValueError(f"field {cited(name)} is missing")
    value = head[name]
    if kind is float and type(value) is int:
        value = float(value)
    right = _is_date(value) if kind is datetime.date else isinstance(value, kind) and not isinstance(value, bool)
    if not right:
        raise ValueError(f"{name} = {cited(value)}; {kind.__name__} is needed")
    return value


def _is_date(value):
    return isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(name, value, most=np.inf):
    if not _is_number(value) or not (0 <= value <= most and value < np.inf):
        raise ValueError(
            f"{name} = {cited(value)}; a number from 0 " + ("up" if most == np.inf else f"to {most}") + " is needed"
        )


def _check_lists(record):
    for name, kind in {"flips": dict, "grounds": str, "stakes": int, "complexity": int}.items():
        for item in getattr(record, name):
            if not isinstance(item, kind):
                raise ValueError(f"{name}: {cited(item)}; {kind.__name__} is needed")


def _check_workload(filed):
    for name, value in filed.items():
        if name not in SHAPE:
            raise ValueError("workload: " + unknown("field", name, SHAPE))
        ends = value if isinstance(value, list) and name != "turns" else [value]
        if name != "cache_ttl" and not (ends and all(_is_number(end) for end in ends)):
            raise ValueError(f"workload: {name} = {cited(value)}; a number is needed, or a list of its low and high end")
    if "requests_per_day" not in filed:
        raise ValueError("workload: field 'requests_per_day' is missing")
    try:
        workload_of(filed)
    except ValueError as error:
        raise ValueError(f"workload: {error}") from None


def _check_candidates(record):
    for row in record.candidates:
        if not isinstance(row, dict) or set(row) != set(CANDIDATE):
            raise ValueError(f"each candidate has the fields {', '.join(CANDIDATE)}; got {cited(row)}")
        if not all(isinstance(row[name], str) for name in ("model_id", "provider", "tier")) or row["price_basis"] not in _BASES:
            raise ValueError(
                f"candidate {cited(row['model_id'])}: model_id, provider and tier are text, price_basis one of {_BASES}"
            )
        where = f"candidate {row['model_id']}: "
        for name in ("price_usd", "price_scale", "seconds", "seconds_low", "seconds_high", "expected_usd"):
            if row[name] is not None:
                _number(where + name, row[name])
        for name in ("error_rate", "error_low", "error_high"):
            _number(where + name, row[name], most=1)
        _number(where + "worth", row["worth"])
        if not _is_number(row["shared"]) or not -1 <= row["shared"] <= 1:
            raise ValueError(f"{where}shared = {row['shared']!r}; a number from -1 to 1 is needed")
        times = [row[name] for name in ("seconds_low", "seconds", "seconds_high")]
        if (None in times and times != [None] * 3) or (None not in times and times != sorted(times)):
            raise ValueError(f"{where}seconds_low, seconds and seconds_high are not in that order")
        if not row["error_low"] <= row["error_rate"] <= row["error_high"]:
            raise ValueError(f"{where}error_low, error_rate and error_high are not in that order")
        if record.second_usd and row["seconds"] is None:
            raise ValueError(f"{where}seconds are missing, and a second costs {record.second_usd:g} USD")
    names = [canonical(row["model_id"]) or row["model_id"] for row in record.candidates]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the candidate {cited(name)} is there {names.count(name)} times")
    if all(row["price_usd"] is None for row in record.candidates):
        raise ValueError("no candidate has a price_usd")
    choice = canonical(record.model_id) or record.model_id
    if choice not in names:
        raise ValueError(f"the choice {cited(record.model_id)} is not among the candidates")
    if record.candidates[names.index(choice)]["price_usd"] is None:
        raise ValueError(f"the choice {cited(record.model_id)} has no price_usd")
