"""Figures of the article's claims: how many hold, ranges against what comes out, and where the mid tier is right."""

from textwrap import fill

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from tierlab.core.format import usd
from tierlab.core.style import (
    INK,
    PROVIDER_NAMES,
    SMALL_PRINT,
    TIER_STYLE,
    axes,
    from_zero,
    name_rows,
    note,
    plain,
)
from tierlab.core.vocabulary import TIERS, unknown

VERDICT_COLORS = {"supported": "#8cc9b5", "contradicted": "#404040", "not checkable": "#f2f2f2"}


def verdicts(table, *, ax=None):
    """How many claims of each section are supported, contradicted or not checkable.

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
        raise ValueError("there is no claim to show; say so in words")
    for verdict in table["verdict"].drop_duplicates():
        if verdict not in VERDICT_COLORS:
            raise ValueError(unknown("verdict", verdict, VERDICT_COLORS))
    sections = list(table["section"].drop_duplicates())
    counts = pd.crosstab(table["section"], table["verdict"]).reindex(
        index=sections, columns=list(VERDICT_COLORS), fill_value=0
    )
    ax = axes(ax, height=1.1 + 0.26 * len(sections))
    left = np.zeros(len(sections))
    for verdict, color in VERDICT_COLORS.items():
        width = counts[verdict].to_numpy()
        bars = ax.barh(
            sections, width, left=left, height=0.7, color=color, edgecolor="#595959", label=verdict
        )
        ink = "white" if verdict == "contradicted" else INK
        ax.bar_label(
            bars,
            [str(n) if n else "" for n in width],
            label_type="center",
            fontsize=SMALL_PRINT,
            color=ink,
        )
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
    """What claims promise, as a band, and what comes out, from the lowest to the highest value; a panel per promise.

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
    figure, panels = plt.subplots(
        len(parts),
        1,
        figsize=(mpl.rcParams["figure.figsize"][0], 0.35 * sum(heights)),
        height_ratios=heights,
        squeeze=False,
    )
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


def mid_band(numbers, *, providers=tuple(PROVIDER_NAMES), ax=None):
    """Cost of an error for which each tier costs least, errors included: a row of three parts per provider.

    Parameters
    ----------
    numbers : dict of str to float
        PROVIDER_mid_from_usd and PROVIDER_flagship_from_usd of `tierlab.article.faq.answers` (US dollars per error).
    providers : sequence of str
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = axes(ax, height=1.0 + 0.5 * len(providers))
    edges = [
        [max(numbers[f"{provider}_{tier}_from_usd"], 0.001) for tier in TIERS[1:]]
        for provider in providers
    ]
    low, high = 10.0 ** np.floor(np.log10(np.min(edges))), 10 ** np.ceil(np.log10(np.max(edges)))
    for row, (mid, flagship) in enumerate(edges):
        first, last = sorted((mid, flagship))  # the other way round, the mid tier is never the best
        parts = ((low, first), (mid, flagship), (last, high))
        for tier, (left, right) in zip(TIERS, parts, strict=True):
            if left < right:
                color = TIER_STYLE[tier]["color"]
                ax.barh(row, right - left, 0.5, left=left, color=color, alpha=0.3, ec=color)
                note(ax, tier, ((left * right) ** 0.5, row), (0, 0), align="center")
        span = f"{usd(mid)} to {usd(flagship)}" if mid < flagship else "nowhere"
        note(ax, span, (first, row - 0.42), (0, 0))
    name_rows(ax, [PROVIDER_NAMES.get(name, name) for name in providers], above=0.3)
    ax.set(xscale="log", xlim=(low, high), xlabel="cost of an error (USD, logarithmic scale)")
    plain(ax.xaxis, log=True)
    return ax
