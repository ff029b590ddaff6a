"""The sentences of the quarterly report: one function for each fact, which page, message and summary share.

The sentences are plain text. Names in them come from logs, so whoever shows a sentence escapes it.
"""

import re

import numpy as np
import pandas as pd

from tierlab.core.format import counted, dollars
from tierlab.core.vocabulary import TIERS
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

_NEW = 0.1  # a team is new if it used to spend less than this share of what it spends a day now
_SMALL = 0.01  # share of the quarter's spend; a smaller cause is part of the rest
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
_QUESTIONS = {  # section -> the question that it answers
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
KINDS = {  # usage that is not the reader's own -> its name, and what it is
    "simulated": (
        "Simulated usage",
        "two synthetic quarters with planted events; no figure here says anything about the world",
    ),
    "trace": (
        "Not your usage",
        "the requests are a public recorded trace with an assumed clock and assumed models",
    ),
}
_COLUMNS = {  # column of a log -> what it says, in words
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


def _listed(q):
    """Return " at list prices" under a contract, to follow dollars that are not the contract's; else ""."""
    return " at list prices" * q.under_contract


def budget_said(q):
    """Compare the quarter with its budget in part of a sentence; return "" without a budget.

    While something has no price, the quarter is never said to be under the budget.
    """
    over, budget = q.over_budget_usd, f"the budget of {dollars(q.budget_usd)}"
    if np.isnan(over):
        return ""
    if over <= 0 and q.priced_only:
        return f"whether that keeps to {budget} is open until everything has a price"
    if over == 0:
        return f"exactly {budget}"
    side = "over" if over > 0 else "under"
    return f"{dollars(abs(over))} ({abs(over) / q.budget_usd:.0%}) {side} {budget}"


def unpriced_said(q):
    """Say what has no price in part of a sentence; return "" where everything has one."""
    if q.unpriced_usd > 0:
        return f"{dollars(q.unpriced_usd)} of the bill without a price"
    return f"not counting {counted(q.unpriced_rows, 'row')} without a price" * q.priced_only


def _spent(q):
    day = "" if q.last_day >= q.end else f" up to {q.last_day:%Y-%m-%d}"
    text = f"cost {'at least ' * q.priced_only}{dollars(q.paid_usd)}{day}"
    if q.under_contract:
        text += f" under the contract ({dollars(q.spend_usd)} at list, {dollars(q.contracted_usd)} contracted)"
    if q.unpriced_usd > 0:
        text += f" ({dollars(q.paid_usd - q.unpriced_usd)} priced, and {unpriced_said(q)})"
    elif q.priced_only:
        text += f" ({unpriced_said(q)})"
    budget = budget_said(q)
    return f"{text}{'; ' if budget.startswith('whether') else ', ' if budget else ''}{budget}"


def _than_before(q):
    if not q.before_usd > 0:
        return ""
    gap, more = abs(q.spend_usd - q.before_usd), q.spend_usd > q.before_usd
    if dollars(gap) == dollars(0):
        return "as much as the quarter before"
    side = "more" if more else "less"
    return f"{dollars(gap)} ({gap / q.before_usd:.0%}) {side} than the quarter before"


def causes(q: Quarter) -> pd.DataFrame:
    """Name what moved spend from the quarter before to this one, each cause once.

    Returns
    -------
    DataFrame
        cause (in words), usd, over ("total", "team", "model", "cache", "price", "contract"), name and start ("" and NaT
        unless it is an event), the largest increase first. Under a contract usd is at its rates, and a change of the
        rates or of what stays unused is a cause as well.
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
    has = "has " * bool(event.lasts)
    if event.over == "cache":
        # The cache is the task's; it is named after the model where the task is not known.
        own = q.savings[(q.savings["kind"] == "cache") & (q.savings["model_id"] == event.name)]
        whose = (task_said(own["task"].iloc[0]) if len(own) else "") or event.name
        now = f"{has}served {'more' if event.direction == 'above' else 'less'} of the input"
        if event.seen < 0.01:
            now = "has not worked" if event.lasts else "did not work"
        return f"the prompt cache of {whose} {now} {_when(event)}"
    who = "the total" if event.over == "total" else event.name
    if event.usual < _NEW * event.seen and event.over == "team":
        same = q.events[(q.events["over"] == "model") & (q.events["start"] == event.start)]
        verb = f"called {same['name'].iloc[0]}" if len(same) else "spent"
        return f"{who} {has}{verb} {_when(event)}"
    more = "more" if event.excess_usd > 0 else "less"
    return f"{who} spent {more} {_when(event)}"


def _when(event):
    if event.lasts:
        return f"since {day_said(event.start)}"
    if event.days == 1:
        return f"on {day_said(event.start)}"
    return f"from {day_said(event.start)} to {day_said(event.end)}"


def why(q):
    """Name the two largest causes with their dollars; return "" where no cause is large."""
    named = causes(q).sort_values("usd", key=abs, ascending=False, kind="stable").head(2)
    told = [f"{row.cause} ({dollars(row.usd, signed=True)})" for row in named.itertuples()]
    return "; ".join(told)


def decisions(q):
    """Return the decisions in words, for whoever signs them.

    Returns
    -------
    DataFrame
        place, decision, usd, spend_usd, spend_share, first (step), sure (whether no test is needed any more), condition
        (under which it saves that, part of a sentence), delay_usd (what a week's delay costs).
    """
    rows, ahead = list(q.decisions.itertuples()), pd.Period(q.ahead, freq="Q")
    said = [
        f"{_ACTS[row.kind][0]}{row.what}{f' ({row.scheduled})' * bool(row.scheduled)}"
        for row in rows
    ]
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
    """Name decisions by their places: "decision 1", "decisions 1 and 2"; "all three decisions" if that is `every` one."""
    places = [str(place) for place in table["place"]]
    if 1 < len(places) == every:
        return f"{'both' if every == 2 else 'all three'} decisions"
    return f"decision{'s' * (len(places) > 1)} {' and '.join(places)}"


def _s(which):
    return "s" * which.startswith("decision ")  # the ending of the verb that follows


def courses(q):
    """Return what can be decided for the next quarter: the decisions that need no test, then all of them.

    Returns
    -------
    list of (str, float, str)
        Which decisions, what they save together (US dollars), and the condition ("" for none).
    """
    table = decisions(q)
    sure, open_ = table[table["sure"]], table[~table["sure"]]
    found = [(_places(sure, len(table)), q.sure_usd, "")] if len(sure) else []
    if len(open_):
        test = "its test" if len(table) == 1 else f"the test of {_places(open_)}"
        found.append((_places(table, len(table)), q.saved_usd, f"if {test} succeeds"))
    return found


def ahead(q):
    """Return the last whole quarter of the forecast, and its usd, low and high: effective cost under a contract."""
    totals = q.forecast.totals
    kind = "effective_" if "effective_usd" in totals else ""
    row = totals.iloc[-1].reindex([f"{kind}{end}" for end in ("usd", "low", "high")])
    return totals.index[-1], row.set_axis(["usd", "low", "high"])


def same_budget(q, value):
    """Compare a cost of the next quarter with the budget of this one; return "" where that cannot be said."""
    over = value - q.budget_usd
    if np.isnan(over) or (over <= 0 and q.priced_only):
        return ""
    return f"{dollars(abs(over))} {'over' if over > 0 else 'under'} the same budget"


def ahead_said(q):
    """Say where the next quarter heads, and where decisions would take it; return "" without a forecast."""
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
    """Return a line for each decision, or why there is none; then which moves wait."""
    lines = [
        f"{row.place}. {row.decision}: {'saves' if row.sure else 'to test; would save'} "
        f"{dollars(row.usd)} a quarter, {row.condition}."
        for row in decisions(q).itertuples()
    ]
    lines = lines or [_savings(q)]
    return [*lines, *filter(None, [held_for_stakes(q)])]


def retiring_said(q):
    """Return a sentence for each model in use that retires before the next quarter ends."""
    end, found = pd.Period(q.ahead, freq="Q").end_time, []
    for row in q.retiring.itertuples():
        if not q.last_day <= row.retires_on <= end:
            continue
        text = (
            f"{row.model_id} retires on {day_said(row.retires_on)} {row.retires_on.year}. It cost "
            f"{dollars(row.spend_usd)}{_listed(q)} in {q.quarter}; choose its successor and test it before then"
        )
        if row.successor:
            text += f" (the lineup has {row.successor}, {dollars(row.successor_usd)} for the same tokens)"
        found.append(f"{text}.")
    return found


def others_said(q):
    """Say why the other proposals are not among the decisions; return "" where there are none."""
    left = q.savings[~q.savings["status"].isin(HELD)]
    left = left[left["place"] == 0] if len(left) and len(q.decisions) else left.head(0)
    parts = [
        f"{_ACTS[row.kind][0].lower()}{row.what}, {dollars(row.usd)} a quarter, because "
        + (f"decision {row.overlaps} changes that traffic" if row.overlaps else "it saves less")
        for row in left.itertuples()
    ]
    return f"Not among the decisions: {'; '.join(parts)}." if parts else ""


def nothing_found(q):
    """Say that no saving is large enough to be named, and from which size on it would be."""
    return f"No saving of {dollars(SMALL * q.spend_usd)} a quarter or more was found."


def offered(q):
    """Return every proposal; those that are held back come last."""
    return q.savings.sort_values(
        "status", key=lambda status: status.isin(HELD), kind="stable", ignore_index=True
    )


def held_for_stakes(q):
    """Say which moves wait until somebody says what a wrong answer costs; return "" for none."""
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
    moves = f"{counted(len(held), 'move')} to a cheaper model"
    return f"Not proposed yet: {moves}, worth up to {dollars(held['usd'].sum())} a quarter; {why}"


def gaps(q):
    """Sum up by model the days on which the log's own money and our price differ, the largest gap first."""
    table = q.gaps.groupby("model_id", as_index=False).agg(
        days=("day", "nunique"), billed_usd=("billed_usd", "sum"), priced_usd=("priced_usd", "sum")
    )
    table["difference_usd"] = table["priced_usd"] - table["billed_usd"]
    return table.sort_values("difference_usd", key=abs, ascending=False, ignore_index=True)


def missing_said(q):
    """Return a line for each question that the log could not answer, with what it needs."""
    return [
        f"{_QUESTIONS[name]} {needs[:1].upper()}{needs[1:]}."
        for name, needs in zip(q.missing, map(_in_words, q.missing.values()), strict=True)
    ]


def _in_words(needs):
    """Say what a question needs without the names of parameters and columns."""
    needs = re.sub(r" \(`[^)]*\)", "", needs).replace("a column '", "'").replace("`", "")
    return re.sub(r"'(\w+)'", lambda name: _COLUMNS.get(name[1], name[0]), needs)


def past_said(q):
    """Say what the quarter cost, compare it with its budget and the quarter before, and name the largest causes."""
    parts = [f"{q.quarter} {_spent(q)}"]
    if before := _than_before(q):
        that = "what has a price is " * q.priced_only
        parts.append(f"{that or 'at list prices ' * q.under_contract}{before}")
    text = f"{'; '.join(parts)}."
    return f"{text} The largest causes: {why(q)}." if why(q) else text


def caveats(q):
    """Name the days that are missing, which stand against comparing the two quarters."""
    text = ""
    if not q.complete:
        text = f" The quarter is not complete: {counted(len(q.days), 'day')} with usage, the last {q.last_day:%Y-%m-%d}"
        if q.forecast and q.quarter in q.forecast.totals.index:
            whole = q.spend_usd + q.forecast.totals.at[q.quarter, "usd"]
            text += f"; with the forecast of the days ahead it comes to {dollars(whole)}"
        text += "."
    gaps = q.coverage.set_index("what")["count"]
    if gap := int(gaps.get("days of the quarter before without usage", 0)):
        text += f" The log lacks {counted(gap, 'day')} of the quarter before."
    return text


def headline(quarter: Quarter) -> str:
    """Return the verdict as plain text: where spend heads, what it was and why, and a line for each decision."""
    said = " ".join(filter(None, [ahead_said(quarter), past_said(quarter)]))
    return "\n".join([said + caveats(quarter), *decisions_said(quarter)])


def coverage_said(run):
    """Say what the report is based on: rows priced and set aside, days without usage, and whether the usage is real."""
    q, account = run.quarter, run.cube.account
    aside = account.set_aside[account.set_aside["reason"] != "outside the period"]
    lost = int(aside["rows"].sum())
    read = (
        f"{counted(account.rows_priced + lost, 'row')} of usage of this quarter and the one before"
    )
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
        parts.append(f"no usage on {counted(gone, 'day')} of the quarter")
    if len(q.gaps):
        billed, priced = (dollars(q.gaps[name].sum()) for name in ("billed_usd", "priced_usd"))
        days = counted(q.gaps["day"].nunique(), "day")
        parts.append(
            f"the log's own money and our price differ by more than 1% on {days}: billed {billed}, "
            f"priced {priced} ({', '.join(gaps(q)['model_id'][:5])})"
        )
    if len(run.files):
        if unread := int((run.files["problem"] != "").sum()):
            parts.append(f"{unread} of {counted(len(run.files), 'file')} could not be read")
        if bad := int(run.files["set_aside"].sum()):
            parts.append(f"set aside by the reader: {counted(bad, 'row')} of the files")
    prices = f"The report uses the prices known on {account.price_as_of}; each row is priced at the rates of its own day."
    return f"{'; '.join(parts)}. {prices} The price list: {account.price_source}."


def said(q, *facts):
    """Return a sentence for each fact whose input is there.

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
    return f"A day cost {first}{f' and {last}' if len(month) > 1 else ''}{_listed(q)}."


def _variance(q):
    top = q.variance.loc[q.variance["usd"].abs().idxmax()]
    return (
        f"{NAMES[top['effect']].capitalize()} ({top['what']}) is the largest effect: "
        f"{dollars(top['usd'], signed=True)} of a change of {dollars(q.spend_usd - q.before_usd, signed=True)}."
    )


def _bridge(q):
    """Say why the factors have other numbers than the named causes."""
    text, named = "The factors divide the same change as the named causes in another way", causes(q)
    if named.empty:
        return f"{text}."
    top, moved = named.loc[named["usd"].abs().idxmax()], q.variance.nlargest(2, "usd")
    factors = [f"{NAMES[x.effect]} ({dollars(x.usd, signed=True)})" for x in moved.itertuples()]
    return (
        f"{text}: a cause moves several factors, and a factor holds a part of several causes. "
        f"So the largest cause, {top['cause']} ({dollars(top['usd'], signed=True)}), has no bar of its "
        f"own here: it is spread over factors, the largest of which are {' and '.join(factors)}."
    )


def _units(q):
    row = q.units.iloc[0]
    each = f"A request costs {dollars(row['usd_per_request'])} on average{_listed(q)}"
    parts = [each] if pd.notna(row["usd_per_request"]) else []
    if len(q.teams):
        top = q.teams.iloc[0]
        parts.append(f"{top['name']} accounts for {top['share']:.0%} of the spend")
    return f"{'; '.join(parts) or 'The log does not count its requests'}."


def _users(q):
    row = q.units.iloc[0]
    if pd.isna(row.get("top_share")):
        return ""
    top, users = f"{row['top_users']:,.0f}", f"{row['active_users']:,.0f}"
    who = f"The {top} most expensive of {users} active users (one in twenty) make"
    if users == "1":
        who = "The one active user makes"
    return f"{who} {row['top_share']:.0%} of the cost."


def _tiers(q):
    now = q.tiers[q.tiers["period"] == q.quarter]
    top = now.loc[now["cost_usd"].idxmax()]
    requests = f"{top['request_share']:.0%} of the requests and "
    tier = f"the {top['tier']} tier" if top["tier"] in TIERS else top["tier"]
    return (
        f"The largest part is {tier}: {requests if pd.notna(top['request_share']) else ''}"
        f"{top['spend_share']:.0%} of the spend, at {dollars(top['usd_per_mtok'])} per million tokens{_listed(q)}."
    )


def _cache(q):
    if q.cache.empty:
        return ""
    row = q.cache.iloc[-1]
    if not row["hit_rate"] > 0:
        return "Nothing was read from a cache."
    net = row["net_usd"]
    saved = f"saved {dollars(net)}" if net >= 0 else f"cost {dollars(-net)} more"
    return (
        f"{row['hit_rate']:.0%} of all input was read from a cache. Against no cache at all it "
        f"{saved}{_listed(q)}, writes paid."
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
    retries = dollars(q.reliability["retry_usd"].sum())
    return (
        f"{text} Second attempts may have cost {retries}{_listed(q)}, "
        "if all attempts of a request cost the same."
    )


def _forecast(q):
    period, row = q.forecast.totals.index[-1], q.forecast.totals.iloc[-1]
    return (
        f"{period} costs about {dollars(row['usd'])}{_listed(q)} if nothing changes, with {q.forecast.confidence:.0%} "
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
    """Name the report or the back-test that forecast the quarter, and add the verb."""
    if last.source.startswith("back-test"):
        alone = last.source.removeprefix("back-test ")
        return f"A forecast of {q.quarter} made in the same way {alone} would have been"
    return f"The forecast of {q.quarter} ({last.source}) was"


def miss_said(q):
    """Say how far off the last forecast or a back-test was, and what this one comes to if it is as far off."""
    if q.forecast_error.empty:
        return "How far off this method was last time is not known."
    last, (_, row) = next(q.forecast_error.itertuples()), ahead(q)
    text = f"{_forecaster(q, last)} {abs(last.error):.0%} too {'low' if last.error < 0 else 'high'}"
    if last.error > -1:
        text += f"; {dollars(row['usd'] / (1 + last.error))} if this one is as far off"
    return f"{text}."


def _changes_in_it(q):
    changes = q.price_changes[q.price_changes["scheduled"] & q.price_changes["effect_usd"].notna()]
    changes = changes[changes["on"] <= q.forecast.days["day"].iloc[-1]]
    names = [f"{row.model_id} from {row.on:%Y-%m-%d}" for row in changes.itertuples()]
    return f", with the price changes scheduled for {', '.join(names)}" if names else ""


def arrived(table):
    """Say of each earlier decision whether it arrived: a line each, with its dollars where there are any."""
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
    text = "; ".join(
        f"{which} save{_s(which)} about {dollars(saved)} a quarter{test and ' '}{test}"
        for which, saved, test in courses(q)
    )
    return f"{text[:1].upper()}{text[1:]}."


def _held(q):
    count = len(q.savings)
    text = "One proposal." if count == 1 else f"{count} proposals, which overlap and do not add up."
    held = q.savings["status"][q.savings["status"].isin(HELD)].value_counts()
    if len(held):
        reasons = [
            f"{number} ({STATUSES.get(status, 'a test found the model worse')})"
            for status, number in held.items()
        ]
        text += f" Held back: {', '.join(reasons)}."
    return text


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
