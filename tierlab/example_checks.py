"""What is wrong with one example: its prompt, its tools and schemas, and whether the reference fits the scorer."""

from collections import Counter
from collections.abc import Mapping

from tierlab.names import unknown

DIFFICULTIES = ("easy", "medium", "hard")
_ROLES = ("user", "assistant")
_TEXTS = ("example_id", "task", "scorer", "system", "group")


def problems_of(record):
    """Every problem in the values of one record; what is missing from it is not looked for here.

    Parameters
    ----------
    record : mapping
        Field of `tierlab.examples.Example` -> value, as read from JSON.

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
            return [f"prompt: message {number} needs role and content and nothing else, got {message!r}"]
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
            found.append(f"tools: tool {number} needs name, description and parameters, got {tool!r}")
            continue
        names.append(tool["name"])
        if not isinstance(tool.get("description"), str):
            found.append(f"tools: {tool['name']!r} has no description")
        schema = tool.get("parameters")
        if not isinstance(schema, Mapping) or schema.get("type") != "object":
            found.append(f"tools: {tool['name']!r} needs parameters, a JSON schema of type object; got {schema!r}")
        else:
            found += _schema_problems(f"tools: {tool['name']!r}", schema)
    return found + [f"tools: {name!r} comes twice" for name, count in Counter(names).items() if count > 1]


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
    from tierlab.scoring import SCORERS, check_scorer

    scorer, reference, args = record.get("scorer"), record.get("reference"), record.get("scorer_args") or {}
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
            errors = Draft202012Validator(offered[call["name"]]).iter_errors(call.get("arguments", {}))
            found += [f"reference: {call['name']!r}: {error.message}" for error in errors]
    return found
