"""What the browser tests drive: JupyterLab and Voila on this machine, and controls moved as a hand moves them.

Both servers listen on 127.0.0.1 with folders and a token of their own, and end with the process that started them.
"""

import base64
import io
import json
import os
import re
import secrets
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ipywidgets
import numpy as np
import pandas as pd
from bs4 import BeautifulSoup
from matplotlib.image import imread

from tests.servers import _end, _free_port, _start, listening, tail
from tierlab.core import paths

APP = paths.NOTEBOOKS / "app"
WAIT_S = 120  # for a busy machine; nothing waits this long where all is well
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "docmanager-extension/plugin": {
        "autosave": False
    },  # else a slow run is saved, and looks as if it wrote its notebook
}
ERRORS = "[data-mime-type='application/vnd.jupyter.error'], .jupyter-widgets-error-widget"
BOXES = (
    ".widget-vbox:has(> .widget-box > img.widget-image)"  # a control with all that belongs to it
)
FIGURE, WORDS = (
    "> .widget-box > img.widget-image",
    "> .widget-box > .widget-html .widget-html-content",
)
STATE = """box => Object.fromEntries([...box.querySelectorAll(".widget-inline-hbox")].map(part => [
    part.querySelector("label").textContent,
    [[...part.querySelectorAll("option:checked")].map(option => option.index),
        part.querySelector(".widget-readout")?.textContent ?? part.querySelector("input")?.value],
]))"""
CUT_OFF = """() => {  // what does not fit the window; a figure may scroll where the page says so
    const width = document.documentElement.clientWidth, found = [];
    for (const fold of document.querySelectorAll("details")) fold.open = true;
    if (document.documentElement.scrollWidth > width) found.push("the page");
    for (const part of document.querySelectorAll("main :is(.table, table, pre, p, math, img, .control, .card)")) {
        const area = part.closest(".figure"), box = (area ?? part).getBoundingClientRect();
        const scrolls = !area && part.scrollWidth > part.clientWidth + 1 && part.clientWidth > 0;
        const told = !area || area.scrollWidth <= area.clientWidth + 1
            || getComputedStyle(area, "::before").content.startsWith('"Scroll');
        if (box.right > width + 1 || scrolls || !told)
            found.push(`${part.tagName} ${part.className}: ${part.textContent.trim().slice(0, 60)}`);
    }
    return found;
}"""
WIDTHS = {1200: 800, 400: 800}  # a desktop and a phone
BYTES = """async image => {
    const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
    return btoa([...bytes].map(byte => String.fromCharCode(byte)).join(""));
}"""


@contextmanager
def serving(*command, folder, **env):
    """Run a Jupyter server on a free port until the block ends; its address."""
    own = {
        name: folder / name.lower()
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    }
    own |= {
        name: os.environ[name]
        for name in os.environ
        if name.startswith(("IPY", "TIERLAB", "PYTHONHASH"))
    } | env
    for attempt in range(3):  # another process can take the port in between
        port, log = _free_port(), folder / f"{attempt}.log"
        process = _start(
            [
                "env",
                *(f"{name}={value}" for name, value in own.items()),
                *command,
                f"--port={port}",
            ],
            log,
        )
        deadline = time.monotonic() + WAIT_S
        try:
            while process.poll() is None and time.monotonic() < deadline:
                if port in {address.port for address in listening(process.pid)}:
                    yield f"http://127.0.0.1:{port}"
                    return
                time.sleep(0.1)
        finally:
            _end(process)
    raise RuntimeError(f"the server did not start; its log ends with:\n{tail(log)}")


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab."""

    url: str
    token: str

    def address(self, notebook):
        """Of one document, without the saved workspace of an earlier one."""
        return f"{self.url}/doc/tree/{notebook}?reset&token={self.token}"

    def end_kernels(self, page):
        """So that a machine of two cores does not carry those of all notebooks at once."""
        head = {"Authorization": f"token {self.token}"}
        for session in page.request.get(f"{self.url}/api/sessions", headers=head).json():
            page.request.delete(f"{self.url}/api/sessions/{session['id']}", headers=head)


@contextmanager
def serving_lab(notebooks):
    """JupyterLab on a folder, as a `Lab`."""
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for key, value in SETTINGS.items():
            file = folder / "settings" / "@jupyterlab" / f"{key}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(value))
        own = {
            "JUPYTERLAB_SETTINGS_DIR": folder / "settings",
            "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces",
        }
        options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", "--ServerApp.port_retries=0"]
        options += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={notebooks}"]
        with serving(sys.executable, "-m", "jupyter", "lab", *options, folder=folder, **own) as url:
            yield Lab(url, token)


@contextmanager
def serving_app():
    """The page of `make app`: its address."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "voila",
            APP / "tierlab.ipynb",
            "--no-browser",
            "--Voila.port_retries=0",
        ]
        with serving(
            *command, folder=Path(folder), JUPYTER_PATH=APP, JUPYTER_CONFIG_PATH=APP
        ) as url:
            yield url


