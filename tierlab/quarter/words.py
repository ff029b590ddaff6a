"""The sentences of the quarterly report: one builder for each fact, for page, message and summary alike.

They are plain text. Names in them come from logs: whoever shows a sentence escapes it.
"""

import re

import numpy as np
import pandas as pd

from tierlab.core.format import dollars
from tierlab.quarter.analyse import Quarter
from tierlab.quarter.outlook import day_said
from tierlab.quarter.savings import (
    HELD,
    SMALL,
    STATUSES,
    SURE,
    UNKNOWN_STAKES,
    task_said,
)
from tierlab.quarter.variance import NAMES

_NEW = 0.1  # of a day's spend now: who spent less before is new
_SMALL = 0.01  # of the quarter's spend: a smaller cause is part of the rest
_ACTS = {  # kind of a decision -> its verb, and the first step
    "stop": ("Stop ", "ask the owner of the key whether anybody needs it"),
    "cache": (
        "",
        "begin every prompt with the part that does not change, so that it can be read from the cache",
    ),
    "move": ("Move ", "let both models answer your own examples, and compare"),
    "replace": ("Replace ", "let both models answer your own examples, and compare"),
    "batch": ("Send ", "ask who reads the answers whether they may wait a day"),
    "session": ("", "let the first turn of a session choose the model, and keep it to the end"),
    "errors": ("Avoid ", "look at the reasons, status by status"),
}
_QUESTIONS = {  # section -> what it would answer
    "budget": "Was it within the budget?",
    "variance": "Why did spend change?",
    "changes": "Who spends more than before?",
    "teams": "Which team spent it?",
    "tasks": "What was it spent on?",
    "users": "What does an active user cost?",
    "cache": "What did the cache give back?",
    "reasoning": "How much of the output is reasoning?",
    "truncated answers": "How many answers were cut off?",
    "reliability": "How many requests failed?",
    "retries": "What did second attempts cost?",
    "latency": "How long did answers take?",
    "latency (ttft_s)": "How long did the first token take?",
    "latency (end_to_end_s)": "How long did whole answers take?",
    "batch savings": "What would batches save?",
    "cost per request": "What does a request cost?",
    "sessions": "What would it save to choose the model once per session?",
    "quality": "Were the answers good enough?",
    "events": "Which days stand out?",
    "forecast": "What will the next quarter cost?",
    "forecast_error": "What did last quarter's report forecast?",
    "reconciliation": "Does it match the bill?",
    "arrival": "Did the earlier decisions arrive?",
    "overlaps": "Was every call counted once?",
    "contract": "Did every clause of the contract count?",
}
KINDS = {  # of usage -> its name and what it is, where it is not the reader's own
    "simulated": (
        "Simulated usage",
        "two synthetic quarters with planted events; no figure here says anything about the world",
    ),
    "trace": (
        "Not your usage",
        "the requests are a public recorded trace with an assumed clock and assumed models",
    ),
}
_COLUMNS = {  # of a log -> what it says, in words
    "billed_usd": "what each request was billed",
    "team": "the team",
    "task": "the task",
    "user": "the user",
    "status": "how each request ended",
    "truncated": "truncated",
    "attempts": "the number of attempts",
    "reasoning_tokens": "the tokens of reasoning",
    "batch": "which requests were in batch",
    "cache_read_tokens": "the tokens read from a cache",
    "ttft_s": "the seconds to the first token",
    "end_to_end_s": "the seconds to the whole answer",
    "requests": "the number of requests",
}


def _counted(number, thing):
    return f"{number:,} {thing}{'s' * (number != 1)}"


def priced_only(q):
    """Whether something that the quarter used or was billed for has no price, so that its cost is only known from below."""
    return bool(q.unpriced_usd > 0 or (q.unpriced_rows and q.unpriced_usd != 0))


def paid_usd(q):
    """What the quarter cost, under the contract where there is one, with what is billed without a price."""
    lost = q.unpriced_usd if q.unpriced_usd > 0 else 0.0
    return (q.spend_usd if np.isnan(q.effective_usd) else q.effective_usd) + lost


def over_budget_usd(q):
    """How far the quarter is over its budget (US dollars); NaN without one."""
    return paid_usd(q) - q.budget_usd


