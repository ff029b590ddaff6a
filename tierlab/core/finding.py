"""How a notebook tells what it found: a claim, its picture, the few numbers behind it, and all of them folded away."""

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
    """Display a figure once, alt text on the image and the caption in words below; then close it.

    Parameters
    ----------
    figure : Figure or Axes
    alt : str
        What the figure shows, for someone who cannot see it. It is also the output's text form.
    caption : str
        What the reader must know: prices and date, data, assumptions, what an interval is.
    save_as : str, optional
        File name. Written only where the environment names the figures folder (``TIERLAB_FIGURES_DIR``), as the
        kit's commands and tests do: a person at work in JupyterLab changes no file of the repository.
    narrow : Figure or Axes, optional
        The same for a phone, which a page shows there.
    """
    from IPython.display import display

    if not alt.strip() or not caption.strip():
        raise ValueError("a figure needs an alt text and a caption")
    figure = _figure(figure)
    if save_as is not None and "TIERLAB_FIGURES_DIR" in os.environ:
        save(figure, save_as, alt=alt)
    image = base64.b64encode(_image(figure, "png", alt)).decode("ascii")
    plt.close(figure)
    about = {"alt": alt}
    if narrow is not None:
        narrow = _figure(narrow)
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
    """Tell one thing that was found: the claim, the figure, three to five rows, and the whole table folded below.

    Parameters
    ----------
    headline : str
        The claim as a sentence, its figures written by `tierlab.usd` and the like from the numbers at hand.
    figure : Figure or Axes
    numbers : DataFrame
        The rows that carry the claim, ready to read: headings in words with units, cells as text or numbers (which are
        written to three significant digits). The index is not shown unless it has a name.
    alt, caption, save_as, narrow
        As for `show`.
    table : DataFrame or mapping of str to DataFrame, optional
        Everything behind the claim; of several tables each has a name. They are folded in a page and in JupyterLab, and
        part of the text that is compared.

    Raises
    ------
    ValueError
        If there are more than five rows in `numbers`, or the alt text or caption is missing.
    """
    if not 1 <= len(numbers) <= 5:
        raise ValueError(
            f"a finding shows one to five rows, and here are {len(numbers)}; give the rest as table="
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
    """A table folded away under its name: as HTML, and as text."""
    whole = written(table)
    page = f"<details><summary>{in_html(name)}</summary>{_html(whole)}</details>"
    return page, f"{name}\n{_text(whole)}"


def say(text: str) -> "Sentence":
    """A sentence with numbers, as Markdown; a dollar sign is a dollar sign.

    Parameters
    ----------
    text : str

    Examples
    --------
    >>> say("It costs **$5** a day.")
    It costs **$5** a day.
    """
    return Sentence(text)


class Sentence:
    """Text that a notebook shows as Markdown and that is compared as it is."""

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text

    def _repr_markdown_(self):
        # JupyterLab takes what stands between two dollar signs for mathematics, also when they are escaped.
        return re.sub(r"\\?\$", r"<span>\\$</span>", self.text)


def written(table):
    """A table whose numbers are written as the kit writes numbers: text in every cell, no gaps.

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
    if (
        value is None
        or value is pd.NaT
        or value is pd.NA
        or (isinstance(value, Real) and value != value)
    ):
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
    """Write a figure to a file that has the same bytes every time; the alt text goes into the file.

    Parameters
    ----------
    figure : Figure or Axes
    name : str
        File name that ends in .png or .svg; without an ending it is .png.
    alt : str
    folder : path, optional
        By default `tierlab.core.paths.FIGURES`.

    Returns
    -------
    Path
    """
    kind = "svg" if name.endswith(".svg") else "png"
    target = Path(folder or paths.FIGURES) / f"{name.removesuffix(f'.{kind}')}.{kind}"
    write_whole(target, _image(_figure(figure), kind, alt))
    return target


def _image(figure, kind, alt):
    metadata = {"Description": alt} | (
        {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    )
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "tierlab", "savefig.bbox": None}):
        figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()


def _figure(figure):
    return figure if isinstance(figure, mpl.figure.FigureBase) else figure.figure
