"""What one request costs on each candidate: the catalogue's rates over a workload, or what samples cost; and how sure that is."""

from dataclasses import replace

import numpy as np
import pandas as pd

from tierlab.scaling import APPROXIMATE_BAND, daily_cost
from tierlab.workload import NUMERIC

NO_COST = "no price: the samples have no cost_usd of all its answers, nor tokens that the catalogue prices"
_WORKLOADS = 16  # workloads drawn from a range: each prices every model


def request_prices(names, tiers, workload, prices, *, paid, own_prices, draws, stream, notes):
    """Price of a request on each candidate, at the workload's middle and over its ranges.

    Parameters
    ----------
    names : list of str
    tiers : Series of str, by name
    workload : Workload
        Its ranges are drawn together for all models; the volume cancels.
    prices : Prices
    paid : Series or None
        USD per request by model, as measured in samples: then the workload's tokens price nothing.
    own_prices : mapping of str to float
        USD per request of models that the catalogue does not have.
    draws : int
    stream : callable
        Name -> Generator.
    notes : list of str
        Takes what had to be assumed.

    Returns
    -------
    table : DataFrame
        provider, tier, price_usd (USD per request), price_basis ("catalogue", "samples", "given"), note (why a model
        is out of the running), by model.
    drawn : ndarray, shape (draws, models)
        USD per request. Only an approximate price is drawn for its model alone.
    """
    known = set(prices.frame["model_id"])
    table = pd.DataFrame({"provider": "", "tier": tiers, "note": "", "price_basis": "catalogue", "price_usd": np.nan},
                         index=pd.Index(names, name="model_id"))  # fmt: skip
    listed = [name for name in names if name in known]
    _place(listed, prices, table)
    for name in names if paid is not None else [name for name in names if name not in known]:
        given = own_prices[name] if name in own_prices else np.nan if paid is None else paid[name]
        table.loc[name, ["price_usd", "price_basis"]] = given, "given" if paid is None else "samples"
        if np.isnan(given):
            table.loc[name, "note"] = NO_COST
        elif paid is None:
            notes.append(f"the price of {name} is given, not the workload's tokens")
    if paid is not None:
        notes.append("the price of a request is what the samples cost, of each model: not the workload's tokens")
    table.loc[table["note"].ne(""), "price_usd"] = np.nan
    drawn = np.tile(table["price_usd"].to_numpy(float), (draws, 1))
    if listed and paid is None:
        at = [names.index(name) for name in listed]
        per, flags = _listed_prices(listed, workload, prices, table, stream("workload"))
        table.loc[listed, "price_usd"] = per[0]
        drawn[:, at] = per[stream("price").integers(1, len(per), draws)] if len(per) > 1 else per[0]
        for place, name in zip(at, listed, strict=True):
            if "approximate_price" in flags[name]:
                drawn[:, place] *= 1 + APPROXIMATE_BAND * stream(f"price of {name}").uniform(-1, 1, draws)
        notes += _flag_words(flags)
    return table, drawn


def _place(listed, prices, table):
    """Provider of each listed model, and a note where it is not sold on the day."""
    first = prices.by_model.reindex(listed)
    table.loc[listed, "provider"] = first["provider"]
    for column, words, out in (("launched_on", "not launched before", first["launched_on"] > prices.as_of),
                               ("retires_on", "retired on", first["retires_on"] <= prices.as_of)):  # fmt: skip
        table.loc[first.index[out], "note"] = [f"{words} {day:%Y-%m-%d}" for day in first.loc[out, column]]


def _flag_words(flags):
    words = {"approximate_price": "is approximate", "before_first_price": "is its first known one, of a later day",
             "stale_price": "was checked long ago", "assumed_batch_rate": "has an assumed batch rate",
             "assumed_write_rate": "has an assumed rate for cache writes"}  # fmt: skip
    for flag, said in words.items():
        if models := [name for name, own in flags.items() if flag in own]:
            yield f"the price of {', '.join(models)} {said}"


def _listed_prices(listed, workload, prices, table, rng):
    """USD per request (first at the workload's middle, then at workloads drawn from its ranges) and flags by model."""
    ranges = {name: ends for name, ends in workload.ranges(NUMERIC).items() if ends[0] < ends[1] and name != "requests_per_day"}
    point = workload.point()
    works = [point]
    if ranges:
        works += [replace(point, **{n: rng.uniform(*ends) for n, ends in ranges.items()}) for _ in range(_WORKLOADS)]
    per, flags = np.empty((len(works), len(listed))), {}
    for row, work in enumerate(works):
        day = _daily(work, prices, listed, table)
        per[row] = day["cost_usd"] / work.requests_per_day
        over = day.index[day["over_window_share"] > 0]
        table.loc[over, "note"] = [f"{day.at[m, 'over_window_share']:.0%} of the requests do not fit its window" for m in over]
        flags = flags or day["flags"].to_dict()
    per[:, table.loc[listed, "note"].ne("").to_numpy()] = np.nan
    return per, flags


def _daily(work, prices, listed, table):
    """`daily_cost` by model; a model that lacks a rate stands aside with a note, the others are priced."""
    try:
        return daily_cost(work, prices, listed).set_index("model_id")
    except ValueError as error:
        if len(listed) == 1:
            table.loc[listed[0], "note"] = f"no figure: {error}"
            return pd.DataFrame({"cost_usd": np.nan, "over_window_share": 0.0, "flags": "", "provider": ""}, index=listed)
        return pd.concat([_daily(work, prices, [name], table) for name in listed])
