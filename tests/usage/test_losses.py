"""Usage that could be lost, doubled or mispriced without a word: each case small enough to be counted by hand."""

import json

import pandas as pd
import pytest

import tierlab as tl
from tierlab.core.tables import TOKEN_COLUMNS
from tierlab.usage.read import guess_columns


def read(tmp_path, rows, name="log.jsonl", **said):
    """Return the usage in rows (objects, or the text of a CSV file)."""
    if not isinstance(rows, str):
        name, rows = name, "\n".join(map(json.dumps, rows)) + "\n"
    file = tmp_path / name
    file.write_text(rows)
    return tl.read_usage(file, **said)


def chat(number, second, prompt=400):
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1788256800 + second,
        "model": "gpt-5.5",
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": 3,
            "total_tokens": prompt + 3,
        },
    }


def claude(at, output, call="req_a", message="msg_0"):
    usage = {"input_tokens": 1000, "output_tokens": output}
    return {
        "type": "assistant",
        "timestamp": f"2026-09-01T{at}Z",
        "sessionId": "s",
        "uuid": f"u{at}",
        "message": {
            "id": message,
            "role": "assistant",
            "model": "claude-sonnet-4-6",
            "usage": usage,
        },
    } | ({"requestId": call} if call else {})


def litellm(start, **told):
    return {
        "request_id": "chatcmpl-123",
        "call_type": "acompletion",
        "spend": 0.008,
        "startTime": f"2026-09-01T{start}",
        "endTime": f"2026-09-01T{start}",
        "model": "gpt-5.5",
        "custom_llm_provider": "openai",
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "total_tokens": 1100,
        "status": "success",
        "metadata": "{}",
    } | told


def span(trace, start_s, response="chatcmpl-123"):
    told = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-5.5",
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 100,
        "gen_ai.response.id": response,
    }
    return {
        "traceId": trace,
        "spanId": f"s{start_s}",
        "startTimeUnixNano": str((1788256800 + start_s) * 10**9),
        "endTimeUnixNano": str((1788256801 + start_s) * 10**9),
        "attributes": told,
    }


def test_servers_that_begin_their_ids_anew_lose_no_call(tmp_path):
    # 300 answers a second apart under 100 ids, all with the same prompt
    usage = read(tmp_path, [chat(second % 100, second) for second in range(300)])
    assert len(usage.requests) == 300
    assert "another call (200 rows)" in usage.account.files["assumed"].item()


def test_an_answer_that_is_written_twice_is_one(tmp_path):
    rows = [chat(1, 0), chat(1, 0), chat(1, 60), chat(1, 60)]
    assert len(read(tmp_path, rows).requests) == 2


def test_calls_of_claude_code_are_told_apart_by_their_request(tmp_path):
    rows = [
        claude("10:00:00", 1),  # a stream: 100 tokens in the end
        claude("10:00:02", 100),
        claude("10:01:00", 200, "req_b"),
        claude("10:02:00", 50, "req_c"),
        claude("10:02:00", 50, "req_c") | {"sessionId": "resumed"},
    ]
    assert read(tmp_path, rows).requests["output_tokens"].tolist() == [100, 200, 50]


def test_a_stream_without_the_name_of_its_request_is_one_call(tmp_path):
    rows = [claude("10:00:00", 1, None), claude("10:00:02", 100, None)]
    assert read(tmp_path, rows).requests["output_tokens"].tolist() == [100]


def test_one_id_for_all_answers_of_a_gateway(tmp_path):
    usage = read(tmp_path, [litellm("10:00:00"), litellm("10:10:00", spend=0.0086)])
    assert usage.requests["billed_usd"].tolist() == [0.008, 0.0086]


def test_two_traces_are_two_calls(tmp_path):
    rows = [span("a", 0), span("b", 100), span("b", 101)]  # the last: told twice in one trace
    assert len(read(tmp_path, rows).requests) == 2


def test_a_gateway_and_a_trace_that_tell_of_the_same_calls(tmp_path):
    (tmp_path / "spend.jsonl").write_text(
        "\n".join(json.dumps(litellm(start)) for start in ("10:00:00.2", "10:10:00.2"))
    )
    spans = [span("a", 0), span("b", 600)]  # 1788256800 is 10:00:00
    assert len(read(tmp_path, spans, "spans.jsonl").requests) == 2
    assert len(tl.read_usage(tmp_path).requests) == 2


