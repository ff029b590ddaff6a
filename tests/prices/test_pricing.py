"""Pricing: dollars by bucket, equal to the arithmetic and to genai-prices; wrong input never passes silently."""

from datetime import datetime

import genai_prices
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tierlab as tl
from tierlab.core.vocabulary import BUCKETS
from tierlab.prices.pricing import COST_COLUMNS, FLAGS, flag_names


def table(model="claude-opus-4-8", uncached=500, output=300, **columns):
    return pd.DataFrame(
        {"model_id": model, "uncached_input_tokens": uncached, "output_tokens": output, **columns},
        index=columns.pop("index", [0]),
    )


def cost(requests, prices, **options):
    return tl.price(requests, prices, **options)["cost_usd"].tolist()


def test_the_articles_worked_examples(article):
    """One million messages of 500 in and 300 out: $10,000 on Opus, $2,000 on Haiku."""
    per_million = [
        1e6 * c for c in cost(table(["claude-opus-4-8", "claude-haiku-4-5"], index=[0, 1]), article)
    ]
    assert per_million == pytest.approx([10_000, 2_000], rel=1e-12)
    assert 0.8 * per_million[1] + 0.2 * per_million[0] == pytest.approx(3_600, rel=1e-12)


def test_every_bucket_at_its_own_rate(maintained):
    """Opus 5.5: 4 input, 0.20 read, 5 and 8 written, 20 out; batch halves all (genai-prices 0.2.3)."""
    tokens = {
        "cache_read_tokens": 10**6,
        "cache_write_short_tokens": 10**6,
        "cache_write_long_tokens": 10**6,
    }
    row = tl.price(table("claude-opus-5-5", 10**6, 10**6, **tokens), maintained).iloc[0]
    assert row[list(COST_COLUMNS)].tolist() == pytest.approx([4, 0.2, 13, 20, 37.2])
    batch = tl.price(table("claude-opus-5-5", 10**6, 10**6, batch=True, **tokens), maintained).iloc[
        0
    ]
    assert batch[list(COST_COLUMNS)].tolist() == pytest.approx([2, 0.1, 6.5, 10, 18.6])


def test_a_context_step_is_a_cliff_on_the_whole_input(maintained):
    """Haiku 5.5 costs five times as much for every token above 100,000 of input; at 100,000 it does not."""
    at, above = cost(table("claude-haiku-5-5", [100_000, 100_001], 1000, index=[0, 1]), maintained)
    assert at == pytest.approx(0.1 * 0.1 + 0.0005)
    assert above == pytest.approx(100_001 * 0.5e-6 + 1000 * 2.5e-6)
    cached = table("claude-haiku-5-5", 50_000, 0, cache_read_tokens=50_001)
    assert cost(cached, maintained) == pytest.approx([50_000 * 0.5e-6 + 50_001 * 0.05e-6])


def test_article_range_is_a_context_step(article):
    assert cost(
        table("Gemini 3.1 Pro", [10**5, 3 * 10**5], 0, index=[0, 1]), article
    ) == pytest.approx([0.2, 1.2])


def _random_requests(prices, models, rng, n):
    held = prices.in_force().drop_duplicates("model_id").set_index("model_id")
    names = rng.choice(models, n)
    has = {
        b: held[b].reindex(names).notna().to_numpy()
        & ~held["write_assumed"].reindex(names).to_numpy()
        for b in BUCKETS
    }
    has["cache_read"] = held["cache_read"].reindex(names).notna().to_numpy()
    size = rng.choice([300, 60_000, 200_000], n)
    columns = {f"{b}_tokens": np.where(has[b], rng.integers(0, size), 0) for b in BUCKETS[1:4]}
    first = np.maximum(
        held["launched_on"].reindex(names).fillna(pd.Timestamp("2026-06-01")),
        pd.Timestamp("2025-01-01"),
    )
    days = (pd.Timestamp("2027-02-01") - pd.DatetimeIndex(first)).days.to_numpy()
    requests = table(
        names, rng.integers(0, size), rng.integers(0, 5000, n), index=range(n), **columns
    )
    requests["at"] = pd.DatetimeIndex(first) + pd.to_timedelta(rng.integers(1, days), unit="D")
    requests["batch"] = (rng.random(n) < 0.4) & (
        names != "gemini-3.5-flash"
    )  # genai-prices has no batch rate there
    return requests


