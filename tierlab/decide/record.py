"""Decision records: a recommendation filed as Markdown for people, with YAML at its end that the kit reads back.

The sections are those of the architecture decision records of software teams (Nygard 2011; MADR), the decision first.
The numbers that a review needs stand at the end. The words are in record.md.jinja beside this module.
"""

import datetime
import os
import re
from collections import defaultdict
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Literal, NotRequired, get_args

import jinja2
import numpy as np
import pandas as pd
import yaml
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from typing_extensions import TypedDict  # the one that pydantic takes before Python 3.12

from tierlab.core.files import write_whole
from tierlab.core.format import usd
from tierlab.core.tables import iso_day, load_tasks
from tierlab.core.untrusted import cited, in_markdown, read_text, read_yaml, shown
from tierlab.core.vocabulary import unknown
from tierlab.decide.checklist import CHECKLIST, REVIEW_MONTHS, review_day
from tierlab.decide.match import about, settling
from tierlab.decide.options import INTERVAL, daily
from tierlab.decide.recommend import (
    Recommendation,
    dollars,
    dollars_said,
    flip_words,
    rate_said,
    rates_said,
    untested_said,
)
from tierlab.prices.catalog import load_prices
from tierlab.prices.names import canonical
from tierlab.scaling.workload import CACHE_TTLS, Workload

KIND = "tierlab decision record, version 2"
_ROWS = 9  # rows of the table of models; the numbers at the end have all of them
_NUMBERS = "\n## Numbers for the review\n"
_OLD_DAYS = 31  # a record says so when its prices are older than this
_INTERVALS = {
    "counted": "95% interval of your counts",
    "assumed": "ends of an assumed range",
    "given": "ends of the range that was given",
}

Kind = Literal["tierlab decision record, version 1", "tierlab decision record, version 2"]
Amount = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Shape = Literal[
    "requests_per_day",
    "input_tokens",
    "output_tokens",
    "input_spread",
    "output_spread",
    "turns",
    "cache_hit_rate",
    "cache_ttl",
    "batch_share",
    "reasoning_share",
    "monthly_growth",
]


class Candidate(TypedDict):
    """A model that was compared, with its numbers per request.

    The fields are those of `tierlab.decide.options.Options`, except price_scale: price_usd over the catalogue's price of
    the workload. It is not 1 if a table of requests was filed as its mean or the price comes from samples, and None for
    a model outside the catalogue. The draws are made from the last four fields, which records of version 1 lack; basis,
    wrong and examples are not in the first records of version 2.
    """

    model_id: str
    provider: str
    tier: str
    price_usd: Amount | None
    price_basis: Literal["catalogue", "samples", "given"]
    price_scale: Amount | None
    error_rate: Share
    error_low: Share
    error_high: Share
    seconds: Amount | None
    expected_usd: Amount | None
    basis: NotRequired[str]
    wrong: NotRequired[Count | None]
    examples: NotRequired[Count | None]
    worth: NotRequired[Amount]
    shared: NotRequired[Annotated[float, Field(ge=-1, le=1)]]
    seconds_low: NotRequired[Amount | None]
    seconds_high: NotRequired[Amount | None]


