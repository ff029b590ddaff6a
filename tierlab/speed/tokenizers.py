"""Tokenizers: the same text is a different number of tokens on another model, so a price per token misleads."""

import numpy as np
import pandas as pd

from tierlab.evaluate.intervals import bootstrap
from tierlab.routing.sources import count_tokens
from tierlab.sampling.examples import load_examples, load_intents

ENCODINGS = ("cl100k_base", "o200k_base")


def counts(texts, encodings=ENCODINGS):
    """Tokens of each text by several offline tokenizers.

    Parameters
    ----------
    texts : Series or sequence of str
    encodings : sequence of {"cl100k_base", "o200k_base"}

    Returns
    -------
    DataFrame
        Index of `texts`; characters, and a column per encoding.

    Examples
    --------
    >>> counts(["tiktoken is great!"]).to_dict("list")
    {'characters': [18], 'cl100k_base': [6], 'o200k_base': [6]}
    """
    texts = pd.Series(texts)
    columns = {encoding: count_tokens(texts, encoding) for encoding in encodings}
    return pd.DataFrame({"characters": texts.str.len(), **columns}, index=texts.index)


def kit_texts():
    """Prompts and labelled messages of the kit: task, text; one row each."""
    rows = []
    for example in load_examples():
        asked = example.prompt
        parts = [asked] if isinstance(asked, str) else [turn["content"] for turn in asked]
        text = "\n".join(part for part in (example.system, *parts) if part)
        rows.append({"task": example.task, "text": text})
    messages = load_intents()[["text"]].assign(task="customer messages")
    return pd.concat([pd.DataFrame(rows), messages], ignore_index=True)


def ratios(
    table,
    *,
    of="cl100k_base",
    relative_to="o200k_base",
    by=None,
    confidence=0.95,
    resamples=1000,
    seed,
):
    """Tokens on one tokenizer per token on another, over texts or task by task.

    Parameters
    ----------
    table : DataFrame
        From `counts`; one row per text, with the column named by `by`.
    of, relative_to : str
        Columns of `table`.
    by : str, optional
    confidence : float
    resamples : int
    seed : int

    Returns
    -------
    DataFrame
        A row per group and one for all of them ("all"): texts, ratio (sum over sum, which is what a bill sees), low, high
        (bootstrap over texts), p5, p50, p95 (of the texts' own ratios).

    Notes
    -----
    Ratio of sums with the percentile bootstrap of both (Efron & Tibshirani 1993, chapter 13). A text without tokens on
    `relative_to` has no ratio of its own and is left out of the three quantiles, not of the sums.
    """
    for column in (of, relative_to, *([by] if by else [])):
        if column not in table:
            raise ValueError(
                f"column {column!r} is missing; there are {', '.join(map(str, table.columns))}"
            )
    groups = {"all": table} | ({} if by is None else dict(list(table.groupby(by, sort=False))))
    rows = {}
    for name, part in groups.items():
        both = part[[of, relative_to]]
        found = bootstrap(
            both,
            lambda sums: (sums[of] / sums[relative_to]).to_frame("ratio"),
            confidence=confidence,
            resamples=resamples,
            seed=seed,
        ).loc["ratio"]
        own = both.loc[both[relative_to] > 0, of] / both[relative_to]
        rows[name] = {
            "texts": len(part),
            "ratio": found["estimate"],
            "low": found["low"],
            "high": found["high"],
            **dict(zip(("p5", "p50", "p95"), own.quantile([0.05, 0.5, 0.95]), strict=True)),
        }
    return pd.DataFrame(rows).T.astype({"texts": int}).rename_axis(by or "texts of")


def corrected(costs, ratios):
    """Costs of the same text: each model's cost at its own count of tokens.

    Parameters
    ----------
    costs : DataFrame
        model_id and cost_usd (USD for the tokens as counted by one tokenizer: a price per million, a request or a day).
    ratios : DataFrame
        Index model_id: ratio, low, high (tokens on that model per token counted). A model that is not there is taken to
        count alike, and says so.

    Returns
    -------
    DataFrame
        `costs` with ratio, same_text_usd, low, high (USD; NaN ends where the ratio has none) and basis ("" or "no ratio known: counted as 1").

    Notes
    -----
    Cost is proportional to tokens where no context step lies between, so the cost of the same text is cost x ratio.

    Examples
    --------
    >>> costs = pd.DataFrame({"model_id": ["a", "b"], "cost_usd": [1.00, 1.10]})
    >>> corrected(costs, pd.DataFrame({"ratio": [1.25], "low": [1.0], "high": [1.7]}, index=["a"]))["same_text_usd"].tolist()
    [1.25, 1.1]
    """
    known = ratios.reindex(costs["model_id"])[["ratio", "low", "high"]].set_axis(costs.index)
    if (known <= 0).any(axis=None):
        raise ValueError(f"a ratio is a number above 0; got {known.min(axis=None)!r}")
    missing = known["ratio"].isna()
    known.loc[missing] = 1.0
    usd = known.mul(costs["cost_usd"], axis=0)
    return costs.assign(
        ratio=known["ratio"],
        same_text_usd=usd["ratio"],
        low=usd["low"],
        high=usd["high"],
        basis=np.where(missing, "no ratio known: counted as 1", ""),
    )
