"""Outcomes lined up: one row per prompt, one column per model, and what a router may see of each prompt."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from tierlab.buckets import plain
from tierlab.names import unknown
from tierlab.outcome_table import checked_cells
from tierlab.policies import request_key

# What differs between the answers to one prompt; difficulty is what no router sees.
_OF_ANSWERS = {
    *("model_id", "tier", "score", "cost_usd", "cost_source", "end_to_end_s", "ttft_s", "status", "answer", "flags"),
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
        return self.table[column].to_numpy(float)[rows] if column in self.table else np.full(rows.shape, np.nan)

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
        As `tierlab.outcomes.check_outcomes`, and for an unknown model or tier.
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
        named = ("prompt_id", "models", *(f"{kind}:{m}" for kind in ("score", "cost_usd") for m in self.grid.models))
        return iter(dict.fromkeys([*named, *self.grid.extra, *(c for c in self.grid.table if c not in _OF_ANSWERS)]))

    def __len__(self):
        return sum(1 for _ in self)


def aligned(features, prompts):
    """Features indexed by prompt_id as arrays in the order of the prompts; a prompt without one is refused."""
    if features is None:
        return {}
    frame = features.to_frame(features.name or "router_score") if isinstance(features, pd.Series) else features
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
        raise ValueError(f"{series.name!r} has prompt {plain(twice)!r} more than once; its index must be prompt_id, once each")
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
        raise ValueError(f"{series.name!r} is missing for {int(bad.sum()):,} prompts, first {plain(prompts[bad.argmax()])!r}")
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
