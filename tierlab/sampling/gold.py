"""Gold set: a reference model's good answers as files to fine-tune a smaller model with.

Every sample is either in a file or in the report, with the reason.

Fine-tuning examples as the providers spell them: what was asked, and the answer to be learnt, as one line of a file.
"""

import csv
import io
import json
import re
import unicodedata
import warnings
from collections import Counter, defaultdict
from hashlib import blake2b

import numpy as np
import pandas as pd

from tierlab.core.files import OutputFolder
from tierlab.core.tables import one_of, plain
from tierlab.core.vocabulary import unknown
from tierlab.routing.sources import count_tokens
from tierlab.sampling.examples import Example
from tierlab.sampling.samples import example_of, load_samples
from tierlab.sampling.store import read

OUTCOMES = {
    "train": "written to the training file",
    "validation": "written to the validation file",
    "other_model": "an answer of another model",
    "no_answer": "refused, empty, filtered, or the service failed",
    "truncated": "cut off by the limit on output tokens",
    "not_scored": "without a score",
    "score_below": "scored below min_score",
    "not_expressible": "tools, or a conversation, for which the format has no place",
    "too_long": "more tokens than max_tokens",
    "duplicate": "its input is in the set already",
    "near_duplicate": "its input is almost one that is in the set already",
}
_PARTS = ("train", "validation")
FEWEST = {"openai": 10}  # examples in the training file
_LINE_ENDS = re.compile(
    "[\x85\u2028\u2029]"
)  # JSON lets them stand in a text; some readers end a line there
LONGEST = {"google": 131_072}  # tokens of one example


