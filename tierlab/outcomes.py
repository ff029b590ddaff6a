"""Outcomes: prompts answered by models, from simulation, public data or your own file, scored and priced."""

from pathlib import Path

import numpy as np
import pandas as pd

from tierlab import recorded
from tierlab.core.untrusted import cited, regular, unguarded
from tierlab.names import unknown
from tierlab.outcome_table import check_outcomes, merge_flags, outcome_account, price_outcomes
from tierlab.simulated import default_tasks, simulate_outcomes

__all__ = [
    "as_tiers",
    "check_outcomes",
    "default_tasks",
    "load_outcomes",
    "outcome_account",
    "price_outcomes",
    "simulate_outcomes",
]

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
        each provider has a tokenizer of its own (`tierlab.recorded.count_tokens` has the measured error).
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
        `tierlab.price`). `tierlab.outcomes.outcome_account` counts them.

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
    repeat. ZeroEval: raw answers scored by `tierlab.evaluation.score_numeric`; the hidden reasoning of o1-mini
    is billed and not in the data, so its cost is a lower bound. RouterArena: the providers' token counts and
    the list prices of the time; one score below 0 (METEOR against chance) is set to 0 and flagged.
    """
    rates = {"usd_per_mtok": usd_per_mtok, "missing_price": missing_price}
    if isinstance(name_or_path, str) and name_or_path in recorded.READERS:
        if assumed_output_tokens < 0 or assumed_output_tokens != int(assumed_output_tokens):
            raise ValueError(f"assumed_output_tokens={assumed_output_tokens!r}; a whole number from 0 up is needed")
        read = recorded.READERS[name_or_path]
        table = read(tokenizer=tokenizer, contaminated=contaminated, assumed_output_tokens=int(assumed_output_tokens))
        return _costed(check_outcomes(_of(table, models), incomplete=incomplete), prices, **rates)
    path = Path(name_or_path)
    if path.suffix not in (".csv", ".parquet"):
        raise ValueError(unknown("data set", str(name_or_path), recorded.READERS) + " (or a path to a .csv or .parquet file)")
    try:
        return _costed(check_outcomes(_of(_own(path), models), incomplete=incomplete), prices, **rates).reset_index(drop=True)
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
        frame = pd.read_parquet(path) if regular(path).suffix == ".parquet" else unguarded(pd.read_csv(path))
    except Exception as error:
        raise ValueError(f"cannot be read as an outcomes table ({error})") from error
    frame.index = pd.RangeIndex(2, len(frame) + 2) if path.suffix == ".csv" else pd.RangeIndex(len(frame))
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
    return frame.assign(source=source.astype("category"), provenance=frame.get("provenance", path.name))


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
        cost_usd=float("nan"), cost_source="none: no costs and no token counts", flags=merge_flags(table, "no_price")
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
    order = means.sort_values("score" if means["cost_usd"].isna().any() else "cost_usd", kind="stable").index
    if len(order) < 2:
        raise ValueError("tiers need at least two models")
    named = {order[0]: "small", order[-1]: "flagship"}
    if len(order) > 2:
        named[order[len(order) // 2]] = "mid"
    kept = outcomes[outcomes["model_id"].isin(named)]
    return kept.assign(model_id=kept["model_id"].astype(str), tier=kept["model_id"].astype(str).map(named))
