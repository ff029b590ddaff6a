"""Decision records: what is filed is read back, is harmless, and is judged again by the same arithmetic."""

import datetime
import subprocess
import sys

import pandas as pd
import pytest
import yaml

import tierlab as tl
from tierlab.record import Record, file_record, load_record, workload_of
from tierlab.reviewing import review

JUNE = tl.load_prices("maintained", as_of="2026-06-12")
RATES = {"small": 0.10, "mid": 0.06, "flagship": 0.05}


def decide(**asked):
    usual = {"task": "customer_support", "error_cost_usd": 0.2, "provider": "anthropic", "prices": JUNE, "error_rates": RATES}
    return tl.recommend(**(usual | {"workload": tl.Workload(requests_per_day=10_000)} | asked))


@pytest.fixture
def filed(tmp_path):
    return file_record(decide(), tmp_path / "support.md", title="Support chatbot", owner="Ana")


class TestRecord:
    def test_what_is_filed_is_read_back(self, filed):
        record = load_record(filed)
        assert (record.model_id, record.tier, record.task, record.owner) == (
            "claude-sonnet-4-6",
            "mid",
            "customer_support",
            "Ana",
        )
        assert (record.decided_on, record.review_on) == (datetime.date(2026, 6, 12), datetime.date(2026, 12, 12))
        assert record.error_cost_usd == 0.2 and record.basis == "given"
        rates = {row["tier"]: row["error_rate"] for row in record.candidates}
        assert rates == RATES
        # 500 x 3 + 300 x 15 over a million, and 6% of 20 cents
        sonnet = next(row for row in record.candidates if row["tier"] == "mid")
        assert sonnet["price_usd"] == pytest.approx(0.006) and sonnet["expected_usd"] == pytest.approx(0.006 + 0.06 * 0.2)

    def test_it_is_markdown_with_the_sections_of_a_decision_record(self, filed):
        text = filed.read_text("utf-8")
        for head in ("# Support chatbot", "## Context", "## Options", "## Decision", "## What would change it", "## Checklist"):
            assert f"\n{head}\n" in text
        assert (
            "| claude-sonnet-4-6 | mid | $0.0060 |" in text and "[x] Say what an error costs" in text and "[ ] Run 50" in text
        )

    @pytest.mark.parametrize(
        "shape",
        [{}, {"cache_hit_rate": 0.5, "cache_ttl": "5m"}, {"input_tokens": (400, 600)}, {"turns": 3, "batch_share": 0.2}],
    )
    def test_the_workload_comes_back_as_it_was(self, tmp_path, shape):
        workload = tl.Workload(requests_per_day=50, **shape)
        record = load_record(file_record(decide(workload=workload), tmp_path, title="x"))
        assert workload_of(record) == workload

    def test_a_table_of_requests_is_filed_as_its_means_and_says_so(self, tmp_path):
        table = pd.DataFrame({"uncached_input_tokens": [100, 300], "output_tokens": [10, 30]})
        record = load_record(file_record(decide(workload=tl.Workload(requests_per_day=5, table=table)), tmp_path, title="x"))
        assert record.workload["input_tokens"] == 200 and record.workload["output_tokens"] == 20
        assert any("mean of a table of 2 requests" in line for line in record.grounds)

    def test_a_folder_takes_the_date_and_the_title(self, tmp_path):
        assert file_record(decide(), tmp_path, title="Büro: what now?").name == "2026-06-12-b-ro-what-now.md"

    def test_a_file_that_is_there_is_kept(self, filed):
        with pytest.raises(FileExistsError, match="replace=True"):
            file_record(decide(), filed, title="other")
        assert load_record(filed).title == "Support chatbot"
        file_record(decide(), filed, title="other", replace=True)
        assert load_record(filed).title == "other"

    def test_words_of_others_are_data(self, tmp_path):
        nasty = "x\n---\nkind: other <script>alert(1)</script> | `rm`"
        path = file_record(decide(), tmp_path / "a.md", title=nasty, owner="[a](javascript:1)", notes="# not a head\n<b>")
        record, text = load_record(path), path.read_text("utf-8")
        assert record.title == " ".join(nasty.split())
        body = text.split("\n---\n", 1)[1]
        assert "<script>" not in body and "\\<script\\>" in body and "\n# not a head" not in body and "[a](" not in body

    def test_a_decision_needs_a_title(self, tmp_path):
        with pytest.raises(ValueError, match="title"):
            file_record(decide(), tmp_path, title="  ")

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (lambda head: head.pop("error_cost_usd"), "'error_cost_usd' is missing"),
            (lambda head: head.update(error_cost="x"), "did you mean 'error_cost_usd'"),
            (lambda head: head.update(error_cost_usd="much"), "error_cost_usd = 'much'; float is needed"),
            (lambda head: head.update(model_id="gpt-4o"), "'gpt-4o' is not among the candidates"),
            (lambda head: head["workload"].update(reqests_per_day=1), "did you mean 'requests_per_day'"),
            (lambda head: head["candidates"][0].pop("error_rate"), "each candidate has the fields"),
            (lambda head: head.update(kind="other"), "the head has no line 'kind"),
        ],
    )
    def test_a_broken_head_names_file_and_field(self, filed, change, says):
        _, head, body = filed.read_text("utf-8").split("---\n", 2)
        head = yaml.safe_load(head)
        change(head)
        filed.write_text(f"---\n{yaml.safe_dump(head)}---\n{body}", "utf-8")
        with pytest.raises(ValueError, match=r"support\.md") as caught:
            load_record(filed)
        assert says in str(caught.value)

    def test_a_text_without_head_is_no_record(self, tmp_path):
        (tmp_path / "a.md").write_text("# hello\n", "utf-8")
        with pytest.raises(ValueError, match="no YAML head"):
            load_record(tmp_path / "a.md")


