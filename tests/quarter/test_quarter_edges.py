"""The quarter at its edges: the day on which an event ends, a tie with a threshold, a group without spend, a second team."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tierlab.prices.contract import Contract
from tierlab.prices.pricing import PARTS
from tierlab.quarter import ahead, analyse, arrival, outlook, savings
from tierlab.quarter.aggregate import SESSION_ROWS, billing_gaps, build_cube, quarter_names
from tierlab.quarter.engine import TOKENS
from tierlab.quarter.savings import per_session
from tierlab.quarter.words import causes

PRICES = tl.load_prices("maintained", as_of="2026-10-01")
SUMMER = pd.Period("2026Q3", freq="Q")


def by_day(values, start="2026-06-01"):
    return pd.Series(np.asarray(values, float), pd.date_range(start, periods=len(values)))


def asked(day, model_id, n=1, uncached=1000, output=100, **columns):
    """`n` requests of one day."""
    log = {"at": pd.Timestamp(day), "model_id": model_id}
    log |= {"uncached_input_tokens": uncached, "output_tokens": output}
    log |= {"cache_read_tokens": 0, "cache_write_short_tokens": 0} | columns
    return pd.DataFrame(log, index=range(n))


def daily(*parts):
    """Sums of requests by day and model, at list price."""
    return build_cube(pd.concat(parts, ignore_index=True), PRICES).daily


class TestRobustZ:
    def test_a_day_at_the_threshold_is_flagged_and_one_below_is_not(self):
        """28 days around 100 with a deviation of at most 1: six standard deviations of 1 lie at 106."""
        usual = [99.0, 101.0] * 14
        table = outlook.robust_z(by_day([*usual, 106.0, 105.99]), floor=1.4826023, seasonal=False)
        assert table["z"].iloc[28] == pytest.approx(6 / 1.4826023)
        for value, flagged in ((106.0, True), (105.99, False), (94.0, True), (94.01, False)):
            exact = outlook.robust_z(by_day([*[100.0] * 28, value]), floor=1.0, seasonal=False)
            assert exact["flagged"].iloc[-1] == flagged, value

    def test_the_baseline_are_the_last_28_days_that_were_not_flagged(self):
        """28 days at 100, a leak of 40 days, 28 days at 103: the 28 of 103 are judged against 100 and then replace it."""
        values = [100.0] * 28 + [200.0] * 40 + [103.0] * 28 + [104.0]
        table = outlook.robust_z(by_day(values), floor=1.0, seasonal=False)
        assert table["flagged"].sum() == 40
        assert table["expected"].iloc[28:69].eq(100).all()
        assert table["expected"].iloc[-1] == 103

    def test_a_weekday_has_its_own_level(self):
        """Sundays at 30 and other days at 105 make a mean of 94.3: the factors are 0.318 and 1.114."""
        days = pd.date_range("2026-06-01", periods=70)
        spend = pd.Series(np.where(days.day_of_week == 6, 30.0, 105.0), days)
        factor = outlook.weekday_factor(spend)
        assert factor.tolist() == pytest.approx([7 * 105 / 660] * 6 + [7 * 30 / 660])
        table = outlook.robust_z(spend)
        assert table["expected"].iloc[28:].tolist() == pytest.approx(spend.iloc[28:].tolist())

    def test_a_weekday_seen_less_than_three_times_and_one_without_spend(self):
        """Of 22 days from a Monday 16 have a whole week around them: three Thursdays and Fridays, two of the others."""
        days = pd.date_range("2026-06-01", periods=22)
        factor = outlook.weekday_factor(pd.Series(np.where(days.day_of_week == 1, 0.0, 70.0), days))
        assert factor.tolist() == pytest.approx([1, 1, 1, 7 / 6, 7 / 6, 1, 1])
        days = pd.date_range("2026-06-01", periods=70)
        factor = outlook.weekday_factor(pd.Series(np.where(days.day_of_week == 1, 0.0, 70.0), days))
        assert factor.tolist() == pytest.approx([7 / 6, 0.05, *[7 / 6] * 5])


class TestRuns:
    def flagged(self, values, start="2026-06-29", end="2026-09-30"):
        table = outlook.robust_z(by_day([100.0] * 28 + values), floor=1.0, seasonal=False)
        return list(outlook.runs(table, pd.Timestamp(start), pd.Timestamp(end)))

    def test_three_quiet_days_belong_to_an_event_and_four_end_it(self):
        """The 29th day is 29 June."""
        one = self.flagged([150.0, 100, 100, 100, 160.0, *[100.0] * 9])
        assert [(e["start"].day, e["end"].day, e["days"]) for e in one] == [(29, 3, 2)]
        assert one[0]["excess_usd"] == 110 and one[0]["peak_z"] == 60
        assert (one[0]["usual"], one[0]["seen"]) == (100, 155)
        two = self.flagged([150.0, 100, 100, 100, 100, 160.0, *[100.0] * 9])
        assert [(e["start"].day, e["days"]) for e in two] == [(29, 1), (4, 1)]

    @pytest.mark.parametrize(("quiet", "lasts"), [(0, True), (3, True), (4, False)])
    def test_an_event_lasts_where_the_log_ends_within_it(self, quiet, lasts):
        (event,) = self.flagged([150.0, *[100.0] * quiet])
        assert event["lasts"] is lasts

    def test_above_and_below_are_two_events(self):
        found = self.flagged([150.0, 40.0, 150.0, *[100.0] * 9])
        assert [(e["direction"], e["days"]) for e in found] == [("above", 2), ("below", 1)]
        assert found[1]["excess_usd"] == -60 and found[1]["peak_z"] == -60

    def test_days_outside_the_quarter_are_none_of_its_events(self):
        values = [150.0, 100, 100, 100, 100, 160.0, *[100.0] * 9]
        assert len(self.flagged(values, start="2026-06-30")) == 1
        assert len(self.flagged(values, end="2026-07-03")) == 1
        assert self.flagged(values, start="2026-06-30", end="2026-07-03") == []


class TestHitRates:
    def test_reads_are_a_share_of_all_input_of_the_model(self):
        rows = daily(
            asked(
                "2026-08-01",
                "claude-sonnet-4-6",
                cache_read_tokens=2000,
                cache_write_short_tokens=1000,
            ),
            asked("2026-08-01", "claude-sonnet-4-6", task="b"),
            asked("2026-08-03", "claude-sonnet-4-6", uncached=0, output=5),
            asked("2026-08-01", "gpt-4o", 3),
        )
        days = pd.date_range("2026-08-01", "2026-08-03")
        ((name, rate, inputs),) = outlook.hit_rates(rows, days)
        assert name == "claude-sonnet-4-6" and rate.tolist() == [2000 / 5000]
        # 2,000 uncached at 3, 2,000 read at 0.30, 1,000 written at 3.75 USD per million
        assert inputs["usd"].tolist() == pytest.approx([0.006 + 0.0006 + 0.00375])

    def test_what_a_lost_cache_costs_is_against_the_quiet_days_before(self):
        """0.5 USD a million before, 2 during; what comes after says nothing."""
        days = pd.date_range("2026-08-01", periods=6)
        inputs = pd.DataFrame({"usd": [5.0, 5, 20, 20, 9, 90], "tokens": 10.0}, days)
        flagged = pd.Series([False, False, True, True, False, True], days)
        event = {"start": days[2], "end": days[3]}
        assert outlook.extra_input_usd(inputs, flagged, event) == pytest.approx(40 - 2 * 5)


class TestForecast:
    @pytest.mark.parametrize(("days", "why"), [(55, "at least 8 weeks"), (56, "")])
    def test_eight_whole_weeks_are_enough(self, days, why):
        found = outlook.unfit(by_day([100.0] * days))
        assert why in found and bool(found) == bool(why)

    def test_a_week_without_spend_counts_from_the_last_day(self):
        """Seven days without spend are a week only where they are one of the whole weeks back from the end."""
        spend = by_day([100.0] * 70)
        spend.iloc[-14:-7] = 0
        assert "without spend" in outlook.unfit(spend)
        spend.iloc[-14] = 1
        assert outlook.unfit(spend) == ""
        first = by_day([0.0] * 6 + [100.0] * 63)  # less than a week before the first whole one
        assert outlook.unfit(first) == ""

    def test_months_and_quarters_are_sums_of_the_days(self):
        found = outlook.forecast(by_day([100.0] * 63, "2026-06-30"), "2026-10-31")
        assert found.days["day"].iloc[0] == pd.Timestamp("2026-09-01")
        assert found.totals["days"].to_dict() == {
            "2026-09": 30,
            "2026-10": 31,
            "2026Q3": 30,
            "2026Q4": 31,
        }
        assert found.totals["usd"].tolist() == pytest.approx([3000, 3100, 3000, 3100], rel=1e-6)

    def test_the_band_is_that_of_the_middle_four_fifths(self):
        """Of 0 to 100 in steps of one: 50, 10 and 90."""
        band = outlook.band_of(np.arange(101.0)[:, None])
        assert band.iloc[0].to_dict() == pytest.approx({"usd": 50, "low": 10, "high": 90})

    def test_a_shift_is_the_share_of_a_week_that_lies_behind_it(self):
        """Ten weeks from 1 June: a shift on Thursday of the third week leaves four of its seven days behind it."""
        days = pd.date_range("2026-06-01", periods=70)
        line = outlook.weekly_regressors(days, 10, 2, [pd.Timestamp("2026-06-18")])
        assert line[:, 0].tolist() == [1] * 12 and line[:, 1].tolist() == list(range(12))
        assert line[:, 2].tolist() == pytest.approx([0, 0, 4 / 7, *[1] * 9])

    @pytest.mark.parametrize(
        ("day", "counts"),
        [("2026-06-14", False), ("2026-06-15", True), ("2026-07-27", True), ("2026-07-28", False)],
    )
    def test_a_shift_needs_two_weeks_on_either_side(self, day, counts):
        """Ten weeks: two lie behind 15 June, and two are still to come on 27 July."""
        days = pd.date_range("2026-06-01", periods=70)
        line = outlook.weekly_regressors(days, 10, 0, [pd.Timestamp(day)])
        assert line.shape[1] == 2 + counts

    @pytest.mark.parametrize(("second", "steps"), [("2026-06-24", 1), ("2026-06-25", 2)])
    def test_a_shift_less_than_a_week_after_another_belongs_to_it(self, second, steps):
        days = pd.date_range("2026-06-01", periods=70)
        shifts = [pd.Timestamp(second), pd.Timestamp("2026-06-18")]
        assert outlook.weekly_regressors(days, 10, 0, shifts).shape[1] == 2 + steps

    def test_a_scheduled_price_changes_the_days_from_its_own_on(self):
        """Argon's rates double on 1 December; half of the last four weeks' spend is on it."""
        argon = asked("2026-11-20", "gemini-4-argon", uncached=10**6, output=0)  # 2 USD
        other = asked("2026-11-20", "gpt-4o", uncached=800_000, output=0)  # 2 USD at 2.50
        old = asked("2026-10-23", "gpt-4o", uncached=10**8, output=0)  # 28 days before the last
        last = pd.Timestamp("2026-11-20")
        factor = outlook.scheduled_factor(
            daily(argon, other, old), PRICES, last, pd.Timestamp("2026-12-05")
        )
        assert factor.loc["2026-11-20":"2026-11-30"].eq(1).all()
        assert factor.loc["2026-12-01":].tolist() == pytest.approx([(4 + 2) / 4] * 5)

    def test_a_short_event_is_no_history_and_a_long_one_is(self):
        """A dollar a day on GPT-4o, ten times as much on six days, or on seven."""
        for length, kept in ((6, False), (7, True)):
            spend = [10 if 40 <= day < 40 + length else 1 for day in range(70)]
            days = pd.date_range("2026-06-01", periods=70)
            rows = daily(
                *(
                    asked(day, "gpt-4o", uncached=400_000 * usd, output=0)
                    for day, usd in zip(days, spend, strict=True)
                )
            )
            history = outlook.at_constant_rates(rows, PRICES, days[-1])
            assert (history.iloc[40:47].sum() > 20) == kept
            assert history.iloc[:40].tolist() == pytest.approx([1] * 40)

    @pytest.mark.parametrize(
        ("low", "high", "inside"),
        [(90, 100, True), (100, 120, True), (90, 99, False), (101, 120, False)],
    )
    def test_a_band_holds_its_ends(self, low, high, inside):
        now = pd.DataFrame({"cost_usd": [60.0, 40.0]})
        last = {"quarter": "2026Q2", "forecast": {"2026Q3": {"usd": 110, "low": low, "high": high}}}
        table, needs = outlook.error_of_last(now, now, PRICES, SUMMER, last, 0)
        row = table.iloc[0]
        assert needs == "" and row["inside"] == inside
        assert row[["error_usd", "error"]].tolist() == pytest.approx([10, 0.1])


class TestArrival:
    @pytest.mark.parametrize(
        ("share", "low", "high", "outcome"),
        [
            (0.5, 0.01, 1, arrival.ARRIVED),
            (0.49, 0.01, 1, arrival.NOT_ARRIVED),
            (0.5, 0.0, 1, arrival.CANNOT_TELL),
            (0.9, -1, 0.0, arrival.CANNOT_TELL),
            (0.9, -1, -0.01, arrival.NOT_ARRIVED),
            (0.1, -1, 1, arrival.CANNOT_TELL),
            (0.099, -1, 1, arrival.NOT_ARRIVED),
        ],
    )
    def test_the_rules_at_their_ends(self, share, low, high, outcome):
        assert arrival.outcome_of(share, low, high)[0] == outcome

    def test_a_ratio_has_the_variance_of_its_days(self):
        """1 of 4, 1 of 2, 1 of 2: 3 of 8; the days are off by -0.5, 0.25 and 0.25."""
        part, whole = by_day([1, 1, 1]), by_day([4, 2, 2])
        ratio, variance = arrival.ratio_of(part, whole)
        assert ratio == 3 / 8
        assert variance == pytest.approx((0.25 + 0.0625 + 0.0625) / 64 * 3 / 2)
        assert arrival.ratio_of(by_day([1]), by_day([2])) == (0.5, 0.0)

    def test_days_without_a_row_count_as_nothing_up_to_the_end(self):
        rows = pd.DataFrame({"day": pd.to_datetime(["2026-07-02", "2026-07-02", "2026-07-04"])})
        found = arrival.sums_by_day(pd.Series([1.0, 2, 4]), rows, pd.Timestamp("2026-07-06"))
        assert found.tolist() == [3, 0, 4, 0, 0]

    def moved(self, shares, before=0.0):
        """A million tokens a day on GPT-4o; from July on shares of them go to GPT-4o mini."""
        parts = []
        for day, share in zip(
            pd.date_range("2026-06-01", periods=60), [before] * 30 + shares, strict=True
        ):
            tokens = round(1e6 * share)
            if tokens < 1e6:
                parts.append(asked(day, "gpt-4o", uncached=10**6 - tokens, output=0))
            if tokens:
                parts.append(asked(day, "gpt-4o-mini", uncached=tokens, output=0))
        one = arrival.Decided(
            "x", "move", "x", pd.Timestamp("2026-07-01"), model_id="gpt-4o", to="gpt-4o-mini"
        )
        return arrival.arrivals(daily(*parts), PRICES, [one]).iloc[0]

    def test_what_went_the_new_way_before_is_not_counted(self):
        """2.50 a million against 0.15. A fifth had moved before, so at three fifths a half of the rest has."""
        row = self.moved([0.6] * 30, before=0.2)
        assert row["moved_share"] == pytest.approx(0.5)
        assert row["saved_usd"] == pytest.approx(30 * 0.4 * 2.35)
        assert row["outcome"] == arrival.ARRIVED
        assert self.moved([0.6] * 30)["saved_usd"] == pytest.approx(30 * 0.6 * 2.35)

    def test_the_last_four_weeks_decide_what_has_moved(self):
        """The first two days after the decision are not among them."""
        row = self.moved([0.0] * 2 + [1.0] * 28)
        assert row["moved_share"] == pytest.approx(1.0)
        assert row["saved_usd"] == pytest.approx(28 * 2.35) and row["days"] == 30

    def test_all_that_went_this_way_before_leaves_nothing_to_tell(self):
        assert "went this way before" in self.moved([0.95] * 30, before=0.95)["why"]
        row = self.moved([0.85] * 30, before=0.85)
        assert row["outcome"] == arrival.NOT_ARRIVED and row["moved_share"] == pytest.approx(
            0, abs=1e-9
        )

    def test_where_most_was_spent_is_what_answered_before(self):
        before = pd.DataFrame({"model_id": ["a", "b", "a", "c"], "cost_usd": [2.0, 3.0, 2.0, 9.0]})
        assert arrival.answered_before(before, "c") == "a"
        assert arrival.answered_before(before, "x") == "c"
        with pytest.raises(ValueError, match="nothing was to move"):
            arrival.answered_before(before.iloc[[3]], "c")


class TestSavings:
    @pytest.mark.parametrize(
        ("day", "quarter"),
        [("2026-10-01", "2026Q4"), ("2026-10-02", "2027Q1"), ("2026-12-31", "2027Q1")],
    )
    def test_the_quarter_ahead_is_the_first_whole_one(self, day, quarter):
        assert str(ahead.Ahead(PRICES, pd.Timestamp(day)).period) == quarter

    def test_what_a_group_without_a_rate_would_cost_is_not_known(self):
        autumn = ahead.Ahead(PRICES, pd.Timestamp("2026-10-01"))
        rows = daily(asked("2026-08-03", "gpt-4o"), asked("2026-08-03", "gemini-3.7-flash"))
        assert np.isnan(autumn.cost(rows, batch=True))
        assert autumn.cost(rows[rows["model_id"] == "gpt-4o"], batch=True) == pytest.approx(
            0.0035 / 2
        )

    @pytest.mark.parametrize(
        ("tasks", "found"),
        [(["a", "a"], "a"), (["a", "b"], ""), ([None, None], "(none)")],
    )
    def test_a_cache_has_a_task_where_only_one_reads(self, tasks, found):
        rows = pd.DataFrame({"task": [*tasks, "c"], "cache_read_tokens": [5, 1, 0]})
        assert savings.cached_task(rows) == found
        assert savings.cached_task(rows.drop(columns="task")) == ""

    def test_teams_are_those_that_spent_the_largest_first(self):
        rows = pd.DataFrame(
            {
                "team": ["a", "b", "c", "a", "d"],
                "task": ["x", "x", "y", "y", "x"],
                "cost_usd": [2.0, 3, 9, 2, 0],
            }
        )
        assert savings.teams_of(rows, "") == "c, a, b"
        assert savings.teams_of(rows, "x") == "b, a"
        assert savings.teams_of(rows.drop(columns="team"), "") == ""

    def test_at_most_three_decisions_and_none_twice(self):
        """The second concerns tokens of the first; the sixth would be a fourth decision; the held one takes nothing."""
        now = pd.DataFrame({"task": list("abcde"), "model_id": "m", "team": "t"})
        table = pd.DataFrame(
            {
                "task": ["a", "", "b", "c", "d", "e", "a"],
                "model_id": ["m"] * 7,
                "team": "",
                "status": ["", "to test", "worse", "", "", "", ""],
            }
        )
        found = savings.ranked(table, now)
        assert found["place"].tolist() == [1, 0, 0, 2, 3, 0, 0]
        assert found["overlaps"].tolist() == [0, 1, 0, 0, 0, 0, 1]

    def test_small_savings_are_left_out_at_half_a_per_cent(self):
        """One of 200 equal requests fails: a saving of exactly half a per cent is one, less is not."""
        for ok, kept in ((199, True), (200, False)):
            now = daily(
                asked("2026-08-03", "claude-haiku-4-5", ok, status="ok"),
                asked("2026-08-03", "claude-haiku-4-5", 1, status="timeout"),
            )
            table = savings.savings(ahead.Ahead(PRICES, pd.Timestamp("2026-10-01"), now))
            assert ("errors" in set(table["kind"])) == kept

    def test_a_change_of_price_counts_the_tokens_from_its_day_on(self):
        """Terra costs a fifth less from 30 July: a million tokens on that day and a million the day before, in tenths."""
        now = daily(
            asked("2026-07-29", "gpt-5.6-terra", 10, uncached=100_000, output=0),
            asked("2026-07-30", "gpt-5.6-terra", 10, uncached=100_000, output=0),
        )
        start, end = SUMMER.start_time, pd.Timestamp("2026-09-30")
        row = ahead.price_changes(now, PRICES, start, end).iloc[0]
        assert row[["before_usd", "after_usd", "effect_usd"]].tolist() == pytest.approx(
            [2.5, 2, -0.5]
        )
        assert row["tokens_from"] == pd.Timestamp("2026-07-30") and not row["scheduled"]
        assert "input 2.5 to 2" in row["change"] and "ends" not in row["change"]
        later = ahead.price_changes(now[:1], PRICES, start, end).iloc[0]
        assert later["scheduled"] and later["before_usd"] == pytest.approx(2.5)

    def test_a_model_retires_up_to_the_day_that_is_asked(self):
        """GPT-4o mini and GPT-4o retire on 14 January 2027."""
        leaves = PRICES.by_model["retires_on"]["gpt-4o"]
        now = daily(asked("2026-08-03", "gpt-4o", 3), asked("2026-08-05", "claude-haiku-5-5", 1))
        table = ahead.retiring(now, PRICES, leaves, "2026-11-23")
        assert table["model_id"].tolist() == ["gpt-4o"]
        assert table["share"].iloc[0] == pytest.approx(0.0105 / now["cost_usd"].sum())
        assert table["last_used"].iloc[0] == pd.Timestamp("2026-08-03")
        day = pd.Timedelta(days=1)
        assert ahead.retiring(now, PRICES, leaves - day, "2026-11-23").empty

    def test_a_successor_must_outlive_half_a_year(self):
        """GPT-4o mini, a step down from GPT-4o, is in the lineup of June and retires on 14 January 2027."""
        leaves = PRICES.by_model["retires_on"]["gpt-4o-mini"]
        soon = leaves - pd.Timedelta(days=180)
        before = soon - pd.Timedelta(days=1)
        assert ahead.successor(PRICES, "gpt-4o", soon, steps_down=1) == ""
        assert ahead.successor(PRICES, "gpt-4o", before, steps_down=1) == "gpt-4o-mini"
        assert ahead.successor(PRICES, "gpt-4o-mini", before, steps_down=1) == ""
        assert ahead.successor(PRICES, "gpt-4o", before) == ""  # itself


class TestBills:
    def test_a_difference_of_a_hundredth_is_rounding(self):
        usual = {"model_id": "m", "billed_rows": 1}
        rows = [
            usual | {"day": 1, "covered_usd": 100.0, "billed_usd": 99.0},
            usual | {"day": 2, "covered_usd": 100.0, "billed_usd": 98.0},
            usual | {"day": 3, "covered_usd": 98.0, "billed_usd": 100.0},
            usual | {"day": 4, "covered_usd": 500.0, "billed_usd": 0.0, "billed_rows": 0},
            usual | {"day": 5, "covered_usd": 60.0, "billed_usd": 40.0},
            usual | {"day": 5, "covered_usd": 40.0, "billed_usd": 60.0},
        ]
        assert billing_gaps(pd.DataFrame(rows))["day"].tolist() == [2, 3]

    def test_quarters_of_this_century_have_a_name(self):
        numbers = pd.Series([4 * 2026, 4 * 2026 + 3, 7999, 8000, 8399, 8400, None])
        assert quarter_names(numbers) == ["2026Q1", "2026Q4", "", "2000Q1", "2099Q4", "", ""]

    def test_bills_of_the_quarter_by_month_and_provider(self):
        now = daily(asked("2026-07-01", "gpt-4o", 2), asked("2026-09-30", "claude-haiku-4-5", 1))
        bills = pd.DataFrame(
            {
                "day": pd.to_datetime(["2026-06-30", "2026-07-01", "2026-09-30", "2026-10-01"]),
                "provider": ["openai", "openai", "openai", "anthropic"],
                "usd": [8.0, 0.005, 1.0, 8.0],
            }
        )
        found = savings.reconciliation(now, PRICES, bills).set_index(["month", "provider"])
        assert found["billed_usd"].to_dict() == {
            ("2026-07", "openai"): 0.005,
            ("2026-09", "openai"): 1.0,
            ("2026-09", "anthropic"): 0.0,
        }
        assert found["difference_usd"].to_dict() == pytest.approx(
            {
                ("2026-07", "openai"): 0.002,
                ("2026-09", "openai"): -1.0,
                ("2026-09", "anthropic"): 0.0015,
            }
        )
        assert found["ratio"].dropna().tolist() == pytest.approx([0.4, -1])

    def test_what_has_no_price_is_of_the_quarter_or_has_no_time(self):
        unpriced = pd.DataFrame(
            {
                "quarter": ["2026Q3", "", "2026Q2", "2026Q3"],
                "reason": "unknown model",
                "model_id": ["a", "a", "a", "b"],
                "rows": [1, 2, 4, 8],
                "billed_usd": [np.nan, 1.0, 5.0, np.nan],
            }
        )
        bills = pd.DataFrame(
            {
                "against": ["bills", "bills", "bills"],
                "provider": ["groq", "groq", "openai"],
                "priced_usd": [0.0, 0.0, 1.0],
                "billed_usd": [2.0, 3.0, 9.0],
            }
        )
        unread = pd.DataFrame({"reason": ["x", "y"], "rows": [5, 6], "usd": [0.5, 0.0]})
        table = savings.without_price(
            SimpleNamespace(unpriced=unpriced), bills, "2026Q3", unread
        ).set_index(["reason", "name"])
        assert table["rows"].to_dict() == {
            ("billed, no usage in the log", "groq"): 0,
            ("unknown model", "a"): 3,
            ("x", ""): 5,
            ("unknown model", "b"): 8,
        }
        assert table["billed_usd"].tolist()[:3] == [5.0, 1.0, 0.5]
        assert np.isnan(table["billed_usd"].iloc[3])


class TestContractOfAQuarter:
    def terms(self, **clause):
        contract = Contract(commitments=[{"id": "c", "usd": 365} | clause])
        found = ahead.Deal(contract, PRICES, SUMMER, pd.DataFrame()).terms.commitments
        return [(one.usd, one.every) for one in found]

    def test_a_commitment_counts_with_the_quarters_part_of_it(self):
        """92 days of July to September."""
        assert self.terms(every="month") == [(365, "month")]
        assert self.terms(every="quarter") == [(365, "quarter")]
        assert self.terms(every="year") == [(365 / 4, "quarter")]
        year = {"from": "2026-01-01", "to": "2026-12-31"}
        assert self.terms(every="term", **year) == [(92, "quarter")]
        short = {"from": "2026-08-01", "to": "2026-08-31"}
        assert self.terms(every="term", **short) == [(365, "quarter")]

    @pytest.mark.parametrize(
        ("clause", "there"),
        [
            ({"to": "2026-06-30"}, False),
            ({"to": "2026-07-01"}, True),
            ({"from": "2026-09-30"}, True),
            ({"from": "2026-10-01"}, False),
            ({"shortfall": "forgive"}, False),
            ({"shortfall": "carry"}, True),
        ],
    )
    def test_one_that_holds_on_a_day_of_it_counts(self, clause, there):
        assert bool(self.terms(**clause)) is there

    def test_capacity_begins_with_the_quarter_or_in_it(self):
        unit = {"id": "p", "alias": "x", "units": 1, "usd_per_unit_hour": 1}
        unit |= {"input_tpm_per_unit": 1, "output_weight": 1}
        spans = [("2026-01-01", None), ("2026-08-05", "2026-09-01"), ("2026-01-01", "2026-07-01")]
        spans += [("2026-01-01", "2026-06-30"), ("2026-10-01", None), ("2026-09-30", None)]
        clauses = [unit | {"from": since, "to": until} for since, until in spans]
        deal = ahead.Deal(Contract(provisioned=clauses), PRICES, SUMMER, pd.DataFrame())
        kept = [str(one.start) for one in deal.terms.provisioned]
        assert kept == ["2026-07-01", "2026-08-05", "2026-07-01", "2026-09-30"]

    def test_rows_move_into_the_quarter_day_by_day(self):
        """The first quarter has 90 days and the third 92; the second's last day is the 91st."""
        rows = daily(
            asked("2026-01-01", "gpt-4o"),
            asked("2026-02-10", "gpt-4o"),
            asked("2026-06-30", "gpt-4o"),
        )
        table = ahead.contract_rows(rows, rows[list(PARTS)].to_numpy(), SUMMER)
        assert table["at"].dt.strftime("%m-%d").tolist() == ["07-01", "08-10", "09-29"]
        autumn = ahead.contract_rows(
            daily(asked("2026-12-31", "gpt-4o")), np.zeros((1, 4)), pd.Period("2027Q1", freq="Q")
        )
        assert autumn["at"].tolist() == [pd.Timestamp("2027-03-31")]

    def test_rows_say_where_they_were_bought_or_whose_rate_priced_them(self):
        rows = daily(
            asked("2026-08-03", "claude-haiku-4-5", platform="bedrock", region="us-east-1"),
            asked("2026-08-03", "claude-haiku-4-5"),
        )
        table = ahead.contract_rows(rows, rows[list(PARTS)].to_numpy(), SUMMER)
        assert table["platform"].tolist() == ["bedrock", "anthropic"]
        assert table["service_tier"].tolist() == ["standard"] * 2
        assert table["region"].fillna("").tolist() == ["us-east-1", ""]

    def test_parts_of_rows(self):
        rows = pd.DataFrame(
            [dict.fromkeys([*TOKENS, *PARTS, "other_usd"], 2.0) | {"model_id": "m"}]
        )
        half = ahead.times(rows, 0.5)
        assert half[[*TOKENS, *PARTS, "other_usd"]].eq(1).all(axis=None)
        plain = ahead.without_cache(rows, np.array([[8.0, 0, 0, 2.0]]))
        assert plain[list(TOKENS)].to_numpy().tolist() == [[8, 0, 0, 0, 2]]
        assert plain[list(PARTS)].to_numpy().tolist() == [[8, 0, 0, 2]]


