"""Expected cost, the recommendation and its flips: numbers from arithmetic in the open, and properties."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

import tierlab as tl
from tierlab.decision import assumed, error_with_tools, expected_cost, indifference, load_assumptions, load_tasks, task_places
from tierlab.options import weigh
from tierlab.recommendation import CHECKLIST, recommend

PAIR = {"models": ["claude-haiku-4-5", "claude-opus-4-8"], "error_rates": {"small": 0.10, "flagship": 0.05}}
shares = st.floats(0, 1)
money = st.floats(0, 1_000)


def flips(found):
    return found.flips.set_index("what")


class TestAssumptions:
    def test_every_row_has_a_range_and_a_reason(self):
        table = load_assumptions()
        assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()
        assert table["reason"].str.len().gt(20).all() and table["basis"].isin(["assumed", "article"]).all()

    def test_better_tiers_make_no_more_errors_and_harder_tasks_no_fewer(self):
        rates = (
            load_assumptions()
            .query("quantity == 'error_rate'")
            .pivot(index="rating", columns="tier", values=["low", "value", "high"])
        )
        for end in ("low", "value", "high"):
            table = rates[end][["small", "mid", "flagship"]]
            assert (np.diff(table.to_numpy(), axis=1) <= 0).all() and (np.diff(table.to_numpy(), axis=0) > 0).all()

    def test_mid_follows_the_articles_ten_to_twenty_percent(self):
        """10-20% below a flagship that is right in 85%, 92% at its best and 70% at its worst."""
        row = load_assumptions().query("quantity == 'error_rate' and rating == 3 and tier == 'mid'").iloc[0]
        assert row["value"] == pytest.approx(1 - 0.85 * 0.85, abs=0.005)
        assert row["low"] == pytest.approx(1 - 0.92 * 0.90, abs=0.005) and row["high"] == pytest.approx(
            1 - 0.70 * 0.80, abs=0.005
        )

    def test_a_task_over_two_ratings_has_the_mean_and_the_outer_ends(self):
        one, two = (
            load_assumptions().query("quantity == 'error_rate' and rating == @r and tier == 'small'").iloc[0] for r in (1, 2)
        )
        row = assumed("error_rate", "faq_answering").loc["small"]
        assert row.tolist() == pytest.approx([(one["value"] + two["value"]) / 2, one["low"], two["high"]])

    def test_an_error_cost_over_two_ratings_is_the_geometric_mean(self):
        assert assumed("error_cost", "code_review")["value"].iloc[0] == pytest.approx(np.sqrt(1 * 100))

    def test_an_unknown_task_names_the_nearest(self):
        with pytest.raises(ValueError, match="did you mean 'code_review'"):
            assumed("error_rate", "code_revew")


class TestFormulas:
    @given(money, shares, money, st.floats(0, 100), money)
    def test_expected_cost_is_the_sum_of_its_parts(self, price, error, cost, seconds, second):
        assert expected_cost(price, error, cost, seconds, second) == pytest.approx(price + error * cost + seconds * second)

    @given(shares, shares, st.integers(0, 30))
    def test_tool_calls_only_add_errors_and_stay_a_share(self, error, tool, calls):
        total = error_with_tools(error, tool, calls)
        assert error - 1e-12 <= total <= 1 and total <= error_with_tools(error, tool, calls + 1) + 1e-12

    def test_ten_calls_at_four_percent(self):
        assert error_with_tools(0.0, 0.04, 10) == pytest.approx(1 - 0.96**10)
        assert error_with_tools(0.2, 0.0, 10) == pytest.approx(0.2)

    def test_indifference_is_the_error_cost_break_even(self, article):
        day = tl.daily_cost(tl.Workload(requests_per_day=1), article)
        table = indifference(day, [0.05]).set_index(["provider", "cheap", "dear"])["error_cost_usd"]
        assert table["anthropic", "small", "flagship"] == pytest.approx(0.16)  # (0.010 - 0.002) / 0.05
        assert table["openai", "mid", "flagship"] == pytest.approx(tl.error_cost_break_even(0.0115, 0.00425, 0.0, 0.05))

    def test_a_gap_of_zero_is_refused(self, article):
        with pytest.raises(ValueError, match="no break-even"):
            indifference(tl.daily_cost(tl.Workload(requests_per_day=1), article), [0.0])

    def test_tasks_stand_where_their_ratings_say(self):
        places = task_places(load_tasks()).set_index("task")
        assert places.loc["intent classification", ["gap", "error_cost_usd"]].tolist() == pytest.approx([0.01, 0.02])


class TestRecommendation:
    def test_the_foundations_error_cost_break_even_comes_out(self, article):
        found = recommend(error_cost_usd=0.10, prices=article, **PAIR)
        assert (found.tier, found.model_id) == ("small", "claude-haiku-4-5")
        row = flips(found).loc["cost of an error"]
        assert (
            row["above"] == pytest.approx(tl.error_cost_break_even(0.010, 0.002, 0.05, 0.10))
            and row["above_to"] == "claude-opus-4-8"
        )
        assert recommend(error_cost_usd=0.159, prices=article, **PAIR).tier == "small"
        assert recommend(error_cost_usd=0.161, prices=article, **PAIR).tier == "flagship"

    def test_the_foundations_batch_break_even_comes_out(self, article):
        """Without errors, Opus costs as much as Sonnet once its price falls to 6/10: two thirds of it in batch at half price."""
        found = recommend(
            error_cost_usd=0,
            prices=article,
            models=["claude-opus-4-8", "claude-sonnet-4-6"],
            error_rates={"mid": 0, "flagship": 0},
        )
        factor = flips(found).loc["price of claude-opus-4-8", "below"]
        assert (1 - factor) / 0.5 == pytest.approx(2 * (1 - 0.6)) == pytest.approx(tl.batch_break_even(0.010, 0.006))

    def test_the_value_of_a_second_at_which_time_pays(self, article):
        found = recommend(error_cost_usd=0, prices=article, models=PAIR["models"], error_rates={"small": 0, "flagship": 0},
                          seconds={"small": 6, "flagship": 2})  # fmt: skip
        assert flips(found).loc["value of a second", "above"] == pytest.approx((0.010 - 0.002) / (6 - 2))

    def test_a_night_batch_asks_for_no_speed(self, article):
        assert recommend(task="summarisation", prices=article).table["time_usd"].eq(0).all()

    def test_expected_cost_of_each_model_is_arithmetic(self, article):
        found = recommend(error_cost_usd=2, second_usd=0.001, prices=article, provider="anthropic",
                          error_rates={"small": 0.10, "mid": 0.06, "flagship": 0.05}, seconds={"small": 2, "mid": 4, "flagship": 6})  # fmt: skip
        table = found.table.set_index("tier")["expected_usd"]
        assert table.to_dict() == pytest.approx(
            {"small": 0.002 + 0.2 + 0.002, "mid": 0.006 + 0.12 + 0.004, "flagship": 0.010 + 0.10 + 0.006}
        )
        assert found.tier == "flagship" and found.provider == "anthropic"

    @settings(max_examples=40)
    @given(st.floats(0.001, 10), st.tuples(*[st.floats(0, 0.5)] * 3), st.floats(0, 0.01))
    def test_at_each_flip_the_two_models_cost_the_same(self, cost, rates, second):
        article = tl.load_prices("article")
        errors = dict(zip(("small", "mid", "flagship"), rates, strict=True))
        times = {"small": 2.0, "mid": 4.0, "flagship": 6.0}
        asked = {"prices": article, "provider": "anthropic", "seconds": times}
        found = recommend(error_cost_usd=cost, second_usd=second, error_rates=errors, **asked)
        price = {"small": 0.002, "mid": 0.006, "flagship": 0.010}
        tier_of = found.table.set_index("model_id")["tier"]

        def total(tier, at_cost, at_second):
            return price[tier] + errors[tier] * at_cost + times[tier] * at_second

        for what, at in (("cost of an error", lambda v: (v, second)), ("value of a second", lambda v: (cost, v))):
            row = flips(found).loc[what]
            for side in ("below", "above"):
                if row[f"{side}_to"]:
                    assert (row[side] <= row["now"] + 1e-9) if side == "below" else (row[side] >= row["now"] - 1e-9)
                    other = tier_of[row[f"{side}_to"]]
                    assert total(found.tier, *at(row[side])) == pytest.approx(total(other, *at(row[side])), rel=1e-6, abs=1e-9)

    @settings(max_examples=30)
    @given(st.floats(0, 5), st.floats(0, 5))
    def test_a_dearer_error_never_calls_for_a_model_that_errs_more(self, one, other):
        article, low_to_high = tl.load_prices("article"), sorted((one, other))
        rates = [
            recommend(error_cost_usd=c, task="summarisation", prices=article).table["error_rate"].iloc[0] for c in low_to_high
        ]
        assert rates[1] <= rates[0]

    def test_levers_flip_where_the_line_says(self, maintained):
        """Half of every price narrows the small model's lead until both cost the same."""
        found = recommend(task="customer_support", error_cost_usd=0.04, prices=maintained, provider="anthropic")
        row = flips(found).loc["batch share"]
        assert row["above_to"]
        asked = {"task": "customer_support", "error_cost_usd": 0.04, "prices": maintained, "provider": "anthropic"}
        at = tl.recommend(workload=tl.Workload(requests_per_day=1_000, batch_share=row["above"]), **asked).table.set_index(
            "model_id"
        )
        assert at.at[found.model_id, "expected_usd"] == pytest.approx(at.at[row["above_to"], "expected_usd"])

    def test_agents_count_their_tool_calls(self, article):
        found = recommend(task="agentic_tools", prices=article, tool_calls=10, error_cost_usd=1, provider="openai")
        small = found.table.set_index("tier")["error_rate"]["small"]
        assert small == pytest.approx(1 - (1 - 0.45) * (1 - 0.04) ** 10)

    def test_counts_have_jeffreys_interval(self, article):
        found = recommend(
            task="customer_support", error_cost_usd=1, prices=article, provider="anthropic", error_counts={"mid": (6, 80)}
        )
        row = found.table.set_index("tier").loc["mid"]
        assert row["error_rate"] == 6 / 80
        assert row[["error_low", "error_high"]].tolist() == pytest.approx(beta(6.5, 74.5).ppf([0.025, 0.975]))

    def test_samples_give_one_minus_the_mean_score(self, article):
        scores = {"claude-haiku-4-5": [1] * 80 + [0] * 20, "claude-opus-4-8": [1] * 95 + [0] * 5}
        samples = pd.concat(
            pd.DataFrame({"prompt_id": range(100), "model_id": m, "score": s, "cost_usd": 0.001}) for m, s in scores.items()
        )
        found = recommend(error_cost_usd=1, prices=article, samples=samples)
        assert found.table.set_index("model_id")["error_rate"].to_dict() == pytest.approx(
            {"claude-opus-4-8": 0.05, "claude-haiku-4-5": 0.20}
        )
        assert found.tier == "flagship" and found.basis == "samples" and found.table["best_share"].iloc[0] > 0.99

    def test_equal_models_share_the_draws_evenly(self, article):
        found = recommend(task="summarisation", error_cost_usd=1, prices=article, models=["claude-haiku-4-5", "claude-opus-4-8"],
                          error_counts={"small": (20, 100), "flagship": (20, 100)}, seed=1)  # fmt: skip
        assert 0.4 < found.table["best_share"].iloc[0] < 0.6

    def test_a_model_that_has_retired_or_does_not_fit_is_out_and_says_why(self):
        late = tl.load_prices("maintained", as_of="2026-11-23")
        found = recommend(
            error_cost_usd=1, prices=late, models=["o4-mini", "gpt-6-luna"], error_rates={"o4-mini": 0.0, "gpt-6-luna": 0.5}
        )
        assert found.model_id == "gpt-6-luna"
        assert found.table.set_index("model_id").at["o4-mini", "note"] == "retired on 2026-10-23"
        june = tl.load_prices("maintained", as_of="2026-06-12")  # GPT-4o reads 128,000 tokens
        found = recommend(task="summarisation", error_cost_usd=9, prices=june, provider="openai",
                          workload=tl.Workload(requests_per_day=1, input_tokens=200_000))  # fmt: skip
        notes = found.table.set_index("model_id")["note"]
        assert (
            notes["gpt-4o"] == "100% of the requests do not fit its window"
            and notes["gpt-5.5"] == ""
            and found.tier == "flagship"
        )


