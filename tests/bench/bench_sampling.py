"""Requests per second of `tl.sample` beside the bare OpenAI SDK and the bound, against a server that takes 200 ms.

Both ask the same questions through Chat Completions, not streamed. "sending" is the part of `tl.sample` with calls
under way: attempts and answers are written to disk meanwhile. "whole" adds the plan before, and scores and table after.
Rounds alternate; the best of each counts, because other work on the machine only ever adds time.
Run with `make bench`; it needs `make servers`.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import openai

import tierlab as tl
from tests.calls import together
from tests.servers import KEY, NotInstalled, bench_server
from tierlab.sampling.examples import Example
from tierlab.sampling.providers import Candidate

LATENCY_S = 0.2
CALLS = {1: 20, 8: 160, 64: 1280}  # by concurrency: four seconds at the bound
ROUNDS = 4


async def ask_all(url, prompts, concurrency):
    """What a user of the SDK writes: workers that share a list."""
    waiting = iter(prompts)
    async with openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0) as client:

        async def worker():
            for prompt in waiting:
                messages = [{"role": "user", "content": prompt}]
                reply = await client.chat.completions.create(
                    model="own", messages=messages, max_tokens=16
                )
                assert reply.choices[0].message.content == "ok"

        await asyncio.gather(*(worker() for _ in range(concurrency)))


def bare(url, prompts, concurrency):
    """Seconds that the SDK alone takes."""
    started = time.perf_counter()
    asyncio.run(ask_all(url, prompts, concurrency))
    return time.perf_counter() - started


def sampled(url, prompts, concurrency):
    """Seconds of sending and of the whole of `tl.sample`, and median and 95th percentile of the latencies it measures."""
    examples = [
        Example(f"q{n}", "own", prompt, "exact", "ok", max_output_tokens=16)
        for n, prompt in enumerate(prompts)
    ]
    own = Candidate("compatible", "own", base_url=url, usd_per_mtok=(1, 2))
    options = {
        "budget_usd": 1000,
        "yes": True,
        "stream": False,
        "warm_up": False,
        "progress": False,
    }
    sending = []

    def timed(coroutine):
        started = time.perf_counter()
        result = asyncio.run(coroutine)
        sending.append(time.perf_counter() - started)
        return result

    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(tl.sampling.runner, "run_async", timed),
    ):
        started = time.perf_counter()
        samples = tl.sample(
            examples,
            [own],
            **together(store=Path(folder) / "run.sqlite", concurrency=concurrency, **options),
        )
        took = time.perf_counter() - started
    assert (samples["score"] == 1).all()
    return sending[0], took, *samples["end_to_end_s"].quantile([0.5, 0.95])


def main():
    try:
        with bench_server(int(LATENCY_S * 1000)) as server:
            url = server.base_url("openai")
            prompts = [f"benchmark {n}" for n in range(max(CALLS.values()))]
            bare(url, prompts[:8], 8), sampled(url, prompts[:8], 8)  # imports and first connections
            heads = (
                "concurrency",
                "calls",
                "bound/s",
                "SDK/s",
                "sending/s",
                "of SDK",
                "whole/s",
                "of SDK",
                "p50 ms",
                "p95 ms",
            )
            print(" ".join(f"{head:>11}" for head in heads))
            for concurrency, calls in CALLS.items():
                asked = url, prompts[:calls], concurrency
                rounds = [(bare(*asked), *sampled(*asked)) for _ in range(ROUNDS)]
                sdk, sending, whole, p50, p95 = map(min, zip(*rounds, strict=True))
                rates = (calls / sdk, calls / sending, sdk / sending, calls / whole, sdk / whole)
                row = (concurrency, calls, concurrency / LATENCY_S, *rates, 1000 * p50, 1000 * p95)
                print(" ".join(f"{value:>11.4g}" for value in row))
    except NotInstalled as reason:
        print(reason)


if __name__ == "__main__":
    main()
