"""The article's questions: every number in an answer is arithmetic on prices, or recorded, and follows when a price changes."""

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tierlab.article import faq
from tierlab.article.rules import load_measured

REQUEST = {  # USD of 500 + 300 tokens at the article's prices
    "claude-opus-4-8": 0.010,
    "claude-sonnet-4-6": 0.006,
    "claude-haiku-4-5": 0.002,
    "gpt-5.5": 0.0115,
    "gpt-4o": 0.00425,
    "gpt-4o-mini": 0.000255,
    "gemini-3.1-pro-preview": 0.0046,
    "gemini-3.5-flash": 0.0009,
    "gemini-2.5-flash-lite": 0.00017,
}
RECORDED = ("score", "score_gpt_4o", "valid_json", "margin_of_50", "margin_of_100")
CHATBOT, MINI, CHEAPER, WORSE, ROUTING, GEMINI = range(6)


@pytest.fixture(scope="module")
def answers():
    return faq.answers()


@cache
def changed(model_id, **rates):
    prices = tl.load_prices("article", as_of="2026-06-12")
    frame = prices.frame.copy()
    frame.loc[frame["model_id"] == model_id, list(rates)] = list(rates.values())
    return faq.answers(replace(prices, frame=frame))


EXPECTED = {
    # errors of 12%, 7% and 5% (data/assumptions.csv): C = (higher - lower) / gap
    CHATBOT: {
        **{
            "chatbot_error_cost_usd": 1.0,
            "sensitive_error_cost_usd": 100.0,
            "lookups_error_cost_usd": 0.02,
        },
        "anthropic_mid_from_usd": (0.006 - 0.002) / 0.05,
        "anthropic_flagship_from_usd": (0.010 - 0.006) / 0.02,
        "openai_mid_from_usd": (0.00425 - 0.000255) / 0.05,
        "openai_flagship_from_usd": (0.0115 - 0.00425) / 0.02,
        "google_mid_from_usd": (0.0009 - 0.00017) / 0.05,
        "google_flagship_from_usd": (0.0046 - 0.0009) / 0.02,
    },
    MINI: {
        "usd_per_1000": 0.255,
        "flagship_usd_per_1000": 11.5,
        "errors_more_per_100_at_1_usd": 1.1245,
    },
    CHEAPER: {
        **{"anthropic_input": 5, "anthropic_output": 5, "anthropic_blended": 5},
        **{"openai_input": 5 / 0.15, "openai_output": 50, "openai_blended": 0.0115 / 0.000255},
        **{"google_input": 20, "google_output": 30, "google_blended": 0.0046 / 0.00017},
        **{
            "anthropic_month_usd": 30e6 * 0.008,
            "openai_month_usd": 30e6 * 0.011245,
            "google_month_usd": 30e6 * 0.00443,
        },
    },
    # the classifier's 545 + 3 tokens on Haiku: 0.00056
    ROUTING: {
        "break_even_share": 0.00056 / 0.008,
        "saving_at_70": 0.7 * 0.8 - 0.056,
        "saving_at_80": 0.8 * 0.8 - 0.056,
        "month_usd_at_1000_a_day": 30e3 * (0.0064 - 0.00056),
        "month_usd_at_10000_a_day": 30e4 * (0.0064 - 0.00056),
        "requests_a_day_per_1000_usd_a_month": 1000 / 30 / (0.0064 - 0.00056),
        **{"call_s_low": 0.321, "call_s_high": 1.42},  # published for Flash-Lite and Haiku
    },
    GEMINI: {
        "input_saving_low": 1 - 4 / 5,
        "input_saving_high": 1 - 2 / 5,
        **{
            "anthropic_day_usd": 10_000,
            "openai_day_usd": 11_500,
            "google_day_usd": 4_600,
            "small_rank": 1,
        },
        "speed_low": 122.2 / 90,
        "speed_high": 135 / 44,
        "mid_price_ratio": (500 * 1.5 + 300 * 9) / (500 * 0.3 + 300 * 2.5),
    },
}


@pytest.mark.parametrize("question", EXPECTED)
def test_the_numbers_are_arithmetic(answers, question):
    numbers = answers.at[question, "numbers"]
    priced = {
        name: value
        for name, value in numbers.items()
        if name not in RECORDED and not name.endswith("_sure")
    }
    assert priced == pytest.approx(EXPECTED[question], rel=1e-9)


@pytest.mark.parametrize("case", ["chatbot", "sensitive"])
def test_how_sure_a_tier_is_equals_draws_of_our_own(answers, case):
    """Medium errors of data/assumptions.csv, all tiers at one place of their ranges; half of the draws on each side."""
    rng = np.random.default_rng(11)
    place = lambda: rng.random(200_000)  # noqa: E731

    def drawn(low, value, high, at):
        return np.interp(at, [0, 0.5, 1], [low, value, high])

    ends = {"chatbot": (0.1, 1, 5), "sensitive": (10, 100, 10_000)}[case]
    cost, at = np.exp(drawn(*np.log(ends), place())), place()
    errors = {
        "small": (0.06, 0.12, 0.22),
        "mid": (0.03, 0.07, 0.14),
        "flagship": (0.02, 0.05, 0.10),
    }
    usd = list(REQUEST.values())
    for provider, prices in zip(
        ("anthropic", "openai", "google"), (usd[:3], usd[3:6], usd[6:]), strict=True
    ):
        flagship, mid, small = (
            price + drawn(*errors[tier], at) * cost
            for price, tier in zip(prices, ("flagship", "mid", "small"), strict=True)
        )
        share = (flagship < np.minimum(mid, small)).mean()
        assert answers.at[CHATBOT, "numbers"][f"{case}_{provider}_sure"] == pytest.approx(
            share, abs=0.04
        )


