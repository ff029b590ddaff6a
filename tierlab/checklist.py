"""The article's decision checklist: its seven steps, which of them are done, and what to do next."""

from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

from tierlab.comparison import examples_needed
from tierlab.money import usd
from tierlab.scaling import cost_curve

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
NEAR_USD, NEAR_SHARE = 0.01, 0.8  # a rival is as good as the choice within 1% of its cost, or in 4 draws for its 5
WORTH_TRYING = 0.05  # share of the draws from which on a tier that was not tried is worth its examples


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
    words = "; ".join(f"{model} costs {said}" for model, said in _scheduled(prices).items() if model in models)
    if not words:
        return ""
    return f"prices are the mean until the review on {review_day(prices):%Y-%m-%d}: {words}"


def steps_done(found, *, task, workload, error_cost):
    """Numbers of the steps that are done.

    Parameters
    ----------
    found : Options
    task, workload, error_cost : bool
        Whether each was given, rather than assumed.

    Returns
    -------
    list of int
        Fewer than 50 examples do not count as step 4. Step 5 is done when no tier that was not tried has a real chance.
    """
    running = found.running()
    tried = set(running.loc[_examples(running, found) >= LEAST_EXAMPLES, "tier"])
    first = tried & {"mid"} if "mid" in set(running["tier"]) else tried
    open_ = running[~running["tier"].isin(tried)]
    settled = bool(first) and not (open_["best_share"] >= WORTH_TRYING).any()
    done = [task, workload, error_cost, bool(first), settled]
    return [number for number, is_done in enumerate(done, 1) if is_done]


def _examples(running, found):
    return running["model_id"].map(found.counted).fillna(0)


def near_ties(found):
    """The choice and the models that are as good, as far as one can tell: model ids, none where the choice is clear."""
    running = found.running()
    best, rivals = running.iloc[0], running.iloc[1:]
    near = rivals["expected_usd"] <= (1 + NEAR_USD) * best["expected_usd"]
    near |= rivals["best_share"] >= NEAR_SHARE * best["best_share"]
    return (best["model_id"], *rivals.loc[near, "model_id"]) if near.any() else ()


@dataclass(frozen=True)
class Evidence:
    """How many examples the choice and the rival that is least well told from it have in common."""

    rival: str
    examples: int
    needed: int  # for the margin: `tierlab.comparison.examples_needed`
    usd: float  # of both models' answers to what is missing

    @property
    def more(self):
        """Examples that are missing."""
        return max(0, self.needed - self.examples)


def evidence(found, margin):
    """`Evidence` of what `weigh` found in samples, None without: against the runner-up and whoever has a real chance."""
    running = found.running()
    if found.rows is None or len(running) == 1:
        return None
    best, pairs = running.iloc[0], []
    for place, rival in enumerate(running.iloc[1:].itertuples()):
        if place == 0 or rival.best_share >= WORTH_TRYING:
            pair = examples_needed(found.rows, best["model_id"], rival.model_id, margin)
            pairs.append(Evidence(rival.model_id, *pair, max(0, pair[1] - pair[0]) * (best["price_usd"] + rival.price_usd)))
    return max(pairs, key=lambda pair: pair.needed - pair.examples)


def next_step(found, done, workload, prices):
    """(number, sentence) of what to do next.

    Parameters
    ----------
    found : Options
    done : list of int
        From `steps_done`.
    workload : Workload
    prices : Prices
    """
    running, best = found.running(), found.running().iloc[0]
    if 3 not in done:
        return (
            3,
            f"Put a figure on an error: {usd(found.error_cost_usd)} is an assumption. What would change the choice says how far it matters.",
        )
    if 4 not in done:
        mid = running.loc[running["tier"] == "mid", "model_id"]
        first = mid.iloc[0] if len(mid) else best["model_id"]
        have = found.counted.get(first, 0)
        why = f"{have} are few" if have else "its error rate is not counted on examples"
        return (
            4,
            f"Before you rely on it, run 50 to 100 examples of your own through {first}: {why}. `python -m tierlab sample --help`",
        )
    if 5 not in done:
        untried = running[_examples(running, found) < LEAST_EXAMPLES].sort_values("best_share", ascending=False).iloc[0]
        why = "it is the choice so far" if untried["model_id"] == best["model_id"] else "it may be the better choice"
        return (
            5,
            f"Run the same examples through {untried['model_id']}: its error rate is not counted on 50, and {why} ({untried['best_share']:.0%} of the draws).",
        )
    point = workload.point()
    saves = "" if point.batch_share or point.cache_hit_rate else _savings(best, point, prices, found.second_usd)
    if saves:
        return 6, f"Cut the bill on {best['model_id']} further: {saves}."
    return 7, f"File the decision, and look again {REVIEW_MONTHS} months later."


def _savings(best, point, prices, second_usd):
    """What batch saves where nobody waits, and a cache where the input is long enough to be cached."""
    levers = [("batch_share", 1.0, "everything in batch")] * (second_usd == 0)
    levers += [("cache_hit_rate", 0.5, "half of the input from a cache")] * (
        point.mean_tokens().get("uncached_input", 0) >= CACHEABLE_TOKENS
    )
    words = []
    for over, value, what in levers:
        try:
            ends = cost_curve(point, prices, [best["model_id"]], over=over, values=[0.0, value])["cost_usd"]
        except ValueError:  # a catalogue without such rates, or a model outside it
            words.append(f"{what} (no rate here says what it saves)")
            continue
        words.append(f"{what} saves {1 - ends.iloc[1] / ends.iloc[0]:.0%}")
    return "; ".join(words)
