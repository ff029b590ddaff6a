"""Read a learner's answer and compare it with the right one; a mistake is a `Hint`, which never holds the answer.

The checks are made of these: `ask` a function, read a `number`, a `table` or a `frame`, `compare`, or raise a `Hint`.
"""

import math
from collections.abc import Mapping

import pandas as pd

_TIMES = {
    1: "ten times",
    2: "a hundred times",
    3: "a thousand times",
    6: "a million times",
    9: "a billion times",
}


class Hint(Exception):
    """What kind of mistake an answer holds, in words for the learner."""


class Unfilled(Exception):
    """An answer that is still `...`, by its name."""


def unfilled(value):
    """Whether an answer is, or holds, the `...` that the exercise starts with.

    Examples
    --------
    >>> [unfilled(value) for value in (..., {"openai": ...}, [1, 2], 0, None)]
    [True, True, False, False, False]
    """
    if isinstance(value, Mapping):
        return any(map(unfilled, value.values()))
    if isinstance(value, list | tuple | set):
        return any(map(unfilled, value))
    if isinstance(value, pd.Series | pd.DataFrame):
        return bool(value.map(lambda item: item is ...).to_numpy().any())
    return value is ...


def ask(name, function, *arguments):
    """What a learner's function returns.

    Raises
    ------
    Unfilled
        If it returns `...`, as the exercise starts.
    Hint
        If it is not a function, stops with an error, or returns nothing.

    Examples
    --------
    >>> ask("cost", lambda tokens: tokens / 0, 500)
    Traceback (most recent call last):
    ...
    tierlab.workshop.values.Hint: cost(500) stops with ZeroDivisionError: division by zero
    """
    if not callable(function):
        raise Hint(f"{name} is {_kind(function)}, not a function: it needs a `def`")
    call = f"{name}({', '.join(map(_shown, arguments))})"
    try:
        found = function(*arguments)
    except Exception as error:  # whatever the learner's code does wrong, the check goes on to say it in one sentence
        raise Hint(f"{call} stops with {type(error).__name__}: {error}") from None
    if unfilled(found):
        raise Unfilled(name)
    if found is None:
        raise Hint(f"{call} returns nothing: does the function end with `return`?")
    return found


def number(name, value):
    """An answer as one finite number.

    Raises
    ------
    Hint
        If it is text, true or false, a table, missing or infinite.
    """
    try:
        if isinstance(value, str | bytes | bool):
            raise TypeError
        found = float(value)
    except (TypeError, ValueError):
        raise Hint(f"{name} is {_kind(value)}; one number is asked for") from None
    if not math.isfinite(found):
        raise Hint(f"{name} is {found}: a missing value or a division by zero went into it")
    return found


def table(name, value, keys):
    """An answer with one entry per key (a dict or a Series) as a dict in the order of the keys.

    Raises
    ------
    Hint
        If it is something else, or if entries are missing or were not asked for.
    """
    if isinstance(value, pd.Series):
        value = value.to_dict()
    if not isinstance(value, Mapping):
        raise Hint(
            f"{name} is {_kind(value)}; a dict or a Series with one entry for each of {_keys(keys)} is asked for"
        )
    if missing := [key for key in keys if key not in value]:
        raise Hint(f"{name} has no entry for {_keys(missing)}")
    if extra := [key for key in value if key not in keys]:
        raise Hint(f"{name} has entries that are not asked for: {_keys(extra)}")
    return {key: value[key] for key in keys}


def frame(name, value, *, rows=(), columns=()):
    """An answer as a DataFrame that has the asked rows and columns, in any order and among others.

    Raises
    ------
    Hint
        If it is something else, or names the rows and columns that are missing.
    """
    if not isinstance(value, pd.DataFrame):
        raise Hint(f"{name} is {_kind(value)}; a DataFrame is asked for")
    for what, asked, there in (("row", rows, value.index), ("column", columns, value.columns)):
        if missing := [key for key in asked if key not in there]:
            raise Hint(f"{name} has no {what} {_keys(missing)}")
    return value


def compare(name, value, right, *, rel=0.0, abs=0.0, mistakes=None):
    """Compare one number with the right one.

    Parameters
    ----------
    name : str
        What the hint calls it.
    value : object
        The learner's; read with `number`.
    right : float
    rel, abs : float
        Tolerance: the larger of `rel` times the right value and `abs` counts.
    mistakes : mapping of float to str, optional
        The number that a usual mistake leads to, and what to say about it.

    Raises
    ------
    Hint
        If it is wrong: the usual mistake that leads there, otherwise a power of ten, the sign or the direction.

    Examples
    --------
    >>> compare("usd", 4_000_000.0, 4.0, rel=1e-9)
    Traceback (most recent call last):
    ...
    tierlab.workshop.values.Hint: usd is a million times too large: look at the units
    """
    found = number(name, value)

    def near(target):
        return math.isclose(found, target, rel_tol=rel, abs_tol=abs)

    if near(right):
        return
    for wrong, why in (mistakes or {}).items():
        if near(wrong):
            raise Hint(f"{name}: {why}")
    close = found and math.isclose(found, right, rel_tol=0.05)
    if close and any(found == round(right, digits) for digits in range(2, 7)):
        raise Hint(f"{name} is rounded: keep all digits, and round when you show it")
    direction = "large" if found > right else "small"
    if found * right < 0:
        raise Hint(f"{name} has the wrong sign: what is taken from what?")
    if found and right:
        power = math.log10(math.fabs(found)) - math.log10(
            math.fabs(right)
        )  # a quotient could come out as zero
        digits = int(max(power, -power) + 0.5)
        if digits and math.isclose(max(power, -power), digits, abs_tol=1e-3):
            times = _TIMES.get(digits, f"10 to the power of {digits} times")
            raise Hint(f"{name} is {times} too {direction}: look at the units")
    raise Hint(f"{name} is too {direction}")


def _kind(value):
    names = {
        "str": "text",
        "bool": "true or false",
        "NoneType": "nothing",
        "function": "a function",
        "DataFrame": "a table",
    }
    kind = type(value).__name__
    return names.get(kind, f"a {kind}")


def _shown(value):
    return repr(value) if isinstance(value, str | int | float) else _kind(value)


def _keys(keys):
    return ", ".join(map(repr, keys))
