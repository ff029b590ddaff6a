"""Rules on choosing: the article's two questions, and its router, line for line."""

import numpy as np
import pandas as pd

from tierlab.article.basis import metric
from tierlab.core.vocabulary import unknown
from tierlab.decide.tasks import task_tiers, tier_by_rule


@metric(source="the article's two questions")
def rule_tier(basis, cases):
    """Tier that the article's rule gives each "stakes-complexity" case."""
    ratings = np.array([case.split("-") for case in cases.split("|")], int).T
    return pd.Series(tier_by_rule(*ratings), cases.split("|"))


@metric(source="data/tasks.csv: our own ratings")
def task_tier(basis, task):
    """Lowest and highest tier that the article's rule gives a task at its ratings."""
    if task not in basis.tasks.index:
        raise ValueError(unknown("task", task, basis.tasks.index))
    return task_tiers(basis.tasks.loc[[task]]).iloc[0].set_axis(["from", "to"])


def article_router(message, ask):
    """The article's two-tier router, line for line in what it does: `ask(model, text)` stands for the API."""
    said = ask("small", message).strip().lower()
    return ask("flagship" if said == "complex" else "small", message)


@metric(source="the article's code, run against a stand-in client")
def router_calls(basis, replies):
    """Calls that the article's router makes for one message, by the classifier's reply."""
    return pd.Series({reply: len(_asked(reply)) for reply in replies.split("|")})


@metric(source="the article's code, run against a stand-in client")
def router_tiers(basis, replies):
    """Number of tiers that the article's router can answer with."""
    return float(len({_asked(reply)[-1] for reply in replies.split("|")}))


@metric(source="the article's code, run against a stand-in client")
def router_unsafe(basis, replies):
    """How many replies that do not say "simple" the article's router sends to the small model."""
    return float(sum(_asked(reply)[-1] == "small" for reply in replies.split("|")))


def _asked(reply):
    calls = []
    article_router("a message", lambda model, _: (calls.append(model), reply)[1])
    return calls
