"""What the quarterly report reads: its parameters, tierlab.yaml, the usage log, bills, earlier summaries and records."""

import base64
import json
import os
from dataclasses import dataclass, field, fields
from glob import glob, has_magic
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tierlab.core import paths
from tierlab.core.format import counted
from tierlab.core.untrusted import read_text, read_yaml, regular
from tierlab.core.vocabulary import unknown
from tierlab.decide.record import load_record
from tierlab.pages.parameters import declared
from tierlab.prices.catalog import load_prices
from tierlab.prices.contract import load_contract
from tierlab.quarter.analyse import period_of
from tierlab.quarter.engine import NEEDED, columns_of, files_of
from tierlab.quarter.savings import Terms
from tierlab.quarter.simulated import END, as_quarter, synthetic_quarters
from tierlab.scaling.workload import TRACES, load_requests
from tierlab.usage.read import FORMATS, check_usage, read_usage

NOTEBOOK = "90_quarterly_report"
SCHEMA = "tierlab.quarter/2"
SCHEMAS = ("tierlab.quarter/1", SCHEMA)  # versions of an earlier summary that can be read
NOBODY = "(nobody)"
LOGO_BYTES = 256 * 1024
_IMAGES = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}  # first bytes -> kind


class Team(BaseModel):
    """A team: its owner, and its budget of the quarter (US dollars) if it has one."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    owner: str = ""
    budget_usd: Annotated[float, Field(gt=0)] | None = None


class Settings(BaseModel):
    """The content of tierlab.yaml.

    Attributes
    ----------
    company, team : str
        Names for the title.
    logo : str
        In the file the path of a PNG or JPEG image, relative to the file, for the head of the page; once read, the image
        itself as a data URI.
    budget_usd : float, optional
        Budget of the whole quarter (US dollars).
    teams : dict of str to Team
        The log's name of a team -> its owner and budget.

    Examples
    --------
    >>> Settings(teams={"support": {"owner": "Ada"}}).owner("support")
    'Ada'
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    company: str = ""
    team: str = ""
    logo: str = ""
    budget_usd: Annotated[float, Field(gt=0)] | None = None
    teams: dict[str, Team] = {}

    def owner(self, team):
        """Return who answers for a team; "" for nobody."""
        return self.teams[team].owner if team in self.teams else ""


def load_settings(path) -> Settings:
    """Read tierlab.yaml.

    Parameters
    ----------
    path : path

    Returns
    -------
    Settings

    Raises
    ------
    ValueError
        If the file cannot be read, or a field is unknown or of the wrong type; the message names file and field.
    """
    try:
        found = read_yaml(read_text(path))
        if not isinstance(found, dict):
            raise ValueError("no fields; write for example `company: Example Ltd`")
        settings = Settings.model_validate(found)
        return settings.model_copy(update={"logo": _image(Path(path).parent, settings.logo)})
    except ValidationError as error:
        fault = error.errors()[0]
        *above, name = fault["loc"]
        why = fault["msg"].lower()
        if fault["type"] == "extra_forbidden":
            why = unknown("field", name, Team.model_fields if above else Settings.model_fields)
        raise ValueError(f"{path}: {'.'.join(map(str, fault['loc']))}: {why}") from None
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: {error}") from None


def _image(folder, name):
    """Return an image as a data URI, because a page loads nothing from elsewhere."""
    if not name:
        return ""
    data = regular(folder / name).read_bytes()
    kind = next((kind for start, kind in _IMAGES.items() if data.startswith(start)), None)
    if kind is None or len(data) > LOGO_BYTES:
        size = f"at most {LOGO_BYTES // 1024} KiB"
        raise ValueError(f"logo: {name} is not a PNG or JPEG image of {size}")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


_YES = {"": None, "yes": True, "no": False}
_PATHS = ("usage_path", "billed_path", "outcomes_path", "last_summary_path", "catalogue")
_PATHS += ("contract_path", "records_path", "settings_path")


class InputError(ValueError):
    """An input of the report is missing or wrong; the message says which one, and what is allowed."""


