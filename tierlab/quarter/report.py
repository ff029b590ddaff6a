"""The quarterly report: what it reads, checked and priced, and its files (notebook, page, PDF, figures, summary)."""

import json
import os
import tempfile
from dataclasses import dataclass, field, fields, replace
from datetime import date
from glob import glob, has_magic
from pathlib import Path

import pandas as pd

from tierlab.core import paths
from tierlab.core.files import OutputFolder, same_file, write_whole
from tierlab.core.untrusted import in_html, in_markdown, read_text, regular
from tierlab.core.vocabulary import TIERS, unknown
from tierlab.decide.record import load_record
from tierlab.pages import run as pages_run
from tierlab.pages.parameters import declared
from tierlab.prices.catalog import load_prices
from tierlab.prices.contract import load_contract
from tierlab.quarter.aggregate import Cube, build_cube
from tierlab.quarter.analyse import Quarter, analyse, period_of
from tierlab.quarter.arrival import arrivals, decided_by
from tierlab.quarter.brief import message
from tierlab.quarter.engine import NEEDED, columns_of, files_of
from tierlab.quarter.savings import Terms
from tierlab.quarter.settings import Settings, load_settings
from tierlab.quarter.simulated import END, synthetic_quarters
from tierlab.quarter.words import SCHEMA, SCHEMAS, summary
from tierlab.routing.sources import load_outcomes
from tierlab.scaling.workload import TRACES, load_requests
from tierlab.usage.read import FORMATS, Account, check_usage, read_usage

NOTEBOOK = "90_quarterly_report"
SYNTHETIC_BUDGET_USD = 500.0  # of the synthetic quarter: as simulated as its usage
LONG, LONGEST = 0.6, 0.9  # shares of a trace's inputs above which a tier up answers
_YES = {"": None, "yes": True, "no": False}
_PATHS = ("usage_path", "billed_path", "outcomes_path", "last_summary_path", "catalogue")
_PATHS += ("contract_path", "records_path", "settings_path")
_MADE = ("report.ipynb", "report.html", "report.pdf", "message.md", "summary.json")
_SECTIONS = {  # as the summary calls them -> as `Quarter.missing` does
    "spend against budget": "budget",
    "variance": "variance",
    "teams": "teams",
    "tasks": "tasks",
    "active users": "users",
    "cache": "cache",
    "reasoning": "reasoning",
    "truncated answers": "truncated answers",
    "reliability": "reliability",
    "retries": "retries",
    "latency": "latency",
    "quality": "quality",
    "anomalies": "events",
    "forecast": "forecast",
    "last forecast": "forecast_error",
    "did it arrive": "arrival",
    "reconciliation": "reconciliation",
    "cost per request": "cost per request",
    "batch savings": "batch savings",
}


class InputError(ValueError):
    """An input of the report that is not there or cannot be read; its text says which and what is allowed."""


@dataclass(frozen=True)
class Inputs:
    """The parameters of notebook 90, whose cell says what each means and what is allowed.

    Paths may be relative: they start in the working folder, else in the folder from which the shell started the
    command, else in that of the kit.
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
        """The inputs among some names and values, such as the variables of a notebook."""
        return cls(**{one.name: names[one.name] for one in fields(cls)})

    def checked(self):
        """The same, each value of its type and paths absolute; reads no log yet.

        Raises
        ------
        ValueError
            If a value is not allowed, or a file is not there.

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
            if name in _PATHS and isinstance(
                value, int
            ):  # papermill makes a folder "2026" a number
                value = str(value)
            value = parameters[name].parse(value) if isinstance(value, str) else value
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
        _last(found["last_summary_path"])
        _records(found["records_path"])
        if found["settings_path"]:
            load_settings(found["settings_path"])
        return Inputs(**found)

    def files(self):
        """All that the paths may lead to: files, folders and patterns, and places where nothing is."""
        return [place for name in _PATHS if vars(self)[name] for place in _places(vars(self)[name])]


def _places(value):
    given = Path(value).expanduser()
    return [place / given for place in (Path.cwd(), Path(os.environ.get("PWD", ".")), paths.ROOT)]


