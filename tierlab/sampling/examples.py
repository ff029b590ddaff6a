"""Examples: what is asked, what a right answer is, and how it is scored; the kit's own and files of the user's.

A file is read whole and every problem in it is named at once, so that it is mended in one go and not line by line.

What is wrong with one example: its prompt, its tools and schemas, and whether the reference fits the scorer.
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

_MOST = 20  # problems shown of one file
_JSON_CELLS = ("scorer_args", "tools", "schema")
_JSON_REFERENCES = ("json_fields", "tool_call")


@dataclass(frozen=True)
class Example:
    """One prompt with what a right answer is.

    Parameters
    ----------
    example_id : str
        Unique in its file; becomes `prompt_id` of the samples table.
    task : str
        One of data/tasks.csv for the kit's own, any text for yours.
    prompt : str or tuple of dict
        The user's message, or a conversation of ``{"role": "user" | "assistant", "content": str}`` that the
        user ends.
    scorer : str
        Name in `tierlab.evaluate.scoring.SCORERS`.
    reference : object
        What the scorer compares with: text, number, dict or list (data/examples/README.md).
    scorer_args : mapping
        Options of the scorer.
    system : str, optional
        System prompt.
    tools : tuple of dict
        ``{"name", "description", "parameters"}`` with a JSON schema of an object as parameters.
    schema : mapping, optional
        JSON schema that the reply shall follow.
    max_output_tokens : int
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


def load_examples(source: str | Path | Iterable = "kit") -> tuple[Example, ...]:
    """Examples of the kit or of your own, checked.

    Parameters
    ----------
    source : "kit", path, or iterable of dict
        "kit" is data/examples/examples.jsonl: 100 examples over the nine task types. A path ends in .jsonl (one
        JSON object a line) or .csv (a header of field names; JSON in the cells of structured fields). Records
        made in code, such as ``frame.to_dict("records")`` or a list of `Example`, are checked the same way.

    Returns
    -------
    tuple of Example
        In the order of the file.

    Raises
    ------
    ValueError
        With every problem of the file (the first 20 in full): the line or row, the field, and what is right.

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
        name, rows = (
            "examples",
            [(f"example {n}", _as_record(each), []) for n, each in enumerate(source, 1)],
        )
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
    """Check a file of examples and say in a few lines what is in it.

    Parameters
    ----------
    path : "kit" or path
        As for `load_examples`.

    Returns
    -------
    str
        Number of examples, per task (and whether the kit knows the task), per scorer, per difficulty.

    Raises
    ------
    ValueError
        As `load_examples`, with every problem of the file.

    Examples
    --------
    >>> print(check_examples("kit").splitlines()[0])
    kit: 100 examples, no problems
    """
    examples, known = load_examples(path), list(load_tasks().index)
    lines = [
        f"{path}: {len(examples):,} example{'s' if len(examples) > 1 else ''}, no problems",
        "by task:",
    ]
    for task, count in Counter(e.task for e in examples).most_common():
        near = unknown("task", task, known)
        near = (
            f": {near}" if "did you mean" in near else ""
        )  # a list of nine names at each of your tasks is no help
        note = "" if task in known else f"  (a task of your own{near})"
        lines.append(f"  {task}: {count:,}{note}")
    for title, values in (
        ("by scorer:", (e.scorer for e in examples)),
        ("by difficulty:", (e.difficulty or "not given" for e in examples)),
    ):
        lines += [
            title,
            "  "
            + ", ".join(f"{value} {count:,}" for value, count in Counter(values).most_common()),
        ]
    return "\n".join(lines)


def load_intents(path: str | Path = DATA / "examples" / "intents.csv") -> pd.DataFrame:
    """Short customer-support messages with their intent, for classifiers and distillation.

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
    """(where, record, problems) of each line that is not blank."""
    rows = []
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line, object_pairs_hook=_once)
        except ValueError as error:
            rows.append((f"line {number}", {}, [f"not JSON: {error}"]))
            continue
        found = (
            []
            if isinstance(record, dict)
            else [f"a JSON object is needed, got {line.strip()[:40]!r}"]
        )
        rows.append((f"line {number}", record if not found else {}, found))
    return rows


