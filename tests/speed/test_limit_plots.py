"""The figures of limits draw what their tables say."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from tierlab.core.style import TIER_STYLE
from tierlab.speed import figures as speed_figures
from tierlab.speed import limits


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def texts(ax):
    return [text.get_text() for text in ax.texts]


def usage():
    at = pd.date_range("2026-01-01", periods=4, freq="min", name="at")
    return pd.DataFrame(
        {
            "requests": [10, 20, 1500, 5],
            "uncached_tokens": [100, 200, 300, 0],
            "cache_read_tokens": 50,
            "output_tokens": 7,
        },
        at,
    )


def test_minutes_and_the_limits_next_to_the_busiest():
    """1,500 requests pass Start (1,000) and not Build (5,000); 300 uncached tokens are far below Start: it is only named."""
    table = limits.load_rate_limits().query("model_id == 'claude-haiku-5-5'")
    figure = speed_figures.minute_usage(usage(), table)
    requests, inputs, output = figure.axes
    assert requests.lines[0].get_ydata().tolist() == [10, 20, 1500, 5]
    assert texts(requests) == ["p99: 1,500", "Start: 1,000", "Build: 5,000"]
    assert texts(inputs) == ["p99: 300", "Start: 2,000,000, 6,667 times as much"]
    assert [line.get_ydata()[0] for line in inputs.lines[1:]] == [300]
    assert inputs.get_ylim()[1] == pytest.approx(1.12 * 300)
    assert output.lines[0].get_ydata().tolist() == [7] * 4
    assert {line.get_ydata()[0] for line in requests.lines[1:]} == {1500, 1000, 5000}


def test_where_all_tokens_count_cache_reads_and_output_do_too():
    table = limits.load_rate_limits().query("model_id == 'gpt-4o'")
    requests, every = speed_figures.minute_usage(usage(), table).axes
    assert every.get_title(loc="left") == "all tokens per minute"
    assert every.lines[0].get_ydata().tolist() == [157, 257, 357, 57]
    assert texts(every) == ["p99: 357", "Tier 1: 30,000, 84 times as much"]
    assert len(requests.lines) == 4


def test_bucket_lines_equal_the_table():
    table = pd.DataFrame(
        {
            "times_mean": [2.0, 1.0, 1.0, 2.0],
            "burst_s": [60, 60, 1, 1],
            "refused_share": [0.0, 0.2, 0.5, 0.1],
        }
    )
    ax = speed_figures.bucket_curve(table)
    assert [line.get_xydata().tolist() for line in ax.lines] == [
        [[1.0, 0.2], [2.0, 0.0]],
        [[1.0, 0.5], [2.0, 0.1]],
    ]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "bucket of 60 s",
        "bucket of 1 s",
    ]
    assert ax.lines[0].get_linestyle() != ax.lines[1].get_linestyle()


def test_a_window_that_is_not_known_has_words_and_no_bar():
    table = pd.DataFrame(
        {
            "provider": "openai",
            "tier": ["mid", "small"],
            "model_id": ["a", "b"],
            "context_window": [128_000, np.nan],
            "fits_share": [0.89, np.nan],
        }
    )
    ax = speed_figures.window_fit(table)
    assert [patch.get_width() for patch in ax.patches] == [0.89, 0]
    assert texts(ax) == ["89% fit 128,000 tokens", "window not known"]


def test_a_step_is_as_long_as_what_it_adds_and_says_how_many_requests_pay_it():
    table = pd.DataFrame(
        {
            "provider": "google",
            "tier": "flagship",
            "model_id": ["a", "b"],
            "context_above": 200_000.0,
            "above_share": [0.05, 0.1],
            "added_share": [0.25, 2.0],
        }
    )
    ax = speed_figures.step_costs(table)
    assert [patch.get_width() for patch in ax.patches] == [0.25, 2.0]
    assert texts(ax) == ["+25%: 5% are above 200,000", "+200%: 10% are above 200,000"]


def test_the_smallest_limit_tier_that_carries_the_traffic_has_the_full_mark_and_its_name():
    """Half of a limit leaves room for twice the traffic; 125% of it for 0.8 times."""
    table = pd.DataFrame(
        {
            "provider": "openai",
            "tier": ["small", "small", "small", "mid"],
            "model_id": ["a", "a", "a", "b"],
            "limit_tier": ["Tier 1", "Tier 2", "Tier 3", "Tier 1"],
            "used": [1.25, 0.5, 0.25, 2.0],
        }
    )
    ax = speed_figures.headroom(table)
    line, none, no_full, every, full = ax.lines  # the mid tier stands above the small one
    assert list(line.get_xdata()) == [1, 1]
    assert list(every.get_xdata()) == [0.8, 2.0, 4.0] and list(full.get_xdata()) == [2.0]
    assert list(none.get_xdata()) == [0.5] and not len(no_full.get_xdata())
    assert texts(ax) == ["none is enough", "Tier 2: 2 times"]
    colors = [line.get_color() for line in (none, every)]
    assert colors == [TIER_STYLE[tier]["color"] for tier in ("mid", "small")]


def test_a_turn_stands_on_what_was_said_and_the_first_over_a_window_is_named():
    """Turns of 10, 20 and 30 tokens: the second passes 15, the third passes 20 and none 30."""
    talk = pd.DataFrame({"turn": [1, 2, 3], "before": [0, 10, 20], "new": 7, "answer": 3})
    ax = speed_figures.filling_window(talk, pd.Series({"a": 15, "b": 20, "c": 30}))
    assert [bar.get_height() for bar in ax.patches] == [0, 10, 20, 10, 10, 10]
    assert [bar.get_y() for bar in ax.patches[3:]] == [0, 10, 20]
    assert texts(ax) == [
        "15: turn 2 does not fit\na",
        "20: turn 3 does not fit\nb",
        "30: all turns fit\nc",
    ]
