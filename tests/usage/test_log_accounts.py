"""What goes into a log comes out: rows by Python's csv and json, and dollars by hand, against what the account says."""

import csv
import gzip
import io
import json
import os
import random
import subprocess
import sys
import threading

import pandas as pd
import pytest

import tierlab as tl
from tests.proofs import runs
from tierlab.cli import main

HEAD = "at,model_id,uncached_input_tokens,output_tokens,task"
OPUS = 4e-6, 20e-6  # US dollars per token of claude-opus-5-5 in November 2026


def line(task="chat"):
    return f"2026-11-01T12:00:00Z,claude-opus-5-5,500,300,{task}"


def log(tmp_path, tasks, name="log.csv", end="\n"):
    """Write a CSV file with a row for each task, packed if its name says so."""
    text = end.join([HEAD, *map(line, tasks), ""]).encode()
    file = tmp_path / name
    file.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return file


def counts(usage):
    """Return the sums of rows_read, kept, set_aside and duplicates over all files."""
    files = usage.account.files
    return tuple(
        int(files[name].sum()) for name in ("rows_read", "kept", "set_aside", "duplicates")
    )


STRAY = {
    "in the middle": ('27" screen', '27" screen', 0),
    "at the end": ('screen 27"', 'screen 27"', 0),
    "at the start": ('"27 screen', '"27 screen', 2),
    "at the start, then at the end": ('"27 screen', 'screen 27"', 1),
    "proper, over lines": ('"a\nb, c\n\n""d"""', '"a ""b"""', 0),
}


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
@pytest.mark.parametrize("where", STRAY)
def test_a_stray_quote_never_loses_the_rows_between(tmp_path, maintained, where, name):
    """A stray quote in every tenth row costs at most its own row, in the reader and in the engine that scans in place."""
    first, second, lost = STRAY[where]
    tasks = ["chat"] * 200
    tasks[10::20], tasks[20::20] = [first] * 10, [second] * 9
    aside = {0: 0, 1: 10, 2: 19}[lost]
    file = log(tmp_path, tasks, name)
    usage = tl.read_usage(file)
    assert counts(usage) == (200, 200 - aside, aside, 0)
    cube = tl.build_cube(file, maintained)
    assert (cube.account.rows_read, cube.account.rows_priced) == (200, 200 - aside)
    assert cube.daily["cost_usd"].sum() == pytest.approx(
        (200 - aside) * (500 * OPUS[0] + 300 * OPUS[1])
    )


def rows_by_csv(lines, width):
    """Return the rows below a header: strictly by csv, and line by line if csv meets a quote that does not close."""
    rows = 0
    while lines:
        reader = csv.reader(iter(lines), strict=True)
        try:
            cells = next(reader)
        except csv.Error:
            cells = None
        read = reader.line_num
        whole = [text.strip().split(",") for text in lines[:read]]
        shapes = [
            [cell.replace(".", "", 1).isdecimal() for cell in cells]
            for cells in whole
            if len(cells) == width
        ]
        swallowed = len(whole[0]) == width and any(shapes[0]) and shapes[0] in shapes[1:]
        if read > 1 and (cells is None or len(cells) != width or swallowed):
            read -= 1
            rows += read
        else:
            rows += 1
        lines = lines[read:]
    return rows


CELLS = [
    "chat",
    '27" screen',
    '"a, b"',
    '"two\nlines"',
    '"a ""b"""',
    "Zoë",
    '"x\r\ny,1\n\nz"',
    "",
    '""',
]
NAMED = HEAD + ",request_id"  # so that a row may come twice
INSERTED = [
    '"',
    '"',
    '"',
    '""',
    '"\n',
    ',"',
    '",',
    "\n",
    "\r",
    "\r\n",
    "\x00",
    "\\",
    ";",
    ",",
    "\t",
    " ",
    "é",
    "\u2028",
    "\x0c",
]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"]


