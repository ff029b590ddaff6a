"""Run the browser tests again and again and say how often they passed: `make soak`.

`python tests/soak.py [RUNS]`; each run's output is kept in build/soak/, and all runs are made whatever the first says.
"""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "soak"


def soak(runs=10):
    """Make the runs; how many passed. A run in which a test was skipped has not shown what it should."""
    OUT.mkdir(parents=True, exist_ok=True)
    good = 0
    for number in range(1, runs + 1):
        start = time.monotonic()
        line = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-m",
            "full or not full",
            "tests/test_browser.py",
        ]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
        (OUT / f"{number:02d}.log").write_text(done.stdout + done.stderr, encoding="utf-8")
        last = (done.stdout.strip().splitlines() or ["no output"])[-1]
        passed = done.returncode == 0 and "skipped" not in last and "passed" in last
        good += passed
        print(
            f"run {number} of {runs}: {'passed' if passed else 'FAILED'} after {time.monotonic() - start:.0f} s: {last}",
            flush=True,
        )
    print(f"{good} of {runs} runs passed; their output: {OUT.relative_to(ROOT)}")
    return good


if __name__ == "__main__":
    RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    sys.exit(soak(RUNS) != RUNS)
