"""The cube: the same dollars as `tierlab.price` row by row, every row accounted for, whatever engine and file."""

import ibis
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tierlab as tl
from tests.proofs import runs
from tierlab.core.vocabulary import BUCKETS
from tierlab.prices.pricing import COST_COLUMNS, FLAGS
from tierlab.quarter.aggregate import DIMENSIONS, build_cube
from tierlab.quarter.engine import local_clock, with_local

TOKENS = [f"{bucket}_tokens" for bucket in BUCKETS]


def one(n=1, **columns):
    """A log of `n` good rows, with some columns replaced."""
    good = {
        "at": pd.Timestamp("2026-11-01 12:00"),
        "model_id": "claude-opus-5-5",
        "uncached_input_tokens": 500,
        "output_tokens": 300,
    }
    return pd.DataFrame({**good, **columns}, index=range(n))


def random_log(prices, n=600, seed=11):
    """Rows of every model of both lineups, on both sides of every price change and context step, and wrong rows."""
    rng = np.random.default_rng(seed)
    models = prices.models("2026-06-12", reasoning=True) + prices.models("2026-11-23")
    spelt = [*models, "openai/gpt-4o", "Gemini 3.1 Pro", "claude-haiku-4-5-20251001", "gpt-9", None]
    edges = prices.frame["valid_from"].dropna().unique()
    size = rng.choice([0, 900, 60_000, 300_000], (n, 1), p=[0.1, 0.4, 0.2, 0.4 - 0.1])
    used = rng.random((n, 3)) < [0.4, 0.1, 0.05]
    counts = rng.integers(0, size + 1, (n, 4)) * np.column_stack([np.ones(n, bool), used])
    steps = prices.frame["context_above"].unique()
    exact = rng.random(n) < 0.2  # exactly at a step, or one above
    counts[exact] = np.column_stack(
        [
            rng.choice(steps, exact.sum()) + rng.integers(0, 2, exact.sum()),
            np.zeros((exact.sum(), 3), int),
        ]
    )
    at = pd.DatetimeIndex(
        rng.choice(edges[edges >= np.datetime64("2025-01-01")], n)
    ) + pd.to_timedelta(rng.choice([-1, 0, 3600 * 9, 86400 * 40], n), unit="s")
    aggregate = rng.random(n) < 0.1
    log = pd.DataFrame(
        {
            "at": at,
            "model_id": rng.choice(np.array(spelt, object), n),
            "task": rng.choice(np.array(["chat", "code", None], object), n),
            "user": rng.choice(np.array([f"u{i}" for i in range(40)] + [None], object), n),
            "team": rng.choice(["blue", "red"], n),
            "region": rng.choice(["us", "eu"], n),
            "batch": rng.random(n) < 0.2,
            "requests": pd.array(np.where(aggregate, rng.integers(1, 90, n), 1), "Int64"),
            "aggregate": aggregate
            & (
                rng.random(n) < 0.7
            ),  # a row of several requests is a sum even where it does not say so
            "context_above": np.where(
                aggregate & (rng.random(n) < 0.5), rng.choice(steps, n), np.nan
            ),
            "status": rng.choice(["ok", "ok", "error", "truncated"], n),
            "attempts": rng.choice([1, 1, 2], n),
            **dict(zip(TOKENS[:4], counts.T, strict=True)),
            "output_tokens": rng.integers(0, 5000, n),
            "ttft_s": np.where(rng.random(n) < 0.1, np.nan, rng.lognormal(-1, 1, n)),
            "end_to_end_s": rng.lognormal(1, 1, n),
            "billed_usd": np.where(rng.random(n) < 0.5, np.nan, rng.random(n)),
        }
    )
    log["requests"] = log["requests"].mask(log["aggregate"] & (rng.random(n) < 0.3))
    log["reasoning_tokens"] = log["output_tokens"] // 3 + (rng.random(n) < 0.02) * 5000
    log["uncached_input_tokens"] = (
        log["uncached_input_tokens"]
        .astype(float)
        .mask(rng.random(n) < 0.02, np.nan)
        .mask(rng.random(n) < 0.02, -1)
    )
    log["output_tokens"] = log["output_tokens"].astype(float).mask(rng.random(n) < 0.02, 2.5)
    log["at"] = log["at"].astype("datetime64[us]").mask(rng.random(n) < 0.02)
    return log


