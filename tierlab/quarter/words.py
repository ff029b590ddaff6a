"""The sentences and tables of the quarterly report. Names come from logs: whatever they hold, they are shown as text."""

import json
import re
from operator import attrgetter

import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from tierlab.core.format import change, number, share, usd
from tierlab.core.untrusted import in_html, in_markdown
from tierlab.quarter.analyse import Quarter
from tierlab.quarter.savings import HELD, SMALL, UNKNOWN_STAKES
from tierlab.quarter.variance import NAMES, causes

SCHEMA = "tierlab.quarter/2"
SCHEMAS = ("tierlab.quarter/1", SCHEMA)  # of summaries of the quarter before that are read
_ACTS = {  # kind of a decision -> its verb, and the first step
    "stop": ("Stop ", "ask the owner of the key whether anybody needs it"),
    "cache": ("", "send the same prompt in the same order again; the answers stay as they are"),
    "move": ("Move ", "test on your own examples that the cheaper model is good enough"),
    "replace": ("Replace ", "test on your own examples that the newer model is good enough"),
    "batch": ("Send ", "ask who reads the answers whether they may wait a day"),
    "errors": ("Avoid ", "look at the reasons, status by status"),
}
_QUESTIONS = {  # section -> what it would answer
    "budget": "Was it within the budget?",
    "variance": "Why did spend change?",
    "changes": "Who spends more than before?",
    "quality": "Were the answers good enough?",
    "events": "Which days stand out?",
    "forecast": "What will the next quarter cost?",
    "forecast_error": "How far off was the last forecast?",
    "reconciliation": "Does it match the bill?",
    "arrival": "Did the earlier decisions arrive?",
}
_HELD = {
    "worse": "of a model that a test found worse",
    "against the task table": "against the task table",
    UNKNOWN_STAKES: "of a task for which nobody has said what a wrong answer costs",
}
_OURS = NAMES | {"model_id": "model", "ttft_s": "first token", "end_to_end_s": "whole answer"}
_KINDS = {
    "simulated": "**Simulated usage**: two synthetic quarters with planted events; no figure here says anything about the world.",
    "trace": "**Not your usage**: the requests are a public recorded trace with an assumed clock and assumed models.",
    "log": "",
}


def say(text):
    """A Markdown paragraph in which a dollar sign is a dollar sign; names in it come through `in_markdown`."""
    return Markdown(re.sub(r"(?<!\\)\$", r"\\$", text))


def _word(value):
    """One of our own names in words."""
    return _OURS.get(value, value.replace("_", " "))


def _yes(value):
    return "yes" if value else "no"


def _day(value):
    return f"{value:%Y-%m-%d}"


