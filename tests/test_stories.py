"""The form of a notebook that tells a story: the answer first, findings, what is specialist matter in an appendix."""

import re

import nbformat
import pytest

from tierlab.core import paths

STORIES = sorted(path.stem for path in paths.NOTEBOOKS.glob("*.ipynb"))
SHORT = {"00_start_here"}  # an answer and where to go from it, without findings of its own
OWN_FORM = {
    "04_routing",
    "90_quarterly_report",
}  # with conversations; six questions of a department
MORE_CELLS = {"04_routing": 26, "90_quarterly_report": 30}
FINDINGS = [stem for stem in STORIES if stem not in SHORT | OWN_FORM]


def read(stem):
    return nbformat.read(paths.NOTEBOOKS / f"{stem}.ipynb", as_version=4).cells


@pytest.fixture(scope="module", params=STORIES)
def story(request):
    return request.param, read(request.param)


@pytest.fixture(scope="module", params=FINDINGS)
def cells(request):
    return read(request.param)


def heading(cells, start):
    return next(i for i, cell in enumerate(cells) if f"\n{start}" in f"\n{cell.source}")


def tables(cell):
    """Tables that are open on the page: not those of a finding, whose rows belong to its picture."""
    shown = [output.get("data", {}).get("text/html", "") for output in cell.get("outputs", [])]
    return sum("<table" in html for html in shown) * ("tl.finding(" not in cell.source)


def headings(cells):
    words = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return re.findall(r"^## (.*)", words, re.M)


def test_a_story_is_short_and_begins_with_its_answer(story):
    stem, cells = story
    heads = headings(cells)
    assert heads[0] == "The answer"
    assert {"Limits", "Recap", "Exercises"} <= set(heads)
    titles = [head for head in heads if head.startswith("Appendix")]
    appendix = 0
    if titles:
        begin, limits = heading(cells, "## Appendix"), heading(cells, "## Limits")
        appendix = (limits if limits > begin else len(cells)) - begin
    assert len(titles) <= 1 and appendix <= 8
    assert len(cells) - appendix <= MORE_CELLS.get(stem, 25)


def test_few_tables_are_open(story):
    assert sum(map(tables, story[1])) <= 5


def test_no_cell_only_prints_prose_and_sentences_fold_their_source(story):
    for cell in story[1]:
        if cell.cell_type == "code":
            told = re.search(r"^ *tl\.(finding|say|show)\(", cell.source, re.M)
            folded = cell.metadata.get("jupyter", {}).get("source_hidden", False)
            assert folded == bool(told) or (folded and story[0] in OWN_FORM), cell.id
            assert "Markdown(" not in cell.source
            short = len(cell.source.splitlines()) <= 10
            assert told or short or "parameters" in cell.metadata.get("tags", []), cell.id


def test_the_answer_stands_first_and_its_first_output_is_a_claim_with_its_figure(cells):
    answer = heading(cells, "## The answer")
    code = [cell for cell in cells[answer:] if cell.cell_type == "code"]
    first = next(cell for cell in code if cell.outputs)
    assert answer <= 5 and "tl.finding(" in first.source
    assert next(iter(first.outputs[1].data)) == "image/png"


def test_four_findings_follow_the_answer(cells):
    before = cells[: heading(cells, "## Appendix")]
    assert len(headings(before)) == 5
    assert sum("tl.finding(" in cell.source for cell in before) == 5


def test_a_check_closes_the_exercises(cells):
    assert cells[-1].source.startswith("tl.workshop.check(")
    assert cells[-1].outputs[0].data["text/plain"].endswith("still to be filled in.")


def test_the_report_asks_five_questions_and_each_has_one_finding_and_the_appendix_one():
    cells = read("90_quarterly_report")
    begin, end = heading(cells, "## When did spend change?"), heading(cells, "## Limits")
    brief = cells[begin:end]
    assert [("## " in c.source, "tl.finding(" in c.source) for c in brief] == [
        (True, False),
        (False, True),
    ] * 5
    assert all(c.source.count("?") for c in brief[::2])
    assert sum("tl.finding(" in c.source for c in cells) == 6
