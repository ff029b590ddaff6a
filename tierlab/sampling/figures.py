"""Figures of live sampling: scores and differences with their intervals, tasks, and how many examples settle a margin."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from tierlab.core.style import (
    BASELINE,
    INK,
    SMALL_PRINT,
    axes,
    label_ends,
    name_rows,
    need,
    note,
    plain,
    tier_style,
)


def pass_rates(candidates: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Mean score of each model on the examples, with its interval.

    Parameters
    ----------
    candidates : DataFrame
        Table of `tierlab.compare`, indexed by model: score, low, high, answers; optionally tier.
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
    """Difference of each model to the reference, beside the margin that decides.

    Parameters
    ----------
    pairs : DataFrame
        Table `pairs` of `tierlab.compare`, indexed by model: difference, low, high, finding; optionally tier.
    margin : float
    reference : str
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need("differences", pairs, "difference", "low", "high", "finding")
    ax = axes(ax, height=1.2 + 0.5 * len(pairs))
    ax.axvline(0, color=INK, lw=1)
    ax.axvline(-margin * 100, color=BASELINE, lw=1.4, ls="--")
    _intervals(ax, pairs, "difference", 100, pairs["finding"])
    top = -0.72
    note(ax, f"margin: {-margin * 100:g} points", (-margin * 100, top), (-4, 0), align="right")
    note(ax, "no difference", (0, top), (4, 0))
    ax.margins(x=0.25)
    ax.set_xlabel(f"difference in mean score to {reference} (points)\nbars: 95% interval")
    plain(ax.xaxis)
    return ax


def task_scores(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Mean score by task and model.

    Parameters
    ----------
    table : DataFrame
        Score (0-1), indexed by task, a column per model.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = axes(ax, height=1.1 + 0.36 * len(table))
    sns.heatmap(
        table,
        annot=True,
        fmt=".0%",
        cmap="Greys",
        vmin=0,
        vmax=1.15,
        cbar=False,
        linewidths=0.5,
        ax=ax,
        annot_kws={"fontsize": SMALL_PRINT},
    )
    ax.set(xlabel="", ylabel="")
    ax.tick_params(axis="both", length=0, rotation=0)
    return ax


def power_curves(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Probability of showing "not worse" when it is true, by number of examples and margin.

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


def _intervals(ax, table, middle, scale, words):
    """A point, its interval and words beside it for each row of a table."""
    for row, (_, line) in enumerate(table.iterrows()):
        known = isinstance(line.get("tier"), str)
        style = tier_style(line["tier"]) if known else {"color": INK, "marker": "D"}
        low, at, high = (scale * line[name] for name in ("low", middle, "high"))
        ax.plot([low, high], [row, row], color=style["color"], lw=2)
        ax.plot([at], [row], color=style["color"], marker=style["marker"], ms=8)
        note(ax, words.iloc[row], (high, row), (8, 0))
    name_rows(ax, list(table.index), above=0.5)
