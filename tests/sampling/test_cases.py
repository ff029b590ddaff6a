"""Cases of notebook 05: what is read of a file, what is said of it, and the simulated case of the kit."""

import re
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tierlab.routing.simulated import default_tasks
from tierlab.sampling import cases

OWN = str(Path(__file__).parents[1] / "data" / "own_samples.csv")


def table(small, large=1.0, n=40, **more):
    """Two models on n examples; the scores of each as one number or as a list."""
    rows = {"prompt_id": [*range(n)] * 2, "model_id": ["small"] * n + ["large"] * n}
    score = np.r_[np.broadcast_to(small, n), np.broadcast_to(large, n)]
    costs = [0.001] * n + [0.01] * n
    return pd.DataFrame(rows | {"score": score, "cost_usd": costs} | more)


def said(answers, margin=0.1, error_cost_usd=0.0):
    case = cases.case_of("own", answers)
    return cases.answer(case, case.compared.at(margin, error_cost_usd=error_cost_usd))


class TestReading:
    def test_the_most_expensive_model_is_the_reference(self):
        (case,) = cases.read_cases(OWN)
        assert (case.reference, case.challenger) == ("own-large", "own-small")
        assert "the most expensive at $0.004 an answer" in cases.about(case)

    def test_another_may_be_named(self):
        (case,) = cases.read_cases(OWN, reference="own-small")
        assert (case.reference, case.challenger) == ("own-small", "own-large")
        assert "own-small (as you chose" in cases.about(case)
        with pytest.raises(ValueError, match="'own-smal'"):
            cases.read_cases(OWN, reference="own-smal")

    def test_a_file_with_three_columns_will_do(self):
        case = cases.case_of("own", table(1.0)[["prompt_id", "model_id", "score"]])
        assert case.reference == "small"
        assert "the first of the models, since not every cost is known" in cases.about(case)
        found = case.compared.at(0.1, error_cost_usd=0.1)
        assert cases.answer_rows(case, found)["1,000 requests"].tolist() == ["not known"] * 2
        stopped = {"own": cases.stops(case, 0.1)}
        assert cases.stop_rows([case], stopped)["spent on all candidates"].tolist() == [
            "an unknown amount"
        ]
        assert "nan" not in cases.stop_words([case], stopped)
        assert cases.asking(case, tl.load_prices("maintained", as_of="2026-11-23")).empty

    def test_one_model_is_none_to_compare(self):
        with pytest.raises(ValueError, match="all answers are of 'large'"):
            cases.case_of("own", table(1.0).query("model_id == 'large'"))

    def test_time_is_money_where_tokens_have_no_price(self):
        answers = table(1.0, end_to_end_s=36.0, provenance="given price: 0 / 0 USD per Mtok")
        case = cases.case_of("own", answers, machine_usd_per_hour=0.5)
        assert case.answers["cost_usd"].tolist() == pytest.approx([0.005] * 80)


class TestAnswer:
    def test_yes_no_and_not_yet(self):
        assert said(table(1.0)) == "Yes on own: small is good enough in place of large"
        assert said(table(0.0)) == "No on own: small does not come within 10 points of large"
        open_ = table([0.0] * 4 + [1.0] * 36)
        assert said(open_) == (
            "Not decided on own: 40 examples leave open whether small can replace large"
        )

    def test_good_enough_and_yet_not_cheaper(self):
        """One error more in 100 costs 0.01 x 5 USD, the price saves 0.009 USD."""
        answers = table([0.0] + [1.0] * 99, n=100)
        assert said(answers).startswith("Yes")
        assert said(answers, error_cost_usd=5.0) == (
            "No on own: small would be good enough, but with errors counted large costs least"
        )

    def test_several_that_fail_are_one_sentence(self):
        tiny = table(0.0).query("model_id == 'small'").assign(model_id="tiny")
        assert said(pd.concat([table(0.0), tiny])) == (
            "No on own: none of the cheaper models comes within 10 points of large"
        )


class TestWrong:
    def test_what_the_challenger_alone_got_wrong_comes_first(self):
        """Small is wrong on every fifth, large on every tenth: on 5, 15, 25 and 35 small alone, on the tenth both."""
        (case,) = cases.read_cases(OWN)
        wrong = cases.wrong_answers(case)
        assert wrong["example"].tolist() == ["5", "15", "25", "35", *["10", "20", "30", "40"] * 2]
        assert wrong["model"].tolist() == ["own-small"] * 8 + ["own-large"] * 4
        assert wrong.attrs["all"] == 12
        assert wrong["answered"].iloc[0] == "no, not for message 5"
        assert "own-small did worse than own-large on 4 of 40 examples" in cases.wrong_words([case])

    def test_long_texts_are_cut_to_their_end(self):
        case = cases.case_of("own", table(0.0, answer="x" * 100 + " the end"))
        shown = cases.wrong_answers(case)["answered"].iloc[0]
        assert shown == "..." + ("x" * 100 + " the end")[-70:]

    def test_every_answer_is_of_one_kind(self):
        answers = table([1.0, 0.5, 0.0, 1.0, 1.0] * 8)
        status = ["ok", "ok", "ok", "truncated", "timeout"] * 8 + ["ok"] * 40
        kinds = cases.kinds(cases.case_of("own", answers.assign(status=status)))
        assert kinds.loc["small"].tolist() == [0.2, 0.2, 0.2, 0.4, 0.0]
        assert kinds.loc["large"].tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]