def test_lookups_go_to_the_small_model_and_sensitive_topics_to_the_flagship(answers):
    text = answers.at[CHATBOT, "answer"]
    assert (
        "Sensitive topics" in text
        and "at $100 an error it is the flagship at all 3 providers" in text
    )
    assert "Lookups in an FAQ: at $0.02 an error it is the small model at all 3 providers" in text


def test_a_months_saving_is_that_of_the_share_it_names(answers):
    """80% to Haiku: 30,000 requests x (0.8 x 0.008 - 0.00056) USD."""
    assert "At 80% that is $175 a month at 1,000 requests a day" in answers.at[ROUTING, "answer"]


def test_the_recorded_numbers_are_those_of_the_measured_table(answers):
    seen = load_measured()["value"]
    assert answers.at[MINI, "numbers"]["score"] == seen["score_gpt_4o_mini"]
    for n in (50, 100):  # the margin that n examples settle is the one for which n are needed
        margin = answers.at[MINI, "numbers"][f"margin_of_{n}"]
        needed = tl.required_examples(margin=margin, discordant=seen["disagree_mid_flagship"])
        assert needed == pytest.approx(n, abs=1)
    assert answers.at[WORSE, "numbers"].items() <= seen.to_dict().items()


def test_six_questions_each_with_claims_and_sources(answers):
    assert len(answers) == 6 and answers["question"].str.endswith("?").all()
    assert answers["sources"].str.contains("article").all()
    rough = answers["sources"].str.contains("the price of gpt-5.5 is approximate")
    assert list(answers.index[rough]) == [CHATBOT, MINI, CHEAPER, GEMINI]
    known = tl.article.claims.load_claims().set_index("id")["section"]
    for text in answers["claims"]:
        found = re.findall(r"(C\d{3}) (supported|contradicted|not checkable)", text)
        assert found and all(claim in known for claim, _ in found)


def test_the_words_hold_the_numbers(answers):
    assert (
        "Anthropic $0.08 to $0.20" in answers.at[CHATBOT, "answer"]
        and "say mid." in answers.at[CHATBOT, "answer"]
    )
    assert "the flagship at all 3 providers" in answers.at[CHATBOT, "answer"]
    assert "leaves the API on 2027-01-14" in answers.at[MINI, "answer"]
    assert "OpenAI 33.3x on input and 50x on output" in answers.at[CHEAPER, "answer"]
    assert (
        "once 7.0% of the requests go to Haiku; at 70% to 80% the saving is 50.4% to 58.4%"
        in answers.at[ROUTING, "answer"]
    )
    assert (
        "20% to 60% lower" in answers.at[GEMINI, "answer"]
        and "3.8 times" in answers.at[GEMINI, "answer"]
    )


@pytest.mark.parametrize(
    ("model_id", "rates", "questions"),
    [
        ("claude-haiku-4-5", {"uncached_input": 2.0}, {CHATBOT, CHEAPER, ROUTING}),
        ("gpt-4o-mini", {"output": 1.2}, {CHATBOT, MINI, CHEAPER}),
        ("gpt-5.5", {"uncached_input": 2.5}, {CHATBOT, MINI, CHEAPER, GEMINI}),
        ("gemini-3.5-flash", {"uncached_input": 1.5, "output": 9.0}, {CHATBOT, GEMINI}),
    ],
)
def test_a_changed_price_changes_the_answers_that_rest_on_it_and_no_other(
    answers, model_id, rates, questions
):
    now = changed(model_id, **rates)
    assert set(now.index[now["answer"] != answers["answer"]]) == questions


def test_a_mid_tier_model_that_is_never_the_cheapest_is_said_so(answers):
    """Sonnet at Opus's price: the flagship is as cheap and makes fewer errors."""
    now = changed("claude-sonnet-4-6", uncached_input=5.0, output=25.0)
    assert "Anthropic nowhere" in now.at[CHATBOT, "answer"]


def test_a_verdict_beside_an_answer_follows_the_price(answers):
    assert "C107 supported" in answers.at[CHEAPER, "claims"]
    assert (
        "C107 contradicted" in changed("claude-haiku-4-5", uncached_input=2.0).at[CHEAPER, "claims"]
    )


def test_a_request_costs_what_the_table_says():
    prices = tl.load_prices("article", as_of="2026-06-12")
    one = pd.DataFrame({"uncached_input_tokens": [500], "output_tokens": [300]})
    assert tl.reprice(one, prices, list(REQUEST)).iloc[0].to_dict() == pytest.approx(
        REQUEST, rel=1e-9
    )


def test_a_later_lineup_is_answered_with_its_own_models():
    """Opus 5.5 at 4/20 over Haiku 5.5 at 0.10/0.50 is 40x; no page has the speed of November's models."""
    later = tl.load_prices("maintained", as_of="2026-11-23")
    now = faq.answers(later, later)
    assert now.at[CHEAPER, "numbers"]["anthropic_input"] == pytest.approx(40)
    assert "No public page" in now.at[GEMINI, "answer"] and "nan" not in " ".join(now["answer"])
