"""The workshop's machinery, and the checks of exercises 1 to 5 with right and wrong answers."""

import ast
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from hypothesis import example, given
from hypothesis import strategies as st
from IPython.core.inputtransformer2 import TransformerManager
from IPython.core.interactiveshell import InteractiveShell
from nbclient import NotebookClient
from nbconvert import SlidesExporter
from traitlets.config import Config

import tierlab as tl
from tests.hints import namespace, reveals, wrong
from tierlab import cli
from tierlab.core import paths
from tierlab.core.files import OutputFolder
from tierlab.workshop import CHECKS, build, values

SOLUTIONS = build.solutions()
EXERCISES = paths.NOTEBOOKS / "workshop" / "exercises"


class TestExercises:
    """The generator: a pure function from a solution to its exercise."""

    @pytest.mark.parametrize(
        ("solution", "exercise"),
        [
            (
                "a = 1\n# your turn: b\nx = a + 1\nb = x  # USD",
                "a = 1\n# your turn: b\nb = ...  # USD",
            ),
            ("# your turn\nb, (c, *x) = f()\nb = 2", "# your turn\nb = ...\nc = ..."),
            (
                "# your turn\nimport b\nprint(c)\nfor x in y:\n    b = 1\nf: int = 3",
                "# your turn\nf = ...",
            ),
            ("# your turn\nb.x = 1\nx[c] = 2\nf = [g for g in b]", "# your turn\nf = ..."),
            (
                '# your turn\ndef f(x, y=1):\n    """Doc."""\n    z = x\n    return z',
                '# your turn\n\n\ndef f(x, y=1):\n    """Doc."""\n    return ...',
            ),
            (
                "# your turn\nb = 1\ndef f(): return 7\ndef x(): return 8\nc = 2",
                "# your turn\nb = ...\n\n\ndef f():\n    return ...\n\n\nc = ...",
            ),
            ("a = 1  # your turn\nb = 2", None),
            ("b = 2", None),
        ],
    )
    def test_what_is_kept_of_a_cell(self, solution, exercise):
        assert build.starter(solution, "bcf") == exercise

    CELLS = (
        nbformat.v4.new_markdown_cell("# 1. Why?", id="a"),
        nbformat.v4.new_code_cell(
            "x = 1", id="b", execution_count=1, outputs=[nbformat.v4.new_output("stream", text="1")]
        ),
        nbformat.v4.new_code_cell(
            "# your turn\ny = 42", id="c", metadata={"tags": ["solution", "wide"]}
        ),
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
        assert (
            made.cells[3].metadata.tags == ["wide"]
            and made.cells[3].source == "# your turn\ny = ..."
        )
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in made.cells)
        assert "42" not in json.dumps(made) and "43" not in json.dumps(made)

    @pytest.mark.parametrize(
        ("left_out", "named"), [("c", "leaves y to be"), ("f", "leaves anything to be")]
    )
    def test_a_solution_that_leaves_nothing_to_be_filled_in_is_refused(self, left_out, named):
        with pytest.raises(ValueError, match=rf"1\. Why.*{named}"):
            build.exercise(
                nbformat.v4.new_notebook(cells=[cell for cell in self.CELLS if cell.id != left_out])
            )

    @pytest.mark.parametrize(
        ("installed", "repository", "said", "run"),
        [
            (True, "https://own.test/kit.git", "", []),
            (False, "", "not installed here", []),
            (
                False,
                "https://own.test/kit.git",
                "Installing tierlab from https://own.test/kit.git",
                ["git clone", "install -e"],
            ),
        ],
    )
    def test_the_first_cell_installs_only_where_it_must_and_says_so(
        self, installed, repository, said, run, monkeypatch, capsys
    ):
        """As IPython would run it, with the shell and pip replaced by a list of what they were asked."""
        monkeypatch.setattr(build, "REPOSITORY", repository)
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: object() if installed else None
        )
        monkeypatch.setattr(sys, "path", list(sys.path))
        asked = []
        shell = SimpleNamespace(
            system=asked.append, run_line_magic=lambda magic, line: asked.append(f"%{magic} {line}")
        )
        cell = build.exercise(nbformat.v4.new_notebook(cells=list(self.CELLS))).cells[1]
        exec(TransformerManager().transform_cell(cell.source), {"get_ipython": lambda: shell})
        assert said in capsys.readouterr().out and bool(said) != installed
        assert len(asked) == len(run) and all(
            part in line for part, line in zip(run, asked, strict=True)
        )

    def test_the_exercises_are_fresh(self):
        assert build.generate(check=True) == [], "run `python -m tierlab workshop`"

    def test_the_command_writes_what_is_stale(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(build, "FOLDER", tmp_path)
        (tmp_path / "solutions").mkdir()
        OutputFolder(tmp_path / "exercises").write("99_gone.ipynb", "{}")
        (tmp_path / "exercises" / "98_mine.ipynb").write_text("{}")
        name = SOLUTIONS[0].name
        (tmp_path / "solutions" / name).write_bytes(SOLUTIONS[0].read_bytes())
        assert cli.main(["workshop", "--check"]) == 1
        assert capsys.readouterr().out.splitlines() == [f"stale: {name}", "stale: 99_gone.ipynb"]
        assert cli.main(["workshop"]) == 0
        assert {path.name for path in (tmp_path / "exercises").glob("*.ipynb")} == {
            name,
            "98_mine.ipynb",
        }
        assert (tmp_path / "exercises" / name).read_bytes() == (EXERCISES / name).read_bytes()
        assert (
            cli.main(["workshop", "--check"]) == 0
            and "fresh" in capsys.readouterr().out.splitlines()[-1]
        )


class TestValues:
    """Answers are read without a traceback, whatever they are."""

    @pytest.mark.parametrize(
        "answer",
        [
            ...,
            {"a": 1, "b": ...},
            [1, ...],
            (1, (2, ...)),
            pd.Series([1, ...]),
            pd.DataFrame({"a": [1, ...]}),
        ],
    )
    def test_unfilled(self, answer):
        assert values.unfilled(answer)

    @pytest.mark.parametrize(
        "answer",
        [0, None, float("nan"), "", {}, [], np.arange(3), pd.DataFrame({"a": [1]}), "...", len],
    )
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
            (5e6, "a million times too large"),
            (5e-6, "a million times too small"),
            (50, "ten times"),
            (0.05, "a hundred times"),
            (5e4, "10 to the power of 4 times too large"),
            (-5, "wrong sign"),
            (6, "too large"),
            (0, "too small"),
            (10, "doubled"),
        ],
    )
    def test_what_a_wrong_number_is_told(self, found, said):
        with pytest.raises(values.Hint, match=said) as hint:
            values.compare("x", found, 5, rel=1e-9, mistakes={"doubled": 10})
        assert reveals(str(hint.value), [5]) == []

    @given(right=st.floats(1e-6, 1e9), found=st.floats(-1e9, 1e9))
    @example(right=2.0, found=5e-324)
    def test_a_hint_of_comparing_names_no_figure(self, right, found):
        try:
            values.compare("x", found, right, rel=0.01)
        except values.Hint as hint:
            assert abs(found - right) > 0.01 * right and not re.search(
                r"\d", re.sub(r"10 to the power of \d+", "", str(hint))
            )
        else:
            assert abs(found - right) <= 0.01 * max(abs(found), right) * (1 + 1e-9)

    def test_tolerances(self):
        values.compare("x", 5.04, 5, rel=0.01)
        values.compare("x", 0.3, 0.25, abs=0.05)
        with pytest.raises(values.Hint):
            values.compare("x", 5.06, 5, rel=0.01)

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            (3, "a dict or a Series"),
            ({"a": 1}, "no entry for 'b'"),
            ({"a": 1, "b": 2, "c": 3}, "not asked for: 'c'"),
        ],
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
            ("v0.374, tier-10000 and 'a-10000'", []),
            ("it is 0.374x", [0.374]),
        ],
    )
    def test_reveals(self, hint, found):
        assert reveals(hint, [10_000, 0.374]) == found


