"""Scorers by name: from an example and a model's reply to a score from 0 to 1 and its reason.

A scorer is a function of the reply's text, its tool calls, and the example's reference and options.
"""

import inspect

from tierlab.core.vocabulary import unknown
from tierlab.evaluate.scorers.answers import Score, Unscored, split_thinking
from tierlab.evaluate.scorers.choice import check_choice, choice
from tierlab.evaluate.scorers.code import check_code, code
from tierlab.evaluate.scorers.judge import check_judge, judge
from tierlab.evaluate.scorers.numeric import check_numeric, numeric
from tierlab.evaluate.scorers.overlap import check_overlap, overlap
from tierlab.evaluate.scorers.structured import (
    check_json_fields,
    check_tool_call,
    json_fields,
    tool_call,
)
from tierlab.evaluate.scorers.text import (
    check_contains,
    check_exact,
    check_regex,
    contains,
    exact,
    regex,
)

MOST_CHARS = 1_000_000  # of a reply: no scorer takes more than seconds for them

_CHECKS = {
    exact: check_exact,
    choice: check_choice,
    numeric: check_numeric,
    json_fields: check_json_fields,
    contains: check_contains,
    regex: check_regex,
    tool_call: check_tool_call,
    code: check_code,
    overlap: check_overlap,
    judge: check_judge,
}
SCORERS = {scorer.__name__: scorer for scorer in _CHECKS}


def score_example(example, text, tool_calls=(), *, allow_code=False):
    """Score one reply by the scorer, reference and options of its example.

    Parameters
    ----------
    example : Example
    text : str or None
        What the model said; thinking inside it (``<think>...</think>``) is not looked at.
    tool_calls : sequence of ToolCall
    allow_code : bool
        Whether the scorer `code` may run the reply's code (`tierlab.evaluate.scorers.code` says how far apart from this machine).

    Returns
    -------
    Score
        A reply without text and tool calls scores 0.

    Raises
    ------
    Unscored
        If the reply has more than a million characters or ends within its thinking; if the scorer is `judge`, which needs a model; `code` without `allow_code`; or the scorer itself failed.
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
        Options of the scorer.

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
    if name not in SCORERS:
        raise ValueError(unknown("scorer", name, SCORERS))
    options = [
        p for p in inspect.signature(SCORERS[name]).parameters.values() if p.kind is p.KEYWORD_ONLY
    ]
    for arg in args:
        if arg not in [option.name for option in options]:
            raise ValueError(
                f"{name}: " + unknown("option", arg, [option.name for option in options])
            )
    for option in options:
        if option.default is option.empty and option.name not in args:
            raise ValueError(f"{name}: the option {option.name!r} is needed")
    _CHECKS[SCORERS[name]](reference, **args)
