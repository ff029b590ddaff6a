"""Exact boundaries of a price: days, context steps, windows, sums beside single requests, and the rates of another day."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tierlab.prices.daily import Bought, in_batch, on_model, rates_at, repriced, tiers_of
from tierlab.prices.pricing import PARTS, tariff


def catalogue(rows, **options):
    """A catalogue of one's own: rates of 1 USD per million tokens where nothing else is said."""
    usual = {"model_id": "m", "provider": "acme", "uncached_input": 1.0, "output": 1.0}
    usual |= {"checked_on": "2026-06-01"}
    return tl.load_prices("article", extra=pd.DataFrame([usual | row for row in rows]), **options)


def requests(uncached=0, output=0, model="m", **columns):
    given = {"model_id": model, "uncached_input_tokens": uncached, "output_tokens": output}
    return pd.DataFrame(given | columns, index=range(max(np.size(v) for v in given.values())))


def flags(table, prices, **options):
    return tl.price(table, prices, **options)["flags"].astype(str).tolist()


class TestDays:
    """The day on which something begins belongs to it."""

    @pytest.mark.parametrize(
        ("dates", "day", "flag"),
        [
            ({"launched_on": "2026-06-10"}, "2026-06-09", "before_launch"),
            ({"launched_on": "2026-06-10"}, "2026-06-10", ""),
            ({"retires_on": "2026-06-10"}, "2026-06-09", ""),
            ({"retires_on": "2026-06-10"}, "2026-06-10", "after_retirement"),
            ({"valid_from": "2026-06-10"}, "2026-06-09", "before_first_price"),
            ({"valid_from": "2026-06-10"}, "2026-06-10", ""),
            ({}, "2026-11-28", ""),  # 180 days after the check of 1 June
            ({}, "2026-11-29", "stale_price"),
        ],
    )
    def test_as_of_and_each_rows_own_day_agree(self, dates, day, flag):
        prices = catalogue([dates], as_of=day)
        assert flags(requests(), prices) == [flag]
        if "stale" not in flag:
            rows = requests(at=pd.to_datetime([f"{day} 00:00"]))
            assert flags(rows, catalogue([dates], as_of="2026-06-01"), price_on="at") == [flag]

    def test_a_model_is_stale_where_all_its_rates_in_force_are(self):
        """One of two context steps was looked at again."""
        steps = [{"context_above": 0}, {"context_above": 1000, "checked_on": "2026-11-01"}]
        assert flags(requests(), catalogue(steps, as_of="2026-12-01")) == [""]

    def test_of_two_rates_the_one_that_has_begun_holds(self):
        rows = [{"valid_from": "2026-06-01"}, {"valid_from": "2026-06-10", "uncached_input": 3.0}]
        for day, usd in (("2026-05-31", 1), ("2026-06-09", 1), ("2026-06-10", 3)):
            at = pd.to_datetime([f"{day} 23:59:59"])
            priced = tl.price(requests(10**6, at=at), catalogue(rows), price_on="at")
            assert priced["cost_usd"].tolist() == [usd]


STEPS = [
    {"context_above": 0, "output": 10.0},
    {"context_above": 1000, "uncached_input": 2.0, "output": 20.0},
    {"context_above": 2000, "uncached_input": 4.0, "output": 40.0},
]
CACHED = {"cache_read": 0.1, "cache_write_short": 1.25, "cache_write_long": 2.0}


