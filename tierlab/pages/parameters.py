"""Read the parameters that a notebook declares in its `parameters` cell, and check values against them.

A line of the cell declares a parameter, for people and for this check alike: its name, type and default, and a comment
with its meaning, unit and what is allowed::

    requests_per_day: int = 1_000_000    # requests per day, 1..
    small_share: float = 0.8             # share of requests that the small model answers, 0..1
    error_cost_usd: float = 2.0          # USD per wrong answer, above 0
    tier: str = "small"                  # one of small, mid, flagship
    trace: str = "simulated"             # where requests come from: one of simulated, azure_conv, or a path
    as_of: str = "2026-06-12"            # prices as of this day, ISO date
    models: list[str] = ["gpt-4o"]       # model_ids to compare
    seed: int | None = None              # seed of the simulation; None draws nothing

The check reads these forms in a comment: `low..high` (either end may be missing; both are included), `above number`,
`one of a, b, c` (up to a semicolon or the end), `or a path`, and `ISO date`. For a list they hold for every item.
"""

import ast
import io
import json
import math
import re
import tokenize
from dataclasses import dataclass
from datetime import date
from glob import glob, has_magic
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import AllowInfNan, BeforeValidator, Strict, TypeAdapter

from tierlab.core.untrusted import cited, read_text, read_yaml
from tierlab.core.vocabulary import unknown

_NUMBER = r"-?\d[\d_,]*(?:\.\d+)?(?:e[+-]?\d+)?"
_RANGE = re.compile(rf"(?<![\w.,])({_NUMBER})?\.\.({_NUMBER})?(?![\w.])", re.IGNORECASE)
_ABOVE = re.compile(rf"\babove ({_NUMBER})", re.IGNORECASE)
_CHOICES = re.compile(r"\bone of ([^;]+)")
_OR_A_PATH = re.compile(r",?\s*or (?:a|the) path\b.*")
_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}


def _whole(value):
    # Pydantic does not read "1e6" as an int.
    return float(value) if isinstance(value, str) and "e" in value.lower() else value


# Annotation in the cell -> the type; these are all that a parameter can have.
_PLAIN = {
    "int": Annotated[int, BeforeValidator(_whole)],
    "float": Annotated[float, AllowInfNan(False)],
    "bool": Annotated[bool, Strict()],
    "str": str,
}
_KINDS = _PLAIN | {f"list[{name}]": list[kind] for name, kind in _PLAIN.items()}
_KINDS |= {f"dict[str, {name}]": dict[str, kind] for name, kind in _PLAIN.items()}
_KINDS |= {f"{name} | None": kind | None for name, kind in _KINDS.items()}
_TYPES = {name: TypeAdapter(kind, config={"defer_build": True}) for name, kind in _KINDS.items()}


@dataclass(frozen=True)
class Parameter:
    """A line of a parameters cell.

    Attributes
    ----------
    name, type : str
        `type` is the annotation as written.
    default : object
    meaning : str
        The comment.
    low, high, above : float
        Range of a number: `low` and `high` are allowed, `above` is not.
    choices : tuple of str
        Texts that are allowed; empty if any is.
    path : bool
        Whether a text may also be the path of a file or folder, or a pattern that matches some.
    iso_date : bool
        Whether a text must be an ISO date.
    """

    name: str
    type: str
    default: object
    meaning: str
    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    choices: tuple = ()
    path: bool = False
    iso_date: bool = False

    def parse(self, value):
        """Return a value of the declared type, or read one from a text (command line, YAML).

        Raises
        ------
        ValueError
            If the value is not of the declared type.

        Examples
        --------
        >>> Parameter("requests", "int", 1, "").parse("1e6")
        1000000
        >>> Parameter("models", "list[str]", [], "").parse("gpt-4o, o3")
        ['gpt-4o', 'o3']
        """
        is_text, given = isinstance(value, str), value
        if is_text and self.type.endswith("None") and value.lower() in ("none", "null", ""):
            return None
        try:
            if is_text and self.type.startswith("list"):
                value = _yaml(value if value.lstrip().startswith("[") else f"[{value}]")
            elif is_text and self.type.startswith("dict"):
                value = _yaml(value)
            elif is_text and self.type.startswith("bool"):
                value = _BOOLEANS.get(value.lower())
            found = _TYPES[self.type].validate_python(value, strict=not is_text)
            return found if is_text else value
        except ValueError:
            meaning = f" ({self.meaning})" if self.meaning else ""
            raise ValueError(
                f"{self.name} = {cited(given)} is not of type {self.type}{meaning}"
            ) from None

    def check(self, value):
        """Return the value as `parse` reads it if it is allowed.

        A path becomes absolute, because a notebook runs in its own folder.

        Raises
        ------
        ValueError
            If the type is wrong or the value is outside what the comment allows.

        Examples
        --------
        >>> Parameter("share", "float", 0.8, "", low=0, high=1).check(0.5)
        0.5
        >>> Parameter("share", "float", 0.8, "", low=0, high=1).check(80)
        Traceback (most recent call last):
        ValueError: share = 80 is out of range: 0 to 1
        """
        value = self.parse(value)
        if isinstance(value, list):
            return [self._check_item(item) for item in value]
        return value if value is None else self._check_item(value)

    def _check_item(self, value):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and not (self.low <= value <= self.high and value > self.above):
            ends = f"{self.low:,.15g} to {self.high:,.15g}"
            allowed = f"above {self.above:,.15g}" if self.above > -math.inf else ends
            raise ValueError(f"{self.name} = {cited(value)} is out of range: {allowed}")
        if self.iso_date:
            try:
                date.fromisoformat(value)
            except ValueError:
                raise ValueError(
                    f"{self.name} = {cited(value)} is not an ISO date; write it as YYYY-MM-DD"
                ) from None
        if value in self.choices or not isinstance(value, str):
            return value
        if self.path and value and Path(value).exists():
            return str(Path(value).resolve())
        if self.path and has_magic(value) and glob(value, recursive=True):  # noqa: PTH207
            return str(Path(value).absolute())
        if self.choices:
            also = " (nor a file)" if self.path else ""
            raise ValueError(f"{self.name}: {unknown('value', value, self.choices)}{also}")
        return value


