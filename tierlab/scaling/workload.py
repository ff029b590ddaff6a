"""What will be sent: volumes, token lengths, turns, caching and batching -> requests; and recorded traces."""

import warnings
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd

from tierlab.core import datasets
from tierlab.core.format import counted
from tierlab.core.tables import (
    TOKEN_COLUMNS,
    as_numbers,
    as_pandas,
    booleans,
    check_columns,
    checked_tokens,
    in_utc,
    one_of,
    refuse,
    token_counts,
)
from tierlab.core.untrusted import regular, unguarded
from tierlab.core.vocabulary import BUCKETS, is_whole, unknown

# Anthropic sells 5 minutes and 1 hour, OpenAI 30 minutes and 12 hours.
CACHE_TTLS = ("short", "long")
TRACES = ("azure_conv", "azure_code", "mooncake_conv")
_TRACE_COLUMNS = {
    "TIMESTAMP": "at",
    "timestamp": "at",
    "ContextTokens": "uncached_input_tokens",
    "input_length": "uncached_input_tokens",
    "GeneratedTokens": "output_tokens",
    "output_length": "output_tokens",
    "hash_ids": "prefix_ids",
}
# Where a trace that has only offsets begins: plainly not a real date.
TRACE_ORIGIN = pd.Timestamp("2000-01-01")
# Limits of the fields that may not be just any number from 0 up: lowest, highest, in words.
_SHARE = (0, 1, "a number from 0 to 1")
_ALLOWED = {
    "cache_hit_rate": _SHARE,
    "batch_share": _SHARE,
    "reasoning_share": (0, np.nextafter(1, 0), "a number from 0 to below 1"),
    "monthly_growth": (-1, np.inf, "a number from -1 up"),
}
_SHAPE = ("input_tokens", "output_tokens", "input_spread", "output_spread", "turns")
_QUANTILES = 64  # of a distribution of lengths


