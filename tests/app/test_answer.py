"""The numbers of the app, checked against written-out arithmetic on prices and assumed error rates."""

from dataclasses import replace

import pytest

import tierlab as tl
from tierlab.app import answer as app_answer
from tierlab.app.answer import Setting, answer, difference

SUPPORT = Setting(
    lineup=("anthropic", "June 2026"),
    requests_per_day=20_000,
    input_tokens=500,
    output_tokens=300,
    cache_hit_rate=0.0,
    batch_share=0.0,
    error_cost_usd=0.10,
    second_usd=0.0,
    task="customer_support",
)
PRICES = {
    "small": (1, 5),
    "mid": (3, 15),
    "flagship": (5, 25),
}  # USD per million tokens, in and out
WRONG = {"small": 0.12, "mid": 0.07, "flagship": 0.05}  # data/assumptions.csv, complexity 2


def day(tier, error_usd):
    """Price and errors of 20,000 messages of 500 and 300 tokens, USD."""
    rates = PRICES[tier]
    return 20_000 * ((500 * rates[0] + 300 * rates[1]) / 1e6 + WRONG[tier] * error_usd)


@pytest.fixture(scope="module")
def found():
    return answer(SUPPORT)


class TestAnswer:
    def test_a_day_is_price_and_errors_of_all_its_requests(self, found):
        days = found.days.set_index("tier")["expected_usd"]
        assert days.to_dict() == pytest.approx({tier: day(tier, 0.10) for tier in PRICES})

    def test_the_cards_say_the_day_the_month_and_how_firm(self, found):
        said = found.said
        assert (said.headline, said.tier) == ("Start with the mid tier: claude-sonnet-4-6", "mid")
        assert [value for _, value, _ in said.cards[:2]] == [
            "$260",  # 20,000 x (0.006 + 0.07 x 0.10)
            "$3,650",  # 120 x 365 / 12
        ]
        # Small and mid cost the same at (0.006 - 0.002) / (0.12 - 0.07), mid and flagship at 0.004 / 0.02.
        assert said.cards[2][2] == "turns below $0.08 and above $0.20 an error"
        assert said.cards[2][1] == f"{found.days['best_share'].iloc[0]:.0%} of draws"

    def test_the_sentence_names_the_runner_up_and_the_next_step(self, found):
        assert "The small tier is $20.00 behind" in found.said.words
        step, _, command = found.found.next_step.partition(" `")
        assert found.said.words.endswith(step) and command not in found.said.words

    def test_it_is_the_recommendation_of_the_same_question(self, found):
        same = tl.recommend(
            task="customer_support",
            error_cost_usd=0.10,
            workload=tl.Workload(requests_per_day=20_000),
            prices=tl.load_prices("maintained", as_of="2026-06-12"),
            provider="anthropic",
            seed=app_answer.SEED,
        )
        assert same.table.equals(found.found.table)

    def test_a_near_tie_is_called_one(self):
        near = answer(replace(SUPPORT, error_cost_usd=0.0805))
        assert near.found.close and near.said.headline.startswith("Too close to call: ")

    def test_waiting_is_said_where_a_second_has_a_value(self):
        assert "waiting" not in answer(SUPPORT).said.cards[0][2]
        assert "waiting" in answer(replace(SUPPORT, second_usd=0.001)).said.cards[0][2]

    def test_examples_of_ones_own_stand_for_the_assumed_rate(self):
        counted = answer(replace(SUPPORT, counts={"mid": (0, 400)}))
        rate = counted.days.set_index("tier").at["mid", "error_rate"]
        assert rate == pytest.approx(0.5 / 401)  # the mean under Jeffreys' prior

    def test_more_wrong_answers_than_examples_are_refused(self):
        with pytest.raises(ValueError):
            answer(replace(SUPPORT, counts={"mid": (5, 4)}))


def test_the_difference_is_the_kept_scenario_less_todays(found):
    costlier = answer(replace(SUPPORT, error_cost_usd=0.25))
    # Flagship: 200 + 20,000 x 0.05 x 0.25 = 450; its bill is 80 a day above that of the mid tier.
    assert difference(found, costlier) == (
        "+$190 a day",
        "+$2,433 a month on the bill; claude-opus-4-8 in place of claude-sonnet-4-6",
    )
    assert difference(costlier, found)[0] == "-$190 a day"
    assert difference(found, found)[1].endswith("claude-sonnet-4-6 in both")


def test_every_lineup_has_an_answer():
    for label, lineup in app_answer.lineups():
        assert answer(replace(SUPPORT, lineup=lineup)).said.cards, label
