"""The article's claims: every verdict follows from its number, and equals an independent reading of the article."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tierlab as tl
from tierlab.article import claims as claims_of
from tierlab.article.claims import VERDICTS, evaluate_claims, load_claims
from tierlab.article.rules import METRICS, load_measured, rates
from tierlab.reasoning import student
from tierlab.reasoning.student import recorded_embeddings

SMALL, LARGE = "smollm2-135m-instruct", "qwen2.5-coder-1.5b-instruct"
EXPECTED = Path(__file__).parent / "claims_expected.csv"
NOTEBOOKS = {
    *(
        "01_pricing",
        "02_scaling_costs",
        "03_match_tasks_to_tiers",
        "04_routing",
        "05_live_sampling",
    ),
    "06_speed_and_waiting",
    "08_reasoning",
    "09_distillation",
}
INSTRUCTION = "an instruction, a definition or a principle: no number can bear it out"
# The independent reading looked at the article alone, and called instructions supported.
DIFFERENT = {
    "C024": (
        "contradicted",
        "RouteLLM's outcomes: some prompts are right on the weaker model only",
    ),
    "C040": ("contradicted", "ZeroEval's three Claude tiers: the small one scores most per dollar"),
    "C039": (
        "contradicted",
        "the maintained catalogue has 1.50/9.00; the article alone cannot tell",
    ),
    "C060": ("supported", "the six input prices of the table equal the maintained catalogue's"),
    "C065": (
        "supported",
        "ZeroEval: 1,296 of 1,319 replies of GPT-4o-mini are valid JSON with both fields",
    ),
    "C083": (
        "supported",
        "an embedding router of 77 ms at most beside published waits of 321 ms and more",
    ),
    "C086": (
        "contradicted",
        "the maintained catalogue has windows of 200,000 and 1,000,000 tokens",
    ),
    "C087": (
        "supported",
        "the window of GPT-4o-mini is below the article's own 900,000-token request",
    ),
    "C091": ("contradicted", "no page of Anthropic or Amazon offers tuning of Haiku 4.5"),
    "C112": (
        "supported",
        "ZeroEval: the gap of Haiku to Opus is wider on problems of many calculations",
    ),
    "C117": (
        "supported",
        "every pair of published speeds has Gemini 3.1 Pro a third ahead at least",
    ),
    **dict.fromkeys(
        ["C096", "C097", "C098", "C099", "C100", "C113", "C119"], ("not checkable", INSTRUCTION)
    ),
}


def conversation_usd(share, read, write, output):
    """What a model's turns of the conversation of C120 cost (USD per 1M), each of ten turns its own with a probability.

    Before turn t its cache holds the input of the last turn that it answered: of turn u with the probability that it
    answered u and none after it.
    """
    context = [6_000 + 2_000 * (turn + 1) + 300 * turn for turn in range(10)]
    held = [
        sum(share * (1 - share) ** (t - 1 - u) * context[u] for u in range(t)) for t in range(10)
    ]
    whole = zip(context, held, strict=True)
    return sum(share * (read * old + write * (all_ - old) + output * 300) for all_, old in whole)


def drawn_saving(share):
    """Against Opus 4.8 alone, with that share of the turns on Haiku 4.5: read and write rates, 0.1 and 1.25 of input."""
    haiku, opus = (0.10, 1.25, 5), (0.50, 6.25, 25)
    mixed = conversation_usd(share, *haiku) + conversation_usd(1 - share, *opus)
    return 1 - mixed / conversation_usd(1, *opus)


# (lowest, highest) computed value, from the formula and the article's prices.
NUMBERS = {
    "C001": (2126 / 11, 2126 / 11),
    "C007": (5, 5),
    "C008": (5 / 0.15, 30 / 0.60),
    "C009": (20, 30),
    "C010": (50, 62.5),
    "C012": (800, 800),
    "C013": (10_000, 10_000),
    "C014": (2_000, 2_000),
    "C015": (0.8 * 2_000 + 0.2 * 10_000,) * 2,
    "C016": (3_600 + 545 * 1 + 3 * 5,) * 2,
    "C017": (170, 11_500),
    "C019": (
        33 / 90,
        105.3 / 44,
    ),  # tokens/s of GPT-4o-mini over GPT-5.5, slowest over fastest page and the reverse
    "C020": (160, 191.9),
    "C021": (0.5 / (1.2 + 299 / 55), 0.5 / (0.5 + 299 / 312.5)),  # Opus, Flash-Lite
    "C022": (0.5, 0.5),
    "C029": (2, 18),
    "C030": (0.00443 / 0.05, 0.011245 / 0.05),
    "C032": (0.4, 0.4),
    "C033": (0.5, 1 - 10 / 30),
    "C034": (1 - 2.5 / 12, 1 - 0.3 / 2),
    "C035": (1 - 2.5 / 18, 1 - 0.3 / 4),
    "C036": (28 / 90, 284 / 122.2),
    "C039": (1.50, 9.00),
    "C045": (300 * 0.00017, 3.00),
    "C059": (11_500 / 255 / 5,) * 2,
    "C063": (0.20, 0.60),
    "C064": (44, 135),
    "C068": (0.20, 0.30),
    "C069": (0.56, 0.64),
    "C070": (0.504, 0.584),
    "C071": (0.28, 0.32),
    "C072": (0.7 * (1 - 255 / 11_500), 0.8 * (1 - 255 / 11_500)),
    "C073": (0.7 * (1 - 4_250 / 11_500), 0.8 * (1 - 4_250 / 11_500)),
    "C074": (0.7 * (1 - 170 / 4_600), 0.8 * (1 - 170 / 4_600)),
    "C075": (0.7 * (1 - 900 / 4_600), 0.8 * (1 - 900 / 4_600)),
    "C083": (0.077 / 1.42, 0.077 / 0.321),
    "C084": (200_000, 1_000_000),
    "C085": (1, 2),
    "C086": (128_000, 1_000_000),
    "C087": (128_000, 128_000),
    "C091": (0, 1),
    "C092": (5_000 / 0.008,) * 2,
    "C094": (1 / (1 - 0.2), 1 / (1 - 0.8)),
    "C095": (30 / 8, 30 / 4.4),
    "C101": (0.5, 0.9),
    "C106": (5, 40),
    "C107": (5, 5),
    "C108": (5 / 0.15,) * 2,
    "C109": (1, 1.5),
    "C110": (30 * 8_000,) * 2,
    "C114": (30 * 1_000 * (0.0064 - 0.00056), 30 * 10_000 * (0.0064 - 0.00056)),
    "C115": (0.00056 / 0.008,) * 2,
    "C116": (0.20, 0.60),
    "C117": (122.2 / 90, 135 / 44),
    "C118": (1, 1),
    "C120": (drawn_saving(0.7), drawn_saving(0.8)),  # 27.9% and 37.7%
    "C121": (
        0.7 * 0.8,
        0.8 * 0.8,
    ),  # one draw a conversation: Haiku's rates are all a fifth of Opus's
}


@pytest.fixture(scope="module")
def claims():
    return load_claims().set_index("id", drop=False)


@pytest.fixture(scope="module")
def june():
    return {name: tl.load_prices(name, as_of="2026-06-12") for name in ("article", "maintained")}


@pytest.fixture(scope="module")
def table(june):
    return evaluate_claims(**june)


def with_price(prices, model_id, **rates):
    frame = prices.frame.copy()
    frame.loc[frame["model_id"] == model_id, list(rates)] = list(rates.values())
    return replace(prices, frame=frame)


def judge(june, claims, claim_id, **changed):
    return evaluate_claims(**june | changed, claims=claims.loc[[claim_id]]).loc[claim_id]


@pytest.mark.parametrize("claim_id", pd.read_csv(EXPECTED)["id"])
def test_the_verdict_equals_an_independent_reading(table, claim_id):
    expected = pd.read_csv(EXPECTED, index_col="id")["verdict"][claim_id]
    seen = table.loc[claim_id, "verdict"]
    if claim_id in DIFFERENT:
        assert seen == DIFFERENT[claim_id][0] != expected, DIFFERENT[claim_id][1]
    else:
        assert seen == expected


def test_all_claims_are_there_and_no_verdict_is_stored(claims, table):
    assert (
        list(table.index) == [f"C{i:03d}" for i in range(1, len(table) + 1)] and len(table) >= 119
    )
    assert list(pd.read_csv(EXPECTED)["id"]) == list(table.index)
    assert "verdict" not in claims.columns
    assert set(table["verdict"]) == set(VERDICTS)


@pytest.mark.parametrize("claim_id", NUMBERS)
def test_the_number_is_the_formulas(table, claim_id):
    assert tuple(table.loc[claim_id, ["computed_low", "computed_high"]]) == pytest.approx(
        NUMBERS[claim_id], rel=1e-12
    )


def test_every_row_has_a_rule_or_a_reason(claims):
    assert set(claims["rule"]) <= {"", *METRICS}
    assert set(METRICS) <= set(claims["rule"]), "a metric that no claim uses"
    assert set(claims["prices"]) == {"", "article", "maintained"}
    assert set(claims["claimed_by"]) == {"article", "reading", "derived"}
    assert set(claims["notebook"]) <= NOTEBOOKS | {""}
    bounds = claims[["low", "high"]].ne("").any(axis=1)
    assert claims.loc[~bounds, "note"].ne("").all()
    shown = claims["rule"].ne("") | claims["notebook"].ne("")
    assert claims.loc[~shown, "note"].str.startswith("no notebook: ").all(), (
        "what nothing checks says why"
    )
    assert not bounds[claims["rule"] == ""].any()
    assert not claims["claim"].str.contains(r"^same|^\.\.\.").any(), "each claim stands on its own"


def test_a_narrower_reading_than_the_article_is_called_one():
    """Contradicted on a reading that the article's words leave open: prompt by prompt, and each lineup's small model."""
    claims = load_claims().set_index("id")
    assert (claims.loc[["C024", "C091"], "claimed_by"] == "reading").all()
    assert claims.loc[["C024", "C091"], "claim"].str.endswith(")").all()


def test_every_number_says_where_it_comes_from(claims, table):
    computed = claims["rule"].ne("")
    assert (
        table.loc[computed, "computed"].ne("").all() and table.loc[computed, "source"].ne("").all()
    )
    assert table.loc[~computed, ["computed", "source"]].eq("").all(axis=None)


@pytest.fixture(scope="module")
def recorded():
    answers = pd.read_csv(tl.paths.DATA / "samples" / "open_models.csv")
    answers["score"] = answers["score"].where(answers["status"] != "truncated")
    scores = answers.pivot(index="prompt_id", columns="model_id", values="score")[[SMALL, LARGE]]
    facts = answers.drop_duplicates("prompt_id").set_index("prompt_id")[["task", "difficulty"]]
    return facts.join((scores[SMALL] - scores[LARGE]).rename("gap"), how="left").dropna(
        subset="gap"
    )


@pytest.mark.parametrize(
    ("claim_id", "kept"),
    [
        ("C011", "difficulty == 'hard'"),
        ("C111", "task in ['intent_classification', 'entity_extraction', 'faq_answering']"),
    ],
)
def test_a_recorded_gap_is_the_mean_of_the_differences(table, recorded, claim_id, kept):
    gap, row = recorded.query(kept)["gap"], table.loc[claim_id]
    assert row["computed"].startswith(f"on {len(gap)} examples {100 * gap.mean():.1f}, interval ")
    assert row["computed_low"] < gap.mean() < row["computed_high"]
    width = (
        2 * 1.96 * gap.std() / len(gap) ** 0.5
    )  # for large samples: on twenty examples it has to be wider
    assert 1 < (row["computed_high"] - row["computed_low"]) / width < 1.35


def in_recorded(name):
    return METRICS["recorded"](None, name).to_dict()


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("hard_gap", "difficulty == 'hard'"),
        ("narrow_gap", "task in ['intent_classification', 'entity_extraction', 'faq_answering']"),
    ],
)
def test_a_recorded_gap_is_made_again(name, kept):
    """`tierlab.compare` of the small stand-in with the large one, on the recorded answers."""
    answers = tl.load_samples("open_models").query(kept)
    pair = answers[answers["model_id"].isin([SMALL, LARGE])]
    found = tl.compare(pair, reference=LARGE, margin=0.5).pairs.loc[SMALL]
    assert in_recorded(name) == pytest.approx(
        {
            f"on {found['examples']} examples": found["difference"],
            "interval from": found["low"],
            "interval to": found["high"],
        },
        abs=1e-12,
    )


def test_right_tool_calls_are_counted_where_a_call_is_wanted(table):
    """None of the stand-ins makes one; the ten examples are those whose reference names a tool."""
    assert table.loc["C057", ["computed", "computed_low", "computed_high"]].tolist() == [
        "0.0%",
        0.0,
        0.0,
    ]
    lines = (tl.paths.DATA / "examples" / "examples.jsonl").read_text("utf-8").splitlines()
    asked = [example for example in map(json.loads, lines) if example["scorer"] == "tool_call"]
    wanted = [
        example["example_id"]
        for example in asked
        if isinstance(example["reference"], list) or example["reference"].get("name")
    ]
    assert len(wanted) == 10
    rows = tl.load_samples("open_models").dropna(subset="score")
    rows = rows[rows["prompt_id"].isin(wanted)].groupby("model_id")["score"].agg(["mean", "size"])
    names = {"small": SMALL, "middle": "qwen2.5-coder-0.5b-instruct", "large": LARGE}
    assert in_recorded("tool_calls") == {
        f"{tier} stand-in (of {rows.at[model, 'size']})": rows.at[model, "mean"]
        for tier, model in names.items()
    }


def test_the_examples_that_a_margin_takes_give_the_power_they_promise(table):
    """Exact enumeration, where the rule has a formula; and the article's 100 examples have less than half of it."""
    shares = load_measured()["value"]
    for n, name in zip(
        table.loc["C089", ["computed_low", "computed_high"]], ("mid", "small"), strict=True
    ):
        share = shares[f"disagree_{name}_flagship"]
        assert tl.noninferiority_power(int(n), 0.05, discordant=share) == pytest.approx(
            0.8, abs=0.03
        )
        assert tl.noninferiority_power(100, 0.05, discordant=share) < 0.55


