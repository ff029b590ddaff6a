"""Evaluation logs of other tools: scores and counts are what the tools print of the same files."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import tierlab as tl
from tierlab.cli import main
from tierlab.routing.evaluations import read_evaluation

LOGS = Path(__file__).parent.parent / "data" / "evaluations"


def accuracy(table):
    return table.groupby("model_id")["score"].mean().round(3).to_dict()


class TestInspect:
    def test_accuracies_are_those_that_inspect_prints(self):
        assert accuracy(read_evaluation(LOGS / "inspect" / "sums_large.eval")) == {
            "mockllm/large": 0.917
        }
        assert accuracy(read_evaluation(LOGS / "inspect" / "sums_small.eval")) == {
            "mockllm/small": 0.667
        }

    def test_a_failed_sample_is_a_status_and_not_a_score(self):
        table = read_evaluation(LOGS / "inspect" / "short_large.eval")
        assert table["status"].tolist() == ["ok", "ok", "ok", "error"]
        assert table["score"].tolist()[:3] == [1, 1, 1]
        assert np.isnan(table["score"][3])

    def test_what_was_cached_lies_beside_the_input(self):
        table = read_evaluation(LOGS / "inspect" / "sums_large.eval")
        assert table["uncached_input_tokens"].tolist() == [12] * 12
        assert sorted(table["cache_read_tokens"]) == [0] * 6 + [1000] * 6

    def test_two_epochs_are_one_example(self):
        table = read_evaluation(LOGS / "inspect" / "sums_large.eval")
        assert table["group"].nunique() == 6
        assert table["prompt_id"].nunique() == 12

    def test_other_content_under_one_id_is_another_example(self, tmp_path):
        for name in ("sums_large", "sums_small"):
            shutil.copy(LOGS / "inspect" / f"{name}.eval", tmp_path)
        assert read_evaluation(tmp_path)["prompt_id"].nunique() == 12
        _rewrite(
            tmp_path / "sums_small.eval",
            lambda sample: sample | {"input": "9+9?"} if sample["id"] == "q1" else sample,
        )
        table = read_evaluation(tmp_path)
        assert (
            table["prompt_id"].nunique() == 14
        )  # q1 is asked twice of each, and is not the same question

    def test_a_log_that_was_not_finished_says_so(self, tmp_path):
        shutil.copy(LOGS / "inspect" / "sums_large.eval", tmp_path / "cut.eval")
        _rewrite(tmp_path / "cut.eval", lambda sample: sample, without="header.json")
        assert set(read_evaluation(tmp_path / "cut.eval")["flags"]) == {"unfinished_run"}

    def test_tokens_that_do_not_add_up_are_missing(self, tmp_path):
        shutil.copy(LOGS / "inspect" / "sums_large.eval", tmp_path / "odd.eval")

        def spoiled(sample):
            sample["model_usage"]["mockllm/large"]["total_tokens"] += 1
            return sample

        _rewrite(tmp_path / "odd.eval", spoiled)
        table = read_evaluation(tmp_path / "odd.eval")
        assert set(table["flags"]) == {"tokens_do_not_add_up"}
        assert "uncached_input_tokens" not in table

    @pytest.mark.parametrize(
        ("value", "score"),
        [("C", 1), ("P", 0.5), ("I", 0), ("N", 0), (True, 1), (0.25, 0.25), ("no", 0)],
    )
    def test_values_count_as_inspect_counts_them(self, tmp_path, value, score):
        shutil.copy(LOGS / "inspect" / "short_large.eval", tmp_path / "v.eval")
        _rewrite(
            tmp_path / "v.eval", lambda sample: sample | {"scores": {"match": {"value": value}}}
        )
        assert read_evaluation(tmp_path / "v.eval")["score"][0] == score

    def test_a_value_that_is_a_word_is_refused(self, tmp_path):
        shutil.copy(LOGS / "inspect" / "short_large.eval", tmp_path / "v.eval")
        _rewrite(
            tmp_path / "v.eval", lambda sample: sample | {"scores": {"match": {"value": "good"}}}
        )
        with pytest.raises(ValueError, match=r"v\.eval.*'good', which is not a number"):
            read_evaluation(tmp_path / "v.eval")

    def test_one_of_several_metrics_must_be_named(self, tmp_path):
        shutil.copy(LOGS / "inspect" / "short_large.eval", tmp_path / "v.eval")
        both = {"match": {"value": "C"}, "rubric": {"value": {"tone": 3, "facts": 5}}}
        _rewrite(tmp_path / "v.eval", lambda sample: sample | {"scores": both})
        with pytest.raises(ValueError, match="match, rubric/tone, rubric/facts"):
            read_evaluation(tmp_path / "v.eval")
        with pytest.raises(ValueError, match=r"a score of 3 lies outside 0-1; give the scale"):
            read_evaluation(tmp_path / "v.eval", metric="rubric/tone")
        assert (
            read_evaluation(tmp_path / "v.eval", metric="rubric/tone", scale=(1, 5))["score"][0]
            == 0.5
        )
        assert (
            read_evaluation(tmp_path / "v.eval", metric="rubric/facts", scale=(5, 1))["score"][0]
            == 0
        )

    def test_two_efforts_of_a_model_are_two_candidates(self, tmp_path):
        for effort in ("high", "low"):
            log = tmp_path / f"{effort}.eval"
            shutil.copy(LOGS / "inspect" / "sums_large.eval", log)
            _rewrite(
                log, lambda sample: sample, settings={"reasoning_effort": effort, "seed": effort}
            )
        assert accuracy(read_evaluation(tmp_path)) == {
            "mockllm/large (reasoning_effort=high)": 0.917,
            "mockllm/large (reasoning_effort=low)": 0.917,
        }

    def test_settings_that_differ_between_tasks_alone_make_no_candidates(self, tmp_path):
        for task, effort in (("sums", "high"), ("products", "low")):
            log = tmp_path / f"{task}.eval"
            shutil.copy(LOGS / "inspect" / "sums_large.eval", log)
            settings = {"reasoning_effort": effort}
            _rewrite(log, lambda sample: sample, settings=settings, task=task)
        table = read_evaluation(tmp_path)
        assert sorted(table["task"].unique()) == ["products", "sums"]
        assert table["model_id"].unique().tolist() == ["mockllm/large"]

    def test_the_same_settings_in_another_order_are_one_candidate(self, tmp_path):
        settings = {"reasoning_effort": "high", "top_p": 0.5}
        for name, given in (("one", settings), ("two", dict(reversed(settings.items())))):
            log = tmp_path / f"{name}.eval"
            shutil.copy(LOGS / "inspect" / "sums_large.eval", log)
            _rewrite(log, lambda sample: sample, settings=given)
        assert read_evaluation(tmp_path)["model_id"].unique().tolist() == ["mockllm/large"]

    def test_two_seeds_of_a_model_are_repeats(self, tmp_path):
        for seed in (1, 2):
            log = tmp_path / f"{seed}.eval"
            shutil.copy(LOGS / "inspect" / "sums_large.eval", log)
            _rewrite(log, lambda sample: sample, settings={"seed": seed})
        assert accuracy(read_evaluation(tmp_path)) == {"mockllm/large": 0.917}

    def test_what_the_model_used_as_its_own_grader_is_not_its_answer(self, tmp_path):
        shutil.copy(LOGS / "inspect" / "sums_large.eval", tmp_path / "g.eval")
        graded = {"input_tokens": 7, "output_tokens": 2, "total_tokens": 9}

        def with_grader(sample):
            usage = sample["model_usage"]["mockllm/large"]
            usage |= {name: usage[name] + count for name, count in graded.items()}
            return sample | {"role_usage": {"grader": graded}}

        _rewrite(tmp_path / "g.eval", with_grader)
        table = read_evaluation(tmp_path / "g.eval")
        assert table["uncached_input_tokens"].tolist() == [12] * 12
        assert table["output_tokens"].tolist() == [3] * 12

    @pytest.mark.parametrize("keep", [0.2, 0.9])
    def test_a_damaged_log_is_refused_by_name(self, tmp_path, keep):
        data = (LOGS / "inspect" / "sums_large.eval").read_bytes()
        (tmp_path / "half.eval").write_bytes(data[: int(len(data) * keep)])
        with pytest.raises(ValueError, match=r"half\.eval: cannot be read as an evaluation log"):
            read_evaluation(tmp_path / "half.eval")


def _rewrite(path, change, without=None, settings=None, task=None):
    """The same log with its samples changed, and settings of the model and the name of the task."""
    from tierlab.routing.evaluations import open_archive

    with open_archive(path) as old:
        members = {name: json.loads(old.read(name)) for name in old.namelist() if name != without}
    import zipfile

    with zipfile.ZipFile(path, "w") as new:
        for name, content in members.items():
            content = change(content) if name.startswith("samples/") else content
            if name == "header.json" and settings:
                content["eval"]["model_generate_config"] = settings
            if name == "header.json" and task:
                content["eval"]["task"] = task
            new.writestr(name, json.dumps(content))


class TestHarness:
    def test_scores_are_those_that_the_harness_prints(self):
        table = read_evaluation(LOGS / "lm_eval")
        assert accuracy(table) == {"vendor/model-a": 0.4, "vendor/model-b": 0.4}
        assert set(table["flags"]) == {"no_tokens"}

    def test_models_meet_on_the_content_of_a_question(self, tmp_path):
        shutil.copytree(LOGS / "lm_eval", tmp_path / "logs")
        (file,) = (tmp_path / "logs" / "vendor__model-b").glob("samples_*")
        lines = file.read_text().splitlines()
        file.write_text(
            "\n".join(
                json.dumps(json.loads(line) | {"doc_id": 9 - i}) for i, line in enumerate(lines)
            )
        )
        found = tl.compare(
            read_evaluation(tmp_path / "logs"), reference="vendor/model-a", margin=0.1
        )
        assert found.pairs.loc["vendor/model-b", "examples"] == 5

    def test_a_document_under_two_filters_counts_once(self, tmp_path):
        shutil.copytree(LOGS / "lm_eval" / "vendor__model-a", tmp_path / "logs")
        (file,) = (tmp_path / "logs").glob("samples_*")
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        lines += [line | {"filter": "flexible", "exact_match": 1.0} for line in lines]
        file.write_text("\n".join(map(json.dumps, lines)))
        with pytest.raises(ValueError, match="exact_match,none, exact_match,flexible"):
            read_evaluation(file)
        assert len(read_evaluation(file, metric="exact_match,flexible")) == 5

    @pytest.mark.parametrize(
        ("value", "scale", "score"), [(0.1, None, 0.9), (0.1, (1, 0), 0.9), (12, (100, 0), 0.88)]
    )
    def test_a_metric_of_which_less_is_better_is_turned_once(self, tmp_path, value, scale, score):
        file = _lower_is_better(tmp_path, value)
        assert read_evaluation(file, scale=scale)["score"].tolist() == pytest.approx([score] * 5)

    def test_a_scale_that_runs_against_the_metric_is_refused(self, tmp_path):
        file = _lower_is_better(tmp_path, 12)
        with pytest.raises(ValueError, match=r"lower is better.*\(100, 0\)"):
            read_evaluation(file, scale=(0, 100))

    def test_an_adapter_makes_another_model(self, tmp_path):
        for folder, adapter in (("plain", ""), ("tuned", ",peft=mine")):
            shutil.copytree(LOGS / "lm_eval" / "vendor__model-a", tmp_path / folder)
            (file,) = (tmp_path / folder).glob("results_*")
            about = json.loads(file.read_text())
            about["config"]["model_args"] = f"pretrained=vendor/model-a{adapter}"
            file.write_text(json.dumps(about))
        assert accuracy(read_evaluation(tmp_path)) == {
            "vendor/model-a (peft=default)": 0.4,
            "vendor/model-a (peft=mine)": 0.4,
        }

    def test_without_its_results_a_file_has_no_model(self, tmp_path):
        (file,) = (LOGS / "lm_eval" / "vendor__model-a").glob("samples_*")
        shutil.copy(file, tmp_path)
        with pytest.raises(
            ValueError, match=r"results_.*json, which names its model, is not beside it"
        ):
            read_evaluation(tmp_path / file.name)


def _lower_is_better(folder, value):
    """Samples of the harness's log whose score is `value` each, of a metric of which less is better."""
    shutil.copytree(LOGS / "lm_eval" / "vendor__model-a", folder / "logs")
    (file,) = (folder / "logs").glob("samples_*")
    (results,) = (folder / "logs").glob("results_*")
    lines = [json.loads(line) | {"exact_match": value} for line in file.read_text().splitlines()]
    file.write_text("\n".join(map(json.dumps, lines)))
    about = json.loads(results.read_text())
    task = file.name.removeprefix("samples_").rsplit("_", 1)[0]
    about["higher_is_better"] = {task: {"exact_match": False}}
    results.write_text(json.dumps(about))
    return file


