"""Say what a comparison found: which model will do, on what evidence, and what would decide an open question."""

import math
import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tierlab.core.format import counted, listed, number, share, usd

POWER = 0.8  # of the larger run that a "cannot tell" asks for
ASIDE_LIMIT = 0.05  # share of a model's rows set aside above which the verdict warns
_BEYOND = "as far as can be seen more examples would not show it"


@dataclass(frozen=True, eq=False)
class Asked:
    """What was asked, and the words in which the sentences repeat it.

    Attributes
    ----------
    rows : DataFrame
        model_id, prompt_id and cost_usd of every sample.
    reference : str
    confidence : float
        Level of the intervals, 0-1.
    points, claim, level : str
        The margin, what a candidate has to be, and the level at which it is found to be so.
    """

    rows: pd.DataFrame
    reference: str
    confidence: float
    points: str
    claim: str
    level: str


def verdict(prepared, margin, pairs, costs, error_cost_usd):
    """Name the cheapest model that is not worse than the reference, or say why it cannot be named.

    Parameters
    ----------
    prepared : tierlab.evaluate.compare.Prepared
    margin : float
        How much worse a candidate may be, 0-1.
    pairs, costs : DataFrame
        Tables of the `Comparison`.
    error_cost_usd : float or None

    Returns
    -------
    choice : str or None
        The model that the sentence names.
    sentence : str
    """
    rank, reference = costs["expected"], prepared.reference
    points = f"{number(100 * margin)} points"
    claim = f"not worse than {reference} by more than {points}"
    holm = f", Holm over {len(pairs)} candidates" if len(pairs) > 1 else ""
    level = f"one-sided {share(1 - prepared.confidence)}{holm}"
    asked = Asked(prepared.rows, reference, prepared.confidence, points, claim, level)
    unit = "per request"
    if error_cost_usd is not None:
        unit += f" with {usd(error_cost_usd)} per error"
    fine = list(pairs.index[pairs["finding"] == "not worse"])
    undecided = list(pairs.index[pairs["finding"] == "cannot tell"])
    blank = [m for m in (reference, *fine, *undecided) if math.isnan(rank[m])]
    if blank and fine:
        why = "; ".join(f"{m}: {costs['note'][m] or 'no scored answer'}" for m in blank)
        found = f"{listed(fine)} {_are(fine)} {asked.claim} ({asked.level})"
        return None, f"{found}, but the cheapest cannot be named ({why})."
    best = min((*sorted(fine), reference), key=lambda model: rank[model])
    everyone = blank or not pairs["examples"].any()
    cheaper = undecided if everyone else [m for m in undecided if rank[m] < rank[best]]
    question = _question(asked, pairs.loc[cheaper]) if cheaper else ""
    if best != reference:
        found = f"{_seen(pairs.loc[best], asked.confidence)} ({asked.level})"
        price = f"{usd(rank[best])} {unit} against {usd(rank[reference])}"
        rest = f"; cheaper still: {question}" if cheaper else ""
        named = f"{best} is the cheapest model that is {asked.claim}"
        return best, f"{named}: {found}, at {price}{rest}."
    if cheaper:
        # A sentence that begins with a model's id keeps its first letter.
        return None, re.sub("^cannot", "Cannot", question) + "."
    lower = [model for model in pairs.index if blank or rank[model] < rank[reference]]
    why = f"no model is cheaper {unit}"
    if lower:
        why = f"{listed(lower)} {_are(lower)} worse by more than {asked.points} ({asked.level})"
    return reference, f"Stay with {reference}: {why}."


