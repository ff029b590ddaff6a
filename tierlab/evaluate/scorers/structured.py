"""Scorers of structured replies: the fields of a JSON object, and tool calls."""

from collections.abc import Mapping

from tierlab.core.vocabulary import needs
from tierlab.evaluate.scorers.answers import (
    JSON_CHARS,
    Score,
    clip,
    json_values,
    same_value,
)

_MISSING = object()


def json_fields(text, tool_calls, reference, *, unordered=False):
    """Share of the expected fields that the reply's JSON has right.

    Parameters
    ----------
    text : str
        The JSON may stand in a fenced block or among words; the last object or array with any of the fields counts.
    tool_calls : sequence of ToolCall
        Not looked at.
    reference : dict
        Field -> expected value, compared by `tierlab.evaluate.scorers.answers.same_value`. A dotted name reaches into objects and
        lists ("customer.name", "items.0.price"). Fields that the reply adds do not count.
    unordered : bool
        Lists match in any order.

    Examples
    --------
    >>> json_fields('{"order": {"id": "a-7"}, "total": 12}', (), {"order.id": "A-7", "total": 12.5})
    Score(score=0.5, reason='1 of 2 fields right; total is 12, not 12.5')
    """
    values = [each for each in json_values(text) if isinstance(each, dict | list)]
    if not values:
        place = "" if len(text) <= JSON_CHARS else f" in the first {JSON_CHARS:,} characters"
        return Score(0.0, f"no JSON object in the reply{place}")
    value = next(
        (v for v in reversed(values) if any(_at(v, field) is not _MISSING for field in reference)),
        values[-1],
    )
    wrong = {
        field: _at(value, field)
        for field, wanted in reference.items()
        if _at(value, field) is _MISSING
        or not same_value(wanted, _at(value, field), unordered=unordered)
    }
    total = len(reference)
    if not wrong:
        return Score(1.0, f"all {total} fields right" if total > 1 else "the field is right")
    field, got = next(iter(wrong.items()))
    fault = (
        f"{field} is missing"
        if got is _MISSING
        else f"{field} is {clip(got)}, not {clip(reference[field])}"
    )
    return Score(1 - len(wrong) / total, f"{total - len(wrong)} of {total} fields right; {fault}")


def tool_call(text, tool_calls, reference, *, allow_extra=False):
    """Share of the expected tool calls that were made, each weighted by its share of right arguments.

    Parameters
    ----------
    text : str
        Not looked at: a model may say what it does.
    tool_calls : sequence of ToolCall
    reference : dict or list of dict
        ``{"name": str, "arguments": dict}``, several in order, or ``{"name": None}`` where no call is right.
    allow_extra : bool or list of str
        Arguments beyond the expected ones that do not count as wrong: any, or those named.

    Notes
    -----
    A call with the wrong name, or out of its place, has 0; with the right name, the right arguments over all
    arguments expected or surplus. A missing and a surplus call count as calls with 0. Arguments are compared by
    `tierlab.evaluate.scorers.answers.same_value`.

    Examples
    --------
    >>> from tierlab.evaluate.scorers.answers import ToolCall
    >>> wanted = {"name": "weather", "arguments": {"city": "Bern", "unit": "C"}}
    >>> tool_call("", [ToolCall("weather", {"city": "bern", "unit": "F"})], wanted)
    Score(score=0.5, reason="weather: unit is 'F', not 'C'")
    """
    wanted = [reference] if isinstance(reference, Mapping) else list(reference)
    if wanted[0]["name"] is None:
        return (
            Score(0.0, f"calls {clip(tool_calls[0].name)}, where no call is right")
            if tool_calls
            else Score(1.0, "no call, as expected")
        )
    if not tool_calls:
        return Score(0.0, f"no call, where {clip(wanted[0]['name'])} is expected")
    judged = [
        _one_call(call, made, allow_extra) for call, made in zip(wanted, tool_calls, strict=False)
    ]
    score = sum(each.score for each in judged) / max(len(wanted), len(tool_calls))
    faults = [each.reason for each in judged if each.score < 1]
    if len(tool_calls) != len(wanted):
        faults.append(
            f"{len(tool_calls)} call{'s' if len(tool_calls) > 1 else ''}, where {len(wanted)} {'are' if len(wanted) > 1 else 'is'} expected"
        )
    return Score(
        score,
        faults[0]
        if faults
        else f"calls {clip(wanted[0]['name'])} as expected"
        if len(wanted) == 1
        else f"all {len(wanted)} calls right",
    )


def check_tool_call(reference, **_):
    calls = [reference] if isinstance(reference, Mapping) else reference
    for call in calls:
        alone = call["name"] is not None or (len(calls) == 1 and not call.get("arguments"))
        needs("tool_call: call", call, alone, "no other call and no argument beside a name of null")


def _one_call(wanted, made, allow_extra):
    if made.name != wanted["name"]:
        return Score(0.0, f"calls {clip(made.name)}, not {clip(wanted['name'])}")
    expected, given = wanted.get("arguments", {}), made.arguments
    if "" in given and "" not in expected:
        return Score(0.0, f"{wanted['name']}: the arguments are not a JSON object")
    faults = [
        f"{name} is missing"
        if name not in given
        else f"{name} is {clip(given[name])}, not {clip(value)}"
        for name, value in expected.items()
        if name not in given or not same_value(value, given[name])
    ]
    right = len(expected) - len(faults)
    surplus = (
        []
        if allow_extra is True
        else [n for n in given if n not in expected and n not in (allow_extra or ())]
    )
    faults += [f"{clip(name)} is not expected" for name in surplus]
    total = len(expected) + len(surplus)
    return Score(
        right / total if total else 1.0, f"{wanted['name']}: {faults[0]}" if faults else ""
    )


def _at(value, path):
    """The value at a dotted path, or a mark that there is none; a field whose own name has dots comes first."""
    if isinstance(value, dict) and path in value:
        return value[path]
    for part in path.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif (
            isinstance(value, list)
            and part.isdecimal()
            and len(part) < 9
            and int(part) < len(value)
        ):
            value = value[int(part)]
        else:
            return _MISSING
    return value
