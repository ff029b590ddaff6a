"""Samples of the formats of clouds, agents, answers and batches, their totals added up by hand; FOCUS out and back."""

import re
from pathlib import Path

import pandas as pd
import pytest

import tierlab as tl
from tierlab.core.tables import TOKEN_COLUMNS

SAMPLES = Path(__file__).parent.parent / "data" / "usage"
# Per file: format; rows kept, set aside, duplicates; the buckets uncached, read, short write, long write, output; and
# the dollars billed with the tokens and apart from them.
TOTALS = {
    # 300 + 70 + (1000 - 600, the cache of OpenAI's models is inside); 2000 + 600; 500 - 100; 100; 40 + 30 + 20;
    # a call that was throttled has no tokens, and one is there twice
    "bedrock_log.jsonl": ("bedrock_log", (4, 0, 1), (770, 2600, 400, 100, 90), 0, 0),
    "bedrock_batch.jsonl": ("bedrock_batch", (1, 1, 0), (500, 200, 0, 0, 25), 0, 0),
    "anthropic_batch.jsonl": ("anthropic_batch", (1, 1, 0), (400, 100, 300, 600, 70), 0, 0),
    "anthropic_answers.jsonl": ("anthropic_answers", (1, 0, 0), (11, 22, 0, 0, 33), 0, 0),
    # (900 - 400) + 100; 400; 90 + 10
    "openai_batch.jsonl": ("openai_batch", (2, 1, 0), (600, 400, 0, 0, 100), 0, 0),
    "openai_batch_object.json": (
        "openai_batch_object",
        (1, 0, 0),
        (5000, 2000, 0, 0, 700),
        0,
        0,
    ),
    # (2000 - 500 - 1200) + 80; 500; 700 for 30 minutes; 500 for 12 hours; 150 + 8; and one that failed
    "openai_answers.jsonl": ("openai_answers", (3, 0, 0), (380, 500, 700, 500, 158), 0, 0),
    # 100 + (900 - 700: the total is 900 + 50); 300 + 700; (20 + 30) + 50; the newest of the two says 0.0022
    "langfuse_blob.jsonl": ("langfuse", (2, 1, 1), (300, 1000, 0, 0, 100), 0.0022, 0),
    # 700 + 300; 60 + 40; characters are no tokens
    "langfuse_before_3.jsonl": ("langfuse", (2, 1, 0), (1000, 0, 0, 0, 100), 0.00235, 0),
    # 10 + 7; 3000; 400; 200 + 70; an error without tokens, a prompt that is no request
    "claude_code_events.jsonl": ("agent_telemetry", (3, 1, 0), (17, 3000, 400, 0, 270), 0, 0),
    # (800 - 500) + 600 + 40 of tools; 500; (30 + 70) + (20 + 10)
    "gemini_cli.log": ("agent_telemetry", (2, 1, 0), (940, 500, 0, 0, 130), 0, 0),
    "gemini_cli_session.jsonl": ("gemini_cli_session", (2, 1, 1), (940, 500, 0, 0, 130), 0, 0),
    # the last counts of the thread: 3000 - 900 - 300; 900; 300; 120
    "codex_exec.jsonl": ("codex_exec", (2, 3, 0), (1800, 900, 300, 0, 120), 0, 0),
    # 20 + 50; 1000 + 450; 300; 80 + 10
    "cursor.csv": ("cursor", (3, 0, 0), (70, 1450, 300, 0, 90), 0.05, 0),
    "copilot.csv": ("copilot", (1, 1, 0), (500, 2000, 2400, 0, 900), 0.01475, 0),
    "claude_code_analytics.json": (
        "claude_code_analytics",
        (2, 0, 0),
        (150, 7000, 600, 0, 460),
        0,
        0,
    ),
    # 250 x 1000; 0.5 x a million written for an hour; 40 x 1000; 0.75 + 0.064 + 3.3; tax 0.9; storage is not ours
    "aws_cur.csv": ("aws_cur", (4, 1, 0), (250_000, 0, 0, 500_000, 40_000), 4.114, 0.9),
    # 3 x a million; 0.05 / 0.025 x a million, though the quantity is in tokens; 500 x 1000; 0.75 + 0.05 + 0.165
    "azure_costs.csv": (
        "azure_costs",
        (4, 1, 0),
        (3_000_000, 2_000_000, 0, 0, 500_000),
        0.965,
        10,
    ),
    "focus_1_4.csv": ("focus", (3, 0, 0), (1_000_000, 0, 0, 0, 100_000), 4.05, 0.5),
}


