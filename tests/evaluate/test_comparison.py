"""compare: tables that the libraries confirm, a verdict that follows from them, and nothing dropped in silence."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

import tierlab as tl
from tierlab.cli import main
from tierlab.evaluate.compare import compare
from tierlab.evaluate.intervals import paired_interval, tango_interval
from tierlab.evaluate.planning import required_examples
from tierlab.routing.simulated import default_models, simulate_outcomes


def samples(scores, *, repeats=1, cost=None, **columns):
    """A samples table from {model: scores}, example by example and repeat by repeat."""
    rows = []
    for model, values in scores.items():
        for i, score in enumerate(values):
            rows.append(
                {
                    "prompt_id": f"e{i // repeats}",
                    "model_id": model,
                    "repeat": i % repeats,
                    "score": float(score),
                }
            )
            rows[-1] |= {
                "status": "ok",
                "cost_usd": (cost or {}).get(model, 0.01),
                "source": "simulated",
            }
    return pd.DataFrame(rows).assign(**columns)


def two_by_two(both, only_candidate, only_reference, neither):
    """Scores of "small" and "flagship" with these counts."""
    cells = (
        [(1, 1)] * both + [(1, 0)] * only_candidate + [(0, 1)] * only_reference + [(0, 0)] * neither
    )
    return dict(zip(("small", "flagship"), zip(*cells, strict=True), strict=True))


CHEAP = {"small": 0.001, "mid": 0.004, "flagship": 0.02}


def generated(n=100, seed=1, repeats=1):
    """Three models on examples of differing difficulty, with costs and times."""
    rng = np.random.default_rng(seed)
    hard = np.repeat(rng.random(n), repeats)
    draws = {
        m: 0.7 * hard + 0.3 * rng.random(n * repeats) < r
        for m, r in {"small": 0.8, "mid": 0.86, "flagship": 0.88}.items()
    }
    table = samples(draws, repeats=repeats)
    table["cost_usd"] = table["model_id"].map(CHEAP) * rng.uniform(0.5, 1.5, len(table))
    return table.assign(
        ttft_s=rng.gamma(4, 0.1, len(table)),
        end_to_end_s=rng.gamma(4, 0.5, len(table)),
        tokens_per_s=50.0,
    )


@pytest.mark.parametrize(
    ("cells", "p"),
    [((794, 86, 150, 570), 3.716e-05), ((59, 6, 16, 80), 0.052479)],
    ids=["approval", "therapy"],
)
def test_mcnemar_as_published(cells, p):
    """Approval ratings, Agresti's textbook example (R package exact2x2); Cavo et al. 2012 (R package contingencytables)."""
    row = compare(samples(two_by_two(*cells)), reference="flagship", margin=0.05).pairs.loc["small"]
    assert row["p"] == pytest.approx(p, rel=1e-3)
    assert row["p"] == pytest.approx(
        mcnemar([[cells[0], cells[1]], [cells[2], cells[3]]], exact=True).pvalue, rel=1e-9
    )
    assert (row["examples"], row["better"], row["worse"]) == (sum(cells), cells[1], cells[2])
    assert row["difference"] == pytest.approx((cells[1] - cells[2]) / sum(cells))


def test_right_or_wrong_tables_equal_the_libraries():
    result = compare(generated(), reference="flagship", margin=0.1)
    scores = generated().pivot(index="prompt_id", columns="model_id", values="score")
    for model, row in result.candidates.iterrows():
        k = int(scores[model].sum())
        assert (row["low"], row["high"]) == pytest.approx(
            proportion_confint(k, 100, method="wilson")
        )
        assert (row["examples"], row["answers"], row["set_aside"], row["method"]) == (
            100,
            100,
            0,
            "Wilson",
        )
    p = []
    for model, row in result.pairs.iterrows():
        better, worse = (
            (scores[model] > scores["flagship"]).sum(),
            (scores[model] < scores["flagship"]).sum(),
        )
        assert (row["low"], row["high"]) == pytest.approx(
            tango_interval(int(better), int(worse), 100)
        )
        assert row["bound"] == pytest.approx(
            tango_interval(int(better), int(worse), 100, confidence=0.9)[0]
        )
        p.append(stats.binomtest(int(better), int(better + worse)).pvalue)
    assert result.pairs["p_holm"].tolist() == pytest.approx(
        multipletests(p, method="holm")[1].tolist()
    )


