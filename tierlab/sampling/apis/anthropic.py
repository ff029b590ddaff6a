"""Anthropic's Messages API."""

import json

from tierlab.sampling.providers import (
    Adapter,
    Reply,
    UsageFault,
    count,
    counted,
    filled,
    http_client,
    part,
    stop_of,
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
    """Return an adapter for the candidate's address; the key comes from the environment."""
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
        """Return the arguments of `messages.create`."""
        thinking = {"type": "adaptive"} if chosen.effort else None
        output = {"effort": chosen.effort} if chosen.effort else {}
        if chosen.effort == "none":
            thinking, output = {"type": "disabled"}, {}
        elif chosen.effort and chosen.effort.isdecimal():
            thinking, output = {"type": "enabled", "budget_tokens": int(chosen.effort)}, {}
        if prompt.schema:
            output["format"] = {"type": "json_schema", "schema": prompt.schema}
        tools = [
            {"input_schema": tool["parameters"]}
            | {name: tool[name] for name in ("name", "description")}
            for tool in prompt.tools
        ]
        warmth = None if chosen.temperature is None else {"temperature": chosen.temperature}
        return filled(
            model=chosen.model_id,
            max_tokens=chosen.output_limit(prompt),
            messages=[dict(message) for message in prompt.messages],
            system=prompt.system,
            tools=tools,
            thinking=thinking,
            output_config=output,
            extra_body=warmth,
        )

    async def whole(self, arguments):
        return reply(await self.client.messages.create(**arguments))

    async def streamed(self, arguments, watch):
        async with self.client.messages.stream(**arguments) as events:
            async for event in events:
                if event.type in ("text", "input_json"):
                    watch.first(event.type == "input_json" or event.text)
            message = await events.get_final_message()
        return reply(message)


def reply(message):
    """Make a `Reply` from the SDK's message."""
    blocks = [block.model_dump(warnings=False) for block in message.content]
    return Reply(
        "".join(block["text"] for block in blocks if block["type"] == "text"),
        tuple(
            (block["name"], json.dumps(block.get("input") or {}, ensure_ascii=False))
            for block in blocks
            if block["type"] == "tool_use"
        ),
        stop_of(message.stop_reason, _STOPS),
        message.stop_reason,
        reported_model=message.model,
        **counted(buckets, message.usage),
    )


def buckets(usage):
    """Return the tokens of a usage, or None if it lacks them.

    Anthropic's input_tokens leaves the cached tokens out. What is written without a time to live is for 5 minutes.
    """
    if part(usage, "input_tokens") is None or part(usage, "output_tokens") is None:
        return None
    hour = count(usage, "cache_creation", "ephemeral_1h_input_tokens")
    written = count(usage, "cache_creation_input_tokens")
    if hour > written:
        raise UsageFault(
            f"usage: {hour:,} tokens written to the cache for an hour, but only {written:,} in all"
        )
    return {
        "uncached_input_tokens": count(usage, "input_tokens"),
        "cache_read_tokens": count(usage, "cache_read_input_tokens"),
        "cache_write_short_tokens": written - hour,
        "cache_write_long_tokens": hour,
        "output_tokens": count(usage, "output_tokens"),
        "reasoning_tokens": count(usage, "output_tokens_details", "thinking_tokens"),
    }
