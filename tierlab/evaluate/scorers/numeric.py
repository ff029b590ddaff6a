"""Scorer of numbers: find the number that answers, and compare it with the truth."""

import math
import re
import unicodedata
from collections import deque

from tierlab.core.vocabulary import needs
from tierlab.evaluate.scorers.answers import Score

_FIELD = re.compile(r'"answer"\s*:\s*(?:"((?:[^"\\]|\\.)*)"|([^}\n]*))')
_MARKER = re.compile(r"####|\\boxed\s*\{|\banswer\s*(?:is\b|:|=)", re.IGNORECASE)
_CORE = r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+\b)?"
_NUMBER = re.compile(
    rf"(?<![^\W_])(?<!\.)(?P<minus>[-+]?)(?:[$€£¥₹]\s*)?(?P<inner>[-+]?)"
    rf"(?:(?P<whole>\d+)\s+(?=\d+\s*/\s*\d))?(?P<top>{_CORE})(?:\s*/\s*(?P<bottom>{_CORE}))?"
)
_FORMS = {"{,}": ",", "\\,": ",", "\\!": "", "\\$": "$", "\u2212": "-"}
# Units that are written right after their number; other letters there make it a name ("42abc").
_GLUED = frozenset(
    [
        "mm",
        "cm",
        "dm",
        "m",
        "km",
        "in",
        "ft",
        "yd",
        "mi",
        "mg",
        "g",
        "kg",
        "t",
        "oz",
        "lb",
        "lbs",
        "m2",
        "m3",
        "cm2",
        "cm3",
        "km2",
        "ft2",
        "ml",
        "cl",
        "dl",
        "l",
        "s",
        "sec",
        "secs",
        "ms",
        "min",
        "mins",
        "h",
        "hr",
        "hrs",
        "d",
        "am",
        "pm",
        "usd",
        "eur",
        "gbp",
        "chf",
        "c",
        "ct",
        "st",
        "nd",
        "rd",
        "th",
        "x",
        "kb",
        "mb",
        "gb",
        "tb",
        "hz",
        "khz",
        "mhz",
        "ghz",
        "w",
        "kw",
        "kwh",
        "v",
        "a",
        "f",
        "mph",
        "kmh",
        "kph",
    ]
)


def numeric_answer(text):
    r"""Return the number that an answer gives, or NaN.

    The number is looked for in the `answer` field of a JSON reply; else in what follows the last ``####``, ``\boxed{`` or
    "answer is" / "answer:"; else in the whole text. In an answer field or after such a mark it is the first number (units,
    reasons and a restated question come later), in free text the last.

    Parameters
    ----------
    text : str
        A model's reply. Thousands separators (comma, thin space, apostrophe), currency signs, units, LaTeX,
        fractions ("3/4", "1 1/2", "½") and a typographic minus are read. Per cent is a unit: "60%" is 60. A
        comma that does not group three digits ends the number, so "3,5" is 3, not 3.5. Number words are not read
        and sums not worked out. Letters right after a number are its unit ("5km") or make it a name ("42abc").

    Returns
    -------
    float

    Notes
    -----
    ZeroEval compares the first number of the answer field, with "$" and "," removed
    (src/evaluation/gsm_eval.py of WildEval/ZeroEval); a reply without one counts as wrong.

    Examples
    --------
    >>> [numeric_answer(t) for t in ("It is 9 eggs, so $18.", '{"answer": "1,128 minutes a day"}', r"\boxed{-\frac{3}{4}}")]
    [18.0, 1128.0, -0.75]
    """
    found, _ = _answer(text)
    return math.nan if found is None else _value(found)


def numeric(text, tool_calls, reference, *, rel_tol=1e-9, units=None):
    """Score 1 if the number that the reply gives equals the reference.

    Parameters
    ----------
    text : str
        Read as by `numeric_answer`.
    tool_calls : sequence of ToolCall
        Not looked at.
    reference : float or str
        A number, or a text with one.
    rel_tol : float
        Relative difference up to which two numbers count as equal, from 0 up and below 1.
    units : mapping of str to float, optional
        The size of each unit in the reference's unit, for instance ``{"km": 1, "m": 0.001}``. The unit is read right
        after the number (a currency sign also before it), as written or else whatever the case; a number with
        none of these units is in the reference's unit.

    Returns
    -------
    Score

    Examples
    --------
    >>> numeric("The trail is 4,250 m long.", (), 4.25, units={"km": 1, "m": 0.001})
    Score(score=1.0, reason='4.25 is right')
    """
    found, text = _answer(text, units or ())
    if found is None:
        return Score(0.0, "no number in the reply")
    said, wanted = _value(found) * _factor(found, text, units or {}), _reference(reference)
    if math.isclose(said, wanted, rel_tol=rel_tol):
        return Score(1.0, f"{said:.10g} is right")
    return Score(0.0, f"{said:.10g} is not {wanted:.10g}")


def check_numeric(reference, **_):
    """Refuse a reference without a finite number."""
    finite = math.isfinite(_reference(reference))
    needs("numeric: reference", reference, finite, "a number or a text with one")


def _reference(reference):
    return numeric_answer(reference) if isinstance(reference, str) else float(reference)


def _factor(found, text, units):
    after = text[found.end() : found.end() + 60].lstrip(" *_`\\{}~-").removeprefix("text{")
    for fold in (str, str.casefold):
        for unit in sorted(units, key=len, reverse=True):
            end = r"(?![^\W\d_])" if unit[-1].isalpha() else ""
            sign = not unit[0].isalnum() and unit in found[0]
            if sign or re.match(re.escape(fold(unit)) + end, fold(after)):
                return units[unit]
    return 1


def _plain_text(text):
    """Return the text with LaTeX, typographic and grouping forms of numbers turned into plain ones."""
    if not isinstance(text, str):
        return ""
    for form, plain in _FORMS.items():
        text = text.replace(form, plain)
    text = re.sub(r"(?<=\d)[\u00a0\u2009\u202f'\u2019](?=\d{3}(?!\d))", ",", text)
    text = re.sub(r"(?<=\d)\s*(?=\\[dt]?frac)|(?<=\d)(?=[\u00bc-\u00be\u2150-\u215e])", " ", text)
    text = re.sub(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"\1/\2", text)
    return unicodedata.normalize("NFKC", text).replace("\u2044", "/")


def _numbers(text, start, units):
    """Yield the numbers of a text from a place on; one with letters right after it counts only if they are a unit."""
    known = _GLUED.union(unit.casefold() for unit in units)
    for found in _NUMBER.finditer(text, start):
        letters = re.compile(r"[A-Za-z]\w*", re.ASCII).match(text, found.end())
        if letters is None or letters[0].casefold() in known:
            yield found


def _answer(text, units=()):
    """Return the number of an answer as a match, or None, and the text that it was found in."""
    text = _plain_text(text)
    fields = _FIELD.findall(text)
    if fields:
        field = fields[-1][0] or fields[-1][1]
        return next(_numbers(field, 0, units), None), field
    marks = list(_MARKER.finditer(text))
    found = next(_numbers(text, marks[-1].end(), units), None) if marks else None
    return found or next(iter(deque(_numbers(text, 0, units), maxlen=1)), None), text


def _value(found):
    value = float(found["top"].replace(",", ""))
    if found["bottom"]:
        bottom = float(found["bottom"].replace(",", ""))
        value = value / bottom if bottom else value
    value += float(found["whole"] or 0)
    return -value if "-" in (found["minus"], found["inner"]) else value
