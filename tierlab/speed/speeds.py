"""How fast models are claimed, assumed and recorded to be, and whether these figures agree."""

from pathlib import Path

import numpy as np
import pandas as pd

from tierlab.core.paths import DATA
from tierlab.core.tables import refuse
from tierlab.core.vocabulary import TIERS, known

BASES = ("article", "assumed", "recorded", "measured")
_SPEED_COLUMNS = [
    "provider",
    "tier",
    "model_id",
    "tokens_per_s",
    "tokens_per_s_low",
    "tokens_per_s_high",
    "source",
    "basis",
    "where",
    "ttft_s",
    "ttft_s_low",
    "ttft_s_high",
    "ttft_basis",
    "ttft_where",
]


def load_speeds(path: str | Path = DATA / "speeds.csv") -> pd.DataFrame:
    """Load the speed of each provider's tiers, each figure with its range and its basis.

    The article's figures are claims to be tested; like the assumptions beside them they are marked as such. You can
    replace them with a file of your own that has the same columns and the basis "measured".

    Parameters
    ----------
    path : path
        A CSV file with the columns below.

    Returns
    -------
    DataFrame
        One row per provider and tier: provider, tier, model_id; tokens_per_s, tokens_per_s_low, tokens_per_s_high
        (output tokens per second after the first); source, basis ("article", "assumed", "recorded" or "measured") and
        where (the place or the reason) of that speed; ttft_s, ttft_s_low, ttft_s_high (seconds to the first token),
        ttft_basis and ttft_where.

    Raises
    ------
    ValueError
        If a column is missing, a tier or basis is unknown, a provider's tier is listed twice, or a figure is not
        above zero and within its range.

    Examples
    --------
    >>> load_speeds().groupby("basis").size().to_dict()
    {'article': 3, 'assumed': 6}
    """
    try:
        return _speeds(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _speeds(path):
    table = pd.read_csv(path, usecols=_SPEED_COLUMNS)[_SPEED_COLUMNS]
    for column, allowed in (("tier", TIERS), ("basis", BASES), ("ttft_basis", BASES)):
        for value in table[column]:
            known(column, value, allowed)
    named = table.set_axis(table["provider"] + " " + table["tier"])  # for the errors
    refuse(named, "tier", named.index.duplicated(), "a provider's tier twice")
    for figure in ("tokens_per_s", "ttft_s"):
        ends = table[[f"{figure}_low", figure, f"{figure}_high"]]
        low, value, high = ends.apply(pd.to_numeric, errors="coerce").to_numpy(float).T
        within = (low > 0) & (low <= value) & (value <= high) & np.isfinite(high)
        refuse(named, figure, ~within, "not 0 < low <= value <= high")
    return table


def load_published(path=DATA / "published_speeds.csv"):
    """Load what public pages say about the speed of the same models: a row per model and page.

    Returns
    -------
    DataFrame
        provider, tier, model_id, tokens_per_s, ttft_s (seconds; missing where the page has none), answers (the number
        that was timed, where the page says), source (URL), how (the method), checked_on.
    """
    return pd.read_csv(path)


def load_routers(path=DATA / "router_speeds.csv"):
    """Load the seconds that a router without a language model adds to a request, indexed by the kind of router.

    Returns
    -------
    DataFrame
        seconds (median), low, high, basis ("recorded" or "assumed"), where (how, or the reason).

    Examples
    --------
    >>> load_routers()["basis"].to_dict()["embedding_local"]
    'recorded'
    """
    return pd.read_csv(path, index_col="router")


def against_published(speeds, published):
    """Compare each speed of a table with what public pages say about the same model.

    Parameters
    ----------
    speeds : DataFrame
        From `load_speeds`.
    published : DataFrame
        From `load_published`.

    Returns
    -------
    DataFrame
        provider, tier, model_id, tokens_per_s, low, high, basis; published_low, published_high (tokens per second) and
        pages (their number); finding: "agrees" where every page lies within low to high, "slower" or "faster" where
        every page lies on that side, "mixed" otherwise, "no page" where there is none.

    Examples
    --------
    >>> table = against_published(load_speeds(), load_published()).set_index(["provider", "tier"])
    >>> table.at[("google", "small"), "finding"]  # 240 to 390 assumed; the pages say 160 and 191.9
    'slower'
    """
    said = published.dropna(subset="tokens_per_s").groupby("model_id")["tokens_per_s"]
    pages = said.agg(published_low="min", published_high="max", pages="size")
    table = speeds.rename(columns={"tokens_per_s_low": "low", "tokens_per_s_high": "high"})
    table = table[["provider", "tier", "model_id", "tokens_per_s", "low", "high", "basis"]]
    table = table.join(pages, on="model_id").fillna({"pages": 0}).astype({"pages": int})
    cases = {
        "no page": table["pages"] == 0,
        "agrees": (table["published_low"] >= table["low"])
        & (table["published_high"] <= table["high"]),
        "slower": table["published_high"] < table["low"],
        "faster": table["published_low"] > table["high"],
    }
    return table.assign(finding=np.select(list(cases.values()), list(cases), "mixed"))


def published_factors(published):
    """Compare each tier with its provider's flagship, by every pair of published speeds.

    Parameters
    ----------
    published : DataFrame
        From `load_published`.

    Returns
    -------
    DataFrame
        provider, tier, factor_low and factor_high (smallest and largest ratio of the speeds), pairs. Most pairs come
        from different pages, which differ in prompt, load and place: the range shows how little such a ratio says.

    Examples
    --------
    Gemini 2.5 Flash-Lite, 160 and 191.9 tokens per second, beside Gemini 3.1 Pro, 122.2 and 135:

    >>> table = published_factors(load_published()).set_index(["provider", "tier"])
    >>> table.loc[("google", "small"), ["factor_low", "factor_high"]].round(2).to_list()
    [1.19, 1.57]
    """
    known = published.dropna(subset="tokens_per_s")[["provider", "tier", "tokens_per_s"]]
    flagship = known["tier"] == "flagship"
    pairs = known[~flagship].merge(known[flagship], on="provider", suffixes=("", "_flagship"))
    pairs["factor"] = pairs["tokens_per_s"] / pairs["tokens_per_s_flagship"]
    factors = pairs.groupby(["provider", "tier"], sort=False, as_index=False)["factor"]
    return factors.agg(factor_low="min", factor_high="max", pairs="size")


def _ratio_of_medians(fast, slow, axis=-1):
    return np.median(fast, axis=axis) / np.median(slow, axis=axis)


def speed_ratio(
    samples: pd.DataFrame,
    fast: str,
    slow: str,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int | np.random.Generator,
) -> dict[str, float]:
    """Estimate how many times faster one model writes than another, on the examples that both have answered.

    Parameters
    ----------
    samples : DataFrame
        The samples table: prompt_id, model_id, tokens_per_s.
    fast, slow : str
        Model ids.
    confidence : float
        Level, 0-1.
    resamples : int
        Number of bootstrap samples.
    seed : int or numpy.random.Generator

    Returns
    -------
    dict
        ratio (of the median speeds), low, high (paired bootstrap over examples), examples, set_aside (examples on
        which one of the two has no speed, because its answer has one token).

    Raises
    ------
    ValueError
        If a model is not in the table, or fewer than two examples have a speed of both.

    Notes
    -----
    Percentile bootstrap of the ratio of medians, both models on the same resampled examples (Efron & Tibshirani 1993,
    chapter 13), by `scipy.stats.bootstrap`. The interval is over examples on one machine at one time: it says
    nothing about another machine or about load.

    Examples
    --------
    >>> rows = [(p, m, s) for p in range(9) for m, s in (("a", 60 + p), ("b", 30 + p / 2))]
    >>> found = speed_ratio(pd.DataFrame(rows, columns=["prompt_id", "model_id", "tokens_per_s"]), "a", "b", seed=1)
    >>> found["ratio"], found["low"], found["high"], found["examples"]
    (2.0, 2.0, 2.0, 9)
    """
    from scipy.stats import bootstrap

    wide = samples.pivot_table(
        index="prompt_id", columns="model_id", values="tokens_per_s", dropna=False
    )
    for name in (fast, slow):
        known("model", name, wide.columns)
    both = wide[[fast, slow]].dropna()
    if len(both) < 2:
        raise ValueError(
            f"{len(both)} examples have a speed of both {fast} and {slow}; an interval needs at least two"
        )
    pair = both[fast].to_numpy(), both[slow].to_numpy()
    ends = bootstrap(
        pair,
        _ratio_of_medians,
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=resamples,
        confidence_level=confidence,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return {
        "ratio": float(_ratio_of_medians(*pair)),
        "low": float(ends.low),
        "high": float(ends.high),
        "examples": len(both),
        "set_aside": len(wide) - len(both),
    }
