"""What the report's page shows: the first screen, the decisions, the tables in words; and a message of ten lines."""

import re
from dataclasses import dataclass
from operator import attrgetter

import pandas as pd

from tierlab.core.finding import folded
from tierlab.core.format import change, dollars, number, share, usd
from tierlab.core.untrusted import in_html, in_markdown
from tierlab.quarter import words
from tierlab.quarter.analyse import Quarter
from tierlab.quarter.inputs import NOBODY, Settings
from tierlab.quarter.outlook import day_said
from tierlab.quarter.savings import STATUSES, task_said
from tierlab.quarter.variance import NAMES

_COVERED = 0.995  # share of the spend; where the log bills less of it, our price is the figure


@dataclass(frozen=True)
class Number:
    """A large number: its label, its value as text, and the note below it."""

    label: str
    value: str
    note: str


def numbers(q: Quarter) -> list[Number]:
    """Return what was spent, what comes if nothing changes, and what comes with the decisions."""
    found = [_spent(q)]
    if not q.forecast:
        return found
    period, row = words.ahead(q)
    notes = f"{_sentences(words.same_budget(q, row['usd']))} {_how_sure(q)}".strip()
    found.append(Number(f"{period} if nothing changes", f"about {dollars(row['usd'])}", notes))
    for which, saved, test in words.courses(q)[:1]:
        rates = "" if q.ahead == period else f" at the rates of {q.ahead}"
        less = max(row["usd"] - saved, 0)
        more = f"{dollars(saved)} less{rates}, if made as the quarter begins"
        notes = [words.same_budget(q, less), f"{more}; between {_between(row, saved)}"]
        notes += [
            f"About {dollars(max(row['usd'] - further, 0))} with {names}, {condition}"
            for names, further, condition in words.courses(q)[1:]
        ]
        label = f"{period} with {which}{test and ', '}{test}"
        found.append(Number(label, f"about {dollars(less)}", _sentences(*notes)))
    return found


def _spent(q):
    """Return what the quarter cost: as billed, where the log says so for nearly all of it, else as priced."""
    own = q.reconciliation
    own = own[own["against"] == "billed_usd of the rows"] if len(own) else own
    value, basis = q.paid_usd, "under the contract" if q.under_contract else "at list prices"
    listed = ""
    if len(own) and own["uncovered_usd"].sum() <= (1 - _COVERED) * q.spend_usd:
        value, basis = own["billed_usd"].sum(), "as billed"
        listed = f"at list prices: {dollars(q.spend_usd)}"
    if q.under_contract:
        listed = f"at list prices: {dollars(q.spend_usd)}, contracted: {dollars(q.contracted_usd)}"
    before = f"the quarter before cost {dollars(q.before_paid_usd)}" if q.before_usd > 0 else ""
    note = _sentences(words.budget_said(q), listed, words.unpriced_said(q), before)
    return Number(f"Spent in {q.quarter}, {basis}", dollars(value), note)


def _how_sure(q):
    """Say how far the forecast reaches, and by how much its method missed last time."""
    row = words.ahead(q)[1]
    share = f"{q.forecast.confidence:.0%}"
    return f"{share} of the simulations end between {_between(row)}. {words.miss_said(q)}"


def _between(row, saved=0.0):
    return " and ".join(dollars(max(row[end] - saved, 0)) for end in ("low", "high"))


def _sentences(*parts):
    """Join parts as sentences; empty ones are left out."""
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in parts if part)


def steps(q: Quarter) -> pd.DataFrame:
    """Return the steps from the quarter before to this one, to the next, and to the next with the decisions.

    Returns
    -------
    DataFrame
        label, usd (a level, or what a step adds), kind ("level", "estimate", "cause", "rest", "saves", "test").
    """
    named = words.causes(q) if q.before_usd > 0 else words.causes(q).head(0)
    rows, paid = [], q.due_usd
    if q.before_usd > 0:
        rest = paid - q.before_paid_usd - named["usd"].sum()
        rows.append(("quarter before", q.before_paid_usd, "level"))
        rows += [(row.cause, row.usd, "cause") for row in named.itertuples()]
        rows.append(("growth and the rest", rest, "rest"))
    rows.append((q.quarter, paid, "level"))
    if not q.forecast:
        return pd.DataFrame(rows, columns=["label", "usd", "kind"])
    period, future = words.ahead(q)
    left, table = future["usd"] - paid, words.decisions(q)
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
    for (which, saved, test), sure in zip(
        words.courses(q), table["sure"].drop_duplicates(), strict=True
    ):
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
    """Return the cause that a decision would end, or None."""
    key = {"stop": ("team", decision.team), "cache": ("cache", decision.model_id)}
    over, name = key.get(decision.kind, ("", ""))
    own = named[(named["over"] == over) & (named["name"] == name)]
    return own.iloc[0] if len(own) else None


