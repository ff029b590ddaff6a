"""Routing policies: small frozen objects that name the model to call next.

Every policy has one method, ``choose(features, answers=())``. `features` maps names to values of one request,
or to arrays of many: the same object decides one live request (a plain dict in, a name out) and a whole table
in `tierlab.routing.route`. `answers` are the answers so far, for policies that look at them. The result is a
`Choice`; its `name` is a tier or a model id, or None to stop with the last answer.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import pandas as pd

from tierlab.decision import load_tasks
from tierlab.names import unknown


class Choice(NamedTuple):
    """What a policy decides: values for one request, arrays for many (a single value stands for all of them).

    Attributes
    ----------
    name : str or None
        Tier or model id to call next; None stops, with the last answer, or without any if there is none.
    reason : str
    cost_usd, seconds : float
        What the decision itself took: a classifier's or a judge's call.
    """

    name: object
    reason: object
    cost_usd: object = 0.0
    seconds: object = 0.0


STOP = Choice(None, "")


class Policy:
    """A policy that decides once, before any answer; others override `choose`."""

    def choose(self, features, answers=()):
        """Name the next model to call.

        Parameters
        ----------
        features : mapping of str to value or array
        answers : sequence of mappings
            Answers so far: name, model_id, status, cost_usd, and what the caller adds.

        Returns
        -------
        Choice
        """
        return STOP if answers else self._first(features)


@dataclass(frozen=True)
class Always(Policy):
    """Every request to one model.

    Examples
    --------
    >>> Always("small").choose({}).name
    'small'
    """

    model: str

    def _first(self, features):
        return Choice(self.model, "always this model")


@dataclass(frozen=True)
class RandomMix(Policy):
    """A random share of the requests to each model, whatever they ask: the baseline that a router must beat.

    The draw depends on `prompt_id` and `seed` alone, so the same request gets the same model live, offline, and
    in any order of rows.

    Parameters
    ----------
    shares : mapping of str to float
        Model -> share of requests, 0-1; they add up to 1.

    Examples
    --------
    >>> RandomMix({"small": 0.8, "flagship": 0.2}).choose({"prompt_id": 7, "seed": 1}).name
    'small'
    """

    shares: Mapping

    def __post_init__(self):
        values = np.array(list(self.shares.values()), float)
        if not (values >= 0).all() or not np.isclose(values.sum(), 1):
            raise ValueError(f"the shares are {dict(self.shares)}; they are 0-1 and add up to 1")

    def _first(self, features):
        edges = np.cumsum(list(self.shares.values()))[:-1]
        return Choice(pick(list(self.shares), np.searchsorted(edges, draw(features, "mix"), side="right")), "drawn at random")


@dataclass(frozen=True)
class Threshold(Policy):
    """By a router's score: the first model below the first cut, the next from there on, and so on.

    Parameters
    ----------
    column : str
        Feature with the router's score; higher is harder. A missing score is refused.
    cuts : float or tuple of float
        Ascending. A score equal to a cut is on its upper side.
    models : tuple of str
        Cheapest first, one more than there are cuts.

    Examples
    --------
    >>> policy = Threshold("router_signal", (0.5, 0.8), ("small", "mid", "flagship"))
    >>> [policy.choose({"router_signal": score}).name for score in (0.49, 0.5, 0.8)]
    ['small', 'mid', 'flagship']
    """

    column: str
    cuts: tuple
    models: tuple

    def __post_init__(self):
        object.__setattr__(self, "cuts", tuple(np.atleast_1d(self.cuts).astype(float).tolist()))
        if np.isnan(self.cuts).any() or list(self.cuts) != sorted(self.cuts) or len(self.models) != len(self.cuts) + 1:
            raise ValueError(f"cuts {self.cuts} and models {self.models}: ascending cuts and one more model are needed")

    def _first(self, features):
        score = need(features, self.column, self)
        refuse_missing(score, self.column)
        level = np.searchsorted(self.cuts, score, side="right")
        reasons = [f"{self.column} below {self.cuts[0]:g}", *(f"{self.column} from {cut:g}" for cut in self.cuts)]
        return Choice(pick(self.models, level), pick(reasons, level))


@dataclass(frozen=True)
class Rules(Policy):
    """By category: a table of task (or any other column) -> model.

    Parameters
    ----------
    table : mapping of str to str
    column : str
    default : str, optional
        Model for a category that is not in the table; without it such a category is refused by name.

    Examples
    --------
    >>> Rules({"faq": "small"}, default="flagship").choose({"task": "contract"}).name
    'flagship'
    """

    table: Mapping
    column: str = "task"
    default: str | None = None

    def _first(self, features):
        values = need(features, self.column, self)
        one = np.ndim(values) == 0
        codes, found = pd.factorize(np.array([values], object) if one else values, use_na_sentinel=False)
        for value in found:
            if value not in self.table and self.default is None:
                raise ValueError(f"no rule and no default: {unknown(self.column, value, self.table)}")
        codes = codes[0] if one else codes
        reasons = [f"rule: {value}" if value in self.table else "no rule: default" for value in found]
        return Choice(pick([self.table.get(value, self.default) for value in found], codes), pick(reasons, codes))


def task_rules(*, end="high", default=None):
    """The article's task table (data/tasks.csv) as rules.

    Parameters
    ----------
    end : {"low", "high"}
        Which end of a range such as "small to mid-tier".
    default : str, optional
        Tier for a task that the table does not have.

    Examples
    --------
    >>> [task_rules(end=end).choose({"task": "code_review"}).name for end in ("low", "high")]
    ['mid', 'flagship']
    """
    if end not in ("low", "high"):
        raise ValueError(unknown("end", end, ("low", "high")))
    return Rules(load_tasks()[f"tier_{end}"].to_dict(), default=default)


@dataclass(frozen=True)
class LLMClassifier(Policy):
    """A small model says how hard the request is.

    Live, the feature `classifier_reply` holds its reply, read by `read_label`. Offline, without replies, one is
    drawn for each request from a confusion matrix.

    Parameters
    ----------
    models : mapping of str to str
        Label -> model, cheapest first: ``{"simple": "small", "complex": "flagship"}``.
    confusion : mapping of str to mapping, optional
        True label -> label said -> share, each row adding up to 1. "unreadable" may be said.
    safer : str, optional
        Label assumed for a reply that is none of the labels; by default the last.
    truth : str, optional
        Feature with the true label. By default it is the first label whose model does as well as any of them.
    cost_usd, seconds : float or str
        The classifier's own call per request, or the feature that holds it (`tierlab.routing.classifier_cost`).

    Examples
    --------
    >>> policy = LLMClassifier({"simple": "small", "complex": "flagship"}, cost_usd=0.00056)
    >>> [policy.choose({"classifier_reply": reply}).name for reply in ("simple", "**Complex**", "")]
    ['small', 'flagship', 'flagship']
    """

    models: Mapping
    confusion: Mapping | None = None
    safer: str | None = None
    truth: str | None = None
    cost_usd: float | str = 0.0
    seconds: float | str = 0.0

    def __post_init__(self):
        labels = [*self.models, "unreadable"]
        if self.safer is not None and self.safer not in self.models:
            raise ValueError(unknown("label", self.safer, self.models))
        if self.confusion is None:
            return
        for true in self.models:
            row = self.confusion.get(true, {})
            values = np.array(list(row.values()), float)
            if not set(row) <= set(labels) or not (values >= 0).all() or not np.isclose(values.sum(), 1):
                raise ValueError(f"confusion of {true!r} is {dict(row)}; shares 0-1 of {labels} that add up to 1 are needed")

    def _first(self, features):
        labels = list(self.models)
        safer = labels.index(self.safer) if self.safer else len(labels) - 1
        if "classifier_reply" in features:
            replies = np.atleast_1d(np.asarray(features["classifier_reply"], object))
            said = np.array([_position(labels, read_label(reply, labels)) for reply in replies])
            said = said if np.ndim(features["classifier_reply"]) else said[0]
        else:
            said = self._drawn(features, labels)
        reasons = [*(f"classifier: {label}" for label in labels), "unreadable reply: safer tier"]
        model = pick(list(self.models.values()), np.where(said == len(labels), safer, said)[()])
        own = (features[value] if isinstance(value, str) else value for value in (self.cost_usd, self.seconds))
        return Choice(model, pick(reasons, said), *own)

    def _drawn(self, features, labels):
        if self.confusion is None:
            raise ValueError("LLMClassifier needs the feature 'classifier_reply', or a confusion matrix to draw from")
        if self.truth is None:
            scores = np.stack([need(features, f"score:{model}", self) for model in self.models.values()])
            true = (scores >= scores.max(axis=0)).argmax(axis=0)
        else:
            names = np.atleast_1d(np.asarray(need(features, self.truth, self), object))
            true = np.array([labels.index(name) for name in names]).reshape(np.shape(features[self.truth]))
        rows = [[self.confusion[label].get(said, 0.0) for said in [*labels, "unreadable"]] for label in labels]
        edges = np.cumsum(rows, axis=1)[:, :-1]
        return (draw(features, "classifier")[..., None] >= edges[true]).sum(axis=-1)


def read_label(reply, labels):
    """The label that a classifier's reply is, or None when it is not exactly one of them.

    Case, punctuation and mark-up around the label do not count. Anything else, a sentence, a refusal, an empty
    reply, is no label: the article's code takes each of these, and "complex.", for "simple".

    Examples
    --------
    >>> [read_label(reply, ["simple", "complex"]) for reply in ("complex.", " **Complex**", "not simple", "", None)]
    ['complex', 'complex', None, None, None]
    """
    text = re.sub(r"^[\W_]+|[\W_]+$", "", reply.lower()) if isinstance(reply, str) else ""
    return next((label for label in labels if label.lower() == text), None)


@dataclass(frozen=True)
class Utility(Policy):
    """The model with the highest expected worth: willingness to pay x expected score - expected cost.

    Parameters
    ----------
    usd_per_point : float
        What a score of 1 instead of 0 is worth on one request, in US dollars.
    quality : mapping of str to float or str
        Model -> expected score (0-1), or the feature that holds it for each request.
    cost_usd : mapping of str to float or str
        Model -> expected cost per request in US dollars, or the feature that holds it.

    Examples
    --------
    >>> policy = Utility(0.1, {"small": 0.8, "flagship": 0.9}, {"small": 0.002, "flagship": 0.010})
    >>> policy.choose({}).name
    'flagship'
    """

    usd_per_point: float
    quality: Mapping
    cost_usd: Mapping

    def __post_init__(self):
        if set(self.quality) != set(self.cost_usd):
            raise ValueError(f"quality is for {sorted(self.quality)} and cost_usd for {sorted(self.cost_usd)}")

    def _first(self, features):
        models = list(self.quality)
        quality, cost = ([_value(features, table[model], self) for model in models] for table in (self.quality, self.cost_usd))
        worth = np.stack(np.broadcast_arrays(*(self.usd_per_point * q - c for q, c in zip(quality, cost, strict=True))))
        refuse_missing(worth, "expected worth")
        return Choice(pick(models, worth.argmax(axis=0)), f"highest worth at {self.usd_per_point:g} USD per point")


@dataclass(frozen=True)
class Oracle(Policy):
    """The cheapest of the models that score best on the request: the bound, which no router can see.

    Where all are wrong it takes the cheapest. (RouterBench charges its oracle nothing there.)

    Parameters
    ----------
    models : tuple of str, optional
        By default all in the table.
    """

    models: tuple = field(default=())

    def _first(self, features):
        models = list(self.models or sorted(features["models"]))  # a tie must not hang on the order of a table's rows
        scores, costs = (np.stack([need(features, f"{kind}:{m}", self) for m in models]) for kind in ("score", "cost_usd"))
        cheapest = np.where(scores == scores.max(axis=0), costs, np.inf).argmin(axis=0)
        return Choice(pick(models, cheapest), "best score, then cheapest")


def draw(features, stream):
    """A number in [0, 1) per request, from its prompt_id and the seed alone (SplitMix64 over a keyed hash).

    Two streams of one seed, and one stream of two seeds, are unrelated.
    """
    if "seed" not in features:
        raise ValueError(f"a draw ({stream}) needs a 'seed': give route(..., seed=...), or put it among the features")
    key = features["prompt_key"] if "prompt_key" in features else request_key(features["prompt_id"])
    salt = int.from_bytes(blake2b(f"{features['seed']}:{stream}".encode(), digest_size=8).digest())
    z = np.atleast_1d(np.asarray(key, "uint64")) + np.uint64(salt)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    unit = ((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53
    return unit if np.ndim(key) else unit[0]


def request_key(prompt_id):
    """A 64-bit key per prompt id: a whole number as it is, any other through its text."""
    ids = np.asarray(prompt_id)
    if ids.dtype.kind in "iu":
        return ids.astype("uint64") * np.uint64(0x9E3779B97F4A7C15) if ids.ndim else request_key(ids[None])[0]
    texts = np.atleast_1d(ids).astype(object)
    keys = [int.from_bytes(blake2b(str(text).encode(), digest_size=8).digest()) for text in texts]
    return np.array(keys, "uint64") if ids.ndim else np.uint64(keys[0])


def refuse_missing(values, what):
    bad = np.isnan(np.asarray(values, float))
    if bad.any():
        raise ValueError(
            f"{what} is missing for {int(bad.sum()):,} requests; a request without a score is never routed by guess"
        )


def pick(names, codes):
    """`names[codes]`: a name for one code, an array of names for many."""
    table = np.empty(len(names), object)
    table[:] = list(names)
    return table[codes]


def _position(labels, label):
    return len(labels) if label is None else labels.index(label)


def _value(features, value, policy):
    return need(features, value, policy) if isinstance(value, str) else value


def need(features, column, policy):
    try:
        return features[column]
    except KeyError:
        raise ValueError(f"{type(policy).__name__} needs the feature {column!r}; there are {sorted(features)}") from None
