"""Replay a policy on an outcomes table: what it would have cost and scored, request by request.

The router's own call, every answer that it discards and the answer that it keeps are all paid and waited for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from tierlab.core.format import counted
from tierlab.core.tables import as_pandas, in_utc, plain
from tierlab.core.vocabulary import STATUSES, unknown
from tierlab.routing.outcomes import checked_cells
from tierlab.routing.policies import PERIODS, Budget, Policy, request_key
from tierlab.routing.sessions import Caches, Conversations

# What differs between the answers to one prompt, and the difficulty, which no router can see.
_HIDDEN = {
    "answer",
    "cost_source",
    "cost_usd",
    "difficulty",
    "end_to_end_s",
    "flags",
    "model_id",
    "output_tokens",
    "provenance",
    "reasoning_tokens",
    "score",
    "status",
    "tier",
    "ttft_s",
}
_NUMBERS = ("score", "cost_usd", "end_to_end_s")  # of an answer
_ROUNDS = 1000


@dataclass(eq=False)
class Grid:
    """An outcomes table as one row per prompt and one column per model.

    Attributes
    ----------
    table : DataFrame
        The checked outcomes table.
    prompts : Index
        The n prompts in the order of their first row.
    models : list of str
        The k model ids.
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
        """Return a numeric column as an array of shape (n, k), or (n,) for one model; NaN if the table lacks it."""
        rows = self.rows if model is None else self.rows[:, self.column(model)]
        return self.numbers(column)[rows]

    def numbers(self, column):
        """Return a numeric column by rows of the table; NaN if the table lacks it."""
        if column not in self.table:
            return np.full(len(self.table), np.nan)
        return self.table[column].to_numpy(float)

    def column(self, name):
        """Return the column of a model, given by model id or tier."""
        if name not in self.names:
            raise ValueError(unknown("model or tier", name, self.names))
        return self.names[name]

    @cached_property
    def status(self):
        """Position in STATUSES of each row of the table: 0 ("ok") where it has none, 1 ("error") for an unknown one."""
        if "status" not in self.table:
            return np.zeros(len(self.table), "int8")
        told = self.table["status"]
        codes = told.map({kind: code for code, kind in enumerate(STATUSES)}).astype(float)
        return codes.fillna(1).where(told.notna(), 0).to_numpy("int8")

    @cached_property
    def keys(self):
        """A 64-bit key of each prompt, for draws."""
        return request_key(self.prompts.to_numpy())


def pair_outcomes(outcomes, models=None):
    """Line the answers up in one row per prompt and one column per model.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table.
    models : sequence of str, optional
        Model ids or tiers to keep, in this order; by default all.

    Returns
    -------
    Grid

    Raises
    ------
    ValueError
        As `tierlab.routing.outcomes.check_outcomes`, and for an unknown model or tier.
    """
    tiers = _tiers(outcomes)
    if models is not None:
        known = list(pd.unique(outcomes["model_id"]))
        models = [tiers.get(name, name) for name in models]
        for name in models:
            if name not in known:
                raise ValueError(unknown("model or tier", name, [*known, *tiers]))
        if len(known) > len(set(models)):
            outcomes = outcomes[outcomes["model_id"].isin(models)]
    outcomes, (prompt, prompts), (model, found) = checked_cells(outcomes)
    rows = np.empty((len(prompts), len(found)), "intp")
    rows[prompt, model] = np.arange(len(outcomes))
    if models is not None:
        rows, found = rows[:, pd.Index(found).get_indexer(models)], models
    names = {name: column for column, name in enumerate(found)}
    names = {str(name): column for name, column in names.items()} | names
    names |= {tier: names[name] for tier, name in tiers.items() if name in names}
    return Grid(outcomes, pd.Index(prompts, name="prompt_id"), list(found), rows, names)


def _tiers(outcomes):
    """Map the tiers that are one model each to its id."""
    if "tier" not in outcomes:
        return {}
    pairs = outcomes[["tier", "model_id"]].drop_duplicates().dropna().astype(object)
    return dict(pairs.drop_duplicates("tier", keep=False).itertuples(index=False))


class View(Mapping):
    """The features of some rows of a grid, each fetched when a policy asks for it."""

    def __init__(self, grid, rows=slice(None)):
        self.grid, self.rows = grid, rows

    def __getitem__(self, name):
        grid = self.grid
        if name == "models":
            return grid.models
        if name in grid.extra:
            values = grid.extra[name]
            return values if np.ndim(values) == 0 else values[self.rows]
        if name in ("prompt_id", "prompt_key"):
            return (grid.prompts if name == "prompt_id" else grid.keys)[self.rows]
        kind, _, model = name.partition(":")
        if model in grid.names and kind in _NUMBERS:
            return grid.values(kind, model)[self.rows]
        if name in _HIDDEN or name not in grid.table:
            raise KeyError(name)
        return _array(grid.table[name].array[grid.rows[self.rows, 0]])

    def __iter__(self):
        kinds = ("score", "cost_usd")
        models = [f"{kind}:{model}" for kind in kinds for model in self.grid.models]
        columns = [column for column in self.grid.table if column not in _HIDDEN]
        names = ["prompt_id", "models", *models, *self.grid.extra, *columns]
        return iter(dict.fromkeys(names))

    def __len__(self):
        return sum(1 for _ in self)


