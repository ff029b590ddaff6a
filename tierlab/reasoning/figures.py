"""Figures of thinking and of distillation: multiples, waits, break-evens, money over time, scores, and two drawings."""

from textwrap import shorten

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patches import FancyBboxPatch

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
    note,
    plain,
)
from tierlab.reasoning.distillation import fixed_usd, saving_usd
from tierlab.reasoning.effort import billed_output, thinking_break_even
from tierlab.scaling.figures import cost_curve

_PARTS = (  # of a wait: label, colour, hatch
    ("before any token", "#d9d9d9", ""),
    ("reasoning, unseen", BASELINE, "////"),
    ("the answer", INK, ""),
)


def reasoning_multiple(efforts, *, marks=None):
    """Draw billed over visible output against the reasoning share, and below it what each effort is assumed to spend.

    Parameters
    ----------
    efforts : DataFrame
        Table of `tierlab.reasoning.effort.load_efforts`, or rows of it: share, share_low, share_high, indexed by effort.
    marks : dict of str to float, optional
        Multiples to draw as level lines, by label.

    Returns
    -------
    Figure
    """
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
        note(
            below,
            f"{billed_output(1, line.share):,.3g}\N{MULTIPLICATION SIGN}",
            (line.share_high, row),
            (6, 0),
        )
    top.set(yscale="log", ylabel="billed over visible output\n(logarithmic scale)")
    top.set_yticks([1, 2, 3, 5, 10, 20, 30])
    top.minorticks_off()
    top.yaxis.set_major_formatter("{x:,.0f}\N{MULTIPLICATION SIGN}")
    name_rows(below, list(efforts.index))
    below.set(
        xlim=(0, 1.06),
        xlabel="reasoning share (of billed output)\nlower bars: the range assumed for each effort",
    )
    plain(below.xaxis, share=True)
    below.set_xticks(np.linspace(0, 1, 6))
    return figure


