"""Time of `tierlab.read_usage` as logs grow: a CSV file with a stray quote in every row, one in all, and folders of files.

Each log is made on the spot, seeded, and deleted after. Exits 1 where a log of four times the size takes five times
as long or more. Run with `make bench`.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

import tierlab as tl

HEAD = "at,model_id,uncached_input_tokens,output_tokens,task,user\n"
MOST = 5  # times as long for four times as much


def csv_log(folder, rows, task):
    """A CSV file whose rows have the task that `task(row)` says."""
    lines = (
        f"2026-11-01T12:00:00Z,claude-opus-5-5,{500 + row % 100},300,{task(row)},u{row % 50}\n"
        for row in range(rows)
    )
    path = folder / "log.csv"
    path.write_text(HEAD + "".join(lines))
    return path


def folder_of(folder, files):
    """A folder of JSON-lines files of one gateway record each."""
    record = {
        "call_type": "acompletion",
        "spend": 0.001,
        "total_tokens": 800,
        "prompt_tokens": 500,
        "completion_tokens": 300,
        "startTime": "2026-11-01T12:00:00Z",
        "endTime": "2026-11-01T12:00:05Z",
        "model": "claude-opus-5-5",
    }
    for number in range(files):
        (folder / f"{number}.jsonl").write_text(
            json.dumps(record | {"request_id": f"r{number}"}) + "\n"
        )
    return folder


CASES = {
    "no quote": (70_000, lambda folder, n: csv_log(folder, n, lambda row: "chat")),
    "one stray quote at the start": (
        70_000,
        lambda folder, n: csv_log(folder, n, lambda row: '"27 in' if row == 5 else "chat"),
    ),
    'a 27" screen in every row': (
        70_000,
        lambda folder, n: csv_log(folder, n, lambda row: '27" screen'),
    ),
    "a quote that opens in every row": (
        70_000,
        lambda folder, n: csv_log(folder, n, lambda row: '"27 in'),
    ),
    "quotes that close and open again": (
        70_000,
        lambda folder, n: csv_log(folder, n, lambda row: 'a",b,"c'),
    ),
    "a cell of two lines in every row": (
        70_000,
        lambda folder, n: csv_log(folder, n, lambda row: '"two\nlines"'),
    ),
    "files in a folder": (2_500, folder_of),
}


def seconds(make, size):
    with tempfile.TemporaryDirectory() as folder:
        path = make(Path(folder), size)
        start = (
            time.process_time()
        )  # of the processor, so that other work on the machine does not count
        files = tl.read_usage(path).account.files
        assert (
            files["rows_read"].sum() == size if path.is_dir() else files["rows_read"].sum() >= size
        )
        return time.process_time() - start


def main():
    lines = []
    for name, (size, make) in CASES.items():
        short, long = seconds(make, size), seconds(make, 4 * size)
        lines.append(
            {
                "log": name,
                "n": f"{size:,}",
                "n (s)": f"{short:.2f}",
                "4n (s)": f"{long:.2f}",
                "times": long / short,
            }
        )
    table = pd.DataFrame(lines)
    print(table.to_string(index=False, float_format="{:.1f}".format))
    sys.exit(int(table["times"].ge(MOST).any()))


if __name__ == "__main__":
    main()
