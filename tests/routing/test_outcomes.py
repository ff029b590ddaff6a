"""Outcomes: simulation as stated, public data with the published scores, and wrong input named by row."""

import os
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import tierlab as tl
from tierlab.evaluate.planning import paired_sample_size
from tierlab.routing.outcomes import (
    check_outcomes,
    outcome_account,
    outcome_origin,
    price_outcomes,
)
from tierlab.routing.simulated import default_models, default_tasks, simulate_outcomes
from tierlab.routing.sources import as_tiers, count_tokens, load_outcomes

published = pytest.mark.skipif(
    "TIERLAB_DATA_DIR" not in os.environ,
    reason="TIERLAB_DATA_DIR is not set: public data sets are not in the repository",
)
MIXTRAL = "mistralai/Mixtral-8x7B-Instruct-v0.1"
ZEROEVAL = {  # accuracy in %, as ZeroEval publishes it
    "claude-3-haiku-20240307": 88.78,
    "claude-3-sonnet-20240229": 91.51,
    "claude-3-opus-20240229": 95.60,
    "gpt-4o-mini-2024-07-18": 94.24,
    "gpt-4o-2024-08-06": 96.21,
    "gemini-1.5-flash": 91.36,
    "gemini-1.5-pro": 93.40,
    "o1-mini-2024-09-12": 96.06,
}


loaded = lru_cache(load_outcomes)


def small(**columns):
    """Two prompts, two models."""
    table = {
        "prompt_id": [1, 1, 2, 2],
        "model_id": ["a", "b"] * 2,
        "score": [0, 1, 1, 1],
        **columns,
    }
    return pd.DataFrame(table, index=[10, 11, 12, 13])


def one_task(quality, **tiers):
    return pd.DataFrame(
        {"share": 1.0, "input_tokens": 500, "output_tokens": 300, **quality, **tiers},
        index=["only"],
    )


def models(**columns):
    """The default models' numbers for other tiers: tier -> model id, and any column set."""
    ids = columns.pop("ids")
    table = pd.DataFrame(
        {
            "model_id": ids,
            "output_ratio": 1.0,
            "ttft_s": 0.7,
            "tokens_per_s": 80.0,
            "failure_rate": 0.0,
        }
    )
    return table.assign(**columns)


# --- simulation ---------------------------------------------------------------------------------------------


def test_simulated_quality_is_the_stated_one_per_task_and_tier():
    """The copula keeps every margin: 200,000 requests lie within five standard errors of the stated quality."""
    tasks = default_tasks()
    table = simulate_outcomes(200_000, seed=1)
    found = table.groupby(["task", "tier"], observed=True)["score"].agg(["mean", "size"])
    stated = tasks[["small", "mid", "flagship"]].stack()
    stated.index.names = ["task", "tier"]
    error = np.sqrt(stated * (1 - stated) / found["size"].reindex(stated.index))
    assert ((found["mean"].reindex(stated.index) - stated).abs() < 5 * error).all()
    share = table.groupby("task", observed=True).size() / len(table)
    assert share.reindex(tasks.index).to_numpy() == pytest.approx(
        tasks["share"].to_numpy(), abs=0.005
    )


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.75])
def test_simulated_errors_are_correlated_as_stated(correlation):
    """Both right has the probability of the bivariate normal with that correlation (scipy.stats.multivariate_normal)."""
    table = simulate_outcomes(
        100_000,
        seed=2,
        tasks=one_task({"a": 0.7, "b": 0.9}),
        models=models(ids={"a": "m-a", "b": "m-b"}),
        error_correlation=correlation,
    )
    wide = table.pivot(index="prompt_id", columns="tier", values="score")
    cut = stats.norm.ppf([0.7, 0.9])
    expected = stats.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]]).cdf(cut)
    assert (wide["a"] * wide["b"]).mean() == pytest.approx(expected, abs=0.006)


