"""The command `route` on your own outcomes, and the control on the same curve, against arithmetic."""

import pandas as pd
import pytest
from bs4 import BeautifulSoup

import tierlab as tl
from tierlab.cli import main
from tierlab.routing.report import output, router_report, write


@pytest.fixture(scope="module")
def outcomes():
    table = tl.simulate_outcomes(1500, seed=3, prices=tl.load_prices("article"), signal_skill=0.95)
    return table[
        ["prompt_id", "model_id", "task", "prompt_chars", "score", "cost_usd", "router_signal"]
    ]


@pytest.fixture(scope="module")
def path(outcomes, tmp_path_factory):
    file = tmp_path_factory.mktemp("own") / "outcomes.csv"
    outcomes.to_csv(file, index=False)
    return file


def test_the_command_prints_a_verdict_and_writes_curve_table_and_page(
    path, outcomes, tmp_path, capsys
):
    assert main(["route", str(path), "--score", "router_signal", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert (
        "claude-haiku-4-5 (weak) and claude-opus-4-8 (strong), router: column router_signal" in said
    )
    assert "The router beats a random mix of the same cost" in said
    page = BeautifulSoup((tmp_path / "router.html").read_text(), "html.parser").get_text()
    for shown in (said, page):
        assert "gain over a random mix (score)" in shown and "CPT 50%" in shown
        for name in ("over_control", "over_zero", "usd_per_1000", "strong_share", "cpt_0.5"):
            assert name not in shown
    curve = pd.read_csv(tmp_path / "curve.csv")
    means = outcomes.groupby("model_id")[["score", "cost_usd"]].mean()
    ends = curve[["score", "cost_usd"]].iloc[[0, -1]].to_numpy()
    assert ends == pytest.approx(means.loc[["claude-haiku-4-5", "claude-opus-4-8"]].to_numpy())
    policies = pd.read_csv(tmp_path / "policies.csv", index_col=[0, 1])["estimate"]
    saving = 1 - means["cost_usd"]["claude-haiku-4-5"] / means["cost_usd"]["claude-opus-4-8"]
    assert policies["always claude-haiku-4-5", "saving"] == pytest.approx(saving)


def test_prices_can_be_given_and_an_error_has_its_cost(tmp_path, capsys):
    """100 input and 10 output tokens at 2 / 5 and 20 / 50 USD per million: 0.25 and 2.5 USD per 1,000."""
    rows = [
        (i, m, float(m == "strong" or i % 2), 100, 10, i)
        for i in range(40)
        for m in ("weak", "strong")
    ]
    columns = [
        "prompt_id",
        "model_id",
        "score",
        "uncached_input_tokens",
        "output_tokens",
        "prompt_chars",
    ]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "own.csv", index=False)
    given = ["--usd-per-mtok", "weak", "2", "5", "--usd-per-mtok", "strong", "20", "50"]
    assert (
        main(
            [
                "route",
                str(tmp_path / "own.csv"),
                *given,
                "--error-cost-usd",
                "0.1",
                "--out",
                str(tmp_path),
            ]
        )
        == 0
    )
    table = pd.read_csv(tmp_path / "policies.csv", index_col=[0, 1])["estimate"]
    assert table["always weak", "usd_per_1000"] == pytest.approx(0.25)
    # against the strong model for all: 2.25 USD per 1,000 saved, half of the answers lost at 0.10 USD each
    assert table["always weak", "net_usd_per_1000"] == pytest.approx(2.25 - 0.5 * 100)
    assert "net gain, lost answers included (USD per 1,000 prompts)" in capsys.readouterr().out


def test_the_page_loads_nothing_and_shows_names_as_text(outcomes, tmp_path):
    bad = outcomes.assign(
        model_id=outcomes["model_id"]
        .astype(str)
        .replace("claude-opus-4-8", "<script>alert(1)</script>")
    )
    bad.to_csv(tmp_path / "bad.csv", index=False)
    page = write(
        router_report(tmp_path / "bad.csv", score="router_signal"), output(tmp_path / "out")
    )
    soup = BeautifulSoup(page.read_text(), "html.parser")
    assert "<script>alert(1)</script>" in soup.get_text()
    assert not [s for s in soup("script") if "alert(1)" in s.get_text()]
    (image,) = soup("img")
    assert image["src"].startswith("data:") and image["alt"].startswith("Quality of routing")
    assert not soup.find_all(["link", "iframe"])


@pytest.mark.parametrize("name", ["curve.csv", "policies.csv", "router.html"])
def test_no_file_of_somebody_else_is_written_over(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=name):
        output(tmp_path)
    output(tmp_path, force=True)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda t: pd.concat([t, t.iloc[[0]]]), [], "more than once"),
        (lambda t: t.iloc[1:], [], "lack an answer"),
        (lambda t: t.assign(score=t["score"] * 3), [], "outside 0-1"),
        (lambda t: t.drop(columns="score"), [], "'score'"),
        (lambda t: t, ["--score", "nothing"], "there is no column 'nothing'"),
        (lambda t: t, ["--weak", "gpt-4o"], "gpt-4o"),
        (lambda t: t.drop(columns="prompt_chars"), [], "nothing ranks the prompts"),
        (lambda t: t, ["--as-of", "2026-11-23"], "--as-of goes with --prices"),
    ],
)
def test_bad_input_is_one_clear_line(outcomes, tmp_path, capsys, change, options, message):
    change(outcomes).to_csv(tmp_path / "bad.csv", index=False)
    assert main(["route", str(tmp_path / "bad.csv"), *options]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.strip().splitlines()) == 1


