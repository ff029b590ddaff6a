"""Edges of a decision: where two lines cross, a rate of exactly 0, a factor that two models share, a tie to the last bit."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta

import tierlab as tl
from tests.decide.decisions import recommend
from tierlab.decide import match
from tierlab.decide.options import spread
from tierlab.decide.recommend import dollars, flip_of
from tierlab.decide.tasks import common_factor

PAIR = {"models": ["claude-haiku-4-5", "claude-opus-4-8"]}
# 1,000 tokens of input and 200 of output on Haiku 4.5 (1 / 5) and Opus 4.8 (5 / 25): 2 and 10 thousandths of a dollar
LOAD = tl.Workload(requests_per_day=100, input_tokens=1000, output_tokens=200)
PRICES = {"claude-haiku-4-5": 0.002, "claude-opus-4-8": 0.010}


def decide(**asked):
    usual = {"prices": tl.load_prices("article"), "workload": LOAD} | PAIR
    return recommend(**(usual | asked))


class TestSpread:
    def test_each_side_runs_evenly_to_its_end(self):
        """1 to 2 below the middle, 2 to 6 above it; a second range beside it."""
        value, low, high = np.array([2.0, 10.0]), np.array([1.0, 10.0]), np.array([6.0, 20.0])
        table = spread(value, low, high, [0, 0.25, 0.5, 0.75, 1])
        assert table[:, 0].tolist() == [1, 1.5, 2, 4, 6]
        assert table[:, 1].tolist() == [10, 10, 10, 15, 20]


class TestRanges:
    @pytest.mark.parametrize(
        ("given", "ends"),
        [
            (0.2, (0.2, 0.2, 0.2)),
            ((0.1, 0.3), (0.2, 0.1, 0.3)),
            ((0.1, 0.1, 0.5), (0.1, 0.1, 0.5)),
            ((0, 1), (0.5, 0, 1)),
            ((0.5, 0.2, 0.5), (0.5, 0.2, 0.5)),
        ],
    )
    def test_a_number_a_pair_or_a_triple(self, given, ends):
        rates = {"claude-haiku-4-5": given, "claude-opus-4-8": 0.0}
        row = decide(error_cost_usd=1.0, error_rates=rates).table.set_index("model_id")
        found = row.loc["claude-haiku-4-5", ["error_rate", "error_low", "error_high"]].tolist()
        assert found == pytest.approx(list(ends))

    @pytest.mark.parametrize(
        "given", [-0.1, 1.1, (0.3, 0.1), (0.1, 0.2, 0.3), (0.1, 0.0, 0.2, 0.3), np.nan]
    )
    def test_what_is_no_range_of_shares_is_refused(self, given):
        with pytest.raises(ValueError, match=r"allowed: a number.*shares 0-1"):
            decide(error_cost_usd=1.0, error_rates={"small": given, "flagship": 0.0})

    @pytest.mark.parametrize("given", [-1, np.inf, (0, np.inf)])
    def test_a_cost_is_finite_and_from_0_up(self, given):
        with pytest.raises(ValueError, match=r"error_cost_usd = .*from 0 up"):
            decide(error_cost_usd=given, error_rates={"small": 0.1, "flagship": 0.0})

    @pytest.mark.parametrize(("wrong", "examples"), [(0, 1), (1, 1), (0, 20), (20, 20), (3, 20)])
    def test_counts_from_none_to_all_have_jeffreys_interval(self, wrong, examples):
        counts = {"claude-haiku-4-5": (wrong, examples), "claude-opus-4-8": (1, 20)}
        row = decide(error_cost_usd=1.0, error_counts=counts).table.set_index("model_id")
        row = row.loc["claude-haiku-4-5"]
        own = beta(wrong + 0.5, examples - wrong + 0.5)
        assert row["error_rate"] == pytest.approx(own.mean())
        ends = row[["error_low", "error_high"]].tolist()
        assert ends == pytest.approx([own.ppf(0.025), own.ppf(0.975)])

    @pytest.mark.parametrize("counts", [(-1, 20), (21, 20), (0, 0)])
    def test_other_counts_are_refused(self, counts):
        with pytest.raises(ValueError, match="of which 0 to all are wrong"):
            decide(
                error_cost_usd=1.0,
                error_counts={"claude-haiku-4-5": counts, "claude-opus-4-8": (1, 20)},
            )


class TestCommonFactor:
    def test_two_rates_that_move_together_by_a_half(self):
        """One factor and two rates with a correlation of 0.36: 0.6 each, since 0.6 x 0.6 = 0.36."""
        one, two = np.array([1.0, 0, 0]), np.array([0.36, np.sqrt(1 - 0.36**2), 0])
        assert common_factor(np.column_stack([one, two])).tolist() == pytest.approx(
            [0.6, 0.6], abs=1e-6
        )
        # and of any size
        assert common_factor(np.column_stack([9 * one, two / 9])).tolist() == pytest.approx(
            [0.6, 0.6], abs=1e-6
        )

    def test_three_rates_of_known_loadings(self):
        """Loadings 0.9, 0.8 and -0.5 make correlations of 0.72, -0.45 and -0.40."""
        loading = np.array([0.9, 0.8, -0.5])
        together = np.outer(loading, loading)
        np.fill_diagonal(together, 1.0)
        influence = np.linalg.cholesky(together).T
        assert common_factor(influence).tolist() == pytest.approx(loading.tolist(), abs=0.01)
        assert common_factor(-influence)[0] > 0

    def test_a_rate_without_spread_or_company_has_none(self):
        one, none = np.array([1.0, -1.0]), np.zeros(2)
        assert common_factor(np.column_stack([one, none])).tolist() == [0, 0]
        assert common_factor(np.column_stack([one, np.array([1.0, 1.0])])).tolist() == [0, 0]


class TestCrossings:
    def test_the_nearest_on_each_side_count(self):
        """From 10 the first line rises by 2; 4 + 5v, 7 + 3v, 14 + v and 20 + 0v cross it at 2, 3, 4 and 5."""
        base, slope = np.array([10.0, 4, 7, 14, 20]), np.array([2.0, 5, 3, 1, 0])
        flip = flip_of("x", "USD", 3.5, base, slope, ["own", "a", "b", "c", "d"])
        assert (flip["below"], flip["below_to"]) == (3.0, "b")
        assert (flip["above"], flip["above_to"]) == (4.0, "c")
        assert flip["note"] == ""

    def test_parallel_lines_and_crossings_at_or_below_0_never_flip(self):
        base, slope = np.array([1.0, 2, 1, 0.5]), np.array([2.0, 2, 1, 1])
        flip = flip_of("x", "USD", 1.0, base, slope, ["own", "a", "b", "c"])
        assert flip["below_to"] == flip["above_to"] == "" and np.isnan(flip["below"])

    @pytest.mark.parametrize(("unit", "to"), [("share", ""), ("USD", "a"), ("times", "a")])
    def test_a_share_ends_before_1(self, unit, to):
        """2 + v against 3 cross at exactly 1."""
        flip = flip_of("x", unit, 0.5, np.array([2.0, 3.0]), np.array([1.0, 0.0]), ["own", "a"])
        assert flip["above_to"] == to
        below = flip_of("x", "share", 0.5, np.array([2.0, 2.99]), np.array([1.0, 0.0]), ["o", "a"])
        assert below["above"] == pytest.approx(0.99)

    def test_a_crossing_at_zero_is_none(self):
        """1.1 - 0.2 and 0.9 are the same amount; as floating-point numbers the first is the larger by a little."""
        base, slope = np.array([1.1 - 0.2, 0.9]), np.array([0.0, 0.2])
        assert base[0] > base[1]
        flip = flip_of("price", "times", 1.0, base, slope, ["own", "a"])
        assert not flip["below_to"] and np.isnan(flip["below"])

    def test_what_is_not_known_of_one_is_not_known(self):
        flip = flip_of("x", "USD", 1.0, np.array([1.0, np.nan]), np.array([1.0, 1.0]), ["own", "a"])
        assert flip["note"] == "not known for every candidate" and flip["above_to"] == ""

    def test_the_rates_and_prices_at_which_a_choice_turns(self):
        """Haiku 0.002 + 0.10 x 0.1 = 0.012, Opus 0.010 + 0.05 x 0.1 = 0.015: 3 thousandths between them."""
        found = decide(error_cost_usd=0.1, error_rates={"small": 0.10, "flagship": 0.05})
        flips = found.flips.set_index("what")
        assert flips.loc["price of claude-haiku-4-5", "above"] == pytest.approx(1 + 3 / 2)
        assert flips.loc["price of claude-opus-4-8", "below"] == pytest.approx(1 - 3 / 10)
        assert flips.loc["error rate of claude-haiku-4-5", "above"] == pytest.approx(0.13)
        assert flips.loc["error rate of claude-opus-4-8", "below"] == pytest.approx(0.02)
        assert flips.loc["cost of an error", "above"] == pytest.approx(0.008 / 0.05)

    def test_a_second_is_worth_more_where_less_is_in_batch(self):
        """Haiku answers in 4 s and Opus in 2, at 3 thousandths more; a quarter of the requests in batch."""
        seconds = {"small": 4.0, "flagship": 2.0}
        asked = {"error_cost_usd": 0.1, "seconds": seconds, "second_usd": 0.001}
        found = decide(**asked, error_rates={"small": 0.10, "flagship": 0.05})
        assert found.table["time_usd"].tolist() == pytest.approx([0.004, 0.002])
        assert found.flips.set_index("what").loc["value of a second", "above"] == (
            pytest.approx(0.003 / 2)
        )
        batch = decide(
            error_cost_usd=0.1,
            second_usd=0.001,
            seconds={"claude-haiku-4-5": 4.0, "claude-opus-4-5": 2.0},
            error_rates={"claude-haiku-4-5": 0.10, "claude-opus-4-5": 0.05},
            models=["claude-haiku-4-5", "claude-opus-4-5"],
            prices=tl.load_prices("maintained"),
            workload=replace(LOAD, batch_share=0.25),
        )
        time = batch.table.set_index("model_id")["time_usd"]
        assert time.to_dict() == pytest.approx(
            {"claude-haiku-4-5": 0.75 * 0.004, "claude-opus-4-5": 0.75 * 0.002}
        )


class TestDollars:
    def test_a_day_a_year_and_what_is_saved(self):
        """12 and 15 thousandths a request, 100 requests a day."""
        found = decide(error_cost_usd=0.1, error_rates={"small": 0.10, "flagship": 0.05})
        table = dollars(found.table, 100, "claude-haiku-4-5").set_index("model_id")
        assert table["usd_a_day"].to_dict() == pytest.approx(
            {"claude-haiku-4-5": 1.2, "claude-opus-4-8": 1.5}
        )
        assert table["usd_a_year"].tolist() == pytest.approx([438, 547.5])
        assert table["saved_a_year"].tolist() == pytest.approx([0, 109.5])

    def test_an_error_that_costs_nothing_leaves_the_price(self):
        found = decide(error_cost_usd=0.0, error_rates={"small": 0.10, "flagship": 0.05})
        own = found.table.set_index("model_id")["expected_usd"]
        assert own.to_dict() == pytest.approx(PRICES)

    def test_the_band_of_a_known_total_is_the_total(self):
        found = decide(error_cost_usd=0.1, error_rates={"small": 0.10, "flagship": 0.05})
        table = found.table
        assert table["low"].tolist() == pytest.approx(table["expected_usd"].tolist())
        assert table["high"].tolist() == pytest.approx(table["expected_usd"].tolist())
        assert table["best_share"].tolist() == [1, 0]

    def test_the_band_of_a_range_is_that_of_its_middle_nine_tenths(self):
        """A rate from 0.1 over 0.2 to 0.6: a twentieth lies below 0.11 and a twentieth above 0.56."""
        rates = {"small": (0.2, 0.1, 0.6), "flagship": 0.5}
        row = decide(error_cost_usd=1.0, error_rates=rates).table.iloc[0]
        assert row["model_id"] == "claude-haiku-4-5"
        assert row[["low", "high"]].tolist() == pytest.approx([0.112, 0.562], abs=0.015)


class TestMatch:
    def two_providers(self):
        """p: 2, 6 and 10 thousandths with 12, 7 and 5 wrong of 100; q: one model; one row is out of the running."""
        price, rate = np.array([2, 6, 10, 3, 1]) / 1000, np.array([12, 7, 5, 9, 1]) / 100
        return pd.DataFrame(
            {
                "provider": list("pppqp"),
                "tier": [*tl.TIERS, "small", "small"],
                "model_id": list("abcxz"),
                "error_rate": rate,
                "error_usd": 0.1 * rate,
                "expected_usd": np.where(price == 0.001, np.nan, price + 0.1 * rate),
            }
        )

    def test_each_provider_has_ranges_of_its_own_from_0_on(self):
        ranges = match.cheapest_ranges(self.two_providers())
        assert ranges["model_id"].tolist() == ["a", "b", "c", "x"]
        assert ranges["from_usd"].tolist() == pytest.approx([0, 0.08, 0.20, 0])
        assert ranges["to_usd"].tolist() == pytest.approx([0.08, 0.20, np.inf, np.inf])

    def test_extra_costs_are_those_of_a_day_against_the_own_provider(self):
        """At 10 cents an error: 14, 13 and 15 thousandths a request; a thousand requests a day."""
        lines = match.extra_costs(self.two_providers(), now=0.1, requests_per_day=1000)
        at = lines[np.isclose(lines["error_cost_usd"], 0.1)].set_index("model_id")["extra_usd"]
        assert at.to_dict() == pytest.approx({"a": 1.0, "b": 0.0, "c": 2.0, "x": 0.0})
        assert lines["error_cost_usd"].max() == pytest.approx(1.5 * 0.20)
        late = match.extra_costs(self.two_providers(), now=4.0)
        assert late["error_cost_usd"].max() == pytest.approx(6.0)
        top = late[late["error_cost_usd"] == late["error_cost_usd"].max()].set_index("model_id")
        # at 6 USD: 2 + 720, 6 + 420 and 10 + 300 thousandths
        assert top["extra_usd"].to_dict() == pytest.approx({"a": 0.412, "b": 0.116, "c": 0, "x": 0})

    def test_equal_models_share_no_crossing(self):
        same = self.two_providers().iloc[[0, 0]].reset_index(drop=True)
        ranges = match.cheapest_ranges(same)
        assert len(ranges) == 1 and ranges.loc[0, ["from_usd", "to_usd"]].tolist() == [0, np.inf]

    def test_settling_needs_the_gap_in_price_over_the_cost_of_an_error(self):
        """Haiku leads if Opus errs less by under 8 cents' worth: needed is (0.002 - 0.010) / 0.1 = -8 points, lead -5."""
        found = decide(error_cost_usd=0.1, error_rates={"small": 0.10, "flagship": 0.05})
        row = match.settling(found).iloc[0]
        assert row["needed"] == pytest.approx(-0.08) and row["lead"] == pytest.approx(-0.05)
        assert row["distance"] == pytest.approx(0.03)
        # one is wrong where the other is not: 0.10 x 0.95 + 0.05 x 0.90
        assert row["sd"] == pytest.approx(np.sqrt(0.14 - 0.0025))
        assert row["behind_usd"] == pytest.approx(0.3)
        assert row["examples"] == tl.paired_sample_size(0.03, sd=np.sqrt(0.1375))


