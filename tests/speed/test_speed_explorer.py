"""The control and the figures of speed: what they show is what the arithmetic says."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tierlab.core.style import TIER_STYLE
from tierlab.speed import latency
from tierlab.speed.control import ROUTERS, LatencyExplorer, LimitExplorer


@pytest.fixture
def explorer(article):
    return LatencyExplorer(article)


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def shown(explorer):
    rows = re.findall(r"<tr>(.*?)</tr>", explorer.text.value, re.DOTALL)
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in rows]
    return {row[0]: [float(cell.replace(",", "")) for cell in row[2:]] for row in cells if row}


def set_to(explorer, **values):
    for name, value in values.items():
        explorer.controls[name].value = value


class TestControl:
    def test_prices_and_waiting_are_the_arithmetic_s(self, explorer):
        set_to(explorer, router="none", hour_usd=36.0)
        rows = shown(explorer)
        # Haiku and Opus: 500 x 1 + 300 x 5 and 500 x 5 + 300 x 25, per million; a cent a second
        assert (rows["small"][3], rows["flagship"][3]) == (2.00, 10.00)
        wait = 1000 * 0.01 * tl.mean_seconds(300, [0.5, 1.2], [137.5, 55])
        assert [rows["small"][4], rows["flagship"][4]] == pytest.approx(wait, abs=0.005)

    def test_the_mix_is_the_weighted_mean_of_its_tiers(self, explorer):
        set_to(explorer, slow_share=0.3)
        rows = shown(explorer)
        expected = 0.7 * np.array(rows["small"]) + 0.3 * np.array(rows["flagship"])
        assert rows["mix"] == pytest.approx(expected, abs=0.011)

    def test_the_router_s_own_call_is_paid_and_waited_for(self, explorer):
        set_to(explorer, router="none", hour_usd=0.0)
        without = shown(explorer)
        set_to(explorer, router="one call of the small model")
        rows = shown(explorer)
        # one more call of Haiku: 500 tokens in, 3 out, 1,000 times
        assert rows["mix"][3] - without["mix"][3] == pytest.approx(
            (500 * 1 + 3 * 5) / 1e6 * 1000, abs=0.011
        )
        assert rows["mix"][0] < without["mix"][0]

    def test_an_unpriced_endpoint_is_said(self, explorer):
        set_to(explorer, router="embedding over the network")
        assert "without the endpoint's price" in explorer.summary

    def test_a_night_has_no_waiting_to_pay(self, explorer):
        set_to(explorer, hour_usd=0.0)
        assert shown(explorer)["mix"][4] == 0 and "nightly batch" in explorer.summary

    def test_every_provider_pair_and_router_is_drawn(self, explorer):
        for name in ("provider", "pair", "router"):
            for option in explorer.controls[name].options:
                before = explorer.image.value
                explorer.controls[name].value = option
                assert (
                    'role="alert"' not in explorer.text.value and len(explorer.image.value) > 1000
                )
                assert (
                    explorer.image.value != before or option == explorer.controls[name].options[0]
                )
        assert set(ROUTERS.values()) == {"small_llm", *tl.speed.speeds.load_routers().index}

    def test_a_longer_limit_keeps_more_and_longer_answers_fewer(self, explorer):
        base = shown(explorer)["mix"][0]
        set_to(explorer, slo_s=8.0)
        assert shown(explorer)["mix"][0] > base
        set_to(explorer, slo_s=6.0, output_tokens=1000)
        assert shown(explorer)["mix"][0] < base

    def test_words_name_models_range_and_basis(self, explorer):
        mix = explorer.table(**explorer.values()).loc["mix"]
        assert "claude-haiku-4-5 and claude-opus-4-8, 80% and 20%" in explorer.summary
        assert (
            f"{mix['share']:.1%} of requests are within 6 s ({mix['low']:.1%} to {mix['high']:.1%}"
            in explorer.summary
        )
        assert "basis: article, assumed" in explorer.summary

    def test_models_are_those_of_the_speeds_whatever_the_lineup(self, maintained):
        explorer = LatencyExplorer(maintained, provider="openai")
        assert "gpt-4o-mini and gpt-5.5" in explorer.summary


class TestFigures:
    def test_published_and_claimed_ranges_stand_beside_each_other(self):
        table = tl.speed.speeds.against_published(
            tl.load_speeds(), tl.speed.speeds.load_published()
        )
        ax = tl.speed.figures.speed_ranges(table)
        lines = {tuple(np.round(line.get_xdata(), 1)) for line in ax.lines}
        assert {
            (240, 390),
            (160.0, 191.9),
            (312.5,),
        } <= lines  # Flash-Lite: assumed range, pages, assumed value
        assert (
            sum("no page" in text.get_text() for text in ax.texts)
            == (table["pages"] == 0).sum()
            == 1
        )

    def test_bars_are_wait_and_writing(self):
        speeds = tl.load_speeds().query("provider == 'google' and tier == 'small'")
        ax = tl.speed.figures.request_seconds(
            latency.seconds_range(speeds, 300).assign(first_token_s=speeds["ttft_s"])
        )
        assert [bar.get_width() for bar in ax.patches] == pytest.approx([0.5, 299 / 312.5])
        assert [bar.get_x() for bar in ax.patches] == [0, 0.5]
        assert ax.patches[0].get_facecolor()[:3] == pytest.approx(
            plt.matplotlib.colors.to_rgb(TIER_STYLE["small"]["color"])
        )

    def test_a_time_line_is_router_wait_and_a_stroke_for_ten_tokens(self):
        """A router of 0.5 s and a wait of 1 s, then 21 tokens at 10 a second: strokes at 1.5, 2.5 and 3.5 s, the last the end."""
        row = {"tier": "mid", "model_id": "a", "router_s": 0.5, "ttft_s": 1.0}
        table = pd.DataFrame([row | {"tokens_per_s": 10.0, "output_tokens": 21}])
        ax = tl.speed.figures.time_line(table, limit_s=3.0)
        assert [(bar.get_x(), bar.get_width()) for bar in ax.patches] == [(0, 0.5), (0.5, 1.0)]
        strokes = {stroke[0, 0] for stroke in ax.collections[0].get_segments()}
        assert strokes == {1.5, 2.5, 3.5}
        assert [text.get_text() for text in ax.texts] == [
            "first token 1.5 s",
            "10 tokens per second",
            "3.5 s",
            "limit 3 s",
        ]

    def test_percentiles_say_when_an_end_is_missing(self):
        rows = pd.DataFrame({"model_id": "a", "end_to_end_s": np.arange(1.0, 101)})
        ax = tl.speed.figures.percentiles(tl.latency_percentiles(rows, percentiles=(50, 99)))
        assert [text.get_text() for text in ax.texts] == [
            "p50  50.5 s",
            "p99  99.0 s, no upper end",
        ]

    def test_the_mix_is_a_line_between_two_tiers_with_its_dot_on_it(self):
        table = pd.DataFrame(
            {
                "slow_share": [0.0, 1.0],
                "attainment": [0.9, 0.5],
                "low": [0.8, 0.4],
                "high": [1.0, 0.6],
                "line": "x",
            }
        )
        ax = tl.speed.figures.slo_mix(table, target=0.8, at=0.25)
        dot = next(line for line in ax.lines if line.get_marker() == "o")
        assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (0.25, pytest.approx(0.8))
        assert "target 80%" in [text.get_text() for text in ax.texts]

    def test_rings_stand_at_twice_the_price_difference(self, article):
        costs = tl.speed.latency.request_costs(
            tl.load_speeds(), article, input_tokens=500, output_tokens=300
        )
        premium = tl.speed.latency.premium(costs, [0.0, 40.0])
        ax = tl.speed.figures.second_value(premium)
        rings = {
            (line.get_xdata()[0], line.get_ydata()[0])
            for line in ax.lines
            if line.get_marker() == "o"
        }
        known = premium.drop_duplicates("provider")
        expected = sorted(zip(known["equal_hour_usd"], 2000 * known["price_gap_usd"], strict=True))
        assert sorted(rings) == [pytest.approx(point) for point in expected]


class TestLimits:
    @pytest.fixture
    def control(self):
        rows = tl.speed.limits.load_rate_limits()
        tiers = tl.load_prices("maintained").in_force().drop_duplicates("model_id")
        rows["tier"] = rows["model_id"].map(tiers.set_index("model_id")["tier"])
        return LimitExplorer(rows, input_tokens=7_200, cache_hit_rate=0.772, peak=0.12)

    def test_it_says_what_the_notebook_says_of_the_same_traffic(self, control):
        values = control.values()
        assert (values["peak"], values["cache_hit_rate"]) == (0.12, 0.75)
        work = tl.Workload(
            requests_per_day=20_000,
            input_tokens=7_200,
            output_tokens=300,
            cache_hit_rate=0.75,
            input_spread=1.0,
            output_spread=0.8,
        )
        hour = tl.speed.limits.busiest_hour(work, share=0.12, seed=7)
        usage = tl.speed.limits.usage_per_minute(hour)
        found = tl.speed.limits.smallest_of(tl.speed.limits.loads(usage, control.rows))
        numbers = control.numbers(control.shown)
        assert numbers["smallest limit tier"].to_list() == found["limit_tier"].to_list()
        assert numbers["used of it (%)"].to_list() == pytest.approx(100 * found["used"])

    def test_a_model_without_a_limit_tier_that_is_enough_is_named(self, control):
        assert "and each has one that is enough" in control.summary
        set_to(control, requests_per_day=500_000, peak=0.5)
        # 250,000 requests in an hour are 4,167 a minute of 7,200 tokens: 30 million, all that gpt-4o ever gets
        assert "none is enough for" in control.summary and "gpt-4o" in control.summary
        assert "none" in control.numbers(control.shown)["smallest limit tier"].to_list()


def test_static_figure_and_control_agree(explorer):
    values = explorer.values()
    own = tl.load_speeds().query("provider == 'anthropic' and tier in ('small', 'flagship')")
    call = latency.router_seconds(ROUTERS[values["router"]])
    alone = latency.assumed_attainment(
        own, 6.0, output_tokens=300, router_s=call, seed=7
    ).set_index("tier")
    share, low, high = tl.mix_attainment(alone, {"small": 0.8, "flagship": 0.2}, together=True)
    assert shown(explorer)["mix"][:3] == pytest.approx(
        [100 * share, 100 * low, 100 * high], abs=0.005
    )
