"""Routing: each policy by hand, offline equal to live, every dollar accounted for, and honest baselines."""

import os
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tierlab as tl
from tierlab.routing.curve import apgr, cost_quality_curve, metric_intervals
from tierlab.routing.policies import (
    Always,
    Budget,
    Cascade,
    Fallback,
    LLMClassifier,
    NoisyJudge,
    Oracle,
    RandomMix,
    Rules,
    Threshold,
    draw,
    read_label,
    task_rules,
)
from tierlab.routing.route import route
from tierlab.routing.simulated import simulate_outcomes
from tierlab.routing.sources import load_outcomes
from tierlab.routing.text_router import out_of_fold_gain, train_text_router
from tierlab.routing.verdict import (
    break_even_factor,
    calibrate_threshold,
    compare_policies,
    mix_weights,
    price_sensitivity,
    same_cost_mix,
)

published = pytest.mark.skipif(
    "TIERLAB_DATA_DIR" not in os.environ,
    reason="TIERLAB_DATA_DIR is not set: public data sets are not in the repository",
)
MIXTRAL, GPT4 = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"
TIERS = ["small", "mid", "flagship"]


def table_of(score, cost, *, status=None, **columns):
    """Outcomes of s, m and f (small, mid, flagship) from arrays of shape (prompts, 3)."""
    score, cost = np.asarray(score, float), np.asarray(cost, float)
    n, k = score.shape
    status = np.full((n, k), "ok") if status is None else np.asarray(status)
    return pd.DataFrame(
        {
            "prompt_id": np.repeat(np.arange(n), k),
            "model_id": pd.Categorical(list("smf")[:k] * n),
            "tier": TIERS[:k] * n,
            "score": score.ravel(),
            "cost_usd": cost.ravel(),
            "end_to_end_s": np.tile([1.0, 2.0, 4.0][:k], n),
            "status": status.ravel(),
            "source": "recorded",
            **{name: np.repeat(np.asarray(values), k) for name, values in columns.items()},
        }
    )


FOUR = table_of(
    [[1, 1, 1], [0, 1, 1], [0, 0, 1], [0, 0, 0]],
    [[1, 3, 10]] * 4,
    signal=[0.1, 0.5, 0.8, 0.9],
    task=["faq_answering", "code_review", "refactoring", "poem"],
    user=["ann", "bob", "ann", "ann"],
    at=pd.date_range("2026-06-12 10:00:00", periods=4, freq="10s"),
)


def chosen(routes):
    return routes["model_id"].astype(object).where(routes["model_id"].notna(), None).tolist()


def live(policy, features, call):
    """How a caller in front of real providers uses a policy: one request, plain values."""
    answers, own = [], 0.0
    while True:
        choice = policy.choose(features, answers)
        own += choice.cost_usd
        if choice.name is None:
            return answers, own
        answers.append(call(choice.name) | {"name": choice.name, "step": len(answers)})


def live_on(table, policy, seed):
    """The live loop over a table, one prompt at a time: model, score, cost of the answer, cost beside it."""
    rows = []
    for prompt, group in table.groupby("prompt_id", sort=False):
        by_name = {row.tier: row for row in group.itertuples()} | {
            row.model_id: row for row in group.itertuples()
        }
        features = {
            column: group[column].iloc[0]
            for column in ("prompt_id", "signal", "task")
            if column in group
        } | {"seed": seed}
        for name, row in by_name.items():
            features |= {f"score:{name}": row.score, f"cost_usd:{name}": row.cost_usd}
        features["models"] = list(dict.fromkeys(group["model_id"]))
        answers, own = live(
            policy,
            features,
            lambda name: by_name[name]._asdict() | {"model_id": by_name[name].model_id},  # noqa: B023
        )
        last = answers[-1]
        rows.append(
            (
                prompt,
                last["model_id"],
                last["score"],
                last["cost_usd"],
                own + sum(a["cost_usd"] for a in answers[:-1]),
            )
        )
    return pd.DataFrame(
        rows, columns=["prompt_id", "model_id", "score", "cost_usd", "router_cost_usd"]
    )


JUDGE = NoisyJudge(false_accept=0.3, false_reject=0.2)
CONFUSION = {
    "easy": {"easy": 0.7, "hard": 0.2, "unreadable": 0.1},
    "hard": {"easy": 0.3, "hard": 0.7},
}
POLICIES = {
    "always": Always("mid"),
    "mix": RandomMix({"small": 0.5, "mid": 0.2, "flagship": 0.3}),
    "two tiers": Threshold("signal", 0.5, ("small", "flagship")),
    "three tiers": Threshold("signal", (0.3, 0.6), ("s", "m", "f")),
    "rules": Rules({"faq_answering": "small", "code_review": "mid"}, default="flagship"),
    "classifier": LLMClassifier({"easy": "small", "hard": "flagship"}, CONFUSION, cost_usd=0.5),
    "cascade": Cascade(("small", "mid", "flagship"), JUDGE, judge_cost_usd=0.25),
    "fallback": Fallback(
        Threshold("signal", 0.5, ("small", "flagship")), ("flagship", "mid", "small")
    ),
    "oracle": Oracle(),
}


