"""The quarterly report end to end: the command, its files, what it finds, what it refuses, and that names stay text."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st
from nbconvert.filters.markdown_mistune import MarkdownWithMath

import tierlab as tl
from tierlab.cli import main
from tierlab.core import paths
from tierlab.core.files import OutputFolder
from tierlab.core.format import dollars
from tierlab.core.untrusted import in_markdown
from tierlab.pages import page as pages_page
from tierlab.pages import run
from tierlab.pages.page import _Renderer
from tierlab.pages.parameters import declared
from tierlab.quarter import report
from tierlab.quarter import words as quarter_words
from tierlab.quarter.inputs import InputError, Inputs
from tierlab.quarter.report import prepare
from tierlab.quarter.simulated import (
    CACHE_BREAK,
    LEAK_START,
    PRICE_CHANGE,
    SPIKE,
    as_quarter,
    synthetic_quarters,
)

ATTACK = "<script>alert(1)</script>"
MARKUP = "<img src=x onerror=alert(2)> **bold** $x^2$ [l](http://evil.example) `c`"
DATASETS_HERE = "TIERLAB_DATA_DIR" in os.environ
needs_browser = pytest.mark.skipif(run.find_browser() is None, reason=run.NO_BROWSER)
DAYS = pd.date_range("2026-04-01", "2026-09-30")
# Claude Haiku 4.5: 1 USD input, 0.10 cache read, 5 output per million tokens; 500 + 500 cached in, 100 out.
EACH_USD = (500 * 1 + 500 * 0.1 + 100 * 5) / 1e6


def command(*arguments, cwd):
    line = [sys.executable, "-m", "tierlab", "quarter", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, cwd=cwd, check=False)


def litellm_log(folder, *, per_day=3, strange=0):
    """Spend logs of two quarters; LiteLLM's own `spend` is twice what the tokens cost."""
    rows = []
    for day in DAYS:
        for number in range(per_day):
            usage = {
                "prompt_tokens": 1000,
                "completion_tokens": 100,
                "total_tokens": 1100,
                "cache_read_input_tokens": 500,
                "cache_creation_input_tokens": 0,
                "prompt_tokens_details": {"cached_tokens": 500},
            }
            start = f"{day:%Y-%m-%d}T10:{number:02d}:00.000Z"
            rows.append(
                {
                    "request_id": f"{day:%m%d}-{number}",
                    "call_type": "acompletion",
                    "spend": 2 * EACH_USD,
                    "total_tokens": 1100,
                    "prompt_tokens": 1000,
                    "completion_tokens": 100,
                    "startTime": start,
                    "endTime": f"{day:%Y-%m-%d}T10:{number:02d}:02.000Z",
                    "completionStartTime": f"{day:%Y-%m-%d}T10:{number:02d}:01.000Z",
                    "model": "claude-haiku-4-5-20251001",
                    "custom_llm_provider": "anthropic",
                    "status": "success",
                    "metadata": json.dumps({"usage_object": usage}),
                    "api_key": "",
                    "user": MARKUP,
                    "team_id": MARKUP,
                    "cache_hit": "False",
                    "request_tags": "[]",
                }
            )
    rows += [
        rows[-1 - place] | {"model": ATTACK, "request_id": f"strange-{place}"}
        for place in range(strange)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spend.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return folder


def own_csv(path, **columns):
    table = pd.DataFrame(
        {
            "at": DAYS.repeat(2),
            "model_id": "claude-haiku-4-5",
            "uncached_input_tokens": 1_000_000,
            "output_tokens": 100_000,
        }
    )
    table.assign(**columns).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    """The command's default, from a folder that is not the repository's."""
    folder = tmp_path_factory.mktemp("elsewhere")
    done = command("2026Q3", "--out", "out/q3", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "out" / "q3", done


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    """A LiteLLM log with markup for names, given by a relative path, with a budget and a CSV of scores."""
    folder = tmp_path_factory.mktemp("attacked")
    litellm_log(folder / "logs", strange=7)
    scores = pd.DataFrame(
        {
            "prompt_id": range(40),
            "model_id": "claude-haiku-4-5",
            "score": [1] * 34 + [0] * 6,
            "task": ATTACK,
        }
    )
    scores.to_csv(folder / "scores.csv", index=False)
    done = command(
        "2026Q3",
        "--usage",
        "logs",
        "--budget",
        "0.2",
        "--outcomes",
        "scores.csv",
        "--out",
        "out",
        "--no-pdf",
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return folder / "out"


def summary_of(out):
    return json.loads((out / "summary.json").read_text("utf-8"))


def soup_of(out):
    return BeautifulSoup((out / "report.html").read_text("utf-8"), "html.parser")


def first_page(soup):
    """The text up to where the second page of the PDF begins."""
    return "".join(
        str(text) for text in soup.find(class_="new-page").find_all_previous(string=True)[::-1]
    )


class TestFiles:
    def test_the_command_writes_what_it_prints(self, synthetic):
        out, done = synthetic
        printed = [Path(line).name for line in done.stdout.split()]
        pdf = ["report.pdf"] if run.find_browser() else []
        assert printed == [
            "report.ipynb",
            "report.html",
            *pdf,
            "message.md",
            "summary.json",
        ] and all((out / name).is_file() for name in printed)
        assert len(list((out / "figures").glob("90_*.png"))) == 7
        there = [path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()]
        assert (
            set(summary_of(out)["files"]) <= set(there) and "message.md" in summary_of(out)["files"]
        )
        assert "Traceback" not in done.stderr and "unknown parameter" not in done.stderr

    def test_the_page_has_no_code_and_loads_nothing(self, synthetic, attacked):
        for out in (synthetic[0], attacked):
            soup = soup_of(out)
            assert not soup.select(
                ".input, .highlight, link, iframe, object, embed, video, audio, base, form"
            )
            assert (
                all(tag["src"].startswith("data:image/") for tag in soup(src=True))
                and len(soup("script")) == 1
            )
            assert not [
                a["href"] for a in soup("a", href=True) if not a["href"].startswith(("#", "http"))
            ]
            assert (
                "import tierlab" not in soup.get_text() and "report.prepare" not in soup.get_text()
            )

    def test_every_image_has_an_alt_text(self, synthetic):
        images = soup_of(synthetic[0])("img")
        assert len(images) == 7
        narrow = soup_of(synthetic[0]).select("picture > source[srcset^='data:image/png']")
        assert len(narrow) == 2  # the causes and the forecast, for a phone
        assert all(
            len(image["alt"]) > 40 and not image["alt"].startswith("No description")
            for image in images
        )

    def test_the_summary_and_the_page_say_the_same(self, synthetic):
        out, _ = synthetic
        found, page = summary_of(out), first_page(soup_of(out))
        assert (
            found["schema"] == "tierlab.quarter/2"
            and found["state"] == "ok"
            and found["usage"] == "simulated"
        )
        assert f"cost ${found['spend_usd']:,.0f}, ${found['spend_usd'] - 500:,.0f}" in page
        assert found["budget_usd"] == 500
        for decision in found["decisions"]:
            assert dollars(decision["usd"]) in page
        assert (
            len(found["decisions"]) == 3
            and f"${sum(d['usd'] for d in found['decisions']):,.0f} a quarter"
            in soup_of(out).get_text()
        )

    def test_the_summary_has_its_documented_parts(self, synthetic):
        found = summary_of(synthetic[0])
        account = found["account"]
        assert account["rows_read"] == account["rows_priced"] == len(synthetic_quarters()[0])
        assert (
            account["engine"] == "duckdb"
            and account["unknown_models"] == {}
            and account["first_at"].startswith("2026-04-01T")
        )
        assert (
            set(found["prices"]) == {"source", "as_of", "sha256"}
            and len(found["prices"]["sha256"]) == 64
        )
        assert (
            found["sections"]["variance"] == "shown" and "outcomes" in found["sections"]["quality"]
        )
        assert (
            abs(
                sum(row["usd"] for row in found["variance"])
                - (found["spend_usd"] - found["before_usd"])
            )
            < 1e-6
        )

    def test_the_spend_is_that_of_pricing_row_by_row(self, synthetic):
        requests, _ = synthetic_quarters()
        now = requests[requests["at"] >= "2026-07-01"]
        priced = tl.price(now, tl.load_prices("maintained"), price_on="at")["cost_usd"].sum()
        assert summary_of(synthetic[0])["spend_usd"] == pytest.approx(priced, rel=1e-9)

    def test_it_is_labelled_as_simulated_on_the_first_page(self, synthetic, attacked):
        assert "Simulated usage" in first_page(soup_of(synthetic[0]))
        assert "Simulated usage" not in first_page(soup_of(attacked))


class TestFindings:
    """What the generator planted, by its own constants."""

    def test_leak_cache_break_and_spike_are_events_on_their_days(self, synthetic):
        events = pd.DataFrame(summary_of(synthetic[0])["events"])
        starts = events.assign(start=events["start"].str[:10]).set_index(["over", "name"])["start"]
        assert starts["team", "staging"] == LEAK_START
        assert starts["cache", "claude-sonnet-4-6"] == CACHE_BREAK
        assert starts["team", "platform"] == SPIKE

    def test_the_price_change_is_dated_and_cheaper(self, synthetic):
        changes = pd.DataFrame(summary_of(synthetic[0])["price_changes"])
        row = changes[changes["model_id"] == "gpt-5.6-terra"].iloc[0]
        assert row["on"][:10] == PRICE_CHANGE and row["effect_usd"] / row[
            "before_usd"
        ] == pytest.approx(-0.2)

    def test_leak_and_cache_are_the_first_two_decisions(self, synthetic):
        found = summary_of(synthetic[0])["decisions"]
        assert [(d["kind"], d["team"] or d["model_id"]) for d in found[:2]] == [
            ("stop", "staging"),
            ("cache", "claude-sonnet-4-6"),
        ]
        page = first_page(soup_of(synthetic[0]))
        assert (
            "Stop the calls of staging" in page
            and "Repair the prompt cache of customer support on claude-sonnet-4-6" in page
        )


class TestLogs:
    def test_a_litellm_log_by_arithmetic(self, attacked):
        found = summary_of(attacked)
        assert found["spend_usd"] == pytest.approx(92 * 3 * EACH_USD, rel=1e-9)
        assert found["before_usd"] == pytest.approx(91 * 3 * EACH_USD, rel=1e-9)
        assert sum(row["billed_usd"] for row in found["reconciliation"]) == pytest.approx(
            92 * 3 * 2 * EACH_USD
        )
        assert (
            found["files_read"][0]["format"] == "litellm"
            and found["files_read"][0]["file"] == "spend.jsonl"
        )

    def test_what_cannot_be_priced_is_named_on_the_first_page(self, attacked):
        found, page = summary_of(attacked), first_page(soup_of(attacked))
        assert found["account"]["unknown_models"] == {ATTACK: 7}
        assert "7 could not be priced and are in no figure" in page and ATTACK in page

    def test_names_with_markup_show_as_text(self, attacked):
        soup = soup_of(attacked)
        cells = [cell.get_text() for cell in soup("td")]
        assert MARKUP in cells and ATTACK in cells
        assert MARKUP in first_page(soup)  # in a sentence as well: the largest change by team
        assert (
            not soup("img", src="x")
            and not soup("a", href="http://evil.example")
            and not soup("math")
        )
        assert not [tag for tag in soup(True) if any(name.startswith("on") for name in tag.attrs)]
        notebook = nbformat.read(attacked / "report.ipynb", as_version=4)
        outputs = [
            o.data
            for c in notebook.cells
            if c.cell_type == "code"
            for o in c.outputs
            if "data" in o
        ]
        shown = "".join(
            str(data.get(kind, "")) for data in outputs for kind in ("text/html", "text/markdown")
        )
        assert (
            not re.search(
                r"(?<!\\)<(script|img src=x)", shown
            )  # in Markdown a backslash makes it text
            and ATTACK in json.dumps([d.get("text/plain") for d in outputs])
        )

    def test_quality_has_the_wilson_interval(self, attacked):
        row = summary_of(attacked)["quality"][0]
        assert (row["score"], round(row["low"], 4), round(row["high"], 4)) == (
            0.85,
            0.7093,
            0.9294,
        )  # Wilson: 34 of 40

    def test_the_page_names_what_was_given_not_where_it_lies(self, attacked):
        text = soup_of(attacked).get_text()
        assert str(attacked.parent) not in text and "logs" in text

    def test_a_csv_of_the_requests_table_is_scanned_in_place(self, tmp_path):
        found = prepare(Inputs(quarter="2026Q3", usage_path=str(own_csv(tmp_path / "own.csv"))))
        assert found.read is None and found.quarter.spend_usd == pytest.approx(92 * 2 * (1 + 0.5))
        assert {"users", "cache", "latency", "teams", "quality", "reliability"} <= set(
            found.quarter.missing
        )

    def test_a_csv_with_other_column_names(self, tmp_path):
        table = pd.DataFrame(
            {"when": DAYS, "model": "claude-haiku-4-5", "prompt": 1_000_000, "answer": 0}
        )
        table.to_csv(tmp_path / "theirs.csv", index=False)
        columns = {
            "when": "at",
            "model": "model_id",
            "prompt": "input_tokens",
            "answer": "output_tokens",
        }
        found = prepare(
            Inputs(quarter="2026Q3", usage_path=str(tmp_path / "theirs.csv"), columns=columns)
        )
        assert found.quarter.spend_usd == pytest.approx(92)

    def test_the_last_report_is_measured(self, tmp_path, synthetic):
        last = summary_of(synthetic[0]) | {
            "quarter": "2026Q2",
            "forecast": {"2026Q3": {"usd": 250.0, "low": 200.0, "high": 300.0, "days": 92}},
        }
        (tmp_path / "last.json").write_text(json.dumps(last))
        log = own_csv(tmp_path / "own.csv")
        found = prepare(
            Inputs(
                quarter="2026Q3",
                usage_path=str(log),
                last_summary_path=str(tmp_path / "last.json"),
            )
        ).quarter
        assert found.forecast_error.loc[0, ["forecast_usd", "spend_usd"]].tolist() == pytest.approx(
            [250, 276]
        )

    def test_requests_and_a_report_of_the_same_days_are_not_added(self, tmp_path):
        shutil.copytree(Path(__file__).parents[1] / "data" / "usage", tmp_path / "all")
        with pytest.raises(InputError, match="would count them twice"):
            prepare(Inputs(quarter="2026Q3", usage_path=str(tmp_path / "all")))


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["2026Q7"], "'2026Q7' is not a quarter; write it as '2026Q3'"),
            (["2026"], "'2026' is not a quarter"),
            (
                ["2026Q3", "--usage", "no/logs"],
                "--usage = 'no/logs': no such file or folder (nor one of synthetic",
            ),
            (["2026Q3", "--format", "litelm"], "unknown format 'litelm'; did you mean 'litellm'?"),
            (["2026Q3", "--budget", "much"], "--budget = 'much' is not of type float"),
            (["2026Q3", "--budget", "-5"], "--budget = -5.0 is out of range"),
            (["2026Q3", "--prices", "artcle"], "--prices = 'artcle': no such file"),
            (["2026Q3", "--as-of", "soon"], "'soon' is not a date"),
            (["2026Q3", "--last", "none.json"], "--last = 'none.json': no such file"),
        ],
    )
    def test_a_mistake_is_one_line_and_status_2(
        self, capsys, tmp_path, monkeypatch, arguments, message
    ):
        monkeypatch.chdir(tmp_path)
        assert main(["quarter", *arguments, "--out", "out"]) == 2
        out, error = capsys.readouterr()
        assert out == "" and error.startswith(f"tierlab: {message}") and error.count("\n") == 1
        assert not (tmp_path / "out").exists()

    def test_a_quarter_without_usage_is_found_late_and_is_still_a_mistake(self, tmp_path):
        log = own_csv(tmp_path / "own.csv")
        OutputFolder(tmp_path / "out").write("report.html", "an old report")
        done = command("2027Q1", "--usage", log, "--out", "out", cwd=tmp_path)
        assert (
            done.returncode == 2
            and done.stderr.splitlines()[-1]
            == "tierlab: no spend in 2027Q1; the log holds 2026Q2, 2026Q3"
        )
        found = summary_of(tmp_path / "out")
        assert found["state"] == "bad input" and found["error"].startswith("no spend in 2027Q1")
        assert not (tmp_path / "out" / "report.html").exists()

    @pytest.mark.parametrize(
        ("row", "why"),
        [
            ("prod-chat,1000", "1 row (unknown model, prod-chat)"),
            ("gpt-5.5,1.2k", "1 row (not a number)"),
        ],
    )
    def test_a_log_of_which_nothing_is_left_says_why(self, tmp_path, row, why):
        head = "at,model_id,uncached_input_tokens,output_tokens"
        (tmp_path / "own.csv").write_text(f"{head}\n2026-09-01T10:00:00,{row},100\n")
        usage = tl.read_usage(tmp_path / "own.csv")
        prices = tl.load_prices("maintained", as_of="2026-11-23")
        cube = tl.build_cube(usage.requests, prices)
        said = f"no spend in 2026Q3; the log holds nothing that has a price; set aside are {why}"
        with pytest.raises(ValueError) as error:
            tl.analyse(cube, prices, "2026Q3", unread=usage.account.set_aside)
        assert str(error.value) == said

    def test_a_notebook_that_fails_is_status_1_and_says_so(self, tmp_path, monkeypatch, capsys):
        folder = tmp_path / "notebooks"
        folder.mkdir()
        broken = nbformat.read(paths.NOTEBOOKS / "90_quarterly_report.ipynb", as_version=4)
        broken.cells = [
            cell for cell in broken.cells if "parameters" in cell.metadata.get("tags", [])
        ]
        broken.cells.append(nbformat.v4.new_code_cell("1 / 0"))
        nbformat.write(broken, folder / "90_quarterly_report.ipynb")
        monkeypatch.setattr(paths, "NOTEBOOKS", folder)
        assert main(["quarter", "2026Q3", "--out", str(tmp_path / "out"), "--no-pdf"]) == 1
        assert "ZeroDivisionError" in capsys.readouterr().err
        found = summary_of(tmp_path / "out")
        assert found["state"] == "notebook failed" and "ZeroDivisionError" in found["error"]

    def test_without_chromium_the_report_is_there_and_says_how(self, tmp_path, monkeypatch):
        monkeypatch.setattr(run, "BROWSERS", ("no-such-browser",))
        assert run.print_pdf(tmp_path / "x.html", tmp_path / "x.pdf") == run.NO_BROWSER

    def test_help_teaches(self, capsys):
        assert main(["quarter", "--help"]) == 0
        text = " ".join(capsys.readouterr().out.split())
        assert "examples: tierlab quarter 2026Q3" in text and "Exit status: 0 done, 1" in text


