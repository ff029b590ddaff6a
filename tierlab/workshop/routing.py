"""Check exercises 7, 8 and 11: routing between two tiers, the classifier's reply, and conversations."""

import math
from itertools import combinations

import numpy as np

from tierlab.core.format import usd as money
from tierlab.core.product import Conversation, load_product
from tierlab.prices.catalog import load_prices
from tierlab.routing.curve import cost_quality_curve
from tierlab.routing.simulated import simulate_outcomes
from tierlab.workshop.costs import INPUT_TOKENS, OUTPUT_TOKENS, REQUESTS, SMALL_SHARE, usd
from tierlab.workshop.values import Hint, ask, compare, frame, number, table

PROMPTS, SEED, STRONG_SHARE = 2_000, 7, 0.3
STANDARD_ERRORS = 4  # within which a random router's score counts as right
# What a classifier may say when it is asked for "simple" or "complex", and the tier that is safe.
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
# The learner does not see these, so a table of the eight replies above does not pass for a rule.
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
# Length of the article's two classifier prompts and of its one-word reply: our estimate.
PROMPT_TOKENS, REPLY_TOKENS = 45, 3
CHAT = Conversation(system_tokens=6_000, input_tokens=2_000, output_tokens=300, turns=10)
CHAT_AS_OF, CHAT_SMALL, CHAT_FLAGSHIP = "2026-11-23", "claude-haiku-5-5", "claude-opus-5-5"
TWO_HARD = tuple(CHAT_FLAGSHIP if turn in (4, 8) else CHAT_SMALL for turn in range(1, 11))


def policies(scores, oracle_share, frontier):
    """Check exercise 7: a random router, a length rule and the oracle on simulated outcomes, and the rule's frontier."""
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
            "the shares have changed places: which tier answers most?": at(1 - STRONG_SHARE),
            "this gives both tiers the same number of requests": at(0.5),
            "this knows the answers; a random router knows nothing": (
                np.maximum(small, flagship).mean()
            ),
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
            "this sends too many to the flagship: which side of the cut is the share on?": (
                (small + longest_70 * gain).mean()
            ),
            "this sends the shortest prompts to the flagship": (small + short * gain).mean(),
            "this is the random router: does the choice depend on the length?": at(STRONG_SHARE),
            "this is the mean over the long prompts alone; the short ones are answered too": (
                flagship[long].mean()
            ),
        },
    )
    _oracle(scores["oracle"], small, flagship)
    yield "scores"
    _oracle_share(oracle_share, small, flagship)
    yield "oracle_share"
    length = sides[0].set_index("prompt_id")["prompt_chars"]
    _frontier(frontier, cost_quality_curve(outcomes, length, weak="small", strong="flagship"))
    yield "frontier"
    low, high = (side["cost_usd"].to_numpy() for side in sides)
    saved = (high - np.where(gain > 0, high, low)).mean()
    return f"No router can save more than the oracle: {money(1e6 * saved)} per million prompts against the flagship."


def _oracle(score, small, flagship):
    best = np.maximum(small, flagship).mean()
    compare(
        "scores['oracle']",
        score,
        best,
        abs=1e-3,
        mistakes={
            "this is one tier for all prompts; the oracle chooses for each prompt": (
                max(small.mean(), flagship.mean())
            ),
            "this is where both are right; one of them is enough": (small * flagship).mean(),
        },
    )


def _oracle_share(share, small, flagship):
    compare(
        "oracle_share",
        share,
        (flagship > small).mean(),
        abs=1e-3,
        mistakes={
            "the flagship is right on these, but on many the small tier is right as well, and cheaper": flagship.mean(),
            "where both do equally well the cheaper one answers": (flagship >= small).mean(),
            "where both are wrong, the flagship's answer costs more and brings nothing": (
                1 - small.mean()
            ),
            "this is where the small tier does better": (flagship < small).mean(),
            "this is the share of the small tier": (small >= flagship).mean(),
        },
    )


def _frontier(answer, curve):
    points = frame("frontier", answer, columns=["cost_usd", "score"])[["cost_usd", "score"]]
    try:
        points = points.astype(float).sort_values("cost_usd")
    except (TypeError, ValueError):
        raise Hint("frontier holds something other than numbers") from None
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
    """Tell whether each point is one of the curve's."""
    cost, score = (
        np.isclose(points[[name]], curve[name].to_numpy(), 1e-6, 0)
        for name in ("cost_usd", "score")
    )
    return (cost & score).any(axis=1).all()


