"""Figures of how cost grows: what bends it, curves, conversations, calendar, break-evens, traces, cache hits."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from tierlab.core.format import number, share, usd
from tierlab.core.style import (
    BASELINE,
    INK,
    PROVIDER_NAMES,
    axes,
    by_provider,
    dates,
    in_order,
    interval_note,
    label_ends,
    name_rows,
    need,
    note,
    plain,
    tier_legend,
    tier_style,
)
from tierlab.core.vocabulary import BUCKETS
from tierlab.scaling.workload import check_single

OVER_LABELS = {
    "requests_per_day": "requests per day",
    "input_tokens": "input tokens per request",
    "output_tokens": "output tokens per request",
    "cache_hit_rate": "cache hit rate (share of input tokens)",
    "batch_share": "batch share (of requests)",
    "reasoning_share": "reasoning share (of output tokens)",
    "monthly_growth": "growth (share per month)",
    "turns": "turns per session",
    "input_spread": "spread of the input length (coefficient of variation)",
    "output_spread": "spread of the output length (coefficient of variation)",
    "ttl_s": "time to live of the cache (seconds)",
}


def cost_curve(curve, *, over, crossovers=None, ax=None):
    """Draw the cost per day of each model over one variable; one panel per provider unless `ax` is given.

    Parameters
    ----------
    curve : DataFrame
        Table of `tierlab.cost_curve`: provider, tier, model_id, cost_usd, low, high (USD per day), interval and the
        column named by `over`. The line of a model ends with a cross where it does not fit and has no cost.
    over : str
        Column on the horizontal axis.
    crossovers : DataFrame, optional
        Table of `tierlab.crossovers`. A crossing has a ring and its value where both lines are in one panel.
    ax : Axes, optional

    Returns
    -------
    Figure, or Axes if `ax` is given
    """
    need("cost_curve", curve, "provider", "tier", "model_id", "cost_usd", over)

    def draw(ax, part):
        ends = [
            _curve_line(ax, line.sort_values(over), over)
            for _, line in part.groupby("model_id", sort=False)
        ]
        ax.margins(x=0.02)
        plain(ax.xaxis, share=is_share, ticks=ticks)
        plain(ax.yaxis)
        if crossovers is not None:
            both = (
                crossovers[["cheaper_before", "cheaper_after"]]
                .isin(set(part["model_id"]))
                .all(axis=1)
            )
            for x, y in crossovers.loc[both, [over, "cost_usd"]].itertuples(index=False):
                ax.plot([x], [y], ls="", marker="o", mfc="none", mec=INK, mew=1.5, ms=10, zorder=5)
                words = share(x) if is_share else number(x)
                note(ax, words, (x, y), (-9, 9), align="right")
        return ends

    ticks, is_share = 2 if ax is None else 5, over.endswith(("_rate", "_share", "_growth"))
    label = OVER_LABELS.get(over, over.replace("_", " ")) + interval_note(curve, "bands")
    return by_provider(in_order(curve), draw, label, "cost (USD per day)", ax)


def _curve_line(ax, line, over):
    """Draw one model's line and band; return where its label belongs."""
    style, model_id = tier_style(line["tier"].iloc[0]), line["model_id"].iloc[0]
    fits = line[line["cost_usd"].notna()]
    if fits.empty:
        return line[over].iloc[0], 0.0, f"{model_id}\ndoes not fit", style["color"]
    marks = list(range(len(fits) - 1, -1, -max(1, len(fits) // 5)))
    ax.plot(fits[over], fits["cost_usd"], **style, markevery=marks, label=model_id)
    if {"low", "high"} <= set(fits) and (fits["low"] < fits["high"]).any():
        ax.fill_between(
            fits[over], fits["low"], fits["high"], color=style["color"], alpha=0.18, lw=0
        )
    x, y = fits[over].iloc[-1], fits["cost_usd"].iloc[-1]
    if len(fits) == len(line):
        return x, y, model_id, style["color"]
    ax.plot([x], [y], ls="", marker="x", ms=10, mew=2, color=INK, zorder=5)
    return x, y, f"{model_id}\ndoes not fit", style["color"]


def calendar(costs, *, ax=None):
    """Draw the cost per day of each model over calendar time, with price changes as steps.

    Parameters
    ----------
    costs : DataFrame
        Table of `tierlab.cost_calendar`: on, provider, tier, model_id, cost_usd (USD per day; missing from the day
        of retirement), change (text, empty where nothing changes).
    ax : Axes, optional

    Returns
    -------
    Figure with one panel per provider, or Axes if `ax` is given
    """
    need("calendar", costs, "on", "provider", "tier", "model_id", "cost_usd", "change")
    costs = in_order(costs.assign(on=pd.to_datetime(costs["on"])))

    row = 0.07 if ax is not None else 0.14  # height of a line of words, as a share of the panel's
    start = costs["on"].min()
    length = max(costs["on"].max() - start, pd.Timedelta(days=1))
    changes = costs[costs["change"].fillna("").ne("")].sort_values("on", kind="stable")

    def draw(ax, part):
        ends = [
            _calendar_line(ax, line.sort_values("on"))
            for _, line in part.groupby("model_id", sort=False)
        ]
        for place, change in enumerate(
            changes[changes["model_id"].isin(part["model_id"])].itertuples()
        ):
            height, along = 1 - row * (place + 0.5), (change.on - start) / length
            ax.axvline(change.on, 0, height - row / 2, color=BASELINE, lw=0.8, zorder=1)
            text = f"{change.on:%Y-%m-%d} {change.model_id}: {change.change}"
            align = "left" if along < 0.3 else "right" if along > 0.75 else "center"
            note(
                ax,
                text,
                (change.on, height),
                (0, 0),
                align=align,
                xycoords=("data", "axes fraction"),
            )
        ax.margins(x=0.03)
        plain(ax.yaxis, ticks=round(0.35 / row))
        dates(ax.xaxis)
        return ends

    # Of one panel: that of a provider, or the one that all share.
    panels = changes["provider"].value_counts() if ax is None else [len(changes)]
    most = max(panels, default=0)
    return by_provider(
        costs, draw, "date", "cost (USD per day)", ax, stacked=True, headroom=min(row * most, 0.6)
    )


def _calendar_line(ax, line):
    style = tier_style(line["tier"].iloc[0])
    model_id = line["model_id"].iloc[0]
    ax.step(
        line["on"],
        line["cost_usd"],
        where="post",
        color=style["color"],
        ls=style["linestyle"],
        label=model_id,
    )
    alive = line[line["cost_usd"].shift().notna() | line["cost_usd"].notna()]
    alive = alive.assign(gone=alive["cost_usd"].isna(), cost_usd=alive["cost_usd"].ffill())
    marks = pd.concat([alive[alive["change"].fillna("").ne("")], alive.iloc[[-1]]]).drop_duplicates(
        "on"
    )
    for gone, part in marks.groupby("gone"):
        tier_mark = {"marker": style["marker"], "color": style["color"]}
        ax.plot(
            part["on"],
            part["cost_usd"],
            ls="",
            **({"marker": "x", "color": INK, "ms": 9, "mew": 2} if gone else tier_mark),
        )
    return alive["on"].iloc[-1], alive["cost_usd"].iloc[-1], model_id, style["color"]


def what_bends(table):
    """Draw the cost of a message under each change as a multiple of today's, with a panel per provider.

    Parameters
    ----------
    table : DataFrame
        Table of `tierlab.scaling.costs.what_bends`: provider, tier, model_id, change, multiple (missing: no mark).

    Returns
    -------
    Figure
    """
    need("what_bends", table, "provider", "tier", "change", "multiple")
    providers, names = table["provider"].unique(), list(table["change"].unique())
    width, height = mpl.rcParams["figure.figsize"]
    figure, panels = plt.subplots(
        1, len(providers), figsize=(width, height), sharex=True, sharey=True, squeeze=False
    )
    aside = {"small": -0.24, "mid": 0.0, "flagship": 0.24}
    for ax, provider in zip(panels.flat, providers, strict=True):
        for tier, part in table[table["provider"] == provider].groupby("tier", observed=True):
            rows = part["change"].map(names.index) + aside[tier]
            ax.plot(part["multiple"], rows, **tier_style(tier) | {"linestyle": ""})
        ax.axvline(1, color=INK, lw=1, zorder=1)
        most = table[table["provider"] == provider].groupby("change", sort=False)["multiple"].max()
        for name, value in most.dropna().items():
            # Below 1 the label stands beyond the line at 1.
            note(
                ax,
                f"{number(value)}\N{MULTIPLICATION SIGN}",
                (max(value, 1), names.index(name)),
                (8 if value >= 1 else 3, 0),
            )
        ax.set_title(PROVIDER_NAMES.get(provider, provider))
        ax.set_xscale("log")
        ax.tick_params(axis="y", length=0)
    name_rows(panels[0, 0], names, above=0.1)
    panels[0, 0].set_xlim(0.35, table["multiple"].max() * 12)
    panels[0, 0].xaxis.set_major_locator(mpl.ticker.FixedLocator([1, 10, 100]))
    panels[0, 0].xaxis.set_major_formatter(
        mpl.ticker.StrMethodFormatter("{x:g}\N{MULTIPLICATION SIGN}")
    )
    panels[0, 0].xaxis.set_minor_locator(mpl.ticker.NullLocator())
    figure.supxlabel(
        "cost of one message (multiple of today's, logarithmic scale); number: the tier that changes most",
        fontsize=mpl.rcParams["axes.labelsize"],
    )
    tier_legend(figure, table)
    return figure


def session_curves(table):
    """Draw the cost of a session by its turns, without a cache and with one, side by side.

    Parameters
    ----------
    table : DataFrame
        Table of `tierlab.scaling.costs.session_costs`: provider, tier, model_id, cached, turn, session_usd (USD;
        missing where a session does not fit or no cache is sold).

    Returns
    -------
    Figure
    """
    need("session_curves", table, "tier", "model_id", "cached", "turn", "session_usd")
    figure, panels = plt.subplots(1, 2, sharex=True, sharey=True)
    ends = []
    for ax, cached, title in zip(
        panels,
        (False, True),
        ("without a cache", "cache written once, read on every turn"),
        strict=True,
    ):
        part = table[(table["cached"] == cached) & table["session_usd"].notna()]
        lines = [line for _, line in part.groupby("model_id", sort=False)]
        for line in lines:
            ax.plot(
                line["turn"], line["session_usd"], **tier_style(line["tier"].iloc[0]), markevery=4
            )
        last = [line.iloc[-1] for line in lines]
        words = [
            (row.turn, row.session_usd, usd(row.session_usd), tier_style(row.tier)["color"])
            for row in last
        ]
        ends.append((ax, words))
        note(ax, title, (0.03, 0.97), (0, 0), weight="bold", xycoords="axes fraction")
        ax.set_yscale("log")
        ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(5, integer=True))
    panels[0].yaxis.set_major_formatter(lambda value, _: usd(value))
    panels[0].yaxis.set_minor_locator(mpl.ticker.NullLocator())
    panels[0].set_ylabel("cost of a session (USD, logarithmic scale)")
    figure.supxlabel("turns of the session", fontsize=mpl.rcParams["axes.labelsize"])
    tier_legend(figure, table)
    label_ends(ends)
    return figure


def cache_drawing(costs):
    """Draw a conversation to scale: what each turn writes to the cache and reads from it, and what the turn costs.

    Parameters
    ----------
    costs : DataFrame
        Table of `tierlab.scaling.costs.session_costs` of one model.

    Returns
    -------
    Axes
    """
    need("cache_drawing", costs, "tier", "cached", "turn", "turn_usd", "session_usd")
    kept, plain_usd = costs[costs["cached"]], costs.loc[~costs["cached"], "turn_usd"]
    color = tier_style(kept["tier"].iloc[0])["color"]
    light = 1 - 0.3 * (1 - np.array(mpl.colors.to_rgb(color)))
    read, written = kept["cache_read_tokens"], kept["cache_write_short_tokens"]
    whole = (read + written).max()
    ax = axes(None, height=1.3 + 0.36 * len(kept))
    ax.barh(
        range(len(kept)),
        read,
        height=0.62,
        color=light,
        edgecolor=color,
        label="read from the cache",
    )
    ax.barh(
        range(len(kept)), written, left=read, height=0.62, color=color, label="written to the cache"
    )
    at = [1.32 * whole, 1.56 * whole]  # right ends of the two columns of dollars
    rows = zip(read, written, kept["turn_usd"], plain_usd, strict=True)
    for row, (old, new, with_usd, without_usd) in enumerate(rows):
        inside = f"{old:,} read" if old else f"{new:,} written"
        note(ax, inside, (0, row), (6, 0))
        note(ax, f"{new:,} new" if old else "", (old + new, row), (6, 0))
        note(ax, usd(with_usd), (at[0], row), (0, 0), align="right", weight="bold")
        note(ax, usd(without_usd), (at[1], row), (0, 0), align="right")
    heads = (("with cache", "bold"), ("without", "normal"))
    ends = [
        costs.loc[costs["cached"] == cached, "session_usd"].iloc[-1] for cached in (True, False)
    ]
    for x, (head, weight), total in zip(at, heads, ends, strict=True):
        note(ax, head, (x, -0.85), (0, 0), align="right", weight=weight)
        note(ax, usd(total), (x, len(kept) - 0.1), (0, 0), align="right", weight=weight, size=10)
    note(ax, f"{len(kept)} turns, answers included", (0, len(kept) - 0.1), (0, 0), weight="bold")
    ax.axhline(len(kept) - 0.5, color=INK, lw=1.2)
    name_rows(ax, [f"turn {turn}" for turn in kept["turn"]])
    ax.set_ylim(len(kept) + 0.3, -1.3)
    ax.set_xlim(0, at[1])
    ax.set_xticks([])
    ax.set_xlabel("input of each turn (tokens, to scale) and what the turn costs (USD)")
    ax.spines[:].set_visible(False)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0, handlelength=1.2)
    return ax


def break_even(table, *, reached=None, ax=None):
    """Draw the cost of input through a cache over its cost without one, against the hit rate, with the break-evens.

    Parameters
    ----------
    table : DataFrame
        cache_hit_rate (0-1), write (text, one line each), cost_multiple (1 = no cache), break_even (hit rate, 0-1).
    reached : (float, str), optional
        A hit rate to mark, and the words for what has it.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need("break_even", table, "cache_hit_rate", "write", "cost_multiple", "break_even")
    ax = axes(ax)
    ax.axhline(1, color=BASELINE, lw=1.2)
    note(ax, "no cache", (1, 1), (0, 7), align="right")
    for (write, line), dash in zip(
        table.groupby("write", sort=False), ("-", "--", "-.", ":"), strict=False
    ):
        line = line.sort_values("cache_hit_rate")
        ax.plot(line["cache_hit_rate"], line["cost_multiple"], color=INK, ls=dash, label=write)
        point = line["break_even"].iloc[0]
        ax.plot([point], [1], ls="", marker="o", mfc="white", mec=INK, mew=1.5, ms=8, zorder=5)
        note(ax, f"pays above {share(point)}", (point, 1), (8, 9))
        note(ax, write, tuple(line[["cache_hit_rate", "cost_multiple"]].iloc[0]), (10, 3))
    if reached is not None:
        hit_rate, words = reached
        ax.axvline(hit_rate, color=INK, lw=1, ls=(0, (2, 2)))
        note(ax, f"{words}\n{share(hit_rate)}", (hit_rate, 1.5), (-6, 0), align="right")
    ax.set_xlim(0, 1)
    ax.set_ylim(0)
    ax.set(
        xlabel=OVER_LABELS["cache_hit_rate"],
        ylabel="input cost (multiple of the cost without a cache)",
    )
    plain(ax.xaxis, share=True)
    return ax


def trace_lengths(requests, *, windows=None, ax=None):
    """Draw the share of requests up to a length, for the whole input and for the output.

    Parameters
    ----------
    requests : DataFrame
        Requests table, one row per request.
    windows : Series, optional
        Context windows in tokens, indexed by model id; nearly equal windows share one label.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    import seaborn as sns

    need("trace_lengths", requests, "uncached_input_tokens", "output_tokens")
    check_single(requests, "trace_lengths needs")
    ax = axes(ax)
    whole = requests.filter([f"{bucket}_tokens" for bucket in BUCKETS[:4]]).sum(axis=1)
    lengths = {"input": whole, "output": requests["output_tokens"]}
    longer = max(lengths, key=lambda name: lengths[name].median())
    for (name, tokens), dash in zip(lengths.items(), ("-", "--"), strict=True):
        sns.ecdfplot(x=tokens, ax=ax, color=INK, ls=dash, log_scale=True)
        half, side = max(tokens.median(), 1), 1 if name == longer else -1
        note(
            ax,
            f"{name}\nmedian {half:,.0f}",
            (half, 0.5),
            (10 * side, 0),
            align="left" if side > 0 else "right",
        )
    for row, group in enumerate([] if windows is None else _near_windows(windows.dropna())):
        height = 0.06 + 0.09 * row  # a longer window's words pass over the shorter windows' lines
        ax.vlines(group, 0, height + 0.03, color=BASELINE, lw=1.2)
        ends = dict.fromkeys(f"{tokens:,.0f}" for tokens in (group.min(), group.max()))
        names = ", ".join(group.index) if len(group) < 3 else f"{len(group)} models"
        note(ax, f"{' to '.join(ends)}: {names}", (group.min(), height), (-5, 0), align="right")
    ax.set_ylim(0, 1.02)
    ax.set_xlabel(
        "tokens per request (logarithmic scale)"
        + ("; grey lines: context windows" if windows is not None else "")
    )
    ax.set_ylabel("share of requests up to this length")
    plain(ax.xaxis, log=True)
    plain(ax.yaxis, share=True)
    return ax


def _near_windows(windows):
    """Group context windows from short to long, with those within a tenth of one another together."""
    windows = windows.sort_values()
    starts = (windows > windows.shift() * 1.1).cumsum()
    return [group for _, group in windows.groupby(starts)]


def cache_hit_curve(table, *, ax=None):
    """Draw the cache hit rate against the time to live.

    Parameters
    ----------
    table : DataFrame
        ttl_s (seconds; infinite = nothing expires), cache_hit_rate (share of input tokens, 0-1).
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need("cache_hit_curve", table, "ttl_s", "cache_hit_rate")
    ax = axes(ax)
    expires = np.isfinite(table["ttl_s"].to_numpy(float))
    finite, forever = table[expires].sort_values("ttl_s"), table.loc[~expires, "cache_hit_rate"]
    ax.plot(finite["ttl_s"], finite["cache_hit_rate"], color=INK, marker="o", ms=4)
    last = finite.iloc[-1]
    ends = [(last["ttl_s"], last["cache_hit_rate"], share(last["cache_hit_rate"]), INK)]
    if len(forever):
        ax.axhline(forever.iloc[0], color=BASELINE, ls="--", lw=1.2)
        ends.append(
            (
                last["ttl_s"],
                forever.iloc[0],
                f"{share(forever.iloc[0])} if nothing expires",
                BASELINE,
            )
        )
    for ttl, name in ((300, "5 minutes"), (3600, "1 hour")):
        if finite["ttl_s"].min() <= ttl <= finite["ttl_s"].max():
            ax.axvline(ttl, color=BASELINE, lw=1, ls=":")
            note(ax, name, (ttl, 0), (-4, 8), align="right")
    ax.set(
        xscale="log",
        xlabel=OVER_LABELS["ttl_s"] + ", logarithmic scale",
        ylabel=OVER_LABELS["cache_hit_rate"],
    )
    ax.set_ylim(0)
    plain(ax.xaxis, log=True)
    plain(ax.yaxis, share=True)
    label_ends([(ax, ends)])
    return ax
