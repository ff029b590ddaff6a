"""Which rate a request was bought at: the same model has another price at another seller, region or service tier.

An offer is the answer to a spelling, a platform, a region and a service tier. With it comes what had to be assumed,
and what a seller adds by rule where the catalogue has no rate (data/premiums.csv). Images, audio, searches, pages and
fees per request have genai-prices' own rates.
"""

import re
from datetime import datetime, time
from functools import lru_cache
from typing import NamedTuple

import pandas as pd

from tierlab.core.vocabulary import unknown
from tierlab.prices.maintained import BATCH, MODES, peak_hours, premiums, rate_at
from tierlab.prices.names import listed, makers, platform_of
from tierlab.prices.table import KEY

FLAGS = (
    "approximate_price",
    "assumed_batch_rate",
    "assumed_write_rate",
    "before_launch",
    "after_retirement",
    "before_first_price",
    "aggregate_without_band",
    "over_window",
    "stale_price",
    "assumed_platform",
    "assumed_region",
    "assumed_service_tier",
    "assumed_premium",
    "assumed_peak_hours",
    "unstepped_batch_rate",
)
BIT = {flag: 1 << place for place, flag in enumerate(FLAGS)}
_STANDARD = ("default", "on_demand", "ondemand", "batch", "standard_only", "global")
# Sellers whose list price is the maker's own: Azure by genai-prices, Gemini's two doors at Google.
_SAME_LIST = {
    "azure": ("openai", "anthropic", "deepseek", "x-ai", "moonshotai"),
    "vertex": ("google",),
}
_PLACED = ("azure", "bedrock", "vertex")  # where the price depends on a region that logs leave out


class Offer(NamedTuple):
    """What one model costs as it was bought: its rows of `Prices.rates`, a factor on them, and bits of `FLAGS`."""

    name: str
    rows: tuple
    factor: float = 1.0
    flags: int = 0
    off_peak: tuple = ()  # rows outside the hours of the peak rate
    hours: tuple = ()  # of the peak rate: (start, end) in seconds of a UTC day

    def at_hours(self, *, peak):
        """Return the offer as it holds inside the hours of its peak rate, or outside of them."""
        flags = self.flags & ~BIT["assumed_peak_hours"]
        rows = self.rows if peak else self.off_peak
        return self._replace(rows=rows, flags=flags, hours=(), off_peak=())


def find_offer(prices, spelling, platform=None, region=None, service_tier=None, *, told=()):
    """Find the offer that a request was bought at.

    What the spelling itself says of a region counts first (it is a price class); a platform or a tier of the table
    counts before what the spelling says.

    Parameters
    ----------
    prices : Prices
    spelling : str
    platform, region, service_tier : str, optional
        What the log says; None where it does not say.
    told : collection of str
        Which of the three the log says for other rows: where this row does not, it is an assumption.

    Raises
    ------
    ValueError
        If the model is unknown, or sold by several hosts but not by its maker, and no platform is named.
    """
    found = prices.alias(spelling)
    said = platform or region or service_tier or told or found.platform or found.service_tier
    if not said and found.model_id in prices.rows_of and found.model_id not in peak_hours_of():
        return Offer(found.model_id, tuple(prices.rows_of[found.model_id].tolist()))
    platform = platform_of(str(platform)) if platform else found.platform
    model_id = prices.listed_as(spelling, platform, found.model_id)
    sellers = prices.sellers.get(model_id)
    if sellers is None:
        raise ValueError(prices.no_price(spelling, found.model_id))
    maker = prices.maker(sellers)
    seller, flags = _seller(spelling, platform, maker, sellers, told)
    region = found.region or (str(region).lower() if region else None)
    region = None if region in ("default", "not_available", "") else region
    tier = normal_tier(service_tier or found.service_tier, maker)
    keys, where = sellers[seller], platform or seller
    place, bits = _price_class(keys, region)
    flags |= bits
    factor = 1.0
    if not place:
        factor, bits = _premium(where, maker, model_id, region)
        flags |= bits
        if where == "bedrock" and not re.match("us|global|regional", region or "us"):
            flags |= BIT["assumed_region"]  # the listed rate is that of the US
    if tier is None and "service_tier" in told and any(key[1] != "standard" for key in keys):
        flags |= BIT["assumed_service_tier"]
    rows = keys.get((place, tier or "standard"))
    if rows is None:
        rows = keys.get((place, "standard")) or next(iter(keys.values()))
        rules = (r for r in premiums() if r.service_tier == tier)
        more = next((r.factor for r in rules if _applies(r, where, maker, model_id)), None)
        flags |= BIT["assumed_service_tier" if more is None else "assumed_premium"]
        factor *= more or 1.0
    elif tier not in (None, "standard") and seller != where:
        flags |= BIT["assumed_premium"]  # another seller's tier at the maker's rate
    offer = Offer(model_id if where == maker else f"{model_id} on {where}", rows, factor, flags)
    hours, off_peak = peak_hours_of().get(model_id), keys.get((place, "offpeak"))
    if hours and off_peak and seller == maker and tier in (None, "standard"):
        flags |= BIT["assumed_peak_hours"]
        return offer._replace(flags=flags, off_peak=off_peak, hours=hours)
    return offer