def export_gold(
    samples,
    *,
    model,
    out,
    provider="openai",
    examples=None,
    min_score=1.0,
    validation_share=0.2,
    seed=0,
    near_duplicate=0.9,
    max_tokens=None,
    force=False,
):
    """Write the good answers of a model as fine-tuning files, split into training and validation.

    Parameters
    ----------
    samples : DataFrame or path
        The samples table, or the log of a live router that kept its prompts; or the store of a run.
    model : str
        The reference model's `model_id`.
    out : path
        Folder for the two files, `train` and `validation`; made if it does not exist. Neither the samples nor a file
        that tierlab did not make there is written over.
    provider : {"openai", "google", "bedrock", "csv"}
        OpenAI's chat format; Google's for Vertex AI; that of Anthropic's models on Amazon Bedrock, which knows no
        tools; or a table of prompt and completion, without system prompts, for a classifier of your own.
    examples : sequence of Example, optional
        What was asked: system prompts, tools and turns of a conversation are not in a samples table. By default the
        prompt's text is one user message. A store has its examples in it.
    min_score : float
        Least score, 0-1.
    validation_share : float
        Share of the examples, 0-1, for validation.
    seed : int
        Deals the groups to the two files.
    near_duplicate : float
        Similarity of two inputs, 0-1, from which the second is left out.
    max_tokens : int, optional
        The most tokens of one example, by OpenAI's o200k_base tokenizer (an assumption for other providers). By
        default 131,072 for Google, and no limit where none is known.
    force : bool
        Replace files of `out` that tierlab did not make.

    Returns
    -------
    DataFrame
        By outcome (`OUTCOMES`): samples, which add up to the input; why; prompt_ids (the first ten).
        `attrs["files"]` are the paths.

    Raises
    ------
    ValueError
        For a missing column, a model without samples, a sample without its example, or a share outside 0-1.

    Warns
    -----
    UserWarning
        If the training file has fewer examples than the provider takes.

    Notes
    -----
    Two inputs (system prompt and messages) are duplicates if they are equal after Unicode NFKC, case folding, and
    dropping white space and the marks .,;:!?'" between words; near duplicates if the Jaccard similarity of their sets
    of three successive words (or other marks, such as + and -) is at least `near_duplicate`. The best-scored is kept, then the first by prompt_id. Examples of one group
    (`Example.group`) are in one file. Order of rows changes nothing.

    Formats, read 2026-11-24. OpenAI: the object FineTuneChatRequestInput of its API description, and at least 10
    examples (developers.openai.com/docs/guides/distillation). Google: "Prepare supervised fine-tuning data for Gemini
    models" and "Tune function calling" (docs.cloud.google.com), 131,072 tokens per example ("About supervised
    fine-tuning", Gemini 2.5 Flash). Bedrock: "Finetuning Claude 3 Haiku on Bedrock" (platform.claude.com/cookbook) and
    docs.aws.amazon.com/bedrock/latest/userguide/preparing-text-data.html; the one Claude model that these name, Claude
    3 Haiku, ended there on 2026-09-10: ask which follows it before you plan on this format.

    Examples
    --------
    >>> import tempfile
    >>> table = pd.DataFrame({"prompt_id": ["a", "b", "c"], "model_id": "big", "score": [1, 1, 0],
    ...                       "prompt": ["2 + 2?", "2 + 3?", "2 + 4?"], "answer": ["4", "5", "7"]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export_gold(table, model="big", out=folder, provider="csv", validation_share=0.5)["samples"].to_dict()
    {'train': 1, 'validation': 1, 'score_below': 1}
    """
    one_of("provider", provider, FORMATS)
    for name, share in (
        ("min_score", min_score),
        ("near_duplicate", near_duplicate),
        ("validation_share", validation_share),
    ):
        if not 0 <= share <= 1:
            raise ValueError(f"{name} is {share!r}; a number from 0 to 1 is needed")
    names = {part: f"{part}.{'csv' if provider == 'csv' else 'jsonl'}" for part in _PARTS}
    folder = OutputFolder(
        out, inputs=[] if isinstance(samples, pd.DataFrame) else [samples], force=force
    )
    folder.claim(*names.values())
    table, asked = _read(samples, examples)
    if model not in set(table["model_id"]):
        raise ValueError(unknown("model", model, dict.fromkeys(table["model_id"])))
    outcome = _set_aside(table, model, min_score)
    lines = _lines(table, outcome, asked, provider, max_tokens or LONGEST.get(provider))
    _drop_duplicates(table, outcome, lines, near_duplicate)
    _split(table, outcome, validation_share, seed)
    texts = {
        part: _text(provider, [lines[n] for n in _chosen(table, outcome, part)]) for part in _PARTS
    }
    report = _report(table, outcome)
    report.attrs["files"] = {
        part: str(folder.write(names[part], text)) for part, text in texts.items()
    }
    written = int((outcome == "train").sum())
    if written < FEWEST.get(provider, 0):
        warnings.warn(
            f"{written} training examples; {provider} takes no fewer than {FEWEST[provider]}",
            stacklevel=2,
        )
    return report


def _read(samples, examples):
    """The samples in an order of their own, and the example of each."""
    if not isinstance(samples, pd.DataFrame):
        if examples is None:
            requests = read(samples, "SELECT request FROM calls WHERE kind = 'answer'")
            stored = {
                (e := example_of(json.loads(text)["example"])).example_id: e for (text,) in requests
            }
            examples = stored.values()
        samples = load_samples(samples)
    for column in ("prompt_id", "model_id", "prompt", "answer", "score"):
        if column not in samples:
            raise ValueError(f"column {column!r} is missing; there are {list(samples.columns)}")
    defaults = {"status": "ok", "tool_calls": "[]", "repeat": 0, "group": None}
    table = samples.assign(
        **{name: value for name, value in defaults.items() if name not in samples}
    )
    keys = table.assign(
        prompt_id=table["prompt_id"].astype(str), score=-pd.to_numeric(table["score"])
    )
    order = (
        keys.reset_index(drop=True)
        .sort_values(["score", "prompt_id", "repeat"], kind="stable")
        .index
    )
    table = table.iloc[order].reset_index(drop=True)
    if examples is None:
        return table, [
            Example(str(row.prompt_id), "", row.prompt, "judge", None) for row in table.itertuples()
        ]
    known = {example.example_id: example for example in examples}
    for prompt_id in table["prompt_id"]:
        if prompt_id not in known:
            raise ValueError(
                f"sample {plain(prompt_id)!r} has no example: "
                + unknown("example", prompt_id, known)
            )
    return table, [known[prompt_id] for prompt_id in table["prompt_id"]]


