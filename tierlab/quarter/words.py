"""The sentences and tables of the quarterly report. Names come from logs: whatever they hold, they are shown as text."""

import html
import json
import re
from operator import attrgetter

import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from tierlab.core.format import usd
from tierlab.quarter.analyse import Quarter
from tierlab.quarter.savings import HELD, SMALL, UNKNOWN_STAKES

SCHEMA = "tierlab.quarter/1"
_DOLLAR = (
    "<span>$</span>"  # two dollar signs would start a formula; in elements of their own they cannot
)
_MARKUP = re.compile(r"[^\w\s.,;%\x80-\U0010ffff-]|_", re.ASCII)
_ACTS = {  # kind of a decision -> its verb, and the first step
    "stop": ("Stop ", "ask the owner of the key whether anybody needs it"),
    "cache": ("", "send the same prompt in the same order again; the answers stay as they are"),
    "move": ("Move ", "test on your own examples that the cheaper model is good enough"),
    "replace": ("Replace ", "test on your own examples that the newer model is good enough"),
    "batch": ("Send ", "ask who reads the answers whether they may wait a day"),
    "errors": ("Avoid ", "look at the reasons, status by status"),
}
_CAUSES = {  # where the effect is above 0, and below
    "volume": ("more requests", "fewer requests"),
    "task_mix": ("other tasks", "other tasks"),
    "tier_mix": ("other tiers", "other tiers"),
    "model_mix": ("other models", "other models"),
    "tokens_per_request": ("longer requests", "shorter requests"),
    "cache_batch": ("less from cache and batch", "more from cache and batch"),
    "price": ("higher list prices", "lower list prices"),
}
_HELD = {
    "worse": "of a model that a test found worse",
    "against the task table": "against the task table",
    UNKNOWN_STAKES: "of a task for which nobody has said what a wrong answer costs",
}
_OURS = {"model_id": "model", "ttft_s": "first token", "end_to_end_s": "whole answer"}
_KINDS = {
    "simulated": "**Simulated usage**: two synthetic quarters with planted events; no figure here says anything about the world.",
    "trace": "**Not your usage**: the requests are a public recorded trace with an assumed clock and assumed models.",
    "log": "",
}


def escaped(text):
    """A name for use in Markdown, as text: no markup, no formula, no link, on one line.

    Examples
    --------
    >>> escaped("<b>*x*</b>")
    '&#60;b&#62;&#42;x&#42;&#60;&#47;b&#62;'
    >>> escaped("gpt-4o")
    'gpt-4o'
    """
    line = _MARKUP.sub(lambda found: f"&#{ord(found[0])};", " ".join(str(text).split()))
    return line.replace("&#36;", "<span>&#36;</span>")


def say(text):
    """A Markdown paragraph in which a dollar sign is a dollar sign; names in it come through `escaped`."""
    return Markdown(text.replace("$", r"\$"))


def money(value):
    """US dollars, the sign in front.

    Examples
    --------
    >>> money(1234.5), money(-0.5), money(0.00119)
    ('$1,234', '-$0.50', '$0.00119')
    """
    if 0 < abs(value) < 0.1:  # three digits where `usd` has two
        return f"{'-' if value < 0 else ''}${abs(value):.3g}"
    return usd(value)


def change(value):
    """`money` with a plus where it is one."""
    return ("+" if value > 0 else "") + money(value)


def _share(value):
    return f"{value:.1%}"


def _word(value):
    """One of our own names in words."""
    return _OURS.get(value, value.replace("_", " "))


