"""A router trained on your own outcomes, from the text of the request alone: no download, no embedding call.

It predicts the gain (strong score minus weak score) and ranks requests by it. scikit-learn is imported only when used.
"""

import re
import warnings
from dataclasses import dataclass, field
from operator import methodcaller

import numpy as np
import pandas as pd

from tierlab.core.format import counted
from tierlab.core.tables import plain
from tierlab.routing.policies import Choice, Policy, need, pick, request_key
from tierlab.routing.route import pair_outcomes

FEWEST_EXAMPLES = 300
_COUNTS_WEIGHT = 0.05
_HASHED = 2**18  # columns of words, and of characters
_NUMBER = re.compile(r"\d[\d,]*\.?\d*")
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, eq=False)
class TextRouter(Policy):
    """A trained router as a policy: the strong model where the predicted gain reaches a threshold.

    Attributes
    ----------
    weak, strong : str
        Model ids or tiers, as the policy names them.
    threshold : float
        Predicted gain (score points, 0-1) from which the strong model is asked. ``dataclasses.replace`` sets
        another one, such as that of `tierlab.routing.verdict.calibrate_threshold`.
    examples : int
        Number of prompts that it was trained on.
    model : object
        The fitted scikit-learn pipeline.
    """

    weak: str
    strong: str
    threshold: float
    examples: int
    model: object = field(repr=False)

    def _first(self, features):
        prompts = need(features, "prompt", self)
        gains = self.model.predict(_encode(np.atleast_1d(prompts)))
        harder = (gains >= self.threshold).astype(int).reshape(np.shape(prompts))[()]
        reasons = [f"predicted gain {side} {self.threshold:.4g}" for side in ("below", "from")]
        return Choice(pick((self.weak, self.strong), harder), pick(reasons, harder))


def train_text_router(outcomes, *, weak, strong, threshold=None):
    """Train a router on the outcomes of two models.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table, with the column `prompt`.
    weak, strong : str
        Model ids or tiers.
    threshold : float, optional
        Predicted gain from which the strong model is asked; by default the mean gain of the training prompts.

    Returns
    -------
    TextRouter

    Raises
    ------
    ValueError
        If the text of a prompt is missing.

    Warns
    -----
    UserWarning
        If there are fewer than 300 prompts; trained on 50, such a router can be worse than a random mix.

    Notes
    -----
    The model is a ridge regression (alpha 10) on word 1-2-grams and character 3-5-grams, hashed into 2^18 columns each
    (sublinear tf-idf), and on 14 counts of the text (length, numbers, punctuation) at a weight of 0.05. It was chosen once
    on the two RouteLLM sets, where alpha from 3 to 10 and either kind of n-gram alone stay within 0.02 of its APGR. Out
    of fold it has an APGR near 0.66 on their GSM8K; the best published for that pair, 0.622 as coded (Ong et al., arXiv
    2406.18665), was trained on other prompts, which is the harder task.
    """
    examples = _examples(outcomes, weak, strong)
    gains = examples["gain"].to_numpy()
    _warn_few(len(gains))
    cut = float(gains.mean()) if threshold is None else float(threshold)
    model = _gain_model().fit(_encode(examples["text"]), gains)
    return TextRouter(weak, strong, cut, len(gains), model)


def out_of_fold_gain(outcomes, *, weak, strong, seed, folds=5):
    """Predict the gain of every prompt with a router that was trained without it.

    Prompts of equal text are in one fold, so that a repeated question cannot give itself away.

    Parameters
    ----------
    outcomes, weak, strong
        As for `train_text_router`.
    seed : int
        Deals the prompts to the folds; which prompts go together depends only on their text and the seed.
    folds : int
        From 2 to the number of different prompts.

    Returns
    -------
    Series
        Predicted gain, indexed by prompt_id, named predicted_gain.

    Warns
    -----
    UserWarning
        As `train_text_router`, for the prompts that train each fold.
    """
    from sklearn.model_selection import PredefinedSplit, cross_val_predict

    examples = _examples(outcomes, weak, strong)
    texts, gains = examples["text"], examples["gain"].to_numpy()
    split = PredefinedSplit(_folds(texts, folds, seed))
    _warn_few(int(len(texts) * (1 - 1 / folds)))
    predicted = cross_val_predict(_gain_model(), _encode(texts), gains, cv=split)
    return pd.Series(predicted, examples.index, name="predicted_gain")


