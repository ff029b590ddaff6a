"""The two processes of the scorer `code`, which starts this file twice: "judge" runs the tests, "answer" runs the reply's code.

In the judge's process the names of the reply are proxies. What a test asks of a proxy is worked out in the answer's process,
which sees the arguments and never what the results are compared with; values come back as data and are compared in the judge's
process. The verdict leaves through a file that the answer's process does not have. This file imports nothing of the kit.
"""

import ast
import builtins
import contextlib
import importlib
import json
import operator
import os
import signal
import sys
import time
import types
from collections import Counter, OrderedDict, deque

MESSAGE_BYTES = 8 << 20
JUDGE_BYTES = 1 << 30
# Audit events that the reply's code may not cause, events that change a path, and folders that it may read beside the
# interpreter's.
REFUSED = (
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.exec",
    "os.system",
    "os.startfile",
    "subprocess.Popen",
    "pty.spawn",
    "os.kill",
    "os.killpg",
    "signal.pthread_kill",
    "_winapi.CreateProcess",
    "socket.connect",
    "socket.bind",
    "socket.sendto",
    "socket.sendmsg",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "resource.setrlimit",
    "resource.prlimit",
    "gc.get_objects",
    "gc.get_referrers",
    "gc.get_referents",
)
CHANGES = (
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
    "os.utime",
    "os.setxattr",
    "os.removexattr",
    "os.chflags",
    "sqlite3.connect",
)
READABLE = ("/usr/share/zoneinfo",)
SILENT = (  # functions that raise no audit event in every supported version
    ("_posixsubprocess", "fork_exec"),
    ("_thread", "start_new_thread"),
    ("_thread", "start_new"),
    ("_thread", "start_joinable_thread"),
    ("_signal", "pidfd_send_signal"),
    ("signal", "pidfd_send_signal"),
)

_CONTAINERS = {
    kind.__name__: kind for kind in (list, set, deque, dict, OrderedDict, Counter, tuple, frozenset)
}
_FIXED = (tuple, frozenset)  # made whole; the others are made empty and filled in place
_TYPES = {name: value for name, value in vars(builtins).items() if isinstance(value, type)}
_TYPES["NoneType"] = type(None)
_VALUES = {  # a value of these types is sent as the arguments that make it again
    "builtins.bytes": lambda v: (v.decode("latin-1"), "latin-1"),
    "builtins.bytearray": lambda v: (v.decode("latin-1"), "latin-1"),
    "builtins.complex": lambda v: (v.real, v.imag),
    "builtins.range": lambda v: (v.start, v.stop, v.step),
    "builtins.slice": lambda v: (v.start, v.stop, v.step),
    "decimal.Decimal": lambda v: (str(v),),
    "fractions.Fraction": lambda v: (v.numerator, v.denominator),
    "datetime.date": lambda v: (v.year, v.month, v.day),
    "datetime.time": lambda v: (v.hour, v.minute, v.second, v.microsecond, v.tzinfo),
    "datetime.datetime": lambda v: (*v.timetuple()[:6], v.microsecond, v.tzinfo),
    "datetime.timedelta": lambda v: (v.days, v.seconds, v.microseconds),
    "datetime.timezone": lambda v: (v.utcoffset(None),),
    "pathlib.PosixPath": lambda v: (str(v),),
    "pathlib.WindowsPath": lambda v: (str(v),),
    "pathlib._local.PosixPath": lambda v: (str(v),),  # its name in Python 3.13
    "pathlib._local.WindowsPath": lambda v: (str(v),),
    "uuid.UUID": lambda v: (str(v),),
    "zoneinfo.ZoneInfo": lambda v: (v.key,),
}
# How the value of a subclass of a builtin type is read, whatever the subclass overrides.
_PLAIN = {
    int: int.__int__,
    float: float.__float__,
    complex: complex.__complex__,
    str: str.__str__,
    bytes: bytes,
    bytearray: bytearray,
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    deque: deque,
    dict: dict,
    type({}.keys()): set,
    type({}.items()): set,
}
# What may be asked of an object in the other process, by the names of the special methods.
_CHANGED = ("setitem", "setattr", "delitem", "delattr")
_COMPARED = ("eq", "ne", "lt", "le", "gt", "ge", "contains")
_BINARY = (
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
)
_OTHER = (
    "iter",
    "next",
    "len",
    "bool",
    "str",
    "repr",
    "getitem",
    "format",
    "reversed",
    "int",
    "float",
    "hash",
    "abs",
    "round",
    "index",
    "neg",
    "pos",
    "invert",
    "instancecheck",
)
_NOT_JUDGED = (
    "enter",
    "exit",
    "aiter",
    "anext",
    "aenter",
    "aexit",
    "await",
    "reduce_ex",
    "mro_entries",
)
# A list, set or dictionary comes back by value, unless it is reached through one of these: it may be changed there, so it stays.
_LIVE = ("name", "getattr", "getitem")
_HIDDEN = ("_", "gi_", "cr_", "ag_", "tb_", "f_", "co_")
_NAMES = ("__name__", "__doc__", "__qualname__")


