"""The providers' batch endpoints behind one protocol: send, find again, look, collect.

What a batch asks is what the live adapter would send, and what it answers is read by the live adapter: `LiveWire`
puts a stored message in place of the network.
"""

import io
import json
import math
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from tierlab.sampling.providers import Prompt, ProviderError, connect

_ANY = Prompt(({"role": "user", "content": "."},))
_CLOCKS = timedelta(hours=1)  # how far the provider's clock may be from ours
# Not billed: Anthropic and OpenAI say so of what was not processed, and of Google nothing else is known.
_EXPIRED = ProviderError(
    "timeout", "expired: the batch ended before this request was processed", in_doubt=False
)
_CANCELED = ProviderError(
    "unavailable", "canceled: the batch ended before this request was processed", in_doubt=False
)
_MISSING = ProviderError(
    "unavailable", "the batch has ended without a result for this request", in_doubt=True
)

# The HTTP status of each error type: platform.claude.com/docs/en/api/errors, November 2026
_ANTHROPIC_STATUS = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429, "api_error": 500, "timeout_error": 504,
    "overloaded_error": 529,
}  # fmt: skip
# HTTP statuses of the canonical codes: github.com/googleapis/googleapis, google/rpc/code.proto
_GOOGLE_STATUS = {
    1: 499,
    3: 400,
    4: 504,
    5: 404,
    6: 409,
    7: 403,
    8: 429,
    9: 400,
    10: 409,
    11: 400,
    12: 501,
    14: 503,
    16: 401,
}


@dataclass(frozen=True)
class Look:
    """A batch as the provider reports it.

    Attributes
    ----------
    ended : bool
    counts : dict
        Requests by "processing", "succeeded", "errored", as far as they are told.
    missing : ProviderError
        What a request has met that has no result when the batch has ended.
    """

    ended: bool
    counts: dict = field(default_factory=dict)
    missing: ProviderError = _MISSING


class LiveWire:
    """The live adapter of a candidate without a network: what it would send, and how it reads an answer."""

    def __init__(self, chosen):
        import httpx2

        self.chosen, self._status, self._body, self._sent = chosen, 400, {}, None
        self._adapter = connect(chosen, transport=httpx2.MockTransport(self._answer))

    def _answer(self, request):
        import httpx2

        self._sent = json.loads(request.content)
        return httpx2.Response(self._status, json=self._body)

    async def body(self, prompt):
        """The request's body; a `ProviderError` where the adapter itself refuses to send it."""
        self._status, self._body, self._sent = 400, {"error": {"message": "not sent"}}, None
        try:
            await self._adapter.answer(prompt, self.chosen, stream=False)
        except ProviderError:
            if self._sent is None:
                raise
        return {name: value for name, value in self._sent.items() if name != "stream"}

    async def reply(self, status, body):
        """The `Reply` to a response, without times; a `ProviderError` for a failed one."""
        self._status, self._body = status, body
        return replace(
            await self._adapter.answer(_ANY, self.chosen, stream=False),
            ttft_s=float("nan"),
            end_to_end_s=float("nan"),
        )

    async def close(self):
        await self._adapter.close()


class AnthropicBatches:
    """Message batches. A batch has no name: it is found again by its size, its time and the ids in its results."""

    # platform.claude.com/docs/en/build-with-claude/batch-processing, November 2026
    most_requests, most_bytes = 100_000, 256_000_000

    def __init__(self, client, chosen):
        self.batches = client.messages.batches

    def line(self, key, body):
        return {
            "custom_id": key,
            "params": body,
        }  # at most 64 letters, digits, _ and -: a sha256 fits

    async def submit(self, name, lines, sending):
        await sending()
        return (await self.batches.create(requests=lines)).id

    async def find(self, name, keys, since, taken):
        waiting = False
        async for batch in self.batches.list(limit=100):
            if batch.created_at < since - _CLOCKS:
                break
            if batch.id in taken or sum(batch.request_counts.to_dict().values()) != len(keys):
                continue
            if batch.processing_status != "ended":
                waiting = True
                continue
            async with aclosing(self.results(batch.id)) as results:
                if (await anext(results, ("", None)))[0] in keys:
                    return batch.id, False
        return None, waiting

    async def look(self, batch_id):
        batch = await self.batches.retrieve(batch_id)
        counts = batch.request_counts
        told = {"processing": counts.processing, "succeeded": counts.succeeded}
        return Look(
            batch.processing_status == "ended",
            told | {"errored": counts.errored + counts.expired + counts.canceled},
        )

    async def results(self, batch_id):
        async for item in await self.batches.results(batch_id):
            result = item.result
            if result.type == "succeeded":
                yield item.custom_id, (200, result.message.to_dict())
            elif result.type == "errored":
                yield (
                    item.custom_id,
                    (_ANTHROPIC_STATUS.get(result.error.error.type, 500), result.error.to_dict()),
                )
            else:
                yield item.custom_id, _EXPIRED if result.type == "expired" else _CANCELED


