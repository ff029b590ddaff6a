"""The sentences and tables of the quarterly report. Names come from logs: whatever they hold, they are shown as text.

The quarter in a few sentences, and for a machine.
"""

import html
import json
import re

import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from tierlab.core.format import usd
from tierlab.quarter.savings import HELD, SMALL, UNKNOWN_STAKES

_MARKUP = re.compile(r"[^\w\s.,;%-]", re.ASCII)
_STEPS = {
    "stop": "ask the owner of the key whether anybody needs it",
    "cache": "send the same prompt in the same order again; the answers stay as they are",
    "move": "test on your own examples that the cheaper model is good enough",
    "replace": "test on your own examples that the newer model is good enough",
    "batch": "ask who reads the answers whether they may wait a day",
    "errors": "look at the reasons, status by status",
}
_VERBS = {
    "stop": "Stop ",
    "cache": "",
    "move": "Move ",
    "replace": "Replace ",
    "batch": "Send ",
    "errors": "Avoid ",
}
_CAUSES = {  # where the effect is above 0, and below
    "volume": ("more requests", "fewer requests"), "task_mix": ("other tasks", "other tasks"), "tier_mix": ("other tiers", "other tiers"),
    "model_mix": ("other models", "other models"), "tokens_per_request": ("longer requests", "shorter requests"),
    "cache_batch": ("less from cache and batch", "more from cache and batch"), "price": ("higher list prices", "lower list prices"),
}  # fmt: skip
_HELD = {
    "worse": "of a model that a test found worse",
    "against the task table": "against the task table",
    UNKNOWN_STAKES: "of a task for which nobody has said what a wrong answer costs",
}
_OUR_WORDS = (
    "effect",
    "by",
    "measure",
    "flag",
    "over",
)  # columns of our own names; what a log says is left as it is
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
    return "".join(_entity(letter) for letter in " ".join(str(text).split()))


def _entity(letter):
    if (
        letter == "$"
    ):  # decoded, two of them would start a formula; in elements of their own they cannot
        return "<span>&#36;</span>"
    plain = not _MARKUP.fullmatch(letter) and letter != "_"
    return letter if plain or not letter.isascii() else f"&#{ord(letter)};"


def say(text):
    """A Markdown paragraph in which a dollar sign is a dollar sign; names in it come through `escaped`."""
    return Markdown(text.replace("$", r"\$"))


def table(frame, columns=None, *, missing=""):
    """Show a table, money and shares in words a reader knows; or say what the section needs.

    Parameters
    ----------
    frame : DataFrame
    columns : mapping of str to str, optional
        Which columns, in order, under which heading; those that are not there, or hold nothing but "", are left out.
    missing : str
        What the section needs, shown where the table is empty.
    """
    if frame.empty:
        words = f"Not in this report: {missing}.".replace("`", "") if missing else "None."
        note = f'<p class="note">{_text(words)}</p>'
        return display({"text/html": note, "text/plain": words}, raw=True)
    columns = {name: name for name in frame} if columns is None else columns
    names = [
        name for name in columns if name in frame and not frame[name].astype(object).eq("").all()
    ]
    shown = pd.DataFrame({name: [_cell(name, value) for value in frame[name]] for name in names})
    shown.columns = [columns[name] for name in names]
    head = "".join(f"<th>{_text(name)}</th>" for name in shown)
    rows = "".join(
        f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in shown.to_numpy()
    )
    page = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return display({"text/html": page, "text/plain": shown.to_string(index=False)}, raw=True)


def _text(text):
    return html.escape(str(text)).replace("$", "<span>$</span>")


def _cell(name, value):
    if (
        value is None
        or value is pd.NA
        or (isinstance(value, float) and np.isnan(value))
        or value is pd.NaT
    ):
        return "-"
    if isinstance(value, str):
        return _OURS.get(value, value.replace("_", " ")) if name in _OUR_WORDS else value
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    if name in ("change_usd", "difference_usd", "effect_usd", "excess_usd"):
        return change(value)
    if name == "usd" or name.endswith("_usd") or name.startswith("usd_per"):
        return money(value)
    if name in ("share", "error", "score", "low", "high") or name.endswith(
        ("_share", "_rate", "_of_before")
    ):
        return f"{value:.1%}"
    return f"{value:,.0f}" if abs(value) >= 100 or float(value).is_integer() else f"{value:,.3g}"