def test_the_student_beside_its_teacher():
    """A student trained on all its teacher's labels, compared with the teacher on the messages that were held out."""
    answers, messages = tl.load_samples("intents"), tl.load_intents()
    messages.index = [example.example_id for example in student.intent_examples(messages)]
    test = messages[messages["split"] == "test"]
    labels = student.teacher_labels(answers)
    lessons = messages.drop(test.index).assign(label=labels).dropna(subset="label")
    trained = student.train(lessons["text"], lessons["label"], vectorise=recorded_embeddings())
    own = answers[(answers["model_id"] == student.TEACHER) & answers["prompt_id"].isin(test.index)]
    both = pd.concat([student.evaluate(trained, test, model_id="student"), own])
    found = tl.compare(both, reference=student.TEACHER, margin=0.5).pairs.loc["student"]
    wanted = [found["difference"], found["low"], found["high"]]
    assert list(in_recorded("distilled_gap").values()) == pytest.approx(wanted, abs=1e-9)
    assert f"on {found['examples']} examples" in in_recorded("distilled_gap")


def test_both_prices_of_gemini_3_5_flash_are_shown(table):
    price = table.loc["C039"]
    assert (price["computed"], price["verdict"], price["basis"]) == (
        "input $1.50, output $9.00",
        "contradicted",
        "maintained",
    )
    assert (price["other_computed"], price["other_verdict"]) == (
        "input $0.30, output $2.50",
        "supported",
    )
    saving = table.loc["C034"]
    assert (saving["computed_low"], saving["other_computed"]) == (
        pytest.approx(1 - 2.5 / 12),
        "25.0%",
    )
    assert table.loc["C017", "other_computed"].split(", gemini")[2] == "-3.5-flash $3,450"


