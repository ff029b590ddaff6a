"""One environment for every kernel that a test starts."""

import os
import signal
from pathlib import Path

from tierlab.core.workers import skip_grammar_of_addresses

skip_grammar_of_addresses()  # seconds in each process of the tests

ROOT = Path(__file__).resolve().parent

pytest_plugins = ["tests.servers"]
# nbval would compare answers that are still to be filled in; tests/workshop runs the exercises instead.
collect_ignore_glob = ["notebooks/workshop/exercises/*"]

# A shell's background job, `nohup` or a runner hands down ignored and blocked signals, which tests and their processes need.
for number in signal.valid_signals() - {
    getattr(signal, name, None) for name in ("SIGPIPE", "SIGXFSZ")
}:  # Python's own
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(
            number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        )
if hasattr(signal, "pthread_sigmask"):
    signal.pthread_sigmask(signal.SIG_SETMASK, [])

os.environ["IPYTHONDIR"] = str(ROOT / ".ipython")
os.environ["IPYKERNEL_CELL_NAME"] = "<cell>"
os.environ["PYTHONHASHSEED"] = "0"
os.environ["TIERLAB_FIGURES_DIR"] = str(ROOT / "build" / "test-figures")