def test_a_number_that_two_models_share_is_two_calls(tmp_path):
    rows = """at,model_id,input_tokens,output_tokens,request_id
2026-09-01T10:00:00,gpt-5.5,1000,100,1
2026-09-01T10:00:00,claude-sonnet-4-6,1000,100,1
2026-09-01T10:00:00,claude-sonnet-4-6,1000,100,1
"""
    assert len(read(tmp_path, rows, "own.csv").requests) == 2


def test_days_without_a_time_are_sums_of_many_requests(tmp_path, maintained):
    rows = "at,model_id,input_tokens,output_tokens\n2026-09-01,gpt-5.5,900000,10000\n"
    usage = read(tmp_path, rows, "days.csv")
    assert usage.requests["aggregate"].all() and usage.requests["requests"].isna().all()
    assert "taken as a sum of many (1 row)" in usage.account.files["assumed"].item()
    # 0.9 million at $5 and 0.01 million at $30, and no step for inputs above 272,000 tokens
    assert tl.price(usage.requests, maintained)["cost_usd"].sum() == pytest.approx(4.80)


@pytest.mark.parametrize(
    ("column", "cell", "requests"), [("request_id", "a", 1), ("api_requests", "700", 700)]
)
def test_a_day_with_ids_or_counts_of_requests_is_what_it_says(tmp_path, column, cell, requests):
    rows = f"date,model,prompt,output,{column}\n2026-09-01,gpt-5.5,900000,10000,{cell}\n"
    (tmp_path / "days.csv").write_text(rows)
    guess = guess_columns(tmp_path / "days.csv")
    assert read(tmp_path, rows, "days.csv", columns=guess).requests["requests"].item() == requests


COSTS = """Datum,Modell,prompt_tokens,completion_tokens,Kosten{}
2026-09-01T10:00:00,gpt-5.5,1000,100,0.007{}
"""


@pytest.mark.parametrize("heading", ["currency", "Billing Currency", "Waehrung"])
def test_a_column_of_the_currency_is_believed(tmp_path, heading):
    said = {}
    for code in ("EUR", "USD"):
        rows = COSTS.format(f",{heading}", f",{code}")
        (tmp_path / "own.csv").write_text(rows)
        columns = guess_columns(tmp_path / "own.csv")
        said[code] = read(tmp_path, rows, "own.csv", columns=columns)
    assert said["EUR"].quarantine["reason"].tolist() == ["a currency other than USD"]
    assert said["USD"].requests["billed_usd"].tolist() == [0.007]
    assert "names no currency" not in said["USD"].account.files["assumed"].item()


def test_a_total_of_ones_own_table_is_checked(tmp_path):
    head = "at,model_id,uncached_input_tokens,cache_read_tokens,output_tokens,total_tokens\n"
    row = "2026-09-01T10:00:00,gpt-5.5,1000,500,100,{}\n"
    found = [read(tmp_path, head + row.format(total), "own.csv") for total in (1600, "1,600", 5000)]
    told = [usage.account.assumed["total"].tolist() for usage in found]
    assert told == [[], [], [3400]]


def test_money_without_a_currency_is_told(tmp_path):
    rows = COSTS.format("", "")
    (tmp_path / "own.csv").write_text(rows)
    usage = read(tmp_path, rows, "own.csv", columns=guess_columns(tmp_path / "own.csv"))
    assert "'Kosten' names no currency" in usage.account.files["assumed"].item()


@pytest.mark.parametrize("heading", ["cost_eur", "Kosten (€)", "Kosten in EUR", "cost GBP"])
def test_a_heading_that_names_another_currency_is_refused(tmp_path, heading):
    rows = COSTS.format("", "").replace("Kosten", heading)
    (tmp_path / "own.csv").write_text(rows)
    columns = guess_columns(tmp_path / "own.csv")
    with pytest.raises(ValueError, match="names another currency than USD"):
        read(tmp_path, rows, "own.csv", columns=columns | {heading: "billed_usd"})
    assert len(read(tmp_path, rows, "own.csv", columns=columns).requests) == 1