class OpenAIBatches:
    """A file of requests to one endpoint; found again by its metadata."""

    # developers.openai.com/api/docs/guides/batch, and the reference of batches.create, November 2026
    most_requests, most_bytes = 50_000, 200_000_000
    _ENDED = ("completed", "failed", "expired", "cancelled")

    def __init__(self, client, chosen):
        self.client = client
        self.endpoint = "/v1/responses" if chosen.provider == "openai" else "/v1/chat/completions"

    def line(self, key, body):
        return {"custom_id": key, "method": "POST", "url": self.endpoint, "body": body}

    async def submit(self, name, lines, sending):
        sent = await self.client.files.create(
            file=(f"{name}.jsonl", _jsonl(lines)), purpose="batch"
        )
        await sending()
        metadata = {"tierlab": name}
        arguments = {
            "input_file_id": sent.id,
            "endpoint": self.endpoint,
            "completion_window": "24h",
        }
        return (await self.client.batches.create(**arguments, metadata=metadata)).id

    async def find(self, name, keys, since, taken):
        async for batch in self.client.batches.list(limit=100):
            if (batch.metadata or {}).get("tierlab") == name:
                return batch.id, False
            if datetime.fromtimestamp(batch.created_at, UTC) < since - _CLOCKS:
                break
        return None, False

    async def look(self, batch_id):
        batch = await self.client.batches.retrieve(batch_id)
        counts = batch.request_counts
        told = {}
        if counts:
            done, failed = counts.completed, counts.failed
            told = {
                "processing": counts.total - done - failed,
                "succeeded": done,
                "errored": failed,
            }
        fate = {"expired": _EXPIRED, "cancelled": _CANCELED}.get(batch.status, _MISSING)
        if batch.status == "failed":  # refused as a whole, before any request was processed
            errors = "; ".join(
                f"{error.code}: {error.message}"
                for error in (batch.errors and batch.errors.data) or ()
            )
            fate = ProviderError("bad_request", errors or "the batch failed")
        return Look(batch.status in self._ENDED, told, fate)

    async def results(self, batch_id):
        batch = await self.client.batches.retrieve(batch_id)
        for file_id in filter(None, (batch.output_file_id, batch.error_file_id)):
            for item in _lines((await self.client.files.content(file_id)).content):
                yield item["custom_id"], self._outcome(item)

    @staticmethod
    def _outcome(item):
        if response := item.get("response"):
            return response["status_code"], response["body"]
        error = item.get("error") or {}
        known = {"batch_expired": _EXPIRED, "batch_cancelled": _CANCELED}
        return known.get(error.get("code")) or ProviderError(
            "unavailable", f"{error.get('code')}: {error.get('message')}"
        )


class GoogleBatches:
    """A file of requests to one model; found again by its display name.

    Requests could also be sent inside the call, but such answers have come back without their metadata and in another
    order (github.com/googleapis/python-genai, issues 1909 and 2008); those in a file carry their key.
    """

    # ai.google.dev/gemini-api/docs/rate-limits, November 2026: a file of 2 GB, and no limit on the number of requests
    most_requests, most_bytes = math.inf, 2_000_000_000
    _ENDED = ("SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED")

    def __init__(self, client, chosen):
        self.client, self.model_id = client.aio, chosen.model_id

    def line(self, key, body):
        return {"key": key, "request": body}

    async def submit(self, name, lines, sending):
        settings = {"display_name": name, "mime_type": "application/jsonl"}
        sent = await self.client.files.upload(file=io.BytesIO(_jsonl(lines)), config=settings)
        await sending()
        return (
            await self.client.batches.create(
                model=self.model_id, src=sent.name, config={"display_name": name}
            )
        ).name

    async def find(self, name, keys, since, taken):
        async for job in await self.client.batches.list(config={"page_size": 100}):
            if job.display_name == name:
                return job.name, False
        return None, False

    async def look(self, batch_id):
        job = await self.client.batches.get(name=batch_id)
        state = job.state.name.removeprefix("JOB_STATE_")
        failed = ProviderError("unavailable", "the batch failed", in_doubt=True)
        fates = {"EXPIRED": _EXPIRED, "CANCELLED": _CANCELED, "FAILED": failed}
        return Look(state in self._ENDED, {}, fates.get(state, _MISSING))

    async def results(self, batch_id):
        job = await self.client.batches.get(name=batch_id)
        if not (job.dest and job.dest.file_name):
            return
        for item in _lines(await self.client.files.download(file=job.dest.file_name)):
            error = item.get("error") or item.get("status")
            if error:
                code = error.get("code", 13)
                yield (
                    item["key"],
                    (code if code >= 400 else _GOOGLE_STATUS.get(code, 500), {"error": error}),
                )
            else:
                yield item["key"], (200, item["response"])


APIS = {
    "anthropic": AnthropicBatches,
    "openai": OpenAIBatches,
    "openai-chat": OpenAIBatches,
    "google": GoogleBatches,
}


def split(lines, most_requests, most_bytes):
    """Lines in groups within a provider's limits on the number and the bytes of one batch.

    Examples
    --------
    >>> [len(group) for group in split([{"custom_id": "a"}] * 5, 2, 10_000)]
    [2, 2, 1]
    """
    groups, size = [], 0
    for line in lines:
        own = len(json.dumps(line)) + 2
        if (
            not groups or len(groups[-1]) >= most_requests or size + own > most_bytes - 1000
        ):  # what goes around the lines
            groups.append([])
            size = 0
        groups[-1].append(line)
        size += own
    return groups


def _jsonl(lines):
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def _lines(content):
    return (json.loads(line) for line in content.split(b"\n") if line.strip())
