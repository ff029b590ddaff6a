"""Contracts: the worked example to the cent, a simulated year against plain Python, and files that are refused."""

import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tierlab.prices.contract import Contract

TEXT = """
contract: acme
currency: EUR
rates: {2026-11: 0.90, 2026-12: 0.90}
tax: 0.19
aliases: {prod-chat: {model: gpt-5, platform: azure, region: global}}
discounts:
  - {provider: anthropic, share: 0.10, from: 2026-10-01}
  - {provider: anthropic, model: claude-opus-5-5, batch: false, share: 0.15, from: 2026-11-16, to: 2027-03-31}
commitments:
  - {id: a1, provider: anthropic, usd: 10000, every: month, measure: contracted, shortfall: pay}
credits:
  - {usd: 500, provider: anthropic, to: 2026-12-31, toward_commitment: false}
"""
PROVISIONED = """
provisioned:
  - {id: p1, alias: prod-chat, units: 100, usd_per_unit_hour: 1.00, share: 0.64, input_tpm_per_unit: 4750,
     output_weight: 8, spillover: list, from: 2026-11-01}
"""


@pytest.fixture
def contract(tmp_path):
    (tmp_path / "contract.yaml").write_text(TEXT)
    return tl.load_contract(tmp_path / "contract.yaml")


def november():
    """Opus 5.5 lists 4 / 20, batch 2 / 10: 6,000 before 16 November, 3,000 after, 600 in batch."""
    return pd.DataFrame(
        {
            "model_id": "claude-opus-5-5",
            "at": pd.to_datetime(["2026-11-10", "2026-11-20", "2026-11-20"]),
            "uncached_input_tokens": [10**9, 500 * 10**6, 200 * 10**6],
            "output_tokens": [100 * 10**6, 50 * 10**6, 20 * 10**6],
            "batch": [False, False, True],
            "aggregate": True,
        }
    )


def settled(requests, prices, contract, **options):
    priced = tl.price(requests, prices, price_on="at")
    return tl.settle(requests, priced, prices, contract, **options)


def test_the_worked_example_to_the_cent(maintained, contract):
    """10 % and 15 % off, a commitment of 10,000 that falls short, a credit, 19 % tax, 0.90 EUR per USD."""
    found = settled(november(), maintained, contract)
    assert found.rows["list_usd"].round(2).tolist() == [6000, 3000, 600]
    assert found.rows["contracted_usd"].round(2).tolist() == [5400, 2550, 540]
    assert found.lines[["month", "kind", "id"]].to_numpy().tolist() == [
        ["2026-11", "unused commitment", "a1"]
    ]
    assert found.lines["usd"].round(2).tolist() == [1510]
    month = found.invoice.iloc[0].drop(["month", "currency"]).astype(float).round(2)
    assert month.tolist() == [9600, 8490, 1510, -500, 9500, 1805, 11305, 10174.50]
    spread = settled(november(), maintained, contract, spread=True).rows["effective_usd"]
    assert spread.round(2).tolist() == [6360.42, 3003.53, 636.04]


def test_two_short_months_and_one_floor_for_both(maintained, contract):
    """December contracted 12,000: monthly floors cost 22,000, one floor of 20,000 over both costs 20,490."""
    december = november().assign(at=pd.Timestamp("2026-12-10"), batch=False)
    december = december.iloc[[0]].assign(
        uncached_input_tokens=12_000 * 10**6 / 0.85 / 4, output_tokens=0
    )
    december["uncached_input_tokens"] = december["uncached_input_tokens"].round()
    both = pd.concat([november(), december], ignore_index=True)
    monthly = settled(both, maintained, contract)
    assert (monthly.rows["contracted_usd"].sum() + monthly.lines["usd"].sum()).round(2) == 22_000
    term = contract.commitments[0].model_copy(update={"every": "term", "usd": 20_000})
    found = settled(both, maintained, contract.model_copy(update={"commitments": [term]}))
    assert (found.rows["contracted_usd"].sum() + found.lines["usd"].sum()).round(2) == 20_490
    last = pd.Timestamp("2026-12-31").date()
    carried = contract.commitments[0].model_copy(update={"shortfall": "carry", "end": last})
    found = settled(both, maintained, contract.model_copy(update={"commitments": [carried]}))
    assert found.lines.empty  # the 1,510 that November lacks are in December's 12,000


