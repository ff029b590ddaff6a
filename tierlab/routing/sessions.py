"""Conversations: what a policy costs turn by turn, when every model keeps a prompt cache of its own.

A provider's prompt cache belongs to one model. A router that changes the model in the middle of a conversation
pays for the whole history again at the new model's write rate, while the old model's cache waits, unread, for its
time to live to run out.

The policies here wrap another one and see three more features of a turn: ``session_model``, the model that answered
the turn before (None at the first), ``context_tokens:MODEL``, the whole input of this turn, and
``cached_tokens:MODEL``, how much of it that model would read from its cache.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tierlab.core.tables import token_counts
from tierlab.core.vocabulary import unknown
from tierlab.evaluate.intervals import bootstrap
from tierlab.routing.caches import Caches
from tierlab.routing.policies import Always, Choice, Policy, Rules, merge, need
from tierlab.routing.route import route
from tierlab.scaling.costs import session


@dataclass(frozen=True)
class PerSession(Policy):
    """Decide once per conversation: the model of its first turn answers all others.

    Examples
    --------
    >>> from tierlab.routing.policies import Threshold
    >>> policy = PerSession(Threshold("router_signal", 0.5, ("small", "flagship")))
    >>> [policy.choose({"router_signal": 0.9, "session_model": name}).name for name in (None, "small")]
    ['flagship', 'small']
    """

    policy: Policy

    def choose(self, features, answers=()):
        if answers:
            return self.policy.choose(features, answers)
        kept = np.asarray(need(features, "session_model", self), object)
        begins = np.equal(kept, None)
        if not begins.any():
            return Choice(kept[()], "the session's model")
        return merge(begins, self.policy.choose(features), Choice(kept, "the session's model"))


@dataclass(frozen=True)
class EscalateOnly(Policy):
    """Go up when the policy asks for it, and never down again within a conversation.

    Parameters
    ----------
    policy : Policy
    order : tuple of str
        Models from the lowest to the highest, spelt as `policy` spells them.

    Examples
    --------
    >>> from tierlab.routing.policies import Always
    >>> policy = EscalateOnly(Always("small"), ("small", "flagship"))
    >>> policy.choose({"session_model": "flagship"}).name
    'flagship'
    """

    policy: Policy
    order: tuple

    def choose(self, features, answers=()):
        planned = self.policy.choose(features, answers)
        if answers:
            return planned
        kept = np.asarray(need(features, "session_model", self), object)
        stays = _rank(kept, (None, *self.order)) > _rank(planned.name, (None, *self.order))
        return merge(stays, Choice(kept[()], "stays with the higher model"), planned)


@dataclass(frozen=True)
class SwitchGate(Policy):
    """Go down to a cheaper model only if that beats the cache it throws away; going up is always allowed.

    Parameters
    ----------
    policy : Policy
    rates : mapping of str to (float, float, float)
        Model as `policy` spells it -> read, write and output rate, USD per million tokens (`session_rates`).
    turns_left : float or str
        Turns that the conversation still has, this one included, or the feature that holds them.
    new_tokens, output_tokens : float
        Expected input that is new in a turn, and expected output (tokens).

    Notes
    -----
    Over N turns from a context C of which c is cached, turn 1 reads c and writes C - c; each later turn reads all
    that came before it and writes the d = new + output tokens since:
    read (c + (N-1) C + d (N-1)(N-2)/2) + write (C - c + (N-1) d) + output rate x N x output. The model with the
    smaller sum answers.
    """

    policy: Policy
    rates: Mapping
    turns_left: float | str = 3.0
    new_tokens: float = 500.0
    output_tokens: float = 300.0

    def choose(self, features, answers=()):
        planned = self.policy.choose(features, answers)
        if answers:
            return planned
        kept = np.asarray(need(features, "session_model", self), object)
        left = self.turns_left
        left = need(features, left, self) if isinstance(left, str) else left
        # Places 1, 2, ... are the models of `rates`; at 0 there is none yet, and nothing to compare.
        held, asked = (_rank(names, (None, *self.rates)) for names in (kept, planned.name))
        output = np.array([np.nan, *(rate for _, _, rate in self.rates.values())])
        nothing = np.full(kept.shape, np.nan)
        costs = [nothing, *(self._cost(features, name, left) for name in self.rates)]
        stay, move = (np.choose(place, costs) for place in (held, asked))
        stays = (output[asked] < output[held]) & ~(stay > move)
        return merge(stays, Choice(kept[()], "the cache is worth more"), planned)

    def _cost(self, features, name, turns):
        """Expected cost of the remaining turns on a model (US dollars)."""
        read, write, output = self.rates[name]
        context = np.asarray(need(features, f"context_tokens:{name}", self), float)
        cached = np.asarray(need(features, f"cached_tokens:{name}", self), float)
        later, grown = turns - 1, self.new_tokens + self.output_tokens
        reads = cached + later * context + grown * later * (turns - 2) / 2
        writes = context - cached + later * grown
        return (read * reads + write * writes + output * turns * self.output_tokens) / 1e6


def _rank(names, order):
    names = np.asarray(names, object)
    for name in pd.unique(names.reshape(-1)):
        if name not in order:
            raise ValueError(unknown("model", name, [known for known in order if known]))
    return sum(np.equal(names, name) * place for place, name in enumerate(order))


def session_rates(prices, names):
    """Read, write and output rate of models, for `SwitchGate`.

    Parameters
    ----------
    prices : Prices
    names : mapping of str to str, or sequence of str
        Spelling in the policy -> model id, or model ids that are their own spelling.

    Returns
    -------
    dict of str to tuple of float
        USD per million tokens. A model without a read rate reads at the plain rate, and one whose writes are free
        writes at it.
    """
    pairs = names if isinstance(names, Mapping) else {name: name for name in names}
    table = prices.in_force().query("context_above == 0").set_index("model_id")
    rates = table.loc[[prices.resolve(model_id) for model_id in pairs.values()]]
    rates = rates[["cache_read", "cache_write_short", "output", "uncached_input"]].astype(float)
    rates = rates.T.fillna(rates["uncached_input"]).T.iloc[:, :3]
    return dict(zip(pairs, rates.itertuples(index=False, name=None), strict=True))


def chain_sessions(requests: pd.DataFrame, *, block_tokens: int = 512) -> pd.DataFrame:
    """The conversations of a trace that has no session ids, told from the blocks of their prompts.

    A request continues an earlier one if it begins with all its full blocks (two at least: the first may be a system
    prompt that everybody shares) and is at least as long as the earlier input and answer together; of several, the
    one with the most blocks, and of those the latest.

    Parameters
    ----------
    requests : DataFrame
        With at, prefix_ids (lists of chained block ids), uncached_input_tokens and output_tokens.
    block_tokens : int

    Returns
    -------
    DataFrame
        The requests with session_id (number of the session's first request) and turn (from 1), in order of time.

    Notes
    -----
    Ids are inferred: histories that a client cut off break a chain, and a regenerated answer stays in the session.
    """
    table = requests.sort_values("at", kind="stable").reset_index(drop=True)
    session = np.arange(len(table))
    ends = {}  # id of a request's last full block -> the requests that end there, the latest last
    given, answered = (
        table[column].to_numpy() for column in ("uncached_input_tokens", "output_tokens")
    )
    for row, blocks in enumerate(table["prefix_ids"]):
        found = [
            earlier
            for block in reversed(blocks[1:])
            for earlier in reversed(ends.get(block, ()))
            if given[row] >= given[earlier] + answered[earlier]
        ]
        if found:
            session[row] = session[found[0]]
        full = int(given[row] // block_tokens)
        if full >= 2:
            ends.setdefault(blocks[full - 1], []).append(row)
    return table.assign(session_id=session, turn=table.groupby(session).cumcount().to_numpy() + 1)


def conversation_outcomes(requests: pd.DataFrame, quality: Mapping[str, float]) -> pd.DataFrame:
    """Recorded conversations as an outcomes table: what each of some models would have been sent, and would score.

    Parameters
    ----------
    requests : DataFrame
        A requests table with session_id, turn and token counts.
    quality : mapping of str to float
        Model id -> score of its answers, 0-1. No log has it: it is your assumption, and `source` says so.

    Returns
    -------
    DataFrame
        A row per turn and model. Every model is sent the recorded input and writes the recorded number of tokens,
        whoever wrote the turns before: the second assumption that `provenance` names.
    """
    for column in ("session_id", "turn"):
        if column not in requests:
            raise ValueError(
                f"column {column!r} is missing; conversations need session_id and turn (tierlab.chain_sessions "
                "finds them in a trace with prefix_ids)"
            )
    whole = sum(column for bucket, column in token_counts(requests).items() if bucket != "output")
    turns = pd.DataFrame(
        {
            "prompt_id": np.arange(len(requests)),
            "uncached_input_tokens": whole,
            **{c: requests[c].to_numpy() for c in ("session_id", "turn", "output_tokens")},
            **{c: requests[c].to_numpy() for c in ("at", "task", "user") if c in requests},
        }
    )
    parts = [turns.assign(model_id=name, score=float(score)) for name, score in quality.items()]
    table = pd.concat(parts, ignore_index=True).sort_values("prompt_id", kind="stable")
    told = "assumed: one quality per model, and the recorded lengths for every model"
    return table.assign(source="recorded", provenance=told).reset_index(drop=True)


def session_policies(policy, shape, prices, *, small, flagship):
    """A policy that decides turn by turn, and the three ways to make it mind the caches.

    Parameters
    ----------
    policy : Policy
        Names `small` and `flagship`.
    shape : tierlab.core.product.Conversation
        Half its turns are expected to be left when the gate decides: nobody knows how long a conversation lasts.
    prices : Prices
    small, flagship : str
        Model ids.

    Returns
    -------
    dict of str to Policy
        per turn, per conversation, escalate only, switch gate.
    """
    gate = {
        "turns_left": (shape.turns + 1) / 2,
        "new_tokens": shape.input_tokens,
        "output_tokens": shape.output_tokens,
    }
    return {
        "per turn": policy,
        "per conversation": PerSession(policy),
        "escalate only": EscalateOnly(policy, (small, flagship)),
        "switch gate": SwitchGate(policy, session_rates(prices, [small, flagship]), **gate),
    }


def equal_conversations(shape, quality, *, sessions=1):
    """A product's conversation, so many times, as an outcomes table: every turn is sent all that came before it.

    Parameters
    ----------
    shape : tierlab.core.product.Conversation
    quality
        As for `conversation_outcomes`.
    sessions : int
    """
    requests = pd.concat([session(shape)] * sessions, keys=range(sessions), names=["session_id"])
    return conversation_outcomes(requests.reset_index("session_id"), quality)


def one_switch(shape, prices, *, small, flagship):
    """A conversation on the small model whose last turn but one goes to the flagship, replayed.

    Returns
    -------
    (DataFrame, float)
        The route with tier and input_tokens, and what the whole conversation costs on the small model alone (US dollars).
    """
    outcomes = equal_conversations(shape, {small: 1.0, flagship: 1.0})
    switch = Rules({max(shape.turns - 1, 1): flagship}, column="turn", default=small)
    turns, alone = (
        route(outcomes, policy, sessions=Caches(prices)) for policy in (switch, Always(small))
    )
    tier = np.where(turns["model_id"] == flagship, "flagship", "small")
    whole = outcomes.loc[outcomes["model_id"] == small, "uncached_input_tokens"].to_numpy()
    return turns.assign(tier=tier, input_tokens=whole), float(alone["cost_usd"].sum())


def compare_conversations(
    outcomes: pd.DataFrame,
    policies: Mapping[str, Policy],
    caches: Caches,
    *,
    reference: str,
    seed: int,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> pd.DataFrame:
    """What policies save in conversations, beside what the shares of their turns promise.

    Parameters
    ----------
    outcomes : DataFrame
        An outcomes table with session_id and turn.
    policies : mapping of str to Policy
    caches : Caches
    reference : str
        Model id that answers everything in the comparison.
    seed : int
        For policies that draw, and for the resamples (whole sessions).

    Returns
    -------
    DataFrame
        By policy: usd_per_session; saving with low and high, against the reference model alone; promised, the saving
        that the same shares of turns would have if each model had its cache for itself; switches per session; score
        (mean over turns), sessions, turns.
    """
    singles, names = {}, list(pd.unique(outcomes["model_id"]))
    if reference not in names:
        raise ValueError(unknown("model", reference, names))
    for name in names:
        singles[name] = _by_session(route(outcomes, Always(name), sessions=caches))["cost_usd"]
    rows = {}
    for label, policy in policies.items():
        routes = route(outcomes, policy, seed=seed, sessions=caches)
        costs = _by_session(routes)
        table = costs.assign(reference=singles[reference])
        saving = bootstrap(
            table[["cost_usd", "reference"]],
            lambda means: pd.DataFrame({"saving": 1 - means["cost_usd"] / means["reference"]}),
            confidence=confidence,
            resamples=resamples,
            seed=seed,
        ).loc["saving"]
        shares = routes["model_id"].value_counts(normalize=True)
        alone = sum(share * singles[name].sum() for name, share in shares.items())
        rows[label] = {
            "usd_per_session": costs["cost_usd"].mean(),
            "saving": saving["estimate"],
            "low": saving["low"],
            "high": saving["high"],
            "promised": 1 - alone / singles[reference].sum(),
            "switches": costs["switches"].mean(),
            "score": routes["score"].mean(),
            "sessions": len(costs),
            "turns": len(routes),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("policy")


def _by_session(routes):
    """Cost and changes of model of each session."""
    ordered = routes.sort_values(["session_id", "turn"], kind="stable")
    model = ordered["model_id"].astype(object)
    same = ordered["session_id"].eq(ordered["session_id"].shift())
    return (
        ordered.assign(
            cost_usd=ordered["cost_usd"] + ordered["router_cost_usd"],
            switches=same & model.ne(model.shift()),
        )
        .groupby("session_id")[["cost_usd", "switches"]]
        .sum()
    )
