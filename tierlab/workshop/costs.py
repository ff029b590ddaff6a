"""Checks of exercises 1, 2 and 5: what requests cost, by tier and by shape."""

import pandas as pd

from tierlab.catalog import load_prices
from tierlab.pricing import reprice
from tierlab.workshop.values import Hint, ask, compare, number

# The article's own request and volume (Why It Matters).
INPUT_TOKENS, OUTPUT_TOKENS, REQUESTS, SMALL_SHARE = 500, 300, 1_000_000, 0.8


def _usd(prices, model_id, input_tokens, output_tokens):
    """US dollars of one request."""
    one = pd.DataFrame({"uncached_input_tokens": [input_tokens], "output_tokens": [output_tokens]})
    return reprice(one, prices, [model_id])[model_id].iloc[0]


def cost_function(cost, opus_usd, haiku_usd, routed_usd):
    """Exercise 1: a function of model, tokens and requests, and a day on Opus, on Haiku and on both."""
    prices = load_prices("article")
    opus, haiku = "claude-opus-4-8", "claude-haiku-4-5"
    for model_id, tokens in ((opus, (500, 300)), (haiku, (500, 300)), ("gpt-4o-mini", (0, 1_000)), ("gpt-5.5", (2_000, 10))):
        _one_request(cost, prices, model_id, *tokens)
    once = number("cost", ask("cost", cost, opus, INPUT_TOKENS, OUTPUT_TOKENS, 1))
    for requests in (0, 7, REQUESTS):
        found = number("cost", ask("cost", cost, opus, INPUT_TOKENS, OUTPUT_TOKENS, requests))
        if abs(found - requests * once) > 1e-9 * max(1, requests) * once:
            raise Hint(f"cost does not grow in step with the requests: compare requests=1 with requests={requests:,}")
    dear, cheap = (REQUESTS * _usd(prices, name, INPUT_TOKENS, OUTPUT_TOKENS) for name in (opus, haiku))
    one_request = "this is a single request; a day has a million of them"
    compare("opus_usd", opus_usd, dear, rel=1e-9, mistakes={dear / REQUESTS: one_request, cheap: "this is the price of Haiku"})
    compare(
        "haiku_usd", haiku_usd, cheap, rel=1e-9, mistakes={cheap / REQUESTS: one_request, dear: "this is the price of Opus"}
    )
    compare(
        "routed_usd",
        routed_usd,
        SMALL_SHARE * cheap + (1 - SMALL_SHARE) * dear,
        rel=1e-9,
        mistakes={
            SMALL_SHARE * dear + (1 - SMALL_SHARE) * cheap: "the two shares have changed places: which model answers most?",
            (dear + cheap) / 2: "this weighs both models alike; the shares differ",
            dear + cheap: "this sends every request to both models",
        },
    )


def _one_request(cost, prices, model_id, input_tokens, output_tokens):
    call = f"cost({model_id!r}, {input_tokens}, {output_tokens})"
    into, out = (_usd(prices, model_id, *tokens) for tokens in ((1_000_000, 0), (0, 1_000_000)))  # USD per million
    tokens = input_tokens + output_tokens
    compare(
        call,
        ask("cost", cost, model_id, input_tokens, output_tokens),
        _usd(prices, model_id, input_tokens, output_tokens),
        rel=1e-9,
        mistakes={
            input_tokens * into + output_tokens * out: "a million times too large: the rates are per million tokens",
            (input_tokens * out + output_tokens * into) / 1e6: "input and output have changed places",
            tokens * into / 1e6: "the output is priced as input",
            tokens * out / 1e6: "the input is priced as output",
            tokens * (into + out) / 1e6: "each token pays both rates; input pays one, output the other",
            tokens * (into + out) / 2e6: "an average of the two rates; input and output are not the same number of tokens",
            _usd(
                prices, "claude-opus-4-8", input_tokens, output_tokens
            ): "this is the price of Opus: does cost use its model_id?",
        },
    )
