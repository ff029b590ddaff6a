"""The worked distillation: prompts as recorded, labels as scored, students as scikit-learn has them, and no test text in training."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.metrics import cohen_kappa_score
from sklearn.svm import LinearSVC

import tierlab as tl
from tierlab.evaluate.scorers.judge import judge_agreement
from tierlab.reasoning import student
from tierlab.reasoning import student as reasoning_student

# Of the system prompt that the recording's own store holds with each of its 1,038 calls.
RECORDED_SYSTEM = "06450159508439e29337c76b6e77346799255e1fc7b77a76a86b2f9cb2943eca"


@pytest.fixture(scope="module")
def samples():
    return tl.load_samples("intents")


@pytest.fixture(scope="module")
def intents(samples):
    table = tl.load_intents()
    table.index = pd.Index(
        [each.example_id for each in student.intent_examples()], name="prompt_id"
    )
    table["teacher"] = student.teacher_labels(samples)
    return table


@pytest.fixture(scope="module")
def train(intents):
    return intents[intents["split"] == "train"]


@pytest.fixture(scope="module")
def test(intents):
    return intents[intents["split"] == "test"]


@pytest.fixture(scope="module")
def vectorise():
    return reasoning_student.recorded_embeddings()


def reference_answers(texts, labels, asked, *, vectorise=None, seed=0):
    """The student's answers from counts, weights and blocks put together here."""
    blocks, asked_blocks = [], []
    for kind in (
        {"token_pattern": r"(?u)\b\w+\b", "ngram_range": (1, 2)},
        {"analyzer": "char_wb", "ngram_range": (3, 5)},
    ):
        counts = CountVectorizer(**kind).fit(texts)
        weights = TfidfTransformer(sublinear_tf=True).fit(counts.transform(texts))
        blocks.append(weights.transform(counts.transform(texts)))
        asked_blocks.append(weights.transform(counts.transform(asked)))
    if vectorise is not None:
        known, new = vectorise(texts), vectorise(asked)
        known, new = ((each - known.mean(0)) / known.std(0) for each in (known, new))
        blocks.append(known / np.linalg.norm(known, axis=1, keepdims=True))
        asked_blocks.append(new / np.linalg.norm(new, axis=1, keepdims=True))
    machine = LinearSVC(class_weight="balanced", random_state=seed).fit(
        sparse.hstack(blocks).tocsr(), labels
    )
    return machine.predict(sparse.hstack(asked_blocks).tocsr())


def test_the_examples_ask_what_was_recorded(samples):
    examples = {each.example_id: each for each in student.intent_examples()}
    asked = samples.drop_duplicates("prompt_id").set_index("prompt_id")["prompt"]
    assert asked.to_dict() == {name: example.prompt for name, example in examples.items()}
    assert {hashlib.sha256(each.system.encode()).hexdigest() for each in examples.values()} == {
        RECORDED_SYSTEM
    }
    assert {each.max_output_tokens for each in examples.values()} == {16}
    answered = samples[samples["status"] == "ok"]
    again = [
        tl.score_example(examples[row.prompt_id], row.answer).score for row in answered.itertuples()
    ]
    assert again == answered["score"].tolist() and 0 < np.mean(again) < 1


def test_each_model_answered_the_part_that_the_readme_says(samples, intents, test):
    asked = samples.groupby("model_id")["prompt_id"].agg(list).map(sorted).to_dict()
    assert asked.pop(student.TEACHER) == sorted(intents.index)
    assert asked == dict.fromkeys(
        ["qwen2.5-coder-0.5b-instruct", "smollm2-135m-instruct"], sorted(test.index)
    )
    assert (
        set(samples["source"]) == {"recorded"}
        and samples["provenance"].str.contains("prompt cache on.*upper bounds").all()
    )
    cost = (
        samples["end_to_end_s"] * 0.05 / 3600
    )  # the machine's price for the time that an answer took
    assert np.allclose(samples["cost_usd"], cost, rtol=1e-3)


def test_a_part_of_the_messages_keeps_its_ids_and_the_whole_prompt(test):
    part = tl.load_intents().query("split == 'test' and intent == 'refund_status'")
    examples = student.intent_examples(part)
    whole = {each.example_id: each for each in student.intent_examples()}
    assert examples and list(examples) == [whole[each.example_id] for each in examples]
    assert {each.example_id for each in examples} <= set(test.index)


def test_an_intent_without_a_meaning_is_refused():
    with pytest.raises(
        ValueError, match=r"unknown intent 'refund_state'; did you mean 'refund_status'\?"
    ):
        student.intent_examples(pd.DataFrame({"text": ["hm"], "intent": ["refund_state"]}))