def test_full_correlation_nests_the_tiers():
    """At correlation 1 a better tier is right wherever a worse one is."""
    wide = simulate_outcomes(5000, seed=3, error_correlation=1.0).pivot(
        index="prompt_id", columns="tier", values="score"
    )
    assert (wide["small"] <= wide["mid"]).all() and (wide["mid"] <= wide["flagship"]).all()


def test_the_router_signal_has_the_stated_skill():
    """Correlation of signal and difficulty, both put back on the normal scale, is signal_skill; 1 sees all."""
    for skill in (0.0, 0.4, 1.0):
        one = simulate_outcomes(50_000, seed=4, signal_skill=skill).drop_duplicates("prompt_id")
        signal, difficulty = (
            stats.norm.ppf(one[c].clip(1e-12, 1 - 1e-12)) for c in ("router_signal", "difficulty")
        )
        assert np.corrcoef(signal, difficulty)[0, 1] == pytest.approx(skill, abs=0.02)
    assert (
        stats.kendalltau(one["score"].iloc[:2000], -one["difficulty"].iloc[:2000]).statistic > 0.2
    )


def test_simulated_lengths_latency_and_cost_are_the_stated_ones():
    """Median 500 in and 300 out, 200 and 100 tokens a second; the article's Haiku and Opus prices, 1/5 and 5/25."""
    article = tl.load_prices("article")
    table = simulate_outcomes(
        20_001,
        seed=5,
        tasks=one_task({"small": 0.8, "flagship": 0.9}),
        models=models(
            ids={"small": "claude-haiku-4-5", "flagship": "claude-opus-4-8"},
            output_ratio=[2.0, 1.0],
            tokens_per_s=[200.0, 100.0],
            ttft_s=0.0,
        ),
        prices=article,
    )
    by_tier = {
        tier: part.reset_index(drop=True) for tier, part in table.groupby("tier", observed=True)
    }
    assert by_tier["small"]["uncached_input_tokens"].median() == pytest.approx(500, rel=0.02)
    assert by_tier["small"]["output_tokens"].median() == pytest.approx(600, rel=0.02)
    assert by_tier["flagship"]["output_tokens"].median() == pytest.approx(300, rel=0.02)
    assert by_tier["small"]["end_to_end_s"].to_numpy() == pytest.approx(
        by_tier["small"]["output_tokens"].to_numpy() / 200
    )
    for tier, (given_rate, written_rate) in {"small": (1, 5), "flagship": (5, 25)}.items():
        part = by_tier[tier]
        expected = (
            part["uncached_input_tokens"] * given_rate + part["output_tokens"] * written_rate
        ) / 1e6
        assert part["cost_usd"].to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-12)
    assert set(table["source"]) == {"simulated"} and table["cost_source"].iloc[0].startswith(
        "article"
    )


def test_an_answer_has_at_least_one_token():
    table = simulate_outcomes(50, seed=1, tasks=default_tasks().assign(output_tokens=0.01))
    assert set(table["output_tokens"]) == {1}


def test_one_parameter_leaves_the_other_draws_alone():
    base = simulate_outcomes(500, seed=6)
    slow = default_models().assign(output_ratio=2.0, tokens_per_s=10.0)
    other = simulate_outcomes(500, seed=6, models=slow, signal_skill=0.9)
    same = ["task", "score", "difficulty", "uncached_input_tokens", "user", "at"]
    pd.testing.assert_frame_equal(base[same], other[same])
    pd.testing.assert_frame_equal(base, simulate_outcomes(500, seed=6))
    assert not base["score"].equals(simulate_outcomes(500, seed=7)["score"])


