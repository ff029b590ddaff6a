"""A recommendation: which tier, why, what would change it, and the next step of the checklist."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from tierlab.core.format import usd
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
class Recommendation(Options):
    """What `recommend` found: what was compared (`tierlab.decide.options.Options`), and the choice.

    Attributes
    ----------
    tier, model_id, provider : str
        The choice; tier is "" for a model without one.
    reason : str
        Why, in sentences.
    step : int
        The next step of the article's checklist, 1 to 7.
    next_step : str
        What to do then.
    close : tuple of str
        The choice and the models that cannot be told from it; empty where the choice is clear.
    done : list of int
        The steps that are done.
    common : Overlap or None
        The examples that samples have for the choice and its rival.
    """

    tier: str
    model_id: str
    provider: str
    reason: str
    step: int
    next_step: str
    close: tuple
    done: list
    common: Overlap | None

    @cached_property
    def flips(self):
        """What would change the choice, a DataFrame: see `tierlab.decide.recommend.find_flips`.

        Each quantity alone, everything else as it is. Found when it is first asked for, since it prices the workload
        again.
        """
        return find_flips(self)

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
    prices = prices or load_prices("maintained")
    given = [task is not None, workload is not None, error_cost_usd is not None]
    task = None if task is None else rated(task)
    found = weigh(
        prices=until_review(prices),
        task=task,
        error_cost_usd=error_cost_usd,
        second_usd=second_usd,
        workload=workload or Workload(requests_per_day=1_000),
        provider=provider,
        models=models,
        evidence=evidence,
        seed=seed,
    )
    best = found.running().iloc[0]
    close, common = near_ties(found), overlap(found, evidence.margin)
    done = steps_done(found, common, given)
    step, words = next_step(found, common, done)
    later = scheduled_said(prices, found.running()["model_id"])
    later = later and f"{later[0].upper()}{later[1:]}."
    parts = [_tie(found, close), _reason(found), *_hints(found), later]
    return Recommendation(
        **vars(found),
        **best[["tier", "model_id", "provider"]],
        reason=" ".join(part for part in parts if part),
        step=step,
        next_step=words,
        close=close,
        done=done,
        common=common,
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


def _reason(found):
    running, cost = found.running(), found.cost["error_cost_usd"]
    best = running.iloc[0]
    name = best["model_id"]
    text = f"price {usd(best['price_usd'])}, errors {usd(best['error_usd'])} ({best['error_rate']:.1%} at {usd(cost)} each)"
    if found.second_usd:
        text += f", time {usd(best['time_usd'])}"
    text = f"{name} costs {usd(best['expected_usd'])} a request in total: {text}."
    if len(running) == 1:
        return f"{text} It is the only candidate: nothing was compared."
    second = running.iloc[1]
    text += (
        f" Next is {second['model_id']} at {usd(second['expected_usd'])}; {name} is the cheapest in "
        f"{best['best_share']:.0%} of the draws over the stated ranges."
    )
    said = _sides(error_cost_flip(found), usd, "{side} {at} an error it would be {to}")
    if not said:
        return f"{text} No cost of an error changes that."
    said = "; ".join(said)
    return f"{text} {said[0].upper()}{said[1:]}."


def _hints(found):
    """What to make of the numbers beside the article's rule and across providers, and when the choice retires."""
    running, hints = found.running(), []
    best = running.iloc[0]
    if len(running) > 1 and found.basis == "assumed" and running["provider"].nunique() > 1:
        hints.append(
            "Error rates are assumed per tier, so between providers only price and speed decide."
        )
    rule = found.task.rule if found.task else ""
    tiers = rule.split(" to ")
    if (
        rule
        and len(running) > 1
        and best["tier"] not in tiers
        and set(tiers) & set(running["tier"])
    ):
        hints.append(f"The article's two questions say {rule}: here the numbers say otherwise.")
    leaves = found.prices.by_model["retires_on"].get(best["model_id"])
    if pd.notna(leaves) and leaves <= review_day(found.prices):
        hints.append(f"It retires on {leaves:%Y-%m-%d}, before the next review.")
    return hints


