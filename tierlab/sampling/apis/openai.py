"""OpenAI's Responses API, and Chat Completions for OpenAI and every server that speaks it."""

import os

from tierlab.sampling.providers import (
    COMPATIBLE_KEY,
    Adapter,
    ProviderError,
    Reply,
    UsageFault,
    count,
    counted,
    filled,
    http_client,
    part,
    stop_of,
    stream_error,
)

_STOPS = {  # of Chat Completions
    "stop": "stop",
    "tool_calls": "stop",
    "function_call": "stop",
    "length": "length",
    "content_filter": "content_filter",
}


def connect(chosen, *, timeout_s, transport=None):
    """Return an adapter for the candidate's API and address; the key comes from the environment.

    A compatible server gets the key in OPENAI_COMPATIBLE_API_KEY or a placeholder, never OpenAI's key.
    """
    import openai

    own = chosen.provider == "compatible"
    client = openai.AsyncOpenAI(
        api_key=(os.environ.get(COMPATIBLE_KEY) or "no-key-needed") if own else None,
        base_url=chosen.base_url,
        max_retries=0,
        timeout=timeout_s,
        http_client=http_client(timeout_s, transport),
    )
    if own:  # the SDK reads these from the environment and would send them to any server
        client.organization = client.project = None
    return Responses(client) if chosen.provider == "openai" else Chat(client)


class Responses(Adapter):
    """Answers through `responses.create`; nothing is stored at the provider."""

    @staticmethod
    def request(prompt, chosen):
        """Return the arguments of `responses.create`."""
        form = {"type": "json_schema", "name": "reply", "schema": prompt.schema}
        return filled(
            model=chosen.model_id,
            input=[dict(message) for message in prompt.messages],
            max_output_tokens=chosen.output_limit(prompt),
            store=False,
            instructions=prompt.system,
            tools=[{"type": "function", "strict": False, **tool} for tool in prompt.tools],
            text={"format": form} if prompt.schema else None,
            reasoning={"effort": chosen.effort} if chosen.effort else None,
            temperature=chosen.temperature,
        )

    async def whole(self, arguments):
        return response_reply(
            (await self.client.responses.create(**arguments)).model_dump(warnings=False)
        )

    async def streamed(self, arguments, watch):
        final = None
        async with await self.client.responses.create(**arguments, stream=True) as events:
            async for event in events:
                if event.type in (
                    "response.output_text.delta",
                    "response.function_call_arguments.delta",
                    "response.refusal.delta",
                ):
                    watch.first(event.delta)
                elif event.type in ("response.completed", "response.incomplete", "response.failed"):
                    final = event.response
                elif event.type == "error":
                    raise stream_error(f"{event.code} {event.message}", event.message)
        if final is None:
            raise ProviderError("early_end", "the stream ended without a final event")
        return response_reply(final.model_dump(warnings=False))


class Chat(Adapter):
    """Answers through `chat.completions.create`."""

    @staticmethod
    def request(prompt, chosen):
        """Return the arguments of `chat.completions.create`."""
        system = [{"role": "system", "content": prompt.system}] if prompt.system else []
        # Servers other than OpenAI's know the limit by its older name.
        limit = "max_tokens" if chosen.provider == "compatible" else "max_completion_tokens"
        form = {"name": "reply", "schema": prompt.schema}
        return filled(
            model=chosen.model_id,
            messages=[*system, *(dict(message) for message in prompt.messages)],
            tools=[{"type": "function", "function": dict(tool)} for tool in prompt.tools],
            response_format={"type": "json_schema", "json_schema": form} if prompt.schema else None,
            reasoning_effort=chosen.effort,
            temperature=chosen.temperature,
            **{limit: chosen.output_limit(prompt)},
        )

    async def whole(self, arguments):
        return completion_reply(
            (await self.client.chat.completions.create(**arguments)).model_dump(warnings=False)
        )

    async def streamed(self, arguments, watch):
        text, refusal, calls, finish, usage, model = "", "", {}, None, None, ""
        chunks = await self.client.chat.completions.create(
            **arguments, stream=True, stream_options={"include_usage": True}
        )
        async with chunks:
            async for chunk in chunks:
                usage, model = chunk.usage or usage, chunk.model or model
                for choice in chunk.choices:
                    delta = choice.delta
                    text += delta.content or ""
                    refusal += delta.refusal or ""
                    for call in delta.tool_calls or ():
                        entry = calls.setdefault(call.index, {"name": "", "arguments": ""})
                        entry["name"] += (call.function and call.function.name) or ""
                        entry["arguments"] += (call.function and call.function.arguments) or ""
                    watch.first(delta.content or delta.refusal or delta.tool_calls)
                    finish = choice.finish_reason or finish
        message = {
            "content": text,
            "refusal": refusal,
            "tool_calls": [{"function": call} for _, call in sorted(calls.items())],
        }
        choices = [{"message": message, "finish_reason": finish}]
        return completion_reply({"choices": choices, "usage": usage, "model": model})


