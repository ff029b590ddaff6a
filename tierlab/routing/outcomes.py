"""The outcomes table: its columns, the checks that stop a wrong score, and what each answer costs."""

from difflib import get_close_matches

import numpy as np
import pandas as pd

from tierlab.core.tables import REQUEST_COLUMNS, TOKEN_COLUMNS, counts, one_of, plain, refuse
from tierlab.core.vocabulary import unknown
from tierlab.prices.pricing import FLAGS, price

NEEDED = ("prompt_id", "model_id", "score")
OUTCOME_COLUMNS = (
    *(
        "prompt_id",
        "model_id",
        "tier",
        "task",
        "user",
        "at",
        "prompt",
        "prompt_chars",
        "score",
        "cost_usd",
        "end_to_end_s",
    ),
    *(
        "status",
        "source",
        "provenance",
        "cost_source",
        "tokenizer",
        "flags",
        "difficulty",
        "router_signal",
        *TOKEN_COLUMNS,
    ),
)
# Retired names that the maintained catalogue holds under another one, at the same price.
_LISTED_AS = {"claude-3-opus-20240229": "claude-3-opus-latest"}


def check_outcomes(outcomes, *, incomplete="raise"):
    """Check an outcomes table: every prompt answered once by every model, every score from 0 to 1.

    Parameters
    ----------
    outcomes : DataFrame
        One row per prompt and model; needed: prompt_id, model_id, score (numbers or booleans).
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
        and model, a score that is no number from 0 to 1, a negative or infinite cost or latency, and (by
        default) a model missing for some prompts. The message names the rows.

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
        raise ValueError("no prompt has an answer of every model")
    text = f"{int(short.sum()):,} of {len(short):,} prompts left out: a model's answer is missing"
    return note(table[~short[prompts]], text)


def checked_cells(outcomes, *, complete=True):
    """The checked table, and the prompt and the model of each row: as codes, and the names they stand for."""
    known = {*OUTCOME_COLUMNS, *REQUEST_COLUMNS, "answer"}
    for column in outcomes.columns.difference(known):
        near = get_close_matches(str(column), known.difference(outcomes.columns), n=1, cutoff=0.85)
        if near:
            raise ValueError(f"unknown column {column!r}; did you mean {near[0]!r}?")
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
            f"{int((times > 1).sum()):,} pairs of prompt and model come more than once; first: prompt {plain(prompt)!r} "
            f"with model {model!r}, rows {rows}; repeated answers of one model need prompt ids of their own, or their mean"
        )
    outcomes = outcomes.assign(score=_scores(outcomes))
    for column in ("cost_usd", "end_to_end_s"):
        if column in outcomes:
            values = pd.to_numeric(outcomes[column], errors="coerce").to_numpy(float)
            if ((values >= 0) & (values < np.inf)).all():
                continue
            refuse(
                outcomes,
                column,
                np.isnan(values) & outcomes[column].notna().to_numpy(),
                "not a number",
            )
            refuse(
                outcomes, column, (values < 0) | np.isinf(values), "a negative or infinite value"
            )
    if complete and len(outcomes) < len(times):
        lacking = (times == 0).reshape(len(prompt_names), -1)
        first, model = (int(found[0]) for found in np.nonzero(lacking))
        raise ValueError(
            f"{int(lacking.any(axis=1).sum()):,} of {len(lacking):,} prompts lack an answer of some model; first: prompt "
            f"{plain(prompt_names[first])!r} has none of {model_names[model]!r}; incomplete='drop' leaves such prompts out"
        )
    return outcomes, (prompts, prompt_names), (models, model_names)


def price_outcomes(outcomes, prices=None, *, usd_per_mtok=None, missing_price="flag"):
    """Cost of every answer, from its token counts.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table with uncached_input_tokens and output_tokens (and cache buckets, where known).
    prices : Prices, optional
        From `tierlab.load_prices`; the rates of its `as_of` day.
    usd_per_mtok : mapping of str to (float, float), optional
        Input and output rate, USD per million tokens, of models that the catalogue lacks; wins over `prices`.
    missing_price : {"flag", "raise"}
        A model without a price: NaN cost and the flag `no_price` on all its rows, or an error. Never $0.

    Returns
    -------
    DataFrame
        The table with cost_usd (US dollars), cost_source (whose rates, as of when) and flags: its own, those
        of `tierlab.price`, and `no_price`.

    Raises
    ------
    ValueError
        If a token column is missing, a rate given is negative or names a model that is not in the table.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"prompt_id": [1], "model_id": "mixtral", "score": 1.0,
    ...                       "uncached_input_tokens": 500, "output_tokens": 300})
    >>> price_outcomes(table, usd_per_mtok={"mixtral": (0.6, 0.6)})["cost_usd"].round(6).tolist()
    [0.00048]
    """
    one_of("missing_price", missing_price, ("flag", "raise"))
    charged = (TOKEN_COLUMNS[0], TOKEN_COLUMNS[-1])
    for column in charged:
        if column not in outcomes:
            raise ValueError(
                f"column {column!r} is missing; a cost needs token counts, or a column cost_usd"
            )
    columns = [column for column in TOKEN_COLUMNS if column in outcomes]
    codes, names = pd.factorize(outcomes["model_id"])
    rates = _checked_rates(usd_per_mtok or {}, names)
    cost, added, origin = np.full(len(outcomes), np.nan), np.full(len(outcomes), "", object), []
    for code, name in enumerate(names):
        rows = np.flatnonzero(codes == code)
        tokens = outcomes[columns].take(rows)
        listed = _listed(name, prices)
        if name in rates:
            for column in set(columns).difference(charged):
                refuse(
                    tokens,
                    column,
                    counts(tokens, column) > 0,
                    f"cached tokens of {name!r}, whose two rates were given,",
                )
            for column in charged:
                refuse(tokens, column, counts(tokens, column) < 0, "a negative count")
            cost[rows] = tokens[list(charged)].to_numpy(float) @ rates[name] / 1e6
            origin.append(f"given: {rates[name][0]:g} / {rates[name][1]:g} USD per million tokens")
        elif listed is not None:
            priced = price(
                tokens.assign(
                    model_id=pd.Categorical.from_codes(np.zeros(len(rows), "int8"), [listed])
                ),
                prices,
            )
            cost[rows], added[rows] = priced["cost_usd"], priced["flags"].astype(object)
            origin.append(f"{prices.source}, as of {prices.as_of:%Y-%m-%d}")
        elif missing_price == "raise":
            raise ValueError(
                f"model {name!r} has no price ({len(rows):,} rows, first row {plain(outcomes.index[rows[0]])!r}); "
                f"give usd_per_mtok={{{name!r}: (input, output)}}"
            )
        else:
            added[rows] = "no_price"
            origin.append(
                "none: no prices given" if prices is None else f"none: not in {prices.source}"
            )
    sources = list(dict.fromkeys(origin))
    source = pd.Categorical.from_codes(
        np.array([sources.index(text) for text in origin], "int16")[codes], sources
    )
    return outcomes.assign(
        cost_usd=cost, cost_source=source, flags=merge_flags(_without_price_flags(outcomes), added)
    )


def outcome_account(outcomes):
    """What a table holds, model by model: the small table to show beside any result.

    Returns
    -------
    DataFrame
        By model_id: prompts, score (mean, 0-1), usd_per_1000 (US dollars per thousand prompts; NaN where any
        cost is unknown), without_cost (rows), flags (each with its count), and source, provenance,
        cost_source and tokenizer where the table has them.
    """
    groups = outcomes.groupby("model_id", sort=False, observed=True)
    account = groups["score"].agg(prompts="size", score="mean")
    if "cost_usd" in outcomes:
        account["usd_per_1000"] = 1000 * groups["cost_usd"].agg(
            lambda cost: cost.mean(skipna=False)
        )
        account["without_cost"] = groups["cost_usd"].agg(lambda cost: int(cost.isna().sum()))
    if "flags" in outcomes:
        account["flags"] = groups["flags"].agg(_flag_counts)
    for column in ("source", "provenance", "cost_source", "tokenizer"):
        if column in outcomes:
            account[column] = groups[column].agg(
                lambda texts: "; ".join(dict.fromkeys(texts.dropna()))
            )
    return account


def outcome_origin(outcomes):
    """Where a table and its costs come from, to show beside any result; of which models, where they differ.

    Returns
    -------
    DataFrame
        A row each of source, provenance, cost_source, tokenizer and flags (with counts) that the table has;
        column "".

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"prompt_id": [1, 1], "model_id": ["a", "b"], "score": 1, "flags": ["", "no_price"]})
    >>> outcome_origin(table)[""].to_dict()
    {'flags': 'none (a); no_price 1 (b)'}
    """
    account, rows = outcome_account(outcomes), {}
    for column in ("source", "provenance", "cost_source", "tokenizer", "flags"):
        if column in account:
            texts = account[column].astype(object).replace("", "none")
            groups = {text: texts.index[texts == text] for text in texts.unique()}
            who = [
                ", ".join(models) if len(models) < 4 else f"{len(models)} models"
                for models in groups.values()
            ]
            each = "; ".join(f"{text} ({models})" for text, models in zip(groups, who, strict=True))
            rows[column] = each if len(groups) > 1 else texts.iloc[0]
    return pd.DataFrame({"": rows})


def merge_flags(table, flags, where=True):
    """The `flags` column of a table with more flags joined to it.

    Parameters
    ----------
    table : DataFrame
    flags : str or array of str
        A flag, or a ";"-joined list of them per row.
    where : bool or array of bool
        Rows that get it.

    Returns
    -------
    Categorical
        ";"-joined names, "" for none.
    """
    old, earlier = pd.factorize(
        table["flags"].astype(object).fillna("")
        if "flags" in table
        else np.full(len(table), "", object)
    )
    new, later = pd.factorize(
        np.where(np.broadcast_to(where, len(table)), flags, "").astype(object)
    )
    joined = [
        ";".join(dict.fromkeys(f for f in f"{a};{b}".split(";") if f))
        for a in earlier
        for b in later
    ]
    names = list(dict.fromkeys(joined))
    lookup = np.array([names.index(text) for text in joined], "int16")
    return pd.Categorical.from_codes(
        lookup[old * len(later) + new], names
    ).remove_unused_categories()


def note(table, text):
    """The table with a remark added to its column `provenance`."""
    texts = table["provenance"].astype(str) + "; " + text if "provenance" in table else text
    return table.assign(provenance=pd.Categorical(np.broadcast_to(texts, len(table))))


def _without_price_flags(table):
    """The table without the flags of an earlier pricing, which a new one makes untrue."""
    if "flags" not in table:
        return table
    codes, texts = pd.factorize(table["flags"].astype(object).fillna(""))
    kept = [
        ";".join(flag for flag in text.split(";") if flag not in (*FLAGS, "no_price"))
        for text in texts
    ]
    return table.assign(flags=np.array(kept, object)[codes])


def _listed(name, prices):
    try:
        return None if prices is None else prices.resolve(_LISTED_AS.get(name, name))
    except ValueError:
        return None


def _checked_rates(usd_per_mtok, names):
    for name, rates in usd_per_mtok.items():
        if name not in names:
            raise ValueError("usd_per_mtok: " + unknown("model", name, names))
        if np.shape(rates) != (2,) or not (np.isfinite(rates).all() and min(rates) >= 0):
            raise ValueError(
                f"usd_per_mtok of {name!r} is {rates!r}; give (input, output) in USD per million tokens"
            )
    return {name: np.array(rates, float) for name, rates in usd_per_mtok.items()}


def _flag_counts(flags):
    counts = {}
    for text, times in flags.value_counts().items():
        for flag in text.split(";") if times else ():
            counts[flag] = counts.get(flag, 0) + times
    counts.pop("", None)
    return "; ".join(f"{flag} {times:,}" for flag, times in counts.items())


def _scores(outcomes):
    """The scores as float, or an error that names the rows."""
    column = outcomes["score"]
    scores = pd.to_numeric(column, errors="coerce").to_numpy(float, na_value=np.nan)
    if ((scores >= 0) & (scores <= 1)).all():
        return scores
    refuse(
        outcomes, "score", np.isnan(scores) & column.notna().to_numpy(), "a score that is no number"
    )
    refuse(
        outcomes,
        "score",
        np.isnan(scores),
        "a missing score (0 if a failed call is a wrong answer; else leave the prompt out)",
    )
    refuse(outcomes, "score", (scores < 0) | (scores > 1), "a score outside 0-1")
    return scores
