"""The prices table: its columns, a table or file of your own with all its checks, and a row for your own machines."""

from pathlib import Path

import numpy as np
import pandas as pd

from tierlab.core.untrusted import regular, unguarded
from tierlab.core.vocabulary import BUCKETS, RATES, TIERS, unknown
from tierlab.prices.names import PROVIDERS, known_models

DATES = ("valid_from", "launched_on", "retires_on", "checked_on")
COLUMNS = (
    "model_id",
    "provider",
    "platform",
    "region",
    "service_tier",
    "tier",
    "reasoning_model",
    "valid_from",
    "context_above",
    *RATES,
    "approximate",
    "batch_assumed",
    "write_assumed",
    "launched_on",
    "retires_on",
    "context_window",
    "max_output_tokens",
    "source",
    "checked_on",
)
# The key of a rate, together with its date and its context step.
KEY = ["model_id", "platform", "region", "service_tier"]
MARKS = ("reasoning_model", "approximate", "batch_assumed", "write_assumed")
_REQUIRED = ("model_id", "provider", "uncached_input", "output")
_COUNTS = ("context_above", "context_window", "max_output_tokens")


def read_table(source):
    """Read and check a prices table of your own, a DataFrame or the path of a CSV or Parquet file.

    Raises
    ------
    ValueError
        Naming the file, the row and the column.
    """
    if isinstance(source, pd.DataFrame):
        return _checked(source, Path("extra"))
    return _checked(_read(Path(source)), Path(source))


def _read(path):
    try:
        if regular(path).suffix == ".parquet":
            return pd.read_parquet(path)
        return unguarded(pd.read_csv(path, dtype=str, skip_blank_lines=False))
    except Exception as error:
        raise ValueError(f"{path}: cannot be read as a prices table ({error})") from error


def _checked(raw, path):
    """Return the prices table from raw columns, or raise an error that names the file, the row and the column."""
    first_line = 1 if path.suffix == ".parquet" else 2

    def refuse(bad, column, why):
        if bad.any():
            row = int(np.flatnonzero(bad.to_numpy())[0])
            raise ValueError(
                f"{path}, row {row + first_line}, column {column!r}: {why.format(raw[column].iloc[row])}"
            )

    for column in raw.columns.difference([*COLUMNS, "name", "note"]):
        raise ValueError(f"{path}: {unknown('column', column, COLUMNS)}")
    for column in _REQUIRED:
        if column not in raw:
            raise ValueError(
                f"{path}: column {column!r} is missing; a prices table needs {', '.join(_REQUIRED)}"
            )
        if column != "output":  # embeddings have none
            refuse(raw[column].isna(), column, "empty; every row needs a value")
    if raw.empty:
        raise ValueError(
            f"{path}: no row below the header; a prices table needs at least one model"
        )
    usual = raw["provider"].str.strip().str.lower()
    refuse(
        usual.isin(PROVIDERS) & (raw["provider"] != usual),
        "provider",
        "{!r}; write it as one of " + ", ".join(PROVIDERS),
    )
    frame = _typed(raw, refuse)
    frame["context_above"] = frame["context_above"].fillna(0).astype("int64")
    frame["platform"] = frame["platform"].where(frame["platform"].notna(), frame["provider"])
    for column, usual in (("region", ""), ("service_tier", "standard"), ("source", path.name)):
        frame[column] = frame[column].astype(object).where(frame[column].notna(), usual)
    ours = frame["provider"].isin(PROVIDERS) & frame["launched_on"].isna()
    strange = np.flatnonzero(ours & ~frame["model_id"].isin(known_models()))
    if len(strange):
        row = int(strange[0])
        raise ValueError(
            f"{path}, row {row + first_line}, column 'model_id': {unknown('model', frame['model_id'].iloc[row], known_models())}"
            " (a model that the maintained catalogue does not know yet needs its launched_on)"
        )
    twice = frame.duplicated([*KEY, "valid_from", "context_above"])
    refuse(twice, "model_id", "a second row for {!r} with the same date and context step")
    return frame.sort_values(
        ["provider", "model_id", "valid_from", "context_above"], na_position="first"
    ).reset_index(drop=True)