def test_repeats_are_averaged_and_groups_cluster_the_errors():
    """60 examples of three repeats in 12 groups, against statsmodels on the example means."""
    rng = np.random.default_rng(3)
    scores = {
        model: rng.random(180) < rate
        for model, rate in {"small": 0.6, "mid": 0.7, "flagship": 0.8}.items()
    }
    table = samples(scores, repeats=3)
    table["group"] = table["prompt_id"].str[1:].astype(int) % 12
    result = compare(table, reference="flagship", margin=0.1)
    means = table.pivot_table(index="prompt_id", columns="model_id", values="score", sort=False)
    groups = [int(name[1:]) % 12 for name in means.index]
    for model in ("small", "mid"):
        d = (means[model] - means["flagship"]).to_numpy()
        fit = OLS(d, np.ones(60)).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
        row = result.pairs.loc[model]
        assert (row["method"], row["groups"], row["examples"]) == ("clustered t", 12, 60)
        assert (row["low"], row["high"]) == pytest.approx(tuple(fit.conf_int(0.05)[0]))
        assert row["p"] == pytest.approx(fit.pvalues[0], abs=1e-6)
        t = (d.mean() + 0.1) / fit.bse[0]
        assert row["bound"] == pytest.approx(d.mean() - stats.t.ppf(0.95, 11) * fit.bse[0])
        assert (row["bound"] > -0.1) == (stats.t.sf(t, 11) < 0.05)


def test_graded_scores_have_the_t_interval():
    rng = np.random.default_rng(5)
    scores = {"small": rng.uniform(0, 0.9, 40), "flagship": rng.uniform(0.1, 1, 40)}
    row = compare(samples(scores), reference="flagship", margin=0.3).pairs.loc["small"]
    assert (row["low"], row["high"]) == pytest.approx(
        tuple(stats.ttest_rel(scores["small"], scores["flagship"]).confidence_interval())
    )


def test_not_worse_worse_and_cannot_tell():
    """200 examples, margin 5 points. Score statistics at -0.05, one-sided 5% of two candidates by Holm."""
    same, far, near = [1] * 180 + [0] * 20, [1] * 150 + [0] * 50, [0] * 6 + [1] * 174 + [0] * 20
    result = compare(
        samples({"same": same, "far": far, "near": near, "ref": same}), reference="ref", margin=0.05
    )
    assert result.pairs["finding"].to_dict() == {
        "same": "not worse",
        "far": "worse",
        "near": "cannot tell",
    }
    p = [1 - stats.norm.cdf(tango_statistic(0, worse, 200, -0.05)) for worse in (0, 30, 6)]
    assert result.pairs["p_not_worse"].tolist() == pytest.approx(
        multipletests(p, method="holm")[1].tolist(), abs=1e-6
    )
    p_worse = [1 - value for value in p]
    assert result.pairs["p_worse"].tolist() == pytest.approx(
        multipletests(p_worse, method="holm")[1].tolist(), abs=1e-6
    )


def tango_statistic(better, worse, n, delta):
    slope = -(better + worse) + (2 * n - better + worse) * delta
    q = (math.sqrt(max(0.0, slope**2 + 8 * n * worse * delta * (1 - delta))) - slope) / (4 * n)
    return (better - worse - n * delta) / math.sqrt(n * (2 * q + delta * (1 - delta)))


