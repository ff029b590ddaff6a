"""Score a model's reply by the scorer that its example names.

A scorer is a function of the reply's text, its tool calls, and the example's reference and options. It returns a score from
0 to 1 with a reason.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, NotRequired

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # the one that pydantic takes before Python 3.12

from tierlab.core.vocabulary import known, needs, unknown
from tierlab.evaluate.scorers.answers import Score, ToolCall, Unscored, split_thinking
from tierlab.evaluate.scorers.code import check_code, code
from tierlab.evaluate.scorers.judge import judge
from tierlab.evaluate.scorers.numeric import check_numeric, numeric
from tierlab.evaluate.scorers.structured import check_tool_call, json_fields, tool_call
from tierlab.evaluate.scorers.text import (
    check_choice,
    check_overlap,
    check_regex,
    choice,
    contains,
    exact,
    overlap,
    regex,
)

MOST_CHARS = 1_000_000  # of a reply, so that no scorer takes more than seconds

_Text = Annotated[str, StringConstraints(pattern=r"\S")]
_Flag = (bool, "true or false")
_Texts = (Sequence[_Text], "a list of texts")


class _Call(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")
    name: _Text | None
    arguments: NotRequired[Mapping]


# What the reference and the options of each scorer may be, for pydantic and in words.
FORMS = {
    "exact": {"reference": (_Text, "a text"), "ignore_case": _Flag},
    "choice": {"reference": (_Text, "a text"), "options": _Texts},
    "numeric": {
        "reference": (float | str, "a number or a text with one"),
        "rel_tol": (Annotated[float, Field(ge=0, lt=1)], "a number from 0 up and below 1"),
        "units": (
            Mapping[_Text, Annotated[float, Field(gt=0, allow_inf_nan=False)]] | None,
            "a mapping of unit to its size in the reference's unit, a size above 0,",
        ),
    },
    "json_fields": {
        "reference": (
            Annotated[Mapping[_Text, object], Field(min_length=1)],
            "an object of field and expected value",
        ),
        "unordered": _Flag,
    },
    "contains": {"reference": _Texts, "any_of": _Texts, "none_of": _Texts},
    "regex": {"reference": (_Text, "a text"), "ignore_case": _Flag},
    "tool_call": {
        "reference": (
            _Call | Annotated[Sequence[_Call], Field(min_length=1)],
            "a call or a list of calls (a call has a name and arguments, a text and an object),",
        ),
        "allow_extra": (bool | Sequence[str], "true or false, or a list of arguments,"),
    },
    "code": {
        "reference": (str, "Python with at least one assert"),
        "entry": (str | Sequence[str], "the name of a function or class, or a list of names,"),
        "partial": _Flag,
        "seconds": (Annotated[float, Field(gt=0, le=600)], "a number above 0 and up to 600"),
        "memory_mb": (
            Annotated[int, Field(gt=0, le=1 << 16)],
            "a whole number above 0 and up to 65,536",
        ),
    },
    "overlap": {
        "reference": (_Text, "a text with content words"),
        "key_points": _Texts,
        "max_words": (Annotated[int, Field(ge=1)] | None, "a whole number from 1 up"),
    },
    "judge": {
        "reference": (str | None, "the text of a good answer, or none,"),
        "rubric": (str | Sequence[str], "a text or a list of texts"),
    },
}
_CHECKS = {  # of what a form cannot express
    "choice": check_choice,
    "numeric": check_numeric,
    "regex": check_regex,
    "tool_call": check_tool_call,
    "code": check_code,
    "overlap": check_overlap,
}
_EACH = (exact, choice, numeric, json_fields, contains, regex, tool_call, code, overlap, judge)
SCORERS = {scorer.__name__: scorer for scorer in _EACH}


def score_example(
    example, text: str | None, tool_calls: Sequence[ToolCall] = (), *, allow_code: bool = False
) -> Score:
    """Score one reply by the scorer, reference and options of its example.

    Parameters
    ----------
    example : Example
    text : str or None
        What the model said; thinking inside it (``<think>...</think>``) is left out.
    tool_calls : sequence of ToolCall
    allow_code : bool
        Whether the scorer `code` may run the reply's code. `tierlab.evaluate.scorers.code` says how well it is kept apart
        from this machine.

    Returns
    -------
    Score
        A reply without text and tool calls scores 0.

    Raises
    ------
    Unscored
        If the reply has more than a million characters or ends within its thinking; if the scorer is `judge`, which needs
        a model, or `code` without `allow_code`; or if the scorer itself failed.
    ValueError
        If scorer, reference and options do not fit together.

    Notes
    -----
    `code` starts a process and waits for it: in an event loop, call this through `asyncio.to_thread`.

    Examples
    --------
    >>> from tierlab.sampling.examples import Example
    >>> score_example(Example("q1", "faq_answering", "Which day follows Monday?", "exact", "Tuesday"), "Tuesday.")
    Score(score=1.0, reason="equals 'Tuesday'")
    """
    check_scorer(example.scorer, example.reference, example.scorer_args)
    if example.scorer == "code" and not allow_code:
        raise Unscored(
            "the code of replies is run only where that is allowed: allow_code=True (--allow-code)"
        )
    text, tool_calls = text if isinstance(text, str) else "", tuple(tool_calls or ())
    if not text.strip() and not tool_calls:
        return Score(0.0, "the reply is empty")
    if (size := len(text) + sum(len(str(call.arguments)) for call in tool_calls)) > MOST_CHARS:
        raise Unscored(f"the reply has {size:,} characters; up to {MOST_CHARS:,} are scored")
    text, _, thought = split_thinking(text)
    if not thought:
        raise Unscored("the reply ends within its thinking: <think> is not closed")
    return SCORERS[example.scorer](text, tool_calls, example.reference, **example.scorer_args)


def check_scorer(name, reference, args):
    """Refuse a scorer, a reference and options that do not fit together.

    Parameters
    ----------
    name : str
        One of `SCORERS`.
    reference : object
    args : mapping
        Options of the scorer, by name.

    Raises
    ------
    ValueError
        Names the value, what is allowed, and the nearest match of an unknown name.

    Examples
    --------
    >>> check_scorer("choice", "spam", {"option": ["spam", "ham"]})
    Traceback (most recent call last):
    ...
    ValueError: choice: unknown option 'option'; did you mean 'options'?
    """
    known("scorer", name, SCORERS)
    form, given = FORMS[name], {"reference": reference, **args}
    for option, value in given.items():
        if option not in form:
            raise ValueError(f"{name}: {unknown('option', option, list(form)[1:])}")
        needs(f"{name}: {option}", value, _fits(name, option, value), form[option][1])
    if name == "choice" and "options" not in args:
        raise ValueError("choice: the option 'options' is needed")
    if name == "contains" and not (reference or args.get("any_of") or args.get("none_of")):
        raise ValueError("contains: no phrase to look for in the reference, any_of or none_of")
    if name in _CHECKS:
        _CHECKS[name](reference, **args)


@cache
def _adapter(name, option):
    return TypeAdapter(FORMS[name][option][0])


def _fits(name, option, value):
    try:
        _adapter(name, option).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True
