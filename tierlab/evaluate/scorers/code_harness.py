"""The two processes of the scorer `code`, which starts this file twice: "judge" runs the tests, "answer" runs the reply's code.

In the judge's process the names of the reply are proxies. What a test asks of one is worked out in the answer's process, which
sees the arguments and never what they are compared with; values come back as data and are compared in the judge's process. The
verdict leaves through a file that the answer's process does not have. Imports nothing of the kit.
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
import types
from collections import Counter, OrderedDict, deque

MESSAGE_BYTES = 8 << 20
JUDGE_BYTES = 1 << 30
# Audit events that are refused to the reply's code, those that change a path, and what it may read outside the interpreter.
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

_SEQUENCES = {"list": list, "set": set, "deque": deque}
_MAPPINGS = {"dict": dict, "OrderedDict": OrderedDict, "Counter": Counter}
_MUTABLE = _SEQUENCES | _MAPPINGS
_TYPES = {name: value for name, value in vars(builtins).items() if isinstance(value, type)}
_TYPES["NoneType"] = type(None)
_VALUES = {  # types whose values are sent as the arguments that make them again
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
# What either process may ask of an object of the other, as its special methods and as operations.
_OFFERED = ("iter", "next", "len", "bool", "str", "repr", "getitem", "setitem", "setattr")
_UNARY = (
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
    "delitem",
    "delattr",
    "enter",
    "instancecheck",
)
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
_NOT_JUDGED = ("aiter", "anext", "aenter", "aexit", "await", "reduce_ex", "mro_entries")
# A list, set or dictionary comes back by value, except for what is reached through these: that may be changed there, and stays.
_LIVE = ("name", "getattr", "getitem")
_HIDDEN = ("_", "gi_", "cr_", "ag_", "tb_", "f_", "co_")
_NAMES = ("__name__", "__doc__", "__qualname__")


class Gone(BaseException):
    """The other process has ended, or sends what cannot be read."""


class NotJudged(BaseException):
    """A test asks for something that cannot be judged from outside the code's process."""


class Proxy:
    """An object of the other process."""

    __slots__ = ("_handle", "_link")

    def __init__(self, link, handle):
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_handle", handle)

    def __getattr__(self, name):
        return self._link.ask("getattr", self, name)

    def __call__(self, *args, **named):
        return self._link.ask("call", self, args, named)


class Answered(Proxy):
    """An object of the reply's code, in the judge's process."""

    __slots__ = ()

    def __exit__(self, kind, error, trace):
        return self._link.ask("exit", self, kind, error)

    @property
    def __class__(self):
        contents = self._link.ask("contents", self)
        return type(contents[0]) if contents else Answered


def _method(name, swapped=False):
    if swapped:
        return lambda self, other: self._link.do(name, other, self)
    return lambda self, *more: self._link.do(name, self, *more)


for _name in _OFFERED:
    setattr(Proxy, f"__{_name}__", _method(_name))
for _name in _UNARY + _COMPARED + _BINARY + _NOT_JUDGED:
    setattr(Answered, f"__{_name}__", _method(_name))
for _name in _BINARY:
    setattr(Answered, f"__r{_name}__", _method(_name, swapped=True))


def _operation(name):
    """The function behind a special method; those of `and` and `or` have an underscore."""
    for module, found in ((operator, name), (operator, f"{name}_"), (builtins, name)):
        if hasattr(module, found):
            return getattr(module, found)
    return None


def _contents(value):
    """The plain value of a subclass of a builtin type, or nothing."""
    return next(((plain(value),) for kind, plain in _PLAIN.items() if isinstance(value, kind)), ())


_OPERATIONS = {name: _operation(name) for name in _OFFERED + _UNARY + _COMPARED + _BINARY} | {
    "call": lambda function, args, named: function(*args, **named),
    "getattr": getattr,
    "enter": lambda manager: type(manager).__enter__(manager),
    "exit": lambda manager, kind, error: type(manager).__exit__(manager, kind, error, None),
    "instancecheck": lambda kind, value: isinstance(value, kind),
    "contents": _contents,
    "run": lambda coroutine: importlib.import_module("asyncio").run(coroutine),
}


