"""Expected cost, the recommendation and its flips: numbers from arithmetic in the open, and properties."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

import tierlab as tl
from tests.decide.decisions import recommend
from tests.proofs import runs
from tierlab.decide.checklist import CHECKLIST
from tierlab.decide.tasks import (
    assumed,
    error_with_tools,
    expected_cost,
    load_assumptions,
)

PAIR = {
    "models": ["claude-haiku-4-5", "claude-opus-4-8"],
    "error_rates": {"small": 0.10, "flagship": 0.05},
}
shares = st.floats(0, 1)
money = st.floats(0, 1_000)


def flips(found):
    return found.flips.set_index("what")


class TestAssumptions:
    def test_every_row_has_a_range_and_a_reason(self):
        table = load_assumptions()
        assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()
        assert (
            table["reason"].str.len().gt(20).all()
            and table["basis"].isin(["assumed", "article"]).all()
        )

    def test_better_tiers_make_no_more_errors_and_harder_tasks_no_fewer(self):
        rates = (
            load_assumptions()
            .query("quantity == 'error_rate'")
            .pivot(index="rating", columns="tier", values=["low", "value", "high"])
        )
        for end in ("low", "value", "high"):
            table = rates[end][["small", "mid", "flagship"]]
            assert (np.diff(table.to_numpy(), axis=1) <= 0).all() and (
                np.diff(table.to_numpy(), axis=0) > 0
            ).all()

    def test_mid_follows_the_articles_ten_to_twenty_percent(self):
        """10-20% below a flagship that is right in 85%, 92% at its best and 70% at its worst."""
        row = (
            load_assumptions()
            .query("quantity == 'error_rate' and rating == 3 and tier == 'mid'")
            .iloc[0]
        )
        assert row["value"] == pytest.approx(1 - 0.85 * 0.85, abs=0.005)
        assert row["low"] == pytest.approx(1 - 0.92 * 0.90, abs=0.005) and row[
            "high"
        ] == pytest.approx(1 - 0.70 * 0.80, abs=0.005)

    def test_a_task_over_two_ratings_has_the_mean_and_the_outer_ends(self):
        one, two = (
            load_assumptions()
            .query("quantity == 'error_rate' and rating == @r and tier == 'small'")
            .iloc[0]
            for r in (1, 2)
        )
        row = assumed("error_rate", "faq_answering").loc["small"]
        assert row.tolist() == pytest.approx(
            [(one["value"] + two["value"]) / 2, one["low"], two["high"]]
        )

    def test_an_error_cost_over_two_ratings_is_the_geometric_mean(self):
        assert assumed("error_cost", "code_review")["value"].iloc[0] == pytest.approx(
            np.sqrt(1 * 100)
        )

    def test_an_unknown_task_names_the_nearest(self):
        with pytest.raises(ValueError, match="did you mean 'code_review'"):
            assumed("error_rate", "code_revew")


class TestFormulas:
    @given(money, shares, money, st.floats(0, 100), money)
    def test_expected_cost_is_the_sum_of_its_parts(self, price, error, cost, seconds, second):
        assert expected_cost(price, error, cost, seconds, second) == pytest.approx(
            price + error * cost + seconds * second
        )

    @given(shares, shares, st.integers(0, 30))
    def test_tool_calls_only_add_errors_and_stay_a_share(self, error, tool, calls):
        total = error_with_tools(error, tool, calls)
        assert (
            error - 1e-12 <= total <= 1
            and total <= error_with_tools(error, tool, calls + 1) + 1e-12
        )

    def test_ten_calls_at_four_percent(self):
        assert error_with_tools(0.0, 0.04, 10) == pytest.approx(1 - 0.96**10)
        assert error_with_tools(0.2, 0.0, 10) == pytest.approx(0.2)


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
        assert (
            (1 - factor) / 0.5
            == pytest.approx(2 * (1 - 0.6))
            == pytest.approx(tl.batch_break_even(0.010, 0.006))
        )

    def test_the_value_of_a_second_at_which_time_pays(self, article):
        found = recommend(
            error_cost_usd=0,
            prices=article,
            models=PAIR["models"],
            error_rates={"small": 0, "flagship": 0},
            seconds={"small": 6, "flagship": 2},
        )
        assert flips(found).loc["value of a second", "above"] == pytest.approx(
            (0.010 - 0.002) / (6 - 2)
        )

    def test_a_night_batch_asks_for_no_speed(self, article):
        assert recommend(task="summarisation", prices=article).table["time_usd"].eq(0).all()

    def test_expected_cost_of_each_model_is_arithmetic(self, article):
        found = recommend(
            error_cost_usd=2,
            second_usd=0.001,
            prices=article,
            provider="anthropic",
            error_rates={"small": 0.10, "mid": 0.06, "flagship": 0.05},
            seconds={"small": 2, "mid": 4, "flagship": 6},
        )
        table = found.table.set_index("tier")["expected_usd"]
        assert table.to_dict() == pytest.approx(
            {
                "small": 0.002 + 0.2 + 0.002,
                "mid": 0.006 + 0.12 + 0.004,
                "flagship": 0.010 + 0.10 + 0.006,
            }
        )
        assert found.tier == "flagship" and found.provider == "anthropic"

    @settings(max_examples=runs(200))
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

        for what, at in (
            ("cost of an error", lambda v: (v, second)),
            ("value of a second", lambda v: (cost, v)),
        ):
            row = flips(found).loc[what]
            for side in ("below", "above"):
                if row[f"{side}_to"]:
                    assert (
                        (row[side] <= row["now"] + 1e-9)
                        if side == "below"
                        else (row[side] >= row["now"] - 1e-9)
                    )
                    other = tier_of[row[f"{side}_to"]]
                    assert total(found.tier, *at(row[side])) == pytest.approx(
                        total(other, *at(row[side])), rel=1e-6, abs=1e-9
                    )

    @settings(max_examples=runs(200))
    @given(st.floats(0, 5), st.floats(0, 5))
    def test_a_dearer_error_never_calls_for_a_model_that_errs_more(self, one, other):
        article, low_to_high = tl.load_prices("article"), sorted((one, other))
        rates = [
            recommend(error_cost_usd=c, task="summarisation", prices=article)
            .table["error_rate"]
            .iloc[0]
            for c in low_to_high
        ]
        assert rates[1] <= rates[0]

    def test_levers_flip_where_the_line_says(self, maintained):
        """Half of every price narrows the small model's lead until both cost the same."""
        found = recommend(
            task="customer_support", error_cost_usd=0.04, prices=maintained, provider="anthropic"
        )
        row = flips(found).loc["batch share"]
        assert row["above_to"]
        asked = {
            "task": "customer_support",
            "error_cost_usd": 0.04,
            "prices": maintained,
            "provider": "anthropic",
        }
        at = recommend(
            workload=tl.Workload(requests_per_day=1_000, batch_share=row["above"]), **asked
        ).table.set_index("model_id")
        assert at.at[found.model_id, "expected_usd"] == pytest.approx(
            at.at[row["above_to"], "expected_usd"]
        )

    def test_agents_count_their_tool_calls(self, article):
        found = recommend(
            task="agentic_tools", prices=article, tool_calls=10, error_cost_usd=1, provider="openai"
        )
        small = found.table.set_index("tier")["error_rate"]["small"]
        assert small == pytest.approx(1 - (1 - 0.45) * (1 - 0.04) ** 10)

    def test_counts_have_jeffreys_interval(self, article):
        found = recommend(
            task="customer_support",
            error_cost_usd=1,
            prices=article,
            provider="anthropic",
            error_counts={"mid": (6, 80)},
        )
        row = found.table.set_index("tier").loc["mid"]
        assert row["error_rate"] == pytest.approx(6.5 / 81)  # the mean of Beta(6.5, 74.5)
        assert row[["error_low", "error_high"]].tolist() == pytest.approx(
            beta(6.5, 74.5).ppf([0.025, 0.975])
        )

    def test_samples_give_one_minus_the_mean_score(self, article):
        scores = {"claude-haiku-4-5": [1] * 80 + [0] * 20, "claude-opus-4-8": [1] * 95 + [0] * 5}
        samples = pd.concat(
            pd.DataFrame({"prompt_id": range(100), "model_id": m, "score": s, "cost_usd": 0.001})
            for m, s in scores.items()
        )
        found = recommend(error_cost_usd=1, prices=article, samples=samples)
        assert found.table.set_index("model_id")["error_rate"].to_dict() == pytest.approx(
            {"claude-opus-4-8": 0.05, "claude-haiku-4-5": 0.20}
        )
        assert (
            found.tier == "flagship"
            and found.basis == "samples"
            and found.table["best_share"].iloc[0] > 0.99
        )

    def test_equal_models_share_the_draws_evenly(self, article):
        found = recommend(
            task="summarisation",
            error_cost_usd=1,
            prices=article,
            models=["claude-haiku-4-5", "claude-opus-4-8"],
            error_counts={"small": (20, 100), "flagship": (20, 100)},
            seed=1,
        )
        assert 0.4 < found.table["best_share"].iloc[0] < 0.6

    def test_a_model_that_has_retired_or_does_not_fit_is_out_and_says_why(self):
        late = tl.load_prices("maintained", as_of="2026-11-23")
        found = recommend(
            error_cost_usd=1,
            prices=late,
            models=["o4-mini", "gpt-6-luna"],
            error_rates={"o4-mini": 0.0, "gpt-6-luna": 0.5},
        )
        assert found.model_id == "gpt-6-luna"
        assert found.table.set_index("model_id").at["o4-mini", "note"] == "retired on 2026-10-23"
        june = tl.load_prices("maintained", as_of="2026-06-12")  # GPT-4o reads 128,000 tokens
        found = recommend(
            task="summarisation",
            error_cost_usd=9,
            prices=june,
            provider="openai",
            workload=tl.Workload(requests_per_day=1, input_tokens=200_000),
        )
        notes = found.table.set_index("model_id")["note"]
        assert (
            notes["gpt-4o"] == "100% of the requests do not fit its window"
            and notes["gpt-5.5"] == ""
            and found.tier == "flagship"
        )