class TestContext:
    """A step and a window are passed by one token more."""

    @pytest.mark.parametrize(
        "bucket",
        ["uncached_input", "cache_read", "cache_write_short", "cache_write_long"],
    )
    @pytest.mark.parametrize(("length", "rate"), [(1000, 10), (1001, 20), (2000, 20), (2001, 40)])
    def test_tokens_of_every_input_bucket_count_for_the_step(self, bucket, length, rate):
        prices = catalogue([step | CACHED for step in STEPS])
        row = requests(output=1).assign(**{f"{bucket}_tokens": length})
        assert tl.price(row, prices)["output_usd"].tolist() == pytest.approx([rate / 1e6])
        one = tariff(prices, "m")
        with_output = one.cost({f"{bucket}_tokens": length, "output_tokens": 1})
        assert with_output - one.cost({f"{bucket}_tokens": length}) == pytest.approx(rate / 1e6)

    def test_a_sum_fits_every_window_and_a_request_beside_it_does_not(self):
        prices = catalogue([{"context_window": 1000}])
        rows = requests([1000, 1001, 10_000], requests=[1, 1, 10])
        assert flags(rows, prices) == ["", "over_window", ""]

    def test_each_model_has_its_own_window(self):
        prices = catalogue([{"context_window": 1000}, {"model_id": "n", "context_window": 5000}])
        rows = requests([1001, 1001, 1000, 5000], model=["m", "n", "m", "n"])
        assert flags(rows, prices) == ["over_window", "", "", ""]

    def test_only_a_sum_whose_rate_depends_on_its_length_lacks_a_band(self):
        prices = catalogue([*STEPS, {"model_id": "flat"}])
        rows = requests([5000] * 4, model=["m", "flat", "m", "m"], requests=[2, 2, 1, 2])
        rows["context_above"] = [np.nan, np.nan, np.nan, 1000]
        assert flags(rows, prices) == ["aggregate_without_band", "", "", ""]
        usd = tl.price(rows, prices)["cost_usd"] * 1e6 / 5000
        assert usd.tolist() == pytest.approx([1, 1, 4, 2])

    @pytest.mark.parametrize(
        ("above", "flag"),
        [
            ({"uncached_input": 2.0, "batch_uncached_input": 0.5}, "unstepped_batch_rate"),
            ({"uncached_input": 0.9, "batch_uncached_input": 0.5}, "unstepped_batch_rate"),
            ({"uncached_input": 2.0, "batch_uncached_input": 1.0}, ""),
            ({"uncached_input": 1.0, "batch_uncached_input": 0.5}, ""),
        ],
    )
    def test_a_batch_rate_that_stays_where_the_other_steps_is_said(self, above, flag):
        batch = {"batch_uncached_input": 0.5, "batch_output": 0.5}
        prices = catalogue([batch, {"context_above": 1000} | batch | above])
        rows = requests([1000, 1001, 1001], batch=[True, True, False])
        assert flags(rows, prices) == ["", flag, ""]

    def test_a_cheaper_batch_rate_of_a_later_day_is_no_step(self):
        batch = {"batch_uncached_input": 0.5, "batch_output": 0.5}
        later = {"valid_from": "2026-06-10", "uncached_input": 2.0}
        prices = catalogue([batch, later | batch], as_of="2026-07-01")
        assert flags(requests(10, batch=True), prices) == [""]


class TestRows:
    """What one row says is for that row."""

    def test_a_batch_is_told_by_its_column_or_by_the_tier(self, maintained):
        rows = requests([10**6] * 4, model="claude-haiku-4-5", batch=[True, False, True, False])
        rows["service_tier"] = ["batch", "batch", "standard", "standard"]
        assert tl.price(rows, maintained)["cost_usd"].tolist() == pytest.approx([0.5, 0.5, 0.5, 1])

    def test_residency_multiplies_every_bucket(self):
        row = requests(10**6, 10**6, region="us", cache_read_tokens=10**6)
        row = row.assign(cache_write_short_tokens=10**6, cache_write_long_tokens=10**6)
        priced = tl.price(row, catalogue([CACHED]), residency={"us": 2.0})
        assert priced.iloc[0, :5].tolist() == pytest.approx([2, 0.2, 2 * 3.25, 2, 10.7])

    def test_one_written_token_is_a_write_at_an_assumed_rate(self):
        prices = catalogue([CACHED | {"write_assumed": "true"}])
        rows = requests([1, 1], cache_write_short_tokens=[0, 1])
        assert flags(rows, prices) == ["", "assumed_write_rate"]

    def test_every_pair_of_seller_and_tier_is_an_offer_of_its_own(self, maintained):
        """GPT-5.5: 5 USD per million, 2.5 times at priority; what is sold at Azure lists the same."""
        pairs = [("openai", "standard"), ("openai", "priority"), (None, "priority"), (None, None)]
        rows = requests([10**5] * 4, model="gpt-5.5")
        rows["platform"], rows["service_tier"] = zip(*pairs, strict=True)
        alone = [tl.price(rows.iloc[[n]], maintained)["cost_usd"].iloc[0] for n in range(4)]
        assert alone == pytest.approx([0.5, 1.25, 1.25, 0.5])
        assert tl.price(rows, maintained)["cost_usd"].tolist() == pytest.approx(alone)

    def test_a_tier_that_only_the_first_value_names_is_told(self, maintained):
        """Codes begin with 0: a log that names one tier names one."""
        rows = requests([10**5] * 2, model="gpt-5.5", service_tier=["priority", None])
        assert tl.price(rows, maintained)["cost_usd"].tolist() == pytest.approx([1.25, 0.5])

    def test_peak_hours_are_those_of_the_standard_rate(self, maintained):
        """DeepSeek has no flex tier: the rate is assumed, and its hours are not asked."""
        rows = requests([10**5] * 2, model="deepseek-v4-pro", service_tier=["flex", "standard"])
        assert flags(rows, maintained) == ["assumed_service_tier", "assumed_peak_hours"]