def budget_said(q):
    """The quarter against its budget: part of a sentence, "" without one.

    Nothing is said to be under the budget while something has no price.
    """
    over, budget = over_budget_usd(q), f"the budget of {dollars(q.budget_usd)}"
    if np.isnan(over):
        return ""
    if over <= 0 and priced_only(q):
        return f"whether that keeps to {budget} is open until everything has a price"
    if over == 0:
        return f"exactly {budget}"
    side = "over" if over > 0 else "under"
    return f"{dollars(abs(over))} ({abs(over) / q.budget_usd:.0%}) {side} {budget}"


def unpriced_said(q):
    """What has no price: part of a sentence, "" where everything has one."""
    if q.unpriced_usd > 0:
        return f"{dollars(q.unpriced_usd)} of the bill without a price"
    return f"not counting {_counted(q.unpriced_rows, 'row')} without a price" * priced_only(q)


def spent(q):
    """What the quarter cost, against the budget: the part of a sentence."""
    day = "" if q.last_day >= q.end else f" up to {q.last_day:%Y-%m-%d}"
    text = f"cost {'at least ' * priced_only(q)}{dollars(paid_usd(q))}{day}"
    if not np.isnan(q.effective_usd):
        text += f" under the contract ({dollars(q.spend_usd)} at list, {dollars(q.contracted_usd)} contracted)"
    if q.unpriced_usd > 0:
        text += f" ({dollars(paid_usd(q) - q.unpriced_usd)} priced, and {unpriced_said(q)})"
    elif priced_only(q):
        text += f" ({unpriced_said(q)})"
    budget = budget_said(q)
    return f"{text}{'; ' if budget.startswith('whether') else ', ' if budget else ''}{budget}"


def than_before(q):
    """How the spend compares with the quarter before: the part of a sentence, "" without one."""
    if not q.before_usd > 0:
        return ""
    gap, more = abs(q.spend_usd - q.before_usd), q.spend_usd > q.before_usd
    if dollars(gap) == dollars(0):
        return "as much as the quarter before"
    part = f"{gap / q.before_usd:.0%}"
    return f"{dollars(gap)} ({part}) {'more' if more else 'less'} than the quarter before"


def causes(q: Quarter) -> pd.DataFrame:
    """What moved spend from the quarter before to this one, each cause once and by its name.

    Returns
    -------
    DataFrame
        cause, usd, over, name, start: events first, then changes of price; "" and NaT for those. Under a contract usd is
        in its rates, and these and what is unused are causes as well.
    """
    found, taken = [], set()
    order = {"cache": 0, "team": 1, "model": 2, "total": 3}
    for event in q.events.sort_values("over", key=lambda over: over.map(order)).itertuples():
        # One cause shows in a cache, a team, a model and the total on the same day: it counts once.
        if event.start in taken or abs(event.excess_usd) < _SMALL * q.spend_usd:
            continue
        taken.add(event.start)
        money = getattr(event, "contracted_usd", event.excess_usd)
        found.append((_event(q, event), money, event.over, event.name, event.start))
    for row in q.price_changes.itertuples():
        if not row.scheduled and abs(row.effect_usd) >= _SMALL * q.spend_usd:
            cheaper = "cheaper" if row.effect_usd < 0 else "more expensive"
            text = f"{row.model_id} is {cheaper} from {day_said(row.on)}"
            money = getattr(row, "contracted_usd", row.effect_usd)
            found.append((text, money, "price", "", pd.NaT))
    for row in q.variance.itertuples() if "effective_usd" in q.variance else ():
        less = "less" if row.effective_usd < 0 else "more"
        said = {"contract": row.what, "unused": f"{less} of the contract stays unused"}
        if row.effect in said and abs(row.effective_usd) >= _SMALL * q.spend_usd:
            found.append((said[row.effect], row.effective_usd, "contract", "", pd.NaT))
    table = pd.DataFrame(found, columns=["cause", "usd", "over", "name", "start"])
    return table.sort_values("usd", ascending=False, kind="stable", ignore_index=True)