def _located(name, value, names):
    """A path made absolute, from the first of the places where it leads to something."""
    for path in _places(value):
        if path.exists() or (has_magic(str(value)) and glob(str(path), recursive=True)):  # noqa: PTH207
            return str(regular(path).absolute())
    also = f" (nor one of {', '.join(names)})" if names else ""
    raise ValueError(f"{name} = {value!r}: no such file or folder{also}, seen from {Path.cwd()}")


@dataclass(frozen=True, eq=False)
class Prepared:
    """What the report is written from.

    Attributes
    ----------
    quarter : Quarter
        The analysis.
    cube : Cube
        The priced usage of this quarter and the one before.
    read : Account or None
        What the reader made of the files; None where an engine scanned them in place, or there was no file.
    kind : str
        "simulated", "trace" or "log".
    inputs : Inputs
        Checked.
    settings : Settings
        Of tierlab.yaml; empty without one.
    """

    quarter: Quarter
    cube: Cube
    read: Account | None
    kind: str
    inputs: Inputs
    settings: Settings

    @property
    def files(self):
        """What the reader made of each file, by its name without the folder; empty where there was no file to read."""
        if self.read is None:
            return pd.DataFrame()
        names = [Path(file).name for file in self.read.files["file"]]
        return self.read.files.assign(file=names)


def prepare(inputs: Inputs) -> Prepared:
    """Read and price everything that the inputs name, and analyse it.

    Raises
    ------
    InputError
        In one sentence: what is wrong, and what is allowed.
    """
    try:
        return _prepared(inputs.checked())
    except (ValueError, OSError) as error:
        raise InputError(" ".join(str(error).split())) from error


def _prepared(inputs):
    contract = load_contract(inputs.contract_path) if inputs.contract_path else None
    aliases = contract.aliases if contract else None
    prices = load_prices(inputs.catalogue, as_of=_as_of(inputs), aliases=aliases)
    settings = _own(inputs)
    period = period_of(inputs.quarter)
    log, read, billed, kind = _log(inputs, prices, period)
    span = {"start": (period - 1).start_time, "end": (period + 1).start_time}
    cube = build_cube(log, prices, timezone=inputs.timezone, contract=contract, **span)
    if not cube.daily["day"].ge(period.start_time).any():
        # The refusal names the quarters that are there.
        cube = build_cube(log, prices, timezone=inputs.timezone)
    quarter = analyse(
        cube,
        prices,
        inputs.quarter,
        budget_usd=inputs.budget_usd
        or settings.budget_usd
        or (SYNTHETIC_BUDGET_USD if kind == "simulated" else None),
        billed=billed,
        outcomes=load_outcomes(inputs.outcomes_path) if inputs.outcomes_path else None,
        last_summary=_last(inputs.last_summary_path),
        terms=Terms(
            inputs.margin or None,
            inputs.may_wait or None,
            inputs.tasks,
            inputs.retire_days,
            _records(inputs.records_path),
        ),
        unread=read.set_aside if read else None,
        seed=inputs.seed,
    )
    quarter = replace(quarter, missing=quarter.missing | _doubts(cube.settlement, read, span))
    return Prepared(quarter, cube, read, kind, inputs, settings)


def _doubts(settlement, read, span):
    """What of the log and the contract somebody should look at: name -> what it is about."""
    found = {}
    if settlement is not None and settlement.idle:
        clauses = [clause.split(".") for clause in settlement.idle]
        listed = ", ".join(f"{kind.removesuffix('s')} {int(place) + 1}" for kind, place in clauses)
        found["contract"] = f"{listed} in the order of the contract's file held for no request"
    if read is not None:
        alike = read.overlaps[read.overlaps["what"].str.endswith("of one format")]
        first, last = (pd.to_datetime(alike[f"{end}_day"]) for end in ("first", "last"))
        alike = alike[(last >= span["start"]) & (first <= span["end"])]
        if len(alike):
            days = f"{pd.to_datetime(alike['first_day']).min():%Y-%m-%d} to {pd.to_datetime(alike['last_day']).max():%Y-%m-%d}"
            found["overlaps"] = (
                f"{alike['rows'].sum():,} rows of files of one format are of the same requests or the same days "
                f"({days}) and all were counted; if one file repeats another, give one of them"
            )
    return found


def _as_of(inputs):
    """The day on which one stands: of the simulated quarter the day after its last, before what it forecasts."""
    if inputs.as_of or inputs.usage_path != "synthetic" or inputs.catalogue != "maintained":
        return inputs.as_of or None
    return f"{pd.Timestamp(END) + pd.Timedelta(days=1):%Y-%m-%d}"


