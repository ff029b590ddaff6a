"""Samples made ready for comparison: which rows have a score, which are set aside and why, and who shares examples."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tierlab.core.tables import one_of, plain, refuse
from tierlab.core.vocabulary import ANSWERED, FAILURES, known

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
        For a missing column, a status that is not known, a score that is not a number from 0 to 1, an example in
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
        known("status", status, STATUSES)
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
    table : DataFrame
        By model: examples (that it and the anchor both have a score on; of the anchor, those that it shares with any
        other), error_rate (0-1), cost_usd (US dollars per request); NaN where nothing is known.
    influence : ndarray, shape (groups, models)
        What each group of examples adds to a model's error rate: the sum of squares of a column is the variance of its
        rate, and that of products of two columns their covariance.
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
    return pd.DataFrame(table, columns=columns, index=pd.Index(models, name="model_id")), influence


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
        "a score that is not a number",
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