def changed(text, rng, start):
    """Return the text with up to four changes after its header."""
    for _ in range(rng.randrange(6)):
        at = rng.randrange(start, len(text) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            text = text[:at] + rng.choice(INSERTED) + text[at:]
        elif kind == 1:
            text = text[:at] + text[at + rng.randrange(1, 4) :]
        elif kind == 2:
            text = text[:at] + text[at : at + rng.randrange(90)] + text[at:]
        else:
            text = text[: max(at, start + 40)]
    return text


def written(file, text, rng):
    """Write the text in some encoding, packed or not; return it as that encoding can hold it."""
    coding = rng.choice(ENCODINGS)
    data = text.encode(coding, "replace")
    if rng.randrange(5) == 0:  # two members, one after the other
        half = len(data) // 2
        data, file = (
            gzip.compress(data[:half]) + gzip.compress(data[half:]),
            file.with_name(file.name + ".gz"),
        )
    file.write_bytes(data)
    return file, text.encode(coding, "replace").decode(coding)


def test_mutated_csv_logs_balance_with_pythons_csv(tmp_path):
    rng, valid, strays, read = random.Random(11), 0, 0, 0
    for part in range(runs(5_000) // 50):
        folder = tmp_path / str(part)
        folder.mkdir()
        expected = {}
        for number in range(50):
            end = rng.choice(["\n", "\r\n", "\r"])
            rows = [
                line(rng.choice(CELLS)) + f",r{rng.randrange(40)}"
                for _ in range(rng.randrange(1, 12))
            ]
            text = changed(end.join([NAMED, *rows, ""]), rng, len(NAMED) + len(end))
            file, text = written(folder / f"{number}.csv", text, rng)
            lines = [text for text in io.StringIO(text, newline="") if text.rstrip("\r\n")]
            below = lines[1:]
            expected[str(file)] = rows_by_csv(below, 6)
            try:
                table = list(csv.reader(iter(below), strict=True))
            except csv.Error:
                strays += 1
                continue
            if all(
                len(cells) == 6 and all(cell.count(",") < 5 for cell in cells) for cells in table
            ):
                valid += 1
                assert expected[str(file)] == len(table)
        files = tl.read_usage(folder).account.files.set_index("file")
        # A file without a single readable time is refused as a whole.
        refused = files["problem"].str.contains("is not in ISO format")
        assert (refused | (files["problem"] == "")).all() and refused.mean() < 0.1
        files = files[~refused]
        expected = {file: rows for file, rows in expected.items() if file in files.index}
        assert (
            files["rows_read"] == files["kept"] + files["set_aside"] + files["duplicates"]
        ).all()
        assert files["rows_read"].to_dict() == expected
        read += files["rows_read"].sum()
    assert valid > runs(500) and strays > runs(500) and read > runs(5_000)  # both kinds were there


def test_mutated_json_logs_balance_with_the_decoder(tmp_path):
    record = json.loads(SPEND)
    rng, broken, read = random.Random(12), 0, 0
    for part in range(runs(5_000) // 50):
        folder = tmp_path / str(part)
        folder.mkdir()
        expected = {}
        for number in range(50):
            records = [
                record | {"request_id": f"r{rng.randrange(40)}", "user": rng.choice(CELLS)}
                for _ in range(12)
            ]
            end = rng.choice(["\n", "\r\n", "\r"])
            first = (
                end.join(map(json.dumps, records[:8])) + end
            )  # whole, so that the format is known
            more = end.join(
                json.dumps(rng.choice([one, [one, one]]), ensure_ascii=False) for one in records[8:]
            )
            text = changed(first + more, rng, len(first))
            file, text = written(folder / f"{number}.jsonl", text, rng)
            rows = 0
            for row in io.StringIO(text, newline=""):
                if row.strip():
                    try:
                        value = json.loads(row)
                    except ValueError:
                        value, broken = None, broken + 1
                    rows += len(value) if isinstance(value, list) else 1
            expected[str(file)] = rows
        files = tl.read_usage(folder).account.files.set_index("file")
        assert (files["problem"] == "").all()
        assert (
            files["rows_read"] == files["kept"] + files["set_aside"] + files["duplicates"]
        ).all()
        assert files["rows_read"].to_dict() == expected
        read += files["rows_read"].sum()
    assert broken > runs(1_000) and read > runs(50_000)


SPEND = json.dumps(
    {
        "request_id": "r",
        "call_type": "acompletion",
        "spend": 0.001,
        "total_tokens": 800,
        "prompt_tokens": 500,
        "completion_tokens": 300,
        "startTime": "2026-11-01T12:00:00Z",
        "endTime": "2026-11-01T12:00:05Z",
        "model": "claude-opus-5-5",
        "model_group": "claude-opus-5-5",
        "user": "u",
        "metadata": "{}",
        "request_tags": "[]",
    }
)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_in_three_ways(tmp_path, maintained, end):
    file = log(tmp_path, ["chat"] * 30, end=end)
    assert counts(tl.read_usage(file)) == (30, 30, 0, 0)
    assert tl.build_cube(file, maintained).account.rows_priced == 30


@pytest.mark.parametrize("coding", ["utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_the_engine_reads_the_encodings_that_the_reader_reads(tmp_path, maintained, coding):
    file = log(tmp_path, ["Zoë"] * 5)
    file.write_bytes(file.read_text(encoding="utf-8").encode(coding))
    assert tl.build_cube(file, maintained).daily["task"].tolist() == ["Zoë"]


def test_blank_lines_and_nul_bytes(tmp_path):
    text = "\n" * 60 + HEAD + "\n\n" + line() + "\n" + line("a\x00b") + "\n\n"
    (tmp_path / "log.csv").write_text(text)
    assert counts(tl.read_usage(tmp_path / "log.csv")) == (2, 2, 0, 0)


def test_a_packed_csv_that_ends_early(tmp_path, maintained):
    rng = random.Random(3)
    file = log(tmp_path, [f"t{rng.random()}" for _ in range(5_000)], "log.csv.gz")
    file.write_bytes(file.read_bytes()[:-2000])
    usage, cube = tl.read_usage(file), tl.build_cube(file, maintained)
    assert 4_000 < len(usage.requests) < 5_000
    assert usage.quarantine["reason"].tolist()[-1] == "packed file ends early"
    assert (
        cube.account.rows_priced == len(usage.requests)
        and cube.account.rows_read == counts(usage)[0]
    )


def test_an_empty_file_in_a_folder_is_named(tmp_path):
    log(tmp_path, ["chat"])
    (tmp_path / "none.csv").touch()
    problems = tl.read_usage(tmp_path).account.files.set_index("file")["problem"]
    assert (
        problems[str(tmp_path / "none.csv")] == "the file is empty"
        and problems[str(tmp_path / "log.csv")] == ""
    )


@pytest.mark.parametrize("again", ["hard link", "link", "copy"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_with_two_names_counts_once_and_it_is_said(tmp_path, maintained, again, suffix):
    file, other = log(tmp_path, ["chat"] * 7), tmp_path / f"z-other{suffix}"
    if suffix == ".parquet":
        pd.read_csv(file, parse_dates=["at"]).assign(at=pd.Timestamp("2026-11-01")).to_parquet(
            tmp_path / "log.parquet"
        )
        file.unlink()
        file = tmp_path / "log.parquet"
    {
        "hard link": os.link,
        "link": os.symlink,
        "copy": lambda a, b: other.write_bytes(file.read_bytes()),
    }[again](file, other)
    usage, cube = tl.read_usage(tmp_path), tl.build_cube(tmp_path, maintained)
    assert counts(usage) == (14, 7, 0, 7)
    assert usage.account.files.set_index("file")["assumed"][str(other)] == (
        f"the same content as {file.name}, which counts once (7 rows)"
    )
    assert (cube.account.rows_read, cube.account.rows_priced) == (14, 7)
    assert cube.account.set_aside[["reason", "rows"]].values.tolist() == [
        ["a copy of another file, or a second name of it", 7]
    ]


MEASURED = """
import re, sys, tierlab as tl
try:
    print(tl.read_usage(sys.argv[1]))
except ValueError as error:
    print(error)
# Not ru_maxrss: it begins at the size of the process that started this one.
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
@pytest.mark.parametrize(
    ("name", "before"),
    [("log.jsonl.gz", SPEND), ("log.csv.gz", HEAD + "\n" + line()), ("one.json.gz", "")],
)
def test_a_line_without_end_is_never_held(tmp_path, name, before):
    """300 MB on one line (3 GB in the long proof), packed to 1/1000 of it: memory stays below 1 GB."""
    file = tmp_path / name
    with gzip.open(file, "wb", compresslevel=1) as packed:
        packed.write(before.encode() + b'\n{"a": "' if before else b'{"a": "')
        for _ in range(runs(3_000)):
            packed.write(b"x" * 2**20)
        packed.write(b"\n" + before.splitlines()[-1].encode() if before else b"")
    child = subprocess.run(
        [sys.executable, "-c", MEASURED, file], capture_output=True, text=True, check=True
    )
    said, most = child.stdout.rsplit("\n", 2)[:2]
    if before:
        assert "2 kept" in said or "1 kept, 1 set aside, 1 duplicate" in said
    else:
        assert "line 1: above the limit of 64 MiB for one line" in said
    assert int(most) < 1000


def test_a_document_above_the_limit_is_refused(tmp_path):
    file = tmp_path / "report.json"
    file.write_text("[\n" + ('{"a": "' + "x" * 2**20 + '"},\n') * 66 + "{}]")
    file.write_text(file.read_text().replace('{"a"', '\n{\n"a"'))
    with pytest.raises(
        ValueError,
        match=r"report\.json: a JSON document above the limit of 64 MiB; write it as JSON lines",
    ):
        tl.read_usage(file)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize(
    "command",
    [
        ["quarter", "2026Q3", "--usage", "PIPE", "--no-pdf"],
        ["quarter", "2026Q3", "--usage", "PIPE", "--format", "requests", "--no-pdf"],
        ["quarter", "2026Q3", "--last", "PIPE", "--no-pdf"],
        ["quarter", "2026Q3", "--billed", "PIPE", "--no-pdf"],
        ["prices", "--source", "PIPE"],
        ["route", "PIPE"],
        ["sample", "PIPE", "--check"],
        ["recommend", "customer_support", "--error-cost-usd", "1", "--samples", "PIPE"],
        ["review", "PIPE"],
        ["run", "01_pricing", "--file", "PIPE"],
    ],
    ids=" ".join,
)
def test_a_named_pipe_is_refused_by_name(tmp_path, capsys, command):
    pipe = tmp_path / f"pipe{'.md' if command[0] == 'review' else '.csv'}"
    os.mkfifo(pipe)
    rescue = threading.Timer(
        60, lambda: os.close(os.open(pipe, os.O_WRONLY))
    )  # releases whatever reads it; the test fails below
    rescue.start()
    out = ["--out", str(tmp_path / "out")] if command[0] in ("quarter", "run") else []
    assert main([str(pipe) if word == "PIPE" else word for word in [*command, *out]]) == 2
    assert rescue.is_alive()
    rescue.cancel()
    said = capsys.readouterr().err
    assert str(pipe) in said and "not a regular file" in said


def test_standard_input_is_refused_by_name():
    child = subprocess.run(
        [sys.executable, "-c", "import tierlab as tl; tl.read_usage('/dev/stdin')"],
        stdin=subprocess.PIPE,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "/dev/stdin: not a regular file" in child.stderr


def test_folders_with_many_files_take_their_rows_once(tmp_path):
    for number in range(runs(500)):
        (tmp_path / f"{number}.csv").write_text(f"{HEAD}\n{line(number)}\n")
    usage = tl.read_usage(tmp_path)
    assert counts(usage) == (runs(500),) * 2 + (0, 0)
    assert usage.account.totals.empty
