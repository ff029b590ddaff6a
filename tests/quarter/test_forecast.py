"""forecast: bands that cover what they say, steps that are no growth, and the error of an earlier forecast."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.stats import t

from tierlab.quarter.outlook import error_of_last, forecast

WEEKDAYS = np.array([1.1, 1.15, 1.15, 1.1, 1.0, 0.55, 0.95])
DAYS = pd.date_range("2026-04-01", "2026-12-31")
HISTORY = 183  # to 2026-09-30
QUARTER = slice("2026-10-01", "2026-12-31")


def series(log_level, rng=None, noise=0.0):
    shocks = 0.0 if rng is None else rng.normal(0, noise, len(DAYS))
    return pd.Series(np.exp(log_level + np.log(WEEKDAYS[DAYS.day_of_week]) + shocks), DAYS)


def simulated(kind, rng):
    """Daily spend of three quarters: growth of about 3 % a month around which the level stays, or wanders."""
    growth = rng.normal(0.03, 0.02) / 30.4 * np.arange(len(DAYS))
    if kind == "steady":
        return series(np.log(100) + growth, rng, 0.08)
    if kind == "wandering":
        return series(np.log(100) + growth + np.cumsum(rng.normal(0, 0.01, len(DAYS))), rng, 0.06)
    return series(
        np.log(100) + growth + 0.5 * (DAYS >= "2026-08-17"), rng, 0.08
    )  # a step in the middle of August


@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [("steady", 0.75, 1.0), ("wandering", 0.65, 0.92), ("step", 0.75, 1.0)],
)
def test_the_band_covers_what_it_says(kind, least, most):
    """150 histories: three standard errors of a share of 0.8 are 0.1, and the docstring owns up to the rest."""
    rng, held = np.random.default_rng(3), []
    shifts = [pd.Timestamp("2026-08-17")] if kind == "step" else []
    for _ in range(150):
        spend = simulated(kind, rng)
        found = forecast(
            spend.iloc[:HISTORY], "2026-12-31", seed=rng, paths=400, shifts=shifts
        ).totals.loc["2026Q4"]
        held.append(found["low"] <= spend.loc[QUARTER].sum() <= found["high"])
    assert least <= np.mean(held) <= most


def test_exact_growth_is_continued():
    spend = series(np.log(100) + 0.002 * np.arange(len(DAYS)))
    found = forecast(spend.iloc[:HISTORY], "2026-12-31")
    assert found.totals.loc["2026Q4", "usd"] == pytest.approx(spend.loc[QUARTER].sum(), rel=2e-3)
    assert found.totals.loc["2026-11", "days"] == 30
    by_day = spend.loc[QUARTER].to_numpy()
    assert found.days["usd"].to_numpy() == pytest.approx(
        by_day, rel=0.02
    )  # the weekday's share, growth within the week aside


def test_a_known_step_is_no_growth():
    spend = series(np.log(100) + 0.7 * (DAYS >= "2026-08-17"), np.random.default_rng(5), 0.03)
    truth = spend.loc[QUARTER].sum()
    with_step = forecast(
        spend.iloc[:HISTORY], "2026-12-31", shifts=[pd.Timestamp("2026-08-17")]
    ).totals.loc["2026Q4", "usd"]
    without = forecast(spend.iloc[:HISTORY], "2026-12-31").totals.loc["2026Q4", "usd"]
    assert with_step == pytest.approx(truth, rel=0.05)
    assert without > 1.1 * truth


def test_a_shift_within_a_week_of_another_belongs_to_it():
    spend = series(np.log(100) + 0.7 * (DAYS >= "2026-08-17"), np.random.default_rng(5), 0.03)
    first = pd.Timestamp("2026-08-10")
    one, six, seven = (
        forecast(
            spend.iloc[:HISTORY], "2026-12-31", shifts=[first, first + pd.Timedelta(days=gap)]
        ).totals
        for gap in (0, 6, 7)
    )
    assert six.equals(one)
    assert not seven.equals(one)


def test_a_week_is_shared_as_in_the_last_eight():
    """Level throughout, but since eight weeks all of it falls on the first day of the forecast's weeks."""
    spend = pd.Series(10.0, pd.date_range("2026-01-01", periods=26 * 7))
    spend.iloc[-56:] = np.tile([70.0, 0, 0, 0, 0, 0, 0], 8)
    found = forecast(spend, spend.index[-1] + pd.Timedelta(days=7)).days["usd"]
    assert found.to_numpy() == pytest.approx([70.0, 0, 0, 0, 0, 0, 0], rel=1e-6)


