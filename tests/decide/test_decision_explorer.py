"""The checklist shows the numbers that arithmetic gives; the figures of the decision draw them."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tests.decide.decisions import recommend
from tierlab.decide import control
from tierlab.decide import control as decide_control
from tierlab.decide import figures as decide_figures
from tierlab.decide.checklist import CHECKLIST
from tierlab.decide.record import load_record


def shown(explorer):
    """The control's table as a reader sees it: first column -> row."""
    rows = re.findall(r"<tr>(.*?)</tr>", explorer.text.value, re.DOTALL)
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in rows]
    return {row[0]: row[1:] for row in cells if row}


def move(explorer, **values):
    for name, value in values.items():
        explorer.controls[name].value = value


class TestChecklist:
    @pytest.fixture
    def explorer(self, maintained, tmp_path):
        return decide_control.DecisionChecklist(
            maintained, folder=tmp_path, decided_on="2026-11-23"
        )

    def test_it_has_the_articles_seven_steps_in_order(self, explorer):
        titles = [explorer.steps.get_title(i) for i in range(7)]
        assert titles[:-1] == [f"{i}. {text}" for i, text in enumerate(CHECKLIST[:-1], 1)]
        assert titles[-1] == "7. File the decision, and look again after six months"
        inside = {control for page in explorer.steps.children for control in page.children}
        assert set(explorer.controls.values()) <= inside

    def test_it_starts_with_the_running_product(self, explorer, maintained):
        product = tl.load_product()
        found = recommend(
            task=product.task,
            error_cost_usd=product.error_cost_usd,
            prices=maintained,
            provider="anthropic",
        )
        day = found.table["expected_usd"].iloc[0] * product.requests_per_day
        assert f"{found.tier}: {found.model_id}" in explorer.headline.value
        assert f"{tl.usd(day)} a day" in explorer.headline.value

    def test_the_button_leads_through_the_steps(self, explorer):
        button = explorer.box.children[1]
        seen = [explorer.steps.selected_index]
        for _ in range(7):
            button.click()
            seen.append(explorer.steps.selected_index)
        assert seen == [0, 1, 2, 3, 4, 5, 6, 6] and button.disabled

    def test_it_says_what_recommend_says(self, explorer, maintained):
        move(
            explorer,
            task=control.OWN,
            stakes=1,
            complexity=3,
            requests_per_day=1_000,
            error_usd=0.05,
            mid_examples=80,
            mid_wrong=20,
            batch_share=0.5,
        )
        workload = tl.Workload(requests_per_day=1_000, batch_share=0.5)
        explorer.name.value = "contract triage"
        wanted = recommend(
            task="contract triage",
            stakes=1,
            complexity=3,
            error_cost_usd=0.05,
            workload=workload,
            prices=maintained,
            provider="anthropic",
            error_counts={"mid": (20, 80)},
        )
        assert wanted.reason in explorer.summary and wanted.next_step in explorer.summary
        assert shown(explorer)[wanted.model_id][0] == wanted.tier

    def test_the_last_step_files_the_record(self, explorer, tmp_path):
        move(explorer, task="code_review", requests_per_day=5_000)
        explorer.title.value, explorer.owner.value = "Review bot", "Ana"
        explorer.button.click()
        (path,) = tmp_path.glob("*.md")
        record = load_record(path)
        assert (record.title, record.owner, record.task) == ("Review bot", "Ana", "code_review")
        assert record.workload["requests_per_day"] == 5_000 and path.name in explorer.filed.value
        explorer.button.click()
        assert 'role="alert"' in explorer.filed.value and "exists already" in explorer.filed.value
        explorer.replace.value = True
        explorer.button.click()
        assert 'role="status"' in explorer.filed.value and len(list(tmp_path.glob("*.md"))) == 1

    def test_the_choice_stands_in_one_line_above_the_figure(self, explorer):
        move(explorer, requests_per_day=3_000, input_tokens=1_200, output_tokens=250, error_usd=4.0)
        best = explorer.found.table.iloc[0]
        # Opus 5.5 at 4 and 20 USD a million: 1,200 and 250 tokens, and 5% of 4 USD
        assert best["expected_usd"] == pytest.approx(0.0048 + 0.005 + 0.05 * 4)
        assert "claude-opus-5-5, $0.21 a request in total, $629 a day" in explorer.headline.value
        assert "as of 2026-11-23" in explorer.summary

    @pytest.mark.parametrize(
        ("moves", "says"),
        [
            (
                {"provider": "all", "mid_examples": 80, "mid_wrong": 6},
                "choose a provider in step 1",
            ),
            ({"mid_examples": 80, "mid_wrong": 90}, "mid: 90 wrong answers of 80 examples"),
        ],
    )
    def test_a_mistake_is_said_in_the_words_of_the_form(self, explorer, moves, says):
        move(explorer, **moves)
        assert (
            says in explorer.summary
            and "Error" not in explorer.summary
            and not explorer.headline.value
        )

    def test_nothing_is_filed_without_a_title_or_with_a_mistake_in_the_form(
        self, explorer, tmp_path
    ):
        explorer.button.click()
        assert "needs a title" in explorer.filed.value
        explorer.title.value = "x"
        move(explorer, mid_wrong=3)
        assert "3 wrong answers of 0 examples" in explorer.summary and not explorer.image.value
        explorer.button.click()
        assert "3 wrong answers of 0 examples" in explorer.filed.value and not list(
            tmp_path.iterdir()
        )

    def test_a_title_is_shown_as_text(self, explorer):
        explorer.title.value = "<script>alert(1)</script>"
        explorer.button.click()
        assert "<script>" not in explorer.filed.value


class TestFigures:
    def test_bars_are_as_long_as_the_sum(self, article):
        table = tl.recommend(
            task="customer_support", error_cost_usd=0.1, prices=article, provider="anthropic"
        ).table
        ax = decide_figures.expected_costs(table)
        ends = sorted({round(bar.get_x() + bar.get_width(), 6) for bar in ax.patches})
        assert {13.0, 14.0, 15.0} <= set(ends)
        label = {
            row: text.get_text().split()[0]
            for row, text in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True)
        }
        whiskers = {
            label[y]: (low, high) for (low, y), (high, _) in ax.collections[0].get_segments()
        }
        for model in table.itertuples():
            assert whiskers[model.model_id] == pytest.approx((1000 * model.low, 1000 * model.high))
        assert (
            "USD per 1,000 requests" in ax.get_xlabel() and "90% of 1,000 draws" in ax.get_xlabel()
        )
        plt.close("all")

    def test_a_model_out_of_the_running_says_why(self, article):
        table = tl.recommend(
            task="customer_support", error_cost_usd=0.1, prices=article, provider="anthropic"
        ).table
        table.loc[2, ["expected_usd", "low", "high"]] = np.nan
        table.loc[2, "note"] = "retired on 2026-10-23"
        ax = decide_figures.expected_costs(table)
        assert "retired on 2026-10-23" in [text.get_text() for text in ax.texts]
        plt.close("all")

    def test_a_missing_column_is_named(self):
        with pytest.raises(ValueError, match="expected_costs needs a column 'provider'"):
            decide_figures.expected_costs(pd.DataFrame({"tier": ["mid"]}))
