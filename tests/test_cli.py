"""What the command line prints, and how it refuses mistakes."""

import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tierlab.cli import app, main
from tierlab.core import paths
from tierlab.pages import run as report

TINY = Path(__file__).parent / "data" / "tiny.ipynb"
DATASETS_HERE = "TIERLAB_DATA_DIR" in os.environ


@pytest.fixture
def say(capsys):
    """Return a function that runs a command and gives its exit status, standard output and standard error."""

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    shutil.copyfile(TINY, folder / "01_tiny.ipynb")
    monkeypatch.setattr(paths, "NOTEBOOKS", folder)
    return folder


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["run", "01_tyni"], "unknown notebook '01_tyni'; did you mean '01_tiny'?"),
            (
                ["run", "-p", "reqests", "5"],
                "unknown parameter 'reqests'; did you mean 'requests'?",
            ),
            (["run", "-p", "requests", "many"], "01_tiny: requests = 'many' is not of type int"),
            (
                ["run", "-p", "requests", "0"],
                "01_tiny: requests = 0 is out of range: 1 to 1,000,000",
            ),
            (["run", "-p", "share", "80"], "01_tiny: share = 80.0 is out of range: 0 to 1"),
            (
                ["run", "-p", "tier", "large"],
                "01_tiny: tier: unknown value 'large'; known: small, mid, flagship",
            ),
            (["run", "-f", "no.yaml"], "no.yaml: cannot be read as YAML"),
            (["run", "01_tiny", "01_tiny"], "01_tiny is named twice"),
            (
                ["prices", "--source", "artcle"],
                "unknown catalogue 'artcle'; did you mean 'article'?",
            ),
            (["prices", "--as-of", "soon"], "'soon' is not a date"),
            (
                ["prices", "--changes", "2027-01-01", "2026-01-01"],
                "the end 2026-01-01 lies before the start 2027-01-01",
            ),
            (["prices", "--source", "none.csv"], "none.csv: cannot be read"),
            (
                ["datasets", "fetch", "azure_cov"],
                "unknown data set 'azure_cov'; did you mean 'azure_conv'?",
            ),
            (["datasets", "fetch"], "name the data sets to fetch: "),
        ],
    )
    def test_a_mistake_is_one_line_and_status_2(self, say, notebooks, arguments, message):
        status, out, error = say(*arguments)
        assert status == 2 and out == ""
        assert error.startswith(f"tierlab: {message}") and error.count("\n") == 1

    def test_the_process_ends_with_that_status_and_no_traceback(self):
        command = [sys.executable, "-m", "tierlab", "prices", "--as-of", "soon"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=paths.ROOT, check=False)
        assert done.returncode == 2 and "Traceback" not in done.stderr

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["rum"], 'Unknown command "rum". Did you mean "run"?'),
            (["run", "--timeout", "0"], 'Invalid value "0" for --timeout. Must be >= 1.'),
            (["run", "-p", "share"], "-p requires 2 positional arguments"),
            (["prices", "--sorce", "article"], "Unknown option: --sorce. Did you mean --source?"),
            (["recommend", "faq_answering", "--stakes", "4"], 'Invalid value "4" for --stakes.'),
            (["review"], "name the records to review"),
        ],
    )
    def test_wrong_usage_is_status_2_and_names_the_nearest_word(self, say, arguments, message):
        status, out, error = say(*arguments)
        assert status == 2 and out == "" and message in error and error.count("\n") == 1

    def test_no_command_is_help_and_status_2(self, say):
        status, out, _ = say()
        assert status == 2 and "examples:\n  tierlab new my_tiers" in out


