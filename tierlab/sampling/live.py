"""A routing policy in front of real models: the article's two-tier router, with all that a real one needs.

The policy is the same object that `tierlab.route` runs offline. What it looks at and only a model can say (a
classifier's reply, a judge's score) is asked for when it looks, and paid for only then.
"""

import asyncio
import threading
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from tierlab.core.vocabulary import STATUSES, unknown
from tierlab.prices.catalog import load_prices
from tierlab.routing.policies import draw
from tierlab.sampling.live_calls import (
    TABLE,
    Asked,
    Asking,
    Caller,
    Request,
    Spent,
    check_policy,
    classifier_prompt,
    labels_of,
    load_log,
    score_statements,
)
from tierlab.sampling.providers import Prompt, candidate
from tierlab.sampling.run import check_keys, check_numbers, tariffs_of
from tierlab.sampling.runner import Ledger, Runner
from tierlab.sampling.store import Store, packed

_GIVEN = ("prompt", "prompt_chars", "prompt_id", "seed", "user", "task", "at")
_MOST_STEPS = 50
_REQUEST = "INSERT INTO routed_requests (prompt_id, request) VALUES (?, ?)"
_DECISION = "UPDATE routed_requests SET decision = ? WHERE prompt_id = ?"


class LiveRouter:
    """Answer requests through a routing policy, within a budget, with a log that the routing lab reads back.

    Parameters
    ----------
    policy : Policy
        From `tierlab.routing.policies`, `tierlab.routing.policies` or `tierlab.routing.text_router`, or any object with their method.
    models : mapping of str to Candidate or str
        Name that the policy uses -> model, such as ``{"small": "anthropic:claude-haiku-4-5"}``. A second provider is
        a name of its own, for `Fallback` to name: ``"flagship@google"``.
    budget_usd : float
        The most that everything in the store may cost together. What could cost more is not sent.
    store : path
        sqlite3 file; a router that is started again goes on from it, budgets of users included.
    prices : Prices, optional
        By default the maintained catalogue.
    classifier : Candidate or str, optional
        Says the feature `classifier_reply` for `LLMClassifier`. A reply that is not clearly one of the labels, and a
        classifier that fails, send the request to the safer tier.
    judge : Candidate, str or callable, optional
        Says the `judge_score` of an answer for `Cascade`: a model by a rubric, or ``judge(features, answer)`` -> 0-1.
        An answer whose judge fails is not accepted.
    rubric : str or sequence of str
        What the judge shall look at.
    features : mapping of str to callable, optional
        Further features, each worked out from the text of every request: ``{"router_signal": score}``.
    context_windows : mapping of str to int, optional
        Name -> input tokens that the model takes; by default from the prices table. A longer input is not sent.
    explore : float
        Share of requests, 0-1, for which all other models are asked too, in the background, so that the log holds
        the answers of every model to them. Users' budgets are not charged for it; `budget_usd` is.
    seed : int
        Of policies that draw, and of exploring.
    keep_prompts : bool
        Whether the store keeps the text of requests. It keeps the answers in any case.
    classifier_question : callable
        In place of `classifier_prompt`.
    attempts, deadline_s, concurrency, stream, transport
        As for `tierlab.sample`.
    provenance : str
        Kept with every row of the log.

    Raises
    ------
    ValueError
        Before anything is sent: no price or key for a model, a name in the policy that is not among the models, a
        policy that cannot run live, a file in use. Later for misuse alone: a missing feature, a prompt_id used twice.

    Notes
    -----
    A request does not raise because a model failed: its `RoutedReply` has the status. For the policy every call that
    gave no complete answer has failed: refused, empty, filtered, truncated, not sent.

    Calls run on an event loop in a thread of the router's own, so that `answer` works in a notebook and connections
    last. `close` it, or use it in a ``with``.

    What a request costs is known at its end: requests that run at the same time do not see each other in the users'
    budgets. A call that may be billed counts there at the most it can cost.

    Examples
    --------
    >>> import tierlab as tl  # doctest: +SKIP
    >>> policy = tl.routing.policies.LLMClassifier({"simple": "small", "complex": "flagship"})  # doctest: +SKIP
    >>> models = {"small": "anthropic:claude-haiku-4-5", "flagship": "anthropic:claude-opus-4-8"}  # doctest: +SKIP
    >>> options = {"classifier": models["small"], "budget_usd": 5, "store": "live.sqlite"}  # doctest: +SKIP
    >>> with tl.LiveRouter(policy, models, **options) as router:  # doctest: +SKIP
    ...     router.answer("Which day follows Monday?", user="ann").text
    """

    def __init__(
        self,
        policy,
        models,
        *,
        budget_usd,
        store,
        prices=None,
        classifier=None,
        judge=None,
        rubric=(),
        features=None,
        context_windows=None,
        explore=0.0,
        seed=0,
        keep_prompts=False,
        classifier_question=classifier_prompt,
        concurrency=8,
        attempts=2,
        deadline_s=60.0,
        stream=False,
        provenance="",
        transport=None,
    ):
        if not 0 <= explore <= 1:
            raise ValueError(f"explore is {explore!r}; a share from 0 to 1 is needed")
        check_numbers(budget_usd, concurrency=concurrency, attempts=attempts, deadline_s=deadline_s)
        self.policy, self.seed, self.explore, self.keep_prompts = (
            policy,
            seed,
            explore,
            keep_prompts,
        )
        self.models = {name: _candidate(one) for name, one in models.items()}
        self.features = dict(features or {})
        judge, classifier = judge if callable(judge) else _candidate(judge), _candidate(classifier)
        check_policy(policy, self.models, judge)
        prices = load_prices("maintained") if prices is None else prices
        asked = _distinct([*self.models.values(), classifier, judge])
        tariffs, windows = (
            tariffs_of(asked, prices),
            _windows(self.models, prices, context_windows or {}),
        )
        check_keys(asked)
        self._provenance = "; ".join(
            filter(None, (provenance, f"{prices.source}, as of {prices.as_of:%Y-%m-%d}"))
        )
        self.file = Store(store)
        try:
            self.file.write_now((TABLE, ()))
            self._spent = Spent(policy, self.file.path)
            ledger = Ledger(budget_usd, *self.file.spend())
            runner = Runner(
                self.file,
                tariffs,
                ledger,
                concurrency,
                attempts,
                deadline_s,
                stream,
                seed,
                transport,
            )
            for one in asked:
                runner.adapter(
                    one
                )  # what cannot be reached at all is said now, and SDKs are slow to import
            self._number = self.file.read("SELECT COUNT(*) FROM routed_requests")[0][0]
        except BaseException:
            self.file.close()
            raise
        labels = labels_of(policy)
        self._caller = Caller(
            runner, self.models, windows, labels, classifier, classifier_question, judge, rubric
        )
        self._under_way, self._answering, self._exploring = set(), set(), set()
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Wait for requests under way and for what explores in the background, and close connections and file."""
        if self._closed:
            return
        self._closed = True
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.file.close()

    def answer(
        self,
        message,
        *,
        user=None,
        task=None,
        system=None,
        tools=(),
        schema=None,
        max_output_tokens=1024,
        prompt_id=None,
        at=None,
        **features,
    ):
        """Answer one request.

        Parameters
        ----------
        message : str or sequence of {"role", "content"}
            The user's message, or a conversation that the user ends.
        user, task : str, optional
            Features for budgets and rules; in the log.
        system, tools, schema, max_output_tokens
            As in `tierlab.sampling.examples.Example`.
        prompt_id : str or int, optional
            By default a number of the log's own.
        at : time, optional
            Of the request, UTC; by default now.
        **features
            Further features that the policy looks at: text, numbers, booleans.

        Returns
        -------
        RoutedReply
        """
        named = {"user": user, "task": task, "prompt_id": prompt_id, "at": at}
        prompt = _prompt(message, system, tools, schema, max_output_tokens)
        under_way = self._started(prompt, named, features)
        try:
            return under_way.result()
        except KeyboardInterrupt:
            under_way.cancel()
            raise

    async def aanswer(
        self, message, *, system=None, tools=(), schema=None, max_output_tokens=1024, **named
    ):
        """`answer` for asynchronous code."""
        prompt = _prompt(message, system, tools, schema, max_output_tokens)
        about = {name: named.pop(name, None) for name in ("user", "task", "prompt_id", "at")}
        return await asyncio.wrap_future(self._started(prompt, about, named))

    def score(self, prompt_id, score, *, name=None):
        """Keep a score, 0-1, of the answer that stands, or of the answer of the model called `name`."""
        self.file.write_now(*score_statements(self.file, [(prompt_id, name, score)], self.models))

    def log(self, scores=None):
        """The decision log as an outcomes table (`load_log`), after what explores in the background has ended.

        Parameters
        ----------
        scores : Series, optional
            Scores 0-1 to keep: by prompt_id for the answers that stand, or by (prompt_id, name or model_id).
        """
        asyncio.run_coroutine_threadsafe(self._settled(), self._loop).result()
        if scores is not None and len(scores):
            names = {one.name: name for name, one in self.models.items()}
            pairs = (
                key if isinstance(key, tuple) else (key, None) for key in scores.index.tolist()
            )
            given = [
                (p, names.get(name, name), s)
                for (p, name), s in zip(pairs, scores.tolist(), strict=True)
            ]
            self.file.write_now(*score_statements(self.file, given, self.models))
        return load_log(self.file.path)

    def _started(self, prompt, named, features):
        if self._closed:
            raise ValueError("the router has been closed")
        under_way = asyncio.run_coroutine_threadsafe(
            self._route(prompt, named, features), self._loop
        )
        self._answering.add(under_way)
        under_way.add_done_callback(self._answering.discard)
        return under_way

    async def _route(self, prompt, named, features):
        """Let the policy name models until it stops; what it decided is on disk before the reply is given."""
        request = await self._begin(prompt, named, features)
        try:
            await self._decided(request)
        except Exception as error:
            request.status, request.reason = "raised", f"raised {type(error).__name__}"
            raise
        finally:
            self._under_way.discard(request.key)
            self._spent.add(request.features, request.charged_usd + request.stated_usd)
            await self.file.write((_DECISION, (packed(request.decision), request.key)))
        if self.explore and draw(request.features, "explore") < self.explore:
            self._explore(request)
        return request.reply

    async def _decided(self, request):
        while True:
            request.asked, request.note = False, ""
            choice = await self._choice(request)
            if not request.asked:  # what the router asked itself is paid for as measured
                request.stated_usd += float(choice.cost_usd)
                request.seconds += float(choice.seconds)
            if choice.name is not None or not request.answers:
                request.reason = str(choice.reason) + (f" ({request.note})" if request.note else "")
            if choice.name is None:
                return
            if choice.name not in self.models:
                raise ValueError(unknown("model", choice.name, self.models))
            if len(request.answers) == _MOST_STEPS:
                raise ValueError(
                    f"the policy has named {_MOST_STEPS} models for one request and does not stop"
                )
            if request.answers and request.answers[-1]["detail"] not in STATUSES:
                request.reason += (
                    f" ({request.answers[-1]['name']}: {request.answers[-1]['detail']})"
                )
            await self._caller.answered(request, choice.name)

    async def _begin(self, prompt, named, features):
        """Check a request and write it down."""
        if reserved := [name for name in features if name in _GIVEN]:
            raise ValueError(f"the feature {reserved[0]!r} is the router's own")
        given = {
            name: await asyncio.to_thread(work, prompt.text)
            for name, work in self.features.items()
            if name not in features
        }
        given |= features
        given = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in given.items()
        }
        for name, value in given.items():
            if not isinstance(value, str | int | float | bool | None):
                raise ValueError(
                    f"the feature {name!r} is {type(value).__name__}; text, a number or a boolean is needed"
                )
        caller = self._caller
        if caller.labels and caller.classifier is None and "classifier_reply" not in given:
            raise ValueError(
                "the policy needs a classifier's reply: give LiveRouter(classifier=...), or the feature"
            )
        at = pd.Timestamp(datetime.now(UTC) if named["at"] is None else named["at"])
        at = at.tz_convert(None) if at.tz is not None else at
        about = {"user": named["user"], "task": named["task"], "prompt_chars": len(prompt.text)}
        spent = self._spent.features(about | given | {"at": at})
        prompt_id = self._new_id(named["prompt_id"])
        key, more = packed(prompt_id), {"prompt": prompt.text} if self.keep_prompts else {}
        more |= {
            "at": at.isoformat(),
            "prompt_id": prompt_id,
            "features": given,
            "provenance": self._provenance,
        }
        await self.file.write((_REQUEST, (key, packed(about | more))))
        known = (
            about
            | given
            | spent
            | {"at": at, "prompt": prompt.text, "prompt_id": prompt_id, "seed": self.seed}
        )
        ask = (
            ("classifier_reply", "classifier_cost_usd", "classifier_s") if caller.classifier else ()
        )
        return Request(key, prompt_id, prompt, Asking(known, ask))

    def _new_id(self, prompt_id):
        """A prompt_id that no request of the store has."""
        if isinstance(prompt_id, np.generic):
            prompt_id = prompt_id.item()
        if prompt_id is not None and (
            isinstance(prompt_id, bool) or not isinstance(prompt_id, str | int)
        ):
            raise ValueError(f"prompt_id is {prompt_id!r}; a text or a whole number is needed")
        wanted = prompt_id
        while True:
            if prompt_id is None:
                self._number += 1
                wanted = f"live-{self._number:06d}"
            key = packed(wanted)
            used = self.file.read("SELECT 1 FROM routed_requests WHERE prompt_id = ?", (key,))
            if key not in self._under_way and not used:
                self._under_way.add(key)
                return wanted
            if prompt_id is not None:
                raise ValueError(f"prompt_id {prompt_id!r} has been used in this log")

    async def _choice(self, request):
        """What the policy decides; what it looks at and nobody has said yet is asked first."""
        while True:
            try:
                return self.policy.choose(request.features, request.answers)
            except Asked as asked:
                request.asked = True
                if asked.name == "judge_score":
                    await self._caller.judged(request, asked.of)
                else:
                    await self._caller.classified(request)

    def _explore(self, request):
        called = {answer["name"] for answer in request.answers}
        for name, chosen in self.models.items():
            if name not in called:
                task = self._loop.create_task(
                    self._caller.ask(request, "explored", name, chosen, request.prompt)
                )
                self._exploring.add(task)
                task.add_done_callback(self._exploring.discard)

    async def _settled(self):
        while self._exploring:
            await asyncio.gather(*self._exploring)

    async def _end(self):
        await asyncio.gather(
            *map(asyncio.wrap_future, list(self._answering)), return_exceptions=True
        )
        await self._settled()
        await self._caller.runner.close()


def _candidate(one):
    return candidate(one) if isinstance(one, str) else one


def _distinct(asked):
    """Every candidate once; a model may also classify or judge, but one name stands for one candidate."""
    found = {}
    for one in asked:
        if one is not None and not callable(one) and found.setdefault(one.name, one) != one:
            raise ValueError(f"two different candidates are called {one.name!r}; give one a label")
    return list(found.values())


def _prompt(message, system, tools, schema, max_output_tokens):
    messages = (
        ({"role": "user", "content": message},) if isinstance(message, str) else tuple(message)
    )
    return Prompt(messages, system, tuple(tools), schema, max_output_tokens)


def _windows(models, prices, given):
    """Input tokens that each model takes, by name, where that is known."""
    for name in given:
        if name not in models:
            raise ValueError("context_windows: " + unknown("model", name, models))
    listed = prices.in_force().drop_duplicates("model_id").set_index("model_id")["context_window"]
    found = {}
    for name, one in models.items():
        try:
            window = listed.get(prices.resolve(one.model_id))
        except ValueError:
            window = None  # a model that brings its own price
        if window is not None and not np.isnan(window):
            found[name] = int(window)
    return found | dict(given)