def test_a_label_is_right_where_the_answer_is(samples, intents):
    own = samples[samples["model_id"] == student.TEACHER].set_index("prompt_id")
    equal = (intents["teacher"] == intents["intent"]).astype(float)
    pd.testing.assert_series_equal(own["score"], equal.reindex(own.index), check_names=False)
    unread = own["score_reason"].str.contains("none of the options|names two|names \\d+ options")
    assert intents["teacher"].isna().reindex(own.index).tolist() == unread.tolist() and unread.any()
    assert set(intents["teacher"].dropna()) <= set(intents["intent"])


def test_labels_of_no_model_or_of_several_answers_are_refused(samples):
    with pytest.raises(
        ValueError,
        match=r"unknown model 'smollm2-135m-instruc'; did you mean 'smollm2-135m-instruct'\?",
    ):
        student.teacher_labels(samples, "smollm2-135m-instruc")
    with pytest.raises(ValueError, match="several answers to prompt 1"):
        student.teacher_labels(
            pd.DataFrame({"prompt_id": [1, 1], "model_id": "m", "answer": ["a", "b"]}), "m"
        )


def test_a_missing_answer_gives_no_label():
    samples = pd.DataFrame(
        {"prompt_id": [1, 2, 3], "model_id": "m", "answer": [None, "refund_status.", "no idea"]}
    )
    assert student.teacher_labels(samples, "m").fillna("-").to_dict() == {
        1: "-",
        2: "refund_status",
        3: "-",
    }


@pytest.mark.parametrize("sees", ["words", "words and embedding"])
def test_the_student_is_the_classifier_of_its_notes(train, test, vectorise, sees):
    vectorise, kept = None if sees == "words" else vectorise, train.dropna(subset="teacher")
    texts, labels, asked = list(kept["text"]), list(kept["teacher"]), list(test["text"])
    own = student.train(texts, labels, vectorise=vectorise, seed=3).predict(asked)
    assert (
        own.tolist()
        == reference_answers(texts, labels, asked, vectorise=vectorise, seed=3).tolist()
    )


def test_missing_labels_do_not_train():
    with pytest.raises(ValueError, match="1 of 3 labels are missing"):
        student.train(["a", "b", "c"], ["x", np.nan, "y"])


def test_a_student_is_scored_as_a_tier(train, test, samples):
    kept = train.dropna(subset="teacher")
    classifier = student.train(kept["text"], kept["teacher"])
    table = student.evaluate(
        classifier, test, model_id="student", usd_per_hour=3.6, seconds_per_request=0.5
    )
    assert (table["score"] == (table["answer"].to_numpy() == test["intent"].to_numpy())).all()
    assert set(table["cost_usd"]) == {0.0005} and set(table["end_to_end_s"]) == {
        0.5
    }  # 0.5 s at a thousandth of a dollar each
    examples = student.intent_examples(tl.load_intents().query("split == 'test'"))
    by_scorer = [
        tl.score_example(each, answer).score
        for each, answer in zip(examples, table["answer"], strict=True)
    ]
    assert table["score"].tolist() == by_scorer
    both = pd.concat([samples[samples["prompt_id"].isin(test.index)], table], ignore_index=True)
    found = tl.compare(both, reference=student.TEACHER, margin=0.1, truncated="wrong")
    assert found.candidates.loc["student", "score"] == np.mean(by_scorer)
    assert found.pairs.loc["student", "examples"] == len(test) and found.costs.loc[
        "student", "per_request"
    ] == pytest.approx(0.0005)


def test_sureness_is_the_lead_over_the_second_class(train, test):
    classifier = student.train(train["text"], train["intent"])
    table = student.evaluate(classifier, test, model_id="student")
    values = pd.DataFrame(classifier.decision_function(test["text"]), columns=classifier.classes_)
    second = [
        row.drop(answer).max()
        for (_, row), answer in zip(values.iterrows(), table["answer"], strict=True)
    ]
    first = [
        row[answer] for (_, row), answer in zip(values.iterrows(), table["answer"], strict=True)
    ]
    assert (
        np.allclose(table["sureness"], np.subtract(first, second)) and (table["sureness"] > 0).all()
    )


def test_agreement_with_the_teacher_is_scikit_learns_kappa(train, test):
    answers = student.train(train["text"], train["intent"]).predict(test["text"])
    found = judge_agreement(answers, test["teacher"])
    known = test["teacher"].notna().to_numpy()
    assert found.unread == (~known).sum() and found.n == known.sum()
    assert found.kappa == pytest.approx(cohen_kappa_score(answers[known], test["teacher"][known]))