class TestCommands:
    @pytest.mark.parametrize("command", sorted(name for name in app if not name.startswith("-")))
    def test_help_teaches_with_examples(self, say, command):
        status, out, _ = say(command, "--help")
        assert status == 0 and f"examples:\n  tierlab {command}" in out

    def test_new_copies_the_notebooks_and_never_over_anything(self, say, tmp_path):
        status, _, _ = say("new", tmp_path / "mine")
        assert status == 0 and (tmp_path / "mine" / "00_start_here.ipynb").is_file()
        (tmp_path / "mine" / "00_start_here.ipynb").write_text("my own work")
        status, _, error = say("new", tmp_path / "mine")
        assert (status, error) == (
            2,
            f"tierlab: {tmp_path / 'mine'} is not empty; name a new folder\n",
        )
        assert (tmp_path / "mine" / "00_start_here.ipynb").read_text() == "my own work"

    def test_run_takes_a_stem_and_a_file_of_parameters(self, say, notebooks, tmp_path):
        (tmp_path / "p.yaml").write_text("requests: 1e4\n01_tiny:\n  tier: mid\n")
        status, out, error = say(
            "run",
            "01_tiny",
            "-f",
            tmp_path / "p.yaml",
            "-p",
            "share",
            "0.5",
            "--out",
            tmp_path / "out",
        )
        assert (status, error) == (0, "") and out.strip() == str(tmp_path / "out" / "index.html")
        page = (tmp_path / "out" / "01_tiny.html").read_text("utf-8")
        assert "10,000 requests, tier <strong>mid</strong>" in page
        # 10,000 requests x 0.5 x 0.02 USD
        assert re.search(r'<td[^>]* class="num"[^>]*>100\.0</td>', page)

    def test_article_prices_are_those_of_the_article(self, say):
        _, out, _ = say("prices", "--source", "article", "--csv")
        table = (
            pd.read_csv(io.StringIO(out))
            .query("context_above == 0")
            .set_index("model_id")[["uncached_input", "output"]]
        )
        assert table.loc["claude-opus-4-8"].tolist() == [5, 25]
        assert table.loc["gpt-4o-mini"].tolist() == [0.15, 0.60]
        assert table.loc["gemini-3.5-flash"].tolist() == [0.30, 2.50]
        assert len(table) == 9

    def test_prices_name_their_source_day_and_unit(self, say):
        _, out, _ = say("prices", "--source", "article")
        assert out.startswith(
            "prices in force on 2026-06-12, USD per million tokens (article, checked 2026-06-12)\n"
        )
        assert [line.split()[2] for line in out.splitlines() if "about" in line.split()] == [
            "gpt-5.5"
        ]

    def test_all_shows_models_outside_the_lineup(self, say):
        assert (
            "claude-opus-4-8" not in say("prices")[1]
            and "claude-opus-4-8" in say("prices", "--all")[1]
        )

    def test_a_scheduled_change_is_listed(self, say):
        _, out, _ = say("prices", "--changes", "2026-11-23", "2027-01-05")
        rows = [line.split() for line in out.splitlines()]
        assert ["2026-12-01", "gemini-4-argon", "rate", "output", "0", "10", "20"] in rows
        assert [
            "2027-01-01",
            "gemini-3.8-flash",
            "rate",
            "uncached_input",
            "0",
            "0.75",
            "1.5",
        ] in rows

    def test_doctor_says_which_keys_are_set_and_never_their_values(self, say, monkeypatch):
        for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("GOOGLE_API_KEY", "a-secret-value")
        status, out, error = say("doctor")
        assert (status, error) == (0, "") and "secret" not in out
        assert (
            "openai         no key (OPENAI_API_KEY not set)" in out
            and "google         GOOGLE_API_KEY is set" in out
        )
        assert (
            f"pandas         {pd.__version__}" in out
            and "MISSING" not in out
            and "azure_conv" in out
        )

    @pytest.mark.skipif(
        not DATASETS_HERE, reason="TIERLAB_DATA_DIR is not set: the public data sets are not here"
    )
    def test_fetch_prints_where_a_data_set_is(self, say):
        status, out, _ = say("datasets", "fetch", "azure_conv")
        assert status == 0 and Path(out.strip()).stat().st_size == 719_188


@pytest.mark.parametrize(
    ("arguments", "stale", "status", "line"),
    [
        (
            ["refresh", "--check"],
            ["01_tiny.ipynb: cell 3: outputs changed"],
            1,
            "stale: 01_tiny.ipynb: cell 3: outputs changed",
        ),
        (["refresh"], ["figures/a.png: missing"], 0, "rewritten: figures/a.png: missing"),
        (["refresh", "--check"], [], 0, "everything is fresh"),
    ],
)
def test_refresh_check_fails_when_an_output_is_stale(
    say, monkeypatch, arguments, stale, status, line
):
    asked = {}
    monkeypatch.setattr(report, "refresh", lambda **given: asked.update(given) or stale)
    assert say(*arguments)[:2] == (status, f"{line}\n")
    assert asked == {"check": "--check" in arguments, "notebooks": None, "force": False}
    say(*arguments, "10_article_claims")
    assert [path.name for path in asked["notebooks"]] == ["10_article_claims.ipynb"]
