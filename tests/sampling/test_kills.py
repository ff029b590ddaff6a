"""`sample`, `route` and `run` killed at random moments: nothing lost, nothing half-written, no process left."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from contextlib import suppress

import nbformat
import pandas as pd
import psutil
import pytest

from tests.core.test_files import notebook, outcomes
from tests.frames import frames
from tests.proofs import runs
from tests.servers import ROOT, RawServer, Reply

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork"),
    reason="Windows neither forks nor has kill -9; the README says what differs",
)
KILLS = -(-runs(100, 20) // 3)  # of each of the three commands
SECONDS = 3  # in which every process is gone
# Imports once and forks for each command: what is killed is the command and not its imports.
DRIVER = """
import json, os, sys
import matplotlib.pyplot, nbformat, tierlab.pages.page, tierlab.routing.report, tierlab.sampling.run
from tierlab.cli import main
import httpx2, jsonschema, openai
from openai.types.chat import ChatCompletionChunk
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        os.dup2(1, 2)
        os._exit(main(json.loads(line)))
    print(pid, flush=True)
    print(os.waitpid(pid, 0)[1], flush=True)
"""


class Driver:
    """Runs commands in processes of their own, and knows every process that came of them."""

    def __init__(self):
        self.mark = uuid.uuid4().hex
        self._process = subprocess.Popen(
            [sys.executable, "-c", DRIVER],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"TIERLAB_TEST_MARK": self.mark},
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def start(self, words):
        print(json.dumps([str(word) for word in words]), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def status(self):
        return int(self._process.stdout.readline())

    def left(self):
        """What still lives after the time that it has to end, but for the driver."""
        until = time.monotonic() + SECONDS
        while (found := self._living()) and time.monotonic() < until:
            time.sleep(0.05)
        return found

    def _living(self):
        found = []
        for process in psutil.process_iter():
            try:
                if (
                    process.pid != self._process.pid
                    and process.environ().get("TIERLAB_TEST_MARK") == self.mark
                ):
                    found.append(f"{process.pid} {' '.join(process.cmdline())[:200]}")
            except psutil.Error:
                pass
        return found


def assert_whole(folder):
    for path in folder.rglob("*"):
        if path.is_dir() or path.suffix in (
            ".lock",
            ".sqlite-wal",
            ".sqlite-shm",
            ".sqlite-journal",
        ):
            continue
        if path.suffix == ".html":
            assert path.read_text("utf-8").rstrip().endswith("</html>"), path
        elif path.suffix == ".ipynb":
            nbformat.validate(nbformat.read(path, as_version=4))
        elif path.suffix == ".csv":
            assert path.read_bytes().endswith(b"\n") and len(pd.read_csv(path)), path
        elif path.suffix == ".png":
            assert path.read_bytes().endswith(b"IEND\xae\x42\x60\x82"), path
        elif path.suffix == ".json":
            json.loads(path.read_text("utf-8"))
        else:
            assert path.suffix == ".sqlite", path  # and nothing else, a fragment least of all


def killed(words, folder, seed, look=lambda again: None):
    """Kill the command KILLS times while it is at work, each time at a random moment, and let it go on; then let it finish.

    Where it was done before it could be killed it begins afresh. `look` looks at what is there.
    """
    chance, met, out = random.Random(seed), 0, folder / "out"
    with Driver() as driver:
        driver.start(words(folder / "reference"))
        begun = time.monotonic()
        assert driver.status() == 0
        lasts = time.monotonic() - begun
        while met < KILLS:
            pid = driver.start(words(out))
            time.sleep(chance.uniform(0, lasts))
            with suppress(ProcessLookupError):
                os.kill(pid, chance.choice([signal.SIGKILL, signal.SIGTERM]))
            done = driver.status() == 0
            assert not driver.left()
            assert_whole(folder)
            if done:
                shutil.rmtree(out)
            look(done)
            met += not done
        driver.start(words(out))
        assert driver.status() == 0
        assert not driver.left()
    assert_whole(folder)
    names = [
        {p.relative_to(part).as_posix() for p in part.rglob("*")}
        for part in (folder / "reference", out)
    ]
    assert names[0] == names[1]


def test_route(tmp_path):
    (tmp_path / "in").mkdir()
    own = tmp_path / "in" / "outcomes.csv"
    own.write_text(outcomes())
    before = own.read_bytes()
    killed(lambda out: ["route", own, "--out", out], tmp_path, 1)
    assert own.read_bytes() == before
    for name in ("curve.csv", "policies.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (
            tmp_path / "reference" / name
        ).read_bytes()


def test_run(tmp_path):
    """Two notebooks at a time, whose kernels start processes of their own."""
    source = (
        "import os, pathlib, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "figures = pathlib.Path(os.environ['TIERLAB_FIGURES_DIR'])\nfigures.mkdir(parents=True, exist_ok=True)\n"
        "(figures / '{name}.png').write_bytes(b'a figure' * 1000 + b'IEND\\xae\\x42\\x60\\x82')\n"
        "time.sleep(0.5)\nchild.kill()"
    )
    mine = [tmp_path / "in" / f"{name}.ipynb" for name in ("a", "b")]
    for path in mine:
        notebook(path, source.replace("{name}", path.stem))
    before = [path.read_bytes() for path in mine]
    killed(lambda out: ["run", *mine, "--out", out], tmp_path, 2)
    assert [path.read_bytes() for path in mine] == before


def test_sample(tmp_path):
    server, finished, twice = RawServer(), set(), []
    body = tuple(
        frames(
            "compatible", usage={"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
        )
    )

    def answer(request):
        question = request.body["messages"][-1]["content"]
        twice.extend({question} & finished)
        return Reply((0.02, *body))

    def stored(again):
        if again:
            finished.clear()
        store = tmp_path / "out" / "samples.sqlite"
        if store.exists():
            with sqlite3.connect(store) as file:
                if file.execute("SELECT 1 FROM sqlite_master WHERE name = 'results'").fetchone():
                    sql = "SELECT json_extract(c.request, '$.prompt') FROM calls c JOIN results USING (key)"
                    now = {prompt for (prompt,) in file.execute(sql)}
                    assert finished <= now  # what was on disk stays there
                    finished.update(now)
                assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            file.close()

    server.answer = answer
    own = f"compatible:own,base_url={server.base_url('openai')},usd_per_mtok=1/2"
    rows = [
        {
            "example_id": f"q{n}",
            "task": "own",
            "prompt": f"{n}?",
            "scorer": "exact",
            "reference": "Paris.",
        }
        for n in range(200)
    ]
    (tmp_path / "in").mkdir()
    examples = tmp_path / "in" / "mine.csv"
    pd.DataFrame(rows).to_csv(examples, index=False)
    before = examples.read_bytes()

    def words(out):
        return [
            "sample",
            examples,
            "--candidate",
            own,
            "--budget-usd",
            "1",
            "--concurrency",
            "4",
            "--store",
            out / "samples.sqlite",
        ]

    try:
        killed(words, tmp_path, 3, stored)
    finally:
        server.close()
    tables = [pd.read_csv(tmp_path / part / "samples.csv") for part in ("out", "reference")]
    columns = ["prompt_id", "answer", "score", "status", "cost_usd"]
    pd.testing.assert_frame_equal(tables[0][columns], tables[1][columns])
    assert len(tables[0]) == 200 and (tables[0]["score"] == 1).all()
    assert not twice  # no answer that was on disk was asked for again
    assert examples.read_bytes() == before