@pytest.fixture(scope="module", params=sorted(CHECKS))
def solved(request):
    """An exercise's number and its right answers, as the solution computes them."""
    path = next(path for path in SOLUTIONS if path.name.startswith(f"{request.param:02d}_"))
    names = namespace(request.param)
    return request.param, {
        name: names[name] for name in build.asked_names(nbformat.read(path, as_version=4))
    }


class TestAnyAnswer:
    """Whatever a learner writes, the check answers in a sentence."""

    def test_the_solution_is_right(self, solved):
        number, answers = solved
        found = tl.workshop.check(number, **answers)
        assert found.right and set(found.answers.values()) == {"right"}
        assert repr(found) == f"Right. {found.worth}" and re.search(r"\$[\d,.]+", found.worth)

    @pytest.mark.parametrize(
        "odd",
        [
            None,
            "",
            "many",
            -1,
            float("nan"),
            [],
            {},
            {"a": None},
            len,
            lambda *_: None,
            pd.DataFrame(),
            pd.Series([1.0]),
            object(),
        ],
        ids=lambda odd: type(odd).__name__,
    )
    def test_odd_answers_get_a_hint(self, solved, odd):
        number, answers = solved
        for name in answers:
            found = tl.workshop.check(number, **answers | {name: odd})
            assert found.status == "wrong", f"{name}={odd!r}"
            assert found.words.startswith("Not yet: ") and "\n" not in found.words

    def test_every_answer_can_be_open(self, solved):
        number, answers = solved
        for name in answers:
            assert (
                tl.workshop.check(number, **answers | {name: ...}).words
                == f"{name} is still to be filled in."
            )


