"""Recorded answers as cases of one question: is a cheaper model good enough in place of the reference (notebook 05)?"""

import tempfile
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tierlab.core.vocabulary import ANSWERED, known
from tierlab.evaluate.compare import Prepared, prepare
from tierlab.evaluate.rows import example_scores, scored_rows
from tierlab.evaluate.scorers.judge import judge_agreement
from tierlab.prices.catalog import Prices, load_prices
from tierlab.routing.policies import Fallback, Threshold
from tierlab.routing.simulated import default_tasks, simulate_outcomes
from tierlab.sampling.examples import Example, load_examples
from tierlab.sampling.live import LiveRouter
from tierlab.sampling.run import estimate
from tierlab.sampling.runner import Limits
from tierlab.sampling.samples import SAMPLES, load_samples
from tierlab.sampling.until import Decided, replay_until_decided

KIT = {"simulated_intents": "simulated intents", "open_models": "the kit's own examples"}
NO_RATE = (
    "given price: 0 / 0 "  # in the provenance of answers that cost the machine's time and no tokens
)
KINDS = ("right", "right in part", "wrong", "cut off or failed", "not scored")


def simulated_intents() -> pd.DataFrame:
    """Whether 200 messages were sorted rightly by a small tier and a flagship: simulated, at the assumed error rates.

    A message comes with instructions and a list of labels, 1,500 tokens in all (our assumption): what it costs is mostly
    input, which is what tells the two tiers apart. Error rates are those of data/assumptions.csv for an easy task, prices
    the article's.
    """
    tasks = default_tasks().loc[["intent_classification"]].assign(share=1.0, input_tokens=1_500)
    table = simulate_outcomes(200, seed=0, tasks=tasks, prices=load_prices("article"))
    ids = "message-" + table["prompt_id"].astype(int).add(1).astype(str).str.zfill(3)
    table = table.assign(prompt_id=ids, task="simulated_intents")
    return table[table["tier"] != "mid"].reset_index(drop=True)


@dataclass(frozen=True, eq=False)
class Case:
    """Answers of several models to the same examples, and the one that the others have to match.

    Attributes
    ----------
    name : str
        In words, as a sentence has it.
    source : str
        Where the answers are from: a recording of the kit, or a path.
    answers : DataFrame
        The samples table, with costs.
    rows : DataFrame
        The same as `tierlab.evaluate.rows.scored_rows` has it.
    models : list of str
        The most expensive first.
    reference, challenger : str
        The model to match, and the most expensive of the others.
    compared : Prepared
        From `tierlab.evaluate.compare.prepare`.
    truncated : str
    seed : int
    """

    name: str
    source: str
    answers: pd.DataFrame
    rows: pd.DataFrame
    models: list
    reference: str
    challenger: str
    compared: Prepared
    truncated: str
    seed: int

    @property
    def examples(self):
        """Number of examples."""
        return self.answers["prompt_id"].nunique()


def read_cases(
    samples: str,
    *,
    reference: str = "",
    machine_usd_per_hour: float = 0.0,
    truncated: str = "set_aside",
    seed: int = 0,
) -> list[Case]:
    """The cases of a notebook: the kit's two, one simulated and one recorded, or the answers of one store or file.

    Parameters
    ----------
    samples : str
        "kit", "simulated_intents", or as for `tierlab.load_samples`.
    reference : str
        Model id that the others have to match; by default the most expensive of a case.
    machine_usd_per_hour : float
        What answers of models without a price per token cost: the time that they keep the machine busy, US dollars.
    truncated, seed
        As for `tierlab.compare`.

    Raises
    ------
    ValueError
        If no case has the reference, or a case has only one model.
    """
    sources = KIT if samples == "kit" else {samples: KIT.get(samples, "your examples")}
    tables = {
        name: simulated_intents() if source == "simulated_intents" else load_samples(source)
        for source, name in sources.items()
    }
    if reference:
        known(
            "reference",
            reference,
            dict.fromkeys(pd.concat(tables.values())["model_id"].astype(str)),
        )
    asked = {"machine_usd_per_hour": machine_usd_per_hour, "truncated": truncated, "seed": seed}
    return [
        case_of(name, table, source=source, reference=reference, **asked)
        for (source, name), table in zip(sources.items(), tables.values(), strict=True)
    ]


