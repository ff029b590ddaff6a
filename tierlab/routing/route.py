"""Outcomes lined up: one row per prompt, one column per model, and what a router may see of each prompt.

Routing policies on recorded or simulated outcomes: what each request would have cost and scored.

A router's own call, every answer it discards and the answer it keeps are paid for and waited for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property

import numpy as np
import pandas as pd

from tierlab.core.tables import TOKEN_COLUMNS, plain
from tierlab.core.vocabulary import STATUSES, unknown
from tierlab.routing.outcomes import checked_cells, price_outcomes
from tierlab.routing.policies import PERIODS, STOP, Budget, Policy, request_key

# What differs between the answers to one prompt; difficulty is what no router sees.
_OF_ANSWERS = {
    *(
        "model_id",
        "tier",
        "score",
        "cost_usd",
        "cost_source",
        "end_to_end_s",
        "ttft_s",
        "status",
        "answer",
        "flags",
    ),
    *("difficulty", "output_tokens", "reasoning_tokens", "provenance"),
}


@dataclass(eq=False)
class Grid:
    """An outcomes table as one row per prompt and one column per model.

    Attributes
    ----------
    table : DataFrame
    prompts : Index
        n prompts in the order of their first row.
    models : list of str
        k model ids.
    rows : ndarray of int, shape (n, k)
        Position of each answer in `table`.
    names : dict
        Model id or tier -> column.
    extra : dict
        Features that are not in the table.
    """

    table: pd.DataFrame
    prompts: pd.Index
    models: list
    rows: np.ndarray
    names: dict
    extra: dict = field(default_factory=dict)

    def values(self, column, model=None):
        """A numeric column as an array of shape (n, k), or (n,) for one model; NaN where the table has none."""
        rows = self.rows if model is None else self.rows[:, self.column(model)]
        return (
            self.table[column].to_numpy(float)[rows]
            if column in self.table
            else np.full(rows.shape, np.nan)
        )

    def column(self, name):
        """Number of the column of a model, by model id or tier."""
        if name not in self.names:
            raise ValueError(unknown("model or tier", name, self.names))
        return self.names[name]

    @cached_property
    def times(self):
        """Time of each prompt, datetime64[us]."""
        if "at" not in self.table:
            raise ValueError("a budget or rate limit needs the time of each request, column 'at'")
        return self.table["at"].to_numpy("datetime64[us]")[self.rows[:, 0]]

    @cached_property
    def in_time(self):
        """Positions of the prompts in order of time; those of one moment by their id."""
        return np.lexsort((self.prompts.to_numpy(), self.times))


def pair_outcomes(outcomes, models=None, *, tiers=None):
    """Line the answers up: one row per prompt, one column per model.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table.
    models : sequence of str, optional
        Model ids or tiers to keep, in this order; by default all.
    tiers : mapping of str to str, optional
        Tier, or any name a policy uses, -> model id; by default from the column `tier`.

    Returns
    -------
    Grid

    Raises
    ------
    ValueError
        As `tierlab.routing.outcomes.check_outcomes`, and for an unknown model or tier.
    """
    tiers = _tiers(outcomes) if tiers is None else dict(tiers)
    if models is not None:
        known = list(pd.unique(outcomes["model_id"]))
        models = [tiers.get(name, name) for name in models]
        for name in models:
            if name not in known:
                raise ValueError(unknown("model or tier", name, [*known, *tiers]))
        if len(known) > len(set(models)):
            outcomes = outcomes[outcomes["model_id"].isin(models)]
    outcomes, (prompt, prompts), (model, found) = checked_cells(outcomes)
    rows = np.empty(len(outcomes), "intp")
    rows[prompt * len(found) + model] = np.arange(len(outcomes))
    rows, found = rows.reshape(-1, len(found)), list(found)
    if models is not None:
        rows, found = rows[:, [found.index(name) for name in models]], models
    names = {name: found.index(name) for name in found}
    names |= {tier: names[name] for tier, name in tiers.items() if name in names}
    return Grid(outcomes, pd.Index(prompts, name="prompt_id"), found, rows, names)


class View(Mapping):
    """Features of some rows of a grid, each fetched when a policy asks for it."""

    def __init__(self, grid, rows=None):
        self.grid, self.rows = grid, rows

    def __getitem__(self, name):
        grid = self.grid
        if name in grid.extra:
            values = grid.extra[name]
            return values if np.ndim(values) == 0 or self.rows is None else values[self.rows]
        if name in ("models", "prompt_id", "prompt_key"):
            if name == "prompt_key":
                grid.extra[name] = request_key(grid.prompts.to_numpy())
                return self[name]
            return grid.models if name == "models" else self._take(grid.prompts)
        kind, _, model = name.partition(":")
        if model in grid.names and kind in ("score", "cost_usd", "end_to_end_s"):
            return self._take(grid.values(kind, model))
        if name in _OF_ANSWERS or name not in grid.table:
            raise KeyError(name)
        return _array(grid.table[name].array[self._take(grid.rows[:, 0])])

    def _take(self, values):
        return values if self.rows is None else values[self.rows]

    def __contains__(self, name):
        try:
            self[name]
        except KeyError:
            return False
        return True

    def __iter__(self):
        named = (
            "prompt_id",
            "models",
            *(f"{kind}:{m}" for kind in ("score", "cost_usd") for m in self.grid.models),
        )
        return iter(
            dict.fromkeys(
                [*named, *self.grid.extra, *(c for c in self.grid.table if c not in _OF_ANSWERS)]
            )
        )

    def __len__(self):
        return sum(1 for _ in self)


def aligned(features, prompts):
    """Features indexed by prompt_id as arrays in the order of the prompts; a prompt without one is refused."""
    if features is None:
        return {}
    frame = (
        features.to_frame(features.name or "router_score")
        if isinstance(features, pd.Series)
        else features
    )
    return {str(column): _array(align(frame[column], prompts).array) for column in frame}


def align(series, prompts):
    """A Series indexed by prompt_id in the order of the prompts.

    Raises
    ------
    ValueError
        If a prompt is in it twice or not at all, or without a value.
    """
    if not series.index.is_unique:
        twice = series.index[series.index.duplicated()][0]
        raise ValueError(
            f"{series.name!r} has prompt {plain(twice)!r} more than once; its index must be prompt_id, once each"
        )
    if not series.index.equals(prompts):
        where = series.index.get_indexer(prompts)
        if (where < 0).any():
            first = plain(prompts[np.flatnonzero(where < 0)[0]])
            raise ValueError(
                f"{int((where < 0).sum()):,} prompts have no {series.name!r}; first {first!r}; its index must be prompt_id"
            )
        series = series.take(where)
    if series.isna().any():
        bad = series.isna().to_numpy()
        raise ValueError(
            f"{series.name!r} is missing for {int(bad.sum()):,} prompts, first {plain(prompts[bad.argmax()])!r}"
        )
    return series


def _tiers(outcomes):
    """Tier -> model id, where each tier of the table is one model."""
    if "tier" not in outcomes:
        return {}
    pairs = outcomes[["tier", "model_id"]].drop_duplicates().dropna()
    return dict(pairs[~pairs["tier"].duplicated(keep=False)].astype(object).itertuples(index=False))


def _array(values):
    """Categories as they are (rules need no text then), all else as numpy."""
    return values if isinstance(values, pd.Categorical) else values.to_numpy()


_ROUNDS = 1000


def route(
    outcomes,
    policy,
    prices=None,
    *,
    seed=None,
    features=None,
    tiers=None,
    requests_per_minute=None,
    context_windows=None,
):
    """What a policy would have done with every prompt of an outcomes table.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table: every prompt answered by every model.
    policy : Policy
        From `tierlab.routing.policies`, or any object with their method.
    prices : Prices, optional
        Prices every answer anew, from its tokens; by default the table's own cost_usd.
    seed : int, optional
        Needed by policies that draw.
    features : Series or DataFrame, optional
        More features, indexed by prompt_id, such as a trained router's scores.
    tiers : mapping of str to str, optional
        Name that the policy uses -> model id; by default the column `tier`.
    requests_per_minute : mapping of str to int, optional
        Model -> calls it takes per calendar minute; further ones come back as "rate_limited". Needs `at`.
    context_windows : mapping of str to int, optional
        Model -> input tokens it takes; a longer input comes back as "context_overflow".

    Returns
    -------
    DataFrame
        One row per prompt: prompt_id; model_id whose answer stands (missing where none was given); score, 0-1;
        cost_usd of that answer; router_cost_usd, the policy's own calls and every discarded answer;
        end_to_end_s, all calls one after the other; reason; calls; status of the answer; source.

    Raises
    ------
    ValueError
        For a table that cannot be used, an unknown model or tier, a missing feature, price or seed.

    Notes
    -----
    A refused or failed call costs nothing and takes no time, unless the table says otherwise. Costs that the
    table does not have stay NaN. Budgets and rate limits depend on earlier requests only, so repeating the
    simulation with the spend and load of the last round settles on the one consistent result.

    Examples
    --------
    >>> import tierlab as tl
    >>> from tierlab.routing.simulated import simulate_outcomes
    >>> from tierlab.routing.policies import Threshold
    >>> table = simulate_outcomes(1000, seed=1, prices=tl.load_prices("article"))
    >>> routes = route(table, Threshold("router_signal", 0.8, ("small", "flagship")))
    >>> routes["model_id"].value_counts().to_dict()
    {'claude-haiku-4-5': 792, 'claude-opus-4-8': 208, 'claude-sonnet-4-6': 0}
    """
    if prices is not None:
        outcomes = price_outcomes(outcomes, prices, missing_price="raise")
    grid = pair_outcomes(outcomes, tiers=tiers)
    grid.extra = aligned(features, grid.prompts)
    if seed is not None:
        grid.extra["seed"] = seed
    denied = _overflows(grid, context_windows or {})
    limits = {grid.column(name): limit for name, limit in (requests_per_minute or {}).items()}
    budgets = [part for part in policy_parts(policy) if isinstance(part, Budget)]
    if not budgets and not limits:
        return _table(grid, _walk(policy, grid, denied))
    spent = {budget.ledger: np.zeros(len(grid.prompts)) for budget in budgets}
    limited = _limited(grid, limits, [], denied)
    for _ in range(_ROUNDS):
        grid.extra |= spent
        walk = _walk(policy, grid, limited)
        spent_next = {
            budget.ledger: _spent(grid, budget, walk.cost + walk.own) for budget in budgets
        }
        limited_next = _limited(grid, limits, walk.attempts, denied)
        if _same(spent, spent_next) and (not limits or np.array_equal(limited, limited_next)):
            return _table(grid, walk)
        spent, limited = spent_next, limited_next
    raise RuntimeError(
        f"budgets and rate limits did not settle in {_ROUNDS:,} rounds; route a shorter stretch of time"
    )


@dataclass(eq=False)
class _Walk:
    """What happened to each of n requests, and the calls that were made, in steps of (rows, columns)."""

    model: np.ndarray
    score: np.ndarray
    cost: np.ndarray
    own: np.ndarray
    seconds: np.ndarray
    status: np.ndarray
    calls: np.ndarray
    reason: np.ndarray
    attempts: list


def _walk(policy, grid, denied):
    """Let a policy decide, answer from the table, and let it decide again, until it stops for every request."""
    n = len(grid.prompts)
    done = _Walk(
        *(
            np.full(n, -1, "int16"),
            np.zeros(n),
            np.zeros(n),
            np.zeros(n),
            np.zeros(n),
            np.zeros(n, "int8"),
        ),
        *(np.zeros(n, "int16"), np.full(n, "", object), []),
    )
    active, answers = None, []
    while active is None or len(active):
        choice = policy.choose(View(grid, active), answers)
        if choice is STOP and answers:
            break
        where = slice(None) if active is None else active
        done.own[where] += choice.cost_usd
        done.seconds[where] += choice.seconds
        size = n if active is None else len(active)
        codes = _codes(choice.name, grid, size)
        going = codes >= 0
        told = (
            going if answers else np.ones(size, bool)
        )  # a refusal is the reason of a request without an answer
        rows = np.arange(n) if active is None else active
        done.reason[rows[told]] = (
            choice.reason if np.ndim(choice.reason) == 0 else choice.reason[told]
        )
        active, codes = rows[going], codes[going]
        answers = [
            {key: value if key == "step" else value[going] for key, value in a.items()}
            for a in answers
        ]
        if len(active):
            names = choice.name if np.ndim(choice.name) else np.full(size, choice.name, object)
            answers.append(
                _answer(done, grid, denied, active, codes)
                | {"name": names[going], "step": len(answers)}
            )
    return done


def _answer(done, grid, denied, rows, codes):
    """Answers of the models in `codes` to the prompts in `rows`, entered into `done`."""
    at, table = grid.rows[rows, codes], grid.table
    score, cost, seconds = (
        table[column].to_numpy(float)[at] if column in table else np.full(len(at), np.nan)
        for column in ("score", "cost_usd", "end_to_end_s")
    )
    status = np.zeros(len(at), "int8")
    if "status" in table:
        kinds, found = pd.factorize(table["status"].array[at])
        status = np.array(
            [STATUSES.index(kind) if kind in STATUSES else 1 for kind in found] + [0], "int8"
        )[kinds]
    if denied is not None:
        refused = denied[rows, codes]
        status = np.where(refused > 0, refused, status)
        score, cost, seconds = (np.where(refused > 0, 0.0, v) for v in (score, cost, seconds))
    done.own[rows] += done.cost[rows]  # the answer before this one is discarded, and was paid for
    done.model[rows], done.score[rows], done.cost[rows] = codes, score, cost
    done.seconds[rows] += seconds
    done.status[rows] = status
    done.calls[rows] += 1
    done.attempts.append((rows, codes))
    return {
        "model_id": _objects(grid.models)[codes], "status": _objects(STATUSES)[status], "score": score, "cost_usd": cost,
        "end_to_end_s": seconds,
    }  # fmt: skip


def _codes(names, grid, size):
    """Column of each named model; -1 for None."""
    if np.ndim(names) == 0:
        return np.full(size, -1 if names is None else grid.column(names), "int16")
    codes, found = pd.factorize(names)
    return np.array([*(grid.column(name) for name in found), -1], "int16")[codes]


def _table(grid, walk):
    frame = pd.DataFrame(
        {
            "prompt_id": grid.prompts,
            "model_id": pd.Categorical.from_codes(walk.model, grid.models),
            "score": walk.score,
            "cost_usd": walk.cost,
            "router_cost_usd": walk.own,
            "end_to_end_s": walk.seconds,
            "reason": pd.Categorical(walk.reason),
            "calls": walk.calls,
            "status": pd.Categorical.from_codes(walk.status, list(STATUSES)),
        },
        copy=False,
    )
    return (
        frame.assign(source=grid.table["source"].array[grid.rows[:, 0]])
        if "source" in grid.table
        else frame
    )


def policy_parts(policy):
    """A policy and the policies inside it."""
    yield policy
    for part in fields(policy) if hasattr(policy, "__dataclass_fields__") else ():
        if isinstance(getattr(policy, part.name), Policy):
            yield from policy_parts(getattr(policy, part.name))


def _spent(grid, budget, cost):
    """Spend of the same budget before each request, in order of time (US dollars)."""
    if np.isnan(cost).any():
        raise ValueError(
            f"a budget needs costs, and {int(np.isnan(cost).sum()):,} requests have none; give prices="
        )
    group, view = np.zeros(len(cost), "int64"), View(grid)
    if budget.by is not None:
        if budget.by not in view:
            raise ValueError(
                f"a budget by {budget.by!r} needs that column; there are {sorted(view)}"
            )
        group = pd.factorize(view[budget.by], use_na_sentinel=False)[0]
    if PERIODS[budget.period] is not None:
        span = pd.factorize(grid.times.astype(f"datetime64[{PERIODS[budget.period]}]"))[0]
        group = group * (span.max() + 1) + span
    return _before(grid, group, cost)


def _before(grid, group, amount):
    """Sum of `amount` over earlier requests of the same group."""
    order = grid.in_time[np.argsort(group[grid.in_time], kind="stable")]
    total = np.cumsum(amount[order]) - amount[order]
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    total -= np.repeat(total[starts], np.diff(np.append(starts, len(order))))
    result = np.empty(len(order))
    result[order] = total
    return result


def _limited(grid, limits, attempts, denied):
    """Which calls a model would refuse at each request: codes of `STATUSES`, shape (n, k), or None."""
    if not limits:
        return denied
    result = np.zeros(grid.rows.shape, "int8") if denied is None else denied.copy()
    minute = pd.factorize(grid.times.astype("datetime64[m]"))[0]
    for column, limit in limits.items():
        called = np.zeros(len(minute))
        for rows, codes in attempts:
            called[rows[codes == column]] = 1
        fits = result[:, column] == 0
        # counting the refused calls too changes nothing: they come after the limit is reached
        result[fits & (_before(grid, minute, called * fits) >= limit), column] = 2
    return result


def _overflows(grid, windows):
    if not windows:
        return None
    columns = [column for column in TOKEN_COLUMNS[:-1] if column in grid.table]
    if not columns:
        raise ValueError(
            "context_windows needs token counts, and the table has no column 'uncached_input_tokens'"
        )
    whole = sum(grid.values(column) for column in columns)
    result = np.zeros(whole.shape, "int8")
    for name, window in windows.items():
        column = grid.column(name)
        result[whole[:, column] > window, column] = 3
    return result


def _same(one, other):
    return all(np.array_equal(one[key], other[key]) for key in one)


def _objects(names):
    table = np.empty(len(names), object)
    table[:] = names
    return table
