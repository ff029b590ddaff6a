"""The article's six questions, answered with computed numbers: change a price and the answers change.

Each private function returns the text of one answer, and its numbers by name (US dollars, shares 0-1, ratios).
"""

from itertools import pairwise

import numpy as np
import pandas as pd

from tierlab.article import rules
from tierlab.article.claims import evaluate_claims, load_claims
from tierlab.article.rules import find_models, load_measured, request_usd
from tierlab.core.format import usd
from tierlab.core.vocabulary import TIERS
from tierlab.decide.recommend import recommend
from tierlab.decide.tasks import Task, assumed
from tierlab.evaluate.planning import achievable_margin
from tierlab.prices.catalog import load_prices
from tierlab.scaling.costs import error_cost_break_even
from tierlab.speed.speeds import load_published

MEASURED = "data/measured.csv (recorded answers of public data sets)"
FLAGSHIPS = "anthropic.flagship|openai.flagship|google.flagship"
NAMES = {"anthropic": "Anthropic", "openai": "OpenAI", "google": "Google"}
CHATBOTS = {  # the three cases of the article's answer
    "chatbot": "customer_support",
    "sensitive": Task(stakes=3, complexity=2),
    "lookups": "faq_answering",
}
SPEEDS = "data/published_speeds.csv (public pages)"


def _chatbot(basis):
    errors = assumed("error_rate", "customer_support")["value"]
    numbers, parts = {}, []
    for provider in NAMES:
        slots = "|".join(f"{provider}.{tier}" for tier in TIERS)
        price = dict(zip(TIERS, request_usd(basis.prices, slots), strict=True))
        mid, flagship = (
            error_cost_break_even(price[high], price[low], errors[high], errors[low])
            for low, high in pairwise(TIERS)
        )
        numbers |= {f"{provider}_mid_from_usd": mid, f"{provider}_flagship_from_usd": flagship}
        span = f"{usd(max(0, mid))} to {usd(flagship)}" if mid < flagship else "nowhere"
        parts.append(f"{NAMES[provider]} {span}")
    said = {}
    for name, task in CHATBOTS.items():
        said[name], found = _recommended(basis, task)
        numbers |= {f"{name}_{key}": value for key, value in found.items()}
    ends = rules.task_tier(basis, "customer_support")
    tiers = " to ".join(dict.fromkeys(TIERS[int(end) - 1] for end in ends))
    text = (
        f"The article's two questions say {tiers}. In money: with assumed "
        f"error rates of {errors['small']:.0%} (small), {errors['mid']:.0%} (mid) and {errors['flagship']:.0%} (flagship) the "
        f"mid-tier model costs least, errors included, where an error costs {', '.join(parts)}; below such a range the small model "
        f"does, above it the flagship. At the assumed {said['chatbot']} over the stated ranges. Sensitive topics, rated high in "
        f"stakes and medium in complexity: at {said['sensitive']}. Lookups in an FAQ: at {said['lookups']}."
    )
    return text, numbers


def _recommended(basis, task):
    """Return what `tierlab.recommend` says within each provider's lineup, as words and as numbers."""
    found = [recommend(task=task, prices=basis.prices, provider=provider) for provider in NAMES]
    sure = [float(each.table["best_share"].iloc[0]) for each in found]
    cost = found[0].cost["error_cost_usd"]
    ends = " to ".join(dict.fromkeys(f"{share:.0%}" for share in (min(sure), max(sure))))
    tiers = [each.tier for each in found]
    chosen = ", ".join(f"{tier} ({name})" for tier, name in zip(tiers, NAMES.values(), strict=True))
    if len(set(tiers)) == 1:
        name = tiers[0] if tiers[0] == "flagship" else f"{tiers[0]} model"
        chosen = f"the {name} at all {len(tiers)} providers"
    words = f"{usd(cost)} an error it is {chosen}, the cheapest in {ends} of the draws"
    shares = {f"{name}_sure": share for name, share in zip(NAMES, sure, strict=True)}
    return words, {"error_cost_usd": cost} | shares


