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
    """Score the share of the expected fields that the reply's JSON has right.

    Parameters
    ----------
    text : str
        The reply. Its JSON may stand in a fenced block or among words; the last object or array with any of the fields
        counts.
    tool_calls : sequence of ToolCall
        Not looked at.
    reference : dict
        The expected value of each field, compared by `tierlab.evaluate.scorers.answers.same_value`. A dotted name reaches
        into objects and lists ("customer.name", "items.0.price"). Fields that the reply adds do not count.
    unordered : bool
        Whether lists match in any order.

    Returns
    -------
    Score

    Examples
    --------
    >>> json_fields('{"order": {"id": "a-7"}, "total": 12}', (), {"order.id": "A-7", "total": 12.5})
    Score(score=0.5, reason='1 of 2 fields right; total is 12, not 12.5')
    """
    values = json_values(text)
    if not values:
        place = "" if len(text) <= JSON_CHARS else f" in the first {JSON_CHARS:,} characters"
        return Score(0.0, f"no JSON object in the reply{place}")
    found = (_present(value, reference) for value in reversed(values))
    given = next(filter(None, found), {})
    faults = list(_faults(reference, given, unordered=unordered))
    total, wrong = len(reference), len(faults)
    if not wrong:
        return Score(1.0, f"all {total} fields right" if total > 1 else "the field is right")
    return Score(1 - wrong / total, f"{total - wrong} of {total} fields right; {faults[0]}")


def tool_call(text, tool_calls, reference, *, allow_extra=False):
    """Score the share of the expected tool calls that were made, each weighted by its share of right arguments.

    Parameters
    ----------
    text : str
        Not looked at: a model may say what it does.
    tool_calls : sequence of ToolCall
    reference : dict or list of dict
        ``{"name": str, "arguments": dict}``, several in order, or ``{"name": None}`` where no call is right.
    allow_extra : bool or list of str
        Arguments beyond the expected ones that do not count as wrong: any, or those named.

    Returns
    -------
    Score

    Notes
    -----
    A call with the wrong name, or out of its place, counts 0. A call with the right name counts its right arguments over
    all arguments expected or surplus. A missing call and a surplus one count as calls with 0. Arguments are compared by
    `tierlab.evaluate.scorers.answers.same_value`.

    Examples
    --------
    >>> from tierlab.evaluate.scorers.answers import ToolCall
    >>> wanted = {"name": "weather", "arguments": {"city": "Bern", "unit": "C"}}
    >>> tool_call("", [ToolCall("weather", {"city": "bern", "unit": "F"})], wanted)
    Score(score=0.5, reason="weather: unit is 'F', not 'C'")
    """
    wanted = [reference] if isinstance(reference, Mapping) else list(reference)
    expected, made = len(wanted), len(tool_calls)
    first = wanted[0]["name"]
    if first is None:
        if made:
            return Score(0.0, f"calls {clip(tool_calls[0].name)}, where no call is right")
        return Score(1.0, "no call, as expected")
    if not made:
        return Score(0.0, f"no call, where {clip(first)} is expected")
    judged = [_one_call(*pair, allow_extra) for pair in zip(wanted, tool_calls, strict=False)]
    reasons = [each.reason for each in judged if each.score < 1]
    if made != expected:
        calls, are = "calls" if made > 1 else "call", "are" if expected > 1 else "is"
        reasons.append(f"{made} {calls}, where {expected} {are} expected")
    right = f"calls {clip(first)} as expected" if expected == 1 else f"all {expected} calls right"
    score = sum(each.score for each in judged) / max(expected, made)
    return Score(score, reasons[0] if reasons else right)


def check_tool_call(reference, **_):
    """Refuse a name of null that stands beside another call or has arguments."""
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
    faults = list(_faults(expected, given))
    right = len(expected) - len(faults)
    if allow_extra is not True:
        allowed = {*expected, *(allow_extra or ())}
        faults += [f"{clip(name)} is not expected" for name in given if name not in allowed]
    if not faults:
        return Score(1.0, "")
    return Score(right / (right + len(faults)), f"{wanted['name']}: {faults[0]}")


def _faults(expected, given, *, unordered=False):
    for name, wanted in expected.items():
        if name not in given:
            yield f"{name} is missing"
        elif not same_value(wanted, given[name], unordered=unordered):
            yield f"{name} is {clip(given[name])}, not {clip(wanted)}"


def _present(value, paths):
    found = {path: _at(value, path) for path in paths}
    return {path: got for path, got in found.items() if got is not _MISSING}


def _at(value, path):
    """Return the value at a dotted path, or `_MISSING`; a field whose own name has dots comes first."""
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
