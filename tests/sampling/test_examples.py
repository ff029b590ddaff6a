"""Examples: the loader names every problem, and the kit's own hundred are right, scorable and varied."""

import json
import re
from collections import Counter
from itertools import combinations

import jsonschema
import pandas as pd
import pytest

from tierlab.core.paths import DATA
from tierlab.core.tables import load_tasks
from tierlab.evaluate.scorers.answers import ToolCall, Unscored
from tierlab.evaluate.scoring import SCORERS, score_example
from tierlab.sampling.examples import Example, check_examples, load_examples, load_intents

GOOD = {"example_id": "q1", "task": "own", "prompt": "2 + 2?", "scorer": "numeric", "reference": 4}
TOOL = {
    "name": "add",
    "description": "Add.",
    "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
}
CALL = {"scorer": "tool_call", "tools": [TOOL]}
KIT = {example.example_id: example for example in load_examples()}


def jsonl(folder, *records):
    path = folder / "mine.jsonl"
    path.write_text(
        "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records),
        encoding="utf-8",
    )
    return path


def table(folder, text, **how):
    path = folder / "mine.csv"
    path.write_text(text, **({"encoding": "utf-8"} | how))
    return path


def test_a_line_becomes_an_example(tmp_path):
    full = GOOD | {
        "scorer_args": {"rel_tol": 0.01},
        "system": "Be brief.",
        "difficulty": "hard",
        "group": "sums",
    }
    talk = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "2 + 2?"},
    ]
    first, second = load_examples(
        jsonl(tmp_path, full, "", GOOD | {"example_id": "q2", "prompt": talk, "tools": [TOOL]})
    )
    assert first == Example(**full)
    assert (
        second.prompt == tuple(talk) and second.tools == (TOOL,) and second.max_output_tokens == 512
    )


@pytest.mark.parametrize(
    "change, said",
    [
        ({"scorer": "numerc"}, "scorer: unknown scorer 'numerc'; did you mean 'numeric'?"),
        ({"dificulty": "easy"}, "unknown field 'dificulty'; did you mean 'difficulty'?"),
        ({"difficulty": "esay"}, "unknown difficulty 'esay'; did you mean 'easy'?"),
        ({"reference": None}, "reference: missing"),
        ({"reference": ""}, "reference: missing"),
        ({"prompt": ""}, "prompt: missing"),
        ({"prompt": "  "}, "prompt: there is no text in it"),
        ({"prompt": 5}, "prompt: 5 is not of type 'string', 'array'"),
        ({"prompt": []}, "prompt: [] should be non-empty"),
        ({"prompt": [{"role": "usr", "content": "x"}]}, "unknown role 'usr'; did you mean 'user'?"),
        (
            {"prompt": [{"role": "user", "text": "x"}]},
            "prompt[0]: 'content' is a required property",
        ),
        (
            {"prompt": [{"role": "user", "content": ""}]},
            "prompt[0].content: there is no text in it",
        ),
        (
            {"prompt": [{"role": "assistant", "content": "x"}]},
            "the last message must be the user's",
        ),
        ({"reference": "four"}, "reference='four'"),
        ({"scorer_args": {"reltol": 0.1}}, "unknown option 'reltol'; did you mean 'rel_tol'?"),
        ({"scorer_args": 5}, "scorer_args: 5 is not of type 'object'"),
        ({"scorer": "choice", "reference": "a"}, "the option 'options' is needed"),
        ({"scorer": "regex", "reference": "("}, "does not compile"),
        ({"max_output_tokens": 0}, "max_output_tokens: 0 is less than the minimum of 1"),
        ({"max_output_tokens": True}, "max_output_tokens: True is not of type 'integer'"),
        ({"system": 3}, "system: 3 is not of type 'string'"),
        ({"example_id": 7}, "example_id: 7 is not of type 'string'"),
        ({"schema": {"type": "objekt"}}, "schema: not a JSON schema: 'objekt'"),
        ({"schema": 1}, "schema: 1 is not of type 'object'"),
        ({"tools": 3}, "tools: 3 is not of type 'array'"),
        ({"tools": [{"title": "add"}]}, "tools[0]: 'name' is a required property"),
        (
            {"tools": [{"name": "add", "description": "Add."}]},
            "tools[0]: 'parameters' is a required property",
        ),
        (
            {"tools": [TOOL | {"description": None}]},
            "tools[0].description: None is not of type 'string'",
        ),
        (
            {"tools": [TOOL | {"parameters": {"type": "object", "properties": 3}}]},
            "'add': not a JSON schema",
        ),
        ({"tools": [TOOL, TOOL]}, "'add' comes twice"),
        (
            CALL | {"reference": {"name": "ad", "arguments": {}}},
            "unknown tool 'ad'; did you mean 'add'?",
        ),
        (
            CALL | {"reference": {"name": "add", "arguments": {"a": "x"}}},
            "'add': 'x' is not of type 'integer'",
        ),
        (CALL | {"reference": {"title": "add"}}, "a call has a name and arguments"),
        (
            CALL | {"tools": [], "reference": {"name": None}},
            "tools: missing; the scorer tool_call needs them",
        ),
    ],
)
def test_each_problem_names_line_field_and_value(tmp_path, change, said):
    with pytest.raises(ValueError, match=r"\d problems?\n  line 2, ") as error:
        load_examples(jsonl(tmp_path, GOOD | {"example_id": "q0"}, GOOD | change))
    assert said in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "mine.jsonl"))


