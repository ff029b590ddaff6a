"""A contract in the report: list, contracted and effective cost side by side, and what is unused in none of the rows."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tierlab.cli import main
from tierlab.core.format import dollars, usd
from tierlab.quarter import page as report_page
from tierlab.quarter import words as quarter_words
from tierlab.quarter.page import compared

DAYS = pd.date_range("2026-07-01", "2026-09-30")
TERMS = """
contract: acme
aliases: {prod-chat: {model: claude-opus-4-8, platform: anthropic}}
discounts:
  - {provider: anthropic, share: 0.10, from: 2026-08-01}
commitments:
  - {id: a1, provider: anthropic, usd: 200, every: month, measure: contracted, shortfall: pay}
"""
# 5 USD a day: 0.5 million tokens in at 5 and 0.1 million out at 25. July is at list, August and September a tenth off.
LIST, CONTRACTED, EFFECTIVE = 92 * 5, 31 * 5 + 61 * 4.5, 3 * 200


@pytest.fixture(scope="module")
def log():
    table = pd.DataFrame(
        {"at": DAYS, "model_id": "prod-chat", "team": np.where(DAYS.day % 2, "odd", "even")}
    )
    return table.assign(uncached_input_tokens=500_000, output_tokens=100_000)


@pytest.fixture(scope="module")
def terms(tmp_path_factory):
    path = tmp_path_factory.mktemp("contract") / "contract.yaml"
    path.write_text(TERMS)
    return path


def analysed(log, contract, **options):
    prices = tl.load_prices("maintained", aliases={"prod-chat": "claude-opus-4-8"})
    cube = tl.build_cube(log, prices, contract=contract)
    return cube, tl.analyse(cube, prices, "2026Q3", **options)


def test_the_three_costs_by_arithmetic(log, terms):
    cube, q = analysed(log, tl.load_contract(terms), budget_usd=550)
    assert q.spend_usd == pytest.approx(LIST)
    assert (q.contracted_usd, q.effective_usd) == pytest.approx((CONTRACTED, EFFECTIVE))
    assert cube.daily["contracted_usd"].sum() == pytest.approx(CONTRACTED)
    assert q.invoice["lines_usd"].tolist() == pytest.approx([200 - 155, 200 - 139.5, 200 - 135])
    assert q.invoice["billed_usd"].tolist() == pytest.approx([200, 200, 200])
    rows = compared(q).set_index("what")
    shown = ["this quarter", "contracted", "unused of commitments and capacity", "effective"]
    assert rows.loc[shown, "usd"].tolist() == pytest.approx([LIST, CONTRACTED, 170.5, EFFECTIVE])
    said = tl.headline(q)
    assert "cost $600 under the contract ($460 at list, $430 contracted)" in said
    assert "$50 (9%) over the budget of $550" in said  # at list it would be under it
    for table in (q.teams, q.tiers, q.units):
        assert table["contracted_usd"].sum() == pytest.approx(CONTRACTED)
    assert q.months["effective_usd"].tolist() == pytest.approx([155, 139.5, 135])


def test_an_empty_contract_changes_no_byte_of_the_summary(log, tmp_path):
    (tmp_path / "empty.yaml").write_text("contract: nothing\n")
    made = [analysed(log, terms)[1] for terms in (None, tl.load_contract(tmp_path / "empty.yaml"))]
    bare, empty = (json.dumps(tl.summary(q)) for q in made)
    assert bare == empty


BOTH = pd.date_range("2026-04-01", "2026-09-30")
FIFTH = "contract: c\ndiscounts: [{provider: anthropic, share: 0.20}]\n"


@pytest.fixture(scope="module")
def two_makers():
    """A day: 2 million tokens read from Sonnet 4.6's cache, written once in a hundred, and as much of gpt-4o."""
    own = {
        "uncached_input_tokens": 100_000,
        "cache_read_tokens": 2_000_000,
        "output_tokens": 50_000,
    }
    parts = [
        pd.DataFrame({"at": BOTH, "model_id": model, "task": "faq_answering", **own})
        for model in ("claude-sonnet-4-6", "gpt-4o")
    ]
    return pd.concat(parts, ignore_index=True)


