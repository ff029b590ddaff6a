"""Rate limits against arithmetic in the open; the token bucket against a step-by-step simulation and its own laws."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierlab.scaling.workload import TRACE_ORIGIN, Workload
from tierlab.speed import limits

START = pd.Timestamp("2026-01-01")


def log(seconds, uncached, output=0, **more):
    at = START + pd.to_timedelta(seconds, unit="s")
    return pd.DataFrame(
        {"at": at, "uncached_input_tokens": uncached, "output_tokens": output, **more}
    )


def own_limits(tmp_path, text):
    path = tmp_path / "limits.csv"
    path.write_text(text)
    return limits.load_rate_limits(path)


def test_documented_figures_are_those_of_the_providers_pages():
    """Anthropic's page of 2026-10-08 and OpenAI's model pages of 2026-09-24, typed here anew."""
    table = limits.load_rate_limits().set_index(["model_id", "limit_tier"])
    for model in ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"):
        for tier, row in {
            "Start": (1e3, 2e6, 4e5),
            "Build": (5e3, 5e6, 1e6),
            "Scale": (1e4, 1e7, 2e6),
        }.items():
            assert tuple(table.loc[(model, tier), ["rpm", "itpm", "otpm"]]) == row
    assert table.loc["gpt-4o-mini"][["rpm", "tpm"]].values.tolist() == [
        [500, 2e5],
        [5e3, 2e6],
        [5e3, 4e6],
        [1e4, 1e7],
        [3e4, 1.5e8],
    ]
    assert table.loc["gpt-4o", "tpm"].tolist() == [3e4, 4.5e5, 8e5, 2e6, 3e7]
    assert table.loc["gpt-6-astra", "tpm"].tolist() == [5e5, 1e6, 2e6, 4e6, 4e7]
    assert set(table["source"].str.split("/").str[2]) == {
        "platform.claude.com",
        "developers.openai.com",
    }
    assert "google" not in set(table["provider"])  # publishes none by model, and none is guessed


def test_limits_only_grow_from_one_limit_tier_to_the_next():
    for _, tiers in limits.load_rate_limits().groupby("model_id"):
        for name in limits.LIMITS:
            assert tiers[name].dropna().is_monotonic_increasing


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("provider,limit_tier,model_id\na,T1,m\n", "column 'cached_input' is missing"),
        (
            "provider,limit_tier,model_id,cached_input,rpm\na,T1,m,free,-5\n",
            "not above 0 in 1 row; first row 2, column 'rpm': -5",
        ),
        (
            "provider,limit_tier,model_id,cached_input,rpm\na,T1,m,free,many\n",
            "first row 2, column 'rpm': 'many'",
        ),
        (
            "provider,limit_tier,model_id,cached_input,rpm,tpm\na,T1,m,free,5,\na,T2,m,free,,\n",
            "no limit at all in 1 row; first row 3, column 'limit_tier': 'T2'",
        ),
        (
            "provider,limit_tier,model_id,cached_input,rpm\na,T1,m,free,5\na,T1,m,free,6\n",
            "a limit tier twice in 1 row; first row 3",
        ),
        ("provider,limit_tier,model_id,cached_input,rpm\na,T1,m,fre,5\n", "did you mean 'free'"),
        (
            "provider,limit_tier,model_id,cached_input,rpm\na,T2,m,free,9\na,T1,m,free,5\n",
            "small to large.* first row 3, column 'limit_tier': 'T1'",
        ),
        ("provider,limit_tier,model_id,cached_input,rpmm\na,T1,m,free,5\n", "did you mean 'rpm'"),
    ],
)
def test_a_wrong_file_of_limits_is_refused_by_name(tmp_path, text, words):
    with pytest.raises(ValueError, match=rf"limits\.csv: .*{words}"):
        own_limits(tmp_path, text)


def test_minutes_hold_what_falls_into_them_and_idle_ones_count():
    requests = log(
        [0, 59.9, 60, 185],
        [100, 200, 400, 800],
        [1, 2, 4, 8],
        cache_read_tokens=[0, 10, 0, 0],
        cache_write_short_tokens=[0, 0, 50, 0],
        cache_write_long_tokens=[0, 0, 0, 7],
    )
    usage = limits.usage_per_minute(requests.sample(frac=1, random_state=1))
    assert usage["requests"].tolist() == [2, 1, 0, 1]
    assert usage["uncached_tokens"].tolist() == [
        300,
        450,
        0,
        807,
    ]  # a written token counts, a read one does not
    assert usage["cache_read_tokens"].tolist() == [10, 0, 0, 0]
    assert usage["output_tokens"].tolist() == [3, 4, 0, 8]


def test_batch_requests_are_left_out_and_counted():
    usage = limits.usage_per_minute(log([0, 1, 2], [5, 6, 7], batch=[True, False, True]))
    assert usage["uncached_tokens"].tolist() == [6]
    assert usage.attrs["batch_requests"] == 2
    with pytest.raises(ValueError, match="no request outside of a batch"):
        limits.usage_per_minute(log([0], [5], batch=[True]))


def test_what_has_no_minute_is_refused():
    with pytest.raises(ValueError, match="'at' is missing"):
        limits.usage_per_minute(log([0], [5]).drop(columns="at"))
    with pytest.raises(ValueError, match="not a single request: 1 row"):
        limits.usage_per_minute(log([0, 1], [5, 6], aggregate=[True, False]))
    with pytest.raises(ValueError, match="a negative count"):
        limits.usage_per_minute(log([0], [-5]))


def test_a_quantile_is_a_minute_that_was_seen():
    """Of 1 to 100, 99 values do not pass 99; of 1 to 60, 59 are 98.3 %, so the 99th percentile is the busiest."""
    usage = pd.DataFrame({"requests": np.arange(1, 101)})
    assert limits.usage_quantiles(usage).loc["requests"].to_dict() == {
        "mean": 50.5,
        "p50": 50,
        "p95": 95,
        "p99": 99,
        "max": 100,
    }
    assert limits.usage_quantiles(usage.head(60))["p99"].item() == 60


def test_a_row_that_stands_for_several_requests_is_refused():
    with pytest.raises(
        ValueError, match="not a single request: 1 row; minutes need one row per request"
    ):
        limits.usage_per_minute(log([0, 1], [5, 6], requests=[1, 25]))
    assert limits.usage_per_minute(log([0], [5], requests=[1]))["requests"].tolist() == [1]


def minute(requests, uncached, read, output):
    return pd.DataFrame(
        {
            "requests": [requests],
            "uncached_tokens": uncached,
            "cache_read_tokens": read,
            "output_tokens": output,
        }
    )


FILE = """provider,limit_tier,model_id,cached_input,rpm,itpm,otpm,tpm
a,Start,m,free,100,1000,500,
a,Build,m,free,200,2000,600,
b,Tier 1,n,counted,100,,,4000
b,Tier 2,n,counted,300,,,9000
"""


def test_loads_are_shares_of_each_limit(tmp_path):
    """50 requests of 100; 1,500 uncached of 1,000; 300 output of 500. Elsewhere 1,500 + 3,000 read + 300 = 4,800 of 4,000."""
    table = limits.loads(minute(50, 1500, 3000, 300), own_limits(tmp_path, FILE))
    assert table.loc[0, ["rpm", "itpm", "otpm"]].tolist() == pytest.approx([0.5, 1.5, 0.6])
    assert table.loc[2, "tpm"] == pytest.approx(1.2)
    assert table["carries"].tolist() == [False, True, False, True]
    assert table["binding"].tolist() == ["input tokens", "input tokens", "all tokens", "all tokens"]
    assert np.isnan(table.loc[2, "itpm"])  # a limit that does not exist is not a full one


def test_the_smallest_limit_tier_what_rules_out_the_one_below_and_what_is_left(tmp_path):
    table = limits.smallest_of(
        limits.loads(minute(50, 1500, 3000, 300), own_limits(tmp_path, FILE))
    ).set_index("model_id")
    assert table["limit_tier"].to_dict() == {"m": "Build", "n": "Tier 2"}
    assert table["ruled_out_below"].to_dict() == {"m": "input tokens", "n": "all tokens"}
    assert table.loc["m", ["used", "headroom"]].tolist() == pytest.approx([0.75, 1 / 0.75 - 1])
    passed = limits.smallest_of(
        limits.loads(minute(250, 0, 0, 0), own_limits(tmp_path, FILE))
    ).iloc[0]
    assert pd.isna(passed["limit_tier"])
    assert passed["headroom"] == pytest.approx(200 / 250 - 1)


def test_at_the_limit_it_fits():
    assert (
        limits.smallest_of(limits.loads(minute(1000, 0, 0, 0), limits.load_rate_limits()))[
            "limit_tier"
        ].iloc[0]
        == "Start"
    )
    assert (
        limits.smallest_of(limits.loads(minute(1001, 0, 0, 0), limits.load_rate_limits()))[
            "limit_tier"
        ].iloc[0]
        == "Build"
    )


def test_requests_in_the_minutes_that_the_quantile_leaves_out_are_counted(tmp_path):
    """One busy minute of 300 in 200: the 99th percentile is 1 request and fits 100 a minute, though 300 of 499 do not."""
    usage = pd.concat([minute(1, 10, 0, 5)] * 199 + [minute(300, 10, 0, 5)], ignore_index=True)
    row = limits.smallest_of(limits.loads(usage, own_limits(tmp_path, FILE))).iloc[0]
    assert row[["limit_tier", "used"]].tolist() == ["Start", 0.01]
    assert row["over_share"] == pytest.approx(300 / 499)
    # tokens count as well: 400 uncached and 700 read pass 1,000 where reads count, and do not where they are free
    text = "provider,limit_tier,model_id,cached_input,itpm\na,T,m,free,1000\na,T,n,counted,1000\n"
    table = limits.loads(minute(1, 400, 700, 5), own_limits(tmp_path, text))
    assert table["over_share"].tolist() == [0, 1]


def test_a_limit_per_day_is_held_against_the_busiest_day(tmp_path):
    """Six days of 1 a minute (1,440) and one of 8 (11,520): the mean is 2,880 a day, and 10,000 a day is passed."""
    rate = np.repeat([1, 1, 1, 8, 1, 1, 1], 1440)
    usage = pd.DataFrame(
        {"requests": rate, "uncached_tokens": 0, "cache_read_tokens": 0, "output_tokens": 0}
    )
    table = own_limits(
        tmp_path, "provider,limit_tier,model_id,cached_input,rpd\na,T,m,free,10000\n"
    )
    assert limits.loads(usage, table)["rpd"].item() == pytest.approx(1.152)


def test_a_limit_per_day_counts_the_mean_rate_over_a_day():
    """7 a minute are 10,080 a day: above the 10,000 of gpt-4o-mini's first tier, far below its 500 a minute."""
    table = limits.load_rate_limits().query("model_id == 'gpt-4o-mini'")
    assert (
        limits.smallest_of(limits.loads(minute(7, 0, 0, 0), table))["ruled_out_below"].item()
        == "requests a day"
    )
    assert (
        limits.smallest_of(limits.loads(minute(6, 0, 0, 0), table))["limit_tier"].item() == "Tier 1"
    )


