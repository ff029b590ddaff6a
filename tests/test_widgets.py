"""Controls: a moved slider changes picture and numbers, an error is shown, and a notebook with them passes nbval."""

import re
import subprocess
import sys

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbclient import NotebookClient

import tierlab as tl
from tierlab.article import control as article_control
from tierlab.core.paths import ROOT
from tierlab.prices import control as prices_control
from tierlab.scaling import control as scaling_control

CLAIMS = pd.DataFrame(
    [
        ("C1", "FAQ", "five times", "5x", "at least 5x", "supported", "within"),
        ("C2", "FAQ", "<b>cheap</b>", "", "", "not checkable", "no figure " * 20),
        ("C3", "Why It Matters", "$10,000 a day", "$10,000", "$10,000", "supported", "equal"),
    ],
    columns=["id", "section", "claim", "computed", "bounds", "verdict", "why"],
).set_index("id")


@pytest.fixture(scope="module")
def june():
    return tl.load_prices("maintained", as_of="2026-06-12")


def explorers(article, june):
    return {
        "TierExplorer": scaling_control.TierExplorer(article),
        "CostExplorer": prices_control.CostExplorer({"article": article, "maintained": june}),
        "CurveExplorer": scaling_control.CurveExplorer(article),
        "ClaimExplorer": article_control.ClaimExplorer(CLAIMS),
    }


def shown(explorer):
    """The control's table as a reader sees it: rows of text, first column -> row."""
    rows = re.findall(r"<tr>(.*?)</tr>", explorer.text.value, re.DOTALL)
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in rows]
    return {row[0]: row[1:] for row in cells if row}


def test_every_control_starts_with_a_picture_and_a_table(article, june):
    for name, explorer in explorers(article, june).items():
        assert bytes(explorer.image.value).startswith(b"\x89PNG"), name
        assert "<table" in explorer.text.value and 'role="alert"' not in explorer.text.value, name
        heads = re.findall(r"<th>(.*?)</th>", explorer.text.value)
        assert len(heads) == len(re.findall(r"<td>", explorer.text.value.split("</tr>")[1])), name
        assert explorer.image.tooltip == explorer.summary and explorer.summary in repr(explorer)


def test_every_control_has_a_name_and_waits_for_the_release(article, june):
    for explorer in explorers(article, june).values():
        for control in explorer.controls.values():
            assert control.description
            assert getattr(control, "continuous_update", False) is False


def test_tiers_cost_what_the_arithmetic_says(article):
    explorer = scaling_control.TierExplorer(article)
    assert shown(explorer)["flagship"] == [
        "claude-opus-4-8",
        "10,000.00",
    ]  # the article's own example
    before = explorer.image.value
    explorer.controls["requests_per_day"].value = 2_000_000
    explorer.controls["provider"].value = "openai"
    # 2 million x (500 x 2.50 + 300 x 10) / 1e6
    assert shown(explorer)["mid"] == ["gpt-4o", "8,500.00"]
    assert explorer.image.value != before
    assert "mid $8,500" in explorer.summary


def test_buckets_cost_what_the_arithmetic_says(article, june):
    explorer = prices_control.CostExplorer({"article": article, "maintained": june})
    settings = {
        "catalogue": "maintained",
        "input_tokens": 1_000,
        "cache_hit_rate": 0.5,
        "batch_share": 0.5,
    }
    settings["misses"] = "written for 5 minutes"
    for name, value in settings.items():
        explorer.controls[name].value = value
    # Claude Opus 4.8, a million requests: 500 read at 0.50, 500 written at 6.25, 300 out at 25; batch halves half of them.
    parts = np.array([300 * 25, 0, 500 * 6.25, 500 * 0.50]) * 0.75
    cells = shown(explorer)["claude-opus-4-8"]
    assert [float(cell.replace(",", "")) for cell in cells[:5]] == pytest.approx(
        [parts.sum(), *parts], abs=0.005
    )


def test_a_model_without_a_rate_says_which_and_the_others_stay(article, june):
    explorer = prices_control.CostExplorer({"maintained": june})
    explorer.controls["cache_hit_rate"].value = 0.5
    explorer.controls["batch_share"].value = 0.5
    rows = shown(explorer)
    assert (
        rows["gemini-3.5-flash"][0] == "no figure"
        and rows["gemini-3.5-flash"][-1] == "no batch rate for cache read"
    )
    assert rows["claude-opus-4-8"][0] != "no figure"
    assert "1 of 9 models without a figure" in explorer.summary
    bare = prices_control.CostExplorer({"article": article})
    bare.controls["cache_hit_rate"].value = 0.5
    assert "no model has a figure" in bare.summary and bare.image.value