class TestSellers:
    def test_the_first_rate_of_another_seller_is_its_own(self):
        """It stands right behind those of the makers."""
        rows = [{}, {"platform": "elsewhere", "uncached_input": 3.0}]
        prices = catalogue(rows, aliases={"ours": {"model": "m", "platform": "elsewhere"}})
        assert tl.price(requests(10**6, model="ours"), prices)["cost_usd"].tolist() == [3]
        assert tariff(prices, "ours").cost({"uncached_input_tokens": 10**6}) == pytest.approx(3)
        assert tariff(prices, "m").cost({"uncached_input_tokens": 10**6}) == pytest.approx(1)


class TestTariff:
    """One request at a time, and the machine's time beside it."""

    def test_each_bucket_and_the_seconds(self):
        """1 + 0.1 + 1.25 + 2 + 10 USD for a million of each, and half an hour at 3 USD."""
        prices = catalogue([CACHED | {"output": 10.0}])
        one = tariff(prices, "m", usd_per_hour=3.0)
        tokens = dict.fromkeys((*(f"{b}_tokens" for b in tl.BUCKETS),), 10**6)
        assert one.cost(tokens) == pytest.approx(14.35)
        assert one.cost(tokens, seconds=1800) == pytest.approx(14.35 + 1.5)
        assert one.flags == ""
        # the dearest input bucket is the long write
        assert one.most(10**6, 10**6) == pytest.approx(2 + 10)
        assert one.most(10**6, 10**6, seconds=1800) == pytest.approx(2 + 10 + 1.5)

    def test_batch_rates_steps_and_a_sellers_factor(self, maintained):
        batch = {"batch_uncached_input": 0.5, "batch_output": 5.0}
        one = tariff(catalogue([batch]), "m", batch=True)
        tokens = {"uncached_input_tokens": 10**6, "output_tokens": 10**6}
        assert one.cost(tokens) == pytest.approx(5.5)
        for known in ("batch_output", "batch_uncached_input"):
            with pytest.raises(ValueError, match="has no batch rate on"):
                tariff(catalogue([{known: 5.0}]), "m", batch=True)
        # Haiku 4.5: 1 / 5 USD, and by rule a tenth more in a region of Vertex AI
        dear = tariff(maintained, "locations/us-east5/publishers/anthropic/models/claude-haiku-4-5")
        assert dear.cost(tokens) == pytest.approx(1.1 * 6) and dear.flags == "assumed_premium"

    def test_a_price_of_ones_own(self, maintained):
        own = tariff(maintained, "mine", usd_per_mtok=(2.0, 0.0), usd_per_hour=0.0)
        tokens = dict.fromkeys((*(f"{b}_tokens" for b in tl.BUCKETS),), 10**6)
        assert own.cost(tokens) == pytest.approx(4 * 2.0) and own.flags == "given_price"
        assert own.most(10**6, 10**6) == pytest.approx(2.0)
        hours = tariff(maintained, "mine", usd_per_mtok=(0, 0), usd_per_hour=7.2)
        assert hours.cost(tokens, seconds=5) == pytest.approx(0.01)
        for wrong in ((1.0, -0.1), (np.nan, 1.0), (1.0, np.inf), (1.0, 1.0, 1.0)):
            with pytest.raises(ValueError, match="usd_per_mtok of 'mine'"):
                tariff(maintained, "mine", usd_per_mtok=wrong)
        with pytest.raises(ValueError, match="usd_per_hour of 'mine' is -1"):
            tariff(maintained, "mine", usd_per_mtok=(0, 0), usd_per_hour=-1)

    @pytest.mark.parametrize("ratio", [0, -1, np.inf, np.nan])
    def test_a_ratio_of_tokens_is_a_number_above_0(self, ratio):
        with pytest.raises(ValueError, match="a ratio is a number above 0"):
            tl.reprice(requests(1), catalogue([{}]), ["m"], token_ratio={"m": ratio})