DOCUMENTED = limits.load_rate_limits().query("model_id in ['claude-haiku-5-5', 'gpt-4o-mini']")


@given(
    st.integers(1, 20_000),
    st.integers(0, 10**7),
    st.integers(0, 10**7),
    st.integers(0, 10**6),
    st.floats(1, 10),
)
def test_more_traffic_never_needs_a_smaller_limit_tier(requests, uncached, read, output, factor):
    table = DOCUMENTED
    place = {
        key: i for i, key in enumerate(zip(table["model_id"], table["limit_tier"], strict=True))
    }
    use = minute(requests, uncached, read, output)
    small, large = (limits.smallest_of(limits.loads(u, table)) for u in (use, use * factor))
    for a, b in zip(small.itertuples(), large.itertuples(), strict=True):
        assert (
            pd.isna(b.limit_tier)
            or place[(a.model_id, a.limit_tier)] <= place[(b.model_id, b.limit_tier)]
        )


arrivals = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 60)), min_size=1, max_size=40
)  # (gap in tenths, tokens)
rates, sizes = st.integers(1, 1200), st.integers(1, 100)


def as_arrays(pairs):
    gaps, tokens = np.array(pairs).T
    return np.cumsum(gaps) / 10, tokens.astype(float)


@given(arrivals, rates, sizes)
def test_what_is_let_in_never_passes_capacity_and_refill(pairs, per_minute, capacity):
    """Over any stretch of time: at most a full bucket and what was refilled meanwhile."""
    at, tokens = as_arrays(pairs)
    kept = ~limits.token_bucket(at, tokens, per_minute=per_minute, capacity=capacity)
    times, let_in = at[kept], tokens[kept]
    for first in range(len(times)):
        total = np.cumsum(let_in[first:])
        room = capacity + per_minute / 60 * (times[first:] - times[first])
        assert (total <= room + 1e-6).all()


