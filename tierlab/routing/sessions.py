"""Conversations: what each model's prompt cache holds of a session, and policies that take account of it.

A provider's prompt cache belongs to one model. A router that changes the model in the middle of a conversation
pays for the whole history again at the new model's write rate, while the old model's cache goes unread until its time
to live runs out.

The policies here wrap another one and see three more features of a turn: ``session_model``, the model that answered
the turn before (None at the first), ``context_tokens:MODEL``, the whole input of this turn, and
``cached_tokens:MODEL``, how much of it that model would read from its cache.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from tierlab.core.format import counted
from tierlab.core.paths import DATA
from tierlab.core.tables import in_utc, token_counts
from tierlab.core.vocabulary import BUCKETS, unknown
from tierlab.prices.pricing import price_tokens
from tierlab.routing.policies import Choice, Policy, merge, need
from tierlab.scaling.costs import session

_INPUT = BUCKETS[:4]


@dataclass(frozen=True)
class Caches:
    """Prices and rules of prompt caches, for a replay of conversations.

    Parameters
    ----------
    prices : Prices
        From `tierlab.load_prices`, with rates of prompt caches.
    ttl_s : float, optional
        One time to live for every model in place of the providers' own, in seconds; infinite if nothing expires.
    minimum_tokens : int, optional
        One minimum for every model in place of the providers' own; a shorter input is not cached.
    """

    prices: object
    ttl_s: float | None = None
    minimum_tokens: int | None = None

    def rules(self, models):
        """Return ttl_s, minimum_tokens, step_tokens (only whole steps are cached) and caches_answer by model id.

        Of the rows of data/cache_rules.csv that a model's id begins with, the longest holds; a model without one never
        loses its cache and has no minimum.
        """
        known = _rules()
        found = pd.DataFrame(index=pd.Index(models, name="model_id"), columns=known.columns)
        for rule in known.itertuples(index=False):
            found.loc[[model.startswith(rule.model_starts) for model in models]] = rule
        found = found[["ttl_s", "minimum_tokens", "step_tokens", "caches_answer"]].astype(float)
        found = found.fillna(
            {"ttl_s": np.inf, "minimum_tokens": 0, "step_tokens": 1, "caches_answer": 0}
        )
        given = {"ttl_s": self.ttl_s, "minimum_tokens": self.minimum_tokens}
        return found.assign(**{name: value for name, value in given.items() if value is not None})


@lru_cache
def _rules():
    # the longest beginnings come last, so that they overwrite the shorter ones
    return pd.read_csv(DATA / "cache_rules.csv").sort_values(
        "model_starts", key=lambda starts: starts.str.len()
    )


class Conversations:
    """The sessions of an outcomes table while a policy walks through them turn by turn.

    A model's cache holds the whole input of the last turn that the model answered in the session, until its time to live
    runs out; a read renews it. If the input of a session becomes shorter, the session was rewritten. Nothing says how
    much of its beginning survived, so all its caches count as lost.

    Parameters
    ----------
    grid : tierlab.routing.route.Grid
        An outcomes table with session_id, turn and token counts. Caches expire by `at`; without it none does.
    caches : Caches
    """

    def __init__(self, grid, caches):
        self.grid, self.prices = grid, caches.prices
        self._names = [self.prices.resolve(name) for name in grid.models]
        rules = caches.rules(self._names)
        self._ttl, self._minimum, self._step, self._caches_answer = rules.to_numpy(float).T
        rates = self.prices.in_force().drop_duplicates("model_id").set_index("model_id")
        rates = rates.loc[self._names]
        self._reads = rates["cache_read"].notna().to_numpy()
        self._writes = rates["cache_write_short"].notna().to_numpy()
        self._first = first = grid.table.iloc[grid.rows[:, 0]]
        _refuse_disorder(first)
        self.session, ids = pd.factorize(first["session_id"])
        self._order = first.groupby("session_id", sort=False)["turn"].rank("dense").to_numpy(int)
        self._at = np.zeros(len(first))
        if "at" in first and first["at"].notna().any():
            self._at = in_utc(first).to_numpy("datetime64[us]").astype("int64") / 1e6
        self._context = sum(
            grid.values(f"{bucket}_tokens") for bucket in _INPUT if f"{bucket}_tokens" in grid.table
        )
        self._output = grid.values("output_tokens")
        if np.isnan(self._context + self._output).any():
            raise ValueError(
                "a conversation is priced by its tokens, and some answers have no count"
            )
        self._sessions = len(ids)

    def turns(self):
        """Yield the rows of the first turns, then of the second, and so on, with the features of each turn set."""
        n, k = self._context.shape
        self._cached = np.zeros((self._sessions, k))
        self._since = np.full((self._sessions, k), -np.inf)
        self._before = np.zeros((self._sessions, k))
        self._model = np.full(self._sessions, None, object)
        self.read, self.written = np.zeros(n), np.zeros(n)
        extra = self.grid.extra
        extra["session_model"] = np.full(n, None, object)
        for name, column in self.grid.names.items():
            extra[f"context_tokens:{name}"] = self._context[:, column]
            extra[f"cached_tokens:{name}"] = np.zeros(n)
        by_turn = np.argsort(self._order, kind="stable")
        for rows in np.split(by_turn, np.flatnonzero(np.diff(self._order[by_turn])) + 1):
            session, context = self.session[rows], self._context[rows]
            told = (
                context > 0
            )  # a turn that failed has no tokens and says nothing about the session
            rewritten = (told & (context < self._before[session])).any(axis=1)
            self._cached[session[rewritten]] = 0
            self._before[session] = np.where(told, context, self._before[session])
            extra["session_model"][rows] = self._model[session]
            held = self._held(rows)
            for name, column in self.grid.names.items():
                extra[f"cached_tokens:{name}"][rows] = held[:, column]
            yield rows

    def _held(self, rows):
        """Return the tokens of each row's input that each model would read from its cache, shape (rows, models)."""
        session, context = self.session[rows], self._context[rows]
        alive = self._at[rows, None] - self._since[session] <= self._ttl
        held = np.where(alive & self._reads, np.minimum(self._cached[session], context), 0)
        return self._whole_steps(held)

    def _whole_steps(self, tokens):
        return np.floor(tokens / self._step) * self._step

    def pay(self, rows, codes, names):
        """Price one call per row and keep what it leaves in the cache of the model that is called.

        Parameters
        ----------
        rows, codes : ndarray of int
            Prompts, and the model of each.
        names : ndarray of object
            The models as the policy spells them.

        Returns
        -------
        ndarray of float
            US dollars.
        """
        session, at = self.session[rows], np.arange(len(rows))
        context, output = self._context[rows, codes], self._output[rows, codes]
        read = self._held(rows)[at, codes]
        kept = self._whole_steps(self._context[rows])[at, codes]
        kept = np.where(context >= self._minimum[codes], kept, 0)
        new = np.maximum(kept - read, 0)
        written = np.where(self._writes[codes], new, 0)
        tokens = {
            "uncached_input": context - read - written,
            "cache_read": read,
            "cache_write_short": written,
            "output": output,
        }
        called = context > 0  # a failed call leaves nothing behind
        answer = output * self._caches_answer[codes] * (kept > 0)
        self._cached[session[called], codes[called]] = (kept + answer)[called]
        self._since[session[called], codes[called]] = self._at[rows[called]]
        self._model[session] = names
        self.read[rows] += read
        self.written[rows] += written
        cost = np.empty(len(rows))
        for code in np.unique(codes):
            own = codes == code
            part = {bucket: column[own] for bucket, column in tokens.items()}
            cost[own] = price_tokens(part, self.prices, self._names[code])[0][-1]
        return cost

    def told(self, routes):
        """Add session_id, turn, and the cache_read_tokens and cache_write_tokens of all calls to routes."""
        return routes.assign(
            session_id=self._first["session_id"].to_numpy(),
            turn=self._first["turn"].to_numpy(),
            cache_read_tokens=self.read,
            cache_write_tokens=self.written,
        )


