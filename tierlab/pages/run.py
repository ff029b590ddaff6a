"""Run notebooks with checked parameters, write their pages and print them, and keep the stored outputs fresh.

Everything is checked before anything runs, and a notebook whose inputs have not changed is not run again. nbformat and
the modules behind a page take seconds to import, so they are loaded only once the input is known to be right.
"""

import base64
import hashlib
import importlib
import io
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from glob import glob
from pathlib import Path

from tierlab.core import paths
from tierlab.core.files import OutputFolder, write_whole
from tierlab.core.vocabulary import unknown
from tierlab.core.workers import end_with
from tierlab.pages.parameters import checked, declared

_MODULE = Path(__file__).parents[1]
_PROCESSES = 2  # notebooks that run at the same time
_KERNEL_SECONDS = 60  # that a kernel may take to start
_PDF_SECONDS = 120
_LEVELS_OFF, _RMS_OFF = (
    2,
    0.05,
)  # how far apart two images that show the same may be, in levels of 255

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
NO_BROWSER = (
    "no Chromium found; install one (Debian: apt-get install --no-install-recommends chromium) "
    "or print the page from a browser"
)
# A page of ours loads nothing and runs one known script, so it can do without the sandbox, which a container lacks.
BROWSER_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


class NotebookError(RuntimeError):
    """At least one notebook did not run to its end."""


def run(
    notebooks=None,
    *,
    parameters=None,
    out=None,
    force=False,
    timeout=120,
    inputs=(),
):
    """Run notebooks and write an HTML page for each, with an index.

    Files in the folder that tierlab did not make, or that were changed since, are neither replaced nor deleted.

    Parameters
    ----------
    notebooks : sequence of str or path, optional
        Stems ("02_scaling_costs") or paths. By default every notebook of the kit runs, and pages of an earlier run that
        no longer belong to it are deleted.
    parameters : mapping, optional
        Values by name, for every notebook that declares the name; or, under the stem of a notebook, a mapping for that
        one alone. Texts (command line, YAML) are read as the type that the notebook declares.
    out : path, optional
        Folder of the report; by default build/report.
    force : bool
        Run every notebook again, and replace files in the folder that tierlab did not make.
    timeout : int
        Seconds that one cell may take, at least 1.
    inputs : sequence of path
        Files from which the parameters were read. They, the notebooks and the files that parameters name are never
        overwritten.

    Returns
    -------
    Path
        The index page.

    Raises
    ------
    ValueError
        Before anything runs: a notebook or parameter is unknown, a value has the wrong type or is out of range, or a
        file would be overwritten that is not ours. Afterwards: a figure would be.
    NotebookError
        If a notebook fails. The others are finished first; the one that failed has no page.
    """
    sources = [find(name) for name in notebooks] if notebooks else find_all()
    stems = [source.stem for source in sources]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise ValueError(f"{twice[0]} is named twice; a report has one page for each notebook")
    chosen = assign(sources, parameters or {})
    # Imported now, so that a missing package is reported before anything is written.
    importlib.import_module("tierlab.pages.page")
    out = Path(out or paths.BUILD / "report")
    folder = OutputFolder(out, inputs=[*sources, *inputs, *_named_files(chosen)], force=force)
    old = {Path(name).stem for name in folder.made() if name.startswith("notebooks/")}
    others = [name for stem in sorted(old - set(stems)) for name in _names(stem)]
    folder.claim("index.html", *(name for stem in stems for name in _names(stem)))
    if notebooks:
        folder.claim(*(name for name in others if name.endswith(".html")))
    else:
        folder.remove(*others)
    failed = _run_changed(folder, chosen, timeout=timeout, force=force)
    made = set(folder.made())
    done = {stem for stem in old if made.issuperset(_names(stem))} | (set(stems) - set(failed))
    _write_pages(folder, sorted(done))
    if failed:
        raise NotebookError(
            f"{'; '.join(failed.values())} (as far as they came: {out / 'notebooks'})"
        )
    return out / "index.html"


