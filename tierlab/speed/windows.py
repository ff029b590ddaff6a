"""Context windows: which share of requests fits which model, and what the step in price by context length adds."""

from dataclasses import replace

import numpy as np
import pandas as pd

from tierlab.core.tables import check_columns, checked_tokens
from tierlab.prices.pricing import reprice
from tierlab.scaling.workload import check_single

NO_WINDOW = "the price source gives no context window"
NO_OUTPUT_LIMIT = "the price source gives no output limit: only the window is checked"


def fit(requests, prices, models=None):
    """Share of requests that fits each model's context window.

    Parameters
    ----------
    requests : DataFrame
        The requests table, one row per request.
    prices : Prices
        With context_window and max_output_tokens.
    models : sequence of str, optional
        By default the lineup.

    Returns
    -------
    DataFrame
        One row per model: provider, tier, model_id, context_window, max_output_tokens, fits_share (of requests),
        fits_token_share (of all tokens), too_long (requests), longest_tokens (of the longest request, with its answer),
        reason. The window must hold the recorded answer as well, as it does at Anthropic and OpenAI (Google gives the
        input a window of its own), and an answer above max_output_tokens does not fit either. A model whose window is not known has no share (NaN) and a reason, never "fits".

    Examples
    --------
    >>> import tierlab as tl
    >>> log = pd.DataFrame({"uncached_input_tokens": [100_000, 127_000, 200_000], "output_tokens": [500, 1_500, 500]})
    >>> fit(log, tl.load_prices("maintained"), ["gpt-4o"])[["fits_share", "too_long"]].round(3).values.tolist()
    [[0.333, 2.0]]
    """
    whole, output = _lengths(requests)
    total = whole + output
    rows = []
    for row in _windows(prices, models).to_dict("records"):
        longest = row["max_output_tokens"]
        # A comparison with what is not known is false, so an unknown output limit refuses nothing.
        fits = ~((total > row["context_window"]) | (output > longest))
        row |= {
            "fits_share": fits.mean(),
            "fits_token_share": total[fits].sum() / total.sum() if total.sum() else np.nan,
            "too_long": int((~fits).sum()),
            "longest_tokens": int(total.max()),
            "reason": NO_OUTPUT_LIMIT if np.isnan(longest) else "",
        }
        if np.isnan(row["context_window"]):
            row |= dict.fromkeys(("fits_share", "fits_token_share", "too_long"), np.nan)
            row["reason"] = NO_WINDOW
        rows.append(row)
    return pd.DataFrame(rows)


def cliff_cost(requests, prices, models=None):
    """What the step in price above a context length adds to the bill.

    Parameters
    ----------
    requests : DataFrame
        The requests table, one row per request; its own model_id is not used.
    prices : Prices
        Rates in force on its `as_of`.
    models : sequence of str, optional
        By default the lineup.

    Returns
    -------
    DataFrame
        One row per model: provider, tier, model_id, context_above (tokens of the first step; NaN without one), above_share
        (of requests), cost_usd (of all requests), base_usd (the same at the rates below the step), added_usd, added_share
        (of the base), flags (what was assumed; an input over the window is priced all the same and flagged).

    Notes
    -----
    A step is a cliff: above it every token of the request pays the higher rate, so the extra is not that of the tokens above
    (`tierlab.price`). `tierlab.cliff_break_even` turns the two costs of a request into the share above at which a model
    without a step is as cheap.
    """
    whole, _ = _lengths(requests)
    table = _windows(prices, models)[["provider", "tier", "model_id"]]
    in_force = prices.in_force()
    steps = in_force[in_force["context_above"] > 0].groupby("model_id")["context_above"].min()
    table["context_above"] = table["model_id"].map(steps).astype(float)
    table["above_share"] = [
        (whole > step).mean() if np.isfinite(step) else 0.0 for step in table["context_above"]
    ]
    flat = replace(
        prices, frame=prices.frame[prices.frame["context_above"] == 0].reset_index(drop=True)
    )
    with_steps, without = (
        reprice(requests, p, table["model_id"], over_window="price") for p in (prices, flat)
    )
    table["cost_usd"] = table["model_id"].map(with_steps.sum())
    table["base_usd"] = table["model_id"].map(without.sum())
    table["added_usd"] = table["cost_usd"] - table["base_usd"]
    table["added_share"] = (table["added_usd"] / table["base_usd"]).where(table["base_usd"] > 0)
    return table.assign(
        flags=[with_steps.attrs["flags"].get(name, "") for name in table["model_id"]]
    )


def _lengths(requests):
    """Whole input and output of each request, in tokens."""
    check_columns(requests, needed=("uncached_input_tokens", "output_tokens"))
    if requests.empty:
        raise ValueError("there are no requests")
    check_single(requests, "lengths need")
    tokens = checked_tokens(requests)
    output = tokens.pop("output")
    return sum(tokens.values()), output


def _windows(prices, models):
    """provider, tier, model_id, context_window, max_output_tokens of each model, in the order given."""
    known = prices.in_force().drop_duplicates("model_id").set_index("model_id")
    names = [prices.resolve(name) for name in (prices.models() if models is None else models)]
    columns = ["provider", "tier", "model_id", "context_window", "max_output_tokens"]
    return known.reindex(names).rename_axis("model_id").reset_index()[columns]