def _log(inputs, prices, period):
    """The usage log (a table, or files for the engine to scan), the reader's account, the bills, and its kind."""
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
        lines = f"; it holds {len(usage.billed):,} lines of money, which belong to billed_path"
        raise ValueError(
            f"{path}: not one row has tokens{lines if len(usage.billed) else ''} ({usage!r})"
        )
    _refuse_twice(usage.account.overlaps, period)
    return usage.requests, usage.account, pd.concat([usage.billed, bills]), "log"


def _as_read(inputs):
    """How the usage is read, in the words of `read_usage` and `check_usage`."""
    return {
        "format": inputs.usage_format,
        "columns": inputs.columns or None,
        "cache_inside": _YES[inputs.cache_inside],
        "date_format": inputs.date_format or None,
        "decimal": inputs.decimal or None,
    }


def _scanned(inputs):
    """Whether the usage is files of the requests table alone (Parquet, CSV), which an engine scans in place."""
    if inputs.usage_format == "requests":
        return True
    if inputs.usage_format != "auto" or inputs.columns or inputs.decimal:
        return False
    try:
        return all(set(NEEDED) <= set(columns_of(file)) for file in files_of(inputs.usage_path))
    except (ValueError, OSError):
        return False


def _check_log(inputs):
    """Refuse a log whose first rows say that it cannot be read, before a kernel is started for it."""
    simulated = inputs.usage_path == "synthetic" or inputs.usage_path in TRACES
    if not simulated and not _scanned(inputs):
        check_usage(inputs.usage_path, **_as_read(inputs))


def _refuse_twice(overlaps, period):
    """Single requests and reports of the same days would be added up."""
    twice = overlaps[overlaps["what"].eq("single requests and reports")]
    first, last = pd.to_datetime(twice["first_day"]), pd.to_datetime(twice["last_day"])
    inside = twice[(last >= (period - 1).start_time) & (first <= period.end_time)]
    for row in inside.itertuples():
        raise ValueError(
            f"usage_path holds single requests and a report of the same days ({row.provider}, "
            f"{row.first_day:%Y-%m-%d} to {row.last_day:%Y-%m-%d}), which would count them twice; "
            "give one of them"
        )


def as_quarter(trace, prices, quarter):
    """A recorded trace with a quarter's clock and a lineup's models, to see the report on real lengths.

    Parameters
    ----------
    trace : DataFrame
        From `tierlab.load_requests`: at, uncached_input_tokens, output_tokens, and no model.
    prices : Prices
    quarter : str or Period

    Returns
    -------
    DataFrame
        The requests, at and model_id filled in.

    Notes
    -----
    An assumption, not a finding: Anthropic's lineup of the quarter's last day answers; the trace's clock is stretched over the quarter, so that its order and rhythm stay; the
    shorter 60 % of the inputs go to the small model, the next 30 % to the mid one, the longest 10 % to the flagship.
    Users, teams, tasks and failures are not made up: the sections that need them say so.
    """
    period = pd.Period(quarter, freq="Q")
    day = max(period.end_time.normalize(), prices.lineups["as_of"].min())
    lineup = prices.lineup(day).loc["anthropic"]
    rank = trace["uncached_input_tokens"].rank(pct=True, method="first")
    place = (rank > LONG).astype(int) + (rank > LONGEST)
    offset = trace["at"] - trace["at"].min()
    length = (period + 1).start_time - period.start_time - pd.Timedelta(seconds=1)
    at = (period.start_time + offset / offset.max() * length).astype("datetime64[us]")
    model = place.map(dict(enumerate(lineup[list(TIERS)])))
    return trace.drop(columns="prefix_ids", errors="ignore").assign(at=at, model_id=model)


def _last(path):
    """The summary of the quarter before, None without a path."""
    if not path:
        return None
    try:
        found = json.loads(read_text(path))
    except (ValueError, OSError, RecursionError) as error:
        why = f"cannot be read as JSON ({error})"
        raise ValueError(f"last_summary_path = {path!r}: {why}") from None
    if not _is_summary(found) or found.get("state") != "ok":
        why = f"not the summary.json of a report that ended well ({SCHEMA})"
        raise ValueError(f"last_summary_path = {path!r}: {why}")
    return found