@pytest.mark.parametrize(
    ("claim_id", "catalogue", "model_id", "rates", "before", "after"),
    [
        (
            "C002",
            "article",
            "claude-haiku-4-5",
            {"uncached_input": 3.0, "output": 15.0},
            "supported",
            "contradicted",
        ),
        (
            "C007",
            "article",
            "claude-haiku-4-5",
            {"uncached_input": 0.125, "output": 0.625},
            "contradicted",
            "supported",
        ),
        ("C008", "article", "gpt-5.5", {"output": 30.01}, "supported", "contradicted"),
        (
            "C032",
            "article",
            "claude-sonnet-4-6",
            {"uncached_input": 3.01},
            "supported",
            "contradicted",
        ),
        (
            "C039",
            "maintained",
            "gemini-3.5-flash",
            {"uncached_input": 0.30, "output": 2.50},
            "contradicted",
            "supported",
        ),
        (
            "C070",
            "article",
            "claude-haiku-4-5",
            {"uncached_input": 1.1},
            "supported",
            "contradicted",
        ),
        (
            "C085",
            "article",
            "gemini-3.1-pro-preview",
            {"uncached_input": 2.00},
            "contradicted",
            "supported",
        ),
        ("C013", "article", "claude-opus-4-8", {"output": 30.0}, "supported", "contradicted"),
        (
            "C060",
            "maintained",
            "claude-haiku-4-5",
            {"uncached_input": 1.01},
            "supported",
            "contradicted",
        ),
        (
            "C118",
            "article",
            "gemini-2.5-flash-lite",
            {"uncached_input": 1.01},
            "supported",
            "contradicted",
        ),
    ],
)
def test_a_changed_price_changes_the_verdict(
    june, claims, claim_id, catalogue, model_id, rates, before, after
):
    assert judge(june, claims, claim_id)["verdict"] == before
    changed = with_price(june[catalogue], model_id, **rates)
    assert judge(june, claims, claim_id, **{catalogue: changed})["verdict"] == after


