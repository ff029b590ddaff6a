"""A recommendation: which tier, why, what would change it, and the next step of the checklist.

What would change a choice: for each quantity alone, the value at which another model becomes the cheapest.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from tierlab.core.format import usd
from tierlab.core.tables import load_tasks
from tierlab.core.vocabulary import TIERS, unknown
from tierlab.decide.options import weigh
from tierlab.decide.tasks import (
    evidence,
    near_ties,
    next_step,
    review_day,
    scheduled_said,
    steps_done,
    task_tiers,
    tier_by_rule,
    until_review,
)
from tierlab.evaluate.compare import check_margin
from tierlab.prices.catalog import load_prices
from tierlab.scaling.costs import cost_curve
from tierlab.scaling.workload import Workload

RATINGS = ("stakes", "complexity")


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
        Every candidate, cheapest all in first: see `tierlab.decide.options.Options`.
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
    close : tuple of str
        The choice and the models that cannot be told from it; empty where the choice is clear.
    settings : dict
        What was asked, for a decision record.
    """

    tier: str
    model_id: str
    provider: str
    reason: str
    table: pd.DataFrame = field(repr=False)
    step: int
    next_step: str
    rule: str
    basis: str
    grounds: tuple
    close: tuple
    settings: dict = field(repr=False)

    @property
    def lack(self):
        """What the samples lack to be filed as a decision, in words; "" where nothing does."""
        seen = self.settings["evidence"]
        if seen is None or not seen.more:
            return ""
        return f"{self.model_id} and {seen.rival} need {seen.more:,} more examples, {_lack(seen, self.settings['margin'])}"

    @cached_property
    def flips(self):
        """What would change the choice, a DataFrame: see `tierlab.decide.recommend.find_flips`.

        Each quantity alone, everything else as it is. Found when it is first asked for, since it prices the workload
        again.
        """
        return find_flips(
            self.settings["options"], self.settings["workload"], self.settings["prices"]
        )

    def __repr__(self):
        """Plain text: what a terminal and a stored notebook show."""
        head = (
            f"too close to call: {_named(self.table, self.close)}"
            if self.close
            else f"{self.tier or 'no tier'}: {self.model_id}"
        )
        lines = [head, self.reason, f"Next, step {self.step}: {self.next_step}"]
        return "\n".join([*lines, *(f"Note: {line}." for line in self.grounds)])


