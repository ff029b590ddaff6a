"""Prompt caches in a replay of conversations: what each model's cache holds of each session, and what a call costs."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from tierlab.core.paths import DATA
from tierlab.core.vocabulary import BUCKETS
from tierlab.prices.pricing import price_tokens

_INPUT = BUCKETS[:4]


@dataclass(frozen=True)
class Caches:
    """Prices and rules of prompt caches, for a replay of conversations.

    Parameters
    ----------
    prices : Prices
    ttl_s : float, optional
        One time to live for every model (seconds; infinite: nothing expires) in place of the providers' own.
    minimum_tokens : int, optional
        One minimum for every model, below which nothing is cached, in place of the providers' own.
    """

    prices: object
    ttl_s: float | None = None
    minimum_tokens: int | None = None

    def rules(self, models):
        """By model id: ttl_s, minimum_tokens, step_tokens (only whole steps are cached) and caches_answer.

        The row of data/cache_rules.csv that begins a model's id with most characters holds; a model that none begins
        never loses its cache and has no minimum.
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
    """The table of rules, those of the longest beginnings last."""
    return pd.read_csv(DATA / "cache_rules.csv").sort_values(
        "model_starts", key=lambda starts: starts.str.len()
    )


def _refuse_disorder(turns):
    """Refuse turns without a session, a number or a time that others have, and times that run against the turns."""
    for column in ("session_id", "turn", "at"):
        if column not in turns or (column == "at" and turns[column].isna().all()):
            continue
        lacking = turns[column].isna()
        if lacking.any():
            prompt = turns.loc[lacking.idxmax(), "prompt_id"]
            raise ValueError(
                f"{lacking.sum():,} of {len(turns):,} turns have no {column!r}; "
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


class Conversations:
    """The sessions of an outcomes table while a policy walks through them turn by turn.

    What each model's cache holds of a session is the whole input of the last turn that the model answered there,
    until its time to live runs out; a read renews it. A session whose input became shorter was rewritten, and
    nothing says how much of its beginning survived: all its caches count as lost.

    Parameters
    ----------
    grid : tierlab.routing.route.Grid
        Of an outcomes table with session_id, turn and token counts; `at` says when a cache has expired, and without
        it none does.
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
            self._at = first["at"].to_numpy("datetime64[us]").astype("int64") / 1e6
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
        """Rows of the first turns, then of the second, and so on, with the features of each turn set."""
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
            told = context > 0  # a turn that failed has no tokens, and says nothing of the session
            rewritten = (told & (context < self._before[session])).any(axis=1)
            self._cached[session[rewritten]] = 0
            self._before[session] = np.where(told, context, self._before[session])
            extra["session_model"][rows] = self._model[session]
            held = self._held(rows)
            for name, column in self.grid.names.items():
                extra[f"cached_tokens:{name}"][rows] = held[:, column]
            yield rows

    def _held(self, rows):
        """Tokens of each row's input that each model would read from its cache: shape (rows, models)."""
        session, context = self.session[rows], self._context[rows]
        alive = self._at[rows, None] - self._since[session] <= self._ttl
        held = np.where(alive & self._reads, np.minimum(self._cached[session], context), 0)
        return self._whole_steps(held)

    def _whole_steps(self, tokens):
        return np.floor(tokens / self._step) * self._step

    def pay(self, rows, codes, names):
        """Cost of one call per row (US dollars), and what it leaves in the cache of the model that is called.

        Parameters
        ----------
        rows, codes : ndarray of int
            Prompts, and the model of each.
        names : ndarray of object
            The models as the policy spells them.
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
        called = context > 0  # a failed call left nothing behind
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
        """Routes with what the caches did: session_id, turn, cache_read_tokens, cache_write_tokens of all calls."""
        return routes.assign(
            session_id=self._first["session_id"].to_numpy(),
            turn=self._first["turn"].to_numpy(),
            cache_read_tokens=self.read,
            cache_write_tokens=self.written,
        )
