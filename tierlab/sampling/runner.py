"""Calls to paid models: within a budget, with retries, and with every attempt on disk before it is sent."""

import asyncio
import math
import random
import re
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from tierlab.core.vocabulary import FAILURES, known, needs
from tierlab.prices.names import canonical
from tierlab.sampling.providers import Candidate, Prompt, ProviderError, Reply, connect
from tierlab.sampling.store import packed

ASK_ABOVE_USD = 1.0
FIRST_WAIT_S = 0.5  # the wait before a second attempt, doubled before each further one up to 8 s
START = "INSERT INTO attempts (key, sent_at, most_usd) VALUES (?, ?, ?)"
END = "UPDATE attempts SET cost_usd = ?, reason = ?, error = ?, in_doubt = ? WHERE id = ?"
_RESULT = "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?)"
_KEPT = (
    "text",
    "tool_calls",
    "stop_reason",
    "tokens",
    "reported_model",
    "ttft_s",
    "end_to_end_s",
    "source",
    "usage_fault",
    "thinking",
)
# What a provider may add to the name of a model or leave out: a date, a version, "latest".
_UNDATED = re.compile(r"[-@](?:\d{8}|\d{4}-\d{2}-\d{2}|\d{2}-\d{4}|\d{3,4}|latest|default)$")
_WARM_UP = Prompt.of("Reply with the word ready.", max_output_tokens=16)


@dataclass(frozen=True)
class Limits:
    """What the calls of a run may cost and take.

    Parameters
    ----------
    budget_usd : float
        The most that everything in the store may cost together, USD, from 0 up. A call that could exceed it is not
        sent.
    concurrency : int
        The most calls under way at once for each provider, from 1 up. Latency is measured well at 8 or fewer.
    attempts : int
        The most attempts for one call, from 1 up. Rate limits, overload, timeouts and broken answers are tried again,
        after the time that the server asks for.
    deadline_s : float
        Seconds for one call with all its attempts, above 0.

    Raises
    ------
    ValueError
        For a setting outside its range.
    """

    budget_usd: float
    concurrency: int = 8
    attempts: int = 4
    deadline_s: float = 120.0

    def __post_init__(self):
        amount = "an amount from 0 up (0 for a local model or a replay)"
        needs("budget_usd", self.budget_usd, 0 <= self.budget_usd < math.inf, amount)
        check_count("concurrency", self.concurrency)
        check_count("attempts", self.attempts)
        needs("deadline_s", self.deadline_s, self.deadline_s > 0, "a number of seconds above 0")


@dataclass(frozen=True)
class Setup:
    """How calls are made, and what is kept with them.

    Parameters
    ----------
    stream : bool
        Stream the answers; otherwise the time to the first token is not known. A judge and a live router never stream.
    warm_up : bool
        Make one short call to each candidate of `tierlab.sample` before its times count.
    progress : bool
        Show a bar with the spend so far.
    provenance : str
        Machine, runtime, date: kept with every row.
    transport : optional
        Transport of the SDKs' HTTP client, for tests.
    """

    stream: bool = True
    warm_up: bool = True
    progress: bool = True
    provenance: str = ""
    transport: object = None


SETUP = Setup()


def check_count(name, value):
    """Refuse a value that is not a whole number from 1 up."""
    needs(name, value, isinstance(value, int) and value >= 1, "a whole number from 1 up")


@dataclass(frozen=True)
class Call:
    """One question to one candidate.

    Attributes
    ----------
    key : str
        The same question to the same candidate has the same key, so that it is asked and paid for once.
    prompt : Prompt
    chosen : Candidate
    """

    key: str
    prompt: Prompt
    chosen: Candidate


