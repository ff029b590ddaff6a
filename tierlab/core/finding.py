"""Show what a notebook found: a claim, its figure, the few numbers behind it, and the whole table folded away."""

import base64
import io
import os
import re
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tierlab.core import paths
from tierlab.core.files import write_whole
from tierlab.core.format import number
from tierlab.core.style import STYLE_FILE
from tierlab.core.untrusted import in_html


def use_style() -> None:
    """Load the house style for every figure that follows."""
    plt.style.use(STYLE_FILE)


def show(
    figure: Figure | Axes,
    *,
    alt: str,
    caption: str,
    save_as: str | None = None,
    narrow: Figure | Axes | None = None,
) -> None:
    """Display a figure with its alt text and a caption below it, then close it.

    Parameters
    ----------
    figure : Figure or Axes
    alt : str
        What the figure shows, for someone who cannot see it. It is also the text form of the output.
    caption : str
        What the reader must know: prices and their date, data, assumptions, what an interval is.
    save_as : str, optional
        File name. The file is written only if the environment names the folder of figures (``TIERLAB_FIGURES_DIR``), as
        the kit's commands and tests do, so that nobody at work in JupyterLab changes a file of the repository.
    narrow : Figure or Axes, optional
        The same figure for a phone, which a page shows there.

    Raises
    ------
    ValueError
        If the alt text or the caption is empty.
    """
    from IPython.display import display

    if not alt.strip() or not caption.strip():
        raise ValueError("a figure needs an alt text and a caption")
    figure = figure.get_figure(root=True)
    if save_as is not None and "TIERLAB_FIGURES_DIR" in os.environ:
        save(figure, save_as, alt=alt)
    image = base64.b64encode(_image(figure, "png", alt)).decode("ascii")
    plt.close(figure)
    about = {"alt": alt}
    if narrow is not None:
        narrow = narrow.get_figure(root=True)
        about["narrow"] = base64.b64encode(_image(narrow, "png", alt)).decode("ascii")
        plt.close(narrow)
    display({"image/png": image, "text/plain": alt}, raw=True, metadata={"image/png": about})
    words = f'<p class="caption">{in_html(caption)}</p>'
    display({"text/html": words, "text/plain": caption}, raw=True)


def finding(
    headline: str,
    figure: Figure | Axes,
    numbers: pd.DataFrame,
    *,
    alt: str,
    caption: str,
    table: pd.DataFrame | Mapping[str, pd.DataFrame] | None = None,
    save_as: str | None = None,
    narrow: Figure | Axes | None = None,
) -> None:
    """Show one finding: the claim, the figure, a few rows of numbers, and the whole table folded below.

    Parameters
    ----------
    headline : str
        The claim as a sentence. Its numbers are computed, and written with `tierlab.usd`, `share` or `number`.
    figure : Figure or Axes
    numbers : DataFrame
        The one to five rows that carry the claim, with headings in words and units. Cells are text, or numbers, which are
        written to three significant digits. The index is shown only if it has a name.
    alt, caption, save_as, narrow
        As for `show`.
    table : DataFrame or mapping of str to DataFrame, optional
        Everything behind the claim; several tables come with their names. They are folded on a page and in JupyterLab, and
        are part of the text form of the output.

    Raises
    ------
    ValueError
        If `numbers` has no row or more than five, or the alt text or caption is empty.
    """
    if not 1 <= len(numbers) <= 5:
        raise ValueError(
            f"a finding shows one to five rows, not {len(numbers)}; give the whole table as table="
        )
    _display(f'<p class="finding"><strong>{in_html(headline)}</strong></p>', headline)
    show(figure, alt=alt, caption=caption, save_as=save_as, narrow=narrow)
    few = written(numbers)
    parts, text = [_html(few)], [_text(few)]
    if table is not None:
        named = table if isinstance(table, Mapping) else {"All the numbers": table}
        for part, line in map(folded, named, named.values()):
            parts.append(part)
            text += ["", line]
    _display("".join(parts), "\n".join(text))


def folded(name: str, table: pd.DataFrame) -> tuple[str, str]:
    """Return a table folded away under its name, as HTML and as text."""
    whole = written(table)
    page = f"<details><summary>{in_html(name)}</summary>{_html(whole)}</details>"
    return page, f"{name}\n{_text(whole)}"


def say(text: str) -> "Sentence":
    """Return Markdown for a sentence with numbers, in which a dollar sign is a dollar sign and starts no formula.

    Parameters
    ----------
    text : str
        Markdown.

    Returns
    -------
    Sentence
        Shown as Markdown by a notebook; its repr is the text.

    Examples
    --------
    >>> say("It costs **$5** a day.")
    It costs **$5** a day.
    """
    return Sentence(text)


class Sentence:
    """Text that a notebook shows as Markdown, and whose text form is the text itself."""

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text

    def _repr_markdown_(self):
        # JupyterLab takes text between two dollar signs for mathematics, even if they are escaped.
        return re.sub(r"\\?\$", r"<span>\\$</span>", self.text)


def written(table):
    """Return a table as text in every cell, its numbers as `number` writes them and missing values empty.

    Examples
    --------
    >>> import pandas as pd
    >>> written(pd.DataFrame({"a day (USD)": [1234.5, float("nan")]}))["a day (USD)"].tolist()
    ['1,234', '']
    """
    table = table.reset_index() if table.index.name else table
    return pd.DataFrame(
        {name: [_cell(value) for value in table[name]] for name in table}, index=table.index
    )


def _cell(value):
    if isinstance(value, str):
        return value
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return f"{value:,}"
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    return number(float(value)) if isinstance(value, Real) else str(value)


def _html(table):
    return table.to_html(index=False, border=0, classes="numbers", escape=True).replace(
        "$", "<span>$</span>"
    )


def _text(table):
    return table.to_string(index=False, justify="left")


def _display(page, text):
    from IPython.display import display

    display({"text/html": page, "text/plain": text}, raw=True)


def save(figure, name, *, alt, folder=None):
    """Write a figure to a file that has the same bytes every time and holds the alt text.

    Parameters
    ----------
    figure : Figure or Axes
    name : str
        File name that ends in .png or .svg; .png is added to any other.
    alt : str
        What the figure shows, for someone who cannot see it.
    folder : path, optional
        By default `tierlab.core.paths.FIGURES`.

    Returns
    -------
    Path
        The file.
    """
    kind = "svg" if name.endswith(".svg") else "png"
    target = Path(folder or paths.FIGURES) / f"{name.removesuffix(f'.{kind}')}.{kind}"
    write_whole(target, _image(figure.get_figure(root=True), kind, alt))
    return target


def _image(figure, kind, alt):
    # Without the fields that differ between versions and days.
    left_out = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "tierlab", "savefig.bbox": None}):
        figure.savefig(buffer, format=kind, metadata={"Description": alt} | left_out)
    return buffer.getvalue()