# --- policies by hand ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "models"),
    [
        (Always("mid"), list("mmmm")),
        (POLICIES["two tiers"], list("sfff")),
        (POLICIES["three tiers"], list("smff")),
        (POLICIES["rules"], list("smff")),
        (Oracle(), list("smfs")),  # the cheapest where all fail
        (RandomMix({"flagship": 1.0}), list("ffff")),
    ],
)
def test_policies_by_hand(policy, models):
    assert chosen(route(FOUR, policy, seed=1)) == models


def test_the_articles_task_table_is_a_policy():
    table = FOUR[FOUR["task"] != "poem"]
    assert chosen(route(table, task_rules(end="low"))) == list("smf")
    assert chosen(route(table, task_rules(end="high"))) == list("mff")
    with pytest.raises(ValueError, match="no rule and no default: unknown task 'poem'"):
        route(FOUR, task_rules())


def test_replies_that_the_articles_code_takes_for_simple_go_to_the_safer_tier():
    """The article: ``FLAGSHIP_MODEL if text.strip().lower() == "complex" else SMALL_MODEL``."""
    policy = LLMClassifier({"simple": "small", "complex": "flagship"})
    for reply in (
        "complex.",
        "**Complex**",
        "'complex'",
        "",
        " ",
        None,
        "I cannot help with that.",
        "not simple",
        "simple or complex",
    ):
        assert policy.choose({"classifier_reply": reply}).name == "flagship", reply
        assert (reply or "").strip().lower() != "complex"
    for reply in ("simple", "Simple.", "**simple**\n", '"SIMPLE"'):
        assert policy.choose({"classifier_reply": reply}).name == "small", reply
    assert policy.choose({"classifier_reply": ""}).reason == "unreadable reply: safer tier"
    replies = pd.Series(
        ["simple", "", "complex.", None], index=range(4), name="classifier_reply"
    ).fillna("")
    assert chosen(route(FOUR, policy, features=replies)) == list("sfff")
    assert read_label("Entity_Extraction.", ["entity_extraction"]) == "entity_extraction"


def test_classifier_says_what_its_confusion_matrix_says():
    """Shares of 40,000 draws lie within five standard errors of the stated ones, by true label."""
    n = 40_000
    small_right = np.arange(n) % 2
    table = table_of(np.column_stack([small_right, np.ones(n), np.ones(n)]), [[1, 3, 10]] * n)
    routes = route(table, POLICIES["classifier"], seed=3)
    said = (
        routes["reason"]
        .astype(str)
        .str.replace("unreadable reply: safer tier", "unreadable")
        .str.removeprefix("classifier: ")
    )
    for true, right in (("easy", 1), ("hard", 0)):
        shares = said[small_right == right].value_counts(normalize=True)
        for label, share in CONFUSION[true].items():
            assert shares.get(label, 0) == pytest.approx(
                share, abs=5 * np.sqrt(share * (1 - share) / (n / 2))
            )
    assert routes["router_cost_usd"].tolist() == [0.5] * n


def test_cascade_pays_for_discarded_answers_and_for_the_judge():
    """A judge without error: prompt 0 stops at small, 1 at mid, 2 and 3 at flagship, each after the cheaper calls."""
    routes = route(
        FOUR,
        Cascade(("small", "mid", "flagship"), NoisyJudge(0.0, 0.0), judge_cost_usd=0.25),
        seed=1,
    )
    assert chosen(routes) == list("smff")
    assert routes["cost_usd"].tolist() == [1, 3, 10, 10]
    assert routes["router_cost_usd"].tolist() == [
        0.25,
        1 + 0.5,
        4 + 0.5,
        4 + 0.5,
    ]  # the last answer is not judged
    assert routes["end_to_end_s"].tolist() == [1, 3, 7, 7]
    assert routes["calls"].tolist() == [1, 2, 3, 3]


def test_cascade_never_accepts_a_failed_answer_and_does_not_pay_to_judge_it():
    table = table_of(
        [[1, 1, 1]] * 2, [[1, 3, 10]] * 2, status=[["error", "ok", "ok"], ["ok", "ok", "ok"]]
    )
    gullible = Cascade(("small", "mid", "flagship"), NoisyJudge(1.0, 0.0), judge_cost_usd=0.25)
    routes = route(table, gullible, seed=1)
    assert chosen(routes) == ["m", "s"]
    assert routes["router_cost_usd"].tolist() == [1 + 0.25, 0.25]


