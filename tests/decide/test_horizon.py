"""Advice about the future pays the rates that are in force over its horizon, and names the days on which they change."""

import numpy as np
import pandas as pd
import pytest

import tierlab as tl

TODAY = "2026-11-23"
# One million input tokens: what they cost today, and what they cost from the day on which the price doubles.
PRICES = """\
model_id,provider,tier,uncached_input,output,valid_from,launched_on,checked_on
grand,acme,flagship,1085,0,2026-01-01,2026-01-01,2026-11-23
middling,acme,mid,614,0,2026-01-01,2026-01-01,2026-11-23
middling,acme,mid,1228,0,2026-12-01,2026-01-01,2026-11-23
lofty,bolt,flagship,1084,0,2026-01-01,2026-01-01,2026-11-23
modest,bolt,mid,237,0,2026-01-01,2026-01-01,2026-11-23
modest,bolt,mid,474,0,2027-01-01,2026-01-01,2026-11-23
steady,core,mid,3,0,2026-01-01,2026-01-01,2026-11-23
rising,dune,mid,2,0,2026-01-01,2026-01-01,2026-11-23
rising,dune,mid,6,0,2026-12-01,2026-01-01,2026-11-23
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("prices") / "prices.csv"
    path.write_text(PRICES)
    return path


@pytest.fixture(scope="module")
def prices(file):
    return tl.load_prices(file, as_of=TODAY)


def log(model_id, days=("2026-10-05",), **columns):
    """A million input tokens of a task that the small tier may do."""
    usual = {
        "uncached_input_tokens": 1_000_000,
        "output_tokens": 0,
        "task": "faq_answering",
    } | columns
    return pd.DataFrame({"at": pd.to_datetime(list(days)), "model_id": model_id, **usual})


def analysed(table, prices, quarter="2026Q4"):
    return tl.analyse(tl.build_cube(table, prices), prices, quarter)


class TestRates:
    def test_the_mean_counts_every_day_alike(self, prices):
        """30 November at 614, then two days at 1,228."""
        over = prices.over("2026-11-30", "2026-12-02")
        table = log("middling").drop(columns="at")
        assert tl.price(table, over)["cost_usd"].tolist() == pytest.approx([(614 + 2 * 1228) / 3])
        assert over.as_of == pd.Timestamp("2026-11-30")
        assert (
            prices.in_force("2026-11-30").set_index("model_id").at["middling", "uncached_input"]
            == 614
        ), "left alone"

    def test_what_does_not_change_stays_to_the_last_bit(self, prices, article):
        pd.testing.assert_frame_equal(prices.over(TODAY, "2026-11-30").frame, prices.frame)
        pd.testing.assert_frame_equal(article.over("2026-06-12", "2027-06-11").frame, article.frame)

    @pytest.mark.parametrize("seed", range(4))
    def test_it_is_the_mean_of_pricing_each_day(self, maintained, seed):
        """Random requests, with cache, batch and context steps, on every model whose price changes."""
        rng = np.random.default_rng(seed)
        start, days = (
            pd.Timestamp("2026-06-15") + pd.Timedelta(days=int(rng.integers(0, 200))),
            int(rng.integers(1, 90)),
        )
        end = start + pd.Timedelta(days=days - 1)
        names = (
            maintained.changes("2026-06-15", "2027-06-15")
            .query("kind == 'rate'")["model_id"]
            .unique()
        )
        table = pd.DataFrame(
            {
                "model_id": rng.choice(names, 60),
                "uncached_input_tokens": rng.choice([1000, 250_000], 60),
                "output_tokens": 700,
            }
        )
        each = [
            tl.price(table.assign(at=day), maintained, price_on="at")["cost_usd"]
            for day in pd.date_range(start, end)
        ]
        found = tl.price(table, maintained.over(start, end))["cost_usd"]
        np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-12)

    def test_an_end_before_the_start_is_refused(self, prices):
        with pytest.raises(ValueError, match="the end 2026-11-01 lies before the start 2026-11-23"):
            prices.over(TODAY, "2026-11-01")

    def test_the_changes_are_named_with_their_days(self, prices):
        found = prices.scheduled(["middling", "modest", "grand"], "2026-12-31")
        assert found == {
            "middling": "$1,228 instead of $614 per million input tokens from 2026-12-01"
        }
        assert "from 2027-01-01" in prices.scheduled(["modest"], "2027-01-01")["modest"]


class TestQuarter:
    def test_a_move_to_a_model_whose_price_doubles(self, prices):
        """On 23 November the first whole quarter ahead is 2027Q1: 1,085 - 2 x 614 = -143 and 1,084 - 2 x 237 = 610."""
        q = analysed(pd.concat([log("grand"), log("lofty")]), prices)
        assert q.ahead == "2027Q1"
        assert q.savings[["model_id", "to"]].values.tolist() == [["lofty", "modest"]], (
            "what loses $143 is no saving"
        )
        assert q.savings["usd"].tolist() == pytest.approx([610])
        assert "2027-01-01" in tl.headline(q) and "$610 a quarter" in tl.headline(q)
        assert "2027-01-01" in q.savings["assumes"].iloc[0]

    def test_within_the_quarter_ahead_a_change_counts_from_its_day(self, file):
        """Of the 92 days of 2026Q4 the last 31 are at twice the rate."""
        q = analysed(
            log("grand", ["2026-08-03"]), tl.load_prices(file, as_of="2026-10-01"), "2026Q3"
        )
        assert q.ahead == "2026Q4"
        assert q.savings["usd"].tolist() == pytest.approx([1085 - (61 * 614 + 31 * 1228) / 92])

    def test_a_price_that_rises_under_a_model_in_use_makes_a_move_worth_more(
        self, prices, maintained
    ):
        """gemini-4-argon doubles on 1 December: 4 and 20; gemini-3.8-flash on 1 January: 1.50 and 7.50."""
        table = log("gemini-4-argon", task="faq_answering", output_tokens=100_000)
        q = analysed(table, maintained)
        assert q.savings.set_index("kind").at["move", "usd"] == pytest.approx(
            4 + 0.1 * 20 - 1.5 - 0.1 * 7.5
        )

    def test_the_successor_of_a_model_that_retires(self, tmp_path):
        path = tmp_path / "prices.csv"
        path.write_text(
            "model_id,provider,tier,uncached_input,output,valid_from,launched_on,retires_on,checked_on\n"
            "old,acme,,5,0,2026-01-01,2026-01-01,2027-02-01,2026-11-23\n"
            "middling,acme,mid,6,0,2026-01-01,2026-01-01,,2026-11-23\n"
            "middling,acme,mid,12,0,2027-01-30,2026-01-01,,2026-11-23\n"
        )
        prices = tl.load_prices(path, as_of=TODAY)
        prices.frame.loc[prices.frame["model_id"] == "old", "tier"] = (
            "mid"  # it has left the lineup
        )
        row = analysed(log("old"), prices).retiring.iloc[0]
        assert (row["successor"], row["successor_usd"]) == (
            "middling",
            pytest.approx((29 * 6 + 61 * 12) / 90),
        )
        assert "2027-01-30" in row["scheduled"]

    def test_the_forecast_holds_the_change_from_its_day(self, prices):
        days = pd.date_range("2026-07-01", "2026-11-22")
        q = analysed(log("middling", days), prices)
        usd = q.forecast.days.set_index("day")["usd"]
        assert usd["2026-11-25":"2026-11-30"].tolist() == pytest.approx([614] * 6, rel=1e-3)
        assert usd["2026-12-01":"2026-12-10"].tolist() == pytest.approx([1228] * 10, rel=1e-3)
        assert q.price_changes["on"].max() == pd.Timestamp("2026-12-01")


class TestDecision:
    """From 23 November to the review on 23 May are 182 days: 8 at 2 US dollars per million tokens, 174 at 6."""

    MEAN = (8 * 2 + 174 * 6) / 182

    def recommended(self, prices):
        workload = tl.Workload(requests_per_day=1, input_tokens=1_000_000, output_tokens=1)
        return tl.recommend(
            error_cost_usd=1.0,
            workload=workload,
            prices=prices,
            models=["steady", "rising"],
            evidence=tl.Evidence(seconds={"mid": 1}, error_rates={"steady": 0.01, "rising": 0.01}),
        )

    def test_recommend_pays_the_mean_until_the_review_and_names_the_day(self, prices):
        found = self.recommended(prices)
        assert found.table.set_index("model_id")["price_usd"].to_dict() == pytest.approx(
            {"steady": 3, "rising": self.MEAN}
        )
        assert (
            found.model_id == "steady"
            and "$6.00 instead of $2.00" in found.reason
            and "2026-12-01" in found.reason
        )

    def test_a_price_that_does_not_change_is_not_mentioned(self, file):
        found = self.recommended(tl.load_prices(file, as_of="2026-12-01"))
        assert (
            found.model_id == "steady"
            and "2026-12-01" not in found.reason
            and "mean" not in found.reason
        )

    def test_review_does_the_same(self, prices, tmp_path):
        path = tl.file_record(self.recommended(prices), tmp_path, title="x")
        found = tl.review(path, prices=prices)
        assert found.stands and found.changes.empty
        assert found.table.set_index("model_id").at["rising", "price_usd"] == pytest.approx(
            self.MEAN
        )
        assert any(
            "rising costs $6.00 instead of $2.00" in line and "2026-12-01" in line
            for line in found.grounds
        )
