"""A recommendation: which tier, why, what would change it, and the next step of the checklist."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from tierlab.core.format import listed, share, usd
from tierlab.core.vocabulary import TIERS
from tierlab.decide.checklist import (
    WORTH_TRYING,
    Overlap,
    near_ties,
    next_step,
    overlap,
    review_day,
    scheduled_said,
    steps_done,
    untested,
    until_review,
)
from tierlab.decide.options import Evidence, Options, weigh
from tierlab.decide.tasks import Task, assumed_errors, rated
from tierlab.prices.catalog import Prices, load_prices
from tierlab.scaling.costs import cost_curve
from tierlab.scaling.workload import Workload


@dataclass(frozen=True, eq=False)
class Recommendation(Options):
    """The choice, and the models that were compared (`tierlab.decide.options.Options`).

    Attributes
    ----------
    tier, model_id, provider : str
        The choice; tier is "" for a model without one.
    reason : str
        Why, in sentences.
    step : int
        The next step of the article's checklist, 1 to 7.
    next_step : str
        What to do in that step.
    close : tuple of str
        The choice and the models that cannot be told from it; empty where the choice is clear.
    done : list of int
        The steps that are done.
    common : Overlap or None
        How many examples the samples have of both the choice and its rival; None without samples.
    assumed : tuple of str
        The quantities of the workload that were not given.
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
    assumed: tuple = ()

    @cached_property
    def flips(self):
        """A DataFrame of what would change the choice: see `tierlab.decide.recommend.find_flips`.

        It is computed when it is first used, since it prices the workload again.
        """
        return find_flips(self)

    def __repr__(self):
        """Plain text for a terminal and a stored notebook."""
        head = f"{self.tier or 'no tier'}: {self.model_id}"
        if self.close:
            head = f"too close to call: {_with_tiers(self.table, self.close)}"
        lines = [
            f"{head} (error rates: {rates_said(self)})",
            self.reason,
            dollars_said(self),
            f"Next, step {self.step}: {self.next_step}",
        ]
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
    """Recommend the tier that does a task at the lowest total cost: price, errors and waiting.

    Parameters
    ----------
    task : str or Task, optional
        One of data/tasks.csv, or your own `tierlab.Task` with two ratings. Without evidence, error rates are assumed
        from its complexity; without `error_cost_usd`, the cost of an error is assumed from its stakes. Both assumptions
        have a range.
    error_cost_usd : float or tuple, optional
        USD per wrong answer, 0 or more; (low, high) or (value, low, high) where it is a range.
    second_usd : float
        Value of a second of waiting, USD; 0 for a nightly batch.
    workload : Workload, optional
        By default 1,000 requests a day of 500 input and 300 output tokens.
    prices : Prices, optional
        By default the maintained catalogue. Rates are averaged over those scheduled until the next review, in six
        months.
    provider : str, optional
        Compare only its lineup; not with `models` or samples. Assumed error rates are the same for all providers, so
        across providers the price decides.
    models : sequence of str, optional
        The candidates, in place of the lineup; with samples, which of their models to compare.
    evidence : Evidence, optional
        Your own samples, counts or rates.
    seed : int
        Seed of the draws.

    Returns
    -------
    Recommendation

    Raises
    ------
    ValueError
        For an unknown task, provider or model, a rate outside 0-1, a cost below 0, or a question that lacks a number.

    Notes
    -----
    The total cost is `tierlab.expected_cost` at the values shown. What would change the choice is found by
    `tierlab.decide.recommend.find_flips`.

    Examples
    --------
    Haiku is wrong five points more often than Opus. At the article's prices the flagship pays above 16 cents an error.

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
    parts = [untested_said(found), _tie(found, close), _reason(found), *_hints(found)]
    later = scheduled_said(prices, found.running()["model_id"])
    if later:
        parts.append(f"{later[0].upper()}{later[1:]}.")
    return Recommendation(
        **vars(found),
        **best[["tier", "model_id", "provider"]],
        reason=" ".join(part for part in parts if part),
        step=step,
        next_step=words,
        close=close,
        done=done,
        common=common,
        assumed=("requests a day", "input tokens", "output tokens") if workload is None else (),
    )


def dollars(table, requests_per_day, choice):
    """Return each model's total cost and what the choice saves against it.

    Parameters
    ----------
    table : DataFrame
        Of `tierlab.decide.options.Options`.
    requests_per_day : float
    choice : str
        Model id of the choice.

    Returns
    -------
    DataFrame
        model_id, usd_a_day, usd_a_year (365 such days), saved_a_year (USD), one row per model that can be chosen.
    """
    running = table[table["expected_usd"].notna()]
    day = running["expected_usd"] * requests_per_day
    saved = 365 * (day - day[running["model_id"] == choice].sum())
    return running[["model_id"]].assign(usd_a_day=day, usd_a_year=365 * day, saved_a_year=saved)


def dollars_said(found):
    """Say in one sentence what the choice costs, and what it saves against the next three models."""
    volume = found.workload.point().requests_per_day
    table = dollars(found.table, volume, found.model_id)
    best = table.iloc[0]
    assumed = f" (assumed: {listed(found.assumed)})" if found.assumed else ""
    text = (
        f"At {volume:,.0f} requests a day{assumed}: {best['model_id']} costs {usd(best['usd_a_day'])} a day and "
        f"{usd(best['usd_a_year'])} a year in total"
    )
    saved = [
        f"{usd(row.saved_a_year)} a year against {row.model_id}"
        for row in table.iloc[1:4].itertuples()
    ]
    return f"{text}; it saves {listed(saved)}." if saved else f"{text}."


def rates_said(found):
    """Say where each error rate comes from: "counted for mid (120 examples); assumed for small and flagship"."""
    running = found.running().sort_values(
        "basis", key=lambda basis: basis == "assumed", kind="stable"
    )
    by_tier = running["tier"].is_unique and running["tier"].ne("").all()
    parts = []
    for basis, own in running.groupby("basis", sort=False):
        names = own["tier" if by_tier else "model_id"].tolist()
        if len(names) == len(running):
            names = []
        elif len(names) > 3:
            names = [f"{len(names)} models"]
        sizes = [f"{size:,}" for size in own["examples"].dropna().unique()]
        examples = f" ({listed(sizes)} examples)" if sizes else ""
        parts.append(basis + (f" for {listed(names)}" if names else "") + examples)
    return "; ".join(parts)


def rate_said(row):
    """Say an error rate, and for a counted one also the counts and that half an error was added."""
    counts, taken = counts_said(row), f"{row['error_rate']:.1%}"
    return f"{counts}, taken as {taken}, half an error added" if counts else taken


def counts_said(row):
    """Say your own counts and their share, "6 of 120: 5.0%"; "" for a rate that was not counted."""
    if pd.isna(row["wrong"]):
        return ""
    return f"{row['wrong']} of {row['examples']}: {row['wrong'] / row['examples']:.1%}"


def untested_said(found):
    """Warn that the choice rests on an assumption while other models were tested; "" where it does not."""
    if not untested(found):
        return ""
    best = found.running().iloc[0]
    return f"The choice of {best['model_id']} rests on an assumed error rate of {best['error_rate']:.1%}: nobody has tested it."


def _with_tiers(table, models):
    tier = table.set_index("model_id")["tier"]
    return " and ".join(f"{tier[model]} ({model})" if tier[model] else model for model in models)


def _tie(found, close):
    if not close:
        return ""
    rows = found.table.set_index("model_id").loc[list(close)]
    shares = " and ".join(f"{share:.0%}" for share in rows["best_share"])
    costs = " and ".join(usd(cost) for cost in rows["expected_usd"])
    how = "examples of your own" if found.rows is None else "more examples"
    return (
        f"Too close to call: {_with_tiers(found.table, close)} cost {costs} a request, "
        f"and are the cheapest in {shares} of the draws; measure them on {how}."
    )


def _reason(found):
    running, cost = found.running(), found.cost["error_cost_usd"]
    best = running.iloc[0]
    name = best["model_id"]
    text = f"price {usd(best['price_usd'])}, errors {usd(best['error_usd'])} ({rate_said(best)} at {usd(cost)} each)"
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
    flip = error_cost_flip(found)
    sides = [side for side in ("below", "above") if flip[f"{side}_to"]]
    if not sides:
        return f"{text} No cost of an error changes that."
    said = "; ".join(
        f"{side} {usd(flip[side])} an error it would be {flip[f'{side}_to']}" for side in sides
    )
    return f"{text} {said[0].upper()}{said[1:]}."


def _hints(found):
    """Sentences on the article's rule, on comparing providers, and on when the choice retires."""
    running = found.running()
    hints, best = _counts_against(found, running), running.iloc[0]
    if len(running) > 1 and found.basis == "assumed" and running["provider"].nunique() > 1:
        hints.append(
            "Error rates are assumed per tier, so between providers only price and speed decide."
        )
    rule = found.task.rule if found.task else ""
    tiers = rule.split(" to ")
    if best["tier"] not in tiers and set(tiers) & set(running["tier"]) - {""}:
        hints.append(f"The article's two questions say {rule}: here the numbers say otherwise.")
    leaves = found.prices.by_model["retires_on"].get(best["model_id"])
    if pd.notna(leaves) and leaves <= review_day(found.prices):
        hints.append(f"It retires on {leaves:%Y-%m-%d}, before the next review.")
    return hints


