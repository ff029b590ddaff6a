"""The outcomes table: its columns, the checks that stop a wrong score, and the cost of each answer."""

from collections import Counter
from collections.abc import Mapping
from difflib import get_close_matches

import numpy as np
import pandas as pd

from tierlab.core.tables import (
    REQUEST_COLUMNS,
    TOKEN_COLUMNS,
    counts,
    numbers,
    one_of,
    plain,
    refuse,
)
from tierlab.core.vocabulary import known, unknown
from tierlab.evaluate.rows import STATUSES
from tierlab.prices.catalog import Prices
from tierlab.prices.pricing import FLAGS, price

NEEDED = ("prompt_id", "model_id", "score")
OUTCOME_COLUMNS = (
    *NEEDED,
    "tier",
    "task",
    "user",
    "at",
    "prompt",
    "prompt_chars",
    "cost_usd",
    "end_to_end_s",
    "status",
    "source",
    "provenance",
    "cost_source",
    "tokenizer",
    "flags",
    "difficulty",
    "router_signal",
    *TOKEN_COLUMNS,
)
# Retired names that the maintained catalogue lists under another name, at the same price.
_LISTED_AS = {"claude-3-opus-20240229": "claude-3-opus-latest"}


def check_outcomes(outcomes: pd.DataFrame, *, incomplete: str = "raise") -> pd.DataFrame:
    """Check an outcomes table: every prompt answered once by every model, every score from 0 to 1.

    Parameters
    ----------
    outcomes : DataFrame
        One row per prompt and model, with at least prompt_id, model_id and score (numbers or booleans).
    incomplete : {"raise", "drop"}
        What to do with prompts that some model has not answered. "drop" leaves them out and says how many in
        the column `provenance`.

    Returns
    -------
    DataFrame
        The same rows and columns with score as float.

    Raises
    ------
    ValueError
        For a missing or misspelt column, an empty table, a missing prompt or model, two rows for one prompt
        and model, a score that is not a number from 0 to 1, a negative or infinite cost or latency, a status that is
        not one of `tierlab.evaluate.rows.STATUSES`, and (by default) a model missing for some prompts. The message
        names the rows.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"prompt_id": [1, 1], "model_id": ["a", "b"], "score": [0, 1]})
    >>> check_outcomes(table)["score"].tolist()
    [0.0, 1.0]
    """
    one_of("incomplete", incomplete, ("raise", "drop"))
    table, (prompts, _), (_, model_names) = checked_cells(outcomes, complete=incomplete == "raise")
    short = np.bincount(prompts) < len(model_names)
    if not short.any():
        return table
    if short.all():
        raise ValueError("no prompt has an answer from every model")
    text = f"{int(short.sum()):,} of {len(short):,} prompts left out: a model's answer is missing"
    return note(table[~short[prompts]], text)


def checked_cells(outcomes, *, complete=True):
    """Return the checked table, and the prompts and the models of its rows, each as (codes, names).

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table.
    complete : bool
        Whether to refuse prompts that some model has not answered.

    Returns
    -------
    (DataFrame, (ndarray, Index), (ndarray, Index))
    """
    check_names(outcomes, (*OUTCOME_COLUMNS, *REQUEST_COLUMNS, "answer"))
    for column in NEEDED:
        if column not in outcomes:
            raise ValueError(
                f"column {column!r} is missing; an outcomes table needs {', '.join(NEEDED)}, and this one has {list(outcomes.columns)}"
            )
    if outcomes.empty:
        raise ValueError("the outcomes table has no rows")
    prompts, prompt_names = pd.factorize(outcomes["prompt_id"])
    models, model_names = pd.factorize(outcomes["model_id"])
    refuse(outcomes, "prompt_id", prompts < 0, "a missing prompt")
    refuse(outcomes, "model_id", models < 0, "a missing model")
    cell = prompts * len(model_names) + models
    times = np.bincount(cell, minlength=len(prompt_names) * len(model_names))
    if (times > 1).any():
        twice = np.flatnonzero(times[cell] > 1)
        rows = [plain(outcomes.index[row]) for row in twice[cell[twice] == cell[twice[0]]][:2]]
        prompt, model = prompt_names[prompts[twice[0]]], model_names[models[twice[0]]]
        raise ValueError(
            f"{int((times > 1).sum()):,} pairs of prompt and model occur more than once; first: prompt {plain(prompt)!r} "
            f"with model {model!r}, rows {rows}; give repeated answers of a model their own prompt ids, or take their mean"
        )
    score = numbers(outcomes, "score", highest=1, outside="a score outside 0-1")
    why = "a missing score (0 if a failed call is a wrong answer; else leave the prompt out)"
    refuse(outcomes, "score", np.isnan(score), why)
    for column in ("cost_usd", "end_to_end_s"):
        if column in outcomes:
            numbers(outcomes, column)
    if "status" in outcomes:
        for status in outcomes["status"].dropna().unique():
            known("status", status, STATUSES)
    if complete and len(outcomes) < len(times):
        lacking = (times == 0).reshape(len(prompt_names), -1)
        first, model = (int(found[0]) for found in np.nonzero(lacking))
        raise ValueError(
            f"{int(lacking.any(axis=1).sum()):,} of {len(lacking):,} prompts lack an answer from some model; first: prompt "
            f"{plain(prompt_names[first])!r} has none from {model_names[model]!r}; incomplete='drop' leaves such prompts out"
        )
    return outcomes.assign(score=score), (prompts, prompt_names), (models, model_names)


