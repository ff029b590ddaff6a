"""What the quarterly report says in words: nothing kept that has no price, no share of one quarter from another's dollars."""

import json
import re

import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tierlab.cli import main
from tierlab.core.format import usd
from tierlab.quarter import page as report_page
from tierlab.quarter import words as quarter_words
from tierlab.quarter.inputs import InputError, Inputs
from tierlab.quarter.report import prepare

DAYS = pd.date_range("2026-07-01", "2026-09-30")
EACH_USD = (
    0.5 * 5 + 0.1 * 25
)  # a row of `log` on Claude Opus 4.8: 5 and 25 US dollars per million tokens


def log(days=DAYS, model_id="claude-opus-4-8", **columns):
    usual = {
        "at": days,
        "model_id": model_id,
        "uncached_input_tokens": 500_000,
        "output_tokens": 100_000,
    }
    return pd.DataFrame(usual | columns, index=range(len(days)))


def analysed(table, maintained, **options):
    return tl.analyse(tl.build_cube(table, maintained), maintained, "2026Q3", **options)


@pytest.fixture(scope="module")
def synthetic():
    return prepare(Inputs(quarter="2026Q3"))


class TestWithoutAPrice:
    """92 rows of 5 dollars are 460; 10 more are of a model that has no price."""

    def strange(self, **columns):
        return pd.concat(
            [
                log(billed_usd=5.0, task="tickets"),
                log(DAYS[:10], "our-own-model", task="tickets", **columns),
            ]
        )

    def test_its_part_of_the_bill_is_said_and_nothing_is_under_the_budget(self, maintained):
        q = analysed(self.strange(billed_usd=7.0), maintained, budget_usd=1000)
        assert (q.unpriced_rows, q.unpriced_usd) == (10, 70) and q.spend_usd == pytest.approx(
            92 * EACH_USD
        )
        said = tl.headline(q)
        assert (
            "under" not in said
            and "cost at least $530 ($460 priced, and $70 of the bill without a price)" in said
        )
        assert "whether that keeps to the budget of $1,000 is open" in said
        shown = report_page.compared(q).set_index("what")
        assert (
            np.isnan(shown.at["budget", "change_usd"])
            and shown.at["billed, without a price", "usd"] == 70
        )

    def test_what_is_over_the_budget_is_over_it_all_the_same(self, maintained):
        assert "$30 (6%) over the budget of $500" in tl.headline(
            analysed(self.strange(billed_usd=7.0), maintained, budget_usd=500)
        )

    def test_where_nothing_was_billed_for_it_the_budget_is_kept(self, maintained):
        q = analysed(self.strange(billed_usd=0.0), maintained, budget_usd=1000)
        assert "cost $460, $540 (54%) under the budget of $1,000" in tl.headline(q)

    def test_a_log_that_does_not_say_what_was_billed(self, maintained):
        q = analysed(self.strange().drop(columns="billed_usd"), maintained, budget_usd=1000)
        assert q.unpriced_rows == 10 and np.isnan(q.unpriced_usd)
        assert "cost at least $460 (not counting 10 rows without a price)" in tl.headline(q)
        assert "under" not in tl.headline(q)

    @pytest.mark.parametrize(
        ("wrong", "rows"),
        [
            ({"output_tokens": -1}, 10),
            ({"at": pd.NaT}, 10),
            (
                {"uncached_input_tokens": 0, "output_tokens": 0},
                10,
            ),  # paid for something that is not a token
            ({"model_id": "gpt-4o-mini-tts", "batch": True}, 10),  # it has no batch rate
        ],
    )
    def test_whatever_the_reason(self, maintained, wrong, rows):
        table = pd.concat(
            [
                log(billed_usd=5.0, batch=False),
                log(DAYS[:10], billed_usd=7.0, **{"batch": False} | wrong),
            ]
        )
        q = analysed(table, maintained, budget_usd=1000)
        assert (q.unpriced_rows, q.unpriced_usd) == (rows, 70) and "under" not in tl.headline(q)

    def test_the_quarter_before_is_not_this_one(self, maintained):
        before = log(DAYS[:10] - pd.Timedelta(days=60), "our-own-model", billed_usd=7.0)
        q = analysed(pd.concat([log(billed_usd=5.0), before]), maintained, budget_usd=1000)
        assert q.unpriced_rows == 0 and "under the budget" in tl.headline(q)

    def test_a_bill_of_a_provider_without_usage(self, maintained):
        bills = pd.DataFrame({"day": DAYS[:1], "provider": "openai", "usd": [33.0]})
        q = analysed(log(), maintained, budget_usd=1000, billed=bills)
        assert q.unpriced_usd == 33 and "$33 of the bill without a price" in tl.headline(q)

    def test_everything_priced_is_under_the_budget(self, maintained):
        assert "cost $460, $540 (54%) under the budget of $1,000" in tl.headline(
            analysed(log(), maintained, budget_usd=1000)
        )


