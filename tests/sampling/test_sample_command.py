"""``python -m tierlab sample``: what it says, what it refuses, what it writes, and that no key gets anywhere."""

import json
import os
import re
import subprocess
import sys

import pandas as pd
import pytest

from tests.frames import frames
from tests.servers import ROOT, Reply
from tierlab.cli import main
from tierlab.sampling.samples import SAMPLE_COLUMNS

COUNTS = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
JSON = {"content-type": "application/json"}
KEYS = {
    "ANTHROPIC_API_KEY": "sk-ant-fake-a1b2c3d4e5f6",
    "OPENAI_API_KEY": "sk-proj-fake-a1b2c3d4e5f6",
    "GEMINI_API_KEY": "AIzaFake-a1b2c3d4e5f6",
    "OPENAI_COMPATIBLE_API_KEY": "own-fake-a1b2c3d4e5f6",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.split("_")[0] in ("ANTHROPIC", "OPENAI", "GEMINI", "GOOGLE"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def examples(tmp_path):
    path = tmp_path / "mine.jsonl"
    lines = [
        {
            "example_id": f"q{i}",
            "task": "own",
            "prompt": f"question {i}?",
            "scorer": "exact",
            "reference": "Paris.",
        }
        for i in range(4)
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    return str(path)


@pytest.fixture
def own(raw_server):
    """A server that answers; its prices, as part of a candidate."""
    raw_server.answer = lambda request: Reply(tuple(frames("compatible", usage=COUNTS)))
    return f"compatible:own,base_url={raw_server.base_url('openai')}"


def command(capsys, *arguments):
    status = main(["sample", *arguments])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def test_check_says_what_the_examples_are_and_sends_nothing(capsys, examples, raw_server):
    status, out, _ = command(capsys, examples, "--check")
    assert status == 0
    assert "4" in out
    assert raw_server.requests == []
    with open(examples, "a") as file:  # noqa: PTH123
        file.write(
            '\n{"example_id": "bad", "task": "own", "prompt": "?", "scorer": "exakt", "reference": "x"}'
        )
    status, out, err = command(capsys, examples, "--check")
    assert status == 2
    assert "line 5" in err
    assert "did you mean 'exact'" in err


def test_a_run_shows_an_estimate_first_and_writes_the_samples(
    capsys, examples, own, raw_server, tmp_path
):
    status, out, err = command(
        capsys,
        examples,
        "--candidate",
        f"{own},usd_per_mtok=1/2",
        "--budget-usd",
        "0.5",
        "--store",
        "runs/a.sqlite",
    )
    assert status == 0, err
    lines = out.splitlines()
    assert lines[0].split() == ["calls", "likely_usd", "most_usd"]
    # 4 calls of at most 11 + 64 bytes and 512 tokens of output, four times each, at 1 and 2 USD per million
    assert lines[2].split()[0] == "own"
    assert lines[2].split()[1] == "4"
    assert float(lines[2].split()[3]) == pytest.approx(4 * 4 * (11 + 64 + 512 * 2) / 1e6, abs=5e-5)
    assert len(raw_server.requests) == 5  # and a warm-up
    assert re.search(r"^by_status +\{'ok': 4\}$", out, re.MULTILINE)
    assert re.search(
        r"^spent_usd +0\.0001$", out, re.MULTILINE
    )  # 5 times 10 * 1 + 3 * 2 millionths
    assert out.splitlines()[-1] == "runs/samples.csv"
    table = pd.read_csv(tmp_path / "runs" / "samples.csv")
    assert tuple(table.columns) == SAMPLE_COLUMNS
    assert list(table["answer"]) == ["Paris."] * 4
    status, again, _ = command(
        capsys,
        examples,
        "--candidate",
        f"{own},usd_per_mtok=1/2",
        "--budget-usd",
        "0.5",
        "--store",
        "runs/a.sqlite",
    )
    assert (status, again) == (0, out)  # nothing new was sent or spent
    assert len(raw_server.requests) == 5


def test_the_estimate_of_a_machine_paid_by_the_hour_follows_the_deadline(capsys, examples, own):
    machine = [examples, "--candidate", f"{own},usd_per_mtok=0/0,usd_per_hour=3.6"]
    limits = ["--budget-usd", "0.5", "--deadline", "5", "--store", "runs/a.sqlite"]
    status, out, err = command(capsys, *machine, *limits)
    assert status == 0, err
    # 4 calls, four times each, at 0.001 USD a second for 5 seconds at most
    assert float(out.splitlines()[2].split()[3]) == pytest.approx(4 * 4 * 5 * 0.001, abs=5e-5)


def test_a_run_that_could_cost_more_wants_a_yes(capsys, examples, own, raw_server):
    arguments = (
        examples,
        "--candidate",
        f"{own},usd_per_mtok=100/200",
        "--budget-usd",
        "50",
        "--store",
        "a.sqlite",
    )
    status, out, err = command(capsys, *arguments)
    worst = 4 * 4 * (11 + 64 + 512 * 2) * 100 / 1e6
    assert status == 2
    assert f"could cost up to {worst:,.2f} USD" in err
    assert "--yes" in err
    assert "most_usd" in out
    assert raw_server.requests == []
    status, _, err = command(capsys, *arguments, "--yes")
    assert status == 0, err
    assert len(raw_server.requests) == 5


def test_failed_calls_are_asked_again_when_told_to(capsys, examples, own, raw_server):
    answered = raw_server.answer
    no = lambda status: lambda request: Reply.of_json({"error": {"message": "no"}}, status)  # noqa: E731
    raw_server.answer = no(401)
    arguments = (
        examples,
        "--candidate",
        f"{own},usd_per_mtok=0/0",
        "--budget-usd",
        "0",
        "--store",
        "a.sqlite",
    )
    _, out, _ = command(capsys, *arguments)
    assert "{'auth': 4}" in out
    raw_server.answer = answered
    _, out, _ = command(capsys, *arguments, "--retry", "rate_limited")
    assert "{'auth': 4}" in out
    _, out, _ = command(capsys, *arguments, "--retry")
    assert "{'ok': 4}" in out
    status, _, err = command(capsys, *arguments, "--retry", "rate_limit")
    assert status == 2
    assert "did you mean 'rate_limited'" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--candidate", "anthropic:claude-opus-5-5"], "--budget-usd"),
        (["--budget-usd", "1"], "there are no candidates; one is written provider:model"),
        (["--budget-usd", "1", "--candidate", "antropic:claude"], "did you mean 'anthropic'"),
        (
            ["--budget-usd", "1", "--candidate", "anthropic:claude-opus-5-6"],
            "unknown model 'claude-opus-5-6'",
        ),
        (
            ["--budget-usd", "1", "--candidate", "anthropic:claude-opus-5-5"],
            "set the environment variable ANTHROPIC_API_KEY",
        ),
        (["--budget-usd", "-1", "--candidate", "replay:m,path=x.csv"], "--budget-usd -1"),
        (["--budget-usd", "1", "--candidate", "compatible:m"], "m: base_url=None; the address"),
        (
            ["--budget-usd", "1", "--candidate", "openai:gpt-6-luna", "--reference", "gpt-6-luna"],
            "--reference and --margin go together",
        ),
        (
            [
                "--budget-usd",
                "1",
                "--candidate",
                "replay:m,path=x.csv",
                "--reference",
                "n",
                "--margin",
                "0.1",
            ],
            "--reference is one of two candidates or more: unknown candidate 'n'",
        ),
    ],
)
def test_a_mistake_ends_with_status_2_and_its_name(capsys, examples, arguments, message):
    status, _, err = command(capsys, examples, "--store", "a.sqlite", *arguments)
    assert status == 2
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reference", "a", "--margin", "5"], "--margin 5.0; a share between 0 and 1"),
        (
            ["--reference", "a", "--margin", "0.1", "--error-cost-usd", "-1"],
            "--error-cost-usd -1.0",
        ),
        (["--limit", "-1"], '"-1" for --limit'),
    ],
)
def test_a_wrong_number_is_refused_before_anything_is_sent(
    capsys, examples, own, raw_server, arguments, message
):
    two = [f"{own},usd_per_mtok=0/0,label={name}" for name in "ab"]
    given = [
        "--candidate",
        two[0],
        "--candidate",
        two[1],
        "--budget-usd",
        "0",
        "--store",
        "a.sqlite",
    ]
    status, _, err = command(capsys, examples, *given, *arguments)
    assert status == 2
    assert message in err
    assert raw_server.requests == []


