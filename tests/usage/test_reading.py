"""Every format is read as it comes, with the totals of its raw file, and so is each trap of the formats."""

import csv
import gzip
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tests.usage.test_formats import TOTALS
from tierlab.core.tables import TOKEN_COLUMNS
from tierlab.usage.read import check_usage

SAMPLES = Path(__file__).parent.parent / "data" / "usage"

# Per file: format, rows read / kept / set aside / duplicates, then the buckets in the order
# uncached, cache read, 5-minute write, 1-hour write, output. The sums are of the raw file's own fields.
TOKENS = {
    # haiku + opus: 4.2M + 1.1M; 9M + 2.5M; 0.6M + 0.3M; 0 + 0.1M; 1.35M + 0.82M (input excludes the cache)
    "anthropic_usage_report_messages.json": (
        "anthropic_usage",
        (2, 2, 0, 0),
        (5_300_000, 11_500_000, 900_000, 100_000, 2_170_000),
    ),
    "anthropic_analytics_usage.json": (
        "anthropic_analytics_usage",
        (2, 2, 0, 0),
        (5_300_000, 11_500_000, 900_000, 100_000, 2_170_000),
    ),
    "anthropic_console_tokens.csv": (
        "anthropic_console_tokens",
        (2, 2, 0, 0),
        (5_300_000, 11_500_000, 900_000, 100_000, 2_170_000),
    ),
    # input includes the cache: (4M - 1M) + (1M - 0.3M); 1M + 0.3M; 0.9M + 0.5M
    "openai_usage_completions.json": (
        "openai_usage",
        (2, 2, 0, 0),
        (3_700_000, 1_300_000, 0, 0, 1_400_000),
    ),
    # the same, and a blank row for an idle day
    "openai_dashboard_completions_usage.csv": (
        "openai_dashboard_usage",
        (3, 2, 1, 0),
        (3_700_000, 1_300_000, 0, 0, 1_400_000),
    ),
    # (1000 - 800) + 400; 800; output = candidates + thoughts = (50 + 150) + 90
    "gemini_usage_metadata.jsonl": ("gemini", (2, 2, 0, 0), (600, 800, 0, 0, 290)),
    # 5M + 0.9M; 0.6M; 1.2M + 0.45M; the grounding row has no tokens and its money is in EUR
    "gcp_billing_export.jsonl": (
        "gcp_billing",
        (6, 5, 1, 0),
        (5_900_000, 600_000, 0, 0, 1_650_000),
    ),
    # prompt includes read and write: (1200 - 900 - 200) + 0 + 700; 900; 200; 50 + 100
    "litellm_spendlogs.jsonl": ("litellm", (3, 3, 0, 0), (800, 900, 200, 0, 150)),
    # disjoint keys: 200; 800; output 40 + 60 reasoning; the SPAN is the parent
    "langfuse_observations.jsonl": ("langfuse", (2, 1, 1, 0), (200, 800, 0, 0, 100)),
    # Anthropic as given: 100; 900; 200; 50; and a 429 without tokens
    "helicone_requests.jsonl": ("helicone", (2, 2, 0, 0), (100, 900, 200, 0, 50)),
    # prompt includes cached: (1000 - 800) + 500; 800; reasoning inside: 100 + 250
    "openrouter_activity.csv": ("openrouter", (2, 2, 0, 0), (700, 800, 0, 0, 350)),
    "openrouter_activity_daily.csv": ("openrouter_daily", (1, 1, 0, 0), (1000, 0, 0, 0, 100)),
    # input includes both cache kinds: 1200 - 900 - 200
    "otel_spans.jsonl": ("otel", (1, 1, 0, 0), (100, 900, 200, 0, 50)),
    # one message on four lines, a user's line, a synthetic one
    "claude_code_session.jsonl": ("claude_code", (6, 1, 2, 3), (100, 900, 200, 0, 50)),
    # (1000 - 800) + (1500 - 1000); 800 + 1000; 100 + 200; two lines without usage, one repeats the total
    "codex_rollout.jsonl": ("codex", (5, 2, 3, 0), (700, 1800, 0, 0, 300)),
    # 4.2M + 1.1M + 3M + 0.7M; 9M + 2.5M + 1M + 0.3M; 0.6M + 0.3M; 0.1M; 1.35M + 0.82M + 0.9M + 0.5M
    "focus_ai.csv": ("focus", (15, 15, 0, 0), (9_000_000, 12_800_000, 900_000, 100_000, 3_570_000)),
}
# Files of money: format, rows, US dollars.
MONEY = {
    # cents: 420 + 90 + 75 + 675 + 550 + 125 + 187.5 + 100 + 2050 + 3 = 4275.5
    "anthropic_cost_report.json": ("anthropic_cost", (10, 10, 0, 0), 42.755),
    # cents: 399 + 85.5 + 71.25 + 641.25 + 522.5 + 118.75 + 178.125 + 95 + 1947.5 = 4058.875
    "anthropic_analytics_cost.json": ("anthropic_analytics_cost", (9, 9, 0, 0), 40.58875),
    # dollars rounded to cents: 4.20 + 0.90 + 0.75 + 6.75 + 5.50 + 1.25 + 1.88 + 1.00 + 20.50
    "anthropic_console_cost.csv": ("anthropic_console_cost", (9, 9, 0, 0), 42.73),
    # 0.45 + 0.075 + 0.54 + 3.5 + 0.15 + 15 + 0.01
    "openai_costs.json": ("openai_costs", (7, 7, 0, 0), 19.725),
    # the same without the web search; one idle day
    "openai_dashboard_cost.csv": ("openai_dashboard_cost", (7, 6, 1, 0), 19.715),
}


def counted(usage, row=0):
    return tuple(
        int(usage.account.files.loc[row, name])
        for name in ("rows_read", "kept", "set_aside", "duplicates")
    )


def summed(usage):
    return tuple(int(usage.requests[column].sum()) for column in TOKEN_COLUMNS)


