"""Scorers of text: exact, phrases, a pattern, a choice among options, and the words shared with a summary."""

import re
import unicodedata
from collections import Counter
from functools import lru_cache

import regex as patterns

from tierlab.core.vocabulary import needs
from tierlab.evaluate.scorers.answers import Score, Unscored, clip, fenced, json_values, tidy

REGEX_CHARS, REGEX_SECONDS = 20_000, 5
COVERED = 0.6  # share of a key point's content words from which it counts as covered
# Where a reply names its choice: fields of JSON, words before it, and what may stand around it.
_FIELDS = ("answer", "label", "choice", "category")
_MARK = re.compile(
    r"####|\\boxed\{|\b(?:answer|label|choice|category|class|classification|intent|sentiment|option)[*_`\"' ]{0,4}(?:is\b|:|=)",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"[\s*_`\"'(\[{:]{0,12}(?:\\text\{)?(?:(?:the|option|label|category)\s{1,3})?[\s*_`\"'(\[]{0,6}",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(r"[*_`\"')\]}]{0,6}\s{0,3}(?:[.,:;!\n\u2013\u2014-]|\Z)")
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
_WORD = re.compile(
    r"\d+(?:[.,]\d+)*|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\d_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+(?:'[^\W\d_]+)?"
)
_FUNCTION_WORDS = frozenset(
    [
        "a",
        "about",
        "after",
        "all",
        "also",
        "am",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "because",
        "been",
        "before",
        "being",
        "both",
        "but",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
        "during",
        "each",
        "for",
        "from",
        "had",
        "has",
        "have",
        "he",
        "her",
        "here",
        "his",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "it's",
        "its",
        "may",
        "might",
        "more",
        "most",
        "must",
        "my",
        "of",
        "on",
        "or",
        "other",
        "our",
        "out",
        "over",
        "own",
        "per",
        "she",
        "should",
        "so",
        "some",
        "such",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "through",
        "to",
        "too",
        "under",
        "up",
        "very",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "while",
        "who",
        "whose",
        "why",
        "will",
        "with",
        "would",
        "you",
        "your",
    ]
)


def exact(text, tool_calls, reference, *, ignore_case=True):
    """Score 1 if the reply is the reference and nothing else.

    Spacing, typographic quotes, a code fence, quotes or markdown emphasis around the whole, and a final period do
    not count.

    Parameters
    ----------
    text : str
        The reply.
    tool_calls : sequence of ToolCall
        Not looked at, as in every scorer of text.
    reference : str
        The right answer.
    ignore_case : bool
        Whether capital and small letters are the same.

    Returns
    -------
    Score

    Examples
    --------
    >>> exact('**"paris"**.', (), "Paris").score, exact("It is Paris", (), "Paris").score
    (1.0, 0.0)
    """
    blocks = fenced(text) if text.lstrip().startswith(("```", "~~~")) else []
    said = tidy(blocks[0][1] if len(blocks) == 1 else text)
    fold = str.casefold if ignore_case else str
    wanted = {fold(tidy(reference)), fold(tidy(reference).removesuffix("."))}
    if any(fold(each) in wanted for each in _peeled(said)):
        return Score(1.0, f"equals {clip(reference)}")
    return Score(0.0, f"{clip(said)} is not {clip(reference)}")


def contains(text, tool_calls, reference, *, any_of=(), none_of=()):
    """Score 1 if the reply has every phrase of the reference, one of `any_of` if given, and none of `none_of`.

    Phrases match as whole words, whatever the case and spacing; scripts written without spaces match anywhere.

    Parameters
    ----------
    text : str
        The reply.
    tool_calls : sequence of ToolCall
        Not looked at.
    reference, any_of, none_of : sequence of str
        Phrases.

    Returns
    -------
    Score

    Examples
    --------
    >>> contains("Refunds take 5 days.", (), ["refunds", "5 days"], none_of=["guarantee"])
    Score(score=1.0, reason='all 2 phrases found')
    """
    text = tidy(text).casefold()
    total = len(reference)
    missing = [phrase for phrase in reference if not _phrase(phrase).search(text)]
    banned = [phrase for phrase in none_of if _phrase(phrase).search(text)]
    if banned:
        return Score(0.0, f"contains {clip(banned[0])}, which it must not")
    if missing:
        found = f"{total - len(missing)} of {total} phrases found"
        return Score(0.0, f"{clip(missing[0])} is missing ({found})")
    if any_of and not any(_phrase(phrase).search(text) for phrase in any_of):
        return Score(0.0, f"none of {len(any_of)} alternatives found, such as {clip(any_of[0])}")
    return Score(
        1.0, f"all {total} phrases found" if reference else "nothing that it must not contain"
    )


def regex(text, tool_calls, reference, *, ignore_case=False):
    """Score 1 if the pattern is found in the first 20,000 characters of the reply.

    The search is given 5 seconds, because a pattern with repeats inside repeats can take longer than anyone waits.

    Parameters
    ----------
    text : str
        The reply.
    tool_calls : sequence of ToolCall
        Not looked at.
    reference : str
        The pattern, as of Python's `re.search`.
    ignore_case : bool
        Whether capital and small letters are the same.

    Returns
    -------
    Score

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
    said = "found" if found else "not found"
    return Score(float(bool(found)), f"the pattern {clip(reference)} is {said}")


def check_regex(reference, **_):
    """Refuse a pattern that does not compile."""
    try:
        patterns.compile(reference, patterns.VERSION0)
    except (patterns.error, OverflowError, RecursionError) as error:
        raise ValueError(
            f"regex: the pattern {clip(reference)} does not compile: {error}"
        ) from None


def choice(text, tool_calls, reference, *, options):
    """Score 1 if the reply names the reference and no other option.

    The choice is read from the answer, label, choice or category of a JSON reply; else from what follows the last
    "answer is", "answer:", "label:" or the like; else from how the first line starts ("Spam.", "B) because ..."); else
    from the whole text, which must name exactly one option. Options match as whole words, whatever the case; spaces,
    hyphens and underscores are the same; an option after "not" or "rather than" is not named. Options of one letter
    count where they stand as a label: "A)" or "option A", not "A customer".

    Parameters
    ----------
    text : str
        The reply.
    tool_calls : sequence of ToolCall
        Not looked at.
    reference : str
        The right option.
    options : sequence of str
        All options, the right one among them.

    Returns
    -------
    Score

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
        count = "two" if len(named) == 2 else len(named)
        return Score(0.0, f"names {count} options, {clip(named[0])} and {clip(named[1])}")
    if _folded(named[0]) == _folded(reference):
        return Score(1.0, f"names {clip(named[0])}")
    return Score(0.0, f"names {clip(named[0])}, not {clip(reference)}")


def check_choice(reference, *, options):
    """Refuse fewer than two options, options that are the same, and a reference that is not one of them."""
    folded = [_folded(option) for option in options]
    different = all(folded) and len(set(folded)) == len(folded) > 1
    needs("choice: options", options, different, "a list of at least two texts, all different,")
    one = _folded(reference) in folded
    needs("choice: reference", reference, one, f"one of the options {list(options)!r}")


def overlap(text, tool_calls, reference, *, key_points=(), max_words=None):
    """Score how much of a reference summary a reply covers.

    With `key_points`, the score is the share of them that are covered. A key point is covered when the reply has all of
    its numbers and at least 60% of its other content words. Without, the score is F1 of the content words shared with
    the reference, each as often as it stands in both (ROUGE-1 on content words). Content words are words other than
    function words such as "the"; endings are cut, so that "refunded" and "refunds" are one word.

    Parameters
    ----------
    text : str
        The reply.
    tool_calls : sequence of ToolCall
        Not looked at.
    reference : str
        A good summary.
    key_points : sequence of str
        What a summary should say.
    max_words : int, optional
        The score of a longer reply is multiplied by max_words / its words, because a copy of the whole text would
        cover everything.

    Returns
    -------
    Score

    Notes
    -----
    Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004. Words do not tell whether a sentence is true:
    "rose" in place of "fell" costs one word. For that, use the scorer `judge`.

    Examples
    --------
    >>> overlap("Sales rose 12%.", (), "Sales rose 12% in May.", key_points=["sales rose 12%", "new shop in Bern"])
    Score(score=0.5, reason="1 of 2 key points covered; 'new shop in Bern' is not")
    """
    said = _stems(text)
    if key_points:
        missing = [point for point in key_points if not _covers(set(said), point)]
        total = len(key_points)
        score = 1 - len(missing) / total
        reason = f"{total - len(missing)} of {total} key points covered"
        if missing:
            reason += f"; {clip(missing[0])} is not"
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
    """Refuse texts without content words, and a reference that would not have the full score itself."""
    content = all(map(_stems, (reference, *key_points)))
    needs(
        "overlap: reference", reference, content, "a text with content words (like every key point)"
    )
    own = overlap(reference, (), reference, key_points=key_points, max_words=max_words)
    if own.score < 1:
        raise ValueError(f"overlap: the reference itself scores {own.score:.2f}: {own.reason}")


def _peeled(text):
    """Return the text, then the same without its final period and without each layer of quotes or emphasis around it."""
    layers = [text]
    while len(layers) < 12:
        text, found = layers[-1], None
        if len(text) < 100_000:
            found = re.fullmatch(r"(\*\*|__|`+|[*_\"'])(.+)\1", text, re.DOTALL)
        inner = found[2].strip() if found else text.removesuffix(".").strip()
        if inner == text:
            return layers
        layers.append(inner)
    return layers


@lru_cache(maxsize=4096)
def _phrase(phrase):
    """Return the pattern of a phrase as whole words, for folded text."""
    phrase = tidy(phrase).casefold()
    before = r"(?<!\w)" if _spaced(phrase[0]) else ""
    after = r"(?!\w)" if _spaced(phrase[-1]) else ""
    return re.compile(before + re.escape(phrase) + after)


def _spaced(character):
    """Return whether a character belongs to a script that puts spaces between words."""
    wide = unicodedata.east_asian_width(character) in "WF"
    return (character.isalnum() or character == "_") and not wide


def _chosen(text, options):
    """Return the options that a reply names, in order; exactly one is a choice."""
    for value in reversed(json_values(text)):
        for field in _FIELDS if isinstance(value, dict) else ():
            if isinstance(value.get(field), str | int):
                return _named(str(value[field]), options)
    for mark in reversed(list(_MARK.finditer(text))):
        first = _first(text, _LEAD.match(text, mark.end()).end(), options, marked=True)
        if first:
            return first
    start = len(text) - len(text.lstrip())
    lead = _first(text, _LEAD.match(text, start).end(), options, marked=False)
    if lead and (len(lead) > 1 or not _TURN.search(text)):
        return lead
    return _named(text, options)


def _first(text, start, options, *, marked):
    """Return the option at a place and those joined to it; without a mark before it, only if the clause ends there."""
    found = _pattern(options).match(text, start)
    if not found or not _stands(text, found, marked):
        return []
    if not marked and not _CLAUSE_END.match(text[found.end() : found.end() + 12]):
        return []
    named = []
    while found and _stands(text, found, marked):
        named.append(_option(found, options))
        joint = _JOIN.match(text, found.end())
        found = joint and _pattern(options).match(text, joint.end())
    return list(dict.fromkeys(named))


def _named(text, options):
    """Return every option that a text names, in order of appearance."""
    named = {}
    for found in _pattern(options).finditer(text):
        option = _option(found, options)
        before = text[max(0, found.start() - 30) : found.start()]
        if option in named or _NOT.search(before):
            continue
        if _stands(text, found, bool(_POINTER.search(before[-16:]))):
            named[option] = True
    return list(named)


def _stands(text, found, marked):
    """Return whether a match is meant as an option: words always are, a single letter only where it is a label."""
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
    spelled = (
        r"\\?[\s_-]\s{0,3}".join(map(re.escape, _folded(option).split())) for option in words
    )
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(spelled)})(?![^\W_]|[+#])", re.IGNORECASE)


def _option(found, options):
    return next(option for option in options if _folded(option) == _folded(found[0]))


def _folded(text):
    plain = re.sub(r"[\s_\\-]+", " ", unicodedata.normalize("NFKC", text))
    return " ".join(plain.casefold().split())


def _covers(said, point):
    stems = set(_stems(point))
    numbers = {stem for stem in stems if stem[0].isdigit()}
    words = stems - numbers
    return numbers <= said and len(words & said) >= COVERED * len(words)


def _stems(text):
    """Return the content words of a text without their endings, in order."""
    text = unicodedata.normalize("NFKC", text).replace("\u2019", "'").casefold()
    return [_stem(word) for word in _WORD.findall(text) if word not in _FUNCTION_WORDS]


def _stem(word):
    """Return a word without a possessive and one common English ending; numbers without grouping commas.

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
