"""Run notebooks with checked parameters, write the HTML report, and keep the committed outputs fresh.

Everything is checked before anything runs; a notebook whose inputs have not changed is not run again.
"""

import base64
import hashlib
import importlib
import io
import json
import multiprocessing
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from glob import glob
from pathlib import Path

import nbformat

from tierlab.core import paths
from tierlab.core.files import OutputFolder, write_whole
from tierlab.core.vocabulary import unknown
from tierlab.core.workers import end_with
from tierlab.pages.parameters import checked, declared

_MODULE = Path(__file__).parents[1]
KERNEL_START_SECONDS = 60
_PROCESSES = 2  # notebooks that run at the same time
_LEVELS_OFF, _RMS_OFF = 2, 0.05  # how far two images that show the same may lie apart, of 255


class NotebookError(RuntimeError):
    """One or more notebooks did not run to their end."""


def run(
    notebooks=None,
    *,
    parameters=None,
    out=None,
    force=False,
    timeout=120,
    inputs=(),
):
    """Run notebooks and write one HTML page each, with an index.

    Files in the folder that tierlab did not make, or that were changed since, are neither replaced nor deleted.

    Parameters
    ----------
    notebooks : sequence of str or path, optional
        Stems ("02_scaling_costs") or paths; by default every notebook of the kit, and pages of an earlier run
        that are no longer part of it are deleted.
    parameters : mapping, optional
        Values by name, given to each of the notebooks that declares the name; or by a notebook's stem, a
        mapping for that one alone. Texts are read as the type that the notebook declares (command line, YAML).
    out : path, optional
        Folder of the report; by default build/report.
    force : bool
        Run notebooks again whose inputs have not changed, and replace files of the folder that tierlab did not make.
    timeout : int
        Seconds that one cell may take.
    inputs : sequence of path
        Files that were read for the parameters; these, the notebooks and the files that parameters name are never
        written over.

    Returns
    -------
    Path
        The index page.

    Raises
    ------
    ValueError
        Before anything runs: an unknown notebook or parameter, a value of the wrong type or out of range, a folder
        whose files would be overwritten. After it: a figure that would be.
    NotebookError
        If a notebook fails; the others are finished first, and it has no page.
    """
    from tierlab.pages import page as pages_page

    sources = [find(name) for name in notebooks] if notebooks else find_all()
    stems = [source.stem for source in sources]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise ValueError(f"{twice[0]} is named twice; a report has one page for each notebook")
    chosen = assign(sources, parameters or {})
    out = Path(out or paths.BUILD / "report")
    folder = OutputFolder(out, inputs=[*sources, *inputs, *_named_files(chosen)], force=force)
    old = {Path(name).stem for name in folder.made() if name.startswith("notebooks/")}
    others = [name for stem in sorted(old - set(stems)) for name in _names(stem)]
    folder.claim("index.html", *(name for stem in stems for name in _names(stem)))
    if notebooks:
        folder.claim(*(name for name in others if name.endswith(".html")))
    else:
        folder.remove(*others)
    surroundings, failed = _surroundings(), {}
    prints = {source: _fingerprint(source, chosen[source], surroundings) for source in sources}
    kept = set() if force else set(folder.made())
    todo = [
        source
        for source in sources
        if not kept.issuperset(_names(source.stem))
        or _stored_print(out / "notebooks" / source.name) != prints[source]
    ]
    with tempfile.TemporaryDirectory() as temporary:
        executed = {source: Path(temporary, source.stem, source.name) for source in todo}
        jobs = [(source, executed[source], chosen[source]) for source in todo]
        for source, failure in _told(_execute_all(jobs, timeout=timeout), len(jobs)):
            if not failure:
                _sign(executed[source], prints[source])
            # Each as soon as it is done, so that a run that is ended goes on from there.
            _place(folder, executed[source])
            if failure:
                failed[source.stem] = failure
                folder.remove(f"{source.stem}.html")
    made = set(folder.made())
    done = {stem for stem in old if made.issuperset(_names(stem))} | (set(stems) - set(failed))
    cards, ready = [], {}
    for stem in sorted(done):
        ready[stem] = nbformat.read(out / "notebooks" / f"{stem}.ipynb", as_version=4)
    titles = {stem: pages_page.title(notebook, stem) for stem, notebook in ready.items()}
    for stem, notebook in ready.items():
        page, card = pages_page.page(notebook, stem=stem, pages=titles)
        folder.write(f"{stem}.html", page)
        cards.append(card)
    folder.write("index.html", pages_page.index(cards))
    if failed:
        raise NotebookError(
            f"{'; '.join(failed.values())} (as far as they came: {out / 'notebooks'})"
        )
    return out / "index.html"


def _names(stem):
    """The files of a notebook in the folder of a report."""
    return f"notebooks/{stem}.ipynb", f"{stem}.html"


def _named_files(chosen):
    """What the parameters' texts name, as seen from the notebook: files, folders, patterns, and much that is no file."""
    for source, values in chosen.items():
        for name, parameter in declared(source).items():
            value = values.get(name, parameter.default)
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str) and text and "\0" not in text:
                    yield source.parent / text