class Record(BaseModel):
    """The numbers of a decision record.

    Attributes
    ----------
    title, owner : str
    decided_on, review_on : date
    task : str
        "" if none was named.
    stakes, complexity : list of int
        The ratings of the task, [low, high] from 1 to 3; empty if it has none.
    model_id, tier, provider : str
        The choice.
    workload : dict
        Fields of `tierlab.Workload`; a range is a list of two numbers.
    tool_calls : int
        Tool calls per request that the error rates include.
    error_cost_usd, error_cost_low, error_cost_high, second_usd : float
        USD per error, its range, and USD per second of waiting.
    basis : str
        Where the error rates come from.
    examples : int
        How many of your own examples are behind them; with samples, those that the choice has in common with its rival.
    examples_needed, margin : int, float
        The margin (how much worse than a rival the choice may be, 0-1), and how many examples it takes. Without samples
        the margin is 0, and the examples are those that settle the choice against the rival nearest to turning it
        (`tierlab.decide.match.settling`); 0 if no number would.
    prices : dict
        source, as_of.
    candidates : list of Candidate
    flips : list of dict
        What would change the choice: what, unit, now, below, below_to, above, above_to, note.
    next_step : int
        The next step of the checklist on the day of the filing, 1 to 7.
    grounds : list of str
        Sentences on where the numbers come from.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    kind: Kind = KIND
    title: str
    owner: str
    decided_on: datetime.date
    review_on: datetime.date
    task: str
    stakes: list[int]
    complexity: list[int]
    model_id: str
    tier: str
    provider: str
    workload: dict[Shape, int | float | list[int | float] | Literal["short", "long"] | None]
    tool_calls: Count
    error_cost_usd: Amount
    error_cost_low: Amount
    error_cost_high: Amount
    second_usd: Amount
    basis: str
    examples: Count
    examples_needed: Count = 0
    margin: Share = 0.0
    prices: dict[str, str | datetime.date]
    candidates: list[Candidate]
    flips: list[dict]
    next_step: int
    grounds: list[str]

    @field_validator("workload", mode="before")
    @classmethod
    def _in_todays_words(cls, workload):
        """Read Anthropic's two times to live, which files before version 0.2 have."""
        if isinstance(workload, dict) and workload.get("cache_ttl") in ("5m", "1h"):
            return workload | {"cache_ttl": {"5m": "short", "1h": "long"}[workload["cache_ttl"]]}
        return workload

    @model_validator(mode="after")
    def _makes_sense(self):
        _in_order(self.model_dump(), "error_cost_low", "error_cost_usd", "error_cost_high")
        if type(self.prices.get("as_of")) is not datetime.date:
            raise ValueError(f"prices = {cited(self.prices)}; a source and a date as_of are needed")
        if "requests_per_day" not in self.workload:
            raise ValueError("workload: field 'requests_per_day' is missing")
        workload_of(self.workload)
        for row in self.candidates:
            _in_order(row, "error_low", "error_rate", "error_high")
            _in_order(row, "seconds_low", "seconds", "seconds_high")
            if self.second_usd and row["seconds"] is None:
                raise ValueError(f"candidate {cited(row['model_id'])}: seconds are missing")
        names = [canonical(row["model_id"]) or row["model_id"] for row in self.candidates]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"the candidate {cited(twice[0])} is listed {len(twice)} times")
        choice = canonical(self.model_id) or self.model_id
        if choice not in names:
            raise ValueError(f"the choice {cited(self.model_id)} is not among the candidates")
        if self.candidates[names.index(choice)]["price_usd"] is None:
            raise ValueError(f"the choice {cited(self.model_id)} has no price_usd")
        return self


def _in_order(row, *names):
    values = [row.get(name) for name in names if row.get(name) is not None]
    if values != sorted(values):
        raise ValueError(f"{', '.join(names)} are not in that order")


def file_record(
    recommendation: Recommendation,
    path: str | Path,
    *,
    title: str,
    owner: str = "",
    decided_on: str | datetime.date | None = None,
    notes: str = "",
    replace: bool = False,
) -> Path:
    """Write a recommendation as a decision record.

    Parameters
    ----------
    recommendation : Recommendation
    path : path
        A file that ends in .md, or a folder, in which the file is named by date and title.
    title : str
        What the decision is about, in a few words.
    owner : str
        Who answers for it.
    decided_on : str or date, optional
        The day of the decision; by default today.
    notes : str
        Your own Markdown, added at the end of the text.
    replace : bool
        Whether an existing decision record may be replaced; no other file ever is.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    ValueError
        For an empty title, a file that does not end in .md, a file to replace that is not a decision record, or samples
        of fewer examples than the margin takes.
    FileExistsError
        If the file exists and `replace` is not given.
    """
    title, path = " ".join(title.split()), Path(path)
    if not title:
        raise ValueError("a decision needs a title")
    common = recommendation.common
    if common is not None and common.more:
        raise ValueError(
            f"not filed: {recommendation.model_id} and {common.rival} need {common.more:,} more examples, {common}. "
            "`python -m tierlab sample` runs them; a wider margin takes fewer (margin=, --margin)"
        )
    is_folder = path.is_dir() or not path.suffix
    if not is_folder and path.suffix.lower() != ".md":
        raise ValueError(
            f"{path}: a decision record is Markdown; name a file that ends in .md, or a folder"
        )
    record = _record(recommendation, title, " ".join(owner.split()), decided_on)
    if is_folder:
        slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60] or "decision"
        path = path / f"{record.decided_on}-{slug}.md"
    if replace and os.path.lexists(path):
        if not path.is_file():
            raise ValueError(f"{path} is not a decision record and is not replaced")
        load_record(path)  # refuses what is not one
    # Lines are not folded, so that none of a text begins with the end of the block.
    head = yaml.safe_dump(record.model_dump(), sort_keys=False, allow_unicode=True, width=np.inf)
    text = f"{_body(record, recommendation, notes)}{_NUMBERS}\nRun `python -m tierlab review` with this file.\n\n```yaml\n{head}```\n"
    try:
        write_whole(path, text, exclusive=not replace)
    except FileExistsError:
        if not os.path.lexists(path):
            raise ValueError(f"{path.parent} is not a folder; name another one") from None
        raise FileExistsError(
            f"{path} exists already; choose another title, or have it replaced (replace=True, --replace)"
        ) from None
    return path


