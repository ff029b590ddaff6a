"""Parameters are checked before anything runs; pages hold everything they need and run nothing; stale outputs are found."""

import base64
import json
import shutil
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tierlab.core import paths
from tierlab.core.files import MANIFEST, OutputFolder
from tierlab.pages import page as pages_page
from tierlab.pages import parameters, run

TINY = Path(__file__).parents[1] / "data" / "tiny.ipynb"
DOT = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)><a href='javascript:alert(3)'>x</a>"
CELL = """\
requests: int = 1_000  # requests per day, 1..1_000_000
share: float = 0.8  # share for the small model, 0..1
error_cost_usd: float = 2.0  # USD per wrong answer, above 0
tier: str = "small"  # one of small, mid, flagship; the default tier
trace: str = "simulated"  # one of simulated, azure_conv, or a path
as_of: str = "2026-06-12"  # prices as of this day, ISO date
models: list[str] = ["gpt-4o"]  # one of gpt-4o, o3
seed: int | None = None  # None draws nothing
verbose: bool = False"""


def write(folder, name, *sources, parameters="n: int = 1  # 1..10"):
    cells = [new_markdown_cell(f"# What is {name}?\n\nIt is short. It has two sentences.")]
    cells.append(new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    cells += [new_code_cell(source) for source in sources]
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    path = folder / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def notebook_with(*outputs, markdown="# Is it safe?\n\nYes.", metadata=None):
    cell = new_code_cell(
        "show()", outputs=[new_output("display_data", data, metadata=m) for data, m in outputs]
    )
    return new_notebook(cells=[new_markdown_cell(markdown), cell], metadata=metadata or {})


def soup_of(notebook, **options):
    return BeautifulSoup(pages_page.page(notebook, stem="page", **options)[0], "html.parser")


def assert_harmless(html):
    """Nothing is loaded, and nothing runs but the page's own script."""
    soup = BeautifulSoup(html, "html.parser")
    assert len(soup("script")) == 1 and soup.script.string == (
        Path(pages_page.__file__).parent / "templates/tables.js"
    ).read_text("utf-8")
    assert not soup(["link", "iframe", "object", "embed", "base", "form", "video", "audio", "svg"])
    for element in soup(True):
        for name, value in element.attrs.items():
            assert not name.startswith("on"), (element.name, name)
            if name in ("src", "srcset", "poster", "background", "data"):
                assert value.startswith("data:image/"), (element.name, value[:80])
            if name == "href":
                assert not value.lower().lstrip().startswith(("javascript:", "data:")), value
    assert (
        len(soup("style")) == 1
        and "@import" not in soup.style.string
        and "url(" not in soup.style.string
    )
    policy = soup.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    assert policy.startswith("default-src 'none'; img-src data:;") and "unsafe" not in policy


@pytest.fixture(scope="module")
def declared():
    return parameters.declared(
        new_notebook(cells=[new_code_cell(CELL, metadata={"tags": ["parameters"]})])
    )


@pytest.fixture(scope="module")
def tiny_report(tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    run.run([TINY], parameters={"requests": 5, "label": ATTACK}, out=out)
    return out


class TestParameters:
    @given(st.integers(-10, 10**12), st.integers(-10, 10**12), st.integers(0, 10**12))
    def test_a_whole_number_survives_and_is_checked_against_both_ends(self, number, low, more):
        found = parameters.Parameter("n", "int", 0, "", low=low, high=low + more)
        assert found.parse(str(number)) == found.parse(f"{number:_}") == number
        if low <= number <= low + more:
            assert found.check(number) == number
        else:
            with pytest.raises(ValueError, match="out of range"):
                found.check(number)

    @given(st.floats(allow_nan=False, allow_infinity=False))
    def test_a_fraction_survives_its_text(self, number):
        assert parameters.Parameter("x", "float", 0.0, "").parse(repr(number)) == number

    @pytest.mark.parametrize(
        ("name", "text", "value"),
        [
            ("requests", "1e5", 100_000),
            ("requests", "12_000", 12_000),
            ("share", "1", 1.0),
            ("tier", "mid", "mid"),
            ("as_of", "2026-11-23", "2026-11-23"),
            ("models", "gpt-4o, o3", ["gpt-4o", "o3"]),
            ("models", "[o3]", ["o3"]),
            ("seed", "none", None),
            ("seed", "7", 7),
            ("verbose", "true", True),
        ],
    )
    def test_a_text_becomes_the_declared_type(self, declared, name, text, value):
        found = parameters.checked({name: text}, declared)[name]
        assert found == value and type(found) is type(value)

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("reqests", 1, "unknown parameter 'reqests'; did you mean 'requests'?"),
            ("requests", "five", "requests = 'five' is not of type int"),
            ("requests", True, "requests = True is not of type int"),
            ("requests", 0, "requests = 0 is out of range: 1 to 1,000,000"),
            ("share", 1.2, "share = 1.2 is out of range: 0 to 1"),
            ("share", float("nan"), "share = nan is not of type float"),
            ("error_cost_usd", 0, "error_cost_usd = 0 is out of range: above 0"),
            ("tier", "smal", "unknown value 'smal'; did you mean 'small'?"),
            ("trace", "azure_cov", r"did you mean 'azure_conv'\? \(nor a file\)"),
            ("as_of", "12 June", "as_of = '12 June' is not an ISO date"),
            ("models", 3, r"models = 3 is not of type list\[str\]"),
            ("models", ["o3", "o4"], "unknown value 'o4'"),
        ],
    )
    def test_a_wrong_value_is_named_with_what_is_allowed(self, declared, name, value, message):
        with pytest.raises(ValueError, match=message):
            parameters.checked({name: value}, declared)

    @pytest.mark.parametrize(
        ("name", "text"),
        [("requests", "many"), ("requests", "1.5"), ("verbose", "1"), ("models", "[")],
    )
    def test_a_text_of_another_type_is_refused(self, declared, name, text):
        with pytest.raises(ValueError, match="is not of type"):
            parameters.checked({name: text}, declared)

    def test_a_path_is_made_absolute(self, declared, tmp_path, monkeypatch):
        (tmp_path / "own.csv").write_text("x")
        monkeypatch.chdir(tmp_path)
        assert parameters.checked({"trace": "own.csv"}, declared)["trace"] == str(
            (tmp_path / "own.csv").resolve()
        )

    @pytest.mark.parametrize(
        ("cell", "message"),
        [
            ("n = 1", "is not of the form"),
            ("n: int = 2 * 3", "is not of the form"),
            ("n: integer = 2", "unknown type 'integer'; did you mean 'int'?"),
            ("n: int = 11  # 1..10", "the default contradicts its declaration"),
            ("n: int = 'one'", "the default contradicts its declaration"),
        ],
    )
    def test_a_cell_that_cannot_be_read_is_refused(self, cell, message):
        with pytest.raises(ValueError, match=message):
            parameters.declared(
                new_notebook(cells=[new_code_cell(cell, metadata={"tags": ["parameters"]})])
            )

    def test_a_file_keeps_texts_for_the_declared_type_to_read(self, tmp_path):
        file = tmp_path / "p.yaml"
        file.write_text("as_of: 2026-11-23\nrequests: 1e5\nverbose: no\nother:\n  seed: 1\n")
        assert parameters.read_file(file) == {
            "as_of": "2026-11-23",
            "requests": "1e5",
            "verbose": "no",
            "other": {"seed": "1"},
        }

    @pytest.mark.parametrize("text", ["- a\n- b\n", "a: [1\n", "\x00"])
    def test_a_file_that_is_not_a_mapping_is_named(self, tmp_path, text):
        file = tmp_path / "p.yaml"
        file.write_text(text)
        with pytest.raises(ValueError, match=r"p\.yaml"):
            parameters.read_file(file)


