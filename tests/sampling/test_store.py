"""The store: on disk before anything depends on it, one writer, many readers, and no other file harmed."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys

import pytest

from tests.servers import ROOT
from tierlab.sampling.store import Store, packed, read

ATTEMPT = "INSERT INTO attempts (key, most_usd) VALUES (?, ?)"
CALL = "INSERT INTO calls VALUES (?, 'answer', '{}')"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "run.sqlite"


def test_what_was_written_is_read_by_the_next_run(path):
    with Store(path) as file:
        assert file.write((CALL, ("a",)), (CALL, ("b",))) == 2
    with Store(path) as file:
        assert file.read("SELECT key FROM calls") == [("a",), ("b",)]
        assert (file.interrupted, file.spend()) == (0, (0, 0))
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "run.sqlite",
        "run.sqlite.lock",
    ]  # at rest, one file and its lock
    assert read(path, "SELECT COUNT(*) FROM calls") == [(2,)]
    assert sorted(p.name for p in path.parent.iterdir()) == ["run.sqlite", "run.sqlite.lock"]


def test_spend_is_what_is_known_and_the_most_of_what_is_in_doubt(path):
    with Store(path) as file:
        rows = [("a", 5.0, 1.25, 0), ("b", 7.0, 0.0, 1), ("c", 9.0, 0.5, 0)]
        sql = "INSERT INTO attempts (key, most_usd, cost_usd, reason, in_doubt) VALUES (?, ?, ?, 'x', ?)"
        file.write(*((sql, row) for row in rows))
        assert file.spend() == (1.75, 7.0)


def test_an_attempt_without_an_end_is_in_doubt_for_the_next_run(path):
    with Store(path) as file:
        file.write((ATTEMPT, ("a", 3.0)))
        assert file.spend() == (0, 0)  # under way
    with Store(path) as file:
        assert (file.interrupted, file.spend()) == (1, (0, 3.0))
    with Store(path) as file:
        assert (file.interrupted, file.spend()) == (0, (0, 3.0))


def test_a_second_run_on_the_same_file_is_refused_here_and_in_another_process(path):
    code = f"from tierlab.sampling.store import Store\ntry: Store({str(path)!r})\nexcept ValueError as error: print(error)"
    with Store(path):
        with pytest.raises(ValueError, match="in use by another run"):
            Store(path)
        other = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert "in use by another run" in other.stdout
    Store(path).close()


def test_the_lock_ends_with_a_process_that_is_killed(path):
    code = f"from tierlab.sampling.store import Store\nimport time\ns = Store({str(path)!r})\nprint('open', flush=True)\ntime.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(ValueError, match="in use"):
            Store(path)
        os.kill(other.pid, signal.SIGKILL)
    Store(path).close()


def test_other_files_are_refused_and_left_as_they_are(path):
    path.parent.mkdir()
    path.write_text("prompt_id,answer\n" * 99)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not a store of samples"):
        Store(path)
    assert path.read_bytes() == before
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE places (key TEXT, value TEXT)")
        other.execute("CREATE TABLE cookies (host TEXT)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(ValueError, match="it holds the tables cookies, places"):
        Store(path)
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="not a store of samples"):
        read(path, "SELECT * FROM calls")


def test_a_store_that_is_not_there_is_named(tmp_path):
    for place in (tmp_path / "gone.sqlite", tmp_path):
        with pytest.raises(ValueError, match="is not a store of samples"):
            read(place, "SELECT 1 FROM calls")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    if os.geteuid() == 0:
        (
            tmp_path / "run.sqlite.lock"
        ).mkdir()  # root may write everywhere; a folder in the lock's place it may not
        with pytest.raises(OSError, match=r"run\.sqlite cannot be written"):
            Store(tmp_path / "run.sqlite")
    else:
        tmp_path.chmod(0o500)
        with pytest.raises(OSError, match=r"run\.sqlite"):
            Store(tmp_path / "run.sqlite")


def test_writes_at_the_same_time_are_all_kept(path):
    async def many(file):
        return await asyncio.gather(*(file.awrite((ATTEMPT, (str(n), 1.0))) for n in range(200)))

    with Store(path) as file:
        assert sorted(asyncio.run(many(file))) == list(range(1, 201))
        assert file.read("SELECT COUNT(*) FROM attempts") == [(200,)]


def test_a_reader_sees_each_answer_once_it_is_acknowledged(path):
    async def write_and_read(file):
        for n in range(50):
            await file.awrite((ATTEMPT, (str(n), 1.0)))
            assert read(path, "SELECT COUNT(*) FROM attempts") == [(n + 1,)]

    with Store(path) as file:
        asyncio.run(write_and_read(file))


def test_what_was_acknowledged_survives_kill_9(path):
    code = (
        "import sys\nfrom tierlab.sampling.store import Store\n"
        f"file, n = Store({str(path)!r}), 0\n"
        f"while True:\n    print(file.write(({ATTEMPT!r}, (str(n), 1.0))), flush=True)\n    n += 1"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as other:
        for _ in range(100):
            acknowledged = int(other.stdout.readline())
        os.kill(other.pid, signal.SIGKILL)
        acknowledged = max(
            [acknowledged, *(int(line) for line in other.stdout if line.endswith("\n"))]
        )
    with Store(path) as file:
        assert acknowledged <= file.interrupted <= acknowledged + 1
        assert file.read("PRAGMA integrity_check") == [("ok",)]


def test_a_full_disk_reaches_everyone_who_waits_and_nothing_is_acknowledged(path):
    with Store(path) as file:
        file.write((ATTEMPT, ("before", 1.0)))
        pages = file.read("PRAGMA page_count")[0][0]
        file.write((f"PRAGMA max_page_count = {pages + 2}", ()))
        big = "x" * 3000

        async def many():
            return await asyncio.gather(
                *(file.awrite((ATTEMPT, (big + str(n), 1.0))) for n in range(40)),
                return_exceptions=True,
            )

        results = asyncio.run(many())
        failed = [result for result in results if isinstance(result, OSError)]
        assert failed
        assert "could not be written" in str(failed[0])
        kept = {key for (key,) in file.read("SELECT key FROM attempts")}
        assert kept == {
            "before",
            *(big + str(n) for n, result in enumerate(results) if isinstance(result, int)),
        }
        file.write(("PRAGMA max_page_count = 1000000", ()))
        assert isinstance(file.write((ATTEMPT, ("after", 1.0))), int)


def test_one_wrong_statement_fails_alone_and_whole(path):
    with Store(path) as file:

        async def three():
            wrong = file.awrite((ATTEMPT, ("half", 1.0)), ("INSERT INTO nowhere VALUES (1)", ()))
            unfit = file.awrite((ATTEMPT, ("\ud83d", 1.0)))  # half a character has no bytes
            return await asyncio.gather(
                file.awrite((ATTEMPT, ("a", 1.0))),
                wrong,
                unfit,
                file.awrite((ATTEMPT, ("b", 1.0))),
                return_exceptions=True,
            )

        first, wrong, unfit, last = asyncio.run(three())
        assert isinstance(wrong, OSError)
        assert "nowhere" in str(wrong)
        assert isinstance(unfit, UnicodeEncodeError)
        assert sorted(file.read("SELECT key FROM attempts")) == [("a",), ("b",)]
        assert {first, last} == {1, 2}


def test_a_commit_waits_for_the_disk(path, monkeypatch):
    """The promise about power cuts: WAL with synchronous = FULL (2)."""
    made, connect = [], sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda *a, **b: made.append(connect(*a, **b)) or made[-1]
    )
    with Store(path):
        writes = [
            c for c in made if c.execute("PRAGMA database_list").fetchall()[0][2] == str(path)
        ]
        pragmas = ("PRAGMA journal_mode", "PRAGMA synchronous")
        assert [[c.execute(p).fetchone()[0] for p in pragmas] for c in writes] == [["wal", 2]]


def test_a_closed_store_says_so(path):
    file = Store(path)
    file.close()
    with pytest.raises(ValueError, match="has been closed"):
        file.write((ATTEMPT, ("a", 1.0)))
    file.close()


def test_the_file_at_rest_can_be_copied_alone(path, tmp_path):
    with Store(path) as file:
        file.write((CALL, ("a",)))
    shutil.copy(path, tmp_path / "copy.sqlite")
    assert read(tmp_path / "copy.sqlite", "SELECT key FROM calls") == [("a",)]


def test_packed_json_has_one_form_and_always_has_bytes():
    assert packed({"b": (1, 2), "a": "é"}) == '{"a": "é", "b": [1, 2]}'
    assert packed({"a": 1, "b": 2}) == packed({"b": 2, "a": 1})
    import json

    half = packed(["\ud83d", "\\ud83d"])
    assert json.loads(half.encode()) == ["\ud83d", "\\ud83d"]
