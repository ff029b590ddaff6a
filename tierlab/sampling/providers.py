"""Models of any provider behind one protocol: what is asked, what comes back, and what can go wrong.

An adapter (a module of `tierlab.sampling.apis`) turns a `Prompt` into a call of its SDK and the answer into a `Reply`.
It never retries: that is the runner's work, so that every attempt is counted and paid for once. An SDK is imported when
a candidate is connected.
"""

import json
import math
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module

from tierlab.core.untrusted import REPLY_BYTES, shown
from tierlab.core.vocabulary import IN_DOUBT, known, needs, unknown
from tierlab.evaluate.scorers.answers import split_thinking
from tierlab.sampling.store import packed

# provider -> module of its adapter, environment variables that may hold its key
ADAPTERS = {
    "anthropic": ("anthropic", ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")),
    "openai": ("openai", ("OPENAI_API_KEY",)),
    "openai-chat": ("openai", ("OPENAI_API_KEY",)),
    "compatible": ("openai", ()),  # your own server: a key for OpenAI is never sent to it
    "google": ("google", ("GEMINI_API_KEY", "GOOGLE_API_KEY")),
    "replay": ("replay", ()),
}
COMPATIBLE_KEY = "OPENAI_COMPATIBLE_API_KEY"
RETRIED = (
    "rate_limited",
    "overloaded",
    "unavailable",
    "timeout",
    "broken_stream",
    "early_end",
    "malformed",
)

_OVERFLOW = re.compile(
    r"context.?(?:length|window|size|limit)|prompt is too long|maximum (?:context|number of tokens|prompt)|too many tokens|"
    r"exceeds? the (?:available |maximum )?(?:context|number of tokens|token)|input.{0,20}too (?:long|large)",
    re.IGNORECASE,
)
_FILTERED = re.compile(
    r"content.?(?:filter|management.?policy|policy)|usage polic|invalid_prompt|prohibited.?content|"
    r"(?:safety (?:system|filter|reason)|safety polic)",
    re.IGNORECASE,
)
_NO_KEY = re.compile(r"api.?key|credit balance", re.IGNORECASE)
_OF_STATUS = {
    401: "auth",
    402: "auth",
    403: "auth",
    408: "timeout",
    409: "unavailable",
    413: "context_overflow",
    429: "rate_limited",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}
_IN_STREAM = (
    (re.compile("overload", re.IGNORECASE), "overloaded"),
    (re.compile("rate.?limit", re.IGNORECASE), "rate_limited"),
    (_OVERFLOW, "context_overflow"),
    (_FILTERED, "content_filter"),
)
# What a failed connection says, the status of the call, and what to do about it.
_NO_CONNECTION = (
    (
        re.compile("SSL"),
        "wrong_address",
        "no secure connection (TLS) to {place}; is base_url http where it says https, or a proxy in between? ({said})",
    ),
    (
        re.compile("gaierror|Name or service not known|name resolution"),
        "wrong_address",
        "the host name of {place} is not known (DNS): check base_url and the network",
    ),
    (
        re.compile("ConnectionRefused|refused"),
        "unavailable",
        "connection refused: nothing listens at {place}; is the server running?",
    ),
)
_TRUTH_AS_COUNT = re.compile(
    rb'"(?:(?:input|output|prompt|completion|cached?|cache_\w+|reasoning|thinking)_tokens|\w+TokenCount)"\s*:\s*(?:true|false)'
)
_KEY_LIKE = re.compile(
    r"\b(?:sk|pk|rk|key|gsk|xai)-[\w-]{8,}|\bAIza[\w-]{10,}|\bBearer\s+\S+|\bya29\.[\w.-]+|(?<=://)[^/\s@]+(?=@)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Candidate:
    """A model with its settings, to be compared with others.

    Attributes
    ----------
    provider : {"anthropic", "openai", "openai-chat", "compatible", "google", "replay"}
        "openai" is the Responses API, "openai-chat" OpenAI's Chat Completions, "compatible" any server that speaks Chat
        Completions at `base_url`, "replay" recorded samples.
    model_id : str
        As the provider spells it.
    effort : str, optional
        Reasoning effort ("low", "high", ...), "none" to switch reasoning off, or a number of thinking tokens.
    base_url : str, optional
        By default the address in the SDK's own environment variable, or the provider's.
    extra_output_tokens : int
        Tokens added to each example's limit as room for reasoning, which counts as output. Without it a model that
        thinks first is cut off.
    temperature : float, optional
        By default the provider's.
    usd_per_mtok : (float, float), optional
        Input and output price, USD per million tokens, of a model that the prices table lacks; (0, 0) for your own
        server.
    usd_per_hour : float
        Price of the machine that serves the model, USD per hour, for the time that each answer takes.
    path : str, optional
        The recorded samples, for "replay".
    label : str, optional
        Name in tables; by default the model id with its effort.

    Examples
    --------
    >>> Candidate("openai", "gpt-6-luna", effort="low").name
    'gpt-6-luna (effort low)'
    """

    provider: str
    model_id: str
    effort: str | None = None
    base_url: str | None = None
    extra_output_tokens: int = 0
    temperature: float | None = None
    usd_per_mtok: tuple | None = None
    usd_per_hour: float = 0.0
    path: str | None = None
    label: str | None = None

    def __post_init__(self):
        known("provider", self.provider, ADAPTERS)
        if self.provider == "compatible":
            address = "the address of the compatible server, such as http://127.0.0.1:11434/v1,"
            needs(f"{self.model_id}: base_url", self.base_url, self.base_url, address)
        if self.provider == "replay":
            what = "the path of the recorded samples"
            needs(f"{self.model_id}: path", self.path, self.path, what)
        counted = self.provider == "anthropic" and (self.effort or "").isdecimal()
        least, room = int(self.effort) if counted else 0, self.extra_output_tokens
        enough = f"a number from {least} up (thinking counts as output)"
        needs(f"{self.model_id}: extra_output_tokens", room, room >= least, enough)

    @property
    def name(self):
        """The name in tables."""
        return self.label or self.model_id + (f" (effort {self.effort})" if self.effort else "")

    def output_limit(self, prompt):
        """Return the limit on output tokens sent with a prompt: its own and the room for reasoning."""
        limit = prompt.max_output_tokens + self.extra_output_tokens
        # 16 is the lowest limit that the Responses API accepts.
        return max(16, limit) if self.provider == "openai" else limit

    @property
    def settings(self):
        """What the answer depends on, for the store's key: the recording of a replay counts, an address does not."""
        return [
            self.provider,
            self.model_id,
            self.effort,
            self.extra_output_tokens,
            self.temperature,
            self.label,
            *([str(self.path)] if self.provider == "replay" else []),
        ]


def candidate(text: Candidate | str) -> Candidate:
    """Read a candidate from text: ``provider:model``, then settings after commas. A `Candidate` is returned as it is.

    Examples
    --------
    >>> candidate("anthropic:claude-opus-4-8,effort=high,extra_output_tokens=4000").extra_output_tokens
    4000
    >>> candidate("compatible:smollm2,base_url=http://127.0.0.1:8080/v1,usd_per_mtok=0/0").usd_per_mtok
    (0.0, 0.0)
    """
    if isinstance(text, Candidate):
        return text
    head, *settings = text.split(",")
    provider, colon, model_id = head.partition(":")
    if not colon or not model_id:
        raise ValueError(
            f"{text!r} is not a candidate; write provider:model, with a provider of {', '.join(ADAPTERS)}"
        )
    readers = {
        "effort": str,
        "base_url": str,
        "path": str,
        "label": str,
        "extra_output_tokens": int,
        "temperature": float,
        "usd_per_hour": float,
        "usd_per_mtok": lambda pair: tuple(float(part) for part in pair.split("/")),
    }
    values = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in readers:
            raise ValueError(f"{text!r}: {unknown('setting', name, readers)}")
        try:
            values[name] = readers[name](value)
        except ValueError:
            raise ValueError(f"{text!r}: {value!r} is not a value of {name}") from None
    return Candidate(provider, model_id, **values)


@dataclass(frozen=True)
class Prompt:
    """What a model is asked.

    Attributes
    ----------
    messages : tuple of {"role", "content"}
    system : str, optional
        System prompt.
    tools : tuple of {"name", "description", "parameters"}
        `parameters` is a JSON schema.
    schema : mapping, optional
        JSON schema that the reply has to follow.
    max_output_tokens : int
        Limit on the answer, without the room for reasoning.
    """

    messages: tuple
    system: str | None = None
    tools: tuple = ()
    schema: Mapping | None = None
    max_output_tokens: int = 512

    @classmethod
    def of(cls, message, *more, **named):
        """Make a prompt from a user's message or a conversation; the further arguments are the fields above."""
        one = isinstance(message, str)
        return cls(
            ({"role": "user", "content": message},) if one else tuple(message), *more, **named
        )

    @property
    def sent(self):
        """Everything that the model reads, as one text whose tokens can be counted."""
        return packed([self.system, self.messages, self.tools, self.schema])

    @property
    def text(self):
        """The only message, or all messages with their roles, as one text."""
        if len(self.messages) == 1:
            return self.messages[0]["content"]
        return "\n\n".join(f"{message['role']}: {message['content']}" for message in self.messages)

    @property
    def most_input_tokens(self):
        """An upper bound on its input tokens without a tokenizer, since a token stands for at least a byte of text.

        Chat mark-up adds a few tokens per message, and a provider's own instructions for tools add some hundred.
        """
        texts = [self.system or "", *(message["content"] for message in self.messages)]
        given = [*self.tools, *([self.schema] if self.schema else [])]
        extras = [json.dumps(part, ensure_ascii=False) for part in given]
        size = sum(len(text.encode()) for text in (*texts, *extras))
        return size + 32 * (len(self.messages) + 1) + (1000 if extras else 0)


@dataclass(frozen=True)
class Reply:
    """A model's answer.

    Attributes
    ----------
    text : str
        The answer without the thinking that a model wrote into it.
    tool_calls : tuple of (name, arguments)
        Arguments are the JSON text that the model wrote.
    stop : {"stop", "length", "refusal", "content_filter"}
        Why the answer ended.
    stop_reason : str
        The same in the provider's own words.
    tokens : mapping of str to int, or None
        The five buckets and reasoning_tokens; None if the server reports no usage, or a faulty one.
    reported_model : str
        The model that the server names.
    ttft_s, end_to_end_s : float
        Seconds from sending to the first non-empty token (NaN if not streamed) and to the end.
    source : {"measured", "recorded"}
    recorded_usd : float or None
        Cost of a recorded answer when it was made, USD.
    usage_fault : str
        What is wrong with the reported usage, or "".
    thinking : str
        The text between ``<think>`` and ``</think>``. If nothing closes it, the reply is truncated.
    """

    text: str
    tool_calls: tuple
    stop: str
    stop_reason: str
    tokens: Mapping | None
    reported_model: str
    ttft_s: float = float("nan")
    end_to_end_s: float = float("nan")
    source: str = "measured"
    recorded_usd: float | None = None
    usage_fault: str = ""
    thinking: str = ""

    def __post_init__(self):
        # A lone surrogate, where a token limit cut a character in half, cannot be written to a file.
        calls = tuple((_whole(name), _whole(given)) for name, given in self.tool_calls)
        text, thinking, thought = split_thinking(_whole(self.text))
        cleaned = {
            "text": text,
            "thinking": _whole(self.thinking) or thinking,
            "stop": self.stop if thought or self.stop != "stop" else "length",
            "tool_calls": calls,
            "reported_model": shown(self.reported_model or ""),
            "stop_reason": shown(self.stop_reason or ""),
        }
        for name, value in cleaned.items():
            object.__setattr__(self, name, value)

    @property
    def status(self):
        """The status of the call, one of `tierlab.core.vocabulary.ANSWERED`."""
        special = {"length": "truncated", "refusal": "refused", "content_filter": "content_filter"}
        return special.get(self.stop) or ("ok" if self.text.strip() or self.tool_calls else "empty")


class UsageFault(ValueError):
    """A reported usage that cannot be priced."""


def part(usage, *path):
    """Return what a server's usage holds at a path of names; None where it holds nothing.

    Raises
    ------
    UsageFault
        If anything on the way is not an object.
    """
    for name in path:
        if usage is None:
            return None
        if not isinstance(usage, Mapping):
            raise UsageFault(f"usage: {shown(repr(usage), 60)} is not an object with {name}")
        usage = usage.get(name)
    return usage


def count(usage, *path):
    """Return the number of tokens at a path of names of a server's usage; 0 where it holds nothing.

    Raises
    ------
    UsageFault
        If it is not a finite whole number from 0 up, small enough to be exact in every table.
    """
    value = part(usage, *path)
    if value is None:
        return 0
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or not 0 <= value < 2**53:
        raise UsageFault(
            f"usage: {path[-1]} is {shown(repr(value), 60)}; a whole number from 0 up is needed"
        )
    return int(value)


def counted(buckets, usage, *names):
    """Return the tokens that an API's `buckets` reads from its usage, or what is wrong with it, as fields of a `Reply`."""
    if hasattr(usage, "model_dump"):  # a model of the SDK
        usage = usage.model_dump(exclude_none=True, warnings=False)
    try:
        return {"tokens": buckets(usage, *names)}
    except UsageFault as fault:
        return {"tokens": None, "usage_fault": str(fault)}


class ProviderError(Exception):
    """An attempt without an answer.

    Attributes
    ----------
    reason : str
        One of `tierlab.core.vocabulary.FAILURES`.
    retry_after_s : float or None
        Seconds that the server asks to wait.
    retried : bool
        Whether another attempt can help.
    in_doubt : bool
        Whether the provider may bill the attempt.
    """

    def __init__(self, reason, message="", *, retry_after_s=None, retried=None, in_doubt=None):
        super().__init__(scrubbed(message))
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.retried = reason in RETRIED if retried is None else retried
        self.in_doubt = reason in IN_DOUBT if in_doubt is None else in_doubt


def filled(**arguments):
    """Return the arguments of an SDK's call that are not empty."""
    return {name: value for name, value in arguments.items() if value not in (None, [], {})}


def stop_of(word, stops):
    """Return what a provider's stop reason means, one of the values of `Reply.stop`."""
    if word is None:
        raise ProviderError("early_end", "the answer ended without a stop reason")
    if word not in stops:
        raise ProviderError("malformed", f"unknown stop reason {word!r}")
    return stops[word]


class Stopwatch:
    """The times of one attempt, which starts when the watch is made."""

    def __init__(self):
        self.started, self.begun, self._first = time.perf_counter(), False, math.nan

    def first(self, piece):
        """Note that a piece of the answer has come, and the time of the first that is not empty."""
        self.begun = True
        if piece and math.isnan(self._first):
            self._first = time.perf_counter() - self.started

    def timed(self, reply):
        """Return the reply with its times; it ends now."""
        return replace(reply, ttft_s=self._first, end_to_end_s=time.perf_counter() - self.started)


class Adapter:
    """The part that adapters share: one attempt, timed, with every failure as a `ProviderError`."""

    def __init__(self, client):
        self.client = client

    async def answer(self, prompt, chosen, stream=True):
        """Make one attempt; return a `Reply`, or raise a `ProviderError`."""
        watch = Stopwatch()
        try:
            arguments = self.request(prompt, chosen)
            answered = self.streamed(arguments, watch) if stream else self.whole(arguments)
            return watch.timed(await answered)
        except Exception as error:
            found = failure(error)
            found.in_doubt |= watch.begun  # what had begun to answer may be billed
            raise found from None

    async def close(self):
        """Close the connections."""
        await self.client.close()


def connect(chosen, *, timeout_s=120.0, transport=None):
    """Return the adapter that answers for a candidate: an `Adapter`, or an object with its two methods.

    Raises
    ------
    ValueError
        If the key is missing; the message names the environment variable.
    """
    module, variables = ADAPTERS[chosen.provider]
    if variables and not any(os.environ.get(name) for name in variables):
        raise ValueError(
            f"{chosen.name}: set the environment variable {' or '.join(variables)}, or choose a replay or a local model"
        )
    api = import_module(f"tierlab.sampling.apis.{module}")
    return api.connect(chosen, timeout_s=timeout_s, transport=transport)


def http_client(timeout_s, transport=None):
    """Return the HTTP client that all SDKs use, so that a broken connection is the same error everywhere."""
    import httpx2

    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, 10.0)),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=256),
        transport=transport,
        event_hooks={"response": [_looked_at]},
        follow_redirects=False,
        headers={"accept-encoding": "identity"},  # so that the bound on bytes is one on the content
    )


