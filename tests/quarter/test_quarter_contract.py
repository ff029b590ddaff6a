"""A contract in the report: list, contracted and effective cost side by side, and what is unused in none of the rows."""

import json

import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tierlab.cli import main
from tierlab.quarter.tables import compared

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
    assert "$50.00 (9%) over the budget of $550" in said  # at list it would be under it
    for table in (q.teams, q.tiers, q.units):
        assert table["contracted_usd"].sum() == pytest.approx(CONTRACTED)
    assert q.months["effective_usd"].tolist() == pytest.approx([155, 139.5, 135])


def test_an_empty_contract_changes_no_number(log, tmp_path):
    (tmp_path / "empty.yaml").write_text("contract: nothing\n")
    _, bare = analysed(log, None)
    _, empty = analysed(log, tl.load_contract(tmp_path / "empty.yaml"))
    old, new = tl.summary(bare), tl.summary(empty)
    assert new["contracted_usd"] == new["effective_usd"] == old["spend_usd"]
    for name in ("variance", "savings", "forecast", "spend_usd", "latency", "cache", "decisions"):
        assert new[name] == old[name]


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