def check_names(table, columns):
    """Refuse a column whose name looks like a misspelt one of `columns`; any other column may be in a table."""
    names = set(columns)
    for column in table.columns.difference(columns):
        near = get_close_matches(str(column), names.difference(table.columns), n=1, cutoff=0.85)
        if near:
            raise ValueError(f"unknown column {column!r}; did you mean {near[0]!r}?")


def price_outcomes(
    outcomes: pd.DataFrame,
    prices: Prices | None = None,
    *,
    usd_per_mtok: Mapping[str, tuple[float, float]] | None = None,
) -> pd.DataFrame:
    """Price every answer from its token counts.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table with uncached_input_tokens and output_tokens (and cache buckets, where known).
    prices : Prices, optional
        From `tierlab.load_prices`; the rates of its `as_of` day count.
    usd_per_mtok : mapping of str to (float, float), optional
        Input and output rate of models that the catalogue lacks, USD per million tokens; they win over `prices`.

    Returns
    -------
    DataFrame
        The table with cost_usd (US dollars; NaN for a model without a price, never 0), cost_source (whose rates,
        as of which day) and flags: the table's own, those of `tierlab.price`, and `no_price`.

    Raises
    ------
    ValueError
        If a token column is missing, or a given rate is negative or names a model that is not in the table.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"prompt_id": [1], "model_id": "mixtral", "score": 1.0,
    ...                       "uncached_input_tokens": 500, "output_tokens": 300})
    >>> price_outcomes(table, usd_per_mtok={"mixtral": (0.6, 0.6)})["cost_usd"].round(6).tolist()
    [0.00048]
    """
    charged = [TOKEN_COLUMNS[0], TOKEN_COLUMNS[-1]]
    for column in charged:
        if column not in outcomes:
            raise ValueError(
                f"column {column!r} is missing; a cost needs token counts, or a column cost_usd"
            )
    tokens = outcomes[[column for column in TOKEN_COLUMNS if column in outcomes]]
    models = outcomes["model_id"].astype(object)
    cost = np.full(len(outcomes), np.nan)
    added = np.full(len(outcomes), "", object)
    origin, listed = {}, {}
    for name in models.unique():
        known = _listed(name, prices)
        rate = (usd_per_mtok or {}).get(name)
        rows = (models == name).to_numpy()
        if rate is not None:
            cost[rows] = _given_cost(tokens[rows], name, rate)
            origin[name] = f"given: {rate[0]:g} / {rate[1]:g} USD per million tokens"
        elif known is not None:
            listed[name] = known
            origin[name] = f"{prices.source}, as of {prices.as_of:%Y-%m-%d}"
        else:
            added[rows] = "no_price"
            origin[name] = (
                f"none: {'no prices given' if prices is None else f'not in {prices.source}'}"
            )
    for name in set(usd_per_mtok or {}).difference(origin):
        raise ValueError("usd_per_mtok: " + unknown("model", name, origin))
    if listed:
        rows = models.isin(listed).to_numpy()
        priced = price(tokens[rows].assign(model_id=models[rows].map(listed)), prices)
        cost[rows], added[rows] = priced["cost_usd"], priced["flags"].astype(object)
    source = models.map(origin).astype("category")
    # what an earlier pricing flagged no longer holds
    flags = merge_flags(outcomes, added, without=(*FLAGS, "no_price"))
    return outcomes.assign(cost_usd=cost, cost_source=source, flags=flags)


