"""Planning and stopping: power by enumeration, sample sizes that deliver it, and a rule that survives looking."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from tests.evaluate.test_intervals import tango_score
from tierlab.evaluate.planning import (
    achievable_margin,
    betting_evidence,
    noninferiority_power,
    paired_sample_size,
    required_examples,
    sequential_test,
)


def enumerated(n, margin, discordant, decides, difference=0.0):
    """Probability of the decision over all counts of wins and losses, two equally good models unless told otherwise."""
    total = 0.0
    for wins in range(n + 1):
        for losses in range(n + 1 - wins):
            if abs(wins + losses - n * discordant) < 8 * math.sqrt(n * discordant):
                gain, loss = (discordant + difference) / 2, (discordant - difference) / 2
                weight = stats.multinomial.pmf(
                    [wins, losses, n - wins - losses], n, [gain, loss, 1 - discordant]
                )
                total += weight * decides(wins, losses, n, margin)
    return total


def by_score(wins, losses, n, margin):
    return tango_score(wins, losses, n, -margin) > stats.norm.ppf(0.95)


def by_paired_t(wins, losses, n, margin):
    mean = (wins - losses) / n
    sd = math.sqrt(((wins + losses) / n - mean**2) * n / (n - 1))
    return (
        mean > -margin
        if sd == 0
        else (mean + margin) / (sd / math.sqrt(n)) > stats.t.ppf(0.95, n - 1)
    )


@pytest.mark.parametrize(
    ("n", "margin", "t_power"),
    [(50, 0.05, 0.33), (80, 0.05, 0.41), (100, 0.05, 0.48), (50, 0.1, 0.73), (80, 0.1, 0.88)],
)
def test_power_at_50_to_100_examples(n, margin, t_power):
    """Two equal models, 10% discordant. The paired t test's power is the figure often quoted; the score test has less."""
    ours = noninferiority_power(n, margin, discordant=0.1)
    assert ours == pytest.approx(enumerated(n, margin, 0.1, by_score), abs=1e-6)
    assert enumerated(n, margin, 0.1, by_paired_t) == pytest.approx(t_power, abs=0.01)
    assert ours < t_power


@pytest.mark.parametrize("n", [50, 100])
def test_wrong_decisions_at_the_margin(n):
    """At a true difference of -margin: the score test near 5%, the paired t test up to 7.7%."""
    for discordant in (0.15, 0.2, 0.3):
        assert noninferiority_power(n, 0.1, discordant=discordant, difference=-0.1) <= 0.05
    assert (
        noninferiority_power(n, 0.1, discordant=0.1, difference=-0.1) <= 0.058
    )  # every disagreement is a loss
    assert 0.06 < enumerated(n, 0.1, 0.15, by_paired_t, difference=-0.1 + 1e-12) < 0.08


@pytest.mark.parametrize(
    ("margin", "discordant", "difference"),
    [(0.05, 0.1, 0.0), (0.1, 0.1, 0.0), (0.05, 0.04, 0.0), (0.1, 0.2, -0.03)],
)
def test_required_examples_deliver_the_power(margin, discordant, difference):
    n = required_examples(margin=margin, discordant=discordant, difference=difference)
    assert (
        0.79 < noninferiority_power(n, margin, discordant=discordant, difference=difference) < 0.85
    )
    assert achievable_margin(n, discordant=discordant, difference=difference) == pytest.approx(
        margin, abs=0.001
    )
    assert achievable_margin(n // 2, discordant=discordant, difference=difference) > margin


def test_required_examples_without_disagreement_is_wilsons_zero_of_n():
    """Nothing disagrees: the bound z^2 / (n + z^2) falls below the margin at n = z^2 (1 - margin) / margin."""
    z2 = stats.norm.ppf(0.95) ** 2
    assert required_examples(margin=0.05, discordant=0.0) == math.ceil(z2 * 0.95 / 0.05) == 52
    assert [noninferiority_power(n, 0.05, discordant=0.0) for n in (51, 52)] == [0.0, 1.0]


def test_required_examples_for_other_scores_and_for_a_difference():
    z = stats.norm.ppf(0.95) + stats.norm.ppf(0.8)
    assert required_examples(margin=0.05, sd=0.2) == math.ceil((z * 0.2 / 0.05) ** 2) == 99
    assert paired_sample_size(0.05, discordant=0.15) == 469
    assert achievable_margin(99, sd=0.2) == pytest.approx(z * 0.2 / math.sqrt(99), rel=0.01)
    assert math.isnan(achievable_margin(1, sd=0.9))
    # (1.6449 + 0.8416)^2 x 2^2 = 24.7: 24 examples cannot settle any margin, 25 can
    assert math.isnan(achievable_margin(24, sd=2)) and achievable_margin(25, sd=2) > 0.99


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: required_examples(margin=5, discordant=0.1), "margin=5"),
        (lambda: required_examples(margin=0.05), "give either"),
        (lambda: required_examples(margin=0.05, sd=0.0), "sd=0.0"),
        (
            lambda: required_examples(margin=0.05, discordant=0.01, difference=0.02),
            "discordant=0.01",
        ),
        (
            lambda: required_examples(margin=0.05, discordant=0.1, difference=-0.05),
            "cannot be shown",
        ),
        (lambda: achievable_margin(0, discordant=0.1), "n=0"),
        (lambda: betting_evidence([0.0], margin=5), "margin=5"),
    ],
)
def test_impossible_plans_are_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_evidence_is_robbins_mixture_for_the_sign_test():
    """Closed form: 2^m B(wins + 1, losses + 1) over wins and losses so far, ties aside."""
    d = np.random.default_rng(1).choice([1, 0, -1], p=[0.2, 0.7, 0.1], size=150)
    wins, losses = np.cumsum(d > 0), np.cumsum(d < 0)
    closed = np.exp((wins + losses) * math.log(2) + special.betaln(wins + 1, losses + 1))
    assert betting_evidence(d)["different"] == pytest.approx(closed, rel=2e-3)