def read_json(tmp_path, records, name="log.jsonl", **options):
    file = tmp_path / name
    file.write_text("\n".join(json.dumps(record) for record in records) + "\n")
    return tl.read_usage(file, **options)


def sample(name):
    return [json.loads(line) for line in (SAMPLES / name).read_text().splitlines()]


def balanced(usage):
    files = usage.account.files
    assert (files["rows_read"] == files["kept"] + files["set_aside"] + files["duplicates"]).all()
    assert files["kept"].sum() == len(usage.requests) + len(usage.billed)
    assert (
        len(usage.quarantine) == files["set_aside"].sum() == usage.account.set_aside["rows"].sum()
    )


@pytest.mark.parametrize("name", TOKENS)
def test_sample_of_tokens(name):
    form, rows, tokens = TOKENS[name]
    usage = tl.read_usage(SAMPLES / name)
    assert usage.account.files.loc[0, "format"] == form
    assert counted(usage) == rows
    assert summed(usage) == tokens
    balanced(usage)
    totals = usage.account.totals.query("what == 'tokens'")
    # if a file states no total of its own, there is nothing to compare ours with
    assert totals["theirs"].tolist() == totals["ours"].tolist() == [sum(tokens)] * len(totals)


@pytest.mark.parametrize("name", MONEY)
def test_sample_of_money(name):
    form, rows, dollars = MONEY[name]
    usage = tl.read_usage(SAMPLES / name)
    assert usage.account.files.loc[0, "format"] == form
    assert counted(usage) == rows
    assert usage.billed["usd"].sum() == pytest.approx(dollars, abs=1e-9)
    assert usage.requests.empty
    assert usage.account.totals[["what", "ours"]].values.tolist() == [
        ["USD", pytest.approx(dollars, abs=1e-9)]
    ]
    balanced(usage)


def test_every_sample_is_tested():
    assert {file.name for file in SAMPLES.iterdir()} == {*TOKENS, *MONEY, *TOTALS}


@pytest.mark.parametrize(
    ("name", "dollars"),
    [
        ("litellm_spendlogs.jsonl", 0.00069 + 0.0065),
        ("langfuse_observations.jsonl", 0.0044),
        ("helicone_requests.jsonl", 0.00069),
        (
            "openrouter_activity.csv",
            0.0044 + 0.000225,
        ),  # the second is on the user's own key, beside cost_total
        ("openrouter_activity_daily.csv", 0.0044),
        (
            "focus_ai.csv",
            4.2
            + 0.9
            + 0.75
            + 6.75
            + 5.5
            + 1.25
            + 1.875
            + 1
            + 20.5
            + 0.45
            + 0.075
            + 0.54
            + 3.5
            + 0.15
            + 15,
        ),
    ],
)
def test_money_beside_tokens_stays_with_them(name, dollars):
    usage = tl.read_usage(SAMPLES / name)
    assert usage.requests["billed_usd"].sum() == pytest.approx(dollars, abs=1e-9)
    assert usage.billed.empty


@pytest.mark.parametrize(
    ("name", "models"),
    [
        ("anthropic_usage_report_messages.json", {"claude-haiku-4-5", "claude-opus-4-8"}),
        ("openai_usage_completions.json", {"gpt-4o-mini", "gpt-5.5"}),
        ("gcp_billing_export.jsonl", {"gemini-2.5-flash-lite", "gemini-3.5-flash"}),
        ("gemini_usage_metadata.jsonl", {"gemini-2.5-flash-lite", "gemini-3.5-flash"}),
        ("openrouter_activity.csv", {"gpt-4o-mini", "gpt-5.5"}),
        ("focus_ai.csv", {"claude-haiku-4-5", "claude-opus-4-8", "gpt-4o-mini", "gpt-5.5"}),
    ],
)
def test_models_have_one_name(name, models):
    assert set(tl.read_usage(SAMPLES / name).requests["model_id"]) == models


def test_samples_priced_from_tokens_come_to_what_was_billed(maintained):
    """A sample's tokens at the list prices of its day come to the dollars that the source itself states."""
    for name, dollars in (
        ("focus_ai.csv", 42.725),
        ("anthropic_usage_report_messages.json", 42.725 + 3 * 0.01),  # and three web searches
    ):
        requests = tl.read_usage(SAMPLES / name).requests
        anthropic = requests[requests["model_id"].str.startswith("claude")]
        priced = tl.price(anthropic, maintained, price_on="at")
        assert priced["cost_usd"].sum() == pytest.approx(dollars, abs=1e-9)


def test_all_samples_at_once_count_each_usage_once():
    usage = tl.read_usage([SAMPLES / name for name in (*TOKENS, *MONEY)])
    balanced(usage)
    reports = usage.requests[usage.requests["aggregate"]]
    # of three Anthropic reports and FOCUS one counts, of two OpenAI ones and FOCUS one
    assert (
        int(reports.loc[reports["model_id"] == "claude-opus-4-8", "output_tokens"].sum()) == 820_000
    )
    assert int(reports.loc[reports["model_id"] == "gpt-4o-mini", "output_tokens"].sum()) == 900_000
    assert usage.billed.groupby("provider")["usd"].sum().round(6).to_dict() == {
        "anthropic": 40.58875,
        "openai": 19.725,
    }
    both = usage.account.overlaps.query("dropped == ''")
    assert set(both["provider"]) == {"anthropic", "openai", "google", "openrouter"}
    assert "single requests AND reports" in repr(usage)


def test_requests_are_missing_where_a_report_does_not_count_them():
    usage = tl.read_usage(
        [SAMPLES / "anthropic_usage_report_messages.json", SAMPLES / "litellm_spendlogs.jsonl"]
    )
    counts = usage.requests.groupby("aggregate")["requests"]
    assert usage.requests["requests"].dtype == "Int64"
    assert counts.count().to_dict() == {False: 3, True: 0}
    assert tl.read_usage(SAMPLES / "openai_usage_completions.json").requests[
        "requests"
    ].tolist() == [7000, 900]


