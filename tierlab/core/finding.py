"""How a figure is shown and saved: caption below, alt text on the image, the same bytes every time."""

import base64
import io
import os
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

from tierlab.core import paths
from tierlab.core.files import write_whole
from tierlab.core.style import STYLE_FILE
from tierlab.core.untrusted import in_html


def use_style():
    """Load the house style for every figure that follows."""
    plt.style.use(STYLE_FILE)


def show(figure, *, alt, caption, save_as=None):
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
    """
    from IPython.display import display

    if not alt.strip() or not caption.strip():
        raise ValueError("a figure needs an alt text and a caption")
    figure = _figure(figure)
    if save_as is not None and "TIERLAB_FIGURES_DIR" in os.environ:
        save(figure, save_as, alt=alt)
    image = base64.b64encode(_image(figure, "png", alt)).decode("ascii")
    plt.close(figure)
    display({"image/png": image, "text/plain": alt}, raw=True, metadata={"image/png": {"alt": alt}})
    words = f'<p class="caption">{in_html(caption)}</p>'
    display({"text/html": words, "text/plain": caption}, raw=True)


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
