"""The figures of thinking and distillation, and their control: what is shown is what the arithmetic says."""

import re

import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tierlab.reasoning import distillation, effort
from tierlab.reasoning import figures as reasoning_figures
from tierlab.reasoning.control import OWN, DistillationExplorer, ThinkingExplorer

# Claude Opus 4.8 at the article's 5 / 25 USD per million, 1,000 and 200 tokens: a cent; Haiku 4.5 at 1 / 5: a fifth of it.
SHAPE = {"input_tokens": 1_000, "output_tokens": 200, "requests_per_day": 1_000, "labels": 1_000}


class Certain(DistillationExplorer):
    gap_room, relabel_share = 0.0, 1.0


@pytest.fixture
def explorer(article):
    control = Certain(article, student_usd=0.0005, hour_usd=50)
    settings = {**SHAPE, "hours": 10, "relabel": 0, "drift": 0.0, "gap": 0.0, "error_usd": 0.10}
    for name, value in settings.items():
        control.controls[name].value = value
    return control


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    plt.close("all")


def shown(control):
    rows = re.findall(r"<tr>(.*?)</tr>", control.text.value, re.DOTALL)
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in rows]
    return {row[0]: row[1:] for row in cells if row}


def test_once_and_per_request(explorer):
    """1,000 labels at a cent and ten hours at 50 USD: 510; 9.50 saved per 1,000 requests: repaid after 53,684, 54 days."""
    rows = shown(explorer)
    assert rows["once, before the first request (USD)"] == ["510.00"] * 3
    assert rows["saved per 1,000 requests (USD)"] == ["9.50"] * 3
    assert rows["days until it has paid"][0] == "54.00"
    assert rows["on the day"][0] == "2026-08-04"  # day 1 is 2026-06-12, the day of the prices
    assert explorer.summary == (
        "The student costs $510 once and saves $9.50 per 1,000 requests: from 2026-08-04 on it has paid, after 54 days."
    )


def test_errors_eat_the_saving(explorer):
    """Five points more errors at ten cents: 5 USD per 1,000 requests; ten points: 10 USD, more than is saved."""
    before = explorer.image.value
    explorer.controls["gap"].value = 0.05
    assert shown(explorer)["saved per 1,000 requests (USD)"][0] == "4.50"
    assert explorer.image.value != before
    explorer.controls["gap"].value = 0.10
    assert shown(explorer)["days until it has paid"][0] == "never"
    assert explorer.summary.endswith(
        "loses $0.50 per 1,000 requests: within 24 months it does not pay for good."
    )


def test_a_student_that_makes_fewer_errors_saves_more(explorer):
    explorer.controls["gap"].value = -0.05
    assert shown(explorer)["saved per 1,000 requests (USD)"][0] == "14.50"


def test_a_bought_student_costs_its_price(explorer):
    explorer.controls["student"].value = "claude-haiku-4-5"
    assert shown(explorer)["saved per 1,000 requests (USD)"][0] == "8.00"
    assert shown(explorer)["days until it has paid"][0] == "64.00"  # 510 / 8 thousand requests


def test_a_student_that_nobody_tunes_is_said_to_be_one(explorer):
    """Haiku 4.5 is on no page of data/fine_tuning.csv; Flash-Lite is, at Vertex AI."""
    assert "tune" not in explorer.summary
    explorer.controls["student"].value = "claude-haiku-4-5"
    assert explorer.summary.endswith(
        "without a training fee; no offer to tune it is known on 2026-06-12."
    )
    explorer.controls["student"].value = "gemini-2.5-flash-lite"
    assert explorer.summary.endswith(
        "gemini-2.5-flash-lite is at its list price, without a training fee."
    )


def test_later_trainings_need_requests_of_their_own(explorer):
    explorer.controls["relabel"].value = 1
    rows = shown(explorer)
    # A month has 30,437 requests at 1,000 a day: each training costs more than its month brings.
    assert rows["days until it has paid"][0] == "never"


def test_drift_is_no_part_of_the_saving_fresh_from_training(explorer):
    explorer.controls["drift"].value = 0.02
    explorer.controls["relabel"].value = 3
    rows = shown(explorer)
    assert rows["saved per 1,000 requests (USD)"][0] == "9.50"  # fresh from training


