"""What the figures share: tier styles, rows and panels, axes in plain numbers, labels that do not collide."""

from pathlib import Path
from textwrap import fill

import matplotlib as mpl
import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patheffects import withStroke

from tierlab.core.vocabulary import PROVIDER_NAMES, TIERS, known

# Colours of seaborn's "colorblind" palette, which differ in lightness too.
TIER_STYLE = {
    "small": {"color": "#0173B2", "marker": "o", "linestyle": "-"},
    "mid": {"color": "#DE8F05", "marker": "s", "linestyle": "--"},
    "flagship": {"color": "#D55E00", "marker": "^", "linestyle": "-."},
}
BASELINE = "#949494"
INK = "#262626"
SMALL_PRINT = 8
NO_TIER = {
    "color": BASELINE,
    "marker": "D",
    "linestyle": ":",
}  # reasoning models stand beside the tiers
STYLE_FILE = Path(__file__).with_name("tierlab.mplstyle")
HALO = [withStroke(linewidth=2.5, foreground="white")]


def tier_style(tier):
    """Return colour, marker and line style of a tier; a missing tier stands for a reasoning model.

    Examples
    --------
    >>> tier_style("mid")
    {'color': '#DE8F05', 'marker': 's', 'linestyle': '--'}
    """
    if pd.isna(tier):
        return NO_TIER
    known("tier", tier, TIER_STYLE)
    return TIER_STYLE[tier]


def need(figure, table, *columns):
    """Raise ValueError for a table that lacks a column, naming the figure and the column."""
    for column in columns:
        if column not in table:
            raise ValueError(
                f"{figure} needs a column {column!r}; the table has {', '.join(map(str, table.columns))}"
            )


def in_order(table):
    """Sort a table: Anthropic, OpenAI, Google, other providers as they come; in each flagship, mid, small, no tier."""
    rank = {tier: i for i, tier in enumerate(reversed(TIERS))}
    tier = table["tier"].astype(object).map(rank).fillna(len(rank))
    providers = list(dict.fromkeys([*PROVIDER_NAMES, *table["provider"]]))
    return table.iloc[np.lexsort((tier, table["provider"].map(providers.index)))]


def axes(ax, *, height=None, narrow=False):
    """Return the given axes, or new ones of the house width (narrow: 3.5 inches, for a phone) and a height in inches."""
    if ax is not None:
        return ax
    width, usual = mpl.rcParams["figure.figsize"]
    return plt.subplots(figsize=(3.5 if narrow else width, height or usual))[1]


def model_rows(models, ax):
    """Name a row for each model under its provider's heading; return the axes and the height of each row."""
    providers = models["provider"].to_numpy()
    first = np.r_[True, providers[1:] != providers[:-1]]
    rows = np.arange(len(models)) + first.cumsum() * 0.85
    ax = axes(ax, height=0.75 + 0.27 * (rows[-1] + 1))
    tiers = models["tier"].astype(object).where(models["tier"].notna(), "reasoning")
    names = [
        f"{model_id} \N{MIDDLE DOT} {tier}"
        for model_id, tier in zip(models["model_id"], tiers, strict=True)
    ]
    heads = [PROVIDER_NAMES.get(p, p) for p in providers[first]]
    ax.set_yticks([*rows, *(rows[first] - 0.85)], [*names, *heads])
    for label in ax.get_yticklabels()[len(names) :]:
        label.set_fontweight("bold")
    ax.tick_params(axis="y", length=0, pad=9)
    ax.grid(axis="y", visible=False)
    ax.set_ylim(rows[-1] + 0.6, rows[0] - 1.3)
    return ax, rows


