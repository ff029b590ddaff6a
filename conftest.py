"""One environment for every kernel that a test starts."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent

pytest_plugins = ["tests.servers"]
# nbval would compare answers that are still to be filled in; tests/test_workshop.py runs the exercises instead.
collect_ignore_glob = ["notebooks/workshop/exercises/*"]

os.environ["IPYTHONDIR"] = str(ROOT / ".ipython")
os.environ["IPYKERNEL_CELL_NAME"] = "<cell>"
os.environ["PYTHONHASHSEED"] = "0"
os.environ["TIERLAB_FIGURES_DIR"] = str(ROOT / "build" / "test-figures")
