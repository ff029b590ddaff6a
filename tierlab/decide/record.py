"""Decision records: a recommendation filed as Markdown that a person reads, with a YAML head that the kit reads back.

The form follows the architecture decision records of software teams (Nygard 2011; MADR): context, options, decision,
consequences. What the kit needs to judge the decision again stands in the head, in numbers.

The head of a decision record: its fields, and the checks that stop a head that was edited into nonsense.

The words of a decision record: Markdown in which whatever a person or a model was called is text, never markup.
"""

import datetime
import os
import re
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from tierlab.core.files import write_whole
from tierlab.core.format import usd
from tierlab.core.tables import load_tasks
from tierlab.core.untrusted import cited, read_text, read_yaml
from tierlab.core.vocabulary import unknown
from tierlab.decide.options import INTERVAL
from tierlab.decide.tasks import CHECKLIST, REVIEW_MONTHS
from tierlab.prices.names import canonical
from tierlab.scaling.costs import daily_cost
from tierlab.scaling.workload import CACHE_TTLS, Workload


def file_record(recommendation, path, *, title, owner="", decided_on=None, notes="", replace=False):
    """Write a recommendation as a decision record.

    Parameters
    ----------
    recommendation : Recommendation
    path : path
        A file that ends in .md; or a folder, in which the file is named by date and title.
    title : str
        What was decided about, in a few words.
    owner : str
        Who answers for it.
    decided_on : str or date, optional
        The day on which it is filed; by default today.
    notes : str
        Words of your own, added below.
    replace : bool
        Whether a decision record that is there may be written over; no other file is.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        For an empty title, a file that does not end in .md, one to replace that is no decision record, or samples of
        fewer examples than the margin takes.
    FileExistsError
        If anything has the name already, and `replace` is not given.
    """
    title = " ".join(str(title).split())
    if not title:
        raise ValueError("a decision needs a title")
    if recommendation.lack:
        raise ValueError(
            f"not filed: {recommendation.lack}. `python -m tierlab sample` runs them; a wider margin takes fewer (margin=, --margin)"
        )
    path = Path(path)
    is_folder = path.is_dir() or not path.suffix
    if not is_folder and path.suffix.lower() != ".md":
        raise ValueError(
            f"{path}: a decision record is Markdown; name a file that ends in .md, or a folder"
        )
    record = _record(recommendation, title, " ".join(str(owner).split()), decided_on)
    if is_folder:
        path = path / f"{record.decided_on}-{_slug(title)}.md"
    if replace and os.path.lexists(path):
        if not path.is_file():
            raise ValueError(f"{path} is no decision record and is not replaced")
        load_record(path)  # refuses what is none
    head = yaml.safe_dump(
        {"kind": KIND} | asdict(record), sort_keys=False, allow_unicode=True, width=120
    )
    try:
        write_whole(
            path, f"---\n{head}---\n\n{body(record, recommendation, notes)}", exclusive=not replace
        )
    except FileExistsError:
        if not os.path.lexists(path):
            raise ValueError(f"{path.parent} is not a folder; name another one") from None
        raise FileExistsError(
            f"{path} is there already; choose another title, or have it replaced (replace=True, --replace)"
        ) from None
    return path


def load_record(path):
    """Read a decision record back.

    Parameters
    ----------
    path : path

    Returns
    -------
    Record

    Raises
    ------
    ValueError
        If it is no decision record, or a field is missing, unknown or of the wrong kind; names file and field.
    """
    path = Path(path)
    try:
        return checked(_head(read_text(path)))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None


def _head(text):
    parts = re.match(r"---[ \t]*\n(.*?)\n---[ \t]*(?:\n|$)", text.replace("\r\n", "\n"), re.S)
    if not parts:
        raise ValueError("no YAML head between two lines of ---; is this a decision record?")
    try:
        return read_yaml(parts[1])
    except ValueError as error:  # also a day that does not exist
        raise ValueError(f"the head cannot be read: {error}") from None


