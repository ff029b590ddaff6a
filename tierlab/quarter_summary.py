"""The quarter in a few sentences, and for a machine."""

import json

import numpy as np
import pandas as pd

SCHEMA = "tierlab.quarter/1"


def headline(quarter):
    """The verdict in plain text: spend, change, and the decisions with their dollars."""
    q = quarter
    text = f"{q.quarter} cost {_usd(q.spend_usd)}"
    if np.isfinite(q.budget_usd):
        gap = q.spend_usd - q.budget_usd
        text += f", {_usd(abs(gap))} {'over' if gap > 0 else 'under'} the budget of {_usd(q.budget_usd)}"
    if np.isfinite(q.before_usd):
        change = q.spend_usd - q.before_usd
        text += f"; {_usd(abs(change))} ({abs(change) / q.before_usd:.0%}) {'more' if change > 0 else 'less'} than the quarter before"
    if len(q.variance):
        largest = q.variance.loc[q.variance["usd"].abs().idxmax()]
        text += f", the largest effect {largest['effect'].replace('_', ' ')} ({_usd(largest['usd'])})"
    parts = [text + "." + _caveats(q)]
    for place, row in enumerate(q.decisions.itertuples(), 1):
        parts.append(f"{place}. {row.kind.capitalize()}: {row.what}, {_usd(row.usd)} a quarter; needs {row.needs}.")
    if q.decisions.empty:
        parts.append("No saving of half a per cent of the spend or more was found.")
    return "\n".join(parts)


def _caveats(q):
    """What stands against comparing the two quarters: days that are not there."""
    gaps, text = q.coverage.set_index("what")["count"], ""
    if not q.complete:
        text += f" The quarter is not complete: {len(q.days)} days with usage, the last {q.last_day:%Y-%m-%d}"
        ahead = q.forecast.totals if q.forecast else pd.DataFrame()
        if q.quarter in ahead.index:
            text += f"; with the forecast of the days ahead it comes to {_usd(q.spend_usd + ahead.at[q.quarter, 'usd'])}"
        text += "."
    if gap := int(gaps.get("days of the quarter before without usage", 0)):
        text += f" The log lacks {gap} day{'s' * (gap > 1)} of the quarter before."
    return text


def summary(quarter):
    """The report for a machine: a JSON-able dictionary.

    Returns
    -------
    dict
        schema ("tierlab.quarter/1"), quarter, complete, last_day, spend_usd, before_usd, budget_usd, headline,
        forecast (period -> usd, low, high, days), and the tables as lists of records; NaN is null.
    """
    q = quarter
    names = ("spend", "variance", "changes", "units", "teams", "tasks", "tiers", "cache", "output", "reliability", "latency", "quality",
             "events", "forecast_error", "savings", "decisions", "price_changes", "retiring", "reconciliation", "coverage", "flags",
             "assumptions")  # fmt: skip
    result = {"schema": SCHEMA, "quarter": q.quarter, "complete": bool(q.complete), "last_day": f"{q.last_day:%Y-%m-%d}"}
    result |= {name: _number(getattr(q, name)) for name in ("spend_usd", "before_usd", "budget_usd")}
    result |= {"headline": headline(q), "missing": dict(q.missing)}
    totals = q.forecast.totals if q.forecast else pd.DataFrame()
    result["forecast"] = json.loads(totals.to_json(orient="index")) if len(totals) else {}
    for name in names:
        result[name] = json.loads(getattr(q, name).to_json(orient="records", date_format="iso", double_precision=15))
    return result


def _number(value):
    return float(value) if np.isfinite(value) else None


def _usd(value):
    digits = 0 if abs(value) >= 100 else 2
    return f"{'-' if value < 0 else ''}${abs(value):,.{digits}f}"