def gaps_needed(choices, *, error_gap, ax=None):
    """Draw what each effort has to achieve on the small model and on the flagship, beside what you expect of it.

    Parameters
    ----------
    choices : DataFrame
        Table of `tierlab.reasoning.effort.thinking_choices`.
    error_gap : float
        Share of requests (0-1) that you expect thinking to set right.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    shown = choices[choices["effort"] != "none"]
    efforts = list(shown["effort"].drop_duplicates())
    ax = axes(ax, height=1.3 + 0.5 * len(efforts))
    for tier, rows in shown.groupby("tier", sort=False):
        style, up = TIER_STYLE[tier], 0.17 if tier == "flagship" else -0.17
        at = [efforts.index(effort) + up for effort in rows["effort"]]
        ends = rows[["gap_low", "gap_high"]].clip(1e-4, 2).to_numpy()
        ax.hlines(at, *ends.T, color=style["color"], lw=2, alpha=0.6)
        name = f"{tier}: {rows['model_id'].iloc[0]}"
        ax.plot(rows["gap"], at, **style | {"linestyle": "", "ms": 8}, label=name)
    ax.axvline(error_gap, color=INK, lw=1.2, ls="--")
    note(ax, f"expected: {share(error_gap)}", (error_gap, -0.62), (5, 0))
    name_rows(ax, efforts, above=0.35)
    ax.set(xscale="log", xlim=(1e-4, 1.3))
    ax.set_xlabel(
        "requests that thinking must set right to pay (share, logarithmic scale)\n"
        "lines: ends of the assumed reasoning shares and speeds"
    )
    plain(ax.xaxis, log=True, share=True)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
    return ax


def thinking_drawing(choices, *, effort="high"):
    """Draw the tokens of a request with and without thinking to scale, with its price and its wait.

    Parameters
    ----------
    choices : DataFrame
        Table of `tierlab.reasoning.effort.thinking_choices`.
    effort : str
        Which effort to show beside no thinking.

    Returns
    -------
    Axes
    """
    rows = choices[choices["effort"].isin(["none", effort])].reset_index(drop=True)
    ax = axes(None, height=1.2 + 0.48 * len(rows))
    whole = rows["billed_tokens"].max()
    hidden = rows["billed_tokens"] * rows["share"]
    answer = (rows["billed_tokens"] - hidden).round()
    for row, line in enumerate(rows.itertuples()):
        color = TIER_STYLE[line.tier]["color"]
        light = 1 - 0.25 * (1 - np.array(mpl.colors.to_rgb(color)))
        ax.barh(row, hidden[row], 0.56, color=[light], edgecolor=color)
        ax.barh(row, answer[row], 0.56, left=hidden[row], color=color, edgecolor=color)
        if hidden[row]:
            note(ax, f"{hidden[row]:,.0f} reasoning tokens, unseen", (0, row), (8, 0))
        note(ax, f"{answer[row]:,.0f} seen", (line.billed_tokens, row), (6, 0))
        note(ax, usd(line.cost_usd), (1.62 * whole, row), (0, 0), align="right", weight="bold")
        first = f"{line.first_visible_s:,.1f} s"
        note(ax, first, (1.95 * whole, row), (0, 0), align="right", weight="bold")
    for x, head in ((1.62, "a message"), (1.95, "first word after")):
        note(ax, head, (x * whole, -0.75), (0, 0), align="right")
    names = [f"{line.tier}, {line.effort} effort" for line in rows.itertuples()]
    name_rows(ax, [name.replace("none effort", "no thinking") for name in names], above=0.55)
    ax.set(xlim=(0, 1.96 * whole), xlabel="output that is billed (tokens, to scale)")
    ax.set_xticks([])
    ax.spines[:].set_visible(False)
    return ax


def effort_times(efforts, *, ax=None):
    """Draw what a reader waits for at each effort: the first token, the reasoning, the answer.

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
    ax = axes(ax, height=1.0 + 0.42 * len(efforts))
    names = list(efforts.index)
    wait, first, whole = efforts["ttft_s"], efforts["first_visible_s"], efforts["seconds"]
    start = np.zeros(len(efforts))
    for width, (label, color, hatch) in zip(
        (wait, first - wait, whole - first), _PARTS, strict=True
    ):
        look = {"color": color, "hatch": hatch, "edgecolor": "white", "lw": 0}
        ax.barh(range(len(names)), width, 0.55, left=start, label=label, **look)
        start = start + width.to_numpy()
    for row, line in enumerate(efforts.itertuples()):
        ax.plot([line.seconds_low, line.seconds_high], [row + 0.38] * 2, color=INK, lw=1)
        note(ax, f"{line.seconds:,.0f} s", (line.seconds, row), (5, 0))
    name_rows(ax, names, above=0.1)
    ax.set_ylim(len(names) - 0.4, -0.6)
    label = "time of a request (seconds)\nlines below: ends of the assumed shares and speeds"
    from_zero(ax, efforts["seconds_high"].max() * 1.1, label)
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
    """Draw the error gap above which thinking pays, against the cost of an error, for some values of a second.

    Parameters
    ----------
    extra_usd, extra_s : float
        What thinking adds to a request: USD and seconds.
    second_usd : sequence of float
        Values of a second of waiting (USD), one line each.
    error_costs : (float, float)
        Ends of the horizontal axis, USD per error.
    point : (float, float), optional
        Your own error cost (USD) and error gap (share), to mark.
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
        name = f"a second is worth\n{usd(second)}" if second else "nobody waits"
        ends.append((costs[-1], gap[-1], name, INK))
    if point is not None:
        ax.plot(*point, ls="", marker="D", color=INK, mfc="white", ms=8, zorder=5)
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


def against_flagship(curve, meets, *, ax=None):
    """Draw the cost per day of reasoning models against their reasoning share, with a ring where each meets the flagship.

    Parameters
    ----------
    curve : DataFrame
        Table of `tierlab.cost_curve` over reasoning_share.
    meets : DataFrame
        reasoning_share (0-1) and cost_usd of each ring.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = cost_curve(curve, over="reasoning_share", ax=axes(ax))
    for at in meets[["reasoning_share", "cost_usd"]].itertuples(index=False):
        ax.plot(*at, ls="", marker="o", mfc="none", mec=INK, mew=1.5, ms=10, zorder=5)
        note(ax, share(at.reasoning_share), at, (8, -11))
    return ax


