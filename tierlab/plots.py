"""Figures: one function each, from a tidy table to matplotlib axes; and how they are shown and saved.

Tier is always colour and marker and line style; providers stand in panels or under their own heading. No figure has
a title: `show` puts the caption below and the alt text on the image.
"""

import base64
import html
import io
import os
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from tierlab import paths
from tierlab.frontier_plots import policies as policies
from tierlab.frontier_plots import routing_curve as routing_curve
from tierlab.frontier_plots import saving_map as saving_map
from tierlab.names import unknown
from tierlab.quarter_plots import forecast_fan as forecast_fan
from tierlab.quarter_plots import savings_bars as savings_bars
from tierlab.quarter_plots import spend_days as spend_days
from tierlab.quarter_plots import tier_months as tier_months
from tierlab.quarter_plots import unit_costs as unit_costs
from tierlab.quarter_plots import waterfall as waterfall
from tierlab.sample_plots import differences as differences
from tierlab.sample_plots import pass_rates as pass_rates
from tierlab.sample_plots import power_curves as power_curves
from tierlab.sample_plots import task_scores as task_scores
from tierlab.style import (
    BASELINE,
    INK,
    SMALL_PRINT,
    STYLE_FILE,
    axes,
    by_provider,
    dates,
    in_order,
    interval_note,
    label_ends,
    model_rows,
    need,
    note,
    plain,
    tier_style,
    usd,
)

# Share of white mixed into the tier's colour: the parts of a bar differ in lightness, the tier keeps its hue.
COST_PARTS = {"output_usd": 0.0, "uncached_input_usd": 0.35, "cache_write_usd": 0.6, "cache_read_usd": 0.82}
VERDICT_GREYS = {"supported": "#9a9a9a", "contradicted": "#262626", "not checkable": "#d4d4d4", "not yet computed": "#ffffff"}
OVER_LABELS = {
    "requests_per_day": "requests per day",
    "input_tokens": "input tokens per request",
    "output_tokens": "output tokens per request",
    "cache_hit_rate": "cache hit rate (share of input tokens)",
    "batch_share": "batch share (of requests)",
    "reasoning_share": "reasoning share (of output tokens)",
    "monthly_growth": "growth (share per month)",
    "turns": "turns per session",
    "months": "months from now",
    "input_spread": "spread of the input length (coefficient of variation)",
    "output_spread": "spread of the output length (coefficient of variation)",
    "ttl_s": "time to live of the cache (seconds)",
}
_PLATE = {"fc": "white", "ec": "none", "pad": 1}
_UP, _DOWN = "\N{BLACK UP-POINTING TRIANGLE}", "\N{WHITE DOWN-POINTING TRIANGLE}"


def use_style():
    """Load the house style for every figure that follows."""
    plt.style.use(STYLE_FILE)


def lineup(prices, *, ax=None):
    """Input and output price of each model.

    Parameters
    ----------
    prices : DataFrame
        Rows of the prices table that hold on one day (`Prices.in_force`): provider, tier, model_id, context_above,
        uncached_input, output (USD per million tokens), approximate. Steps by context length become a range.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If a column is missing, or a model has prices of several days.
    """
    need("lineup", prices, "provider", "tier", "model_id", "context_above", "uncached_input", "output", "approximate")
    twice = prices.loc[prices.duplicated(["model_id", "context_above"]), "model_id"]
    if len(twice):
        raise ValueError(f"lineup shows one day, but {twice.iloc[0]!r} has prices of several; pass prices.in_force(day)")
    models = in_order(prices.sort_values("context_above", kind="stable").drop_duplicates("model_id"))
    ax, rows = model_rows(models, ax)
    for row, model in zip(rows, models.itertuples(index=False), strict=True):
        steps = prices[prices["model_id"] == model.model_id].sort_values("context_above")
        _price_range(ax, row, steps["uncached_input"], steps, filled=False)
        _price_range(ax, row, steps["output"], steps, filled=True)
        style = tier_style(model.tier)
        ax.plot([model.uncached_input, model.output], [row, row], lw=1, color=style["color"], ls=style["linestyle"], zorder=1)
    for rate, word in (("uncached_input", "input"), ("output", "output")):
        note(ax, word, (models[rate].iloc[0], rows[0]), (0, 12), align="center", weight="bold")
    ax.set_xscale("log")
    ax.set_xlim(prices["uncached_input"].min() / 5, prices["output"].max() * 2)
    notes = ["~ approximate"] * bool(prices["approximate"].any())
    notes += ["bars: the price rises above the input tokens in brackets"] * bool(prices["context_above"].gt(0).any())
    ax.set_xlabel("price (USD per million tokens, logarithmic scale)" + "\n" * bool(notes) + "; ".join(notes))
    plain(ax.xaxis, log=True)
    return ax


