"""Outcomes: prompts answered by models, from simulation, public data or your own file, scored and priced.

Public recorded outcomes as outcomes tables without costs: RouteLLM, ZeroEval, RouterArena.

Answers were given by models of 2023-2024 and scored by the named projects, or by our scorer where the raw
answers are published. None of these data sets is kept in this repository; `tierlab.datasets` fetches them.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from tierlab.core import datasets
from tierlab.core.untrusted import cited, regular, unguarded
from tierlab.core.vocabulary import unknown
from tierlab.evaluate.scorers.numeric import score_numeric
from tierlab.routing.outcomes import check_outcomes, merge_flags, price_outcomes

SOURCES = ("simulated", "recorded", "measured")


def load_outcomes(
    name_or_path,
    *,
    prices=None,
    usd_per_mtok=None,
    missing_price="flag",
    tokenizer="o200k_base",
    contaminated=False,
    assumed_output_tokens=1,
    incomplete="raise",
    models=None,
):
    """Recorded outcomes by name, or a file of one's own, as an outcomes table.

    Parameters
    ----------
    name_or_path : {"routellm_gsm8k", "routellm_mmlu", "zeroeval_gsm", "routerarena"} or path
        A public data set, or a CSV or Parquet file with at least prompt_id, model_id and score.
    prices : Prices, optional
        From `tierlab.load_prices`. Without it costs are the file's, or NaN. With it every cost is worked out
        from the token counts.
    usd_per_mtok : mapping of str to (float, float), optional
        Input and output rate, USD per million tokens, of models that `prices` lacks. No catalogue of the kit
        prices RouteLLM's weak model, mistralai/Mixtral-8x7B-Instruct-v0.1.
    missing_price : {"flag", "raise"}
        A model without a price: NaN cost and the flag `no_price`, or an error.
    tokenizer : {"o200k_base", "cl100k_base", "utf8_bytes/4"}
        Counts tokens where the data has text and no counts, for every model alike: an assumption, because
        each provider has a tokenizer of its own (`tierlab.routing.sources.count_tokens` has the measured error).
    contaminated : bool
        RouteLLM: keep the prompts that its authors list as contaminated (12 of GSM8K, 5 of MMLU).
    assumed_output_tokens : int
        RouteLLM MMLU, which has no answer text: output tokens of every answer. Its authors let the models
        write one token (max_new_tokens=1 in routellm/evals/mmlu/generate_responses.py).
    incomplete : {"raise", "drop"}
        Prompts that some model has not answered.
    models : sequence of str, optional
        Only the rows of these models or tiers are read and checked.

    Returns
    -------
    DataFrame
        The outcomes table. What was done to it is in its columns: `source`, `provenance` (repository, commit,
        licence, prompts left out and why), `tokenizer`, `cost_source`, and `flags` (no_price,
        estimated_tokens, assumed_output_tokens, reasoning_not_counted, score_clipped, and those of
        `tierlab.price`). `tierlab.routing.outcomes.outcome_account` counts them.

    Raises
    ------
    ValueError
        If the name is unknown, or a file cannot be read, lacks a column, has a misspelt one, a score outside
        0-1 or missing, a cost missing in some rows, two rows for one prompt and model, or prompts that some
        model has not answered; names file and row.

    Notes
    -----
    RouteLLM (Ong et al., arXiv 2406.18665): scored by its authors; the input is the question alone, without
    the worked examples they sent along. Prompt ids of MMLU are subject and row, because some questions
    repeat. ZeroEval: raw answers scored by `tierlab.evaluate.scorers.numeric.score_numeric`; the hidden reasoning of o1-mini
    is billed and not in the data, so its cost is a lower bound. RouterArena: the providers' token counts and
    the list prices of the time; one score below 0 (METEOR against chance) is set to 0 and flagged.
    """
    rates = {"usd_per_mtok": usd_per_mtok, "missing_price": missing_price}
    if isinstance(name_or_path, str) and name_or_path in READERS:
        if assumed_output_tokens < 0 or assumed_output_tokens != int(assumed_output_tokens):
            raise ValueError(
                f"assumed_output_tokens={assumed_output_tokens!r}; a whole number from 0 up is needed"
            )
        read = READERS[name_or_path]
        table = read(
            tokenizer=tokenizer,
            contaminated=contaminated,
            assumed_output_tokens=int(assumed_output_tokens),
        )
        return _costed(check_outcomes(_of(table, models), incomplete=incomplete), prices, **rates)
    path = Path(name_or_path)
    if path.suffix not in (".csv", ".parquet"):
        raise ValueError(
            unknown("data set", str(name_or_path), READERS)
            + " (or a path to a .csv or .parquet file)"
        )
    try:
        return _costed(
            check_outcomes(_of(_own(path), models), incomplete=incomplete), prices, **rates
        ).reset_index(drop=True)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _of(table, models):
    """The rows of some models; what is wrong with the others does not matter then."""
    if models is None or "model_id" not in table:
        return table
    named = [table[column].astype(str) for column in ("model_id", "tier") if column in table]
    for name in models:
        if not any(name in set(names) for names in named):
            raise ValueError(unknown("model", name, named[0].unique()))
    return table[np.logical_or.reduce([names.isin(models) for names in named])]


def _own(path):
    """A file as a table whose index is the row of the file."""
    try:
        frame = (
            pd.read_parquet(path)
            if regular(path).suffix == ".parquet"
            else unguarded(pd.read_csv(path))
        )
    except Exception as error:
        raise ValueError(f"cannot be read as an outcomes table ({error})") from error
    frame.index = (
        pd.RangeIndex(2, len(frame) + 2) if path.suffix == ".csv" else pd.RangeIndex(len(frame))
    )
    if "at" in frame and not pd.api.types.is_datetime64_any_dtype(frame["at"]):
        at = pd.to_datetime(frame["at"], errors="coerce", utc=True, format="ISO8601")
        if at.isna().any():
            raise ValueError(
                f"row {at.isna().idxmax()}, column 'at': {cited(frame['at'][at.isna().idxmax()])} is not an ISO time"
            )
        frame["at"] = at.dt.tz_localize(None)
    source = frame.get("source", pd.Series("recorded", frame.index))
    if not source.isin(SOURCES).all():
        row = (~source.isin(SOURCES)).idxmax()
        raise ValueError(f"row {row}, column 'source': " + unknown("source", source[row], SOURCES))
    return frame.assign(
        source=source.astype("category"), provenance=frame.get("provenance", path.name)
    )


def _costed(table, prices, **rates):
    """The table with a cost per answer: worked out where there are prices, else the file's own, else NaN and flagged."""
    counted = {"uncached_input_tokens", "output_tokens"} <= set(table.columns)
    if prices is not None or rates["usd_per_mtok"]:
        return price_outcomes(table, prices, **rates)
    if "cost_usd" in table:
        missing = table["cost_usd"].isna()
        if missing.any():
            raise ValueError(
                f"a cost is missing in {int(missing.sum()):,} rows, first row {missing.idxmax()}, column 'cost_usd'; "
                "give prices= to work costs out from tokens, or leave the column out"
            )
        return table if "cost_source" in table else table.assign(cost_source="the file")
    if counted or rates["missing_price"] == "raise":
        return price_outcomes(table, **rates)
    return table.assign(
        cost_usd=float("nan"),
        cost_source="none: no costs and no token counts",
        flags=merge_flags(table, "no_price"),
    )


