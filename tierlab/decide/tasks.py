"""Which tier a task calls for: the task table, the article's rule on its two questions, and the money behind both.

The article's decision checklist: its seven steps, which of them are done, and what to do next.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from tierlab.core.format import usd
from tierlab.core.paths import DATA
from tierlab.core.tables import load_tasks
from tierlab.core.vocabulary import TIERS, unknown
from tierlab.evaluate.compare import examples_needed
from tierlab.scaling.costs import cost_curve


def tier_by_rule(stakes, complexity):
    """The article's rule: high stakes and complex is flagship, low and simple is small, all between is mid.

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
    """Lowest and highest tier (1 to 3) that the article's rule gives a task over its rated ranges.

    The rule never falls when a rating rises, so the ends of the ranges give the ends of the tiers.
    """
    ends = {
        end: tier_by_rule(tasks[f"stakes_{end}"], tasks[f"complexity_{end}"])
        for end in ("low", "high")
    }
    return pd.DataFrame(ends, index=tasks.index)


@lru_cache
def load_assumptions(path=DATA / "assumptions.csv"):
    """What stands in for a number that nobody has measured yet: one row per quantity, rating and tier, with a range.

    Returns
    -------
    DataFrame
        quantity ("error_cost", "error_rate", "tool_error_rate"), rating (of stakes or complexity, 1 to 3), tier,
        value, low, high, unit, basis ("assumed", or "article" where its figures fix the value), reason.
    """
    return pd.read_csv(path)


def assumed(quantity, task=None, *, tasks=None):
    """Assumed value and range of a quantity for a task, over the range of its rating.

    Parameters
    ----------
    quantity : {"error_cost", "error_rate", "tool_error_rate"}
        USD per error by the rating of the stakes; share 0-1 of requests by the rating of the complexity; share 0-1
        of tool calls.
    task : str, optional
        A task of `load_tasks`; not for tool calls.
    tasks : DataFrame, optional
        By default data/tasks.csv.

    Returns
    -------
    DataFrame
        value, low, high by tier (error cost: one row). A task rated 1 to 2 has the mean of both values (of an
        error cost the geometric mean, since it runs over powers of ten), the lower low and the higher high.

    Raises
    ------
    ValueError
        For an unknown task.

    Examples
    --------
    >>> assumed("error_rate", "intent_classification")["value"].to_dict()
    {'small': 0.03, 'mid': 0.025, 'flagship': 0.02}
    """
    if quantity == "tool_error_rate":
        return _assumed(quantity).copy()
    tasks = load_tasks() if tasks is None else tasks
    if task not in tasks.index:
        raise ValueError(unknown("task", task, tasks.index))
    question = "stakes" if quantity == "error_cost" else "complexity"
    return _assumed(
        quantity, tasks.at[task, f"{question}_low"], tasks.at[task, f"{question}_high"]
    ).copy()


@lru_cache
def _assumed(quantity, *ratings):
    rows = load_assumptions()
    rows = rows[rows["quantity"] == quantity]
    if ratings:
        rows = rows[rows["rating"].between(*ratings)]
    ends = rows.groupby("tier", dropna=False).agg(low=("low", "min"), high=("high", "max"))
    values = np.log(rows["value"]) if quantity == "error_cost" else rows["value"]
    middle = values.groupby(rows["tier"], dropna=False).mean()
    ends.insert(0, "value", np.exp(middle).round(10) if quantity == "error_cost" else middle)
    return ends if quantity == "error_cost" else ends.reindex(TIERS)


