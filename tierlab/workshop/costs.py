"""Checks of exercises 1, 2, 5 and 6: what requests cost, by tier and by shape, and when a prompt cache pays."""

from collections.abc import Collection
from itertools import product

import numpy as np
import pandas as pd

from tierlab.core.format import usd as money
from tierlab.core.paths import DATA
from tierlab.core.vocabulary import unknown
from tierlab.prices.catalog import load_prices
from tierlab.prices.pricing import reprice
from tierlab.scaling.workload import cache_hits
from tierlab.workshop.values import Hint, ask, compare, frame, number, table

# The article's own request and volume (Why It Matters).
INPUT_TOKENS, OUTPUT_TOKENS, REQUESTS, SMALL_SHARE = 500, 300, 1_000_000, 0.8
# Exercise 6: the model, the day of its prices, and the ways to write a cache.
MODEL, AS_OF = "claude-sonnet-4-6", "2026-06-12"
BLOCK = 512  # tokens
WRITES = {"5m": ("cache_write_short", 300), "1h": ("cache_write_long", 3600)}  # bucket, seconds


def usd(prices, model_id, input_tokens, output_tokens):
    """Return the cost of one request (US dollars)."""
    one = pd.DataFrame({"uncached_input_tokens": [input_tokens], "output_tokens": [output_tokens]})
    return reprice(one, prices, [model_id])[model_id].iloc[0]


def cost_function(cost, opus_usd, haiku_usd, routed_usd):
    """Check exercise 1: a function of model, tokens and requests, and a day on Opus, on Haiku and on both."""
    prices = load_prices("article")
    opus, haiku = "claude-opus-4-8", "claude-haiku-4-5"
    for model_id, tokens in (
        (opus, (500, 300)),
        (haiku, (500, 300)),
        ("gpt-4o-mini", (0, 1_000)),
        ("gpt-5.5", (2_000, 10)),
    ):
        _one_request(cost, prices, model_id, *tokens)
    once = number("cost", ask("cost", cost, opus, INPUT_TOKENS, OUTPUT_TOKENS, 1))
    for requests in (0, 7, REQUESTS):
        found = number("cost", ask("cost", cost, opus, INPUT_TOKENS, OUTPUT_TOKENS, requests))
        if abs(found - requests * once) > 1e-9 * max(1, requests) * once:
            raise Hint(
                f"cost does not grow in step with the requests: compare requests=1 with requests={requests:,}"
            )
    yield "cost"
    on_opus, on_haiku = (
        REQUESTS * usd(prices, name, INPUT_TOKENS, OUTPUT_TOKENS) for name in (opus, haiku)
    )
    for name, value, right, other, whose in (
        ("opus_usd", opus_usd, on_opus, on_haiku, "Haiku"),
        ("haiku_usd", haiku_usd, on_haiku, on_opus, "Opus"),
    ):
        mistakes = {
            "this is a single request; a day has a million of them": right / REQUESTS,
            f"this is the price of {whose}": other,
        }
        compare(name, value, right, rel=1e-9, mistakes=mistakes)
        yield name
    mistakes = {
        "the two shares have changed places: which model answers most?": (
            SMALL_SHARE * on_opus + (1 - SMALL_SHARE) * on_haiku
        ),
        "this weighs both models alike; the shares differ": (on_opus + on_haiku) / 2,
        "this sends every request to both models": on_opus + on_haiku,
    }
    routed = SMALL_SHARE * on_haiku + (1 - SMALL_SHARE) * on_opus
    compare("routed_usd", routed_usd, routed, rel=1e-9, mistakes=mistakes)
    yield "routed_usd"
    return f"Sending the simple messages to Haiku is worth {money(on_opus - routed)} a day."


def _one_request(cost, prices, model_id, input_tokens, output_tokens):
    call = f"cost({model_id!r}, {input_tokens}, {output_tokens})"
    # USD per million tokens
    into, out = (usd(prices, model_id, *tokens) for tokens in ((1_000_000, 0), (0, 1_000_000)))
    tokens = input_tokens + output_tokens
    compare(
        call,
        ask("cost", cost, model_id, input_tokens, output_tokens),
        usd(prices, model_id, input_tokens, output_tokens),
        rel=1e-9,
        mistakes={
            "a million times too large: the rates are per million tokens": (
                input_tokens * into + output_tokens * out
            ),
            "input and output have changed places": (
                (input_tokens * out + output_tokens * into) / 1e6
            ),
            "the output is priced as input": tokens * into / 1e6,
            "the input is priced as output": tokens * out / 1e6,
            "each token pays both rates; input pays one, output the other": (
                tokens * (into + out) / 1e6
            ),
            "an average of the two rates; input and output are not the same number of tokens": (
                tokens * (into + out) / 2e6
            ),
            "this is the price of Opus: does cost use its model_id?": (
                usd(prices, "claude-opus-4-8", input_tokens, output_tokens)
            ),
        },
    )