def _given_cost(tokens, name, rate):
    """Price the answers of one model at an input and an output rate (US dollars)."""
    if np.shape(rate) != (2,) or not (np.isfinite(rate).all() and min(rate) >= 0):
        raise ValueError(
            f"usd_per_mtok of {name!r} is {rate!r}; give (input, output) in USD per million tokens"
        )
    charged = [TOKEN_COLUMNS[0], TOKEN_COLUMNS[-1]]
    for column in tokens.columns.difference(charged):
        why = f"cached tokens of {name!r}, whose two rates were given,"
        refuse(tokens, column, counts(tokens, column) > 0, why)
    for column in charged:
        refuse(tokens, column, counts(tokens, column) < 0, "a negative count")
    return tokens[charged].to_numpy(float) @ np.array(rate, float) / 1e6


def outcome_account(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Summarize what a table holds, model by model, to show beside any result.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table.

    Returns
    -------
    DataFrame
        By model_id: prompts, score (mean, 0-1), usd_per_1000 (US dollars per thousand prompts; NaN if any
        cost is unknown), without_cost (rows), flags (each with its count), and source, provenance,
        cost_source and tokenizer if the table has them.
    """
    groups = outcomes.groupby("model_id", sort=False, observed=True)
    account = groups["score"].agg(prompts="size", score="mean")
    if "cost_usd" in outcomes:
        cost = groups["cost_usd"]
        lacking = account["prompts"] - cost.count()
        account["usd_per_1000"] = 1000 * cost.mean().where(lacking == 0)
        account["without_cost"] = lacking
    if "flags" in outcomes:
        account["flags"] = groups["flags"].agg(_flag_counts)
    for column in ("source", "provenance", "cost_source", "tokenizer"):
        if column in outcomes:
            account[column] = groups[column].agg(lambda texts: "; ".join(texts.dropna().unique()))
    return account


def outcome_origin(outcomes):
    """Say where a table and its costs come from, to show beside any result; models are named where they differ.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table.

    Returns
    -------
    DataFrame
        One column, "", with a row for each of source, provenance, cost_source, tokenizer and flags (with counts) that
        the table has.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"prompt_id": [1, 1], "model_id": ["a", "b"], "score": 1, "flags": ["", "no_price"]})
    >>> outcome_origin(table)[""].to_dict()
    {'flags': 'none (a); no_price 1 (b)'}
    """
    account, rows = outcome_account(outcomes), {}
    for column in ("source", "provenance", "cost_source", "tokenizer", "flags"):
        if column not in account:
            continue
        texts, parts = account[column].astype(object).replace("", "none"), []
        for text in texts.unique():
            models = texts.index[texts == text]
            who = ", ".join(models) if len(models) < 4 else f"{len(models)} models"
            parts.append(f"{text} ({who})")
        rows[column] = "; ".join(parts) if len(parts) > 1 else text
    return pd.DataFrame({"": rows})


def merge_flags(table, flags, *, without=()):
    """Join more flags to the `flags` column of a table.

    Parameters
    ----------
    table : DataFrame
        With or without a column `flags`.
    flags : str or array of str
        A flag, or a ";"-joined list of flags per row.
    without : collection of str
        Flags to take off.

    Returns
    -------
    Categorical
        ";"-joined names, "" for none.
    """
    old = table["flags"].astype(object).fillna("") if "flags" in table else ""
    codes, pairs = pd.factorize(pd.Series(old, table.index, object) + "|" + flags)
    texts = []
    for pair in pairs:
        before, new = pair.split("|")
        kept = [flag for flag in before.split(";") if flag not in without]
        texts.append(";".join(dict.fromkeys(filter(None, [*kept, *new.split(";")]))))
    return pd.Categorical(np.array(texts, object)[codes], list(dict.fromkeys(texts)))


def note(table, text):
    """Add a remark to the column `provenance` of a table.

    Parameters
    ----------
    table : DataFrame
    text : str

    Returns
    -------
    DataFrame
    """
    texts = table["provenance"].astype(str) + "; " + text if "provenance" in table else text
    return table.assign(provenance=pd.Categorical(np.broadcast_to(texts, len(table))))


def _listed(name, prices):
    """Return what the catalogue calls a model, or None if it has no price for it."""
    try:
        return None if prices is None else prices.resolve(_LISTED_AS.get(name, name))
    except ValueError:
        return None


def _flag_counts(flags):
    counts = Counter()
    for text, times in flags.value_counts().items():
        counts.update(dict.fromkeys(filter(None, text.split(";")), times))
    return "; ".join(f"{flag} {times:,}" for flag, times in counts.items() if times)
