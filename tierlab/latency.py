"""How long a request takes on each tier: from speeds that are given, recorded or simulated, and what the time is worth."""

import numpy as np
import pandas as pd

from tierlab.names import TIERS, unknown
from tierlab.paths import DATA

BASES = ("article", "assumed", "measured")
_SPEED_COLUMNS = (
    *("provider", "tier", "model_id", "tokens_per_s", "tokens_per_s_low", "tokens_per_s_high", "source", "basis", "where"),
    *("ttft_s", "ttft_s_low", "ttft_s_high", "ttft_basis", "ttft_where"),
)


def load_speeds(path=DATA / "speeds.csv"):
    """Speed of each provider's tiers, each figure with its range and with what it rests on.

    The article's figures are claims to be tested, so they stand beside assumptions and are marked as what they are;
    a file of your own with the same columns and basis "measured" takes their place.

    Parameters
    ----------
    path : path

    Returns
    -------
    DataFrame
        One row per provider and tier: provider, tier, model_id; tokens_per_s, tokens_per_s_low, tokens_per_s_high
        (output tokens per second after the first); source, basis ("article", "assumed" or "measured") and where (the
        place or the reason) of that speed; ttft_s, ttft_s_low, ttft_s_high (seconds to the first token), ttft_basis
        and ttft_where.

    Raises
    ------
    ValueError
        If a column is missing, a tier or basis is unknown, a provider's tier stands there twice, or a figure is not
        above zero and within its range.

    Examples
    --------
    >>> speeds = load_speeds()
    >>> speeds.groupby("basis").size().to_dict()
    {'article': 3, 'assumed': 6}
    """
    table = pd.read_csv(path)
    if missing := [column for column in _SPEED_COLUMNS if column not in table]:
        raise ValueError(f"{path}: column {missing[0]!r} is missing; a table of speeds has {', '.join(_SPEED_COLUMNS)}")
    for column, allowed in (("tier", TIERS), ("basis", BASES), ("ttft_basis", BASES)):
        for value in table.loc[~table[column].isin(allowed), column]:
            raise ValueError(f"{path}: {unknown(column, value, allowed)}")
    if (twice := table.duplicated(["provider", "tier"])).any():
        raise ValueError(f"{path}: {' '.join(table.loc[twice, ['provider', 'tier']].iloc[0])} stands there twice")
    for figure in ("tokens_per_s", "ttft_s"):
        value, low, high = (table[f"{figure}{end}"] for end in ("", "_low", "_high"))
        for row in table[~((low > 0) & (low <= value) & (value <= high) & np.isfinite(high))].itertuples():
            ends = [getattr(row, f"{figure}{end}") for end in ("_low", "", "_high")]
            raise ValueError(f"{path}: {row.provider} {row.tier}: {figure} needs 0 < low <= value <= high, got {ends}")
    return table[list(_SPEED_COLUMNS)]


def seconds_per_request(output_tokens, ttft_s, tokens_per_s):
    """Time from sending a request to its last token.

    Parameters
    ----------
    output_tokens : array_like of float
        Output tokens, at least 1.
    ttft_s : array_like of float
        Seconds to the first token, 0 or more.
    tokens_per_s : array_like of float
        Output tokens per second after the first, above 0.

    Returns
    -------
    float or ndarray
        Seconds.

    Raises
    ------
    ValueError
        If a value is outside its range.

    Notes
    -----
    ttft + (n - 1) / speed: the first token arrives with the time to the first token, the other n - 1 at the
    speed (time per output token as vLLM and MLPerf Inference define it, (end to end - ttft) / (n - 1), turned round).

    Examples
    --------
    300 tokens at the article's 125 tokens per second, and at 55:

    >>> seconds_per_request(300, 1.0, [125, 55]).round(2).tolist()
    [3.39, 6.44]
    """
    tokens, ttft, speed = (np.asarray(value, float) for value in (output_tokens, ttft_s, tokens_per_s))
    if not ((tokens >= 1).all() and (ttft >= 0).all() and (speed > 0).all()):
        raise ValueError(
            f"output_tokens={output_tokens!r}, ttft_s={ttft_s!r}, tokens_per_s={tokens_per_s!r}; "
            "at least one token, no negative wait and a speed above zero are needed"
        )
    seconds = ttft + (tokens - 1) / speed
    return seconds if seconds.ndim else float(seconds)