def ratio_table(ratios, mid_savings, holds):
    """Check exercise 2: the flagship's price against the small model's, what the mid tier saves, and which claims hold."""
    prices = load_prices("article")
    lineup, rates = prices.lineup(), _rates(prices)
    rates["blended"] = (INPUT_TOKENS * rates["input"] + OUTPUT_TOKENS * rates["output"]) / (
        INPUT_TOKENS + OUTPUT_TOKENS
    )
    providers = list(lineup.index)
    small, mid, flagship = (
        rates.loc[lineup[tier]].set_axis(providers) for tier in ("small", "mid", "flagship")
    )
    _ratios(ratios, small, mid, flagship)
    yield "ratios"
    _mid_savings(mid_savings, mid, flagship)
    yield "mid_savings"
    right, savings = flagship / small, 1 - mid / flagship
    figures = {
        "30-50x": (right["blended"], 30, 50),
        "5-30x": (right["input"], 5, 30),
        "40-60 %": (savings["blended"], 0.4, 0.6),
    }
    for claim, answer in table("holds", holds, list(figures)).items():
        figure, low, high = figures[claim]
        inside = set(figure.index[figure.round(9).between(low, high)])
        _is_set(f"holds[{claim!r}]", answer, inside, providers)
    yield "holds"
    day = REQUESTS * (INPUT_TOKENS + OUTPUT_TOKENS) / 1e6 * (flagship - mid)["blended"]
    return (
        f"A tier down from the flagship is worth {money(day.min())} to {money(day.max())} a day "
        "for a million messages, depending on the provider."
    )


def _ratios(ratios, small, mid, flagship):
    frame("ratios", ratios, rows=small.index, columns=small.columns)
    right, of_mid = flagship / small, flagship / mid
    alike = (flagship["input"] + flagship["output"]) / (small["input"] + small["output"])
    for provider, mix in product(small.index, small.columns):
        mistakes = {
            "upside down: how many times the small model's price is the flagship's?": (
                1 / right.at[provider, mix]
            ),
            "this compares the flagship with the mid tier": of_mid.at[provider, mix],
        }
        if mix == "blended":
            mistakes |= {
                "an average of two ratios; blend the prices first": (
                    right.loc[provider, ["input", "output"]].mean()
                ),
                "this weighs input and output alike; the request has more input than output": (
                    alike[provider]
                ),
            }
        compare(
            f"ratios.at[{provider!r}, {mix!r}]",
            ratios.at[provider, mix],
            right.at[provider, mix],
            rel=1e-6,
            mistakes=mistakes,
        )


def _mid_savings(mid_savings, mid, flagship):
    savings, factor = 1 - mid / flagship, flagship / mid
    for provider, value in table("mid_savings", mid_savings, list(mid.index)).items():
        right = savings.at[provider, "blended"]
        mistakes = {
            "this is the share that is left to pay; the saving is the rest": 1 - right,
            "this is a factor; the exercise asks for a share of the flagship's price": (
                factor.at[provider, "blended"]
            ),
            "this looks at input alone": savings.at[provider, "input"],
            "this looks at output alone": savings.at[provider, "output"],
        }
        compare(f"mid_savings[{provider!r}]", value, right, rel=1e-6, mistakes=mistakes)


def _is_set(name, answer, right, known):
    if isinstance(answer, str) or not isinstance(answer, Collection):
        raise Hint(f"{name} is {answer!r}; the exercise asks for a set of names")
    if strange := [item for item in answer if item not in known]:
        raise Hint(f"{name}: {unknown('name', strange[0], known)}")
    if set(answer) - right:
        raise Hint(f"{name} has a name whose figure lies outside the range")
    if right - set(answer):
        raise Hint(
            f"{name} lacks a name whose figure lies inside the range; a figure on a bound is inside"
        )