def test_what_lies_exactly_on_a_threshold_is_accepted():
    """A half counts as right, and a judge's score at the threshold accepts; just below, neither does."""
    perfect = NoisyJudge(false_accept=0.0, false_reject=0.0)
    table = table_of([[0.5, 1, 1], [0.49, 1, 1]], [[1, 3, 10]] * 2)
    assert chosen(route(table, Cascade(("small", "mid"), perfect), seed=1)) == ["s", "m"]
    cascade = Cascade(("small", "mid"), threshold=0.7)
    for score, name in ((0.7, None), (0.69, "mid")):
        assert cascade.choose({}, [{"status": "ok", "judge_score": score}]).name == name


def test_judge_errs_both_ways_at_the_stated_shares():
    n = 40_000
    table = table_of(np.column_stack([np.arange(n) % 2, np.ones(n)]), [[1, 10]] * n)
    stopped = (route(table, Cascade(("small", "mid"), JUDGE), seed=5)["calls"] == 1).to_numpy()
    right = np.arange(n) % 2 == 1
    assert stopped[right].mean() == pytest.approx(0.8, abs=5 * np.sqrt(0.16 / (n / 2)))
    assert stopped[~right].mean() == pytest.approx(0.3, abs=5 * np.sqrt(0.21 / (n / 2)))


def test_fallback_on_every_kind_of_failure():
    status = [
        ["ok", "ok", "error"],
        ["ok", "ok", "ok"],
        ["ok", "rate_limited", "context_overflow"],
        ["error", "error", "error"],
    ]
    table = table_of([[1, 1, 0], [1, 1, 1], [1, 0, 0], [0, 0, 0]], [[1, 3, 0]] * 4, status=status)
    routes = route(table, Fallback(Always("flagship"), ("flagship", "mid", "small")))
    assert chosen(routes) == list("mfss")
    assert routes["calls"].tolist() == [2, 1, 3, 3]
    assert routes["reason"].tolist() == [
        "fallback: error",
        "always this model",
        "fallback: rate_limited",
        "fallback: error",
    ]
    assert routes["status"].tolist() == ["ok", "ok", "ok", "error"]


def test_a_status_that_is_not_known_is_a_failure_and_no_status_is_none():
    """A log may say "timeout": that answer never stands."""
    status = [["timeout", "ok", "ok"], [None, "ok", "ok"], ["ok", "ok", "ok"]]
    table = table_of([[1, 1, 1]] * 3, [[1, 3, 10]] * 3, status=np.array(status, object))
    routes = route(table, Always("small"))
    assert routes["status"].tolist() == ["error", "ok", "ok"]
    assert chosen(route(table, Fallback(Always("small"), ("mid",)))) == list("mss")


def test_budget_by_user_and_for_all():
    policy = Budget(Always("flagship"), 10.0, "small", by="user")
    assert chosen(route(FOUR, policy)) == list("ffss")  # ann has spent 10 before her second request
    assert chosen(route(FOUR, Budget(policy, 15.0, None))) == [
        "f",
        "f",
        None,
        None,
    ]  # all together 20 before the third
    refused = route(FOUR, Budget(policy, 15.0, None)).iloc[2]
    assert (refused["score"], refused["cost_usd"], refused["calls"], refused["reason"]) == (
        0,
        0,
        0,
        "budget spent: refused",
    )
    days = FOUR.assign(at=np.repeat(pd.date_range("2026-06-12", periods=4, freq="D"), 3))
    assert chosen(route(days, policy)) == list("ffff")
    assert chosen(
        route(days, Budget(Always("flagship"), 10.0, "small", by="user", period="month"))
    ) == list("ffss")


def test_trained_router_is_a_policy_and_warns_below_300_examples():
    """Prompts with 'integral' need the strong model: 40 examples suffice for that, and are too few all the same."""
    n = 40
    hard = np.arange(n) % 2
    prompts = [
        f"{'evaluate the integral' if h else 'say hello'} number {i}" for i, h in enumerate(hard)
    ]
    table = table_of(np.column_stack([1 - hard, np.ones(n)]), [[1, 10]] * n, prompt=prompts)
    with pytest.warns(UserWarning, match="40 labelled examples"):
        router = train_text_router(table, weak="small", strong="mid")
    assert router.choose({"prompt": "evaluate this integral"}).name == "mid"
    assert router.choose({"prompt": "say hello to me"}).name == "small"
    assert chosen(route(table, router)) == ["m" if h else "s" for h in hard]
    with pytest.warns(UserWarning, match="32 labelled"):
        gains = out_of_fold_gain(table, weak="small", strong="mid", seed=1)
    shuffled = table.sample(frac=1, random_state=1)
    with pytest.warns(UserWarning):
        again = out_of_fold_gain(shuffled, weak="small", strong="mid", seed=1)
    pd.testing.assert_series_equal(gains, again)


