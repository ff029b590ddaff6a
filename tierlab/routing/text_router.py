"""A router trained on your own outcomes, from the text of the request alone: no download, no embedding call.

It predicts the gain, strong score minus weak score, and ranks requests by it. scikit-learn is imported when used.
"""

import re
import warnings
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tierlab.routing.policies import Choice, Policy, need, pick, request_key
from tierlab.routing.route import pair_outcomes

FEWEST_EXAMPLES = 300
_COUNTS_WEIGHT = 0.05
_NUMBER = re.compile(r"\d[\d,]*\.?\d*")
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, eq=False)
class TextRouter(Policy):
    """A trained router as a policy: the strong model where the predicted gain reaches a threshold.

    Attributes
    ----------
    weak, strong : str
        Models as the policy names them.
    threshold : float
        Predicted gain (score points, 0-1) from which the strong model is asked; ``dataclasses.replace`` sets
        another, which `tierlab.routing.verdict.calibrate_threshold` finds.
    examples : int
        Prompts it was trained on.
    """

    weak: str
    strong: str
    threshold: float
    examples: int
    model: object = field(repr=False)

    def gain(self, prompts):
        """Predicted gain of the strong model for each text, in points of score."""
        return self.model.predict(self.model.encode(prompts))

    def _first(self, features):
        prompts = need(features, "prompt", self)
        one = np.ndim(prompts) == 0
        harder = self.gain([prompts] if one else prompts) >= self.threshold
        harder = harder[0] if one else harder
        reasons = [f"predicted gain {side} {self.threshold:.4g}" for side in ("below", "from")]
        return Choice(
            pick((self.weak, self.strong), harder.astype(int)), pick(reasons, harder.astype(int))
        )


def train_text_router(outcomes, *, weak, strong, threshold=None, vectorise=None):
    """Train a router on outcomes of both models.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table with `prompt`.
    weak, strong : str
        Model ids or tiers.
    threshold : float, optional
        Predicted gain from which the strong model is asked; by default the mean gain of the training prompts.
    vectorise : callable, optional
        Texts -> array (prompts x numbers) in place of the default features, such as sentence embeddings.

    Returns
    -------
    TextRouter

    Warns
    -----
    UserWarning
        Under 300 prompts: with 50 such a router can be worse than a random mix.

    Notes
    -----
    Word 1-2-grams and character 3-5-grams hashed into 2^18 columns each (sublinear tf-idf), beside 14 counts of
    the text (length, numbers, punctuation) at a weight of 0.05; ridge regression with alpha 10. Chosen once on
    the two RouteLLM sets, where alpha from 3 to 10 and either kind of n-gram alone stay within 0.02 of its APGR. Out
    of fold it has an APGR near 0.66 on their GSM8K; the best published for that pair, 0.622 as coded (Ong et al., arXiv
    2406.18665), was trained on other prompts, which is the harder task.
    """
    texts, gains = _examples(outcomes, weak, strong)
    _warn_few(len(texts))
    cut = float(gains.mean()) if threshold is None else float(threshold)
    model = _GainModel(vectorise)
    return TextRouter(weak, strong, cut, len(texts), model.fit(model.encode(texts), gains))


def out_of_fold_gain(outcomes, *, weak, strong, seed, folds=5, vectorise=None):
    """Predicted gain of every prompt by a router that was trained without it.

    Prompts of equal text are in one fold, so that a repeated question cannot give itself away.

    Parameters
    ----------
    outcomes, weak, strong, vectorise
        As for `train_text_router`.
    seed : int
        Deals the prompts to the folds; which prompts are dealt together depends on their text and the seed alone.
    folds : int

    Returns
    -------
    Series
        Predicted gain, indexed by prompt_id, named predicted_gain.

    Warns
    -----
    UserWarning
        As `train_text_router`, by the prompts that train each fold.
    """
    texts, gains, ids = _examples(outcomes, weak, strong, with_ids=True)
    fold = _folds(texts, folds, seed)
    _warn_few(int(np.floor(len(texts) * (1 - 1 / folds))))
    model, result = _GainModel(vectorise), np.empty(len(texts))
    parts = model.encode(texts)
    for number in range(folds):
        held = fold == number
        model.fit([part[~held] for part in parts], gains[~held])
        result[held] = model.predict([part[held] for part in parts])
    return pd.Series(result, index=ids, name="predicted_gain")


