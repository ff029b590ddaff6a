"""The two processes of the scorer `code`, which starts this file twice: "judge" runs the tests, "answer" runs the reply's code.

In the judge's process the names of the reply are proxies. What a test asks of one is worked out in the answer's process, which
sees the arguments and never what they are compared with; values come back as data and are compared in the judge's process. The
verdict leaves through a file that the answer's process does not have. Imports nothing of the kit.
"""

import ast
import builtins
import importlib
import json
import operator
import os
import signal
import sys
import types
from collections import Counter, OrderedDict, deque
from types import ModuleType

MESSAGE_BYTES = 8 << 20
JUDGE_BYTES = 1 << 30
REFUSED = (
    *(
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "os.exec",
        "os.system",
        "os.startfile",
        "subprocess.Popen",
    ),
    *("pty.spawn", "os.kill", "os.killpg", "signal.pthread_kill", "_winapi.CreateProcess"),
    *(
        "socket.connect",
        "socket.bind",
        "socket.sendto",
        "socket.sendmsg",
        "socket.getaddrinfo",
        "socket.gethostbyname",
    ),
    *(
        "resource.setrlimit",
        "resource.prlimit",
        "gc.get_objects",
        "gc.get_referrers",
        "gc.get_referents",
    ),
)
CHANGES = (
    *(
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.mkdir",
        "os.link",
        "os.symlink",
        "os.truncate",
        "os.chmod",
        "os.chown",
    ),
    *("os.utime", "os.setxattr", "os.removexattr", "os.chflags", "sqlite3.connect"),
)
READABLE = ("/usr/share/zoneinfo",)

_LISTS = {"list": list, "set": set, "deque": deque}
_DICTS = {"dict": dict, "OrderedDict": OrderedDict, "Counter": Counter}
_MUTABLE = (*_LISTS, *_DICTS, "bytearray")
_DEEP = ("tuple", "frozenset", "value", "class", "error")  # cannot be made before what is in them
_VALUES = {  # types whose values are sent as the arguments that make them again
    "builtins.complex": lambda v: (v.real, v.imag),
    "builtins.range": lambda v: (v.start, v.stop, v.step),
    "builtins.slice": lambda v: (v.start, v.stop, v.step),
    "decimal.Decimal": lambda v: (str(v),),
    "fractions.Fraction": lambda v: (v.numerator, v.denominator),
    "datetime.date": lambda v: (v.year, v.month, v.day),
    "datetime.time": lambda v: (v.hour, v.minute, v.second, v.microsecond, v.tzinfo),
    "datetime.datetime": lambda v: (
        v.year,
        v.month,
        v.day,
        v.hour,
        v.minute,
        v.second,
        v.microsecond,
        v.tzinfo,
    ),
    "datetime.timedelta": lambda v: (v.days, v.seconds, v.microseconds),
    "datetime.timezone": lambda v: (v.utcoffset(None),),
    "pathlib.PosixPath": lambda v: (str(v),),
    "pathlib.WindowsPath": lambda v: (str(v),),
    "uuid.UUID": lambda v: (str(v),),
    "zoneinfo.ZoneInfo": lambda v: (v.key,),
}
_TYPES = {name: value for name, value in vars(builtins).items() if isinstance(value, type)} | {
    "NoneType": type(None)
}
_BASES = (int, float, complex, str, bytes, bytearray, list, tuple, set, frozenset, deque, dict)
_VIEWS = (type({}.keys()), type({}.items()))
_PLAIN = {int: int.__int__, float: float.__float__, str: str.__str__}
# What is asked of an object in the other process. A value of another class comes back by value, except for what is reached
# through a name, an attribute or a place: that may be changed there, and stays there.
_LIVE = ("name", "getattr", "getitem")
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
_UNARY = (
    "len",
    "bool",
    "str",
    "repr",
    "format",
    "iter",
    "next",
    "reversed",
    "int",
    "float",
    "hash",
    "abs",
    "round",
)
_UNARY += (
    "index",
    "neg",
    "pos",
    "invert",
    "getitem",
    "setitem",
    "delitem",
    "setattr",
    "delattr",
    "enter",
    "instancecheck",
)
_NOT_JUDGED = ("aiter", "anext", "aenter", "aexit", "await", "reduce_ex", "mro_entries")
# What the answer's process may ask of an object that a test hands over.
_OFFERED = (
    "call",
    "iter",
    "next",
    "len",
    "bool",
    "str",
    "repr",
    "getitem",
    "getattr",
    "setattr",
    "setitem",
)
_HIDDEN = ("_", "gi_", "cr_", "ag_", "tb_", "f_", "co_")


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

    def __exit__(self, kind, error, trace):
        return self._link.ask("exit", self, kind, error)

    @property
    def __class__(self):
        return self._link.base(self) or Proxy


