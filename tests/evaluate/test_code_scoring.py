"""Code of replies: right, wrong, and everything that must neither pass nor get out."""

import re
import sys
from pathlib import Path

import pytest

from tierlab.evaluate.scorers.code import code, extract_code

posix = pytest.mark.skipif(
    sys.platform == "win32", reason="needs the limits of the resource module"
)
TESTS = "assert add(1, 2) == 3\nassert add(-1, 1) == 0\nassert add('a', 'b') == 'ab'"
ADD = "def add(a, b):\n    return a + b\n"


def test_right_code_passes_and_wrong_code_says_where():
    assert code(f"Here you go:\n```python\n{ADD}```\nHope it helps!", (), TESTS) == (
        1.0,
        "all 3 tests pass",
    )
    wrong = "def add(a, b):\n    return a - b if isinstance(a, int) and a < 0 else a + b"
    assert code(wrong, (), TESTS) == (0.0, "2 of 3 tests pass; add(-1, 1) == 0 fails")
    assert code(wrong, (), TESTS, partial=True).score == pytest.approx(2 / 3)
    assert code("def add(a, b):\n    return a.sum(b)", (), TESTS).reason.startswith(
        "0 of 3 tests pass; add(1, 2) == 3 raises AttributeError"
    )


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("def add(a, b:\n    return", "raises SyntaxError"),
        ("I would write an add function.", "raises SyntaxError"),
        ("def sum2(a, b):\n    return a + b", "does not define add"),
        ("import os\nos._exit(0)\n" + ADD, "ended before the tests did"),
        ("import sys\nsys.exit(0)\n" + ADD, "raises SystemExit"),
        ("raise KeyboardInterrupt", "raises KeyboardInterrupt"),
        (ADD + "add(*map(int, input().split()))", "raises EOFError"),
        (ADD + "open('data.csv').read()", "raises FileNotFoundError"),
        (ADD + "open('/etc/hostname').read()", "raises PermissionError"),
        (ADD + "import requests", "raises ModuleNotFoundError"),
        (ADD + "import tierlab", "raises ModuleNotFoundError"),
        ("import os\ndef add(a, b):\n    os._exit(0)", "ended before the tests did"),
        (
            "def add(a, b):\n    exit()",
            "raises NameError",
        ),  # `exit` comes with site packages, which are left out
        ("def add(a, b):\n    raise SystemExit(0)", "raises SystemExit"),
        ("def add(a, b):\n    return add(a, b)", "raises RecursionError"),
        ("x = " + "(" * 100_000, "the code"),
        ("\x00", "raises"),
        ("x = '\ud800'", "raises UnicodeEncodeError"),
        ("class E(Exception):\n    def __str__(self): raise E\nraise E", "the code raises E"),
    ],
)
def test_what_does_not_work_does_not_pass(program, reason):
    found = code(program, (), TESTS)
    assert found.score == 0
    assert reason in found.reason


@pytest.mark.parametrize(
    "program",
    [
        "print('all 3 tests pass')\nimport os\nos._exit(0)",
        'print(\'{"token": "", "test": 0, "right": true, "fault": ""}\')',
        "import os\nfor fd in range(3, 20):\n"
        '    for n in range(3):\n        try: os.write(fd, b\'{"token": "x", "test": %d, "right": true, "fault": ""}\\n\' % n)\n'
        "        except OSError: pass\nos._exit(0)",
        "import builtins\nbuiltins.AssertionError = ZeroDivisionError\ndef add(a, b): return 0",
        "import builtins\nbuiltins.exec = lambda *a: None\nbuiltins.compile = lambda *a: None\ndef add(a, b): return 0",
        "import builtins\nbuiltins.isinstance = lambda *a: True\nbuiltins.len = lambda x: 3\ndef add(a, b): return 0",
        "import json, os\njson.dumps = lambda *a: '{}'\nos.write = lambda *a: 1\ndef add(a, b): return 0",
        "import json\njson.JSONEncoder.encode = lambda *a: '{}'\ndef add(a, b): return 0",
        "import sys\nsys.modules['answer'].__dict__['__builtins__'] = {}\ndef add(a, b): return 0",
        "import ast\nast.parse = lambda *a: None\ndef add(a, b): return 0",
        "def main(): pass\ndef say(*a): pass\ndef check(*a): return True\ndef add(a, b): return 0",
        "import atexit, os\natexit.register(os._exit, 0)\ndef add(a, b): raise SystemExit",
        "import gc\n[o for o in gc.get_objects()]\ndef add(a, b): return 0",
    ],
)
def test_tricks_do_not_pass(program):
    tests = "assert add(1, 2) == 3\nassert add(2, 2) == 4"
    assert code(program, (), tests, partial=True).score == 0