def _counts_against(found, running):
    """Warnings where your counts contradict the rating of the task, or the half error added to them decides."""
    said, counted = [], running[running["wrong"].notna()].set_index("model_id")
    plain = (counted["wrong"] / counted["examples"]).astype(float)
    if running["basis"].eq("assumed").any():
        rating = " to ".join(str(end) for end in dict.fromkeys(found.task.ends("complexity")))
        usual = assumed_errors(found.task, TIERS, found.tool_calls)
        for model, row in counted[counted["tier"] != ""].iterrows():
            value, low, high = usual.loc[row["tier"]]
            if low <= plain[model] <= high or row["error_low"] <= value <= row["error_high"]:
                continue
            said.append(
                f"Warning: {model} was wrong in {row['wrong']} of {row['examples']} examples ({plain[model]:.1%}), where "
                f"complexity {rating} assumes {value:.1%} ({low:.1%} to {high:.1%}) for the {row['tier']} tier: "
                "the rating, and with it the assumed rates, may be wrong."
            )
    rates = running["model_id"].map(plain).fillna(running["error_rate"])
    total = running["expected_usd"] - running["error_usd"] + rates * found.cost["error_cost_usd"]
    other = running["model_id"][total.idxmin()]
    if len(counted) and other != running["model_id"].iloc[0]:
        said.append(f"Warning: without the half error that is added to counts it would be {other}.")
    return said