def _gpt_4o_mini(basis):
    model, (flagship_id,) = "gpt-4o-mini", find_models(basis.prices, "openai.flagship")
    small, flagship = request_usd(basis.prices, f"{model}|openai.flagship")
    seen = load_measured()["value"]
    retired = basis.catalogues["maintained"].by_model["retires_on"].get(model)
    numbers = {
        "usd_per_1000": 1000 * small,
        "flagship_usd_per_1000": 1000 * flagship,
        "errors_more_per_100_at_1_usd": 100 * (flagship - small),
        "score": seen["score_gpt_4o_mini"],
        "score_gpt_4o": seen["score_gpt_4o"],
        "valid_json": seen["valid_json_gpt_4o_mini"],
        **{
            f"margin_of_{n}": achievable_margin(n, discordant=seen["disagree_mid_flagship"])
            for n in (50, 100)
        },
    }
    text = (
        f"A thousand requests of 500 + 300 tokens cost {usd(1000 * small)} on {model} and {usd(1000 * flagship)} on {flagship_id}. "
        f"Where an error costs $1, that saving is gone once it gets {100 * (flagship - small):.2f} more requests in a hundred wrong. "
        f"On 1,319 grade-school problems it was right in {seen['score_gpt_4o_mini']:.1%}, GPT-4o in {seen['score_gpt_4o']:.1%}, and "
        f"{seen['valid_json_gpt_4o_mini']:.1%} of its replies were valid JSON as asked. Your own examples decide: 50 show, with "
        f"80% power, that an equally good model is not worse by more than {100 * numbers['margin_of_50']:.0f} points, 100 not by more "
        f"than {100 * numbers['margin_of_100']:.0f}, if the two disagree as often as two Claude 3 tiers did."
    )
    if pd.notna(retired):
        text += f" It leaves the API on {retired:%Y-%m-%d}."
    return text, numbers


def _how_much_cheaper(basis):
    numbers, parts = {}, []
    for provider in NAMES:
        pair = {"higher": f"{provider}.flagship", "lower": f"{provider}.small"}
        ratio = rules.cost_ratio(basis, **pair)
        numbers |= {f"{provider}_{kind}": ratio[kind] for kind in ("input", "output", "blended")}
        numbers[f"{provider}_month_usd"] = rules.month_difference(basis, **pair)
        parts.append(
            f"{NAMES[provider]} {ratio['input']:.3g}x on input and {ratio['output']:.3g}x on output"
        )
    months = [numbers[f"{provider}_month_usd"] for provider in NAMES]
    text = (
        f"{'; '.join(parts)}. At a million requests a day of 500 + 300 tokens the difference is {usd(min(months))} to "
        f"{usd(max(months))} a month."
    )
    return text, numbers


def _always_worse(basis):
    seen = load_measured()["value"]
    names = ["right_only_weak_gsm8k", "right_only_weak_mmlu", "small_at_least_flagship"]
    numbers = dict(seen[[*names, "gap_growth", "gap_growth_low", "gap_growth_high"]])
    text = (
        f"No. In two public data sets the weaker of two models alone is right on {seen['right_only_weak_mmlu']:.1%} (MMLU) and "
        f"{seen['right_only_weak_gsm8k']:.1%} (GSM8K) of the prompts, and Claude 3 Haiku scores no less than Opus on "
        f"{seen['small_at_least_flagship']:.1%} of GSM8K. The gap between those two is {100 * seen['gap_growth']:.1f} points wider on "
        f"problems of five calculations or more than on those of two at most (95% interval {100 * seen['gap_growth_low']:.1f} to "
        f"{100 * seen['gap_growth_high']:.1f}). These are models of 2023 and 2024: look at your own task."
    )
    return text, numbers


def _routing(basis):
    pair = {"higher": "anthropic.flagship", "lower": "anthropic.small"}
    saved = rules.routed_saving(basis, **pair, classifier=pair["lower"])
    per_month = rules.routing_month_saving(basis, **pair, requests_per_day="1000|10000")
    waits = load_published().query("tier == 'small'")["ttft_s"]
    numbers = {
        "break_even_share": rules.router_break_even(basis, **pair),
        "saving_at_70": saved.iloc[0],
        "saving_at_80": saved.iloc[1],
        "month_usd_at_1000_a_day": per_month.iloc[0],
        "month_usd_at_10000_a_day": per_month.iloc[1],
        "requests_a_day_per_1000_usd_a_month": 1000 / (per_month.iloc[0] / 1000),
        "call_s_low": waits.min(),
        "call_s_high": waits.max(),
    }
    text = (
        "A router sends each request to the cheapest tier that can handle it. With a classifier call on the small model in front of "
        f"every request, Opus and Haiku together cost less than Opus alone once {numbers['break_even_share']:.1%} of the requests go to "
        f"Haiku; at 70% to 80% the saving is {saved.iloc[0]:.1%} to {saved.iloc[1]:.1%}. At 80% that is {usd(per_month.iloc[0])} a month at 1,000 "
        f"requests a day and {usd(per_month.iloc[1])} at 10,000: every $1,000 a month that a router costs to build and run takes "
        f"{numbers['requests_a_day_per_1000_usd_a_month']:,.0f} requests a day. The call also takes its time, {waits.min():.1f} to "
        f"{waits.max():.1f} s to the first token of a small model by public pages. What it does to quality, only answers tell."
    )
    return text, numbers


