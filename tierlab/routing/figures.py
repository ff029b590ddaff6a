"""Figures of routing: days and bills, the cost-quality curve, policies side by side, two maps and two drawings."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.patches import FancyBboxPatch, Patch, PathPatch, Rectangle
from matplotlib.path import Path
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from tierlab.core.format import number, share, usd
from tierlab.core.style import (
    BASELINE,
    INK,
    SMALL_PRINT,
    TIER_STYLE,
    axes,
    from_zero,
    name_rows,
    need,
    note,
    plain,
    tier_style,
)
from tierlab.routing.payback import YEAR, classifier_gain

_AXES = {
    "strong_share": "strong calls (share of requests)",
    "cost_usd": "cost of answers (USD per 1,000 requests)",
}
# Where a label may stand beside its point (dx, dy in points, alignment): right, left, above, below, further off.
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
    """Draw the quality of routing between two models, from no strong call to all, above the line of a random router.

    Parameters
    ----------
    curve : DataFrame
        Table of `tierlab.cost_quality_curve`.
    band : DataFrame, optional
        Table of `tierlab.curve_band`; drawn only over strong_share.
    marks : DataFrame, optional
        Points to name: label, score and the column named by `over`.
    over : {"strong_share", "cost_usd"}
        Horizontal axis: share of strong calls, or USD per 1,000 requests.
    interval : str
        What the band shows, for the axis label.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need("routing_curve", curve, over, "score")
    ax, by_share = axes(ax), over == "strong_share"
    factor = 1 if by_share else 1000
    line = curve[[over, "score"]] * [factor, 1]
    ends = line.iloc[[0, -1]]
    ax.plot(*ends.to_numpy().T, color=BASELINE, ls="--", lw=1.4)
    labels = [(*ends.mean(), "random router")]
    label = _AXES[over]
    if band is not None and by_share:
        between = (band[column] for column in ("strong_share", "score_low", "score_high"))
        ax.fill_between(*between, color=INK, alpha=0.15, lw=0)
        label += f"\nband: {interval}"
    ax.plot(*line.to_numpy().T, color=INK, lw=1.8)
    for row in () if marks is None else marks.to_dict("records"):
        x, y = row[over] * factor, row["score"]
        ax.plot([x], [y], ls="", marker="o", mfc="white", mec=INK, mew=1.5, ms=7, zorder=5)
        labels.append((x, y, row["label"]))
    ax.set(xlabel=label, ylabel="quality (mean score)")
    ax.margins(x=0.02)
    plain(ax.xaxis, share=by_share)
    plain(ax.yaxis, share=True)
    _beside(ax, labels, [(part[over], part["score"]) for part in (line, ends)])
    return ax


