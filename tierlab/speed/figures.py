"""Figures of speed, time, limits, windows and tokenizers: each takes a table and returns its axes."""

import numpy as np
import pandas as pd

from tierlab.core.format import share, usd
from tierlab.core.style import (
    BASELINE,
    INK,
    PROVIDER_NAMES,
    SMALL_PRINT,
    axes,
    from_zero,
    in_order,
    label_ends,
    model_rows,
    name_rows,
    note,
    plain,
    tier_style,
)


def speed_ranges(table, *, ax=None):
    """Draw each model's claimed or assumed speed beside what public pages say about it.

    Parameters
    ----------
    table : DataFrame
        From `tierlab.speed.speeds.against_published`: provider, tier, model_id, tokens_per_s, low, high, basis,
        published_low, published_high, pages.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    table = in_order(table)
    ax, rows = model_rows(table, ax)
    for row, line in zip(rows, table.itertuples(), strict=True):
        style = tier_style(line.tier)
        ax.plot(
            [line.low, line.high],
            [row - 0.16] * 2,
            color=style["color"],
            lw=5,
            alpha=0.45,
            solid_capstyle="butt",
        )
        ax.plot(
            [line.tokens_per_s],
            [row - 0.16],
            color=style["color"],
            marker=style["marker"],
            ms=7,
            ls="",
        )
        right = max(line.high, line.published_high if line.pages else 0)
        if line.pages:
            ax.plot(
                [line.published_low, line.published_high],
                [row + 0.2] * 2,
                color=INK,
                lw=1.6,
                marker="|",
                ms=8,
                mew=1.6,
            )
        pages = f"{line.pages} page{'s' * (line.pages != 1)}" if line.pages else "no page"
        note(ax, f"{line.basis}; {pages}", (right, row), (9, 0))
    label = "output tokens per second\ncoloured: the article, or an assumption from it\nblack: lowest to highest on public pages"
    from_zero(ax, max(table["high"].max(), table["published_high"].max()) * 1.25, label)
    return ax


def time_line(table, *, limit_s):
    """Draw a request from sending to its last token: the router's call, the wait for the first token, the tokens.

    Parameters
    ----------
    table : DataFrame
        A row per tier: tier, model_id, router_s, ttft_s (seconds), tokens_per_s, output_tokens.
    limit_s : float
        Time limit, seconds.

    Returns
    -------
    Axes
    """
    ax, last = axes(None, height=0.9 + 0.62 * len(table)), limit_s
    for row, line in enumerate(table.itertuples()):
        color, first = tier_style(line.tier)["color"], line.router_s + line.ttft_s
        tokens = np.arange(0, line.output_tokens, 10) / line.tokens_per_s + first
        end = first + (line.output_tokens - 1) / line.tokens_per_s
        ax.barh(row, line.router_s, height=0.44, color=INK)
        ax.barh(row, line.ttft_s, left=line.router_s, height=0.44, fc="white", ec=color, lw=1.2)
        ax.vlines([*tokens, end], row - 0.22, row + 0.22, color=color, lw=1.6)
        note(ax, f"first token {first:.1f} s", (first, row - 0.36), (0, 0))
        note(
            ax,
            f"{line.tokens_per_s:g} tokens per second",
            ((first + end) / 2, row + 0.36),
            (0, 0),
            align="center",
        )
        note(ax, f"{end:.1f} s", (end, row), (7, 0), weight="bold")
        last = max(last, end)
    ax.axvline(limit_s, color=BASELINE, ls=":", lw=1.4, zorder=0)
    note(ax, f"limit {limit_s:g} s", (limit_s, -0.75), (4, 0))
    name_rows(
        ax,
        [f"{line.model_id} \N{MIDDLE DOT} {line.tier}" for line in table.itertuples()],
        above=0.45,
    )
    ax.set_ylim(len(table) - 0.38, -0.95)
    from_zero(
        ax,
        last * 1.12,
        "seconds since the request was sent\nblack: the router's call; white: wait; one stroke: ten tokens",
    )
    return ax


def request_seconds(table, *, ax=None):
    """Draw the median time of a request on each model: the wait for the first token, then the writing.

    Parameters
    ----------
    table : DataFrame
        From `tierlab.speed.latency.seconds_range`: provider, tier, model_id, seconds, low, high, and first_token_s
        (seconds until the first token, including a router's call).
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    table = in_order(table)
    ax, rows = model_rows(table, ax)
    for row, line in zip(rows, table.itertuples(), strict=True):
        color = tier_style(line.tier)["color"]
        ax.barh(row, line.first_token_s, color=color, alpha=0.45, height=0.62)
        ax.barh(
            row,
            line.seconds - line.first_token_s,
            left=line.first_token_s,
            color=color,
            height=0.62,
        )
        ax.plot([line.low, line.high], [row, row], color=INK, lw=1, marker="|", ms=7)
        note(ax, f"{line.seconds:.1f} s", (line.high, row), (7, 0))
    label = "seconds per request\npale: until the first token; full: writing; whiskers: ends of the assumed ranges"
    from_zero(ax, table["high"].max() * 1.06, label)
    return ax


def percentiles(table, *, by="model_id", ax=None):
    """Draw percentiles of the latency of each model, with their intervals.

    Parameters
    ----------
    table : DataFrame
        From `tierlab.latency_percentiles`: `by`, percentile, seconds, low, high (an end may be missing).
    by : str
        Column with a name per row of the figure.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    names = list(dict.fromkeys(table[by]))
    ax = axes(ax, height=1.1 + 0.75 * len(names))
    levels = sorted(table["percentile"].unique())
    for line in table.itertuples():
        row = (
            names.index(getattr(line, by))
            + 0.56 * (levels.index(line.percentile) + 0.5) / len(levels)
            - 0.28
        )
        ends = [line.seconds if value != value else value for value in (line.low, line.high)]
        ax.plot(ends, [row, row], color=INK, lw=1.6)
        ax.plot([line.seconds], [row], color=INK, marker="D", ms=5, ls="")
        open_end = "" if line.high == line.high else ", no upper end"
        note(ax, f"p{line.percentile:g}  {line.seconds:.1f} s{open_end}", (max(ends), row), (8, 0))
    name_rows(ax, names)
    from_zero(
        ax,
        table[["seconds", "high"]].max().max() * 1.2,
        "seconds per request\nbars: 95% interval of the percentile",
    )
    return ax


def slo_mix(table, *, target=None, at=None, ax=None):
    """Draw the share of requests within a limit over the share of the traffic that goes to the slower tier.

    Parameters
    ----------
    table : DataFrame
        slow_share (0-1), attainment, low, high (0-1), line (the name of each line; the first one has the band).
    target : float, optional
        Attainment to reach, 0-1.
    at : float, optional
        Share at which the first line has a mark.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax, ends = axes(ax), []
    for place, ((name, line), dash) in enumerate(
        zip(table.groupby("line", sort=False), ("-", "--", "-.", ":"), strict=False)
    ):
        line = line.sort_values("slow_share")
        if place == 0:
            ax.fill_between(
                line["slow_share"], line["low"], line["high"], color=BASELINE, alpha=0.22, lw=0
            )
            if at is not None:
                ax.plot(
                    [at],
                    [np.interp(at, line["slow_share"], line["attainment"])],
                    ls="",
                    marker="o",
                    color=INK,
                    ms=9,
                )
        ax.plot(line["slow_share"], line["attainment"], color=INK, ls=dash, lw=1.8)
        ends.append((line["slow_share"].iloc[-1], line["attainment"].iloc[-1], str(name), INK))
    if target is not None:
        ax.axhline(target, color=BASELINE, lw=1.2, ls=":")
        note(ax, f"target {share(target)}", (1, target), (-4, 7), align="right")
    ax.set(
        xlabel="share of requests on the higher tier",
        ylabel="requests within the limit (share)",
        xlim=(0, 1),
        ylim=(0, 1.02),
    )
    plain(ax.xaxis, share=True)
    plain(ax.yaxis, share=True)
    label_ends([(ax, ends)])
    return ax


def second_value(table, *, ax=None):
    """Draw how much more a request on the slower model costs, in price and waiting, over the value of an hour.

    Parameters
    ----------
    table : DataFrame
        From `tierlab.speed.latency.premium`, with values from 0 up: provider, hour_usd, extra_usd (USD per request),
        equal_hour_usd.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax, ends, highest = axes(ax), [], table["extra_usd"].idxmax()
    for (name, line), dash in zip(
        table.groupby("provider", sort=False), ("-", "--", "-.", ":"), strict=False
    ):
        line = line.sort_values("hour_usd").assign(extra_usd=1000 * line["extra_usd"])
        ax.plot(line["hour_usd"], line["extra_usd"], color=INK, ls=dash, lw=1.8)
        x, at_zero = line["equal_hour_usd"].iloc[0], line["extra_usd"].iloc[0]
        if x <= line["hour_usd"].max():
            ax.plot(
                [x], [2 * at_zero], ls="", marker="o", mfc="white", mec=INK, mew=1.5, ms=8, zorder=5
            )
            above = highest in line.index  # the highest line has room above, the others below
            note(
                ax,
                usd(x),
                (x, 2 * at_zero),
                (-7, 9) if above else (7, -9),
                align="right" if above else "left",
            )
        ends.append(
            (
                line["hour_usd"].iloc[-1],
                line["extra_usd"].iloc[-1],
                PROVIDER_NAMES.get(name, name),
                INK,
            )
        )
    ax.set_xlim(0)
    ax.set_ylim(0)
    ax.set(
        xlabel="value of an hour of waiting (USD)\nrings: the wait costs as much as the price difference",
        ylabel="flagship over small (USD per 1,000 requests)",
    )
    plain(ax.xaxis)
    plain(ax.yaxis)
    label_ends([(ax, ends)])
    return ax


_FAR = 4  # a limit above this many times the busiest minute is named and not drawn
USES = {
    "requests": ("rpm", "requests per minute"),
    "uncached_tokens": ("itpm", "uncached input tokens per minute"),
    "output_tokens": ("otpm", "output tokens per minute"),
    "all_tokens": ("tpm", "all tokens per minute"),
}


def minute_usage(usage, limits, *, quantile=0.99):
    """Draw the use of each minute of a trace, with the limits of one model and a panel per quantity.

    Parameters
    ----------
    usage : DataFrame
        From `tierlab.speed.limits.usage_per_minute`.
    limits : DataFrame
        Rows of `tierlab.speed.limits.load_rate_limits` for one model. The figure has the highest limit tier that the
        trace passes and the first that it does not; one far above is only named. There is a panel for each limit of the
        model.
    quantile : float
        Share of minutes (0-1) below the dotted line.

    Returns
    -------
    Figure
    """
    import matplotlib.pyplot as plt

    whole = usage["uncached_tokens"] + usage["cache_read_tokens"]
    usage = usage.assign(all_tokens=whole + usage["output_tokens"])
    if limits["cached_input"].eq("counted").any():
        usage = usage.assign(uncached_tokens=whole)
    given = limits.dropna(axis=1, how="all")
    names = [name for name, (limit, _) in USES.items() if limit in given]
    size = (plt.rcParams["figure.figsize"][0], 0.7 + 1.55 * len(names))
    ax = plt.subplots(len(names), 1, figsize=size, sharex=True, squeeze=False)[1].ravel()
    minutes, ends = np.arange(len(usage)), []
    for panel, name in zip(ax, names, strict=True):
        limit, label = USES[name]
        panel.fill_between(minutes, usage[name], step="mid", color=BASELINE, alpha=0.35, lw=0)
        panel.step(minutes, usage[name], where="mid", color=INK, lw=1.2)
        peak = np.quantile(usage[name], quantile, method="inverted_cdf")
        panel.axhline(peak, color=INK, ls=":", lw=1)
        drawn = [(peak, f"p{quantile * 100:g}: {peak:,.0f}", INK)]
        # The highest limit tier below the peak and the first that is not; equal limits count once.
        tiers = limits.dropna(subset=limit).drop_duplicates(limit)
        tiers = tiers[tiers[limit].cummax().shift(fill_value=0) < peak].tail(2)
        top = usage[name].max()
        for row in tiers.to_dict("records"):
            said, value = f"{row['limit_tier']}: {row[limit]:,.0f}", row[limit]
            if value > _FAR * usage[name].max():  # to draw it would flatten the minutes
                said, value = f"{said}, {value / peak:,.0f} times as much", top
            else:
                panel.axhline(value, color="#595959", ls="--", lw=1.2)
            drawn.append((value, said, "#595959"))
            top = max(top, value)
        ends.append((panel, [(minutes[-1], *each) for each in drawn]))
        panel.set_title(label, loc="left", fontsize=SMALL_PRINT + 1)
        panel.set_ylim(0, 1.12 * top)
        plain(panel.yaxis, ticks=3)
    ax[-1].set_xlim(0, max(len(usage) - 1, 1))
    ax[-1].set_xlabel("minutes from the first request")
    label_ends(ends)
    return ax[0].figure


def headroom(table, *, ax=None):
    """Draw how many times today's traffic each limit tier carries, and name the smallest one that carries it.

    Parameters
    ----------
    table : DataFrame
        provider, tier, model_id, limit_tier, used (share of the nearest limit, `tierlab.speed.limits.loads`).
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    table = in_order(table.assign(times=1 / table["used"]))
    models = table.drop_duplicates("model_id")
    ax, rows = model_rows(models, ax)
    table["row"] = table["model_id"].map(dict(zip(models["model_id"], rows, strict=True)))
    enough = table[table["times"] >= 1].drop_duplicates("model_id")
    ax.set_xscale("log")
    ax.axvline(1, color=INK, lw=1.2)
    for tier in models["tier"].unique():
        style = {key: tier_style(tier)[key] for key in ("color", "marker")}
        for part, more in ((table, {"ms": 5, "mfc": "white"}), (enough, {"ms": 8})):
            own = part[part["tier"].eq(tier) | (part["tier"].isna() & pd.isna(tier))]
            ax.plot(own["times"], own["row"], ls="", **style, **more)
    said = {line.row: f"{line.limit_tier}: {line.times:,.3g} times" for line in enough.itertuples()}
    for row in rows:
        note(ax, said.get(row, "none is enough"), (table["times"].max(), row), (16, 0))
    ax.margins(x=0.05)
    ax.set_xlabel(
        "traffic that a limit tier carries (times today's p99 minute)\n"
        "full mark: the smallest limit tier that carries today's"
    )
    plain(ax.xaxis, log=True)
    return ax


def bucket_curve(table, *, ax=None):
    """Draw the share of requests that a token bucket refuses, against the limit, with a line per size of the bucket.

    Parameters
    ----------
    table : DataFrame
        times_mean (the limit in multiples of the mean use), burst_s (seconds of refill that a full bucket holds),
        refused_share (0-1).
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = axes(ax)
    for (burst, line), dash in zip(
        table.groupby("burst_s", sort=False), ("-", "--", "-.", ":"), strict=False
    ):
        line = line.sort_values("times_mean")
        ax.plot(
            line["times_mean"],
            line["refused_share"],
            color=INK,
            ls=dash,
            label=f"bucket of {burst:g} s",
        )
    ax.legend(loc="upper right")
    ax.set_ylabel("share of requests refused")
    ax.set(xscale="log", xlabel="limit (times the mean use per minute)")
    plain(ax.xaxis, log=True)
    ax.set_ylim(0)
    plain(ax.yaxis, share=True)
    return ax


def filling_window(talk, windows):
    """Draw a conversation that fills the window: each turn sends all that came before it again, and what is new.

    Parameters
    ----------
    talk : DataFrame
        A row per turn: turn, before (system prompt and earlier turns), new, answer (tokens).
    windows : Series
        Context windows (tokens), indexed by the names of their models.

    Returns
    -------
    Axes
    """
    ax, whole = axes(None), talk[["before", "new", "answer"]].sum(axis=1)
    ax.bar(talk["turn"], talk["before"], color="#D9D9D9", label="sent again")
    ax.bar(
        talk["turn"],
        whole - talk["before"],
        bottom=talk["before"],
        color=INK,
        label="new in this turn, answer included",
    )
    ends = []
    for name, window in windows.items():
        ax.axhline(window, color=INK, ls="--", lw=1.1)
        over = talk.loc[whole > window, "turn"]
        said = f"turn {over.iloc[0]} does not fit" if len(over) else "all turns fit"
        ends.append((talk["turn"].iloc[-1] + 0.6, window, f"{window:,.0f}: {said}\n{name}", INK))
    ax.set(xlabel="turn", ylabel="tokens", xlim=(0.4, talk["turn"].iloc[-1] + 0.6))
    ax.set_ylim(0, 1.05 * max(whole.max(), windows.max()))
    plain(ax.xaxis)
    plain(ax.yaxis)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    label_ends([(ax, ends)])
    return ax


def window_fit(table, *, ax=None):
    """Draw the share of requests that fits each model's context window, with a row per model.

    Parameters
    ----------
    table : DataFrame
        From `tierlab.speed.limits.fits_window`. A model whose window is not known has words in place of a bar.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    words = [
        f"{share(fits)} fit {window:,.0f} tokens" if np.isfinite(fits) else "window not known"
        for fits, window in zip(table["fits_share"], table["context_window"], strict=True)
    ]
    ax = _shares(table, table["fits_share"], words, "share of requests that fits", ax)
    ax.set_xticks([0, 0.5, 1])
    return ax


def step_costs(table, *, ax=None):
    """Draw what the step in price adds to the bill of each model that has one, with a row per model.

    Parameters
    ----------
    table : DataFrame
        From `tierlab.speed.limits.cliff_cost`, rows with a step: context_above, above_share, added_share.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    words = [
        f"+{share(line.added_share)}: {share(line.above_share)} are above {line.context_above:,.0f}"
        for line in table.itertuples()
    ]
    label = "what the step adds (share of the bill without it)"
    return _shares(table, table["added_share"], words, label, ax)


def _shares(table, values, words, label, ax):
    """Draw a bar from zero and its words for each model."""
    ax, rows = model_rows(table, ax)
    values, highest = values.fillna(0), max(1.0, values.max())
    colors = [tier_style(tier)["color"] for tier in table["tier"]]
    ax.barh(rows, values, height=0.7, color=colors)
    for row, value, text in zip(rows, values, words, strict=True):
        note(ax, text, (value, row), (5, 0))
    from_zero(ax, 1.55 * highest, label)
    plain(ax.xaxis, share=True)
    return ax