def case_of(
    name: str,
    answers: pd.DataFrame,
    *,
    source: str = "",
    reference: str = "",
    machine_usd_per_hour: float = 0.0,
    truncated: str = "set_aside",
    seed: int = 0,
) -> Case:
    """A samples table as a case; parameters as for `read_cases`. A reference that it does not have is not taken."""
    answers = _costed(answers, machine_usd_per_hour)
    means = answers.groupby("model_id", sort=False)["cost_usd"].mean()
    models = list(means.sort_values(ascending=False, kind="stable").index)
    if len(models) < 2:
        raise ValueError(
            f"{name}: all answers are of {models[0]!r}; a comparison needs a second model"
        )
    match = reference if reference in models else models[0]
    challenger = next(model for model in models if model != match)
    asked = {"truncated": truncated, "seed": seed}
    compared = prepare(answers, reference=match, **asked)
    rows = scored_rows(answers, truncated=truncated)
    return Case(name, source, answers, rows, models, match, challenger, compared, **asked)


def _costed(answers, usd_per_hour):
    """The answers with every column that the notebook reads; what a model without a price per token costs."""
    answers = answers.assign(model_id=answers["model_id"].astype(str))
    for column in ("cost_usd", "end_to_end_s"):
        answers[column] = pd.to_numeric(answers[column]) if column in answers else np.nan
    for column, value in (
        ("task", "all"),
        ("source", "recorded"),
        ("prompt", ""),
        ("answer", ""),
        ("score_reason", ""),
        ("provenance", ""),
    ):
        known_values = (
            answers[column].astype(object) if column in answers else pd.Series(None, answers.index)
        )
        answers[column] = known_values.where(known_values.notna(), value)
    free = answers["provenance"].astype(str).str.contains(NO_RATE, regex=False)
    time = answers["end_to_end_s"] * usd_per_hour / 3600
    return answers.assign(cost_usd=answers["cost_usd"].mask(free, time))


def kinds(case: Case) -> pd.DataFrame:
    """Share of a model's answers that are right, right in part, wrong, cut off or failed, and not scored."""
    status = case.answers["status"].astype(str)
    score = pd.to_numeric(case.answers["score"])
    usable = status.isin(ANSWERED) & status.ne("truncated")
    tests = [~usable, score.isna(), score >= 1, score <= 0]
    names = [KINDS[3], KINDS[4], KINDS[0], KINDS[2]]
    kind = pd.Series(np.select(tests, names, KINDS[1]), case.answers.index, name="kind")
    table = pd.crosstab(case.answers["model_id"], kind, normalize="index")
    return table.reindex(index=case.models, columns=KINDS, fill_value=0.0)


def wrong_answers(case: Case, most: int = 200) -> pd.DataFrame:
    """The answers below full score, those first that a cheaper model got wrong and the reference right.

    Parameters
    ----------
    case : Case
    most : int
        Rows at most.

    Returns
    -------
    DataFrame
        example, model, asked, answered (both cut short), score, why; ``attrs["all"]`` is how many there are.
    """
    rows = case.rows[case.rows["score"] < 1]
    right = set(
        case.rows.loc[
            (case.rows["model_id"] == case.reference) & (case.rows["score"] == 1), "prompt_id"
        ]
    )
    order = np.lexsort(
        (
            rows["model_id"].map(case.models.index),
            ~rows["prompt_id"].isin(right),
            rows["model_id"].ne(case.challenger),
        )
    )
    rows = rows.iloc[order]
    table = pd.DataFrame(
        {
            "example": rows["prompt_id"].astype(str),
            "model": rows["model_id"],
            "asked": _short(rows["prompt"], 70),
            "answered": _short(rows["answer"], 70),
            "score": rows["score"],
            "why": _short(rows["score_reason"], 60),
        }
    )
    table.attrs["all"] = len(table)
    return table.head(most).reset_index(drop=True)


def asking(case: Case, prices: Prices) -> pd.DataFrame:
    """What it would cost to send the prompts of a case to the whole lineup, one answer each.

    Returns
    -------
    DataFrame
        As `tierlab.sampling.run.estimate` gives it, the cheapest first; empty if the samples hold no prompts.
    """
    prompts = case.answers.loc[case.answers["prompt"].str.strip() != ""].drop_duplicates(
        "prompt_id"
    )
    examples = [
        Example(str(row.prompt_id), str(row.task), str(row.prompt), "exact", "-")
        for row in prompts.itertuples()
    ]
    lineup = prices.lineup().stack()
    models = [f"{provider}:{model}" for (provider, _), model in lineup.items()]
    if not examples:
        return pd.DataFrame(columns=["calls", "likely_usd", "most_usd"])
    return estimate(examples, models, prices=prices).sort_values("likely_usd")