class TestTasks:
    """`contracts` is a name of the log; the kit calls such a task legal_medical_analysis and asks for a flagship."""

    def table(self):
        return pd.concat([log(task="contracts"), log(task="mail sorting")])

    def test_without_a_map_no_stakes_are_guessed(self, maintained):
        q = analysed(self.table(), maintained)
        moves = q.savings[q.savings["kind"] == "move"]
        assert sorted(moves["task"]) == ["contracts", "mail sorting"] and set(moves["status"]) == {
            "stakes not said"
        }
        assert "move" not in set(q.decisions["kind"])
        said = tl.headline(q)
        assert (
            "nobody has said what a wrong answer costs in contracts, mail sorting" in said
            and "--task contracts NAME" in said
        )
        assert not re.search("legal|high.stakes", said + " ".join(q.savings["what"]))

    def test_with_a_map_the_task_table_decides_and_the_names_stay_the_logs(self, maintained):
        tasks = {"contracts": "legal_medical_analysis", "mail sorting": "intent_classification"}
        q = analysed(self.table(), maintained, terms=tl.Terms(tasks=tasks))
        moves = q.savings[q.savings["kind"] == "move"].set_index("task")
        assert moves["status"].to_dict() == {
            "contracts": "against the task table",
            "mail sorting": "to test",
        }
        assert "mail sorting from claude-opus-4-8" in tl.headline(
            q
        ) and "intent_classification" not in tl.headline(q)

    def test_a_log_without_tasks_guesses_none(self, maintained):
        q = analysed(log(), maintained)
        assert "move" not in set(q.decisions["kind"])
        assert "the log does not say for which task each request was made" in tl.headline(q)

    @pytest.mark.parametrize(
        ("tasks", "message"),
        [
            (
                {"contract": "legal_medical_analysis"},
                "unknown task of the log 'contract'; did you mean 'contracts'?",
            ),
            (
                {"contracts": "legal_analysis"},
                "unknown task 'legal_analysis'; did you mean 'legal_medical_analysis'?",
            ),
        ],
    )
    def test_a_name_that_is_not_there_is_named(self, maintained, tasks, message):
        with pytest.raises(ValueError, match=re.escape(message)):
            analysed(self.table(), maintained, terms=tl.Terms(tasks=tasks))

    def test_the_command_reads_the_map(self, tmp_path, capsys):
        path = tmp_path / "log.csv"
        self.table().to_csv(path, index=False)
        status = main(
            [
                "quarter",
                "2026Q3",
                "--usage",
                str(path),
                "--task",
                "contracts",
                "legal",
                "--out",
                str(tmp_path / "out"),
                "--no-pdf",
            ]
        )
        said = capsys.readouterr().err
        assert status == 2 and "--task = " in said and "unknown task 'legal'" in said
        assert Inputs(tasks={"a": "code_review"}).checked().tasks == {"a": "code_review"}


class TestShares:
    def test_a_share_is_of_the_spend_that_the_decision_concerns(self, synthetic):
        """Staging is a fifth of this quarter's spend; what stopping it saves in the next is not a share of this one."""
        q = synthetic.quarter
        teams = q.teams.set_index("name")
        row = q.decisions[q.decisions["kind"] == "stop"].iloc[0]
        assert row["spend_usd"] == pytest.approx(teams.at["staging", "cost_usd"])
        assert row["spend_share"] == pytest.approx(teams.at["staging", "share"])
        assert not np.isclose(row["usd"] / q.spend_usd, row["spend_share"], rtol=0.05)
        shown = quarter_words.decisions(q)
        whole = ["place", "decision", "usd", "spend_usd", "spend_share", "first"]
        assert list(shown) == [*whole, "sure", "condition", "delay_usd"]
        for record in tl.summary(q)["savings"] + tl.summary(q)["decisions"]:
            assert "share" not in record and record["spend_share"] == pytest.approx(
                record["spend_usd"] / q.spend_usd
            )

    def test_the_least_saving_is_said_in_dollars(self, maintained):
        q = analysed(log(model_id="gpt-6-luna", task="faq_answering"), maintained)
        assert (
            q.savings.empty
            and f"No saving of ${0.005 * q.spend_usd:.2f}" in tl.headline(q)
            and "per cent" not in tl.headline(q)
        )


