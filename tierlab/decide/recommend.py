"""A recommendation: which tier, why, what would change it, and the next step of the checklist."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from tierlab.core.format import usd
from tierlab.core.tables import load_tasks
from tierlab.core.vocabulary import unknown
from tierlab.decide.checklist import (
    Overlap,
    near_ties,
    next_step,
    overlap,
    review_day,
    scheduled_said,
    steps_done,
    until_review,
)
from tierlab.decide.options import Evidence, Options, weigh
from tierlab.decide.tasks import Task, rated
from tierlab.prices.catalog import Prices, load_prices
from tierlab.scaling.costs import cost_curve
from tierlab.scaling.workload import Workload


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
        Every candidate, the lowest total cost first: see `tierlab.decide.options.Options`.
    basis : str
        Where the error rates come from: "assumed", "counted", "given", or the source of the samples.
    grounds : tuple of str
        Where the numbers come from that the catalogue does not give: samples, assumptions.
    step : int
        The next step of the article's checklist, 1 to 7.
    next_step : str
        What to do then.
    close : tuple of str
        The choice and the models that cannot be told from it; empty where the choice is clear.
    done : list of int
        The steps that are done.
    options : Options
        What was compared.
    common : Overlap or None
        The examples that samples have for the choice and its rival.
    task : Task or None
    workload : Workload
    prices : Prices
        The mean until the next review.
    """

    tier: str
    model_id: str
    provider: str
    reason: str
    table: pd.DataFrame = field(repr=False)
    basis: str
    grounds: tuple
    step: int
    next_step: str
    close: tuple
    done: list
    options: Options = field(repr=False)
    common: Overlap | None
    task: Task | None
    workload: Workload
    prices: Prices

    @property
    def lack(self):
        """What the samples lack to be filed as a decision, in words; "" where nothing does."""
        if self.common is None or not self.common.more:
            return ""
        return f"{self.model_id} and {self.common.rival} need {self.common.more:,} more examples, {self.common}"

    @cached_property
    def flips(self):
        """What would change the choice, a DataFrame: see `tierlab.decide.recommend.find_flips`.

        Each quantity alone, everything else as it is. Found when it is first asked for, since it prices the workload
        again.
        """
        return find_flips(self.options, self.workload, self.prices)

    def __repr__(self):
        """Plain text: what a terminal and a stored notebook show."""
        head = f"{self.tier or 'no tier'}: {self.model_id}"
        if self.close:
            head = f"too close to call: {_with_tiers(self.table, self.close)}"
        lines = [head, self.reason, f"Next, step {self.step}: {self.next_step}"]
        return "\n".join([*lines, *(f"Note: {line}." for line in self.grounds)])


