"""Scorers: what each replies to what a model says, by hand-made replies and by any text at all."""

import signal
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierlab.evaluate.scorers.answers import ToolCall, Unscored, fenced, json_values, same_value
from tierlab.evaluate.scoring import SCORERS, check_scorer, score_example

LABELS = {"options": ["positive", "negative", "neutral"]}
LETTERS = {"options": ["A", "B", "C", "D"]}
INTENTS = {"options": ["change_pin", "billing", "not spam", "spam"]}
FACTS = {"name": "Ann Lee", "total": 1250.5, "paid": True, "note": None, "tags": ["a", "b"]}
CALL = {"name": "book", "arguments": {"city": "Bern", "nights": 2, "guests": [{"name": "Ann"}]}}


def score(scorer, text, reference, tool_calls=(), **args):
    example = SimpleNamespace(scorer=scorer, reference=reference, scorer_args=args)
    return score_example(example, text, tool_calls, allow_code=True)


@pytest.mark.parametrize(
    ("text", "reference", "args", "expected"),
    [
        ("Paris", "Paris", {}, 1),
        ("  **Paris.**\n", "Paris", {}, 1),
        ("\u201cparis\u201d", "Paris", {}, 1),
        ("```text\nParis\n```", "Paris", {}, 1),
        ("It\u2019s   due", "it's due", {}, 1),
        ("\uff30aris", "Paris", {}, 1),  # full-width P
        ("Paris", "Paris.", {}, 1),
        ("paris", "Paris", {"ignore_case": False}, 0),
        ("C", "C#", {}, 0),
        ("init", "__init__", {}, 0),
        ("Paris, France", "Paris", {}, 0),
        ("The answer is Paris", "Paris", {}, 0),
        ("3.14", "314", {}, 0),
        ("- 5", "5", {}, 0),
    ],
)
def test_exact(text, reference, args, expected):
    assert score("exact", text, reference, **args).score == expected


@pytest.mark.parametrize(
    ("text", "reference", "args", "expected", "reason"),
    [
        ("positive", "positive", LABELS, 1, "names 'positive'"),
        ("Positive.", "positive", LABELS, 1, ""),
        ("**Label:** Positive", "positive", LABELS, 1, ""),
        ('{"label": "positive", "reason": "not negative at all"}', "positive", LABELS, 1, ""),
        ('```json\n{"answer": "NEGATIVE"}\n```', "negative", LABELS, 1, ""),
        ("I think it is positive, on the whole.", "positive", LABELS, 1, ""),
        ("It is not positive but negative.", "negative", LABELS, 1, ""),
        ("This isn't negative. I'd say neutral", "neutral", LABELS, 1, ""),
        ("Positive, though some would call it negative.", "positive", LABELS, 1, ""),
        ("It could be positive or negative. The answer is negative.", "negative", LABELS, 1, ""),
        (
            "positive or negative",
            "positive",
            LABELS,
            0,
            "names two options, 'positive' and 'negative'",
        ),
        ("positive, negative", "positive", LABELS, 0, "two options"),
        ("positive, negative, neutral", "positive", LABELS, 0, "names 3 options"),
        ("Answer: positive or negative", "positive", LABELS, 0, "two options"),
        ("The text has positive and negative parts", "positive", LABELS, 0, "two options"),
        ("Positive. Wait, actually it is negative.", "positive", LABELS, 0, "two options"),
        ("The answer is not positive.", "positive", LABELS, 0, "none of the options"),
        ("nonpositive", "positive", LABELS, 0, "none of the options"),
        ("happy", "positive", LABELS, 0, "none of the options"),
        ('{"answer": "unsure"} positive', "positive", LABELS, 0, "none of the options"),
        ("negative", "positive", LABELS, 0, "names 'negative', not 'positive'"),
        ("B", "B", LETTERS, 1, ""),
        ("b", "B", LETTERS, 1, ""),
        ("(B)", "B", LETTERS, 1, ""),
        ("B) because A is wrong", "B", LETTERS, 1, ""),
        ("The correct answer is **B**.", "B", LETTERS, 1, ""),
        ("A is tempting and C is close, but the answer is (B).", "B", LETTERS, 1, ""),
        (r"so $\boxed{\text{B}}$", "B", LETTERS, 1, ""),
        ("Answer: b", "B", LETTERS, 1, ""),
        ("A customer wrote. I go for option B.", "B", LETTERS, 1, ""),
        ("Answer: A because of tax", "A", LETTERS, 1, ""),
        ("A customer asks for help", "A", LETTERS, 0, "none of the options"),
        ("The answer is a refund", "A", LETTERS, 0, "none of the options"),
        ("A or B", "A", LETTERS, 0, "two options"),
        ("A, B", "A", LETTERS, 0, "two options"),
        ("first Answer: A, then no: Answer: C", "C", LETTERS, 1, ""),
        ("Change PIN", "change_pin", INTENTS, 1, ""),
        (r"change\_pin", "change_pin", INTENTS, 1, ""),
        ("not spam", "not spam", INTENTS, 1, ""),
        ("not spam", "spam", INTENTS, 0, "names 'not spam', not 'spam'"),
        ("Yes, there are no issues.", "yes", {"options": ["yes", "no"]}, 1, ""),
        ("\u8bc4\u4ef7: positive", "positive", LABELS, 1, ""),
        ('{"answer": 2}', "2", {"options": ["1", "2"]}, 1, ""),
        ("C++", "C", {"options": ["C", "Python"]}, 0, "none"),
    ],
)
def test_choice(text, reference, args, expected, reason):
    found = score("choice", text, reference, **args)
    assert (found.score, reason in found.reason) == (expected, True), found


