"""Scorer of code: run a reply's Python with the example's tests, in a process of its own and under limits.

The limits keep mistakes in bounds: endless loops, runaway memory, files, processes and sockets. They are no security
boundary: code that means harm and knows Python can get round them, and nothing cuts the network off from below. Run
replies of models you do not trust in a container or a virtual machine.
"""

import ast
import builtins
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tierlab.scorers.answers import Score, Unscored, clip, fenced

OUTPUT_BYTES = 1 << 20
_HARNESS = Path(__file__).with_name("code_harness.py")
_PYTHON = ("", "python", "python3", "py", "pycon")


class Run(NamedTuple):
    """What a process left: its standard output (bytes), and how it ended other than by itself (text, else empty)."""

    output: bytes
    ended: str


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
        CPU time; three times as much passes on the clock before the process is stopped.
    memory_mb : int
        Address space.

    Notes
    -----
    Pass@1: Chen et al., arXiv 2107.03374. The code has the standard library, an empty folder, an empty environment
    and no input; what it prints is thrown away. It may not start processes or threads, connect, or touch files
    outside its folder. Only results with a token drawn for this run count, so that nothing the code prints and no
    early exit passes for success. Results depend on the machine only where a run comes near the limits. Memory,
    CPU and file limits need a platform with the `resource` module; macOS does not enforce the memory limit.

    Raises
    ------
    Unscored
        If Python cannot be started.

    Examples
    --------
    >>> code("```python\\ndef double(x):\\n    return 2 * x\\n```", (), "assert double(2) == 4")
    Score(score=1.0, reason='the test passes')
    >>> code("def double(x):\\n    return x ** 2", (), "assert double(2) == 4\\nassert double(3) == 6")
    Score(score=0.0, reason='1 of 2 tests pass; double(3) == 6 fails')
    """
    names = _entries(reference, entry)
    token = secrets.token_hex(16)
    limits = {"cpu": seconds, "memory": memory_mb << 20, "file": OUTPUT_BYTES}
    payload = {"code": extract_code(text, names), "tests": reference, "names": names, "token": token, "limits": limits}
    run = run_python([str(_HARNESS)], json.dumps(payload), wall_s=3 * seconds)
    passed, fault = _results(run, token)
    total = sum(map(_is_test, ast.parse(reference).body))
    if len(passed) == total and not fault:
        return Score(1.0, f"all {total} tests pass" if total > 1 else "the test passes")
    fault = fault or (f"the code {run.ended}" if run.ended else "the code ended before the tests did")
    return Score(len(passed) / total if partial else 0.0, f"{len(passed)} of {total} tests pass; {fault}")


def check_code(reference, *, entry=(), partial=False, seconds=5, memory_mb=512):
    try:
        tests = ast.parse(reference).body if isinstance(reference, str) else []
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"code: the tests are not Python: {error}") from None
    if not any(map(_is_test, tests)):
        raise ValueError(f"code: reference={clip(reference)}; Python with at least one assert is needed")
    names = [entry] if isinstance(entry, str) else entry
    if not isinstance(names, list | tuple) or not all(isinstance(n, str) and n.isidentifier() for n in names):
        raise ValueError(f"code: entry={entry!r}; the name of a function or class, or a list of names, is needed")
    if not _entries(reference, entry):
        raise ValueError("code: the tests use no name of the reply; give entry=")
    if not isinstance(partial, bool):
        raise ValueError(f"code: partial={partial!r}; true or false is needed")
    for name, value, most in (("seconds", seconds, 600), ("memory_mb", memory_mb, 1 << 16)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
            raise ValueError(f"code: {name}={value!r}; a number above 0 and up to {most:,} is needed")
    if not isinstance(memory_mb, int):
        raise ValueError(f"code: memory_mb={memory_mb!r}; a whole number is needed")


def extract_code(text, names=()):
    """The code of a reply: the last fenced block that defines one of the names, the last one, or the whole text.

    Examples
    --------
    >>> extract_code("```python\\ndef f():\\n    return 1\\n```\\nUse it so:\\n```python\\nprint(f())\\n```", ["f"])
    'def f():\\n    return 1'
    """
    blocks = fenced(text)
    blocks = [block for language, block in blocks if language in _PYTHON] or [block for _, block in blocks]
    if not blocks:
        return text
    wanted = "|".join(map(re.escape, names))
    defines = re.compile(rf"^\s*(?:(?:async\s+)?def|class)\s+(?:{wanted})\b|^(?:{wanted})\s*=", re.MULTILINE) if names else None
    return next((block for block in reversed(blocks) if defines and defines.search(block)), blocks[-1])


def run_python(arguments, payload, *, wall_s):
    """Run Python apart from everything: own session, empty folder, empty environment, bounded time and output.

    Parameters
    ----------
    arguments : sequence of str
        After the interpreter's own options; it has the standard library alone, and hashes in a fixed order.
    payload : str
        Standard input.
    wall_s : float
        Seconds after which the process and its group are killed.

    Returns
    -------
    Run
        At most 1 MiB of output.

    Examples
    --------
    >>> run_python(["-c", "print(input())"], "hello", wall_s=30)
    Run(output=b'hello\\n', ended='')
    """
    command = [sys.executable, "-P", "-s", "-S", "-B", "-X", "utf8", *arguments]
    bare = {"PYTHONHASHSEED": "0"} | {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as output,
    ):
        given.write(payload.encode("utf-8", "surrogatepass"))
        given.seek(0)
        streams = {"stdin": given, "stdout": output, "stderr": subprocess.DEVNULL}
        try:
            process = subprocess.Popen(command, cwd=folder, env=bare, start_new_session=True, **streams)
        except OSError as error:
            raise Unscored(f"Python could not be started to run it: {error}") from error
        try:
            status = process.wait(wall_s)
            ended = "" if status == 0 else _ending(status)
        except subprocess.TimeoutExpired:
            ended = f"ran longer than {wall_s:g} s"
        finally:
            _end(process)
        output.seek(0)
        return Run(output.read(OUTPUT_BYTES), ended)


def _end(process):
    """Kill the process and what it left in its group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
    process.wait()


def _ending(status):
    if status >= 0:
        return f"ended with exit code {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
    return "ran out of CPU time" if name == "SIGXCPU" else f"was stopped by {name}"


def _results(run, token):
    """Tests passed (by number), and the first fault that the harness saw."""
    passed, fault = set(), ""
    for line in run.output.splitlines():
        with suppress(ValueError, RecursionError):
            report = json.loads(line)
            if isinstance(report, dict) and report.get("token") == token:
                passed |= {report["test"]} if report["right"] else set()
                fault = fault or report["fault"]
    return passed, fault


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
    own |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    given = [entry] if isinstance(entry, str) else list(entry)
    return sorted((used - own - set(vars(builtins))) | set(given))