def _set_aside(table, model, min_score):
    """Outcome of the samples that are no good answers of the model; "" for the others."""
    status = table["status"].astype(str)
    score = pd.to_numeric(table["score"]).to_numpy(float)
    empty = table["answer"].fillna("").astype(str).str.strip().eq("") & table["tool_calls"].fillna(
        "[]"
    ).eq("[]")
    rules = {
        "other_model": table["model_id"].ne(model),
        "truncated": status.eq("truncated"),
        "no_answer": status.ne("ok") | empty,
        "not_scored": np.isnan(score),
        "score_below": score < min_score,
    }
    return pd.Series(
        np.select([np.asarray(rule) for rule in rules.values()], list(rules), ""), dtype=object
    )


def _lines(table, outcome, asked, provider, max_tokens):
    """What the file holds of every sample that it can hold."""
    lines = {}
    for n in np.flatnonzero(outcome == ""):
        row, example = table.loc[n], asked[n]
        try:
            calls = [declared_call(call, example) for call in json.loads(row["tool_calls"] or "[]")]
            text = row["answer"] if isinstance(row["answer"], str) else ""
            lines[n] = FORMATS[provider](example, turns_of(example), text, calls)
        except NoPlace:
            outcome[n] = "not_expressible"
    if max_tokens is not None and lines:
        counted = count_tokens([json.dumps(line, ensure_ascii=False) for line in lines.values()])
        outcome[[n for n, tokens in zip(lines, counted, strict=True) if tokens > max_tokens]] = (
            "too_long"
        )
    return lines


def _drop_duplicates(table, outcome, lines, near_duplicate):
    """Mark samples whose input is, or is almost, that of one before."""
    seen, holders, sizes = set(), defaultdict(list), {}
    for n, line in lines.items():
        if outcome[n]:
            continue
        words = normalised(_input(line)).split()
        text = " ".join(words)
        shingles = {tuple(words[i : i + 3]) for i in range(max(1, len(words) - 2))}
        shared = Counter(other for shingle in shingles for other in holders[shingle])
        if text in seen:
            outcome[n] = "duplicate"
        elif any(
            both / (len(shingles) + sizes[other] - both) >= near_duplicate
            for other, both in shared.items()
        ):
            outcome[n] = "near_duplicate"
        else:
            seen.add(text)
            sizes[n] = len(shingles)
            for shingle in shingles:
                holders[shingle].append(n)


def _input(line):
    """All that is asked in a line, without the answer and the tools."""
    if "prompt" in line:
        return line["prompt"]
    turns = (line.get("messages") or line["contents"])[:-1]
    said = [turn["content"] if "content" in turn else turn["parts"][0]["text"] for turn in turns]
    system = (
        line.get("system")
        or line.get("systemInstruction", {}).get("parts", [{"text": ""}])[0]["text"]
    )
    return "\n".join([system, *said])


def normalised(text):
    """Text as it is compared for duplicates.

    Examples
    --------
    >>> normalised("  Which  Day follows\\nMonday?! "), normalised("2+2?"), normalised("2 - 2?")
    ('which day follows monday', '2 + 2', '2 - 2')
    """
    return " ".join(
        re.findall(r"""\w+|[^\w\s.,;:!?'"]""", unicodedata.normalize("NFKC", text).casefold())
    )


def _split(table, outcome, share, seed):
    """Deal the groups: those whose turn comes first, by a keyed hash, to validation until its share is reached."""
    left = np.flatnonzero(outcome == "")
    groups = (
        table["group"]
        .where(table["group"].notna(), "prompt " + table["prompt_id"].astype(str))[left]
        .astype(str)
    )
    order = sorted(
        set(groups), key=lambda group: blake2b(f"{seed}:{group}".encode(), digest_size=8).digest()
    )
    size, room, held = Counter(groups), round(share * len(left)), set()
    for group in order:
        if size[group] <= room:
            held.add(group)
            room -= size[group]
    outcome[left] = np.where(groups.isin(held), "validation", "train")