@dataclass(frozen=True)
class Result:
    """How a call ended.

    Attributes
    ----------
    status : str
        One of `tierlab.core.vocabulary.ANSWERED` or `FAILURES`.
    reply : Reply or None
    cost_usd : float
        Known cost of all its attempts, USD; NaN if an answer came without usage.
    attempts : int
        Attempts made.
    error : str
    flags : str
        "other_model" if the server names another model than was asked for.
    in_doubt_usd : float
        The most that the attempts of unknown cost can cost, USD.
    """

    status: str
    reply: Reply | None = None
    cost_usd: float = 0.0
    attempts: int = 0
    error: str = ""
    flags: str = ""
    in_doubt_usd: float = 0.0


class Ledger:
    """The money that is spent, in doubt and reserved; together they never exceed the budget.

    Parameters
    ----------
    budget_usd : float
    spent_usd, in_doubt_usd : float
        What earlier runs of the same store spent, and the most that their unfinished attempts can cost, USD.
    """

    def __init__(self, budget_usd, spent_usd=0.0, in_doubt_usd=0.0):
        self.budget_usd, self.spent_usd, self.in_doubt_usd = budget_usd, spent_usd, in_doubt_usd
        self.reserved_usd = 0.0
        self._changed = asyncio.Condition()

    @property
    def left_usd(self):
        """What may still be reserved, from 0 up."""
        taken = self.spent_usd + self.in_doubt_usd + self.reserved_usd
        return max(0.0, self.budget_usd - taken)

    async def reserve(self, usd):
        """Reserve money and return True, or False if there is not enough even after all others have settled."""
        async with self._changed:
            # Rounding can leave a tiny residual reservation; one token costs more than that.
            await self._changed.wait_for(lambda: usd <= self.left_usd or self.reserved_usd <= 1e-9)
            enough = usd <= self.left_usd
            self.reserved_usd += usd * enough
            return enough

    async def settle(self, reserved_usd, *, spent_usd=0.0, in_doubt_usd=0.0):
        """Give a reservation back, and book what became of it."""
        async with self._changed:
            self.reserved_usd = max(0.0, self.reserved_usd - reserved_usd)
            self.spent_usd += spent_usd
            self.in_doubt_usd += in_doubt_usd
            self._changed.notify_all()


