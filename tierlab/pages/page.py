"""An executed notebook as one HTML page that needs nothing else, and the index of such pages.

nbconvert turns cells into HTML; here that HTML is reduced to harmless elements (what a table shows is data, not
code), formulas become MathML, controls are frozen, tables get their scroll area. A content security policy in
each page makes the browser refuse any request and any script but the page's own.

An HTML page as a PDF, through a Chromium that is on the machine.
"""

import base64
import copy
import hashlib
import html
import re
from functools import cache
from pathlib import Path

import nh3
from bs4 import BeautifulSoup
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from traitlets.config import Config

from tierlab.pages.parameters import declared

_TEMPLATES = Path(__file__).parent / "templates"
_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
_MATHML = {
    "math",
    "mrow",
    "mi",
    "mn",
    "mo",
    "mtext",
    "mspace",
    "ms",
    "mfrac",
    "msqrt",
    "mroot",
    "mstyle",
    "mpadded",
    "mphantom",
    "msub",
    "msup",
    "msubsup",
    "munder",
    "mover",
    "munderover",
    "mmultiscripts",
    "mtable",
    "mtr",
    "mtd",
    "menclose",
}
_MATHML_ATTRIBUTES = {
    "display",
    "mathvariant",
    "stretchy",
    "columnalign",
    "displaystyle",
    "fence",
    "form",
    "width",
}
_ATTRIBUTES = {
    "*": {"class", "id", "title", "role", "aria-label"},
    "a": {"href"},
    "img": {"src", "alt", "width", "height"},
    "th": {"scope", "colspan", "rowspan"},
    "td": {"colspan", "rowspan"},
    **dict.fromkeys(_MATHML, _MATHML_ATTRIBUTES),
}
_NUMBER = re.compile(
    r"[-+\u2212]?[$]?[\d,]*\.?\d+(?:e[+-]?\d+)?\s?%?|nan|NaN|<NA>|inf|", re.IGNORECASE
)


def page(notebook, *, stem, pages=(), banner=True):
    """One notebook as a page.

    Parameters
    ----------
    notebook : NotebookNode
        Executed, as papermill leaves it.
    stem : str
        Name of the page's file without the ending.
    pages : collection of str
        Stems of the pages beside it; links to those notebooks become links to their pages, and the page links to the
        index. A page that stands alone has none.
    banner : bool
        Whether the changed parameters stand on top as well as in the table at the end.

    Returns
    -------
    text : str
        The HTML page.
    card : dict
        What the index shows of it: question, summary, image (a data URL) and alt, changed parameters, page.
    """
    body = _body(notebook, pages)
    # What each parameter was in this run, beside its default.
    run = notebook.metadata.get("papermill", {}).get("parameters", {})
    parameters = [
        {
            "name": p.name,
            "value": str(run.get(p.name, p.default)),
            "default": str(p.default),
            "meaning": p.meaning,
        }
        for p in declared(notebook).values()
    ]
    changed = [p for p in parameters if p["value"] != p["default"]]
    title = body.h1.get_text().removesuffix("¶").strip() if body.h1 else stem
    first = body.h1.find_next("p") if body.h1 else None
    image = body.find("img")
    card = {
        "page": f"{stem}.html",
        "question": title,
        "summary": re.split(r"(?<=[.!?])\s", first.get_text().strip(), maxsplit=1)[0]
        if first
        else "",
        "image": image["src"] if image else None,
        "alt": image["alt"] if image else "",
        "changed": changed,
    }
    return _render(
        "page.html.j2",
        title=title,
        body=Markup(body),
        parameters=parameters,
        changed=changed if banner else [],
        index=bool(pages),
    ), card


def index(cards, *, title="tierlab: which model tier does the job?"):
    """The page that leads to the others; `cards` as `page` returns them."""
    return _render("index.html.j2", title=title, cards=cards)


def _render(template, **values):
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True
    )
    for name, file in (("style", "style.css"), ("script", "tables.js")):
        text = (_TEMPLATES / file).read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        values |= {name: Markup(text), f"{name}_hash": f"sha256-{digest}"}
    return environment.get_template(template).render(values)


def _body(notebook, pages):
    frozen = copy.deepcopy(notebook)
    _freeze_controls(frozen)
    raw, _ = _exporter().from_notebook_node(frozen, resources={"metadata": {"path": ""}})
    clean = nh3.clean(
        raw,
        tags=nh3.ALLOWED_TAGS | _MATHML | {"tfoot", "details", "summary"},
        clean_content_tags={"script", "style"},
        attributes=_ATTRIBUTES,
        url_schemes={"http", "https", "mailto", "data"},
        link_rel=None,
    )
    soup = BeautifulSoup(clean, "html.parser")
    for image in soup("img"):
        if not image.get("src", "").startswith("data:image/"):
            image.replace_with(f"[image: {image.get('alt', '')}]")
    for link in soup("a", href=re.compile(r"\.ipynb(#|$)")):
        stem, anchor = re.fullmatch(r"(?:.*/)?([^/#]+)\.ipynb(#.*)?", link["href"]).groups()
        if stem in pages:
            link["href"] = f"{stem}.html{anchor or ''}"
        else:
            link.unwrap()
    for table in soup("table"):
        _finish_table(soup, table)
    return soup