def under(log, text, tmp_path, as_of="2026-10-01"):
    (tmp_path / "contract.yaml").write_text(text)
    prices = tl.load_prices("maintained", as_of=as_of)
    cube = tl.build_cube(log, prices, contract=tl.load_contract(tmp_path / "contract.yaml"))
    return tl.analyse(cube, prices, "2026Q3")


def test_a_fifth_off_one_maker_takes_a_fifth_off_all_that_is_said_of_it(two_makers, tmp_path):
    """The cache's and the output's money of Claude are 0.8 of list, of gpt-4o as they are; the sum is in between."""
    q = under(two_makers, FIFTH, tmp_path)
    for table, column in ((q.cache, "net_usd"), (q.output, "output_usd")):
        own = table.set_index("model_id")
        for paid in ("contracted_usd", "effective_usd"):
            ratio = (own[paid] / own[column]).drop("all").to_dict()
            assert ratio == pytest.approx({"claude-sonnet-4-6": 0.8, "gpt-4o": 1.0})
            assert own.at["all", paid] == pytest.approx(own[paid].drop("all").sum())
    # Sonnet 4.6 reads at 0.30 and takes input at 3 dollars: 92 days x 2 million tokens x 2.70 x 0.8.
    own = q.cache.set_index("model_id")
    assert own.at["claude-sonnet-4-6", "effective_usd"] == pytest.approx(92 * 2 * 2.7 * 0.8)
    move = q.savings.set_index(["kind", "model_id"]).loc[("move", "claude-sonnet-4-6")]
    assert move["usd"] == move["contracted_usd"] == pytest.approx(0.8 * move["list_usd"])
    assert move["paid_usd"] == pytest.approx(0.8 * move["spend_usd"])
    # Every day costs the same, so the next quarter does: 0.1 x 3 + 2 x 0.3 + 0.05 x 15 on Sonnet, 2.5, 1.25 and 10 on gpt-4o.
    sonnet, gpt = 92 * (0.3 + 0.6 + 0.75), 92 * (0.25 + 2.5 + 0.5)
    total = q.forecast.totals.loc["2026Q4"]
    assert total["usd"] == pytest.approx(sonnet + gpt, rel=1e-6)
    assert total["contracted_usd"] == pytest.approx(0.8 * sonnet + gpt, rel=1e-6)
    assert total["effective_usd"] == pytest.approx(total["contracted_usd"])
    first, ahead, better = report_page.numbers(q)
    assert (
        first.value == dollars(0.8 * sonnet + gpt)
        and ahead.value == f"about {dollars(0.8 * sonnet + gpt)}"
    )
    assert better.note.startswith(f"{dollars(q.decisions['usd'].sum())} less")
    assert better.label == "2026Q4 with decision 1, if its test succeeds"


def test_a_discount_that_begins_is_an_effect_of_its_own(two_makers, tmp_path):
    """Nothing else moves but the number of days, 92 over 91: a fifth of Claude's quarter is the contract's."""
    text = FIFTH.replace("share: 0.20", "share: 0.20, from: 2026-07-01")
    q = under(two_makers, text, tmp_path)
    effects = q.variance.set_index("effect")
    assert effects["usd"].sum() == pytest.approx(q.spend_usd - q.before_usd)
    assert effects["contracted_usd"].sum() == pytest.approx(q.contracted_usd - q.before_paid_usd)
    sonnet, gpt = 0.3 + 0.6 + 0.75, 0.25 + 2.5 + 0.5
    # Shapley of two factors: the mean of what each moves first and last.
    volume = ((sonnet + gpt) + (0.8 * sonnet + gpt)) / 2
    assert effects.at["volume", "contracted_usd"] == pytest.approx(volume)
    assert effects.at["contract", "contracted_usd"] == pytest.approx(-0.2 * sonnet * (91 + 92) / 2)
    assert effects.at["unused", "effective_usd"] == 0
    assert effects["effective_usd"].sum() == pytest.approx(q.effective_usd - q.before_paid_usd)


