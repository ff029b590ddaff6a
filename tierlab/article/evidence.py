"""Rules on what is not a price: choices, recorded answers, how many of them a decision takes, tuning offers, and time."""

import numpy as np
import pandas as pd

from tierlab.article.basis import OUTPUT_TOKENS, find_models, metric
from tierlab.core.paths import DATA
from tierlab.core.tables import load_tasks
from tierlab.decide.tasks import task_tiers, tier_by_rule
from tierlab.reasoning.effort import billed_output, load_efforts
from tierlab.speed.latency import router_seconds, seconds_range
from tierlab.speed.speeds import load_published, load_speeds, published_factors

PUBLISHED = "data/published_speeds.csv: what public pages say, read on 2026-11-24"
ASSUMED = "data/speeds.csv: speeds of the article, waits assumed"
SKETCH = "the article's code, run against a stand-in client"
MEASURED = "data/measured.csv: recorded answers of public data sets"
RECORDED = "data/samples: recorded answers of open models, and of a student that one of them taught"


def load_measured(path=DATA / "measured.csv"):
    """data/measured.csv by name: value, unit, source, how."""
    return pd.read_csv(path).set_index("name")


def load_recorded(name):
    """The rows of data/recorded.csv of one name: value by label."""
    rows = pd.read_csv(DATA / "recorded.csv")
    return rows[rows["name"] == name].set_index("label")["value"]


@metric(source=MEASURED)
def measured(basis, names):
    """Numbers of data/measured.csv: computed from public data by this kit, and checked against it by a test."""
    return load_measured()["value"].loc[names.split("|")]


@metric(source=MEASURED)
def rank_per_usd(basis, tier):
    """Rank of a tier by recorded score per dollar; 1 is the most."""
    values = load_measured()["value"]
    values = values[values.index.str.startswith("points_per_usd_")]
    return float((values > values[f"points_per_usd_{tier}"]).sum() + 1)


@metric(source=MEASURED)
def examples_needed(basis, margin, disagreement):
    """Examples that show "not worse by more than the margin" of two equally good models that disagree as measured."""
    from tierlab.evaluate.planning import required_examples

    shares = load_measured()["value"].loc[disagreement.split("|")]
    return shares.map(
        lambda share: float(required_examples(margin=float(margin), discordant=share))
    )


@metric(source=RECORDED)
def recorded(basis, name):
    """Numbers of data/recorded.csv, with their interval where there is one: from recorded answers, and checked by a test."""
    return load_recorded(name)


@metric(source="data/fine_tuning.csv: what the providers' pages say, dated")
def tunable(basis, models, on):
    """1 for each model that its provider, or a platform for it, lets somebody tune on a day; else 0."""
    from tierlab.reasoning.distillation import who_offers

    offers = who_offers(on)
    names = set(", ".join(offers.loc[offers["offered"] != "no", "models"]).split(", "))
    return pd.Series({model: float(model in names) for model in find_models(basis.prices, models)})


@metric(source="the article's two questions")
def rule_tier(basis, cases):
    """Tier that the article's rule gives each "stakes-complexity" case."""
    ratings = np.array([case.split("-") for case in cases.split("|")], int).T
    return pd.Series(tier_by_rule(*ratings), cases.split("|"))


@metric(source="data/tasks.csv: our own ratings")
def task_tier(basis, task):
    """Lowest and highest tier that the article's rule gives a task at its ratings."""
    return task_tiers(load_tasks().loc[[task]]).iloc[0].set_axis(["from", "to"])


@metric(source=SKETCH)
def router_sketch(basis, replies, count):
    """What the article's router does with each reply of its classifier, which is one call; the model it chooses is another.

    `count` is calls (for one message), tiers (that answer), or unsafe (replies after which the small model answers).
    """
    answered = pd.Series(replies.split("|")).str.strip().str.lower().eq("complex")
    counts = {"calls": 2.0, "tiers": answered.nunique(), "unsafe": (~answered).sum()}
    return float(counts[count])


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
    found = {}
    for name in names:
        first, last = low.get(name, np.nan), high.get(name, np.nan)
        one = {name: first}
        found |= {f"{name} from": first, f"{name} to": last} if first < last else one
    return pd.Series(found)