def test_bounds_are_inclusive_and_one_value_outside_contradicts(june, claims):
    """30 / 0.6 is a hair above 50 in floating point and still within 30x to 50x."""
    assert 30 / 0.6 >= 50
    row = claims.loc["C008"]
    for high, verdict in (("50", "supported"), ("49.99", "contradicted"), ("", "supported")):
        edited = claims.loc[["C008"]].assign(high=high)
        assert evaluate_claims(**june, claims=edited).loc["C008", "verdict"] == verdict
    assert row["low"] == "30"


def test_a_value_without_a_figure_is_counted_and_all_of_them_is_not_checkable(june, claims):
    blind = with_price(june["maintained"], "gpt-4o-mini", context_window=np.nan)
    row = judge(june, claims, "C086", maintained=blind)
    assert row["verdict"] == "contradicted" and "1 more without a figure" in row["why"]
    none = replace(blind, frame=blind.frame.assign(context_window=np.nan))
    row = judge(june, claims, "C086", maintained=none)
    assert row["verdict"] == "not checkable" and row["why"].startswith("no figure in genai-prices")


def test_a_catalogue_without_a_model_is_not_checkable_and_named(june, claims):
    frame = june["article"].frame
    poor = replace(june["article"], frame=frame[frame["model_id"] != "claude-haiku-4-5"])
    row = judge(june, claims, "C014", article=poor)
    assert (row["verdict"], row["computed"]) == ("not checkable", "")
    assert row["why"].startswith("no model anthropic.small in article")
    assert (row["other_verdict"], row["other_computed"]) == ("supported", "$2,000")


