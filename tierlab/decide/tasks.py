"""A task: its two ratings, the article's rule on them, and the error rates and costs that are assumed from them."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from tierlab.core.paths import DATA
from tierlab.core.tables import load_tasks
from tierlab.core.vocabulary import TIERS, unknown


@dataclass(frozen=True)
class Task:
    """A task named in data/tasks.csv, or your own task with two ratings.

    Attributes
    ----------
    name : str
    stakes, complexity : int or (low, high), optional
        Ratings for the article's two questions: what can go wrong, and how complex is the reasoning? 1 is low, 2
        medium, 3 high.
    tool_calls : int, optional
        Tool calls per request, each of which can go wrong. By default 5 for "agentic_tools", else 0. They are added to
        assumed and given error rates; a rate that was counted on whole tasks includes them already.

    Raises
    ------
    ValueError
        For one rating without the other, a rating other than 1, 2 and 3, or a number of calls that is not whole.

    Examples
    --------
    >>> Task("contract triage", stakes=2, complexity=1).rule
    'mid'
    """

    name: str = "yours"
    stakes: int | tuple[int, int] | None = None
    complexity: int | tuple[int, int] | None = None
    tool_calls: int | None = None

    def __post_init__(self):
        if (self.stakes is None) != (self.complexity is None):
            raise ValueError("give both ratings, stakes and complexity, or neither")
        if self.stakes is not None:
            tier_by_rule(self.stakes, self.complexity)  # refuses what is not a rating
        calls = self.tool_calls or 0
        if calls != int(calls) or calls < 0:
            raise ValueError(f"tool_calls={calls}; a whole number from 0 up is needed")

    def ends(self, question):
        """Return [low, high] of the rating "stakes" or "complexity"; empty if the task is not rated."""
        rating = getattr(self, question)
        return [] if rating is None else np.broadcast_to(rating, 2).tolist()

    @property
    def rule(self):
        """The tier or tiers that the article's rule gives; "" if the task is not rated."""
        if self.stakes is None:
            return ""
        ends = np.atleast_1d(tier_by_rule(self.stakes, self.complexity))
        return " to ".join(dict.fromkeys(TIERS[tier - 1] for tier in ends))


def rated(task):
    """Return the `Task` with its own ratings, or those of data/tasks.csv.

    Parameters
    ----------
    task : str or Task
    """
    task = task if isinstance(task, Task) else Task(task)
    tasks = load_tasks()
    if task.stakes is not None or task.name not in tasks.index:
        return task
    row = tasks.loc[task.name]
    ends = {
        question: (int(row[f"{question}_low"]), int(row[f"{question}_high"]))
        for question in ("stakes", "complexity")
    }
    return replace(task, **ends)


def tier_by_rule(stakes, complexity):
    """Apply the article's rule: both ratings high is flagship, both low is small, everything in between is mid.

    Parameters
    ----------
    stakes, complexity : array_like of int
        What can go wrong, and how complex the reasoning is: 1 low, 2 medium, 3 high.

    Returns
    -------
    ndarray of int
        1 small, 2 mid, 3 flagship.

    Examples
    --------
    >>> tier_by_rule([1, 1, 3, 3], [1, 3, 1, 3]).tolist()
    [1, 2, 2, 3]
    """
    ratings = np.array(np.broadcast_arrays(stakes, complexity))
    if not np.isin(ratings, (1, 2, 3)).all():
        raise ValueError(
            f"ratings are 1, 2 or 3; got {ratings[~np.isin(ratings, (1, 2, 3))].tolist()}"
        )
    return np.where((ratings == 3).all(axis=0), 3, np.where((ratings == 1).all(axis=0), 1, 2))


def task_tiers(tasks):
    """Return the lowest and highest tier (1 to 3) that the article's rule gives each task over its rated ranges.

    The tier never falls when a rating rises, so the ends of the ratings give the ends of the tiers.
    """
    ends = {
        end: tier_by_rule(tasks[f"stakes_{end}"], tasks[f"complexity_{end}"])
        for end in ("low", "high")
    }
    return pd.DataFrame(ends, index=tasks.index)


