"""Replies as they come over the wire, for each API, whole and streamed; and a transport that sends them.

Field names and event order are those of the providers' API references.
"""

import json

import httpx2

from tests.servers import sse
from tierlab.sampling.providers import Candidate

EVENTS, JSON = {"content-type": "text/event-stream"}, {"content-type": "application/json"}
CANDIDATES = {
    "anthropic": Candidate("anthropic", "claude-opus-5-5"),
    "openai": Candidate("openai", "gpt-6-astra"),
    "openai-chat": Candidate("openai-chat", "gpt-6-astra"),
    "compatible": Candidate(
        "compatible", "llama3.2", base_url="http://own.test/v1", usd_per_mtok=(0, 0)
    ),
    "google": Candidate("google", "gemini-4-argon"),
}
# 100 uncached, 30 read from the cache and, where the API tells, 50 written; 40 of output with 12 of reasoning inside.
USAGE = {
    "anthropic": {
        "input_tokens": 100,
        "cache_read_input_tokens": 30,
        "cache_creation_input_tokens": 50,
        "cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 20},
        "output_tokens": 40,
        "output_tokens_details": {"thinking_tokens": 12},
    },
    "openai": {
        "input_tokens": 180,
        "input_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 50},
        "output_tokens": 40,
        "output_tokens_details": {"reasoning_tokens": 12},
        "total_tokens": 220,
    },
    "openai-chat": {
        "prompt_tokens": 180,
        "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 50},
        "completion_tokens": 40,
        "completion_tokens_details": {"reasoning_tokens": 12},
        "total_tokens": 220,
    },
    "google": {
        "promptTokenCount": 130,
        "cachedContentTokenCount": 30,
        "candidatesTokenCount": 28,
        "thoughtsTokenCount": 12,
        "totalTokenCount": 170,
    },
}
USAGE["compatible"] = USAGE["openai-chat"]
STOPS = {  # provider -> kind of stop -> its word
    "anthropic": {
        "stop": "end_turn",
        "tool": "tool_use",
        "length": "max_tokens",
        "refusal": "refusal",
    },
    "openai": {
        "stop": "completed",
        "tool": "completed",
        "length": "max_output_tokens",
        "filter": "content_filter",
    },
    "openai-chat": {
        "stop": "stop",
        "tool": "tool_calls",
        "length": "length",
        "filter": "content_filter",
    },
    "google": {"stop": "STOP", "tool": "STOP", "length": "MAX_TOKENS", "filter": "SAFETY"},
}
STOPS["compatible"] = STOPS["openai-chat"]


def frames(
    provider,
    pieces=("Par", "is."),
    *,
    calls=(),
    stop="stop",
    usage="given",
    refusal="",
    stream=True,
    model="model-7",
):
    """The body of a reply, as a list of frames (one, when it is not streamed).

    `calls` are (name, arguments as JSON text); `stop` is a kind of `STOPS` or None for a reply that says nothing.
    """
    usage = USAGE[provider] if usage == "given" else usage
    word = STOPS[provider].get(stop, stop)
    make = {"anthropic": _anthropic, "openai": _responses, "google": _google}.get(provider, _chat)
    return make(pieces, calls, word, usage, refusal, stream, model)


def response(body, status=200, headers=None):
    """An HTTP response: frames (or one JSON value), sent as a stream of pieces."""
    if not isinstance(body, list | tuple):
        return httpx2.Response(
            status, headers=JSON | (headers or {}), content=json.dumps(body).encode()
        )
    kind = JSON if len(body) == 1 and body[0].startswith("{") else EVENTS
    return httpx2.Response(status, headers=kind | (headers or {}), content=_Pieces(body))


class _Pieces(httpx2.AsyncByteStream):
    """Pieces of a body; an exception among them is raised where it stands."""

    def __init__(self, pieces):
        self.pieces = pieces

    async def __aiter__(self):
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece.encode()


def transport(answer, seen=None):
    """A transport that answers with `answer(request)` or, if that is no function, always with the same frames."""

    async def handle(request):
        if seen is not None:
            seen.append(request)
        given = answer(request) if callable(answer) else response(answer)
        return await given if hasattr(given, "__await__") else given

    return httpx2.MockTransport(handle)


def _anthropic(pieces, calls, stop, usage, refusal, stream, model):
    blocks = [{"type": "thinking", "thinking": "Hm.", "signature": "s"}]
    blocks += [{"type": "text", "text": "".join(pieces)}] if pieces else []
    blocks += [
        {"type": "tool_use", "id": f"t{n}", "name": name, "input": json.loads(a)}
        for n, (name, a) in enumerate(calls)
    ]
    about = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "stop_sequence": None,
    }
    if not stream:
        return [json.dumps(about | {"content": blocks, "stop_reason": stop, "usage": usage})]
    first = {k: v for k, v in usage.items() if not k.startswith("output")} | {"output_tokens": 1}
    events = [
        {
            "type": "message_start",
            "message": about | {"content": [], "stop_reason": None, "usage": first},
        }
    ]
    for n, block in enumerate(blocks):
        empty = {
            "text": {"text": ""},
            "tool_use": {"input": {}},
            "thinking": {"thinking": "", "signature": ""},
        }[block["type"]]
        events.append({"type": "content_block_start", "index": n, "content_block": block | empty})
        parts = {
            "text": [{"type": "text_delta", "text": piece} for piece in pieces],
            "thinking": [{"type": "thinking_delta", "thinking": "Hm."}],
            "tool_use": [
                {"type": "input_json_delta", "partial_json": half}
                for half in _halves(json.dumps(block.get("input")))
            ],
        }[block["type"]]
        events += [{"type": "content_block_delta", "index": n, "delta": part} for part in parts]
        events.append({"type": "content_block_stop", "index": n})
    last = {k: v for k, v in usage.items() if k.startswith("output")}
    events.append(
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop, "stop_sequence": None},
            "usage": last,
        }
    )
    return list(sse(*events, {"type": "message_stop"}))