def accepted(log, prices):
    """The rows that `tierlab.price` prices one by one, with what it says of each."""
    rows = []
    for place in range(len(log)):
        row = log.iloc[[place]]
        try:
            rows.append(row.join(tl.price(row, prices, price_on="at").astype({"flags": str})))
        except ValueError:
            continue
    return pd.concat(rows) if rows else None


def expected_daily(rows, prices, timezone="UTC"):
    """The daily table by pandas alone, from rows that `tierlab.price` has priced."""
    single = ~rows["aggregate"] if "aggregate" in rows else pd.Series(True, rows.index)
    requests = (
        rows["requests"].astype(float) if "requests" in rows else pd.Series(np.nan, rows.index)
    )
    requests = requests.mask(requests.isna() & single, 1)
    table = rows.assign(
        day=rows["at"]
        .dt.tz_localize("UTC")
        .dt.tz_convert(timezone)
        .dt.tz_localize(None)
        .dt.normalize(),
        model_id=[prices.resolve(name) for name in rows["model_id"]],
        rows=1,
        requests=requests,
        uncounted_rows=requests.isna(),
        **{flag: [flag in row.split(";") for row in rows["flags"]] for flag in FLAGS},
    )
    keys = ["day", "model_id", *(d for d in DIMENSIONS if d in rows)]
    sums = [
        "rows",
        "requests",
        "uncounted_rows",
        *(c for c in TOKENS if c in rows),
        *COST_COLUMNS,
        *FLAGS,
    ]
    return table.groupby(keys, dropna=False)[sums].sum()


def assert_equals(daily, expected):
    found = daily.set_index(expected.index.names)
    assert len(found) == len(expected)
    ours = {
        tuple(map(str, key)): row
        for key, row in zip(found.index, found[list(expected)].to_numpy(float), strict=True)
    }
    theirs = {
        tuple(map(str, key)): row
        for key, row in zip(expected.index, expected.to_numpy(float), strict=True)
    }
    assert ours.keys() == theirs.keys()
    np.testing.assert_allclose(
        [ours[key] for key in theirs], list(theirs.values()), rtol=1e-9, atol=0
    )


@pytest.fixture(scope="module")
def log(maintained):
    return random_log(maintained)


@pytest.fixture(scope="module")
def priced(log, maintained):
    return accepted(log, maintained)


