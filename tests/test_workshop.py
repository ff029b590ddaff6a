"""The workshop's machinery, and the checks of exercises 1 to 5 with right and wrong answers."""

import ast
import json
import os
import re
import subprocess
import sys

import nbformat
import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tests.hints import namespace, reveals, wrong
from tierlab import __main__ as cli
from tierlab import paths
from tierlab.workshop import _CHECKS, build, values

SOLUTIONS = build.solutions()
EXERCISES = paths.NOTEBOOKS / "workshop" / "exercises"


class TestExercises:
    """The generator: a pure function from a solution to its exercise."""

    @pytest.mark.parametrize(
        ("solution", "exercise"),
        [
            ("a = 1\n# your turn: b\nx = a + 1\nb = x  # USD", "a = 1\n# your turn: b\nb = ...  # USD"),
            ("# your turn\nb, (c, *x) = f()\nb = 2", "# your turn\nb = ...\nc = ..."),
            ("# your turn\nimport b\nprint(c)\nfor x in y:\n    b = 1\nf: int = 3", "# your turn\nf = ..."),
            ("# your turn\nb.x = 1\nx[c] = 2\nf = [g for g in b]", "# your turn\nf = ..."),
            ('# your turn\ndef f(x, y=1):\n    """Doc."""\n    z = x\n    return z',
             '# your turn\n\n\ndef f(x, y=1):\n    """Doc."""\n    return ...'),
            ("# your turn\nb = 1\ndef f(): return 7\ndef x(): return 8\nc = 2",
             "# your turn\nb = ...\n\n\ndef f():\n    return ...\n\n\nc = ..."),
            ("a = 1  # your turn\nb = 2", None),
            ("b = 2", None),
        ],
    )  # fmt: skip
    def test_what_is_kept_of_a_cell(self, solution, exercise):
        assert build.starter(solution, "bcf") == exercise

    CELLS = (
        nbformat.v4.new_markdown_cell("# 1. Why?", id="a"),
        nbformat.v4.new_code_cell("x = 1", id="b", execution_count=1, outputs=[nbformat.v4.new_output("stream", text="1")]),
        nbformat.v4.new_code_cell("# your turn\ny = 42", id="c", metadata={"tags": ["solution", "wide"]}),
        nbformat.v4.new_code_cell("z = 43", id="d", metadata={"tags": ["solution"]}),
        nbformat.v4.new_markdown_cell("It is 42.", id="e", metadata={"tags": ["solution"]}),
        nbformat.v4.new_code_cell("tl.workshop.check(1, y=y)", id="f"),
    )

    def test_a_solution_becomes_its_exercise(self):
        solution = nbformat.v4.new_notebook(cells=list(self.CELLS))
        before = json.dumps(solution)
        made = build.exercise(solution)
        assert json.dumps(solution) == before
        assert [cell.id for cell in made.cells] == ["a", "colab", "b", "c", "f"]
        assert made.cells[3].metadata.tags == ["wide"] and made.cells[3].source == "# your turn\ny = ..."
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in made.cells)
        assert "42" not in json.dumps(made) and "43" not in json.dumps(made)

    @pytest.mark.parametrize(("left_out", "named"), [("c", "leaves y to be"), ("f", "leaves anything to be")])
    def test_a_solution_that_leaves_nothing_to_be_filled_in_is_refused(self, left_out, named):
        with pytest.raises(ValueError, match=rf"1\. Why.*{named}"):
            build.exercise(nbformat.v4.new_notebook(cells=[cell for cell in self.CELLS if cell.id != left_out]))

    def test_the_exercises_are_fresh(self):
        assert build.generate(check=True) == [], "run `python -m tierlab workshop`"

    def test_the_command_writes_what_is_stale(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(build, "FOLDER", tmp_path)
        (tmp_path / "solutions").mkdir()
        (tmp_path / "exercises").mkdir()
        (tmp_path / "exercises" / "99_gone.ipynb").write_text("{}")
        name = SOLUTIONS[0].name
        (tmp_path / "solutions" / name).write_bytes(SOLUTIONS[0].read_bytes())
        assert cli.main(["workshop", "--check"]) == 1
        assert capsys.readouterr().out.splitlines() == [f"stale: {name}", "stale: 99_gone.ipynb"]
        assert cli.main(["workshop"]) == 0
        assert [path.name for path in (tmp_path / "exercises").iterdir()] == [name]
        assert (tmp_path / "exercises" / name).read_bytes() == (EXERCISES / name).read_bytes()
        assert cli.main(["workshop", "--check"]) == 0 and "fresh" in capsys.readouterr().out.splitlines()[-1]


class TestValues:
    """Answers are read without a traceback, whatever they are."""

    @pytest.mark.parametrize(
        "answer", [..., {"a": 1, "b": ...}, [1, ...], (1, (2, ...)), pd.Series([1, ...]), pd.DataFrame({"a": [1, ...]})]
    )
    def test_unfilled(self, answer):
        assert values.unfilled(answer)

    @pytest.mark.parametrize("answer", [0, None, float("nan"), "", {}, [], np.arange(3), pd.DataFrame({"a": [1]}), "...", len])
    def test_filled(self, answer):
        assert not values.unfilled(answer)

    @pytest.mark.parametrize("answer", [3, 3.0, np.float64(3), np.int64(3), np.array(3.0)])
    def test_numbers(self, answer):
        assert values.number("x", answer) == 3

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            ("3", "text"),
            (None, "nothing"),
            (True, "true or false"),
            ([3], "a list"),
            (np.nan, "nan"),
            (np.inf, "inf"),
            (len, "a builtin"),
        ],
    )
    def test_what_is_no_number(self, answer, said):
        with pytest.raises(values.Hint, match=f"^x is {said}"):
            values.number("x", answer)

    @pytest.mark.parametrize(
        ("found", "said"),
        [
            (5e6, "a million times too large"), (5e-6, "a million times too small"), (50, "ten times"), (0.05, "a hundred times"),
            (5e4, "10 to the power of 4 times too large"), (-5, "wrong sign"), (6, "too large"), (0, "too small"), (10, "doubled"),
        ],
    )  # fmt: skip
    def test_what_a_wrong_number_is_told(self, found, said):
        with pytest.raises(values.Hint, match=said) as hint:
            values.compare("x", found, 5, rel=1e-9, mistakes={10: "doubled"})
        assert reveals(str(hint.value), [5]) == []

    def test_tolerances(self):
        values.compare("x", 5.04, 5, rel=0.01)
        values.compare("x", 0.3, 0.25, abs=0.05)
        with pytest.raises(values.Hint):
            values.compare("x", 5.06, 5, rel=0.01)

    @pytest.mark.parametrize(
        ("answer", "said"),
        [(3, "a dict or a Series"), ({"a": 1}, "no entry for 'b'"), ({"a": 1, "b": 2, "c": 3}, "not asked for: 'c'")],
    )
    def test_tables(self, answer, said):
        assert values.table("x", pd.Series({"b": 2, "a": 1}), ["a", "b"]) == {"a": 1, "b": 2}
        with pytest.raises(values.Hint, match=said):
            values.table("x", answer, ["a", "b"])

    @pytest.mark.parametrize(
        ("function", "said"),
        [
            (lambda x: None, "returns nothing"),
            (lambda: 1, "TypeError"),
            (lambda x: 1 / 0, "division by zero"),
            (5, "not a function"),
        ],
    )
    def test_functions(self, function, said):
        with pytest.raises(values.Hint, match=said):
            values.ask("f", function, 1)
        with pytest.raises(values.Unfilled):
            values.ask("f", lambda x: ..., 1)

    @pytest.mark.parametrize(
        ("hint", "found"),
        [
            ("about 10,000 dollars", [10_000]),
            ("it is 37.4 %", [37.4]),
            ("of 12 rows, 3", []),
            ("v0.374 and tier2", []),
            ("it is 0.374x", [0.374]),
        ],
    )
    def test_reveals(self, hint, found):
        assert reveals(hint, [10_000, 0.374]) == found