def _price_range(ax, row, rates, steps, *, filled):
    style = tier_style(steps["tier"].iloc[0])
    low, high = rates.min(), rates.max()
    if low < high:
        color = mpl.colors.to_rgba(style["color"], 0.3 if filled else 0)
        ax.barh(row, high - low, left=low, height=0.4, color=color, edgecolor=style["color"], lw=0.8)
    fill = style["color"] if filled else "white"
    ax.plot([low], [row], ls="", marker=style["marker"], mec=style["color"], mfc=fill, mew=1.5, ms=7)
    text = "~" * bool(steps["approximate"].any()) + (f"{low:,.2f}" if low == high else f"{low:,.2f}\N{EN DASH}{high:,.2f}")
    if filled and len(steps) > 1:
        text += f" ({', '.join(f'{above:,.0f}' for above in steps['context_above'].iloc[1:])})"
    note(ax, text, (high if filled else low, row), (8 if filled else -8, 0), align="left" if filled else "right")


def cost_bars(daily, *, ax=None):
    """Cost per day of each model, with whiskers where the cost is a range.

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
    need("cost_bars", daily, "provider", "tier", "model_id", "cost_usd")
    daily = in_order(daily)
    daily = daily.assign(**{side: daily["cost_usd"] for side in ("low", "high") if side not in daily})
    ax, rows = model_rows(daily, ax)
    for row, model in zip(rows, daily.itertuples(index=False), strict=True):
        style = tier_style(model.tier)
        ax.barh(row, model.cost_usd, height=0.62, color=style["color"], alpha=0.5, lw=0)
        ax.plot([model.cost_usd], [row], ls="", marker=style["marker"], color=style["color"], ms=7)
        flags = getattr(model, "flags", "")
        words = f" ({flags.replace('_', ' ').replace(';', ', ')})" if flags else ""
        _bar_label(ax, row, model.high, usd(model.cost_usd) + words if model.high == model.high else _no_bar(flags))
    wide = (daily["low"] < daily["high"]).to_numpy()
    if wide.any():
        error = np.vstack([daily["cost_usd"] - daily["low"], daily["high"] - daily["cost_usd"]])[:, wide]
        ax.errorbar(daily["cost_usd"][wide], rows[wide], xerr=error, fmt="none", ecolor=INK, elinewidth=1.2)
    _from_zero(ax, daily["high"].max(), "cost (USD per day)" + interval_note(daily, "whiskers"))
    return ax


def cost_by_bucket(costs, *, unit="USD per day", ax=None):
    """What each model's cost is made of: output, uncached input, cache writes, cache reads.

    Parameters
    ----------
    costs : DataFrame
        provider, tier, model_id and output_usd, uncached_input_usd, cache_write_usd, cache_read_usd in `unit`; flags.
    unit : str
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need("cost_by_bucket", costs, "provider", "tier", "model_id", *COST_PARTS)
    costs = in_order(costs)
    ax, rows = model_rows(costs, ax)
    styles = [tier_style(tier) for tier in costs["tier"]]
    colors = np.array([mpl.colors.to_rgb(style["color"]) for style in styles])
    grey = np.array(mpl.colors.to_rgb("#4a4a4a"))
    handles, left = [], np.zeros(len(costs))
    for part, white in COST_PARTS.items():
        width = costs[part].fillna(0).to_numpy()
        if width.any():
            ax.barh(rows, width, left=left, height=0.62, color=colors + (1 - colors) * white, edgecolor=colors, lw=0.6)
            name = part.removesuffix("_usd").replace("_", " ")
            handles.append(mpl.patches.Patch(facecolor=grey + (1 - grey) * white, edgecolor=grey, lw=0.6, label=name))
        left = left + width
    total = costs[list(COST_PARTS)].sum(axis=1, min_count=1)
    flags = costs["flags"] if "flags" in costs else [""] * len(costs)
    for row, style, value, flag in zip(rows, styles, total, flags, strict=True):
        ax.plot([0], [row], ls="", marker=style["marker"], color=style["color"], mec="white", ms=8, clip_on=False, zorder=5)
        _bar_label(ax, row, value, usd(value) if value == value else _no_bar(flag))
    ax.legend(handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=4, borderaxespad=0.2, handlelength=1.4)
    _from_zero(ax, total.max(), f"cost ({unit})")
    return ax