def test_several_candidates_share_the_level():
    """One candidate passes alone at p = 0.03; beside a second one like it Holm asks for 0.025."""
    small = [0] * 3 + [1] * 177 + [0] * 20
    reference = [1] * 180 + [0] * 20
    alone = compare(samples({"small": small, "ref": reference}), reference="ref", margin=0.041)
    assert 0.025 < alone.pairs.loc["small", "p_not_worse"] < 0.05
    assert alone.pairs.loc["small", "finding"] == "not worse"
    scores = {"small": small, "twin": small, "ref": reference}
    both = compare(
        samples(scores, cost={"small": 0.001, "twin": 0.001}), reference="ref", margin=0.041
    )
    assert (both.pairs["finding"] == "cannot tell").all()
    assert "one-sided 5%, Holm over 2 candidates" in both.verdict


def test_the_cheapest_that_is_not_worse():
    right = [1] * 380 + [0] * 20
    result = compare(
        samples({"small": right, "mid": right, "flagship": right}, cost=CHEAP),
        reference="flagship",
        margin=0.05,
    )
    assert result.choice == "small"
    assert result.verdict.startswith(
        "small is the cheapest model that is not worse than flagship by more than 5 points"
    )
    assert "$0.001 per request against $0.02" in result.verdict and "Warning" not in result.verdict
    assert result.pairs["saving"].to_dict() == pytest.approx({"small": 0.95, "mid": 0.8})


def test_the_error_cost_decides_what_is_cheapest():
    """Two points worse at a tenth of the price: 0.002 + 0.07 e against 0.02 + 0.05 e cross at e = 0.9 US dollars."""
    scores = {"small": [1] * 372 + [0] * 28, "flagship": [1] * 380 + [0] * 20}
    table = samples(scores, cost={"small": 0.002, "flagship": 0.02})
    for error, choice in ((0.89, "small"), (0.91, "flagship")):
        result = compare(table, reference="flagship", margin=0.05, error_cost_usd=error)
        assert result.pairs.loc["small", "finding"] == "not worse" and result.choice == choice
        assert result.costs["expected"].to_dict() == pytest.approx(
            {"small": 0.002 + 0.07 * error, "flagship": 0.02 + 0.05 * error}
        )
        if choice == "small":  # 0.0643 against 0.0645
            assert "$0.0643 per request with $0.89 per error against $0.0645" in result.verdict
    assert result.verdict.startswith("Stay with flagship")
    assert "no model is cheaper per request with $0.91 per error" in result.verdict


def test_stay_when_every_cheaper_model_is_worse():
    table = samples({"small": [1] * 60 + [0] * 40, "flagship": [1] * 95 + [0] * 5}, cost=CHEAP)
    result = compare(table, reference="flagship", margin=0.05)
    assert (result.choice, result.pairs.loc["small", "finding"]) == ("flagship", "worse")
    assert (
        result.verdict == "Stay with flagship: small is worse by more than 5 points (one-sided 5%)."
    )


def test_stay_when_no_model_is_cheaper():
    result = compare(samples(two_by_two(80, 5, 5, 10)), reference="flagship", margin=0.05)
    assert result.pairs.loc["small", "finding"] == "cannot tell"
    assert result.verdict == "Stay with flagship: no model is cheaper per request."


def test_cannot_tell_says_how_many_more_and_for_how_much():
    """100 examples, ten discordant: n by Nam's formula at 10% and no true difference, less the 100; cost of both models."""
    table = samples(two_by_two(80, 5, 5, 10), cost=CHEAP)
    result = compare(table, reference="flagship", margin=0.05)
    more = required_examples(margin=0.05, discordant=0.1) - 100
    assert (result.choice, result.pairs.loc["small", "more_examples"]) == (None, more)
    assert result.verdict.startswith(
        f"Cannot tell: {more} more examples, about ${more * 0.021:.3g}, would show"
    )
    assert "80% power" in result.verdict and "if the true difference is zero" in result.verdict


