"""Providers: what is sent, what is read from the wire, and what each error means."""

import asyncio
import json
import math
import os
import subprocess
import sys

import httpx2
import pytest

from tests.frames import CANDIDATES, EVENTS, STOPS, USAGE, frames, response, transport
from tests.servers import DROP, KEY, ROOT, sse
from tierlab.sampling import providers
from tierlab.sampling.providers import (
    ADAPTERS,
    Candidate,
    Prompt,
    ProviderError,
    candidate,
    connect,
)

QUESTION = Prompt(({"role": "user", "content": "What is the capital of France?"},))
KEYS = {
    "ANTHROPIC_API_KEY": "sk-ant-fake-0123456789",
    "OPENAI_API_KEY": "sk-proj-fake-0123456789",
    "GEMINI_API_KEY": "AIzaFake0123456789",
}
every_provider = pytest.mark.parametrize("provider", CANDIDATES)
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Fake keys, and nothing else of the machine's own."""
    for name in list(os.environ):
        if name.split("_")[0] in ("ANTHROPIC", "OPENAI", "GEMINI", "GOOGLE"):
            monkeypatch.delenv(name)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


def ask(chosen, answer, *, prompt=QUESTION, stream=True, timeout_s=5.0):
    """(a reply or the error in its place, requests that were sent)."""
    seen = []

    async def attempt():
        adapter = connect(chosen, timeout_s=timeout_s, transport=transport(answer, seen))
        try:
            return await adapter.answer(prompt, chosen, stream)
        except ProviderError as error:
            return error
        finally:
            await adapter.close()

    return asyncio.run(attempt()), seen


def body(chosen, *, prompt=QUESTION, stream=False):
    """What is sent, as JSON."""
    _, (request,) = ask(
        chosen, frames(chosen.provider, stream=stream), prompt=prompt, stream=stream
    )
    return json.loads(request.content)


def changed(provider, **settings):
    return Candidate(
        **{
            **{
                f: getattr(CANDIDATES[provider], f)
                for f in CANDIDATES[provider].__dataclass_fields__
            },
            **settings,
        }
    )


# --- what is read ---------------------------------------------------------------------------------------------


@every_provider
@both_ways
def test_text_tokens_and_model_are_read(provider, stream):
    reply, _ = ask(CANDIDATES[provider], frames(provider, stream=stream), stream=stream)
    assert (reply.text, reply.tool_calls, reply.status) == ("Paris.", (), "ok")
    assert (reply.stop_reason, reply.reported_model) == (STOPS[provider]["stop"], "model-7")
    # Anthropic's 100 exclude the cache; OpenAI's 180 = 100 + 30 read + 50 written; Gemini's 130 = 100 + 30 read.
    written = {"anthropic": (50 - 20, 20), "google": (0, 0)}.get(provider, (50, 0))
    assert reply.tokens == {
        "uncached_input_tokens": 100,
        "cache_read_tokens": 30,
        "cache_write_short_tokens": written[0],
        "cache_write_long_tokens": written[1],
        "output_tokens": 40,  # Gemini's 28 of answer and 12 of thought
        "reasoning_tokens": 12,
    }


@every_provider
@both_ways
def test_tool_calls_are_read(provider, stream):
    given = json.dumps({"city": "Paris", "days": 3})
    reply, _ = ask(
        CANDIDATES[provider],
        frames(
            provider, (), calls=[("weather", given), ("news", "{}")], stop="tool", stream=stream
        ),
        stream=stream,
    )
    assert [(name, json.loads(arguments)) for name, arguments in reply.tool_calls] == [
        ("weather", {"city": "Paris", "days": 3}),
        ("news", {}),
    ]
    assert (reply.text, reply.status) == ("", "ok")


