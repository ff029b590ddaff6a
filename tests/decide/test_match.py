"""Where tiers are the cheapest, which task types they suit, and how many examples settle a choice: by arithmetic."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tierlab.core.vocabulary import task_name
from tierlab.decide import figures, match
from tierlab.decide.recommend import verdict


@pytest.fixture
def options():
    """Small, mid, flagship at 2, 6 and 10 thousandths of a dollar, with 12, 7 and 5 wrong answers of 100."""
    price, rate = np.array([0.002, 0.006, 0.010]), np.array([0.12, 0.07, 0.05])
    return pd.DataFrame(
        {
            "provider": "p",
            "tier": list(tl.TIERS),
            "model_id": ["a", "b", "c"],
            "error_rate": rate,
            "error_usd": 0.1 * rate,
            "expected_usd": price + 0.1 * rate,
        }
    )


@pytest.fixture
def found(article):
    product = tl.load_product()
    workload = tl.Workload(
        requests_per_day=product.requests_per_day, **product.message.model_dump()
    )
    return tl.recommend(
        task=product.task,
        error_cost_usd=product.error_cost_usd,
        workload=workload,
        prices=article,
        provider="anthropic",
    )


class TestRanges:
    def test_tiers_change_at_price_gap_over_error_gap(self, options):
        ranges = match.cheapest_ranges(options)
        # 4 thousandths over 5 points, and over 2 points
        assert ranges["tier"].tolist() == list(tl.TIERS)
        assert ranges["to_usd"].tolist() == pytest.approx([0.08, 0.20, np.inf])

    def test_a_tier_that_is_never_the_cheapest_has_no_row(self, options):
        options.loc[1, "error_rate"] = 0.11  # 4 thousandths for one point of errors
        ranges = match.cheapest_ranges(options)
        assert ranges["tier"].tolist() == ["small", "flagship"]
        assert ranges["to_usd"].iloc[0] == pytest.approx(0.008 / 0.07)

    @pytest.mark.parametrize("cost", [0.01, 0.079, 0.081, 0.199, 0.201, 5.0])
    def test_they_say_what_recommend_says(self, found, cost, article):
        ranges = match.cheapest_ranges(found.table)
        (tier,) = ranges.query("from_usd <= @cost < to_usd")["tier"]
        again = tl.recommend(
            task="customer_support", error_cost_usd=cost, prices=article, provider="anthropic"
        )
        assert tier == again.tier

    def test_the_extra_cost_is_the_distance_from_the_cheapest(self, options):
        extra = match.extra_costs(options, now=0.1, requests_per_day=20_000)
        now = extra[extra["error_cost_usd"] == 0.1].set_index("tier")["extra_usd"]
        # 14, 13 and 15 thousandths of a dollar a message
        assert now.to_dict() == pytest.approx({"small": 20.0, "mid": 0.0, "flagship": 40.0})
        start = extra[extra["error_cost_usd"] == 0].set_index("tier")["extra_usd"]
        assert start.to_dict() == pytest.approx({"small": 0.0, "mid": 80.0, "flagship": 160.0})

    def test_complexity_moves_the_ranges_as_the_assumptions_say(self, found):
        ranges = match.complexity_ranges(found.table)
        hard = ranges[ranges["complexity"] == 3].set_index("tier")["to_usd"]
        # 45, 28 and 15 wrong answers of 100
        assert hard["small"] == pytest.approx(0.004 / 0.17)
        assert hard["mid"] == pytest.approx(0.004 / 0.13)


def test_task_types_get_what_recommend_says_and_the_product_its_own_cost(article):
    workload = tl.Workload(requests_per_day=1_000)
    matched = match.match_tasks(
        prices=article, workload=workload, provider="google", own_costs={"customer_support": 0.001}
    )
    own = tl.recommend(
        task="customer_support", error_cost_usd=0.001, prices=article, provider="google"
    )
    other = tl.recommend(task="summarisation", prices=article, provider="google")
    assert matched.at["customer_support", "tier"] == own.tier == "small"
    assert not matched.at["customer_support", "agrees"]
    assert matched.at["summarisation", "tier"] == other.tier
    assert matched.at["faq_answering", "rule"] == matched.at["faq_answering", "article"]
    assert "Customer support chatbot gets small, not mid" in match.matches_said(matched)


class TestSettling:
    def test_the_examples_of_a_near_tie(self, found):
        small = match.settling(found).set_index("tier").loc["small"]
        # 12 against 7 wrong of 100, independent: 0.12 x 0.93 + 0.88 x 0.07 disagree
        sd = np.sqrt(0.12 * 0.93 + 0.88 * 0.07 - 0.05**2)
        assert small["needed"] == pytest.approx(0.004 / 0.10)
        assert small["distance"] == pytest.approx(0.01)
        assert small["examples"] == np.ceil(((1.959964 + 0.841621) * sd / 0.01) ** 2)
        assert small["behind_usd"] == pytest.approx(20.0)

    def test_where_an_error_costs_too_little_no_example_settles_it(self, article):
        found = tl.recommend(
            task="customer_support", error_cost_usd=1e-4, prices=article, provider="anthropic"
        )
        rivals = match.settling(found)
        assert rivals["examples"].isna().all() and "No error rate" in match.settled_said(rivals)
        figures.settling_curves(rivals)
        assert match.settling_tables(rivals)["numbers"]["examples needed"].eq("none would").all()
        plt.close("all")


class TestFigures:
    def test_a_day_is_price_and_errors(self, found):
        ax = figures.day_costs(found.table, requests_per_day=20_000)
        ends = sorted({round(bar.get_x() + bar.get_width(), 6) for bar in ax.patches})
        assert {40.0, 120.0, 200.0, 260.0, 280.0, 300.0} <= set(ends)
        said = " ".join(text.get_text() for text in ax.texts)
        assert "$260" in said and "$120 price + $140 errors (7% wrong)" in said
        assert [label.get_text().split()[0] for label in ax.get_yticklabels()] == [
            "flagship",
            "mid",
            "small",
        ]
        plt.close("all")

    def test_every_tier_has_its_line_and_its_region(self, found):
        extra = match.extra_costs(found.table, now=0.1, requests_per_day=20_000)
        figure = figures.tier_regions(extra, match.cheapest_ranges(found.table), now=0.1)
        said = [text.get_text() for text in figure.axes[0].texts]
        assert {"+$20", "+$40"} <= set(said)
        assert {text.split()[-1] for text in said if text[0] in figures.SIGNS.values()} == set(
            tl.TIERS
        )
        plt.close("all")

    def test_the_map_shows_all_tiers_and_all_tasks(self, found, article):
        matched = match.match_tasks(
            prices=article, workload=tl.Workload(requests_per_day=1), provider="anthropic"
        )
        ax = figures.task_map(match.complexity_ranges(found.table), matched)
        said = " ".join(" ".join(text.get_text() for text in ax.texts).split())
        assert all(task_name(task) in said for task in matched.index)
        assert len(ax.collections) == len(tl.TIERS)
        plt.close("all")


class TestWords:
    def test_the_verdict_has_the_day_and_the_runner_up(self, found):
        said = verdict(found)
        assert said.startswith("Start with the mid tier, claude-sonnet-4-6: $260 a day")
        assert "The small tier is only $20.00 behind" in said

    def test_a_tie_is_called_one(self, article):
        counted = tl.Evidence(error_counts={"mid": (6, 80)})
        found = tl.recommend(
            task="customer_support",
            error_cost_usd=0.10,
            prices=article,
            provider="anthropic",
            evidence=counted,
        )
        assert found.close
        first, rest = verdict(found).split(" Too close to call between small and mid: measure")
        assert first == (
            "The choice of claude-haiku-4-5 rests on an assumed error rate of 12.0%: nobody has tested it."
        )
        assert (
            "(error rates: counted for mid (80 examples); assumed for small and flagship)" in rest
        )

    def test_ranges_are_one_sentence(self, options):
        assert match.ranges_said(match.cheapest_ranges(options)) == (
            "Up to $0.08 an error the small tier is the cheapest, mid from there to $0.20, flagship above $0.20."
        )