def read(name):
    return tl.read_usage(SAMPLES / name)


@pytest.mark.parametrize("name", TOTALS)
def test_sample(name):
    form, rows, tokens, beside, apart = TOTALS[name]
    usage = read(name)
    account = usage.account.files.iloc[0]
    assert account["format"] == form
    assert tuple(account[["kept", "set_aside", "duplicates"]]) == rows
    assert tuple(usage.requests[list(TOKEN_COLUMNS)].sum()) == tokens
    billed = usage.requests["billed_usd"].sum() if "billed_usd" in usage.requests else 0
    assert billed == pytest.approx(beside, abs=1e-9)
    assert usage.billed["usd"].sum() == pytest.approx(apart, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "column", "values"),
    [
        (
            "bedrock_log.jsonl",
            "model_id",
            ["claude-sonnet-4-6", "claude-haiku-4-5", "gpt-5.6-luna"],
        ),
        ("bedrock_log.jsonl", "status", ["ok", "rate_limited"]),
        ("bedrock_log.jsonl", "service_tier", ["priority"]),
        ("bedrock_batch.jsonl", "batch", [True]),
        ("anthropic_batch.jsonl", "region", ["us"]),
        ("openai_batch.jsonl", "batch", [True]),
        ("openai_batch_object.json", "requests", [7]),
        ("openai_answers.jsonl", "service_tier", ["flex"]),
        ("openai_answers.jsonl", "status", ["ok", "error"]),
        ("langfuse_blob.jsonl", "session_id", ["s1"]),
        ("langfuse_blob.jsonl", "ttft_s", [1.0]),
        ("claude_code_events.jsonl", "service_tier", ["fast"]),
        ("claude_code_events.jsonl", "status", ["ok", "overloaded"]),
        ("gemini_cli.log", "reasoning_tokens", [70, 10]),
        ("codex_exec.jsonl", "model_id", ["codex"]),
        ("cursor.csv", "model_id", ["claude-sonnet-4-6", "gpt-5.5"]),
        ("cursor.csv", "status", ["ok", "error"]),
        ("claude_code_analytics.json", "aggregate", [True]),
        ("copilot.csv", "platform", ["github-copilot"]),
        ("aws_cur.csv", "region", ["global", "regional"]),
        ("aws_cur.csv", "model_id", ["claude-sonnet-4-6", "nova-pro"]),
        ("azure_costs.csv", "region", ["global", "data_zone"]),
        ("azure_costs.csv", "at", [pd.Timestamp("2026-10-11")]),
        ("focus_1_4.csv", "platform", ["bedrock"]),
        ("focus_1_4.csv", "service_tier", ["flex"]),
        ("focus_1_4.csv", "batch", [False, True]),
    ],
)
def test_what_a_sample_says_beside_its_tokens(name, column, values):
    assert read(name).requests[column].dropna().unique().tolist() == values


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("claude_code_events.jsonl", "not a bill: it is left out: 0.00893"),  # 0.00543 + 0.0035
        ("claude_code_analytics.json", "not a bill: it is left out: 0.01"),
        ("codex_exec.jsonl", "no model in this log"),
        ("cursor.csv", "included in a plan has no dollars of its own"),
        ("langfuse_blob.jsonl", "cached tokens lie on the other side"),
        ("anthropic_batch.jsonl", "no time in this file"),
    ],
)
def test_what_is_taken_for_granted_is_said(name, words):
    assert words in read(name).account.files["assumed"].item()


def test_no_address_of_a_person_is_kept():
    for name in ("claude_code_events.jsonl", "cursor.csv"):
        assert "example.com" not in read(name).requests.to_csv()