def test_failed_calls_score_and_cost_nothing():
    table = simulate_outcomes(
        4000,
        seed=8,
        models=default_models().assign(failure_rate=[0.25, 0.0, 0.0]),
        prices=tl.load_prices("article"),
    )
    failed = table[table["status"] == "error"]
    assert set(failed["tier"]) == {"small"} and len(failed) == pytest.approx(1000, abs=140)
    assert failed[["score", "cost_usd", "output_tokens"]].to_numpy().sum() == 0
    assert set(failed["end_to_end_s"]) == {0.4}  # the time to a first token, and none after it


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(1, 4),
    st.integers(0, 2**31),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(-1, 1),
)
def test_any_simulation_is_a_sound_outcomes_table(n, k, seed, correlation, skill, length):
    quality = {f"t{i}": 0.5 + 0.1 * i for i in range(k)}
    table = simulate_outcomes(
        n,
        seed=seed,
        tasks=one_task(quality),
        models=models(ids={tier: f"model-{tier}" for tier in quality}),
        error_correlation=correlation,
        signal_skill=skill,
        length_correlation=length,
    )
    assert len(check_outcomes(table)) == n * k
    assert (
        table[["difficulty", "router_signal", "score"]]
        .apply(lambda column: column.between(0, 1))
        .all(axis=None)
    )
    assert table["cost_usd"].isna().all() and (table["flags"] == "no_price").all()
    assert table.groupby("prompt_id")["uncached_input_tokens"].nunique().eq(1).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"error_correlation": 1.5}, "error_correlation is 1.5"),
        ({"models": default_models().assign(failure_rate=1.1)}, "'failure_rate': 1.1"),
        ({"models": default_models().assign(tokens_per_s=0)}, "'tokens_per_s': 0"),
        ({"models": default_models().drop(columns="ttft_s")}, "models has no column 'ttft_s'"),
        ({"n": 0}, "n is 0"),
        ({"tasks": default_tasks().assign(share=0.2)}, "add up to 1"),
        (
            {"tasks": default_tasks().assign(small=1.2)},
            "first row 'intent_classification', column 'small': 1.2",
        ),
        ({"tasks": default_tasks().assign(output_tokens=0)}, "'output_tokens': 0"),
        ({"models": models(ids={"tiny": "x"})}, "tasks has no column 'tiny'"),
    ],
)
def test_a_simulation_that_makes_no_sense_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        simulate_outcomes(**{"n": 10, "seed": 1} | options)


# --- the table ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            small(score=[0, 1, 1, 1.2]),
            "score outside 0-1 in 1 row; first row 13, column 'score': 1.2",
        ),
        (small(score=[0, np.nan, 1, 1]), "missing score.*in 1 row; first row 11"),
        (
            small(score=[0, "right", 1, 1]),
            "not a number in 1 row; first row 11, column 'score': 'right'",
        ),
        (small(prompt_id=[1, 1, 1, 2]), r"1 pairs.*prompt 1 with model 'a', rows \[10, 12\]"),
        (small().iloc[:3], "1 of 2 prompts lack.*prompt 2 has none from 'b'"),
        (small(model_id=["a", None, "a", "b"]), "a missing model in 1 row; first row 11"),
        (small(prompt_id=[1, 1, None, 2]), "a missing prompt in 1 row; first row 12"),
        (
            small(cost_usd=[0.1, -0.1, 0.1, 0.1]),
            "negative or infinite value in 1 row; first row 11, column 'cost_usd'",
        ),
        (small(end_to_end_s=[1, 1, np.inf, 1]), "infinite value in 1 row; first row 12"),
        (
            small().rename(columns={"score": "scores"}),
            "unknown column 'scores'; did you mean 'score'",
        ),
        (small(end_to_end=1.0), "did you mean 'end_to_end_s'"),
        (small().drop(columns="model_id"), "column 'model_id' is missing"),
        (small().iloc[:0], "no rows"),
    ],
)
def test_wrong_tables_are_refused_by_row(table, said):
    with pytest.raises(ValueError, match=said):
        check_outcomes(table)


