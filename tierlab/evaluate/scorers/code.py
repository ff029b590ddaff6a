"""Scorer of code: the reply's code runs in one process, the example's tests judge it in another.

What the code's process sends are values, never a verdict (`tierlab.evaluate.scorers.code_harness`). Where bubblewrap works
(`isolation`), that process has no network, no files but the standard library's, no processes and no environment but its own.
Elsewhere only limits hold: they keep mistakes in bounds, and code that means harm can get round them. It can then read what
the user can read, keys in the environment of running processes among them.
"""

import ast
import builtins
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

from tierlab.core.untrusted import shown
from tierlab.evaluate.scorers.answers import Score, Unscored, clip, fenced, is_number, needs

FILE_BYTES = 1 << 20  # that the code may write to one file
ISOLATIONS = {
    "bubblewrap": "bubblewrap: no network, no files of yours, no other processes",
    "limits": "limits alone: no bubblewrap works here, and code that means harm can read your files and keys",
}
_HARNESS = Path(__file__).with_name("code_harness.py")
_PYTHON = ("", "python", "python3", "py", "pycon")
_ALONE = ("-P", "-s", "-S", "-B", "-X", "utf8")  # the standard library alone
_GRACE_S = 5  # beyond the code's own time, for the judge to say what happened
_TMPFS_BYTES = 64 << 20


def code(text, tool_calls, reference, *, entry=(), partial=False, seconds=5, memory_mb=512):
    """1 if the reply's code passes every test, else 0.

    Parameters
    ----------
    text : str
        The code is the last fenced block that defines the entry, else the last fenced block, else the whole text.
    tool_calls : sequence of ToolCall
        Not looked at.
    reference : str
        Python that runs after the code. Each top-level statement with an ``assert`` in it is one test; the others
        prepare. It sees the names of the code that it uses, and untouched builtins.
    entry : str or sequence of str
        Names that the code must define. Names that the tests use and do not define are added; those of builtins
        must be given here.
    partial : bool
        Score the share of tests passed instead. All or nothing is what a user gets, and pass@1 of the literature.
    seconds : float
        CPU time; six times as much passes on the clock before the process is stopped.
    memory_mb : int
        Address space.

    Notes
    -----
    Pass@1: Chen et al., arXiv 2107.03374. The tests run in a process of their own, in which the code never was: it gets
    the arguments of calls and gives values back (8 MiB each), and is not told what they are compared with. Values of
    builtin types and their subclasses, of decimal, fractions, datetime, pathlib and uuid are compared in the tests'
    process. An object of the code's own class is equal to no such value, only to another object of the code, by its own
    ``__eq__``; and what its methods say is its own word. Tests can call, iterate, index, compare and catch exceptions, and
    hand over functions, generators and objects of their own classes. What cannot be judged from outside is set aside:
    deriving a class from one of the code, operators between an object of the code's own class and a plain value,
    asynchronous iteration, copying such an object.

    The code has the standard library, an empty folder, an empty environment and no input; what it prints is thrown away.
    Processes, threads, connections and files outside its folder are refused: by bubblewrap where `isolation` says
    so, else by a hook that code which means harm can get round. Memory, CPU and file limits need a platform with the
    `resource` module; macOS does not enforce the memory limit.

    Raises
    ------
    Unscored
        If Python cannot be started, or the tests ask for what cannot be judged from outside the code's process.

    Examples
    --------
    >>> code("```python\\ndef double(x):\\n    return 2 * x\\n```", (), "assert double(2) == 4")
    Score(score=1.0, reason='the test passes')
    >>> code("def double(x):\\n    return x ** 2", (), "assert double(2) == 4\\nassert double(3) == 6")
    Score(score=0.0, reason='1 of 2 tests pass; double(3) == 6 fails')
    """
    names, wall_s = _entries(reference, entry), 6 * seconds
    limits = {"cpu": seconds, "memory": memory_mb << 20, "file": FILE_BYTES, "wall": wall_s}
    answer = [*_isolated(shutil.which("bwrap")), *_python(), str(_HARNESS), "answer"]
    program = extract_code(text, names)
    found = _judged(
        {"code": program, "tests": reference, "names": names, "limits": limits, "answer": answer},
        wall_s + _GRACE_S,
    )
    if form := found.get("not_judged"):
        raise Unscored(f"the tests ask for {form}, which cannot be judged from outside the code")
    passed, total = found["passed"], sum(map(_is_test, ast.parse(reference).body))
    if not found["fault"]:
        return Score(1.0, f"all {total} tests pass" if total > 1 else "the test passes")
    reason = f"{passed} of {total} tests pass; {shown(found['fault'], 300)}"
    return Score(passed / total if partial else 0.0, reason)


