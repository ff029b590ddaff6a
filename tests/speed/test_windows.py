"""Context windows and the step in price, against arithmetic written out."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tierlab as tl
from tierlab.speed import limits

MAINTAINED = tl.load_prices("maintained")


def log(inputs, output, **more):
    return pd.DataFrame({"uncached_input_tokens": inputs, "output_tokens": output, **more})


def test_input_and_answer_share_the_window(maintained):
    """GPT-4o: 128,000 tokens. 127,000 + 1,000 fit, 127,000 + 1,001 do not."""
    requests = log([127_000, 127_000], [1_000, 1_001])
    assert limits.fits_window(requests, maintained, ["gpt-4o"])["fits_share"].item() == 0.5


def test_cached_input_fills_the_window_as_well(maintained):
    requests = log([100_000], 0, cache_read_tokens=[28_000], cache_write_short_tokens=[1])
    row = limits.fits_window(requests, maintained, ["gpt-4o"]).iloc[0]
    assert row[["fits_share", "too_long", "longest_tokens"]].tolist() == [0, 1, 128_001]


def test_an_answer_above_the_output_limit_does_not_fit(maintained):
    """GPT-4o writes 16,384 tokens at most."""
    requests = log([10, 10], [16_384, 16_385])
    assert limits.fits_window(requests, maintained, ["gpt-4o"])["too_long"].item() == 1


def test_shares_count_requests_and_tokens(maintained):
    """One of four requests, and 300,000 of 360,000 tokens, do not fit GPT-4o."""
    row = limits.fits_window(
        log([20_000, 20_000, 20_000, 300_000], 0), maintained, ["gpt-4o"]
    ).iloc[0]
    assert row["fits_share"] == 0.75
    assert row["fits_token_share"] == pytest.approx(60 / 360)


def test_a_window_that_no_source_states_is_not_known_and_never_fits(article):
    """The article gives windows of five of its nine models, and no limit of the answer."""
    table = limits.fits_window(log([10], 10), article).set_index("model_id")
    unknown = table[table["context_window"].isna()]
    assert set(unknown.index) == {
        "claude-haiku-4-5",
        "gpt-4o",
        "gpt-4o-mini",
        "gpt-5.5",
        "gemini-2.5-flash-lite",
    }
    assert unknown[["fits_share", "fits_token_share", "too_long"]].isna().all(axis=None)
    assert set(unknown["reason"]) == {limits.NO_WINDOW}
    assert set(table.drop(unknown.index)["reason"]) == {limits.NO_OUTPUT_LIMIT}


def test_what_has_no_length_is_refused(maintained):
    with pytest.raises(ValueError, match="not a single request: 1 row"):
        limits.fits_window(log([10], 10, aggregate=[True]), maintained)
    with pytest.raises(ValueError, match="not a single request: 1 row; lengths need"):
        limits.fits_window(log([10, 10], 10, requests=[1, 30]), maintained)
    with pytest.raises(ValueError, match="no requests"):
        limits.cliff_cost(log([], []), maintained)


@given(st.lists(st.integers(0, 2_000_000), min_size=1, max_size=20), st.integers(0, 16_000))
def test_a_larger_window_never_fits_fewer(inputs, output):
    """Answers that all three may write: then the window alone decides."""
    names = ["gpt-4o", "claude-haiku-4-5", "claude-opus-4-8"]
    table = limits.fits_window(log(inputs, output), MAINTAINED, names)
    assert table["fits_share"].is_monotonic_increasing


def test_the_step_doubles_every_token_of_a_long_request(article):
    """Gemini 3.1 Pro: 2 / 12 up to 200,000 tokens, 4 / 18 above. 100,000 + 1,000 cost 0.212 both ways; 300,000 + 1,000 cost
    1.218 above and 0.612 at the rates below. Opus 4.8 has no step."""
    requests = log([100_000, 300_000], 1_000)
    table = limits.cliff_cost(requests, article, ["gemini-3.1-pro-preview", "claude-opus-4-8"])
    row = table.iloc[0]
    assert row[["context_above", "above_share"]].tolist() == [200_000, 0.5]
    assert row[["cost_usd", "base_usd", "added_usd"]].tolist() == pytest.approx(
        [0.212 + 1.218, 0.212 + 0.612, 0.606]
    )
    assert row["added_share"] == pytest.approx(0.606 / 0.824)
    assert table.loc[1, ["above_share", "added_usd"]].tolist() == [0, 0]
    assert np.isnan(table.loc[1, "context_above"])


def test_at_the_step_the_lower_rate_holds(article):
    row = limits.cliff_cost(log([200_000, 200_001], 0), article, ["gemini-3.1-pro-preview"]).iloc[0]
    assert row["above_share"] == 0.5
    assert row["added_usd"] == pytest.approx(200_001 * 2 / 1e6)


def test_the_article_s_cliff_break_even_makes_the_bill_equal(article):
    """At the share that `cliff_break_even` names, Gemini 3.1 Pro's bill is that of a flat model at 3 USD per million."""
    step = "gemini-3.1-pro-preview"
    below, above = (
        0.4 + 0.012,
        0.800004 + 0.018,
    )  # 200,000 or 200,001 input tokens and 1,000 output tokens
    share = tl.cliff_break_even(below, above, 0.6)
    long = round(share * 10_000)
    requests = log(np.r_[np.full(10_000 - long, 200_000), np.full(long, 200_001)], 1_000)
    row = limits.cliff_cost(requests, article, [step]).iloc[0]
    assert row["cost_usd"] == pytest.approx(10_000 * 0.6, rel=1e-4)
    assert row["above_share"] == pytest.approx(share, abs=1e-4)


def test_the_bill_with_steps_is_that_of_price(maintained):
    requests = log([50_000, 150_000, 300_000], [10, 20, 30])
    table = limits.cliff_cost(requests, maintained, ["claude-haiku-5-5", "gpt-6-luna"])
    for row in table.itertuples():
        assert row.cost_usd == pytest.approx(
            tl.price(requests.assign(model_id=row.model_id), maintained)["cost_usd"].sum()
        )


def test_over_the_window_is_flagged_and_priced(maintained):
    table = limits.cliff_cost(log([130_000], 0), maintained, ["gpt-4o", "claude-opus-4-8"])
    assert table["flags"].str.contains("over_window").tolist() == [True, False]


def test_another_day_has_other_windows():
    """In June 2026 the small model of Anthropic's lineup held 200,000 tokens, in November a million."""
    requests = log([500_000], 100)
    june, november = (
        tl.load_prices("maintained", as_of=day) for day in ("2026-06-12", "2026-11-23")
    )
    shares = [
        limits.fits_window(requests, p, [p.lineup().loc["anthropic", "small"]])["fits_share"].item()
        for p in (june, november)
    ]
    assert shares == [0, 1]
