"""The quarterly report: its analysis from the inputs, and its files (notebook, page, PDF, figures, message, summary)."""

import json
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from tierlab.core import paths
from tierlab.core.files import OutputFolder, same_file, write_whole
from tierlab.core.untrusted import in_html, in_markdown
from tierlab.pages import run as pages_run
from tierlab.prices.catalog import load_prices
from tierlab.prices.contract import load_contract
from tierlab.quarter.aggregate import Cube, build_cube
from tierlab.quarter.analyse import Quarter, analyse, period_of
from tierlab.quarter.arrival import arrivals, decided_by
from tierlab.quarter.inputs import (
    NOTEBOOK,
    SCHEMA,
    InputError,
    Inputs,
    Settings,
    check_log,
    earlier_summary,
    is_summary,
    overlapping,
    read_log,
    records_of,
    settings_of,
    standing_on,
    title,
)
from tierlab.quarter.page import message
from tierlab.quarter.savings import Terms
from tierlab.quarter.words import headline
from tierlab.routing.sources import load_outcomes
from tierlab.usage.read import Account

SYNTHETIC_BUDGET_USD = 500.0  # budget of the simulated quarter, which is simulated as well
_MADE = ("report.ipynb", "report.html", "report.pdf", "message.md", "summary.json")
_SECTIONS = {  # section, as the summary calls it -> as `Quarter.missing` does
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
_MONEY = ("spend_usd", "contracted_usd", "effective_usd", "before_usd", "budget_usd")
_MONEY += ("unpriced_usd", "over_budget_usd")
_TABLES = ("spend", "variance", "changes", "units", "teams", "tasks", "tiers", "cache", "output")
_TABLES += ("reliability", "latency", "quality", "events", "forecast_error", "savings", "decisions")
_TABLES += ("arrival", "price_changes", "retiring", "reconciliation", "coverage", "flags")
_TABLES += ("assumptions", "unpriced", "gaps", "invoice")


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
        What the reader made of the files; None where an engine scanned them in place, or the usage is not a file.
    kind : str
        "simulated", "trace" or "log".
    inputs : Inputs
        Checked.
    settings : Settings
        The content of tierlab.yaml; empty without one.
    """

    quarter: Quarter
    cube: Cube
    read: Account | None
    kind: str
    inputs: Inputs
    settings: Settings

    @property
    def files(self):
        """What the reader made of each file, by its name without the folder; empty where no file was read."""
        if self.read is None:
            return pd.DataFrame()
        names = [Path(file).name for file in self.read.files["file"]]
        return self.read.files.assign(file=names)


def prepare(inputs: Inputs) -> Prepared:
    """Read and price everything that the inputs name, and analyse it.

    Parameters
    ----------
    inputs : Inputs

    Returns
    -------
    Prepared

    Raises
    ------
    InputError
        If an input is wrong; the message says in one line what is wrong, and what is allowed.
    """
    try:
        return _prepared(inputs.checked())
    except (ValueError, OSError) as error:
        raise InputError(" ".join(str(error).split())) from error


def _prepared(inputs):
    contract = load_contract(inputs.contract_path) if inputs.contract_path else None
    aliases = contract.aliases if contract else None
    prices = load_prices(inputs.catalogue, as_of=standing_on(inputs), aliases=aliases)
    settings = settings_of(inputs)
    period = period_of(inputs.quarter)
    log, read, billed, kind = read_log(inputs, prices, period)
    span = {"start": (period - 1).start_time, "end": (period + 1).start_time}
    cube = build_cube(log, prices, timezone=inputs.timezone, contract=contract, **span)
    if not cube.daily["day"].ge(period.start_time).any():
        # The error message names the quarters that the log has.
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
        last_summary=earlier_summary(inputs.last_summary_path),
        terms=Terms(
            inputs.margin or None,
            inputs.may_wait or None,
            inputs.tasks,
            inputs.retire_days,
            records_of(inputs.records_path),
        ),
        unread=read.set_aside if read else None,
        seed=inputs.seed,
    )
    quarter = replace(quarter, missing=quarter.missing | _doubts(cube.settlement, read, period))
    return Prepared(quarter, cube, read, kind, inputs, settings)


def _doubts(settlement, read, period):
    """Return what somebody should check in the log and the contract: section -> what it is about."""
    found = {}
    if settlement is not None and settlement.idle:
        clauses = [clause.split(".") for clause in settlement.idle]
        listed = ", ".join(f"{kind.removesuffix('s')} {int(place) + 1}" for kind, place in clauses)
        found["contract"] = f"{listed} in the order of the contract's file held for no request"
    if read is not None:
        alike = overlapping(read, "of one format", period)
        if len(alike):
            first, last = pd.to_datetime(alike["first_day"]), pd.to_datetime(alike["last_day"])
            days = f"{first.min():%Y-%m-%d} to {last.max():%Y-%m-%d}"
            found["overlaps"] = (
                f"{alike['rows'].sum():,} rows of files of one format are of the same requests or the same days "
                f"({days}) and all were counted; if one file repeats another, give one of them"
            )
    return found


def records_against(records, inputs):
    """Compare filed decision records with a usage log; return the table of `tierlab.quarter.arrival.arrivals`.

    Parameters
    ----------
    records : sequence of Record
    inputs : Inputs
    """
    inputs = inputs.checked()
    prices = load_prices(inputs.catalogue, as_of=inputs.as_of or None)
    latest = pd.Period(max(record.decided_on for record in records), freq="Q")
    log, *_ = read_log(inputs, prices, latest)
    daily = build_cube(log, prices, timezone=inputs.timezone).daily
    return arrivals(daily, prices, [decided_by(record, inputs.tasks) for record in records])


def write(inputs: Inputs, *, out=None, pdf=True, timeout=1800, force=False):
    """Write the report of a quarter into a folder.

    Parameters
    ----------
    inputs : Inputs
    out : path, optional
        The folder, by default build/<quarter>; what an earlier report left there is replaced.
    pdf : bool
        Whether to print a PDF, if there is a Chromium.
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
        If an input is wrong or missing. Also if a file in the folder would be replaced that is an input or that tierlab
        did not make; then nothing in the folder is touched.
    NotebookError
        If the notebook fails for another reason. In this case, and where an input is wrong, summary.json says so.
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
            check_log(checked)
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
    """Print the page with everything unfolded; return why there is no PDF, or ""."""
    text = html.read_text("utf-8").replace("<details>", "<details open>")
    # Chromium chooses an image before it prints, so the image for print is the one for all.
    text = text.replace(', print"', ', all"')
    with tempfile.TemporaryDirectory() as folder:
        unfolded = Path(folder, "report.html")
        unfolded.write_text(text, "utf-8")
        return pages_run.print_pdf(unfolded, target)


def _run(inputs, temporary, out, timeout):
    """Run the notebook in a temporary folder; in its text this stands as the folder `out`, where it will be."""
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
    """Return the HTML page of an executed notebook, with the parameters as they were given and not as absolute paths.

    Parameters
    ----------
    executed : path
        The notebook.
    inputs : Inputs
        As they were given.
    """
    import nbformat

    from tierlab.pages import page as pages

    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata["papermill"]["parameters"] = dict(vars(inputs))
    notebook.cells[0].source = f"# {in_markdown(title(inputs))}"
    html, own = pages.page(notebook, stem="report", banner=False)[0], settings_of(inputs)
    if not own.logo:
        return html
    name = in_html(inputs.company or own.company or "logo")
    return html.replace("<h1", f'<img class="logo" alt="{name}" src="{own.logo}"><h1', 1)


def summary(quarter: Quarter) -> dict:
    """Return the analysis for a machine, as a dictionary that JSON can hold.

    Parameters
    ----------
    quarter : Quarter

    Returns
    -------
    dict
        schema ("tierlab.quarter/2"), quarter, complete, last_day, spend_usd, contracted_usd, effective_usd, before_usd,
        budget_usd, unpriced_usd, over_budget_usd, unpriced_rows, ahead, headline, missing, forecast (period -> usd, low,
        high, days), and the tables as lists of records. NaN is null.
    """
    q = quarter
    money = {name: getattr(q, name) for name in _MONEY}
    totals = q.forecast.totals.to_json(orient="index") if q.forecast else "{}"
    records = {"orient": "records", "date_format": "iso", "double_precision": 15}
    return {
        "schema": SCHEMA,
        "quarter": q.quarter,
        "complete": bool(q.complete),
        "last_day": f"{q.last_day:%Y-%m-%d}",
        **{name: None if np.isnan(x) else float(x) for name, x in money.items()},
        "unpriced_rows": q.unpriced_rows,
        "ahead": q.ahead,
        "headline": headline(q),
        "missing": dict(q.missing),
        "forecast": json.loads(totals),
        **{name: json.loads(getattr(q, name).to_json(**records)) for name in _TABLES},
    }


def summarise(prepared):
    """Return the whole report for a machine, as a dictionary that JSON can hold.

    Parameters
    ----------
    prepared : Prepared

    Returns
    -------
    dict
        `summary` of the quarter with state ("ok"), title, message (Markdown), usage ("simulated", "trace", "log"),
        sections (each "shown" or what it needs), account (rows), prices (source, as_of, sha256) and files_read (what the
        reader made of each file). `write` adds files: the names of the report's own.
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
    """Write `summarise` to a file, if a path is given.

    Parameters
    ----------
    prepared : Prepared
    path : path
        The file; "" writes none.

    Raises
    ------
    InputError
        If the file is an input of the report, or exists and is not a summary.
    """
    if not path:
        return
    given, why = f"summary_path = {str(path)!r}", "is not written over"
    if any(same_file(path, file) for file in prepared.inputs.files()):
        raise InputError(f"{given} is an input of the report and {why}")
    if os.path.lexists(path):
        try:
            ours = is_summary(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            ours = False
        if not ours:
            raise InputError(f"{given} is a file that is not a summary of tierlab and {why}")
    write_whole(path, _text(summarise(prepared)))


def _fail(folder, inputs, error, executed):
    """Write the failure into summary.json, and remove an earlier report, which must not pass for today's."""
    folder.remove(*_left(folder))
    if executed.is_file():
        folder.write("report.ipynb", executed.read_bytes())
    told = {
        "schema": SCHEMA,
        "state": "bad input" if isinstance(error, ValueError) else "notebook failed",
        "error": " ".join(str(error).split()),
        "quarter": str(inputs.quarter),
        "usage_path": str(inputs.usage_path),
        "usage_format": str(inputs.usage_format),
    }
    folder.write("summary.json", _text(told))


def _left(folder):
    """Return what an earlier report left in the folder."""
    return [name for name in folder.made() if name in _MADE or name.startswith("figures/90_")]


def _text(content):
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