def _counts(text):
    """Return fourteen numbers of a text: logarithms of lengths and of how often marks and numbers occur."""
    words = _WORD.findall(text)
    numbers = [float(found.replace(",", "")) for found in _NUMBER.findall(text)]
    sizes = [
        len(text),
        len(words),
        len(numbers),
        len(set(numbers)),
        max(numbers, default=0.0),
        sum(not letter.isalnum() and not letter.isspace() for letter in text),
        sum(letter in ".?!" for letter in text),
        text.count("\n"),
        text.count(","),
        sum(letter.isupper() for letter in text),
        sum(value % 1 != 0 for value in numbers),
        text.count("?"),
        sum(letter in "%$/" for letter in text),
    ]
    return [*np.log1p(sizes), len({word.lower() for word in words}) / max(1, len(words))]


def _encode(texts):
    """Encode each text as counts, hashed words and hashed characters side by side, which needs no training."""
    from scipy import sparse
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = {"n_features": _HASHED, "alternate_sign": False, "norm": None}
    # in arithmetic a single digit is a word, so the default pattern of at least two characters does not do
    words = HashingVectorizer(token_pattern=r"(?u)\b\w+\b", ngram_range=(1, 2), **hashing)
    letters = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), **hashing)
    counts = np.array([_counts(text) for text in texts])
    return sparse.hstack([counts, words.transform(texts), letters.transform(texts)], format="csr")


def _gain_model():
    """Return a ridge regression on scaled counts, lightly weighted, and the tf-idf of words and of characters."""
    from sklearn.compose import ColumnTransformer
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    dense = FunctionTransformer(methodcaller("toarray"), accept_sparse=True)
    tfidf = TfidfTransformer(sublinear_tf=True)
    parts = [
        ("counts", make_pipeline(dense, StandardScaler()), slice(0, -2 * _HASHED)),
        ("words", tfidf, slice(-2 * _HASHED, -_HASHED)),
        ("letters", tfidf, slice(-_HASHED, None)),
    ]
    weights = {"counts": _COUNTS_WEIGHT}
    scaled = ColumnTransformer(parts, transformer_weights=weights, sparse_threshold=1)
    return make_pipeline(scaled, Ridge(alpha=10.0, solver="lsqr", tol=1e-4))


def _examples(outcomes, weak, strong):
    """Return the text and gain of the prompts in the order of their ids, so that the order of rows changes nothing."""
    if "prompt" not in outcomes:
        raise ValueError("training needs the text of each prompt, column 'prompt'")
    grid = pair_outcomes(outcomes, [weak, strong])
    texts = grid.table["prompt"].to_numpy(object)[grid.rows[:, 0]]
    gains = grid.values("score", strong) - grid.values("score", weak)
    examples = pd.DataFrame({"text": texts, "gain": gains}, grid.prompts).sort_index()
    missing = examples.index[examples["text"].isna()]
    if len(missing):
        raise ValueError(
            f"no text for {counted(len(missing), 'prompt')}; first {plain(missing[0])!r}"
        )
    return examples


def _folds(texts, folds, seed):
    """Return the fold of each text, dealt out in the order of a key of text and seed."""
    codes, different = pd.factorize(texts.astype(str))
    if not 2 <= folds <= len(different):
        raise ValueError(
            f"folds={folds!r}; give a number from 2 to that of the different prompts ({len(different):,})"
        )
    keys = request_key([f"{seed}:{text}" for text in different])
    return (keys.argsort().argsort() % folds)[codes]


def _warn_few(examples):
    if examples < FEWEST_EXAMPLES:
        warnings.warn(
            f"only {examples:,} labelled examples train this router; with fewer than {FEWEST_EXAMPLES} "
            "it can be worse than a random mix",
            stacklevel=3,
        )
