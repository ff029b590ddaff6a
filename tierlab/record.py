"""Decision records: a recommendation filed as Markdown that a person reads, with a YAML head that the kit reads back.

The form follows the architecture decision records of software teams (Nygard 2011; MADR): context, options, decision,
consequences. What the kit needs to judge the decision again stands in the head, in numbers.
"""

import datetime
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from tierlab.money import usd
from tierlab.names import unknown
from tierlab.recommendation import CHECKLIST, REVIEW_MONTHS
from tierlab.workload import Workload

KIND = "tierlab decision record, version 1"
_CANDIDATE = ("model_id", "provider", "tier", "price_usd", "error_rate", "error_low", "error_high", "seconds", "expected_usd")
_SHAPE = ("requests_per_day", "input_tokens", "output_tokens", "input_spread", "output_spread", "turns", "cache_hit_rate",
          "cache_ttl", "batch_share", "reasoning_share", "monthly_growth")  # fmt: skip


@dataclass(frozen=True)
class Record:
    """The head of a decision record.

    Attributes
    ----------
    title, owner : str
    decided_on, review_on : date
    task : str
        "" where none was named.
    model_id, tier, provider : str
        The choice.
    workload : dict
        Fields of `tierlab.Workload`.
    error_cost_usd, second_usd : float
        USD per error and per second of waiting.
    basis : str
        Where the error rates came from.
    examples : int
        How many of your own examples stand behind them.
    prices : dict
        source, as_of.
    candidates : list of dict
        The models that were compared, with price_usd, error_rate and expected_usd per request.
    flips : list of dict
        What would change the choice: what, unit, now, below, below_to, above, above_to.
    next_step : int
        Step of the checklist that was next when it was filed, 1 to 7.
    grounds : list of str
    """

    title: str
    owner: str
    decided_on: datetime.date
    review_on: datetime.date
    task: str
    model_id: str
    tier: str
    provider: str
    workload: dict
    error_cost_usd: float
    second_usd: float
    basis: str
    examples: int
    prices: dict
    candidates: list
    flips: list
    next_step: int
    grounds: list


def file_record(recommendation, path, *, title, owner="", decided_on=None, notes="", replace=False):
    """Write a recommendation as a decision record.

    Parameters
    ----------
    recommendation : Recommendation
    path : path
        A Markdown file; or a folder, in which the file is named by date and title.
    title : str
        What was decided about, in a few words.
    owner : str
        Who answers for it.
    decided_on : str, optional
        ISO date; by default the day of the prices.
    notes : str
        Words of your own, added below.
    replace : bool
        Whether a file that is there may be written over.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        For an empty title.
    FileExistsError
        If the file is there, and `replace` is not given.
    """
    title = " ".join(str(title).split())
    if not title:
        raise ValueError("a decision needs a title")
    record = _record(recommendation, title, " ".join(str(owner).split()), decided_on)
    path = Path(path)
    if path.suffix != ".md":
        path = path / f"{record.decided_on}-{_slug(title)}.md"
    if path.exists() and not replace:
        raise FileExistsError(f"{path} is there already; choose another title, or pass replace=True")
    path.parent.mkdir(parents=True, exist_ok=True)
    head = yaml.safe_dump({"kind": KIND} | asdict(record), sort_keys=False, allow_unicode=True, width=120)
    path.write_text(f"---\n{head}---\n\n{_body(record, recommendation, notes)}", encoding="utf-8", newline="\n")
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
    parts = re.match(r"---\n(.*?)\n---\n", path.read_text(encoding="utf-8").replace("\r\n", "\n"), re.S)
    if not parts:
        raise ValueError(f"{path}: no YAML head between two lines of ---; is this a decision record?")
    try:
        head = yaml.safe_load(parts[1])
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: the head is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(head, dict) or head.pop("kind", None) != KIND:
        raise ValueError(f"{path}: the head has no line 'kind: {KIND}'")
    kinds = {field.name: field.type for field in fields(Record)}
    for name in head:
        if name not in kinds:
            raise ValueError(f"{path}: " + unknown("field", name, kinds))
    for name, kind in kinds.items():
        if name not in head:
            raise ValueError(f"{path}: field {name!r} is missing")
        if kind is float and isinstance(head[name], int):
            head[name] = float(head[name])
        if not isinstance(head[name], kind) or isinstance(head[name], bool):
            raise ValueError(f"{path}: {name} = {head[name]!r}; {kind.__name__} is needed")
    for row in head["candidates"]:
        if not isinstance(row, dict) or set(row) != set(_CANDIDATE):
            raise ValueError(f"{path}: each candidate has the fields {', '.join(_CANDIDATE)}; got {row!r}")
    for name in head["workload"]:
        if name not in _SHAPE:
            raise ValueError(f"{path}: workload: " + unknown("field", name, _SHAPE))
    if head["model_id"] not in {row["model_id"] for row in head["candidates"]}:
        raise ValueError(f"{path}: the choice {head['model_id']!r} is not among the candidates")
    return Record(**head)


