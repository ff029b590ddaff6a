"""One call after another to paid models: within a budget, with retries, and with every attempt on disk before it is sent."""

import asyncio
import math
import random
import re
import time
from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tierlab.prices.names import canonical
from tierlab.sampling.providers import Candidate, Prompt, ProviderError, Reply, connect
from tierlab.sampling.store import packed

_START = "INSERT INTO attempts (key, sent_at, most_usd) VALUES (?, ?, ?)"
END = "UPDATE attempts SET cost_usd = ?, reason = ?, error = ?, in_doubt = ? WHERE id = ?"
# What a provider may add to the name of a model and take away: a date, a version, "latest".
_UNDATED = re.compile(r"[-@](?:\d{8}|\d{4}-\d{2}-\d{2}|\d{2}-\d{4}|\d{3,4}|latest|default)$")
_RESULT = "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?)"


@dataclass(frozen=True)
class Call:
    """One question to one candidate.

    Attributes
    ----------
    key : str
        The same question to the same candidate has the same key: it is asked and paid once.
    kind : {"answer", "judge", "classifier", "warm_up"}
    """

    key: str
    prompt: Prompt
    chosen: Candidate
    kind: str = "answer"


@dataclass(frozen=True)
class Result:
    """How a call ended.

    Attributes
    ----------
    status : str
        One of `tierlab.core.vocabulary.ANSWERED` or `FAILURES`.
    reply : Reply or None
    cost_usd : float
        Known cost of all its attempts; NaN when an answer came without usage.
    attempts : int
    error : str
    flags : str
        "other_model" where the server names another model than was asked for.
    """

    status: str
    reply: Reply | None = None
    cost_usd: float = 0.0
    attempts: int = 0
    error: str = ""
    flags: str = ""


class Ledger:
    """Money that is spent, may be spent, and is spoken for; together they never pass the budget.

    Parameters
    ----------
    budget_usd : float
    spent_usd, in_doubt_usd : float
        What earlier runs of the same store spent, and the most their unfinished attempts can cost.
    """

    def __init__(self, budget_usd, spent_usd=0.0, in_doubt_usd=0.0):
        self.budget_usd, self.spent_usd, self.in_doubt_usd = budget_usd, spent_usd, in_doubt_usd
        self.reserved_usd = 0.0
        self.overrun_usd = 0.0
        self._changed = asyncio.Condition()

    @property
    def left_usd(self):
        """What may still be promised."""
        return self.budget_usd - self.spent_usd - self.in_doubt_usd - self.reserved_usd

    async def reserve(self, usd):
        """Set money aside; waits for others to settle, and is False when even then it would not be enough."""
        async with self._changed:
            # What nobody holds any more may differ from zero by rounding; one token costs more than that.
            await self._changed.wait_for(
                lambda: usd <= max(0.0, self.left_usd) or self.reserved_usd <= 1e-9
            )
            if usd > max(0.0, self.left_usd):
                return False
            self.reserved_usd += usd
            return True

    async def settle(self, reserved_usd, *, spent_usd=0.0, in_doubt_usd=0.0):
        """Give a reservation back, less what it became."""
        async with self._changed:
            self.reserved_usd = max(0.0, self.reserved_usd - reserved_usd)
            self.spent_usd += spent_usd
            self.in_doubt_usd += in_doubt_usd
            self.overrun_usd += max(0.0, spent_usd + in_doubt_usd - reserved_usd)
            self._changed.notify_all()


