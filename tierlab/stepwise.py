"""Policies that look at what came before: the answers so far, or the money spent so far."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tierlab.names import unknown
from tierlab.policies import STOP, Always, Choice, Policy, draw, need, pick

PERIODS = {"hour": "h", "day": "D", "month": "M", "ever": None}


@dataclass(frozen=True)
class NoisyJudge:
    """A judge that errs both ways, for simulation: it sees whether an answer is right, through stated errors.

    Parameters
    ----------
    false_accept : float
        Share of wrong answers that it accepts, 0-1.
    false_reject : float
        Share of right answers that it rejects, 0-1.
    right_from : float
        Score from which an answer counts as right.
    """

    false_accept: float
    false_reject: float
    right_from: float = 0.5

    def __post_init__(self):
        for name in ("false_accept", "false_reject"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)!r}; a share from 0 to 1 is needed")

    def __call__(self, features, answer):
        noise = draw(features, f"judge {answer['step']}")
        return np.where(np.asarray(answer["score"]) >= self.right_from, noise >= self.false_reject, noise < self.false_accept)


@dataclass(frozen=True)
class Cascade(Policy):
    """Ask the cheapest model first; go on to the next when a judge does not accept the answer.

    The last model's answer stands. An answer that failed is never accepted, and not judged.

    Parameters
    ----------
    models : tuple of str
        Cheapest first.
    judge : callable, optional
        ``judge(features, answer)`` -> 0-1. An answer that carries `judge_score` is not judged again.
    threshold : float
        Score of the judge from which an answer is accepted.
    judge_cost_usd, judge_seconds : float
        Per judged answer.

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
    """Another policy until a budget is spent; then the downgrade, until the period ends.

    What a request will cost is known only afterwards, so the last request before the switch may pass the limit
    by its own cost, and the downgrade goes on spending. Wrap one budget in another for a limit per user and a
    limit for all.

    Parameters
    ----------
    policy : Policy
    limit_usd : float
        Spend per period from which the downgrade applies, US dollars.
    downgrade : str, Policy or None
        Model, or policy; None refuses the request (no answer, score 0).
    by : str, optional
        Feature that says whose budget it is, such as "user"; by default one budget for all.
    period : {"hour", "day", "month", "ever"}

    Notes
    -----
    The spend so far is the feature named by `ledger`; live, the caller keeps it; offline, `route` does.

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
        if self.period not in PERIODS:
            raise ValueError(unknown("period", self.period, PERIODS))
        if not self.limit_usd >= 0:
            raise ValueError(f"limit_usd={self.limit_usd!r}; an amount from 0 up is needed")
        if isinstance(self.downgrade, str):
            object.__setattr__(self, "downgrade", Always(self.downgrade))

    @property
    def ledger(self):
        """Name of the feature that holds the spend so far."""
        return f"spent_usd:{self.by or 'all'}:{self.period}"

    def choose(self, features, answers=()):
        # sums of many small amounts differ in the last digits with the order in which they are added
        over = np.asarray(need(features, self.ledger, self)) >= self.limit_usd * (1 - 1e-9)
        within = STOP if over.all() else self.policy.choose(features, answers)
        if not over.any():
            return within
        if self.downgrade is None:
            return _merge(over, Choice(None, "budget spent: refused"), within)
        return _merge(over, self.downgrade.choose(features, answers)._replace(reason="budget spent"), within)


@dataclass(frozen=True)
class Fallback(Policy):
    """Another policy; when its answer fails (error, rate limit, context overflow), the next model in order.

    Parameters
    ----------
    policy : Policy
    order : tuple of str
        Models to try, in this order, spelt as `policy` spells them; one that was tried is passed over.

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
            tried = np.logical_or.reduce([np.equal(np.asarray(answer["name"], object), model) for answer in answers])
            name = np.where(tried, name, model)
        reasons = {kind: f"fallback: {kind}" for kind in np.unique(status[failed].astype(str))}
        reason = np.array([reasons.get(kind, "") for kind in np.atleast_1d(status)], object).reshape(status.shape)
        return _merge(failed, Choice(name[()], reason[()], planned.cost_usd, planned.seconds), planned)


def _merge(where, one, other):
    """A choice that is `one` where the condition holds and `other` elsewhere, field by field."""
    if np.ndim(where) == 0:
        return one if where else other
    pairs = zip(one, other, strict=True)
    return Choice(*(np.where(where, *(np.asarray(v, object if i < 2 else float) for v in p)) for i, p in enumerate(pairs)))