@pytest.mark.parametrize("timezone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_daily_equals_price_row_by_row(log, priced, maintained, timezone):
    cube = build_cube(log, maintained, timezone=timezone)
    assert_equals(cube.daily, expected_daily(priced, maintained, timezone))
    assert cube.account.rows_priced == len(priced)
    assert cube.account.rows_read == len(log) == len(priced) + cube.account.set_aside["rows"].sum()
    everything = {
        "aggregate_without_band",
        "over_window",
        "before_launch",
        "after_retirement",
        "assumed_batch_rate",
        "assumed_write_rate",
    }
    assert everything <= {flag for flag in FLAGS if cube.daily[flag].sum()}


def test_users_and_top_share_are_exact(log, priced, maintained):
    """Against pandas: distinct users, and what the most expensive one in twenty (rounded up) cost of the whole."""
    users = build_cube(log, maintained, timezone="Asia/Kolkata").users
    local = priced["at"].dt.tz_localize("UTC").dt.tz_convert("Asia/Kolkata").dt.tz_localize(None)
    found = {
        (row.period, row.over, None if row.over == "all" else row.team): row
        for row in users.itertuples()
    }
    seen = 0
    for period, of_period in priced.groupby(local.dt.to_period("Q").astype(str)):
        for team in (None, "blue", "red"):
            rows = of_period if team is None else of_period[of_period["team"] == team]
            cost = rows.groupby("user")["cost_usd"].sum().sort_values(ascending=False)
            if cost.empty:
                continue
            row = found[period, "all" if team is None else "team", team]
            top = -(-len(cost) // 20)
            seen += 1
            assert (row.active_users, row.top_users) == (len(cost), top)
            assert row.cost_usd == pytest.approx(cost.sum(), rel=1e-9)
            if cost.sum() > 0:
                assert row.top_share == pytest.approx(cost.iloc[:top].sum() / cost.sum(), rel=1e-9)
    assert seen == len(users)


def test_top_share_in_the_open(maintained):
    """21 users of 1 dollar and one of 79: two of 22 are the top 5 %, and hold 80 of 100 dollars."""
    log = one(
        22,
        user=[f"u{i}" for i in range(22)],
        uncached_input_tokens=[250_000] * 21 + [79 * 250_000],
        output_tokens=0,
    )
    log = log.assign(model_id="claude-sonnet-5-5", aggregate=True, context_above=0)
    rate = (
        maintained.in_force("2026-11-01")
        .set_index("model_id")
        .loc["claude-sonnet-5-5", "uncached_input"]
    )
    row = build_cube(log, maintained).users.iloc[0]
    assert (row["active_users"], row["top_users"], row["cost_usd"]) == (
        22,
        2,
        pytest.approx(25 * rate),
    )
    assert row["top_share"] == pytest.approx(0.8)


def test_latency_is_within_half_a_percent_of_the_nearest_rank(log, maintained):
    latency = build_cube(log, maintained).latency
    single = ~(log["aggregate"] | log["requests"].gt(1).fillna(False))
    log = log[log["status"].isin(["ok", "truncated"]) & single]
    log = log[
        log["at"].notna()
        & log["model_id"].notna()
        & (log["model_id"] != "gpt-9")
        & log["uncached_input_tokens"].ge(0)
    ]
    log = log[
        log["output_tokens"].eq(log["output_tokens"].round())
        & (log["reasoning_tokens"] <= log["output_tokens"])
    ]
    log = log.assign(
        model_id=[maintained.resolve(name) for name in log["model_id"]],
        quarter=log["at"].dt.to_period("Q").astype(str),
    )
    for measure in ("ttft_s", "end_to_end_s"):
        ours = latency[latency["measure"] == measure].set_index(["quarter", "model_id"])
        groups = log.dropna(subset=measure).groupby(["quarter", "model_id"])[measure]
        assert ours["n"].to_dict() == groups.size().to_dict()
        for name, share in {"p50": 0.5, "p95": 0.95, "p99": 0.99}.items():
            exact = groups.agg(lambda values: np.quantile(values, share, method="inverted_cdf"))  # noqa: B023
            np.testing.assert_allclose(ours[name].reindex(exact.index), exact, rtol=0.005)


def test_a_latency_of_zero_is_zero_and_a_negative_one_is_none(maintained):
    latency = build_cube(one(3, ttft_s=[0.0, 0.0, -1.0]), maintained).latency
    assert latency[["n", "p50", "p99"]].values.tolist() == [[2, 0, 0]]


@pytest.mark.parametrize(
    ("wrong", "reason", "model"),
    [
        ({"at": pd.NaT}, "missing at", "claude-opus-5-5"),
        ({"at": "soon"}, "missing at", "claude-opus-5-5"),
        ({"at": pd.Timestamp("1970-01-01")}, "at outside 2000 to 2099", "claude-opus-5-5"),
        ({"model_id": None}, "missing model_id", None),
        ({"model_id": "gpt-9"}, "unknown model", "gpt-9"),
        ({"uncached_input_tokens": -1}, "negative uncached_input_tokens", "claude-opus-5-5"),
        ({"output_tokens": 1.5}, "fractional output_tokens", "claude-opus-5-5"),
        ({"output_tokens": np.inf}, "fractional output_tokens", "claude-opus-5-5"),
        ({"output_tokens": 1e300}, "fractional output_tokens", "claude-opus-5-5"),
        ({"cache_read_tokens": np.nan}, "missing cache_read_tokens", "claude-opus-5-5"),
        ({"cache_read_tokens": "many"}, "no number in cache_read_tokens", "claude-opus-5-5"),
        ({"cache_read_tokens": ""}, "missing cache_read_tokens", "claude-opus-5-5"),
        ({"reasoning_tokens": 301}, "more reasoning than output tokens", "claude-opus-5-5"),
        ({"requests": -2}, "negative requests", "claude-opus-5-5"),
        ({"batch": None}, "batch is neither true nor false", "claude-opus-5-5"),
        ({"aggregate": "perhaps"}, "aggregate is neither true nor false", "claude-opus-5-5"),
        (
            {"model_id": "gpt-5-mini", "cache_write_short_tokens": 5},
            "no rate for cache_write_short",
            "gpt-5-mini",
        ),
        (
            {"model_id": "gemini-3.7-flash", "batch": True},
            "no batch rate for uncached_input",
            "gemini-3.7-flash",
        ),
    ],
)
def test_what_cannot_be_priced_is_set_aside_with_its_reason(maintained, wrong, reason, model):
    """One good row (4 and 20 dollars per million tokens) and one wrong one: never dropped in silence, never zero."""
    fill = {
        "cache_read_tokens": 0,
        "reasoning_tokens": 0,
        "requests": 1,
        "batch": False,
        "aggregate": False,
        "cache_write_short_tokens": 0,
    }
    good = one(**{column: fill[column] for column in wrong if column in fill})
    log = (
        pd.concat([good, good.astype(object).assign(**wrong)])
        .astype(dict.fromkeys(wrong, object))
        .infer_objects()
    )
    cube = build_cube(log, maintained)
    assert cube.account.set_aside.astype(object).where(
        cube.account.set_aside.notna(), None
    ).values.tolist() == [[reason, model, 1]]
    assert (cube.account.rows_read, cube.account.rows_priced) == (2, 1)
    assert cube.daily["cost_usd"].sum() == pytest.approx(500 * 4e-6 + 300 * 20e-6)
    assert list(cube.account.unknown_models.items()) == (
        [(model, 1)] if reason == "unknown model" else []
    )


def test_nothing_at_all_is_no_error(maintained):
    for log in (one().iloc[:0], one(model_id="gpt-9", user="u", ttft_s=1.0)):
        cube = build_cube(log, maintained)
        assert cube.account.rows_read == len(log) and cube.account.rows_priced == 0
        assert cube.daily.empty and cube.users.empty and cube.latency.empty


maybe = st.sampled_from([0, 1, 7, 150_000, -1, 0.5, np.nan])
row = st.tuples(
    st.sampled_from(
        [pd.NaT, *pd.to_datetime(["2026-06-30 22:30", "2026-10-14 00:00", "2026-12-01 00:00"])]
    ),
    st.sampled_from(["gpt-5-mini", "claude-haiku-5-5", "gemini-3.7-flash", "gpt-9", None]),
    *([maybe] * 6),
    st.booleans(),
    st.booleans(),
    st.sampled_from([np.nan, 0, 100_000]),
)


@given(st.lists(row, max_size=6))
@settings(max_examples=runs(100), deadline=None)
def test_every_row_is_priced_or_set_aside_as_price_does(rows):
    """`tierlab.price` asked row by row accepts exactly what the cube prices, for the same dollars."""
    prices = tl.load_prices("maintained")
    log = pd.DataFrame(
        rows,
        columns=[
            "at",
            "model_id",
            *TOKENS,
            "reasoning_tokens",
            "batch",
            "aggregate",
            "context_above",
        ],
    )
    log = log.astype(
        {
            "at": "datetime64[us]",
            **dict.fromkeys([*TOKENS, "reasoning_tokens", "context_above"], float),
        }
    )
    log = log.astype({"batch": bool, "aggregate": bool})
    log["reasoning_tokens"] = (
        log["reasoning_tokens"].clip(lower=0).fillna(0).round()
    )  # which decides no price
    cube, rows = build_cube(log, prices), accepted(log, prices)
    assert (
        cube.account.rows_read
        == len(log)
        == cube.account.rows_priced + cube.account.set_aside["rows"].sum()
    )
    assert cube.account.rows_priced == (0 if rows is None else len(rows))
    if rows is not None:
        assert_equals(cube.daily, expected_daily(rows, prices))


def test_files_and_frames_give_the_same(log, maintained, tmp_path):
    frame = build_cube(log, maintained)
    (tmp_path / "parts" / "deep").mkdir(parents=True)
    log[:200].to_parquet(tmp_path / "parts" / "a.parquet")
    log[200:].to_parquet(tmp_path / "parts" / "deep" / "b.parquet")
    log.to_csv(tmp_path / "log.csv", index=False)
    (tmp_path / "two").mkdir()
    log[:300].to_csv(tmp_path / "two" / "1.csv.gz", index=False)
    log[300:][log.columns[::-1]].to_csv(tmp_path / "two" / "2.csv", index=False)
    connection = ibis.duckdb.connect()
    for usage in (
        tmp_path / "parts",
        str(tmp_path / "parts" / "**" / "*.parquet"),
        tmp_path / "log.csv",
        tmp_path / "two",
        connection.read_parquet(tmp_path / "parts" / "**" / "*.parquet"),
        log.sample(frac=1, random_state=3).astype({"model_id": "category", "team": "category"}),
        log.assign(at=log["at"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")),
    ):
        cube = build_cube(usage, maintained)
        pd.testing.assert_frame_equal(
            cube.daily.drop(columns="billed_usd"),
            frame.daily.drop(columns="billed_usd"),
            check_exact=True,
        )
        pd.testing.assert_frame_equal(cube.users, frame.users, rtol=1e-12)
        pd.testing.assert_frame_equal(cube.latency, frame.latency)
        assert cube.account.rows_read == len(log)
        assert cube.account.set_aside["rows"].sum() == frame.account.set_aside["rows"].sum()


def test_a_broken_line_of_a_csv_file_never_loses_the_rest(maintained, tmp_path):
    """Too many columns, a line that stops half-way, a quote that does not close: each costs its own line."""
    head, good = (
        "at,model_id,uncached_input_tokens,output_tokens",
        "2026-11-01T12:00:00Z,claude-opus-5-5,500,300",
    )
    lines = [
        head,
        good,
        good + ",9",
        "2026-11-01T12:00:00+02:00,claude-opus-5-5,500,300.0",
        good[:40],
        "",
        'x,"claude',
        good,
    ]
    (tmp_path / "log.csv").write_text("\n".join(lines))
    cube = build_cube(tmp_path / "log.csv", maintained)
    assert (cube.account.rows_read, cube.account.rows_priced) == (6, 3)
    assert cube.account.set_aside[["reason", "rows"]].values.tolist() == [
        ["a line that is no row of its file", 3]
    ]
    assert cube.account.first_at == pd.Timestamp("2026-11-01 10:00")
    assert cube.daily["cost_usd"].sum() == pytest.approx(3 * (500 * 4e-6 + 300 * 20e-6))


def test_the_period_is_in_local_days_and_what_lies_outside_is_counted(maintained):
    at = pd.to_datetime(
        ["2026-06-30 21:59:59", "2026-06-30 22:00:00", "2026-09-30 21:59:59", "2026-09-30 22:00:00"]
    )
    cube = build_cube(
        one(4, at=at), maintained, timezone="Europe/Berlin", start="2026-07-01", end="2026-10-01"
    )
    assert cube.daily["day"].astype(str).tolist() == ["2026-07-01", "2026-09-30"]
    assert cube.account.set_aside[["reason", "rows"]].values.tolist() == [["outside the period", 2]]
    assert (cube.account.first_at, cube.account.last_at) == (at[1], at[2])


def test_rates_change_at_midnight_utc_whatever_the_day_is_called(maintained):
    """Gemini 4 Argon doubles on 2026-12-01 UTC, which in Berlin is one day of both rates."""
    at = pd.to_datetime(["2026-11-30 23:59:59", "2026-12-01 00:00:00"])
    log = one(
        2,
        at=at,
        model_id="gemini-4-argon",
        uncached_input_tokens=10**6,
        output_tokens=0,
        aggregate=True,
        context_above=0,
    )
    assert build_cube(log, maintained).daily["cost_usd"].tolist() == [2, 4]
    berlin = build_cube(log, maintained, timezone="Europe/Berlin").daily
    assert berlin[["day", "cost_usd"]].values.tolist() == [[pd.Timestamp("2026-12-01"), 6]]


def test_requests_attempts_and_bills_are_summed_and_what_is_unknown_is_counted(maintained):
    log = one(
        3,
        requests=pd.array([None, 40, None], "Int64"),
        aggregate=[False, True, True],
        attempts=[2, 50, 1],
        context_above=0,
    )
    log = log.assign(billed_usd=[0.5, np.nan, 0.25], team=["a", "a", None])
    daily = build_cube(log, maintained).daily
    columns = ["rows", "requests", "uncounted_rows", "attempts", "billed_usd", "billed_rows"]
    assert daily[columns].values.tolist() == [[2, 41, 0, 52, 0.5, 1], [1, 0, 1, 1, 0.25, 1]]
    assert daily["team"].isna().tolist() == [False, True]


def test_what_the_log_lacks_is_named_and_absent(maintained):
    cube = build_cube(one(task="chat"), maintained)
    assert {
        "team",
        "user",
        "batch",
        "ttft_s",
        "billed_usd",
        "cache_read_tokens",
        "reasoning_tokens",
    } <= set(cube.missing)
    assert "task" not in cube.missing
    assert not {"team", "batch", "billed_usd", "reasoning_tokens"} & set(cube.daily)
    assert cube.daily["cache_read_tokens"].tolist() == [0]
    account = cube.account
    assert (account.engine, account.price_source, account.price_as_of) == (
        "duckdb",
        maintained.source,
        "2026-11-23",
    )
    assert len(account.price_sha256) == 64


@pytest.mark.parametrize("more", [-1, 1])
def test_a_log_that_changes_while_it_is_read_is_refused(maintained, more):
    """A table whose second reading has a row less, or one more, than the first."""
    connection = ibis.duckdb.connect()
    connection.create_table("log", one(6).assign(place=range(6)))
    connection.raw_sql("CREATE SEQUENCE readings; SET TimeZone = 'UTC'")
    connection.raw_sql(
        "CREATE VIEW moving AS SELECT log.* EXCLUDE (place) FROM log, "
        f"(SELECT nextval('readings') AS n) WHERE place < 5 + (n - 1) * {more}"
    )
    with pytest.raises(ValueError, match="the log changed while it was read"):
        build_cube(connection.table("moving"), maintained)


def test_wrong_questions_are_refused(maintained, tmp_path):
    for change, message in (
        ({"ouput_tokens": 1}, "unknown column 'ouput_tokens'; did you mean 'output_tokens'"),
        ({"input_tokens": 1}, "split_input"),
        ({"at": 1_793_000_000}, "column 'at' has type int64; turn it into times"),
        (
            {"output_tokens": True},
            "column 'output_tokens' has type boolean; counts are whole numbers",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            build_cube(one(**change), maintained)
    with pytest.raises(ValueError, match="column 'at' is missing"):
        build_cube(one().drop(columns="at"), maintained)
    with pytest.raises(
        ValueError, match="unknown time zone 'Europe/Berlim'; did you mean 'Europe/Berlin'"
    ):
        build_cube(one(), maintained, timezone="Europe/Berlim")
    with pytest.raises(ValueError, match=r"no \.parquet or \.csv file"):
        build_cube(tmp_path, maintained)
    for name in ("a.csv", "a.json"):
        one().to_csv(tmp_path / name, index=False)
    with pytest.raises(ValueError, match=r"a\.json: a usage log is a \.parquet or \.csv file"):
        build_cube(tmp_path / "a.json", maintained)
    one().to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="both"):
        build_cube(tmp_path, maintained)
    connection = ibis.duckdb.connect()
    table = connection.create_table("log", one())
    connection.raw_sql("SET TimeZone = 'Asia/Tokyo'")
    with pytest.raises(ValueError, match="another time zone than UTC"):
        build_cube(table, maintained)


@pytest.mark.parametrize(
    "zone", ["America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kolkata", "UTC"]
)
def test_the_clock_is_that_of_the_time_zone_database(zone):
    """One second before, at and after every change of four years, against pandas."""
    span = pd.to_datetime(["2024-01-01", "2027-12-31"])
    clock = local_clock(zone, *span)
    edges = pd.DatetimeIndex([*span, *(edge for edge, _ in clock[1:])])
    at = pd.Series(
        (edges.to_numpy() + np.array([[-1], [0], [1]], "timedelta64[s]")).ravel()
    ).astype("datetime64[us]")
    rows = ibis.memtable(pd.DataFrame({"at": at}))
    ours = ibis.duckdb.connect().execute(with_local(rows, clock).order_by("at"))["local"]
    theirs = (
        at.sort_values(ignore_index=True)
        .dt.tz_localize("UTC")
        .dt.tz_convert(zone)
        .dt.tz_localize(None)
    )
    assert (ours == theirs).all()
    assert len(clock) == {
        "America/New_York": 9,
        "Australia/Lord_Howe": 9,
        "Africa/Casablanca": 9,
    }.get(zone, 1)