def _event(q, event):
    """An event as one would tell it."""
    if event.over == "cache":
        has = "has " if event.lasts else ""
        now = f"{has}served {'more' if event.direction == 'above' else 'less'} of the input"
        if event.seen < 0.01:
            now = "has not worked" if event.lasts else "did not work"
        return f"the prompt cache {_whose(q, event.name)} {now} {_when(event)}"
    who = "the total" if event.over == "total" else event.name
    if event.usual < _NEW * event.seen and event.over == "team":
        same = q.events[(q.events["over"] == "model") & (q.events["start"] == event.start)]
        verb = f"called {same['name'].iloc[0]}" if len(same) else "spent"
        return f"{who} has {verb} {_when(event)}" if event.lasts else f"{who} {verb} {_when(event)}"
    more = "more" if event.excess_usd > 0 else "less"
    return f"{who} spent {more} {_when(event)}"


def _whose(q, model_id):
    """Whose cache broke: the task, or the model where that is not known."""
    own = q.savings[(q.savings["kind"] == "cache") & (q.savings["model_id"] == model_id)]
    return f"of {(task_said(own['task'].iloc[0]) if len(own) else '') or model_id}"


def _when(event):
    if event.lasts:
        return f"since {day_said(event.start)}"
    if event.days == 1:
        return f"on {day_said(event.start)}"
    return f"from {day_said(event.start)} to {day_said(event.end)}"


def why(q):
    """The largest causes with their dollars: a sentence, "" where none is large."""
    named = causes(q).sort_values("usd", key=abs, ascending=False, kind="stable").head(2)
    told = [f"{row.cause} ({dollars(row.usd, signed=True)})" for row in named.itertuples()]
    return "; ".join(told)


def decisions(q):
    """The decisions as a table for a reader who signs.

    Returns
    -------
    DataFrame
        place, decision, usd, spend_usd, spend_share, first (step), sure (whether it needs no test any more), condition
        (under which it saves that, part of a sentence), delay_usd (what a week's delay costs).
    """
    rows = list(q.decisions.itertuples())
    dated = [f" ({row.scheduled})" * bool(row.scheduled) for row in rows]
    said = [f"{_ACTS[row.kind][0]}{row.what}{date}" for row, date in zip(rows, dated, strict=True)]
    ahead = pd.Period(q.ahead, freq="Q")
    table = q.decisions.assign(
        decision=[text[:1].upper() + text[1:] for text in said],
        first=[_ACTS[row.kind][1] for row in rows],
        sure=q.decisions["status"].isin(SURE),
        condition=[
            f"if {row.assumes.partition(';')[0]}" if row.status in SURE else f"after {row.needs}"
            for row in rows
        ],
        delay_usd=q.decisions["usd"] * 7 / ((ahead.end_time - ahead.start_time).days + 1),
    )
    columns = ["place", "decision", "usd", "spend_usd", "spend_share", "first"]
    return table[[*columns, "sure", "condition", "delay_usd"]]


def _places(table, every=0):
    """Decisions by their places: decision 1, decisions 1 and 2; all three decisions where that is `every` one."""
    places = [str(place) for place in table["place"]]
    if 1 < len(places) == every:
        return f"{'both' if every == 2 else 'all three'} decisions"
    return f"decision{'s' * (len(places) > 1)} {' and '.join(places)}"


def _s(which):
    """The ending of a verb after decisions."""
    return "s" * which.startswith("decision ")


def courses(q):
    """What can be decided for the next quarter: those that need no test, and with those that do.

    Returns
    -------
    list of tuple
        which decisions, what they save together (US dollars), on what that hangs ("" for nothing).
    """
    table = decisions(q)
    sure, open_ = table[table["sure"]], table[~table["sure"]]
    found = [(_places(sure, len(table)), q.sure_usd, "")] if len(sure) else []
    if len(open_):
        whose = "its test" if len(table) == 1 else f"the test of {_places(open_)}"
        tests = f"if {whose} succeeds"
        found.append((_places(table, len(table)), q.saved_usd, tests))
    return found


def ahead(q):
    """The last whole quarter of the forecast and its usd, low and high: effective under a contract."""
    row = q.forecast.totals.iloc[-1]
    if "effective_usd" in row:
        paid = ["effective_usd", "effective_low", "effective_high"]
        row = row[paid].set_axis(["usd", "low", "high"])
    return q.forecast.totals.index[-1], row