class TestReview:
    def test_new_models_flip_it_by_the_difference_of_their_prices(self, filed):
        found = review(filed, prices=tl.load_prices("maintained", as_of="2026-11-23"))
        # Sonnet 4.6 costs 3 / 15, Sonnet 5.5 2 / 10: 0.006 and 0.004 a request; both err in 6%, at 20 cents.
        assert not found.stands and found.money.at["best", "model_id"] == "claude-sonnet-5-5"
        saved = 10_000 * (0.006 - 0.004)
        assert found.money.at["kept", "expected_usd"] - found.money.at["best", "expected_usd"] == pytest.approx(saved)
        assert f"${saved:,.2f} a day" in found.verdict and set(found.changes["kind"]) == {"new"}
        assert sum("error rate that the record has" in line for line in found.grounds) == 3

    def test_on_the_same_day_nothing_changed(self, filed):
        found = review(filed, prices=JUNE)
        assert found.stands and found.changes.empty and "as much as when it was filed" in found.verdict
        assert found.money.loc["kept", "expected_usd"] == pytest.approx(found.money.loc["decided", "expected_usd"])

    def test_a_price_change_is_named_with_both_prices(self, filed, tmp_path):
        rows = pd.DataFrame({"model_id": ["claude-haiku-4-5", "claude-sonnet-4-6", "claude-opus-4-8"], "provider": "anthropic",
                             "tier": ["small", "mid", "flagship"], "valid_from": "2026-07-01", "context_above": 0,
                             "uncached_input": [1.0, 6.0, 5.0], "output": [5.0, 30.0, 25.0]})  # fmt: skip
        rows.to_csv(tmp_path / "p.csv", index=False)
        found = review(filed, prices=tl.load_prices(tmp_path / "p.csv", as_of="2026-07-02"))
        change = found.changes.query("kind == 'price'")
        assert change["model_id"].tolist() == ["claude-sonnet-4-6"]  # twice as dear: 0.012 a request
        assert change[["before_usd", "after_usd"]].iloc[0].tolist() == pytest.approx([0.006, 0.012])
        # 0.012 + 6% of 20 cents is 0.024 now; Opus is 0.010 + 5% of it, 0.020.
        assert not found.stands and found.money.at["best", "model_id"] == "claude-opus-4-8"

    def test_a_model_that_retired_cannot_stand(self, tmp_path):
        found = decide(provider=None, models=["o4-mini", "gpt-5.5"], error_rates={"o4-mini": 0.05, "gpt-5.5": 0.05})
        path = file_record(found, tmp_path, title="x")
        judged = review(path, prices=tl.load_prices("maintained", as_of="2026-11-23"))
        assert not judged.stands and "retired on 2026-10-23" in judged.verdict
        assert "retired on 2026-10-23" in judged.changes.query("kind == 'retired'")["what"].iloc[0]

    def test_a_model_that_will_retire_is_named_with_its_day(self, tmp_path):
        path = file_record(decide(provider="openai"), tmp_path, title="x")
        changes = review(path, prices=tl.load_prices("maintained", as_of="2026-11-23")).changes
        assert "retires on 2027-01-14" in changes.set_index(["model_id", "kind"]).at[("gpt-4o", "retires"), "what"]

    def test_prices_before_the_decision_are_refused(self, filed):
        with pytest.raises(ValueError, match="before the decision of 2026-06-12"):
            review(filed, prices=tl.load_prices("maintained", as_of="2026-06-11"))

    def test_a_record_in_memory_will_do(self, filed):
        assert isinstance(load_record(filed), Record) and review(load_record(filed), prices=JUNE).stands


def run(*arguments):
    return subprocess.run([sys.executable, "-m", "tierlab", *map(str, arguments)], capture_output=True, text=True, check=False)


class TestCommands:
    def test_recommend_files_what_review_judges(self, tmp_path):
        path = tmp_path / "triage.md"
        asked = [
            "recommend",
            "contract triage",
            "--stakes",
            2,
            "--complexity",
            1,
            "--error-cost-usd",
            5,
            "--as-of",
            "2026-06-12",
        ]
        done = run(*asked, "--provider", "openai", "--count", "mid", 2, 80, "--file", path, "--owner", "Ana")
        assert done.returncode == 0, done.stderr
        assert str(path) in done.stdout and "What would change it" in done.stdout
        record = load_record(path)
        assert (record.task, record.owner, record.basis, record.examples) == ("contract triage", "Ana", "counted", 80)
        done = run("review", path, "--as-of", "2026-11-23")
        assert done.returncode == int("flips" in done.stdout or "cannot stand" in done.stdout) and "gpt-6-luna" in done.stdout

    def test_a_mistake_is_one_line_and_exit_status_2(self, tmp_path):
        done = run("recommend", "code_revew")
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and "did you mean 'code_review'" in done.stderr
        done = run("review", tmp_path / "nothing.md")
        assert done.returncode == 2 and "nothing.md" in done.stderr
