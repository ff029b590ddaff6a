"""A worked distillation: a recorded model labels messages, a small classifier learns from the labels, and both are measured.

The task is to find the intent of a customer's message (data/examples/intents.csv). The embeddings of the messages by a small
open model are recorded. scikit-learn is imported when used.
"""

import numpy as np
import pandas as pd

from tierlab.core.paths import DATA
from tierlab.core.tables import TOKEN_COLUMNS, plain
from tierlab.core.vocabulary import known, needs
from tierlab.evaluate.scorers.text import choice
from tierlab.sampling.examples import Example, load_intents

TEACHER = "qwen2.5-coder-1.5b-instruct"
INTENTS = {
    "account_login": "sign in, password, locked account",
    "cancel_order": "call an order off",
    "change_address": "deliver to another address",
    "damaged_item": "an item came broken",
    "data_privacy": "personal data, deletion, newsletters",
    "discount_code": "a voucher or promotion code",
    "human_agent": "speak to a person",
    "invoice_request": "an invoice or receipt",
    "missing_or_wrong_item": "something was missing, or another item came",
    "order_status": "where an order is, when it comes",
    "payment_problem": "a payment failed or was taken wrongly",
    "product_question": "what a product is, can or fits",
    "refund_status": "when the money comes back",
    "return_item": "send an item back",
}
SYSTEM = (
    "Classify the customer's message. Reply with the name of one intent and nothing else. The intents:\n"
    + "\n".join(f"{intent}: {meaning}" for intent, meaning in INTENTS.items())
)  # data/samples/intents.csv was recorded with these words; others need a new recording
WORDS_S, EMBEDDING_S = 0.0022, 0.212  # seconds per message, recorded as `evaluate` says
EMBEDDINGS = DATA / "samples" / "intents_embeddings.npz"


def intent_examples(intents=None):
    """Return the messages as examples to run through models, worded as in the kit's own recording.

    Parameters
    ----------
    intents : DataFrame, optional
        Rows of `tierlab.load_intents`, by default all; the index numbers the examples.

    Returns
    -------
    tuple of Example
        Scored by `choice` among the 14 intents; at most 16 tokens of output.

    Raises
    ------
    ValueError
        If an intent is not one of `INTENTS`, which the system prompt explains.

    Examples
    --------
    >>> first = intent_examples()[0]
    >>> first.example_id, first.prompt, first.reference
    ('intent-000', 'where is my parcel', 'order_status')
    """
    intents = load_intents() if intents is None else intents
    for name in intents["intent"].unique():
        known("intent", name, INTENTS)
    args = {"scorer_args": {"options": list(INTENTS)}, "system": SYSTEM, "max_output_tokens": 16}
    return tuple(
        Example(
            f"intent-{row.Index:03d}",
            "intent_classification",
            row.text,
            "choice",
            row.intent,
            **args,
        )
        for row in intents.itertuples()
    )


def teacher_labels(samples, model=TEACHER, *, options=tuple(INTENTS)):
    """Return the label that a model gave to each message: the option that the scorer `choice` reads in its answer.

    Parameters
    ----------
    samples : DataFrame
        The samples table, such as ``tl.load_samples("intents")``.
    model : str
        Model id of the teacher.
    options : sequence of str
        Labels that may be given.

    Returns
    -------
    Series
        Indexed by prompt_id, named label; missing where there is no answer, or it does not name exactly one option. Count
        the missing ones (``labels.isna().sum()``) before you set them aside.

    Raises
    ------
    ValueError
        If the samples do not have the model, or have several of its answers to one message.

    Examples
    --------
    >>> samples = pd.DataFrame({"prompt_id": [1, 2], "model_id": "m", "answer": ["Refund.", "refund or bill"]})
    >>> teacher_labels(samples, "m", options=["refund", "bill"]).tolist()
    ['refund', nan]
    """
    known("model", model, samples["model_id"].unique())
    own = samples[samples["model_id"] == model].set_index("prompt_id")
    twice = own.index[own.index.duplicated()]
    if len(twice):
        raise ValueError(
            f"{model} has several answers to prompt {plain(twice[0])!r}; a label needs one"
        )

    def read(text):
        named = (each for each in options if choice(text, (), each, options=options).score)
        return next(named, np.nan)

    return own["answer"].astype(object).map(read, na_action="ignore").rename("label")