def test_focus_keeps_units_and_their_dollars(tmp_path, maintained):
    table = pd.DataFrame(
        {
            "at": pd.to_datetime("2026-09-01 10:00"),
            "model_id": ["claude-sonnet-4-6", "claude-sonnet-4-6", "gpt-4o-audio-preview"],
            "uncached_input_tokens": [1000, 0, 0],
            "output_tokens": [100, 0, 0],
            "unit": ["web_searches", "web_searches", "input_audio_tokens"],
            "quantity": [1.0, 2.0, 1000.0],
        }
    )
    priced = table.join(tl.price(table, maintained))
    # $3 and $15 per million tokens and $10 per thousand searches
    assert priced["cost_usd"].head(2).tolist() == pytest.approx([0.0045 + 0.01, 0.02])
    usage = read(tmp_path, tl.to_focus(priced).to_csv(index=False), "focus.csv")
    back = usage.requests
    assert back.groupby("unit")["quantity"].sum().to_dict() == {
        "web_searches": 3,
        "input_audio_tokens": 1000,
    }
    assert (back["uncached_input_tokens"].sum(), back["output_tokens"].sum()) == (1000, 100)
    assert back["billed_usd"].sum() == pytest.approx(priced["cost_usd"].sum())
    assert usage.billed.empty and usage.account.totals["difference"].abs().max() < 1e-9


def test_focus_keeps_fees(tmp_path):
    table = pd.DataFrame(
        {
            "at": pd.to_datetime(["2026-09-01"]),
            "model_id": ["gpt-5.5"],
            "uncached_input_tokens": [1000],
            "uncached_input_usd": [0.005],
            "cache_write_usd": [0.0],
            "other_usd": [0.02],
            "cost_usd": [0.025],
        }
    )
    usage = read(tmp_path, tl.to_focus(table).to_csv(index=False), "focus.csv")
    assert usage.requests["billed_usd"].tolist() == pytest.approx([0.005])
    assert usage.billed["usd"].tolist() == pytest.approx([0.02])


def test_equal_charges_of_two_invoices_are_two(tmp_path):
    row = "3,USD,2026-09-01T00:00:00Z,2026-09-02T00:00:00Z,Usage,1000000,Tokens,claude-sonnet-4-6,Input Tokens,"
    head = "BilledCost,BillingCurrency,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,"
    head += "ConsumedQuantity,ConsumedUnit,SkuId,SkuMeter,InvoiceId\n"
    usage = read(tmp_path, head + f"{row}i1\n{row}i2\n{row}i2\n", "focus.csv")
    assert usage.requests["uncached_input_tokens"].sum() == 2_000_000


def test_searches_of_openai_stand_beside_its_usage(tmp_path, maintained):
    search = {"type": "web_search_call", "status": "completed", "action": {"type": "search"}}
    answer = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1788256800,
        "model": "gpt-5.5",
        "output": [
            search,
            search | {"action": {"type": "open_page"}},
            search | {"status": "failed"},
            {"type": "web_search_call"},
            {"type": "message"},
        ],
        "usage": {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100},
    }
    found = read(tmp_path, [answer]).requests
    assert found[["unit", "quantity"]].values.tolist() == [["web_searches", 2]]
    # $5 and $30 per million tokens, $10 per thousand searches
    assert tl.price(found, maintained)["cost_usd"].item() == pytest.approx(0.008 + 0.02)


@pytest.mark.parametrize(
    ("model", "quantity", "usd"),
    # once an answer at $35 per thousand, a search at $14
    [("gemini-2.5-flash", 1, 0.00055 + 0.035), ("gemini-3.5-flash", 2, None)],
)
def test_searches_of_gemini_stand_beside_its_usage(tmp_path, maintained, model, quantity, usd):
    grounded = {"webSearchQueries": ["a", "b"]}
    answer = {
        "responseId": "g1",
        "modelVersion": model,
        "timestamp": "2026-09-01T10:00:00Z",
        "candidates": [{"finishReason": "STOP", "groundingMetadata": grounded}],
        "usageMetadata": {
            "promptTokenCount": 1000,
            "candidatesTokenCount": 100,
            "totalTokenCount": 1100,
        },
    }
    found = read(tmp_path, [answer]).requests
    assert found[["unit", "quantity"]].values.tolist() == [["web_searches", quantity]]
    if usd:
        assert tl.price(found, maintained)["cost_usd"].item() == pytest.approx(usd)