def _records(path):
    """The decision records of a file, a folder or a pattern; none without a path."""
    if not path:
        return []
    files = sorted(Path(path).glob("*.md")) if Path(path).is_dir() else sorted(glob(path))  # noqa: PTH207
    if not files:
        raise ValueError(f"records_path = {path!r}: a folder without a decision record (*.md)")
    return [load_record(file) for file in files]


def records_against(records, inputs):
    """Filed decision records held against a usage log: the table of `tierlab.quarter.arrival.arrivals`."""
    inputs = inputs.checked()
    prices = load_prices(inputs.catalogue, as_of=inputs.as_of or None)
    latest = pd.Period(max(record.decided_on for record in records), freq="Q")
    log, *_ = _log(inputs, prices, latest)
    daily = build_cube(log, prices, timezone=inputs.timezone).daily
    return arrivals(daily, prices, [decided_by(record, inputs.tasks) for record in records])


def _is_summary(found):
    return isinstance(found, dict) and found.get("schema") in SCHEMAS


def write(inputs: Inputs, *, out=None, pdf=True, timeout=1800, force=False):
    """Write the report of a quarter into a folder.

    Parameters
    ----------
    inputs : Inputs
    out : path, optional
        By default build/<quarter>; what an earlier report left there is replaced.
    pdf : bool
        Whether to print a PDF, where there is a Chromium.
    timeout : int
        Seconds that one cell may take.
    force : bool
        Replace files of the folder that tierlab did not make.

    Returns
    -------
    made : list of Path
    note : str
        Why there is no PDF, or "".

    Raises
    ------
    ValueError
        If an input is wrong or not there; or if a file of the folder would be replaced that is an input or that
        tierlab did not make, and then nothing in the folder is touched.
    NotebookError
        If the notebook fails for another reason. Then, and where an input is wrong, summary.json says so.
    """
    out = Path(out) if out else paths.BUILD / str(period_of(inputs.quarter))
    folder = OutputFolder(out, inputs=inputs.files(), force=force)
    folder.claim(*_MADE)
    begun = out.is_dir()
    with tempfile.TemporaryDirectory() as temporary:
        temporary = Path(temporary).resolve()
        try:
            checked = inputs.checked()
            begun = True
            _check_log(checked)
            _run(checked, temporary, out, timeout)
            html = temporary / "report.html"
            summed = json.loads((temporary / "summary.json").read_text("utf-8"))
            (temporary / "message.md").write_text(summed["message"], "utf-8", newline="\n")
            html.write_text(page_of(temporary / "report.ipynb", inputs), "utf-8", newline="\n")
            note = _print(html, temporary / "report.pdf") if pdf else ""
        except (ValueError, RuntimeError) as error:
            if begun:
                _fail(folder, inputs, error, temporary / "report.ipynb")
            raise
        files = [path for path in sorted(temporary.rglob("*")) if path.is_file()]
        names = [path.relative_to(temporary).as_posix() for path in files]
        told = _text(summed | {"files": names})
        (temporary / "summary.json").write_text(told, "utf-8", newline="\n")
        folder.claim(*names)
        folder.remove(*(name for name in _left(folder) if name not in names), "summary.json")
        # The summary comes last: where it is there, the report is whole.
        for name in sorted(names, key="summary.json".__eq__):
            folder.write(name, (temporary / name).read_bytes())
    return [out / name for name in _MADE if name in names], note


def _print(html, target):
    """Print the page with everything unfolded; returns why there is no PDF, or ""."""
    text = html.read_text("utf-8").replace("<details>", "<details open>")
    # Chromium chooses an image before it prints: here as if it printed already.
    text = text.replace(', print"', ', all"')
    with tempfile.TemporaryDirectory() as folder:
        unfolded = Path(folder, "report.html")
        unfolded.write_text(text, "utf-8")
        return pages_run.print_pdf(unfolded, target)


def _run(inputs, temporary, out, timeout):
    """Run the notebook in a folder of its own; it names the folder in which it will lie."""
    source, target = paths.NOTEBOOKS / f"{NOTEBOOK}.ipynb", temporary / "report.ipynb"
    told = vars(inputs) | {"summary_path": (temporary / "summary.json").as_posix()}
    failure = pages_run.execute(source, target, told, timeout=timeout) or ""
    if target.is_file():
        text = target.read_text(encoding="utf-8")
        text = text.replace(temporary.as_posix(), out.resolve().as_posix())
        target.write_text(text, encoding="utf-8", newline="\n")
    _, wrong_input, why = failure.partition(" failed with InputError: ")
    if wrong_input:
        raise InputError(why)
    if failure:
        raise pages_run.NotebookError(f"{failure} (as far as it came: {out / 'report.ipynb'})")


