"""A log of everything that a company buys: each row at its seller's price, what has none in dollars on the first page."""

import json

import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tierlab.quarter.aggregate import build_cube
from tierlab.quarter.inputs import Inputs
from tierlab.quarter.page import compared
from tierlab.quarter.report import prepare, summarise
from tierlab.quarter.words import coverage_said, gaps, headline, missing_said

# 100,000 tokens in and 10,000 out; model, platform, region, service tier, what the row bills, hour, and USD by hand
# from the sellers' rates per million tokens of August 2026.
PRICED = [
    (
        "us.anthropic.claude-haiku-4-5-20251001-v1:0",
        "bedrock",
        None,
        None,
        0.1,
        12,
        0.1 * 1.1 + 0.01 * 5.5,
    ),
    ("claude-haiku-4-5@20251001", "vertex", "global", None, 0.15, 12, 0.1 * 1 + 0.01 * 5),
    ("gpt-4o", "azure", "global", None, None, 12, 0.1 * 2.5 + 0.01 * 10),
    ("gpt-4o", "azure", "swedencentral", None, None, 12, (0.1 * 2.5 + 0.01 * 10) * 1.21),
    ("gpt-4o", "openai", None, "priority", None, 12, 0.1 * 4.25 + 0.01 * 17),
    ("mistral-large-2512", "mistral", None, None, None, 12, 0.1 * 0.5 + 0.01 * 1.5),
    ("ft:gpt-4o-2024-08-06:acme::x1", "openai", None, None, None, 12, 0.1 * 3.75 + 0.01 * 15),
    ("llama-3.3-70b-versatile", "groq", None, None, None, 12, 0.1 * 0.59 + 0.01 * 0.79),
    (
        "deepseek-v4-pro",
        "deepseek",
        None,
        None,
        None,
        2,
        0.1 * 1.32 + 0.01 * 3.96,
    ),  # its peak hours
    ("deepseek-v4-pro", "deepseek", None, None, None, 12, 0.1 * 0.66 + 0.01 * 1.98),
]
UNPRICED = {  # what is billed and has no price here
    ("unknown model", "prod-chat-eu"): 12.0,
    ("unknown model", "dall-e-3"): 0.08,
    ("billed, but without a token", "gpt-image-2"): 0.04,
}


def mixed():
    columns = ["model_id", "platform", "region", "service_tier", "billed_usd", "hour", "usd"]
    table = pd.DataFrame(PRICED, columns=columns).astype({"billed_usd": float})
    table = table.assign(uncached_input_tokens=100_000, output_tokens=10_000)
    embedding = {
        "model_id": "text-embedding-3-small",
        "uncached_input_tokens": 100_000,
        "output_tokens": 0,
        "usd": 0.1 * 0.02,
    }
    image = {
        "model_id": "gpt-image-2",
        "uncached_input_tokens": 1000,
        "output_tokens": 0,
        "unit": "output_image_tokens",
        "quantity": 2000,
        "usd": 0.001 * 5 + 0.002 * 30,
    }
    none = [
        {
            "model_id": name,
            "billed_usd": usd,
            "uncached_input_tokens": 0 if "token" in reason else 500,
            "output_tokens": 0,
        }
        for (reason, name), usd in UNPRICED.items()
    ]
    more = pd.DataFrame([embedding, image, *none]).assign(platform="openai", hour=12)
    table = pd.concat([table, more], ignore_index=True)
    at = pd.Timestamp("2026-09-03") + pd.to_timedelta(table.pop("hour"), unit="h")
    return table.assign(at=at.astype("datetime64[us]"), task="all"), table["usd"].sum()


@pytest.fixture(scope="module")
def cube(maintained):
    log, _ = mixed()
    return build_cube(log.drop(columns="usd"), maintained)


def test_each_row_costs_what_its_seller_asks(cube, maintained):
    log, total = mixed()
    priced = log[log["usd"].notna()]
    found = tl.price(priced.drop(columns="usd"), maintained, price_on="at")
    assert found["cost_usd"].to_numpy() == pytest.approx(priced["usd"].to_numpy(), rel=1e-9)
    assert cube.daily["cost_usd"].sum() == pytest.approx(total, rel=1e-9)
    assert cube.account.rows_priced == len(priced) == len(log) - len(UNPRICED)
    by_model = cube.daily.groupby("model_id")["cost_usd"].sum()
    assert by_model["deepseek-v4-pro"] == pytest.approx(0.1 * 1.98 + 0.01 * 5.94)
    assert by_model["gpt-image-2"] == pytest.approx(0.065)


