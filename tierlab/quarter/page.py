"""The report's first screen: the verdict, three numbers, the change named by cause, three decisions; and a message of ten lines."""

import re
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
import pandas as pd
from IPython.display import display

from tierlab.core.finding import folded
from tierlab.core.format import change, dollars, number, share, usd
from tierlab.core.untrusted import in_html, in_markdown
from tierlab.quarter.analyse import Quarter
from tierlab.quarter.inputs import NOBODY, Settings
from tierlab.quarter.outlook import day_said
from tierlab.quarter.savings import STATUSES, task_said
from tierlab.quarter.variance import NAMES
from tierlab.quarter.words import (
    KINDS,
    ahead,
    ahead_said,
    budget_said,
    causes,
    courses,
    decisions,
    decisions_said,
    gaps,
    miss_said,
    missing_said,
    nothing_found,
    offered,
    others_said,
    paid_usd,
    past_said,
    priced_only,
    retiring_said,
    same_budget,
    unpriced_said,
    why,
)

_COVERED = 0.995  # of the spend: where the log bills less of it, the list price is the figure


@dataclass(frozen=True)
class Number:
    """A large number: label, value (text), and what stands below it."""

    label: str
    value: str
    note: str


def numbers(q: Quarter) -> list[Number]:
    """What was spent, what comes if nothing changes, and what comes with the decisions."""
    billed = _billed(q)
    basis = "at list prices" if np.isnan(q.effective_usd) else "under the contract"
    label = f"Spent in {q.quarter}, {basis if np.isnan(billed) else 'as billed'}"
    value = paid_usd(q) if np.isnan(billed) else billed
    found = [Number(label, dollars(value), _against(q, billed))]
    if not q.forecast:
        return found
    period, row = ahead(q)
    band = f"{q.forecast.confidence:.0%} of the simulations end between {_between(row)}"
    notes = _sentences(same_budget(q, row["usd"]), band)
    label = f"{period} if nothing changes"
    found.append(Number(label, f"about {dollars(row['usd'])}", f"{notes} {miss_said(q)}"))
    for which, saved, test in courses(q)[:1]:
        rates = "" if q.ahead == period else f" at the rates of {q.ahead}"
        less = max(row["usd"] - saved, 0)
        more = f"{dollars(saved)} less{rates}, if made as the quarter begins"
        notes = [same_budget(q, less), f"{more}; between {_between(row, saved)}"]
        notes += [
            f"About {dollars(max(row['usd'] - further, 0))} with {names}, {condition}"
            for names, further, condition in courses(q)[1:]
        ]
        label = f"{period} with {which}{test and ', '}{test}"
        found.append(Number(label, f"about {dollars(less)}", _sentences(*notes)))
    return found


def _between(row, saved=0.0):
    return " and ".join(dollars(max(row[end] - saved, 0)) for end in ("low", "high"))


def _sentences(*parts):
    """Parts as sentences; empty ones are left out."""
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in parts if part)


def _billed(q):
    """What the log says was billed, where it says so of nearly everything; else NaN."""
    own = q.reconciliation
    own = own[own["against"] == "billed_usd of the rows"] if len(own) else own
    covered = len(own) and own["uncovered_usd"].sum() <= (1 - _COVERED) * q.spend_usd
    return float(own["billed_usd"].sum()) if covered else np.nan


def _against(q, billed):
    listed = f"at list prices: {dollars(q.spend_usd)}" if not np.isnan(billed) else ""
    if not np.isnan(q.effective_usd):
        listed = f"at list prices: {dollars(q.spend_usd)}, contracted: {dollars(q.contracted_usd)}"
    before = f"the quarter before cost {dollars(q.before_paid_usd)}" if q.before_usd > 0 else ""
    return _sentences(budget_said(q), listed, unpriced_said(q), before)


