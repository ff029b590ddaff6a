"""The rows beside the figures of notebook 04: headings in words, answers first."""

import numpy as np
import pandas as pd

from tierlab.core.format import number, share, usd
from tierlab.evaluate.planning import paired_sample_size
from tierlab.routing.payback import YEAR, classifier_gain, complex_needed
from tierlab.routing.policies import Always
from tierlab.routing.verdict import break_even_factor


def day_rows(means, days):
    """What a day costs with each policy, and what it gets right; `means` and `days` as in `payback.day_costs`."""
    part = means.loc[days.index]
    return pd.DataFrame(
        {
            "policy": days.index,
            "a day, errors included": days["total"].map(usd),
            "price a day": days["price"].map(usd),
            "errors a day": days["errors"].map(usd),
            "right answers": part["score"].map(share),
            "saving on the price": part["saving"].map(share),
        }
    ).reset_index(drop=True)


def answer_rows(means, days, pay):
    """The best router, the best single model, and up to three others that cost least."""
    first = [pay.router, pay.single]
    others = [name for name in days.index if name not in first]
    return day_rows(means, days.loc[[*first, *others[:3]]])


def bill_rows(ways, messages):
    """Each way of `payback.ways`: a day, the saving, and the article's million messages."""
    total = ways.sum(axis=1)
    return pd.DataFrame(
        {
            "way": ways.index,
            "a day": total.map(usd).to_numpy(),
            "saving": (1 - total / total.max()).map(share).to_numpy(),
            "a message": (total / messages).map(usd).to_numpy(),
            "a million messages (the article)": (total / messages * 1e6).map(usd).to_numpy(),
        }
    )


def map_rows(savings):
    """`payback.promised_savings` with one line of text for each row."""
    names = [
        f"{provider}: {lower} ({times:.3g}x), rest {rest}"
        for provider, lower, rest, times in savings.index
    ]
    return savings.set_axis(names)


def provider_rows(savings):
    """Savings with the rest on the flagship, a row per provider."""
    table = savings.query("rest == 'flagship'").droplevel(["rest", "times"]).unstack("lower")
    table = table.sort_index(axis=1, level=1, ascending=False, sort_remaining=False)
    heads = [f"{lower}, {share(part)} of messages" for part, lower in table.columns]
    return table.map(share).set_axis(heads, axis=1).rename_axis("provider")


def worth_rows(compared, names):
    """What policies are worth: quality, cost, and quality above what their money buys without them.

    Parameters
    ----------
    compared : DataFrame
        From `tierlab.compare_policies`.
    names : sequence of str
    """
    means = compared["estimate"].unstack("measure").loc[list(names)]
    return pd.DataFrame(
        {
            "policy": means.index,
            "right answers": means["score"].map(share),
            "1,000 messages": means["usd_per_1000"].map(usd),
            "own calls": means["router_usd_per_1000"].map(usd),
            "over a random mix": (100 * means["over_control"]).map("{:+.1f} points".format),
            "over single models": (100 * means["over_zero"]).map("{:+.1f} points".format),
        }
    ).reset_index(drop=True)


def measure_rows(compared):
    """Every measure of `tierlab.compare_policies` with its interval, a row per policy and measure."""
    table = compared[["estimate", "low", "high"]].dropna(subset="estimate").reset_index()
    return table.astype({"policy": str, "measure": str})


def policy_points(compared, policies):
    """The points of `figures.policies`: label, cost, score with its interval, and the tier of a single model."""
    measures = compared.unstack("measure").loc[list(policies)]
    tiers = [policy.model if isinstance(policy, Always) else None for policy in policies.values()]
    return pd.DataFrame(
        {
            "label": list(policies),
            "cost_usd": measures["estimate", "usd_per_1000"].to_numpy(float) / 1000,
            "score": measures["estimate", "score"].to_numpy(float),
            "score_low": measures["low", "score"].to_numpy(float),
            "score_high": measures["high", "score"].to_numpy(float),
            "interval": "95% of 1,000 paired bootstrap resamples",
            "tier": tiers,
        }
    )


