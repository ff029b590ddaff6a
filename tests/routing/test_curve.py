"""Cost-quality curves and their metrics: against brute force, the published numbers, and the formulas written out."""

import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

import tierlab as tl
from tierlab.routing.curve import (
    Metric,
    aiq,
    apgr,
    cost_quality_curve,
    cpt,
    curve_band,
    hull,
    metric_intervals,
    paired_curve,
)
from tierlab.routing.simulated import simulate_outcomes
from tierlab.routing.sources import load_outcomes

published = pytest.mark.skipif(
    "TIERLAB_DATA_DIR" not in os.environ,
    reason="TIERLAB_DATA_DIR is not set: public data sets are not in the repository",
)
MIXTRAL, GPT4 = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"


def long_table(score, cost, models="wsx"):
    score, cost = np.asarray(score, float), np.asarray(cost, float)
    n, k = score.shape
    return pd.DataFrame(
        {
            "prompt_id": np.repeat(np.arange(n), k),
            "model_id": list(models[:k]) * n,
            "score": score.ravel(),
            "cost_usd": cost.ravel(),
        }
    )


def curve_of(router_score, weak_score, strong_score, weights=None):
    """The curve of scores alone, one element per prompt."""
    scores = {"router_score": router_score, "weak_score": weak_score, "strong_score": strong_score}
    pairs = pd.DataFrame(scores).assign(weak_cost_usd=np.nan, strong_cost_usd=np.nan)
    return paired_curve(pairs, weights=weights)


@st.composite
def cases(draw_, models=2):
    n = draw_(st.integers(1, 30))
    rng = np.random.default_rng(draw_(st.integers(0, 2**32 - 1)))
    levels = draw_(st.sampled_from([1, 2, 5, 1000]))
    table = long_table(
        np.round(rng.random((n, models)), 1),
        rng.random((n, models)) * np.arange(1, models + 1) ** 2,
    )
    return table, pd.Series(rng.integers(0, levels, n) / levels, index=range(n))


# --- the curve ------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(cases())
def test_curve_is_what_each_threshold_gives(case):
    """For every threshold: route by hand, and average."""
    table, scores = case
    curve = cost_quality_curve(table, scores, weak="w", strong="s")
    assert curve["threshold"].tolist() == [np.inf, *np.unique(scores)[::-1]]
    wide = table.pivot(index="prompt_id", columns="model_id")
    for point in curve.itertuples():
        strong = (scores >= point.threshold).to_numpy()
        assert point.strong_calls == strong.sum() and point.strong_share == pytest.approx(
            strong.mean()
        )
        assert point.score == pytest.approx(
            np.where(strong, wide["score", "s"], wide["score", "w"]).mean()
        )
        assert point.cost_usd == pytest.approx(
            np.where(strong, wide["cost_usd", "s"], wide["cost_usd", "w"]).mean()
        )


@settings(max_examples=30, deadline=None)
@given(cases(), st.integers(0, 5))
def test_order_of_rows_changes_nothing(case, seed):
    table, scores = case
    shuffled = cost_quality_curve(
        table.sample(frac=1, random_state=seed),
        scores.sample(frac=1, random_state=seed),
        weak="w",
        strong="s",
    )
    curve = cost_quality_curve(table, scores, weak="w", strong="s")
    np.testing.assert_allclose(shuffled.to_numpy(), curve.to_numpy(), rtol=1e-12, atol=1e-15)


def test_a_router_that_says_the_same_of_all_has_two_points():
    table = long_table([[0, 1], [0, 1], [1, 1]], [[1, 2]] * 3)
    curve = cost_quality_curve(table, pd.Series(0.5, index=range(3)), weak="w", strong="s")
    assert curve[["strong_share", "score", "cost_usd"]].to_numpy().tolist() == [
        [0, pytest.approx(1 / 3), 1],
        [1, 1, 2],
    ]
    assert apgr(curve) == pytest.approx(0.5)
    assert apgr(curve, variant="paper") == pytest.approx(0.55)  # the mean of 0.1, 0.2, ... 1.0
    assert (
        np.isnan(apgr(curve, variant="as_coded"))
        and "not distinct" in apgr(curve, variant="as_coded").reason
    )