def cards(q: Quarter, settings: Settings | None = None) -> pd.DataFrame:
    """Return `tierlab.quarter.words.decisions` with who (answers for the traffic) and so_far (a sentence on its cost)."""
    named, who, so_far = words.causes(q), [], []
    for row in q.decisions.itertuples():
        teams = [row.team] if row.team else [name for name in row.teams.split(", ") if name]
        owners = [(settings or Settings()).owner(name) or f"the {name} team" for name in teams]
        who.append(", ".join(dict.fromkeys(owners)) or "nobody is named: find the owner")
        cause = _cause_of(row, named)
        text = (
            f"This traffic cost {dollars(getattr(row, 'paid_usd', row.spend_usd))} in {q.quarter}"
        )
        if cause is not None:
            text = f"Cost so far: {dollars(cause['usd'])} since {day_said(cause['start'])}"
            text += ", for input that the cache gave at a lower rate" * (cause["over"] == "cache")
        so_far.append(f"{text}.")
    return words.decisions(q).assign(who=who, so_far=so_far)


def first_screen(run):
    """Show whether the usage is real, the verdict, and the three numbers."""
    q, page, lines = run.quarter, "", []
    if run.kind in words.KINDS:
        name, what = words.KINDS[run.kind]
        page = f'<p class="note"><b class="badge">{name}</b> {what}.</p>'
        lines.append(f"{name}: {what}.")
    first, *rest = filter(None, [words.ahead_said(q), words.past_said(q)])
    page += f'<p class="finding"><strong>{_html(first)}</strong></p>'
    page += "".join(f"<p>{_html(line)}</p>" for line in rest) + '<div class="numbers">'
    lines += [first, *rest]
    for one in numbers(q):
        page += (
            f'<div class="number"><p class="label">{_html(one.label)}</p>'
            f'<p class="big">{_html(one.value)}</p><p>{_html(one.note)}</p></div>'
        )
        lines.append(f"{one.label}: {one.value}. {one.note}")
    _display(f"{page}</div>", lines)


def _display(page, lines):
    """Show HTML on a page, and lines where there is only text."""
    from IPython.display import display  # an extra, which the summary does without

    display({"text/html": page, "text/plain": "\n".join(lines)}, raw=True)


def _html(text):
    """Return a text as HTML in which a name such as that of a model is not broken at its hyphens."""
    name = r"\w[\w.]*(?:-[\w.]*\w)+[,.;:)]*"
    return re.sub(name, r'<span class="word">\g<0></span>', in_html(text))


def decision_cards(q: Quarter, settings: Settings | None = None):
    """Show each decision with who answers for it, what it saves and what delay costs; then what else must be known."""
    blocks, lines, said = [], [], words.decisions_said(q)
    for row, line in zip(cards(q, settings).itertuples(), said, strict=False):
        saves = f"{dollars(row.usd)} a quarter"
        verb = "Saves" if row.sure else '<b class="badge">To test</b> Would save'
        money = f"{row.so_far} A week's delay costs {dollars(row.delay_usd)}."
        blocks.append(
            f'<div class="decision"><p><b>{row.place}. {_html(row.decision)}</b></p>'
            f'<p>{verb} <b class="big">{_html(saves)}</b>, {_html(row.condition)}.</p>'
            f"<p>{_html(money)}</p>"
            f"<p><b>Who: {in_html(row.who)}.</b> First step: {in_html(row.first)}.</p></div>"
        )
        lines.append(f"{line} {money} Who: {row.who}. First step: {row.first}.")
    page = f'<div class="decisions">{"".join(blocks)}</div>' if blocks else ""
    rest = [*said[len(blocks) :], *words.retiring_said(q), *filter(None, [words.others_said(q)])]
    page += "".join(f"<p>{_html(line)}</p>" for line in rest)
    _display(page, lines + rest)


def message(run, title: str) -> str:
    """Return the first screen in at most ten lines of Markdown, for a mail or a chat."""
    q, spent = run.quarter, _spent(run.quarter)
    first = f"{title} ({': '.join(words.KINDS[run.kind])})" if run.kind in words.KINDS else title
    lines = [words.ahead_said(q)]
    lines.append(
        f"{spent.label}: {spent.value}. {spent.note} {'Why: ' * bool(words.why(q))}{words.why(q)}"
    )
    if q.forecast:
        lines.append(f"How sure the forecast is: {_how_sure(q)}")
    lines += [" ".join(words.retiring_said(q)), words.others_said(q)]
    if q.missing:
        lines.append(f"The log leaves {len(q.missing)} questions open; the report lists them.")
    found = [_markdown(first), *(f"- {_markdown(line)}" for line in lines if line)]
    # The list's own numbers take the place of those in the sentences.
    for row, line in zip(
        cards(q, run.settings).itertuples(), words.decisions_said(q), strict=False
    ):
        text = f"{line.partition(' ')[2]} Who: {row.who}. First step: {row.first}."
        found.append(f"{row.place}. {_markdown(text)}")
    return "\n".join(found) + "\n"


def _markdown(text):
    """Return a line of Markdown; a dollar sign before a digit can end no formula, so it needs no backslash."""
    return re.sub(r"\\\$(?=\d)", "$", in_markdown(text))


MOST = 5  # rows of a finding


_LACKS = "Not in this report: the list at its end says what is needed."