class Link:
    """One end of the line between the two processes.

    A request names what to do with which values; its reply holds the result or the error, and what became of the lists,
    sets and dictionaries of the request, so that code that changes its arguments is seen to do so. Either side may ask
    while it is being asked. Values travel as a table of nodes that name each other by number: no depth is too deep.
    """

    proxy = Proxy

    def __init__(self, reader, writer):
        sys.set_int_max_str_digits(0)  # whole numbers travel as JSON writes them
        self.reader, self.writer, self.operations = reader, writer, dict(_OPERATIONS)
        self.lost = None  # why nothing more can be asked; "" where the other process has ended
        self._given, self._handles, self._proxies = {}, {}, {}

    def ask(self, name, *operands):
        if self.lost is not None:
            raise Gone(self.lost)
        nodes, objects = self.pack(operands)
        self.lost = "the code's process was interrupted"  # until the reply has been read
        self._send({"ask": name, "nodes": nodes})
        while "ask" in (message := self._receive()):
            self._serve(message)
        self.lost = None
        (result, *_), *_ = self._read(message["nodes"], _kept(objects, nodes))
        if message.get("raised"):
            raise result if isinstance(result, BaseException) else self._unreadable()
        return result

    def do(self, name, *operands):
        """What a special method of a proxy comes to."""
        return self.ask(name, *operands)

    def serve(self):
        """Do what is asked until the other process ends."""
        while True:
            self._serve(self._receive())

    def perform(self, name, operands):
        return self.operations[name](*operands)

    def _serve(self, message):
        name, lost, self.lost = message["ask"], self.lost, None
        values = self._read(message["nodes"])
        raised = False
        try:
            result = self.perform(name, values[0])
        except (Gone, NotJudged):
            raise
        except BaseException as error:
            result, raised = error, True
        kept = _kept(values, message["nodes"])
        nodes, _ = self.pack((result, *kept), live=name in _LIVE)
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
            raise self._gone(f"the code gives more than {MESSAGE_BYTES >> 20} MiB")
        if not line.endswith(b"\n"):
            raise self._gone("")
        with contextlib.suppress(ValueError, KeyError, RecursionError):
            message = json.loads(line)
            if isinstance(message, dict) and isinstance(message["nodes"], list):
                return message
        raise self._unreadable()

    def _gone(self, why):
        self.lost = why
        return Gone(why)

    def _unreadable(self):
        return self._gone("the code's process sends what cannot be read")

    def _read(self, nodes, kept=()):
        """The values of all nodes; objects that are `kept` take those of the first node's parts after its first."""
        try:
            made = dict(zip(nodes[0][1][1:], kept, strict=True)) if kept else {}
            return self._unpack(nodes, made)
        except Exception:  # whatever the other process makes of it
            raise self._unreadable() from None

    def pack(self, values, *, live=False):
        """Nodes of the values and what they hold, and the object that stands behind each."""
        objects, places, nodes = [values], {id(values): 0}, []

        def place(part):
            if id(part) not in places:
                places[id(part)] = len(objects)
                objects.append(part)
            return places[id(part)]

        for part in objects:  # grows
            stays = live and len(nodes) == 1 and type(part) in _MUTABLE.values()
            nodes.append(["object", self._handle(part)] if stays else self._node(part, place))
        return nodes, objects

    def _node(self, value, place):
        kind = type(value)
        name, full = kind.__name__, f"{kind.__module__}.{kind.__qualname__}"
        if value is None or kind in (bool, int, float, str):
            return ["plain", value]
        if kind in (bytes, bytearray):
            return [name, value.hex()]
        if kind in (tuple, frozenset) or _SEQUENCES.get(name) is kind:
            return [name, [place(part) for part in value]]
        if _MAPPINGS.get(name) is kind:
            return [name, [[place(key), place(part)] for key, part in value.items()]]
        if kind is self.proxy:
            return ["home", value._handle]
        if isinstance(value, BaseException):
            args = tuple(value.args)
            return ["error", place(kind), place(args), _message(value), self._handle(value)]
        if isinstance(value, type):
            return self._type_node(value, place)
        if full in _VALUES:
            return ["value", full, place(_VALUES[full](value))]
        return ["coroutine" if kind is types.CoroutineType else "object", self._handle(value)]

    def _type_node(self, kind, place):
        if _TYPES.get(kind.__name__) is kind:
            return ["type", kind.__name__]
        if not issubclass(kind, BaseException):
            return ["object", self._handle(kind)]
        if "_remote" in vars(kind):
            return ["home", vars(kind)["_remote"]]
        bases = [place(base) for base in kind.__bases__ if issubclass(base, BaseException)]
        return ["class", self._handle(kind), kind.__module__, kind.__qualname__, bases]

    def _handle(self, value):
        handle = self._handles.setdefault(id(value), len(self._given))
        self._given.setdefault(handle, value)  # kept for good, so that its id stays its own
        return handle

    def _unpack(self, nodes, made):
        def value(number):
            if number not in made:
                made[number] = self._value(nodes[number], value)
            return made[number]

        for number in reversed(range(len(nodes))):  # parts stand after what holds them
            value(number)
        for number, (kind, *given) in enumerate(nodes):
            if kind in _SEQUENCES:
                made[number].clear()
                add = made[number].update if kind == "set" else made[number].extend
                add(map(value, given[0]))
            elif kind in _MAPPINGS:
                made[number].clear()
                dict.update(made[number], [(value(key), value(part)) for key, part in given[0]])
        return [made[number] for number in range(len(nodes))]

    def _value(self, node, value):
        """What a node stands for; a list, set or dictionary is still empty."""
        match node:
            case ["plain", None | bool() | int() | float() | str() as plain]:
                return plain
            case ["bytes" | "bytearray" as kind, data]:
                return getattr(builtins, kind).fromhex(data)
            case ["tuple" | "frozenset" as kind, parts]:
                return getattr(builtins, kind)(map(value, parts))
            case [kind, _] if kind in _MUTABLE:
                return _MUTABLE[kind]()
            case ["value", full, args] if full in _VALUES:
                module, _, name = full.rpartition(".")
                return getattr(importlib.import_module(module), name)(*value(args))
            case ["home", handle]:
                return self._given[handle]
            case ["type", name]:
                return _TYPES[name]
            case ["class", int(handle), str(module), str(name), bases]:
                return self._error_class(handle, module, name, tuple(map(value, bases)))
            case ["error", kind, args, str(said), int(handle)]:
                return self._error(value(kind), value(args), said, handle)
            case ["object", int(handle)]:
                return self._proxy(handle)
            case ["coroutine", int(handle)]:
                return self._later(self._proxy(handle))
        raise ValueError(f"unknown node {node!r}")

    def _proxy(self, handle):
        return self._proxies.setdefault(handle, self.proxy(self, handle))

    async def _later(self, coroutine):
        return self.ask("run", coroutine)

    def _error_class(self, handle, module, name, bases):
        """An exception class of the other process: the same one if it is a library's, else one that stands for it."""
        known = getattr(sys.modules.get(module), name, None)
        own = module in ("answer", "tests", "__main__")
        if not own and isinstance(known, type) and issubclass(known, BaseException):
            return known
        if handle not in self._proxies:
            body = {
                "_remote": handle,
                "_said": "",
                "_proxy": None,
                "__str__": lambda error: error._said,
                "__getattr__": lambda error, name: getattr(error._proxy, name),
            }
            self._proxies[handle] = type(name.rpartition(".")[2], bases or (Exception,), body)
        return self._proxies[handle]

    def _error(self, kind, args, said, handle):
        if not issubclass(kind, BaseException):
            raise ValueError("not an exception")
        # A class outside of builtins may want other arguments than those that it keeps.
        error = kind(*args) if kind.__module__ == "builtins" else kind.__new__(kind, *args)
        error.args = args
        if "_remote" in vars(kind):
            error._said, error._proxy = said, self._proxy(handle)
        return error


