"""Gold sets: the providers' formats, what is left out and why, and a split that leaks nothing."""

import json
from pathlib import Path

import httpx2
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tierlab as tl
from tests.calls import together
from tierlab.sampling.examples import Example
from tierlab.sampling.gold import OUTCOMES, export_gold, normalised

WEATHER = {
    "name": "get_weather",
    "description": "Weather of a place.",
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "enum": ["Paris", "Rome"]},
            "days": {"type": ["integer", "null"], "minimum": 1},
            "hours": {
                "type": "array",
                "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            },
        },
        "required": ["city"],
        "additionalProperties": False,
    },
}
TALK = (
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Bye"},
)
EXAMPLES = [
    Example("plain", "own", "Which day follows Monday?", "exact", "Tuesday"),
    Example(
        "system",
        "own",
        "Which day follows Friday?",
        "exact",
        "Saturday",
        system="Answer in one word.",
    ),
    Example("talk", "own", TALK, "exact", "Bye!"),
    Example("tool", "own", "Weather in Paris for two days?", "tool_call", [], tools=(WEATHER,)),
    Example("said", "own", "Do you know the weather?", "exact", "Yes.", tools=(WEATHER,)),
]
CALL = '[["get_weather", "{\\"city\\": \\"Paris\\", \\"days\\": 2}"]]'
SAMPLES = pd.DataFrame(
    {
        "prompt_id": [example.example_id for example in EXAMPLES],
        "model_id": "big",
        "prompt": ["x"] * 5,
        "answer": ["Tuesday", "Saturday, sûr", "Bye!\u2028", "", "Yes."],
        "tool_calls": ["[]", "[]", "[]", CALL, "[]"],
        "score": 1.0,
        "status": "ok",
    }
)


def export(tmp_path, samples=SAMPLES, **options):
    options = {"model": "big", "out": tmp_path, "validation_share": 0.0} | options
    return export_gold(samples, **options)


def lines(report, part="train"):
    return [
        json.loads(line)
        for line in Path(report.attrs["files"][part]).read_text(encoding="utf-8").splitlines()
    ]


def counts(report):
    return {name: count for name, count in report["samples"].items() if count}


@pytest.mark.filterwarnings("ignore:.*takes no fewer")
def test_openai_lines_are_what_its_api_takes(tmp_path):
    from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
    from pydantic import TypeAdapter

    report = export(tmp_path, examples=EXAMPLES)
    assert counts(report) == {"train": 5}
    found = dict(
        zip(["plain", "said", "system", "talk", "tool"], lines(report), strict=True)
    )  # by prompt_id
    for line in found.values():
        assert set(line) <= {"messages", "tools", "parallel_tool_calls"}  # FineTuneChatRequestInput
        TypeAdapter(list[ChatCompletionMessageParam]).validate_python(line["messages"], strict=True)
        TypeAdapter(list[ChatCompletionToolParam]).validate_python(
            line.get("tools", []), strict=True
        )
        assert line["messages"][-1]["role"] == "assistant"
    assert [message["role"] for message in found["talk"]["messages"]] == [
        "user",
        "assistant",
        "user",
        "assistant",
    ]
    assert found["system"]["messages"][0] == {"role": "system", "content": "Answer in one word."}
    assert found["system"]["messages"][-1]["content"] == "Saturday, sûr"
    (call,) = found["tool"]["messages"][-1]["tool_calls"]
    assert json.loads(call["function"].pop("arguments")) == {"city": "Paris", "days": 2}
    assert call == {"id": "call_1", "type": "function", "function": {"name": "get_weather"}}
    assert (
        "content" not in found["tool"]["messages"][-1]
        and found["said"]["tools"][0]["function"] == WEATHER
    )