@pytest.mark.parametrize(
    "line, said",
    [
        ("{'example_id': 1}", "line 1, not JSON"),
        ("[1, 2]", "line 1, a JSON object is needed, got '[1, 2]'"),
        (
            json.dumps(GOOD)[:-1] + ', "task": "two"}',
            "line 1, not JSON: the name 'task' comes twice",
        ),
    ],
)
def test_a_line_that_is_no_object(tmp_path, line, said):
    with pytest.raises(ValueError, match="1 problem") as error:
        load_examples(jsonl(tmp_path, line))
    assert said in str(error.value)


def test_all_problems_at_once_and_the_first_twenty_in_full(tmp_path):
    bad = [
        GOOD | {"example_id": f"q{n}", "scorer": "exat", "max_output_tokens": -1} for n in range(13)
    ]
    with pytest.raises(ValueError) as error:
        load_examples(jsonl(tmp_path, *bad))
    lines = str(error.value).split("\n")
    assert lines[0].endswith("mine.jsonl: 26 problems")
    assert lines[-1] == "  ... and 6 more" and len(lines) == 22


def test_ids_are_unique(tmp_path):
    with pytest.raises(ValueError, match="line 3, example_id: 'q1' was already used in line 1"):
        load_examples(jsonl(tmp_path, GOOD, GOOD | {"example_id": "q2"}, GOOD))


def test_what_is_no_file_of_examples(tmp_path):
    with pytest.raises(
        ValueError,
        match=r'unknown examples \'kitt\'; give "kit" or a path that ends in \.jsonl or \.csv',
    ):
        load_examples("kitt")
    with pytest.raises(FileNotFoundError):
        load_examples(tmp_path / "none.jsonl")
    with pytest.raises(ValueError, match="no examples in it"):
        load_examples(jsonl(tmp_path, ""))
    with pytest.raises(ValueError, match="not UTF-8"):
        load_examples(
            table(
                tmp_path,
                "example_id,task,prompt,scorer,reference\nq,t,ä,exact,ö\n",
                encoding="latin-1",
            )
        )


def test_a_table_of_examples(tmp_path):
    text = (
        "\ufeffexample_id,task,prompt,scorer,reference,scorer_args,difficulty,max_output_tokens,tools\n"
        '007,own,"Say\nyes, please",exact,yes,,easy,16,\n'
        'c1,own,Days?,contains,30 days,"{""none_of"": [""60 days""]}",,,\n'
        'c2,own,Days?,contains,"[""30"", ""days""]",,,,\n'
        'j1,own,Who?,json_fields,"{""name"": ""Mo""}",,,,\n'
        f't1,own,Add 3,tool_call,"{{""name"": ""add"", ""arguments"": {{""a"": 3}}}}",,,,"{json.dumps([TOOL]).replace(chr(34), chr(34) * 2)}"\n'
        ",,,,,,,,\n"
        "n1,own,2 + 2?,numeric,4,,,,\n"
    )
    first, c1, c2, j1, t1, n1 = load_examples(table(tmp_path, text))
    assert first == Example(
        "007", "own", "Say\nyes, please", "exact", "yes", difficulty="easy", max_output_tokens=16
    )
    assert (
        c1.reference == ["30 days"]
        and c1.scorer_args == {"none_of": ["60 days"]}
        and c2.reference == ["30", "days"]
    )
    assert j1.reference == {"name": "Mo"} and t1.tools == (TOOL,) and n1.reference == "4"