def load_record(path: str | Path) -> Record:
    """Read a decision record, including one of version 1 and one whose numbers stand at its head.

    Parameters
    ----------
    path : path

    Returns
    -------
    Record

    Raises
    ------
    ValueError
        If it is not a decision record, or a field is missing, unknown or of the wrong kind; names file and field.
    """
    text = read_text(path).replace("\r\n", "\n")
    parts = re.match(r"---[ \t]*\n(.*?)\n---[ \t]*(?:\n|$)", text, re.S)
    if not parts:
        parts = re.match(r"(.*?)\n```\s*\Z", text.rpartition("\n```yaml\n")[2], re.S)
    try:
        if not parts:
            raise ValueError("no YAML with the numbers at its end; is this a decision record?")
        head = read_yaml(parts[1])
        if not isinstance(head, dict) or head.get("kind") not in get_args(Kind):
            raise ValueError(f"the numbers have no line 'kind: {KIND}'")
        return Record.model_validate(head)
    except ValidationError as error:
        raise ValueError(f"{path}: {_in_words(error.errors())}") from None
    except (ValueError, OverflowError) as error:  # also a day that does not exist
        raise ValueError(f"{path}: {error}") from None


def _in_words(faults):
    """Say the fault that explains most: an unknown field first, then a wrong value, then a missing field."""
    order = {"extra_forbidden": 0, "missing": 2}
    fault = min(faults, key=lambda fault: order.get(fault["type"], 1))
    *above, name = fault["loc"] or [""]
    where = "".join(f"{shown(part)}: " for part in above)
    known = Candidate.__annotations__ if above else Record.model_fields
    if name == "[key]":
        return "workload: " + unknown("field", fault["input"], get_args(Shape))
    said = {
        "value_error": str(fault.get("ctx", {}).get("error")),
        "missing": f"{where}field {name!r} is missing",
        "extra_forbidden": where + unknown("field", name, known),
    }
    other = f"{where}{name} = {cited(fault['input'])}; {fault['msg'].lower()}"
    return said.get(fault["type"], other)


def workload_of(shape) -> Workload:
    """Return the `tierlab.Workload` of a record's field `workload`."""
    return Workload(**{name: tuple(v) if isinstance(v, list) else v for name, v in shape.items()})


def words_of(path):
    """Return the text of a decision record without the numbers at its end."""
    return read_text(path).rpartition(_NUMBERS)[0].strip()


def age_said(found, decided_on):
    """Say how much older the prices are than the decision, and which changed in between; "" within a month.

    The changes are those of the maintained catalogue, since the prices that were compared are means until the review.
    """
    prices, decided = found.prices, iso_day(decided_on)
    days = (decided - prices.as_of).days
    if days <= _OLD_DAYS:
        return ""
    changes = load_prices("maintained", as_of=prices.as_of).scheduled(
        list(found.running()["model_id"]), decided
    )
    said = "; ".join(f"{model} costs {change}" for model, change in changes.items())
    return (
        f"the prices of {prices.as_of:%Y-%m-%d} are {days} days older than the decision of {decided:%Y-%m-%d}: "
        + (
            said
            or "no price of a compared model is known to have changed since, but there may be new models"
        )
    )