async def _looked_at(response):
    """Refuse, before an SDK reads it, what is not a model's answer (a redirect, a web page) or is too large."""
    if 300 <= response.status_code < 400:
        target = shown(response.headers.get("location", "nowhere"))
        raise ProviderError(
            "wrong_address",
            f"{response.request.url.host} redirects ({response.status_code}) to {target}; redirects are not followed, so that a key "
            "goes nowhere else: if that is the right server, give its address as base_url",
        )
    kind = response.headers.get("content-type", "").split(";")[0].strip().lower()
    if response.status_code < 300 and kind in ("text/html", "application/xhtml+xml"):
        raise ProviderError(
            "wrong_address",
            f"{response.request.url.host} answers with a page of HTML (status {response.status_code}), not as a model does: a proxy or "
            "a log-in page is in between, or base_url lacks its path (often /v1)",
        )
    if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise ProviderError(
            "malformed",
            "the reply is compressed although the request did not allow it",
            retried=False,
        )
    response.stream = _bounded(response)


def _bounded(response):
    """The stream of a response, which fails at too many bytes and at a count of tokens that is true or false."""
    import httpx2

    given = response.stream

    class Bounded(httpx2.AsyncByteStream):
        async def __aiter__(self):
            size, tail = 0, b""
            async for piece in given:
                size += len(piece)
                if size > REPLY_BYTES:
                    raise ProviderError(
                        "malformed",
                        f"the reply has more than {REPLY_BYTES >> 20} MiB",
                        retried=False,
                    )
                tail = tail[-80:] + piece
                if _TRUTH_AS_COUNT.search(tail):  # an SDK would make 1 and 0 of them
                    raise ProviderError(
                        "malformed", "usage: a count of tokens is true or false", retried=False
                    )
                yield piece

        async def aclose(self):
            await given.aclose()

    return Bounded()


