"""The columns of the three tables and the checks on them; dataframes of other kinds become pandas ones here."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from tierlab.core.format import counted
from tierlab.core.paths import DATA
from tierlab.core.vocabulary import BUCKETS, unknown

TOKEN_COLUMNS = tuple(f"{bucket}_tokens" for bucket in BUCKETS)
REQUEST_COLUMNS = (
    "at",
    "model_id",
    "platform",
    "region",
    "service_tier",
    "task",
    "user",
    "team",
    "session_id",
    "turn",
    "batch",
    "requests",
    "aggregate",
    "context_above",
    "status",
    "attempts",
    *TOKEN_COLUMNS,
    "reasoning_tokens",
    "unit",
    "quantity",
    "prefix_ids",
    "ttft_s",
    "end_to_end_s",
    "billed_usd",
    "source",
)


def as_pandas(table, what="the table"):
    """Return a table of any of the usual kinds as a pandas DataFrame; one of pandas comes back as it is.

    Parameters
    ----------
    table : DataFrame, LazyFrame, pyarrow.Table or duckdb.DuckDBPyRelation
    what : str
        What the table is, for the error.

    Raises
    ------
    TypeError
        For anything else, such as a list or a path.
    """
    if isinstance(table, pd.DataFrame):
        return table
    import narwhals as nw

    frame = nw.from_native(table, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        is_duckdb = type(table).__module__.split(".")[0] in ("duckdb", "_duckdb")
        frame = frame.collect("pyarrow" if is_duckdb else None)
    if not isinstance(frame, nw.DataFrame):
        raise TypeError(
            f"{what} is a {type(table).__name__}; give a pandas or Polars DataFrame, a Polars LazyFrame, "
            "an Arrow table or a DuckDB relation"
        )
    return frame.to_pandas()


def split_input(
    frame: pd.DataFrame, *, cache_inside: bool, reasoning_inside: bool = True
) -> pd.DataFrame:
    """Turn a provider's own counters into the five disjoint buckets.

    Parameters
    ----------
    frame : DataFrame
        With input_tokens, output_tokens and, where they exist, cache_read_tokens, cache_write_short_tokens,
        cache_write_long_tokens, reasoning_tokens.
    cache_inside : bool
        Whether input_tokens includes the cached ones: true for OpenAI, Gemini and OpenTelemetry, false for
        Anthropic. There is no default, because counting cached tokens twice is the commonest error of cost tools.
    reasoning_inside : bool
        Whether output_tokens includes reasoning_tokens: true for every provider but Gemini.

    Returns
    -------
    DataFrame
        A copy with uncached_input_tokens in place of input_tokens.

    Raises
    ------
    ValueError
        If a column is missing, a row has more cached than input tokens or more reasoning than output tokens, or a count
        is fractional or missing.

    Examples
    --------
    >>> import pandas as pd
    >>> log = pd.DataFrame({"input_tokens": [1000], "cache_read_tokens": [800], "output_tokens": [50]})
    >>> split_input(log, cache_inside=True)["uncached_input_tokens"].tolist()
    [200]
    """
    for column in ("input_tokens", "output_tokens"):
        if column not in frame:
            raise ValueError(
                f"column {column!r} is missing; the table has {', '.join(map(str, frame.columns))}"
            )
    given, output = counts(frame, "input_tokens"), counts(frame, "output_tokens")
    cached = sum(counts(frame, f"{b}_tokens") for b in BUCKETS[1:4] if f"{b}_tokens" in frame)
    uncached = given - cached if cache_inside else given
    refuse(frame, "input_tokens", uncached < 0, "more cached than input tokens")
    if "reasoning_tokens" in frame:
        reasoning = counts(frame, "reasoning_tokens")
        output = output if reasoning_inside else output + reasoning
        refuse(frame, "reasoning_tokens", reasoning > output, "more reasoning than output tokens")
    return frame.drop(columns="input_tokens").assign(
        uncached_input_tokens=uncached, output_tokens=output
    )


def check_columns(requests, needed=("model_id", "uncached_input_tokens", "output_tokens")):
    """Refuse a requests table that lacks a column, or has one that looks like a misspelt column or an unknown counter."""
    for column in requests.columns.difference(REQUEST_COLUMNS):
        if column == "input_tokens":
            raise ValueError(
                "column 'input_tokens' is a provider's own counter, which may or may not include cached tokens: "
                "turn it into buckets with tierlab.split_input(table, cache_inside=...)"
            )
        near = unknown("column", column, REQUEST_COLUMNS)
        if "did you mean" in near or str(column).endswith(("_tokens", "_usd")):
            raise ValueError(near)
    for column in needed:
        if column not in requests:
            raise ValueError(
                f"column {column!r} is missing; a requests table needs {', '.join(needed)}"
            )


def token_counts(requests):
    """Return the bucket columns of a table as whole numbers: bucket -> array of int, shape (rows,)."""
    tokens = {
        bucket: counts(requests, f"{bucket}_tokens")
        for bucket in BUCKETS
        if f"{bucket}_tokens" in requests
    }
    if "reasoning_tokens" in requests:
        # A memo inside output: where a source does not report it, no money is missing.
        told = requests["reasoning_tokens"].notna().to_numpy()
        part = requests if told.all() else requests[told]  # the whole table is not copied
        above = counts(part, "reasoning_tokens") > tokens["output"][told]
        refuse(part, "reasoning_tokens", above, "more reasoning than output tokens")
    return tokens


def checked_tokens(requests):
    """Return `token_counts` and refuse negative ones, for tables that are not priced (pricing checks signs itself)."""
    tokens = token_counts(requests)
    for bucket, column in tokens.items():
        refuse(requests, f"{bucket}_tokens", column < 0, "a negative count")
    return tokens


def counts(frame, column):
    """Return a column of token counts as a numpy array of whole numbers; floats are accepted when they are whole."""
    series = frame[column]
    if pd.api.types.is_bool_dtype(series) or not pd.api.types.is_numeric_dtype(series):
        raise ValueError(f"column {column!r} has dtype {series.dtype}; counts are whole numbers")
    refuse(frame, column, series.isna().to_numpy() if series.hasnans else None, "a missing count")
    values = series.to_numpy()
    if values.dtype.kind == "u":
        return values.astype("int64", copy=False)
    if values.dtype.kind != "i":
        values = values.astype(float)
        is_whole = np.isfinite(values) & (values == np.floor(values))
        refuse(frame, column, ~is_whole, "a fractional count")
        values = values.astype("int64")
    return values


def refuse(frame, column, bad, why):
    """Raise ValueError if any row is bad (a mask, or None for no row), with the count, and the index and value of the first."""
    if bad is None or not bad.any():
        return
    row, count = int(np.flatnonzero(bad)[0]), int(np.sum(bad))
    value = plain(frame[column].iloc[row])
    raise ValueError(
        f"{why} in {counted(count, 'row')}; first row {plain(frame.index[row])!r}, column {column!r}: {value!r}"
    )


def plain(value):
    """Return a numpy scalar as a Python value, whose repr a reader knows."""
    return value.item() if isinstance(value, np.generic) else value


def booleans(requests, column):
    """Return a column as an array of bool, or None if the table lacks it."""
    if column not in requests:
        return None
    if not pd.api.types.is_bool_dtype(requests[column]) or requests[column].hasnans:
        raise ValueError(
            f"column {column!r} has dtype {requests[column].dtype}; it must be true or false in every row"
        )
    return requests[column].to_numpy(bool)


def sums(requests):
    """Return a mask of the rows that sum several requests, whether or not they say `aggregate`; None if none can."""
    aggregate = booleans(requests, "aggregate")
    if "requests" in requests:
        several = requests["requests"].to_numpy(float, na_value=np.nan) > 1
        aggregate = several if aggregate is None else aggregate | several
    return aggregate


def times(requests):
    """Return column `at` in UTC as microseconds since 1970, an array of int."""
    if "at" not in requests:
        raise ValueError(
            "price_on='at' needs a column 'at'; use price_on='as_of' for a what-if question"
        )
    at = requests["at"]
    if not pd.api.types.is_datetime64_any_dtype(at):
        raise ValueError(
            f"column 'at' has dtype {at.dtype}; turn it into times with pandas.to_datetime"
        )
    refuse(requests, "at", at.isna().to_numpy(), "a missing time")
    at = at.dt.tz_convert("UTC").dt.tz_localize(None) if at.dt.tz is not None else at
    return at.to_numpy("datetime64[us]").astype("int64")


def as_numbers(value):
    """Return a number, or several, as an array of float; NaN for what is no number, which every range refuses.

    Examples
    --------
    >>> [as_numbers(value).tolist() for value in (2, (1, 2), "20k")]
    [[2.0], [1.0, 2.0], [nan]]
    """
    try:
        return np.atleast_1d(np.asarray(value, float))
    except (TypeError, ValueError):
        return np.array([np.nan])


def numbers(frame, column, *, highest=None, outside="a negative or infinite value"):
    """Return a column as float, NaN where it has no value; refuse what is not a number from 0 up, or to the highest."""
    highest = np.finfo(float).max if highest is None else highest
    values = pd.to_numeric(frame[column], errors="coerce").to_numpy(float, na_value=np.nan)
    given = frame[column].notna().to_numpy()
    refuse(frame, column, given & np.isnan(values), "not a number")
    refuse(frame, column, (values < 0) | (values > highest), outside)
    return values


def iso_day(value):
    """Return a day, or the day of a moment in UTC, as a Timestamp; a text has to begin as YYYY-MM-DD.

    Raises
    ------
    ValueError
        For any other text: 01/02/2026 is a day in January or in February.

    Examples
    --------
    >>> iso_day("2026-06-12")
    Timestamp('2026-06-12 00:00:00')
    """
    try:
        if isinstance(value, str) and not re.match(r"\d{4}-\d\d-\d\d(?!\d)", value.strip()):
            raise ValueError
        day = pd.Timestamp(value)
        if pd.isna(day):
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is not a date; write it as 'YYYY-MM-DD'") from None
    day = day if day.tzinfo is None else day.tz_convert("UTC").tz_localize(None)
    return day.normalize()


def in_utc(frame):
    """Return column `at` as times in UTC, without a zone.

    Raises
    ------
    ValueError
        For a number, whose unit and zone nobody knows, and for a text that is not an ISO time. The message names the row.
    """
    at = frame["at"]
    if pd.api.types.is_numeric_dtype(at):
        refuse(frame, "at", np.ones(len(at), bool), "not an ISO time")
    if not pd.api.types.is_datetime64_any_dtype(at):
        at = pd.to_datetime(at, errors="coerce", utc=True, format="ISO8601")
    refuse(frame, "at", at.isna().to_numpy(), "not an ISO time")
    return at if at.dt.tz is None else at.dt.tz_convert("UTC").dt.tz_localize(None)


def one_of(name, value, allowed):
    """Raise ValueError for an argument that is not one of the values allowed, naming the nearest."""
    if value not in allowed:
        raise ValueError(f"{name}={value!r}: " + unknown("option", value, allowed))


def load_tasks(path: str | Path = DATA / "tasks.csv") -> pd.DataFrame:
    """Load the nine task types, with the article's tiers and our two ratings.

    Parameters
    ----------
    path : path
        A CSV file with the columns of data/tasks.csv.

    Returns
    -------
    DataFrame
        Indexed by task. Tiers and ratings (1 low to 3 high) are ranges, each with a column _low and a column _high.
    """
    return pd.read_csv(path).set_index("task")
