"""The report's first screen: three numbers, the change named by cause, three decisions, and a message of ten lines."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from IPython.display import display

from tierlab.core.format import usd
from tierlab.core.untrusted import in_html, in_markdown
from tierlab.quarter.analyse import Quarter
from tierlab.quarter.settings import Settings
from tierlab.quarter.words import decisions, over_budget_usd, paid_usd, priced_only

_NEW = 0.1  # of a day's spend now: who spent less before is new
_COVERED = 0.995  # of the spend: where the log bills less of it, the list price is the figure
_SMALL = 0.01  # of the quarter's spend: a smaller cause is part of the rest


@dataclass(frozen=True)
class Number:
    """A large number: label, value (text), and what stands below it."""

    label: str
    value: str
    note: str


def numbers(q: Quarter) -> list[Number]:
    """What was spent, what comes if nothing changes, and what comes with the decisions."""
    found = [Number(f"Spent in {q.quarter}, {_basis(q)}", usd(_spent(q)), _against(q))]
    if not q.forecast:
        return found
    period, ahead = _ahead(q)
    share = f"{q.forecast.confidence:.0%}"
    band = f"{share} of simulated futures: {usd(ahead['low'])} to {usd(ahead['high'])}."
    found.append(
        Number(f"{period} if nothing changes", f"about {usd(ahead['usd'])}", f"{band} {_miss(q)}")
    )
    if len(q.decisions):
        saved = q.decisions["usd"].sum()
        low, high = (usd(max(ahead[end] - saved, 0)) for end in ("low", "high"))
        count = len(q.decisions)
        which = "the decision" if count == 1 else f"the {('two', 'three')[count - 2]} decisions"
        rates = "" if q.ahead == period else f" at the rates of {q.ahead}"
        text = f"{usd(saved)} less{rates}, if they start with the quarter; {low} to {high}."
        found.append(
            Number(f"{period} with {which}", f"about {usd(max(ahead['usd'] - saved, 0))}", text)
        )
    return found


def _ahead(q):
    """The last whole quarter of the forecast and its row."""
    return q.forecast.totals.index[-1], q.forecast.totals.iloc[-1]


def _billed(q):
    """What the log says was billed, where it says so of nearly everything; else NaN."""
    own = q.reconciliation
    own = own[own["against"] == "billed_usd of the rows"] if len(own) else own
    covered = len(own) and own["uncovered_usd"].sum() <= (1 - _COVERED) * q.spend_usd
    return float(own["billed_usd"].sum()) if covered else np.nan


def _spent(q):
    billed = _billed(q)
    return paid_usd(q) if np.isnan(billed) else billed


def _basis(q):
    if not np.isnan(_billed(q)):
        return "as billed"
    return "at list prices" if np.isnan(q.effective_usd) else "under the contract"


def _against(q):
    parts = []
    if not np.isnan(_billed(q)):
        parts.append(f"At list prices: {usd(q.spend_usd)}.")
    if q.unpriced_usd > 0:
        parts.append(f"{usd(q.unpriced_usd)} of the bill without a price.")
    elif q.unpriced_rows:
        parts.append(f"Not counting {q.unpriced_rows:,} rows without a price.")
    over = over_budget_usd(q)
    if over <= 0 and priced_only(q):
        parts.append(
            f"Whether that keeps to the budget of {usd(q.budget_usd)} is open until everything has a price."
        )
    elif not np.isnan(over):
        side = "over" if over > 0 else "under"
        share = f"{abs(over) / q.budget_usd:.0%}"
        parts.append(f"{usd(abs(over))} ({share}) {side} the budget of {usd(q.budget_usd)}.")
    if q.before_usd > 0:
        parts.append(f"The quarter before cost {usd(q.before_usd)}.")
    return " ".join(parts)


def _miss(q):
    for last in q.forecast_error.itertuples():
        side = "low" if last.error < 0 else "high"
        if last.source.startswith("this method"):
            return f"This method was {abs(last.error):.0%} too {side} last time."
        return f"The {last.source} was {abs(last.error):.0%} too {side}."
    return "How far off this method was last time is not known."


def causes(q: Quarter) -> pd.DataFrame:
    """What moved spend from the quarter before to this one, each cause once and by its name.

    Returns
    -------
    DataFrame
        cause, usd, over, name, start: events first, then changes of price; "" and NaT for those.
    """
    found, taken = [], set()
    order = {"cache": 0, "team": 1, "model": 2, "total": 3}
    for event in q.events.sort_values("over", key=lambda over: over.map(order)).itertuples():
        # One cause shows in a cache, a team, a model and the total on the same day: it counts once.
        if event.start in taken or abs(event.excess_usd) < _SMALL * q.spend_usd:
            continue
        taken.add(event.start)
        found.append((_event(q, event), event.excess_usd, event.over, event.name, event.start))
    changed = q.price_changes
    changed = changed[~changed["scheduled"]] if len(changed) else changed
    for row in changed.itertuples():
        if abs(row.effect_usd) >= _SMALL * q.spend_usd:
            cheaper = "cheaper" if row.effect_usd < 0 else "more expensive"
            text = f"{row.model_id} is {cheaper} from {_day(row.on)}"
            found.append((text, row.effect_usd, "price", "", pd.NaT))
    table = pd.DataFrame(found, columns=["cause", "usd", "over", "name", "start"])
    return table.sort_values("usd", ascending=False, kind="stable", ignore_index=True)


def _day(day):
    return f"{day.day} {day:%B}"


def _event(q, event):
    """An event as one would tell it."""
    if event.over == "cache":
        now = "is no longer read" if event.seen < 0.01 else f"is read for {event.seen:.0%} only"
        now = "is read more" if event.direction == "above" else now
        return f"the cache of {event.name} {now}, {_when(event)}"
    who = "the total" if event.over == "total" else event.name
    if event.usual < _NEW * event.seen and event.over == "team":
        same = q.events[(q.events["over"] == "model") & (q.events["start"] == event.start)]
        verb = f"called {same['name'].iloc[0]}" if len(same) else "spent"
        return f"{who} has {verb} {_when(event)}" if event.lasts else f"{who} {verb} {_when(event)}"
    more = "more" if event.excess_usd > 0 else "less"
    return f"{who} spent {more} {_when(event)}"


def _when(event):
    if event.lasts:
        return f"since {_day(event.start)}"
    end = "" if event.days == 1 else f" to {_day(event.end)}"
    return f"on {_day(event.start)}" if event.days == 1 else f"from {_day(event.start)}{end}"


def steps(q: Quarter) -> pd.DataFrame:
    """The waterfall: from the quarter before to this one, to the next, and to the next with the decisions.

    Returns
    -------
    DataFrame
        label, usd (a level, or what a step adds), kind ("level", "estimate", "cause", "rest", "saves").
    """
    named = causes(q) if q.before_usd > 0 else causes(q).head(0)
    rows = []
    if q.before_usd > 0:
        rest = q.spend_usd - q.before_usd - named["usd"].sum()
        rows.append(("quarter before", q.before_usd, "level"))
        rows += [(row.cause, row.usd, "cause") for row in named.itertuples()]
        rows.append(("growth and the rest", rest, "rest"))
    rows.append((q.quarter, q.spend_usd, "level"))
    if not q.forecast:
        return pd.DataFrame(rows, columns=["label", "usd", "kind"])
    period, ahead = _ahead(q)
    left = ahead["usd"] - q.spend_usd
    for place, row in enumerate(q.decisions.itertuples(), 1):
        cause = _cause_of(row, named)
        if cause is not None:
            more = row.usd - cause["usd"]
            left -= more
            what = f"the cache of {cause['name']}" if cause["over"] == "cache" else cause["name"]
            rows.append((f"{place}. {what}, for a whole quarter", more, "cause"))
    rows.append(("growth and the rest, next quarter", left, "rest"))
    rows.append((f"{period} if nothing changes", ahead["usd"], "estimate"))
    for row in decisions(q).itertuples():
        rows.append((f"{row.place}. {row.decision}", -row.usd, "saves"))
    if len(q.decisions):
        with_them = ahead["usd"] - q.decisions["usd"].sum()
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
        f"This traffic cost {usd(row.spend_usd)} in {q.quarter}."
        if cause is None
        else f"Cost so far: {usd(cause['usd'])} since {_day(cause['start'])}."
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
    """Show the three numbers."""
    blocks, lines = [], []
    for one in numbers(q):
        blocks.append(
            f'<div class="number"><p class="label">{in_html(one.label)}</p>'
            f'<p class="big">{in_html(one.value)}</p><p>{in_html(one.note)}</p></div>'
        )
        lines.append(f"{one.label}: {one.value}. {one.note}")
    page = f'<div class="numbers">{"".join(blocks)}</div>'
    display({"text/html": page, "text/plain": "\n".join(lines)}, raw=True)


def decision_cards(q: Quarter, settings: Settings | None = None):
    """Show each decision: do what, who, what it saves, what it cost so far and costs if it goes on."""
    blocks, lines = [], []
    for row in cards(q, settings).itertuples():
        saves = f"{usd(row.saves_usd)} a quarter"
        goes_on = f"{row.so_far} If it goes on: {saves} too much."
        blocks.append(
            f'<div class="decision"><p><b>{row.place}. {in_html(row.decision)}</b></p>'
            f'<p>Saves <b class="big">{saves}</b></p><p>{in_html(goes_on)}</p>'
            f"<p><b>Who: {in_html(row.who)}.</b> First step: {in_html(row.first)}.</p></div>"
        )
        lines.append(
            f"{row.place}. {row.decision}: saves {saves}. {goes_on} "
            f"Who: {row.who}. First step: {row.first}."
        )
    if blocks:
        page = f'<div class="decisions">{"".join(blocks)}</div>'
        display({"text/html": page, "text/plain": "\n".join(lines)}, raw=True)


def message(q: Quarter, title: str) -> str:
    """The first screen in at most ten lines, for a mail or a chat."""
    lines = [in_markdown(title)]
    lines += [f"- {in_markdown(f'{one.label}: {one.value}. {one.note}')}" for one in numbers(q)]
    named = [f"{row.cause} ({usd(row.usd)})" for row in causes(q).head(2).itertuples()]
    if named:
        lines.append(f"- Why: {in_markdown('; '.join(named))}")
    lines += [
        f"{row.place}. {in_markdown(row.decision)}: saves {in_markdown(usd(row.saves_usd))} a quarter"
        for row in cards(q).itertuples()
    ]
    if q.missing:
        lines.append(f"- The log leaves {len(q.missing)} questions open; the report lists them.")
    return "\n".join(lines) + "\n"