def test_google_lines_are_what_its_api_takes_and_have_no_place_for_tools(tmp_path):
    from google.genai import types

    report = export(tmp_path, examples=EXAMPLES, provider="google")
    assert counts(report) == {"train": 3, "not_expressible": 2}
    assert report.loc["not_expressible", "prompt_ids"] == "said, tool"
    found = dict(zip(["plain", "system", "talk"], lines(report), strict=True))
    for line in found.values():
        assert set(line) <= {"systemInstruction", "contents"}
        for content in [line.get("systemInstruction", {}), *line["contents"]]:
            types.Content.model_validate(content)  # refuses names that it does not know
        assert [content["role"] for content in line["contents"]][-2:] == ["user", "model"]
    assert found["system"]["systemInstruction"]["parts"] == [{"text": "Answer in one word."}]


def test_a_table_for_a_classifier_of_ones_own(tmp_path):
    samples = SAMPLES.assign(prompt=['say "hi",\nplease', "b", "c", "d", "e"])
    report = export(tmp_path, samples, provider="csv")
    assert counts(report) == {"train": 4, "not_expressible": 1}
    table = pd.read_csv(report.attrs["files"]["train"])
    assert table.columns.tolist() == ["prompt", "completion"]
    assert (
        dict(zip(table["completion"], table["prompt"], strict=True))["Tuesday"]
        == 'say "hi",\nplease'
    )


@pytest.mark.filterwarnings("ignore:.*takes no fewer")
@pytest.mark.parametrize(
    "calls",
    ['[["get_weather", "{city: Paris"]]', '[["get_weather", "[1]"]]', '[["get_wether", "{}"]]'],
)
def test_a_call_that_is_none_is_not_taught(tmp_path, calls):
    report = export(
        tmp_path, SAMPLES.assign(tool_calls=["[]", "[]", "[]", calls, "[]"]), examples=EXAMPLES
    )
    assert counts(report) == {"train": 4, "not_expressible": 1}


def many(n=40, **columns):
    numbers = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    texts = [
        f"{numbers[i % 10]} {numbers[i // 10]} apples of {numbers[(i * 7) % 10]} trees"
        for i in range(n)
    ]
    given = {
        "prompt_id": [f"q{i:02d}" for i in range(n)],
        "model_id": "big",
        "prompt": texts,
        "answer": "42",
        "score": 1.0,
    }
    return pd.DataFrame(given | {"status": "ok", "tool_calls": "[]", "group": None} | columns)


def test_every_sample_is_in_a_file_or_in_the_report_with_its_reason(tmp_path):
    table = many()
    table.loc[0, "model_id"] = "small"
    table.loc[1, "status"], table.loc[1, "answer"] = "refused", ""
    table.loc[2, "status"] = "timeout"
    table.loc[3, "answer"] = "  "
    table.loc[4, ["status", "score"]] = "truncated", None
    table.loc[5, "score"] = None
    table.loc[6, "score"] = 0.9
    table.loc[7, "answer"] = "long " * 140_000
    table.loc[9, "prompt"] = table.loc[8, "prompt"].upper().replace(" ", "  ") + "?!"
    report = export(tmp_path, table, validation_share=0.2, provider="google")
    left = {
        "other_model": 1,
        "no_answer": 3,
        "truncated": 1,
        "not_scored": 1,
        "score_below": 1,
        "too_long": 1,
        "duplicate": 1,
    }
    rest = 40 - sum(left.values())
    assert counts(report) == left | {"train": rest - 6, "validation": 6}  # 0.2 x 31 = 6.2
    assert report["samples"].sum() == len(table) and set(report.index) <= set(OUTCOMES)
    assert report.loc["duplicate", "prompt_ids"] == "q09"
    assert len(lines(report)) == rest - 6 and len(lines(report, "validation")) == 6


def test_near_duplicates_by_hand(tmp_path):
    words = [f"w{i}" for i in range(42)]
    base, changed = " ".join(words), " ".join([*words[:41], "other"])
    # 40 successive triples each, 39 shared: 39 / 41 = 0.951; with two words changed at both ends 38 / 42 = 0.905
    both = " ".join(["first", *words[1:41], "other"])
    table = many(3, prompt=[base, changed, both])
    near = {"provider": "csv"}
    assert counts(export(tmp_path, table, near_duplicate=0.96, **near)) == {"train": 3}
    # against the first, `both` shares 38 triples, against `changed` 39
    assert counts(export(tmp_path, table, near_duplicate=0.95, **near)) == {
        "train": 2,
        "near_duplicate": 1,
    }
    assert counts(export(tmp_path, table, near_duplicate=0.9, **near)) == {
        "train": 1,
        "near_duplicate": 2,
    }
    assert normalised("\uff21-B\tc, 'D'.") == "a - b c d"  # a full-width A


