"""A task: its two ratings, the article's rule on them, and how often models get it wrong, assumed, counted or measured."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from tierlab.core.format import counted
from tierlab.core.paths import DATA
from tierlab.core.tables import load_tasks
from tierlab.core.vocabulary import TIERS, is_whole, needs, unknown
from tierlab.evaluate.rows import anchor_of, levels, mostly_failing

AGENT_CALLS = 5  # tool calls of an agentic request if none are given; our assumption
ERRORS = ["error_rate", "error_low", "error_high"]
# What is known about each model's errors: see the table of `tierlab.decide.options.Options`. `paid` is the USD per
# request measured on the same examples; `examples` is missing if the rate was not counted on whole tasks.
ERROR_COLUMNS = [*ERRORS, "worth", "shared", "basis", "wrong", "examples", "paid"]


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
            tier_by_rule(self.stakes, self.complexity)  # refuses any other value
            for name in ("stakes", "complexity"):
                ends = np.atleast_1d(getattr(self, name)).tolist()
                in_order = len(ends) <= 2 and ends == sorted(ends)
                needs(name, getattr(self, name), in_order, "a rating or a (low, high) pair")
        calls = self.tool_calls or 0
        needs("tool_calls", calls, is_whole(calls, 0), "a whole number from 0 up")

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


@cache
def load_assumptions():
    """Read the numbers that are assumed until they are measured, a row for each quantity, rating and tier.

    Returns
    -------
    DataFrame
        quantity ("error_cost", "error_rate", "tool_error_rate"), rating (of stakes or complexity, 1 to 3), tier,
        value, low, high, unit, basis ("assumed", or "article" where its figures fix the value), reason.
    """
    return pd.read_csv(DATA / "assumptions.csv")


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


def counted_errors(counts, tiers, task):
    """Return error rates from your own counts, and assumed ones for the models without counts.

    Parameters
    ----------
    counts : mapping
        (wrong answers, examples) by model or tier.
    tiers : Series
        Tier of each candidate by model id, "" for none.
    task : Task or None

    Returns
    -------
    DataFrame
        Some of `ERROR_COLUMNS`, by model.
    list of str
        Grounds.

    Notes
    -----
    Counts have the posterior of Jeffreys' prior, Beta(wrong + 1/2, right + 1/2). Its mean is the rate, so that 0 wrong
    of 10 is not "never"; its interval is close to Wilson's (Brown, Cai, DasGupta 2001, doi:10.1214/ss/1009213286).
    """
    rows, grounds, said = {}, [], []
    for key, given in counts.items():
        if len(given) != 2 or not all(is_whole(number, -np.inf) for number in given):
            raise ValueError(
                f"error_counts: {key!r} has {given!r}; give two whole numbers, wrong answers and examples"
            )
        wrong, examples = given
        own = [key] if key in tiers else tiers.index[tiers == key].tolist()
        models = [model for model in own if model == key or model not in counts]
        if own and not models:
            raise ValueError(f"error_counts: {key!r} and {own[0]!r} are one model, named twice")
        if len(models) != 1:
            raise ValueError(
                f"error_counts: {key!r} is the tier of {len(models)} candidates ({', '.join(models)}), and examples were "
                "answered by one: name the model, or choose one provider"
            )
        if not (0 <= wrong <= examples and examples >= 1):
            raise ValueError(
                f"{key}: {wrong} wrong answers of {examples} examples; allowed: at least 1 example, of which 0 to all are wrong"
            )
        rate = (wrong + 0.5) / (examples + 1)
        ends = _jeffreys(rate, examples).ravel()
        rows[models[0]] = (rate, *ends, examples, 0.0, "counted", wrong, examples)
        if key not in tiers:
            grounds.append(
                f"counts of the tier {key} are taken as those of {models[0]}; name another model in place of the tier "
                "if that one answered (error_counts, --count)"
            )
        said.append(f"{models[0]} {wrong} of {examples}")
    rest = tiers.drop(list(rows))
    if len(rest):
        if task is None:
            raise ValueError(
                "where do errors come from? Give a task (assumed rates), error_counts or samples (your own), or error_rates"
            )
        if rest.eq("").any():
            bare = ", ".join(rest.index[rest.eq("")])
            raise ValueError(f"no error rate is assumed for a model without a tier: {bare}")
        rates = assumed("error_rate", task)
        rows |= {
            model: (*rates.loc[tier], 0.0, 1.0, "assumed", None, None)
            for model, tier in rest.items()
        }
        grounds.append(
            f"error rates of {', '.join(rest.unique())} are assumed from the complexity of {task.name}, "
            "per tier and not per provider (data/assumptions.csv)"
        )
    if said:
        grounds.append(
            f"wrong answers counted on examples of yours: {', '.join(said)} (the rate is taken as (wrong + 1/2) / (examples + 1), with its 95% interval)"
        )
    table = pd.DataFrame.from_dict(rows, orient="index", columns=ERROR_COLUMNS[:-1])
    return table.loc[tiers.index], grounds


def assumed_errors(task, tiers, calls):
    """Return the assumed error rate (value, low, high) of each tier, tool calls included."""
    rates, tools = assumed("error_rate", task).reindex(tiers), assumed("tool_error_rate")
    rates[:] = error_with_tools(rates, tools.reindex(tiers).to_numpy(), calls)
    return rates


def sampled_errors(tiers, rows):
    """Return error rates and prices measured on samples.

    Parameters
    ----------
    tiers : Series
        Tier of each candidate by model id.
    rows : DataFrame
        From `tierlab.evaluate.rows.scored_rows`.

    Returns
    -------
    DataFrame
        Some of `ERROR_COLUMNS`, by model.
    list of str
        Grounds.

    Notes
    -----
    The rates are those of `tierlab.evaluate.rows.levels`, as in `compare`. Each has a Beta distribution of that mean, as
    wide as the errors clustered by group, and never narrower at 0 than Jeffreys'. The rates correlate through one common
    factor: examples that are hard for all models move all rates.
    """
    names = list(tiers.index)
    anchor = anchor_of(rows, names)
    found, influence = levels(rows, names, anchor)
    rate, examples = found["error_rate"], found["examples"]
    if not examples[anchor]:
        raise ValueError(
            "no example has a scored answer of two candidates: they cannot be compared on the same examples"
        )
    variance = (influence**2).sum(axis=0)
    # Where no spread was seen, each group counts as one answer.
    flat = (variance < 1e-15) | rate.isin((0, 1))
    groups = np.minimum(examples, rows["cluster"].nunique())
    worth = np.where(flat, groups, rate * (1 - rate) / np.where(flat, 1.0, variance))
    low, high = _jeffreys(rate, worth)
    sources = rows["source"].astype(str).unique() if "source" in rows else ["samples"]
    table = pd.DataFrame(
        {
            "error_rate": rate,
            "error_low": np.minimum(low, rate),
            "error_high": np.maximum(high, rate),
            "worth": worth,
            "shared": common_factor(influence),
            "basis": "; ".join(sources),
            "examples": examples.where(examples > 0),
            "paid": found["cost_usd"],
        },
        index=names,
    )
    few = ", ".join(f"{name} {n}" for name, n in examples.items() if n < examples[anchor])
    pairwise = f", each model on those that it has in common with {anchor} ({few})" if few else ""
    grounds = [
        f"error rates and prices are measured on {examples[anchor]} of {counted(rows['prompt_id'].nunique(), 'example')}{pairwise}; "
        f"{(rows['aside'] != '').sum()} of {len(rows)} answers are set aside"
    ]
    grounds += [
        f"{name} mostly fails: {lost} count as wrong" for name, lost in mostly_failing(rows).items()
    ]
    return table, grounds


def common_factor(influence):
    """How far each rate moves with what all have in common: the loadings of one factor by principal axes (Harman 1976)."""
    size = np.sqrt((influence**2).sum(axis=0))
    unit = influence / np.where(size > 0, size, 1.0)
    together = unit.T @ unit
    np.fill_diagonal(together, 0.0)
    loading = np.sqrt(np.abs(together).max(axis=0))
    for _ in range(50):
        np.fill_diagonal(together, np.minimum(loading**2, 1.0))
        top, vectors = np.linalg.eigh(together)
        loading = vectors[:, -1] * np.sqrt(max(top[-1], 0.0))
    # The direction of an axis is arbitrary: the largest loading is made positive.
    sign = np.sign(loading[np.abs(loading).round(6).argmax()]) or 1.0
    return np.clip(sign * loading, -1.0, 1.0).round(6)


def with_tools(errors, tiers, task):
    """Add tool calls to the error rates that do not include them.

    Parameters
    ----------
    errors : DataFrame
        `ERROR_COLUMNS` by model.
    tiers : Series
        Tier of each candidate by model id.
    task : Task or None

    Returns
    -------
    DataFrame
        The errors.
    int
        Tool calls per request.
    list of str
        Grounds.
    """
    # A rate that was counted on whole tasks includes its tool calls.
    bare = errors.index[errors["examples"].isna()]
    calls = task.tool_calls if task else 0
    if calls and bare.empty:
        raise ValueError(
            "error rates counted on whole tasks include their tool calls already: leave tool_calls out"
        )
    if calls is None:
        assumes = task.name == "agentic_tools" and errors["basis"].eq("assumed").any()
        calls = AGENT_CALLS if assumes else 0
    if not calls:
        return errors, 0, []
    errors, tools = errors.copy(), assumed("tool_error_rate").reindex(tiers[bare]).to_numpy()
    errors.loc[bare, ERRORS] = error_with_tools(errors.loc[bare, ERRORS], tools, calls)
    said = f"{calls} tool calls a request, each wrong at the rate assumed for its tier (data/assumptions.csv)"
    return errors, int(calls), [said]


def beta_of(rate, worth):
    """Return the distribution of a rate: Jeffreys' Beta for a rate of (wrong + 1/2) / (worth + 1), also at 0 and 1."""
    from scipy.stats import beta

    wrong = np.clip(rate * (worth + 1), 0.5, worth + 0.5)
    return beta(wrong, worth + 1 - wrong)


def _jeffreys(rate, worth):
    """The low and high ends of the 95% interval of rates."""
    return beta_of(np.asarray(rate), np.asarray(worth)).ppf([[0.025], [0.975]])
