"""A recommendation: which tier, why, what would change it, and the next step of the checklist."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tierlab.catalog import load_prices
from tierlab.decision import load_tasks, task_tiers, tier_by_rule
from tierlab.money import usd
from tierlab.names import TIERS, unknown
from tierlab.options import weigh
from tierlab.scaling import cost_curve
from tierlab.workload import Workload

# The article's decision checklist, in words of ours.
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
WORTH_TRYING = 0.05  # share of the draws from which on a tier that was not tried is worth its examples


@dataclass(frozen=True, eq=False)
class Recommendation:
    """What `recommend` found.

    Attributes
    ----------
    tier, model_id, provider : str
        The choice; tier is "" for a model without one.
    reason : str
        Why, in sentences.
    table : DataFrame
        Every candidate, cheapest all in first: see `tierlab.options.Options`.
    flips : DataFrame
        What would change the choice: what, unit, now, below (the value under which another model is cheaper), below_to,
        above, above_to. Each alone, everything else as it is; NaN where it never flips.
    step : int
        The next step of the article's checklist, 1 to 7.
    next_step : str
        What to do then.
    rule : str
        What the article's two questions say about the task, "" without a task.
    basis : str
        Where the error rates come from: "assumed", "counted", "given", or the source of the samples.
    grounds : tuple of str
        Where the numbers come from that the catalogue does not give: samples, assumptions.
    settings : dict
        What was asked, for a decision record.
    """

    tier: str
    model_id: str
    provider: str
    reason: str
    table: pd.DataFrame = field(repr=False)
    flips: pd.DataFrame = field(repr=False)
    step: int
    next_step: str
    rule: str
    basis: str
    grounds: tuple
    settings: dict = field(repr=False)

    def __repr__(self):
        """Plain text: what a terminal and a stored notebook show."""
        lines = [f"{self.tier or 'no tier'}: {self.model_id}", self.reason, f"Next, step {self.step}: {self.next_step}"]
        return "\n".join([*lines, *(f"Note: {line}." for line in self.grounds)])


def recommend(*, task=None, stakes=None, complexity=None, error_cost_usd=None, workload=None, prices=None, provider=None,
              models=None, samples=None, error_counts=None, error_rates=None, second_usd=0.0, seconds=None, tool_calls=None,
              tool_error_rates=None, seed=0):  # fmt: skip
    """Which tier does a task at the least cost, all in: price, plus errors, plus the time that somebody waits.

    Parameters
    ----------
    task : str, optional
        One of data/tasks.csv. Without `samples` and `error_rates` its complexity stands for the error rates, and
        without `error_cost_usd` its stakes stand for the cost of an error; both are assumptions with a range. A task
        of your own needs `stakes` and `complexity`, or numbers in their place.
    stakes, complexity : int, optional
        The article's two questions about a task of your own: what can go wrong, and how complex is the reasoning? 1 low,
        2 medium, 3 high.
    error_cost_usd : float, optional
        USD per wrong answer.
    workload : Workload, optional
        By default 1,000 requests a day of 500 input and 300 output tokens.
    prices : Prices, optional
        By default the maintained catalogue.
    provider : str, optional
        Only its lineup. Assumed error rates do not tell providers apart, so across providers the price decides.
    models : sequence of str, optional
        The candidates, in place of the lineup.
    samples : DataFrame, optional
        Answers of the candidates to your examples (`tierlab.sample`, or an outcomes table): error rates are one minus
        the mean score, times the median.
    error_counts : mapping, optional
        By model or tier: (wrong answers, examples) of your own. What is not counted is assumed.
    error_rates : mapping, optional
        By model or tier: a share 0-1, a (low, high) pair or a (value, low, high) triple; in place of both.
    second_usd : float
        What a second of waiting is worth, USD: 0 for a nightly batch.
    seconds : mapping, optional
        Seconds per request, in the form of `error_rates`; by default those of the samples or of data/speeds.csv.
    tool_calls : int, optional
        Tool calls per request, each of which can go wrong. By default 5 for the task "agentic_tools" with assumed error
        rates (samples of whole tasks hold their tool calls already), else 0.
    tool_error_rates : mapping, optional
        Share of wrong tool calls, in the form of `error_rates`; by default assumed.
    seed : int
        Of the draws.

    Returns
    -------
    Recommendation

    Raises
    ------
    ValueError
        For an unknown task, provider or model, a rate outside 0-1, a cost below 0, or a question without the numbers
        that it takes.

    Notes
    -----
    Expected cost: `tierlab.decision.expected_cost`. Flips are exact: the cost of each model is linear in each of the
    quantities, so the choice changes where two straight lines cross (`flips` holds the crossings nearest to today).

    Examples
    --------
    Five points between Haiku and Opus at the article's prices: the flagship pays above 16 cents an error.

    >>> import tierlab as tl
    >>> found = tl.recommend(error_cost_usd=0.10, prices=tl.load_prices("article"), error_rates={"small": 0.10, "flagship": 0.05},
    ...                      models=["claude-haiku-4-5", "claude-opus-4-8"])
    >>> found.tier, round(float(found.flips.set_index("what").at["cost of an error", "above"]), 6)
    ('small', 0.16)
    """
    prices = load_prices("maintained") if prices is None else prices
    workload = Workload(requests_per_day=1_000) if workload is None else workload
    tasks = _rated(load_tasks(), task, stakes, complexity)
    if task is not None and task not in tasks.index and samples is None and error_rates is None and error_counts is None:
        raise ValueError(unknown("task", task, tasks.index) + " A task of your own needs stakes and complexity, 1 to 3 each.")
    task = task or ("yours" if stakes else None)
    known = task if task in tasks.index else None
    asked = {"provider": provider, "models": models, "samples": samples, "error_rates": error_rates, "error_counts": error_counts, "tasks": tasks, "seconds": seconds,
             "tool_calls": tool_calls, "tool_error_rates": tool_error_rates, "seed": seed}  # fmt: skip
    found = weigh(prices=prices, task=known, error_cost_usd=error_cost_usd, workload=workload, second_usd=second_usd, **asked)
    best = found.running().iloc[0]
    step, next_step = _next_step(found, best, workload, prices, asked | {"error_cost_usd": error_cost_usd})
    rule = _rule(tasks, known)
    flips = find_flips(found, workload, prices)
    settings = {
        "task": task,
        "workload": workload,
        "prices": prices,
        "options": found,
        "examples": _examples(samples, error_counts),
    }
    reason = _reason(found, best, rule, flips)
    return Recommendation(best["tier"], best["model_id"], best["provider"], reason, found.table, flips, step, next_step, rule,
                          found.basis, found.grounds, settings)  # fmt: skip


def _rated(tasks, task, stakes, complexity):
    """The task table, with a task of the user's own."""
    if (stakes is None) != (complexity is None):
        raise ValueError("give both ratings, stakes and complexity, or neither")
    if stakes is None:
        return tasks
    tier_by_rule(stakes, complexity)  # refuses what is no rating
    ratings = {"stakes_low": stakes, "stakes_high": stakes, "complexity_low": complexity, "complexity_high": complexity}
    return pd.concat([tasks.drop(index=task or "yours", errors="ignore"), pd.DataFrame(ratings, index=[task or "yours"])])


