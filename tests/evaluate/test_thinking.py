"""A model that thinks inside its text is scored by its answer; letters after a number make it a name."""

import time
from types import SimpleNamespace

import pytest

from tierlab.evaluate.scorers.answers import Unscored, split_thinking
from tierlab.evaluate.scorers.numeric import numeric
from tierlab.evaluate.scoring import score_example
from tierlab.sampling.providers import Reply

LETTERS = SimpleNamespace(scorer="choice", reference="B", scorer_args={"options": ["A", "B"]})
CODE = 'Use re.sub(r"<think>.*?</think>", "", text) for that.'


@pytest.mark.parametrize(
    ("text", "answer", "thinking"),
    [
        ("<think>\nThe answer is A? No.\n</think>\n\nB", "B", "The answer is A? No."),
        ("The answer is A? No.\n</think>\n\nB", "B", "The answer is A? No."),
        ("<thinking>A</thinking>B", "B", "A"),
        ("<think>A</think>Well,\n<think>no</think>B", "Well,\nB", "A\n\nno"),
        ("<think></think>\nB", "B", ""),
        ("B", "B", ""),
        (CODE, CODE, ""),  # the answer speaks of the marks
    ],
)
def test_thinking_is_not_the_answer(text, answer, thinking):
    assert split_thinking(text) == (answer, thinking, True)
    reply = Reply(text, (), "stop", "stop", None, "")
    assert (reply.text, reply.thinking, reply.status) == (answer, thinking, "ok")
    if answer == "B":
        assert score_example(LETTERS, text).score == 1


def test_thinking_without_an_end_is_truncated():
    text = "<think>\nIt could be A. The answer is A"
    reply = Reply(text, (), "stop", "stop", None, "")
    assert (reply.text, reply.status) == ("", "truncated")
    assert reply.thinking == "It could be A. The answer is A"
    with pytest.raises(Unscored, match="ends within its thinking"):
        score_example(LETTERS, text)


def test_thinking_without_an_answer_is_empty():
    assert Reply("<think>A</think>\n", (), "stop", "stop", None, "").status == "empty"


@pytest.mark.parametrize("unit", ["<think>", "</think>", "\n<think>", "\n<think>x</think>", "\n "])
def test_no_reply_takes_long_to_split(unit):
    start = time.perf_counter()
    split_thinking(unit * 100_000)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("42abc", 0),
        ("The order is 42abc.", 0),
        ("The answer is 42abc", 0),
        ("42 abc", 1),
        ("42km", 1),
        ("42°C", 1),
        ("42\u5143", 1),
        ("It is 42, reference 7f3", 1),
    ],
)
def test_a_number_is_not_the_beginning_of_a_name(text, score):
    assert numeric(text, (), 42).score == score
    assert numeric("42parsec", (), 42, units={"parsec": 1}).score == 1