def shape_table(per_1000, flipped, break_even):
    """Check exercise 5: 1,000 requests of two shapes on eleven models, the pair that changes places, and where."""
    prices = load_prices("maintained", as_of="2026-06-12")
    rates = _rates(prices).loc[prices.models(reasoning=True)]
    shapes = pd.read_csv(DATA / "workshop" / "shapes.csv", index_col="shape")
    into, out = (shapes[f"{side}_tokens"] / shapes["requests"] for side in ("input", "output"))
    frame("per_1000", per_1000, rows=rates.index, columns=shapes.index)
    for (model_id, rate), shape in product(rates.iterrows(), shapes.index):
        usd = {
            name: (into[name] * rate["input"] + out[name] * rate["output"]) / 1e3
            for name in shapes.index
        }
        mistakes = {
            "this is the whole trace; divide by its requests": (
                usd[shape] * shapes.at[shape, "requests"] / 1e3
            ),
            "input and output have changed places": (
                (into[shape] * rate["output"] + out[shape] * rate["input"]) / 1e3
            ),
            "this is the other shape": tuple(usd[name] for name in usd if name != shape),
        }
        compare(
            f"per_1000.at[{model_id!r}, {shape!r}]",
            per_1000.at[model_id, shape],
            usd[shape],
            rel=1e-6,
            mistakes=mistakes,
        )
    yield "per_1000"
    pair = _pair(flipped, prices, per_1000)
    yield "flipped"
    first, second = rates.loc[pair[0]], rates.loc[pair[1]]
    balance = (second["output"] - first["output"]) / (first["input"] - second["input"])
    compare(
        "break_even",
        break_even,
        balance,
        rel=1e-6,
        mistakes={
            "upside down: the exercise asks for input tokens per output token": 1 / balance,
            "this compares input rates alone": (
                first["input"] / second["input"],
                second["input"] / first["input"],
            ),
            "the sign: one model costs more on input, the other on output": -balance,
        },
    )
    yield "break_even"
    first, second = 1_000 * per_1000.loc[pair].astype(float).diff().iloc[-1].abs()
    return (
        f"Choosing by the shape is worth {money(first)} a million requests of one shape, and "
        f"{money(second)} a million of the other."
    )


def _pair(flipped, prices, usd):
    """Return the ids of the two models that a learner names, if their order differs between the shapes."""
    if isinstance(flipped, str) or not isinstance(flipped, Collection) or len(set(flipped)) != 2:
        raise Hint("flipped is not a pair: the exercise asks for a set of two names")
    try:
        pair = sorted(prices.resolve(name) for name in flipped)
    except ValueError as error:
        raise Hint(f"flipped: {error}") from None
    if lost := [name for name in pair if name not in usd.index]:
        raise Hint(f"flipped: the table has no model {lost[0]}")
    if len(set(usd.loc[pair].astype(float).idxmin())) == 1:
        raise Hint("flipped: one of these two models is the cheaper one in both shapes")
    return pair


def _rates(prices):
    """Return USD per million tokens at the lowest context step, columns input and output by model id."""
    base = prices.in_force().query("context_above == 0").set_index("model_id")
    return base[["uncached_input", "output"]].set_axis(["input", "output"], axis=1)