def test_a_table_with_semicolons(tmp_path):
    (example,) = load_examples(
        table(tmp_path, "example_id;task;prompt;scorer;reference\nq1;own;Yes, or no?;exact;yes\n")
    )
    assert example.prompt == "Yes, or no?"


@pytest.mark.parametrize(
    "rows, said",
    [
        (
            "example_id,task,promt,scorer,reference\n",
            "row 1, unknown column 'promt'; did you mean 'prompt'?",
        ),
        ("example_id,task,prompt,scorer\nq1,own,x,exact\n", "row 1, column 'reference' is missing"),
        ("example_id,task,task,prompt,scorer,reference\n", "row 1, column 'task' comes twice"),
        (
            "example_id,task,prompt,scorer,reference\nq1,own,a, b,exact,yes\n",
            "row 2, 6 cells under 5 columns",
        ),
        ("example_id,task,prompt,scorer,reference\nq1,own,x,exact,\n", "row 2, reference: missing"),
        (
            "example_id,task,prompt,scorer,reference\nq1,own,x,json_fields,name=Mo\n",
            "row 2, reference: not JSON",
        ),
        (
            "example_id,task,prompt,scorer,reference,max_output_tokens\nq1,own,x,exact,y,many\n",
            "max_output_tokens: 'many' is not of type 'integer'",
        ),
        (
            "example_id,task,prompt,scorer,reference,scorer_args\nq1,own,x,choice,y,y|n\n",
            "row 2, scorer_args: not JSON",
        ),
    ],
)
def test_problems_of_a_table(tmp_path, rows, said):
    with pytest.raises(ValueError) as error:
        load_examples(table(tmp_path, rows))
    assert said in str(error.value)


def test_records_made_in_code():
    frame = pd.DataFrame([GOOD | {"system": "Be brief."}, GOOD | {"example_id": "q2"}])
    assert [e.system for e in load_examples(frame.to_dict("records"))] == ["Be brief.", None]
    assert load_examples([Example(**GOOD)]) == (Example(**GOOD),)
    frame["max_output_tokens"] = [16, None]  # which makes them floats
    most = [e.max_output_tokens for e in load_examples(frame.to_dict("records"))]
    assert most == [16, 512] and isinstance(most[0], int)


def test_judge_may_have_a_rubric_alone(tmp_path):
    (example,) = load_examples(
        jsonl(tmp_path, {k: v for k, v in GOOD.items() if k != "reference"} | {"scorer": "judge"})
    )
    assert example.reference is None


def test_summary_of_a_file_names_tasks_that_the_kit_does_not_know(tmp_path):
    path = jsonl(
        tmp_path,
        GOOD | {"task": "entity_extracton"},
        GOOD | {"example_id": "q2", "task": "code_review"},
    )
    said = check_examples(path)
    assert said.startswith(f"{path}: 2 examples, no problems\n")
    assert (
        "entity_extracton: 1  (a task of your own: unknown task 'entity_extracton'; did you mean 'entity_extraction'?)"
        in said
    )
    assert "  code_review: 1\n" in said and "numeric 2" in said and "not given 2" in said


