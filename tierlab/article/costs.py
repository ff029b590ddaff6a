"""Rules on bills: what a volume costs, what routing, batch and cache save, and where a choice breaks even."""

import numpy as np
import pandas as pd

from tierlab.article.basis import (
    CLASSIFIER_TOKENS,
    DAYS_PER_MONTH,
    ERROR_GAP,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    REQUESTS_PER_DAY,
    ROUTED_SHARES,
    find_models,
    in_force,
    lengths,
    metric,
    request_usd,
)
from tierlab.scaling.costs import error_cost_break_even


def classifier_usd(prices, model):
    return (
        request_usd(prices, find_models(prices, model), CLASSIFIER_TOKENS).iloc[0] if model else 0.0
    )


@metric
def day_cost(basis, mix, classifier=""):
    """US dollars a day of the article's volume, split over models by share."""
    slots, shares = zip(*(part.split(":") for part in mix.split("|")), strict=True)
    daily = REQUESTS_PER_DAY * request_usd(basis.prices, find_models(basis.prices, "|".join(slots)))
    return daily @ np.array(shares, float) + REQUESTS_PER_DAY * classifier_usd(
        basis.prices, classifier
    )


@metric
def volume_cost(basis, models, requests):
    """US dollars of a number of the article's requests, per model."""
    return float(requests) * request_usd(basis.prices, find_models(basis.prices, models))


def pair_usd(prices, dear, cheap):
    return (request_usd(prices, find_models(prices, side)).to_numpy() for side in (dear, cheap))


@metric
def month_difference(basis, dear, cheap):
    """US dollars a month between two models at the article's volume."""
    over, under = pair_usd(basis.prices, dear, cheap)
    return DAYS_PER_MONTH * REQUESTS_PER_DAY * (over - under)[0]


@metric
def error_cost(basis, dear, cheap):
    """US dollars per error above which the dear model pays, if it makes ERROR_GAP fewer errors per request."""
    over, under = pair_usd(basis.prices, dear, cheap)
    return pd.Series(
        error_cost_break_even(over, under, 0, ERROR_GAP), find_models(basis.prices, dear)
    )


@metric
def fixed_cost_requests(basis, fixed_usd, dear, cheap):
    """Requests after which a fixed cost is repaid by going from the dear to the cheap model."""
    over, under = pair_usd(basis.prices, dear, cheap)
    return float(fixed_usd) / (over - under)[0]


@metric(source="the article's text")
def flagship_share(basis):
    """Share left to the flagship when the routed shares go elsewhere."""
    return pd.Series({f"of {share:.0%}": 1 - share for share in ROUTED_SHARES})


@metric
def routed_saving(basis, dear, cheap, classifier=""):
    """Share saved against the dear model alone, at both ends of the routed shares."""
    (over,), (under,) = pair_usd(basis.prices, dear, cheap)
    call = classifier_usd(basis.prices, classifier)
    return pd.Series({f"at {s:.0%}": s * (1 - under / over) - call / over for s in ROUTED_SHARES})


@metric
def router_break_even(basis, dear, cheap):
    """Share of requests that must go to the cheap model before the classifier call, made on it, pays."""
    (over,), (under,) = pair_usd(basis.prices, dear, cheap)
    return classifier_usd(basis.prices, cheap) / (over - under)


@metric
def routing_month_saving(basis, dear, cheap, requests_per_day):
    """US dollars a month saved by sending 80% to the cheap model, with the classifier call."""
    share = routed_saving(basis, dear, cheap, classifier=cheap).iloc[-1]
    monthly = DAYS_PER_MONTH * request_usd(basis.prices, find_models(basis.prices, dear)).iloc[0]
    return pd.Series({f"{n:,} a day": n * monthly * share for n in lengths(requests_per_day)})


@metric
def lever_saving(basis, levers="batch|cache"):
    """Share saved per lineup model: by the batch rate on the article's request, by a cache read on an input token."""
    table = (
        in_force(basis.prices)
        .drop_duplicates("model_id")
        .set_index("model_id")
        .loc[basis.prices.models()]
    )
    tokens = np.array([INPUT_TOKENS, OUTPUT_TOKENS])
    paid = {
        "batch": table[["batch_uncached_input", "batch_output"]]
        @ tokens
        / (table[["uncached_input", "output"]] @ tokens),
        "cache": table["cache_read"] / table["uncached_input"],
    }
    return pd.concat([(1 - paid[lever]).add_suffix(f" {lever}") for lever in levers.split("|")])