def days(model="m", day="2026-06-15", **tokens):
    """Rows of sums by day, as a cube has them, with nothing paid."""
    table = pd.DataFrame({"day": pd.to_datetime(np.atleast_1d(day))}).assign(model_id=model)
    for bucket in tl.BUCKETS:
        table[f"{bucket}_tokens"] = tokens.get(bucket, 0)
    return table.assign(**dict.fromkeys(PARTS, 0.0))


class TestOtherRates:
    """Sums at the rates of another day, another model, or the batch endpoint."""

    rows = (
        CACHED | {"valid_from": "2026-06-10", "output": 10.0, "batch_uncached_input": 0.5},
        CACHED | {"valid_from": "2026-06-20", "output": 10.0, "uncached_input": 3.0},
        CACHED | {"valid_from": "2026-06-20", "uncached_input": 9.0, "context_above": 1000},
    )

    def test_a_rate_holds_from_its_day_on_and_the_first_before_it(self):
        """The rates below the step of 1,000 tokens."""
        when = pd.to_datetime(["2026-06-09", "2026-06-10", "2026-06-19", "2026-06-20"])
        rates = rates_at(catalogue(self.rows), ["m"] * 4, when)
        assert (rates[:, 0] * 1e6).tolist() == pytest.approx([1, 1, 1, 3])
        assert (rates[0] * 1e6).tolist() == pytest.approx([1, 0.1, 1.25, 2, 10])
        batch = rates_at(catalogue(self.rows), ["m"] * 4, when, batch=[True, False, True, True])
        assert (batch[:3, 0] * 1e6).tolist() == pytest.approx([0.5, 1, 0.5])
        assert np.isnan(batch[3, 0])

    def test_a_sellers_factor_is_on_every_rate_of_its_rows_alone(self, maintained):
        """Haiku 4.5 lists 1 / 5 at Anthropic."""
        plain = Bought("claude-haiku-4-5", "anthropic", "", "standard")
        names = [plain, plain._replace(factor=1.1), "claude-haiku-4-5"]
        rates = rates_at(maintained, names, "2026-11-23") * 1e6
        assert rates[:, [0, 4]].tolist() == [pytest.approx(r) for r in ([1, 5], [1.1, 5.5], [1, 5])]

    def test_what_was_paid_above_the_base_rate_stays_a_ratio(self):
        """A million tokens of each bucket; the input was paid twice, writes at 3 instead of 3.25."""
        daily = days(**dict.fromkeys(tl.BUCKETS, 10**6)).assign(
            uncached_input_usd=2.0, cache_read_usd=0.1, cache_write_usd=3.0, output_usd=10.0
        )
        prices = catalogue(self.rows)
        later = repriced(daily, prices, "2026-06-20")
        assert later.tolist() == pytest.approx([2 * 3 + 0.1 + 3.0 + 10])
        assert repriced(daily.assign(other_usd=0.5), prices, "2026-06-20").tolist() == (
            pytest.approx([19.6])
        )
        assert repriced(daily[:0], prices, "2026-06-20").tolist() == []

    def test_a_bucket_without_tokens_needs_no_rate(self):
        """No batch rate but that of input is known, and only input was bought."""
        daily = days(uncached_input=10**6).assign(uncached_input_usd=1.0)
        prices = catalogue(self.rows)
        assert repriced(daily, prices, "2026-06-15", batch=True).tolist() == [0.5]
        assert repriced(daily, prices, "2026-06-15").tolist() == [1.0]
        own = daily.assign(batch=True, uncached_input_usd=0.5)
        assert repriced(own, prices, "2026-06-15").tolist() == [0.5]
        assert repriced(own, prices, "2026-06-15", batch=False).tolist() == [1.0]
        assert np.isnan(repriced(days(output=10), prices, "2026-06-15", batch=True)).all()

    def test_a_bucket_that_was_free_costs_what_the_other_day_asks(self):
        daily = days(uncached_input=10**6)  # paid 0 at a base rate of 0
        free = [{"valid_from": "2026-06-10", "uncached_input": 0.0}, {"valid_from": "2026-06-20"}]
        assert repriced(daily, catalogue(free), "2026-06-20").tolist() == [1.0]

    def test_rates_ahead_are_those_of_the_other_catalogue(self):
        daily = days(uncached_input=10**6).assign(uncached_input_usd=2.0)
        ahead = catalogue([{"uncached_input": 5.0}])
        assert repriced(daily, catalogue(self.rows), "2026-06-15", ahead=ahead).tolist() == [10.0]

    def test_another_model_bills_a_batch_at_its_own_batch_rate(self):
        prices = catalogue([*self.rows, {"model_id": "n", "batch_uncached_input": 0.7}])
        daily = pd.concat([days(uncached_input=10**6)] * 3, ignore_index=True)
        daily["batch"] = pd.array([True, False, None], "boolean")
        assert in_batch(daily).tolist() == [True, False, False]
        assert on_model(daily, prices, "n", "2026-06-15").tolist() == pytest.approx([0.7, 1, 1])

    def test_a_tier_is_that_of_the_lineup_of_the_day(self, maintained):
        """GPT-5.5 is the flagship of June and Astra that of November; o3 reasons, and Claude 2 was in none."""
        dates = sorted(maintained.lineups["as_of"].unique())
        first, last = pd.Timestamp(dates[0]), pd.Timestamp(dates[-1])
        names = ["gpt-5.5", "gpt-6-astra", "o3", "claude-2"]
        for day in (first - pd.Timedelta(days=9), first, last):
            labels = tiers_of(maintained, names, [day] * 4)
            assert labels.tolist() == ["flagship", "flagship", "reasoning", "other models"]


