"""Time of the exact routing curve beside one sort of the same scores, its memory, and 1,000 bootstrap bands."""

import time
import tracemalloc

import numpy as np
import pandas as pd

import tierlab as tl
from tierlab.frontier import paired_curve


def best(function, repeats=5):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def long_table(n, rng):
    """Two models' outcomes one after the other, integer prompt ids, and a router's score."""
    right = [(rng.random(n) < share).astype(float) for share in (0.64, 0.86)]
    outcomes = pd.DataFrame({
        "prompt_id": np.tile(np.arange(n), 2), "model_id": pd.Categorical.from_codes(np.repeat([0, 1], n), ["weak", "strong"]),
        "score": np.concatenate(right), "cost_usd": np.repeat([0.002, 0.01], n),
    })  # fmt: skip
    return outcomes, pd.Series(rng.random(n), pd.RangeIndex(n))


def main():
    rng = np.random.default_rng(0)
    n = 10**6
    outcomes, scores = long_table(n, rng)
    arrays = [scores.to_numpy(), *rng.random((4, n))]
    sort = best(lambda: np.argsort(arrays[0]))
    paired = best(lambda: paired_curve(*arrays))
    long = best(lambda: tl.cost_quality_curve(outcomes, scores, weak="weak", strong="strong"))
    print(
        f"curve: 1,000,000 paired requests {paired / sort:.1f} times numpy.argsort; from the long table {long / sort:.1f} times"
    )
    outcomes, scores = long_table(10**7, rng)
    tracemalloc.start()
    tl.cost_quality_curve(outcomes, scores, weak="weak", strong="strong")
    print(f"curve: 10,000,000 requests, peak {tracemalloc.get_traced_memory()[1] / 1e9:.2f} GB beside the table")
    tracemalloc.stop()
    outcomes, scores = long_table(10_000, rng)
    band = best(lambda: tl.curve_band(outcomes, scores, weak="weak", strong="strong", seed=0), 1)
    print(f"band: 1,000 resamples of 10,000 prompts in {band:.1f} s")


if __name__ == "__main__":
    main()
