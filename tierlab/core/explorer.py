"""What the interactive controls share: a figure and its table, redrawn when a slider moves."""

import io
import re

import ipywidgets
import matplotlib as mpl
import pandas as pd
import traitlets
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tierlab.core.format import usd
from tierlab.core.style import STYLE_FILE
from tierlab.core.untrusted import in_html

NICE = [factor * 10**power for power in range(1, 9) for factor in (1, 2, 5)]
WIDE = {"style": {"description_width": "22em"}, "layout": {"width": "43em"}}
ALL = "all"
_HOUSE_STYLE = mpl.rc_params_from_file(STYLE_FILE, use_default_template=False) | {
    "figure.constrained_layout.use": False
}


class Explorer:
    """A figure and its table, redrawn when a control changes.

    A subclass passes its controls to `__init__` by name and defines four methods on their values: `table(**values)` returns
    the numbers, `draw(ax, table, **values)` draws the figure, `words(table, **values)` says in a sentence what it shows,
    and `numbers(table, **values)` returns the table to show, with units in its headings.

    Notes
    -----
    The figure has fixed margins, because its frame must not jump when a slider moves, and a layout engine would take half
    the time of a redraw.
    """

    size = (7.2, 3.6)  # inches
    margins = (2.1, 1.1, 0.65, 0.35)  # left, right, bottom, top; inches
    _moving = False  # true while one control sets another, so that a move redraws once

    def __init__(self, **controls):
        self.controls = controls
        self.given = {}  # values that a page sets for controls that it does not show
        self.image = picture_widget()
        self.text = ipywidgets.HTML()
        both = ipywidgets.Box(
            [self.image, self.text], layout={"flex_flow": "row wrap", "align_items": "flex-start"}
        )
        self.box = ipywidgets.VBox([*controls.values(), both])
        for control in controls.values():
            control.observe(self._changed, names="value")
        self.redraw()

    def values(self):
        """Return the current value of each control by name; those in `given` take precedence."""
        return {name: control.value for name, control in self.controls.items()} | self.given

    def _changed(self, _change):
        if not self._moving:
            self.redraw()

    def redraw(self):
        """Compute, draw and write; an error replaces the figure, so that no old one stays beside new settings."""
        picture = b""
        try:
            values = self.values()
            self.shown = table = self.table(**values)
            self.summary = self.words(table, **values)
            self.text.value = self._html(table, values)
            if len(table):
                picture = self._picture(table, values)
        except Exception as error:
            self.summary, self.shown = said(error), None
            self.text.value = f'<p role="alert"><strong>{in_html(self.summary)}</strong></p>'
        self.image.tooltip = self.summary
        self.image.value, self.image.layout.display = picture, None if picture else "none"

    def _picture(self, table, values):
        width, height = self.size
        left, right, bottom, top = self.margins
        size = (1 - (left + right) / width, 1 - (bottom + top) / height)
        box = (left / width, bottom / height, *size)
        return drawn(self.size, 85, lambda figure: self.draw(figure.add_axes(box), table, **values))

    def _html(self, table, values):
        # A name of the columns would become an empty column.
        numbers = self.numbers(table, **values).rename_axis(columns=None)
        with pd.option_context("display.max_colwidth", None):  # long text is not cut
            style = {"index": False, "border": 0, "justify": "left", "na_rep": "no figure"}
            body = numbers.to_html(float_format=lambda value: f"{value:,.2f}", **style)
        # JupyterLab leaves no gap between columns, and the styles of pandas' tables apply to every table of this class.
        body = body.replace(' class="dataframe"', ' cellpadding="4"', 1)
        said = re.sub(r"`([^`]+)`", r"<code>\1</code>", in_html(self.summary))
        return f'<div role="status"><p>{said}</p>{body}</div>'

    def __repr__(self):
        parts = (f"{control.description} {spoken(control)}" for control in self.controls.values())
        return f"{type(self).__name__} ({'; '.join(parts)})\n{self.summary}"

    def _repr_mimebundle_(self, **_):
        # The text form of the box holds the bytes of the picture; nbval compares ours instead.
        return self.box._repr_mimebundle_() | {"text/plain": repr(self)}


def picture_widget():
    """Return an image widget that can hold a tooltip, for people who cannot see the image."""
    image = ipywidgets.Image(format="png", layout={"max_width": "100%"})
    # The browser shows a tooltip only on a widget that has a description, and fails to draw one that has none.
    image.add_traits(description=traitlets.Unicode("").tag(sync=True))
    return image


def drawn(size, dpi, draw):
    """Return a PNG of what `draw(figure)` draws in the house style; `size` is in inches, and there is no layout engine."""
    buffer = io.BytesIO()
    with mpl.rc_context(_HOUSE_STYLE):
        # A new figure is quicker than one that is cleared.
        figure = Figure(size, dpi=dpi, layout="none")
        FigureCanvasAgg(figure)
        draw(figure)
        # Compressed quickly rather than well: the picture goes to the browser once and is thrown away.
        figure.savefig(buffer, format="png", dpi="figure", pil_kwargs={"compress_level": 1})
    return buffer.getvalue()


def said(error):
    """Return the text of an error for a control; an error that is not the user's mistake is shown with its class."""
    return str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"


def nice_slider(label, value, *, low=10, high=100_000_000):
    """Return a slider over 1, 2, 5, 10, 20, ... and its starting value."""
    steps = sorted({step for step in NICE if low <= step <= high} | {value})
    options = [(f"{step:,}", step) for step in steps]
    return ipywidgets.SelectionSlider(
        description=label, options=options, value=value, continuous_update=False, **WIDE
    )


def share_slider(label, value=0.0):
    """Return a slider from 0 to 100%, whose value is a share, 0 to 1."""
    options = [(f"{percent}%", percent / 100) for percent in range(0, 101, 5)]
    return ipywidgets.SelectionSlider(
        description=label, options=options, value=value, continuous_update=False, **WIDE
    )


def choice(label, options, value=None):
    return ipywidgets.Dropdown(
        description=label, options=options, value=value or options[0], **WIDE
    )


def spoken(control):
    """Return what a control shows, as text."""
    index = getattr(control, "index", None)
    if isinstance(index, int):  # of a selection, whose `label` is empty until it is moved
        chosen = control.options[index]
        return str(chosen[0] if isinstance(chosen, tuple) else chosen)
    label = getattr(control, "label", control.value)
    return ", ".join(label) if isinstance(label, tuple) else str(label)


def usd_or_not(value):
    return "does not fit" if pd.isna(value) else usd(value)