def _place(folder, executed):
    """Put an executed notebook and its figures into the folder: all of them or, where one may not be written, none."""
    found = [path for path in (executed.parent / "figures").rglob("*") if path.is_file()]
    files = {path.relative_to(executed.parent).as_posix(): path for path in sorted(found)}
    if executed.is_file():
        files[f"notebooks/{executed.name}"] = executed  # last: what it names is there
    folder.claim(*files)
    for name, path in files.items():  # papermill notes where it wrote
        data = path.read_bytes().replace(str(executed).encode(), str(folder.path / name).encode())
        folder.write(name, data)


def find(name):
    """Path of a notebook, by its stem or by a path to it.

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
    known = {path.stem: path for path in find_all()}
    if path.name.removesuffix(".ipynb") not in known or path.parent != Path():
        raise ValueError(unknown("notebook", str(name), known))
    return known[path.name.removesuffix(".ipynb")]


def find_all():
    """Paths of the kit's notebooks, in reading order."""
    # The number in front sets the order and keeps drafts out.
    return sorted(paths.NOTEBOOKS.glob("[0-9]*.ipynb"))


def find_stored():
    """Paths of all notebooks whose outputs are kept: those of the kit, of the app, and the workshop's solutions."""
    return [
        *find_all(),
        *sorted(paths.NOTEBOOKS.glob("app/*.ipynb")),
        *sorted(paths.NOTEBOOKS.glob("workshop/solutions/*.ipynb")),
    ]


def assign(sources, parameters):
    """Which checked values each notebook gets.

    Returns
    -------
    dict of Path to dict
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
    """Run every notebook afresh with its defaults and store its outputs and figures.

    Parameters
    ----------
    check : bool
        Write nothing; compare with what is stored, text strictly and images as `same_image` does.
    notebooks : sequence of path, optional
        By default every one with stored outputs (`find_stored`).
    figures : path, optional
        Folder of the stored figures; by default figures/. What tierlab did not make there is left alone.
    force : bool
        Replace figures that tierlab did not make.

    Returns
    -------
    list of str
        What was stale, as sentences; empty if everything is fresh.

    Raises
    ------
    NotebookError
        If a notebook fails; nothing is written then.
    ValueError
        If a stored figure is not one that tierlab made.
    """
    sources = [Path(path) for path in (notebooks or find_stored())]
    stored, stale = {source: source.read_text(encoding="utf-8") for source in sources}, []
    kept = OutputFolder(figures or paths.ROOT / "figures", force=force)
    with tempfile.TemporaryDirectory() as temporary:
        jobs = [(source, Path(temporary, source.name), {}) for source in sources]
        failures = [failure for _, failure in _told(_execute_all(jobs), len(jobs)) if failure]
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
                    f"{source} was changed while it ran and is left as it is; run the command again"
                )
            if not check:
                write_whole(source, text)
        return stale + drawn


def cleaned(notebook):
    """A notebook without what differs between two equal runs: times, paths, run parameters, widget ids and state."""
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
            # Without its state a view only says that its model is missing; the text beside it remains.
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    return notebook


def _execute_all(jobs, *, timeout=120, progress=False):
    """Run (source, target, parameters) jobs; yields each source, when it is done, with what failed or None.

    Figures are written into a folder beside the target.
    """
    if not jobs:
        return
    # Processes, because papermill changes the working folder of the whole process; started afresh, because a
    # copy of a process that already has threads can hang.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    started = {"mp_context": context, "initializer": end_with, "initargs": (receiver,)}
    with sender, receiver, ProcessPoolExecutor(min(_PROCESSES, len(jobs)), **started) as pool:
        try:
            futures = {pool.submit(_execute, *job, timeout, progress): job[0] for job in jobs}
            importlib.import_module("tierlab.pages.page")  # slow, and needed when they are done
            for future in as_completed(futures):
                yield futures[future], future.result()
        except (
            BaseException
        ):  # interrupted, or what came of one cannot be kept: nobody waits for the others
            sender.close()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _told(done, total):
    """The same, with a line for each notebook that is done where there are several."""
    for number, (source, failure) in enumerate(done, 1):
        if total > 1:
            words = f"{number} of {total}: {source.stem}{' failed' if failure else ''}"
            print(words, file=sys.stderr, flush=True)
        yield source, failure


def execute(source, target, parameters, *, timeout=120):
    """Run one notebook in a process of its own, with a bar that counts its cells on a terminal.

    Parameters
    ----------
    source, target : path
        The notebook, and where it is written as far as it came, its figures into a folder beside it.
    parameters : mapping
        Checked values.
    timeout : int
        Seconds that one cell may take.

    Returns
    -------
    str or None
        What went wrong: the cell, the class of the error and its text.
    """
    jobs = [(source, target, parameters)]
    ((_, failure),) = _execute_all(jobs, timeout=timeout, progress=sys.stderr.isatty())
    return failure


def _execute(source, target, parameters, timeout, progress):
    """Run one notebook; None, or what went wrong."""
    target = Path(target).resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    os.environ |= {
        "IPYTHONDIR": str(paths.ROOT / ".ipython"),
        "IPYKERNEL_CELL_NAME": "<cell>",  # otherwise a warning carries the number of the process
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
            start_timeout=KERNEL_START_SECONDS,
        )
    except papermill.PapermillExecutionError as error:
        return f"{source.name}: cell {error.exec_count} failed with {error.ename}: {error.evalue}"
    except (
        Exception
    ) as error:  # whatever stops one notebook is a line of the report, not the end of the others
        return f"{source.name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return None


def _fingerprint(source, parameters, surroundings):
    """What decides a notebook's outputs: its cells, the parameters, the module, the data and the installed packages."""
    cells = [
        [cell.cell_type, cell.source, cell.metadata.get("tags")]
        for cell in nbformat.read(source, as_version=4).cells
    ]
    digest = hashlib.sha256(json.dumps([cells, parameters, surroundings], sort_keys=True).encode())
    for value in parameters.values():
        if isinstance(value, str) and Path(value).is_absolute():
            _add_files(digest, value)
    return digest.hexdigest()


