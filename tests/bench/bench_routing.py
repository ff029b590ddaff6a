"""Speed of exact curves, bands and simulated policies, beside `numpy.argsort` of the same scores in the same run.

Ratios within one run are what counts; nothing here asserts on seconds. Run with `make bench`.
"""

import resource
import subprocess
import sys
import time

import numpy as np
import pandas as pd

from tierlab.routing.curve import (
    apgr,
    cost_quality_curve,
    curve_band,
    metric_intervals,
    paired_curve,
)
from tierlab.routing.policies import (
    Always,
    Budget,
    Cascade,
    Fallback,
    LLMClassifier,
    NoisyJudge,
    Oracle,
    RandomMix,
    Threshold,
    task_rules,
)
from tierlab.routing.route import route
from tierlab.routing.text_router import train_text_router


def best(function, repeats=5):
    """Shortest of a few runs, in seconds: the least disturbed one."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def paired(n, seed=0):
    """Scores of a router, and scores and costs of two models, a row per prompt."""
    rng = np.random.default_rng(seed)
    right = [(rng.random(n) < share).astype(float) for share in (0.6, 0.85)]
    return pd.DataFrame(
        {
            "router_score": rng.random(n),
            "weak_score": right[0],
            "weak_cost_usd": rng.random(n) * 0.002,
            "strong_score": right[1],
            "strong_cost_usd": rng.random(n) * 0.01,
        }
    )


def long_table(pairs):
    """The same as an outcomes table with integer ids, and the scores as a Series."""
    n = len(pairs)
    table = pd.DataFrame(
        {
            "prompt_id": np.repeat(np.arange(n), 2),
            "model_id": pd.Categorical.from_codes(
                np.tile(np.array([0, 1], "int8"), n), ["weak", "strong"]
            ),
            "score": pairs[["weak_score", "strong_score"]].to_numpy().ravel(),
            "cost_usd": pairs[["weak_cost_usd", "strong_cost_usd"]].to_numpy().ravel(),
        }
    )
    return table, pd.Series(
        pairs["router_score"].to_numpy(), table["prompt_id"].to_numpy()[::2], name="router"
    )


def curves():
    both = paired(10**6)
    ranks = both["router_score"].to_numpy()
    sort = best(lambda: np.argsort(ranks))
    pairs = best(lambda: paired_curve(both))
    table, scores = long_table(both)
    whole = best(lambda: cost_quality_curve(table, scores, weak="weak", strong="strong"), 3)
    shuffled = table.sample(frac=1, random_state=0)
    mixed = best(lambda: cost_quality_curve(shuffled, scores, weak="weak", strong="strong"), 3)
    print(
        f"exact curve of 1,000,000 requests, quality and cost (numpy.argsort of the scores: {sort:.3f} s)"
    )
    for name, seconds in (
        ("from pairs", pairs),
        ("from the long table", whole),
        ("from the long table, rows shuffled", mixed),
    ):
        print(f"  {name:<36} {seconds:.3f} s, {seconds / sort:.1f} times argsort")
    curve = paired_curve(both)
    print(f"  exact APGR of it                     {best(lambda: apgr(curve)):.3f} s")


def largest():
    """Peak memory of the curve of 1e7 requests, in a process of its own."""
    paired_curve(paired(10**7))
    print(
        f"  10,000,000 requests: peak of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB, inputs included"
    )


def bands():
    table, scores = long_table(paired(10**4))
    pair = {"weak": "weak", "strong": "strong", "seed": 1}
    print("1,000 resamples of 10,000 prompts")
    print(
        f"  band of the curve, quality and cost  {best(lambda: curve_band(table, scores, **pair), 2):.2f} s"
    )
    print(
        f"  intervals of APGR and two CPTs       {best(lambda: metric_intervals(table, scores, **pair), 2):.2f} s"
    )


def three_tiers(n, seed=0):
    """An outcomes table of three tiers with the columns that the policies below look at."""
    rng = np.random.default_rng(seed)
    tasks = ["faq_answering", "code_review", "refactoring", "customer_support"]
    return pd.DataFrame(
        {
            "prompt_id": np.repeat(np.arange(n), 3),
            "model_id": pd.Categorical.from_codes(
                np.tile(np.arange(3, dtype="int8"), n), ["s", "m", "f"]
            ),
            "tier": pd.Categorical.from_codes(
                np.tile(np.arange(3, dtype="int8"), n), ["small", "mid", "flagship"]
            ),
            "score": (rng.random(3 * n) < np.tile([0.6, 0.75, 0.85], n)).astype(float),
            "cost_usd": rng.random(3 * n) * np.tile([0.002, 0.006, 0.01], n),
            "end_to_end_s": rng.random(3 * n),
            "status": pd.Categorical.from_codes(
                (rng.random(3 * n) < 0.02).astype("int8"), ["ok", "error"]
            ),
            "signal": np.repeat(rng.random(n), 3),
            "task": pd.Categorical.from_codes(np.repeat(rng.integers(0, 4, n, "int8"), 3), tasks),
            "user": np.repeat(rng.integers(0, 1000, n), 3),
            "at": np.repeat(
                np.datetime64("2026-06-12", "us")
                + np.sort(rng.integers(0, 3 * 86_400, n)).astype("timedelta64[s]"),
                3,
            ),
        }
    )


def policies():
    table = three_tiers(10**6)
    threshold = Threshold("signal", (0.6, 0.9), ("small", "mid", "flagship"))
    confusion = {
        "easy": {"easy": 0.9, "hard": 0.1},
        "hard": {"easy": 0.2, "hard": 0.75, "unreadable": 0.05},
    }
    each = {
        "always one tier": Always("mid"),
        "random mix": RandomMix({"small": 0.8, "flagship": 0.2}),
        "threshold, three tiers": threshold,
        "category rules": task_rules(),
        "classifier, confusion matrix": LLMClassifier(
            {"easy": "small", "hard": "flagship"}, confusion, cost_usd=0.0005
        ),
        "cascade, noisy judge": Cascade(("small", "mid", "flagship"), NoisyJudge(0.2, 0.1)),
        "fallback on 2% errors": Fallback(threshold, ("flagship", "mid", "small")),
        "budget per user and day": Budget(Always("flagship"), 1.0, "small", by="user"),
        "budgets per user and for all": Budget(
            Budget(Always("flagship"), 1.0, "mid", by="user"), 900.0, "small"
        ),
        "oracle": Oracle(),
    }
    print("simulation of 1,000,000 requests x 3 tiers")
    for name, policy in each.items():
        print(f"  {name:<36} {best(lambda: route(table, policy, seed=1), 1):.2f} s")  # noqa: B023


def trained():
    """The default text router on made-up questions of 40 words: most of its time goes into reading them."""
    rng = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(5_000)])
    n = 10_000
    table = three_tiers(n)
    table["prompt"] = np.repeat(
        [" ".join(text) for text in words[rng.integers(0, len(words), (n, 40))]], 3
    )
    router = train_text_router(table[table["prompt_id"] < 2_000], weak="small", strong="flagship")
    seconds = best(lambda: route(table, router), 1)
    print(
        f"  text router, {n:,} requests          {seconds:.2f} s, {1000 * seconds / n:.2f} ms each"
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["largest"]:
        largest()
    else:
        curves()
        sys.stdout.flush()
        subprocess.run([sys.executable, __file__, "largest"], check=True)
        bands()
        policies()
        trained()