def _chosen(table, outcome, part):
    """Rows of one file, by prompt_id."""
    rows = np.flatnonzero(outcome == part)
    return rows[np.argsort(table["prompt_id"].astype(str).to_numpy()[rows], kind="stable")]


def _text(provider, lines):
    if provider == "csv":
        file = io.StringIO(newline="")
        writer = csv.DictWriter(file, ["prompt", "completion"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        return file.getvalue()
    texts = (json.dumps(line, ensure_ascii=False) for line in lines)
    return "".join(
        _LINE_ENDS.sub(lambda end: f"\\u{ord(end[0]):04x}", text) + "\n" for text in texts
    )


def _report(table, outcome):
    ids = table["prompt_id"].astype(str).groupby(outcome)
    counts, firsts = ids.size(), ids.agg(lambda texts: ", ".join(list(dict.fromkeys(texts))[:10]))
    names = [name for name in OUTCOMES if name in counts or name in _PARTS]
    report = pd.DataFrame(
        {"samples": counts, "why": pd.Series(OUTCOMES), "prompt_ids": firsts}
    ).loc[names]
    report["samples"] = report["samples"].fillna(0).astype(int)
    return report.fillna({"prompt_ids": ""}).rename_axis("outcome")


_SCHEMA_KEYS = {
    *(
        "anyOf",
        "default",
        "description",
        "enum",
        "example",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
    ),
    *(
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "nullable",
        "pattern",
        "properties",
    ),
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
    turns = (
        [{"role": "user", "content": example.prompt}]
        if isinstance(example.prompt, str)
        else list(example.prompt)
    )
    return [(turn["role"], turn["content"]) for turn in turns]


def openai(example, turns, text, calls):
    system = [{"role": "system", "content": example.system}] if example.system else []
    answer = {"role": "assistant"} | ({"content": text} if text or not calls else {})
    if calls:
        functions = [
            {"name": name, "arguments": json.dumps(given, ensure_ascii=False)}
            for name, given in calls
        ]
        answer["tool_calls"] = [
            {"id": f"call_{n}", "type": "function", "function": f}
            for n, f in enumerate(functions, 1)
        ]
    line = {
        "messages": [*system, *({"role": role, "content": said} for role, said in turns), answer]
    }
    return line | (
        {"tools": [{"type": "function", "function": _declared(tool)} for tool in example.tools]}
        if example.tools
        else {}
    )


def google(example, turns, text, calls):
    system = (
        {"systemInstruction": {"role": "system", "parts": [{"text": example.system}]}}
        if example.system
        else {}
    )
    contents = [
        {"role": "model" if role == "assistant" else "user", "parts": [{"text": said}]}
        for role, said in turns
    ]
    parts = [{"functionCall": {"name": name, "args": given}} for name, given in calls]
    contents.append(
        {"role": "model", "parts": [*([{"text": text}] if text or not calls else []), *parts]}
    )
    tools = [
        _declared(tool) | {"parameters": _openapi(tool["parameters"])} for tool in example.tools
    ]
    return (
        system
        | {"contents": contents}
        | ({"tools": [{"functionDeclarations": tools}]} if tools else {})
    )


def bedrock(example, turns, text, calls):
    roles = [role for role, _ in turns]
    if calls or example.tools or roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
        raise NoPlace
    system = {"system": example.system} if example.system else {}
    messages = [
        *({"role": role, "content": said} for role, said in turns),
        {"role": "assistant", "content": text},
    ]
    return system | {"messages": messages}


def table(example, turns, text, calls):
    if calls or example.tools:
        raise NoPlace
    prompt = (
        turns[0][1] if len(turns) == 1 else "\n\n".join(f"{role}: {said}" for role, said in turns)
    )
    return {"prompt": prompt, "completion": text}


def _declared(tool):
    return {
        "name": tool["name"],
        "description": tool.get("description", ""),
        "parameters": dict(tool["parameters"]),
    }


def _openapi(schema):
    """A JSON schema in the OpenAPI subset of Google's API: types in capitals, null as `nullable`."""
    found = {
        key: value
        for key, value in schema.items()
        if not (key == "additionalProperties" and value is False)
    }
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