def recommend(*, task=None, stakes=None, complexity=None, error_cost_usd=None, workload=None, prices=None, provider=None,
              models=None, samples=None, error_counts=None, error_rates=None, second_usd=0.0, seconds=None, tool_calls=None,
              tool_error_rates=None, truncated="set_aside", margin=0.05, seed=0):  # fmt: skip
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
    error_cost_usd : float or tuple, optional
        USD per wrong answer; (value, low, high) where it is a range.
    workload : Workload, optional
        By default 1,000 requests a day of 500 input and 300 output tokens.
    prices : Prices, optional
        By default the maintained catalogue. Rates are the mean of those scheduled until the next review, in six months.
    provider : str, optional
        Only its lineup; not with `models` or `samples`. Assumed error rates do not tell providers apart, so across providers the price decides.
    models : sequence of str, optional
        The candidates, in place of the lineup; with samples, those of its models that are meant.
    samples : DataFrame, optional
        Answers of the candidates to your examples (`tierlab.sample`, or an outcomes table). Errors and dollars per request
        are measured, pair by pair on the examples that both have a score on (`tierlab.evaluate.rows.levels`); where an answer has
        no cost, its own tokens are priced at the rates of the day. Seconds are the median.
    truncated : {"set_aside", "wrong"}
        As for `tierlab.compare`: whether an answer cut off by its limit has no score or a score of 0.
    margin : float
        How much worse than a rival the choice may be, 0-1: samples of fewer examples than that takes are not filed as a
        decision (`tierlab.file_record`).
    error_counts : mapping, optional
        By model, or by a tier that one candidate has: (wrong answers, examples) of your own. What is not counted is assumed.
    error_rates : mapping, optional
        By model or tier: a share 0-1, a (low, high) pair or a (value, low, high) triple; in place of both.
    second_usd : float
        What a second of waiting is worth, USD: 0 for a nightly batch.
    seconds : mapping, optional
        Seconds per request, in the form of `error_rates`; by default those of the samples or of data/speeds.csv.
    tool_calls : int, optional
        Tool calls per request, each of which can go wrong. By default 5 for the task "agentic_tools", else 0. They count
        for assumed and given error rates; what was counted on whole tasks holds its tool calls already.
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
    Expected cost: `tierlab.decide.tasks.expected_cost`, at the values shown. Flips: `tierlab.decide.recommend.find_flips`.

    Examples
    --------
    Five points between Haiku and Opus at the article's prices: the flagship pays above 16 cents an error.

    >>> import tierlab as tl
    >>> found = tl.recommend(error_cost_usd=0.10, prices=tl.load_prices("article"), error_rates={"small": 0.10, "flagship": 0.05},
    ...                      models=["claude-haiku-4-5", "claude-opus-4-8"])
    >>> found.tier, round(float(found.flips.set_index("what").at["cost of an error", "above"]), 6)
    ('small', 0.16)
    """
    check_margin(margin)
    of_today = load_prices("maintained") if prices is None else prices
    prices = until_review(of_today)
    given = {"workload": workload is not None, "error_cost": error_cost_usd is not None}
    workload = Workload(requests_per_day=1_000) if workload is None else workload
    tasks = _rated(load_tasks(), task, stakes, complexity)
    if task is not None and task not in tasks.index and samples is None and error_rates is None:
        raise ValueError(
            f"{unknown('task', task, tasks.index)} (a task of your own needs stakes and complexity, 1 to 3 each)"
        )
    task = task or ("yours" if stakes else None)
    known = task if task in tasks.index else None
    found = weigh(prices=prices, task=known, tasks=tasks, error_cost_usd=error_cost_usd, workload=workload, provider=provider,
                  models=models, samples=samples, error_counts=error_counts, error_rates=error_rates, second_usd=second_usd,
                  seconds=seconds, tool_calls=tool_calls, tool_error_rates=tool_error_rates, truncated=truncated, seed=seed)  # fmt: skip
    best = found.running().iloc[0]
    done = steps_done(found, task=task is not None, **given)
    seen, close = evidence(found, margin), near_ties(found)
    if seen is not None and seen.more:
        done = [number for number in done if number not in (4, 5)]
    step, words = next_step(found, done, workload, prices)
    if step == 4 and seen is not None:
        words = f"Run {seen.more:,} more examples through {best['model_id']} and {seen.rival}, {_lack(seen, margin)}."
    rule = _rule(tasks, known)
    ratings = (
        None
        if known is None
        else {
            name: [int(tasks.at[known, f"{name}_{end}"]) for end in ("low", "high")]
            for name in RATINGS
        }
    )
    settings = {"task": task, "ratings": ratings, "workload": workload, "prices": prices, "options": found, "checked": done,
                "examples": seen.examples if seen else max(found.counted.values(), default=0), "evidence": seen, "margin": margin}  # fmt: skip
    reason = _tie(found, close) + _reason(found, best, rule) + _leaving(best["model_id"], prices)
    if later := scheduled_said(of_today, found.running()["model_id"].tolist()):
        reason += f" {later[0].upper()}{later[1:]}."
    return Recommendation(best["tier"], best["model_id"], best["provider"], reason, found.table, step, words, rule, found.basis,
                          found.grounds, close, settings)  # fmt: skip


def _rated(tasks, task, stakes, complexity):
    """The task table, with a task of the user's own."""
    if (stakes is None) != (complexity is None):
        raise ValueError("give both ratings, stakes and complexity, or neither")
    if stakes is None:
        return tasks
    tier_by_rule(stakes, complexity)  # refuses what is no rating
    ratings = {
        "stakes_low": stakes,
        "stakes_high": stakes,
        "complexity_low": complexity,
        "complexity_high": complexity,
    }
    return pd.concat(
        [
            tasks.drop(index=task or "yours", errors="ignore"),
            pd.DataFrame(ratings, index=[task or "yours"]),
        ]
    )