@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=60),
    rates,
    st.integers(1, 20),
    st.integers(1, 5),
    st.floats(1, 5),
)
def test_more_refill_never_refuses_more_requests_of_one_size(
    gaps, per_minute, capacity, size, factor
):
    at = np.cumsum(gaps) / 10
    slow, fast = (
        limits.token_bucket(at, np.full(len(at), size), per_minute=rate, capacity=capacity).sum()
        for rate in (per_minute, per_minute * factor)
    )
    assert fast <= slow


def test_of_mixed_sizes_more_refill_can_refuse_more_requests():
    """At 54 a minute the large second request finds 9 of its 10 and is refused, and ten small ones find 9; at 60 it is let
    in and leaves nothing for them."""
    at, tokens = np.r_[0.0, np.full(11, 10.0)], np.r_[10.0, 10.0, np.ones(10)]
    got = [limits.token_bucket(at, tokens, per_minute=rate, capacity=10).sum() for rate in (54, 60)]
    assert got == [2, 10]


@given(arrivals, sizes)
def test_enough_refill_refuses_nothing(pairs, extra):
    """A bucket that holds all of it has enough, whatever the arrivals."""
    at, tokens = as_arrays(pairs)
    assert not limits.token_bucket(at, tokens, per_minute=1, capacity=tokens.sum() + extra).any()


