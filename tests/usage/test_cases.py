"""Logs as people really have them, shaped after public bug reports of tools of this kind, with their dollars by hand."""

import json
from pathlib import Path

import pytest

import tierlab as tl
from tierlab.quarter.inputs import Inputs
from tierlab.sampling.apis.openai import buckets

CASES = Path(__file__).parent.parent / "data" / "usage_cases"
# US dollars per million tokens: input, cache read, cache write, output
GPT, SONNET, OPUS = (5, 0.5, 0, 30), (3, 0.3, 3.75, 15), (5, 0.5, 6.25, 25)
HAIKU, FLASH, LITE = (1, 0.1, 1.25, 5), (0.3, 0.03, 0, 2.5), (0.1, 0.01, 0, 0.4)


def usd(rates, uncached, read, write, output):
    counts = (uncached, read, write, output)
    return sum(rate * count for rate, count in zip(rates, counts, strict=True)) / 1e6


DOLLARS = {
    # the parent's two requests, and one of each fork: 1,000 new input tokens on 42,000 cached ones
    "codex_fork": usd(GPT, 40_000, 0, 0, 500)
    + usd(GPT, 2000, 40_000, 0, 300)
    + 2 * usd(GPT, 1000, 42_000, 0, 100),
    # standard, then priority at 2.5 times the price, then standard again
    "codex_priority": (1 + 2.5 + 1) * usd(GPT, 10_000, 0, 0, 100),
    "codex_records": usd(GPT, 1000, 4000, 0, 100) + usd(GPT, 1000, 5000, 0, 200),
    # an advisor's answer and a compaction outside the message; then one of two iterations by another model inside
    "iterations": usd(SONNET, 200, 10_000, 0, 300)
    + usd(OPUS, 20_000, 0, 0, 1000)
    + usd(SONNET, 1000, 0, 0, 50)
    + usd(SONNET, 1000, 0, 0, 200)
    + usd(OPUS, 2000, 0, 0, 300),
    # five requests under one id; of the third, two lines, the second with more output
    "relay": usd(SONNET, 6000, 0, 0, 100 + 200 + 350) + usd(SONNET, 1000, 9000, 0, 20),
    "finished_batch": usd(GPT, 800_000, 0, 0, 60_000) / 2 + usd(GPT, 1000, 0, 0, 100),
    "money_without_tokens": usd(GPT, 1000, 0, 0, 100),
    "reasoning_beside": 2 * usd(GPT, 1000, 0, 0, 2050),
    "vertex_names": usd(HAIKU, 10_000, 0, 0, 1000) + usd(SONNET, 10_000, 0, 0, 1000),
    # 32,000 tokens of sound at 1 dollar, 1,290 of a picture at 30
    "modalities": usd(FLASH, 1000, 0, 0, 400) + 0.032 + usd(FLASH, 300, 0, 0, 0) + 0.0387,
    "meters": 0.15 + 0.1 + 0.03,
    "permaslugs": sum(usd(rates, 1000, 0, 0, 100) for rates in (SONNET, GPT, LITE, OPUS)),
    "agent_run": usd(SONNET, 500, 2000, 500, 100) + usd(SONNET, 4000, 0, 0, 200),
    "two_instrumentations": usd(GPT, 1000, 4000, 0, 100) + usd(GPT, 1000, 1000, 0, 50),
    # before version 6 the SDK hands Anthropic's counters on: the cache stands beside the input
    "vercel": usd(GPT, 1000, 9000, 0, 100) + usd(SONNET, 2000, 1500, 300, 100),
    "vertex_spans": usd(SONNET, 1000, 0, 0, 100),
    # two spans that are each other's parent, and one that is its own: three calls
    "circle_of_spans": usd(GPT, 3500, 0, 0, 160),
    # one id on three days, one batch asked twice, and one message id on two days
    "constant_ids": 3.5 * usd(GPT, 1000, 0, 0, 100) + 2 * usd(SONNET, 1000, 0, 0, 100),
    "fork_of_forks": usd(GPT, 4000, 1000 + 2000 + 3000, 0, 400),
    # global has the list price, Europe and a place within it a tenth more
    "bedrock_profiles": (1 + 1 + 1.1 + 1.1) * usd(SONNET, 1000, 0, 0, 100),
    # 1,056 tokens of a picture at 32 dollars, ten searches at 10 dollars a thousand
    "pictures_and_searches": 40 * 5e-6 + 1056 * 32e-6 + usd(SONNET, 1000, 0, 0, 100) + 0.1,
    "variants": usd(GPT, 1000, 0, 0, 100) / 2 + 0 + usd(GPT, 1000, 0, 0, 100),
}
ROWS = {
    "codex_fork": 4,
    "codex_priority": 3,
    "codex_records": 2,
    "iterations": 5,
    "relay": 5,
    "finished_batch": 2,
    "money_without_tokens": 1,
    "reasoning_beside": 2,
    "vertex_names": 2,
    "modalities": 2,
    "meters": 3,
    "permaslugs": 4,
    "agent_run": 2,
    "two_instrumentations": 2,
    "vercel": 2,
    "vertex_spans": 1,
    "circle_of_spans": 3,
    "constant_ids": 6,
    "fork_of_forks": 4,
    "bedrock_profiles": 4,
    "pictures_and_searches": 2,
    "variants": 3,
}


def test_every_case_has_its_dollars():
    assert {case.name for case in CASES.iterdir()} == DOLLARS.keys() == ROWS.keys()


