"""No command harms a file that is not its own: an input, a file of others, or one of its own that somebody changed."""

import json
import os
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import tierlab as tl
from tests.servers import ROOT
from tierlab.cli import main
from tierlab.core import paths
from tierlab.core.files import MANIFEST, write_whole
from tierlab.workshop import build

FIGURE = """\
import matplotlib.pyplot as plt
import tierlab as tl
figure, ax = plt.subplots(figsize=(1, 1))
tl.show(figure, alt="a square", caption="A square.", save_as="my")"""


def notebook(path, source=FIGURE):
    cells = [
        new_markdown_cell("# What is it?\n\nA square."),
        new_code_cell(
            'usage: str = "none"  # one of none, or a path', metadata={"tags": ["parameters"]}
        ),
        new_code_cell(source),
    ]
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


def table(rows, columns):
    return pd.DataFrame(rows, columns=columns).to_csv(index=False)


def outcomes():
    rows = [
        (n, model, float((n + cut) % 3 > 0), 0.001 * (1 + 9 * cut), n)
        for n in range(40)
        for cut, model in enumerate("ab")
    ]
    return table(rows, ["prompt_id", "model_id", "score", "cost_usd", "prompt_chars"])


def examples():
    return "".join(
        (ROOT / "data" / "examples" / "examples.jsonl")
        .read_text("utf-8")
        .splitlines(keepends=True)[:3]
    )


def recorded():
    table = pd.read_csv(ROOT / "data" / "samples" / "open_models.csv")
    asked = [json.loads(line)["example_id"] for line in examples().splitlines()]
    return table[table["prompt_id"].isin(asked)].to_csv(index=False)


def usage():
    days = pd.date_range("2026-04-01", "2026-09-30").strftime("%Y-%m-%d")
    return table(
        [(day, "claude-haiku-4-5", 1000, 100) for day in days],
        ["at", "model_id", "uncached_input_tokens", "output_tokens"],
    )


def summary():
    known = {
        "forecast": {"2026Q3": {"usd": 1.0, "low": 0.5, "high": 2.0, "days": 92}},
        "quarter": "2026Q2",
    }
    return json.dumps({"schema": "tierlab.quarter/1", "state": "ok"} | known)


@dataclass(frozen=True)
class Command:
    """A command that writes: its words with {input} and {out}, the maker of each input, and the files that it writes."""

    words: str
    inputs: dict
    writes: tuple
    late: tuple = ()  # names that are known only once a notebook has run

    def run(self, paths, out, *more):
        return main([*self.words.format(**paths, out=out).split(), *map(str, more)])


COMMANDS = {
    "run": Command(
        "run {notebook} -f {values} -p usage {usage} --out {out}",
        {
            "notebook": ("my.ipynb", notebook),
            "values": ("values.yaml", lambda path: path.write_text("{}\n")),
            "usage": ("usage.csv", lambda path: path.write_text(usage())),
        },
        ("notebooks/my.ipynb", "my.html", "index.html"),
        ("figures/my.png",),
    ),
    "quarter": Command(
        "quarter 2026Q3 --usage {usage} --last {last} --outcomes {scores} --prices {prices} --no-pdf --out {out}",
        {
            "usage": ("usage.csv", lambda path: path.write_text(usage())),
            "last": ("last.json", lambda path: path.write_text(summary())),
            "scores": (
                "scores.csv",
                lambda path: path.write_text(outcomes().replace(",a,", ",claude-haiku-4-5,")),
            ),
            "prices": (
                "prices.csv",
                lambda path: shutil.copyfile(ROOT / "data" / "prices_article.csv", path),
            ),
        },
        ("report.ipynb", "report.html", "report.pdf", "summary.json"),
        ("figures/90_days.png",),
    ),
    "route": Command(
        "route {outcomes} --out {out}",
        {"outcomes": ("outcomes.csv", lambda path: path.write_text(outcomes()))},
        ("curve.csv", "policies.csv", "router.html"),
    ),
    "sample": Command(
        "sample {examples} --candidate replay:smollm2-135m-instruct,path={recorded} --budget-usd 0 --store {out}/samples.sqlite",
        {
            "examples": ("examples.jsonl", lambda path: path.write_text(examples())),
            "recorded": ("recorded.csv", lambda path: path.write_text(recorded())),
        },
        ("samples.csv", "samples.sqlite"),
    ),
    "workshop": Command(
        "workshop {out}", {}, ("01_cost_of_a_day.ipynb", "10_quarterly_waterfall.ipynb")
    ),
}
CASES = [pytest.param(command, id=name) for name, command in COMMANDS.items()]


