"""The sentences and tables of the quarterly report. Names come from logs: whatever they hold, they are shown as text."""

import html
import re

import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from tierlab.money import usd

_MARKUP = re.compile(r"[^\w\s.,;%-]", re.ASCII)
_STEPS = {
    "stop": "ask the owner of the key whether anybody needs it",
    "cache": "send the same prompt in the same order again; the answers stay as they are",
    "move": "test on your own examples that the cheaper model is good enough",
    "replace": "test on your own examples that the newer model is good enough",
    "batch": "ask who reads the answers whether they may wait a day",
    "errors": "look at the reasons, status by status",
}
_VERBS = {"stop": "Stop ", "cache": "", "move": "Move ", "replace": "Replace ", "batch": "Send ", "errors": "Avoid "}
_CAUSES = {  # where the effect is above 0, and below
    "volume": ("more requests", "fewer requests"), "task_mix": ("other tasks", "other tasks"), "tier_mix": ("other tiers", "other tiers"),
    "model_mix": ("other models", "other models"), "tokens_per_request": ("longer requests", "shorter requests"),
    "cache_batch": ("less from cache and batch", "more from cache and batch"), "price": ("dearer list prices", "cheaper list prices"),
}  # fmt: skip
_OUR_WORDS = ("effect", "by", "measure", "flag", "over")  # columns of our own names; what a log says is left as it is
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
    if letter == "$":  # decoded, two of them would start a formula; in elements of their own they cannot
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
        Which columns, in order, under which heading; those that are not there are left out.
    missing : str
        What the section needs, shown where the table is empty.
    """
    if frame.empty:
        words = f"Not in this report: {missing}.".replace("`", "") if missing else "None."
        note = f'<p class="note">{_text(words)}</p>'
        return display({"text/html": note, "text/plain": words}, raw=True)
    columns = {name: name for name in frame} if columns is None else columns
    names = [name for name in columns if name in frame]
    shown = pd.DataFrame({name: [_cell(name, value) for value in frame[name]] for name in names})
    shown.columns = [columns[name] for name in names]
    head = "".join(f"<th>{_text(name)}</th>" for name in shown)
    rows = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in shown.to_numpy())
    page = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return display({"text/html": page, "text/plain": shown.to_string(index=False)}, raw=True)


def _text(text):
    return html.escape(str(text)).replace("$", "<span>$</span>")


def _cell(name, value):
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)) or value is pd.NaT:
        return "-"
    if isinstance(value, str):
        return _OURS.get(value, value.replace("_", " ")) if name in _OUR_WORDS else value
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    if name in ("change_usd", "difference_usd", "effect_usd", "excess_usd"):
        return _change(value)
    if name == "usd" or name.endswith("_usd") or name.startswith("usd_per"):
        return money(value)
    if name in ("share", "error", "score", "low", "high") or name.endswith(("_share", "_rate", "_of_before")):
        return f"{value:.1%}"
    return f"{value:,.0f}" if abs(value) >= 100 or float(value).is_integer() else f"{value:,.3g}"


def money(value):
    """US dollars, the sign in front.

    Examples
    --------
    >>> money(1234.5), money(-0.5), money(0.00119)
    ('$1,234', '-$0.50', '$0.00119')
    """
    size = abs(value)
    text = usd(size) if size == 0 or size >= 0.1 else f"${size:.3g}"
    text = f"${size:,.0f}" if size >= 100 else text
    return f"-{text}" if value < 0 else text


def verdict(prepared):
    """What the quarter cost against budget and the quarter before, why, and what comes next: a few sentences."""
    q, parts = prepared.quarter, []
    text = f"**{q.quarter} cost {money(q.spend_usd)}"
    text += "" if q.last_day >= q.end else f" up to {q.last_day:%Y-%m-%d}"
    if np.isfinite(q.budget_usd):
        gap = q.spend_usd - q.budget_usd
        text += f": {money(abs(gap))} ({abs(gap) / q.budget_usd:.0%}) {'over' if gap > 0 else 'under'} the budget of {money(q.budget_usd)}"
    parts.append(text + ".**")
    if np.isfinite(q.before_usd) and q.before_usd > 0:
        change = q.spend_usd - q.before_usd
        way = "more" if change > 0 else "less"
        parts.append(f"That is {money(abs(change))} ({abs(change) / q.before_usd:.0%}) {way} than the quarter before.")
    parts.append(_causes(q))
    if q.forecast:
        ahead = q.forecast.totals.loc[q.forecast.totals.index[-1]]
        parts.append(
            f"If nothing is done, {q.forecast.totals.index[-1]} costs about {money(ahead['usd'])} "
            f"({q.forecast.confidence:.0%} band: {money(ahead['low'])} to {money(ahead['high'])})."
        )
    return say(" ".join(part for part in parts if part) + "\n\n" + coverage_said(prepared))


def _causes(q):
    """Who spends more or less than before, and which effects moved spend."""
    if q.variance.empty:
        return ""
    large = q.variance[q.variance["usd"].abs() >= 0.01 * q.before_usd].sort_values("usd", key=abs, ascending=False)
    effects = ", ".join(f"{_CAUSES[row.effect][int(row.usd < 0)]} {_change(row.usd)}" for row in large.itertuples())
    words = [f"By cause: {effects}."] if effects else []
    if len(q.changes):
        by = q.changes["by"].iloc[0]
        own = q.changes[(q.changes["by"] == by) & (q.changes["change_usd"].abs() >= 0.01 * q.before_usd)].head(3)
        names = ", ".join(f"{escaped(row.name)} {_change(row.change_usd)}" for row in own.itertuples(index=False))
        words += [f"By {by.removesuffix('_id')}, the largest changes: {names}."] if names else []
    return " ".join(words)


def _change(value):
    return ("+" if value > 0 else "") + money(value)


def coverage_said(prepared):
    """On what the report stands: rows priced and set aside, days without usage, and whether the usage is real."""
    account, q = prepared.cube.account, prepared.quarter
    aside = account.set_aside[account.set_aside["reason"] != "outside the period"]
    lost, read = int(aside["rows"].sum()), account.rows_priced + int(aside["rows"].sum())
    text = f"Priced: {account.rows_priced:,} of {read:,} rows of usage of this quarter and the one before"
    models = ", ".join(escaped(name) for name in account.unknown_models.index[:5])
    text += (
        (
            f"; **{lost:,} could not be priced and are in no figure**"
            + (f" (models without a price: {models})" if models else "")
        )
        if lost
        else ""
    )
    gone = int(q.coverage.loc[q.coverage["what"] == "days of the quarter without usage", "count"].sum())
    text += f"; {gone} days of the quarter have no usage" if gone else ""
    if prepared.read is not None:
        files = prepared.read.files
        unread, bad = int((files["problem"] != "").sum()), int(files["set_aside"].sum())
        text += f"; {unread} of {len(files)} files could not be read" if unread else ""
        text += f"; {bad:,} rows of the files were set aside by the reader" if bad else ""
    prices = f"Prices: {escaped(account.price_source)}."
    return f"{_KINDS[prepared.kind]} {text}. {prices}".strip()


def decisions(q):
    """The decisions as a table for a reader who signs: decision, usd, share, first."""
    found = q.decisions[["usd", "share"]].copy()
    what = [_VERBS.get(kind, f"{kind}: ") + text for kind, text in zip(q.decisions["kind"], q.decisions["what"], strict=True)]
    found.insert(0, "decision", [text[:1].upper() + text[1:] for text in what])
    found.insert(0, "place", range(1, len(found) + 1))
    return found.assign(
        first=[_STEPS.get(kind, need) for kind, need in zip(q.decisions["kind"], q.decisions["needs"], strict=True)]
    )


def compared(q):
    """The quarter's spend beside the budget and the quarter before: what, usd, change_usd, change_rate."""
    table = q.spend[["what", "usd"]].copy()
    others = table["what"] != "this quarter"
    table["change_usd"] = q.spend["difference_usd"].where(others)
    return table.assign(change_rate=(q.spend["ratio"] - 1).where(others))


