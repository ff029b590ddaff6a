"""Rules on time: what public pages say of the models' speed, and what a wait is made of."""

import pandas as pd

from tierlab.article.basis import OUTPUT_TOKENS, find_models, metric
from tierlab.reasoning.effort import billed_output, load_efforts
from tierlab.speed.latency import router_seconds, seconds_range
from tierlab.speed.speeds import load_published, load_speeds, published_factors

PUBLISHED = "data/published_speeds.csv: what public pages say, read on 2026-11-24"
ASSUMED = "data/speeds.csv: speeds of the article, waits assumed"


@metric(source=PUBLISHED)
def published_speed(basis, models):
    """Lowest and highest output tokens per second that public pages give each model."""
    speeds = load_published().groupby("model_id")["tokens_per_s"]
    return _ends(speeds.min(), speeds.max(), find_models(basis.prices, models))


@metric(source=PUBLISHED)
def published_factor(basis, tier):
    """How many times faster than its provider's flagship a tier is: lowest and highest of every pair of pages."""
    factors = published_factors(load_published())
    factors = factors[factors["tier"] == tier].set_index("provider")
    return _ends(factors["factor_low"], factors["factor_high"], factors.index)


@metric(source=PUBLISHED)
def published_lead(basis, fast, slow):
    """How many times faster one model is than others: lowest and highest of every pair of pages."""
    speeds = load_published().groupby("model_id")["tokens_per_s"]
    (first,), others = find_models(basis.prices, fast), find_models(basis.prices, slow)
    low, high = (ends.reindex([first, *others]) for ends in (speeds.min(), speeds.max()))
    return _ends(low[first] / high[others], high[first] / low[others], others)


@metric(source=f"data/router_speeds.csv: recorded on one machine; {PUBLISHED}")
def embedding_wait(basis, models):
    """Slow end of a local embedding router over the time to the first token of each model as a classifier."""
    waits = load_published().groupby("model_id")["ttft_s"]
    slow = router_seconds("embedding_local")[2]
    return _ends(slow / waits.max(), slow / waits.min(), find_models(basis.prices, models))


@metric(source=ASSUMED)
def wait_share(basis, seconds, models):
    """Share that some seconds are of one answer of the article's length."""
    times = seconds_range(load_speeds(), OUTPUT_TOKENS).set_index("model_id")["seconds"]
    return float(seconds) / times.reindex(find_models(basis.prices, models))


@metric(source="data/efforts.csv: assumed")
def reasoning_slowdown(basis, efforts):
    """How many times the tokens, and at one speed the time, an answer takes with reasoning at each effort."""
    shares = load_efforts()["share"][efforts.split("|")]
    return pd.Series(billed_output(1, shares), shares.index)


def _ends(low, high, names):
    """The two ends for each name, one value where they are equal; missing where there is no page."""
    low, high, found = low.reindex(names), high.reindex(names), {}
    for name in names:
        found |= (
            {f"{name} from": low[name], f"{name} to": high[name]}
            if low[name] < high[name]
            else {name: low[name]}
        )
    return pd.Series(found)
