"""Processes that end with the one that started them; on its own, so that a new process reaches it before anything slow."""

import atexit
import contextlib
import os
import sys
import threading


def skip_grammar_of_addresses():
    """Keep jsonschema, which nbformat imports, from compiling that grammar: it takes seconds, and no notebook has an address
    to check."""
    sys.modules.setdefault("rfc3987_syntax", None)


def end_with(receiver):
    """End this process and all that it has started as soon as nobody holds the other end of a pipe, however that came about."""
    atexit.register(
        os._exit, 0
    )  # the last thing to be done: taking down every module would take seconds on a busy machine
    skip_grammar_of_addresses()

    def watch():
        import psutil

        with contextlib.suppress(EOFError, OSError):
            receiver.recv()
        this = psutil.Process(os.getpid())
        while started := this.children():
            for process in started:
                _end(process)
        this.kill()

    threading.Thread(target=watch, daemon=True).start()


def _end(process):
    """End a process and what it has started: it is stopped first, so that it starts nothing meanwhile."""
    import psutil

    with contextlib.suppress(psutil.Error):
        process.suspend()
        for child in process.children():
            _end(child)
    with contextlib.suppress(psutil.Error):
        process.kill()
        process.wait(timeout=1)
