"""Figures of the decision: what a request or a day costs, errors included, and where each tier is the cheapest."""

from textwrap import fill

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from tierlab.core.format import dollars, share, usd
from tierlab.core.style import (
    BASELINE,
    INK,
    PROVIDER_NAMES,
    axes,
    from_zero,
    in_order,
    model_rows,
    need,
    note,
    plain,
    tier_legend,
    tier_style,
)
from tierlab.core.vocabulary import TIERS, task_name
from tierlab.decide.match import about, points
from tierlab.decide.options import INTERVAL

SIGNS = {
    "small": "\N{BLACK CIRCLE}",
    "mid": "\N{BLACK SQUARE}",
    "flagship": "\N{BLACK UP-POINTING TRIANGLE}",
}
ADVISED = (50, 100)  # examples that the article advises to run
TINT = 0.75  # share of white in the colour of a region
# The share of white in the tier's colour, and the hatch: price, errors and time differ in both.
EXPECTED_PARTS = {"price_usd": (0.0, None), "error_usd": (0.45, "///"), "time_usd": (0.8, "...")}


def expected_costs(options, *, requests=1_000, ax=None):
    """Draw price, errors and waiting of each model as one bar, with the range of their sum.

    Parameters
    ----------
    options : DataFrame
        Table of `tierlab.recommend`: provider, tier, model_id, price_usd, error_usd, time_usd, expected_usd, low, high
        (USD per request), note.
    requests : int
        The number of requests that a bar stands for.
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
    rows, table = rows[running], table[running].copy()
    table[[*EXPECTED_PARTS, "low", "high"]] *= requests
    for row, own in zip(rows, table.itertuples(), strict=True):
        whole = _stack(ax, row, own, 0.62)
        note(ax, usd(whole), (max(whole, own.high), row), (6, 0))
    ax.hlines(rows, table["low"], table["high"], color=INK, lw=1.2)
    _parts_legend(ax, table)
    highest = options[["expected_usd", "high"]].max().max() * requests
    from_zero(
        ax, 1.12 * highest, f"total cost (USD per {requests:,} requests)\nwhiskers: {INTERVAL}"
    )
    return ax


def _stack(ax, row, own, height):
    """Draw a bar of price, errors and waiting, each with its tint and hatch, and return where it ends."""
    color, left = tier_style(own.tier or np.nan)["color"], 0.0
    for part, (white, hatch) in EXPECTED_PARTS.items():
        width, face = getattr(own, part), [_whiter(color, white)]
        if width:
            look = {"color": face, "edgecolor": INK, "lw": 0.5, "hatch": hatch}
            ax.barh(row, width, left=left, height=height, **look)
        left += width
    return left


def _parts_legend(ax, rows):
    """A legend of the parts that the rows have."""
    words = {"price_usd": "price", "error_usd": "errors", "time_usd": "waiting"}
    handles = [
        mpl.patches.Patch(
            fc=_whiter("#767676", white), ec=INK, hatch=hatch, label=words[part], lw=0.5
        )
        for part, (white, hatch) in EXPECTED_PARTS.items()
        if rows[part].any()
    ]
    ax.legend(handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0.2)


def _whiter(color, white):
    return np.array(mpl.colors.to_rgb(color)) * (1 - white) + white


def day_costs(options, *, requests_per_day, ax=None):
    """Draw what a day costs on each model as a bar of price, errors and waiting, with the words below it.

    Parameters
    ----------
    options : DataFrame
        Table of `tierlab.recommend` of one provider: tier, model_id, error_rate, price_usd, error_usd, time_usd,
        expected_usd, low, high (USD per request). The first row is the choice, which is shaded.
    requests_per_day : int
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    rows = options[options["expected_usd"].notna()].copy()
    money = [*EXPECTED_PARTS, "expected_usd", "low", "high"]
    rows[money] *= requests_per_day
    rows["head"] = rows["tier"] + "  \n" + rows["model_id"]
    rows["words"] = [
        f"{_sum_in_words(row)} ({share(row.error_rate)} wrong)\n90% of draws: {usd(row.low)} to {usd(row.high)}"
        for row in rows.itertuples()
    ]
    order = rows["tier"].map({tier: -i for i, tier in enumerate(TIERS)})
    best = rows.index[0]
    return _money_rows(rows.loc[order.sort_values(kind="stable").index], best, ax)