def find_flips(found):
    """Switching values of a choice.

    Parameters
    ----------
    found : Options
        From `tierlab.decide.options.weigh`; the first row that runs is the choice.

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
    waits = table["seconds"].to_numpy() * (1 - found.workload.point().batch_share)
    rows = [
        error_cost_flip(found),
        _flip("value of a second", "USD", found.second_usd, total - timed, waits, names),
    ]
    # The choice, the runner-up and the best model of each other tier: whose numbers could turn it.
    for place in sorted({*range(min(2, len(table))), *table.drop_duplicates("tier").index}):
        own, name, rate = places == place, names[place], error[place]
        paid = own * found.cost["error_cost_usd"]
        rows += [
            _flip(f"price of {name}", "times", 1.0, total - own * price, own * price, names),
            _flip(f"error rate of {name}", "share", rate, total - paid * error, paid, names),
        ]
    levers = (("batch_share", "batch share"), ("cache_hit_rate", "cache hit rate"))
    return pd.DataFrame(rows + [_lever(found, table, over, what) for over, what in levers])


def flip_words(flips):
    """The table `flips` as sentences, in plain text: one per quantity that can change the choice."""
    units = {"USD": usd, "share": "{:.1%}".format, "times": "{:.2f} times today's".format}
    lines = []
    for row in flips.to_dict("records"):
        show = units[row["unit"]]
        said = _sides(row, show, "{side} {at} it is {to}")
        said += [row["note"]] if row["note"] else []
        now = "" if row["unit"] == "times" else f" (now {show(row['now'])})"
        if said:
            lines.append(f"{row['what']}{now}: {'; '.join(said)}")
    return lines


def _sides(flip, show, words):
    return [
        words.format(side=side, at=show(flip[side]), to=flip[f"{side}_to"])
        for side in ("below", "above")
        if flip[f"{side}_to"]
    ]


def error_cost_flip(found):
    """The row of `find_flips` on the cost of an error, a dict."""
    table, now = found.running(), found.cost["error_cost_usd"]
    rest, error = table["expected_usd"] - table["error_usd"], table["error_rate"].to_numpy()
    names = table["model_id"].tolist()
    return _flip("cost of an error", "USD", now, rest.to_numpy(), error, names)


def _lever(found, table, over, what):
    """Batch share or cache hit rate: price and waiting are linear in it, so two points give the line."""
    point, names = found.workload.point(), table["model_id"].tolist()
    now, why, ends = getattr(point, over), "", np.zeros((2, len(names)))
    if over == "batch_share" and now == 1:
        why = "nothing waits"
    elif table["price_basis"].ne("catalogue").any():
        why = "the price of a candidate is not the catalogue's"
    else:
        try:
            curve = cost_curve(point, found.prices, names, over=over, values=[0.0, 1.0])
            day = curve.pivot(index=over, columns="model_id", values="cost_usd")
            ends = day[names].to_numpy() / point.requests_per_day
        except ValueError as error:  # a rate is missing: nothing is known about this lever
            why = error
    timed = table["time_usd"].to_numpy()
    base = table["expected_usd"].to_numpy() - table["price_usd"].to_numpy() - timed
    saved = 0.0
    if over == "batch_share" and not why:  # what is in batch, nobody waits for
        saved = timed = timed / (1 - now)
    note = f"not known: {why}" if why else ""
    return _flip(what, "share", now, base + ends[0] + timed, ends[1] - ends[0] - saved, names, note)


def _flip(what, unit, now, base, slope, names, note=""):
    """The nearest crossings, to either side of today's value, at which another line passes under the first one's.

    Lines are base + slope x value; the first is the lowest today. A share ends at 1. A note says why nothing is known.
    """
    nothing = {"below": np.nan, "below_to": "", "above": np.nan, "above_to": ""}
    flip = {"what": what, "unit": unit, "now": now} | nothing
    if not np.isfinite(base + slope).all():
        note = note or "not known for every candidate"
    if note:
        return flip | {"note": note}
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        at = (base[1:] - base[0]) / (slope[0] - slope[1:])
    inside = np.isfinite(at) & (at > 0) & (at < (1.0 if unit == "share" else np.inf))
    # A line that rises faster than the first one's lies under it below the crossing.
    below, above = inside & (slope[1:] > slope[0]), inside & (slope[1:] < slope[0])
    if below.any():
        pick = np.where(below, at, -np.inf).argmax()
        flip |= {"below": float(at[pick]), "below_to": names[pick + 1]}
    if above.any():
        pick = np.where(above, at, np.inf).argmin()
        flip |= {"above": float(at[pick]), "above_to": names[pick + 1]}
    return flip | {"note": ""}
