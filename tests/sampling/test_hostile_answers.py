"""Answers made to break the run that scores them: each is a row, the others keep their scores, and the run goes on."""

import csv
import json
import sys

import httpx2
import numpy as np
import pytest

import tierlab as tl
from tests.calls import together
from tests.frames import frames, response, transport
from tierlab.cli import main
from tierlab.sampling.examples import Example
from tierlab.sampling.providers import Candidate

OWN = Candidate("compatible", "own", base_url="http://own.test/v1", usd_per_mtok=(1, 2))
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = ({"name": "weather", "description": "", "parameters": CITY},)
# One question for each scorer; what is answered is up to the test.
ASKED = {
    "exact": Example("exact", "own", "ask exact?", "exact", "Paris."),
    "choice": Example(
        "choice", "own", "ask choice?", "choice", "refund", {"options": ["refund", "repair"]}
    ),
    "numeric": Example("numeric", "own", "ask numeric?", "numeric", 17),
    "json_fields": Example(
        "json_fields", "own", "ask json_fields?", "json_fields", {"a": {"b": [1]}, "n": 4}
    ),
    "contains": Example(
        "contains",
        "own",
        "ask contains?",
        "contains",
        ["30 days"],
        {"any_of": ["now"], "none_of": ["never"]},
    ),
    "regex": Example("regex", "own", "ask regex?", "regex", r"(a+)+$"),
    "tool_call": Example(
        "tool_call",
        "own",
        "ask tool_call?",
        "tool_call",
        {"name": "weather", "arguments": {"city": "Bern"}},
        tools=TOOLS,
    ),
    "code": Example("code", "own", "ask code?", "code", "assert f(1) == 2", {"seconds": 1}),
    "overlap": Example(
        "overlap",
        "own",
        "ask overlap?",
        "overlap",
        "The valve opens on 9 June.",
        {"key_points": ["9 June"]},
    ),
}
SAFE = Example("safe", "own", "ask safe?", "exact", "Paris.")
DEEP = 100_000
TEXTS = {
    "nested brackets": "[" * DEEP,
    "nested brackets, closed": "[" * DEEP + "]" * DEEP,
    "nested objects": '{"a":' * DEEP + "1" + "}" * DEEP,
    "nested objects under the field": '{"n": 4, "a":' + "[" * 900 + "]" * 900 + "}",
    "a number of 900,000 digits": "9" * 900_000,
    "a number of 900,000 digits in JSON": '{"n": ' + "9" * 900_000 + "}",
    "JSON with what is no number": '{"n": NaN, "a": Infinity}',
    "a number beyond every double": '{"n": 1e999, "answer": "1e99999"}',
    "half a character": "\ud800 Paris. \udfff",
    "half a character in JSON": '{"n": "\\ud800", "a": "\\udfff"}',
    "nothing that is printed": "\x00\x1b[2J\u202e\u2028\ufeff",
    "a formula": "=cmd|' /C calc'!A0",
    "quotes and ends of lines": '",\r\n";\n\'' * 1000,
    "ten megabytes": "a" * 10_000_000,
    "lines": "a\n" * 400_000,
    "opening brackets": "{[" * 400_000,
    "fences": "```\n" * 200_000,
    "what a pattern takes for ever on": "a" * 5000 + "!",
    "marks of emphasis": "*" * 100_000,
    "accents on accents": "e" + "\u0301" * 500_000,
    "a fraction over nothing": "1/0 answer: 1/0",
    "fractions": "\\frac{" * 20_000,
    "code that nests": "```python\ndef f(x): return " + "(" * 20_000 + "```",
    "code that recurses for ever": "def f(x): return f(x)",
}


def answered_by(by_scorer):
    """A transport that answers each question as given: a text, or (name, arguments) of a tool call."""

    def answer(request):
        message = json.loads(request.content)["messages"][-1]["content"]
        given = by_scorer.get(message.removeprefix("ask ").removesuffix("?"), "Paris.")
        pieces, calls = ((given,), ()) if isinstance(given, str) else ((), (given,))
        return response(
            frames(
                "compatible",
                pieces,
                calls=calls,
                stop="tool" if calls else "stop",
                stream=False,
                model="own",
            )
        )

    return transport(answer)


def run(by_scorer, store, examples, wire=None, **options):
    options = {
        "budget_usd": 100,
        "yes": True,
        "stream": False,
        "warm_up": False,
        "progress": False,
        "allow_code": True,
    } | options
    return tl.sample(
        examples,
        [OWN],
        **together(store=store, transport=wire or answered_by(by_scorer), **options),
    )


def refused(request):
    raise AssertionError("asked again")