def test_the_room_of_the_gap_is_a_band(article):
    """Two points, give or take one, at half a cent: 10, 5 and 15 cents per 1,000 requests off the saving."""
    control = DistillationExplorer(article, student_usd=0.0)
    saved = [float(cell) for cell in shown(control)["saved per 1,000 requests (USD)"]]
    assert saved[0] - saved[1] == pytest.approx(0.05) and saved[2] - saved[0] == pytest.approx(0.05)
    control.controls["gap"].value = -0.1
    assert 'role="alert"' not in control.text.value


def test_every_setting_redraws_without_an_error(article):
    control = DistillationExplorer(article)
    for name, slider in control.controls.items():
        for value in (
            (slider.options[0], slider.options[-1])
            if hasattr(slider, "options")
            else (slider.min, slider.max)
        ):
            slider.value = value[1] if isinstance(value, tuple) else value
            assert 'role="alert"' not in control.text.value, (name, value)
        assert slider.description and getattr(slider, "continuous_update", False) is False
    assert control.controls["student"].options[0] == OWN


def test_the_control_starts_where_it_is_told(article):
    """Hours and months that are no steps of the controls are added to them."""
    start = {"hours": 325.0, "relabel": 7.0, "gap": 0.01, "error_usd": 0.03}
    control = DistillationExplorer(article, start=start)
    assert {name: control.controls[name].value for name in start} == start
    assert "every 7 months" in repr(control)


def test_the_thinking_control_says_what_its_table_says(article):
    """Haiku 4.5 at 1 / 5 USD: medium effort doubles the output, 300 tokens more at 137.5 a second and a free wait."""
    control = ThinkingExplorer(
        article,
        "anthropic",
        input_tokens=500,
        output_tokens=300,
        error_gap=0.02,
        error_cost_usd=0.1,
        second_usd=0.0,
    )
    assert shown_effort(control, "claude-haiku-4-5", "medium")[-1] == "1.5%"  # 300 x 5 / 1e6 / 0.1
    assert "on claude-haiku-4-5 at low and medium effort" in control.summary
    control.controls["error_usd"].value = 10.0
    assert shown_effort(control, "claude-haiku-4-5", "medium")[-1] == "0.015%"
    control.controls["provider"].value = "google"
    assert "gemini-2.5-flash-lite" in control.summary and 'role="alert"' not in control.text.value


def shown_effort(control, model, effort_name):
    rows = re.findall(r"<tr>(.*?)</tr>", control.text.value, re.DOTALL)
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in rows]
    return next(row for row in cells if row[:2] == [model, effort_name])