def test_on_a_later_day_the_slots_hold_that_days_lineup(june, claims):
    """Opus 5.5 at 4/20 over Haiku 5.5 at 0.10/0.50 is 40x on every mix: the 30 to 50 times have come true."""
    later = tl.load_prices("maintained", as_of="2026-11-23")
    row = judge(june, claims, "C007", maintained=later)
    assert (row["verdict"], row["other_verdict"], row["other_computed"]) == (
        "contradicted",
        "supported",
        "40x",
    )


def test_a_length_over_the_window_has_no_price(june):
    """GPT-4o's window is 128,000 tokens."""
    assert rates(june["maintained"], ["gpt-4o"], 128_000)["input"].tolist() == [2.5]
    assert rates(june["maintained"], ["gpt-4o"], 128_001).isna().all(axis=None)


def test_an_approximate_price_is_named(table):
    assert table.loc["C008", "why"].endswith("the price of gpt-5.5 is approximate")
    assert "approximate" not in table.loc["C007", "why"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"rule": "cost_ration"},
            "claim C008: unknown rule 'cost_ration'; did you mean 'cost_ratio'",
        ),
        ({"low": "30;30"}, "claim C008: 2 bounds .* for 3 computed values"),
    ],
)
def test_a_broken_row_is_named(june, claims, change, message):
    with pytest.raises(ValueError, match=message):
        evaluate_claims(**june, claims=claims.loc[["C008"]].assign(**change))


