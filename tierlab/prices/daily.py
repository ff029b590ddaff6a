"""A summed usage log at other rates: those of another day, of another model, or of the batch endpoint.

The table is `Cube.daily`. Its sums carry no lengths of requests, so what a context step added is kept as a ratio to
the rates below the step.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from tierlab.core.vocabulary import BUCKETS, TIERS
from tierlab.prices.offers import Offer
from tierlab.prices.pricing import rate_book

TIER_LABELS = (*reversed(TIERS), "reasoning", "other models")
PARTS = {
    "uncached_input_usd": ("uncached_input",),
    "cache_read_usd": ("cache_read",),
    "cache_write_usd": ("cache_write_short", "cache_write_long"),
    "output_usd": ("output",),
}


class Bought(NamedTuple):
    """Which rate priced a request, as any catalogue can find it: the key of a rate, and a seller's factor on it."""

    model_id: str
    platform: str
    region: str
    service_tier: str
    factor: float = 1.0


def bought(daily):
    """What each row of `Cube.daily` was bought as: a model at its maker's standard rate, where the table says no more."""
    return daily["offer"] if "offer" in daily else daily["model_id"].astype(object)


def rates_at(prices, model_ids, days, batch=False):
    """Rates below any context step, in US dollars per token.

    Parameters
    ----------
    prices : Prices
    model_ids : array_like of str or Bought
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
    codes, names = pd.factorize(pd.Series(model_ids, dtype=object).to_numpy())
    if not len(codes):
        return np.empty((0, len(BUCKETS)))
    at = np.broadcast_to(np.asarray(days, "datetime64[us]"), len(codes)).astype("int64")
    offers = [_as_offer(prices, name) for name in names]
    book = rate_book(prices, offers, at.min(), at.max())
    slot = np.searchsorted(book.slots, at, side="right")
    row = book.first[codes * (len(book.slots) + 1) + slot]
    return book.known_rates(row + np.asarray(batch, bool))


def _as_offer(prices, name):
    """The offer that a model id or a `Bought` stands for in a catalogue."""
    if isinstance(name, Bought):
        rows = prices.sellers[name.model_id][name.platform][name.region, name.service_tier]
        return Offer(name.model_id, rows, name.factor)
    model_id = prices.resolve(name)
    return Offer(model_id, tuple(prices.rows_of[model_id].tolist()))


def in_batch(daily):
    """Which rows went through a batch endpoint; none where the log does not say."""
    return (
        daily["batch"].fillna(False).to_numpy(bool)
        if "batch" in daily
        else np.zeros(len(daily), bool)
    )


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
    parts = repriced_parts(daily, prices, on, batch=batch, ahead=ahead)
    return pd.Series(parts.sum(axis=1), index=daily.index) + daily.get("other_usd", 0.0)


def repriced_parts(daily, prices, on, *, batch=None, ahead=None):
    """`repriced` by part: an array of shape (n, 4), US dollars in the order of `PARTS`."""
    own = in_batch(daily)
    here = at_base(daily, rates_at(prices, bought(daily), daily["day"], own))
    there = at_base(
        daily, rates_at(ahead or prices, bought(daily), on, own if batch is None else batch)
    )
    paid = daily[list(PARTS)].to_numpy(float)
    return there * np.divide(paid, here, out=np.ones_like(paid), where=here > 0)


def on_model(daily, prices, model_id, on):
    """The same tokens on another model (US dollars), at its rates of a day below any context step."""
    return pd.Series(
        at_base(daily, rates_at(prices, [model_id] * len(daily), on, in_batch(daily))).sum(axis=1),
        daily.index,
    )


def tiers_of(prices, model_ids, days):
    """Tier of each model in the lineup of the day: one of `TIER_LABELS`.

    Before the first lineup the first counts. A model that has left the lineup keeps the tier it had in another.
    """
    known = prices.by_model
    labels = known["tier"].where(~known["reasoning_model"], "reasoning").fillna(TIER_LABELS[-1])
    result = (
        pd.Series(np.asarray(model_ids, object))
        .map(labels)
        .fillna(TIER_LABELS[-1])
        .to_numpy(object)
    )
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
