"""Token counts, ratios with their intervals, and the price of the same text, against arithmetic written out."""

import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tierlab as tl
from tierlab.speed import tokenizers


def test_counts_known_from_the_encoders_documentation():
    """OpenAI's cookbook: "tiktoken is great!" is 6 tokens in cl100k_base; a byte pair encoding never needs more than bytes."""
    table = tokenizers.counts(pd.Series(["tiktoken is great!", "", "été"], index=["a", "b", "c"]))
    assert table.loc["a", ["characters", "cl100k_base"]].tolist() == [18, 6]
    assert table.loc["b"].tolist() == [0, 0, 0]
    assert (table.loc["c", ["cl100k_base", "o200k_base"]] <= len("été".encode())).all()


def test_the_kit_s_texts_are_all_there():
    texts = tokenizers.kit_texts()
    assert len(texts) == 100 + 646
    assert texts["task"].nunique() == 10
    assert texts["text"].str.strip().ne("").all()


def test_a_ratio_is_of_sums_and_its_quantiles_are_of_texts():
    """(10 + 30) / (5 + 30) = 8 / 7; the texts' own ratios are 2 and 1."""
    table = pd.DataFrame({"a": [10, 30], "b": [5, 30], "task": ["x", "y"]})
    got = tokenizers.ratios(table, of="a", relative_to="b", by="task", seed=1)
    assert got["ratio"].to_dict() == pytest.approx({"all": 8 / 7, "x": 2, "y": 1})
    assert got.loc["all", ["p5", "p50", "p95"]].tolist() == pytest.approx([1.05, 1.5, 1.95])
    assert got.loc["x", ["low", "high"]].tolist() == [2, 2]


def test_the_interval_covers_the_true_ratio_about_as_often_as_it_says():
    """300 samples of 100 texts from a population whose ratio is known: 95 % of intervals, give or take sampling error."""
    rng, hits = np.random.default_rng(5), 0
    for run in range(300):
        b = rng.poisson(40, 100) + 1
        table = pd.DataFrame({"a": b * 1.2 + rng.normal(0, 4, 100), "b": b})
        row = tokenizers.ratios(table, of="a", relative_to="b", resamples=200, seed=run).loc["all"]
        hits += row["low"] <= 1.2 <= row["high"]
    assert 0.90 <= hits / 300 <= 0.98


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(1, 500)), min_size=1, max_size=30))
def test_a_ratio_lies_between_those_of_its_texts_and_turns_round(pairs):
    table = pd.DataFrame(pairs, columns=["a", "b"])
    own = table["a"] / table["b"]
    there, back = (
        tokenizers.ratios(table, of=x, relative_to=y, resamples=50, seed=1).loc["all", "ratio"]
        for x, y in ("ab", "ba")
    )
    assert own.min() - 1e-9 <= there <= own.max() + 1e-9
    assert there * back == pytest.approx(1)


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="column 'o200k_base' is missing; there are cl100k_base"):
        tokenizers.ratios(pd.DataFrame({"cl100k_base": [1]}), seed=1)


def test_published_ratios_are_those_of_their_sources():
    table = pd.read_csv(tl.paths.DATA / "tokenizer_ratios.csv")
    pair = table[
        (table["of"] == "claude-3-haiku") & (table["relative_to"] == "gemini-2.0-flash")
    ].iloc[0]
    assert pair[["ratio", "low", "high"]].tolist() == [1.253, 1.06, 1.70]
    official = table[table["basis"] == "official"].iloc[0]
    assert official[["low", "high"]].tolist() == [1.0, 1.35]
    assert np.isnan(official["ratio"])
    assert (table["low"] <= table["high"]).all()
    assert not (table["ratio"] < table["low"]).any()
    assert not (table["ratio"] > table["high"]).any()
    assert table[["interval", "basis", "sample", "source"]].notna().all(axis=None)


@pytest.mark.skipif(
    "TIERLAB_DATA_DIR" not in os.environ,
    reason="TIERLAB_DATA_DIR does not name a folder with the public data",
)
@pytest.mark.parametrize(
    ("of", "relative_to"),
    [
        ("claude-3-haiku", "gemini-2.0-flash"),
        ("claude-3-haiku", "o200k_base"),
        ("gemini-2.0-flash", "o200k_base"),
    ],
)
def test_measured_ratios_follow_from_the_public_data(of, relative_to):
    """RouterArena: input tokens by the providers' own counts, and o200k_base on the same prompts."""
    outcomes = tl.load_outcomes("routerarena")
    counts = outcomes.pivot(index="prompt_id", columns="model_id", values="uncached_input_tokens")
    counts.columns = [name.rsplit("-", 1)[0] for name in counts.columns.astype(str)]
    prompts = outcomes.drop_duplicates("prompt_id").set_index("prompt_id")["prompt"]
    counts["o200k_base"] = tokenizers.counts(prompts, ["o200k_base"])["o200k_base"].reindex(
        counts.index
    )
    row = (
        pd.read_csv(tl.paths.DATA / "tokenizer_ratios.csv")
        .set_index(["of", "relative_to"])
        .loc[(of, relative_to)]
    )
    got = (counts[of] / counts[relative_to]).quantile([0.5, 0.05, 0.95])
    assert got.tolist() == pytest.approx(row[["ratio", "low", "high"]].tolist(), abs=0.01)


def test_the_same_text_at_its_own_count():
    """2.00 at 1.25 times the tokens is 2.50, as much as a model at 2.50 that counts alike."""
    costs = pd.DataFrame({"model_id": ["cheap", "other"], "cost_usd": [2.0, 2.5]})
    ratio = pd.DataFrame({"ratio": [1.25], "low": [1.0], "high": [1.5]}, index=["cheap"])
    table = tokenizers.corrected(costs, ratio).set_index("model_id")
    assert table.loc["cheap", ["same_text_usd", "low", "high"]].tolist() == [2.5, 2.0, 3.0]
    assert table.loc["other", "same_text_usd"] == 2.5
    assert table["basis"].tolist() == ["", "no ratio known: counted as 1"]


def test_a_ratio_is_above_zero():
    costs = pd.DataFrame({"model_id": ["a"], "cost_usd": [1.0]})
    with pytest.raises(ValueError, match="above 0"):
        tokenizers.corrected(
            costs, pd.DataFrame({"ratio": [0.0], "low": [0.0], "high": [1.0]}, index=["a"])
        )


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_at_the_break_even_the_same_text_costs_the_same(cost, other):
    ratio = other / cost
    costs = pd.DataFrame({"model_id": ["a"], "cost_usd": [cost]})
    table = pd.DataFrame({"ratio": [ratio], "low": [ratio], "high": [ratio]}, index=["a"])
    assert tokenizers.corrected(costs, table)["same_text_usd"].item() == pytest.approx(other)


def test_the_correction_is_what_reprice_charges(article):
    """`reprice(token_ratio=...)` scales counts before it prices; where no step lies between, that is cost x ratio."""
    requests = pd.DataFrame({"uncached_input_tokens": [500], "output_tokens": [300]})
    model = "claude-haiku-4-5"
    scaled = tl.reprice(requests, article, [model], token_ratio={model: 1.2})[model].item()
    listed = tl.reprice(requests, article, [model])[model].item()
    ratio = pd.DataFrame({"ratio": [1.2], "low": [1.2], "high": [1.2]}, index=[model])
    table = tokenizers.corrected(pd.DataFrame({"model_id": [model], "cost_usd": [listed]}), ratio)
    assert table["same_text_usd"].item() == pytest.approx(scaled)