def _run_changed(folder, chosen, *, timeout, force):
    """Run the notebooks whose inputs have changed (all of them with `force`) into the folder of a report.

    Returns
    -------
    dict of str to str
        Stem -> what went wrong, of those that failed.
    """
    surroundings, failed = _surroundings(), {}
    prints = {source: _fingerprint(source, chosen[source], surroundings) for source in chosen}
    kept = set() if force else set(folder.made())
    todo = [
        source
        for source in chosen
        if not kept.issuperset(_names(source.stem))
        or _stored_print(folder.path / "notebooks" / source.name) != prints[source]
    ]
    with tempfile.TemporaryDirectory() as temporary:
        executed = {source: Path(temporary, source.stem, source.name) for source in todo}
        jobs = [(source, executed[source], chosen[source]) for source in todo]
        for source, failure in _execute_all(jobs, timeout=timeout):
            if not failure:
                _sign(executed[source], prints[source])
            # Each one as soon as it is done, so that a run that was ended can be resumed.
            _place(folder, executed[source])
            if failure:
                failed[source.stem] = failure
                folder.remove(f"{source.stem}.html")
    return failed


def _write_pages(folder, stems):
    import nbformat

    from tierlab.pages import page as pages

    read = {
        stem: nbformat.read(folder.path / "notebooks" / f"{stem}.ipynb", as_version=4)
        for stem in stems
    }
    titles = {stem: pages.title(notebook, stem) for stem, notebook in read.items()}
    cards = []
    for stem, notebook in read.items():
        page, card = pages.page(notebook, stem=stem, pages=titles)
        folder.write(f"{stem}.html", page)
        cards.append(card)
    folder.write("index.html", pages.index(cards))


def _names(stem):
    """Return the names of a notebook's files in the folder of a report."""
    return f"notebooks/{stem}.ipynb", f"{stem}.html"


def _named_files(chosen):
    """Yield every text among the parameters as a path seen from its notebook; most of them name no file."""
    for source, values in chosen.items():
        for name, parameter in declared(source).items():
            value = values.get(name, parameter.default)
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str) and text and "\0" not in text:
                    yield source.parent / text


def _place(folder, executed):
    """Put an executed notebook and its figures into the folder: all of them, or none if one may not be written."""
    found = [path for path in (executed.parent / "figures").rglob("*") if path.is_file()]
    files = {path.relative_to(executed.parent).as_posix(): path for path in sorted(found)}
    if executed.is_file():
        files[f"notebooks/{executed.name}"] = executed  # last, when what it names is there
    folder.claim(*files)
    for name, path in files.items():  # papermill notes where it wrote
        data = path.read_bytes().replace(str(executed).encode(), str(folder.path / name).encode())
        folder.write(name, data)


def find(name):
    """Return the path of a notebook, given its stem or a path to it.

    Raises
    ------
    ValueError
        If there is no such notebook; names the nearest.

    Examples
    --------
    >>> find("99_nothing")
    Traceback (most recent call last):
    ...
    ValueError: unknown notebook '99_nothing'...
    """
    path = Path(name)
    if path.suffix == ".ipynb" and path.is_file():
        return path.resolve()
    known, stem = {path.stem: path for path in find_all()}, path.name.removesuffix(".ipynb")
    if stem not in known or path.parent != Path():
        raise ValueError(unknown("notebook", str(name), known))
    return known[stem]


def find_all():
    """Return the paths of the kit's notebooks, in reading order."""
    # The number in front sets the order and keeps drafts out.
    return sorted(paths.NOTEBOOKS.glob("[0-9]*.ipynb"))


def find_stored():
    """Return the paths of all notebooks with stored outputs: the kit's, the app's and the workshop's solutions."""
    return [
        *find_all(),
        *sorted(paths.NOTEBOOKS.glob("app/*.ipynb")),
        *sorted(paths.NOTEBOOKS.glob("workshop/solutions/*.ipynb")),
    ]


