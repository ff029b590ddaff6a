"""The workshop: what checks an answer, and what makes the exercises from their solutions.

Each exercise has one check: a function with the learner's variables as parameters, in a file of its subject. It
raises `tierlab.workshop.values.Hint` at the first mistake and returns nothing when all is right.
"""

import inspect
from dataclasses import dataclass
from importlib import import_module

from tierlab.core.vocabulary import unknown
from tierlab.workshop.values import Hint, Unfilled, unfilled

CHECKS = {
    1: "costs.cost_function",
    2: "costs.ratio_table",
    3: "logs.five_buckets",
    4: "logs.one_response",
    5: "costs.shape_table",
    6: "caching.cache_break_even",
    7: "routing.policies",
    8: "routing.fail_safe",
    9: "evaluating.hundred_examples",
    10: "reporting.quarterly",
}


@dataclass(frozen=True, repr=False)
class Check:
    """What a check found.

    Attributes
    ----------
    exercise : int
    status : {"right", "wrong", "open"}
        "open" while an answer is still `...`.
    words : str
        What the learner reads: "Right.", a hint, or what is still to be filled in.
    """

    exercise: int
    status: str
    words: str

    @property
    def right(self):
        """Whether every answer is right."""
        return self.status == "right"

    def __repr__(self):
        return self.words


def check(number, **answers):
    """Check the answers to one exercise and say what is wrong without giving the answer away.

    Parameters
    ----------
    number : int
        Of the exercise.
    **answers
        The variables that the exercise asks for, by name.

    Returns
    -------
    Check
        Shows as one sentence. A wrong answer is not an error.

    Raises
    ------
    ValueError
        For an exercise that does not exist, and for a variable that it does not ask for or that is left out.

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
        raise ValueError(f"exercise {number} also asks for {_listed(left)}")
    if waiting := [answer for answer in asked if unfilled(answers[answer])]:
        return _open(number, waiting)
    try:
        function(**answers)
    except Unfilled as answer:
        return _open(number, [str(answer)])
    except Hint as hint:
        return Check(number, "wrong", f"Not yet: {hint}")
    return Check(number, "right", "Right.")


def _open(number, names):
    return Check(
        number,
        "open",
        f"{_listed(names)} {'is' if len(names) == 1 else 'are'} still to be filled in.",
    )


def _listed(names):
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
