"""Answers to the workshop's exercises: right ones from the solutions, wrong ones that must not be given away."""

import math
import re

import nbformat

import tierlab as tl
from tierlab.workshop import build

QUOTED = re.compile(r"(?<!\w)'[^']*'")  # names, such as 'claude-haiku-4-5'
NUMBER = re.compile(r"(?<![\w.-])-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?", re.IGNORECASE)


def reveals(hint, figures):
    """Numbers in a hint that come within 1 % of an expected figure, as a number or as a percentage."""
    said = [float(text.replace(",", "")) for text in NUMBER.findall(QUOTED.sub("", hint))]
    wanted = [scale * figure for figure in figures for scale in (1, 100)]
    return [
        number
        for number in said
        if any(math.isclose(number, figure, rel_tol=0.01) for figure in wanted if figure)
    ]


def wrong(number, right, changes, kind, figures):
    """Answers with one mistake: the check says which kind it is and none of the figures."""
    found = tl.workshop.check(number, **right | changes)
    assert found.status == "wrong" and found.words.startswith("Not yet: ")
    assert re.search(kind, found.words), found.words
    assert reveals(found.words, figures) == []


def namespace(number):
    """The variables that a solution leaves behind, from running its code in this process."""
    path = next(path for path in build.solutions() if path.name.startswith(f"{number:02d}_"))
    names = {}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, f"{path.stem}/{cell.id}", "exec"), names)
    return names