def _responses(pieces, calls, stop, usage, refusal, stream, model):
    content = (
        [{"type": "output_text", "text": "".join(pieces), "annotations": []}] if pieces else []
    )
    content += [{"type": "refusal", "refusal": refusal}] if refusal else []
    output = [{"type": "reasoning", "id": "r1", "summary": []}]
    output += (
        [
            {
                "type": "message",
                "id": "m1",
                "role": "assistant",
                "status": "completed",
                "content": content,
            }
        ]
        if content
        else []
    )
    output += [
        {
            "type": "function_call",
            "id": f"f{n}",
            "call_id": f"c{n}",
            "name": name,
            "arguments": given,
            "status": "completed",
        }
        for n, (name, given) in enumerate(calls)
    ]
    whole = stop == "completed"
    about = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": model,
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "status": "completed" if whole else "incomplete",
        "output": output,
        "usage": usage,
        "incomplete_details": None if whole else {"reason": stop},
        "error": None,
    }
    if not stream:
        return [json.dumps(about)]
    events = [
        {
            "type": "response.created",
            "response": about | {"status": "in_progress", "output": [], "usage": None},
        }
    ]
    for n, piece in enumerate(pieces):
        place = {"item_id": "m1", "output_index": 1, "content_index": 0, "logprobs": []}
        events.append(
            {"type": "response.output_text.delta", "delta": piece, "sequence_number": n} | place
        )
    for n, (_, given) in enumerate(calls):
        place = {"item_id": f"f{n}", "output_index": n + 2}
        events.append(
            {
                "type": "response.function_call_arguments.delta",
                "delta": given,
                "sequence_number": 50 + n,
            }
            | place
        )
    events.append(
        {"type": "response.completed" if whole else "response.incomplete", "response": about}
    )
    return list(sse(*(event | {"sequence_number": n} for n, event in enumerate(events))))


def _chat(pieces, calls, stop, usage, refusal, stream, model):
    called = [
        {"id": f"c{n}", "type": "function", "function": {"name": name, "arguments": a}}
        for n, (name, a) in enumerate(calls)
    ]
    about = {"id": "chatcmpl-1", "created": 1, "model": model}
    if not stream:
        message = {
            "role": "assistant",
            "content": "".join(pieces) or None,
            "refusal": refusal or None,
        }
        message |= {"tool_calls": called} if called else {}
        choices = [{"index": 0, "message": message, "finish_reason": stop}]
        return [
            json.dumps(about | {"object": "chat.completion", "choices": choices, "usage": usage})
        ]
    deltas = [{"role": "assistant", "content": ""}, *({"content": piece} for piece in pieces)]
    deltas += [{"refusal": refusal}] if refusal else []
    for n, call in enumerate(called):
        begin, end = _halves(call["function"]["arguments"])
        deltas.append(
            {
                "tool_calls": [
                    call
                    | {
                        "index": n,
                        "function": {"name": call["function"]["name"], "arguments": begin},
                    }
                ]
            }
        )
        deltas.append({"tool_calls": [{"index": n, "function": {"arguments": end}}]})
    about["object"] = "chat.completion.chunk"
    chunks = [
        about | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        for delta in deltas
    ]
    chunks += (
        [about | {"choices": [{"index": 0, "delta": {}, "finish_reason": stop}]}] if stop else []
    )
    chunks += [about | {"choices": [], "usage": usage}] if usage else []
    return list(sse(*chunks, "[DONE]"))


def _google(pieces, calls, stop, usage, refusal, stream, model):
    parts = [{"text": "Hm.", "thought": True}, *({"text": piece} for piece in pieces)]
    parts += [{"functionCall": {"name": name, "args": json.loads(given)}} for name, given in calls]
    about = {"modelVersion": model}

    def chunk(parts, finish):
        return {"content": {"role": "model", "parts": parts}, "index": 0} | (
            {"finishReason": finish} if finish else {}
        )

    end = {"usageMetadata": usage} if usage else {}
    if not stream:
        return [json.dumps(about | {"candidates": [chunk(parts, stop)]} | end)]
    events = [about | {"candidates": [chunk([part], None)]} for part in parts]
    return list(sse(*events, about | {"candidates": [chunk([], stop)]} | end))


def _halves(text):
    middle = len(text) // 2
    return text[:middle], text[middle:]