def test_the_band_is_that_of_students_t():
    """By the textbook: given the ratio of variances the next week is t with n - p degrees of freedom, mixed over ratios."""
    rng, n = np.random.default_rng(8), 9
    weekly = np.log(700) + rng.normal(0, 0.1, n)
    history = pd.Series(np.repeat(np.exp(weekly) / 7, 7), pd.date_range("2026-07-02", periods=63))
    found = forecast(history, "2026-09-09", paths=200_000).totals.loc["2026-09"]
    time = np.arange(n + 1.0)
    line = np.column_stack([np.ones(n + 1), time])
    parts = []
    for ratio in [0, *np.geomspace(0.02, 20, 15)]:
        cover = (np.eye(n + 1) + ratio * np.minimum.outer(time, time)) / (1 + ratio)
        known, pull = np.linalg.inv(cover[:n, :n]), cover[n, :n] @ np.linalg.inv(cover[:n, :n])
        normal = line[:n].T @ known @ line[:n]
        slope = np.linalg.inv(normal) @ line[:n].T @ known @ weekly
        off = weekly - line[:n] @ slope
        rest, reach = off @ known @ off, line[n] - pull @ line[:n]
        spread = cover[n, n] - pull @ cover[:n, n] + reach @ np.linalg.inv(normal) @ reach
        likely = (np.linalg.det(cover[:n, :n]) * np.linalg.det(normal)) ** -0.5
        likely *= rest ** (-(n - 2) / 2)
        scale = np.sqrt(rest / (n - 2) * spread)
        parts.append((likely, t(n - 2, line[n] @ slope + pull @ off, scale)))
    whole = sum(likely for likely, _ in parts)
    for name, share in (("low", 0.1), ("usd", 0.5), ("high", 0.9)):
        exact = brentq(
            lambda x, share=share: sum(w * d.cdf(x) for w, d in parts) / whole - share, 0, 20
        )
        assert np.log(found[name]) == pytest.approx(exact, abs=0.004)


def test_scheduled_changes_multiply_the_days_from_then_on():
    spend = series(np.log(100) * np.ones(len(DAYS))).iloc[:HISTORY]
    doubled = pd.Series(2.0, pd.date_range("2026-12-01", "2026-12-31"))
    plain, changed = (
        forecast(spend, "2026-12-31", factor=f).totals["usd"] for f in (None, doubled)
    )
    assert changed["2026-12"] == pytest.approx(2 * plain["2026-12"])
    assert changed["2026-10"] == pytest.approx(plain["2026-10"])


def test_the_same_seed_gives_the_same_forecast():
    spend = simulated("steady", np.random.default_rng(1)).iloc[:HISTORY]
    assert forecast(spend, "2026-12-31", seed=4).totals.equals(
        forecast(spend, "2026-12-31", seed=4).totals
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.iloc[-55:], "at least 8 weeks"),
        (lambda s: s.drop(s.index[100]), "a day is missing"),
        (
            lambda s: s.where((s.index < "2026-09-01") | (s.index > "2026-09-14"), 0.0),
            "a week without spend",
        ),
    ],
)
def test_refusals(change, message):
    with pytest.raises(ValueError, match=message):
        forecast(change(series(np.zeros(len(DAYS))).iloc[:HISTORY]), "2026-12-31")


def test_the_end_must_lie_ahead():
    with pytest.raises(ValueError, match="not after the last day"):
        forecast(series(np.zeros(len(DAYS))).iloc[:HISTORY], "2026-09-30")


def test_error_of_an_earlier_forecast():
    now = pd.DataFrame({"cost_usd": [200.0]})
    said = {"forecast": {"2026Q3": {"usd": 150, "low": 120, "high": 199}}, "quarter": "2026Q2"}
    table, needs = error_of_last(now, now.head(0), None, pd.Period("2026Q3"), said, 0)
    row = table.iloc[0]
    assert (row["error_usd"], row["error"], row["inside"]) == (-50.0, -0.25, False)
    assert (row["source"], needs) == ("report of 2026Q2", "")
