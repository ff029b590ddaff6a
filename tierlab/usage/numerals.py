"""Numbers that were written for people: which mark is the decimal one, and the same number with a point.

"1.000" is 1 where a point is decimal, and 1,000 where a comma is. A column's other cells tell which ("0,05", "12.5",
"1.250.000"), or those of the table; where none does, nobody guesses.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

_GAPS = " '\u2019\u00a0\u2009\u202f"  # what groups digits beside a point and a comma
_WRITTEN = {
    decimal: rf"[+-]?(?:(?:[1-9]\d{{0,2}}(?:(?:[{group}]\d{{3}})+|(?:[{_GAPS}]\d{{3}})+)|\d+)(?:[{decimal}]\d*)?"
    rf"|(?:\d+(?:[{decimal}]\d*)?|[{decimal}]\d+)(?:[eE][+-]?\d+)?)"
    for decimal, group in (".,", ",.")
}


@dataclass(frozen=True)
class Marks:
    """How the numbers of a column are written.

    Attributes
    ----------
    decimal : {".", ","}
        The decimal mark; the other one groups thousands.
    doubted : str
        Marks of which it is not known: a number that has one and could be read in both ways is refused.
    """

    decimal: str = "."
    doubted: str = ""


def marks_of(columns, counts, said=None):
    """The marks of each column of text: its own cells tell, else what was said, else the cells of the other columns.

    A whole number of a count column that has the decimal mark of the other columns ("2.500" tokens beside "0.05" dollars) stays
    in doubt: few write counts with three decimals, and many group them.

    Parameters
    ----------
    columns : dict of str to Series of str
    counts : collection of str
        Those that are whole numbers.
    said : {".", ","}, optional

    Examples
    --------
    >>> dollars, tokens = pd.Series(["0,05", "1.250"], dtype="str"), pd.Series(["1.000"], dtype="str")
    >>> marks_of({"usd": dollars, "tokens": tokens}, ["tokens"])["usd"]
    Marks(decimal=',', doubted='')
    >>> marks_of({"tokens": tokens}, ["tokens"])
    {'tokens': Marks(decimal='.', doubted='.')}
    """
    told = {name: _told(cells) for name, cells in columns.items()}
    others = "".join(sorted(set("".join(told.values()))))
    found = {}
    for name, own in told.items():
        if len(own) == 1 or (said and not own):
            found[name] = Marks(own or said)
        elif own or (len(others) != 1 and name not in counts):
            found[name] = Marks(doubted=".,")
        elif name in counts:
            decimal = others if len(others) == 1 else "."
            found[name] = Marks(decimal, decimal)
        else:
            found[name] = Marks(others)
    return found


def _told(cells):
    """The decimal marks of a column's cells that can be read in one way only."""
    point, comma = _readings(cells.str.strip())
    return "." * bool((point & ~comma).any()) + "," * bool((comma & ~point).any())


def _readings(cells):
    return [cells.str.fullmatch(_WRITTEN[mark], na=False).to_numpy(bool) for mark in ".,"]


def with_point(cells, marks):
    """Cells as numbers with a decimal point and nothing between the digits, and which of them are in doubt.

    What is not a number, or has the other decimal mark where the column's is known, stays as it stands.

    Examples
    --------
    >>> cells = pd.Series(["1.000", "0,5", "1 234", "n/a"], dtype="str")
    >>> with_point(cells, Marks(","))[0].tolist(), with_point(cells, Marks(".", "."))[1].tolist()
    (['1000', '0.5', '1234', 'n/a'], [True, False, False, False])
    """
    if not cells.str.contains(f"[.,{_GAPS}]").any():
        return cells, np.zeros(len(cells), bool)
    cells = cells.str.strip()
    point, comma = _readings(cells)
    has = [cells.str.contains(mark, regex=False, na=False) for mark in marks.doubted]
    doubt = point & comma & np.any([np.zeros(len(cells), bool), *has], axis=0)
    by_comma = comma & (marks.decimal == "," or (bool(marks.doubted) & ~point))
    by_point = point & ~by_comma & (marks.decimal == "." or bool(marks.doubted))
    grouped = cells.str.replace(f"[,{_GAPS}]", "", regex=True)
    turned = cells.str.replace(f"[.{_GAPS}]", "", regex=True).str.replace(",", ".", regex=False)
    return cells.mask(by_point, grouped).mask(by_comma, turned), doubt


def in_doubt(cells, marks):
    """The first cell that could be read in two ways, or None."""
    doubt = with_point(cells, marks)[1]
    return cells[doubt].iloc[0] if doubt.any() else None


def two_ways(cell):
    """The two numbers that a cell could be, as (decimal mark, number) pairs.

    Examples
    --------
    >>> two_ways("2.500")
    [('.', '2.5'), (',', '2,500')]
    """
    cells = pd.Series([cell], dtype="str")
    return [(mark, f"{float(with_point(cells, Marks(mark))[0].iloc[0]):,.10g}") for mark in ".,"]
