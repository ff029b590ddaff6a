"""Reasoning: what it adds to bill and wait, and the break-evens, against arithmetic written out."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tierlab as tl
from tierlab.decide.tasks import expected_cost
from tierlab.reasoning import effort
from tierlab.speed import latency

shares = st.floats(0, 0.98)
money = st.floats(1e-4, 10)


@pytest.fixture(scope="module")
def june():
    return tl.load_prices("maintained", as_of="2026-06-12")


def test_a_share_of_seventy_percent_is_three_and_a_third_times_the_output():
    assert effort.billed_output(300, 0.7) == pytest.approx(300 / 0.3)
    assert effort.billed_output([0, 100], [0.5, 0]).tolist() == [0, 100]
    for share in (-0.1, 1.0, [0.5, float("nan")]):
        with pytest.raises(ValueError, match="from 0 to below 1"):
            effort.billed_output(300, share)


@given(shares, st.floats(1, 5000))
def test_billed_output_is_what_the_workload_bills(share, visible):
    work = tl.Workload(requests_per_day=1, output_tokens=visible, reasoning_share=share)
    assert effort.billed_output(visible, share) == pytest.approx(
        work.mean_tokens()["output"], rel=1e-6
    )


def test_o3_must_emit_three_and_three_quarters_of_the_output(june):
    """GPT-5.5: 5 / 30 USD per million; o3: 2 / 8; o4-mini: 1.10 / 4.40."""
    assert effort.output_break_even(june, "o3", "gpt-5.5") == pytest.approx(30 / 8)
    assert effort.output_break_even(june, "o4-mini", "gpt-5.5") == pytest.approx(30 / 4.4)
    with_input = effort.output_break_even(
        june, "o3", "gpt-5.5", input_tokens=500, output_tokens=300
    )
    assert with_input == pytest.approx((500 * 5 + 300 * 30 - 500 * 2) / (300 * 8))


@given(st.floats(0, 20_000), st.floats(10, 5_000), st.sampled_from(["o3", "o4-mini"]))
def test_both_cost_the_same_at_the_output_break_even(june, given_tokens, visible, model):
    times = effort.output_break_even(
        june, model, "gpt-5.5", input_tokens=given_tokens, output_tokens=visible
    )
    work = {"requests_per_day": 1, "input_tokens": given_tokens, "output_tokens": visible}
    thinking = tl.Workload(**work, reasoning_share=1 - 1 / times)
    costs = [
        tl.daily_cost(w, june, [m])["cost_usd"][0]
        for w, m in ((thinking, model), (tl.Workload(**work), "gpt-5.5"))
    ]
    assert costs[0] == pytest.approx(costs[1], rel=1e-6)


def test_the_reader_waits_for_the_reasoning():
    """1 s, then 700 tokens of reasoning at 50 per second: 15 s; a request without reasoning waits 1 s."""
    assert effort.first_visible_s(300, 0.7, 1.0, 50) == pytest.approx(15)
    assert effort.first_visible_s(300, 0.0, 1.0, 50) == pytest.approx(1)


@given(shares, st.floats(1, 5000), st.floats(0, 5), st.floats(5, 500))
def test_the_answer_follows_the_first_visible_token_at_full_speed(share, visible, ttft, speed):
    first = effort.first_visible_s(visible, share, ttft, speed)
    whole = latency.seconds_per_request(effort.billed_output(visible, share), ttft, speed)
    assert whole - first == pytest.approx((visible - 1) / speed, abs=1e-6)


@given(st.floats(1, 20), st.floats(2, 5000), st.floats(0, 5), st.floats(5, 500))
def test_at_that_share_a_request_takes_that_many_times_as_long(times, visible, ttft, speed):
    share = effort.share_for_slowdown(times, visible, ttft, speed)
    whole = latency.seconds_per_request(effort.billed_output(visible, share), ttft, speed)
    assert whole == pytest.approx(
        times * latency.seconds_per_request(visible, ttft, speed), rel=1e-6
    )


def test_no_reasoning_makes_a_request_faster():
    with pytest.raises(ValueError, match="from 1 up"):
        effort.share_for_slowdown(0.5, 300, 1, 50)


class TestBreakEven:
    """gap x C = extra cost + extra seconds x value of a second."""

    def test_two_cents_and_twelve_seconds(self):
        """0.02 + 12 x 0.001 = 0.032 USD to be saved."""
        assert effort.thinking_break_even(
            0.02, 12, error_cost_usd=1.0, second_usd=0.001
        ) == pytest.approx(0.032)
        assert effort.thinking_break_even(
            0.02, 12, error_gap=0.05, second_usd=0.001
        ) == pytest.approx(0.64)
        assert effort.thinking_break_even(
            0.02, 12, error_gap=0.05, error_cost_usd=1.0
        ) == pytest.approx(0.03 / 12)

    @given(
        st.floats(-0.05, 0.5),
        st.floats(0.1, 300),
        st.floats(0.001, 1),
        money,
        st.floats(0, 0.1),
        st.floats(0, 0.9),
    )
    def test_both_cost_the_same_all_in(self, extra_usd, extra_s, gap, error_cost, second, error):
        """Each break-even, put back into the cost of a request with and without thinking."""
        givens = {"error_gap": gap, "error_cost_usd": error_cost, "second_usd": second}
        for name in givens:
            found = effort.thinking_break_even(extra_usd, extra_s, **{**givens, name: None})
            if not np.isfinite(found):
                assert name == "error_gap" and extra_usd + extra_s * second > error_cost
                continue
            gap_, cost_, second_ = ({**givens, name: found}[key] for key in givens)
            quick = expected_cost(0.1, error + gap_, cost_, 5.0, second_)
            slow = expected_cost(0.1 + extra_usd, error, cost_, 5.0 + extra_s, second_)
            assert quick == pytest.approx(slow, rel=1e-9, abs=1e-9)

    def test_what_no_value_can_repay_is_infinite(self):
        assert (
            effort.thinking_break_even(2.0, 0, error_cost_usd=1.0, second_usd=0) == np.inf
        )  # a gap of 200%
        assert effort.thinking_break_even(0.02, 10, error_gap=0.0, second_usd=0.001) == np.inf

    def test_thinking_that_does_not_pay_even_where_nobody_waits(self):
        """Two cents more, one cent of errors saved: waiting would have to be worth less than nothing."""
        assert effort.thinking_break_even(
            0.02, 10, error_gap=0.01, error_cost_usd=1.0
        ) == pytest.approx(-0.001)

    def test_thinking_that_is_cheaper_pays_whatever_errors_cost(self):
        assert effort.thinking_break_even(-0.01, 0, error_gap=0.05, second_usd=0.0) < 0

    def test_arrays_go_through(self):
        found = effort.thinking_break_even(0.02, 12, error_cost_usd=[0.01, 1, 10], second_usd=0.0)
        assert found.tolist() == pytest.approx([np.inf, 0.02, 0.002])

    @pytest.mark.parametrize(
        "givens", [{}, {"error_gap": 0.1}, {"error_gap": 0.1, "error_cost_usd": 1, "second_usd": 0}]
    )
    def test_exactly_one_is_left_out(self, givens):
        with pytest.raises(
            ValueError, match="exactly one of error_gap, error_cost_usd, second_usd"
        ):
            effort.thinking_break_even(0.02, 12, **givens)

    @pytest.mark.parametrize("extra_s, givens", [(-1, {"second_usd": 0}), (1, {"second_usd": -1})])
    def test_what_is_below_zero_is_refused(self, extra_s, givens):
        with pytest.raises(ValueError, match="none of them can be below 0"):
            effort.thinking_break_even(0.02, extra_s, error_gap=0.1, **givens)


@pytest.fixture(scope="module")
def choices():
    november = tl.load_prices("maintained", as_of="2026-11-23")
    message = tl.Workload(requests_per_day=1, input_tokens=500, output_tokens=300)
    usd = {"error_cost_usd": 0.10, "second_usd": 0.001}
    found = effort.thinking_choices(message, november, "anthropic", **usd)
    return found.set_index(["tier", "effort"])


class TestChoices:
    """Haiku 5.5 at 0.10 / 0.50 and Opus 5.5 at 4 / 20 USD per million; 137.5 and 55 tokens per second (data/speeds.csv)."""

    def test_a_small_model_that_thinks_costs_a_tenth_of_a_flagship_that_does_not(self, choices):
        """High is four fifths of the output: 1,500 tokens for 300."""
        assert choices.at[("small", "high"), "cost_usd"] == pytest.approx(
            (500 * 0.10 + 1_500 * 0.50) / 1e6
        )
        assert choices.at[("flagship", "none"), "cost_usd"] == pytest.approx(
            (500 * 4 + 300 * 20) / 1e6
        )

    @pytest.mark.parametrize(
        ("tier", "rate", "speed"), [("small", 0.5, 137.5), ("flagship", 20, 55)]
    )
    def test_the_gap_pays_for_the_tokens_and_the_seconds(self, choices, tier, rate, speed):
        """Medium is half of the output: 300 tokens more."""
        extra = 300 * rate / 1e6 + 300 / speed * 0.001
        assert choices.at[(tier, "medium"), "gap"] == pytest.approx(extra / 0.10)
        assert choices.at[(tier, "none"), "gap"] == 0

    def test_the_ends_lie_on_both_sides_and_may_never_pay(self, choices):
        gaps = choices.drop("none", level="effort")
        assert (gaps["gap_low"] <= gaps["gap"]).all() and (gaps["gap"] <= gaps["gap_high"]).all()
        assert np.isinf(choices.at[("flagship", "max"), "gap"])

    def test_what_is_read_is_what_was_computed(self, choices):
        rows = effort.told(choices.reset_index()).set_index(["model", "effort"])
        said = rows["messages to set right"]
        assert said["claude-haiku-5-5", "none"] == "nothing"
        assert said["claude-opus-5-5", "max"] == "more than all"
        # (0.006 + 300 / 55 x 0.001) / 0.10
        assert said["claude-opus-5-5", "medium"] == "11.5%"

    def test_no_effort_pays_and_every_one_does(self, choices):
        rows = choices.reset_index()
        assert effort.thinking_headline(rows, 0.0001).endswith(
            "on claude-haiku-5-5 at no effort, on claude-opus-5-5 at no effort"
        )
        every = "low, medium, high, xhigh and max effort"
        assert every in effort.thinking_headline(rows, 0.5)


class TestEfforts:
    def test_shares_are_shares_in_order_and_each_has_a_reason(self):
        table = effort.load_efforts()
        assert (table["share_low"] <= table["share"]).all() and (
            table["share"] <= table["share_high"]
        ).all()
        assert (table["share_high"] < 1).all()
        assert (np.diff(table["share"]) >= 0).all()
        assert (table["reason"].str.len() > 10).all()
        assert set(table["basis"]) == {"definition", "assumed"}

    def test_a_request_at_each_effort(self, june):
        """o3 at 2 / 8 USD, 500 and 300 tokens, 55 tokens per second after 1.2 s; high: 300 / 0.2 = 1,500 billed."""
        speed = {"ttft_s": 1.2, "tokens_per_s": 55}
        high = effort.effort_costs(
            tl.Workload(requests_per_day=9), june, "o3", speed, efforts=["none", "high"]
        ).loc["high"]
        assert high["billed_tokens"] == pytest.approx(1_500)
        assert high["cost_usd"] == pytest.approx((500 * 2 + 1_500 * 8) / 1e6)
        assert high["first_visible_s"] == pytest.approx(1.2 + 1_200 / 55)
        assert high["seconds"] == pytest.approx(1.2 + 1_499 / 55)
        # 300 / (1 - 0.60) and 300 / (1 - 0.92): the ends of the assumed share
        assert high[["billed_tokens_low", "billed_tokens_high"]].tolist() == pytest.approx(
            [750, 3_750]
        )
        assert high["cost_usd_low"] == pytest.approx((500 * 2 + 750 * 8) / 1e6)

    def test_the_range_of_the_speed_widens_the_time_and_not_the_cost(self, june):
        row = tl.load_speeds().set_index(["provider", "tier"]).loc[("openai", "flagship")]
        alone = effort.effort_costs(
            tl.Workload(requests_per_day=1),
            june,
            "o3",
            row[["ttft_s", "tokens_per_s"]],
            efforts=["low", "high"],
        )
        wide = effort.effort_costs(
            tl.Workload(requests_per_day=1), june, "o3", row, efforts=["low", "high"]
        )
        assert (wide["seconds_high"] > alone["seconds_high"]).all() and (
            wide["seconds_low"] < alone["seconds_low"]
        ).all()
        pd.testing.assert_frame_equal(wide.filter(like="usd"), alone.filter(like="usd"))

    def test_an_unknown_effort_is_named(self, maintained):
        with pytest.raises(ValueError, match="unknown effort 'hihg'; did you mean 'high'"):
            effort.effort_costs(
                tl.Workload(requests_per_day=1), maintained, "gpt-6-astra", {}, efforts=["hihg"]
            )
