"""What is not a text token: images, audio, searches, pages and fees per request, at genai-prices' own rates."""

from datetime import datetime, time
from functools import lru_cache

import numpy as np
import pandas as pd

from tierlab.core.tables import plain
from tierlab.core.vocabulary import unknown
from tierlab.prices.maintained import BATCH, MODES, rate_at
from tierlab.prices.names import listed, makers


def other_usd(requests, prices, offers, codes, at, batch):
    """US dollars of `quantity` units of each row, and of fees per request; None where there is neither.

    Parameters
    ----------
    requests : DataFrame
        With `unit` (a usage key of genai-prices: input_audio_tokens, output_image_tokens, web_searches,
        input_document_pages, ...) and `quantity` where a row has something beside its text tokens.
    prices : Prices
    offers : list of Offer
    codes : ndarray of int
        Which offer each row was bought at.
    at : ndarray of int or None
        Microseconds since 1970, UTC; None for `prices.as_of`.
    batch : ndarray of bool or None

    Raises
    ------
    ValueError
        Naming the row, where a unit is unknown or has no rate.
    """
    known = request_fees() if prices.hosted else {}
    fees = [known.get(offer.name, 0.0) for offer in offers]
    if "unit" not in requests and not any(fees):
        return None
    units = requests["unit"] if "unit" in requests else pd.Series(None, requests.index)
    there = units.notna().to_numpy()
    if not there.any() and not any(fees):
        return None
    count = requests["requests"] if "requests" in requests else pd.Series(1, requests.index)
    usd = np.array([*fees, 0.0])[codes] * count.fillna(1).to_numpy(float)
    if not there.any():
        return usd
    table = pd.DataFrame(
        {
            "offer": codes,
            "unit": units.to_numpy(object),
            "day": prices.as_of if at is None else pd.to_datetime(at, unit="us").floor("D"),
            "batch": False if batch is None else batch,
        },
        index=np.arange(len(requests)),
    )[there]
    quantity = requests["quantity"].to_numpy(float, na_value=np.nan)
    bad = there & ~(quantity >= 0)
    if bad.any():
        row = requests.index[np.flatnonzero(bad)[0]]
        raise ValueError(f"row {plain(row)!r}, column 'quantity': a number from 0 up is needed")
    for key, rows in table.groupby(["offer", "unit", "day", "batch"], sort=False).indices.items():
        rows = table.index[rows].to_numpy()
        offer = offers[key[0]]
        try:
            rate = unit_rate(prices, offer, *key[1:])
        except ValueError as error:
            raise ValueError(
                f"{error} (row {plain(requests.index[rows[0]])!r}, column 'unit')"
            ) from None
        usd[rows] += quantity[rows] * rate * offer.factor
    return usd


def unit_rate(prices, offer, unit, day, batch=False):
    """US dollars per unit of an offer on a day, below any context step.

    A kind of token without a rate of its own is billed as the token it is: the rule of genai-prices.
    """
    known = _units()
    if unit not in known:
        raise ValueError(unknown("unit", unit, list(known)))
    model_id, platform, region, tier = prices.rates.loc[
        offer.rows[0], ["model_id", "platform", "region", "service_tier"]
    ]
    entry = _entries().get((model_id, platform, region or None)) if prices.hosted else None
    if entry is None:
        raise ValueError(f"{offer.name} has no rate for {unit}; a rate is never guessed")
    context = (BATCH if batch else {}) | MODES.get(tier, {})
    rates = vars(
        entry.model.get_prices(datetime.combine(pd.Timestamp(day).date(), time.min), context)
    )
    for name in (unit, *_parents(unit)):
        price_key, per = known[name]
        if rates.get(price_key) is not None:
            return rate_at(rates[price_key], 0) / per
    raise ValueError(f"{offer.name} has no rate for {unit}; a rate is never guessed")


@lru_cache
def request_fees():
    """Model id -> US dollars per request, for the models whose maker bills one beside the tokens."""
    rates = {model.id: vars(model.get_prices(datetime.max)) for _, model in makers()}
    return {
        model_id: float(own["requests_kcount"]) / 1000
        for model_id, own in rates.items()
        if own.get("requests_kcount") is not None
    }


@lru_cache
def _entries():
    return {(entry.model_id, entry.platform, entry.region): entry for entry in listed()}


@lru_cache
def _units():
    """Usage key -> (price key, units per price) of genai-prices."""
    from genai_prices.data_units import unit_data

    return {name: (unit.get("price_key", name), unit["per"]) for name, unit in unit_data.items()}


def _parents(unit):
    """The plainer tokens that a kind of token is one of."""
    if not unit.endswith("_tokens"):
        return ()
    if unit.startswith("cache_"):
        return ("cache_read_tokens",) if "_read_" in unit else ("cache_write_tokens",)
    return (f"{unit.split('_')[0]}_tokens",)