def _finish_table(soup, table):
    """Scroll area, header scopes, and numbers flush right; a column of numbers is one without any other text."""
    table.wrap(
        soup.new_tag(
            "div",
            attrs={"class": "table", "role": "region", "tabindex": "0", "aria-label": "table"},
        )
    )
    del table["border"]
    names, *others = table.select("thead tr")[::-1] or [None]
    if (
        len(others) == 1
        and not others[0].th.get_text().strip()
        and not any(cell.get_text().strip() for cell in names("th")[1:])
    ):
        others[0].th.replace_with(
            names.th.extract()
        )  # pandas gives the name of the index a row of its own
        names.decompose()
    for head in table.select("thead th"):
        head["scope"] = "colgroup" if int(head.get("colspan", 1)) > 1 else "col"
    for head in table.select("tbody th"):
        head["scope"] = "rowgroup" if int(head.get("rowspan", 1)) > 1 else "row"
    if table.select("[rowspan]"):
        columns = [
            row("td")[::-1] for row in table.select("tr")
        ]  # counted from the right: row labels span on the left
    else:
        columns = [row(["td", "th"]) for row in table.select("tr") if not row.select("[colspan]")]
    for cell in table.select("td, tbody th"):
        text = cell.get_text().strip()
        if (
            "-" in text and " " not in text and not _NUMBER.fullmatch(text)
        ):  # a model id is one word, although it has hyphens
            cell["class"] = [*cell.get("class", []), "word"]
    for cells in zip(*[row for row in columns if row], strict=False):
        values = [cell for cell in cells if cell.name == "td"]
        if values and all(_NUMBER.fullmatch(cell.get_text().strip()) for cell in values):
            for cell in cells:
                cell["class"] = [*cell.get("class", []), "num"]


class _Renderer(IPythonRenderer):
    """Markdown whose formulas are MathML, which a browser draws without a script."""

    def block_math(self, body):
        return _mathml(body, "block")

    def inline_math(self, body):
        return _mathml(body, "inline")

    def latex_environment(self, name, body):
        return _mathml(rf"\begin{{{name}}}{body}\end{{{name}}}", "block")


class _Exporter(HTMLExporter):
    def markdown2html(self, source):
        return MarkdownWithMath(renderer=_Renderer(escape=False)).render(source)


@cache
def _exporter():
    # Given at the start: what is set later does not reach the preprocessors, which exist by then.
    config = Config()
    config.NbConvertBase.display_data_priority = [
        *(
            "text/html",
            "text/markdown",
            "image/svg+xml",
            "image/png",
            "image/jpeg",
            "text/latex",
            "text/plain",
        ),
    ]
    config.TagRemovePreprocessor.enabled = True
    config.TagRemovePreprocessor.remove_cell_tags = {"remove-cell"}
    hidden = {"exclude_input": True, "exclude_input_prompt": True, "exclude_output_prompt": True}
    return _Exporter(config=config, template_name="basic", **hidden)


def _mathml(latex, display):
    from latex2mathml.converter import convert

    try:
        return convert(latex, display=display)
    except (
        Exception
    ):  # the converter has no common base for what it cannot read; the source is still readable
        return f"<code>{html.escape(latex)}</code>"


def _freeze_controls(notebook):
    """Replace each control by the picture, text and settings it started with; a progress bar is no result."""
    state = notebook.metadata.get("widgets", {}).get(_WIDGET_STATE, {}).get("state", {})
    for cell in notebook.cells:
        kept = []
        for output in cell.get("outputs", []):
            view = output.get("data", {}).get(_WIDGET_VIEW, {})
            parts = list(_frozen(state, view.get("model_id")))
            settings = ", ".join(text for kind, text in parts if kind == "setting")
            note = "Interactive in JupyterLab" + (f"; here: {settings}." if settings else ".")
            shown = "".join(text for kind, text in parts if kind == "shown")
            if view:
                note = f'<p class="note">{html.escape(note)}</p>'
                output.data = {"text/html": f'<div class="control">{note}{shown}</div>'}
            if not any(kind == "progress" for kind, _ in parts):
                kept.append(output)
        if "outputs" in cell:
            cell.outputs = kept


def _frozen(state, model_id):
    model = state.get(model_id, {})
    values, name = model.get("state", {}), model.get("model_name", "")
    if name == "ImageModel":
        data = next((b["data"] for b in model.get("buffers", []) if b["path"] == ["value"]), "")
        alt = html.escape(
            values.get("tooltip")
            or values.get("description")
            or "the control at its starting values"
        )
        kind = re.sub(r"\W", "", values.get("format", "png"))
        yield "shown", f'<img alt="{alt}" src="data:image/{kind};base64,{data}">'
    elif name in ("HTMLModel", "HTMLMathModel"):
        yield "shown", f"<div>{values.get('value', '')}</div>"
    elif name.endswith("ProgressModel"):
        yield "progress", ""
    elif "_options_labels" in values and values.get("index") is not None:
        chosen = values["index"] if isinstance(values["index"], list) else [values["index"]]
        yield (
            "setting",
            f"{values.get('description', '')} {', '.join(values['_options_labels'][i] for i in chosen)}".strip(),
        )
    elif values.get("description") and isinstance(values.get("value"), int | float | str):
        yield "setting", f"{values['description']} {values['value']}"
    for child in values.get("children", []):
        yield from _frozen(state, child.removeprefix("IPY_MODEL_"))
