"""Figures of the decision: what a request costs all in, and the map of error cost against error gap."""

from itertools import cycle

import matplotlib as mpl
import numpy as np

from tierlab.core.format import usd
from tierlab.core.style import (
    BASELINE,
    INK,
    PROVIDER_NAMES,
    axes,
    from_zero,
    in_order,
    label_ends,
    model_rows,
    need,
    note,
    plain,
    tier_style,
)

REQUESTS = 1_000  # of a bar
# Share of white mixed into the tier's colour, and the hatch: price, errors and time differ in both.
EXPECTED_PARTS = {"price_usd": (0.0, None), "error_usd": (0.45, "///"), "time_usd": (0.8, "...")}


def expected_costs(
    options, *, interval="90% of 1,000 draws over the stated ranges", requests=REQUESTS, ax=None
):
    """Price, errors and time of each model, stacked, with the range of their sum.

    Parameters
    ----------
    options : DataFrame
        Table of `tierlab.recommend`: provider, tier, model_id, price_usd, error_usd, time_usd, expected_usd, low, high
        (USD per request), note.
    interval : str
        What the whiskers are.
    requests : int
        That a bar is for.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need(
        "expected_costs",
        options,
        "provider",
        "tier",
        "model_id",
        *EXPECTED_PARTS,
        "expected_usd",
        "low",
        "high",
        "note",
    )
    table = in_order(options)
    ax, rows = model_rows(table, ax)
    running = np.isfinite(table["expected_usd"].to_numpy())
    for row, words in zip(rows[~running], table.loc[~running, "note"], strict=True):
        note(ax, words, (0, row), (4, 0), color=INK)
    rows, table = rows[running], table[running]
    colors, left = (
        [tier_style(tier or np.nan)["color"] for tier in table["tier"]],
        np.zeros(len(rows)),
    )
    for part, (white, hatch) in EXPECTED_PARTS.items():
        width = table[part].to_numpy() * requests
        if width.any():
            faces = [_whiter(color, white) for color in colors]
            ax.barh(
                rows, width, left=left, height=0.62, color=faces, edgecolor=INK, lw=0.5, hatch=hatch
            )
        left = left + width
    low, high = table["low"].to_numpy() * requests, table["high"].to_numpy() * requests
    ax.hlines(rows, low, high, color=INK, lw=1.2)
    for row, whole, end in zip(rows, left, high, strict=True):
        note(ax, usd(whole), (max(whole, end), row), (6, 0))
    handles = [
        mpl.patches.Patch(
            facecolor=_whiter("#767676", white), edgecolor=INK, hatch=hatch, label=word, lw=0.5
        )
        for (white, hatch), word in zip(
            EXPECTED_PARTS.values(), ("price", "errors", "time"), strict=True
        )
    ]
    ax.legend(handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0.2)
    highest = options[["expected_usd", "high"]].max().max() * requests
    from_zero(
        ax, 1.12 * highest, f"cost all in (USD per {requests:,} requests)\nwhiskers: {interval}"
    )
    return ax


def _whiter(color, white):
    return np.array(mpl.colors.to_rgb(color)) * (1 - white) + white


def indifference_map(lines, *, tasks=None, ax=None):
    """At which error cost and error gap two tiers cost the same: a line for each provider, tasks as crosses of ranges.

    Parameters
    ----------
    lines : DataFrame
        Table of `tierlab.indifference`, one pair of tiers: provider, cheap, dear, gap (share 0-1), error_cost_usd.
    tasks : DataFrame, optional
        Table of `tierlab.decide.tasks.task_places` for the same pair: tasks at one place share a label.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need("indifference_map", lines, "provider", "cheap", "dear", "gap", "error_cost_usd")
    pairs = lines[["cheap", "dear"]].drop_duplicates()
    if len(pairs) != 1:
        raise ValueError(f"the map shows one pair of tiers; the table has {len(pairs)}")
    cheap, dear = pairs.iloc[0]
    ax = axes(ax, height=4.6)
    ends = []
    for (provider, line), dash in zip(
        lines.groupby("provider", sort=False), cycle(("-", "--", "-.", ":")), strict=False
    ):
        ax.plot(100 * line["gap"], line["error_cost_usd"], color=INK, ls=dash, lw=1.6)
        last = line.iloc[-1]
        ends.append(
            (100 * last["gap"], last["error_cost_usd"], PROVIDER_NAMES.get(provider, provider), INK)
        )
    ax.set(
        yscale="log",
        xlabel=f"error gap: how many more of 100 requests the {cheap} tier gets wrong (points, log scale)",
        ylabel="cost of an error (USD, log scale)",
    )
    heights = [lines["error_cost_usd"]]
    if tasks is not None:
        _task_crosses(ax, tasks)
        heights += [tasks["cost_low"], tasks["cost_high"]]
    ax.set_ylim(min(each.min() for each in heights) / 2, max(each.max() for each in heights) * 2)
    ax.set(xscale="log", xlim=(100 * lines["gap"].min(), 100 * lines["gap"].max()))
    plain(ax.xaxis, log=True)
    plain(ax.yaxis, log=True, ticks=8)
    for words, tier, x, y in (
        (f"above the line: {dear}", dear, 0.02, 0.96),
        (f"below it: {cheap}", cheap, 0.02, 0.04),
    ):
        ax.text(
            x,
            y,
            words,
            transform=ax.transAxes,
            ha="left",
            va="center",
            color=tier_style(tier)["color"],
            weight="bold",
        )
    label_ends([(ax, ends)])
    return ax


def _task_crosses(ax, tasks):
    middle = tasks["gap"].median()
    for (gap, cost), group in tasks.groupby(["gap", "error_cost_usd"], sort=False):
        one = group.iloc[0]
        spans = (
            ([one["gap_low"], one["gap_high"]], [cost, cost]),
            ([gap, gap], [one["cost_low"], one["cost_high"]]),
        )
        for xs, ys in spans:
            ax.plot(100 * np.array(xs), ys, color=BASELINE, lw=1, zorder=1)
        ax.plot([100 * gap], [cost], color=BASELINE, marker="o", ms=5, zorder=2)
        left = middle < gap < tasks["gap"].max()
        side = {"align": "right"} if left else {}
        note(
            ax,
            "\n".join(group["task"]),
            (100 * gap, cost),
            (-6 if left else 6, 3 + 5 * len(group)),
            **side,
        )