def response_reply(response):
    """Make a `Reply` from a Responses API response, given as a plain mapping."""
    status = response.get("status")
    detail = (response.get("incomplete_details") or {}).get("reason")
    if status == "failed":
        error = response.get("error") or {}
        raise stream_error(f"{error.get('code')} {error.get('message')}", str(error.get("message")))
    if status not in ("completed", "incomplete"):
        raise ProviderError("early_end", f"the response has the status {status!r}")
    items = response["output"]
    parts = [part for item in items if item["type"] == "message" for part in item["content"]]
    calls = tuple(
        (item["name"], item["arguments"]) for item in items if item["type"] == "function_call"
    )
    text = "".join(part["text"] for part in parts if part["type"] == "output_text")
    refusal = "".join(part["refusal"] for part in parts if part["type"] == "refusal")
    stop = "refusal" if refusal and not text else "stop"
    if status == "incomplete":
        stop = "content_filter" if detail == "content_filter" else "length"
    tokens = counted(buckets, response.get("usage"), "input", "output")
    return Reply(
        text or refusal,
        calls,
        stop,
        detail or status,
        reported_model=response.get("model") or "",
        **tokens,
    )


def completion_reply(completion):
    """Make a `Reply` from a Chat Completions answer, given as a plain mapping."""
    if not completion.get("choices"):
        raise ProviderError("malformed", "the answer has no choices")
    choice = completion["choices"][0]
    finish, message = choice.get("finish_reason"), choice["message"]
    stop = stop_of(finish, _STOPS)
    text, refusal = message.get("content") or "", message.get("refusal") or ""
    calls = tuple(
        (call["function"]["name"], call["function"]["arguments"])
        for call in message.get("tool_calls") or ()
    )
    stop = "refusal" if refusal and not text and finish == "stop" else stop
    tokens = counted(buckets, completion.get("usage"), "prompt", "completion")
    return Reply(
        text or refusal, calls, stop, finish, reported_model=completion.get("model") or "", **tokens
    )


def buckets(usage, into, out):
    """Return the tokens of a usage, or None if it lacks them.

    OpenAI's input counter includes what was read from the cache and what was written to it, and its output counter the
    reasoning. Servers whose output leaves the reasoning out (xAI, Gemini's compatible endpoint) have it in their total,
    which is then more than input and output; the rest is output and billed as such.
    """
    given, made = (f"{into}_tokens", f"{out}_tokens")
    if part(usage, given) is None or part(usage, made) is None:
        return None
    total, details = count(usage, given), part(usage, f"{given}_details")
    read, written = count(details, "cached_tokens"), count(details, "cache_write_tokens")
    long = count(details, "cache_write_tokens_details", "ttl_12h_tokens")
    if read + written > total or long > written:
        raise UsageFault(
            f"usage: more tokens in the cache ({read:,} read, {written:,} written) than in the input ({total:,})"
        )
    output = count(usage, made)
    reasoning = count(usage, f"{made}_details", "reasoning_tokens")
    beside = max(count(usage, "total_tokens") - total - output, 0)
    if reasoning > output + beside:
        beside = reasoning
    return {
        "uncached_input_tokens": total - read - written,
        "cache_read_tokens": read,
        "cache_write_short_tokens": written - long,
        "cache_write_long_tokens": long,
        "output_tokens": output + beside,
        "reasoning_tokens": max(reasoning, beside),
    }
