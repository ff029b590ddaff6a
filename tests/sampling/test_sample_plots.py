"""Figures and control of live sampling: what is drawn is what the tables say."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tierlab.core.style import TIER_STYLE


@pytest.fixture
def pairs():
    rows = {
        "a": (-0.2, -0.3, -0.1, "worse", "small"),
        "b": (-0.01, -0.05, 0.03, "not worse", "mid"),
    }
    return pd.DataFrame.from_dict(
        rows, orient="index", columns=["difference", "low", "high", "finding", "tier"]
    )


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_scores_stand_at_their_place_with_their_interval():
    table = pd.DataFrame({"score": [0.2, 0.7], "low": [0.1, 0.6], "high": [0.4, 0.8], "answers": [60, 94], "tier": ["small", "flagship"]},
                         index=["a", "b"])  # fmt: skip
    ax = tl.sampling.figures.pass_rates(table)
    bars, points = ax.lines[::2], ax.lines[1::2]
    assert [list(bar.get_xdata()) for bar in bars] == [[0.1, 0.4], [0.6, 0.8]]
    assert [point.get_xdata()[0] for point in points] == [0.2, 0.7]
    assert [point.get_marker() for point in points] == [
        TIER_STYLE[tier]["marker"] for tier in ("small", "flagship")
    ]
    assert texts(ax) == ["20%  (60 answers)", "70%  (94 answers)"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]


def test_differences_are_in_points_beside_margin_and_zero(pairs):
    ax = tl.sampling.figures.differences(pairs, margin=0.05, reference="ref")
    zero, margin = ax.lines[:2]
    assert (zero.get_xdata()[0], margin.get_xdata()[0]) == (0, -5)
    assert [line.get_xdata()[0] for line in ax.lines[3::2]] == pytest.approx([-20, -1])
    assert {"worse", "not worse", "margin: -5 points", "no difference"} == set(texts(ax))
    assert "ref" in ax.get_xlabel()


def test_a_table_without_a_finding_is_refused(pairs):
    with pytest.raises(ValueError, match="'finding'"):
        tl.sampling.figures.differences(pairs.drop(columns="finding"), margin=0.05, reference="ref")


def test_tasks_show_every_score():
    table = pd.DataFrame({"a": [0.25, 1.0], "b": [0.5, np.nan]}, index=["x", "y"])
    assert texts(tl.sampling.figures.task_scores(table)) == ["25%", "50%", "100%"]


def test_each_margin_has_its_curve_and_name():
    table = pd.DataFrame(
        {"margin": [0.05, 0.05, 0.1, 0.1], "examples": [50, 100] * 2, "power": [0.2, 0.4, 0.6, 0.9]}
    )
    ax = tl.sampling.figures.power_curves(table)
    curves = {tuple(line.get_ydata()) for line in ax.lines[1:]}
    assert curves == {(0.2, 0.4), (0.6, 0.9)}
    assert {"5 points", "10 points", "80%"} <= set(texts(ax))


@pytest.fixture(scope="module")
def samples():
    """Task x: both right on all 40. Task y: the cheap model wrong on all 40, the dear one right."""
    rows = [(f"{task}{i}", model, task, float(task == "x" or model == "dear"), 0.001 if model == "cheap" else 0.01)
            for task in "xy" for i in range(40) for model in ("cheap", "dear")]  # fmt: skip
    return pd.DataFrame(rows, columns=["prompt_id", "model_id", "task", "score", "cost_usd"])


def test_the_control_compares_anew_for_a_task_a_margin_and_an_error_cost(samples):
    control = tl.sampling.control.SampleExplorer(
        samples, reference="dear", margin=0.1, error_cost_usd=0.0
    )
    assert "worse by more than 10 points" in control.summary
    before = bytes(control.image.value)
    control.controls["task"].value = "x"
    assert bytes(control.image.value) != before
    assert control.summary.startswith("On x: cheap is the cheapest model that is not worse")
    control.controls["task"].value = "all"
    control.controls["margin"].value = 0.5
    assert control.found.pairs.loc["cheap", "difference"] == -0.5
    control.controls["error_usd"].value = 1.0
    # 1,000 requests: 1 USD for the cheap model, and 500 wrong answers at 1 USD
    assert "501.00" in control.text.value


def test_the_control_gives_the_numbers_of_compare(samples):
    control = tl.sampling.control.SampleExplorer(
        samples, reference="dear", margin=0.2, error_cost_usd=0.05
    )
    found = tl.compare(samples, reference="dear", margin=0.2, error_cost_usd=0.05)
    pd.testing.assert_frame_equal(control.found.pairs, found.pairs)
    assert control.found.verdict == found.verdict


def test_the_control_counts_cut_answers_as_it_is_told(samples):
    cut = samples.assign(status=["truncated" if n % 3 == 0 else "ok" for n in range(len(samples))])
    for truncated in ("set_aside", "wrong"):
        control = tl.sampling.control.SampleExplorer(
            cut, reference="dear", margin=0.2, error_cost_usd=0.05, truncated=truncated
        )
        found = tl.compare(
            cut, reference="dear", margin=0.2, error_cost_usd=0.05, truncated=truncated
        )
        pd.testing.assert_frame_equal(control.found.candidates, found.candidates)