class TestRun:
    def test_nothing_runs_before_every_value_is_checked(self, tmp_path):
        marker = tmp_path / "ran"
        first = write(tmp_path, "first", f"open({str(marker)!r}, 'w').close()")
        second = write(tmp_path, "second", parameters="share: float = 0.5  # 0..1")
        with pytest.raises(ValueError, match="second: share = 2 is out of range"):
            run.run([first, second], parameters={"share": 2}, out=tmp_path / "out")
        assert not marker.exists()

    def test_a_value_goes_to_the_notebooks_that_declare_it_and_to_the_one_that_is_named(
        self, tmp_path
    ):
        first, second = (
            write(tmp_path, "first"),
            write(tmp_path, "second", parameters="n: int = 1\nm: int = 1"),
        )
        chosen = run.assign([first, second], {"m": 2, "n": 3, "second": {"n": 4}})
        assert chosen == {first: {"n": 3}, second: {"m": 2, "n": 4}}

    def test_a_notebook_runs_again_when_an_input_changed_and_only_then(self, tmp_path, monkeypatch):
        ran = []

        def pretend(jobs, **_):
            for source, target, values in jobs:
                ran.append(values)
                notebook = nbformat.read(source, as_version=4)
                target.parent.mkdir()
                nbformat.write(notebook, target)
                yield source, None

        def runs(**options):
            ran.clear()
            run.run([source], out=tmp_path / "out", **options)
            return bool(ran)

        monkeypatch.setattr(run, "_execute_all", pretend)
        monkeypatch.setattr(paths, "DATA", tmp_path / "data")
        (tmp_path / "data").mkdir()
        own = tmp_path / "own.csv"
        own.write_text("1")
        source = write(
            tmp_path, "count", parameters='n: int = 1\ntrace: str = "a"  # one of a, or a path'
        )
        assert runs() and not runs()
        assert runs(force=True)
        assert runs(parameters={"n": 2}) and not runs(parameters={"n": 2})
        assert runs(parameters={"trace": str(own)}) and not runs(parameters={"trace": str(own)})
        own.write_text("2")
        assert runs(parameters={"trace": str(own)})
        (tmp_path / "data" / "prices.csv").write_text("1")
        assert runs(parameters={"trace": str(own)}) and runs() and not runs()
        write(tmp_path, "count", "n + 1")
        assert runs() and not runs()

    def test_a_later_run_of_one_notebook_keeps_the_pages_of_the_others(self, tmp_path):
        first, second = write(tmp_path, "first", "n"), write(tmp_path, "second", "n")
        out = tmp_path / "out"
        run.run([first, second], parameters={"n": 2}, out=out)
        write(tmp_path, "second", "n", "1 / 0")
        with pytest.raises(run.NotebookError, match="ZeroDivisionError"):
            run.run([second], out=out)
        links = BeautifulSoup((out / "index.html").read_text("utf-8"), "html.parser")("a")
        assert [link["href"] for link in links] == ["first.html"]
        assert sorted(path.name for path in out.glob("*.html")) == ["first.html", "index.html"]
        write(tmp_path, "second", "n", "n + 1")
        run.run([second], out=out)
        assert (out / "first.html").is_file() and "n = 2" in (out / "first.html").read_text("utf-8")
        assert (out / "second.html").is_file()

    def test_a_failure_is_named_and_the_other_notebooks_are_finished(self, tmp_path):
        bad, good, slow = (
            write(tmp_path, name, source)
            for name, source in (
                ("bad", "1 / 0"),
                ("good", "n"),
                ("slow", "import time; time.sleep(60)"),
            )
        )
        with pytest.raises(
            run.NotebookError, match=r"bad\.ipynb: cell 2 failed with ZeroDivisionError"
        ) as failure:
            run.run(
                [bad, good, slow], out=tmp_path / "out", timeout=8
            )  # a busy machine's kernel answers late
        assert "slow.ipynb: CellTimeoutError" in str(failure.value)
        assert sorted(p.name for p in (tmp_path / "out").glob("*.html")) == [
            "good.html",
            "index.html",
        ]

    def test_a_line_tells_which_notebook_is_done_of_how_many(self, tmp_path, capsys):
        good, bad = write(tmp_path, "good", "n"), write(tmp_path, "bad", "1 / 0")
        with pytest.raises(run.NotebookError):
            run.run([good, bad], out=tmp_path / "out")
        lines = capsys.readouterr().err.splitlines()
        assert {line[:6] for line in lines} == {"1 of 2", "2 of 2"}
        assert {line.split(": ")[1] for line in lines} == {"good", "bad failed"}

    def test_the_committed_figures_are_left_alone(self, tiny_report):
        assert (tiny_report / "figures" / "tiny.png").is_file()
        assert not (paths.ROOT / "figures" / "tiny.png").exists()


