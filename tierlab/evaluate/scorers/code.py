"""Scorer of code: the reply's code runs in one process, and the example's tests judge it in another.

The code's process sends values, never a verdict (`tierlab.evaluate.scorers.code_harness`). Where bubblewrap works
(`isolation`), that process has no network, no files but the standard library's, and only its own processes and
environment. Elsewhere only limits hold. They contain mistakes, but malicious code can get round them and read whatever the
user can read, including keys in the environment of running processes.
"""

import ast
import builtins
import json
import os
import re
import shutil
import subprocess
import symtable
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

from tierlab.core.untrusted import shown
from tierlab.core.vocabulary import needs
from tierlab.evaluate.scorers.answers import Score, Unscored, fenced

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
    """Score 1 if the reply's code passes every test, else 0.

    Parameters
    ----------
    text : str
        The code is the last fenced block that defines the entry, else the last fenced block, else the whole text.
    tool_calls : sequence of ToolCall
        Not looked at.
    reference : str
        Python that runs after the code. Each top-level statement with an ``assert`` in it is one test; the others
        prepare. The tests see the names of the code that they use, and untouched builtins.
    entry : str or sequence of str
        Names that the code must define. Names that the tests use and do not define are added; names of builtins
        must be given here.
    partial : bool
        Whether to score the share of tests passed instead. All or nothing is what a user gets, and pass@1 of the
        literature.
    seconds : float
        CPU time. The process is stopped after six times as much on the clock.
    memory_mb : int
        Address space, MiB.

    Returns
    -------
    Score

    Notes
    -----
    Pass@1: Chen et al., arXiv 2107.03374. The tests run in their own process, which the code never enters: the code is
    given the arguments of calls and returns values (up to 8 MiB each), and is not told what they are compared with.
    Values of builtin types and their subclasses, and of decimal, fractions, datetime, pathlib and uuid, are compared in
    the tests' process. An object of the code's own class never equals such a value, only another object of the code, by
    its own ``__eq__``; what its methods return is taken at its word. Tests can call, iterate, index, compare and catch
    exceptions, and hand over functions, generators and objects of their own classes. What cannot be judged from outside
    is set aside with the reason: a class derived from one of the code, operators between an object of the code's own
    class and a plain value, a `with` statement on such an object, a copy of it, coroutines and asynchronous iteration.

    The code has the standard library, an empty folder, an empty environment and no input; what it prints is discarded.
    Processes, threads, connections and files outside its folder are refused: by bubblewrap where `isolation` says
    so, else by a hook that malicious code can get round. Memory, CPU and file limits need a platform with the
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
    job = {
        "code": extract_code(text, names),
        "tests": reference,
        "names": names,
        "limits": {"cpu": seconds, "memory": memory_mb << 20, "file": FILE_BYTES, "wall": wall_s},
        "answer": [*_isolated(shutil.which("bwrap")), *_python(), str(_HARNESS), "answer"],
    }
    found = _judged(job, wall_s + _GRACE_S)
    if form := found.get("not_judged"):
        raise Unscored(f"the tests ask for {form}, which cannot be judged from outside the code")
    passed, total = found["passed"], sum(map(_is_test, ast.parse(reference).body))
    if not found["fault"]:
        return Score(1.0, f"all {total} tests pass" if total > 1 else "the test passes")
    reason = f"{passed} of {total} tests pass; {shown(found['fault'], 300)}"
    return Score(passed / total if partial else 0.0, reason)


def _judged(job, seconds):
    """Return what the judge's process finds: passed (number), fault, and not_judged if it cannot judge a form of test."""
    bare = {"PYTHONHASHSEED": "0"}
    if "SYSTEMROOT" in os.environ:  # Windows starts no Python without it
        bare["SYSTEMROOT"] = os.environ["SYSTEMROOT"]
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
    """Find by a trial run what keeps the code of replies apart from this machine.

    Returns
    -------
    str
        A key of `ISOLATIONS`.
    """
    return "bubblewrap" if _isolated(shutil.which("bwrap")) else "limits"


@lru_cache(maxsize=4)
def _isolated(program):
    """Return the start of a command line that isolates the rest; nothing where bubblewrap is missing or does not work."""
    if program is None:
        return ()
    command = [program, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"]
    command += ["--cap-drop", "ALL", "--setenv", "PYTHONHASHSEED", "0"]
    command += ["--proc", "/proc", "--dev", "/dev"]
    for path in ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", sys.base_prefix):
        command += ["--ro-bind-try", path, path]
    command += ["--ro-bind", str(_HARNESS), str(_HARNESS)]
    command += ["--size", str(_TMPFS_BYTES), "--tmpfs", "/answer", "--chdir", "/answer"]
    trial = f"import os; print(os.getpid() < 9 and not os.path.exists({str(_HARNESS.with_name('code.py'))!r}))"
    quiet = {"capture_output": True, "stdin": subprocess.DEVNULL}
    try:
        tried = subprocess.run([*command, *_python(), "-c", trial], timeout=30, **quiet)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(command) if tried.stdout == b"True\n" else ()


def _python():
    """Return the command of the interpreter itself, not of a link to it in a folder that the code cannot see."""
    return [os.path.realpath(sys.executable), *_ALONE]


def check_code(reference, *, entry=(), **_):
    """Refuse tests that are not Python or test nothing, and entries that are not names."""
    try:
        asserts = any(map(_is_test, ast.parse(reference).body))
        names = _entries(reference, entry)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"code: the tests are not Python: {error}") from None
    needs("code: reference", reference, asserts, "Python with at least one assert")
    needs("code: entry", entry, names, "a name that the reply defines (the tests use none),")
    right = all(name.isidentifier() for name in names)
    needs("code: entry", entry, right, "the name of a function or class, or a list of names,")


def extract_code(text, names=()):
    """Return the code of a reply: the last fenced block that defines one of the names, the last block, or the whole text.

    Parameters
    ----------
    text : str
    names : sequence of str

    Returns
    -------
    str

    Examples
    --------
    >>> extract_code("```python\\ndef f():\\n    return 1\\n```\\nUse it so:\\n```python\\nprint(f())\\n```", ["f"])
    'def f():\\n    return 1'
    """
    every = fenced(text)
    python = [(language, block) for language, block in every if language in _PYTHON]
    blocks = [block for _, block in python or every] or [text]
    wanted = "|".join(map(re.escape, names)) or "(?!)"  # which matches nothing
    defines = re.compile(
        rf"^\s*(?:(?:async\s+)?def|class)\s+(?:{wanted})\b|^(?:{wanted})\s*=", re.MULTILINE
    )
    return next(filter(defines.search, reversed(blocks)), blocks[-1])


def _is_test(statement):
    return any(isinstance(node, ast.Assert) for node in ast.walk(statement))


def _entries(tests, entry):
    """Return the names that the tests take from the code: those given, and those they use without defining them."""
    scopes = [symtable.symtable(tests, "<tests>", "exec")]
    for scope in scopes:  # grows
        scopes.extend(scope.get_children())
    symbols = [each for scope in scopes for each in scope.get_symbols() if each.is_global()]
    used = {each.get_name() for each in symbols if each.is_referenced()}
    own = {each.get_name() for each in symbols if each.is_assigned() or each.is_imported()}
    given = [entry] if isinstance(entry, str) else entry
    return sorted((used - own - set(vars(builtins))) | set(given))