def check_single(requests, needs):
    """Refuse a table in which a row stands for several requests, or for none; `needs` begins the reason."""
    many = requests.get("requests", pd.Series(1, requests.index)).fillna(1).ne(1).to_numpy()
    if (aggregate := booleans(requests, "aggregate")) is not None:
        many = many | aggregate
    if many.any():
        raise ValueError(
            f"not a single request: {counted(many.sum(), 'row')}; {needs} one row per request"
        )


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A workload, described by a few numbers or by a table of recorded requests.

    Any number may be a (low, high) pair, for what you only know as a range; it becomes a band of the cost.

    Attributes
    ----------
    requests_per_day : float
        Requests per day; each turn of a conversation is one request.
    input_tokens : float
        Whole input of a first turn in tokens, including the cached part; each later turn adds as many.
    output_tokens : float
        Visible output per request (tokens).
    input_spread, output_spread : float
        Coefficient of variation of a log-normal length; 0 is a fixed length.
    table : DataFrame, optional
        Recorded requests (buckets of the requests table) in place of the lengths above.
    turns : int
        Turns per session. Turn k sends all that came before it again: k x input + (k - 1) x output tokens.
    cache_hit_rate : float
        Share 0-1 of the whole input that is read from a cache.
    cache_ttl : {None, "short", "long"}
        None is automatic caching, where input outside the cache is plain input. Otherwise it is written to the
        cache, at the price of a short or a long write.
    batch_share : float
        Share 0-1 of requests sent through a batch endpoint.
    reasoning_share : float
        Share 0-1 of billed output that is reasoning: billed = visible / (1 - share).
    monthly_growth : float
        Growth of requests per month, 0.1 for 10 %.
    task_mix : dict, optional
        Task -> share of requests; the shares sum to 1. A table with a column `task` is weighted so that each task
        has its share of the requests. Without such a column, tasks are labels of `requests` that do not depend on
        the length.

    Raises
    ------
    ValueError
        If a share lies outside 0-1, a number is negative, a (low, high) pair is out of order, or the table is not
        one of single requests.

    Examples
    --------
    >>> Workload(requests_per_day=1_000_000).mean_tokens()
    {'uncached_input': 500.0, 'output': 300.0}
    """

    requests_per_day: float | tuple
    input_tokens: float | tuple = 500
    output_tokens: float | tuple = 300
    input_spread: float | tuple = 0.0
    output_spread: float | tuple = 0.0
    table: pd.DataFrame | None = None
    turns: int = 1
    cache_hit_rate: float | tuple = 0.0
    cache_ttl: str | None = None
    batch_share: float | tuple = 0.0
    reasoning_share: float | tuple = 0.0
    monthly_growth: float | tuple = 0.0
    task_mix: dict | None = None

    def __post_init__(self):
        one_of("cache_ttl", self.cache_ttl, (None, *CACHE_TTLS))
        for name in NUMERIC:
            ends = as_numbers(getattr(self, name))
            lowest, highest, allowed = _ALLOWED.get(name, (0, np.inf, "a number from 0 up"))
            within = np.isfinite(ends) & (ends >= lowest) & (ends <= highest)
            if len(ends) > 2 or not within.all():
                raise ValueError(
                    f"{name}={getattr(self, name)!r}; allowed: {allowed}, or a (low, high) pair"
                )
            if ends[0] > ends[-1]:
                raise ValueError(f"{name}={getattr(self, name)!r}: the low end comes first")
        if not is_whole(self.turns, 1):
            raise ValueError(f"turns={self.turns!r}; allowed: a whole number from 1 up")
        if self.task_mix is not None:
            shares = list(self.task_mix.values())
            if not np.isclose(sum(shares), 1) or min(shares) < 0:
                raise ValueError(
                    f"the shares of task_mix are {shares} and sum to {sum(shares)}; allowed: shares from 0 up that sum to 1"
                )
        if self.table is not None:
            self._check_table()

    def _check_table(self):
        check_columns(self.table, needed=("uncached_input_tokens", "output_tokens"))
        if self.table.empty:
            raise ValueError("the table of a workload has no rows")
        checked_tokens(self.table)
        check_single(self.table, "a workload needs")
        for name in _SHAPE:
            if getattr(self, name) != getattr(Workload, name):  # the default stands on the class
                raise ValueError(
                    f"{name} and a table contradict each other: the table has lengths of its own"
                )
        cached = [b for b in BUCKETS[1:4] if self.table.get(f"{b}_tokens", pd.Series([0])).any()]
        if cached and self.ranges()["cache_hit_rate"] != (0, 0):
            raise ValueError(
                f"cache_hit_rate and the table contradict each other: it has {cached[0]}_tokens of its own"
            )
        if "task" in self.table and self.task_mix is not None:
            refuse(self.table, "task", self.table["task"].isna().to_numpy(), "a missing task")
            known = self.table["task"].unique()
            for task in set(self.task_mix).difference(known):
                raise ValueError(f"task_mix: {unknown('task', task, known)}")

    def _table_weight(self):
        """Return the share of requests that each row of the table stands for; the shares sum to 1."""
        if self.task_mix is None or "task" not in self.table:
            return np.full(len(self.table), 1 / len(self.table))
        tasks = self.table["task"].astype(object)  # categories would take no 0
        each = pd.Series(self.task_mix, dtype=float) / tasks.value_counts()
        return tasks.map(each).fillna(0).to_numpy()

    def ranges(self):
        """Return (low, high) of every numeric field by name; the ends are equal for a point."""
        values = {name: np.atleast_1d(getattr(self, name)) for name in NUMERIC}
        return {name: (float(value[0]), float(value[-1])) for name, value in values.items()}

    def point(self):
        """Return the same workload with every range at its middle."""
        given = {name: ends for name, ends in self.ranges().items() if np.ndim(getattr(self, name))}
        return replace(self, **{name: sum(ends) / 2 for name, ends in given.items()})

    def corners(self):
        """Return workloads at every combination of the ends of the ranges; without ranges, just the workload."""
        open_ = {name: ends for name, ends in self.ranges().items() if ends[0] < ends[1]}
        return [
            replace(self.point(), **dict(zip(open_, ends, strict=True)))
            for ends in product(*open_.values())
        ]

    def cells(self):
        """Return representative requests of a workload without ranges, for expectations.

        Returns
        -------
        tokens : dict of str to ndarray
            Bucket -> tokens (real numbers), shape (n,). Lengths are taken at fixed quantiles of their distribution
            and scaled to its mean, so that equal workloads give equal numbers.
        weight : ndarray, shape (n,)
            Share of requests that each stands for; sums to 1.
        """
        if self.table is not None:
            tokens, weight = _as_floats(self.table), self._table_weight()
        else:
            fixed = not (self.input_spread or self.output_spread)
            grid = np.array([0.5]) if fixed else (np.arange(_QUANTILES) + 0.5) / _QUANTILES
            # The shift pairs long inputs with short and long outputs alike.
            shifted = grid if fixed else (grid + _GOLDEN) % 1
            given = self.input_tokens * _log_normal(grid, self.input_spread)
            visible = self.output_tokens * _log_normal(shifted, self.output_spread)
            turn = np.arange(1, int(self.turns) + 1)[:, None]
            tokens = {
                "uncached_input": (turn * given + (turn - 1) * visible).ravel(),
                "output": np.tile(visible, len(turn)),
            }
            weight = np.full(len(tokens["output"]), 1 / len(tokens["output"]))
        tokens["output"] = tokens["output"] / (1 - self.reasoning_share)
        return self._cached(tokens), weight

    def mean_tokens(self):
        """Return the mean tokens per request by bucket, with ranges at their middle."""
        tokens, weight = self.point().cells()
        return {bucket: float(round(column @ weight, 9)) for bucket, column in tokens.items()}

    def requests(self, n, *, seed):
        """Draw a random sample of requests.

        Parameters
        ----------
        n : int
            Number of rows.
        seed : int or Generator
            For `numpy.random.default_rng`.

        Returns
        -------
        DataFrame
            The requests table without a model: buckets, reasoning_tokens, batch, task, source. The source is
            "simulated", or that of the workload's table, from which rows are drawn with replacement. Ranges are taken
            at their middle.
        """
        rng, work = np.random.default_rng(seed), self.point()
        if self.table is not None:
            drawn = (
                rng.choice(len(self.table), n, p=self._table_weight())
                if self.task_mix
                else rng.integers(0, len(self.table), n)
            )
            frame = self.table.iloc[drawn].reset_index(drop=True)
            tokens = _as_floats(frame)
        else:
            frame = pd.DataFrame({"source": "simulated"}, index=range(n))
            shape = (-(-n // int(work.turns)), int(work.turns))  # sessions, turns
            given, visible = (
                np.rint(mean * _log_normal(rng.random(shape), spread))
                for mean, spread in (
                    (work.input_tokens, work.input_spread),
                    (work.output_tokens, work.output_spread),
                )
            )
            history = np.cumsum(given + visible, axis=1) - visible
            tokens = {"uncached_input": history.ravel()[:n], "output": visible.ravel()[:n]}
        billed = np.rint(tokens["output"] / (1 - work.reasoning_share))
        reasoning, tokens["output"] = billed - tokens["output"], billed
        whole = {
            bucket: np.rint(column).astype("int64")
            for bucket, column in work._cached(tokens, integers=True).items()
        }
        frame = frame.assign(**{f"{bucket}_tokens": column for bucket, column in whole.items()})
        frame["reasoning_tokens"] = reasoning.astype("int64")
        frame["batch"] = rng.random(n) < work.batch_share
        if self.task_mix and "task" not in frame:
            frame["task"] = rng.choice(list(self.task_mix), n, p=list(self.task_mix.values()))
        return frame

    def _cached(self, tokens, *, integers=False):
        """Split the whole input by the hit rate: what hits is read, what misses is written or is plain input."""
        if not self.cache_hit_rate and self.cache_ttl is None:
            return tokens
        whole = tokens["uncached_input"]
        read = self.cache_hit_rate * whole
        read = np.rint(read) if integers else read
        split = {"uncached_input": whole - read, "cache_read": read}
        if self.cache_ttl is not None:
            split[f"cache_write_{self.cache_ttl}"] = whole - read
            split["uncached_input"] = np.zeros(len(whole))
        return tokens | split


NUMERIC = tuple(
    f.name for f in fields(Workload) if f.name not in ("table", "turns", "cache_ttl", "task_mix")
)
_GOLDEN = (5**0.5 - 1) / 2


def _as_floats(requests):
    return {bucket: column.astype(float) for bucket, column in token_counts(requests).items()}


def _log_normal(uniform, spread):
    """Return quantiles of a log-normal variable with mean 1 and a coefficient of variation."""
    uniform = np.asarray(uniform, float)
    if spread == 0:
        return np.ones_like(uniform)
    sigma = np.sqrt(np.log1p(spread**2))
    normal = np.vectorize(NormalDist().inv_cdf, otypes=[float])(np.clip(uniform, 1e-12, 1 - 1e-12))
    values = np.exp(sigma * normal - sigma**2 / 2)
    return values / values.mean() if uniform.ndim == 1 else values


def load_requests(name_or_path: str | Path) -> pd.DataFrame:
    """Load a recorded trace, or your own file or table, as a requests table.

    Parameters
    ----------
    name_or_path : {"azure_conv", "azure_code", "mooncake_conv"}, path or dataframe
        A public trace, or your own table, CSV or Parquet file with at least uncached_input_tokens and output_tokens.

    Returns
    -------
    DataFrame
        The columns of the requests table. A trace has no model_id: it says what was sent, not to which model. The
        times of the Mooncake trace are offsets; they count from 2000-01-01.

    Raises
    ------
    ValueError
        If the name is unknown, or a file has a missing, misspelt or wrong column. The message names the file, the
        row and the column.

    Notes
    -----
    Azure: Patel et al., Splitwise, ISCA 2024 (CC-BY-4.0), one hour of 2023-11-16. Mooncake: Qin et al.,
    FAST 2025 (Apache-2.0), one hour; `prefix_ids` name the chained blocks of 512 tokens of each input.
    """
    if isinstance(name_or_path, str) and name_or_path in TRACES:
        return _trace(name_or_path)
    if not isinstance(name_or_path, str | Path):
        return _checked(as_pandas(name_or_path, "the trace"))
    path = Path(name_or_path)
    if path.suffix not in (".csv", ".parquet"):
        raise ValueError(
            unknown("trace", str(name_or_path), TRACES) + " (or a path to a .csv or .parquet file)"
        )
    try:
        return _checked(read_rows(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _trace(name):
    file = datasets.path(name)
    if name == "mooncake_conv":
        raw = pd.read_json(file, lines=True)
        raw["timestamp"] = TRACE_ORIGIN + pd.to_timedelta(raw["timestamp"], unit="ms")
    else:
        raw = pd.read_csv(file, parse_dates=["TIMESTAMP"])
    table = raw.rename(columns=_TRACE_COLUMNS)
    columns = ["at", "uncached_input_tokens", "output_tokens", "source", "prefix_ids"]
    return table.assign(source="recorded").filter(columns)


def _checked(frame):
    check_columns(frame, needed=("uncached_input_tokens", "output_tokens"))
    for column in frame.columns.intersection(TOKEN_COLUMNS):
        number = pd.to_numeric(frame[column], errors="coerce")
        refuse(frame, column, number.isna() & frame[column].notna(), "not a number")
    checked_tokens(frame)
    frame = frame.reset_index(drop=True)
    return frame if "source" in frame else frame.assign(source="recorded")


def read_rows(path):
    """Read a CSV or Parquet file as a table indexed by the row of the file; a CSV's first row below the heading is 2.

    Times without a zone are taken as UTC; all times are returned in UTC, without a zone.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row longer than the header
            if regular(path).suffix == ".parquet":
                frame = pd.read_parquet(path)
            else:
                # A model that is called 4 is named by that text.
                frame = unguarded(pd.read_csv(path, index_col=False, dtype={"model_id": str}))
    except Exception as error:
        raise ValueError(f"cannot be read as a table ({error})") from error
    frame.index = pd.RangeIndex(len(frame)) + 2 * (path.suffix == ".csv")
    if "at" in frame and not pd.api.types.is_datetime64_any_dtype(frame["at"]):
        frame["at"] = in_utc(frame)
    return frame


