"""Compare the samples of several models with a reference: tables with intervals, tests, and a verdict."""

import math
from dataclasses import dataclass, field
from numbers import Real

import numpy as np
import pandas as pd

from tierlab.core.format import counted
from tierlab.core.vocabulary import ANSWERED, IN_DOUBT, known, needs, needs_usd
from tierlab.evaluate.intervals import (
    bootstrap,
    clustered_se,
    mean_interval,
    one_sided_p,
    paired_interval,
)
from tierlab.evaluate.planning import required_examples
from tierlab.evaluate.rows import (
    NOT_SENT,
    example_scores,
    levels,
    mostly_failing,
    paired,
    right_or_wrong,
    scored_rows,
    tally,
)
from tierlab.evaluate.verdict import POWER, verdict, warnings


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` found.

    Attributes
    ----------
    verdict : str
        One sentence, and a warning for each model that has many rows set aside.
    choice : str or None
        The model that the verdict names; None if the samples do not decide.
    candidates, costs, pairs : DataFrame
        See `compare`.
    reference : str
    margin : float
        0-1.
    """

    verdict: str
    choice: str | None
    candidates: pd.DataFrame = field(repr=False)
    costs: pd.DataFrame = field(repr=False)
    pairs: pd.DataFrame = field(repr=False)
    reference: str
    margin: float


def compare(
    samples: pd.DataFrame,
    *,
    reference: str,
    margin: float,
    error_cost_usd: float | None = None,
    confidence: float = 0.95,
    truncated: str = "set_aside",
    seed: int = 0,
) -> Comparison:
    """Compare every model of a samples table with a reference, and name the cheapest that is not worse.

    Parameters
    ----------
    samples : DataFrame
        From `tierlab.sample`, or an outcomes table: see `tierlab.evaluate.rows.scored_rows`.
    reference : str
        Model id that the others have to match, such as the flagship.
    margin : float
        How much worse a candidate may be, 0-1 (0.05 is five points of mean score). There is no default.
    error_cost_usd : float, optional
        What a wrong answer costs, US dollars from 0 up. If given, "cheapest" counts it.
    confidence : float
        Level of the intervals, 0.5-1. "Not worse" and "worse" are found at the one-sided level of 1 minus this.
    truncated : {"set_aside", "wrong"}
        Whether an answer cut off by length has no score or a score of 0.
    seed : int
        For the bootstrap of costs.

    Returns
    -------
    Comparison
        Has three tables by model.

        **candidates**: examples, absent (examples of the table without a row), answers (rows with a score), set_aside
        (rows), set_aside_as, non_answers (refused, empty, filtered: scored 0), score, low, high, method.

        **costs**, US dollars: per_request (all that was paid, failures included, per answer received), per_solved (the
        same per unit of score) with low and high (bootstrap over examples, all models on the same resamples),
        solved_per_usd, expected (what a request costs with its errors, on the examples in common with the reference:
        `tierlab.evaluate.rows.levels`), note (why a number is missing or a lower bound).

        **pairs**, by candidate: examples (common), groups, better, worse (examples on which it scores higher and
        lower), difference, low, high, method, test, p, p_holm (of "no difference"), bound (one-sided), p_not_worse
        and p_worse (Holm-adjusted, of more and less than -margin), finding ("not worse", "worse", "cannot tell"),
        more_examples and planned_difference (what would decide), saving (share of the reference's cost per request,
        on the common examples).

    Raises
    ------
    ValueError
        If the reference is not in the table or is its only model, or if a number is out of its range.

    Notes
    -----
    Right-or-wrong scores have Tango's interval and McNemar's exact test. Other scores, repeats and groups use the mean
    per example and errors clustered by group (`tierlab.evaluate.intervals`). Findings are adjusted by Holm over the
    candidates, so that the chance of even one wrong "not worse" is at most 1 - confidence; each interval and bound is
    for one comparison. A "cannot tell" asks for the examples that find "not worse" with 80% power at the observed
    disagreement if the true difference is zero, or at the observed difference where zero needs no more examples.

    Examples
    --------
    >>> small, flagship = [1] * 190 + [0] * 10, [1] * 192 + [0] * 8
    >>> samples = pd.DataFrame({"prompt_id": [*range(200)] * 2, "model_id": ["small"] * 200 + ["flagship"] * 200,
    ...                         "score": small + flagship, "cost_usd": [0.001] * 200 + [0.02] * 200})
    >>> print(compare(samples, reference="flagship", margin=0.05).verdict)
    small is the cheapest model that is not worse than flagship by more than 5 points: difference -1.0 points, 95% interval -3.6 to 0.9, on 200 examples (one-sided 5%), at $0.001 per request against $0.02.
    """
    asked = {"reference": reference, "confidence": confidence, "truncated": truncated, "seed": seed}
    return prepare(samples, **asked).at(margin, error_cost_usd=error_cost_usd)


def prepare(samples, *, reference, confidence=0.95, truncated="set_aside", seed=0):
    """Do all of `compare` that does not depend on the margin, so that trying another margin is quick.

    Parameters
    ----------
    samples, reference, confidence, truncated, seed
        As for `compare`.

    Returns
    -------
    Prepared
        Its method ``at(margin, error_cost_usd=None)`` gives the Comparison.
    """
    needs("confidence", confidence, 0.5 < confidence < 1, "a level between 0.5 and 1")
    rows = scored_rows(samples, truncated=truncated)
    models = list(rows["model_id"].unique())
    known("reference", reference, models)
    others = [model for model in models if model != reference]
    if not others:
        raise ValueError(f"the table has no model but the reference {reference!r}")
    candidates = quality_by_model(rows, models, confidence)
    costs = _costs_by_model(rows, models, confidence, seed)
    found = {m: _pair(paired(rows, m, reference), confidence) for m in others}
    pairs = _table({model: row for model, (row, _) in found.items()})
    pairs.insert(pairs.columns.get_loc("bound"), "p_holm", _holm(pairs["p"]))
    # A model without common examples stands for itself.
    own = {"error_rate": 1 - candidates["score"], "cost_usd": costs["per_request"]}
    common = levels(rows, models, reference)[0].fillna(pd.DataFrame(own))
    return Prepared(
        rows=rows[["model_id", "prompt_id", "cost_usd"]],
        tables={"candidates": candidates, "costs": costs},
        pairs=pairs,
        intervals={model: interval for model, (_, interval) in found.items()},
        reference=reference,
        confidence=confidence,
        common=common,
        failing=mostly_failing(rows),
    )


def check_margin(margin, error_cost_usd=None):
    """Refuse a margin that is not a share between 0 and 1, and an error cost below 0.

    Parameters
    ----------
    margin : float
        How much worse a candidate may be.
    error_cost_usd : float, optional
        US dollars per wrong answer.

    Raises
    ------
    ValueError
        Names the value and what is allowed.
    """
    fits = isinstance(margin, Real) and 0 < margin < 1
    needs("margin", margin, fits, "a share between 0 and 1 (five points are 0.05)")
    if error_cost_usd is not None:
        needs_usd("error_cost_usd", error_cost_usd)


@dataclass(frozen=True, eq=False)
class Prepared:
    """What `prepare` found.

    Attributes
    ----------
    rows : DataFrame
        model_id, prompt_id and cost_usd of every sample.
    tables : dict of str to DataFrame
        candidates and costs of the `Comparison`; costs without `expected`, which depends on the cost of an error.
    pairs : DataFrame
        That of the `Comparison` without what depends on the margin.
    intervals : dict of str to callable
        Candidate to the interval of its difference, by level.
    reference : str
    confidence : float
    common : DataFrame
        error_rate and cost_usd of each model, on the examples in common with the reference.
    failing : dict of str to str
        Model that mostly fails to what counts as wrong.
    """

    rows: pd.DataFrame
    tables: dict
    pairs: pd.DataFrame
    intervals: dict
    reference: str
    confidence: float
    common: pd.DataFrame
    failing: dict

    def at(self, margin, *, error_cost_usd=None):
        """Return the `Comparison` at a margin and a cost of an error."""
        check_margin(margin, error_cost_usd)
        candidates, costs = self.tables["candidates"], self.tables["costs"].copy()
        paid = self.common["cost_usd"]
        expected = paid + (error_cost_usd or 0.0) * self.common["error_rate"]
        costs.insert(costs.columns.get_loc("note"), "expected", expected)
        level = 1 - self.confidence
        pairs = _planned(_decided(self.pairs, self.intervals, margin, level), margin, level)
        pairs["saving"] = 1 - paid.reindex(pairs.index) / paid.where(paid > 0)[self.reference]
        choice, sentence = verdict(self, margin, pairs, costs, error_cost_usd)
        text = " ".join([sentence, *warnings(candidates, self.failing)])
        return Comparison(text, choice, candidates, costs, pairs, self.reference, margin)


def quality_by_model(rows, models, confidence):
    """Score each model by itself: the table `candidates` of `tierlab.compare`.

    Parameters
    ----------
    rows : DataFrame
        From `tierlab.evaluate.rows.scored_rows`.
    models : sequence of str
    confidence : float
        Level of the intervals, 0-1.

    Returns
    -------
    DataFrame
    """
    return _table({model: _quality(rows, model, confidence) for model in models})


def _quality(rows, model, confidence):
    own, examples = rows[rows["model_id"] == model], example_scores(rows, model)
    aside = own["aside"] != ""
    binary = right_or_wrong(examples)
    low, high, method = mean_interval(
        examples["score"], examples["cluster"], binary=binary, confidence=confidence
    )
    return {
        "examples": own["prompt_id"].nunique(),
        "absent": rows["prompt_id"].nunique() - own["prompt_id"].nunique(),
        "answers": int((~aside).sum()),
        "set_aside": int(aside.sum()),
        "set_aside_as": tally(own["aside"][aside]),
        "non_answers": tally(own["status"][own["status"].ne("ok") & own["score"].notna()]),
        "score": examples["score"].mean(),
        "low": low,
        "high": high,
        "method": method,
    }


def _costs_by_model(rows, models, confidence, seed):
    """Add up the money of each model: the table `costs` of `tierlab.compare`."""
    table = _table({model: _money(rows[rows["model_id"] == model]) for model in models})
    table = table.assign(low=np.nan, high=np.nan)
    priced = table.index[table["per_solved"].notna()]
    if len(priced):
        # A group in which a model has no row adds nothing to either sum.
        groups = rows[rows["model_id"].isin(priced)].groupby(["cluster", "model_id"])
        sums = groups[["cost_usd", "score"]].sum().unstack(fill_value=0.0)
        ends = bootstrap(
            sums,
            lambda m: m["cost_usd"] / m["score"].where(m["score"] > 0),
            confidence=confidence,
            seed=seed,
        )
        table.loc[priced, ["low", "high"]] = ends.loc[priced, ["low", "high"]]
    return table[["per_request", "per_solved", "low", "high", "solved_per_usd", "note"]]


def _money(own):
    """Return what one model's rows cost per answer received and per unit of score, and what is not known about it."""
    status, unknown = own["status"], own["cost_usd"].isna()
    answered = status.isin(ANSWERED)
    received, solved, paid = int(answered.sum()), own["score"].sum(), own["cost_usd"].sum()
    missing = int((unknown & answered).sum())
    doubt = status[~answered & ~status.isin(NOT_SENT) & (unknown | status.isin(IN_DOUBT))]
    notes = []
    if missing or unknown.all():
        none = unknown.all()
        notes.append(
            "no cost is known" if none else f"the cost of {counted(missing, 'answer')} is unknown"
        )
        paid = np.nan
    elif len(doubt):
        notes.append(f"a lower bound: failed requests may be billed ({tally(doubt)})")
    if not received or not solved:
        notes.append("nothing solved" if received else "no answer received")
    return {
        "per_request": paid / received if received else np.nan,
        "per_solved": paid / solved if solved else np.nan,
        "solved_per_usd": solved / paid if paid else np.nan,
        "note": "; ".join(notes),
    }


def _table(rows):
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model_id")


def _pair(pair, confidence):
    """Return what two models' scores say before a margin is named, and the interval of their difference by level."""
    from scipy.stats import binomtest

    d, n = pair.differences, len(pair.differences)
    method, interval = paired_interval(d, pair.clusters, binary=pair.binary)
    low, high = interval(confidence)
    better, worse = int((d > 0).sum()), int((d < 0).sum())
    if pair.binary:
        disagree = better + worse
        test, p = "McNemar exact", binomtest(better, disagree).pvalue if disagree else 1.0
    else:
        tail = one_sided_p(interval, 0.0) if n else 0.5
        test, p = method, min(1.0, 2 * min(tail, 1 - tail))
    groups = len(np.unique(pair.clusters))
    known = n and not pair.binary and groups > 1
    found = {
        "examples": n,
        "groups": groups,
        "better": better,
        "worse": worse,
        "difference": d.mean() if n else np.nan,
        "low": low,
        "high": high,
        "method": method,
        "test": test,
        "p": p,
        "bound": interval(2 * confidence - 1)[0] if n else np.nan,
        "variance": n * clustered_se(d, pair.clusters) ** 2 if known else np.nan,
    }
    return found, interval


def _decided(pairs, intervals, margin, level):
    """Add the finding about each pair, by Holm over the candidates in each family of tests."""
    above = np.array(
        [one_sided_p(intervals[m], -margin) if pairs["examples"][m] else 0.5 for m in pairs.index]
    )
    pairs = pairs.assign(p_not_worse=_holm(above), p_worse=_holm(1 - above))
    named = [pairs["p_not_worse"] <= level, pairs["p_worse"] <= level]
    return pairs.assign(finding=np.select(named, ["not worse", "worse"], "cannot tell"))


def _holm(p):
    """Return Holm's adjusted p values, as statsmodels' multipletests does, which collects garbage at each call (0.07 s)."""
    p = np.asarray(p, float)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def _planned(pairs, margin, level):
    """Add how many examples would decide each undecided pair, at the level of Holm's first step."""
    plans = [_plan(row, margin, level / len(pairs)) for row in pairs.itertuples()]
    plans = pd.DataFrame(plans, pairs.index, ["more_examples", "planned_difference"])
    return pairs.drop(columns="variance").join(plans)


def _plan(row, margin, alpha):
    """Return (more examples, assumed difference): zero, or the observed difference; NaN where neither needs more."""
    if row.finding == "cannot tell" and row.examples:
        for difference in (0.0, row.difference):
            if difference > -margin:
                n = required_examples(
                    margin=margin, difference=difference, power=POWER, alpha=alpha, **_spread(row)
                )
                if n > row.examples:
                    return n - row.examples, difference
    return np.nan, np.nan


def _spread(row):
    """Return how much two models' scores differ from example to example, as `required_examples` takes it."""
    least = 1 / (row.examples + 2)  # disagreement may come even if none has been seen
    if math.isnan(row.variance):
        seen = (row.better + row.worse) / row.examples
        return {"discordant": max(least, abs(row.difference), seen)}
    return {"sd": math.sqrt(max(least, row.variance))}


def examples_needed(rows, model, rival, margin):
    """Return how many examples two models share, and how many show that one is not worse than the other by more than a margin.

    Parameters
    ----------
    rows : DataFrame
        From `tierlab.evaluate.rows.scored_rows`.
    model, rival : str
        Model ids.
    margin : float
        How much worse the model may be, 0-1.

    Returns
    -------
    common, needed : int
        Needed is planned for 80% power at the one-sided 5% level and the observed disagreement, with a true difference
        of zero or, where the 95% interval lies above zero, of its lower end.
    """
    pair = paired(rows, model, rival)
    row = pd.Series(_pair(pair, 0.95)[0])
    if not row.examples:
        return 0, 1
    sure = {"difference": max(0.0, row.low), "power": POWER, "alpha": 0.05}
    return int(row.examples), required_examples(margin=margin, **sure, **_spread(row))