def _method(name, swapped=False):
    if name == "hash":
        return lambda self: self._link.ask(name, self) if self._link.judging else self._handle
    if name in _UNARY:
        return lambda self, *more: self._link.ask(name, self, *more)
    if name in _NOT_JUDGED:
        return lambda self, *more: self._link.refuse(f"__{name}__")
    return lambda self, other: self._link.operate(
        name, *((other, self) if swapped else (self, other))
    )


for _name in (*_COMPARED, *_BINARY, *_UNARY, *_NOT_JUDGED):
    setattr(Proxy, f"__{_name}__", _method(_name))
for _name in _BINARY:
    setattr(Proxy, f"__r{_name}__", _method(_name, swapped=True))


def _operations():
    from_operator = (
        *_COMPARED,
        *_BINARY,
        "index",
        "neg",
        "pos",
        "invert",
        "getitem",
        "setitem",
        "delitem",
    )
    found = {
        name: getattr(operator, name, None) or getattr(operator, name + "_")
        for name in from_operator
    }
    found |= {name: getattr(builtins, name) for name in _UNARY if hasattr(builtins, name)}
    return found | {
        "call": lambda function, args, named: function(*args, **named),
        "getattr": getattr,
        "enter": lambda manager: type(manager).__enter__(manager),
        "exit": lambda manager, kind, error: type(manager).__exit__(manager, kind, error, None),
        "instancecheck": lambda kind, value: isinstance(value, kind),
        "base": lambda value: next(
            (base.__name__ for base in _BASES if isinstance(value, base)), _view(value)
        ),
        "contents": _contents,
        "run": lambda coroutine: importlib.import_module("asyncio").run(coroutine),
    }


def _view(value):
    return "set" if isinstance(value, _VIEWS) else None


def _contents(value):
    base = next((base for base in _BASES if isinstance(value, base)), set)
    return _PLAIN.get(base, base)(value)


