"""Whether a hint gives an answer away."""

import math
import re

NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?", re.IGNORECASE)


def reveals(hint, figures):
    """Numbers in a hint that come within 1 % of an expected figure, as a number or as a percentage."""
    said = [float(text.replace(",", "")) for text in NUMBER.findall(hint)]
    wanted = [scale * figure for figure in figures for scale in (1, 100)]
    return [number for number in said if any(math.isclose(number, figure, rel_tol=0.01) for figure in wanted if figure)]
