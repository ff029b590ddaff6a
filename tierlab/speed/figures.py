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
    need,
    note,
    plain,
    tier_style,
)


def speed_ranges(table, *, ax=None):
    """Each model's claimed or assumed speed, beside what public pages say of it.

    Parameters
    ----------
    table : DataFrame
        Of `tierlab.speed.speeds.against_published`: provider, tier, model_id, tokens_per_s, low, high, basis,
        published_low, published_high, pages.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need(
        "speed_ranges",
        table,
        "provider",
        "tier",
        "model_id",
        "tokens_per_s",
        "low",
        "high",
        "basis",
        "published_low",
        "pages",
    )
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


def request_seconds(table, *, ax=None):
    """Median time of a request on each model: the wait for the first token, then the writing, with its range.

    Parameters
    ----------
    table : DataFrame
        Of `tierlab.speed.latency.seconds_range`: provider, tier, model_id, seconds, low, high, and first_token_s (seconds
        until the first token, a router's call included).
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need(
        "request_seconds",
        table,
        "provider",
        "tier",
        "model_id",
        "seconds",
        "low",
        "high",
        "first_token_s",
    )
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
        row = (
            names.index(getattr(line, by))
            + 0.56 * (levels.index(line.percentile) + 0.5) / len(levels)
            - 0.28
        )
        ends = [line.seconds if value != value else value for value in (line.low, line.high)]
        ax.plot(ends, [row, row], color=style["color"], lw=1.6)
        ax.plot([line.seconds], [row], color=style["color"], marker=style["marker"], ms=6, ls="")
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
        xlabel="share of requests on the slower tier",
        ylabel="requests within the limit (share)",
        xlim=(0, 1),
        ylim=(0, 1.02),
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
        Of `tierlab.speed.latency.premium`, from a value of 0 on: provider, hour_usd, extra_usd (USD per request),
        equal_hour_usd.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need("second_value", table, "provider", "hour_usd", "extra_usd", "equal_hour_usd")
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


USES = {
    "requests": ("rpm", "requests per minute"),
    "uncached_tokens": ("itpm", "uncached input tokens per minute"),
    "output_tokens": ("otpm", "output tokens per minute"),
    "all_tokens": ("tpm", "all tokens per minute"),
}


def minute_usage(usage, limits, *, quantile=0.99):
    """Use of each minute of a trace, one panel per quantity, with the limits of one model.

    Parameters
    ----------
    usage : DataFrame
        From `tierlab.speed.limits.usage_per_minute`.
    limits : DataFrame
        Rows of `tierlab.speed.limits.load_rate_limits` for one model. Drawn are the limit tiers that the trace passes and the
        first that it does not. The panels are those of the limits that the model has.
    quantile : float
        Share of minutes (0-1) below the dotted line.

    Returns
    -------
    Figure
    """
    import matplotlib.pyplot as plt

    need("minute_usage", usage, "requests", "uncached_tokens", "cache_read_tokens", "output_tokens")
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
        # The limit tier below the peak, and the first that is not; equal ones once.
        tiers = limits.dropna(subset=limit).drop_duplicates(limit)
        tiers = tiers[tiers[limit].cummax().shift(fill_value=0) < peak].tail(2)
        for row in tiers.to_dict("records"):
            drawn.append((row[limit], f"{row['limit_tier']}: {row[limit]:,.0f}", "#595959"))
            panel.axhline(row[limit], color="#595959", ls="--", lw=1.2)
        ends.append((panel, [(minutes[-1], *each) for each in drawn]))
        panel.set_title(label, loc="left", fontsize=SMALL_PRINT + 1)
        panel.set_ylim(0, 1.12 * max(usage[name].max(), *(end[0] for end in drawn)))
        plain(panel.yaxis, ticks=3)
    ax[-1].set_xlim(0, max(len(usage) - 1, 1))
    ax[-1].set_xlabel("minutes from the first request")
    label_ends(ends)
    return ax[0].figure


def bucket_curve(table, *, ax=None):
    """Share of requests that a token bucket refuses, against the limit, one line per size of the bucket.

    Parameters
    ----------
    table : DataFrame
        per_minute (the limit), burst_s (seconds of refill that a full bucket holds), refused_share (0-1).
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need("bucket_curve", table, "per_minute", "burst_s", "refused_share")
    ax = axes(ax)
    for (burst, line), dash in zip(
        table.groupby("burst_s", sort=False), ("-", "--", "-.", ":"), strict=False
    ):
        line = line.sort_values("per_minute")
        ax.plot(
            line["per_minute"],
            line["refused_share"],
            color=INK,
            ls=dash,
            label=f"bucket of {burst:g} s",
        )
    ax.legend(loc="upper right")
    ax.set_ylabel("share of requests refused")
    from_zero(ax, table["per_minute"].max(), "limit (tokens per minute)")
    ax.set_ylim(0)
    plain(ax.yaxis, share=True)
    return ax


def window_fit(table, *, ax=None):
    """Share of requests that fits each model's context window, a row per model.

    Parameters
    ----------
    table : DataFrame
        From `tierlab.speed.windows.fit`. A model whose window is not known has words in place of a bar.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need("window_fit", table, "provider", "tier", "model_id", "context_window", "fits_share")
    ax, rows = model_rows(table, ax)
    for height, row in zip(rows, table.to_dict("records"), strict=True):
        known = np.isfinite(row["fits_share"])
        color = tier_style(row["tier"])["color"]
        ax.barh(height, row["fits_share"] if known else 0, height=0.7, color=color)
        words = (
            f"{share(row['fits_share'])} fit {row['context_window']:,.0f} tokens"
            if known
            else "window not known"
        )
        note(ax, words, (row["fits_share"] if known else 0, height), (5, 0))
    from_zero(ax, 1, "share of requests that fits")
    ax.set_xlim(0, 1.45)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1])
    plain(ax.xaxis, share=True)
    return ax


def token_ratios(table, *, ax=None):
    """Ratios of two tokenizers' counts, a row each, against no difference at 1.

    Parameters
    ----------
    table : DataFrame
        label, ratio, low, high (tokens per token; ratio missing for a range without a middle).
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    need("token_ratios", table, "label", "ratio", "low", "high")
    ax = axes(ax, height=0.9 + 0.3 * len(table))
    rows = np.arange(len(table))
    ax.axvline(1, color=BASELINE, lw=1.2)
    ax.hlines(rows, table["low"], table["high"], color=INK, lw=1.6)
    ax.plot(table["ratio"], rows, ls="", marker="o", mfc="white", mec=INK, mew=1.5, ms=6)
    for row, (ratio, high) in enumerate(zip(table["ratio"], table["high"], strict=True)):
        note(ax, f"{ratio:.3f}" if pd.notna(ratio) else "no middle given", (high, row), (7, 0))
    name_rows(ax, list(table["label"]))
    ax.set_xlabel("tokens on the first per token on the second")
    return ax
