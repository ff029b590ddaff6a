"""Scorers of text: the same words, phrases that must or must not appear, a pattern."""

import re
import unicodedata
from functools import lru_cache

import regex as patterns

from tierlab.evaluate.scorers.answers import Score, Unscored, clip, fenced, tidy

REGEX_CHARS, REGEX_SECONDS = 20_000, 5


def exact(text, tool_calls, reference, *, ignore_case=True):
    """1 if the reply is the reference and nothing else.

    Spacing, typographic quotes, a code fence, quotes or markdown emphasis around the whole, and a final period do
    not count.

    Examples
    --------
    >>> exact('**"paris"**.', (), "Paris").score, exact("It is Paris", (), "Paris").score
    (1.0, 0.0)
    """
    blocks = fenced(text) if text.lstrip().startswith(("```", "~~~")) else []
    said = tidy(blocks[0][1] if len(blocks) == 1 else text)
    fold = str.casefold if ignore_case else str
    wanted = {fold(tidy(reference)), fold(tidy(reference).removesuffix("."))}
    right = any(fold(each) in wanted for each in _peeled(said))
    return (
        Score(1.0, f"equals {clip(reference)}")
        if right
        else Score(0.0, f"{clip(said)} is not {clip(reference)}")
    )


def contains(text, tool_calls, reference, *, any_of=(), none_of=()):
    """1 if every phrase of the reference stands in the reply, one of `any_of` if given, and none of `none_of`.

    Whole words, whatever the case and spacing; scripts written without spaces match anywhere.

    Examples
    --------
    >>> contains("Refunds take 5 days.", (), ["refunds", "5 days"], none_of=["guarantee"])
    Score(score=1.0, reason='all 2 phrases found')
    """
    text = tidy(text).casefold()
    missing = [phrase for phrase in reference if not _phrase(phrase).search(text)]
    banned = [phrase for phrase in none_of if _phrase(phrase).search(text)]
    if banned:
        return Score(0.0, f"contains {clip(banned[0])}, which it must not")
    if missing:
        return Score(
            0.0,
            f"{clip(missing[0])} is missing ({len(reference) - len(missing)} of {len(reference)} phrases found)",
        )
    if any_of and not any(_phrase(phrase).search(text) for phrase in any_of):
        return Score(0.0, f"none of {len(any_of)} alternatives found, such as {clip(any_of[0])}")
    return Score(
        1.0,
        f"all {len(reference)} phrases found" if reference else "nothing that it must not contain",
    )


def regex(text, tool_calls, reference, *, ignore_case=False):
    """1 if the pattern (as of Python's `re.search`) is found in the first 20,000 characters of the reply.

    The search is given 5 seconds, because a pattern with repeats inside repeats can take longer than anyone waits.

    Raises
    ------
    Unscored
        If the pattern takes longer; that is the pattern's fault and not the model's.

    Examples
    --------
    >>> regex("Ticket AB-1234 is open.", (), r"[A-Z]{2}-\\d{4}").score
    1.0
    """
    flags = patterns.VERSION0 | (patterns.IGNORECASE if ignore_case else 0)
    try:
        found = patterns.search(reference, text[:REGEX_CHARS], flags, timeout=REGEX_SECONDS)
    except TimeoutError:
        raise Unscored(
            f"the pattern {clip(reference)} ran longer than {REGEX_SECONDS:g} s on this reply; simplify its repeats"
        ) from None
    return Score(
        float(bool(found)), f"the pattern {clip(reference)} is {'found' if found else 'not found'}"
    )


def check_regex(reference, **_):
    try:
        patterns.compile(reference, patterns.VERSION0)
    except (patterns.error, OverflowError, RecursionError) as error:
        raise ValueError(
            f"regex: the pattern {clip(reference)} does not compile: {error}"
        ) from None


def _peeled(text):
    """The text, then the same without its final period and without each layer of quotes or emphasis around it."""
    layers = [text]
    while len(layers) < 12:
        text = layers[-1]
        found = (
            re.fullmatch(r"(\*\*|__|`+|[*_\"'])(.+)\1", text, re.DOTALL)
            if len(text) < 100_000
            else None
        )
        inner = found[2].strip() if found else text.removesuffix(".").strip()
        if inner == text:
            return layers
        layers.append(inner)
    return layers


@lru_cache(maxsize=4096)
def _phrase(phrase):
    """Pattern of a phrase as whole words, for folded text."""
    phrase = tidy(phrase).casefold()
    before, after = (
        (r"(?<!\w)" if _spaced(phrase[0]) else ""),
        (r"(?!\w)" if _spaced(phrase[-1]) else ""),
    )
    return re.compile(before + re.escape(phrase) + after)


def _spaced(character):
    """Whether a character belongs to a script that puts spaces between words."""
    return (character.isalnum() or character == "_") and unicodedata.east_asian_width(
        character
    ) not in "WF"
