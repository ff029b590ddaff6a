"""Cases of one question, is a cheaper model good enough in place of the reference: their numbers and words (notebook 05)."""

import tempfile
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tierlab.core.format import counted, listed, number, share, usd
from tierlab.core.vocabulary import ANSWERED, known, task_name
from tierlab.evaluate.compare import Prepared, examples_needed, prepare
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
# In the provenance of answers that cost the machine's time and not a price per token.
NO_RATE = "given price: 0 / 0 "
KINDS = ("right", "right in part", "wrong", "cut off or failed", "not scored")
CAUTIONS = {
    "simulated_intents": "The simulated intents are not answers of a model: right and wrong are drawn at the error rates that the kit "
    "assumes for an easy task, so this case shows the method and says nothing of the two models.",
    "open_models": "The models of the kit's own examples are small open ones on one processor core, with 0.1 to 1.5 billion parameters: "
    "the cheaper candidates and the larger one stand for a choice between tiers, not for a provider's models.",
}


def simulated_intents() -> pd.DataFrame:
    """Simulate whether a small model and a flagship sort 200 messages rightly, at the assumed error rates.

    A message comes with instructions and a list of labels, 1,500 tokens in all (our assumption), so most of its cost is
    input, and the two tiers differ in price. Error rates are those of data/assumptions.csv for an easy task; prices are
    the article's.
    """
    tasks = default_tasks().loc[["intent_classification"]].assign(share=1.0, input_tokens=1_500)
    table = simulate_outcomes(200, seed=0, tasks=tasks, prices=load_prices("article"))
    ids = "message-" + table["prompt_id"].astype(int).add(1).astype(str).str.zfill(3)
    table = table.assign(prompt_id=ids, task="simulated_intents")
    return table[table["tier"] != "mid"].reset_index(drop=True)


@dataclass(frozen=True, eq=False)
class Case:
    """Answers of several models to the same examples, one of which the others have to match.

    Attributes
    ----------
    name : str
        Name in a sentence.
    source : str
        Where the answers are from: a recording of the kit, or a path.
    answers : DataFrame
        The samples table, with costs.
    rows : DataFrame
        The same, scored by `tierlab.evaluate.rows.scored_rows`.
    models : list of str
        The most expensive first.
    reference, challenger : str
        The model to match, and the most expensive of the others.
    compared : Prepared
        From `tierlab.evaluate.compare.prepare`.
    truncated : str
        As for `tierlab.compare`.
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
        """The number of examples."""
        return self.answers["prompt_id"].nunique()


def read_cases(
    samples: str,
    *,
    reference: str = "",
    machine_usd_per_hour: float = 0.0,
    truncated: str = "set_aside",
    seed: int = 0,
) -> list[Case]:
    """Read the kit's two cases, one simulated and one recorded, or the answers of one store or file as a case.

    Parameters
    ----------
    samples : str
        "kit", "simulated_intents", or as for `tierlab.load_samples`.
    reference : str
        Model id that the others have to match; by default the most expensive of a case.
    machine_usd_per_hour : float
        Price of the machine, USD per hour, for the time that it takes to answer with a model without a price per token.
    truncated, seed
        As for `tierlab.compare`.

    Returns
    -------
    list of Case

    Raises
    ------
    ValueError
        If no case has the reference, or a case has only one model.
    """
    sources = KIT if samples == "kit" else {samples: KIT.get(samples, "your examples")}
    tables = {
        source: simulated_intents() if source == "simulated_intents" else load_samples(source)
        for source in sources
    }
    if reference:
        models = pd.concat(tables.values())["model_id"].astype(str)
        known("reference", reference, dict.fromkeys(models))
    asked = {"machine_usd_per_hour": machine_usd_per_hour, "truncated": truncated, "seed": seed}
    return [
        case_of(name, tables[source], source=source, reference=reference, **asked)
        for source, name in sources.items()
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
    """Make a case from a samples table; parameters as for `read_cases`. A reference without answers here is ignored."""
    answers = _costed(answers, machine_usd_per_hour)
    means = answers.groupby("model_id", sort=False)["cost_usd"].mean()
    models = list(means.sort_values(ascending=False, kind="stable").index)
    if len(models) < 2:
        raise ValueError(
            f"{name}: all answers are of {models[0]!r}; a comparison needs a second model"
        )
    match = reference if reference in models else models[0]
    challenger = next(model for model in models if model != match)
    return Case(
        name,
        source,
        answers,
        scored_rows(answers, truncated=truncated),
        models,
        match,
        challenger,
        prepare(answers, reference=match, truncated=truncated, seed=seed),
        truncated,
        seed,
    )


def _costed(answers, usd_per_hour):
    """The answers with every column that the notebook reads, and with the cost of the machine where tokens have none."""
    answers = answers.assign(model_id=answers["model_id"].astype(str))
    for column in ("cost_usd", "end_to_end_s"):
        answers[column] = pd.to_numeric(answers[column]) if column in answers else np.nan
    defaults = {"task": "all", "source": "recorded"}
    defaults |= dict.fromkeys(("prompt", "answer", "score_reason", "provenance"), "")
    for column, value in defaults.items():
        given = answers.get(column, pd.Series(None, answers.index)).astype(object)
        answers[column] = given.where(given.notna(), value)
    free = answers["provenance"].astype(str).str.contains(NO_RATE, regex=False)
    time = answers["end_to_end_s"] * usd_per_hour / 3600
    return answers.assign(cost_usd=answers["cost_usd"].mask(free, time))


def kinds(case: Case) -> pd.DataFrame:
    """Return the share of each model's answers that are of each of the `KINDS`."""
    status = case.answers["status"].astype(str)
    score = pd.to_numeric(case.answers["score"])
    usable = status.isin(ANSWERED) & status.ne("truncated")
    tests = [~usable, score.isna(), score >= 1, score <= 0]
    names = [KINDS[3], KINDS[4], KINDS[0], KINDS[2]]
    kind = pd.Series(np.select(tests, names, KINDS[1]), case.answers.index, name="kind")
    table = pd.crosstab(case.answers["model_id"], kind, normalize="index")
    return table.reindex(index=case.models, columns=KINDS, fill_value=0.0)