def steps(q: Quarter) -> pd.DataFrame:
    """The waterfall: from the quarter before to this one, to the next, and to the next with the decisions.

    Returns
    -------
    DataFrame
        label, usd (a level, or what a step adds), kind ("level", "estimate", "cause", "rest", "saves", "test").
    """
    named = causes(q) if q.before_usd > 0 else causes(q).head(0)
    rows, paid = [], q.spend_usd if np.isnan(q.effective_usd) else q.effective_usd
    if q.before_usd > 0:
        rest = paid - q.before_paid_usd - named["usd"].sum()
        rows.append(("quarter before", q.before_paid_usd, "level"))
        rows += [(row.cause, row.usd, "cause") for row in named.itertuples()]
        rows.append(("growth and the rest", rest, "rest"))
    rows.append((q.quarter, paid, "level"))
    if not q.forecast:
        return pd.DataFrame(rows, columns=["label", "usd", "kind"])
    period, future = ahead(q)
    left, table = future["usd"] - paid, decisions(q)
    for place, row in enumerate(q.decisions.itertuples(), 1):
        cause = _cause_of(row, named)
        if cause is not None:
            more = getattr(row, "contracted_usd", row.usd) - cause["usd"]
            left -= more
            what = "the prompt cache" if cause["over"] == "cache" else cause["name"]
            rows.append((f"{place}. {what}, now for a whole quarter", more, "cause"))
    rows.append(("growth and the rest, next quarter", left, "rest"))
    rows.append((f"{period} if nothing changes", future["usd"], "estimate"))
    reached = future["usd"]
    for (which, saved, test), sure in zip(courses(q), table["sure"].drop_duplicates(), strict=True):
        for row in table[table["sure"] == sure].itertuples():
            rows.append((f"{row.place}. {row.decision}", -row.usd, "saves" if sure else "test"))
            reached -= row.usd
        if abs(future["usd"] - saved - reached) >= 0.005:
            both = future["usd"] - saved - reached
            rows.append(("what stays unused of the contract for all of them", both, "rest"))
        reached = future["usd"] - saved
        rows.append((f"{period} with {which}{test and ', '}{test}", reached, "estimate"))
    return pd.DataFrame(rows, columns=["label", "usd", "kind"])


def _cause_of(decision, named):
    """The cause that a decision would end, or None."""
    key = {"stop": ("team", decision.team), "cache": ("cache", decision.model_id)}
    over, name = key.get(decision.kind, ("", ""))
    own = named[(named["over"] == over) & (named["name"] == name)]
    return own.iloc[0] if len(own) else None


def cards(q: Quarter, settings: Settings | None = None) -> pd.DataFrame:
    """The decisions for who signs them: those of `tierlab.quarter.words.decisions` with who, and so_far (a sentence)."""
    named = causes(q)
    found = [_cause_of(row, named) for row in q.decisions.itertuples()]
    so_far = [
        f"This traffic cost {dollars(getattr(row, 'paid_usd', row.spend_usd))} in {q.quarter}."
        if cause is None
        else f"Cost so far: {dollars(cause['usd'])} since {day_said(cause['start'])}"
        f"{', for input that the cache gave at a lower rate' * (cause['over'] == 'cache')}."
        for row, cause in zip(q.decisions.itertuples(), found, strict=True)
    ]
    who = [_who(row, settings or Settings()) for row in q.decisions.itertuples()]
    return decisions(q).assign(who=who, so_far=so_far)


def _who(row, settings):
    teams = [row.team] if row.team else [name for name in row.teams.split(", ") if name]
    owners = [settings.owner(name) or f"the {name} team" for name in teams]
    return ", ".join(dict.fromkeys(owners)) or "nobody is named: find the owner"


def first_screen(run):
    """Show whether the usage is real, the verdict, and the three numbers."""
    q, page, lines = run.quarter, "", []
    if run.kind in KINDS:
        name, what = KINDS[run.kind]
        page = f'<p class="note"><b class="badge">{name}</b> {what}.</p>'
        lines.append(f"{name}: {what}.")
    first, *rest = filter(None, [ahead_said(q), past_said(q)])
    page += f'<p class="finding"><strong>{_html(first)}</strong></p>'
    page += "".join(f"<p>{_html(line)}</p>" for line in rest) + '<div class="numbers">'
    lines += [first, *rest]
    for one in numbers(q):
        page += (
            f'<div class="number"><p class="label">{_html(one.label)}</p>'
            f'<p class="big">{_html(one.value)}</p><p>{_html(one.note)}</p></div>'
        )
        lines.append(f"{one.label}: {one.value}. {one.note}")
    display({"text/html": f"{page}</div>", "text/plain": "\n".join(lines)}, raw=True)


def _html(text):
    """A text as HTML in which a name such as that of a model is not broken at its hyphens."""
    return re.sub(
        r"\w[\w.]*(?:-[\w.]*\w)+[,.;:)]*", r'<span class="word">\g<0></span>', in_html(text)
    )