@dataclass(frozen=True)
class Inputs:
    """The parameters of notebook 90, whose parameters cell says what each means and what is allowed.

    A relative path is looked up in the working folder, then in the folder from which the shell started the command, then
    in that of the kit.
    """

    quarter: str = "2026Q3"
    usage_path: str = "synthetic"
    usage_format: str = "auto"
    columns: dict[str, str] = field(default_factory=dict)
    cache_inside: str = ""
    date_format: str = ""
    decimal: str = ""
    billed_path: str = ""
    outcomes_path: str = ""
    last_summary_path: str = ""
    records_path: str = ""
    budget_usd: float = 0
    margin: float = 0
    may_wait: list[str] = field(default_factory=list)
    tasks: dict[str, str] = field(default_factory=dict)
    catalogue: str = "maintained"
    as_of: str = ""
    contract_path: str = ""
    timezone: str = "UTC"
    retire_days: int = 180
    seed: int = 0
    company: str = ""
    settings_path: str = ""

    @classmethod
    def among(cls, names):
        """Return the inputs among names and values, such as the variables of a notebook."""
        return cls(**{one.name: names[one.name] for one in fields(cls)})

    def checked(self):
        """Return the inputs with each value of its type and with absolute paths; the log is not read yet.

        Returns
        -------
        Inputs

        Raises
        ------
        ValueError
            If a value is not allowed, or a file does not exist or cannot be read.

        Examples
        --------
        >>> Inputs(budget_usd="50000").checked().budget_usd
        50000.0
        >>> Inputs(usage_format="litelm").checked()
        Traceback (most recent call last):
        ...
        ValueError: unknown format 'litelm'; did you mean 'litellm'?...
        """
        parameters, found = declared(paths.NOTEBOOKS / f"{NOTEBOOK}.ipynb"), {}
        for name, value in vars(self).items():
            if name in _PATHS and isinstance(value, int):
                value = str(value)  # papermill reads a folder "2026" as a number
            value = parameters[name].parse(value)
            if name in _PATHS and value not in ("", *parameters[name].choices):
                value = _located(name, value, parameters[name].choices)
            found[name] = parameters[name].check(value)
        period_of(found["quarter"])
        if found["cache_inside"] not in _YES:
            why = unknown("value", found["cache_inside"], ("yes", "no"))
            raise ValueError(f"cache_inside = {found['cache_inside']!r}: {why}")
        allowed = ("auto", "requests", *FORMATS)
        if found["usage_format"] not in allowed:
            raise ValueError(unknown("format", found["usage_format"], allowed))
        Terms(tasks=found["tasks"])
        load_prices(found["catalogue"], as_of=found["as_of"] or None)
        if found["contract_path"]:
            load_contract(found["contract_path"])
        earlier_summary(found["last_summary_path"])
        records_of(found["records_path"])
        if found["settings_path"]:
            load_settings(found["settings_path"])
        return Inputs(**found)

    def files(self):
        """Return every place that the paths may lead to: files, folders, patterns, and places that do not exist."""
        return [place for name in _PATHS if vars(self)[name] for place in _places(vars(self)[name])]


def _places(value):
    given = Path(value).expanduser()
    return [place / given for place in (Path.cwd(), Path(os.environ.get("PWD", ".")), paths.ROOT)]


def _located(name, value, names):
    """Return a path made absolute, from the first place in which it leads to something."""
    for path in _places(value):
        if path.exists() or (has_magic(str(value)) and glob(str(path), recursive=True)):  # noqa: PTH207
            return str(regular(path).absolute())
    also = f" (nor one of {', '.join(names)})" if names else ""
    raise ValueError(f"{name} = {value!r}: no such file or folder{also}, seen from {Path.cwd()}")


def settings_of(inputs):
    return load_settings(inputs.settings_path) if inputs.settings_path else Settings()


def standing_on(inputs):
    """Return the day of the report; for the simulated quarter the day after its last one, before what it forecasts."""
    if inputs.as_of or inputs.usage_path != "synthetic" or inputs.catalogue != "maintained":
        return inputs.as_of or None
    return f"{pd.Timestamp(END) + pd.Timedelta(days=1):%Y-%m-%d}"


