"""Runs that stop when they know: guarantees by simulation, and whole runs on recorded answers."""

import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tests.proofs import runs
from tierlab.sampling.until import (
    Decided,
    budget_by_gap,
    first_finding,
    replay_until_decided,
    sample_until_decided,
    simulated_stops,
)

N, MARGIN, ALPHA, BATCH = 200, 0.1, 0.05, 10


def rule(**changes):
    return Decided("large", MARGIN, alpha=ALPHA, batch=BATCH, seed=8, **changes)


@pytest.mark.prove
def test_wrong_findings_are_as_rare_as_stated_and_clear_cases_are_cheap():
    """The truth lies exactly at the margin (the hardest case), and on either side of it."""
    times = runs(2_000)
    known = {"examples": N, "disagreement": 0.2, "runs": times}
    findings, _ = simulated_stops(rule(), -MARGIN, **known)
    for wrong in ("not worse", "worse"):
        assert np.mean(findings == wrong) <= ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / times)
    used = {}
    for gap, right in ((0.2, "not worse"), (0.0, "not worse"), (-0.2, "worse")):
        findings, examples = simulated_stops(rule(), gap, **known)
        assert np.mean((findings != right) & (findings != "cannot tell")) <= ALPHA
        used[gap] = examples.mean()
    assert used[0.2] < 0.4 * N
    assert used[0.2] < used[0.0] < N


def test_the_simulation_finds_what_the_rule_finds_in_each_run():
    """The same draws, one run at a time, looked at after every batch."""
    findings, used = simulated_stops(rule(), 0.0, examples=N, disagreement=0.2, runs=40)
    draws = np.random.default_rng(8).choice([1.0, -1.0, 0.0], size=(40, N), p=[0.1, 0.1, 0.8])
    single = [first_finding(row, margin=MARGIN, level=1 / ALPHA) for row in draws]
    assert single == findings.tolist()
    assert len(set(single)) > 1
    for row, n in zip(draws, used, strict=True):
        found = [first_finding(row[:k], margin=MARGIN, level=1 / ALPHA) for k in (n - BATCH, n)]
        assert found[0] == "cannot tell" and (n == N or found[1] != "cannot tell")


def test_a_budget_is_the_mean_of_its_runs():
    """No disagreement and no gap: every run stops at the fifth batch (evidence passes 20 at the 43rd example)."""
    (row,) = budget_by_gap(rule(), [0.0], examples=N, disagreement=0.0, runs=3).to_dict("records")
    assert row == {"gap": 0, "used": 0.25, "low": 0.25, "high": 0.25, "undecided": 0, "wrong": 0}
    near = budget_by_gap(rule(), [-0.3, -MARGIN, 0.1], examples=N)["used"]
    assert near[1] > near[0] and near[1] > near[2]


def recorded(tmp_path, shares):
    """A recorded table: each model answers `n` yes-or-no examples of two tasks, right in its share of them."""
    rng, rows, examples = np.random.default_rng(4), [], []
    for task in ("easy", "hard"):
        for i in range(120):
            prompt = f"{task} {i}?"
            examples.append(
                tl.sampling.examples.Example(f"{task}-{i}", task, prompt, "exact", "yes")
            )
            for model, by_task in shares.items():
                right = rng.random() < by_task[task]
                rows.append((f"{task}-{i}", model, prompt, "yes" if right else "no"))
    table = pd.DataFrame(rows, columns=["prompt_id", "model_id", "prompt", "answer"])
    known = dict.fromkeys(tl.sampling.samples.SAMPLE_COLUMNS)
    known |= {
        "repeat": 0,
        "status": "ok",
        "attempts": 1,
        "cost_usd": 0.01,
        "output_tokens": 1,
        "tool_calls": "[]",
        "error": "",
    }
    known |= {"uncached_input_tokens": 5, "cache_read_tokens": 0, "cache_write_short_tokens": 0}
    known |= {
        "cache_write_long_tokens": 0,
        "reasoning_tokens": 0,
        "ttft_s": 0.1,
        "end_to_end_s": 0.2,
    }
    path = tmp_path / "recorded.csv"
    table.assign(**{c: v for c, v in known.items() if c not in table}).to_csv(path, index=False)
    return examples, {model: f"replay:{model},path={path}" for model in shares}


