"""Figures of thinking and of distillation: multiples, waits, break-even lines, money over time, learning curves."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from tierlab.core.format import share, usd
from tierlab.core.style import (
    BASELINE,
    INK,
    TIER_STYLE,
    axes,
    dates,
    from_zero,
    label_ends,
    name_rows,
    need,
    note,
    plain,
)
from tierlab.reasoning.effort import billed_output, thinking_break_even

_HATCHES = {"wait": ("#d9d9d9", ""), "reasoning": (BASELINE, "////"), "answer": (INK, "")}


def reasoning_multiple(efforts, *, marks=None):
    """Billed output over visible output against the reasoning share; below it what each effort is taken to spend.

    Parameters
    ----------
    efforts : DataFrame
        Table of `tierlab.reasoning.effort.load_efforts`, or rows of it: share, share_low, share_high, indexed by effort.
    marks : dict of str to float, optional
        Multiples to draw as level lines, by their label.

    Returns
    -------
    Figure
    """
    need("reasoning_multiple", efforts, "share", "share_low", "share_high")
    width, height = mpl.rcParams["figure.figsize"]
    size = (width, height + 0.2 * len(efforts))
    figure, (top, below) = plt.subplots(
        2, 1, figsize=size, sharex=True, height_ratios=(height - 1, 0.26 * len(efforts))
    )
    grid = np.linspace(0, 0.97, 200)
    top.plot(grid, billed_output(1, grid), color=INK)
    for label, multiple in (marks or {}).items():
        top.axhline(multiple, color=BASELINE, lw=1.2, ls="--")
        note(top, label, (0, multiple), (4, 7))
    for row, line in enumerate(efforts.itertuples()):
        below.plot([line.share_low, line.share_high], [row, row], color=BASELINE, lw=2)
        below.plot([line.share], [row], color=INK, marker="o", ms=5)
        top.plot([line.share], [billed_output(1, line.share)], color=INK, marker="o", ms=5)
        note(below, f"{billed_output(1, line.share):,.3g}x", (line.share_high, row), (6, 0))
    top.set(yscale="log", ylabel="billed over visible output\n(logarithmic scale)")
    top.set_yticks([1, 2, 3, 5, 10, 20, 30])
    top.minorticks_off()
    top.yaxis.set_major_formatter("{x:,.0f}x")
    name_rows(below, list(efforts.index))
    below.set(
        xlim=(0, 1.06),
        xlabel="reasoning share (of billed output)\nlower bars: the range assumed for each effort",
    )
    plain(below.xaxis, share=True)
    below.set_xticks(np.linspace(0, 1, 6))
    return figure


def effort_times(efforts, *, ax=None):
    """What a reader waits for at each effort: the first token, the reasoning, the answer.

    Parameters
    ----------
    efforts : DataFrame
        Table of `tierlab.effort_costs`, indexed by effort: first_visible_s, seconds, seconds_low, seconds_high, and
        ttft_s.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need(
        "effort_times",
        efforts,
        "ttft_s",
        "first_visible_s",
        "seconds",
        "seconds_low",
        "seconds_high",
    )
    ax = axes(ax, height=1.0 + 0.42 * len(efforts))
    names = list(efforts.index)
    parts = {"wait": efforts["ttft_s"], "reasoning": efforts["first_visible_s"] - efforts["ttft_s"]}
    parts["answer"] = efforts["seconds"] - efforts["first_visible_s"]
    start = np.zeros(len(efforts))
    for name, width in parts.items():
        color, hatch = _HATCHES[name]
        label = {
            "wait": "before any token",
            "reasoning": "reasoning, unseen",
            "answer": "the answer",
        }[name]
        ax.barh(
            range(len(names)),
            width,
            0.55,
            left=start,
            color=color,
            hatch=hatch,
            edgecolor="white",
            lw=0,
            label=label,
        )
        start = start + width.to_numpy()
    for row, line in enumerate(efforts.itertuples()):
        ax.plot([line.seconds_low, line.seconds_high], [row + 0.38] * 2, color=INK, lw=1)
        note(ax, f"{line.seconds:,.0f} s", (line.seconds_high, row + 0.38), (5, 0))
    name_rows(ax, names, above=0.1)
    from_zero(
        ax,
        efforts["seconds_high"].max() * 1.1,
        "time of a request (seconds)\nlines below: ends of the assumed shares and speeds",
    )
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0.2)
    return ax