@every_provider
@both_ways
@pytest.mark.parametrize(
    ("stop", "status"),
    [("length", "truncated"), ("filter", "content_filter"), ("refusal", "refused")],
)
def test_stop_reasons(provider, stream, stop, status):
    if stop not in STOPS[provider]:
        pytest.skip(f"{provider} has no such stop reason")
    reply, _ = ask(
        CANDIDATES[provider], frames(provider, ("Par",), stop=stop, stream=stream), stream=stream
    )
    assert (reply.status, reply.stop_reason) == (status, STOPS[provider][stop])
    assert reply.tokens["output_tokens"] == 40  # it was paid for


@pytest.mark.parametrize("provider", ["openai", "openai-chat"])
@both_ways
def test_a_refusal_of_openai_is_a_text_of_its_own(provider, stream):
    reply, _ = ask(
        CANDIDATES[provider],
        frames(provider, (), refusal="I cannot help.", stream=stream),
        stream=stream,
    )
    assert (reply.status, reply.text) == ("refused", "I cannot help.")


@pytest.mark.parametrize("word", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"])
def test_a_slip_of_gemini_is_an_answer_without_content(word):
    reply, _ = ask(CANDIDATES["google"], frames("google", (), stop=word))
    assert (reply.status, reply.stop_reason, reply.tokens["output_tokens"]) == ("empty", word, 40)


def test_a_prompt_that_gemini_blocks_is_a_content_filter():
    reply, _ = ask(
        CANDIDATES["google"],
        [json.dumps({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}})],
        stream=False,
    )
    assert (reply.status, reply.tokens) == ("content_filter", None)


@every_provider
@both_ways
def test_white_space_is_no_answer(provider, stream):
    reply, _ = ask(
        CANDIDATES[provider], frames(provider, (" ", "\n"), stream=stream), stream=stream
    )
    assert reply.status == "empty"


@pytest.mark.parametrize("provider", ["openai", "openai-chat", "compatible", "google"])
@both_ways
@pytest.mark.parametrize("usage", [None, {}])
def test_without_usage_the_tokens_are_unknown_and_not_zero(provider, stream, usage):
    reply, _ = ask(
        CANDIDATES[provider], frames(provider, usage=usage, stream=stream), stream=stream
    )
    assert (reply.text, reply.status) == ("Paris.", "ok")
    assert reply.tokens is None or (provider == "google" and usage == {} and reply.tokens is None)


@pytest.mark.parametrize("provider", ["openai-chat", "google"])
def test_with_more_cached_than_input_tokens_the_tokens_are_unknown(provider):
    name = {"openai-chat": "prompt_tokens", "google": "promptTokenCount"}[provider]
    reply, _ = ask(CANDIDATES[provider], frames(provider, usage=USAGE[provider] | {name: 29}))
    assert (reply.text, reply.status, reply.tokens) == ("Paris.", "ok", None)
    assert "usage: more" in reply.usage_fault


@every_provider
def test_the_first_token_comes_before_the_end_and_after_the_thinking(provider):
    first = (
        5 if provider == "anthropic" else 1
    )  # before the text: start, thought (start, piece, end), start of the text

    def answer(request):
        return httpx2.Response(200, headers=EVENTS, content=slow(frames(provider), first))

    reply, _ = ask(CANDIDATES[provider], answer)
    assert reply.ttft_s >= 0.1
    assert reply.end_to_end_s - reply.ttft_s >= 0.1
    whole, _ = ask(CANDIDATES[provider], frames(provider, stream=False), stream=False)
    assert math.isnan(whole.ttft_s)
    assert whole.end_to_end_s > 0


async def slow(pieces, first):
    """Pauses of 0.1 s before the first piece of text and before the last frame."""
    for n, piece in enumerate(pieces):
        await asyncio.sleep(0.1 * (n in (first, len(pieces) - 1)))
        yield piece.encode()


@every_provider
def test_half_a_character_becomes_a_replacement_character(provider):
    reply, _ = ask(
        CANDIDATES[provider],
        frames(provider, ("cut ", "\ud83d"), stop="length", stream=False),
        stream=False,
    )
    assert reply.text == "cut \N{REPLACEMENT CHARACTER}"
    reply.text.encode()


