"""The tables of the quarterly report as a reader sees them: headings in words, money and shares written out, folded."""

from operator import attrgetter

import pandas as pd
from IPython.display import display

from tierlab.core.finding import folded
from tierlab.core.format import change, number, share, usd
from tierlab.core.untrusted import in_html
from tierlab.quarter.savings import STATUSES, task_said
from tierlab.quarter.settings import by_owner
from tierlab.quarter.variance import NAMES
from tierlab.quarter.words import (
    causes,
    gaps,
    missing_said,
    nothing_found,
    offered,
    priced_only,
)

MOST = 5  # rows of a finding
_LACKS = "Not in this report: the list at its end says what is needed."
_OURS = NAMES | {"model_id": "model", "ttft_s": "first token", "end_to_end_s": "whole answer"}


def _word(value):
    """One of our own names in words."""
    return _OURS.get(value, value.replace("_", " "))


def _yes(value):
    return "yes" if value else "no"


def _day(value):
    return f"{value:%Y-%m-%d}"


_PAID = (("contracted_usd", "contracted", usd), ("effective_usd", "effective", usd))
_UNITS = (
    ("name", "name", task_said),
    ("cost_usd", "spend", usd),
    *_PAID,
    ("share", "share", share),
    ("requests", "requests", number),
    ("usd_per_request", "each", usd),
    ("tokens_per_request", "tokens each", number),
    ("usd_per_1k_tokens", "1,000 tokens", usd),
    ("active_users", "users", number),
    ("usd_per_active_user", "per user", usd),
    ("top_share", "top 5 % make", share),
)
_TABLES = {  # table -> (column, heading, format) of what is shown of it, in order
    "spend": (
        ("what", "what", str),
        ("usd", "USD", usd),
        ("change_usd", "this quarter is over it by", change),
        ("change_rate", "share", share),
    ),
    "by_month": (("period", "month", str), ("cost_usd", "spend", usd), *_PAID),
    "causes": (("cause", "what happened", str), ("usd", "this quarter", change)),
    "months": (
        ("period", "month", str),
        ("tier", "tier", str),
        ("cost_usd", "spend", usd),
        *_PAID,
        ("spend_share", "of spend", share),
    ),
    "events": (
        ("over", "over", _word),
        ("name", "name", str),
        ("start", "from", _day),
        ("end", "to", _day),
        ("days", "days", number),
        ("direction", "side", str),
        ("usual", "usual day", str),
        ("seen", "seen", str),
        ("excess_usd", "excess", change),
        ("contracted_usd", "contracted", change),
        ("lasts", "lasts", _yes),
    ),
    "variance": (
        ("effect", "effect", _word),
        ("what", "what it is", str),
        ("usd", "USD", usd),
        *_PAID,
        ("share_of_before", "of the quarter before", share),
    ),
    "changes": (
        ("by", "by", _word),
        ("name", "name", str),
        ("before_usd", "quarter before", usd),
        ("now_usd", "this quarter", usd),
        *_PAID,
        ("change_usd", "change", change),
    ),
    "units": _UNITS,
    "teams": _UNITS,
    "tasks": _UNITS,
    "tiers": (
        ("period", "quarter", str),
        ("tier", "tier", str),
        ("cost_usd", "spend", usd),
        *_PAID,
        ("spend_share", "of spend", share),
        ("request_share", "of requests", share),
        ("token_share", "of tokens", share),
        ("usd_per_mtok", "per million tokens", usd),
    ),
    "cache": (
        ("model_id", "model", str),
        ("input_tokens", "input tokens", number),
        ("hit_rate", "read from cache", share),
        ("saved_usd", "reads saved", usd),
        ("premium_usd", "writes cost extra", usd),
        ("net_usd", "net", usd),
        *_PAID,
    ),
    "output": (
        ("model_id", "model", str),
        ("output_tokens", "output tokens", number),
        ("output_usd", "its cost", usd),
        *_PAID,
        ("output_over_input", "output per input token", number),
        ("output_usd_share", "of its spend", share),
        ("reasoning_share", "reasoning", share),
        ("truncated_share", "cut off", share),
    ),
    "reliability": (
        ("status", "status", str),
        ("failed", "failed", _yes),
        ("requests", "requests", number),
        ("share", "share", share),
        ("cost_usd", "spend", usd),
        *_PAID,
        ("extra_attempts", "extra attempts", number),
        ("retry_usd", "their cost", usd),
    ),
    "latency": (
        ("measure", "measure", _word),
        ("model_id", "model", str),
        ("n", "requests", number),
        ("p50", "p50", number),
        ("p95", "p95", number),
        ("p99", "p99", number),
    ),
    "quality": (
        ("task", "task", str),
        ("tier", "tier", str),
        ("model_id", "model", str),
        ("examples", "examples", number),
        ("set_aside", "set aside", number),
        ("score", "score", share),
        ("low", "from", share),
        ("high", "to", share),
        ("method", "interval", str),
        ("last_at", "last", _day),
    ),
    "forecast": (
        ("period", "period", str),
        ("usd", "likely", usd),
        ("low", "from", usd),
        ("high", "to", usd),
        *_PAID,
        ("effective_low", "effective from", usd),
        ("effective_high", "effective to", usd),
        ("days", "days", number),
    ),
    "forecast_error": (
        ("source", "forecast by", str),
        ("forecast_usd", "said", usd),
        ("spend_usd", "came to", usd),
        ("error", "off by", share),
        ("inside", "inside its band", _yes),
    ),
    "savings": (
        ("place", "decision", lambda place: str(place or "-")),
        ("kind", "kind", str),
        ("what", "what", str),
        ("list_usd", "at list", usd),
        ("contracted_usd", "contracted", usd),
        ("usd", "saves per quarter", usd),
        ("spend_usd", "cost this quarter", usd),
        ("paid_usd", "of it paid", usd),
        ("spend_share", "share of the spend", share),
        ("status", "status", lambda status: STATUSES.get(status, status)),
        ("assumes", "assumes", str),
        ("needs", "needs", str),
    ),
    "owners": (
        ("name", "team", str),
        ("owner", "owner", str),
        ("cost_usd", "spend", usd),
        ("budget_usd", "budget", usd),
        ("over_usd", "over it by", change),
    ),
    "arrival": (
        ("what", "decision", str),
        ("outcome", "arrived?", str),
        ("moved_share", "traffic moved", share),
        ("saved_usd", "saved so far", usd),
        ("low", "from", usd),
        ("high", "to", usd),
        ("promised_usd", "promised a quarter", usd),
        ("why", "why", str),
        ("also_moved", "what else moved this spend", str),
        ("source", "decided in", str),
    ),
    "price_changes": (
        ("on", "on", _day),
        ("model_id", "model", str),
        ("change", "change (USD per million tokens)", str),
        ("scheduled", "to come", _yes),
        ("before_usd", "own tokens before", usd),
        ("after_usd", "after", usd),
        ("effect_usd", "effect", change),
        ("contracted_usd", "contracted", change),
    ),
    "retiring": (
        ("model_id", "model", str),
        ("retires_on", "retires on", _day),
        ("spend_usd", "spend", usd),
        ("share", "share", share),
        ("last_used", "last used", _day),
        ("successor", "successor", str),
        ("successor_usd", "same tokens there", usd),
        ("scheduled", "its prices", str),
    ),
    "reconciliation": (
        ("month", "month", str),
        ("provider", "provider", str),
        ("against", "against", str),
        ("priced_usd", "priced", usd),
        ("billed_usd", "billed", usd),
        ("difference_usd", "priced minus billed", change),
        ("uncovered_usd", "priced, no bill", usd),
    ),
    "unpriced": (
        ("reason", "not priced", str),
        ("name", "name in the log or bill", str),
        ("rows", "rows", number),
        ("billed_usd", "billed", usd),
    ),
    "gaps": (
        ("model_id", "model", str),
        ("days", "days on which bill and price differ", number),
        ("billed_usd", "billed, as the log says", usd),
        ("priced_usd", "our price of the same rows", usd),
        ("difference_usd", "price minus bill", change),
    ),
    "invoice": (
        ("month", "month", str),
        ("list_usd", "list", usd),
        ("contracted_usd", "contracted", usd),
        ("lines_usd", "unused", usd),
        ("credit_usd", "credit", usd),
        ("billed_usd", "billed", usd),
        ("tax_usd", "tax", usd),
        ("total_usd", "total", usd),
        ("total", "total in the contract's currency", number),
    ),
    "coverage": (("what", "what", str), ("count", "count", number)),
    "files": (
        ("file", "file", str),
        ("format", "format", str),
        ("rows_read", "rows", number),
        ("kept", "kept", number),
        ("set_aside", "set aside", number),
        ("duplicates", "duplicates", number),
        ("problem", "problem", str),
        ("assumed", "assumed", str),
    ),
    "flags": (("flag", "assumed", _word), ("rows", "rows", number), ("models", "models", str)),
    "assumptions": (("what", "what", str), ("value", "value", str)),
}