def thinking_map(
    extra_usd,
    extra_s,
    *,
    second_usd=(0.0, 0.001, 0.01),
    error_costs=(0.01, 100),
    point=None,
    ax=None,
):
    """Error gap above which thinking pays, against the cost of an error, for some values of a second.

    Parameters
    ----------
    extra_usd, extra_s : float
        What thinking adds to a request: USD and seconds.
    second_usd : sequence of float
        Values of a second of waiting (USD), one line each.
    error_costs : (float, float)
        Ends of the horizontal axis, USD per error.
    point : (float, float), optional
        Error cost (USD) and error gap (share) of one's own.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax, ends = axes(ax), []
    costs = np.geomspace(*error_costs, 120)
    for second, dash in zip(second_usd, ("-", "--", "-.", ":"), strict=False):
        gap = thinking_break_even(extra_usd, extra_s, error_cost_usd=costs, second_usd=second)
        seen = np.isfinite(gap)
        ax.plot(costs[seen], gap[seen], color=INK, ls=dash)
        ends.append(
            (
                costs[-1],
                gap[-1],
                f"a second is worth\n{usd(second)}" if second else "nobody waits",
                INK,
            )
        )
    if point is not None:
        ax.plot(
            *([value] for value in point),
            ls="",
            marker="D",
            color=TIER_STYLE["flagship"]["color"],
            ms=7,
            zorder=5,
        )
        note(ax, "yours", point, (9, 0))
    ax.set(xscale="log", yscale="log", ylim=(1e-4, 1), xlim=error_costs)
    ax.set(
        xlabel="cost of an error (USD, logarithmic scale)",
        ylabel="errors avoided by thinking\n(share of requests, logarithmic scale)",
    )
    note(ax, "thinking pays above its line", (error_costs[1], 0.5), (-4, 0), align="right")
    plain(ax.xaxis, log=True)
    plain(ax.yaxis, log=True)
    ax.yaxis.set_major_formatter(lambda value, _position: f"{value * 100:g}%")
    label_ends([(ax, ends)])
    return ax


def investment(costs, *, start, break_even, names=("teacher", "student"), ax=None):
    """Money spent over time with the teacher and with the student; where the lines cross, the student has paid.

    Parameters
    ----------
    costs : DataFrame
        Table of `tierlab.reasoning.distillation.cumulative_cost`.
    start : str
        ISO date of day 1.
    break_even : float
        Day to mark, of `tierlab.reasoning.distillation.break_even`; none is marked if it is infinite.
    names : (str, str)
        Teacher and student, as they are to be called.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need("investment", costs, "teacher_usd", "student_usd", "student_usd_low", "student_usd_high")
    ax = axes(ax)
    days = pd.Timestamp(start) + pd.to_timedelta(costs.index - 1, unit="D")
    ends = []
    for column, name, tier in (
        ("teacher_usd", names[0], "flagship"),
        ("student_usd", names[1], "small"),
    ):
        style = TIER_STYLE[tier]
        ax.plot(days, costs[column], **style, markevery=max(len(costs) // 6, 1))
        ax.fill_between(
            days,
            costs[f"{column}_low"],
            costs[f"{column}_high"],
            color=style["color"],
            alpha=0.16,
            lw=0,
        )
        ends.append((days[-1], costs[column].iloc[-1], name, style["color"]))
    if break_even in costs.index:
        at, spent = days[int(break_even)], costs["student_usd"].loc[break_even]
        ax.plot([at], [spent], ls="", marker="o", mfc="white", mec=INK, mew=1.5, ms=9, zorder=5)
        note(ax, f"paid after {break_even:,.0f} days", (at, spent), (8, -12))
    ranged = (costs["student_usd_low"] < costs["student_usd_high"]).any() or (
        costs["teacher_usd_low"] < costs["teacher_usd_high"]
    ).any()
    ax.set_xlabel("date" + ("\nbands: ends of the given ranges" if ranged else ""))
    ax.set_ylabel("spent so far, errors included (USD)")
    ax.set_ylim(0)
    ax.margins(x=0)
    dates(ax.xaxis)
    plain(ax.yaxis)
    label_ends([(ax, ends)])
    return ax


def learning_curve(scores, *, levels=None, bars="lowest and highest of the draws", ax=None):
    """Score of a student against the number of labels it was trained on.

    Parameters
    ----------
    scores : DataFrame
        Table of `tierlab.reasoning.student.learning_curve`: labels, score, low, high (0-1), optionally labelled_by, a line each.
    levels : dict of str to float, optional
        Scores to compare with, drawn level, by name.
    bars : str
        What low and high are.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need("learning_curve", scores, "labels", "score", "low", "high")
    ax, ends = axes(ax), []
    lines = (
        scores.groupby("labelled_by", sort=False)
        if "labelled_by" in scores
        else [("student", scores)]
    )
    for (name, line), (dash, marker) in zip(
        lines, (("-", "o"), ("--", "s"), ("-.", "^"), (":", "D")), strict=False
    ):
        line = line.sort_values("labels")
        spread = [line["score"] - line["low"], line["high"] - line["score"]]
        ax.errorbar(
            line["labels"],
            line["score"],
            spread,
            color=INK,
            ls=dash,
            marker=marker,
            ms=5,
            elinewidth=1,
        )
        ends.append((scores["labels"].max(), line["score"].iloc[-1], name, INK))
    for name, score in (levels or {}).items():
        ax.axhline(score, color=TIER_STYLE["flagship"]["color"], ls="-.", lw=1.3)
        ends.append(
            (
                scores["labels"].max(),
                score,
                f"{name} {share(score)}",
                TIER_STYLE["flagship"]["color"],
            )
        )
    ax.set(
        xscale="log",
        ylim=(0, 1.02),
        xlabel=f"labels it was trained on (logarithmic scale)\nbars: {bars}",
        ylabel="right answers (share)",
    )
    ax.set_xticks(sorted(scores["labels"].unique()))
    ax.minorticks_off()
    ax.xaxis.set_major_formatter("{x:,.0f}")
    plain(ax.yaxis, share=True)
    label_ends([(ax, ends)])
    return ax
