"""The synthetic quarters: the analysis finds what was put in, on its day and in its size, and nothing that was not."""

import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tests.quarter.test_quarter import PRICES, daily
from tierlab.quarter import simulated
from tierlab.quarter.aggregate import build_cube
from tierlab.quarter.ahead import Ahead
from tierlab.quarter.analyse import analyse
from tierlab.quarter.outlook import anomalies
from tierlab.quarter.savings import savings
from tierlab.quarter.simulated import FLOWS, LEAK, PLANTS, synthetic_quarters
from tierlab.quarter.words import headline

START, END = pd.Timestamp("2026-07-01"), pd.Timestamp("2026-09-30")
FLOW = {flow.task: flow for flow in FLOWS}
# USD per million tokens in and out, from 30 July on; the support chat's input is priced below.
RATES = {
    "claude-haiku-4-5": (1, 5),
    "claude-sonnet-4-6": (3, 15),
    "gpt-4o-mini": (0.15, 0.6),
    "gpt-4o": (2.5, 10),
    "gpt-5.6-terra": (2, 12),
    "o4-mini": (1.1, 4.4),
    "gemini-3.1-pro-preview": (2, 12),
    "claude-opus-4-8": (5, 25),
}
MEAN = np.exp(0.4**2 / 2)  # of a log-normal variable over its median
ANSWERED = 0.99


def usd_per_request(flow, input_rate=None):
    given, answered = RATES[flow.model_id]
    tokens = (flow.input_tokens * (input_rate or given) + flow.output_tokens * answered) * MEAN
    return ANSWERED * (1 - flow.batch / 2) * tokens / 1e6


def requests_of(flow, start, end):
    """Expected number of requests of a flow on some days."""
    days = pd.date_range(start, end)
    elapsed = (days - pd.Timestamp(simulated.START)).days.to_numpy()
    weekday = np.array(simulated.WEEKDAYS)[days.day_of_week]
    return float(
        300
        * flow.share
        * ((1 + simulated.MONTHLY_GROWTH) ** (elapsed / (365.25 / 12)) * weekday).sum()
    )


@pytest.fixture(scope="module")
def default():
    requests, truths = synthetic_quarters()
    return analyse(build_cube(requests, PRICES), PRICES), requests, truths.set_index("plant")


def event(quarter, over, name):
    found = quarter.events[(quarter.events["over"] == over) & (quarter.events["name"] == name)]
    assert len(found) == 1, found
    return found.iloc[0]


def test_the_table_is_what_it_says(default):
    _, requests, truths = default
    assert 40_000 < len(requests) < 100_000
    assert set(requests["source"]) == {"simulated"}
    assert list(truths.index) == list(PLANTS)
    again, _ = synthetic_quarters()
    pd.testing.assert_frame_equal(requests, again)
    assert not synthetic_quarters(seed=8)[0]["output_tokens"].equals(requests["output_tokens"])


def test_shares_and_growth_are_the_parameters(default):
    _, requests, _ = default
    chat = requests[requests["task"] == "customer_support"]
    for start, end in ((simulated.START, "2026-06-30"), (START, END)):
        expected = requests_of(FLOW["customer_support"], start, end)
        assert chat["at"].between(
            start, pd.Timestamp(end) + pd.Timedelta(days=1)
        ).sum() == pytest.approx(expected, abs=4 * expected**0.5)
    whole = requests[requests["status"] != "error"]
    assert (requests["status"] == "error").mean() == pytest.approx(0.01, abs=0.002)
    assert (whole["attempts"] > 1).mean() == pytest.approx(0.03, abs=0.003)
    assert requests.loc[requests["task"] == "entity_extraction", "batch"].mean() == pytest.approx(
        0.4, abs=0.02
    )


def test_the_price_change_is_found(default):
    quarter, _, truths = default
    found = quarter.price_changes[~quarter.price_changes["scheduled"]].iloc[0]
    assert (found["model_id"], found["on"]) == (
        truths.loc["price_change", "name"],
        truths.loc["price_change", "start"],
    )
    assert found["effect_usd"] / found["before_usd"] == pytest.approx(
        truths.loc["price_change", "size"]
    )
    assert found["after_usd"] == pytest.approx(
        requests_of(FLOW["code_review"], "2026-07-30", END) * usd_per_request(FLOW["code_review"]),
        rel=0.06,
    )
    assert quarter.variance.set_index("effect").loc["price", "usd"] < 0