# --- what is sent ---------------------------------------------------------------------------------------------

TOOL = {
    "name": "weather",
    "description": "Weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
FULL = Prompt(
    (
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ),
    system="Be brief.",
    tools=(TOOL,),
    schema=SCHEMA,
    max_output_tokens=100,
)
ROOM = {"extra_output_tokens": 50, "temperature": 0.5}


def test_request_of_messages():
    sent = body(changed("anthropic", effort="high", **ROOM), prompt=FULL)
    assert sent == {
        "model": "claude-opus-5-5",
        "max_tokens": 150,
        "messages": list(FULL.messages),
        "system": "Be brief.",
        "tools": [
            {
                "name": "weather",
                "description": "Weather of a city",
                "input_schema": TOOL["parameters"],
            }
        ],
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}, "effort": "high"},
        "thinking": {"type": "adaptive"},
        "temperature": 0.5,
    }
    assert body(changed("anthropic", effort="none"))["thinking"] == {"type": "disabled"}
    assert body(changed("anthropic", effort="2000", extra_output_tokens=2000))["thinking"] == {
        "type": "enabled",
        "budget_tokens": 2000,
    }
    with pytest.raises(ValueError, match=r"a number from \d+ up \(thinking counts"):
        changed("anthropic", effort="2000", extra_output_tokens=1999)


def test_request_of_responses():
    sent = body(changed("openai", effort="low", **ROOM), prompt=FULL)
    assert sent == {
        "model": "gpt-6-astra",
        "max_output_tokens": 150,
        "input": list(FULL.messages),
        "instructions": "Be brief.",
        "store": False,
        "tools": [{"type": "function", "strict": False, **TOOL}],
        "text": {"format": {"type": "json_schema", "name": "reply", "schema": SCHEMA}},
        "reasoning": {"effort": "low"},
        "temperature": 0.5,
    }


@pytest.mark.parametrize(
    ("provider", "limit"), [("openai-chat", "max_completion_tokens"), ("compatible", "max_tokens")]
)
def test_request_of_chat(provider, limit):
    sent = body(changed(provider, effort="low", **ROOM), prompt=FULL, stream=True)
    assert sent == {
        "model": CANDIDATES[provider].model_id,
        limit: 150,
        "messages": [{"role": "system", "content": "Be brief."}, *FULL.messages],
        "tools": [{"type": "function", "function": TOOL}],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": SCHEMA},
        },
        "reasoning_effort": "low",
        "temperature": 0.5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_request_of_generate_content():
    sent = body(changed("google", effort="high", **ROOM), prompt=FULL)
    turns = [("user", "a"), ("model", "b"), ("user", "c")]
    assert sent["contents"] == [{"role": role, "parts": [{"text": text}]} for role, text in turns]
    assert sent["systemInstruction"]["parts"] == [{"text": "Be brief."}]
    (declared,) = sent["tools"][0]["functionDeclarations"]
    assert (declared["name"], declared["description"]) == ("weather", "Weather of a city")
    assert (
        declared["parameters_json_schema"] == TOOL["parameters"]
    )  # the API takes both spellings of a field
    made = sent["generationConfig"]
    assert (made["maxOutputTokens"], made["temperature"], made["responseMimeType"]) == (
        150,
        0.5,
        "application/json",
    )
    assert made["responseJsonSchema"] == SCHEMA
    assert made["thinkingConfig"] == {"thinking_level": "HIGH"}
    for effort, budget in (("none", 0), ("2000", 2000)):
        assert list(
            body(changed("google", effort=effort))["generationConfig"]["thinkingConfig"].values()
        ) == [budget]


def test_the_limit_that_is_sent_is_the_limit_that_is_reserved():
    short = Prompt(({"role": "user", "content": "a"},), max_output_tokens=5)
    sent = body(CANDIDATES["openai"], prompt=short)["max_output_tokens"]
    assert sent == CANDIDATES["openai"].output_limit(short) == 16  # the API's least
    assert (
        body(CANDIDATES["anthropic"], prompt=short)["max_tokens"]
        == CANDIDATES["anthropic"].output_limit(short)
        == 5
    )


