"""Make one self-contained HTML page of an executed notebook, and the index of such pages.

nbconvert turns the cells into HTML. This module reduces that HTML to harmless elements (what a table shows is data, not
code), turns formulas into MathML, freezes controls, folds code, and gives tables what a narrow screen needs to show each
row as a card. A content security policy in each page makes the browser refuse every request, and every script but the
page's own.
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
_PHONE, _COLUMN = 320, 836  # width of a table in pixels: on a phone, and beside the contents
_ON_PHONE = "screen and (max-width: 37.5rem)"
_SCROLLS = 480  # a wider figure (pixels) is scrolled on a phone, not shrunk
_NUMBER = re.compile(
    r"[-+\u2212]?[$]?[\d,]*\.?\d+(?:e[+-]?\d+)?\s?%?|nan|NaN|<NA>|inf|", re.IGNORECASE
)


def page(notebook, *, stem, pages=None, banner=True):
    """Make the page of one notebook.

    Parameters
    ----------
    notebook : NotebookNode
        Executed, as papermill leaves it.
    stem : str
        File name of the page without the ending.
    pages : mapping of str to str, optional
        Stem -> title of all pages of the report in their order, this one included. Links to those notebooks become links
        to their pages; the page links to the index and to its neighbours, and its code is folded. A page that stands
        alone has no such links and no code.
    banner : bool
        Whether to show the changed parameters at the top as well as in the table at the end.

    Returns
    -------
    text : str
        The HTML page.
    card : dict
        What the index shows of the page: page, question, summary, image (a data URL), alt, changed (parameters).
    """
    pages = pages or {}
    body = _body(notebook, pages)
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
    first = body.h1.find_next("p") if body.h1 else None
    image = body.find("img")
    card = {
        "page": f"{stem}.html",
        "question": title(notebook, stem),
        "summary": re.split(r"(?<=[.!?])\s", first.get_text().strip(), maxsplit=1)[0]
        if first
        else "",
        "image": image["src"] if image else None,
        "alt": image["alt"] if image else "",
        "changed": changed,
    }
    sections = [
        {"href": f"#{head['id']}", "title": head.get_text().removesuffix("¶").strip()}
        for head in body.select(".text_cell h2[id]")
    ]
    return _render(
        "page.html.j2",
        title=card["question"],
        body=Markup(body),
        contents=sections,
        parameters=parameters,
        changed=changed if banner else [],
        index=bool(pages),
        **_neighbours(stem, pages),
    ), card


def title(notebook, stem):
    """Return the first heading of a notebook without markup, or its stem if it has none."""
    source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    heading = re.search(r"^# (.+)$", source, re.MULTILINE)
    return re.sub(r"[*`]", "", heading[1]).strip() if heading else stem


def _neighbours(stem, pages):
    """Return link and title of the page before and of the next one, each None if there is none."""
    order = [None, *pages, None]
    place = order.index(stem) if stem in pages else 0
    near = {"before": order[place - 1], "after": order[place + 1]} if place else {}
    return {
        name: {"href": f"{other}.html", "title": pages[other]} if other else None
        for name, other in near.items()
    }


def index(cards):
    """Make the page that leads to the others.

    Parameters
    ----------
    cards : list of dict
        As `page` returns them, in the order shown.

    Returns
    -------
    str
        The HTML page.
    """
    return _render("index.html.j2", title="tierlab: which model tier does the job?", cards=cards)


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
    narrow = _narrow(frozen)
    raw, _ = _exporter().from_notebook_node(frozen, resources={"metadata": {"path": ""}})
    # A tick box becomes a sign, ticked or not: a page has nothing to fill in.
    raw = re.sub(
        r'<input\b[^>]*type="checkbox"[^>]*>',
        lambda box: "\u2611 " if "checked" in box[0].replace("checkbox", "") else "\u2610 ",
        raw,
    )
    clean = nh3.clean(
        raw,
        tags=nh3.ALLOWED_TAGS | _MATHML | {"tfoot", "details", "summary"},
        clean_content_tags={"script", "style"},
        attributes=_ATTRIBUTES,
        url_schemes={"http", "https", "mailto", "data"},
        link_rel=None,
    )
    soup = BeautifulSoup(clean, "html.parser")
    _fold_code(soup, keep=bool(pages))
    for head in soup.select(".output :is(h1, h2, h3)"):  # headings of a text shown, not of the page
        head.name = f"h{int(head.name[1]) + 2}"
    for image in soup("img"):
        _finish_image(soup, image, narrow)
    for link in soup("a", href=re.compile(r"\.ipynb(#|$)")):
        stem, anchor = re.fullmatch(r"(?:.*/)?([^/#]+)\.ipynb(#.*)?", link["href"]).groups()
        if stem in pages:
            link["href"] = f"{stem}.html{anchor or ''}"
        else:
            link.unwrap()
    for table in soup("table"):
        _finish_table(soup, table)
    return soup


def _finish_image(soup, image, narrow):
    """Take out an image from elsewhere; let a phone show the narrow version of a figure, or scroll a wide one."""
    if not image.get("src", "").startswith("data:image/"):
        image.replace_with(f"[image: {image.get('alt', '')}]")
    elif found := narrow.get(image["src"].partition(",")[2]):
        image.wrap(soup.new_tag("picture"))
        before = image.find_parent(class_="cell").find_previous_sibling(class_="cell")
        beside = ", print" if before and before.select_one(".decisions") else ""
        source = {"media": _ON_PHONE + beside, "srcset": f"data:image/png;base64,{found}"}
        image.insert_before(soup.new_tag("source", attrs=source))
    elif _pixels(image["src"]) > _SCROLLS:
        area = {"class": "figure", "role": "group", "tabindex": "0", "aria-label": "figure"}
        image.wrap(soup.new_tag("div", attrs=area))


def _narrow(notebook):
    """Return the image for a phone by the image for the page (both base64), for figures that have both."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return {
        output.data["image/png"].strip(): about["narrow"]
        for output in outputs
        if "narrow" in (about := output.get("metadata", {}).get("image/png", {}))
    }