@pytest.mark.parametrize("kind", TEXTS)
def test_a_text_that_would_break_a_scorer_is_a_row_and_the_run_ends(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("tierlab.evaluate.scorers.text.REGEX_SECONDS", 1)
    asked = ["exact", "code"] if kind == "ten megabytes" else [*ASKED]
    examples = [*(ASKED[name] for name in asked), SAFE]
    samples = run(dict.fromkeys(asked, TEXTS[kind]), tmp_path / "run.sqlite", examples).set_index(
        "prompt_id"
    )
    assert list(samples.index) == [*asked, "safe"]
    assert samples.loc["safe", "score"] == 1
    assert samples["status"].isin(["ok", "empty"]).all()
    unscored = samples["score"].isna()
    assert (
        samples["score_reason"].ne("").all() and samples.loc[~unscored, "score"].between(0, 1).all()
    )
    # Too long for any scorer, or the pattern's own fault; each says so.
    assert (
        set(samples.index[unscored]) == set(asked)
        if kind == "ten megabytes"
        else set(samples.index[unscored]) <= {"regex"}
    )
    again = run({}, tmp_path / "run.sqlite", examples, httpx2.MockTransport(refused)).set_index(
        "prompt_id"
    )
    assert again["score"].equals(samples["score"]) and again["cost_usd"].equals(samples["cost_usd"])
    back = tl.load_samples(tmp_path / "run.sqlite").set_index("prompt_id")
    assert back["answer"].equals(samples["answer"])


ARGUMENTS = {
    "nested brackets": '{"city": ' + "[" * DEEP + "]" * DEEP + "}",
    "nested brackets alone": "[" * DEEP,
    "nested objects": '{"city":' * DEEP + "1" + "}" * DEEP,
    "brackets that just fit": '{"city": ' + "[" * 950 + "]" * 950 + "}",
    "a number of 900,000 digits": '{"city": ' + "1" * 900_000 + "}",
    "what is no number": '{"city": NaN, "x": -Infinity}',
    "half a character": '{"city": "\\ud800"}',
    "the same name ten thousand times": "{" + '"city": "Bern",' * 10_000 + '"city": "Bern"}',
    "no JSON": "city=Bern",
    "nothing": "",
    "null": "null",
    "ten megabytes": '{"city": "' + "a" * 10_000_000 + '"}',
}


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_arguments_of_a_tool_call_that_would_break_the_scorer(kind, tmp_path):
    examples = [ASKED["tool_call"], SAFE]
    store = tmp_path / "run.sqlite"
    samples = run({"tool_call": ("weather", ARGUMENTS[kind])}, store, examples).set_index(
        "prompt_id"
    )
    assert samples.loc["safe", "score"] == 1 and samples.loc["tool_call", "status"] == "ok"
    assert samples.loc["tool_call", "score_reason"]
    wanted = {"the same name ten thousand times": 1, "ten megabytes": None}.get(kind, 0)
    assert samples.loc["tool_call", "score"] == wanted or (
        wanted is None and np.isnan(samples.loc["tool_call", "score"])
    )
    assert json.loads(samples.loc["tool_call", "tool_calls"])[0][0] == "weather"
    run({}, store, examples, httpx2.MockTransport(refused))


def test_a_scorer_that_fails_leaves_its_answer_without_a_score_and_says_why(tmp_path, monkeypatch):
    failures = [
        RecursionError("too deep"),
        MemoryError(),
        ZeroDivisionError("0"),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "x"),
    ]
    examples = [
        Example(f"q{n}", "own", f"ask q{n}?", "exact", "Paris.") for n in range(len(failures) + 1)
    ]
    waiting = iter(failures)

    def score(*given, **options):
        if (error := next(waiting, None)) is not None:
            raise error
        return tl.evaluate.scorers.answers.Score(1.0, "right \ud800")

    monkeypatch.setattr("tierlab.sampling.samples.score_example", score)
    store = tmp_path / "run.sqlite"
    samples = run({}, store, examples)
    assert samples["score"].isna().tolist() == [True] * 4 + [False]
    for error, reason in zip(failures, samples["score_reason"], strict=False):
        assert f"the scorer failed on it ({type(error).__name__}" in reason
    again = run(
        {}, store, examples, httpx2.MockTransport(refused)
    )  # scored anew, asked for nothing
    assert again["score"].tolist() == [1.0] * 5


def test_the_file_of_samples_comes_back_as_it_was(tmp_path, capsys):
    texts = {name: text for name, text in TEXTS.items() if len(text) < 1_000_000}
    recorded = [Example(f"q{n}", "own", f"ask q{n}?", "exact", "Paris.") for n in range(len(texts))]
    store = tmp_path / "first.sqlite"
    samples = run({f"q{n}": text for n, text in enumerate(texts.values())}, store, recorded)
    samples.to_csv(tmp_path / "recorded.csv", index=False, lineterminator="\n")
    (tmp_path / "mine.jsonl").write_text(
        "".join(
            json.dumps(
                {
                    "example_id": e.example_id,
                    "task": "own",
                    "prompt": e.prompt,
                    "scorer": "exact",
                    "reference": "Paris.",
                }
            )
            + "\n"
            for e in recorded
        )
    )
    replay = f"replay:own,path={tmp_path / 'recorded.csv'}"
    command = ["sample", str(tmp_path / "mine.jsonl"), "--candidate", replay, "--budget-usd", "0"]
    assert main([*command, "--store", str(tmp_path / "out" / "s.sqlite")]) in (0, None)
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and "\u202e" not in printed
    csv.field_size_limit(sys.maxsize)
    with (tmp_path / "out" / "samples.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["prompt_id"] for row in rows] == samples["prompt_id"].tolist()
    assert {row["status"] for row in rows} <= {"ok", "empty"}
