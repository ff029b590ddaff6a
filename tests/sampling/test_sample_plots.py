"""Figures and control of live sampling: what is drawn is what the tables say."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

import tierlab as tl
from tierlab.core.style import INK
from tierlab.sampling import cases


@pytest.fixture
def pairs():
    rows = {
        "a": (-0.2, -0.3, -0.1, "worse"),
        "b": (-0.01, -0.05, 0.03, "not worse"),
    }
    return pd.DataFrame.from_dict(
        rows, orient="index", columns=["difference", "low", "high", "finding"]
    )


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_scores_stand_at_their_place_with_their_interval():
    table = pd.DataFrame(
        {"score": [0.2, 0.7], "low": [0.1, 0.6], "high": [0.4, 0.8], "answers": [60, 94]},
        index=["a", "b"],
    )
    ax = tl.sampling.figures.pass_rates(table)
    bars, points = ax.lines[::2], ax.lines[1::2]
    assert [list(bar.get_xdata()) for bar in bars] == [[0.1, 0.4], [0.6, 0.8]]
    assert [point.get_xdata()[0] for point in points] == [0.2, 0.7]
    assert {point.get_color() for point in points} == {INK}  # a role, and no tier's colour
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


def test_every_part_of_a_bar_stands_beside_the_one_before():
    table = pd.DataFrame([[0.5, 0.1, 0.2, 0.16, 0.04]], index=["a"], columns=cases.KINDS)
    ax = tl.sampling.figures.kinds({"x": table})
    edges = [(bar.get_x(), bar.get_width()) for bar in ax.patches]
    assert edges == [
        pytest.approx(edge) for edge in zip([0, 0.5, 0.6, 0.8, 0.96], table.loc["a"], strict=True)
    ]
    assert texts(ax) == ["50%", "10%", "20%", "16%"]  # 4% is too narrow for words
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(cases.KINDS)


def test_the_drawing_has_a_square_for_every_example_and_the_sum_of_them():
    pair = pd.Series(
        {"examples": 20, "better": 1, "worse": 4, "difference": -0.15, "low": -0.4, "high": 0.1}
    )
    drawn = tl.sampling.figures.pairs_drawing(pair, margin=0.1, reference="r", challenger="c")
    squares, words = drawn.axes
    colours = pd.Series([patch.get_facecolor() for patch in squares.patches]).value_counts()
    assert sorted(colours) == [1, 4, 15]
    assert "(1 - 4) / 20 = -15.0 points" in texts(words)
    assert "4 where r did better" in texts(words) and "1 where c did better" in texts(words)


def test_partly_right_answers_have_no_sum_of_whole_examples():
    pair = pd.Series(
        {"examples": 2, "better": 0, "worse": 1, "difference": -0.25, "low": -1, "high": 1}
    )
    drawn = tl.sampling.figures.pairs_drawing(pair, margin=0.1, reference="r", challenger="c")
    assert "mean difference of the scores: -25.0 points" in texts(drawn.axes[1])


def test_the_answer_has_a_panel_for_every_case(samples):
    case = cases.case_of("own", samples)
    found = {"own": case.compared.at(0.1), "twice": case.compared.at(0.1)}
    figure = tl.sampling.figures.answer(found)
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        "Own, against large",
        "Twice, against large",
    ]
    assert [ax.get_xlabel() == "" for ax in figure.axes] == [True, False]


def test_the_budget_is_drawn_in_points_with_what_was_recorded(samples):
    table = pd.DataFrame(
        {"gap": [-0.2, 0.0], "used": [0.5, 0.6], "low": [0.2, 0.3], "high": [0.9, 1.0]}
    )
    recorded = pd.DataFrame({"difference": [-0.15], "share": [0.25], "label": ["c, 5 of 20"]})
    ax = tl.sampling.figures.budget_by_gap(table, recorded, margin=0.1)
    line, margin, diamond = ax.lines
    assert list(line.get_xdata()) == [-20, 0] and list(line.get_ydata()) == [0.5, 0.6]
    assert margin.get_xdata()[0] == -10
    assert (diamond.get_xdata()[0], diamond.get_ydata()[0]) == (-15, 0.25)
    assert "c, 5 of 20" in texts(ax)


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
    """Task x: both right on all 40. Task y: the cheap model wrong on all 40, the large one right."""
    rows = [
        (
            f"{task}{i}",
            model,
            task,
            float(task == "x" or model == "large"),
            0.001 if model == "cheap" else 0.01,
        )
        for task in "xy"
        for i in range(40)
        for model in ("cheap", "large")
    ]
    return pd.DataFrame(rows, columns=["prompt_id", "model_id", "task", "score", "cost_usd"])


def explorer(table, *, margin, error_cost_usd, **asked):
    case = cases.case_of("own", table, reference="large", **asked)
    return tl.sampling.control.SampleExplorer([case], margin=margin, error_cost_usd=error_cost_usd)


def test_the_control_compares_anew_for_a_task_a_margin_and_an_error_cost(samples):
    control = explorer(samples, margin=0.1, error_cost_usd=0.0)
    assert "worse by more than 10 points" in control.summary
    before = bytes(control.image.value)
    control.controls["answers"].value = "x"
    assert bytes(control.image.value) != before
    assert control.summary.startswith("On x: cheap is the cheapest model that is not worse")
    control.controls["answers"].value = "own"
    control.controls["margin"].value = 0.5
    assert control.found.pairs.loc["cheap", "difference"] == -0.5
    control.controls["error_usd"].value = 1.0
    # 1,000 requests: 1 USD for the cheap model, and 500 wrong answers at 1 USD
    assert "501.00" in control.text.value


def test_the_control_gives_the_numbers_of_compare(samples):
    control = explorer(samples, margin=0.2, error_cost_usd=0.05)
    found = tl.compare(samples, reference="large", margin=0.2, error_cost_usd=0.05)
    pd.testing.assert_frame_equal(control.found.pairs, found.pairs)
    assert control.found.verdict == found.verdict


def test_the_control_counts_cut_answers_as_it_is_told(samples):
    cut = samples.assign(status=["truncated" if n % 3 == 0 else "ok" for n in range(len(samples))])
    for truncated in ("set_aside", "wrong"):
        control = explorer(cut, margin=0.2, error_cost_usd=0.05, truncated=truncated)
        found = tl.compare(
            cut, reference="large", margin=0.2, error_cost_usd=0.05, truncated=truncated
        )
        pd.testing.assert_frame_equal(control.found.candidates, found.candidates)