def _gemini(basis):
    sides = {"higher": "anthropic.flagship|openai.flagship", "lower": "google.flagship"}
    saving = rules.saving(basis, **sides, mix="input", input_tokens="500|250000")
    lead = rules.published_lead(basis, fast=sides["lower"], slow=sides["higher"])
    rank = rules.price_rank(basis, model="google.small", mix="blended")
    day = 1_000_000 * request_usd(basis.prices, FLAGSHIPS).to_numpy()
    (mid,) = find_models(basis.prices, "google.mid")
    mids = [request_usd(prices, mid).iloc[0] for prices in basis.catalogues.values()]
    numbers = {
        "input_saving_low": saving.min(),
        "input_saving_high": saving.max(),
        **{f"{provider}_day_usd": cost for provider, cost in zip(NAMES, day, strict=True)},
        "small_rank": rank,
        "speed_low": lead.min(),
        "speed_high": lead.max(),
        "mid_price_ratio": mids[1] / mids[0],
    }
    by_provider = ", ".join(
        f"{usd(cost)} ({NAMES[provider]})" for provider, cost in zip(NAMES, day, strict=True)
    )
    pages = f"Public pages have the flagship {lead.min():.2f} to {lead.max():.2f} times as fast as the others."
    speed = "No public page at hand has their speeds." if lead.isna().all() else pages
    times = f"For {mid} the maintained catalogue has {mids[1] / mids[0]:.1f} times the price of the other one. "
    conflict = "" if np.isclose(*mids) else times
    text = (
        f"The flagship's input price is {saving.min():.0%} to {saving.max():.0%} lower, on both sides of its context step; a million "
        f"requests of 500 + 300 tokens cost {by_provider}. The small model is number {rank:.0f} of the lineup by price. {speed} "
        f"{conflict}None of it says what an answer is worth to you."
    )
    return text, numbers


# The claims that say the same (each with its verdict), data beside the prices, and the tiers whose price counts.
QUESTIONS = {
    "Which model should you use for a customer support chatbot?": (
        _chatbot,
        "C052 C103 C104",
        [
            "data/assumptions.csv (assumed error rates and error cost)",
            "data/tasks.csv (our own ratings)",
        ],
        FLAGSHIPS,
    ),
    "Is GPT-4o-mini good enough for production use?": (
        _gpt_4o_mini,
        "C043 C105 C065 C089",
        [MEASURED],
        "openai.flagship",
    ),
    "How much cheaper is a small model than a flagship?": (
        _how_much_cheaper,
        "C106 C107 C108 C109 C110",
        [],
        FLAGSHIPS,
    ),
    "Does a smaller model always mean worse quality?": (
        _always_worse,
        "C024 C046 C111 C112",
        [MEASURED],
        "",
    ),
    "What is a routing strategy, and when should you use one?": (
        _routing,
        "C069 C070 C071 C072 C073 C074 C075 C083 C113 C114 C115 C120 C121",
        ["a classifier call of 545 + 3 tokens (our estimate)", SPEEDS],
        "",
    ),
    "Are Google's Gemini models cheaper than Claude and GPT?": (
        _gemini,
        "C063 C116 C117 C118 C039",
        [SPEEDS],
        FLAGSHIPS,
    ),
}


def answers(prices=None, maintained=None):
    """Answer the questions of the article's FAQ with computed numbers.

    Parameters
    ----------
    prices : Prices, optional
        By default the article's own.
    maintained : Prices, optional
        The catalogue to compare with, by default the maintained one on the article's day.

    Returns
    -------
    DataFrame
        A row per question: question, answer (text), numbers (dict of name to value: US dollars, shares 0-1, ratios),
        claims (with their verdicts), sources.

    Examples
    --------
    >>> round(float(answers()["numbers"][2]["anthropic_input"]), 6)
    5.0
    """
    prices = load_prices("article", as_of="2026-06-12") if prices is None else prices
    maintained = load_prices("maintained", as_of="2026-06-12") if maintained is None else maintained
    basis = rules.Basis(prices, {"article": prices, "maintained": maintained})
    known = load_claims()
    named = " ".join(ids for _, ids, _, _ in QUESTIONS.values()).split()
    verdicts = evaluate_claims(prices, maintained, claims=known[known["id"].isin(named)])["verdict"]
    rows = []
    for question, (answer, ids, data, slots) in QUESTIONS.items():
        text, numbers = answer(basis)
        rough = rules.approximate_models(prices, slots)
        warned = [f"the price of {model} is approximate" for model in rough]
        rows.append(
            {
                "question": question,
                "answer": text,
                "numbers": numbers,
                "claims": "; ".join(f"{claim} {verdicts[claim]}" for claim in ids.split()),
                "sources": "; ".join([prices.source, *data, *warned]),
            }
        )
    return pd.DataFrame(rows)
