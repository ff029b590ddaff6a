"""Scorer of a choice: which one of several options does a reply name?"""

import re
import unicodedata
from functools import lru_cache

from tierlab.core.vocabulary import needs
from tierlab.evaluate.scorers.answers import Score, clip, json_values

_FIELDS = ("answer", "label", "choice", "category")
_MARK = re.compile(
    r"####|\\boxed\{|\b(?:answer|label|choice|category|class|classification|intent|sentiment|option)[*_`\"' ]{0,4}(?:is\b|:|=)",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"[\s*_`\"'(\[{:]{0,12}(?:\\text\{)?(?:(?:the|option|label|category)\s{1,3})?[\s*_`\"'(\[]{0,6}",
    re.IGNORECASE,
)
_NOT = re.compile(
    r"(?:\b(?:not|nor|neither|rather than|instead of)|n't)\s{1,3}(?:(?:an?|the|really)\s{1,3})?[*_`\"'(\[]{0,3}$",
    re.IGNORECASE,
)
_JOIN = re.compile(
    r"[\s*_`\"')\]]{0,6}(?:[,/|&;]|\b(?:or|and)\b|[,/|&;]\s{0,3}(?:or|and)\b)\s{0,3}", re.IGNORECASE
)
_TURN = re.compile(
    r"\b(?:wait|actually|correction|sorry|on second thought|or rather)\b", re.IGNORECASE
)
_POINTER = re.compile(r"(?:\b(?:option|choice|answer|letter|label|is)|:)\W{0,6}$", re.IGNORECASE)


def choice(text, tool_calls, reference, *, options):
    """1 if the reply names the reference and no other option.

    Where to look: the answer, label, choice or category of a JSON reply; else what follows the last "answer is",
    "answer:", "label:" or the like; else how the first line starts ("Spam.", "B) because ..."); else the whole
    text, which must name exactly one option. Whole words, whatever the case; spaces, hyphens and underscores are
    the same; an option after "not" or "rather than" is not named. Options of one letter count where they stand as
    a label: "A)" or "option A", not "A customer".

    Parameters
    ----------
    text : str
    tool_calls : sequence of ToolCall
        Not looked at.
    reference : str
        One of the options.
    options : sequence of str

    Examples
    --------
    >>> options = ["refund", "billing"]
    >>> choice("Not billing: the answer is **Refund**.", (), "refund", options=options)
    Score(score=1.0, reason="names 'refund'")
    >>> choice("refund or billing", (), "refund", options=options)
    Score(score=0.0, reason="names two options, 'refund' and 'billing'")
    """
    named = _chosen(unicodedata.normalize("NFKC", text), tuple(options))
    if not named:
        return Score(0.0, "names none of the options")
    if len(named) > 1:
        return Score(
            0.0,
            f"names {'two' if len(named) == 2 else len(named)} options, {clip(named[0])} and {clip(named[1])}",
        )
    right = _plain(named[0]) == _plain(reference)
    return Score(
        float(right), f"names {clip(named[0])}" + ("" if right else f", not {clip(reference)}")
    )


def check_choice(reference, *, options):
    plain = [_plain(option) for option in options]
    different = all(plain) and len(set(plain)) == len(plain) > 1
    needs("choice: options", options, different, "a list of at least two texts, all different,")
    one = _plain(reference) in plain
    needs("choice: reference", reference, one, f"one of the options {list(options)!r}")


def _chosen(text, options):
    """The options that a reply names, in order; one of them is a choice."""
    for value in reversed(json_values(text)):
        for field in _FIELDS if isinstance(value, dict) else ():
            if isinstance(value.get(field), str | int):
                return _named(str(value[field]), options)
    for mark in reversed(list(_MARK.finditer(text))):
        first = _first(text, _LEAD.match(text, mark.end()).end(), options, marked=True)
        if first:
            return first
    start = len(text) - len(text.lstrip())
    start = _LEAD.match(text, start).end() if start < len(text) else start
    lead = _first(text, start, options, marked=False)
    if lead and (len(lead) > 1 or not _TURN.search(text)):
        return lead
    return _named(text, options)


def _first(text, start, options, *, marked):
    """The option that stands at a place, with those joined to it; without a mark, only if the clause ends there."""
    found = _pattern(options).match(text, start)
    if not found or not _stands(text, found, marked):
        return []
    named, end = [_option(found, options)], found.end()
    if not marked and not re.match(
        r"[*_`\"')\]}]{0,6}\s{0,3}(?:[.,:;!\n\u2013\u2014-]|\Z)", text[end : end + 12]
    ):
        return []
    while (joint := _JOIN.match(text, end)) and (
        found := _pattern(options).match(text, joint.end())
    ):
        if not _stands(text, found, marked):
            break
        named.append(_option(found, options))
        end = found.end()
    return list(dict.fromkeys(named))


def _named(text, options):
    """Every option that a text names, in order of appearance."""
    named = {}
    for found in _pattern(options).finditer(text):
        option = _option(found, options)
        if option in named or _NOT.search(text[max(0, found.start() - 30) : found.start()]):
            continue
        if _stands(
            text, found, bool(_POINTER.search(text[max(0, found.start() - 16) : found.start()]))
        ):
            named[option] = True
    return list(named)


def _stands(text, found, marked):
    """Whether a match is meant as an option: always for words; for a single letter, only where it is a label."""
    if len(found[0]) > 1 or not found[0].isalpha():
        return True
    start, end = found.span()
    alone = not re.match(r"\s?[\w']|\.\w", text[end : end + 3])
    if found[0].isupper():
        return bool(alone or marked or found[0] not in "AI" or _JOIN.match(text, end))
    return alone and (
        marked
        or not text[:start].strip()
        or text[start - 1 : start] in ("(", "\n")
        or text[end : end + 1] == ")"
    )


@lru_cache(maxsize=1024)
def _pattern(options):
    words = sorted(options, key=lambda option: -len(option))
    spelled = (r"\\?[\s_-]\s{0,3}".join(map(re.escape, _plain(option).split())) for option in words)
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(spelled)})(?![^\W_]|[+#])", re.IGNORECASE)


def _option(found, options):
    return next(option for option in options if _plain(option) == _plain(found[0]))


def _plain(text):
    return " ".join(
        re.sub(r"[\s_\\-]+", " ", unicodedata.normalize("NFKC", text)).casefold().split()
    )