class TestRun:
    def run(self, tmp_path, shares, **changes):
        examples, names = recorded(tmp_path, shares)
        asked = Decided(reference="large", margin=0.2, **changes)
        return examples, sample_until_decided(
            examples,
            list(names.values()),
            asked,
            limits=tl.Limits(budget_usd=0),
            store=tmp_path / "s.sqlite",
            setup=tl.Setup(progress=False),
        )

    def test_what_is_settled_is_asked_no_more(self, tmp_path):
        shares = {
            "large": {"easy": 1.0, "hard": 1.0},
            "small": {"easy": 1.0, "hard": 0.8},
            "tiny": {"easy": 1.0, "hard": 0.2},
        }
        examples, table = self.run(tmp_path, shares)
        found = table.attrs["decided"].set_index(["candidate", "task"])
        assert found.loc[("small", "easy"), "finding"] == "not worse"
        assert found.loc[("tiny", "easy"), "finding"] == "not worse"
        assert found.loc[("tiny", "hard"), "finding"] == "worse"
        assert (
            found.loc[("tiny", "hard"), "examples"]
            < found.loc[("small", "hard"), "examples"]
            <= 120
        )
        assert found.loc[("small", "easy"), "examples"] < 120
        assert len(table) < len(shares) * len(examples)
        assert not table.duplicated(["prompt_id", "model_id"]).any()
        assert f"after {len(table)} of 720 calls" in table.attrs["saved"]

    def test_a_question_nobody_can_settle_uses_all_examples(self, tmp_path):
        shares = {"large": {"easy": 1.0, "hard": 1.0}, "small": {"easy": 0.8, "hard": 0.8}}
        _, table = self.run(tmp_path, shares, batch=40)
        assert table.attrs["decided"]["examples"].tolist() == [120, 120]
        assert len(table) == 480

    @pytest.mark.parametrize("by_task", [True, False])
    def test_a_replay_of_the_table_asks_what_the_run_asks(self, tmp_path, by_task):
        """The run sends prompts to a store, the replay looks rows up: the same examples, findings and dollars."""
        shares = {
            "large": {"easy": 1.0, "hard": 1.0},
            "small": {"easy": 1.0, "hard": 0.8},
            "tiny": {"easy": 1.0, "hard": 0.2},
        }
        _, ran = self.run(tmp_path, shares, by_task=by_task)
        all_ = pd.read_csv(tmp_path / "recorded.csv")
        all_ = all_.assign(
            task=all_["prompt_id"].str.split("-").str[0],
            score=all_["answer"].eq("yes").astype(float),
        )
        all_.attrs = {"decided": ran.attrs["decided"]}  # as a table has them that a run returned
        again = replay_until_decided(all_, Decided(reference="large", margin=0.2, by_task=by_task))
        keys = ["model_id", "prompt_id"]
        assert len(all_) == 720 and len(ran) < 720
        assert again.sort_values(keys)[keys].to_numpy().tolist() == (
            ran.sort_values(keys)[keys].to_numpy().tolist()
        )
        pd.testing.assert_frame_equal(again.attrs["decided"], ran.attrs["decided"])
        assert again.attrs["usd"] == pytest.approx((0.01 * len(ran), 7.2))

    def test_an_unknown_reference_names_the_nearest(self, tmp_path):
        examples, names = recorded(tmp_path, {"large": {"easy": 1, "hard": 1}})
        with pytest.raises(ValueError, match="unknown candidate 'larg'; did you mean 'large'"):
            sample_until_decided(
                examples,
                list(names.values()),
                Decided("larg", 0.1),
                limits=tl.Limits(budget_usd=0),
                store=tmp_path / "s",
            )


@pytest.mark.parametrize(
    "change", [{"margin": 0}, {"margin": 1.5}, {"alpha": 0}, {"batch": 0}, {"truncated": "no"}]
)
def test_a_rule_that_makes_no_sense_is_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        Decided(**({"reference": "a", "margin": 0.1} | change))
