"""Which tier a task calls for: the task table and the article's rule on its two questions."""

import numpy as np
import pandas as pd

from tierlab.paths import DATA


def load_tasks(path=DATA / "tasks.csv"):
    """The nine task types with the article's tiers (a range) and our two ratings, 1 low to 3 high (ranges)."""
    return pd.read_csv(path).set_index("task")


def tier_by_rule(stakes, complexity):
    """The article's rule: high stakes and complex is flagship, low and simple is small, all between is mid.

    Parameters
    ----------
    stakes, complexity : array_like of int
        What can go wrong, and how complex the reasoning is: 1 low, 2 medium, 3 high.

    Returns
    -------
    ndarray of int
        1 small, 2 mid, 3 flagship.

    Examples
    --------
    >>> tier_by_rule([1, 1, 3, 3], [1, 3, 1, 3]).tolist()
    [1, 2, 2, 3]
    """
    ratings = np.array(np.broadcast_arrays(stakes, complexity))
    if not np.isin(ratings, (1, 2, 3)).all():
        raise ValueError(f"ratings are 1, 2 or 3; got {ratings[~np.isin(ratings, (1, 2, 3))].tolist()}")
    return np.where((ratings == 3).all(axis=0), 3, np.where((ratings == 1).all(axis=0), 1, 2))


def task_tiers(tasks):
    """Lowest and highest tier (1 to 3) that the article's rule gives a task over its rated ranges.

    The rule never falls when a rating rises, so the ends of the ranges give the ends of the tiers.
    """
    ends = {end: tier_by_rule(tasks[f"stakes_{end}"], tasks[f"complexity_{end}"]) for end in ("low", "high")}
    return pd.DataFrame(ends, index=tasks.index)