class TestPromptfoo:
    def test_counts_are_those_that_promptfoo_prints(self):
        table = read_evaluation(LOGS / "promptfoo" / "sums.json")
        scored = table["score"].dropna()
        assert (scored.eq(1).sum(), scored.eq(0).sum(), table["status"].eq("error").sum()) == (
            18,
            4,
            2,
        )
        whole = table["uncached_input_tokens"] + table["cache_read_tokens"]
        assert whole.groupby(table["model_id"]).sum().to_dict() == {
            "vendor:large": 12_144,
            "vendor:small": 10_120,
        }

    def test_an_error_pays_nothing_known(self):
        table = read_evaluation(LOGS / "promptfoo" / "sums.json")
        failed = table[table["status"] == "error"]
        assert failed["cost_usd"].isna().all()
        assert set(failed["flags"]) == {"no_tokens;no_cost"}

    def test_answers_from_promptfoos_own_cache_have_no_latency(self, tmp_path):
        whole = json.loads((LOGS / "promptfoo" / "sums.json").read_text())
        whole["results"]["results"][0]["response"]["cached"] = True
        (tmp_path / "c.json").write_text(json.dumps(whole))
        table = read_evaluation(tmp_path / "c.json")
        assert table["end_to_end_s"].isna().sum() == 1
        assert table["flags"].str.contains("from_promptfoos_cache").sum() == 1

    def test_two_configurations_without_a_label_are_two_candidates(self, tmp_path):
        whole = json.loads((LOGS / "promptfoo" / "sums.json").read_text())
        for row in whole["results"]["results"]:
            row["provider"] = {"id": "vendor:one"}
        (tmp_path / "c.json").write_text(json.dumps(whole))
        labelled = accuracy(read_evaluation(LOGS / "promptfoo" / "sums.json"))
        assert accuracy(read_evaluation(tmp_path / "c.json")) == {
            "vendor:one (configuration 1)": labelled["vendor:large"],
            "vendor:one (configuration 2)": labelled["vendor:small"],
        }

    def test_another_version_is_refused(self, tmp_path):
        whole = json.loads((LOGS / "promptfoo" / "sums.json").read_text())
        whole["results"]["version"] = 4
        (tmp_path / "c.json").write_text(json.dumps(whole))
        with pytest.raises(ValueError, match=r"c\.json.*version 4; only version 3 can be read"):
            read_evaluation(tmp_path / "c.json")


