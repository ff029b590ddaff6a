"""Where a usage log is read: an embedded DuckDB by default, or any backend that Ibis speaks to.

A log larger than memory is scanned where it lies; what a query cannot hold goes to a folder that is deleted after.
"""

import gzip
import os
import tempfile
import zlib
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import duckdb
import ibis
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tierlab.core.tables import REQUEST_COLUMNS, check_columns
from tierlab.core.untrusted import LINE_BYTES, regular
from tierlab.usage.files import Fault, first_of_copies, header_of, lines_of, table

_VIEW = "tierlab_requests"
NO_ROW, COPY = "a line that is no row of its file", "a copy of another file, or a second name of it"
_KIND = {".parquet": "parquet", ".csv": "csv", ".csv.gz": "csv"}


@dataclass(frozen=True)
class Log:
    """An opened usage log.

    Attributes
    ----------
    table : ibis.Table
        The requests table, columns as they were found.
    backend : ibis backend
        What runs the queries.
    aside : Counter
        Rows of the files that are not in the table, by reason.
    """

    table: ibis.Table
    backend: object
    aside: Counter = field(default_factory=Counter)


@contextmanager
def open_log(usage, engine=None, memory_limit="2GB"):
    """Open a requests table for queries and clean up after them.

    Parameters
    ----------
    usage : DataFrame, ibis.Table, path, glob or list of paths
        A requests table, or Parquet or CSV files of its columns; a folder stands for all such files in it.
    engine : ibis backend, optional
        Where files and frames are read; by default a DuckDB of this process with `memory_limit`.
    memory_limit : str
        What that DuckDB may hold in memory before it spills.

    Yields
    ------
    Log
    """
    if isinstance(usage, ibis.Table):
        if engine is not None:
            raise ValueError("an Ibis table brings its own engine; leave engine out")
        yield _log(usage, usage.get_backend())
        return
    with tempfile.TemporaryDirectory(prefix="tierlab-", ignore_cleanup_errors=True) as folder:
        backend = _duckdb(folder, memory_limit) if engine is None else engine
        try:
            if isinstance(usage, pd.DataFrame):
                _check(usage.columns)
                view = backend.create_view(_VIEW, ibis.memtable(_columnar(usage)), overwrite=True)
                yield _log(view, backend)
                backend.drop_view(_VIEW)
            else:
                yield _scanned(files_of(usage), backend, Path(folder))
        finally:
            if engine is None:
                backend.disconnect()


def files_of(usage):
    """The Parquet or CSV files that a path, a folder, a glob or a list of them names, sorted.

    Raises
    ------
    ValueError
        If there is none, or both kinds.
    """
    names = [Path(name) for name in ([usage] if isinstance(usage, str | os.PathLike) else usage)]
    found = set()
    for name in names:
        regular(name)
        inside = Path(name.anchor).glob(
            str((name / "**" / "*" if name.is_dir() else name).relative_to(name.anchor))
        )
        found |= {path for path in inside if _kind(path) and path.is_file()}
        if name.is_file() and name not in found:
            raise ValueError(
                f"{name}: a usage log is a .parquet or .csv file; tierlab.read_usage reads other formats"
            )
    kinds = {_kind(path) for path in found}
    if len(kinds) != 1:
        what = (
            "both .parquet and .csv files; give one kind" if found else "no .parquet or .csv file"
        )
        raise ValueError(f"{', '.join(map(str, names))}: {what}")
    return sorted(map(str, found))


def _kind(path):
    return next((kind for suffix, kind in _KIND.items() if str(path).endswith(suffix)), None)


def _duckdb(folder, memory_limit):
    backend = ibis.duckdb.connect(
        memory_limit=memory_limit,
        threads=os.cpu_count(),
        temp_directory=folder,
        preserve_insertion_order=False,
    )
    backend.raw_sql("SET TimeZone = 'UTC'")
    backend.raw_sql("SET enable_progress_bar = false")
    return backend


def _columnar(frame):
    """The columns of a frame that a query may need, each of one type."""
    frame = frame[
        [column for column in frame if column in REQUEST_COLUMNS and column != "prefix_ids"]
    ]
    mixed = [column for column in frame if frame[column].dtype == object]
    return frame.astype(dict.fromkeys(mixed, "string")).reset_index(drop=True)


def _scanned(files, backend, folder):
    kind = _kind(files[0])
    if backend.name != "duckdb":
        as_text = {"inferSchema": False} if (backend.name, kind) == ("pyspark", "csv") else {}
        tables = [getattr(backend, f"read_{kind}")(file, **as_text) for file in files]
        return _log(ibis.union(*tables) if len(tables) > 1 else tables[0], backend)
    copies = {
        str(file): str(first)
        for file, first in first_of_copies([Path(file) for file in files]).items()
    }
    once, aside = [file for file in files if file not in copies], Counter()
    rows = {file: pq.read_metadata(file).num_rows for file in files} if kind == "parquet" else {}
    for place, file in enumerate(once if kind == "csv" else ()):
        copy = folder / f"{place}.parquet"
        try:
            lost = _as_parquet(backend, file, copy)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None
        rows[file] = pq.read_metadata(copy).num_rows + lost
        aside[NO_ROW] += lost
    for first in copies.values():
        aside[COPY] += rows[first]
    source = once if kind == "parquet" else folder / "*.parquet"
    return _log(backend.read_parquet(source, union_by_name=True), backend, aside)


def _as_parquet(backend, file, copy):
    """Copy a CSV file, cell by cell as text, in a form that queries read by column; returns the rows that are none.

    DuckDB reads what it finds no fault in, a row a line; anything else is read as `tierlab.usage.files` does.
    """
    header = header_of(Path(file))
    if (lines := _plain_lines(file)) is not None:
        columns = dict.fromkeys(header, "VARCHAR")
        form = "auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', strict_mode = true"
        try:
            backend.raw_sql(
                f"COPY (FROM read_csv({file!r}, columns = {columns!r}, {form})) TO '{copy}' (FORMAT parquet)"
            )
            if pq.read_metadata(copy).num_rows == lines:
                return 0
        except duckdb.Error:
            pass
    lost, types = 0, pa.schema([(name, pa.string()) for name in header])
    with pq.ParquetWriter(copy, types) as writer:
        for item in table(lines_of(Path(file))):
            if isinstance(item, Fault):
                lost += 1
            else:
                frame = (
                    item[1].astype(object).where(item[1] != "", None)
                )  # an empty cell is missing, as DuckDB has it
                writer.write_table(pa.Table.from_pandas(frame, types, preserve_index=False))
    return lost


def _plain_lines(file):
    """Lines below the header of a CSV file, where each may be a row: no line end but a newline, none too long."""
    opened = gzip.open if file.endswith(".gz") else open
    lines = -1
    try:
        with opened(file, "rb") as stream:
            for line in iter(partial(stream.readline, LINE_BYTES), b""):
                if b"\r" in line[:-2] or len(line) == LINE_BYTES:
                    return None
                lines += not line.isspace()
    except (EOFError, OSError, zlib.error):
        return None
    return lines


def _log(table, backend, aside=None):
    _check(table.columns)
    midnight = (
        ibis.literal("1970-01-01T00:00:00+00:00").cast("timestamp('UTC')").cast("timestamp").hour()
    )
    if backend.execute(midnight) != 0:
        raise ValueError(
            f"the session of {backend.name} has another time zone than UTC, which would move days and prices"
        )
    return Log(table, backend, aside or Counter())


def _check(columns):
    check_columns(
        pd.DataFrame(columns=list(columns)),
        needed=("at", "model_id", "uncached_input_tokens", "output_tokens"),
    )
