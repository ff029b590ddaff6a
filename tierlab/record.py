"""Decision records: a recommendation filed as Markdown that a person reads, with a YAML head that the kit reads back.

The form follows the architecture decision records of software teams (Nygard 2011; MADR): context, options, decision,
consequences. What the kit needs to judge the decision again stands in the head, in numbers.
"""

import datetime
import os
import re
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from tierlab.checklist import REVIEW_MONTHS
from tierlab.core.files import write_whole
from tierlab.core.untrusted import read_text, read_yaml
from tierlab.record_head import CANDIDATE, KIND, SHAPE, Record, checked, workload_of
from tierlab.record_text import body, flip_words
from tierlab.scaling import daily_cost
from tierlab.workload import CACHE_TTLS, Workload

__all__ = ["KIND", "Record", "file_record", "flip_words", "load_record", "workload_of"]


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
        raise ValueError(f"{path}: a decision record is Markdown; name a file that ends in .md, or a folder")
    record = _record(recommendation, title, " ".join(str(owner).split()), decided_on)
    if is_folder:
        path = path / f"{record.decided_on}-{_slug(title)}.md"
    if replace and os.path.lexists(path):
        if not path.is_file():
            raise ValueError(f"{path} is no decision record and is not replaced")
        load_record(path)  # refuses what is none
    head = yaml.safe_dump({"kind": KIND} | asdict(record), sort_keys=False, allow_unicode=True, width=120)
    try:
        write_whole(path, f"---\n{head}---\n\n{body(record, recommendation, notes)}", exclusive=not replace)
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
    if options.rows is not None:  # its tokens price nothing, so that their ranges are no uncertainty
        workload = replace(workload.point(), requests_per_day=workload.requests_per_day)
    shape = _shape(workload, grounds)
    flips = found.flips[found.flips[["below", "above"]].notna().any(axis=1) | found.flips["note"].ne("")]
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
    scale = table["price_usd"] / table["model_id"].map(lambda model: _listed_price(model, filed, prices))
    table = table.assign(price_scale=scale.where((scale - 1).abs() > 1e-9, scale.round()))
    if len(off := table[table["price_scale"].notna() & (table["price_scale"] != 1)]):
        said = ", ".join(f"{model} {ratio:.3g}" for model, ratio in zip(off["model_id"], off["price_scale"], strict=True))
        grounds.append(f"the price of a request over the catalogue's for the workload as filed, which a review keeps: {said}")
    return [_plain(row) for row in table[list(CANDIDATE)].to_dict("records")]


def _listed_price(model, filed, prices):
    """USD per request of the filed workload; NaN where the catalogue cannot say."""
    if model not in prices.rows_of:
        return np.nan
    try:
        return float(daily_cost(filed, prices, [model])["cost_usd"].iloc[0]) / filed.requests_per_day or np.nan
    except ValueError:  # a rate is missing; the price came from samples
        return np.nan


def _shape(workload, grounds):
    """The fields of a workload that differ from their defaults; a table as its mean request."""
    shape = {name: getattr(workload, name) for name in SHAPE}
    if workload.table is not None:
        shape |= _mean_request(workload, grounds)
    default = {field.name: field.default for field in fields(Workload)}
    kept = {name: value for name, value in shape.items() if value != default[name] or name.endswith("_tokens")}
    return _plain({name: _plain_ends(value) if isinstance(value, tuple) else value for name, value in kept.items()})


def _mean_request(workload, grounds):
    point = workload.point()
    tokens, weight = point.cells()
    mean = {bucket: float(column @ weight) for bucket, column in tokens.items()}
    visible = mean.pop("output") * (1 - point.reasoning_share)
    whole, read = sum(mean.values()), mean.get("cache_read", 0.0)
    grounds.append(f"the workload is filed as the mean of a table of {len(workload.table):,} requests")
    shape = {"input_tokens": whole, "output_tokens": visible}
    if workload.cache_ttl is not None or np.any(workload.cache_hit_rate):
        return shape  # the table is whole input, and the settings split it
    missed = {None: mean.get("uncached_input", 0.0)} | {ttl: mean.get(f"cache_write_{ttl}", 0.0) for ttl in CACHE_TTLS}
    ttl = max(missed, key=missed.get)
    if sum(part > 0 for part in missed.values()) > 1:
        kinds = ", ".join(f"{part:,.4g} {f'written for {kind}' if kind else 'plain'}" for kind, part in missed.items() if part)
        grounds.append(f"input tokens that no cache had are of several kinds ({kinds}) and are filed as the largest of them")
    return shape | {"cache_hit_rate": read / whole if whole else 0.0, "cache_ttl": ttl}


def _plain_ends(pair):
    return [end.item() if isinstance(end, np.generic) else end for end in pair]


def _plain(row):
    """Python's own numbers, as YAML takes them; a number that is not known is None."""
    row = {name: value.item() if isinstance(value, np.generic) else value for name, value in row.items()}
    return {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in row.items()}


def _slug(title):
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60] or "decision"
