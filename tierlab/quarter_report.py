"""The quarterly report as files: executed notebook, one HTML page, PDF, figures, and a summary for a machine."""

import json
from datetime import date
from pathlib import Path

import nbformat

from tierlab import paths, report
from tierlab.printing import print_pdf
from tierlab.quarter_input import NOTEBOOK, checked_values, file_names
from tierlab.quarter_summary import SCHEMA, summary

SECTIONS = {
    "spend against budget": "budget", "variance": "variance", "teams": "teams", "tasks": "tasks", "active users": "users", "cache": "cache",
    "reasoning": "reasoning", "truncated answers": "truncated answers", "reliability": "reliability", "retries": "retries",
    "latency": "latency", "quality": "quality", "anomalies": "anomalies", "forecast": "forecast", "last forecast": "last forecast",
    "reconciliation": "reconciliation", "cost per request": "cost per request", "batch savings": "batch savings",
}  # fmt: skip
_MADE = ("report.ipynb", "report.html", "report.pdf", "summary.json")
CELL_SECONDS = 1800


def write(values, *, out=None, pdf=True, timeout=CELL_SECONDS):
    """Write the report of a quarter into a folder.

    Parameters
    ----------
    values : mapping of str to value
        Parameters of notebook 90.
    out : path, optional
        By default build/<quarter>; what an earlier report left there is replaced.
    pdf : bool
        Whether to print a PDF, where there is a Chromium.
    timeout : int
        Seconds that one cell may take.

    Returns
    -------
    made : list of Path
    note : str
        Why there is no PDF, or "".

    Raises
    ------
    ValueError
        If an input is wrong or not there.
    NotebookError
        If the notebook fails for another reason. In both cases summary.json says so, once `out` is known.
    """
    given = dict(values)
    out = Path(out) if out else paths.BUILD / str(given.get("quarter", "quarter"))
    try:
        values = checked_values(given)
    except ValueError as error:
        if out.is_dir():  # what lies there must not pass for today's report
            _clear(out)
            _fail(out, given, "bad input", error)
        raise
    out.mkdir(parents=True, exist_ok=True)
    _clear(out)
    source, target = paths.NOTEBOOKS / f"{NOTEBOOK}.ipynb", out / "report.ipynb"
    told = values | {"summary_path": str((out / "summary.json").resolve())}
    failure = report.execute(source, target, told, figures=out / "figures", timeout=timeout)
    if failure:
        (out / "summary.json").unlink(missing_ok=True)
        wrong_input = " failed with InputError: "
        if wrong_input in failure:
            message = failure.split(wrong_input, 1)[1]
            _fail(out, given, "bad input", message)
            raise ValueError(message)
        _fail(out, given, "notebook failed", failure)
        raise report.NotebookError(f"{failure} (as far as it came: {target})")
    (out / "report.html").write_text(page(target, given), encoding="utf-8", newline="\n")
    note = print_pdf(out / "report.html", out / "report.pdf") if pdf else ""
    return [out / name for name in _MADE if (out / name).exists()], note


def page(executed, given):
    """The HTML page of an executed notebook; it names the parameters as they were given, not where files lie."""
    from tierlab import pages

    notebook = nbformat.read(executed, as_version=4)
    run = notebook.metadata["papermill"]["parameters"]
    shown = {name: value for name, value in run.items() if name != "summary_path"}
    notebook.metadata["papermill"]["parameters"] = shown | {name: given[name] for name in shown if name in given}
    return pages.page(notebook, stem="report", banner=False)[0]


def summarise(prepared):
    """The report for a machine, as a JSON-able dictionary.

    Parameters
    ----------
    prepared : tierlab.quarter_input.Prepared

    Returns
    -------
    dict
        `tierlab.quarter.summary`, and: state ("ok"), usage ("simulated", "trace", "log"), sections ("shown" or what
        the section needs), account (rows), files (what the reader made of each) and prices (source, as_of, sha256).
    """
    q, account = prepared.quarter, prepared.cube.account
    result = summary(q) | {"state": "ok", "usage": prepared.kind}
    result["sections"] = {name: q.missing.get(key, "shown") for name, key in SECTIONS.items()}
    result["account"] = {
        "rows_read": account.rows_read, "rows_priced": account.rows_priced,
        "set_aside": json.loads(account.set_aside.to_json(orient="records")),
        "unknown_models": {str(name): int(rows) for name, rows in account.unknown_models.items()},
        "first_at": _iso(account.first_at), "last_at": _iso(account.last_at), "timezone": account.timezone, "engine": account.engine,
    }  # fmt: skip
    result["prices"] = {"source": account.price_source, "as_of": account.price_as_of, "sha256": account.price_sha256}
    files = None if prepared.read is None else prepared.read.files.assign(file=file_names(prepared.read))
    result["files"] = [] if files is None else json.loads(files.to_json(orient="records"))
    return result


def write_summary(prepared, path):
    """Write `summarise` to a file, if a path is given; returns None, as a notebook's cell likes it."""
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        _dump(path, summarise(prepared))


def _fail(out, given, state, error):
    values = {name: str(value) for name, value in given.items() if name in ("quarter", "usage_path", "usage_format")}
    _dump(out / "summary.json", {"schema": SCHEMA, "state": state, "error": " ".join(str(error).split())} | values)


def _clear(out):
    for path in [*(out / name for name in _MADE), *(out / "figures").glob("90_*")]:
        path.unlink(missing_ok=True)


def _dump(path, content):
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False, default=_plain)
    Path(path).write_text(text + "\n", encoding="utf-8", newline="\n")


def _plain(value):
    return value.isoformat() if isinstance(value, date) else value.item()


def _iso(moment):
    return None if moment is None or moment != moment else moment.isoformat()
