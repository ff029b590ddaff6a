"""What the figures of limits draw is what their tables say."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

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
    """1,500 requests pass Start (1,000) and not Build (5,000); 300 uncached tokens pass nothing, so only Start is drawn."""
    table = limits.load_rate_limits().query("model_id == 'claude-haiku-5-5'")
    figure = speed_figures.minute_usage(usage(), table)
    requests, inputs, output = figure.axes
    assert requests.lines[0].get_ydata().tolist() == [10, 20, 1500, 5]
    assert texts(requests) == ["p99: 1,500", "Start: 1,000", "Build: 5,000"]
    assert texts(inputs) == ["p99: 300", "Start: 2,000,000"]
    assert output.lines[0].get_ydata().tolist() == [7] * 4
    assert {line.get_ydata()[0] for line in requests.lines[1:]} == {1500, 1000, 5000}


def test_where_all_tokens_count_cache_reads_and_output_do_too():
    table = limits.load_rate_limits().query("model_id == 'gpt-4o'")
    requests, every = speed_figures.minute_usage(usage(), table).axes
    assert every.get_title(loc="left") == "all tokens per minute"
    assert every.lines[0].get_ydata().tolist() == [157, 257, 357, 57]
    assert texts(every) == ["p99: 357", "Tier 1: 30,000"]
    assert len(requests.lines) == 4


def test_bucket_lines_equal_the_table():
    table = pd.DataFrame(
        {
            "per_minute": [20, 10, 10, 20],
            "burst_s": [60, 60, 1, 1],
            "refused_share": [0.0, 0.2, 0.5, 0.1],
        }
    )
    ax = speed_figures.bucket_curve(table)
    assert [line.get_xydata().tolist() for line in ax.lines] == [
        [[10, 0.2], [20, 0.0]],
        [[10, 0.5], [20, 0.1]],
    ]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "bucket of 60 s",
        "bucket of 1 s",
    ]
    assert ax.lines[0].get_linestyle() != ax.lines[1].get_linestyle()


def test_a_window_that_is_not_known_has_words_and_no_bar():
    table = pd.DataFrame(
        {"provider": "openai", "tier": ["mid", "small"], "model_id": ["a", "b"], "context_window": [128_000, np.nan],
         "fits_share": [0.89, np.nan]}
    )  # fmt: skip
    ax = speed_figures.window_fit(table)
    assert [patch.get_width() for patch in ax.patches] == [0.89, 0]
    assert texts(ax) == ["89% fit 128,000 tokens", "window not known"]


def test_ratios_stand_at_their_values_with_their_ends():
    table = pd.DataFrame(
        {
            "label": ["x / y", "z / y"],
            "ratio": [1.25, np.nan],
            "low": [1.0, 1.0],
            "high": [1.7, 1.35],
        }
    )
    ax = speed_figures.token_ratios(table)
    assert ax.collections[0].get_segments()[0].tolist() == [[1.0, 0.0], [1.7, 0.0]]
    assert ax.lines[1].get_xdata()[0] == 1.25
    assert texts(ax) == ["1.250", "no middle given"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["x / y", "z / y"]


@pytest.mark.parametrize(
    "figure",
    [
        speed_figures.minute_usage,
        speed_figures.bucket_curve,
        speed_figures.window_fit,
        speed_figures.token_ratios,
    ],
)
def test_a_missing_column_is_named(figure):
    with pytest.raises(ValueError, match=f"{figure.__name__} needs a column"):
        figure(*[pd.DataFrame({"other": [1]})] * (2 if figure is speed_figures.minute_usage else 1))