class TestPapermill:
    def test_plain_papermill_from_another_folder_with_texts_and_a_log_of_few_columns(
        self, tmp_path
    ):
        own_csv(tmp_path / "own.csv")
        notebook = paths.NOTEBOOKS / "90_quarterly_report.ipynb"
        words = [
            "-r",
            "quarter",
            "2026Q3",
            "-r",
            "usage_path",
            "own.csv",
            "-r",
            "budget_usd",
            "300",
            "-p",
            "summary_path",
            "s.json",
        ]
        line = [
            sys.executable,
            "-m",
            "papermill",
            str(notebook),
            "out.ipynb",
            *words,
            "--no-progress-bar",
        ]
        done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert "unknown parameter" not in done.stderr
        found = json.loads((tmp_path / "s.json").read_text())
        assert found["budget_usd"] == 300 and found["spend_usd"] == pytest.approx(276)
        # And on its page a section without its column says which.
        page, _ = pages_page.page(nbformat.read(tmp_path / "out.ipynb", as_version=4), stem="out")
        text = BeautifulSoup(page, "html.parser").get_text()
        for column in (
            "the team",
            "the task",
            "the user",
            "how each request ended",
            "the tokens read from a cache",
            "the seconds to the first token or the seconds to the whole answer",
            "what each request was billed",
        ):
            assert f"Needs {column} in the log" in text, column

    def test_a_relative_path_is_found_from_the_shells_folder(self, tmp_path, monkeypatch):
        own_csv(tmp_path / "own.csv")
        (tmp_path / "inner").mkdir()
        monkeypatch.setenv("PWD", str(tmp_path))
        monkeypatch.chdir(tmp_path / "inner")
        assert Inputs(usage_path="own.csv").checked().usage_path == str(tmp_path / "own.csv")
        assert Inputs(usage_path="*.csv").checked().usage_path == str(tmp_path / "*.csv")


