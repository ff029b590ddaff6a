"""The report's first screen: the verdict, three numbers, the change named by cause, three decisions; and a message of ten lines."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from IPython.display import display

from tierlab.core.format import usd
from tierlab.core.untrusted import in_html, in_markdown
from tierlab.quarter.analyse import Quarter
from tierlab.quarter.outlook import day_said
from tierlab.quarter.settings import Settings
from tierlab.quarter.words import (
    budget_said,
    causes,
    counted_decisions,
    decisions,
    decisions_said,
    paid_usd,
    unpriced_said,
    verdict,
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
    found = [Number(label, usd(value), _against(q, billed))]
    if not q.forecast:
        return found
    period, ahead = _ahead(q)
    share = f"{q.forecast.confidence:.0%}"
    band = f"{share} of simulated futures: {usd(ahead['low'])} to {usd(ahead['high'])}."
    found.append(
        Number(f"{period} if nothing changes", f"about {usd(ahead['usd'])}", f"{band} {_miss(q)}")
    )
    if len(q.decisions):
        saved = q.saved_usd
        low, high = (usd(max(ahead[end] - saved, 0)) for end in ("low", "high"))
        rates = "" if q.ahead == period else f" at the rates of {q.ahead}"
        text = f"{usd(saved)} less{rates}, if they start with the quarter; {low} to {high}."
        found.append(
            Number(
                f"{period} with {counted_decisions(q)}",
                f"about {usd(max(ahead['usd'] - saved, 0))}",
                text,
            )
        )
    return found


def _ahead(q):
    """The last whole quarter of the forecast and its usd, low and high: effective under a contract."""
    row = q.forecast.totals.iloc[-1]
    if "effective_usd" in row:
        paid = ["effective_usd", "effective_low", "effective_high"]
        row = row[paid].set_axis(["usd", "low", "high"])
    return q.forecast.totals.index[-1], row


def _billed(q):
    """What the log says was billed, where it says so of nearly everything; else NaN."""
    own = q.reconciliation
    own = own[own["against"] == "billed_usd of the rows"] if len(own) else own
    covered = len(own) and own["uncovered_usd"].sum() <= (1 - _COVERED) * q.spend_usd
    return float(own["billed_usd"].sum()) if covered else np.nan


def _against(q, billed):
    listed = f"at list prices: {usd(q.spend_usd)}" if not np.isnan(billed) else ""
    if not np.isnan(q.effective_usd):
        listed = f"at list prices: {usd(q.spend_usd)}, contracted: {usd(q.contracted_usd)}"
    before = f"the quarter before cost {usd(q.before_paid_usd)}" if q.before_usd > 0 else ""
    parts = [part for part in (listed, unpriced_said(q), budget_said(q), before) if part]
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in parts)


def _miss(q):
    for last in q.forecast_error.itertuples():
        side = "low" if last.error < 0 else "high"
        if last.source.startswith("this method"):
            return f"This method was {abs(last.error):.0%} too {side} last time."
        return f"The {last.source} was {abs(last.error):.0%} too {side}."
    return "How far off this method was last time is not known."


def steps(q: Quarter) -> pd.DataFrame:
    """The waterfall: from the quarter before to this one, to the next, and to the next with the decisions.

    Returns
    -------
    DataFrame
        label, usd (a level, or what a step adds), kind ("level", "estimate", "cause", "rest", "saves").
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
    period, ahead = _ahead(q)
    left = ahead["usd"] - paid
    for place, row in enumerate(q.decisions.itertuples(), 1):
        cause = _cause_of(row, named)
        if cause is not None:
            more = getattr(row, "contracted_usd", row.usd) - cause["usd"]
            left -= more
            what = f"the cache of {cause['name']}" if cause["over"] == "cache" else cause["name"]
            rows.append((f"{place}. {what}, for a whole quarter", more, "cause"))
    rows.append(("growth and the rest, next quarter", left, "rest"))
    rows.append((f"{period} if nothing changes", ahead["usd"], "estimate"))
    for row in decisions(q).itertuples():
        rows.append((f"{row.place}. {row.decision}", -row.usd, "saves"))
    if len(q.decisions):
        with_them = ahead["usd"] - q.saved_usd
        if abs(both := q.decisions["usd"].sum() - q.saved_usd) >= 0.005:
            rows.append(("what stays unused of the contract for all of them", both, "rest"))
        rows.append((f"{period} with the decisions", with_them, "estimate"))
    return pd.DataFrame(rows, columns=["label", "usd", "kind"])


