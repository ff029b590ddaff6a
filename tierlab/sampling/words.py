"""What notebook 05 says: sentences and rows made of the numbers of its cases."""

import pandas as pd

from tierlab.core.format import listed, number, share, usd
from tierlab.evaluate.compare import examples_needed

CAUTIONS = {
    "simulated_intents": "The simulated intents are not answers of a model: right and wrong are drawn at the error rates that the kit "
    "assumes for an easy task, so this case shows the method and says nothing of the two models.",
    "open_models": "The models of the kit's own examples are small open ones on one processor core, with 0.1 to 1.5 billion parameters: "
    "the cheaper candidates and the larger one stand for a choice between tiers, not for a provider's models.",
}


def about(case) -> str:
    """What a case holds and which model is its reference."""
    costs = case.compared.tables["costs"]["per_request"]
    source = listed(sorted(case.answers["source"].astype(str).unique()))
    why = "as you chose"
    if case.reference == case.models[0]:
        why = f"the most expensive at {usd(costs[case.reference])} an answer"
        if costs.isna().any():
            why = "the first of the models, since not every cost is known"
    return (
        f"**{case.name[0].upper()}{case.name[1:]}**: {case.examples:,} examples, {source} answers of "
        f"{listed(case.models)}. The others have to match {case.reference} ({why}); the next most expensive, {case.challenger}, is the challenger."
    )


def answer(case, found) -> str:
    """Yes, no or not yet, and about which model: the sentence that a headline is made of.

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
    """One row per model: what it scored, its difference to the reference, and what 1,000 requests cost."""
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
    """What must be known of the kit's own recordings; nothing of a user's."""
    return [CAUTIONS[case.source] for case in cases if case.source in CAUTIONS]


def gap_words(pairs):
    """The difference of each model, or on each task, with interval and finding."""
    gaps = zip(pairs.index, _gaps(pairs), pairs["finding"], strict=True)
    return "; ".join(f"{name} {gap} points, {finding}" for name, gap, finding in gaps)


def wrong_words(cases):
    """On how many examples the challenger of each case did worse than the reference."""
    pairs = [(case, case.compared.pairs.loc[case.challenger]) for case in cases]
    return _sentence(
        f"on {case.name} {case.challenger} did worse than {case.reference} on {pair['worse']:,} of {pair['examples']:,} examples"
        for case, pair in pairs
    )


def wrong_counts(cases, wrong):
    """How many scored answers of each case are not fully right."""
    return _sentence(
        f"on {case.name} {wrong[case.name].attrs['all']:,} of {case.rows['score'].notna().sum():,} scored answers are not fully right"
        for case in cases
    )


def kind_words(parts):
    """The shares of each kind above zero, model by model."""
    return "; ".join(
        f"{model} " + ", ".join(f"{share(part)} {kind}" for kind, part in row.items() if part > 0)
        for table in parts.values()
        for model, row in table.iterrows()
    )


def task_words(tasks):
    """On how many tasks the challenger is good enough, worse, or open."""
    count = tasks["finding"].value_counts()
    found = [count.get(name, "none") for name in ("not worse", "worse", "cannot tell")]
    return (
        f"Of {len(tasks)} task{'s' * (len(tasks) > 1)}, the cheaper model is good enough on {found[0]} and worse on {found[1]}; "
        f"undecided: {found[2]} (median {tasks['examples'].median():,.0f} examples a task)"
    )


def task_caution(cases):
    """What is known of a task of the kit that flatters a small model; nothing of a user's tasks."""
    if "open_models" not in {case.source for case in cases}:
        return ""
    return " Some examples of agentic tools want no tool to be called: a model that never calls one gets those right for nothing."


def task_rows(tasks):
    """The rows of `tierlab.sampling.cases.by_task`, ready to read."""
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
    """How many examples each case has, and how many it takes at its own disagreement."""
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
    """What the replay found about each candidate, after how many examples, and what was spent of what."""
    tables = []
    for case in cases:
        told = stopped[case.name].attrs
        tables.append(told["decided"].assign(answers=case.name, spent=_spent(told)))
    table = pd.concat(tables, ignore_index=True)
    used = table["examples"].map("{:,}".format) + " of " + table["of"].map("{:,}".format)
    table = table.assign(examples=used).drop(columns=["task", "of"])
    return table.rename(columns={"spent": "spent on all candidates"})


def stop_words(cases, stopped):
    """After how many examples each case was decided, and what that saved."""
    parts = []
    for case in cases:
        told, decided = stopped[case.name].attrs, stopped[case.name].attrs["decided"]
        open_ = list(decided.loc[decided["finding"] == "cannot tell", "candidate"])
        found = f"still open for {listed(open_)}" if open_ else "decided"
        used = f"{decided['examples'].max():,} of {case.examples:,} examples"
        parts.append(f"{case.name}: {found} after {used}: {_spent(told)}")
    return _sentence(parts)


def stop_points(cases, stopped):
    """Each case's challenger as a point of `tierlab.sampling.figures.budget_by_gap`."""
    rows = []
    for case in cases:
        row = stopped[case.name].attrs["decided"].set_index("candidate").loc[case.challenger]
        gap, used = case.compared.pairs.loc[case.challenger, "difference"], row["examples"]
        label = f"{case.challenger}, {used:,} of {row['of']:,}"
        rows.append({"difference": gap, "share": used / row["of"], "label": label})
    return pd.DataFrame(rows)


def budget_rows(budget):
    """The simulated budget, ready to read."""
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
    """What it would cost to ask all models of an estimate."""
    if estimate.empty:
        return "What asking again would cost is not known: these samples hold no prompts."
    likely, most = (usd(estimate[name].sum()) for name in ("likely_usd", "most_usd"))
    return (
        f"All of them together would cost about **{likely}**, and at most {most}, which is what is set aside before anything is sent: "
        "a token for every byte of a prompt, an answer of full length, every attempt billed. A run never passes its budget, because "
        "what could pass it is not sent. The price of asking is seldom the reason not to ask."
    )


def judge_words(agreements):
    """How far a judge agrees with the scorers, of the first case that has one recorded."""
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