def test_what_was_not_sent_is_said_with_its_reason(capsys, examples, own, raw_server):
    _, out, _ = command(
        capsys,
        examples,
        "--candidate",
        f"{own},usd_per_mtok=1/2",
        "--budget-usd",
        "0",
        "--store",
        "a.sqlite",
    )
    assert (
        "over_budget: 4, the first: could cost up to 0.0044 USD" in out
    )  # 4 attempts of 11 + 64 bytes and 512 tokens
    assert raw_server.requests == []


def test_an_interrupted_run_ends_without_a_traceback(capsys, examples, own, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(
        "tierlab.sampling.runner.run_async", lambda work: work.close() or interrupted()
    )
    status, _, err = command(
        capsys,
        examples,
        "--candidate",
        f"{own},usd_per_mtok=0/0",
        "--budget-usd",
        "0",
        "--store",
        "a.sqlite",
    )
    assert status == 130
    assert "the same command resumes" in err


def test_a_file_that_is_no_store_is_refused(capsys, examples, own, tmp_path):
    (tmp_path / "samples.csv").write_text("prompt_id\n" * 99)
    status, _, err = command(
        capsys,
        examples,
        "--candidate",
        f"{own},usd_per_mtok=0/0",
        "--budget-usd",
        "0",
        "--store",
        "samples.csv",
    )
    assert status == 2
    assert "not a store of samples" in err
    assert (tmp_path / "samples.csv").read_text() == "prompt_id\n" * 99


def test_no_key_gets_into_a_store_a_table_or_a_terminal(examples, raw_server, tmp_path):
    """Four providers whose servers send the keys back in their errors, in a process of its own."""

    def echo(request):
        sent = f"wrong key: {request.headers} {request.path}"
        status = 401 if "question 0" in json.dumps(request.body) else 400
        return Reply.of_json(
            {"error": {"message": sent, "type": sent, "status": sent, "code": status}}, status
        )

    raw_server.answer = echo
    places = {
        "ANTHROPIC_BASE_URL": raw_server.url,
        "OPENAI_BASE_URL": raw_server.base_url("openai"),
        "GOOGLE_GEMINI_BASE_URL": raw_server.url,
    }
    chosen = [
        "anthropic:claude-opus-5-5",
        "openai:gpt-6-luna",
        "openai-chat:gpt-6-astra",
        "google:gemini-4-argon",
        f"compatible:own,base_url={raw_server.base_url('openai')},usd_per_mtok=0/0",
    ]
    run = subprocess.run(
        [
            sys.executable,
            "-X",
            "dev",
            "-W",
            "ignore",
            "-m",
            "tierlab",
            "sample",
            examples,
            "--budget-usd",
            "9",
            "--yes",
            "--store",
            str(tmp_path / "run" / "a.sqlite"),
            *(part for one in chosen for part in ("--candidate", one)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | KEYS | places | {"OPENAI_LOG": "debug", "ANTHROPIC_LOG": "debug"},
    )
    assert run.returncode == 0, run.stderr
    received = " ".join(f"{request.headers}" for request in raw_server.requests)
    assert all(key in received for key in KEYS.values())  # each server did get its own
    assert "[key]" in (tmp_path / "run" / "samples.csv").read_text()
    held = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} | {
        "output": run.stdout.encode()
    }
    assert {"a.sqlite", "samples.csv"} <= set(held)
    held["errors"] = run.stderr.encode()
    for name, content in held.items():
        for key in KEYS.values():
            assert key.encode() not in content, name
        assert not re.search(rb"\bsk-[\w-]{8,}|AIza[\w-]{8,}", content), name
