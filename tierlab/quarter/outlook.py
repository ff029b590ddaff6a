"""Which days of a quarter stand out, what the next quarter will cost, and how far off the last forecast was."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tierlab.core.vocabulary import BUCKETS
from tierlab.prices.daily import labelled, repriced

WINDOW = 28  # days of the baseline
THRESHOLD = 6.0  # robust z; see `anomalies` for the false alarms
FLOOR = 0.01  # share of a usual day's total spend; smaller movements are not news
LEAST_WEEKS = 8  # of history for a forecast
CONFIDENCE = 0.8  # level of the forecast's band
PATHS = 2000  # simulated futures
_NORMAL = 1.482602218505602  # standard deviation of a normal over its median absolute deviation
_GAP = 3  # quiet days that do not end an event
_SHORT = 7  # days; a shorter event says nothing about the next quarter
_RATIOS = np.r_[0, np.geomspace(0.02, 20, 15)]  # weekly variance of the level over the noise's
_COLUMNS = ["over", "name", "measure", "start", "end", "days", "direction", "peak_z"]
_COLUMNS += ["usual", "seen", "excess_usd", "lasts"]


def day_said(day):
    """Write a day of the quarter as 17 August."""
    return f"{day.day} {day:%B}"


def robust_z(series, *, floor=0.0, seasonal=True):
    """Measure how far each day lies from the days before it, in robust standard deviations.

    Parameters
    ----------
    series : Series
        A number per day, in order of days.
    floor : float
        Least standard deviation, in the unit of the series.
    seasonal : bool
        Whether to take the weekday out first.

    Returns
    -------
    DataFrame
        Index of `series`; value, expected, z (NaN for the first 28 days), flagged.

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
        if len(kept) >= WINDOW:
            base = kept[-WINDOW:]
            level = np.median(values[base] / factor[base])
            off = values[base] - level * factor[base]
            spread = _NORMAL * np.median(np.abs(off - np.median(off)))
            expected[day] = level * factor[day]
            z[day] = (now - expected[day]) / max(spread, floor, 1e-12 * max(abs(level), 1.0))
        if not abs(z[day]) >= THRESHOLD:
            kept.append(day)
    columns = {"value": values, "expected": expected, "z": z, "flagged": np.abs(z) >= THRESHOLD}
    return pd.DataFrame(columns, index=series.index)


def weekday_factor(series):
    """Return each weekday's level over that of the week around it: the median ratio, Monday first, at least 0.05."""
    around = series.rolling(7, center=True).mean()
    ratio = (series / around.where(around > 0)).to_numpy(float)
    day = pd.DatetimeIndex(series.index).day_of_week
    found = [ratio[(day == k) & np.isfinite(ratio)] for k in range(7)]
    return np.maximum([np.median(r) if len(r) >= 3 else 1.0 for r in found], 0.05)


def anomalies(daily, start, end):
    """Find the events of a quarter: in the total spend, each team's and model's, and each model's cache hit rate.

    Parameters
    ----------
    daily : DataFrame
        `Cube.daily`. The first days are judged only if it has at least 28 days before `start`.
    start, end : Timestamp
        First and last day of the quarter.

    Returns
    -------
    DataFrame
        An event per row, the largest excess first: over ("total", "team", "model", "cache"), name, measure, start, end,
        days (flagged), direction ("above", "below"), peak_z, usual and seen (median day: US dollars, or share 0-1),
        excess_usd (US dollars above what was expected, or what a lost hit rate cost), lasts (flagged up to the last
        days).

    Notes
    -----
    The least standard deviation is 1% of the median day's total spend; for a hit rate, one point. Of 40 simulated
    quarters without an event (`tierlab.quarter.simulated` without plants: Poisson requests, log-normal lengths, weekdays,
    growth), 6 show an event in the total, five teams or seven models. At a threshold of 5 it would be 24 of 40, because
    the median absolute deviation of 28 days is itself uncertain.
    """
    found = []
    days = pd.DatetimeIndex(sorted(daily["day"].unique()))
    total = daily.groupby("day")["cost_usd"].sum().reindex(days)
    least = FLOOR * float(total.median())
    for over, name, series in _spend_series(daily, total, days):
        for event in runs(robust_z(series, floor=least), start, end):
            found.append({"over": over, "name": name, "measure": "cost_usd", **event})
    for name, rate, inputs in hit_rates(daily, days):
        table = robust_z(rate, floor=FLOOR, seasonal=False)
        for event in runs(table, start, end):
            event["excess_usd"] = extra_input_usd(inputs, table["flagged"], event)
            if abs(event["excess_usd"]) >= least * THRESHOLD:
                found.append({"over": "cache", "name": name, "measure": "cache_hit_rate", **event})
    table = pd.DataFrame(found, columns=_COLUMNS)
    return table.sort_values(
        "excess_usd", key=np.abs, ascending=False, kind="stable", ignore_index=True
    )


