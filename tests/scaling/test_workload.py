"""Workloads become requests with the right means; cache hits follow arrivals; errors name bad files."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tierlab as tl

shares = st.floats(0, 0.95)
workloads = st.builds(
    tl.Workload,
    requests_per_day=st.floats(1, 1e7),
    input_tokens=st.floats(1, 1e5),
    output_tokens=st.floats(1, 1e4),
    input_spread=st.floats(0, 2),
    output_spread=st.floats(0, 2),
    turns=st.integers(1, 8),
    cache_hit_rate=shares,
    cache_ttl=st.sampled_from([None, "short", "long"]),
    batch_share=shares,
    reasoning_share=shares,
)


@given(workloads)
def test_mean_tokens_follow_the_written_formula(work):
    """Input of turn k is k inputs and k - 1 outputs; billed output is visible / (1 - reasoning share)."""
    means = work.mean_tokens()
    turns = work.turns
    whole = work.input_tokens * (turns + 1) / 2 + work.output_tokens * (turns - 1) / 2
    assert sum(v for b, v in means.items() if b != "output") == pytest.approx(
        whole, rel=1e-6, abs=1e-6
    )
    assert means["output"] == pytest.approx(
        work.output_tokens / (1 - work.reasoning_share), rel=1e-6, abs=1e-6
    )
    if "cache_read" in means:
        assert means["cache_read"] == pytest.approx(work.cache_hit_rate * whole, rel=1e-6, abs=1e-6)
    assert work.cells()[1].sum() == pytest.approx(1)


def test_a_sample_has_the_means_and_shares_of_its_workload():
    work = tl.Workload(
        requests_per_day=1,
        input_tokens=1000,
        output_tokens=200,
        input_spread=0.5,
        turns=3,
        cache_hit_rate=0.4,
        cache_ttl="long",
        batch_share=0.3,
        reasoning_share=0.5,
        task_mix={"faq_answering": 0.25, "summarisation": 0.75},
    )
    table = work.requests(60_000, seed=3)
    means = table.mean(numeric_only=True)
    assert means["cache_read_tokens"] + means["cache_write_long_tokens"] == pytest.approx(
        1000 * 2 + 200, rel=0.01
    )
    assert means["cache_read_tokens"] / (1000 * 2 + 200) == pytest.approx(0.4, rel=0.01)
    assert means["output_tokens"] == 400
    assert means["reasoning_tokens"] == 200
    assert means["batch"] == pytest.approx(0.3, abs=0.01)
    assert (table["task"] == "summarisation").mean() == pytest.approx(0.75, abs=0.01)
    assert set(table["source"]) == {"simulated"}
    tl.price(
        table.drop(columns="cache_write_long_tokens").assign(model_id="gpt-4o"),
        tl.load_prices("maintained"),
    )


def test_the_same_seed_gives_the_same_requests():
    work = tl.Workload(requests_per_day=1, input_spread=1)
    pd.testing.assert_frame_equal(work.requests(50, seed=1), work.requests(50, seed=1))
    assert not work.requests(50, seed=1).equals(work.requests(50, seed=2))


def test_a_conversation_resends_its_history():
    table = tl.Workload(requests_per_day=1, input_tokens=100, output_tokens=40, turns=3).requests(
        3, seed=0
    )
    assert table["uncached_input_tokens"].tolist() == [100, 240, 380]


def test_a_table_keeps_its_rows():
    table = pd.DataFrame(
        {"uncached_input_tokens": [100, 300], "output_tokens": [10, 30], "source": "recorded"}
    )
    work = tl.Workload(requests_per_day=5, table=table, cache_hit_rate=0.5)
    assert work.mean_tokens() == {"uncached_input": 100, "output": 20, "cache_read": 100}
    assert set(work.requests(100, seed=0)["source"]) == {"recorded"}
    with pytest.raises(ValueError, match="cache_hit_rate and the table contradict"):
        tl.Workload(
            requests_per_day=5, table=table.assign(cache_read_tokens=[1, 0]), cache_hit_rate=0.5
        )
    with pytest.raises(ValueError, match="turns and a table contradict"):
        tl.Workload(requests_per_day=5, table=table, turns=2)
    with pytest.raises(ValueError, match="has no rows"):
        tl.Workload(requests_per_day=5, table=table.iloc[:0])


def test_a_task_mix_weights_the_recorded_tasks_and_keeps_their_names():
    """Three short questions and one contract, sent half and half: (100 + 900) / 2 input tokens, not 300."""
    table = pd.DataFrame(
        {
            "uncached_input_tokens": [100, 100, 100, 900],
            "output_tokens": 10,
            "task": [*["faq"] * 3, "contract"],
        }
    )
    work = tl.Workload(requests_per_day=5, table=table, task_mix={"faq": 0.5, "contract": 0.5})
    assert tl.Workload(requests_per_day=5, table=table).mean_tokens()["uncached_input"] == 300
    assert work.mean_tokens()["uncached_input"] == pytest.approx(500)
    drawn = work.requests(4_000, seed=0)
    assert (drawn["task"] == "contract").mean() == pytest.approx(
        0.5, abs=0.03
    )  # four standard errors
    assert set(drawn.loc[drawn["task"] == "contract", "uncached_input_tokens"]) == {900}
    none = tl.Workload(requests_per_day=5, table=table, task_mix={"faq": 1, "contract": 0})
    assert none.mean_tokens()["uncached_input"] == pytest.approx(100)
    with pytest.raises(ValueError, match="task_mix: unknown task 'fqa'; did you mean 'faq'"):
        tl.Workload(requests_per_day=5, table=table, task_mix={"fqa": 1})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_share": 1.2}, r"batch_share=1.2; allowed: a number from 0 to 1"),
        ({"reasoning_share": 1.0}, "reasoning_share=1.0"),
        ({"input_tokens": -1}, r"input_tokens=-1; allowed: a number from 0 up"),
        ({"output_tokens": (500, 300)}, "the low end comes first"),
        ({"input_tokens": float("nan")}, "input_tokens=nan"),
        ({"turns": 0}, "turns=0"),
        ({"turns": 1.5}, "turns=1.5"),
        ({"turns": float("nan")}, "turns=nan; allowed: a whole number from 1 up"),
        ({"turns": "3"}, "turns='3'; allowed: a whole number from 1 up"),
        ({"input_tokens": "0.5k"}, r"input_tokens='0\.5k'; allowed: a number from 0 up"),
        ({"cache_ttl": "shorts"}, "did you mean 'short'"),
        ({"task_mix": {"a": 0.5}}, "sum to 0.5"),
        ({"task_mix": {"a": 1.5, "b": -0.5}}, "allowed: shares from 0 up that sum to 1"),
    ],
)
def test_wrong_workloads_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        tl.Workload(requests_per_day=1, **options)


@pytest.mark.parametrize("kind", [object, "category"])
def test_tasks_of_any_kind_are_weighted_and_a_missing_one_is_refused(kind):
    """Tasks a and b with half of the requests each: inputs of 100 and of 300 tokens on average."""
    table = pd.DataFrame(
        {
            "uncached_input_tokens": [100, 200, 400],
            "output_tokens": 10,
            "task": pd.Series(["a", "b", "b"], dtype=kind),
        }
    )
    asked = {"requests_per_day": 1, "task_mix": {"a": 0.5, "b": 0.5}}
    assert tl.Workload(table=table, **asked).mean_tokens()["uncached_input"] == 200
    assert tl.Workload(table=table, **asked | {"task_mix": {"a": 1.0}}).mean_tokens() == {
        "uncached_input": 100.0,
        "output": 10.0,
    }
    table.loc[1, "task"] = None
    with pytest.raises(ValueError, match="a missing task in 1 row; first row 1"):
        tl.Workload(table=table, **asked)


def test_a_misspelt_field_is_refused():
    with pytest.raises(TypeError, match="request_per_day"):
        tl.Workload(request_per_day=1)


def arrivals(*rows):
    """Rows of (second, prefix ids); each block holds 10 tokens and each input is full."""
    table = pd.DataFrame(rows, columns=["second", "prefix_ids"])
    at = pd.Timestamp("2026-01-01") + pd.to_timedelta(table["second"], unit="s")
    return table.assign(at=at, uncached_input_tokens=table["prefix_ids"].map(len) * 10).drop(
        columns="second"
    )


def test_a_block_hits_only_behind_a_prefix_that_hits():
    table = arrivals((0, [1, 2, 3]), (1, [1, 2, 4]), (2, [9, 2]), (3, [1, 2, 3]))
    assert tl.cache_hits(table, block_tokens=10).tolist() == [0, 20, 0, 30]


def test_a_read_refreshes_the_time_to_live():
    table = arrivals((0, [1]), (200, [1]), (400, [1]), (701, [1]))
    assert tl.cache_hits(table, ttl_s=300, block_tokens=10).tolist() == [0, 10, 10, 0]


def test_a_block_lives_to_the_end_of_its_last_second():
    """Each use lies exactly 300 s after the one before, and the last one a second more."""
    table = arrivals((0, [1]), (300, [1]), (600, [1]), (901, [1]))
    assert tl.cache_hits(table, ttl_s=300, block_tokens=10).tolist() == [0, 10, 10, 0]


def test_hits_do_not_depend_on_row_order_and_stay_inside_the_input():
    table = arrivals((5, [1, 2]), (0, [1, 2, 3])).assign(uncached_input_tokens=[15, 30])
    assert tl.cache_hits(table, block_tokens=10).tolist() == [15, 0]
    with pytest.raises(ValueError, match="column 'prefix_ids' is missing"):
        tl.cache_hits(table.drop(columns="prefix_ids"))
    logged = table.assign(output_tokens=9, reasoning_tokens=5)
    assert tl.cache_hits(logged, block_tokens=10).tolist() == [15, 0]


def by_hand(table, ttl):
    """The same simulation, one request and one block at a time."""
    last, hits = {}, []
    for row in table.itertuples():
        prefix = 0
        for place, block in enumerate(row.prefix_ids):
            fresh = block in last and (row.at - last[block]).total_seconds() <= ttl
            prefix += fresh and prefix == place
        last |= dict.fromkeys(row.prefix_ids, row.at)
        hits.append(prefix * 10)
    return hits


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 2000), st.lists(st.integers(0, 5), max_size=5, unique=True)),
        max_size=12,
    ),
    st.integers(1, 900),
)
def test_hits_equal_a_simulation_by_hand_and_grow_with_the_ttl(rows, ttl):
    table = arrivals(*sorted(rows, key=lambda row: row[0]))
    if len(table):
        hits = tl.cache_hits(table, ttl_s=ttl, block_tokens=10)
        assert hits.tolist() == by_hand(table, ttl)
        assert (hits <= tl.cache_hits(table, ttl_s=ttl + 100, block_tokens=10)).all()


CSV = "at,uncached_input_tokens,output_tokens\n2026-01-01T00:00:00Z,500,300\n2026-01-01T00:00:01Z,400,200\n"


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "requests.csv"
    path.write_text(CSV)
    table = tl.load_requests(path)
    assert table["uncached_input_tokens"].tolist() == [500, 400]
    assert set(table["source"]) == {"recorded"}
    table.to_parquet(tmp_path / "requests.parquet")
    pd.testing.assert_frame_equal(tl.load_requests(tmp_path / "requests.parquet"), table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            CSV.replace("output", "ouput"),
            "unknown column 'ouput_tokens'; did you mean 'output_tokens'",
        ),
        (CSV.replace(",output_tokens", ""), "requests.csv: "),
        (CSV.replace("400", "-4"), "row 3, column 'uncached_input_tokens': -4"),
        (CSV.replace("400", "4.5"), "row 3, column 'uncached_input_tokens': 4.5"),
        (
            CSV.replace("400", "many"),
            "not a number in 1 row; first row 3, column 'uncached_input_tokens': 'many'",
        ),
        (CSV.replace("400", ""), "row 3, column 'uncached_input_tokens': nan"),
        (
            CSV.replace("2026-01-01T00:00:01Z", "yesterday"),
            "not an ISO time in 1 row; first row 3, column 'at': 'yesterday'",
        ),
        ("", "cannot be read as a table"),
    ],
)
def test_bad_files_name_file_row_and_column(tmp_path, text, message):
    path = tmp_path / "requests.csv"
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        tl.load_requests(path)
    assert message in str(error.value)
    assert "requests.csv" in str(error.value)


def test_unknown_traces_name_the_nearest():
    with pytest.raises(ValueError, match="unknown trace 'azure_con'; did you mean 'azure_conv'"):
        tl.load_requests("azure_con")


def test_quantile_cells_meet_the_spread_they_promise():
    """Weighted standard deviation over the grid, within the loss of 64 quantiles of a log-normal tail."""
    tokens, weight = tl.Workload(requests_per_day=1, input_tokens=1000, input_spread=0.5).cells()
    mean = tokens["uncached_input"] @ weight
    assert mean == pytest.approx(1000)
    assert np.sqrt(((tokens["uncached_input"] - mean) ** 2) @ weight) / mean == pytest.approx(
        0.5, rel=0.05
    )


@pytest.mark.parametrize(
    "field", ["requests_per_day", "input_tokens", "reasoning_share", "cache_hit_rate"]
)
def test_a_range_without_width_is_its_number(field, maintained):
    value = 0.5 if field.endswith(("share", "rate")) else 400
    usual = {"requests_per_day": 1_000}
    wide, plain = (tl.Workload(**(usual | {field: given})) for given in ((value, value), value))
    assert wide.point() == plain and wide.corners() == [plain]
    pd.testing.assert_frame_equal(tl.daily_cost(wide, maintained), tl.daily_cost(plain, maintained))


def test_a_row_of_several_requests_has_no_length_of_a_request():
    daily = pd.DataFrame(
        {"uncached_input_tokens": [10**6], "output_tokens": [10**5], "requests": [100]}
    )
    with pytest.raises(
        ValueError,
        match="not a single request: 1 row; a workload needs one row per request",
    ):
        tl.Workload(requests_per_day=100, table=daily)
    assert tl.Workload(requests_per_day=100, table=daily.assign(requests=1)).table is not None