def report(result, *, start="2026-09-01T00:00:00Z", end="2026-09-02T00:00:00Z"):
    whole = {
        "model": "claude-opus-4-8",
        "uncached_input_tokens": 10,
        "cache_read_input_tokens": 0,
        "output_tokens": 1,
    }
    return {
        "data": [{"starting_at": start, "ending_at": end, "results": [whole | result]}],
        "has_more": False,
    }


def test_anthropic_report_tier_band_and_region(tmp_path):
    usage = read_json(
        tmp_path,
        [
            report({"service_tier": "batch", "context_window": "200k-1M", "inference_geo": "us"}),
            report(
                {"service_tier": "priority", "context_window": "0-200k", "inference_geo": "global"}
            ),
            report({"service_tier": None, "speed": "fast"}),
        ],
    )
    requests = usage.requests
    assert requests["batch"].tolist() == [True, False, False]
    assert requests["context_above"].tolist() == [200_000, 0, pd.NA]
    assert requests["region"].fillna("").tolist() == ["us", "global", ""]
    assert requests["service_tier"].fillna("").tolist() == ["", "priority", "fast"]
    assert "taken as no batch (1 row)" in usage.account.files.loc[0, "assumed"]


def test_anthropic_rows_of_overlapping_groups_are_set_aside(tmp_path):
    row = {"starting_at": "2026-09-01T00:00:00Z", "ending_at": "2026-09-02T00:00:00Z"}
    group = {"model": "claude-opus-4-8", "rbac_group_id": "g1"}
    usage = read_json(
        tmp_path,
        [
            {
                "data": [
                    row
                    | {"group": group, "usage": {"uncached_input_tokens": 5, "output_tokens": 2}}
                ]
            }
        ],
    )
    assert counted(usage) == (1, 0, 1, 0)
    assert "rbac_group_id" in usage.quarantine["reason"].item()


def test_anthropic_row_without_a_model_is_set_aside_not_priced_at_nothing(tmp_path):
    usage = read_json(tmp_path, [report({"model": None})])
    assert (counted(usage), usage.quarantine["reason"].item()) == ((1, 0, 1, 0), "no model")
    usage = read_json(tmp_path, [report({"model": None, "total_tokens": 11})])
    assert usage.account.totals["difference"].tolist() == [11.0]


def test_a_page_with_more_after_it_says_so(tmp_path):
    page = report({}) | {"has_more": True}
    assert (
        "more: are they here too? (1 row)"
        in read_json(tmp_path, [page]).account.files.loc[0, "assumed"]
    )
    assert "more" not in read_json(tmp_path, [report({})]).account.files.loc[0, "assumed"]


def test_a_report_read_twice_counts_once(tmp_path):
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(json.dumps(report({})))
    usage = tl.read_usage(tmp_path)
    assert [counted(usage, 0), counted(usage, 1)] == [(1, 1, 0, 0), (1, 0, 0, 1)]


def test_a_report_fetched_again_later_replaces_the_half_filled_one(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(report({"output_tokens": 1})))
    (tmp_path / "b.json").write_text(json.dumps(report({"output_tokens": 7})))
    usage = tl.read_usage(tmp_path)
    assert usage.requests["output_tokens"].tolist() == [7]
    assert [counted(usage, 0), counted(usage, 1)] == [(1, 0, 0, 1), (1, 1, 0, 0)]


def test_the_same_day_under_two_groupings_counts_once(tmp_path):
    by_model = report({"output_tokens": 7, "uncached_input_tokens": 20})
    (tmp_path / "model.json").write_text(json.dumps(by_model))
    rows = [
        {"workspace_id": w, "output_tokens": o, "uncached_input_tokens": 10}
        for w, o in (("w1", 3), ("w2", 4))
    ]
    parts = [report(row)["data"][0]["results"][0] for row in rows]
    by_model["data"][0]["results"] = parts
    (tmp_path / "workspace.json").write_text(json.dumps(by_model))
    usage = tl.read_usage(tmp_path)
    assert sorted(usage.requests["output_tokens"]) == [3, 4]
    assert usage.requests["team"].tolist() == ["w1", "w2"]
    balanced(usage)


def test_all_results_of_an_openai_bucket_count(tmp_path):
    bucket = json.loads((SAMPLES / "openai_usage_completions.json").read_text())
    results = bucket["data"][0]["results"]
    results.append(
        results[0]
        | {"batch": True, "input_tokens": 50, "input_cached_tokens": 20, "output_tokens": 5}
    )
    results.append(
        results[1] | {"input_cache_write_tokens": 100}
    )  # the same dimensions, other counts
    usage = read_json(tmp_path, [bucket])
    assert len(usage.requests) == 4
    assert usage.requests["batch"].tolist() == [False, False, True, False]
    assert usage.requests.loc[3, list(TOKEN_COLUMNS)].tolist() == [
        1_000_000 - 300_000 - 100,
        300_000,
        100,
        0,
        500_000,
    ]


def test_openai_line_items_name_their_model(tmp_path):
    lines = [
        "evals | gpt-4o-mini-2024-07-18, input",
        "assistants api | file search",
        "ft-gpt-4o-2024-08-06, input",
        None,
    ]
    results = [
        {"amount": {"value": "0.5", "currency": "usd"}, "line_item": line, "project_id": str(i)}
        for i, line in enumerate(lines)
    ]
    usage = read_json(
        tmp_path,
        [{"data": [{"start_time": 1788220800, "end_time": 1788307200, "results": results}]}],
    )
    assert usage.billed["model_id"].fillna("").tolist() == [
        "gpt-4o-mini",
        "",
        "ft-gpt-4o-2024-08-06",
        "",
    ]
    assert usage.billed["usd"].sum() == 2.0


def test_an_all_idle_openai_export_has_four_columns(tmp_path):
    file = tmp_path / "completions_usage.csv"
    file.write_text(
        "start_time,end_time,start_time_iso,end_time_iso\n1788134400,1788220800,2026-08-31,2026-09-01\n"
    )
    usage = tl.read_usage(file)
    assert (usage.account.files.loc[0, "format"], counted(usage)) == (
        "openai_dashboard_usage",
        (1, 0, 1, 0),
    )


