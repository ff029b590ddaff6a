"""Every kind of dataframe that the kit takes gives the same numbers."""

import pandas as pd
import pytest

import tierlab as tl
from tierlab.core.tables import in_utc, iso_day
from tierlab.routing.policies import Threshold

polars, arrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
duckdb = pytest.importorskip("duckdb")

KINDS = {
    "polars": polars.from_pandas,
    "polars lazy": lambda frame: polars.from_pandas(frame).lazy(),
    "arrow": arrow.Table.from_pandas,
    "duckdb": lambda frame: duckdb.from_df(frame),
}


@pytest.fixture(scope="module")
def prices():
    return tl.load_prices("article")


@pytest.fixture
def requests():
    rows = {
        "model_id": ["claude-opus-4-8", "claude-haiku-4-5", "claude-opus-4-8"],
        "uncached_input_tokens": [500, 700, 900],
        "output_tokens": [300, 20, 1],
        "at": pd.to_datetime(["2026-06-12", "2026-06-13", "2026-06-14"]),
        "batch": [False, False, False],
    }
    return pd.DataFrame(rows)


@pytest.mark.parametrize("kind", KINDS)
class TestKinds:
    def test_price(self, kind, requests, prices):
        expected = tl.price(requests, prices)
        found = tl.price(KINDS[kind](requests), prices)
        assert isinstance(found, pd.DataFrame)
        assert found["cost_usd"].tolist() == expected["cost_usd"].tolist()

    def test_reprice(self, kind, requests, prices):
        models = ["claude-haiku-4-5", "claude-opus-4-8"]
        expected = tl.reprice(requests, prices, models)
        found = tl.reprice(KINDS[kind](requests), prices, models)
        pd.testing.assert_frame_equal(found.reset_index(drop=True), expected.reset_index(drop=True))

    def test_route(self, kind, prices):
        outcomes = tl.simulate_outcomes(200, seed=1, prices=prices)
        policy = Threshold("router_signal", 0.8, ("small", "flagship"))
        expected = tl.route(outcomes, policy)
        plain = outcomes.astype(
            {
                name: str
                for name in outcomes
                if isinstance(outcomes[name].dtype, pd.CategoricalDtype)
            }
        )
        found = tl.route(KINDS[kind](plain), policy)
        assert found["cost_usd"].tolist() == expected["cost_usd"].tolist()
        assert found["model_id"].astype(str).tolist() == expected["model_id"].astype(str).tolist()

    def test_load_requests(self, kind, requests):
        found = tl.load_requests(KINDS[kind](requests))
        assert found["output_tokens"].tolist() == [300, 20, 1]
        assert found["source"].tolist() == ["recorded"] * 3

    def test_load_outcomes(self, kind):
        table = pd.DataFrame({"prompt_id": [1, 1], "model_id": ["a", "b"], "score": [0.0, 1.0]})
        assert tl.load_outcomes(KINDS[kind](table))["score"].tolist() == [0, 1]


@pytest.mark.parametrize("other", [[1, 2], {"model_id": ["x"]}, 7, None, pd.Series([1])])
def test_anything_else_is_refused_by_what_is_allowed(other, prices):
    with pytest.raises(TypeError, match="give a pandas or Polars DataFrame"):
        tl.price(other, prices)


def test_days_and_times_are_read_in_utc():
    """00:30 in Paris is the day before in London."""
    assert iso_day("2026-06-12T00:30+02:00") == pd.Timestamp("2026-06-11")
    table = pd.DataFrame({"at": ["2026-06-12T00:30+02:00", "2026-06-12"]})
    wanted = ["2026-06-11 22:30:00", "2026-06-12 00:00:00"]
    assert in_utc(table).astype(str).tolist() == wanted
    aware = table.assign(at=pd.to_datetime(table["at"], utc=True, format="ISO8601"))
    assert in_utc(aware).astype(str).tolist() == wanted
    with pytest.raises(ValueError, match="not an ISO time in 1 row; first row 1"):
        in_utc(pd.DataFrame({"at": ["2026-06-12", "12.06.2026"]}))
