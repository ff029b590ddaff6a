"""Google's Gemini API (generate content)."""

import json

from tierlab.sampling.providers import (
    Adapter,
    Reply,
    UsageFault,
    count,
    counted,
    http_client,
    stop_of,
)

_STOPS = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "TOO_MANY_TOOL_CALLS": "length",
    # The model's own slips: billed, and answers without content.
    "MALFORMED_FUNCTION_CALL": "stop",
    "UNEXPECTED_TOOL_CALL": "stop",
    "MALFORMED_RESPONSE": "stop",
}
_BLOCKED = (
    "SAFETY",
    "RECITATION",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "LANGUAGE",
    "MODEL_ARMOR",
    "ESCALATION",
)


def connect(chosen, *, timeout_s, transport=None):
    """An adapter for the candidate's address; the key comes from the environment."""
    from google import genai

    # Given its own client, the SDK does not change to another transport when aiohttp happens to be installed.
    options = {
        "timeout": int(timeout_s * 1000),
        "httpx_async_client": http_client(timeout_s, transport),
    }
    if chosen.base_url:
        options["base_url"] = chosen.base_url
    return GenerateContent(genai.Client(http_options=options))


class GenerateContent(Adapter):
    """Answers through `models.generate_content`."""

    @staticmethod
    def request(prompt, chosen):
        """Arguments of `models.generate_content`."""
        from google.genai import types

        config = {
            "max_output_tokens": chosen.output_limit(prompt),
            "system_instruction": prompt.system,
            "temperature": chosen.temperature,
        }
        if prompt.tools:
            functions = [
                types.FunctionDeclaration(
                    name=tool["name"],
                    description=tool.get("description", ""),
                    parameters_json_schema=dict(tool["parameters"]),
                )
                for tool in prompt.tools
            ]
            config["tools"] = [types.Tool(function_declarations=functions)]
            config["automatic_function_calling"] = types.AutomaticFunctionCallingConfig(
                disable=True
            )
        if prompt.schema:
            config |= {
                "response_mime_type": "application/json",
                "response_json_schema": dict(prompt.schema),
            }
        if chosen.effort == "none" or (chosen.effort and chosen.effort.isdecimal()):
            budget = 0 if chosen.effort == "none" else int(chosen.effort)
            config["thinking_config"] = types.ThinkingConfig(thinking_budget=budget)
        elif chosen.effort:
            config["thinking_config"] = types.ThinkingConfig(thinking_level=chosen.effort.upper())
        contents = [
            types.Content(
                role="model" if m["role"] == "assistant" else "user",
                parts=[types.Part(text=m["content"])],
            )
            for m in prompt.messages
        ]
        return {
            "model": chosen.model_id,
            "contents": contents,
            "config": types.GenerateContentConfig(**config),
        }

    async def whole(self, arguments):
        return reply([await self.client.aio.models.generate_content(**arguments)])

    async def streamed(self, arguments, watch):
        chunks = []
        async for chunk in await self.client.aio.models.generate_content_stream(**arguments):
            chunks.append(chunk)
            watch.first(any(part.text or part.function_call for part in _parts(chunk)))
        return reply(chunks)

    async def close(self):
        await self.client.aio.aclose()


def reply(chunks):
    """A `Reply` from the chunks of a stream, or from one whole response."""
    finish = blocked = usage = None
    text, calls, model = "", [], ""
    for chunk in chunks:
        model, usage = chunk.model_version or model, chunk.usage_metadata or usage
        blocked = (chunk.prompt_feedback and chunk.prompt_feedback.block_reason) or blocked
        for candidate in (chunk.candidates or [])[:1]:
            finish = candidate.finish_reason or finish
        for part in _parts(chunk):
            text += part.text or ""
            if part.function_call:
                calls.append(
                    (
                        part.function_call.name,
                        json.dumps(part.function_call.args or {}, ensure_ascii=False),
                    )
                )
    word = getattr(finish or blocked, "value", finish or blocked)
    filtered = blocked or any(name in (word or "") for name in _BLOCKED)
    stop = "content_filter" if filtered else stop_of(word, _STOPS)
    return Reply(text, tuple(calls), stop, word, reported_model=model, **counted(buckets, usage))


def buckets(usage):
    """Gemini's prompt counter includes the cached tokens; its output counter leaves the thoughts out."""
    if usage is None or usage.prompt_token_count is None:
        return None
    names = ("prompt", "tool_use_prompt", "cached_content", "thoughts", "candidates")
    prompt, tools, read, thoughts, shown = (
        count(f"{name}_token_count", getattr(usage, f"{name}_token_count")) for name in names
    )
    prompt += tools
    if read > prompt:
        raise UsageFault(f"usage: more cached tokens ({read:,}) than of the prompt ({prompt:,})")
    return {
        "uncached_input_tokens": prompt - read,
        "cache_read_tokens": read,
        "cache_write_short_tokens": 0,
        "cache_write_long_tokens": 0,
        "output_tokens": shown + thoughts,
        "reasoning_tokens": thoughts,
    }


def _parts(chunk):
    """Visible parts of the first candidate: thoughts are billed, not shown."""
    content = chunk.candidates[0].content if chunk.candidates else None
    return [part for part in (content and content.parts) or [] if not part.thought]