def _seller(spelling, platform, maker, sellers, told):
    """Return the seller whose rates hold for a platform, and what had to be assumed."""
    if platform not in (None, "first_party"):
        # Vertex stands in for the Gemini API, and the maker for every other platform.
        others = ("vertex", maker) if platform == "google" else (maker,)
        seller = next((name for name in (platform, *others) if name in sellers), None)
        if seller is None:
            raise ValueError(
                f"{spelling!r} has no price on platform {platform!r}; it is sold by {', '.join(sorted(sellers))}"
            )
        same = maker in _SAME_LIST.get(platform, ()) or {platform, seller} == {"google", "vertex"}
        return seller, BIT["assumed_platform"] * (seller != platform and not same)
    if maker in sellers:
        unsaid = platform is None and len(sellers) > 1 and "platform" in told
        return maker, BIT["assumed_platform"] * unsaid
    if len(sellers) > 1:
        raise ValueError(
            f"{spelling!r} is sold by {', '.join(sorted(sellers))}, and not by its maker:"
            " say which (column 'platform')"
        )
    return next(iter(sellers)), BIT["assumed_platform"]


def _price_class(keys, region):
    """Return the region of the rate that holds for a request's region, and what had to be assumed."""
    places = {place for place, _ in keys}
    if "" in places:
        return "", 0
    place = "global" if region == "global" else "regional"
    if place in places:
        return place, BIT["assumed_region"] * (region is None and len(places) > 1)
    return next(iter(places)), BIT["assumed_region"]


def _premium(platform, maker, model_id, region):
    """Return the factor that a rule sets for a region, and its flag."""
    for rule in premiums():
        if rule.region and _applies(rule, platform, maker, model_id):
            if region is None:
                return 1.0, BIT["assumed_region"] * (platform in _PLACED)
            if re.fullmatch(rule.region, region):
                return rule.factor, BIT["assumed_premium"]
    return 1.0, 0


def _applies(rule, platform, maker, model_id):
    """Return whether a rule is about a seller's model; for Gemini, Vertex and the Gemini API count as one seller."""
    at = "google" if maker == "google" and platform == "vertex" else platform
    return (
        rule.platform == at and rule.provider in ("", maker) and re.fullmatch(rule.model, model_id)
    )


def normal_tier(tier, maker):
    """Return a service tier in its normal form, or None; OpenAI's fast is its priority tier."""
    tier = str(tier).strip().lower().replace("-", "_").replace(" ", "_") if tier else None
    if tier in _STANDARD:
        return "standard"
    return "priority" if tier == "fast" and maker == "openai" else tier or None


@lru_cache
def peak_hours_of():
    """Map each model with a peak rate to its hours: (start, end) pairs in seconds of a UTC day."""
    return {
        entry.model_id: tuple(
            (3600 * start.hour + 60 * start.minute, 3600 * end.hour + 60 * end.minute)
            for start, end in peak_hours(entry.model)
        )
        for entry in listed()
        if entry.platform == entry.provider and peak_hours(entry.model)
    }


def unit_rate(prices, offer, unit, day, batch=False):
    """Find the rate of an offer for something other than a text token, in US dollars per unit.

    A kind of token without a rate of its own is billed as the token it is: the rule of genai-prices.

    Parameters
    ----------
    prices : Prices
    offer : Offer
    unit : str
        A usage key of genai-prices: input_audio_tokens, web_searches, input_document_pages, ...
    day : date or Timestamp
    batch : bool
        Whether the batch rate is asked for.

    Raises
    ------
    ValueError
        If the unit is unknown, or the offer has no rate for it.
    """
    known = _units()
    if unit not in known:
        raise ValueError(unknown("unit", unit, list(known)))
    model_id, platform, region, tier = prices.rates.loc[offer.rows[0], KEY]
    entry = _entries().get((model_id, platform, region or None)) if prices.hosted else None
    if entry is not None:
        context = (BATCH if batch else {}) | MODES.get(tier, {})
        at = datetime.combine(pd.Timestamp(day).date(), time.min)
        rates = vars(entry.model.get_prices(at, context))
        for name in (unit, *_parents(unit)):
            price_key, per = known[name]
            if rates.get(price_key) is not None:
                return rate_at(rates[price_key], 0) / per
    raise ValueError(f"{offer.name} has no rate for {unit}; a rate is never guessed")


@lru_cache
def request_fees():
    """Map each model whose maker bills a fee per request beside the tokens to that fee (US dollars)."""
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
    """Map each usage key of genai-prices to its price key and the number of units that a price is for."""
    from genai_prices.data_units import unit_data

    return {name: (unit.get("price_key", name), unit["per"]) for name, unit in unit_data.items()}


def _parents(unit):
    """Return the more general kinds of token that a kind of token belongs to."""
    if not unit.endswith("_tokens"):
        return ()
    if unit.startswith("cache_"):
        return ("cache_read_tokens",) if "_read_" in unit else ("cache_write_tokens",)
    return (f"{unit.split('_')[0]}_tokens",)
