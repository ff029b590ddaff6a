"""End processes together with the one that started them.

A module of its own, so that a new process can import it before anything slow.
"""

import atexit
import contextlib
import os
import sys
import threading


def skip_grammar_of_addresses():
    """Keep jsonschema, which nbformat imports, from compiling its grammar of web addresses.

    Compiling takes seconds, and no notebook has an address to check.
    """
    sys.modules.setdefault("rfc3987_syntax", None)


def end_with(receiver):
    """End this process and all that it started once nobody holds the other end of a pipe, for whatever reason.

    Parameters
    ----------
    receiver : multiprocessing.connection.Connection
        This process's end of the pipe.
    """
    # The last thing to run at exit: taking down every module would take seconds on a busy machine.
    atexit.register(os._exit, 0)
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
    """End a process and all that it started; it is suspended first, so that it cannot start more meanwhile."""
    import psutil

    with contextlib.suppress(psutil.Error):
        process.suspend()
        for child in process.children():
            _end(child)
    with contextlib.suppress(psutil.Error):
        process.kill()
        process.wait(timeout=1)