def test_the_leak_is_found(default):
    quarter, _, truths = default
    found, truth = event(quarter, "team", "staging"), truths.loc["leak"]
    assert found["start"] == truth["start"] == pd.Timestamp("2026-08-17")
    assert found["lasts"]
    assert found["days"] == 45
    per_day = truth["size"] * usd_per_request(LEAK)
    assert found["excess_usd"] == pytest.approx(
        45 * per_day, rel=0.1
    )  # 1,080 requests: 3 % by number, 1 % by length
    first = quarter.decisions.iloc[0]
    assert (first["kind"], first["team"]) == ("stop", "staging")
    assert first["usd"] == pytest.approx(92 * per_day, rel=0.1)
    assert "staging" in headline(quarter)


def test_the_broken_cache_is_found(default):
    quarter, _, truths = default
    found, truth = event(quarter, "cache", "claude-sonnet-4-6"), truths.loc["cache_break"]
    assert (found["start"], found["direction"], found["lasts"]) == (truth["start"], "below", True)
    chat = FLOW["customer_support"]
    tokens = requests_of(chat, truth["start"], END) * chat.input_tokens * MEAN * ANSWERED
    lost = tokens * -truth["size"] * (3.75 - 0.30) / 1e6  # what was read at 0.30 is written at 3.75
    assert found["excess_usd"] == pytest.approx(lost, rel=0.1)
    repair = quarter.savings.set_index("kind").loc["cache"]
    assert repair["task"] == "customer_support"
    assert repair["usd"] == pytest.approx(lost / 24 * 92, rel=0.1)


def test_the_one_day_anomaly_is_found(default):
    quarter, _, truths = default
    found, truth = event(quarter, "team", "platform"), truths.loc["spike"]
    assert found["start"] == found["end"] == truth["start"]
    assert not found["lasts"]
    old_rates = usd_per_request(FLOW["code_review"]) / 0.8  # before 30 July
    usual = requests_of(FLOW["code_review"], truth["start"], truth["start"]) * old_rates
    assert found["excess_usd"] == pytest.approx(
        (truth["size"] - 1) * usual, rel=0.2
    )  # 300 requests: 6 %; the usual day: 16 %
    flagged = quarter.days.loc[quarter.days["flagged"], "day"]
    assert truth["start"] in set(flagged)


def test_the_forecast_holds_what_the_generator_would_do_next(default):
    """Fourth quarter from the parameters alone: growth goes on, the cache stays broken, the leak runs."""
    quarter, _, _ = default
    after = ("2026-10-01", "2026-12-31")
    broken = 0.75 * 3.75 + 0.25 * 3  # the support chat's input: all of what was read is now written
    expected = sum(
        requests_of(f, *after) * usd_per_request(f, broken if f.cached else None) for f in FLOWS
    )
    expected += 92 * simulated.LEAK_PER_DAY * usd_per_request(LEAK)
    found = quarter.forecast.totals.loc["2026Q4"]
    assert found["low"] <= expected <= found["high"]
    assert (found["high"] - found["low"]) / expected < 0.25


def test_without_plants_nothing_is_found():
    """Six seeds: an alarm in 15 % of the quarters makes three or fewer with any 99.4 % likely."""
    alarmed = 0
    for seed in range(6):
        requests, truths = synthetic_quarters(seed=seed, plants=())
        assert truths.empty
        log = daily(requests)
        events = anomalies(log, START, END)
        now = log[log["day"] >= START]
        assert (
            not savings(Ahead(PRICES, pd.Timestamp("2026-10-01"), now), events=events)["kind"]
            .isin(["stop", "cache"])
            .any()
        )
        assert not events["lasts"].any() or events["days"].max() < 3
        alarmed += len(events) > 0
    assert alarmed <= 3
    assert "gpt-5.6-terra" not in set(log["model_id"])


@pytest.mark.parametrize("plant", ["leak", "cache_break", "spike"])
def test_each_plant_alone_is_told_from_the_others(plant):
    requests, truths = synthetic_quarters(seed=11, plants=(plant,))
    events = anomalies(daily(requests), START, END)
    start = truths.loc[0, "start"]
    assert (events["excess_usd"] * (events["start"] == start)).sum() > 0.9 * events[
        "excess_usd"
    ].sum()
    assert (
        set(events.loc[events["start"] == start, "over"])
        >= {"leak": {"team"}, "cache_break": {"cache"}, "spike": {"total"}}[plant]
    )
    assert ("cache" in set(events["over"])) == (plant == "cache_break")


def test_refusals():
    with pytest.raises(ValueError, match="did you mean 'leak'"):
        synthetic_quarters(plants=("leek",))
    with pytest.raises(ValueError, match="requests_per_day=0"):
        synthetic_quarters(requests_per_day=0)


def test_rates_above_are_the_catalogue():
    rates = (
        PRICES.in_force("2026-09-30")
        .query("context_above == 0")
        .set_index("model_id")[["uncached_input", "output"]]
    )
    assert {m: tuple(rates.loc[m]) for m in RATES} == RATES
    assert isinstance(PRICES, tl.Prices)