def same_budget(q, value):
    """A cost of the next quarter against the budget of this one: part of a sentence, "" where that cannot be said."""
    over = value - q.budget_usd
    if np.isnan(over) or (over <= 0 and priced_only(q)):
        return ""
    return f"{dollars(abs(over))} {'over' if over > 0 else 'under'} the same budget"


def ahead_said(q):
    """Where the next quarter heads, against the same budget, and where decisions take it: a sentence, "" without a forecast."""
    if not q.forecast:
        return ""
    period, row = ahead(q)
    against, table = same_budget(q, row["usd"]), decisions(q)
    text = f"{period} heads for about {dollars(row['usd'])}"
    text += f", {against} of {dollars(q.budget_usd)}" if against else ""
    ways = courses(q)
    if table["sure"].sum() > 1:
        first = table[table["sure"]].head(1)
        ways = [(f"{_places(first)} alone", first["usd"].iloc[0], ""), *ways]
    if not ways:
        return f"{text}."
    to = [
        f"{which} to {dollars(max(row['usd'] - saved, 0))}{test and ' '}{test}"
        for which, saved, test in ways
    ]
    to[0] = to[0].replace(" to ", f" bring{_s(ways[0][0])} it to ", 1)
    return f"{text}; {', '.join(to)}."


def decisions_said(q):
    """A line for each decision; why there is none, and which moves wait."""
    lines = [
        f"{row.place}. {row.decision}: {'saves' if row.sure else 'to test; would save'} "
        f"{dollars(row.usd)} a quarter, {row.condition}."
        for row in decisions(q).itertuples()
    ]
    lines = lines or [_savings(q)]
    return [*lines, *filter(None, [held_for_stakes(q)])]


def retiring_said(q):
    """Which models in use retire before the next quarter ends: a sentence each."""
    table = q.retiring
    if len(table):
        end = pd.Period(q.ahead, freq="Q").end_time
        table = table[table["retires_on"].between(q.last_day, end)]
    return [
        f"{row.model_id} retires on {day_said(row.retires_on)} {row.retires_on.year}. It cost "
        f"{dollars(row.spend_usd)} in {q.quarter}; choose its successor and test it before then"
        f"{f' (the lineup has {row.successor}, {dollars(row.successor_usd)} for the same tokens)' * bool(row.successor)}."
        for row in table.itertuples()
    ]


def others_said(q):
    """Why the other proposals are not among the decisions: a sentence, "" where there are none."""
    left = q.savings[~q.savings["status"].isin(HELD)]
    left = left[left["place"] == 0] if len(left) and len(q.decisions) else left.head(0)
    parts = [
        f"{_ACTS[row.kind][0].lower()}{row.what}, {dollars(row.usd)} a quarter, because "
        + (f"decision {row.overlaps} changes that traffic" if row.overlaps else "it saves less")
        for row in left.itertuples()
    ]
    return f"Not among the decisions: {'; '.join(parts)}." if parts else ""


def nothing_found(q):
    """That no saving is large enough to be named, and how large that is."""
    return f"No saving of {dollars(SMALL * q.spend_usd)} a quarter or more was found."


def offered(q):
    """Every proposal, those that are held back last."""
    return q.savings.sort_values(
        "status", key=lambda status: status.isin(HELD), kind="stable", ignore_index=True
    )


def held_for_stakes(q):
    """Which moves wait until somebody says what their tasks are, "" for none; names as the log has them."""
    held = q.savings[q.savings["status"] == UNKNOWN_STAKES]
    if held.empty:
        return ""
    names = [name for name in held["task"].unique() if name not in ("", "(none)")]
    why = "the log does not say for which task each request was made."
    if names:
        why = (
            f"nobody has said what a wrong answer costs in {', '.join(names)}. Say which of the "
            f"kit's tasks each is (--task {names[0]} NAME; `tasks` in the notebook), or give scores "
            "of your own examples."
        )
    moves = f"{_counted(len(held), 'move')} to a cheaper model"
    return f"Not proposed yet: {moves}, worth up to {dollars(held['usd'].sum())} a quarter; {why}"