_OURS = NAMES | {"model_id": "model", "ttft_s": "first token", "end_to_end_s": "whole answer"}


def _word(value):
    """Return one of our own names in words."""
    return _OURS.get(value, value.replace("_", " "))


def _yes(value):
    return "yes" if value else "no"


_day = "{:%Y-%m-%d}".format


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


_TABLES = {  # table -> (column, heading, format) of the columns that are shown, in order
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


_TITLES = {  # table -> its title; the others keep their name
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
    """Return whether the report has a section; where it does not, show a line that says so."""
    q, line = run.quarter, _LACKS
    if section == "savings" and q.savings.empty:
        line = words.nothing_found(q)
    elif section not in q.missing:
        return True
    _display(_note(line), [line])
    return False


def _note(line):
    return f'<p class="note">{in_html(line)}</p>'


def shown(run, name, frame=None):
    """Return a table of the report in words, with text in every cell.

    Parameters
    ----------
    run : tierlab.quarter.report.Prepared
    name : str
        A table of `Quarter`, or "forecast", "owners", "files", "causes" or "by_month".
    frame : DataFrame, optional
        The rows to show; by default all. Columns that hold nothing but "" are left out.
    """
    frame = _frame(run, name) if frame is None else frame
    columns = {}
    for column, heading, form in _TABLES[name]:
        if column in frame and not frame[column].astype(object).eq("").all():
            columns[heading] = ["-" if pd.isna(x) else form(x) for x in frame[column]]
    return pd.DataFrame(columns)


def few(run, name, *columns):
    """Return the rows that carry a finding: at most five, those that say most.

    Parameters
    ----------
    run : tierlab.quarter.report.Prepared
    name : str
        As in `shown`.
    columns : str
        The headings to show; by default all.
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
    """Return title -> table, for the tables that have rows: what a finding folds away."""
    tables = {_TITLES.get(name, _word(name).capitalize()): shown(run, name) for name in names}
    return {title: table for title, table in tables.items() if len(table)}


def section(run, title, *names):
    """Show a part of the appendix: its title and its tables folded, or a line that says that they are missing."""
    parts = [folded(name, table) for name, table in fold(run, *names).items()]
    pages, texts = zip(*parts or [(_note(_LACKS), _LACKS)], strict=True)
    _display(f"<p>{in_html(title)}</p>{''.join(pages)}", ["\n\n".join([title, *texts])])


def unanswered(run):
    """Show one list of what the log could not answer, and of what each question needs."""
    nothing = "Nothing: the log answers every question of this report."
    lines = words.missing_said(run.quarter) or [nothing]
    page = "".join(f"<li>{in_html(line)}</li>" for line in lines)
    _display(f"<ul>{page}</ul>", lines)


def compared(q):
    """Return the quarter's spend beside the budget and the quarter before: what, usd, change_usd, change_rate.

    What is billed without a price is in no difference; while there is any, nothing of the budget is shown as saved.
    """
    others = q.spend["what"].isin(["budget", "quarter before"])
    if q.priced_only:
        others &= (q.spend["what"] != "budget") | (q.spend["difference_usd"] > 0)
    table = q.spend[["what", "usd"]].assign(
        change_usd=q.spend["difference_usd"].where(others),
        change_rate=(q.spend["ratio"] - 1).where(others),
    )
    if q.priced_only:
        table.loc[len(table), ["what", "usd"]] = ["billed, without a price", q.unpriced_usd]
    return table


def _events(q):
    """Return the events with the usual and the seen day in their own unit: dollars, or a share of the input."""
    cached = q.events["over"] == "cache"
    written = {
        name: q.events[name].map("{:.0%}".format).where(cached, q.events[name].map(usd))
        for name in ("usual", "seen")
    }
    return q.events.assign(**written)


def _by_month(run):
    months = run.quarter.months.drop(columns="tier").groupby("period", as_index=False).sum()
    return months[months["period"] >= f"{run.quarter.start:%Y-%m}"]


_FRAMES = {  # table -> its rows, where they are not simply those of `Quarter`
    "spend": lambda run: compared(run.quarter),
    "causes": lambda run: words.causes(run.quarter),
    "by_month": _by_month,
    "events": lambda run: _events(run.quarter),
    "gaps": lambda run: words.gaps(run.quarter),
    "savings": lambda run: words.offered(run.quarter),
    "forecast": lambda run: run.quarter.forecast.totals.reset_index(),
    "owners": lambda run: (
        by_owner(run.quarter.teams, run.settings) if run.settings.teams else pd.DataFrame()
    ),
    "files": lambda run: run.files,
}


def by_owner(teams: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Compare the spend of each team with its budget, with a row for what nobody owns.

    Parameters
    ----------
    teams : DataFrame
        Table `teams` of `Quarter`: name, cost_usd.
    settings : Settings

    Returns
    -------
    DataFrame
        name, owner, cost_usd, budget_usd, over_usd (US dollars; NaN without a budget), the largest spend first and what
        nobody owns last. A team of the settings that spent nothing has a row as well.
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


def _frame(run, name):
    return _FRAMES.get(name, attrgetter(f"quarter.{name}"))(run)