@dataclass
class Runner:
    """Makes calls: reserves, records, sends, retries, settles.

    Parameters
    ----------
    store : Store
    tariffs : mapping of str to Tariff
        By the name of the candidate.
    limits : Limits
    stream : bool
    transport : optional
        Transport of the SDKs' HTTP client, for tests.

    Attributes
    ----------
    ledger : Ledger
        Begins with what the store has spent.
    """

    store: object
    tariffs: Mapping
    limits: Limits
    stream: bool = False
    transport: object = None
    ledger: Ledger = field(init=False)
    _adapters: dict = field(default_factory=dict)
    _slots: dict = field(default_factory=dict)
    _random: random.Random = field(default_factory=lambda: random.Random(0))

    def __post_init__(self):
        self.ledger = Ledger(self.limits.budget_usd, *self.store.spend())

    def most_usd(self, call):
        """Return the most that one attempt can cost, USD."""
        chosen, prompt = call.chosen, call.prompt
        return self.tariffs[chosen.name].most(
            prompt.most_input_tokens, chosen.output_limit(prompt), self.limits.deadline_s
        )

    async def call(self, call):
        """Make a call and return its `Result`, whatever happens. The question must be in the store's `calls` already."""
        most, attempts = self.most_usd(call), self.limits.attempts
        reserved = most * attempts
        if not await self.ledger.reserve(reserved):
            left = self.ledger.left_usd
            error = f"could cost up to {reserved:,.4f} USD, and {left:,.4f} USD are left"
            return Result("over_budget", error=error)
        ends, under_way, doubts = None, False, 0.0
        try:
            for number in range(1, attempts + 1):
                sent_at = datetime.now(UTC).isoformat()
                row = await self.store.awrite((START, (call.key, sent_at, most)))
                under_way = True
                async with self._slot(call.chosen):
                    ends = ends or time.monotonic() + self.limits.deadline_s
                    got = await self._attempt(call, ends)
                result, spent, doubt = self._outcome(call, got, number, most)
                doubts += doubt
                result = replace(result, in_doubt_usd=doubts)
                wait = self._wait(got, number, ends)
                end = (END, (spent, result.status, result.error, int(doubt > 0), row))
                last = [] if wait is not None else [result_row(call.key, result)]
                await self.store.awrite(end, *last)
                given = most if wait is not None else reserved
                reserved -= given
                under_way = False
                await self.ledger.settle(given, spent_usd=spent, in_doubt_usd=doubt)
                if wait is None:
                    return result
                await asyncio.sleep(wait)
        finally:
            if reserved > 0:  # cancelled, or the disk has failed: what was sent may be billed
                await asyncio.shield(self.ledger.settle(reserved, in_doubt_usd=most * under_way))

    async def close(self):
        """Close the connections."""
        for adapter in self._adapters.values():
            await adapter.close()
        self._adapters.clear()

    def adapter(self, chosen):
        """Return the connection to a candidate's provider, which is made when it is first used."""
        address = (chosen.provider, chosen.base_url, chosen.path)
        if address not in self._adapters:
            self._adapters[address] = connect(
                chosen, timeout_s=self.limits.deadline_s, transport=self.transport
            )
        return self._adapters[address]

    def _slot(self, chosen):
        place = (chosen.provider, chosen.base_url)
        return self._slots.setdefault(place, asyncio.Semaphore(self.limits.concurrency))

    async def _attempt(self, call, ends):
        """The `Reply` of an attempt, or the `ProviderError` in its place."""
        left = ends - time.monotonic()
        over = f"no answer within {self.limits.deadline_s:g} s in all"
        if left <= 0:  # the wait for a free place took the rest of the time, and nothing is sent
            return ProviderError("timeout", over, retried=False, in_doubt=False)
        try:
            async with asyncio.timeout(left):
                return await self.adapter(call.chosen).answer(call.prompt, call.chosen, self.stream)
        except TimeoutError:
            return ProviderError("timeout", over, retried=False)
        except ProviderError as error:
            return error

    def _outcome(self, call, got, number, most):
        """How an attempt ended, what it cost for certain, and what it may have cost beyond that (USD)."""
        if isinstance(got, ProviderError):
            return Result(got.reason, None, 0.0, number, str(got)), 0.0, most * got.in_doubt
        tariff, cost = self.tariffs[call.chosen.name], math.nan
        if got.tokens is not None or not tariff.rates.any():
            cost = tariff.cost(got.tokens or {}, got.end_to_end_s)
        told = cost if got.recorded_usd is None else got.recorded_usd
        flags = model_flag(call.chosen, got.reported_model)
        result = Result(got.status, got, told, number, flags=flags)
        return (result, 0.0, most) if math.isnan(cost) else (result, cost, 0.0)

    def _wait(self, got, number, ends):
        """The seconds before the next attempt, or None if there will be none."""
        if not getattr(got, "retried", False) or number == self.limits.attempts:
            return None
        wait = min(8.0, FIRST_WAIT_S * 2 ** (number - 1)) * self._random.uniform(0.75, 1.0)
        wait = max(wait, got.retry_after_s or 0.0)
        return None if time.monotonic() + wait >= ends else wait


def model_flag(chosen, reported):
    """Return "other_model" if a server names another model than was asked for, else "".

    A snapshot of the model or another spelling of its name is the same model.

    Examples
    --------
    >>> asked = Candidate("openai", "gpt-6-luna")
    >>> [model_flag(asked, name) for name in ("gpt-6-luna-2026-09-01", "openai/gpt-6-luna", "gpt-6-luna-nano", "")]
    ['', '', 'other_model', '']
    """
    if not reported or chosen.provider == "replay":
        return ""
    names = (chosen.model_id, reported)
    bare, told = (_UNDATED.sub("", name.rsplit("/", 1)[-1].lower()) for name in names)
    listed = canonical(chosen.model_id)
    same = bare == told or (listed is not None and listed == canonical(reported))
    return "" if same else "other_model"