def expected_cost(price_usd, error_rate, error_cost_usd, seconds=0.0, second_usd=0.0):
    """Cost of a request, all in: its price, the errors it leaves, and the time that somebody waits for it.

    Parameters
    ----------
    price_usd : array_like of float
        USD per request.
    error_rate : array_like of float
        Share 0-1 of requests answered wrongly.
    error_cost_usd : array_like of float
        USD per error.
    seconds : array_like of float
        Time per request.
    second_usd : array_like of float
        What a second is worth, USD; 0 where nobody waits, as for a nightly batch.

    Returns
    -------
    float or ndarray
        USD per request.

    Notes
    -----
    E = price + error rate x error cost + seconds x value of a second: the expected loss of decision theory with a
    constant cost per error (Berger, Statistical Decision Theory, 1985, ch. 1). The share of errors, not of right
    answers, is what a price is traded against; "cost of pass" (arXiv 2504.13359) is the other convention: price
    over success, for errors that are tried again until they are right.

    Examples
    --------
    >>> round(float(expected_cost(0.002, 0.10, 0.16)), 6) == round(float(expected_cost(0.010, 0.05, 0.16)), 6)
    True
    """
    parts = (price_usd, np.asarray(error_rate) * error_cost_usd, np.asarray(seconds) * second_usd)
    return parts[0] + parts[1] + parts[2]


def error_with_tools(error_rate, tool_error_rate, tool_calls):
    """Share of requests that fail when each of their tool calls may fail too.

    Parameters
    ----------
    error_rate : array_like of float
        Share 0-1 of requests that fail with every call right.
    tool_error_rate : array_like of float
        Share 0-1 of calls that are wrong.
    tool_calls : int
        Calls per request.

    Notes
    -----
    1 - (1 - e)(1 - t)^n: every step has to hold, and steps fail independently. Calls that are tried again until
    they hold cost time and money instead, and fail less.

    Examples
    --------
    >>> round(float(error_with_tools(0.0, 0.04, 10)), 4)
    0.3352
    """
    return 1 - (1 - np.asarray(error_rate)) * (1 - np.asarray(tool_error_rate)) ** tool_calls


def indifference(costs, gaps):
    """Error cost at which two tiers of a provider cost the same all in, over the gap between their error rates.

    Parameters
    ----------
    costs : DataFrame
        provider, tier, cost_usd: USD per request, as `tierlab.daily_cost` gives for one request a day. One model per
        provider and tier.
    gaps : array_like of float
        How many more requests the cheaper tier answers wrongly, share 0-1, above 0.

    Returns
    -------
    DataFrame
        provider, cheap, dear (tiers), gap, error_cost_usd: above it the dearer tier is the cheaper choice.
        A pair whose dearer tier is not dearer has no row.

    Raises
    ------
    ValueError
        For a gap of 0 or less, or two models of one tier.

    Notes
    -----
    C = (c_dear - c_cheap) / gap, see `tierlab.error_cost_break_even`.

    Examples
    --------
    >>> costs = pd.DataFrame({"provider": "p", "tier": ["small", "flagship"], "cost_usd": [0.002, 0.010]})
    >>> indifference(costs, [0.05])["error_cost_usd"].round(6).tolist()
    [0.16]
    """
    gaps, rows = np.asarray(gaps, float), []
    if (gaps <= 0).any():
        raise ValueError(
            "a gap of zero or less has no break-even: there is nothing that the dearer tier saves"
        )
    if (twice := costs[costs.duplicated(["provider", "tier"])]).size:
        raise ValueError(
            f"{twice.iloc[0]['provider']} has two models of the tier {twice.iloc[0]['tier']}; one of each is needed"
        )
    for provider, own in costs.groupby("provider", sort=False):
        price = own.set_index("tier")["cost_usd"]
        for cheap, dear in (("small", "mid"), ("mid", "flagship"), ("small", "flagship")):
            if {cheap, dear} <= set(price.index) and price[dear] > price[cheap]:
                pair = {"provider": provider, "cheap": cheap, "dear": dear, "gap": gaps}
                rows.append(
                    pd.DataFrame(pair | {"error_cost_usd": (price[dear] - price[cheap]) / gaps})
                )
    columns = ["provider", "cheap", "dear", "gap", "error_cost_usd"]
    return pd.concat(rows, ignore_index=True)[columns] if rows else pd.DataFrame(columns=columns)


