"""The form of a notebook that tells a story: the answer first, findings, what is specialist matter in an appendix."""

import re

import nbformat
import pytest

from tierlab.core import paths

STORIES = (
    "01_pricing",
    "02_scaling_costs",
    "05_live_sampling",
    "06_speed_and_waiting",
    "07_limits_and_windows",
    "08_reasoning",
    "09_distillation",
    "10_article_claims",
)


@pytest.fixture(scope="module", params=STORIES)
def cells(request):
    return nbformat.read(paths.NOTEBOOKS / f"{request.param}.ipynb", as_version=4).cells


def heading(cells, start):
    return next(i for i, cell in enumerate(cells) if f"\n{start}" in f"\n{cell.source}")


def tables(cell):
    """Tables that are open on the page: not those of a finding, whose rows belong to its picture."""
    shown = [output.get("data", {}).get("text/html", "") for output in cell.get("outputs", [])]
    return sum("<table" in html for html in shown) * ("tl.finding(" not in cell.source)


def test_the_answer_stands_first_and_its_first_output_is_a_claim_with_its_figure(cells):
    answer = heading(cells, "## The answer")
    code = [cell for cell in cells[answer:] if cell.cell_type == "code"]
    first = next(cell for cell in code if cell.outputs)
    assert answer <= 4 and "tl.finding(" in first.source
    assert next(iter(first.outputs[1].data)) == "image/png"


def test_at_most_25_cells_and_8_of_an_appendix(cells):
    appendix, limits = heading(cells, "## Appendix"), heading(cells, "## Limits")
    assert limits - appendix <= 8 and len(cells) - (limits - appendix) <= 25
    order = [heading(cells, f"## {name}") for name in ("Limits", "Recap", "Exercises")]
    assert order == sorted(order) and appendix < order[0]


def test_four_findings_and_at_most_five_open_tables(cells):
    before = cells[: heading(cells, "## Appendix")]
    titles = re.findall(
        r"^## (.*)", "\n".join(c.source for c in before if c.cell_type == "markdown"), re.M
    )
    assert len(titles) == 5 and titles[0] == "The answer"
    assert sum("tl.finding(" in cell.source for cell in before) == 5
    assert sum(map(tables, cells)) <= 5


def test_no_cell_only_prints_prose_and_sentences_fold_their_source(cells):
    for cell in cells:
        if cell.cell_type == "code":
            told = re.search(r"^tl\.(finding|say|show)\(", cell.source, re.M)
            assert cell.metadata.get("jupyter", {}).get("source_hidden", False) == bool(told)
            assert "Markdown(" not in cell.source
            assert told or len(cell.source.splitlines()) <= 10


def test_a_check_closes_the_exercises(cells):
    assert cells[-1].source.startswith("tl.workshop.check(")
    assert cells[-1].outputs[0].data["text/plain"].endswith("still to be filled in.")


def test_the_report_asks_six_questions_and_each_has_one_finding():
    cells = nbformat.read(paths.NOTEBOOKS / "90_quarterly_report.ipynb", as_version=4).cells
    begin, end = heading(cells, "## When did spend change?"), heading(cells, "## Limits")
    brief = cells[begin:end]
    assert [("## " in c.source, "tl.finding(" in c.source) for c in brief] == [
        (True, False),
        (False, True),
    ] * 6
    assert all(c.source.count("?") for c in brief[::2])
    assert sum("tl.finding(" in c.source for c in cells) == 6