def investment(costs, *, start, break_even, names=("teacher", "student"), ax=None):
    """Draw the money spent over time with the teacher and with the student; where the lines cross, the student has paid.

    Parameters
    ----------
    costs : DataFrame
        Table of `tierlab.reasoning.distillation.cumulative_cost`.
    start : str
        ISO date of day 1.
    break_even : float
        Day to mark, from `tierlab.reasoning.distillation.break_even`; nothing is marked if it is infinite.
    names : (str, str)
        What to call the teacher and the student.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = axes(ax)
    days = pd.Timestamp(start) + pd.to_timedelta(costs.index - 1, unit="D")
    ends = []
    # The student belongs to no tier; the teacher is a flagship.
    own = {"color": INK, "marker": "D", "linestyle": ":"}
    ranged = False
    lines = {"teacher_usd": TIER_STYLE["flagship"], "student_usd": own}
    for (column, style), name in zip(lines.items(), names, strict=True):
        low, high, color = costs[f"{column}_low"], costs[f"{column}_high"], style["color"]
        ax.plot(days, costs[column], **style, markevery=max(len(costs) // 6, 1))
        ax.fill_between(days, low, high, color=color, alpha=0.16, lw=0)
        ends.append((days[-1], costs[column].iloc[-1], name, color))
        ranged |= (low < high).any()
    if break_even in costs.index:
        at, spent = days[int(break_even)], costs["student_usd"].loc[break_even]
        ax.plot([at], [spent], ls="", marker="o", mfc="white", mec=INK, mew=1.5, ms=9, zorder=5)
        early = spent < 0.15 * costs["teacher_usd"].max()  # else the label would cover the axis
        offset = (0, 48) if early else (8, -12)
        note(ax, f"paid after {break_even:,.0f} days", (at, spent), offset)
    ax.set_xlabel("date" + ("\nbands: ends of the given ranges" if ranged else ""))
    ax.set_ylabel("spent so far, errors included (USD)")
    ax.set_ylim(0)
    ax.margins(x=0)
    dates(ax.xaxis)
    plain(ax.yaxis)
    label_ends([(ax, ends)])
    return ax


def learning_curve(scores, *, levels=None, bars="lowest and highest of the draws", ax=None):
    """Draw the score of a student against the number of labels it was trained on.

    Parameters
    ----------
    scores : DataFrame
        Table of `tierlab.reasoning.student.learning_curve`: labels, score, low, high (0-1), and optionally labelled_by,
        which gives a line each.
    levels : dict of str to float, optional
        Scores to draw as level lines, by name.
    bars : str
        What low and high mean.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax, ends = axes(ax), []
    lines = [("student", scores)]
    if "labelled_by" in scores:
        lines = scores.groupby("labelled_by", sort=False)
    looks = (("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"))
    for (name, line), (dash, marker) in zip(lines, looks, strict=False):
        line = line.sort_values("labels")
        spread = [line["score"] - line["low"], line["high"] - line["score"]]
        look = {"color": INK, "ls": dash, "marker": marker, "ms": 5, "elinewidth": 1}
        ax.errorbar(line["labels"], line["score"], spread, **look)
        ends.append((scores["labels"].max(), line["score"].iloc[-1], name, INK))
    for name, score in (levels or {}).items():
        ax.axhline(score, color=BASELINE, lw=1.6)
        ends.append((scores["labels"].max(), score, f"{name} {share(score)}", BASELINE))
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


def distillation_drawing(plan, *, teacher, days):
    """Draw a distillation as an investment: who labels, what is trained, what it costs once and saves on every request.

    Parameters
    ----------
    plan : tierlab.reasoning.distillation.Distillation
    teacher : str
        What to call the teacher.
    days : float
        Days until it has paid; infinite if it does not.

    Returns
    -------
    Axes
    """
    middle, once, saved = plan.point(), fixed_usd(plan), saving_usd(plan)
    people = middle.curation_hours * middle.hour_usd
    ax = axes(None, height=2.7)
    ax.set(xlim=(0, 100), ylim=(0, 36))
    ax.set_axis_off()
    boxes = [
        (0, TIER_STYLE["flagship"]["color"], "the teacher"),
        (28.5, BASELINE, "people"),
        (57, INK, "the student"),
    ]
    words = [
        [teacher, f"{middle.labels:,.0f} labels", f"{usd(middle.labels * middle.label_usd)} once"],
        ["choose and check", f"{middle.curation_hours:,.0f} hours", f"{usd(people)} once"],
        [
            "trained on the labels",
            f"{middle.requests_per_day:,.0f} requests a day",
            f"{usd(1000 * middle.student_usd)} per 1,000",
        ],
    ]
    for (left, color, head), lines in zip(boxes, words, strict=True):
        look = {"boxstyle": "round,pad=0,rounding_size=1", "fc": "white", "ec": color, "lw": 1.6}
        ax.add_patch(FancyBboxPatch((left + 0.5, 14), 21.5, 19, **look))
        note(ax, head, (left + 2, 29.6), (0, 0), weight="bold", size=9)
        for row, line in enumerate(lines):
            note(ax, line, (left + 2, 25.6 - 4 * row), (0, 0))
    arrow = {"arrowstyle": "-|>", "color": INK, "lw": 1.4}
    for left in (22.4, 50.9, 79.4):
        ax.annotate("", (left + 5.4, 24), (left, 24), arrowprops=arrow)
    told = [
        (f"{usd(once)} once", "bold"),
        (f"{'saves' if saved >= 0 else 'loses'} {usd(1000 * abs(saved))}", "bold"),
        ("per 1,000 requests,", None),
        ("errors included", None),
        (f"paid after {days:,.0f} days" if np.isfinite(days) else "does not pay", "bold"),
    ]
    for row, (line, weight) in enumerate(told):
        note(ax, line, (85.5, 32 - 4 * row), (0, 0), weight=weight or "normal")
    if middle.relabel_months is not None:
        back = arrow | {"connectionstyle": "bar,fraction=-0.13", "ls": "--"}
        ax.annotate("", (11, 13.6), (68, 13.6), arrowprops=back)
        again = usd(middle.relabel_share * once)
        line = f"requests drift, so new labels every {middle.relabel_months:g} months: {again} each time"
        note(ax, line, (39.5, 2.5), (0, 0), align="center")
    return ax


