"""The app's own figure: what another tier would cost on top."""

import numpy as np

from tierlab.core.format import usd
from tierlab.core.style import INK, label_ends, need, note, plain, tier_style


def extra_costs(table, *, now, ax):
    """What each tier costs above the cheapest one, over the cost of an error.

    Parameters
    ----------
    table : DataFrame
        tier, error_cost_usd, extra_usd, as `tierlab.app.answer.Answer.extra` gives them.
    now : float
        Cost of an error that the panel says, USD: a line, and a mark on each tier.
    ax : Axes

    Returns
    -------
    Axes
    """
    need("extra_costs", table, "tier", "error_cost_usd", "extra_usd")
    top = table["extra_usd"][table["error_cost_usd"].between(now / 2, now * 2)].max()
    top, ends = 1.25 * top or 1.0, []
    ax.axvline(now, color=INK, lw=1)
    note(ax, f"now, {usd(now)}", (now, top), (5, -6))
    for tier, line in table.groupby("tier", sort=False):
        style, at, extra = tier_style(tier), line["error_cost_usd"], line["extra_usd"]
        ax.plot(at, extra, color=style["color"], ls=style["linestyle"], lw=2.2)
        ax.plot(
            [now], [np.interp(now, at, extra)], color=style["color"], marker=style["marker"], ms=8
        )
        last = (at.iloc[-1], extra.iloc[-1], tier, style["color"])
        if last[1] <= top:
            ends.append(last)
        else:  # it leaves the panel at the top: named where it does
            edge = np.flatnonzero(extra <= top)[-1]
            note(ax, tier, (at.iloc[edge], extra.iloc[edge]), (8, -4))
    ax.set(xlabel="cost of an error (USD)", ylabel="USD a day above the cheapest tier")
    ax.set(xlim=(0, table["error_cost_usd"].max()), ylim=(-0.03 * top, top))
    plain(ax.xaxis)
    plain(ax.yaxis)
    label_ends([(ax, ends)])
    return ax