def test_out_of_fold_gain_never_sees_a_prompt_of_equal_text():
    """The gain is noise tied to the text: a repeated text in another fold would give it away."""
    rng = np.random.default_rng(0)
    texts = [f"{a} {b}" for a, b in rng.integers(0, 10**9, (200, 2))]
    hard = rng.integers(0, 2, 200)
    hard, texts = np.append(hard, hard[::-1]), [*texts, *texts[::-1]]
    table = table_of(np.column_stack([1 - hard, hard]), [[1, 10]] * 400, prompt=texts)
    gains = out_of_fold_gain(table, weak="small", strong="mid", seed=1)
    assert abs(np.corrcoef(gains, 2 * hard - 1)[0, 1]) < 0.3
    assert gains.to_numpy()[:200] == pytest.approx(gains.to_numpy()[:199:-1])


# --- one object, offline and live ----------------------------------------------------------------------------


@st.composite
def tables(draw_, min_size=1, max_size=25):
    n = draw_(st.integers(min_size, max_size))
    seed = draw_(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    ids = rng.permutation(10_000)[:n]
    table = table_of(
        np.round(rng.random((n, 3)), 1),
        np.round(rng.random((n, 3)) * [1, 3, 10], 2),
        status=rng.choice(["ok", "error"], (n, 3), p=[0.8, 0.2]),
        signal=np.round(rng.random(n), 1),
        task=rng.choice(["faq_answering", "code_review", "poem"], n),
        user=rng.choice(["ann", "bob"], n),
        at=pd.Timestamp("2026-06-12") + pd.to_timedelta(rng.integers(0, 200_000, n), "s"),
    )
    return table.assign(prompt_id=np.repeat(ids, 3))


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=15, deadline=None)
@given(table=tables(), seed=st.integers(0, 5))
def test_offline_equals_live(name, table, seed):
    offline = route(table, POLICIES[name], seed=seed)
    expected = live_on(table, POLICIES[name], seed)
    assert offline["model_id"].astype(str).tolist() == expected["model_id"].tolist()
    for column in ("score", "cost_usd", "router_cost_usd"):
        assert offline[column].to_numpy() == pytest.approx(expected[column].to_numpy())


@settings(max_examples=40, deadline=None)
@given(
    table=tables(),
    per_user=st.floats(0, 20),
    for_all=st.floats(0, 40),
    period=st.sampled_from(["hour", "day", "ever"]),
)
def test_budgets_equal_a_ledger_kept_request_by_request(table, per_user, for_all, period):
    """The simulation has no loop over requests; this is that loop."""
    inner = Budget(POLICIES["two tiers"], per_user, "mid", by="user", period=period)
    policy = Budget(inner, for_all, "small", period="day")
    spent, expected = {}, {}
    first = table.drop_duplicates("prompt_id").sort_values(["at", "prompt_id"])
    for row in first.itertuples():
        span = {"hour": row.at.floor("h"), "day": row.at.floor("D"), "ever": None}[period]
        keys = {inner.ledger: ("user", row.user, span), policy.ledger: ("all", row.at.floor("D"))}
        features = {"signal": row.signal} | {
            column: spent.get(key, 0.0) for column, key in keys.items()
        }
        name = policy.choose(features).name
        cost = table.loc[
            (table["prompt_id"] == row.prompt_id) & (table["tier"] == name), "cost_usd"
        ].item()
        for key in keys.values():
            spent[key] = spent.get(key, 0.0) + cost
        expected[row.prompt_id] = cost
    routes = route(table, policy).set_index("prompt_id")
    assert routes["cost_usd"].to_dict() == pytest.approx(expected)


# --- properties -----------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(table=tables(), seed=st.integers(0, 3))
def test_no_policy_beats_the_oracle_and_every_dollar_is_accounted_for(table, seed):
    best = table.groupby("prompt_id", sort=False)["score"].max().to_numpy()
    cost = table.pivot(index="prompt_id", columns="model_id", values="cost_usd")
    for policy in POLICIES.values():
        routes = route(table, policy, seed=seed)
        assert (routes["score"].to_numpy() <= best + 1e-12).all()
        kept = cost.to_numpy()[
            cost.index.get_indexer(routes["prompt_id"]),
            cost.columns.get_indexer(routes["model_id"]),
        ]
        assert routes["cost_usd"].to_numpy() == pytest.approx(kept)
        assert (routes["router_cost_usd"] >= 0).all()
    assert route(table, Oracle())["score"].to_numpy() == pytest.approx(best)


