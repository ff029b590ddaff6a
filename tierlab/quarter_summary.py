"""The quarter in a few sentences, and for a machine."""

import json

import numpy as np
import pandas as pd

from tierlab.money import usd
from tierlab.savings import SMALL, UNKNOWN_STAKES

SCHEMA = "tierlab.quarter/1"


def money(value):
    """US dollars, the sign in front.

    Examples
    --------
    >>> money(1234.5), money(-0.5), money(0.00119)
    ('$1,234', '-$0.50', '$0.00119')
    """
    size = abs(value)
    text = usd(size) if size == 0 or size >= 0.1 else f"${size:.3g}"
    text = f"${size:,.0f}" if size >= 100 else text
    return f"-{text}" if value < 0 else text


def change(value):
    """`money` with a plus where it is one."""
    return ("+" if value > 0 else "") + money(value)


def priced_only(q):
    """Whether something that the quarter used or was billed for has no price, so that its cost is only known from below."""
    return bool(q.unpriced_usd > 0 or (q.unpriced_rows and q.unpriced_usd != 0))


def spent(q):
    """What the quarter cost, against the budget: the part of a sentence.

    Nothing is said to be under the budget while something has no price.
    """
    lost = q.unpriced_usd if q.unpriced_usd > 0 else 0.0
    total, day = q.spend_usd + lost, "" if q.last_day >= q.end else f" up to {q.last_day:%Y-%m-%d}"
    text = f"cost {'at least ' * priced_only(q)}{money(total)}{day}"
    if lost:
        text += f" ({money(q.spend_usd)} priced, and {money(lost)} of the bill without a price)"
    elif priced_only(q):
        text += f" (not counting {_counted(q.unpriced_rows, 'row')} without a price)"
    if not np.isfinite(q.budget_usd):
        return text
    gap, budget = total - q.budget_usd, f"the budget of {money(q.budget_usd)}"
    if gap <= 0 and priced_only(q):
        return f"{text}; whether that keeps to {budget} is open until everything has a price"
    if gap == 0:
        return f"{text}, exactly {budget}"
    return f"{text}, {money(abs(gap))} ({abs(gap) / q.budget_usd:.0%}) {'over' if gap > 0 else 'under'} {budget}"


def than_before(q):
    """How the spend compares with the quarter before: the part of a sentence, "" without one."""
    if not q.before_usd > 0:
        return ""
    more = q.spend_usd - q.before_usd
    if money(abs(more)) == money(0):
        return "as much as the quarter before"
    return f"{money(abs(more))} ({abs(more) / q.before_usd:.0%}) {'more' if more > 0 else 'less'} than the quarter before"


def nothing_found(q):
    """That no saving is large enough to be named, and how large that is."""
    return f"No saving of {money(SMALL * q.spend_usd)} a quarter or more was found."


def held_for_stakes(q, shown=str):
    """Which moves wait until somebody says what their tasks are, "" for none; names as the log has them, through `shown`."""
    held = q.savings[q.savings["status"] == UNKNOWN_STAKES]
    if held.empty:
        return ""
    text = f"Not proposed yet: {_counted(len(held), 'move')} to a cheaper model, worth up to {money(held['usd'].sum())} a quarter; "
    names = [shown(name) for name in held["task"].unique() if name not in ("", "(none)")]
    if not names:
        return text + "the log does not say for which task each request was made."
    return text + (
        f"nobody has said what a wrong answer costs in {', '.join(names)}. Say which of the kit's tasks each is "
        f"(--task {names[0]} NAME; `tasks` in the notebook), or give scores of your own examples."
    )


def _counted(number, thing):
    return f"{number:,} {thing}{'s' * (number != 1)}"


def headline(quarter):
    """The verdict in plain text: spend, change, and the decisions with their dollars."""
    q = quarter
    text = f"{q.quarter} {spent(q)}"
    if before := than_before(q):
        text += f"; {'what has a price is ' * priced_only(q)}{before}"
    if len(q.variance):
        largest = q.variance.loc[q.variance["usd"].abs().idxmax()]
        text += f"; the largest effect is {largest['effect'].replace('_', ' ')}, {change(largest['usd'])}"
    parts = [text + "." + _caveats(q)]
    for place, row in enumerate(q.decisions.itertuples(), 1):
        dated = f" ({row.scheduled})" if row.scheduled else ""
        parts.append(f"{place}. {row.kind.capitalize()}: {row.what}, {money(row.usd)} a quarter{dated}; needs {row.needs}.")
    if q.savings.empty:
        parts.append(nothing_found(q))
    parts.append(held_for_stakes(q))
    return "\n".join(part for part in parts if part)


def _caveats(q):
    """What stands against comparing the two quarters: days that are not there."""
    gaps, text = q.coverage.set_index("what")["count"], ""
    if not q.complete:
        text += f" The quarter is not complete: {_counted(len(q.days), 'day')} with usage, the last {q.last_day:%Y-%m-%d}"
        ahead = q.forecast.totals if q.forecast else pd.DataFrame()
        if q.quarter in ahead.index:
            text += f"; with the forecast of the days ahead it comes to {money(q.spend_usd + ahead.at[q.quarter, 'usd'])}"
        text += "."
    if gap := int(gaps.get("days of the quarter before without usage", 0)):
        text += f" The log lacks {gap} day{'s' * (gap > 1)} of the quarter before."
    return text


def summary(quarter):
    """The report for a machine: a JSON-able dictionary.

    Returns
    -------
    dict
        schema ("tierlab.quarter/1"), quarter, complete, last_day, spend_usd, before_usd, budget_usd, unpriced_rows,
        unpriced_usd, ahead, headline, forecast (period -> usd, low, high, days), and the tables as lists of records; NaN is null.
    """
    q = quarter
    names = ("spend", "variance", "changes", "units", "teams", "tasks", "tiers", "cache", "output", "reliability", "latency", "quality",
             "events", "forecast_error", "savings", "decisions", "price_changes", "retiring", "reconciliation", "coverage", "flags",
             "assumptions")  # fmt: skip
    result = {"schema": SCHEMA, "quarter": q.quarter, "complete": bool(q.complete), "last_day": f"{q.last_day:%Y-%m-%d}"}
    result |= {name: _number(getattr(q, name)) for name in ("spend_usd", "before_usd", "budget_usd", "unpriced_usd")}
    result |= {"unpriced_rows": q.unpriced_rows, "ahead": q.ahead}
    result |= {"headline": headline(q), "missing": dict(q.missing)}
    totals = q.forecast.totals if q.forecast else pd.DataFrame()
    result["forecast"] = json.loads(totals.to_json(orient="index")) if len(totals) else {}
    for name in names:
        result[name] = json.loads(getattr(q, name).to_json(orient="records", date_format="iso", double_precision=15))
    return result


def _number(value):
    return float(value) if np.isfinite(value) else None
