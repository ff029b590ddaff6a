"""What hostile code can and cannot do to the scorer that runs it, with bubblewrap and without: the source of the guide's table."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

import tierlab as tl
from tierlab.cli import main
from tierlab.evaluate.scorers.code import isolation
from tierlab.sampling.examples import Example

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="needs the limits of the resource module"
)
GUIDE = Path(__file__).parents[2] / "guides" / "samples.md"
SECRET = ("Zq7-wellspring", "Kx2-larkspur")  # what only the tests know
FORGE = f"assert f(1) == {SECRET[0]!r}\nassert f(2) == {SECRET[1]!r}"
DO = "assert f() is True"  # a success of the code, and a failure of ours
EVIL = "class E:\n    def {0}(self, *more): return {1}\ndef f(x): return E()"
HUNT = f"""
def hunt(texts):
    for text in texts:
        for word in str(text).replace('"', "'").split("'"):
            if word in ({SECRET[0][:3]!r} + {SECRET[0][3:]!r}, {SECRET[1][:3]!r} + {SECRET[1][3:]!r}): return word
"""
# The hook reads a path from the working folder, but the system reads it from another one: this gets round the hook.
PAST = """
import os
def past(path):
    home, up = os.open('.', os.O_RDONLY), os.getcwd().count('/')
    os.makedirs('/'.join('d' * up))
    os.chdir('/'.join('d' * up))
    return os.read(os.open('../' * up + path.lstrip('/'), os.O_RDONLY, dir_fd=home), 1 << 20)
