"""Write money, shares and numbers to three significant digits."""

import math


def usd(value: float) -> str:
    """Write US dollars: whole from 100 on, to the cent below that, and below one dollar to three significant digits.

    Parameters
    ----------
    value : float
        USD.

    Returns
    -------
    str

    Examples
    --------
    >>> usd(10_000), usd(12.5), usd(0.5), usd(0.0055), usd(-0.001194), usd(0)
    ('$10,000', '$12.50', '$0.50', '$0.0055', '-$0.00119', '$0')
    >>> usd(0.25499999999999995) == usd(0.255) == usd(0.25500000000000006)
    True
    """
    # Twelve digits first, so that a value halfway between two rounds the same way however its sum was computed.
    size = float(f"{abs(value):.12g}")
    decimals = 0 if size >= 100 or size == 0 else 2
    if 0 < size < 1:
        digits = f"{size:.{2 - math.floor(math.log10(size))}f}".rstrip("0")
        decimals = max(2, len(digits) - len("0."))
    return f"{'-' if value < 0 else ''}${size:,.{decimals}f}"


def dollars(value: float, *, signed: bool = False) -> str:
    """Write US dollars for a sentence: whole from ten on, below that as `usd` does.

    Parameters
    ----------
    value : float
        USD.
    signed : bool
        Whether a positive amount gets a plus sign.

    Returns
    -------
    str

    Examples
    --------
    >>> dollars(42.96), dollars(9.996), dollars(9.45), dollars(-12.5, signed=True), dollars(0)
    ('$43', '$10', '$9.45', '\N{MINUS SIGN}$12', '$0')
    """
    size = float(f"{abs(value):.12g}")
    sign = ("\N{MINUS SIGN}" if value < 0 else "+" if signed and value > 0 else "") * (size > 0)
    return sign + (f"${size:,.0f}" if size >= 9.995 else usd(size))


def share(value: float) -> str:
    """Write a share as a percentage.

    Parameters
    ----------
    value : float
        1 is 100%.

    Returns
    -------
    str

    Examples
    --------
    >>> share(0.1234), share(0.5), share(0.00012), share(-12.345)
    ('12.3%', '50%', '0.012%', '-1,234%')
    """
    return f"{number(100 * value)}%"


def number(value: float) -> str:
    """Write a number: whole from 100 on, below that to three significant digits.

    Parameters
    ----------
    value : float

    Returns
    -------
    str

    Examples
    --------
    >>> number(1234.5), number(12.345), number(3), number(0.00012)
    ('1,234', '12.3', '3', '0.00012')
    """
    size = abs(value)
    decimals = 2 - math.floor(math.log10(size)) if 0 < size < 100 else 0
    text = f"{value or 0:,.{decimals}f}"  # never -0
    return text.rstrip("0").rstrip(".") if decimals else text


def change(value):
    """Write a change in US dollars as `usd` does, with a plus sign if it is positive."""
    return ("+" if value > 0 else "") + usd(value)


def counted(count: int, thing: str) -> str:
    """Write a count of things: "1 row", "1,200 rows".

    Parameters
    ----------
    count : int
    thing : str
        One of them; its plural ends in s.

    Examples
    --------
    >>> counted(1, "row"), counted(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def listed(names):
    """Join names as a sentence does.

    Examples
    --------
    >>> listed(["a", "b", "c"]), listed([])
    ('a, b and c', '')
    """
    *first, last = names or [""]
    return f"{', '.join(first)} and {last}" if first else last