def made(command, folder):
    """Write the inputs of the command as files; return their paths by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in command.inputs.values():
        make(folder / name)
    return {name: folder / file for name, (file, _) in command.inputs.items()}


def snapshot(folder):
    """Return all that is in a folder (bytes of files, targets of links, empty folders) but the kit's own files."""
    found = {}
    for path in sorted(folder.rglob("*")):
        kind = "link" if path.is_symlink() else "file" if path.is_file() else "folder"
        found[path.relative_to(folder).as_posix()] = (
            (kind, path.readlink())
            if kind == "link"
            else (kind, path.read_bytes())
            if kind == "file"
            else (kind, None)
        )
    return found


WAYS = {
    "itself": lambda given, place: shutil.move(given, place),
    "hard link": os.link,
    "link": lambda given, place: place.symlink_to(given),
}


@pytest.mark.parametrize("command", CASES)
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_no_input_is_written_over(command, force, tmp_path, capsys):
    """Put each input under each name that the command writes: as itself, by links, and through a linked folder."""
    for number, (name, output, way) in enumerate(
        (n, o, w) for n in command.inputs for o in command.writes for w in WAYS
    ):
        folder = tmp_path / str(number)
        paths, out = made(command, folder / "in"), folder / "out"
        place = out / output
        place.parent.mkdir(parents=True)
        WAYS[way](paths[name], place)
        paths |= {name: place} if way == "itself" else {}
        (folder / "linked").symlink_to(out)
        before = snapshot(folder)
        for given in (out, folder / "linked"):
            assert command.run(paths, given, *force) == 2, (name, output, way)
            assert snapshot(folder) == before, (name, output, way)
        if way != "itself":
            assert "is an input of this command" in capsys.readouterr().err, (name, output, way)


@pytest.mark.parametrize("command", CASES)
def test_files_of_others_are_not_written_over(command, tmp_path, capsys):
    paths = made(command, tmp_path / "in")
    for number, output in enumerate(command.writes):
        for kind in ("file", "folder", "link", "dangling link", "folder's place"):
            out = tmp_path / f"{number} {kind}".replace(" ", "_").replace("'", "")
            place = out / output
            place.parent.mkdir(parents=True)
            (out / "theirs.txt").write_text("theirs")
            if kind == "file":
                place.write_text("theirs")
            elif kind == "folder":
                place.mkdir()
                (place / "theirs").write_text("theirs")
            elif kind == "link":
                place.symlink_to(out / "theirs.txt")
            elif kind == "dangling link":
                place.symlink_to(tmp_path / "nowhere")
            else:
                shutil.rmtree(out)
                out.write_text("theirs")
            before = snapshot(tmp_path)
            for force in ([], ["--force"] if kind != "file" else []):
                assert command.run(paths, out, *force) == 2, (output, kind)
                assert snapshot(tmp_path) == before, (output, kind)
            said = capsys.readouterr().err
            assert str(out) in said and "Traceback" not in said and "Errno" not in said, said


