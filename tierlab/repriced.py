"""A summed usage log at other rates: those of another day, of another model, or of the batch endpoint.

The table is `Cube.daily`. Sums carry no request lengths, so what a context step added is kept as the ratio that it
was to the rates below the step.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from tierlab.catalog import SINCE_EVER
from tierlab.names import BATCH_RATES, BUCKETS, TIERS

TIER_LABELS = (*reversed(TIERS), "reasoning", "outside the lineup")
PARTS = {
    "uncached_input_usd": ("uncached_input",),
    "cache_read_usd": ("cache_read",),
    "cache_write_usd": ("cache_write_5m", "cache_write_1h"),
    "output_usd": ("output",),
}


def rates_at(prices, model_ids, days, batch=False):
    """Rates below any context step, in US dollars per token.

    Parameters
    ----------
    prices : Prices
    model_ids : array_like of str
    days : array_like of datetime64, or one day
    batch : array_like of bool, or one

    Returns
    -------
    ndarray, shape (n, 5)
        In the order of `tierlab.BUCKETS`; NaN where the catalogue has none. Before a model's first rate, that rate.

    Examples
    --------
    >>> import tierlab as tl
    >>> terra = rates_at(tl.load_prices("maintained"), ["gpt-5.6-terra"] * 2, pd.to_datetime(["2026-07-29", "2026-07-30"]))
    >>> (terra[:, 0] * 1e6).round(2).tolist()
    [2.5, 2.0]
    """
    names, days = np.asarray(model_ids, object), np.broadcast_to(np.asarray(days, "datetime64[us]"), len(model_ids))
    frame = prices.frame
    start = frame["valid_from"].fillna(SINCE_EVER).to_numpy("datetime64[us]")
    above, rates = frame["context_above"].to_numpy(), frame[[*BUCKETS, *BATCH_RATES]].to_numpy(float) / 1e6
    table = np.full((len(names), 2 * len(BUCKETS)), np.nan)
    codes, unique = pd.factorize(names)
    for code, name in enumerate(unique):
        rows = prices.rows_of[prices.resolve(name)]
        rows = rows[np.lexsort((above[rows], start[rows]))]
        rows = rows[np.r_[True, start[rows][1:] != start[rows][:-1]]]
        places = np.flatnonzero(codes == code)
        table[places] = rates[rows[np.maximum(np.searchsorted(start[rows], days[places], side="right") - 1, 0)]]
    way = np.broadcast_to(np.asarray(batch, bool), len(names)).astype(int)
    return table.reshape(-1, 2, len(BUCKETS))[np.arange(len(names)), way]


def changes_of(prices, models, start, end):
    """`Prices.changes` of some models."""
    frame, ends = (table[table["model_id"].isin(models)] for table in (prices.frame, prices.ends))
    return replace(prices, frame=frame, ends=ends).changes(start, end)


def in_batch(daily):
    """Which rows went through a batch endpoint; none where the log does not say."""
    return daily["batch"].fillna(False).to_numpy(bool) if "batch" in daily else np.zeros(len(daily), bool)


def at_base(daily, rates):
    """US dollars of the rows' tokens at some rates: uncached input, cache reads, cache writes, output; shape (n, 4).

    A bucket without tokens costs nothing, whether there is a rate or not.
    """
    tokens = daily[[f"{bucket}_tokens" for bucket in BUCKETS]].to_numpy(float)
    usd = np.where(tokens > 0, tokens * rates, 0.0)
    return np.column_stack([usd[:, 0], usd[:, 1], usd[:, 2] + usd[:, 3], usd[:, 4]])


def repriced(daily, prices, on, *, batch=None, ahead=None):
    """The same tokens on the same models at the rates of another day.

    Parameters
    ----------
    daily : DataFrame
        `Cube.daily`, or rows of it.
    prices : Prices
    on : str, Timestamp or array of datetime64
        The day whose rates apply.
    batch : bool, optional
        True for the batch rates; by default each row keeps its way.
    ahead : Prices, optional
        Whose rates of the day `on` apply (`Prices.over` a horizon); by default those of `prices`.

    Returns
    -------
    Series
        US dollars, index of `daily`; NaN where a rate that the tokens need is not known on that day.

    Examples
    --------
    A fifth off gpt-5.6-terra on 2026-07-30:

    >>> import tierlab as tl
    >>> prices = tl.load_prices("maintained")
    >>> log = pd.DataFrame({"at": pd.to_datetime(["2026-07-29"]), "model_id": "gpt-5.6-terra",
    ...                     "uncached_input_tokens": 200_000, "output_tokens": 10_000})
    >>> daily = tl.build_cube(log, prices).daily
    >>> daily["cost_usd"].tolist(), repriced(daily, prices, "2026-07-30").round(9).tolist()
    ([0.65], [0.52])
    """
    own = in_batch(daily)
    here = at_base(daily, rates_at(prices, daily["model_id"], daily["day"], own))
    there = at_base(daily, rates_at(ahead or prices, daily["model_id"], on, own if batch is None else batch))
    paid = daily[list(PARTS)].to_numpy(float)
    step = np.divide(paid, here, out=np.ones_like(paid), where=here > 0)
    return pd.Series((there * step).sum(axis=1), index=daily.index)


def on_model(daily, prices, model_id, on):
    """The same tokens on another model (US dollars), at its rates of a day below any context step."""
    return pd.Series(at_base(daily, rates_at(prices, [model_id] * len(daily), on, in_batch(daily))).sum(axis=1), daily.index)


def tiers_of(prices, model_ids, days):
    """Tier of each model in the lineup of the day: one of `TIER_LABELS`.

    Before the first lineup the first counts. A model that has left the lineup keeps the tier it had in another.
    """
    known = prices.by_model
    labels = known["tier"].where(~known["reasoning_model"], "reasoning").fillna(TIER_LABELS[-1])
    result = pd.Series(np.asarray(model_ids, object)).map(labels).fillna(TIER_LABELS[-1]).to_numpy(object)
    lineups = prices.lineups.sort_values("as_of", kind="stable")
    dates = lineups["as_of"].drop_duplicates().to_numpy("datetime64[us]")
    if len(dates) == 0:
        return result
    days = np.asarray(days, "datetime64[us]")
    place = np.maximum(np.searchsorted(dates, days, side="right") - 1, 0)
    for position, date in enumerate(dates):
        rows = lineups[lineups["as_of"] == date].set_index("model_id")
        names = rows["tier"].where(~rows["reasoning_model"].astype(bool), "reasoning")
        found = pd.Series(np.asarray(model_ids, object)).map(names.to_dict()).to_numpy(object)
        result = np.where((place == position) & pd.notna(found), found, result)
    return result


def labelled(values):
    """A dimension's values as text, "(none)" where the log has none."""
    return values.astype(object).where(values.notna(), "(none)").astype(str)