def assign(sources, parameters):
    """Check parameters and say which of them each notebook gets.

    Parameters
    ----------
    sources : sequence of Path
        The notebooks.
    parameters : mapping
        As for `run`.

    Returns
    -------
    dict of Path to dict
        Checked values by name, for each notebook.

    Raises
    ------
    ValueError
        If a notebook or parameter is unknown, or a value is not allowed.
    """
    declarations = {}
    for source in sources:
        try:
            declarations[source] = declared(source)
        except (ValueError, SyntaxError) as error:
            raise ValueError(f"{source.name}: {error}") from None
    by_stem = {source.stem: source for source in sources}
    shared = {name: value for name, value in parameters.items() if name not in by_stem}
    known = sorted({name for found in declarations.values() for name in found})
    for name, value in shared.items():
        if name not in known and isinstance(value, dict) and name[:1].isdigit():
            raise ValueError(unknown("notebook", name, by_stem))
        if name not in known:
            raise ValueError(unknown("parameter", name, known))
    chosen = {}
    for source, found in declarations.items():
        values = {name: value for name, value in shared.items() if name in found}
        try:
            chosen[source] = checked(values | dict(parameters.get(source.stem) or {}), found)
        except ValueError as error:
            raise ValueError(f"{source.stem}: {error}") from None
    return chosen


def refresh(*, check=False, notebooks=None, figures=None, force=False):
    """Run every notebook with its defaults and store its outputs and figures.

    Parameters
    ----------
    check : bool
        Write nothing, only compare with what is stored: text to the letter, images as `same_image` does.
    notebooks : sequence of path, optional
        By default all with stored outputs (`find_stored`).
    figures : path, optional
        Folder of the stored figures; by default figures/. Files that tierlab did not make there are left alone.
    force : bool
        Replace figures that tierlab did not make.

    Returns
    -------
    list of str
        One line for each file that was stale; empty if everything is fresh.

    Raises
    ------
    NotebookError
        If a notebook fails; nothing is written then.
    ValueError
        If a figure would be overwritten that tierlab did not make, or a notebook was changed while it ran.
    """
    import nbformat

    sources = [Path(path) for path in (notebooks or find_stored())]
    stored, stale = {source: source.read_text(encoding="utf-8") for source in sources}, []
    kept = OutputFolder(figures or paths.ROOT / "figures", force=force)
    with tempfile.TemporaryDirectory() as temporary:
        jobs = [(source, Path(temporary, source.name), {}) for source in sources]
        failures = [failure for _, failure in _execute_all(jobs) if failure]
        if failures:
            raise NotebookError("; ".join(failures))
        drawn = _compare_figures(Path(temporary, "figures"), kept, notebooks is None, check)
        for source, executed, _ in jobs:
            fresh = cleaned(nbformat.read(executed, as_version=4))
            _keep_same_images(fresh, nbformat.reads(stored[source], as_version=4))
            text = nbformat.writes(fresh) + "\n"
            if text == stored[source]:
                continue
            stale.append(f"{source.name}: {_first_difference(stored[source], text)}")
            if not check and source.read_text(encoding="utf-8") != stored[source]:
                raise ValueError(
                    f"{source} was changed while it ran and was left alone; run the command again"
                )
            if not check:
                write_whole(source, text)
        return stale + drawn


def cleaned(notebook):
    """Strip a notebook of what differs between two equal runs: times, paths, run parameters, widget ids and state."""
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor

    notebook, _ = CoalesceStreamsPreprocessor().preprocess(notebook, {})
    for key in ("papermill", "widgets", "tierlab"):
        notebook.metadata.pop(key, None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]
        for output in cell.get("outputs", []):
            # Without its state a widget view only says that its model is missing; the text beside it remains.
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    return notebook