def _question(asked, pairs):
    """Say what is known of the undecided, and what it takes to decide them: n more examples, about $x."""
    gaps = {name: _gap(row, asked) for name, row in pairs.iterrows()}
    known = [name for name, gap in gaps.items() if gap]
    if known:
        said = "; ".join(f"{name} is {gaps[name]}" for name in known)
        text = f"{said}; whether by more than {asked.points} is open ({_open(asked, pairs.loc[known])})"
        rest = pairs.drop(index=known)
        return text + (f"; {_question(asked, rest)}" if len(rest) else "")
    seen = "; ".join(
        f"{name} so far {_seen(row, asked.confidence)}" for name, row in pairs.iterrows()
    )
    names = list(pairs.index)
    whether = f"whether {listed(names)} {_are(names)} {asked.claim}"
    if pairs["more_examples"].isna().all():
        beyond = f", and {_BEYOND}" if pairs["examples"].any() else ""
        return f"cannot tell {whether}{beyond}: {seen}"
    return f"cannot tell: {_open(asked, pairs, whether)}; {seen}"


def _gap(row, asked):
    """Say what an interval that excludes zero says of the difference; "" if it includes zero."""
    if not row["examples"] or row["low"] <= 0 <= row["high"]:
        return ""
    word, ends = "better", (row["low"], row["high"])
    if row["high"] < 0:
        word, ends = "worse", (-row["high"], -row["low"])
    return (
        f"{word} than {asked.reference} by {_points(ends[0])} to {_points(ends[1])} points "
        f"({share(asked.confidence)} interval, {counted(row['examples'], 'example')}, {_chance(row['p'])})"
    )


def _chance(p):
    if p < 1e-5:
        return "p < 0.00001"
    return f"p = {np.format_float_positional(p, precision=1, fractional=False)}"


def _open(asked, pairs, whether="it"):
    """Say how many more examples would decide the pairs, for how much, and how that was planned."""
    more = pairs["more_examples"].max()
    if math.isnan(more):
        return _BEYOND
    own = asked.rows[asked.rows["model_id"].isin([*pairs.index, asked.reference])]
    models = own.groupby("model_id")
    # The cost of one more example: a model asked several times for each pays for every repeat.
    paid = models["cost_usd"].agg(lambda cost: cost.sum(skipna=False))
    spend = (paid / models["prompt_id"].nunique()).sum(skipna=False)
    money = "at an unknown cost" if math.isnan(spend) else f"about {usd(more * spend)}"
    real = "zero"
    if pairs["planned_difference"].fillna(0).ne(0).any():
        real = "zero, or the observed one where zero needs no more"
    how = f"{share(POWER)} power at the observed disagreement if the true difference is {real}; {asked.level}"
    text = f"{int(more):,} more examples, {money}, would show {whether}"
    return text + (f", {how}" if whether == "it" else f" ({how})")


def _seen(row, confidence):
    if not row["examples"]:
        return "no example with a score of both"
    ends = f"{share(confidence)} interval {_points(row['low'])} to {_points(row['high'])}"
    examples = f"{row['examples']:,} example{'s' if row['examples'] != 1 else ''}"
    return f"difference {_points(row['difference'])} points, {ends}, on {examples}"


def warnings(candidates, failing):
    """Warn of each model that mostly fails, has many rows set aside, or lacks rows.

    Parameters
    ----------
    candidates : DataFrame
        Table of the `Comparison`.
    failing : dict of str to str
        From `tierlab.evaluate.rows.mostly_failing`.

    Yields
    ------
    str
    """
    for name, row in candidates.iterrows():
        total, wanted = row["answers"] + row["set_aside"], row["absent"] + row["examples"]
        if name in failing:
            yield f"Warning: {name} mostly fails: of {counted(total, 'row')}, {failing[name]} count as wrong."
        if row["set_aside"] > ASIDE_LIMIT * total:
            yield f"Warning: {row['set_aside']:,} of {counted(total, 'row')} of {name} are set aside ({row['set_aside_as']})."
        if row["absent"] > ASIDE_LIMIT * wanted:
            yield f"Warning: {name} has no row for {row['absent']:,} of {counted(wanted, 'example')}."


def _points(share):
    return f"{round(100 * share, 1) + 0.0:.1f}"


def _are(names):
    return "is" if len(names) == 1 else "are"