def test_weights_equal_repeated_prompts():
    rng = np.random.default_rng(0)
    scores, weak, strong, times = (
        rng.random(50),
        rng.random(50) / 2,
        rng.random(50),
        rng.integers(1, 4, 50),
    )
    weighted = curve_of(scores, weak, strong, weights=times)
    repeated = curve_of(*(np.repeat(part, times) for part in (scores, weak, strong)))
    np.testing.assert_allclose(
        weighted[["strong_share", "score"]], repeated[["strong_share", "score"]], rtol=1e-12
    )
    assert apgr(weighted) == pytest.approx(apgr(repeated))
    assert "weights" in apgr(weighted, variant="as_coded").reason


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (pd.Series([0.1], index=[0]), "'router_score' is missing for 1 prompt, first 1"),
        (pd.Series([0.1, np.nan]), "missing for 1 prompt, first 1"),
        (pd.Series([0.1, np.inf]), "missing or infinite"),
        (pd.Series([0.1, 0.2], index=[0, 0]), "more than once"),
    ],
)
def test_missing_scores_are_refused(scores, message):
    with pytest.raises(ValueError, match=message):
        cost_quality_curve(long_table([[0, 1], [0, 1]], [[1, 2]] * 2), scores, weak="w", strong="s")


def test_wrong_names_and_tables_are_refused():
    table = long_table([[0, 1], [0, 1]], [[1, 2]] * 2)
    scores = pd.Series([0.1, 0.2])
    with pytest.raises(ValueError, match="unknown model or tier 'weak'"):
        cost_quality_curve(table, scores, weak="weak", strong="s")
    with pytest.raises(ValueError, match="1 of 2 prompts lack an answer"):
        cost_quality_curve(table.iloc[:-1], scores, weak="w", strong="s")
    with pytest.raises(ValueError, match="weights"):
        cost_quality_curve(table, scores, weak="w", strong="s", weights=pd.Series([-1, 1]))
    no_cost = cost_quality_curve(table.drop(columns="cost_usd"), scores, weak="w", strong="s")
    assert no_cost["cost_usd"].isna().all() and no_cost["score"].notna().all()


# --- metrics --------------------------------------------------------------------------------------------------


@published
def test_routellm_gsm8k_as_published_and_as_coded():
    table = load_outcomes("routellm_gsm8k")
    length = table.drop_duplicates("prompt_id").set_index("prompt_id")["prompt_chars"]
    curve = cost_quality_curve(table, length, weak=MIXTRAL, strong=GPT4)
    assert 100 * curve["score"].iloc[0] == pytest.approx(63.7337, abs=5e-5)
    assert 100 * curve["score"].iloc[-1] == pytest.approx(85.7689, abs=5e-5)
    assert apgr(curve, variant="as_coded") == pytest.approx(0.598655, abs=5e-7)
    assert apgr(curve) == pytest.approx(0.597784, abs=5e-7)


def test_metrics_as_coded_equal_the_procedure_written_out():
    """The steps of RouteLLM's evaluation: pandas.qcut edges, strong from each edge on (above the last), trapezoid."""
    rng = np.random.default_rng(3)
    scores, weak, strong = (
        rng.random(500),
        (rng.random(500) < 0.6).astype(float),
        (rng.random(500) < 0.8).astype(float),
    )
    _, edges = pd.qcut(pd.Series(scores), 10, retbins=True)
    calls, accuracy = [], []
    for number, edge in enumerate(edges):
        chosen = scores > edge if number == 10 else scores >= edge
        calls.append(100 * chosen.mean())
        accuracy.append(100 * np.where(chosen, strong, weak).mean())
    calls, accuracy = calls[::-1], accuracy[::-1]
    low, high = 100 * weak.mean(), 100 * strong.mean()
    area = np.trapezoid(accuracy, calls)
    expected = (area - low * 100) / (high * 100 - low * 100)
    curve = curve_of(scores, weak, strong)
    assert apgr(curve, variant="as_coded") == pytest.approx(expected)
    for level in (0.2, 0.5, 0.8):
        interp = np.interp(low + level * (high - low), accuracy, calls)
        assert cpt(curve, level, variant="as_coded") == pytest.approx(interp / 100)