def _execute_all(jobs, *, timeout=120, progress=False):
    """Run (source, target, parameters) jobs, and yield each source when it is done with what failed, or None.

    Figures are written into a folder beside the target. Of several jobs, standard error says which are done.
    """
    if not jobs:
        return
    # Processes, because papermill changes the working folder of its whole process; spawned, because a copy of a process
    # that already has threads can hang.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    started = {"mp_context": context, "initializer": end_with, "initargs": (receiver,)}
    with sender, receiver, ProcessPoolExecutor(min(_PROCESSES, len(jobs)), **started) as pool:
        try:
            futures = {pool.submit(_execute, *job, timeout, progress): job[0] for job in jobs}
            importlib.import_module("tierlab.pages.page")  # slow, and needed when they are done
            for number, future in enumerate(as_completed(futures), 1):
                source, failure = futures[future], future.result()
                if len(jobs) > 1:
                    end = " failed" if failure else ""
                    print(
                        f"{number} of {len(jobs)}: {source.stem}{end}", file=sys.stderr, flush=True
                    )
                yield source, failure
        except BaseException:
            # Interrupted, or the result of one job cannot be kept: do not wait for the others.
            sender.close()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def execute(source, target, parameters, *, timeout=120):
    """Run one notebook in its own process; on a terminal, a bar counts its cells.

    Parameters
    ----------
    source, target : path
        The notebook, and where to write it with the outputs that it produced. Figures go into a folder beside it.
    parameters : mapping
        Checked values.
    timeout : int
        Seconds that one cell may take, at least 1.

    Returns
    -------
    str or None
        What went wrong: the cell, the class of the error and its text; None if nothing did.
    """
    jobs = [(source, target, parameters)]
    ((_, failure),) = _execute_all(jobs, timeout=timeout, progress=sys.stderr.isatty())
    return failure


def _execute(source, target, parameters, timeout, progress):
    target = Path(target).resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    os.environ |= {
        "IPYTHONDIR": str(paths.ROOT / ".ipython"),
        "IPYKERNEL_CELL_NAME": "<cell>",  # otherwise a warning names the process number
        "PYTHONHASHSEED": "0",
        "TIERLAB_FIGURES_DIR": str(target.parent / "figures"),
    }
    import papermill

    try:
        papermill.execute_notebook(
            str(source),
            str(target),
            parameters=parameters,
            kernel_name="python3",
            cwd=str(Path(source).parent),
            progress_bar=progress,
            request_save_on_cell_execute=False,
            execution_timeout=timeout,
            start_timeout=_KERNEL_SECONDS,
        )
    except papermill.PapermillExecutionError as error:
        return f"{source.name}: cell {error.exec_count} failed with {error.ename}: {error.evalue}"
    except Exception as error:
        # Whatever stops one notebook becomes a line of the report and does not end the others.
        return f"{source.name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return None


def _fingerprint(source, parameters, surroundings):
    """Return a digest of what decides a notebook's outputs: cells, parameters, module, data and installed packages."""
    cells = [
        [cell["cell_type"], "".join(cell["source"]), cell["metadata"].get("tags")]
        for cell in json.loads(source.read_text("utf-8"))["cells"]
    ]
    digest = hashlib.sha256(json.dumps([cells, parameters, surroundings], sort_keys=True).encode())
    for value in parameters.values():
        if isinstance(value, str) and Path(value).is_absolute():
            _add_files(digest, value)
    return digest.hexdigest()


def _add_files(digest, path):
    """Add a file by its bytes, and the files of a folder or pattern, which may be a large log, by name, size and time."""
    if Path(path).is_file():
        digest.update(Path(path).read_bytes())
        return
    found = Path(path).rglob("*") if Path(path).is_dir() else map(Path, glob(path, recursive=True))  # noqa: PTH207
    for file in sorted(file for file in found if file.is_file()):
        digest.update(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}".encode())


def _surroundings():
    module = [*_MODULE.rglob("*.py"), *_MODULE.rglob("*.mplstyle")]
    files = sorted([*module, *paths.DATA.rglob("*"), paths.ROOT / "requirements.txt"])
    digests = [
        [file.name, hashlib.sha256(file.read_bytes()).hexdigest()]
        for file in files
        if file.is_file()
    ]
    return [digests, list(sys.version_info[:2]), os.environ.get("TIERLAB_DATA_DIR", "")]


def _sign(executed, fingerprint):
    """Note in an executed notebook the fingerprint of what it was made from."""
    notebook = json.loads(executed.read_text("utf-8"))
    notebook["metadata"]["tierlab"] = {"fingerprint": fingerprint}
    text = json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False)
    executed.write_text(text, encoding="utf-8", newline="\n")


def _stored_print(executed):
    try:
        return json.loads(executed.read_text("utf-8"))["metadata"]["tierlab"]["fingerprint"]
    except (OSError, ValueError, KeyError):
        return None