def decision_cards(q: Quarter, settings: Settings | None = None):
    """Show each decision: do what, who, what it saves and when, what a week costs; then what else must be known."""
    blocks, lines = [], []
    for row in cards(q, settings).itertuples():
        saves = f"{dollars(row.usd)} a quarter"
        verb = "Saves" if row.sure else '<b class="badge">To test</b> Would save'
        money = f"{row.so_far} A week's delay costs {dollars(row.delay_usd)}."
        blocks.append(
            f'<div class="decision"><p><b>{row.place}. {_html(row.decision)}</b></p>'
            f'<p>{verb} <b class="big">{_html(saves)}</b>, {_html(row.condition)}.</p>'
            f"<p>{_html(money)}</p>"
            f"<p><b>Who: {in_html(row.who)}.</b> First step: {in_html(row.first)}.</p></div>"
        )
        lines.append(
            f"{decisions_said(q)[row.place - 1]} {money} Who: {row.who}. First step: {row.first}."
        )
    page = f'<div class="decisions">{"".join(blocks)}</div>' if blocks else ""
    rest = [*decisions_said(q)[len(blocks) :], *retiring_said(q), *filter(None, [others_said(q)])]
    page += "".join(f"<p>{_html(line)}</p>" for line in rest)
    display({"text/html": page, "text/plain": "\n".join(lines + rest)}, raw=True)


def message(run, title: str) -> str:
    """The first screen in at most ten lines, for a mail or a chat."""
    q, (spent, *after) = run.quarter, numbers(run.quarter)
    lines = [f"{title} ({': '.join(KINDS[run.kind])})" if run.kind in KINDS else title]
    lines += filter(None, [ahead_said(q)])
    lines.append(f"{spent.label}: {spent.value}. {spent.note} {'Why: ' * bool(why(q))}{why(q)}")
    lines += [f"{one.label}: {one.value}. {one.note}" for one in after[:1]]
    lines += [" ".join(retiring_said(q))] * bool(retiring_said(q))
    lines += filter(None, [others_said(q)])
    if q.missing:
        lines.append(f"The log leaves {len(q.missing)} questions open; the report lists them.")
    first, *rest = map(_markdown, lines)
    return "\n".join([first, *(f"- {line}" for line in rest), *_decided(run)]) + "\n"


def _markdown(text):
    """A line of Markdown; a dollar sign before a digit can end no formula, so that none needs a backslash."""
    return re.sub(r"\\\$(?=\d)", "$", in_markdown(text))


def _decided(run):
    """The decisions as an ordered list of Markdown."""
    table = cards(run.quarter, run.settings)
    lines = [line.partition(" ")[2] for line in decisions_said(run.quarter)[: len(table)]]
    return [
        f"{row.place}. {_markdown(f'{line} Who: {row.who}. First step: {row.first}.')}"
        for row, line in zip(table.itertuples(), lines, strict=True)
    ]


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


def by_owner(teams: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Spend of each team against its budget, with a line for what nobody owns.

    Parameters
    ----------
    teams : DataFrame
        Table `teams` of `Quarter`: name, cost_usd.
    settings : Settings

    Returns
    -------
    DataFrame
        name, owner, cost_usd, budget_usd, over_usd (US dollars; NaN without a budget), the largest spend first and what
        nobody owns last. A team of the settings without spend has a row as well.
    """
    spend = teams.set_index("name")["cost_usd"] if len(teams) else pd.Series(dtype=float)
    owned = [name for name, team in settings.teams.items() if team.owner or team.budget_usd]
    table = pd.DataFrame(
        {
            "name": owned,
            "owner": [settings.teams[name].owner or NOBODY for name in owned],
            "cost_usd": spend.reindex(owned).fillna(0.0).to_numpy(),
            "budget_usd": [settings.teams[name].budget_usd for name in owned],
        }
    ).astype({"cost_usd": float, "budget_usd": float})
    table = table.sort_values("cost_usd", ascending=False, kind="stable", ignore_index=True)
    rest = spend.drop(owned, errors="ignore")
    if len(rest):
        table.loc[len(table)] = [", ".join(rest.index), NOBODY, rest.sum(), float("nan")]
    return table.assign(over_usd=table["cost_usd"] - table["budget_usd"])