def recommend(
    *,
    task: str | Task | None = None,
    error_cost_usd: float | tuple | None = None,
    second_usd: float = 0.0,
    workload: Workload | None = None,
    prices: Prices | None = None,
    provider: str | None = None,
    models: Sequence[str] | None = None,
    evidence: Evidence | None = None,
    seed: int = 0,
) -> Recommendation:
    """Which tier does a task at the least total cost: price, plus errors, plus the time that somebody waits.

    Parameters
    ----------
    task : str or Task, optional
        One of data/tasks.csv, or a `tierlab.Task` of your own with two ratings. Without evidence its complexity stands
        for the error rates, and without `error_cost_usd` its stakes stand for the cost of an error; both are
        assumptions with a range.
    error_cost_usd : float or tuple, optional
        USD per wrong answer; (low, high) or (value, low, high) where it is a range.
    second_usd : float
        What a second of waiting is worth, USD: 0 for a nightly batch.
    workload : Workload, optional
        By default 1,000 requests a day of 500 input and 300 output tokens.
    prices : Prices, optional
        By default the maintained catalogue. Rates are the mean of those scheduled until the next review, in six months.
    provider : str, optional
        Only its lineup; not with `models` or samples. Assumed error rates do not tell providers apart, so across
        providers the price decides.
    models : sequence of str, optional
        The candidates, in place of the lineup; with samples, those of its models that are meant.
    evidence : Evidence, optional
        Samples, counts or rates of your own (`tierlab.Evidence`).
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
    Expected cost: `tierlab.expected_cost`, at the values shown. Flips: `tierlab.decide.recommend.find_flips`.

    Examples
    --------
    Five points between Haiku and Opus at the article's prices: the flagship pays above 16 cents an error.

    >>> import tierlab as tl
    >>> rates = tl.Evidence(error_rates={"claude-haiku-4-5": 0.10, "claude-opus-4-8": 0.05})
    >>> found = tl.recommend(error_cost_usd=0.10, prices=tl.load_prices("article"), evidence=rates, models=rates.error_rates)
    >>> found.tier, round(float(found.flips.set_index("what").at["cost of an error", "above"]), 6)
    ('small', 0.16)
    """
    evidence = evidence or Evidence()
    of_today = prices or load_prices("maintained")
    prices = until_review(of_today)
    task = None if task is None else rated(task)
    if task and task.stakes is None and evidence.samples is None and not evidence.error_rates:
        known = unknown("task", task.name, load_tasks().index)
        raise ValueError(f"{known} (a task of your own needs stakes and complexity, 1 to 3 each)")
    found = weigh(
        prices=prices,
        task=task,
        error_cost_usd=error_cost_usd,
        second_usd=second_usd,
        workload=workload,
        provider=provider,
        models=models,
        evidence=evidence,
        seed=seed,
    )
    best = found.running().iloc[0]
    close, common = near_ties(found), overlap(found, evidence.margin)
    done = steps_done(
        found,
        common,
        task=task is not None,
        workload=workload is not None,
        error_cost=error_cost_usd is not None,
    )
    workload = workload or Workload(requests_per_day=1_000)
    step, words = next_step(found, common, done, workload, prices)
    parts = [
        _tie(found, close),
        _reason(found, best),
        _hint(found, best, task),
        _leaving(best["model_id"], prices),
        _later(of_today, found),
    ]
    return Recommendation(
        tier=best["tier"],
        model_id=best["model_id"],
        provider=best["provider"],
        reason=" ".join(part for part in parts if part),
        table=found.table,
        basis=found.basis,
        grounds=found.grounds,
        step=step,
        next_step=words,
        close=close,
        done=done,
        options=found,
        common=common,
        task=task,
        workload=workload,
        prices=prices,
    )


def _with_tiers(table, models):
    tier = table.set_index("model_id")["tier"]
    return " and ".join(f"{tier[model]} ({model})" if tier[model] else model for model in models)


def _tie(found, close):
    if not close:
        return ""
    rows = found.table.set_index("model_id").loc[list(close)]
    shares = " and ".join(f"{share:.0%}" for share in rows["best_share"])
    gap = usd(rows["expected_usd"].max() - rows["expected_usd"].min())
    how = "examples of your own" if found.rows is None else "more examples"
    return (
        f"Too close to call: {_with_tiers(found.table, close)} are within {gap} a request of each other, "
        f"and the cheapest in {shares} of the draws; measure them on {how}."
    )


def _reason(found, best):
    running, name = found.running(), best["model_id"]
    parts = [
        f"price {usd(best['price_usd'])}",
        f"errors {usd(best['error_usd'])} ({best['error_rate']:.1%} at {usd(found.error_cost_usd)} each)",
    ]
    if found.second_usd:
        parts.append(f"time {usd(best['time_usd'])}")
    text = f"{name} costs {usd(best['expected_usd'])} a request, all in: {', '.join(parts)}."
    if len(running) == 1:
        return f"{text} It is the only candidate: nothing was compared."
    second, flip = running.iloc[1], error_cost_flip(found)
    text += (
        f" Next is {second['model_id']} at {usd(second['expected_usd'])}; {name} is the cheapest in "
        f"{best['best_share']:.0%} of the draws over the stated ranges."
    )
    sides = [
        f"{side} {usd(flip[side])} an error it would be {flip[f'{side}_to']}"
        for side in ("below", "above")
        if flip[f"{side}_to"]
    ]
    if not sides:
        return f"{text} No cost of an error changes that."
    said = "; ".join(sides)
    return f"{text} {said[0].upper()}{said[1:]}."


def _hint(found, best, task):
    """What to make of the numbers beside the article's rule, and across providers."""
    running, hints = found.running(), []
    if len(running) == 1:
        return ""
    if found.basis == "assumed" and running["provider"].nunique() > 1:
        hints.append(
            "Error rates are assumed per tier, so between providers only price and speed decide."
        )
    rule = task.rule if task else ""
    tiers = rule.split(" to ")
    if rule and best["tier"] not in tiers and set(tiers) & set(running["tier"]):
        hints.append(f"The article's two questions say {rule}: here the numbers say otherwise.")
    return " ".join(hints)