def gaps(q):
    """Where the log's own money and our price differ, by model over the days on which they do: the largest gap first."""
    sums = {"days": ("day", "nunique")} | {
        name: (name, "sum") for name in ("billed_usd", "priced_usd")
    }
    table = q.gaps.groupby("model_id").agg(**sums).reset_index()
    table["difference_usd"] = table["priced_usd"] - table["billed_usd"]
    return table.sort_values("difference_usd", key=abs, ascending=False, ignore_index=True)


def missing_said(q):
    """What the log could not answer: a question each, and what it needs."""
    return [
        f"{_QUESTIONS[name]} {needs[:1].upper()}{needs[1:]}."
        for name, needs in zip(q.missing, map(_in_words, q.missing.values()), strict=True)
    ]


def _in_words(needs):
    """What a question needs, without the names of parameters and columns."""
    needs = re.sub(r" \(`[^)]*\)", "", needs).replace("a column '", "'").replace("`", "")
    return re.sub(r"'(\w+)'", lambda name: _COLUMNS.get(name[1], name[0]), needs)


def verdict(q):
    """Where the next quarter heads, and what this one cost: sentences."""
    return " ".join(filter(None, [ahead_said(q), past_said(q)]))


def past_said(q):
    """What the quarter cost, against its budget and the quarter before, and the largest causes: a sentence or two."""
    parts = [f"{q.quarter} {spent(q)}"]
    if before := than_before(q):
        that = "what has a price is " * priced_only(q)
        parts.append(f"{that or 'at list prices ' * (not np.isnan(q.effective_usd))}{before}")
    text = f"{'; '.join(parts)}."
    return f"{text} The largest causes: {why(q)}." if why(q) else text


def caveats(q):
    """What stands against comparing the two quarters: days that are not there."""
    text = ""
    if not q.complete:
        text = f" The quarter is not complete: {_counted(len(q.days), 'day')} with usage, the last {q.last_day:%Y-%m-%d}"
        if q.forecast and q.quarter in q.forecast.totals.index:
            whole = q.spend_usd + q.forecast.totals.at[q.quarter, "usd"]
            text += f"; with the forecast of the days ahead it comes to {dollars(whole)}"
        text += "."
    gaps = q.coverage.set_index("what")["count"]
    if gap := int(gaps.get("days of the quarter before without usage", 0)):
        text += f" The log lacks {_counted(gap, 'day')} of the quarter before."
    return text


def headline(quarter: Quarter) -> str:
    """The verdict in plain text: spend, change and causes, and the decisions with their dollars."""
    return "\n".join([verdict(quarter) + caveats(quarter), *decisions_said(quarter)])


def coverage_said(run):
    """On what the report stands: rows priced and set aside, days without usage, and whether the usage is real."""
    q, account = run.quarter, run.cube.account
    aside = account.set_aside[account.set_aside["reason"] != "outside the period"]
    lost = int(aside["rows"].sum())
    read = f"{account.rows_priced + lost:,} rows of usage of this quarter and the one before"
    kind = f"{': '.join(KINDS[run.kind])}. " if run.kind in KINDS else ""
    parts = [f"{kind}Priced: {account.rows_priced:,} of {read}"]
    if lost:
        are, models = "is" if lost == 1 else "are", account.unknown_models.index[:5]
        names = f" (models without a price: {', '.join(models)})"
        parts.append(
            f"{lost:,} could not be priced and {are} in no figure of spend"
            f"{names if len(models) else ''}"
        )
    counts = q.coverage.set_index("what")["count"]
    if gone := int(counts["days of the quarter without usage"]):
        parts.append(f"{gone} days of the quarter have no usage")
    if len(q.gaps):
        billed, priced = (dollars(q.gaps[name].sum()) for name in ("billed_usd", "priced_usd"))
        days = _counted(q.gaps["day"].nunique(), "day")
        parts.append(
            f"the log's own money and our price differ by more than 1% on {days}: billed {billed}, "
            f"priced {priced} ({', '.join(gaps(q)['model_id'][:5])})"
        )
    if len(run.files):
        if unread := int((run.files["problem"] != "").sum()):
            parts.append(f"{unread} of {len(run.files)} files could not be read")
        if bad := int(run.files["set_aside"].sum()):
            parts.append(f"{bad:,} rows of the files were set aside by the reader")
    prices = f"The report stands on {account.price_as_of}; each row has the rates of its own day."
    return f"{'; '.join(parts)}. {prices} The price list: {account.price_source}."


