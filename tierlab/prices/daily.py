"""A summed usage log at other rates: those of another day, of another model, or of the batch endpoint.

The table is `Cube.daily`. Its sums carry no lengths of requests, so what a context step added is kept as a ratio to
the rates below the step.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from tierlab.core.vocabulary import BUCKETS, TIERS
from tierlab.prices.offers import Offer
from tierlab.prices.pricing import PARTS, rate_book

TIER_LABELS = (*reversed(TIERS), "reasoning", "other models")


class Bought(NamedTuple):
    """The rate that priced a request, named so that any catalogue can find it: its key, and a seller's factor on it."""

    model_id: str
    platform: str
    region: str
    service_tier: str
    factor: float = 1.0


def bought(daily):
    """Return what each row of `Cube.daily` was bought as: by default, its model at the standard rate."""
    return daily["offer"] if "offer" in daily else daily["model_id"].astype(object)


def rates_at(prices, model_ids, days, batch=False):
    """Return the rates below any context step, in US dollars per token.

    Parameters
    ----------
    prices : Prices
    model_ids : array_like of str or Bought, shape (n,)
    days : array_like of datetime64, shape (n,), or one day
    batch : array_like of bool, shape (n,), or one bool

    Returns
    -------
    ndarray, shape (n, 5)
        Rates in the order of `tierlab.BUCKETS`; NaN where the catalogue has none. Before the date of a model's first
        rate, that rate is returned.

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
    if isinstance(name, Bought):
        rows = prices.sellers[name.model_id][name.platform][name.region, name.service_tier]
        return Offer(name.model_id, rows, name.factor)
    model_id = prices.resolve(name)
    return Offer(model_id, tuple(prices.rows_of[model_id].tolist()))


def in_batch(daily):
    """Return which rows went through a batch endpoint; none where the log does not say."""
    return daily.get("batch", pd.Series(False, daily.index)).fillna(False).to_numpy(bool)


def at_base(daily, rates):
    """Price the rows' tokens at some rates: an array of US dollars in the order of `PARTS`, shape (n, 4).

    A bucket without tokens costs nothing, even where there is no rate for it.
    """
    tokens = daily[[f"{bucket}_tokens" for bucket in BUCKETS]].to_numpy(float)
    usd = np.where(tokens > 0, tokens * rates, 0.0)
    return np.column_stack([usd[:, 0], usd[:, 1], usd[:, 2] + usd[:, 3], usd[:, 4]])


def repriced(daily, prices, on, *, batch=None, ahead=None):
    """Price the same tokens on the same models at the rates of another day.

    Parameters
    ----------
    daily : DataFrame
        `Cube.daily`, or rows of it.
    prices : Prices
    on : str, Timestamp or array of datetime64
        The day whose rates apply.
    batch : bool, optional
        Whether to use the batch rates; by default each row stays in or out of batch as it was.
    ahead : Prices, optional
        The catalogue for the day `on` (`Prices.over` a horizon, for example); by default `prices`.

    Returns
    -------
    Series
        US dollars, with the index of `daily`; NaN where a rate that the tokens need is not known on that day.

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
    """Do the same as `repriced`, by part: an array of US dollars in the order of `PARTS`, shape (n, 4)."""
    names, own = bought(daily), in_batch(daily)
    here = at_base(daily, rates_at(prices, names, daily["day"], own))
    there = at_base(daily, rates_at(ahead or prices, names, on, own if batch is None else batch))
    paid = daily[list(PARTS)].to_numpy(float)
    return there * np.divide(paid, here, out=np.ones_like(paid), where=here > 0)


def on_model(daily, prices, model_id, on):
    """Price the same tokens on another model (US dollars), at its rates of a day below any context step."""
    rates = rates_at(prices, [model_id] * len(daily), on, in_batch(daily))
    return pd.Series(at_base(daily, rates).sum(axis=1), daily.index)


def tiers_of(prices, model_ids, days):
    """Return the tier of each model in the lineup of a day: one of `TIER_LABELS`.

    On days before the first lineup, the first one counts. A model that is not in the lineup of the day has the tier
    it has in another.
    """
    ids, known = pd.Series(np.asarray(model_ids, object)), prices.by_model
    labels = known["tier"].where(~known["reasoning_model"], "reasoning")
    result = ids.map(labels).fillna(TIER_LABELS[-1]).to_numpy(object)
    lineups = prices.lineups.sort_values("as_of", kind="stable")
    dates = lineups["as_of"].drop_duplicates().to_numpy("datetime64[us]")
    place = np.searchsorted(dates, np.asarray(days, "datetime64[us]"), side="right") - 1
    for position, date in enumerate(dates):
        rows = lineups[lineups["as_of"] == date].set_index("model_id")
        names = rows["tier"].where(~rows["reasoning_model"].astype(bool), "reasoning")
        found = ids.map(names.to_dict()).to_numpy(object)
        result = np.where((np.maximum(place, 0) == position) & pd.notna(found), found, result)
    return result


def labelled(values):
    """Return a dimension's values as text, "(none)" where the log has none."""
    return values.astype(object).where(values.notna(), "(none)").astype(str)