@pytest.mark.parametrize("command", CASES)
def test_what_lies_beside_stays_and_the_second_run_works(command, tmp_path, capsys):
    paths, out = made(command, tmp_path / "in"), tmp_path / "out"
    for name in (
        "mine.html",
        "notebooks/mine.ipynb",
        "figures/90_mine.png",
        "mine.csv",
        ".tierlab-notes",
    ):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("mine")
    before = snapshot(tmp_path)
    slow = command is COMMANDS["quarter"]
    for _ in range(1 if slow else 2):
        assert command.run(paths, out) == 0, capsys.readouterr().err
        after = snapshot(tmp_path)
        assert {name: after[name] for name in before} == before
        assert set(command.writes + command.late) - {"report.pdf"} <= {
            p.relative_to(out).as_posix() for p in out.rglob("*")
        }
        assert not list(tmp_path.rglob("*.part"))

    changed = out / (command.writes if slow or not command.late else command.late)[0]
    changed.write_bytes(b"changed by hand")
    for path in paths.values():  # so that a notebook whose inputs are as they were runs again
        path.write_bytes(path.read_bytes().replace(b"A square.", b"A new square."))
    before = snapshot(tmp_path)
    assert command.run(paths, out) == 2
    assert (
        "was changed since tierlab wrote it; choose another folder, or have it replaced (--force"
        in capsys.readouterr().err
    )
    assert {k: v for k, v in snapshot(tmp_path).items() if k.startswith("out/")} == {
        k: v for k, v in before.items() if k.startswith("out/")
    }
    assert command.run(paths, out, "--force") == 0
    assert changed.read_bytes() != b"changed by hand"