def _refuse_disorder(turns):
    """Refuse turns that lack a session, number or time that others have, and times that run against the turns."""
    for column in ("session_id", "turn", "at"):
        if column == "at" and (column not in turns or turns[column].isna().all()):
            continue
        if column not in turns:
            raise ValueError(
                f"column {column!r} is missing; conversations need session_id and turn"
            )
        lacking = turns[column].isna()
        if lacking.any():
            prompt = turns.loc[lacking.idxmax(), "prompt_id"]
            raise ValueError(
                f"no {column!r} in {lacking.sum():,} of {counted(len(turns), 'turn')}; "
                f"the first is prompt {prompt}"
            )
    if "at" not in turns:
        return
    ordered = turns.sort_values(["session_id", "turn", "at"])
    back = ordered["session_id"].eq(ordered["session_id"].shift())
    back &= ordered["at"] < ordered["at"].shift()
    if back.any():
        row = ordered.loc[back.idxmax()]
        raise ValueError(
            f"times run against the turns in {back.sum():,} places; the first is prompt "
            f"{row['prompt_id']}: turn {row['turn']} of session {row['session_id']} is earlier "
            "than the turn before it"
        )


@dataclass(frozen=True)
class PerSession(Policy):
    """Decide once per conversation: the model of the first turn answers all others.

    Parameters
    ----------
    policy : Policy
        Decides on the first turn.

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
        Says which model a turn asks for.
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
    """Go down to a cheaper model only if that saves more than the cache it gives up; going up is always allowed.

    Parameters
    ----------
    policy : Policy
        Says which model a turn asks for.
    rates : mapping of str to (float, float, float)
        Model as `policy` spells it -> read, write and output rate, USD per million tokens (`session_rates`).
    turns_left : float or str
        Expected turns of the conversation from this one on, or the feature that holds them.
    new_tokens, output_tokens : float
        Expected new input and expected output of a turn (tokens).

    Notes
    -----
    With N turns left and a context C of which c is cached, turn 1 reads c and writes C - c; each later turn reads all
    that came before it and writes the d = new + output tokens since then. Together they cost
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
        # Places 1, 2, ... are the models of `rates`; place 0 is no model yet, and has nothing to compare.
        held, asked = (_rank(names, (None, *self.rates)) for names in (kept, planned.name))
        output = np.array([np.nan, *(rate for _, _, rate in self.rates.values())])
        nothing = np.full(kept.shape, np.nan)
        costs = [nothing, *(self._cost(features, name, left) for name in self.rates)]
        stay, move = (np.choose(place, costs) for place in (held, asked))
        stays = (output[asked] < output[held]) & ~(stay > move)
        return merge(stays, Choice(kept[()], "the cache is worth more"), planned)

    def _cost(self, features, name, turns):
        """Return the expected cost of the remaining turns on a model (US dollars)."""
        read, write, output = self.rates[name]
        context = np.asarray(need(features, f"context_tokens:{name}", self), float)
        cached = np.asarray(need(features, f"cached_tokens:{name}", self), float)
        later, grown = turns - 1, self.new_tokens + self.output_tokens
        reads = cached + later * context + grown * later * (turns - 2) / 2
        writes = context - cached + later * grown
        return (read * reads + write * writes + output * turns * self.output_tokens) / 1e6


