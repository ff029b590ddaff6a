"""Gold sets: OpenAI's format, what is left out and why, and a split that leaks nothing."""

import json
from pathlib import Path

import httpx2
import pytest

import tierlab as tl
from tests.calls import together
from tierlab.sampling.examples import Example
from tierlab.sampling.gold import OUTCOMES, export_gold

WEATHER = {
    "name": "get_weather",
    "description": "Weather of a place.",
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "enum": ["Paris", "Rome"]},
            "days": {"type": ["integer", "null"], "minimum": 1},
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
PARIS = {"name": "get_weather", "arguments": {"city": "Paris", "days": 2}}
EXAMPLES = [
    Example("plain", "own", "Which day follows Monday?", "exact", "Tuesday"),
    Example(
        "system", "own", "Which day follows Friday?", "exact", "Saturday, sûr", system="One word."
    ),
    Example("talk", "own", TALK, "exact", "Bye!\u2028"),
    Example("tool", "own", "Weather in Paris for two days?", "tool_call", PARIS, tools=(WEATHER,)),
    Example("said", "own", "Do you know the weather?", "exact", "Yes.", tools=(WEATHER,)),
]


def called(name, arguments):
    function = {"name": name, "arguments": arguments}
    return {"content": None, "tool_calls": [{"id": "c", "type": "function", "function": function}]}


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A function that samples examples; `says(user)` is a text, a message, or a status without an answer."""
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-secret")

    def sampled(examples, says, models=("gpt-4o",), **more):
        def handle(request):
            asked = json.loads(request.content)
            said = says(asked["messages"][-1]["content"])
            if isinstance(said, int):
                return httpx2.Response(said, json={"error": {"message": "no"}})
            message = {"content": said} if isinstance(said, str) else dict(said)
            finish = message.pop("finish", "stop")
            choice = {
                "index": 0,
                "message": {"role": "assistant"} | message,
                "finish_reason": finish,
            }
            usage = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}
            about = {"id": "c", "object": "chat.completion", "created": 1, "model": asked["model"]}
            return httpx2.Response(200, json=about | {"usage": usage, "choices": [choice]})

        path = tmp_path / "s.sqlite"
        options = {"budget_usd": 1.0, "attempts": 1, "stream": False, "warm_up": False} | more
        options |= {"progress": False, "transport": httpx2.MockTransport(handle), "store": path}
        tl.sample(examples, [f"openai-chat:{model}" for model in models], **together(**options))
        return path

    return sampled


def export(tmp_path, path, **options):
    return export_gold(
        path, **{"model": "gpt-4o", "out": tmp_path / "gold", "validation_share": 0.0} | options
    )


def lines(report, part="train"):
    text = Path(report.attrs["files"][part]).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def counts(report):
    return {name: count for name, count in report["samples"].items() if count}


def right(user):
    """The reference's text, or the call of the tool."""
    if user.startswith("Weather"):
        return called("get_weather", json.dumps(PARIS["arguments"]))
    said = {example.prompt: example.reference for example in EXAMPLES if example.prompt != TALK}
    return said.get(user, "Bye!\u2028")


@pytest.mark.filterwarnings("ignore:.*takes no fewer")
def test_lines_are_what_openai_takes(tmp_path, store):
    from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
    from pydantic import TypeAdapter

    report = export(tmp_path, store(EXAMPLES, right))
    assert counts(report) == {"train": 5}
    names = ["plain", "said", "system", "talk", "tool"]  # by prompt_id
    found = dict(zip(names, lines(report), strict=True))
    for line in found.values():
        assert set(line) <= {"messages", "tools", "parallel_tool_calls"}  # FineTuneChatRequestInput
        TypeAdapter(list[ChatCompletionMessageParam]).validate_python(line["messages"], strict=True)
        tools = line.get("tools", [])
        TypeAdapter(list[ChatCompletionToolParam]).validate_python(tools, strict=True)
    roles = [message["role"] for message in found["talk"]["messages"]]
    assert roles == ["user", "assistant", "user", "assistant"]
    assert found["system"]["messages"][0] == {"role": "system", "content": "One word."}
    assert found["system"]["messages"][-1]["content"] == "Saturday, sûr"
    (call,) = found["tool"]["messages"][-1]["tool_calls"]
    assert json.loads(call["function"].pop("arguments")) == {"city": "Paris", "days": 2}
    assert call == {"id": "call_1", "type": "function", "function": {"name": "get_weather"}}
    assert "content" not in found["tool"]["messages"][-1]
    assert found["said"]["tools"] == [{"type": "function", "function": WEATHER}]
    assert found["talk"]["messages"][-1]["content"] == "Bye!\u2028"  # and one line of the file