def _spend_series(daily, total, days):
    yield "total", "all", total
    for over, column in (("team", "team"), ("model", "model_id")):
        if column in daily:
            names = labelled(daily[column])
            for name, rows in daily["cost_usd"].groupby(names):
                yield over, name, rows.groupby(daily["day"]).sum().reindex(days, fill_value=0.0)


def hit_rates(daily, days):
    """Yield per model the share of input tokens read from a cache by day, and the days' input tokens and their cost."""
    tokens = daily[[f"{b}_tokens" for b in BUCKETS[:4]]].sum(axis=1)
    usd = daily[["uncached_input_usd", "cache_read_usd", "cache_write_usd"]].sum(axis=1)
    table = pd.DataFrame({"read": daily["cache_read_tokens"], "tokens": tokens, "usd": usd})
    table = table.groupby([daily["model_id"], daily["day"]]).sum()
    for name in table.index.unique(level=0):
        own = table.loc[name].reindex(days).dropna()
        own = own[own["tokens"] > 0]
        if own["read"].sum() > 0:
            yield name, own["read"] / own["tokens"], own[["tokens", "usd"]]


def extra_input_usd(inputs, flagged, event):
    """Return what the input of an event's days cost beyond the price per token of the quiet days before it (US dollars)."""
    quiet = inputs[~flagged & (inputs.index < event["start"])].tail(WINDOW).sum()
    during = inputs[flagged].loc[event["start"] : event["end"]].sum()
    return float(during["usd"] - during["tokens"] * quiet["usd"] / quiet["tokens"])


def runs(table, start, end):
    """Yield the runs of flagged days in one direction, with at most a few quiet days between them."""
    own = table.loc[start:end]
    for direction, sign in (("above", 1), ("below", -1)):
        days = own.index[own["flagged"] & (np.sign(own["z"]) == sign)]
        breaks = np.flatnonzero(np.diff(days) > pd.Timedelta(days=_GAP + 1)) + 1
        for run in np.split(days, breaks) if len(days) else ():
            rows = own.loc[run]
            yield {
                "start": run[0],
                "end": run[-1],
                "days": len(run),
                "direction": direction,
                "peak_z": float(rows["z"].iloc[np.argmax(np.abs(rows["z"]))]),
                "usual": float(rows["expected"].median()),
                "seen": float(rows["value"].median()),
                "excess_usd": float((rows["value"] - rows["expected"]).sum()),
                "lasts": bool(table.index.max() - run[-1] <= pd.Timedelta(days=_GAP)),
            }


@dataclass(frozen=True, eq=False)
class Forecast:
    """A forecast of daily spend.

    Attributes
    ----------
    days : DataFrame
        day, usd (median), low, high (US dollars per day).
    totals : DataFrame
        By period (months and quarters): usd, low, high, days.
    confidence : float
        Level of the bands, 0-1.
    """

    days: pd.DataFrame
    totals: pd.DataFrame
    confidence: float = CONFIDENCE