def page_of(executed, inputs):
    """The HTML page of an executed notebook; it names the parameters as they were given, not where files lie."""
    import nbformat

    from tierlab.pages import page as pages

    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata["papermill"]["parameters"] = dict(vars(inputs))
    notebook.cells[0].source = f"# {in_markdown(title(inputs))}"
    html, own = pages.page(notebook, stem="report", banner=False)[0], _own(inputs)
    if not own.logo:
        return html
    name = in_html(inputs.company or own.company or "logo")
    return html.replace("<h1", f'<img class="logo" alt="{name}" src="{own.logo}"><h1', 1)


def _own(inputs):
    return load_settings(inputs.settings_path) if inputs.settings_path else Settings()


def title(inputs):
    """The title of the report: company, team and quarter."""
    own = _own(inputs)
    names = [
        inputs.company or own.company,
        own.team,
        f"LLM spend report {period_of(inputs.quarter)}",
    ]
    return " · ".join(name for name in names if name)


def summarise(prepared):
    """The report for a machine, as a JSON-able dictionary.

    Parameters
    ----------
    prepared : tierlab.quarter.report.Prepared

    Returns
    -------
    dict
        `tierlab.quarter.words.summary`, and: state ("ok"), usage ("simulated", "trace", "log"), sections ("shown" or what
        the section needs), account (rows), files_read (what the reader made of each) and prices (source, as_of,
        sha256). `write` adds files: the names of those of the report.
    """
    q, account = prepared.quarter, prepared.cube.account
    return summary(q) | {
        "state": "ok",
        "title": title(prepared.inputs),
        "message": message(prepared, title(prepared.inputs)),
        "usage": prepared.kind,
        "sections": {name: q.missing.get(key, "shown") for name, key in _SECTIONS.items()},
        "account": {
            "rows_read": account.rows_read,
            "rows_priced": account.rows_priced,
            "set_aside": json.loads(account.set_aside.to_json(orient="records")),
            "unknown_models": {str(k): int(n) for k, n in account.unknown_models.items()},
            "first_at": account.first_at.isoformat(),
            "last_at": account.last_at.isoformat(),
            "timezone": account.timezone,
            "engine": account.engine,
        },
        "prices": {
            "source": account.price_source,
            "as_of": account.price_as_of,
            "sha256": account.price_sha256,
        },
        "files_read": json.loads(prepared.files.to_json(orient="records")),
    }


def write_summary(prepared, path):
    """Write `summarise` to a file, if a path is given; returns None, as a notebook's cell likes it.

    Raises
    ------
    InputError
        If the file is an input of the report, or is there and is not a summary.
    """
    if not path:
        return
    given, why = f"summary_path = {str(path)!r}", "is not written over"
    if any(same_file(path, file) for file in prepared.inputs.files()):
        raise InputError(f"{given} is an input of the report and {why}")
    if os.path.lexists(path):
        try:
            ours = _is_summary(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            ours = False
        if not ours:
            raise InputError(f"{given} is a file that is not a summary of tierlab and {why}")
    write_whole(path, _text(summarise(prepared)))


def _fail(folder, inputs, error, executed):
    """Say so in summary.json, and take away what an earlier run left, which must not pass for today's."""
    folder.remove(*_left(folder))
    if executed.is_file():
        folder.write("report.ipynb", executed.read_bytes())
    state = "bad input" if isinstance(error, ValueError) else "notebook failed"
    told = {"schema": SCHEMA, "state": state, "error": " ".join(str(error).split())}
    asked = ("quarter", "usage_path", "usage_format")
    told |= {name: str(vars(inputs)[name]) for name in asked}
    folder.write("summary.json", _text(told))


def _left(folder):
    """What an earlier report left in the folder."""
    return [name for name in folder.made() if name in _MADE or name.startswith("figures/90_")]


def _text(content):
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False, default=_plain) + "\n"


def _plain(value):
    return value.isoformat() if isinstance(value, date) else value.item()
