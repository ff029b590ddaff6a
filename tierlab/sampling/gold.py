"""The gold set: a reference model's good answers as files to fine-tune a smaller model with.

Every sample is either in a file, or in the report with the reason why it is not.
"""

import json
import re
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from tierlab.core.files import OutputFolder
from tierlab.core.vocabulary import known, needs
from tierlab.sampling.providers import Prompt
from tierlab.sampling.samples import example_of, load_samples, tool_calls
from tierlab.sampling.store import digest, read

OUTCOMES = {
    "train": "written to the training file",
    "validation": "written to the validation file",
    "other_model": "an answer of another model",
    "truncated": "cut off by the limit on output tokens",
    "no_answer": "refused, empty, filtered, or the service failed",
    "not_scored": "without a score",
    "score_below": "scored below min_score",
    "not_expressible": "calls that none of the example's tools declares",
    "duplicate": "its input is in the set already",
}
FEWEST = 10  # examples in the training file
_EXAMPLES = "SELECT request FROM calls WHERE kind = 'answer' ORDER BY rowid"  # as load_samples
# JSON allows these characters within a text, but some readers end a line there.
_LINE_ENDS = re.compile("[\x85\u2028\u2029]")


def export_gold(
    store: str | Path,
    *,
    model: str,
    out: str | Path,
    min_score: float = 1.0,
    validation_share: float = 0.2,
) -> pd.DataFrame:
    """Write the good answers of a model as fine-tuning files, split into training and validation.

    Parameters
    ----------
    store : path
        A store of `tierlab.sample`.
    model : str
        The reference model's `model_id`.
    out : path
        Folder for train.jsonl and validation.jsonl, in OpenAI's chat format; made if it does not exist. Neither the
        store nor any file that tierlab did not make there is overwritten.
    min_score : float
        The lowest score of a good answer, 0-1.
    validation_share : float
        Share of the examples, 0-1, for validation.

    Returns
    -------
    DataFrame
        By outcome (`OUTCOMES`): samples (their sum is that of the store), why, prompt_ids (the first ten).
        `attrs["files"]` has the paths.

    Raises
    ------
    ValueError
        For a model without samples, or a share outside 0-1.

    Warns
    -----
    UserWarning
        If the training file has fewer examples than OpenAI accepts.

    Notes
    -----
    Two inputs (system prompt and messages) are duplicates if they are equal after Unicode NFKC, case folding, and
    removing white space and the marks .,;:!?'" between words. The best-scored one is kept, and among equals the first
    by prompt_id. Examples of one group (`Example.group`) go into one file; give near duplicates a group.

    The format is the object FineTuneChatRequestInput of OpenAI's API description, and at least 10 examples
    (developers.openai.com/docs/guides/distillation), both read on 2026-11-24.
    """
    for name, share in (("min_score", min_score), ("validation_share", validation_share)):
        needs(name, share, 0 <= share <= 1, "a number from 0 to 1")
    names = {part: f"{part}.jsonl" for part in ("train", "validation")}
    folder = OutputFolder(out, inputs=[store])
    folder.claim(*names.values())
    table = load_samples(store)
    known("model", model, dict.fromkeys(table["model_id"]))
    examples = [example_of(json.loads(text)["example"]) for (text,) in read(store, _EXAMPLES)]
    table["asked"], table["example"] = [_normalised(example) for example in examples], examples
    table = table.sort_values(
        ["score", "prompt_id", "repeat"], ascending=[False, True, True], ignore_index=True
    )
    table["line"] = [_line(row) for row in table[["example", "answer", "tool_calls"]].itertuples()]
    table["outcome"] = _set_aside(table, model, min_score)
    again = table.loc[table["outcome"] == "", "asked"].duplicated()
    table.loc[again.index[again], "outcome"] = "duplicate"
    _split(table, validation_share)
    report = _report(table)
    for part, name in names.items():
        lines = table[table["outcome"] == part].sort_values("prompt_id")["line"]
        report.attrs.setdefault("files", {})[part] = str(folder.write(name, "".join(lines)))
    written = report.loc["train", "samples"]
    if written < FEWEST:
        warnings.warn(
            f"{written} training examples; OpenAI takes no fewer than {FEWEST}", stacklevel=2
        )
    return report


def _set_aside(table, model, min_score):
    """The outcome of each sample that is not a good answer of the model; "" for the others."""
    status, score = table["status"], table["score"]
    no_text = table["answer"].fillna("").str.strip().eq("")
    rules = {
        "other_model": table["model_id"].ne(model),
        "truncated": status.eq("truncated"),
        "no_answer": status.ne("ok") | (no_text & table["tool_calls"].eq("[]")),
        "not_scored": score.isna(),
        "score_below": score < min_score,
        "not_expressible": table["line"].isna(),
    }
    return np.select(list(rules.values()), list(rules), "")


def _line(row):
    """The line of a sample in the file, or None if it calls a tool that its example does not declare."""
    example, text = row.example, row.answer if isinstance(row.answer, str) else ""
    calls = tool_calls(json.loads(row.tool_calls))
    declared = [tool["name"] for tool in example.tools]
    if any(call.name not in declared or "" in call.arguments for call in calls):
        return None
    asked = [{"role": "system", "content": example.system}] if example.system else []
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
    line = {"messages": [*asked, *Prompt.of(example.prompt).messages, answer]}
    if example.tools:
        line["tools"] = [{"type": "function", "function": tool} for tool in example.tools]
    written = json.dumps(line, ensure_ascii=False) + "\n"
    return _LINE_ENDS.sub(lambda end: f"\\u{ord(end[0]):04x}", written)


def _normalised(example):
    """Everything that an example asks, normalised to be compared for duplicates."""
    said = [turn["content"] for turn in Prompt.of(example.prompt).messages]
    folded = unicodedata.normalize("NFKC", "\n".join([example.system or "", *said])).casefold()
    return " ".join(re.findall(r"""\w+|[^\w\s.,;:!?'"]""", folded))


def _split(table, share):
    """Put groups into validation, in the order of their hashes, until its share is reached; the rest is for training."""
    left = table[table["outcome"] == ""]
    groups = left["group"].where(left["group"].notna(), "prompt " + left["prompt_id"])
    sizes, places, held = groups.value_counts(), round(share * len(left)), set()
    for group in sorted(sizes.index, key=digest):
        if sizes[group] <= places:
            held.add(group)
            places -= sizes[group]
    table.loc[left.index, "outcome"] = np.where(groups.isin(held), "validation", "train")


def _report(table):
    ids = table["prompt_id"].groupby(table["outcome"])
    firsts = ids.agg(lambda texts: ", ".join(list(dict.fromkeys(texts))[:10]))
    columns = {"samples": ids.size(), "why": pd.Series(OUTCOMES), "prompt_ids": firsts}
    names = [name for name in OUTCOMES if name in firsts or name in ("train", "validation")]
    report = pd.DataFrame(columns).loc[names].fillna({"samples": 0, "prompt_ids": ""})
    return report.astype({"samples": int}).rename_axis("outcome")
