"""Broken files of every format: no row vanishes, and no error that does not name its file.

`TIERLAB_FUZZ` sets the number of cases.
"""

import csv
import io
import json
import os
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tierlab as tl
from tests.proofs import runs
from tierlab.core.tables import TOKEN_COLUMNS

SAMPLES = Path(__file__).parent.parent / "data" / "usage"
PLAIN = """at,model_id,uncached_input_tokens,cache_read_tokens,output_tokens,reasoning_tokens,batch,ttft_s,status,billed_usd,requests,aggregate
2026-09-01T10:00:00Z,gpt-5.5,200,800,100,60,false,0.5,ok,0.0044,1,false
2026-09-01T10:00:00,gpt-4o-mini,500,0,250,0,true,0.2,truncated,0.0002,1,false
2026-09-02,claude-haiku-4-5,4200000,9000000,1350000,,no,,,12.6,,yes
"""
FILES = {file.name: file.read_text() for file in sorted(SAMPLES.iterdir())} | {"plain.csv": PLAIN}
ODD = [
    *(
        None,
        -1,
        1.5,
        0,
        True,
        "",
        "x",
        "NaN",
        "1,000",
        "2026-13-45",
        "2026-09-01T10:00:00",
        [],
        {},
        [1],
        {"a": 1},
        1e300,
        float("nan"),
    ),
    *(
        float("inf"),
        10**400,
        -(10**18),
        "1e400",
        "a@b.example",
        "\ud800",
        "\x00",
        " ",
        "9" * 30,
        [[[]]],
        "null",
        "<b>",
        2**63,
    ),
]