def _read_csv(path):
    """(where, record, problems) of each row; rows are counted as a spreadsheet does, the header being row 1."""
    text = _text(path)
    head = text.split("\n", 1)[0]
    lines = list(
        csv.reader(StringIO(text), delimiter=";" if head.count(";") > head.count(",") else ",")
    )
    if not lines:
        return []
    header = [name.strip() for name in lines[0]]
    found = [unknown("column", name, FIELDS) for name in header if name not in FIELDS]
    found += [f"column {name!r} is missing" for name in _NEEDED if name not in header]
    found += [
        f"column {name!r} comes twice" for name, count in Counter(header).items() if count > 1
    ]
    if found:
        return [("row 1", {}, found)]
    rows = []
    for number, cells in enumerate(lines[1:], 2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            rows.append(
                (
                    f"row {number}",
                    {},
                    [f"{len(cells)} cells under {len(header)} columns; is a comma not quoted?"],
                )
            )
            continue
        record, problems = _from_cells(
            {name: cell for name, cell in zip(header, cells, strict=True) if cell.strip()}
        )
        rows.append((f"row {number}", record, problems))
    return rows


def _from_cells(cells):
    """Record of one row of text: JSON where the field is structured, a number where it is one."""
    record, problems = dict(cells), []
    structured = [name for name in _JSON_CELLS if name in cells]
    scorer, reference = cells.get("scorer"), cells.get("reference", "")
    if scorer in _JSON_REFERENCES and reference:
        structured.append("reference")
    elif scorer == "contains" and reference:
        record["reference"] = [reference]
        structured += ["reference"] if reference.lstrip().startswith("[") else []
    if cells.get("prompt", "").lstrip().startswith('[{"role"'):
        structured.append("prompt")
    for name in structured:
        try:
            record[name] = json.loads(cells[name], object_pairs_hook=_once)
        except ValueError as error:
            problems.append(f"{name}: not JSON: {error}")
    if "max_output_tokens" in cells and cells["max_output_tokens"].strip().isdecimal():
        record["max_output_tokens"] = int(cells["max_output_tokens"])
    return record, problems


def _problems(record):
    """What is wrong with one record, a line of text each."""
    needed = [name for name in _NEEDED if name != "reference" or record.get("scorer") != "judge"]
    found = [unknown("field", name, FIELDS) for name in record if name not in FIELDS]
    found += [f"{name}: missing" for name in needed if record.get(name) in (None, "")]
    return found + problems_of(record)


def _as_record(each):
    """Fields of an `Example` or of a record made in code, in which pandas writes NaN for what is not there."""
    record = (
        {name: getattr(each, name) for name in FIELDS} if isinstance(each, Example) else dict(each)
    )
    return {
        name: value
        for name, value in record.items()
        if not (isinstance(value, float) and value != value)
    }


def _example(record):
    given = {name: value for name, value in record.items() if value is not None}
    prompt, tools = record["prompt"], tuple(given.get("tools", ()))
    return Example(
        **{"reference": None}
        | given
        | {"prompt": prompt if isinstance(prompt, str) else tuple(prompt), "tools": tools}
    )


def _once(pairs):
    """A JSON object in which no name comes twice: json.loads would keep the last and say nothing."""
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


DIFFICULTIES = ("easy", "medium", "hard")
_ROLES = ("user", "assistant")
_TEXTS = ("example_id", "task", "scorer", "system", "group")


def problems_of(record):
    """Every problem in the values of one record; what is missing from it is not looked for here.

    Parameters
    ----------
    record : mapping
        Field of `tierlab.sampling.examples.Example` -> value, as read from JSON.

    Returns
    -------
    list of str
        One problem each: the field, the value, what is allowed.

    Examples
    --------
    >>> problems_of({"difficulty": "esay", "max_output_tokens": 0})
    ["difficulty: unknown difficulty 'esay'; did you mean 'easy'?", 'max_output_tokens: a whole number from 1 up is needed, got 0']
    """
    found = []
    for name in _TEXTS:
        value = record.get(name)
        if value is not None and not isinstance(value, str):
            found.append(f"{name}: text is needed, got {value!r}")
    difficulty, most = record.get("difficulty"), record.get("max_output_tokens")
    if difficulty is not None and difficulty not in DIFFICULTIES:
        found.append(f"difficulty: {unknown('difficulty', difficulty, DIFFICULTIES)}")
    if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
        found.append(f"max_output_tokens: a whole number from 1 up is needed, got {most!r}")
    if record.get("prompt") not in (None, ""):
        found += _prompt_problems(record["prompt"])
    found += _schema_problems("schema", record.get("schema"))
    broken = _tool_problems(record.get("tools") or ())
    return found + broken + (_scorer_problems(record) or ([] if broken else _call_problems(record)))


def _prompt_problems(prompt):
    if isinstance(prompt, str):
        return [] if prompt.strip() else ["prompt: there is no text in it"]
    if not isinstance(prompt, list | tuple) or not prompt:
        return [f"prompt: text or a list of messages is needed, got {prompt!r}"]
    for number, message in enumerate(prompt, 1):
        if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
            return [
                f"prompt: message {number} needs role and content and nothing else, got {message!r}"
            ]
        if message["role"] not in _ROLES:
            return [f"prompt: message {number}: {unknown('role', message['role'], _ROLES)}"]
        if not isinstance(message["content"], str) or not message["content"].strip():
            return [f"prompt: message {number} has no text as content"]
    return [] if prompt[-1]["role"] == "user" else ["prompt: the last message must be the user's"]


def _tool_problems(tools):
    if not isinstance(tools, list | tuple):
        return [f"tools: a list is needed, got {tools!r}"]
    found, names = [], []
    for number, tool in enumerate(tools, 1):
        if not isinstance(tool, Mapping) or not isinstance(tool.get("name"), str):
            found.append(
                f"tools: tool {number} needs name, description and parameters, got {tool!r}"
            )
            continue
        names.append(tool["name"])
        if not isinstance(tool.get("description"), str):
            found.append(f"tools: {tool['name']!r} has no description")
        schema = tool.get("parameters")
        if not isinstance(schema, Mapping) or schema.get("type") != "object":
            found.append(
                f"tools: {tool['name']!r} needs parameters, a JSON schema of type object; got {schema!r}"
            )
        else:
            found += _schema_problems(f"tools: {tool['name']!r}", schema)
    return found + [
        f"tools: {name!r} comes twice" for name, count in Counter(names).items() if count > 1
    ]


def _schema_problems(where, schema):
    if schema is None:
        return []
    if not isinstance(schema, Mapping):
        return [f"{where}: a JSON schema is needed, got {schema!r}"]
    from jsonschema import Draft202012Validator  # takes a second to import
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return [f"{where}: no JSON schema: {error.message}"]
    return []


def _scorer_problems(record):
    """Does the reference fit its scorer? What is missing altogether is said elsewhere."""
    from tierlab.evaluate.scoring import SCORERS, check_scorer

    scorer, reference, args = (
        record.get("scorer"),
        record.get("reference"),
        record.get("scorer_args") or {},
    )
    if not isinstance(scorer, str) or not scorer:
        return []
    if scorer not in SCORERS:
        return [f"scorer: {unknown('scorer', scorer, SCORERS)}"]
    if not isinstance(args, Mapping):
        return [f"scorer_args: an object of options is needed, got {args!r}"]
    if reference in (None, "") and scorer != "judge":
        return []
    try:
        check_scorer(scorer, reference, args)
    except ValueError as error:
        return [f"scorer {error}"]
    return []


def _call_problems(record):
    """Are the calls of the reference calls of the tools on offer?"""
    offered = {tool["name"]: tool["parameters"] for tool in record.get("tools") or ()}
    reference = record.get("reference")
    if record.get("scorer") != "tool_call" or not reference:
        return []
    from jsonschema import Draft202012Validator

    if not offered:
        return ["tools: missing; the scorer tool_call needs them"]
    found = []
    for call in [reference] if isinstance(reference, Mapping) else reference:
        if call["name"] is not None and call["name"] not in offered:
            found.append(f"reference: {unknown('tool', call['name'], offered)}")
        elif call["name"] is not None:
            errors = Draft202012Validator(offered[call["name"]]).iter_errors(
                call.get("arguments", {})
            )
            found += [f"reference: {call['name']!r}: {error.message}" for error in errors]
    return found