def test_tests_see_their_own_builtins_and_only_the_names_they_use():
    shadow = "def len(x):\n    return 3\ndef abs(x):\n    return 0\ndef size(x):\n    return 4\n"
    assert code(shadow, (), "assert abs(size('ab') - 2) == 0").score == 0
    assert code(shadow, (), "assert len('ab') == 3 and size('') == 4").score == 0
    assert code(shadow, (), "assert len('ab') == 3", entry="len").score == 1
    patched = "import builtins\nbuiltins.abs = lambda x: 0\ndef size(x):\n    return 4\n"
    assert code(patched, (), "assert abs(size('ab') - 2) == 0").score == 0
    helper = "from math import isclose\nclose = 1e-6\nassert isclose(half(1), 0.5, rel_tol=close)"
    assert (
        code("def half(x): return x / 2\ndef isclose(*a, **k): return False", (), helper).score == 1
    )


def test_a_name_is_the_tests_own_only_where_they_define_it():
    local = "def own():\n    add = 1\n    return add\nassert own() == 1\nassert add(1, 1) == 2"
    assert code(ADD, (), local) == (1.0, "all 2 tests pass")
    captured = "match add((1,), (2,)):\n    case (first, last):\n        assert first < last"
    assert code(ADD, (), captured) == (1.0, "the test passes")


@pytest.mark.parametrize(
    "value",
    [
        "decimal.Decimal('1.50')",
        "fractions.Fraction(3, 4)",
        "datetime.datetime(2026, 6, 12, 8, 30, tzinfo=datetime.timezone.utc)",
        "datetime.timedelta(days=1, seconds=2)",
        "pathlib.Path('a', 'b')",
        "uuid.UUID(int=7)",
        "{'x': [b'\\xff', range(3), 1j, (None, {2}), frozenset('ab')]}",
    ],
)
def test_values_come_back_as_what_they_are(value):
    modules = "import datetime, decimal, fractions, pathlib, uuid\n"
    tests = f"{modules}assert made() == {value}\nassert not made() != {value}"
    assert code(f"{modules}def made(): return {value}", (), tests) == (1.0, "all 2 tests pass")
    assert code("def made(): return 0", (), tests).score == 0


def test_setup_loops_and_classes_work_like_a_module():
    program = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom typing import NamedTuple\nimport asyncio\n"
        "@dataclass\nclass Point:\n    x: int\n    y: int = 0\nclass Pair(NamedTuple):\n    a: int\n"
        "async def later(x):\n    await asyncio.sleep(0)\n    return x\n"
        "def wait(x): return asyncio.run(later(x))\n"
        "def save(x):\n    with open('a.txt', 'w') as f: f.write(x)\n    return open('a.txt').read()\n"
        "if __name__ == '__main__':\n    raise SystemExit\n"
    )
    tests = (
        "points = [Point(n) for n in range(3)]\nfor n, p in enumerate(points):\n    assert p.x == n\n"
        "assert Pair(1).a == 1\nassert wait(5) == 5\nassert save('ok') == 'ok'"
    )
    assert code(program, (), tests) == (1.0, "all 4 tests pass")
    assert (
        code(ADD, (), "x = missing\nassert add(1, 1) == 2").reason
        == "0 of 1 tests pass; the code does not define missing"
    )
    assert code(ADD, (), "x = add(1, 'a')\nassert add(1, 1) == 2").reason.startswith(
        "0 of 1 tests pass; x = add(1, 'a') raises TypeError"
    )


def test_sets_iterate_in_the_same_order_in_every_run():
    program = "raise ValueError(list({'a', 'b', 'c', 'd', 'e', 'f', 'g'}))"
    reasons = {code(program, (), TESTS).reason for _ in range(4)}
    assert len(reasons) == 1 and "ValueError: ['" in reasons.pop()


@posix
def test_endless_loops_are_stopped():
    # By CPU time, or by the clock where the machine is so busy that six times as much passes first.
    stopped = "0 of 3 tests pass; the code (ran out of CPU time|was stopped by SIGKILL|ran longer than 6 s)"
    assert re.fullmatch(stopped, code("while True: pass", (), TESTS, seconds=1).reason)
    ignoring = "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True:\n    try:\n        while True: pass\n    except: pass"
    assert re.fullmatch(stopped, code(ignoring, (), TESTS, seconds=1).reason)
    half = "def add(a, b):\n    while a == -1: pass\n    return a + b"
    assert code(half, (), TESTS, seconds=1, partial=True).score == pytest.approx(1 / 3)


