"""What a live router has to know of a policy: the models it names, the labels it reads, the budgets it keeps, and what
it looks at that a model has to be asked for first."""

from collections import defaultdict

import numpy as np

from tierlab import policies, stepwise
from tierlab.decision_log import paid
from tierlab.names import unknown
from tierlab.routing import policy_parts
from tierlab.stepwise import PERIODS
from tierlab.text_router import TextRouter

_NAMED = {
    policies.Always: lambda part: [part.model],
    policies.RandomMix: lambda part: part.shares,
    policies.Threshold: lambda part: part.models,
    policies.Rules: lambda part: [*part.table.values(), *([part.default] if part.default else [])],
    policies.LLMClassifier: lambda part: part.models.values(),
    policies.Utility: lambda part: part.quality,
    stepwise.Cascade: lambda part: part.models,
    stepwise.Fallback: lambda part: part.order,
    TextRouter: lambda part: [part.weak, part.strong],
}


class Asked(Exception):
    """A policy looked at what has to be asked first; caught by the router, which asks and lets it decide anew."""

    def __init__(self, name, of):
        super().__init__(name)
        self.name, self.of = name, of


class Asking(dict):
    """Values known so far, and names of those that can be asked for: to look at one of them raises `Asked`.

    Examples
    --------
    >>> features = Asking({"user": "ann"}, ("classifier_reply",))
    >>> "classifier_reply" in features, "score" in features
    (True, False)
    """

    def __init__(self, known, askable=()):
        super().__init__(known)
        self.askable = askable

    def __contains__(self, name):
        return super().__contains__(name) or name in self.askable

    def __missing__(self, name):
        raise Asked(name, self) if name in self.askable else KeyError(name)

    def get(self, name, default=None):
        try:
            return self[name]
        except KeyError:
            return default

    @property
    def known(self):
        """What has been said, as a plain dict."""
        return dict(self)


class Spent:
    """What each user, or whatever a budget goes by, has spent in each period (US dollars).

    Parameters
    ----------
    policy : Policy
    store : path
        Its requests count.
    """

    def __init__(self, policy, store):
        self.budgets = {part.ledger: part for part in policy_parts(policy) if isinstance(part, stepwise.Budget)}
        self._total = defaultdict(float)
        for features, usd in paid(store) if self.budgets else ():
            if all(budget.by is None or budget.by in features for budget in self.budgets.values()):
                self.add(features, usd)

    def features(self, features):
        """The spend so far of every budget, by the name of its ledger."""
        return {name: self._total[key] for name, key in self._keys(features)}

    def add(self, features, usd):
        """Charge a request to all budgets."""
        for _, key in self._keys(features):
            self._total[key] += usd

    def _keys(self, features):
        for name, budget in self.budgets.items():
            if budget.by is not None and budget.by not in features:
                raise ValueError(f"a budget by {budget.by!r} needs that feature; there are {sorted(features)}")
            unit = PERIODS[budget.period]
            span = None if unit is None else str(np.datetime64(features["at"], unit))
            yield name, (name, None if budget.by is None else features[budget.by], span)


def check_policy(policy, models, judge):
    """Refuse a policy that names a model which is not there, or that cannot run live.

    Parameters
    ----------
    policy : Policy
    models : mapping
        By the names that a policy may use.
    judge : object or None
        Of the router.
    """
    for part in policy_parts(policy):
        if isinstance(part, policies.Oracle):
            raise ValueError("an oracle knows the scores before it asks; it cannot run live")
        if isinstance(part, stepwise.Cascade) and judge is None and isinstance(part.judge, stepwise.NoisyJudge | None):
            raise ValueError("a live cascade needs a judge: give LiveRouter(judge=...) (NoisyJudge is for simulation)")
        for name in _NAMED.get(type(part), lambda _: ())(part):
            if name not in models:
                raise ValueError(f"{type(part).__name__}: {unknown('model', name, models)}")


def labels_of(policy):
    """The labels that the policy's classifier may say; none where it has no classifier.

    Raises
    ------
    ValueError
        If two classifiers in it have different labels: one question cannot serve both.
    """
    found = {tuple(part.models) for part in policy_parts(policy) if isinstance(part, policies.LLMClassifier)}
    if len(found) > 1:
        raise ValueError(f"the policy has classifiers with different labels: {sorted(found)}; one question cannot serve both")
    return list(next(iter(found), ()))
