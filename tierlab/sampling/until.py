"""Samples that stop as soon as they can: examples are bought in batches until every question is settled."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tierlab.core.format import number, usd
from tierlab.core.tables import one_of
from tierlab.core.vocabulary import known, needs
from tierlab.evaluate.intervals import SHARE
from tierlab.evaluate.planning import betting_evidence
from tierlab.evaluate.rows import paired, scored_rows
from tierlab.prices.catalog import Prices
from tierlab.sampling.examples import load_examples
from tierlab.sampling.providers import Candidate
from tierlab.sampling.run import read_candidates, sample
from tierlab.sampling.runner import SETUP, Limits, Setup, check_count

ALL = "all"  # the one queue of a rule that does not separate tasks


@dataclass(frozen=True)
class Decided:
    """The rule by which a sample stops.

    Parameters
    ----------
    reference : str
        Name of the candidate that the others have to match, such as the flagship.
    margin : float
        How much worse a candidate may be, between 0 and 1.
    alpha : float
        Probability that any finding of the run is wrong, between 0 and 1, whatever the number of candidates and tasks.
    batch : int
        Examples of a task that are bought at a time, from 1 up.
    seed : int
        Seed of the order in which the examples are drawn.
    by_task : bool
        Whether each task is its own question; otherwise all examples together are one.
    truncated : {"set_aside", "wrong"}
        Whether an answer cut off by its limit has no score or a score of 0.
    """

    reference: str
    margin: float
    alpha: float = 0.05
    batch: int = 10
    seed: int = 0
    by_task: bool = True
    truncated: str = "set_aside"

    def __post_init__(self):
        needs("margin", self.margin, 0 < self.margin < 1, SHARE)
        needs("alpha", self.alpha, 0 < self.alpha < 1, SHARE)
        check_count("batch", self.batch)
        one_of("truncated", self.truncated, ("set_aside", "wrong"))


def sample_until_decided(
    examples: str | Path | Iterable,
    candidates: Iterable[Candidate | str],
    rule: Decided,
    *,
    limits: Limits,
    store: str | Path,
    prices: Prices | None = None,
    yes: bool = False,
    allow_code: bool = False,
    setup: Setup = SETUP,
) -> pd.DataFrame:
    """Run examples through candidates until each is found to be worse or not worse than the reference, task by task.

    After every batch the evidence decides which candidates and tasks are settled; the next batch goes to the others.
    The run ends when all are settled, or when the examples or the budget are used up.

    Parameters
    ----------
    examples, candidates, limits, store, prices, yes, allow_code, setup
        As for `tierlab.sample`.
    rule : Decided

    Returns
    -------
    DataFrame
        The samples table of what was asked. ``attrs["decided"]`` has a row per candidate and task: finding ("not
        worse", "worse", "cannot tell"), examples (used), of (available). ``attrs["saved"]`` says this in a sentence,
        and ``attrs["usd"]`` has what was spent and what all the examples would have cost, USD.

    Notes
    -----
    The evidence is that of `tierlab.sequential_test`, which may be looked at after any example. With k questions
    (candidates x tasks) a finding needs an e-value of k / alpha, so that the chance of any wrong finding in the run is
    at most alpha (Ville's inequality and the union bound).
    """
    chosen = read_candidates(candidates)
    by_name = {one.name: one for one in chosen}
    known("candidate", rule.reference, by_name)

    def ask(drawn, names):
        return sample(
            drawn,
            [by_name[name] for name in names],
            limits=limits,
            store=store,
            prices=prices,
            yes=yes,
            allow_code=allow_code,
            setup=setup,
        )

    examples = load_examples(examples)
    table, usd_all = _run([(one.task, one) for one in examples], list(by_name), rule, ask)
    return _told(table, usd_all)


def replay_until_decided(samples: pd.DataFrame, rule: Decided) -> pd.DataFrame:
    """Find which of a table's answers `sample_until_decided` would have asked for, and what it would have saved.

    Parameters
    ----------
    samples : DataFrame
        The samples table.
    rule : Decided

    Returns
    -------
    DataFrame
        As `sample_until_decided` returns it; the cost of all the examples is that of the whole table.

    Examples
    --------
    >>> rows = {"prompt_id": [*range(200)] * 2, "model_id": ["a"] * 200 + ["b"] * 200, "score": 1.0, "cost_usd": 0.01}
    >>> rule = Decided(reference="b", margin=0.1, by_task=False)
    >>> replay_until_decided(pd.DataFrame(rows), rule).attrs["saved"]
    '1 of 1 questions settled after 100 of 400 calls: $1.00 of $4.00'
    """
    samples = samples.copy(deep=False)
    samples.attrs = {}  # pandas compares the attrs of tables that it joins, and fails on a table in them
    models = list(samples["model_id"].astype(str).unique())
    known("reference", rule.reference, models)
    tasks = samples.get("task", pd.Series(ALL, samples.index)).astype(object).fillna(ALL)
    first = samples.assign(task=tasks).drop_duplicates("prompt_id")

    def ask(drawn, names):
        place = {example: i for i, example in enumerate(drawn)}
        rows = samples[samples["prompt_id"].isin(place) & samples["model_id"].isin(names)]
        return rows.sort_values("prompt_id", key=lambda ids: ids.map(place), kind="stable")

    items = list(first[["task", "prompt_id"]].itertuples(index=False, name=None))
    table, _ = _run(items, models, rule, ask)
    whole = samples["cost_usd"].sum(skipna=False) if "cost_usd" in samples else np.nan
    return _told(table, whole)


def _run(items, names, rule, ask):
    """Ask batch after batch of (task, example) pairs; return the rows of all batches, and the cost of asking all."""
    queues = _queues(items, rule)
    others = [name for name in names if name != rule.reference]
    questions = {(name, task): "cannot tell" for name in others for task in queues}
    level = len(questions) / rule.alpha
    asked, used, tables = dict.fromkeys(queues, 0), dict.fromkeys(questions, 0), {}
    while still := _next_batch(questions, asked, queues):
        for task, open_names in still.items():
            asked[task] = min(asked[task] + rule.batch, len(queues[task]))
            table = ask(queues[task][: asked[task]], [rule.reference, *open_names])
            tables[task, open_names] = table.assign(queue=task)
            for name in open_names:
                used[name, task] = asked[task]
                questions[name, task] = _finding(table, name, rule, level)
        statuses = [table["status"] for table in tables.values() if "status" in table]
        if any(status.eq("over_budget").any() for status in statuses):
            break
    last = dict(next(reversed(tables.values())).attrs)
    table = pd.concat(tables.values(), ignore_index=True)
    keys = table.columns.intersection(["prompt_id", "model_id", "repeat"])
    table = table.drop_duplicates(keys, keep="last", ignore_index=True)
    usd_all = np.nan
    if "cost_usd" in table:
        each = table.groupby(["model_id", "queue"], observed=True)["cost_usd"].mean()
        usd_all = sum(mean * len(queues[task]) for (_, task), mean in each.items())
    decided = pd.DataFrame(
        [(*at, found, used[at], len(queues[at[1]])) for at, found in questions.items()],
        columns=["candidate", "task", "finding", "examples", "of"],
    )
    table = table.drop(columns="queue")
    table.attrs = last | {"decided": decided, "calls": len(names) * len(items)}
    return table, usd_all


def _queues(items, rule):
    """The examples of each task, in the order in which they are drawn."""
    queues = {}
    for place in np.random.default_rng(rule.seed).permutation(len(items)):
        task, example = items[place]
        queues.setdefault(task if rule.by_task else ALL, []).append(example)
    return queues


def _next_batch(questions, asked, queues):
    """The unsettled candidates of each task that has examples left."""
    open_names = {}
    for (name, task), finding in questions.items():
        if finding == "cannot tell" and asked[task] < len(queues[task]):
            open_names.setdefault(task, []).append(name)
    return {task: tuple(names) for task, names in open_names.items()}


def _finding(table, name, rule, level):
    rows = scored_rows(table, truncated=rule.truncated)
    pair = paired(rows, name, rule.reference)
    steps = pd.Series(pair.differences).groupby(pair.clusters, sort=False).mean().to_numpy(float)
    return first_finding(steps, margin=rule.margin, level=level)


def first_finding(differences, *, margin, level):
    """Return the finding whose e-value reaches `level` first, or "cannot tell".

    Examples
    --------
    >>> first_finding([0.0] * 100, margin=0.2, level=20), first_finding([0.0] * 10, margin=0.2, level=20)
    ('not worse', 'cannot tell')
    """
    evidence = betting_evidence(differences, margin=margin)
    first = {
        what: np.argmax(values >= level)
        for what, values in evidence.items()
        if (values >= level).any()
    }
    return min(first, key=first.get) if first else "cannot tell"


def _told(table, usd_all):
    """Add to the table the sentence that says what was decided and what that saved."""
    decided = table.attrs["decided"]
    settled = decided["finding"].ne("cannot tell").sum()
    spent = table["cost_usd"].sum() if "cost_usd" in table else np.nan
    calls = f"{number(len(table))} of {number(table.attrs.pop('calls'))} calls"
    money = f"{usd(spent)} of {usd(usd_all)}" if usd_all == usd_all else "at an unknown cost"
    table.attrs |= {
        "usd": (spent, usd_all),
        "saved": f"{settled} of {len(decided)} questions settled after {calls}: {money}",
    }
    return table


def simulated_stops(rule: Decided, gap: float, *, examples: int, disagreement: float, runs: int):
    """Simulate runs of one question whose truth is known.

    Parameters
    ----------
    rule : Decided
    gap : float
        True difference in mean score, candidate minus reference, -1 to 1.
    examples : int
        The number of examples that there are.
    disagreement : float
        Share of examples, 0-1, on which exactly one of the two is right; at least the gap.
    runs : int
        The number of runs.

    Returns
    -------
    (ndarray of str, ndarray of int)
        The finding, and the number of examples used, of each run.

    Examples
    --------
    For two models that always agree, (1 + bet 0.1)^n, averaged over bets from 0 to 1/0.9, exceeds 20 at n = 43.

    >>> simulated_stops(Decided("b", 0.1), 0.0, examples=100, disagreement=0.0, runs=1)
    (array(['not worse'], dtype=object), array([50]))
    """
    needs("disagreement", disagreement, abs(gap) <= disagreement <= 1, "at least the gap, up to 1")
    wins = (disagreement + gap) / 2
    shares = [wins, disagreement - wins, 1 - disagreement]
    rng = np.random.default_rng(rule.seed)
    draws = rng.choice([1.0, -1.0, 0.0], size=(runs, examples), p=shares)
    findings, used = np.full(runs, "cannot tell", object), np.full(runs, examples)
    evidence = betting_evidence(draws, margin=rule.margin)
    looks = [*range(rule.batch, examples, rule.batch), examples]
    for n in reversed(looks):  # the first look that finds something is written last
        for finding, values in evidence.items():
            found = (values[:, :n] >= 1 / rule.alpha).any(axis=1)
            findings[found], used[found] = finding, n
    return findings, used


def budget_by_gap(
    rule: Decided,
    gaps: Iterable[float],
    *,
    examples: int,
    disagreement: float = 0.2,
    runs: int = 200,
) -> pd.DataFrame:
    """Simulate how much of the budget a run needs until it is decided, by the true difference of the two models.

    Parameters
    ----------
    rule : Decided
    gaps : iterable of float
        True differences in mean score, candidate minus reference, -1 to 1.
    examples, disagreement, runs
        As for `simulated_stops`; where a gap is larger than the disagreement, it takes its place.

    Returns
    -------
    DataFrame
        gap; used (mean share of the examples, 0-1); low and high (10th and 90th percentile of the runs); undecided and
        wrong (shares of the runs, 0-1).
    """
    rows = []
    for gap in gaps:
        spread = max(disagreement, abs(gap))
        findings, used = simulated_stops(
            rule, gap, examples=examples, disagreement=spread, runs=runs
        )
        right = "worse" if gap <= -rule.margin else "not worse"
        open_ = findings == "cannot tell"
        low, high = np.quantile(used, [0.1, 0.9]) / examples
        mean = used.mean() / examples
        rows.append((gap, mean, low, high, open_.mean(), np.mean(~open_ & (findings != right))))
    return pd.DataFrame(rows, columns=["gap", "used", "low", "high", "undecided", "wrong"])
