"""Curves, crossovers and break-evens, against arithmetic written out."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tierlab as tl
from tests.scaling.test_workload import workloads as any_workloads

workloads = any_workloads.filter(
    lambda work: work.cache_ttl != "long"
)  # three of the nine models have no 1-hour write rate

# 1,000,000 requests of 500 input and 300 output tokens at the article's prices, in USD per day (claims C013 to C017).
ARTICLE_DAY = {
    "claude-opus-4-8": 10_000,
    "claude-sonnet-4-6": 6_000,
    "claude-haiku-4-5": 2_000,
    "gpt-5.5": 11_500,
    "gpt-4o": 4_250,
    "gpt-4o-mini": 255,
    "gemini-3.1-pro-preview": 4_600,
    "gemini-3.5-flash": 900,
    "gemini-2.5-flash-lite": 170,
}


def test_a_day_of_the_articles_workload(article):
    table = tl.daily_cost(tl.Workload(requests_per_day=1e6), article).set_index("model_id")
    assert table["cost_usd"].to_dict() == pytest.approx(ARTICLE_DAY)
    assert table.loc["gpt-5.5", ["low", "high"]].tolist() == pytest.approx([10_350, 12_650])
    assert table.loc["gpt-5.5", "interval"] == "approximate price, 10% to either side"
    points = table.drop("gpt-5.5")
    assert (points["low"] == points["cost_usd"]).all()
    assert (points["interval"] == "").all()


def test_a_range_of_lengths_becomes_a_band(article):
    """300 to 500 output tokens on Opus: 1e6 x (500 x 5 + 300..500 x 25) / 1e6."""
    row = tl.daily_cost(
        tl.Workload(requests_per_day=1e6, output_tokens=(300, 500)), article, ["claude-opus-4-8"]
    ).iloc[0]
    assert row[["cost_usd", "low", "high"]].tolist() == pytest.approx([12_500, 10_000, 15_000])
    assert row["interval"] == "ends of the given ranges"


def test_two_ranges_of_opposite_effect_span_all_corners(maintained):
    """More hits cost less, more requests cost more: the ends of the band are corners, not the ends of one range."""
    work = tl.Workload(
        requests_per_day=(1e6, 2e6), cache_hit_rate=(0.2, 0.8), input_tokens=1000, output_tokens=0
    )
    row = tl.daily_cost(work, maintained, ["claude-opus-5-5"]).iloc[0]
    assert row[["low", "high"]].tolist() == pytest.approx(
        [1e3 * (0.2 * 4 + 0.8 * 0.2), 2e3 * (0.8 * 4 + 0.2 * 0.2)]
    )


def test_recorded_requests_carry_the_interval_of_their_mean(article):
    """Two requests of 1 and 3 cents on Opus: mean 2, standard deviation 1, so 1.96 / sqrt(2) to either side."""
    table = pd.DataFrame(
        {"uncached_input_tokens": [2000, 6000], "output_tokens": 0, "source": "recorded"}
    )
    row = tl.daily_cost(
        tl.Workload(requests_per_day=100, table=table), article, ["claude-opus-4-8"]
    ).iloc[0]
    assert row["cost_usd"] == pytest.approx(2.0)
    assert row["high"] - row["cost_usd"] == pytest.approx(1.959964 / np.sqrt(2), rel=1e-6)
    assert "95% of the mean of 2 recorded requests" in row["interval"]


def test_what_does_not_fit_has_no_cost(maintained):
    table = tl.cost_curve(
        tl.Workload(requests_per_day=1),
        maintained,
        ["gpt-4o"],
        over="input_tokens",
        values=[128_000, 128_001],
    )
    assert table["cost_usd"].notna().tolist() == [True, False]
    assert table["flags"].tolist() == ["", "over_window"]
    assert table["over_window_share"].tolist() == [0, 1]


def test_part_of_a_spread_over_a_cliff_pays_the_higher_rate(maintained):
    """Half of the requests below 100,000 tokens at 0.10, half above at 0.50 USD per million."""
    table = pd.DataFrame({"uncached_input_tokens": [90_000, 110_000], "output_tokens": 0})
    row = tl.daily_cost(
        tl.Workload(requests_per_day=2, table=table), maintained, ["claude-haiku-5-5"]
    ).iloc[0]
    assert row["cost_usd"] == pytest.approx(0.09 * 0.1 + 0.11 * 0.5)


@settings(max_examples=40, deadline=None)
@given(workloads)
def test_daily_cost_equals_pricing_the_mean_where_nothing_is_stepped(work):
    """With flat rates the expectation of the cost is the cost of the expectation."""
    prices = tl.load_prices("maintained")
    work = dataclasses.replace(
        work,
        input_tokens=min(work.input_tokens, 900),
        output_tokens=min(work.output_tokens, 100),
        input_spread=0,
        cache_ttl="short",
    )
    row = tl.daily_cost(work, prices, ["claude-opus-5-5"]).iloc[0]
    mean = work.mean_tokens()
    rates = {"uncached_input": 4, "cache_read": 0.2, "cache_write_short": 5, "output": 20}
    expected = (
        work.requests_per_day
        * (1 - work.batch_share / 2)
        * sum(rates[b] * v for b, v in mean.items())
        / 1e6
    )
    assert row["cost_usd"] == pytest.approx(expected, rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(workloads, st.floats(1.01, 5))
def test_linear_in_volume_and_low_never_above_high(work, factor):
    prices = tl.load_prices("maintained")
    base = tl.daily_cost(work, prices)
    more = tl.daily_cost(
        dataclasses.replace(work, requests_per_day=work.requests_per_day * factor), prices
    )
    np.testing.assert_allclose(more["cost_usd"], base["cost_usd"] * factor, rtol=1e-9)
    fits = base.dropna(subset="cost_usd")
    assert (fits["low"] <= fits["cost_usd"] * (1 + 1e-12)).all()
    assert (fits["high"] >= fits["cost_usd"] * (1 - 1e-12)).all()


@settings(max_examples=25, deadline=None)
@given(workloads, st.sampled_from(["output_tokens", "turns", "reasoning_share"]))
def test_more_of_what_costs_never_costs_less(work, over):
    values = {
        "output_tokens": [10, 100, 1000],
        "turns": [1, 2, 5],
        "reasoning_share": [0, 0.4, 0.8],
    }[over]
    work = dataclasses.replace(work, output_spread=0, input_tokens=min(work.input_tokens, 5_000))
    curve = tl.cost_curve(work, tl.load_prices("maintained"), over=over, values=values)
    for _, line in curve.groupby("model_id"):
        assert (np.diff(line["cost_usd"].dropna()) >= -1e-9).all()


def test_growth_compounds_by_month(article):
    """A year of 365 days is 365 / (365.25 / 12) months."""
    work = tl.Workload(requests_per_day=1e6, monthly_growth=0.1)
    dates = {"start": "2026-07-01", "end": "2027-07-01"}
    costs = tl.cost_calendar(work, article, ["claude-opus-4-8"], **dates)["cost_usd"]
    assert costs.iloc[[0, -1]].tolist() == pytest.approx(
        [10_000, 10_000 * 1.1 ** (365 * 12 / 365.25)]
    )


def test_what_misses_the_cache_is_input_or_written(maintained):
    """Opus 5.5: 4 input, 5 and 8 written (USD per million): half of 1,000 tokens is read at 0.20, half missed."""
    shape = {"requests_per_day": 1e6, "input_tokens": 1_000, "output_tokens": 0}
    costs = [
        tl.daily_cost(
            tl.Workload(**shape, cache_hit_rate=0.5, cache_ttl=ttl), maintained, ["claude-opus-5-5"]
        )["cost_usd"].item()
        for ttl in (None, "short", "long")
    ]
    assert costs == pytest.approx([2_100, 2_600, 4_100])


def test_a_task_mix_weights_the_cost_of_recorded_requests(maintained):
    """Opus 5.5 at 4 USD per million: 100,000 or 300,000 input tokens, so 0.40 or 1.20 USD a request."""
    table = pd.DataFrame(
        {
            "uncached_input_tokens": [10**5] * 8 + [3 * 10**5] * 2,
            "output_tokens": 0,
            "task": ["a"] * 8 + ["b"] * 2,
        }
    )

    def day(mix):
        work = tl.Workload(requests_per_day=10, table=table, task_mix=mix)
        return tl.daily_cost(work, maintained, ["claude-opus-5-5"]).iloc[0]

    as_recorded, half, one = (
        day(mix) for mix in ({"a": 0.8, "b": 0.2}, {"a": 0.5, "b": 0.5}, {"b": 1})
    )
    assert [found["cost_usd"] for found in (as_recorded, half, one)] == pytest.approx([5.6, 8, 12])
    plain = day(None)
    assert (as_recorded["low"], as_recorded["high"]) == pytest.approx((plain["low"], plain["high"]))
    # Kish: 1 / sum of squared weights = 1 / (8 x 0.0625^2 + 2 x 0.25^2) = 6.4 rows; each request costs 0.80 +- 0.40 USD
    assert half["high"] - 8 == pytest.approx(1.96 * 10 * 0.4 / 6.4**0.5, rel=1e-4)


def test_a_misspelt_part_of_the_workload_is_named(article):
    with pytest.raises(
        ValueError, match="unknown part of a workload 'output_token'; did you mean 'output_tokens'"
    ):
        tl.cost_curve(tl.Workload(requests_per_day=1), article, over="output_token", values=[1])


def test_a_curve_without_values_is_refused(article):
    with pytest.raises(ValueError, match=r"values=\[\]; at least one value is needed"):
        tl.cost_curve(tl.Workload(requests_per_day=1), article, over="output_tokens", values=[])


def test_crossover_of_two_straight_lines(article):
    """GPT-4o (2.50 / 10) and Gemini 3.1 Pro (2 / 12) at 500 input tokens: 1250 + 10 x = 1000 + 12 x at x = 125."""
    work = tl.Workload(requests_per_day=1e6)
    curve = tl.cost_curve(
        work,
        article,
        ["gpt-4o", "gemini-3.1-pro-preview"],
        over="output_tokens",
        values=[0, 100, 200, 300],
    )
    row = tl.crossovers(curve).iloc[0]
    assert row["output_tokens"] == pytest.approx(125)
    assert row["cost_usd"] == pytest.approx(2_500)
    assert (row["cheaper_before"], row["cheaper_after"]) == ("gemini-3.1-pro-preview", "gpt-4o")
    on_a_grid_point = tl.cost_curve(
        work,
        article,
        ["gpt-4o", "gemini-3.1-pro-preview"],
        over="output_tokens",
        values=[0, 125, 250],
    )
    assert tl.crossovers(on_a_grid_point)["output_tokens"].tolist() == pytest.approx([125])
    assert tl.crossovers(curve[curve["model_id"] == "gpt-4o"]).empty


@settings(max_examples=25, deadline=None)
@given(workloads)
def test_both_models_cost_the_same_at_a_crossover(work):
    work = dataclasses.replace(
        work, output_spread=0, input_spread=0, turns=1, input_tokens=min(work.input_tokens, 90_000)
    )
    prices = tl.load_prices("maintained")
    found = tl.crossovers(tl.cost_curve(work, prices, over="output_tokens", values=[0, 500, 5_000]))
    for row in found.head(3).itertuples():
        at = tl.daily_cost(
            dataclasses.replace(work, output_tokens=row.output_tokens),
            prices,
            [row.cheaper_before, row.cheaper_after],
        )
        np.testing.assert_allclose(at["cost_usd"], row.cost_usd, rtol=1e-6)


def test_scheduled_changes_are_steps_in_the_calendar(maintained):
    """Gemini 4 Argon doubles on 2026-12-01, Gemini 3.8 Flash on 2027-01-01; nothing else moves without growth."""
    table = tl.cost_calendar(
        tl.Workload(requests_per_day=1e5), maintained, start="2026-11-23", end="2027-01-15"
    )
    steps = table[table["change"] != ""]
    assert steps[["on", "model_id"]].astype(str).to_numpy().tolist() == [
        ["2026-12-01", "gemini-4-argon"],
        ["2027-01-01", "gemini-3.8-flash"],
    ]
    argon = table[table["model_id"] == "gemini-4-argon"].set_index("on")["cost_usd"]
    assert argon["2026-12-01"] / argon["2026-11-23"] == pytest.approx(2)
    flat = table[table["model_id"] == "claude-opus-5-5"]["cost_usd"]
    assert flat.nunique() == 1


def test_a_retired_model_has_no_cost_from_that_day(maintained):
    table = tl.cost_calendar(
        tl.Workload(requests_per_day=1e5), maintained, ["o3"], start="2026-12-01", end="2026-12-20"
    ).set_index("on")
    assert table.loc["2026-12-11", "change"] == "retires"
    assert table["cost_usd"].isna().tolist() == [False, True, True]


def test_a_share_that_rounding_puts_past_its_end_is_that_end():
    """0.1 x 3 is 0.30000000000000004: twice 0.15, and a batch at half price closes the gap exactly."""
    assert tl.batch_break_even(0.1 * 3, 0.15) == 1
    assert np.isnan(tl.batch_break_even(0.31, 0.15))


def test_break_evens():
    assert tl.cache_break_even(1.25, 0.1) == pytest.approx(0.2174, abs=5e-5)
    assert tl.cache_break_even(2, 0.1) == pytest.approx(0.5263, abs=5e-5)
    assert tl.error_cost_break_even(0.01, 0.002, 0.05, 0.10) == pytest.approx(0.16)
    assert tl.error_cost_break_even(0.01, 0.002, 0.10, 0.10) == float("inf")
    assert tl.batch_break_even(6, 4) == pytest.approx(2 / 3)
    assert np.isnan(tl.batch_break_even(10, 2))  # even all in batch costs 5
    assert tl.cliff_break_even(2, 4, 2.5) == pytest.approx(0.25)
    assert np.isnan(tl.cliff_break_even(2, 4, 5))
    with pytest.raises(ValueError, match="read < 1 <= write"):
        tl.cache_break_even(1.25, 1.0)
    # the model of fewer errors costs less as well
    assert tl.error_cost_break_even(0.002, 0.01, 0.05, 0.10) == 0
    many = tl.error_cost_break_even(np.array([0.01, 0.002]), 0.002, 0.05, 0.10)
    assert many.tolist() == pytest.approx([0.16, 0])
    # per cent in place of shares
    with pytest.raises(ValueError, match="error_high=5; a share from 0 to 1 is needed"):
        tl.error_cost_break_even(0.01, 0.002, 5, 10)
    with pytest.raises(ValueError, match="discount=50; a share above 0 and up to 1 is needed"):
        tl.batch_break_even(6, 4, 50)
    # two models that cost nothing, and a step that is none
    assert np.isnan(tl.batch_break_even(0, 0)) and np.isnan(tl.cliff_break_even(2, 2, 3))


@pytest.mark.parametrize("day", ["01/02/2026", "2026", "today", "2026-02-30", None])
def test_a_day_is_written_as_iso_does(article, day):
    """01/02/2026 was taken for the second of January."""
    work = tl.Workload(requests_per_day=1)
    with pytest.raises(ValueError, match="is not a date; write it as 'YYYY-MM-DD'"):
        tl.cost_calendar(work, article, ["gpt-4o"], start=day, end="2026-03-01")
    if day is not None:
        with pytest.raises(ValueError, match="is not a date; write it as 'YYYY-MM-DD'"):
            tl.load_prices("article", as_of=day)


@given(st.floats(1, 4), st.floats(0, 0.99))
def test_at_the_cache_break_even_the_multiplier_is_one(write, read):
    rate = tl.cache_break_even(write, read)
    assert rate * read + (1 - rate) * write == pytest.approx(1)


def test_the_cache_break_even_comes_out_of_pricing(maintained):
    """At 21.7 % hits a 5-minute cache on Haiku 4.5 costs what no cache costs; below it more, above it less."""
    rate = tl.cache_break_even(1.25, 0.1)
    plain = tl.daily_cost(tl.Workload(requests_per_day=1e6), maintained, ["claude-haiku-4-5"])[
        "cost_usd"
    ].iloc[0]
    work = tl.Workload(requests_per_day=1e6, cache_ttl="short")
    curve = tl.cost_curve(
        work,
        maintained,
        ["claude-haiku-4-5"],
        over="cache_hit_rate",
        values=[rate - 0.1, rate, rate + 0.1],
    )["cost_usd"]
    assert curve.iloc[1] == pytest.approx(plain)
    assert curve.iloc[0] > plain > curve.iloc[2]