class Link:
    """One end of the line between the two processes.

    A request names what to do with which values; its reply holds the result or the error, and what became of the lists,
    sets and dictionaries of the request, so that code that changes its arguments is seen to do so. Either side may ask
    while it is being asked. Values travel as a table of nodes that name each other by number: no depth is too deep.
    """

    def __init__(self, reader, writer, operations, *, judging):
        self.reader, self.writer, self.operations, self.judging = (
            reader,
            writer,
            operations,
            judging,
        )
        self.lost = None  # why nothing more can be asked; "" where the other process has ended
        self._given, self._handles, self._proxies, self._bases = [], {}, {}, {}

    def ask(self, name, *operands):
        if self.lost is not None:
            raise Gone(self.lost)
        nodes, objects = self.pack(operands)
        self.lost = "the code's process was interrupted"  # until the reply has been read
        self._send({"ask": name, "nodes": nodes})
        while "ask" in (message := self._receive()):
            self._serve(message)
        self.lost = None
        kept = [value for value, node in zip(objects, nodes, strict=True) if node[0] in _MUTABLE]
        result, *_ = self._read(message["nodes"], kept)[0]
        if message.get("raised"):
            raise (
                result
                if isinstance(result, BaseException)
                else Gone("the code's process sends what cannot be read")
            )
        return result

    def operate(self, name, *pair):
        """Compare or combine; in the judge's process, between plain values, or between two objects of the reply alone."""
        if not self.judging:
            return (
                pair[0] is pair[1]
                if name == "eq"
                else pair[0] is not pair[1]
                if name == "ne"
                else self.ask(name, *pair)
            )
        if all(type(value) is not Proxy or self.base(value) for value in pair):
            plain = [
                self.ask("contents", value) if type(value) is Proxy else value for value in pair
            ]
            return self.operations[name](*plain)
        if all(type(value) is Proxy for value in pair):
            return self.ask(name, *pair)
        if name in ("eq", "ne"):  # its own __eq__ would be told what it is compared with
            return name == "ne"
        return self.refuse(f"{name!r} between an object of the reply's own class and a plain value")

    def refuse(self, what):
        if self.judging:
            raise NotJudged(what)
        raise TypeError(f"{what} is not possible with an object of the tests")

    def base(self, proxy):
        """The built-in type that an object of the other process derives from, or None."""
        if not self.judging:
            return None
        if proxy._handle not in self._bases:
            self._bases[proxy._handle] = _TYPES.get(self.ask("base", proxy))
        return self._bases[proxy._handle]

    def serve(self):
        """Do what is asked until the other process ends."""
        while True:
            self._serve(self._receive())

    def _serve(self, message):
        name, lost, self.lost = message["ask"], self.lost, None
        operands, objects = self._read(message["nodes"])
        raised = False
        try:
            if self.judging:
                self._check_offered(name, operands)
            if name == "hash" and type(operands[0]).__hash__ is None:
                raise TypeError(f"unhashable type: {type(operands[0]).__name__!r}")
            result = self.operations[name](*operands)
        except (Gone, NotJudged):
            raise
        except BaseException as error:
            result, raised = error, True
        kept = [
            value
            for value, node in zip(objects, message["nodes"], strict=True)
            if node[0] in _MUTABLE
        ]
        try:
            nodes, _ = self.pack((result, *kept), live=name in _LIVE)
        except Exception as error:
            raised = True
            nodes, _ = self.pack(
                (TypeError(f"the value cannot be sent ({type(error).__name__})"), *kept)
            )
        self._send({"nodes": nodes, "raised": raised})
        self.lost = lost

    def _check_offered(self, name, operands):
        """Refuse what an object of the tests does not offer to the code: what leads on to the tests themselves."""
        if name not in _OFFERED or not operands or id(operands[0]) not in self._handles:
            raise TypeError(f"{name} is not possible with an object of the tests")
        if name in ("getattr", "setattr"):
            asked = operands[1]
            if type(asked) is not str or (
                asked.startswith(_HIDDEN) and asked not in ("__name__", "__doc__", "__qualname__")
            ):
                raise AttributeError(f"{asked!r} of an object of the tests is not offered")
        if name in ("setattr", "setitem") and type(operands[0]).__module__ != "tests":
            raise TypeError("only objects of classes of the tests can be changed")

    def _send(self, message):
        try:
            self.writer.write(json.dumps(message).encode() + b"\n")
            self.writer.flush()
        except OSError:
            self.lost = ""
            raise Gone(self.lost) from None

    def _receive(self):
        line = self.reader.readline(MESSAGE_BYTES)
        if not line.endswith(b"\n"):
            self.lost = (
                f"the code gives more than {MESSAGE_BYTES >> 20} MiB"
                if len(line) == MESSAGE_BYTES
                else ""
            )
            raise Gone(self.lost)
        try:
            message = json.loads(line)
            if isinstance(message, dict) and isinstance(message["nodes"], list):
                return message
        except (ValueError, KeyError, RecursionError):
            pass
        return self._unreadable()

    def _unreadable(self):
        self.lost = "the code's process sends what cannot be read"
        raise Gone(self.lost)

    def _read(self, nodes, into=None):
        """The value of the first node, and that of every node."""
        try:
            values = self.unpack(nodes, into)
            return values[0], values
        except Exception:
            return self._unreadable()

    def pack(self, value, *, live=False):
        """Nodes of a value and what it holds, and the object that stands behind each."""
        objects, places, nodes = [value], {id(value): 0}, []

        def place(part):
            if id(part) not in places:
                places[id(part)] = len(objects)
                objects.append(part)
            return places[id(part)]

        for part in objects:  # grows
            stays = live and len(nodes) == 1 and type(part).__name__ in _MUTABLE
            nodes.append(self._reference(part) if stays else self._node(part, place))
        return nodes, objects

    def _node(self, value, place):
        kind = type(value)
        name = kind.__name__
        if value is None or kind in (bool, str):
            return ["plain", value]
        if kind is int:
            return ["int", hex(value)]
        if kind is float:
            return ["float", value.hex()]
        if kind in (bytes, bytearray):
            return [name, value.hex()]
        if kind in (tuple, frozenset) or _LISTS.get(name) is kind:
            return [name, [place(part) for part in value]]
        if _DICTS.get(name) is kind:
            return [name, [[place(key), place(part)] for key, part in value.items()]]
        if kind is Proxy:
            return ["home", value._handle]
        if isinstance(value, BaseException):
            args = value.args if isinstance(value.args, tuple) else ()
            return ["error", place(kind), place(args), _message(value), self._reference(value)[1]]
        if isinstance(value, type):
            return self._type_node(value, place)
        full = f"{kind.__module__}.{kind.__qualname__}"
        if full in _VALUES:
            return ["value", full, place(_VALUES[full](value))]
        return ["coroutine" if kind is types.CoroutineType else "object", self._reference(value)[1]]

    def _type_node(self, kind, place):
        if _TYPES.get(kind.__name__) is kind:
            return ["type", kind.__name__]
        if "_remote" in vars(kind) and issubclass(kind, BaseException):
            return ["home", vars(kind)["_remote"]]
        if issubclass(kind, BaseException):
            bases = [place(base) for base in kind.__bases__ if issubclass(base, BaseException)]
            return ["class", kind.__module__, kind.__qualname__, self._reference(kind)[1], bases]
        return self._reference(kind)

    def _reference(self, value):
        if id(value) not in self._handles:
            self._handles[id(value)] = len(self._given)
            self._given.append(value)  # kept for good, so that its id stays its own
        return ["object", self._handles[id(value)]]

    def unpack(self, nodes, into=None):
        """The values of all nodes; `into` are objects that take the values of the first node's parts after the first."""
        made = {}
        if into is not None:
            kind, parts = nodes[0]
            if kind != "tuple" or len(parts) != len(into) + 1:
                raise ValueError("another number of values")
            for number, value in zip(parts[1:], into, strict=True):
                if nodes[number][0] != type(value).__name__:
                    raise ValueError("another kind of value")
                made[number] = value
        for first in range(len(nodes)):
            stack, begun = [first], set()
            while stack:
                number = stack[-1]
                missing = (
                    []
                    if number in made
                    else [part for part in self._needs(nodes[number]) if part not in made]
                )
                if missing and number in begun:
                    raise ValueError("a value that holds itself")
                if not missing:
                    if number not in made:
                        made[number] = self._value(nodes[number], made)
                    stack.pop()
                begun.add(number)
                stack += missing
        for number, node in enumerate(nodes):
            self._fill(made[number], node, made)
        return [made[number] for number in range(len(nodes))]

    @staticmethod
    def _needs(node):
        kind = node[0]
        if kind not in _DEEP:
            return ()
        return {
            "value": lambda: node[2:3],
            "class": lambda: node[4],
            "error": lambda: node[1:3],
        }.get(kind, lambda: node[1])()

    def _value(self, node, made):
        kind, given = node[0], node[1]
        if kind == "plain" and (given is None or isinstance(given, bool | str)):
            return given
        if kind in ("int", "float"):
            return int(given, 16) if kind == "int" else float.fromhex(given)
        if kind in ("bytes", "bytearray"):
            return getattr(builtins, kind).fromhex(given)
        if kind in ("tuple", "frozenset"):
            return getattr(builtins, kind)(made[number] for number in given)
        if kind in _LISTS or kind in _DICTS:
            return (_LISTS | _DICTS)[kind]()
        if kind == "home":
            return self._given[given] if given >= 0 else self._unreadable()
        if kind == "type":
            return _TYPES[given]
        if kind == "value" and given in _VALUES:
            module, _, name = given.rpartition(".")
            return getattr(importlib.import_module(module), name)(*made[node[2]])
        if kind == "class":
            return self._exception_class(node, made)
        if kind == "error":
            return self._error(made[given], made[node[2]], str(node[3]), Proxy(self, node[4]))
        if kind in ("object", "coroutine") and isinstance(given, int):
            proxy = self._proxies.setdefault(given, Proxy(self, given))
            return proxy if kind == "object" else self._later(proxy)
        raise ValueError(f"unknown kind {kind!r}")

    async def _later(self, coroutine):
        return self.ask("run", coroutine)

    def _exception_class(self, node, made):
        _, module, name, handle, bases = node
        known = getattr(sys.modules.get(str(module)), str(name), None)
        if (
            isinstance(known, type)
            and issubclass(known, BaseException)
            and module not in ("answer", "__main__")
        ):
            return known
        if handle not in self._proxies:
            bases = tuple(made[number] for number in bases) or (Exception,)
            body = {"_remote": handle, "_said": "", "__str__": lambda self: self._said}
            body["__getattr__"] = lambda self, name: getattr(self._proxy, name)
            self._proxies[handle] = type(str(name).rpartition(".")[2], bases, body)
        return self._proxies[handle]

    @staticmethod
    def _error(kind, args, text, proxy):
        if not issubclass(kind, BaseException):
            raise ValueError("not an exception")
        try:
            error = kind(*args)
        except Exception:  # a class that wants other arguments than it keeps
            error = kind.__new__(kind)
            error.args = args
        if "_said" in vars(kind):
            error._said, error._proxy = text, proxy
        return error

    @staticmethod
    def _fill(value, node, made):
        kind = node[0]
        if kind in _LISTS:
            value.clear()
            (value.update if kind == "set" else value.extend)([made[number] for number in node[1]])
        elif kind in _DICTS:
            value.clear()
            dict.update(value, [(made[key], made[part]) for key, part in node[1]])
        elif kind == "bytearray":
            value[:] = bytes.fromhex(node[1])


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
    link = Link(answer.stdout, answer.stdin, _operations(), judging=True)

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
    room = {"__name__": "tests"}
    for name in job["names"]:
        if not link.ask("defines", name):
            return say(None, False, f"the code does not define {name}")
        room[name] = link.ask("name", name)
    for number, statement in enumerate(ast.parse(job["tests"]).body):
        is_test = any(isinstance(node, ast.Assert) for node in ast.walk(statement))
        try:
            exec(compile(ast.Module([statement], []), "<tests>", "exec"), room)
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
    module = sys.modules["answer"] = ModuleType("answer")

    def load(code, limits):
        limit(limits)
        guard()
        exec(compile(code, "<answer>", "exec"), module.__dict__)

    found = {
        "load": load,
        "defines": lambda name: name in vars(module),
        "name": lambda name: vars(module)[name],
    }
    leave = os._exit
    try:
        Link(reader, writer, _operations() | found, judging=False).serve()
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
    for name in (
        "_posixsubprocess",
        "_thread",
        "_signal",
        "signal",
    ):  # these raise no audit event in every supported version
        unheard = sys.modules.get(name) or _imported(name)
        for function in (
            "fork_exec",
            "start_new_thread",
            "start_new",
            "start_joinable_thread",
            "pidfd_send_signal",
        ):
            if hasattr(unheard, function):
                setattr(unheard, function, _refuse)


def _imported(name):
    try:
        return __import__(name)
    except ImportError:
        return None


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