def decisions_said(q):
    """What the decisions come to together."""
    if q.decisions.empty:
        return say("No saving of half a per cent of the spend or more was found.")
    total, count = q.decisions["usd"].sum(), len(q.decisions)
    words = "It saves" if count == 1 else f"Together the {['two', 'three'][count - 2] if count < 4 else count} save"
    return say(
        f"{words} about **{money(total)} a quarter**, at the pace of the quarter's last days for what began within it. "
        "No two concern the same tokens; what each assumes is in the section on savings."
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
    text = "" if pd.isna(row["usd_per_request"]) else f"A request costs {money(row['usd_per_request'])} on average. "
    if "top_share" in row and pd.notna(row["top_share"]):
        text += f"The {row['top_users']:,.0f} dearest of {row['active_users']:,.0f} active users (5 %) make {row['top_share']:.0%} of the cost."
    return text


def _tiers(q):
    now = q.tiers[q.tiers["period"] == q.quarter]
    top = now.loc[now["cost_usd"].idxmax()]
    share = f"{top['request_share']:.0%} of the requests and " if pd.notna(top["request_share"]) else ""
    return f"The largest part, {top['tier']}, is {share}{top['spend_share']:.0%} of the spend, at {money(top['usd_per_mtok'])} per million tokens."


def _cache(q):
    if q.cache.empty:
        return ""
    row = q.cache[q.cache["model_id"] == "all"].iloc[-1]
    if not row["hit_rate"] > 0:
        return "Nothing was read from a cache."
    return f"{row['hit_rate']:.0%} of all input was read from a cache. Against no cache at all it saved {money(row['net_usd'])}, writes paid."


def _output(q):
    row = q.output.iloc[-1]
    text = f"Output is {row['output_usd_share']:.0%} of the spend"
    text += f"; {row['reasoning_share']:.0%} of its tokens are reasoning" if pd.notna(row.get("reasoning_share")) else ""
    text += f"; {row['truncated_share']:.1%} of the answers were cut off" if pd.notna(row.get("truncated_share")) else ""
    return text + "."


def _reliability(q):
    if q.reliability.empty:
        return ""
    failed = q.reliability.loc[q.reliability["failed"], "share"].sum()
    text = f"{failed:.1%} of the requests failed."
    if "retry_usd" in q.reliability:
        text += f" Second attempts may have cost {money(q.reliability['retry_usd'].sum())}, all attempts of a request taken as equally dear."
    return text


def _events(q):
    if q.events.empty:
        return "No day stands out from the four weeks before it." if "anomalies" not in q.missing else ""
    own = q.events[q.events["over"].isin(["team", "cache"])].drop_duplicates(["over", "start"]).head(4)
    return " ".join(_event(row) for row in (own if len(own) else q.events.head(1)).itertuples(index=False))


def _event(row):
    when = f"on {row.start:%Y-%m-%d}" if row.days == 1 else f"from {row.start:%Y-%m-%d} to {row.end:%Y-%m-%d}"
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
        shown = [f"{x:.0%}" if over == "cache" else money(x) for x, over in zip(q.events[name], q.events["over"], strict=True)]
        found[name] = pd.Series(shown, found.index, dtype=object)
    return found


def _forecast(q):
    if q.forecast is None:
        return ""
    period = q.forecast.totals.index[-1]
    row = q.forecast.totals.loc[period]
    text = f"{period}: about {money(row['usd'])}, with {q.forecast.confidence:.0%} between {money(row['low'])} and {money(row['high'])}."
    if len(q.forecast_error):
        last = q.forecast_error.iloc[0]
        text += (
            f" For this quarter the {escaped(last['source'])} said {money(last['forecast_usd'])}; it came to "
            f"{money(last['spend_usd'])}, {'inside' if last['inside'] else 'outside'} the band."
        )
    return text


def _savings(q):
    if q.savings.empty:
        return "No saving of half a per cent of the spend or more was found."
    held = int(q.savings["status"].isin(["worse", "against the task table"]).sum())
    text = (
        f"{len(q.savings)} proposals, which overlap and do not add up; the decisions on the first page are the largest that do."
    )
    return text + (f" {held} are held back by the task table or by a test." if held else "")


_SAID = {
    "variance": _variance, "units": _units, "tiers": _tiers, "cache": _cache, "output": _output,
    "reliability": _reliability, "events": _events, "forecast": _forecast, "savings": _savings,
}  # fmt: skip
