"""Read a learner's answer and compare it with the right one; a mistake raises a `Hint`, which never holds the answer.

Checks are built from these parts: `ask` a function, read a `number`, a `table` or a `frame`, `compare`, raise a `Hint`.
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
    """The kind of mistake in an answer, in words for the learner."""


class Unfilled(Exception):
    """The name of an answer that is still `...`."""


def unfilled(value):
    """Tell whether an answer is, or holds, the `...` that the exercise starts with.

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
    """Call a learner's function and return its result.

    Parameters
    ----------
    name : str
        What hints call the function.
    function : object
        The learner's; it should be callable.
    *arguments

    Raises
    ------
    Unfilled
        If it returns `...`, as it does at the start of the exercise.
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
    except (
        Exception
    ) as error:  # whatever goes wrong in the learner's code, the check says it in one sentence
        raise Hint(f"{call} stops with {type(error).__name__}: {error}") from None
    if unfilled(found):
        raise Unfilled(name)
    if found is None:
        raise Hint(f"{call} returns nothing: does the function end with `return`?")
    return found


def number(name, value):
    """Return an answer as one finite number.

    Parameters
    ----------
    name : str
        What the hint calls it.
    value : object
        The learner's answer.

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
        raise Hint(f"{name} is {_kind(value)}; the exercise asks for one number") from None
    if not math.isfinite(found):
        raise Hint(f"{name} is {found}: a missing value or a division by zero went into it")
    return found


def table(name, value, keys):
    """Return an answer with one entry per key (a dict or a Series) as a dict in the order of the keys.

    Parameters
    ----------
    name, value
        As for `number`.
    keys : sequence of str

    Raises
    ------
    Hint
        If it is something else, lacks entries, or has others.
    """
    if isinstance(value, pd.Series):
        value = value.to_dict()
    if not isinstance(value, Mapping):
        raise Hint(
            f"{name} is {_kind(value)}; the exercise asks for a dict or a Series with one entry for each of {_keys(keys)}"
        )
    if missing := [key for key in keys if key not in value]:
        raise Hint(f"{name} has no entry for {_keys(missing)}")
    if extra := [key for key in value if key not in keys]:
        raise Hint(f"{name} has entries that are not asked for: {_keys(extra)}")
    return {key: value[key] for key in keys}


def frame(name, value, *, rows=(), columns=()):
    """Return an answer that is a DataFrame with certain rows and columns, in any order and among others.

    Parameters
    ----------
    name, value
        As for `number`.
    rows, columns : collection
        Labels that the answer must have.

    Raises
    ------
    Hint
        If it is something else, or lacks rows or columns.
    """
    if not isinstance(value, pd.DataFrame):
        raise Hint(f"{name} is {_kind(value)}; the exercise asks for a DataFrame")
    for what, asked, there in (("row", rows, value.index), ("column", columns, value.columns)):
        if missing := [key for key in asked if key not in there]:
            raise Hint(f"{name} has no {what} {_keys(missing)}")
    return value


def compare(name, value, right, *, rel=0.0, abs=0.0, mistakes=None):
    """Compare one number with the right one.

    Parameters
    ----------
    name : str
        What the hint calls the number.
    value : object
        The learner's answer, read with `number`.
    right : float
        The right number.
    rel, abs : float
        Tolerance: the larger of `rel` times the right number and `abs`.
    mistakes : mapping of str to float or tuple of float, optional
        What to say about a usual mistake, and the numbers that it leads to.

    Raises
    ------
    Hint
        If it is wrong. The hint names the usual mistake that leads there, or else a power of ten, the sign or the
        direction.

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
    for why, wrong in (mistakes or {}).items():
        if any(map(near, wrong if isinstance(wrong, tuple) else (wrong,))):
            raise Hint(f"{name}: {why}")
    close = found and math.isclose(found, right, rel_tol=0.05)
    if close and any(found == round(right, digits) for digits in range(2, 7)):
        raise Hint(f"{name} is rounded: keep all digits, and round when you show it")
    direction = "large" if found > right else "small"
    if found * right < 0:
        raise Hint(f"{name} has the wrong sign: what is taken from what?")
    if found and right:
        # a difference, because the quotient of the two numbers could come out as zero
        power = math.fabs(math.log10(math.fabs(found)) - math.log10(math.fabs(right)))
        digits = int(power + 0.5)
        if digits and math.isclose(power, digits, abs_tol=1e-3):
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