def _record(found, title, owner, decided_on):
    settings = found.settings
    options, prices, workload = settings["options"], settings["prices"], settings["workload"]
    decided, ratings = pd.Timestamp(decided_on or datetime.date.today()), settings["ratings"] or {}
    grounds, seen = list(found.grounds), settings["evidence"]
    if (
        options.rows is not None
    ):  # its tokens price nothing, so that their ranges are no uncertainty
        workload = replace(workload.point(), requests_per_day=workload.requests_per_day)
    shape = _shape(workload, grounds)
    flips = found.flips[
        found.flips[["below", "above"]].notna().any(axis=1) | found.flips["note"].ne("")
    ]
    return Record(
        title=title,
        owner=owner,
        decided_on=decided.date(),
        review_on=(decided + pd.DateOffset(months=REVIEW_MONTHS)).date(),
        task=settings["task"] or "",
        stakes=[int(end) for end in ratings.get("stakes", ())],
        complexity=[int(end) for end in ratings.get("complexity", ())],
        model_id=found.model_id,
        tier=found.tier,
        provider=found.provider,
        workload=shape,
        tool_calls=int(options.tool_calls),
        error_cost_usd=float(options.error_cost_usd),
        error_cost_low=float(options.error_cost_low),
        error_cost_high=float(options.error_cost_high),
        second_usd=float(options.second_usd),
        basis=found.basis,
        examples=int(settings["examples"]),
        examples_needed=seen.needed if seen else 0,
        margin=float(settings["margin"]) if seen else 0.0,
        prices={"source": prices.source, "as_of": prices.as_of.date()},
        candidates=_candidates(options, shape, prices, grounds),
        flips=[_plain(row) for row in flips.to_dict("records")],
        next_step=int(found.step),
        grounds=grounds,
    )


def _candidates(options, shape, prices, grounds):
    table = options.running().join(options.spread, on="model_id")
    filed = workload_of(shape).point()
    scale = table["price_usd"] / table["model_id"].map(
        lambda model: _listed_price(model, filed, prices)
    )
    table = table.assign(price_scale=scale.where((scale - 1).abs() > 1e-9, scale.round()))
    if len(off := table[table["price_scale"].notna() & (table["price_scale"] != 1)]):
        said = ", ".join(
            f"{model} {ratio:.3g}"
            for model, ratio in zip(off["model_id"], off["price_scale"], strict=True)
        )
        grounds.append(
            f"the price of a request over the catalogue's for the workload as filed, which a review keeps: {said}"
        )
    return [_plain(row) for row in table[list(CANDIDATE)].to_dict("records")]


def _listed_price(model, filed, prices):
    """USD per request of the filed workload; NaN where the catalogue cannot say."""
    if model not in prices.rows_of:
        return np.nan
    try:
        return (
            float(daily_cost(filed, prices, [model])["cost_usd"].iloc[0]) / filed.requests_per_day
            or np.nan
        )
    except ValueError:  # a rate is missing; the price came from samples
        return np.nan


def _shape(workload, grounds):
    """The fields of a workload that differ from their defaults; a table as its mean request."""
    shape = {name: getattr(workload, name) for name in SHAPE}
    if workload.table is not None:
        shape |= _mean_request(workload, grounds)
    default = {field.name: field.default for field in fields(Workload)}
    kept = {
        name: value
        for name, value in shape.items()
        if value != default[name] or name.endswith("_tokens")
    }
    return _plain(
        {
            name: _plain_ends(value) if isinstance(value, tuple) else value
            for name, value in kept.items()
        }
    )