def test_incomplete_prompts_can_be_left_out_and_are_counted():
    kept = check_outcomes(small().iloc[:3], incomplete="drop")
    assert kept["prompt_id"].tolist() == [1, 1]
    left_out = "1 of 2 prompts left out: a model's answer is missing"
    assert set(kept["provenance"]) == {left_out}
    known = check_outcomes(small(provenance="a file").iloc[:3], incomplete="drop")
    assert set(known["provenance"]) == {f"a file; {left_out}"}


def test_own_columns_and_booleans_are_welcome():
    table = check_outcomes(small(score=[True, False, True, True], judge_score=0.5, question="why?"))
    assert table["score"].tolist() == [1, 0, 1, 1] and "judge_score" in table


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=20))
def test_check_accepts_complete_tables_and_nothing_else(pairs):
    """Against pandas: a table passes exactly when no pair repeats and the pivot has no gap."""
    table = pd.DataFrame(pairs, columns=["prompt_id", "model_id"]).assign(score=1.0)
    sound = not table.duplicated(["prompt_id", "model_id"]).any() and not pd.crosstab(
        table["prompt_id"], table["model_id"]
    ).eq(0).any(axis=None)
    if sound:
        assert len(check_outcomes(table)) == len(table)
    else:
        with pytest.raises(ValueError, match=r"pairs of prompt and model|lack an answer"):
            check_outcomes(table)


def test_costs_from_the_catalogue_and_from_given_rates(maintained):
    """Haiku 4.5 at 1 / 5 from the catalogue; a model of your own at 0.6 / 1.2; an unpriced one is NaN, never 0."""
    table = small(
        prompt_id=[1, 1, 1, 2],
        model_id=["claude-haiku-4-5", "own", "nobody", "own"],
        uncached_input_tokens=500,
        output_tokens=300,
    )
    priced = price_outcomes(table, maintained, usd_per_mtok={"own": (0.6, 1.2)})
    assert priced["cost_usd"].tolist() == pytest.approx(
        [0.002, 0.00066, np.nan, 0.00066], nan_ok=True
    )
    assert priced["flags"].tolist() == ["", "", "no_price", ""]
    assert priced["cost_source"].tolist()[1:3] == [
        "given: 0.6 / 1.2 USD per million tokens",
        f"none: not in {maintained.source}",
    ]
    account = outcome_account(priced)
    assert account.loc["nobody", ["without_cost", "flags"]].tolist() == [1, "no_price 1"]
    assert account["usd_per_1000"].to_dict() == pytest.approx(
        {"claude-haiku-4-5": 2, "own": 0.66, "nobody": np.nan}, nan_ok=True
    )


def test_pricing_again_takes_back_what_the_first_pricing_flagged(maintained):
    table = simulate_outcomes(5, seed=1).assign(flags="score_clipped;no_price")
    again = price_outcomes(table, maintained)
    assert set(again["flags"]) == {"score_clipped"} and again["cost_usd"].notna().all()
    assert set(price_outcomes(again)["flags"]) == {"score_clipped;no_price"}


def test_one_unknown_cost_leaves_the_mean_unknown_and_is_counted():
    table = small(model_id=["a", "b", "a", "b"], cost_usd=[0.1, 0.2, np.nan, 0.4])
    account = outcome_account(table)
    assert account["usd_per_1000"].tolist() == pytest.approx([np.nan, 300], nan_ok=True)
    assert account["without_cost"].tolist() == [1, 0]


def test_the_origin_names_the_models_where_it_differs():
    table = small(source="recorded", tokenizer=["o200k_base", "its own"] * 2)
    assert outcome_origin(table)[""].to_dict() == {
        "source": "recorded",
        "tokenizer": "o200k_base (a); its own (b)",
    }