def test_a_generation_inside_a_generation_is_one_call(tmp_path):
    outer = {
        "id": "o1",
        "traceId": "t",
        "type": "GENERATION",
        "startTime": "2026-09-01T10:00:00Z",
        "model": "gpt-5.5",
        "usageDetails": {"input": 200, "output": 100, "total": 300},
        "totalCost": 0.004,
    }
    inner = outer | {"id": "o2", "parentObservationId": "o1"}
    usage = read(tmp_path, [outer, inner, outer | {"id": "o3"}])
    assert usage.requests["billed_usd"].tolist() == [0.004, 0.004]
    assert usage.account.files["duplicates"].item() == 1


def azure(*days):
    head = "Date,MeterCategory,MeterName,Quantity,UnitOfMeasure,EffectivePrice,CostInBillingCurrency,BillingCurrency"
    row = "{},Foundry Models,GPT 5 Inpt Glbl 1M Tokens,2,1M,1.25,2.5,USD"
    return "\n".join([head, *map(row.format, days)]) + "\n"


@pytest.mark.parametrize(
    ("days", "found"),
    [
        (("01/09/2026", "13/09/2026"), ["2026-09-01", "2026-09-13"]),
        (("01/09/2026", "01/13/2026"), ["2026-01-09", "2026-01-13"]),
        (("2026-09-01", "2026-09-13"), ["2026-09-01", "2026-09-13"]),
    ],
)
def test_a_day_above_twelve_tells_which_number_is_the_day(tmp_path, days, found):
    times = read(tmp_path, azure(*days), "azure.csv").requests["at"]
    assert times.dt.strftime("%Y-%m-%d").tolist() == found


def test_days_that_may_be_months_are_told(tmp_path):
    usage = read(tmp_path, azure("01/09/2026", "12/09/2026"), "azure.csv")
    assert "taken as month/day/year (2 rows)" in usage.account.files["assumed"].item()


def test_the_first_rows_of_an_export_follow_the_later_ones(tmp_path):
    usage = read(tmp_path, azure(*["01/09/2026"] * 500, "13/09/2026"), "azure.csv")
    assert usage.requests["at"].dt.month.unique().tolist() == [9]


def codex(minute, prompt, cached, output):
    total = {
        "input_tokens": prompt,
        "cached_input_tokens": cached,
        "output_tokens": output,
        "reasoning_output_tokens": 0,
        "total_tokens": prompt + output,
    }
    told = {"type": "token_count", "info": {"last_token_usage": None, "total_token_usage": total}}
    return {"timestamp": f"2026-09-01T10:0{minute}:00Z", "type": "event_msg", "payload": told}


def test_totals_of_codex_that_fall_begin_anew(tmp_path):
    start = {"timestamp": "2026-09-01T10:00:00Z"}
    rows = [
        start | {"type": "session_meta", "payload": {"id": "s"}},
        start | {"type": "turn_context", "payload": {"model": "gpt-5.5"}},
        codex(1, 10_000, 0, 100),
        codex(2, 25_000, 8000, 300),
        codex(3, 4000, 0, 50),
        codex(4, 9000, 3000, 150),
    ]
    found = read(tmp_path, rows).requests
    assert found["output_tokens"].tolist() == [100, 200, 50, 100]
    assert found["uncached_input_tokens"].tolist() == [10_000, 15_000 - 8000, 4000, 5000 - 3000]
    assert found["cache_read_tokens"].tolist() == [0, 8000, 0, 3000]


def test_a_usage_object_beside_columns_of_its_own_is_told(tmp_path):
    row = {"at": "2026-09-01T10:00:00", "model_id": "gpt-5.5", "input_tokens": 1000}
    row |= {"output_tokens": 100, "usage": {"cached": 800, "details": {"audio": 7}}}
    told = read(tmp_path, [row, row]).account.assumed.set_index("what")["total"]
    assert told["a counter that no rule reads, 'usage.cached'"] == 1600
    assert told["a counter that no rule reads, 'usage.details.audio'"] == 14


