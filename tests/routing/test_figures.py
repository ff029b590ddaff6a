"""Figures of routing: what is drawn equals the table, and no label covers a point or another label."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from tierlab.core import finding
from tierlab.routing import figures as routing_figures

CURVE = pd.DataFrame(
    {"strong_share": [0, 0.25, 1.0], "score": [0.5, 0.7, 0.8], "cost_usd": [0.001, 0.004, 0.01]}
)
BAND = pd.DataFrame(
    {"strong_share": [0, 0.5, 1.0], "score_low": [0.4, 0.6, 0.7], "score_high": [0.6, 0.8, 0.9]}
)
CROWDED = pd.DataFrame(
    {
        "label": [
            "always small",
            "always mid",
            "task rules",
            "threshold",
            "cascade",
            "always flagship",
        ],
        "cost_usd": [0.0003, 0.0038, 0.0038, 0.0034, 0.0033, 0.0136],
        "score": [0.888, 0.915, 0.915, 0.915, 0.956, 0.956],
        "tier": ["small", "mid", None, None, None, "flagship"],
    }
).assign(
    score_low=lambda t: t["score"] - 0.015, score_high=lambda t: t["score"] + 0.015, interval="95%"
)


@pytest.fixture(autouse=True)
def fresh():
    finding.use_style()
    yield
    plt.close("all")


def boxes(ax):
    ax.figure.canvas.draw()
    return {text.get_text(): text.get_window_extent() for text in ax.texts}


@pytest.mark.parametrize(("over", "factor"), [("strong_share", 1), ("cost_usd", 1000)])
def test_the_curve_the_random_line_and_the_band_are_the_tables(over, factor):
    ax = routing_figures.routing_curve(CURVE, band=BAND, over=over)
    random, curve = (line.get_xydata() for line in ax.lines)
    assert curve == pytest.approx(np.column_stack([CURVE[over] * factor, CURVE["score"]]))
    assert random == pytest.approx(curve[[0, -1]])
    assert len(ax.collections) == (over == "strong_share")
    if over == "strong_share":
        corners = ax.collections[0].get_paths()[0].vertices
        assert corners[:, 1].min() == 0.4 and corners[:, 1].max() == 0.9


@pytest.mark.parametrize("scores", [[0.5, 0.7, 0.8], [0.8, 0.7, 0.5]])
def test_labels_of_a_curve_stand_clear_of_it(scores):
    marks = pd.DataFrame({"label": ["router"], "strong_share": [0.25], "score": [0.7]})
    ax = routing_figures.routing_curve(CURVE.assign(score=scores), marks=marks)
    found = boxes(ax)
    line = ax.transData.transform(
        np.column_stack(
            [np.linspace(0, 1, 500), np.interp(np.linspace(0, 1, 500), [0, 0.25, 1], scores)]
        )
    )
    assert set(found) == {"random router", "router"}
    for box in found.values():
        assert not ((line > box.min) & (line < box.max)).all(axis=1).any()


def test_policies_stand_at_their_cost_and_score_and_labels_do_not_collide():
    ax = routing_figures.policies(CROWDED, edge=CROWDED.iloc[[0, 4]])
    found = boxes(ax)
    assert set(found) == set(CROWDED["label"])
    assert not any(one.overlaps(other) for one, other in itertools.combinations(found.values(), 2))
    points = CROWDED[["cost_usd", "score"]] * [1000, 1]
    at = ax.transData.transform(points)
    assert not any(box.contains(*mark) for box in found.values() for mark in at)
    drawn = {tuple(container.lines[0].get_xydata()[0]) for container in ax.containers}
    assert drawn == {tuple(point) for point in points.to_numpy()}
    assert ax.lines[0].get_xydata() == pytest.approx(points.iloc[[0, 4]].to_numpy())


def test_the_map_outlines_the_claimed_savings_and_no_others():
    table = pd.DataFrame([[0.40, 0.50], [0.70, 0.71]], index=["a", "b"], columns=[0.5, 0.8])
    ax = routing_figures.saving_map(table, bounds=(0.5, 0.7))
    outlined = {(round(patch.get_y()), round(patch.get_x())) for patch in ax.patches}
    assert outlined == {(0, 1), (1, 0)}
    assert [text.get_text() for text in ax.texts] == ["40%", "50%", "70%", "71%"]