def test_equals_genai_prices_on_1000_random_requests(maintained):
    """Input, output and total within 1e-9 relative, over all models of both lineups and dates after launch."""
    models = maintained.models("2026-06-12", reasoning=True) + maintained.models("2026-11-23")
    requests = _random_requests(maintained, models, np.random.default_rng(7), 1000)
    provider = maintained.frame.drop_duplicates("model_id").set_index("model_id")["provider"]
    priced = tl.price(requests, maintained, price_on="at")
    compared = 0
    for row, ours in zip(requests.itertuples(), priced.itertuples(), strict=True):
        if "assumed_batch_rate" in ours.flags:
            continue  # genai-prices has no batch rate before 2026-10-14 and bills the standard one in silence
        compared += 1
        reads, writes, hour = (
            row.cache_read_tokens,
            row.cache_write_short_tokens,
            row.cache_write_long_tokens,
        )
        usage = {
            "cache_read_tokens": reads,
            "cache_write_tokens": writes + hour,
            "cache_write_1h_tokens": hour,
        }
        theirs = genai_prices.calc_price(
            genai_prices.Usage(
                input_tokens=row.uncached_input_tokens + reads + writes + hour,
                output_tokens=row.output_tokens,
                **{key: value for key, value in usage.items() if value},
            ),
            row.model_id,
            provider_id=provider[row.model_id],
            genai_request_timestamp=datetime.fromisoformat(row.at.isoformat()),
            price_context={"processing": "batch"} if row.batch else None,
        )
        ours_in = ours.uncached_input_usd + ours.cache_read_usd + ours.cache_write_usd
        assert ours_in == pytest.approx(float(theirs.input_price), rel=1e-9), row
        assert ours.output_usd == pytest.approx(float(theirs.output_price), rel=1e-9), row
        assert ours.cost_usd == pytest.approx(float(theirs.total_price), rel=1e-9), row
    assert compared > 600
    assert set(requests["model_id"]) == set(models)


def test_price_on_at_uses_each_rows_own_utc_day(maintained):
    """Gemini 4 Argon doubles on 2026-12-01, UTC."""
    at = pd.to_datetime(["2026-11-30 23:59:59", "2026-12-01 00:00:00"])
    requests = table("gemini-4-argon", 10**6, 0, index=[0, 1]).assign(at=at)
    assert cost(requests, maintained, price_on="at") == pytest.approx([2, 4])
    assert cost(requests, maintained) == pytest.approx([2, 2])
    zoned = requests.assign(
        at=pd.to_datetime(["2026-11-30 20:00:00-05:00", "2026-12-01 00:30:00+01:00"], utc=True)
    )
    assert cost(zoned, maintained, price_on="at") == pytest.approx([4, 2])


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        (
            lambda: table().rename(columns={"output_tokens": "ouput_tokens"}),
            "unknown column 'ouput_tokens'; did you mean 'output_tokens'",
        ),
        (lambda: table(cached_tokens=5), "unknown column 'cached_tokens'"),
        (lambda: table().rename(columns={"uncached_input_tokens": "input_tokens"}), "split_input"),
        (lambda: table().drop(columns="output_tokens"), "column 'output_tokens' is missing"),
        (lambda: table("gpt-4-o"), "unknown model 'gpt-4-o'; did you mean 'gpt-4o'"),
        (
            lambda: table(pd.Categorical(["gpt-4-o"])),
            "unknown model 'gpt-4-o'.*first row 0, column 'model_id'",
        ),
        (lambda: table(None), "a missing model"),
        (
            lambda: table(uncached=-1),
            "a negative count in 1 row; first row 0, column 'uncached_input_tokens': -1",
        ),
        (lambda: table(output=1.5), "a fractional count in 1 row.*'output_tokens': 1.5"),
        (lambda: table(output=np.nan), "a missing count"),
        (lambda: table(output=pd.array([None], "Int64")), "a missing count"),
        (lambda: table(output=np.inf), "a fractional count"),
        (lambda: table(output="300"), "counts are whole numbers"),
        (lambda: table(reasoning_tokens=301), "more reasoning than output tokens"),
        (lambda: table(batch="yes"), "must be true or false"),
        (
            lambda: table("gpt-4o", cache_write_short_tokens=5, batch=True).assign(
                model_id="gpt-5-mini"
            ),
            "'gpt-5-mini' has no batch rate for cache_write_short",
        ),
        (
            lambda: table("gpt-5-mini", cache_write_short_tokens=5),
            "'gpt-5-mini' has no rate for cache_write_short",
        ),
        (
            lambda: table("gpt-6-astra", cache_write_long_tokens=5),
            "'gpt-6-astra' has no rate for cache_write_long",
        ),
        (
            lambda: table("gemini-3.7-flash", batch=True),
            "'gemini-3.7-flash' has no batch rate for uncached_input",
        ),
    ],
)
def test_what_other_libraries_answer_in_silence_raises(maintained, requests, message):
    with pytest.raises(ValueError, match=message):
        tl.price(requests(), maintained)