def test_a_single_model_that_beats_the_router_is_named_and_prices_are_those_of_the_day(
    tmp_path, capsys
):
    """500 prompts, two models at 100 tokens in and 10 out, the cheap one right on every prompt and the expensive one on 3 of 5."""
    rows = [
        {"prompt_id": i, "model_id": model, "score": float(right), "prompt_chars": 400 + i}
        for i in range(500)
        for model, right in (("gpt-4o-mini", True), ("gpt-4o", i % 5 > 1))
    ]
    pd.DataFrame(rows).assign(uncached_input_tokens=100, output_tokens=10).to_csv(
        tmp_path / "own.csv", index=False
    )
    options = ["--prices", "maintained", "--as-of", "2026-11-23", "--out", str(tmp_path)]
    assert main(["route", str(tmp_path / "own.csv"), *options]) == 0
    said = capsys.readouterr().out
    assert "gpt-4o-mini (weak) and gpt-4o (strong), router: length of the prompt" in said
    assert "so it is not worth building" in said
    assert "as of 2026-11-23" in said
    assert "without a gap between the models" in said
    usd = pd.read_csv(tmp_path / "policies.csv", index_col=[0, 1])["estimate"]
    # USD per million tokens: 2.50 in and 10.00 out
    assert usd["always gpt-4o", "usd_per_1000"] == pytest.approx((100 * 2.5 + 10 * 10) / 1000)


def test_what_an_assumption_made_is_printed(tmp_path, capsys):
    rows = {
        "prompt_id": [*range(20)] * 2,
        "model_id": ["a"] * 20 + ["b"] * 20,
        "score": [0, 1] * 10 + [1] * 20,
    }
    table = pd.DataFrame(rows).assign(prompt_chars=lambda t: t["prompt_id"])
    table.to_csv(tmp_path / "own.csv", index=False)
    assert (
        main(
            [
                "route",
                str(tmp_path / "own.csv"),
                "--weak",
                "a",
                "--strong",
                "b",
                "--out",
                str(tmp_path),
            ]
        )
        == 0
    )
    said = capsys.readouterr().out
    assert "none: no costs and no token counts" in said and "no_price 20" in said
    assert "Costs are not known" in said


def test_the_control_shows_the_numbers_of_its_point():
    """Two prompts: the router sends one up. Weak 0.002, strong 0.010; at twice the strong price 0.5 x (0.002 + 0.020)."""
    table = pd.DataFrame(
        {
            "prompt_id": [1, 2] * 2,
            "model_id": ["w"] * 2 + ["s"] * 2,
            "score": [1, 0, 1, 1.0],
            "cost_usd": [0.002] * 2 + [0.01] * 2,
        }
    )
    control = tl.routing.control.RouterExplorer(
        table, pd.Series([0.1, 0.9], [1, 2]), weak="w", strong="s"
    )
    control.controls["share"].value = 0.5
    before = bytes(control.image.value)
    control.controls["factor"].value = 2.0
    row = control.table(share=0.5, factor=2.0, error_usd=0.05).set_index("choice")
    assert row.loc["router", "cost_usd"] == pytest.approx(0.011)
    assert row.loc["always s", "cost_usd"] == pytest.approx(0.02)
    assert row.loc["always w", "all_in_usd"] == pytest.approx(0.002 + 0.5 * 0.05)
    assert "11.00" in control.text.value  # USD per 1,000 requests
    assert "costs 10% more than the strong model" in control.words(
        row.reset_index().assign(cost_usd=[0.002, 0.022, 0.02]), error_usd=0.05
    )
    assert before  # the curve is drawn; the price changes the numbers only
    control.controls["share"].value = 1.0
    assert bytes(control.image.value) != before
