"""Broken JSON documents: cut out the element that is broken, close what was left open, keep the rest."""

import json
import re

_NEXT_ELEMENT = re.compile(r"\}\s*,\s*(?=\{)")
_MOST_FAULTS = 50


def mended(text):
    """The document with its broken elements cut out, and where they stood.

    Returns
    -------
    document : object or None
        None when nothing can be saved.
    faults : list of (int, int)
        First line and number of characters of each cut.

    Examples
    --------
    >>> mended('{"data": [{"n": 1}, {"n": x}, {"n": 3}, {"n"')
    ({'data': [{'n': 1}, {'n': 3}]}, [(1, 8), (1, 4)])
    """
    faults, line = [], 0
    for _ in range(_MOST_FAULTS):
        try:
            return json.loads(text), faults
        except RecursionError:
            return None, [*faults, (1, len(text))]
        except json.JSONDecodeError as error:
            closed, start = _open_at(text, error.pos)
            if not closed:
                return None, [*faults, (1, len(text))]
            following = _NEXT_ELEMENT.search(text, max(error.pos - 1, start))
            end = following.end() if following else len(text)
            line = text.count("\n", 0, start) + 1
            faults.append((line, len(text[start:end].rstrip().rstrip(",").rstrip())))
            before = text[:start].rstrip().rstrip(",")
            comma = "" if before.endswith(("[", "{")) else ","
            text = before + comma + text[end:] if following else before + closed
    return None, [*faults, (line or 1, len(text))]


def _open_at(text, position):
    """(what closes the text before the element that is broken, where that element starts)."""
    stack, last, quoted, skip = [], {}, False, False  # last: depth -> end of its last whole element
    for index in range(min(position, len(text))):
        character = text[index]
        if quoted:
            quoted = skip or character != '"'
            skip = character == "\\" and not skip
        elif character == '"':
            quoted = True
        elif character in "{[":
            stack.append((character, index))
            last[len(stack)] = index + 1
        elif character in "}]" and stack:
            stack.pop()
            last[len(stack)] = index + 1
    arrays = [depth for depth, (character, _) in enumerate(stack) if character == "["]
    if not arrays:
        return "", 0
    inner = arrays[-1]
    start = stack[inner + 1][1] if inner + 1 < len(stack) else last[inner + 1]
    closers = "".join(
        "]" if character == "[" else "}" for character, _ in reversed(stack[: inner + 1])
    )
    return closers, start