def accuracy_rows(parts, points, pay, *, call_usd):
    """Each marked router of `figures.classifier_map`: what it recognises, and what it would have to."""
    within_a_year = pay.build_cost_usd / (YEAR * pay.requests_per_day)
    paid = {"call_usd": call_usd, "single_usd": pay.single_usd}
    table = pd.DataFrame(
        {
            "router": points["label"],
            "simple recognised": points["simple_right"].map(share),
            "complex recognised": points["complex_right"].map(share),
        }
    )
    for head, gain in (("gain", 0.0), ("pay in a year", within_a_year)):
        needed = [
            complex_needed(parts, simple, gain_usd=gain, **paid)
            for simple in points["simple_right"]
        ]
        table[f"needed to {head}"] = [
            "more than all" if np.isnan(part) else share(part) for part in needed
        ]
    return table


def gain_grid(parts, pay, *, call_usd):
    """Days until a classifier is paid back, over what it recognises."""
    steps = (0.8, 0.9, 0.95, 1.0)
    rows = np.linspace(0.1, 1, 10)
    grid = {
        f"{share(simple)} of simple": [
            _days(
                pay,
                classifier_gain(parts, simple, hard, call_usd=call_usd, single_usd=pay.single_usd),
            )
            for hard in rows
        ]
        for simple in steps
    }
    return pd.DataFrame({"complex recognised": [share(hard) for hard in rows], **grid})


def _days(pay, gain):
    return f"{number(pay.days(gain))} days" if gain > 0 else "never"


def errors_included(replayed, error_cost_usd):
    """What a conversation costs with each policy of `tierlab.compare_conversations`, price and errors (US dollars)."""
    turns = replayed["turns"] / replayed["sessions"]
    return replayed["usd_per_session"] + turns * (1 - replayed["score"]) * error_cost_usd


def conversation_rows(replayed, *, error_cost_usd):
    """`tierlab.compare_conversations` in words, with the errors of a conversation in dollars."""
    total = errors_included(replayed, error_cost_usd)
    return pd.DataFrame(
        {
            "policy": replayed.index,
            "replayed saving": replayed["saving"].map(share),
            "promised saving": replayed["promised"].map(share),
            "changes of model": replayed["switches"].map("{:.2f}".format),
            "right answers": replayed["score"].map(share),
            "with errors": total.map(usd),
        }
    ).reset_index(drop=True)


def mid_words(means):
    """How far the mid tier lies below the flagship, beside the article's 10-20%."""
    if "always mid" not in means.index:
        return "These outcomes have no mid tier, so the article's 10-20% below the flagship stays open here."
    score = means["score"]
    gap = 1 - score["always mid"] / score["always flagship"]
    where = "inside" if 0.1 <= gap <= 0.2 else "outside"
    single = [name for name in means.index if name.startswith("always")]
    best = (score / means["usd_per_1000"])[single].idxmax()
    return (
        f"The mid tier scores **{gap:.1%} below the flagship**: {where} the article's 10-20%, which is for hard "
        f"benchmarks. Per dollar, {best} scores most."
    )


def price_words(sensitivity, router, models):
    """At which price of the flagship a router stops paying, against each model (`verdict.price_sensitivity`)."""
    parts = [
        f"than {model} {row.policy_pays} {number(row.factor)} times"
        for model in models
        for row in break_even_factor(sensitivity, model).itertuples()
    ]
    if not parts:
        return f"At none of these prices of the flagship does the choice between {router} and a single model turn."
    return f"{router} costs less {', '.join(parts)} today's price of the flagship, errors included."


def examples_words(pay, prompts):
    """How many examples, answered by both, would show the gain of a router in four studies of five."""
    spread = (pay.high_usd - pay.low_usd) / (2 * 1.96) * np.sqrt(prompts)
    if not pay.gain_usd > 0 or not spread > 0:
        return "No gain, so no number of examples would show one."
    needed = paired_sample_size(pay.gain_usd, sd=spread)
    return f"To see the router's gain in four studies of five takes **{needed:,} messages** answered by both."
