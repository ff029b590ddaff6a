"""What one request costs on each candidate: the catalogue's rates over a workload, or what samples cost; and how sure that is."""

from dataclasses import replace

import numpy as np
import pandas as pd

from tierlab.scaling import APPROXIMATE_BAND, daily_cost
from tierlab.workload import NUMERIC

_WORKLOADS = 16  # workloads drawn from a range: each prices every model


def request_prices(names, tiers, workload, prices, *, samples, own_prices, draws, rng, notes):
    """Price of a request on each candidate, at the workload's middle and over its ranges.

    Parameters
    ----------
    names : list of str
    tiers : Series of str, by name
    workload : Workload
        Its ranges are drawn together for all models; the volume cancels.
    prices : Prices
    samples : DataFrame or None
    own_prices : mapping of str to float
        USD per request of models that the catalogue does not have.
    draws : int
    rng : Generator
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
    paid = _paid(names, samples)
    unlisted = [name for name in names if name not in known]
    if unlisted and paid.notna().all():
        table["price_basis"], table["price_usd"] = "samples", paid
        notes.append("the price of a request is what the samples cost on average, for every model: not the workload's tokens")
        return table, np.tile(paid.to_numpy(), (draws, 1))
    for name in unlisted:
        given = own_prices.get(name, paid[name])
        basis = "given" if name in own_prices else "samples"
        table.loc[name, ["price_usd", "price_basis"]] = given, basis
        if np.isnan(given):
            table.loc[name, "note"] = "no price in the catalogue and no cost in the samples"
        else:
            notes.append(
                f"the price of {name} is {basis if basis == 'given' else 'what its samples cost on average'}, not the workload's tokens"
            )
    listed = [name for name in names if name in known]
    drawn = np.tile(table["price_usd"].to_numpy(float), (draws, 1))
    if listed:
        at = [names.index(name) for name in listed]
        per, flags = _listed_prices(listed, workload, prices, table, rng)
        table.loc[listed, "price_usd"] = per[0]
        drawn[:, at] = per[rng.integers(1, len(per), draws)] if len(per) > 1 else per[0]
        rough = np.array(["approximate_price" in flags[name] for name in listed])
        drawn[:, at] *= np.where(rough, 1 + APPROXIMATE_BAND * rng.uniform(-1, 1, (draws, len(at))), 1.0)
        notes += _flag_words(flags)
    return table, drawn


def _paid(names, samples):
    """Mean cost of a model's answers in the samples, USD; NaN where it is not known."""
    if samples is None or "cost_usd" not in samples:
        return pd.Series(np.nan, index=names)
    return samples.groupby("model_id", observed=True)["cost_usd"].mean().reindex(names)


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
    first = prices.by_model.reindex(listed)
    table.loc[listed, "provider"] = first["provider"]
    for column, words, out in (("launched_on", "not launched before", first["launched_on"] > prices.as_of),
                               ("retires_on", "retired on", first["retires_on"] <= prices.as_of)):  # fmt: skip
        table.loc[first.index[out], "note"] = [f"{words} {day:%Y-%m-%d}" for day in first.loc[out, column]]
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
