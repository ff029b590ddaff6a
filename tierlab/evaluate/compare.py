"""Which model will do: samples of several candidates against a reference, with intervals, tests and a verdict."""

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tierlab.core.vocabulary import known, needs
from tierlab.evaluate.by_model import costs_by_model, quality_by_model
from tierlab.evaluate.intervals import clustered_se, one_sided_p, paired_interval
from tierlab.evaluate.planning import required_examples
from tierlab.evaluate.rows import levels, mostly_failing, paired, scored_rows
from tierlab.evaluate.verdict import POWER, Asked, verdict, warnings


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` found.

    Attributes
    ----------
    verdict : str
        One sentence, and a warning for each model of which much is set aside.
    choice : str or None
        The model that the verdict names; None if it cannot tell.
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
        From `tierlab.sample`, or an outcomes table: see `tierlab.evaluate.compare.scored_rows`.
    reference : str
        The model id that the others shall match, such as the flagship.
    margin : float
        How much worse a candidate may be, 0-1 (0.05 is five points of mean score). There is no default.
    error_cost_usd : float, optional
        What a wrong answer costs, US dollars: "cheapest" then counts it.
    confidence : float
        Level of the intervals; 1 minus it is the one-sided level of "not worse" and "worse".
    truncated : {"set_aside", "wrong"}
        Whether an answer cut off by length has no score or a score of 0.
    seed : int
        For the bootstrap of costs.

    Returns
    -------
    Comparison
        With three tables by model. **candidates**: examples, absent (examples of the table without a row),
        answers (rows with a score), set_aside (rows), set_aside_as, non_answers (refused, empty, filtered: scored
        0), score, low, high, method. **costs**, US dollars: per_request (all that was paid, failures included, per
        answer received), per_solved (the same per unit of score) with low and high (bootstrap over examples, all
        models on the same resamples), solved_per_usd, expected (what a request costs with its errors, on the examples in
        common with the reference: `tierlab.evaluate.compare.levels`), note (why a number is missing or a lower bound). **pairs**, by candidate: examples (common), groups, better, worse (examples on which it scores higher and
        lower), difference, low, high, method, test, p, p_holm (of "no difference"), bound (one-sided), p_not_worse
        and p_worse (Holm-adjusted, of more and less than -margin), finding ("not worse", "worse", "cannot tell"),
        more_examples and planned_difference (what would decide), saving (share of the reference's cost per request, on
        the common examples).

    Raises
    ------
    ValueError
        If the reference is not in the table, there is nothing to compare it with, or the margin is not in 0-1.

    Notes
    -----
    Right-or-wrong scores: Tango's interval and McNemar's exact test. Others, repeats and groups: the mean per example
    and errors clustered by group, see `tierlab.evaluate.intervals`. Findings are adjusted by Holm over the candidates, so that
    the chance of even one wrong "not worse" is at most 1 - confidence; intervals and bounds are each for one
    comparison. A "cannot tell" asks for the examples that find "not worse" with 80% power at the observed
    disagreement if the true difference is zero; if the observed difference makes that too few, at the observed one.

    Examples
    --------
    >>> small, flagship = [1] * 190 + [0] * 10, [1] * 192 + [0] * 8
    >>> samples = pd.DataFrame({"prompt_id": [*range(200)] * 2, "model_id": ["small"] * 200 + ["flagship"] * 200,
    ...                         "score": small + flagship, "cost_usd": [0.001] * 200 + [0.02] * 200})
    >>> print(compare(samples, reference="flagship", margin=0.05).verdict)
    small is the cheapest model that is not worse than flagship by more than 5 points: difference -1.0 points, 95% interval -3.6 to 0.9, on 200 examples (one-sided 5%), at $0.001 per request against $0.02.
    """
    prepared = prepare(
        samples,
        reference=reference,
        confidence=confidence,
        truncated=truncated,
        seed=seed,
    )
    return prepared.at(margin, error_cost_usd=error_cost_usd)


def prepare(samples, *, reference, confidence=0.95, truncated="set_aside", seed=0):
    """All of `compare` that does not depend on the margin, so that another margin is quick.

    Parameters
    ----------
    samples, reference, confidence, truncated, seed
        As for `compare`.

    Returns
    -------
    Prepared
        ``.at(margin, error_cost_usd=None)`` is the Comparison.
    """
    needs("confidence", confidence, 0.5 < confidence < 1, "a level between 0.5 and 1")
    rows = scored_rows(samples, truncated=truncated)
    models = list(rows["model_id"].unique())
    known("reference", reference, models)
    others = [model for model in models if model != reference]
    if not others:
        raise ValueError(f"the table holds no model but the reference {reference!r}")
    tables = {
        "candidates": quality_by_model(rows, models, confidence),
        "costs": costs_by_model(rows, models, confidence, seed),
    }
    found = {m: _pair(paired(rows, m, reference), confidence) for m in others}
    intervals = {m: interval for m, (_, interval) in found.items()}
    pairs = pd.DataFrame.from_dict({m: row for m, (row, _) in found.items()}, orient="index")
    pairs["p_holm"] = _holm(pairs["p"])
    own = pd.DataFrame(
        {
            "error_rate": 1 - tables["candidates"]["score"],
            "cost_usd": tables["costs"]["per_request"],
        }
    )
    common = levels(rows, models, reference)[0].fillna(
        own
    )  # a model without common examples stands for itself
    failed = mostly_failing(rows)
    rows = rows[["model_id", "prompt_id", "cost_usd"]]
    return Prepared(
        rows,
        tables,
        pairs.rename_axis("model_id"),
        intervals,
        reference,
        confidence,
        common,
        failed,
    )


def check_margin(margin, error_cost_usd=None):
    """Refuse a margin that is not a share between 0 and 1, and an error cost below 0."""
    needs("margin", margin, 0 < margin < 1, "a share between 0 and 1 (five points are 0.05)")
    fits = error_cost_usd is None or error_cost_usd >= 0
    needs("error_cost_usd", error_cost_usd, fits, "a number of US dollars from 0 up")


@dataclass(frozen=True, eq=False)
class Prepared:
    """What `prepare` found."""

    rows: pd.DataFrame
    tables: dict
    pairs: pd.DataFrame
    intervals: dict
    reference: str
    confidence: float
    common: (
        pd.DataFrame
    )  # error_rate and cost_usd of each model, on the examples in common with the reference
    failing: dict  # model that mostly fails -> what counts as wrong

    def at(self, margin, *, error_cost_usd=None):
        """The `Comparison` at a margin and a cost of an error."""
        check_margin(margin, error_cost_usd)
        candidates, costs = self.tables["candidates"], self.tables["costs"].copy()
        paid = self.common["cost_usd"]
        expected = paid + (error_cost_usd or 0.0) * self.common["error_rate"]
        costs.insert(costs.columns.get_loc("note"), "expected", expected)
        level = 1 - self.confidence
        pairs = _planned(_decided(self.pairs, self.intervals, margin, level), margin, level)
        pairs["saving"] = 1 - paid.reindex(pairs.index) / paid.where(paid > 0)[self.reference]
        asked = Asked(self.rows, self.reference, margin, self.confidence, len(pairs))
        choice, sentence = verdict(asked, pairs, costs, error_cost_usd)
        text = " ".join([sentence, *warnings(candidates, self.failing)])
        tables = self.tables | {"costs": costs, "pairs": pairs}
        return Comparison(text, choice, reference=self.reference, margin=margin, **tables)


def _pair(pair, confidence):
    """What two models' scores say before a margin is named, and the interval of their difference by level."""
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
    """The finding about each pair, by Holm over the candidates in each family of tests."""
    above = np.array(
        [one_sided_p(intervals[m], -margin) if pairs["examples"][m] else 0.5 for m in pairs.index]
    )
    pairs = pairs.assign(p_not_worse=_holm(above), p_worse=_holm(1 - above))
    named = [pairs["p_not_worse"] <= level, pairs["p_worse"] <= level]
    return pairs.assign(finding=np.select(named, ["not worse", "worse"], "cannot tell"))


def _holm(p):
    """Holm's adjusted p values: those of statsmodels' multipletests, which collects garbage at each call (0.07 s)."""
    p = np.asarray(p, float)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def _planned(pairs, margin, level):
    """Examples that would decide an undecided pair, at the level of Holm's first step."""
    plans = [_plan(row, margin, level / len(pairs)) for row in pairs.itertuples()]
    order = [*pairs.columns[: pairs.columns.get_loc("p") + 1], "p_holm", "bound"]
    table = pairs[[*order, "p_not_worse", "p_worse", "finding"]]
    return table.assign(
        more_examples=[more for more, _ in plans], planned_difference=[gap for _, gap in plans]
    )


def _plan(row, margin, alpha):
    """(more examples, assumed difference): for no true difference, else for the observed one; NaN where neither helps."""
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
    """How much two models' scores differ from example to example, as `required_examples` takes it."""
    least = 1 / (row.examples + 2)  # no disagreement seen is not none to come
    if math.isnan(row.variance):
        return {
            "discordant": max(least, abs(row.difference), (row.better + row.worse) / row.examples)
        }
    return {"sd": math.sqrt(max(least, row.variance))}


def examples_needed(rows, model, rival, margin):
    """(common examples, those needed) to show that a model is not worse than its rival by more than the margin.

    Planned for 80% power at the one-sided 5% level, at the observed disagreement: for no true difference, or for the one
    that the 95% interval leaves at the least.
    """
    pair = paired(rows, model, rival)
    row = pd.Series(_pair(pair, 0.95)[0])
    if not row.examples:
        return 0, 1
    sure = {"difference": max(0.0, row.low), "power": POWER, "alpha": 0.05}
    return int(row.examples), required_examples(margin=margin, **sure, **_spread(row))
