"""The figures of the quarterly report: days, variance, tiers, savings, forecast, unit costs."""

from textwrap import wrap

import numpy as np
import pandas as pd

from tierlab.core.format import dollars, usd
from tierlab.core.style import (
    BASELINE,
    INK,
    SMALL_PRINT,
    TIER_STYLE,
    axes,
    dates,
    from_zero,
    name_rows,
    note,
    plain,
)
from tierlab.prices.daily import TIER_LABELS
from tierlab.quarter.savings import HELD, STATUSES, task_said
from tierlab.quarter.variance import NAMES

UP, DOWN = "#4a4a4a", "#ffffff"  # proposed, held back; without colour, because colours mean tiers
_SAVES = "#029E73"
_STEPS = {  # kind of a step -> its colour and hatch
    "level": ("#c9d0d8", ""),
    "estimate": ("#ffffff", "////"),
    "cause": (INK, ""),
    "rest": ("#949ca5", ""),
    "saves": (_SAVES, ""),
    "test": (_SAVES, "////"),
}
_BOX = {"fc": "white", "ec": "none", "pad": 0.8}  # behind a label, so that no line runs through it
MOST = 5  # savings that are drawn; a finding has as many rows
# Colours and hatches tell the parts of a stack apart, with and without colour.
_COLORS = {tier: look["color"] for tier, look in TIER_STYLE.items()}
_COLORS |= {"reasoning": "#949494", "other models": "#d4d4d4"}
_HATCHES = {"mid": "///", "flagship": "..", "reasoning": "xx"}


def spend_days(days, *, events=None, budget_usd=None, ax=None):
    """Draw spend per day as dots with rings around flagged days, over the line of what was expected.

    Parameters
    ----------
    days : DataFrame
        day, usd, expected (US dollars per day, NaN where not known), flagged.
    events : DataFrame, optional
        From `tierlab.quarter.outlook.anomalies`; events of the total are named with their start and excess.
    budget_usd : float, optional
        Budget of the quarter, drawn as an even share per day.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = axes(ax)
    ax.plot(
        days["day"],
        days["expected"],
        color=BASELINE,
        lw=1.2,
        label="expected from 28 days before",
    )
    ax.plot(days["day"], days["usd"], color=INK, ls="", marker="o", ms=3, label="spend")
    odd = days[days["flagged"]]
    ax.plot(
        odd["day"],
        odd["usd"],
        ls="",
        marker="o",
        ms=7,
        mfc="none",
        mec=INK,
        mew=1,
        label="flagged",
    )
    if budget_usd is not None and np.isfinite(budget_usd):
        first = days["day"].min().to_period("Q")
        even = budget_usd / ((first.end_time.normalize() - first.start_time).days + 1)
        ax.axhline(even, color=BASELINE, lw=1, ls=":")
        note(ax, f"budget {dollars(even)}", (days["day"].max(), even), (6, 0))
    middle = days["day"].min() + (days["day"].max() - days["day"].min()) / 2
    for event in () if events is None else events[events["over"] == "total"].itertuples():
        own = days[days["day"].between(event.start, event.end)]
        top, lasted = own.loc[own["usd"].idxmax()], f"{event.days} day{'s' * (event.days > 1)}"
        side, late = "over" if event.direction == "above" else "under", top["day"] > middle
        note(
            ax,
            f"{event.start:%d %b}, {lasted}: {dollars(abs(event.excess_usd))} {side}",
            (top["day"], top["usd"]),
            (-7 if late else 7, 5),
            align="right" if late else "left",
        )
    ax.set_ylim(0, days["usd"].max() * 1.12)
    ax.set(xlabel="day", ylabel="spend (USD per day)")
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0.2)
    dates(ax.xaxis)
    plain(ax.yaxis)
    return ax


def waterfall(variance, before_usd, now_usd, *, ax=None):
    """Draw the steps from the spend of one quarter to the next, effect by effect.

    Parameters
    ----------
    variance : DataFrame
        From `tierlab.quarter.variance.variance`: effect, usd. Effects of less than half a cent are left out.
    before_usd, now_usd : float
        Spend of the two quarters (US dollars), which differs by the sum of the effects.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the effects do not add up to the change.
    """
    off = before_usd + variance["usd"].sum() - now_usd
    if abs(off) > 1e-6 * max(abs(before_usd), abs(now_usd), 1):
        raise ValueError(f"the effects and the change differ by {off:g} USD")
    own = variance[variance["usd"].abs() >= 0.005]
    steps = {
        "label": ["quarter before", *own["effect"].map(NAMES), "this quarter"],
        "usd": [before_usd, *own["usd"], now_usd],
        "kind": ["level", *["cause"] * len(own), "level"],
    }
    return causes_waterfall(pd.DataFrame(steps), ax=ax)


def causes_waterfall(steps, *, budget_usd=None, narrow=False, ax=None):
    """Draw the steps from the quarter before to this one and to the next, each named by its cause.

    Parameters
    ----------
    steps : DataFrame
        From `tierlab.quarter.page.steps`: label, usd, kind.
    budget_usd : float, optional
        Budget of the quarter, drawn as a dotted line.
    narrow : bool
        Whether to draw for a phone, with the names above their bars.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    level = steps["kind"].isin(["level", "estimate"])
    ends = steps["usd"].where(level).ffill() + steps["usd"].mask(level, 0).groupby(
        level.cumsum()
    ).cumsum().where(~level, 0)
    starts = ends.where(~level, steps["usd"]) - steps["usd"]
    names = [_short(label, 46) for label in steps["label"]]
    more = np.array([name.count("\n") for name in names])
    # On a phone a name stands above its bar, and a name of two lines needs more room.
    rows = np.arange(len(names)) + (0.4 * more.cumsum() if narrow else 0)
    ax = axes(ax, height=1.0 + 0.34 * (rows[-1] + 1), narrow=narrow)
    for row, kind, start, value in zip(rows, steps["kind"], starts, steps["usd"], strict=True):
        color, hatch = _STEPS[kind] if kind == "test" or value > 0 else (_SAVES, "")
        fill = "white" if kind == "test" else color
        ax.barh(
            row,
            abs(value),
            left=min(start, start + value),
            height=0.36 if narrow else 0.62,
            color=fill,
            hatch=hatch,
            edgecolor=color if kind == "test" else INK if hatch else color,
            lw=0.6,
        )
        estimate, known = kind == "estimate", kind in ("level", "estimate")
        text = f"{'about ' * estimate}{dollars(value, signed=not known)}"
        note(ax, text, (max(start, start + value), row), (8, 0), bbox=_BOX)
    if budget_usd is not None and np.isfinite(budget_usd):
        ax.axvline(budget_usd, color=INK, lw=1, ls=":", zorder=0.5)
        note(ax, f"budget {dollars(budget_usd)}", (budget_usd, -0.8), (4, 0), bbox=_BOX)
    name_rows(ax, names, above=0.6)
    if narrow:
        ax.set_ylim(rows[-1] + 0.5, -1.1)
        ax.set_yticks([])
        for row, name in zip(rows, names, strict=True):
            note(ax, name, (0, row - 0.22), (1, 0), bbox=_BOX).set_va("bottom")
    hatched = "hatched: not certain; " if "estimate" in set(steps["kind"]) else ""
    label = f"USD per quarter\n{hatched}green: {'saves' if hatched else 'what falls'}"
    from_zero(ax, (1.3 if narrow else 1.15) * ends.max(), label)
    return ax


