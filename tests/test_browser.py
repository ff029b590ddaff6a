"""In a real browser: every notebook runs in JupyterLab, and a control that a hand moves shows what its arithmetic says."""

import shutil

import pytest

import tierlab as tl
from tierlab import paths, printing

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make setup")

from tests import browser  # noqa: E402

pytestmark = pytest.mark.skipif(printing.find_browser() is None, reason=printing.HOW_TO_GET_IT)


@pytest.fixture(scope="module")
def chromium():
    # To the end of the module only: while Playwright runs, no other test could use asyncio.
    with sync_api.sync_playwright() as playwright:
        flags = [flag for flag in printing.FLAGS if flag != "--headless"]
        yield playwright.chromium.launch(executable_path=printing.find_browser(), args=flags)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the notebooks: a test that is stopped must leave none of ours changed."""
    return shutil.copytree(paths.NOTEBOOKS, tmp_path_factory.mktemp("lab") / "notebooks", ignore=shutil.ignore_patterns(".*"))


@pytest.fixture(scope="module")
def lab(folder):
    with browser.serving_lab(folder) as address:
        yield address


@pytest.fixture
def page(chromium, request):
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(1000 * browser.WAIT_S)
    page = context.new_page()
    page.asked, page.logged = [], []
    page.on("request", lambda asked: page.asked.append(asked.url))
    page.on("console", lambda said: page.logged.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: page.logged.append(str(error)))
    yield page
    context.close()


def test_the_first_notebook_runs_and_its_control_moves(lab, page):
    page.goto(lab("00_start_here.ipynb"))
    prompts = browser.run_all(page)
    assert prompts == [f"[{n}]:" for n in range(1, len(prompts) + 1)]
    assert page.locator(browser.ERRORS).count() == 0
    twin = tl.widgets.TierExplorer(tl.load_prices("article"), requests_per_day=10_000)
    panel = browser.Panel(page, page.locator(".jp-OutputArea-output .widget-vbox").first, twin)
    panel.check()
    for control in twin.controls.values():
        for by in ("keyboard", "mouse"):
            print(by, control.description, panel.move(control, by), panel.twin.summary)
    print(panel.table())
    print(page.logged, {u for u in page.asked if "127.0.0.1" not in u and not u.startswith(("data:", "blob:"))})