def test_misspelt_options_raise(article):
    with pytest.raises(TypeError, match="price_onn"):
        tl.price(table(), article, price_onn="at")
    with pytest.raises(ValueError, match="price_on='att': unknown option 'att'; did you mean 'at'"):
        tl.price(table(), article, price_on="att")
    with pytest.raises(ValueError, match="needs a column 'at'"):
        tl.price(table(), article, price_on="at")
    with pytest.raises(ValueError, match="dtype"):
        tl.price(table(at="2026-06-12"), article, price_on="at")
    with pytest.raises(ValueError, match="a missing time"):
        tl.price(table(at=pd.NaT), article, price_on="at")


def flags(requests, prices, **options):
    return tl.price(requests, prices, **options)["flags"].astype(str).tolist()


def test_assumptions_come_back_flagged_and_strict_raises(article, maintained):
    june = tl.load_prices("maintained", as_of="2026-06-12")
    cases = [
        (table("gpt-5.5"), article, {}, "approximate_price"),
        (table("gpt-4o", batch=True), june, {}, "assumed_batch_rate"),
        (table("gpt-4o", cache_write_short_tokens=5), maintained, {}, "assumed_write_rate"),
        (table("gpt-4o", 128_001), maintained, {}, "over_window"),
        (
            table("claude-opus-4-8", at=pd.Timestamp("2023-11-16")),
            maintained,
            {"price_on": "at"},
            "before_launch",
        ),
        (table("o4-mini"), maintained, {}, "after_retirement"),
        (
            table("claude-opus-4-8"),
            tl.load_prices("article", as_of="2026-06-11"),
            {},
            "before_first_price",
        ),
        (
            table("claude-opus-4-8"),
            tl.load_prices("article", as_of="2026-12-10"),
            {},
            "stale_price",
        ),
        (table("gpt-5.5", aggregate=True, requests=9), maintained, {}, "aggregate_without_band"),
    ]
    for requests, prices, options, flag in cases:
        assert flags(requests, prices, **options) == [flag], flag
        with pytest.raises(ValueError, match=f"flags in 1 row, .*{flag}"):
            tl.price(requests, prices, strict=True, **options)
    assert flags(table("gpt-4o", 128_000, batch=True, cache_read_tokens=0), maintained) == [""]
    assert flags(table("gpt-4o", cache_write_short_tokens=[0, 5], index=[0, 1]), maintained) == [
        "",
        "assumed_write_rate",
    ]
    assert flags(table("gpt-5.5", aggregate=True, context_above=0), maintained) == [""]


@given(st.lists(st.integers(0, 2 ** len(FLAGS) - 1) | st.sampled_from([0, 4]), max_size=6))
def test_flag_names_spell_every_bit(bits):
    names = flag_names(np.array(bits, "uint16"))
    assert names.tolist() == [
        ";".join(flag for place, flag in enumerate(FLAGS) if row >> place & 1) for row in bits
    ]
    assert set(names.categories) == (set(names) or {""})


def test_batch_before_it_was_verified_keeps_the_ratio():
    """Opus 4.8's batch rate is half on 2026-10-14; in June the same half is assumed, and said so."""
    june = tl.load_prices("maintained", as_of="2026-06-12")
    assert cost(table("claude-opus-4-8", 10**6, 10**6, batch=True), june) == pytest.approx(
        [2.5 + 12.5]
    )
    october = tl.load_prices("maintained", as_of="2026-10-14")
    assert flags(table("claude-opus-4-8", batch=True), october) == [""]