def test_planning_moves_to_the_observed_difference_when_zero_needs_no_more():
    """Seven points worse within ten: at a true difference of zero 100 examples were enough, and they were not."""
    result = compare(
        samples(two_by_two(80, 0, 7, 13), cost=CHEAP), reference="flagship", margin=0.1
    )
    row = result.pairs.loc["small"]
    assert row["finding"] == "cannot tell" and row["planned_difference"] == pytest.approx(-0.07)
    assert (
        row["more_examples"]
        == required_examples(margin=0.1, discordant=0.07, difference=row["difference"]) - 100
    )


def test_beyond_the_margin_no_number_is_named():
    result = compare(
        samples(two_by_two(400, 0, 22, 78), cost=CHEAP), reference="flagship", margin=0.04
    )
    assert result.pairs.loc["small", "finding"] == "cannot tell"
    assert math.isnan(result.pairs.loc["small", "more_examples"])
    assert "more examples would not show it" in result.verdict


def test_a_cheaper_undecided_model_is_named_beside_the_choice():
    scores = {
        "small": [0] * 9 + [1] * 171 + [0] * 20,
        "mid": [1] * 180 + [0] * 20,
        "flagship": [1] * 180 + [0] * 20,
    }
    result = compare(samples(scores, cost=CHEAP), reference="flagship", margin=0.05)
    known = "; cheaper still: small is worse than flagship by 2.4 to 8.3 points"  # Tango's interval of 0 better and 9 worse
    assert result.choice == "mid" and known in result.verdict


def test_costs_count_failures_and_what_was_set_aside():
    """Four answers at $1, one cut off at $1, one timeout at $0.5: 5.5 paid, 5 received, 3 solved."""
    table = samples(
        {"small": [1, 1, 1, 0, np.nan, np.nan], "flagship": [1] * 6},
        cost={"small": 1.0, "flagship": 2.0},
    )
    small = table["model_id"] == "small"
    table.loc[small, "status"] = ["ok"] * 3 + ["refused", "truncated", "timeout"]
    table.loc[small, "cost_usd"] = [1.0] * 5 + [0.5]
    result = compare(table, reference="flagship", margin=0.1)
    row = result.costs.loc["small"]
    assert (row["per_request"], row["per_solved"], row["solved_per_usd"]) == pytest.approx(
        (5.5 / 5, 5.5 / 3, 3 / 5.5)
    )
    assert row["note"] == "a lower bound: failed requests may be billed (timeout 1)"
    row = result.candidates.loc["small"]
    assert (row["answers"], row["set_aside"], row["set_aside_as"]) == (
        4,
        2,
        "truncated 1, timeout 1",
    )
    assert row["non_answers"] == "refused 1" and row["score"] == 0.75
    assert result.pairs.loc["small", "examples"] == 4
    assert "Warning: 2 of 6 rows of small are set aside (truncated 1, timeout 1)." in result.verdict


@pytest.mark.parametrize("grouped", [False, True])
def test_the_interval_of_cost_per_solved_task_is_the_paired_bootstrap(grouped):
    """Against scipy's percentile bootstrap of the ratio over examples, or groups of 1 to 19, within resampling noise."""
    table = generated(200)
    if grouped:
        table["group"] = np.sqrt(2 * table["prompt_id"].str[1:].astype(int)).astype(int)
    row = compare(table, reference="flagship", margin=0.1).costs.loc["small"]
    own = table[table["model_id"] == "small"]
    sums = own.groupby("group" if grouped else "prompt_id")[["cost_usd", "score"]].sum()
    expected = stats.bootstrap(
        (sums["cost_usd"].to_numpy(), sums["score"].to_numpy()),
        lambda cost, score, axis=-1: cost.sum(axis) / score.sum(axis),
        paired=True,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high), rel=0.01)
    assert row["per_solved"] == pytest.approx(own["cost_usd"].sum() / own["score"].sum())


