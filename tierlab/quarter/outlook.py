"""Days that do not look like the four weeks before them: in spend, and in what a cache gives back.

What the next quarter will cost: a level that drifts and wanders, with a band, and how far the last forecast was off.

Looking at a quarter's days: which stand out, what the next quarter will cost, how good the last forecast was.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from tierlab.core.vocabulary import BUCKETS
from tierlab.prices.pricing import changes_of, labelled, repriced

WINDOW = 28  # days of the baseline
THRESHOLD = 6.0  # robust z; see `anomalies` for the false alarms
FLOOR = 0.01  # of a usual day's total spend: smaller movements are no news
_NORMAL = (
    1.482602218505602  # standard deviation of a normal variable over its median absolute deviation
)
_GAP = 3  # quiet days that do not end an event
_COLUMNS = [
    "over",
    "name",
    "measure",
    "start",
    "end",
    "days",
    "direction",
    "peak_z",
    "usual",
    "seen",
    "excess_usd",
    "lasts",
]


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
            spread = max(
                _NORMAL * np.median(np.abs(off - np.median(off))),
                floor,
                1e-12 * max(abs(level), 1.0),
            )
            expected[day] = level * factor[day]
            z[day] = (now - expected[day]) / spread
        if not abs(z[day]) >= threshold:
            kept.append(day)
    return pd.DataFrame(
        {"value": values, "expected": expected, "z": z, "flagged": np.abs(z) >= threshold},
        index=series.index,
    )


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
    With the defaults 6 of 40 simulated quarters without an event (`tierlab.quarter.simulated`, no plants: Poisson requests,
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
                found.append(
                    {
                        "over": "cache",
                        "name": name,
                        "measure": "cache_hit_rate",
                        **event,
                        "excess_usd": cost,
                    }
                )
    table = pd.DataFrame(found, columns=_COLUMNS)
    return table.sort_values("excess_usd", key=np.abs, ascending=False, kind="stable").reset_index(
        drop=True
    )


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
    during = inputs[
        flagged & (inputs.index >= event["start"]) & (inputs.index <= event["end"])
    ].sum()
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


LEAST_WEEKS = 8
CONFIDENCE = 0.8
PATHS = 2000
_RATIOS = np.r_[
    0, np.geomspace(0.02, 20, 15)
]  # weekly variance of the level's wandering over that of the noise


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
    weekly_growth : float
        Median of log growth per week.
    """

    days: pd.DataFrame
    totals: pd.DataFrame
    confidence: float
    weekly_growth: float