@given(st.text(alphabet=st.sampled_from("ab<>*_`$[]()!&#\\~|:/@.-\"' 1+=\n"), max_size=30))
def test_an_escaped_name_comes_back_as_it_was(name):
    page = MarkdownWithMath(renderer=_Renderer(escape=False)).render(f"x{in_markdown(name)}x")
    soup = BeautifulSoup(page, "html.parser")
    assert soup.get_text().strip() == f"x{' '.join(name.split())}x"
    assert {tag.name for tag in soup(True)} <= {"p", "span"}


class TestTraces:
    def test_a_trace_gets_a_clock_and_a_lineup(self):
        at = pd.Timestamp("2023-11-16") + pd.to_timedelta(range(10), unit="min")
        trace = pd.DataFrame(
            {"at": at, "uncached_input_tokens": range(10, 110, 10), "output_tokens": 5}
        )
        found = as_quarter(trace, tl.load_prices("maintained"), "2026Q3")
        assert found["model_id"].tolist() == ["claude-haiku-4-5"] * 6 + [
            "claude-sonnet-4-6"
        ] * 3 + ["claude-opus-4-8"]
        assert (found["at"].iloc[0], found["at"].iloc[-1]) == (
            pd.Timestamp("2026-07-01"),
            pd.Timestamp("2026-09-30 23:59:59"),
        )
        assert (
            found["at"].diff().dropna().nunique() <= 2
        )  # even steps stay even, to the microsecond

    @pytest.mark.skipif(
        not DATASETS_HERE, reason="TIERLAB_DATA_DIR is not set: the public data sets are not here"
    )
    @pytest.mark.parametrize("name", ["azure_conv", "azure_code", "mooncake_conv"])
    def test_public_traces_go_through_the_report(self, name):
        found = prepare(Inputs(quarter="2026Q3", usage_path=name))
        requests = as_quarter(tl.load_requests(name), tl.load_prices("maintained"), "2026Q3")
        assert found.quarter.spend_usd == pytest.approx(
            tl.price(requests, tl.load_prices("maintained"), price_on="at")["cost_usd"].sum(),
            rel=1e-9,
        )
        assert found.cube.account.rows_priced == len(
            requests
        ) and found.quarter.last_day == pd.Timestamp("2026-09-30")
        assert {"variance", "users", "teams", "tasks", "latency", "reliability", "cache"} <= set(
            found.quarter.missing
        )
        assert report.summarise(found)["usage"] == "trace"
        assert "Not your usage" in quarter_words.coverage_said(found)


