"""Figures of prices and of what a day costs on each model."""

import matplotlib as mpl
import numpy as np
import pandas as pd

from tierlab.core.format import number, usd
from tierlab.core.style import (
    INK,
    PROVIDER_NAMES,
    SMALL_PRINT,
    axes,
    from_zero,
    in_order,
    interval_note,
    model_rows,
    name_rows,
    note,
    plain,
    spread,
    tier_style,
)

# Share of white mixed into the tier's colour: the parts of a bar differ in lightness, the tier keeps its hue.
COST_PARTS = {
    "output_usd": 0.0,
    "uncached_input_usd": 0.35,
    "cache_write_usd": 0.6,
    "cache_read_usd": 0.82,
}


def tier_ladder_drawing(costs):
    """Draw a ladder to scale for each provider, with a rung for each tier at its price.

    Parameters
    ----------
    costs : DataFrame
        provider, tier, model_id, usd (of 1,000 messages).

    Returns
    -------
    Axes
    """
    ax, top, size = axes(None), costs["usd"].max(), SMALL_PRINT * 2.5
    per_point = 1.15 * top / (72 * 2.9)  # USD per point of height
    for place, (provider, ladder) in enumerate(costs.groupby("provider", sort=False)):
        left, right = 3 * place, 3 * place + 0.6
        for rail in (left, right):
            ax.plot([rail, rail], [0, ladder["usd"].max() * 1.06], color=INK, lw=2.5)
        heights = spread(ladder["usd"], [size * per_point] * len(ladder), low=0)
        for rung, height in zip(ladder.itertuples(), heights, strict=True):
            style = tier_style(rung.tier)
            ax.plot(
                [left - 0.06, right + 0.06],
                [rung.usd] * 2,
                color=style["color"],
                lw=5,
                clip_on=False,
            )
            ax.plot(
                [left + 0.3],
                [rung.usd],
                marker=style["marker"],
                color=style["color"],
                mec="white",
                ms=11,
                clip_on=False,
            )
            note(
                ax, f"{rung.model_id}\n{rung.tier}, {usd(rung.usd)}", (right + 0.15, height), (4, 0)
            )
        factor = number(ladder["usd"].max() / ladder["usd"].min())
        name = PROVIDER_NAMES.get(provider, provider)
        note(ax, name, (left, 0), (-4, -16), weight="bold", size=10)
        note(ax, f"{factor} times from bottom to top", (left, 0), (-4, -30))
    ax.set_ylim(0, top * 1.15)
    ax.set_xlim(-0.3, 3 * costs["provider"].nunique() - 0.2)
    ax.set_xticks([])
    ax.grid(axis="x", visible=False)
    ax.set_ylabel("cost (USD per 1,000 messages)")
    ax.set_xlabel(" \n \n ")  # keeps the names of the ladders on the page
    plain(ax.yaxis)
    return ax


def context_cliff_drawing(rows):
    """Draw what the input of one request costs on a model with a context step, beside what one might expect.

    Parameters
    ----------
    rows : DataFrame
        Two rows of the prices table, of one model on one day: tier, model_id, context_above, uncached_input (USD per
        million tokens).

    Returns
    -------
    Axes
    """
    low, high = rows.sort_values("context_above").itertuples()
    color, step = tier_style(low.tier)["color"], high.context_above
    below, above = low.uncached_input / 1e6, high.uncached_input / 1e6
    ax = axes(None)
    paid = [0, step * below, step * above, 2 * step * above]
    ax.plot([0, step, step, 2 * step], paid, color=color, lw=2.2)
    ax.fill_between([0, step, step, 2 * step], 0, paid, color=color, alpha=0.12, lw=0)
    expected = step * (below + above)
    ax.plot([step, 2 * step], [step * below, expected], color=INK, ls=":", lw=1.6)
    ax.plot([step, step], paid[1:3], ls="", marker="o", color=color, ms=7)
    note(ax, f"{step:,} tokens: {usd(paid[1])}", (step, paid[1]), (-10, 6), align="right")
    note(ax, f"{step + 1:,} tokens: {usd(paid[2])}", (step, paid[2]), (-10, 6), align="right")
    note(
        ax,
        f"what you pay:\nevery token at {usd(above * 1e6)}\nper million",
        (2 * step, paid[3]),
        (8, 0),
    )
    words = f"what people expect:\nonly the tokens beyond\nthe step at {usd(above * 1e6)}"
    note(ax, words, (2 * step, expected), (8, -8))
    for at, rate in ((0.62 * step, below), (1.5 * step, above)):
        note(ax, f"{usd(rate * 1e6)} per million", (at, 0), (0, 12), align="center")
    ax.set(xlabel="input of one request (tokens)", ylabel="cost of the input (USD)")
    ax.set_xlim(0, 2 * step)
    ax.set_ylim(0, paid[3] * 1.08)
    plain(ax.xaxis)
    plain(ax.yaxis)
    return ax


def bought(costs):
    """Draw the cost of the same messages by seller, region and service tier.

    Parameters
    ----------
    costs : DataFrame
        A row for each bar: bought (words), tier, usd (of 1,000 messages) and flags.

    Returns
    -------
    Axes
    """
    ax = axes(None, height=0.9 + 0.3 * len(costs))
    for row, cost in enumerate(costs.itertuples()):
        color = tier_style(cost.tier)["color"]
        hatch = "////" if cost.flags else None
        ax.barh(
            row,
            cost.usd,
            height=0.62,
            color=mpl.colors.to_rgba(color, 0.5),
            edgecolor=color,
            hatch=hatch,
            lw=0.6,
        )
        words = f" ({cost.flags.replace('_', ' ').replace(';', ', ')})" if cost.flags else ""
        _bar_label(ax, row, cost.usd, usd(cost.usd) + words)
    name_rows(ax, list(costs["bought"]))
    from_zero(
        ax,
        1.65 * costs["usd"].max(),
        "cost (USD per 1,000 messages; hatched: something was assumed)",
    )
    return ax


