"""Make samples ready for comparison: which rows have a score, which are set aside and why, and who shares examples."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tierlab.core.format import counted
from tierlab.core.tables import numbers, one_of, plain, refuse
from tierlab.core.vocabulary import ANSWERED, FAILURES, known

NON_ANSWERS = ("refused", "empty", "content_filter")  # paid for without use to anyone: a score of 0
NOT_SENT = ("over_budget", "not_recorded", "not_sent")  # cost nothing
MOSTLY = 0.5  # share of a model's calls above which those without a usable answer count as wrong
STATUSES = (*ANSWERED, *FAILURES, "not_sent", "error")  # "error": of an outcomes table


def scored_rows(samples, *, truncated="set_aside"):
    """Return the rows of a samples table with the score that counts, and the reason where none does.

    Parameters
    ----------
    samples : DataFrame
        prompt_id, model_id, score; optionally repeat, group, status, cost_usd, ttft_s, end_to_end_s,
        tokens_per_s, source. An outcomes table is a samples table without repeats and failures.
    truncated : {"set_aside", "wrong"}
        Whether an answer cut off by length has no score or a score of 0.

    Returns
    -------
    DataFrame
        The rows with `score` (NaN where set aside), `aside` (the status that set a row aside, "" where nothing did;
        "unscored" is an answer without a score), `cluster` (the group of the example, or the example itself) and every
        column above.

    Raises
    ------
    ValueError
        If a column is missing, a status is unknown, a score is not a number from 0 to 1, an example is in two groups,
        or two rows share one example, model and repeat.

    Notes
    -----
    If more than half of a model's calls brought no usable answer (cut off or failed), those calls score 0, whatever
    `truncated` says. Set aside, they would leave only the few examples that the model happened to manage. Where every
    model fails like that, nothing is known about any of them, and all such calls stay set aside.
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
    rows["status"] = rows["status"].astype(object).fillna("ok") if "status" in rows else "ok"
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
        rows[column] = numbers(rows, column) if column in rows else np.nan
    return rows


@dataclass(frozen=True, eq=False)
class Paired:
    """A candidate's and a reference's scores on the examples that both answered, in the table's order.

    Attributes
    ----------
    differences : ndarray of float
        Mean score of the candidate minus that of the reference, by example.
    clusters : ndarray of int
        Group of each example.
    binary : bool
        Whether all are right or wrong, with one answer each and no groups.
    """

    differences: np.ndarray
    clusters: np.ndarray
    binary: bool


def paired(rows, candidate, reference):
    """Pair two models of a `scored_rows` table.

    Parameters
    ----------
    rows : DataFrame
        From `scored_rows`.
    candidate, reference : str
        Model ids.

    Returns
    -------
    Paired
    """
    scores = {model: example_scores(rows, model) for model in (candidate, reference)}
    common = [prompt for prompt in scores[reference].index if prompt in scores[candidate].index]
    first, second = scores[candidate].loc[common], scores[reference].loc[common]
    binary = bool(common and right_or_wrong(first) and right_or_wrong(second))
    differences = (first["score"] - second["score"]).to_numpy(float)
    return Paired(differences, first["cluster"].to_numpy(), binary)


def example_scores(rows, model):
    """Average a model's scores by example.

    Parameters
    ----------
    rows : DataFrame
        From `scored_rows`.
    model : str

    Returns
    -------
    DataFrame
        Indexed by prompt_id, in the table's order, for every example that the model answered: score (mean, 0-1), repeats
        (number of scores) and cluster.
    """
    own = rows[(rows["model_id"] == model) & rows["score"].notna()]
    groups = own.groupby("prompt_id", sort=False, observed=True)
    return groups.agg(
        score=("score", "mean"), repeats=("score", "size"), cluster=("cluster", "first")
    )


def mostly_failing(rows):
    """Return the models most of whose calls brought no answer and count as wrong, with their counts as text.

    Parameters
    ----------
    rows : DataFrame
        From `scored_rows`.

    Returns
    -------
    dict of str to str
    """
    lost = rows["status"].ne("ok") & rows["score"].notna()
    share = lost.groupby(rows["model_id"], sort=False).mean()
    return {
        model: tally(rows["status"][lost & (rows["model_id"] == model)])
        for model in share.index[share > MOSTLY]
    }


