"""Rows per second of `tierlab.price`, beside genai-prices called row by row and beside a plain copy of the table.

Ratios within one run are what counts; nothing here asserts on seconds. Run with `make bench`.
"""

import time
import tracemalloc
from datetime import datetime

import genai_prices
import numpy as np
import pandas as pd

import tierlab as tl

PEER_ROWS = 3_000
SIZES = (10**5, 10**6, 10**7)


def requests(prices, n, seed=0):
    """Requests over the nine models with cache reads and writes, batch and inputs on both sides of every step."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "model_id": pd.Categorical.from_codes(rng.integers(0, 9, n, "int8"), prices.models()),
            "uncached_input_tokens": rng.integers(0, 300_000, n),
            "cache_read_tokens": rng.integers(0, 20_000, n),
            "cache_write_short_tokens": rng.integers(0, 2_000, n),
            "output_tokens": rng.integers(0, 2_000, n),
            "batch": rng.random(n) < 0.3,
        }
    )


def best(function, repeats=5):
    """Shortest of a few runs, in seconds: the least disturbed one."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def peer_loop(table, provider, day):
    """What a user of genai-prices writes: one call per request."""
    for row in table.itertuples():
        genai_prices.calc_price(
            genai_prices.Usage(
                input_tokens=row.uncached_input_tokens
                + row.cache_read_tokens
                + row.cache_write_short_tokens,
                cache_read_tokens=row.cache_read_tokens,
                cache_write_tokens=row.cache_write_short_tokens,
                output_tokens=row.output_tokens,
            ),
            row.model_id,
            provider_id=provider[row.model_id],
            genai_request_timestamp=day,
            price_context={"processing": "batch"} if row.batch else None,
        )


def main():
    prices = tl.load_prices("maintained")
    provider = prices.frame.drop_duplicates("model_id").set_index("model_id")["provider"].to_dict()
    day = datetime.combine(prices.as_of.date(), datetime.min.time())
    sample = requests(prices, PEER_ROWS)
    peer = best(lambda: peer_loop(sample, provider, day), 3) / PEER_ROWS
    lines = []
    for n in SIZES:
        table = requests(prices, n)
        ours = best(lambda: tl.price(table, prices))  # noqa: B023
        copy = best(lambda: table.copy(deep=True))  # noqa: B023
        tracemalloc.start()
        tl.price(table, prices)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        size = table.memory_usage(deep=True).sum()
        lines.append(
            {
                "rows": f"{n:,}",
                "rows per second": f"{n / ours:,.0f}",
                "times the genai-prices loop": f"{peer * n / ours:,.0f}",
                "times a plain copy": f"{ours / copy:.1f}",
                "peak memory / input table": f"{(size + peak) / size:.2f}",
            }
        )
    print(
        f"price: genai-prices row by row {1 / peer:,.0f} rows per second (measured on {PEER_ROWS:,})"
    )
    print(pd.DataFrame(lines).to_string(index=False))


if __name__ == "__main__":
    main()
