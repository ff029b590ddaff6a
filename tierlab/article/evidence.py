"""Rules on evidence: scores of recorded answers, how many answers a decision takes, and who offers what."""

import json
from functools import lru_cache

import pandas as pd

from tierlab.article.basis import find_models, metric
from tierlab.core.paths import DATA

# Stand-ins for a small, a middle and a large model (data/samples/README.md), not the providers' own.
STAND_INS = {
    "small stand-in": "smollm2-135m-instruct",
    "middle stand-in": "qwen2.5-coder-0.5b-instruct",
    "large stand-in": "qwen2.5-coder-1.5b-instruct",
}
MEASURED = "data/measured.csv: recorded answers of public data sets"
RECORDED = "data/samples/open_models.csv: recorded answers of three open models"
CONFIDENCE = 0.95


def load_measured(path=DATA / "measured.csv"):
    """data/measured.csv by name: value, unit, source, how."""
    return pd.read_csv(path).set_index("name")


@metric(source=MEASURED)
def measured(basis, names):
    """Numbers of data/measured.csv: computed from public data by this kit, and checked against it by a test."""
    return load_measured()["value"].loc[names.split("|")]


@metric(source=MEASURED)
def rank_per_usd(basis, tier):
    """Rank of a tier by recorded score per dollar; 1 is the most."""
    values = load_measured()["value"]
    values = values[values.index.str.startswith("points_per_usd_")]
    return float((values > values[f"points_per_usd_{tier}"]).sum() + 1)


@metric(source=MEASURED)
def examples_needed(basis, margin, disagreement):
    """Examples that show "not worse by more than the margin" of two equally good models that disagree as measured."""
    from tierlab.evaluate.planning import required_examples

    shares = load_measured()["value"].loc[disagreement.split("|")]
    return shares.map(
        lambda share: float(required_examples(margin=float(margin), discordant=share))
    )


@metric(source=RECORDED)
def recorded_gap(basis, column, values):
    """Score of the small stand-in minus the large one's on the same recorded examples, with its 95% interval."""
    answers = _recorded()
    answers = answers[answers[column].isin(values.split("|"))]
    return _difference(answers, STAND_INS["small stand-in"], STAND_INS["large stand-in"])


@metric(
    source="data/samples/intents.csv: recorded answers of the teacher; the student was trained on them"
)
def distilled_gap(basis):
    """Score of a small classifier trained on the large stand-in's labels minus its teacher's own, on held-out messages."""
    return _distilled()


@metric(source=RECORDED)
def recorded_tool_calls(basis):
    """Share of right tool calls of each stand-in, on the recorded examples that want a call."""
    examples = [
        json.loads(line)
        for line in (DATA / "examples" / "examples.jsonl").read_text("utf-8").splitlines()
    ]
    wanted = [
        example["example_id"]
        for example in examples
        if example["scorer"] == "tool_call" and _calls(example["reference"])
    ]
    rows = _recorded()
    rows = (
        rows[rows["prompt_id"].isin(wanted) & rows["score"].notna()]
        .groupby("model_id")["score"]
        .agg(["mean", "size"])
    )
    return pd.Series(
        {
            f"{name} (of {rows['size'][model]})": rows["mean"][model]
            for name, model in STAND_INS.items()
        }
    )


@metric(source="data/fine_tuning.csv: what the providers' pages say, dated")
def tunable(basis, models, on):
    """1 for each model that its provider, or a platform for it, lets somebody tune on a day; else 0."""
    from tierlab.reasoning.distillation import who_offers

    offers = who_offers(on)
    names = {
        name
        for models in offers.loc[offers["offered"] != "no", "models"]
        for name in models.split(", ")
    }
    return pd.Series({model: float(model in names) for model in find_models(basis.prices, models)})


@lru_cache
def _distilled():
    from tierlab.reasoning.student import (
        TEACHER,
        evaluate,
        intent_examples,
        recorded_embeddings,
        teacher_labels,
        train,
    )
    from tierlab.sampling.examples import load_intents
    from tierlab.sampling.samples import load_samples

    answers, messages = load_samples("intents"), load_intents()
    messages.index = [example.example_id for example in intent_examples(messages)]
    test = messages[messages["split"] == "test"]
    lessons = messages.drop(test.index).assign(label=teacher_labels(answers)).dropna(subset="label")
    classifier = train(lessons["text"], lessons["label"], vectorise=recorded_embeddings())
    student = evaluate(classifier, test, model_id="student")
    own = answers[(answers["model_id"] == TEACHER) & answers["prompt_id"].isin(test.index)]
    return _difference(pd.concat([student, own]), "student", TEACHER)


def _difference(samples, model, reference):
    """Mean score of a model minus a reference's on the examples that both have a score on, with its 95% interval."""
    from tierlab.evaluate.intervals import paired_interval
    from tierlab.evaluate.rows import paired, scored_rows

    pair = paired(scored_rows(samples), model, reference)
    low, high = paired_interval(pair.differences, pair.clusters, binary=pair.binary)[1](CONFIDENCE)
    found = {f"on {len(pair.differences)} examples": pair.differences.mean()}
    return pd.Series(found | {"interval from": low, "interval to": high})


@lru_cache
def _recorded():
    from tierlab.sampling.samples import load_samples

    return load_samples("open_models")


def _calls(reference):
    """Whether a reference asks for a call at all."""
    return any(
        call.get("name") for call in (reference if isinstance(reference, list) else [reference])
    )