class Gone(BaseException):
    """The other process has ended, or sent a message that cannot be read."""


class NotJudged(BaseException):
    """A test asks for something that cannot be judged from outside the code's process."""


class Proxy:
    """Stands for an object in the other process."""

    __slots__ = ("_handle", "_link")

    def __init__(self, link, handle):
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_handle", handle)

    def __getattr__(self, name):
        return self._link.ask("getattr", self, name)

    def __call__(self, *args, **named):
        return self._link.ask("call", self, args, named)

    @property
    def __class__(self):
        contents = self._link.ask("contents", self)
        return type(contents[0]) if contents else Proxy


def _method(name, swapped=False):
    if swapped:
        return lambda self, other: self._link.do(name, other, self)
    return lambda self, *more: self._link.do(name, self, *more)


for _name in _CHANGED + _COMPARED + _BINARY + _OTHER + _NOT_JUDGED:
    setattr(Proxy, f"__{_name}__", _method(_name))
for _name in _BINARY:
    setattr(Proxy, f"__r{_name}__", _method(_name, swapped=True))


def _contents(value):
    """Return the plain value of an object whose class derives from a builtin type, in a tuple; else an empty tuple."""
    return next(((plain(value),) for kind, plain in _PLAIN.items() if isinstance(value, kind)), ())


# Each is a function of `operator`, whose name may end in an underscore, or a builtin one.
_OPERATIONS = {
    name: getattr(operator, name, None)
    or getattr(operator, f"{name}_", None)
    or getattr(builtins, name, None)
    for name in _CHANGED + _COMPARED + _BINARY + _OTHER
}
_OPERATIONS |= {
    "call": lambda function, args, named: function(*args, **named),
    "getattr": getattr,
    "instancecheck": lambda kind, value: isinstance(value, kind),
    "contents": _contents,
}