def test_unknown_costs_are_said_and_not_guessed():
    table = samples({"small": [1] * 100, "flagship": [1] * 100}, cost=CHEAP)
    table.loc[3, "cost_usd"] = np.nan
    result = compare(table, reference="flagship", margin=0.05)
    assert (
        result.costs.loc[
            "small", ["per_request", "per_solved", "low", "high", "solved_per_usd", "expected"]
        ]
        .isna()
        .all()
    )
    assert result.costs.loc["small", "note"] == "the cost of 1 answer is unknown"
    assert (
        result.choice is None
        and "the cheapest cannot be named (small: the cost of 1 answer is unknown)"
        in result.verdict
    )
    without = compare(table.drop(columns="cost_usd"), reference="flagship", margin=0.05)
    assert (without.costs["note"] == "no cost is known").all()
    undecided = compare(
        samples(two_by_two(80, 5, 5, 10)).drop(columns="cost_usd"),
        reference="flagship",
        margin=0.05,
    )
    assert "more examples, at an unknown cost, would show" in undecided.verdict


def test_nothing_solved_has_no_cost_per_solved_task():
    row = compare(
        samples({"small": [0] * 9, "flagship": [1] * 9}), reference="flagship", margin=0.1
    ).costs.loc["small"]
    assert (
        math.isnan(row["per_solved"])
        and row["note"] == "nothing solved"
        and row["solved_per_usd"] == 0
    )


def test_truncated_answers_are_set_aside_or_wrong():
    table = samples({"small": [1] * 45 + [np.nan] * 5, "flagship": [1] * 50})
    table.loc[table["score"].isna(), "status"] = "truncated"
    aside = compare(table, reference="flagship", margin=0.1)
    assert (
        aside.candidates.loc["small", "score"] == 1.0 and aside.pairs.loc["small", "examples"] == 45
    )
    wrong = compare(table, reference="flagship", margin=0.1, truncated="wrong")
    assert wrong.candidates.loc["small", "score"] == 0.9 and wrong.pairs.loc["small", "worse"] == 5
    assert "Warning" in aside.verdict and "Warning" not in wrong.verdict


@pytest.mark.parametrize("model", ["small", "flagship"])
def test_a_model_that_only_fails_is_wrong_wherever_it_fails(model):
    table = samples({"small": [1] * 40, "flagship": [1] * 40}, cost=CHEAP)
    table.loc[table["model_id"] == model, "status"] = "truncated"
    result = compare(table, reference="flagship", margin=0.1)
    assert result.candidates["score"].to_dict() == {"small": 1.0, "flagship": 1.0} | {model: 0.0}
    assert result.pairs.loc["small", "examples"] == 40 and result.choice == (
        "flagship" if model == "small" else "small"
    )
    assert (
        f"Warning: {model} mostly fails: of 40 rows, truncated 40 count as wrong." in result.verdict
    )


def test_where_all_models_fail_nothing_is_known():
    table = samples({"small": [1] * 10, "flagship": [1] * 10}, cost=CHEAP).assign(
        status="truncated"
    )
    result = compare(table, reference="flagship", margin=0.1)
    assert result.choice is None and "no example with a score of both" in result.verdict
    assert "10 of 10 rows of flagship are set aside" in result.verdict


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("graded", [False, True])
def test_a_handful_of_examples_cannot_tell(n, graded):
    scores = np.linspace(0.4, 0.6, n) if graded else [1] * n
    result = compare(
        samples({"small": scores, "flagship": [1] * n}, cost=CHEAP),
        reference="flagship",
        margin=0.05,
    )
    row = result.pairs.loc["small"]
    assert row["finding"] == "cannot tell" or graded
    assert row["low"] < row["difference"] < row["high"] or row["difference"] in (
        row["low"],
        row["high"],
    )
    assert result.candidates["high"].le(1).all() and result.candidates["low"].ge(0).all()