def mcnemar_found(differences, looks):
    """Whether McNemar's exact test says "different" at any look."""
    found = np.zeros(len(differences), bool)
    for n in looks:
        wins, losses = (differences[:, :n] > 0).sum(axis=1), (differences[:, :n] < 0).sum(axis=1)
        found |= 2 * stats.binom.cdf(np.minimum(wins, losses), wins + losses, 0.5) <= 0.05
    return found.mean()


def test_looking_often_keeps_its_level_and_repeated_mcnemar_does_not():
    """4,000 runs of two equal models on up to 200 examples, a fifth discordant, looked at after each and every tenth."""
    d = np.random.default_rng(2).choice([1, 0, -1], p=[0.1, 0.8, 0.1], size=(4000, 200))
    assert (betting_evidence(d)["different"].max(axis=1) >= 20).mean() <= 0.05
    assert mcnemar_found(d, [200]) <= 0.05
    assert mcnemar_found(d, range(20, 201, 10)) > 0.08


@pytest.mark.parametrize("kind", ["right or wrong", "graded"])
def test_looking_often_for_not_worse_keeps_its_level(kind):
    """At a true difference of exactly the margin both findings are wrong; each at most 5% of the time."""
    rng = np.random.default_rng(3)
    gain = 0.05 if kind == "right or wrong" else 0.0
    d = rng.choice(
        [1, 0, -1], p=[gain, 0.85 - gain, 0.15] if gain else [0, 0.8, 0.2], size=(4000, 200)
    ).astype(float)
    d *= rng.random(d.shape) if kind == "graded" else 1
    for evidence in betting_evidence(d, margin=0.1).values():
        assert (evidence.max(axis=1) >= 20).mean() <= 0.05


def test_looking_finds_what_is_there():
    """Equal models, margin of 15 points: most of 500 runs of 200 examples end with "not worse", none with "worse"."""
    d = np.random.default_rng(4).choice([1, 0, -1], p=[0.05, 0.9, 0.05], size=(500, 200))
    found = {
        name: (e.max(axis=1) >= 20).mean() for name, e in betting_evidence(d, margin=0.15).items()
    }
    assert found["not worse"] > 0.8 and found["worse"] < 0.05


def table(differences, **columns):
    n = len(differences)
    rows = {"prompt_id": [*range(n)] * 2, "model_id": ["small"] * n + ["flagship"] * n}
    scores = [0.5 + d / 2 for d in differences] + [0.5 - d / 2 for d in differences]
    return pd.DataFrame(
        rows | {"score": scores} | {name: [*values] * 2 for name, values in columns.items()}
    )


def test_sequential_test_goes_by_the_tables_order_and_its_groups():
    d = np.random.default_rng(5).choice([1.0, 0.0, -1.0], size=24)
    steps = sequential_test(table(d), candidate="small", reference="flagship", margin=0.1)
    assert steps["evidence_worse"].tolist() == pytest.approx(
        betting_evidence(d, margin=0.1)["worse"].tolist()
    )
    assert steps["difference"].iloc[-1] == pytest.approx(d.mean())
    columns = ["difference", "evidence_not_worse", "evidence_worse", "finding"]
    assert list(steps.columns) == columns
    grouped = sequential_test(
        table(d, group=np.repeat(range(8), 3)), candidate="small", reference="flagship"
    )
    assert grouped["evidence"].tolist() == pytest.approx(
        betting_evidence(d.reshape(8, 3).mean(axis=1))["different"].tolist()
    )


def test_a_finding_stays():
    steps = sequential_test(
        table([-1.0] * 15 + [1.0] * 60), candidate="small", reference="flagship", margin=0.1
    )
    assert steps["evidence_worse"].iloc[-1] < 20 < steps["evidence_not_worse"].iloc[-1]
    first = int((steps["evidence_worse"] >= 20).idxmax())
    assert (steps["finding"][: first - 1] == "cannot tell").all() and (
        steps["finding"][first - 1 :] == "worse"
    ).all()


def test_sequential_test_names_the_nearest_model():
    with pytest.raises(ValueError, match="did you mean 'flagship'"):
        sequential_test(table([0.0]), candidate="small", reference="flagshop")


@pytest.mark.parametrize("margin", [0, 1, -0.1, 1.1])
def test_a_margin_lies_between_0_and_1(margin):
    with pytest.raises(ValueError, match="margin"):
        required_examples(margin=margin, discordant=0.1)