odd = st.sampled_from(ODD) | st.integers() | st.floats() | st.text(max_size=8)
place = st.floats(0, 1, exclude_max=True)
change = st.one_of(
    st.tuples(st.just("value"), place, odd),
    st.tuples(st.just("cut"), place, st.none()),
    st.tuples(st.just("drop line"), place, st.none()),
    st.tuples(st.just("double line"), place, st.none()),
    st.tuples(st.just("shuffle"), place, st.randoms(use_true_random=False)),
    st.tuples(
        st.just("insert"),
        place,
        st.sampled_from(['"', "{", "}", "]", ",", "\n", "\\", "\x00", "é", "[", "\r", ";"]),
    ),
    st.tuples(st.just("byte"), place, st.integers(0, 255)),
    st.tuples(
        st.just("encoding"),
        place,
        st.sampled_from(["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "utf-32"]),
    ),
)


def leaves(value, path=()):
    if isinstance(value, dict):
        return [
            leaf
            for name, inner in value.items()
            for leaf in [(*path, name), *leaves(inner, (*path, name))]
        ]
    if isinstance(value, list):
        return [
            leaf
            for number, inner in enumerate(value)
            for leaf in [(*path, number), *leaves(inner, (*path, number))]
        ]
    return []


def with_value(text, where, value):
    """Return the text with one value changed, wherever it is in the JSON or the CSV."""
    if text.lstrip()[:1] not in ("{", "["):
        try:
            rows = list(csv.reader(io.StringIO(text)))
        except csv.Error:  # an earlier change broke the text
            return text
        row = rows[int(where * len(rows))] if rows else []
        if row:
            row[int(where * 7919) % len(row)] = str(value)
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(rows)
        return out.getvalue()
    try:
        documents = [json.loads(text)]
    except ValueError:
        try:
            documents = [json.loads(line) for line in text.splitlines()]
        except ValueError:
            return text
    record = documents[int(where * len(documents))]
    paths = leaves(record)
    if not paths:
        return text
    *outer, last = paths[int(where * 104729) % len(paths)]
    for name in outer:
        record = record[name]
    record[last] = value
    return "\n".join(
        json.dumps(document, indent=1 if len(documents) == 1 else None) for document in documents
    )


def broken(text, changes):
    """Return the bytes of a file after some changes."""
    encoding = "utf-8"
    single = None
    for kind, where, what in changes:
        lines = text.splitlines(keepends=True)
        at, line = int(where * len(text)), int(where * len(lines))
        if kind == "value":
            text = with_value(text, where, what)
        elif kind == "cut":
            text = text[:at]
        elif kind == "drop line":
            text = "".join(lines[:line] + lines[line + 1 :])
        elif kind == "double line":
            text = "".join(lines[: line + 1] + lines[line:])
        elif kind == "shuffle":
            what.shuffle(lines)
            text = "".join(lines)
        elif kind == "insert":
            text = text[:at] + what + text[at:]
        elif kind == "byte":
            single = (where, what)
        else:
            encoding = what
    data = bytearray(text.encode(encoding, "replace"))
    if single and data:
        data[int(single[0] * len(data))] = single[1]
    return bytes(data)


def check(usage):
    files = usage.account.files
    assert (files["rows_read"] == files["kept"] + files["set_aside"] + files["duplicates"]).all()
    assert files["kept"].sum() == len(usage.requests) + len(usage.billed)
    assert files["set_aside"].sum() == len(usage.quarantine)
    tokens = usage.requests[list(TOKEN_COLUMNS)]
    assert (tokens >= 0).all(axis=None) and (tokens.dtypes == "int64").all()
    assert usage.requests["model_id"].notna().all() if len(usage.requests) else True
    assert usage.billed["usd"].notna().all()
    assert "@" not in usage.quarantine["excerpt"].astype(str).str.cat()


@settings(
    max_examples=int(os.environ.get("TIERLAB_FUZZ") or runs(1000)),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    name=st.sampled_from(sorted(FILES)),
    changes=st.lists(change, min_size=1, max_size=4),
    beside=st.booleans(),
)
def test_broken_files(tmp_path_factory, name, changes, beside):
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    folder.mkdir(exist_ok=True)
    file, good = folder / f"broken-{name}", SAMPLES / "litellm_spendlogs.jsonl"
    file.write_bytes(broken(FILES[name], changes))
    try:
        usage = tl.read_usage([good, file] if beside else file)
    except ValueError as error:
        assert not beside and str(file) in str(error)
    else:
        check(usage)
        if beside:
            assert (
                usage.account.files.loc[0, "kept"] + usage.account.files.loc[0, "duplicates"] == 3
            )


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(places=st.lists(st.tuples(place, st.integers(0, 255)), max_size=4), end=place, cell=odd)
def test_broken_parquet(tmp_path_factory, places, end, cell):
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    folder.mkdir(exist_ok=True)
    file = folder / "broken.parquet"
    table = pd.read_csv(io.StringIO(PLAIN))
    if isinstance(cell, (str, type(None))) and "\ud800" not in str(cell):
        table["output_tokens"] = [cell, "250", "1350000"]
    table.to_parquet(file)
    data = bytearray(file.read_bytes())
    for where, byte in places:
        data[int(where * len(data))] = byte
    file.write_bytes(data[: int(len(data) * (1 - end / 4))] if end > 0.5 else data)
    try:
        check(tl.read_usage(file))
    except ValueError as error:
        assert str(file) in str(error)


def test_parquet_text_that_is_not_utf8_is_refused_by_name(tmp_path):
    file = tmp_path / "own.parquet"
    table = pd.read_csv(io.StringIO(PLAIN)).astype({"output_tokens": str})
    table["output_tokens"] = ["1000017", "250", "13"]
    table.to_parquet(file, compression=None, use_dictionary=False)
    file.write_bytes(file.read_bytes().replace(b"1000017", b"10\xff0017"))
    with pytest.raises(ValueError, match=r"own\.parquet"):
        tl.read_usage(file)


@pytest.mark.parametrize("name", sorted(FILES))
def test_rows_written_twice_change_nothing(tmp_path, name):
    """A log with every line twice, or a report in two files, has the same requests and dollars as it has once."""
    once = tl.read_usage(write(tmp_path / name, FILES[name]))
    if name.endswith(".jsonl"):
        again = tl.read_usage(write(tmp_path / f"twice-{name}", FILES[name] + "\n" + FILES[name]))
    else:
        write(tmp_path / f"copy-{name}", FILES[name] + "\n")
        again = tl.read_usage(tmp_path)
    check(again)
    if name == "plain.csv":  # its rows have no id: a second file with other bytes is other usage
        assert len(again.requests) == 2 * len(once.requests)
        return
    pd.testing.assert_frame_equal(again.requests, once.requests)
    pd.testing.assert_frame_equal(
        again.billed.drop(columns="file"), once.billed.drop(columns="file")
    )


def write(file, text):
    file.write_text(text)
    return file


# The totals of `codex exec` have no time: only the order of the lines says which came first.
TIMED = [name for name in sorted(FILES) if name.endswith(".jsonl") and name != "codex_exec.jsonl"]


@pytest.mark.parametrize("name", TIMED)
def test_the_order_of_lines_does_not_matter(tmp_path, name):
    lines = FILES[name].splitlines()
    forth, back = (
        tl.read_usage(write(tmp_path / f"{way}.jsonl", "\n".join(rows)))
        for way, rows in (("forth", lines), ("back", lines[::-1]))
    )
    assert sorted(map(str, forth.requests[list(TOKEN_COLUMNS)].values)) == sorted(
        map(str, back.requests[list(TOKEN_COLUMNS)].values)
    )
    assert sorted(forth.requests.get("at", [])) == sorted(back.requests.get("at", []))
