"""Intervals: equal to the libraries and to published tables, and covering what they promise."""

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

import tierlab as tl
from tierlab.evaluate.intervals import mean_interval, one_sided_p, paired_interval, tango_interval


def right(k, n):
    return [1] * k + [0] * (n - k)


@pytest.mark.parametrize(
    ("k", "n", "ends"),
    [
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_wilson_as_published(k, n, ends):
    """Newcombe, Statistics in Medicine 17 (1998) 857-872, Table I, method 3."""
    assert mean_interval(right(k, n), binary=True)[:2] == pytest.approx(ends, abs=5e-5)


@pytest.mark.parametrize(
    ("better", "worse", "n", "ends"),
    [(1, 7, 21, (-0.517, -0.026)), (6, 16, 161, (-0.1240, -0.0054))],
)
def test_tango_as_published(better, worse, n, ends):
    """Fagerland, Lydersen & Laake, Statistics in Medicine 33 (2014) 2850-2875, Table V; R package contingencytables."""
    assert tango_interval(better, worse, n) == pytest.approx(ends, abs=5e-4 if n == 21 else 5e-5)


def tango_score(better, worse, n, delta):
    """Tango (1998), equation for the score statistic, written out."""
    slope = -(better + worse) + (2 * n - better + worse) * delta
    q = (np.sqrt(slope**2 + 8 * n * worse * delta * (1 - delta)) - slope) / (4 * n)
    return (better - worse - n * delta) / np.sqrt(n * (2 * q + delta * (1 - delta)))


@pytest.mark.parametrize("n", [2, 5, 20, 50])
def test_tango_solves_its_own_equation(n):
    z = stats.norm.ppf(0.975)
    for better in range(n):
        for worse in range(n - better):
            low, high = tango_interval(better, worse, n)
            middle, tiny = (better - worse) / n, 1e-12
            below = optimize.brentq(
                lambda d, b=better, w=worse: tango_score(b, w, n, d) - z, -1 + tiny, middle - tiny
            )
            above = optimize.brentq(
                lambda d, b=better, w=worse: tango_score(b, w, n, d) + z, middle + tiny, 1 - tiny
            )
            assert (low, high) == pytest.approx((below, above), abs=1e-6)


def test_agreement_everywhere_is_not_certainty():
    """Without a discordant pair the ends are z^2 / (n + z^2), as Wilson's for 0 of n; other scores get the same."""
    z2 = stats.norm.ppf(0.975) ** 2
    for n in (1, 2, 5, 50):
        for binary in (True, False):
            low, high = paired_interval([0.0] * n, binary=binary)[1](0.95)
            assert (low, high) == pytest.approx((-z2 / (n + z2), z2 / (n + z2)), abs=1e-9)


def test_a_difference_that_is_the_same_everywhere_is_not_certain_either():
    low, high = paired_interval([0.3] * 8)[1](0.95)
    assert -1 <= low < 0.1 and 0.5 < high <= 1
    assert mean_interval([0.7] * 8)[0] < 0.5 and mean_interval([1.0] * 8)[:2] == pytest.approx(
        (8 / (8 + 1.959964**2), 1)
    )


def test_square_and_add_by_hand():
    """Four gains and two losses of a half in 100: Wilson of 2 and of 1 in 100, ends 0.55 to 7.00% and 0.18 to 5.45%."""
    name, interval = paired_interval(np.repeat([0.5, -0.5, 0.0], [4, 2, 94]))
    low = 0.01 - np.hypot(0.02 - 0.0055, 0.0545 - 0.01)
    high = 0.01 + np.hypot(0.0700 - 0.02, 0.01 - 0.0018)
    assert name == "Wilson square-and-add"
    assert interval(0.95) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("confidence", [0, 1, 1.5])
def test_a_level_lies_between_0_and_1(confidence):
    with pytest.raises(ValueError, match="confidence"):
        tl.bootstrap(pd.DataFrame({"a": [0.0, 1.0]}), lambda m: m, seed=1, confidence=confidence)


def test_the_resamples_say_their_level():
    found = tl.bootstrap(
        pd.DataFrame({"a": [0.0, 1.0]}), lambda m: m, seed=1, confidence=0.8, resamples=50
    )
    assert found[["confidence", "resamples", "prompts"]].iloc[0].tolist() == [0.8, 50, 2]


def test_no_more_successes_than_trials():
    with pytest.raises(ValueError, match="successes"):
        tl.wilson_interval(3, 2)


def test_clustered_t_equals_scipy_without_groups_and_the_formula_with():
    """Miller 2024: sum over groups of the squared sum of residuals; G/(G-1) and t(G-1)."""
    rng = np.random.default_rng(3)
    d = rng.uniform(-1, 1, 60)
    method, interval = paired_interval(d)
    assert method == "clustered t"
    assert interval(0.9) == pytest.approx(
        tuple(stats.ttest_1samp(d, 0).confidence_interval(0.9)), abs=1e-12
    )
    groups = rng.integers(0, 11, 60)
    totals = np.bincount(groups, weights=d - d.mean())
    half = stats.t.ppf(0.95, 10) * np.sqrt(11 / 10 * (totals**2).sum()) / 60
    assert paired_interval(d, groups)[1](0.9) == pytest.approx(
        (d.mean() - half, d.mean() + half), abs=1e-12
    )


def test_one_sided_p_is_the_score_test_and_the_t_test():
    interval = paired_interval([1] * 4 + [-1] * 6 + [0] * 90, binary=True)[1]
    for margin in (-0.2, -0.05, 0.0, 0.03):
        assert one_sided_p(interval, margin) == pytest.approx(
            stats.norm.sf(tango_score(4, 6, 100, margin)), abs=1e-6
        )
    d = np.random.default_rng(5).normal(0.02, 0.2, 50)
    expected = stats.ttest_1samp(d, -0.05, alternative="greater").pvalue
    assert one_sided_p(paired_interval(d)[1], -0.05) == pytest.approx(expected, abs=1e-9)
    assert one_sided_p(paired_interval(d)[1], 0.1) == pytest.approx(
        stats.ttest_1samp(d, 0.1, alternative="greater").pvalue, abs=1e-9
    )


@pytest.mark.parametrize(("n", "least"), [(50, 0.931), (100, 0.927)])
def test_wilson_covers_a_pass_rate(n, least):
    """Exact: binomial probabilities of all outcomes whose interval holds the rate, rates 0.5 to 0.95 by 0.001."""
    ends = np.array([mean_interval(right(k, n), binary=True)[:2] for k in range(n + 1)])
    rates = np.linspace(0.5, 0.95, 451)
    inside = (ends[:, :1] <= rates) & (rates <= ends[:, 1:])
    coverage = (stats.binom.pmf(np.arange(n + 1)[:, None], n, rates) * inside).sum(axis=0)
    assert coverage.min() >= 0.925
    assert coverage.min() == pytest.approx(least, abs=6e-4)


@pytest.mark.parametrize("n", [50, 100])
@pytest.mark.parametrize("discordant", [0.02, 0.05, 0.1, 0.2, 0.4])
@pytest.mark.parametrize("lean", [0.0, 0.5, 1.0])
def test_tango_covers_a_paired_difference(n, discordant, lean):
    """2,000 simulated data sets; `lean` is the share of the disagreement that goes one way, from none to all."""
    gain = discordant * (1 - lean) / 2
    draws = np.random.default_rng(8).multinomial(
        n, [gain, discordant - gain, 1 - discordant], size=2000
    )
    ends = np.array([tango_interval(int(b), int(c), n) for b, c, _ in draws])  # cached by counts
    truth = 2 * gain - discordant
    assert np.mean((ends[:, 0] <= truth + 1e-12) & (truth - 1e-12 <= ends[:, 1])) >= 0.93


def graded(rng, n, gain, loss):
    """Differences of graded scores: none on most examples, up to one point on the others."""
    return rng.choice([1, -1, 0], p=[gain, loss, 1 - gain - loss], size=n) * rng.random(n), (
        gain - loss
    ) / 2


def grouped(rng, n, spread):
    """Right-or-wrong answers in groups of five, ten groups to 50: the candidate's rate moves with the group."""
    rate = np.repeat(rng.choice([0.8 - spread, 0.8 + spread], n // 5), 5)
    return (rng.random(n) < rate).astype(float) - (rng.random(n) < 0.8), 0.0


CASES = {  # the slow part of this file: about a millisecond per data set
    **{
        f"graded {n} {gain} {loss}": (graded, n, (gain, loss))
        for n in (50, 100)
        for gain, loss in ((0.0, 0.1), (0.05, 0.15), (0.4, 0.4))
    },
    **{f"grouped 10x5, {spread}": (grouped, 50, (spread,)) for spread in (0.0, 0.2)},
}


@pytest.mark.parametrize("case", CASES)
def test_other_paired_intervals_cover(case):
    draw, n, settings = CASES[case]
    rng = np.random.default_rng(9)
    groups = np.repeat(np.arange(n // 5), 5) if draw is grouped else None
    hits = 0
    for _ in range(2000):
        d, truth = draw(rng, n, *settings)
        low, high = paired_interval(d, groups)[1](0.95)
        hits += low <= truth <= high
    assert hits / 2000 >= 0.93


def test_the_plain_t_interval_would_not():
    """Why few differences need another interval: a tenth of 50 examples, all losses of up to one point."""
    rng = np.random.default_rng(9)
    d = np.array([graded(rng, 50, 0.0, 0.1)[0] for _ in range(2000)])
    half = stats.t.ppf(0.975, 49) * d.std(axis=1, ddof=1) / np.sqrt(50)
    assert np.mean(np.abs(d.mean(axis=1) + 0.05) <= half) < 0.92


def test_groups_matter():
    """Ten groups of five that move together: taken as 50 independent examples the interval covers far less."""
    rng = np.random.default_rng(10)
    hits = 0
    for _ in range(500):
        d, truth = grouped(rng, 50, 0.2)
        low, high = paired_interval(d, binary=True)[1](0.95)
        hits += low <= truth <= high
    assert hits / 500 < 0.93