class TestWords:
    """What is said beside the numbers follows from them."""

    def advice(self, rates, stakes, complexity, **asked):
        asked |= {"stakes": stakes, "complexity": complexity, "error_cost_usd": 0.1}
        return str(decide(error_rates=rates, **asked))

    def test_the_articles_rule_is_named_where_the_numbers_say_otherwise(self):
        """Low and simple is small, high and complex is flagship, all between is mid: of which there is none here."""
        small, flagship = {"small": 0.1, "flagship": 0.09}, {"small": 0.5, "flagship": 0.01}
        says = "here the numbers say otherwise"
        assert says not in self.advice(small, 1, 1) and says not in self.advice(flagship, 3, 3)
        assert says in self.advice(small, 3, 3) and says in self.advice(flagship, 1, 1)
        assert says not in self.advice(small, 1, 3)
        assert says not in self.advice(small, 3, 3, models=["claude-haiku-4-5"])

    def test_examples_are_few_where_there_are_some(self):
        asked = {"task": "customer_support", "models": None, "provider": "anthropic"}
        assumed = decide(**asked, error_cost_usd=0.5)
        assert assumed.step == 4 and "its error rate is assumed" in assumed.next_step
        counts = {"claude-sonnet-4-6": (2, 20)}
        counted = decide(**asked, error_cost_usd=0.5, error_counts=counts)
        assert counted.step == 4 and "only 20 examples so far" in counted.next_step

    def test_one_example_in_common_counts_as_one(self):
        """Haiku and Sonnet answered four examples, Opus one of them."""
        names = ["claude-haiku-4-5", "claude-sonnet-4-6", "claude-opus-4-8"]
        rows = [(name, n) for name in names for n in range(1 if name == names[2] else 4)]
        samples = pd.DataFrame(rows, columns=["model_id", "prompt_id"])
        samples = samples.assign(score=(samples["prompt_id"] > 0) * 1.0, cost_usd=0.001)
        found = decide(models=names, error_cost_usd=0.1, samples=samples, workload=None)
        assert found.counted == dict(zip(names, (4, 4, 1), strict=True))
        assert found.table.set_index("model_id")["examples"].to_dict() == found.counted

    @pytest.mark.parametrize("order", [[0, 1, 2], [1, 0, 2], [2, 0, 1], [0, 2, 1], [2, 1, 0]])
    @pytest.mark.parametrize("signs", [(1, 1, -1), (-1, 1, 1), (-1, -1, 1), (1, 1, 1)])
    def test_the_largest_loading_is_positive(self, order, signs):
        loading = np.array([0.9, 0.8, 0.5]) * signs
        together = np.outer(loading, loading)[np.ix_(order, order)]
        np.fill_diagonal(together, 1.0)
        found = common_factor(np.linalg.cholesky(together).T)
        assert found.tolist() == pytest.approx((loading * signs[0])[order].tolist(), abs=0.01)