def tier_months(months, *, ax=None):
    """Draw spend by month, stacked by tier.

    Parameters
    ----------
    months : DataFrame
        Table `months` of `tierlab.Quarter`: period, tier, cost_usd.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    table = months.assign(tier=months["tier"].astype(str)).pivot_table(
        index="period", columns="tier", values="cost_usd", aggfunc="sum", fill_value=0.0
    )
    order = [tier for tier in (*reversed(TIER_LABELS[:3]), *TIER_LABELS[3:]) if tier in table]
    ax, floor = axes(ax), np.zeros(len(table))
    for tier in order:
        bars = ax.bar(
            table.index,
            table[tier],
            bottom=floor,
            width=0.62,
            color=_COLORS[tier],
            edgecolor="white",
            hatch=_HATCHES.get(tier, ""),
            lw=0.8,
            label=tier,
        )
        texts = [f"{x:.0%}" if x >= 0.06 else "" for x in table[tier] / table.sum(axis=1)]
        for label in ax.bar_label(
            bars, texts, label_type="center", fontsize=SMALL_PRINT, color=INK
        ):
            if label.get_text():
                label.set_bbox({"fc": "white", "ec": "none", "pad": 0.8, "alpha": 0.85})
        floor = floor + table[tier].to_numpy()
    for place, total in enumerate(floor):
        note(ax, dollars(total), (place, total), (0, 8), align="center")
    ax.set_ylim(0, floor.max() * 1.12)
    ax.set(xlabel="month", ylabel="spend (USD per month)")
    ax.grid(axis="x", visible=False)
    handles, names = ax.get_legend_handles_labels()
    ax.legend(
        handles[::-1],
        names[::-1],
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=5,
        borderaxespad=0.2,
        handlelength=1.4,
    )
    plain(ax.yaxis)
    return ax


def savings_bars(savings, *, ax=None):
    """Draw savings per quarter, in the order of the table; white bars are held back.

    Parameters
    ----------
    savings : DataFrame
        From `tierlab.quarter.words.offered`: kind, what, usd, status. Five are drawn; the axis label counts the rest.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If there is no saving.
    """
    if savings.empty:
        raise ValueError("there is no saving to show; say so in words")
    table = savings.head(MOST)
    held, statuses = table["status"].isin(HELD), table["status"].replace(STATUSES)
    told = ["white: held back"] if held.any() else []
    if len(savings) > MOST:
        told.append(f"{len(savings) - MOST} more not shown")
    return _named_bars(
        [f"{row.kind}: {row.what}" for row in table.itertuples()],
        table["usd"].to_numpy(),
        [f"{dollars(x)}  {said}".rstrip() for x, said in zip(table["usd"], statuses, strict=True)],
        "\n".join(["saving (USD per quarter, not additive)", "; ".join(told)]).rstrip(),
        colors=np.where(held, DOWN, UP),
        ax=ax,
    )


def _named_bars(names, sizes, texts, label, *, colors=UP, ax=None):
    """Draw a bar for each name, with a text at its end."""
    ax = axes(ax, height=1.1 + 0.45 * len(names))
    ax.barh(range(len(names)), sizes, height=0.62, color=colors, edgecolor=UP, lw=0.8)
    for row, (size, text) in enumerate(zip(sizes, texts, strict=True)):
        note(ax, text, (size, row), (6, 0))
    name_rows(ax, [_short(name) for name in names])
    from_zero(ax, 1.4 * max(sizes), label)
    return ax


def forecast_fan(days, forecast, *, events=None, narrow=False, ax=None):
    """Draw past days as dots under the mean between lasting events, then the forecast with its band.

    Parameters
    ----------
    days : DataFrame
        day, usd: US dollars per day of the past.
    forecast : Forecast
        From `tierlab.quarter.outlook.forecast`.
    events : DataFrame, optional
        From `tierlab.quarter.outlook.anomalies`: a lasting event begins a new mean, and the days of a short one are in
        no mean.
    narrow : bool
        Whether to draw for a phone.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = axes(ax, narrow=narrow)
    means = _levels(days, events)
    ax.plot(days["day"], days["usd"], color=BASELINE, ls="", marker="o", ms=3, label="spend")
    for place, level in enumerate(means):
        ax.plot(level.index, level, color=INK, label="_" if place else "its mean")
    smooth = forecast.days.set_index("day")[["usd", "low", "high"]].rolling(7).mean().bfill()
    ax.fill_between(
        smooth.index,
        smooth["low"],
        smooth["high"],
        color=BASELINE,
        alpha=0.35,
        lw=0,
        label=f"{forecast.confidence:.0%} band per day",
    )
    ahead = pd.concat([means[-1].tail(1), smooth["usd"]])
    ax.plot(ahead.index, ahead, color=INK, ls="--", label="forecast, mean of 7 days")
    quarter = forecast.totals.index[-1]
    whole = forecast.totals.loc[quarter]
    band = f"({dollars(whole['low'])} to {dollars(whole['high'])})"
    text = f"{quarter}: {dollars(whole['usd'])}" + ("\n" if narrow else " ") + band
    note(
        ax,
        text,
        (smooth.index[-1], smooth["low"].iloc[-1]),
        (0, -20 if narrow else -14),
        align="right",
    )
    ax.set_ylim(0, max(days["usd"].max(), smooth["high"].max()) * 1.1)
    ax.set(xlabel="day", ylabel="spend (USD per day)")
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2 if narrow else 4, borderaxespad=0.2)
    dates(ax.xaxis, ticks=4 if narrow else 5)
    plain(ax.yaxis)
    return ax


