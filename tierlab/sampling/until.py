"""Samples that stop when they know: examples are bought in batches until every question is settled."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tierlab.core.format import number, usd
from tierlab.core.vocabulary import needs, unknown
from tierlab.evaluate.intervals import SHARE
from tierlab.evaluate.rows import paired, scored_rows
from tierlab.evaluate.sequential import betting_evidence
from tierlab.prices.catalog import Prices
from tierlab.sampling.examples import load_examples
from tierlab.sampling.providers import Candidate
from tierlab.sampling.run import read_candidates, sample
from tierlab.sampling.runner import SETUP, Limits, Setup, check_count


@dataclass(frozen=True)
class Decided:
    """When a sample has said enough.

    Parameters
    ----------
    reference : str
        Name of the candidate that the others shall match, such as the flagship.
    margin : float
        How much worse a candidate may be, 0-1.
    alpha : float
        Probability that any finding of the run is wrong, whatever the number of candidates and tasks.
    batch : int
        Examples of a task that are bought at a time.
    seed : int
        Of the order in which the examples are drawn.
    """

    reference: str
    margin: float
    alpha: float = 0.05
    batch: int = 10
    seed: int = 0

    def __post_init__(self):
        needs("margin", self.margin, 0 < self.margin < 1, SHARE)
        needs("alpha", self.alpha, 0 < self.alpha < 1, SHARE)
        check_count("batch", self.batch)


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
    """Run examples through candidates until each is found not worse or worse than the reference, task by task.

    After every batch the evidence decides which candidates and tasks are settled; the next batch goes to the others.
    The run ends when all are settled, when the examples are used up, or when the budget is.

    Parameters
    ----------
    examples, candidates, limits, store, prices, yes, allow_code, setup
        As for `tierlab.sample`.
    rule : Decided

    Returns
    -------
    DataFrame
        The samples table of what was asked. ``attrs["decided"]`` has a row per candidate and task: finding ("not
        worse", "worse", "cannot tell"), examples used and there. ``attrs["saved"]`` says it in a sentence.

    Notes
    -----
    The evidence is that of `tierlab.sequential_test`, which may be looked at after any example; with k questions (candidates x
    tasks) a finding needs an e-value of k / alpha, so that the chance of any wrong finding in the run is at most alpha
    (Ville's inequality and the union bound).
    """
    chosen = read_candidates(candidates)
    by_name = {one.name: one for one in chosen}
    if rule.reference not in by_name:
        raise ValueError(unknown("candidate", rule.reference, by_name))
    queues = _queues(load_examples(examples), rule.seed)
    questions = {
        (name, task): "cannot tell" for name in by_name if name != rule.reference for task in queues
    }
    level = len(questions) / rule.alpha
    asked, tables = dict.fromkeys(queues, 0), {}
    while True:
        still = _next_batch(questions, asked, queues)
        if not still:
            break
        for task, names in still.items():
            asked[task] = min(asked[task] + rule.batch, len(queues[task]))
            tables[task, names] = sample(
                queues[task][: asked[task]],
                [by_name[name] for name in (rule.reference, *names)],
                limits=limits,
                store=store,
                prices=prices,
                yes=yes,
                allow_code=allow_code,
                setup=setup,
            )
            for name in names:
                questions[name, task] = _finding(tables[task, names], name, rule, level)
        if any(table["status"].eq("over_budget").any() for table in tables.values()):
            break
    return _told(tables, questions, queues, rule)


def _queues(examples, seed):
    """The examples of each task in the order in which they are drawn."""
    order = np.random.default_rng(seed).permutation(len(examples))
    queues = {}
    for place in order:
        queues.setdefault(examples[place].task, []).append(examples[place])
    return queues


def _next_batch(questions, asked, queues):
    """Task -> candidates that are not settled, where there are examples left."""
    open_names = {}
    for (name, task), finding in questions.items():
        if finding == "cannot tell" and asked[task] < len(queues[task]):
            open_names.setdefault(task, []).append(name)
    return {task: tuple(names) for task, names in open_names.items()}


def _finding(table, name, rule, level):
    rows = scored_rows(table)
    pair = paired(rows, name, rule.reference)
    steps = pd.Series(pair.differences).groupby(pair.clusters, sort=False).mean().to_numpy(float)
    return first_finding(steps, margin=rule.margin, level=level)


def first_finding(differences, *, margin, level):
    """The finding whose e-value reaches `level` first, or "cannot tell".

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


def _told(tables, questions, queues, rule):
    """The rows of all batches once each, with what was decided and what that saved."""
    table = pd.concat(tables.values(), ignore_index=True)
    table = table.drop_duplicates(["prompt_id", "model_id", "repeat"], keep="last").reset_index(
        drop=True
    )
    used = table.groupby(["model_id", "task"], observed=True)["prompt_id"].nunique()
    decided = pd.DataFrame(
        [
            (name, task, finding, used.get((name, task), 0), len(queues[task]))
            for (name, task), finding in questions.items()
        ],
        columns=["candidate", "task", "finding", "examples", "of"],
    )
    spent = table["cost_usd"].sum()
    each = table.groupby(["model_id", "task"], observed=True)["cost_usd"].mean()
    whole = sum(mean * len(queues[task]) for (_, task), mean in each.items())
    calls, most = len(table), (len(each.index.unique("model_id"))) * sum(map(len, queues.values()))
    open_ = decided["finding"].eq("cannot tell").sum()
    table.attrs = dict(next(reversed(tables.values())).attrs) | {
        "decided": decided,
        "saved": f"{len(decided) - open_} of {len(decided)} questions settled after {number(calls)} of {number(most)} "
        f"calls: {usd(spent)} of {usd(whole)}",
    }
    return table
