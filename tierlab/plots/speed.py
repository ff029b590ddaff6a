"""Figures of speed: what is said beside what is published, the time of a request, its percentiles, limits, and its worth.

`tierlab.plots` offers them.
"""

import numpy as np

from tierlab.style import (
    BASELINE,
    INK,
    PROVIDER_NAMES,
    axes,
    from_zero,
    in_order,
    label_ends,
    model_rows,
    name_rows,
    need,
    note,
    plain,
    tier_style,
    usd,
)


def speed_ranges(table, *, ax=None):
    """Each model's claimed or assumed speed, beside what public pages say of it.

    Parameters
    ----------
    table : DataFrame
        Of `tierlab.speeds.against_published`: provider, tier, model_id, tokens_per_s, low, high, basis,
        published_low, published_high, pages.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need(
        "speed_ranges", table, "provider", "tier", "model_id", "tokens_per_s", "low", "high", "basis", "published_low", "pages"
    )
    table = in_order(table)
    ax, rows = model_rows(table, ax)
    for row, line in zip(rows, table.itertuples(), strict=True):
        style = tier_style(line.tier)
        ax.plot([line.low, line.high], [row - 0.16] * 2, color=style["color"], lw=5, alpha=0.45, solid_capstyle="butt")
        ax.plot([line.tokens_per_s], [row - 0.16], color=style["color"], marker=style["marker"], ms=7, ls="")
        right = max(line.high, line.published_high if line.pages else 0)
        if line.pages:
            ax.plot([line.published_low, line.published_high], [row + 0.2] * 2, color=INK, lw=1.6, marker="|", ms=8, mew=1.6)
        pages = f"{line.pages} page{'s' * (line.pages != 1)}" if line.pages else "no page"
        note(ax, f"{line.basis}; {pages}", (right, row), (9, 0))
    from_zero(ax, max(table["high"].max(), table["published_high"].max()) * 1.25, "output tokens per second\ncoloured: the article, or an assumption from it\nblack: lowest to highest on public pages")  # fmt: skip
    return ax


def request_seconds(table, *, ax=None):
    """Median time of a request on each model: the wait for the first token, then the writing, with its range.

    Parameters
    ----------
    table : DataFrame
        Of `tierlab.latency.seconds_range`: provider, tier, model_id, seconds, low, high, and first_token_s (seconds
        until the first token, a router's call included).
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need("request_seconds", table, "provider", "tier", "model_id", "seconds", "low", "high", "first_token_s")
    table = in_order(table)
    ax, rows = model_rows(table, ax)
    for row, line in zip(rows, table.itertuples(), strict=True):
        color = tier_style(line.tier)["color"]
        ax.barh(row, line.first_token_s, color=color, alpha=0.45, height=0.62)
        ax.barh(row, line.seconds - line.first_token_s, left=line.first_token_s, color=color, height=0.62)
        ax.plot([line.low, line.high], [row, row], color=INK, lw=1, marker="|", ms=7)
        note(ax, f"{line.seconds:.1f} s", (line.high, row), (7, 0))
    from_zero(ax, table["high"].max() * 1.06, "seconds per request\npale: until the first token; full: writing; whiskers: ends of the assumed ranges")  # fmt: skip
    return ax


def percentiles(table, *, by="model_id", ax=None):
    """Percentiles of the latency of each model, with their intervals.

    Parameters
    ----------
    table : DataFrame
        Of `tierlab.latency_percentiles`: `by`, percentile, seconds, low, high (an end may be missing); optionally tier.
    by : str
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need("percentiles", table, by, "percentile", "seconds", "low", "high")
    names = list(dict.fromkeys(table[by]))
    ax = axes(ax, height=1.1 + 0.75 * len(names))
    levels = sorted(table["percentile"].unique())
    for line in table.itertuples():
        tier = getattr(line, "tier", None)
        style = tier_style(tier) if isinstance(tier, str) else {"color": INK, "marker": "D"}
        row = names.index(getattr(line, by)) + 0.56 * (levels.index(line.percentile) + 0.5) / len(levels) - 0.28
        ends = [line.seconds if value != value else value for value in (line.low, line.high)]
        ax.plot(ends, [row, row], color=style["color"], lw=1.6)
        ax.plot([line.seconds], [row], color=style["color"], marker=style["marker"], ms=6, ls="")
        open_end = "" if line.high == line.high else ", no upper end"
        note(ax, f"p{line.percentile:g}  {line.seconds:.1f} s{open_end}", (max(ends), row), (8, 0))
    name_rows(ax, names)
    from_zero(ax, table[["seconds", "high"]].max().max() * 1.2, "seconds per request\nbars: 95% interval of the percentile")
    return ax


def slo_mix(table, *, target=None, at=None, ax=None):
    """Share of requests within a limit over the share of the traffic that goes to the slower tier.

    Parameters
    ----------
    table : DataFrame
        slow_share (0-1), attainment, low, high (0-1), line (what tells the lines apart; the first one has the band).
    target : float, optional
        Wanted attainment, 0-1.
    at : float, optional
        Share at which the first line is marked.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need("slo_mix", table, "slow_share", "attainment", "low", "high", "line")
    ax, ends = axes(ax), []
    for place, ((name, line), dash) in enumerate(zip(table.groupby("line", sort=False), ("-", "--", "-.", ":"), strict=False)):
        line = line.sort_values("slow_share")
        if place == 0:
            ax.fill_between(line["slow_share"], line["low"], line["high"], color=BASELINE, alpha=0.22, lw=0)
            if at is not None:
                ax.plot([at], [np.interp(at, line["slow_share"], line["attainment"])], ls="", marker="o", color=INK, ms=9)
        ax.plot(line["slow_share"], line["attainment"], color=INK, ls=dash, lw=1.8)
        ends.append((line["slow_share"].iloc[-1], line["attainment"].iloc[-1], str(name), INK))
    if target is not None:
        ax.axhline(target, color=BASELINE, lw=1.2, ls=":")
        note(ax, f"target {target:.0%}", (1, target), (-4, 7), align="right")
    ax.set(
        xlabel="share of requests on the slower tier", ylabel="requests within the limit (share)", xlim=(0, 1), ylim=(0, 1.02)
    )
    plain(ax.xaxis, share=True)
    plain(ax.yaxis, share=True)
    label_ends([(ax, ends)])
    return ax


def second_value(table, *, ax=None):
    """What a request on the slower model costs more, price and wait together, over the value of a second.

    Parameters
    ----------
    table : DataFrame
        Of `tierlab.waiting.premium`, from a value of 0 on: provider, hour_usd, extra_usd (USD per request),
        equal_hour_usd.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need("second_value", table, "provider", "hour_usd", "extra_usd", "equal_hour_usd")
    ax, ends, highest = axes(ax), [], table["extra_usd"].idxmax()
    for (name, line), dash in zip(table.groupby("provider", sort=False), ("-", "--", "-.", ":"), strict=False):
        line = line.sort_values("hour_usd").assign(extra_usd=1000 * line["extra_usd"])
        ax.plot(line["hour_usd"], line["extra_usd"], color=INK, ls=dash, lw=1.8)
        x, at_zero = line["equal_hour_usd"].iloc[0], line["extra_usd"].iloc[0]
        if x <= line["hour_usd"].max():
            ax.plot([x], [2 * at_zero], ls="", marker="o", mfc="white", mec=INK, mew=1.5, ms=8, zorder=5)
            above = highest in line.index  # the label of the highest line has room above, the others' below
            note(ax, usd(x), (x, 2 * at_zero), (-7, 9) if above else (7, -9), align="right" if above else "left")
        ends.append((line["hour_usd"].iloc[-1], line["extra_usd"].iloc[-1], PROVIDER_NAMES.get(name, name), INK))
    ax.set_xlim(0)
    ax.set_ylim(0)
    ax.set(xlabel="value of an hour of waiting (USD)\nrings: the wait costs as much as the price difference", ylabel="flagship over small (USD per 1,000 requests)")  # fmt: skip
    plain(ax.xaxis)
    plain(ax.yaxis)
    label_ends([(ax, ends)])
    return ax