def said(q, *facts):
    """What the report shows, a sentence for each fact whose input is there.

    Parameters
    ----------
    q : Quarter
    facts : str
        Some of `SENTENCES`.
    """
    return " ".join(filter(None, (SENTENCES[fact](q) for fact in facts)))


def _days(q):
    month = q.days.groupby(q.days["day"].dt.to_period("M"))["usd"].mean()
    first, last = (
        f"{dollars(month.iloc[at])} in {month.index[at].strftime('%B')}" for at in (0, -1)
    )
    return f"A day cost {first}{f' and {last}' if len(month) > 1 else ''}."


def _variance(q):
    top = q.variance.loc[q.variance["usd"].abs().idxmax()]
    return (
        f"{NAMES[top['effect']].capitalize()} ({top['what']}) is the largest effect: "
        f"{dollars(top['usd'], signed=True)} of a change of {dollars(q.spend_usd - q.before_usd, signed=True)}."
    )


def _bridge(q):
    """Why the factors have other numbers than the named causes."""
    text = "The factors divide the same change as the named causes in another way"
    for row in causes(q).sort_values("usd", key=abs, ascending=False, kind="stable").itertuples():
        moved = q.variance.loc[q.variance["usd"].nlargest(2).index]
        factors = [f"{NAMES[x.effect]} ({dollars(x.usd, signed=True)})" for x in moved.itertuples()]
        return (
            f"{text}: a cause moves several factors, and a factor holds a part of several causes. "
            f"So the largest cause, {row.cause} ({dollars(row.usd, signed=True)}), has no bar of its "
            f"own here: it is spread over factors, the largest of which are {' and '.join(factors)}."
        )
    return f"{text}."


def _units(q):
    row = q.units.iloc[0]
    each = f"A request costs {dollars(row['usd_per_request'])} on average"
    parts = [each] if pd.notna(row["usd_per_request"]) else []
    if len(q.teams):
        top = q.teams.iloc[0]
        parts.append(f"{top['share']:.0%} of the spend is that of {top['name']}")
    return f"{'; '.join(parts) or 'The log does not count its requests'}."


def _users(q):
    row = q.units.iloc[0]
    if pd.isna(row.get("top_share")):
        return ""
    top, users = f"{row['top_users']:,.0f}", f"{row['active_users']:,.0f}"
    who = f"The {top} most expensive of {users} active users (one in twenty) make"
    who = "The one active user makes" if users == "1" else who
    return f"{who} {row['top_share']:.0%} of the cost."


def _tiers(q):
    now = q.tiers[q.tiers["period"] == q.quarter]
    top = now.loc[now["cost_usd"].idxmax()]
    requests = f"{top['request_share']:.0%} of the requests and "
    return (
        f"The largest part, {top['tier']}, is {requests if pd.notna(top['request_share']) else ''}"
        f"{top['spend_share']:.0%} of the spend, at {dollars(top['usd_per_mtok'])} per million tokens."
    )


def _cache(q):
    if q.cache.empty:
        return ""
    row = q.cache.iloc[-1]
    if not row["hit_rate"] > 0:
        return "Nothing was read from a cache."
    net = row["net_usd"]
    return (
        f"{row['hit_rate']:.0%} of all input was read from a cache. Against no cache at all it "
        f"{f'saved {dollars(net)}' if net >= 0 else f'cost {dollars(-net)} more'}, writes paid."
    )


def _output(q):
    row = q.output.iloc[-1]
    parts = [f"Output is {row['output_usd_share']:.0%} of the spend"]
    if pd.notna(row.get("reasoning_share")):
        parts.append(f"{row['reasoning_share']:.0%} of its tokens are reasoning")
    if pd.notna(row.get("truncated_share")):
        parts.append(f"{row['truncated_share']:.1%} of the answers were cut off")
    return "; ".join(parts) + "."


