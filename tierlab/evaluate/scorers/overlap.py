"""Scorer of summaries by the words they share with a reference: a rough measure, cheap and the same every time."""

import re
import unicodedata
from collections import Counter

from tierlab.core.vocabulary import needs
from tierlab.evaluate.scorers.answers import Score, clip

COVERED = 0.6  # share of a key point's content words from which it counts as covered
_WORD = re.compile(
    r"\d+(?:[.,]\d+)*|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\d_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+(?:'[^\W\d_]+)?"
)
_FUNCTION_WORDS = (
    "a about after all also am an and any are as at be because been before being both but by can could did do does "
    "during each for from had has have he her here his how i if in into is it it's its may might more most must my of "
    "on or other our out over own per she should so some such than that the their them then there these they this "
    "those through to too under up very was we were what when where which while who whose why will with would you your"
)
_FUNCTION = frozenset(_FUNCTION_WORDS.split())


def overlap(text, tool_calls, reference, *, key_points=(), max_words=None):
    """How much of a reference summary a reply covers.

    With `key_points`: the share of them that are covered. A key point is covered when the reply has all of its
    numbers and at least 60% of its other content words. Without: F1 of the content words shared with the
    reference, each as often as it stands in both (ROUGE-1 on content words). Content words are words other than
    function words such as "the"; endings are cut, so that "refunded" and "refunds" are one word.

    Parameters
    ----------
    text : str
    tool_calls : sequence of ToolCall
        Not looked at.
    reference : str
        A good summary.
    key_points : sequence of str
    max_words : int, optional
        A longer reply has its score times max_words / its words: who repeats the whole text covers everything.

    Notes
    -----
    Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004. Words say nothing of the truth of a
    sentence: "rose" for "fell" costs one word. For that, use the scorer `judge`.

    Examples
    --------
    >>> overlap("Sales rose 12%.", (), "Sales rose 12% in May.", key_points=["sales rose 12%", "new shop in Bern"])
    Score(score=0.5, reason="1 of 2 key points covered; 'new shop in Bern' is not")
    """
    said = _stems(text)
    if key_points:
        missing = [point for point in key_points if not _covers(set(said), point)]
        score, total = 1 - len(missing) / len(key_points), len(key_points)
        reason = f"{total - len(missing)} of {total} key points covered" + (
            f"; {clip(missing[0])} is not" if missing else ""
        )
    else:
        wanted = _stems(reference)
        shared = (Counter(said) & Counter(wanted)).total()
        score = 2 * shared / (len(said) + len(wanted))
        reason = (
            f"shares {shared} of {len(wanted)} content words of the reference, and has {len(said)}"
        )
    words = len(text.split())
    if max_words and words > max_words:
        return Score(score * max_words / words, f"{reason}; {words:,} words, over {max_words:,}")
    return Score(score, reason)


def check_overlap(reference, *, key_points=(), max_words=None):
    content = all(map(_stems, (reference, *key_points)))
    needs("overlap: reference", reference, content, "a text with content words, as each key point,")
    own = overlap(reference, (), reference, key_points=key_points, max_words=max_words)
    if own.score < 1:
        raise ValueError(f"overlap: the reference itself scores {own.score:.2f}: {own.reason}")


def _covers(said, point):
    stems = dict.fromkeys(_stems(point))
    numbers = {stem for stem in stems if stem[0].isdigit()}
    words = [stem for stem in stems if stem not in numbers]
    return numbers <= said and sum(word in said for word in words) >= COVERED * len(words)


def _stems(text):
    """Content words of a text without their endings, in order."""
    text = unicodedata.normalize("NFKC", text).replace("\u2019", "'").casefold()
    return [_stem(word) for word in _WORD.findall(text) if word not in _FUNCTION]


def _stem(word):
    """A word without a possessive and one common English ending; numbers without grouping commas.

    Examples
    --------
    >>> [_stem(w) for w in ("increases", "increasing", "companies", "tried", "stopped", "1,200")]
    ['increas', 'increas', 'company', 'try', 'stop', '1200']
    """
    if word[0].isdigit():
        return re.sub(r",(?=\d{3}(?!\d))", "", word)
    word = word.removesuffix("'s")
    if len(word) > 4 and word.endswith(("ies", "ied")):
        return word[:-3] + "y"
    for ending in ("ing", "ed", "es", "s", "e"):
        left = word[: -len(ending)]
        if word.endswith(ending) and len(left) > 2 and not word.endswith(("ss", "us", "is")):
            doubled = ending in ("ing", "ed") and left[-1] == left[-2] and left[-1] not in "lsz"
            return left[:-1] if doubled else left
    return word