class TestCheck:
    def test_an_unknown_exercise_and_wrong_names_are_refused(self):
        with pytest.raises(ValueError, match="unknown exercise 11"):
            tl.workshop.check(11)
        with pytest.raises(ValueError, match="exercise 1 also asks for opus_usd, haiku_usd and routed_usd"):
            tl.workshop.check(1, cost=...)


@pytest.fixture(scope="module", params=SOLUTIONS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture(scope="module")
def solution(path):
    return nbformat.read(path, as_version=4)


def checks(notebook):
    return [c for c in notebook.cells if c.cell_type == "code" and c.source.startswith("tl.workshop.check(")]


class TestEverySolution:
    """What holds for each of the ten notebooks."""

    def test_it_has_a_title_minutes_a_goal_and_the_claim_it_is_about(self, path, solution):
        first = solution.cells[0].source
        assert re.match(rf"# {int(path.name[:2])}\. \S.+", first)
        assert re.search(r"\*\*\d+ minutes\.\*\* Goal: ", first) and "**The article:**" in first

    def test_its_check_says_right(self, path, solution):
        (cell,) = checks(solution)
        assert cell.source.startswith(f"tl.workshop.check({int(path.name[:2])}, ")
        assert [output.data["text/plain"] for output in cell.outputs] == ["Right."]

    def test_it_was_executed_in_order_without_an_error(self, solution):
        code = [cell for cell in solution.cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
        assert not [o for cell in code for o in cell.outputs if o.output_type == "error" or o.get("name") == "stderr"]

    def test_it_explains_a_common_mistake_and_goes_further(self, solution):
        hidden = [cell.source for cell in solution.cells if build.TAG in cell.metadata.get("tags", [])]
        assert any("<details>" in source and "Common mistake" in source for source in hidden)
        assert any(cell.source.startswith("## For the fast") for cell in solution.cells)

    def test_it_reads_as_slides(self, solution):
        kinds = [cell.metadata["slideshow"]["slide_type"] for cell in solution.cells]
        assert kinds[0] == "slide" and kinds.count("slide") >= 4
        assert set(kinds) <= {"slide", "subslide", "fragment", "skip", "notes", "-"}

    def test_its_functions_are_short(self, solution):
        nodes = [n for c in solution.cells if c.cell_type == "code" for n in ast.walk(ast.parse(c.source))]
        assert not [n.name for n in nodes if isinstance(n, ast.FunctionDef) and n.end_lineno - n.lineno >= 6]

    def test_its_exercise_runs_unsolved_and_every_answer_is_open(self, path, tmp_path):
        """In a kernel of its own, as a learner would on opening it."""
        notebook = nbformat.read(EXERCISES / path.name, as_version=4)
        from nbclient import NotebookClient

        NotebookClient(notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
        (cell,) = checks(notebook)
        (output,) = cell.outputs
        asked = ast.parse(cell.source).body[0].value.keywords
        assert re.search(r" (is|are) still to be filled in\.$", output.data["text/plain"])
        assert any(keyword.arg in output.data["text/plain"] for keyword in asked)

    def test_its_exercise_holds_no_answer(self, path, solution):
        text = (EXERCISES / path.name).read_text("utf-8")
        assert "<details>" not in text and "## Solution" not in text
        first, second = nbformat.reads(text, as_version=4).cells[:2]
        assert first == solution.cells[0] and second.id == "colab" and "find_spec" in second.source


def test_the_exercises_have_a_check_each_and_fill_two_hours_and_forty_minutes():
    assert [int(path.name[:2]) for path in SOLUTIONS] == sorted(_CHECKS)
    minutes = [re.search(r"\*\*(\d+) minutes", nbformat.read(path, as_version=4).cells[0].source)[1] for path in SOLUTIONS]
    assert len(SOLUTIONS) < 10 or sum(map(int, minutes)) == 160


def test_nbval_leaves_the_exercises_alone():
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "--nbval", "notebooks/workshop"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=paths.ROOT, check=False)
    assert "solutions/01_" in done.stdout and "exercises/" not in done.stdout, done.stdout + done.stderr


def test_slides_are_made_without_the_network(tmp_path):
    command = [sys.executable, "-m", "nbconvert", "--to", "slides", "--output-dir", str(tmp_path), str(SOLUTIONS[0])]
    blocked = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **blocked}, check=False)
    page = (tmp_path / f"{SOLUTIONS[0].stem}.slides.html").read_text("utf-8")
    assert done.returncode == 0 and page.count("<section>") >= 4 and "What does a day cost" in page


