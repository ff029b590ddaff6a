"""The controls of notebook 04: their numbers are those of the functions, and of sums in the open."""

import pandas as pd
import pytest

import tierlab as tl
from tierlab.routing.control import ConversationExplorer, PaybackExplorer
from tierlab.routing.policies import Always, Threshold

SMALL, FLAGSHIP = "claude-haiku-4-5", "claude-opus-4-8"


@pytest.fixture(scope="module")
def prices():
    return tl.load_prices("maintained", as_of="2026-06-12")


def test_payback_says_when_the_verdict_turns():
    """At $0.10 an error a message is 0.02, 0.012 and 0.009; at none the single model is the cheaper one."""
    means = pd.DataFrame(
        {"score": [0.9, 0.94], "usd_per_1000": [2.0, 3.0]}, index=["always small", "router: own"]
    )
    policies = {"always small": Always("small"), "router: own": Threshold("x", 0.5, ("a", "b"))}
    control = PaybackExplorer(
        means, policies, requests_per_day=1000, error_cost_usd=0.1, build_cost_usd=1000.0
    )
    # a day: small 2 + 10 = 12, router 3 + 6 = 9
    assert "pays for itself in 333 days" in control.summary and "$9.00" in control.summary
    before = bytes(control.image.value)
    control.controls["error_cost_usd"].value = 0.0
    assert control.summary.startswith("No: always small costs less")
    assert bytes(control.image.value) != before and 'role="alert"' not in control.text.value


def test_conversations_that_never_change_the_model_keep_their_promise(prices):
    control = ConversationExplorer(
        prices, tl.load_product().conversation, small=SMALL, flagship=FLAGSHIP, sessions=30
    )
    values = control.values()
    per_turn = control.table(**values).iloc[0]
    assert per_turn["saving"] < per_turn["promised"] - 0.1 and per_turn["switches"] > 0.5
    control.controls["policy"].value = "per conversation"
    whole = control.table(**control.values()).iloc[0]
    assert whole["saving"] == pytest.approx(whole["promised"]) and whole["switches"] == 0
    control.controls["small_share"].value = 1.0
    # Haiku reads, writes and answers at a fifth of the price of Opus
    assert control.table(**control.values())["saving"].iloc[0] == pytest.approx(0.8)
    assert "promise a saving of 80%" in control.summary
    control.controls["turns"].value = 2
    assert control.table(**control.values())["turns"].iloc[0] == 60
    assert 'role="alert"' not in control.text.value
