"""Examples: what is asked, what a right answer is, and how it is scored; the kit's and your own.

A file is read to its end and every problem in it is named at once, so that you can mend it in one go.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from io import StringIO
from pathlib import Path

import pandas as pd

from tierlab.core.paths import DATA
from tierlab.core.tables import load_tasks
from tierlab.core.untrusted import regular
from tierlab.core.vocabulary import unknown
from tierlab.evaluate.scoring import SCORERS, check_scorer

_MOST = 20  # problems of a file that are shown
_JSON_CELLS = ("scorer_args", "tools", "schema")
_JSON_REFERENCES = ("json_fields", "tool_call")


@dataclass(frozen=True)
class Example:
    """A prompt, and what a right answer to it is.

    Parameters
    ----------
    example_id : str
        Unique in its file; becomes `prompt_id` of the samples table.
    task : str
        One of data/tasks.csv for the kit's own examples, any text for yours.
    prompt : str or tuple of dict
        The user's message, or a conversation of ``{"role": "user" | "assistant", "content": str}`` that ends with one.
    scorer : str
        Name in `tierlab.evaluate.scoring.SCORERS`.
    reference : object
        What the scorer compares the answer with: text, number, dict or list (data/examples/README.md).
    scorer_args : mapping
        Options of the scorer.
    system : str, optional
        System prompt.
    tools : tuple of dict
        ``{"name", "description", "parameters"}``, where the parameters are a JSON schema of an object.
    schema : mapping, optional
        JSON schema that the reply has to follow.
    max_output_tokens : int
        Limit on the answer, from 1 up.
    difficulty : {"easy", "medium", "hard"}, optional
    group : str, optional
        Examples that are not independent (one document, one template) share a group.

    Examples
    --------
    >>> example = Example("q1", "faq_answering", "Which day follows Monday?", "exact", "Tuesday")
    >>> example.max_output_tokens, example.tools
    (512, ())
    """

    example_id: str
    task: str
    prompt: str | tuple
    scorer: str
    reference: object
    scorer_args: Mapping = field(default_factory=dict)
    system: str | None = None
    tools: tuple = ()
    schema: Mapping | None = None
    max_output_tokens: int = 512
    difficulty: str | None = None
    group: str | None = None


FIELDS = tuple(f.name for f in fields(Example))
_NEEDED = tuple(
    f.name for f in fields(Example) if f.default is MISSING and f.default_factory is MISSING
)
_TEXT = {"type": "string", "pattern": r"\S"}
_MESSAGE = {
    "type": "object",
    "properties": {"role": {"enum": ["user", "assistant"]}, "content": _TEXT},
    "required": ["role", "content"],
    "additionalProperties": False,
}
_TOOL = {
    "type": "object",
    "properties": {
        "name": _TEXT,
        "description": {"type": "string"},
        "parameters": {
            "type": "object",
            "properties": {"type": {"const": "object"}},
            "required": ["type"],
        },
    },
    "required": ["name", "description", "parameters"],
}
_FORM = {
    "properties": {
        "example_id": _TEXT,
        "task": _TEXT,
        "prompt": {"type": ["string", "array"], "pattern": r"\S", "minItems": 1, "items": _MESSAGE},
        "scorer": {"enum": [*SCORERS]},
        "scorer_args": {"type": "object"},
        "system": {"type": "string"},
        "tools": {"type": "array", "items": _TOOL},
        "schema": {"type": "object"},
        "max_output_tokens": {"type": "integer", "minimum": 1},
        "difficulty": {"enum": ["easy", "medium", "hard"]},
        "group": {"type": "string"},
    }
}


def load_examples(source: str | Path | Iterable = "kit") -> tuple[Example, ...]:
    """Read and check the kit's examples or your own.

    Parameters
    ----------
    source : "kit", path, or iterable of dict
        "kit" is data/examples/examples.jsonl: 100 examples over the nine task types. A path ends in .jsonl (one
        JSON object a line) or .csv (a header of field names; JSON in the cells of structured fields). Records
        made in code, such as ``frame.to_dict("records")`` or a list of `Example`, are checked in the same way.

    Returns
    -------
    tuple of Example
        In the order of the file.

    Raises
    ------
    ValueError
        If the file has problems; the message names the first 20 with the line or row, the field, and what is allowed.

    Examples
    --------
    >>> len(load_examples())
    100
    >>> load_examples([{"example_id": "q1", "task": "own", "prompt": "2 + 2?", "scorer": "numerc", "reference": 4}])
    Traceback (most recent call last):
    ...
    ValueError: examples: 1 problem
      example 1, scorer: unknown scorer 'numerc'; did you mean 'numeric'?
    """
    if not isinstance(source, str | Path):
        name = "examples"
        rows = [(f"example {n}", _as_record(each), []) for n, each in enumerate(source, 1)]
    else:
        path = DATA / "examples" / "examples.jsonl" if source == "kit" else Path(source)
        readers = {".jsonl": _read_jsonl, ".csv": _read_csv}
        if path.suffix.lower() not in readers:
            raise ValueError(
                f'unknown examples {str(source)!r}; give "kit" or a path that ends in .jsonl or .csv'
            )
        name, rows = str(source), readers[path.suffix.lower()](path)
    problems, seen = [], {}
    for where, record, found in rows:
        found = found or _problems(record)
        example_id = record.get("example_id")
        if isinstance(example_id, str) and seen.setdefault(example_id, where) != where:
            found = [*found, f"example_id: {example_id!r} was already used in {seen[example_id]}"]
        problems += [f"{where}, {text}" for text in found]
    if not rows:
        problems = ["no examples in it"]
    if problems:
        more = f"\n  ... and {len(problems) - _MOST:,} more" if len(problems) > _MOST else ""
        count = f"{len(problems):,} problem{'s' if len(problems) > 1 else ''}"
        raise ValueError(f"{name}: {count}" + "".join(f"\n  {p}" for p in problems[:_MOST]) + more)
    return tuple(_example(record) for _, record, _ in rows)


def check_examples(path):
    """Check a file of examples, and say in a few lines what is in it.

    Parameters
    ----------
    path : "kit" or path
        As for `load_examples`.

    Returns
    -------
    str
        The number of examples, by task (with a note on tasks that the kit does not know), by scorer and by difficulty.

    Raises
    ------
    ValueError
        If the file has problems, as for `load_examples`.

    Examples
    --------
    >>> print(check_examples("kit").splitlines()[0])
    kit: 100 examples, no problems
    """
    examples, known = load_examples(path), list(load_tasks().index)
    lines = [f"{path}: {len(examples):,} example{'s' * (len(examples) > 1)}, no problems"]
    lines.append("by task:")
    for task, count in Counter(e.task for e in examples).most_common():
        near = unknown("task", task, known)
        # The list of all nine names, beside each of your tasks, would be no help.
        near = f": {near}" if "did you mean" in near else ""
        note = "" if task in known else f"  (a task of your own{near})"
        lines.append(f"  {task}: {count:,}{note}")
    for title in ("scorer", "difficulty"):
        values = Counter(getattr(e, title) or "not given" for e in examples)
        counts = ", ".join(f"{value} {count:,}" for value, count in values.most_common())
        lines += [f"by {title}:", f"  {counts}"]
    return "\n".join(lines)


def load_intents(path: str | Path = DATA / "examples" / "intents.csv") -> pd.DataFrame:
    """Read short customer-support messages with their intents, for classifiers and distillation.

    Parameters
    ----------
    path : path
        A CSV file; by default data/examples/intents.csv.

    Returns
    -------
    DataFrame
        text, intent, split ("train" or "test", 70 to 30 within each intent).

    Examples
    --------
    >>> load_intents().columns.tolist()
    ['text', 'intent', 'split']
    """
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _read_jsonl(path):
    """A (where, record, problems) of each line that is not blank."""
    rows = []
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.strip():
            record, problem = _json(line)
            if not problem and not isinstance(record, dict):
                problem = f"a JSON object is needed, got {line.strip()[:40]!r}"
            rows.append((f"line {number}", {} if problem else record, [problem] if problem else []))
    return rows


def _json(text):
    """The value of a JSON text and "", or None and why it is not JSON."""
    try:
        return json.loads(text, object_pairs_hook=_once), ""
    except ValueError as error:
        return None, f"not JSON: {error}"


def _read_csv(path):
    """A (where, record, problems) of each row; rows are counted as in a spreadsheet, where the header is row 1."""
    text = _text(path)
    head = text.split("\n", 1)[0]
    mark = ";" if head.count(";") > head.count(",") else ","
    names, *lines = [*csv.reader(StringIO(text), delimiter=mark)] or [[]]
    header = Counter(name.strip() for name in names)
    found = [unknown("column", name, FIELDS) for name in header if name not in FIELDS]
    found += [f"column {name!r} is missing" for name in _NEEDED if name not in header]
    found += [f"column {name!r} comes twice" for name, count in header.items() if count > 1]
    if found:
        return [("row 1", {}, found)] if names else []
    rows = []
    for number, cells in enumerate(lines, 2):
        given = {name: cell for name, cell in zip(header, cells, strict=False) if cell.strip()}
        if given and len(cells) != len(header):
            wrong = f"{len(cells)} cells under {len(header)} columns; is a comma not quoted?"
            rows.append((f"row {number}", {}, [wrong]))
        elif given:
            rows.append((f"row {number}", *_from_cells(given)))
    return rows


def _from_cells(cells):
    """The record of a row of text cells, whose structured fields are JSON, and problems."""
    record, problems, scorer = dict(cells), [], cells.get("scorer")
    reference = cells.get("reference", "").lstrip()
    structured = dict.fromkeys(_JSON_CELLS, True) | {
        "prompt": cells.get("prompt", "").lstrip().startswith('[{"role"'),
        "reference": scorer in _JSON_REFERENCES
        or (scorer == "contains" and reference.startswith("[")),
    }
    for name, cell in cells.items():
        if structured.get(name):
            record[name], problem = _json(cell)
            problems += [f"{name}: {problem}"] if problem else []
    if scorer == "contains" and reference and not structured["reference"]:
        record["reference"] = [cells["reference"]]
    if "max_output_tokens" in cells and cells["max_output_tokens"].strip().isdecimal():
        record["max_output_tokens"] = int(cells["max_output_tokens"])
    return record, problems


def _problems(record):
    """What is wrong with a record: its form, or else what does not fit together."""
    from jsonschema import Draft202012Validator  # takes a second to import

    given = {name: value for name, value in record.items() if value not in (None, "")}
    needed = [name for name in _NEEDED if name != "reference" or record.get("scorer") != "judge"]
    found = [unknown("field", name, FIELDS) for name in record if name not in FIELDS]
    found += [f"{name}: missing" for name in needed if name not in given]
    found += [_said(error) for error in Draft202012Validator(_FORM).iter_errors(given)]
    return found or _misfits(given)


def _said(error):
    """Say a problem of form: the field, the value, what is allowed."""
    name, value = error.json_path.removeprefix("$."), error.instance
    if error.validator == "enum":
        return f"{name}: {unknown(name.rsplit('.', 1)[-1], value, error.validator_value)}"
    return f"{name}: {'there is no text in it' if error.validator == 'pattern' else error.message}"


def _misfits(record):
    """What does not fit together in a record of the right form."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    found, tools = [], {tool["name"]: tool["parameters"] for tool in record.get("tools", ())}
    if isinstance(record["prompt"], list) and record["prompt"][-1]["role"] != "user":
        found.append("prompt: the last message must be the user's")
    twice = Counter(tool["name"] for tool in record.get("tools", ()))
    found += [f"tools: {name!r} comes twice" for name, count in twice.items() if count > 1]
    schemas = {"schema": record.get("schema", {})}
    schemas |= {f"tools: {name!r}": schema for name, schema in tools.items()}
    for where, schema in schemas.items():
        try:
            Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            found.append(f"{where}: not a JSON schema: {error.message}")
    try:
        check_scorer(record["scorer"], record.get("reference"), record.get("scorer_args", {}))
    except ValueError as error:
        return [*found, f"scorer {error}"]
    if record["scorer"] != "tool_call" or found:
        return found
    if not tools:
        return ["tools: missing; the scorer tool_call needs them"]
    calls = record["reference"]
    for call in [calls] if isinstance(calls, dict) else calls:
        if call["name"] is not None and call["name"] not in tools:
            found.append(f"reference: {unknown('tool', call['name'], tools)}")
        elif call["name"] is not None:
            errors = Draft202012Validator(tools[call["name"]]).iter_errors(
                call.get("arguments", {})
            )
            found += [f"reference: {call['name']!r}: {error.message}" for error in errors]
    return found


def _as_record(each):
    """The fields of an `Example` or of a record made in code, without the NaN that pandas writes for a missing value."""
    record = vars(each) if isinstance(each, Example) else dict(each)
    return {
        name: [*value] if isinstance(value, tuple) else value
        for name, value in record.items()
        if not (isinstance(value, float) and value != value)
    }


def _example(record):
    given = {"reference": None}
    given |= {name: value for name, value in record.items() if value is not None}
    for name in {"prompt", "tools"} & set(given):
        given[name] = tuple(given[name]) if isinstance(given[name], list) else given[name]
    if "max_output_tokens" in given:
        given["max_output_tokens"] = int(given["max_output_tokens"])  # pandas makes 16.0 of a 16
    return Example(**given)


def _once(pairs):
    """Make a JSON object; refuse repeated names, since json.loads would silently keep the last value."""
    twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"the name {twice[0]!r} comes twice")
    return dict(pairs)


def _text(path):
    try:
        return regular(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: not UTF-8 (byte {error.start:,}); save it as UTF-8, in a spreadsheet as 'CSV UTF-8'"
        ) from None