def _fold_code(soup, *, keep):
    """Fold the code of the cells away, or drop it; cells without output share the fold of the cell that follows."""
    fold = None
    for cell in soup.select(".cell"):
        given = cell.select_one(".input")
        if given and keep:
            if fold is None:
                fold = soup.new_tag("details", attrs={"class": "code"})
                fold.append(soup.new_tag("summary", string="Code"))
                given.insert_before(fold)
            fold.append(soup.new_tag("pre", string=given.get_text().strip("\n")))
        if given:
            given.decompose()
        if not given or cell.select_one(".output"):
            fold = None


def _pixels(source):
    """Return the width of a PNG in a data URL, or 0 for another kind of image."""
    kind, _, data = source.partition(";base64,")
    head = base64.b64decode(data[:32]) if kind == "data:image/png" and len(data) >= 32 else b""
    return int.from_bytes(head[16:20])  # where the header of a PNG has its width


def _finish_table(soup, table):
    """Give a table its scroll area, the scopes of its headers, a label for each cell, and classes for how wide it is."""
    area = {"class": "table", "role": "region", "tabindex": "0", "aria-label": "table"}
    table.wrap(soup.new_tag("div", attrs=area))
    del table["border"]
    _name_the_index(table)
    for row in table.select("tbody tr"):
        _repeat_spanning(row)
    for head in table.select("thead th"):
        head["scope"] = "colgroup" if int(head.get("colspan", 1)) > 1 else "col"
    for head in table.select("tbody th"):
        head["scope"] = "row"
    heads, rows = (
        [_cells(row) for row in table.select(f"{part} tr")] for part in ("thead", "tbody")
    )
    columns = list(zip(*heads, *rows, strict=False)) if rows else []
    for cells in columns:
        _finish_column(cells[: len(heads)], cells[len(heads) :])
    for cell in table.select(
        "tbody :is(th, td):has(*)"
    ):  # in a card, a value is one element beside its label
        inside = soup.new_tag("span")
        inside.extend(list(cell.contents))
        cell.append(inside)
    least = sum(24 + 8.6 * _longest(cells, r"\s+") for cells in columns)
    dense = sum(11 + 8.0 * _longest(cells, r"[\s-]+") for cells in columns)
    sizes = {"wide": least > _PHONE, "dense": least > _COLUMN, "vast": dense > _COLUMN}
    table["class"] = [name for name, is_so in sizes.items() if is_so and len(columns) > 1]