def test_provisioned_capacity_is_used_and_unused(contract, tmp_path):
    """720 h x 100 units at $1.00, 64 % off; 12,312 of 20,520 million input equivalents served, at 1.25 list."""
    (tmp_path / "c.yaml").write_text(TEXT + PROVISIONED)
    contract = tl.load_contract(tmp_path / "c.yaml")
    prices = tl.load_prices("maintained", aliases=contract.aliases)
    requests = pd.DataFrame(
        {
            "model_id": ["prod-chat"],
            "at": [pd.Timestamp("2026-11-12")],
            "uncached_input_tokens": [12_312 * 10**6 - 8 * 10**9],
            "output_tokens": [10**9],
            "aggregate": True,
        }
    )
    found = settled(requests, prices, contract)
    one = found.capacity.iloc[0]
    assert one[["list_usd", "contracted_usd", "capacity_mtok"]].tolist() == pytest.approx(
        [72_000, 25_920, 20_520]
    )
    assert one[["served_mtok", "worth_usd", "used_usd", "unused_usd"]].tolist() == pytest.approx(
        [12_312, 15_390, 15_552, 10_368]
    )
    assert (round(one["usd_per_mtok"], 3), round(100 * one["break_even"], 2)) == (2.105, 101.05)
    assert found.rows["contracted_usd"].sum() + found.lines.query("kind == 'unused capacity'")[
        "usd"
    ].sum() == pytest.approx(25_920)


@pytest.mark.parametrize(
    ("clause", "due"),
    [
        ({"usd": 12_000, "every": "year", "from": "2026-04-01", "to": "2027-03-31"}, []),
        ({"usd": 30_000, "every": "quarter", "from": "2026-11-01", "to": "2027-10-31"}, []),
        (
            {"usd": 10_000, "every": "month", "from": "2026-11-16", "to": "2026-12-15"},
            [("2026-12", 6400)],
        ),
        (
            {"usd": 4000, "every": "month", "from": "2026-10-16", "to": "2026-12-15"},
            [("2026-12", 400)],
        ),
    ],
)
def test_periods_count_from_the_start_of_the_commitment(maintained, clause, due):
    """6,000 are spent on 10 November and 3,600 on the 20th."""
    contract = Contract(commitments=[{"id": "c"} | clause])
    lines = settled(november(), maintained, contract, until="2026-12-31").lines
    assert [(m, round(usd, 2)) for m, usd in lines[["month", "usd"]].to_numpy()] == due


def test_two_capacities_on_one_name_share_its_rows(contract):
    """24 h x 1,000 tokens a minute are 1.44 million; the first serves 1.44 of 2 million, the second 0.56."""
    unit = {"alias": "prod-chat", "units": 1, "usd_per_unit_hour": 1, "input_tpm_per_unit": 1000}
    unit |= {"output_weight": 8, "from": "2026-11-10", "to": "2026-11-10"}
    both = Contract(provisioned=[unit | {"id": "p1"}, unit | {"id": "p2"}])
    prices = tl.load_prices("maintained", aliases=contract.aliases)
    requests = pd.DataFrame(
        {
            "model_id": ["prod-chat"],
            "at": [pd.Timestamp("2026-11-10 12:00")],
            "uncached_input_tokens": [2_000_000],
            "output_tokens": [0],
            "aggregate": True,
        }
    )
    found = settled(requests, prices, both)
    assert found.capacity["served_mtok"].tolist() == pytest.approx([1.44, 0.56])
    assert found.capacity["unused_usd"].tolist() == pytest.approx([0, 24 - 24 * 0.56 / 1.44])
    assert found.capacity["worth_usd"].sum() == pytest.approx(2 * 1.25)
    # 48 paid in all: in the row what is used, in a line what is not
    assert found.rows["contracted_usd"].sum() + found.lines["usd"].sum() == pytest.approx(48)


def test_an_empty_contract_changes_no_number(maintained):
    found = settled(november(), maintained, Contract())
    assert found.rows["list_usd"].equals(found.rows["contracted_usd"])
    assert found.rows["list_usd"].equals(found.rows["effective_usd"])
    assert found.lines.empty and found.capacity.empty
    assert found.invoice["total"].sum() == pytest.approx(9600)


def test_a_rate_of_ones_own_replaces_the_list(maintained):
    clause = {"model": "claude-opus-5-5", "batch": False, "rate": {"output": 10.0}}
    found = settled(november(), maintained, Contract(discounts=[clause]))
    assert found.rows["contracted_usd"].tolist() == pytest.approx([5000, 2500, 600])  # 4 in, 10 out