def failure(error):
    """Turn an SDK's exception into a `ProviderError`.

    All SDKs use the same transport, but only some wrap its errors, so the whole chain of causes is read.
    """
    import httpx2

    chain, link = [], error
    while link is not None and len(chain) < 10:
        chain.append(link)
        link = link.__cause__ or link.__context__
    if ours := next((link for link in chain if isinstance(link, ProviderError)), None):
        return ours
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    if isinstance(status, int) and status >= 400:
        return _refused(error, status)
    if any(isinstance(link, httpx2.ConnectError) for link in chain):
        return _not_connected(chain)
    kinds = (
        ((httpx2.ConnectTimeout, httpx2.PoolTimeout), "unavailable"),
        ((httpx2.TimeoutException, TimeoutError), "timeout"),
        ((httpx2.RemoteProtocolError, httpx2.NetworkError, ConnectionError), "broken_stream"),
    )
    message = f"{type(error).__name__}: {error}"
    for kind, reason in kinds:
        if any(isinstance(link, kind) for link in chain):
            return ProviderError(reason, message)
    body = getattr(error, "body", None)
    if isinstance(body, Mapping):  # an error event inside a stream
        return stream_error(str(body), message)
    return ProviderError("malformed", message)


def _not_connected(chain):
    """The error of a connection that was not made: nothing was sent, so nothing can be billed."""
    request = next((link.request for link in chain if getattr(link, "_request", None)), None)
    place = (
        f"{request.url.host}:{request.url.port or request.url.scheme}" if request else "the server"
    )
    said = shown(" ".join(f"{type(link).__name__}: {link}" for link in chain), 2000)
    for pattern, reason, words in _NO_CONNECTION:
        if pattern.search(said):
            return ProviderError(reason, words.format(place=place, said=said))
    return ProviderError("unavailable", f"no connection to {place}: {chain[0]}")


