"""When a router pays, against sums in the open."""

import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tierlab.routing import payback, verdict
from tierlab.routing.policies import Always, LLMClassifier, Oracle, RandomMix, Threshold

CALL = 0.001
PARTS = pd.DataFrame(
    {"share": [0.75, 0.25], "weak_usd": [0.01, 0.11], "strong_usd": [0.04, 0.05]},
    index=["simple", "complex"],
)


@pytest.fixture(scope="module")
def bill():
    return payback.routed_bill(
        tl.load_prices("article"),
        tl.load_product().message,
        small="claude-haiku-4-5",
        flagship="claude-opus-4-8",
    )


def test_the_bill_is_the_article_s_arithmetic(bill):
    """500 in and 300 out: Haiku 1 and 5 USD per million tokens, Opus 5 and 25; the question is 545 in and 3 out."""
    haiku, opus = (500 * 1 + 300 * 5) / 1e6, (500 * 5 + 300 * 25) / 1e6
    assert bill["usd"].tolist() == pytest.approx(
        [(545 * 1 + 3 * 5) / 1e6, 0.8 * haiku, 0.2 * opus, haiku, opus]
    )
    assert bill["input_usd"].tolist() == pytest.approx([545e-6, 4e-4, 5e-4, 5e-4, 25e-4])
    ways = payback.ways(bill, 1_000_000)
    assert ways.sum(axis=1).tolist() == pytest.approx([10_000, 4_160, 3_600, 2_000])
    rows = payback.bill_rows(ways, 1_000_000)
    assert rows["saving"].tolist() == ["0%", "58.4%", "64%", "80%"]


def test_promised_savings_are_those_of_the_shares():
    """Opus is 5 times Haiku: 80% there saves 0.8 x (1 - 1/5); Sonnet costs 3/5 of Opus."""
    table = payback.promised_savings(
        tl.load_prices("article"), tl.load_product().message, (0.7, 0.8)
    ).droplevel("times")
    assert table.loc[("anthropic", "small", "flagship")].tolist() == pytest.approx([0.56, 0.64])
    assert table.loc[("anthropic", "small", "mid"), 0.8] == pytest.approx(1 - 0.8 / 5 - 0.2 * 0.6)
    assert (
        payback.provider_rows(table.assign(times=1.0).set_index("times", append=True)).loc[
            "anthropic", "small, 80% of messages"
        ]
        == "64%"
    )


MEANS = pd.DataFrame(
    {
        "score": [0.8, 0.9, 0.95, 0.99, 0.85],
        "usd_per_1000": [1.0, 5.0, 3.0, 1.0, 2.0],
        "saving": [0.8, 0, 0.4, 0.8, 0.6],
    },
    index=["always small", "always flagship", "router: own", "oracle", "random mix"],
)
POLICIES = {
    "always small": Always("small"),
    "always flagship": Always("flagship"),
    "router: own": Threshold("x", 0.5, ("small", "flagship")),
    "oracle": Oracle(),
    "random mix": RandomMix({"small": 1.0}),
}
DAY = {"requests_per_day": 1000, "error_cost_usd": 0.1}


def test_days_are_the_building_cost_over_what_a_day_saves():
    """A day: router 3 + 5 = 8; flagship 5 + 10 = 15; small 1 + 20 = 21. The oracle and the mix are no routers."""
    days = payback.day_costs(MEANS, **DAY)
    assert days["total"].drop(["oracle", "random mix"]).to_dict() == pytest.approx(
        {"router: own": 8.0, "always flagship": 15.0, "always small": 21.0}
    )
    pay = payback.payback(MEANS, POLICIES, build_cost_usd=700.0, **DAY)
    assert (pay.router, pay.single) == ("router: own", "always flagship")
    assert pay.days() == pytest.approx(700 / 7)
    assert pay.volume_for(50) == pytest.approx(2000)
    assert pay.headline() == "Yes: it pays for itself in 100 days"
    assert (
        "$8.00" in pay.words() and "$15.00" in pay.words() and "Below 274 messages" in pay.words()
    )
    rows = payback.answer_rows(MEANS, days, pay)
    assert rows["policy"].tolist()[:2] == ["router: own", "always flagship"] and len(rows) == 5


