"""What goes wrong between this machine and a model, over real sockets: each fault has words, and none is booked as spent."""

import os
import socket
import threading
from contextlib import closing, suppress

import httpx2
import pytest

import tierlab as tl
from tests.calls import together
from tests.frames import CANDIDATES, frames, response, transport
from tests.servers import KEY, Reply
from tierlab.sampling.examples import Example
from tierlab.sampling.providers import Candidate

QUESTION = [Example("q1", "own", "What is the capital of France?", "exact", "Paris.")]
every_provider = pytest.mark.parametrize("provider", CANDIDATES)
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
VARIABLES = {
    "anthropic": "ANTHROPIC_API_KEY",
    "openai": "OPENAI_API_KEY",
    "google": "GEMINI_API_KEY",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in list(os.environ):
        if name.split("_")[0] in (
            "ANTHROPIC",
            "OPENAI",
            "GEMINI",
            "GOOGLE",
        ) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name in VARIABLES.values():
        monkeypatch.setenv(name, KEY)


@pytest.fixture
def sampled(tmp_path):
    """`sampled(provider, address, stream)`: the one row of a run against a server at an address, and its account."""

    def run(provider, address, stream, **options):
        path = {"openai": "/v1", "openai-chat": "/v1", "compatible": "/v1"}.get(provider, "")
        chosen = Candidate(
            provider, CANDIDATES[provider].model_id, base_url=address + path, usd_per_mtok=(1, 2)
        )
        samples = tl.sample(
            QUESTION,
            [chosen],
            **together(
                store=tmp_path / "run.sqlite",
                budget_usd=1,
                stream=stream,
                warm_up=False,
                attempts=2,
                deadline_s=20,
                progress=False,
                **options,
            ),
        )
        return samples.iloc[0], samples.attrs["account"]

    return run


def not_booked(row, account):
    assert row["cost_usd"] == 0 and row["score"] != row["score"] and "in_doubt" not in row["flags"]
    assert (account["spent_usd"], account["in_doubt"], account["in_doubt_usd"]) == (0, 0, 0)


@every_provider
@both_ways
def test_a_closed_port(sampled, provider, stream):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    row, account = sampled(provider, f"http://127.0.0.1:{port}", stream)
    assert (row["status"], row["attempts"]) == ("unavailable", 2)
    assert f"connection refused: nothing listens at 127.0.0.1:{port}" in row["error"]
    not_booked(row, account)


@every_provider
@both_ways
def test_a_host_name_that_is_not_known(sampled, provider, stream):
    row, account = sampled(provider, "http://no-such-host.invalid", stream)
    assert row["status"] == "wrong_address"
    assert "the host name of no-such-host.invalid" in row["error"] and "DNS" in row["error"]
    not_booked(row, account)


@pytest.fixture
def plain_port():
    """The port of a server that answers whatever comes in plain words."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection, suppress(OSError):
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


@every_provider
@both_ways
def test_a_server_that_does_not_speak_tls(sampled, plain_port, provider, stream):
    row, account = sampled(provider, f"https://127.0.0.1:{plain_port}", stream)
    assert (row["status"], row["attempts"]) == ("wrong_address", 1)
    assert f"no secure connection (TLS) to 127.0.0.1:{plain_port}" in row["error"]
    not_booked(row, account)


@every_provider
@both_ways
@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_is_told_and_not_followed(sampled, raw_server, provider, stream, status):
    reached = []
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        threading.Thread(target=lambda: _note(other, reached), daemon=True).start()
        target = f"http://localhost:{other.getsockname()[1]}/elsewhere"
        raw_server.answer = lambda request: Reply(("",), status, {"location": target})
        row, account = sampled(provider, raw_server.url, stream)
        other.shutdown(socket.SHUT_RDWR)
    assert (row["status"], row["attempts"]) == ("wrong_address", 1)
    assert f"redirects ({status}) to {target}" in row["error"] and KEY not in row["error"]
    assert reached == [] and len(raw_server.requests) == 1
    not_booked(row, account)


def _note(server, reached):
    with suppress(OSError):
        reached.append(server.accept())


@every_provider
@both_ways
def test_a_page_of_html(sampled, raw_server, provider, stream):
    raw_server.answer = lambda request: Reply(
        ("<!doctype html><title>Please log in</title>",),
        200,
        {"content-type": "text/html; charset=utf-8"},
    )
    row, account = sampled(provider, raw_server.url, stream)
    assert (row["status"], row["attempts"]) == ("wrong_address", 1)
    assert "answers with a page of HTML" in row["error"] and "base_url" in row["error"]
    not_booked(row, account)


@every_provider
@both_ways
def test_a_reply_of_20_mib_is_not_read_to_its_end(sampled, raw_server, provider, stream):
    piece = "x" * 2**20
    kind = {"content-type": "text/event-stream" if stream else "application/json"}
    head = "data: " if stream else '"'
    raw_server.answer = lambda request: Reply((head, *[piece] * 20), 200, kind)
    row, account = sampled(provider, raw_server.url, stream)
    assert (row["status"], row["attempts"]) == ("malformed", 1) and "more than 16 MiB" in row[
        "error"
    ]
    assert account["in_doubt"] == 1  # a model may have written it


def test_what_a_server_writes_cannot_drive_a_terminal(sampled, raw_server):
    raw_server.answer = lambda request: Reply.of_json(
        {"error": {"message": "\x1b[2Jgone \x9b31m\u202e", "type": "x"}}, 400
    )
    row, _ = sampled("compatible", raw_server.url, False)
    assert row["status"] == "bad_request" and row["error"].isprintable() and "gone" in row["error"]


# --- counts and names that are not to be believed -----------------------------------------------------------------

COUNT = {  # where each API reports its output tokens
    "anthropic": "output_tokens",
    "openai": "output_tokens",
    "openai-chat": "completion_tokens",
    "compatible": "completion_tokens",
    "google": "candidatesTokenCount",
}
WRONG = {
    "negative": "-5",
    "not a number": "NaN",
    "infinite": "Infinity",
    "minus infinite": "-Infinity",
    "beyond a double": "1e400",
    "a fraction": "12.5",
    "a list": "[1]",
    "an object": "{}",
    "beyond an exact double": "9007199254740992",
    "400 digits": "9" * 400,
    "a word": '"many"',
    "true": "true",
    "false": "false",
}


def sent_with(provider, stream, value):
    """A reply in which the count of output tokens is this JSON text."""
    name = COUNT[provider]
    sent = frames(provider, stream=stream, model=CANDIDATES[provider].model_id)
    marked = [
        text.replace(f'"{name}": 40', f'"{name}": {value}').replace(
            f'"{name}": 28', f'"{name}": {value}'
        )
        for text in sent
    ]
    assert marked != sent
    return marked


def told(provider, stream, value, store, **more):
    chosen = Candidate(
        provider, CANDIDATES[provider].model_id, base_url="http://own.test/v1", usd_per_mtok=(1, 2)
    )
    wire = transport(lambda request: response(sent_with(provider, stream, value)))
    options = {
        "budget_usd": 1,
        "stream": stream,
        "warm_up": False,
        "attempts": 1,
        "progress": False,
        "transport": wire,
    } | more
    samples = tl.sample(QUESTION, [chosen], **together(store=store, **options))
    return samples.iloc[0], samples.attrs["account"]


@every_provider
@both_ways
@pytest.mark.parametrize("kind", WRONG)
def test_a_count_that_is_no_count_puts_the_cost_in_doubt(provider, stream, kind, tmp_path):
    row, account = told(provider, stream, WRONG[kind], tmp_path / "run.sqlite")
    assert row["cost_usd"] != row["cost_usd"] and "in_doubt" in row["flags"] and row["error"]
    assert account["spent_usd"] == 0 and account["in_doubt"] == 1
    assert 0 < account["in_doubt_usd"] < 1
    if row["status"] == "ok":  # the SDK let it through: the answer was paid for and stays
        assert row["answer"] == "Paris." and row["score"] == 1 and "wrong_usage" in row["flags"]
        assert row["error"].startswith("usage: ") and "a whole number from 0 up" in row["error"]
    else:
        assert row["status"] == "malformed"
    if provider != "google" and kind not in ("400 digits", "true", "false"):
        assert row["status"] == "ok"


@every_provider
@both_ways
def test_a_number_in_a_text_is_that_number_or_in_doubt(provider, stream, tmp_path):
    # Some SDKs read it as the number, and some leave the text.
    row, account = told(provider, stream, '"12"', tmp_path / "run.sqlite")
    # Google's count leaves out the 12 of reasoning; OpenAI's total still tells of 40, and what is beyond its parts is output.
    made = {"google": 24, "anthropic": 12}.get(provider, 40)
    given = (130 if provider == "google" else 180) * 1e-6
    assert account["in_doubt"] == 1 or row["cost_usd"] == pytest.approx(given + made * 2e-6)


@every_provider
def test_a_whole_number_written_as_a_decimal_is_one(provider, tmp_path):
    row, account = told(provider, False, "40.0", tmp_path / "run.sqlite")
    assert (
        row["status"] == "ok"
        and account["in_doubt"] == 0
        and account["spent_usd"] == row["cost_usd"] > 0
    )


@every_provider
@both_ways
@pytest.mark.parametrize("usage", ['"lots"', "7", "[]"])
def test_a_usage_that_is_no_object_puts_the_cost_in_doubt(provider, stream, usage, tmp_path):
    name = "usageMetadata" if provider == "google" else "usage"

    def answer(request):
        sent = frames(provider, stream=stream)
        return response([_usage_replaced(text, name, usage) for text in sent])

    chosen = Candidate(
        provider, CANDIDATES[provider].model_id, base_url="http://own.test/v1", usd_per_mtok=(1, 2)
    )
    options = {
        "budget_usd": 1,
        "stream": stream,
        "warm_up": False,
        "attempts": 1,
        "progress": False,
    }
    samples = tl.sample(
        QUESTION,
        [chosen],
        **together(store=tmp_path / "run.sqlite", transport=transport(answer), **options),
    )
    account = samples.attrs["account"]
    assert (
        samples["cost_usd"].isna().all() and account["in_doubt"] == 1 and account["spent_usd"] == 0
    )


def _usage_replaced(text, name, value):
    """The JSON text with another usage; only objects stand there, and none holds a brace in a text."""
    place = text.find(f'"{name}": {{')
    if place < 0:
        return text
    depth, end = 0, text.index("{", place)
    while True:
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        end += 1
        if depth == 0:
            return text[:place] + f'"{name}": {value}' + text[end:]


@pytest.mark.parametrize(
    ("asked", "reported", "flagged"),
    [
        ("gpt-6-luna", "gpt-6-luna", False),
        ("gpt-6-luna", "gpt-6-luna-2026-09-01", False),
        ("gpt-6-luna-2026-09-01", "gpt-6-luna", False),
        ("claude-haiku-4-5", "claude-haiku-4-5-20251001", False),
        ("gemini-3.1-flash", "models/gemini-3.1-flash-001", False),
        ("openai/gpt-6-luna", "gpt-6-luna", False),
        ("gpt-6-luna", "GPT-6-Luna", False),
        ("gpt-6-luna", "", False),
        ("gpt-6-luna", "gpt-6-luna-nano", True),
        ("gpt-6-luna", "gpt-6-astra", True),
        ("claude-opus-4-8", "claude-haiku-4-5-20251001", True),
        ("llama3.2", "gpt-3.5-turbo", True),
    ],
)
def test_another_model_than_asked_for_is_flagged(asked, reported, flagged, tmp_path):
    wire = transport(frames("compatible", model=reported))
    chosen = Candidate(
        "compatible", asked, base_url="http://own.test/v1", usd_per_mtok=(1, 2), label="mine"
    )
    options = {"budget_usd": 1, "warm_up": False, "progress": False, "transport": wire}
    samples = tl.sample(QUESTION, [chosen], **together(store=tmp_path / "run.sqlite", **options))
    assert ("other_model" in samples["flags"][0].split(";")) == flagged
    assert samples.attrs["account"]["other_model"] == int(flagged)
    assert samples["reported_model"][0] == reported


def test_a_reply_that_is_compressed_all_the_same_is_refused(tmp_path):
    seen = []

    def answer(request):
        seen.append(request.headers["accept-encoding"])
        return httpx2.Response(
            200,
            headers={"content-type": "application/json", "content-encoding": "gzip"},
            content=b"",
        )

    chosen = Candidate("compatible", "own", base_url="http://own.test/v1", usd_per_mtok=(1, 2))
    options = {"budget_usd": 1, "warm_up": False, "progress": False, "transport": transport(answer)}
    samples = tl.sample(QUESTION, [chosen], **together(store=tmp_path / "run.sqlite", **options))
    assert (
        seen == ["identity"]
        and samples["status"][0] == "malformed"
        and "compressed" in samples["error"][0]
    )
