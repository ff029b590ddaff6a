"""Text of others is read within limits, and is never a formula in a spreadsheet or an escape sequence on a terminal."""

import contextlib
import csv
import gzip
import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest

import tierlab as tl
from tierlab.cli import main

STEERING = "\x1b[31mred\x07\x9b2J\u202e"
HOSTILE = [
    "=cmd|' /C calc'!A0",
    "'=1+1",
    "''=1",
    "'tis",
    "+1 555",
    "-3.5",
    "@SUM(A1)",
    "\t=1",
    " =1",
    "a\r\nb",
    "'-3.5",
    "plain",
]


def bomb(levels=9):
    """Return a few hundred bytes of YAML that stand for 10 ** levels values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            f"---\nkind: tierlab decision record, version 2\n{bomb()}\n---\n",
            "anchors and aliases (&a0, *a0) are not read",
        ),
        (f"---\n{'[' * 900_000}\n---\n", "line 1: more than 50 levels"),
        (f"---\ntitle: {'x' * 2**20}\n---\n", "above the limit of 1 MiB"),
        (
            f"---\nkind: tierlab decision record, version 2\ntitle: [{'1, ' * 5_000}1]\n---\n",
            "title = [1, 1, 1, 1, 1, 1, ...]",
        ),
        (
            f"---\nkind: tierlab decision record, version 2\n{'z' * 900}: 1\n---\n",
            "unknown field 'zzz",
        ),
    ],
    ids=["aliases", "depth", "size", "long value", "long name"],
)
def test_a_hostile_record_is_refused_in_a_line(tmp_path, capsys, text, says):
    file = tmp_path / "record.md"
    file.write_text(text)
    start = time.process_time()
    assert main(["review", str(file)]) == 2
    said = capsys.readouterr().err
    assert says in said and str(file) in said and len(said) < 1000
    assert time.process_time() - start < 60


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (bomb(), "anchors and aliases"),
        ("seed: 1\n" + "#" * 2**20, "above the limit of 1 MiB"),
        (f"cached_share: {'x' * 9000}", "cached_share = 'xxx"),
    ],
)
def test_a_hostile_file_of_parameters_is_refused_in_a_line(tmp_path, capsys, text, says):
    file = tmp_path / "given.yaml"
    file.write_text(text)
    assert main(["run", "01_pricing", "--file", str(file), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert says in said and len(said) < 2000


def test_a_long_parameter_of_the_command_line_is_cut(tmp_path, capsys):
    assert (
        main(
            [
                "run",
                "01_pricing",
                "-p",
                "cached_share",
                "9" * 5000 + "x",
                "--out",
                str(tmp_path / "out"),
            ]
        )
        == 2
    )
    assert len(capsys.readouterr().err) < 1500


def test_samples_are_guarded_on_the_way_out_and_exact_on_the_way_back(tmp_path, capsys):
    """Hostile answers, replayed: no cell of samples.csv is a formula, and load_samples returns the answers unchanged."""
    examples = [
        {
            "example_id": f"e{n}",
            "task": "own",
            "prompt": f"={n}",
            "scorer": "exact",
            "reference": "x",
        }
        for n in range(len(HOSTILE))
    ]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, examples)))
    recorded = tl.load_samples("open_models").head(len(HOSTILE))
    recorded = recorded.assign(
        prompt_id=[one["example_id"] for one in examples],
        prompt=[one["prompt"] for one in examples],
        model_id="=m",
        repeat=0,
        answer=HOSTILE,
        status="ok",
        tool_calls="[]",
    )
    recorded.to_parquet(tmp_path / "recorded.parquet")
    arguments = [
        "sample",
        str(tmp_path / "mine.jsonl"),
        "--candidate",
        f"replay:=m,path={tmp_path / 'recorded.parquet'}",
    ]
    assert (
        main([*arguments, "--budget-usd", "0", "--store", str(tmp_path / "s.sqlite"), "--yes"]) == 0
    )
    with (tmp_path / "samples.csv").open(newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    formulas = [
        c
        for c in cells
        if c.lstrip().startswith(("=", "+", "@"))
        or (c[:1] in "\t\r" and c)
        or (c[:1] == "-" and c != "-3.5")
    ]
    assert formulas == [] and "'=cmd|' /C calc'!A0" in cells
    back = tl.load_samples(tmp_path / "samples.csv").set_index("prompt_id")
    stored = tl.load_samples(tmp_path / "s.sqlite").set_index("prompt_id")
    assert back["answer"].tolist() == stored["answer"].tolist()
    assert [text.replace("\r\n", "\n") for text in stored["answer"]] == [
        text.replace("\r\n", "\n") for text in HOSTILE
    ]
    assert set(back["model_id"]) == {"=m"} and back["prompt"].tolist() == [
        f"={n}" for n in range(len(HOSTILE))
    ]
    capsys.readouterr()


def test_the_tables_of_route_are_guarded(tmp_path, capsys):
    rows = [
        (f"p{n}", model, (n + k) % 3 / 2, cost)
        for n in range(40)
        for k, (model, cost) in enumerate({"=weak": 0.001, "=strong": 0.01}.items())
    ]
    outcomes = pd.DataFrame(rows, columns=["prompt_id", "model_id", "score", "cost_usd"]).assign(
        prompt=lambda t: t["prompt_id"]
    )
    outcomes.to_csv(tmp_path / "mine.csv", index=False)
    assert main(["route", str(tmp_path / "mine.csv"), "--out", str(tmp_path / "out")]) == 0
    for name in ("curve.csv", "policies.csv"):
        with (tmp_path / "out" / name).open(newline="") as file:
            assert not [
                cell for row in csv.reader(file) for cell in row if cell.startswith(("=", "+", "@"))
            ]
    capsys.readouterr()


def test_names_in_a_log_steer_no_terminal(tmp_path):
    head = "at,model_id,uncached_input_tokens,output_tokens,team"
    (tmp_path / "log.csv").write_text(
        f"{head}\n2026-11-01,{STEERING}model,1,1,{STEERING}\n2026-11-01,m,x{STEERING},1,t\n",
        "utf-8",
    )
    usage = tl.read_usage(tmp_path / "log.csv")
    (tmp_path / "other.csv").write_text(f"{STEERING},{'b' * 9000}\n1,2\n", "utf-8")
    with pytest.raises(ValueError, match="not a known format") as caught:
        tl.read_usage(tmp_path / "other.csv")
    for text in (
        repr(usage),
        usage.requests.to_string(),
        usage.quarantine.to_string(),
        usage.account.unknown_models.to_string(),
        str(caught.value),
    ):
        assert not set(text) & set("\x1b\x07\x9b\u202e")
    assert (
        len(str(caught.value)) < 2000
    )  # the fields of the known formats are in it, not the 9,000 letters


class Server(BaseHTTPRequestHandler):
    """Answers every call with the bytes in `reply`, in pieces."""

    status, reply, coding = 200, b"", None

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(self.status)
        self.send_header("content-type", "application/json")
        if self.coding:
            self.send_header("content-encoding", self.coding)
        self.send_header("connection", "close")
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(self.reply)

    def log_message(self, *_):
        pass


def asked(tmp_path, status, reply, coding=None):
    """Send one example to a server with this reply; return the samples table."""
    handler = type("One", (Server,), {"status": status, "reply": reply, "coding": coding})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        (tmp_path / "mine.jsonl").write_text(
            json.dumps(
                {
                    "example_id": "e",
                    "task": "own",
                    "prompt": "p",
                    "scorer": "exact",
                    "reference": "x",
                }
            )
        )
        address = f"http://127.0.0.1:{server.server_address[1]}/v1"
        chosen = f"compatible:m,base_url={address},usd_per_mtok=0/0"
        arguments = [
            "sample",
            str(tmp_path / "mine.jsonl"),
            "--candidate",
            chosen,
            "--budget-usd",
            "0",
            "--yes",
        ]
        assert main([*arguments, "--deadline", "30", "--store", str(tmp_path / "s.sqlite")]) in (
            0,
            2,
        )
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    return tl.load_samples(tmp_path / "s.sqlite")


LARGE = (
    b'{"choices": [{"message": {"content": "'
    + b"x" * (17 * 2**20)
    + b'"}, "finish_reason": "stop"}]}'
)


@pytest.mark.parametrize(
    ("reply", "coding", "says"),
    [
        (LARGE, None, "16 MiB"),
        (gzip.compress(LARGE), "gzip", "16 MiB|compressed"),
        (b"data: " + LARGE + b"\n\n", None, "16 MiB"),
        (b"x", "br", "packed|compressed"),
    ],
    ids=["plain", "packed", "stream", "another packing"],
)
def test_a_reply_above_the_limit_is_refused(tmp_path, capsys, reply, coding, says):
    sample = asked(tmp_path, 200, reply, coding).iloc[0]
    assert (
        re.search(says, sample["error"])
        and sample["attempts"] == 1
        and sample["status"] == "malformed"
    )
    assert sample["error"] in capsys.readouterr().out


def test_an_error_of_a_server_steers_no_terminal(tmp_path, capsys):
    body = json.dumps({"error": {"message": f"no {STEERING} here " + "y" * 9000}}).encode()
    sample = asked(tmp_path, 400, body).iloc[0]
    said = capsys.readouterr()
    assert "no" in sample["error"] and len(sample["error"]) <= 500
    assert not set(sample["error"] + said.out + said.err) & set("\x1b\x07\x9b\u202e")


def test_an_error_of_a_command_steers_no_terminal(tmp_path, capsys):
    assert main(["prices", "--source", f"{tmp_path}/{STEERING}.csv"]) == 2
    said = capsys.readouterr()
    assert not set(said.out + said.err) & set("\x1b\x07\x9b\u202e") and "red" in said.err
    assert sys.stdout is not None
