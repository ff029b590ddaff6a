"""Public recorded outcomes as outcomes tables without costs: RouteLLM, ZeroEval, RouterArena.

Answers were given by models of 2023-2024 and scored by the named projects, or by our scorer where the raw
answers are published. None of these data sets is kept in this repository; `tierlab.datasets` fetches them.
"""

import json
import warnings

import numpy as np
import pandas as pd

from tierlab import datasets
from tierlab.names import unknown
from tierlab.outcome_table import merge_flags
from tierlab.scoring import score_numeric

TOKENIZERS = ("o200k_base", "cl100k_base", "utf8_bytes/4")


def count_tokens(texts, tokenizer="o200k_base"):
    """Tokens of each text by one offline tokenizer.

    Parameters
    ----------
    texts : sequence of str
    tokenizer : {"o200k_base", "cl100k_base", "utf8_bytes/4"}
        OpenAI's encodings for GPT-4o and later and for GPT-4 (bundled in the package bpe-openai), or a quarter
        of the UTF-8 bytes, rounded up. Other providers publish no tokenizer for their current models: for
        them any of these is an assumption.

    Returns
    -------
    ndarray of int

    Notes
    -----
    Against the providers' own counts in RouterArena (809 prompts with their answers), tokens per o200k_base
    token have a median of 1.16 for Claude 3 Haiku (5th to 95th percentile 1.09 to 1.26) and 0.94 for Gemini
    2.0 Flash (0.67 to 1.06). On ZeroEval's answers the bytes rule gives 7-19% fewer tokens than o200k_base,
    by a different amount for each model, which is why it is not the default.

    Examples
    --------
    >>> count_tokens(["tiktoken is great!", ""]).tolist()
    [6, 0]
    """
    if tokenizer not in TOKENIZERS:
        raise ValueError(unknown("tokenizer", tokenizer, TOKENIZERS))
    different = list(dict.fromkeys(texts))
    if tokenizer == "utf8_bytes/4":
        counted = [-(-len(text.encode()) // 4) for text in different]
    else:
        with warnings.catch_warnings():  # on import it calls a function that Python 3.11 and 3.12 deprecate
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                from bpe_openai import get_encoding
            except ImportError:
                raise ImportError(f"tokenizer {tokenizer!r} needs the package bpe-openai; 'utf8_bytes/4' needs none") from None
        counted = [len(tokens) for tokens in get_encoding(tokenizer).encode_ordinary_batch(different)]
    lookup = dict(zip(different, counted, strict=True))
    return np.fromiter((lookup[text] for text in texts), "int64")


def routellm_gsm8k(*, tokenizer, contaminated, assumed_output_tokens):
    """1,319 grade-school problems, Mixtral 8x7B (weak) and GPT-4 Turbo (strong), scored by RouteLLM."""
    folder = datasets.path("routellm_gsm8k")
    wide = _read_routellm(folder / "gsm8k_responses.csv")
    wide.insert(0, "prompt_id", [f"gsm8k-{row}" for row in range(len(wide))])
    kept, left_out = _clean(wide.assign(task="gsm8k"), folder / "gsm8k_contaminated_prompts.jsonl", contaminated)
    table = _long(kept, [c for c in wide if f"{c}_response" in wide])
    answers = kept[[f"{model}_response" for model in table["model_id"].cat.categories]].fillna("").to_numpy().ravel()
    table["uncached_input_tokens"] = count_tokens(table["prompt"], tokenizer)
    table["output_tokens"] = count_tokens(answers, tokenizer)
    return _described(table, "routellm_gsm8k", tokenizer, left_out)


def routellm_mmlu(*, tokenizer, contaminated, assumed_output_tokens):
    """14,042 exam questions of 57 subjects, the same two models; no answer text is published."""
    folder = datasets.path("routellm_mmlu")
    parts = []
    for file in sorted((folder / "mmlu").glob("mmlu_*.csv")):
        subject = file.stem.removeprefix("mmlu_")
        part = _read_routellm(file)
        part.insert(0, "prompt_id", [f"{subject}-{row}" for row in range(len(part))])
        parts.append(part.assign(task=subject))
    wide = pd.concat(parts, ignore_index=True)
    models = [c for c in wide if c not in ("prompt_id", "prompt", "task")]
    kept, left_out = _clean(wide, folder / "mmlu_contaminated_prompts.jsonl", contaminated)
    table = _long(kept, models)
    table["uncached_input_tokens"] = count_tokens(table["prompt"], tokenizer)
    table["output_tokens"] = assumed_output_tokens
    table["flags"] = merge_flags(table, "assumed_output_tokens")
    written = f"{assumed_output_tokens} output tokens taken for every answer, whose text is not published (an assumption)"
    return _described(table, "routellm_mmlu", tokenizer, f"{left_out}; {written}")


def zeroeval_gsm(*, tokenizer, contaminated, assumed_output_tokens):
    """1,319 grade-school problems answered by eight models of 2024, raw answers scored by `score_numeric`."""
    runs = {file.stem: json.loads(file.read_text()) for file in sorted(datasets.path("zeroeval_gsm").glob("*.json"))}
    rows = [
        {
            "prompt_id": answer["id"],
            "model_id": model,
            "task": answer["dataset"],
            "prompt": answer["question"],
            "sent": answer["chat_history"][0],
            "reply": answer["output"][0],
            "truth": answer["answer"],
        }
        for model, answers in runs.items()
        for answer in answers
    ]
    table = pd.DataFrame(rows).astype({"model_id": "category"})
    table["score"] = score_numeric(table["reply"], table["truth"])
    table["uncached_input_tokens"] = count_tokens(table["sent"], tokenizer)
    table["output_tokens"] = count_tokens(table["reply"], tokenizer)
    table["flags"] = merge_flags(table, "reasoning_not_counted", table["model_id"].eq("o1-mini-2024-09-12"))
    return _described(table.drop(columns=["sent", "reply", "truth"]), "zeroeval_gsm", tokenizer)


def routerarena(*, tokenizer, contaminated, assumed_output_tokens):
    """809 prompts of many benchmarks, Claude 3 Haiku and Gemini 2.0 Flash, with the providers' token counts and costs."""
    folder = datasets.path("routerarena")
    raw = pd.concat([pd.read_json(file, lines=True) for file in sorted(folder.glob("*.jsonl"))], ignore_index=True)
    result, usage = pd.json_normalize(raw["evaluation_result"]), pd.json_normalize(raw["token_usage"])
    table = pd.DataFrame(
        {
            "prompt_id": raw["global_index"],
            "model_id": raw["llm_selected"].astype("category"),
            "task": raw["global_index"].str.rsplit("_", n=1).str[0],
            "prompt": raw["question"],
            "score": result["score"].clip(0, 1),
            "cost_usd": result["inference_cost"],
            "status": np.where(raw["success"], "ok", "error"),
            "uncached_input_tokens": usage["input_tokens"],
            "output_tokens": usage["output_tokens"],
        }
    )
    table["flags"] = merge_flags(table, "score_clipped", table["score"].ne(result["score"]))
    table["cost_source"] = pd.Categorical(["the file: list prices at the time of the run"] * len(table))
    return _described(table, "routerarena", "the provider's own count")


READERS = {reader.__name__: reader for reader in (routellm_gsm8k, routellm_mmlu, zeroeval_gsm, routerarena)}


def _read_routellm(file):
    return pd.read_csv(file, keep_default_na=False)


def _clean(wide, listed, contaminated):
    """The table without the prompts that RouteLLM lists as contaminated, and a remark that says how many."""
    if contaminated:
        return wide, "contaminated prompts included"
    bad = wide["prompt"].isin(pd.read_json(listed, lines=True)["eval_prompt"])
    return wide[~bad].reset_index(drop=True), f"{int(bad.sum())} of {len(wide):,} prompts left out as contaminated"


def _long(wide, models):
    """One row per prompt and model from one row per prompt."""
    scores = wide[models].astype(str).apply(lambda column: column.map({"True": 1.0, "False": 0.0}))
    table = wide[["prompt_id", "task", "prompt"]].loc[wide.index.repeat(len(models))].reset_index(drop=True)
    table.insert(1, "model_id", pd.Categorical.from_codes(np.tile(np.arange(len(models)), len(wide)), models))
    return table.assign(score=scores.to_numpy().ravel())


def _described(table, name, tokenizer, remark=None):
    """The table with what it is and where it comes from, in columns."""
    origin = datasets.REGISTRY[name].iloc[0]
    text = f"{origin['repository']} at {origin['commit'][:7]}, {origin['licence']}" + (f"; {remark}" if remark else "")
    estimated = tokenizer in TOKENIZERS
    label = f"{tokenizer}, taken for every model (an assumption)" if estimated else tokenizer
    table = table.astype({"task": "category"})
    table["prompt_chars"] = table["prompt"].str.len()
    table["source"] = pd.Categorical(["recorded"] * len(table))
    table["provenance"] = pd.Categorical([text] * len(table))
    table["tokenizer"] = pd.Categorical([label] * len(table))
    return table.assign(flags=merge_flags(table, "estimated_tokens")) if estimated else table