def answers(**scores):
    """A samples table: model -> scores of prompts 0, 1, ...; None is no score."""
    names = {"haiku": "claude-haiku-4-5", "opus": "anthropic/claude-opus-4-8"}
    rows = [
        (i, names[m], s, "ok" if s is not None else "truncated")
        for m, own in scores.items()
        for i, s in enumerate(own)
    ]
    return pd.DataFrame(rows, columns=["prompt_id", "model_id", "score", "status"]).assign(
        cost_usd=0.001
    )


class TestSamples:
    """Error rates of samples: on the same examples, in whole examples, and never certain."""

    def rates(self, article, samples, **asked):
        found = recommend(error_cost_usd=1, prices=article, samples=samples, **asked)
        return found, found.table.set_index("model_id")["error_rate"]

    def test_models_are_compared_on_the_examples_that_both_have(self, article):
        """Haiku was asked the first 50, all right; Opus 100, of which the second half is hard."""
        found, rate = self.rates(
            article, answers(haiku=[1] * 50, opus=[1] * 50 + [0] * 25 + [1] * 25)
        )
        assert rate.tolist() == [0, 0]
        assert any("measured on 50 of 100 examples" in line for line in found.grounds)

    def test_a_cut_off_answer_is_set_aside_or_wrong_as_you_say(self, article):
        samples = answers(haiku=[1] * 80 + [None] * 20, opus=[1] * 80 + [0] * 20)
        _, aside = self.rates(article, samples)
        _, wrong = self.rates(article, samples, truncated="wrong")
        assert aside["claude-haiku-4-5"] == 0 and wrong["claude-haiku-4-5"] == pytest.approx(
            20 / 100
        )

    def test_groups_widen_the_interval_and_leave_the_mean(self, article):
        samples = answers(haiku=[1] * 80 + [0] * 20, opus=[1] * 100)
        grouped = samples.assign(
            group=[f"g{min(i, 80)}" for i in samples["prompt_id"]]
        )  # the twenty wrong ones are one group
        (one, flat), (two, clustered) = self.rates(article, samples), self.rates(article, grouped)
        assert (
            flat["claude-haiku-4-5"]
            == pytest.approx(clustered["claude-haiku-4-5"])
            == pytest.approx(0.2)
        )
        width = [
            f.table.set_index("model_id")
            .loc["claude-haiku-4-5", ["error_low", "error_high"]]
            .diff()
            .iloc[1]
            for f in (one, two)
        ]
        assert width[1] > 2 * width[0]

    def test_no_error_seen_is_not_never(self, article):
        found, rate = self.rates(article, answers(haiku=[1] * 10, opus=[1] * 10))
        row = found.table.set_index("model_id").loc["claude-haiku-4-5"]
        low, high = beta(0.5, 10.5).ppf([0.025, 0.975])
        assert rate["claude-haiku-4-5"] == 0 and row["error_low"] == 0 < low
        assert row["error_high"] == pytest.approx(high)
        assert (
            0.3 < row["best_share"] < 0.7
            and (found.table["low"] <= found.table["expected_usd"]).all()
        )

    def test_without_groups_the_draws_are_jeffreys_beta(self, article):
        found, _ = self.rates(article, answers(haiku=[1] * 70 + [0] * 30, opus=[1] * 90 + [0] * 10))
        for model, wrong in (("claude-haiku-4-5", 30), ("claude-opus-4-8", 10)):
            row = found.table.set_index("model_id").loc[model]
            assert [row["error_low"], row["error_high"]] == pytest.approx(
                beta(wrong + 0.5, 100.5 - wrong).ppf([0.025, 0.975]), abs=0.01
            )

    def test_what_was_paid_is_the_price_whatever_the_workload(self, article):
        samples = answers(haiku=[1, 0] * 30, opus=[1] * 60)
        samples.loc[samples["model_id"] == "claude-haiku-4-5", "cost_usd"] = 0.004
        found, _ = self.rates(
            article, samples, workload=tl.Workload(requests_per_day=1, input_tokens=9_000)
        )
        assert found.table.set_index("model_id")["price_usd"].to_dict() == {
            "claude-haiku-4-5": 0.004,
            "claude-opus-4-8": 0.001,
        }
        assert found.table["price_basis"].eq("samples").all()

    def test_without_costs_each_models_own_tokens_are_priced(self, article):
        samples = answers(haiku=[1, 0] * 30, opus=[1] * 60).drop(columns="cost_usd")
        output = samples["model_id"].map(
            {"claude-haiku-4-5": 1_062, "anthropic/claude-opus-4-8": 216}
        )
        found, _ = self.rates(
            article, samples.assign(uncached_input_tokens=500, output_tokens=output)
        )
        # 1 and 5 USD a million in, 5 and 25 out
        assert found.table.set_index("model_id")["price_usd"].to_dict() == pytest.approx(
            {
                "claude-haiku-4-5": (500 * 1 + 1_062 * 5) / 1e6,
                "claude-opus-4-8": (500 * 5 + 216 * 25) / 1e6,
            }
        )

    def test_one_length_for_all_is_no_measured_cost(self, article):
        with pytest.raises(ValueError, match="cost_usd, or token counts"):
            self.rates(article, answers(haiku=[1, 0] * 30, opus=[1] * 60).drop(columns="cost_usd"))

    def test_a_model_whose_cost_nobody_knows_stands_aside(self, article):
        samples = answers(haiku=[1, 0] * 30, opus=[1] * 60).replace(
            {"model_id": {"claude-haiku-4-5": "mine"}}
        )
        samples.loc[samples.index[:1], "cost_usd"] = np.nan
        found, _ = self.rates(article, samples)
        assert (
            found.model_id == "claude-opus-4-8"
            and "no price" in found.table.set_index("model_id").at["mine", "note"]
        )

    @pytest.mark.parametrize("column", ["model_id", "score", "prompt_id"])
    def test_a_missing_column_is_named(self, article, column):
        with pytest.raises(ValueError, match=column):
            recommend(
                error_cost_usd=1,
                prices=article,
                samples=answers(haiku=[1], opus=[1]).drop(columns=column),
            )