def _rule(tasks, task):
    if task is None:
        return ""
    low, high = task_tiers(tasks.loc[[task]]).iloc[0]
    return TIERS[low - 1] if low == high else f"{TIERS[low - 1]} to {TIERS[high - 1]}"


def _named(table, models):
    tier = table.set_index("model_id")["tier"]
    return " and ".join(f"{tier[model]} ({model})" if tier[model] else model for model in models)


def _tie(found, close):
    if not close:
        return ""
    rows = found.table.set_index("model_id").loc[list(close)]
    shares = " and ".join(f"{share:.0%}" for share in rows["best_share"])
    gap = usd(rows["expected_usd"].max() - rows["expected_usd"].min())
    how = "more examples" if found.rows is not None else "examples of your own"
    return (
        f"Too close to call: {_named(found.table, close)} are within {gap} a request of each other, and the cheapest in {shares} "
        f"of the draws; measure them on {how}. "
    )


def _lack(seen, margin):
    """Why examples are missing, and what they cost."""
    return (
        f"about {usd(seen.usd)}: they have {seen.examples:,} in common, and a margin of {100 * margin:.3g} points takes "
        f"{seen.needed:,}"
    )


def _reason(found, best, rule):
    running, name = found.running(), best["model_id"]
    parts = [
        f"price {usd(best['price_usd'])}",
        f"errors {usd(best['error_usd'])} ({best['error_rate']:.1%} at {usd(found.error_cost_usd)} each)",
    ]
    parts += [f"time {usd(best['time_usd'])}"] * bool(found.second_usd)
    text = f"{name} costs {usd(best['expected_usd'])} a request, all in: {', '.join(parts)}."
    if len(running) == 1:
        return f"{text} It is the only candidate: nothing was compared."
    second = running.iloc[1]
    text += f" Next is {second['model_id']} at {usd(second['expected_usd'])}; {name} is the cheapest in {best['best_share']:.0%} of the draws over the stated ranges."
    row = error_cost_flip(found)
    sides = [
        f"{side} {usd(row[side])} an error it would be {row[f'{side}_to']}"
        for side in ("below", "above")
        if row[f"{side}_to"]
    ]
    text += (
        f" {sides[0][0].upper()}{'; '.join(sides)[1:]}."
        if sides
        else " No cost of an error changes that."
    )
    if found.basis == "assumed" and running["provider"].nunique() > 1:
        text += (
            " Error rates are assumed per tier, so between providers only price and speed decide."
        )
    tiers = rule.split(" to ")
    if rule and best["tier"] not in tiers and set(tiers) & set(running["tier"]):
        text += f" The article's two questions say {rule}: here the numbers say otherwise."
    return text


def _leaving(model, prices):
    """A warning where a model retires before the next review."""
    leaves = prices.frame.loc[prices.frame["model_id"] == model, "retires_on"].dropna()
    if leaves.empty or leaves.iloc[0] > review_day(prices):
        return ""
    return f" It retires on {leaves.iloc[0]:%Y-%m-%d}, before the next review."


