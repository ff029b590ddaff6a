"""Days that do not look like the four weeks before them: in spend, and in what a cache gives back."""

import numpy as np
import pandas as pd

from tierlab.names import BUCKETS
from tierlab.repriced import labelled

WINDOW = 28  # days of the baseline
THRESHOLD = 6.0  # robust z; see `anomalies` for the false alarms
FLOOR = 0.01  # of a usual day's total spend: smaller movements are no news
_NORMAL = 1.482602218505602  # standard deviation of a normal variable over its median absolute deviation
_GAP = 3  # quiet days that do not end an event
_COLUMNS = ["over", "name", "measure", "start", "end", "days", "direction", "peak_z", "usual", "seen", "excess_usd", "lasts"]


def robust_z(series, *, window=WINDOW, threshold=THRESHOLD, floor=0.0, seasonal=True):
    """How far each day lies from the days before it, in robust standard deviations.

    Parameters
    ----------
    series : Series
        A number per day, in order of days.
    window : int
        Days of the baseline; days that are flagged themselves do not enter it.
    threshold : float
        From which |z| on a day is flagged.
    floor : float
        Least standard deviation, in the unit of the series.
    seasonal : bool
        Whether to take the weekday out first.

    Returns
    -------
    DataFrame
        Index of `series`; value, expected, z (NaN for the first `window` days), flagged.

    Notes
    -----
    z = (x - m f) / (1.4826 MAD): m is the median of x / f over the last 28 unflagged days, f the weekday's factor (the
    median over all weeks of the day's ratio to the mean of the seven days around it), MAD the median absolute deviation
    of x - m f on those days (Iglewicz and Hoaglin 1993, "How to detect and handle outliers"). A baseline without the
    flagged days stays where it was, so that a leak is flagged for as long as it runs and its excess can be added up.

    Examples
    --------
    >>> days = pd.date_range("2026-07-01", periods=40)
    >>> spend = pd.Series([100.0, 102, 98, 101, 99] * 8, index=days)
    >>> spend.iloc[35] = 300
    >>> found = robust_z(spend)
    >>> found.index[found["flagged"]].strftime("%Y-%m-%d").tolist()
    ['2026-08-05']
    """
    values, days = series.to_numpy(float), pd.DatetimeIndex(series.index)
    factor = weekday_factor(series)[days.day_of_week] if seasonal else np.ones(len(values))
    expected, z, kept = np.full(len(values), np.nan), np.full(len(values), np.nan), []
    for day, now in enumerate(values):
        if len(kept) >= window:
            base = kept[-window:]
            level = np.median(values[base] / factor[base])
            off = values[base] - level * factor[base]
            spread = max(_NORMAL * np.median(np.abs(off - np.median(off))), floor, 1e-12 * max(abs(level), 1.0))
            expected[day] = level * factor[day]
            z[day] = (now - expected[day]) / spread
        if not abs(z[day]) >= threshold:
            kept.append(day)
    return pd.DataFrame({"value": values, "expected": expected, "z": z, "flagged": np.abs(z) >= threshold}, index=series.index)


def weekday_factor(series):
    """Each weekday's level against the week around it: the median of the ratios, Monday first, at least 0.05."""
    around = series.rolling(7, center=True).mean()
    ratio = (series / around.where(around > 0)).to_numpy(float)
    day = pd.DatetimeIndex(series.index).day_of_week
    found = [ratio[(day == k) & np.isfinite(ratio)] for k in range(7)]
    return np.maximum([np.median(r) if len(r) >= 3 else 1.0 for r in found], 0.05)


