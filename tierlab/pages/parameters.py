"""The parameters of a notebook: what its `parameters` cell declares, and values checked against it.

One line of the cell declares one parameter, for people and for this check at once: a name, a type, a default,
and a comment with the meaning, the unit and what is allowed::

    requests_per_day: int = 1_000_000    # requests per day, 1..
    small_share: float = 0.8             # share of requests that the small model answers, 0..1
    error_cost_usd: float = 2.0          # USD per wrong answer, above 0
    tier: str = "small"                  # one of small, mid, flagship
    trace: str = "simulated"             # where requests come from: one of simulated, azure_conv, or a path
    as_of: str = "2026-06-12"            # prices as of this day, ISO date
    models: list[str] = ["gpt-4o"]       # model_ids to compare
    seed: int | None = None              # seed of the simulation; None draws nothing

A comment is read for `low..high` (either end may be missing; both are included), `above number`, `one of a, b, c`
(to the end of the comment or a semicolon), `or a path` and `ISO date`; for a list they hold for every item.
"""

import ast
import io
import math
import re
import tokenize
from dataclasses import dataclass
from datetime import date
from glob import glob, has_magic
from pathlib import Path

import nbformat
import yaml

from tierlab.core.untrusted import cited, read_text, read_yaml
from tierlab.core.vocabulary import unknown

_NUMBER = r"-?\d[\d_,]*(?:\.\d+)?(?:e[+-]?\d+)?"
_RANGE = re.compile(rf"(?<![\w.,])({_NUMBER})?\.\.({_NUMBER})?(?![\w.])", re.IGNORECASE)
_ABOVE = re.compile(rf"\babove ({_NUMBER})", re.IGNORECASE)
_CHOICES = re.compile(r"\bone of ([^;]+)")
_OR_A_PATH = re.compile(r",?\s*or (?:a|the) path\b.*")
_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell."""

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

    def parse(self, text):
        """The value that a text (command line, YAML) stands for.

        Raises
        ------
        ValueError
            If the text is no value of the declared type.

        Examples
        --------
        >>> Parameter("requests", "int", 1, "").parse("1e6")
        1000000
        >>> Parameter("models", "list[str]", [], "").parse("gpt-4o, o3")
        ['gpt-4o', 'o3']
        """
        try:
            return _parse(text, _annotation(self.type))
        except (ValueError, TypeError, AttributeError):
            raise ValueError(
                f"{self.name} = {cited(text)} is not of type {self.type}{self._hint()}"
            ) from None

    def check(self, value):
        """The value, if it is allowed; a path is made absolute, because a notebook runs in its own folder.

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
        if not _fits(value, _annotation(self.type)):
            raise ValueError(
                f"{self.name} = {cited(value)} is not of type {self.type}{self._hint()}"
            )
        if isinstance(value, list):
            return [self._check_item(item) for item in value]
        return value if value is None else self._check_item(value)

    def _check_item(self, value):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and not (self.low <= value <= self.high and value > self.above):
            raise ValueError(f"{self.name} = {cited(value)} is out of range: {self._range()}")
        if self.iso_date:
            _check_date(self.name, value)
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

    def _range(self):
        if self.above > -math.inf:
            return f"above {self.above:,.15g}"
        if self.high == math.inf:
            return f"from {self.low:,.15g}"
        return (
            f"up to {self.high:,.15g}"
            if self.low == -math.inf
            else f"{self.low:,.15g} to {self.high:,.15g}"
        )

    def _hint(self):
        return f" ({self.meaning})" if self.meaning else ""


def declared(notebook):
    """Parameters that a notebook declares.

    Parameters
    ----------
    notebook : path or NotebookNode

    Returns
    -------
    dict of str to Parameter
        In the order of the cell; empty if no cell is tagged `parameters`.

    Raises
    ------
    ValueError
        If a line is no ``name: type = literal``, or a default contradicts its own declaration.
    """
    nb = (
        notebook
        if isinstance(notebook, nbformat.NotebookNode)
        else nbformat.read(notebook, as_version=4)
    )
    cells = [cell for cell in nb.cells if "parameters" in cell.metadata.get("tags", [])]
    return _read_cell(cells[0].source) if cells else {}