def test_exports_that_share_rows_are_told(tmp_path):
    head = "at,model_id,input_tokens,output_tokens\n"
    rows = [f"2026-08-{day:02}T10:00:00,gpt-5.5,{1000 + day},100\n" for day in range(1, 7)]
    (tmp_path / "a.csv").write_text(head + "".join(rows[:4]))
    usage = read(tmp_path, head + "".join(rows[2:]), "b.csv")
    assert usage.account.overlaps.empty
    usage = tl.read_usage(tmp_path)
    assert len(usage.requests) == 8
    told = usage.account.overlaps.iloc[0]
    assert told["what"] == "requests in two files of one format"
    assert (told["dropped"], told["rows"]) == ("", 4)  # days 3 and 4, twice each
    assert [told["first_day"].day, told["last_day"].day] == [3, 4]
    assert "may overlap" in repr(usage)


def test_month_to_date_exports_that_differ_are_told(tmp_path):
    (tmp_path / "a.csv").write_text(
        azure("09/13/2026").replace(",2,1M", ",1,1M").replace("2.5", "1.25")
    )
    (tmp_path / "b.csv").write_text(azure("09/13/2026", "09/14/2026"))
    usage = tl.read_usage(tmp_path)
    told = usage.account.overlaps.iloc[0]
    assert (told["what"], told["rows"]) == ("reports in two files of one format", 2)


def test_money_alone_in_two_files_of_one_day(tmp_path):
    """Tables without tokens have no columns of tokens to compare."""
    result = {"amount": "123.45", "currency": "USD", "cost_type": "tokens", "description": "x"}
    for name, amount in (("a", "100"), ("b", "200")):
        bucket = {
            "starting_at": "2026-09-01T00:00:00Z",
            "ending_at": "2026-09-02T00:00:00Z",
            "results": [result | {"amount": amount, "description": name}],
        }
        page = {"data": [bucket], "has_more": False}
        (tmp_path / f"{name}.json").write_text(json.dumps(page))
    usage = tl.read_usage(tmp_path)
    assert usage.billed["usd"].tolist() == [1, 2]  # of cents
    assert usage.account.overlaps["what"].tolist() == ["reports in two files of one format"]


def test_deepseek_tells_its_cache_beside_its_input(tmp_path):
    """Of 1,000 input tokens, 800 were read from the cache."""
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    usage |= {"prompt_cache_hit_tokens": 800, "prompt_cache_miss_tokens": 200}
    row = {"id": "a", "object": "chat.completion", "created": 1788256800, "usage": usage}
    found = read(tmp_path, [row | {"model": "deepseek-v4-pro"}])
    columns = ["uncached_input_tokens", "cache_read_tokens", "output_tokens"]
    assert found.requests[columns].to_numpy().tolist() == [[200, 800, 100]]
    assert found.account.assumed.empty


@pytest.mark.parametrize(("second", "calls"), [("10:59:59", 1), ("11:00:01", 2)])
def test_lines_of_one_message_lie_within_an_hour(tmp_path, second, calls):
    """Without a request id, rows of one message are one call if they lie within the time that an answer may take."""
    rows = [claude("10:00:00", 100, call=""), claude(second, 100, call="")]
    assert len(read(tmp_path, rows).requests) == calls


CACHED = {"prompt_tokens_details": {"cached_tokens": 800}}
WRITTEN = {"cache_read_input_tokens": 600, "cache_creation_input_tokens": 300}


@pytest.mark.parametrize("name", ["usage_object", "additional_usage_values"])
@pytest.mark.parametrize(("told", "buckets"), [(CACHED, [200, 800, 0]), (WRITTEN, [100, 600, 300])])
def test_litellm_keeps_the_cache_in_either_of_its_usage_objects(tmp_path, name, told, buckets):
    rows = [litellm("10:00:00", metadata=json.dumps({name: told}))]
    found = read(tmp_path, rows).requests[list(TOKEN_COLUMNS[:3])]
    assert found.values.tolist() == [buckets]


def test_a_counter_of_litellms_older_usage_object_that_no_rule_reads_is_told(tmp_path):
    metadata = json.dumps({"additional_usage_values": {"video_tokens": 40}})
    usage = read(tmp_path, [litellm("10:00:00", metadata=metadata)])
    assert "'video_tokens': 40" in usage.account.files["assumed"].item()


