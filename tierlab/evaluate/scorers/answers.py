"""What scorers share: tool calls, a score with its reason, and how fenced blocks and JSON are read out of a reply."""

import json
import math
import re
import unicodedata
from dataclasses import dataclass
from typing import NamedTuple

JSON_CHARS, JSON_STARTS = 200_000, 2_000  # searched for JSON, so that no reply takes long
_FENCE = re.compile(r"(`{3,}|~{3,})\s*([\w+#.-]*)[^`]*$")
_NUMBER = re.compile(
    r"[$€£¥]?\s*([-+]?(?:\d{1,3}(?:,\d{3})+|\d{1,300})(?:\.\d{1,300})?(?:[eE][-+]?\d{1,3})?)\s*%?"
)
_THINK = re.compile(r"(?:^|(?<=think>)|(?<=thinking>))[ \t]*<think(?:ing)?>", re.MULTILINE)
_THOUGHT = re.compile(r"</think(?:ing)?>\s*")
_STRAIGHT = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u00b4": "'"}
)


@dataclass(frozen=True)
class ToolCall:
    """A call that a model asked for.

    Attributes
    ----------
    name : str
    arguments : dict
        ``{"": raw text}`` where the model's arguments were not a JSON object.
    """

    name: str
    arguments: dict


class Score(NamedTuple):
    """A score with its reason.

    Attributes
    ----------
    score : float
        0-1.
    reason : str
        One short sentence.
    """

    score: float
    reason: str


class Unscored(ValueError):
    """The answer has no score, and the model is not the cause; the message says why and what to do."""


def tidy(text):
    """Return a text in one spelling for comparison: NFKC, straight quotes, single spaces.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> tidy("  It\u2019s\u00a0 fine ")
    "It's fine"
    """
    return " ".join(unicodedata.normalize("NFKC", text).translate(_STRAIGHT).split())


def split_thinking(text):
    """Separate the answer from the thinking in a reply whose model thinks inside its text.

    Thinking is the text between ``<think>`` at the start of a line and ``</think>``; the text before a ``</think>`` that
    nothing opened (chat templates put the opening into the prompt); and the text after a ``<think>`` that nothing
    closes, where the answer is missing.

    Parameters
    ----------
    text : str
        The reply.

    Returns
    -------
    answer, thinking : str
    ended : bool
        Whether the thinking was closed.

    Examples
    --------
    >>> split_thinking("<think>A or B?</think>\\n\\nB"), split_thinking("A or B? </think>B")
    (('B', 'A or B?', True), ('B', 'A or B?', True))
    >>> split_thinking("<think>It could be A")
    ('', 'It could be A', False)
    """
    said, thoughts, done, ended = [], [], 0, True
    close = _THOUGHT.search(text)
    if close and "<think" not in text[: close.start()]:
        thoughts, done = [text[: close.start()]], close.end()
    while ended and (opening := _THINK.search(text, done)):
        close = _THOUGHT.search(text, opening.end())
        ended = close is not None
        said.append(text[done : opening.start()])
        thoughts.append(text[opening.end() : close.start() if close else None])
        done = close.end() if close else len(text)
    return "".join([*said, text[done:]]), "\n\n".join(map(str.strip, thoughts)), ended


def clip(value, width=40):
    """Write a value for a reason: on one line, in quotes if it is text, and cut where it is long.

    Parameters
    ----------
    value : object
    width : int
        Characters to keep.

    Returns
    -------
    str

    Examples
    --------
    >>> clip("a" * 100, 8), clip(3.5)
    ("'aaaaaaaa...'", '3.5')
    """
    if not isinstance(value, str):
        text = repr(value)
        return text if len(text) <= width else text[:width] + "..."
    text = " ".join(value[: 4 * width].split())
    return repr(text if len(text) <= width else text[:width] + "...")