class TestWorkloads:
    def test_volume_does_not_move_the_price_of_a_request(self, article):
        asked = {
            "error_cost_usd": 0,
            "prices": article,
            "provider": "anthropic",
            "error_rates": dict.fromkeys(("small", "mid", "flagship"), 0),
        }
        one = recommend(workload=tl.Workload(requests_per_day=(100, 10_000)), **asked).table
        assert (
            one["best_share"].iloc[0] == 1
            and np.allclose(one["low"], one["expected_usd"])
            and np.allclose(one["high"], one["expected_usd"])
        )

    def test_a_range_of_lengths_moves_all_models_together(self, article):
        """Haiku is the cheapest at every length, so in every draw."""
        found = recommend(
            error_cost_usd=0,
            prices=article,
            provider="anthropic",
            error_rates=dict.fromkeys(("small", "mid", "flagship"), 0),
            workload=tl.Workload(requests_per_day=1, input_tokens=(100, 20_000)),
        )
        row = found.table.iloc[0]
        assert row["tier"] == "small" and row["best_share"] == 1
        # 100 to 20,000 input tokens at 1 USD and 300 output tokens at 5 USD a million
        assert 0.0016 <= row["low"] < row["expected_usd"] < row["high"] <= 0.0215

    def test_a_range_that_leaves_the_window_puts_the_model_aside(self):
        june = tl.load_prices("maintained", as_of="2026-06-12")
        found = recommend(
            task="summarisation",
            error_cost_usd=9,
            prices=june,
            provider="openai",
            workload=tl.Workload(requests_per_day=1, input_tokens=(100, 250_000)),
        )
        assert (
            "do not fit" in found.table.set_index("model_id").at["gpt-4o", "note"]
            and found.model_id == "gpt-5.5"
        )

    def test_nobody_waits_for_what_is_in_batch(self, maintained):
        asked = {
            "task": "customer_support",
            "error_cost_usd": 0.1,
            "prices": maintained,
            "provider": "anthropic",
            "second_usd": 0.01,
        }
        full, half, none = (
            recommend(
                workload=tl.Workload(requests_per_day=1, batch_share=b), **asked
            ).table.set_index("tier")["time_usd"]
            for b in (1, 0.5, 0)
        )
        assert (full == 0).all() and np.allclose(half, none / 2) and (none > 0).all()

    def test_a_slow_answer_is_the_high_end_of_the_time(self, article, tmp_path):
        """By hand from data/speeds.csv: 300 tokens, the first after ttft_s, 299 more at tokens_per_s."""
        found = recommend(
            task="customer_support",
            error_cost_usd=0.1,
            second_usd=0.001,
            prices=article,
            provider="anthropic",
        )
        filed = tl.load_record(tl.file_record(found, tmp_path, title="x", decided_on="2026-11-29"))
        speeds = tl.load_speeds().set_index(["provider", "tier"])
        for row in filed.candidates:
            speed = speeds.loc[row["provider"], row["tier"]]
            for end, other in (("low", "high"), ("high", "low")):
                seconds = speed[f"ttft_s_{end}"] + 299 / speed[f"tokens_per_s_{other}"]
                assert row[f"seconds_{end}"] == pytest.approx(seconds)
            assert row["seconds_low"] < row["seconds"] < row["seconds_high"]

    def test_one_slow_answer_does_not_move_the_time(self, article):
        samples = answers(haiku=[1] * 9, opus=[1] * 9)
        samples["end_to_end_s"] = [2.0] * 8 + [500.0] + [3.0] * 9
        found = recommend(error_cost_usd=1, second_usd=0.001, prices=article, samples=samples)
        assert found.table.set_index("model_id")["seconds"].to_dict() == {
            "claude-haiku-4-5": 2.0,
            "claude-opus-4-8": 3.0,
        }

    @pytest.mark.parametrize("batch", [0.0, 0.5, 0.75])
    def test_at_the_value_of_a_second_that_flips_it_both_cost_the_same(self, maintained, batch):
        asked = {
            "error_cost_usd": 0,
            "prices": maintained,
            "seconds": {"small": 6, "flagship": 2},
            "workload": tl.Workload(requests_per_day=1, batch_share=batch),
        } | PAIR
        row = flips(recommend(**asked)).loc["value of a second"]
        again = recommend(second_usd=row["above"], **asked).table["expected_usd"]
        assert again.iloc[0] == pytest.approx(again.iloc[1])