@pytest.mark.parametrize("written", [json.dumps, lambda held: json.dumps(json.dumps(held)), repr])
def test_an_object_is_read_however_its_text_is_written(tmp_path, written):
    """As JSON, as JSON in JSON, and as Python writes it, which pandas does in the cells of a CSV file."""
    metadata = written({"usage_object": CACHED, "user_api_key_team_id": None})
    found = read(tmp_path, [litellm("10:00:00", metadata=metadata)]).requests
    assert found["cache_read_tokens"].tolist() == [800]


def test_an_object_whose_text_is_cut_off_sets_its_row_aside(tmp_path):
    cut = json.dumps({"usage_object": CACHED})[:-3]
    usage = read(tmp_path, [litellm("10:00:00", metadata=cut), litellm("10:00:01")])
    assert len(usage.requests) == 1
    assert usage.account.set_aside[["reason", "usd"]].values.tolist() == [
        ["metadata cannot be read, and usage may be in it", 0.008]
    ]


def test_counts_that_are_text_are_added_up(tmp_path):
    """OTLP writes whole numbers as text: the prompts of tools stand beside Gemini's input."""
    said = {"event.name": "gemini_cli.api_response", "event.timestamp": "2026-09-01T10:00:00Z"}
    said |= {"session.id": "s", "model": "gemini-2.5-pro"}
    counts = {"input_token_count": "9000", "tool_token_count": "120", "output_token_count": "100"}
    attributes = [
        {"key": name, "value": {"stringValue" if name in said else "intValue": value}}
        for name, value in (said | counts).items()
    ]
    record = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"attributes": attributes}]}]}]}
    assert read(tmp_path, [record]).requests["uncached_input_tokens"].tolist() == [9120]


def test_iterations_outside_a_message_are_calls_of_their_own(tmp_path, maintained):
    """A compaction and an advisor's answer lie outside the counters of the message, the other iteration inside."""
    counts = {"input_tokens": 1000, "output_tokens": 200}
    usage = counts | {"inference_geo": "us"}
    usage["iterations"] = [
        {"type": "compaction", "input_tokens": 50_000, "output_tokens": 3000},
        {"type": "message"} | counts,
        {"type": "advisor_message", "model": "claude-opus-4-8"} | counts,
    ]
    message = {"id": "msg_1", "type": "message", "role": "assistant", "usage": usage}
    message["model"] = "claude-sonnet-4-6"
    sonnet, opus = 51_000 * 3 + 3200 * 15, 1000 * 5 + 200 * 25  # millionths of a dollar
    batch = {"custom_id": "a", "result": {"type": "succeeded", "message": message}}
    for row, share in ((message, 1), (batch, 0.5)):
        found = read(tmp_path, [row]).requests
        assert found["uncached_input_tokens"].tolist() == [1000, 50_000, 1000]
        # kept in the US: a tenth more, each of the three
        assert tl.price(found, maintained)["cost_usd"].sum() == pytest.approx(
            1.1 * share * (sonnet + opus) / 1e6
        )


def test_an_iteration_of_another_model_inside_a_message_is_taken_out_of_it(tmp_path):
    parts = [{"input_tokens": 700, "output_tokens": 100}, {"input_tokens": 300, "output_tokens": 9}]
    parts[1] |= {"model": "claude-haiku-4-5", "type": "message"}
    row = claude("10:00:00", 109)
    row["message"]["usage"]["iterations"] = parts
    usage = read(tmp_path, [row])
    assert usage.requests["uncached_input_tokens"].tolist() == [700, 300]
    assert usage.requests["output_tokens"].tolist() == [100, 9]
    assert "do not add up" not in usage.account.files["assumed"].item()


