"""Any dataframe at the edge of the kit; inside it there is only pandas."""

import pandas as pd

ALLOWED = "a pandas or Polars DataFrame, a Polars LazyFrame, an Arrow table or a DuckDB relation"


def as_pandas(table, what="the table"):
    """A table of any of the usual kinds as a pandas DataFrame; one of pandas as it is.

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
        frame = frame.collect("pyarrow") if _is_duckdb(table) else frame.collect()
    if not isinstance(frame, nw.DataFrame):
        raise TypeError(f"{what} is a {type(table).__name__}; give {ALLOWED}")
    return frame.to_pandas()


def _is_duckdb(table):
    return type(table).__module__.split(".")[0] in ("duckdb", "_duckdb")
