"""The notebooks: stored outputs are complete and fresh, every one runs with other parameters, and nbval would notice."""

import ast
import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup

from tierlab.core import paths
from tierlab.pages import parameters, run

TINY = Path(__file__).parent / "data" / "tiny.ipynb"
PRODUCT = str(TINY.with_name("product.yaml"))
NOTEBOOKS = run.find_all()
# One other value at least for every notebook; a small one where the default takes long.
CHANGED = {
    "00_start_here": {"catalogue": "maintained", "product": PRODUCT},
    "01_pricing": {
        "product": PRODUCT,
        "cached_share": 0.0,
        "batch_share": 1.0,
        "today": "2026-10-20",
    },
    "02_scaling_costs": {
        "product": PRODUCT,
        "as_of": "2026-06-12",
        "provider": "openai",
        "months": 2,
    },
    "03_match_tasks_to_tiers": {
        "product": PRODUCT,
        "provider": "google",
        "second_usd": 0.001,
        "later": "2026-10-20",
    },
    "04_routing": {
        "product": PRODUCT,
        "prompts": 400,
        "complex_right": 0.3,
        "error_correlation": 0.0,
        "seed": 1,
    },
    "05_live_sampling": {
        "samples": str(TINY.with_name("own_samples.csv")),
        "margin": 0.3,
        "product": PRODUCT,
        "truncated": "wrong",
        "seed": 1,
    },
    "06_speed_and_waiting": {
        "product": PRODUCT,
        "provider": "google",
        "router": "small_llm",
        "slo_s": 3.0,
        "hour_usd": 0.0,
        "seed": 1,
    },
    "07_limits_and_windows": {
        "product": PRODUCT,
        "shape": "message",
        "limit_model": "gpt-4o",
        "minute_spread": 1.0,
        "document_tokens": 5_000,
        "as_of": "2026-06-12",
        "seed": 1,
    },
    "08_reasoning": {
        "product": PRODUCT,
        "provider": "openai",
        "as_of": "2026-06-12",
        "second_usd": 0.0,
    },
    "09_distillation": {
        "product": PRODUCT,
        "as_of": "2026-06-12",
        "labels": 500,
        "relabel_months": 3.0,
        "seed": 1,
    },
    "10_article_claims": {"section": "FAQ"},
    "90_quarterly_report": {
        "budget_usd": 700.0,
        "as_of": "2026-10-01",
        "retire_days": 30,
        "seed": 1,
    },
}
IGNORED = (
    "nbval-ignore-output",
    "nbval-skip",
    "nbval-raises-exception",
    "raises-exception",
    "skip-execution",
)
PRIVATE = re.compile(
    r"(?:/home/|/root/|/tmp/|/Users/|/work/|\b[A-Z]:\\)\S*|\bsk-[\w-]{16,}|\bAIza[\w-]{20,}"
)


@pytest.fixture(scope="module", params=[*NOTEBOOKS, TINY], ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


@pytest.fixture
def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def ignores(cell):
    return [tag for tag in cell.metadata.get("tags", []) if tag in IGNORED] or re.findall(
        r"^\s*#\s*NBVAL_\w+", cell.source, re.M
    )


class TestStructure:
    def test_every_code_cell_was_executed_in_order(self, code):
        assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))

    def test_no_error_and_no_stderr_is_stored(self, code):
        outputs = [output for cell in code for output in cell.outputs]
        assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]

    def test_no_path_and_no_key_is_stored(self, code):
        texts = [
            json.dumps(o.get("data", {}).get(k, o.get("text", "")))
            for c in code
            for o in c.outputs
            for k in o.get("data", {"": 0})
        ]
        assert not [
            found
            for text in texts
            if not text.startswith('"iVBOR')
            for found in PRIVATE.findall(text)
        ]

    def test_most_cells_are_compared(self, code):
        assert sum(not ignores(cell) for cell in code) >= 0.8 * len(code)

    def test_a_cell_that_is_not_compared_says_why(self, code):
        for cell in code:
            if ignores(cell):
                assert re.search(r"^\s*#(?!\s*NBVAL_)\s*\S+ \S+ \S+", cell.source, re.M), (
                    cell.source
                )

    def test_no_cell_ends_with_a_semicolon(self, code):
        assert not [cell.source for cell in code if cell.source.rstrip().endswith(";")]

    def test_logic_lives_in_the_module(self, code):
        nodes = [node for cell in code for node in ast.walk(ast.parse(cell.source))]
        functions = [
            node
            for node in nodes
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        ]
        assert not [node.name for node in functions if node.end_lineno - node.lineno >= 6]

    def test_one_cell_declares_the_parameters(self, notebook):
        tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
        assert len(tagged) == 1
        assert all(parameter.meaning for parameter in parameters.declared(notebook).values())

    def test_the_title_is_a_question(self, notebook):
        title = notebook.cells[0].source.splitlines()[0]
        assert (
            notebook.cells[0].cell_type == "markdown"
            and title.startswith("# ")
            and title.endswith("?")
        )

    def test_jupyterlab_takes_no_dollars_for_a_formula(self, notebook):
        """It does where two of them stand in a paragraph, a cell of a table or an item, escaped or not."""
        texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
        outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
        texts += [o.get("data", {}).get("text/markdown", "") for o in outputs]
        for text in texts:
            bare = re.sub(r"`[^`]*`|<span>\\\$</span>", "", text)
            for part in re.split(r"\n\s*\n|\n(?=[-|\d])|\|", bare):
                assert part.count(r"\$") <= 1, part

    def test_nothing_of_one_run_is_stored(self, notebook):
        assert run.cleaned(copy.deepcopy(notebook)) == notebook


