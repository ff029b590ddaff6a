"""Figures of routing: the cost-quality curve, policies side by side, the map of savings."""

import numpy as np
import pandas as pd
import seaborn as sns

from tierlab.core.style import BASELINE, INK, SMALL_PRINT, axes, need, note, plain, tier_style

_AXES = {
    "strong_share": "strong calls (share of requests)",
    "cost_usd": "cost of answers (USD per 1,000 requests)",
}
# Where a label may stand beside its point, in points of type: right, left, above, below, further off.
_PLACES = [
    *[(9, dy, "left") for dy in (0, 9, -9)],
    *[(-9, dy, "right") for dy in (0, 9, -9)],
    *[(0, dy, "center") for dy in (13, -13)],
    *[(dx, dy, align) for dy in (20, -20) for dx, align in ((9, "left"), (-9, "right"))],
]


def routing_curve(
    curve,
    *,
    band=None,
    marks=None,
    over="strong_share",
    interval="95% of 1,000 bootstrap resamples",
    ax=None,
):
    """Quality of routing between two models, from no strong call to all, above the line of a random router.

    Parameters
    ----------
    curve : DataFrame
        Table of `tierlab.cost_quality_curve`.
    band : DataFrame, optional
        Table of `tierlab.curve_band`; drawn over strong_share only.
    marks : DataFrame, optional
        Points to name: label, score and the column named by `over`.
    over : {"strong_share", "cost_usd"}
        Horizontal axis: share of strong calls, or USD per 1,000 requests.
    interval : str
        What the band is.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need("routing_curve", curve, over, "score")
    ax, share = axes(ax), over == "strong_share"
    factor = 1 if share else 1000
    line = curve[[over, "score"]] * [factor, 1]
    ends = line.iloc[[0, -1]]
    ax.plot(*ends.to_numpy().T, color=BASELINE, ls="--", lw=1.4)
    labels = [(*ends.mean(), "random router", INK)]
    label = _AXES[over]
    if band is not None and share:
        between = (band[column] for column in ("strong_share", "score_low", "score_high"))
        ax.fill_between(*between, color=INK, alpha=0.15, lw=0)
        label += f"\nband: {interval}"
    ax.plot(*line.to_numpy().T, color=INK, lw=1.8)
    for row in () if marks is None else marks.to_dict("records"):
        x, y = row[over] * factor, row["score"]
        ax.plot([x], [y], ls="", marker="o", mfc="white", mec=INK, mew=1.5, ms=7, zorder=5)
        labels.append((x, y, row["label"], INK))
    ax.set(xlabel=label, ylabel="quality (mean score)")
    ax.margins(x=0.02)
    plain(ax.xaxis, share=share)
    plain(ax.yaxis, share=True)
    _beside(ax, labels, [(part[over], part["score"]) for part in (line, ends)])
    return ax


def policies(table, *, edge=None, ax=None):
    """Quality against cost of models and policies, each with its interval, and the hull of what mixing can reach.

    Parameters
    ----------
    table : DataFrame
        label, cost_usd (USD per request), score; optionally score_low, score_high, cost_low, cost_high, tier
        (for a single model) and interval (what the ends are).
    edge : DataFrame, optional
        Table of `tierlab.hull`.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need("policies", table, "label", "cost_usd", "score")
    ax = axes(ax, height=4.4)
    if edge is not None:
        ax.plot(edge["cost_usd"] * 1000, edge["score"], color=BASELINE, lw=1.2, zorder=1)
    ends, lines = [], [] if edge is None else [(edge["cost_usd"] * 1000, edge["score"])]
    for row in table.to_dict("records"):
        x, y, tier = row["cost_usd"] * 1000, row["score"], row.get("tier")
        style = {"color": INK, "marker": "D"}
        if isinstance(tier, str):
            style = {name: tier_style(tier)[name] for name in style}
        bars = {}
        if "score_low" in row:
            bars["yerr"] = [[max(y - row["score_low"], 0)], [max(row["score_high"] - y, 0)]]
            lines.append(([x, x], [row["score_low"], row["score_high"]]))
        if "cost_low" in row:
            low, high = row["cost_low"] * 1000, row["cost_high"] * 1000
            bars["xerr"] = [[max(x - low, 0)], [max(high - x, 0)]]
        ax.errorbar([x], [y], **bars, **style, ls="", ms=7, elinewidth=1, zorder=3)
        ends.append((x, y, row["label"], style["color"]))
    interval = f"\nbars: {table['interval'].iloc[0]}" if "interval" in table else ""
    ax.set(xlabel=f"cost (USD per 1,000 requests){interval}", ylabel="quality (mean score)")
    ax.margins(x=0.16, y=0.12)
    plain(ax.xaxis)
    plain(ax.yaxis, share=True)
    _beside(ax, ends, lines)
    return ax