def test_cpt_takes_the_first_crossing_of_a_curve_that_overshoots():
    """Scores rise past the strong model's 64 and fall back to it: it is reached first at 4% of the calls."""
    curve = pd.DataFrame(
        {
            "strong_share": np.array([0, 10, 20, 30, 40, 60, 100]) / 100,
            "score": np.array([60, 70, 72, 71, 69, 66, 64]) / 100,
        }
    )
    level = 1.0
    assert cpt(curve, level) == pytest.approx(0.04)
    assert cpt(curve, level, variant="paper") == pytest.approx(0.10)
    assert cpt(curve, 0.0) == 0
    assert "thresholds" in cpt(curve, level, variant="as_coded").reason
    with pytest.raises(ValueError, match=r"level=1\.5"):
        cpt(curve, 1.5)


def test_oracle_order_beats_one():
    """Above 1: the weak model is right where the strong is wrong, so the best mix scores higher than the strong."""
    weak, strong = np.array([1.0, 0, 0, 1]), np.array([0.0, 1, 1, 1])
    curve = curve_of(strong - weak, weak, strong)
    # PGR at shares 0, 1/2, 3/4, 1 is 0, 2, 2, 1 of a gap of 1/4
    assert apgr(curve) == pytest.approx(0.5 * 1 + 0.25 * 2 + 0.25 * 1.5)


@settings(max_examples=60, deadline=None)
@given(cases(models=3))
def test_every_metric_is_a_number_or_nan_with_a_reason(case):
    table, scores = case
    curves = [
        cost_quality_curve(table, scores, weak=a, strong=b) for a, b in ("ws", "xs", "sw", "wx")
    ]
    points = pd.DataFrame({"cost_usd": [1.0, 2.0, 2.0][:1], "score": [0.5]})
    for curve in (*curves, points):
        found = [apgr(curve, variant=v) for v in ("exact", "paper", "as_coded")]
        found += [
            cpt(curve, level, variant=v)
            for level in (0, 0.5, 1)
            for v in ("exact", "paper", "as_coded")
        ]
        found += [aiq(curve, variant=v) for v in ("paper", "as_coded")]
        assert all(np.isfinite(value) if not value.reason else np.isnan(value) for value in found)


def test_metric_is_a_number_that_carries_its_reason():
    import pickle

    nothing = pickle.loads(pickle.dumps(Metric(reason="because")))
    assert np.isnan(nothing) and repr(nothing) == "nan (because)"
    assert f"{Metric(0.5):.2f}" == "0.50" and repr(Metric(0.5)) == "0.5"
    curve = curve_of([1, 2], [1, 1], [1, 1])
    assert "no gap" in apgr(curve).reason
    assert "between two models" in apgr(pd.DataFrame({"cost_usd": [1.0], "score": [1.0]})).reason


def test_aiq_by_hand():
    """Hull (1, 0.4), (2, 0.8), (5, 0.9): areas 0.6 and 2.55 over a range of 4."""
    points = pd.DataFrame(
        {"cost_usd": [5.0, 1.0, 2.0, 3.0, 2.0], "score": [0.9, 0.4, 0.8, 0.7, 0.1]}
    )
    assert aiq(points) == pytest.approx(3.15 / 4)
    assert aiq(points, variant="as_coded") == pytest.approx(3.15 / 5)
    assert aiq(points.iloc[:1]).reason == "all points cost the same"


# --- bands and intervals --------------------------------------------------------------------------------------


def test_band_holds_the_curve_and_narrows_with_prompts():
    """At the ends it is the interval of a mean: half-width 1.96 sd / sqrt(n), within the noise of 2,000 resamples."""
    table = simulate_outcomes(4000, seed=1, prices=tl.load_prices("article"))
    signal = table.drop_duplicates("prompt_id").set_index("prompt_id")["router_signal"]
    kwargs = {"weak": "small", "strong": "flagship", "seed": 1, "resamples": 2000}
    band = curve_band(table, signal, shares=[0.0, 0.2, 1.0], **kwargs)
    assert band["score"].between(band["score_low"], band["score_high"]).all()
    assert band["cost_usd"].between(band["cost_usd_low"], band["cost_usd_high"]).all()
    scores = table.loc[table["tier"] == "flagship", "score"]
    half = (band["score_high"] - band["score_low"]).iloc[-1] / 2
    assert half == pytest.approx(1.96 * scores.std() / np.sqrt(4000), rel=0.1)
    percents = curve_band(table.iloc[:30], signal.iloc[:10], **kwargs)["strong_share"]
    assert percents.to_numpy() == pytest.approx(np.arange(101) / 100)
    wide = curve_band(table.iloc[: 3 * 1000], signal.iloc[:1000], shares=[0.2], **kwargs)
    assert (wide["score_high"] - wide["score_low"]).item() == pytest.approx(
        2 * (band["score_high"] - band["score_low"]).iloc[1], rel=0.25
    )