def verdict(prepared):
    """What the quarter cost against budget and the quarter before, why, and what comes next: a few sentences."""
    q = prepared.quarter
    parts = [f"**{q.quarter} {spent(q)}.**"]
    if before := than_before(q):
        parts.append(f"{'What has a price' if priced_only(q) else 'That'} is {before}.")
    parts.append(_causes(q))
    if q.forecast:
        ahead = q.forecast.totals.loc[q.forecast.totals.index[-1]]
        parts.append(
            f"If nothing is done, {q.forecast.totals.index[-1]} costs about {money(ahead['usd'])} "
            f"({q.forecast.confidence:.0%} band: {money(ahead['low'])} to {money(ahead['high'])}){_changes_in_it(q)}."
        )
    return say(" ".join(part for part in parts if part) + "\n\n" + coverage_said(prepared))


def _causes(q):
    """Who spends more or less than before, and which effects moved spend."""
    if q.variance.empty:
        return ""
    large = q.variance[q.variance["usd"].abs() >= 0.01 * q.before_usd].sort_values(
        "usd", key=abs, ascending=False
    )
    effects = ", ".join(
        f"{_CAUSES[row.effect][int(row.usd < 0)]} {change(row.usd)}" for row in large.itertuples()
    )
    words = [f"By cause: {effects}."] if effects else []
    if len(q.changes):
        by = q.changes["by"].iloc[0]
        own = q.changes[
            (q.changes["by"] == by) & (q.changes["change_usd"].abs() >= 0.01 * q.before_usd)
        ].head(3)
        names = ", ".join(
            f"{escaped(row.name)} {change(row.change_usd)}" for row in own.itertuples(index=False)
        )
        words += [f"By {by.removesuffix('_id')}, the largest changes: {names}."] if names else []
    return " ".join(words)


def coverage_said(prepared):
    """On what the report stands: rows priced and set aside, days without usage, and whether the usage is real."""
    account, q = prepared.cube.account, prepared.quarter
    aside = account.set_aside[account.set_aside["reason"] != "outside the period"]
    lost, read = int(aside["rows"].sum()), account.rows_priced + int(aside["rows"].sum())
    text = f"Priced: {account.rows_priced:,} of {read:,} rows of usage of this quarter and the one before"
    models = ", ".join(escaped(name) for name in account.unknown_models.index[:5])
    if lost:
        text += f"; **{lost:,} could not be priced and {'is' if lost == 1 else 'are'} in no figure of spend**"
        text += f" (models without a price: {models})" if models else ""
    gone = int(
        q.coverage.loc[q.coverage["what"] == "days of the quarter without usage", "count"].sum()
    )
    text += f"; {gone} days of the quarter have no usage" if gone else ""
    if prepared.read is not None:
        files = prepared.read.files
        unread, bad = int((files["problem"] != "").sum()), int(files["set_aside"].sum())
        text += f"; {unread} of {len(files)} files could not be read" if unread else ""
        text += f"; {bad:,} rows of the files were set aside by the reader" if bad else ""
    prices = f"Prices: {escaped(account.price_source)}."
    return f"{_KINDS[prepared.kind]} {text}. {prices}".strip()


def decisions(q):
    """The decisions as a table for a reader who signs: decision, usd, spend_usd, spend_share, first."""
    found = q.decisions[["usd", "spend_usd", "spend_share"]].copy()
    what = [
        _VERBS.get(row.kind, f"{row.kind}: ")
        + row.what
        + (f" ({row.scheduled})" if row.scheduled else "")
        for row in q.decisions.itertuples()
    ]
    found.insert(0, "decision", [text[:1].upper() + text[1:] for text in what])
    found.insert(0, "place", range(1, len(found) + 1))
    return found.assign(
        first=[
            _STEPS.get(kind, need)
            for kind, need in zip(q.decisions["kind"], q.decisions["needs"], strict=True)
        ]
    )


def compared(q):
    """The quarter's spend beside the budget and the quarter before: what, usd, change_usd, change_rate.

    What is billed without a price is in no difference; while there is any, none to the budget is shown as saved.
    """
    table = q.spend[["what", "usd"]].copy()
    others = table["what"] != "this quarter"
    if priced_only(q):
        others &= (table["what"] != "budget") | (q.spend["difference_usd"] > 0)
        lost = pd.DataFrame({"what": ["billed, without a price"], "usd": [q.unpriced_usd]})
        return pd.concat([_differences(q, table, others), lost], ignore_index=True)
    return _differences(q, table, others)


