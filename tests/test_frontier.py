"""Curve, metrics and frontier against brute force, arithmetic and the published figures."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tierlab as tl
from tierlab import frontier
from tierlab.metrics import VARIANTS

here = Path(os.environ.get("TIERLAB_DATA_DIR", "/nowhere")).is_dir()
real = pytest.mark.skipif(not here, reason="TIERLAB_DATA_DIR does not name a folder with the public data sets")


def table(weak, strong, weak_usd=0.002, strong_usd=0.01):
    n = len(weak)
    return pd.DataFrame(
        {
            "prompt_id": [*range(n)] * 2,
            "model_id": ["w"] * n + ["s"] * n,
            "score": [*weak, *strong],
            "cost_usd": [*np.broadcast_to(weak_usd, n), *np.broadcast_to(strong_usd, n)],
        }
    )


def curve(weak, strong, router, **costs):
    return tl.cost_quality_curve(
        table(weak, strong, **costs), pd.Series(router, range(len(router)), dtype=float), weak="w", strong="s"
    )


cases = st.integers(1, 25).flatmap(
    lambda n: st.tuples(
        *[st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=n, max_size=n) for _ in range(2)],
        st.lists(st.integers(0, 4), min_size=n, max_size=n),
    )
)


@given(cases)
def test_every_point_equals_routing_at_its_threshold(case):
    weak, strong, router = map(np.array, case)
    result = curve(weak, strong, router)
    assert len(result) == len(set(router)) + 1
    for point in result.itertuples():
        up = router >= point.threshold
        assert point.strong_calls == up.sum()
        assert point.quality == pytest.approx(np.where(up, strong, weak).mean())
        assert point.cost_usd == pytest.approx(np.where(up, 0.01, 0.002).mean())


@given(cases, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(case, random):
    weak, strong, router = case
    rows = list(range(2 * len(weak)))
    random.shuffle(rows)
    scores = pd.Series(router, range(len(router)), dtype=float).sample(frac=1, random_state=random.randint(0, 99))
    shuffled = tl.cost_quality_curve(table(weak, strong).iloc[rows], scores, weak="w", strong="s")
    pd.testing.assert_frame_equal(shuffled, curve(weak, strong, router))


@given(cases)
def test_every_metric_is_a_number_or_nan_with_a_reason(case):
    result = curve(*case)
    for variant in VARIANTS:
        for metric in (tl.apgr(result, variant), tl.cpt(result, 0.5, variant)):
            assert np.isfinite(metric) != bool(metric.reason), (variant, metric, metric.reason)


def test_equal_scores_give_two_points_and_the_random_line():
    result = curve([0, 1, 0, 0], [1, 1, 1, 0], [7, 7, 7, 7])
    assert result["share_strong"].tolist() == [0, 1]
    assert tl.apgr(result) == pytest.approx(0.5)
    assert tl.cpt(result, 0.5) == pytest.approx(0.5)
    assert tl.cpt(result, 0.5, "paper") == 1
    assert "deciles" in tl.apgr(result, "as_coded").reason


def test_metrics_by_arithmetic():
    """Two prompts of four gain; the router puts one gain first, one last: qualities .5 .75 .75 .75 1 at 0 .25 .5 .75 1."""
    result = curve([0, 1, 1, 0], [1, 1, 1, 1], [4, 3, 2, 1])
    assert result["quality"].tolist() == [0.5, 0.75, 0.75, 0.75, 1]
    assert tl.apgr(result) == pytest.approx((0.15625 + 0.1875 + 0.1875 + 0.21875 - 0.5) / 0.5)
    recovered = [0.2, 0.4, 0.5, 0.5, 0.5, 0.5, 0.5, 0.6, 0.8, 1]  # at 10 % to 100 % of strong calls
    assert tl.apgr(result, "paper") == pytest.approx(np.mean(recovered))
    assert tl.cpt(result, 0.25) == pytest.approx(0.125)
    assert tl.cpt(result, 0.25, "paper") == 0.25
    assert tl.cpt(result, 0.75) == pytest.approx(0.875)
    assert tl.cpt(result, 0) == 0


def test_the_published_cpt_may_return_a_later_crossing(monkeypatch):
    """numpy.interp over unsorted qualities gives 100 % of calls for 66, although 6 % reach it (facts on RouteLLM)."""
    share = np.array([0, 0.1, 0.2, 0.3, 0.4, 0.6, 1.0])
    quality = np.array([60, 70, 72, 71, 69, 66, 64]) / 100
    overshoot = pd.DataFrame({"share_strong": share, "quality": quality})
    monkeypatch.setattr("tierlab.metrics._coded", lambda _: (share, quality, ""))
    assert tl.cpt(overshoot, 1.5 / 2.5 * 0 + 1.0) == pytest.approx(0.04)  # 64 is crossed at 4 % of calls
    wanted = (0.66 - 0.60) / (0.64 - 0.60)
    assert wanted > 1  # beyond the strong model, so the metric does not take it
    with pytest.raises(ValueError, match="between 0 and 1"):
        tl.cpt(overshoot, wanted)
    assert tl.cpt(overshoot, 1.0, "as_coded") == pytest.approx(float(np.interp(0.64, quality, share)))


def test_no_gap_is_nan_with_a_reason():
    metric = tl.apgr(curve([1, 1], [1, 0], [1, 2]))
    assert np.isnan(metric)
    assert "no better" in metric.reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, s: (pd.concat([t, t.iloc[[0]]]), s), "1 prompts have a second row for 'w'; first: 0"),
        (lambda t, s: (t.iloc[1:], s), "1 prompts have only one of 'w' and 's'; first: 0"),
        (lambda t, s: (t.assign(score=t["score"].where(t.index != 2)), s), "1 prompts have no score; first: 2"),
        (lambda t, s: (t.assign(score=t["score"].where(t.index != 4, 1.5)), s), "1 prompts have a score outside 0-1; first: 1"),
        (lambda t, s: (t, s.where(s.index != 1)), "1 prompts have no router score; first: 1"),
        (lambda t, s: (t, s.drop(2)), "1 prompts have no router score; first: 2"),
        (lambda t, s: (t, pd.concat([s, s.iloc[:1]])), "the router scores a prompt twice; first: 0"),
        (lambda t, s: (t.assign(model_id=t["model_id"].replace("s", "x")), s), "unknown model 's'"),
    ],
)
def test_bad_input_names_the_prompts(change, message):
    outcomes, scores = change(table([0, 1, 0], [1, 1, 1]), pd.Series([1.0, 2.0, 3.0]))
    with pytest.raises(ValueError) as error:
        tl.cost_quality_curve(outcomes, scores, weak="w", strong="s")
    assert message in str(error.value)


def test_unknown_costs_stay_unknown():
    result = curve([0, 1], [1, 1], [1, 2], strong_usd=np.nan)
    assert result["cost_usd"].iloc[1:].isna().all()


points = st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=12).map(
    lambda rows: pd.DataFrame(rows, columns=["cost_usd", "quality"]).astype(float)
)


@given(points)
def test_the_hull_is_concave_rising_and_above_every_point(table):
    edge = tl.hull(table)
    assert (np.diff(edge["cost_usd"]) > 0).all()
    slopes = np.diff(edge["quality"]) / np.diff(edge["cost_usd"])
    assert (slopes > 0).all()
    assert (np.diff(slopes) < 0).all()
    reach = np.interp(table["cost_usd"], edge["cost_usd"], edge["quality"])
    assert (reach >= table["quality"] - 1e-9).all()


def test_aiq_by_arithmetic():
    """Points (1, .5), (3, .9), (2, .4), (4, .8): hull (1, .5)-(3, .9), flat to 4; area 1.4 + .9."""
    table = pd.DataFrame({"cost_usd": [1, 3, 2, 4.0], "quality": [0.5, 0.9, 0.4, 0.8]})
    assert tl.aiq(table) == pytest.approx(2.3 / 3)
    assert tl.aiq(table, "as_coded") == pytest.approx(2.3 / 4)
    assert tl.aiq(table, "as_coded", highest_usd=5) == pytest.approx(3.2 / 5)
    assert "cost the same" in tl.aiq(table.iloc[:1]).reason


def test_routerarena_score_by_its_formula():
    cost = (np.log2(200) - np.log2(0.5)) / (np.log2(200) - np.log2(0.0044))
    assert tl.routerarena_score(0.7, 0.5) == pytest.approx(1.1 * 0.7 * cost / (0.1 * 0.7 + cost))
    assert "logarithm" in tl.routerarena_score(0.7, 0).reason


@settings(max_examples=50)
@given(st.integers(1, 10), st.integers(1, 4), st.integers(0, 10_000))
def test_the_tier_frontier_equals_choosing_for_each_willingness_to_pay(n, models, seed):
    rng = np.random.default_rng(seed)
    wide = {name: rng.random((n, models)).round(2) for name in ("score", "guess")}
    cost = rng.integers(1, 9, (n, models)) / 1000 + np.arange(models) / 1e7  # no two choices cost the same
    ids = pd.MultiIndex.from_product([range(n), [f"m{i}" for i in range(models)]], names=["prompt_id", "model_id"])
    outcomes = pd.DataFrame({"score": wide["score"].ravel(), "cost_usd": cost.ravel()}, index=ids).reset_index()
    guess = pd.DataFrame(wide["guess"], columns=[f"m{i}" for i in range(models)])
    result = tl.tier_frontier(outcomes, guess)
    for low, high, point in zip(
        result["willingness_usd"], [*result["willingness_usd"][1:], np.inf], result.itertuples(), strict=True
    ):
        between = (low + high) / 2 if np.isfinite(high) else 2 * low + 1e6
        if high - low < 1e-9:
            continue
        choice = (between * wide["guess"] - cost).argmax(axis=1)
        assert point.quality == pytest.approx(wide["score"][range(n), choice].mean())
        assert point.cost_usd == pytest.approx(cost[range(n), choice].mean())


def test_true_scores_give_the_oracle():
    outcomes = table([0, 1, 0], [1, 1, 0])
    truth = outcomes.pivot(index="prompt_id", columns="model_id", values="score")
    last = tl.tier_frontier(outcomes, truth).iloc[-1]
    assert last["quality"] == pytest.approx(2 / 3)
    assert last["cost_usd"] == pytest.approx((0.01 + 0.002 + 0.002) / 3)  # only the prompt that gains goes up


def test_the_band_holds_the_curve_and_shrinks_with_prompts():
    rng = np.random.default_rng(1)
    widths = []
    for n in (200, 3200):
        weak, strong = (rng.random(n) < 0.6) * 1.0, (rng.random(n) < 0.9) * 1.0
        scores = pd.Series(strong - weak + rng.normal(0, 1, n))
        band, (low, high) = tl.curve_band(table(weak, strong), scores, weak="w", strong="s", resamples=300, seed=2)
        assert ((band["low"] <= band["quality"] + 1e-12) & (band["quality"] <= band["high"] + 1e-12)).all()
        exact = tl.apgr(tl.cost_quality_curve(table(weak, strong), scores, weak="w", strong="s"))
        assert low < exact < high
        widths.append((band["high"] - band["low"]).mean())
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.3)  # a sixteenth of the prompts, four times the width


def test_a_threshold_is_chosen_on_one_half_and_judged_on_the_other():
    rng = np.random.default_rng(3)
    result = tl.calibrate(
        table((rng.random(2000) < 0.6) * 1.0, (rng.random(2000) < 0.9) * 1.0),
        pd.Series(rng.random(2000)),
        weak="w",
        strong="s",
        share_strong=0.2,
        seed=4,
    )
    assert result["prompts"].sum() == 2000
    assert result.loc["calibration", "share_strong"] == pytest.approx(0.2, abs=0.001)
    assert result.loc["held out", "share_strong"] == pytest.approx(0.2, abs=0.04)
    assert result["threshold"].nunique() == 1


def test_sensitivity_of_the_verdict():
    routed = pd.DataFrame({"task": ["a", "a", "b"], "score": [1, 0, 1.0], "cost_usd": [1, 3, 5.0]})
    mixed = frontier.reweighted(routed, {"a": 0.25, "b": 0.75})
    assert mixed.tolist() == pytest.approx([0.25 * 0.5 + 0.75, 0.25 * 2 + 0.75 * 5])
    with pytest.raises(ValueError, match="unknown task 'c'"):
        frontier.reweighted(routed, {"c": 1.0})
    at = frontier.strong_price_break_even(0.3, 0.002, 0.0007)
    assert 0.3 * at + 0.7 * 0.002 + 0.0007 == pytest.approx(at)
    assert frontier.error_cost_limit(0.01, 0) == float("inf")
    assert frontier.pays_back_after(100, 0) == float("inf")


@real
def test_routellm_gsm8k_has_the_published_figures():
    """1,307 prompts; weak 63.7337 %, strong 85.7689 %; the prompt-length router's APGR, as coded and exact."""
    outcomes = tl.load_outcomes("routellm_gsm8k")
    weak, strong = outcomes["model_id"].unique()
    length = outcomes[outcomes["model_id"] == weak].set_index("prompt_id")["prompt"].str.len()
    result = tl.cost_quality_curve(outcomes, length, weak=weak, strong=strong)
    assert result["strong_calls"].iloc[-1] == 1307
    assert (result["quality"].iloc[[0, -1]] * 100).tolist() == pytest.approx([63.7337, 85.7689], abs=5e-5)
    assert tl.apgr(result, "as_coded") == pytest.approx(0.598655, abs=5e-7)
    assert tl.apgr(result, "exact") == pytest.approx(0.597784, abs=5e-7)
