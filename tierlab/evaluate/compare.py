"""Which model will do: samples of several candidates against a reference, with intervals, tests and a verdict.

Samples made ready for comparison: which rows have a score, which are set aside and why, and who shares examples.

What each model did on the samples, by itself: quality, money and latency, each with its interval.

Looking while the run goes on: evidence after every example that stays valid however often one looks.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tierlab.core.tables import one_of, plain, refuse
from tierlab.core.vocabulary import ANSWERED, FAILURES, IN_DOUBT, unknown
from tierlab.evaluate.intervals import (
    bootstrap,
    clustered_se,
    mean_interval,
    one_sided_p,
    paired_interval,
)
from tierlab.evaluate.planning import required_examples

POWER = 0.8  # of the run that a "cannot tell" asks for
ASIDE_LIMIT = 0.05  # share of a model's rows set aside above which the verdict warns


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` found.

    Attributes
    ----------
    verdict : str
        One sentence, and a warning for each model of which much is set aside.
    choice : str or None
        The model that the verdict names; None if it cannot tell.
    candidates, costs, latency, pairs : DataFrame
        See `compare`.
    reference : str
    margin : float
        0-1.
    """

    verdict: str
    choice: str | None
    candidates: pd.DataFrame = field(repr=False)
    costs: pd.DataFrame = field(repr=False)
    latency: pd.DataFrame = field(repr=False)
    pairs: pd.DataFrame = field(repr=False)
    reference: str
    margin: float


def compare(
    samples,
    *,
    reference,
    margin,
    error_cost_usd=None,
    confidence=0.95,
    truncated="set_aside",
    bootstrap_scores=False,
    seed=0,
):
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
    bootstrap_scores : bool
        For scores that are not right-or-wrong: the paired BCa bootstrap in place of the clustered t interval. On
        50 examples it covers 0.84-0.93 of the time where few differ, and t with its fallback at least 0.93.
    seed : int
        For the bootstraps.

    Returns
    -------
    Comparison
        With four tables by model. **candidates**: examples, absent (examples of the table without a row),
        answers (rows with a score), set_aside (rows), set_aside_as, non_answers (refused, empty, filtered: scored
        0), score, low, high, method. **costs**, US dollars: per_request (all that was paid, failures included, per
        answer received), per_solved (the same per unit of score) with low and high (bootstrap over examples, all
        models on the same resamples), solved_per_usd, expected (what a request costs with its errors, on the examples in
        common with the reference: `tierlab.evaluate.compare.levels`), note (why a number is missing or a lower bound). **latency**, by model and measure (ttft_s, end_to_end_s,
        tokens_per_s), of complete answers: p50 and p95 with exact order-statistic intervals, answers, source, note.
        **pairs**, by candidate: examples (common), groups, better, worse (examples on which it scores higher and
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
        bootstrap_scores=bootstrap_scores,
        seed=seed,
    )
    return prepared.at(margin, error_cost_usd=error_cost_usd)