def forecast(spend, end, *, confidence=CONFIDENCE, paths=PATHS, seed=0, factor=None, shifts=()):
    """Forecast daily spend from the day after the last one.

    Parameters
    ----------
    spend : Series
        US dollars per day, indexed by every day of the history, at constant prices.
    end : str or Timestamp
        Last day of the forecast.
    confidence : float
        Level of the band, 0-1.
    paths : int
        Simulated futures.
    seed : int or numpy.random.Generator
    factor : Series, optional
        What scheduled price changes multiply spend with, indexed by day; 1 where it has none.
    shifts : sequence of Timestamp
        Days on which the level is known to have moved for good, so that the step does not count as growth. One in
        the first or the last two weeks is left to the random walk.

    Returns
    -------
    Forecast

    Raises
    ------
    ValueError
        With fewer than eight whole weeks, a day missing among them, or a week without spend.

    Notes
    -----
    The logarithm of weekly spend is a straight line plus a random walk plus noise: the local level model with drift
    (Harvey 1989, chapter 2; Durbin and Koopman 2012, chapter 2). Line and scale have flat priors and are integrated out;
    the ratio of the two variances, which half a year cannot tell, is averaged over a grid (0 and 0.02 to 20,
    logarithmic) by its restricted likelihood. A week's days share it as in the last eight weeks. Weeks are counted back
    from the last day. A shift is a step in the line (Box and Tiao, JASA 70 (1975) 70-79). On 300 simulated histories of 26 weeks each the 80% band of the next quarter's total covered it in
    98% of cases for a steady trend with 8% daily noise, 95% for noise with autocorrelation 0.7, and 75% for a level that
    wanders by 1% a day.

    Examples
    --------
    A steady 100 dollars a day:

    >>> history = pd.Series(100.0, index=pd.date_range("2026-07-01", "2026-09-29"))
    >>> forecast(history, "2026-12-31").totals.loc["2026Q4", "usd"].round(2)
    np.float64(9200.0)
    """
    weeks = _weeks(spend)
    horizon = pd.date_range(spend.index[-1] + pd.Timedelta(days=1), pd.Timestamp(end), unit="us")
    if len(horizon) == 0:
        raise ValueError(f"end={end!r} is not after the last day, {spend.index[-1]:%Y-%m-%d}")
    ahead = -(-len(horizon) // 7)
    rng = np.random.default_rng(seed)
    line = _line(spend.index, len(weeks), ahead, shifts)
    logs = _futures(np.log(weeks.sum(axis=1)), line, paths, rng)
    share = weeks[-LEAST_WEEKS:].sum(axis=0) / weeks[-LEAST_WEEKS:].sum()
    daily = (np.exp(logs)[:, :, None] * share).reshape(paths, -1)[:, : len(horizon)]
    if factor is not None:
        daily = daily * factor.reindex(horizon).fillna(1.0).to_numpy()
    tail = (1 - confidence) / 2
    days = pd.DataFrame(
        np.quantile(daily, [0.5, tail, 1 - tail], axis=0).T, columns=["usd", "low", "high"]
    )
    totals = {}
    for unit in ("M", "Q"):
        periods = horizon.to_period(unit)
        for period in periods.unique():
            total = daily[:, periods == period].sum(axis=1)
            ends = dict(
                zip(("usd", "low", "high"), np.quantile(total, [0.5, tail, 1 - tail]), strict=True)
            )
            totals[str(period)] = ends | {"days": int((periods == period).sum())}
    growth = float(np.median(logs[:, -1] - logs[:, 0]) / max(ahead - 1, 1))
    totals = pd.DataFrame.from_dict(totals, orient="index").rename_axis("period")
    return Forecast(
        days.assign(day=horizon)[["day", "usd", "low", "high"]], totals, confidence, growth
    )


def _weeks(spend):
    """Daily spend as whole weeks that end on the last day, shape (weeks, 7)."""
    days = pd.DatetimeIndex(spend.index)
    if not days.equals(pd.date_range(days[0], days[-1], unit=days.unit)):
        raise ValueError("a day is missing in the history; a forecast needs every day")
    whole = len(spend) // 7
    if whole < LEAST_WEEKS:
        raise ValueError(
            f"{len(spend)} days of history; a forecast needs at least {LEAST_WEEKS} weeks"
        )
    weeks = spend.to_numpy(float)[-7 * whole :].reshape(whole, 7)
    if not (weeks.sum(axis=1) > 0).all():
        raise ValueError("a week without spend; a forecast of growth needs spend in each")
    return weeks


def _line(days, weeks, ahead, shifts):
    """Regressors by week: one, time, and for each shift the share of the week that lies behind it."""
    first = days[-1] - pd.Timedelta(days=7 * weeks - 1)
    time = np.arange(weeks + ahead, dtype=float)
    steps = []
    for shift in sorted(set(shifts)):
        passed = np.clip(time + 1 - (shift - first).days / 7, 0, 1)
        if 2 <= passed[:weeks].sum() <= weeks - 2:
            steps.append(passed)
    return np.column_stack([np.ones_like(time), time, *steps[: weeks - 6]])


def _futures(y, line, paths, rng):
    """Simulated log weekly spend after the last week, shape (paths, weeks ahead)."""
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
    """Generalised least squares for one covariance: log restricted likelihood, predictive mean and covariance, residual sum."""
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


def forecast_error(spend_usd, earlier):
    """How far an earlier forecast of a quarter was off.

    Parameters
    ----------
    spend_usd : float
        What the quarter cost.
    earlier : mapping
        usd, low, high (US dollars) and source (in words).

    Returns
    -------
    DataFrame
        One row: source, forecast_usd, low, high, spend_usd, error_usd (forecast minus spend), error (share of the
        spend), inside (whether the band held it).

    Examples
    --------
    >>> forecast_error(100.0, {"usd": 110.0, "low": 90.0, "high": 130.0, "source": "last report"}).iloc[0].to_dict()["error"]
    0.1
    """
    usd, low, high = (float(earlier[key]) for key in ("usd", "low", "high"))
    error = usd - spend_usd
    row = {
        "source": earlier["source"],
        "forecast_usd": usd,
        "low": low,
        "high": high,
        "spend_usd": spend_usd,
        "error_usd": error,
    }
    row |= {
        "error": error / spend_usd if spend_usd else float("nan"),
        "inside": bool(low <= spend_usd <= high),
    }
    return pd.DataFrame([row])


_SHORT = 7  # days; a shorter event says nothing about the next quarter


def judged_days(every, start, end, missing):
    """Daily spend of the quarter with what was expected, and its events; says in `missing` if history is short."""
    table = robust_z(every.groupby("day")["cost_usd"].sum())
    judged = int((table.index < start).sum())
    if judged < WINDOW:
        missing["events"] = (
            f"needs {WINDOW} days of usage before the quarter to judge its first days; there are {judged}"
        )
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
        return forecast(
            history,
            end,
            seed=seed,
            factor=_scheduled(every, prices, last, end),
            shifts=_apart(lasting),
        )
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
        earlier = forecast(
            _constant(before, prices, before["day"].max()), period.end_time.normalize(), seed=seed
        )
    except ValueError:
        return pd.DataFrame()
    missing["forecast_error"] += (
        "; shown is what this method says of the quarter from the quarter before alone"
    )
    return forecast_error(
        spend,
        earlier.totals.loc[str(period)].to_dict() | {"source": "this method on the quarter before"},
    )


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
        factor.loc[on : until - pd.Timedelta(days=1)] = (
            repriced(recent, prices, on).fillna(recent["cost_usd"]).sum() / base
        )
    return factor