def _typed(raw, refuse):
    """Return the columns of the prices table with numbers, dates and truth values; `refuse` reports any other value."""
    frame = raw.reindex(columns=list(COLUMNS))
    for column in (*RATES, *_COUNTS):
        frame[column] = pd.to_numeric(frame[column], errors="coerce").astype(float)
        if column in raw:
            refuse(frame[column].isna() & raw[column].notna(), column, "{!r} is not a number")
            refuse(
                frame[column].lt(0) | np.isinf(frame[column]),
                column,
                "{} is not a number from 0 up",
            )
    for column in DATES:
        dates = pd.to_datetime(frame[column], errors="coerce", format="ISO8601")
        frame[column] = dates.astype("datetime64[us]")
        if column in raw:
            refuse(frame[column].isna() & raw[column].notna(), column, "{!r} is not an ISO date")
    for column in MARKS:
        text = frame[column].astype(object).where(frame[column].notna(), "false")
        text = text.astype(str).str.lower()
        if column in raw:
            refuse(~text.isin(["true", "false"]), column, "{!r} is neither true nor false")
        frame[column] = text == "true"
    if "tier" in raw:
        refuse(
            raw["tier"].notna() & ~raw["tier"].isin(TIERS),
            "tier",
            "unknown tier {!r}; one of " + ", ".join(TIERS),
        )
    return frame


def self_hosted(
    model_id: str,
    *,
    gpus: float,
    usd_per_gpu_hour: float,
    input_tokens_per_s: float,
    output_tokens_per_s: float,
    utilisation: float,
    provider: str = "in-house",
    tier: str | None = None,
    context_window: float | None = None,
    checked_on: str | None = None,
) -> pd.DataFrame:
    """Turn the price and speed of your own machines into a row for ``load_prices(extra=...)``.

    USD per million tokens = 1e6 x dollars per hour / (3,600 x tokens per second x utilisation). Prefill (input) and
    decoding (output, including reasoning) each have their own speed.

    Parameters
    ----------
    model_id : str
        Your name for the model.
    gpus : float
        Number of GPUs of the machine.
    usd_per_gpu_hour : float
        Price of one GPU per hour (USD), including its share of the rest of the machine.
    input_tokens_per_s, output_tokens_per_s : float
        Tokens per second at full load within the latency that you promise.
    utilisation : float
        Share of the paid hours at that speed, 0 to 1; idle time and start-up are paid for too.
    provider : str
    tier : {"small", "mid", "flagship"}, optional
        The tier whose assumed error rates hold for the model.
    context_window : int, optional
        Tokens.
    checked_on : str, optional
        ISO date of these figures.

    Returns
    -------
    DataFrame
        One row of the prices table. A hit of the prefix cache skips the prefill, so cache reads cost nothing and
        cache writes cost what input costs.

    Raises
    ------
    ValueError
        If a figure is not above 0, or `utilisation` is above 1.

    Examples
    --------
    >>> row = self_hosted("ours", gpus=2, usd_per_gpu_hour=3.0, input_tokens_per_s=25_000, output_tokens_per_s=2_500, utilisation=0.4)
    >>> row[["uncached_input", "output"]].round(4).iloc[0].tolist()
    [0.1667, 1.6667]
    """
    figures = {
        "gpus": gpus,
        "usd_per_gpu_hour": usd_per_gpu_hour,
        "input_tokens_per_s": input_tokens_per_s,
        "output_tokens_per_s": output_tokens_per_s,
        "utilisation": utilisation,
    }
    for name, value in figures.items():
        if not value > 0:
            raise ValueError(f"{name} is {value!r}; a number above 0 is needed")
    if utilisation > 1:
        raise ValueError(f"utilisation is {utilisation!r}; it is a share of the paid hours, 0 to 1")
    machine = 1e6 * gpus * usd_per_gpu_hour / (3_600 * utilisation)
    per_input, per_output = machine / input_tokens_per_s, machine / output_tokens_per_s
    rates = dict(zip(BUCKETS, (per_input, 0.0, per_input, per_input, per_output), strict=True))
    return pd.DataFrame(
        [
            {
                "model_id": model_id,
                "provider": provider,
                "tier": tier,
                **rates,
                **{f"batch_{bucket}": rate for bucket, rate in rates.items()},
                "context_window": context_window,
                "source": "own machines",
                "checked_on": checked_on,
            }
        ]
    )