def random_errors(labels, rate, *, seed):
    """Replace a share of labels by others drawn at random: errors without a pattern, to compare with.

    Parameters
    ----------
    labels : Series
    rate : float
        Share 0-1 to replace, to the nearest whole label.
    seed : int

    Returns
    -------
    Series

    Examples
    --------
    >>> (random_errors(pd.Series(list("abcabcabca")), 0.3, seed=1) != list("abcabcabca")).sum()
    np.int64(3)
    """
    needs("rate", rate, 0 <= rate <= 1, "a share from 0 to 1")
    needs("labels", list(labels.unique()), labels.nunique() > 1, "another label to err with")
    rng, names, changed = np.random.default_rng(seed), labels.unique(), labels.copy()
    for place in rng.choice(len(labels), round(rate * len(labels)), replace=False):
        changed.iloc[place] = rng.choice(names[names != labels.iloc[place]])
    return changed


def train(texts, labels, *, vectorise=None, seed=0):
    """Train the student: a linear classifier on the words and letters of a text.

    Parameters
    ----------
    texts, labels : sequence of str
        Equally many; no label may be missing.
    vectorise : callable, optional
        Turns texts into an array (texts x numbers) of further features, such as
        `tierlab.reasoning.student.recorded_embeddings()`.
    seed : int

    Returns
    -------
    sklearn.pipeline.Pipeline
        With `predict` and `decision_function` on texts.

    Notes
    -----
    The features are word 1-2-grams and character 3-5-grams (sublinear tf-idf), as in the text router, and the
    standardised vectors; each of the three is scaled to length 1. The classifier is a linear support vector machine
    (C = 1) that weighs each class by the inverse of its frequency, because a teacher favours some labels. It was chosen by
    five-fold cross-validation on the training messages alone, over ridge, logistic regression, naive Bayes and nearest
    centroid.

    Examples
    --------
    >>> str(train(["my parcel is late", "I want my money back"], ["late", "refund"]).predict(["late again"])[0])
    'late'
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler
    from sklearn.svm import LinearSVC

    labels = np.asarray(labels, object)
    missing = int(pd.isna(labels).sum())
    if missing:
        raise ValueError(
            f"{missing:,} of {len(labels):,} labels are missing; set those messages aside first"
        )
    features = [
        TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b", ngram_range=(1, 2)),
        TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(3, 5)),
    ]
    if vectorise is not None:
        features.append(
            make_pipeline(FunctionTransformer(vectorise), StandardScaler(), Normalizer())
        )
    classifier = LinearSVC(class_weight="balanced", random_state=seed)
    return make_pipeline(make_union(*features), classifier).fit(list(texts), labels)


def evaluate(classifier, test, *, model_id, usd_per_hour=0.05, seconds_per_request=WORDS_S):
    """Let a student answer, and score it as any tier is scored.

    Parameters
    ----------
    classifier : object
        From `train`.
    test : DataFrame
        text and intent, indexed by prompt_id, of messages that it was not trained on.
    model_id : str
        Name of the student in the table, such as "student (442 labels)".
    usd_per_hour : float
        Price of the machine; by default that of the recorded models.
    seconds_per_request : float
        Time for which one request keeps the machine busy; the default was recorded (see Notes).

    Returns
    -------
    DataFrame
        A samples table for `tierlab.compare` beside the recorded models, with `sureness`: how far the best class is
        ahead of the second in the classifier's own units. A router may pass on what the student is not sure of.

    Notes
    -----
    `WORDS_S` is the median of 1,000 predictions of one message each by the student of all labels (95th percentile 0.007 s).
    `EMBEDDING_S` adds the median time of embedding each of the 646 messages (95th percentile 0.47 s). Both were measured
    on one thread of a busy 2-core x86-64 machine, 2026-11-25. They are upper bounds, as the recorded models' times are.
    """
    answers = classifier.predict(test["text"])
    ahead = np.sort(classifier.decision_function(test["text"]), axis=1)
    tokens = dict.fromkeys((*TOKEN_COLUMNS, "reasoning_tokens"), 0)
    columns = {
        "prompt_id": test.index,
        "model_id": model_id,
        "repeat": 0,
        "task": "intent_classification",
        "prompt": test["text"].to_numpy(),
        "prompt_chars": test["text"].str.len().to_numpy(),
        "answer": answers,
        "score": (answers == test["intent"].to_numpy()).astype(float),
        "status": "ok",
        "attempts": 1,
        **tokens,
        "end_to_end_s": seconds_per_request,
        "cost_usd": seconds_per_request * usd_per_hour / 3600,
        "source": "recorded",
        "provenance": f"scikit-learn; {seconds_per_request} s a request at {usd_per_hour} USD per hour of the machine",
        "sureness": ahead[:, -1] - ahead[:, -2],
    }
    return pd.DataFrame(columns)


def learning_curve(
    training, test, *, columns, sizes=(50, 100, 200), draws=5, vectorise=None, seed=0
):
    """Measure how good a student becomes with the number of labels, by who gave the labels.

    Each draw takes the same messages for every column, so that only the labels differ. The last size is always all.

    Parameters
    ----------
    training : DataFrame
        text, and the columns with labels. Messages that lack a label in any of these are set aside and counted.
    test : DataFrame
        text and intent.
    columns : sequence of str
        Columns of `training` with labels, such as ``("intent", "teacher")``.
    sizes : sequence of int
        Numbers of labels below all.
    draws : int
        Random selections of each size; the last size, all, has one.
    vectorise : callable, optional
        As for `train`.
    seed : int

    Returns
    -------
    DataFrame
        labelled_by, labels (number), score (mean of the draws, 0-1, against the intent), low and high (lowest and highest
        of the draws), draws, set_aside (messages).

    Raises
    ------
    ValueError
        If a size is not between 2 and one less than all, or a message is in both parts.
    """
    both = set(training["text"]) & set(test["text"])
    if both:
        raise ValueError(
            f"{len(both):,} test messages are in the training part; first {min(both)!r}"
        )
    rows = training.dropna(subset=list(columns))
    allowed = f"a number of labels from 2 to {len(rows) - 1:,}"
    for size in sizes:
        needs("size", size, 2 <= size < len(rows), allowed)
    rng, truth, found = np.random.default_rng(seed), test["intent"].to_numpy(), []
    for size in (*sorted(sizes), len(rows)):
        for _ in range(draws if size < len(rows) else 1):
            drawn = rows.iloc[np.sort(rng.permutation(len(rows))[:size])]
            for column in columns:
                classifier = train(drawn["text"], drawn[column], vectorise=vectorise, seed=seed)
                right = np.mean(classifier.predict(test["text"]) == truth)
                found.append((column, size, right))
    scores = pd.DataFrame(found, columns=["labelled_by", "labels", "score"])
    groups = scores.groupby(["labelled_by", "labels"], sort=False)["score"]
    table = groups.agg(score="mean", low="min", high="max", draws="size").reset_index()
    return table.assign(set_aside=len(training) - len(rows))


def recorded_embeddings(path=EMBEDDINGS):
    """Return the recorded embeddings of the messages of `tierlab.load_intents`.

    They are the means of the last hidden states of SmolLM2-135M-Instruct.

    Parameters
    ----------
    path : path

    Returns
    -------
    callable
        Turns texts into an array (texts x 576), for `train`. It refuses a text that was not recorded.

    Notes
    -----
    Each of the 576 numbers is stored in 255 steps between its least and its greatest value over the messages.
    """
    with np.load(path) as file:
        values = file["step"] * file["scale"] + file["offset"]
        vectors = dict(zip(file["text"].tolist(), values, strict=True))

    def vectorise(texts):
        missing = [text for text in texts if text not in vectors]
        if missing:
            count = f"{len(missing):,} texts have no recorded embedding"
            raise ValueError(f"{count}; first {missing[0]!r}")
        return np.array([vectors[text] for text in texts])

    return vectorise
