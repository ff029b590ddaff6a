"""Gold set: a reference model's good answers as files to fine-tune a smaller model with.

Every sample is either in a file or in the report, with the reason.
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
from tierlab.sampling.providers import Prompt
from tierlab.sampling.samples import example_of, load_samples, tool_calls
from tierlab.sampling.store import read

OUTCOMES = {
    "train": "written to the training file",
    "validation": "written to the validation file",
    "other_model": "an answer of another model",
    "no_answer": "refused, empty, filtered, or the service failed",
    "truncated": "cut off by the limit on output tokens",
    "not_scored": "without a score",
    "score_below": "scored below min_score",
    "not_expressible": "tools, or calls that none of them declares, for which the format has no place",
    "too_long": "more tokens than the provider takes",
    "duplicate": "its input is in the set already",
    "near_duplicate": "its input is almost one that is in the set already",
}
_PARTS = ("train", "validation")
FEWEST = {"openai": 10}  # examples in the training file
LONGEST = {"google": 131_072}  # tokens of one example
# JSON lets these stand in a text; some readers end a line there.
_LINE_ENDS = re.compile("[\x85\u2028\u2029]")


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
    force=False,
) -> pd.DataFrame:
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
    provider : {"openai", "google", "csv"}
        OpenAI's chat format, with tools; Google's for Vertex AI, without; or a table of prompt and completion,
        without system prompts and tools, for a classifier of your own.
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
    of three successive words (or other marks, such as + and -) is at least `near_duplicate`. The best-scored is kept,
    then the first by prompt_id. Examples of one group (`Example.group`) are in one file. Order of rows changes nothing.

    Formats, read 2026-11-24. OpenAI: the object FineTuneChatRequestInput of its API description, and at least 10
    examples (developers.openai.com/docs/guides/distillation). Google: "Prepare supervised fine-tuning data for Gemini
    models" (docs.cloud.google.com), 131,072 tokens per example ("About supervised fine-tuning", Gemini 2.5 Flash), counted
    by OpenAI's o200k_base tokenizer, an assumption.

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
    shares = {
        "min_score": min_score,
        "near_duplicate": near_duplicate,
        "validation_share": validation_share,
    }
    for name, share in shares.items():
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
    lines = {}
    for n in np.flatnonzero(outcome == ""):
        lines[n] = _line(table.loc[n], asked[n], FORMATS[provider])
        outcome[n] = "" if lines[n] else "not_expressible"
    if most := LONGEST.get(provider):
        held = np.flatnonzero(outcome == "")
        counted = count_tokens([json.dumps(lines[n], ensure_ascii=False) for n in held])
        outcome[held[np.asarray(counted) > most]] = "too_long"
    words = {n: _words(asked[n], provider) for n in np.flatnonzero(outcome == "")}
    outcome[list(words)] = _duplicates(words, near_duplicate)
    _split(table, outcome, validation_share, seed)
    files = {}
    for part in _PARTS:
        chosen = sorted(np.flatnonzero(outcome == part), key=table["prompt_id"].astype(str).get)
        text = _text(provider, [lines[n] for n in chosen])
        files[part] = str(folder.write(names[part], text))
    written = int((outcome == "train").sum())
    if written < FEWEST.get(provider, 0):
        warnings.warn(
            f"{written} training examples; {provider} takes no fewer than {FEWEST[provider]}",
            stacklevel=2,
        )
    report = _report(table, outcome)
    report.attrs["files"] = files
    return report


def _read(samples, examples):
    """The samples, best first, and the example of each."""
    if not isinstance(samples, pd.DataFrame):
        if examples is None:
            requests = read(samples, "SELECT request FROM calls WHERE kind = 'answer'")
            examples = [example_of(json.loads(text)["example"]) for (text,) in requests]
        samples = load_samples(samples)
    for column in ("prompt_id", "model_id", "prompt", "answer", "score"):
        if column not in samples:
            raise ValueError(f"column {column!r} is missing; there are {list(samples.columns)}")
    defaults = {"status": "ok", "tool_calls": "[]", "repeat": 0, "group": None}
    table = samples.assign(**{n: v for n, v in defaults.items() if n not in samples})
    best = -pd.to_numeric(table["score"])
    keys = table.assign(score=best, prompt_id=table["prompt_id"].astype(str))
    ranked = keys.reset_index(drop=True).sort_values(
        ["score", "prompt_id", "repeat"], kind="stable"
    )
    table = table.iloc[ranked.index].reset_index(drop=True)
    if examples is None:
        rows = table[["prompt_id", "prompt"]].itertuples(index=False)
        return table, [Example(str(row.prompt_id), "", row.prompt, "judge", None) for row in rows]
    known = {example.example_id: example for example in examples}
    if strange := [prompt_id for prompt_id in table["prompt_id"] if prompt_id not in known]:
        near = unknown("example", strange[0], known)
        raise ValueError(f"sample {plain(strange[0])!r} has no example: {near}")
    return table, table["prompt_id"].map(known).tolist()


def _set_aside(table, model, min_score):
    """Outcome of the samples that are no good answers of the model; "" for the others."""
    status = table["status"].astype(str)
    score = pd.to_numeric(table["score"]).to_numpy(float)
    no_text = table["answer"].fillna("").astype(str).str.strip().eq("")
    rules = {
        "other_model": table["model_id"].ne(model),
        "truncated": status.eq("truncated"),
        "no_answer": status.ne("ok") | (no_text & table["tool_calls"].fillna("[]").eq("[]")),
        "not_scored": np.isnan(score),
        "score_below": score < min_score,
    }
    first = np.select([np.asarray(rule) for rule in rules.values()], list(rules), "")
    return pd.Series(first, dtype=object)


def _line(row, example, form):
    """What the file holds of a sample, or None if the format has no place for it."""
    calls = tool_calls(json.loads(row["tool_calls"] or "[]"))
    declared = [tool["name"] for tool in example.tools]
    if any(call.name not in declared or "" in call.arguments for call in calls):
        return None
    return form(example, row["answer"] if isinstance(row["answer"], str) else "", calls)


def _openai(example, text, calls):
    asked = [{"role": "system", "content": example.system}] if example.system else []
    asked += Prompt.of(example.prompt).messages
    answer = {"role": "assistant"} | ({"content": text} if text or not calls else {})
    if calls:
        answer["tool_calls"] = [
            {
                "id": f"call_{n}",
                "type": "function",
                "function": {
                    "name": call.name,
                    "arguments": json.dumps(call.arguments, ensure_ascii=False),
                },
            }
            for n, call in enumerate(calls, 1)
        ]
    tools = [
        {"type": "function", "function": {"description": "", **tool}} for tool in example.tools
    ]
    return {"messages": [*asked, answer]} | ({"tools": tools} if tools else {})


def _google(example, text, calls):
    if calls or example.tools:
        return None
    turns = [*Prompt.of(example.prompt).messages, {"role": "assistant", "content": text}]
    roles = {"assistant": "model", "user": "user"}
    contents = [{"role": roles[t["role"]], "parts": [{"text": t["content"]}]} for t in turns]
    if not example.system:
        return {"contents": contents}
    system = {"role": "system", "parts": [{"text": example.system}]}
    return {"systemInstruction": system, "contents": contents}


def _table(example, text, calls):
    if calls or example.tools:
        return None
    return {"prompt": Prompt.of(example.prompt).text, "completion": text}


FORMATS = {"openai": _openai, "google": _google, "csv": _table}


def normalised(text):
    """Text as it is compared for duplicates.

    Examples
    --------
    >>> normalised("  Which  Day follows\\nMonday?! "), normalised("2+2?"), normalised("2 - 2?")
    ('which day follows monday', '2 + 2', '2 - 2')
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"""\w+|[^\w\s.,;:!?'"]""", folded))