def _name_the_index(table):
    """Move the name of the index, to which pandas gives its own row, into the row of the column names."""
    names, *others = table.select("thead tr")[::-1] or [None]
    if (
        len(others) == 1
        and not _words(others[0].th)
        and not any(_words(cell) for cell in names("th")[1:])
    ):
        others[0].th.replace_with(names.th.extract())
        names.decompose()


def _repeat_spanning(row):
    """Repeat a cell that spans several rows in each of them, so that each can be read, sorted and saved alone."""
    for place, cell in enumerate(row(["td", "th"])):
        more = int(cell.attrs.pop("rowspan", 1)) - 1
        for other in row.find_next_siblings("tr", limit=more) if more else ():
            after = other(["td", "th"])[place : place + 1]
            (after[0].insert_before if after else other.append)(copy.copy(cell))


def _cells(row):
    """Return the cell of each column; one that spans several columns is repeated."""
    return [cell for cell in row(["td", "th"]) for _ in range(int(cell.get("colspan", 1)))]


def _words(cell):
    return cell.get_text().strip()


def _finish_column(heads, cells):
    """Label the cells with the headings above them, and mark the column if it holds nothing but numbers."""
    label = " ".join(dict.fromkeys(filter(None, map(_words, heads))))
    values = [cell for cell in cells if cell.name == "td"]
    numbers = values and all(_NUMBER.fullmatch(_words(cell)) for cell in values)
    for cell in cells:
        cell["data-label"] = label
        text = _words(cell)  # a model id is one word, although it has hyphens
        if "-" in text and " " not in text and not _NUMBER.fullmatch(text):
            cell["class"] = [*cell.get("class", []), "word"]
    for cell in (*heads, *cells) if numbers else ():
        if "colspan" not in cell.attrs:
            cell["class"] = [*cell.get("class", []), "num"]


def _longest(cells, gaps):
    """Return the length of a column's longest word if lines break at the gaps; a number is never broken."""
    words = []
    for text in map(_words, cells):
        words += [text] if _NUMBER.fullmatch(text) else re.split(gaps, text)
    return max(map(len, words), default=0)


class _Renderer(IPythonRenderer):
    """Renders formulas as MathML, which a browser draws without a script."""

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
    # Configured at the start: later settings would not reach the preprocessors, which exist by then.
    config = Config()
    config.NbConvertBase.display_data_priority = [
        "text/html",
        "text/markdown",
        "image/svg+xml",
        "image/png",
        "image/jpeg",
        "text/latex",
        "text/plain",
    ]
    config.TagRemovePreprocessor.enabled = True
    config.TagRemovePreprocessor.remove_cell_tags = {"remove-cell"}
    hidden = {"exclude_input_prompt": True, "exclude_output_prompt": True}
    return _Exporter(config=config, template_name="basic", **hidden)


def _mathml(latex, display):
    from latex2mathml.converter import convert

    try:
        return convert(latex, display=display)
    except Exception:  # the converter's errors have no common base
        return f"<code>{html.escape(latex)}</code>"


def _freeze_controls(notebook):
    """Replace each control by the picture, text and settings it started with, and drop progress bars."""
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
    """Yield what a widget and those inside it show, as (kind, text): shown (HTML), setting, or progress."""
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
    elif name == "AccordionModel":
        return  # a form: what stands in it is for those who fill it in
    elif "_options_labels" in values and values.get("index") is not None:
        chosen = values["index"] if isinstance(values["index"], list) else [values["index"]]
        labels = ", ".join(values["_options_labels"][i] for i in chosen)
        yield "setting", f"{values.get('description', '')} {labels}".strip()
    elif values.get("description") and values.get("value") not in ("", None):
        value = values["value"]
        if isinstance(value, bool):
            value = "yes" if value else "no"
        if isinstance(value, int | float | str):
            shown = value if isinstance(value, str) else f"{value:,}"
            yield "setting", f"{values['description']} {shown}"
    for child in values.get("children", []):
        yield from _frozen(state, child.removeprefix("IPY_MODEL_"))