def test_a_flag_that_a_row_has_already_is_not_joined_twice(tmp_path):
    flags = ["no_price", "mine;no_price", "", None]
    small(flags=flags).to_csv(tmp_path / "own.csv", index=False)
    read = load_outcomes(tmp_path / "own.csv")
    assert read["flags"].tolist() == ["no_price", "mine;no_price", "no_price", "no_price"]
    assert outcome_account(read)["flags"].tolist() == ["no_price 2", "no_price 2; mine 1"]


def test_given_rates_are_checked():
    table = small(uncached_input_tokens=500, output_tokens=300, cache_read_tokens=[0, 0, 9, 0])
    with pytest.raises(ValueError, match=r"cached tokens of 'a'.*first row 12"):
        price_outcomes(table, usd_per_mtok={"a": (1, 1)})
    with pytest.raises(ValueError, match="usd_per_mtok: unknown model"):
        price_outcomes(table, usd_per_mtok={"z": (1, 1)})
    with pytest.raises(ValueError, match=r"give \(input, output\)"):
        price_outcomes(table, usd_per_mtok={"b": (1, -1)})
    with pytest.raises(ValueError, match=r"negative count.*first row 11"):
        price_outcomes(table.assign(output_tokens=[1, -1, 1, 1]), usd_per_mtok={"b": (1, 1)})
    with pytest.raises(ValueError, match="'output_tokens' is missing"):
        price_outcomes(small(uncached_input_tokens=1))


# --- files --------------------------------------------------------------------------------------------------


def test_a_file_comes_back_as_it_was(tmp_path):
    table = small(cost_usd=[0.1, 0.2, 0.3, 0.4], at="2026-05-01T12:00:00+02:00", end_to_end_s=1.5)
    table.to_csv(tmp_path / "own.csv", index=False)
    read = load_outcomes(tmp_path / "own.csv")
    assert read[["prompt_id", "model_id", "score", "cost_usd"]].equals(
        table.astype({"score": float})[["prompt_id", "model_id", "score", "cost_usd"]].reset_index(
            drop=True
        )
    )
    assert read["at"].iloc[0] == pd.Timestamp("2026-05-01 10:00")
    assert read[["source", "provenance", "cost_source"]].iloc[0].tolist() == [
        "recorded",
        "own.csv",
        "the file",
    ]
    read.to_parquet(tmp_path / "own.parquet")
    again = load_outcomes(tmp_path / "own.parquet")
    assert again["cost_usd"].tolist() == read["cost_usd"].tolist() and set(again["provenance"]) == {
        "own.csv"
    }


def test_a_file_without_costs_is_flagged_or_priced(tmp_path, maintained):
    small().to_csv(tmp_path / "bare.csv", index=False)
    bare = load_outcomes(tmp_path / "bare.csv")
    assert bare["cost_usd"].isna().all() and set(bare["flags"]) == {"no_price"}
    small(
        model_id=["gpt-4o", "gpt-4o-mini"] * 2, uncached_input_tokens=10**6, output_tokens=0
    ).to_csv(tmp_path / "t.csv", index=False)
    assert load_outcomes(tmp_path / "t.csv", prices=maintained)[
        "cost_usd"
    ].tolist() == pytest.approx([2.5, 0.15, 2.5, 0.15])
    with pytest.raises(ValueError, match=r"bare.csv: column 'uncached_input_tokens' is missing"):
        load_outcomes(tmp_path / "bare.csv", prices=maintained)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"score": [0, 1, 7, 1]}, r"own.csv: a score outside 0-1 in 1 row; first row 4"),
        (
            {"cost_usd": [0.1, None, 0.1, None]},
            r"own.csv: a cost is missing in 2 rows, first row 3",
        ),
        (
            {"source": ["recorded", "measurd", "recorded", "recorded"]},
            r"row 3, column 'source'.*did you mean 'measured'",
        ),
        ({"at": ["2026-01-01", "soon", "2026-01-01", "2026-01-01"]}, r"row 3, column 'at': 'soon'"),
    ],
)
def test_wrong_files_name_file_and_row(tmp_path, columns, said):
    small(**columns).to_csv(tmp_path / "own.csv", index=False)
    with pytest.raises(ValueError, match=said):
        load_outcomes(tmp_path / "own.csv")


