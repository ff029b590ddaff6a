"""What every rule stands on: the catalogues, the models that its arguments name, their rates, and the article's example."""

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import pandas as pd

from tierlab.core.vocabulary import TIERS
from tierlab.prices.catalog import Prices
from tierlab.prices.pricing import reprice

# The article's own example (Why It Matters), and its shares of routed traffic (Routing and Hybrid Strategies).
REQUESTS_PER_DAY, INPUT_TOKENS, OUTPUT_TOKENS, DAYS_PER_MONTH = 1_000_000, 500, 300, 30
ROUTED_SHARES = (0.70, 0.80)
# Estimates of ours: the message plus about 45 tokens of the article's two classifier prompts, a one-word reply,
# and how many errors fewer a flagship makes per request.
CLASSIFIER_TOKENS, ERROR_GAP = (INPUT_TOKENS + 45, 3), 0.05
MIXES = "input|output|blended"
METRICS = {}


class NoFigure(ValueError):
    """A catalogue lacks what a metric needs; the claim cannot be checked against it."""


@dataclass(frozen=True)
class Basis:
    """What a metric may look at: the catalogue that gives the figures, and both by name."""

    prices: Prices
    catalogues: dict


def metric(source=""):
    """Register a function under its own name, so that a rule in data/claims.csv can name it.

    `source` names the data of a rule that looks at no prices.
    """

    def register(function):
        function.source = source
        METRICS[function.__name__] = function
        return function

    return register


def in_force(prices, on=None):
    """The rates of a day by model, the lowest context step first."""
    return prices.in_force(on).sort_values("context_above", kind="stable")


def find_models(prices, text):
    """Model ids for "anthropic.small|gpt-4o": slots of the lineup on the catalogue's day, or names."""
    found = []
    for name in text.split("|"):
        provider, _, tier = name.rpartition(".")
        try:
            found.append(
                prices.resolve(prices.lineup().at[provider, tier] if tier in TIERS else name)
            )
        except (KeyError, ValueError) as error:
            raise NoFigure(f"no model {name} in {prices.source}") from error
    return found


def approximate_models(prices, args):
    """Models that a rule's arguments name by slot and whose price the catalogue itself calls approximate."""
    slots = re.findall(rf"(\w+\.(?:{'|'.join(TIERS)}))", args)
    rows = in_force(prices)
    rough = set(rows.loc[rows["approximate"], "model_id"])
    return sorted(rough.intersection(find_models(prices, "|".join(slots)))) if slots else []


def rates(prices, names, input_tokens=INPUT_TOKENS, *, on=None):
    """USD per million tokens at one input length: columns input, output, blended (the article's 500 + 300 tokens).

    NaN where the length exceeds the model's context window.
    """
    table = _rates_of_all(prices, input_tokens, on)
    missing = [name for name in names if name not in table.index]
    if missing:
        raise NoFigure(f"no price of {', '.join(missing)} in {prices.source}")
    return table.loc[list(names)]


@lru_cache(maxsize=32)  # the claims ask for the same few lengths and days again and again
def _rates_of_all(prices, input_tokens, on):
    rows = in_force(prices, on)
    rows = rows[rows["context_above"] < input_tokens]
    rows = rows.drop_duplicates("model_id", keep="last").set_index("model_id")
    table = rows[["uncached_input", "output"]].set_axis(["input", "output"], axis=1)
    table["blended"] = (
        table @ np.array([INPUT_TOKENS, OUTPUT_TOKENS]) / (INPUT_TOKENS + OUTPUT_TOKENS)
    )
    return table.where(~(rows["context_window"] < input_tokens), np.nan)


def request_usd(prices, names, tokens=(INPUT_TOKENS, OUTPUT_TOKENS)):
    """US dollars of one request on each model: a Series by model id."""
    one = pd.DataFrame({"uncached_input_tokens": [tokens[0]], "output_tokens": [tokens[1]]})
    return reprice(one, prices, list(names)).iloc[0]


def lengths(text):
    return [int(tokens) for tokens in str(text).split("|")]


def over_lengths(values_at, input_tokens):
    """Values at the first input length, then those that another length changes (and that still fit the window)."""
    first, *others = lengths(input_tokens)
    parts = [values_at(first)]
    for tokens in others:
        far = values_at(tokens)
        changed = far.notna() & ~np.isclose(far, parts[0])
        parts.append(far[changed].add_suffix(f" at {tokens:,} tokens"))
    return pd.concat(parts)


def labels_of(names, mixes):
    return [
        f"{name} {kind}".strip() for name, kind in product(names, mixes if len(mixes) > 1 else [""])
    ]


def price_ratio(prices, higher, lower, mix=MIXES, input_tokens=INPUT_TOKENS):
    """Price of the lower over the higher model of each pair, by mix and input length."""
    higher, lower = np.broadcast_arrays(find_models(prices, higher), find_models(prices, lower))
    mixes = mix.split("|")
    names = [f"{x} / {y}" if len(higher) > 1 else "" for x, y in zip(higher, lower, strict=True)]
    labels = labels_of(names, mixes)

    def ratio_at(tokens):
        over, under = (rates(prices, side, tokens)[mixes].to_numpy() for side in (higher, lower))
        return pd.Series((under / over).ravel(), labels)

    return over_lengths(ratio_at, input_tokens)