def test_intervals_equal_curves_of_resampled_tables():
    """Metrics of each resample, computed again from a table in which prompts are repeated as drawn."""
    from tierlab.evaluate.intervals import bootstrap_weights

    rng = np.random.default_rng(5)
    n = 60
    table = long_table((rng.random((n, 2)) < [0.5, 0.8]).astype(float), [[1, 2]] * n)
    scores = pd.Series(rng.integers(0, 6, n) / 6, index=range(n))
    result = metric_intervals(
        table, scores, weak="w", strong="s", seed=9, resamples=40, confidence=0.5, levels=(0.5,)
    )
    weights = np.concatenate(list(bootstrap_weights(n, resamples=40, seed=9)))
    wide = table.pivot(index="prompt_id", columns="model_id", values="score")
    curves = [
        curve_of(*(np.repeat(v.to_numpy(), w.astype(int)) for v in (scores, wide["w"], wide["s"])))
        for w in weights
    ]
    for metric, values in (
        ("apgr", [apgr(c) for c in curves]),
        ("cpt_0.5", [cpt(c, 0.5) for c in curves]),
    ):
        assert result.loc[("router", metric), ["low", "high"]].tolist() == pytest.approx(
            np.quantile(values, [0.25, 0.75]).tolist()
        )


def test_a_router_against_itself_differs_by_nothing():
    table = long_table(np.random.default_rng(1).integers(0, 2, (80, 2)) | [0, 1], [[1, 2]] * 80)
    scores = pd.Series(np.arange(80.0))
    result = metric_intervals(
        table,
        {"a": scores, "b": scores.sample(frac=1, random_state=0)},
        weak="w",
        strong="s",
        seed=1,
        resamples=50,
    )
    assert result.loc["b - a", ["estimate", "low", "high"]].abs().max(axis=None) < 1e-12


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=30))
def test_hull_is_the_upper_left_of_scipys_convex_hull(pairs):
    points = pd.DataFrame(pairs, columns=["cost_usd", "score"]).astype(float)
    found = hull(points)
    x, y = found["cost_usd"].to_numpy(), found["score"].to_numpy()
    assert (np.diff(x) > 0).all() and (np.diff(y) > 0).all()
    assert (points["score"] <= np.interp(points["cost_usd"], x, y) + 1e-9).all()
    assert (np.diff(found["error_cost_usd"]) > 0).all() and found["error_cost_usd"].iloc[0] == 0
    spread = points.drop_duplicates().to_numpy()
    if np.linalg.matrix_rank(spread - spread[0]) == 2:
        corners = spread[ConvexHull(spread).vertices]
        assert {(a, b) for a, b in zip(x, y, strict=True)} <= {(a, b) for a, b in corners}


def test_error_cost_from_which_each_point_is_cheapest():
    """Cost plus error cost x (1 - score), minimised by brute force on a grid of error costs."""
    points = pd.DataFrame(
        {"cost_usd": [1.0, 2.0, 3.0, 8.0], "score": [0.5, 0.7, 0.72, 0.9]}, index=list("abcd")
    )
    found = hull(points)
    assert found.index.tolist() == ["a", "b", "d"]
    for error in (0.1, 4.9, 5.1, 29.9, 30.1, 100):
        cheapest = (points["cost_usd"] + error * (1 - points["score"])).idxmin()
        assert found.index[found["error_cost_usd"] <= error][-1] == cheapest


def test_hull_refuses_points_without_cost():
    with pytest.raises(ValueError, match="1 of 2 points have no cost or score"):
        hull(pd.DataFrame({"cost_usd": [1.0, np.nan], "score": [0.5, 0.6]}))