def by_provider(table, draw, xlabel, ylabel, ax, *, stacked=False, headroom=0.0):
    """Draw a panel for each provider with shared axes from zero, or everything on the given axes.

    Parameters
    ----------
    table : DataFrame
        With provider and tier.
    draw : callable
        `draw(ax, part)` draws a part of the table and returns the line ends to label, as `label_ends` takes them. They are
        labelled once all panels have their limits.
    xlabel, ylabel : str
    ax : Axes or None
    stacked : bool
        Whether the panels stand one above the other instead of side by side.
    headroom : float
        Share of the height to keep free above the data, 0-1.

    Returns
    -------
    Figure or Axes
    """
    if ax is not None:
        result, panels, parts = ax, [ax], [table]
        ax.set_xlabel(xlabel)
    else:
        providers = table["provider"].drop_duplicates()
        width, height = mpl.rcParams["figure.figsize"]
        shape = (1, len(providers))
        if stacked:
            shape, height = shape[::-1], max(3, 1 + 1.4 * len(providers))
        result, panels = plt.subplots(*shape, figsize=(width, height), sharex=True, sharey=True)
        panels = np.atleast_1d(panels)
        parts = [table[table["provider"] == provider] for provider in providers]
        for panel, provider in zip(panels, providers, strict=True):
            panel.set_title(PROVIDER_NAMES.get(provider, provider))
        result.supxlabel(xlabel, fontsize=mpl.rcParams["axes.labelsize"])
    if stacked and ax is None:
        result.supylabel(ylabel, fontsize=mpl.rcParams["axes.labelsize"])
    else:
        panels[0].set_ylabel(ylabel)
    ends = [(panel, draw(panel, part)) for panel, part in zip(panels, parts, strict=True)]
    # From zero; only now, because this fixes the upper end, which the panels share.
    panels[0].set_ylim(0, panels[0].get_ylim()[1] / (1 - headroom))
    tier_legend(result, table)
    label_ends(ends, wrap=ax is None and not stacked)
    return result


def tier_legend(where, table):
    """Put a legend of the tiers in a table above a figure or axes."""
    tiers = [tier for tier in reversed(TIERS) if (table["tier"] == tier).any()]
    if table["tier"].isna().any():
        tiers.append(None)
    handles = [
        mpl.lines.Line2D([], [], label=tier or "reasoning model", **tier_style(tier))
        for tier in tiers
    ]
    if isinstance(where, mpl.figure.FigureBase):
        where.legend(handles=handles, loc="outside upper right", ncols=4)
    else:
        where.legend(
            handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=4, borderaxespad=0.2
        )