def _differences(q, table, others):
    table["change_usd"] = q.spend["difference_usd"].where(others)
    return table.assign(change_rate=(q.spend["ratio"] - 1).where(others))


def decisions_said(q):
    """What the decisions come to together."""
    waiting = held_for_stakes(q, escaped)
    if q.savings.empty:
        return say(nothing_found(q))
    if q.decisions.empty:
        return say(f"No saving can be decided on these numbers alone. {waiting}".strip())
    total, count = q.decisions["usd"].sum(), len(q.decisions)
    words = (
        "It saves"
        if count == 1
        else f"Together the {['two', 'three'][count - 2] if count < 4 else count} save"
    )
    return say(
        f"{words} about **{money(total)} a quarter**, at the rates scheduled for {q.ahead} and, for what began within this "
        "quarter, at the pace of its last days. No two concern the same tokens; what each assumes is in the section on "
        f"savings. {waiting}".strip()
    )


def said(q, section):
    """What a section shows, in a sentence or two; nothing where its input is missing.

    Parameters
    ----------
    q : Quarter
    section : str
        A table of the report: variance, units, tiers, cache, output, reliability, latency, events, forecast, savings.
    """
    text = _SAID[section](q)
    return say(f"**What this shows.** {text}") if text else None


def _variance(q):
    if q.variance.empty:
        return ""
    change, top = q.spend_usd - q.before_usd, q.variance.loc[q.variance["usd"].abs().idxmax()]
    return (
        f"The effects add up to the change of {money(change)}. The largest is {top['effect'].replace('_', ' ')} "
        f"({top['what']}): {money(top['usd'])}."
    )


def _units(q):
    row = q.units.iloc[0]
    text = (
        ""
        if pd.isna(row["usd_per_request"])
        else f"A request costs {money(row['usd_per_request'])} on average. "
    )
    if "top_share" in row and pd.notna(row["top_share"]):
        top, users = f"{row['top_users']:,.0f}", f"{row['active_users']:,.0f}"
        who = (
            "The one active user makes"
            if users == "1"
            else f"The {top} most expensive of {users} active users (one in twenty) make"
        )
        text += f"{who} {row['top_share']:.0%} of the cost."
    return text.strip()


def _tiers(q):
    now = q.tiers[q.tiers["period"] == q.quarter]
    top = now.loc[now["cost_usd"].idxmax()]
    share = (
        f"{top['request_share']:.0%} of the requests and " if pd.notna(top["request_share"]) else ""
    )
    return f"The largest part, {top['tier']}, is {share}{top['spend_share']:.0%} of the spend, at {money(top['usd_per_mtok'])} per million tokens."


def _cache(q):
    if q.cache.empty:
        return ""
    row = q.cache[q.cache["model_id"] == "all"].iloc[-1]
    if not row["hit_rate"] > 0:
        return "Nothing was read from a cache."
    effect = (
        f"saved {money(row['net_usd'])}"
        if row["net_usd"] >= 0
        else f"cost {money(-row['net_usd'])} more"
    )
    return f"{row['hit_rate']:.0%} of all input was read from a cache. Against no cache at all it {effect}, writes paid."


def _output(q):
    row = q.output.iloc[-1]
    text = f"Output is {row['output_usd_share']:.0%} of the spend"
    text += (
        f"; {row['reasoning_share']:.0%} of its tokens are reasoning"
        if pd.notna(row.get("reasoning_share"))
        else ""
    )
    text += (
        f"; {row['truncated_share']:.1%} of the answers were cut off"
        if pd.notna(row.get("truncated_share"))
        else ""
    )
    return text + "."


def _reliability(q):
    if q.reliability.empty:
        return ""
    failed = q.reliability.loc[q.reliability["failed"], "share"].sum()
    text = f"{failed:.1%} of the requests failed."
    if "retry_usd" in q.reliability:
        text += f" Second attempts may have cost {money(q.reliability['retry_usd'].sum())}, if all attempts of a request cost the same."
    return text