def policies(table, *, edge=None, ax=None):
    """Draw quality against cost of models and policies, each with its interval, and the hull of what mixing can reach.

    Parameters
    ----------
    table : DataFrame
        label, cost_usd (USD per request) and score; optionally score_low, score_high, tier
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
        ax.errorbar([x], [y], **bars, **style, ls="", ms=7, elinewidth=1, zorder=3)
        ends.append((x, y, row["label"]))
    interval = f"\nbars: {table['interval'].iloc[0]}" if "interval" in table else ""
    ax.set(xlabel=f"cost (USD per 1,000 requests){interval}", ylabel="quality (mean score)")
    ax.margins(x=0.16, y=0.12)
    plain(ax.xaxis)
    plain(ax.yaxis, share=True)
    _beside(ax, ends, lines)
    return ax


def _beside(ax, points, lines):
    """Put a label beside each point, inside the axes, where it covers the fewest labels, then points, then lines."""
    figure = ax.figure
    renderer = figure.canvas.get_renderer()
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
    ax.autoscale_view()  # the limits are final only now, and every place depends on them
    marks = ax.transData.transform([(x, y) for x, y, _ in points])
    ink = ax.transData.transform(np.concatenate([_along(x, y) for x, y in lines] or [marks]))
    taken = []
    for x, y, text in sorted(points, key=lambda point: -point[1]):
        labels, covered = [], []
        for dx, dy, align in _PLACES:
            labels.append(note(ax, text, (x, y), (dx, dy), align=align))
            box = labels[-1].get_window_extent(renderer).padded(3)
            outside = box.x0 < ax.bbox.x0 or box.x1 > figure.bbox.x1
            others = sum(map(box.overlaps, taken)) + outside
            covered.append((others, _inside(box, marks), _inside(box, ink)))
        best = labels.pop(covered.index(min(covered)))
        taken.append(best.get_window_extent(renderer))
        for label in labels:
            label.remove()


def _along(x, y):
    """Return points along a line, so close that the line cannot pass under a label unseen."""
    at = np.linspace(0, len(x) - 1, max(200, len(x)))
    return np.column_stack([np.interp(at, np.arange(len(x)), values) for values in (x, y)])


def _inside(box, points):
    return int(((points > box.min) & (points < box.max)).all(axis=1).sum())


def saving_map(table, *, bounds=(), ax=None):
    """Draw the saving of routing by way to route and by the share of requests that stay on the lower tier.

    Parameters
    ----------
    table : DataFrame
        Savings (share of the flagship's cost): a row per way to route, named by the index, and a column per share.
    bounds : sequence of float
        Savings to outline, such as the two ends of a claimed range.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = axes(ax, height=0.9 + 0.36 * len(table))
    sns.heatmap(
        table,
        annot=True,
        fmt=".0%",
        cmap="Greys",
        vmin=0,
        vmax=2.5,  # light, so that the numbers can be read
        cbar=False,
        linewidths=0.5,
        ax=ax,
        annot_kws={"fontsize": SMALL_PRINT, "color": INK},
    )
    low, high = min(bounds, default=np.inf), max(bounds, default=-np.inf)
    for row, column in np.argwhere(table.ge(low) & table.le(high)):
        corner = (column + 0.04, row + 0.06)
        ax.add_patch(Rectangle(corner, 0.92, 0.88, fill=False, ec=INK, lw=1.6))
    ax.set_xticks(np.arange(table.shape[1]) + 0.5, [f"{share:.0%}" for share in table.columns])
    ax.set_yticks(np.arange(len(table)) + 0.5, table.index, rotation=0)
    ax.tick_params(length=0)
    outlined = f"\noutlined: {low:.0%} to {high:.0%}" if len(bounds) else ""
    ax.set_xlabel(f"requests on the cheap model (share){outlined}")
    ax.set_ylabel("")
    return ax


def answer(days, pay):
    """Draw what a day costs with each policy, beside the days until the router is paid back.

    Parameters
    ----------
    days : DataFrame
        Table of `tierlab.routing.payback.day_costs`.
    pay : tierlab.routing.payback.Payback

    Returns
    -------
    Figure
    """
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(7.2, 0.36 * len(days) + 1.5), width_ratios=(1.15, 1)
    )
    day_bars(days, ax=left)
    days_to_payback(pay, ax=right)
    return figure


