"""The quarterly analysis: effects that add up, sections against arithmetic in the open, and no empty table in silence."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import median_abs_deviation
from statsmodels.stats.proportion import proportion_confint

import tierlab as tl
from tests.proofs import runs
from tierlab.prices.daily import on_model, repriced, tiers_of
from tierlab.prices.pricing import COST_COLUMNS
from tierlab.quarter import analyse as quarter_analyse
from tierlab.quarter.aggregate import build_cube
from tierlab.quarter.ahead import Ahead, price_changes, retiring, successor
from tierlab.quarter.analyse import analyse
from tierlab.quarter.outlook import anomalies, robust_z
from tierlab.quarter.report import summary
from tierlab.quarter.savings import Terms, ranked, reconciliation, savings
from tierlab.quarter.variance import changes_by, variance
from tierlab.quarter.words import headline

PRICES = tl.load_prices("maintained", as_of="2026-10-01")
COUNTED = (
    "requests",
    "uncounted_rows",
    "rows",
    "attempts",
    "reasoning_tokens",
    "billed_usd",
    "billed_rows",
)
KEYS = ("day", "model_id", "task", "team", "batch", "status")


def daily(log):
    """`Cube.daily` of a small log by `tierlab.price`, the reference of the engine."""
    log = log.reset_index(drop=True).assign(
        day=lambda t: t["at"].dt.floor("D").astype("datetime64[us]"), rows=1
    )
    for bucket in tl.BUCKETS[1:4]:
        log[f"{bucket}_tokens"] = log.get(f"{bucket}_tokens", 0)
    one = pd.Series(1, log.index)
    log["uncounted_rows"] = log["requests"].isna().astype(int) if "requests" in log else 0
    log["requests"] = log.get("requests", one).fillna(0).astype(int)
    priced = tl.price(log.drop(columns=["day", "rows", "uncounted_rows"]), PRICES, price_on="at")
    log = log.join(priced[list(COST_COLUMNS)])
    sums = [c for c in log if c in COUNTED or c.endswith(("_tokens", "_usd"))]
    return log.groupby([k for k in KEYS if k in log], dropna=False, as_index=False)[
        list(dict.fromkeys(sums))
    ].sum()


def rows(day, model_id, n=1, **columns):
    """`n` requests of 1000 and 100 tokens on one day."""
    usual = {"uncached_input_tokens": 1000, "output_tokens": 100} | columns
    return pd.DataFrame({"at": pd.Timestamp(day), "model_id": model_id, **usual}, index=range(n))


def effects(before, now):
    return variance(daily(now), daily(before), PRICES).set_index("effect")["usd"]


def random_log(rng, quarter, models, aggregates):
    n = int(rng.integers(1, 40))
    start = pd.Period(quarter).start_time
    log = pd.DataFrame(
        {
            "at": start + pd.to_timedelta(rng.integers(0, 90, n), unit="D"),
            "model_id": rng.choice(models, n),
        }
    )
    for column, most in (
        ("uncached_input", 300_000),
        ("cache_read", 100_000),
        ("cache_write_short", 20_000),
        ("output", 5_000),
    ):
        log[f"{column}_tokens"] = rng.integers(0, most, n) * (rng.random(n) < 0.7)
    log["output_tokens"] += 1
    log["task"], log["batch"] = rng.choice(["a", "b", None], n), rng.random(n) < 0.3
    log["batch"] &= log["model_id"] != "gpt-5.6-terra"  # it has no batch rate yet
    if aggregates:
        log["aggregate"] = rng.random(n) < 0.5
        log["requests"] = pd.array(
            np.where(log["aggregate"] & (rng.random(n) < 0.5), pd.NA, rng.integers(1, 9, n)),
            "Int64",
        )
        log.loc[~log["aggregate"], "requests"] = 1
    return log


MODELS = [
    "claude-sonnet-4-6",
    "claude-haiku-4-5",
    "gpt-5.5",
    "gpt-5.6-terra",
    "gemini-3.1-pro-preview",
    "gpt-4o-mini",
    "o4-mini",
]


@settings(max_examples=runs(200), deadline=None)
@given(
    st.integers(0, 10**9),
    st.sets(st.sampled_from(MODELS), min_size=1),
    st.sets(st.sampled_from(MODELS), min_size=1),
    st.booleans(),
)
def test_effects_add_up_on_random_logs(seed, before, now, aggregates):
    rng = np.random.default_rng(seed)
    old, new = (
        daily(random_log(rng, q, sorted(m), aggregates))
        for q, m in (("2026Q2", before), ("2026Q3", now))
    )
    table = variance(new, old, PRICES)
    assert abs(table["usd"].sum() - (new["cost_usd"].sum() - old["cost_usd"].sum())) < 1e-6
    assert np.isfinite(table["usd"]).all()


# What changes, what it costs before and now (USD per million tokens x tokens), and the one effect that must hold it all.
ONLY = {
    "volume": (
        rows("2026-06-01", "claude-haiku-4-5", 2),
        rows("2026-08-03", "claude-haiku-4-5", 6),
    ),
    "task_mix": (
        pd.concat(
            [
                rows("2026-06-01", "gpt-4o", task="a"),
                rows("2026-06-01", "claude-haiku-4-5", 3, task="b"),
            ]
        ),
        pd.concat(
            [
                rows("2026-08-03", "gpt-4o", 3, task="a"),
                rows("2026-08-03", "claude-haiku-4-5", task="b"),
            ]
        ),
    ),
    "tier_mix": (
        pd.concat(
            [
                rows("2026-06-01", "claude-sonnet-4-6", task="a"),
                rows("2026-06-01", "claude-haiku-4-5", 3, task="a"),
            ]
        ),
        pd.concat(
            [
                rows("2026-08-03", "claude-sonnet-4-6", 3, task="a"),
                rows("2026-08-03", "claude-haiku-4-5", task="a"),
            ]
        ),
    ),
    "model_mix": (rows("2026-06-01", "claude-sonnet-4-6", 2), rows("2026-08-03", "gpt-4o", 2)),
    "tokens_per_request": (
        rows("2026-06-01", "gpt-4o", 2),
        rows("2026-08-03", "gpt-4o", 2, output_tokens=400),
    ),
    "cache_batch": (
        rows("2026-06-01", "claude-sonnet-4-6", 2),
        rows(
            "2026-08-03",
            "claude-sonnet-4-6",
            2,
            uncached_input_tokens=200,
            cache_read_tokens=700,
            cache_write_short_tokens=100,
        ),
    ),
    "price": (rows("2026-06-01", "gpt-5.6-terra", 2), rows("2026-08-03", "gpt-5.6-terra", 2)),
}


@pytest.mark.parametrize("effect", ONLY)
def test_what_changes_alone_holds_the_whole_change(effect):
    before, now = ONLY[effect]
    found = effects(before, now)
    change = daily(now)["cost_usd"].sum() - daily(before)["cost_usd"].sum()
    assert abs(change) > 1e-4
    assert found[effect] == pytest.approx(change, abs=1e-12)
    assert found.drop(effect).abs().max() < 1e-12


def test_batch_and_a_context_step_have_their_place():
    batched = effects(
        rows("2026-06-01", "gpt-4o", batch=False), rows("2026-08-03", "gpt-4o", batch=True)
    )
    assert batched["cache_batch"] == pytest.approx(-(1000 * 2.5 + 100 * 10) / 1e6 / 2)
    over = effects(
        rows("2026-06-01", "gpt-5.5", uncached_input_tokens=272_000),
        rows("2026-08-03", "gpt-5.5", uncached_input_tokens=272_001),
    )
    assert over["tokens_per_request"] == pytest.approx(
        (272_001 * 10 + 100 * 45 - 272_000 * 5 - 100 * 30) / 1e6
    )
    assert over["price"] == 0


def test_two_factors_share_what_they_make_together():
    """Twice the requests, three times the tokens: (1 + 3) / 2 = 2 and (2 + 4) / 2 = 3 of a change of 6 - 1 = 5."""
    unit = (1000 * 2.5 + 100 * 10) / 1e6
    found = effects(
        rows("2026-06-01", "gpt-4o"),
        rows("2026-08-03", "gpt-4o", 2, uncached_input_tokens=3000, output_tokens=300),
    )
    assert (found["volume"] / unit, found["tokens_per_request"] / unit) == (
        pytest.approx(2),
        pytest.approx(3),
    )


def test_a_price_change_within_the_quarter_is_weighted_by_the_tokens():
    """A third of the tokens before 30 July at 2.5 and 15, two thirds after at 2 and 12."""
    now = pd.concat([rows("2026-07-29", "gpt-5.6-terra"), rows("2026-07-30", "gpt-5.6-terra", 2)])
    found = effects(rows("2026-06-01", "gpt-5.6-terra", 3), now)
    assert found["price"] == pytest.approx(-2 * 0.2 * (1000 * 2.5 + 100 * 15) / 1e6)


def test_a_bucket_that_one_quarter_lacks_is_priced_by_the_catalogue():
    """Reads cost 0.25 before 30 July and 0.20 after, which only the second quarter makes: half of -800 and of -440."""
    now = rows("2026-08-03", "gpt-5.6-terra", uncached_input_tokens=200, cache_read_tokens=800)
    found = effects(rows("2026-06-01", "gpt-5.6-terra"), now)
    assert found["price"] * 1e6 == pytest.approx((-800 - 440) / 2)


def test_and_at_the_mean_rate_of_the_quarters_days():
    """No reads between 20 July and 9 August: 10 days at 0.25 and 11 at 0.20; input 2.25 on average, output 13.50."""
    then = rows("2026-06-01", "gpt-5.6-terra", 2, uncached_input_tokens=200, cache_read_tokens=800)
    now = pd.concat([rows(day, "gpt-5.6-terra") for day in ("2026-07-20", "2026-08-09")])
    reads = 800 * ((10 * 0.25 + 11 * 0.2) / 21 - 0.25)
    old_mix, new_mix = 200 * -0.25 + reads + 100 * -1.5, 1000 * -0.25 + 100 * -1.5
    assert effects(then, now)["price"] * 1e6 == pytest.approx(2 * (old_mix + new_mix) / 2)


def test_a_new_model_is_mix_not_price():
    found = effects(rows("2026-06-01", "gpt-4o"), rows("2026-08-03", "claude-sonnet-4-6"))
    assert found["model_mix"] == pytest.approx((1000 * 0.5 + 100 * 5) / 1e6)
    assert found["price"] == 0


def test_without_counts_volume_is_tokens_and_says_so():
    uncounted = {"aggregate": True, "requests": pd.array([pd.NA], "Int64")[0]}
    logs = [
        rows(day, "gpt-4o", **uncounted).astype({"requests": "Int64"})
        for day in ("2026-06-01", "2026-08-03")
    ]
    logs[1]["output_tokens"] = 200
    table = variance(daily(logs[1]), daily(logs[0]), PRICES)
    assert table["what"].tolist()[0] == "number of tokens"
    assert table["usd"].sum() == pytest.approx(100 * 10 / 1e6)


def test_variance_needs_both_quarters():
    now = daily(rows("2026-08-03", "gpt-4o"))
    with pytest.raises(ValueError, match="both quarters"):
        variance(now, now.iloc[:0], PRICES)


def test_changes_by_team_and_model():
    before, now = (
        daily(rows(day, "gpt-4o", n, team=team))
        for day, n, team in (("2026-06-01", 2, "a"), ("2026-08-03", 3, "b"))
    )
    table = changes_by(now, before).set_index(["by", "name"])["change_usd"]
    assert table.to_dict() == pytest.approx(
        {("team", "b"): 3 * 0.0035, ("team", "a"): -2 * 0.0035, ("model_id", "gpt-4o"): 0.0035}
    )


def test_repriced_equals_pricing_at_that_day_steps_included():
    log = random_log(
        np.random.default_rng(1), "2026Q3", ["gpt-5.6-terra", "gpt-5.5", "claude-haiku-4-5"], False
    )
    terra, table = log["model_id"] == "gpt-5.6-terra", daily(log)
    assert 0 < terra.sum() < len(log)
    assert log["uncached_input_tokens"].max() > 272_000
    for day in ("2026-06-30", "2026-09-30"):
        again = tl.price(log.assign(at=pd.Timestamp(day)), PRICES, price_on="at")["cost_usd"].sum()
        assert repriced(table, PRICES, day).sum() == pytest.approx(again, rel=1e-12)
    batch = tl.price(
        log[~terra].assign(batch=True, at=pd.Timestamp("2026-09-30")), PRICES, price_on="at"
    )["cost_usd"].sum()
    found = repriced(table, PRICES, "2026-09-30", batch=True)
    assert found.sum() == pytest.approx(batch, rel=1e-12)
    assert (
        found[table["model_id"] == "gpt-5.6-terra"].isna().all()
    )  # it has no batch rate on that day: unknown, not zero


def test_on_another_model_equals_reprice():
    log = rows("2026-08-03", "claude-sonnet-4-6", 3, cache_read_tokens=500)
    assert on_model(daily(log), PRICES, "claude-haiku-4-5", "2026-10-01").sum() == pytest.approx(
        tl.reprice(log, PRICES, ["claude-haiku-4-5"]).iloc[:, 0].sum()
    )


def test_tiers_of_the_day():
    """gpt-4o is mid in June's lineup and in none of November's; gpt-6.1-terra only in the latter."""
    names = ["gpt-4o", "gpt-4o", "gpt-6.1-terra", "o3", "gpt-5.6-terra"]
    days = pd.to_datetime(["2026-04-01", "2026-12-01", "2026-12-01", "2026-07-01", "2026-07-01"])
    assert tiers_of(PRICES, names, days).tolist() == [
        "mid",
        "mid",
        "mid",
        "reasoning",
        "other models",
    ]


def test_units_by_arithmetic():
    log = pd.concat(
        [rows("2026-08-03", "gpt-4o", 4, team="a"), rows("2026-08-03", "gpt-4o-mini", 1, team="b")]
    )
    users = pd.DataFrame(
        {
            "team": ["a"],
            "active_users": [2],
            "top_users": [1],
            "top_share": [0.75],
            "cost_usd": [0.014],
        }
    )
    table = quarter_analyse.units(daily(log), "team", users).set_index("name")
    assert table.loc[
        "a", ["usd_per_request", "tokens_per_request", "usd_per_active_user", "top_share"]
    ].tolist() == pytest.approx([0.0035, 1100, 0.007, 0.75])
    assert table.loc["a", "usd_per_1k_tokens"] == pytest.approx(0.0035 / 1.1)
    assert table.loc["b", "share"] == pytest.approx(0.00021 / 0.01421)


def test_cost_per_request_is_unknown_where_requests_are():
    log = rows("2026-08-03", "gpt-4o", 2, aggregate=True).assign(
        requests=pd.array([5, pd.NA], "Int64")
    )
    assert quarter_analyse.units(daily(log))["usd_per_request"].isna().all()
    assert quarter_analyse.units(daily(log.head(1)))["usd_per_request"].tolist() == pytest.approx(
        [0.0035 / 5]
    )


def test_cache_saving_by_arithmetic():
    """Sonnet 4.6: input 3, read 0.3, write 3.75 per million."""
    log = rows(
        "2026-08-03",
        "claude-sonnet-4-6",
        uncached_input_tokens=100_000,
        cache_read_tokens=800_000,
        cache_write_short_tokens=100_000,
    )
    row = quarter_analyse.cache(daily(log), PRICES).set_index("model_id").loc["all"]
    assert row[["hit_rate", "saved_usd", "premium_usd", "net_usd"]].tolist() == pytest.approx(
        [0.8, 2.16, 0.075, 2.085]
    )


def test_output_and_reliability_by_arithmetic():
    log = pd.concat(
        [
            rows("2026-08-03", "gpt-4o", 6, status="ok", attempts=1, reasoning_tokens=20),
            rows("2026-08-03", "gpt-4o", 1, status="ok", attempts=2, reasoning_tokens=20),
            rows("2026-08-03", "gpt-4o", 2, status="truncated", attempts=1, reasoning_tokens=20),
            rows("2026-08-03", "gpt-4o", 1, status="timeout", attempts=3, reasoning_tokens=20),
        ]
    )
    row = quarter_analyse.output(daily(log)).set_index("model_id").loc["all"]
    assert row[
        ["reasoning_share", "truncated_share", "output_over_input"]
    ].tolist() == pytest.approx([0.2, 0.2, 0.1])
    table = quarter_analyse.reliability(daily(log)).set_index("status")
    assert table["failed"].to_dict() == {"ok": False, "truncated": False, "timeout": True}
    assert table.loc["timeout", ["share", "cost_usd", "retry_usd"]].tolist() == pytest.approx(
        [0.1, 0.0035, 0.0035 * 2 / 3]
    )
    assert table.loc["ok", "retry_usd"] == pytest.approx(
        7 * 0.0035 / 8
    )  # one of eight attempts was an extra one


def test_quality_has_wilson_intervals():
    outcomes = pd.DataFrame(
        {
            "prompt_id": range(40),
            "model_id": "gpt-4o",
            "task": "faq_answering",
            "score": [1] * 34 + [0] * 6,
        }
    )
    row = quarter_analyse.quality(outcomes, PRICES, "2026-10-01").iloc[0]
    assert (row["tier"], row["score"]) == ("mid", 0.85)
    assert [row["low"], row["high"]] == pytest.approx(proportion_confint(34, 40, method="wilson"))


def test_an_answer_without_a_score_is_counted_and_in_no_mean():
    """Of three answers two have a score, 1 and 0; the last came in September."""
    at = pd.to_datetime(["2026-07-01", "2026-09-02", "2026-08-01"])
    outcomes = pd.DataFrame({"prompt_id": range(3), "model_id": "gpt-4o", "score": [1, 0, None]})
    row = quarter_analyse.quality(outcomes.assign(at=at), PRICES, "2026-10-01").iloc[0]
    assert (row["examples"], row["set_aside"], row["score"]) == (3, 1, 0.5)
    assert row["last_at"] == at[1]


def test_price_changes_on_own_tokens():
    log = pd.concat(
        [
            rows("2026-07-10", "gpt-5.6-terra", 5),
            rows("2026-08-10", "gpt-5.6-terra", 2),
            rows("2026-08-10", "gpt-4o"),
        ]
    )
    table = price_changes(daily(log), PRICES, "2026-06-30", "2026-12-31")
    assert table["model_id"].tolist() == ["gpt-5.6-terra"]
    assert table.loc[0, ["before_usd", "after_usd", "effect_usd"]].tolist() == pytest.approx(
        [0.008, 0.0064, -0.0016]
    )
    assert "input 2.5 to 2" in table.loc[0, "change"]


def test_a_scheduled_change_is_priced_on_the_whole_quarter():
    """gemini-4-argon doubles on 2026-12-01: 2 and 10 per million until then."""
    table = price_changes(
        daily(rows("2026-11-10", "gemini-4-argon", 3)), PRICES, "2026-09-30", "2026-12-31"
    )
    assert table.loc[0, "scheduled"]
    assert table.loc[0, ["before_usd", "after_usd"]].tolist() == pytest.approx(
        [3 * 0.003, 3 * 0.006]
    )


def test_retiring_models_and_their_successors():
    log = pd.concat([rows("2026-11-10", "gpt-4o", 2), rows("2026-11-10", "claude-haiku-5-5")])
    table = retiring(daily(log), PRICES, "2027-03-31", "2026-11-23")
    assert table[["model_id", "successor"]].values.tolist() == [["gpt-4o", "gpt-6.1-terra"]]
    assert table.loc[0, "spend_usd"] == pytest.approx(0.007)
    assert table.loc[0, "successor_usd"] == pytest.approx(
        tl.reprice(log.head(2), PRICES, ["gpt-6.1-terra"]).iloc[:, 0].sum()
    )
    assert (
        successor(PRICES, "gemini-3.1-pro-preview", "2026-10-01", steps_down=1) == ""
    )  # gemini-3.5-flash is about to retire


def test_reconciliation_with_rows_and_bills():
    table = daily(rows("2026-08-03", "gpt-4o", 2, billed_usd=0.004))
    table = table.assign(billed_rows=2, covered_usd=table["cost_usd"])
    bills = pd.DataFrame(
        {
            "day": pd.to_datetime(["2026-08-31", "2026-10-01"]),
            "provider": "openai",
            "usd": [0.01, 5.0],
        }
    )
    found = reconciliation(table, PRICES, bills).set_index("against")
    assert found.loc[
        "billed_usd of the rows", ["priced_usd", "billed_usd", "difference_usd"]
    ].tolist() == pytest.approx([0.007, 0.008, -0.001])
    assert found.loc["bills", ["billed_usd", "ratio"]].tolist() == pytest.approx([0.01, -0.3])
    half = reconciliation(table.assign(billed_rows=1, covered_usd=0.0035), PRICES).iloc[0]
    assert half[["priced_usd", "uncovered_usd"]].tolist() == pytest.approx([0.0035, 0.0035])


def test_robust_z_is_median_and_mad():
    rng = np.random.default_rng(2)
    series = pd.Series(rng.normal(100, 5, 40), pd.date_range("2026-07-01", periods=40))
    found = robust_z(series, seasonal=False)
    base = series.iloc[11:39]
    assert found["z"].iloc[39] == pytest.approx(
        (series.iloc[39] - base.median()) / median_abs_deviation(base, scale="normal")
    )
    assert found["z"].iloc[:28].isna().all()


def test_a_weekend_is_no_anomaly_and_a_leak_stays_flagged():
    days = pd.date_range("2026-04-01", "2026-09-30")
    spend = pd.Series(
        np.where(days.day_of_week < 5, 100.0, 40.0)
        + np.random.default_rng(3).normal(0, 2, len(days)),
        days,
    )
    assert not robust_z(spend)["flagged"].any()
    spend[spend.index >= "2026-08-17"] += 50
    found = robust_z(spend)
    assert (
        found.index[found["flagged"]].tolist() == pd.date_range("2026-08-17", "2026-09-30").tolist()
    )
    assert (found["value"] - found["expected"])[found["flagged"]].sum() == pytest.approx(
        45 * 50, rel=0.05
    )


def test_anomalies_name_the_team():
    days = pd.date_range("2026-06-01", "2026-09-30")
    log = pd.concat(
        [rows(day, "gpt-4o", 10, team="a") for day in days]
        + [rows("2026-08-10", "gpt-4o", 40, team="b")]
    )
    table = anomalies(daily(log), pd.Timestamp("2026-07-01"), pd.Timestamp("2026-09-30"))
    found = table.set_index(["over", "name"]).loc[[("team", "b"), ("total", "all")]]
    assert found["excess_usd"].tolist() == pytest.approx([40 * 0.0035] * 2)
    assert set(found["start"]) == {pd.Timestamp("2026-08-10")}
    assert not found["lasts"].any()


def test_a_broken_cache_costs_what_its_input_costs_more():
    """Sonnet 4.6 with 700 of 1000 input tokens read at 0.30 per million; from 1 September all are fresh, at 3."""
    days = pd.date_range("2026-06-01", "2026-09-30")
    cached, fresh = (
        {"uncached_input_tokens": u, "cache_read_tokens": r} for u, r in ((300, 700), (1000, 0))
    )
    log = pd.concat(
        rows(d, "claude-sonnet-4-6", 10, **(cached if d < pd.Timestamp("2026-09-01") else fresh))
        for d in days
    )
    found = (
        anomalies(daily(log), pd.Timestamp("2026-07-01"), pd.Timestamp("2026-09-30"))
        .set_index("over")
        .loc["cache"]
    )
    assert (found["start"], found["usual"], found["seen"]) == (
        pd.Timestamp("2026-09-01"),
        pytest.approx(0.7),
        0,
    )
    assert found["excess_usd"] == pytest.approx(30 * 10 * 700 * (3 - 0.3) / 1e6)


def savings_log():
    return pd.concat(
        [
            rows("2026-08-03", "claude-sonnet-4-6", 10, task="faq_answering", batch=False),
            rows("2026-08-03", "claude-sonnet-4-6", 10, task="customer_support", batch=False),
            rows("2026-08-03", "gpt-4o", 10, task="own_task", batch=[True] * 5 + [False] * 5),
        ]
    )


def ahead(now):
    return Ahead(PRICES, pd.Timestamp("2026-10-01"), now)


def test_savings_by_arithmetic():
    """Sonnet 3 and 15, Haiku 1 and 5 per million; gpt-4o costs half in batch. gpt-4o-mini retires, so nothing moves there."""
    table = savings(ahead(daily(savings_log()))).set_index(["kind", "task"])
    assert table.loc[("move", "faq_answering"), "usd"] == pytest.approx(10 * (0.0045 - 0.0015))
    assert table.loc[("move", "faq_answering"), "status"] == "to test"
    assert "of your own examples" in table.loc[("move", "faq_answering"), "needs"]
    assert table.loc[("move", "customer_support"), "status"] == "against the task table"
    assert table.loc[("batch", "own_task"), "usd"] == pytest.approx(5 * 0.0035 / 2)
    assert len(table) == 3
    asked = savings(ahead(daily(savings_log())), terms=Terms(may_wait=["faq_answering"]))
    assert asked.loc[asked["kind"] == "batch", "task"].tolist() == ["faq_answering"]


def event(**columns):
    usual = {"over": "cache", "name": "claude-sonnet-4-6", "start": pd.Timestamp("2026-09-01")}
    usual |= {"days": 30, "usual": 0.7, "seen": 0.0, "excess_usd": 3.0, "lasts": True}
    return pd.DataFrame([usual | columns])


def test_what_lasts_is_counted_for_every_day_of_the_quarter_ahead():
    """3 dollars in 30 days are 9.20 in the 92 days of the fourth quarter, at prices that stay."""
    now = ahead(daily(rows("2026-09-03", "gpt-4o", 9, team="staging")))
    leak = event(over="team", name="staging", usual=0.0, seen=0.1)
    table = savings(now, events=leak).set_index("kind")
    assert table.loc["stop", "usd"] == pytest.approx(92 * 3 / 30)
    assert "stop" not in set(savings(now, events=leak.assign(lasts=False))["kind"])


@pytest.mark.parametrize(("other", "task"), [(0, "chat"), (700, "")])
def test_the_task_of_a_broken_cache_is_named_if_it_is_the_only_one(other, task):
    model = "claude-sonnet-4-6"
    log = pd.concat(
        [
            rows("2026-09-03", model, task="chat", cache_read_tokens=700),
            rows("2026-09-03", model, task="mail", cache_read_tokens=other),
        ]
    )
    table = savings(ahead(daily(log)), events=event()).set_index("kind")
    assert table.loc["cache", "task"] == task


def test_outcomes_settle_a_move():
    scores = {"claude-sonnet-4-6": [1] * 192 + [0] * 8, "claude-haiku-4-5": [1] * 190 + [0] * 10}
    outcomes = pd.concat(
        [
            pd.DataFrame({"prompt_id": range(200), "model_id": m, "score": s, "cost_usd": 0.01})
            for m, s in scores.items()
        ]
    )
    outcomes = outcomes.assign(task="faq_answering", source="measured")
    table = savings(
        ahead(daily(savings_log())), outcomes=outcomes, terms=Terms(margin=0.05)
    ).set_index("task")
    assert table.loc["faq_answering", "status"] == "not worse"
    outcomes.loc[
        (outcomes["model_id"] == "claude-haiku-4-5") & (outcomes["prompt_id"] < 60), "score"
    ] = 0
    table = savings(ahead(daily(savings_log())), outcomes=outcomes, terms=Terms(margin=0.05))
    assert table.set_index("task").loc["faq_answering", "status"] == "worse"
    found = ranked(table, daily(savings_log()))
    assert "faq_answering" not in set(found.loc[found["place"] > 0, "task"])


def test_decisions_do_not_take_the_same_tokens_twice():
    now = daily(savings_log())
    table = savings(ahead(now), terms=Terms(may_wait=["faq_answering"]))
    assert set(table["kind"]) == {"move", "batch"}
    found = ranked(table, now)[["kind", "task", "place", "overlaps"]]
    assert found.values.tolist() == [
        ["move", "customer_support", 0, 0],  # held back: the task needs a higher tier
        ["move", "faq_answering", 1, 0],
        ["batch", "faq_answering", 0, 1],
    ]


@pytest.fixture(scope="module")
def bare():
    """A quarter of the four columns that a log must have."""
    return build_cube(rows("2026-08-03", "gpt-4o", 3), PRICES)


def test_a_section_without_its_input_says_what_it_needs(bare):
    q = analyse(bare, PRICES)
    assert q.spend_usd == pytest.approx(3 * 0.0035)
    needs = {
        "teams": "team",
        "tasks": "task",
        "users": "user",
        "reliability": "status",
        "reasoning": "reasoning_tokens",
        "latency": "ttft_s",
        "cache": "cache_read_tokens",
        "quality": "outcomes",
        "variance": "quarter before",
        "budget": "budget_usd",
        "reconciliation": "billed_usd",
        "forecast": "8 weeks",
        "events": "28 days",
        "retries": "attempts",
        "forecast_error": "last_summary",
        "changes": "quarter before",
    }
    for section, word in needs.items():
        assert word in q.missing[section], section
    for name in (
        "variance",
        "changes",
        "teams",
        "tasks",
        "cache",
        "reliability",
        "latency",
        "quality",
        "reconciliation",
        "forecast_error",
    ):
        assert getattr(q, name).empty and name in q.missing, name
    assert not q.complete
    assert "not complete" in headline(q)


def test_the_summary_of_the_quarter_itself_is_refused():
    log = rows("2026-08-03", "gpt-4o", 3)
    with pytest.raises(ValueError, match="that of 2026Q3, which is not before 2026Q3"):
        analyse(build_cube(log, PRICES), PRICES, "2026Q3", last_summary={"quarter": "2026Q3"})


def test_budget_quarter_before_and_last_forecast():
    log = pd.concat([rows("2026-06-01", "gpt-4o", 2), rows("2026-08-03", "gpt-4o", 3)])
    last = {"quarter": "2026Q2", "forecast": {"2026Q3": {"usd": 0.021, "low": 0.01, "high": 0.03}}}
    q = analyse(build_cube(log, PRICES), PRICES, budget_usd=0.01, last_summary=last)
    assert q.spend.set_index("what")["difference_usd"].to_dict() == pytest.approx(
        {"this quarter": 0, "budget": 0.0005, "quarter before": 0.0035}
    )
    assert q.variance.set_index("effect")["usd"]["volume"] == pytest.approx(0.0035)
    assert q.forecast_error.loc[0, "error"] == pytest.approx(1.0)
    assert q.forecast_error.loc[0, "source"] == "report of 2026Q2"


def test_a_quarter_under_way_says_where_it_will_land():
    """Ten requests a day for 35 of the 91 days before and the first 40 of 92: not half as much, but 920 requests."""
    days = pd.date_range("2026-05-27", "2026-08-09")
    q = analyse(build_cube(pd.concat(rows(day, "gpt-4o", 10) for day in days), PRICES), PRICES)
    assert "40 days with usage, the last 2026-08-09" in headline(q)
    assert "The log lacks 56 days of the quarter before." in headline(q)
    assert f"it comes to ${920 * 0.0035:.2f}" in headline(q)


def test_summary_is_json_and_repeats(bare):
    found = summary(analyse(bare, PRICES))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["schema"] == "tierlab.quarter/2"
    assert found["budget_usd"] is None
    assert {row["what"]: row["value"] for row in found["assumptions"]}[
        "prices, sha256"
    ] == bare.account.price_sha256


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quarter": "Q9"}, "is not a quarter"),
        ({"quarter": "2026Q1"}, "the log holds 2026Q3"),
        ({"budget_usd": 0}, "budget_usd=0"),
    ],
)
def test_refusals(bare, change, message):
    with pytest.raises(ValueError, match=message):
        analyse(bare, PRICES, **change)


def test_rows_set_aside_are_in_the_coverage(bare):
    aside = pd.DataFrame({"reason": ["unknown model"], "model_id": ["gpt-9"], "rows": [4]})
    table = quarter_analyse.coverage(
        SimpleNamespace(rows_read=7, rows_priced=3, set_aside=aside),
        bare.daily,
        bare.daily.iloc[:0],
    ).set_index("what")["count"]
    assert table["set aside: unknown model (gpt-9)"] == 4
    assert table["days of the quarter without usage"] == 91