class TestPages:
    def test_an_executed_notebook_needs_nothing_and_runs_nothing(self, tiny_report):
        for path in tiny_report.glob("*.html"):
            assert_harmless(path.read_text("utf-8"))

    def test_what_a_reader_needs_is_there_and_code_is_folded(self, tiny_report):
        text = (tiny_report / "tiny.html").read_text("utf-8")
        soup = BeautifulSoup(text, "html.parser")
        assert (
            soup.html["lang"] == "en" and soup.title.string == "What does a thousand requests cost?"
        )
        assert [img["alt"] for img in soup("img")] == [
            "bars: a costs less than b",
            "bars at the chosen height",
        ]
        folds = [fold.extract() for fold in soup.select("details.code:not([open])")]
        assert "DataFrame" in folds[0].get_text() and folds[0].summary.string == "Code"
        assert "DataFrame" not in soup.get_text() and "savefig" not in soup.get_text()
        assert "Interactive in JupyterLab; here: height 1." in soup.get_text()
        assert soup.find("mfrac") and "5 requests, tier" in soup.get_text()
        assert (
            soup.find("th", string="model")["scope"] == "col"
            and soup.find("th", string="0")["scope"] == "row"
        )
        assert soup.find("td", string="0.05")["class"] == ["num"] and not soup.find(
            "td", string="a"
        ).get("class")

    @pytest.mark.parametrize(
        ("columns_name", "rows"),
        [(None, [["provider", "small"]]), ("tier", [["tier", "small"], ["provider", ""]])],
    )
    def test_the_name_of_an_index_needs_no_header_row_of_its_own(self, columns_name, rows):
        table = pd.DataFrame(
            {"small": ["a-1"]}, index=pd.Index(["anthropic"], name="provider")
        ).rename_axis(columns=columns_name)
        soup = soup_of(notebook_with(({"text/html": table.to_html()}, {})))
        assert [[th.get_text() for th in tr("th")] for tr in soup.select("thead tr")] == rows
        assert [cell.get_text() for cell in soup.select("tbody tr *")] == ["anthropic", "a-1"]

    def test_code_that_shows_nothing_shares_a_fold_and_a_page_that_stands_alone_has_none(self):
        notebook = notebook_with(({"text/plain": "7"}, {}))
        notebook.cells[1:1] = [new_code_cell("a = 1"), new_code_cell("b = '<b>'")]
        folds = soup_of(notebook, pages={"page": "Is it safe?"}).select("details.code")
        assert [[pre.string for pre in fold("pre")] for fold in folds] == [
            ["a = 1", "b = '<b>'", "show()"]
        ]
        assert "show()" not in soup_of(notebook).main.get_text()

    def test_a_page_has_its_contents_and_leads_to_the_page_before_and_the_next(self):
        pages = {"00_a": "A?", "page": "Is it safe?", "02_c": "Is <c> last?"}
        words = "# Is it *safe*?\n\nYes.\n\n## One\n\n## Two & three\n\n## Last"
        shown = notebook_with(({"text/markdown": "## Not a section"}, {}), markdown=words)
        soup = soup_of(shown, pages=pages)
        assert soup.title.string == "Is it safe?"
        contents = soup.select("aside a")
        assert [link.string for link in contents] == ["One", "Two & three", "Last"]
        assert all(soup.find("h2", id=link["href"][1:]) for link in contents)
        for way, href, title in (
            ("prev", "00_a.html", "A?"),
            ("next", "02_c.html", "Is <c> last?"),
        ):
            links = soup("a", rel=way)
            assert len(links) == 2 and {link["href"] for link in links} == {href}
            assert {link.find(class_="title").string for link in links} == {title}
        first = soup_of(shown, pages={"page": "Is it safe?", "02_c": "C?"})
        assert not first("a", rel="prev") and len(first("a", rel="next")) == 2
        assert not soup_of(shown)("a", rel=True)

    def test_each_cell_has_the_label_of_its_column_and_each_row_those_it_is_part_of(self):
        index = pd.MultiIndex.from_product(
            [["openai", "google"], ["small", "mid"]], names=["provider", "tier"]
        )
        columns = pd.MultiIndex.from_tuples([("price (USD)", "low"), ("price (USD)", "high")])
        table = pd.DataFrame([[1, 2], [3, 4], [5, 6], [7, 8]], index=index, columns=columns)
        soup = soup_of(notebook_with(({"text/html": table.to_html()}, {})))
        rows = [
            [(cell["data-label"], cell.get_text()) for cell in row(["th", "td"])]
            for row in soup.select("main .table tbody tr")
        ]
        assert rows[1] == [
            ("provider", "openai"),
            ("tier", "mid"),
            ("price (USD) low", "3"),
            ("price (USD) high", "4"),
        ]
        assert [row[0][1] for row in rows] == ["openai", "openai", "google", "google"]
        assert not soup.select("[rowspan]") and len(soup.select("td.num")) == 8

    def test_a_dollar_sign_stays_with_its_number_in_a_card(self):
        table = "<table><tbody><tr><td><span>$</span>25</td><td>7</td></tr></tbody></table>"
        cells = soup_of(notebook_with(({"text/html": table}, {})))("td")
        assert [[str(part) for part in cell.contents] for cell in cells] == [
            ["<span><span>$</span>25</span>"],
            ["7"],
        ]

    def test_a_table_is_a_card_on_a_phone_only_if_it_has_to_be(self):
        narrow = pd.DataFrame({"verdict": ["supported"], "claims": [70]})
        wide = pd.DataFrame({f"a heading of column {n}": [n] for n in range(12)})
        tables = [
            soup_of(notebook_with(({"text/html": table.to_html(index=False)}, {}))).table
            for table in (narrow, wide)
        ]
        assert [table.get("class", []) for table in tables] == [[], ["wide", "dense"]]

    def test_a_missing_count_stays_among_the_numbers(self):
        table = pd.DataFrame({"tokens": pd.array([None, 5], "Int64")})
        soup = soup_of(notebook_with(({"text/html": table.to_html()}, {})))
        assert [cell.get_text() for cell in soup("td", class_="num")] == ["<NA>", "5"]

    def test_the_index_shows_question_sentence_figure_and_changed_parameters(self, tiny_report):
        card = BeautifulSoup((tiny_report / "index.html").read_text("utf-8"), "html.parser").li
        assert (
            card.a["href"] == "tiny.html" and card.a.string == "What does a thousand requests cost?"
        )
        assert card.p.string == "A small notebook for the tests of the report."
        assert card.img["alt"] == "bars: a costs less than b"
        assert card.find(class_="changed").get_text() == f"requests = 5, label = {ATTACK}"

    @pytest.mark.parametrize("kind", ["text/html", "text/markdown", "text/plain", "image/svg+xml"])
    def test_markup_in_an_output_stays_data(self, kind):
        notebook = notebook_with(({kind: f"<svg onload='x()'>{ATTACK}</svg>"}, {}))
        page, _ = pages_page.page(notebook, stem="page")
        assert_harmless(page)

    def test_markup_in_a_cell_or_a_control_stays_data(self):
        state = {"m": {"model_name": "HTMLModel", "state": {"value": ATTACK}}}
        widgets = {"widgets": {"application/vnd.jupyter.widget-state+json": {"state": state}}}
        view = {
            "application/vnd.jupyter.widget-view+json": {"model_id": "m"},
            "text/plain": "HTML()",
        }
        page, _ = pages_page.page(
            notebook_with((view, {}), markdown=f"# Safe?\n\n{ATTACK}", metadata=widgets),
            stem="page",
        )
        assert_harmless(page)

    def test_a_network_image_becomes_its_alternative_text(self):
        soup = soup_of(notebook_with(markdown="# Q?\n\n![a chart](https://example.org/x.png)"))
        assert not soup("img") and "[image: a chart]" in soup.get_text()

    def test_a_list_of_tasks_keeps_its_ticks(self):
        soup = soup_of(notebook_with(markdown="# Q?\n\n- [x] counted\n- [ ] tested"))
        assert [item.get_text() for item in soup.main("li")] == ["\u2611 counted", "\u2610 tested"]

    def test_alternative_text_is_kept_as_text(self):
        png = {"image/png": DOT, "text/plain": "<Figure>"}
        soup = soup_of(notebook_with((png, {"image/png": {"alt": 'rises "fast" & <b>far</b>'}})))
        assert soup.img["alt"] == 'rises "fast" & <b>far</b>'

    def test_a_link_to_a_notebook_leads_to_its_page_if_there_is_one(self):
        soup = soup_of(
            notebook_with(markdown="# Q?\n\n[a](01_x.ipynb#top) [b](02_y.ipynb)"),
            pages={"01_x": "What is x?"},
        )
        assert [a["href"] for a in soup.main("a", class_=None)] == ["01_x.html#top"]

    @pytest.mark.parametrize(
        "formula",
        [
            r"h^* = \frac{m_w - 1}{m_w - m_r}",
            r"\sum_{i=1}^{n} c_i \times 10^{-6}",
            r"\text{cost} \le 5",
        ],
    )
    def test_a_formula_is_readable_without_a_script(self, formula):
        soup = soup_of(notebook_with(markdown=f"# Q?\n\n$${formula}$$"))
        assert soup.math["display"] == "block" and "\\" not in soup.math.get_text()

    def test_a_formula_that_cannot_be_converted_is_shown_as_it_is(self):
        assert (
            soup_of(notebook_with(markdown="# Q?\n\n" + r"$\beta^$")).find("code").string
            == r"\beta^"
        )

    def test_dollar_amounts_are_not_a_formula(self):
        assert (
            "costs $10,000 or $2,000 a day"
            in soup_of(
                notebook_with(markdown="# Q?\n\nIt costs \\$10,000 or \\$2,000 a day.")
            ).get_text()
        )

    def test_a_progress_bar_is_not_a_result(self):
        bar = {"model_name": "FloatProgressModel", "state": {"description": "", "value": 3.0}}
        box = {"model_name": "HBoxModel", "state": {"children": ["IPY_MODEL_bar"]}}
        widgets = {
            "widgets": {
                "application/vnd.jupyter.widget-state+json": {"state": {"box": box, "bar": bar}}
            }
        }
        view = {"application/vnd.jupyter.widget-view+json": {"model_id": "box"}}
        assert "Interactive" not in soup_of(notebook_with((view, {}), metadata=widgets)).get_text()


