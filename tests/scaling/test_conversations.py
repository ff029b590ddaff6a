"""Conversations, caches and what bends the bill of the running product, against arithmetic in the open."""

import pandas as pd
import pytest

import tierlab as tl
from tierlab.scaling import costs

JUNE = tl.load_prices("maintained", as_of="2026-06-12")
NOVEMBER = tl.load_prices("maintained", as_of="2026-11-23")
PRODUCT = tl.load_product()
TALK = PRODUCT.conversation
MILLION = 1_000_000


def test_a_turn_sends_all_that_came_before_it():
    """6,000 system, then 200 a question and 300 an answer: 6,200, 6,700, 7,200 tokens."""
    plain, cached = costs.session(TALK, 3), costs.session(TALK, 3, cached=True)
    assert plain["uncached_input_tokens"].tolist() == [6_200, 6_700, 7_200]
    assert cached["cache_read_tokens"].tolist() == [0, 6_200, 6_700]
    assert cached["cache_write_short_tokens"].tolist() == [6_200, 500, 500]
    assert not cached["uncached_input_tokens"].any() and not plain["cache_read_tokens"].any()


def test_five_turns_on_sonnet_with_and_without_a_cache():
    """USD 3 in, 0.30 read, 3.75 written, 15 out; 36,000 tokens of input, of which 27,800 are read and 8,200 written."""
    table = costs.session_costs(TALK, JUNE, ["claude-sonnet-4-6"])
    total = table.groupby("cached")["session_usd"].last()
    assert total[False] == pytest.approx((36_000 * 3 + 5 * 300 * 15) / MILLION)
    assert total[True] == pytest.approx((27_800 * 0.3 + 8_200 * 3.75 + 5 * 300 * 15) / MILLION)
    assert costs.hit_rate(TALK) == pytest.approx(27_800 / 36_000)


def test_a_catalogue_without_cache_prices_has_no_dollars_with_a_cache():
    table = costs.session_costs(TALK, tl.load_prices("article"), ["claude-sonnet-4-6"])
    assert table.loc[table["cached"], ["turn_usd", "session_usd"]].isna().all(axis=None)
    assert table.loc[~table["cached"], "session_usd"].notna().all()


def test_a_session_that_outgrows_the_window_costs_nothing_more_and_nothing_less():
    long = TALK.model_copy(update={"system_tokens": 127_000})  # gpt-4o-mini: 128,000
    table = costs.session_costs(long, JUNE, ["gpt-4o-mini"], turns=4)
    fits = (127_000 + 200 * table["turn"] + 300 * (table["turn"] - 1)) <= 128_000
    assert table["session_usd"].notna().tolist() == fits.tolist() == [True, True, False, False] * 2


def test_what_bends_the_bill_of_haiku():
    """USD 0.10 in, 0.01 read, 0.125 written, 0.50 out, and five times as much above 100,000 tokens."""
    table = costs.what_bends(PRODUCT, NOVEMBER, ["claude-haiku-5-5"], until="2027-11-23")
    today = 500 * 0.1 + 300 * 0.5
    expected = {
        "volume": 2,
        "conversation": (36_000 * 0.1 + 5 * 300 * 0.5) / 5 / today,
        "cached": (27_800 * 0.01 + 8_200 * 0.125 + 5 * 300 * 0.5) / 5 / today,
        "long": (100_001 * 0.5 + 300 * 2.5) / today,
        "batch": 0.5,
        "announced": 1,
    }
    assert table.set_index("kind")["multiple"].to_dict() == pytest.approx(expected)


def test_an_announced_price_counts_from_its_day():
    def multiple(until):
        table = costs.what_bends(PRODUCT, NOVEMBER, ["gemini-4-argon"], until=until)
        return table.set_index("kind").at["announced", "multiple"]

    assert [multiple(day) for day in ("2026-11-30", "2026-12-01")] == pytest.approx([1, 2])


def test_what_does_not_fit_or_is_not_sold_has_no_multiple():
    table = costs.what_bends(
        PRODUCT, JUNE, ["gpt-4o-mini", "gemini-3.1-pro-preview"], until="2026-07-01"
    )
    long = table[table["kind"] == "long"].set_index("model_id")["multiple"]
    assert pd.isna(long["gpt-4o-mini"])  # a window of 128,000, a step at 200,000
    assert long["gemini-3.1-pro-preview"] == pytest.approx(
        (200_001 * 4 + 300 * 18) / (500 * 2 + 300 * 12)
    )
    article = costs.what_bends(PRODUCT, tl.load_prices("article"), ["gpt-4o"], until="2026-07-01")
    assert article.set_index("kind")["multiple"].isna()[["cached", "batch"]].all()


def test_where_models_overtake_each_other():
    table = costs.overtakings(PRODUCT.message, NOVEMBER, error_gap=0.05)
    found = table.set_index(["higher", "lower"])
    opus = (500 * 4 + 300 * 20) / MILLION
    haiku = (500 * 0.1 + 300 * 0.5) / MILLION
    row = found.loc[("claude-opus-5-5", "claude-haiku-5-5")]
    assert (
        row["break_even"] == pytest.approx((opus - haiku) / 0.05) and row["of"] == "USD per error"
    )
    terra, flash = 500 * 1 + 300 * 5, 500 * 0.75 + 300 * 3.75
    row = found.loc[("gpt-6.1-terra", "gemini-3.8-flash")]
    assert row["break_even"] == pytest.approx((1 - flash / terra) / 0.5)
    below, above = 100_000 * 0.1 + 300 * 0.5, 100_001 * 0.5 + 300 * 2.5
    flat = 100_000 * 0.3 + 300 * 2.5
    row = found.loc[("claude-haiku-5-5", "gemini-3.5-flash-lite")]
    assert row["break_even"] == pytest.approx((flat - below) / (above - below))
    assert row["of"] == "share above 100,000 tokens"


def test_write_and_read_as_multiples_of_plain_input():
    table = costs.cache_factors(NOVEMBER, ["claude-opus-5-5", "gpt-6-astra", "gemini-4-argon"])
    found = table.set_index(["model_id", "write"])
    assert found.loc[("claude-opus-5-5", "long"), ["write_multiple", "read_multiple"]].tolist() == [
        2,
        0.05,
    ]
    assert found.at[("claude-opus-5-5", "short"), "break_even"] == pytest.approx(0.25 / 1.2)
    assert found.at[("gemini-4-argon", "short"), "break_even"] == 0
    assert ("gpt-6-astra", "long") not in found.index