class TestLangfuse:
    def test_scores_meet_their_observations(self):
        table = read_evaluation(LOGS / "langfuse", metric="correct")
        assert accuracy(table) == {"gpt-5.5": 1.0, "gpt-5.4-mini": 0.5}
        assert table["prompt_id"].nunique() == 2
        first = table.iloc[0]
        assert (
            first["uncached_input_tokens"],
            first["cache_read_tokens"],
            first["output_tokens"],
        ) == (200, 800, 100)
        assert (first["cost_usd"], first["end_to_end_s"]) == (0.0044, 1.5)

    def test_a_trace_of_two_models_is_counted_apart(self):
        table = read_evaluation(LOGS / "langfuse", metric="correct")
        assert len(table) == 4
        assert "1 scores of no one model left out" in table["provenance"][0]

    def test_a_rating_needs_its_scale(self):
        with pytest.raises(ValueError, match="a score of 4 lies outside 0-1"):
            read_evaluation(LOGS / "langfuse", metric="helpful")

    @pytest.mark.parametrize(
        ("usage", "buckets"),
        [
            ({"input": 200, "input_cache_read": 800, "output": 100}, [200, 800, 100]),
            (
                {"input": 1000, "input_cache_read": 800, "output": 100, "total": 1100},
                [200, 800, 100],
            ),
            (
                {"input": 200, "output": 50, "output_reasoning_tokens": 400, "total": 650},
                [200, 0, 450],
            ),
            ({"input": 200, "output": 50, "output_reasoning_tokens": 400}, [200, 0, 450]),
        ],
    )
    def test_counts_lie_beside_each_other_unless_the_total_says_otherwise(
        self, tmp_path, usage, buckets
    ):
        row = read_evaluation(_one_trace(tmp_path, [{"usage_details": usage}])).iloc[0]
        columns = ["uncached_input_tokens", "cache_read_tokens", "output_tokens"]
        assert row[columns].tolist() == buckets

    def test_the_newest_state_of_an_observation_counts(self, tmp_path):
        newest = {"updated_at": "2026-09-02T00:00:00Z", "total_cost": 0.5}
        oldest = {"updated_at": "2026-09-01T00:00:00Z", "total_cost": 9.0}
        table = read_evaluation(_one_trace(tmp_path, [newest, oldest]))
        assert table["cost_usd"].tolist() == [0.5]

    def test_scores_of_two_sources_are_not_averaged(self, tmp_path):
        folder = _one_trace(tmp_path, [{}], sources=("EVAL", "ANNOTATION"))
        with pytest.raises(ValueError, match="two sources, 'EVAL' and 'ANNOTATION'"):
            read_evaluation(folder)