def test_models_with_different_examples_are_paired_on_the_common_ones():
    table = samples({"small": [1] * 50, "flagship": [1] * 50})
    table = table[
        ~((table["model_id"] == "small") & table["prompt_id"].isin([f"e{i}" for i in range(10)]))
    ]
    result = compare(table, reference="flagship", margin=0.2)
    assert result.candidates.loc["small", ["examples", "absent"]].tolist() == [40, 10]
    assert result.pairs.loc["small", "examples"] == 40
    assert "Warning: small has no row for 10 of 50 examples." in result.verdict


def test_an_answer_without_a_score_is_counted():
    table = samples({"small": [1, 1, np.nan], "flagship": [1] * 3})
    assert (
        compare(table, reference="flagship", margin=0.1).candidates.loc["small", "set_aside_as"]
        == "unscored 1"
    )


def test_the_failed_calls_of_an_outcomes_table_are_set_aside():
    outcomes = simulate_outcomes(400, seed=1, models=default_models().assign(failure_rate=0.1))
    result = compare(outcomes, reference="claude-opus-4-8", margin=0.1)
    failed = (outcomes["status"] == "error").groupby(outcomes["model_id"].astype(str)).sum()
    assert result.candidates["set_aside"].to_dict() == failed.to_dict() and (failed > 20).all()


def test_what_was_not_sent_costs_nothing_and_is_counted():
    table = samples({"small": [1, 1, np.nan, np.nan], "flagship": [1] * 4}, cost=CHEAP)
    table.loc[[2, 3], ["status", "cost_usd"]] = [["over_budget", np.nan], ["not_sent", np.nan]]
    result = compare(table, reference="flagship", margin=0.1)
    assert result.candidates.loc["small", "set_aside_as"] == "over_budget 1, not_sent 1"
    assert result.costs.loc["small", ["per_request", "note"]].tolist() == [0.001, ""]


def test_the_order_of_rows_does_not_matter():
    table = generated(60, repeats=2)
    first, second = (
        compare(t, reference="flagship", margin=0.1)
        for t in (table, table.sample(frac=1, random_state=1))
    )
    pd.testing.assert_frame_equal(first.pairs.sort_index(), second.pairs.sort_index())
    pd.testing.assert_frame_equal(first.candidates.sort_index(), second.candidates.sort_index())


def bad(**changes):
    return samples({"small": [1, 0], "flagship": [1, 1]}).assign(**changes)


@pytest.mark.parametrize(
    ("table", "options", "said"),
    [
        (bad(), {"reference": "flagshop"}, "unknown reference 'flagshop'; did you mean 'flagship'"),
        (bad(), {"margin": 5}, "margin=5"),
        (bad(), {"margin": 0}, "margin=0"),
        (bad(), {"confidence": 95}, "confidence=95"),
        (bad(), {"error_cost_usd": -1}, "error_cost_usd=-1"),
        (bad(), {"truncated": "worng"}, "did you mean 'wrong'"),
        (bad(model_id="flagship", repeat=range(4)), {}, "no model but the reference"),
        (bad(repeat=0, prompt_id="e0"), {}, "4 rows share an example, model and repeat"),
        (bad(status="timeuot"), {}, "unknown status 'timeuot'; did you mean 'timeout'"),
        (bad(score=2.0), {}, "a score outside 0-1 in 4 rows"),
        (bad(score="yes"), {}, "not a number in 4 rows"),
        (bad(cost_usd=-0.1), {}, "a negative or infinite value"),
        (bad(group=["a", "b", "b", "b"]), {}, "in two groups at once: 1 example; first: 'e0'"),
        (bad(model_id=["small", None, "flagship", "flagship"]), {}, "a missing name"),
        (bad().drop(columns="score"), {}, "column 'score' is missing"),
        (bad().iloc[:0], {}, "has no rows"),
    ],
)
def test_what_cannot_be_compared_is_refused(table, options, said):
    with pytest.raises(ValueError, match=said):
        compare(table, **{"reference": "flagship", "margin": 0.05, **options})


