"""What the running product costs as a message and as a conversation, and what bends its bill."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pandas as pd

from tierlab.prices.pricing import price
from tierlab.scaling.costs import batch_break_even, cliff_break_even, error_cost_break_even

_CACHE_RATES = ["cache_read", "cache_write_short"]


def session(conversation, turns=None, *, cached=False):
    """The requests of one session: every turn sends all that came before it.

    Parameters
    ----------
    conversation : tierlab.core.product.Conversation
    turns : int, optional
        By default those of the conversation.
    cached : bool
        Each turn reads the input of the turn before from the cache and writes what is new, the last answer included.

    Returns
    -------
    DataFrame
        turn, the input buckets and output_tokens, a row per turn.

    Examples
    --------
    >>> from tierlab.core.product import load_product
    >>> session(load_product().conversation, 2, cached=True)[["cache_read_tokens", "cache_write_short_tokens"]].values.tolist()
    [[0, 6200], [6200, 500]]
    """
    turn = np.arange(1, (turns or conversation.turns) + 1)
    whole = (
        conversation.system_tokens
        + turn * conversation.input_tokens
        + (turn - 1) * conversation.output_tokens
    )
    before = np.r_[0, whole[:-1]] if cached else 0 * whole
    return pd.DataFrame(
        {
            "turn": turn,
            "uncached_input_tokens": 0 * whole if cached else whole,
            "cache_read_tokens": before,
            "cache_write_short_tokens": whole - before if cached else 0 * whole,
            "output_tokens": conversation.output_tokens,
        }
    )


def hit_rate(conversation):
    """Share (0-1) of the input tokens of a session that is read from the cache.

    Examples
    --------
    27,800 of 36,000 tokens:

    >>> from tierlab.core.product import load_product
    >>> round(hit_rate(load_product().conversation), 4)
    0.7722
    """
    tokens = session(conversation, cached=True)[
        ["cache_read_tokens", "cache_write_short_tokens"]
    ].sum()
    return float(tokens["cache_read_tokens"] / tokens.sum())


def session_costs(conversation, prices, models, *, turns=None):
    """What a session has cost after each turn, with and without a cache.

    Parameters
    ----------
    conversation : tierlab.core.product.Conversation
    prices : Prices
    models : sequence of str
    turns : int, optional
        By default those of the conversation.

    Returns
    -------
    DataFrame
        provider, tier, model_id, cached, turn, the buckets, turn_usd and session_usd (the turns so far). A model without
        cache rates has no dollars with a cache, one whose window is exceeded none from that turn on.
    """
    both = pd.concat(
        [
            session(conversation, turns, cached=cached).assign(cached=cached)
            for cached in (False, True)
        ]
    )
    table = _rates(prices, models)[["provider", "tier", "model_id"]].merge(both, how="cross")
    table["turn_usd"] = _dollars(table, prices, table["cached"])
    table["session_usd"] = table.groupby(["model_id", "cached"], sort=False)["turn_usd"].transform(
        lambda usd: usd.cumsum().where(usd.notna().cummin())
    )
    return table


def what_bends(product, prices, models, *, until):
    """The cost of one message under each thing that changes it, as a multiple of today's message.

    Parameters
    ----------
    product : tierlab.core.product.Product
    prices : Prices
    models : sequence of str
    until : str
        ISO date up to which announced prices count.

    Returns
    -------
    DataFrame
        provider, tier, model_id, kind (volume, conversation, cached, long, batch, announced), change (the same in words),
        usd (one message; for a conversation its mean turn; for twice the volume two messages) and multiple; missing where a rate is missing or the input does not fit.
    """
    about = _rates(prices, models)[["provider", "tier", "model_id"]]
    steps = prices.in_force().query("model_id in @models and context_above > 0")["context_above"]
    longer = int(steps.min()) + 1 if len(steps) else 100_000
    message = about.assign(
        uncached_input_tokens=product.message.input_tokens,
        output_tokens=product.message.output_tokens,
    )
    today = _dollars(message, prices)
    talk = session_costs(product.conversation, prices, models)
    turn = talk.groupby(["model_id", "cached"])["turn_usd"].agg(lambda usd: usd.mean(skipna=False))
    turn = turn.unstack().loc[about["model_id"]]
    turns = product.conversation.turns
    later = replace(prices, as_of=pd.Timestamp(until))
    changes = [
        ("volume", "twice the messages", 2 * today),
        ("conversation", f"conversation of {turns} turns", turn[False].to_numpy()),
        ("cached", "the same, cache read", turn[True].to_numpy()),
        (
            "long",
            f"input of {longer:,} tokens",
            _dollars(message.assign(uncached_input_tokens=longer), prices),
        ),
        ("batch", "all in batch", _dollars(message.assign(batch=True), prices)),
        ("announced", f"announced prices to {until}", _dollars(message, later)),
    ]
    parts = [
        about.assign(kind=kind, change=words, usd=usd, multiple=usd / today)
        for kind, words, usd in changes
    ]
    return pd.concat(parts, ignore_index=True)


def cache_factors(prices, models):
    """Write and read prices of each model as multiples of plain input, and the hit rate above which a cache pays.

    Parameters
    ----------
    prices : Prices
    models : sequence of str

    Returns
    -------
    DataFrame
        provider, tier, model_id, write ("short", "long"), write_multiple, read_multiple, break_even (hit rate, 0-1;
        0 where a write costs no more than plain input). A model that does not sell such a write has no row.
    """
    rates = _rates(prices, models)
    parts = [
        rates[["provider", "tier", "model_id"]].assign(
            write=kind,
            write_multiple=rates[f"cache_write_{kind}"] / rates["uncached_input"],
            read_multiple=rates["cache_read"] / rates["uncached_input"],
        )
        for kind in ("short", "long")
    ]
    table = pd.concat(parts, ignore_index=True).dropna(subset=["write_multiple", "read_multiple"])
    fee = table["write_multiple"] - 1
    return table.assign(break_even=fee / (table["write_multiple"] - table["read_multiple"]))


def overtakings(message, prices, *, error_gap):
    """Where one model of the lineup overtakes another, for one message, in three ways.

    Parameters
    ----------
    message : tierlab.core.product.Message
    prices : Prices
    error_gap : float
        Share of messages (0-1) that a provider's flagship answers right and its small model wrong.

    Returns
    -------
    DataFrame
        higher and lower (model ids), break_even (number) and of (what the number is): the USD that one error must cost
        before a flagship pays over the small model, the share that must go through batch before a more expensive model costs
        as much as a cheaper one without batch, and the share of requests over a context step at which a model with a step
        costs as much as one without. A pair that no number makes equal has no row.
    """
    models = prices.models()
    rates = _rates(prices, models)
    request = rates[["model_id"]].assign(
        uncached_input_tokens=message.input_tokens, output_tokens=message.output_tokens
    )
    usd = dict(zip(models, _dollars(request, prices), strict=True))
    rows = [
        (
            large,
            small,
            error_cost_break_even(usd[large], usd[small], 0.0, error_gap),
            "USD per error",
        )
        for small, large in prices.lineup()[["small", "flagship"]].dropna().itertuples(index=False)
        if usd[large] > usd[small]
    ]
    shares = [
        (high, low, batch_break_even(usd[high], usd[low]), "share in batch")
        for high, low in permutations(models, 2)
    ]
    steps = prices.in_force().query("model_id in @models and context_above > 0")
    for step in steps.drop_duplicates("model_id").itertuples():
        below, above = (
            dict(
                zip(
                    models,
                    _dollars(request.assign(uncached_input_tokens=tokens), prices),
                    strict=True,
                )
            )
            for tokens in (step.context_above, step.context_above + 1)
        )
        of = f"share above {step.context_above:,} tokens"
        shares += [
            (
                step.model_id,
                flat,
                cliff_break_even(below[step.model_id], above[step.model_id], below[flat]),
                of,
            )
            for flat in models
            if flat not in set(steps["model_id"])
        ]
    rows += [row for row in shares if row[2] > 0]
    return pd.DataFrame(rows, columns=["higher", "lower", "break_even", "of"])


def _rates(prices, models):
    """Each model's rates below its first context step, in the order given."""
    first = prices.in_force().drop_duplicates("model_id").set_index("model_id")
    return first.loc[[prices.resolve(name) for name in models]].reset_index()


def _dollars(requests, prices, cached=False):
    """USD of each request; missing where a rate is missing or the input does not fit."""
    rates = _rates(prices, requests["model_id"])
    known = ~(np.asarray(cached) & rates[_CACHE_RATES].isna().any(axis=1).to_numpy())
    if "batch" in requests:
        known &= rates[["batch_uncached_input", "batch_output"]].notna().all(axis=1).to_numpy()
    found = price(requests[known], prices)
    fits = ~found["flags"].astype(str).str.contains("over_window")
    return found["cost_usd"].where(fits).reindex(requests.index).to_numpy()