def judged(case: Case):
    """How far the recorded judge agrees with the scorers of a case; None where nothing is recorded.

    Returns
    -------
    Agreement or None
        From `tierlab.evaluate.scorers.judge.judge_agreement`, right being a score above one half.
    """
    path = SAMPLES / "judged" / f"{case.source}.csv"
    if not path.is_file():
        return None
    table = pd.read_csv(path).dropna(subset=["score"])
    words = {True: "right", False: "wrong"}
    told = (table["judged"] > 0.5).map(words).mask(table["judged"].isna(), None)
    return judge_agreement(told, (table["score"] > 0.5).map(words))


def routed(case: Case, *, chars: int = 400, most: int = 8) -> pd.DataFrame:
    """A router of notebook 04 in front of the recorded answers to the kit's examples, replayed.

    Prompts below `chars` characters go to the cheapest model, the others to the reference; an answer that is cut off, or
    a call that fails, falls back to the other.

    Returns
    -------
    DataFrame
        example, model, status, step, reason, stands; a row per call, of `most` examples. Empty where a replay has not all
        that it needs: the answers to the kit's own examples.
    """
    plain = [
        example
        for example in load_examples("kit")
        if isinstance(example.prompt, str) and not example.tools and not example.schema
    ][4::9]
    known_ids = set(case.answers["prompt_id"])
    asked = [example for example in plain if example.example_id in known_ids][:most]
    heads = ["example", "model", "status", "step", "reason", "stands"]
    if not asked or case.source not in KIT:
        return pd.DataFrame(columns=heads)
    models = {
        "smaller": f"replay:{case.models[-1]},path={case.source}",
        "larger": f"replay:{case.reference},path={case.source}",
    }
    policy = Fallback(
        Threshold("prompt_chars", chars, ("smaller", "larger")), ("larger", "smaller")
    )
    with tempfile.TemporaryDirectory() as folder:
        store = f"{folder}/router.sqlite"
        with LiveRouter(policy, models, limits=Limits(0), store=store) as router:
            for example in asked:
                router.answer(example.prompt, system=example.system, prompt_id=example.example_id)
            log = router.log()
    columns = ["prompt_id", "model_id", "status", "step", "reason", "stands"]
    return log[columns].set_axis(heads, axis=1)


def _short(texts, most):
    """The end of each text on one line: an instruction comes first and a conclusion last."""
    line = texts.astype(str).str.split().str.join(" ")
    return line.where(line.str.len() <= most, "..." + line.str[-most:])


def by_task(cases: list, margin: float) -> pd.DataFrame:
    """Challenger against reference, task by task, each task by itself.

    Returns
    -------
    DataFrame
        Indexed by task: the columns of `tierlab.compare`'s pairs, and the mean score of each model of the case.
    """
    tables = []
    for case in cases:
        for task, rows in case.answers.groupby("task", sort=True, observed=True):
            pair = rows[rows["model_id"].isin([case.reference, case.challenger])]
            if pair["model_id"].nunique() < 2:
                continue
            asked = {"truncated": case.truncated, "seed": case.seed}
            found = prepare(pair, reference=case.reference, **asked).at(margin)
            if not found.pairs["examples"].iloc[0]:
                continue
            scored = scored_rows(rows, truncated=case.truncated)
            means = {model: example_scores(scored, model)["score"].mean() for model in case.models}
            name = str(task).replace("_", " ")
            row = found.pairs.iloc[0].to_dict() | {"task": name} | means
            tables.append(row)
    return pd.DataFrame(tables).set_index("task").sort_values("difference", ascending=False)


def stops(case: Case, margin: float):
    """The replay of a case until it is decided: `tierlab.sampling.until.replay_until_decided`, all tasks as one."""
    rule = Decided(case.reference, margin, seed=case.seed, by_task=False, truncated=case.truncated)
    return replay_until_decided(case.answers, rule)