def test_groups_make_fewer_independent_examples():
    """The same scores, now in ten groups: no Wilson and no Tango interval, and t with nine degrees of freedom."""
    table = generated(50, seed=2)
    grouped = compare(
        table.assign(group=table["prompt_id"].str[1:].astype(int) // 5),
        reference="flagship",
        margin=0.1,
    )
    assert (grouped.pairs["groups"] == 10).all() and not grouped.pairs["method"].eq(
        "Tango score"
    ).any()
    scores = table.pivot(index="prompt_id", columns="model_id", values="score").loc[
        [f"e{i}" for i in range(50)]
    ]
    _, interval = paired_interval(scores["small"] - scores["flagship"], np.repeat(range(10), 5))
    assert grouped.pairs.loc["small", ["low", "high"]].tolist() == pytest.approx(
        list(interval(0.95))
    )


def test_more_examples_are_paid_for_with_every_repeat():
    table = samples(
        {"small": [1, 0, 1] * 10, "flagship": [1, 1, 0] * 10}, repeats=3, cost={"small": 0.001}
    )
    found = compare(table, reference="flagship", margin=0.05)
    more = found.pairs.at["small", "more_examples"]
    spend = more * 3 * (0.001 + 0.01)
    said = f"{int(more):,} more examples, about ${float(f'{spend:.3g}'):g}"
    assert more > 0 and said in found.verdict


def test_an_example_without_a_group_is_a_group_of_its_own():
    """Three examples share a group, two have none: three independent units."""
    table = samples({"small": [1, 0, 1, 1, 0], "flagship": [1, 1, 1, 0, 1]})
    names = {"e0": "a", "e1": "a", "e2": "a"}
    table["group"] = table["prompt_id"].map(names)
    pair = compare(table, reference="flagship", margin=0.2).pairs.loc["small"]
    assert (pair["examples"], pair["groups"]) == (5, 3)


class TestCommand:
    """`tierlab compare` on a table of one's own says what `tl.compare` and `recommend --samples` say."""

    asked = ("--reference", "large", "--margin", "0.05")

    @pytest.fixture
    def table(self):
        """400 examples of which the small model gets 12 wrong that the large one gets right; 12 of a third model."""
        right = [1.0] * 360 + [0.0] * 40
        table = samples(
            {"small": [0.0] * 12 + right[12:], "large": right, "rare": right[:12]},
            cost={"small": 0.001, "rare": 0.02},
        )
        return table.drop(columns=["repeat", "status", "source"])

    def run(self, table, tmp_path, *options, status=0):
        path = tmp_path / "own.csv"
        table.to_csv(path, index=False)
        assert main(["compare", str(path), *self.asked, *options]) == status
        return path

    def test_a_model_with_few_answers_takes_no_example_from_the_others(
        self, table, tmp_path, capsys
    ):
        self.run(table, tmp_path)
        said = capsys.readouterr().out
        assert compare(table, reference="large", margin=0.05).verdict in said
        assert "small is worse than large by 1.7 to 5.2 points (95% interval, 400 examples" in said

    def test_repeats_failures_and_unknown_costs_are_read(self, table, tmp_path, capsys):
        twice = pd.concat([table.assign(repeat=k, status="ok") for k in (0, 1)], ignore_index=True)
        twice.loc[0, ["status", "score"]] = ["truncated", np.nan]
        twice.loc[1, "cost_usd"] = np.nan
        self.run(twice, tmp_path)
        assert compare(twice, reference="large", margin=0.05).verdict in capsys.readouterr().out

    def test_prices_replace_the_costs_of_the_file(self, table, tmp_path, capsys):
        names = {"small": "claude-haiku-4-5", "large": "claude-opus-4-8"}
        table = table[table["model_id"].isin(names)].assign(
            model_id=table["model_id"].map(names), uncached_input_tokens=500, output_tokens=300
        )
        table.loc[3, "cost_usd"] = np.nan
        path = tmp_path / "own.csv"
        table.to_csv(path, index=False)
        asked = ["--reference", "claude-opus-4-8", "--margin", "0.05", "--prices", "article"]
        assert main(["compare", str(path), *asked]) == 0
        assert "at $0.002 per request against $0.01" in capsys.readouterr().out

    def test_what_a_choice_is_worth_includes_its_errors(self, table, tmp_path, capsys):
        """3 points of errors at 10 cents cost 3 of the 9 dollars that a thousand requests save."""
        options = ["--error-cost-usd", "0.1", "--requests-per-day", "1000"]
        self.run(table[table["model_id"] != "rare"], tmp_path, *options)
        said = capsys.readouterr().out
        assert "is worth $6.00 per thousand requests, $2,190 a year at 1,000 a day" in said

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            (("--requests-per-day", "-5"), "--requests-per-day -5.0; a number above 0"),
            (("--requests-per-day", "nan"), "--requests-per-day nan; a number above 0"),
            (("--error-cost-usd", "inf"), "--error-cost-usd inf; a number of US dollars"),
            (("--as-of", "2026-06-12"), "--as-of goes with --prices"),
        ],
    )
    def test_an_option_that_makes_no_sense_is_named_as_it_is_written(
        self, table, tmp_path, capsys, options, says
    ):
        self.run(table, tmp_path, *options, status=2)
        assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"score": "90%"}, "not a number in 2 rows; first row 2, column 'score': '90%'"),
        ({"cost_usd": "$0.01"}, "not a number in 2 rows; first row 2, column 'cost_usd': '$0.01'"),
        ({"cost_usd": np.inf}, "a negative or infinite value in 2 rows; first row 2"),
        ({"cost_ust": 0.01}, "unknown column 'cost_ust'; did you mean 'cost_usd'?"),
        ({"model_id": "a"}, "2 rows share an example, model and repeat"),
        ({"status": "OK"}, "unknown status 'OK'"),
    ],
)
def test_a_fault_in_a_file_of_samples_names_the_file_and_the_row(tmp_path, change, says):
    table = pd.DataFrame({"prompt_id": "01", "model_id": ["a", "b"], "score": 1.0})
    path = tmp_path / "mine.csv"
    table.assign(**change).to_csv(path, index=False)
    with pytest.raises(ValueError) as error:
        tl.load_samples(path)
    assert str(error.value).startswith(f"{path}: ") and says in str(error.value)