def fenced(text):
    """Return the fenced blocks of a reply; one that is not closed runs to the end.

    Parameters
    ----------
    text : str

    Returns
    -------
    list of (str, str)
        Language, in small letters, and content of each.

    Examples
    --------
    >>> fenced("Here:\\n```python\\nx = 1\\n```\\nand\\n```\\ny")
    [('python', 'x = 1'), ('', 'y')]
    """
    blocks, mark = [], None
    for line in text.split("\n"):
        bare = line.strip()
        if mark is None:
            found = _FENCE.match(bare)
            if found:
                mark, language, lines = found[1], found[2].lower(), []
        elif bare.endswith(mark) and set(bare[bare.rfind(mark) :]) == {mark[0]}:
            content = bare.rstrip(mark[0])
            if content:  # code stands on the closing line
                lines.append(line[: line.find(content) + len(content)])
            blocks.append((language, "\n".join(lines)))
            mark = None
        else:
            lines.append(line)
    return blocks if mark is None else [*blocks, (language, "\n".join(lines))]


def json_values(text):
    """Return the JSON objects and arrays of a reply in order: those in fenced blocks, or else those in the text.

    Parameters
    ----------
    text : str
        The first 200,000 characters are read, and at most 2,000 opening brackets tried.

    Returns
    -------
    list of dict or list

    Examples
    --------
    >>> json_values('Sure: {"city": "Bern"} and [1, 2]')
    [{'city': 'Bern'}, [1, 2]]
    """
    text = text[:JSON_CHARS]
    inside = [value for _, block in fenced(text) for value in _scan(block)]
    return inside or _scan(text)


def same_value(wanted, got, *, unordered=False):
    """Return whether two JSON values mean the same.

    Numbers compare as numbers, even if one is written as text ("1,250" is 1250); text compares regardless of case, spacing
    and typographic quotes; true, false and null only equal themselves; lists compare item by item, objects key by key, with
    no key missing or surplus.

    Parameters
    ----------
    wanted, got : object
        JSON values.
    unordered : bool
        Whether lists match in any order.

    Returns
    -------
    bool

    Examples
    --------
    >>> same_value({"n": 1250, "city": "Bern"}, {"city": " bern", "n": "1,250"}), same_value("01234", 1234)
    (True, False)
    """
    if wanted is None or isinstance(wanted, bool) or got is None or isinstance(got, bool):
        return wanted is got
    if isinstance(wanted, dict):
        return (
            isinstance(got, dict)
            and wanted.keys() == got.keys()
            and all(same_value(wanted[key], got[key], unordered=unordered) for key in wanted)
        )
    if isinstance(wanted, list | tuple):
        same_length = isinstance(got, list | tuple) and len(wanted) == len(got)
        return same_length and _same_items(wanted, got, unordered)
    if isinstance(wanted, int | float):
        return _same_number(wanted, got)
    if isinstance(got, int | float):
        return wanted.strip() == str(got)
    return isinstance(got, str) and tidy(wanted).casefold() == tidy(got).casefold()


def _same_items(wanted, got, unordered):
    if not unordered:
        return all(map(same_value, wanted, got))
    left = list(got)
    for each in wanted:
        same = [n for n, other in enumerate(left) if same_value(each, other, unordered=True)]
        if not same:
            return False
        del left[same[0]]
    return True


def _same_number(wanted, got):
    if isinstance(got, str):
        found = _NUMBER.fullmatch(tidy(got[:1_000]).replace("\u2212", "-"))
        got = float(found[1].replace(",", "")) if found else None
    if not isinstance(got, int | float):
        return False
    try:
        return wanted == got or math.isclose(wanted, got, rel_tol=1e-9)
    except OverflowError:  # a whole number too large for a float
        return False


def _scan(text):
    values, decoder, start = [], json.JSONDecoder(), 0
    for _ in range(JSON_STARTS):
        found = re.compile(r"[{\[]").search(text, start)
        if found is None:
            break
        try:
            value, start = decoder.raw_decode(text, found.start())
            values.append(value)
        except (ValueError, RecursionError):
            start = found.end()
    return values