@settings(max_examples=20, deadline=None)
@given(table=tables(), seed=st.integers(0, 3))
def test_order_of_rows_changes_nothing(table, seed):
    shuffled = table.sample(frac=1, random_state=seed)
    for policy in (*POLICIES.values(), Budget(Always("flagship"), 15.0, "small", by="user")):
        one, other = (
            route(t, policy, seed=seed).sort_values("prompt_id") for t in (table, shuffled)
        )
        columns = ["prompt_id", "score", "cost_usd", "router_cost_usd", "calls"]
        np.testing.assert_allclose(
            one[columns].to_numpy(float), other[columns].to_numpy(float), rtol=1e-12
        )
        assert one["model_id"].astype(str).tolist() == other["model_id"].astype(str).tolist()


def test_an_oracles_tie_goes_to_the_same_model_in_any_order():
    table = table_of([[0.9, 0.9]], [[0.5, 0.5]])
    assert [route(t, Oracle())["model_id"].tolist() for t in (table, table.iloc[::-1])] == [
        ["m"],
        ["m"],
    ]


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_random_mix_lies_on_the_line_between_its_models(share):
    """Where every prompt gains the same, exactly; elsewhere within five standard errors of the draw."""
    n = 20_000
    same = table_of([[0.3, 0.8]] * n, [[1, 10]] * n)
    routes = route(same, RandomMix({"small": 1 - share, "mid": share}), seed=7)
    drawn = (routes["model_id"] == "m").mean()
    assert drawn == pytest.approx(share, abs=5 * np.sqrt(share * (1 - share) / n))
    assert routes["score"].mean() == pytest.approx(0.3 + 0.5 * drawn)
    assert routes["cost_usd"].mean() == pytest.approx(1 + 9 * drawn)
    table = simulate_outcomes(n, seed=1, prices=tl.load_prices("article"))
    routes = route(table, RandomMix({"small": 1 - share, "flagship": share}), seed=7)
    means = table.groupby("tier", observed=True)[["score", "cost_usd"]].mean()
    for column in ("score", "cost_usd"):
        line = means.loc["small", column] + share * (
            means.loc["flagship", column] - means.loc["small", column]
        )
        spread = table[column].std()
        assert routes[column].mean() == pytest.approx(line, abs=5 * spread / np.sqrt(n))


def test_draws_are_uniform_and_streams_unrelated():
    ids = np.arange(100_000)
    one, two = draw({"prompt_id": ids, "seed": 1}, "a"), draw({"prompt_id": ids, "seed": 1}, "b")
    counts = np.histogram(one, 20, (0, 1))[0]
    assert (
        (counts - 5000) ** 2 / 5000
    ).sum() < 45  # chi-square with 19 degrees of freedom, p = 0.0007
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.015
    assert abs(np.corrcoef(one, draw({"prompt_id": ids, "seed": 2}, "a"))[0, 1]) < 0.015
    texts = draw({"prompt_id": np.array([f"p{i}" for i in ids[:20_000]]), "seed": 1}, "a")
    assert texts.mean() == pytest.approx(0.5, abs=5 / np.sqrt(12 * 20_000))
    assert draw({"prompt_id": 5, "seed": 1}, "a") == one[5]
    assert draw({"prompt_id": "p5", "seed": 1}, "a") == texts[5]


# --- is it worth it -------------------------------------------------------------------------------------------


def test_comparison_against_reference_and_control():
    """The oracle on four prompts: score 3/4 for 15 of 40 dollars; a mix of its cost has what its shares have."""
    result = compare_policies(
        FOUR,
        {"flagship": Always("flagship"), "oracle": Oracle()},
        reference="flagship",
        seed=1,
        resamples=200,
        error_cost_usd=8,
    )
    estimate = result["estimate"]
    assert estimate["oracle", "score"] == 0.75
    assert estimate["oracle", "usd_per_1000"] == pytest.approx(1000 * (1 + 3 + 10 + 1) / 4)
    assert estimate["oracle", "saving"] == pytest.approx(1 - 15 / 40)
    assert estimate["oracle", "score_change"] == 0
    assert estimate["oracle", "over_control"] == pytest.approx(
        0.75 - (0.5 * 0.25 + 0.25 * 0.5 + 0.25 * 0.75)
    )
    # at 3.75 dollars the models by themselves reach 0.5 + 0.25 x 0.75 / 7: between mid at 3 and flagship at 10
    assert estimate["oracle", "over_zero"] == pytest.approx(0.75 - (0.5 + 0.25 * 0.75 / 7))
    assert estimate["oracle", "net_usd_per_1000"] == pytest.approx(1000 * (10 - 3.75))
    assert estimate["flagship", "p95_s"] == 4
    # the oracle waits 1, 2, 4 and 1 seconds
    assert estimate["oracle", "p50_s"] == 1.5 and estimate["oracle", "p95_s"] == pytest.approx(3.7)
    assert result.loc[("flagship", "saving"), ["low", "high"]].tolist() == [0, 0]
    settings = result[["prompts", "resamples", "confidence"]].drop_duplicates()
    assert settings.to_numpy().tolist() == [[4, 200, 0.95]]
    with pytest.raises(ValueError, match="unknown policy 'flagshp'"):
        compare_policies(FOUR, {"flagship": Always("flagship")}, reference="flagshp", seed=1)


