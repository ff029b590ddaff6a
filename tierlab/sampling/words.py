"""What notebook 05 says: sentences and rows made of the numbers of its cases."""

import pandas as pd

from tierlab.core.format import number, share, usd
from tierlab.evaluate.compare import examples_needed
from tierlab.sampling.cases import NO_RATE

CAUTIONS = {
    "simulated_intents": "The simulated intents are no answers of a model: right and wrong are drawn at the error rates that the kit "
    "assumes for an easy task, so this case shows the method and says nothing of the two models.",
    "open_models": "The models of the kit's own examples are small open ones on one processor core, with 0.1 to 1.5 billion parameters: "
    "the cheaper candidates and the larger one stand for a choice between tiers, not for a provider's models.",
}


def about(case) -> str:
    """What a case holds and which model is its reference, in a sentence or two."""
    costs = case.compared.tables["costs"]["per_request"]
    source = " and ".join(sorted(case.answers["source"].astype(str).unique()))
    why = "the most expensive" if case.reference == case.models[0] else "as you chose"
    why += (
        f" at {usd(costs[case.reference])} an answer"
        if costs[case.reference] == costs[case.reference]
        else ""
    )
    if costs.isna().any():
        why = (
            "as you chose"
            if case.reference != case.models[0]
            else "the first of the models, since not every cost is known"
        )
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
    rows = rows.join(found.costs[["per_request", "expected"]]).join(pairs)
    rows = rows.loc[case.models]
    return pd.DataFrame(
        {
            "model": case.models,
            "finding": rows["finding"].fillna("reference"),
            "mean score": rows["score"].map(share),
            "points (95% interval)": _gaps(rows),
            "1,000 requests": (1000 * rows["per_request"]).map(_money),
            "errors counted": (1000 * rows["expected"]).map(_money),
            "answers": rows["answers"],
            "set aside": rows["set_aside_as"],
        }
    ).reset_index(drop=True)


def cautions(cases):
    """What must be known of the kit's own recordings; nothing of a user's."""
    return [CAUTIONS[case.source] for case in cases if case.source in CAUTIONS]


def gap_words(pairs):
    """The difference of each model, or on each task, with interval and finding."""
    gaps = zip(pairs.index, _gaps(pairs), pairs["finding"], strict=True)
    return "; ".join(f"{name} {gap} points, {finding}" for name, gap, finding in gaps)


