"""The quarterly report as files: executed notebook, one HTML page, PDF, figures, and a summary for a machine."""

import json
import os
import tempfile
from datetime import date
from pathlib import Path

import nbformat

from tierlab import paths, report
from tierlab.core.files import OutputFolder, same_file, write_whole
from tierlab.printing import print_pdf
from tierlab.quarter_input import NOTEBOOK, InputError, checked_values, file_names, period_of, possible_files
from tierlab.quarter_summary import SCHEMA, summary

SECTIONS = {
    "spend against budget": "budget", "variance": "variance", "teams": "teams", "tasks": "tasks", "active users": "users", "cache": "cache",
    "reasoning": "reasoning", "truncated answers": "truncated answers", "reliability": "reliability", "retries": "retries",
    "latency": "latency", "quality": "quality", "anomalies": "anomalies", "forecast": "forecast", "last forecast": "last forecast",
    "reconciliation": "reconciliation", "cost per request": "cost per request", "batch savings": "batch savings",
}  # fmt: skip
_MADE = ("report.ipynb", "report.html", "report.pdf", "summary.json")
CELL_SECONDS = 1800


def write(values, *, out=None, pdf=True, timeout=CELL_SECONDS, force=False):
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
    given = dict(values)
    out = Path(out) if out else paths.BUILD / str(period_of(given["quarter"]))
    folder = OutputFolder(out, inputs=possible_files(given), force=force)
    folder.claim(*_MADE)
    begun = out.is_dir()
    with tempfile.TemporaryDirectory() as temporary:
        temporary = Path(temporary).resolve()
        try:
            values = checked_values(given)
            begun = True
            note = _report(values, given, temporary, out, pdf, timeout)
        except (ValueError, report.NotebookError) as error:
            if begun:
                _fail(folder, given, error, temporary / "report.ipynb")
            raise
        names = [path.relative_to(temporary).as_posix() for path in sorted(temporary.rglob("*")) if path.is_file()]
        folder.claim(*names)
        folder.remove(*(name for name in _left(folder) if name not in names), "summary.json")
        for name in sorted(names, key="summary.json".__eq__):  # last: where it is there, the report is whole
            folder.write(name, (temporary / name).read_bytes())
    return [out / name for name in _MADE if name in names], note


def _report(values, given, temporary, out, pdf, timeout):
    """Write all files of the report into a folder of their own; returns why there is no PDF, or ""."""
    source, target = paths.NOTEBOOKS / f"{NOTEBOOK}.ipynb", temporary / "report.ipynb"
    told = values | {"summary_path": (temporary / "summary.json").as_posix()}
    failure = report.execute(source, target, told, timeout=timeout)
    if target.is_file():  # it names the folder in which it will lie
        text = target.read_text(encoding="utf-8").replace(temporary.as_posix(), out.resolve().as_posix())
        target.write_text(text, encoding="utf-8", newline="\n")
    wrong_input = " failed with InputError: "
    if failure and wrong_input in failure:
        raise InputError(failure.split(wrong_input, 1)[1])
    if failure:
        raise report.NotebookError(f"{failure} (as far as it came: {out / 'report.ipynb'})")
    (temporary / "report.html").write_text(page(target, given), encoding="utf-8", newline="\n")
    return print_pdf(temporary / "report.html", temporary / "report.pdf") if pdf else ""


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
    """Write `summarise` to a file, if a path is given; returns None, as a notebook's cell likes it.

    Raises
    ------
    InputError
        If the file is an input of the report, or is there and is no summary.
    """
    if not path:
        return
    if any(same_file(path, file) for file in possible_files(prepared.values)):
        raise InputError(f"summary_path = {str(path)!r} is an input of the report and is not written over")
    if os.path.lexists(path) and not _is_summary(path):
        raise InputError(f"summary_path = {str(path)!r} is a file that is no summary of tierlab and is not written over")
    write_whole(path, _text(summarise(prepared)))


def _is_summary(path):
    try:
        return json.loads(Path(path).read_text(encoding="utf-8")).get("schema") == SCHEMA
    except (OSError, ValueError, AttributeError):
        return False


def _fail(folder, given, error, executed):
    """Say so in summary.json, and take away what an earlier run left, which must not pass for today's."""
    folder.remove(*_left(folder))
    if executed.is_file():
        folder.write("report.ipynb", executed.read_bytes())
    state = "bad input" if isinstance(error, ValueError) else "notebook failed"
    values = {name: str(value) for name, value in given.items() if name in ("quarter", "usage_path", "usage_format")}
    told = {"schema": SCHEMA, "state": state, "error": " ".join(str(error).split())}
    folder.write("summary.json", _text(told | values))


def _left(folder):
    """What an earlier report left in the folder."""
    return [name for name in folder.made() if name in _MADE or name.startswith("figures/90_")]


def _text(content):
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False, default=_plain) + "\n"


def _plain(value):
    return value.isoformat() if isinstance(value, date) else value.item()


def _iso(moment):
    return None if moment is None or moment != moment else moment.isoformat()