@pytest.mark.filterwarnings("ignore:.*takes no fewer")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [("get_weather", "{city: Paris"), ("get_weather", "[1]"), ("get_wether", "{}")],
)
def test_a_call_that_is_none_is_not_taught(tmp_path, store, name, arguments):
    path = store(EXAMPLES[3:4], lambda user: called(name, arguments))
    report = export(tmp_path, path, min_score=0.0)
    assert counts(report) == {"not_expressible": 1}


def many(n, **columns):
    return [
        Example(
            f"q{i:02d}",
            "own",
            f"Say {i}.",
            "exact",
            f"{i}",
            **{k: v(i) for k, v in columns.items()},
        )
        for i in range(n)
    ]


def number(user):
    return user.split()[-1].strip(".!")


def test_every_sample_is_in_a_file_or_in_the_report_with_its_reason(tmp_path, store):
    says = {
        "1": {"content": None, "refusal": "I will not."},
        "2": 500,
        "3": "  ",
        "4": {"content": "4", "finish": "length"},
        "6": "seven",
    }
    examples = many(40)
    examples[5] = Example("q05", "own", "Say 5.", "judge", "5")
    # the same as q08 but for case, spaces and marks
    examples[9] = Example("q09", "own", "  SAY\n8!", "exact", "8")
    path = store(
        examples, lambda user: says.get(number(user), number(user)), ("gpt-4o", "gpt-4o-mini")
    )
    report = export(tmp_path, path, validation_share=0.2)
    left = {
        "other_model": 40,
        "truncated": 1,
        "no_answer": 3,
        "not_scored": 1,
        "score_below": 1,
        "duplicate": 1,
    }
    rest = 80 - sum(left.values())
    assert counts(report) == left | {"train": rest - 7, "validation": 7}  # 0.2 x 33 = 6.6
    assert report["samples"].sum() == 80 and set(report.index) <= set(OUTCOMES)
    assert report.loc["duplicate", "prompt_ids"] == "q09"
    assert len(lines(report)) == rest - 7 and len(lines(report, "validation")) == 7


@pytest.mark.filterwarnings("ignore:.*takes no fewer")
def test_of_several_answers_the_best_is_kept(tmp_path, store):
    given = iter(["b", "a", "c"])
    path = store([Example("q", "own", "Say a.", "exact", "a")], lambda user: next(given), repeats=3)
    report = export(tmp_path, path, min_score=0.0)
    assert counts(report) == {"train": 1, "duplicate": 2}
    assert lines(report)[0]["messages"][-1]["content"] == "a"


def test_the_split_keeps_groups_together(tmp_path, store):
    path = store(many(40, group=lambda i: f"g{i // 4}"), number)
    report = export(tmp_path, path, validation_share=0.3)
    parts = [
        {int(line["messages"][-1]["content"]) // 4 for line in lines(report, part)}
        for part in ("train", "validation")
    ]
    assert not parts[0] & parts[1] and parts[0] | parts[1] == set(range(10))
    assert counts(report) == {"train": 28, "validation": 12}


def test_misuse_is_refused_with_the_value(tmp_path, store):
    path = store(EXAMPLES, right)
    for options, message in (
        ({"model": "gpt-4oo"}, "unknown model 'gpt-4oo'; did you mean 'gpt-4o'"),
        ({"min_score": 2}, "min_score=2; a number from 0 to 1"),
        ({"validation_share": -0.1}, "validation_share=-0.1"),
    ):
        with pytest.raises(ValueError, match=message):
            export(tmp_path, path, **options)
    with pytest.warns(UserWarning, match="5 training examples; OpenAI takes no fewer than 10"):
        export(tmp_path, path)


def test_a_training_set_replaces_its_own_and_nothing_else(tmp_path, store):
    path = store(EXAMPLES[:2], lambda user: "Tuesday" if "Monday" in user else "Saturday, sûr")
    kept = path.rename(
        tmp_path / "train.jsonl"
    )  # a store that has the name of what would be written
    before = kept.read_bytes()
    given = {"model": "gpt-4o", "validation_share": 0.0}
    with pytest.raises(ValueError, match="is an input"):
        export_gold(kept, out=tmp_path, **given)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "train.jsonl").write_text("mine")
    with pytest.raises(ValueError, match="was not made by"):
        export_gold(kept, out=tmp_path / "own", **given)
    assert kept.read_bytes() == before
    assert (tmp_path / "own" / "train.jsonl").read_text() == "mine"
    for _ in range(2):
        with pytest.warns(UserWarning, match="no fewer than"):
            report = export_gold(kept, out=tmp_path / "out", **given)
        assert report["samples"]["train"] == 2
