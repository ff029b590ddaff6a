"""Routing policies: small frozen objects that name the model to call next.

Every policy has one method, ``choose(features, answers=())``. `features` maps names to the values of one request,
or to arrays for many: the same object decides one live request (a plain dict in, a name out) and a whole table
in `tierlab.routing.route`. `answers` are the answers so far, for policies that look at them. The result is a
`Choice`, whose `name` is a tier or a model id, or None to stop with the last answer.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import pandas as pd

from tierlab.core.format import counted
from tierlab.core.tables import load_tasks, one_of
from tierlab.core.vocabulary import unknown


class Choice(NamedTuple):
    """What a policy decides: values for one request, arrays for many (a single value applies to all of them).

    Attributes
    ----------
    name : str or None
        Tier or model id to call next; None stops with the last answer, or without one if there is none.
    reason : str
        Why, in a few words.
    cost_usd, seconds : float
        Cost (US dollars) and time of the decision itself, such as a classifier's or a judge's call.
    """

    name: object
    reason: object
    cost_usd: object = 0.0
    seconds: object = 0.0


_ODD = np.uint64(0x9E3779B97F4A7C15)
_WHOLE = re.compile(r"(0|-?[1-9]\d{0,17})(?:\.0)?")
STOP = Choice(None, "")
PERIODS = {"hour": "h", "day": "D", "month": "M", "ever": None}


class Policy:
    """Base of policies, which decide once, before any answer; others override `choose`."""

    def choose(self, features, answers=()):
        """Name the next model to call.

        Parameters
        ----------
        features : mapping of str to value or array
            What is known of the request, or of many requests.
        answers : sequence of mappings
            Answers so far: name, model_id, status, cost_usd, and what the caller adds.

        Returns
        -------
        Choice
        """
        return STOP if answers else self._first(features)


@dataclass(frozen=True)
class Always(Policy):
    """Send every request to one model.

    Parameters
    ----------
    model : str
        Tier or model id.

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
    """Send a random share of the requests to each model, whatever they ask: the baseline that a router must beat.

    The draw depends only on `prompt_id` and `seed`, so the same request gets the same model live, offline, and
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
        check_shares("the mix", self.shares)

    def _first(self, features):
        edges = np.cumsum(list(self.shares.values()))[:-1]
        drawn = np.searchsorted(edges, draw(features, "mix"), side="right")
        return Choice(pick(self.shares, drawn), "drawn at random")


@dataclass(frozen=True)
class Threshold(Policy):
    """Choose by a router's score: the first model below the first cut, the next from there on, and so on.

    Parameters
    ----------
    column : str
        Feature with the router's score; higher is harder. A missing score is refused.
    cuts : float or tuple of float
        Cuts in ascending order. A score equal to a cut is on its upper side.
    models : tuple of str
        Models, cheapest first, one more than there are cuts.

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
        ascending = not np.isnan(self.cuts).any() and list(self.cuts) == sorted(self.cuts)
        if not ascending or len(self.models) != len(self.cuts) + 1:
            raise ValueError(
                f"cuts are {self.cuts} and models {self.models}; cuts must ascend, and there must be "
                "one model more than cuts"
            )

    def _first(self, features):
        score = np.asarray(need(features, self.column, self), float)
        if np.isnan(score).any():
            raise ValueError(
                f"{self.column} is missing for {counted(np.isnan(score).sum(), 'request')}; "
                "a request without a score is not routed by a guess"
            )
        level = np.searchsorted(self.cuts, score, side="right")
        reasons = [f"below {self.cuts[0]:g}", *(f"from {cut:g}" for cut in self.cuts)]
        reasons = [f"{self.column} {reason}" for reason in reasons]
        return Choice(pick(self.models, level), pick(reasons, level))