def _words(example, provider):
    """All that a line asks, word by word, without the answer and the tools."""
    system = "" if provider == "csv" else example.system or ""
    said = [turn["content"] for turn in Prompt.of(example.prompt).messages]
    return normalised("\n".join([system, *said])).split()


def _duplicates(words, near_duplicate):
    """Of each input, by its words, whether it is one of those before, or almost; "" where it is neither."""
    seen, holders, sizes, found = set(), defaultdict(list), {}, []
    for n, said in words.items():
        shingles = {tuple(said[i : i + 3]) for i in range(max(1, len(said) - 2))}
        shared = Counter(other for shingle in shingles for other in holders[shingle])
        near = (both / (len(shingles) + sizes[other] - both) for other, both in shared.items())
        if tuple(said) in seen:
            found.append("duplicate")
        elif max(near, default=-1.0) >= near_duplicate:
            found.append("near_duplicate")
        else:
            found.append("")
            seen.add(tuple(said))
            sizes[n] = len(shingles)
            for shingle in shingles:
                holders[shingle].append(n)
    return found


def _split(table, outcome, share, seed):
    """Deal the groups: those whose turn comes first, by a keyed hash, to validation until its share is reached."""
    left = np.flatnonzero(outcome == "")
    own = "prompt " + table["prompt_id"].astype(str)
    groups = table["group"].where(table["group"].notna(), own)[left].astype(str)
    size, room, held = Counter(groups), round(share * len(left)), set()
    for group in sorted(
        size, key=lambda group: blake2b(f"{seed}:{group}".encode(), digest_size=8).digest()
    ):
        if size[group] <= room:
            held.add(group)
            room -= size[group]
    outcome[left] = np.where(groups.isin(held), "validation", "train")


def _text(provider, lines):
    if provider == "csv":
        file = io.StringIO(newline="")
        writer = csv.DictWriter(file, ["prompt", "completion"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        return file.getvalue()
    texts = [json.dumps(line, ensure_ascii=False) + "\n" for line in lines]
    return _LINE_ENDS.sub(lambda end: f"\\u{ord(end[0]):04x}", "".join(texts))


def _report(table, outcome):
    ids = table["prompt_id"].astype(str).groupby(outcome)
    firsts = ids.agg(lambda texts: ", ".join(list(dict.fromkeys(texts))[:10]))
    columns = {"samples": ids.size(), "why": pd.Series(OUTCOMES), "prompt_ids": firsts}
    names = [name for name in OUTCOMES if name in firsts or name in _PARTS]
    report = pd.DataFrame(columns).loc[names].fillna({"samples": 0, "prompt_ids": ""})
    return report.astype({"samples": int}).rename_axis("outcome")
