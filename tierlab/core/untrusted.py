"""Handle text that others wrote (logs, models, servers, files): read it within limits, show it as text, cut it short."""

import html
import re
import reprlib
from pathlib import Path

import yaml

LINE_BYTES = 64 * 2**20  # one line of a log
REPLY_BYTES = 16 * 2**20  # one reply of a server
FILE_BYTES = 2**20  # a decision record, or a YAML file
_DEPTH = 50  # levels of a YAML text; the time to read it grows with their square

_CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+"
)
_STEERING = re.compile(_CONTROL.pattern[:-1].replace(r"\x00-\x1f", r"\x00-\x08\x0b-\x1f"))


def regular(path):
    """Return a path as `Path`, unless it leads to a pipe, a terminal or a device, which might never end.

    Raises
    ------
    ValueError
        If the path exists and is neither a file nor a folder.
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ValueError(
            f"{path}: not a regular file but a pipe or a device; write its content to a file first"
        )
    return path


def read_text(path):
    """Read a small file that a person wrote: UTF-8, at most 1 MiB.

    Raises
    ------
    ValueError
        If it is larger, not a regular file, or not UTF-8.
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
    """Return the value of a YAML text without anchors and aliases, with which a few hundred bytes can fill any memory.

    Parameters
    ----------
    text : str
    loader : type
        PyYAML loader, which decides what the scalars become.

    Raises
    ------
    ValueError
        If the text is not YAML, has an anchor or alias, is nested too deeply, or repeats a key.

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
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            line = event.start_mark.line + 1
            if depth > _DEPTH:
                raise ValueError(f"line {line}: more than {_DEPTH} levels")
            if name := getattr(event, "anchor", None):
                cut = shown(name, 40)
                raise ValueError(
                    f"line {line}: anchors and aliases (&{cut}, *{cut}) are not read; write the value out"
                )
        _refuse_twice(yaml.compose(text, Loader=loader))
        return yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {shown(str(error), 300)}") from None


def _refuse_twice(node):
    """Refuse a mapping with a repeated key: YAML would silently keep the last of its values."""
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
    """Return a value as one line for a terminal or an error: without control characters, cut to `length` characters.

    Parameters
    ----------
    value : object
        Its `str` is shown. Of a long text only the first characters are read, of a container only the first items and
        levels.
    length : int
        Maximum number of characters of the result.

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
    """Return a value as code would write it (a text in quotes), on one line and cut to `length` characters.

    Examples
    --------
    >>> cited("high"), cited(3), cited([[[[[[[[1]]]]]]]] * 100, 60)
    ("'high'", '3', '[[[[[[[...]]]]]], [[[[[[...]]]]]], [[[[[[...]]]]]], [[[[...')
    """
    return shown(repr(value[: 2 * length]) if isinstance(value, str) else value, length)


def in_html(text):
    """Return HTML that shows a text as it is; each dollar sign gets its own element, so that none starts a formula.

    Examples
    --------
    >>> in_html("<b> & $1")
    '&lt;b&gt; &amp; <span>$</span>1'
    """
    return html.escape(str(text)).replace("$", "<span>$</span>")


def in_markdown(text):
    """Return one line of Markdown that shows a text as it is.

    CommonMark allows a backslash before any ASCII punctuation. A character that can open markup within a line gets one
    everywhere; one that can open it only at the start of a line (lists, rules, underlined headings) gets one there.

    Examples
    --------
    >>> print(in_markdown("  - <b> costs $1 & more"), in_markdown("1. one"))
    \\- \\<b\\> costs \\$1 \\& more 1\\. one
    """
    line = " ".join(_CONTROL.sub(" ", str(text)).split())
    # An underscore within a word opens nothing; an address would become a link even without brackets.
    line = re.sub(
        r"([\\`*\[\]<>#|&$~^{}@]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|:(?=//)|(?<=www)\.)",
        r"\\\1",
        line,
    )
    return re.sub(r"^(\d*)([!\"%'()+,\-./:;=?@])", r"\1\\\2", line)


class Printable:
    """A stream that leaves out what could steer a terminal: escape sequences and other control characters."""

    def __init__(self, stream):
        self._stream = stream

    def write(self, text):
        return self._stream.write(_STEERING.sub("", text))

    def __getattr__(self, name):
        return getattr(self._stream, name)


def spreadsheet(value):
    """Return a text as a spreadsheet cell that is not taken for a formula: an apostrophe goes in front of it.

    Numbers stay as they are, even as text (``"-3.5"``). A text that already has an apostrophe before such a character
    gets one more, so that `from_spreadsheet` returns exactly what was there.

    Examples
    --------
    >>> spreadsheet("=cmd|' /C calc'!A0"), spreadsheet("-3.5"), spreadsheet("plain"), spreadsheet(4)
    ("'=cmd|' /C calc'!A0", '-3.5', 'plain', 4)
    """
    return "'" + value if isinstance(value, str) and _is_formula(value.lstrip("'")) else value


def from_spreadsheet(value):
    """Return what `spreadsheet` was given.

    Examples
    --------
    >>> [from_spreadsheet(spreadsheet(text)) for text in ("=1", "'=1", "'tis", "-3.5", "'-3.5")]
    ['=1', "'=1", "'tis", '-3.5', "'-3.5"]
    """
    is_guarded = isinstance(value, str) and value[:1] == "'" and _is_formula(value.lstrip("'"))
    return value[1:] if is_guarded else value


def guarded(table):
    """Return a table for a CSV file that a spreadsheet may open: every text and heading goes through `spreadsheet`."""
    texts = table.select_dtypes(["object", "str", "category"])
    safe = {name: texts[name].astype(object).map(spreadsheet) for name in texts}
    return table.assign(**safe).rename(index=spreadsheet, columns=spreadsheet)


def unguarded(table):
    """Return a table as it was before `guarded`."""
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