def declared(notebook):
    """Return the parameters that a notebook declares.

    Parameters
    ----------
    notebook : path or NotebookNode

    Returns
    -------
    dict of str to Parameter
        By name, in the order of the cell; empty if no cell is tagged `parameters`.

    Raises
    ------
    ValueError
        If a line is not of the form ``name: type = literal``, or a default contradicts its own declaration.
    """
    # Read as JSON: nbformat takes a second to import, and a wrong input should be refused before that.
    nb = notebook if isinstance(notebook, dict) else json.loads(Path(notebook).read_text("utf-8"))
    cells = [cell for cell in nb["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    return _read_cell("".join(cells[0]["source"])) if cells else {}


def checked(parameters, declarations):
    """Check values against what a notebook declares.

    Parameters
    ----------
    parameters : mapping of str to object
        Values by name; texts are read as the declared type.
    declarations : mapping of str to Parameter

    Returns
    -------
    dict of str to object

    Raises
    ------
    ValueError
        If a name is unknown or a value is not allowed.
    """
    for name in parameters:
        if name not in declarations:
            raise ValueError(unknown("parameter", name, declarations))
    return {name: declarations[name].check(value) for name, value in parameters.items()}


def _read_cell(source):
    comments = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = {}
    for node in ast.parse(source).body:
        try:
            name, annotation = node.target.id, ast.unparse(node.annotation)
            default = ast.literal_eval(node.value)
        except (AttributeError, ValueError, TypeError):
            line = ast.get_source_segment(source, node)
            raise ValueError(
                f"parameters cell: {line!r} is not of the form `name: type = literal  # meaning`"
            ) from None
        parameter = _declare(name, annotation, default, comments.get(node.end_lineno, ""))
        try:
            parameter.check(default)
        except ValueError as error:
            raise ValueError(
                f"parameters cell: the default contradicts its declaration: {error}"
            ) from None
        found[name] = parameter
    return found


def _declare(name, type_, default, comment):
    if type_ not in _TYPES:
        raise ValueError(f"parameters cell: {name}: {unknown('type', type_, _TYPES)}")
    limits = {"path": bool(_OR_A_PATH.search(comment)), "iso_date": "ISO date" in comment}
    ends = next((found.groups() for found in _RANGE.finditer(comment) if any(found.groups())), ())
    above = _ABOVE.search(comment)
    texts = dict(zip(("low", "high"), ends, strict=False)) | {"above": above and above[1]}
    limits |= {end: float(text.replace(",", "")) for end, text in texts.items() if text}
    if found := _CHOICES.search(comment):
        names = re.split(r",|\bor\b", _OR_A_PATH.sub("", found[1]))
        limits["choices"] = tuple(filter(None, (name.strip(" '\".") for name in names)))
    return Parameter(name, type_, default, comment, **limits)


def _yaml(text):
    # Every scalar stays a text, so that only the declared type decides what `no` and 1e6 mean.
    return read_yaml(text, yaml.BaseLoader)


def read_file(path):
    """Read parameters from a YAML file; names stand at the top level, or under the stem of one notebook.

    ::

        as_of: 2026-11-23
        02_scaling_costs:
          trace: azure_conv

    Parameters
    ----------
    path : path

    Returns
    -------
    dict
        The values as texts.

    Raises
    ------
    ValueError
        If the file cannot be read or is not a mapping.
    """
    try:
        content = _yaml(read_text(path))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path}: cannot be read as YAML ({str(error).removeprefix(f'{path}: ')})"
        ) from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: its lines must have the form `name: value`")
    return content
