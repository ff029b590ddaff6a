"""How numbers and the words of others are written: money, shares, and text that stays text."""

import math


def usd(value):
    """Money as a label: whole dollars from 100 on, cents below, and at least two significant digits.

    Examples
    --------
    >>> usd(10_000), usd(12.5), usd(0.0055)
    ('$10,000', '$12.50', '$0.0055')
    >>> usd(0.25499999999999995) == usd(0.255) == usd(0.25500000000000006)
    True
    """
    value = float(
        f"{value:.12g}"
    )  # a cent in the middle must not fall to a side by how a sum was rounded
    size = abs(value)
    digits = (
        0 if size >= 100 or size == 0 else 2 if size >= 0.1 else 1 - math.floor(math.log10(size))
    )
    return f"${value + 0.0:,.{digits}f}"  # adding zero turns -0.0 into 0.0