def _mean_request(workload, grounds):
    point = workload.point()
    tokens, weight = point.cells()
    mean = {bucket: float(column @ weight) for bucket, column in tokens.items()}
    visible = mean.pop("output") * (1 - point.reasoning_share)
    whole, read = sum(mean.values()), mean.get("cache_read", 0.0)
    grounds.append(
        f"the workload is filed as the mean of a table of {len(workload.table):,} requests"
    )
    shape = {"input_tokens": whole, "output_tokens": visible}
    if workload.cache_ttl is not None or np.any(workload.cache_hit_rate):
        return shape  # the table is whole input, and the settings split it
    missed = {None: mean.get("uncached_input", 0.0)} | {
        ttl: mean.get(f"cache_write_{ttl}", 0.0) for ttl in CACHE_TTLS
    }
    ttl = max(missed, key=missed.get)
    if sum(part > 0 for part in missed.values()) > 1:
        kinds = ", ".join(
            f"{part:,.4g} {f'written for {kind}' if kind else 'plain'}"
            for kind, part in missed.items()
            if part
        )
        grounds.append(
            f"input tokens that no cache had are of several kinds ({kinds}) and are filed as the largest of them"
        )
    return shape | {"cache_hit_rate": read / whole if whole else 0.0, "cache_ttl": ttl}


def _plain_ends(pair):
    return [end.item() if isinstance(end, np.generic) else end for end in pair]


def _plain(row):
    """Python's own numbers, as YAML takes them; a number that is not known is None."""
    row = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in row.items()
    }
    return {
        name: None if isinstance(value, float) and np.isnan(value) else value
        for name, value in row.items()
    }


def _slug(title):
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60] or "decision"


KIND = "tierlab decision record, version 2"
SHAPE = ("requests_per_day", "input_tokens", "output_tokens", "input_spread", "output_spread", "turns", "cache_hit_rate",
         "cache_ttl", "batch_share", "reasoning_share", "monthly_growth")  # fmt: skip
CANDIDATE = ("model_id", "provider", "tier", "price_usd", "price_basis", "price_scale", "error_rate", "error_low", "error_high",
             "worth", "shared", "seconds", "seconds_low", "seconds_high", "expected_usd")  # fmt: skip
_BASES = ("catalogue", "samples", "given")


@dataclass(frozen=True)
class Record:
    """The head of a decision record.

    Attributes
    ----------
    title, owner : str
    decided_on, review_on : date
    task : str
        "" where none was named.
    stakes, complexity : list of int
        The ratings of the task, (low, high) from 1 to 3; empty without.
    model_id, tier, provider : str
        The choice.
    workload : dict
        Fields of `tierlab.Workload`; a range is a list of two numbers.
    tool_calls : int
        Per request; the error rates include theirs.
    error_cost_usd, error_cost_low, error_cost_high, second_usd : float
        USD per error, its range, and USD per second of waiting.
    basis : str
        Where the error rates came from.
    examples : int
        How many of your own examples stand behind them; of samples, those that the choice has in common with its rival.
    examples_needed, margin : int, float
        How many the margin takes (how much worse than a rival the choice may be, 0-1); 0 without samples.
    prices : dict
        source, as_of.
    candidates : list of dict
        The models that were compared, per request: price_usd, price_basis ("catalogue", "samples", "given"), price_scale
        (price_usd over the catalogue's price of `workload`: not 1 where a table of requests was filed as its mean, or the
        price is that of samples; None for a model outside the catalogue), error_rate, error_low, error_high, worth, shared
        (what the draws are made of: `tierlab.decide.options.Errors`), seconds, seconds_low, seconds_high, expected_usd.
    flips : list of dict
        What would change the choice: what, unit, now, below, below_to, above, above_to, note.
    next_step : int
        Step of the checklist that was next when it was filed, 1 to 7.
    grounds : list of str
    """

    title: str
    owner: str
    decided_on: datetime.date
    review_on: datetime.date
    task: str
    stakes: list
    complexity: list
    model_id: str
    tier: str
    provider: str
    workload: dict
    tool_calls: int
    error_cost_usd: float
    error_cost_low: float
    error_cost_high: float
    second_usd: float
    basis: str
    examples: int
    examples_needed: int
    margin: float
    prices: dict
    candidates: list
    flips: list
    next_step: int
    grounds: list