def _reliability(q):
    failed = q.reliability.loc[q.reliability["failed"], "share"].sum()
    text = f"{failed:.1%} of the requests failed."
    if "retry_usd" not in q.reliability:
        return text
    return (
        f"{text} Second attempts may have cost {dollars(q.reliability['retry_usd'].sum())}, "
        "if all attempts of a request cost the same."
    )


def _forecast(q):
    period, row = q.forecast.totals.index[-1], q.forecast.totals.iloc[-1]
    return (
        f"{period} costs about {dollars(row['usd'])} if nothing changes, with {q.forecast.confidence:.0%} "
        f"between {dollars(row['low'])} and {dollars(row['high'])}{_changes_in_it(q)}."
    )


def _last_forecast(q):
    return " ".join(
        f"{_forecaster(q, last)} {dollars(last.forecast_usd)} ({dollars(last.low)} to "
        f"{dollars(last.high)}); it came to {dollars(last.spend_usd)}, "
        f"{'inside' if last.inside else 'outside'} that band."
        for last in q.forecast_error.itertuples()
    )


def _forecaster(q, last):
    """Who forecast the quarter, up to the verb: the report of the quarter before, or a back-test."""
    if last.source.startswith("back-test"):
        alone = last.source.removeprefix("back-test ")
        return f"A forecast of {q.quarter} made in the same way {alone} would have been"
    return f"The forecast of {q.quarter} ({last.source}) was"


def miss_said(q):
    """How far off the last forecast or a back-test was, and what that means for this one: a sentence or two."""
    for last in q.forecast_error.itertuples():
        side = "low" if last.error < 0 else "high"
        _, row = ahead(q)
        again = f"; {dollars(row['usd'] / (1 + last.error))} if this one is as far off"
        return (
            f"{_forecaster(q, last)} {abs(last.error):.0%} too {side}{again * (last.error > -1)}."
        )
    return "How far off this method was last time is not known."


def _changes_in_it(q):
    """The scheduled price changes that the forecast contains, with their dates."""
    changes = q.price_changes[q.price_changes["scheduled"] & q.price_changes["effect_usd"].notna()]
    changes = changes[changes["on"] <= q.forecast.days["day"].iloc[-1]]
    names = [f"{row.model_id} from {row.on:%Y-%m-%d}" for row in changes.itertuples()]
    return f", with the price changes scheduled for {', '.join(names)}" if names else ""


def arrived(table):
    """Whether earlier decisions arrived, in plain text: a line each, with its dollars where there are any."""
    return "\n".join(_arrived(row) for row in table.itertuples()) or "No decision to hold."


def _arrived(row):
    text = f"{row.source}: {row.what}: {row.outcome}, {row.why}"
    if pd.notna(row.saved_usd):
        text += f"; saved {dollars(row.saved_usd)} so far (95%: {dollars(row.low)} to {dollars(row.high)})"
    if row.also_moved:
        text += f"; what else moved this spend: {row.also_moved}"
    return f"{text}."


def _savings(q):
    if q.savings.empty:
        return nothing_found(q)
    if q.decisions.empty:
        return "No saving can be decided on these numbers alone."
    parts = [
        f"{which} save{_s(which)} about {dollars(saved)} a quarter{test and ' '}{test}"
        for which, saved, test in courses(q)
    ]
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def _held(q):
    count = len(q.savings)
    parts = [
        "One proposal." if count == 1 else f"{count} proposals, which overlap and do not add up."
    ]
    held = q.savings["status"][q.savings["status"].isin(HELD)].value_counts()
    if len(held):
        reasons = [
            f"{number} ({STATUSES.get(status, 'a test found the model worse')})"
            for status, number in held.items()
        ]
        parts.append(f"Held back: {', '.join(reasons)}.")
    return " ".join(parts)


SENTENCES = {
    "days": _days,
    "variance": _variance,
    "bridge": _bridge,
    "units": _units,
    "users": _users,
    "tiers": _tiers,
    "cache": _cache,
    "output": _output,
    "reliability": _reliability,
    "forecast": _forecast,
    "last forecast": _last_forecast,
    "savings": _savings,
    "held back": _held,
}