_PAID = (("contracted_usd", "contracted", usd), ("effective_usd", "effective", usd))
_UNITS = (
    ("name", "name", str),
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
    "decisions": (
        ("place", "no", number),
        ("decision", "decision", str),
        ("usd", "saves per quarter", usd),
        ("spend_usd", "cost this quarter", usd),
        ("spend_share", "share of the spend", share),
        ("first", "first step", str),
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
        ("lasts", "lasts", _yes),
    ),
    "variance": (
        ("effect", "effect", _word),
        ("what", "what it is", str),
        ("usd", "USD", usd),
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
    ),
    "output": (
        ("model_id", "model", str),
        ("output_tokens", "output tokens", number),
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
        ("prompts", "examples", number),
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
        ("kind", "kind", str),
        ("what", "what", str),
        ("usd", "saves per quarter", usd),
        ("spend_usd", "cost this quarter", usd),
        ("spend_share", "share of the spend", share),
        ("status", "status", str),
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


def table(q, name, frame=None):
    """Show a table of the report, money and shares in words a reader knows; or say what it needs.

    Parameters
    ----------
    q : Quarter
    name : str
        A table of `Quarter`, "forecast" or "files".
    frame : DataFrame, optional
        What is shown of it; by default all. Columns that hold nothing but "" are left out.
    """
    frame = _FRAMES.get(name, attrgetter(name))(q) if frame is None else frame
    if frame.empty:
        return absent(q.missing.get(name, ""))
    columns = {}
    for column, heading, form in _TABLES[name]:
        if column in frame and not frame[column].astype(object).eq("").all():
            columns[heading] = ["-" if pd.isna(x) else form(x) for x in frame[column]]
    shown = pd.DataFrame(columns)
    with pd.option_context("display.max_colwidth", None):  # nothing is cut off
        page = shown.map(in_html).to_html(index=False, border=0, escape=False)
    page = " ".join(page.split())
    return display({"text/html": page, "text/plain": shown.to_string(index=False)}, raw=True)


def absent(needs):
    """Say what a section needs that is not there."""
    words = f"Not in this report: {needs}.".replace("`", "") if needs else "None."
    note = f'<p class="note">{in_html(words)}</p>'
    display({"text/html": note, "text/plain": words}, raw=True)


def arrival_shown(q):
    """Whether the decisions of the last report and of filed records arrived; nothing where none were given."""
    if len(q.arrival):
        display(say("### Did the earlier decisions arrive?"))
        table(q, "arrival")


def unanswered(q):
    """Show what the log could not answer, and what each question needs: one list."""
    lines = [
        f"{_QUESTIONS.get(name, _word(name).capitalize())}: {needs}".replace("`", "")
        for name, needs in q.missing.items()
    ]
    if not lines:
        return absent("")
    page = "".join(f"<li>{in_html(line)}</li>" for line in lines)
    return display({"text/html": f"<ul>{page}</ul>", "text/plain": "\n".join(lines)}, raw=True)


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


def decisions(q):
    """The decisions as a table for a reader who signs: place, decision, usd, spend_usd, spend_share, first."""
    table, acts = q.decisions, q.decisions["kind"].map(_ACTS)
    said = acts.str[0] + table["what"] + [_dated(row) for row in table.itertuples()]
    said = said.str[:1].str.upper() + said.str[1:]
    table = table.assign(place=range(1, len(table) + 1), decision=said, first=acts.str[1])
    return table[["place", "decision", "usd", "spend_usd", "spend_share", "first"]]


def _dated(row):
    return f" ({row.scheduled})" if row.scheduled else ""


def events(q):
    """The events with the usual and the seen day in their own unit: dollars, or a share of the input."""
    units = [(lambda x: f"{x:.0%}") if over == "cache" else usd for over in q.events["over"]]
    shown = {
        name: [form(x) for form, x in zip(units, q.events[name], strict=True)]
        for name in ("usual", "seen")
    }
    return q.events.assign(**shown)


def gaps(q):
    """Where the log's own money and our price differ, by model over the days on which they do: the largest gap first."""
    sums = {"days": ("day", "nunique")} | {
        name: (name, "sum") for name in ("billed_usd", "priced_usd")
    }
    table = q.gaps.groupby("model_id").agg(**sums).reset_index()
    table["difference_usd"] = table["priced_usd"] - table["billed_usd"]
    return table.sort_values("difference_usd", key=abs, ascending=False, ignore_index=True)


_FRAMES = {  # what is shown of a table, where that is not all of it as it is
    "spend": compared,
    "decisions": decisions,
    "events": events,
    "gaps": gaps,
    "changes": lambda q: (
        q.changes.groupby("by", sort=False).head(5) if len(q.changes) else q.changes
    ),
    "forecast": lambda q: q.forecast.totals.reset_index() if q.forecast else pd.DataFrame(),
}


def verdict(prepared):
    """What the quarter cost against budget and the quarter before, why, and what comes next: a few sentences."""
    q = prepared.quarter
    parts = [f"**{q.quarter} {spent(q)}.**"]
    if before := than_before(q):
        that = "What has a price" if priced_only(q) else "That"
        that = "At list prices that" if len(q.invoice) else that
        parts.append(f"{that} is {before}.")
    parts += _causes(q)
    if q.forecast:
        period, ahead = q.forecast.totals.index[-1], q.forecast.totals.iloc[-1]
        band = f"{q.forecast.confidence:.0%} band: {usd(ahead['low'])} to {usd(ahead['high'])}"
        parts.append(
            f"If nothing is done, {period} costs about {usd(ahead['usd'])} ({band})"
            f"{_changes_in_it(q)}."
        )
    return say(" ".join(parts) + "\n\n" + coverage_said(prepared))


def _causes(q):
    """Which effects moved spend, and who spends more or less than before: a sentence each, if there is any."""
    if q.variance.empty:
        return []
    least, words = 0.01 * q.before_usd, []
    if effects := causes(q.variance, least):
        words.append(f"By cause: {', '.join(effects)}.")
    by = q.changes["by"].iloc[0]
    own = q.changes[(q.changes["by"] == by) & (q.changes["change_usd"].abs() >= least)].head(3)
    names = [f"{in_markdown(row.name)} {change(row.change_usd)}" for row in own.itertuples(False)]
    if names:
        words.append(f"By {by.removesuffix('_id')}, the largest changes: {', '.join(names)}.")
    return words


def coverage_said(prepared):
    """On what the report stands: rows priced and set aside, days without usage, and whether the usage is real."""
    q, account = prepared.quarter, prepared.cube.account
    counts = q.coverage.set_index("what")["count"]
    aside = account.set_aside[account.set_aside["reason"] != "outside the period"]
    lost = int(aside["rows"].sum())
    read = f"{account.rows_priced + lost:,} rows of usage of this quarter and the one before"
    parts = [f"{_KINDS[prepared.kind]} Priced: {account.rows_priced:,} of {read}"]
    if lost:
        are, models = "is" if lost == 1 else "are", account.unknown_models.index[:5]
        names = f" (models without a price: {', '.join(map(in_markdown, models))})"
        parts.append(
            f"**{lost:,} could not be priced and {are} in no figure of spend**"
            f"{names if len(models) else ''}"
        )
    if gone := int(counts["days of the quarter without usage"]):
        parts.append(f"{gone} days of the quarter have no usage")
    if len(q.gaps):
        billed, priced = (usd(q.gaps[name].sum()) for name in ("billed_usd", "priced_usd"))
        models = ", ".join(map(in_markdown, gaps(q)["model_id"][:5]))
        days = _counted(q.gaps["day"].nunique(), "day")
        parts.append(
            f"**the log's own money and our price differ by more than 1% on {days}: billed {billed}, "
            f"priced {priced}** ({models})"
        )
    if prepared.read is not None:
        files = prepared.read.files
        if unread := int((files["problem"] != "").sum()):
            parts.append(f"{unread} of {len(files)} files could not be read")
        if bad := int(files["set_aside"].sum()):
            parts.append(f"{bad:,} rows of the files were set aside by the reader")
    return f"{'; '.join(parts)}. Prices: {in_markdown(account.price_source)}.".strip()


def decisions_said(q):
    """What the decisions come to together."""
    waiting = held_for_stakes(q, in_markdown)
    if q.savings.empty:
        return say(nothing_found(q))
    if q.decisions.empty:
        return say(f"No saving can be decided on these numbers alone. {waiting}".strip())
    words = ("It saves", "Together the two save", "Together the three save")[len(q.decisions) - 1]
    return say(
        f"{words} about **{usd(q.decisions['usd'].sum())} a quarter**, at the rates scheduled for "
        f"{q.ahead} and, for what began within this quarter, at the pace of its last days. No two "
        f"concern the same tokens; what each assumes is in the section on savings. {waiting}".strip()
    )


def said(q, section):
    """What a section shows, in a sentence or two; nothing where its input is missing.

    Parameters
    ----------
    q : Quarter
    section : str
        One of `SENTENCES`.
    """
    if section in q.missing and (section != "events" or q.events.empty):
        return None
    return say(f"**What this shows.** {SENTENCES[section](q)}")


def _variance(q):
    top = q.variance.loc[q.variance["usd"].abs().idxmax()]
    return (
        f"The effects add up to the change of {usd(q.spend_usd - q.before_usd)}. "
        f"The largest is {_word(top['effect'])} ({top['what']}): {usd(top['usd'])}."
    )


def _units(q):
    row, parts = q.units.iloc[0], []
    if pd.notna(row["usd_per_request"]):
        parts.append(f"A request costs {usd(row['usd_per_request'])} on average.")
    if pd.notna(row.get("top_share")):
        top, users = f"{row['top_users']:,.0f}", f"{row['active_users']:,.0f}"
        who = f"The {top} most expensive of {users} active users (one in twenty) make"
        who = "The one active user makes" if users == "1" else who
        parts.append(f"{who} {row['top_share']:.0%} of the cost.")
    return " ".join(parts)


def _tiers(q):
    now = q.tiers[q.tiers["period"] == q.quarter]
    top = now.loc[now["cost_usd"].idxmax()]
    requests = f"{top['request_share']:.0%} of the requests and "
    return (
        f"The largest part, {top['tier']}, is {requests if pd.notna(top['request_share']) else ''}"
        f"{top['spend_share']:.0%} of the spend, at {usd(top['usd_per_mtok'])} per million tokens."
    )


def _cache(q):
    row = q.cache.iloc[-1]
    if not row["hit_rate"] > 0:
        return "Nothing was read from a cache."
    net = row["net_usd"]
    return (
        f"{row['hit_rate']:.0%} of all input was read from a cache. Against no cache at all it "
        f"{f'saved {usd(net)}' if net >= 0 else f'cost {usd(-net)} more'}, writes paid."
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
    text = (
        f"{q.reliability.loc[q.reliability['failed'], 'share'].sum():.1%} of the requests failed."
    )
    if "retry_usd" not in q.reliability:
        return text
    return (
        f"{text} Second attempts may have cost {usd(q.reliability['retry_usd'].sum())}, "
        "if all attempts of a request cost the same."
    )


def _events(q):
    if q.events.empty:
        return "No day stands out from the four weeks before it."
    own = q.events[q.events["over"].isin(["team", "cache"])]
    own = own.drop_duplicates(["over", "start"]).head(4) if len(own) else q.events.head(1)
    return " ".join(_event(row) for row in own.itertuples(index=False))


def _event(row):
    days = f"from {row.start:%Y-%m-%d} to {row.end:%Y-%m-%d}"
    when = f"on {row.start:%Y-%m-%d}" if row.days == 1 else days
    when += ", the last day" if row.lasts else ""
    if row.over == "cache":
        way = "fell" if row.direction == "below" else "rose"
        return (
            f"The cache hit rate of {in_markdown(row.name)} {way} from {row.usual:.0%} to "
            f"{row.seen:.0%} {when}, which cost {usd(row.excess_usd)}."
        )
    who = "The total" if row.over == "total" else f"{row.over.capitalize()} {in_markdown(row.name)}"
    more = "more" if row.excess_usd > 0 else "less"
    return f"{who} spent {usd(abs(row.excess_usd))} {more} than expected {when}."


def _forecast(q):
    period, row = q.forecast.totals.index[-1], q.forecast.totals.iloc[-1]
    text = (
        f"{period}: about {usd(row['usd'])}, with {q.forecast.confidence:.0%} between "
        f"{usd(row['low'])} and {usd(row['high'])}{_changes_in_it(q)}."
    )
    for last in q.forecast_error.itertuples():
        text += (
            f" The forecast for {q.quarter} was {usd(last.forecast_usd)} ({usd(last.low)} to "
            f"{usd(last.high)}; {in_markdown(last.source)}); it came to {usd(last.spend_usd)}, "
            f"{'inside' if last.inside else 'outside'} that band."
        )
    return text


def _changes_in_it(q):
    """The scheduled price changes that the forecast contains, with their dates."""
    changes = q.price_changes[q.price_changes["scheduled"] & q.price_changes["effect_usd"].notna()]
    changes = changes[changes["on"] <= q.forecast.days["day"].iloc[-1]]
    names = [f"{in_markdown(row.model_id)} from {row.on:%Y-%m-%d}" for row in changes.itertuples()]
    return f", with the price changes scheduled for {', '.join(names)}" if names else ""


def arrived(table):
    """Whether earlier decisions arrived, in plain text: a line each, with its dollars where there are any."""
    return "\n".join(_arrived(row) for row in table.itertuples()) or "No decision to hold."


def _arrived(row):
    text = f"{row.source}: {row.what}: {row.outcome}, {row.why}"
    if pd.notna(row.saved_usd):
        text += f"; saved {usd(row.saved_usd)} so far (95%: {usd(row.low)} to {usd(row.high)})"
    if row.also_moved:
        text += f"; what else moved this spend: {row.also_moved}"
    return f"{text}."


def _savings(q):
    if q.savings.empty:
        return nothing_found(q)
    count = len(q.savings)
    parts = [
        "One proposal." if count == 1 else f"{count} proposals, which overlap and do not add up."
    ]
    if len(q.decisions):
        parts.append(
            "The decisions on the first page are the largest that concern different tokens "
            "and are not held back."
        )
    held = q.savings["status"][q.savings["status"].isin(HELD)].value_counts()
    if len(held):
        reasons = [f"{number} {_HELD[status]}" for status, number in held.items()]
        parts.append(f"Held back: {', '.join(reasons)}.")
    return " ".join(parts)


SENTENCES = {
    "variance": _variance,
    "units": _units,
    "tiers": _tiers,
    "cache": _cache,
    "output": _output,
    "reliability": _reliability,
    "events": _events,
    "forecast": _forecast,
    "savings": _savings,
}


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


def spent(q):
    """What the quarter cost, against the budget: the part of a sentence.

    Nothing is said to be under the budget while something has no price.
    """
    lost = q.unpriced_usd if q.unpriced_usd > 0 else 0.0
    paid = q.spend_usd if np.isnan(q.effective_usd) else q.effective_usd
    total, day = paid_usd(q), "" if q.last_day >= q.end else f" up to {q.last_day:%Y-%m-%d}"
    text = f"cost {'at least ' * priced_only(q)}{usd(total)}{day}"
    if not np.isnan(q.effective_usd):
        text += (
            f" under the contract ({usd(q.spend_usd)} at list, {usd(q.contracted_usd)} contracted)"
        )
    if lost:
        text += f" ({usd(paid)} priced, and {usd(lost)} of the bill without a price)"
    elif priced_only(q):
        text += f" (not counting {_counted(q.unpriced_rows, 'row')} without a price)"
    if np.isnan(q.budget_usd):
        return text
    gap, budget = total - q.budget_usd, f"the budget of {usd(q.budget_usd)}"
    if gap <= 0 and priced_only(q):
        return f"{text}; whether that keeps to {budget} is open until everything has a price"
    if gap == 0:
        return f"{text}, exactly {budget}"
    side = "over" if gap > 0 else "under"
    return f"{text}, {usd(abs(gap))} ({abs(gap) / q.budget_usd:.0%}) {side} {budget}"


def than_before(q):
    """How the spend compares with the quarter before: the part of a sentence, "" without one."""
    if not q.before_usd > 0:
        return ""
    gap, more = abs(q.spend_usd - q.before_usd), q.spend_usd > q.before_usd
    if usd(gap) == usd(0):
        return "as much as the quarter before"
    part = f"{gap / q.before_usd:.0%}"
    return f"{usd(gap)} ({part}) {'more' if more else 'less'} than the quarter before"


def nothing_found(q):
    """That no saving is large enough to be named, and how large that is."""
    return f"No saving of {usd(SMALL * q.spend_usd)} a quarter or more was found."


def held_for_stakes(q, shown=str):
    """Which moves wait until somebody says what their tasks are, "" for none; names as the log has them, through `shown`."""
    held = q.savings[q.savings["status"] == UNKNOWN_STAKES]
    if held.empty:
        return ""
    names = [shown(name) for name in held["task"].unique() if name not in ("", "(none)")]
    why = "the log does not say for which task each request was made."
    if names:
        why = (
            f"nobody has said what a wrong answer costs in {', '.join(names)}. Say which of the "
            f"kit's tasks each is (--task {names[0]} NAME; `tasks` in the notebook), or give scores "
            "of your own examples."
        )
    moves = f"{_counted(len(held), 'move')} to a cheaper model"
    return f"Not proposed yet: {moves}, worth up to {usd(held['usd'].sum())} a quarter; {why}"


def _counted(number, thing):
    return f"{number:,} {thing}{'s' * (number != 1)}"


def headline(quarter: Quarter) -> str:
    """The verdict in plain text: spend, change, and the decisions with their dollars."""
    q, parts = quarter, [f"{quarter.quarter} {spent(quarter)}"]
    if before := than_before(q):
        parts.append(f"{'what has a price is ' * priced_only(q)}{before}")
    if len(q.variance):
        top = q.variance.loc[q.variance["usd"].abs().idxmax()]
        parts.append(f"the largest effect is {_word(top['effect'])}, {change(top['usd'])}")
    lines = [f"{'; '.join(parts)}.{_caveats(q)}"]
    for place, row in enumerate(q.decisions.itertuples(), 1):
        saves = f"{usd(row.usd)} a quarter{_dated(row)}"
        lines.append(f"{place}. {row.kind.capitalize()}: {row.what}, {saves}; needs {row.needs}.")
    if q.savings.empty:
        lines.append(nothing_found(q))
    return "\n".join([*lines, held_for_stakes(q)]).strip()


def _caveats(q):
    """What stands against comparing the two quarters: days that are not there."""
    text = ""
    if not q.complete:
        text = f" The quarter is not complete: {_counted(len(q.days), 'day')} with usage, the last {q.last_day:%Y-%m-%d}"
        if q.forecast and q.quarter in q.forecast.totals.index:
            whole = q.spend_usd + q.forecast.totals.at[q.quarter, "usd"]
            text += f"; with the forecast of the days ahead it comes to {usd(whole)}"
        text += "."
    gaps = q.coverage.set_index("what")["count"]
    if gap := int(gaps.get("days of the quarter before without usage", 0)):
        text += f" The log lacks {_counted(gap, 'day')} of the quarter before."
    return text


def summary(quarter: Quarter) -> dict:
    """The report for a machine: a JSON-able dictionary.

    Returns
    -------
    dict
        schema ("tierlab.quarter/2"), quarter, complete, last_day, spend_usd, contracted_usd, effective_usd, before_usd, budget_usd, unpriced_rows,
        unpriced_usd, over_budget_usd, ahead, headline, forecast (period -> usd, low, high, days), and the tables as lists of records; NaN is null.
    """
    q = quarter
    tables = {name: getattr(q, name) for name in _RECORDS}
    money = {
        name: getattr(q, name)
        for name in (
            "spend_usd",
            "contracted_usd",
            "effective_usd",
            "before_usd",
            "budget_usd",
            "unpriced_usd",
        )
    }
    totals = q.forecast.totals.to_json(orient="index") if q.forecast else "{}"
    return {
        "schema": SCHEMA,
        "quarter": q.quarter,
        "complete": bool(q.complete),
        "last_day": f"{q.last_day:%Y-%m-%d}",
        **{name: None if np.isnan(x) else float(x) for name, x in money.items()},
        "unpriced_rows": q.unpriced_rows,
        "ahead": q.ahead,
        "headline": headline(q),
        "over_budget_usd": None if np.isnan(over_budget_usd(q)) else float(over_budget_usd(q)),
        "missing": dict(q.missing),
        "forecast": json.loads(totals),
        **{name: json.loads(_records(table)) for name, table in tables.items()},
    }


def _records(table):
    return table.to_json(orient="records", date_format="iso", double_precision=15)


_RECORDS = ("spend", "variance", "changes", "units", "teams", "tasks", "tiers", "cache", "output")
_RECORDS += ("reliability", "latency", "quality", "events", "forecast_error", "savings")
_RECORDS += (
    "decisions",
    "arrival",
    "price_changes",
    "retiring",
    "reconciliation",
    "coverage",
    "flags",
)
_RECORDS += ("assumptions", "unpriced", "gaps", "invoice")