def test_no_email_address_is_kept(tmp_path):
    usage = tl.read_usage(SAMPLES)
    everything = (
        usage.billed.to_csv()
        + usage.requests.to_csv()
        + usage.quarantine.to_csv()
        + usage.account.files.to_csv()
    )
    assert "@" not in everything
    rows = [
        sample("litellm_spendlogs.jsonl")[0] | {"user": user, "request_id": user}
        for user in ("Jo@example.com", "jo@example.com", "u1")
    ]
    users = read_json(tmp_path, rows).requests["user"].tolist()
    assert (
        users[0] == users[1] and re.fullmatch(r"user-[0-9a-f]{10}", users[0]) and users[2] == "u1"
    )


def test_quarantine_shows_no_text(tmp_path):
    row = sample("litellm_spendlogs.jsonl")[0]
    secret = "Dear doctor, my secret is sk-ant-fake03-abcdefghijkl and jo@example.com"
    rows = [
        row | {"prompt_tokens": secret},
        row | {"prompt_tokens": -5, "messages": secret},
        row | {"startTime": secret},
    ]
    rows += [row | {"prompt_tokens": "sk-ant-fake03-abcdefghijkl"}]
    (tmp_path / "log.jsonl").write_text(
        "\n".join(map(json.dumps, rows)) + '\n{"messages": "' + secret
    )
    usage = tl.read_usage(tmp_path / "log.jsonl")
    shown = usage.quarantine.to_csv()
    assert len(usage.quarantine) == 5 and "prompt_tokens=-5" in shown
    assert not any(word in shown for word in ("doctor", "secret", "sk-ant", "@"))


def test_a_litellm_cache_hit_sent_nothing_to_the_provider(tmp_path):
    row = sample("litellm_spendlogs.jsonl")[0]
    usage = read_json(tmp_path, [row, row | {"request_id": "other", "cache_hit": "True"}])
    assert counted(usage) == (2, 1, 1, 0)
    assert "LiteLLM's own cache" in usage.quarantine["reason"].item()


def test_litellm_status_attempts_and_times():
    requests = tl.read_usage(SAMPLES / "litellm_spendlogs.jsonl").requests
    assert requests["status"].tolist() == ["ok", "rate_limited", "ok"]
    assert requests["attempts"].tolist() == [1, 1, 2]
    assert requests["ttft_s"].round(6).tolist()[::2] == [0.45, 0.6]
    assert requests["end_to_end_s"].round(6).tolist() == [1.4, 30.0, 3.0]
    assert requests["reasoning_tokens"].tolist() == [0, 0, 60]
    assert requests[["task", "team", "user"]].drop_duplicates().values.tolist() == [
        ["triage", "team-a", "u1"]
    ]


def test_litellm_fast_way_and_careful_way_agree(tmp_path):
    rows = sample("litellm_spendlogs.jsonl")
    split = {"ephemeral_5m_input_tokens": 150, "ephemeral_1h_input_tokens": 50}
    details = {
        "cached_tokens": 900,
        "cache_creation_tokens": 200,
        "cache_creation_token_details": split,
    }
    rows.append(
        rows[0]
        | {
            "request_id": "split",
            "metadata": json.dumps({"usage_object": {"prompt_tokens_details": details}}),
        }
    )
    anthropic = {
        "cache_read_input_tokens": 900,
        "cache_creation_input_tokens": 200,
        "cache_creation": split,
    }
    rows.append(
        rows[0] | {"request_id": "own names", "metadata": json.dumps({"usage_object": anthropic})}
    )
    rows.append(rows[0] | {"request_id": "bare", "metadata": "{}", "completion_tokens": 9})
    fast = read_json(tmp_path, rows)
    slow = read_json(
        tmp_path,
        [
            *rows,
            rows[0] | {"request_id": 5, "metadata": {"usage_object": {}}, "total_tokens": "1250"},
        ],
        "slow.jsonl",
    )
    pd.testing.assert_frame_equal(fast.requests, slow.requests[:-1])
    assert (
        "(1 row)" in fast.account.files.loc[0, "assumed"]
    )  # only the sample's own row says no time to live
    assert fast.requests["cache_write_long_tokens"].tolist() == [0, 0, 0, 50, 50, 0]
    assert fast.requests["cache_read_tokens"].tolist() == [900, 0, 0, 900, 900, 0]
    assert fast.requests["reasoning_tokens"].tolist() == [0, 0, 60, 0, 0, pd.NA]


def test_langfuse_details_must_add_up(tmp_path):
    row = sample("langfuse_observations.jsonl")[0]
    # As a user sent it, the cache inside: 1000 + 100 are the total. With 1150 neither way adds up.
    inside = {"input": 1000, "input_cached_tokens": 800, "output": 100, "total": 1100}
    usage = read_json(
        tmp_path,
        [
            row,
            row | {"id": "o2", "usageDetails": inside},
            row | {"id": "o3", "totalCost": None},
            row | {"id": "o4", "usageDetails": inside | {"total": 1150}},
        ],
    )
    assert counted(usage) == (4, 3, 1, 0)
    assert summed(usage) == (600, 2400, 0, 0, 300)  # 200, 800 and 100 three times
    assert "do not add up" in usage.quarantine["reason"].item()
    # a model that Langfuse does not know is not free
    assert usage.requests["billed_usd"].isna().tolist() == [False, False, True]


def test_langfuse_csv_holds_its_maps_as_text(tmp_path):
    row = sample("langfuse_observations.jsonl")[0]
    with (tmp_path / "observations.csv").open("w", newline="") as file:
        cells = {
            name: json.dumps(value) if isinstance(value, dict) else value
            for name, value in row.items()
        }
        writer = csv.DictWriter(file, cells)
        writer.writeheader()
        writer.writerow(cells)
    assert (
        summed(tl.read_usage(tmp_path / "observations.csv"))
        == TOKENS["langfuse_observations.jsonl"][2]
    )