def _needed(found):
    """How many examples settle the choice, and against which rival; (0, "") if no number would."""
    if found.common:
        return found.common.needed, found.common.rival
    rivals = settling(found).dropna(subset="examples")
    if rivals.empty:
        return 0, ""
    near = rivals.loc[rivals["distance"].idxmin()]
    return int(near["examples"]), near["model_id"]


def settles_said(found):
    """Say how many examples of your own settle the choice, and against which model; "" if no number would."""
    needed, rival = _needed(found)
    if not needed:
        return ""
    return f"{about(needed).capitalize()} examples of your own, answered by both models, settle it against {rival}."


def _tested(running):
    """The words beside steps 4 and 5 of the checklist: on how many examples each model was tested."""
    said = {4: [], 5: []}
    if running["examples"].notna().any():
        for row in running.itertuples():
            how = "not tested" if pd.isna(row.examples) else f"tested on {row.examples}"
            said[4 if row.tier == "mid" else 5].append(f"{row.model_id} {how}")
    return {step: ", ".join(own) for step, own in said.items()}


def _record(found, title, owner, decided_on):
    prices, task, common, workload = found.prices, found.task, found.common, found.workload
    decided = iso_day(decided_on or datetime.date.today())
    # Prices are averaged up to their own horizon; the review has to come before it ends.
    review_on = min(decided + pd.DateOffset(months=REVIEW_MONTHS), review_day(prices))
    if found.rows is not None:
        # Samples are not priced by the workload's tokens, so the ranges of these are no uncertainty.
        workload = replace(workload.point(), requests_per_day=workload.requests_per_day)
    shape, grounds = _shape(workload), list(found.grounds)
    if workload.table is not None:
        grounds.append(
            f"the workload is filed as the mean of a table of {len(workload.table):,} requests"
        )
    if found.assumed:
        grounds.append(
            f"nobody gave the {' or the '.join(found.assumed)}: the workload assumes them"
        )
    candidates, scaled = _candidates(found, shape)
    old = age_said(found, decided)
    grounds = [old, *grounds] if old else grounds
    flips = found.flips
    flips = flips[flips[["below", "above"]].notna().any(axis=1) | flips["note"].ne("")]
    return Record(
        title=title,
        owner=owner,
        decided_on=decided.date(),
        review_on=max(decided, review_on).date(),
        task=task.name if task else "",
        stakes=task.ends("stakes") if task else [],
        complexity=task.ends("complexity") if task else [],
        model_id=found.model_id,
        tier=found.tier,
        provider=found.provider,
        workload=shape,
        tool_calls=found.tool_calls,
        **found.cost,
        second_usd=found.second_usd,
        basis=found.basis,
        examples=common.examples if common else int(max(found.counted.values(), default=0)),
        examples_needed=_needed(found)[0],
        margin=common.margin if common else 0.0,
        prices={"source": prices.source, "as_of": prices.as_of.date()},
        candidates=candidates,
        flips=_rows(flips),
        next_step=found.step,
        grounds=[*grounds, *scaled],
    )


def _candidates(found, shape):
    """The models that can be chosen, and a ground that names prices other than the catalogue's for the filed workload."""
    table, filed = found.running().copy(), workload_of(shape).point()
    listed = [model for model in table["model_id"] if model in found.prices.rows_of]
    price = (
        daily(filed, found.prices, listed)["cost_usd"] / filed.requests_per_day if listed else {}
    )
    scale = table["price_usd"] / table["model_id"].map(price).replace(0, np.nan)
    table["price_scale"] = scale.where((scale - 1).abs() > 1e-9, scale.round())
    off = table[table["price_scale"].notna() & (table["price_scale"] != 1)]
    grounds = []
    if len(off):
        said = ", ".join(f"{row.model_id} {row.price_scale:.3g}" for row in off.itertuples())
        grounds.append(
            f"the price of a request over the catalogue's for the workload as filed, which a review keeps: {said}"
        )
    return _rows(table[list(Candidate.__annotations__)]), grounds


