"""Looking at a quarter's days: which stand out, what the next quarter will cost, how good the last forecast was."""

from itertools import pairwise

import pandas as pd

from tierlab.anomalies import WINDOW, anomalies, robust_z, runs
from tierlab.forecast import forecast, forecast_error
from tierlab.repriced import changes_of, repriced

_SHORT = 7  # days; a shorter event says nothing about the next quarter


def judged_days(every, start, end, missing):
    """Daily spend of the quarter with what was expected, and its events; says in `missing` if history is short."""
    table = robust_z(every.groupby("day")["cost_usd"].sum())
    judged = int((table.index < start).sum())
    if judged < WINDOW:
        missing["events"] = f"needs {WINDOW} days of usage before the quarter to judge its first days; there are {judged}"
    days = table.loc[start:end].rename_axis("day").reset_index().rename(columns={"value": "usd"})
    return days.drop(columns="z"), anomalies(every, start, end)


def next_quarter(every, events, prices, last, end, seed, missing):
    """Forecast from the day after `last` to `end`, or None and a sentence in `missing`.

    History is taken at the rates of the last day, so that an old price change is no growth; scheduled changes come on
    top, on the last four weeks' tokens. Short events are replaced by what was expected, and lasting ones are steps.
    """
    try:
        history = _constant(every, prices, last)
        lasting = events.loc[events["lasts"] & (events["days"] >= _SHORT), "start"]
        return forecast(history, end, seed=seed, factor=_scheduled(every, prices, last, end), shifts=_apart(lasting))
    except ValueError as error:
        missing["forecast"] = f"needs more: {error}"
        return None


def error_of_last(now, before, prices, period, last_summary, seed, missing):
    """Error of the last report's forecast; without one, of this method on the quarter before alone."""
    spend = float(now["cost_usd"].sum())
    row = ((last_summary or {}).get("forecast") or {}).get(str(period))
    if row is not None:
        return forecast_error(spend, row | {"source": f"report of {last_summary['quarter']}"})
    missing["forecast_error"] = "needs the summary.json of the quarter before (`last_summary`)"
    if before.empty or now["day"].max() < period.end_time.normalize():
        return pd.DataFrame()
    try:
        earlier = forecast(_constant(before, prices, before["day"].max()), period.end_time.normalize(), seed=seed)
    except ValueError:
        return pd.DataFrame()
    missing["forecast_error"] += "; shown is what this method says of the quarter from the quarter before alone"
    return forecast_error(spend, earlier.totals.loc[str(period)].to_dict() | {"source": "this method on the quarter before"})


def _constant(every, prices, last):
    """Daily spend at the rates of the last day, short events replaced by what was expected."""
    total = repriced(every, prices, last).fillna(every["cost_usd"]).groupby(every["day"]).sum()
    table = robust_z(total)
    for event in runs(table, total.index[0], last):
        if event["days"] < _SHORT and not event["lasts"]:
            run = table.loc[event["start"] : event["end"]]
            total.loc[run.index[run["flagged"]]] = run.loc[run["flagged"], "expected"]
    return total


def _apart(dates):
    """Dates without those that follow another within a week."""
    kept = []
    for date in sorted(dates):
        if not kept or date - kept[-1] >= pd.Timedelta(days=7):
            kept.append(date)
    return kept


def _scheduled(every, prices, last, end):
    """What price changes after the last day multiply spend with, on the last four weeks' tokens; by day."""
    recent = every[every["day"] > last - pd.Timedelta(days=WINDOW)]
    changes = changes_of(prices, recent["model_id"].unique(), last, end)
    dates = sorted(changes.loc[changes["kind"] == "rate", "on"].unique())
    factor = pd.Series(1.0, pd.date_range(last, end, unit="us"))
    base = repriced(recent, prices, last).fillna(recent["cost_usd"]).sum()
    for on, until in pairwise([*dates, end + pd.Timedelta(days=1)]):
        # Where a rate is not known, the tokens cost what they cost: spend does not vanish.
        factor.loc[on : until - pd.Timedelta(days=1)] = repriced(recent, prices, on).fillna(recent["cost_usd"]).sum() / base
    return factor