def fail_safe(tier, sent_down, router_usd, overhead):
    """Check exercise 8: a parser that sends up what it cannot read, what the article's does, and the call's price."""
    for reply, right in (REPLIES | _UNSEEN).items():
        _one_reply(tier, reply, right)
    yield "tier"
    safe = list(REPLIES.values())
    # the article's comparison
    down = [right for reply, right in REPLIES.items() if reply.strip().lower() != "complex"]
    compare(
        "sent_down",
        sent_down,
        down.count("flagship"),
        mistakes={
            "these are all that the sketch sends down; some of them do say simple, and rightly go there": (
                len(down)
            ),
            "these rightly go down; how many go down though they do not say simple?": (
                down.count("small")
            ),
            "these go up; the exercise asks for those that go down": len(safe) - len(down),
            "one of these does go up: does the sketch not read it?": safe.count("flagship"),
        },
    )
    yield "sent_down"
    return (yield from _classifier_bill(router_usd, overhead))


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
            "this is one call; a day has a million of them": calls / REQUESTS,
            "the classifier reads the message as well": small(PROMPT_TOKENS, REPLY_TOKENS),
            "the classifier's own prompts are missing": small(INPUT_TOKENS, REPLY_TOKENS),
            "the classifier answers with one word": small(asked, OUTPUT_TOKENS),
            "the reply is missing": small(asked, 0),
            "the small model classifies": flagship(asked, REPLY_TOKENS),
            "every message is classified, not only those that go to the small model": (
                SMALL_SHARE * calls
            ),
            "this is the whole day; the exercise asks for the classifier's calls alone": calls
            + routed,
        },
    )
    yield "router_usd"
    compare(
        "overhead",
        overhead,
        calls / routed,
        rel=0.01,
        mistakes={
            "this is the share of the whole bill; by how much does the bill without the call grow?": (
                calls / (calls + routed)
            ),
            "this is measured against Opus alone; the routed day is the measure": calls / on_opus,
            "this is measured against Haiku alone; the routed day is the measure": calls / on_haiku,
            "this is the share of the saving; the exercise asks for that of the routed day": (
                calls / (on_opus - routed)
            ),
            "upside down": routed / calls,
        },
    )
    yield "overhead"
    return f"With its own call paid, the router is worth {money(on_opus - routed - calls)} a day."


def _one_reply(tier, reply, right):
    found, call = ask("tier", tier, reply), f"tier({reply!r})"
    if not isinstance(found, str) or found not in ("small", "flagship"):
        raise Hint(f"{call} returns {found!r}; the exercise asks for 'small' or 'flagship'")
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


def conversation(session_usd, routed_usd, saving, best_turns):
    """Check exercise 11: what a conversation costs if every model has its own cache, and when a router should decide."""
    table_of = load_prices("maintained", as_of=CHAT_AS_OF).in_force().query("context_above == 0")
    rates = table_of.set_index("model_id")[["cache_read", "cache_write_short", "output"]].astype(
        float
    )
    small, flagship = ((name,) * CHAT.turns for name in (CHAT_SMALL, CHAT_FLAGSHIP))
    late = (*small[:-1], CHAT_FLAGSHIP)
    for models in (small[:1], small[:2], flagship, late, TWO_HARD):
        _one_session(session_usd, models, rates)
    yield "session_usd"
    alone, cheap = (session_cost(models, rates) for models in (flagship, small))
    mixed = session_cost(TWO_HARD, rates)
    others = {"this is the flagship alone": alone, "this is the small model alone": cheap}
    shares = 0.8 * cheap + 0.2 * alone
    others |= {
        "this is what the shares promise; two turns in the middle cost more than that": shares,
        "these are turns 5 and 9: the first turn is turn 1": _with_flagship((5, 9), rates),
        "the two models have changed places": _with_flagship({*range(1, 11)} - {4, 8}, rates),
    }
    compare("routed_usd", routed_usd, mixed, rel=1e-6, mistakes=others)
    yield "routed_usd"
    right = {
        "promised": 1 - shares / alone,
        "per turn": 1 - mixed / alone,
        "per session": 1 - shares / alone,
    }
    for name, answer in table("saving", saving, list(right)).items():
        mistakes = {
            "this is the share that is left to pay": 1 - right[name],
            "these are dollars; the exercise asks for a share of the flagship's bill": right[name]
            * alone,
            "this is the saving of the router that changes in mid-conversation": right["per turn"],
            "this is what the shares promise; the caches that were thrown away are missing": (
                right["promised"]
            ),
        }
        compare(f"saving[{name!r}]", answer, right[name], abs=1e-4, mistakes=mistakes)
    yield "saving"
    _turns(best_turns, rates)
    yield "best_turns"
    product = load_product()
    day = product.requests_per_day / CHAT.turns * (mixed - shares)
    return (
        f"Deciding once per conversation is worth {money(day)} a day at {product.requests_per_day:,} "
        "messages, at the same share of turns on each model."
    )


