"""Tokenizers: the same text is a different number of tokens on another model, so a price per token misleads."""

import numpy as np
import pandas as pd

from tierlab.core.paths import DATA
from tierlab.evaluate.intervals import bootstrap
from tierlab.routing.sources import count_tokens

ENCODINGS = ("cl100k_base", "o200k_base")


def counts(texts, encodings=ENCODINGS):
    """Tokens of each text by several offline tokenizers.

    Parameters
    ----------
    texts : Series or sequence of str
    encodings : sequence of {"cl100k_base", "o200k_base", "utf8_bytes/4"}

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
    from tierlab.sampling.examples import load_examples, load_intents

    rows = [(e.task, _words(e)) for e in load_examples()]
    messages = load_intents()["text"]
    return pd.DataFrame(
        [*rows, *(("customer messages", text) for text in messages)], columns=["task", "text"]
    )


def _words(example):
    parts = [
        example.system or "",
        *(
            [example.prompt]
            if isinstance(example.prompt, str)
            else [m["content"] for m in example.prompt]
        ),
    ]
    return "\n".join(part for part in parts if part)


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
    groups = [("all", table), *([] if by is None else table.groupby(by, sort=False))]
    rows = {}
    for name, part in groups:
        both = part[[of, relative_to]]
        found = bootstrap(
            both,
            lambda m: (m[of] / m[relative_to]).to_frame("ratio"),
            confidence=confidence,
            resamples=resamples,
            seed=seed,
        ).loc["ratio"]
        own = (
            (both[of] / both[relative_to].where(both[relative_to] > 0))
            .dropna()
            .quantile([0.05, 0.5, 0.95])
        )
        rows[name] = {
            "texts": len(part),
            "ratio": found["estimate"],
            "low": found["low"],
            "high": found["high"],
        }
        rows[name] |= dict(zip(("p5", "p50", "p95"), own, strict=True))
    return pd.DataFrame(rows).T.astype({"texts": int}).rename_axis(by or "texts of")


def load_ratios(path=DATA / "tokenizer_ratios.csv"):
    """Published and measured ratios: of, relative_to, statistic, ratio, low, high, interval (what low and high are), basis
    (measured, published or official), sample, source. A range without a middle has no ratio (NaN)."""
    return pd.read_csv(path)


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
        `costs` with ratio, same_text_usd, low, high (USD; NaN ends where the ratio has none), rank_as_listed, rank_same_text
        (1 is cheapest) and basis ("" or "no ratio known: counted as 1").

    Notes
    -----
    Cost is proportional to tokens where no context step lies between, so the cost of the same text is cost x ratio.

    Examples
    --------
    >>> costs = pd.DataFrame({"model_id": ["a", "b"], "cost_usd": [1.00, 1.10]})
    >>> corrected(costs, pd.DataFrame({"ratio": [1.25], "low": [1.0], "high": [1.7]}, index=["a"]))["same_text_usd"].tolist()
    [1.25, 1.1]
    """
    known = ratios.reindex(costs["model_id"])[["ratio", "low", "high"]].reset_index(drop=True)
    if (known <= 0).any(axis=None):
        raise ValueError(f"a ratio is a number above 0; got {known.min(axis=None)!r}")
    missing = known["ratio"].isna().to_numpy()
    known = known.mask(pd.Series(missing), 1.0).set_index(costs.index)
    table = costs.assign(ratio=known["ratio"], same_text_usd=costs["cost_usd"] * known["ratio"])
    table["low"], table["high"] = (
        costs["cost_usd"] * known["low"],
        costs["cost_usd"] * known["high"],
    )
    table["rank_as_listed"] = costs["cost_usd"].rank(method="min").astype(int)
    table["rank_same_text"] = table["same_text_usd"].rank(method="min").astype(int)
    return table.assign(basis=np.where(missing, "no ratio known: counted as 1", ""))


def ratio_break_even(cost_usd, other_usd):
    """Ratio of tokens at which a model that is cheaper per token costs as much as another for the same text.

    Parameters
    ----------
    cost_usd, other_usd : float or array
        USD per token, million or request as counted alike; above 0.

    Returns
    -------
    float or array
        Tokens on the first per token on the second: other / cost.

    Examples
    --------
    >>> ratio_break_even(2.0, 2.5)
    1.25
    """
    return other_usd / cost_usd