SOLUTIONS = {
    "review-04": "def is_leap(year):\n    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)",
    "review-09": "def chunks(items, size):\n    return [items[i : i + size] for i in range(0, len(items), size)]",
    "review-10": """def merge(intervals):
    merged = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged""",
    "refactor-01": "def total_price(lines):\n    return sum(quantity * price for quantity, price in lines)",
    "refactor-04": """FEES = {"letter": 1, "parcel": 5, "crate": 20}
def fee(kind):
    if kind not in FEES:
        raise ValueError(kind)
    return FEES[kind]""",
    "refactor-05": """HELLO = {"en": "Hello", "fr": "Bonjour", "de": "Hallo"}
def greeting(name, language="en"):
    return f"{HELLO[language]} {name}!" """,
    "refactor-06": """def depth(value):
    deepest, todo = 0, [(value, 1)]
    while todo:
        item, level = todo.pop()
        if isinstance(item, list):
            deepest = max(deepest, level)
            todo += [(each, level + 1) for each in item]
    return deepest""",
    "refactor-07": """def parse_line(line):
    name, quantity, price = line.split(";")
    return name.strip(), int(quantity), float(price)
def line_total(parsed):
    return parsed[1] * parsed[2]
def invoice(text):
    lines = [line for line in text.split("\\n") if line.strip() and not line.startswith("#")]
    return round(sum(line_total(parse_line(line)) for line in lines), 2)""",
    "refactor-11": """def errors(lines):
    for line in lines:
        if line.startswith("ERROR "):
            yield line[6:].strip()""",
}
PATTERNS = {"faq-10": "Eight weeks before is 2026-04-27, one week earlier 2026-04-20."}
# Worked out here from the numbers in the prompt, so that a slip in a reference shows.
SUMS = {
    "faq-01": 25,
    "faq-04": (2 * 14 + 0 + 6) / 2,
    "faq-06": -(-(2 * 60 + 10 - 30) // 30) * 1.5,
    "faq-09": 12 + 3 * 2 + 40 * 0.05,
    "faq-11": 3 * (10 - 3) * 0.20,
    "support-05": 40 * (1 - 0.10),
    "review-01": 4,
    "review-02": 3,
    "review-05": len([10, 20, 30]),
    "review-06": 7,
    "review-11": 0,
    "refactor-08": len(["b", "d", "g"]),
    "legal-03": 60 * 25,
    "legal-05": 1000 / 8,
    "legal-06": 80_000 * min(0.05, 0.005 * -(-(30 - 7) // 7)),
    "legal-07": 60,
    "legal-09": 4 * min(500, 15 * 38),
}


def ideal(example):
    """Text and tool calls of a reply that is right, made from the reference."""
    reference, args = example.reference, example.scorer_args
    match example.scorer:
        case "code":
            return f"```python\n{SOLUTIONS[example.example_id]}\n```", ()
        case "regex":
            return PATTERNS[example.example_id], ()
        case "contains":
            return " ".join([*reference, *args.get("any_of", [])[:1]]), ()
        case "json_fields":
            return json.dumps(reference), ()
        case "tool_call":
            calls = [reference] if isinstance(reference, dict) else reference
            made = tuple(
                ToolCall(call["name"], dict(call["arguments"])) for call in calls if call["name"]
            )
            return "" if made else "You are welcome.", made
    return str(reference), ()


def wrong(example):
    """A reply that is wrong, and nearly right where that can be made from the reference."""
    text, calls = ideal(example)
    reference = example.reference
    match example.scorer:
        case "code":
            return "```python\n" + re.search(r"def .*", example.prompt, re.DOTALL)[0] + "\n```", ()
        case "numeric":
            return str(reference + 1), ()
        case "choice":
            return next(
                option for option in example.scorer_args["options"] if option != reference
            ), ()
        case "json_fields":
            return json.dumps(reference | {next(iter(reference)): "?"}), ()
        case "tool_call":
            return text, calls[:-1] if len(calls) > 1 else () if calls else (
                ToolCall(example.tools[0]["name"], {}),
            )
        case "overlap":
            return text.split()[0], ()
    return "I cannot say.", ()


@pytest.mark.parametrize("example", KIT.values(), ids=KIT)
def test_the_right_reply_scores_1_and_a_wrong_one_less(example):
    if example.scorer == "judge":
        assert example.reference and example.scorer_args["rubric"]
        with pytest.raises(Unscored):
            score_example(example, example.reference)
        return
    best, worse = (
        score_example(example, *reply, allow_code=True)
        for reply in (ideal(example), wrong(example))
    )
    assert best.score == 1, best.reason
    assert worse.score < 1, worse.reason


def test_numbers_follow_from_the_prompts():
    numeric = {e.example_id: e.reference for e in KIT.values() if e.scorer == "numeric"}
    assert numeric == pytest.approx(SUMS)


def test_dates_follow_from_the_prompts():
    day = pd.Timestamp
    assert KIT["entity-04"].reference["due_date"] == str(
        (day("2026-04-15") + pd.Timedelta(days=30)).date()
    )
    offer, today = KIT["entity-08"].reference, day("2026-11-03")
    assert today.day_name() == "Tuesday" and offer["offer_by"] == str(
        (today + pd.Timedelta(days=10)).date()
    )
    assert day(offer["start"]).day_name() == "Monday" and day(offer["start"]).is_month_end
    assert day(offer["end"]) - day(offer["start"]) == pd.Timedelta(days=4)
    log = KIT["entity-11"].reference
    assert day(log["start_utc"]) == day("2026-03-10 01:30") - pd.Timedelta(hours=2)
    assert log["duration_min"] == (day("2026-03-10 03:05") - day("2026-03-10 01:30")).seconds / 60
    assert str((day("2026-06-22") - pd.Timedelta(weeks=9)).date()) in KIT["faq-10"].reference
    reminder = KIT["agent-09"].reference["arguments"]["date"]
    assert day("2026-11-25").day_name() == "Wednesday" and day(reminder).day_name() == "Friday"
    assert 7 <= (day(reminder) - day("2026-11-23")).days < 14


def test_references_follow_the_schema_of_the_reply():
    with_schema = [e for e in KIT.values() if e.schema]
    assert with_schema
    for example in with_schema:
        jsonschema.validate(example.reference, example.schema)


def test_a_hundred_examples_over_the_nine_tasks():
    assert len(KIT) == 100
    per_task = Counter(e.task for e in KIT.values())
    assert set(per_task) == set(load_tasks().index) and min(per_task.values()) >= 10
    scorers = Counter(e.scorer for e in KIT.values())
    assert set(scorers) == set(SCORERS) and scorers["judge"] <= 5
    assert min(Counter(e.difficulty for e in KIT.values()).values()) >= 20
    assert all(e.tools for e in KIT.values() if e.task == "agentic_tools")
    assert sum(e.reference == {"name": None} for e in KIT.values()) >= 4
    assert len({str(e.prompt) for e in KIT.values()}) == 100


@pytest.mark.parametrize("example", KIT.values(), ids=KIT)
def test_prompts_and_replies_are_short_enough_for_a_small_context(example):
    """At four characters a token for text (three for JSON and code), with room for a chat template."""
    sent = (
        len(json.dumps([example.prompt, example.system], ensure_ascii=False)) / 4
        + len(json.dumps(example.tools)) / 3
    )
    assert sent < 450
    assert 16 <= example.max_output_tokens <= 400
    text, calls = ideal(example)
    assert (
        len(text + json.dumps([c.arguments for c in calls] or "")) / 3 <= example.max_output_tokens
    )


def test_the_answer_does_not_stand_in_the_prompt_of_a_sum():
    """A sum whose result is printed in the prompt would be copying."""
    worked = {
        "faq-04",
        "faq-06",
        "faq-09",
        "faq-11",
        "support-05",
        "legal-03",
        "legal-05",
        "legal-06",
        "legal-09",
    }
    for name in worked:
        assert f"{SUMS[name]:g}" not in re.findall(
            r"\d+(?:\.\d+)?", KIT[name].prompt.replace(",", "")
        ), name


def words(text):
    return re.findall(r"[^\W_]+", text.lower())


def test_intents_are_many_varied_and_split_alike():
    intents = load_intents()
    counts = intents["intent"].value_counts()
    assert len(intents) >= 640 and 12 <= len(counts) <= 16 and counts.max() <= 2 * counts.min()
    assert set(intents["split"]) == {"train", "test"}
    train = intents["split"].eq("train").groupby(intents["intent"]).mean()
    assert train.between(0.68, 0.72).all()
    assert intents["text"].map(words).map(len).between(1, 30).all()
    assert (intents["text"] == intents["text"].str.strip()).all()


def test_no_intent_message_comes_twice_or_from_a_template():
    tokens = load_intents()["text"].map(words)
    sets = tokens.map(frozenset)
    assert tokens.map(" ".join).is_unique and sets.is_unique
    assert max(Counter(" ".join(t[:5]) for t in tokens if len(t) >= 5).values()) <= 4
    assert max(Counter(" ".join(t[:3]) for t in tokens if len(t) >= 3).values()) <= 8
    assert max(len(a & b) / len(a | b) for a, b in combinations(sets, 2)) <= 0.6


def test_the_readme_counts_what_is_there():
    said = (DATA / "examples" / "README.md").read_text(encoding="utf-8")
    for level, count in Counter(e.difficulty for e in KIT.values()).items():
        assert f"**{level}** ({count})" in said
    intents = load_intents()
    assert f"| {len(intents)} short" in said
    assert set(re.findall(r"^\| (\w+) \| [a-z]", said.split("## intents.csv")[1], re.MULTILINE)) - {
        "intent"
    } == set(intents["intent"])
    assert set(
        re.findall(r"^\| `(\w+)` \|", said.split("## Scorers")[1].split("\n## ")[0], re.MULTILINE)
    ) == set(SCORERS)