@dataclass(frozen=True)
class Rules(Policy):
    """Choose by category: a table of task (or any other column) -> model.

    Parameters
    ----------
    table : mapping of str to str
        Category -> tier or model id.
    column : str
        Feature with the category.
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
        many = values if np.ndim(values) else np.array([values], object)
        codes, found = pd.factorize(many, use_na_sentinel=False)
        models, reasons = [], []
        for value in found:
            if value not in self.table and self.default is None:
                raise ValueError(
                    f"no rule and no default: {unknown(self.column, value, self.table)}"
                )
            models.append(self.table.get(value, self.default))
            reasons.append(f"rule: {value}" if value in self.table else "no rule: default")
        codes = codes if np.ndim(values) else codes[0]
        return Choice(pick(models, codes), pick(reasons, codes))


def task_rules(*, end="high", default=None):
    """Return the article's task table (data/tasks.csv) as rules.

    Parameters
    ----------
    end : {"low", "high"}
        Which end of a range such as "small to mid-tier" to take.
    default : str, optional
        Tier for a task that the table does not have.

    Returns
    -------
    Rules

    Examples
    --------
    >>> [task_rules(end=end).choose({"task": "code_review"}).name for end in ("low", "high")]
    ['mid', 'flagship']
    """
    one_of("end", end, ("low", "high"))
    return Rules(load_tasks()[f"tier_{end}"].to_dict(), default=default)


@dataclass(frozen=True)
class LLMClassifier(Policy):
    """Let a small model say how hard the request is.

    Live, the feature `classifier_reply` holds its reply, which `read_label` reads; a reply that is none of the labels
    counts as the last one, the safer tier. Offline, without replies, one is drawn for each request from a confusion
    matrix: the true label is the first one whose model scores as well as any of them.

    Parameters
    ----------
    models : mapping of str to str
        Label -> model, cheapest first: ``{"simple": "small", "complex": "flagship"}``.
    confusion : mapping of str to mapping, optional
        True label -> label that the classifier says, or "unreadable" -> share; each row adds up to 1.
    cost_usd, seconds : float or str
        Cost (US dollars) and time of the classifier's own call, or the feature that holds it.

    Examples
    --------
    >>> policy = LLMClassifier({"simple": "small", "complex": "flagship"}, cost_usd=0.00056)
    >>> [policy.choose({"classifier_reply": reply}).name for reply in ("simple", "**Complex**", "")]
    ['small', 'flagship', 'flagship']
    """

    models: Mapping
    confusion: Mapping | None = None
    cost_usd: float | str = 0.0
    seconds: float | str = 0.0

    def __post_init__(self):
        labels = [*self.models, "unreadable"]
        for true in self.models if self.confusion is not None else ():
            said = self.confusion.get(true, {})
            for label in said:
                if label not in labels:
                    raise ValueError(f"confusion of {true!r}: {unknown('label', label, labels)}")
            check_shares(f"confusion of {true!r}", said)

    def _first(self, features):
        labels = list(self.models)
        if "classifier_reply" in features:
            replies = np.asarray(features["classifier_reply"], object)
            read = [read_label(reply, labels) for reply in replies.ravel()]
            said = np.array([[*labels, None].index(label) for label in read])
            said = said.reshape(replies.shape)[()]
        else:
            said = self._drawn(features, labels)
        models = list(self.models.values())
        reasons = [*(f"classifier: {label}" for label in labels), "unreadable reply: safer tier"]
        cost, seconds = (
            need(features, own, self) if isinstance(own, str) else own
            for own in (self.cost_usd, self.seconds)
        )
        return Choice(pick([*models, models[-1]], said), pick(reasons, said), cost, seconds)

    def _drawn(self, features, labels):
        """Draw the position of the label that the classifier says, by the confusion matrix; the last is unreadable."""
        if self.confusion is None:
            raise ValueError(
                "LLMClassifier needs the feature 'classifier_reply', or a confusion matrix to draw from"
            )
        scores = [need(features, f"score:{model}", self) for model in self.models.values()]
        true = (scores == np.max(scores, axis=0)).argmax(axis=0)
        table = pd.DataFrame(self.confusion).T.reindex(
            index=labels, columns=[*labels, "unreadable"]
        )
        edges = np.cumsum(table.fillna(0).to_numpy(float), axis=1)[:, :-1]
        return (draw(features, "classifier")[..., None] >= edges[true]).sum(axis=-1)


def read_label(reply, labels):
    """Return the label that a classifier's reply is, or None if it is not exactly one of them.

    Case, punctuation and mark-up around the label do not count. A sentence, a refusal or an empty reply is not a label;
    the article's code takes each of these, and "complex.", for "simple".

    Parameters
    ----------
    reply : str or None
    labels : sequence of str

    Examples
    --------
    >>> [read_label(reply, ["simple", "complex"]) for reply in ("complex.", " **Complex**", "not simple", "", None)]
    ['complex', 'complex', None, None, None]
    """
    text = re.sub(r"^[\W_]+|[\W_]+$", "", reply.lower()) if isinstance(reply, str) else ""
    return next((label for label in labels if label.lower() == text), None)


@dataclass(frozen=True)
class Oracle(Policy):
    """Choose the cheapest of the models that score best on the request: a bound that no router can see.

    Where all models are wrong it takes the cheapest. (RouterBench charges its oracle nothing there.)

    Parameters
    ----------
    models : tuple of str, optional
        Models to choose from; by default all in the table.
    """

    models: tuple = ()

    def _first(self, features):
        # sorted, because a tie must not depend on the order of a table's rows
        models = self.models or sorted(features["models"])
        scores = np.stack([need(features, f"score:{model}", self) for model in models])
        costs = np.stack([need(features, f"cost_usd:{model}", self) for model in models])
        cheapest = np.where(scores == scores.max(axis=0), costs, np.inf).argmin(axis=0)
        return Choice(pick(models, cheapest), "best score, then cheapest")


def draw(features, stream):
    """Draw a number in [0, 1) per request, from its prompt_id and the seed alone (SplitMix64 over a keyed hash).

    Parameters
    ----------
    features : mapping
        seed, and prompt_id or its key (`request_key`) as prompt_key.
    stream : str
        Names the draw: two streams of one seed, and one stream of two seeds, are unrelated.

    Returns
    -------
    float or ndarray of float

    Raises
    ------
    ValueError
        If there is no seed.
    """
    if "seed" not in features:
        raise ValueError(
            f"a draw ({stream}) needs a 'seed': give route(..., seed=...), or put it among the features"
        )
    key = features["prompt_key"] if "prompt_key" in features else request_key(features["prompt_id"])
    salt = int.from_bytes(blake2b(f"{features['seed']}:{stream}".encode(), digest_size=8).digest())
    z = np.atleast_1d(np.asarray(key, "uint64")) + np.uint64(salt)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    unit = ((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53
    return unit if np.ndim(key) else unit[0]


def request_key(prompt_id):
    """Return a 64-bit key per prompt id, made from a whole number itself and from the text of any other id.

    A number keeps its key as a text or a float, which a file may have made of it.
    """
    ids = np.asarray(prompt_id)
    flat = ids.reshape(-1)
    if ids.dtype.kind in "iu":
        keys = flat.astype("uint64") * _ODD
    else:
        keys = np.array([_text_key(str(text)) for text in flat.astype(object)], "uint64")
    return keys.reshape(ids.shape)[()]


def _text_key(text):
    if whole := _WHOLE.fullmatch(text):
        return int(whole[1]) * int(_ODD) % 2**64
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def check_shares(what, shares):
    """Refuse a mapping, named by `what`, whose values are not shares from 0 to 1 that add up to 1."""
    values = np.array(list(shares.values()), float)
    if not (values >= 0).all() or not np.isclose(values.sum(), 1):
        raise ValueError(f"{what} is {dict(shares)}; give shares from 0 to 1 that add up to 1")


def pick(names, codes):
    """Return the name of one code, or an array of names for many."""
    return np.array([*names], object)[codes]


def need(features, column, policy):
    """Return a feature; if it is missing, the error names the policy that needs it and the features there are."""
    try:
        return features[column]
    except KeyError:
        raise ValueError(
            f"{type(policy).__name__} needs the feature {column!r}; there are {sorted(features)}"
        ) from None


@dataclass(frozen=True)
class NoisyJudge:
    """Simulate a judge that errs both ways: it knows whether an answer is right, but makes errors of stated rates.

    Parameters
    ----------
    false_accept : float
        Share of wrong answers that it accepts, 0-1.
    false_reject : float
        Share of right answers (those that score at least 0.5) that it rejects, 0-1.
    """

    false_accept: float
    false_reject: float

    def __post_init__(self):
        if not (0 <= self.false_accept <= 1 and 0 <= self.false_reject <= 1):
            raise ValueError(f"{self}: both shares must lie from 0 to 1")

    def __call__(self, features, answer):
        noise = draw(features, f"judge {answer['step']}")
        right = np.asarray(answer["score"]) >= 0.5
        return np.where(right, noise >= self.false_reject, noise < self.false_accept)


@dataclass(frozen=True)
class Cascade(Policy):
    """Ask the cheapest model first, and the next one whenever a judge does not accept the answer.

    The last model's answer stands. An answer that failed is never accepted, and not judged.

    Parameters
    ----------
    models : tuple of str
        Models, cheapest first.
    judge : callable, optional
        ``judge(features, answer)`` -> 0-1. An answer that carries `judge_score` is not judged again.
    threshold : float
        Judge's score, 0-1, from which an answer is accepted.
    judge_cost_usd, judge_seconds : float
        Cost (US dollars) and time of judging one answer.

    Examples
    --------
    >>> Cascade(("small", "flagship")).choose({}, [{"status": "ok", "judge_score": 0.2}]).name
    'flagship'
    """

    models: tuple
    judge: Callable | None = None
    threshold: float = 0.5
    judge_cost_usd: float = 0.0
    judge_seconds: float = 0.0

    def choose(self, features, answers=()):
        step = len(answers)
        if step in (0, len(self.models)):
            return STOP if step else Choice(self.models[0], "first of the cascade")
        judged = answers[-1].get("judge_score")
        if judged is None and self.judge is None:
            raise ValueError("Cascade needs a judge, or answers with a 'judge_score'")
        judged = self.judge(features, answers[-1]) if judged is None else judged
        fine = np.equal(answers[-1]["status"], "ok")
        accepted = ((np.asarray(judged) >= self.threshold) & fine)[()].astype(int)
        name = pick((self.models[step], None), accepted)
        failed = pick(("answer failed", "answer rejected"), np.asarray(fine).astype(int)[()])
        return Choice(name, failed, self.judge_cost_usd * fine, self.judge_seconds * fine)


@dataclass(frozen=True)
class Budget(Policy):
    """Follow another policy until a budget is spent, then the downgrade until the period ends.

    The cost of a request is known only afterwards, so the last request before the switch may exceed the limit by its
    own cost, and the downgrade goes on spending. For a limit per user and a limit for all, wrap one budget in another.

    Parameters
    ----------
    policy : Policy
        Decides while there is budget left.
    limit_usd : float
        Spend per period from which the downgrade applies, US dollars, from 0.
    downgrade : str, Policy or None
        Model or policy that takes over; None refuses the request (no answer, score 0).
    by : str, optional
        Feature that says whose budget it is, such as "user"; by default one budget for all.
    period : {"hour", "day", "month", "ever"}
        How long a budget lasts.

    Notes
    -----
    The feature named by `ledger` holds the spend so far. Live, the caller keeps it; offline, `route` does.

    Examples
    --------
    >>> policy = Budget(Always("flagship"), 5.0, "mid", by="user")
    >>> policy.ledger, policy.choose({policy.ledger: 5.0}).name
    ('spent_usd:user:day', 'mid')
    """

    policy: Policy
    limit_usd: float
    downgrade: object
    by: str | None = None
    period: str = "day"

    def __post_init__(self):
        one_of("period", self.period, PERIODS)
        if not self.limit_usd >= 0:
            raise ValueError(f"limit_usd is {self.limit_usd!r}; give an amount from 0 up")
        if isinstance(self.downgrade, str):
            object.__setattr__(self, "downgrade", Always(self.downgrade))

    @property
    def ledger(self):
        """Name of the feature that holds the spend so far."""
        return f"spent_usd:{self.by or 'all'}:{self.period}"

    def choose(self, features, answers=()):
        # sums of many small amounts differ in the last digits with the order in which they are added
        over = np.asarray(need(features, self.ledger, self)) >= self.limit_usd * (1 - 1e-9)
        # neither policy is asked in vain, because live its classifier would be called and paid for
        within = STOP if over.all() else self.policy.choose(features, answers)
        if not over.any():
            return within
        instead = Choice(None, "budget spent: refused")
        if self.downgrade is not None:
            instead = self.downgrade.choose(features, answers)._replace(reason="budget spent")
        return merge(over, instead, within)


@dataclass(frozen=True)
class Fallback(Policy):
    """Follow another policy; when its answer fails (error, rate limit, context overflow), try the next model in order.

    Parameters
    ----------
    policy : Policy
        Decides as long as its answers do not fail.
    order : tuple of str
        Models to try, in this order, spelt as `policy` spells them; a model that was tried is passed over.

    Examples
    --------
    >>> policy = Fallback(Always("flagship"), ("flagship", "mid", "small"))
    >>> policy.choose({}, [{"name": "flagship", "status": "rate_limited"}])
    Choice(name='mid', reason='fallback: rate_limited', cost_usd=0.0, seconds=0.0)
    """

    policy: Policy
    order: tuple

    def choose(self, features, answers=()):
        planned = self.policy.choose(features, answers)
        if not answers:
            return planned
        status = np.asarray(answers[-1]["status"], object)
        failed = np.not_equal(status, "ok") & np.equal(np.asarray(planned.name, object), None)
        if not failed.any():
            return planned
        name = np.full(np.shape(failed), None, object)
        for model in reversed(self.order):
            asked = [np.equal(np.asarray(answer["name"], object), model) for answer in answers]
            name = np.where(np.logical_or.reduce(asked), name, model)
        return merge(failed, planned._replace(name=name[()], reason="fallback: " + status), planned)


def merge(where, one, other):
    """Return a choice that is `one` where the condition holds and `other` elsewhere, field by field."""
    if np.ndim(where) == 0:
        return one if where else other
    # as objects, because numpy would turn None into text beside text
    pairs = [
        (np.asarray(a, object), np.asarray(b, object)) for a, b in zip(one, other, strict=True)
    ]
    name, reason, cost, seconds = (np.where(where, *pair) for pair in pairs)
    return Choice(name, reason, cost.astype(float), seconds.astype(float))
