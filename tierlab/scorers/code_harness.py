"""Run code and its tests under limits, and report each test; `tierlab.scorers.code` starts this in a process of its own.

What is needed after the code has run is bound before it runs, so that code that replaces builtins or functions of the
standard library does not change how it is judged. Imports nothing of the kit.
"""

import ast
import builtins
import json
import os
import sys
from types import ModuleType

REFUSED = (
    *("os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.exec", "os.system", "os.startfile", "subprocess.Popen"),
    *("pty.spawn", "os.kill", "os.killpg", "signal.pthread_kill", "_winapi.CreateProcess"),
    *("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"),
    *("resource.setrlimit", "resource.prlimit", "gc.get_objects", "gc.get_referrers", "gc.get_referents", "ctypes.dlopen"),
)
CHANGES = (
    *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown"),
    *("os.utime", "os.setxattr", "os.removexattr", "os.chflags", "sqlite3.connect"),
)
READABLE = ("/usr/share/zoneinfo",)


def main():
    job = json.loads(sys.stdin.buffer.read())
    say = _reporter(job["token"])
    tests = []
    for statement in ast.parse(job["tests"]).body:
        is_test = any(isinstance(node, ast.Assert) for node in ast.walk(statement))
        tests.append((compile(ast.Module([statement], []), "<tests>", "exec"), is_test, _shown(statement)))
    room = {"__name__": "tests", "__builtins__": dict(vars(builtins))}
    run, leave, describe = exec, os._exit, _described
    module = sys.modules["answer"] = ModuleType("answer")
    limit(job["limits"])
    guard()
    try:
        run(compile(job["code"], "<answer>", "exec"), module.__dict__)
    except BaseException as error:
        say(None, False, f"the code raises {describe(error)}")
        leave(0)
    for name in job["names"]:
        if name not in module.__dict__:
            say(None, False, f"the code does not define {name}")
            leave(0)
        room[name] = module.__dict__[name]
    for number, (test, is_test, shown) in enumerate(tests):
        try:
            run(test, room)
        except AssertionError:
            say(number, False, f"{shown} fails")
        except BaseException as error:
            say(number, False, f"{shown} raises {describe(error)}")
            if not is_test:
                break
        else:
            if is_test:
                say(number, True, "")
    leave(0)


def _reporter(token):
    """Take standard output for reports, and leave the code with no input and nowhere to print."""
    out, nowhere = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    write, encode = os.write, json.JSONEncoder().encode

    def say(test, right, fault):
        write(out, (encode({"token": token, "test": test, "right": right, "fault": fault[:300]}) + "\n").encode())

    return say


def limit(most):
    """Lower what the process may use, for good; a platform sets the limits that it has."""
    try:
        import resource
    except ImportError:
        return
    cpu = max(1, round(most["cpu"]))
    for name, soft, hard in (
        ("RLIMIT_CPU", cpu, cpu + 1),
        ("RLIMIT_AS", most["memory"], most["memory"]),
        ("RLIMIT_FSIZE", most["file"], most["file"]),
        ("RLIMIT_NPROC", 0, 0),
        ("RLIMIT_CORE", 0, 0),
    ):
        try:
            resource.setrlimit(getattr(resource, name), (soft, hard))
        except (AttributeError, ValueError, OSError):
            continue


def guard():
    """Refuse processes, threads, connections, and files outside the working folder; a hook stays for good."""
    realpath, decode, sep = os.path.realpath, os.fsdecode, os.sep
    home = realpath(".")
    readable = tuple(realpath(path) for path in (sys.prefix, sys.base_prefix, *sys.path, *READABLE))
    refused, changes, writing = frozenset(REFUSED), frozenset(CHANGES), os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

    def inside(path, folders):
        path = realpath(decode(path))
        return any(path == folder or path.startswith(folder + sep) for folder in folders)

    def hook(event, args):
        if event in refused:
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
    for name in ("_posixsubprocess", "_thread"):  # these raise no audit event in every supported version
        unheard = sys.modules.get(name) or _imported(name)
        for function in ("fork_exec", "start_new_thread", "start_new", "start_joinable_thread"):
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
    """Name and message of an error; the message is the code's own and may itself fail."""
    name = type(error).__name__
    try:
        message = " ".join(str(error).split())[:80]
    except BaseException:
        message = ""
    return f"{name}: {message}" if message else name


if __name__ == "__main__":
    main()