@needs_browser
class TestBrowser:
    @staticmethod
    def opened(page, folder):
        """The page after its script has run, what it logged, and every address that the page asked for."""
        log = folder / "net.json"
        own = [
            f"--user-data-dir={folder / 'profile'}",
            f"--log-net-log={log}",
            "--enable-logging=stderr",
            "--dump-dom",
        ]
        line = [run.find_browser(), *run.BROWSER_FLAGS, *own, page.resolve().as_uri()]
        done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=True)
        text = log.read_text("utf-8")
        events = json.loads(
            text if text.rstrip().endswith("}") else text.rstrip().rstrip(",") + "]}"
        )["events"]
        requests = [
            event["params"]
            for event in events
            if {"url", "initiator"} <= set(event.get("params") or ())
        ]
        # "not an origin" asks for the browser itself, its updates and the file that the command line names.
        asked = {request["url"] for request in requests if request["initiator"] != "not an origin"}
        return (
            BeautifulSoup(done.stdout, "html.parser"),
            [x for x in done.stderr.splitlines() if "CONSOLE" in x],
            asked,
        )

    def test_nothing_is_asked_for_and_nothing_is_logged(self, attacked, tmp_path):
        soup, console, asked = self.opened(attacked / "report.html", tmp_path)
        assert (
            soup.find("button", class_="csv") and ATTACK in soup.get_text()
        )  # the page's own script ran, the name's did not
        assert console == []
        assert not [url for url in asked if not url.startswith("data:")]
        assert all(image.get("alt") for image in soup("img"))

    def test_this_test_would_notice(self, tmp_path):
        page = tmp_path / "bad.html"
        page.write_text(
            "<script>console.error('loud')</script><img src='http://127.0.0.1:9/pixel.png'>"
        )
        _, console, asked = self.opened(page, tmp_path)
        assert any("loud" in line for line in console) and "http://127.0.0.1:9/pixel.png" in asked

    def test_the_pdf_is_one_and_its_first_page_is_the_verdict(self, synthetic):
        pdf = synthetic[0] / "report.pdf"
        assert pdf.read_bytes().startswith(b"%PDF-") and pdf.stat().st_size > 50_000
        if shutil.which("pdftotext") is None:
            pytest.skip("pdftotext (poppler-utils) is not here to read the PDF")
        text = subprocess.run(
            ["pdftotext", "-l", "1", pdf, "-"], capture_output=True, text=True, check=True
        ).stdout
        assert (
            "2026Q3 cost $649" in text
            and "Stop the calls of staging" in text
            and "day by day" not in text
        )


def test_a_cell_marked_for_the_notebook_alone_is_not_on_the_page():
    cell = nbformat.v4.new_markdown_cell("not here", metadata={"tags": ["remove-cell"]})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Q?\n\nhere"), cell])
    text, _ = pages_page.page(notebook, stem="x")
    assert "here" in text and "not here" not in text


def test_the_notebook_declares_what_the_inputs_are():
    notebook = paths.NOTEBOOKS / "90_quarterly_report.ipynb"
    found = {name: parameter.default for name, parameter in declared(notebook).items()}
    assert found.pop("summary_path") == ""
    assert found == vars(Inputs())
