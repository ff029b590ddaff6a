"""Your own examples through real models: estimated first, never over the budget, resumable, and scored.

The answers stay in a store; `tierlab.samples` reads the table from it again.
"""

import asyncio
import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict

import pandas as pd

from tierlab.core.vocabulary import FAILURES, unknown
from tierlab.prices.catalog import load_prices
from tierlab.prices.pricing import tariff
from tierlab.sampling.examples import load_examples
from tierlab.sampling.providers import ADAPTERS, Prompt, candidate
from tierlab.sampling.runner import Call, Ledger, Runner
from tierlab.sampling.samples import account, code_run, samples_table, score_answers
from tierlab.sampling.store import Store, packed

ASK_ABOVE_USD = 1.0
_WARM_UP = Prompt(
    ({"role": "user", "content": "Reply with the word ready."},), max_output_tokens=16
)
# What is asked may be described anew (a mended reference); how an answer that is there was priced and made may not.
_CALL = """
INSERT INTO calls VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET request = CASE
  WHEN key NOT IN (SELECT key FROM results) THEN excluded.request
  ELSE json_set(excluded.request, '$.flags', json_extract(request, '$.flags'), '$.priced', json_extract(request, '$.priced'),
                '$.provenance', json_extract(request, '$.provenance')) END
"""


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
    allow_code=False,
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
        Strings as `tierlab.sampling.providers.candidate` reads them: ``"anthropic:claude-haiku-4-5"``.
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
    allow_code : bool
        Run the answers of examples with the scorer "code", apart from this machine as far as
        `tierlab.evaluate.scorers.code.isolation` says; without it they have no score.
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
        The samples table: one row per example, candidate and repeat (columns: `tierlab.sampling.samples.SAMPLE_COLUMNS`). A call without
        an answer is a row with its status and no score. `attrs["account"]` is `account(store)`.

    Raises
    ------
    ValueError
        Before anything is sent: no price or key for a candidate, two candidates of one name, a file in use, or
        a run that could cost more than 1 USD without `yes`.
    OSError
        If the store can no longer be written; what was answered until then is in it.
    """
    check_numbers(
        budget_usd,
        repeats=repeats,
        concurrency=concurrency,
        attempts=attempts,
        deadline_s=deadline_s,
    )
    examples, chosen = read_examples(examples), read_candidates(candidates)
    prices = load_prices("maintained") if prices is None else prices
    tariffs = tariffs_of(chosen, prices)
    check_keys(chosen)
    with Store(store) as file:
        calls = plan(examples, chosen, repeats)
        todo = unanswered(file, [call for call, _, _ in calls], retry)
        runner = Runner(
            file, tariffs, Ledger(budget_usd, *file.spend()), concurrency, attempts, deadline_s, stream, seed, transport
        )  # fmt: skip
        ask(sum(runner.most_usd(call) * attempts for call in todo), runner.ledger, len(todo), yes)
        forget(file, todo, retry)
        enter(file, calls, tariffs, prices, provenance)
        unsent = run_async(work(runner, todo, warm_up, progress)) if todo else {}
        score_answers(file, allow_code=allow_code, progress=progress)
        table = samples_table(file.path, [call.key for call, _, _ in calls], unsent)
    table.attrs["account"] = account(store) | code_run(examples, allow_code)
    return table


def estimate(examples, candidates, *, prices=None, repeats=1, attempts=4, deadline_s=120.0):
    """What a run would cost, before anything is sent.

    Returns
    -------
    DataFrame
        By candidate: calls; likely_usd, one attempt each with an input counted by OpenAI's o200k_base tokenizer
        (an assumption for other providers) and answers of full length, NaN for a machine paid by the hour, whose
        time nobody knows before; most_usd, the bound that is reserved:
        a token per byte of input, every attempt billed, and for a machine paid by the hour the whole deadline.
    """
    from tierlab.routing.sources import count_tokens

    examples, chosen = read_examples(examples), read_candidates(candidates)
    tariffs = tariffs_of(chosen, load_prices("maintained") if prices is None else prices)
    prompts = [_prompt(example) for example in examples]
    counted = count_tokens([packed([p.system, p.messages, p.tools, p.schema]) for p in prompts])
    rows = []
    for one in chosen:
        outputs = [one.output_limit(p) for p in prompts]
        likely = sum(
            tariffs[one.name].cost({"uncached_input_tokens": n, "output_tokens": m})
            for n, m in zip(counted, outputs, strict=True)
        )
        likely = float("nan") if tariffs[one.name].usd_per_hour else likely
        most = sum(
            tariffs[one.name].most(p.most_input_tokens, m, deadline_s)
            for p, m in zip(prompts, outputs, strict=True)
        )
        rows.append((one.name, len(prompts) * repeats, likely * repeats, most * repeats * attempts))
    return pd.DataFrame(rows, columns=["model_id", "calls", "likely_usd", "most_usd"]).set_index(
        "model_id"
    )


def read_examples(examples):
    """Examples of a file, or made in code; checked."""
    found = load_examples(examples)
    if not found:
        raise ValueError("there are no examples")
    return found


def check_numbers(budget_usd, *, repeats=1, concurrency=1, attempts=1, deadline_s=1.0):
    """Refuse settings of a run that are no amounts, counts or times."""
    if not 0 <= budget_usd < float("inf"):
        raise ValueError(
            f"budget_usd is {budget_usd!r}; an amount from 0 up is needed (0 for a local model or a replay)"
        )
    places = concurrency.values() if isinstance(concurrency, Mapping) else [concurrency]
    for name, values in (("repeats", [repeats]), ("attempts", [attempts]), ("concurrency", places)):
        if wrong := [value for value in values if not (isinstance(value, int) and value >= 1)]:
            raise ValueError(f"{name} is {wrong[0]!r}; a whole number from 1 up is needed")
    if not deadline_s > 0:
        raise ValueError(f"deadline_s is {deadline_s!r}; a number of seconds above 0 is needed")


def read_candidates(candidates):
    """Candidates, each with a name of its own."""
    chosen = [candidate(one) if isinstance(one, str) else one for one in candidates]
    names = [one.name for one in chosen]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two candidates are called {twice[0]!r}; give one a label")
    if not chosen:
        raise ValueError(
            "there are no candidates; one is written provider:model, such as anthropic:claude-haiku-4-5"
        )
    return chosen


def tariffs_of(chosen, prices):
    """Rates of each candidate, by name."""
    free = {"replay": (0.0, 0.0)}  # nothing is sent; the recorded costs stay in the recorded table
    return {
        one.name: tariff(
            prices,
            one.model_id,
            usd_per_mtok=one.usd_per_mtok or free.get(one.provider),
            usd_per_hour=one.usd_per_hour,
        )
        for one in chosen
    }


def check_keys(chosen):
    """Refuse a candidate whose key is not set."""
    for one in chosen:
        variables = ADAPTERS[one.provider][1]
        if variables and not any(os.environ.get(name) for name in variables):
            raise ValueError(
                f"{one.name}: set the environment variable {' or '.join(variables)}, or choose a replay or a local model"
            )


def _prompt(example):
    messages = (
        ({"role": "user", "content": example.prompt},)
        if isinstance(example.prompt, str)
        else tuple(example.prompt)
    )
    return Prompt(
        messages, example.system, tuple(example.tools), example.schema, example.max_output_tokens
    )


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


def plan(examples, chosen, repeats):
    """Calls in an order in which a slow hour of a service meets all candidates alike."""
    calls = []
    for repeat in range(repeats):
        for example in examples:
            prompt = _prompt(example)
            calls += [
                (Call(_key(example.example_id, prompt, one, repeat), prompt, one), example, repeat)
                for one in chosen
            ]
    return calls


def enter(file, calls, tariffs, prices, provenance):
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
        ""
        if chosen.usd_per_mtok is None
        else "given price: {:g} / {:g} USD per million tokens".format(*chosen.usd_per_mtok)
    )
    machine = f"{chosen.usd_per_hour:g} USD per hour of the machine" if chosen.usd_per_hour else ""
    return "; ".join(filter(None, (tokens, machine)))


def asked_again(retry):
    """Statuses of calls that are made again although they have a result: of all failures (True), or as given."""
    statuses = FAILURES if retry is True else retry or ()
    for status in statuses:
        if status not in (*FAILURES, "truncated"):
            raise ValueError(unknown("status", status, (*FAILURES, "truncated")))
    return statuses


def unanswered(file, calls, retry=False):
    """The calls that have no result in the store, or one that is to be asked again."""
    again = asked_again(retry)
    done = {
        key for key, status in file.read("SELECT key, status FROM results") if status not in again
    }
    return [call for call in calls if call.key not in done]


def forget(file, calls, retry):
    """Make failed calls new ones: their results go, what they cost stays."""
    if calls and (statuses := asked_again(retry)):
        file.write_now(
            *(
                ("DELETE FROM results WHERE status = ? AND key = ?", (s, c.key))
                for s in statuses
                for c in calls
            )
        )


def ask(most, ledger, calls, yes):
    """Refuse a run that could cost more than a person would want to be asked about."""
    most = min(most, max(0.0, ledger.left_usd))
    if most > ASK_ABOVE_USD and not yes:
        raise ValueError(
            f"{calls:,} calls could cost up to {most:,.2f} USD (see tierlab.sampling.run.estimate); give yes=True (--yes) to start"
        )


async def work(runner, todo, warm_up, progress):
    """Make all calls; what could not be afforded, by key."""
    from tqdm.auto import tqdm

    unsent, queues = {}, {}
    for call in todo:
        runner.adapter(call.chosen)  # what cannot be reached at all is said before anything is sent
        queues.setdefault((call.chosen.provider, call.chosen.base_url), []).append(call)
    if warm_up:
        firsts = {
            call.chosen.name: call.chosen for call in todo if call.chosen.provider != "replay"
        }
        await asyncio.gather(
            *(
                runner.call(Call(f"warm-up:{name}", _WARM_UP, one, "warm_up"))
                for name, one in firsts.items()
            )
        )
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
                    for _ in range(min(len(calls), places + max(1, places // 2))):
                        group.create_task(worker(waiting))
        except ExceptionGroup as errors:  # a full disk, for one; the other workers have been ended
            raise errors.exceptions[0] from None
        finally:
            await runner.close()
    return unsent


def run_async(coroutine):
    """Run a coroutine from plain code, also inside a notebook, whose own loop is running."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    begun = Future()

    async def elsewhere():
        begun.set_result((asyncio.get_running_loop(), asyncio.current_task()))
        return await coroutine

    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(asyncio.run, elsewhere())
        try:
            return done.result()
        except KeyboardInterrupt:  # nothing more is sent; what is under way counts as interrupted
            loop, task = begun.result()
            with suppress(RuntimeError):  # it has ended meanwhile
                loop.call_soon_threadsafe(task.cancel)
            raise