def anomalies(daily, start, end, *, window=WINDOW, threshold=THRESHOLD, floor=FLOOR):
    """Events of a quarter: total spend, each team's and each model's, and each model's cache hit rate.

    Parameters
    ----------
    daily : DataFrame
        `Cube.daily`, with at least `window` days before `start` for the first days to be judged.
    start, end : Timestamp
        First and last day of the quarter.
    window, threshold : int, float
        As for `robust_z`.
    floor : float
        Least standard deviation of a day's spend, as a share of the median day's total; for a hit rate, in points
        (0-1).

    Returns
    -------
    DataFrame
        An event per row, the largest excess first: over ("total", "team", "model", "cache"), name, measure, start, end,
        days (flagged), direction ("above", "below"), peak_z, usual and seen (median day: US dollars, or share 0-1),
        excess_usd (US dollars above what was expected; what a lost hit rate cost), lasts (flagged on the last day).

    Notes
    -----
    With the defaults 6 of 40 simulated quarters without an event (`tierlab.synthetic`, no plants: Poisson requests,
    log-normal lengths, weekdays, growth) show any, over the total, five teams and seven models together; at a threshold
    of 5 it is 24 of 40, because a median absolute deviation of 28 days is itself uncertain.
    """
    found = []
    days = pd.DatetimeIndex(sorted(daily["day"].unique()))
    total = daily.groupby("day")["cost_usd"].sum().reindex(days)
    least = floor * float(total.median())
    for over, name, series in _spend_series(daily, total, days):
        table = robust_z(series, window=window, threshold=threshold, floor=least)
        for event in runs(table, start, end):
            found.append({"over": over, "name": name, "measure": "cost_usd", **event})
    for name, rate, inputs in _hit_rates(daily, days):
        table = robust_z(rate, window=window, threshold=threshold, floor=floor, seasonal=False)
        for event in runs(table, start, end):
            cost = _extra_input(inputs, table["flagged"], event, window)
            if abs(cost) >= least * threshold:
                found.append({"over": "cache", "name": name, "measure": "cache_hit_rate", **event, "excess_usd": cost})
    table = pd.DataFrame(found, columns=_COLUMNS)
    return table.sort_values("excess_usd", key=np.abs, ascending=False, kind="stable").reset_index(drop=True)


def _spend_series(daily, total, days):
    yield "total", "all", total
    for over, column in (("team", "team"), ("model", "model_id")):
        if column in daily:
            names = labelled(daily[column])
            for name, rows in daily["cost_usd"].groupby(names):
                yield over, name, rows.groupby(daily["day"]).sum().reindex(days, fill_value=0.0)


def _hit_rates(daily, days):
    """Per model: share of input tokens read from a cache by day, and the days' input tokens and their cost."""
    tokens = daily[[f"{b}_tokens" for b in BUCKETS[:4]]].sum(axis=1)
    usd = daily[["uncached_input_usd", "cache_read_usd", "cache_write_usd"]].sum(axis=1)
    table = pd.DataFrame({"read": daily["cache_read_tokens"], "tokens": tokens, "usd": usd})
    table = table.groupby([daily["model_id"], daily["day"]]).sum()
    for name in table.index.unique(level=0):
        own = table.loc[name].reindex(days).dropna()
        own = own[own["tokens"] > 0]
        if own["read"].sum() > 0:
            yield name, own["read"] / own["tokens"], own[["tokens", "usd"]]


def _extra_input(inputs, flagged, event, window):
    """What the input of an event's days cost beyond the price per token of the quiet days before it (US dollars)."""
    quiet = inputs[~flagged & (inputs.index < event["start"])].tail(window).sum()
    during = inputs[flagged & (inputs.index >= event["start"]) & (inputs.index <= event["end"])].sum()
    return float(during["usd"] - during["tokens"] * quiet["usd"] / quiet["tokens"])


def runs(table, start, end):
    """Runs of flagged days in one direction, with at most a few quiet days between them."""
    last = table.index.max()
    own = table.loc[start:end]
    for direction, sign in (("above", 1), ("below", -1)):
        days = own.index[own["flagged"] & (np.sign(own["z"]) == sign)]
        breaks = np.flatnonzero(np.diff(days) > pd.Timedelta(days=_GAP + 1)) + 1
        for run in np.split(days, breaks):
            if len(run):
                rows = own.loc[run]
                yield {
                    "start": run[0], "end": run[-1], "days": len(run), "direction": direction,
                    "peak_z": float(rows["z"].iloc[np.argmax(np.abs(rows["z"]))]),
                    "usual": float(rows["expected"].median()), "seen": float(rows["value"].median()),
                    "excess_usd": float((rows["value"] - rows["expected"]).sum()),
                    "lasts": bool(last - run[-1] <= pd.Timedelta(days=_GAP)),
                }  # fmt: skip