def test_helicone_openai_prompt_holds_its_cache_writes(tmp_path):
    row = sample("helicone_requests.jsonl")[0] | {
        "provider": "OPENAI",
        "response_model": "gpt-5.5",
        "prompt_tokens": 300,
    }
    usage = read_json(tmp_path, [row])
    assert summed(usage) == (100, 900, 200, 0, 50)  # 300 - 200 written; the 900 read stand beside


def test_otel_old_and_new_names_agree(tmp_path):
    new = sample("otel_spans.jsonl")[0]
    old = json.loads(json.dumps(new))
    names = {
        "gen_ai.provider.name": "gen_ai.system",
        "gen_ai.usage.input_tokens": "gen_ai.usage.prompt_tokens",
        "gen_ai.usage.output_tokens": "gen_ai.usage.completion_tokens",
        "gen_ai.usage.cache_read.input_tokens": "gen_ai.usage.input_tokens.cached",
    }
    span = old["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    span["spanId"] = "other"
    for attribute in span["attributes"]:
        attribute["key"] = names.get(attribute["key"], attribute["key"])
    usage = read_json(tmp_path, [new, old])
    pd.testing.assert_series_equal(usage.requests.loc[0], usage.requests.loc[1], check_names=False)


def test_otel_parents_do_not_count_their_children_again(tmp_path):
    record = sample("otel_spans.jsonl")[0]
    spans = record["resourceSpans"][0]["scopeSpans"][0]["spans"]
    agent = json.loads(json.dumps(spans[0])) | {"spanId": "agent"}
    agent["attributes"][0]["value"]["stringValue"] = "invoke_agent"
    spans += [agent, {"spanId": "db", "startTimeUnixNano": "1788256800000000000", "attributes": []}]
    usage = read_json(tmp_path, [record])
    assert counted(usage) == (3, 1, 2, 0)


def test_otel_metrics_are_not_requests(tmp_path):
    usage = read_json(tmp_path, [{"resourceMetrics": []}, sample("otel_spans.jsonl")[0]])
    assert (counted(usage), usage.quarantine["reason"].item()) == (
        (2, 1, 1, 0),
        "metrics hold no single requests: export spans",
    )


def test_focus_rows_of_other_services_are_set_aside(tmp_path):
    file = tmp_path / "focus.csv"
    text = (SAMPLES / "focus_ai.csv").read_text()
    header, first, *_ = text.splitlines()
    file.write_text(
        "\n".join(
            [
                header,
                first,
                first.replace("AI and Machine Learning", "Containers"),
                first.replace("Usage,claude", "Credit,claude"),
            ]
        )
    )
    usage = tl.read_usage(file)
    assert counted(usage) == (3, 2, 1, 0)
    assert usage.billed[["provider", "usd"]].values.tolist() == [
        ["anthropic", 4.2]
    ]  # a credit is money, not tokens


def test_claude_code_compaction_is_beside_the_message(tmp_path):
    row = sample("claude_code_session.jsonl")[2]
    row["message"]["usage"]["iterations"] = [
        {"type": "compaction", "input_tokens": 7, "output_tokens": 3},
        {"type": "message", "input_tokens": 100},
    ]
    assert summed(read_json(tmp_path, [row])) == (107, 900, 200, 0, 53)


def test_claude_code_keeps_the_first_time_and_the_most_output():
    request = tl.read_usage(SAMPLES / "claude_code_session.jsonl").requests.iloc[0]
    assert (request["at"], request["output_tokens"]) == (
        pd.Timestamp("2026-09-01 23:59:59.100"),
        50,
    )


def test_codex_archived_copies_and_repeated_totals_count_once(tmp_path):
    text = (SAMPLES / "codex_rollout.jsonl").read_text()
    for name in ("sessions/a.jsonl", "archived_sessions/a.jsonl"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    (tmp_path / "sessions/replay.jsonl").write_text(text + text.splitlines()[2] + "\n")
    usage = tl.read_usage(tmp_path)
    assert summed(usage) == TOKENS["codex_rollout.jsonl"][2]
    balanced(usage)


def test_codex_total_alone_is_told_by_its_growth(tmp_path):
    rows = sample("codex_rollout.jsonl")
    for row in rows[2:]:
        row["payload"]["info"]["last_token_usage"] = None
    usage = read_json(tmp_path, rows)
    assert summed(usage) == TOKENS["codex_rollout.jsonl"][2]
    assert usage.requests["reasoning_tokens"].tolist() == [60, 120]


def test_gcp_money_in_euros_is_left_out_and_said():
    usage = tl.read_usage(SAMPLES / "gcp_billing_export.jsonl")
    assert "billed_usd" not in usage.requests and usage.billed.empty
    euros = usage.account.totals.query("what == 'EUR'").iloc[0]
    # 0.46 + (0.4416 - 0.1) + 1.242 + 0.0828 + 3.726 + 0.1288: cost and credits
    assert (round(euros["theirs"], 9), euros["ours"]) == (5.9812, 0.0)


def test_gcp_in_dollars_is_net_of_credits(tmp_path):
    rows = [row | {"currency": "USD"} for row in sample("gcp_billing_export.jsonl")]
    usage = read_json(tmp_path, rows)
    assert usage.requests["billed_usd"].round(9).tolist() == [0.46, 0.3416, 1.242, 0.0828, 3.726]
    assert usage.billed[["line", "usd"]].values.tolist() == [
        ["Grounding with Google Search on Gemini 3", 0.1288]
    ]


@pytest.mark.parametrize(
    ("sku", "model", "bucket"),
    [
        (
            "Generate content input token count gemini 3.5 flash text",
            "gemini-3.5-flash",
            "uncached_input",
        ),
        (
            "Generate_content text cached input token count for gemini 3 pro short",
            "gemini-3-pro",
            "cache_read",
        ),
        ("Gemini 3.5 Flash Global Text Input - Predictions", "gemini-3.5-flash", "uncached_input"),
        (
            "Generate content output token count gemini 2.5 flash short input text",
            "gemini-2.5-flash",
            "output",
        ),
        ("Grounding with Google Search on Gemini 3", "gemini-3", None),
        ("Veo 3 Video Generation", None, None),
    ],
)
def test_sku_grammars(sku, model, bucket):
    from tierlab.usage.formats.clouds import bucket_in, model_in

    assert (bucket_in(sku), model_in(sku) if bucket else model) == (bucket, model)


def test_two_sources_that_say_other_currencies(tmp_path):
    page = json.loads((SAMPLES / "openai_costs.json").read_text())
    page["data"][0]["results"][0]["amount"]["currency"] = "eur"
    usage = read_json(tmp_path, [page])
    assert (counted(usage), usage.quarantine["reason"].item()) == (
        (7, 6, 1, 0),
        "a currency other than USD",
    )
    assert usage.billed["usd"].sum() == pytest.approx(19.725 - 0.45)


def test_unknown_models_keep_their_name_and_are_counted(tmp_path, maintained):
    rows = [
        sample("litellm_spendlogs.jsonl")[0] | {"model": name, "request_id": name}
        for name in ("our-own-7b", "gpt-5.5")
    ]
    usage = read_json(tmp_path, rows)
    assert usage.account.unknown_models.values.tolist() == [["our-own-7b", 1, 1250]]
    with pytest.raises(ValueError, match="unknown model 'our-own-7b'"):
        tl.price(usage.requests, maintained)


PLAIN = "at,model_id,input_tokens,cache_read_tokens,output_tokens,user\n"


@pytest.mark.parametrize(("inside", "uncached"), [(True, 200), (False, 1000)])
def test_plain_table_says_whether_input_holds_the_cache(tmp_path, inside, uncached):
    file = tmp_path / "log.csv"
    file.write_text(PLAIN + "2026-09-01T10:00:00Z,gpt-5.5,1000,800,50,u1\n")
    assert summed(tl.read_usage(file, cache_inside=inside)) == (uncached, 800, 0, 0, 50)
    with pytest.raises(
        ValueError, match=r"log\.csv: 'input_tokens' is a provider's own counter: say cache_inside"
    ):
        tl.read_usage(file)


def test_plain_reasoning_beside_output(tmp_path):
    file = tmp_path / "log.csv"
    file.write_text("model_id,input_tokens,output_tokens,reasoning_tokens\ngpt-5.5,10,5,7\n")
    assert tl.read_usage(file, reasoning_inside=False).requests["output_tokens"].item() == 12
    assert tl.read_usage(file).quarantine["reason"].item() == "more reasoning than output tokens"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"model": "model_idd"}, r"unknown column 'model_idd'; did you mean 'model_id'\?"),
        (
            {"modle": "model_id"},
            r"log\.csv: columns names 'modle', which the file lacks: unknown column 'modle'; did you mean 'model'\?",
        ),
        ({"user": "model_id", "model": "model_id"}, r"log\.csv: column 'model_id' comes twice"),
    ],
)
def test_a_wrong_map_names_the_nearest_column(tmp_path, columns, message):
    file = tmp_path / "log.csv"
    file.write_text("model,uncached_input_tokens,output_tokens,user\ngpt-5.5,1,1,u\n")
    with pytest.raises(ValueError, match=message):
        tl.read_usage(file, columns=columns)