def test_unknown_names_and_unreadable_files(tmp_path):
    with pytest.raises(
        ValueError, match="unknown data set 'routellm_gsm'; did you mean 'routellm_gsm8k'"
    ):
        load_outcomes("routellm_gsm")
    (tmp_path / "broken.parquet").write_text("no")
    with pytest.raises(ValueError, match=r"broken.parquet: cannot be read"):
        load_outcomes(tmp_path / "broken.parquet")


# --- tokens -------------------------------------------------------------------------------------------------


def test_token_counts_are_those_of_tiktoken():
    """OpenAI's cookbook, "How to count tokens with tiktoken": the sum and the birthday text in two encodings."""
    texts = ["tiktoken is great!", "2 + 2 = 4", "お誕生日おめでとう", "<|endoftext|>"]
    assert count_tokens(texts[:3], "o200k_base").tolist() == [6, 7, 8]
    assert count_tokens(texts[:3], "cl100k_base").tolist() == [6, 7, 9]
    assert count_tokens(texts[3:]).tolist() > [1]  # as text, not as the control token
    with pytest.raises(ValueError, match="unknown option 'o200k'; did you mean 'o200k_base'"):
        count_tokens(texts, "o200k")


# --- public data --------------------------------------------------------------------------------------------


@published
def test_routellm_gsm8k_has_the_published_accuracies(maintained):
    """Without the 12 contaminated prompts 1,307 are left: weak 63.7337%, strong 85.7689%."""
    table = price_outcomes(loaded("routellm_gsm8k"), maintained)
    account = outcome_account(table)
    assert (100 * account["score"]).to_dict() == pytest.approx(
        {MIXTRAL: 63.7337, "gpt-4-1106-preview": 85.7689}, abs=5e-5
    )
    assert account["prompts"].tolist() == [1307, 1307]
    assert "12 of 1,319 prompts left out as contaminated" in account["provenance"].iloc[0]
    assert account.loc[MIXTRAL, "without_cost"] == 1307 and np.isnan(
        account.loc[MIXTRAL, "usd_per_1000"]
    )
    assert table["tokenizer"].iloc[0] == "o200k_base, taken for every model (an assumption)"


@published
def test_routellm_mmlu_is_keyed_by_subject_and_row(maintained):
    """14,037 prompts after decontamination; a random 80/20 router loses 10.0 points (claims C076)."""
    table = load_outcomes(
        "routellm_mmlu",
        prices=maintained,
        usd_per_mtok={MIXTRAL: (0.6, 0.6)},
    )
    account = outcome_account(table)
    assert account["prompts"].tolist() == [14_037, 14_037] and table["task"].nunique() == 57
    assert 80 * (account["score"].iloc[1] - account["score"].iloc[0]) == pytest.approx(
        10.0, abs=0.05
    )
    assert table["prompt_id"].iloc[0] == "abstract_algebra-0"
    assert table.drop_duplicates("prompt_id")["prompt"].duplicated().any()
    assert "1 output tokens taken for every answer" in account["provenance"].iloc[0]
    assert (table["output_tokens"] == 1).all() and table["flags"].astype(str).str.contains(
        "assumed_output_tokens"
    ).all()
    assert account["without_cost"].tolist() == [0, 0]


@published
def test_zeroeval_has_the_eight_published_accuracies():
    account = outcome_account(loaded("zeroeval_gsm"))
    assert (100 * account["score"]).to_dict() == pytest.approx(ZEROEVAL, abs=0.01)
    assert (account["prompts"] == 1319).all()
    assert "reasoning_not_counted 1,319" in account.loc["o1-mini-2024-09-12", "flags"]