def find_flips(found):
    """Find the value of each quantity at which the choice changes, everything else staying as it is.

    Parameters
    ----------
    found : Options
        From `tierlab.decide.options.weigh`; the first row that can be chosen is the choice.

    Returns
    -------
    DataFrame
        what, unit ("USD", "times", "share", "rating"), now, below (the value under which another model is the
        cheapest), below_to (that model), above, above_to, note (why a value is not known, or ""), counts ("6 of 120:
        5.0%" behind an error rate that you counted). NaN without a note means that the choice never changes. For a
        rating, below and above are the nearest ratings whose assumed error rates make another model the cheapest.

    Notes
    -----
    The cost of each model is linear in each quantity alone, so the choice changes where two straight lines cross. The
    crossings reported are those nearest to today's value.
    """
    table = found.running().reset_index(drop=True)
    names, places = table["model_id"].tolist(), np.arange(len(table))
    total, error = table["expected_usd"].to_numpy(), table["error_rate"].to_numpy()
    price, timed = table["price_usd"].to_numpy(), table["time_usd"].to_numpy()
    waits = table["seconds"].to_numpy() * (1 - found.workload.point().batch_share)
    rows = [
        error_cost_flip(found),
        flip_of("value of a second", "USD", found.second_usd, total - timed, waits, names),
    ]
    # Whose numbers could turn the choice: its own, the runner-up's, and those of the best model of each other tier.
    for place in sorted({*range(min(2, len(table))), *table.drop_duplicates("tier").index}):
        own, name, rate = places == place, names[place], error[place]
        paid = own * found.cost["error_cost_usd"]
        rows += [
            flip_of(f"price of {name}", "times", 1.0, total - own * price, own * price, names),
            flip_of(f"error rate of {name}", "share", rate, total - paid * error, paid, names),
        ]
        rows[-1]["counts"] = counts_said(table.loc[place])
    rows[1:1] = _complexity(found, table)
    levers = (("batch_share", "batch share"), ("cache_hit_rate", "cache hit rate"))
    rows += [_lever(found, table, over, what) for over, what in levers]
    return pd.DataFrame(rows).fillna({"counts": ""})