class TestCostFunction:
    """Exercise 1. The figures are the article's: 5 / 25, 1 / 5 and 0.15 / 0.60 dollars per million tokens."""

    FIGURES = (10_000, 2_000, 3_600)
    RATES = {"claude-opus-4-8": (5, 25), "claude-haiku-4-5": (1, 5), "gpt-4o-mini": (0.15, 0.6), "gpt-5.5": (5, 30)}  # noqa: RUF012

    @classmethod
    def right(cls):
        def cost(model_id, input_tokens, output_tokens, requests=1):
            into, out = cls.RATES[model_id]
            return requests * (input_tokens * into + output_tokens * out) / 1e6

        return {"cost": cost, "opus_usd": 10_000, "haiku_usd": 2_000, "routed_usd": 3_600}

    def test_right(self):
        assert tl.workshop.check(1, **self.right()).words == "Right."
        solved = namespace(1)
        assert [solved[name] for name in ("opus_usd", "haiku_usd", "routed_usd")] == pytest.approx([10_000, 2_000, 3_600])

    @pytest.mark.parametrize(
        ("change", "kind"),
        [
            (lambda cost: lambda m, i, o, n=1: 1e6 * cost(m, i, o, n), "per million tokens"),
            (lambda cost: lambda m, i, o, n=1: cost(m, o, i, n), "changed places"),
            (lambda cost: lambda m, i, o, n=1: cost(m, i + o, 0, n), "output is priced as input"),
            (lambda cost: lambda m, i, o, n=1: cost(m, 0, i + o, n), "input is priced as output"),
            (lambda cost: lambda m, i, o, n=1: cost("claude-opus-4-8", i, o, n), "does cost use its model_id"),
            (lambda cost: lambda m, i, o, n=1: cost(m, i, o), "in step with the requests"),
            (lambda cost: lambda m, i, o, n=1: cost(m, i, o, n) + (n > 1), "in step with the requests"),
            (lambda cost: lambda m, i, o, n=1: None, "returns nothing"),
            (lambda cost: lambda m, i, o, n=1: f"{cost(m, i, o, n)} USD", "text"),
            (lambda cost: lambda m, i, o: cost(m, i, o), "TypeError"),
            (lambda cost: 0.01, "not a function"),
        ],
    )
    def test_a_wrong_function(self, change, kind):
        right = self.right()
        wrong(1, right, {"cost": change(right["cost"])}, kind, self.FIGURES)

    @pytest.mark.parametrize(
        ("changes", "kind"),
        [
            ({"opus_usd": 0.01}, "single request"),
            ({"opus_usd": 2_000, "haiku_usd": 10_000}, "price of Haiku"),
            ({"routed_usd": 8_400}, "changed places"),
            ({"routed_usd": 6_000}, "both models alike"),
            ({"routed_usd": 12_000}, "every request to both"),
            ({"routed_usd": "3,600"}, "text"),
            ({"haiku_usd": 2_000.01}, "too large"),
        ],
    )
    def test_wrong_figures(self, changes, kind):
        wrong(1, self.right(), changes, kind, self.FIGURES)
