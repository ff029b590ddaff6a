"""Fine-tuning as an investment: break-evens against arithmetic written out, and who offers it on which day."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierlab.reasoning import distillation
from tierlab.reasoning.distillation import Distillation

# 1,000 labels at a cent, ten hours at 50 USD, 90 USD of training: 600 USD; a cent against a fifth of one: 0.008 saved.
PLAN = Distillation(
    requests_per_day=1_000,
    teacher_usd=0.010,
    student_usd=0.002,
    labels=1_000,
    label_usd=0.01,
    curation_hours=10,
    hour_usd=50,
    training_usd=90,
)
plans = st.builds(
    Distillation,
    requests_per_day=st.floats(10, 1e6),
    teacher_usd=st.floats(0.001, 0.1),
    student_usd=st.floats(0, 0.05),
    labels=st.floats(10, 1e4),
    label_usd=st.floats(0, 1),
    curation_hours=st.floats(0, 200),
    hour_usd=st.floats(10, 100),
    teacher_error=st.floats(0, 0.3),
    student_error=st.floats(0, 0.3),
    error_cost_usd=st.floats(0, 1),
    drift=st.floats(0, 0.01),
    relabel_months=st.none() | st.floats(1, 24),
    monthly_growth=st.floats(-0.2, 0.3),
)


def test_fixed_cost_and_saving():
    assert distillation.fixed_usd(PLAN) == pytest.approx(600)
    assert distillation.saving_usd(PLAN) == pytest.approx(0.008)


def test_the_articles_pair_repays_five_thousand_dollars():
    """Opus 4.8 to Haiku 4.5 at 500 and 300 tokens: 0.010 to 0.002 USD, so 5,000 / 0.008 requests, 625 days of 1,000."""
    plan = replace(PLAN, labels=0, curation_hours=0, training_usd=5_000)
    assert distillation.break_even(plan, start="2026-12-01").at["days", "value"] == 625


def test_errors_are_paid_for():
    """Three points more errors at ten cents each take 0.003 of the 0.008; at 30 cents they take more than all of it."""
    worse = replace(PLAN, teacher_error=0.02, student_error=0.05, error_cost_usd=0.10)
    assert distillation.saving_usd(worse) == pytest.approx(0.005)
    assert distillation.break_even(worse, start="2026-12-01").at["days", "value"] == 120
    never = distillation.break_even(replace(worse, error_cost_usd=0.30), start="2026-12-01")
    assert never.at["days", "value"] == np.inf


def test_an_error_that_has_reached_one_grows_no_more():
    """0.5 and a tenth a month: 1 after five of ten months, so 0.75 on average and then 1: 0.875, at a cent each."""
    plan = replace(
        PLAN,
        student_error=0.5,
        drift=0.1,
        teacher_error=0.5,
        error_cost_usd=0.01,
        relabel_months=10,
    )
    months = (np.arange(100_000) + 0.5) / 10_000
    assert distillation.saving_usd(plan, months).mean() == pytest.approx(
        0.008 - 0.375 * 0.01, rel=1e-6
    )


@given(plans)
def test_the_date_is_the_first_day_from_which_the_balance_holds(plan):
    days = distillation.break_even(plan, start="2026-12-01", months=24).loc["days", "value"]
    balance = distillation.cumulative_cost(plan, months=24)["balance_usd"].to_numpy()
    if np.isfinite(days):
        assert (balance[int(days) :] >= 0).all() and (days == 0 or balance[int(days) - 1] < 0)
    else:
        assert balance[-1] < 0


def test_break_even_date_at_a_daily_volume():
    """75,000 requests at 1,000 a day: the 75th day, counted from 1 December, is 13 February."""
    table = distillation.break_even(PLAN, start="2026-12-01")
    assert table.loc["days"].tolist() == [75, 75, 75]
    assert table.loc["on", "value"] == pd.Timestamp("2027-02-13")


def test_growth_brings_the_date_nearer_and_shrinking_traffic_may_never_repay():
    """Volume that halves each month: 1,000 x (1 + r + r^2 + ...) with r = 0.5 ** (12 / 365.25) is 44,414 requests in all."""
    assert (
        distillation.break_even(replace(PLAN, monthly_growth=0.2), start="2026-12-01").loc[
            "days", "value"
        ]
        < 75
    )
    never = distillation.break_even(replace(PLAN, monthly_growth=-0.5), start="2026-12-01")
    assert never.loc["days", "value"] == np.inf and pd.isna(never.loc["on", "value"])
    sold = (
        distillation.cumulative_cost(replace(PLAN, monthly_growth=-0.5), months=60)[
            "teacher_usd"
        ].iloc[-1]
        / 0.010
    )
    assert sold == pytest.approx(1_000 / (1 - 0.5 ** (12 / 365.25)), rel=1e-6)


def test_growth_compounds_to_the_factor_of_its_month():
    daily = distillation.cumulative_cost(replace(PLAN, monthly_growth=0.1), months=24)[
        "teacher_usd"
    ].diff()
    assert daily[366] / daily[1] == pytest.approx(1.1 ** (365 * 12 / 365.25))


def test_a_second_training_is_paid_and_sets_the_error_back():
    """Every second month: 60.875 days, so the 62nd day pays another 600 USD and has no drift again."""
    plan = replace(PLAN, drift=0.01, error_cost_usd=0.10, relabel_months=2)
    daily = distillation.cumulative_cost(plan, months=3)["student_usd"].diff()
    a_day = 1_000 * 0.002
    assert daily[1] == pytest.approx(a_day)
    assert daily[61] == pytest.approx(a_day + 1_000 * 0.10 * 0.01 * 60 * 12 / 365.25)
    assert daily[62] == pytest.approx(600 + a_day + 1_000 * 0.10 * 0.01 * (61 * 12 / 365.25 - 2))
    half = distillation.cumulative_cost(replace(plan, relabel_share=0.5), months=3)[
        "student_usd"
    ].diff()
    assert daily[62] - half[62] == pytest.approx(300)


def test_labels_and_drift_cost_the_same_where_both_cost_least():
    """600 USD a round; a point a month at a dime on 1,000 requests a day: 30.4375 USD more each month, half on average."""
    plan = replace(PLAN, drift=0.01, error_cost_usd=0.10)
    table, best = distillation.relabelling(plan, [2, 4, 10, (1200 / 30.4375) ** 0.5])
    assert table["labels_usd"].tolist()[:3] == pytest.approx([300, 150, 60])
    assert table["drift_usd"].tolist()[:3] == pytest.approx([30.4375, 60.875, 152.1875])
    assert best == pytest.approx((1200 / 30.4375) ** 0.5)
    last = table.iloc[-1]
    assert (
        last["labels_usd"] == pytest.approx(last["drift_usd"]) and last["usd"] == table["usd"].min()
    )
    assert distillation.relabelling(PLAN, [1])[1] == np.inf


def test_the_sum_a_month_is_what_the_days_of_a_period_add_up_to():
    """The same twelve months day by day: later rounds and drift, without the first round and the price of requests."""
    plan = replace(PLAN, drift=0.01, error_cost_usd=0.10, relabel_months=4, training_usd=500)
    run = distillation.cumulative_cost(plan, months=400)["student_usd"]
    still = distillation.cumulative_cost(replace(plan, drift=0.0, relabel_share=0.0), months=400)[
        "student_usd"
    ]
    monthly = (run - still).iloc[-1] / 400
    table, _ = distillation.relabelling(plan, [4])
    assert monthly == pytest.approx(table["usd"].iloc[0], rel=0.02)


def test_a_later_training_can_put_the_date_off():
    """600 repaid after 75 days, but a training in the third month takes the balance below zero again."""
    assert (
        distillation.break_even(replace(PLAN, relabel_months=3), start="2026-12-01").loc[
            "days", "value"
        ]
        > 92
    )


def test_ranges_span_all_corners():
    """10 to 20 hours at 50 USD: 600 to 1,100 USD; 0.006 to 0.008 saved."""
    plan = replace(PLAN, curation_hours=(10, 20), student_usd=(0.002, 0.004))
    table = distillation.break_even(plan, start="2026-12-01")
    assert table.loc["fixed_usd"].tolist() == pytest.approx([850, 600, 1_100])
    # 850 / 7 is 121.4 days of 1,000 requests; the best corner is 600 / 8, the worst 1,100 / 6
    assert table.loc["days"].tolist() == [122, 75, 184]
    assert table.loc["on", "low"] < table.loc["on", "value"] < table.loc["on", "high"]


@given(plans, st.floats(1, 2))
def test_a_band_holds_its_middle_and_more_saves_more(plan, factor):
    wide = replace(
        plan,
        labels=(plan.labels, plan.labels * factor),
        student_usd=(plan.student_usd, plan.student_usd * factor),
    )
    table = distillation.cumulative_cost(wide, months=6)
    for name in ("teacher_usd", "student_usd", "balance_usd"):
        room = 1e-6 * (1 + table[name].abs())
        assert (table[f"{name}_low"] <= table[name] + room).all() and (
            table[name] <= table[f"{name}_high"] + room
        ).all()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"student_error": 5}, "student_error=5; allowed: a number from 0 to 1"),
        ({"labels": -1}, "labels=-1; allowed: a number from 0 up"),
        ({"hour_usd": (80, 40)}, r"hour_usd=\(80, 40\)"),
        ({"relabel_months": 0}, "relabel_months=0; allowed: a number above 0"),
        ({"monthly_growth": -1}, "monthly_growth=-1; allowed: a number above -1"),
        ({"teacher_usd": float("nan")}, "teacher_usd=nan"),
    ],
)
def test_what_cannot_be_is_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        replace(PLAN, **wrong)


class TestWhoOffers:
    @staticmethod
    def offered(as_of, provider, platform):
        table = distillation.who_offers(as_of)
        return table[
            (table["provider"] == provider) & table["platform"].str.startswith(platform)
        ].iloc[-1]

    def test_the_beginning_of_an_offer_is_told_and_a_gap_where_nobody_says(self):
        table = distillation.who_offers("2026-11-24").set_index("models")["offered_from"]
        assert str(table["claude-3-haiku"].date()) == "2024-07-10"
        assert pd.isna(table["gpt-4.1-nano"])

    def test_every_row_has_a_source_and_the_day_it_was_read(self):
        table = distillation.who_offers("2026-11-24")
        assert (
            table["source"].str.contains(r"\w\.\w+/").all()
            or table["source"].str.contains("docs").all()
        )
        assert pd.to_datetime(table["checked_on"]).notna().all()
        assert set(table["offered"]) == {"yes", "ending", "no"}

    def test_openai_ends_new_jobs_on_the_sixth_of_january(self):
        """Announced on 2026-05-07, and closed to newcomers that day; nobody knew the day before."""
        assert self.offered("2026-05-06", "openai", "OpenAI")["offered"] == "yes"
        assert pd.isna(self.offered("2026-05-06", "openai", "OpenAI")["ends_on"])
        june = self.offered("2026-06-12", "openai", "OpenAI")
        assert june["offered"] == "ending" and june["closed_to_new_on"] == pd.Timestamp(
            "2026-05-07"
        )
        assert self.offered("2027-01-05", "openai", "OpenAI")["offered"] == "ending"
        assert self.offered("2027-01-06", "openai", "OpenAI")["offered"] == "no"

    def test_anthropics_only_model_went_in_september(self):
        assert self.offered("2026-09-09", "anthropic", "Amazon")["offered"] == "ending"
        assert self.offered("2026-09-10", "anthropic", "Amazon")["offered"] == "no"
        assert self.offered("2024-07-09", "anthropic", "Amazon")["offered"] == "no"
        assert self.offered("2026-06-12", "anthropic", "Claude API")["offered"] == "no"

    def test_a_model_can_be_tuned_only_as_long_as_its_base_is_there(self):
        def nano(as_of):
            table = distillation.who_offers(as_of)
            return table.loc[table["models"].str.contains("nano"), "offered"].tolist()

        assert (
            nano("2026-05-06") == ["yes"]
            and nano("2026-10-22") == ["ending"]
            and nano("2026-10-23") == ["no"]
        )

    def test_an_offer_that_is_over_was_one_before(self):
        assert self.offered("2025-09-14", "cohere", "Cohere")["offered"] == "yes"
        assert self.offered("2025-09-15", "cohere", "Cohere")["offered"] == "no"

    def test_google_offers_it_on_one_platform_only(self):
        assert self.offered("2026-11-23", "google", "Vertex")["offered"] == "yes"
        assert self.offered("2026-11-23", "google", "Gemini API")["offered"] == "no"