def find_flips(found, workload, prices):
    """Switching values of a choice.

    Parameters
    ----------
    found : Options
        From `tierlab.decide.options.weigh`; the first row that runs is the choice.
    workload : Workload
    prices : Prices

    Returns
    -------
    DataFrame
        what, unit ("USD", "times", "share"), now, below (the value under which another model is the cheapest), below_to,
        above, above_to, note (why a value is not known, "" otherwise). NaN without a note: it never flips.

    Notes
    -----
    The cost of each model is linear in each quantity alone, so the choice changes where two straight lines cross; the
    crossings nearest to today's value count.
    """
    table = found.running().reset_index(drop=True)
    names, places = table["model_id"].tolist(), np.arange(len(table))
    total, price, error, timed = (
        table[c].to_numpy(float) for c in ("expected_usd", "price_usd", "error_rate", "time_usd")
    )
    waits = table["seconds"].to_numpy(float) * (1 - workload.point().batch_share)
    rows = [("value of a second", "USD", found.second_usd, total - timed, waits, np.inf)]
    for place in _rivals(table):
        own = places == place
        paid = own * error * found.error_cost_usd
        rows += [
            (f"price of {names[place]}", "times", 1.0, total - own * price, own * price, np.inf),
            (
                f"error rate of {names[place]}",
                "share",
                error[place],
                total - paid,
                own * found.error_cost_usd,
                1.0,
            ),
        ]
    flips = [
        error_cost_flip(found),
        *(_flip(*row, names) for row in rows),
        *_levers(table, workload, prices, names),
    ]
    return pd.DataFrame(flips)


def error_cost_flip(found):
    """The row of `find_flips` on the cost of an error, as a mapping."""
    table = found.running()
    error, rest = (
        table["error_rate"].to_numpy(float),
        (table["expected_usd"] - table["error_usd"]).to_numpy(float),
    )
    return _flip(
        "cost of an error",
        "USD",
        found.error_cost_usd,
        rest,
        error,
        np.inf,
        table["model_id"].tolist(),
    )


def _rivals(table):
    """The choice, the runner-up, and the best model of each other tier: whose numbers could turn it."""
    return sorted({*range(min(2, len(table))), *table.drop_duplicates("tier").index})


def _levers(table, workload, prices, names):
    """Batch share and cache hit rate: price and waiting are linear in them, so two points give the line."""
    rows, point = [], workload.point()
    timed, rest = (
        table["time_usd"].to_numpy(float),
        (table["expected_usd"] - table["price_usd"] - table["time_usd"]).to_numpy(float),
    )
    for over, what in (("batch_share", "batch share"), ("cache_hit_rate", "cache hit rate")):
        now = getattr(point, over)
        if (over == "batch_share" and now == 1) or table["price_basis"].ne("catalogue").any():
            why = "nothing waits" if now == 1 else "the price of a candidate is not the catalogue's"
            rows.append(_blank(what, "share", now, f"not known: {why}"))
            continue
        try:
            curve = cost_curve(point, prices, names, over=over, values=[0.0, 1.0])
        except ValueError as error:  # a rate is missing: nothing is known about this lever
            rows.append(_blank(what, "share", now, f"not known: {error}"))
            continue
        ends = (
            curve.pivot(index=over, columns="model_id", values="cost_usd")[names].to_numpy()
            / point.requests_per_day
        )
        waiting = (
            timed / (1 - now) if over == "batch_share" else timed
        )  # what is in batch, nobody waits for
        slope = ends[1] - ends[0] - (waiting if over == "batch_share" else 0.0)
        rows.append(_flip(what, "share", now, rest + ends[0] + waiting, slope, 1.0, names))
    return rows


def _blank(what, unit, now, note=""):
    return {
        "what": what,
        "unit": unit,
        "now": now,
        "below": np.nan,
        "below_to": "",
        "above": np.nan,
        "above_to": "",
        "note": note,
    }


def _flip(what, unit, now, base, slope, top, names):
    """The nearest crossings, to either side of today's value, at which another line passes under the first one's.

    Lines are base + slope x value; the first is the lowest today.
    """
    result = _blank(what, unit, now)
    if not np.isfinite(base + slope).all():
        return _blank(what, unit, now, "not known for every candidate")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        at = (base[1:] - base[0]) / (slope[0] - slope[1:])
    for side, faster in (("below", slope[1:] > slope[0]), ("above", slope[1:] < slope[0])):
        there = faster & np.isfinite(at) & (at > 0) & (at < top)
        if there.any():
            pick = np.flatnonzero(there)[
                at[there].argmax() if side == "below" else at[there].argmin()
            ]
            result |= {side: float(at[pick]), f"{side}_to": names[pick + 1]}
    return result