class TestTables:
    def test_spend_is_held_against_what_there_is(self):
        """100 now, 80 before and a budget of 125: a fifth under it; under a contract 90 are paid."""
        now, before = pd.DataFrame({"cost_usd": [60.0, 40]}), pd.DataFrame({"cost_usd": [80.0]})
        table = analyse.spend_table(now, before, 125.0).set_index("what")
        assert table["difference_usd"].to_dict() == {
            "this quarter": 0,
            "budget": -25,
            "quarter before": 20,
        }
        assert table["ratio"].tolist() == pytest.approx([1, 0.8, 1.25])
        paid_now = now.assign(contracted_usd=[50.0, 30], effective_usd=[50.0, 32])
        table = analyse.spend_table(paid_now, before[:0], 125.0, effective=90.0).set_index("what")
        assert table["usd"].to_dict() == {
            "this quarter": 100,
            "contracted": 80,
            "unused of commitments and capacity": 8,
            "effective": 90,
            "budget": 125,
        }
        assert table.loc["budget", ["difference_usd", "ratio"]].tolist() == pytest.approx(
            [-35, 0.72]
        )
        assert np.isnan(analyse.spend_table(now, before, 0.0).set_index("what")["ratio"]["budget"])

    def test_shares_of_a_tier_are_of_its_own_quarter(self):
        """GPT-4o is mid at 2.50 a million, mini small at 0.15."""
        rows = daily(
            asked("2026-08-03", "gpt-4o", uncached=400_000, output=0),
            asked("2026-08-04", "gpt-4o-mini", 3, uncached=200_000, output=0),
            asked("2026-06-30", "gpt-4o", 5, uncached=10**6, output=0),
        )
        table = analyse.tier_mix(rows, PRICES).set_index(["period", "tier"])
        own = table.loc[("2026Q3", "mid")]
        assert own[["request_share", "token_share"]].tolist() == [0.25, 0.4]
        assert own["spend_share"] == pytest.approx(1.0 / 1.09)
        assert own["usd_per_mtok"] == pytest.approx(2.5)
        assert table.loc[("2026Q2", "mid"), "spend_share"] == 1

    def test_days_of_the_quarter_without_usage(self):
        rows = pd.DataFrame({"day": pd.to_datetime(["2026-07-01", "2026-09-30", "2026-09-30"])})
        assert analyse.days_without_usage(rows) == 90

    def test_an_attempt_more_than_requests_is_an_extra_one(self):
        """Four requests in six attempts, and three of which two are told: nothing extra, and nothing negative."""
        rows = daily(
            asked("2026-08-03", "gpt-4o", 4, status="ok", attempts=[1, 1, 2, 2]),
            asked("2026-08-04", "gpt-4o", 2, status="error", attempts=1),
        )
        rows.loc[1, "attempts"] = 1
        table = analyse.reliability(rows).set_index("status")
        assert table["extra_attempts"].to_dict() == {"ok": 2, "error": 0}
        assert table["retry_usd"].to_dict() == pytest.approx({"ok": 4 * 0.0035 * 2 / 6, "error": 0})
        assert table["share"].to_dict() == pytest.approx({"ok": 4 / 6, "error": 2 / 6})

    def test_what_a_cache_gives_back_without_terms_is_the_list_price(self):
        """Sonnet 4.6 at 3, 0.30 read and 3.75 written: 2,000 x 2.70 less 1,000 x 0.75 per million."""
        now = daily(
            asked(
                "2026-08-03",
                "claude-sonnet-4-6",
                cache_read_tokens=2000,
                cache_write_short_tokens=1000,
            )
        )
        rows = ahead.contract_rows(now, now[list(PARTS)].to_numpy(), SUMMER)
        deal = ahead.Deal(Contract(), PRICES, SUMMER, rows)
        table = analyse.cache(now, PRICES, deal).set_index("model_id")
        for name in ("net_usd", "contracted_usd", "effective_usd"):
            assert table.loc["all", name] == pytest.approx(0.0054 - 0.00075)

    def test_a_task_is_named_in_words(self):
        assert (
            savings.said_on("faq_answering") == "FAQ answering "
            and savings.said_on("own") == "own "
        )
        assert savings.said_on("") == "everything "