def test_the_bound_on_input_tokens_holds_for_tokenizers():
    from tierlab.routing.sources import count_tokens

    texts = [
        "word " * 50,
        "日本語のテキスト" * 20,
        "🤖👩‍🚀" * 30,
        "a\n\n\tb",
        json.dumps(SCHEMA),
        "0123456789" * 9,
    ]
    for text, counted in zip(texts, count_tokens(texts), strict=True):
        assert counted <= Prompt(({"role": "user", "content": text},)).most_input_tokens - 32


def test_candidates_are_checked_and_read():
    with pytest.raises(ValueError, match="unknown provider 'antropic'; did you mean 'anthropic'"):
        Candidate("antropic", "claude")
    with pytest.raises(ValueError, match="base_url=None; the address"):
        Candidate("compatible", "llama")
    with pytest.raises(ValueError, match="path=None; the path"):
        Candidate("replay", "llama")
    with pytest.raises(ValueError, match="extra_output_tokens=-1"):
        Candidate("openai", "gpt", extra_output_tokens=-1)
    assert candidate("compatible:llama3.2:1b,base_url=http://h/v1,label=own").name == "own"
    assert candidate("google:gemini-4-argon,effort=low,temperature=0.5") == changed(
        "google", effort="low", temperature=0.5
    )
    for wrong, says in (
        ("gpt-5", "not a candidate"),
        ("openai:m,efort=low", "did you mean 'effort'"),
        ("openai:m,temperature=x", "not a value of temperature"),
    ):
        with pytest.raises(ValueError, match=says):
            candidate(wrong)


# --- what goes wrong ------------------------------------------------------------------------------------------

ERRORS = {  # status -> (reason, tried again, in doubt)
    400: ("bad_request", False, False),
    401: ("auth", False, False),
    402: ("auth", False, False),
    403: ("auth", False, False),
    404: ("bad_request", False, False),
    408: ("timeout", True, True),
    409: ("unavailable", True, False),
    413: ("context_overflow", False, False),
    429: ("rate_limited", True, False),
    500: ("unavailable", True, False),
    503: ("overloaded", True, False),
    504: ("timeout", True, True),
    529: ("overloaded", True, False),
}


def error_body(provider, message="no", kind="some_error", **more):
    if provider == "anthropic":
        return {"type": "error", "error": {"type": kind, "message": message}}
    if provider == "google":
        return {"error": {"code": more.get("status", 400), "message": message, "status": kind}}
    return {"error": {"message": message, "type": kind, "code": more.get("code")}}


@every_provider
@both_ways
@pytest.mark.parametrize("status", ERRORS)
def test_an_error_status(provider, stream, status):
    answer = lambda request: response(  # noqa: E731
        error_body(provider, status=status), status, {"retry-after": "3"}
    )
    error, seen = ask(CANDIDATES[provider], answer, stream=stream)
    assert (error.reason, error.retried, error.in_doubt) == ERRORS[status]
    assert len(seen) == 1  # the SDK itself does not try again
    if status in (429, 503, 529):
        assert error.retry_after_s == 3.0


@every_provider
@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b""])
def test_an_error_without_json(provider, body):
    error, _ = ask(CANDIDATES[provider], lambda request: httpx2.Response(502, content=body))
    assert (error.reason, error.retried) == ("unavailable", True)


def test_retry_after_in_all_its_forms():
    forms = (
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-4"}, 0.0),
        ({}, None),
    )
    for headers, seconds in forms:
        error, _ = ask(
            CANDIDATES["openai"], lambda request, h=headers: response(error_body("openai"), 429, h)
        )
        assert error.retry_after_s == seconds
    google = {
        "error": {
            "code": 429,
            "message": "quota",
            "status": "RESOURCE_EXHAUSTED",
            "details": [
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}
            ],
        }
    }
    error, _ = ask(CANDIDATES["google"], lambda request: response(google, 429), stream=False)
    assert error.retry_after_s == 34.5