def align(series, prompts):
    """Return a Series that is indexed by prompt_id in the order of the prompts.

    Raises
    ------
    ValueError
        If the Series has a prompt twice, not at all, or without a value.
    """
    if series.index.has_duplicates:
        twice = plain(series.index[series.index.duplicated()][0])
        raise ValueError(
            f"{series.name!r} has prompt {twice!r} more than once; its index must hold each prompt_id once"
        )
    found = series if series.index.equals(prompts) else series.reindex(prompts)
    missing = found.isna().to_numpy()
    if missing.any():
        first = plain(prompts[missing.argmax()])
        raise ValueError(
            f"{series.name!r} is missing for {counted(missing.sum(), 'prompt')}, first {first!r}; its index must be prompt_id"
        )
    return found


def _array(values):
    # categories stay as they are, so that rules compare codes and not texts
    return values if isinstance(values, pd.Categorical) else values.to_numpy()


def route(
    outcomes: pd.DataFrame,
    policy: Policy,
    *,
    seed: int | None = None,
    features: pd.Series | pd.DataFrame | None = None,
    sessions: Caches | None = None,
) -> pd.DataFrame:
    """Replay a policy on every prompt of an outcomes table.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table: every prompt answered by every model. `tierlab.price_outcomes` prices it anew.
    policy : Policy
        From `tierlab.routing.policies`, or any object with their method.
    seed : int, optional
        Needed by policies that draw.
    features : Series or DataFrame, optional
        More features, indexed by prompt_id, such as a trained router's scores.
    sessions : Caches, optional
        Replay conversations: prompts are the turns of sessions (columns session_id and turn), and every call is
        priced by what the called model's own prompt cache holds of the session (`tierlab.routing.sessions`).

    Returns
    -------
    DataFrame
        One row per prompt: prompt_id; model_id whose answer stands (missing if there is none); score, 0-1;
        cost_usd of that answer; router_cost_usd of the policy's own calls and every discarded answer;
        end_to_end_s of all calls, one after the other; reason; calls; status of the answer; source. With `sessions`
        also session_id, turn, and the tokens read from and written to caches.

    Raises
    ------
    ValueError
        If the table cannot be used, a model or tier is unknown, or a feature, price or seed is missing.
    RuntimeError
        If budgets do not settle.

    Notes
    -----
    A failed call costs and takes what the table says. Costs that the table does not have stay NaN. A budget depends
    only on earlier requests, so repeating the replay with the spend of the last round settles on the one consistent
    result.

    Examples
    --------
    >>> import tierlab as tl
    >>> from tierlab.routing.policies import Threshold
    >>> table = tl.simulate_outcomes(1000, seed=1, prices=tl.load_prices("article"))
    >>> routes = route(table, Threshold("router_signal", 0.8, ("small", "flagship")))
    >>> routes["model_id"].value_counts().to_dict()
    {'claude-haiku-4-5': 792, 'claude-opus-4-8': 208, 'claude-sonnet-4-6': 0}
    """
    grid = pair_outcomes(as_pandas(outcomes, "outcomes"))
    if isinstance(features, pd.Series):
        features = features.to_frame(features.name or "router_score")
    for column in () if features is None else features:
        grid.extra[str(column)] = _array(align(features[column], grid.prompts).array)
    if seed is not None:
        grid.extra["seed"] = seed
    budgets = [part for part in policy_parts(policy) if isinstance(part, Budget)]
    groups = {budget.ledger: _spenders(grid, budget) for budget in budgets}
    spent = {ledger: np.zeros(len(grid.prompts)) for ledger in groups}
    talks = None if sessions is None else Conversations(grid, sessions)
    for _ in range(_ROUNDS):
        grid.extra |= spent
        done = _walk(policy, grid, talks)
        cost = done["cost_usd"] + done["router_cost_usd"]
        found = {ledger: _before(*spenders, cost) for ledger, spenders in groups.items()}
        if all(np.array_equal(spent[ledger], found[ledger]) for ledger in groups):
            return _routes(grid, done) if talks is None else talks.told(_routes(grid, done))
        spent = found
    raise RuntimeError(
        f"the budgets did not settle in {_ROUNDS:,} rounds; route a shorter stretch of time"
    )