def review_costs(money, *, ax=None):
    """Draw what a day cost when a decision was filed, what it costs now, and what it costs on today's best model.

    Parameters
    ----------
    money : DataFrame
        `Review.money`: rows decided, kept, best; model_id, tier, bill_usd, errors_usd, time_usd, expected_usd (USD a
        day).
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    names = {"bill_usd": "price_usd", "errors_usd": "error_usd"}
    rows = money[money["expected_usd"].notna()].rename(columns=names)
    heads = {"decided": "as filed", "kept": "kept today", "best": "best today"}
    rows["head"] = rows.index.map(heads) + "\n" + rows["model_id"]
    rows["words"] = [_sum_in_words(row) for row in rows.itertuples()]
    return _money_rows(rows, "best", ax)


def _sum_in_words(row):
    waiting = f" + {usd(row.time_usd)} waiting" if row.time_usd else ""
    return f"{usd(row.price_usd)} price + {usd(row.error_usd)} errors{waiting}"


def _money_rows(rows, shaded, ax):
    """Draw each row as a bar of parts, its total at the end, its words below and the two lines of `head` beside it."""
    lines = rows["words"].str.count("\n").max() + 1
    ax = axes(ax, height=0.95 + len(rows) * (0.48 + 0.17 * lines))
    for row, own in enumerate(rows.itertuples()):
        left = _stack(ax, row, own, 0.44)
        note(ax, usd(left), (left, row), (6, 0), size=11, weight="bold")
        ax.annotate(
            own.words,
            (0, row + 0.27),
            (4, 0),
            textcoords="offset points",
            va="top",
            fontsize=8.5,
            parse_math=False,
        )
        side = ax.get_yaxis_transform()
        ax.plot(
            [-0.02],
            [row - 0.11],
            transform=side,
            clip_on=False,
            **tier_style(own.tier or np.nan) | {"linestyle": ""},
        )
        if own.Index == shaded:
            ax.axhspan(row - 0.36, row + 0.62, color="#f0f2f4", zorder=0)
    ax.set_yticks(range(len(rows)), rows["head"])
    ax.tick_params(axis="y", length=0, pad=16)
    ax.set_ylim(len(rows) - 0.3, -0.5)
    ax.grid(axis="y", visible=False)
    _parts_legend(ax, rows)
    from_zero(ax, 1.1 * rows["expected_usd"].max(), "cost (USD a day)")
    return ax


def tier_regions(extra, ranges, *, now):
    """Draw what each tier costs above the cheapest, over the cost of an error, and which tier is the cheapest where.

    Parameters
    ----------
    extra : DataFrame
        From `tierlab.decide.match.extra_costs`; each provider gets a panel.
    ranges : DataFrame
        From `tierlab.decide.match.cheapest_ranges`.
    now : float
        USD per error, marked on every line.

    Returns
    -------
    Figure
    """
    need("tier_regions", extra, "provider", "tier", "error_cost_usd", "extra_usd")
    providers = extra["provider"].unique()
    figure, panels = plt.subplots(1, len(providers), figsize=(7.2, 3.7), sharey=True, squeeze=False)
    top = extra.loc[extra["error_cost_usd"] == 0, "extra_usd"].max()
    for ax, provider in zip(panels.flat, providers, strict=True):
        own, its = (table[table["provider"] == provider] for table in (extra, ranges))
        region_panel(own, its, now=now, top=top, ax=ax)
        if len(providers) > 1:
            ax.set_title(PROVIDER_NAMES.get(provider, provider))
    panels[0, 0].set_ylabel("cost above the cheapest (USD a day)")
    figure.supxlabel("cost of an error (USD)", fontsize=9)
    tier_legend(figure, extra)
    return figure


def region_panel(extra, ranges, *, now, top, ax):
    """Draw one provider's panel of `tier_regions`, up to `top` USD a day."""
    end = extra["error_cost_usd"].max()
    for tier, line in extra.groupby("tier", sort=False):
        style, cost = tier_style(tier), line["error_cost_usd"]
        ax.plot(cost, line["extra_usd"], **style | {"marker": ""})
        here = np.interp(now, cost, line["extra_usd"])
        ax.plot([now], [here], ms=8, zorder=4, **style | {"linestyle": ""})
        if 0 < here <= top:
            rises = np.interp(now * 1.01, cost, line["extra_usd"]) > here
            said = dollars(here, signed=True)
            note(ax, said, (now, here), (8, -9 if rises else 14), weight="bold")
    ax.axvline(now, color=INK, lw=1, zorder=1)
    note(ax, f"now\n{usd(now)}", (now, 1.05 * top), (4, 0), size=8.5, weight="bold")
    _region_strip(ax, ranges, end, -0.14 * top)
    ax.set(xlim=(0, end), ylim=(-0.14 * top, 1.14 * top))
    plain(ax.xaxis)
    plain(ax.yaxis)
    ax.set_yticks([tick for tick in ax.get_yticks() if 0 <= tick <= 1.14 * top])