_TITLES = {  # table -> what stands above it; the others are called as they are
    "spend": "Spend, budget and the quarter before",
    "months": "Spend by month and tier",
    "unpriced": "Used or billed, and without a price",
    "gaps": "Where the log's own money and our price differ",
    "invoice": "The contract's invoice",
    "events": "What stood out: one cause can show in a total, a team and a model",
    "changes": "The same change by team, task and model",
    "units": "All requests",
    "owners": "By owner",
    "cache": "What the cache gave back, against no cache at all",
    "output": "Output, reasoning and answers cut off",
    "tiers": "By tier of the lineup of the day",
    "forecast_error": "How far off a forecast of this quarter was",
    "price_changes": "Prices that change, on the quarter's own tokens",
    "retiring": "Models that retire, at list prices",
    "savings": "Every proposal",
    "latency": "Waiting times of answered single requests (seconds)",
    "reliability": "By status",
    "reconciliation": "Against the bill",
    "coverage": "What became of every row",
    "files": "The files that were read",
    "flags": "What had to be assumed in pricing",
    "assumptions": "Prices and methods",
    "arrival": "Whether earlier decisions arrived",
}


def has(run, section):
    """Whether the report has a section; where it has not, a line says so."""
    q, words = run.quarter, _LACKS
    if section == "savings" and q.savings.empty:
        words = nothing_found(q)
    elif section not in q.missing:
        return True
    display({"text/html": f'<p class="note">{in_html(words)}</p>', "text/plain": words}, raw=True)
    return False


