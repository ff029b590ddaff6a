"""Fine-tuning examples as the providers spell them: what was asked, and the answer to be learnt, as one line of a file."""

import json

_SCHEMA_KEYS = {
    *("anyOf", "default", "description", "enum", "example", "format", "items", "maxItems", "maxLength", "maxProperties"),
    *("maximum", "minItems", "minLength", "minProperties", "minimum", "nullable", "pattern", "properties"),
    *("propertyOrdering", "required", "title", "type"),
}


class NoPlace(Exception):
    """The format has no place for it."""


def declared_call(call, example):
    """Name and arguments of a tool call that the example declares."""
    name, arguments = call
    try:
        arguments = json.loads(arguments or "{}")
    except ValueError:
        raise NoPlace from None
    if not isinstance(arguments, dict) or name not in [tool["name"] for tool in example.tools]:
        raise NoPlace
    return name, arguments


def turns_of(example):
    turns = [{"role": "user", "content": example.prompt}] if isinstance(example.prompt, str) else list(example.prompt)
    return [(turn["role"], turn["content"]) for turn in turns]


def openai(example, turns, text, calls):
    system = [{"role": "system", "content": example.system}] if example.system else []
    answer = {"role": "assistant"} | ({"content": text} if text or not calls else {})
    if calls:
        functions = [{"name": name, "arguments": json.dumps(given, ensure_ascii=False)} for name, given in calls]
        answer["tool_calls"] = [{"id": f"call_{n}", "type": "function", "function": f} for n, f in enumerate(functions, 1)]
    line = {"messages": [*system, *({"role": role, "content": said} for role, said in turns), answer]}
    return line | (
        {"tools": [{"type": "function", "function": _declared(tool)} for tool in example.tools]} if example.tools else {}
    )


def google(example, turns, text, calls):
    system = {"systemInstruction": {"role": "system", "parts": [{"text": example.system}]}} if example.system else {}
    contents = [{"role": "model" if role == "assistant" else "user", "parts": [{"text": said}]} for role, said in turns]
    parts = [{"functionCall": {"name": name, "args": given}} for name, given in calls]
    contents.append({"role": "model", "parts": [*([{"text": text}] if text or not calls else []), *parts]})
    tools = [_declared(tool) | {"parameters": _openapi(tool["parameters"])} for tool in example.tools]
    return system | {"contents": contents} | ({"tools": [{"functionDeclarations": tools}]} if tools else {})


def bedrock(example, turns, text, calls):
    roles = [role for role, _ in turns]
    if calls or example.tools or roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
        raise NoPlace
    system = {"system": example.system} if example.system else {}
    messages = [*({"role": role, "content": said} for role, said in turns), {"role": "assistant", "content": text}]
    return system | {"messages": messages}


def table(example, turns, text, calls):
    if calls or example.tools:
        raise NoPlace
    prompt = turns[0][1] if len(turns) == 1 else "\n\n".join(f"{role}: {said}" for role, said in turns)
    return {"prompt": prompt, "completion": text}


def _declared(tool):
    return {"name": tool["name"], "description": tool.get("description", ""), "parameters": dict(tool["parameters"])}


def _openapi(schema):
    """A JSON schema in the OpenAPI subset of Google's API: types in capitals, null as `nullable`."""
    found = {key: value for key, value in schema.items() if not (key == "additionalProperties" and value is False)}
    if not found.keys() <= _SCHEMA_KEYS:
        raise NoPlace
    if isinstance(found.get("type"), list):
        types = [kind for kind in found["type"] if kind != "null"]
        if len(types) != 1:
            raise NoPlace
        found |= {"type": types[0]} | ({"nullable": True} if "null" in schema["type"] else {})
    if "type" in found:
        found["type"] = found["type"].upper()
    if "properties" in found:
        found["properties"] = {name: _openapi(part) for name, part in found["properties"].items()}
    if "items" in found:
        found["items"] = _openapi(found["items"])
    if "anyOf" in found:
        found["anyOf"] = [_openapi(part) for part in found["anyOf"]]
    return found


FORMATS = {"openai": openai, "google": google, "bedrock": bedrock, "csv": table}
