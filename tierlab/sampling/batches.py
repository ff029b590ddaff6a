"""Examples through the providers' batch endpoints, at the batch rate: submitted, polled and collected.

A batch and its requests are in the store before it is submitted, so that a run that was cut off finds it again.
States of a batch: planned (nothing is sent), sending (it may have been sent), submitted (its id is known), and at the
end collected, refused (not accepted) or lost (sent perhaps, and not to be found).
"""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from tierlab.core.vocabulary import IN_BATCH
from tierlab.prices.catalog import load_prices
from tierlab.prices.pricing import tariff
from tierlab.sampling.apis.batches import APIS, LiveWire, split
from tierlab.sampling.providers import ProviderError, connect, failure
from tierlab.sampling.run import (
    ask,
    check_keys,
    check_numbers,
    enter,
    forget,
    plan,
    read_candidates,
    read_examples,
    run_async,
    unanswered,
)
from tierlab.sampling.runner import END, Ledger, Result, cost_usd, model_flag, result_row
from tierlab.sampling.samples import account, code_run, samples_table, score_answers
from tierlab.sampling.store import Store, packed

_ATTEMPT = "INSERT INTO attempts (key, sent_at, most_usd, reason, in_doubt) VALUES (?, ?, ?, 'in_batch', 1)"
_OF_BATCH = "INSERT INTO batch_attempts VALUES (last_insert_rowid(), ?)"
_PLANNED = "SELECT attempt FROM batch_attempts JOIN batches USING (name) WHERE state = 'planned'"
_TRIES = 3  # to submit a batch to a busy service, and to find one that may have arrived
_TIMEOUT_S = 600.0  # of one exchange with a batch endpoint: files are large


def sample_batch(
    examples,
    candidates,
    *,
    budget_usd,
    store,
    repeats=1,
    prices=None,
    retry=False,
    yes=False,
    poll_s=30.0,
    deadline_s=86_400.0,
    allow_code=False,
    progress=True,
    provenance="",
    transport=None,
):
    """Run examples through candidates in batches and score the answers.

    Parameters
    ----------
    examples, candidates, budget_usd, store, repeats, prices, retry, yes, allow_code, progress, provenance, transport
        As for `tierlab.sample`; an answer that the store has is not asked for again, whichever way it came.
    poll_s : float
        Seconds between two looks at the batches.
    deadline_s : float
        How long to wait for results, from the last submission on. What is not there by then keeps the status "in_batch", its worst case is held
        against the budget, and the same call collects it later.

    Returns
    -------
    DataFrame
        The samples table, without latencies: a batch has none. Rows priced at the batch rate have the flag "batch".
        A request that failed, expired or was canceled is a row with its status. `attrs["account"]` is that of
        `tierlab.sampling.samples.account`, with `batches` by state, `strangers` (results that nobody asked for), and
        `batch_errors`, what the last look at a batch met.

    Raises
    ------
    ValueError
        Before anything is sent: as `tierlab.sample`, and for a candidate without a batch rate or a provider without
        batches.
    """
    check_numbers(budget_usd, repeats=repeats)
    examples, chosen = read_examples(examples), read_candidates(candidates)
    prices = load_prices("maintained") if prices is None else prices
    tariffs = batch_tariffs(chosen, prices)
    check_keys(chosen)
    with Store(store) as file:
        _discard_planned(file)
        calls = plan(examples, chosen, repeats)
        todo = unanswered(file, [call for call, _, _ in calls], retry)
        ledger = Ledger(budget_usd, *file.spend())
        batcher = _Batcher(file, tariffs, poll_s, deadline_s, transport)
        ask(sum(batcher.most_usd(call) for call in todo), ledger, len(todo), yes)
        forget(file, todo, retry)
        enter(file, calls, tariffs, prices, provenance)
        affordable, unsent = _afford(todo, batcher.most_usd, ledger.left_usd)
        run_async(batcher.work(affordable, chosen, progress))
        score_answers(file, allow_code=allow_code, progress=progress)
        table = samples_table(file.path, [call.key for call, _, _ in calls], unsent)
        states = Counter(dict(file.read("SELECT state, COUNT(*) FROM batches GROUP BY 1")))
        strangers = file.read("SELECT COALESCE(SUM(strangers), 0) FROM batches")[0][0]
    more = {"batches": dict(states), "strangers": strangers, "batch_errors": batcher.errors}
    table.attrs["account"] = account(store) | more | code_run(examples, allow_code)
    return table


def batch_tariffs(chosen, prices):
    """Batch rates of the candidates, by name; refuses those that cannot be asked in a batch."""
    tariffs = {}
    for one in chosen:
        if one.provider not in APIS:
            raise ValueError(
                f"{one.name}: {one.provider} has no batches; those who have: {', '.join(APIS)}"
            )
        if one.usd_per_mtok is not None or one.usd_per_hour:
            raise ValueError(
                f"{one.name}: a price of its own is that of live calls; a batch needs a batch rate in the prices"
            )
        rates = tariff(prices, one.model_id, batch=True)
        tariffs[one.name] = replace(rates, flags=";".join(filter(None, (rates.flags, "batch"))))
    return tariffs