class TestCandidates:
    def test_a_model_that_is_not_launched_cannot_be_chosen(self):
        june = tl.load_prices("maintained", as_of="2026-06-12")
        found = recommend(
            task="customer_support",
            error_cost_usd=1,
            prices=june,
            models=["claude-opus-5-5", "claude-haiku-4-5"],
        )
        assert (
            found.model_id == "claude-haiku-4-5"
            and "not launched before" in found.table["note"].iloc[-1]
        )

    def test_a_choice_that_retires_before_the_review_says_so(self, maintained):
        found = recommend(
            task="customer_support",
            error_cost_usd=0.001,
            prices=maintained,
            models=["gpt-4o", "gpt-5.5"],
        )
        assert (
            found.model_id == "gpt-4o"
            and "retires on 2027-01-14, before the next review" in found.reason
        )

    def test_a_model_without_the_rate_stands_aside_and_the_others_are_weighed(self):
        june = tl.load_prices("maintained", as_of="2026-06-12")
        found = recommend(
            task="customer_support",
            error_cost_usd=1,
            prices=june,
            provider="google",
            workload=tl.Workload(requests_per_day=1, batch_share=0.5, cache_hit_rate=0.5),
        )
        out = found.table[found.table["expected_usd"].isna()]
        assert (
            out["note"].str.startswith("no figure").all()
            and len(found.table) == 3
            and len(out) == 1
        )

    def test_one_candidate_is_no_comparison(self, article):
        found = recommend(
            task="customer_support", error_cost_usd=1, prices=article, models=["claude-haiku-4-5"]
        )
        assert "nothing was compared" in found.reason and "say otherwise" not in found.reason

    def test_equal_candidates_share_the_draws(self, article):
        found = recommend(
            error_cost_usd=1,
            prices=article,
            models=["claude-haiku-4-5", "claude-opus-4-8"],
            seconds={"small": 1, "flagship": 1},
            error_rates={"small": 0.108, "flagship": 0.1},
        )
        assert found.table["expected_usd"].tolist() == pytest.approx([0.11, 0.11]) and found.table[
            "best_share"
        ].tolist() == pytest.approx([0.5, 0.5])
        assert not any("-0" in str(row) for row in found.reason.split())

    def test_counted_agents_hold_their_tool_calls_and_the_others_do_not(self, article):
        asked = {
            "task": "agentic_tools",
            "error_cost_usd": 2,
            "prices": article,
            "provider": "openai",
            "error_counts": {"mid": (6, 80)},
        }
        rate = recommend(**asked).table.set_index("tier")["error_rate"]
        assert rate["mid"] == pytest.approx(6.5 / 81) and rate["small"] == pytest.approx(
            1 - (1 - 0.45) * (1 - 0.04) ** 5
        )
        with pytest.raises(ValueError, match="include their tool calls already"):
            recommend(
                **(
                    asked
                    | {
                        "error_counts": dict.fromkeys(("small", "mid", "flagship"), (6, 80)),
                        "tool_calls": 5,
                    }
                )
            )

    def test_a_range_of_the_error_cost_may_begin_at_zero(self, article):
        table = recommend(
            task="customer_support",
            error_cost_usd=(0.1, 0.0, 1.0),
            prices=article,
            provider="anthropic",
        ).table
        point = recommend(
            task="customer_support", error_cost_usd=0.1, prices=article, provider="anthropic"
        ).table
        assert (table["low"] < point["low"]).all() and (table["high"] > point["high"]).all()

    def test_an_error_cost_may_be_a_range(self, article):
        found = recommend(
            task="customer_support",
            error_cost_usd=(0.1, 0.01, 1.0),
            prices=article,
            provider="anthropic",
        )
        point = recommend(
            task="customer_support", error_cost_usd=0.1, prices=article, provider="anthropic"
        )
        assert found.table["expected_usd"].tolist() == pytest.approx(
            point.table["expected_usd"].tolist()
        )
        assert (found.table["high"] > point.table["high"]).all() and found.table["best_share"].iloc[
            0
        ] < point.table["best_share"].iloc[0]


