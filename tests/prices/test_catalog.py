"""Catalogues: what they know on a day and under a name, and how a bad file is refused."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tierlab as tl
from tierlab.prices.table import COLUMNS

ARTICLE = {  # USD per million tokens, input and output, as the article states them
    "claude-opus-4-8": (5, 25),
    "claude-sonnet-4-6": (3, 15),
    "claude-haiku-4-5": (1, 5),
    "gpt-5.5": (5, 30),
    "gpt-4o": (2.5, 10),
    "gpt-4o-mini": (0.15, 0.6),
    "gemini-3.1-pro-preview": (2, 12),
    "gemini-3.5-flash": (0.3, 2.5),
    "gemini-2.5-flash-lite": (0.1, 0.4),
}


def test_article_prices_are_the_articles(article):
    base = article.in_force().query("context_above == 0").set_index("model_id")
    assert {m: (r.uncached_input, r.output) for m, r in base.iterrows()} == ARTICLE
    assert base.index[base["approximate"]].tolist() == ["gpt-5.5"]
    steps = (
        article.in_force().query("model_id == 'gemini-3.1-pro-preview'").set_index("context_above")
    )
    assert steps[["uncached_input", "output"]].to_numpy().tolist() == [[2, 12], [4, 18]]


def test_lineups(article, maintained):
    assert article.lineup().to_numpy().tolist() == [
        ["claude-haiku-4-5", "claude-sonnet-4-6", "claude-opus-4-8"],
        ["gpt-4o-mini", "gpt-4o", "gpt-5.5"],
        ["gemini-2.5-flash-lite", "gemini-3.5-flash", "gemini-3.1-pro-preview"],
    ]
    assert maintained.models() == [
        *(
            "claude-haiku-5-5",
            "claude-sonnet-5-5",
            "claude-opus-5-5",
            "gpt-6-luna",
            "gpt-6.1-terra",
            "gpt-6-astra",
        ),
        "gemini-3.5-flash-lite",
        "gemini-3.8-flash",
        "gemini-4-argon",
    ]
    assert maintained.models("2026-06-12", reasoning=True)[9:] == ["o3", "o4-mini"]
    with pytest.raises(
        ValueError, match="no lineup is known on 2026-06-11; the first is 2026-06-12"
    ):
        maintained.lineup("2026-06-11")


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        ("openai/gpt-4o", "gpt-4o"),
        ("models/gemini-2.5-flash-lite", "gemini-2.5-flash-lite"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("Gemini 3.1 Pro", "gemini-3.1-pro-preview"),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "claude-haiku-4-5"),
        ("anthropic.claude-opus-4-8-v1:0", "claude-opus-4-8"),
        ("claude-opus-4-5@20251101", "claude-opus-4-5"),
        ("publishers/google/models/gemini-3.5-flash", "gemini-3.5-flash"),
        ("azure/gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("Claude Opus 4.8", "claude-opus-4-8"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),  # another price: 5 / 15
        ("gemini-4-argon-001", "gemini-4-argon"),
        ("claude-3-opus-20240229", "claude-3-opus-latest"),
    ],
)
def test_names_resolve(maintained, name, model_id):
    assert maintained.resolve(name) == model_id


@pytest.mark.parametrize(
    "name", ["gpt-4-o", "gpt-4o-2099-01-01", "claude-opus-9", "claude-haiku-4-5-turbo", "", "4o"]
)
def test_unknown_names_raise_and_name_the_nearest(maintained, name):
    with pytest.raises(ValueError, match="unknown model"):
        maintained.resolve(name)


def test_a_known_model_without_a_price_here_says_so(article):
    with pytest.raises(ValueError, match=r"GPT-6 Luna.*gpt-6-luna.*has no price in article"):
        article.resolve("GPT-6 Luna")
    with pytest.raises(ValueError, match="did you mean 'gpt-4o'"):
        article.resolve("gpt-4-o")


def test_every_catalogue_id_and_every_dated_alias_resolves_to_itself(maintained):
    ids = maintained.frame["model_id"].unique()
    assert [maintained.resolve(m) for m in ids] == list(ids)


def test_history_in_force(maintained):
    """o3 fell from 10/40 to 2/8 on 2025-06-10; Sonnet 4.6 lost its 200k step on 2026-03-13 (genai-prices 0.2.3)."""

    def rates(model, day):
        rows = maintained.in_force(day).query("model_id == @model")
        return rows[["context_above", "uncached_input", "output"]].to_numpy().tolist()

    assert rates("o3", "2025-06-09") == [[0, 10, 40]]
    assert rates("o3", "2025-06-10") == [[0, 2, 8]]
    assert rates("claude-sonnet-4-6", "2026-03-12") == [[0, 3, 15], [200_000, 6, 22.5]]
    assert rates("claude-sonnet-4-6", "2026-03-13") == [[0, 3, 15]]
    assert rates("gemini-4-argon", "2026-11-30") == [[0, 2, 10]]
    assert rates("gemini-4-argon", "2026-12-01") == [[0, 4, 20]]


def test_the_sources_disagree_about_one_model_and_one_step(article, maintained):
    table = article.diff(tl.load_prices("maintained", as_of="2026-06-12")).set_index(
        ["model_id", "context_above", "rate"]
    )
    assert table.loc[("gemini-3.5-flash", 0, "uncached_input"), ["here", "there"]].tolist() == [
        0.3,
        1.5,
    ]
    assert table.loc[("gemini-3.5-flash", 0, "output"), ["here", "there"]].tolist() == [2.5, 9.0]
    assert table.loc[("gpt-5.5", 272_000, "output"), "there"] == 45
    assert len(table) == 4
    assert article.diff(article).empty


def test_three_dated_changes_fall_within_six_weeks(maintained):
    table = maintained.changes("2026-11-23", "2027-01-04")
    assert table["on"].dt.strftime("%Y-%m-%d").unique().tolist() == [
        "2026-11-30",
        "2026-12-01",
        "2027-01-01",
    ]
    argon = table.query("model_id == 'gemini-4-argon' and rate == 'uncached_input'").iloc[0]
    assert (argon["before"], argon["after"], argon["on"].isoformat()[:10]) == (2, 4, "2026-12-01")
    assert table.query("kind == 'end'")[["model_id", "rate"]].to_numpy().tolist() == [
        ["claude-opus-4-8", "fast mode"]
    ]


def test_past_changes_include_a_step_that_went_away(maintained):
    table = maintained.changes("2026-03-12", "2026-03-13").query(
        "model_id == 'claude-sonnet-4-6' and rate == 'output'"
    )
    assert table[["context_above", "before", "after"]].to_numpy().tolist() == [[200_000, 22.5, 15]]
    pd.testing.assert_frame_equal(
        maintained.changes("2026-03-12", "2026-03-13", models=table["model_id"].unique()),
        maintained.changes("2026-03-12", "2026-03-13").merge(table[["model_id"]].drop_duplicates()),
        check_like=True,
    )
    assert maintained.changes("2026-03-12", "2026-03-13", models=["gpt-4o"]).empty
    assert maintained.changes("2026-03-13", "2026-03-13").empty
    assert maintained.changes(
        "2026-10-13", "2026-10-15"
    ).empty  # a batch rate that became known is not a change
    with pytest.raises(ValueError, match="before the start"):
        maintained.changes("2026-03-13", "2026-03-12")


days = st.dates(pd.Timestamp("2024-01-01").date(), pd.Timestamp("2027-06-30").date()).map(
    pd.Timestamp
)


@settings(max_examples=25, deadline=None)
@given(
    days, st.sampled_from(["gpt-5.6-luna", "claude-sonnet-4-6", "o3", "gemini-4-argon", "gpt-4o"])
)
def test_in_force_is_a_models_newest_row_that_has_begun(day, model_id):
    prices = tl.load_prices("maintained")
    begins = [
        pd.Timestamp(0) if pd.isna(on) else on
        for on in prices.frame.query("model_id == @model_id")["valid_from"]
    ]
    expected = max((on for on in begins if on <= day), default=min(begins))
    found = (
        prices.in_force(day).query("model_id == @model_id")["valid_from"].fillna(pd.Timestamp(0))
    )
    assert set(found) == {expected}


def test_what_is_done_to_the_rows_of_a_day_does_not_reach_the_catalogue():
    prices = tl.load_prices("article")
    rows = prices.in_force()
    before = rows["output"].tolist()
    rows["output"] = 0.0
    rows.loc[0, "uncached_input"] = -1.0
    again = prices.in_force()
    assert again["output"].tolist() == before and (again["uncached_input"] > 0).all()


def test_retiring_within_a_horizon(maintained):
    """litellm 1.106.2: o3 2026-12-11, GPT-4o and 4o-mini 2027-01-14; o4-mini (2026-10-23) is past."""
    table = maintained.retiring("2027-01-14")
    dates = table.set_index("model_id")["retires_on"].dt.strftime("%Y-%m-%d")
    assert dates[["o3", "gpt-4o", "gpt-4o-mini"]].tolist() == [
        "2026-12-11",
        "2027-01-14",
        "2027-01-14",
    ]
    assert "o4-mini" not in dates.index
    assert "gpt-4o" not in maintained.retiring("2027-01-13")["model_id"].tolist()
    assert table.set_index("model_id").loc["o3", "days"] == 18  # 2026-11-23 to 2026-12-11


def test_age_is_measured_against_as_of():
    assert not tl.load_prices("article").age()["stale"].any()
    half_year = tl.load_prices("article", as_of="2026-12-09").age()  # 2026-06-12 + 180 days
    assert half_year["age_days"].eq(180).all()
    assert not half_year["stale"].any()
    assert tl.load_prices("article", as_of="2026-12-10").age()["stale"].all()


def _file(tmp_path, text):
    path = tmp_path / "prices.csv"
    path.write_text(text)
    return path


GOOD = "model_id,provider,context_above,uncached_input,output,checked_on\ngpt-4o,openai,0,2.5,10,2026-06-12\n"


def test_a_file_of_ones_own(tmp_path):
    prices = tl.load_prices(_file(tmp_path, GOOD + "llama-70b,in-house,0,0.2,0.3,2026-06-12\n"))
    assert prices.in_force().set_index("model_id").loc["llama-70b", "output"] == 0.3
    assert list(prices.frame.columns) == list(COLUMNS)
    frame = prices.frame[["model_id", "provider", "uncached_input", "output", "checked_on"]]
    frame.to_parquet(tmp_path / "prices.parquet")
    again = tl.load_prices(tmp_path / "prices.parquet")
    pd.testing.assert_series_equal(again.frame["output"], prices.frame["output"])


def test_a_file_with_tiers_brings_its_own_lineup(tmp_path):
    text = "model_id,provider,tier,uncached_input,output\nbig,house,flagship,4,8\ntiny,house,small,1,2\n"
    prices = tl.load_prices(_file(tmp_path, text), as_of="2026-11-23")
    assert prices.lineup().loc["house", ["small", "flagship"]].tolist() == ["tiny", "big"]
    assert prices.models() == ["tiny", "big"]


def test_a_file_without_tiers_has_the_known_lineup_of_its_own_models_alone(tmp_path):
    prices = tl.load_prices(_file(tmp_path, GOOD + "gpt-4o-mini,openai,0,0.15,0.6,2026-06-12\n"))
    assert prices.models() == ["gpt-4o-mini", "gpt-4o"]
    assert len(tl.daily_cost(tl.Workload(requests_per_day=1), prices)) == 2
    strange = tl.load_prices(_file(tmp_path, GOOD.replace("gpt-4o,openai", "llama-70b,in-house")))
    with pytest.raises(
        ValueError,
        match="no lineup is known on 2026-06-12; name the models, or give the file a column 'tier'",
    ):
        strange.models()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "model_id,provider,uncached_input\ngpt-4o,openai,2.5\n",
            "prices.csv: column 'output' is missing",
        ),
        (GOOD.replace("output", "ouput"), "unknown column 'ouput'; did you mean 'output'"),
        (
            GOOD + "gpt-4o-mini,openai,0,0.15,-0.6,\n",
            "row 3, column 'output': -0.6 is not a number from 0 up",
        ),
        (
            GOOD + "gpt-4o-mini,openai,0,0.15,cheap,\n",
            "row 3, column 'output': 'cheap' is not a number",
        ),
        (GOOD + "gpt-4o-mini,openai,0,0.15,inf,\n", "row 3, column 'output': inf is not a number"),
        (GOOD + "gpt-4o-mini,openai,0,,0.6,\n", "row 3, column 'uncached_input': empty"),
        (
            GOOD + "gpt-4-o,openai,0,1,2,\n",
            "row 3, column 'model_id': unknown model 'gpt-4-o'; did you mean 'gpt-4o'",
        ),
        (GOOD + "gpt-4o,openai,0,3,12,\n", "row 3, column 'model_id': a second row for 'gpt-4o'"),
        (
            GOOD + "gpt-4o-mini,openai,0,0.15,0.6,soon\n",
            "row 3, column 'checked_on': 'soon' is not an ISO date",
        ),
        (
            GOOD + "gpt-4-o,OpenAI,0,1,2,\n",
            "row 3, column 'provider': 'OpenAI'; write it as one of anthropic, openai, google",
        ),
        (GOOD.splitlines()[0] + "\n", "no row below the header"),
        ("", "cannot be read as a prices table"),
    ],
)
def test_bad_files_name_file_row_and_column(tmp_path, text, message):
    with pytest.raises(ValueError) as error:
        tl.load_prices(_file(tmp_path, text), as_of="2026-06-12")
    assert message in str(error.value)
    assert "prices.csv" in str(error.value)


def test_unreadable_sources(tmp_path):
    with pytest.raises(ValueError, match=r"absent\.csv: cannot be read"):
        tl.load_prices(tmp_path / "absent.csv")
    (tmp_path / "noise.parquet").write_bytes(b"\x00\x01noise")
    with pytest.raises(ValueError, match=r"noise\.parquet: cannot be read"):
        tl.load_prices(tmp_path / "noise.parquet")
    with pytest.raises(
        ValueError, match="unknown catalogue 'maintaned'; did you mean 'maintained'"
    ):
        tl.load_prices("maintaned")
    with pytest.raises(ValueError, match="'soon' is not a date"):
        tl.load_prices("article", as_of="soon")


def test_a_model_the_catalogue_does_not_know_yet_needs_a_launch_date(tmp_path):
    text = "model_id,provider,uncached_input,output,launched_on,checked_on\ngpt-9,openai,1,2,2026-11-20,2026-11-23\n"
    assert tl.load_prices(_file(tmp_path, text)).resolve("openai/gpt-9") == "gpt-9"


def test_overlay_facts_have_a_source_and_a_known_model(maintained):
    overlay = pd.read_csv(tl.paths.DATA / "overlay.csv", dtype=str)
    assert overlay[["field", "value", "assumed", "source", "checked_on"]].notna().all(axis=None)
    dropped = set(overlay.loc[overlay["field"] == "sold_by_maker", "model_id"])
    assert set(overlay["model_id"]) - {"*"} - dropped <= set(maintained.frame["model_id"])
    assert dropped <= set(maintained.sellers) - set(maintained.frame["model_id"])
    assert not overlay.duplicated(["model_id", "field"]).any()
