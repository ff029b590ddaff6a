"""The workshop: checks of answers, and the exercises that are made from their solutions.

Each exercise has one check, in a file of its subject: a generator whose parameters are the learner's variables. It looks
at them in that order, yields the name of each one that is right, raises `tierlab.workshop.values.Hint` at the first
mistake, and returns a sentence that says what the answers are worth in dollars.
"""

import inspect
from dataclasses import dataclass
from importlib import import_module

from tierlab.core.format import listed
from tierlab.core.untrusted import in_html
from tierlab.core.vocabulary import unknown
from tierlab.workshop.values import Hint, Unfilled, unfilled

CHECKS = {
    1: "costs.cost_function",
    2: "costs.ratio_table",
    3: "logs.five_buckets",
    4: "logs.one_response",
    5: "costs.shape_table",
    6: "costs.cache_break_even",
    7: "routing.policies",
    8: "routing.fail_safe",
    9: "evaluating.hundred_examples",
    10: "logs.quarterly",
    11: "routing.conversation",
}

_TILE = {
    "right": "background:#d7efe5;border:1px solid #029e73",
    "look again": "background:#fde3cf;border:1px solid #d55e00",
    "to do": "border:1px dashed #949494",
    "not yet seen": "border:1px dashed #949494",
}


@dataclass(frozen=True, repr=False)
class Check:
    """The result of a check.

    Attributes
    ----------
    exercise : int
        Number of the exercise.
    status : {"right", "wrong", "open"}
        "open" while an answer is still `...`.
    words : str
        What the learner reads: "Right.", a hint, or what is still to be filled in.
    answers : dict of str to str
        State of each answer: "right", "look again", "to do", or "not yet seen" after one of the latter two.
    worth : str
        What the right answers are worth in dollars, once all are right.
    """

    exercise: int
    status: str
    words: str
    answers: dict
    worth: str = ""

    @property
    def right(self):
        """True if every answer is right."""
        return self.status == "right"

    def __repr__(self):
        return f"{self.words} {self.worth}".strip()

    def _repr_html_(self):
        """Show a tile for each answer once one is given, and below them what is at stake."""
        tiles = "".join(
            f'<span style="display:inline-block;margin:0 .4em .4em 0;padding:.3em .7em;border-radius:.4em;{_TILE[state]}">'
            f"<code>{in_html(name)}</code> {state}</span>"
            for name, state in self.answers.items()
            if set(self.answers.values()) != {"to do"}
        )
        worth = (
            f'<p style="font-size:1.25em"><strong>{in_html(self.worth)}</strong></p>'
            if self.worth
            else ""
        )
        return f"<div>{tiles}<p>{in_html(self.words)}</p>{worth}</div>"


def check(number, **answers):
    """Check the answers to one exercise and say what is wrong without giving the answer away.

    Parameters
    ----------
    number : int
        Number of the exercise.
    **answers
        The variables that the exercise asks for, by name.

    Returns
    -------
    Check
        Shows as one sentence. A wrong answer is not an error.

    Raises
    ------
    ValueError
        If there is no such exercise, or a variable is missing or not one that the exercise asks for.

    Examples
    --------
    >>> check(1, cost=..., opus_usd=10_000, haiku_usd=..., routed_usd=3_600)
    cost and haiku_usd are still to be filled in.
    >>> check(1, costs=..., opus_usd=..., haiku_usd=..., routed_usd=...)
    Traceback (most recent call last):
    ...
    ValueError: unknown answer 'costs'; did you mean 'cost'?
    """
    if number not in CHECKS:
        raise ValueError(unknown("exercise", number, CHECKS))
    module, name = CHECKS[number].split(".")
    function = getattr(import_module(f"{__name__}.{module}"), name)
    asked = list(inspect.signature(function).parameters)
    for answer in answers:
        if answer not in asked:
            raise ValueError(unknown("answer", answer, asked))
    if left := [answer for answer in asked if answer not in answers]:
        raise ValueError(f"exercise {number} also asks for {listed(left)}")
    waiting = [answer for answer in asked if unfilled(answers[answer])]
    states = dict.fromkeys(asked, "not yet seen") | dict.fromkeys(waiting, "to do")
    steps = function(**answers)
    for name in asked:
        if name in waiting:
            return _open(number, waiting, states)
        try:
            next(steps)
        except Unfilled:
            return _open(number, [name, *waiting], states | {name: "to do"})
        except Hint as hint:
            return Check(number, "wrong", f"Not yet: {hint}", states | {name: "look again"})
        states[name] = "right"
    try:
        next(steps)
    except StopIteration as end:
        return Check(number, "right", "Right.", states, end.value)
    raise AssertionError(f"the check of exercise {number} yields more than its answers")


def _open(number, names, states):
    verb = "is" if len(names) == 1 else "are"
    return Check(number, "open", f"{listed(names)} {verb} still to be filled in.", states)
