"""The recorded traces, priced on every model. These tests are skipped where the data is missing."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from statsmodels.stats.weightstats import CompareMeans

import tierlab as tl
from tierlab.pages import run

here = Path(os.environ.get("TIERLAB_DATA_DIR", "/nowhere")).is_dir()
pytestmark = pytest.mark.skipif(
    not here, reason="TIERLAB_DATA_DIR does not name a folder with the public data sets"
)


@pytest.mark.parametrize(
    ("name", "rows"), [("azure_conv", 19_366), ("azure_code", 8_819), ("mooncake_conv", 12_031)]
)
def test_traces_become_requests_and_price_on_every_model_of_both_lineups(maintained, name, rows):
    table = tl.load_requests(name)
    assert len(table) == rows
    assert set(table["source"]) == {"recorded"}
    models = maintained.models() + maintained.models("2026-06-12", reasoning=True)
    costs = tl.reprice(table, maintained, models)
    assert costs.shape == (rows, 20)
    assert costs.notna().all(axis=None)


def test_azure_totals_equal_plain_sums(article):
    """The trace on Opus 4.8, from the raw file: sum of context x 5 and generated x 25 USD per million."""
    raw = pd.read_csv(tl.datasets.path("azure_conv"))
    expected = (raw["ContextTokens"].sum() * 5 + raw["GeneratedTokens"].sum() * 25) / 1e6
    assert tl.reprice(tl.load_requests("azure_conv"), article, ["claude-opus-4-8"]).sum().iloc[
        0
    ] == pytest.approx(expected, rel=1e-12)


def test_o4_mini_and_haiku_change_places_between_code_and_conversation(maintained):
    """A known flip of the two shapes: code is input-heavy, conversation is not (o4-mini 1.10 / 4.40, Haiku 4.5 1 / 5)."""
    cost = {
        name: tl.reprice(tl.load_requests(name), maintained, ["o4-mini", "claude-haiku-4-5"]).sum()
        for name in ("azure_code", "azure_conv")
    }
    assert cost["azure_code"]["claude-haiku-4-5"] < cost["azure_code"]["o4-mini"]
    assert cost["azure_conv"]["claude-haiku-4-5"] > cost["azure_conv"]["o4-mini"]


def test_mooncake_without_expiry_hits_37_percent():
    table = tl.load_requests("mooncake_conv")
    rates = [
        tl.cache_hits(table, ttl_s=ttl).sum() / table["uncached_input_tokens"].sum()
        for ttl in (60, 300, 3600, None)
    ]
    assert rates[-1] == pytest.approx(0.374, abs=0.0005)
    # one hour, told in milliseconds from its beginning
    assert table["at"].max() - table["at"].min() == pd.Timedelta(minutes=58, seconds=56.999)
    assert rates == sorted(rates)


def test_notebook_02_prices_the_real_requests_on_every_model_of_both_lineups(tmp_path):
    """The command of the README, on the conversation trace: 19,366 requests on 20 models, Opus 4.8 as the raw file sums."""
    command = [
        sys.executable,
        "-m",
        "tierlab",
        "run",
        "02_scaling_costs",
        "-p",
        "trace",
        "azure_conv",
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    page = BeautifulSoup((tmp_path / "02_scaling_costs.html").read_text(), "html.parser")
    assert "19,366 recorded requests" in page.get_text()
    assert "19,366 requests on 20 models make 387,320 prices" in page.get_text()
    table = next(table for table in page("table") if table.find("th", string="assumed"))
    usd = {
        cells[1].get_text(): float(cells[2].get_text().replace(",", ""))
        for row in table("tr")
        if (cells := row("td"))
    }
    prices = tl.load_prices("maintained")
    assert set(usd) == {*prices.models(), *prices.models("2026-06-12", reasoning=True)}
    raw = pd.read_csv(tl.datasets.path("azure_conv"))[["ContextTokens", "GeneratedTokens"]].sum()
    assert usd["claude-opus-4-8"] == pytest.approx(
        (raw["ContextTokens"] * 5 + raw["GeneratedTokens"] * 25) / 1e6, abs=0.5
    )


@pytest.mark.parametrize("trace", ["azure_code", "mooncake_conv"])
def test_notebook_02_runs_on_the_other_traces(tmp_path, trace):
    run.run(["02_scaling_costs"], parameters={"trace": trace}, out=tmp_path)
    assert trace in (tmp_path / "02_scaling_costs.html").read_text()


@pytest.mark.parametrize(
    ("data", "model"),
    [("routellm_gsm8k", "gpt-4-1106-preview"), ("routerarena", "gemini-2.0-flash-001")],
)
def test_notebook_04_runs_on_two_recorded_models(tmp_path, data, model):
    run.run(["04_routing"], parameters={"data": data}, out=tmp_path)
    page = (tmp_path / "04_routing.html").read_text()
    assert model in page
    assert "no mid tier" in page


def test_notebook_04_runs_on_recorded_answers_of_three_claude_tiers(tmp_path):
    run.run(["04_routing"], parameters={"data": "zeroeval_gsm"}, out=tmp_path)
    page = (tmp_path / "04_routing.html").read_text()
    assert "claude-3-sonnet-20240229" in page
    assert "4.3% below the flagship" in page  # 1 - 91.51 / 95.60, the published accuracies


OPENAI = {"gpt-4o-mini": "gpt-4o-mini-2024-07-18", "gpt-4o": "gpt-4o-2024-08-06"}


def test_the_measured_numbers_of_the_claims_come_out_of_the_public_data(maintained):
    known = pd.read_csv(tl.paths.DATA / "measured.csv").set_index("name")["value"]
    found = {}
    for name in ("gsm8k", "mmlu"):
        outcomes = tl.load_outcomes(f"routellm_{name}")
        weak, strong = outcomes["model_id"].unique()
        scores = outcomes.pivot(index="prompt_id", columns="model_id", values="score")
        found[f"right_only_weak_{name}"] = ((scores[weak] == 1) & (scores[strong] == 0)).mean()
        found[f"random_80_loss_{name}"] = 0.8 * (scores[strong].mean() - scores[weak].mean())
    tiers = {
        "small": "claude-3-haiku-20240307",
        "mid": "claude-3-sonnet-20240229",
        "flagship": "claude-3-opus-20240229",
    }
    outcomes = tl.load_outcomes("zeroeval_gsm", prices=maintained)
    means = outcomes.groupby("model_id", observed=True)[["score", "cost_usd"]].mean()
    found |= {
        f"points_per_usd_{tier}": means["score"][model] / means["cost_usd"][model]
        for tier, model in tiers.items()
    }
    found["mid_below_flagship_gsm8k"] = (
        1 - means["score"][tiers["mid"]] / means["score"][tiers["flagship"]]
    )
    scores = outcomes.pivot(index="prompt_id", columns="model_id", values="score")
    claude = {tier: scores[model] for tier, model in tiers.items()}
    found |= {
        f"score_{name.replace('-', '_')}": scores[model].mean() for name, model in OPENAI.items()
    }
    found["small_at_least_flagship"] = (claude["small"] >= claude["flagship"]).mean()
    for tier in ("small", "mid"):
        found[f"disagree_{tier}_flagship"] = (claude[tier] != claude["flagship"]).mean()
    found |= _by_steps(
        claude,
        {answer["id"]: answer["output"][0].count("=") for answer in zeroeval(OPENAI["gpt-4o"])},
    )
    replies = [answer["output"][0] for answer in zeroeval(OPENAI["gpt-4o-mini"])]
    found["valid_json_gpt_4o_mini"] = sum(map(_has_both_fields, replies)) / len(replies)
    assert found == pytest.approx(known.to_dict(), rel=1e-4)


def zeroeval(model):
    return json.loads((tl.datasets.path("zeroeval_gsm") / f"{model}.json").read_text())


def _by_steps(claude, equations):
    """The small model's score on problems of few and of many calculations, and how the gap to the flagship grows."""
    steps = pd.Series(equations).reindex(claude["small"].index)
    few, many = steps <= 2, steps >= 5
    gap = claude["flagship"] - claude["small"]
    low, high = CompareMeans.from_data(gap[many], gap[few]).tconfint_diff(usevar="unequal")
    growth = {
        "gap_growth": gap[many].mean() - gap[few].mean(),
        "gap_growth_low": low,
        "gap_growth_high": high,
    }
    return growth | {
        "small_score_few_steps": claude["small"][few].mean(),
        "small_score_many_steps": claude["small"][many].mean(),
    }


def _has_both_fields(reply):
    """Whether a reply, without the fence around it, is JSON with the two fields that were asked for."""
    try:
        return set(json.loads(re.sub(r"^```(?:json)?\n|```$", "", reply.strip()))) == {
            "reasoning",
            "answer",
        }
    except ValueError:
        return False
