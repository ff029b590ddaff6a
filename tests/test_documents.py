"""The links in the documents lead somewhere, and the commands that they tell a reader to type exist."""

import re
import runpy
from types import SimpleNamespace

import pytest

from tierlab.cli import app
from tierlab.core import paths

GLOSSARY = (paths.ROOT / "GLOSSARY.md").read_text("utf-8")
CONTRIBUTING = (paths.ROOT / "CONTRIBUTING.md").read_text("utf-8")
ENTRY = re.compile(r"^- \*\*(?P<term>[^*]+)\*\*: (?P<words>.+?) (?P<links>\[.+\))$", re.M)
LINK = re.compile(r"\[([^\]]+)\]\(([^)#]+)[^)]*\)")
# What a reader of the notebooks meets and is not expected to know.
NEEDED = """tier, lineup, bucket, cache hit rate, batch, context step, TTFT, tpot, tokens/s, SLO, rate limit, router, policy, cascade,
escalation, fallback, APGR, CPT, AIQ, non-inferiority, margin, power, paired test, Holm, error cost, break-even,
reasoning share, effort, distillation, drift, decision record, review, quarantine, variance, waterfall, FOCUS, simulated, recorded,
measured, billed, assumed"""


def entries():
    return [match.groupdict() for match in ENTRY.finditer(GLOSSARY)]


def test_every_line_of_the_glossary_is_an_entry():
    assert len(entries()) == sum(line.startswith("- ") for line in GLOSSARY.splitlines())


def test_terms_are_sorted_and_stand_there_once():
    terms = [entry["term"].casefold() for entry in entries()]
    assert terms == sorted(set(terms))


@pytest.mark.parametrize("term", [term.strip() for term in NEEDED.replace("\n", " ").split(",")])
def test_the_term_has_an_entry(term):
    assert term in [entry["term"] for entry in entries()]


def test_an_entry_is_one_to_three_sentences():
    long = [
        entry["term"] for entry in entries() if len(re.findall(r"[.?](?= |$)", entry["words"])) > 3
    ]
    assert not long


@pytest.mark.parametrize("text", [GLOSSARY, CONTRIBUTING], ids=["GLOSSARY", "CONTRIBUTING"])
def test_every_link_leads_to_a_file(text):
    inside = [target for _, target in LINK.findall(text) if "://" not in target]
    assert inside
    assert [target for target in inside if not (paths.ROOT / target).exists()] == []


def test_a_link_to_a_notebook_bears_its_name():
    for label, target in LINK.findall(GLOSSARY):
        assert target == f"notebooks/{label}.ipynb"


def commands(text):
    """Return the lines in the code blocks of a text, without comments."""
    blocks = [
        block
        for language, block in re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text, re.M | re.S)
        if not language
    ]
    return [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]


def test_every_make_target_exists():
    targets = set(re.findall(r"^([a-z]+):", (paths.ROOT / "Makefile").read_text("utf-8"), re.M))
    asked = re.findall(r"`make ([a-z]+)`", CONTRIBUTING) + [
        line.split()[1] for line in commands(CONTRIBUTING) if line[:5] == "make "
    ]
    assert {"setup", "test", "lint", "refresh"} <= set(asked) <= targets


def test_every_command_of_the_kit_is_one_that_it_has():
    asked = [
        line.split(" -m tierlab ")[1].split()
        for line in commands(CONTRIBUTING)
        if " -m tierlab " in line
    ]
    assert len(asked) > 3
    for arguments in asked:
        command, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
        assert command and bound is not None


def test_every_file_named_in_a_code_block_exists():
    named = re.findall(r"(?:tests|tierlab|notebooks)/[\w./]+", " ".join(commands(CONTRIBUTING)))
    assert named
    assert [name for name in named if not (paths.ROOT / name).exists()] == []


@pytest.fixture(scope="module")
def docs():
    """What docs/conf.py defines; needs Sphinx, which `make docs` installs."""
    pytest.importorskip("sphinx", reason="Sphinx is not installed: make docs")
    return SimpleNamespace(**runpy.run_path(str(paths.ROOT / "docs" / "conf.py")))


def test_the_documentation_has_every_text_for_users_and_every_public_name(docs):
    texts = {path.relative_to(paths.ROOT).as_posix() for path in paths.ROOT.glob("guides/*.md")}
    assert texts | {"README.md", "GLOSSARY.md"} <= set(docs.DOCUMENTS)
    listed = " ".join(docs.reference().values())
    stub = (paths.ROOT / "tierlab" / "__init__.pyi").read_text("utf-8")
    for name in re.findall(r"^from \.\w+\.\w+\S* import (\w+) as", stub, re.M):
        assert f":: tierlab.{name}\n" in listed


def test_a_link_to_a_file_leads_from_the_built_page_to_the_file(docs):
    text = docs.document("guides/prices.md")
    assert "](../../../data/premiums.csv){.external}" in text
    assert "](../data/README.md)" in text  # a document: Sphinx follows it


def test_a_link_to_a_notebook_leads_to_its_page_where_there_is_one(docs, tmp_path, monkeypatch):
    link = "[notebook 03]({})".format
    for_notebook = link("../../notebooks/03_match_tasks_to_tiers.ipynb")
    monkeypatch.setitem(docs.document.__globals__, "REPORT", tmp_path)
    assert for_notebook in docs.document("README.md")
    (tmp_path / "03_match_tasks_to_tiers.html").touch()
    assert for_notebook not in docs.document("README.md")
    assert "/03_match_tasks_to_tiers.html){.external}" in docs.document("README.md")


@pytest.mark.parametrize(
    ("tag", "is_refused"),
    [
        ('<script defer src="https://cdn.example.org/x.js"></script>', True),
        ("<link rel='stylesheet' href='//example.org/x.css'>", True),
        ('<img alt="a" src="_images/x.png"> <a href="https://example.org">x</a>', False),
    ],
)
def test_a_built_page_that_loads_from_elsewhere_is_refused(docs, tmp_path, tag, is_refused):
    (tmp_path / "index.html").write_text(f"<html>{tag}</html>")
    if not is_refused:
        return docs.refuse_what_is_elsewhere(SimpleNamespace(outdir=tmp_path), None)
    with pytest.raises(docs.SphinxError, match="loaded from elsewhere"):
        docs.refuse_what_is_elsewhere(SimpleNamespace(outdir=tmp_path), None)
