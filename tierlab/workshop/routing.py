"""Checks of exercises 7 and 8: routing between two tiers, and what a router makes of its classifier's reply."""

import math

import numpy as np

from tierlab.prices.catalog import load_prices
from tierlab.routing.curve import cost_quality_curve
from tierlab.routing.simulated import simulate_outcomes
from tierlab.workshop.costs import INPUT_TOKENS, OUTPUT_TOKENS, REQUESTS, SMALL_SHARE, usd
from tierlab.workshop.values import Hint, ask, compare, frame, table

PROMPTS, SEED, STRONG_SHARE = 2_000, 7, 0.3
STANDARD_ERRORS = 4  # within which a random router's score counts as right
# What a classifier asked for "simple" or "complex" may say, and the tier that is safe.
REPLIES = {
    "simple": "small",
    "Simple.": "small",
    " **simple**\n": "small",
    "complex": "flagship",
    "Complex.": "flagship",
    "not simple": "flagship",
    "I cannot tell.": "flagship",
    "": "flagship",
}
# Not shown to the learner: a table of the eight does not pass for a rule.
_UNSEEN = {
    "'SIMPLE'": "small",
    "_simple_!": "small",
    "\tsimple": "small",
    "complex, not simple": "flagship",
    "simple or complex?": "flagship",
    "simplest": "flagship",
    "COMPLEX": "flagship",
    "...": "flagship",
    None: "flagship",
}
PROMPT_TOKENS, REPLY_TOKENS = (
    45,
    3,
)  # of the article's two classifier prompts and its one-word reply: our estimate


def policies(scores, oracle_share, frontier):
    """Exercise 7: a random router, a length rule and the oracle on simulated outcomes, and the frontier of the length rule."""
    outcomes = simulate_outcomes(PROMPTS, seed=SEED, prices=load_prices("article"))
    sides = [
        outcomes[outcomes["tier"] == tier].sort_values("prompt_id")
        for tier in ("small", "flagship")
    ]
    small, flagship = (side["score"].to_numpy() for side in sides)
    gain, chars = flagship - small, sides[0]["prompt_chars"].to_numpy()

    def at(share):
        return small.mean() + share * gain.mean()

    scores = table("scores", scores, ["random", "length", "oracle"])
    error = math.sqrt(STRONG_SHARE * (1 - STRONG_SHARE) * (gain**2).sum()) / PROMPTS
    compare(
        "scores['random']",
        scores["random"],
        at(STRONG_SHARE),
        abs=STANDARD_ERRORS * error,
        mistakes={
            at(1 - STRONG_SHARE): "the shares have changed places: which tier answers most?",
            at(0.5): "this gives both tiers the same number of requests",
            np.maximum(
                small, flagship
            ).mean(): "this knows the answers; a random router knows nothing",
        },
    )
    rank = np.argsort(np.argsort(chars, kind="stable"), kind="stable")
    count = round(STRONG_SHARE * PROMPTS)
    long, longest_70, short = rank >= PROMPTS - count, rank >= count, rank < count
    compare(
        "scores['length']",
        scores["length"],
        (small + long * gain).mean(),
        abs=1e-3,
        mistakes={
            (
                small + longest_70 * gain
            ).mean(): "this sends too many to the flagship: which side of the cut is the share on?",
            (small + short * gain).mean(): "this sends the shortest prompts to the flagship",
            at(STRONG_SHARE): "this is the random router: does the choice depend on the length?",
            flagship[
                long
            ].mean(): "this is the mean over the long prompts alone; the short ones are answered too",
        },
    )
    _oracle(scores["oracle"], oracle_share, small, flagship)
    length = sides[0].set_index("prompt_id")["prompt_chars"]
    _frontier(frontier, cost_quality_curve(outcomes, length, weak="small", strong="flagship"))


def _oracle(score, share, small, flagship):
    best = np.maximum(small, flagship).mean()
    compare(
        "scores['oracle']",
        score,
        best,
        abs=1e-3,
        mistakes={
            max(
                small.mean(), flagship.mean()
            ): "this is one tier for all prompts; the oracle chooses for each prompt",
            (small * flagship).mean(): "this is where both are right; one of them is enough",
        },
    )
    compare(
        "oracle_share",
        share,
        (flagship > small).mean(),
        abs=1e-3,
        mistakes={
            flagship.mean(): "the flagship is right on these, but on many the small tier is right as well, and cheaper",
            (flagship >= small).mean(): "where both do equally well the cheaper one answers",
            1
            - small.mean(): "where both are wrong, the flagship's answer costs more and brings nothing",
            (flagship < small).mean(): "this is where the small tier does better",
            (small >= flagship).mean(): "this is the share of the small tier",
        },
    )


