"""The words of a decision record: Markdown in which whatever a person or a model was called is text, never markup."""

import re

from tierlab.checklist import CHECKLIST
from tierlab.decision import load_tasks
from tierlab.money import usd
from tierlab.options import INTERVAL

_ROWS = 9  # of the options table; the head has them all
_MARKUP = re.compile(r"([\\`*_\[\]<>#|&$~^{}])")
_BASIS = {"catalogue": "", "samples": ", from samples", "given": ", given"}


def escaped(words):
    """One line of Markdown that shows the words as they are.

    CommonMark lets a backslash stand before any ASCII punctuation. What can open markup within a line gets one
    everywhere; what can open it only at the start of a line (lists, rules, underlines of headings) gets one there.

    Examples
    --------
    >>> print(escaped("  - <b> costs $1 & more"), escaped("1. one"))
    \\- \\<b\\> costs \\$1 \\& more 1\\. one
    """
    line = re.sub(r"[\x00-\x1f\x7f-\x9f]", "", " ".join(str(words).split()))
    line = _MARKUP.sub(r"\\\1", line)
    return re.sub(r"^(\d*)([!\"%'()+,\-./:;=?@])", r"\1\\\2", line)


def flip_words(flips):
    """The table `flips` as sentences, in plain text: one per quantity that can change the choice."""
    lines = []
    for row in flips.itertuples(index=False):
        show = usd if row.unit == "USD" else "{:.1%}".format if row.unit == "share" else "{:.2f} times today's".format
        sides = [
            f"{side} {show(getattr(row, side))} then it is {getattr(row, f'{side}_to')}"
            for side in ("below", "above")
            if getattr(row, f"{side}_to")
        ]
        now = "" if row.unit == "times" else f" (now {show(row.now)})"
        if sides or row.note:
            lines.append(f"{row.what}{now}: {'; '.join([*sides, row.note] if row.note else sides)}")
    return lines


def body(record, found, notes):
    """Everything below the head.

    Parameters
    ----------
    record : Record
    found : Recommendation
    notes : str

    Returns
    -------
    str
    """
    flips = [f"- {escaped(line)}" for line in flip_words(found.flips)] or ["- Nothing on its own."]
    tier = f"{record.tier} tier" if record.tier else "no tier"
    provider = f", {escaped(record.provider)}" if record.provider else ""
    next_step = f"look again by {record.review_on}." if record.next_step == len(CHECKLIST) else found.next_step.replace("`", "")
    parts = [
        f"# {escaped(record.title)}",
        f"Use **{escaped(record.model_id)}** ({tier}{provider}): decided on {record.decided_on}"
        + (f" by {escaped(record.owner)}" if record.owner else ", with no owner named")
        + f", at prices of {record.prices['as_of']}, to be looked at again by **{record.review_on}** (`python -m tierlab review` with this file)."
        + (f" It is too close to call against {escaped(' and '.join(found.close[1:]))}." if found.close else ""),
        "## Context", *_context(record),
        "## Options", *_options(record, found),
        "## Decision", escaped(found.reason),
        "## What would change it", "\n".join(flips),
        "## Checklist",
        "\n".join(f"{n}. [{'x' if n in found.settings['checked'] else ' '}] {text}" for n, text in enumerate(CHECKLIST, 1)),
        f"Next: {escaped(next_step)}",
    ]  # fmt: skip
    if record.grounds:
        parts += ["## Where the numbers come from", "\n".join(f"- {escaped(line)}" for line in record.grounds)]
    if notes.strip():
        parts += ["## Notes", "\n".join(escaped(line) for line in notes.strip().splitlines())]
    return "\n\n".join(parts) + "\n"


def _context(record):
    tasks = load_tasks()["name"]
    task = tasks.get(record.task, record.task) or "not named"
    rated = f" (stakes {_ends(record.stakes)}, complexity {_ends(record.complexity)}; 1 is low, 3 is high)"
    work = "; ".join(f"{name.replace('_', ' ')} {_ends(value, name)}" for name, value in record.workload.items())
    tools = f"; tool calls per request {record.tool_calls}" if record.tool_calls else ""
    low, high = usd(record.error_cost_low), usd(record.error_cost_high)
    about = f" ({low} to {high})" if low != high else ""
    waiting = f"a second of waiting {usd(record.second_usd)}" if record.second_usd else "waiting costs nothing"
    counted = f", from {record.examples} examples" if record.examples else ""
    if record.examples_needed:
        counted += f" (a margin of {100 * record.margin:.3g} points takes {record.examples_needed})"
    return [
        f"Task: {escaped(task)}{rated if record.stakes else ''}.",
        f"Workload: {escaped(work)}{tools}.",
        escaped(f"An error costs {usd(record.error_cost_usd)}{about}; {waiting}."),
        f"Prices: {escaped(record.prices['source'])}, as of {record.prices['as_of']}. Error rates: {escaped(record.basis)}{counted}.",
    ]


def _ends(value, name=""):
    """A number, or a range as "10 to 20"."""
    if isinstance(value, list):
        ends = list(dict.fromkeys(value))
        return " to ".join(_ends(end, name) for end in ends)
    if isinstance(value, str):
        return value
    return f"{100 * value:.4g}%" if name.endswith(("_share", "_rate", "_growth")) else f"{value:,.10g}"


def _options(record, found):
    options = found.settings["options"]
    table = options.running()
    rows = [
        f"| {escaped(row.model_id)} | {row.tier or 'none'} | {escaped(usd(row.price_usd))}{_BASIS[row.price_basis]} "
        f"| {_span(row.error_rate, row.error_low, row.error_high, '{:.1%}'.format)} "
        f"| {escaped(_span(row.expected_usd, row.low, row.high, usd))} | {row.best_share:.0%} |"
        for row in table.head(_ROWS).itertuples()
    ]
    head = "| model | tier | price per request | errors (low to high) | all in per request (low to high) | cheapest in |"
    lines = [f"{head}\n|---|---|---|---|---|---|\n" + "\n".join(rows)]
    lines.append(
        escaped(
            f"Low and high of the errors: {_error_interval(record, options)}. Of all in: {INTERVAL}; "
            "the last column is the share of the same draws."
        )
    )
    out = options.table[options.table["expected_usd"].isna()]
    aside = [f"{len(table) - _ROWS} more expensive models are in the head of this file only"] if len(table) > _ROWS else []
    aside += [f"{row.model_id} is out of the running: {row.note}" for row in out.itertuples()]
    return lines + ["\n".join(f"- {escaped(line)}" for line in aside)] * bool(aside)


def _error_interval(record, options):
    if record.basis == "counted":
        open_ = [model for model in options.running()["model_id"] if model not in options.counted]
        return "95% interval of your counts" + (f"; ends of an assumed range for {', '.join(open_)}" if open_ else "")
    return {"assumed": "ends of an assumed range", "given": "ends of the range that was given"}.get(
        record.basis, "95% interval, your examples drawn again"
    )


def _span(value, low, high, show):
    return f"{show(value)} ({show(low)} to {show(high)})" if low < high else show(value)
