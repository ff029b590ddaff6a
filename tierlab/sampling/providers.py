"""Models of any provider behind one protocol: what is asked, what comes back, and what can go wrong.

An adapter (a module of `tierlab.sampling.apis`) turns a `Prompt` into its SDK's call and the answer into a `Reply`. It
never retries: the runner owns the loop, so that every attempt is counted and paid for once. SDKs are imported when a
candidate is connected.
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

# provider -> module of its adapter, environment variables that may hold the key
ADAPTERS = {
    "anthropic": ("anthropic", ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")),
    "openai": ("openai", ("OPENAI_API_KEY",)),
    "openai-chat": ("openai", ("OPENAI_API_KEY",)),
    "compatible": ("openai", ()),  # a server of your own: a key for OpenAI is never sent to it
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
# What errors of a connection say, the status of the call, and what to do.
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
    """One model with its settings, as it is to be compared with others.

    Attributes
    ----------
    provider : {"anthropic", "openai", "openai-chat", "compatible", "google", "replay"}
        "openai" is the Responses API; "compatible" any server that speaks Chat Completions at `base_url`.
    model_id : str
        As the provider spells it.
    effort : str, optional
        Reasoning effort ("low", "high", ...), "none" to switch reasoning off, or a number of thinking tokens.
    base_url : str, optional
        By default the SDK's own environment variable, or the provider's address.
    extra_output_tokens : int
        Added to each example's limit: room for reasoning, which counts as output. Without it a model that thinks first
        is cut off.
    temperature : float, optional
    usd_per_mtok : (float, float), optional
        Input and output price of a model that the prices table lacks; (0, 0) for a server of your own.
    usd_per_hour : float
        Price of the machine that serves it, for the time that each answer takes.
    path : str, optional
        For "replay": the recorded samples.
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
        address = "the address of the compatible server, such as http://127.0.0.1:11434/v1,"
        found = self.base_url or self.provider != "compatible"
        needs(f"{self.model_id}: base_url", self.base_url, found, address)
        found = self.path or self.provider != "replay"
        needs(f"{self.model_id}: path", self.path, found, "the path of the recorded samples")
        counted = self.provider == "anthropic" and (self.effort or "").isdecimal()
        least = int(self.effort) if counted else 0
        enough = f"a number from {least} up (thinking counts as output)"
        room = self.extra_output_tokens
        needs(f"{self.model_id}: extra_output_tokens", room, room >= least, enough)

    @property
    def name(self):
        """Name in tables."""
        return self.label or self.model_id + (f" (effort {self.effort})" if self.effort else "")

    def output_limit(self, prompt):
        """The limit on output tokens that is sent with a prompt: its own and the room for reasoning."""
        limit = prompt.max_output_tokens + self.extra_output_tokens
        # 16 is the least that the Responses API takes.
        return max(16, limit) if self.provider == "openai" else limit

    @property
    def settings(self):
        """What decides the answer, for the store's key: not the address, but the recording of a replay."""
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
    """A candidate from one line of text: ``provider:model``, then settings after commas; a `Candidate` stays itself.

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
    tools : tuple of {"name", "description", "parameters"}
        `parameters` is a JSON schema.
    schema : mapping, optional
        JSON schema that the reply has to follow.
    max_output_tokens : int
    """

    messages: tuple
    system: str | None = None
    tools: tuple = ()
    schema: Mapping | None = None
    max_output_tokens: int = 512

    @classmethod
    def of(cls, message, *more, **named):
        """The prompt of a user's message, or of a conversation; further fields as they are named above."""
        one = isinstance(message, str)
        return cls(
            ({"role": "user", "content": message},) if one else tuple(message), *more, **named
        )

    @property
    def sent(self):
        """All that a model reads of it, as one text whose tokens can be counted."""
        return packed([self.system, self.messages, self.tools, self.schema])

    @property
    def text(self):
        """The prompt as one text: the only message, or all of them with their roles."""
        if len(self.messages) == 1:
            return self.messages[0]["content"]
        return "\n\n".join(f"{message['role']}: {message['content']}" for message in self.messages)

    @property
    def most_input_tokens(self):
        """A bound on its input tokens without a tokenizer: a token stands for a byte of text at least.

        Chat mark-up adds a few tokens per message, and a provider's own instructions for tools some hundred.
        """
        texts = [self.system or "", *(message["content"] for message in self.messages)]
        given = [*self.tools, *([self.schema] if self.schema else [])]
        extras = [json.dumps(part, ensure_ascii=False) for part in given]
        size = sum(len(text.encode()) for text in (*texts, *extras))
        return size + 32 * (len(self.messages) + 1) + (1000 if extras else 0)


@dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes
    ----------
    text : str
        Without the thinking that a model wrote into it.
    tool_calls : tuple of (name, arguments)
        Arguments are the JSON text the model wrote.
    stop : {"stop", "length", "refusal", "content_filter"}
    stop_reason : str
        In the provider's own words.
    tokens : mapping of str to int, or None
        The five buckets and reasoning_tokens; None when the server reports no usage.
    reported_model : str
    ttft_s, end_to_end_s : float
        Seconds from sending to the first non-empty token (NaN when not streamed) and to the end.
    source : {"measured", "recorded"}
    recorded_usd : float or None
        What a recorded answer cost when it was made.
    usage_fault : str
        The count that makes its cost unknown; then there are no tokens.
    thinking : str
        What stood between ``<think>`` and ``</think>`` in its text. Where nothing closes it, the reply is truncated.
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
        # Half a character (a lone surrogate, where a token limit cut) is not text that a file can hold.
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
        """The reply's class, one of `ANSWERED`."""
        special = {"length": "truncated", "refusal": "refused", "content_filter": "content_filter"}
        return special.get(self.stop) or ("ok" if self.text.strip() or self.tool_calls else "empty")


class UsageFault(ValueError):
    """A count of tokens that nothing can be priced by."""


def count(name, value):
    """A number of tokens as a server reports it; None is 0.

    Raises
    ------
    UsageFault
        If it is not a finite whole number from 0 up, small enough to be exact in every table.
    """
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if value is None:
        return 0
    if isinstance(value, bool) or not whole or not 0 <= value < 2**53:
        raise UsageFault(
            f"usage: {name} is {shown(repr(value), 60)}; a whole number from 0 up is needed"
        )
    return int(value)


def part(usage, name):
    """A part of a server's usage; None where there is none.

    Raises
    ------
    UsageFault
        If what should hold it is not an object.
    """
    if usage is None:
        return None
    if not isinstance(usage, Mapping):
        raise UsageFault(f"usage: {shown(repr(usage), 60)} is not an object with {name}")
    return usage.get(name)


def plain(usage):
    """An SDK's usage as a mapping; what is not a model of the SDK stays as it is."""
    return (
        usage.model_dump(exclude_none=True, warnings=False)
        if hasattr(usage, "model_dump")
        else usage
    )


def counted(buckets, *usage):
    """For a `Reply`: the tokens that an API's `buckets` reads out of its usage, or None and what is wrong with them."""
    try:
        return {"tokens": buckets(*usage)}
    except UsageFault as fault:
        return {"tokens": None, "usage_fault": str(fault)}


class ProviderError(Exception):
    """An attempt without an answer.

    Attributes
    ----------
    reason : str
        One of `FAILURES`.
    retry_after_s : float or None
        What the server asked for.
    retried : bool
        Whether another attempt can help.
    in_doubt : bool
        Whether the provider may bill it.
    """

    def __init__(self, reason, message="", *, retry_after_s=None, retried=None, in_doubt=None):
        super().__init__(scrubbed(message))
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.retried = reason in RETRIED if retried is None else retried
        self.in_doubt = reason in IN_DOUBT if in_doubt is None else in_doubt