def test_a_column_that_is_nearly_ours_is_not_passed_over(tmp_path):
    file = tmp_path / "log.csv"
    file.write_text(
        "model_id,uncached_input_tokens,cache_raed_tokens,output_tokens\ngpt-5.5,1,5,1\n"
    )
    with pytest.raises(
        ValueError,
        match=r"log\.csv: unknown column 'cache_raed_tokens'; did you mean 'cache_read_tokens'",
    ):
        tl.read_usage(file)


def test_parquet_and_csv_of_the_same_table_agree(tmp_path):
    table = tl.Workload(requests_per_day=1000, input_tokens=500, output_tokens=300).requests(
        500, seed=1
    )
    table = table.assign(
        model_id="gpt-5.5", at=pd.Timestamp("2026-09-01 10:00"), batch=table["batch"], ttft_s=0.5
    )
    table.to_parquet(tmp_path / "log.parquet")
    table.to_csv(tmp_path / "log.csv", index=False)
    left, right = (tl.read_usage(tmp_path / f"log.{kind}").requests for kind in ("parquet", "csv"))
    pd.testing.assert_frame_equal(left, right)
    assert summed(tl.read_usage(tmp_path / "log.parquet")) == tuple(
        int(table[column].sum()) if column in table else 0 for column in TOKEN_COLUMNS
    )


@pytest.mark.parametrize(
    ("zone", "times"),
    [
        ("UTC", ["2026-10-25 02:30", "2026-07-01 12:00", "2026-01-01 12:00"]),
        # summer +02:00, winter +01:00; 02:30 comes twice on 2026-10-25 and counts as the first, +02:00
        ("Europe/Berlin", ["2026-10-25 00:30", "2026-07-01 12:00", "2026-01-01 11:00"]),
        ("Asia/Kolkata", ["2026-10-24 21:00", "2026-07-01 12:00", "2026-01-01 06:30"]),
    ],
)
def test_times_without_a_zone(tmp_path, zone, times):
    file = tmp_path / "log.csv"
    rows = ("2026-10-25T02:30:00", "2026-07-01T14:00:00+02:00", "2026-01-01 12:00:00")
    file.write_text(PLAIN + "".join(f"{at},gpt-5.5,1,0,1,u\n" for at in rows))
    usage = tl.read_usage(file, timezone=zone, cache_inside=True)
    assert usage.requests["at"].tolist() == [pd.Timestamp(at) for at in times]
    assert ("twice" in usage.account.files.loc[0, "assumed"]) == (zone == "Europe/Berlin")
    assert usage.account.timezone == zone


def test_report_days_are_utc_whatever_the_zone():
    usage = tl.read_usage(SAMPLES / "anthropic_console_cost.csv", timezone="America/Los_Angeles")
    assert usage.billed["day"].unique().tolist() == [pd.Timestamp("2026-09-01")]