def _region_strip(ax, ranges, end, floor):
    """Draw which tier is the cheapest as a band of tints below the lines."""
    for row in ranges[ranges["from_usd"] < end].itertuples():
        low, high = row.from_usd, min(row.to_usd, end)
        color = tier_style(row.tier)["color"]
        ax.fill_between([low, high], floor, 0, color=[_whiter(color, TINT)], lw=0)
        if high < end:
            ax.plot([high, high], [floor, 0], color=INK, lw=1)
        if high - low > 0.1 * len(ax.figure.axes) * end:
            ax.text(
                (low + high) / 2,
                floor / 2,
                f"{SIGNS[row.tier]} {row.tier}",
                ha="center",
                va="center",
                fontsize=8.5,
                weight="bold",
            )


def task_map(ranges, tasks, *, highlight=None, ax=None):
    """Draw which tier is the cheapest over complexity and the cost of an error, and where the task types lie.

    Parameters
    ----------
    ranges : DataFrame
        From `tierlab.decide.match.complexity_ranges`, of one provider.
    tasks : DataFrame
        From `tierlab.decide.match.match_tasks`.
    highlight : str, optional
        The task whose name is written in bold.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax, floor, ceiling = (
        axes(ax, height=4.6),
        tasks["cost_low"].min() / 2,
        tasks["cost_high"].max() * 2,
    )
    grid = np.unique(ranges["complexity"])
    for tier, own in ranges.groupby("tier", sort=False):
        own = own.set_index("complexity").reindex(grid)
        low, high = own["from_usd"].clip(lower=floor), own["to_usd"].clip(upper=ceiling)
        ax.fill_between(grid, low, high, color=[_whiter(tier_style(tier)["color"], TINT)], lw=0)
    for row in tasks.itertuples():
        ax.plot([row.complexity] * 2, [row.cost_low, row.cost_high], color=BASELINE, lw=1, zorder=1)
        ax.plot(
            [row.complexity_low, row.complexity_high],
            [row.error_cost_usd] * 2,
            color=BASELINE,
            lw=1,
            zorder=1,
        )
    for (tier, x, y), own in tasks.groupby(["tier", "complexity", "error_cost_usd"], sort=False):
        dot = tier_style(tier) | {"linestyle": ""}
        ax.plot([x], [y], mec="white", mew=0.8, ms=9, zorder=3, **dot)
        weight = "bold" if highlight in own.index else "normal"
        side, align = (-8, "right") if x > grid.mean() else (8, "left")
        words = "\n".join(fill(task_name(task), 22) for task in own.index)
        up = 10 + 6 * words.count("\n")
        note(ax, words, (x, y), (side, up), size=8.5, weight=weight, align=align)
    ax.set(yscale="log", ylim=(floor, ceiling), xlim=(grid[0] - 0.08, grid[-1] + 0.08))
    plain(ax.yaxis, log=True, ticks=8)
    ax.set_xticks([1, 2, 3], ["1, low", "2, medium", "3, high"])
    ax.set(
        xlabel="how complex the reasoning is (rating)",
        ylabel="cost of an error (USD, logarithmic scale)",
    )
    tier_legend(ax, ranges)
    return ax


def settling_curves(rivals, *, ax=None):
    """Draw the smallest difference in error rates that a number of examples can show, for each rival.

    Parameters
    ----------
    rivals : DataFrame
        From `tierlab.decide.match.settling`: tier, model_id, distance, examples.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax, known = axes(ax, height=3.5), rivals[rivals["examples"].notna()]
    most = 10 ** np.ceil(np.log10(max([*known["examples"], 10 * ADVISED[1]])))
    n = np.geomspace(10, most, 60)
    for row in known.itertuples():
        style = tier_style(row.tier or np.nan)
        reach = 100 * row.distance * np.sqrt(row.examples / n)
        ax.plot(n, reach, **style | {"marker": ""})
        at = (row.examples, 100 * row.distance)
        ax.plot([10, at[0]], [at[1], at[1]], color=BASELINE, lw=1, zorder=1)
        ax.plot(*at, ms=9, zorder=3, **style | {"linestyle": ""})
        words = f"against {row.tier or row.model_id}: {points(row.distance)} away,\n{about(row.examples)} examples"
        note(ax, words, at, (8, 14), size=8.5)
    ax.axvspan(*ADVISED, color="#f0f2f4", zorder=0)
    ax.set(xscale="log", yscale="log", xlim=(10, 3 * most))
    note(
        ax,
        f"{ADVISED[0]} to {ADVISED[1]}\nexamples",
        (np.sqrt(ADVISED[0] * ADVISED[1]), ax.get_ylim()[1]),
        (0, -14),
        align="center",
    )
    plain(ax.xaxis, log=True)
    plain(ax.yaxis, log=True)
    ax.set(
        xlabel="own examples, each answered by both models (logarithmic scale)",
        ylabel="difference in error rates that they can show\n(points, logarithmic scale)",
    )
    tier_legend(ax, rivals)
    return ax