def _rows(table):
    """The rows of a table as YAML takes them, with None for what is not known."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _shape(workload):
    """The fields of a workload that differ from their defaults; for a table of requests, those of its mean request."""
    shape = {name: getattr(workload, name) for name in get_args(Shape)}
    if workload.table is not None:
        point = workload.point()
        tokens, weight = point.cells()
        mean = {bucket: float(column @ weight) for bucket, column in tokens.items()}
        shape["output_tokens"] = mean.pop("output") * (1 - point.reasoning_share)
        shape["input_tokens"] = whole = sum(mean.values())
        # With cache settings the table holds whole inputs, which they split. Without them, what missed the cache is
        # filed as the kind of token that most of it is.
        if workload.cache_ttl is None and not np.any(workload.cache_hit_rate):
            missed = {ttl: mean.get(f"cache_write_{ttl}", 0.0) for ttl in CACHE_TTLS}
            missed |= {None: mean.get("uncached_input", 0.0)}
            shape["cache_ttl"] = max(missed, key=missed.get)
            shape["cache_hit_rate"] = mean.get("cache_read", 0.0) / (whole or 1.0)
    default = {field.name: field.default for field in fields(Workload)}
    return {
        name: np.asarray(value).tolist()  # Python's own numbers, and a list for a range
        for name, value in shape.items()
        if value != default[name] or name.endswith("_tokens")
    }


# The words


def _body(record, found, notes):
    """The record's text above the numbers."""
    running, aside = found.running(), []
    if len(running) > _ROWS:
        aside.append(
            f"{len(running) - _ROWS} more expensive models are in the numbers at the end only"
        )
    aside += [
        f"{row.model_id} is out of the running: {row.note}"
        for row in found.table[found.table["expected_usd"].isna()].itertuples()
    ]
    following = found.next_step.replace("`", "")
    if record.next_step == len(CHECKLIST):
        following = f"look again by {record.review_on}."
    return _TEMPLATES.get_template("record.md.jinja").render(
        record=record,
        found=found,
        task=load_tasks()["name"].get(record.task, record.task) or "not named",
        workload="; ".join(
            f"{name.replace('_', ' ')} {_ends_said(value, name)}"
            for name, value in record.workload.items()
        ),
        table=running.merge(
            dollars(running, found.workload.point().requests_per_day, found.model_id)
        )
        .assign(said=[rate_said(row) for _, row in running.iterrows()])
        .head(_ROWS),
        rates=rates_said(found),
        untested=untested_said(found),
        dollars=dollars_said(found),
        days_old=(pd.Timestamp(record.decided_on) - found.prices.as_of).days,
        settles=settles_said(found),
        tested=defaultdict(str, _tested(running)),
        basis={"catalogue": "", "samples": ", from samples", "given": ", given"},
        errors=_INTERVALS.get(record.basis, "95% interval, your examples drawn again"),
        uncounted=[]
        if record.basis == "assumed"
        else running.loc[running["basis"] == "assumed", "model_id"].tolist(),
        interval=INTERVAL,
        aside=aside,
        flips=flip_words(found.flips),
        steps=CHECKLIST,
        next_step=following,
        notes=notes.strip().splitlines(),
    )


def _printed(value):
    """Escape the words that a template prints, unless they are marked as our own Markdown."""
    is_words = isinstance(value, str) and not isinstance(value, Markup)
    return in_markdown(value) if is_words else value


def in_words(said):
    """Write USD for each dollar sign of our own amounts: the sign would open mathematics, or need a backslash.

    Examples
    --------
    >>> in_words("$0.40 and -$5")
    'USD 0.40 and USD -5'
    """
    return re.sub(r"(-?)\$(?=\d)", r"USD \1", said)


def _ends_said(value, name=""):
    """Write a number, a range as "10 to 20", and a share in per cent."""
    if isinstance(value, list):
        return " to ".join(dict.fromkeys(_ends_said(end, name) for end in value))
    if isinstance(value, str):
        return value
    if name.endswith(("_share", "_rate", "_growth")):
        return f"{100 * value:.4g}%"
    return f"{value:,.10g}"


_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    finalize=_printed,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_TEMPLATES.filters |= {
    "usd": lambda value: Markup(in_words(usd(value))),
    "ours": in_words,
    "ends": lambda value: Markup(_ends_said(value)),
    "percent": lambda value: Markup(f"{value:.1%}"),
}