def _examples(samples, error_counts):
    if samples is not None:
        return int(samples["prompt_id"].nunique())
    return int(max((examples for _, examples in (error_counts or {}).values()), default=0))


def _rule(tasks, task):
    if task is None:
        return ""
    low, high = task_tiers(tasks.loc[[task]]).iloc[0]
    return TIERS[low - 1] if low == high else f"{TIERS[low - 1]} to {TIERS[high - 1]}"


def find_flips(found, workload, prices):
    """Where another model becomes the cheapest, for each quantity alone; the table `flips` of a recommendation."""
    table = found.running().reset_index(drop=True)
    total, first = table["expected_usd"].to_numpy(), np.arange(len(table)) == 0
    price, error, second = (table[c].to_numpy(float) for c in ("price_usd", "error_rate", "seconds"))
    timed = table["time_usd"].to_numpy(float)
    rows = [
        ("cost of an error", "USD", found.error_cost_usd, price + timed, error, np.inf),
        ("value of a second", "USD", found.second_usd, total - timed, second, np.inf),
    ]
    for place in (0, 1)[: len(table)]:
        name, own = table["model_id"][place], first if place == 0 else np.arange(len(table)) == 1
        rows += [
            (f"price of {name}", "times", 1.0, total - own * price, own * price, np.inf),
            (f"error rate of {name}", "share", error[place], total - own * error * found.error_cost_usd, own * found.error_cost_usd, 1.0),
        ]  # fmt: skip
    rows += _levers(table, workload, prices, total - price)
    names = table["model_id"].tolist()
    return pd.DataFrame([_flip(*row, names) for row in rows])


def _levers(table, workload, prices, rest):
    """Batch share and cache hit rate: the price of each model is linear in them, so two points give the line."""
    rows, models = [], table["model_id"].tolist()
    if not set(models) <= set(prices.frame["model_id"]):
        return rows
    for over, what in (("batch_share", "batch share"), ("cache_hit_rate", "cache hit rate")):
        try:
            curve = cost_curve(workload.point(), prices, models, over=over, values=[0.0, 1.0])
        except ValueError:  # no batch or cache rates in this catalogue: nothing is known about this lever
            continue
        ends = (
            curve.pivot(index=over, columns="model_id", values="cost_usd")[models].to_numpy()
            / workload.point().requests_per_day
        )
        rows.append((what, "share", getattr(workload.point(), over), rest + ends[0], ends[1] - ends[0], 1.0))
    return rows