def _sign(executed, fingerprint):
    """Note in an executed notebook what it was made of."""
    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata["tierlab"] = {"fingerprint": fingerprint}
    executed.write_text(nbformat.writes(notebook), encoding="utf-8", newline="\n")


def _add_files(digest, path):
    """A file by its bytes; a folder's or pattern's files, which may be a large log, by name, size and time."""
    if Path(path).is_file():
        digest.update(Path(path).read_bytes())
        return
    found = Path(path).rglob("*") if Path(path).is_dir() else map(Path, glob(path, recursive=True))  # noqa: PTH207
    for file in sorted(file for file in found if file.is_file()):
        digest.update(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}".encode())


def _surroundings():
    module = [*_MODULE.rglob("*.py"), *_MODULE.rglob("*.mplstyle")]
    files = [
        *module,
        *(p for p in paths.DATA.rglob("*") if p.is_file()),
        paths.ROOT / "requirements.txt",
    ]
    digests = [
        [str(p.name), hashlib.sha256(p.read_bytes()).hexdigest()]
        for p in sorted(files)
        if p.is_file()
    ]
    return [digests, list(sys.version_info[:2]), os.environ.get("TIERLAB_DATA_DIR", "")]


def _stored_print(executed):
    if not executed.is_file():
        return None
    try:
        return (
            json.loads(executed.read_text(encoding="utf-8"))["metadata"]
            .get("tierlab", {})
            .get("fingerprint")
        )
    except (ValueError, KeyError):
        return None


def _first_difference(before, after):
    old, new = (json.loads(text)["cells"] for text in (before, after))
    for number, (was, now) in enumerate(zip(old, new, strict=False)):
        for part in ("outputs", "execution_count", "metadata", "source", "id"):
            if was.get(part) != now.get(part):
                return f"cell {number}: {part} changed"
    return "metadata or format changed"


def same_image(one, other):
    """Whether two PNG files show the same: equal size, no level off by more than 2, root mean square at most 0.05.

    Processors with other vector instructions round otherwise, which moves a few pixels by one level of 255. A changed
    digit, label or shade moves more.

    Parameters
    ----------
    one, other : bytes

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
    """Put the stored bytes in place of each fresh image that shows the same, so that only real changes remain."""
    for now, was in zip(fresh.cells, stored.cells, strict=False):
        for output, before in zip(now.get("outputs", []), was.get("outputs", []), strict=False):
            for image, old in zip(_images(output), _images(before), strict=True):
                for name in image.keys() & old.keys() & {"image/png", "narrow"}:
                    try:
                        if same_image(*(base64.b64decode(each[name]) for each in (image, old))):
                            image[name] = old[name]
                    except ValueError:  # what is stored is not base64, and so not the same image
                        continue


def _images(output):
    """Where an output has its image, and where the one for a phone."""
    return output.get("data", {}), output.get("metadata", {}).get("image/png", {})


def _compare_figures(fresh, stored, whole, check):
    """Which figures are stale, as sentences; where not only checked, the folder `stored` has the fresh ones afterwards."""
    found = {path.relative_to(fresh).as_posix(): path for path in fresh.rglob("*.*")}
    stale = dict.fromkeys(set(stored.made()) - set(found) if whole else (), "no notebook makes it")
    for name, path in found.items():
        old = stored.path / name
        if not old.is_file():
            stale[name] = "missing"
        elif not same_image(old.read_bytes(), path.read_bytes()):
            stale[name] = "differs"
    if not check:
        stored.claim(*(stale.keys() & found))  # all of them, or none
        stored.remove(*(stale.keys() - found))
        for name, path in found.items():
            if name in stale:
                stored.write(name, path.read_bytes())
            else:
                stored.adopt(name)  # the same, whoever wrote it
    return [f"figures/{name}: {stale[name]}" for name in sorted(stale)]