class TestManyRows:
    @pytest.mark.parametrize(("more", "needs"), [(0, ""), (1, "needs at most 100,000 rows")])
    def test_so_many_turns_are_replayed_and_not_one_more(self, more, needs):
        cube = SimpleNamespace(mixed_turns=SESSION_ROWS + more, turns=pd.DataFrame({"quarter": []}))
        found, why = per_session(cube, SUMMER, PRICES)
        assert found is None and why.startswith(needs) and bool(why) == bool(more)

    def test_files_need_not_have_the_same_columns(self, tmp_path):
        asked("2026-08-03", "gpt-4o", 2).to_parquet(tmp_path / "a.parquet")
        asked("2026-08-03", "gpt-4o", 3, team="a").to_parquet(tmp_path / "b.parquet")
        rows = build_cube(tmp_path, PRICES).daily.set_index("team")["rows"]
        assert rows["a"] == 3 and rows.sum() == 5


class TestCauses:
    @pytest.mark.parametrize(
        ("event", "said"),
        [
            ({}, "the total spent more on 3 August"),
            ({"excess_usd": -50.0}, "the total spent less on 3 August"),
            ({"over": "model", "name": "m"}, "m spent more on 3 August"),
            ({"over": "team", "name": "t", "usual": 0.05}, "t spent on 3 August"),
            ({"over": "team", "name": "t", "usual": 0.1}, "t spent more on 3 August"),
            ({"days": 2, "end": "2026-08-04"}, "the total spent more from 3 August to 4 August"),
            ({"lasts": True}, "the total spent more since 3 August"),
            (
                {"over": "cache", "name": "m"},
                "the prompt cache of m served less of the input on 3 August",
            ),
            (
                {"over": "cache", "name": "m", "seen": 0.0},
                "the prompt cache of m did not work on 3 August",
            ),
        ],
    )
    def test_an_event_is_told_by_whose_it_is_and_when(self, event, said):
        usual = {"over": "total", "name": "", "start": "2026-08-03", "end": "2026-08-03", "days": 1}
        usual |= {
            "lasts": False,
            "direction": "below",
            "usual": 0.5,
            "seen": 1.0,
            "excess_usd": 50.0,
        }
        events = pd.DataFrame([usual | event]).astype({"start": "M8[ns]", "end": "M8[ns]"})
        savings = pd.DataFrame({"kind": [], "model_id": [], "task": []})
        nothing = pd.DataFrame({"scheduled": [], "effect_usd": []})
        quarter = SimpleNamespace(
            events=events, savings=savings, price_changes=nothing, variance=nothing, spend_usd=100.0
        )
        assert causes(quarter)["cause"].tolist() == [said]