def _events(q):
    if q.events.empty:
        return (
            "No day stands out from the four weeks before it."
            if "anomalies" not in q.missing
            else ""
        )
    own = (
        q.events[q.events["over"].isin(["team", "cache"])]
        .drop_duplicates(["over", "start"])
        .head(4)
    )
    return " ".join(
        _event(row) for row in (own if len(own) else q.events.head(1)).itertuples(index=False)
    )


def _event(row):
    when = (
        f"on {row.start:%Y-%m-%d}"
        if row.days == 1
        else f"from {row.start:%Y-%m-%d} to {row.end:%Y-%m-%d}"
    )
    when += ", the last day" if row.lasts else ""
    if row.over == "cache":
        way = "fell" if row.direction == "below" else "rose"
        return f"The cache hit rate of {escaped(row.name)} {way} from {row.usual:.0%} to {row.seen:.0%} {when}, which cost {money(row.excess_usd)}."
    who = "The total" if row.over == "total" else f"{row.over.capitalize()} {escaped(row.name)}"
    return f"{who} spent {money(abs(row.excess_usd))} {'more' if row.excess_usd > 0 else 'less'} than expected {when}."


def events(q):
    """The events with the usual and the seen day in their own unit: dollars, or a share of the input."""
    found = q.events.copy()
    for name in ("usual", "seen"):
        shown = [
            f"{x:.0%}" if over == "cache" else money(x)
            for x, over in zip(q.events[name], q.events["over"], strict=True)
        ]
        found[name] = pd.Series(shown, found.index, dtype=object)
    return found


def _forecast(q):
    if q.forecast is None:
        return ""
    period = q.forecast.totals.index[-1]
    row = q.forecast.totals.loc[period]
    text = f"{period}: about {money(row['usd'])}, with {q.forecast.confidence:.0%} between {money(row['low'])} and {money(row['high'])}{_changes_in_it(q)}."
    if len(q.forecast_error):
        last = q.forecast_error.iloc[0]
        text += (
            f" The forecast for {q.quarter} was {money(last['forecast_usd'])} ({money(last['low'])} to {money(last['high'])}; "
            f"{escaped(last['source'])}); it came to {money(last['spend_usd'])}, {'inside' if last['inside'] else 'outside'} that band."
        )
    return text


def _changes_in_it(q):
    """The scheduled price changes that the forecast contains, with their dates."""
    changes = q.price_changes[q.price_changes["scheduled"] & q.price_changes["effect_usd"].notna()]
    changes = changes[changes["on"] <= q.forecast.days["day"].iloc[-1]]
    names = ", ".join(
        f"{escaped(row.model_id)} from {row.on:%Y-%m-%d}" for row in changes.itertuples()
    )
    return f", with the price changes scheduled for {names}" if names else ""


def _savings(q):
    if q.savings.empty:
        return nothing_found(q)
    held, count = q.savings["status"][q.savings["status"].isin(HELD)].value_counts(), len(q.savings)
    text = "One proposal." if count == 1 else f"{count} proposals, which overlap and do not add up."
    if len(q.decisions):
        text += " The decisions on the first page are the largest that concern different tokens and are not held back."
    if len(held):
        text += f" Held back: {', '.join(f'{number} {_HELD[status]}' for status, number in held.items())}."
    return text


_SAID = {
    "variance": _variance, "units": _units, "tiers": _tiers, "cache": _cache, "output": _output,
    "reliability": _reliability, "events": _events, "forecast": _forecast, "savings": _savings,
}  # fmt: skip


SCHEMA = "tierlab.quarter/1"


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
    if not np.isfinite(q.budget_usd):
        return text
    gap, budget = total - q.budget_usd, f"the budget of {money(q.budget_usd)}"
    if gap <= 0 and priced_only(q):
        return f"{text}; whether that keeps to {budget} is open until everything has a price"
    if gap == 0:
        return f"{text}, exactly {budget}"
    return f"{text}, {money(abs(gap))} ({abs(gap) / q.budget_usd:.0%}) {'over' if gap > 0 else 'under'} {budget}"


def than_before(q):
    """How the spend compares with the quarter before: the part of a sentence, "" without one."""
    if not q.before_usd > 0:
        return ""
    more = q.spend_usd - q.before_usd
    if money(abs(more)) == money(0):
        return "as much as the quarter before"
    return f"{money(abs(more))} ({abs(more) / q.before_usd:.0%}) {'more' if more > 0 else 'less'} than the quarter before"