class Link:
    """One end of the line between the two processes.

    A request names an operation and its operands. The reply has the result or the error, and what became of the lists,
    sets and dictionaries of the request, so that code is seen to change its arguments. Either side may ask while it is
    being asked. Values travel as a table of nodes that name each other by number, so they may be nested to any depth.
    """

    def __init__(self, reader, writer, **more):
        sys.set_int_max_str_digits(0)  # whole numbers travel as JSON writes them
        self.reader, self.writer, self.operations = reader, writer, _OPERATIONS | more
        self.lost = None  # why nothing more can be asked; "" if the other process has ended
        self._given, self._handles, self._proxies = {}, {}, {}

    def ask(self, name, *operands):
        if self.lost is not None:
            raise Gone(self.lost)
        nodes, objects = self._pack(operands)
        self.lost = "the code's process was interrupted"  # until the reply has been read
        self._send({"ask": name, "nodes": nodes})
        while "ask" in (message := self._receive()):
            self._serve(message)
        self.lost = None
        (result, *_), *_ = self._unpack(message["nodes"], _changeable(objects, nodes))
        if message.get("raised"):
            raise result if isinstance(result, BaseException) else self._gone(_UNREADABLE)
        return result

    do = ask  # what a special method of a proxy calls

    def serve(self):
        """Answer requests until the other process ends."""
        while True:
            self._serve(self._receive())

    def perform(self, name, operands):
        return self.operations[name](*operands)

    def _serve(self, message):
        name, lost, self.lost = message["ask"], self.lost, None
        values = self._unpack(message["nodes"])
        raised = False
        try:
            result = self.perform(name, values[0])
        except (Gone, NotJudged):
            raise
        except BaseException as error:
            result, raised = error, True
        kept = _changeable(values, message["nodes"])
        nodes, _ = self._pack((result, *kept), live=name in _LIVE)
        self._send({"nodes": nodes, "raised": raised})
        self.lost = lost

    def _send(self, message):
        try:
            self.writer.write(json.dumps(message).encode() + b"\n")
            self.writer.flush()
        except OSError:
            raise self._gone("") from None

    def _receive(self):
        line = self.reader.readline(MESSAGE_BYTES)
        if len(line) == MESSAGE_BYTES:
            raise self._gone(f"the code returns more than {MESSAGE_BYTES >> 20} MiB")
        if not line.endswith(b"\n"):
            raise self._gone("")
        with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
            message = json.loads(line)
            message["nodes"][0]
            return message
        raise self._gone(_UNREADABLE)

    def _gone(self, why):
        self.lost = why
        return Gone(why)

    def _pack(self, values, *, live=False):
        """Return the nodes of the values and of all that they hold, and the object behind each node."""
        objects, places, nodes = [values], {id(values): 0}, []

        def place(part):
            if id(part) not in places:
                places[id(part)] = len(objects)
                objects.append(part)
            return places[id(part)]

        for part in objects:  # grows
            stays = live and len(nodes) == 1 and _CONTAINERS.get(type(part).__name__) is type(part)
            nodes.append(["object", self._handle(part)] if stays else self._node(part, place))
        return nodes, objects

    def _node(self, value, place):
        kind = type(value)
        full = f"{kind.__module__}.{kind.__qualname__}"
        if value is None or kind in (bool, int, float, str):
            return ["plain", value]
        if kind is Proxy:
            return ["home", value._handle]
        if _CONTAINERS.get(kind.__name__) is kind:
            parts = value.items() if isinstance(value, dict) else value
            return [kind.__name__, [place(part) for part in parts]]
        if isinstance(value, BaseException):
            return ["error", place(kind), place(tuple(value.args)), self._handle(value)]
        if isinstance(value, type) and _TYPES.get(value.__name__) is value:
            return ["type", value.__name__]
        if isinstance(value, type) and issubclass(value, BaseException):
            bases = [place(base) for base in value.__bases__ if issubclass(base, BaseException)]
            return ["class", self._handle(value), value.__module__, value.__qualname__, bases]
        if full in _VALUES:
            return ["value", full, place(_VALUES[full](value))]
        return ["coroutine" if kind is types.CoroutineType else "object", self._handle(value)]

    def _handle(self, value):
        handle = self._handles.setdefault(id(value), len(self._given))
        self._given.setdefault(handle, value)  # kept for good, so that no other object gets its id
        return handle

    def _unpack(self, nodes, kept=()):
        """Return the values of all nodes; the first node's parts after its first are filled into the objects `kept`."""

        def value(number):
            if number not in made:
                made[number] = self._value(nodes[number], value)
            return made[number]

        try:
            made = dict(zip(nodes[0][1][1:], kept, strict=True)) if kept else {}
            for number in reversed(range(len(nodes))):  # parts stand after what holds them
                value(number)
            for number, (kind, *given) in enumerate(nodes):
                if kind in _CONTAINERS and _CONTAINERS[kind] not in _FIXED:
                    _fill(made[number], [value(part) for part in given[0]])
            return [made[number] for number in range(len(nodes))]
        except Exception:  # whatever the other process has sent
            raise self._gone(_UNREADABLE) from None

    def _value(self, node, value):
        """Return what a node stands for; a list, set or dictionary is still empty."""
        match node:
            case ["plain", None | bool() | int() | float() | str() as plain]:
                return plain
            case ["tuple" | "frozenset" as kind, parts]:
                return _CONTAINERS[kind](map(value, parts))
            case [kind, _] if kind in _CONTAINERS:
                return _CONTAINERS[kind]()
            case ["value", full, args] if full in _VALUES:
                module, _, name = full.rpartition(".")
                return getattr(importlib.import_module(module), name)(*value(args))
            case ["home", handle]:
                return self._given[handle]
            case ["type", name]:
                return _TYPES[name]
            case ["class", int(handle), str(module), str(name), bases]:
                return self._error_class(handle, module, name, tuple(map(value, bases)))
            case ["error", kind, args, int(handle)]:
                return self._error(value(kind), value(args), handle)
            case ["object", int(handle)]:
                return self._proxies.setdefault(handle, Proxy(self, handle))
            case ["coroutine", _]:
                raise NotJudged("a coroutine")
        raise ValueError(f"unknown node {node!r}")

    def _error_class(self, handle, module, name, bases):
        """Return the class of an exception in the other process: a library's own, or one that stands for the code's."""
        known = getattr(sys.modules.get(module), name, None)
        own = module in ("answer", "tests", "__main__")
        if not own and isinstance(known, type) and issubclass(known, BaseException):
            return known
        body = {
            "_proxy": None,
            "__str__": lambda error: str(error._proxy),
            "__getattr__": lambda error, name: getattr(error._proxy, name),
        }
        kind = type(name.rpartition(".")[2], bases or (Exception,), body)
        return self._proxies.setdefault(handle, kind)

    def _error(self, kind, args, handle):
        # A class that is not a builtin may take other arguments than those that it keeps.
        error = kind(*args) if kind.__module__ == "builtins" else kind.__new__(kind, *args)
        error.args = args
        if "_proxy" in vars(kind):
            error._proxy = self._proxies.setdefault(handle, Proxy(self, handle))
        return error


