"""The figure of the article's claims."""

import numpy as np
import pandas as pd

from tierlab.core.style import INK, SMALL_PRINT, axes, from_zero, need
from tierlab.core.vocabulary import unknown

VERDICT_GREYS = {"supported": "#9a9a9a", "contradicted": "#262626", "not checkable": "#d4d4d4"}


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
    need("verdicts", table, "section", "verdict")
    if table.empty:
        raise ValueError("there is no claim to show; say so in words")
    for verdict in table["verdict"].drop_duplicates():
        if verdict not in VERDICT_GREYS:
            raise ValueError(unknown("verdict", verdict, VERDICT_GREYS))
    sections = list(table["section"].drop_duplicates())
    counts = pd.crosstab(table["section"], table["verdict"]).reindex(
        index=sections, columns=list(VERDICT_GREYS), fill_value=0
    )
    ax = axes(ax, height=1.1 + 0.26 * len(sections))
    left = np.zeros(len(sections))
    for verdict, grey in VERDICT_GREYS.items():
        width = counts[verdict].to_numpy()
        bars = ax.barh(
            sections, width, left=left, height=0.7, color=grey, edgecolor="#595959", label=verdict
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
    ax.set_ylim(len(sections) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    ax.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0.2, handlelength=1.4
    )
    from_zero(ax, left.max(), "claims (count)")
    ax.xaxis.get_major_locator().set_params(integer=True)
    return ax