def plain(axis, *, log=False, share=False, ticks=5):
    """Label an axis with plain numbers and thousands separators, or a share with percentages."""
    if log:
        axis.set_major_locator(mpl.ticker.LogLocator(numticks=ticks + 1))
        axis.set_minor_locator(mpl.ticker.NullLocator())
    else:
        axis.set_major_locator(mpl.ticker.MaxNLocator(ticks, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(
        mpl.ticker.FuncFormatter(lambda value, _: f"{value * 100:,.6g}%")
        if share
        else mpl.ticker.StrMethodFormatter("{x:,.10g}")
    )


def from_zero(ax, highest, label):
    """Make the horizontal axis run from zero to a little above the highest value, with plain numbers and a label."""
    ax.set_xlim(0, highest * 1.04 if highest > 0 else 1)
    ax.set_xlabel(label)
    plain(ax.xaxis)


def name_rows(ax, names, *, above=0.0):
    """Give each name a row, from the top, with space above the first."""
    ax.set_yticks(range(len(names)), names)
    for label in ax.get_yticklabels():
        label.set_parse_math(False)  # a name from a log is not a formula
    ax.set_ylim(len(names) - 0.5, -0.5 - above)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)


def dates(axis, *, ticks=5):
    """Label an axis with dates, few enough to read, the year under each."""
    axis.set_major_locator(mdates.AutoDateLocator(minticks=2, maxticks=ticks))
    axis.set_major_formatter(mdates.DateFormatter("%d %b\n%Y"))


def interval_note(table, mark):
    """Say what low and high are, as a second line of the axis label, such as "whiskers: 90% of 1,000 simulated days"."""
    if not {"low", "high", "interval"} <= set(table.columns):
        return ""
    kinds = (
        table.loc[table["low"] < table["high"], "interval"]
        .astype(str)
        .replace("", "low to high")
        .unique()
    )
    parts = dict.fromkeys(part for kind in kinds for part in kind.split("; "))
    return "\n" + fill(f"{mark}: {'; '.join(parts)}", 110) if parts else ""


def note(ax, text, xy, offset, *, align="left", size=SMALL_PRINT, **more):
    """Write beside a point, legible over lines; `offset` is in points, `more` as `Axes.annotate` takes it."""
    return ax.annotate(
        text,
        xy,
        xytext=offset,
        textcoords="offset points",
        ha=align,
        va="center",
        fontsize=size,
        path_effects=HALO,
        annotation_clip=False,
        parse_math=False,
        **more,
    )


def spread(at, size, *, low=-np.inf, high=np.inf):
    """Move labels along a line as little as possible until none overlaps another.

    Parameters
    ----------
    at, size : array
        Wanted centre and extent of each label, in the same unit.
    low, high : float
        Bounds to stay within if there is enough space.

    Returns
    -------
    ndarray
        New centres in the given order.

    Notes
    -----
    Least squares, under the condition that neighbours are at least half the sum of their sizes apart, is isotonic
    regression.

    Examples
    --------
    >>> spread([0, 1, 20], [10, 10, 10]).tolist()
    [-4.5, 5.5, 20.0]
    """
    from scipy.optimize import isotonic_regression

    at, size = np.asarray(at, float), np.asarray(size, float)
    order = np.argsort(at, kind="stable")
    at, size = at[order], size[order]
    offset = np.concatenate([[0], np.cumsum((size[1:] + size[:-1]) / 2)])
    free = isotonic_regression(at - offset).x
    free = np.maximum(np.minimum(free, high - size[-1] / 2 - offset[-1]), low + size[0] / 2)
    result = np.empty_like(free)
    result[order] = free + offset
    return result


def label_ends(panels, *, wrap=False):
    """Label line ends; labels that would touch move up or down and get a thin line to their end.

    Parameters
    ----------
    panels : list of (Axes, list of (x, y, text, colour))
    wrap : bool
        Whether to break a long model id over two lines.
    """
    figure = panels[0][0].figure
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)  # the height of the axes decides how far labels must move
    points = 72 / figure.dpi
    for ax, ends in panels:
        floor, ceiling = ax.transAxes.transform([(0, 0), (0, 1)])[:, 1] * points
        for x in dict.fromkeys(end[0] for end in ends):
            group = [
                (y, _wrapped(text) if wrap else text, color)
                for at, y, text, color in ends
                if at == x
            ]
            centres = [(ax.convert_xunits(x), y) for y, _, _ in group]
            wanted = ax.transData.transform(centres)[:, 1] * points
            heights = [SMALL_PRINT * 1.35 * (1 + text.count("\n")) for _, text, _ in group]
            moved = spread(wanted, heights, low=floor, high=ceiling + 6) - wanted
            far = np.abs(moved) > 4
            for (y, text, color), up, led in zip(group, moved, far, strict=True):
                leader = {
                    "arrowstyle": "-",
                    "color": color,
                    "lw": 0.7,
                    "shrinkA": 1,
                    "shrinkB": 3,
                    "relpos": (0, 0.5),
                }
                offset = (14 if far.any() else 8, up)
                note(ax, text, (x, y), offset, arrowprops=leader if led else None)


def _wrapped(text):
    """Break a long model id over two lines, at the dash nearest to its middle."""
    head, *tail = text.split("\n")
    dashes = [i + 1 for i, letter in enumerate(head) if letter == "-"]
    if len(head) > 14 and dashes:
        cut = min(dashes, key=lambda i: abs(i - len(head) / 2))
        head = f"{head[:cut]}\n{head[cut:]}"
    return "\n".join([head, *tail])