@pytest.mark.parametrize(
    ("text", "reference", "args", "expected"),
    [
        ("So it costs $1,596.00 in all.", 1596, {}, 1),
        ("#### 45", "45", {}, 1),
        ('{"reasoning": "3 times 4", "answer": "12 eggs"}', 12, {}, 1),
        ("The answer is 3/4 of the cake", 0.75, {}, 1),
        ("1 1/2", 1.5, {}, 1),
        ("\u00bd", 0.5, {}, 1),
        ("60%", 60, {}, 1),
        ("about 3.14", 3.14159, {"rel_tol": 0.001}, 1),
        ("about 3.14", 3.14159, {}, 0),
        ("\u22125 degrees", -5, {}, 1),
        ("2e3 m", 2000, {}, 1),
        ("cannot tell", 2, {}, 0),
        ("1" * 400, 2, {}, 0),
        ("answer: 1/0", 2, {}, 0),
        ("4,250 m", 4.25, {"units": {"km": 1, "m": 0.001}}, 1),
        ("4.25 km", 4.25, {"units": {"km": 1, "m": 0.001}}, 1),
        ("4.25", 4.25, {"units": {"km": 1, "m": 0.001}}, 1),
        ("**4.25** KM", 4.25, {"units": {"km": 1, "m": 0.001}}, 1),
        ("4.25 m", 4.25, {"units": {"km": 1, "m": 0.001}}, 0),
        ("4.25 miles", 4.25, {"units": {"km": 1, "mile": 1.609344, "miles": 1.609344}}, 0),
        ("\u20ac50", 5000, {"units": {"cent": 1, "\u20ac": 100}}, 1),
        ("2 h", 120, {"units": {"h": 60, "min": 1}}, 1),
        ("The total is 90 minutes", 1.5, {"units": {"minutes": 1 / 60, "h": 1}}, 1),
    ],
)
def test_numeric(text, reference, args, expected):
    assert score("numeric", text, reference, **args).score == expected


@pytest.mark.parametrize(
    ("text", "expected", "reason"),
    [
        (
            '{"name": "ann  lee", "total": 1250.5, "paid": true, "note": null, "tags": ["a", "b"]}',
            1,
            "all 5 fields right",
        ),
        (
            'Here:\n```json\n{"name": "Ann Lee", "total": "$1,250.50", "paid": true, "note": null, "tags": ["A", "b"]}\n```',
            1,
            "all",
        ),
        (
            '{"name": "Ann Lee", "total": 1250, "paid": true, "note": null, "tags": ["a", "b"]}',
            0.8,
            "total is 1250, not 1250.5",
        ),
        (
            '{"name": "Ann Lee", "total": 1250.5, "paid": "true", "note": null, "tags": ["a", "b"]}',
            0.8,
            "paid is 'true', not True",
        ),
        (
            '{"name": "Ann Lee", "total": 1250.5, "paid": 1, "note": "", "tags": ["b", "a"]}',
            0.4,
            "2 of 5",
        ),
        ('{"name": "Ann Lee"}', 0.2, "total is missing"),
        (
            'Schema {"type": "object"} gives {"name": "Ann Lee", "total": 1250.5} done',
            0.4,
            "2 of 5",
        ),
        ('{"name": "Ann Lee", "extra": 1} and {"x": 1}', 0.2, ""),
        ("{'name': 'Ann Lee'}", 0, "no JSON object"),
        ('{"name": "Ann', 0, "no JSON object"),
        ("no idea", 0, "no JSON object"),
    ],
)
def test_json_fields(text, expected, reason):
    found = score("json_fields", text, FACTS)
    assert found.score == pytest.approx(expected)
    assert reason in found.reason