def _bar_label(ax, row, value, text):
    note(ax, text, (0 if pd.isna(value) else value, row), (9, 0))


def _no_bar(flags):
    return "does not fit" if "over_window" in flags else "no figure"


def _from_zero(ax, highest, label):
    ax.set_xlim(0, highest * 1.04 if highest > 0 else 1)
    ax.set_xlabel(label)
    plain(ax.xaxis)


def cost_curve(curve, *, over, crossovers=None, log="", ax=None):
    """Cost per day of each model over one variable; one panel per provider unless `ax` is given.

    Parameters
    ----------
    curve : DataFrame
        Table of `tierlab.cost_curve`: provider, tier, model_id, cost_usd, low, high (USD per day), interval and the
        column named by `over`. Where the cost is missing the model does not fit: its line ends with a cross.
    over : str
        Column on the horizontal axis.
    crossovers : DataFrame, optional
        Table of `tierlab.crossovers`. A crossing is ringed, with its value, where both lines are in one panel.
    log : {"", "x", "y", "xy"}
        Axes with a logarithmic scale.
    ax : Axes, optional

    Returns
    -------
    Figure, or Axes if `ax` is given
    """
    need("cost_curve", curve, "provider", "tier", "model_id", "cost_usd", over)
    if log not in ("", "x", "y", "xy"):
        raise ValueError(f"log is {log!r}; allowed: '', 'x', 'y', 'xy'")

    def draw(ax, part):
        ends = [_curve_line(ax, line.sort_values(over), over) for _, line in part.groupby("model_id", sort=False)]
        ax.set(xscale="log" if "x" in log else "linear", yscale="log" if "y" in log else "linear")
        ax.margins(x=0.02)
        plain(ax.xaxis, log="x" in log, share=share, ticks=ticks)
        plain(ax.yaxis, log="y" in log)
        if crossovers is not None:
            both = crossovers[["cheaper_before", "cheaper_after"]].isin(set(part["model_id"])).all(axis=1)
            for x, y in crossovers.loc[both, [over, "cost_usd"]].itertuples(index=False):
                ax.plot([x], [y], ls="", marker="o", mfc="none", mec=INK, mew=1.5, ms=10, zorder=5)
                note(ax, f"{x:.1%}" if share else f"{x:,.4g}" if x < 1000 else f"{x:,.0f}", (x, y), (0, 14), align="center")
        return ends

    ticks, share = 2 if ax is None else 5, over.endswith(("_rate", "_share", "_growth"))
    label = OVER_LABELS.get(over, over.replace("_", " ")) + interval_note(curve, "bands")
    return by_provider(in_order(curve), draw, label, "cost (USD per day)", ax, from_zero="y" not in log)


