"""The report's first screen: the verdict, three numbers, the change named by cause, three decisions; and a message of ten lines."""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from IPython.display import display

from tierlab.core.format import dollars
from tierlab.core.untrusted import in_html, in_markdown
from tierlab.quarter.analyse import Quarter
from tierlab.quarter.outlook import day_said
from tierlab.quarter.settings import Settings
from tierlab.quarter.words import (
    KINDS,
    ahead,
    ahead_said,
    budget_said,
    causes,
    courses,
    decisions,
    decisions_said,
    miss_said,
    others_said,
    paid_usd,
    past_said,
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