def task_places(tasks, *, cheap="small", dear="flagship"):
    """Where each task stands on the map of `indifference`, by its assumed numbers.

    Parameters
    ----------
    tasks : DataFrame
        Of `load_tasks`.
    cheap, dear : {"small", "mid", "flagship"}

    Returns
    -------
    DataFrame
        task; gap, gap_low, gap_high (share 0-1: error rate of the cheap tier less that of the dear one, both at the same
        end of their ranges); error_cost_usd, cost_low, cost_high (USD).
    """
    rows = []
    for task in tasks.index:
        errors, cost = (
            assumed("error_rate", task, tasks=tasks),
            assumed("error_cost", task, tasks=tasks).iloc[0],
        )
        gap = errors.loc[cheap] - errors.loc[dear]
        rows.append(
            (
                task.replace("_", " "),
                *gap[["value", "low", "high"]],
                *cost[["value", "low", "high"]],
            )
        )
    columns = ["task", "gap", "gap_low", "gap_high", "error_cost_usd", "cost_low", "cost_high"]
    return pd.DataFrame(rows, columns=columns).round(10)


# The article, "A practical decision checklist", in words of ours.
CHECKLIST = (
    "Say what the task is",
    "Say how much is sent: requests a day, tokens a request",
    "Say what an error costs",
    "Run 50 to 100 of your own examples, the mid-tier model first",
    "If it is good enough, try the small model; if not, the flagship",
    "Add caching and batch, whatever the tier",
    "Look again after six months",
)
REVIEW_MONTHS = 6
LEAST_EXAMPLES = 50
CACHEABLE_TOKENS = 1_024  # the shortest input that a provider caches; some ask for 4,096
NEAR_USD, NEAR_SHARE = (
    0.01,
    0.8,
)  # a rival is as good as the choice within 1% of its cost, or in 4 draws for its 5
WORTH_TRYING = (
    0.05  # share of the draws from which on a tier that was not tried is worth its examples
)


def review_day(prices):
    """The day of the next review."""
    return prices.as_of + pd.DateOffset(months=REVIEW_MONTHS)


@lru_cache(maxsize=16)  # a control asks at each move
def until_review(prices):
    """The catalogue with the mean of the rates that are scheduled until the next review: what a decision pays."""
    return prices.over(prices.as_of, review_day(prices))


@lru_cache(maxsize=16)
def _scheduled(prices):
    return prices.scheduled(list(prices.rows_of), review_day(prices))


def scheduled_said(prices, models):
    """Which rates of some models change until the next review, and when; "" for none."""
    words = "; ".join(
        f"{model} costs {said}" for model, said in _scheduled(prices).items() if model in models
    )
    if not words:
        return ""
    return f"prices are the mean until the review on {review_day(prices):%Y-%m-%d}: {words}"


def steps_done(found, *, task, workload, error_cost):
    """Numbers of the steps that are done.

    Parameters
    ----------
    found : Options
    task, workload, error_cost : bool
        Whether each was given, rather than assumed.

    Returns
    -------
    list of int
        Fewer than 50 examples do not count as step 4. Step 5 is done when no tier that was not tried has a real chance.
    """
    running = found.running()
    tried = set(running.loc[_examples(running, found) >= LEAST_EXAMPLES, "tier"])
    first = tried & {"mid"} if "mid" in set(running["tier"]) else tried
    open_ = running[~running["tier"].isin(tried)]
    settled = bool(first) and not (open_["best_share"] >= WORTH_TRYING).any()
    done = [task, workload, error_cost, bool(first), settled]
    return [number for number, is_done in enumerate(done, 1) if is_done]


def _examples(running, found):
    return running["model_id"].map(found.counted).fillna(0)