def levels(rows, models, anchor):
    """Return the error rate and the cost of each model, each compared with one anchor.

    A model's gap to the anchor in errors, and its ratio in cost, are taken on the examples that both have a score on and
    then applied to the anchor's own level. So a model with few answers takes no example away from the others. With two
    models, or where all have answered everything, the results are the plain means on the common examples.

    Parameters
    ----------
    rows : DataFrame
        From `scored_rows`.
    models : sequence of str
    anchor : str
        One of the models.

    Returns
    -------
    table : DataFrame
        By model: examples (that it and the anchor both have a score on; for the anchor, those that it shares with any
        other), error_rate (0-1), cost_usd (US dollars per request); NaN where nothing is known.
    influence : ndarray, shape (groups, models)
        What each group of examples adds to a model's error rate. The sum of squares of a column is the variance of that
        rate; the sum of products of two columns is their covariance.
    """
    cost, wrong = _by_example(rows, models)
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


def anchor_of(rows, models):
    """Return the model that shares the most scored examples with the others; of several such models, the first by name.

    Parameters
    ----------
    rows : DataFrame
        From `scored_rows`.
    models : sequence of str

    Returns
    -------
    str
        The anchor for `levels`. It depends neither on the order of the rows, nor on a model that shares little with the
        others, however many examples that one has answered.
    """
    seen = np.isfinite(_by_example(rows, models)[1]).astype(int)
    shared = dict(zip(models, (seen.T @ seen).sum(axis=1) - seen.sum(axis=0), strict=True))
    return max(sorted(models), key=shared.get)


def cost_by_example(rows):
    """Return what an answer to an example cost by each model, all its calls included; NaN where that is not known.

    Parameters
    ----------
    rows : DataFrame
        From `scored_rows`.

    Returns
    -------
    Series
        US dollars, indexed by prompt_id and model_id.
    """
    answered, cost = rows["status"].isin(ANSWERED), rows["cost_usd"]
    spent = cost.where(answered, cost.fillna(0.0))  # a failed call may be free, an answer is not
    keys = [rows["prompt_id"], rows["model_id"]]
    answers = answered.groupby(keys, sort=False, observed=True).sum().clip(lower=1)
    return spent.groupby(keys, sort=False, observed=True).sum(skipna=False) / answers


def _by_example(rows, models):
    """Return cost per answer and error of each example (rows) by each model (columns); NaN where unknown."""
    rows = rows.assign(prompt_id=pd.factorize(rows["prompt_id"])[0])
    error = 1 - rows.groupby(["prompt_id", "model_id"], observed=True)["score"].mean()
    return [
        each.unstack().sort_index().reindex(columns=models).to_numpy(float)
        for each in (cost_by_example(rows), error)
    ]


def right_or_wrong(examples):
    """Return whether every example of an `example_scores` table has one answer, right or wrong, and its own group."""
    return (
        examples["score"].isin((0, 1)).all()
        and (examples["repeats"] == 1).all()
        and examples["cluster"].is_unique
    )


def tally(texts):
    """Write how often each text occurs, the most frequent first.

    Parameters
    ----------
    texts : Series of str

    Returns
    -------
    str

    Examples
    --------
    >>> tally(pd.Series(["timeout", "refused", "timeout"]))
    'timeout 2, refused 1'
    """
    return ", ".join(f"{text} {count:,}" for text, count in texts.value_counts().items())


def _scores(samples, status, truncated):
    scores = numbers(samples, "score", highest=1, outside="a score outside 0-1")
    scores = pd.Series(scores, samples.index)
    zero = status.isin(NON_ANSWERS) | ((status == "truncated") & (truncated == "wrong"))
    aside = ~status.isin(ANSWERED) | ((status == "truncated") & (truncated == "set_aside"))
    scores = scores.mask(zero, 0.0).mask(aside)
    return scores, np.where(aside, status, np.where(scores.isna(), "unscored", ""))


def _clusters(rows):
    """Return a code for each example's group; an example without a group is its own."""
    examples, names = pd.factorize(rows["prompt_id"])
    if "group" not in rows:
        return examples
    groups, _ = pd.factorize(rows["group"])
    own = np.where(groups < 0, -1 - examples, groups)
    spread = pd.Series(own).groupby(examples).nunique()
    if (spread > 1).any():
        raise ValueError(
            f"in two groups at once: {counted((spread > 1).sum(), 'example')}; first: {plain(names[spread.gt(1).idxmax()])!r}"
        )
    return pd.factorize(own)[0]