def _levels(days, events):
    """Return the mean between lasting events by day, a Series for each stretch, without the days of short events."""
    own, starts = days.set_index("day")["usd"], []
    if events is not None and len(events):
        lasting = events["lasts"]
        for start in sorted(events.loc[lasting, "start"].unique()):
            if not starts or start - starts[-1] >= pd.Timedelta(days=7):
                starts.append(start)
        for event in events[~lasting & events["over"].eq("total")].itertuples():
            own = own.mask((own.index >= event.start) & (own.index <= event.end))
    stretch = np.searchsorted(np.array(starts, "datetime64[us]"), own.index, side="right")
    parts = [part for _, part in own.groupby(stretch) if part.notna().any()]
    return [pd.Series(part.mean(), part.index) for part in parts]


def unit_costs(units, *, ax=None):
    """Draw the cost per request of each team or task.

    Parameters
    ----------
    units : DataFrame
        Table `teams` or `tasks` of `tierlab.Quarter`: name, share, usd_per_request (US dollars).
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    table = units.sort_values("usd_per_request", ascending=False, kind="stable")
    costs, shares = table["usd_per_request"], table["share"]
    known = costs.map(usd).where(costs.notna(), "not known")
    return _named_bars(
        table["name"].map(task_said).tolist(),
        costs.fillna(0).to_numpy(),
        [
            f"{cost}  ({'under 1%' if 0 < share < 0.005 else f'{share:.0%}'} of the spend)"
            for cost, share in zip(known, shares, strict=True)
        ],
        "USD per request",
        ax=ax,
    )


def _short(text, width=40):
    """Wrap a long name on three lines of about the same length, and cut what does not fit."""
    rows = wrap(text, width, break_on_hyphens=False)
    longest = max(map(len, text.split()), default=1)
    for narrow in range(min(longest, width), width + 1):
        lines = wrap(text, narrow, break_on_hyphens=False)
        if len(lines) == len(rows):
            break
    return "\n".join(lines[:3]) + "\N{HORIZONTAL ELLIPSIS}" * (len(lines) > 3)
