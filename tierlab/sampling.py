"""Your own examples through real models: estimated first, never over the budget, resumable, and scored.

The answers stay in a store; `tierlab.samples` reads the table from it again.
"""

import asyncio
import hashlib
import os
import threading
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from tierlab.catalog import load_prices
from tierlab.examples import load_examples
from tierlab.pricing import tariff
from tierlab.providers import ADAPTERS, FAILURES, Prompt, candidate
from tierlab.runner import Call, Ledger, Runner
from tierlab.samples import account, samples_table, score_answers
from tierlab.store import Store, packed

ASK_ABOVE_USD = 1.0
_WARM_UP = Prompt(({"role": "user", "content": "Reply with the word ready."},), max_output_tokens=16)
_CALL = "INSERT OR REPLACE INTO calls VALUES (?, ?, ?)"


def sample(
    examples,
    candidates,
    *,
    budget_usd,
    store,
    repeats=1,
    prices=None,
    concurrency=8,
    attempts=4,
    deadline_s=120.0,
    stream=True,
    retry=False,
    yes=False,
    warm_up=True,
    progress=True,
    provenance="",
    seed=0,
    transport=None,
):
    """Run examples through candidates and score the answers.

    Parameters
    ----------
    examples : sequence of Example, or path
        From `tierlab.load_examples`.
    candidates : sequence of Candidate or str
        Strings as `tierlab.providers.candidate` reads them: ``"anthropic:claude-haiku-4-5"``.
    budget_usd : float
        The most that the store's runs may cost together. What could cost more is not sent.
    store : path
        sqlite3 file. A run that was cut off goes on from here, and pays for nothing twice.
    repeats : int
        Answers of each candidate to each example.
    prices : Prices, optional
        By default the maintained catalogue.
    concurrency : int or mapping of str to int
        Calls under way at once for each provider. Latency is measured well at 8 or less.
    attempts : int
        The most for one call; rate limits, overload, timeouts and broken answers are tried again, after the time
        that the server asks for.
    deadline_s : float
        Seconds for one call with all its attempts.
    stream : bool
        Without it there is no time to the first token.
    retry : bool or sequence of str
        Ask failed calls again: all, or those of a status. An answer is never asked again.
    yes : bool
        Start even if the run could cost more than 1 USD.
    warm_up : bool
        One short call to each candidate before its times count.
    progress : bool
        A bar with the spend so far.
    provenance : str
        Machine, runtime, date: kept with every row.
    seed : int
        Of the jitter between attempts.
    transport : optional
        Transport of the SDKs' client, for tests.

    Returns
    -------
    DataFrame
        The samples table: one row per example, candidate and repeat (columns: `tierlab.samples.SAMPLE_COLUMNS`). A call without
        an answer is a row with its status and no score. `attrs["account"]` is `account(store)`.

    Raises
    ------
    ValueError
        Before anything is sent: no price or key for a candidate, two candidates of one name, a file in use, or
        a run that could cost more than 1 USD without `yes`.
    """
    examples, chosen = _examples(examples), _candidates(candidates)
    prices = load_prices("maintained") if prices is None else prices
    tariffs = _tariffs(chosen, prices)
    _check_keys(chosen)
    with Store(store) as file:
        calls = _plan(examples, chosen, repeats)
        _enter(file, calls, tariffs, prices, provenance)
        if retry:
            _forget(file, FAILURES if retry is True else retry)
        done = {key for (key,) in file.read("SELECT key FROM results")}
        todo = [call for call, _, _ in calls if call.key not in done]
        runner = Runner(
            file, tariffs, Ledger(budget_usd, *file.spend()), concurrency, attempts, deadline_s, stream, seed, transport
        )  # fmt: skip
        _ask(sum(runner.most_usd(call) * attempts for call in todo), runner.ledger, len(todo), yes)
        unsent = _run(_work(runner, todo, warm_up, progress)) if todo else {}
        score_answers(file, progress=progress)
        table = samples_table(file.path, [call.key for call, _, _ in calls], unsent)
    table.attrs["account"] = account(store)
    return table


def estimate(examples, candidates, *, prices=None, repeats=1, attempts=4):
    """What a run would cost, before anything is sent.

    Returns
    -------
    DataFrame
        By candidate: calls; likely_usd, one attempt each with an input counted by OpenAI's o200k_base tokenizer
        (an assumption for other providers) and answers of full length; most_usd, the bound that is reserved:
        a token per byte of input and every attempt billed.
    """
    from tierlab.recorded import count_tokens

    examples, chosen = _examples(examples), _candidates(candidates)
    tariffs = _tariffs(chosen, load_prices("maintained") if prices is None else prices)
    prompts = [_prompt(example) for example in examples]
    counted = count_tokens([packed([p.system, p.messages, p.tools, p.schema]) for p in prompts])
    rows = []
    for one in chosen:
        outputs = [p.max_output_tokens + one.extra_output_tokens for p in prompts]
        likely = sum(
            tariffs[one.name].cost({"uncached_input_tokens": n, "output_tokens": m})
            for n, m in zip(counted, outputs, strict=True)
        )
        most = sum(tariffs[one.name].most(p.most_input_tokens, m) for p, m in zip(prompts, outputs, strict=True))
        rows.append((one.name, len(prompts) * repeats, likely * repeats, most * repeats * attempts))
    return pd.DataFrame(rows, columns=["model_id", "calls", "likely_usd", "most_usd"]).set_index("model_id")


