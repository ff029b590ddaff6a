"""The first screen: numbers that agree with the analysis, causes that count once, a message, owners, the exit status."""

import json

import pandas as pd
import pytest

from tierlab.cli import main
from tierlab.core.format import usd
from tierlab.quarter import brief, report
from tierlab.quarter.report import Inputs, prepare, title
from tierlab.quarter.settings import NOBODY, Settings, by_owner, load_settings
from tierlab.quarter.words import over_budget_usd


@pytest.fixture(scope="module")
def synthetic():
    return prepare(Inputs())


@pytest.fixture(scope="module")
def billed(tmp_path_factory):
    """Two quarters of one request a day: a million tokens of claude-haiku-4-5, $1 at list and $0.80 as billed."""
    days = pd.date_range("2026-04-01", "2026-09-30")
    own = {"model_id": "claude-haiku-4-5", "uncached_input_tokens": 1_000_000, "output_tokens": 0}
    path = tmp_path_factory.mktemp("billed") / "log.csv"
    log = pd.DataFrame({"at": days, "team": "<b>core</b>", "billed_usd": 0.8, **own})
    log.to_csv(path, index=False)
    return prepare(Inputs(usage_path=str(path), as_of="2026-10-01", budget_usd=80))


class TestNumbers:
    def test_they_are_those_of_the_analysis(self, synthetic):
        q = synthetic.quarter
        spent, ahead, better = brief.numbers(q)
        forecast, saved = q.forecast.totals.loc["2026Q4", "usd"], q.decisions["usd"].sum()
        assert (spent.label, spent.value) == ("Spent in 2026Q3, at list prices", usd(q.spend_usd))
        assert "over the budget of $500" in spent.note
        assert ahead.value == f"about {usd(forecast)}"
        miss = abs(q.forecast_error.at[0, "error"])
        assert f"This method was {miss:.0%} too low last time." in ahead.note
        assert (better.label, better.value) == (
            "2026Q4 with the three decisions",
            f"about {usd(forecast - saved)}",
        )

    def test_what_was_billed_comes_before_the_list_price(self, billed):
        first = brief.numbers(billed.quarter)[0]
        assert (first.label, first.value) == ("Spent in 2026Q3, as billed", "$73.60")
        assert "At list prices: $92" in first.note

    def test_the_simulated_report_is_dated_before_what_it_forecasts(self, synthetic):
        assert synthetic.cube.account.price_as_of == "2026-10-01"
        assert synthetic.quarter.forecast.days["day"].iloc[0] == pd.Timestamp("2026-10-01")
        assert synthetic.quarter.ahead == "2026Q4"


class TestCauses:
    def test_each_counts_once_and_by_its_name(self, synthetic):
        found = brief.causes(synthetic.quarter)
        assert found["cause"].tolist() == [
            "staging has called claude-opus-4-8 since 17 August",
            "the cache of claude-sonnet-4-6 is no longer read, since 7 September",
            "platform spent more on 21 July",
            "gpt-5.6-terra is cheaper from 30 July",
        ]
        events = synthetic.quarter.events.set_index(["over", "name"])["excess_usd"]
        assert found["usd"].iloc[0] == events["team", "staging"]

    def test_the_steps_lead_from_level_to_level(self, synthetic):
        reached = None
        for row in brief.steps(synthetic.quarter).itertuples():
            if row.kind in ("level", "estimate"):
                assert reached is None or reached == pytest.approx(row.usd)
                reached = row.usd
            else:
                reached += row.usd

    def test_a_card_says_who_and_how_much(self, synthetic):
        first, second, third = brief.cards(synthetic.quarter).itertuples()
        assert (first.who, second.who, third.who) == (
            "the staging team",
            "the support team",
            "the growth team",
        )
        assert first.so_far.endswith(" since 17 August.") and "$130" in first.so_far
        own = Settings(teams={"staging": {"owner": "Ada"}})
        assert brief.cards(synthetic.quarter, own)["who"].iloc[0] == "Ada"


def test_the_message_has_ten_lines_at_most_and_no_markup_of_the_log(synthetic, billed):
    text = brief.message(synthetic.quarter, "Example *Ltd*")
    assert text.startswith("Example \\*Ltd\\*\n") and len(text.splitlines()) <= 10
    assert "- Spent in 2026Q3, at list prices: \\$649." in text
    assert "<b>" not in brief.message(billed.quarter, "Example")


class TestSettings:
    TEXT = "company: Example Ltd\nteam: Platform\nbudget_usd: 600.0\nteams:\n  support: {owner: Ada, budget_usd: 150.0}\n  growth: {budget_usd: 50.0}\n"

    def test_title_and_budget(self, tmp_path):
        (tmp_path / "tierlab.yaml").write_text(self.TEXT)
        inputs = Inputs(settings_path=str(tmp_path / "tierlab.yaml"))
        assert title(inputs) == "Example Ltd · Platform · LLM spend report 2026Q3"
        assert title(Inputs(company="Other")) == "Other · LLM spend report 2026Q3"
        found = prepare(inputs)
        assert over_budget_usd(found.quarter) == pytest.approx(found.quarter.spend_usd - 600)

    def test_what_nobody_owns_has_a_line(self, tmp_path):
        (tmp_path / "tierlab.yaml").write_text(self.TEXT)
        spend = {"support": 170.0, "growth": 40.0, "legal": 30.0, "data": 20.0}
        teams = pd.DataFrame(spend.items(), columns=["name", "cost_usd"])
        table = by_owner(teams, load_settings(tmp_path / "tierlab.yaml"))
        assert table["name"].tolist() == ["support", "growth", "legal, data"]
        assert table["owner"].tolist() == ["Ada", NOBODY, NOBODY]
        assert table["cost_usd"].tolist() == [170, 40, 50]
        assert table["over_usd"].tolist()[:2] == [20, -10] and pd.isna(table["over_usd"].iloc[2])

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("compny: x\n", "did you mean 'company'"),
            ("budget_usd: -1.0\n", "budget_usd: input should be greater than 0"),
            ("teams: {a: {ownr: x}}\n", "did you mean 'owner'"),
            ("- x\n", "no fields"),
            ("a: &x 1\nb: *x\n", "anchors"),
        ],
    )
    def test_a_mistake_names_file_and_field(self, tmp_path, text, why):
        (tmp_path / "tierlab.yaml").write_text(text)
        with pytest.raises(ValueError, match=f"tierlab.yaml: .*{why}"):
            load_settings(tmp_path / "tierlab.yaml")


@pytest.mark.parametrize(("over", "status"), [(149.0, 3), (0.0, 0), (-1.0, 0), (None, 2)])
def test_a_crossed_budget_has_a_status_of_its_own(tmp_path, monkeypatch, over, status):
    path = tmp_path / "summary.json"
    path.write_text(json.dumps({"over_budget_usd": over}))
    monkeypatch.setattr(report, "write", lambda *_, **__: ([path], ""))
    assert main(["quarter", "2026Q3", "--fail-over-budget"]) == status
    assert main(["quarter", "2026Q3"]) == 0