def session_cost(models, rates, *, mistake=""):
    """Return the cost of a conversation, or what a usual mistake (`MISTAKES`) makes of it (US dollars).

    Each turn reads what its model was sent at that model's last turn and writes the rest.

    Parameters
    ----------
    models : sequence of str
        The model of each turn.
    rates : DataFrame
        cache_read, cache_write_short and output rate by model id, USD per million tokens.
    mistake : str
        A key of `MISTAKES`.
    """
    cached, usd, before = {}, 0.0, None
    length = 0 if mistake == "no system prompt" else CHAT.system_tokens
    for model in models:
        length += CHAT.input_tokens
        if mistake == "lost" and model != before:
            cached.clear()
        key = "all" if mistake == "shared" else model
        read, write, output = rates.loc[model]
        held = 0 if mistake == "no cache" else cached.get(key, 0)
        if mistake == "swapped":
            read, write = write, read
        written = length if mistake == "written again" else length - held
        usd += held * read + written * write + CHAT.output_tokens * output
        cached[key], before = length, model
        length += 0 if mistake == "no answers" else CHAT.output_tokens
    return usd / 1e6


MISTAKES = {
    "shared": "a cache belongs to one model: another one has to write it anew",
    "lost": "the other model's cache is still there when it comes back",
    "no answers": "the answers are sent again as well, with the next message",
    "no system prompt": "the system prompt is sent with every turn",
    "no cache": "nothing is read from a cache: what has the model been sent before?",
    "written again": "what is read from the cache is not written again",
    "swapped": "the rates for reading and for writing have changed places",
}


def _one_session(session_usd, models, rates):
    turns = "1 turn" if len(models) == 1 else f"{len(models)} turns"
    call = f"session_usd of {turns} on {' and '.join(dict.fromkeys(models))}"
    found = number("session_usd", ask("session_usd", session_usd, list(models)))
    if number("session_usd", ask("session_usd", session_usd, list(models))) != found:
        raise Hint(
            "session_usd answers differently when it is called again: "
            "does it still hold the cache of the conversation before?"
        )
    right = session_cost(models, rates)
    answers = CHAT.output_tokens * rates.loc[list(models), "output"].sum() / 1e6
    mistakes = {why: session_cost(models, rates, mistake=kind) for kind, why in MISTAKES.items()}
    mistakes |= {
        "a million times too large: the rates are per million tokens": right * 1e6,
        "the output is missing": right - answers,
    }
    compare(call, found, right, rel=1e-6, mistakes=mistakes)


def _turns(answer, rates):
    if isinstance(answer, str) or not isinstance(answer, set | frozenset | list | tuple):
        raise Hint("best_turns is not a set of two turns")
    if len(set(answer)) != 2 or not set(answer) <= set(range(1, CHAT.turns + 1)):
        raise Hint(f"best_turns: the exercise asks for two different turns from 1 to {CHAT.turns}")
    costs = {
        pair: _with_flagship(pair, rates) for pair in combinations(range(1, CHAT.turns + 1), 2)
    }
    if not math.isclose(costs[tuple(sorted(answer))], min(costs.values()), rel_tol=1e-9):
        raise Hint(
            "best_turns: another pair of turns is cheaper: how long is what the flagship has to write?"
        )


def _with_flagship(turns, rates):
    models = [CHAT_FLAGSHIP if turn in turns else CHAT_SMALL for turn in range(1, CHAT.turns + 1)]
    return session_cost(models, rates)