def workload_of(filed):
    """The `tierlab.Workload` of a record, or of the fields that one holds."""
    filed = filed.workload if isinstance(filed, Record) else filed
    return Workload(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in filed.items()
        }
    )


def checked(head):
    """The record that a head describes.

    Parameters
    ----------
    head : dict
        As read from YAML, with the line `kind`.

    Returns
    -------
    Record

    Raises
    ------
    ValueError
        If a field is missing, unknown, of the wrong kind or out of its range; names it.
    """
    if not isinstance(head, dict) or head.get("kind") != KIND:
        raise ValueError(f"the head has no line 'kind: {KIND}'")
    kinds = {field.name: field.type for field in fields(Record)}
    for name in head:
        if name != "kind" and name not in kinds:
            raise ValueError(unknown("field", name, kinds))
    values = {name: _of_kind(name, head, kind) for name, kind in kinds.items()}
    record = Record(**values)
    for name in (
        "error_cost_usd",
        "second_usd",
        "tool_calls",
        "examples",
        "examples_needed",
        "margin",
    ):
        _number(name, values[name])
    if not 0 <= record.error_cost_low <= record.error_cost_usd <= record.error_cost_high < np.inf:
        raise ValueError(
            "error_cost_low, error_cost_usd and error_cost_high are numbers in that order, from 0 up"
        )
    if not isinstance(record.prices.get("source"), str) or not _is_date(record.prices.get("as_of")):
        raise ValueError(f"prices = {cited(record.prices)}; a source and a date as_of are needed")
    _check_lists(record)
    _check_workload(record.workload)
    _check_candidates(record)
    return record


def _of_kind(name, head, kind):
    if name not in head:
        raise ValueError(f"field {cited(name)} is missing")
    value = head[name]
    if kind is float and type(value) is int:
        value = float(value)
    right = (
        _is_date(value)
        if kind is datetime.date
        else isinstance(value, kind) and not isinstance(value, bool)
    )
    if not right:
        raise ValueError(f"{name} = {cited(value)}; {kind.__name__} is needed")
    return value


def _is_date(value):
    return isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(name, value, most=np.inf):
    if not _is_number(value) or not (0 <= value <= most and value < np.inf):
        raise ValueError(
            f"{name} = {cited(value)}; a number from 0 "
            + ("up" if most == np.inf else f"to {most}")
            + " is needed"
        )


def _check_lists(record):
    for name, kind in {"flips": dict, "grounds": str, "stakes": int, "complexity": int}.items():
        for item in getattr(record, name):
            if not isinstance(item, kind):
                raise ValueError(f"{name}: {cited(item)}; {kind.__name__} is needed")


def _check_workload(filed):
    for name, value in filed.items():
        if name not in SHAPE:
            raise ValueError("workload: " + unknown("field", name, SHAPE))
        ends = value if isinstance(value, list) and name != "turns" else [value]
        if name != "cache_ttl" and not (ends and all(_is_number(end) for end in ends)):
            raise ValueError(
                f"workload: {name} = {cited(value)}; a number is needed, or a list of its low and high end"
            )
    if "requests_per_day" not in filed:
        raise ValueError("workload: field 'requests_per_day' is missing")
    try:
        workload_of(filed)
    except ValueError as error:
        raise ValueError(f"workload: {error}") from None