def relabelling(costs, *, best, ax=None):
    """Draw what labels, drift and both cost per month, against the months between two trainings.

    Parameters
    ----------
    costs : DataFrame
        Table of `tierlab.reasoning.distillation.relabelling`: labels_usd, drift_usd, usd, indexed by months.
    best : float
        Months to mark; nothing is marked if it is infinite.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax, ends = axes(ax), []
    parts = {"labels_usd": ("new labels", ":"), "drift_usd": ("drift", "--"), "usd": ("both", "-")}
    for column, (name, dash) in parts.items():
        ax.plot(costs.index, costs[column], color=INK, ls=dash)
        ends.append((costs.index[-1], costs[column].iloc[-1], name, INK))
    if np.isfinite(best):
        least = np.interp(best, costs.index, costs["usd"])
        ax.plot([best], [least], ls="", marker="o", mfc="white", mec=INK, mew=1.5, ms=9, zorder=5)
        note(ax, f"{best:.1f} months", (best, least), (0, 14), align="center")
    ax.set(xlim=(0, costs.index[-1]), ylim=(0, 3 * costs["usd"].min()))
    ax.set(xlabel="time between two trainings (months)", ylabel="cost (USD per month)")
    plain(ax.xaxis)
    plain(ax.yaxis)
    label_ends([(ax, ends)])
    return ax


def tuning_offers(offers, *, days):
    """Draw who lets you tune which models, from when to when, as far as it was known.

    Parameters
    ----------
    offers : DataFrame
        Table of `tierlab.who_offers`.
    days : sequence of str
        ISO dates to mark.

    Returns
    -------
    Axes
    """
    marked = pd.DatetimeIndex(days)
    left, right = marked.min() - pd.Timedelta(days=120), marked.max() + pd.Timedelta(days=90)
    held = offers[offers["models"].ne("") & ~offers["ends_on"].lt(left)]
    held = held[held["offered"].ne("no") | held["ends_on"].notna()]
    ax = axes(None, height=1.2 + 0.36 * len(held))
    for row, line in enumerate(held.itertuples()):
        start = max(left, line.offered_from) if pd.notna(line.offered_from) else left
        end = min(right, line.ends_on) if pd.notna(line.ends_on) else right
        shut = min(end, line.closed_to_new_on) if pd.notna(line.closed_to_new_on) else end
        ax.barh(row, shut - start, 0.55, left=start, color="#8cc9b5")
        ax.barh(row, end - shut, 0.55, left=shut, color="#e9e9e9", ec=BASELINE, hatch="////")
    for day in marked:
        ax.axvline(day, color=INK, lw=1.2, ls="--")
        note(ax, f"{day:%Y-%m-%d}", (day, -0.85), (3, 0))
    names = [f"{line.platform.split(' (')[0]}: {line.models}" for line in held.itertuples()]
    name_rows(ax, [shorten(name, 46, placeholder="...") for name in names], above=0.7)
    ax.set(xlim=(left, right), xlabel="date; hatched: open to earlier users only")
    dates(ax.xaxis, ticks=4)
    return ax