def test_of_several_answers_the_best_is_kept(tmp_path):
    table = pd.concat(
        [
            many(1, answer=answer, score=score, repeat=r)
            for r, (answer, score) in enumerate([("b", 0.8), ("a", 1.0)])
        ]
    )
    report = export(tmp_path, table, provider="csv", min_score=0.5)
    assert counts(report) == {"train": 1, "duplicate": 1}
    assert pd.read_csv(report.attrs["files"]["train"])["completion"].tolist() == ["a"]


def test_the_split_keeps_groups_together_and_follows_the_seed(tmp_path):
    table = many(group=[f"g{i // 4}" for i in range(40)])
    reports = [
        export(tmp_path / str(seed), table, provider="google", validation_share=0.3, seed=seed)
        for seed in (0, 1)
    ]
    parts = []
    for report in reports:
        asked = {
            part: {line["contents"][0]["parts"][0]["text"] for line in lines(report, part)}
            for part in ("train", "validation")
        }
        assert not asked["train"] & asked["validation"] and len(asked["validation"]) == 12
        groups = {
            part: set(table.loc[table["prompt"].isin(texts), "group"])
            for part, texts in asked.items()
        }
        assert not groups["train"] & groups["validation"]
        parts.append(groups["validation"])
    assert parts[0] != parts[1]


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(12)), st.integers(0, 3))
def test_the_order_of_rows_changes_nothing(tmp_path_factory, order, seed):
    folder = tmp_path_factory.mktemp("gold")
    table = many(
        12, score=[1.0, 0.9, 1.0, 0.8] * 3, prompt=["same text", "other text"] * 3 + list("abcdef")
    )
    options = {"provider": "google", "validation_share": 0.4, "seed": seed, "min_score": 0.5}
    first = export(folder / "a", table, **options)
    second = export(folder / "b", table.iloc[list(order)], **options)
    assert first.to_dict() == second.to_dict()
    for part in ("train", "validation"):
        assert lines(first, part) == lines(second, part)


def test_a_store_has_its_own_examples(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-secret")

    def handle(request):
        message = {"role": "assistant", "content": "Saturday"}
        usage = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}
        return httpx2.Response(200, json={"id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": usage,
                                          "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})  # fmt: skip

    options = {
        "budget_usd": 1.0,
        "stream": False,
        "warm_up": False,
        "progress": False,
        "transport": httpx2.MockTransport(handle),
    }
    tl.sample(
        EXAMPLES[:2], ["openai-chat:gpt-4o"], **together(store=tmp_path / "s.sqlite", **options)
    )
    report = export(tmp_path, tmp_path / "s.sqlite", model="gpt-4o", provider="google")
    assert counts(report) == {"train": 1, "score_below": 1}  # Saturday follows Friday, not Monday
    assert lines(report)[0]["systemInstruction"]["parts"] == [{"text": "Answer in one word."}]


def test_misuse_is_refused_with_the_value(tmp_path):
    for options, message in (
        ({"provider": "opena"}, "did you mean 'openai'"),
        ({"model": "bigg"}, "unknown model 'bigg'; did you mean 'big'"),
        ({"min_score": 2}, "min_score is 2"),
        ({"validation_share": -0.1}, "validation_share is -0.1"),
        ({"examples": EXAMPLES[:2]}, "'said' has no example"),
        ({"samples": SAMPLES.drop(columns="answer")}, "column 'answer' is missing"),
    ):
        with pytest.raises(ValueError, match=message):
            export(tmp_path, **options)
    with pytest.warns(UserWarning, match="5 training examples; openai takes no fewer than 10"):
        export(tmp_path, examples=EXAMPLES)
