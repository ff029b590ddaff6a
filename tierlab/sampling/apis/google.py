"""Google's Gemini API (generate content)."""

import json

from tierlab.sampling.providers import (
    Adapter,
    Reply,
    UsageFault,
    count,
    counted,
    http_client,
    part,
    stop_of,
)

_STOPS = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "TOO_MANY_TOOL_CALLS": "length",
    # The model's own slips, which are billed and hold no content.
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
    """Return an adapter for the candidate's address; the key comes from the environment."""
    from google import genai

    # With a client of ours, the SDK does not change to another transport if aiohttp happens to be installed.
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
        """Return the arguments of `models.generate_content`."""
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
            watch.first(any(piece.text or piece.function_call for piece in _parts(chunk)))
        return reply(chunks)

    async def close(self):
        await self.client.aio.aclose()


def reply(chunks):
    """Make a `Reply` from the chunks of a stream, or of one whole response."""
    finish = blocked = usage = None
    text, calls, model = "", [], ""
    for chunk in chunks:
        model, usage = chunk.model_version or model, chunk.usage_metadata or usage
        blocked = (chunk.prompt_feedback and chunk.prompt_feedback.block_reason) or blocked
        for candidate in (chunk.candidates or [])[:1]:
            finish = candidate.finish_reason or finish
        for piece in _parts(chunk):
            text += piece.text or ""
            if call := piece.function_call:
                calls.append((call.name, json.dumps(call.args or {}, ensure_ascii=False)))
    word = getattr(finish or blocked, "value", finish or blocked)
    filtered = blocked or any(name in (word or "") for name in _BLOCKED)
    stop = "content_filter" if filtered else stop_of(word, _STOPS)
    return Reply(text, tuple(calls), stop, word, reported_model=model, **counted(buckets, usage))


def buckets(usage):
    """Return the tokens of a usage, or None if it lacks them.

    Gemini's prompt counter includes the cached tokens; its output counter leaves the thoughts out.
    """
    if part(usage, "prompt_token_count") is None:
        return None
    prompt = count(usage, "prompt_token_count") + count(usage, "tool_use_prompt_token_count")
    read, thoughts = (
        count(usage, f"{name}_token_count") for name in ("cached_content", "thoughts")
    )
    if read > prompt:
        raise UsageFault(f"usage: more cached tokens ({read:,}) than in the prompt ({prompt:,})")
    return {
        "uncached_input_tokens": prompt - read,
        "cache_read_tokens": read,
        "cache_write_short_tokens": 0,
        "cache_write_long_tokens": 0,
        "output_tokens": count(usage, "candidates_token_count") + thoughts,
        "reasoning_tokens": thoughts,
    }


def _parts(chunk):
    """The visible parts of the first candidate; thoughts are billed but not shown."""
    content = chunk.candidates[0].content if chunk.candidates else None
    return [piece for piece in (content and content.parts) or [] if not piece.thought]