def test_a_spent_quota_is_not_tried_again():
    answer = lambda request: response(  # noqa: E731
        error_body("openai", kind="insufficient_quota", code="insufficient_quota"), 429
    )
    error, _ = ask(CANDIDATES["openai"], answer)
    assert (error.reason, error.retried) == ("rate_limited", False)


OVERFLOWS = [  # messages of the services themselves
    ("anthropic", 400, "prompt is too long: 208310 tokens > 200000 maximum"),
    (
        "anthropic",
        400,
        "input length and `max_tokens` exceed context limit: 199000 + 4096 > 200000, decrease input length",
    ),
    (
        "openai",
        400,
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
    ),
    (
        "openai-chat",
        400,
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
    ),
    (
        "google",
        400,
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    ),
    (
        "compatible",
        400,
        "the request exceeds the available context size, try increasing it",
    ),  # llama.cpp
    (
        "compatible",
        400,
        "request (3009 tokens) exceeds the available context size (2048 tokens), try increasing it",
    ),
    ("compatible", 500, "Context size has been exceeded."),
    ("compatible", 400, "the input length exceeds the context length"),  # Ollama
]


@pytest.mark.parametrize(("provider", "status", "message"), OVERFLOWS)
def test_a_context_that_is_too_long_is_told_from_other_mistakes(provider, status, message):
    error, _ = ask(
        CANDIDATES[provider], lambda request: response(error_body(provider, message), status)
    )
    assert (error.reason, error.retried) == ("context_overflow", False)


FILTERS = [
    ("anthropic", "Output blocked by content filtering policy"),
    (
        "openai",
        "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
    ),
    (
        "openai-chat",
        "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
    ),
]


@pytest.mark.parametrize(("provider", "message"), FILTERS)
def test_a_content_filter_is_told_from_other_mistakes(provider, message):
    error, _ = ask(
        CANDIDATES[provider], lambda request: response(error_body(provider, message), 400)
    )
    assert (error.reason, error.retried) == ("content_filter", False)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("Unsupported parameter: 'safety_identifier'", "bad_request"),
        (
            "max_tokens is too large: 100000. This model supports at most 16384 completion tokens",
            "bad_request",
        ),
        ("The model `gpt-7` does not exist", "bad_request"),
        ("API key not valid. Please pass a valid API key.", "auth"),  # Google says it with 400
        ("Your credit balance is too low to access the Anthropic API.", "auth"),
    ],
)
def test_mistakes_that_sound_like_others(message, reason):
    error, _ = ask(
        CANDIDATES["google"], lambda request: response(error_body("google", message), 400)
    )
    assert error.reason == reason


@every_provider
def test_a_stream_that_ends_early(provider):
    sent = frames(provider)
    for cut in range(1, len(sent)):
        result, _ = ask(
            CANDIDATES[provider],
            lambda request, cut=cut: httpx2.Response(
                200, headers=EVENTS, content="".join(sent[:cut])
            ),
        )
        if isinstance(result, ProviderError):
            assert (result.reason, result.retried, result.in_doubt) == ("early_end", True, True)
        else:  # nothing but the closing frame, or the usage, was missing
            assert (result.text, result.status) == ("Paris.", "ok")
            assert cut >= len(sent) - 2
            assert result.tokens is None or cut == len(sent) - 1
    error, _ = ask(
        CANDIDATES[provider], lambda request: httpx2.Response(200, headers=EVENTS, content=b"")
    )
    assert error.reason in ("early_end", "malformed")


@pytest.mark.parametrize("provider", ["anthropic", "openai-chat", "compatible"])
def test_a_whole_reply_without_a_stop_reason_ended_early(provider):
    error, _ = ask(CANDIDATES[provider], frames(provider, stop=None, stream=False), stream=False)
    assert error.reason == "early_end"