class TestNbval:
    """Strict nbval passes on what is stored and fails when one stored number is changed."""

    def test_a_changed_number_is_noticed(self, tmp_path):
        text = TINY.read_text("utf-8")
        assert text.count("10.0") == 2  # the table as text and as HTML
        (tmp_path / "same.ipynb").write_text(text, "utf-8")
        (tmp_path / "changed.ipynb").write_text(text.replace("10.0", "10.1", 1), "utf-8")
        (tmp_path / "pytest.ini").write_text("[pytest]\n")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval"]
        command += ["-c", tmp_path / "pytest.ini", "--nbval-current-env"]
        command += [f"--nbval-sanitize-with={Path(__file__).parent / 'nbval.cfg'}", tmp_path]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        failed = re.findall(r"^FAILED (\S+?)::", done.stdout, re.M)
        assert failed == ["changed.ipynb"] and " passed" in done.stdout, done.stdout


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    out = tmp_path_factory.mktemp("changed")
    run.run(NOTEBOOKS, parameters=CHANGED, out=out)
    return out


class TestRuns:
    def test_every_notebook_has_a_changed_parameter(self):
        assert list(CHANGED) == [path.stem for path in NOTEBOOKS] and all(CHANGED.values())

    @pytest.mark.parametrize("stem", [path.stem for path in NOTEBOOKS])
    def test_it_runs_with_other_parameters(self, pages, stem):
        soup = BeautifulSoup((pages / f"{stem}.html").read_text("utf-8"), "html.parser")
        shown = soup.find(class_="changed").get_text()
        assert all(f"{name} = {value}" in shown for name, value in CHANGED[stem].items())
        assert not [
            img
            for img in soup("img")
            if img["alt"].startswith(("No description", "the control at"))
        ]
        assert not soup.find(class_="output_stderr") and not soup.find(class_="output_error")

    @pytest.mark.parametrize("stem", [stem for stem in CHANGED if "product" in CHANGED[stem]])
    def test_another_product_moves_the_answer(self, pages, stem):
        soup = BeautifulSoup((pages / f"{stem}.html").read_text("utf-8"), "html.parser")
        stored = nbformat.read(paths.NOTEBOOKS / f"{stem}.ipynb", as_version=4)
        outputs = [o for cell in stored.cells for o in cell.get("outputs", [])]
        claims = [o.data["text/html"] for o in outputs if 'class="finding"' in str(o.get("data"))]
        before = BeautifulSoup(claims[0], "html.parser").get_text()
        assert soup.find(class_="finding").get_text().strip() != before.strip()
        assert "20,000 messages" not in soup.get_text()

    @pytest.mark.full  # `make test` compares the texts with nbval; this compares images as well
    def test_stored_outputs_and_figures_are_fresh(self):
        assert run.refresh(check=True) == [], "run `make refresh`"


def test_the_tests_see_every_notebook():
    assert {path.stem for path in paths.NOTEBOOKS.glob("*.ipynb")} == {
        path.stem for path in NOTEBOOKS
    }