def wrong_words(cases):
    """On how many examples the challenger of each case did worse than the reference."""
    parts = []
    for case in cases:
        pair = case.compared.pairs.loc[case.challenger]
        parts.append(
            f"on {case.name} {case.challenger} did worse than {case.reference} on {pair['worse']:,} of {pair['examples']:,} examples"
        )
    return _sentence(parts)


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
    enough, worse, open_ = (
        count.get(name, "none") for name in ("not worse", "worse", "cannot tell")
    )
    if len(tasks) == 1:
        said = {
            "not worse": "is good enough",
            "worse": "is worse",
            "cannot tell": "is neither shown to be good enough nor shown to be worse",
        }
        return (
            f"There is only one task, on which the cheaper model {said[tasks['finding'].iloc[0]]}"
        )
    return (
        f"Of {len(tasks)} tasks, the cheaper model is good enough on {enough} and worse on {worse}; "
        f"undecided: {open_} (median {tasks['examples'].median():,.0f} examples a task)"
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
    rows = []
    for case in cases:
        pair = case.compared.pairs.loc[case.challenger]
        _, needed = examples_needed(case.rows, case.challenger, case.reference, margin)
        rows.append(
            (
                case.name,
                int(pair["examples"]),
                (pair["better"] + pair["worse"]) / max(1, pair["examples"]),
                needed,
            )
        )
    heads = [
        "answers",
        "examples with both",
        "disagree (share)",
        f"needed for {number(100 * margin)} points",
    ]
    return pd.DataFrame(rows, columns=heads)


def stop_words(cases, stopped):
    """After how many examples each case was decided, and what that saved."""
    parts = []
    for case in cases:
        decided, (spent, whole) = (
            stopped[case.name].attrs["decided"],
            stopped[case.name].attrs["usd"],
        )
        money = f": {usd(spent)} of {usd(whole)}" if whole == whole else ""
        open_ = list(decided.loc[decided["finding"] == "cannot tell", "candidate"])
        most = f"{decided['examples'].max():,} of {case.examples:,} examples{money}"
        if open_:
            parts.append(f"{case.name}: still open for {listed(open_)} after {most}")
        else:
            parts.append(f"{case.name}: decided after {most}")
    return _sentence(parts)


def stop_rows(cases, stopped):
    """What the replay found about each candidate, after how many examples, and what was spent of what."""
    rows = []
    for case in cases:
        spent, whole = stopped[case.name].attrs["usd"]
        money = f"{usd(spent)} of {usd(whole)}" if whole == whole else "not known"
        for row in stopped[case.name].attrs["decided"].itertuples():
            used = f"{row.examples:,} of {row.of:,}"
            rows.append((row.candidate, row.finding, used, case.name, money))
    heads = ["candidate", "finding", "examples", "answers", "spent on all candidates"]
    return pd.DataFrame(rows, columns=heads)


def stop_points(cases, found, stopped):
    """Each case's challenger as a point of `tierlab.sampling.figures.budget_by_gap`."""
    rows = []
    for case in cases:
        decided = stopped[case.name].attrs["decided"].set_index("candidate").loc[case.challenger]
        used, of = decided["examples"], decided["of"]
        gap = found[case.name].pairs.loc[case.challenger, "difference"]
        rows.append((gap, used / of, f"{case.challenger}, {used:,} of {of:,}"))
    return pd.DataFrame(rows, columns=["difference", "share", "label"])


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


def points(case, found):
    """Each model as a point of `tierlab.routing.figures.policies`; the cost may be unknown."""
    table = found.candidates.rename(columns={"low": "score_low", "high": "score_high"})
    table = table.assign(cost_usd=found.costs["per_request"], interval="95% interval of the score")
    return table.loc[case.models].rename_axis("label").reset_index()


def point_words(points):
    """Score and cost of each point."""
    return "; ".join(
        f"{row.label} {share(row.score)} at {usd(1000 * row.cost_usd)}"
        for row in points.itertuples()
    )


def money_words(cases, found):
    """What a solved example costs on the reference and on the challenger."""
    parts = []
    for case in cases:
        solved = found[case.name].costs["per_solved"]
        if solved[[case.reference, case.challenger]].isna().any():
            parts.append(f"on {case.name}, what a solved example costs is not known")
        else:
            parts.append(
                f"on {case.name}, a solved example costs {usd(solved[case.challenger])} with {case.challenger} and "
                f"{usd(solved[case.reference])} with {case.reference}"
            )
    return _sentence(parts)


def money_rows(case, found):
    """What 1,000 requests and 1,000 solved examples cost, and the mean score, model by model."""
    costs = found.costs.loc[case.models]
    table = pd.DataFrame(
        {
            "model": costs.index,
            "mean score": found.candidates["score"][case.models].map(share).to_numpy(),
            "1,000 requests (USD)": 1000 * costs["per_request"].to_numpy(),
            "1,000 solved (USD)": 1000 * costs["per_solved"].to_numpy(),
            "with errors counted (USD)": 1000 * costs["expected"].to_numpy(),
        }
    )
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


def money_caption(cases, machine_usd_per_hour, times):
    """How a solved example is paid for, and what is folded below."""
    text = "A cheap answer that is wrong is paid for as well: the cost per solved example is all that was paid over all that was solved."
    if any(case.answers["provenance"].str.contains(NO_RATE, regex=False).any() for case in cases):
        text += f" Models without a price per token cost {usd(machine_usd_per_hour)} an hour of the machine."
    return text + (
        " Folded: times of complete answers, and tokens per second."
        if len(times)
        else " No times are known."
    )


def time_rows(found):
    """Median and 95th percentile of what was timed."""
    names = {
        "ttft_s": "first token (s)",
        "end_to_end_s": "whole answer (s)",
        "tokens_per_s": "tokens per second",
    }
    table = found.latency[["p50", "p95", "p95_high", "answers"]].reset_index()
    table["measure"] = table["measure"].map(names)
    heads = ["model", "measure", "median", "95th percentile", "its upper end", "answers timed"]
    return table[table["answers"] > 0].set_axis(heads, axis=1)


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


def _gaps(rows):
    """Differences with their intervals, in points; empty for the reference."""
    return [
        "" if gap != gap else f"{100 * gap:+.1f} ({100 * least:+.1f} to {100 * most:+.1f})"
        for gap, least, most in rows[["difference", "low", "high"]].to_numpy(float)
    ]


def listed(names):
    """Names as a sentence has them.

    Examples
    --------
    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    names = list(names)
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