def test_a_file_of_no_format_names_the_formats(tmp_path):
    file = tmp_path / "log.jsonl"
    file.write_text('{"alpha": 1, "beta": {"gamma": 2}}\n')
    with pytest.raises(ValueError, match=re.escape("its fields are ['alpha', 'beta']")) as error:
        tl.read_usage(file)
    for reader in ("litellm", "bedrock_log", "cursor", "openai_batch"):
        assert f"{reader} (" in str(error.value)
    assert "nearest" not in str(error.value)


def test_parquet_of_langfuse_holds_its_map_as_pairs(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    details = [
        [("input", 100.0), ("input_cached_tokens", 300.0), ("output", 50.0), ("total", 450.0)]
    ]
    table = pa.table(
        {
            "id": ["p1"],
            "type": ["GENERATION"],
            "start_time": ["2026-10-01 09:00:00"],
            "provided_model_name": ["gpt-5.5"],
            "usage_details": pa.array(details, pa.map_(pa.string(), pa.float64())),
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    found = tl.read_usage(tmp_path / "log.parquet").requests
    assert found[list(TOKEN_COLUMNS)].iloc[0].tolist() == [100, 300, 0, 0, 50]


@pytest.fixture
def priced():
    log = pd.DataFrame(
        {
            "at": pd.to_datetime(["2026-11-01 10:00", "2026-11-01 11:00", "2026-11-02 09:00"]),
            "model_id": ["claude-sonnet-4-6", "claude-sonnet-4-6", "gpt-5.5"],
            "team": ["a", "b", None],
            "batch": [False, True, False],
            "uncached_input_tokens": [1000, 2000, 500],
            "cache_read_tokens": [5000, 0, 300],
            "cache_write_short_tokens": [400, 0, 0],
            "cache_write_long_tokens": [600, 0, 0],
            "output_tokens": [100, 200, 50],
        }
    )
    return log.join(tl.price(log, tl.load_prices()))


def test_focus_out_and_back_is_the_same(priced, tmp_path):
    rows = tl.to_focus(priced)
    rows.to_csv(tmp_path / "focus.csv", index=False)
    usage = tl.read_usage(tmp_path / "focus.csv")
    back = usage.requests
    assert back["region"].isna().all() if "region" in back else True
    assert usage.account.files["assumed"].item() == ""
    for keys in (["model_id"], ["model_id", "batch"]):
        ours = priced.groupby(keys)[list(TOKEN_COLUMNS)].sum()
        pd.testing.assert_frame_equal(back.groupby(keys)[list(TOKEN_COLUMNS)].sum(), ours)
        usd = back.groupby(keys)["billed_usd"].sum()
        assert usd.tolist() == pytest.approx(priced.groupby(keys)["cost_usd"].sum().tolist())
    assert rows[["ListCost", "ContractedCost", "EffectiveCost", "BilledCost"]].sum().tolist() == (
        pytest.approx([priced["cost_usd"].sum()] * 4)
    )
    # sonnet: 400 written at 1.25 times and 600 at twice the input of 3 USD per million
    writes = rows[rows["SkuMeter"].str.startswith("Cache Write")].set_index("SkuMeter")["ListCost"]
    assert writes.to_dict() == pytest.approx(
        {"Cache Write Tokens": 400 * 3.75e-6, "Cache Write 1h Tokens": 600 * 6e-6}
    )


def test_focus_has_each_cost_in_its_column(priced):
    table = priced.assign(
        contracted_usd=priced["cost_usd"] * 0.9,
        effective_usd=priced["cost_usd"] * 0.8,
        billed_usd=[None, 0.5, None],
    )
    sums = tl.to_focus(table)[["ListCost", "ContractedCost", "EffectiveCost", "BilledCost"]].sum()
    usd = priced["cost_usd"]
    billed = usd[0] * 0.8 + 0.5 + usd[2] * 0.8
    expected = [usd.sum(), usd.sum() * 0.9, usd.sum() * 0.8, billed]
    assert sums.tolist() == pytest.approx(expected)


def test_focus_needs_a_time_and_a_cost(priced):
    with pytest.raises(ValueError, match="no time"):
        tl.to_focus(priced.assign(at=pd.NaT))
    with pytest.raises(ValueError, match="no cost"):
        tl.to_focus(priced.assign(cost_usd=float("nan")))