def two_models(price, as_of):
    """Models m and n at so many and at 2 USD per million tokens."""
    rows = [("m", price), ("n", 2.0)]
    table = pd.DataFrame(
        [{"model_id": name, "uncached_input": usd, "output": usd} for name, usd in rows]
    )
    return tl.load_prices("article", extra=table.assign(provider="acme"), as_of=as_of)


class TestReview:
    @pytest.mark.parametrize(
        ("price", "stands", "said"),
        [
            (1.5, True, "The decision stands"),
            (1.75, False, "the bill alone would be $0.03 a day higher"),
            (2.0, False, "the bill alone would be the same"),
            (2.25, False, "the bill alone would be $0.03 a day lower"),
        ],
    )
    def test_what_the_bill_alone_would_be(self, tmp_path, price, stands, said):
        """1,200 tokens, errors of 10 and 5% at a cent: n is the better one once m costs more than 1.58 USD a million."""
        rates = {"m": 0.10, "n": 0.05}
        asked = {"models": ["m", "n"], "error_rates": rates, "error_cost_usd": 0.01}
        found = decide(**asked, prices=two_models(1.0, "2026-06-20"))
        assert found.model_id == "m"
        path = tl.file_record(found, tmp_path, title="x", decided_on="2026-06-20")
        again = tl.review(path, prices=two_models(price, "2026-07-20"))
        assert again.stands is stands and said in again.verdict


class TestHints:
    @pytest.mark.parametrize(
        ("asked", "told"),
        [
            ({"models": ["claude-haiku-4-5", "gpt-4o-mini"]}, True),
            ({"models": ["claude-haiku-4-5", "claude-opus-4-8"]}, False),
            ({"models": ["claude-haiku-4-5"]}, False),
            ({"models": ["claude-haiku-4-5", "gpt-4o-mini"], "error_rates": {"small": 0.1}}, False),
        ],
    )
    def test_only_assumed_rates_of_two_providers_leave_price_and_speed_to_decide(self, asked, told):
        found = decide(task="customer_support", error_cost_usd=0.01, **asked)
        assert ("only price and speed decide" in found.reason) is told
