"""Figures of the quarterly report: what is drawn equals the table, bars begin at zero, names from a log stay text."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from tierlab.core import finding
from tierlab.core.style import tier_style
from tierlab.quarter import figures as quarter_figures
from tierlab.quarter.outlook import forecast

EVIL = "<script>alert(1)</script> $x^2$"


@pytest.fixture(autouse=True)
def house_style():
    finding.use_style()
    yield
    plt.close("all")


def texts(ax):
    return [t.get_text() for t in [*ax.texts, *ax.get_yticklabels()]]


def effects():
    return pd.DataFrame(
        {"effect": ["volume", "tier_mix", "cache_batch", "price"], "usd": [30.0, 0.0, 10.0, -20.0]}
    )


def test_the_waterfall_leads_from_one_quarter_to_the_next():
    ax = quarter_figures.waterfall(effects(), 100.0, 120.0)
    bars = [end for b in ax.patches for end in (b.get_x(), b.get_x() + b.get_width())]
    assert bars == pytest.approx([0, 100, 100, 130, 130, 140, 120, 140, 0, 120])
    assert ax.get_xlim()[0] == 0
    assert {"+$30", "+$10", "\N{MINUS SIGN}$20", "$100", "$120", "cache and batch"} <= set(
        texts(ax)
    )
    assert "tier mix" not in texts(ax)


@pytest.mark.parametrize("narrow", [False, True])
def test_the_causes_lead_over_the_budget_line_and_no_label_is_crossed_by_it(narrow):
    """100, +30, then 130; a decision of 40 makes 90, a test of 10 more makes 80."""
    kinds = ["level", "cause", "level", "saves", "estimate", "test", "estimate"]
    steps = pd.DataFrame({"label": EVIL, "usd": [100.0, 30, 130, -40, 90, -10, 80], "kind": kinds})
    ax = quarter_figures.causes_waterfall(steps, budget_usd=95.0, narrow=narrow)
    bars = [(b.get_x(), b.get_width()) for b in ax.patches]
    assert bars == [(0, 100), (100, 30), (0, 130), (90, 40), (0, 90), (80, 10), (0, 80)]
    said = [text for text in ax.texts if "$x^2$" not in text.get_text()]
    assert [text.get_text() for text in said] == [
        "$100",
        "+$30",
        "$130",
        "\N{MINUS SIGN}$40",
        "about $90",
        "\N{MINUS SIGN}$10",
        "about $80",
        "budget $95",
    ]
    assert all(text.get_bbox_patch() and text.zorder > ax.lines[-1].zorder for text in said)
    rows = [bar.get_y() for bar in ax.patches]
    assert rows == sorted(rows) and ax.get_ylim()[0] > rows[-1]


def test_a_waterfall_that_does_not_add_up_is_refused():
    with pytest.raises(ValueError, match="differ by -1 USD"):
        quarter_figures.waterfall(effects(), 100.0, 121.0)


def days():
    spend = np.full(92, 10.0)
    spend[20] = 50.0
    table = pd.DataFrame(
        {"day": pd.date_range("2026-07-01", periods=92), "usd": spend, "expected": 10.0}
    )
    return table.assign(flagged=table["usd"] > 20)


def test_days_mark_what_is_flagged_and_draw_the_budget():
    events = pd.DataFrame(
        {
            "over": ["total"],
            "start": [pd.Timestamp("2026-07-21")],
            "end": [pd.Timestamp("2026-07-21")],
            "days": [1],
            "direction": ["above"],
            "excess_usd": [40.0],
        }
    )
    ax = quarter_figures.spend_days(days(), events=events, budget_usd=920.0)
    by_label = {line.get_label(): line for line in ax.lines}
    assert by_label["spend"].get_ydata().tolist() == days()["usd"].tolist()
    assert by_label["flagged"].get_ydata().tolist() == [50.0]
    assert {"21 Jul, 1 day: $40 over", "budget $10"} <= set(texts(ax))
    assert ax.get_ylim()[0] == 0


def test_months_stack_the_tiers():
    months = pd.DataFrame(
        {
            "period": ["2026-07", "2026-07", "2026-08"],
            "tier": ["small", "flagship", "mid"],
            "cost_usd": [1.0, 3.0, 2.0],
        }
    )
    ax = quarter_figures.tier_months(months)
    tops = {}
    for bar in ax.patches:
        place = round(bar.get_x() + bar.get_width() / 2)
        tops[place] = max(tops.get(place, 0), bar.get_y() + bar.get_height())
    assert tops == pytest.approx({0: 4.0, 1: 2.0})
    assert {"25%", "75%", "100%"} <= set(texts(ax))
    assert tier_style("flagship")["color"].lower() in {
        plt.matplotlib.colors.to_hex(b.get_facecolor()) for b in ax.patches
    }


def test_savings_are_ordered_bars_and_held_ones_are_white():
    table = pd.DataFrame(
        {
            "kind": "move",
            "what": ["a", EVIL],
            "usd": [9.0, 4.0],
            "status": ["to test", "against the task table"],
        }
    )
    ax = quarter_figures.savings_bars(table)
    assert [b.get_width() for b in ax.patches] == [9.0, 4.0]
    assert ax.patches[1].get_facecolor() == (1, 1, 1, 1)
    assert any("$9.00  to test" in text for text in texts(ax))
    label = ax.get_yticklabels()[1]
    assert label.get_text().replace("\n", " ") == f"move: {EVIL}"
    assert not label.get_parse_math()
    ax.figure.canvas.draw()
    with pytest.raises(ValueError, match="no saving to show"):
        quarter_figures.savings_bars(table.head(0))
    many = pd.concat([table] * 6, ignore_index=True)
    assert "7 more not shown" in quarter_figures.savings_bars(many).get_xlabel()


def test_the_fan_shows_the_total_and_its_band():
    history = pd.Series(10.0, pd.date_range("2026-07-01", periods=91))
    found = forecast(history, "2026-12-31")
    ax = quarter_figures.forecast_fan(history.rename_axis("day").rename("usd").reset_index(), found)
    assert any(text.startswith("2026Q4: $920 (") for text in texts(ax))
    drawn = {line.get_label(): line for line in ax.lines}
    assert drawn["spend"].get_ydata().tolist() == [10.0] * 91
    dashed = drawn["forecast, mean of 7 days"]
    assert dashed.get_ydata()[7:] == pytest.approx(found.days["usd"].rolling(7).mean().dropna())
    # It begins where the past ends: on its last day, at its last mean.
    assert dashed.get_xdata()[0] == drawn["its mean"].get_xdata()[-1] == history.index[-1]
    assert dashed.get_ydata()[0] == drawn["its mean"].get_ydata()[-1] == pytest.approx(10)


def test_a_spike_is_a_dot_and_no_plateau_and_a_lasting_event_begins_a_new_mean():
    """20 days at 10 dollars, one at 80, 30 more at 10, and 40 at 20."""
    day = pd.date_range("2026-07-01", periods=91)
    past = pd.DataFrame({"day": day, "usd": [10.0] * 20 + [80.0] + [10.0] * 30 + [20.0] * 40})
    events = pd.DataFrame(
        {
            "over": ["total", "team"],
            "lasts": [False, True],
            "start": day[[20, 51]],
            "end": day[[20, 90]],
        }
    )
    spend = past.set_index("day")["usd"]
    found = forecast(spend, "2026-12-31", shifts=[day[51]])
    ax = quarter_figures.forecast_fan(past, found, events=events)
    means = [line.get_ydata().tolist() for line in ax.lines[1:3]]
    assert means == [[10.0] * 51, [20.0] * 40]


def test_unit_costs_say_what_is_not_known():
    table = pd.DataFrame(
        {"name": ["a", "b"], "share": [0.9, 0.1], "usd_per_request": [0.02, np.nan]}
    )
    ax = quarter_figures.unit_costs(table)
    assert {"$0.02  (90% of the spend)", "not known  (10% of the spend)"} <= set(texts(ax))
    assert ax.get_xlabel() == "USD per request"


def test_a_quarter_like_the_one_before_has_no_steps():
    ax = quarter_figures.waterfall(effects().assign(usd=0.0), 100.0, 100.0)
    assert [bar.get_width() for bar in ax.patches] == [100.0, 100.0]