class TestTasks:
    def test_each_task_is_compared_by_itself(self):
        (case,) = cases.read_cases(OWN)
        tasks = cases.by_task([case], 0.3)
        # Delivery has the even numbers: both are wrong on 10, 20, 30 and 40. Refunds: small on 5, 15, 25, 35.
        assert tasks["difference"].to_dict() == pytest.approx({"delivery": 0.0, "refunds": -0.2})
        assert tasks.loc["refunds", ["own-large", "own-small"]].tolist() == [1.0, 0.8]
        assert cases.task_words(tasks) == (
            "Of 2 tasks, the cheaper model is good enough on 1 and worse on none; undecided: 1 (median 20 examples a task)"
        )

    def test_one_task_is_said_to_be_one(self):
        tasks = cases.by_task([cases.case_of("own", table(0.0))], 0.1)
        assert cases.task_words(tasks) == (
            "Of 1 task, the cheaper model is good enough on none and worse on 1; undecided: none (median 40 examples a task)"
        )


def test_of_ones_own_answers_nothing_is_said_that_is_only_true_of_the_kit():
    (case,) = cases.read_cases(OWN)
    assert cases.cautions([case]) == [] and cases.task_caution([case]) == ""
    assert cases.judged(case) is None and cases.routed(case).empty
    assert cases.judge_words([None]).startswith("No judge is recorded for these answers.")


def test_a_wrong_answer_costs_what_it_costs_the_running_product():
    notebook = nbformat.read(tl.paths.NOTEBOOKS / "05_live_sampling.ipynb", as_version=4)
    product = tl.load_product()
    said = f"A wrong answer costs {tl.usd(product.error_cost_usd)}, as it does the {product.name}"
    assert any(said in str(o) for cell in notebook.cells for o in cell.get("outputs", []))


@pytest.fixture(scope="module")
def kit():
    return cases.read_cases("kit", machine_usd_per_hour=0.05)


class TestKit:
    def test_it_says_yes_once_and_no_once(self, kit):
        heads = [cases.answer(case, case.compared.at(0.1, error_cost_usd=0.1)) for case in kit]
        assert [re.match(r"\w+", head)[0] for head in heads] == ["Yes", "No"]
        assert len(cases.cautions(kit)) == 2

    def test_the_router_uses_both_models_and_falls_back(self, kit):
        log = cases.routed(kit[1])
        assert set(log["model"]) == {kit[1].models[-1], kit[1].reference}
        assert log["reason"].str.startswith("fallback").any()

    def test_the_simulated_case_is_labelled_and_at_the_assumed_rates(self, kit):
        answers = kit[0].answers
        assert set(answers["source"]) == {"simulated"} and "simulated" in cases.about(kit[0])
        assert answers.groupby("model_id").size().tolist() == [200, 200]
        assumed = default_tasks().loc["intent_classification"]
        for tier, rows in answers.groupby("tier"):
            spread = (assumed[tier] * (1 - assumed[tier]) / 200) ** 0.5
            assert rows["score"].mean() == pytest.approx(assumed[tier], abs=3 * spread)
            # 1,500 tokens in on average: $1 a million on Haiku 4.5, $5 on Opus 4.8
            rate = {"small": 1, "flagship": 5}[tier]
            paid = (
                rows["uncached_input_tokens"].sum() * rate + rows["output_tokens"].sum() * 5 * rate
            )
            assert rows["cost_usd"].sum() == pytest.approx(paid / 1e6)

    def test_with_the_true_rates_the_small_tier_costs_least_with_errors_counted(self):
        """$1.50 and $7.50 per 1,000 on the input alone; a point of errors at $0.10 is $1."""
        assumed = default_tasks().loc["intent_classification"]
        assert 1000 * 0.10 * (assumed["flagship"] - assumed["small"]) < 7.50 - 1.50


def test_the_words_of_a_stop_name_what_is_open():
    case = cases.case_of("own", table([0.0] * 4 + [1.0] * 36))
    stopped = {"own": cases.stops(case, 0.1)}
    # 80 answers at 0.001 and 0.01 USD; the question stays open, so all are asked
    assert cases.stop_words([case], stopped) == (
        "Own: still open for small after 40 of 40 examples ($0.44 of $0.44)"
    )
