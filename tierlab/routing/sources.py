"""Recorded outcomes: public data sets, or a file of your own, as an outcomes table, scored and priced.

The public answers come from models of 2023-2024 and were scored by the named projects, or by our scorer where the raw
answers are published. `tierlab.core.datasets` fetches them: this repository keeps none.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tierlab.core import datasets
from tierlab.core.format import counted
from tierlab.core.tables import as_pandas, one_of
from tierlab.core.vocabulary import install_line, unknown
from tierlab.evaluate.scorers.numeric import numeric
from tierlab.prices.catalog import Prices, load_prices
from tierlab.routing.evaluations import is_evaluation, read_evaluation
from tierlab.routing.outcomes import check_outcomes, merge_flags, note, price_outcomes
from tierlab.scaling.workload import read_rows

SOURCES = ("simulated", "recorded", "measured")


def load_outcomes(
    name_or_path: str | Path | pd.DataFrame,
    *,
    prices: Prices | None = None,
    usd_per_mtok: Mapping[str, tuple[float, float]] | None = None,
    incomplete: str = "raise",
    models: Sequence[str] | None = None,
    metric: str | None = None,
    scale: tuple[float, float] | None = None,
) -> pd.DataFrame:
    """Load recorded outcomes, a public data set by name or your own file, as an outcomes table.

    Parameters
    ----------
    name_or_path : {"routellm_gsm8k", "routellm_mmlu", "zeroeval_gsm", "routerarena"}, path or DataFrame
        A public data set; a table, CSV or Parquet file with at least prompt_id, model_id and score; or an evaluation log
        of Inspect, lm-evaluation-harness, promptfoo or Langfuse, or a folder of them
        (`tierlab.routing.evaluations.read_evaluation`).
    prices : Prices, optional
        From `tierlab.load_prices`: every cost is worked out from the token counts. Without it costs are the file's, or
        NaN.
    usd_per_mtok : mapping of str to (float, float), optional
        Input and output rate, USD per million tokens, of models that `prices` lacks. No catalogue of the kit
        prices RouteLLM's weak model, mistralai/Mixtral-8x7B-Instruct-v0.1.
    incomplete : {"raise", "drop"}
        What to do with prompts that some model has not answered.
    models : sequence of str, optional
        Read and check only the rows of these models or tiers.
    metric, scale
        Which score of an evaluation log to take, and its scale if that is not 0-1, as for `read_evaluation`.

    Returns
    -------
    DataFrame
        The outcomes table. Its columns say what was done to it: `source`, `provenance` (repository, commit,
        licence, prompts left out and why), `tokenizer`, `cost_source`, and `flags` (no_price,
        estimated_tokens, assumed_output_tokens, reasoning_not_counted, score_clipped, and those of
        `tierlab.price`), which `tierlab.outcome_account` counts.

    Raises
    ------
    ValueError
        If the name is unknown, or a file cannot be read, lacks or misspells a column, or has a missing score, one
        outside 0-1, a missing cost in some rows, two rows for one prompt and model, or prompts that some model has not
        answered. The message names the file and the row.

    Notes
    -----
    Where the data has text but no token counts, o200k_base counts the tokens of every model: an assumption, whose
    measured error is in `count_tokens`.

    RouteLLM (Ong et al., arXiv 2406.18665) was scored by its authors. The prompts that they list as contaminated are left
    out (12 of GSM8K, 5 of MMLU), and the input is the question alone, without the worked examples they sent along. Prompt
    ids of MMLU are subject and row, because some questions repeat; an answer counts as one token, which is all that the
    authors let the models write. ZeroEval's raw answers are scored by `tierlab.evaluate.scorers.numeric.numeric`; the
    hidden reasoning of o1-mini was billed but is not in the data, so its cost is a lower bound. RouterArena has the
    providers' token counts and the list prices of the time; one score below 0 (METEOR against chance) is set to 0 and
    flagged.
    """
    if not isinstance(name_or_path, str | Path):
        table = _recorded(as_pandas(name_or_path, "the outcomes"), "a table")
        table = check_outcomes(_of(table, models), incomplete=incomplete)
        return _costed(table, prices, usd_per_mtok).reset_index(drop=True)
    name = str(name_or_path)
    log = name not in READERS and is_evaluation(Path(name))
    if name not in READERS and not log and Path(name).suffix not in (".csv", ".parquet"):
        raise ValueError(
            unknown("data set", name, READERS)
            + " (or a path to a .csv or .parquet file, or to an evaluation log)"
        )
    try:
        if log:
            table = _answered(read_evaluation(name, metric=metric, scale=scale))
        else:
            path = Path(name)
            table = READERS[name]() if name in READERS else _recorded(read_rows(path), path.name)
        table = check_outcomes(_of(table, models), incomplete=incomplete)
        return _costed(table, prices, usd_per_mtok).reset_index(drop=True)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _answered(table):
    """Return the answers that have a score; `check_outcomes` then sees a prompt without one as unanswered."""
    lost = table["score"].isna()
    table = table[~lost]
    return (
        note(table, f"{counted(lost.sum(), 'call')} without a score left out")
        if lost.any()
        else table
    )


def _of(table, models):
    """Return the rows of some models; what is wrong with the others then does not matter."""
    if models is None or "model_id" not in table:
        return table
    names = table[table.columns.intersection(["model_id", "tier"])].astype(str)
    for name in models:
        if not (names == name).any(axis=None):
            raise ValueError(unknown("model", name, names["model_id"].unique()))
    return table[names.isin(models).any(axis=1)]


def _recorded(frame, name):
    # what the table itself says of its source and provenance holds
    frame = frame.assign(**{"source": "recorded", "provenance": name} | dict(frame.items()))
    if "model_id" in frame:  # a model that is called 4 is named by that text
        frame["model_id"] = frame["model_id"].map(str, na_action="ignore")
    bad = ~frame["source"].isin(SOURCES)
    if bad.any():
        source = unknown("source", frame["source"][bad.idxmax()], SOURCES)
        raise ValueError(f"row {bad.idxmax()}, column 'source': {source}")
    return frame.astype({"source": "category"})


def _costed(table, prices, usd_per_mtok):
    """Add costs: worked out where prices are given, else the file's own, else NaN with a flag."""
    has_tokens = {"uncached_input_tokens", "output_tokens"} <= set(table.columns)
    if prices is not None or usd_per_mtok or (has_tokens and "cost_usd" not in table):
        return price_outcomes(table, prices, usd_per_mtok=usd_per_mtok)
    if "cost_usd" not in table:
        nothing = {"cost_usd": np.nan, "cost_source": "none: no costs and no token counts"}
        return table.assign(**nothing, flags=merge_flags(table, "no_price"))
    if "cost_source" in table:
        return table
    missing = table["cost_usd"].isna()
    if missing.any():
        raise ValueError(
            f"a cost is missing in {counted(missing.sum(), 'row')}, first row {missing.idxmax()}, column 'cost_usd'; "
            "give prices= to work costs out from tokens, or leave the column out"
        )
    return table.assign(cost_source="the file")


