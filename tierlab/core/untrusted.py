"""Text that others wrote (logs, models, servers, files): shown as text, and cut to a length."""

import re

LINE_BYTES = 64 * 2**20  # one line of a log
REPLY_BYTES = 16 * 2**20  # one reply of a server
FILE_BYTES = 2**20  # a decision record, or a YAML file

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")


def shown(value, length=200):
    """A value on one line of a terminal or an error: no control characters, cut to `length` characters.

    Parameters
    ----------
    value : object
        Its `str` is shown; only the first characters of a long text are looked at.
    length : int
        Most characters of the result.

    Examples
    --------
    >>> shown("red \\x1b[31mtext\\n on two lines")
    'red [31mtext on two lines'
    >>> shown("a" * 300, 10)
    'aaaaaaa...'
    """
    text = value if isinstance(value, str) else str(value)
    head = " ".join(_CONTROL.sub(" ", text[: 4 * length]).split())
    return head if len(head) <= length and len(text) <= 4 * length else head[: length - 3] + "..."


def spreadsheet(value):
    """A text as a spreadsheet cell that cannot be read as a formula: an apostrophe stands before its first character.

    Numbers pass as they are, also as text (``"-3.5"``).

    Examples
    --------
    >>> spreadsheet("=cmd|' /C calc'!A0"), spreadsheet("-3.5"), spreadsheet("plain"), spreadsheet(4)
    ("'=cmd|' /C calc'!A0", '-3.5', 'plain', 4)
    """
    if not isinstance(value, str) or not value.lstrip(" \ufeff").startswith(("=", "+", "-", "@", "\t", "\r", "\n")):
        return value
    try:
        float(value)
    except ValueError:
        return "'" + value
    return value