class TestCheck:
    def test_an_unknown_exercise_and_wrong_names_are_refused(self):
        with pytest.raises(ValueError, match="unknown exercise 12"):
            tl.workshop.check(12)
        with pytest.raises(
            ValueError, match="exercise 1 also asks for opus_usd, haiku_usd and routed_usd"
        ):
            tl.workshop.check(1, cost=...)

    def test_tiles_fill_as_answers_come_and_escape_what_they_show(self):
        right = TestCostFunction.right()
        words = ["cost", "opus_usd", "haiku_usd", "routed_usd"]
        for count in range(4):
            some = {name: right[name] if i < count else ... for i, name in enumerate(words)}
            found = tl.workshop.check(1, **some)
            assert found.status == "open" and not found.worth
            assert list(found.answers.values()) == ["right"] * count + ["to do"] * (4 - count)
            assert found._repr_html_().count("right</span>") == count
        found = tl.workshop.check(1, **right | {"opus_usd": 7})
        assert list(found.answers.values()) == [
            "right",
            "look again",
            "not yet seen",
            "not yet seen",
        ]
        assert "&lt;b&gt;" in replace(found, words="<b>")._repr_html_()
        # 80 % of $8,000, which is what Haiku saves on a message
        assert tl.workshop.check(1, **right).worth.endswith("worth $6,400 a day.")