def test_an_empty_file_of_samples_is_named(tmp_path):
    path = tmp_path / "none.csv"
    path.touch()
    with pytest.raises(ValueError, match=r"none\.csv: No columns to parse"):
        tl.load_samples(path)


def test_outcomes_made_of_samples_cost_what_compare_says():
    """The first example took an answer that was cut off and a failed call, the second has an answer of unknown cost."""
    table = samples({"a": [1, 1, 1, 1], "b": [1, 1, 1, 1]}, repeats=2, cost={"a": 0.002})
    table.loc[0, ["status", "score", "cost_usd"]] = ["truncated", np.nan, 0.01]
    table.loc[len(table)] = table.loc[1].to_dict() | {
        "repeat": 2,
        "status": "timeout",
        "score": np.nan,
        "cost_usd": 0.003,
    }
    found = tl.as_outcomes(table).set_index(["model_id", "prompt_id"])["cost_usd"]
    assert found["a", "e0"] == pytest.approx((0.01 + 0.002 + 0.003) / 2)
    costs = compare(table, reference="b", margin=0.1).costs["expected"]
    assert found["a"].mean() == pytest.approx(costs["a"])
    table.loc[2, "cost_usd"] = np.nan
    unknown = tl.as_outcomes(table).set_index(["model_id", "prompt_id"])["cost_usd"]
    assert np.isnan(unknown["a", "e1"]) and unknown.notna().sum() == 3