def test_no_test_message_is_trained_on(train, test):
    assert not set(train["text"]) & set(test["text"]) and not set(train.index) & set(test.index)
    leaky = pd.concat([train, test.iloc[:1]])
    with pytest.raises(ValueError, match="1 test messages are in the training part"):
        student.learning_curve(leaky, test, columns=["intent"])


def test_shuffled_labels_teach_nothing(train, test):
    rng = np.random.default_rng(5)
    most = stats.binom.ppf(0.9999, len(test), 1 / test["intent"].nunique()) / len(test)
    for _ in range(3):
        answers = student.train(train["text"], rng.permutation(train["intent"])).predict(
            test["text"]
        )
        assert (answers == test["intent"]).mean() <= most
    kept = train.dropna(subset="teacher")
    assert (
        student.train(kept["text"], kept["teacher"]).predict(test["text"]) == test["intent"]
    ).mean() > most


def test_the_curve_ends_at_the_student_of_all_labels(train, test):
    curve = student.learning_curve(train, test, columns=("intent", "teacher"), sizes=(40,), draws=3)
    kept = train.dropna(subset="teacher")
    assert set(curve["set_aside"]) == {len(train) - len(kept)} and len(train) > len(kept)
    assert curve["labels"].tolist() == [40, 40, len(kept), len(kept)] and curve[
        "draws"
    ].tolist() == [3, 3, 1, 1]
    ends = curve[curve["labels"] == len(kept)].set_index("labelled_by")
    for column, row in ends.iterrows():
        table = student.evaluate(student.train(kept["text"], kept[column]), test, model_id=column)
        assert row["score"] == row["low"] == row["high"] == table["score"].mean()
    small = curve[curve["labels"] == 40]
    assert (small["low"] <= small["score"]).all() and (small["score"] <= small["high"]).all()
    assert (small["low"] < small["high"]).any()


def test_a_draw_takes_the_same_messages_for_every_column(train, test):
    twins = train.assign(again=train["intent"])
    curve = student.learning_curve(
        twins, test, columns=("intent", "again"), sizes=(30, 60), draws=2, seed=8
    )
    first, second = (
        curve[curve["labelled_by"] == name].drop(columns="labelled_by")
        for name in ("intent", "again")
    )
    assert first.to_numpy().tolist() == second.to_numpy().tolist()


def test_the_seed_makes_the_curve(train, test):
    def curve(seed):
        return student.learning_curve(
            train.iloc[::4], test, columns=["intent"], sizes=(30,), draws=3, seed=seed
        )

    pd.testing.assert_frame_equal(curve(1), curve(1))
    assert curve(1)["score"].iloc[0] != curve(2)["score"].iloc[0]


@pytest.mark.parametrize("size", [1, 450, 1000])
def test_sizes_out_of_reach_are_refused(train, test, size):
    with pytest.raises(ValueError, match=f"size={size}; a number of labels from 2 to 449"):
        student.learning_curve(train, test, columns=["intent"], sizes=(size,))


@given(
    st.lists(st.sampled_from("abcd"), min_size=2, max_size=30).filter(
        lambda each: len(set(each)) > 1
    ),
    st.floats(0, 1),
    st.integers(0, 99),
)
@settings(max_examples=60)
def test_random_errors_spoil_the_share_that_is_asked(labels, rate, seed):
    labels = pd.Series(labels)
    spoilt = student.random_errors(labels, rate, seed=seed)
    assert (spoilt != labels).sum() == round(rate * len(labels)) and set(spoilt) <= set(labels)


def test_random_errors_leave_the_labels_alone_and_need_two():
    labels = pd.Series(list("ababab"))
    student.random_errors(labels, 1, seed=0)
    assert labels.tolist() == list("ababab")
    with pytest.raises(ValueError, match=r"rate=1.2; a share from 0 to 1"):
        student.random_errors(labels, 1.2, seed=0)
    with pytest.raises(ValueError, match=r"labels=\['a'\]; another label to err with"):
        student.random_errors(pd.Series(list("aaa")), 0.5, seed=0)


def test_embeddings_are_those_of_the_messages(vectorise):
    texts = tl.load_intents()["text"]
    vectors = vectorise(texts)
    assert vectors.shape == (646, 576) and np.isfinite(vectors).all()
    assert len(np.unique(vectors, axis=0)) == len(texts)
    assert (vectorise(texts[::-1]) == vectors[::-1]).all()
    with pytest.raises(
        ValueError, match=r"1 texts have no recorded embedding; first 'where is my cat'"
    ):
        vectorise([texts[0], "where is my cat"])