def test_curve_ends_where_the_arithmetic_says(article):
    explorer = scaling_control.CurveExplorer(article, models=["gpt-4o", "gemini-3.1-pro-preview"])
    # 2 million requests a day x (500 x 2.50 + 300 x 10) / 1e6
    assert shown(explorer)["2,000,000"][0] == "8,500.00"
    before = explorer.image.value
    explorer.controls["over"].value = "cache_hit_rate"
    assert (
        "no rate" in explorer.summary or "cache_read" in explorer.summary
    )  # the article has no cache prices
    explorer.controls["over"].value = "input_tokens"
    explorer.controls["top"].value = 500_000
    assert explorer.image.value != before
    # Above 200,000 input tokens every token pays the higher rate: (500,000 x 4 + 300 x 18) x 1e6 / 1e6
    assert shown(explorer)["500,000"][1] == "2,005,400.00"


def test_curve_shows_both_sides_of_a_cliff(article):
    explorer = scaling_control.CurveExplorer(article, models=["gemini-3.1-pro-preview"])
    explorer.controls["over"].value = "input_tokens"
    explorer.controls["top"].value = 500_000
    values = set(explorer.table(**explorer.values())["input_tokens"])
    assert {200_000, 200_001} <= values


def test_one_move_draws_once(article, monkeypatch):
    explorer = scaling_control.CurveExplorer(article)
    drawn = []
    monkeypatch.setattr(explorer, "draw", lambda ax, table, **values: drawn.append(values["over"]))
    explorer.controls["over"].value = "output_tokens"  # moves the range too
    assert drawn == ["output_tokens"]


def test_claims_are_filtered_and_escaped():
    explorer = article_control.ClaimExplorer(CLAIMS)
    assert list(shown(explorer)) == ["C1", "C2", "C3"]
    assert "&lt;b&gt;cheap&lt;/b&gt;" in explorer.text.value and "<b>" not in explorer.text.value
    assert ("no figure " * 20).strip() in explorer.text.value  # not cut short
    explorer.controls["verdict"].value = "supported"
    explorer.controls["section"].value = "FAQ"
    assert list(shown(explorer)) == ["C1"]
    assert explorer.summary == "1 of 3 claims: 1 supported."


def test_no_claim_left_is_said_in_words():
    explorer = article_control.ClaimExplorer(CLAIMS)
    explorer.controls["verdict"].value = "not checkable"
    explorer.controls["section"].value = "Why It Matters"
    assert explorer.summary == "0 of 3 claims: none."
    assert explorer.image.value == b"" and 'role="alert"' not in explorer.text.value


def test_an_error_takes_the_place_of_the_picture(article):
    explorer = scaling_control.CurveExplorer(article)
    explorer.controls["models"].value = ()
    assert explorer.text.value == '<p role="alert"><strong>no model is chosen</strong></p>'
    assert explorer.image.value == b"" and explorer.image.layout.display == "none"
    explorer.controls["models"].value = ("gpt-4o",)
    assert explorer.image.value and explorer.image.layout.display is None
    explorer.draw = lambda *_, **__: 1 / 0
    explorer.redraw()
    assert "ZeroDivisionError: division by zero" in explorer.text.value


def test_text_form_holds_settings_and_numbers_and_no_bytes(article):
    explorer = scaling_control.TierExplorer(article)
    bundle = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    first, second = bundle["text/plain"].split("\n")
    assert first == (
        "TierExplorer (provider anthropic; requests per day 1,000,000; input tokens per request 500; "
        "output tokens per request 300)"
    )
    assert (
        second
        == f"Cost per day at the prices of {article.source}: flagship $10,000; mid $6,000; small $2,000."
    )


NOTEBOOK = """
import tierlab as tl
from tierlab.prices import figures
from tierlab.scaling import control
tl.use_style()
article = tl.load_prices("article")
---
control.TierExplorer(article)
---
tl.prices.control.CostExplorer({"article": article})
---
control.CurveExplorer(article)
---
tl.article.control.ClaimExplorer(tl.evaluate_claims(section="FAQ"))
---
ax = figures.cost_bars(tl.daily_cost(tl.Workload(requests_per_day=1e6), article))
tl.show(ax, alt="Nine bars; Claude Opus 4.8 costs $10,000.", caption="Prices: the article.")
"""


def test_a_notebook_with_every_control_passes_strict_nbval(tmp_path):
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source.strip()) for source in NOTEBOOK.split("---")]
    )
    NotebookClient(notebook, kernel_name="python3", store_widget_state=False).execute()
    text = nbformat.writes(notebook)
    assert "$10,000" in text
    for name, content in {
        "once": text,
        "again": text,
        "mutated": text.replace("flagship $10,000", "flagship $10,001"),
    }.items():
        (tmp_path / f"{name}.ipynb").write_text(content, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-c",
        "/dev/null",
        "--rootdir",
        str(tmp_path),
        "-p",
        "no:cacheprovider",
    ]
    command += [
        "--nbval",
        "--nbval-current-env",
        "--nbval-sanitize-with",
        str(ROOT / "tests" / "nbval.cfg"),
        str(tmp_path),
    ]
    run = subprocess.run(command, capture_output=True, text=True)
    failed = re.findall(r"^FAILED (\S+?)::(.*?)(?: |$)", run.stdout, re.MULTILINE)
    assert len(failed) == 1 and failed[0][0].endswith("mutated.ipynb"), run.stdout[-3000:]
    assert re.search(r"1 failed, 17 passed", run.stdout)