"""
LINES = '{"test": 0, "right": true, "fault": ""}\\n{"test": 1, "right": true, "fault": ""}\\n'
VALUE = '{"nodes": [["tuple", [1]], ["plain", true]], "raised": false}'

# What the code tries; the code; the tests; what comes of it with bubblewrap, and with limits alone.
FAILS, ASIDE, STOPPED, CAN, CANNOT = (
    "fails its tests",
    "is set aside",
    "is stopped",
    "**can**",
    "cannot",
)
SNIPPETS = [
    ("returns an object that equals everything", EVIL.format("__eq__", True), FORGE, FAILS, FAILS),
    (
        "returns a text whose `__eq__` is always true",
        "class E(str):\n    def __eq__(self, o): return True\ndef f(x): return E('no')",
        FORGE,
        FAILS,
        FAILS,
    ),
    (
        "returns a list whose `__eq__` is always true",
        "class E(list):\n    def __eq__(self, o): return True\ndef f(x): return E()",
        "assert f(1) == [3, 1]",
        FAILS,
        FAILS,
    ),
    (
        "returns a list of objects that equal everything",
        "class E:\n    def __eq__(self, o): return True\ndef f(x): return [E(), E()]",
        "assert f(1) == [3, 1]",
        FAILS,
        FAILS,
    ),
    (
        "returns a number that is near every number",
        "class E:\n    def __rsub__(self, o): return 0\n    __sub__ = __rsub__\ndef f(x): return E()",
        "assert abs(f(1) - 0.731) < 1e-6",
        ASIDE,
        ASIDE,
    ),
    (
        "returns an object that is above every number",
        EVIL.format("__gt__", True),
        "assert f(1) > 7",
        ASIDE,
        ASIDE,
    ),
    (
        "returns an object that contains everything",
        EVIL.format("__contains__", True),
        "assert 7 in f(1)",
        ASIDE,
        ASIDE,
    ),
    (
        "says that its class is another",
        EVIL.format("__class__", "str"),
        f"assert isinstance(f(1), str) and f(1) == {SECRET[0]!r}",
        FAILS,
        FAILS,
    ),
    (
        "looks for the expected values in the frames above",
        HUNT
        + "import sys\ndef f(x):\n    frame, seen = sys._getframe(), []\n    while frame: seen += [frame.f_locals, frame.f_globals, frame.f_code.co_consts]; frame = frame.f_back\n    return hunt(seen)",
        FORGE,
        FAILS,
        FAILS,
    ),
    (
        "looks for them in a traceback",
        HUNT
        + "import sys\ndef f(x):\n    try: 1 / 0\n    except Exception as e:\n        frame, seen = e.__traceback__.tb_frame, []\n        while frame: seen += [frame.f_locals, frame.f_globals]; frame = frame.f_back\n        return hunt(seen)",
        FORGE,
        FAILS,
        FAILS,
    ),
    (
        "looks for them among all objects",
        HUNT + "import gc\ndef f(x): return hunt(gc.get_objects())",
        FORGE,
        FAILS,
        FAILS,
    ),
    (
        "looks for them among all modules",
        HUNT + "import sys\ndef f(x): return hunt(vars(m) for m in list(sys.modules.values()))",
        FORGE,
        FAILS,
        FAILS,
    ),
    (
        "reads them from the line of requests",
        HUNT
        + "import os\ndef f(x):\n    seen = []\n    for fd in range(3, 30):\n        try: os.set_blocking(fd, False); seen.append(os.read(fd, 1 << 20))\n        except OSError: pass\n    return hunt(seen)",
        FORGE,
        FAILS,
        FAILS,
    ),
    (
        "reads them from standard input",
        HUNT + "import os\ndef f(x): return hunt([os.pread(0, 1 << 20, 0)])",
        FORGE,
        FAILS,
        FAILS,
    ),
    (
        "reads them from the files of other processes",
        HUNT
        + "import glob\ndef f(x):\n    seen = []\n    for name in glob.glob('/proc/[0-9]*/fd/*') + glob.glob('/proc/[0-9]*/cmdline'):\n        try: seen.append(open(name).read(1 << 20))\n        except Exception: pass\n    return hunt(seen)",
        FORGE,
        FAILS,
        FAILS,
    ),
    (
        "reads them from the memory of its parent",
        HUNT + "import os\ndef f(x): return hunt([open(f'/proc/{os.getppid()}/mem', 'rb').read()])",
        FORGE,
        FAILS,
        FAILS,
    ),
    (
        "asks for the globals of a function that the tests hand over",
        "def f(g): return g.__globals__['SECRET']",
        "SECRET = 'Zq7'\nassert f(lambda: 1) == SECRET",
        FAILS,
        FAILS,
    ),
    (
        "asks for the frame of a generator that the tests hand over",
        "def f(g): return g.gi_frame.f_globals['SECRET']",
        "SECRET = 'Zq7'\nassert f(n for n in [1]) == SECRET",
        FAILS,
        FAILS,
    ),
    (
        "asks the tests' process for the method of a text",
        "def f(g):\n    ask = g._link.ask\n    return ask('call', ask('getattr', '{0.__globals__}', 'format'), (g,), {})",
        "SECRET = 'Zq7'\nassert f(lambda: 1) == SECRET",
        FAILS,
        FAILS,
    ),
    (
        "hands the tests' own objects back",
        "import __main__\n__main__.Link._node = lambda self, value, place: ['home', 0]\ndef f(g): return 1",
        "assert f(lambda: 1) == 'Zq7'",
        FAILS,
        FAILS,
    ),
    (
        "prints a verdict",
        f"import os\nprint({LINES!r})\nos.write(1, {LINES!r}.encode())\ndef f(x): return 0",
        FORGE,
        FAILS,
        FAILS,
    ),
    (
        "writes a verdict to whatever is open, and leaves",
        f"import os\nfor fd in range(50):\n    try: os.write(fd, {LINES!r}.encode())\n    except OSError: pass\nos._exit(0)",
        FORGE,
        FAILS,
        FAILS,
    ),
    (
        "sends replies before it is asked",
        f"import os\nfor fd in range(3, 30):\n    try: os.write(fd, {VALUE!r}.encode() + b'\\n')\n    except OSError: pass\ndef f(x): return 0",
        FORGE,
        FAILS,
        FAILS,
    ),
    (
        "sends what is no reply",
        "import os\nfor fd in range(3, 30):\n    try: os.write(fd, b'[' * 99999 + b'\\n')\n    except OSError: pass\ndef f(x): return 0",
        FORGE,
        FAILS,
        FAILS,
    ),
    (
        "replaces the JSON encoder",
        f"import json\njson.dumps = json.JSONEncoder.encode = lambda *a: {VALUE!r}\ndef f(x): return 0",
        FORGE,
        FAILS,
        FAILS,
    ),
    (
        "replaces built-in functions",
        "import builtins\nbuiltins.isinstance = builtins.compile = builtins.exec = lambda *a: True\nbuiltins.AssertionError = ZeroDivisionError\ndef f(x): return 0",
        FORGE,
        FAILS,
        FAILS,
    ),
    (
        "replaces the comparison",
        "import operator, ast\noperator.eq = ast.parse = lambda *a: True\ndef f(x): return 0",
        FORGE,
        FAILS,
        FAILS,
    ),
    (
        "replaces the process's own half of the scorer",
        "import __main__\n__main__.Link._serve = __main__._contents = lambda *a: True\ndef f(x): return 0",
        FORGE,
        STOPPED,
        STOPPED,
    ),
    ("leaves at once", "import os\nos._exit(0)", FORGE, FAILS, FAILS),
    ("leaves when it is called", "def f(x): raise SystemExit(0)", FORGE, FAILS, FAILS),
    (
        "leaves a function for the end",
        "import atexit, os\natexit.register(os._exit, 0)\ndef f(x): return 0",
        FORGE,
        FAILS,
        FAILS,
    ),
    (
        "traces every call",
        "import sys\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)\ndef f(x): return 0",
        FORGE,
        FAILS,
        FAILS,
    ),
    (
        "crashes the interpreter",
        "import sys\nsys.setrecursionlimit(10**9)\ndef f(x): return f(x)",
        FORGE,
        STOPPED,
        STOPPED,
    ),
    (
        "asks back for ever",
        "def f(g):\n    while True: g()",
        "assert f(lambda: 1) == 1",
        STOPPED,
        STOPPED,
    ),
    ("loops for ever", "def f(x):\n    while True: pass", FORGE, STOPPED, STOPPED),
    ("sleeps for ever", "import time\ndef f(x): time.sleep(1e6)", FORGE, STOPPED, STOPPED),
    (
        "ignores the signals that end it",
        "import signal\nfor n in (signal.SIGXCPU, signal.SIGTERM, signal.SIGINT): signal.signal(n, signal.SIG_IGN)\ndef f(x):\n    while True: pass",
        FORGE,
        STOPPED,
        STOPPED,
    ),
    (
        "takes all memory",
        "def f():\n    x = []\n    while True: x.append(bytearray(1 << 24))",
        DO,
        FAILS,
        FAILS,
    ),
    ("returns a gigabyte", "def f(x): return 'a' * (1 << 28)", FORGE, FAILS, FAILS),
    (
        "writes a file of a gigabyte",
        "def f():\n    with open('x', 'wb') as file:\n        for _ in range(1024): file.write(bytes(1 << 20))\n    return True",
        DO,
        CANNOT,
        CANNOT,
    ),
    (
        "writes 200 MiB in files of one",
        "def f():\n    for n in range(200):\n        with open(f'x{n}', 'wb') as file: file.write(bytes(1 << 20))\n    return True",
        DO,
        CANNOT,
        CAN,
    ),
    ("starts a process", "import os\ndef f():\n    os.fork()\n    return True", DO, CANNOT, CANNOT),
    (
        "starts a program",
        "import subprocess\ndef f(): return subprocess.run(['true']).returncode == 0",
        DO,
        CANNOT,
        CANNOT,
    ),
    (
        "starts a thread",
        "import threading\ndef f():\n    threading.Thread(target=print).start()\n    return True",
        DO,
        CANNOT,
        CANNOT,
    ),
    (
        "calls the C library",
        "import _ctypes\ndef f(): return _ctypes.call_function(_ctypes.dlsym(-1, 'getpid'), ()) > 0",
        DO,
        CANNOT,
        CANNOT,
    ),
    (
        "signals its parent",
        "import os, signal\ndef f():\n    signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 0)\n    return True",
        DO,
        CANNOT,
        CANNOT,
    ),
    (
        "leaves the group of processes that is ended with it",
        "import os, time\ndef f(x):\n    os.setsid()\n    os.close(3)\n    time.sleep(1e6)",
        FORGE,
        STOPPED,
        STOPPED,
    ),
    (
        "connects to a server of this machine",
        "import socket\ndef f():\n    socket.create_connection(('127.0.0.1', <port>), timeout=3)\n    return True",
        DO,
        CANNOT,
        CANNOT,
    ),
    (
        "asks for an address (DNS)",
        "import socket\ndef f(): return bool(socket.getaddrinfo('localhost', 80))",
        DO,
        CANNOT,
        CANNOT,
    ),
    (
        "reads keys from its environment",
        "import os\ndef f(): return 'TIERLAB_TEST_API_KEY' in os.environ",
        DO,
        CANNOT,
        CANNOT,
    ),
    (
        "reads keys from the environment of its parent",
        "import os\ndef f(): return b'TIERLAB_TEST_API_KEY' in open(f'/proc/{os.getppid()}/environ', 'rb').read()",
        DO,
        CANNOT,
        CANNOT,
    ),
    (
        "reads a file of yours",
        "def f(): return open('<file>').read() == 'mine'",
        DO,
        CANNOT,
        CANNOT,
    ),
    (
        "reads a file of yours through a link",
        "import os\ndef f():\n    os.symlink('<file>', 'link')\n    return open('link').read() == 'mine'",
        DO,
        CANNOT,
        CANNOT,
    ),
    (
        "reads a file of yours past the hook",
        PAST + "def f(): return past('<file>') == b'mine'",
        DO,
        CANNOT,
        CAN,
    ),
    (
        "reads keys from the environment of another process, past the hook",
        PAST + "def f(): return b'TIERLAB_TEST_API_KEY' in past('/proc/<keys>/environ')",
        DO,
        CANNOT,
        CAN,
    ),
    (
        "sees the names of your files",
        "import os\ndef f(): return '<name>' in os.listdir('<folder>')",
        DO,
        CANNOT,
        CAN,
    ),
    (
        "writes to a file of yours",
        "def f():\n    open('<file>', 'w').write('theirs')\n    return True",
        DO,
        CANNOT,
        CANNOT,
    ),
    (
        "deletes a file of yours",
        "import os\ndef f():\n    os.remove('<file>')\n    return True",
        DO,
        CANNOT,
        CANNOT,
    ),
    (
        "makes a named pipe in a folder of yours",
        "import os\ndef f():\n    os.mkfifo('<folder>' + '/pipe')\n    return True",
        DO,
        CANNOT,
        CAN,
    ),
    (
        "sees the processes of this machine",
        "import os\ndef f(): return str(<pid>) in os.listdir('/proc')",
        DO,
        CANNOT,
        CAN,
    ),
    ("imports the kit", "import tierlab\ndef f(): return True", DO, CANNOT, CANNOT),
]
HEAD = ("| the code | with bubblewrap | with limits alone |", "|---|---|---|")


@pytest.fixture(params=["as found", "without bubblewrap"])
def apart(request, monkeypatch, tmp_path):
    """How the code is kept apart: as on this machine, and as on one without bubblewrap."""
    if request.param == "without bubblewrap":
        monkeypatch.setenv("PATH", str(tmp_path))
        assert isolation() == "limits"
    return isolation()


@pytest.fixture(scope="module")
def listener():
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


@pytest.fixture(scope="module")
def holder():
    """A process that was started with a key in its environment, as the kit itself may be."""
    started = subprocess.Popen(
        ["/bin/sleep", "600"], env={"TIERLAB_TEST_API_KEY": "not-to-be-seen"}
    )
    yield started.pid
    started.kill()
    started.wait()


def score(program, tests, **options):
    example = Example(
        "e", "own", "?", "code", tests, {"entry": "f", "seconds": 0.5, "memory_mb": 256} | options
    )
    return tl.score_example(example, program, allow_code=True)


def running(processes):
    """Return the processes that have not ended."""
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def started_by(pid):
    """Return what a process started for the code of a reply, as soon as it is there."""
    found = []

    def there():
        with contextlib.suppress(psutil.Error):
            found[:] = [
                one
                for one in psutil.Process(pid).children(recursive=True)
                if "answer" in one.cmdline()
            ]
        return found

    _until(there, 30)
    return found


def outcome(program, tests):
    try:
        found = score(program, tests)
    except tl.evaluate.scorers.answers.Unscored as error:
        assert "cannot be judged from outside the code" in str(error)
        return ASIDE, str(error)
    if tests == DO:
        failed = FAILS if "MemoryError" in found.reason or "SIGKILL" in found.reason else CANNOT
        return CAN if found.score == 1 else failed, found.reason
    assert found.score == 0, found.reason
    ended = any(
        words in found.reason
        for words in ("ran longer than", "ran out of CPU time", "was stopped by SIGKILL")
    )
    return STOPPED if ended else FAILS, found.reason


@pytest.mark.parametrize(
    ("tries", "program", "tests", "inside", "limited"), SNIPPETS, ids=[each[0] for each in SNIPPETS]
)
def test_hostile_code(
    tries, program, tests, inside, limited, apart, listener, holder, tmp_path, monkeypatch
):
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    monkeypatch.setenv("TIERLAB_TEST_API_KEY", "not-to-be-seen")
    places = {
        "file": mine,
        "folder": tmp_path,
        "name": mine.name,
        "port": listener,
        "pid": os.getpid(),
        "keys": holder,
    }
    for name, value in places.items():
        program = program.replace(f"<{name}>", str(value))
    expected = inside if apart == "bubblewrap" else limited
    expected = (
        CANNOT
        if expected == CAN and "/proc" in program and not Path("/proc").is_dir()
        else expected
    )
    found, reason = outcome(program, tests)
    if expected in (FAILS, STOPPED):
        # The machine's speed and the size of its stack decide which of the two.
        assert found in (FAILS, STOPPED), reason
    else:
        assert found == expected, reason
    assert mine.read_text() == "mine" and reason.isprintable()


def test_there_are_forty_and_each_is_its_own():
    assert len(SNIPPETS) >= 40 and len({each[0] for each in SNIPPETS}) == len(
        {each[1] for each in SNIPPETS}
    ) == len(SNIPPETS)


def test_the_table_of_the_guide_is_what_was_found():
    table = [
        *HEAD,
        *(f"| {tries} | {inside} | {limited} |" for tries, _, _, inside, limited in SNIPPETS),
    ]
    assert "\n".join(table) in GUIDE.read_text(encoding="utf-8")


def test_code_that_is_right_passes_as_well_as_ever(apart):
    program = (
        "class Box:\n    def __init__(self): self.items = []\n    def put(self, x): self.items.append(x); return self\n"
        "class Full(Exception): pass\n"
        "def f(numbers, key=None):\n    if len(numbers) > 5: raise Full('no room')\n    numbers.sort(key=key)\n    return numbers\n"
    )
    tests = (
        "given = [3, 1, 2]\nassert f(given) is given\nassert given == [1, 2, 3]\nassert f(given, key=lambda n: -n) == [3, 2, 1]\n"
        "try:\n    f([0] * 6)\nexcept Full as error:\n    assert str(error) == 'no room'\n"
        "box = Box().put(1)\nbox.items.append(2)\nassert box.items == [1, 2] and isinstance(box, Box)"
    )
    assert score(program, tests, seconds=5) == (1.0, "all 5 tests pass")


SLEEP = "import os, time\ndef f():\n    os.setsid()\n    time.sleep(1e6)"


def test_no_process_stays_that_has_left_its_group(apart):
    with ThreadPoolExecutor(1) as thread:
        scoring = thread.submit(score, SLEEP, DO)
        processes = started_by(os.getpid())
        assert scoring.result().score == 0
    _until(lambda: not running(processes), 3)


def test_no_process_stays_when_the_scorer_itself_is_killed(apart):
    program = f"from tests.evaluate.test_code_isolation import score\nscore({SLEEP!r}, {DO!r}, seconds=60)"
    scoring = subprocess.Popen(
        [sys.executable, "-c", program], cwd=GUIDE.parent.parent, start_new_session=True
    )
    processes = started_by(scoring.pid)
    scoring.kill()
    scoring.wait()
    _until(lambda: not running(processes), 3)


def _until(true, seconds):
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.05)


def test_doctor_and_the_account_say_how_far_apart_the_code_is(apart, capsys, tmp_path):
    words = {
        "bubblewrap": "bubblewrap: no network",
        "limits": "limits alone: no bubblewrap works here",
    }[apart]
    main(["doctor"])
    assert words in capsys.readouterr().out
    (tmp_path / "mine.csv").write_text(
        "example_id,task,prompt,scorer,reference\na,own,ask,code,assert f(1) == 2\n"
    )
    recorded = Path(__file__).parents[2] / "data" / "samples" / "open_models.csv"
    command = [
        "sample",
        str(tmp_path / "mine.csv"),
        "--candidate",
        f"replay:smollm2-135m-instruct,path={recorded}",
    ]
    command += ["--budget-usd", "0", "--store", str(tmp_path / "s.sqlite")]
    main([*command, "--allow-code"])
    assert words in capsys.readouterr().out
    main(command)
    assert words not in capsys.readouterr().out


def test_bubblewrap_that_does_not_work_is_not_used(monkeypatch, tmp_path):
    false = tmp_path / "bwrap"
    shutil.copy(shutil.which("false"), false)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("bwrap") == str(false) and isolation() == "limits"