@lru_cache
def load_assumptions(path=DATA / "assumptions.csv"):
    """Read the numbers that are assumed until they are measured, a row for each quantity, rating and tier.

    Returns
    -------
    DataFrame
        quantity ("error_cost", "error_rate", "tool_error_rate"), rating (of stakes or complexity, 1 to 3), tier,
        value, low, high, unit, basis ("assumed", or "article" where its figures fix the value), reason.
    """
    return pd.read_csv(path)


def assumed(quantity, task=None):
    """Return the assumed value and range of a quantity for a task, over the range of its rating.

    Parameters
    ----------
    quantity : {"error_cost", "error_rate", "tool_error_rate"}
        USD per error by the rating of the stakes; share 0-1 of requests by the rating of the complexity; share 0-1
        of tool calls.
    task : str or Task, optional
        Needed for the first two; tool calls do not depend on the task.

    Returns
    -------
    DataFrame
        value, low, high by tier (error cost: one row). A task rated 1 to 2 has the mean of both values (the geometric
        mean for an error cost, which spans powers of ten), the lower low and the higher high.

    Raises
    ------
    ValueError
        If the task has no ratings.

    Examples
    --------
    >>> assumed("error_rate", "intent_classification")["value"].to_dict()
    {'small': 0.03, 'mid': 0.025, 'flagship': 0.02}
    """
    rows = load_assumptions().query("quantity == @quantity")
    if quantity != "tool_error_rate":
        task = rated(task)
        if task.stakes is None:
            known = unknown("task", task.name, load_tasks().index)
            raise ValueError(
                f"{known} (a task of your own needs stakes and complexity, 1 to 3 each)"
            )
        ratings = task.ends("stakes" if quantity == "error_cost" else "complexity")
        rows = rows[rows["rating"].between(*ratings)]
    is_cost = quantity == "error_cost"
    values = np.log(rows["value"]) if is_cost else rows["value"]
    middle = values.groupby(rows["tier"], dropna=False).mean()
    ends = rows.groupby("tier", dropna=False).agg(low=("low", "min"), high=("high", "max"))
    ends.insert(0, "value", np.exp(middle).round(10) if is_cost else middle)
    return ends if is_cost else ends.reindex(TIERS)


def expected_cost(
    price_usd: ArrayLike,
    error_rate: ArrayLike,
    error_cost_usd: ArrayLike,
    seconds: ArrayLike = 0.0,
    second_usd: float = 0.0,
) -> float | np.ndarray:
    """Return the total cost of a request: its price, its errors, and the time that somebody waits for it.

    Parameters
    ----------
    price_usd : array_like of float
        USD per request.
    error_rate : array_like of float
        Share 0-1 of requests answered wrongly.
    error_cost_usd : array_like of float
        USD per error.
    seconds : array_like of float
        Seconds per request.
    second_usd : float
        Value of a second of waiting, USD; 0 where nobody waits, as for a nightly batch.

    Returns
    -------
    float or ndarray
        USD per request.

    Notes
    -----
    E = price + error rate x error cost + seconds x value of a second. This is the expected loss of decision theory with
    a constant cost per error (Berger, Statistical Decision Theory, 1985, ch. 1). The other convention is "cost of pass"
    (arXiv 2504.13359), price over success rate, for requests that are repeated until they are right.

    Examples
    --------
    >>> round(float(expected_cost(0.002, 0.10, 0.16)), 6) == round(float(expected_cost(0.010, 0.05, 0.16)), 6)
    True
    """
    return price_usd + np.asarray(error_rate) * error_cost_usd + np.asarray(seconds) * second_usd


def error_with_tools(error_rate, tool_error_rate, tool_calls):
    """Return the share of requests that fail when each of their tool calls may fail too.

    Parameters
    ----------
    error_rate : array_like of float
        Share 0-1 of requests that fail although every call is right.
    tool_error_rate : array_like of float
        Share 0-1 of calls that are wrong.
    tool_calls : int
        Calls per request.

    Notes
    -----
    1 - (1 - e)(1 - t)^n: every step has to succeed, and steps fail independently. Retrying failed calls would trade
    some of the failures for time and money.

    Examples
    --------
    >>> round(float(error_with_tools(0.0, 0.04, 10)), 4)
    0.3352
    """
    return 1 - (1 - np.asarray(error_rate)) * (1 - np.asarray(tool_error_rate)) ** tool_calls