BREAKS = [
    (httpx2.RemoteProtocolError("peer closed connection"), ("broken_stream", True, True)),
    (httpx2.ReadError("reset"), ("broken_stream", True, True)),
    (httpx2.ReadTimeout("stalled"), ("timeout", True, True)),
]


@every_provider
@pytest.mark.parametrize(("error", "meaning"), BREAKS, ids=lambda value: type(value).__name__)
def test_a_stream_that_breaks(provider, error, meaning):
    for cut in (0, 3):
        found, _ = ask(
            CANDIDATES[provider],
            lambda request, cut=cut: response([*frames(provider)[:cut], error, ""]),
        )
        assert (found.reason, found.retried, found.in_doubt) == meaning


@every_provider
@both_ways
@pytest.mark.parametrize("kind", [httpx2.ConnectError, httpx2.ConnectTimeout])
def test_a_server_that_cannot_be_reached_is_not_paid(provider, stream, kind):
    def answer(request):
        raise kind("refused")

    error, _ = ask(CANDIDATES[provider], answer, stream=stream)
    assert (error.reason, error.retried, error.in_doubt) == ("unavailable", True, False)


@every_provider
@both_ways
def test_malformed_json(provider, stream):
    first, *rest = frames(provider, stream=stream)
    sent = [first.replace("{", "{{", 1), *rest]
    error, _ = ask(CANDIDATES[provider], lambda request: response(sent), stream=stream)
    assert (error.reason, error.retried, error.in_doubt) == ("malformed", True, True)


@every_provider
@both_ways
def test_a_page_in_place_of_json(provider, stream):
    error, _ = ask(
        CANDIDATES[provider],
        lambda request: httpx2.Response(200, html="<html>login</html>"),
        stream=stream,
    )
    assert (error.reason, error.retried, error.in_doubt) == ("wrong_address", False, False)


IN_STREAM = [
    (
        "anthropic",
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        "overloaded",
    ),
    (
        "anthropic",
        {"type": "error", "error": {"type": "api_error", "message": "Internal"}},
        "broken_stream",
    ),
    (
        "openai",
        {
            "type": "error",
            "code": "rate_limit_exceeded",
            "message": "slow",
            "param": None,
            "sequence_number": 9,
        },
        "rate_limited",
    ),
    (
        "openai",
        {
            "type": "error",
            "code": "server_error",
            "message": "deadline",
            "param": None,
            "sequence_number": 9,
        },
        "broken_stream",
    ),
    (
        "openai-chat",
        {"error": {"message": "had an error", "type": "server_error", "code": None}},
        "broken_stream",
    ),
    (
        "compatible",
        {
            "error": {
                "message": "Context size has been exceeded.",
                "type": "server_error",
                "code": None,
            }
        },
        "context_overflow",
    ),
    (
        "google",
        {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}},
        "overloaded",
    ),
]


@pytest.mark.parametrize(("provider", "event", "reason"), IN_STREAM)
def test_an_error_in_mid_stream_may_be_billed(provider, event, reason):
    error, _ = ask(CANDIDATES[provider], [*frames(provider)[:3], *sse(event)])
    assert (error.reason, error.in_doubt) == (reason, True)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("server_error", "broken_stream"),
        ("context_length_exceeded", "context_overflow"),
        ("invalid_prompt", "content_filter"),
    ],
)
def test_a_response_that_failed(code, reason):
    failed = json.loads(frames("openai", stream=False)[0]) | {
        "status": "failed",
        "error": {"code": code, "message": "x"},
    }
    error, _ = ask(CANDIDATES["openai"], [json.dumps(failed)], stream=False)
    assert (error.reason, error.in_doubt) == (reason, True)
    event = {"type": "response.failed", "response": failed, "sequence_number": 9}
    assert ask(CANDIDATES["openai"], [*frames("openai")[:2], *sse(event)])[0].reason == reason