def _first_difference(before, after):
    old, new = (json.loads(text)["cells"] for text in (before, after))
    for number, (was, now) in enumerate(zip(old, new, strict=False)):
        for part in ("outputs", "execution_count", "metadata", "source", "id"):
            if was.get(part) != now.get(part):
                return f"cell {number}: {part} changed"
    return "metadata or format changed"


def same_image(one, other):
    """Return whether two PNG files show the same: equal size, no level off by more than 2, root mean square at most 0.05.

    Processors with other vector instructions round differently, which moves a few pixels by one level of 255. A changed
    digit, label or shade moves more.

    Parameters
    ----------
    one, other : bytes

    Returns
    -------
    bool

    Examples
    --------
    >>> same_image(b"the same bytes", b"the same bytes"), same_image(b"no", b"PNG")
    (True, False)
    """
    if one == other:
        return True
    from matplotlib.image import imread

    try:
        one, other = (255.0 * imread(io.BytesIO(data), format="png") for data in (one, other))
    except (OSError, SyntaxError, ValueError):  # what Pillow raises for a broken file
        return False
    if one.shape != other.shape:
        return False
    off = abs(one - other)
    return bool(off.max() < _LEVELS_OFF + 0.5 and (off**2).mean() ** 0.5 <= _RMS_OFF)


def _keep_same_images(fresh, stored):
    """Replace each fresh image that shows the same by the stored bytes, so that only real changes remain."""
    for now, was in zip(fresh.cells, stored.cells, strict=False):
        for output, before in zip(now.get("outputs", []), was.get("outputs", []), strict=False):
            for image, old in zip(_images(output), _images(before), strict=True):
                for name in image.keys() & old.keys() & {"image/png", "narrow"}:
                    try:
                        if same_image(*(base64.b64decode(each[name]) for each in (image, old))):
                            image[name] = old[name]
                    except ValueError:  # what is stored is not base64, so it is not the same image
                        continue


def _images(output):
    """Return the mappings that hold an output's image and its image for a phone."""
    return output.get("data", {}), output.get("metadata", {}).get("image/png", {})


def _compare_figures(fresh, stored, whole, check):
    """Return a line for each stale figure; unless this is only a check, write the fresh ones into the folder `stored`."""
    found = {path.relative_to(fresh).as_posix(): path for path in fresh.rglob("*.*")}
    stale = dict.fromkeys(set(stored.made()) - set(found) if whole else (), "no notebook makes it")
    for name, path in found.items():
        old = stored.path / name
        if not old.is_file():
            stale[name] = "missing"
        elif not same_image(old.read_bytes(), path.read_bytes()):
            stale[name] = "differs"
    if not check:
        stored.claim(*(stale.keys() & found))  # before any is written: all of them, or none
        stored.remove(*(stale.keys() - found))
        for name, path in found.items():
            if name in stale:
                stored.write(name, path.read_bytes())
            else:
                stored.adopt(name)  # it is the same, whoever wrote it
    return [f"figures/{name}: {stale[name]}" for name in sorted(stale)]


def find_browser():
    """Return the path of the first Chromium on the search path, or None."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def print_pdf(page, target):
    """Print an HTML file to a tagged PDF.

    Parameters
    ----------
    page, target : path
        The HTML file, and where the PDF goes.

    Returns
    -------
    str
        Why there is no PDF, or "" if there is one. A report without its PDF is still a report.
    """
    browser = find_browser()
    if browser is None:
        return NO_BROWSER
    with tempfile.TemporaryDirectory() as folder:
        printed = Path(folder, "page.pdf")
        own = [
            f"--user-data-dir={folder}/profile",
            "--no-pdf-header-footer",
            f"--print-to-pdf={printed}",
        ]
        command = [browser, *BROWSER_FLAGS, *own, Path(page).resolve().as_uri()]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_PDF_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{browser} did not print ({' '.join(str(error).split())[:200]})"
        if done.returncode or not printed.is_file():
            return f"{browser} did not print (exit status {done.returncode})"
        write_whole(target, printed.read_bytes())
    return ""