@pytest.mark.parametrize("case", DOLLARS)
def test_a_real_log_costs_what_it_cost(case, maintained):
    usage = tl.read_usage(CASES / case)
    priced = tl.price(usage.requests, maintained, price_on="at")
    assert priced["cost_usd"].sum() == pytest.approx(DOLLARS[case], abs=1e-9)
    files = usage.account.files
    assert len(usage.requests) == ROWS[case]
    assert (files["rows_read"] == files["kept"] + files["set_aside"] + files["duplicates"]).all()
    assert usage.account.unknown_models.empty


def test_models_are_never_pseudonyms():
    models = tl.read_usage(CASES / "vertex_spans").requests["model_id"]
    assert models.tolist() == ["claude-sonnet-4-5"]


def test_money_without_tokens_is_set_aside_with_its_dollars():
    account = tl.read_usage(CASES / "money_without_tokens").account
    assert account.set_aside[["reason", "rows", "usd"]].values.tolist() == [
        ["money without tokens", 1, 0.04]
    ]


def test_a_finished_batch_says_that_it_is_one():
    usage = tl.read_usage(CASES / "finished_batch")
    batch = usage.requests.set_index("batch").loc[True]
    assert (batch["model_id"], batch["aggregate"]) == ("gpt-5.5", True)
    assert "asks how a batch is doing" in usage.quarantine["reason"].item()


def test_a_total_that_contradicts_its_parts_is_told_with_the_difference(tmp_path):
    row = json.loads((CASES / "money_without_tokens" / "spend.jsonl").read_text().splitlines()[1])
    file = tmp_path / "spend.jsonl"
    file.write_text(json.dumps(row | {"total_tokens": 1234}))
    usage = tl.read_usage(file)
    note = usage.account.assumed.query("what.str.contains('own total')").iloc[0]
    assert (note["rows"], note["total"]) == (1, 134)
    assert usage.account.totals.set_index("what").loc["tokens", "difference"] == 134


def test_a_span_that_counts_more_than_those_below_it_is_told(tmp_path):
    text = (CASES / "circle_of_spans" / "spans.jsonl").read_text()
    # 1,050 tokens of b2 are less than the 2,100 of a1 below it, and the other way round 1,050 more
    file = tmp_path / "spans.jsonl"
    file.write_text(
        text.replace('"spanId": "b2", "parentSpanId": "a1"', '"spanId": "b2", "parentSpanId": ""')
    )
    assert tl.read_usage(file).account.assumed.empty
    file.write_text(
        text.replace('"spanId": "a1", "parentSpanId": "b2"', '"spanId": "a1", "parentSpanId": ""')
    )
    note = tl.read_usage(file).account.assumed.query("what.str.contains('beyond')")
    assert note[["rows", "total"]].values.tolist() == [[1, 2100 - 1050]]


def test_names_of_ones_own_lead_to_their_models(tmp_path, maintained):
    row = json.loads((CASES / "money_without_tokens" / "spend.jsonl").read_text().splitlines()[1])
    file = tmp_path / "spend.jsonl"
    file.write_text(json.dumps(row | {"model": "prod-chat-eu"}))
    assert tl.read_usage(file).account.unknown_models["model_id"].tolist() == ["prod-chat-eu"]
    usage = tl.read_usage(file, aliases={"prod-chat-eu": "azure/gpt-5.5"})
    assert usage.requests[["model_id"]].values.tolist() == [["gpt-5.5"]]
    assert usage.account.unknown_models.empty


def test_a_folder_that_arrives_as_a_number_is_found(tmp_path, monkeypatch):
    folder = tmp_path / "2026"
    folder.mkdir()
    (folder / "log.jsonl").write_text((CASES / "finished_batch" / "spend.jsonl").read_text())
    monkeypatch.chdir(tmp_path)
    assert len(tl.read_usage(2026).requests) == 2
    assert Inputs(usage_path=2026, usage_format="litellm").checked().usage_path == str(folder)


@pytest.mark.parametrize(
    ("counts", "output", "reasoning"),
    [
        ({"completion_tokens": 50, "total_tokens": 3050}, 2050, 2000),
        ({"completion_tokens": 2050, "total_tokens": 3050}, 2050, 2000),
        ({"completion_tokens": 50}, 2050, 2000),  # more reasoning than output: it is not in it
    ],
)
def test_reasoning_outside_the_completion_is_output(counts, output, reasoning):
    usage = {"prompt_tokens": 1000} | counts
    for details in ({"completion_tokens_details": {"reasoning_tokens": 2000}}, {}):
        if "total_tokens" in counts or details:
            found = buckets(usage | details, "prompt", "completion")
            assert found["output_tokens"] == output
            assert found["uncached_input_tokens"] == 1000
            assert found["reasoning_tokens"] == (
                reasoning if details or counts["completion_tokens"] == 50 else 0
            )


def test_cache_writes_of_twelve_hours_are_long():
    details = {
        "cached_tokens": 10,
        "cache_write_tokens": 30,
        "cache_write_tokens_details": {"ttl_30m_tokens": 20, "ttl_12h_tokens": 10},
    }
    found = buckets(
        {"input_tokens": 100, "output_tokens": 1, "input_tokens_details": details},
        "input",
        "output",
    )
    assert (found["cache_write_short_tokens"], found["cache_write_long_tokens"]) == (20, 10)