def routed_bill(ways):
    """Draw what a day costs by the way messages are sent: parts for the flagship, the small model and the router.

    Parameters
    ----------
    ways : DataFrame
        Index: the way in words; flagship, small, router (USD per day).

    Returns
    -------
    Axes
    """
    ax = axes(None, height=1.0 + 0.42 * len(ways))
    parts = {
        "flagship": ("flagship", None, "answered by the flagship"),
        "small": ("small", None, "answered by the small model"),
        "router": ("small", "////", "the router's own calls"),
    }
    left = np.zeros(len(ways))
    for part, (tier, hatch, words) in parts.items():
        color = tier_style(tier)["color"]
        fill = mpl.colors.to_rgba(color, 0.15 if hatch else 0.6)
        ax.barh(
            range(len(ways)),
            ways[part],
            left=left,
            height=0.6,
            color=fill,
            edgecolor=color,
            hatch=hatch,
            lw=0.6,
            label=words,
        )
        left = left + ways[part].to_numpy()
    for row, total in enumerate(left):
        note(ax, usd(total), (total, row), (8, 0), weight="bold")
    name_rows(ax, list(ways.index))
    from_zero(ax, 1.08 * left.max(), "cost (USD per day)")
    ax.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0.2, handlelength=1.4
    )
    return ax


def cost_bars(daily, *, ax=None):
    """Draw the cost per day of each model, with whiskers where the cost is a range.

    Parameters
    ----------
    daily : DataFrame
        Table of `tierlab.daily_cost`: provider, tier, model_id, cost_usd, low, high (USD per day), interval (what low
        and high are), flags (text). A missing cost is written as "does not fit" where the flags say over_window.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    daily = in_order(daily)
    daily = daily.assign(
        **{side: daily["cost_usd"] for side in ("low", "high") if side not in daily}
    )
    ax, rows = model_rows(daily, ax)
    for row, model in zip(rows, daily.itertuples(index=False), strict=True):
        style = tier_style(model.tier)
        ax.barh(row, model.cost_usd, height=0.62, color=style["color"], alpha=0.5, lw=0)
        ax.plot([model.cost_usd], [row], ls="", marker=style["marker"], color=style["color"], ms=7)
        flags = getattr(model, "flags", "")
        words = f" ({flags.replace('_', ' ').replace(';', ', ')})" if flags else ""
        _bar_label(
            ax,
            row,
            model.high,
            usd(model.cost_usd) + words if model.high == model.high else _no_bar(flags),
        )
    wide = (daily["low"] < daily["high"]).to_numpy()
    if wide.any():
        error = np.vstack([daily["cost_usd"] - daily["low"], daily["high"] - daily["cost_usd"]])[
            :, wide
        ]
        ax.errorbar(
            daily["cost_usd"][wide], rows[wide], xerr=error, fmt="none", ecolor=INK, elinewidth=1.2
        )
    from_zero(ax, daily["high"].max(), "cost (USD per day)" + interval_note(daily, "whiskers"))
    return ax


def cost_by_bucket(costs, *, ax=None):
    """Draw what each model's cost consists of: output, uncached input, cache writes, cache reads.

    Parameters
    ----------
    costs : DataFrame
        provider, tier, model_id and output_usd, uncached_input_usd, cache_write_usd, cache_read_usd (USD per day);
        flags.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    costs = in_order(costs)
    ax, rows = model_rows(costs, ax)
    colors = np.array([mpl.colors.to_rgb(tier_style(tier)["color"]) for tier in costs["tier"]])
    grey = np.array(mpl.colors.to_rgb("#4a4a4a"))
    handles, left = [], np.zeros(len(costs))
    for part, white in COST_PARTS.items():
        width = costs[part].fillna(0).to_numpy()
        if width.any():
            ax.barh(
                rows,
                width,
                left=left,
                height=0.62,
                color=colors + (1 - colors) * white,
                edgecolor=colors,
                lw=0.6,
            )
            name = part.removesuffix("_usd").replace("_", " ")
            handles.append(
                mpl.patches.Patch(
                    facecolor=grey + (1 - grey) * white, edgecolor=grey, lw=0.6, label=name
                )
            )
        left = left + width
    total = costs[list(COST_PARTS)].sum(axis=1, min_count=1)
    flags = costs["flags"] if "flags" in costs else [""] * len(costs)
    for row, tier, value, flag in zip(rows, costs["tier"], total, flags, strict=True):
        mark = {key: tier_style(tier)[key] for key in ("color", "marker")}
        ax.plot([0], [row], ls="", **mark, mec="white", ms=8, clip_on=False, zorder=5)
        _bar_label(ax, row, value, usd(value) if value == value else _no_bar(flag))
    ax.legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=4,
        borderaxespad=0.2,
        handlelength=1.4,
    )
    from_zero(ax, total.max(), "cost (USD per day)")
    return ax


def _bar_label(ax, row, value, text):
    note(ax, text, (0 if pd.isna(value) else value, row), (9, 0))


def _no_bar(flags):
    return "does not fit" if "over_window" in flags else "no figure"