def _check_candidates(record):
    for row in record.candidates:
        if not isinstance(row, dict) or set(row) != set(CANDIDATE):
            raise ValueError(
                f"each candidate has the fields {', '.join(CANDIDATE)}; got {cited(row)}"
            )
        if (
            not all(isinstance(row[name], str) for name in ("model_id", "provider", "tier"))
            or row["price_basis"] not in _BASES
        ):
            raise ValueError(
                f"candidate {cited(row['model_id'])}: model_id, provider and tier are text, price_basis one of {_BASES}"
            )
        where = f"candidate {row['model_id']}: "
        for name in (
            "price_usd",
            "price_scale",
            "seconds",
            "seconds_low",
            "seconds_high",
            "expected_usd",
        ):
            if row[name] is not None:
                _number(where + name, row[name])
        for name in ("error_rate", "error_low", "error_high"):
            _number(where + name, row[name], most=1)
        _number(where + "worth", row["worth"])
        if not _is_number(row["shared"]) or not -1 <= row["shared"] <= 1:
            raise ValueError(f"{where}shared = {row['shared']!r}; a number from -1 to 1 is needed")
        times = [row[name] for name in ("seconds_low", "seconds", "seconds_high")]
        if (None in times and times != [None] * 3) or (
            None not in times and times != sorted(times)
        ):
            raise ValueError(f"{where}seconds_low, seconds and seconds_high are not in that order")
        if not row["error_low"] <= row["error_rate"] <= row["error_high"]:
            raise ValueError(f"{where}error_low, error_rate and error_high are not in that order")
        if record.second_usd and row["seconds"] is None:
            raise ValueError(
                f"{where}seconds are missing, and a second costs {record.second_usd:g} USD"
            )
    names = [canonical(row["model_id"]) or row["model_id"] for row in record.candidates]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the candidate {cited(name)} is there {names.count(name)} times")
    if all(row["price_usd"] is None for row in record.candidates):
        raise ValueError("no candidate has a price_usd")
    choice = canonical(record.model_id) or record.model_id
    if choice not in names:
        raise ValueError(f"the choice {cited(record.model_id)} is not among the candidates")
    if record.candidates[names.index(choice)]["price_usd"] is None:
        raise ValueError(f"the choice {cited(record.model_id)} has no price_usd")


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
        show = (
            usd
            if row.unit == "USD"
            else "{:.1%}".format
            if row.unit == "share"
            else "{:.2f} times today's".format
        )
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
    next_step = (
        f"look again by {record.review_on}."
        if record.next_step == len(CHECKLIST)
        else found.next_step.replace("`", "")
    )
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
        parts += [
            "## Where the numbers come from",
            "\n".join(f"- {escaped(line)}" for line in record.grounds),
        ]
    if notes.strip():
        parts += ["## Notes", "\n".join(escaped(line) for line in notes.strip().splitlines())]
    return "\n\n".join(parts) + "\n"


def _context(record):
    tasks = load_tasks()["name"]
    task = tasks.get(record.task, record.task) or "not named"
    rated = f" (stakes {_ends(record.stakes)}, complexity {_ends(record.complexity)}; 1 is low, 3 is high)"
    work = "; ".join(
        f"{name.replace('_', ' ')} {_ends(value, name)}" for name, value in record.workload.items()
    )
    tools = f"; tool calls per request {record.tool_calls}" if record.tool_calls else ""
    low, high = usd(record.error_cost_low), usd(record.error_cost_high)
    about = f" ({low} to {high})" if low != high else ""
    waiting = (
        f"a second of waiting {usd(record.second_usd)}"
        if record.second_usd
        else "waiting costs nothing"
    )
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
    return (
        f"{100 * value:.4g}%" if name.endswith(("_share", "_rate", "_growth")) else f"{value:,.10g}"
    )


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
    aside = (
        [f"{len(table) - _ROWS} more expensive models are in the head of this file only"]
        if len(table) > _ROWS
        else []
    )
    aside += [f"{row.model_id} is out of the running: {row.note}" for row in out.itertuples()]
    return lines + ["\n".join(f"- {escaped(line)}" for line in aside)] * bool(aside)


def _error_interval(record, options):
    if record.basis == "counted":
        open_ = [model for model in options.running()["model_id"] if model not in options.counted]
        return "95% interval of your counts" + (
            f"; ends of an assumed range for {', '.join(open_)}" if open_ else ""
        )
    return {"assumed": "ends of an assumed range", "given": "ends of the range that was given"}.get(
        record.basis, "95% interval, your examples drawn again"
    )


def _span(value, low, high, show):
    return f"{show(value)} ({show(low)} to {show(high)})" if low < high else show(value)