def day_bars(days, *, ax=None):
    """Draw the price and the errors of a day with each policy as stacked bars with their totals.

    Parameters
    ----------
    days : DataFrame
        Table of `tierlab.routing.payback.day_costs`.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need("day_bars", days, "price", "errors", "total")
    ax = axes(ax, height=0.8 + 0.36 * len(days))
    for row, (name, cost) in enumerate(days.iterrows()):
        color = _color(name)
        ax.barh(row, cost["price"], height=0.55, color=color)
        ax.barh(
            row, cost["errors"], left=cost["price"], height=0.55, fc="white", ec=color, hatch="////"
        )
        note(ax, usd(cost["total"]), (cost["total"], row), (5, 0), size=9)
    name_rows(ax, days.index, above=0.9)
    ax.get_yticklabels()[0].set_fontweight("bold")
    from_zero(ax, days["total"].max() * 1.18, "USD a day, errors included")
    keys = [Patch(fc=INK, label="price"), Patch(fc="white", ec=INK, hatch="////", label="errors")]
    ax.legend(handles=keys, loc="upper left", ncols=2, borderaxespad=0)
    ax.set_title("What a day costs")
    return ax


def _color(policy):
    """Return the colour of a policy: a single model has that of its tier."""
    return TIER_STYLE.get(policy.removeprefix("always "), {}).get("color", INK)


def days_to_payback(pay, *, ax=None):
    """Draw the days until the building cost is paid back by messages a day, with a mark at today's volume.

    Parameters
    ----------
    pay : tierlab.routing.payback.Payback
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = axes(ax)
    ax.set_title(f"Days until {usd(pay.build_cost_usd)} are paid back")
    ax.set_xlabel("messages a day (logarithmic)")
    if pay.gain_usd <= 0:
        ax.set_axis_off()
        ax.text(0.5, 0.5, "never:\nno router costs less\nthan the best single model", ha="center")
        return ax
    here, at = pay.days(), pay.requests_per_day
    volumes = at * np.geomspace(0.25, 4, 65)
    ax.plot(volumes, here * at / volumes, color=INK)
    if pay.low_usd > 0:
        ends = [pay.days(gain) * at / volumes for gain in (pay.high_usd, pay.low_usd)]
        ax.fill_between(volumes, *ends, color=INK, alpha=0.13, lw=0)
    ax.axhline(YEAR, color=INK, ls=":", lw=1)
    ax.plot([at], [here], marker="D", color=INK)
    ax.set_xscale("log")
    ax.set_ylim(0, 3 * max(here, YEAR))
    ax.set_xlim(volumes[0], volumes[-1])
    note(ax, "a year", (volumes[-1], YEAR), (-2, 7), align="right")
    said = f"{number(here)} days\nat {at:,}"
    offset, align = ((8, 18), "left") if here < YEAR / 2 else ((-8, -14), "right")
    note(ax, said, (at, here), offset, align=align, size=9, weight="bold")
    ax.xaxis.set_major_locator(FixedLocator([at / 4, at / 2, at, 2 * at, 4 * at]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.tick_params(axis="x", labelsize=8)
    plain(ax.yaxis)
    return ax


_FLAGSHIP, _SMALL = (TIER_STYLE[tier]["color"] for tier in ("flagship", "small"))
_TINTS = {"small": "#C9E2F2", "flagship": "#F8D3BC"}


def bill(rows, *, ax=None):
    """Draw a day of each way to route, stacked by the flagship's answers, the small model's and the router's questions.

    Parameters
    ----------
    rows : DataFrame
        Table of `tierlab.routing.payback.ways`: flagship, small, question (US dollars a day).
    ax : Axes, optional
    """
    need("bill", rows, "flagship", "small", "question")
    ax = axes(ax, height=0.9 + 0.4 * len(rows))
    total, start = rows.sum(axis=1), np.zeros(len(rows))
    parts = {
        "flagship": {"fc": _FLAGSHIP, "label": "answers of the flagship"},
        "small": {"fc": _SMALL, "label": "answers of the small model"},
        "question": {
            "fc": "white",
            "ec": _SMALL,
            "hatch": "////",
            "label": "the router's own calls",
        },
    }
    for name, look in parts.items():
        ax.barh(range(len(rows)), rows[name], left=start, height=0.55, **look)
        start = start + rows[name].to_numpy()
    for row, usd_a_day in enumerate(total):
        saved = 1 - usd_a_day / total.max()
        said = f"{usd(usd_a_day)}  saves {share(saved)}" if saved else usd(usd_a_day)
        note(ax, said, (usd_a_day, row), (6, 0), size=9)
    name_rows(ax, rows.index)
    from_zero(ax, total.max() * 1.1, "USD a day")
    ax.legend(loc="lower right", borderaxespad=0.3)
    return ax


def router_drawing(bill, *, messages):
    """Draw a day's messages on their way through a router, the cost of each kind of call, and the bill beside them.

    Parameters
    ----------
    bill : DataFrame
        Table of `tierlab.routing.payback.routed_bill`.
    messages : int
        Messages a day.

    Returns
    -------
    Figure
    """
    calls, day = bill["calls"], bill["usd"] * messages
    small, strong = (bill.loc[f"{tier} answers", "model_id"] for tier in ("small", "flagship"))
    part = calls["small answers"]
    figure, ax = plt.subplots(figsize=(7.2, 3.1))
    ax.set(xlim=(-0.5, 100), ylim=(0, 43))
    ax.set_axis_off()
    _stream(ax, (12, 24), (21, 24), 9, "#dfe4e8")
    _stream(ax, (42, 24 + 4.5 * (1 - part)), (59, 33.5), 9 * part, _TINTS["small"])
    _stream(ax, (42, 24 - 4.5 * part), (59, 10), 9 * (1 - part), _TINTS["flagship"])
    _box(ax, (0, 18, 13, 12), INK, [(f"{messages:,}", "bold"), ("messages", None), ("a day", None)])
    asked = [
        ("the router\u2019s question", "bold"),
        (small, None),
        ("\u201csimple or complex?\u201d", None),
        ("asked every time", None),
        (f"{usd(day['question'])} a day", "bold"),
    ]
    _box(ax, (20, 15.5, 23, 17), _SMALL, asked)
    for name, model, low, color in (
        ("small", small, 27, _SMALL),
        ("flagship", strong, 3.5, _FLAGSHIP),
    ):
        row = f"{name} answers"
        each = day[row] / (messages * calls[row])
        told = [
            (f"{name} answers", "bold"),
            (model, None),
            (f"{messages * calls[row]:,.0f} at {usd(each)}", None),
            (f"{usd(day[row])} a day", "bold"),
        ]
        _box(ax, (58, low, 22, 13.5), color, told)
    ax.text(51, 31.3, share(part), ha="center", va="center", weight="bold")
    ax.text(51, 15, share(1 - part), ha="center", va="center", weight="bold")
    _bill_column(ax, day)
    return figure


def _bill_column(ax, day):
    """Draw the day's bill as a column: what is promised, the router's calls on top, all on the flagship in outline."""
    parts = [
        ("flagship answers", {"fc": _FLAGSHIP}),
        ("small answers", {"fc": _SMALL}),
        ("question", {"fc": "white", "ec": _SMALL, "hatch": "////"}),
    ]
    whole, left, base, height = day["all on the flagship"], 84, 3.5, 34
    ax.text(left, 41.5, "the bill", weight="bold", va="center")
    for name, look in parts:
        tall = height * day[name] / whole
        ax.add_patch(Rectangle((left, base), 5, tall, **look))
        base += tall
    ax.add_patch(Rectangle((left, 3.5), 5, height, fill=False, ec=BASELINE, ls="--", lw=1))
    promised = day["flagship answers"] + day["small answers"]
    for y, head, words in (
        (3.5 + height, usd(whole), "all on the\nflagship"),
        (base + 1.2, usd(promised + day["question"]), "with the\nrouter's calls"),
        (3.5 + height * promised / whole - 5, usd(promised), "promised"),
    ):
        ax.text(left + 6, y, head, weight="bold", va="top", fontsize=9)
        ax.text(left + 6, y - 2.8, words, va="top", fontsize=SMALL_PRINT)


def _stream(ax, start, end, width, color):
    """Draw a band of constant width that bends from one point to another."""
    (x0, y0), (x1, y1), half, middle = start, end, width / 2, (start[0] + end[0]) / 2
    there = [(x0, y0 + half), (middle, y0 + half), (middle, y1 + half), (x1, y1 + half)]
    back = [(x1, y1 - half), (middle, y1 - half), (middle, y0 - half), (x0, y0 - half)]
    curve = [Path.CURVE4] * 3
    codes = [Path.MOVETO, *curve, Path.LINETO, *curve]
    ax.add_patch(PathPatch(Path([*there, *back], codes), fc=color, lw=0))


def _box(ax, place, color, lines):
    """Draw a rounded box with lines of text, the bold ones larger."""
    left, low, width, height = place
    look = "round,pad=0,rounding_size=1"
    ax.add_patch(FancyBboxPatch((left, low), width, height, look, fc="white", ec=color, lw=1.4))
    step = height / (len(lines) + 0.4)
    for row, (text, weight) in enumerate(lines):
        size = 8.5 if weight else SMALL_PRINT
        y = low + height - (row + 0.7) * step
        ax.text(left + 1.3, y, text, va="center", weight=weight, fontsize=size)


def classifier_map(parts, *, call_usd, pay, points, ax=None):
    """Draw how accurate a classifier must be: where it is paid back within a year, later, and never.

    Parameters
    ----------
    parts : DataFrame
        Table of `tierlab.routing.payback.by_difficulty`.
    call_usd : float
        Cost of the classifier's own call (US dollars).
    pay : tierlab.routing.payback.Payback
        Has the best single model, the volume and the building cost.
    points : DataFrame
        Routers to mark: label, simple_right, complex_right (shares 0-1).
    ax : Axes, optional
    """
    need("classifier_map", points, "label", "simple_right", "complex_right")
    ax = axes(ax, height=4.2)
    grid = np.linspace(0, 1, 201)
    gain = classifier_gain(
        parts, grid[:, None], grid[None, :], call_usd=call_usd, single_usd=pay.single_usd
    )
    within = pay.build_cost_usd / (YEAR * pay.requests_per_day)
    steps, colors = [-np.inf, 0, max(within, 1e-12), np.inf], ["white", "#e9edf0", "#c9d0d8"]
    ax.contourf(grid, grid, gain, levels=steps, colors=colors)
    edges = ax.contour(grid, grid, gain, levels=steps[1:3], colors=INK, linewidths=1)
    ax.plot([0, 1], [1, 0], color=BASELINE, ls="--", lw=1.4)
    labels = [(0.25, 0.75, "random mixes")]
    for row in points.to_dict("records"):
        x, y = row["complex_right"], row["simple_right"]
        ax.plot([x], [y], ls="", marker="D", color=INK, ms=7, zorder=5)
        labels.append((x, y, row["label"]))
    names = ("never pays", "pays later", "pays within a year")
    ax.legend(
        handles=[
            Patch(fc=color, ec=INK, label=name) for color, name in zip(colors, names, strict=True)
        ],
        loc="lower left",
        frameon=True,
        framealpha=1,
    )
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.set_xlabel("complex messages that it recognises (share)")
    ax.set_ylabel("simple messages that it recognises (share)")
    plain(ax.xaxis, share=True)
    plain(ax.yaxis, share=True)
    lines = [part.T for level in edges.allsegs for part in level if len(part)]
    _beside(ax, labels, [(grid, 1 - grid), *lines])
    return ax


def conversation_savings(
    table, *, interval="95% of 1,000 resamples of whole conversations", ax=None
):
    """Draw the saving in conversations by policy: what the shares of turns promise, and what the replay shows.

    Parameters
    ----------
    table : DataFrame
        Table of `tierlab.compare_conversations`: saving, low, high, promised.
    interval : str
        What low and high are; if it is empty, they are not drawn.
    ax : Axes, optional
    """
    need("conversation_savings", table, "saving", "promised", "low", "high")
    ax, rows = axes(ax, height=1.3 + 0.42 * len(table)), np.arange(len(table))
    ax.hlines(rows, table["saving"], table["promised"], color=BASELINE, lw=5, alpha=0.45)
    if interval:
        ends = [(table["saving"] - table["low"]).clip(0), (table["high"] - table["saving"]).clip(0)]
        ax.errorbar(table["saving"], rows, xerr=ends, ls="", color=INK, elinewidth=1.2)
    ax.plot(table["promised"], rows, "o", mfc="white", mec=INK, mew=1.4, ms=11, label="promised")
    ax.plot(table["saving"], rows, "D", color=INK, ms=6, label="replayed")
    for row, (saving, promised) in enumerate(table[["saving", "promised"]].to_numpy()):
        note(ax, share(saving), (saving, row), (0, -14), align="center")
        if abs(promised - saving) > 0.01:
            note(ax, share(promised), (promised, row), (0, -14), align="center")
    name_rows(ax, table.index, above=0.4)
    ax.set_ylim(len(table) - 0.2, -0.9)
    ax.set_xlim(min(0, table["saving"].min() * 1.1), 1)
    noted = f"\nwhiskers: {interval}" if interval else ""
    ax.set_xlabel(f"saving against the flagship for every turn (share){noted}")
    plain(ax.xaxis, share=True)
    ax.legend(loc="upper right", ncols=2, borderaxespad=0)
    return ax


def conversation_drawing(turns, *, small_usd):
    """Draw a conversation that moves to another model for a turn: what each turn writes to a cache and reads from it.

    Parameters
    ----------
    turns : DataFrame
        From `tierlab.routing.verdict.one_switch`; what is neither read nor written was too short for a cache.
    small_usd : float
        Cost of the whole conversation on the small model alone (US dollars).

    Returns
    -------
    Figure
    """
    need("conversation_drawing", turns, "turn", "tier", "input_tokens", "cache_read_tokens")
    figure, (top, low) = plt.subplots(2, 1, figsize=(7.2, 3.7), sharex=True, sharey=True)
    most = turns["input_tokens"].max()
    last = turns["turn"].max()
    for ax, tier in ((top, "flagship"), (low, "small")):
        color = TIER_STYLE[tier]["color"]
        for row in turns[turns["tier"] == tier].to_dict("records"):
            read, new = row["cache_read_tokens"], row["cache_write_tokens"]
            ax.bar(row["turn"], read, width=0.6, fc=_TINTS[tier], ec=color)
            ax.bar(row["turn"], new, bottom=read, width=0.6, color=color)
            if read:
                ax.text(row["turn"], read / 2, f"{read:,.0f}\nread", ha="center", va="center")
            plain_tokens = row["input_tokens"] - read - new
            ax.bar(row["turn"], plain_tokens, bottom=read + new, width=0.6, fc="white", ec=color)
            made = f"{new:,.0f} written" if new else f"{plain_tokens:,.0f} uncached"
            said = f"{usd(row['cost_usd'])}\n{made}"
            note(
                ax, said, (row["turn"], row["input_tokens"]), (0, 13), align="center", weight="bold"
            )
        ax.set(ylim=(0, most * 1.55), xlim=(0.4, last + 1.6), yticks=[])
        ax.spines["left"].set_visible(False)
        ax.grid(visible=False)
        ax.set_title(f"{tier}: {turns.loc[turns['tier'] == tier, 'model_id'].iloc[0]}", color=INK)
    low.set_xticks(turns["turn"], [f"turn {turn}" for turn in turns["turn"]])
    for moved in turns.loc[turns["tier"] == "flagship", "turn"]:
        before = turns.loc[turns["turn"] < moved, ["cache_read_tokens", "cache_write_tokens"]]
        held = before.sum(axis=1).max()
        if held > 0:
            low.bar(moved, held, width=0.6, fill=False, ec=BASELINE, ls="--")
            low.text(moved, held / 2, "held,\nnot used", ha="center", va="center", color=INK)
    together = turns["cost_usd"].sum()
    words = f"{usd(together)}\nfor {last} turns,\none on the flagship"
    top.text(last + 0.55, most * 0.4, words, va="center", fontsize=9)
    words = f"{usd(small_usd)}\nwith all on the\nsmall model"
    low.text(last + 0.55, most * 0.4, words, va="center", fontsize=9)
    return figure