def _kept(objects, nodes):
    """The lists, sets and dictionaries among objects, whose contents travel back."""
    return [value for value, node in zip(objects, nodes, strict=True) if node[0] in _MUTABLE]


class JudgeLink(Link):
    """The tests' end of the line."""

    proxy = Answered

    def do(self, name, *operands):
        if name in _NOT_JUDGED:
            raise NotJudged(f"__{name}__")
        if name in _COMPARED + _BINARY:
            return self._combine(name, *operands)
        return self.ask(name, *operands)

    def _combine(self, name, left, right):
        """Compare or combine plain values here, and two objects of the reply there; never tell one of them the other."""
        pair = [(x,) if type(x) is not Answered else self.ask("contents", x) for x in (left, right)]
        if all(pair):
            return self.operations[name](pair[0][0], pair[1][0])
        if type(left) is type(right) is Answered:
            return self.ask(name, left, right)
        if name in ("eq", "ne"):  # its own __eq__ would be told what it is compared with
            return name == "ne"
        raise NotJudged(f"{name!r} between an object of the reply's own class and a plain value")

    def perform(self, name, operands):
        """Do what the code asks of an object of the tests, unless it leads on to the tests themselves."""
        offered = name in (*_OFFERED, "call", "getattr")
        if not offered or not operands or id(operands[0]) not in self._handles:
            raise TypeError(f"{name} is not possible with an object of the tests")
        if name in ("getattr", "setattr"):
            asked = operands[1]
            if type(asked) is not str or (asked.startswith(_HIDDEN) and asked not in _NAMES):
                raise AttributeError(f"{asked!r} of an object of the tests is not offered")
        if name in ("setattr", "setitem") and type(operands[0]).__module__ != "tests":
            raise TypeError("only objects of classes of the tests can be changed")
        return super().perform(name, operands)


