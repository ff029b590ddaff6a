"""The article's decision checklist: its seven steps, which of them are done, and what to do next."""

from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

from tierlab.core.format import counted, usd
from tierlab.evaluate.compare import examples_needed
from tierlab.routing.sessions import Caches
from tierlab.scaling.costs import cost_curve

# The article's "A practical decision checklist", in our own words.
CHECKLIST = (
    "Say what the task is",
    "Say how much is sent: requests a day, tokens a request",
    "Say what an error costs",
    "Run 50 to 100 of your own examples, the mid-tier model first",
    "If it is good enough, try the small model; if not, the flagship",
    "Add caching and batch, whatever the tier",
    "Look again after six months",
)
REVIEW_MONTHS = 6
LEAST_EXAMPLES = 50
# A rival is as good as the choice if it costs at most 1% more, or wins 4 draws for every 5 of the choice.
NEAR_USD, NEAR_SHARE = 0.01, 0.8
WORTH_TRYING = 0.05  # share of the draws that an untested tier must win to be worth testing


def review_day(prices):
    """Return the day of the next review."""
    return prices.as_of + pd.DateOffset(months=REVIEW_MONTHS)


@lru_cache(maxsize=16)  # a control asks at each move
def until_review(prices):
    """Return the catalogue with the mean of the rates scheduled until the next review, which a decision pays."""
    return prices.over(prices.as_of, review_day(prices))


@lru_cache(maxsize=64)
def _scheduled(prices, models):
    return prices.scheduled(list(models), review_day(prices))


def scheduled_said(prices, models):
    """Say which rates of the models change before the next review, and when; "" if none does."""
    changes = _scheduled(prices, frozenset(models))
    words = "; ".join(f"{model} costs {said}" for model, said in changes.items())
    day = f"{review_day(prices):%Y-%m-%d}"
    return f"prices are the mean until the review on {day}: {words}" if words else ""


def near_ties(found):
    """Return the ids of the choice and of the models that cannot be told from it; empty where the choice is clear."""
    running = found.running()
    best, rivals = running.iloc[0], running.iloc[1:]
    near = rivals["expected_usd"] <= (1 + NEAR_USD) * best["expected_usd"]
    near |= rivals["best_share"] >= NEAR_SHARE * best["best_share"]
    return (best["model_id"], *rivals.loc[near, "model_id"]) if near.any() else ()


@dataclass(frozen=True)
class Overlap:
    """How many examples the choice has in common with the rival that needs the most further examples.

    Attributes
    ----------
    rival : str
        Its model id.
    examples, needed : int
        Examples in common, and examples that the margin takes (`tierlab.evaluate.compare.examples_needed`).
    usd : float
        Cost of both models' answers to the missing examples, USD.
    margin : float
        How much worse than the rival the choice may be, 0-1.
    """

    rival: str
    examples: int
    needed: int
    usd: float
    margin: float

    @property
    def more(self):
        """The number of missing examples."""
        return max(0, self.needed - self.examples)

    def __str__(self):
        return (
            f"about {usd(self.usd)}: they have {self.examples:,} in common, and a margin of "
            f"{100 * self.margin:.3g} points takes {self.needed:,}"
        )


def overlap(found, margin):
    """Return the `Overlap` of samples, with the runner-up or another rival that has a real chance; None without samples."""
    running = found.running()
    if found.rows is None or len(running) == 1:
        return None
    best = running.iloc[0]
    pairs = [
        (*examples_needed(found.rows, best["model_id"], rival.model_id, margin), rival)
        for place, rival in enumerate(running.iloc[1:].itertuples())
        if place == 0 or rival.best_share >= WORTH_TRYING
    ]
    have, need, rival = max(pairs, key=lambda pair: pair[1] - pair[0])
    paid = max(0, need - have) * (best["price_usd"] + rival.price_usd)
    return Overlap(rival.model_id, have, need, paid, margin)


def untested(found):
    """Return whether the choice rests on an assumed error rate while another model was tested."""
    assumed = found.running()["basis"].eq("assumed")
    return bool(assumed.iloc[0] and not assumed.all())


