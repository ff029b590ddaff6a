"""Anthropic's Messages API."""

import json

from tierlab.sampling.providers import (
    Adapter,
    ProviderError,
    Reply,
    UsageFault,
    count,
    counted,
    http_client,
    part,
    plain,
    stream_error,
)

_STOPS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "stop",
    "max_tokens": "length",
    "pause_turn": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}


def connect(chosen, *, timeout_s, transport=None):
    """An adapter for the candidate's address; the key comes from the environment."""
    import anthropic

    client = anthropic.AsyncAnthropic(
        base_url=chosen.base_url,
        max_retries=0,
        timeout=timeout_s,
        http_client=http_client(timeout_s, transport),
    )
    return Messages(client)


class Messages(Adapter):
    """Answers through `messages.create`."""

    @staticmethod
    def request(prompt, chosen):
        """Arguments of `messages.create`."""
        arguments = {
            "model": chosen.model_id,
            "max_tokens": chosen.output_limit(prompt),
            "messages": [dict(message) for message in prompt.messages],
        }
        output = {}
        if prompt.system:
            arguments["system"] = prompt.system
        if prompt.tools:
            arguments["tools"] = [
                {
                    "name": tool["name"],
                    "description": tool.get("description", ""),
                    "input_schema": tool["parameters"],
                }
                for tool in prompt.tools
            ]
        if prompt.schema:
            output["format"] = {"type": "json_schema", "schema": dict(prompt.schema)}
        if chosen.effort == "none":
            arguments["thinking"] = {"type": "disabled"}
        elif chosen.effort and chosen.effort.isdecimal():
            arguments["thinking"] = {"type": "enabled", "budget_tokens": int(chosen.effort)}
        elif chosen.effort:
            output["effort"] = chosen.effort
            arguments["thinking"] = {"type": "adaptive"}
        if output:
            arguments["output_config"] = output
        extra = dict(chosen.extra_body) | (
            {} if chosen.temperature is None else {"temperature": chosen.temperature}
        )
        return arguments | ({"extra_body": extra} if extra else {})

    async def whole(self, arguments):
        message = await self.client.messages.create(**arguments)
        blocks = [block.model_dump() for block in message.content]
        return reply(blocks, plain(message.usage), message.stop_reason, message.model)

    async def streamed(self, arguments, watch):
        blocks, usage, stop_reason, model = {}, {}, None, ""
        async with await self.client.messages.create(**arguments, stream=True) as events:
            async for event in events:
                if event.type == "message_start":
                    usage, model = plain(event.message.usage), event.message.model
                elif event.type == "content_block_start":
                    blocks[event.index] = event.content_block.model_dump() | {"json": ""}
                    watch.first(
                        event.content_block.type == "tool_use"
                        or getattr(event.content_block, "text", "")
                    )
                elif event.type == "content_block_delta" and event.delta.type == "text_delta":
                    blocks[event.index]["text"] += event.delta.text
                    watch.first(event.delta.text)
                elif event.type == "content_block_delta" and event.delta.type == "input_json_delta":
                    blocks[event.index]["json"] += event.delta.partial_json
                elif event.type == "message_delta":
                    last = plain(event.usage)
                    usage = (
                        {**usage, **last}
                        if isinstance(usage, dict) and isinstance(last, dict)
                        else last or usage
                    )
                    stop_reason = event.delta.stop_reason or stop_reason
                elif event.type == "error":
                    raise stream_error(str(event.error), str(event.error))
        return reply(list(blocks.values()), usage, stop_reason, model)


def reply(blocks, usage, stop_reason, model):
    """A `Reply` from content blocks and usage, both as plain mappings."""
    if stop_reason is None:
        raise ProviderError("early_end", "the answer ended without a stop reason")
    if stop_reason not in _STOPS:
        raise ProviderError("malformed", f"unknown stop reason {stop_reason!r}")
    calls = tuple(
        (b["name"], b.get("json") or _json(b.get("input")))
        for b in blocks
        if b["type"] == "tool_use"
    )
    text = "".join(block["text"] for block in blocks if block["type"] == "text")
    return Reply(
        text,
        calls,
        _STOPS[stop_reason],
        stop_reason,
        reported_model=model,
        **counted(buckets, usage),
    )


def buckets(usage):
    """Anthropic's input_tokens leaves the cached tokens out; what is written without a time to live is for 5 minutes."""
    if part(usage, "input_tokens") is None or part(usage, "output_tokens") is None:
        return None
    hour = count(
        "ephemeral_1h_input_tokens",
        part(part(usage, "cache_creation"), "ephemeral_1h_input_tokens"),
    )
    names = (
        "input_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "output_tokens",
    )
    given, read, written, made = (count(name, part(usage, name)) for name in names)
    if hour > written:
        raise UsageFault(
            f"usage: {hour:,} tokens written to the cache for an hour, and {written:,} in all"
        )
    return {
        "uncached_input_tokens": given,
        "cache_read_tokens": read,
        "cache_write_short_tokens": written - hour,
        "cache_write_long_tokens": hour,
        "output_tokens": made,
        "reasoning_tokens": count(
            "thinking_tokens", part(part(usage, "output_tokens_details"), "thinking_tokens")
        ),
    }


def _json(value):
    return json.dumps(value or {}, ensure_ascii=False)
