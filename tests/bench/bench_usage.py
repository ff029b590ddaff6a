"""Time and peak memory of `tierlab.build_cube` on Parquet logs of 1e6, 1e7 and 1e8 rows, beside a plain scan.

Each log is made on the spot (seeded, a quarter of nine models, a million users, 20 teams, 12 tasks) and deleted
after; each size runs in a process of its own. Nothing here asserts on seconds. Run with `make bench`, or with
sizes as arguments.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import pandas as pd

import tierlab as tl

SIZES = ("1e6", "1e7", "1e8")
LOG = """
COPY (
    SELECT ts AS "at", model_id, 'task-' || (hash(i, 2) % 12) AS task, 'team-' || (who % 20) AS team, 'user-' || who AS "user",
        batch AND model_id LIKE 'claude%' AS batch, status, uncached_input_tokens, cache_read_tokens,
        CASE WHEN model_id LIKE 'claude%' AND hash(i, 9) % 5 = 0 THEN 1500 ELSE 0 END::BIGINT AS cache_write_short_tokens,
        output_tokens, output_tokens // 3 AS reasoning_tokens, ttft_s, ttft_s + output_tokens * 0.012 AS end_to_end_s
    FROM (
        SELECT range AS i, TIMESTAMP '2026-10-01' + to_microseconds((hash(i) // 2 % 7948800000000)::BIGINT) AS ts,
            {models}[1 + (hash(i, 1) % 9)::BIGINT] AS model_id,
            (1000000 * pow(hash(i, 3) % 1000000 / 1000000, 2))::BIGINT AS who,
            hash(i, 4) % 10 = 0 AS batch,
            CASE WHEN hash(i, 5) % 200 = 0 THEN 'error' WHEN hash(i, 5) % 50 = 1 THEN 'truncated' ELSE 'ok' END AS status,
            (100 + hash(i, 6) % 4000)::BIGINT AS uncached_input_tokens,
            CASE WHEN hash(i, 7) % 2 = 0 THEN hash(i, 8) % CASE WHEN hash(i, 10) % 500 = 0 THEN 400000 ELSE 8000 END
                ELSE 0 END::BIGINT AS cache_read_tokens,
            (20 + hash(i, 11) % 900)::BIGINT AS output_tokens, 0.1 + (hash(i, 12) % 3000) / 1000 AS ttft_s
        FROM range({rows})
    )
) TO '{path}' (FORMAT parquet)
"""


def make_log(path, rows):
    """Write a log of so many requests."""
    models = tl.load_prices("maintained").models("2026-11-23")
    connection = duckdb.connect()
    connection.execute("SET preserve_insertion_order = false; SET memory_limit = '2GB'")
    connection.execute(LOG.format(models=models, rows=rows, path=path))


def scan(path):
    """Seconds to read the columns of a log and do nothing with them: no engine can be faster."""
    columns = duckdb.sql(f"FROM '{path}'").columns
    start = time.perf_counter()
    duckdb.sql(
        "SELECT " + ", ".join(f'max("{column}")' for column in columns) + f" FROM '{path}'"
    ).fetchall()
    return time.perf_counter() - start


def measure(path):
    """Print what one cube costs: wall seconds, processor seconds, peak memory (GB), rows of its tables."""
    prices = tl.load_prices("maintained")
    start = time.perf_counter()
    cube = tl.build_cube(path, prices)
    wall = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF)
    tables = len(cube.daily) + len(cube.users) + len(cube.latency)
    print(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6, tables)


def main(sizes):
    lines = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "log.parquet"
            make_log(path, int(float(size)))
            child = subprocess.run(
                [sys.executable, __file__, "measure", path],
                check=True,
                capture_output=True,
                text=True,
            )
            wall, processor, peak, tables = map(float, child.stdout.split())
            lines.append(
                {
                    "rows": f"{float(size):,.0f}",
                    "file (MB)": f"{path.stat().st_size / 1e6:,.0f}",
                    "plain scan (s)": f"{scan(path):.1f}",
                    "cube (s)": f"{wall:.1f}",
                    "processor (s)": f"{processor:.1f}",
                    "peak memory (GB)": f"{peak:.2f}",
                    "rows out": f"{tables:,.0f}",
                }
            )
    print(pd.DataFrame(lines).to_string(index=False))


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        measure(sys.argv[2])
    else:
        main(sys.argv[1:] or SIZES)
