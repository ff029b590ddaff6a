"""An HTML page as a PDF, through a Chromium that is on the machine."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from tierlab.core.files import write_whole

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
HOW_TO_GET_IT = "no Chromium found; install one (Debian: apt-get install --no-install-recommends chromium) or print the page from a browser"
# The page is our own, loads nothing and runs one known script, so it may do without the sandbox that a container lacks.
FLAGS = (
    *(
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
    ),
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
SECONDS = 120


def find_browser():
    """Path of the first Chromium on the search path, or None."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def print_pdf(page, target):
    """Print an HTML file to a tagged PDF.

    Parameters
    ----------
    page, target : path

    Returns
    -------
    str
        "" if it is there; else why not. A report without its PDF is still a report.
    """
    browser = find_browser()
    if browser is None:
        return HOW_TO_GET_IT
    with tempfile.TemporaryDirectory() as folder:
        printed = Path(folder, "page.pdf")
        own = [
            f"--user-data-dir={folder}/profile",
            "--no-pdf-header-footer",
            f"--print-to-pdf={printed}",
        ]
        command = [browser, *FLAGS, *own, Path(page).resolve().as_uri()]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{browser} did not print ({' '.join(str(error).split())[:200]})"
        if done.returncode or not printed.is_file():
            return f"{browser} did not print (exit status {done.returncode})"
        write_whole(target, printed.read_bytes())
    return ""