def flip_words(flips):
    """Say the table `flips` in plain text, a line for each quantity that can change the choice."""
    units = {
        "USD": usd,
        "share": "{:.1%}".format,
        "times": "{:.2f} times today's".format,
        "rating": "{:g}".format,
    }
    lines = []
    for row in flips.to_dict("records"):
        show = units[row["unit"]]
        now, said = show(row["now"]), []
        for side in ("below", "above"):
            at = show(row[side])
            where = f"rated {at}" if row["unit"] == "rating" else f"{side} {at}"
            if at == now:
                where = "at about this value already"
            if row[f"{side}_to"]:
                said.append(f"{where} it is {row[f'{side}_to']}")
        said += [row["note"]] if row["note"] else []
        counts = f", counted {row['counts']}" if row["counts"] else ""
        now = "" if row["unit"] == "times" else f" (now {now}{counts})"
        if said:
            lines.append(f"{row['what']}{now}: {'; '.join(said)}")
    return lines


def error_cost_flip(found):
    """Return the row of `find_flips` about the cost of an error, as a dict."""
    table, now = found.running(), found.cost["error_cost_usd"]
    rest, error = table["expected_usd"] - table["error_usd"], table["error_rate"].to_numpy()
    names = table["model_id"].tolist()
    return flip_of("cost of an error", "USD", now, rest.to_numpy(), error, names)


def _complexity(found, table):
    """The row of `find_flips` about the rating behind assumed error rates, in a list that is empty where none is assumed."""
    is_assumed = table["basis"].eq("assumed")
    if not is_assumed.any():
        return []
    now, rest = np.mean(found.task.ends("complexity")), table["expected_usd"] - table["error_usd"]
    flip = flip_of("complexity", "rating", float(now), np.zeros(1), np.zeros(1), [""])
    for rating in (1, 2, 3):
        usual = assumed_errors(replace(found.task, complexity=rating), TIERS, found.tool_calls)
        rates = table["error_rate"].mask(is_assumed, table["tier"].map(usual["value"]))
        to = table["model_id"][(rest + rates * found.cost["error_cost_usd"]).idxmin()]
        if to == table["model_id"].iloc[0] or rating == now:
            continue
        side = "below" if rating < now else "above"
        if side == "below" or not flip["above_to"]:
            flip |= {side: float(rating), f"{side}_to": to}
    return [flip]