_UNREADABLE = "the code's process sent a message that cannot be read"


def _changeable(objects, nodes):
    """Return the lists, sets and dictionaries among objects, whose contents travel back."""
    kinds = [_CONTAINERS.get(node[0], tuple) for node in nodes]
    return [value for value, kind in zip(objects, kinds, strict=True) if kind not in _FIXED]


def _fill(container, parts):
    container.clear()
    if isinstance(container, dict):
        dict.update(container, parts)  # a Counter's own would add
    else:
        (container.update if isinstance(container, set) else container.extend)(parts)


class JudgeLink(Link):
    """The end of the line at which the tests run."""

    def do(self, name, *operands):
        """Compare or combine plain values here and two objects of the reply there; never tell an object a plain value."""
        if name in _NOT_JUDGED:
            raise NotJudged(f"__{name}__")
        if name not in _COMPARED + _BINARY or all(type(each) is Proxy for each in operands):
            return self.ask(name, *operands)
        pair = [(x,) if type(x) is not Proxy else self.ask("contents", x) for x in operands]
        if all(pair):
            return self.operations[name](*(value for (value,) in pair))
        if name in ("eq", "ne"):  # its own __eq__ would be told what it is compared with
            return name == "ne"
        raise NotJudged(f"{name!r} between an object of the reply's own class and a plain value")

    def perform(self, name, operands):
        """Do what the code asks of an object of the tests, unless that would lead to the tests themselves."""
        if not operands or id(operands[0]) not in self._handles:
            raise TypeError(f"{name} is not possible with an object of the tests")
        if name in ("getattr", "setattr", "delattr"):
            asked = operands[1]
            if type(asked) is not str or (asked.startswith(_HIDDEN) and asked not in _NAMES):
                raise AttributeError(f"{asked!r} of an object of the tests is not offered")
        if name in _CHANGED and type(operands[0]).__module__ != "tests":
            raise TypeError("only objects of classes of the tests can be changed")
        return super().perform(name, operands)


def judge(job):
    """Run the tests on the names of the reply, and write to standard output how many pass and the first fault."""
    import subprocess  # not at the top: in the answer's process these would bring in threads
    import threading

    report = os.fdopen(os.dup(1), "w")
    _no_streams()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    answer, wall_s = subprocess.Popen(job["answer"], **pipes), job["limits"]["wall"]
    watched = (os.getppid(), answer, wall_s + 1)
    threading.Thread(target=_end_with, args=watched, daemon=True).start()
    limit({"cpu": 2 * job["limits"]["cpu"] + 10, "memory": JUDGE_BYTES})
    link, verdict = JudgeLink(answer.stdout, answer.stdin), {"passed": 0, "fault": ""}
    try:
        _judge(link, job, verdict)
    except Gone as error:
        verdict["fault"] = verdict["fault"] or str(error) or f"the code {_ended(answer, wall_s)}"
    except NotJudged as error:
        verdict["not_judged"] = str(error)
    finally:
        answer.kill()
        answer.wait()
    with report:
        json.dump(verdict, report)


def _end_with(parent, answer, seconds):
    """End the answer's process when its time is over, or when the process that wanted the verdict is gone."""
    end = time.monotonic() + seconds
    while os.getppid() == parent and time.monotonic() < end:
        time.sleep(0.1)
    answer.kill()


