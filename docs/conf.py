"""The documentation: the repository's Markdown as it is, and an API reference from the docstrings.

`make docs` builds it. Sphinx reads a copy of the Markdown in build/docs-source, in which links to notebooks lead to the
report's pages where `make report` has made them, and those to other files of the repository to these files; next to it
stands a page for each folder of the module, with the names of `tierlab/__init__.pyi`. Nothing is fetched, and a built page
that would load something from elsewhere is an error.
"""

import ast
import importlib
import inspect
import os
import re
import shutil
from pathlib import Path

from sphinx.errors import SphinxError

import tierlab

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "build" / "docs-source"
REPORT = ROOT / "build" / "report"
DOCUMENTS = [
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "GLOSSARY.md"),
    *("data/README.md", "data/examples/README.md", "notebooks/workshop/README.md"),
    *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("guides/*.md")),
]
# A link to a file: no address, no anchor alone, no picture.
LINK = re.compile(r"(?<!\!)(\[[^\]]*\])\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")
LOADED = re.compile(
    r"""<(?:script|link|img|iframe|source)\b[^>]*?\s(?:src|href)=["'](?:https?:)?//[^"']+"""
)

project = "tierlab"
extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc"]
exclude_patterns = ["README.md"]
nitpicky = True
default_role = "literal"
myst_enable_extensions = ["attrs_inline"]
myst_heading_anchors = 4
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
# Sections that numpydoc knows, in its order; a summary; no parameter that the function does not have.
numpydoc_validation_checks = {"GL06", "GL07", "GL08", "PR02", "PR10", "SS01"}
html_theme = "pydata_sphinx_theme"
html_title = "tierlab"
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {"index": []}
html_context = {"default_mode": "light"}
html_theme_options = {"navbar_end": [], "secondary_sidebar_items": ["page-toc"]}


def document(name):
    """A document's Markdown, in which a link to a file that is no document leads from the built page to that file."""
    folder, built = (ROOT / name).parent, (ROOT / "build" / "docs" / name).parent

    def lead(match):
        target = (folder / match[2]).resolve()
        if target == ROOT / "README.md":
            return f"{match[1]}({os.path.relpath(ROOT / 'index.md', folder)}{match[3] or ''})"
        if not target.exists() or target in {ROOT / other for other in DOCUMENTS}:
            return match[0]  # Sphinx follows it, or complains
        page = REPORT / f"{target.stem}.html"
        is_page = target.parent == ROOT / "notebooks" and page.is_file()
        path = os.path.relpath(page if is_page else target, built)
        return f"{match[1]}({path}{match[3] or ''}){{.external}}"

    return LINK.sub(lead, (ROOT / name).read_text("utf-8"))


def reference():
    """A page in reStructuredText for each folder of the module, by its name, and the page that lists them."""
    stub = ast.parse((ROOT / "tierlab" / "__init__.pyi").read_text("utf-8"))
    folders = {}
    for line in stub.body:
        if isinstance(line, ast.ImportFrom) and line.module:
            folders.setdefault(line.module.split(".")[0], []).extend(x.name for x in line.names)
    pages = {
        folder: _page(folder, inspect.getdoc(importlib.import_module(f"tierlab.{folder}")))
        + "".join(map(_entry, names))
        for folder, names in folders.items()
    }
    listed = "".join(f"   {folder}\n" for folder in pages)
    words = (
        "The public names of ``import tierlab as tl``, by the folder of the module that has them."
    )
    pages["index"] = _page("API reference", words) + f".. toctree::\n\n{listed}"
    return pages


def _page(title, words):
    return f"{title}\n{'=' * len(title)}\n\n{words}\n\n"


def _entry(name):
    thing = getattr(tierlab, name)
    if inspect.ismodule(thing):
        return f".. automodule:: {thing.__name__}\n   :members:\n\n"
    if inspect.isclass(thing):
        return f".. autoclass:: tierlab.{name}\n   :members:\n\n"
    return f".. auto{'function' if callable(thing) else 'data'}:: tierlab.{name}\n\n"


def write_source():
    """Write the tree that Sphinx reads."""
    texts = {name: document(name) for name in DOCUMENTS}
    texts |= {path.name: path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md")}
    texts |= {f"api/{name}.rst": text for name, text in reference().items()}
    shutil.rmtree(SOURCE, ignore_errors=True)
    for name, text in texts.items():
        (SOURCE / name).parent.mkdir(parents=True, exist_ok=True)
        (SOURCE / name).write_text(text, "utf-8")
    shutil.copytree(ROOT / "figures", SOURCE / "figures")


def refuse_what_is_elsewhere(app, failed):
    """A built page loads nothing from the network."""
    found = {
        f"{page.relative_to(app.outdir)}: {tag}"
        for page in Path(app.outdir).rglob("*.html")
        for tag in LOADED.findall(page.read_text("utf-8"))
    }
    if found and not failed:
        raise SphinxError("loaded from elsewhere:\n" + "\n".join(sorted(found)))


def setup(app):
    """What Sphinx calls before it reads the documents."""
    write_source()
    app.connect("build-finished", refuse_what_is_elsewhere)