@published
def test_neighbouring_tiers_need_far_more_than_100_examples():
    """Prompts for 80% power, as measured from the same answers: 1126 Haiku-Sonnet, 361 Sonnet-Opus, 819 4o-mini-4o."""
    scores = loaded("zeroeval_gsm").pivot(index="prompt_id", columns="model_id", values="score")
    for worse, better, expected in (
        ("claude-3-haiku-20240307", "claude-3-sonnet-20240229", 1126),
        ("claude-3-sonnet-20240229", "claude-3-opus-20240229", 361),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-2024-08-06", 819),
    ):
        gap = scores[better] - scores[worse]
        assert paired_sample_size(gap.mean(), sd=gap.std(ddof=0)) == pytest.approx(expected, abs=1)


@published
def test_routerarena_costs_are_tokens_times_list_price(maintained):
    """The file's own costs equal its token counts at 0.25 / 1.25 and 0.10 / 0.40 USD per million, and ours equal both."""
    table = loaded("routerarena")
    rates = (
        table["model_id"]
        .astype(str)
        .map({"claude-3-haiku-20240307": (0.25, 1.25), "gemini-2.0-flash-001": (0.10, 0.40)})
    )
    expected = (
        table["uncached_input_tokens"] * rates.str[0] + table["output_tokens"] * rates.str[1]
    ) / 1e6
    assert table["cost_usd"].to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-9)
    ours = load_outcomes("routerarena", prices=maintained)
    assert ours["cost_usd"].to_numpy() == pytest.approx(table["cost_usd"].to_numpy(), rel=1e-9)
    account = outcome_account(table)
    assert account["prompts"].tolist() == [809, 809] and account["flags"].tolist() == [
        "score_clipped 1",
        "",
    ]
    assert set(table["tokenizer"]) == {"the provider's own count"}
    assert table.loc[
        table["flags"] == "score_clipped", ["prompt_id", "score"]
    ].to_numpy().tolist() == [["NarrativeQA_4102", 0.0]]


@published
def test_every_public_set_is_a_sound_priced_table(maintained):
    for name in ("routellm_gsm8k", "routellm_mmlu", "zeroeval_gsm", "routerarena"):
        table = loaded(name)
        table = price_outcomes(
            table,
            maintained,
            usd_per_mtok={MIXTRAL: (0.6, 0.6)} if MIXTRAL in set(table["model_id"]) else None,
        )
        assert table["cost_usd"].gt(0).all() and set(table["source"]) == {"recorded"}
        assert (table["prompt_chars"] == table["prompt"].str.len()).all()


@published
def test_the_stated_error_of_the_tokenizer_holds():
    """Notes of count_tokens: provider tokens per o200k_base token, median 1.16 for Claude 3 Haiku and 0.94 for Gemini 2.0 Flash."""
    table = loaded("routerarena")
    ratio = table["uncached_input_tokens"] / count_tokens(table["prompt"])
    medians = ratio.groupby(table["model_id"], observed=True).median()
    assert medians.to_dict() == pytest.approx(
        {"claude-3-haiku-20240307": 1.165, "gemini-2.0-flash-001": 0.938}, abs=0.005
    )


def test_models_without_tiers_are_ranked_by_their_cost():
    table = pd.DataFrame(
        {
            "prompt_id": [1] * 4,
            "model_id": list("abcd"),
            "score": 1.0,
            "cost_usd": [0.3, 0.1, 0.2, 0.4],
        }
    )
    named = as_tiers(table).set_index("tier")["model_id"]
    assert named[["small", "mid", "flagship"]].tolist() == ["b", "a", "d"]
    unknown = as_tiers(table.assign(cost_usd=np.nan, score=[0.3, 0.1, 0.2, 0.4])).set_index("tier")[
        "model_id"
    ]
    assert unknown["small"] == "b"
    with pytest.raises(ValueError, match="at least two models"):
        as_tiers(table.iloc[:1])