def workload_of(record):
    """The workload of a record, as a `tierlab.Workload`."""
    return Workload(**{name: tuple(value) if isinstance(value, list) else value for name, value in record.workload.items()})


def _record(found, title, owner, decided_on):
    settings = found.settings
    options, prices, workload = settings["options"], settings["prices"], settings["workload"]
    decided = pd.Timestamp(decided_on or prices.as_of)
    shape, grounds = _shape(workload), list(found.grounds)
    if workload.table is not None:
        grounds.append(
            f"the workload is the mean of a table of {len(workload.table):,} requests: context steps count for the mean only"
        )
    table = options.running()
    return Record(
        title=title,
        owner=owner,
        decided_on=decided.date(),
        review_on=(decided + pd.DateOffset(months=REVIEW_MONTHS)).date(),
        task=settings["task"] or "",
        model_id=found.model_id,
        tier=found.tier,
        provider=found.provider,
        workload=shape,
        error_cost_usd=options.error_cost_usd,
        second_usd=options.second_usd,
        basis=found.basis,
        examples=settings["examples"],
        prices={"source": prices.source, "as_of": prices.as_of.date()},
        candidates=[_plain(row) for row in table[list(_CANDIDATE)].to_dict("records")],
        flips=[_plain(row) for row in found.flips[found.flips[["below", "above"]].notna().any(axis=1)].to_dict("records")],
        next_step=found.step,
        grounds=grounds,
    )


def _shape(workload):
    shape = {name: getattr(workload, name) for name in _SHAPE}
    if workload.table is not None:
        tokens = workload.mean_tokens()
        shape["output_tokens"] = float(tokens.get("output", 0))
        shape["input_tokens"] = float(sum(n for bucket, n in tokens.items() if bucket != "output"))
    default = {field.name: field.default for field in fields(Workload)}
    kept = {name: value for name, value in shape.items() if value != default.get(name) or name.endswith("_tokens")}
    return _plain({name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()})


def _plain(row):
    """Python's own numbers, as YAML takes them; a number that is not known is None."""
    row = {name: value.item() if isinstance(value, np.generic) else value for name, value in row.items()}
    return {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in row.items()}


def _slug(title):
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60] or "decision"


def _body(record, found, notes):
    options = found.settings["options"].running().head(9)
    rows = [
        f"| {row.model_id} | {row.tier} | {usd(row.price_usd)} | {row.error_rate:.1%} ({row.error_low:.1%} to {row.error_high:.1%}) "
        f"| {usd(row.expected_usd)} | {row.best_share:.0%} |"
        for row in options.itertuples()
    ]
    work = ", ".join(f"{name.replace('_', ' ')} {value:,}" if isinstance(value, int | float) else f"{name.replace('_', ' ')} {value}"
                     for name, value in record.workload.items())  # fmt: skip
    flips = [f"- {line}" for line in flip_words(found.flips)] or ["- Nothing on its own."]
    steps = [f"{n}. [{'x' if n < record.next_step else ' '}] {text}" for n, text in enumerate(CHECKLIST, 1)]
    parts = [
        f"# {_text(record.title)}",
        f"Decided on {record.decided_on}" + (f" by {_text(record.owner)}" if record.owner else "") + f". Look again by **{record.review_on}**: `python -m tierlab review` with this file.",
        "## Context",
        f"Task: {_text(record.task or 'not named')}. Workload: {work}. An error costs {usd(record.error_cost_usd)}"
        + (f", a second of waiting {usd(record.second_usd)}" if record.second_usd else ", waiting costs nothing") + ".",
        f"Prices: {_text(record.prices['source'])}. Error rates: {_text(record.basis)}"
        + (f", from {record.examples} examples" if record.examples else "") + ".",
        "## Options",
        "| model | tier | price per request | errors | all in per request | cheapest in |\n|---|---|---|---|---|---|\n" + "\n".join(rows),
        "## Decision",
        f"**{record.tier or 'no tier'}: {record.model_id}.** {found.reason}",
        "## What would change it",
        "\n".join(flips),
        "## Checklist",
        "\n".join(steps),
        f"Next: {found.next_step}",
    ]  # fmt: skip
    parts += ["## Where the numbers come from", "\n".join(f"- {_text(line)}" for line in record.grounds)] * bool(record.grounds)
    parts += ["## Notes", _text(notes)] * bool(notes.strip())
    return "\n\n".join(parts) + "\n"


def flip_words(flips):
    """The table `flips` as sentences: one per quantity that can change the choice."""
    lines = []
    for row in flips.itertuples(index=False):
        show = usd if row.unit == "USD" else "{:.1%}".format if row.unit == "share" else "{:.2f} times today's".format
        sides = [
            f"{side} {show(getattr(row, side))} it is {getattr(row, f'{side}_to')}"
            for side in ("below", "above")
            if getattr(row, f"{side}_to")
        ]
        if sides:
            now = "" if row.unit == "times" else f" (now {show(row.now)})"
            lines.append(f"{row.what}{now}: {'; '.join(sides)}")
    return lines


def _text(words):
    """Text of others in Markdown: shown as it is, never as markup."""
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", words)