def _frontier(answer, curve):
    points = frame("frontier", answer, columns=["cost_usd", "score"])[["cost_usd", "score"]]
    try:
        points = points.astype(float).sort_values("cost_usd")
    except (TypeError, ValueError):
        raise Hint("frontier holds something else than numbers") from None
    if points.isna().any(axis=None) or points.empty:
        raise Hint("frontier is empty or has missing values")
    if not (points["score"].diff().dropna() > 0).all():
        raise Hint("frontier is not monotone: it holds a point that a cheaper one equals or beats")
    records = curve["score"] > curve["score"].cummax().shift(fill_value=-1)
    if not _all_in(points, curve):
        raise Hint(
            "frontier has a point that no cut of the length rule gives: the curve has a row for every cut"
        )
    if not _all_in(points, curve[records]):
        raise Hint("frontier has a point that a cheaper one, which is left out, equals or beats")
    if len(points) < records.sum():
        raise Hint(
            "frontier lacks points: every point of the curve that no cheaper one equals or beats belongs to it"
        )


def _all_in(points, curve):
    """Whether each point is one of the curve's."""
    cost, score = (
        np.isclose(points[[name]], curve[name].to_numpy(), 1e-6, 0)
        for name in ("cost_usd", "score")
    )
    return (cost & score).any(axis=1).all()


def fail_safe(tier, sent_down, router_usd, overhead):
    """Exercise 8: a parser that sends up what it cannot read, what the article's does instead, and the call's price."""
    for reply, right in (REPLIES | _UNSEEN).items():
        _one_reply(tier, reply, right)
    safe = list(REPLIES.values())
    down = [
        right for reply, right in REPLIES.items() if reply.strip().lower() != "complex"
    ]  # the article's comparison
    compare(
        "sent_down",
        sent_down,
        down.count("flagship"),
        mistakes={
            len(
                down
            ): "these are all that the sketch sends down; some of them do say simple, and rightly go there",
            down.count(
                "small"
            ): "these rightly go down; how many go down though they do not say simple?",
            len(safe) - len(down): "these go up; those that go down are asked for",
            safe.count("flagship"): "one of these does go up: does the sketch not read it?",
        },
    )
    _classifier_bill(router_usd, overhead)


def _classifier_bill(router_usd, overhead):
    prices = load_prices("article")

    def small(*tokens):
        return REQUESTS * usd(prices, "claude-haiku-4-5", *tokens)

    def flagship(*tokens):
        return REQUESTS * usd(prices, "claude-opus-4-8", *tokens)

    asked = INPUT_TOKENS + PROMPT_TOKENS
    calls = small(asked, REPLY_TOKENS)
    on_haiku, on_opus = (model(INPUT_TOKENS, OUTPUT_TOKENS) for model in (small, flagship))
    routed = SMALL_SHARE * on_haiku + (1 - SMALL_SHARE) * on_opus
    compare(
        "router_usd",
        router_usd,
        calls,
        rel=0.01,
        mistakes={
            calls / REQUESTS: "this is one call; a day has a million of them",
            small(PROMPT_TOKENS, REPLY_TOKENS): "the classifier reads the message as well",
            small(INPUT_TOKENS, REPLY_TOKENS): "the classifier's own prompts are missing",
            small(asked, OUTPUT_TOKENS): "the classifier answers with one word",
            small(asked, 0): "the reply is missing",
            flagship(asked, REPLY_TOKENS): "the small model classifies",
            SMALL_SHARE
            * calls: "every message is classified, not only those that go to the small model",
            calls + routed: "this is the whole day; the classifier's calls alone are asked for",
        },
    )
    compare(
        "overhead",
        overhead,
        calls / routed,
        rel=0.01,
        mistakes={
            calls
            / (
                calls + routed
            ): "this is the share of the whole bill; by how much does the bill without the call grow?",
            calls / on_opus: "this is measured against Opus alone; the routed day is the measure",
            calls / on_haiku: "this is measured against Haiku alone; the routed day is the measure",
            calls
            / (
                on_opus - routed
            ): "this is the share of the saving; the share of the routed day is asked for",
            routed / calls: "upside down",
        },
    )


def _one_reply(tier, reply, right):
    found, call = ask("tier", tier, reply), f"tier({reply!r})"
    if not isinstance(found, str) or found not in ("small", "flagship"):
        raise Hint(f"{call} returns {found!r}; 'small' or 'flagship' is asked for")
    if found == right:
        return
    if right == "small":
        raise Hint(
            f"{call} goes up though it says simple: case, punctuation and mark-up around the word do not count"
        )
    if reply and "complex" in reply.lower() and "simple" not in reply.lower():
        raise Hint(
            f"{call} goes down though it says complex: which of the two words should the code look for?"
        )
    if reply and "simpl" in reply.lower():
        raise Hint(
            f"{call} goes down: the letters are in the reply, but the reply is not that one word"
        )
    raise Hint(f"{call} goes down though nobody can read it: which of the two mistakes costs more?")