def _one_trace(folder, states, sources=("EVAL",)):
    """A folder with one scored trace whose observation was written in several states."""
    first = json.loads((LOGS / "langfuse" / "observations.jsonl").read_text().splitlines()[0])
    score = json.loads((LOGS / "langfuse" / "scores.jsonl").read_text().splitlines()[0])
    files = {
        "observations": [first | state for state in states],
        "scores": [score | {"source": source} for source in sources],
    }
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def test_outcomes_leave_out_what_some_model_did_not_answer():
    with pytest.raises(ValueError, match="2 of 12 prompts lack an answer from some model"):
        tl.load_outcomes(LOGS / "promptfoo" / "sums.json")
    table = tl.load_outcomes(LOGS / "promptfoo" / "sums.json", incomplete="drop")
    assert len(table) == 20
    assert "2 calls without a score left out" in table["provenance"].iloc[0]
    routes = tl.route(table, tl.routing.policies.Always("vendor:large"))
    assert routes["cost_usd"].sum() == pytest.approx(10 * 0.0042)


def test_prices_make_costs_of_the_tokens():
    prices = tl.load_prices("maintained", as_of="2026-11-23")
    table = tl.load_outcomes(LOGS / "inspect" / "sums_large.eval", prices=prices)
    assert table["cost_usd"].isna().all()  # a mock model has no price
    rates = {"mockllm/large": (2.0, 10.0)}
    with pytest.raises(
        ValueError, match="cached tokens of 'mockllm/large', whose two rates were given"
    ):
        tl.load_outcomes(LOGS / "inspect" / "sums_large.eval", usd_per_mtok=rates)


