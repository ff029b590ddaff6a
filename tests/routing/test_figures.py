"""Figures of routing: what is drawn equals the table, and no label covers a point or another label."""

import dataclasses
import itertools

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tierlab.core import finding
from tierlab.routing import figures as routing_figures
from tierlab.routing import payback

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


PAY = payback.Payback("always mid", "router: own", 0.012, 0.009, 1000, 1000.0, 0.002, 0.004)


def test_the_answer_stacks_price_and_errors_and_marks_where_we_stand():
    days = pd.DataFrame(
        {"price": [3.0, 2.0], "errors": [6.0, 10.0], "total": [9.0, 12.0]},
        index=["router: own", "always mid"],
    )
    left, right = routing_figures.answer(days, PAY).axes
    assert [bar.get_width() for bar in left.patches] == [3.0, 6.0, 2.0, 10.0]
    assert left.patches[2].get_facecolor() == matplotlib.colors.to_rgba("#DE8F05")
    assert {text.get_text() for text in left.texts} == {"$9.00", "$12.00"}
    point = next(line for line in right.lines if line.get_marker() == "D")
    assert point.get_xydata()[0] == pytest.approx([1000, 1000 / 3])
    curve = right.lines[0].get_xydata()
    assert curve[:, 0] * curve[:, 1] == pytest.approx(np.full(len(curve), 1e6 / 3))
    band = right.collections[0].get_paths()[0].vertices
    at_home = band[np.isclose(band[:, 0], 1000)][:, 1]
    assert sorted(set(at_home.round(6))) == pytest.approx([1000 / 4, 1000 / 2])
    never = dataclasses.replace(PAY, router_usd=0.02)
    assert "never" in routing_figures.days_to_payback(never).texts[0].get_text()


def test_the_bill_and_the_router_s_drawing_show_the_same_dollars():
    bill = payback.routed_bill(
        tl.load_prices("article"),
        tl.load_product().message,
        small="claude-haiku-4-5",
        flagship="claude-opus-4-8",
    )
    ax = routing_figures.bill(payback.ways(bill, 1_000_000))
    assert [text.get_text() for text in ax.texts] == [
        "$10,000",
        "$4,160  saves 58.4%",
        "$3,600  saves 64%",
        "$2,000  saves 80%",
    ]
    ax = routing_figures.router_drawing(bill, messages=1_000_000).axes[0]
    said = " ".join(text.get_text() for text in ax.texts)
    for words in ("$560 a day", "$1,600 a day", "$2,000 a day", "$4,160", "$3,600", "80%", "20%"):
        assert words in said


def test_the_map_s_edge_is_where_nothing_is_gained():
    parts = pd.DataFrame(
        {"share": [0.5, 0.5], "weak_usd": [0.0, 0.1], "strong_usd": [0.02, 0.02]},
        index=["simple", "complex"],
    )
    points = pd.DataFrame({"label": ["own"], "simple_right": [0.9], "complex_right": [0.7]})
    pay = dataclasses.replace(PAY, build_cost_usd=100.0)
    ax = routing_figures.classifier_map(parts, call_usd=0.001, pay=pay, points=points)
    edges = [c for c in ax.collections if isinstance(c, matplotlib.contour.QuadContourSet)][1]
    within = 100 / (365 * 1000)
    for gain, segments in zip((0, within), edges.allsegs, strict=True):
        assert len(segments[0])
        for q, p in np.concatenate(segments):
            found = payback.classifier_gain(parts, p, q, call_usd=0.001, single_usd=0.012)
            assert found == pytest.approx(gain, abs=1e-6)
    assert any(line.get_marker() == "D" and line.get_xdata()[0] == 0.7 for line in ax.lines)


def test_savings_in_conversations_stand_where_the_table_says():
    table = pd.DataFrame(
        {"saving": [0.4, 0.64], "low": [0.38, 0.6], "high": [0.42, 0.66], "promised": [0.64, 0.64]},
        index=["per turn", "per conversation"],
    )
    ax = routing_figures.conversation_savings(table)
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["promised"].get_xdata().tolist() == [0.64, 0.64]
    assert lines["replayed"].get_xdata().tolist() == [0.4, 0.64]
    assert [text.get_text() for text in ax.texts] == ["40%", "64%", "64%"]


def test_the_drawing_of_a_conversation_has_a_bar_for_what_is_read_and_what_is_written():
    turns = pd.DataFrame(
        {
            "turn": [1, 2, 3],
            "tier": ["small", "flagship", "small"],
            "model_id": ["a", "b", "a"],
            "cost_usd": [0.01, 0.05, 0.02],
            "input_tokens": [6200, 6700, 7300],
            "cache_read_tokens": [0, 0, 6200],
            "cache_write_tokens": [6200, 6700, 1000],
        }
    )
    top, low = routing_figures.conversation_drawing(turns, small_usd=0.03).axes
    assert [bar.get_height() for bar in top.patches] == [0, 6700, 0]
    # read, written and, of the last turn, 100 that no cache took; then what is held meanwhile
    assert [bar.get_height() for bar in low.patches] == [0, 6200, 0, 6200, 1000, 100, 6200]
    assert "$0.08" in " ".join(text.get_text() for text in top.texts)