def run_all(page):
    """Run > Run All Cells, once the kernel answers, until it has run them; the prompts of the code cells."""
    status = page.locator("#jp-main-statusbar")
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()
    # The toolbar's indicator says idle before there is a kernel, and Run All then does nothing; the status bar does not.
    status.get_by_text("| Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    prompts = page.locator(".jp-CodeCell .jp-InputArea-prompt")
    page.wait_for_function(
        "() => ![...document.querySelectorAll('.jp-CodeCell .jp-InputArea-prompt')].some(p => /\\[[ *]\\]/.test(p.textContent))"
    )
    status.get_by_text("| Idle").wait_for()
    return prompts.all_text_contents()


class Panel:
    """A control on a page beside its twin in this process: what the page shows has to be what the twin computes."""

    def __init__(self, page, box, twin):
        self.page, self.box, self.twin = page, box, twin
        box.scroll_into_view_if_needed()

    def part(self, control):
        """The page's element of one of the twin's controls, found by its label."""
        label = self.page.locator("label").filter(
            has_text=re.compile(f"^{re.escape(control.description)}$")
        )
        return self.box.locator(".widget-inline-hbox").filter(has=label).first

    def shown(self, control):
        """The value that the page shows for one of the twin's controls."""
        return self._value(control, self.box.evaluate(STATE))

    def values(self):
        state = self.box.evaluate(STATE)
        return {name: self._value(control, state) for name, control in self.twin.controls.items()}

    @staticmethod
    def _value(control, state):
        chosen, text = state[control.description]
        if isinstance(control, ipywidgets.BoundedIntText | ipywidgets.BoundedFloatText):
            return type(control.value)(text)
        if isinstance(control, ipywidgets.SelectMultiple):
            return tuple(options(control)[place][1] for place in chosen)
        if isinstance(control, ipywidgets.Dropdown):
            return options(control)[chosen[0]][1]
        text = text.replace("\N{MINUS SIGN}", "-")
        if isinstance(control, ipywidgets.SelectionSlider):
            return dict(options(control))[text]
        steps = range(round((control.max - control.min) / control.step) + 1)
        every = [type(control.value)(round(control.min + control.step * n, 10)) for n in steps]
        return next(value for value in every if format(value, control.readout_format) == text)

    def check(self, seconds=WAIT_S):
        """Give the twin the values that the page shows; wait until sentence, table and picture are the twin's."""
        end = time.monotonic() + seconds
        while True:  # the values as well: the kernel may move one control in answer to another
            for name, value in self.values().items():
                self.twin.controls[name].value = value
            expected = "".join(
                BeautifulSoup(self.twin.text.value, "html.parser").get_text().split()
            )
            said = "".join(self.text().split()) == expected
            if said and alike(self.picture(), bytes(self.twin.image.value)):
                return
            if time.monotonic() > end:
                text = " ".join(self.text().split())
                raise AssertionError(
                    f"{'another picture' if said else 'another text'}: {text}\nexpected: {self.twin!r}"
                )
            self.page.wait_for_timeout(50)

    def text(self):
        return self.box.locator(WORDS).last.text_content()

    def picture(self):
        """The bytes of the figure."""
        return base64.b64decode(self.box.locator(FIGURE).evaluate(BYTES))

    def table(self):
        """The numbers beside the figure, as the page shows them; empty where there are none."""
        tables = self.box.locator(WORDS).last.locator("table")
        html = tables.first.evaluate("table => table.outerHTML") if tables.count() else ""
        rows = [
            [cell.get_text(strip=True) for cell in row(["td", "th"])]
            for row in BeautifulSoup(html, "html.parser")("tr")
        ]
        return pd.DataFrame(rows[1:], columns=rows[0]) if rows else pd.DataFrame()

    def move(self, name, by):
        """Move a control by "mouse" or "keyboard" and check what the page then shows; did figure and text both change?"""
        control = self.twin.controls[name]
        before = self.shown(control), self.picture(), self.text()
        {"mouse": self._by_mouse, "keyboard": self._by_keyboard}[by](control)
        assert self.shown(control) != before[0], f"{control.description!r} did not move by {by}"
        self.check()
        return self.picture() != before[1] and self.text() != before[2]

    def _by_mouse(self, control):
        part = self.part(control)
        if isinstance(control, ipywidgets.BoundedIntText | ipywidgets.BoundedFloatText):
            part.locator("input").click(click_count=3)  # selects what stands there
            self.page.keyboard.type(str(control.value + 40))
            self.page.keyboard.press("Enter")
        elif isinstance(control, ipywidgets.Dropdown):
            other = next(
                place
                for place, (_, value) in enumerate(options(control))
                if value != self.shown(control)
            )
            part.locator("select").select_option(
                index=other
            )  # the open list is the system's: no page can click there
        elif isinstance(control, ipywidgets.SelectMultiple):
            part.locator("option").nth(len(control.options) // 2).click()
        else:
            part.scroll_into_view_if_needed()
            handle, track = (
                part.locator(".noUi-handle").bounding_box(),
                part.locator(".noUi-base").bounding_box(),
            )
            x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
            right = x > track["x"] + track["width"] / 2
            self.page.mouse.move(x, y)
            self.page.mouse.down()
            self.page.mouse.move(track["x"] + track["width"] * (0.3 if right else 0.7), y, steps=5)
            self.page.mouse.up()

    def _by_keyboard(self, control):
        part, value = self.part(control), self.shown(control)
        part.locator(".noUi-handle, select, input").first.focus()
        every = (
            [value for _, value in options(control)]
            if hasattr(control, "options")
            else [control.min, control.max]
        )
        if isinstance(control, ipywidgets.BoundedIntText | ipywidgets.BoundedFloatText):
            keys = ["ArrowUp", "Enter"]
        elif isinstance(control, ipywidgets.SelectMultiple):
            keys = ["Home" if value == (every[-1],) else "End"]
        elif isinstance(control, ipywidgets.Dropdown):
            # The list has to be open: JupyterLab takes a bare arrow for itself and goes to the next cell.
            keys = ["Alt+ArrowDown", "ArrowUp" if value == every[-1] else "ArrowDown", "Enter"]
        else:
            keys = ["ArrowLeft" if value == every[-1] else "ArrowRight"]
        for key in keys:
            self.page.keyboard.press(key)


def alike(shown, expected):
    """Whether two pictures are the same to one of 256 levels of colour: a slider's 0.18 may be 0.18000000000000002."""
    if shown == expected or not (shown and expected):
        return shown == expected
    shown, expected = (imread(io.BytesIO(picture)) for picture in (shown, expected))
    return shown.shape == expected.shape and np.abs(shown - expected).max() < 1.5 / 255


def options(control):
    """Label and value of each choice."""
    return [
        option if isinstance(option, tuple) else (str(option), option) for option in control.options
    ]