def _flip(what, unit, now, base, slope, top, names):
    """The nearest crossings, to either side of today's value, at which another line passes under the first one's.

    Lines are base + slope x value; the first is the lowest today.
    """
    result = {"what": what, "unit": unit, "now": now, "below": np.nan, "below_to": "", "above": np.nan, "above_to": ""}
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        at = (base[1:] - base[0]) / (slope[0] - slope[1:])
    for side, faster in (("below", slope[1:] > slope[0]), ("above", slope[1:] < slope[0])):
        there = faster & np.isfinite(at) & (at >= 0) & (at <= top)
        if there.any():
            pick = np.flatnonzero(there)[at[there].argmax() if side == "below" else at[there].argmin()]
            result |= {side: float(at[pick]), f"{side}_to": names[pick + 1]}
    return result


def _next_step(found, best, workload, prices, asked):
    if asked["error_cost_usd"] is None:
        return (
            3,
            f"Put a figure on an error: {usd(found.error_cost_usd)} is an assumption. `flips` says from which figure on it matters.",
        )
    running = found.running()
    counted = set(running["tier"]) if asked["samples"] is not None else _counted(running, asked["error_counts"] or {})
    mid = running.loc[running["tier"] == "mid", "model_id"]
    if not counted or (len(mid) and "mid" not in counted):
        first = mid.iloc[0] if len(mid) else best["model_id"]
        return (
            4,
            f"Run 50 to 100 examples of your own through {first}: its error rate is not measured. `python -m tierlab sample --help`",
        )
    open_ = running[~running["tier"].isin(counted)].sort_values("best_share", ascending=False)
    if len(open_) and open_["best_share"].iloc[0] >= WORTH_TRYING:
        name, share = open_[["model_id", "best_share"]].iloc[0]
        return (
            5,
            f"Run the same examples through {name}: its error rate is assumed, and it may be the better choice ({share:.0%} of the draws).",
        )
    point = workload.point()
    if not (point.batch_share or point.cache_hit_rate):
        return 6, f"Cut the bill on {best['model_id']} further: {_lever_words(best['model_id'], point, prices)}."
    return (
        7,
        f"File the decision (`tl.file_record`) and look again by {prices.as_of + pd.DateOffset(months=REVIEW_MONTHS):%Y-%m-%d}.",
    )


def _counted(running, error_counts):
    """Tiers whose errors were counted."""
    own = running["tier"].isin(error_counts) | running["model_id"].isin(error_counts)
    return set(running.loc[own, "tier"])


def _lever_words(model, point, prices):
    words = []
    for over, what in (("batch_share", "everything in batch"), ("cache_hit_rate", "half of the input from a cache")):
        try:
            ends = cost_curve(point, prices, [model], over=over, values=[0.0, 1.0 if over == "batch_share" else 0.5])[
                "cost_usd"
            ]
        except ValueError:
            continue
        words.append(f"{what} saves {1 - ends.iloc[1] / ends.iloc[0]:.0%}")
    return (
        "; ".join(words)
        or "send what can wait in batch, and cache what repeats (this catalogue has no rates to say how much that saves)"
    )


def _reason(found, best, rule, flips):
    running = found.running()
    parts = [
        f"price {usd(best['price_usd'])}",
        f"errors {usd(best['error_usd'])} ({best['error_rate']:.1%} at {usd(found.error_cost_usd)} each)",
    ]
    parts += [f"time {usd(best['time_usd'])}"] * bool(found.second_usd)
    text = f"{best['model_id']} costs {usd(best['expected_usd'])} a request, all in: {', '.join(parts)}."
    if len(running) > 1:
        second = running.iloc[1]
        text += f" Next is {second['model_id']} at {usd(second['expected_usd'])}."
        text += f" It is the cheapest in {best['best_share']:.0%} of the draws over the stated ranges."
    row = flips.iloc[0]
    sides = [
        f"{side} {usd(row[side])} an error it would be {row[f'{side}_to']}" for side in ("below", "above") if row[f"{side}_to"]
    ]
    text += f" {sides[0][0].upper()}{'; '.join(sides)[1:]}." if sides else " No cost of an error changes that."
    if rule and best["tier"] not in rule.split(" to "):
        text += f" The article's two questions say {rule}: here the numbers say otherwise."
    return text
