"""Ratios of token counts on the same text: what their sources say."""

import os

import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tierlab.routing.sources import count_tokens


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
    own = pd.Series(count_tokens(prompts, "o200k_base"), prompts.index)
    counts["o200k_base"] = own.reindex(counts.index)
    row = (
        pd.read_csv(tl.paths.DATA / "tokenizer_ratios.csv")
        .set_index(["of", "relative_to"])
        .loc[(of, relative_to)]
    )
    got = (counts[of] / counts[relative_to]).quantile([0.5, 0.05, 0.95])
    assert got.tolist() == pytest.approx(row[["ratio", "low", "high"]].tolist(), abs=0.01)