class TestFlipsAreComplete:
    """Over a grid of each quantity the cheapest model changes where the table says, and nowhere nearer."""

    @settings(max_examples=15)
    @given(st.floats(0.01, 5), st.tuples(*[st.floats(0.01, 0.5)] * 3), st.floats(0, 0.005))
    def test_every_row(self, cost, rates, second):
        article = tl.load_prices("article")
        errors = dict(zip(("small", "mid", "flagship"), rates, strict=True))
        times = {"small": 2.0, "mid": 4.0, "flagship": 6.0}
        found = recommend(
            error_cost_usd=cost,
            second_usd=second,
            error_rates=errors,
            prices=article,
            provider="anthropic",
            seconds=times,
        )
        table = found.table.set_index("model_id")
        for row in found.flips[found.flips["note"] == ""].itertuples():
            top = {"share": 1.0, "times": 10.0}.get(row.unit, 50.0)
            for value in np.linspace(0, top, 41)[1:-1]:
                own = table[["price_usd", "error_rate", "seconds"]].assign(C=cost, V=second)
                if row.what.startswith(("price of", "error rate of")):
                    model, column = (
                        row.what.rsplit(" ", 1)[1],
                        "price_usd" if row.what.startswith("price") else "error_rate",
                    )
                    own.loc[model, column] = value * (
                        own.at[model, column] if column == "price_usd" else 1
                    )
                else:
                    own["C" if "error" in row.what else "V"] = value
                total = own["price_usd"] + own["error_rate"] * own["C"] + own["seconds"] * own["V"]
                inside = (np.isnan(row.below) or value > row.below) and (
                    np.isnan(row.above) or value < row.above
                )
                slack = 1e-9 * total.min()
                assert (total[found.model_id] <= total.min() + slack) == inside or abs(
                    total.drop(found.model_id).min() - total[found.model_id]
                ) < 1e-6