def _afford(todo, most_usd, left):
    """The calls whose worst cases fit into the rest of the budget together, and why not, by key, for the others."""
    affordable, unsent = [], {}
    for call in todo:
        most = most_usd(call)
        if most <= left:
            affordable.append(call)
            left -= most
        else:
            unsent[call.key] = (
                f"could cost up to {most:,.4f} USD, and {max(0.0, left):,.4f} USD are left"
            )
    return affordable, unsent


def _discard_planned(file):
    """Take back what an earlier run planned and certainly did not send."""
    file.write_now(
        (
            f"DELETE FROM results WHERE status = ? AND key IN (SELECT key FROM attempts WHERE id IN ({_PLANNED}))",
            (IN_BATCH,),
        ),
        (f"DELETE FROM attempts WHERE id IN ({_PLANNED})", ()),
        (f"DELETE FROM batch_attempts WHERE attempt IN ({_PLANNED})", ()),
        ("DELETE FROM batches WHERE state = 'planned'", ()),
    )


@dataclass
class _Batcher:
    """Submits batches and collects them."""

    file: Store
    tariffs: Mapping
    poll_s: float
    deadline_s: float
    transport: object = None
    errors: dict = field(default_factory=dict)
    _open: dict = field(default_factory=dict)
    _misses: Counter = field(default_factory=Counter)
    _unreadable: Counter = field(default_factory=Counter)

    def most_usd(self, call):
        """The most that one request can cost."""
        chosen, prompt = call.chosen, call.prompt
        return self.tariffs[chosen.name].most(prompt.most_input_tokens, chosen.output_limit(prompt))

    async def work(self, todo, chosen, progress):
        """Submit what is to do, one batch after another, then wait for all that is open of these candidates."""
        try:
            for one in chosen:
                mine = {call.key: call for call in todo if call.chosen is one}
                api, lines = self._api(one), []
                for key, call in mine.items():
                    try:
                        lines.append((key, api.line(key, await self._wire(one).body(call.prompt))))
                    except ProviderError as error:  # the adapter itself refuses to send it
                        await self.file.write(
                            result_row(key, Result(error.reason, error=str(error)))
                        )
                keys = iter([key for key, _ in lines])
                for group in split([line for _, line in lines], api.most_requests, api.most_bytes):
                    await self._submit(
                        one, {key: mine[key] for key in (next(keys) for _ in group)}, group
                    )
            await self._collect_all(chosen, progress)
        finally:
            for adapter, _, wire in self._open.values():
                await adapter.close()
                await wire.close()

    def _connected(self, one):
        if one.name not in self._open:
            adapter = connect(one, timeout_s=_TIMEOUT_S, transport=self.transport)
            self._open[one.name] = adapter, APIS[one.provider](adapter.client, one), LiveWire(one)
        return self._open[one.name]

    def _api(self, one):
        return self._connected(one)[1]

    def _wire(self, one):
        return self._connected(one)[2]

    async def _submit(self, one, calls, lines):
        """Write a batch down and send it; what the service does not accept is recorded with its reason."""
        name, now = f"tierlab-{uuid.uuid4().hex}", datetime.now(UTC).isoformat()
        statements = [
            (
                "INSERT INTO batches VALUES (?, ?, 'planned', NULL, ?, 0)",
                (name, packed(one.settings), now),
            )
        ]
        waiting = Result(IN_BATCH, cost_usd=float("nan"), attempts=1, error=f"in the batch {name}")
        for key, call in calls.items():
            statements += [
                (_ATTEMPT, (key, now, self.most_usd(call))),
                (_OF_BATCH, (name,)),
                result_row(key, waiting),
            ]
        await self.file.write(*statements)
        ends = time.monotonic() + self.deadline_s
        for number in range(1, _TRIES + 1):
            try:
                batch_id = await _tried(
                    self._api(one).submit(name, lines, lambda: self._state(name, "sending"))
                )
                return await self._state(name, "submitted", batch_id)
            except ProviderError as error:
                if error.in_doubt:
                    return self.errors.update(
                        {name: str(error)}
                    )  # looked for among the provider's batches, below
                busy = error.reason in ("rate_limited", "overloaded") and error.retried
                wait = max(self.poll_s, error.retry_after_s or 0.0)
                if not busy or number == _TRIES or time.monotonic() + wait > ends:
                    return await self._refused(one, name, error)
                await asyncio.sleep(wait)

    async def _refused(self, one, name, error):
        """Close a batch that was not accepted, unless a failing service took it all the same."""
        if error.reason == "unavailable":
            try:
                batch_id, _ = await _tried(self._api(one).find(*self._sought(name)))
            except ProviderError:
                batch_id = None
            if batch_id:
                return await self._state(name, "submitted", batch_id)
        await self._close(one, name, {}, error, "refused")

    async def _collect_all(self, chosen, progress):
        """Look at the open batches until all have ended or the time is over."""
        from tqdm.auto import tqdm

        mine = {packed(one.settings): one for one in chosen}
        sql = "SELECT name, candidate, state, batch_id FROM batches WHERE state IN ('sending', 'submitted')"
        waiting = [row for row in self.file.read(sql) if row[1] in mine]
        sizes = dict(self.file.read("SELECT name, COUNT(*) FROM batch_attempts GROUP BY 1"))
        counts, ends = {}, time.monotonic() + self.deadline_s
        with tqdm(
            total=sum(sizes[row[0]] for row in waiting),
            unit="request",
            disable=not progress,
            leave=False,
        ) as bar:
            while waiting:
                for name, settings, state, batch_id in waiting:
                    counts[name] = await self._step(
                        mine[settings], name, state, batch_id, counts.get(name, {})
                    )
                told = sum((Counter(one) for one in counts.values()), Counter())
                bar.n = told["succeeded"] + told["errored"]
                bar.set_postfix_str(
                    ", ".join(
                        f"{word} {told[word]:,}" for word in ("processing", "succeeded", "errored")
                    )
                )
                waiting = [
                    row
                    for row in self.file.read(sql)
                    if row[1] in mine and self._unreadable[row[0]] < _TRIES
                ]
                left = ends - time.monotonic()
                if waiting and left <= 0:
                    return
                if waiting:
                    await asyncio.sleep(min(self.poll_s, left))

    async def _step(self, one, name, state, batch_id, counts):
        """One look at a batch: find it, or see how far it is, or collect it; its counts."""
        api = self._api(one)
        try:
            if state == "sending":
                found, undecided = await _tried(api.find(*self._sought(name)))
                self._misses[name] += not undecided
                if found:
                    await self._state(name, "submitted", found)
                elif self._misses[name] >= _TRIES:
                    lost = "the batch may have been sent, and the provider lists none like it; ask again with retry"
                    await self._close(
                        one, name, {}, ProviderError("unavailable", lost, in_doubt=True), "lost"
                    )
                return counts
            look = await _tried(api.look(batch_id))
            outcomes, strangers = (
                await self._outcomes(one, name, batch_id) if look.ended else ({}, 0)
            )
        except ProviderError as error:
            self.errors[name] = str(error)
            # Time mends a busy or broken service; a wrong key or an answer that nobody can read wants a person.
            self._unreadable[name] += _TRIES if not error.retried else error.reason == "malformed"
            return counts
        self.errors.pop(name, None)
        if look.ended:
            await self._close(one, name, outcomes, look.missing, "collected", strangers)
        return look.counts

    def _sought(self, name):
        made_at = self.file.read("SELECT made_at FROM batches WHERE name = ?", (name,))[0][0]
        taken = {
            taken
            for (taken,) in self.file.read(
                "SELECT batch_id FROM batches WHERE batch_id IS NOT NULL"
            )
        }
        return name, set(self._requests(name)), datetime.fromisoformat(made_at), taken

    def _requests(self, name):
        """key -> attempt of a batch."""
        return dict(
            self.file.read(
                "SELECT key, id FROM attempts JOIN batch_attempts ON attempt = id WHERE name = ?",
                (name,),
            )
        )

    async def _outcomes(self, one, name, batch_id):
        """key -> Reply or ProviderError, and how many results are of nobody here."""
        asked, outcomes, strangers = self._requests(name), {}, 0
        try:
            async with aclosing(self._api(one).results(batch_id)) as results:
                async for key, result in results:
                    if key not in asked or key in outcomes:
                        strangers += 1
                        continue
                    outcomes[key] = (
                        result
                        if isinstance(result, ProviderError)
                        else await self._read(one, *result)
                    )
        except Exception as error:
            raise failure(error) from None
        return outcomes, strangers

    async def _read(self, one, status, body):
        try:
            return await self._wire(one).reply(status, body)
        except ProviderError as error:
            error.in_doubt &= status < 400  # a failed request of a batch is not billed
            return error

    async def _close(self, one, name, outcomes, missing, state, strangers=0):
        """Store how each request of a batch ended, all together with the batch's own end."""
        statements = []
        for key, row in self._requests(name).items():
            outcome = outcomes.get(key, missing)
            if isinstance(outcome, ProviderError):
                known, in_doubt, result = (
                    0.0,
                    outcome.in_doubt,
                    Result(outcome.reason, None, 0.0, 1, str(outcome)),
                )
            else:
                cost = cost_usd(self.tariffs[one.name], outcome)
                known, in_doubt = cost or 0.0, cost is None
                result = Result(
                    outcome.status,
                    outcome,
                    float("nan") if cost is None else cost,
                    1,
                    flags=model_flag(one, outcome.reported_model),
                )
            statements += [
                (END, (known, result.status, result.error, int(in_doubt), row)),
                result_row(key, result),
            ]
        end = (
            "UPDATE batches SET state = ?, strangers = ? WHERE name = ?",
            (state, strangers, name),
        )
        await self.file.write(*statements, end)

    async def _state(self, name, state, batch_id=None):
        await self.file.write(
            ("UPDATE batches SET state = ?, batch_id = ? WHERE name = ?", (state, batch_id, name))
        )


async def _tried(awaitable):
    """The value, or the SDK's exception as a `ProviderError`."""
    try:
        return await awaitable
    except Exception as error:
        raise failure(error) from None