@pytest.fixture(scope="module", params=SOLUTIONS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture(scope="module")
def solution(path):
    return nbformat.read(path, as_version=4)


def checks(notebook):
    return [
        c
        for c in notebook.cells
        if c.cell_type == "code" and c.source.startswith("tl.workshop.check(")
    ]


class TestEverySolution:
    """What holds for each notebook."""

    def test_it_has_a_title_minutes_a_goal_and_the_claim_it_is_about(self, path, solution):
        first = solution.cells[0].source
        assert re.match(rf"# {int(path.name[:2])}\. \S.+", first)
        assert re.search(r"\*\*\d+ minutes\.\*\* Goal: ", first) and "**The article:**" in first

    def test_its_check_says_right(self, path, solution):
        (cell,) = checks(solution)
        assert cell.source.startswith(f"tl.workshop.check({int(path.name[:2])}, ")
        (output,) = cell.outputs
        assert re.fullmatch(r"Right\. .*\$\d.*\.", output.data["text/plain"])
        assert "right</span>" in output.data["text/html"]

    def test_it_was_executed_in_order_without_an_error(self, solution):
        code = [cell for cell in solution.cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
        assert not [
            o
            for cell in code
            for o in cell.outputs
            if o.output_type == "error" or o.get("name") == "stderr"
        ]

    def test_it_explains_a_common_mistake_and_goes_further(self, solution):
        hidden = [
            cell.source for cell in solution.cells if build.TAG in cell.metadata.get("tags", [])
        ]
        assert any("<details>" in source and "Common mistake" in source for source in hidden)
        assert any(cell.source.startswith("## For the fast") for cell in solution.cells)

    def test_it_reads_as_slides(self, solution):
        kinds = [cell.metadata["slideshow"]["slide_type"] for cell in solution.cells]
        assert kinds[0] == "slide" and kinds.count("slide") >= 4
        assert set(kinds) <= {"slide", "subslide", "fragment", "skip", "notes", "-"}

    def test_slides_are_made_of_it_without_the_network(self, solution, monkeypatch):
        monkeypatch.setattr(
            socket.socket, "connect", lambda *_: pytest.fail("the network was asked")
        )
        page, _ = SlidesExporter().from_notebook_node(solution)
        kinds = [cell.metadata["slideshow"]["slide_type"] for cell in solution.cells]
        inner = BeautifulSoup(page, "html.parser").select("section > section")
        assert len(inner) == kinds.count("slide") + kinds.count("subslide")
        assert solution.cells[0].source.splitlines()[0].lstrip("# ") in inner[0].get_text()

    def test_its_links_lead_to_the_next_exercise(self, path, solution):
        text = "\n".join(cell.source for cell in solution.cells if cell.cell_type == "markdown")
        links = re.findall(r"\]\(([^)]+\.ipynb)\)", text)
        assert all((path.parent / link).is_file() for link in links)
        after = [other.name for other in SOLUTIONS[SOLUTIONS.index(path) + 1 :]]
        assert not after or after[0] in links

    def test_its_functions_are_short(self, solution):
        nodes = [
            n
            for c in solution.cells
            if c.cell_type == "code"
            for n in ast.walk(ast.parse(c.source))
        ]
        assert not [
            n.name for n in nodes if isinstance(n, ast.FunctionDef) and n.end_lineno - n.lineno >= 6
        ]

    @pytest.mark.full
    def test_its_exercise_runs_unsolved_in_a_kernel(self, path, tmp_path):
        """As a learner would on opening it."""
        notebook = nbformat.read(EXERCISES / path.name, as_version=4)
        NotebookClient(
            notebook,
            timeout=60,
            kernel_name="python3",
            resources={"metadata": {"path": str(tmp_path)}},
        ).execute()
        (cell,) = checks(notebook)
        self.every_answer_is_open(cell, cell.outputs[0].data["text/plain"])

    def test_its_exercise_runs_unsolved_and_every_answer_is_open(self, path, tmp_path, monkeypatch):
        """In a shell of this process: a kernel, which `make full` starts, takes seconds."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # a shell takes it
        shell, seen = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}})), 0
        for cell in nbformat.read(EXERCISES / path.name, as_version=4).cells:
            if cell.cell_type == "code":
                done = shell.run_cell(cell.source)
                done.raise_error()
                if cell.source.startswith("tl.workshop.check("):
                    self.every_answer_is_open(cell, repr(done.result))
                    seen += 1
        assert seen == 1

    @staticmethod
    def every_answer_is_open(cell, said):
        asked = ast.parse(cell.source).body[0].value.keywords
        assert re.search(r" (is|are) still to be filled in\.$", said)
        assert any(keyword.arg in said for keyword in asked)

    def test_its_exercise_holds_no_answer(self, path, solution):
        text = (EXERCISES / path.name).read_text("utf-8")
        assert "<details>" not in text and "## Solution" not in text
        first, second = nbformat.reads(text, as_version=4).cells[:2]
        assert first == solution.cells[0] and second.id == "colab" and "find_spec" in second.source


def test_the_exercises_have_a_check_each_and_fill_three_hours_less_five_minutes():
    assert [int(path.name[:2]) for path in SOLUTIONS] == sorted(CHECKS)
    minutes = [
        re.search(r"\*\*(\d+) minutes", nbformat.read(path, as_version=4).cells[0].source)[1]
        for path in SOLUTIONS
    ]
    assert sum(map(int, minutes)) == 175


def test_nbval_leaves_the_exercises_alone():
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "--nbval",
        "notebooks/workshop",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=paths.ROOT, check=False)
    assert "solutions/01_" in done.stdout and "exercises/" not in done.stdout, (
        done.stdout + done.stderr
    )


def test_binder_installs_the_pinned_packages_and_the_kit():
    folder = paths.ROOT / "binder"
    assert {path.name for path in folder.iterdir()} == {"requirements.txt", "runtime.txt"}
    (line,) = [
        line
        for line in (folder / "requirements.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    pinned = (
        folder / line.removeprefix("-r ")
    ).resolve()  # pip reads it from where the line stands
    assert line.startswith("-r ") and pinned == paths.ROOT / "requirements.txt"
    assert (
        pinned.read_text().splitlines()[-1] == "-e ." and (paths.ROOT / "pyproject.toml").is_file()
    )
    version = re.fullmatch(r"python-3\.(\d+)\n", (folder / "runtime.txt").read_text())[1]
    assert 11 <= int(version) < 15  # requires-python


class TestInstructorPage:
    TEXT = (paths.NOTEBOOKS / "workshop" / "README.md").read_text("utf-8")

    def test_it_has_a_section_with_goal_and_mistakes_for_every_exercise(self):
        sections = dict(re.findall(r"^### (\d+)\.(.*?)(?=^### |\Z)", self.TEXT, re.M | re.S))
        for path in SOLUTIONS:
            title, minutes = self.head(path)
            section = sections[str(int(path.name[:2]))]
            assert section.startswith(f" {title} ({minutes} minutes)\n")
            assert "**Goal.**" in section and "**Common mistakes.**" in section

    def test_its_table_has_the_minutes_and_the_hours(self):
        rows = re.findall(
            r"^\| (\d+) \| \[[^]]+\]\(exercises/(\S+)\) \| (\d+) \| (\d):(\d\d) \|", self.TEXT, re.M
        )
        assert [name for _, name, *_ in rows] == [path.name for path in SOLUTIONS]
        start = 0
        for path, (number, _, minutes, hour, minute) in zip(SOLUTIONS, rows, strict=True):
            assert (int(number), minutes) == (int(path.name[:2]), self.head(path)[1])
            assert 60 * int(hour) + int(minute) == start
            start += int(minutes)

    def test_what_it_names_exists(self):
        targets = [
            target for target in re.findall(r"\]\(([^)]+)\)", self.TEXT) if "://" not in target
        ]
        assert targets and all(
            (paths.NOTEBOOKS / "workshop" / target).is_file() for target in targets
        )

    @staticmethod
    def head(path):
        """Title and minutes, from the first cell."""
        first = nbformat.read(path, as_version=4).cells[0].source
        return re.match(r"# \d+\. (.+)", first)[1], re.search(r"\*\*(\d+) minutes", first)[1]


class TestCostFunction:
    """Exercise 1. The figures are the article's: 5 / 25, 1 / 5 and 0.15 / 0.60 dollars per million tokens."""

    FIGURES = (10_000, 2_000, 3_600)
    RATES = {  # noqa: RUF012
        "claude-opus-4-8": (5, 25),
        "claude-haiku-4-5": (1, 5),
        "gpt-4o-mini": (0.15, 0.6),
        "gpt-5.5": (5, 30),
    }

    @classmethod
    def right(cls):
        def cost(model_id, input_tokens, output_tokens, requests=1):
            into, out = cls.RATES[model_id]
            return requests * (input_tokens * into + output_tokens * out) / 1e6

        return {"cost": cost, "opus_usd": 10_000, "haiku_usd": 2_000, "routed_usd": 3_600}

    def test_right(self):
        assert tl.workshop.check(1, **self.right()).words == "Right."
        solved = namespace(1)
        assert [solved[name] for name in ("opus_usd", "haiku_usd", "routed_usd")] == pytest.approx(
            [10_000, 2_000, 3_600]
        )

    @pytest.mark.parametrize(
        ("change", "kind"),
        [
            (lambda cost: lambda m, i, o, n=1: 1e6 * cost(m, i, o, n), "per million tokens"),
            (lambda cost: lambda m, i, o, n=1: cost(m, o, i, n), "changed places"),
            (lambda cost: lambda m, i, o, n=1: cost(m, i + o, 0, n), "output is priced as input"),
            (lambda cost: lambda m, i, o, n=1: cost(m, 0, i + o, n), "input is priced as output"),
            (
                lambda cost: lambda m, i, o, n=1: cost("claude-opus-4-8", i, o, n),
                "does cost use its model_id",
            ),
            (lambda cost: lambda m, i, o, n=1: cost(m, i, o), "in step with the requests"),
            (
                lambda cost: lambda m, i, o, n=1: cost(m, i, o, n) + (n > 1),
                "in step with the requests",
            ),
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


class TestRatioTable:
    """Exercise 2, by hand: 500 x input + 300 x output, in dollars per million requests."""

    RATIOS = pd.DataFrame(
        {
            "input": [5 / 1, 5 / 0.15, 2 / 0.1],
            "output": [25 / 5, 30 / 0.6, 12 / 0.4],
            "blended": [10_000 / 2_000, 11_500 / 255, 4_600 / 170],
        },
        index=["anthropic", "openai", "google"],
    )
    SAVINGS = {  # noqa: RUF012
        "anthropic": 1 - 6_000 / 10_000,
        "openai": 1 - 4_250 / 11_500,
        "google": 1 - 900 / 4_600,
    }
    HOLDS = {"30-50x": {"openai"}, "5-30x": {"anthropic", "google"}, "40-60 %": {"anthropic"}}  # noqa: RUF012
    FIGURES = (*RATIOS.loc["openai"], *RATIOS.loc["google"], *SAVINGS.values())

    @classmethod
    def right(cls):
        return {"ratios": cls.RATIOS, "mid_savings": cls.SAVINGS, "holds": cls.HOLDS}

    def test_right(self):
        assert tl.workshop.check(2, **self.right()).right
        shuffled = {"ratios": self.RATIOS.iloc[::-1, ::-1], "mid_savings": pd.Series(self.SAVINGS)}
        assert tl.workshop.check(2, **self.right() | shuffled).right
        solved = namespace(2)
        assert solved["holds"] == self.HOLDS and dict(solved["mid_savings"]) == pytest.approx(
            self.SAVINGS
        )

    @pytest.mark.parametrize(
        ("change", "kind"),
        [
            (lambda r: 1 / r, "upside down"),
            (lambda r: r.T, "no row 'anthropic', 'openai', 'google'"),
            (lambda r: r.drop(columns="blended"), "no column 'blended'"),
            (
                lambda r: r.assign(blended=r[["input", "output"]].mean(axis=1)),
                "average of two ratios",
            ),
            (lambda r: r.assign(blended=[5, 35 / 0.75, 14 / 0.5]), "weighs input and output alike"),
            (lambda r: r.assign(input=[5 / 3, 5 / 2.5, 2 / 0.3]), "with the mid tier"),
            (lambda r: r.to_dict(), "asks for a DataFrame"),
        ],
    )
    def test_wrong_ratios(self, change, kind):
        wrong(2, self.right(), {"ratios": change(self.RATIOS)}, kind, self.FIGURES)

    @pytest.mark.parametrize(
        ("change", "kind"),
        [
            (lambda s: {name: 1 - value for name, value in s.items()}, "left to pay"),
            (
                lambda s: {name: 100 * value for name, value in s.items()},
                "a hundred times too large",
            ),
            (lambda s: s | {"openai": 0.5}, "input alone"),
            (lambda s: s | {"openai": 1 - 10 / 30}, "output alone"),
            (lambda s: {"anthropic": s["anthropic"]}, "no entry for 'openai', 'google'"),
        ],
    )
    def test_wrong_savings(self, change, kind):
        wrong(2, self.right(), {"mid_savings": change(self.SAVINGS)}, kind, self.FIGURES)

    @pytest.mark.parametrize(
        ("change", "kind"),
        [
            ({"30-50x": {"openai", "google"}}, "outside the range"),
            ({"5-30x": {"google"}}, "lacks a name .* on a bound is inside"),
            ({"40-60 %": {"antropic"}}, "did you mean 'anthropic'"),
            ({"40-60 %": True}, "a set of names"),
            ({"5-30": set()}, "not asked for: '5-30'"),
        ],
    )
    def test_wrong_verdicts(self, change, kind):
        wrong(2, self.right(), {"holds": self.HOLDS | change}, kind, self.FIGURES)


class TestFiveBuckets:
    """Exercise 3. Sums of the two files' own fields, by hand (uncached, read, 5-minute write, 1-hour write, output)."""

    # haiku, opus, haiku
    ROWS = {  # noqa: RUF012
        "anthropic": [
            (3_000_000, 12_000_000, 800_000, 0, 900_000),
            (500_000, 4_000_000, 200_000, 300_000, 250_000),
            (2_000_000, 6_000_000, 400_000, 0, 600_000),
        ],
        # 5M - 2M, 1.2M - 0.4M, 4M - 1.5M of input
        "openai": [
            (3_000_000, 2_000_000, 0, 0, 700_000),
            (800_000, 400_000, 0, 0, 350_000),
            (2_500_000, 1_500_000, 0, 0, 600_000),
        ],
    }
    ANTHROPIC = (5_500_000, 22_000_000, 1_400_000, 300_000, 1_750_000)
    OPENAI = (6_300_000, 3_900_000, 0, 0, 1_650_000)

    @classmethod
    def table(cls, sums, name="openai"):
        """The file's rows; where the sums are other ones, the first row has the difference."""
        rows = pd.DataFrame(cls.ROWS[name], columns=list(tl.core.tables.TOKEN_COLUMNS))
        rows.iloc[0] += np.array(sums) - rows.sum()
        return rows

    @classmethod
    def right(cls):
        return {
            "anthropic": cls.table(cls.ANTHROPIC, "anthropic"),
            "openai": cls.table(cls.OPENAI),
        }

    def test_right(self):
        assert tl.workshop.check(3, **self.right()).right
        solved = namespace(3)
        for name, sums in (("anthropic", self.ANTHROPIC), ("openai", self.OPENAI)):
            assert tuple(solved[name][list(tl.core.tables.TOKEN_COLUMNS)].sum()) == sums
        # object columns hold the same counts
        assert tl.workshop.check(3, **{n: t.astype(object) for n, t in self.right().items()}).right

    @pytest.mark.parametrize(
        ("name", "change", "kind"),
        [
            (
                "openai",
                (10_200_000, 3_900_000, 0, 0, 1_650_000),
                "counted twice .* hold more tokens than the file",
            ),
            (
                "openai",
                (10_200_000, 0, 0, 0, 1_650_000),
                "counted twice .* as many tokens as the file",
            ),
            (
                "openai",
                (2_400_000, 3_900_000, 0, 0, 1_650_000),
                "taken off twice .* hold fewer tokens",
            ),
            ("openai", (6_300_000, 0, 0, 0, 1_650_000), "cached tokens are missing"),
            (
                "openai",
                (6_300_000, 3_900_000, 1, 0, 1_650_000),
                "cache_write_short_tokens'] is too large",
            ),
            (
                "anthropic",
                (-16_500_000, 22_000_000, 1_400_000, 300_000, 1_750_000),
                "leaves the cached tokens out already",
            ),
            (
                "anthropic",
                (29_200_000, 22_000_000, 1_400_000, 300_000, 1_750_000),
                "the whole input",
            ),
            (
                "anthropic",
                (5_500_000, 22_000_000, 1_700_000, 0, 1_750_000),
                "both times to live are in one",
            ),
            ("anthropic", (5_500_000, 22_000_000, 300_000, 1_400_000, 1_750_000), "changed places"),
            (
                "anthropic",
                (5_500_000, 22_000_000, 0, 300_000, 1_750_000),
                "cache writes are missing",
            ),
        ],
    )
    def test_wrong_sums(self, name, change, kind):
        figures = [figure for figure in (*self.ANTHROPIC, *self.OPENAI) if figure]
        wrong(3, self.right(), {name: self.table(change, name)}, kind, figures)

    @pytest.mark.parametrize(
        ("change", "kind"),
        [
            (lambda t: pd.concat([t, t.tail(1) * 0]), "rows that are not usage"),
            (lambda t: t.head(1), "has lost rows"),
            (
                lambda t: t.drop(columns="cache_write_long_tokens"),
                "no column 'cache_write_long_tokens'",
            ),
            (lambda t: t.assign(cache_write_long_tokens=np.nan), "missing counts"),
            (lambda t: t.astype(str) + " tokens", "not numbers"),
            (lambda t: t.to_dict(), "asks for a DataFrame"),
            (lambda t: pd.concat([t, t]), "rows more than once"),
            (lambda t: t.sum().to_frame().T, "has rows added up"),
            (lambda t: t.assign(output_tokens=t["output_tokens"].to_numpy()[::-1]), "other rows"),
            (lambda t: t.assign(cache_write_long_tokens=None), "missing counts"),
        ],
    )
    def test_wrong_tables(self, change, kind):
        wrong(3, self.right(), {"openai": change(self.table(self.OPENAI))}, kind, self.OPENAI[:2])


class TestOneResponse:
    """Exercise 4. The log's lines of one message: outputs 2, 50, 50 and, in a side chain, 50; written around midnight."""

    RIGHT = {  # noqa: RUF012
        "responses": 1,
        "output_tokens": 50,
        "day": "2026-09-01",
        "over_count": (2 + 50 + 50 + 50) / 50,
    }

    def test_right(self):
        assert tl.workshop.check(4, **self.RIGHT).right
        assert tl.workshop.check(
            4, **self.RIGHT | {"day": pd.Timestamp("2026-09-01T23:59:59.1Z")}
        ).right
        solved = namespace(4)
        assert {name: solved[name] for name in self.RIGHT} == pytest.approx(self.RIGHT)

    @pytest.mark.parametrize(
        ("changes", "kind"),
        [
            ({"responses": 4}, "these are lines"),
            ({"responses": 2}, "side chain"),
            ({"responses": 5}, "client itself"),
            ({"responses": 6}, "all lines of the file"),
            ({"output_tokens": 152}, "every line of a response is added up"),
            ({"output_tokens": 52}, "lines of one response are added up"),
            ({"output_tokens": 100}, "side chain"),
            ({"output_tokens": 2}, "still being answered"),
            ({"day": "2026-09-02"}, "a later line"),
            ({"day": "2026-09-03"}, "not one on which"),
            ({"day": "yesterday-ish"}, "not a date"),
            ({"day": None}, "a date|not one on which"),
            ({"over_count": 50 / 152}, "upside down"),
            ({"over_count": 4}, "lines with responses"),
            ({"over_count": 102 / 50}, "excess alone"),
        ],
    )
    def test_wrong(self, changes, kind):
        wrong(4, self.RIGHT, changes, kind, (50, 1, 3.04))
        assert "09-01" not in tl.workshop.check(4, **self.RIGHT | changes).words


class TestShapeTable:
    """Exercise 5. o4-mini at 1.10 / 4.40 and Haiku 4.5 at 1 / 5: equal at 0.10 i = 0.60 o, six input tokens per output token."""

    RATES = {  # noqa: RUF012
        "claude-haiku-4-5": (1, 5),
        "claude-sonnet-4-6": (3, 15),
        "claude-opus-4-8": (5, 25),
        "gpt-4o-mini": (0.15, 0.6),
        "gpt-4o": (2.5, 10),
        "gpt-5.5": (5, 30),
        "gemini-2.5-flash-lite": (0.1, 0.4),
        "gemini-3.5-flash": (1.5, 9),
        "gemini-3.1-pro-preview": (2, 12),
        "o3": (2, 8),
        "o4-mini": (1.1, 4.4),
    }
    TOKENS = {  # noqa: RUF012
        "conversation": (22_361_870 / 19_366, 4_088_665 / 19_366),
        "code": (18_059_974 / 8_819, 245_896 / 8_819),
    }

    @classmethod
    def usd(cls, swap=False):
        return pd.DataFrame(
            {
                shape: {
                    m: (i * tokens[swap] + o * tokens[not swap]) / 1e3
                    for m, (i, o) in cls.RATES.items()
                }
                for shape, tokens in cls.TOKENS.items()
            }
        )

    @classmethod
    def right(cls):
        return {"per_1000": cls.usd(), "flipped": {"o4-mini", "claude-haiku-4-5"}, "break_even": 6}

    def test_right(self):
        assert tl.workshop.check(5, **self.right()).right
        assert tl.workshop.check(
            5, **self.right() | {"flipped": ["Claude Haiku 4.5", "openai/o4-mini"]}
        ).right
        solved = namespace(5)
        pd.testing.assert_frame_equal(
            solved["per_1000"], self.usd(), check_like=True, check_names=False
        )
        assert solved["flipped"] == self.right()["flipped"] and solved[
            "break_even"
        ] == pytest.approx(6)

    @pytest.mark.parametrize("source", ["article", "maintained"])
    def test_the_nine_of_the_article_do_not_change_places(self, source):
        prices = tl.load_prices(source, as_of="2026-06-12")
        rates = (
            prices.in_force().query("context_above == 0").set_index("model_id").loc[prices.models()]
        )
        usd = {
            shape: i * rates["uncached_input"] + o * rates["output"]
            for shape, (i, o) in self.TOKENS.items()
        }
        assert (
            list(usd["code"].sort_values().index) == list(usd["conversation"].sort_values().index)
            and len(rates) == 9
        )

    @pytest.mark.parametrize(
        ("change", "kind"),
        [
            (lambda usd: usd / 1e3, "a thousand times too small"),
            (lambda usd: usd * 19.366, "the whole trace"),
            (lambda usd: TestShapeTable.usd(swap=True), "changed places"),
            (
                lambda usd: usd.rename(columns={"code": "conversation", "conversation": "code"}),
                "the other shape",
            ),
            (lambda usd: usd.drop("o3"), "no row 'o3'"),
            (lambda usd: usd.T, "no row"),
        ],
    )
    def test_wrong_tables(self, change, kind):
        wrong(
            5, self.right(), {"per_1000": change(self.usd())}, kind, self.usd().to_numpy().ravel()
        )

    @pytest.mark.parametrize(
        ("changes", "kind"),
        [
            ({"flipped": {"o3", "gpt-4o"}}, "cheaper one in both shapes"),
            ({"flipped": {"o4-mini"}}, "not a pair"),
            ({"flipped": {"o4-mini", "haiku"}}, "unknown model 'haiku'"),
            ({"flipped": {"o4-mini", "gpt-6-luna"}}, "table has no model"),
            ({"break_even": 1 / 6}, "upside down"),
            ({"break_even": -6}, "the sign"),
            ({"break_even": 1.1}, "input rates alone"),
        ],
    )
    def test_wrong_answers(self, changes, kind):
        wrong(5, self.right(), changes, kind, (6,))
        words = tl.workshop.check(5, **self.right() | changes).words
        assert "flipped" not in changes or not {"claude-haiku-4-5", "o4-mini"} & set(
            re.findall(r"[\w-]+", words)
        )

    @pytest.mark.skipif(
        "TIERLAB_DATA_DIR" not in os.environ,
        reason="TIERLAB_DATA_DIR names no folder with the public data",
    )
    def test_the_sums_are_those_of_the_traces(self):
        shapes = pd.read_csv(paths.DATA / "workshop" / "shapes.csv", index_col="shape")
        for shape, name in shapes["dataset"].items():
            raw = pd.read_csv(tl.datasets.path(name))
            found = [len(raw), raw["ContextTokens"].sum(), raw["GeneratedTokens"].sum()]
            assert (
                found == shapes.loc[shape, ["requests", "input_tokens", "output_tokens"]].tolist()
            )
            assert (
                raw["ContextTokens"].max() <= 200_000
            )  # below every context step, so the mean prices exactly