def _plain(value):
    """What needs no unit: text as it is, yes or no, a day, a number."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    return f"{value:,.0f}" if abs(value) >= 100 or float(value).is_integer() else f"{value:,.3g}"


_UNITS = (
    ("name", "name", _plain),
    ("cost_usd", "spend", money),
    ("share", "share", _share),
    ("requests", "requests", _plain),
    ("usd_per_request", "each", money),
    ("tokens_per_request", "tokens each", _plain),
    ("usd_per_1k_tokens", "1,000 tokens", money),
    ("active_users", "users", _plain),
    ("usd_per_active_user", "per user", money),
    ("top_share", "top 5 % make", _share),
)
_TABLES = {  # table -> (column, heading, format) of what is shown of it, in order
    "spend": (
        ("what", "what", _plain),
        ("usd", "USD", money),
        ("change_usd", "this quarter is over it by", change),
        ("change_rate", "share", _share),
    ),
    "decisions": (
        ("place", "no", _plain),
        ("decision", "decision", _plain),
        ("usd", "saves per quarter", money),
        ("spend_usd", "cost this quarter", money),
        ("spend_share", "share of the spend", _share),
        ("first", "first step", _plain),
    ),
    "events": (
        ("over", "over", _word),
        ("name", "name", _plain),
        ("start", "from", _plain),
        ("end", "to", _plain),
        ("days", "days", _plain),
        ("direction", "side", _plain),
        ("usual", "usual day", _plain),
        ("seen", "seen", _plain),
        ("excess_usd", "excess", change),
        ("lasts", "lasts", _plain),
    ),
    "variance": (
        ("effect", "effect", _word),
        ("what", "what it is", _plain),
        ("usd", "USD", money),
        ("share_of_before", "of the quarter before", _share),
    ),
    "changes": (
        ("by", "by", _word),
        ("name", "name", _plain),
        ("before_usd", "quarter before", money),
        ("now_usd", "this quarter", money),
        ("change_usd", "change", change),
    ),
    "units": _UNITS,
    "teams": _UNITS,
    "tasks": _UNITS,
    "tiers": (
        ("period", "quarter", _plain),
        ("tier", "tier", _plain),
        ("cost_usd", "spend", money),
        ("spend_share", "of spend", _share),
        ("request_share", "of requests", _share),
        ("token_share", "of tokens", _share),
        ("usd_per_mtok", "per million tokens", money),
    ),
    "cache": (
        ("model_id", "model", _plain),
        ("input_tokens", "input tokens", _plain),
        ("hit_rate", "read from cache", _share),
        ("saved_usd", "reads saved", money),
        ("premium_usd", "writes cost extra", money),
        ("net_usd", "net", money),
    ),
    "output": (
        ("model_id", "model", _plain),
        ("output_tokens", "output tokens", _plain),
        ("output_over_input", "output per input token", _plain),
        ("output_usd_share", "of its spend", _share),
        ("reasoning_share", "reasoning", _share),
        ("truncated_share", "cut off", _share),
    ),
    "reliability": (
        ("status", "status", _plain),
        ("failed", "failed", _plain),
        ("requests", "requests", _plain),
        ("share", "share", _share),
        ("cost_usd", "spend", money),
        ("extra_attempts", "extra attempts", _plain),
        ("retry_usd", "their cost", money),
    ),
    "latency": (
        ("measure", "measure", _word),
        ("model_id", "model", _plain),
        ("n", "requests", _plain),
        ("p50", "p50", _plain),
        ("p95", "p95", _plain),
        ("p99", "p99", _plain),
    ),
    "quality": (
        ("task", "task", _plain),
        ("tier", "tier", _plain),
        ("model_id", "model", _plain),
        ("prompts", "examples", _plain),
        ("score", "score", _share),
        ("low", "from", _share),
        ("high", "to", _share),
        ("method", "interval", _plain),
        ("last_at", "last", _plain),
    ),
    "forecast": (
        ("period", "period", _plain),
        ("usd", "likely", money),
        ("low", "from", money),
        ("high", "to", money),
        ("days", "days", _plain),
    ),
    "forecast_error": (
        ("source", "forecast by", _plain),
        ("forecast_usd", "said", money),
        ("spend_usd", "came to", money),
        ("error", "off by", _share),
        ("inside", "inside its band", _plain),
    ),
    "savings": (
        ("kind", "kind", _plain),
        ("what", "what", _plain),
        ("usd", "saves per quarter", money),
        ("spend_usd", "cost this quarter", money),
        ("spend_share", "share of the spend", _share),
        ("status", "status", _plain),
        ("assumes", "assumes", _plain),
        ("needs", "needs", _plain),
    ),
    "price_changes": (
        ("on", "on", _plain),
        ("model_id", "model", _plain),
        ("change", "change (USD per million tokens)", _plain),
        ("scheduled", "to come", _plain),
        ("before_usd", "own tokens before", money),
        ("after_usd", "after", money),
        ("effect_usd", "effect", change),
    ),
    "retiring": (
        ("model_id", "model", _plain),
        ("retires_on", "retires on", _plain),
        ("spend_usd", "spend", money),
        ("share", "share", _share),
        ("last_used", "last used", _plain),
        ("successor", "successor", _plain),
        ("successor_usd", "same tokens there", money),
        ("scheduled", "its prices", _plain),
    ),
    "reconciliation": (
        ("month", "month", _plain),
        ("provider", "provider", _plain),
        ("against", "against", _plain),
        ("priced_usd", "priced", money),
        ("billed_usd", "billed", money),
        ("difference_usd", "priced minus billed", change),
        ("uncovered_usd", "priced, no bill", money),
    ),
    "coverage": (("what", "what", _plain), ("count", "count", _plain)),
    "files": (
        ("file", "file", _plain),
        ("format", "format", _plain),
        ("rows_read", "rows", _plain),
        ("kept", "kept", _plain),
        ("set_aside", "set aside", _plain),
        ("duplicates", "duplicates", _plain),
        ("problem", "problem", _plain),
        ("assumed", "assumed", _plain),
    ),
    "flags": (("flag", "assumed", _word), ("rows", "rows", _plain), ("models", "models", _plain)),
    "assumptions": (("what", "what", _plain), ("value", "value", _plain)),
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
        page = shown.to_html(index=False, border=0).replace("$", _DOLLAR)
    return display({"text/html": page, "text/plain": shown.to_string(index=False)}, raw=True)


def absent(needs):
    """Say what a section needs that is not there."""
    words = f"Not in this report: {needs}.".replace("`", "") if needs else "None."
    note = f'<p class="note">{html.escape(words).replace("$", _DOLLAR)}</p>'
    display({"text/html": note, "text/plain": words}, raw=True)


def compared(q):
    """The quarter's spend beside the budget and the quarter before: what, usd, change_usd, change_rate.

    What is billed without a price is in no difference; while there is any, none to the budget is shown as saved.
    """
    others = q.spend["what"] != "this quarter"
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
    units = [(lambda x: f"{x:.0%}") if over == "cache" else money for over in q.events["over"]]
    shown = {
        name: [form(x) for form, x in zip(units, q.events[name], strict=True)]
        for name in ("usual", "seen")
    }
    return q.events.assign(**shown)


_FRAMES = {  # what is shown of a table, where that is not all of it as it is
    "spend": compared,
    "decisions": decisions,
    "events": events,
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
        parts.append(f"{'What has a price' if priced_only(q) else 'That'} is {before}.")
    parts += _causes(q)
    if q.forecast:
        period, ahead = q.forecast.totals.index[-1], q.forecast.totals.iloc[-1]
        band = f"{q.forecast.confidence:.0%} band: {money(ahead['low'])} to {money(ahead['high'])}"
        parts.append(
            f"If nothing is done, {period} costs about {money(ahead['usd'])} ({band})"
            f"{_changes_in_it(q)}."
        )
    return say(" ".join(parts) + "\n\n" + coverage_said(prepared))


def _causes(q):
    """Which effects moved spend, and who spends more or less than before: a sentence each, if there is any."""
    if q.variance.empty:
        return []
    least, words = 0.01 * q.before_usd, []
    large = q.variance[q.variance["usd"].abs() >= least]
    effects = [
        f"{_CAUSES[row.effect][int(row.usd < 0)]} {change(row.usd)}"
        for row in large.sort_values("usd", key=abs, ascending=False).itertuples()
    ]
    if effects:
        words.append(f"By cause: {', '.join(effects)}.")
    by = q.changes["by"].iloc[0]
    own = q.changes[(q.changes["by"] == by) & (q.changes["change_usd"].abs() >= least)].head(3)
    names = [f"{escaped(row.name)} {change(row.change_usd)}" for row in own.itertuples(False)]
    if names:
        words.append(f"By {by.removesuffix('_id')}, the largest changes: {', '.join(names)}.")
    return words


def coverage_said(prepared):
    """On what the report stands: rows priced and set aside, days without usage, and whether the usage is real."""
    account, counts = prepared.cube.account, prepared.quarter.coverage.set_index("what")["count"]
    aside = account.set_aside[account.set_aside["reason"] != "outside the period"]
    lost = int(aside["rows"].sum())
    read = f"{account.rows_priced + lost:,} rows of usage of this quarter and the one before"
    parts = [f"{_KINDS[prepared.kind]} Priced: {account.rows_priced:,} of {read}"]
    if lost:
        are, models = "is" if lost == 1 else "are", account.unknown_models.index[:5]
        names = f" (models without a price: {', '.join(map(escaped, models))})"
        parts.append(
            f"**{lost:,} could not be priced and {are} in no figure of spend**"
            f"{names if len(models) else ''}"
        )
    if gone := int(counts["days of the quarter without usage"]):
        parts.append(f"{gone} days of the quarter have no usage")
    if prepared.read is not None:
        files = prepared.read.files
        if unread := int((files["problem"] != "").sum()):
            parts.append(f"{unread} of {len(files)} files could not be read")
        if bad := int(files["set_aside"].sum()):
            parts.append(f"{bad:,} rows of the files were set aside by the reader")
    return f"{'; '.join(parts)}. Prices: {escaped(account.price_source)}.".strip()


def decisions_said(q):
    """What the decisions come to together."""
    waiting = held_for_stakes(q, escaped)
    if q.savings.empty:
        return say(nothing_found(q))
    if q.decisions.empty:
        return say(f"No saving can be decided on these numbers alone. {waiting}".strip())
    words = ("It saves", "Together the two save", "Together the three save")[len(q.decisions) - 1]
    return say(
        f"{words} about **{money(q.decisions['usd'].sum())} a quarter**, at the rates scheduled for "
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
        f"The effects add up to the change of {money(q.spend_usd - q.before_usd)}. "
        f"The largest is {_word(top['effect'])} ({top['what']}): {money(top['usd'])}."
    )


def _units(q):
    row, parts = q.units.iloc[0], []
    if pd.notna(row["usd_per_request"]):
        parts.append(f"A request costs {money(row['usd_per_request'])} on average.")
    if pd.notna(row.get("top_share")):
        top, users = f"{row['top_users']:,.0f}", f"{row['active_users']:,.0f}"
        who = f"The {top} most expensive of {users} active users (one in twenty) make"
        who = "The one active user makes" if users == "1" else who
        parts.append(f"{who} {row['top_share']:.0%} of the cost.")
    return " ".join(parts)


def _tiers(q):
    now = q.tiers[q.tiers["period"] == q.quarter]
    top = now.loc[now["cost_usd"].idxmax()]
    share = f"{top['request_share']:.0%} of the requests and "
    return (
        f"The largest part, {top['tier']}, is {share if pd.notna(top['request_share']) else ''}"
        f"{top['spend_share']:.0%} of the spend, at {money(top['usd_per_mtok'])} per million tokens."
    )


def _cache(q):
    row = q.cache.iloc[-1]
    if not row["hit_rate"] > 0:
        return "Nothing was read from a cache."
    net = row["net_usd"]
    return (
        f"{row['hit_rate']:.0%} of all input was read from a cache. Against no cache at all it "
        f"{f'saved {money(net)}' if net >= 0 else f'cost {money(-net)} more'}, writes paid."
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
        f"{text} Second attempts may have cost {money(q.reliability['retry_usd'].sum())}, "
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
            f"The cache hit rate of {escaped(row.name)} {way} from {row.usual:.0%} to "
            f"{row.seen:.0%} {when}, which cost {money(row.excess_usd)}."
        )
    who = "The total" if row.over == "total" else f"{row.over.capitalize()} {escaped(row.name)}"
    more = "more" if row.excess_usd > 0 else "less"
    return f"{who} spent {money(abs(row.excess_usd))} {more} than expected {when}."


def _forecast(q):
    period, row = q.forecast.totals.index[-1], q.forecast.totals.iloc[-1]
    text = (
        f"{period}: about {money(row['usd'])}, with {q.forecast.confidence:.0%} between "
        f"{money(row['low'])} and {money(row['high'])}{_changes_in_it(q)}."
    )
    for last in q.forecast_error.itertuples():
        text += (
            f" The forecast for {q.quarter} was {money(last.forecast_usd)} ({money(last.low)} to "
            f"{money(last.high)}; {escaped(last.source)}); it came to {money(last.spend_usd)}, "
            f"{'inside' if last.inside else 'outside'} that band."
        )
    return text


def _changes_in_it(q):
    """The scheduled price changes that the forecast contains, with their dates."""
    changes = q.price_changes[q.price_changes["scheduled"] & q.price_changes["effect_usd"].notna()]
    changes = changes[changes["on"] <= q.forecast.days["day"].iloc[-1]]
    names = [f"{escaped(row.model_id)} from {row.on:%Y-%m-%d}" for row in changes.itertuples()]
    return f", with the price changes scheduled for {', '.join(names)}" if names else ""


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


def spent(q):
    """What the quarter cost, against the budget: the part of a sentence.

    Nothing is said to be under the budget while something has no price.
    """
    lost = q.unpriced_usd if q.unpriced_usd > 0 else 0.0
    total, day = q.spend_usd + lost, "" if q.last_day >= q.end else f" up to {q.last_day:%Y-%m-%d}"
    text = f"cost {'at least ' * priced_only(q)}{money(total)}{day}"
    if lost:
        text += f" ({money(q.spend_usd)} priced, and {money(lost)} of the bill without a price)"
    elif priced_only(q):
        text += f" (not counting {_counted(q.unpriced_rows, 'row')} without a price)"
    if np.isnan(q.budget_usd):
        return text
    gap, budget = total - q.budget_usd, f"the budget of {money(q.budget_usd)}"
    if gap <= 0 and priced_only(q):
        return f"{text}; whether that keeps to {budget} is open until everything has a price"
    if gap == 0:
        return f"{text}, exactly {budget}"
    side = "over" if gap > 0 else "under"
    return f"{text}, {money(abs(gap))} ({abs(gap) / q.budget_usd:.0%}) {side} {budget}"


def than_before(q):
    """How the spend compares with the quarter before: the part of a sentence, "" without one."""
    if not q.before_usd > 0:
        return ""
    gap, more = abs(q.spend_usd - q.before_usd), q.spend_usd > q.before_usd
    if money(gap) == money(0):
        return "as much as the quarter before"
    share = f"{gap / q.before_usd:.0%}"
    return f"{money(gap)} ({share}) {'more' if more else 'less'} than the quarter before"


def nothing_found(q):
    """That no saving is large enough to be named, and how large that is."""
    return f"No saving of {money(SMALL * q.spend_usd)} a quarter or more was found."


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
    return f"Not proposed yet: {moves}, worth up to {money(held['usd'].sum())} a quarter; {why}"


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
        saves = f"{money(row.usd)} a quarter{_dated(row)}"
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
            text += f"; with the forecast of the days ahead it comes to {money(whole)}"
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
        schema ("tierlab.quarter/1"), quarter, complete, last_day, spend_usd, before_usd, budget_usd, unpriced_rows,
        unpriced_usd, ahead, headline, forecast (period -> usd, low, high, days), and the tables as lists of records; NaN is null.
    """
    q = quarter
    tables = {name: getattr(q, name) for name in _RECORDS}
    money = {
        name: getattr(q, name) for name in ("spend_usd", "before_usd", "budget_usd", "unpriced_usd")
    }
    totals = q.forecast.totals.to_json(orient="index") if q.forecast else "{}"
    return {
        "schema": SCHEMA,
        "quarter": q.quarter,
        "complete": bool(q.complete),
        "last_day": f"{q.last_day:%Y-%m-%d}",
        **{name: None if np.isnan(usd) else float(usd) for name, usd in money.items()},
        "unpriced_rows": q.unpriced_rows,
        "ahead": q.ahead,
        "headline": headline(q),
        "missing": dict(q.missing),
        "forecast": json.loads(totals),
        **{name: json.loads(_records(table)) for name, table in tables.items()},
    }


def _records(table):
    return table.to_json(orient="records", date_format="iso", double_precision=15)


_RECORDS = ("spend", "variance", "changes", "units", "teams", "tasks", "tiers", "cache", "output")
_RECORDS += ("reliability", "latency", "quality", "events", "forecast_error", "savings")
_RECORDS += ("decisions", "price_changes", "retiring", "reconciliation", "coverage", "flags")
_RECORDS += ("assumptions",)