def result_row(key, result):
    """Return the SQL statement that stores how a call ended."""
    about = {"error": result.error}
    if result.reply is not None:
        about |= {name: getattr(result.reply, name) for name in _KEPT} | {"flags": result.flags}
    return _RESULT, (key, result.status, result.cost_usd, result.attempts, packed(about))


def make_calls(file, calls, entries, tariffs, limits, setup, *, retry=False, yes=False):
    """Make the calls that the store has no result of, within the limits.

    Parameters
    ----------
    file : Store
    calls : sequence of Call
        In an order in which a slow hour of a service affects all candidates alike.
    entries : sequence of (sql, values)
        What to store of the calls before any is sent.
    tariffs : mapping of str to Tariff
        By the name of the candidate.
    limits, setup, retry, yes
        As for `tierlab.sample`.

    Returns
    -------
    dict
        Why a call was not made, by key.
    """
    again = FAILURES if retry is True else tuple(retry or ())
    for status in again:
        known("status", status, (*FAILURES, "truncated"))
    results = file.read("SELECT key, status FROM results")
    done = {key for key, status in results if status not in again}
    todo = [call for call in {call.key: call for call in calls}.values() if call.key not in done]
    runner = Runner(file, tariffs, limits, setup.stream, setup.transport)
    most = min(sum(map(runner.most_usd, todo)) * limits.attempts, runner.ledger.left_usd)
    if most > ASK_ABOVE_USD and not yes:
        raise ValueError(
            f"{len(todo):,} calls could cost up to {most:,.2f} USD (see tierlab.sampling.run.estimate); give yes=True (--yes) to start"
        )
    for call in todo:  # a missing key or package is reported before anything is sent
        runner.adapter(call.chosen)
    # A failed call that is made again is new: its result goes, its cost stays.
    forgotten = [("DELETE FROM results WHERE key = ?", (call.key,)) for call in todo]
    file.write(*forgotten, *entries)
    return run_async(_work(runner, todo, setup)) if todo else {}


async def _work(runner, todo, setup):
    from tqdm.auto import tqdm

    unsent, queues = {}, {}
    for call in todo:
        queues.setdefault((call.chosen.provider, call.chosen.base_url), []).append(call)
    if setup.warm_up:
        chosen = {call.chosen.name: call.chosen for call in todo}.values()
        firsts = [Call(f"warm-up:{c.name}", _WARM_UP, c) for c in chosen if c.provider != "replay"]
        await asyncio.gather(*map(runner.call, firsts))
    with tqdm(total=len(todo), unit="call", disable=not setup.progress, leave=False) as bar:

        async def worker(waiting):
            for call in waiting:  # the workers of a provider share one iterator
                result = await runner.call(call)
                if result.status == "over_budget":
                    unsent[call.key] = result.error
                bar.update()
                bar.set_postfix_str(f"{runner.ledger.spent_usd:,.4f} USD", refresh=False)

        try:
            async with asyncio.TaskGroup() as group:
                for calls in queues.values():
                    # More workers than places: while one waits for the disk, another's call is under way.
                    places, waiting = runner.limits.concurrency, iter(calls)
                    for _ in range(min(len(calls), places + max(1, places // 2))):
                        group.create_task(worker(waiting))
        except ExceptionGroup as errors:  # a full disk, for one; the other workers have been ended
            raise errors.exceptions[0] from None
        finally:
            await runner.close()
    return unsent


def run_async(coroutine):
    """Run a coroutine from plain code, even inside a notebook, whose own loop is running."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    loop = asyncio.new_event_loop()
    task = loop.create_task(coroutine)
    try:
        with ThreadPoolExecutor(1) as thread:
            done = thread.submit(loop.run_until_complete, task)
            try:
                return done.result()
            except KeyboardInterrupt:  # nothing more is sent; what is under way is interrupted
                loop.call_soon_threadsafe(task.cancel)
                raise
    finally:
        loop.close()