def nothing_found(q):
    """That no saving is large enough to be named, and how large that is."""
    return f"No saving of {money(SMALL * q.spend_usd)} a quarter or more was found."


def held_for_stakes(q, shown=str):
    """Which moves wait until somebody says what their tasks are, "" for none; names as the log has them, through `shown`."""
    held = q.savings[q.savings["status"] == UNKNOWN_STAKES]
    if held.empty:
        return ""
    text = f"Not proposed yet: {_counted(len(held), 'move')} to a cheaper model, worth up to {money(held['usd'].sum())} a quarter; "
    names = [shown(name) for name in held["task"].unique() if name not in ("", "(none)")]
    if not names:
        return text + "the log does not say for which task each request was made."
    return text + (
        f"nobody has said what a wrong answer costs in {', '.join(names)}. Say which of the kit's tasks each is "
        f"(--task {names[0]} NAME; `tasks` in the notebook), or give scores of your own examples."
    )


def _counted(number, thing):
    return f"{number:,} {thing}{'s' * (number != 1)}"


def headline(quarter):
    """The verdict in plain text: spend, change, and the decisions with their dollars."""
    q = quarter
    text = f"{q.quarter} {spent(q)}"
    if before := than_before(q):
        text += f"; {'what has a price is ' * priced_only(q)}{before}"
    if len(q.variance):
        largest = q.variance.loc[q.variance["usd"].abs().idxmax()]
        text += f"; the largest effect is {largest['effect'].replace('_', ' ')}, {change(largest['usd'])}"
    parts = [text + "." + _caveats(q)]
    for place, row in enumerate(q.decisions.itertuples(), 1):
        dated = f" ({row.scheduled})" if row.scheduled else ""
        parts.append(
            f"{place}. {row.kind.capitalize()}: {row.what}, {money(row.usd)} a quarter{dated}; needs {row.needs}."
        )
    if q.savings.empty:
        parts.append(nothing_found(q))
    parts.append(held_for_stakes(q))
    return "\n".join(part for part in parts if part)


def _caveats(q):
    """What stands against comparing the two quarters: days that are not there."""
    gaps, text = q.coverage.set_index("what")["count"], ""
    if not q.complete:
        text += f" The quarter is not complete: {_counted(len(q.days), 'day')} with usage, the last {q.last_day:%Y-%m-%d}"
        ahead = q.forecast.totals if q.forecast else pd.DataFrame()
        if q.quarter in ahead.index:
            text += f"; with the forecast of the days ahead it comes to {money(q.spend_usd + ahead.at[q.quarter, 'usd'])}"
        text += "."
    if gap := int(gaps.get("days of the quarter before without usage", 0)):
        text += f" The log lacks {gap} day{'s' * (gap > 1)} of the quarter before."
    return text


def summary(quarter):
    """The report for a machine: a JSON-able dictionary.

    Returns
    -------
    dict
        schema ("tierlab.quarter/1"), quarter, complete, last_day, spend_usd, before_usd, budget_usd, unpriced_rows,
        unpriced_usd, ahead, headline, forecast (period -> usd, low, high, days), and the tables as lists of records; NaN is null.
    """
    q = quarter
    names = ("spend", "variance", "changes", "units", "teams", "tasks", "tiers", "cache", "output", "reliability", "latency", "quality",
             "events", "forecast_error", "savings", "decisions", "price_changes", "retiring", "reconciliation", "coverage", "flags",
             "assumptions")  # fmt: skip
    result = {
        "schema": SCHEMA,
        "quarter": q.quarter,
        "complete": bool(q.complete),
        "last_day": f"{q.last_day:%Y-%m-%d}",
    }
    result |= {
        name: _number(getattr(q, name))
        for name in ("spend_usd", "before_usd", "budget_usd", "unpriced_usd")
    }
    result |= {"unpriced_rows": q.unpriced_rows, "ahead": q.ahead}
    result |= {"headline": headline(q), "missing": dict(q.missing)}
    totals = q.forecast.totals if q.forecast else pd.DataFrame()
    result["forecast"] = json.loads(totals.to_json(orient="index")) if len(totals) else {}
    for name in names:
        result[name] = json.loads(
            getattr(q, name).to_json(orient="records", date_format="iso", double_precision=15)
        )
    return result


def _number(value):
    return float(value) if np.isfinite(value) else None
