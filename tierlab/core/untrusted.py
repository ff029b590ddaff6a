"""Text that others wrote (logs, models, servers, files): read within limits, shown as text, and cut to a length."""

import html
import re
import reprlib
from pathlib import Path

import yaml

LINE_BYTES = 64 * 2**20  # one line of a log
REPLY_BYTES = 16 * 2**20  # one reply of a server
FILE_BYTES = 2**20  # a decision record, or a YAML file
_DEPTH = 50  # levels of a YAML text: the time to read it grows with their square

_CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+"
)
_STEERING = re.compile(_CONTROL.pattern[:-1].replace(r"\x00-\x1f", r"\x00-\x08\x0b-\x1f"))


def regular(path):
    """A path, unless it leads to a named pipe, a terminal or a device: reading that may never end.

    Raises
    ------
    ValueError
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ValueError(
            f"{path}: not a regular file but a pipe or a device; write what it holds to a file first"
        )
    return path


def read_text(path):
    """The text of a small file that a person wrote: UTF-8, at most 1 MiB.

    Raises
    ------
    ValueError
        Where it is larger, not a file, or not UTF-8.
    """
    with regular(path).open("rb") as file:
        data = file.read(FILE_BYTES + 1)
    if len(data) > FILE_BYTES:
        raise ValueError(f"{path}: above the limit of 1 MiB for a file of this kind")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 (byte {error.start:,})") from None


def read_yaml(text, loader=yaml.SafeLoader):
    """The value of a YAML text without anchors and aliases: with them a few hundred bytes fill any memory.

    Raises
    ------
    ValueError
        Where it is not YAML, nested too deeply, or has a key twice.

    Examples
    --------
    >>> read_yaml("a: &x [1, 2]\\nb: *x")
    Traceback (most recent call last):
    ...
    ValueError: line 1: anchors and aliases (&x, *x) are not read; write the value out
    """
    try:
        depth = 0
        for event in yaml.parse(text, Loader=loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(
                event, yaml.CollectionEndEvent
            )
            if depth > _DEPTH:
                raise ValueError(f"line {event.start_mark.line + 1}: more than {_DEPTH} levels")
            if name := getattr(event, "anchor", None):
                cut, line = shown(name, 40), event.start_mark.line + 1
                raise ValueError(
                    f"line {line}: anchors and aliases (&{cut}, *{cut}) are not read; write the value out"
                )
        _refuse_twice(yaml.compose(text, Loader=loader))
        return yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {shown(str(error), 300)}") from None


def _refuse_twice(node):
    """Refuse a mapping in which a key stands twice: of two values YAML would keep the last and say nothing."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_twice(item)
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                cut, line = shown(key.value, 40), key.start_mark.line + 1
                raise ValueError(f"line {line}: {cut!r} is there already; write each key once")
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
            _refuse_twice(value)


_BOUNDED = reprlib.Repr()
_BOUNDED.maxstring = _BOUNDED.maxother = _BOUNDED.maxlong = 100


def shown(value, length=200):
    """A value on one line of a terminal or an error: no control characters, cut to `length` characters.

    Parameters
    ----------
    value : object
        Its `str` is shown; only the first characters of a long text, and the first items and levels of a container, are
        looked at.
    length : int
        Most characters of the result.

    Examples
    --------
    >>> shown("red \\x1b[31mtext\\n on two lines")
    'red [31mtext on two lines'
    >>> shown("a" * 300, 10)
    'aaaaaaa...'
    """
    text = _BOUNDED.repr(value) if isinstance(value, dict | list | tuple | set) else str(value)
    head = " ".join(_CONTROL.sub(" ", text[: 4 * length]).split())
    return head if len(head) <= length and len(text) <= 4 * length else head[: length - 3] + "..."


def cited(value, length=200):
    """A value as code would write it (a text in quotes), on one line and cut.

    Examples
    --------
    >>> cited("high"), cited(3), cited([[[[[[[[1]]]]]]]] * 100, 60)
    ("'high'", '3', '[[[[[[[...]]]]]], [[[[[[...]]]]]], [[[[[[...]]]]]], [[[[...')
    """
    return shown(repr(value[: 2 * length]) if isinstance(value, str) else value, length)


def in_html(text):
    """A text as HTML that shows it as it is; a dollar sign in an element of its own cannot start a formula.

    Examples
    --------
    >>> in_html("<b> & $1")
    '&lt;b&gt; &amp; <span>$</span>1'
    """
    return html.escape(str(text)).replace("$", "<span>$</span>")


def in_markdown(text):
    """One line of Markdown that shows a text as it is.

    CommonMark lets a backslash stand before any ASCII punctuation. What can open markup within a line gets one
    everywhere; what can open it only at the start of a line (lists, rules, underlines of headings) gets one there.

    Examples
    --------
    >>> print(in_markdown("  - <b> costs $1 & more"), in_markdown("1. one"))
    \\- \\<b\\> costs \\$1 \\& more 1\\. one
    """
    line = " ".join(_CONTROL.sub(" ", str(text)).split())
    # An address without brackets would become a link all the same.
    line = re.sub(r"([\\`*_\[\]<>#|&$~^{}@]|:(?=//)|(?<=www)\.)", r"\\\1", line)
    return re.sub(r"^(\d*)([!\"%'()+,\-./:;=?@])", r"\1\\\2", line)


class Printable:
    """A stream for text of others: what would steer a terminal (escape sequences, other control characters) is left out."""

    def __init__(self, stream):
        self._stream = stream

    def write(self, text):
        return self._stream.write(_STEERING.sub("", text))

    def __getattr__(self, name):
        return getattr(self._stream, name)


def spreadsheet(value):
    """A text as a spreadsheet cell that cannot be read as a formula: an apostrophe stands before its first character.

    Numbers pass as they are, also as text (``"-3.5"``). A text that begins with an apostrophe before such a
    character gets one more, so that `from_spreadsheet` gives back exactly what was there.

    Examples
    --------
    >>> spreadsheet("=cmd|' /C calc'!A0"), spreadsheet("-3.5"), spreadsheet("plain"), spreadsheet(4)
    ("'=cmd|' /C calc'!A0", '-3.5', 'plain', 4)
    """
    return "'" + value if isinstance(value, str) and _is_formula(value.lstrip("'")) else value


def from_spreadsheet(value):
    """What `spreadsheet` was given.

    Examples
    --------
    >>> [from_spreadsheet(spreadsheet(text)) for text in ("=1", "'=1", "'tis", "-3.5", "'-3.5")]
    ['=1', "'=1", "'tis", '-3.5', "'-3.5"]
    """
    return (
        value[1:]
        if isinstance(value, str) and value[:1] == "'" and _is_formula(value.lstrip("'"))
        else value
    )


def guarded(table):
    """A table for a CSV file that a spreadsheet may open: `spreadsheet` in each cell of text, and in its headings."""
    texts = table.select_dtypes(["object", "str", "category"])
    return table.assign(
        **{name: texts[name].astype(object).map(spreadsheet) for name in texts}
    ).rename(index=spreadsheet, columns=spreadsheet)


def unguarded(table):
    """A table as it was before `guarded`."""
    texts = table.select_dtypes(["object", "str"])
    back = {
        name: texts[name].map(from_spreadsheet, na_action="ignore").astype(texts[name].dtype)
        for name in texts
    }
    return table.assign(**back).rename(columns=from_spreadsheet)


def _is_formula(text):
    if not text.lstrip(" \ufeff").startswith(
        ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
    ):
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False