def as_tiers(outcomes):
    """The cheapest, a middle and the dearest model of a table as small, mid and flagship, where it names no tiers.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table.

    Returns
    -------
    DataFrame
        As it is when it has a column `tier`. Otherwise the rows of three models (two if there are only two, then
        without a mid tier) with the column added: by mean cost, or by mean score where a cost is unknown.

    Examples
    --------
    >>> table = pd.DataFrame({"prompt_id": [1, 1], "model_id": ["a", "b"], "score": [1, 1], "cost_usd": [0.02, 0.01]})
    >>> as_tiers(table)["tier"].tolist()
    ['flagship', 'small']
    """
    if "tier" in outcomes:
        return outcomes
    means = outcomes.groupby("model_id", observed=True)[["cost_usd", "score"]].mean()
    order = means.sort_values(
        "score" if means["cost_usd"].isna().any() else "cost_usd", kind="stable"
    ).index
    if len(order) < 2:
        raise ValueError("tiers need at least two models")
    named = {order[0]: "small", order[-1]: "flagship"}
    if len(order) > 2:
        named[order[len(order) // 2]] = "mid"
    kept = outcomes[outcomes["model_id"].isin(named)]
    return kept.assign(
        model_id=kept["model_id"].astype(str), tier=kept["model_id"].astype(str).map(named)
    )


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
        with (
            warnings.catch_warnings()
        ):  # on import it calls a function that Python 3.11 and 3.12 deprecate
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                from bpe_openai import get_encoding
            except ImportError:
                raise ImportError(
                    f"tokenizer {tokenizer!r} needs the package bpe-openai; 'utf8_bytes/4' needs none"
                ) from None
        counted = [
            len(tokens) for tokens in get_encoding(tokenizer).encode_ordinary_batch(different)
        ]
    lookup = dict(zip(different, counted, strict=True))
    return np.fromiter((lookup[text] for text in texts), "int64")


def routellm_gsm8k(*, tokenizer, contaminated, assumed_output_tokens):
    """1,319 grade-school problems, Mixtral 8x7B (weak) and GPT-4 Turbo (strong), scored by RouteLLM."""
    folder = datasets.path("routellm_gsm8k")
    wide = _read_routellm(folder / "gsm8k_responses.csv")
    wide.insert(0, "prompt_id", [f"gsm8k-{row}" for row in range(len(wide))])
    kept, left_out = _clean(
        wide.assign(task="gsm8k"), folder / "gsm8k_contaminated_prompts.jsonl", contaminated
    )
    table = _long(kept, [c for c in wide if f"{c}_response" in wide])
    answers = (
        kept[[f"{model}_response" for model in table["model_id"].cat.categories]]
        .fillna("")
        .to_numpy()
        .ravel()
    )
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
    runs = {
        file.stem: json.loads(file.read_text())
        for file in sorted(datasets.path("zeroeval_gsm").glob("*.json"))
    }
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
    table["flags"] = merge_flags(
        table, "reasoning_not_counted", table["model_id"].eq("o1-mini-2024-09-12")
    )
    return _described(table.drop(columns=["sent", "reply", "truth"]), "zeroeval_gsm", tokenizer)


def routerarena(*, tokenizer, contaminated, assumed_output_tokens):
    """809 prompts of many benchmarks, Claude 3 Haiku and Gemini 2.0 Flash, with the providers' token counts and costs."""
    folder = datasets.path("routerarena")
    raw = pd.concat(
        [pd.read_json(file, lines=True) for file in sorted(folder.glob("*.jsonl"))],
        ignore_index=True,
    )
    result, usage = (
        pd.json_normalize(raw["evaluation_result"]),
        pd.json_normalize(raw["token_usage"]),
    )
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
    table["cost_source"] = pd.Categorical(
        ["the file: list prices at the time of the run"] * len(table)
    )
    return _described(table, "routerarena", "the provider's own count")


READERS = {
    reader.__name__: reader for reader in (routellm_gsm8k, routellm_mmlu, zeroeval_gsm, routerarena)
}


def _read_routellm(file):
    return pd.read_csv(file, keep_default_na=False)


def _clean(wide, listed, contaminated):
    """The table without the prompts that RouteLLM lists as contaminated, and a remark that says how many."""
    if contaminated:
        return wide, "contaminated prompts included"
    bad = wide["prompt"].isin(pd.read_json(listed, lines=True)["eval_prompt"])
    return wide[~bad].reset_index(
        drop=True
    ), f"{int(bad.sum())} of {len(wide):,} prompts left out as contaminated"


def _long(wide, models):
    """One row per prompt and model from one row per prompt."""
    scores = wide[models].astype(str).apply(lambda column: column.map({"True": 1.0, "False": 0.0}))
    table = (
        wide[["prompt_id", "task", "prompt"]]
        .loc[wide.index.repeat(len(models))]
        .reset_index(drop=True)
    )
    table.insert(
        1, "model_id", pd.Categorical.from_codes(np.tile(np.arange(len(models)), len(wide)), models)
    )
    return table.assign(score=scores.to_numpy().ravel())


def _described(table, name, tokenizer, remark=None):
    """The table with what it is and where it comes from, in columns."""
    origin = datasets.REGISTRY[name].iloc[0]
    text = f"{origin['repository']} at {origin['commit'][:7]}, {origin['licence']}" + (
        f"; {remark}" if remark else ""
    )
    estimated = tokenizer in TOKENIZERS
    label = f"{tokenizer}, taken for every model (an assumption)" if estimated else tokenizer
    table = table.astype({"task": "category"})
    table["prompt_chars"] = table["prompt"].str.len()
    table["source"] = pd.Categorical(["recorded"] * len(table))
    table["provenance"] = pd.Categorical([text] * len(table))
    table["tokenizer"] = pd.Categorical([label] * len(table))
    return table.assign(flags=merge_flags(table, "estimated_tokens")) if estimated else table
