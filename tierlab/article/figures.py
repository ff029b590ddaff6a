"""Figures of the article's claims: how many hold, and ranges against what comes out."""

from textwrap import fill

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from tierlab.core.style import (
    INK,
    SMALL_PRINT,
    axes,
    from_zero,
    name_rows,
    note,
    plain,
)
from tierlab.core.vocabulary import known

VERDICT_COLORS = {"supported": "#8cc9b5", "contradicted": "#404040", "not checkable": "#f2f2f2"}


def verdicts(table, *, ax=None):
    """Draw how many claims of each section are supported, contradicted or not checkable.

    Parameters
    ----------
    table : DataFrame
        section, verdict; one row per claim.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    if table.empty:
        raise ValueError("there is no claim to show")
    for verdict in table["verdict"].drop_duplicates():
        known("verdict", verdict, VERDICT_COLORS)
    sections = list(table["section"].drop_duplicates())
    counts = pd.crosstab(table["section"], table["verdict"])
    counts = counts.reindex(index=sections, columns=list(VERDICT_COLORS), fill_value=0)
    ax = axes(ax, height=1.1 + 0.26 * len(sections))
    left = np.zeros(len(sections))
    for verdict, color in VERDICT_COLORS.items():
        width = counts[verdict].to_numpy()
        look = {"height": 0.7, "color": color, "edgecolor": "#595959"}
        bars = ax.barh(sections, width, left=left, label=verdict, **look)
        words = {"color": "white" if verdict == "contradicted" else INK, "fontsize": SMALL_PRINT}
        ax.bar_label(bars, [str(n) if n else "" for n in width], label_type="center", **words)
        left = left + width
    ax.set_ylim(max(len(sections), 4) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    ax.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0.2, handlelength=1.4
    )
    from_zero(ax, left.max(), "claims (count)")
    ax.xaxis.get_major_locator().set_params(integer=True)
    return ax


def ranges(rows):
    """Draw what claims promise, as a band, and what comes out, from the lowest to the highest value; a panel per promise.

    Parameters
    ----------
    rows : DataFrame
        Table of `tierlab.article.claims.readings`.

    Returns
    -------
    Figure
    """
    parts = [part for _, part in rows.groupby("stem", sort=False)]
    heights = [len(part) + 1.8 for part in parts]
    size = (mpl.rcParams["figure.figsize"][0], 0.35 * sum(heights))
    figure, panels = plt.subplots(len(parts), 1, figsize=size, height_ratios=heights, squeeze=False)
    for ax, part in zip(panels.flat, parts, strict=True):
        for row, line in enumerate(part.itertuples()):
            ax.barh(row, line.high - line.low, 0.8, left=line.low, color="#d3e6df")
            holds = line.verdict == "supported"
            ends = [line.computed_low, line.computed_high]
            face = VERDICT_COLORS["supported"] if holds else VERDICT_COLORS["contradicted"]
            ax.plot(ends, [row, row], color=INK, marker="o" if holds else "X", ms=8, mfc=face)
            note(ax, line.verdict, (max(*ends, line.high), row), (9, 0))
        ax.set_title(fill(part["stem"].iloc[0], 58))
        name_rows(ax, [fill(case, 42) for case in part["case"]])
        unit = part["unit"].iloc[0]
        highest = 1.3 * part[["high", "computed_high"]].max(axis=None)
        label = {"x": "times", "share": "share saved"}.get(unit, unit)
        from_zero(ax, highest, f"{label}; band: what the article says")
        if unit == "share":
            plain(ax.xaxis, share=True)
            ax.set_xticks([tick for tick in ax.get_xticks() if tick <= 1])
    return figure
