"""Curve, metrics and frontier against brute force, arithmetic and the published figures."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tierlab as tl

VARIANTS = ("exact", "paper", "as_coded")
here = Path(os.environ.get("TIERLAB_DATA_DIR", "/nowhere")).is_dir()
real = pytest.mark.skipif(
    not here, reason="TIERLAB_DATA_DIR does not name a folder with the public data sets"
)


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
        table(weak, strong, **costs),
        pd.Series(router, range(len(router)), dtype=float),
        weak="w",
        strong="s",
    )


cases = st.integers(1, 25).flatmap(
    lambda n: st.tuples(
        *[st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=n, max_size=n) for _ in range(2)],
        st.lists(st.integers(0, 4), min_size=n, max_size=n),
    )
)


def test_no_gap_is_nan_with_a_reason():
    metric = tl.apgr(curve([1, 1], [1, 0], [1, 2]))
    assert np.isnan(metric)
    assert "no gap to recover" in metric.reason


points = st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=12).map(
    lambda rows: pd.DataFrame(rows, columns=["cost_usd", "score"]).astype(float)
)


@given(points)
def test_the_hull_is_concave_rising_and_above_every_point(table):
    edge = tl.hull(table)
    assert (np.diff(edge["cost_usd"]) > 0).all()
    slopes = np.diff(edge["score"]) / np.diff(edge["cost_usd"])
    assert (slopes > 0).all()
    assert (np.diff(slopes) < 0).all()
    reach = np.interp(table["cost_usd"], edge["cost_usd"], edge["score"])
    assert (reach >= table["score"] - 1e-9).all()


def test_aiq_by_arithmetic():
    """Points (1, .5), (3, .9), (2, .4), (4, .8): hull (1, .5)-(3, .9), flat to 4; area 1.4 + .9."""
    table = pd.DataFrame({"cost_usd": [1, 3, 2, 4.0], "score": [0.5, 0.9, 0.4, 0.8]})
    assert tl.aiq(table) == pytest.approx(2.3 / 3)
    assert tl.aiq(table, variant="as_coded") == pytest.approx(2.3 / 4)
    assert tl.aiq(table, variant="as_coded", max_cost_usd=5) == pytest.approx(3.2 / 5)
    assert "cost the same" in tl.aiq(table.iloc[:1]).reason


@real
def test_routellm_gsm8k_has_the_published_figures():
    """1,307 prompts; weak 63.7337 %, strong 85.7689 %; the prompt-length router's APGR, as coded and exact."""
    outcomes = tl.load_outcomes("routellm_gsm8k")
    weak, strong = outcomes["model_id"].unique()
    length = outcomes[outcomes["model_id"] == weak].set_index("prompt_id")["prompt"].str.len()
    result = tl.cost_quality_curve(outcomes, length, weak=weak, strong=strong)
    assert result["strong_calls"].iloc[-1] == 1307
    assert (result["score"].iloc[[0, -1]] * 100).tolist() == pytest.approx(
        [63.7337, 85.7689], abs=5e-5
    )
    assert tl.apgr(result, variant="as_coded") == pytest.approx(0.598655, abs=5e-7)
    assert tl.apgr(result, variant="exact") == pytest.approx(0.597784, abs=5e-7)


def test_policies_are_compared_on_their_own_prompts_whatever_the_ids():
    """Three of four right on the weak model, all on the strong one; prompt ids are text."""
    from tierlab.routing.policies import Always

    outcomes = table([1, 1, 1, 0], [1, 1, 1, 1]).assign(
        prompt_id=lambda t: "q" + t["prompt_id"].astype(str)
    )
    result = tl.compare_policies(
        outcomes, {"weak": Always("w"), "strong": Always("s")}, reference="strong", seed=1
    )["estimate"]
    assert result["weak", "score"] == 0.75
    assert result["weak", "usd_per_1000"] == pytest.approx(2.0)
    assert result["weak", "saving"] == pytest.approx(0.8)