def shown(run, name, frame=None):
    """A table of the report in words: text in every cell.

    Parameters
    ----------
    run : tierlab.quarter.report.Prepared
    name : str
        A table of `Quarter`, "forecast", "owners" or "files".
    frame : DataFrame, optional
        What is shown of it; by default all. Columns that hold nothing but "" are left out.
    """
    frame = _frame(run, name) if frame is None else frame
    columns = {}
    for column, heading, form in _TABLES[name]:
        if column in frame and not frame[column].astype(object).eq("").all():
            columns[heading] = ["-" if pd.isna(x) else form(x) for x in frame[column]]
    return pd.DataFrame(columns)


def few(run, name, *columns):
    """The rows that carry a finding: five at most, and of each table those that say most.

    Parameters
    ----------
    columns : str
        Headings; by default all.
    """
    frame = _frame(run, name)
    if name == "variance":
        frame = frame.sort_values("usd", key=abs, ascending=False, kind="stable")
    if name == "tiers":
        frame = frame[frame["period"] == run.quarter.quarter]
    if name == "teams":  # those that a decision concerns are among them
        deciding = frame["name"].isin(", ".join(run.quarter.decisions["teams"]).split(", "))
        frame = frame.loc[deciding.sort_values(ascending=False, kind="stable").index[:MOST]]
        frame = frame.sort_values("cost_usd", ascending=False, kind="stable")
    if name == "forecast":  # the quarters stand after their months
        frame = frame.tail(MOST)
    table = shown(run, name, frame.head(MOST))
    return table[[name for name in columns if name in table]] if columns else table


def fold(run, *names):
    """Heading -> table of those that have rows: what a finding folds away."""
    tables = {_TITLES.get(name, _word(name).capitalize()): shown(run, name) for name in names}
    return {title: table for title, table in tables.items() if len(table)}


def section(run, title, *names):
    """Show a part of the appendix: its title, and each of its tables folded, or what it needs."""
    found = fold(run, *names)
    parts = [folded(name, table) for name, table in found.items()]
    parts = parts or [(f'<p class="note">{in_html(_LACKS)}</p>', _LACKS)]
    page = f"<p>{in_html(title)}</p>{''.join(page for page, _ in parts)}"
    display(
        {"text/html": page, "text/plain": "\n\n".join([title, *(text for _, text in parts)])},
        raw=True,
    )


def unanswered(run):
    """Show what the log could not answer, and what each question needs: one list."""
    lines = missing_said(run.quarter) or ["Nothing: the log answers every question of this report."]
    page = "".join(f"<li>{in_html(line)}</li>" for line in lines)
    display({"text/html": f"<ul>{page}</ul>", "text/plain": "\n".join(lines)}, raw=True)


def compared(q):
    """The quarter's spend beside the budget and the quarter before: what, usd, change_usd, change_rate.

    What is billed without a price is in no difference; while there is any, none to the budget is shown as saved.
    """
    others = q.spend["what"].isin(["budget", "quarter before"])
    if priced_only(q):
        others &= (q.spend["what"] != "budget") | (q.spend["difference_usd"] > 0)
    table = q.spend[["what", "usd"]].assign(
        change_usd=q.spend["difference_usd"].where(others),
        change_rate=(q.spend["ratio"] - 1).where(others),
    )
    if priced_only(q):
        table.loc[len(table), ["what", "usd"]] = ["billed, without a price", q.unpriced_usd]
    return table


def _events(q):
    """The events with the usual and the seen day in their own unit: dollars, or a share of the input."""
    units = [(lambda x: f"{x:.0%}") if over == "cache" else usd for over in q.events["over"]]
    shown = {
        name: [form(x) for form, x in zip(units, q.events[name], strict=True)]
        for name in ("usual", "seen")
    }
    return q.events.assign(**shown)


def _by_month(run):
    """Spend of the quarter's months."""
    months = run.quarter.months.drop(columns="tier").groupby("period", as_index=False).sum()
    return months[months["period"] >= f"{run.quarter.start:%Y-%m}"]


_FRAMES = {  # what is shown of a table, where that is not all of it as it is
    "spend": lambda run: compared(run.quarter),
    "causes": lambda run: causes(run.quarter),
    "by_month": _by_month,
    "events": lambda run: _events(run.quarter),
    "gaps": lambda run: gaps(run.quarter),
    "savings": lambda run: offered(run.quarter),
    "forecast": lambda run: run.quarter.forecast.totals.reset_index(),
    "owners": lambda run: (
        by_owner(run.quarter.teams, run.settings) if run.settings.teams else pd.DataFrame()
    ),
    "files": lambda run: run.files,
}


def _frame(run, name):
    return _FRAMES.get(name, attrgetter(f"quarter.{name}"))(run)
