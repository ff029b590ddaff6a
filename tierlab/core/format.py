"""How money is written."""

import math


def usd(value):
    """Money as a label: whole dollars from 100 on, cents below, and at least two significant digits.

    Examples
    --------
    >>> usd(10_000), usd(12.5), usd(0.0055), usd(-3)
    ('$10,000', '$12.50', '$0.0055', '-$3.00')
    >>> usd(0.25499999999999995) == usd(0.255) == usd(0.25500000000000006)
    True
    """
    # A cent in the middle must not fall to a side by how a sum was rounded.
    size = float(f"{abs(value):.12g}")
    digits = 2
    if size >= 100 or size == 0:
        digits = 0
    elif size < 0.1:
        digits = 1 - math.floor(math.log10(size))
    return f"{'-' if value < 0 else ''}${size:,.{digits}f}"
