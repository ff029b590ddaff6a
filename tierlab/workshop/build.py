"""Make the exercises from their solutions, which are the only source.

They differ in the cells tagged `solution`. Markdown of such a cell is left out. Its code is kept down to a line that
begins with ``# your turn``; below it only the names that the check asks for remain: an assignment as ``name = ...``,
with the comment beside it, and a function with its first line, its docstring and ``return ...``. Code without such a
line is left out.
"""

import ast
import copy
import io
import re
import tokenize

import nbformat

from tierlab.core.files import OutputFolder
from tierlab.core.paths import NOTEBOOKS

FOLDER = NOTEBOOKS / "workshop"
TAG, CHECK = "solution", "tl.workshop.check("
# Address of the repository that Colab clones. If you publish the kit, set it and write the exercises again.
REPOSITORY = ""
_MARKER = re.compile(r"^# your turn\b.*$", re.MULTILINE)
_BOOTSTRAP = """\
# Does nothing where the kit is installed. On Colab it fetches and installs it, and shows what it does.
from importlib.util import find_spec

REPOSITORY = "{repository}"  # address of the kit's git repository, from your teacher

if find_spec("tierlab") is None and not REPOSITORY:
    print("tierlab is not installed here: put the address of its repository into REPOSITORY and run this cell again.")
elif find_spec("tierlab") is None:
    print(f"Installing tierlab from {REPOSITORY}; restart the session if Colab asks for it, then run this cell again.")
    !git clone --depth 1 {REPOSITORY} tierlab-kit
    %pip install -e tierlab-kit
    __import__("sys").path.insert(0, "tierlab-kit")"""


def solutions():
    """Return the paths of the solutions, in order."""
    return sorted((FOLDER / "solutions").glob("[0-9]*.ipynb"))


def starter(source, asked):
    """Return what an exercise keeps of the code of a solution's cell, or None if it keeps nothing.

    Parameters
    ----------
    source : str
        The code.
    asked : collection of str
        Names that the check asks for.

    Examples
    --------
    >>> print(starter("# your turn: a quarter\\nmonths = 3\\nquarter_usd = months * 1_000  # USD", ["quarter_usd"]))
    # your turn: a quarter
    quarter_usd = ...  # USD
    """
    marker = _MARKER.search(source)
    if not marker:
        return None
    below = source[marker.end() :]
    lines = io.StringIO(below).readline
    comments = {
        token.start[0]: token.string
        for token in tokenize.generate_tokens(lines)
        if token.type == tokenize.COMMENT
    }
    parts = [source[: marker.end()]]
    for node in ast.parse(below).body:
        if isinstance(node, ast.FunctionDef):
            documented = ast.get_docstring(node) is not None
            node.body = [*node.body[:documented], ast.Return(ast.Constant(...))]
            parts += [f"\n\n{ast.unparse(node)}\n\n"] if node.name in asked else []
        else:
            comment = f"  {comments[node.lineno]}" if node.lineno in comments else ""
            parts += [f"{name} = ...{comment}" for name in _assigned(node) if name in asked]
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join(dict.fromkeys(parts))).strip()


def _assigned(node):
    """Return the names that a statement gives a value."""
    targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
    names = [item for target in targets for item in ast.walk(target) if isinstance(item, ast.Name)]
    return [name.id for name in names if isinstance(name.ctx, ast.Store)]


def exercise(solution):
    """Make the exercise of a solution: the same cells and ids without outputs and answers, and a cell that sets Colab up.

    Parameters
    ----------
    solution : NotebookNode

    Returns
    -------
    NotebookNode

    Raises
    ------
    ValueError
        If the check asks for a name that no cell leaves to be filled in.
    """
    notebook = copy.deepcopy(solution)
    asked = set(asked_names(notebook))
    cells, open_names = [], set()
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if TAG in tags:
            kept = starter(cell.source, asked) if cell.cell_type == "code" else None
            if kept is None:
                continue
            open_names |= {
                name
                for name in asked
                if re.search(rf"^(?:{name} = \.\.\.|def {name}\()", kept, re.MULTILINE)
            }
            cell.source = kept
            cell.metadata.tags = [tag for tag in tags if tag != TAG]
            if not cell.metadata.tags:
                del cell.metadata["tags"]
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        cells.append(cell)
    if asked != open_names or not asked:
        lost = ", ".join(sorted(asked - open_names)) or "anything"
        raise ValueError(
            f"{cells[0].source.splitlines()[0]!r}: nothing below a line '# your turn' leaves {lost} to be filled in"
        )
    notebook.cells = [cells[0], _bootstrap(), *cells[1:]]
    return notebook


def asked_names(notebook):
    """Return the names that the check of a notebook asks for: the keywords of `tl.workshop.check`."""
    sources = [
        cell.source
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.source.startswith(CHECK)
    ]
    return [
        keyword.arg for source in sources for keyword in ast.parse(source).body[0].value.keywords
    ]


def generate(*, out=None, check=False, force=False):
    """Write all exercises.

    Parameters
    ----------
    out : path, optional
        Where to write; by default the kit's own folder of exercises. Learners work in a copy elsewhere.
    check : bool
        Only say what is stale, and write nothing.
    force : bool
        Write over exercises that somebody has changed, and over the answers in them.

    Returns
    -------
    list of str
        Names of the exercises that were stale.

    Raises
    ------
    ValueError
        If an exercise that somebody has changed would be written over. Then nothing is written.
    """
    folder = OutputFolder(out or FOLDER / "exercises", inputs=solutions(), force=force)
    fresh = {
        path.name: nbformat.writes(exercise(nbformat.read(path, as_version=4))) + "\n"
        for path in solutions()
    }
    same = [name for name, text in fresh.items() if _holds(folder.path / name, text)]
    gone = [name for name in folder.made() if name not in fresh]
    stale = [name for name in fresh if name not in same]
    if not check:
        folder.claim(*stale)
        for name in same:
            folder.adopt(name)
        for name in stale:
            folder.write(name, fresh[name])
        folder.remove(*gone)
    return sorted([*stale, *gone])


def _holds(path, text):
    return path.is_file() and path.read_bytes() == text.encode()


def _bootstrap():
    cell = nbformat.v4.new_code_cell(_BOOTSTRAP.replace("{repository}", REPOSITORY), id="colab")
    cell.metadata["slideshow"] = {"slide_type": "skip"}
    cell.metadata["jupyter"] = {"source_hidden": True}
    return cell