def _rank(names, order):
    """Return the place of each name in an order; a name that is not in it is refused."""
    names = np.asarray(names, object)
    for name in pd.unique(names.reshape(-1)):
        if name not in order:
            raise ValueError(unknown("model", name, [known for known in order if known]))
    return sum(np.equal(names, name) * place for place, name in enumerate(order))


def session_rates(prices, names):
    """Return the read, write and output rates of models for a `SwitchGate`.

    Parameters
    ----------
    prices : Prices
    names : mapping of str to str, or sequence of str
        Spelling in the policy -> model id, or model ids that the policy spells out.

    Returns
    -------
    dict of str to (float, float, float)
        USD per million tokens. Where a model has no read rate or no write rate, the plain input rate stands in.
    """
    pairs = names if isinstance(names, Mapping) else {name: name for name in names}
    table = prices.in_force().query("context_above == 0").set_index("model_id")
    rates = table.loc[[prices.resolve(model_id) for model_id in pairs.values()]]
    rates = rates[["cache_read", "cache_write_short", "output", "uncached_input"]].astype(float)
    rates = rates.T.fillna(rates["uncached_input"]).T.iloc[:, :3]
    return dict(zip(pairs, rates.itertuples(index=False, name=None), strict=True))


def session_policies(policy, shape, prices, *, small, flagship):
    """Return a policy that decides turn by turn, and three ways to make it take account of the caches.

    Parameters
    ----------
    policy : Policy
        Chooses between `small` and `flagship`.
    shape : tierlab.core.product.Conversation
        The gate expects half of its turns to be left, because nobody knows how long a conversation will last.
    prices : Prices
    small, flagship : str
        Model ids.

    Returns
    -------
    dict of str to Policy
        By name: per turn, per conversation, escalate only, switch gate.
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


def chain_sessions(requests: pd.DataFrame, *, block_tokens: int = 512) -> pd.DataFrame:
    """Find the conversations of a trace without session ids from the blocks of its prompts.

    A request continues an earlier one if it begins with all full blocks of that request (at least two, because the first
    may be a system prompt that everybody shares) and is at least as long as the earlier input and answer together. If
    several qualify, the one with the most blocks counts, and of those the latest.

    Parameters
    ----------
    requests : DataFrame
        A trace with at, prefix_ids (lists of chained block ids), uncached_input_tokens and output_tokens.
    block_tokens : int
        Length of a block (tokens).

    Returns
    -------
    DataFrame
        The requests with session_id (number of the session's first request) and turn (from 1), in order of time.

    Notes
    -----
    Ids are inferred: a history that a client cut off breaks a chain, and a regenerated answer stays in the session.
    """
    table = requests.sort_values("at", kind="stable").reset_index(drop=True)
    session = np.arange(len(table))
    ends = {}  # id of a request's last full block -> the requests that end there, the latest last
    given, answered = (
        table[column].to_numpy() for column in ("uncached_input_tokens", "output_tokens")
    )
    for row, blocks in enumerate(table["prefix_ids"]):
        candidates = (
            earlier
            for block in reversed(blocks[1:])
            for earlier in reversed(ends.get(block, ()))
            if given[row] >= given[earlier] + answered[earlier]
        )
        session[row] = session[next(candidates, row)]
        full = int(given[row] // block_tokens)
        if full >= 2:
            ends.setdefault(blocks[full - 1], []).append(row)
    return table.assign(session_id=session, turn=table.groupby(session).cumcount().to_numpy() + 1)


def conversation_outcomes(requests: pd.DataFrame, quality: Mapping[str, float]) -> pd.DataFrame:
    """Turn recorded conversations into an outcomes table: what some models would have been sent, and would score.

    Parameters
    ----------
    requests : DataFrame
        A requests table with session_id, turn and token counts.
    quality : mapping of str to float
        Model id -> score of its answers, 0-1. No log has it; it is your assumption, which `provenance` names.

    Returns
    -------
    DataFrame
        A row per turn and model. Every model is sent the recorded input and writes the recorded number of tokens,
        whichever model wrote the turns before: `provenance` names this assumption too.

    Raises
    ------
    ValueError
        If the column session_id or turn is missing.
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


def equal_conversations(shape, quality, *, sessions=1):
    """Repeat a product's conversation as an outcomes table in which every turn is sent all that came before it.

    Parameters
    ----------
    shape : tierlab.core.product.Conversation
    quality
        As for `conversation_outcomes`.
    sessions : int
        How often to repeat it.

    Returns
    -------
    DataFrame
    """
    requests = pd.concat([session(shape)] * sessions, keys=range(sessions), names=["session_id"])
    return conversation_outcomes(requests.reset_index("session_id"), quality)