def help_desk(*, seed=6, sessions=120, gap_s=1200.0):
    """Simulate a day of a help desk that answers by e-mail: conversations whose turns lie minutes apart.

    Parameters
    ----------
    seed : int
        Makes all draws.
    sessions : int
        Number of conversations.
    gap_s : float
        Median time between two turns of a conversation, seconds.

    Returns
    -------
    DataFrame
        A requests table without a model: at, session, uncached_input_tokens (the whole input), output_tokens,
        prefix_ids (chained blocks of 512 tokens; a block that is not full has none), source "simulated".

    Notes
    -----
    Conversations begin at any time within eight hours and have 1 + Poisson(4) turns with log-normal gaps (sigma 1). The
    first block is the instruction, the same for all. Each turn sends the conversation so far and 300 to 1,499 new tokens.

    Examples
    --------
    >>> desk = help_desk(sessions=2)
    >>> sorted(desk["session"].unique().tolist()), desk["prefix_ids"].str[0].unique().tolist()
    ([0, 1], [0])
    """
    rng, rows = np.random.default_rng(seed), []
    for session in range(sessions):
        at, length = rng.uniform(0, 8 * 3600), BLOCK
        for _ in range(1 + rng.poisson(4)):
            length += int(rng.integers(300, 1500))
            output = int(rng.integers(80, 400))
            own = range(1000 * (session + 1), 1000 * (session + 1) + length // BLOCK - 1)
            rows.append((at, session, length, output, [0, *own]))
            length += output
            at += gap_s * np.exp(rng.normal())
    columns = ["at", "session", "uncached_input_tokens", "output_tokens", "prefix_ids"]
    turns = pd.DataFrame(rows, columns=columns).assign(source="simulated")
    seconds = 9 * 3600 + turns["at"].round()
    turns["at"] = pd.Timestamp(AS_OF) + pd.to_timedelta(seconds, unit="s")
    return turns.sort_values("at", kind="stable").reset_index(drop=True)


def cache_break_even(h_star, hit_rate, input_usd):
    """Check exercise 6: break-even and simulated hit rates, and the day's input with and without a cache."""
    prices = load_prices("maintained", as_of=AS_OF).in_force().query("context_above == 0")
    buckets = ["uncached_input", "cache_read", *(bucket for bucket, _ in WRITES.values())]
    rates = prices.set_index("model_id").loc[MODEL, buckets].astype(float)
    plain, read, *writes = rates / 1e6  # USD per token
    writes = dict(zip(WRITES, writes, strict=True))
    _break_evens(h_star, plain, read, writes)
    yield "h_star"
    desk = help_desk()
    whole = desk["uncached_input_tokens"]
    hits = {"ideal": cache_hits(desk)}
    hits |= {ttl: cache_hits(desk, ttl_s=seconds) for ttl, (_, seconds) in WRITES.items()}
    _hit_rates(hit_rate, hits, whole)
    yield "hit_rate"
    cached = {ttl: hits[ttl].sum() for ttl in WRITES}
    bills = _bills(input_usd, cached, whole.sum(), plain, read, writes)
    yield "input_usd"
    worth = max(bills.values()) - min(bills.values())
    return f"The right choice is worth {money(worth)} on this one day."


def _break_evens(h_star, plain, read, writes):
    right = {ttl: (write - plain) / (write - read) for ttl, write in writes.items()}
    for ttl, answer in table("h_star", h_star, list(writes)).items():
        write, star = writes[ttl], right[ttl]
        mistakes = {
            "upside down: a share of the tokens lies between zero and one": 1 / star,
            "this is the share that may miss; the exercise asks for the share that must hit": 1
            - star,
            "this takes what is read for free; a hit still pays the read rate": (
                (write - plain) / write
            ),
            "this is how many reads earn one write back; the exercise asks for the share of tokens": (
                (write - plain) / (plain - read)
            ),
            "this is the premium of a write alone; what does a hit save?": (write - plain) / plain,
            "which side pays the premium? Set the cost with a cache equal to that without": (
                plain / (write - read)
            ),
            "this belongs to the other time to live": tuple(
                other for name, other in right.items() if name != ttl
            ),
        }
        compare(f"h_star[{ttl!r}]", answer, star, abs=1e-3, mistakes=mistakes)


def _hit_rates(hit_rate, hits, whole):
    rates = {name: found.sum() / whole.sum() for name, found in hits.items()}
    for name, answer in table("hit_rate", hit_rate, list(hits)).items():
        found = hits[name]
        mistakes = {
            "an average of the requests' shares: short requests count as much as long ones; divide sums": (
                (found / whole).mean()
            ),
            "this is the share of requests with a hit; the exercise asks for the share of input tokens": (
                (found > 0).mean()
            ),
            "this is the share that misses": 1 - rates[name],
            "this divides by what misses; divide by the whole input": (
                found.sum() / (whole - found).sum()
            ),
            **{
                f"this is the rate of {other!r}: is ttl_s in seconds?": rate
                for other, rate in rates.items()
                if other != name
            },
            "nothing hits: is ttl_s in seconds?": 0.0,
        }
        compare(f"hit_rate[{name!r}]", answer, rates[name], abs=0.005, mistakes=mistakes)


def _bills(input_usd, hits, whole, plain, read, writes):
    bills = {"none": whole * plain}
    bills |= {ttl: hits[ttl] * read + (whole - hits[ttl]) * write for ttl, write in writes.items()}
    for name, answer in table("input_usd", input_usd, list(bills)).items():
        mistakes = {
            f"this is the cost of {other!r}": bills[other] for other in bills if other != name
        }
        if name in hits:
            hit, missed, write = hits[name], whole - hits[name], writes[name]
            mistakes |= {
                "what misses is written to the cache, and a write costs more than plain input": (
                    hit * read + missed * plain
                ),
                "tokens that are read are not written again": hit * read + whole * write,
                "a hit is cheap, not free: the read rate is missing": missed * write,
                "nothing is read: where did the hits go?": whole * write,
                "reads and writes have changed places": hit * write + missed * read,
            }
        compare(f"input_usd[{name!r}]", answer, bills[name], rel=1e-3, mistakes=mistakes)
    return bills