def cache_hits(
    requests: pd.DataFrame, *, ttl_s: float | None = None, block_tokens: int = 512
) -> pd.Series:
    """Count the input tokens of each request that a prefix cache would hold when it arrives.

    A block hits if it was read or written within the last `ttl_s` seconds and every block before it hits as well,
    because only a prefix can be cached. A read refreshes a block.

    Parameters
    ----------
    requests : DataFrame
        With at, prefix_ids (lists of chained block ids) and the input buckets.
    ttl_s : float, optional
        Time to live in seconds. With None nothing expires, which bounds the hit rate from above.
    block_tokens : int
        Tokens per block.

    Returns
    -------
    Series of int
        Tokens, with the index of `requests`; never more than the request's input.

    Notes
    -----
    Refresh on use: Anthropic, prompt caching documentation. Blocks of 512 chained hashes: Qin et al., FAST 2025.
    """
    for column in ("at", "prefix_ids", "uncached_input_tokens"):
        if column not in requests:
            raise ValueError(
                f"column {column!r} is missing; cache hits need request times, prefix ids and input tokens"
            )
    order = np.argsort(requests["at"].to_numpy(), kind="stable")
    lengths = requests["prefix_ids"].map(len).to_numpy()[order]
    row = np.repeat(np.arange(len(order)), lengths)
    place = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    at = requests["at"].to_numpy("datetime64[us]").astype("int64")[order] / 1e6
    ids = np.concatenate([*requests["prefix_ids"].to_numpy()[order], []])
    since = at[row] - pd.Series(at[row]).groupby(ids).shift().to_numpy()
    hit = ~np.isnan(since) if ttl_s is None else since <= ttl_s
    prefix = lengths.astype(float)  # blocks before the first that misses
    np.minimum.at(prefix, row, np.where(hit, np.inf, place))
    inputs = requests.filter([f"{bucket}_tokens" for bucket in BUCKETS[:4]])
    whole = sum(token_counts(inputs).values())
    hits = np.empty(len(order), "int64")
    hits[order] = prefix * block_tokens
    return pd.Series(np.minimum(hits, whole), index=requests.index, name="cache_read_tokens")