def filled(**arguments):
    """The arguments of an SDK's call that say something."""
    return {name: value for name, value in arguments.items() if value not in (None, [], {})}


def stop_of(word, stops):
    """What a provider's stop reason means, one of those of a `Reply`."""
    if word is None:
        raise ProviderError("early_end", "the answer ended without a stop reason")
    if word not in stops:
        raise ProviderError("malformed", f"unknown stop reason {word!r}")
    return stops[word]


class Stopwatch:
    """Times of one attempt: started when made, `first` at the first non-empty piece of the answer."""

    def __init__(self):
        self.started, self.begun, self._first = time.perf_counter(), False, math.nan

    def first(self, piece):
        """Note the time of a piece of the answer, if it is the first that is not empty."""
        self.begun = True
        if piece and math.isnan(self._first):
            self._first = time.perf_counter() - self.started

    def timed(self, reply):
        """The reply with its times; the end is now."""
        end = time.perf_counter() - self.started
        return replace(reply, ttft_s=self._first, end_to_end_s=end)


class Adapter:
    """What the adapters share: one attempt, timed, with every failure as a `ProviderError`."""

    def __init__(self, client):
        self.client = client

    async def answer(self, prompt, chosen, stream=True):
        """One attempt; a `Reply`, or a `ProviderError`."""
        watch = Stopwatch()
        try:
            arguments = self.request(prompt, chosen)
            answered = self.streamed(arguments, watch) if stream else self.whole(arguments)
            return watch.timed(await answered)
        except Exception as error:
            found = failure(error)
            found.in_doubt |= watch.begun  # it had begun to answer
            raise found from None

    async def close(self):
        """Close the connections."""
        await self.client.close()


def connect(chosen, *, timeout_s=120.0, transport=None):
    """The adapter that answers for a candidate: an `Adapter`, or an object with its two methods.

    Raises
    ------
    ValueError
        If the key is missing; names the environment variable.
    """
    module, variables = ADAPTERS[chosen.provider]
    if variables and not any(os.environ.get(name) for name in variables):
        raise ValueError(
            f"{chosen.name}: set the environment variable {' or '.join(variables)}, or choose a replay or a local model"
        )
    api = import_module(f"tierlab.sampling.apis.{module}")
    return api.connect(chosen, timeout_s=timeout_s, transport=transport)


def http_client(timeout_s, transport=None):
    """One transport for all SDKs, so that a broken connection is the same error everywhere."""
    import httpx2

    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, 10.0)),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=256),
        transport=transport,
        event_hooks={"response": [_looked_at]},
        follow_redirects=False,
        headers={"accept-encoding": "identity"},  # the bound on bytes is one on what they unpack to
    )


async def _looked_at(response):
    """Refuse, before an SDK reads it, what no model has answered (a redirect, a page for people), and what is too large."""
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
            f"{response.request.url.host} answers with a page of HTML (status {response.status_code}), not as a model: a proxy or "
            "a log-in page in between, or base_url lacks its path (often /v1)",
        )
    if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise ProviderError(
            "malformed", "the reply is compressed, which was not asked for", retried=False
        )
    response.stream = _bounded(response)


def _bounded(response):
    """The stream of a response, up to the most bytes that a reply may have, and without counts that are not numbers."""
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
    """What an SDK's exception means, as a `ProviderError`.

    The same transport serves all SDKs, but some wrap its errors and some do not: the chain of causes is read.
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
    """Why there was no connection; nothing was sent, so that nothing can be billed."""
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
    """What an error event in the middle of a stream means; the provider had begun and may bill it."""
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
    """A message without anything that looks like a key, and without the keys that are set; at most 500 characters."""
    text = str(text)[:10_000]
    for name in {COMPATIBLE_KEY, *(name for _, names in ADAPTERS.values() for name in names)}:
        if len(value := os.environ.get(name, "")) >= 6:
            text = text.replace(value, "[key]")
    return shown(_KEY_LIKE.sub("[key]", text[:20_000]), 500)


def _whole(text):
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