def _judged(job, seconds):
    """What the judge's process finds: passed (number), fault, and not_judged where a test has a form that it cannot judge."""
    bare = {"PYTHONHASHSEED": "0"} | {
        name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ
    }
    command = [sys.executable, *_ALONE, str(_HARNESS), "judge"]
    given = {"input": json.dumps(job).encode(), "timeout": seconds, "start_new_session": True}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            run = subprocess.run(command, cwd=folder, env=bare, capture_output=True, **given)
        except OSError as error:
            raise Unscored(f"Python could not be started to run it: {error}") from error
        except subprocess.TimeoutExpired:
            return {"passed": 0, "fault": f"the tests ran longer than {seconds:g} s"}
    ended = {"passed": 0, "fault": f"the tests ended with exit code {run.returncode}"}
    return json.loads(run.stdout) if run.stdout else ended


def isolation():
    """What holds the code of replies apart from this machine, found by a trial run: a key of `ISOLATIONS`."""
    return "bubblewrap" if _isolated(shutil.which("bwrap")) else "limits"


@lru_cache(maxsize=4)
def _isolated(program):
    """The start of a command line that isolates the rest, or nothing where bubblewrap is missing or does not work."""
    if program is None:
        return ()
    command = [
        program,
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--cap-drop",
        "ALL",
        "--clearenv",
    ]
    command += ["--setenv", "PYTHONHASHSEED", "0", "--proc", "/proc", "--dev", "/dev"]
    for path in ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", sys.base_prefix):
        command += ["--ro-bind-try", path, path]
    command += [
        "--ro-bind",
        str(_HARNESS),
        str(_HARNESS),
        "--size",
        str(_TMPFS_BYTES),
        "--tmpfs",
        "/answer",
        "--chdir",
        "/answer",
    ]
    trial = f"import os; print(os.getpid() < 9 and not os.path.exists({str(_HARNESS.with_name('code.py'))!r}))"
    try:
        tried = subprocess.run(
            [*command, *_python(), "-c", trial],
            capture_output=True,
            timeout=30,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(command) if tried.stdout == b"True\n" else ()


def _python():
    """The interpreter itself and not the environment's link to it, which may stand in a folder that the code cannot see."""
    return [os.path.realpath(sys.executable), *_ALONE]


def check_code(reference, *, entry=(), partial=False, seconds=5, memory_mb=512):
    try:
        tests = ast.parse(reference).body if isinstance(reference, str) else []
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"code: the tests are not Python: {error}") from None
    if not any(map(_is_test, tests)):
        raise ValueError(
            f"code: reference={clip(reference)}; Python with at least one assert is needed"
        )
    names = [entry] if isinstance(entry, str) else entry
    right = isinstance(names, list | tuple) and all(
        isinstance(name, str) and name.isidentifier() for name in names
    )
    needs("code: entry", entry, right, "the name of a function or class, or a list of names,")
    if not _entries(reference, entry):
        raise ValueError("code: the tests use no name of the reply; give entry=")
    needs("code: partial", partial, isinstance(partial, bool), "true or false")
    for name, value, most in (("seconds", seconds, 600), ("memory_mb", memory_mb, 1 << 16)):
        right = is_number(value) and 0 < value <= most
        needs(f"code: {name}", value, right, f"a number above 0 and up to {most:,}")
    needs("code: memory_mb", memory_mb, isinstance(memory_mb, int), "a whole number")


def extract_code(text, names=()):
    """The code of a reply: the last fenced block that defines one of the names, the last one, or the whole text.

    Examples
    --------
    >>> extract_code("```python\\ndef f():\\n    return 1\\n```\\nUse it so:\\n```python\\nprint(f())\\n```", ["f"])
    'def f():\\n    return 1'
    """
    blocks = fenced(text)
    blocks = [block for language, block in blocks if language in _PYTHON] or [
        block for _, block in blocks
    ]
    if not blocks:
        return text
    wanted = "|".join(map(re.escape, names))
    defines = (
        re.compile(
            rf"^\s*(?:(?:async\s+)?def|class)\s+(?:{wanted})\b|^(?:{wanted})\s*=", re.MULTILINE
        )
        if names
        else None
    )
    return next(
        (block for block in reversed(blocks) if defines and defines.search(block)), blocks[-1]
    )


def _is_test(statement):
    return any(isinstance(node, ast.Assert) for node in ast.walk(statement))


def _entries(tests, entry):
    """Names that the tests take from the code: those given, and those they use without defining them."""
    tree = ast.parse(tests)
    own = {
        alias.asname or alias.name.split(".")[0]
        for n in ast.walk(tree)
        if isinstance(n, ast.Import | ast.ImportFrom)
        for alias in n.names
    }
    own |= {
        n.name
        for n in ast.walk(tree)
        if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.ExceptHandler)
    }
    own |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    own |= {
        n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)
    }
    used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    given = [entry] if isinstance(entry, str) else list(entry)
    return sorted((used - own - set(vars(builtins))) | set(given))