def stream_error(kind, message):
    """Return the error that an event in the middle of a stream stands for; the provider may bill what it had begun."""
    reason = next(
        (reason for pattern, reason in _IN_STREAM if pattern.search(kind)), "broken_stream"
    )
    return ProviderError(reason, message, in_doubt=True)


def _refused(error, status):
    message = f"{status}: {getattr(error, 'message', None) or error}"
    body = f"{message} {getattr(error, 'body', '')} {getattr(error, 'type', '')}"
    reason = _OF_STATUS.get(status) or ("unavailable" if status >= 500 else "bad_request")
    if reason in ("bad_request", "unavailable") and _OVERFLOW.search(body):
        reason = "context_overflow"
    elif status == 400 and _NO_KEY.search(body):
        reason = "auth"
    elif reason == "bad_request" and status != 404 and _FILTERED.search(body):
        reason = "content_filter"
    retried = False if "insufficient_quota" in body else None
    return ProviderError(reason, message, retry_after_s=_retry_after(error), retried=retried)


def _retry_after(error):
    """Seconds that the server asks for: in a header, or in the body as Google does."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    in_body = re.search(r"retryDelay\W+([\d.]+)s", str(getattr(error, "details", "")))
    for text, unit in (
        (headers.get("retry-after-ms"), 1e-3),
        (headers.get("retry-after"), 1.0),
        (in_body and in_body[1], 1.0),
    ):
        with suppress(TypeError, ValueError):
            return max(0.0, float(text) * unit)
    return None


def scrubbed(text):
    """Return a message of at most 500 characters without the keys that are set or anything that looks like a key."""
    text = str(text)[:10_000]
    for name in {COMPATIBLE_KEY, *(name for _, names in ADAPTERS.values() for name in names)}:
        if len(value := os.environ.get(name, "")) >= 6:
            text = text.replace(value, "[key]")
    return shown(_KEY_LIKE.sub("[key]", text[:20_000]), 500)


def _whole(text):
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