def _cause_of(decision, named):
    """The cause that a decision would end, or None."""
    key = {"stop": ("team", decision.team), "cache": ("cache", decision.model_id)}
    over, name = key.get(decision.kind, ("", ""))
    own = named[(named["over"] == over) & (named["name"] == name)]
    return own.iloc[0] if len(own) else None


def cards(q: Quarter, settings: Settings | None = None) -> pd.DataFrame:
    """The decisions for who signs them: place, decision, who, saves_usd, so_far (a sentence), first."""
    table, named = decisions(q), causes(q)
    found = [_cause_of(row, named) for row in q.decisions.itertuples()]
    so_far = [
        f"This traffic cost {usd(getattr(row, 'paid_usd', row.spend_usd))} in {q.quarter}."
        if cause is None
        else f"Cost so far: {usd(cause['usd'])} since {day_said(cause['start'])}."
        for row, cause in zip(q.decisions.itertuples(), found, strict=True)
    ]
    who = [_who(row, settings or Settings()) for row in q.decisions.itertuples()]
    table = table.assign(who=who, so_far=so_far)
    return table.rename(columns={"usd": "saves_usd"})


def _who(row, settings):
    teams = [row.team] if row.team else [name for name in row.teams.split(", ") if name]
    owners = [settings.owner(name) or f"the {name} team" for name in teams]
    return ", ".join(dict.fromkeys(owners)) or "nobody is named: find the owner"


def first_screen(q: Quarter):
    """Show the verdict and the three numbers."""
    blocks, lines = [], [verdict(q)]
    for one in numbers(q):
        blocks.append(
            f'<div class="number"><p class="label">{in_html(one.label)}</p>'
            f'<p class="big">{in_html(one.value)}</p><p>{in_html(one.note)}</p></div>'
        )
        lines.append(f"{one.label}: {one.value}. {one.note}")
    page = f'<p class="finding"><strong>{in_html(lines[0])}</strong></p>'
    page += f'<div class="numbers">{"".join(blocks)}</div>'
    display({"text/html": page, "text/plain": "\n".join(lines)}, raw=True)


def decision_cards(q: Quarter, settings: Settings | None = None):
    """Show each decision: do what, who, what it saves, what it cost so far and costs if it goes on; or why there is none."""
    blocks, lines = [], []
    for row in cards(q, settings).itertuples():
        saves = f"{usd(row.saves_usd)} a quarter"
        goes_on = f"{row.so_far} If it goes on: {saves} too much."
        blocks.append(
            f'<div class="decision"><p><b>{row.place}. {in_html(row.decision)}</b></p>'
            f'<p>Saves <b class="big">{in_html(saves)}</b></p><p>{in_html(goes_on)}</p>'
            f"<p><b>Who: {in_html(row.who)}.</b> First step: {in_html(row.first)}.</p></div>"
        )
        lines.append(
            f"{row.place}. {row.decision}: saves {saves}. {goes_on} "
            f"Who: {row.who}. First step: {row.first}."
        )
    page = f'<div class="decisions">{"".join(blocks)}</div>' if blocks else ""
    rest = decisions_said(q)[len(blocks) :]
    page += "".join(f"<p>{in_html(line)}</p>" for line in rest)
    display({"text/html": page, "text/plain": "\n".join(lines + rest)}, raw=True)


def message(q: Quarter, title: str) -> str:
    """The first screen in at most ten lines, for a mail or a chat."""
    lines = [title, *(f"{one.label}: {one.value}. {one.note}" for one in numbers(q))]
    lines += [f"Why: {why(q)}"] * bool(why(q))
    if q.missing:
        lines.append(f"The log leaves {len(q.missing)} questions open; the report lists them.")
    first, *rest = map(in_markdown, lines)
    decided = [line.partition(" ") for line in decisions_said(q)[: len(q.decisions)]]
    items = [f"{place} {in_markdown(text)}" for place, _, text in decided]
    return "\n".join([first, *(f"- {line}" for line in rest), *items]) + "\n"