def test_json_fields_reach_into_objects_and_lists_in_any_order_if_asked():
    text = '{"a.b": 1, "c": {"d": [5, {"e": "x"}]}, "tags": ["q", "p"]}'
    assert score("json_fields", text, {"a.b": 1, "c.d.1.e": "X", "c.d.0": 5}).score == 1
    assert score("json_fields", text, {"c.d.7": 1, "c.d.x": 1}).score == 0
    assert score("json_fields", text, {"tags": ["p", "q"]}).score == 0
    assert score("json_fields", text, {"tags": ["p", "q"]}, unordered=True).score == 1
    assert (
        score("json_fields", 'Draft {"id": 1}, better {"id": 2}', {"id": 2}).score == 1
    )  # the last one counts
    assert score("json_fields", '[{"id": 1}]', {"0.id": 1}).score == 1


@pytest.mark.parametrize(
    ("wanted", "got", "same"),
    [
        (1, 1.0, True),
        (1, True, False),
        (True, 1, False),
        (None, False, False),
        (10**400, 1.5, False),
        (10**400, 10**400, True),
        (0.5, "50%", False),
        (50, "50%", True),
        ("42", 42, True),
        ("01234", 1234, False),
        ([1, 2], [2, 1], False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": [{"b": "X"}]}, {"a": [{"b": "x"}]}, True),
        (5, "5 apples", False),
        ("a", None, False),
    ],
)
def test_json_values_compare_by_meaning(wanted, got, same):
    assert same_value(wanted, got) is same


@pytest.mark.parametrize(
    ("text", "reference", "args", "expected"),
    [
        ("You get a REFUND within 5\n days.", ["refund", "5 days"], {}, 1),
        ("You get a refund.", ["refund", "5 days"], {}, 0),
        ("prefunded", ["refund"], {}, 0),
        ("in 15 days", ["5 days"], {}, 0),
        ("It\u2019s fine", ["it's"], {}, 1),
        ("costs $5.", ["$5"], {}, 1),
        ("uses C++.", ["C++"], {}, 1),
        ("\u6211\u5728\u6771\u4eac\u90fd", ["\u6771\u4eac"], {}, 1),
        ("We refund you", ["refund"], {"any_of": ["today", "tomorrow"]}, 0),
        ("We refund you tomorrow", ["refund"], {"any_of": ["today", "tomorrow"]}, 1),
        ("We refund, guaranteed", ["refund"], {"none_of": ["guaranteed"]}, 0),
    ],
)
def test_contains(text, reference, args, expected):
    assert score("contains", text, reference, **args).score == expected


@pytest.mark.parametrize(
    ("text", "pattern", "args", "expected"),
    [
        ("Ticket AB-1234", r"[A-Z]{2}-\d{4}", {}, 1),
        ("ticket ab-1234", r"[A-Z]{2}-\d{4}", {}, 0),
        ("ticket ab-1234", r"[A-Z]{2}-\d{4}", {"ignore_case": True}, 1),
        ("x" * 19_999 + "END", "END", {}, 0),  # beyond the first 20,000 characters
        ("x" * 19_997 + "END", "END", {}, 1),
        ("\ud800 caf\u00e9", "caf\u00e9$", {}, 1),
    ],
)
def test_regex(text, pattern, args, expected):
    assert score("regex", text, pattern, **args).score == expected


def test_a_pattern_that_would_run_for_years_is_stopped_and_is_not_the_models_fault(monkeypatch):
    monkeypatch.setattr("tierlab.evaluate.scorers.text.REGEX_SECONDS", 1)
    with pytest.raises(Unscored, match=r"'\(a\+\)\+\$' ran longer than 1 s on this reply"):
        score("regex", "a" * 5_000 + "b", "(a+)+$")


def call(name="book", **arguments):
    return ToolCall(name, {"city": "Bern", "nights": 2, "guests": [{"name": "Ann"}]} | arguments)


@pytest.mark.parametrize(
    ("made", "args", "expected", "reason"),
    [
        ([call()], {}, 1, "calls 'book' as expected"),
        ([call(city="bern ", nights="2")], {}, 1, ""),
        ([call(city="Basel")], {}, 2 / 3, "city is 'Basel', not 'Bern'"),
        ([ToolCall("book", {"city": "Bern"})], {}, 1 / 3, "nights is missing"),
        ([call(guests=[{"name": "Ann", "age": 3}])], {}, 2 / 3, "guests is"),
        ([call(pets=0)], {}, 3 / 4, "'pets' is not expected"),
        ([call(pets=0)], {"allow_extra": True}, 1, ""),
        ([call(pets=0)], {"allow_extra": ["pets"]}, 1, ""),
        ([call(pets=0, car=1)], {"allow_extra": ["pets"]}, 3 / 4, "'car' is not expected"),
        ([call("cancel")], {}, 0, "calls 'cancel', not 'book'"),
        ([call(), call()], {}, 1 / 2, "2 calls, where 1 is expected"),
        ([ToolCall("book", {"": '{"city": "Be'})], {}, 0, "not a JSON object"),
        ([], {}, 0, "no call, where 'book' is expected"),
    ],
)
def test_tool_call(made, args, expected, reason):
    found = score("tool_call", "I will book it.", CALL, made, **args)
    assert found.score == pytest.approx(expected)
    assert reason in found.reason


def test_tool_calls_in_order_and_none_at_all():
    two = [{"name": "find", "arguments": {"q": "x"}}, {"name": "book"}]
    find, book = ToolCall("find", {"q": "x"}), ToolCall("book", {})
    assert score("tool_call", None, two, [find, book]).score == 1
    assert score("tool_call", None, two, [book, find]).score == 0
    assert score("tool_call", None, two, [find]) == (0.5, "1 call, where 2 are expected")
    assert score("tool_call", "It is sunny.", {"name": None}).score == 1
    assert score("tool_call", "It is sunny.", {"name": None}, [find]) == (
        0,
        "calls 'find', where no call is right",
    )
    assert score("tool_call", "", {"name": None}) == (0, "the reply is empty")


def test_overlap_is_rouge_1_on_content_words():
    """Reference stems: cat, sat, mat, not, mov (5). Reply stems: cat, cat, sat, sofa (4). Shared: cat, sat (2).

    Precision 2/4, recall 2/5, F1 = 2 * 0.5 * 0.4 / 0.9 = 4/9.
    """
    found = score(
        "overlap",
        "The cat, the cats: they sat on a sofa.",
        "The cat sat on the mat and did not move.",
    )
    assert found.score == pytest.approx(4 / 9)
    assert found.reason == "shares 2 of 5 content words of the reference, and has 4"


def test_overlap_finds_a_word_in_another_form():
    for reference, answer in (("companies", "company"), ("tried", "try"), ("stopped", "stop")):
        assert score("overlap", answer, reference).score == 1


def test_overlap_by_key_points_needs_their_numbers_and_most_of_their_words():
    points = ["Sales rose 12% in May", "the shop in Bern closed", "costs fell"]
    reference = "Sales rose 12% in May, costs fell, and the shop in Bern closed."
    args = {"key_points": points, "max_words": 13}
    assert score("overlap", reference, reference, **args).score == 1
    assert score("overlap", "In May sales rose by 12%.", reference, **args).score == pytest.approx(
        1 / 3
    )
    assert (
        score("overlap", "In May sales rose by 13%.", reference, **args).score == 0
    )  # the number is wrong
    assert score("overlap", "The Bern shop is closing.", reference, **args).score == pytest.approx(
        1 / 3
    )
    assert score("overlap", "The shop thrives.", reference, **args).score == 0  # 1 of 3 words
    longer = (
        reference + " Nothing else of note was said in this whole long report."
    )  # 13 + 11 words
    assert len(longer.split()) == 24
    assert score("overlap", longer, reference, **args).score == pytest.approx(13 / 24)


IDEAL = {
    "exact": ("Tuesday", "Tuesday", {}, ()),
    "choice": ("positive", "positive", LABELS, ()),
    "numeric": ("-1,250.5", -1250.5, {}, ()),
    "json_fields": ('{"a": {"b": [1, "x"]}}', {"a.b": [1, "x"]}, {}, ()),
    "contains": ("5 days, today", ["5 days"], {"any_of": ["today"], "none_of": ["never"]}, ()),
    "regex": ("AB-1", r"^[A-Z]+-\d$", {}, ()),
    "tool_call": ("", CALL, {}, (call(),)),
    "code": ("def f(x):\n    return x + 1", "assert f(1) == 2", {}, ()),
    "overlap": (
        "Sales rose 12%.",
        "Sales rose 12%.",
        {"key_points": ["sales rose 12%"], "max_words": 3},
        (),
    ),
}
NASTY = st.lists(
    st.sampled_from(
        [
            *'{}[]()"\\`*_#$%.,:/-\n',
            "```",
            "```python\n",
            "answer is ",
            "Answer: ",
            "####",
            "\\boxed{",
            "\\frac{1}{",
        ]
    )
    | st.sampled_from(
        [
            "positive",
            "not ",
            "1,000",
            "9" * 30,
            "1e999",
            "\x00",
            "\ud800",
            "\ufdfa",
            "\u00bd",
            '{"answer": ',
            "null",
        ]
    )
    | st.text(max_size=8),
    max_size=25,
).map("".join)


def test_every_scorer_but_the_judge_gives_the_ideal_answer_1():
    assert set(IDEAL) == set(SCORERS) - {"judge"}
    for name, (text, reference, args, calls) in IDEAL.items():
        check_scorer(name, reference, args)
        assert score(name, text, reference, calls, **args).score == 1, name


@pytest.mark.parametrize("name", sorted(set(IDEAL) - {"code", "regex"}))
@given(
    text=NASTY | st.text() | st.none(),
    name_of_call=st.text(max_size=5),
    arguments=st.dictionaries(st.text(max_size=3), st.text()),
)
def test_any_reply_has_a_score_from_0_to_1(name, text, name_of_call, arguments):
    _, reference, args, _ = IDEAL[name]
    calls = [ToolCall(name_of_call, arguments), ToolCall("book", arguments)]
    for made in (calls, ()):
        value, reason = score(name, text, reference, made, **args)
        assert 0 <= value <= 1
        assert reason and "\n" not in reason and len(reason) < 300


@pytest.mark.parametrize("name", ["code", "regex"])
@settings(max_examples=20, deadline=None)
@given(text=NASTY)
def test_any_reply_has_a_score_where_a_process_scores_it(name, text):
    _, reference, args, _ = IDEAL[name]
    assert 0 <= score(name, text, reference, **args).score <= 1


HUGE = [
    *(
        "a",
        " ",
        "\n",
        "{",
        "[",
        "`",
        "*",
        '"',
        "-",
        "_",
        ",",
        "9",
        "```",
        "```x\n",
        "~~~\n",
        "1 ",
        "1,",
        "1 1/",
        '{"a":',
        '{"a',
        "[[1],",
    ),
    *(
        "answer is ",
        "answer: A or ",
        "positive ",
        "not ",
        "\\frac{1",
        "####",
        "$ ",
        "\\boxed{",
        "A",
        "A, B or ",
        "\ufdfa",
        "\u6771",
        "def f(",
    ),
]


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs an alarm to stop a hang")
@pytest.mark.parametrize("name", sorted(IDEAL))
def test_a_million_characters_are_scored_in_bounded_time(name):
    """Work that grows with the square of the length would take hours here; the alarm only ends a hang."""
    _, reference, args, _ = IDEAL[name]
    million = ["a", "\n", "```x\n", "def f("] + (
        ["{", "1 ", "A", "answer is "] if name not in ("code", "regex") else []
    )
    texts = [piece * (1_000_000 // len(piece)) for piece in million]
    if name not in ("code", "regex"):
        texts += [piece * (100_000 // len(piece)) for piece in HUGE]

    def hang(*_):
        raise AssertionError(f"{name} hangs on {text[:20]!r}")

    previous = signal.signal(signal.SIGALRM, hang)
    try:
        for text in texts:
            signal.alarm(60)
            assert 0 <= score(name, text, reference, **args).score <= 1
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize("name", sorted(IDEAL))
@pytest.mark.parametrize("text", ["", None, "  \n\t"])
def test_an_empty_reply_scores_0(name, text):
    _, reference, args, _ = IDEAL[name]
    assert score(name, text, reference, **args) == (0.0, "the reply is empty")


def test_the_judge_is_refused_with_what_to_do():
    with pytest.raises(Unscored, match=r"see tierlab\.judge"):
        score("judge", "an answer", "a good answer", rubric="clear")


def test_code_is_run_only_where_that_is_allowed():
    example = SimpleNamespace(scorer="code", reference="assert f(1) == 2", scorer_args={})
    with pytest.raises(Unscored, match="--allow-code"):
        score_example(example, "def f(x): return 2")
    assert score_example(example, "def f(x): return 2", allow_code=True).score == 1


@pytest.mark.parametrize(
    ("name", "reference", "args", "message"),
    [
        ("exakt", "a", {}, "unknown scorer 'exakt'; did you mean 'exact'?"),
        (
            "exact",
            "a",
            {"ignore_cas": True},
            "unknown option 'ignore_cas'; did you mean 'ignore_case'?",
        ),
        ("exact", " ", {}, "a text is needed"),
        ("exact", 5, {}, "a text is needed"),
        ("choice", "a", {}, "the option 'options' is needed"),
        ("choice", "d", {"options": ["a", "b"]}, "one of the options"),
        ("choice", "a", {"options": ["a"]}, "at least two"),
        ("choice", "a", {"options": ["a", "A", "b"]}, "all different"),
        ("choice", "a", {"options": "ab"}, "a list of texts"),
        ("numeric", "five", {}, "a number or a text with one"),
        ("numeric", True, {}, "a number or a text with one"),
        ("numeric", float("nan"), {}, "a number or a text with one"),
        ("numeric", 5, {"rel_tol": 1}, "rel_tol=1"),
        ("numeric", 5, {"units": {"m": 0}}, "a size above 0"),
        ("json_fields", {}, {}, "an object of field"),
        ("json_fields", {"a": 1}, {"unordered": "yes"}, "true or false"),
        ("contains", "refund", {}, "a list of texts"),
        ("contains", [], {}, "no phrase to look for"),
        ("contains", ["a"], {"none_of": [""]}, "a list of texts"),
        ("regex", "(a", {}, "does not compile"),
        ("tool_call", {}, {}, "a call or a list of calls"),
        ("tool_call", [], {}, "a call or a list of calls"),
        ("tool_call", {"name": None, "arguments": {"a": 1}}, {}, "beside a name of null"),
        ("tool_call", {"name": "f", "arguments": [1]}, {}, "a text and an object"),
        ("tool_call", {"name": "f"}, {"allow_extra": "x"}, "true or false"),
        ("code", "assert f(", {}, "not Python"),
        ("code", "f(1)", {}, "at least one assert"),
        ("code", "assert abs(-1) == 1", {}, "the tests use none"),
        ("code", "assert f(1)", {"entry": "f()"}, "name of a function"),
        ("code", "assert f(1)", {"seconds": 0}, "seconds=0"),
        ("overlap", "the", {}, "content words"),
        (
            "overlap",
            "Sales rose.",
            {"key_points": ["costs fell"]},
            "the reference itself scores 0.00",
        ),
        ("overlap", "Sales rose a lot.", {"max_words": 2}, "the reference itself scores 0.50"),
        ("judge", 5, {}, "the text of a good answer"),
        ("judge", "a", {"rubric": 5}, "a text or a list of texts"),
    ],
)
def test_what_does_not_fit_is_refused(name, reference, args, message):
    with pytest.raises(ValueError) as error:
        check_scorer(name, reference, args)
    assert message in str(error.value)


def test_blocks_and_json_out_of_replies():
    assert fenced("```py\nx\n```\n~~~\n```\n~~~") == [("py", "x"), ("", "```")]
    assert fenced("````md\n```\nin\n```\n````") == [("md", "```\nin\n```")]
    assert fenced("```python\nx = 1```") == [("python", "x = 1")]
    assert fenced("no `code` here, and ```inline``` neither") == []
    assert json_values("[1] then {bad} and {}") == [[1], {}]
    assert json_values('outside {"a": 1}\n```\n{"b": 2}\n```') == [{"b": 2}]
