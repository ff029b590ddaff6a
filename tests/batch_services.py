"""The batch endpoints of three providers, scripted after their references, for a client's transport.

A batch has ended at the second look. How a request ends is decided by a word in it: `fates={"Rome": "expired"}`.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx2

INPUT, OUTPUT = 1000, 100  # tokens of every answer


class Killed(BaseException):
    """The process ends here: nothing catches it."""


def answer(body, status=200, **headers):
    return httpx2.Response(status, json=body, headers=headers)


def jsonl(lines):
    return httpx2.Response(200, content="".join(json.dumps(line) + "\n" for line in lines))


@dataclass
class Service:
    """Common to all: what was submitted, what is refused, and where the client is killed."""

    fates: dict = field(default_factory=dict)
    made: list = field(default_factory=list)  # of each batch: id, name, lines, looks
    seen: list = field(default_factory=list)  # method and path of each request
    refuse: list = field(default_factory=list)  # responses in place of the next batches
    kill_at: tuple | None = None  # (number of the request, "before" or "after" the service has it)
    stays: bool = False
    uploads: dict = field(default_factory=dict)

    def __call__(self, request):
        number = len(self.seen)
        self.seen.append(f"{request.method} {request.url.path}")
        if self.kill_at == (number, "before"):
            raise Killed
        response = self.route(request.method, request.url.path, request)
        if self.kill_at == (number, "after"):
            raise Killed
        return response

    @property
    def transport(self):
        return httpx2.MockTransport(self)

    @property
    def asked(self):
        """How often each key has been submitted."""
        return Counter(line[self.key] for batch in self.made for line in batch["lines"])

    def make(self, lines, **more):
        if self.refuse:
            refused = self.refuse.pop(0)
            if isinstance(refused, Exception):
                raise refused
            return refused
        self.made.append(
            {"id": f"batch_{len(self.made)}", "lines": lines, "looks": 0, "at": datetime.now(UTC)}
            | more
        )
        return answer(self.shown(self.made[-1]))

    def batch(self, batch_id):
        return next(batch for batch in self.made if batch["id"] == batch_id)

    def look(self, batch_id):
        batch = self.batch(batch_id)
        batch["looks"] += 1
        return answer(self.shown(batch))

    def ended(self, batch):
        return batch["looks"] >= 2 and not self.stays

    def fate(self, line):
        return next(
            (fate for word, fate in self.fates.items() if word in json.dumps(line)), "succeeded"
        )

    def results(self, batch):
        return [
            self.result(line) for line in reversed(batch["lines"]) if self.fate(line) != "missing"
        ]


class Anthropic(Service):
    site = "https://api.anthropic.com"
    model, key, asked_in, live = "claude-haiku-5-5", "custom_id", "params", "/v1/messages"

    def route(self, method, path, request):
        batch_id = path.removeprefix("/v1/messages/batches").strip("/")
        if method == "POST":
            return self.make(json.loads(request.content)["requests"])
        if not batch_id:
            for batch in self.made:  # time goes on while one looks through the list
                batch["looks"] += 1
            return answer(
                {"data": [self.shown(batch) for batch in reversed(self.made)], "has_more": False}
            )
        if batch_id.endswith("/results"):
            return jsonl(self.results(self.batch(batch_id.removesuffix("/results"))))
        return self.look(batch_id)

    def shown(self, batch):
        ended, counts = (
            self.ended(batch),
            dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0),
        )
        url = f"{self.site}/v1/messages/batches/{batch['id']}/results"
        at = batch["at"].isoformat()
        return {
            "id": batch["id"], "type": "message_batch", "processing_status": "ended" if ended else "in_progress",
            "request_counts": counts | {"succeeded" if ended else "processing": len(batch["lines"])},
            "created_at": at, "expires_at": at, "ended_at": at if ended else None, "results_url": url if ended else None,
        }  # fmt: skip

    def result(self, line):
        fate = self.fate(line)
        message = {
            "id": "msg_1", "type": "message", "role": "assistant", "model": self.model, "stop_sequence": None,
            "content": [{"type": "text", "text": "Paris"}], "stop_reason": "end_turn",
            "usage": {"input_tokens": INPUT, "output_tokens": OUTPUT},
        }  # fmt: skip
        kinds = {
            "bad": ("invalid_request_error", "messages: at least one is needed"), "busy": ("overloaded_error", "Overloaded"),
            "slow": ("timeout_error", "Timed out"),
            "overflow": ("invalid_request_error", "prompt is too long: 250000 tokens > 200000 maximum"),
        }  # fmt: skip
        stops = {"truncated": "max_tokens", "no_end": None, "refused": "refusal"}
        result = {"type": "succeeded", "message": message}
        if fate in kinds:
            error = dict(zip(("type", "message"), kinds[fate], strict=True))
            result = {
                "type": "errored",
                "error": {"type": "error", "request_id": "req_1", "error": error},
            }
        elif fate in stops:
            result["message"] = message | {"stop_reason": stops[fate]}
        elif fate in ("expired", "canceled"):
            result = {"type": fate}
        return {
            "custom_id": "nobody" if fate == "stranger" else line["custom_id"],
            "result": result,
        }


class OpenAI(Service):
    model, key, asked_in, live, endpoint = (
        "gpt-6-luna",
        "custom_id",
        "body",
        "/v1/responses",
        "/v1/responses",
    )
    ends_as = "completed"

    def route(self, method, path, request):
        if (method, path) == ("POST", "/v1/files"):
            content = re.search(rb'(\{"custom_id".*\})\n', request.content, re.DOTALL)[1]
            self.uploads[f"file-{len(self.uploads)}"] = [
                json.loads(line) for line in content.split(b"\n")
            ]
            shown = {
                "object": "file",
                "purpose": "batch",
                "bytes": 1,
                "created_at": 1,
                "filename": "x",
                "status": "processed",
            }
            return answer(shown | {"id": list(self.uploads)[-1]})
        if (method, path) == ("POST", "/v1/batches"):
            body = json.loads(request.content)
            assert body["endpoint"] == self.endpoint and body["completion_window"] == "24h"
            return self.make(self.uploads[body["input_file_id"]], metadata=body["metadata"])
        if path == "/v1/batches":
            return answer(
                {
                    "object": "list",
                    "data": [self.shown(b) for b in reversed(self.made)],
                    "has_more": False,
                }
            )
        if found := re.fullmatch("/v1/files/(.*)-(out|err)/content", path):
            results = self.results(self.batch(found[1]))
            return jsonl([one for one in results if bool(one["error"]) == (found[2] == "err")])
        return self.look(path.rpartition("/")[2])

    def shown(self, batch):
        ended, n = self.ended(batch), len(batch["lines"])
        completed = ended and self.ends_as != "failed"
        return {
            "id": batch["id"], "object": "batch", "endpoint": self.endpoint, "input_file_id": "f", "completion_window": "24h",
            "status": self.ends_as if ended else "in_progress", "created_at": int(batch["at"].timestamp()),
            "metadata": batch["metadata"], "request_counts": {"total": n, "completed": n * ended, "failed": 0},
            "output_file_id": f"{batch['id']}-out" if completed else None,
            "error_file_id": f"{batch['id']}-err" if completed else None,
            "errors": {"object": "list", "data": [{"code": "invalid_json_line", "message": "line 1", "line": 1, "param": None}]}
            if self.ends_as == "failed" else None,
        }  # fmt: skip

    def result(self, line):
        fate, status, error = self.fate(line), 200, None
        body = self.good(fate)
        refusals = {
            "bad": (400, "invalid_request_error", "no such option"), "busy": (503, "server_error", "overloaded"),
            "slow": (504, "server_error", "timed out"),
            "overflow": (400, "invalid_request_error", "exceeds the context window"),
        }  # fmt: skip
        if fate in refusals:
            status, kind, text = refusals[fate]
            body = {"error": {"type": kind, "message": text, "code": None, "param": None}}
        if fate in ("expired", "canceled"):
            error = {
                "code": {"expired": "batch_expired", "canceled": "batch_cancelled"}[fate],
                "message": fate,
            }
        name = "nobody" if fate == "stranger" else line["custom_id"]
        response = None if error else {"status_code": status, "request_id": "req_1", "body": body}
        return {"id": "batch_req_1", "custom_id": name, "response": response, "error": error}

    def good(self, fate):
        item = {"type": "output_text", "text": "Paris", "annotations": []}
        if fate == "refused":
            item = {"type": "refusal", "refusal": "I will not."}
        status = {"truncated": "incomplete", "no_end": "in_progress"}.get(fate, "completed")
        return {
            "id": "resp_1", "object": "response", "created_at": 1, "model": self.model, "status": status,
            "incomplete_details": {"reason": "max_output_tokens"} if fate == "truncated" else None,
            "output": [{"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [item]}],
            "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
            "usage": {"input_tokens": INPUT, "output_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT,
                      "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}},
        }  # fmt: skip


class OpenAIChat(OpenAI):
    live = endpoint = "/v1/chat/completions"

    def good(self, fate):
        stop = {"truncated": "length", "no_end": None}.get(fate, "stop")
        said = (
            {"content": None, "refusal": "I will not."}
            if fate == "refused"
            else {"content": "Paris"}
        )
        return {
            "id": "c", "object": "chat.completion", "created": 1, "model": self.model,
            "choices": [{"index": 0, "finish_reason": stop, "message": {"role": "assistant"} | said}],
            "usage": {"prompt_tokens": INPUT, "completion_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT},
        }  # fmt: skip


class Google(Service):
    model, key, asked_in = "gemini-3.5-flash-lite", "key", "request"
    live = "/models/gemini-3.5-flash-lite:generateContent"

    def route(self, method, path, request):
        if path.startswith("/upload/"):
            return answer(
                {},
                **{
                    "x-goog-upload-url": "https://generativelanguage.googleapis.com/put",
                    "x-goog-upload-status": "active",
                },
            )
        if path == "/put":
            self.uploads[f"files/{len(self.uploads)}"] = [
                json.loads(line) for line in request.content.split(b"\n") if line
            ]
            return answer(
                {"file": {"name": list(self.uploads)[-1]}}, **{"x-goog-upload-status": "final"}
            )
        if path.endswith(":batchGenerateContent"):
            batch = json.loads(request.content)["batch"]
            return self.make(
                self.uploads[batch["inputConfig"]["fileName"]], name=batch["displayName"]
            )
        if found := re.search("/files/(batch_.*)-out:download", path):
            return jsonl(self.results(self.batch(found[1])))
        if path.endswith("/batches"):
            return answer({"operations": [self.shown(batch) for batch in reversed(self.made)]})
        return self.look(path.rpartition("/")[2])

    def shown(self, batch):
        ended = self.ended(batch)
        about = {
            "displayName": batch["name"],
            "state": "BATCH_STATE_SUCCEEDED" if ended else "BATCH_STATE_RUNNING",
        }
        if ended:
            about["output"] = {"responsesFile": f"files/{batch['id']}-out"}
        return {"name": f"batches/{batch['id']}", "metadata": about}

    def result(self, line):
        fate = self.fate(line)
        errors = {
            "bad": (3, "no such field"),
            "busy": (14, "overloaded"),
            "slow": (4, "deadline exceeded"),
            "overflow": (3, "input token count exceeds the maximum number of tokens"),
        }
        key = "nobody" if fate == "stranger" else line["key"]
        if fate in errors:
            code, text = errors[fate]
            return {"key": key, "error": {"code": code, "message": text}}
        finish = {"truncated": "MAX_TOKENS", "refused": "SAFETY"}.get(fate, "STOP")
        candidate = {"content": {"role": "model", "parts": [{"text": "Paris"}]}, "index": 0}
        usage = {
            "promptTokenCount": INPUT,
            "candidatesTokenCount": OUTPUT,
            "totalTokenCount": INPUT + OUTPUT,
        }
        found = candidate | ({} if fate == "no_end" else {"finishReason": finish})
        return {
            "key": key,
            "response": {"candidates": [found], "usageMetadata": usage, "modelVersion": self.model},
        }