def _judge(link, job, verdict):
    """Count the tests that pass and note the first fault."""

    def fails(why):
        verdict["fault"] = verdict["fault"] or why[:300]

    try:
        link.ask("load", job["code"], job["limits"])
    except (Gone, NotJudged):
        raise
    except BaseException as error:
        return fails(f"the code raises {_described(error)}")
    scope = {"__name__": "tests"}
    for name in job["names"]:
        if not link.ask("defines", name):
            return fails(f"the code does not define {name}")
        scope[name] = link.ask("name", name)
    for statement in ast.parse(job["tests"]).body:
        is_test = any(isinstance(node, ast.Assert) for node in ast.walk(statement))
        try:
            exec(compile(ast.Module([statement], []), "<tests>", "exec"), scope)
            if link.lost is not None:  # and the test has caught the error
                raise Gone(link.lost)
            verdict["passed"] += is_test
        except (Gone, NotJudged):
            raise
        except AssertionError:
            fails(f"{_shown(statement)} fails")
        except BaseException as error:
            fails(f"{_shown(statement)} raises {_described(error)}")
            if not is_test:
                return None
    return None


def answer():
    """Run the reply's code, and do with its names what the judge asks."""
    reader, writer = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    _no_streams()
    module = sys.modules["answer"] = types.ModuleType("answer")

    def load(code, limits):
        limit(limits)
        guard()
        exec(compile(code, "<answer>", "exec"), module.__dict__)

    defines, name = vars(module).__contains__, vars(module).__getitem__
    link, leave = Link(reader, writer, load=load, defines=defines, name=name), os._exit
    try:
        link.serve()
    except Gone:
        leave(0)


def _no_streams():
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)


def _ended(process, wall_s):
    """Say how a process ended whose line is cut."""
    try:
        status = process.wait(5)
    except Exception:  # it is still running
        return "closed its line to the tests"
    status = 128 - status if status > 128 else status  # as bubblewrap tells a signal
    if status >= 0:
        return f"ended with exit code {status}" if status else "ended before the tests did"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
    told = {"SIGALRM": f"ran longer than {wall_s:g} s", "SIGXCPU": "ran out of CPU time"}
    return told.get(name, f"was stopped by {name}")


def limit(most):
    """Lower for good what the process may use, as far as the platform has such limits."""
    try:
        import resource
    except ImportError:
        return
    cpu = max(1, round(most["cpu"]))
    limits = {"RLIMIT_CPU": (cpu, cpu + 1), "RLIMIT_AS": (most["memory"],) * 2}
    limits["RLIMIT_CORE"] = (0, 0)
    if "file" in most:
        limits |= {"RLIMIT_FSIZE": (most["file"],) * 2, "RLIMIT_NPROC": (0, 0)}
        signal.setitimer(signal.ITIMER_REAL, most["wall"])
    for name, values in limits.items():
        with contextlib.suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), values)


def guard():
    """Refuse processes, threads, connections and files outside the working folder; the hook cannot be removed."""
    realpath, decode, sep = os.path.realpath, os.fsdecode, os.sep
    home = realpath(".")
    readable = tuple(realpath(path) for path in (sys.prefix, sys.base_prefix, *sys.path, *READABLE))
    # Names of its own, because the code can change those of this module.
    refused, changes = frozenset(REFUSED), frozenset(CHANGES)
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

    def inside(path, folders):
        path = realpath(decode(path))
        return any(path == folder or path.startswith(folder + sep) for folder in folders)

    def hook(event, args):
        if event in refused or event.startswith("ctypes."):
            raise PermissionError(f"{event} is not allowed here")
        if event == "open" and not isinstance(args[0], int):
            folders = (home,) if (args[2] or 0) & writing else (home, *readable)
            if not inside(args[0], folders):
                raise PermissionError("files outside the working folder are not allowed here")
        elif event in changes:
            for path in args:
                if isinstance(path, str | bytes) and not inside(path, (home,)):
                    raise PermissionError(f"{event} outside the working folder is not allowed here")

    sys.addaudithook(hook)
    for module, name in SILENT:
        with contextlib.suppress(ImportError):
            if hasattr(importlib.import_module(module), name):
                setattr(sys.modules[module], name, _refuse)


def _refuse(*args, **kwargs):
    raise PermissionError("processes and threads are not allowed here")


def _shown(statement):
    test = statement.test if isinstance(statement, ast.Assert) else statement
    text = " ".join(ast.unparse(test).split())
    return text if len(text) <= 60 else text[:60] + "..."


def _described(error):
    """Return the name and the message of an error; the message is the code's own and may itself raise."""
    try:
        message = " ".join(str(error)[:1000].split())[:80]
    except BaseException:
        message = ""
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


if __name__ == "__main__":
    answer() if sys.argv[1] == "answer" else judge(json.loads(sys.stdin.buffer.read()))
