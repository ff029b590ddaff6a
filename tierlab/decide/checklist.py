"""The article's decision checklist: its seven steps, which of them are done, and what to do next."""

from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

from tierlab.core.format import usd
from tierlab.evaluate.compare import examples_needed
from tierlab.scaling.costs import cost_curve

# The article, "A practical decision checklist", in words of ours.
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
CACHEABLE_TOKENS = 1_024  # the shortest input that a provider caches; some ask for 4,096
# A rival is as good as the choice within 1% of its cost, or in 4 draws for its 5.
NEAR_USD, NEAR_SHARE = 0.01, 0.8
WORTH_TRYING = 0.05  # share of the draws from which a tier that was not tried is worth its examples


def review_day(prices):
    """The day of the next review."""
    return prices.as_of + pd.DateOffset(months=REVIEW_MONTHS)


@lru_cache(maxsize=16)  # a control asks at each move
def until_review(prices):
    """The catalogue with the mean of the rates that are scheduled until the next review: what a decision pays."""
    return prices.over(prices.as_of, review_day(prices))


@lru_cache(maxsize=16)
def _scheduled(prices):
    return prices.scheduled(list(prices.rows_of), review_day(prices))


def scheduled_said(prices, models):
    """Which rates of some models change until the next review, and when; "" for none."""
    changes = _scheduled(prices).items()
    words = "; ".join(f"{model} costs {said}" for model, said in changes if model in models)
    day = f"{review_day(prices):%Y-%m-%d}"
    return f"prices are the mean until the review on {day}: {words}" if words else ""


def near_ties(found):
    """The choice and the models that are as good, as far as one can tell: model ids, none where the choice is clear."""
    running = found.running()
    best, rivals = running.iloc[0], running.iloc[1:]
    near = rivals["expected_usd"] <= (1 + NEAR_USD) * best["expected_usd"]
    near |= rivals["best_share"] >= NEAR_SHARE * best["best_share"]
    return (best["model_id"], *rivals.loc[near, "model_id"]) if near.any() else ()


@dataclass(frozen=True)
class Overlap:
    """How many examples the choice has in common with the rival that is least well told from it.

    Attributes
    ----------
    rival : str
    examples, needed : int
        In common, and for the margin (`tierlab.evaluate.compare.examples_needed`).
    usd : float
        What both models' answers to the missing ones cost.
    margin : float
    """

    rival: str
    examples: int
    needed: int
    usd: float
    margin: float

    @property
    def more(self):
        """Examples that are missing."""
        return max(0, self.needed - self.examples)

    def __str__(self):
        return (
            f"about {usd(self.usd)}: they have {self.examples:,} in common, and a margin of "
            f"{100 * self.margin:.3g} points takes {self.needed:,}"
        )


def overlap(found, margin):
    """`Overlap` of what `weigh` found in samples, None without: against the runner-up and whoever has a real chance."""
    running = found.running()
    if found.rows is None or len(running) == 1:
        return None
    best, pairs = running.iloc[0], []
    for place, rival in enumerate(running.iloc[1:].itertuples()):
        if place == 0 or rival.best_share >= WORTH_TRYING:
            have, need = examples_needed(found.rows, best["model_id"], rival.model_id, margin)
            paid = max(0, need - have) * (best["price_usd"] + rival.price_usd)
            pairs.append(Overlap(rival.model_id, have, need, paid, margin))
    return max(pairs, key=lambda pair: pair.needed - pair.examples)


def steps_done(found, common, *, task, workload, error_cost):
    """Numbers of the steps that are done.

    Parameters
    ----------
    found : Options
    common : Overlap or None
    task, workload, error_cost : bool
        Whether each was given, rather than assumed.

    Returns
    -------
    list of int
        Fewer than 50 examples, or than the margin takes, do not count as step 4. Step 5 is done when no tier that was
        not tried has a real chance.
    """
    running = found.running()
    tried = set(running.loc[_examples(found) >= LEAST_EXAMPLES, "tier"])
    first = tried & {"mid"} if "mid" in set(running["tier"]) else tried
    untried = running[~running["tier"].isin(tried)]
    enough = common is None or not common.more
    settled = bool(first) and not (untried["best_share"] >= WORTH_TRYING).any()
    done = [task, workload, error_cost, bool(first) and enough, settled and enough]
    return [number for number, is_done in enumerate(done, 1) if is_done]


def _examples(found):
    """Counted examples of each model that runs."""
    return found.running()["model_id"].map(found.counted).fillna(0)


def next_step(found, common, done, workload, prices):
    """(number, sentence) of what to do next.

    Parameters
    ----------
    found : Options
    common : Overlap or None
    done : list of int
        From `steps_done`.
    workload : Workload
    prices : Prices
    """
    running = found.running()
    best = running.iloc[0]
    if 3 not in done:
        return 3, (
            f"Put a figure on an error: {usd(found.error_cost_usd)} is an assumption. "
            "What would change the choice says how far it matters."
        )
    if 4 not in done:
        return 4, _examples_to_run(found, common)
    if 5 not in done:
        few = running[_examples(found) < LEAST_EXAMPLES]
        untried = few.sort_values("best_share", ascending=False).iloc[0]
        is_choice = untried["model_id"] == best["model_id"]
        why = "it is the choice so far" if is_choice else "it may be the better choice"
        return 5, (
            f"Run the same examples through {untried['model_id']}: its error rate is not counted on 50, "
            f"and {why} ({untried['best_share']:.0%} of the draws)."
        )
    point = workload.point()
    saves = _savings(best["model_id"], point, prices, found.second_usd)
    if saves:
        return 6, f"Cut the bill on {best['model_id']} further: {saves}."
    return 7, f"File the decision, and look again {REVIEW_MONTHS} months later."


def _examples_to_run(found, common):
    """Step 4: more examples of the two models that samples do not tell apart, or the first of the mid tier."""
    running = found.running()
    best = running["model_id"].iloc[0]
    if common is not None:
        return f"Run {common.more:,} more examples through {best} and {common.rival}, {common}."
    first = next(iter(running.loc[running["tier"] == "mid", "model_id"]), best)
    have = found.counted.get(first, 0)
    why = f"{have} are few" if have else "its error rate is not counted on examples"
    return (
        f"Before you rely on it, run 50 to 100 examples of your own through {first}: {why}. "
        "`python -m tierlab sample --help`"
    )


def _savings(model, point, prices, second_usd):
    """What batch saves where nobody waits, and a cache where the input is long enough; "" where either is used."""
    if point.batch_share or point.cache_hit_rate:
        return ""
    levers = []
    if second_usd == 0:
        levers.append(("batch_share", 1.0, "everything in batch"))
    if point.mean_tokens().get("uncached_input", 0) >= CACHEABLE_TOKENS:
        levers.append(("cache_hit_rate", 0.5, "half of the input from a cache"))
    words = []
    for over, value, what in levers:
        try:
            ends = cost_curve(point, prices, [model], over=over, values=[0.0, value])["cost_usd"]
        except ValueError:  # a catalogue without such rates, or a model outside it
            words.append(f"{what} (no rate here says what it saves)")
            continue
        words.append(f"{what} saves {1 - ends.iloc[1] / ends.iloc[0]:.0%}")
    return "; ".join(words)