def test_engine_and_pandas_agree_on_every_key(maintained):
    """Every seller, region and tier of six models, at every hour, against `tierlab.price` on the same rows."""
    rng = np.random.default_rng(5)
    n = 400
    log = pd.DataFrame(
        {
            "at": pd.Timestamp("2026-08-01")
            + pd.to_timedelta(rng.integers(0, 92 * 24 * 60, n), unit="min"),
            "model_id": rng.choice(
                [
                    "claude-haiku-4-5",
                    "anthropic.claude-sonnet-4-6",
                    "gpt-4o",
                    "gpt-5.5",
                    "deepseek-v4-pro",
                    "gemini-3.1-pro-preview",
                ],
                n,
            ),
            "region": rng.choice(
                np.array(["global", "us", "eu", "swedencentral", None], object), n
            ),
            "service_tier": rng.choice(np.array(["default", "priority", "flex", None], object), n),
            "uncached_input_tokens": rng.integers(0, 400_000, n),
            "cache_read_tokens": rng.integers(0, 50_000, n),
            "output_tokens": rng.integers(0, 5000, n),
        }
    )
    log["platform"] = np.where(
        log["model_id"].str.contains("claude"),
        rng.choice(["bedrock", "vertex", "anthropic"], n),
        None,
    )
    log["at"] = log["at"].astype("datetime64[us]")
    priced = tl.price(log, maintained, price_on="at")
    table = build_cube(log, maintained).daily
    keys = ["day", "platform", "region", "service_tier"]
    ours = table.groupby(keys, dropna=False)["cost_usd"].sum()
    theirs = log.assign(day=log["at"].dt.normalize(), cost_usd=priced["cost_usd"])
    theirs = theirs.groupby(keys, dropna=False)["cost_usd"].sum()
    assert len(ours) == len(theirs) > 100
    assert ours.to_numpy() == pytest.approx(theirs.to_numpy(), rel=1e-9)
    flags = priced["flags"].astype(str).str.get_dummies(";").sum().drop("", errors="ignore")
    assert {flag: table[flag].sum() for flag in flags.index} == flags.to_dict()
    assert {"assumed_premium", "assumed_region", "assumed_service_tier"} <= set(flags.index)


def test_what_is_billed_without_a_price_has_its_own_line(cube, maintained):
    q = tl.analyse(cube, maintained, "2026Q3", budget_usd=100.0)
    _, total = mixed()
    assert q.unpriced.set_index(["reason", "name"])["billed_usd"].to_dict() == UNPRICED
    assert (q.unpriced_rows, q.unpriced_usd) == (3, pytest.approx(12.12))
    said = headline(q)
    assert "under" not in said
    assert f"cost at least ${total + 12.12:.0f}" in said
    assert f"(${total:.2f} priced, and $12 of the bill without a price)" in said
    line = compared(q).set_index("what").loc["billed, without a price"]
    assert line["usd"] == pytest.approx(12.12)


def test_the_rows_own_money_against_our_price(cube, maintained):
    """Bedrock billed 0.10 USD for what we price at 0.165; on Vertex both say 0.15."""
    q = tl.analyse(cube, maintained, "2026Q3")
    row = gaps(q).iloc[0]
    assert (len(q.gaps), row["model_id"], row["days"]) == (1, "claude-haiku-4-5", 1)
    assert row[["billed_usd", "priced_usd"]].tolist() == pytest.approx([0.25, 0.315])


def test_the_whole_way_with_everything_in_one_file(tmp_path):
    """From a CSV to the summary: the same dollars, the gap in it, and no section that breaks on a host's model."""
    log, total = mixed()
    before = log.assign(at=log["at"] - pd.Timedelta(days=90))
    pd.concat([before, log]).drop(columns="usd").to_csv(tmp_path / "log.csv", index=False)
    run = prepare(Inputs(usage_path=str(tmp_path / "log.csv"), budget_usd=1000))
    found = json.loads(json.dumps(summarise(run), default=str))
    assert (found["schema"], found["unpriced_usd"]) == ("tierlab.quarter/2", pytest.approx(12.12))
    assert found["spend_usd"] == pytest.approx(total, rel=1e-9)
    assert {row["name"]: row["billed_usd"] for row in found["unpriced"]} == {
        name: usd for (_, name), usd in UNPRICED.items()
    }
    assert [row["billed_usd"] for row in found["gaps"]] == pytest.approx([0.25])
    assert "differ by more than 1% on 1 day: billed $0.25, priced $0.315" in coverage_said(run)
    effects = sum(row["usd"] for row in found["variance"])
    assert effects == pytest.approx(found["spend_usd"] - found["before_usd"], abs=1e-9)


def test_what_somebody_should_look_at_stands_among_the_open_questions(tmp_path):
    """Two exports that share two days, and a clause of the contract for a maker that nobody called."""
    rows = [f"2026-08-{day:02}T10:00,gpt-4o,1{day:02}0,10" for day in range(1, 10)]
    (tmp_path / "logs").mkdir()
    for name, part in (("a", rows[:5]), ("b", rows[3:])):
        text = "\n".join(["at,model_id,input_tokens,output_tokens", *part])
        (tmp_path / "logs" / f"{name}.csv").write_text(text + "\n")
    (tmp_path / "contract.yaml").write_text("discounts:\n  - {provider: google, share: 0.1}\n")
    run = prepare(
        Inputs(usage_path=str(tmp_path / "logs"), contract_path=str(tmp_path / "contract.yaml"))
    )
    said = " ".join(missing_said(run.quarter))
    assert "Was every call counted once? 4 rows of files of one format" in said
    assert "(2026-08-04 to 2026-08-05)" in said
    assert "Did every clause of the contract count? Discount 1 in the order" in said
