"""Figures of limits: use per minute against a limit, a token bucket, context windows, tokenizer ratios."""

import numpy as np
import pandas as pd

from tierlab.style import (
    BASELINE,
    INK,
    SMALL_PRINT,
    axes,
    from_zero,
    label_ends,
    model_rows,
    name_rows,
    need,
    note,
    plain,
    tier_style,
)

USES = {
    "requests": ("rpm", "requests per minute"),
    "uncached_tokens": ("itpm", "uncached input tokens per minute"),
    "output_tokens": ("otpm", "output tokens per minute"),
    "all_tokens": ("tpm", "all tokens per minute"),
}


def minute_usage(usage, *, limits=None, quantile=0.99, ax=None):
    """Use of each minute of a trace, one panel per quantity, with the limits of one model.

    Parameters
    ----------
    usage : DataFrame
        From `tierlab.limits.usage_per_minute`.
    limits : DataFrame, optional
        Rows of `tierlab.limits.load_rate_limits` for one model. Drawn are the limit tiers that the trace passes and the
        first that it does not. The panels are those of the limits that the model has.
    quantile : float
        Share of minutes (0-1) below the dotted line.
    ax : sequence of Axes, optional
        One for each panel.

    Returns
    -------
    Figure
    """
    import matplotlib.pyplot as plt

    need("minute_usage", usage, "requests", "uncached_tokens", "cache_read_tokens", "output_tokens")
    whole = usage["uncached_tokens"] + usage["cache_read_tokens"]
    usage = usage.assign(all_tokens=whole + usage["output_tokens"])
    if limits is not None and limits["cached_input"].eq("counted").any():
        usage = usage.assign(uncached_tokens=whole)
    names = [name for name, (limit, _) in USES.items() if (limits is None and name != "all_tokens") or _has(limits, limit)]
    if ax is None:
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
        if limits is not None:
            drawn += [(row[limit], f"{row['limit_tier']}: {row[limit]:,.0f}", "#595959") for row in _near(limits, limit, peak)]
        for height, _, color in drawn[1:]:
            panel.axhline(height, color=color, ls="--", lw=1.2)
        ends.append((panel, [(minutes[-1], *each) for each in drawn]))
        panel.set_title(label, loc="left", fontsize=SMALL_PRINT + 1)
        panel.set_ylim(0, 1.12 * max(usage[name].max(), *(height for height, _, _ in drawn)))
        plain(panel.yaxis, ticks=3)
    ax[-1].set_xlim(0, max(len(usage) - 1, 1))
    ax[-1].set_xlabel("minutes from the first request")
    label_ends(ends)
    return ax[0].figure


def _has(limits, name):
    return limits is not None and name in limits and limits[name].notna().any()


def _near(limits, name, peak):
    """Limit tiers below the peak, and the first that is not; equal ones once."""
    rows, seen = [], set()
    for row in limits.dropna(subset=[name]).to_dict("records"):
        if row[name] not in seen:
            rows.append(row)
            seen.add(row[name])
        if row[name] >= peak:
            break
    return rows[-2:]


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
    for (burst, line), dash in zip(table.groupby("burst_s", sort=False), ("-", "--", "-.", ":"), strict=False):
        line = line.sort_values("per_minute")
        ax.plot(line["per_minute"], line["refused_share"], color=INK, ls=dash, label=f"bucket of {burst:g} s")
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
        From `tierlab.windows.fit`. A model whose window is not known has words in place of a bar.
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
        words = f"{row['fits_share']:.1%} fit {row['context_window']:,.0f} tokens" if known else "window not known"
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