def test_the_bucket_by_hand():
    """60 a minute is one a second and the bucket holds 2: of three at once one is refused, one more at 1.5 s finds 1.5."""
    got = limits.token_bucket([0.0, 0.0, 0.0, 1.5], [1, 1, 1, 1], per_minute=60, capacity=2)
    assert got.tolist() == [False, False, True, False]


def test_replay_takes_from_each_limit_what_it_counts(tmp_path):
    """Five at once of 400 uncached, 300 read and 200 output tokens, and buckets that hold a minute: 1,000 uncached tokens let
    in two, 500 output tokens two, 4,000 of all tokens (900 each, reads counted) four. A bucket of one second at 4,000 a minute
    holds 66, so that none fits."""
    requests = log([0] * 5, 400, 200, cache_read_tokens=300)
    table = own_limits(tmp_path, FILE)
    got = limits.replay(requests, table.iloc[[0, 2]]).set_index(["model_id", "limit"])
    assert got["refused_share"].to_dict() == pytest.approx(
        {
            ("m", "requests"): 0,
            ("m", "input tokens"): 0.6,
            ("m", "output tokens"): 0.6,
            ("n", "requests"): 0,
            ("n", "all tokens"): 0.2,
        }
    )
    second = limits.replay(requests, table.iloc[[2]], burst_s=1).set_index("limit")
    assert second.loc["all tokens", "refused_share"] == 1


def test_a_bucket_of_requests_holds_one_at_least(tmp_path):
    """30 a minute enforced over one second: half a request. One every 2 s passes, and a second one in that time does not."""
    table = own_limits(tmp_path, "provider,limit_tier,model_id,cached_input,rpm\na,T,m,free,30\n")
    row = limits.replay(log([0, 2, 4, 5], 1), table, burst_s=1).iloc[0]
    assert row["refused_share"] == 0.25


@given(st.integers(2, 1200), st.integers(2, 300))
def test_arrivals_at_exactly_the_refill_are_never_refused(per_minute, number):
    """A bucket of one, full again when the next one comes: the limit is met and not passed, whatever the rounding."""
    spaced = np.arange(number) * (60 / per_minute)
    assert not limits.token_bucket(spaced, np.ones(number), per_minute=per_minute, capacity=1).any()


def test_simulated_arrivals_keep_rate_and_spread():
    """Counts per minute: mean 50, variance 50 + (0.4 x 50)^2 = 450 or, of a Poisson process, 50; within sampling error."""
    day = Workload(requests_per_day=3_000, input_tokens=1, output_tokens=1)
    for spread, variance in ((0.4, 450), (0.0, 50)):
        counts = []
        for seed in range(66):
            at = limits.busiest_hour(day, share=1.0, minute_spread=spread, seed=seed)["at"]
            minutes = (at - TRACE_ORIGIN).dt.total_seconds() // 60
            counts.append(np.bincount(minutes.astype(int), minlength=60))
        assert np.sum(counts) == 66 * 3_000 and np.shape(counts) == (66, 60)
        assert np.var(counts) == pytest.approx(variance, rel=0.08)
    with pytest.raises(ValueError, match="from 0 up"):
        limits.busiest_hour(day, share=1.0, minute_spread=-0.1, seed=1)


def test_the_busiest_hour_has_its_share_of_the_day_and_is_an_hour_long():
    """A tenth of 6,000 a day is 600 in the hour; of 10 a day one is the least."""
    work = Workload(requests_per_day=6_000, input_tokens=400, cache_hit_rate=0.25)
    hour = limits.busiest_hour(work, share=0.1, minute_spread=0.0, seed=1)
    minutes = (hour["at"] - TRACE_ORIGIN).dt.total_seconds() / 60
    assert len(hour) == 600 and minutes.between(0, 60).all() and minutes.max() > 55
    assert hour["cache_read_tokens"].sum() == 600 * 100
    assert len(limits.busiest_hour(Workload(requests_per_day=2), share=0.1, seed=1)) == 1
    with pytest.raises(ValueError, match="share"):
        limits.busiest_hour(work, share=0.0, seed=1)