def steps_done(found, common, given):
    """Return the numbers of the steps that are done.

    Parameters
    ----------
    found : Options
    common : Overlap or None
    given : list of bool
        Whether task, workload and error cost were given, rather than assumed.

    Returns
    -------
    list of int
        Step 4 takes at least 50 examples, and as many as the margin takes. Step 5 is done when no untested tier has a
        real chance.
    """
    running = found.running()
    tried = set(running.loc[_examples(found) >= LEAST_EXAMPLES, "tier"])
    first = tried & {"mid"} if "mid" in set(running["tier"]) else tried
    untried = running[~running["tier"].isin(tried)]
    measured = bool(first) and (common is None or not common.more)
    done = [*given, measured, measured and not (untried["best_share"] >= WORTH_TRYING).any()]
    return [number for number, is_done in enumerate(done, 1) if is_done]


def _examples(found):
    """The examples behind each error rate; 0 where it is assumed."""
    return found.running()["model_id"].map(found.counted).fillna(0)


def next_step(found, common, done):
    """Return the number of the next step and a sentence that says what to do.

    Parameters
    ----------
    found : Options
    common : Overlap or None
    done : list of int
        From `steps_done`.
    """
    running = found.running()
    best = running["model_id"].iloc[0]
    if untested(found) and 4 in done:
        return 5, (
            f"Run the same examples through {best}: nobody has tested it, and the choice rests on its error rate. "
            "`python -m tierlab sample --help`"
        )
    if 3 not in done:
        cost = usd(found.cost["error_cost_usd"])
        return 3, (
            f"Put a figure on an error: {cost} is an assumption. "
            "What would change the choice says how far it matters."
        )
    if 4 not in done and common is not None and common.more:
        return 4, f"Run {common.more:,} more examples through {best} and {common.rival}, {common}."
    if 4 not in done:
        first = next(iter(running.loc[running["tier"] == "mid", "model_id"]), best)
        have = found.counted.get(first, 0)
        why = f"only {counted(have, 'example')} so far" if have else "its error rate is assumed"
        return 4, (
            f"Before you rely on it, run 50 to 100 examples of your own through {first}: {why}. "
            "`python -m tierlab sample --help`"
        )
    if 5 not in done:
        few = running[_examples(found) < LEAST_EXAMPLES]
        untried = few.sort_values("best_share", ascending=False).iloc[0]
        is_choice = untried["model_id"] == best
        why = "it is the choice so far" if is_choice else "it may be the better choice"
        have = found.counted.get(untried["model_id"], 0)
        tested = f"only {have} examples have tested it" if have else "nobody has tested it"
        return 5, (
            f"Run the same examples through {untried['model_id']}: {tested}, "
            f"and {why} ({untried['best_share']:.0%} of the draws)."
        )
    saves = _savings(found, best)
    if saves:
        return 6, f"Cut the bill on {best} further: {saves}."
    return 7, f"File the decision, and look again {REVIEW_MONTHS} months later."


def _savings(found, model):
    """What batch saves if nobody waits, and a cache if the input is long enough; "" if either is in use already."""
    point, levers, words = found.workload.point(), [], []
    if point.batch_share or point.cache_hit_rate:
        return ""
    if found.second_usd == 0:
        levers.append(("batch_share", 1.0, "everything in batch"))
    shortest = Caches(found.prices).rules([model])["minimum_tokens"].item()
    if point.mean_tokens().get("uncached_input", 0) >= shortest:
        levers.append(("cache_hit_rate", 0.5, "half of the input from a cache"))
    for over, value, what in levers:
        try:
            ends = cost_curve(point, found.prices, [model], over=over, values=[0.0, value])
        except ValueError:  # a catalogue without such rates, or a model outside it
            words.append(f"{what} (no rate here says what it saves)")
            continue
        words.append(f"{what} saves {1 - ends['cost_usd'].iloc[1] / ends['cost_usd'].iloc[0]:.0%}")
    return "; ".join(words)
