"""Where a usage log is read: an embedded DuckDB by default, or any backend that Ibis speaks to.

A log larger than memory is scanned where it lies; what a query cannot hold goes to a folder that is deleted after.
"""

import csv
import gzip
import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ibis
import pandas as pd

from tierlab.buckets import REQUEST_COLUMNS, check_columns

_VIEW = "tierlab_requests"
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
    unreadable : int
        Lines of CSV files that do not have the header's columns, and are in no row of the table.
    """

    table: ibis.Table
    backend: object
    unreadable: int = 0


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
        inside = Path(name.anchor).glob(str((name / "**" / "*" if name.is_dir() else name).relative_to(name.anchor)))
        found |= {path for path in inside if _kind(path) and path.is_file()}
        if name.is_file() and name not in found:
            raise ValueError(f"{name}: a usage log is a .parquet or .csv file; tierlab.read_usage reads other formats")
    kinds = {_kind(path) for path in found}
    if len(kinds) != 1:
        what = "both .parquet and .csv files; give one kind" if found else "no .parquet or .csv file"
        raise ValueError(f"{', '.join(map(str, names))}: {what}")
    return sorted(map(str, found))


def _kind(path):
    return next((kind for suffix, kind in _KIND.items() if str(path).endswith(suffix)), None)


def _duckdb(folder, memory_limit):
    backend = ibis.duckdb.connect(
        memory_limit=memory_limit, threads=os.cpu_count(), temp_directory=folder, preserve_insertion_order=False
    )
    backend.raw_sql("SET TimeZone = 'UTC'")
    backend.raw_sql("SET enable_progress_bar = false")
    return backend


def _columnar(frame):
    """The columns of a frame that a query may need, each of one type."""
    frame = frame[[column for column in frame if column in REQUEST_COLUMNS and column != "prefix_ids"]]
    mixed = [column for column in frame if frame[column].dtype == object]
    return frame.astype(dict.fromkeys(mixed, "string")).reset_index(drop=True)


def _scanned(files, backend, folder):
    kind = _kind(files[0])
    if backend.name != "duckdb":
        as_text = {"inferSchema": False} if (backend.name, kind) == ("pyspark", "csv") else {}
        tables = [getattr(backend, f"read_{kind}")(file, **as_text) for file in files]
        return _log(ibis.union(*tables) if len(tables) > 1 else tables[0], backend)
    if kind == "parquet":
        return _log(backend.read_parquet(files, union_by_name=True), backend)
    lost = sum(_as_parquet(backend, file, folder / f"{place}.parquet") for place, file in enumerate(files))
    return _log(backend.read_parquet(folder / "*.parquet", union_by_name=True), backend, lost)


def _as_parquet(backend, file, copy):
    """Copy a CSV file, cell by cell as text, in a form that queries read by column; returns the lines that are no row.

    A quotation mark that is never closed swallows the lines after it, so lines are counted, not what a parser reports.
    """
    opened = gzip.open if file.endswith(".gz") else open
    with opened(file, "rb") as stream:
        header = stream.readline().decode("utf-8-sig", "replace")
        lines = sum(not line.isspace() for line in stream)
    columns = dict.fromkeys(next(csv.reader([header]), []), "VARCHAR")
    if not columns:
        raise ValueError(f"{file}: the file is empty; a usage log has a header line")
    form = "auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', ignore_errors = true"
    backend.raw_sql(f"COPY (FROM read_csv({file!r}, columns = {columns!r}, {form})) TO '{copy}' (FORMAT parquet)")
    (rows,) = backend.raw_sql(f"SELECT count(*) FROM '{copy}'").fetchone()
    return lines - rows


def _log(table, backend, unreadable=0):
    _check(table.columns)
    midnight = ibis.literal("1970-01-01T00:00:00+00:00").cast("timestamp('UTC')").cast("timestamp").hour()
    if backend.execute(midnight) != 0:
        raise ValueError(f"the session of {backend.name} has another time zone than UTC, which would move days and prices")
    return Log(table, backend, int(unreadable))


def _check(columns):
    check_columns(pd.DataFrame(columns=list(columns)), needed=("at", "model_id", "uncached_input_tokens", "output_tokens"))