def test_a_file_of_no_tool_names_the_known_ones(tmp_path):
    (tmp_path / "x.json").write_text('{"a": 1}')
    with pytest.raises(
        ValueError, match=r"x\.json.*not from a known tool; known: Inspect, lm-evaluation-harness"
    ):
        read_evaluation(tmp_path / "x.json")
    with pytest.raises(ValueError, match="no evaluation log of Inspect"):
        read_evaluation(tmp_path)


class TestCommand:
    def test_prints_verdict_examples_needed_and_worth(self, tmp_path, capsys):
        whole = json.loads((LOGS / "promptfoo" / "sums.json").read_text())
        rows = whole["results"]["results"]
        right = [
            row
            for row in rows
            if row["failureReason"] == 0 and row["vars"]["answer"] in ("5", "6", "9")
        ]
        copies = [
            row | {"vars": row["vars"] | {"question": f"{n} {row['vars']['question']}"}}
            for row in right
            for n in range(40)
        ]
        (tmp_path / "many.json").write_text(
            json.dumps(whole | {"results": {"version": 3, "results": copies}})
        )
        words = f"compare {tmp_path / 'many.json'} --reference vendor:large --margin 0.05 --requests-per-day 1000"
        assert main(words.split()) == 0
        said = capsys.readouterr().out
        assert "not worse" in said
        # 0.0042 - 0.00021 = 0.00399 a request
        assert "$3.99 per thousand requests, $1,456 a year at 1,000 a day" in said

    def test_says_how_many_examples_are_missing(self, capsys):
        assert (
            main(
                [
                    "compare",
                    str(LOGS / "promptfoo" / "sums.json"),
                    "--reference",
                    "vendor:large",
                    "--margin",
                    "0.05",
                ]
            )
            == 0
        )
        said = capsys.readouterr().out
        assert "cannot tell" in said.lower()
        assert "more examples" in said
        assert "2 of 12 rows of vendor:small are set aside (error 2)" in said

    def test_an_unknown_reference_names_the_nearest(self, capsys):
        assert (
            main(
                [
                    "compare",
                    str(LOGS / "promptfoo" / "sums.json"),
                    "--reference",
                    "vendor:larg",
                    "--margin",
                    "0.05",
                ]
            )
            == 2
        )
        assert "did you mean 'vendor:large'" in capsys.readouterr().err