def _curve_line(ax, line, over):
    """One model's line and band; returns where its label belongs."""
    style, model_id = tier_style(line["tier"].iloc[0]), line["model_id"].iloc[0]
    fits = line[line["cost_usd"].notna()]
    if fits.empty:
        return line[over].iloc[0], 0.0, f"{model_id}\ndoes not fit", style["color"]
    marks = list(range(len(fits) - 1, -1, -max(1, len(fits) // 5)))
    ax.plot(fits[over], fits["cost_usd"], **style, markevery=marks, label=model_id)
    if {"low", "high"} <= set(fits) and (fits["low"] < fits["high"]).any():
        ax.fill_between(fits[over], fits["low"], fits["high"], color=style["color"], alpha=0.18, lw=0)
    x, y = fits[over].iloc[-1], fits["cost_usd"].iloc[-1]
    if len(fits) == len(line):
        return x, y, model_id, style["color"]
    ax.plot([x], [y], ls="", marker="x", ms=10, mew=2, color=INK, zorder=5)
    return x, y, f"{model_id}\ndoes not fit", style["color"]


def calendar(costs, *, ax=None):
    """Cost per day of each model over calendar time, with price changes as steps.

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
    start, length = costs["on"].min(), max(costs["on"].max() - costs["on"].min(), pd.Timedelta(days=1))
    changes = costs[costs["change"].fillna("").ne("")].sort_values("on", kind="stable")

    def draw(ax, part):
        ends = [_calendar_line(ax, line.sort_values("on")) for _, line in part.groupby("model_id", sort=False)]
        for place, change in enumerate(changes[changes["model_id"].isin(part["model_id"])].itertuples()):
            height, along = 1 - row * (place + 0.5), (change.on - start) / length
            ax.axvline(change.on, 0, height - row / 2, color=BASELINE, lw=0.8, zorder=1)
            text = f"{change.on:%Y-%m-%d} {change.model_id}: {change.change}"
            align = "left" if along < 0.3 else "right" if along > 0.75 else "center"
            note(ax, text, (change.on, height), (0, 0), align=align, xycoords=("data", "axes fraction"))
        ax.margins(x=0.03)
        plain(ax.yaxis, ticks=round(0.35 / row))
        dates(ax.xaxis)
        return ends

    most = len(changes) if ax is not None else changes["provider"].value_counts().max() if len(changes) else 0
    return by_provider(costs, draw, "date", "cost (USD per day)", ax, stacked=True, headroom=min(row * most, 0.6))


def _calendar_line(ax, line):
    style = tier_style(line["tier"].iloc[0])
    model_id = line["model_id"].iloc[0]
    ax.step(line["on"], line["cost_usd"], where="post", color=style["color"], ls=style["linestyle"], label=model_id)
    alive = line[line["cost_usd"].shift().notna() | line["cost_usd"].notna()]
    alive = alive.assign(gone=alive["cost_usd"].isna(), cost_usd=alive["cost_usd"].ffill())
    marks = pd.concat([alive[alive["change"].fillna("").ne("")], alive.iloc[[-1]]]).drop_duplicates("on")
    for gone, part in marks.groupby("gone"):
        tier_mark = {"marker": style["marker"], "color": style["color"]}
        ax.plot(
            part["on"], part["cost_usd"], ls="", **({"marker": "x", "color": INK, "ms": 9, "mew": 2} if gone else tier_mark)
        )
    return alive["on"].iloc[-1], alive["cost_usd"].iloc[-1], model_id, style["color"]


def price_changes(changes, *, as_of=None, ax=None):
    """Dated price changes: a row per model, a rise up, a cut down, anything else as a diamond.

    Parameters
    ----------
    changes : DataFrame
        Table of `Prices.changes`: on, model_id, kind, rate, context_above, before, after (USD per million tokens).
    as_of : str or Timestamp, optional
        The day on which one stands: what lies to its right is scheduled.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If there is no change to show.
    """
    need("price_changes", changes, "on", "model_id", "kind", "rate", "context_above", "before", "after")
    if changes.empty:
        raise ValueError("there is no price change to show; say so in words")
    events = changes.assign(on=pd.to_datetime(changes["on"])).sort_values("on", kind="stable")
    models = list(events["model_id"].drop_duplicates())
    ax = axes(ax, height=1 + 0.34 * len(models))
    days = [events["on"].min(), events["on"].max(), *([pd.Timestamp(as_of)] if as_of is not None else [])]
    pad = max((max(days) - min(days)) * 0.06, pd.Timedelta(days=5))
    for (on, model_id), event in events.groupby(["on", "model_id"], sort=False):
        marker, text = _change(event)
        late = on > min(days) + (max(days) - min(days)) / 2
        row = models.index(model_id)
        ax.plot([on], [row], ls="", marker=marker, mec=INK, mfc="white" if marker == "v" else INK, ms=8)
        note(ax, f"{on:%Y-%m-%d}  {text}", (on, row), (-10 if late else 10, 0), align="right" if late else "left", bbox=_PLATE)
    if as_of is not None:
        ax.axvline(pd.Timestamp(as_of), color=BASELINE, lw=1, ls="--")
        note(ax, f"as of {pd.Timestamp(as_of):%Y-%m-%d}", (pd.Timestamp(as_of), -0.6), (0, 8), align="center")
    ax.set_yticks(range(len(models)), models)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(models) - 0.4, -0.6)
    ax.set_xlim(min(days) - pad, max(days) + pad)
    ax.set_xlabel(f"date ({_UP} rise, {_DOWN} cut; prices in USD per million tokens)")
    dates(ax.xaxis)
    return ax


def _change(event):
    """Marker and words of one model's changes on one day: input and output first, the rest counted."""
    if (event["kind"] != "rate").any():
        return "D", "; ".join(f"{rate} ends" for rate in event.loc[event["kind"] != "rate", "rate"])
    lowest = event[event["context_above"] == event["context_above"].min()]
    named = lowest[lowest["rate"].isin(["uncached_input", "output"])]
    named = named if len(named) else lowest.head(2)
    # Alphabetical order would put output before input.
    named = named.sort_values("rate", key=lambda rate: rate.eq("output"), kind="stable")
    names = named["rate"].str.removeprefix("uncached_").str.replace("_", " ")
    steps = zip(names, named["before"], named["after"], strict=True)
    words = [f"{name} {before:,.10g} to {after:,.10g}" for name, before, after in steps]
    more = len(event) - len(named)
    words += [f"{more} more rate{'s' * (more > 1)}"] * (more > 0)
    up, down = (named["after"] > named["before"]).all(), (named["after"] < named["before"]).all()
    return "^" if up else "v" if down else "D", ", ".join(words)


def break_even(table, *, ax=None):
    """Cost of input through a cache over its cost without, against the hit rate; break-evens are ringed.

    Parameters
    ----------
    table : DataFrame
        cache_hit_rate (0-1), write (text, one line each), cost_multiple (1 = no cache), break_even (hit rate, 0-1).
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need("break_even", table, "cache_hit_rate", "write", "cost_multiple", "break_even")
    ax = axes(ax)
    ax.axhline(1, color=BASELINE, lw=1.2)
    note(ax, "no cache", (1, 1), (0, 7), align="right")
    for (write, line), dash in zip(table.groupby("write", sort=False), ("-", "--", "-.", ":"), strict=False):
        line = line.sort_values("cache_hit_rate")
        ax.plot(line["cache_hit_rate"], line["cost_multiple"], color=INK, ls=dash, label=write)
        point = line["break_even"].iloc[0]
        ax.plot([point], [1], ls="", marker="o", mfc="white", mec=INK, mew=1.5, ms=8, zorder=5)
        note(ax, f"pays above {point:.1%}", (point, 1), (8, 9))
        note(ax, write, tuple(line[["cache_hit_rate", "cost_multiple"]].iloc[0]), (10, 3))
    ax.set_xlim(0, 1)
    ax.set_ylim(0)
    ax.set(xlabel=OVER_LABELS["cache_hit_rate"], ylabel="input cost (multiple of the cost without a cache)")
    plain(ax.xaxis, share=True)
    return ax


def trace_lengths(requests, *, windows=None, ax=None):
    """Share of requests up to a length, for the whole input and for the output.

    Parameters
    ----------
    requests : DataFrame
        Requests table, one row per request.
    windows : Series, optional
        Context window in tokens, indexed by model id; nearly equal windows share one label.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    import seaborn as sns

    need("trace_lengths", requests, "uncached_input_tokens", "output_tokens")
    if "aggregate" in requests and requests["aggregate"].any():
        raise ValueError(f"trace_lengths needs one row per request; {requests['aggregate'].sum():,} rows are aggregates")
    ax = axes(ax)
    inputs = ["uncached_input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"]
    lengths = {"input": requests[[c for c in inputs if c in requests]].sum(axis=1), "output": requests["output_tokens"]}
    longer = max(lengths, key=lambda name: lengths[name].median())
    for (name, tokens), dash in zip(lengths.items(), ("-", "--"), strict=True):
        sns.ecdfplot(x=tokens, ax=ax, color=INK, ls=dash, log_scale=True)
        half, side = max(tokens.median(), 1), 1 if name == longer else -1
        note(ax, f"{name}\nmedian {half:,.0f}", (half, 0.5), (10 * side, 0), align="left" if side > 0 else "right")
    for row, group in enumerate([] if windows is None else _near_windows(windows.dropna())):
        height = 0.06 + 0.09 * row  # a longer window's words pass over the shorter windows' lines
        ax.vlines(group, 0, height + 0.03, color=BASELINE, lw=1.2)
        ends = dict.fromkeys(f"{tokens:,.0f}" for tokens in (group.min(), group.max()))
        names = ", ".join(group.index) if len(group) < 3 else f"{len(group)} models"
        note(ax, f"{' to '.join(ends)}: {names}", (group.min(), height), (-5, 0), align="right")
    ax.set_ylim(0, 1.02)
    ax.set_xlabel("tokens per request (logarithmic scale)" + ("; grey lines: context windows" if windows is not None else ""))
    ax.set_ylabel("share of requests up to this length")
    plain(ax.xaxis, log=True)
    plain(ax.yaxis, share=True)
    return ax


def _near_windows(windows):
    """Context windows from short to long, those within a tenth of one another together."""
    windows = windows.sort_values()
    starts = (windows > windows.shift() * 1.1).cumsum()
    return [group for _, group in windows.groupby(starts)]


def cache_hit_curve(table, *, ax=None):
    """Cache hit rate against the time to live.

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
    ends = [(last["ttl_s"], last["cache_hit_rate"], f"{last['cache_hit_rate']:.1%}", INK)]
    if len(forever):
        ax.axhline(forever.iloc[0], color=BASELINE, ls="--", lw=1.2)
        ends.append((last["ttl_s"], forever.iloc[0], f"{forever.iloc[0]:.1%} if nothing expires", BASELINE))
    for ttl, name in ((300, "5 minutes"), (3600, "1 hour")):
        if finite["ttl_s"].min() <= ttl <= finite["ttl_s"].max():
            ax.axvline(ttl, color=BASELINE, lw=1, ls=":")
            note(ax, name, (ttl, 0), (-4, 8), align="right")
    ax.set(xscale="log", xlabel=OVER_LABELS["ttl_s"] + ", logarithmic scale", ylabel=OVER_LABELS["cache_hit_rate"])
    ax.set_ylim(0)
    plain(ax.xaxis, log=True)
    plain(ax.yaxis, share=True)
    label_ends([(ax, ends)])
    return ax


def verdicts(table, *, ax=None):
    """How many claims of each section are supported, contradicted, not checkable or not yet computed.

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
    counts = pd.crosstab(table["section"], table["verdict"]).reindex(index=sections, columns=list(VERDICT_GREYS), fill_value=0)
    ax = axes(ax, height=1.1 + 0.26 * len(sections))
    left = np.zeros(len(sections))
    for verdict, grey in VERDICT_GREYS.items():
        width = counts[verdict].to_numpy()
        bars = ax.barh(sections, width, left=left, height=0.7, color=grey, edgecolor="#595959", label=verdict)
        ink = "white" if verdict == "contradicted" else INK
        ax.bar_label(bars, [str(n) if n else "" for n in width], label_type="center", fontsize=SMALL_PRINT, color=ink)
        left = left + width
    ax.set_ylim(len(sections) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, borderaxespad=0.2, handlelength=1.4)
    _from_zero(ax, left.max(), "claims (count)")
    ax.xaxis.get_major_locator().set_params(integer=True)
    return ax


def show(figure, *, alt, caption, save_as=None):
    """Display a figure once, alt text on the image and the caption in words below; then close it.

    Parameters
    ----------
    figure : Figure or Axes
    alt : str
        What the figure shows, for someone who cannot see it. It is also the output's text form.
    caption : str
        What the reader must know: prices and date, data, assumptions, what an interval is.
    save_as : str, optional
        File name. Written only where the environment names the figures folder (``TIERLAB_FIGURES_DIR``), as the
        kit's commands and tests do: a person at work in JupyterLab changes no file of the repository.
    """
    from IPython.display import display

    if not alt.strip() or not caption.strip():
        raise ValueError("a figure needs an alt text and a caption")
    figure = _figure(figure)
    if save_as is not None and "TIERLAB_FIGURES_DIR" in os.environ:
        save(figure, save_as, alt=alt)
    image = base64.b64encode(_image(figure, "png", alt)).decode("ascii")
    plt.close(figure)
    display({"image/png": image, "text/plain": alt}, raw=True, metadata={"image/png": {"alt": alt}})
    # A dollar sign in an element of its own cannot start a formula.
    words = html.escape(caption).replace("$", "<span>$</span>")
    display({"text/html": f'<p class="caption">{words}</p>', "text/plain": caption}, raw=True)


def save(figure, name, *, alt, folder=None):
    """Write a figure to a file that has the same bytes every time; the alt text goes into the file.

    Parameters
    ----------
    figure : Figure or Axes
    name : str
        File name that ends in .png or .svg; without an ending it is .png.
    alt : str
    folder : path, optional
        By default `tierlab.paths.FIGURES`.

    Returns
    -------
    Path
    """
    kind = "svg" if name.endswith(".svg") else "png"
    target = Path(folder or paths.FIGURES) / f"{name.removesuffix(f'.{kind}')}.{kind}"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(_image(_figure(figure), kind, alt))
    return target


def _image(figure, kind, alt):
    metadata = {"Description": alt} | ({"Software": None} if kind == "png" else {"Date": None, "Creator": None})
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "tierlab", "savefig.bbox": None}):
        figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()


def _figure(figure):
    return figure if isinstance(figure, mpl.figure.FigureBase) else figure.figure
