"""Figures of live sampling: what came back, scores and differences with their intervals, and how many examples decide.

Here models are candidates and a reference, whatever their tier, so the colours of the tiers are not used.
"""

from collections.abc import Mapping

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tierlab.core.format import share
from tierlab.core.style import BASELINE, INK, axes, label_ends, name_rows, need, note, plain
from tierlab.evaluate.compare import Comparison


def pass_rates(candidates: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the mean score of each model on the examples, with its interval.

    Parameters
    ----------
    candidates : DataFrame
        Table of `tierlab.compare`, indexed by model: score, low, high, answers.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need("pass_rates", candidates, "score", "low", "high", "answers")
    ax = axes(ax, height=0.9 + 0.45 * len(candidates))
    answers = candidates["answers"].map("({:,.0f} answers)".format)
    _intervals(ax, candidates, "score", 1, candidates["score"].map("{:.0%}  ".format) + answers)
    ax.set_xlim(0, 1.28)
    ax.set_xticks(np.linspace(0, 1, 6))
    ax.set_xlabel("mean score\nbars: 95% interval")
    ax.xaxis.set_major_formatter("{x:.0%}")
    return ax


def differences(
    pairs: pd.DataFrame, *, margin: float, reference: str, ax: Axes | None = None
) -> Axes:
    """Draw the difference of each model to the reference, and the margin that decides.

    Parameters
    ----------
    pairs : DataFrame
        Table `pairs` of `tierlab.compare`, indexed by model: difference, low, high, finding.
    margin : float
        How much worse is still good enough, 0-1.
    reference : str
        Model id.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need("differences", pairs, "difference", "low", "high", "finding")
    ax = axes(ax, height=1.2 + 0.5 * len(pairs))
    ax.axvline(0, color=INK, lw=1)
    ax.axvline(-margin * 100, color=BASELINE, lw=1.4, ls="--")
    _intervals(ax, pairs, "difference", 100, pairs["finding"], apart=True)
    top = -0.72
    note(ax, f"margin: {-margin * 100:g} points", (-margin * 100, top), (-4, 0), align="right")
    note(ax, "no difference", (0, top), (4, 0))
    ax.margins(x=0.15)
    ax.set_xlabel(f"difference in mean score to {reference} (points)\nbars: 95% interval")
    plain(ax.xaxis)
    return ax


def answer(founds: Mapping[str, Comparison]) -> Figure:
    """Draw the differences of each case in its own panel, on a common axis.

    Parameters
    ----------
    founds : mapping of str to Comparison
        By the name of the case.

    Returns
    -------
    Figure
    """
    sizes = [len(found.pairs) + 1.1 for found in founds.values()]
    figure, panels = plt.subplots(
        len(founds),
        figsize=(mpl.rcParams["figure.figsize"][0], 0.7 + 0.62 * sum(sizes)),
        height_ratios=sizes,
        sharex=True,
        squeeze=False,
    )
    for ax, (name, found) in zip(panels[:, 0], founds.items(), strict=True):
        differences(found.pairs, margin=found.margin, reference=found.reference, ax=ax)
        title = f"{name[0].upper()}{name[1:]}, against {found.reference}"
        ax.set_title(title, loc="left", parse_math=False)
        ax.set_xlabel("")
    panels[-1, 0].set_xlabel(
        "difference in mean score to the reference (points)\nbars: 95% interval"
    )
    return figure


def kinds(tables: Mapping[str, pd.DataFrame]) -> Axes:
    """Draw what came back from each model, with the shares of its answers as parts of a bar.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        By the name of the case: shares (0-1), indexed by model, with a column per kind (`tierlab.sampling.cases.kinds`).

    Returns
    -------
    Axes
    """
    shades = ("#8cc9b5", "#d3e6df", "#e8e8e8", "#ffffff", "#ffffff")
    hatches = ("", "", "", "//", "..")
    table = pd.concat(tables.values())
    ax = axes(None, height=1.3 + 0.42 * len(table))
    left = np.zeros(len(table))
    for kind, shade, hatch in zip(table, shades, hatches, strict=True):
        part = table[kind].to_numpy(float)
        bars = {"color": shade, "hatch": hatch, "edgecolor": INK, "linewidth": 0.6, "height": 0.66}
        ax.barh(range(len(table)), part, left=left, label=kind, **bars)
        for row in np.flatnonzero(part >= 0.05):
            note(ax, share(part[row]), (left[row] + part[row] / 2, row), (0, 0), align="center")
        left += part
    name_rows(ax, list(table.index))
    for row in np.cumsum([len(each) for each in tables.values()])[:-1]:
        ax.axhline(row - 0.5, color=BASELINE, lw=1)
    ax.set_xlim(0, 1)
    ax.set_xlabel("share of a model's answers")
    plain(ax.xaxis, share=True)
    ax.legend(loc="lower left", bbox_to_anchor=(-0.32, 1), ncols=table.shape[1], borderaxespad=0.2)
    return ax


def pairs_drawing(pair: pd.Series, *, margin: float, reference: str, challenger: str) -> Figure:
    """Draw why two models are compared on the same examples: only those on which they disagree decide.

    Parameters
    ----------
    pair : Series
        Row of the table `pairs` of `tierlab.compare`: examples, better, worse, difference, low, high.
    margin : float
        How much worse is still good enough, 0-1.
    reference, challenger : str
        Model ids.

    Returns
    -------
    Figure
    """
    need("pairs_drawing", pair, "examples", "better", "worse", "difference")
    n, better, worse = (int(pair[name]) for name in ("examples", "better", "worse"))
    figure, (ax, beside) = plt.subplots(
        1, 2, figsize=(mpl.rcParams["figure.figsize"][0], 2.6), width_ratios=(1.25, 1)
    )
    wide = int(np.ceil(np.sqrt(2.2 * n)))
    row, column = np.divmod(np.arange(n), wide)
    looks = (
        (INK, f"{worse:,} where {reference} did better"),
        ("#029E73", f"{better:,} where {challenger} did better"),
        ("#dedede", f"{n - worse - better:,} on which both did the same"),
    )
    kind = np.repeat([0, 1, 2], [worse, better, n - worse - better])
    for which, (shade, words) in enumerate(looks):
        at = kind == which
        for x, y in zip(column[at], row[at], strict=True):
            ax.add_patch(mpl.patches.Rectangle((x, y), 0.84, 0.84, color=shade, lw=0))
        beside.plot([0.02], [0.95 - 0.16 * which], "s", color=shade, ms=9)
        note(beside, words, (0.02, 0.95 - 0.16 * which), (10, 0))
    whole = abs(pair["difference"] - (better - worse) / n) < 1e-9
    sum_ = f"({better:,} - {worse:,}) / {n:,} =" if whole else "mean difference of the scores:"
    words = f"{sum_} {100 * pair['difference']:+.1f} points"
    note(beside, words, (0, 0.36), (0, 0), size=10)
    ends = f"95% interval {100 * pair['low']:+.1f} to {100 * pair['high']:+.1f}; margin {-100 * margin:g}"
    note(beside, ends, (0, 0.2), (0, 0))
    ax.set(xlim=(-0.2, wide + 0.2), ylim=(row.max() + 1.1, -0.2), aspect="equal", anchor="NW")
    beside.set(xlim=(0, 1), ylim=(0, 1.05))
    for each in (ax, beside):
        each.set_axis_off()
    return figure


def budget_by_gap(table: pd.DataFrame, recorded: pd.DataFrame, *, margin: float) -> Axes:
    """Draw the share of the examples that a run needs, by the true difference of the models, and recorded runs.

    Parameters
    ----------
    table : DataFrame
        From `tierlab.sampling.until.budget_by_gap`.
    recorded : DataFrame
        difference (-1 to 1, as observed), share (0-1 of the examples) and label of each recorded run.
    margin : float
        How much worse is still good enough, 0-1.

    Returns
    -------
    Axes
    """
    need("budget_by_gap", table, "gap", "used", "low", "high")
    ax = axes(None)
    gap = 100 * table["gap"]
    ax.fill_between(gap, table["low"], table["high"], color=BASELINE, alpha=0.25, lw=0)
    ax.plot(gap, table["used"], color=INK, lw=1.8)
    ax.axvline(-100 * margin, color=BASELINE, lw=1.4, ls="--")
    note(ax, f"margin: -{100 * margin:g} points", (-100 * margin, 1.09), (-4, 0), align="right")
    for row in recorded.itertuples():
        ax.plot([100 * row.difference], [row.share], "D", color=INK, ms=7, mfc="white", mew=1.6)
        # The label keeps away from the peak at the margin, and right of it from the falling line.
        offset, align = ((6, -13), "right") if row.difference < -margin else ((6, -26), "center")
        note(ax, row.label, (100 * row.difference, row.share), offset, align=align)
    ax.set(
        xlabel="difference in mean score to the reference (points)\nline: mean of simulated runs; band: 80% of them; diamonds: the cases of this notebook",
        ylabel="examples used (share)",
        ylim=(0, 1.15),
    )
    plain(ax.xaxis)
    plain(ax.yaxis, share=True)
    return ax


def power_curves(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the probability of finding "not worse" when it is true, by number of examples and margin.

    Parameters
    ----------
    table : DataFrame
        margin (0-1), examples, power (0-1).
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need("power_curves", table, "margin", "examples", "power")
    ax, ends = axes(ax), []
    ax.axhline(0.8, color=BASELINE, lw=1.2, ls=":")
    ax.axvspan(50, 100, color=BASELINE, alpha=0.18, lw=0)
    for (margin, line), dash in zip(table.groupby("margin"), ("-", "--", "-.", ":"), strict=False):
        ax.plot(line["examples"], line["power"], color=INK, ls=dash, lw=1.8)
        ends.append(
            (line["examples"].iloc[-1], line["power"].iloc[-1], f"{100 * margin:g} points", INK)
        )
    ax.set(
        xlabel="examples, each answered by both models\nshaded: 50 to 100",
        ylabel="power (probability)",
        ylim=(0, 1.02),
    )
    plain(ax.xaxis)
    plain(ax.yaxis, share=True)
    note(ax, "80%", (table["examples"].min(), 0.8), (4, 7))
    label_ends([(ax, ends)])
    return ax


def _intervals(ax, table, middle, scale, words, *, apart=False):
    """Draw each row of a table as a point with its interval and words beside it, or apart at the edge of the axes."""
    for row, (_, line) in enumerate(table.iterrows()):
        low, at, high = (scale * line[name] for name in ("low", middle, "high"))
        ax.plot([low, high], [row, row], color=INK, lw=2)
        ax.plot([at], [row], color=INK, marker="D", ms=7)
        if apart:
            note(ax, words.iloc[row], (1, row), (6, 0), xycoords=ax.get_yaxis_transform())
        else:
            note(ax, words.iloc[row], (high, row), (8, 0))
    name_rows(ax, list(table.index), above=0.5)