class TestNextStep:
    @pytest.mark.parametrize(
        ("asked", "step", "words"),
        [
            ({}, 3, "Put a figure on an error"),
            ({"error_cost_usd": 0.1}, 4, "claude-sonnet-4-6"),
            ({"error_cost_usd": 0.1, "error_counts": {"mid": (0, 1)}}, 4, "only 1 example so far"),
            ({"error_cost_usd": 0.1, "error_counts": {"mid": (6, 80)}}, 5, "claude-haiku-4-5"),
            (
                {
                    "error_cost_usd": 0.1,
                    "error_counts": {"mid": (1, 80), "small": (40, 80), "flagship": (1, 80)},
                },
                6,
                "batch saves 50%",
            ),
        ],
    )
    def test_it_follows_the_articles_checklist(self, asked, step, words):
        june = tl.load_prices("maintained", as_of="2026-06-12")
        found = recommend(task="customer_support", prices=june, provider="anthropic", **asked)
        assert found.step == step and words in found.next_step and len(CHECKLIST) == 7

    @pytest.mark.parametrize(("input_tokens", "proposed"), [(4_095, False), (4_096, True)])
    def test_a_cache_is_proposed_from_the_models_own_minimum(self, input_tokens, proposed):
        """data/cache_rules.csv: claude-haiku-4-5 caches from 4,096 tokens on, other models from 1,024."""
        found = recommend(
            task="customer_support",
            prices=tl.load_prices("maintained", as_of="2026-06-12"),
            provider="anthropic",
            error_cost_usd=1e-6,
            error_counts=dict.fromkeys(tl.TIERS, (1, 80)),
            workload=tl.Workload(requests_per_day=10, input_tokens=input_tokens),
        )
        assert found.model_id == "claude-haiku-4-5" and found.step == 6
        assert ("half of the input from a cache" in found.next_step) == proposed

    def test_the_last_step_is_the_review_in_six_months(self):
        june = tl.load_prices("maintained", as_of="2026-06-12")
        found = recommend(
            task="customer_support",
            prices=june,
            provider="anthropic",
            error_cost_usd=0.1,
            error_counts={"mid": (1, 80), "small": (40, 80), "flagship": (1, 80)},
            workload=tl.Workload(requests_per_day=10, batch_share=0.5),
        )
        assert found.step == 7 and "look again 6 months later" in found.next_step


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"task": "cod_review"}, "did you mean 'code_review'"),
        ({"task": "mine", "stakes": 4, "complexity": 1}, "ratings are 1, 2 or 3"),
        ({"task": "mine", "stakes": 2}, "both ratings"),
        ({"error_cost_usd": 1}, "where do errors come from"),
        ({"error_rates": {"small": 0.1, "mid": 0.1, "flagship": 0.1}}, "what does an error cost"),
        ({"task": "code_review", "provider": "opnai"}, "did you mean 'openai'"),
        ({"task": "code_review", "provider": None, "models": ["gpt-4-o"]}, "did you mean 'gpt-4o'"),
        ({"task": "code_review", "error_cost_usd": -1}, "from 0 up"),
        ({"task": "code_review", "error_cost_usd": float("nan")}, "from 0 up"),
        ({"task": "code_review", "second_usd": float("inf")}, "a number of US dollars from 0 up"),
        ({"task": "code_review", "error_cost_usd": "$1"}, r"error_cost_usd = '\$1'; allowed"),
        ({"task": "code_review", "error_cost_usd": []}, "from 0 up"),
        ({"task": "code_review", "tool_calls": -3}, "whole number"),
        ({"task": "code_review", "tool_calls": float("nan")}, "whole number"),
        ({"task": "mine", "stakes": (3, 1), "complexity": 1}, r"stakes=\(3, 1\); a rating or a"),
        ({"task": "mine", "stakes": 1, "complexity": (1, 2, 3)}, r"complexity=\(1, 2, 3\)"),
        (
            {"task": "code_review", "workload": tl.Workload(requests_per_day=0)},
            "requests_per_day is 0",
        ),
        ({"task": "code_review", "models": ["gpt-4o"]}, "the candidates are named already"),
        (
            {"task": "code_review", "provider": None, "error_counts": {"mid": (6, 80)}},
            "the tier of 3 candidates",
        ),
        ({"error_cost_usd": 1, "error_rates": {"small": 2, "mid": 0, "flagship": 0}}, "shares 0-1"),
        ({"error_cost_usd": 1, "error_rates": {"small": 0.1}}, "nothing for claude-sonnet-4-6"),
        ({"error_cost_usd": 1, "error_rates": {"smal": 0.1}}, "did you mean 'small'"),
        ({"task": "code_review", "error_counts": {"mid": (9, 8)}}, "9 wrong answers of 8 examples"),
        ({"task": "code_review", "error_counts": {"mid": (1.5, 8)}}, "give two whole numbers"),
        ({"task": "code_review", "error_counts": {"mid": (1, 8, 2)}}, "give two whole numbers"),
        (
            {"task": "code_review", "error_counts": {"small": (1, 9), "claude-haiku-4-5": (8, 9)}},
            "'small' and 'claude-haiku-4-5' are one model",
        ),
        (  # the last of them used to win
            {
                "task": "code_review",
                "error_counts": {"Claude Haiku 4.5": (1, 9), "claude-haiku-4-5": (8, 9)},
            },
            "'claude-haiku-4-5' and another name of yours are one model",
        ),
        (
            {"task": "code_review", "error_counts": {"mid": (1, 8)}, "error_rates": {"mid": 0.1}},
            "from one place",
        ),
    ],
)
def test_what_cannot_be_asked_says_why(article, asked, says):
    with pytest.raises(ValueError, match=says):
        recommend(prices=article, **({"provider": "anthropic"} | asked))


def test_a_growing_workload_says_that_a_year_is_one_of_its_first_day(article):
    asked = {"prices": article, "task": "code_review"}
    growing = tl.Workload(requests_per_day=1_000, monthly_growth=(0.0, 0.5))
    assert any(
        "growth comes on top" in line for line in tl.recommend(workload=growing, **asked).grounds
    )
    assert not any("growth" in line for line in tl.recommend(**asked).grounds)


def test_draws_are_repeatable(article):
    one, two = (tl.recommend(prices=article, task="code_review", seed=3).table for _ in range(2))
    pd.testing.assert_frame_equal(one, two)