def test_sleeping_is_stopped():
    assert (
        "ran longer than 1.5 s"
        in code("import time\ntime.sleep(1e6)", (), TESTS, seconds=0.25).reason
    )


@posix
@pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not enforce the memory limit")
def test_memory_is_bounded():
    assert "raises MemoryError" in code("x = bytearray(2 << 30)", (), TESTS).reason
    assert code("x = []\nwhile True: x.append(bytearray(1 << 20))", (), TESTS).score == 0
    assert code("x = bytearray(100 << 20)\n" + ADD, (), TESTS).score == 1


@posix
def test_output_and_files_are_bounded():
    assert code("print('x' * 10_000_000)\n" + ADD, (), TESTS).score == 1
    assert "raises OSError" in code("open('big', 'wb').write(bytes(10 << 20))", (), TESTS).reason


@pytest.mark.parametrize(
    "attempt",
    [
        "import os\nwhile True: os.fork()",
        "import os\nos.system('true')",
        "import os\nos.execv('/bin/true', ['true'])",
        "import subprocess\nsubprocess.run(['true'])",
        "import _posixsubprocess\n_posixsubprocess.fork_exec()",
        "import threading\nthreading.Thread(target=print).start()",
        "import multiprocessing\nmultiprocessing.Process(target=print).start()",
        "import os\nos.kill(os.getppid(), 9)",
        "import socket\nsocket.create_connection(('127.0.0.1', 9))",
        "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:9')",
        "import ctypes",
        "import sqlite3\nsqlite3.connect('../x.db')",
        "import os\nos.mkdir('../made')",
    ],
)
@posix
def test_processes_threads_and_connections_are_refused(attempt):
    found = code(f"{ADD}\n{attempt}", (), TESTS)
    assert found.score == 0
    assert "not allowed here" in found.reason or "PermissionError" in found.reason, found


@posix
def test_files_outside_are_neither_read_nor_changed(tmp_path):
    kept = tmp_path / "kept.txt"
    kept.write_text("secret")
    for attempt in (
        f"open({str(kept)!r}).read()",
        f"open({str(kept)!r}, 'w')",
        f"import os; os.remove({str(kept)!r})",
    ):
        assert "PermissionError" in code(f"{ADD}\n{attempt}", (), TESTS).reason
    link = f"import os\nos.symlink({str(kept)!r}, 'link')\nopen('link').read()"
    assert "PermissionError" in code(f"{ADD}\n{link}", (), TESTS).reason
    assert kept.read_text() == "secret"


def test_the_environment_is_empty_and_the_folder_too(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "not-to-be-seen")
    looking = "import os\ndef keys(): return [k for k in os.environ if 'KEY' in k]\ndef files(): return os.listdir('.')"
    assert code(looking, (), "assert keys() == []\nassert files() == []").score == 1


@posix
def test_the_code_cannot_read_back_what_the_harness_was_given():
    looking = (
        "import os, sys\ndef given():\n    return os.pread(0, 1 << 20, 0) + sys.stdin.buffer.read()"
    )
    assert code(looking, (), "assert given() == b''").score == 1


def test_nothing_is_run_in_this_process(tmp_path):
    before = set(sys.modules)
    assert code("import colorsys\n" + ADD, (), TESTS).score == 1
    assert "answer" not in sys.modules and set(sys.modules) - before <= {"colorsys"} - set(
        sys.modules
    )


def test_the_block_that_defines_the_entry_is_the_code():
    text = f"```python\n{ADD}```\nUse:\n```python\nprint(add(1, 2))\n```\nRun:\n```bash\npython add.py\n```"
    assert extract_code(text, ["add"]).startswith("def add")
    assert extract_code("```\nx = 1\n```", ["add"]) == "x = 1"
    assert extract_code("```python\n" + ADD, ["add"]).startswith(
        "def add"
    )  # the fence is not closed
    assert extract_code(
        "```py\nadd = lambda a, b: a + b\n```\n```py\nadd(1, 2)\n```", ["add"]
    ).startswith("add = ")
    assert extract_code(ADD) == ADD
    assert code(text, (), TESTS).score == 1


def test_the_harness_imports_nothing_of_the_kit():
    source = (
        Path(__file__).parents[2] / "tierlab" / "evaluate" / "scorers" / "code_harness.py"
    ).read_text(encoding="utf-8")
    assert "import tierlab" not in source and "from tierlab" not in source