def test_one_section_alone_and_a_misspelt_one(june, table):
    part = evaluate_claims(**june, section="FAQ")
    pd.testing.assert_frame_equal(part, table[table["section"] == "FAQ"])
    with pytest.raises(ValueError, match="unknown section 'Fag'"):
        evaluate_claims(section="Fag")


def test_figures_quoted_in_notes_are_right(claims):
    shares = load_measured()["value"][["disagree_mid_flagship", "disagree_small_flagship"]]
    ten = [tl.required_examples(margin=0.10, discordant=share) for share in shares]
    assert f"10 points takes {ten[0]} and {ten[1]}" in claims.loc["C089", "note"]
    assert f"{10_000 / (30 * 0.008):,.0f} messages" in claims.loc["C110", "note"]
    assert f"${3_600 + 500 * 1 + 3 * 5:,}" in claims.loc["C016", "note"]
    assert f"{30 * 1.05 / 0.60:.1f}x" in claims.loc["C008", "note"]
    assert (
        f"{0.00056 / 0.01:.1%}" in claims.loc["C115", "note"]
        and f"{0.00056 / 0.002:.0%}" in claims.loc["C115", "note"]
    )
    assert (
        f"{0.7 * (1 - 3_450 / 4_600):.1%} to {0.8 * (1 - 3_450 / 4_600):.0%}"
        in claims.loc["C075", "note"]
    )


def test_a_general_claim_is_grouped_with_its_readings(table):
    found = claims_of.readings(table)
    groups = found.groupby("stem", sort=False).groups.values()
    assert [list(ids) for ids in groups] == [
        [f"C{i:03d}" for i in range(7, 11)],
        [f"C{i:03d}" for i in range(32, 36)],
        [f"C{i:03d}" for i in (*range(69, 76), 120, 121)],
    ]
    assert found.loc["C120", "case"] == "Anthropic, conversations: a model per turn"
    assert found.loc["C009", ["low", "high"]].tolist() == [30, 50]


def test_every_number_is_of_one_kind_of_evidence(table):
    kinds = claims_of.evidence_kinds(table)
    said = {"C001": "the article's own words", "C007": "prices", "C018": "no number"}
    said |= {
        "C024": "recorded answers",
        "C064": "public pages",
        "C048": "assumptions and ratings of the kit",
    }
    assert kinds[list(said)].to_dict() == said
    assert (kinds == "no number").sum() == (table["computed"] == "").sum()
    assert (kinds[table["basis"] != ""].isin(["prices", "no number"])).all()


@settings(max_examples=25, deadline=None)
@given(st.floats(1, 1e5), st.floats(1, 1e3), st.floats(0, 1e5), st.floats(0, 1e5))
def test_a_number_within_its_bounds_supports_and_any_other_contradicts(words, minutes, low, more):
    claim = (
        load_claims()
        .query("id == 'C001'")
        .assign(args=f"words={words!r}; minutes={minutes!r}", low=repr(low), high=repr(low + more))
    )
    row = evaluate_claims(claims=claim).iloc[0]
    room = 1e-6 * words / minutes  # a bound met to the last digit may fall to either side
    if low + room < words / minutes < low + more - room:
        assert row["verdict"] == "supported"
    elif not low - room <= words / minutes <= low + more + room:
        assert row["verdict"] == "contradicted"
    assert row["computed_low"] == row["computed_high"] == words / minutes