@pytest.mark.parametrize("provider", ["anthropic", "openai-chat", "google"])
def test_an_unknown_stop_reason_is_not_taken_for_an_end(provider):
    error, _ = ask(
        CANDIDATES[provider], frames(provider, stop="SOMETHING_NEW", stream=False), stream=False
    )
    assert error.reason == "malformed"
    assert "SOMETHING_NEW" in str(error)


@every_provider
def test_connections_that_break_on_the_wire(provider, raw_server):
    chosen = changed(
        provider, base_url=raw_server.url + ("/v1" if "openai" in ADAPTERS[provider][0] else "")
    )

    async def attempt(timeout_s=5.0):
        adapter = connect(chosen, timeout_s=timeout_s)
        try:
            return (await adapter.answer(QUESTION, chosen, True)).status
        except ProviderError as error:
            return error.reason
        finally:
            await adapter.close()

    raw_server.reply(*frames(provider))
    assert asyncio.run(attempt()) == "ok"
    raw_server.reply(*frames(provider)[:3], DROP)
    assert asyncio.run(attempt()) == "broken_stream"
    raw_server.reply(*frames(provider)[:3], 30)
    assert asyncio.run(attempt(0.5)) == "timeout"
    raw_server.reply(30)
    assert asyncio.run(attempt(0.5)) == "timeout"
    chosen = changed(provider, base_url="http://127.0.0.1:9/v1")  # nobody listens there
    assert asyncio.run(attempt()) == "unavailable"


# --- keys -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["anthropic", "openai", "openai-chat", "google"])
def test_a_missing_key_names_the_variable(provider, monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name)
    with pytest.raises(
        ValueError, match=f"set the environment variable {ADAPTERS[provider][1][0]}"
    ):
        connect(CANDIDATES[provider])


def test_a_server_of_ones_own_learns_nothing_of_openai(monkeypatch):
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY", "OPENAI_WEBHOOK_SECRET"):
        monkeypatch.setenv(name, f"secret-of-{name}")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere.test/v1")
    _, (request,) = ask(CANDIDATES["compatible"], frames("compatible"))
    sent = f"{request.url} {dict(request.headers)} {request.content}"
    assert request.url.host == "own.test"
    assert request.headers["authorization"] == "Bearer no-key-needed"
    assert "secret-of" not in sent
    assert not [key for key in KEYS.values() if key in sent]
    monkeypatch.setenv(providers.COMPATIBLE_KEY, "own-server-key")
    _, (request,) = ask(CANDIDATES["compatible"], frames("compatible"))
    assert request.headers["authorization"] == "Bearer own-server-key"


@every_provider
@both_ways
def test_a_key_is_in_no_error(provider, stream, monkeypatch):
    monkeypatch.setenv(providers.COMPATIBLE_KEY, "own-server-key-42")
    keys = [*KEYS.values(), "own-server-key-42"]
    other = "sk-live-9876543210abcdef"
    message = (
        f"wrong key {' '.join(keys)} and {other} (Bearer abc.def-ghi) at http://ann:pass-1@host "
        + "x" * 600
    )
    error, _ = ask(
        CANDIDATES[provider],
        lambda request: response(error_body(provider, message), 401),
        stream=stream,
    )
    assert error.reason == "auth"
    assert "wrong key [key]" in str(error)
    assert len(str(error)) <= 500
    for secret in (*keys, other, "abc.def-ghi", "pass-1"):
        assert secret not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__  # a traceback does not print the SDK's error either


def test_no_file_of_the_project_holds_a_key():
    """Keys that tests make up say so: they hold the word fake or are the kit's own placeholder."""
    import re

    like = re.compile(rb"\b(?:sk-[\w-]{12,}|AIza[\w-]{12,}|ya29\.[\w-]{12,})")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("no git checkout")
    found = []
    for name in listed.stdout.decode().split("\0"):
        path = ROOT / name
        if name and path.is_file():
            found += [
                (name, hit)
                for hit in like.findall(path.read_bytes())
                if b"fake" not in hit.lower() and hit not in SHOWN
            ]
    assert not found


