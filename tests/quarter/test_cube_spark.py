"""The same expressions on Spark: one local session of the real engine, the same numbers as DuckDB."""

import shutil
import signal

import numpy as np
import pandas as pd
import pytest

from tests.quarter.test_cube import random_log
from tierlab.quarter.aggregate import build_cube

pyspark = pytest.importorskip("pyspark", reason="Spark is not installed: make spark")
pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java 17"),
]


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    import ibis
    from pyspark.sql import SparkSession

    folder = tmp_path_factory.mktemp("spark")
    options = {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": str(folder),
        "spark.local.dir": str(folder),
    }
    builder = SparkSession.builder.master("local[2]")
    for name, value in options.items():
        builder = builder.config(name, value)
    interrupt = signal.getsignal(signal.SIGINT)
    session = builder.getOrCreate()
    yield ibis.pyspark.connect(session)
    session.stop()
    signal.signal(
        signal.SIGINT, interrupt
    )  # Spark takes it over, for every later test of this process


def test_spark_gives_the_numbers_of_duckdb(spark, maintained, tmp_path):
    random_log(maintained).to_parquet(tmp_path / "log.parquet")
    ours = build_cube(tmp_path / "log.parquet", maintained, timezone="America/New_York")
    log = spark.read_parquet(tmp_path / "log.parquet")
    theirs = build_cube(log, maintained, timezone="America/New_York")
    for name in ("daily", "users", "latency"):
        left, right = (getattr(cube, name) for cube in (ours, theirs))
        pd.testing.assert_frame_equal(left, right, rtol=1e-9, atol=0, check_dtype=False)
    pd.testing.assert_frame_equal(ours.account.set_aside, theirs.account.set_aside)
    assert (theirs.account.engine, theirs.account.rows_priced) == (
        "pyspark",
        ours.account.rows_priced,
    )
    assert np.isfinite(theirs.daily["cost_usd"]).all()
