"""What the browser tests drive: JupyterLab and Voila on this machine, and controls moved as a hand moves them.

Both servers listen on 127.0.0.1 with folders and a token of their own, and end with the process that started them.
"""

import hashlib
import json
import os
import secrets
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import ipywidgets
import pandas as pd
from bs4 import BeautifulSoup

from tests.servers import _end, _free_port, _start, listening, tail
from tierlab import paths

APP = paths.NOTEBOOKS / "app"
WAIT_S = 120  # for a busy machine; nothing waits this long where all is well
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "docmanager-extension/plugin": {"autosave": False},  # else a slow run is saved, and looks as if it wrote its notebook
}
ERRORS = "[data-mime-type='application/vnd.jupyter.error'], .jupyter-widgets-error-widget, [role='alert'] strong"
DIGEST = """async image => {
    const bytes = await (await fetch(image.src)).arrayBuffer();
    const digest = await crypto.subtle.digest("SHA-256", bytes);
    return [...new Uint8Array(digest)].map(byte => byte.toString(16).padStart(2, "0")).join("");
}"""


@contextmanager
def serving(*command, folder, **env):
    """Run a Jupyter server on a free port until the block ends; its address."""
    own = {name: folder / name.lower() for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}
    own |= {name: os.environ[name] for name in os.environ if name.startswith(("IPY", "TIERLAB", "PYTHONHASH"))} | env
    for attempt in range(3):  # another process can take the port in between
        port, log = _free_port(), folder / f"{attempt}.log"
        process = _start(["env", *(f"{name}={value}" for name, value in own.items()), *command, f"--port={port}"], log)
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


@contextmanager
def serving_lab(notebooks):
    """JupyterLab on a folder: a function from a notebook's path in it to its address."""
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for key, value in SETTINGS.items():
            file = folder / "settings" / "@jupyterlab" / f"{key}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(value))
        own = {"JUPYTERLAB_SETTINGS_DIR": folder / "settings", "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces"}
        options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", "--ServerApp.port_retries=0"]
        options += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={notebooks}"]
        with serving(sys.executable, "-m", "jupyter", "lab", *options, folder=folder, **own) as url:
            # One document without the saved workspace of an earlier one.
            yield lambda notebook: f"{url}/doc/tree/{notebook}?reset&token={token}"


@contextmanager
def serving_app():
    """The page of `make app`: its address."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "voila", APP / "tierlab.ipynb", "--no-browser", "--Voila.port_retries=0"]
        with serving(*command, folder=Path(folder), JUPYTER_PATH=APP, JUPYTER_CONFIG_PATH=APP) as url:
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
    """A control on a page, beside a twin of it in this process: what the page shows has to be what the twin computes."""

    def __init__(self, page, box, twin):
        self.page, self.box, self.twin = page, box, twin
        box.scroll_into_view_if_needed()

    def part(self, control):
        """The page's element of one of the twin's controls, found by its label."""
        label = self.page.locator("label", has_text=control.description)
        return self.box.locator(".widget-inline-hbox").filter(has=label).first

    def shown(self, control):
        """The value that the page shows for one of the twin's controls."""
        part = self.part(control)
        if isinstance(control, ipywidgets.SelectMultiple):
            return tuple(part.locator("option:checked").all_text_contents())
        if isinstance(control, ipywidgets.Dropdown):
            return dict(options(control))[part.locator("option:checked").text_content()]
        text = part.locator(".widget-readout").text_content()
        if isinstance(control, ipywidgets.SelectionSlider):
            return dict(options(control))[text]
        steps = round((control.max - control.min) / control.step)
        every = [round(control.min + control.step * n, 10) for n in range(steps + 1)]
        return next(value for value in every if format(value, control.readout_format) == text)

    def check(self):
        """Set the twin to what the page shows, wait until text, table and picture are the twin's; the text."""
        for control in self.twin.controls.values():
            control.value = self.shown(control)
        status = self.box.locator("[role=status]")
        status.get_by_text(self.twin.summary, exact=True).wait_for()
        cells = [" ".join(text.split()) for text in status.locator("td, th").all_text_contents()]
        said = BeautifulSoup(self.twin.text.value, "html.parser")
        assert cells == [" ".join(cell.get_text().split()) for cell in said(["td", "th"])]
        expected = hashlib.sha256(self.twin.image.value).hexdigest()
        self.page.wait_for_function(
            f"async ([image, expected]) => (await ({DIGEST})(image)) === expected", arg=[self.image(), expected]
        )
        return self.twin.summary

    def image(self):
        return self.box.locator("img.widget-image").element_handle()

    def table(self):
        """The numbers beside the figure, as the page shows them."""
        html = self.box.locator("[role=status] table").evaluate("table => table.outerHTML")
        rows = [[cell.get_text(strip=True) for cell in row(["td", "th"])] for row in BeautifulSoup(html, "html.parser")("tr")]
        return pd.DataFrame(rows[1:], columns=rows[0]).set_index(rows[0][0])

    def move(self, control, by):
        """Move one control with the mouse or the keyboard; the page then shows other values, and they are right."""
        before, picture, text = (
            self.shown(control),
            self.image().evaluate(DIGEST),
            self.box.locator("[role=status]").text_content(),
        )
        self._by_mouse(control) if by == "mouse" else self._by_keyboard(control)
        assert self.shown(control) != before, f"{control.description!r} did not move by {by}"
        self.check()
        changed = self.image().evaluate(DIGEST) != picture, self.box.locator("[role=status]").text_content() != text
        return changed

    def _by_mouse(self, control):
        part = self.part(control)
        if isinstance(control, ipywidgets.Dropdown):
            names = [name for name, value in options(control) if value != self.shown(control)]
            part.locator("select").select_option(label=names[0])  # the list that opens belongs to the system, not to the page
        elif isinstance(control, ipywidgets.SelectMultiple):
            part.locator("option").nth(len(control.options) // 2).click()
        else:
            handle, track = part.locator(".noUi-handle").bounding_box(), part.locator(".noUi-base").bounding_box()
            middle = handle["x"] + handle["width"] / 2
            share = 0.3 if middle > track["x"] + track["width"] / 2 else 0.7
            self.page.mouse.move(middle, handle["y"] + handle["height"] / 2)
            self.page.mouse.down()
            self.page.mouse.move(track["x"] + share * track["width"], handle["y"] + handle["height"] / 2, steps=5)
            self.page.mouse.up()

    def _by_keyboard(self, control):
        part, value = self.part(control), self.shown(control)
        part.locator(".noUi-handle, select").first.focus()
        every = [value for _, value in options(control)] if hasattr(control, "options") else [control.min, control.max]
        if isinstance(control, ipywidgets.SelectMultiple):
            keys = ["Home" if value == (every[-1],) else "End"]
        elif isinstance(control, ipywidgets.Dropdown):
            # The list has to be open: JupyterLab takes a bare arrow for itself and goes to the next cell.
            keys = ["Alt+ArrowDown", "ArrowUp" if value == every[-1] else "ArrowDown", "Enter"]
        else:
            keys = ["ArrowLeft" if value == every[-1] else "ArrowRight"]
        for key in keys:
            self.page.keyboard.press(key)


def options(control):
    """Label and value of each choice."""
    return [option if isinstance(option, tuple) else (str(option), option) for option in control.options]
