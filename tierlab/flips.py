"""What would change a choice: for each quantity alone, the value at which another model becomes the cheapest."""

import numpy as np
import pandas as pd

from tierlab.scaling import cost_curve


def find_flips(found, workload, prices):
    """Switching values of a choice.

    Parameters
    ----------
    found : Options
        From `tierlab.options.weigh`; the first row that runs is the choice.
    workload : Workload
    prices : Prices

    Returns
    -------
    DataFrame
        what, unit ("USD", "times", "share"), now, below (the value under which another model is the cheapest), below_to,
        above, above_to, note (why a value is not known, "" otherwise). NaN without a note: it never flips.

    Notes
    -----
    The cost of each model is linear in each quantity alone, so the choice changes where two straight lines cross; the
    crossings nearest to today's value count.
    """
    table = found.running().reset_index(drop=True)
    names, places = table["model_id"].tolist(), np.arange(len(table))
    total, price, error, timed = (table[c].to_numpy(float) for c in ("expected_usd", "price_usd", "error_rate", "time_usd"))
    waits = table["seconds"].to_numpy(float) * (1 - workload.point().batch_share)
    rows = [("value of a second", "USD", found.second_usd, total - timed, waits, np.inf)]
    for place in _rivals(table):
        own = places == place
        paid = own * error * found.error_cost_usd
        rows += [
            (f"price of {names[place]}", "times", 1.0, total - own * price, own * price, np.inf),
            (f"error rate of {names[place]}", "share", error[place], total - paid, own * found.error_cost_usd, 1.0),
        ]
    flips = [error_cost_flip(found), *(_flip(*row, names) for row in rows), *_levers(table, workload, prices, names)]
    return pd.DataFrame(flips)


def error_cost_flip(found):
    """The row of `find_flips` on the cost of an error, as a mapping."""
    table = found.running()
    error, rest = table["error_rate"].to_numpy(float), (table["expected_usd"] - table["error_usd"]).to_numpy(float)
    return _flip("cost of an error", "USD", found.error_cost_usd, rest, error, np.inf, table["model_id"].tolist())


def _rivals(table):
    """The choice, the runner-up, and the best model of each other tier: whose numbers could turn it."""
    return sorted({*range(min(2, len(table))), *table.drop_duplicates("tier").index})


def _levers(table, workload, prices, names):
    """Batch share and cache hit rate: price and waiting are linear in them, so two points give the line."""
    rows, point = [], workload.point()
    timed, rest = (
        table["time_usd"].to_numpy(float),
        (table["expected_usd"] - table["price_usd"] - table["time_usd"]).to_numpy(float),
    )
    for over, what in (("batch_share", "batch share"), ("cache_hit_rate", "cache hit rate")):
        now = getattr(point, over)
        if (over == "batch_share" and now == 1) or table["price_basis"].ne("catalogue").any():
            why = "nothing waits" if now == 1 else "the price of a candidate is not the catalogue's"
            rows.append(_blank(what, "share", now, f"not known: {why}"))
            continue
        try:
            curve = cost_curve(point, prices, names, over=over, values=[0.0, 1.0])
        except ValueError as error:  # a rate is missing: nothing is known about this lever
            rows.append(_blank(what, "share", now, f"not known: {error}"))
            continue
        ends = curve.pivot(index=over, columns="model_id", values="cost_usd")[names].to_numpy() / point.requests_per_day
        waiting = timed / (1 - now) if over == "batch_share" else timed  # what is in batch, nobody waits for
        slope = ends[1] - ends[0] - (waiting if over == "batch_share" else 0.0)
        rows.append(_flip(what, "share", now, rest + ends[0] + waiting, slope, 1.0, names))
    return rows


def _blank(what, unit, now, note=""):
    return {
        "what": what,
        "unit": unit,
        "now": now,
        "below": np.nan,
        "below_to": "",
        "above": np.nan,
        "above_to": "",
        "note": note,
    }


def _flip(what, unit, now, base, slope, top, names):
    """The nearest crossings, to either side of today's value, at which another line passes under the first one's.

    Lines are base + slope x value; the first is the lowest today.
    """
    result = _blank(what, unit, now)
    if not np.isfinite(base + slope).all():
        return _blank(what, unit, now, "not known for every candidate")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        at = (base[1:] - base[0]) / (slope[0] - slope[1:])
    for side, faster in (("below", slope[1:] > slope[0]), ("above", slope[1:] < slope[0])):
        there = faster & np.isfinite(at) & (at > 0) & (at < top)
        if there.any():
            pick = np.flatnonzero(there)[at[there].argmax() if side == "below" else at[there].argmin()]
            result |= {side: float(at[pick]), f"{side}_to": names[pick + 1]}
    return result