class TestNextStep:
    @pytest.mark.parametrize(
        ("asked", "step", "words"),
        [
            ({}, 3, "Put a figure on an error"),
            ({"error_cost_usd": 0.1}, 4, "claude-sonnet-4-6"),
            ({"error_cost_usd": 0.1, "error_counts": {"mid": (6, 80)}}, 5, "claude-haiku-4-5"),
            (
                {"error_cost_usd": 0.1, "error_counts": {"mid": (1, 80), "small": (40, 80), "flagship": (1, 80)}},
                6,
                "batch saves 50%",
            ),
        ],
    )
    def test_it_follows_the_articles_checklist(self, asked, step, words):
        june = tl.load_prices("maintained", as_of="2026-06-12")
        found = recommend(task="customer_support", prices=june, provider="anthropic", **asked)
        assert found.step == step and words in found.next_step and len(CHECKLIST) == 7

    def test_the_last_step_is_the_review_in_six_months(self):
        june = tl.load_prices("maintained", as_of="2026-06-12")
        found = recommend(task="customer_support", prices=june, provider="anthropic", error_cost_usd=0.1,
                          error_counts={"mid": (1, 80), "small": (40, 80), "flagship": (1, 80)},
                          workload=tl.Workload(requests_per_day=10, batch_share=0.5))  # fmt: skip
        assert found.step == 7 and "2026-12-12" in found.next_step


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"task": "cod_review"}, "did you mean 'code_review'"),
        ({"task": "mine", "stakes": 4, "complexity": 1}, "ratings are 1, 2 or 3"),
        ({"task": "mine", "stakes": 2}, "both ratings"),
        ({"error_cost_usd": 1}, "where do errors come from"),
        ({"error_rates": {"small": 0.1, "mid": 0.1, "flagship": 0.1}}, "what does an error cost"),
        ({"task": "code_review", "provider": "opnai"}, "did you mean 'openai'"),
        ({"task": "code_review", "models": ["gpt-4-o"]}, "did you mean 'gpt-4o'"),
        ({"task": "code_review", "error_cost_usd": -1}, "0 or more"),
        ({"error_cost_usd": 1, "error_rates": {"small": 2, "mid": 0, "flagship": 0}}, "shares 0-1"),
        ({"error_cost_usd": 1, "error_rates": {"small": 0.1}}, "nothing for claude-sonnet-4-6"),
        ({"error_cost_usd": 1, "error_rates": {"smal": 0.1}}, "did you mean 'small'"),
        ({"task": "code_review", "error_counts": {"mid": (9, 8)}}, "0 <= wrong <= examples"),
        ({"task": "code_review", "error_counts": {"mid": (1, 8)}, "error_rates": {"mid": 0.1}}, "from one place"),
    ],
)
def test_what_cannot_be_asked_says_why(article, asked, says):
    with pytest.raises(ValueError, match=says):
        recommend(prices=article, **({"provider": "anthropic"} | asked))


def test_draws_are_repeatable(article):
    one, two = (weigh(prices=article, task="code_review", seed=3).table for _ in range(2))
    pd.testing.assert_frame_equal(one, two)