@pytest.mark.parametrize(
    ("build", "gain", "error_usd", "verdict"),
    [
        (7_000.0, None, 0.1, "Not at this volume: it would take 1,000 days"),
        (700.0, (-0.001, 0.02), 0.1, "Not decided: the gain over always flagship"),
        (700.0, None, 0.0, "No: always small costs less"),
    ],
)
def test_the_verdict_follows_the_numbers(build, gain, error_usd, verdict):
    day = DAY | {"error_cost_usd": error_usd}
    pay = payback.payback(MEANS, POLICIES, build_cost_usd=build, gain=gain, **day)
    assert pay.headline().startswith(verdict)
    if error_usd == 0:
        assert pay.days() == pay.volume_for() == np.inf and "Below" not in pay.words()


def test_a_classifier_gains_what_its_four_cases_say():
    """Simple: 0.9 x 0.01 + 0.1 x 0.04 = 0.013; complex: 0.8 x 0.05 + 0.2 x 0.11 = 0.062."""
    gain = payback.classifier_gain(PARTS, 0.9, 0.8, call_usd=CALL, single_usd=0.03)
    assert gain == pytest.approx(0.03 - CALL - 0.75 * 0.013 - 0.25 * 0.062)
    needed = payback.complex_needed(PARTS, 0.9, call_usd=CALL, single_usd=0.03, gain_usd=gain)
    assert needed == pytest.approx(0.8)
    assert np.isnan(payback.complex_needed(PARTS, 0.9, call_usd=1.0, single_usd=0.03, gain_usd=0.0))


def test_the_formula_is_what_the_simulated_classifier_costs():
    table = tl.simulate_outcomes(20_000, seed=3, prices=tl.load_prices("article"))
    pair = {"weak": "claude-haiku-4-5", "strong": "claude-opus-4-8"}
    said = {"simple": {"simple": 0.85, "complex": 0.15}, "complex": {"simple": 0.4, "complex": 0.6}}
    labels = {"simple": "small", "complex": "flagship"}
    classifier = LLMClassifier(labels, confusion=said, cost_usd=CALL)
    found = payback.accuracies(table, {"own": classifier}, seed=3, **pair).iloc[0, 1:].tolist()
    assert found == pytest.approx((0.85, 0.6), abs=0.03)
    parts = payback.by_difficulty(table, error_cost_usd=0.1, **pair)
    assert parts["share"].sum() == pytest.approx(1)
    routes = tl.route(table, classifier, seed=3)
    cost = routes["cost_usd"] + routes["router_cost_usd"] + 0.1 * (1 - routes["score"])
    expected = -payback.classifier_gain(parts, *found, call_usd=CALL, single_usd=0.0)
    assert cost.mean() == pytest.approx(expected, rel=0.02)


def test_one_task_has_the_lengths_of_the_product_on_average():
    from tierlab.routing.simulated import one_task

    shop = tl.load_product()
    table = tl.simulate_outcomes(40_000, seed=1, tasks=one_task(shop.task, shop.message))
    small = table[table["tier"] == "small"]
    assert small["uncached_input_tokens"].mean() == pytest.approx(500, rel=0.02)
    assert small["output_tokens"].mean() == pytest.approx(300, rel=0.02)
    assert small["score"].mean() == pytest.approx(0.88, abs=0.01)  # data/assumptions.csv: 12% wrong
    with pytest.raises(ValueError, match="customer_support"):
        one_task("customer_suport", shop.message)


def test_the_words_of_the_appendix():
    assert "5.3% below the flagship" in verdict.mid_words(
        MEANS.rename({"random mix": "always mid"}).assign(score=[0.8, 0.95, 0.9, 0.9, 0.9])
    )
    assert "no mid tier" in verdict.mid_words(MEANS)
    moved = pd.DataFrame({"policy": [2.0, 3.0], "a": [1.0, 5.0]}, index=[1.0, 2.0])
    assert "than a above 1.33 times" in verdict.price_words(moved, "router", ["a"])
    assert "At none" in verdict.price_words(moved[:1], "router", ["a"])