class TestMovingTier:
    """A model that moves from one tier to another."""

    def test_the_day_of_a_lineup_belongs_to_it(self, maintained):
        june, november = pd.Timestamp("2026-06-12"), pd.Timestamp("2026-11-23")
        lineups = pd.DataFrame(
            {
                "as_of": [june, november],
                "provider": "openai",
                "tier": ["small", "flagship"],
                "model_id": "gpt-4o",
                "reasoning_model": False,
            }
        )
        prices = replace(maintained, lineups=lineups)
        day = pd.Timedelta(days=1)
        when = [june - day, june, november - day, november, november + day]
        labels = tiers_of(prices, ["gpt-4o"] * 5, when)
        assert labels.tolist() == ["small", "small", "small", "flagship", "flagship"]


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (["m", "m", None], "a missing model in 1 row; first row 2, column 'model_id'"),
        (["m", None, None], "a missing model in 2 rows; first row 1, column 'model_id'"),
    ],
)
def test_a_missing_model_is_named_by_its_row(models, said):
    table = requests(uncached=[1, 1, 1], model=models)
    with pytest.raises(ValueError, match=said):
        tl.price(table, catalogue([{}]))


@pytest.mark.parametrize(("suffix", "row"), [("csv", 3), ("parquet", 2)])
def test_a_bad_row_is_counted_as_its_file_shows_it(tmp_path, suffix, row):
    """A text file has a header in line 1; a Parquet table begins with row 1."""
    raw = pd.DataFrame({"model_id": ["m", "n"], "provider": "acme", "uncached_input": ["1", "x"]})
    raw = raw.assign(output="1", checked_on="2026-06-01")
    path = tmp_path / f"prices.{suffix}"
    raw.to_csv(path, index=False) if suffix == "csv" else raw.to_parquet(path)
    with pytest.raises(ValueError, match=f"row {row}, column 'uncached_input': 'x' is not"):
        tl.load_prices(path)
