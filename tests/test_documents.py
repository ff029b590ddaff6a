"""The words beside the code: links lead somewhere, and what a reader is told to type exists."""

import re

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
    """What stands in the code blocks of a text, without comments."""
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
