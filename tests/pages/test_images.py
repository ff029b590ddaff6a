"""Images are compared as a reader sees them: the shade of another processor passes, a changed digit does not."""

import io

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from matplotlib.image import imread
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tierlab.cli import main
from tierlab.core import paths
from tierlab.pages.run import same_image

SHADE = 46  # pixels that a logarithmic axis moved by one level on another processor


def drawn(*, digit=3, label="cost per request (USD)", colour="#0173B2", width=7.2):
    figure, axes = plt.subplots(figsize=(width, 4.2))
    axes.loglog([1, 10, 100], [1, 4, 9], color=colour)
    axes.set(xlabel="requests", ylabel=label)
    axes.annotate(f"break-even at 1{digit}.5", (10, 4))
    return saved(figure)


def saved(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png")
    plt.close(figure)
    return file.getvalue()


def moved(png, levels, pixels=None):
    """Return the image with the first colour of some pixels (by default all) moved towards the middle."""
    image = np.round(255 * imread(io.BytesIO(png))).astype(int)
    rows, columns = np.divmod(
        np.random.default_rng(0).permutation(image[..., 0].size)[:pixels], image.shape[1]
    )
    image[rows, columns, 0] += np.where(image[rows, columns, 0] > 127, -levels, levels)
    file = io.BytesIO()
    plt.imsave(file, image.astype("uint8"), format="png")
    return file.getvalue()


@pytest.fixture(scope="module")
def stored():
    return drawn()


@pytest.mark.parametrize(("levels", "pixels"), [(1, SHADE), (2, SHADE), (1, 1)])
def test_the_shade_of_another_processor_passes(stored, levels, pixels):
    other = moved(stored, levels, pixels)
    assert other != stored and same_image(stored, other) and same_image(other, stored)


@pytest.mark.parametrize(
    "change",
    [
        {"digit": 8},
        {"label": "cost per request (EUR)"},
        {"colour": "#0176B2"},
        {"colour": "#DE8F05"},
        {"width": 7.3},
    ],
)
def test_a_changed_digit_label_colour_or_size_fails(stored, change):
    assert not same_image(stored, drawn(**change))


def test_one_pixel_three_levels_off_or_all_of_them_one_level_fails(stored):
    assert not same_image(stored, moved(stored, 3, 1)) and not same_image(stored, moved(stored, 1))


def test_what_is_not_an_image_is_not_the_same(stored):
    assert not any(
        same_image(stored, other) for other in (b"", b"not an image", stored[:200], stored[:-400])
    )


def test_refresh_check_takes_the_shade_and_no_other_digit(tmp_path, capfd, monkeypatch):
    """Inside the notebook and in the folder of figures."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    shown, figure = tmp_path / "shown.png", tmp_path / "figures" / "01_shown.png"
    source = f"""\
import os, pathlib
from IPython.display import Image

data = pathlib.Path({str(shown)!r}).read_bytes()
folder = pathlib.Path(os.environ["TIERLAB_FIGURES_DIR"])
folder.mkdir(exist_ok=True)
_ = (folder / "01_shown.png").write_bytes(data)
Image(data)"""
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    path = tmp_path / "01_shown.ipynb"
    cells = [new_markdown_cell("# Is it the same?"), new_code_cell(source)]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    shown.write_bytes(drawn())
    assert main(["refresh", str(path)]) == 0
    before = path.read_bytes()

    shown.write_bytes(moved(drawn(), 1, SHADE))
    assert main(["refresh", str(path)]) == 0 and "everything is fresh" in capfd.readouterr().out
    assert path.read_bytes() == before and figure.read_bytes() == drawn(), (
        "a shade is no reason to rewrite"
    )

    shown.write_bytes(drawn(digit=8))
    assert main(["refresh", "--check", str(path)]) == 1
    said = "".join(capfd.readouterr())
    assert (
        "01_shown.ipynb: cell 1: outputs changed" in said
        and "figures/01_shown.png: differs" in said
    )