def _examples(examples):
    if isinstance(examples, str | Path):
        return load_examples(examples)
    if not examples:
        raise ValueError("there are no examples")
    return tuple(examples)


def _candidates(candidates):
    chosen = [candidate(one) if isinstance(one, str) else one for one in candidates]
    names = [one.name for one in chosen]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two candidates are called {twice[0]!r}; give one a label")
    if not chosen:
        raise ValueError("there are no candidates; one is written provider:model, such as anthropic:claude-haiku-4-5")
    return chosen


def _tariffs(chosen, prices):
    free = {"replay": (0.0, 0.0)}  # nothing is sent; the recorded costs stay in the recorded table
    return {
        one.name: tariff(
            prices, one.model_id, usd_per_mtok=one.usd_per_mtok or free.get(one.provider), usd_per_hour=one.usd_per_hour
        )
        for one in chosen
    }


def _check_keys(chosen):
    for one in chosen:
        variables = ADAPTERS[one.provider][1]
        if variables and not any(os.environ.get(name) for name in variables):
            raise ValueError(
                f"{one.name}: set the environment variable {' or '.join(variables)}, or choose a replay or a local model"
            )


def _prompt(example):
    messages = ({"role": "user", "content": example.prompt},) if isinstance(example.prompt, str) else tuple(example.prompt)
    return Prompt(messages, example.system, tuple(example.tools), example.schema, example.max_output_tokens)


def _key(example_id, prompt, chosen, repeat):
    asked = [
        example_id,
        prompt.messages,
        prompt.system,
        prompt.tools,
        prompt.schema,
        prompt.max_output_tokens,
        chosen.settings,
        repeat,
    ]
    return hashlib.sha256(packed(asked).encode()).hexdigest()


def _plan(examples, chosen, repeats):
    """Calls in an order in which a slow hour of a service meets all candidates alike."""
    calls = []
    for repeat in range(repeats):
        for example in examples:
            prompt = _prompt(example)
            calls += [(Call(_key(example.example_id, prompt, one, repeat), prompt, one), example, repeat) for one in chosen]
    return calls


def _enter(file, calls, tariffs, prices, provenance):
    """Write down what is asked, and how it is priced."""
    statements, listed = [], f"{prices.source}, as of {prices.as_of:%Y-%m-%d}"
    for call, example, repeat in calls:
        about = {
            "model_id": call.chosen.name, "repeat": repeat, "example": asdict(example), "prompt": call.prompt.text,
            "priced": _given_price(call.chosen) or listed, "flags": tariffs[call.chosen.name].flags, "provenance": provenance,
        }  # fmt: skip
        statements.append((_CALL, (call.key, "answer", packed(about))))
    file.write_now(*statements)


def _given_price(chosen):
    """How a candidate is priced that brings its own price, or ""."""
    tokens = (
        "" if chosen.usd_per_mtok is None else "given price: {:g} / {:g} USD per million tokens".format(*chosen.usd_per_mtok)
    )
    machine = f"{chosen.usd_per_hour:g} USD per hour of the machine" if chosen.usd_per_hour else ""
    return "; ".join(filter(None, (tokens, machine)))


def _forget(file, statuses):
    from tierlab.names import unknown

    for status in statuses:
        if status not in (*FAILURES, "truncated"):
            raise ValueError(unknown("status", status, (*FAILURES, "truncated")))
    file.write_now(*(("DELETE FROM results WHERE status = ?", (status,)) for status in statuses))


def _ask(most, ledger, calls, yes):
    most = min(most, max(0.0, ledger.left_usd))
    if most > ASK_ABOVE_USD and not yes:
        raise ValueError(
            f"{calls:,} calls could cost up to {most:,.2f} USD (see tierlab.sampling.estimate); give yes=True (--yes) to start"
        )


async def _work(runner, todo, warm_up, progress):
    """Make all calls; what could not be afforded, by key."""
    from tqdm.auto import tqdm

    unsent, queues = {}, {}
    for call in todo:
        queues.setdefault((call.chosen.provider, call.chosen.base_url), []).append(call)
    if warm_up:
        firsts = {call.chosen.name: call.chosen for call in todo if call.chosen.provider != "replay"}
        await asyncio.gather(*(runner.call(Call(f"warm-up:{name}", _WARM_UP, one, "warm_up")) for name, one in firsts.items()))
    with tqdm(total=len(todo), unit="call", disable=not progress, leave=False) as bar:

        async def worker(waiting):
            for call in waiting:  # one iterator, shared by the workers of a provider
                result = await runner.call(call)
                if result.status == "over_budget":
                    unsent[call.key] = result.error
                bar.update()
                bar.set_postfix_str(f"{runner.ledger.spent_usd:,.4f} USD", refresh=False)

        try:
            async with asyncio.TaskGroup() as group:
                for calls in queues.values():
                    # More workers than places: while one waits for the disk, another's call is under way.
                    places = runner.places(calls[0].chosen)
                    waiting = iter(calls)
                    for _ in range(min(len(calls), places + max(1, places // 4))):
                        group.create_task(worker(waiting))
        finally:
            await runner.close()
    return unsent


def _run(coroutine):
    """Run a coroutine from plain code, also inside a notebook, whose own loop is running."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    box = {}

    def run():
        try:
            box["value"] = asyncio.run(coroutine)
        except BaseException as error:
            box["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    if "error" in box:
        raise box["error"]
    return box["value"]