def test_aggregate_rows_use_the_band_their_source_reports(maintained):
    """GPT-5.5: 5 up to 272k of input, 10 above; a day's total says nothing about the length of one request."""
    requests = table(
        "gpt-5.5", 10**7, 0, index=[0, 1, 2], aggregate=True, context_above=[0, 272_000, np.nan]
    )
    assert cost(requests, maintained) == pytest.approx([50, 100, 50])
    assert cost(requests, maintained, aggregate_band="highest") == pytest.approx([50, 100, 100])
    assert flags(requests, maintained, aggregate_band="highest") == [
        "",
        "",
        "aggregate_without_band",
    ]


@pytest.mark.parametrize("several", [100, 100.0, 2])
def test_a_row_of_several_requests_is_a_sum_whether_or_not_it_says_so(maintained, several):
    """A day's 100 requests of 10,000 input tokens are not one of a million: 5 dollars at GPT-5.5's base rate, not 10."""
    daily = table("gpt-5.5", 10**6, 0, requests=several)
    assert (
        cost(daily, maintained)
        == cost(daily.assign(aggregate=False), maintained)
        == pytest.approx([5])
    )
    assert (
        flags(daily, maintained)
        == flags(daily.assign(aggregate=True), maintained)
        == ["aggregate_without_band"]
    )
    assert cost(daily, maintained, aggregate_band="highest") == pytest.approx([10])
    assert cost(daily.assign(context_above=272_000), maintained) == pytest.approx([10])
    single = daily.assign(requests=pd.array([None if several == 2 else 1], "Int64"))
    assert cost(single, maintained) == pytest.approx([10]) and flags(single, maintained) == [""]


def test_a_total_is_priced_at_the_base_rate_on_another_model_too(maintained):
    daily = table("gpt-5.5", 10**6, 0, requests=100)
    assert tl.reprice(daily, maintained, ["gpt-5.5"])["gpt-5.5"].tolist() == pytest.approx([5])


def test_residency_multiplies_by_region(article):
    requests = table(index=[0, 1], region=["us", "global"])
    assert cost(requests, article, residency={"us": 1.1, "global": 1.0}) == pytest.approx(
        [0.011, 0.01]
    )
    with pytest.raises(ValueError, match="a region without a multiplier"):
        tl.price(requests, article, residency={"us": 1.1})


def test_reprice_and_token_ratio(article):
    requests = table().drop(columns="model_id")
    result = tl.reprice(
        requests,
        article,
        ["Claude Haiku 4.5", "gemini-2.5-flash-lite"],
        token_ratio={"gemini-2.5-flash-lite": 0.8},
    )
    assert result.iloc[0].tolist() == pytest.approx([0.002, 0.8 * (500 * 0.1e-6 + 300 * 0.4e-6)])
    with pytest.raises(ValueError, match="not among the models"):
        tl.reprice(requests, article, ["gpt-4o"], token_ratio={"gpt-4o-mini": 1.2})
    with pytest.raises(ValueError, match="a ratio is a number above 0"):
        tl.reprice(requests, article, ["gpt-4o"], token_ratio={"gpt-4o": 0})


def test_reprice_says_what_was_assumed_for_which_model(article, maintained):
    requests = table(index=[0, 1], batch=[False, True], uncached=[500, 128_001]).drop(
        columns="model_id"
    )
    june = tl.load_prices("maintained", as_of="2026-06-12")
    assert tl.reprice(requests, june, ["gpt-4o", "o3"], over_window="price").attrs["flags"] == {
        "gpt-4o": "assumed_batch_rate;over_window",
        "o3": "assumed_batch_rate",
    }
    assert tl.reprice(requests, maintained, ["gemini-3.5-flash", "o3"]).attrs["flags"] == {
        "gemini-3.5-flash": "after_retirement"
    }
    assert tl.reprice(
        requests.drop(columns="batch"), article, ["gpt-5.5", "Claude Opus 4.8"]
    ).attrs["flags"] == {"gpt-5.5": "approximate_price"}


def test_reprice_refuses_what_does_not_fit(maintained):
    requests = table(uncached=128_001)
    with pytest.raises(ValueError, match="input longer than the window of gpt-4o in 1 row"):
        tl.reprice(requests, maintained, ["gpt-4o"])
    assert tl.reprice(requests, maintained, ["gpt-4o"], over_window="price").iloc[
        0, 0
    ] == pytest.approx(128_001 * 2.5e-6 + 0.003)