def wrong_answers(case: Case) -> pd.DataFrame:
    """Return the answers below full score, beginning with those that the challenger got wrong and the reference right.

    Returns
    -------
    DataFrame
        At most 200 rows: example, model, asked, answered (both cut short), score, why; ``attrs["all"]`` is how many
        there are in all.
    """
    rows = case.rows[case.rows["score"] < 1]
    right = case.rows[case.rows["model_id"].eq(case.reference) & case.rows["score"].eq(1)]
    order = np.lexsort(  # the last key goes first
        (
            rows["model_id"].map(case.models.index),
            ~rows["prompt_id"].isin(right["prompt_id"]),
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
    return table.head(200).reset_index(drop=True)


def asking(case: Case, prices: Prices) -> pd.DataFrame:
    """Estimate what it would cost to send the prompts of a case to the whole lineup, one answer each.

    Returns
    -------
    DataFrame
        From `tierlab.sampling.run.estimate`, the cheapest first; empty if the samples hold no prompts.
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
    """Return how far the recorded judge agrees with the scorers of a case.

    Returns
    -------
    Agreement or None
        From `tierlab.evaluate.scorers.judge.judge_agreement`, where a score above one half is right; None if no judge
        is recorded.
    """
    path = SAMPLES / "judged" / f"{case.source}.csv"
    if not path.is_file():
        return None
    table = pd.read_csv(path).dropna(subset=["score"])
    words = {True: "right", False: "wrong"}
    told = (table["judged"] > 0.5).map(words).mask(table["judged"].isna(), None)
    return judge_agreement(told, (table["score"] > 0.5).map(words))


def routed(case: Case) -> pd.DataFrame:
    """Replay a router of notebook 04 in front of the recorded answers to up to eight of the kit's examples.

    Prompts of less than 400 characters go to the cheapest model, the others to the reference. If an answer is cut off
    or a call fails, the router falls back to the other model.

    Returns
    -------
    DataFrame
        A row per call: example, model, status, step, reason, stands. Empty unless the case has answers to the kit's own
        examples.
    """
    plain = [
        example
        for example in load_examples("kit")
        if isinstance(example.prompt, str) and not example.tools and not example.schema
    ][4::9]
    known_ids = set(case.answers["prompt_id"])
    asked = [example for example in plain if example.example_id in known_ids][:8]
    heads = ["example", "model", "status", "step", "reason", "stands"]
    if not asked or case.source not in KIT:
        return pd.DataFrame(columns=heads)
    models = {
        "smaller": f"replay:{case.models[-1]},path={case.source}",
        "larger": f"replay:{case.reference},path={case.source}",
    }
    policy = Fallback(Threshold("prompt_chars", 400, ("smaller", "larger")), ("larger", "smaller"))
    with tempfile.TemporaryDirectory() as folder:
        store = f"{folder}/router.sqlite"
        with LiveRouter(policy, models, limits=Limits(0), store=store) as router:
            for example in asked:
                router.answer(example.prompt, system=example.system, prompt_id=example.example_id)
            log = router.log()
    columns = ["prompt_id", "model_id", "status", "step", "reason", "stands"]
    return log[columns].set_axis(heads, axis=1)


def _short(texts, most):
    """The end of each text on one line, since an instruction comes first and a conclusion last."""
    line = texts.astype(str).str.split().str.join(" ")
    return line.where(line.str.len() <= most, "..." + line.str[-most:])


def by_task(cases: list, margin: float) -> pd.DataFrame:
    """Compare challenger and reference on each task by itself.

    Parameters
    ----------
    cases : list of Case
    margin : float
        How much worse is still good enough, 0-1.

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
            name = task_name(str(task))
            tables.append(found.pairs.iloc[0].to_dict() | {"task": name} | means)
    return pd.DataFrame(tables).set_index("task").sort_values("difference", ascending=False)


def stops(case: Case, margin: float):
    """Replay a case until it is decided (`tierlab.sampling.until.replay_until_decided`), all tasks as one."""
    rule = Decided(case.reference, margin, seed=case.seed, by_task=False, truncated=case.truncated)
    return replay_until_decided(case.answers, rule)


# In words


def about(case) -> str:
    """Say what a case holds and which model is its reference."""
    costs = case.compared.tables["costs"]["per_request"]
    source = listed(sorted(case.answers["source"].astype(str).unique()))
    why = "as you chose"
    if case.reference == case.models[0]:
        why = f"the most expensive at {usd(costs[case.reference])} an answer"
        if costs.isna().any():
            why = "the first of the models, since not every cost is known"
    return (
        f"**{case.name[0].upper()}{case.name[1:]}**: {counted(case.examples, 'example')}, {source} answers of "
        f"{listed(case.models)}. The others have to match {case.reference} ({why}); the next most expensive, {case.challenger}, is the challenger."
    )


def answer(case, found) -> str:
    """Say yes, no or not yet, and about which model, for a headline.

    Parameters
    ----------
    case : Case
    found : Comparison
        ``case.compared.at(...)``.
    """
    pairs, points = found.pairs, f"{number(100 * found.margin)} points"
    fine = list(pairs.index[pairs["finding"] == "not worse"])
    open_ = list(pairs.index[pairs["finding"] == "cannot tell"])
    if found.choice in fine:
        return f"Yes on {case.name}: {found.choice} is good enough in place of {case.reference}"
    if fine and found.choice is None:
        return f"Yes on {case.name}: {listed(fine)} can replace {case.reference}, but which costs least is not known"
    if found.choice == case.reference and (fine or open_):
        but = f"{listed(fine)} would be good enough, but " if fine else ""
        return f"No on {case.name}: {but}with errors counted {case.reference} costs least"
    if open_:
        return f"Not decided on {case.name}: {case.examples:,} examples leave open whether {listed(open_)} can replace {case.reference}"
    many = "none of the cheaper models" if len(pairs) > 1 else f"{pairs.index[0]} does not"
    verb = " comes" if len(pairs) > 1 else " come"
    return f"No on {case.name}: {many}{verb} within {points} of {case.reference}"


def answer_rows(case, found) -> pd.DataFrame:
    """Return a row for each model: its score, its difference to the reference, and what 1,000 requests cost."""
    pairs = found.pairs[["difference", "low", "high", "finding"]]
    rows = found.candidates[["score", "answers", "set_aside_as"]]
    rows = rows.join(found.costs[["per_request", "expected", "per_solved"]]).join(pairs)
    rows = rows.loc[case.models]
    table = pd.DataFrame(
        {
            "model": case.models,
            "finding": rows["finding"].fillna("reference"),
            "mean score": rows["score"].map(share),
            "points (95% interval)": _gaps(rows),
            "1,000 requests": (1000 * rows["per_request"]).map(_money),
            "errors counted": (1000 * rows["expected"]).map(_money),
            "1,000 solved": (1000 * rows["per_solved"]).map(_money),
            "answers": rows["answers"],
            "set aside": rows["set_aside_as"],
        }
    )
    return table.reset_index(drop=True)


def cautions(cases):
    """Return what a reader must know about the kit's own recordings; nothing for your own answers."""
    return [CAUTIONS[case.source] for case in cases if case.source in CAUTIONS]


def gap_words(pairs):
    """Say the difference of each model, or on each task, with interval and finding."""
    gaps = zip(pairs.index, _gaps(pairs), pairs["finding"], strict=True)
    return "; ".join(f"{name} {gap} points, {finding}" for name, gap, finding in gaps)


def wrong_words(cases):
    """Say on how many examples the challenger of each case did worse than the reference."""
    pairs = [(case, case.compared.pairs.loc[case.challenger]) for case in cases]
    return _sentence(
        f"on {case.name} {case.challenger} did worse than {case.reference} on {pair['worse']:,} of {counted(pair['examples'], 'example')}"
        for case, pair in pairs
    )


def wrong_counts(cases, wrong):
    """Say how many scored answers of each case are not fully right."""
    return _sentence(
        f"on {case.name} {wrong[case.name].attrs['all']:,} of {case.rows['score'].notna().sum():,} scored answers are not fully right"
        for case in cases
    )


def kind_words(parts):
    """Say the shares of each kind above zero, model by model."""
    return "; ".join(
        f"{model} " + ", ".join(f"{share(part)} {kind}" for kind, part in row.items() if part > 0)
        for table in parts.values()
        for model, row in table.iterrows()
    )


def task_words(tasks):
    """Say on how many tasks the challenger is good enough, worse or undecided."""
    count = tasks["finding"].value_counts()
    found = [count.get(name, "none") for name in ("not worse", "worse", "cannot tell")]
    return (
        f"Of {len(tasks)} task{'s' * (len(tasks) > 1)}, the cheaper model is good enough on {found[0]} and worse on {found[1]}; "
        f"undecided: {found[2]} (median {tasks['examples'].median():,.0f} examples a task)"
    )


def task_caution(cases):
    """Warn of the kit's task that flatters a small model; "" for your own tasks."""
    if "open_models" not in {case.source for case in cases}:
        return ""
    return " Some examples of agentic tools want no tool to be called: a model that never calls one gets those right for nothing."


def task_rows(tasks):
    """Return the rows of `by_task` with headings in words."""
    return pd.DataFrame(
        {
            "task": tasks["task"],
            "finding": tasks["finding"],
            "points (95% interval)": _gaps(tasks),
            "examples": tasks["examples"],
            "better on": tasks["better"],
            "worse on": tasks["worse"],
        }
    )


def needed_rows(cases, margin) -> pd.DataFrame:
    """Return how many examples each case has, and how many the margin takes at its own disagreement."""
    pairs = [case.compared.pairs.loc[case.challenger] for case in cases]
    asked = [(case.rows, case.challenger, case.reference, margin) for case in cases]
    return pd.DataFrame(
        {
            "answers": [case.name for case in cases],
            "examples with both": [int(pair["examples"]) for pair in pairs],
            "disagree (share)": [
                (pair["better"] + pair["worse"]) / max(1, pair["examples"]) for pair in pairs
            ],
            f"needed for {number(100 * margin)} points": [
                examples_needed(*each)[1] for each in asked
            ],
        }
    )


def stop_rows(cases, stopped):
    """Return what the replay found about each candidate, after how many examples, and how much of the cost it spent."""
    tables = []
    for case in cases:
        told = stopped[case.name].attrs
        tables.append(told["decided"].assign(answers=case.name, spent=_spent(told)))
    table = pd.concat(tables, ignore_index=True)
    used = table["examples"].map("{:,}".format) + " of " + table["of"].map("{:,}".format)
    table = table.assign(examples=used).drop(columns=["task", "of"])
    return table.rename(columns={"spent": "spent on all candidates"})


def stop_words(cases, stopped):
    """Say after how many examples each case was decided, and what that saved."""
    parts = []
    for case in cases:
        told, decided = stopped[case.name].attrs, stopped[case.name].attrs["decided"]
        open_ = list(decided.loc[decided["finding"] == "cannot tell", "candidate"])
        found = f"still open for {listed(open_)}" if open_ else "decided"
        used = f"{decided['examples'].max():,} of {counted(case.examples, 'example')}"
        parts.append(f"{case.name}: {found} after {used} ({_spent(told)})")
    return _sentence(parts)


def stop_points(cases, stopped):
    """Return each case's challenger as a point of `tierlab.sampling.figures.budget_by_gap`."""
    rows = []
    for case in cases:
        row = stopped[case.name].attrs["decided"].set_index("candidate").loc[case.challenger]
        gap, used = case.compared.pairs.loc[case.challenger, "difference"], row["examples"]
        label = f"{case.challenger}, {used:,} of {row['of']:,}"
        rows.append({"difference": gap, "share": used / row["of"], "label": label})
    return pd.DataFrame(rows)


def budget_rows(budget):
    """Return the table of `tierlab.sampling.until.budget_by_gap` with headings in words."""
    shares = budget.drop(columns="gap").map(share)
    heads = [
        "examples used",
        "10th percentile",
        "90th percentile",
        "runs not decided",
        "runs decided wrongly",
    ]
    table = shares.set_axis(heads, axis=1)
    table.insert(0, "true difference (points)", (100 * budget["gap"]).map("{:+.0f}".format))
    return table


def estimate_words(estimate):
    """Say what it would cost to ask all models of an estimate."""
    if estimate.empty:
        return "What asking again would cost is not known: these samples hold no prompts."
    likely, most = (usd(estimate[name].sum()) for name in ("likely_usd", "most_usd"))
    return (
        f"All of them together would cost about **{likely}**, and at most {most}, which is what is set aside before anything is sent: "
        "a token for every byte of a prompt, an answer of full length, every attempt billed. A run never passes its budget, because "
        "what could pass it is not sent. The price of asking is seldom the reason not to ask."
    )


def judge_words(agreements):
    """Say how far a judge agrees with the scorers, for the first case that has one recorded."""
    found = next((each for each in agreements if each is not None), None)
    if found is None:
        return (
            "No judge is recorded for these answers. `tl.judge(store, judge, limits=..., every=True)` has a model score them by the "
            "example's rubric; `tierlab.evaluate.scorers.judge.judge_agreement` then says how far it agrees with the scorers."
        )
    table = found.confusion
    return (
        f"**A model as judge** (recorded: the largest of the open models judged answers of all three, its own among them). It agrees with the "
        f"scorers on **{share(found.agreement)}** of {found.n} answers (95% interval {share(found.agreement_low)} to "
        f"{share(found.agreement_high)}), kappa **{found.kappa:.2f}** ({found.kappa_low:.2f} to {found.kappa_high:.2f}; 0 is chance, 1 "
        f"perfect). Of {table.loc['right'].sum()} right answers it called {table.loc['right', 'wrong']} wrong, of "
        f"{table.loc['wrong'].sum()} wrong ones {table.loc['wrong', 'right']} right; {found.unread} replies could not be read. Before a "
        f"judge decides anything, it should do better than that on your own examples."
    )


def _sentence(parts):
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}"


def _money(dollars):
    return usd(dollars) if dollars == dollars else "not known"


def _spent(told):
    spent, whole = told["usd"]
    return f"{usd(spent)} of {usd(whole)}" if whole == whole else "an unknown amount"


def _gaps(rows):
    """Differences with their intervals, in points; empty for the reference."""
    return [
        "" if gap != gap else f"{100 * gap:+.1f} ({100 * least:+.1f} to {100 * most:+.1f})"
        for gap, least, most in rows[["difference", "low", "high"]].to_numpy(float)
    ]