def _walk(policy, grid, talks=None):
    """Let a policy decide on all requests; in conversations, on one turn after the other."""
    n = len(grid.prompts)
    done = {
        "model_id": np.full(n, -1, "int16"),
        "score": np.zeros(n),
        "cost_usd": np.zeros(n),
        "router_cost_usd": np.zeros(n),
        "end_to_end_s": np.zeros(n),
        "reason": np.full(n, "", object),
        "calls": np.zeros(n, "int16"),
        "status": np.zeros(n, "int8"),
    }
    for active in [np.arange(n)] if talks is None else talks.turns():
        _decide(policy, grid, active, done, talks)
    return done


def _decide(policy, grid, active, done, talks):
    """Let a policy decide, answer from the table, and let it decide again, until it stops for each of the requests."""
    answers, everything = [], len(active) == len(grid.prompts)
    while len(active):
        rows = slice(None) if everything and not answers else active
        choice = policy.choose(View(grid, rows), answers)
        done["router_cost_usd"][active] += choice.cost_usd
        done["end_to_end_s"][active] += choice.seconds
        names = np.broadcast_to(np.asarray(choice.name, object), len(active))
        codes, found = pd.factorize(names)
        codes = np.array([*(grid.column(name) for name in found), -1], "int16")[codes]
        going = codes >= 0
        # a refusal is the reason of a request without an answer; a stop leaves the reason of its last answer
        told = going if answers else np.ones(len(active), bool)
        reasons = np.broadcast_to(np.asarray(choice.reason, object), len(active))
        done["reason"][active[told]] = reasons[told]
        active, codes = active[going], codes[going]
        for answer in answers:
            answer |= {key: part[going] for key, part in answer.items() if key != "step"}
        at = grid.rows[active, codes]
        answer = {
            "name": names[going],
            "model_id": np.array(grid.models, object)[codes],
            "status": np.array(STATUSES, object)[grid.status[at]],
            "step": len(answers),
        }
        answer |= {column: grid.numbers(column)[at] for column in _NUMBERS}
        if talks is not None:
            answer["cost_usd"] = talks.pay(active, codes, names[going])
        answers.append(answer)
        # the answer before this one is discarded, and was paid for
        done["router_cost_usd"][active] += done["cost_usd"][active]
        done["model_id"][active] = codes
        done["status"][active] = grid.status[at]
        done["score"][active] = answer["score"]
        done["cost_usd"][active] = answer["cost_usd"]
        done["end_to_end_s"][active] += answer["end_to_end_s"]
        done["calls"][active] += 1


def _routes(grid, done):
    routes = pd.DataFrame({"prompt_id": grid.prompts, **done}, copy=False)
    routes["model_id"] = pd.Categorical.from_codes(done["model_id"], grid.models)
    routes["reason"] = routes["reason"].astype("category")
    routes["status"] = pd.Categorical.from_codes(done["status"], list(STATUSES))
    if "source" in grid.table:
        routes["source"] = grid.table["source"].array[grid.rows[:, 0]]
    return routes


def policy_parts(policy):
    """Yield a policy and the policies inside it."""
    yield policy
    for part in vars(policy).values():
        if isinstance(part, Policy):
            yield from policy_parts(part)


def _spenders(grid, budget):
    """Return the requests in order of time within each budget, and the number of the budget that each one spends."""
    view = View(grid)
    group = np.zeros(len(grid.prompts), "int64")
    if budget.by is not None:
        if budget.by not in view:
            raise ValueError(
                f"a budget by {budget.by!r} needs that column; there are {sorted(view)}"
            )
        group = pd.factorize(view[budget.by], use_na_sentinel=False)[0]
    if "at" not in view:
        raise ValueError("a budget needs the time of each request, column 'at'")
    times = in_utc(pd.DataFrame({"at": view["at"]}, grid.prompts))
    times = times.to_numpy("datetime64[us]")
    if PERIODS[budget.period] is not None:
        span = pd.factorize(times.astype(f"datetime64[{PERIODS[budget.period]}]"))[0]
        group = group * (span.max() + 1) + span
    # by budget, then by time; requests of one moment by their id
    in_time = np.lexsort((grid.prompts.to_numpy(), times, group))
    return in_time, group


def _before(order, group, cost):
    """Return what the earlier requests of the same group have spent (US dollars)."""
    if np.isnan(cost).any():
        raise ValueError(
            f"a budget needs costs, which {counted(np.isnan(cost).sum(), 'request')} of the table lack; "
            "tierlab.price_outcomes works them out from tokens"
        )
    total = np.cumsum(cost[order]) - cost[order]
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    total -= np.repeat(total[starts], np.diff(np.append(starts, len(order))))
    result = np.empty(len(order))
    result[order] = total
    return result