class TestSentences:
    def test_the_forecast_is_judged_in_one_sentence(self, synthetic):
        text = quarter_words.said(synthetic.quarter, "last forecast")
        row = synthetic.quarter.forecast_error.iloc[0]
        low, high, was, came = (
            usd(row[name]) for name in ("low", "high", "forecast_usd", "spend_usd")
        )
        assert (
            f"A forecast of 2026Q3 made in the same way from 2026Q2 alone would have been {was} ({low} to {high}); it came to {came}, "
            "outside that band." in text
        )

    def test_the_report_of_the_quarter_before_is_named(self, maintained):
        last = {"quarter": "2026Q2", "forecast": {"2026Q3": {"usd": 450, "low": 400, "high": 500}}}
        q = analysed(log(pd.date_range("2026-04-01", "2026-09-30")), maintained, last_summary=last)
        text = quarter_words.said(q, "last forecast")
        assert (
            "The forecast of 2026Q3 (report of 2026Q2) was $450 ($400 to $500); it came to $460, inside that band."
            in text
        )

    def test_a_scheduled_change_is_in_the_forecast_by_its_day(self, maintained):
        table = log(
            pd.date_range("2026-08-01", "2026-11-20"), "gemini-4-argon", task="faq_answering"
        )
        run = tl.analyse(tl.build_cube(table, maintained), maintained, "2026Q4")
        assert "scheduled for gemini-4-argon from 2026-12-01" in quarter_words.said(run, "forecast")

    @pytest.mark.parametrize("rows", [1, 2, 40])
    def test_every_sentence_of_a_small_log_reads(self, maintained, rows):
        """No doubled space, no number beside the wrong form of its noun, no word for expensive of another century."""
        q = analysed(
            log(DAYS[:rows], user="u", task="faq_answering"), maintained, budget_usd=10_000
        )
        without = {"variance": "variance", "reliability": "reliability", "forecast": "forecast"}
        facts = [f for f in quarter_words.SENTENCES if without.get(f) not in q.missing]
        texts = [tl.headline(q), *quarter_words.decisions_said(q)]
        texts += [text for fact in facts if (text := quarter_words.said(q, fact))]
        for text in texts:
            assert (
                "  " not in text
                and text == text.strip()
                and not re.search(r"nan|None|<NA>|\bdear", text)
            ), text
            assert not re.search(r"(?<![\d.,])1 (days|rows|moves|proposals)\b", text), text

    @pytest.mark.parametrize(
        ("quarter", "words"),
        [("2026Q9", "'2026Q9' is not a quarter"), ("autumn", "'autumn' is not a quarter")],
    )
    def test_a_quarter_that_is_none(self, quarter, words):
        with pytest.raises(InputError, match=words):
            prepare(Inputs(quarter=quarter))


def test_the_command_says_what_has_no_price(tmp_path):
    """The whole way: a CSV of our own columns, a budget, a map; headline, page and summary agree."""
    path, out = tmp_path / "log.csv", tmp_path / "out"
    pd.concat(
        [
            log(billed_usd=5.0, task="contracts"),
            log(DAYS[:10], "our-own-model", billed_usd=7.0, task="contracts"),
        ]
    ).to_csv(path, index=False)
    arguments = [
        "quarter",
        "2026Q3",
        "--usage",
        str(path),
        "--budget",
        "1000",
        "--out",
        str(out),
        "--no-pdf",
    ]
    assert main([*arguments, "--task", "contracts", "legal_medical_analysis"]) == 0
    found = json.loads((out / "summary.json").read_text("utf-8"))
    assert (found["unpriced_rows"], found["unpriced_usd"], found["ahead"]) == (10, 70, "2027Q1")
    page = (out / "report.html").read_text("utf-8")
    assert (
        "under the budget" not in found["headline"] + page and "of the bill without a price" in page
    )
    assert {row["status"] for row in found["savings"] if row["kind"] == "move"} == {
        "against the task table"
    }