def near_ties(found):
    """The choice and the models that are as good, as far as one can tell: model ids, none where the choice is clear."""
    running = found.running()
    best, rivals = running.iloc[0], running.iloc[1:]
    near = rivals["expected_usd"] <= (1 + NEAR_USD) * best["expected_usd"]
    near |= rivals["best_share"] >= NEAR_SHARE * best["best_share"]
    return (best["model_id"], *rivals.loc[near, "model_id"]) if near.any() else ()


@dataclass(frozen=True)
class Evidence:
    """How many examples the choice and the rival that is least well told from it have in common."""

    rival: str
    examples: int
    needed: int  # for the margin: `tierlab.evaluate.compare.examples_needed`
    usd: float  # of both models' answers to what is missing

    @property
    def more(self):
        """Examples that are missing."""
        return max(0, self.needed - self.examples)


def evidence(found, margin):
    """`Evidence` of what `weigh` found in samples, None without: against the runner-up and whoever has a real chance."""
    running = found.running()
    if found.rows is None or len(running) == 1:
        return None
    best, pairs = running.iloc[0], []
    for place, rival in enumerate(running.iloc[1:].itertuples()):
        if place == 0 or rival.best_share >= WORTH_TRYING:
            pair = examples_needed(found.rows, best["model_id"], rival.model_id, margin)
            pairs.append(
                Evidence(
                    rival.model_id,
                    *pair,
                    max(0, pair[1] - pair[0]) * (best["price_usd"] + rival.price_usd),
                )
            )
    return max(pairs, key=lambda pair: pair.needed - pair.examples)


def next_step(found, done, workload, prices):
    """(number, sentence) of what to do next.

    Parameters
    ----------
    found : Options
    done : list of int
        From `steps_done`.
    workload : Workload
    prices : Prices
    """
    running, best = found.running(), found.running().iloc[0]
    if 3 not in done:
        return (
            3,
            f"Put a figure on an error: {usd(found.error_cost_usd)} is an assumption. What would change the choice says how far it matters.",
        )
    if 4 not in done:
        mid = running.loc[running["tier"] == "mid", "model_id"]
        first = mid.iloc[0] if len(mid) else best["model_id"]
        have = found.counted.get(first, 0)
        why = f"{have} are few" if have else "its error rate is not counted on examples"
        return (
            4,
            f"Before you rely on it, run 50 to 100 examples of your own through {first}: {why}. `python -m tierlab sample --help`",
        )
    if 5 not in done:
        untried = (
            running[_examples(running, found) < LEAST_EXAMPLES]
            .sort_values("best_share", ascending=False)
            .iloc[0]
        )
        why = (
            "it is the choice so far"
            if untried["model_id"] == best["model_id"]
            else "it may be the better choice"
        )
        return (
            5,
            f"Run the same examples through {untried['model_id']}: its error rate is not counted on 50, and {why} ({untried['best_share']:.0%} of the draws).",
        )
    point = workload.point()
    saves = (
        ""
        if point.batch_share or point.cache_hit_rate
        else _savings(best, point, prices, found.second_usd)
    )
    if saves:
        return 6, f"Cut the bill on {best['model_id']} further: {saves}."
    return 7, f"File the decision, and look again {REVIEW_MONTHS} months later."


def _savings(best, point, prices, second_usd):
    """What batch saves where nobody waits, and a cache where the input is long enough to be cached."""
    levers = [("batch_share", 1.0, "everything in batch")] * (second_usd == 0)
    levers += [("cache_hit_rate", 0.5, "half of the input from a cache")] * (
        point.mean_tokens().get("uncached_input", 0) >= CACHEABLE_TOKENS
    )
    words = []
    for over, value, what in levers:
        try:
            ends = cost_curve(point, prices, [best["model_id"]], over=over, values=[0.0, value])[
                "cost_usd"
            ]
        except ValueError:  # a catalogue without such rates, or a model outside it
            words.append(f"{what} (no rate here says what it saves)")
            continue
        words.append(f"{what} saves {1 - ends.iloc[1] / ends.iloc[0]:.0%}")
    return "; ".join(words)