class TestRefresh:
    def test_what_changed_is_found_and_rewritten(self, tmp_path, monkeypatch):
        folder = tmp_path / "notebooks"
        folder.mkdir()
        names = ("01_fresh.ipynb", "02_image.ipynb", "03_text.ipynb")
        for name in names:
            shutil.copyfile(TINY, folder / name)
        figures = tmp_path / "figures"
        figures.mkdir()
        made = OutputFolder(figures)
        made.write("tiny.png", b"not the figure")
        made.write("orphan.png", b"")
        (figures / "mine.png").write_bytes(b"a person's")
        self.change(folder / names[1], "image/png", lambda data: data[: len(data) // 8 * 4])
        self.change(folder / names[2], "text/plain", lambda text: text.replace("10.0", "10.1"))
        monkeypatch.setattr(paths, "NOTEBOOKS", folder)

        stale = run.refresh(check=True, figures=figures)
        assert [line.split(":")[0] for line in stale] == [
            *names[1:],
            "figures/orphan.png",
            "figures/tiny.png",
        ]
        assert "outputs changed" in stale[0] and (figures / "orphan.png").exists()

        assert run.refresh(figures=figures) == stale
        assert all((folder / name).read_bytes() == TINY.read_bytes() for name in names)
        assert {p.name for p in figures.iterdir()} == {"tiny.png", "mine.png", MANIFEST}

    @staticmethod
    def change(path, kind, edit):
        notebook = json.loads(path.read_text("utf-8"))
        data = next(
            o["data"]
            for c in notebook["cells"]
            for o in c.get("outputs", [])
            if kind in o.get("data", {})
        )
        before = data[kind]
        data[kind] = [edit(line) for line in before] if isinstance(before, list) else edit(before)
        assert data[kind] != before
        path.write_text(
            json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n", "utf-8"
        )