class TestFigures:
    def test_a_mark_is_the_gap_of_its_effort_in_the_colour_of_its_tier(self):
        choices = pd.DataFrame(
            {
                "tier": ["small"] * 2 + ["flagship"] * 2,
                "model_id": ["s"] * 2 + ["f"] * 2,
                "effort": ["none", "high"] * 2,
                "gap": [0, 0.01, 0, 0.2],
                "gap_low": [0, 0.005, 0, 0.1],
                "gap_high": [0, 0.02, 0, np.inf],
            }
        )
        ax = reasoning_figures.gaps_needed(choices, error_gap=0.05)
        marks = [line for line in ax.lines if line.get_marker() in "o^"]
        assert [line.get_xdata().tolist() for line in marks] == [[0.01], [0.2]]
        assert [line.get_color() for line in marks] == ["#0173B2", "#D55E00"]
        assert {"expected: 5%"} <= {text.get_text() for text in ax.texts}

    def test_the_drawing_is_to_scale(self, article):
        """High effort is four fifths: 1,200 unseen and 300 seen."""
        message = tl.Workload(requests_per_day=1, input_tokens=500, output_tokens=300)
        usd = {"error_cost_usd": 0.1, "second_usd": 0.0}
        choices = effort.thinking_choices(message, article, "anthropic", **usd)
        ax = reasoning_figures.thinking_drawing(choices)
        assert [bar.get_width() for bar in ax.patches] == pytest.approx([0, 300, 1200, 300] * 2)
        assert {"$0.002", "$0.008", "$0.01", "$0.04"} <= {text.get_text() for text in ax.texts}

    def test_an_investment_is_drawn_with_its_numbers(self):
        plan = distillation.Distillation(
            requests_per_day=100,
            teacher_usd=0.01,
            student_usd=0.0,
            labels=10,
            label_usd=1.0,
            relabel_months=6,
            relabel_share=0.5,
        )
        ax = reasoning_figures.distillation_drawing(plan, teacher="m", days=10)
        said = {text.get_text() for text in ax.texts}
        assert {"$10.00 once", "saves $10.00", "paid after 10 days", "m"} <= said
        assert "requests drift, so new labels every 6 months: $5.00 each time" in said

    def test_an_offer_is_a_bar_from_its_beginning_to_its_end(self):
        offers = distillation.who_offers("2026-11-23")
        ax = reasoning_figures.tuning_offers(offers, days=["2026-06-12", "2026-11-23"])
        names = [label.get_text() for label in ax.get_yticklabels()]
        bars = {round(bar.get_y() + 0.275): bar for bar in ax.patches if bar.get_width() > 0}
        ends = bars[names.index("OpenAI API: gpt-4.1-nano")]
        assert ends.get_x() + ends.get_width() == mdates.date2num(pd.Timestamp("2026-10-23"))
        assert ends.get_hatch()  # closed to newcomers since May
        assert not any("command" in name for name in names)  # over before the first day

    def test_multiples_lie_on_the_curve(self):
        figure = reasoning_figures.reasoning_multiple(
            effort.load_efforts().loc[["low", "high"]], marks={"four": 4.0}
        )
        points = [
            line.get_xydata()[0].tolist()
            for line in figure.axes[0].lines
            if line.get_marker() == "o"
        ]
        assert points == [pytest.approx([0.2, 1.25]), pytest.approx([0.8, 5.0])]
        assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == ["low", "high"]

    def test_a_bar_is_as_long_as_the_request(self):
        times = pd.DataFrame(
            {
                "ttft_s": 1.0,
                "first_visible_s": [1.0, 4.0],
                "seconds": [6.0, 9.0],
                "seconds_low": 5,
                "seconds_high": 12,
            },
            index=["none", "high"],
        )
        bars = reasoning_figures.effort_times(times).patches
        widths = np.array([bar.get_width() for bar in bars]).reshape(3, 2)
        assert [bar.get_x() + bar.get_width() for bar in bars[4:]] == [
            6.0,
            9.0,
        ]  # the answer ends where the request does
        assert widths.sum(axis=0).tolist() == [6.0, 9.0]
        assert widths[1].tolist() == [0.0, 3.0]

    def test_the_line_is_the_break_even(self):
        """2 cents: at a dollar an error two points must be saved; at 1 cent no gap is enough, so the line ends."""
        ax = reasoning_figures.thinking_map(0.02, 10, second_usd=(0.0,))
        costs, gaps = ax.lines[0].get_data()
        assert np.interp(1.0, costs, gaps) == pytest.approx(0.02, rel=0.01)
        assert costs.min() >= 0.02

    def test_lines_meet_where_the_student_has_paid(self):
        plan = distillation.Distillation(
            requests_per_day=100, teacher_usd=0.01, student_usd=0.0, labels=10, label_usd=1.0
        )
        costs = distillation.cumulative_cost(plan, months=1)
        paid = distillation.break_even(plan, start="2026-12-01")
        ax = reasoning_figures.investment(
            costs, start="2026-12-01", break_even=paid.loc["days", "value"]
        )
        ring = next(
            line
            for line in ax.lines
            if line.get_marker() == "o" and not line.get_linestyle().strip("None")
        )
        # Ten dollars at a dollar a day: the tenth day.
        assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (paid.loc["on", "value"], 10)
        assert "paid after 10 days" in [text.get_text() for text in ax.texts]

    def test_a_learning_curve_has_a_line_for_each_teacher_and_a_level_for_each_rival(self):
        table = pd.DataFrame(
            {
                "labelled_by": ["person", "person", "model", "model"],
                "labels": [50, 100, 50, 100],
                "score": [0.5, 0.7, 0.4, 0.6],
            }
        ).assign(low=lambda t: t["score"] - 0.1, high=lambda t: t["score"] + 0.1)
        ax = reasoning_figures.learning_curve(table, levels={"small": 0.65})
        assert [list(line.get_ydata()) for line in ax.lines if len(line.get_ydata()) == 2][:1] == [
            [0.5, 0.7]
        ]
        assert {"person", "model", "small 65%"} <= {text.get_text() for text in ax.texts}