SHOWN = {b"sk-live-9876543210abcdef"}  # of the test above


# --- servers that others wrote --------------------------------------------------------------------------------

EMULATED = [name for name in CANDIDATES if name != "compatible"]
SERVED_AS = {"openai-chat": "openai", "compatible": "openai"}


def answered(chosen, stream, question="What is the capital of France?"):
    async def attempt():
        adapter = connect(chosen, timeout_s=20.0)
        try:
            prompt = Prompt(
                ({"role": "user", "content": question},),
                tools=(TOOL,) if "weather" in question else (),
            )
            return await adapter.answer(prompt, chosen, stream)
        except ProviderError as error:
            return error
        finally:
            await adapter.close()

    return asyncio.run(attempt())


@pytest.fixture
def at(monkeypatch):
    """A candidate at an emulator's address."""

    def point(server, provider):
        for name, value in server.env().items():
            monkeypatch.setenv(name, value)
        base = server.base_url(SERVED_AS.get(provider, provider))
        return changed(provider, base_url=base if provider == "compatible" else None)

    return point


@every_provider
@both_ways
def test_aimock_answers_every_provider(aimock, at, provider, stream):
    chosen = at(aimock, provider)
    reply = answered(chosen, stream)
    assert (reply.text, reply.status) == ("The capital of France is Paris.", "ok")
    assert (reply.tokens["uncached_input_tokens"], reply.tokens["output_tokens"]) == (14, 7)
    assert (reply.ttft_s <= reply.end_to_end_s) is stream  # NaN when not streamed
    assert answered(chosen, stream, "count to a thousand").status == "truncated"
    assert answered(chosen, stream, "say nothing").status == "empty"
    if provider == "google":
        return  # aimock ends a tool call with FUNCTION_CALL, a finish reason that the API does not have
    called = answered(chosen, stream, "The weather in Paris?")
    assert [(name, json.loads(given)) for name, given in called.tool_calls] == [
        ("get_weather", {"city": "Paris", "unit": "celsius"})
    ]


@every_provider
@both_ways
def test_llmock_answers_every_provider(llmock, at, provider, stream):
    llmock.control(
        "POST", "/_llmock/scenario", {"behaviors": [{"type": "reply", "text": "Paris."}]}
    )
    reply = answered(at(llmock, provider), stream)
    assert (reply.text, reply.status) == ("Paris.", "ok")
    assert reply.tokens["output_tokens"] > 0


@every_provider
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (429, "rate_limited"),
        (500, "unavailable"),
        (401, "auth"),
        (529, "overloaded"),
        (400, "bad_request"),
    ],
)
def test_llmock_fails_every_provider(llmock, at, provider, status, reason):
    llmock.control(
        "POST",
        "/_llmock/scenario",
        {"behaviors": [{"type": "fail", "status": status, "retry_after": 7}]},
    )
    error = answered(at(llmock, provider), True)
    assert error.reason == reason
    if status == 429:
        assert error.retry_after_s == 7


@pytest.mark.parametrize("provider", ["compatible", "anthropic", "openai"])
@both_ways
def test_a_local_model_answers_through_each_api_that_it_speaks(
    local_model, monkeypatch, provider, stream
):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    base = local_model.removesuffix("/v1") if provider == "anthropic" else local_model
    reply = answered(changed(provider, base_url=base, temperature=0.0), stream, "What is 2+3?")
    assert "5" in reply.text
    assert reply.status == "ok"
    assert 10 <= reply.tokens["uncached_input_tokens"] + reply.tokens["cache_read_tokens"] <= 100
    overflow = answered(changed(provider, base_url=base), stream, "word " * 5000)
    assert (overflow.reason, overflow.retried) == ("context_overflow", False)


def test_importing_the_module_loads_no_sdk():
    code = "import sys, tierlab.sampling.providers; print([m for m in ('anthropic', 'openai', 'google.genai', 'httpx2') if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