def test_split_input_counts_cached_tokens_once():
    log = pd.DataFrame(
        {
            "input_tokens": [1000],
            "cache_read_tokens": [800],
            "cache_write_short_tokens": [50],
            "output_tokens": [40],
            "reasoning_tokens": [60],
        }
    )
    with pytest.raises(ValueError, match="more reasoning than output"):
        tl.split_input(log, cache_inside=True)
    inside = tl.split_input(log, cache_inside=True, reasoning_inside=False).iloc[0]
    assert (inside["uncached_input_tokens"], inside["output_tokens"]) == (150, 100)
    outside = tl.split_input(log.drop(columns="reasoning_tokens"), cache_inside=False).iloc[0]
    assert outside["uncached_input_tokens"] == 1000
    with pytest.raises(ValueError, match="more cached than input tokens in 1 row"):
        tl.split_input(log.assign(input_tokens=849), cache_inside=True, reasoning_inside=False)
    with pytest.raises(TypeError, match="cache_inside"):
        tl.split_input(log)


counts = st.integers(0, 90_000)
requests_strategy = st.lists(
    st.tuples(
        counts,
        counts,
        counts,
        st.booleans(),
        st.sampled_from(["gpt-6-luna", "claude-haiku-5-5", "gpt-4o", "o3"]),
    ),
    min_size=1,
    max_size=8,
)


def _frame(rows):
    columns = ["uncached_input_tokens", "cache_read_tokens", "output_tokens", "batch", "model_id"]
    return pd.DataFrame(rows, columns=columns)


@given(requests_strategy, st.randoms(use_true_random=False))
def test_rows_are_priced_independently_of_their_neighbours(rows, random):
    prices = tl.load_prices("maintained")
    requests = _frame(rows)
    whole = tl.price(requests, prices)
    order = list(range(len(rows)))
    random.shuffle(order)
    pd.testing.assert_frame_equal(
        whole.iloc[order].astype({"flags": str}),
        tl.price(requests.iloc[order], prices).astype({"flags": str}),
    )
    categorical = tl.price(requests.astype({"model_id": "category"}), prices)
    pd.testing.assert_frame_equal(whole, categorical)


@given(requests_strategy)
def test_parts_sum_to_the_cost_and_more_tokens_never_cost_less(rows):
    prices = tl.load_prices("maintained")
    requests = _frame(rows)
    result = tl.price(requests, prices)
    parts = result[["uncached_input_usd", "cache_read_usd", "cache_write_usd", "output_usd"]].sum(
        axis=1
    )
    np.testing.assert_allclose(parts, result["cost_usd"], rtol=1e-12)
    assert (result["cost_usd"] >= 0).all()
    more = tl.price(requests.assign(output_tokens=requests["output_tokens"] + 1), prices)
    assert (more["cost_usd"] > result["cost_usd"]).all()


def test_index_is_kept_and_an_empty_table_is_no_error(article):
    assert tl.price(table(index=["a"]), article).index.tolist() == ["a"]
    assert tl.price(table().iloc[:0], article).shape == (0, 6)


def test_many_blocks_give_the_same_as_one(maintained, monkeypatch):
    import tierlab.prices.pricing

    requests = _random_requests(maintained, maintained.models(), np.random.default_rng(3), 500)
    whole = tl.price(requests, maintained, price_on="at")
    monkeypatch.setattr(tierlab.prices.pricing, "_BLOCK", 37)
    pd.testing.assert_frame_equal(whole, tl.price(requests, maintained, price_on="at"))
    with pytest.raises(ValueError, match="first row 444"):
        tl.price(
            requests.assign(
                output_tokens=requests["output_tokens"].where(requests.index != 444, -1)
            ),
            maintained,
        )


@pytest.mark.parametrize("dtype", ["Int64", float])
def test_a_source_that_reports_no_reasoning_is_priced_all_the_same(article, dtype):
    """The count of reasoning tokens changes no price, but where a log has it, it must fit."""
    requests = (
        table()
        .iloc[[0, 0]]
        .reset_index(drop=True)
        .assign(reasoning_tokens=pd.Series([None, 60], dtype=dtype))
    )
    assert tl.price(requests, article)["cost_usd"].nunique() == 1
    with pytest.raises(ValueError, match="more reasoning than output"):
        tl.price(requests.assign(reasoning_tokens=pd.Series([None, 10**6], dtype=dtype)), article)
