"""The package as a person installs it: a wheel in an empty environment, outside the checkout."""

import os
import subprocess
import sys
import venv

import pytest

from tierlab.core import paths

pytestmark = pytest.mark.wheel
USAGE = paths.ROOT / "tests" / "data" / "usage" / "litellm_spendlogs.jsonl"


def run(*command, cwd):
    """A finished command, with nothing of this checkout in its environment."""
    environment = {
        name: os.environ[name] for name in ("PATH", "HOME", "SSL_CERT_FILE") if name in os.environ
    }
    environment |= {
        name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_"))
    }
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    done = run(
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        folder,
        ".",
        cwd=paths.ROOT,
    )
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def base(wheel, tmp_path_factory):
    """The base installation: its folder."""
    folder = tmp_path_factory.mktemp("base") / "env"
    venv.create(folder, with_pip=True)
    install(folder, wheel)
    return folder


def install(folder, *what):
    done = run(
        sys.executable,
        "-m",
        "uv",
        "pip",
        "install",
        "--quiet",
        "--python",
        folder / "bin" / "python",
        *what,
        cwd=folder,
    )
    if done.returncode:
        done = run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", *what, cwd=folder)
    assert done.returncode == 0, done.stderr


def test_the_base_is_at_most_400_mb_and_carries_data_and_notebooks(base):
    size = sum(
        file.stat().st_size for file in base.rglob("*") if file.is_file() and file.suffix != ".pyc"
    )
    assert size < 400e6
    kit = next(base.glob("lib/*/site-packages/tierlab/kit"))
    assert (kit / "data" / "prices_article.csv").is_file() and (
        kit / "notebooks" / "00_start_here.ipynb"
    ).is_file()
    assert not next(base.glob("lib/*/site-packages")).joinpath("sklearn").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["prices", "--source", "article"], 0, "prices in force on 2026-06-12"),
        (["recommend", "customer_support", "--error-cost-usd", "0.5"], 0, "gemini-4-argon costs"),
        (["recommend", "faq_answering", "--file", "filed.md"], 0, "filed.md"),
        (["review", "filed.md"], 0, "filed.md"),
        (["new", "mine"], 0, "mine: "),
        (["doctor"], 0, "missing: pip install 'tierlab[stats]'"),
        (["run", "00_start_here"], 2, "pip install 'tierlab[report]'"),
        (["quarter", "2026Q3", "--usage", USAGE], 2, "pip install 'tierlab["),
    ],
)
def test_the_base_alone_works_from_any_folder_or_names_the_extra(
    base, tmp_path_factory, arguments, status, line
):
    folder = tmp_path_factory.getbasetemp()
    done = run(base / "bin" / "tierlab", *arguments, cwd=folder)
    assert (done.returncode, line in done.stdout + done.stderr) == (status, True), (
        done.stdout + done.stderr
    )


def test_with_its_extras_it_runs_notebooks_and_the_quarter(base, wheel, tmp_path):
    install(base, f"{wheel}[report,usage]")
    done = run(base / "bin" / "tierlab", "run", "00_start_here", cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "build/report/00_start_here.html").is_file(), (
        done.stderr
    )
    done = run(base / "bin" / "tierlab", "quarter", "2026Q3", "--no-pdf", cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "build/2026Q3/summary.json").is_file(), done.stderr


def test_every_extra_has_a_resolution_for_the_newest_python(tmp_path):
    command = [
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--all-extras",
        "--python-version",
        "3.14",
        "--output-file",
        tmp_path / "lock",
    ]
    done = run(sys.executable, "-m", *command, paths.ROOT / "pyproject.toml", cwd=paths.ROOT)
    assert done.returncode == 0 and "jupyterlab==" in (tmp_path / "lock").read_text(), done.stderr