def read_log(inputs, prices, period):
    """Return the usage log (a table, or files for the engine to scan), the reader's account, the bills, and the kind."""
    path, zone, bills = inputs.usage_path, inputs.timezone, None
    if inputs.billed_path:
        bills = read_usage(inputs.billed_path, timezone=zone).billed
    if path == "synthetic":
        return synthetic_quarters()[0], None, bills, "simulated"
    if path in TRACES:
        return as_quarter(load_requests(path), prices, period), None, bills, "trace"
    if _scanned(inputs):
        return path, None, bills, "log"
    usage = read_usage(path, timezone=zone, **_as_read(inputs))
    if usage.requests.empty:
        lines = f"; it holds {counted(len(usage.billed), 'line')} of money, which should go to billed_path"
        raise ValueError(
            f"{path}: not one row has tokens{lines if len(usage.billed) else ''} ({usage!r})"
        )
    for row in overlapping(usage.account, "single requests and reports", period).itertuples():
        raise ValueError(
            f"usage_path holds single requests and a report of the same days ({row.provider}, "
            f"{row.first_day:%Y-%m-%d} to {row.last_day:%Y-%m-%d}), which would count them twice; "
            "give one of them"
        )
    return usage.requests, usage.account, pd.concat([usage.billed, bills]), "log"


def _as_read(inputs):
    """Return the options of `read_usage` and `check_usage`."""
    return {
        "format": inputs.usage_format,
        "columns": inputs.columns or None,
        "cache_inside": _YES[inputs.cache_inside],
        "date_format": inputs.date_format or None,
        "decimal": inputs.decimal or None,
    }


def _scanned(inputs):
    """Return whether all files of the usage are requests tables (Parquet, CSV), which an engine scans in place."""
    if inputs.usage_format == "requests":
        return True
    if inputs.usage_format != "auto" or inputs.columns or inputs.decimal:
        return False
    try:
        return all(set(NEEDED) <= set(columns_of(file)) for file in files_of(inputs.usage_path))
    except (ValueError, OSError):
        return False


def check_log(inputs):
    """Refuse a log that cannot be read, by its first rows, before a kernel is started for it."""
    simulated = inputs.usage_path == "synthetic" or inputs.usage_path in TRACES
    if not simulated and not _scanned(inputs):
        check_usage(inputs.usage_path, **_as_read(inputs))


def overlapping(account, what, period):
    """Return the overlaps of a kind between files, in the quarter or the one before it.

    Parameters
    ----------
    account : tierlab.usage.read.Account
    what : str
        The end of the kind's name.
    period : Period
        The quarter.
    """
    table = account.overlaps[account.overlaps["what"].str.endswith(what)]
    first, last = (pd.to_datetime(table[f"{end}_day"]) for end in ("first", "last"))
    return table[(last >= (period - 1).start_time) & (first <= period.end_time)]


def earlier_summary(path):
    """Read the summary of the quarter before; None without a path."""
    if not path:
        return None
    try:
        found = json.loads(read_text(path))
    except (ValueError, OSError, RecursionError) as error:
        why = f"cannot be read as JSON ({error})"
        raise ValueError(f"last_summary_path = {path!r}: {why}") from None
    if not is_summary(found) or found.get("state") != "ok":
        why = f"not the summary.json of a report that ended well ({SCHEMA})"
        raise ValueError(f"last_summary_path = {path!r}: {why}")
    return found


def records_of(path):
    """Read the decision records of a file, a folder or a pattern; none without a path."""
    if not path:
        return []
    files = sorted(Path(path).glob("*.md")) if Path(path).is_dir() else sorted(glob(path))  # noqa: PTH207
    if not files:
        raise ValueError(f"records_path = {path!r}: a folder without a decision record (*.md)")
    return [load_record(file) for file in files]


def is_summary(found):
    return isinstance(found, dict) and found.get("schema") in SCHEMAS


def title(inputs):
    """Return the title of the report: company, team and quarter."""
    own, report = settings_of(inputs), f"LLM spend report {period_of(inputs.quarter)}"
    return " · ".join(filter(None, [inputs.company or own.company, own.team, report]))