def as_tiers(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Name the cheapest, a middle and the most expensive model small, mid and flagship, unless the table has tiers.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table.

    Returns
    -------
    DataFrame
        The table as it is if it has a column `tier`. Otherwise the rows of three models, ordered by mean cost or, where a
        cost is unknown, by mean score, with the column added. A table of two models gets no mid tier.

    Raises
    ------
    ValueError
        If the table has fewer than two models.

    Examples
    --------
    >>> table = pd.DataFrame({"prompt_id": [1, 1], "model_id": ["a", "b"], "score": [1, 1], "cost_usd": [0.02, 0.01]})
    >>> as_tiers(table)["tier"].tolist()
    ['flagship', 'small']
    """
    if "tier" in outcomes:
        return outcomes
    means = outcomes.groupby("model_id", observed=True)[["cost_usd", "score"]].mean()
    by = "score" if means["cost_usd"].isna().any() else "cost_usd"
    order = means.sort_values(by, kind="stable").index.astype(str)
    if len(order) < 2:
        raise ValueError("tiers need at least two models")
    named = {order[len(order) // 2]: "mid", order[0]: "small", order[-1]: "flagship"}
    names = outcomes["model_id"].astype(str)
    return outcomes.assign(model_id=names, tier=names.map(named))[names.isin(named)]


def recorded_tiers(name_or_path):
    """Load recorded outcomes as two or three tiers with a cost for every answer.

    Parameters
    ----------
    name_or_path : str or path
        A public data set by name (of zeroeval_gsm the three Claude 3 models are taken), or a file.

    Returns
    -------
    DataFrame
        The outcomes table with the column `tier` (`as_tiers`).

    Raises
    ------
    ValueError
        If answers have no cost, and as `load_outcomes`.

    Notes
    -----
    Mixtral 8x7B, which no catalogue lists any more, costs RouteLLM's 0.24 USD per million tokens in and out (arXiv
    2406.18665).
    """
    of_routellm = name_or_path in ("routellm_gsm8k", "routellm_mmlu")
    unpriced = of_routellm or name_or_path == "zeroeval_gsm"
    mixtral = {"mistralai/Mixtral-8x7B-Instruct-v0.1": (0.24, 0.24)}
    outcomes = load_outcomes(
        name_or_path,
        prices=load_prices("maintained") if unpriced else None,
        usd_per_mtok=mixtral if of_routellm else None,
    )
    if name_or_path == "zeroeval_gsm":
        outcomes = outcomes[outcomes["model_id"].astype(str).str.startswith("claude-3-")]
    outcomes = as_tiers(outcomes)
    lacking = outcomes["cost_usd"].isna().sum()
    if lacking:
        raise ValueError(
            f"{name_or_path}: no cost for {counted(lacking, 'answer')}; give the file a column cost_usd"
        )
    return outcomes


def count_tokens(texts, tokenizer="o200k_base"):
    """Count the tokens of each text with one offline tokenizer.

    Parameters
    ----------
    texts : sequence of str
    tokenizer : {"o200k_base", "cl100k_base"}
        OpenAI's encodings for GPT-4o and later, and for GPT-4 (bundled in the package bpe-openai). Other providers
        publish no tokenizer for their current models, so for them either one is an assumption.

    Returns
    -------
    ndarray of int

    Notes
    -----
    Against the providers' own counts in RouterArena (809 prompts with their answers), tokens per o200k_base
    token have a median of 1.16 for Claude 3 Haiku (5th to 95th percentile 1.09 to 1.26) and 0.94 for Gemini
    2.0 Flash (0.67 to 1.06).

    Examples
    --------
    >>> count_tokens(["tiktoken is great!", ""]).tolist()
    [6, 0]
    """
    one_of("tokenizer", tokenizer, ("o200k_base", "cl100k_base"))
    with warnings.catch_warnings():
        # its import calls a function that Python 3.11 and 3.12 deprecate
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            from bpe_openai import get_encoding
        except ModuleNotFoundError as error:
            raise ImportError(install_line(error)) from None
    different = list(dict.fromkeys(texts))
    lengths = map(len, get_encoding(tokenizer).encode_ordinary_batch(different))
    lookup = dict(zip(different, lengths, strict=True))
    return np.fromiter((lookup[text] for text in texts), "int64")


def routellm_gsm8k():
    """Read 1,319 grade-school problems answered by Mixtral 8x7B (weak) and GPT-4 Turbo (strong), scored by RouteLLM."""
    folder = datasets.path("routellm_gsm8k")
    wide = pd.read_csv(folder / "gsm8k_responses.csv", keep_default_na=False).assign(task="gsm8k")
    wide["prompt_id"] = "gsm8k-" + wide.index.astype(str)
    models = [column for column in wide if f"{column}_response" in wide]
    kept, left_out = _without_contaminated(wide, folder / "gsm8k_contaminated_prompts.jsonl")
    answers = kept[[f"{model}_response" for model in models]].to_numpy().ravel()
    table = _long(kept, models).assign(output_tokens=count_tokens(answers))
    return _described(table, "routellm_gsm8k", left_out)


def routellm_mmlu():
    """Read 14,042 exam questions of 57 subjects put to the same two models; no answer text is published."""
    folder = datasets.path("routellm_mmlu")
    parts = {}
    for file in sorted((folder / "mmlu").glob("mmlu_*.csv")):
        parts[file.stem.removeprefix("mmlu_")] = pd.read_csv(file, keep_default_na=False)
    wide = pd.concat(parts, names=["task", "row"])
    models = list(wide.columns.drop("prompt"))
    wide = wide.reset_index()
    wide["prompt_id"] = wide["task"] + "-" + wide["row"].astype(str)
    kept, left_out = _without_contaminated(wide, folder / "mmlu_contaminated_prompts.jsonl")
    # the authors ran it with max_new_tokens=1 (routellm/evals/mmlu/generate_responses.py)
    table = _long(kept, models).assign(output_tokens=1)
    table["flags"] = merge_flags(table, "assumed_output_tokens")
    written = "1 output tokens taken for every answer, whose text is not published (an assumption)"
    return _described(table, "routellm_mmlu", f"{left_out}; {written}")


def zeroeval_gsm():
    """Read 1,319 grade-school problems answered by eight models of 2024; `numeric` scores the raw answers."""
    runs = []
    for file in sorted(datasets.path("zeroeval_gsm").glob("*.json")):
        runs.append(pd.DataFrame(json.loads(file.read_text())).assign(model_id=file.stem))
    raw = pd.concat(runs, ignore_index=True)
    replies = raw["output"].str[0]
    truths = zip(replies, raw["answer"], strict=True)
    table = pd.DataFrame(
        {
            "prompt_id": raw["id"],
            "model_id": raw["model_id"].astype("category"),
            "task": raw["dataset"],
            "prompt": raw["question"],
            "score": [numeric(reply, (), truth).score for reply, truth in truths],
            "uncached_input_tokens": count_tokens(raw["chat_history"].str[0]),
            "output_tokens": count_tokens(replies),
        }
    )
    hidden = np.where(table["model_id"] == "o1-mini-2024-09-12", "reasoning_not_counted", "")
    return _described(table.assign(flags=merge_flags(table, hidden)), "zeroeval_gsm")


def routerarena():
    """Read 809 prompts of many benchmarks, answered by Claude 3 Haiku and Gemini 2.0 Flash, with token counts and costs."""
    files = sorted(datasets.path("routerarena").glob("*.jsonl"))
    raw = pd.concat([pd.read_json(file, lines=True) for file in files], ignore_index=True)
    result = pd.json_normalize(raw["evaluation_result"])
    usage = pd.json_normalize(raw["token_usage"])
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
            "cost_source": "the file: list prices at the time of the run",
            "tokenizer": "the provider's own count",
        }
    )
    clipped = np.where(table["score"] != result["score"], "score_clipped", "")
    return _described(table.assign(flags=merge_flags(table, clipped)), "routerarena")


READERS = {
    reader.__name__: reader for reader in (routellm_gsm8k, routellm_mmlu, zeroeval_gsm, routerarena)
}


def _without_contaminated(wide, listed):
    """Leave out the prompts that RouteLLM lists as contaminated; return the rest and a remark that says how many."""
    bad = wide["prompt"].isin(pd.read_json(listed, lines=True)["eval_prompt"])
    left_out = f"{bad.sum()} of {len(wide):,} prompts left out as contaminated"
    return wide[~bad].reset_index(drop=True), left_out


def _long(wide, models):
    """Turn one row per prompt into one row per prompt and model."""
    table = wide.loc[wide.index.repeat(len(models)), ["prompt_id", "task", "prompt"]]
    model_id = pd.Categorical.from_codes(np.tile(np.arange(len(models)), len(wide)), models)
    scores = wide[models].astype(str).eq("True").astype(float).to_numpy().ravel()
    table = table.reset_index(drop=True).assign(model_id=model_id, score=scores)
    return table.assign(uncached_input_tokens=count_tokens(table["prompt"]))


def _described(table, name, remark=None):
    """Add the columns that say what a public table is and where it comes from."""
    origin = datasets.REGISTRY[name].iloc[0]
    text = f"{origin['repository']} at {origin['commit'][:7]}, {origin['licence']}"
    columns = {"source": "recorded", "provenance": f"{text}; {remark}" if remark else text}
    if "tokenizer" not in table:
        columns["tokenizer"] = "o200k_base, taken for every model (an assumption)"
        columns["flags"] = merge_flags(table, "estimated_tokens")
    table = table.assign(prompt_chars=table["prompt"].str.len(), **columns)
    words = ["task", "source", "provenance", "tokenizer", "cost_source"]
    return table.astype({column: "category" for column in words if column in table})