GEMINI = {
    "modelVersion": "gemini-2.5-flash",
    "responseId": "g1",
    "candidates": [{"finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 1000, "candidatesTokenCount": 100},
}
CLOUD = {"processed_time": "2026-11-10T10:00:00.826+00:00", "status": "", "request": {}}


@pytest.mark.parametrize(
    ("line", "batch"),
    [
        ({"key": "request-1", "response": GEMINI}, True),  # of the Gemini API
        (CLOUD | {"response": GEMINI}, True),  # of Vertex
        ({"traceId": "t", "response": GEMINI | {"createTime": "2026-11-10T10:00:00Z"}}, False),
    ],
)
def test_answers_of_gemini_in_the_lines_of_a_batch_and_of_cloud_code(
    tmp_path, maintained, line, batch
):
    failed = [{"key": "request-2", "error": {"code": 13}}] if "key" in line else []
    usage = read(tmp_path, [line, *failed])
    dollars = (1000 * 0.3 + 100 * 2.5) / 1e6  # of gemini-2.5-flash
    assert tl.price(usage.requests, maintained)["cost_usd"].tolist() == [
        pytest.approx(dollars / 2 if batch else dollars)
    ]
    assert len(usage.quarantine) == len(failed)
    assert ("no time" in usage.account.files["assumed"].item()) == ("key" in line)


def test_chunks_of_a_stream_of_gemini_are_one_call(tmp_path):
    rows = [
        GEMINI | {"logged_at": f"2026-09-01T10:00:0{second}Z", "usageMetadata": counts}
        for second, counts in enumerate(
            ({"promptTokenCount": 1000, "candidatesTokenCount": 5}, GEMINI["usageMetadata"])
        )
    ]
    assert read(tmp_path, rows).requests["output_tokens"].tolist() == [100]


def test_the_live_api_of_gemini_calls_its_output_a_response(tmp_path):
    counts = {"promptTokenCount": 1000, "responseTokenCount": 300, "totalTokenCount": 1300}
    row = GEMINI | {"createTime": "2026-09-01T10:00:00Z", "usageMetadata": counts}
    usage = read(tmp_path, [row])
    assert usage.requests["output_tokens"].tolist() == [300]
    assert usage.account.assumed.empty


@pytest.mark.parametrize("events", ["events", "logEvents"])
def test_invocations_of_bedrock_as_cloudwatch_hands_them_out(tmp_path, events):
    row = {
        "schemaType": "ModelInvocationLog",
        "timestamp": "2026-09-01T10:00:00Z",
        "requestId": "r1",
        "modelId": "anthropic.claude-sonnet-4-6",
        "input": {"inputTokenCount": 1000},
        "output": {"outputTokenCount": 100},
    }
    event = {"timestamp": 1788256800000, "ingestionTime": 1788256801000}
    other = event | {"message": "START RequestId: 1"}
    document = {events: [event | {"message": json.dumps(row)}, other], "messageType": "DATA"}
    usage = read(tmp_path, [document])
    assert usage.requests["uncached_input_tokens"].tolist() == [1000]
    assert len(usage.quarantine) == 1


STREAM = {"type": "response.incomplete", "sequence_number": 7}
ANSWER = {"id": "resp_1", "object": "response", "created_at": 1788256800, "model": "gpt-5.5"}
ANSWER |= {"status": "incomplete", "usage": {"input_tokens": 1000, "output_tokens": 100}}


def test_streams_of_openai(tmp_path):
    """An answer that was cut short is billed, and the last chunk of a chat holds its usage."""
    chunk, found = chat(1, 0) | {"object": "chat.completion.chunk"}, []
    for rows in ([STREAM | {"response": ANSWER}], [chunk | {"usage": None}, chunk]):
        found.append(read(tmp_path, rows).requests["uncached_input_tokens"].tolist())
    assert found == [[1000], [400]]


def test_embeddings_have_input_alone_and_no_time_in_a_batch(tmp_path, maintained):
    model = {"model": "text-embedding-3-small"}
    result = {"input_tokens": 2_000_000, "num_model_requests": 20} | model
    bucket = {"start_time": 1788220800, "end_time": 1788307200, "results": [result]}
    found = read(tmp_path, [{"data": [bucket]}]).requests
    assert tl.price(found, maintained)["cost_usd"].tolist() == [pytest.approx(0.04)]
    body = {"object": "list", "usage": {"prompt_tokens": 8, "total_tokens": 8}} | model
    line = {"id": "batch_req_1", "custom_id": "a", "response": {"status_code": 200, "body": body}}
    usage = read(tmp_path, [line])
    assert usage.requests[["uncached_input_tokens", "batch"]].values.tolist() == [[8, True]]
    assert "no time in this file (1 row)" in usage.account.files["assumed"].item()


def test_a_log_of_which_nothing_is_left_is_an_empty_table(tmp_path, maintained):
    rows = "at,model_id,uncached_input_tokens,output_tokens\n2026-09-01T10:00:00,gpt-5.5,1.2k,100\n"
    usage = read(tmp_path, rows, "own.csv")
    assert usage.requests.empty and len(usage.quarantine) == 1
    assert tl.price(usage.requests, maintained)["cost_usd"].sum() == 0


@pytest.mark.parametrize("indent", [None, 2])
def test_a_list_of_records_may_be_written_on_several_lines(tmp_path, indent):
    text = json.dumps([litellm("10:00:00"), litellm("10:10:00")], indent=indent)
    assert len(read(tmp_path, text, "spend.json").requests) == 2


def test_a_requests_table_that_was_saved_is_the_same_when_it_is_read(tmp_path, maintained):
    table = pd.DataFrame(
        {
            "at": pd.to_datetime(["2026-09-01 10:00"]),
            "model_id": ["claude-sonnet-4-6"],
            "uncached_input_tokens": [1000],
            "output_tokens": [100],
            "session_id": ["s"],
            "turn": [2],
            "unit": ["web_searches"],
            "quantity": [3.0],
        }
    )
    usage = read(tmp_path, table.to_csv(index=False), "own.csv")
    assert usage.account.assumed.empty
    assert usage.requests[["turn", "unit", "quantity"]].values.tolist() == [[2, "web_searches", 3]]
    # $3 and $15 per million tokens and $10 per thousand searches
    assert tl.price(usage.requests, maintained)["cost_usd"].tolist() == [pytest.approx(0.0345)]


def test_a_session_of_gemini_cli_in_one_document(tmp_path):
    tokens = {"input": 9000, "output": 100, "cached": 7000, "thoughts": 250, "tool": 120}
    answer = {"id": "m1", "type": "gemini", "timestamp": "2026-09-01T10:00:00Z", "tokens": tokens}
    answer["model"] = "gemini-2.5-pro"
    asked = {"id": "m0", "type": "user", "timestamp": "2026-09-01T09:59:00Z"}
    text = json.dumps({"sessionId": "s", "messages": [asked, answer]}, indent=2)
    found = read(tmp_path, text, "session-1.json").requests
    assert found[["session_id", *TOKEN_COLUMNS]].values.tolist() == [["s", 2120, 7000, 0, 0, 350]]


def test_an_excel_workbook_is_refused_as_one(tmp_path):
    (tmp_path / "usage.csv").write_bytes(b"PK\x03\x04\x14\x00\x06\x00" + bytes(200))
    with pytest.raises(ValueError, match="an Excel workbook: unpack it, or save it as CSV"):
        tl.read_usage(tmp_path / "usage.csv")


def test_tokens_that_a_focus_row_counts_in_blocks_are_told(tmp_path):
    row = {
        "BilledCost": 3.0,
        "BillingCurrency": "USD",
        "ChargePeriodStart": "2026-09-01T00:00:00Z",
        "ChargeCategory": "Usage",
        "ConsumedQuantity": 1000,
        "ConsumedUnit": "1K Tokens",
        "SkuId": "claude-sonnet-4-6",
        "SkuMeter": "Input Tokens",
    }
    usage = read(tmp_path, pd.DataFrame([row]).to_csv(index=False), "focus.csv")
    assert usage.billed["usd"].tolist() == [3.0]
    assert "may be a block of them" in usage.account.files["assumed"].item()


def test_moonshot_tells_its_cache_beside_its_input(tmp_path):
    row = chat(1, 0)
    row["usage"]["cached_tokens"] = 300
    found = read(tmp_path, [row]).requests[list(TOKEN_COLUMNS[:2])]
    assert found.values.tolist() == [[100, 300]]


def test_an_answer_that_names_no_model_has_not_failed(tmp_path):
    usage = {"inputTokens": 900, "outputTokens": 60, "totalTokens": 960}
    rows = [{"recordId": "R1", "modelInput": {}, "modelOutput": {"usage": usage}}]
    rows.append({"recordId": "R2", "modelInput": {}, "error": {"errorCode": 400}})
    found = read(tmp_path, rows).quarantine["reason"].tolist()
    assert found == ["no model", "failed before any model answered"]