@pytest.mark.parametrize("command", CASES)
def test_a_list_of_files_that_is_not_ours_is_left_alone(command, tmp_path):
    paths, out = made(command, tmp_path / "in"), tmp_path / "out"
    out.mkdir()
    for text in ("{}", "mine", '{"made": ["a"]}'):
        (out / MANIFEST).write_text(text)
        before = snapshot(tmp_path)
        assert command.run(paths, out, "--force") == 2
        assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    "words",
    [
        "prices --source {prices} --csv",
        "prices --source {prices} --changes 2026-06-01 2026-12-01",
        "review {record} {prices} --prices {prices}",
        "run {notebook} -f {values} -p usge x",
        "sample {examples} --check",
        "recommend customer_support --error-cost-usd 0.5 --prices {prices}",
        "datasets",
        "doctor",
    ],
)
def test_commands_that_only_read_write_nothing(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    paths = {}
    for command in COMMANDS.values():
        paths |= made(command, tmp_path)
    record = tmp_path / "decision.md"
    assert (
        main(["recommend", "customer_support", "--error-cost-usd", "0.5", "--file", str(record)])
        == 0
    )
    before = snapshot(tmp_path)
    main(words.format(**paths, record=record).split())
    assert snapshot(tmp_path) == before


class TestStores:
    COMMAND = COMMANDS["sample"]
    WORDS = "sample {examples} --candidate replay:smollm2-135m-instruct,path={recorded} --budget-usd 0 --out {out} --store"

    @pytest.mark.parametrize("force", [[], ["--force"]])
    def test_no_input_and_no_file_of_others_becomes_a_store(self, tmp_path, force, capsys):
        paths, out = made(self.COMMAND, tmp_path), tmp_path / "out"
        words = self.WORDS.format(**paths, out=out).split()
        assert main([*words, str(tmp_path / "first.sqlite")]) == 0
        os.link(paths["examples"], tmp_path / "hard")
        (tmp_path / "soft").symlink_to(paths["recorded"])
        (tmp_path / "text.txt").write_text("mine")
        (tmp_path / "folder").mkdir()
        subprocess.run([sys.executable, "-c", OPEN_DATABASE, tmp_path / "other.db"], check=True)
        before = snapshot(tmp_path)
        assert "other.db-wal" in before  # as another program leaves it that was cut off
        for store in (
            "examples.jsonl",
            "recorded.csv",
            "hard",
            "soft",
            "text.txt",
            "folder",
            "other.db",
        ):
            assert main([*words, str(tmp_path / store), *force]) == 2, store
            assert snapshot(tmp_path) == before, store
        again = (
            self.WORDS.replace("{recorded}", str(tmp_path / "first.sqlite"))
            .format(**paths, out=out)
            .split()
        )
        assert (
            main([*again, str(tmp_path / "first.sqlite"), *force]) == 2
        )  # its own answers, replayed into themselves
        assert snapshot(tmp_path) == before

    def test_examples_are_not_written_over_with_their_answers(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        paths = made(self.COMMAND, tmp_path)
        rows = [json.loads(line) for line in paths["examples"].read_text().splitlines()]
        pd.DataFrame(rows).to_csv("samples.csv", index=False)
        before = snapshot(tmp_path)
        given = [
            "sample",
            "samples.csv",
            "--candidate",
            "replay:smollm2-135m-instruct,path=recorded.csv",
            "--budget-usd",
            "0",
        ]
        assert main([*given, "--store", "a.sqlite"]) == 2
        assert "samples.csv is an input of this command" in capsys.readouterr().err
        assert snapshot(tmp_path) == before

    def test_the_lock_holds_under_every_name_of_the_file(self, tmp_path):
        """A store that another process has open is refused, also by a link and through a linked folder."""
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        (tmp_path / "to_a").symlink_to("a")
        store = tmp_path / "a" / "run.sqlite"
        paths = made(self.COMMAND, tmp_path / "in")
        words = self.WORDS.format(**paths, out=tmp_path / "out").split()
        assert main([*words, str(store)]) == 0
        names = [
            tmp_path / "b" / "soft.sqlite",
            tmp_path / "to_a" / "run.sqlite",
            store,
        ]
        names[0].symlink_to(store)
        holds = f"from tierlab.sampling.store import Store\nimport sys\ns = Store({str(store)!r})\nprint('open', flush=True)\nsys.stdin.read()"
        with subprocess.Popen(
            [sys.executable, "-c", holds], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other:
            assert other.stdout.readline() == b"open\n"
            for name in names:
                with pytest.raises(ValueError, match="in use by another run"):
                    tl.sampling.store.Store(name)
            with tl.sampling.store.Store(tmp_path / "b" / "another.sqlite"):
                pass
            other.stdin.close()
        for name in names:
            tl.sampling.store.Store(name).close()
        with tl.sampling.store.Store(store):
            for name in names:  # in one process, where a lock of the system's own would let it pass
                with pytest.raises(ValueError, match="in use by another run"):
                    tl.sampling.store.Store(name)

    def test_a_store_with_a_second_name_is_refused(self, tmp_path):
        store, other = tmp_path / "run.sqlite", tmp_path / "other.sqlite"
        tl.sampling.store.Store(store).close()
        os.link(store, other)
        for name in (store, other):
            with pytest.raises(ValueError, match="has a second name"):
                tl.sampling.store.Store(name)


OPEN_DATABASE = """
import os, sqlite3, sys
file = sqlite3.connect(sys.argv[1])
file.execute("CREATE TABLE cookies (host TEXT)")
file.execute("PRAGMA journal_mode = WAL")
file.execute("INSERT INTO cookies VALUES ('mine')")
file.commit()
os._exit(0)
"""


class TestRecords:
    WORDS = ("recommend", "customer_support", "--error-cost-usd", "0.5", "--file")

    def test_only_a_record_is_replaced(self, tmp_path, capsys):
        mine, folder = tmp_path / "README.md", tmp_path / "place.md"
        mine.write_text("# Mine\n")
        folder.mkdir()
        (tmp_path / "notes").write_text("mine")
        (tmp_path / "dangling.md").symlink_to(tmp_path / "nowhere.md")
        before = snapshot(tmp_path)
        for given in (
            ["README.md"],
            ["README.md", "--replace"],
            ["notes"],
            ["notes", "--replace"],
            ["dangling.md"],
            ["dangling.md", "--replace"],
        ):
            assert main([*self.WORDS, str(tmp_path / given[0]), *given[1:]]) == 2, given
            assert snapshot(tmp_path) == before, given
            assert "Errno" not in capsys.readouterr().err

    def test_a_record_is_replaced_when_asked_to(self, tmp_path):
        path = tmp_path / "a.md"
        assert main([*self.WORDS, str(path), "--title", "One"]) == 0
        before = path.read_bytes()
        assert main([*self.WORDS, str(path), "--title", "Two"]) == 2 and path.read_bytes() == before
        assert main([*self.WORDS, str(path), "--title", "Two", "--replace"]) == 0
        assert tl.load_record(path).title == "Two"

    def test_of_many_at_once_exactly_one_is_filed(self, tmp_path):
        found = tl.recommend(task="customer_support", error_cost_usd=0.5)
        barrier, filed = threading.Barrier(8, timeout=60), []

        def file(n):
            for turn in range(10):
                barrier.wait()
                with suppress(FileExistsError):
                    filed.append(
                        (
                            turn,
                            tl.load_record(
                                tl.file_record(found, tmp_path / f"{turn}.md", title=f"number {n}")
                            ).title,
                        )
                    )

        threads = [threading.Thread(target=file, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(filed) == [
            (turn, tl.load_record(tmp_path / f"{turn}.md").title) for turn in range(10)
        ]
        assert sorted(os.listdir(tmp_path)) == [f"{turn}.md" for turn in range(10)]  # noqa: PTH208


class TestRun:
    def test_a_report_is_not_written_into_the_clone_itself(self, tmp_path, monkeypatch, capsys):
        """`run --out .` in the folder of the notebooks: the kit's, a person's own, and pages of another program."""
        for name in ("01_kit", "my"):
            notebook(tmp_path / "notebooks" / f"{name}.ipynb")
        (tmp_path / "page.html").write_text("mine")
        monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path / "notebooks")
        monkeypatch.chdir(tmp_path)
        before = snapshot(tmp_path)
        for words in (["run"], ["run", "notebooks/my.ipynb"], ["run", "01_kit"]):
            for force in ([], ["--force"]):
                assert main([*words, "--out", ".", *force]) == 2
                assert "is an input of this command" in capsys.readouterr().err
                assert snapshot(tmp_path) == before

    def test_pages_of_an_earlier_run_go_and_those_of_others_stay(self, tmp_path, monkeypatch):
        kit, out = tmp_path / "notebooks", tmp_path / "out"
        for name in ("01_first", "02_second"):
            notebook(kit / f"{name}.ipynb", "1")
        monkeypatch.setattr(paths, "NOTEBOOKS", kit)
        assert main(["run", "--out", str(out)]) == 0
        (out / "mine.html").write_text("mine")
        (out / "notebooks" / "mine.ipynb").write_text("mine")
        (kit / "01_first.ipynb").unlink()
        assert main(["run", "--out", str(out)]) == 0
        kept = {
            "02_second.html",
            "index.html",
            "mine.html",
            "notebooks/02_second.ipynb",
            "notebooks/mine.ipynb",
            MANIFEST,
        }
        assert {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()} == kept


class TestQuarter:
    def test_a_refused_input_takes_nothing_of_others_away(self, tmp_path, capsys):
        out = tmp_path / "out"
        (out / "figures").mkdir(parents=True)
        (out / "figures" / "90_mine.png").write_text("mine")
        (out / "report.docx").write_text("mine")
        before = snapshot(tmp_path)
        assert main(["quarter", "2026Q3", "--usage", "no/logs", "--out", str(out)]) == 2
        after = snapshot(tmp_path)
        assert {name: after[name] for name in before} == before
        assert json.loads((out / "summary.json").read_text())["state"] == "bad input"

    def test_the_summary_of_the_notebook_is_never_an_input_or_a_file_of_others(self, tmp_path):
        """Notebook 90 is run by a person, or by papermill."""
        from tierlab.quarter.inputs import InputError, Inputs
        from tierlab.quarter.report import prepare, write_summary

        (tmp_path / "usage.csv").write_text(usage())
        (tmp_path / "last.json").write_text(summary())
        (tmp_path / "mine.json").write_text("{}")
        found = prepare(
            Inputs(
                quarter="2026Q3",
                usage_path=str(tmp_path / "usage.csv"),
                last_summary_path=str(tmp_path / "last.json"),
            )
        )
        before = snapshot(tmp_path)
        for name in ("usage.csv", "last.json", "mine.json"):
            with pytest.raises(InputError, match="is not written over"):
                write_summary(found, tmp_path / name)
            assert snapshot(tmp_path) == before
        for _ in range(2):
            write_summary(found, tmp_path / "new.json")
        assert json.loads((tmp_path / "new.json").read_text())["state"] == "ok"


class TestWorkshop:
    def test_answers_are_written_over_by_no_one(self, tmp_path, monkeypatch, capsys):
        """In a learner's copy, and in the kit's own folder."""
        kit = tmp_path / "kit"
        shutil.copytree(build.FOLDER, kit)
        monkeypatch.setattr(build, "FOLDER", kit)
        assert main(["workshop"]) == 0 and "every exercise is fresh" in capsys.readouterr().out
        for words, folder in (
            (["workshop"], kit / "exercises"),
            (["workshop", str(tmp_path / "mine")], tmp_path / "mine"),
        ):
            assert main(words) == 0
            answered = folder / "01_cost_of_a_day.ipynb"
            fresh = answered.read_bytes()
            answered.write_bytes(fresh.replace(b"opus_usd = ...", b"opus_usd = 10_000"))
            assert answered.read_bytes() != fresh
            (folder / "scratch.ipynb").write_text("{}")
            before = snapshot(tmp_path)
            assert main(words) == 2
            assert (
                "01_cost_of_a_day.ipynb was changed since tierlab wrote it"
                in capsys.readouterr().err
            )
            assert snapshot(tmp_path) == before
            assert main([*words, "--force"]) == 0
            assert answered.read_bytes() == fresh and (folder / "scratch.ipynb").exists()


class TestWholeFiles:
    WORDS = (*TestRecords.WORDS[:-1], "--replace", "--notes", "x" * 30_000, "--file")

    def filed(self, folder, **more):
        path = folder / "a.md"
        assert main([*TestRecords.WORDS, str(path), "--title", "One"]) == 0
        before = path.read_bytes()
        return path, before, [sys.executable, "-m", "tierlab", *self.WORDS, str(path)]

    def test_a_limit_on_the_size_of_files_leaves_the_old_one(self, tmp_path):
        resource = pytest.importorskip(
            "resource", reason="Windows has no limit on the size of files"
        )
        path, before, command = self.filed(tmp_path)
        limited = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # noqa: E731
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, preexec_fn=limited, check=False
        )
        assert done.returncode == 2 and "File too large" in done.stderr
        assert snapshot(tmp_path) == {"a.md": ("file", before)} and path.exists()

    def test_a_full_disk_leaves_the_old_one(self, tmp_path):
        disk = tmp_path / "disk"
        disk.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk],
            capture_output=True,
            check=False,
        )
        if mounted.returncode:
            pytest.skip("a disk of 64 KiB cannot be mounted here (it needs root)")
        try:
            _, before, command = self.filed(disk)
            (disk / "filler").write_bytes(b"x" * 28_000)
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 2 and "No space left" in done.stderr
            assert snapshot(disk) == {"a.md": ("file", before), "filler": ("file", b"x" * 28_000)}
        finally:
            subprocess.run(["umount", disk], check=True)

    def test_a_file_system_without_hard_links_files_exclusively_too(self, tmp_path, monkeypatch):
        def refused(*_, **__):
            raise PermissionError("no hard links here")

        monkeypatch.setattr(os, "link", refused)
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
        write_whole(tmp_path / "a", "one", exclusive=True)
        with pytest.raises(FileExistsError):
            write_whole(tmp_path / "a", "two", exclusive=True)
        assert snapshot(tmp_path) == {"a": ("file", b"one")}

    def test_links_modes_and_what_is_not_a_file(self, tmp_path):
        target, link = tmp_path / "target", tmp_path / "link"
        target.write_text("old")
        target.chmod(0o640)
        link.symlink_to(target)
        write_whole(link, "new\r\n")
        assert (target.read_bytes(), link.is_symlink(), target.stat().st_mode & 0o777) == (
            b"new\r\n",
            True,
            0o640,
        )
        if hasattr(os, "mkfifo"):
            os.mkfifo(tmp_path / "pipe")
            with pytest.raises(OSError, match="not a file that can be replaced"):
                write_whole(tmp_path / "pipe", "x")
            with pytest.raises(OSError, match="not a file that can be replaced"):
                write_whole("/dev/null", "x")

    @pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
    )
    def test_what_may_not_be_written_stays(self, tmp_path):
        (tmp_path / "a").write_text("mine")
        (tmp_path / "a").chmod(0o400)
        with pytest.raises(PermissionError):
            write_whole(tmp_path / "a", "x")
        assert (tmp_path / "a").read_text() == "mine"