@dataclass
class Runner:
    """Makes calls: reserves, records, sends, retries, settles.

    Parameters
    ----------
    store : Store
    tariffs : mapping of str to Tariff
        By candidate's name.
    ledger : Ledger
    concurrency : int or mapping of str to int
        Calls under way at once, for each provider.
    most_attempts : int
    deadline_s : float
        Seconds for one call with all its attempts and waits.
    stream : bool
    transport : optional
        Transport of the SDKs' client, for tests.
    """

    store: object
    tariffs: Mapping
    ledger: Ledger
    concurrency: int | Mapping = 8
    most_attempts: int = 4
    deadline_s: float = 120.0
    stream: bool = True
    seed: int | None = None
    transport: object = None
    _adapters: dict = field(default_factory=dict)
    _slots: dict = field(default_factory=dict)

    def __post_init__(self):
        self._random = random.Random(self.seed)

    def most_usd(self, call):
        """The most that one attempt can cost."""
        chosen, prompt = call.chosen, call.prompt
        return self.tariffs[chosen.name].most(
            prompt.most_input_tokens, chosen.output_limit(prompt), self.deadline_s
        )

    def places(self, chosen):
        """How many calls to a candidate's provider may be under way at once."""
        if isinstance(self.concurrency, Mapping):
            return self.concurrency.get(chosen.provider, 8)
        return self.concurrency

    async def call(self, call):
        """Make a call; a `Result`, always. What was asked must be in the store's `calls` already."""
        most = self.most_usd(call)
        attempts, reserved = self.most_attempts, most * self.most_attempts
        if not await self.ledger.reserve(reserved):
            left = max(0.0, self.ledger.left_usd)
            return Result(
                "over_budget",
                error=f"could cost up to {reserved:,.4f} USD, and {left:,.4f} USD are left",
            )
        ends, under_way = None, False
        try:
            for number in range(1, attempts + 1):
                row = await self.store.write(
                    (_START, (call.key, datetime.now(UTC).isoformat(), most))
                )
                under_way = True
                async with self._slot(call.chosen):
                    ends = ends or time.monotonic() + self.deadline_s
                    reply, error = await self._attempt(call, ends)
                if error is None:
                    cost = cost_usd(self.tariffs[call.chosen.name], reply, reply.end_to_end_s)
                    known, doubt = (0.0, most) if cost is None else (cost, 0.0)
                    cost = cost if reply.recorded_usd is None else reply.recorded_usd
                    flags = model_flag(call.chosen, reply.reported_model)
                    result = Result(
                        reply.status,
                        reply,
                        float("nan") if cost is None else cost,
                        number,
                        flags=flags,
                    )
                    reason = reply.status
                else:
                    known, doubt = 0.0, most if error.in_doubt else 0.0
                    result, reason = (
                        Result(error.reason, None, 0.0, number, str(error)),
                        error.reason,
                    )
                wait = None if error is None else self._wait(error, number, ends)
                final = error is None or wait is None or number == attempts
                end = (END, (known, reason, result.error, int(doubt > 0), row))
                await self.store.write(*([end, result_row(call.key, result)] if final else [end]))
                given = reserved if final else most
                reserved -= given
                under_way = False
                await self.ledger.settle(given, spent_usd=known, in_doubt_usd=doubt)
                if final:
                    return result
                await asyncio.sleep(wait)
        finally:
            if reserved > 0:  # cancelled, or the disk failed: what was sent may be billed
                await asyncio.shield(self.ledger.settle(reserved, in_doubt_usd=most * under_way))
        raise AssertionError("the last attempt is final")

    async def close(self):
        """Close the connections."""
        for adapter in self._adapters.values():
            await adapter.close()
        self._adapters.clear()

    @asynccontextmanager
    async def _slot(self, chosen):
        slot = self._slots.setdefault(
            (chosen.provider, chosen.base_url), asyncio.Semaphore(self.places(chosen))
        )
        async with slot:
            yield

    async def _attempt(self, call, ends):
        """A reply, or the error in its place."""
        left = ends - time.monotonic()
        over = f"no answer within {self.deadline_s:g} s in all"
        if left <= 0:  # the wait for a place took the rest: nothing is sent
            return None, ProviderError("timeout", over, retried=False, in_doubt=False)
        try:
            async with asyncio.timeout(left):
                return await self.adapter(call.chosen).answer(
                    call.prompt, call.chosen, self.stream
                ), None
        except TimeoutError:
            return None, ProviderError("timeout", over, retried=False)
        except ProviderError as error:
            return None, error

    def adapter(self, chosen):
        """The connection to a candidate's provider, made when first asked for."""
        address = (chosen.provider, chosen.base_url, chosen.path)
        if address not in self._adapters:
            self._adapters[address] = connect(
                chosen, timeout_s=self.deadline_s, transport=self.transport
            )
        return self._adapters[address]

    def _wait(self, error, number, ends):
        """Seconds before the next attempt, or None if there is to be none."""
        if not error.retried:
            return None
        wait = min(8.0, 0.5 * 2 ** (number - 1)) * self._random.uniform(0.75, 1.0)
        wait = max(wait, error.retry_after_s or 0.0)
        return None if time.monotonic() + wait >= ends else wait


def cost_usd(tariff, reply, seconds=0.0):
    """US dollars for an answer; None without usage, or with tokens in a bucket for which there is no rate."""
    if reply.tokens is None and tariff.rates.any():
        return None
    cost = tariff.cost(reply.tokens or {}, seconds)
    return None if math.isnan(cost) else cost


def model_flag(chosen, reported):
    """ "other_model" where a server names another model than was asked for: no snapshot and no other spelling of it.

    Examples
    --------
    >>> asked = Candidate("openai", "gpt-6-luna")
    >>> [model_flag(asked, name) for name in ("gpt-6-luna-2026-09-01", "openai/gpt-6-luna", "gpt-6-luna-nano", "")]
    ['', '', 'other_model', '']
    """
    if not reported or chosen.provider == "replay":
        return ""
    bare, told = (
        _UNDATED.sub("", name.rsplit("/", 1)[-1].lower()) for name in (chosen.model_id, reported)
    )
    known = canonical(chosen.model_id)
    return (
        ""
        if bare == told or (known is not None and known == canonical(reported))
        else "other_model"
    )


def result_row(key, result):
    """The statement that keeps how a call ended."""
    reply = result.reply
    about = {"error": result.error}
    if reply is not None:
        about |= {
            "text": reply.text, "tool_calls": reply.tool_calls, "stop_reason": reply.stop_reason, "tokens": reply.tokens,
            "reported_model": reply.reported_model, "ttft_s": reply.ttft_s, "end_to_end_s": reply.end_to_end_s,
            "source": reply.source, "usage_fault": reply.usage_fault, "flags": result.flags,
        }  # fmt: skip
    return _RESULT, (key, result.status, result.cost_usd, result.attempts, packed(about))