def test_a_year_adds_up_as_a_spreadsheet_would_have_it(maintained):
    """Two models, a discount from March on, a quarterly commitment, a credit: row by row in plain Python."""
    rng, size = np.random.default_rng(4), 400
    requests = pd.DataFrame(
        {
            "model_id": rng.choice(["claude-haiku-5-5", "gpt-6-luna"], size),
            "at": pd.Timestamp("2026-01-01")
            + pd.to_timedelta(rng.integers(0, 365, size), unit="D"),
            "uncached_input_tokens": rng.integers(10**6, 10**8, size),
            "output_tokens": rng.integers(10**5, 10**7, size),
            "aggregate": True,
        }
    )
    contract = Contract.model_validate(
        {
            "tax": 0.07,
            "discounts": [{"provider": "openai", "share": 0.2, "from": "2026-03-01"}],
            "commitments": [{"id": "c", "provider": "openai", "usd": 400, "every": "quarter"}],
            "credits": [{"usd": 90, "provider": "anthropic"}],
        }
    )
    found = settled(requests, maintained, contract)
    listed = tl.price(requests, maintained, price_on="at")["cost_usd"].tolist()
    contracted, quarters, anthropic = [], [0.0] * 4, 0.0
    for model, at, usd in zip(requests["model_id"], requests["at"], listed, strict=True):
        if model == "gpt-6-luna":
            usd = usd * 0.8 if at.month >= 3 else usd
            quarters[(at.month - 1) // 3] += usd
        else:
            anthropic += usd
        contracted.append(usd)
    short = sum(max(0.0, 400 - spent) for spent in quarters)
    assert short > 0
    bill = sum(contracted) + short - min(90.0, anthropic)
    assert found.rows["list_usd"].sum() == pytest.approx(sum(listed), abs=0.005)
    assert found.rows["contracted_usd"].tolist() == pytest.approx(contracted)
    assert found.lines["usd"].sum() == pytest.approx(short, abs=0.005)
    assert found.invoice["billed_usd"].sum() == pytest.approx(bill, abs=0.005)
    assert found.invoice["total"].sum() == pytest.approx(bill * 1.07, abs=0.005)
    assert found.rows["effective_usd"].sum() == pytest.approx(sum(contracted), abs=0.005)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("discounts: [{provider: openai, rebate: 0.1}]", "discounts.0.rebate: Extra inputs"),
        ("discounts: [{provider: openai, share: 1.1}]", "discounts.0.share: Input should be less"),
        ("discounts: [{provider: openai}]", "either a share or a rate"),
        ("discounts: [{rate: {ouput: 1}}]", "did you mean 'output'"),
        ("discounts: [{rate: {cache_write_short: 1}}]", "names both"),
        ("commitments: [{usd: 5}]", "commitments.0.id: Field required"),
        ("tax: 19", "tax: Input should be less than or equal to 1"),
        ("discounts: [{share: 0.1}]\ndiscounts: [{share: 0.5}]", "line 2: 'discounts' is there"),
        ("credits: [{usd: 1, from: 2026-12-01, to: 2026-11-01}]", "from 2026-12-01 is after to"),
        ("tax: a", "tax: Input should be a valid number"),
        ("a: &x 1", "anchors"),
    ],
)
def test_a_bad_contract_names_file_and_key(tmp_path, text, message):
    (tmp_path / "contract.yaml").write_text(text)
    with pytest.raises(ValueError) as error:
        tl.load_contract(tmp_path / "contract.yaml")
    assert message in str(error.value) and "contract.yaml" in str(error.value)


@pytest.mark.parametrize(
    ("clauses", "message"),
    [
        (
            {"discounts": [{"provider": "Anthropic", "share": 0.1}]},
            "discounts.0: unknown provider 'Anthropic'; did you mean 'anthropic'",
        ),
        (
            {"credits": [{"model": "claude-opus-5.55", "usd": 1}]},
            "credits.0: .*'claude-opus-5.55'.*did you mean",
        ),
        (
            {"discounts": [{"tier": "prioritty", "share": 0.1}]},
            "unknown tier 'prioritty'; did you mean 'priority'",
        ),
        (
            {
                "provisioned": [
                    {
                        "id": "p",
                        "alias": "prod-chatt",
                        "units": 1,
                        "usd_per_unit_hour": 1,
                        "input_tpm_per_unit": 1,
                        "output_weight": 8,
                        "from": "2026-11-01",
                    }
                ]
            },
            "provisioned.0: unknown alias 'prod-chatt'; did you mean 'prod-chat'",
        ),
    ],
)
def test_a_clause_that_can_match_nothing_is_refused(maintained, contract, clauses, message):
    given = Contract(aliases=contract.aliases, **clauses)
    with pytest.raises(ValueError, match=message):
        settled(november(), maintained, given)


def test_clauses_that_held_for_no_request_are_told(maintained, contract):
    clauses = [{"provider": "openai", "share": 0.1}, {"provider": "anthropic", "share": 0.1}]
    assert settled(november(), maintained, Contract(discounts=clauses)).idle == ("discounts.0",)
    assert settled(november(), maintained, contract).idle == ()


def test_a_month_without_a_rate_of_exchange_raises(maintained, contract):
    later = november().assign(at=pd.Timestamp("2027-01-10"))
    with pytest.raises(ValueError, match="no rate of EUR for 2027-01"):
        settled(later, maintained, contract)