def prepare(
    samples, *, reference, confidence=0.95, truncated="set_aside", bootstrap_scores=False, seed=0
):
    """All of `compare` that does not depend on the margin, so that another margin is quick.

    Parameters
    ----------
    samples, reference, confidence, truncated, bootstrap_scores, seed
        As for `compare`.

    Returns
    -------
    Prepared
        ``.at(margin, error_cost_usd=None)`` is the Comparison.
    """
    if not 0.5 < confidence < 1:
        raise ValueError(f"confidence={confidence!r}; a level between 0.5 and 1 is needed")
    rows = scored_rows(samples, truncated=truncated)
    models = list(rows["model_id"].unique())
    if reference not in models:
        raise ValueError(unknown("reference", reference, models))
    others = [model for model in models if model != reference]
    if not others:
        raise ValueError(f"the table holds no model but the reference {reference!r}")
    tables = {
        "candidates": quality_by_model(rows, models, confidence),
        "costs": costs_by_model(rows, models, confidence, seed),
        "latency": latency_by_model(rows, models, confidence),
    }
    found = {
        m: _pair(paired(rows, m, reference), confidence, bootstrap_scores, seed) for m in others
    }
    intervals = {m: interval for m, (_, interval) in found.items()}
    pairs = pd.DataFrame.from_dict({m: row for m, (row, _) in found.items()}, orient="index")
    pairs["p_holm"] = _holm(pairs["p"])
    own = pd.DataFrame(
        {
            "error_rate": 1 - tables["candidates"]["score"],
            "cost_usd": tables["costs"]["per_request"],
        }
    )
    common = levels(rows, models, reference).table.fillna(
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
    """Refuse a margin that is no share between 0 and 1, and an error cost below 0."""
    if not 0 < margin < 1:
        raise ValueError(
            f"margin={margin!r}; a share between 0 and 1 is needed (five points are 0.05)"
        )
    if error_cost_usd is not None and not error_cost_usd >= 0:
        raise ValueError(f"error_cost_usd={error_cost_usd!r}; US dollars from 0 up are needed")


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
        choice, sentence = _verdict(
            self.rows, pairs, costs, self.reference, margin, self.confidence, error_cost_usd
        )
        text = " ".join([sentence, *_warnings(candidates, self.failing)])
        tables = self.tables | {"costs": costs, "pairs": pairs}
        return Comparison(text, choice, reference=self.reference, margin=margin, **tables)


def _pair(pair, confidence, bootstrap_scores, seed):
    """What two models' scores say before a margin is named, and the interval of their difference by level."""
    from scipy.stats import binomtest

    d, n = pair.differences, len(pair.differences)
    method, interval = paired_interval(
        d, pair.clusters, binary=pair.binary, bootstrap=bootstrap_scores, seed=seed
    )
    low, high = interval(confidence)
    better, worse = int((d > 0).sum()), int((d < 0).sum())
    if pair.binary:
        test, p = (
            "McNemar exact",
            binomtest(better, better + worse).pvalue if better + worse else 1.0,
        )
    else:
        tail = one_sided_p(interval, 0.0) if n else 0.5
        test, p = method, min(1.0, 2 * min(tail, 1 - tail))
    spread = pair.binary or n == 0 or len(np.unique(pair.clusters)) < 2
    return {
        **{
            "examples": n,
            "groups": len(np.unique(pair.clusters)),
            "better": better,
            "worse": worse,
        },
        **{
            "difference": d.mean() if n else np.nan,
            "low": low,
            "high": high,
            "method": method,
            "test": test,
            "p": p,
        },
        **{"bound": interval(2 * confidence - 1)[0] if n else np.nan},
        **{"variance": np.nan if spread else n * clustered_se(d, pair.clusters) ** 2},
    }, interval


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
    more, planned = [], []
    for row in pairs.itertuples():
        chosen = (np.nan, np.nan)
        if row.finding == "cannot tell" and row.examples:
            for difference in (0.0, row.difference):
                if difference > -margin:
                    n = required_examples(
                        margin=margin,
                        difference=difference,
                        power=POWER,
                        alpha=level / len(pairs),
                        **_spread(row),
                    )
                    if n > row.examples:
                        chosen = (n - row.examples, difference)
                        break
        more.append(chosen[0])
        planned.append(chosen[1])
    columns = ["bound", "p_not_worse", "p_worse"]
    order = [*pairs.columns[: pairs.columns.get_loc("p") + 1], "p_holm", *columns, "finding"]
    return pairs[order].assign(more_examples=more, planned_difference=planned)


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
    row = pd.Series(_pair(pair, 0.95, False, 0)[0])
    if not row.examples:
        return 0, 1
    sure = {"difference": max(0.0, row.low), "power": POWER, "alpha": 0.05}
    return int(row.examples), required_examples(margin=margin, **sure, **_spread(row))


def _verdict(rows, pairs, costs, reference, margin, confidence, error_cost_usd):
    """(model that the sentence names or None, sentence)."""
    rank = costs["expected"]
    unit = (
        "per request"
        if error_cost_usd is None
        else f"per request with ${_usd(error_cost_usd)} per error"
    )
    fine = list(pairs.index[pairs["finding"] == "not worse"])
    undecided = list(pairs.index[pairs["finding"] == "cannot tell"])
    claim = f"not worse than {reference} by more than {100 * margin:.3g} points"
    level = f"one-sided {100 * (1 - confidence):.3g}%" + (
        f", Holm over {len(pairs)} candidates" if len(pairs) > 1 else ""
    )
    blank = [m for m in (reference, *fine, *undecided) if math.isnan(rank[m])]
    if blank and fine:
        why = "; ".join(f"{m}: {costs['note'][m] or 'no scored answer'}" for m in blank)
        return (
            None,
            f"{_listed(fine)} {_are(fine)} {claim} ({level}), but the cheapest cannot be named ({why}).",
        )
    best = min((*fine, reference), key=lambda model: rank[model])
    everyone = blank or not pairs["examples"].any()
    cheaper = undecided if everyone else [m for m in undecided if rank[m] < rank[best]]
    question = (
        _question(rows, pairs.loc[cheaper], reference, claim, margin, confidence, level)
        if cheaper
        else ""
    )
    if best != reference:
        found = f"{_seen(pairs.loc[best], confidence)} ({level})"
        price = f"${_usd(rank[best])} {unit} against ${_usd(rank[reference])}"
        rest = f"; cheaper still: {question}" if cheaper else ""
        return best, f"{best} is the cheapest model that is {claim}: {found}, at {price}{rest}."
    if cheaper:
        return None, (
            question[0].upper() if question.startswith("cannot") else question[0]
        ) + question[1:] + "."
    lower = (
        list(pairs.index)
        if blank
        else [model for model in pairs.index if rank[model] < rank[reference]]
    )
    worse = (
        f"{_listed(lower)} {_are(lower)} worse by more than {100 * margin:.3g} points ({level})"
        if lower
        else ""
    )
    return reference, f"Stay with {reference}: {worse or f'no model is cheaper {unit}'}."


def _question(rows, open_pairs, reference, claim, margin, confidence, level):
    """What is known of the undecided; and what it takes to decide them: n more examples, about $x."""
    names = list(open_pairs.index)
    gaps = {name: _gap(row, reference, confidence) for name, row in open_pairs.iterrows()}
    if known := {name: gap for name, gap in gaps.items() if gap}:
        rest = open_pairs.drop(index=list(known))
        said = "; ".join(f"{name} is {gap}" for name, gap in known.items())
        tail = f" ({_open(rows, open_pairs.loc[list(known)], reference, level)})"
        text = f"{said}; whether by more than {100 * margin:.3g} points is open{tail}"
        return text + (
            f"; {_question(rows, rest, reference, claim, margin, confidence, level)}"
            if len(rest)
            else ""
        )
    seen = "; ".join(
        f"{name} so far {_seen(row, confidence) if row['examples'] else 'no example with a score of both'}"
        for name, row in open_pairs.iterrows()
    )
    whether = f"whether {_listed(names)} {_are(names)} {claim}"
    if math.isnan(open_pairs["more_examples"].max()):
        beyond = (
            ", and as far as can be seen more examples would not show it"
            if open_pairs["examples"].any()
            else ""
        )
        return f"cannot tell {whether}{beyond}: {seen}"
    return f"cannot tell: {_open(rows, open_pairs, reference, level, whether)}; {seen}"


def _gap(row, reference, confidence):
    """What an interval without zero says of the difference; "" for one that holds it."""
    if not row["examples"] or row["low"] <= 0 <= row["high"]:
        return ""
    word, ends = (
        ("worse", (-row["high"], -row["low"]))
        if row["high"] < 0
        else ("better", (row["low"], row["high"]))
    )
    return (
        f"{word} than {reference} by {_points(ends[0])} to {_points(ends[1])} points "
        f"({100 * confidence:.3g}% interval, {row['examples']:,} examples, {_chance(row['p'])})"
    )


def _chance(p):
    return (
        f"p = {np.format_float_positional(p, precision=1, fractional=False)}"
        if p >= 1e-5
        else "p < 0.00001"
    )


def _open(rows, open_pairs, reference, level, whether="it"):
    more = open_pairs["more_examples"].max()
    if math.isnan(more):
        return "as far as can be seen more examples would not show it"
    own = rows[rows["model_id"].isin([*open_pairs.index, reference])]
    by_model = own.groupby("model_id")
    spend = (
        by_model["cost_usd"].agg(lambda cost: cost.sum(skipna=False))
        / by_model["prompt_id"].nunique()
    ).sum(skipna=False)
    money = "at an unknown cost" if math.isnan(spend) else f"about ${_usd(more * spend)}"
    planned = open_pairs["planned_difference"]
    real = (
        "zero"
        if (planned.dropna() == 0).all()
        else "zero, or the observed one where zero needs no more"
    )
    how = (
        f"{POWER:.0%} power at the observed disagreement if the true difference is {real}; {level}"
    )
    return f"{int(more):,} more examples, {money}, would show {whether}" + (
        f", {how}" if whether == "it" else f" ({how})"
    )


def _seen(row, confidence):
    ends = f"{100 * confidence:.3g}% interval {_points(row['low'])} to {_points(row['high'])}"
    examples = f"{row['examples']:,} example{'s' if row['examples'] != 1 else ''}"
    return f"difference {_points(row['difference'])} points, {ends}, on {examples}"


def _warnings(candidates, failing):
    for name, row in candidates.iterrows():
        total = row["answers"] + row["set_aside"]
        if name in failing:
            yield f"Warning: {name} mostly fails: of {total:,} rows, {failing[name]} count as wrong."
        if row["set_aside"] > ASIDE_LIMIT * total:
            yield f"Warning: {row['set_aside']:,} of {total:,} rows of {name} are set aside ({row['set_aside_as']})."
        if row["absent"] > ASIDE_LIMIT * (row["absent"] + row["examples"]):
            yield f"Warning: {name} has no row for {row['absent']:,} of {row['absent'] + row['examples']:,} examples."


def _points(share):
    return f"{round(100 * share, 1) + 0.0:.1f}"


def _usd(value):
    return np.format_float_positional(value, precision=3, fractional=False, trim="-")


def _listed(names):
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _are(names):
    return "is" if len(names) == 1 else "are"


NON_ANSWERS = (
    "refused",
    "empty",
    "content_filter",
)  # paid for, and the user got nothing: a score of 0
NOT_SENT = ("over_budget", "not_recorded", "not_sent")  # cost nothing
MOSTLY = 0.5  # share of a model's calls above which those without a usable answer are its own wrong answers
STATUSES = tuple(
    dict.fromkeys((*ANSWERED, *FAILURES, *NOT_SENT, "error"))
)  # "error": of an outcomes table


def scored_rows(samples, *, truncated="set_aside"):
    """The rows of a samples table with the score that counts, and the reason where none does.

    Parameters
    ----------
    samples : DataFrame
        prompt_id, model_id, score; where they exist repeat, group, status, cost_usd, ttft_s, end_to_end_s,
        tokens_per_s, source. An outcomes table is a samples table without repeats and failures.
    truncated : {"set_aside", "wrong"}
        Whether an answer cut off by length has no score or a score of 0.

    Returns
    -------
    DataFrame
        The rows with `score` (NaN where set aside), `aside` (the status that set a row aside, "" for none;
        "unscored" is an answer without a score), `cluster` (the group of the example, or the example) and every
        column above.

    Raises
    ------
    ValueError
        For a missing column, a status that is not known, a score that is no number from 0 to 1, an example in
        two groups, or two rows for one example, model and repeat.

    Notes
    -----
    A model of which more than half of the calls brought no usable answer (cut off or failed) is judged as failing: those
    calls score 0, whatever `truncated` says. Set aside, they would leave the few examples that it happened to manage.
    Where every model fails like that, nothing is known about any, and all stay set aside.
    """
    one_of("truncated", truncated, ("set_aside", "wrong"))
    for column in ("prompt_id", "model_id", "score"):
        if column not in samples:
            raise ValueError(f"column {column!r} is missing; there are {list(samples.columns)}")
        if column != "score":
            refuse(samples, column, samples[column].isna().to_numpy(), "a missing name")
    if samples.empty:
        raise ValueError("the samples table has no rows")
    rows = samples.assign(model_id=samples["model_id"].astype(str))
    rows["status"] = rows["status"].astype(str) if "status" in rows else "ok"
    for status in rows["status"].unique():
        if status not in STATUSES:
            raise ValueError(unknown("status", status, STATUSES))
    rows["repeat"] = rows.get("repeat", 0)
    keys = ["prompt_id", "model_id", "repeat"]
    twice = rows.duplicated(keys, keep=False)
    if twice.any():
        first = rows[twice].iloc[0]
        raise ValueError(
            f"{int(twice.sum()):,} rows share an example, model and repeat; first: prompt {plain(first['prompt_id'])!r}, model "
            f"{first['model_id']!r}, repeat {plain(first['repeat'])!r}; several answers need a column 'repeat' that counts them"
        )
    rows["score"], rows["aside"] = _scores(samples, rows["status"], truncated)
    asked = ~rows["status"].isin(NOT_SENT)
    failed = asked & ~rows["aside"].isin(["", "unscored"])
    failing = failed.astype(float).where(asked).groupby(rows["model_id"]).mean().dropna() > MOSTLY
    if not failing.all():
        wrong = failed & rows["model_id"].isin(failing.index[failing])
        rows["score"], rows["aside"] = rows["score"].mask(wrong, 0.0), rows["aside"].mask(wrong, "")
    rows["cluster"] = _clusters(rows)
    for column in ("cost_usd", "ttft_s", "end_to_end_s", "tokens_per_s"):
        rows[column] = pd.to_numeric(rows[column]) if column in rows else np.nan
        refuse(rows, column, (rows[column] < 0).to_numpy(), "a negative value")
    return rows


@dataclass(frozen=True, eq=False)
class Paired:
    """A candidate's and a reference's mean scores on the examples that both answered, in the table's order."""

    differences: np.ndarray  # candidate minus reference
    clusters: np.ndarray
    binary: bool  # right or wrong, one answer each, no groups


def paired(rows, candidate, reference):
    """`Paired` of two models of a `scored_rows` table."""
    scores = {model: example_scores(rows, model) for model in (candidate, reference)}
    common = [prompt for prompt in scores[reference].index if prompt in scores[candidate].index]
    first, second = scores[candidate].loc[common], scores[reference].loc[common]
    binary = bool(common and right_or_wrong(first) and right_or_wrong(second))
    return Paired(
        (first["score"] - second["score"]).to_numpy(float), first["cluster"].to_numpy(), binary
    )


def example_scores(rows, model):
    """Mean score, number of scored repeats and cluster of every example that a model answered, in the table's order."""
    groups = rows[(rows["model_id"] == model) & rows["score"].notna()].groupby(
        "prompt_id", sort=False, observed=True
    )
    return pd.DataFrame(
        {
            "score": groups["score"].mean(),
            "repeats": groups.size(),
            "cluster": groups["cluster"].first(),
        }
    )


def mostly_failing(rows):
    """Models of a `scored_rows` table of which most calls brought no answer and count as wrong: model -> their counts."""
    lost = rows["status"].ne("ok") & rows["score"].notna()
    share = lost.groupby(rows["model_id"], sort=False).mean()
    return {
        model: tally(rows["status"][lost & (rows["model_id"] == model)])
        for model in share.index[share > MOSTLY]
    }


@dataclass(frozen=True, eq=False)
class Levels:
    """What each model got wrong and cost per request, measured against one of them, the anchor.

    Attributes
    ----------
    table : DataFrame
        By model: examples (that it and the anchor both have a score on; of the anchor, those that it shares with any
        other), error_rate (0-1), cost_usd (US dollars per request); NaN where nothing is known.
    influence : ndarray, shape (groups, models)
        What each group of examples adds to a model's error rate: the sum of squares of a column is the variance of its
        rate, and that of products of two columns their covariance.
    """

    table: pd.DataFrame
    influence: np.ndarray


def levels(rows, models, anchor):
    """Error rate and cost of each model of a `scored_rows` table, pair by pair with the anchor.

    A candidate's gap to the anchor in errors, and its ratio to it in cost, are those on the examples that both have a score
    on; they are put on the anchor's own level. So a model with few answers takes no example away from the others, and of
    two models, or where all have answered all, these are the plain means on the common examples.

    Parameters
    ----------
    rows : DataFrame
        From `scored_rows`.
    models : sequence of str
    anchor : str
        One of them.

    Returns
    -------
    Levels
    """
    answered = rows["status"].isin(ANSWERED)
    spent = rows["cost_usd"].where(
        answered, rows["cost_usd"].fillna(0.0)
    )  # a failed call may be free, an answer is not
    parts = {
        "prompt": pd.factorize(rows["prompt_id"])[0],
        "cost": spent,
        "unknown": spent.isna(),
        "answers": answered,
    }
    sums = rows.assign(**parts).groupby(["prompt", "model_id"], observed=True)
    sums = sums.agg({"cost": "sum", "unknown": "any", "answers": "sum", "score": "mean"})
    cost = (
        (sums["cost"] / sums["answers"].clip(lower=1))
        .mask(sums["unknown"])
        .unstack()
        .reindex(columns=models)
        .to_numpy(float)
    )
    wrong = 1 - sums["score"].unstack().reindex(columns=models).to_numpy(float)
    cluster = rows.drop_duplicates("prompt_id")["cluster"].to_numpy()
    at = list(models).index(anchor)
    seen = np.isfinite(wrong) & np.isfinite(wrong[:, [at]])
    if len(models) > 1:
        seen[:, at] = np.delete(seen, at, axis=1).any(axis=1)
    own, table, influence = seen[:, at], [], np.zeros((cluster.max() + 1, len(models)))
    for place in range(len(models)):
        both, n = seen[:, place], int(seen[:, place].sum())
        if not n:
            table.append((0, np.nan, np.nan))
            continue
        rate = wrong[both, place].mean() + (wrong[own, at].mean() - wrong[both, at].mean())
        ratio = cost[own, at].mean() / cost[both, at].mean() if cost[both, at].sum() > 0 else np.nan
        usd = cost[both, place].mean() * (ratio if np.isfinite(ratio) else 1.0)
        table.append((n, min(1.0, max(0.0, rate)), usd))
        gap = wrong[both, place] - wrong[both, at]
        np.add.at(
            influence[:, place], cluster[own], (wrong[own, at] - wrong[own, at].mean()) / own.sum()
        )
        np.add.at(influence[:, place], cluster[both], (gap - gap.mean()) / n)
    columns = ["examples", "error_rate", "cost_usd"]
    return Levels(
        pd.DataFrame(table, columns=columns, index=pd.Index(models, name="model_id")), influence
    )


def right_or_wrong(examples):
    """Whether every example has one answer, right or wrong, and a group of its own."""
    return (
        examples["score"].isin((0, 1)).all()
        and (examples["repeats"] == 1).all()
        and examples["cluster"].is_unique
    )


def tally(texts):
    """Counts as text, the most frequent first.

    Examples
    --------
    >>> tally(pd.Series(["timeout", "refused", "timeout"]))
    'timeout 2, refused 1'
    """
    return ", ".join(f"{text} {count:,}" for text, count in texts.value_counts().items())


def _scores(samples, status, truncated):
    scores = pd.to_numeric(samples["score"], errors="coerce").astype(float)
    refuse(
        samples,
        "score",
        (scores.isna() & samples["score"].notna()).to_numpy(),
        "a score that is no number",
    )
    refuse(samples, "score", ((scores < 0) | (scores > 1)).to_numpy(), "a score outside 0-1")
    zero = status.isin(NON_ANSWERS) | ((status == "truncated") & (truncated == "wrong"))
    aside = ~status.isin(ANSWERED) | ((status == "truncated") & (truncated == "set_aside"))
    scores = scores.mask(zero, 0.0).mask(aside)
    return scores, np.where(aside, status, np.where(scores.isna(), "unscored", ""))


def _clusters(rows):
    """A code for each example's group; an example without a group is its own."""
    examples, names = pd.factorize(rows["prompt_id"])
    if "group" not in rows:
        return examples
    groups, _ = pd.factorize(rows["group"])
    own = np.where(groups < 0, -1 - examples, groups)
    spread = pd.Series(own).groupby(examples).nunique()
    if (spread > 1).any():
        raise ValueError(
            f"{int((spread > 1).sum()):,} examples are in two groups; first: {plain(names[spread.gt(1).idxmax()])!r}"
        )
    return pd.factorize(own)[0]


def quality_by_model(rows, models, confidence):
    """Scores per model of a `scored_rows` table: the table `candidates` of `tierlab.compare`."""
    return _table({model: _quality(rows, model, confidence) for model in models})


def _quality(rows, model, confidence):
    own, examples = rows[rows["model_id"] == model], example_scores(rows, model)
    aside = own["aside"] != ""
    low, high, method = mean_interval(
        examples["score"],
        examples["cluster"],
        binary=right_or_wrong(examples),
        confidence=confidence,
    )
    return {
        "examples": own["prompt_id"].nunique(),
        "absent": rows["prompt_id"].nunique() - own["prompt_id"].nunique(),
        "answers": int((~aside).sum()),
        "set_aside": int(aside.sum()),
        "set_aside_as": tally(own["aside"][aside]),
        "non_answers": tally(own["status"][own["status"].ne("ok") & own["score"].notna()]),
        **{"score": examples["score"].mean(), "low": low, "high": high, "method": method},
    }


def costs_by_model(rows, models, confidence, seed):
    """Money per model of a `scored_rows` table: the table `costs` of `tierlab.compare`."""
    table = _table({model: _money(rows[rows["model_id"] == model]) for model in models}).assign(
        low=np.nan, high=np.nan
    )
    priced = table.index[table["per_solved"].notna()]
    if len(priced):
        sums = rows[rows["model_id"].isin(priced)].pivot_table(
            index="cluster",
            columns="model_id",
            values=["cost_usd", "score"],
            aggfunc="sum",
            fill_value=0.0,
        )  # a group in which a model has no row adds nothing to either sum
        ends = bootstrap(
            sums,
            lambda m: m["cost_usd"] / m["score"].where(m["score"] > 0),
            confidence=confidence,
            seed=seed,
        )
        table.loc[priced, ["low", "high"]] = ends.loc[priced, ["low", "high"]]
    return table[["per_request", "per_solved", "low", "high", "solved_per_usd", "note"]]


def _money(own):
    """Cost of one model's rows, per answer received and per unit of score, and what is not known about it."""
    failed, free = ~own["status"].isin(ANSWERED), own["status"].isin(NOT_SENT)
    received, solved, paid = (
        int(own["status"].isin(ANSWERED).sum()),
        own["score"].sum(),
        own["cost_usd"].sum(),
    )
    missing = int((own["cost_usd"].isna() & ~failed).sum())
    doubt = own["status"][failed & ~free & (own["cost_usd"].isna() | own["status"].isin(IN_DOUBT))]
    notes = []
    if missing or own["cost_usd"].isna().all():
        known = own["cost_usd"].notna().any()
        notes.append(f"the cost of {missing:,} answers is unknown" if known else "no cost is known")
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


def latency_by_model(rows, models, confidence):
    """Quantiles of complete answers per model: the table `latency` of `tierlab.compare`."""
    from scipy.stats import quantile_test

    needed = math.ceil(math.log((1 - confidence) / 2) / math.log(0.95))
    result = {}
    for model in models:
        own = rows[(rows["model_id"] == model) & (rows["status"] == "ok")]
        sources = list(dict.fromkeys(own["source"].astype(str))) if "source" in own else []
        for measure in ("ttft_s", "end_to_end_s", "tokens_per_s"):
            times = own[measure].dropna().to_numpy(float)
            row, notes = {}, ["mixes sources"] if len(sources) > 1 else []
            for percent in (50, 95):
                ends = (np.nan, np.nan)
                if len(times):
                    ends = quantile_test(times, p=percent / 100).confidence_interval(
                        confidence_level=confidence
                    )
                value = np.quantile(times, percent / 100) if len(times) else np.nan
                row |= {
                    f"p{percent}": value,
                    f"p{percent}_low": ends[0],
                    f"p{percent}_high": ends[1],
                }
            if 0 < len(times) < needed:
                notes.append(
                    f"p95 has no upper end: {len(times):,} timed answers, {needed:,} are needed"
                )
            result[model, measure] = row | {
                "answers": len(times),
                "source": "; ".join(sources),
                "note": "; ".join(notes),
            }
    return pd.DataFrame.from_dict(result, orient="index").rename_axis(["model_id", "measure"])


def _table(rows):
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model_id")


BETS = 200  # evenly spread over all admissible bets


def sequential_test(
    samples, *, candidate, reference, margin=None, alpha=0.05, truncated="set_aside"
):
    """Test a candidate against a reference after every example, and stop when the evidence is enough.

    Repeating McNemar's test until it says "different" finds a difference between equal models far more often than
    the 5% it promises. This rule may be looked at after every example, and the run stopped at any of them.

    Parameters
    ----------
    samples : DataFrame
        From `tierlab.sample`, in the order in which the examples were drawn; repeats are averaged, and the examples
        of a group make one step.
    candidate, reference : str
        Model ids.
    margin : float, optional
        To test for "not worse by more than this" and for "worse" by more, 0-1. Without it: for any difference.
    alpha : float
        Probability of a wrong finding at any time: of each of the two with a margin.
    truncated : {"set_aside", "wrong"}

    Returns
    -------
    DataFrame
        A row per step, numbered from 1: difference (mean so far), evidence (e-value, and one per finding with a
        margin: evidence_not_worse, evidence_worse) and finding: "cannot tell" until an e-value reaches 1/alpha,
        then what it found; it does not change afterwards.

    Notes
    -----
    Testing by betting (Waudby-Smith & Ramdas, JRSS B 86 (2024) 1-27): a stake grows by 1 + bet (difference + margin)
    at each step, so that it is a supermartingale while the margin is exceeded; the evidence is its mean over bets
    spread evenly. By Ville's inequality (1939) it ever reaches 1/alpha with probability alpha at most, for any n and
    any score in 0-1. Without a margin and with right-or-wrong scores it is Robbins' (1970) mixture for the sign test
    on the examples on which exactly one is right. It needs more examples than a test of planned size: what one pays
    for looking.

    Examples
    --------
    The eighth loss in a row decides (half of 2^9 / 9 is above 20), here on the eleventh example:

    >>> rows = {"prompt_id": [*range(30)] * 2, "model_id": ["a"] * 30 + ["b"] * 30, "score": [0] * 30 + [1, 1, 0] * 10}
    >>> steps = sequential_test(pd.DataFrame(rows), candidate="a", reference="b")
    >>> int((steps["finding"] == "cannot tell").sum()), steps["finding"].iloc[-1]
    (10, 'different')
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha!r}; a share between 0 and 1 is needed")
    rows = scored_rows(samples, truncated=truncated)
    models = rows["model_id"].unique()
    for name in (candidate, reference):
        if name not in models:
            raise ValueError(unknown("model", name, models))
    pair = paired(rows, candidate, reference)
    steps = pd.Series(pair.differences).groupby(pair.clusters, sort=False).mean().to_numpy(float)
    found = betting_evidence(steps, margin=margin)
    finding = np.full(len(steps), "cannot tell", object)
    reached = {name: np.flatnonzero(values >= 1 / alpha)[:1] for name, values in found.items()}
    for name, at in sorted(reached.items(), key=lambda item: -item[1][0] if len(item[1]) else 0):
        finding[slice(at[0], None) if len(at) else slice(0, 0)] = (
            name  # the earliest is written last and stays
        )
    columns = {
        "evidence" if margin is None else f"evidence_{name.replace(' ', '_')}": v
        for name, v in found.items()
    }
    means = np.cumsum(steps) / np.arange(1, len(steps) + 1)
    index = pd.RangeIndex(1, len(steps) + 1, name="examples")
    return pd.DataFrame({"difference": means, **columns, "finding": finding}, index=index)


def betting_evidence(differences, *, margin=None):
    """The e-values of `sequential_test` along the last axis.

    Parameters
    ----------
    differences : array_like of float
        Candidate's score minus reference's, -1 to 1, in the order in which they came.
    margin : float, optional

    Returns
    -------
    dict of str to ndarray
        Finding to evidence, of the shape of `differences`: "different" without a margin; "not worse" and "worse" with.

    Examples
    --------
    Five wins, no loss: the mean of (1 + bet)^5 and (1 - bet)^5 over bets from 0 to 1 is 63/6 and 1/6, half of each:

    >>> betting_evidence([1, 1, 1, 1, 1])["different"].round(1).tolist()
    [1.0, 1.3, 2.0, 3.2, 5.3]
    """
    differences = np.asarray(differences, float)
    if margin is None:
        up, down = _mixture(differences, 1.0), _mixture(-differences, 1.0)
        return {"different": (up + down) / 2}
    if not 0 < margin < 1:
        raise ValueError(
            f"margin={margin!r}; a share between 0 and 1 is needed (five points are 0.05)"
        )
    shifted = differences + margin
    return {
        "not worse": _mixture(shifted, 1 / (1 - margin)),
        "worse": _mixture(-shifted, 1 / (1 + margin)),
    }


def _mixture(gains, largest_bet):
    """Mean over bets of the stake after each gain; the largest bet is the one that a worst gain would use up."""
    bets = (np.arange(BETS) + 0.5) / BETS * largest_bet
    return sum(np.cumprod(1 + bet * gains, axis=-1) for bet in bets) / BETS