def _lever(found, table, over, what):
    """The row of batch share or cache hit rate: price and waiting are linear in it, so two points give the line."""
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
        except ValueError:
            why = "the catalogue lacks a rate for it"
    timed = table["time_usd"].to_numpy()
    base = table["expected_usd"].to_numpy() - table["price_usd"].to_numpy() - timed
    saved = 0.0
    if over == "batch_share" and not why:  # nobody waits for what is in batch
        saved = timed = timed / (1 - now)
    note = f"not known: {why}" if why else ""
    return flip_of(
        what, "share", now, base + ends[0] + timed, ends[1] - ends[0] - saved, names, note
    )


def flip_of(what, unit, now, base, slope, names, note=""):
    """The crossings nearest to today's value, on either side, at which another line passes under the first one.

    A line is base + slope x value, and the first is the lowest today. A share ends at 1. A note says why nothing is
    known.
    """
    nothing = {"below": np.nan, "below_to": "", "above": np.nan, "above_to": ""}
    flip = {"what": what, "unit": unit, "now": now} | nothing
    if not np.isfinite(base + slope).all():
        note = note or "not known for every candidate"
    if note:
        return flip | {"note": note}
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        at = (base[1:] - base[0]) / (slope[0] - slope[1:])
    # A crossing at 0 is none; rounding may leave a little of it.
    inside = np.isfinite(at) & (at > 1e-9 * now) & (at < (1.0 if unit == "share" else np.inf))
    # A line that rises faster than the first lies under it below the crossing.
    below, above = inside & (slope[1:] > slope[0]), inside & (slope[1:] < slope[0])
    if below.any():
        pick = np.where(below, at, -np.inf).argmax()
        flip |= {"below": float(at[pick]), "below_to": names[pick + 1]}
    if above.any():
        pick = np.where(above, at, np.inf).argmin()
        flip |= {"above": float(at[pick]), "above_to": names[pick + 1]}
    return flip | {"note": ""}


def verdict(found):
    """Say in two sentences the choice, what a day costs, and how near the next tier is."""
    running, day = found.running(), found.workload.point().requests_per_day
    best = running.iloc[0]
    total = f"{usd(best['expected_usd'] * day)} a day, errors included (error rates: {rates_said(found)})"
    first = f"{untested_said(found)} " if untested(found) else ""
    if found.close:
        tiers = " and ".join(running.set_index("model_id").loc[list(found.close), "tier"])
        return first + (
            f"Too close to call between {tiers}: measure both on your own examples. "
            f"{best['model_id']} costs {total}."
        )
    said = f"{first}Start with the {best['tier']} tier, {best['model_id']}: {total}."
    if len(running) == 1:
        return said
    rival = running.iloc[1]
    behind = usd((rival["expected_usd"] - best["expected_usd"]) * day)
    return (
        f"{said} The {rival['tier']} tier is only {behind} behind and wins in {share(rival['best_share'])} of the "
        "draws, so measure both before you rely on it."
        if rival["best_share"] >= WORTH_TRYING
        else f"{said} The {rival['tier']} tier is {behind} behind."
    )


def day_tables(found):
    """Return what a day costs on each model, and what a message costs with its ranges, for `tierlab.finding`."""
    rows, day = found.running(), found.workload.point().requests_per_day
    few = pd.DataFrame(
        {
            "tier": rows["tier"],
            "total (USD a day)": rows["expected_usd"] * day,
            "price (USD)": rows["price_usd"] * day,
            "errors (USD)": rows["error_usd"] * day,
            "wrong answers": [
                counts_said(row) or share(row["error_rate"]) for _, row in rows.iterrows()
            ],
            "cheapest in draws": rows["best_share"].map(share),
            "model": rows["model_id"],
        }
    )
    of_message = {
        "tier": "tier",
        "expected_usd": "total of a message (USD)",
        "low": "low (USD)",
        "high": "high (USD)",
        "price_usd": "price (USD)",
        "error_usd": "errors (USD)",
        "time_usd": "waiting (USD)",
        "error_low": "wrong, low",
        "error_high": "wrong, high",
    }
    return {"numbers": few, "table": rows[list(of_message)].rename(columns=of_message)}