def text_counts(texts):
    """Fourteen counts of each text: logarithms of lengths and of how often marks and numbers occur.

    Examples
    --------
    >>> text_counts(["What is 2 + 2?"]).shape
    (1, 14)
    """
    return np.array([_counts(text) for text in texts])


def _counts(text):
    words = _WORD.findall(text)
    numbers = [float(found.replace(",", "")) for found in _NUMBER.findall(text)]
    marks = sum(not c.isalnum() and not c.isspace() for c in text)
    sizes = (
        *(len(text), len(words), len(numbers), len(set(numbers)), max(numbers, default=0.0), marks),
        *(
            sum(c in ".?!" for c in text),
            text.count("\n"),
            text.count(","),
            sum(c.isupper() for c in text),
        ),
        *(sum(value % 1 != 0 for value in numbers), text.count("?"), sum(map(text.count, "%$/"))),
    )
    return [*np.log1p(sizes), len({word.lower() for word in words}) / max(1, len(words))]


class _GainModel:
    """Ridge regression on the features of texts; hashing needs no training, so it is done once for all folds."""

    def __init__(self, vectorise=None):
        self.vectorise = vectorise

    def encode(self, texts):
        if self.vectorise is not None:
            return [np.asarray(self.vectorise(list(texts)), float)]
        from sklearn.feature_extraction.text import HashingVectorizer

        # single digits are words of a sum, so the default pattern of two characters and more does not do
        kinds = (
            {"token_pattern": r"(?u)\b\w+\b", "ngram_range": (1, 2)},
            {"analyzer": "char_wb", "ngram_range": (3, 5)},
        )
        hashed = (
            HashingVectorizer(n_features=2**18, alternate_sign=False, norm=None, **kind)
            for kind in kinds
        )
        return [text_counts(texts), *(hasher.transform(texts) for hasher in hashed)]

    def fit(self, parts, gains):
        from sklearn.feature_extraction.text import TfidfTransformer
        from sklearn.linear_model import Ridge
        from sklearn.preprocessing import StandardScaler

        numbers, *ngrams = parts
        self.steps = [
            StandardScaler().fit(numbers),
            *(TfidfTransformer(sublinear_tf=True).fit(part) for part in ngrams),
        ]
        self.ridge = Ridge(alpha=10.0, solver="lsqr" if ngrams else "auto", tol=1e-4).fit(
            self._matrix(parts), gains
        )
        return self

    def predict(self, parts):
        return self.ridge.predict(self._matrix(parts))

    def _matrix(self, parts):
        from scipy import sparse

        numbers, *ngrams = (
            step.transform(part) for step, part in zip(self.steps, parts, strict=True)
        )
        return sparse.hstack([numbers * _COUNTS_WEIGHT, *ngrams]).tocsr() if ngrams else numbers


def _examples(outcomes, weak, strong, *, with_ids=False):
    """Texts and gains of the prompts in the order of their ids, so that the order of rows changes nothing."""
    if "prompt" not in outcomes:
        raise ValueError("training needs the text of each prompt, column 'prompt'")
    grid = pair_outcomes(outcomes, [weak, strong])
    order = np.argsort(grid.prompts.to_numpy())
    texts = grid.table["prompt"].to_numpy(object)[grid.rows[order, 0]]
    missing = pd.isna(texts)
    if missing.any():
        raise ValueError(
            f"{int(missing.sum()):,} prompts have no text; first {grid.prompts[order][missing][0]!r}"
        )
    gains = np.subtract(*grid.values("score")[order].T[::-1])
    return (texts, gains, grid.prompts[order]) if with_ids else (texts, gains)


def _folds(texts, folds, seed):
    different, where = np.unique(texts.astype(str), return_inverse=True)
    if not 2 <= folds <= len(different):
        raise ValueError(
            f"folds={folds!r}; from 2 to the number of different prompts ({len(different):,}) are possible"
        )
    rank = np.empty(len(different), int)
    rank[np.argsort(request_key([f"{seed}:{text}" for text in different]))] = np.arange(
        len(different)
    )
    return (rank % folds)[where]


def _warn_few(examples):
    if examples < FEWEST_EXAMPLES:
        warnings.warn(
            f"{examples:,} labelled examples train this router; under {FEWEST_EXAMPLES} it can be worse than a random mix",
            stacklevel=3,
        )