def test_policies_are_compared_on_their_own_prompts_whatever_the_ids():
    """Three of four right on the weak model, all on the strong one; prompt ids are text, in another order."""
    table = table_of([[1, 1]] * 3 + [[0, 1]], [[0.002, 0.01]] * 4)
    table["prompt_id"] = "q" + (9 - table["prompt_id"]).astype(str)
    policies = {"weak": Always("s"), "strong": Always("m")}
    result = compare_policies(table, policies, reference="strong", seed=1)["estimate"]
    assert result["weak", "score"] == 0.75
    assert result["weak", "usd_per_1000"] == pytest.approx(2.0)
    assert result["weak", "saving"] == pytest.approx(0.8)


def test_an_error_is_worth_what_it_costs():
    """Small instead of flagship saves 9 dollars of 10 and loses half of a point, at 8 dollars a point: 5 net."""
    policies = {"flagship": Always("flagship"), "small": Always("small")}
    result = compare_policies(
        FOUR, policies, reference="flagship", seed=1, resamples=50, error_cost_usd=8.0
    )
    assert result.loc[("small", "net_usd_per_1000"), "estimate"] == pytest.approx(
        1000 * (9 - 0.5 * 8)
    )


def test_comparison_without_costs_says_so():
    result = compare_policies(
        FOUR.drop(columns="cost_usd"), {"all": Always("mid")}, reference="all", seed=1, resamples=50
    )
    assert result.loc[("all", "score"), "estimate"] == 0.5
    assert (
        np.isnan(result.loc[("all", "saving"), "estimate"])
        and result.loc[("all", "saving"), "reason"]
    )


@settings(max_examples=25, deadline=None)
@given(table=tables(min_size=3), seed=st.integers(0, 3))
def test_control_costs_what_the_policy_cost(table, seed):
    """In expectation, unless the policy spent more than the most expensive or less than the cheapest model would."""
    means = table.groupby("model_id", observed=True)["cost_usd"].mean()
    for policy in POLICIES.values():
        routes = route(table, policy, seed=seed)
        target = (routes["cost_usd"] + routes["router_cost_usd"]).mean()
        mix = same_cost_mix(routes, table)
        assert (mix @ means.reindex(mix.index)) == pytest.approx(
            np.clip(target, means.min(), means.max())
        )


def test_without_every_cost_or_any_answer_there_is_no_control():
    unknown = FOUR.assign(cost_usd=FOUR["cost_usd"].where(FOUR["tier"] != "mid"))
    refused = route(FOUR, Budget(Always("small"), 0.0, None))
    assert refused["model_id"].isna().all()  # a budget of nothing is spent from the start
    for routes, table in ((route(unknown, Always("small")), unknown), (refused, FOUR)):
        assert same_cost_mix(routes, table).isna().all()


def test_price_at_which_routing_stops_paying():
    """1,000 requests: 80% small at 1, 20% flagship at 10 x factor, a classifier at 0.5. Against the flagship
    alone routing pays above (0.8 x 1 + 0.5) / (10 - 2) = 0.1625 of its price; with an error costing 10 and
    routing 4 points worse, above (0.8 + 0.5 + 0.4) / 8 = 0.2125."""
    n = 1000
    signal = np.arange(n) / n
    table = table_of(np.column_stack([signal >= 0.04, np.ones(n)]), [[1, 10]] * n, signal=signal)
    classifier = LLMClassifier({"easy": "s", "hard": "m"}, cost_usd=0.5)
    replies = pd.Series(
        np.where(signal < 0.8, "easy", "hard"), index=range(n), name="classifier_reply"
    )
    for error, expected in ((0.0, 0.1625), (10.0, 0.2125)):
        result = price_sensitivity(
            table,
            classifier,
            model="mid",
            factors=[0.1, 1, 3],
            error_cost_usd=error,
            features=replies,
        )
        found = break_even_factor(result, "m")
        assert found["policy_pays"].tolist() == ["above"]
        assert found["factor"].item() == pytest.approx(expected)
    assert result.loc[1, ["policy", "m"]].tolist() == pytest.approx([0.8 + 2 + 0.5 + 0.4, 10])