def _leaving(model, prices):
    """A warning where a model retires before the next review."""
    leaves = prices.by_model["retires_on"].get(model)
    if pd.isna(leaves) or leaves > review_day(prices):
        return ""
    return f"It retires on {leaves:%Y-%m-%d}, before the next review."


def _later(prices, found):
    said = scheduled_said(prices, found.running()["model_id"].tolist())
    return f"{said[0].upper()}{said[1:]}." if said else ""


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
    total, error = table["expected_usd"].to_numpy(), table["error_rate"].to_numpy()
    price, timed = table["price_usd"].to_numpy(), table["time_usd"].to_numpy()
    waits = table["seconds"].to_numpy() * (1 - workload.point().batch_share)
    rows = [
        error_cost_flip(found),
        _flip("value of a second", "USD", found.second_usd, total - timed, waits, names),
    ]
    # The choice, the runner-up and the best model of each other tier: whose numbers could turn it.
    for place in sorted({*range(min(2, len(table))), *table.drop_duplicates("tier").index}):
        own, name = places == place, names[place]
        paid = own * found.error_cost_usd
        rows += [
            _flip(f"price of {name}", "times", 1.0, total - own * price, own * price, names),
            _flip(
                f"error rate of {name}", "share", error[place], total - paid * error, paid, names
            ),
        ]
    return pd.DataFrame(rows + _levers(table, workload, prices))


def error_cost_flip(found):
    """The row of `find_flips` on the cost of an error, as a mapping."""
    table = found.running()
    rest, error = table["expected_usd"] - table["error_usd"], table["error_rate"]
    names = table["model_id"].tolist()
    now = found.error_cost_usd
    return _flip("cost of an error", "USD", now, rest.to_numpy(), error.to_numpy(), names)


def _levers(table, workload, prices):
    """Batch share and cache hit rate: price and waiting are linear in them, so two points give the line."""
    rows, point, names = [], workload.point(), table["model_id"].tolist()
    timed = table["time_usd"].to_numpy()
    rest = (table["expected_usd"] - table["price_usd"] - table["time_usd"]).to_numpy()
    for over, what in (("batch_share", "batch share"), ("cache_hit_rate", "cache hit rate")):
        now, why = getattr(point, over), ""
        if table["price_basis"].ne("catalogue").any():
            why = "the price of a candidate is not the catalogue's"
        if over == "batch_share" and now == 1:
            why = "nothing waits"
        try:
            curve = cost_curve(point, prices, names, over=over, values=[0.0, 1.0])
        except ValueError as error:  # a rate is missing: nothing is known about this lever
            why = why or error
        if why:
            rows.append(_blank(what, "share", now, f"not known: {why}"))
            continue
        # What is in batch, nobody waits for.
        waiting = timed / (1 - now) if over == "batch_share" else timed
        saved = waiting if over == "batch_share" else 0.0
        usd = curve.pivot(index=over, columns="model_id", values="cost_usd")[names].to_numpy()
        start, end = usd / point.requests_per_day
        base, slope = rest + start + waiting, end - start - saved
        rows.append(_flip(what, "share", now, base, slope, names))
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


def _flip(what, unit, now, base, slope, names):
    """The nearest crossings, to either side of today's value, at which another line passes under the first one's.

    Lines are base + slope x value; the first is the lowest today. A share ends at 1.
    """
    if not np.isfinite(base + slope).all():
        return _blank(what, unit, now, "not known for every candidate")
    result, top = _blank(what, unit, now), 1.0 if unit == "share" else np.inf
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        at = (base[1:] - base[0]) / (slope[0] - slope[1:])
    inside = np.isfinite(at) & (at > 0) & (at < top)
    # A line that rises faster than the first one's lies under it below the crossing.
    below, above = inside & (slope[1:] > slope[0]), inside & (slope[1:] < slope[0])
    if below.any():
        pick = np.where(below, at, -np.inf).argmax()
        result |= {"below": float(at[pick]), "below_to": names[pick + 1]}
    if above.any():
        pick = np.where(above, at, np.inf).argmin()
        result |= {"above": float(at[pick]), "above_to": names[pick + 1]}
    return result