def test_one_bad_row_and_a_half_written_last_line_lose_nothing_else(tmp_path):
    lines = (SAMPLES / "litellm_spendlogs.jsonl").read_text().splitlines()
    file = tmp_path / "log.jsonl"
    file.write_text(
        "\n".join(
            [
                lines[0],
                lines[1].replace('"prompt_tokens": 0', '"prompt_tokens": -3'),
                "not json",
                lines[2],
                lines[0][:300],
            ]
        )
    )
    usage = tl.read_usage(file)
    assert counted(usage) == (5, 2, 3, 0)
    assert usage.quarantine["line"].tolist() == [3, 5, 2]
    assert summed(usage) == (800, 900, 200, 0, 150)


@pytest.mark.parametrize("first", ['{"req', '": 5}}', "x" * 300, '"'])
def test_a_log_that_begins_in_the_middle_of_a_line(tmp_path, first):
    file = tmp_path / "log.jsonl"
    file.write_text(first + "\n" + (SAMPLES / "litellm_spendlogs.jsonl").read_text())
    assert counted(tl.read_usage(file)) == (4, 3, 1, 0)


def test_an_object_in_place_of_a_number_costs_its_own_row(tmp_path):
    rows = sample("litellm_spendlogs.jsonl")
    whole = read_json(tmp_path, rows)
    rows[0] |= {"spend": {"usd": 1}}
    usage = read_json(tmp_path, rows)
    assert len(usage.requests) == len(whole.requests) - 1
    assert "not a number" in usage.quarantine["reason"].tolist()
    balanced(usage)


def test_a_log_without_a_single_object_is_set_aside_line_by_line(tmp_path):
    file = tmp_path / "log.jsonl"
    file.write_text("[1]\n[2]\n")
    check_usage(file, format="litellm")
    usage = tl.read_usage(file, format="litellm")
    reasons = usage.quarantine[["line", "reason"]].values.tolist()
    assert reasons == [[1, "not an object"], [2, "not an object"]]
    balanced(usage)


def _cut_off(text):
    return text[: text.index('"Web Search Usage"')]


def _cut_off_on_one_line(text):
    return _cut_off(json.dumps(json.loads(text)))


def _quote_left_open(text):
    return text.replace('"amount": "90.00000"', '"amount": "90.00000')


@pytest.mark.parametrize("broken", [_cut_off, _cut_off_on_one_line, _quote_left_open])
def test_a_report_that_is_no_whole_json_is_set_aside_with_its_line(tmp_path, broken):
    """No part of the report counts, because a sum of its legible part would pass for the whole bill."""
    file = tmp_path / "report.json"
    file.write_text(broken((SAMPLES / "anthropic_cost_report.json").read_text()))
    with pytest.raises(ValueError, match=r"report\.json: broken JSON at line \d+: mend the file"):
        tl.read_usage(file)
    (tmp_path / "good.jsonl").write_text((SAMPLES / "litellm_spendlogs.jsonl").read_text())
    usage = tl.read_usage(tmp_path)
    assert usage.account.files["problem"].str.startswith("broken JSON at line").sum() == 1
    assert (len(usage.requests), len(usage.billed)) == (3, 0)


def test_a_stray_quote_costs_its_own_row(tmp_path):
    file = tmp_path / "log.csv"
    rows = [f"2026-09-01T10:00:00Z,gpt-5.5,{i},0,1,u{i}" for i in range(1, 201)]
    rows[50] = rows[50].replace("u51", '"u51')
    rows[120] = rows[120].replace("u121", '"a name\nover two lines"')
    rows[130] += ",one cell too many"
    file.write_text(PLAIN + "\n".join(rows) + "\n")
    usage = tl.read_usage(file, cache_inside=True)
    assert counted(usage) == (200, 198, 2, 0)
    assert summed(usage)[0] == 200 * 201 // 2 - 51 - 131
    assert sorted(usage.quarantine["line"]) == [
        52,
        133,
    ]  # one header line above, one more line from row 121 on


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
@pytest.mark.parametrize(
    "name", ["openrouter_activity.csv", "litellm_spendlogs.jsonl", "openai_costs.json"]
)
def test_encodings(tmp_path, name, encoding):
    text = (SAMPLES / name).read_text().replace("u1", "Zoë").replace("web search", "wéb search")
    plain, coded = tmp_path / "plain", tmp_path / "coded"
    plain.write_text(text, encoding="utf-8")
    coded.write_text(text, encoding=encoding)
    left, right = tl.read_usage(plain), tl.read_usage(coded)
    pd.testing.assert_frame_equal(left.requests, right.requests)
    pd.testing.assert_frame_equal(
        left.billed.drop(columns="file"), right.billed.drop(columns="file")
    )


def test_folders_patterns_and_packed_files(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    with gzip.open(tmp_path / "deep" / "er" / "log.jsonl.gz", "wt") as file:
        file.write((SAMPLES / "litellm_spendlogs.jsonl").read_text())
    (tmp_path / "deep" / "notes.md").write_text("not a log")
    for path in (tmp_path, str(tmp_path / "**" / "*.gz"), [tmp_path, tmp_path / "deep"]):
        assert summed(tl.read_usage(path)) == TOKENS["litellm_spendlogs.jsonl"][2]


def test_a_packed_file_that_ends_early_keeps_what_it_has(tmp_path):
    rng = np.random.default_rng(1)
    rows = [
        sample("litellm_spendlogs.jsonl")[0]
        | {"request_id": str(i), "api_base": rng.bytes(40).hex()}
        for i in range(500)
    ]
    packed = gzip.compress("\n".join(map(json.dumps, rows)).encode())
    (tmp_path / "log.jsonl.gz").write_bytes(packed[: len(packed) * 3 // 4])
    usage = tl.read_usage(tmp_path / "log.jsonl.gz")
    assert 300 < len(usage.requests) < 400
    assert usage.quarantine["reason"].iloc[-1] == "packed file ends early"
    balanced(usage)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"log\.csv: the file is empty"),
        (
            "a,b\n1,2\n",
            r"log\.csv: not a known format: .* the file has \['a', 'b'\].* Looked for were .*cursor \(Date, Model",
        ),
        (
            "usage_date_utc,cost\n2026-09-01,2\n",
            r"log\.csv: not a known format: .*anthropic_console_cost \(usage_date_utc, cost_usd\)",
        ),
        ("a,a\n1,2\n", r"log\.csv: the header has 'a' twice"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path, text, message):
    file = tmp_path / "log.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        tl.read_usage(file)
    (tmp_path / "good.jsonl").write_text((SAMPLES / "litellm_spendlogs.jsonl").read_text())
    usage = tl.read_usage(
        tmp_path
    )  # one file of many is named in the account, and the others are read
    problem = usage.account.files.set_index("file")["problem"]
    assert re.search(message.split(": ")[1][:20], problem[str(file)]) and len(usage.requests) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "litelm"}, r"unknown format 'litelm'; did you mean 'litellm'\?"),
        ({"timezone": "Europe/Berlim"}, "unknown timezone 'Europe/Berlim'"),
        (
            {"paths": SAMPLES / "litellm_spendlog.jsonl"},
            r"no such file; .* did you mean 'litellm_spendlogs.jsonl'\?",
        ),
        ({"paths": []}, "paths is empty"),
        ({"paths": SAMPLES.parent / "none" / "*.csv"}, "no file to read there"),
    ],
)
def test_a_wrong_option_names_the_nearest(options, message):
    with pytest.raises(ValueError, match=message):
        tl.read_usage(**{"paths": SAMPLES / "litellm_spendlogs.jsonl"} | options)


