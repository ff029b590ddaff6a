"""Model servers for the tests: two emulators and a local model that this project did not write, and scripted raw replies.

Fixtures: `llmock`, `aimock` (a `Server` each, reset for every test), `local_model` (base URL for an OpenAI client) and
`raw_server`. The root's conftest.py offers them to every test. What is not installed is skipped
with the make target that installs it. All of them listen on 127.0.0.1 and end with the process that started them.
"""

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tierlab.sampling import local

ROOT = Path(__file__).resolve().parent.parent
INSTALLED = ROOT / ".servers"
AIMOCK_REPLIES = ROOT / "tests" / "data" / "aimock"
KEY = "not-a-secret"
START_S = 30
# Ends the command when this process does, however it ends: standard input is a pipe that then closes.
_UNTIL_EOF = 'exec 3<&0; "$@" </dev/null 3<&- & pid=$!; { read -r line <&3; kill $pid; } >/dev/null 2>&1 & wait $pid'


class NotInstalled(RuntimeError):
    """A server's program is missing; the message says how to install it."""


@dataclass
class Server:
    """A running server, where each provider's SDK finds its API on it, and its log."""

    url: str
    paths: Mapping = field(default_factory=lambda: {"anthropic": "", "openai": "/v1", "google": ""})
    log: Path | None = None
    process: subprocess.Popen | None = None

    def base_url(self, provider):
        return self.url + self.paths[provider]

    def env(self):
        """Variables that point the three official SDKs here; Google's has its emulated version."""
        return {
            "ANTHROPIC_BASE_URL": self.base_url("anthropic"),
            "ANTHROPIC_API_KEY": KEY,
            "OPENAI_BASE_URL": self.base_url("openai"),
            "OPENAI_API_KEY": KEY,
            "GOOGLE_GEMINI_BASE_URL": self.base_url("google"),
            "GEMINI_API_KEY": KEY,
            "GOOGLE_GENAI_API_VERSION": "beta",
        }

    def control(self, method, path, body=None):
        """Call the server's own control API; returns its JSON, or None where it answers without any."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=10)
        try:
            connection.request(
                method, path, body and json.dumps(body), {"content-type": "application/json"}
            )
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        if response.status >= 400:
            raise RuntimeError(
                f"{method} {path}: {response.status} {text.decode(errors='replace')}"
            )
        return json.loads(text) if text else None


@contextmanager
def serving_llmock(*options):
    """llmock with options of its command line; `POST /_llmock/scenario` scripts faults, `GET /_llmock/requests` counts.

    Options: `--latency-ms`, `--error-rate 429=0.2`, `--stream-fault truncate=0.1`, `--rpm`, `--response-style`, ...
    """
    program = INSTALLED / "venv" / "bin" / "llmock"
    if not program.exists():
        raise NotInstalled("llmock is not installed: make servers")
    paths = {"anthropic": "/anthropic", "openai": "/v1", "google": "/gemini"}
    with _running(
        [program, "serve", "--host", "127.0.0.1", "--log-level", "warning", *options], paths
    ) as server:
        yield server


@contextmanager
def serving_aimock(*options, replies=AIMOCK_REPLIES):
    """aimock with a folder of replies; `GET /__aimock/journal` lists requests, `POST /__aimock/chaos` sets fault rates.

    A reply is chosen by a text that the last user message contains, so that one folder serves every provider.
    """
    program = INSTALLED / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
    if not program.exists():
        raise NotInstalled("aimock is not installed: make servers (needs node and npm)")
    command = [
        "node",
        program,
        "--host",
        "127.0.0.1",
        "-f",
        replies,
        "--strict",
        "--log-level",
        "warn",
    ]
    with _running([*command, *options], Server("").paths) as server:
        yield server


@contextmanager
def _running(command, paths):
    """Start a server on a free port and wait until it is well; another port where it was taken in between."""
    with tempfile.TemporaryDirectory() as folder:
        for attempt in range(3):
            port, log = _free_port(), Path(folder) / f"{attempt}.log"
            process = _start([*command, "--port", str(port)], log)
            server = Server(f"http://127.0.0.1:{port}", paths, log, process)
            try:
                if _ready(server):
                    yield server
                    return
            finally:
                _end(process)
        raise RuntimeError(
            f"{Path(command[0]).name} did not start; its log ends with:\n{tail(log)}"
        )


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _start(command, log):
    # Servers look at no proxy, key or setting of the machine they are tested on.
    env = {
        name: os.environ[name]
        for name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH")
        if name in os.environ
    }
    with log.open("wb") as output:
        return subprocess.Popen(
            ["sh", "-c", _UNTIL_EOF, "sh", *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,
        )


def _ready(server):
    deadline = time.monotonic() + START_S
    while server.process.poll() is None and time.monotonic() < deadline:
        # Who answers there could be another server that took the port first.
        if urlsplit(server.url).port in {address.port for address in listening(server.process.pid)}:
            with suppress(OSError, http.client.HTTPException, RuntimeError):
                server.control("GET", "/health")
                return True
        time.sleep(0.05)
    return False


def listening(pid):
    """Addresses (ip, port) at which a process, or what it started, takes connections."""
    found = set()
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        with suppress(psutil.Error):
            found |= {
                connection.laddr
                for connection in process.net_connections()
                if connection.status == psutil.CONN_LISTEN
            }
    return found


def _end(process):
    """End a server with all that it started: asked first, so that the shell around it can wait for it."""
    process.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=3)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def tail(log, lines=40):
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


DROP = object()


@dataclass(frozen=True)
class Reply:
    """What the raw server sends: texts as they are, numbers as pauses in seconds, DROP to cut the connection there.

    A reply that stops before its last event ends early, as a proxy that loses its upstream would let it.
    """

    steps: tuple
    status: int = 200
    headers: Mapping = field(default_factory=lambda: {"content-type": "text/event-stream"})

    @classmethod
    def of_json(cls, body, status=200, **headers):
        named = {name.replace("_", "-"): str(value) for name, value in headers.items()}
        return cls((json.dumps(body),), status, {"content-type": "application/json", **named})


def sse(*events):
    """Server-sent events: a dict is one JSON event (named by its `type`, if it has one), a text is sent as it is."""
    frames = []
    for event in events:
        name = f"event: {event['type']}\n" if isinstance(event, dict) and "type" in event else ""
        frames.append(f"{name}data: {event if isinstance(event, str) else json.dumps(event)}\n\n")
    return tuple(frames)


@dataclass(frozen=True)
class Received:
    """A request as it came over the wire."""

    method: str
    path: str
    headers: Mapping  # names in lower case
    body: object  # JSON, or None


class RawServer(Server):
    """Sends what a test scripts, byte by byte: first what `queue` holds, then what `answer(request)` returns."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._serving = self._loop.run_until_complete(
            asyncio.start_server(self._connected, "127.0.0.1", 0)
        )
        super().__init__(f"http://127.0.0.1:{self._serving.sockets[0].getsockname()[1]}")
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.reset()

    def reset(self):
        self.queue, self.requests, self.answer = deque(), [], None

    def reply(self, *steps, status=200, **headers):
        """Queue one reply of these steps."""
        self.queue.append(Reply(steps, status, {"content-type": "text/event-stream", **headers}))

    def reply_json(self, body, status=200, **headers):
        """Queue one JSON reply; `retry_after=3` is the header retry-after."""
        self.queue.append(Reply.of_json(body, status, **headers))

    def close(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
            with suppress(asyncio.CancelledError, OSError):
                self._loop.run_until_complete(task)
        self._serving.close()
        self._loop.close()

    def _next(self, request):
        self.requests.append(request)
        if self.queue:
            return self.queue.popleft()
        if self.answer:
            return self.answer(request)
        return Reply.of_json(
            {"error": {"message": "no reply is scripted", "type": "invalid_request_error"}}, 400
        )

    async def _connected(self, reader, writer):
        try:
            while request := await _read(reader):
                await _send(self._next(request), reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


async def _read(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    method, path, _ = first.split(" ")
    return Received(method, path, headers, json.loads(body) if body else None)


async def _send(reply, reader, writer):
    lines = [f"HTTP/1.1 {reply.status} Scripted", "transfer-encoding: chunked"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    started = False
    for step in (*reply.steps, None):
        if step is DROP:
            await writer.drain()
            writer.transport.abort()
            raise ConnectionResetError
        if isinstance(step, int | float):
            await asyncio.sleep(step)
            continue
        if not started:  # a first pause comes before the headers, as it does while a model thinks
            writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
            started = True
        data = step.encode() if isinstance(step, str) else step or b""
        writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await writer.drain()


def bench_server(latency_ms=200):
    """Context of a server that answers after a fixed time whatever contains "benchmark": the faster of the emulators."""
    return serving_aimock("--chaos-latency", str(latency_ms), "--journal-max", "1")


@contextmanager
def _or_skip():
    try:
        yield
    except (NotInstalled, ImportError) as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def _llmock():
    with _or_skip(), serving_llmock() as server:
        yield server


@pytest.fixture
def llmock(_llmock):
    """llmock without queued faults, and with no requests counted yet."""
    _llmock.control("POST", "/_llmock/reset")
    return _llmock


@pytest.fixture(scope="session")
def _aimock():
    with _or_skip(), serving_aimock() as server:
        yield server


@pytest.fixture
def aimock(_aimock):
    """aimock with the replies of tests/data/aimock, no faults, and with no requests counted yet."""
    _aimock.control("DELETE", "/__aimock/chaos")
    _aimock.control("POST", "/__aimock/reset/journal")
    return _aimock


@pytest.fixture(scope="session")
def local_model():
    """Base URL of SmolLM2-135M-Instruct for an OpenAI client."""
    with _or_skip(), local.serve() as url:
        yield url


@pytest.fixture
def raw_server():
    """A server that sends what the test scripts."""
    server = RawServer()
    yield server
    server.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, Server) and value.log and not name.startswith("_"):
                report.sections.append((f"log of {name}", tail(value.log)))
    return report