def checked(parameters, declarations, *, text=False):
    """Values for a notebook, checked against what it declares.

    Parameters
    ----------
    parameters : mapping of str to value
    declarations : mapping of str to Parameter
    text : bool
        Strings are still to be read as the declared type (command line, YAML).
    """
    values = {}
    for name, value in parameters.items():
        if name not in declarations:
            raise ValueError(unknown("parameter", name, declarations))
        declaration = declarations[name]
        values[name] = declaration.check(declaration.parse(value) if text else value)
    return values


def _read_cell(source):
    comments = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = {}
    for node in ast.parse(source).body:
        try:
            name, annotation, default = (
                node.target.id,
                ast.unparse(node.annotation),
                ast.literal_eval(node.value),
            )
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
    limits = {}
    if found := next((m for m in _RANGE.finditer(comment) if any(m.groups())), None):
        limits |= {
            end: _number(text)
            for end, text in zip(("low", "high"), found.groups(), strict=True)
            if text
        }
    if found := _ABOVE.search(comment):
        limits["above"] = _number(found[1])
    if found := _CHOICES.search(comment):
        names = _OR_A_PATH.sub("", found[1])
        limits["choices"] = tuple(
            part.strip(" '\".") for part in re.split(r",|\bor\b", names) if part.strip(" '\".")
        )
    limits["path"] = bool(_OR_A_PATH.search(comment))
    limits["iso_date"] = "ISO date" in comment
    return Parameter(name, type_, default, comment, **limits)


def _number(text):
    return float(text.replace(",", "").replace("_", ""))


def _check_date(name, value):
    try:
        date.fromisoformat(value)
    except ValueError:
        raise ValueError(
            f"{name} = {cited(value)} is no ISO date; write it as YYYY-MM-DD"
        ) from None


def _annotation(type_):
    return ast.parse(type_, mode="eval").body


def _fits(value, node):
    match node:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _fits(value, left) or _fits(value, right)
        case ast.Constant(value=None):
            return value is None
        case ast.Name(id="float"):
            return (
                isinstance(value, int | float)
                and not isinstance(value, bool)
                and math.isfinite(value)
            )
        case ast.Name(id="int"):
            return isinstance(value, int) and not isinstance(value, bool)
        case ast.Name(id=("str" | "bool" | "list" | "dict") as name):
            return type(value).__name__ == name
        case ast.Subscript(value=ast.Name(id="list"), slice=item):
            return isinstance(value, list) and all(_fits(v, item) for v in value)
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[key, item])):
            return isinstance(value, dict) and all(
                _fits(k, key) and _fits(v, item) for k, v in value.items()
            )
    raise ValueError(f"type {ast.unparse(node)} is not one that a parameter can have")


def _parse(text, node):
    match node:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            # None first: "none" is also a string
            for side in sorted((left, right), key=lambda side: not isinstance(side, ast.Constant)):
                try:
                    return _parse(text, side)
                except ValueError:
                    pass
            raise ValueError(text)
        case ast.Constant(value=None):
            if text.lower() in ("none", "null", ""):
                return None
            raise ValueError(text)
        case ast.Name(id="float"):
            return float(text.replace("_", ""))
        case ast.Name(id="int"):
            if re.fullmatch(r"[+-]?[\d_]+", text):
                return int(text)
            number = float(text.replace("_", ""))
            if not number.is_integer():
                raise ValueError(text)
            return int(number)
        case ast.Name(id="bool"):
            if text.lower() not in _BOOLEANS:
                raise ValueError(text)
            return _BOOLEANS[text.lower()]
        case ast.Subscript(value=ast.Name(id="list"), slice=item):
            items = (
                _yaml(text if text.lstrip().startswith("[") else f"[{text}]")
                if isinstance(text, str)
                else text
            )
            return [_parse(part, item) for part in items]
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[key, item])):
            pairs = _yaml(text) if isinstance(text, str) else text
            return {_parse(k, key): _parse(v, item) for k, v in pairs.items()}
    if not isinstance(text, str):
        raise ValueError(text)
    return text


def _yaml(text):
    # Every scalar stays a text, so that the declared type alone decides: no `no` that turns false, no 1e6 that stays text.
    return read_yaml(text, yaml.BaseLoader)


def read_file(path):
    """Parameters from a YAML file, as texts: names at the top level, or under the stem of one notebook.

    ::

        as_of: 2026-11-23
        02_scaling_costs:
          trace: azure_conv
    """
    try:
        content = _yaml(read_text(path))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path}: cannot be read as YAML ({str(error).removeprefix(f'{path}: ')})"
        ) from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected lines of the form `name: value`")
    return content