def test_threshold_is_chosen_on_one_part_and_judged_on_the_other():
    table = simulate_outcomes(6000, seed=2, prices=tl.load_prices("article"))
    signal = table.drop_duplicates("prompt_id").set_index("prompt_id")["router_signal"]
    kwargs = {"weak": "small", "strong": "flagship", "seed": 1, "resamples": 200}
    result = calibrate_threshold(table, signal, strong_share=0.2, **kwargs)
    assert result["prompts"].sum() == 6000
    assert (
        result.loc["calibration", "strong_share"] == pytest.approx(0.2, abs=1 / 2900)
        and result["strong_share"].iloc[0] <= 0.2
    )
    held = result.loc["held out"]
    assert held["strong_share_low"] < 0.2 < held["strong_share_high"]
    assert result["threshold"].nunique() == 1
    means = table.groupby("tier", observed=True)["score"].mean()
    gap = (held["score"] - means["small"]) / (means["flagship"] - means["small"])
    assert held["pgr"] == pytest.approx(gap, abs=0.1)
    assert held["pgr_low"] < held["pgr"] < held["pgr_high"]
    whole = calibrate_threshold(table, signal, strong_share=1.0, **kwargs)
    assert whole.loc["calibration", "strong_share"] == 1
    with pytest.raises(ValueError, match=r"strong_share=1\.5"):
        calibrate_threshold(table, signal, strong_share=1.5, **kwargs)


def test_another_task_mix_equals_a_table_with_that_mix():
    """Three of task a and one of b; at half and half every a counts 2/3 and every b 2."""
    table = FOUR.assign(task=np.repeat(["a", "a", "a", "b"], 3))
    signal = table.drop_duplicates("prompt_id").set_index("prompt_id")["signal"]
    weights = mix_weights(table, {"a": 0.5, "b": 0.5})
    curve = cost_quality_curve(table, signal, weak="small", strong="flagship", weights=weights)
    assert curve["strong_share"].tolist() == pytest.approx([0, 0.5, 2 / 3, 5 / 6, 1])
    assert curve["score"].tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 3, 1 / 2, 1 / 2])
    with pytest.raises(ValueError, match="unknown task 'c'"):
        mix_weights(table, {"a": 0.5, "c": 0.5})


def test_the_articles_mix_with_and_without_the_classifier():
    """80/20 at 500/300 tokens: $3,600 for a million, and $4,160 with the call that decides."""
    n = 20_000
    table = table_of([[1, 1, 1]] * n, [[0.002, 0.006, 0.010]] * n, uncached_input_tokens=[500] * n)
    own = pd.Series(0.00056, index=range(n))  # 545 tokens in at 1 USD per million, 3 out at 5
    replies = pd.Series(np.where(np.arange(n) % 5, "simple", "complex"), index=range(n))
    policy = LLMClassifier({"simple": "small", "complex": "flagship"}, cost_usd="router_call_usd")
    routes = route(
        table, policy, features=pd.DataFrame({"classifier_reply": replies, "router_call_usd": own})
    )
    assert 1e6 * routes["cost_usd"].mean() == pytest.approx(3600)
    assert 1e6 * (routes["cost_usd"] + routes["router_cost_usd"]).mean() == pytest.approx(4160)


# --- wrong input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: pd.concat([t, t.iloc[[0]]], ignore_index=True), "occur more than once"),
        (lambda t: t.iloc[:-1], "1 of 4 prompts lack an answer"),
        (lambda t: t.assign(score=t["score"] * 2), "outside 0-1"),
        (lambda t: t.assign(score=t["score"].where(t["score"] > 0)), "missing score"),
    ],
)
def test_unusable_tables_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        route(change(FOUR), Always("small"))


@pytest.mark.parametrize("kind", [str, float, object, "Int64", "int32", "category"])
def test_the_kind_of_an_id_changes_no_draw(kind):
    """A file makes a text or a float of a number; the request is the same one."""
    table = pd.concat([FOUR.assign(prompt_id=FOUR["prompt_id"] + 4 * k) for k in range(25)])
    mix = RandomMix({"s": 0.5, "f": 0.5})
    wanted = route(table, mix, seed=1)["model_id"].tolist()
    assert set(wanted) == {"s", "f"}
    assert route(table.astype({"prompt_id": kind}), mix, seed=1)["model_id"].tolist() == wanted


def test_models_may_have_numbers_as_names():
    table = FOUR.assign(model_id=FOUR["model_id"].map({"s": 4, "m": 5, "f": 6}))
    assert (
        route(table, Oracle())["model_id"].tolist()
        == route(table.assign(model_id=table["model_id"].astype(str)), Oracle())["model_id"]
        .astype(int)
        .tolist()
    )
    assert set(load_outcomes(table)["model_id"]) == {"4", "5", "6"}


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (Always("flagshp"), "unknown model or tier 'flagshp'; did you mean 'flagship'"),
        (Threshold("signall", 0.5, ("s", "f")), "Threshold needs the feature 'signall'"),
        (RandomMix({"s": 1.0}), "needs a 'seed'"),
        (Cascade(("s", "f")), "needs a judge"),
        (LLMClassifier({"easy": "s", "hard": "f"}), "needs the feature 'classifier_reply'"),
        (Threshold("difficulty", 0.5, ("s", "f")), "needs the feature 'difficulty'"),
        (Threshold("output_tokens", 9, ("s", "f")), "needs the feature 'output_tokens'"),
        (Threshold("hole", 0.5, ("s", "f")), "hole is missing for 4 requests"),
    ],
)
def test_what_a_policy_lacks_or_must_not_see_is_named(policy, message):
    with pytest.raises(ValueError, match=message):
        route(FOUR.assign(difficulty=0.5, output_tokens=10, hole=np.nan), policy)