def forecast(spend, end, *, paths=PATHS, seed=0, factor=None, shifts=()):
    """Forecast daily spend from the day after the last one, with an 80% band.

    Parameters
    ----------
    spend : Series
        US dollars per day, indexed by every day of the history, at constant prices.
    end : str or Timestamp
        Last day of the forecast.
    paths : int
        Simulated futures.
    seed : int or numpy.random.Generator
    factor : Series, optional
        What scheduled price changes multiply spend by, indexed by day; a missing day counts as 1.
    shifts : sequence of Timestamp
        Days on which the level is known to have moved for good, so that the step does not count as growth. A shift
        less than a week after another belongs to it; one in the first or the last two weeks is left to the random walk.

    Returns
    -------
    Forecast

    Raises
    ------
    ValueError
        If the history has fewer than eight whole weeks, lacks a day or has a week without spend, or if `end` is not
        after its last day.

    Notes
    -----
    The logarithm of weekly spend is a straight line plus a random walk plus noise: the local level model with drift
    (Harvey 1989, chapter 2; Durbin and Koopman 2012, chapter 2). Line and scale have flat priors and are integrated out;
    the ratio of the two variances, which half a year of data leaves open, is averaged over a grid (0 and 0.02 to 20,
    logarithmic) by its restricted likelihood. The days of a week have the shares of the last eight weeks. Weeks are
    counted back from the last day. A shift is a step in the line (Box and Tiao, JASA 70 (1975) 70-79). On 300 simulated
    histories of 26 weeks each, the 80% band of the next quarter's total covered it in 98% of cases for a steady trend
    with 8% daily noise, in 95% for noise with autocorrelation 0.7, and in 75% for a level that wanders by 1% a day.

    Examples
    --------
    A steady 100 dollars a day:

    >>> history = pd.Series(100.0, index=pd.date_range("2026-07-01", "2026-09-29"))
    >>> forecast(history, "2026-12-31").totals.loc["2026Q4", "usd"].round(2)
    np.float64(9200.0)
    """
    if why := unfit(spend):
        raise ValueError(why)
    horizon = pd.date_range(spend.index[-1] + pd.Timedelta(days=1), pd.Timestamp(end), unit="us")
    if len(horizon) == 0:
        raise ValueError(f"end={end!r} is not after the last day, {spend.index[-1]:%Y-%m-%d}")
    weeks = _weeks(spend)
    line = weekly_regressors(spend.index, len(weeks), -(-len(horizon) // 7), shifts)
    logs = _futures(np.log(weeks.sum(axis=1)), line, paths, np.random.default_rng(seed))
    share = weeks[-LEAST_WEEKS:].sum(axis=0) / weeks[-LEAST_WEEKS:].sum()
    daily = (np.exp(logs)[:, :, None] * share).reshape(paths, -1)[:, : len(horizon)]
    if factor is not None:
        daily = daily * factor.reindex(horizon).fillna(1.0).to_numpy()
    days = band_of(daily)
    days.insert(0, "day", horizon)
    totals = []
    for unit in ("M", "Q"):
        periods = pd.Series(horizon.to_period(unit).astype(str))
        sums = pd.DataFrame(daily.T).groupby(periods).sum()
        totals.append(
            band_of(sums.T).assign(
                days=periods.groupby(periods).size().to_numpy(), period=sums.index
            )
        )
    return Forecast(days, pd.concat(totals).set_index("period"))


def band_of(futures):
    """Return the median and the band of each column."""
    tail = (1 - CONFIDENCE) / 2
    levels = np.quantile(futures, [0.5, tail, 1 - tail], axis=0)
    return pd.DataFrame(levels.T, columns=["usd", "low", "high"])


def unfit(spend):
    """Say why no forecast can be made from a history; return "" if one can."""
    days = pd.DatetimeIndex(spend.index)
    if not days.equals(pd.date_range(days[0], days[-1], unit=days.unit)):
        return "a day is missing in the history; a forecast needs every day"
    if len(spend) // 7 < LEAST_WEEKS:
        return f"{len(spend)} days of history; a forecast needs at least {LEAST_WEEKS} weeks"
    if not (_weeks(spend).sum(axis=1) > 0).all():
        return "a week without spend; a forecast of growth needs spend in each"
    return ""


def _weeks(spend):
    """Return daily spend as whole weeks that end on the last day, shape (weeks, 7)."""
    whole = len(spend) // 7
    return spend.to_numpy(float)[-7 * whole :].reshape(whole, 7)


def weekly_regressors(days, weeks, ahead, shifts):
    """Return the regressors by week: one, time, and for each shift the share of the week that lies behind it."""
    first = days[-1] - pd.Timedelta(days=7 * weeks - 1)
    time = np.arange(weeks + ahead, dtype=float)
    steps, before = [], None
    for shift in sorted(shifts):
        if before is None or shift - before >= pd.Timedelta(days=7):
            before, passed = shift, np.clip(time + 1 - (shift - first).days / 7, 0, 1)
            if 2 <= passed[:weeks].sum() <= weeks - 2:
                steps.append(passed)
    return np.column_stack([np.ones_like(time), time, *steps[: weeks - 6]])


def _futures(y, line, paths, rng):
    """Simulate the logarithm of weekly spend after the last week, shape (paths, weeks ahead)."""
    n, ahead = len(y), len(line) - len(y)
    time = line[:, 1]
    walk = np.minimum.outer(time, time)
    fits = [_fit(y, line, (np.eye(len(line)) + ratio * walk) / (1 + ratio)) for ratio in _RATIOS]
    weight = np.array([fit[0] for fit in fits])
    weight = np.exp(weight - weight.max())
    drawn = rng.multinomial(paths, weight / weight.sum())
    parts = []
    for count, (_, mean, cover, rest) in zip(drawn, fits, strict=True):
        scale = np.sqrt(rest / rng.chisquare(n - line.shape[1], count))[:, None]
        root = np.linalg.cholesky(cover + 1e-12 * np.eye(ahead))
        parts.append(mean + scale * (rng.standard_normal((count, ahead)) @ root.T))
    return np.concatenate(parts)


def _fit(y, line, cover):
    """Fit by generalised least squares; return log restricted likelihood, predictive mean and covariance, residual sum."""
    n = len(y)
    known, later = line[:n], line[n:]
    inverse = np.linalg.inv(cover[:n, :n])
    normal = known.T @ inverse @ known
    slope = np.linalg.solve(normal, known.T @ inverse @ y)
    off = y - known @ slope
    rest = max(off @ inverse @ off, 1e-18)
    log = -0.5 * (
        np.linalg.slogdet(cover[:n, :n])[1]
        + np.linalg.slogdet(normal)[1]
        + (n - line.shape[1]) * np.log(rest)
    )
    pull = cover[n:, :n] @ inverse
    reach = later - pull @ known
    spread = cover[n:, n:] - pull @ cover[:n, n:] + reach @ np.linalg.inv(normal) @ reach.T
    return log, later @ slope + pull @ off, spread, rest


def next_quarter(every, events, prices, last, end, seed):
    """Forecast from the day after `last` to `end`.

    The history is taken at the rates of the last day, so that an old price change is not growth; scheduled changes come
    on top, on the last four weeks' tokens. Short events are replaced by what was expected, and lasting ones are steps.

    Returns
    -------
    Forecast or None
    str
        What a forecast would need; "" if there is one.
    """
    history = at_constant_rates(every, prices, last)
    if why := unfit(history):
        return None, f"needs more: {why}"
    lasting = events.loc[events["lasts"] & (events["days"] >= _SHORT), "start"]
    factor = scheduled_factor(every, prices, last, end)
    return forecast(history, end, seed=seed, factor=factor, shifts=lasting), ""


def error_of_last(now, before, prices, period, last_summary, seed):
    """Return how far off the last report's forecast was; without one, a back-test on the quarter before.

    Returns
    -------
    table : DataFrame
        At most one row: source (in words), forecast_usd, low, high, spend_usd, error_usd (forecast minus spend), error
        (share of the spend), inside (whether the band held it).
    needs : str
        What is missing to judge the last report's forecast; "" for nothing.
    """
    spend, end = float(now["cost_usd"].sum()), period.end_time.normalize()
    row, needs = ((last_summary or {}).get("forecast") or {}).get(str(period)), ""
    if row is None:
        needs = "needs the summary.json of the quarter before (`last_summary`)"
        if before.empty or now["day"].max() < end:
            return pd.DataFrame(), needs
        history = at_constant_rates(before, prices, before["day"].max())
        if unfit(history):
            return pd.DataFrame(), needs
        row = forecast(history, end, seed=seed).totals.loc[str(period)]
        source = f"back-test from {period - 1} alone"
        needs += f"; the back-test shown instead is a forecast made in the same way from {period - 1} alone"
    else:
        source = f"report of {last_summary['quarter']}"
    usd, low, high = (float(row[name]) for name in ("usd", "low", "high"))
    found = {
        "source": source,
        "forecast_usd": usd,
        "low": low,
        "high": high,
        "spend_usd": spend,
        "error_usd": usd - spend,
        "error": (usd - spend) / spend,
        "inside": low <= spend <= high,
    }
    return pd.DataFrame([found]), needs


def at_constant_rates(every, prices, last):
    """Return daily spend at the rates of the last day, with short events replaced by what was expected."""
    total = _at_rates(every, prices, last).groupby(every["day"]).sum()
    table = robust_z(total)
    for event in runs(table, total.index[0], last):
        if event["days"] < _SHORT and not event["lasts"]:
            run = table.loc[event["start"] : event["end"]]
            total.loc[run.index[run["flagged"]]] = run.loc[run["flagged"], "expected"]
    return total


def _at_rates(daily, prices, on):
    """Return the US dollars of each row at the rates of a day, or as they were where a rate is not known then."""
    return repriced(daily, prices, on).fillna(daily["cost_usd"])


def scheduled_factor(every, prices, last, end):
    """Return by day what price changes after the last one multiply spend by, on the last four weeks' tokens."""
    recent = every[every["day"] > last - pd.Timedelta(days=WINDOW)]
    changes = prices.changes(last, end, models=recent["model_id"].unique())
    factor = pd.Series(1.0, pd.date_range(last, end, unit="us"))
    base = _at_rates(recent, prices, last).sum()
    for on in sorted(changes.loc[changes["kind"] == "rate", "on"].unique()):
        factor.loc[on:] = _at_rates(recent, prices, on).sum() / base
    return factor