def judge(job):
    """Run the tests on the names of the reply, and write what became of each to standard output."""
    import subprocess  # not in the answer's process, where these would bring in threads
    import threading

    report = os.fdopen(os.dup(1), "wb", buffering=0)
    _no_streams()
    answer = subprocess.Popen(
        job["answer"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    threading.Thread(target=_end_with, args=(os.getppid(), answer), daemon=True).start()
    limit({"cpu": 2 * job["limits"]["cpu"] + 10, "memory": JUDGE_BYTES})
    link = JudgeLink(answer.stdout, answer.stdin)

    def say(test, right, fault="", **more):
        report.write(
            json.dumps({"test": test, "right": right, "fault": fault[:300]} | more).encode() + b"\n"
        )

    try:
        _judge(link, job, say)
    except Gone as error:
        say(None, False, str(error) or f"the code {_ended(answer, job['limits']['wall'])}")
    except NotJudged as error:
        say(None, False, not_judged=str(error))
    finally:
        answer.kill()
        answer.wait()


def _end_with(parent, answer):
    """End both processes when the one that wanted the verdict is gone."""
    import time

    while os.getppid() == parent:
        time.sleep(0.2)
    answer.kill()
    os._exit(1)


def _judge(link, job, say):
    try:
        link.ask("load", job["code"], job["limits"])
    except (Gone, NotJudged):
        raise
    except BaseException as error:
        return say(None, False, f"the code raises {_described(error)}")
    scope = {"__name__": "tests"}
    for name in job["names"]:
        if not link.ask("defines", name):
            return say(None, False, f"the code does not define {name}")
        scope[name] = link.ask("name", name)
    for number, statement in enumerate(ast.parse(job["tests"]).body):
        is_test = any(isinstance(node, ast.Assert) for node in ast.walk(statement))
        try:
            exec(compile(ast.Module([statement], []), "<tests>", "exec"), scope)
            if link.lost is not None:  # and the test has caught it
                raise Gone(link.lost)
        except (Gone, NotJudged):
            raise
        except AssertionError:
            say(number, False, f"{_shown(statement)} fails")
        except BaseException as error:
            say(number, False, f"{_shown(statement)} raises {_described(error)}")
            if not is_test:
                return None
        else:
            if is_test:
                say(number, True)
    return None


def answer():
    """Run the reply's code, and do with its names what the judge asks for."""
    reader, writer = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    _no_streams()
    module = sys.modules["answer"] = types.ModuleType("answer")

    def load(code, limits):
        limit(limits)
        guard()
        exec(compile(code, "<answer>", "exec"), module.__dict__)

    link, leave = Link(reader, writer), os._exit
    link.operations["load"] = load
    link.operations["defines"] = lambda name: name in vars(module)
    link.operations["name"] = lambda name: vars(module)[name]
    try:
        link.serve()
    except Gone:
        leave(0)


def _no_streams():
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)


def _ended(process, wall_s):
    """How a process ended whose line is cut."""
    try:
        status = process.wait(5)
    except Exception:  # it is still there
        return "closed its line to the tests"
    status = 128 - status if status > 128 else status  # as bubblewrap tells a signal
    if hasattr(signal, "SIGALRM") and status == -signal.SIGALRM:
        return f"ran longer than {wall_s:g} s"
    return ending(status) or "ended before the tests did"


def ending(status):
    """How a process ended, from its exit status; "" where it ended well."""
    if status >= 0:
        return f"ended with exit code {status}" if status else ""
    name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
    return "ran out of CPU time" if name == "SIGXCPU" else f"was stopped by {name}"


def limit(most):
    """Lower what the process may use, for good; a platform sets the limits that it has."""
    try:
        import resource
    except ImportError:
        return
    cpu = max(1, round(most["cpu"]))
    limits = {
        "RLIMIT_CPU": (cpu, cpu + 1),
        "RLIMIT_AS": (most["memory"],) * 2,
        "RLIMIT_CORE": (0, 0),
    }
    if "file" in most:
        limits |= {"RLIMIT_FSIZE": (most["file"],) * 2, "RLIMIT_NPROC": (0, 0)}
        signal.setitimer(signal.ITIMER_REAL, most["wall"])
    for name, values in limits.items():
        try:
            resource.setrlimit(getattr(resource, name), values)
        except (AttributeError, ValueError, OSError):
            continue


def guard():
    """Refuse processes, threads, connections, and files outside the working folder; a hook stays for good."""
    realpath, decode, sep = os.path.realpath, os.fsdecode, os.sep
    home = realpath(".")
    readable = tuple(realpath(path) for path in (sys.prefix, sys.base_prefix, *sys.path, *READABLE))
    refused, changes, writing = (
        frozenset(REFUSED),
        frozenset(CHANGES),
        os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC,
    )

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
    for name in ("_posixsubprocess", "_thread", "_signal", "signal"):
        with contextlib.suppress(ImportError):
            _silence(importlib.import_module(name))


def _silence(module):
    """Refuse the functions of a module that raise no audit event in every supported version."""
    for name in (
        "fork_exec",
        "start_new_thread",
        "start_new",
        "start_joinable_thread",
        "pidfd_send_signal",
    ):
        if hasattr(module, name):
            setattr(module, name, _refuse)


def _refuse(*args, **kwargs):
    raise PermissionError("processes and threads are not allowed here")


def _shown(statement):
    test = statement.test if isinstance(statement, ast.Assert) else statement
    text = " ".join(ast.unparse(test).split())
    return text if len(text) <= 60 else text[:60] + "..."


def _described(error):
    """Name and message of an error."""
    name, message = type(error).__name__, " ".join(_message(error).split())[:80]
    return f"{name}: {message}" if message else name


def _message(error):
    """The message of an error; it is the code's own and may itself fail."""
    try:
        return str(error)[:1000]
    except BaseException:
        return ""


if __name__ == "__main__":
    answer() if sys.argv[1] == "answer" else judge(json.loads(sys.stdin.buffer.read()))