def _beside(ax, points, lines):
    """A label beside each point, inside, where it covers the fewest other labels, then points, then stretches of line."""
    figure = ax.figure
    renderer = figure.canvas.get_renderer()
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
    marks = ax.transData.transform([(x, y) for x, y, *_ in points])
    ink = ax.transData.transform(np.concatenate([_along(x, y) for x, y in lines] or [marks]))
    taken = []
    for x, y, text, color in sorted(points, key=lambda point: -point[1]):
        labels, covered = [], []
        for dx, dy, align in _PLACES:
            labels.append(note(ax, text, (x, y), (dx, dy), align=align, color=color))
            box = labels[-1].get_window_extent(renderer)
            outside = box.x0 < ax.bbox.x0 or box.x1 > figure.bbox.x1
            others = sum(map(box.overlaps, taken)) + outside
            covered.append((others, _inside(box.padded(3), marks), _inside(box, ink)))
        best = labels.pop(covered.index(min(covered)))
        taken.append(best.get_window_extent(renderer))
        for label in labels:
            label.remove()


def _along(x, y, steps=200):
    """Points along a line, close enough that none passes under a label unseen."""
    at = np.linspace(0, len(x) - 1, max(steps, len(x)))
    return np.column_stack([np.interp(at, np.arange(len(x)), values) for values in (x, y)])


def _inside(box, points):
    return int(((points > box.min) & (points < box.max)).all(axis=1).sum())


def saving_map(table, *, bounds=(), ax=None):
    """Saving of routing by share of requests that stay on the cheap model and by price ratio.

    Parameters
    ----------
    table : DataFrame
        saving (share of the strong model's cost), indexed by price ratio, a column per share.
    bounds : sequence of float
        Savings to outline, such as the two ends of a claimed range.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    from matplotlib.patches import Rectangle

    ax = axes(ax, height=0.9 + 0.36 * len(table))
    sns.heatmap(
        table,
        annot=True,
        fmt=".0%",
        cmap="Greys",
        vmin=0,
        vmax=1,
        cbar=False,
        linewidths=0.5,
        ax=ax,
        annot_kws={"fontsize": SMALL_PRINT},
    )
    low, high = min(bounds, default=np.inf), max(bounds, default=-np.inf)
    for row, column in np.argwhere(table.ge(low) & table.le(high)):
        corner = (column + 0.04, row + 0.06)
        ax.add_patch(Rectangle(corner, 0.92, 0.88, fill=False, ec="#D55E00", lw=1.8))
    numeric = pd.api.types.is_numeric_dtype(table.index)
    rows = [f"{ratio:g}x" if numeric else ratio for ratio in table.index]
    ax.set_xticks(np.arange(table.shape[1]) + 0.5, [f"{share:.0%}" for share in table.columns])
    ax.set_yticks(np.arange(len(table)) + 0.5, rows, rotation=0)
    outlined = f"\noutlined: {low:.0%} to {high:.0%}" if len(bounds) else ""
    ax.set_xlabel(f"requests on the cheap model (share){outlined}")
    ax.set_ylabel("price ratio" if numeric else "")
    return ax