OPENAI_DIMENSIONS = {
    "model": "gpt-5.5",
    "project_id": "other",
    "user_id": "other",
    "api_key_id": "other",
    "batch": True,
    "service_tier": "flex",
}


@pytest.mark.parametrize("name", OPENAI_DIMENSIONS)
def test_openai_results_that_differ_in_one_dimension_are_two(tmp_path, name):
    page = json.loads((SAMPLES / "openai_usage_completions.json").read_text())
    result = page["data"][0]["results"][0]
    page["data"][0]["results"] = [result, result | {name: OPENAI_DIMENSIONS[name]}]
    assert counted(read_json(tmp_path, [page])) == (2, 2, 0, 0)


@pytest.mark.parametrize("name", ["start_time", "end_time"])
def test_openai_buckets_of_other_times_are_two(tmp_path, name):
    page = json.loads((SAMPLES / "openai_usage_completions.json").read_text())
    bucket = page["data"][0] | {"results": page["data"][0]["results"][:1]}
    page["data"] = [bucket, bucket | {name: bucket[name] + 3600}]
    assert counted(read_json(tmp_path, [page])) == (2, 2, 0, 0)


ANTHROPIC_DIMENSIONS = {
    "workspace_id": "other",
    "api_key_id": "other",
    "service_tier": "batch",
    "context_window": "200k-1M",
    "inference_geo": "us",
    "speed": "fast",
    "account_id": "other",
}


@pytest.mark.parametrize("name", ANTHROPIC_DIMENSIONS)
def test_anthropic_results_that_differ_in_one_dimension_are_two(tmp_path, name):
    page = report({})
    page["data"][0]["results"] += report({name: ANTHROPIC_DIMENSIONS[name]})["data"][0]["results"]
    assert counted(read_json(tmp_path, [page])) == (2, 2, 0, 0)


@pytest.mark.parametrize(
    ("counters", "unit", "quantity", "told"),
    [
        ({"input_audio_tokens": 7, "output_audio_tokens": 0}, "input_audio_tokens", 7, False),
        ({"input_image_tokens": 3, "output_audio_tokens": 7}, "output_audio_tokens", 7, True),
        ({"input_audio_tokens": 0, "output_audio_tokens": 0}, None, 0, False),
    ],
)
def test_openai_audio_stands_beside_the_text(tmp_path, counters, unit, quantity, told):
    """One unit a row; what a second one holds is told, and stays where it is."""
    page = json.loads((SAMPLES / "openai_usage_completions.json").read_text())
    result = page["data"][0]["results"][0]
    page["data"][0]["results"] = [result | counters]
    usage = read_json(tmp_path, [page])
    row = usage.requests.iloc[0]
    assert (row.get("unit"), row.get("quantity", 0)) == (unit, quantity)
    whole = result["input_tokens"] + result["output_tokens"]
    assert row[list(TOKEN_COLUMNS)].sum() == whole - quantity
    assert (
        "input_image_tokens beside another unit" in usage.account.files.loc[0, "assumed"]
    ) == told


def test_an_anthropic_actor_is_known_by_e_mail_before_id(tmp_path):
    page = json.loads((SAMPLES / "anthropic_analytics_usage.json").read_text())
    rows = page["data"]
    rows[0]["group"]["actor"] = {"id": "user_1", "email_address": "jo@example.com", "name": "Jo"}
    rows[1]["group"]["actor"] = {"id": "user_2", "email_address": None, "name": "Al"}
    users = read_json(tmp_path, [page]).requests["user"].tolist()
    assert re.fullmatch(r"user-[0-9a-f]{10}", users[0]) and users[1] == "user_2"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (200, "ok"),
        (400, "bad_request"),
        (429, "rate_limited"),
        (499, "cancelled"),
        (500, "unavailable"),
        (501, "unavailable"),
        (503, "overloaded"),
    ],
)
def test_http_statuses_have_words(tmp_path, code, status):
    row = sample("helicone_requests.jsonl")[0] | {"response_status": code}
    assert read_json(tmp_path, [row]).requests["status"].item() == status


def test_what_was_assumed_is_counted_in_kept_rows_alone(tmp_path):
    """A row that is set aside has nothing assumed about it, whichever check comes first."""
    whole = report({"speed": "fast"})
    whole["data"][0]["results"] += report({"speed": "fast", "model": None})["data"][0]["results"]
    usage = read_json(tmp_path, [whole])
    assert counted(usage) == (2, 1, 1, 0)
    assumed = usage.account.files.loc[0, "assumed"]
    assert assumed == "not grouped by service_tier: taken as no batch (1 row)"