def test_a_commitment_eats_a_saving_and_the_report_says_how_much(two_makers, tmp_path):
    """$50 a month are promised: Claude's months cost 31 x 1.65 and 30 x 1.65 dollars, so a saving there saves little."""
    promised = "commitments: [{id: a, provider: anthropic, usd: 50, every: month}]\n"
    q = under(two_makers, "contract: c\n" + promised, tmp_path)
    move = q.savings.set_index(["kind", "model_id"]).loc[("move", "claude-sonnet-4-6")]
    # October and December cost 51.15, November 49.50 and so 50; after the move each costs 50.
    assert move["usd"] == pytest.approx(2 * (31 * 1.65 - 50))
    for column in ("contracted_usd", "list_usd"):
        assert move[column] == pytest.approx(92 * 1.65 * 2 / 3)
    lost = usd(move["contracted_usd"] - move["usd"])
    assert f"{lost} of it is lost to what stays unused of the contract" in move["assumes"]


def test_the_steps_of_the_first_screen_add_up_under_a_contract(two_makers, tmp_path):
    promised = "commitments: [{id: a, provider: anthropic, usd: 80, every: month}]\n"
    q = under(two_makers, FIFTH + promised, tmp_path)
    reached = None
    for row in report_page.steps(q).itertuples():
        level = row.kind in ("level", "estimate")
        assert not level or reached is None or reached == pytest.approx(row.usd)
        reached = row.usd if level else reached + row.usd
    assert report_page.steps(q)["usd"].iloc[0] == pytest.approx(3 * 80 + 91 * (0.25 + 2.5 + 0.5))


def test_the_rows_own_money_is_held_against_the_contracted_price(log, terms):
    """What a gateway logs after the discount is no gap; at list it is one of a tenth."""
    billed = log.assign(billed_usd=np.where(log["at"] < "2026-08-01", 5.0, 4.5))
    _, q = analysed(billed, tl.load_contract(terms))
    assert q.gaps.empty
    _, q = analysed(billed, None)
    assert len(q.gaps) == 61


def test_the_command_reads_it(log, terms, tmp_path):
    log.to_csv(tmp_path / "log.csv", index=False)
    arguments = ["2026Q3", "--usage", str(tmp_path / "log.csv"), "--contract", str(terms)]
    assert main(["quarter", *arguments, "--out", str(tmp_path / "out"), "--no-pdf"]) == 0
    found = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    assert found["effective_usd"] == pytest.approx(EFFECTIVE)
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "unused of commitments and capacity" in page and "contracted" in page


def test_sentences_at_list_prices_say_so_where_there_is_a_contract(log, terms):
    """A day is 5 USD at list, whatever the contract makes of it; without a contract there is one price alone."""
    _, plain = analysed(log, None)
    _, q = analysed(log, tl.load_contract(terms))
    end = pd.Timestamp("2026-11-01")
    old = {"model_id": "old-1", "retires_on": end, "spend_usd": 40.0, "successor": ""}
    days = "A day cost $5.00 in July and $5.00 in September"
    for own, said in ((plain, ""), (q, " at list prices")):
        own = replace(own, retiring=pd.DataFrame([old]))
        assert quarter_words.said(own, "days") == f"{days}{said}."
        assert f"on average{said}" in quarter_words.said(own, "units")
        assert f"per million tokens{said}." in quarter_words.said(own, "tiers")
        assert f"It cost $40{said} in 2026Q3;" in quarter_words.retiring_said(own)[0]