def test_missing_features_and_prices_are_refused():
    policy = Threshold("mine", 0.5, ("s", "f"))
    with pytest.raises(ValueError, match="'mine' is missing for 1 prompt, first 3"):
        route(FOUR, policy, features=pd.Series([0.1, 0.2, 0.3], index=[0, 1, 2], name="mine"))
    with pytest.raises(ValueError, match="'mine' is missing for 1 prompt, first 3"):
        route(
            FOUR, policy, features=pd.Series([0.1, 0.2, 0.3, np.nan], index=range(4), name="mine")
        )
    with pytest.raises(ValueError, match="prompt 0 more than once"):
        route(FOUR, policy, features=pd.Series([0.1] * 4, index=[0, 0, 1, 2], name="mine"))
    with pytest.raises(ValueError, match="a budget needs costs"):
        route(FOUR.drop(columns="cost_usd"), Budget(Always("s"), 1.0, None))
    with pytest.raises(ValueError, match="a budget needs the time"):
        route(FOUR.drop(columns="at"), Budget(Always("s"), 1.0, None))
    for at in (1_767_225_600, "01.02.2026", None):
        with pytest.raises(ValueError, match="not an ISO time in 4 rows; first row 0, column 'at'"):
            route(FOUR.assign(at=at), Budget(Always("s"), 1.0, None))
    with pytest.raises(ValueError, match="unknown status 'OK'; known: ok"):
        route(FOUR.assign(status="OK"), Always("s"))
    with pytest.raises(ValueError, match="weak and strong are both 's'"):
        cost_quality_curve(FOUR, pd.Series(0.5, range(4)), weak="s", strong="s")
    for usd in (-1, np.nan, np.inf, "1"):
        with pytest.raises(ValueError, match="a number of US dollars from 0 up is needed"):
            compare_policies(FOUR, {"s": Always("s")}, reference="s", seed=1, error_cost_usd=usd)
        with pytest.raises(ValueError, match="a number of US dollars from 0 up is needed"):
            price_sensitivity(FOUR, Always("s"), model="s", factors=[1], error_cost_usd=usd)
    with pytest.raises(ValueError, match="a budget by 'team' needs that column"):
        route(FOUR, Budget(Always("s"), 1.0, None, by="team"))
    assert route(FOUR.drop(columns="cost_usd"), Always("s"))["cost_usd"].isna().all()
    for make in (
        lambda: RandomMix({"s": 0.5}),
        lambda: Threshold("x", (0.5, 0.1), ("a", "b", "c")),
        lambda: Threshold("x", 0.5, ("a",)),
        lambda: NoisyJudge(1.5, 0),
        lambda: Budget(Always("s"), -1, None),
        lambda: Budget(Always("s"), 1, None, period="week"),
        lambda: LLMClassifier({"a": "s"}, {"a": {"a": 0.5}}),
        lambda: LLMClassifier({"a": "s"}, {"a": {"b": 1}}),
    ):
        with pytest.raises(ValueError):
            make()


# --- real data ------------------------------------------------------------------------------------------------


@published
@pytest.mark.parametrize(("name", "at_least"), [("routellm_gsm8k", 0.62), ("routellm_mmlu", 0.66)])
def test_default_trained_router_on_recorded_outcomes(name, at_least):
    """Five-fold out of fold; the best published for this pair on GSM8K is 0.622 (as coded), trained elsewhere."""
    table = load_outcomes(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gains = out_of_fold_gain(table, weak=MIXTRAL, strong=GPT4, seed=0)
    length = table.drop_duplicates("prompt_id").set_index("prompt_id")["prompt_chars"]
    result = metric_intervals(
        table, {"length": length, "text": gains}, weak=MIXTRAL, strong=GPT4, seed=1, resamples=500
    )
    estimate = result["estimate"]
    curve = cost_quality_curve(table, gains, weak=MIXTRAL, strong=GPT4)
    assert estimate["text", "apgr"] == pytest.approx(apgr(curve))
    assert estimate["text", "apgr"] > at_least
    assert (
        result.loc[("text", "apgr"), "low"]
        < estimate["text", "apgr"]
        < result.loc[("text", "apgr"), "high"]
    )
    assert result.loc[("text - length", "apgr"), "low"] > 0
