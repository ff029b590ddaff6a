"""Evaluation: numbers read out of answers, intervals that hold, and sample sizes as published."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tierlab.evaluate.intervals import (
    bootstrap,
    bootstrap_weights,
    wilson_interval,
)
from tierlab.evaluate.planning import paired_sample_size
from tierlab.evaluate.scorers.numeric import numeric_answer

ANSWERS = [
    ("She makes 16 - 7 = 9 eggs, so 9 * $2 = $18 every day.", 18),
    ("$1,450,000", 1_450_000),
    ("-$18.50", -18.5),
    ("$-18", -18),
    ("\u221221 dollars", -21),
    ("€77", 77),
    ("350$", 350),
    ("60%", 60),
    ("5,600 pounds", 5600),
    ("6 miles per hour", 6),
    ("6th", 6),
    ("32.50.", 32.5),
    (".5 litres", 0.5),
    ("3/4 of a cup", 0.75),
    ("1 1/2 cups", 1.5),
    ("2½ cups", 2.5),
    ("½", 0.5),
    (r"\boxed{\frac{3}{4}}", 0.75),
    (r"\(\boxed{-\dfrac{3}{4}}\)", -0.75),
    (r"$\boxed{1{,}596}$ and 7 more words", 1596),
    ("12 000 metres".replace(" 000", "\u202f000"), 12_000),
    ("1e3", 1000),
    ("between 10-12", 12),
    ("H2O has 3 atoms, CO2 too", 3),
    ("#### 18", 18),
    ("**Final answer:** 42 (out of 100)", 42),
    ("The answer is 42, out of 100.", 42),
    ("# 18", 18),
    ("7/0", 7),
]


@pytest.mark.parametrize(("text", "value"), ANSWERS)
def test_numbers_as_people_and_models_write_them(text, value):
    assert numeric_answer(text) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    "text",
    ["", "cannot be determined", "x", None, math.nan, '{"answer": "unknown", "n": 3}', "gpt4o"],
)
def test_no_number_is_nan(text):
    assert math.isnan(numeric_answer(text))


def test_an_answer_field_wins_over_the_reasoning_and_gives_its_first_number():
    """ZeroEval, gsm_eval.py: the first number of the answer field; a cut-off reply still has its field."""
    reply = '```json\n{"reasoning": "the answer is 3; \\"answer\\" 4", "answer": "Tim saves $34 a month, not his $60."}\n```'
    assert numeric_answer(reply) == 34
    assert numeric_answer('{"answer": 5600,\n "reasoning": "2 + 2 is 4"}') == 5600
    assert numeric_answer('{"reasoning": "so 2", "answer": "18') == 18


@given(
    st.integers(-(10**9), 10**9),
    st.sampled_from(["{:,}", "${:,}", "{} miles", "It costs {:,} euros", "#### {}", "{:,}.00"]),
)
def test_any_whole_number_survives_any_spelling(number, form):
    assert numeric_answer(form.format(number)) == number
    assert (
        numeric_answer(json.dumps({"reasoning": "1 + 1", "answer": form.format(number)})) == number
    )


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(text):
    assert isinstance(numeric_answer(text), float)


def test_wilson_interval_of_the_articles_50_to_100_examples():
    """Claims C089: at 85% right, n = 50 gives 72.6-92.4 (42.5 of 50 lies between these) and n = 100 gives 76.7-90.7."""
    low, high = wilson_interval([85, 42, 43], [100, 50, 50])
    assert [low[0], high[0]] == pytest.approx([0.767, 0.907], abs=5e-4)
    assert low[1] < 0.726 < low[2] and high[1] < 0.924 < high[2]


@given(st.integers(0, 60), st.integers(1, 60), st.floats(0.5, 0.99))
def test_wilson_equals_the_formula_written_out(k, n, confidence):
    k = min(k, n)
    z, p = stats.norm.ppf((1 + confidence) / 2), k / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = wilson_interval(k, n, confidence=confidence)
    assert [float(low), float(high)] == pytest.approx(
        [(middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)], abs=1e-9
    )


@given(st.integers(1, 50), st.integers(1, 40), st.integers(0, 2**32))
def test_bootstrap_weights_are_counts_of_n_draws(n, resamples, seed):
    weights = np.concatenate(list(bootstrap_weights(n, resamples=resamples, seed=seed)))
    assert weights.shape == (resamples, n)
    assert (
        (weights.sum(axis=1) == n).all()
        and (weights == np.floor(weights)).all()
        and weights.min() >= 0
    )


def test_bootstrap_weights_have_the_multinomial_mean_and_variance():
    """Counts of n draws from n prompts: mean 1, variance 1 - 1/n."""
    weights = np.concatenate(list(bootstrap_weights(10, resamples=40_000, seed=3)))
    assert weights.mean(axis=0) == pytest.approx(np.ones(10), abs=0.02)
    assert weights.var(axis=0) == pytest.approx(np.full(10, 0.9), rel=0.03)


def test_bootstrap_agrees_with_scipy_on_a_paired_difference():
    """scipy.stats.bootstrap(paired=True, method="percentile") on the same data, within resampling noise."""
    rng = np.random.default_rng(5)
    table = pd.DataFrame(
        {"small": rng.random(400) < 0.8, "flagship": rng.random(400) < 0.9}
    ).astype(float)
    ours = bootstrap(
        table, lambda m: pd.DataFrame({"gap": m["flagship"] - m["small"]}), resamples=20_000, seed=1
    ).loc["gap"]
    theirs = stats.bootstrap(
        (table["flagship"].to_numpy(), table["small"].to_numpy()),
        lambda a, b, axis=-1: a.mean(axis) - b.mean(axis),
        paired=True,
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert [ours["low"], ours["high"]] == pytest.approx([theirs.low, theirs.high], abs=2e-3)


def test_bootstrap_pairs_its_columns():
    """Two policies that differ by a constant have a difference without any spread; unpaired draws would spread it."""
    score = np.random.default_rng(1).random(200)
    table = pd.DataFrame({"a": score, "b": score + 0.1})
    row = bootstrap(table, lambda m: pd.DataFrame({"gap": m["b"] - m["a"]}), seed=7).loc["gap"]
    assert [row["low"], row["high"]] == pytest.approx([0.1, 0.1], abs=1e-12)


def test_bootstrap_covers_at_its_level():
    """A nominal 90% interval of a mean of 200 normal draws covers 0 in 85-95% of 300 tries."""
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(300):
        row = bootstrap(
            pd.DataFrame({"x": rng.standard_normal(200)}), confidence=0.9, resamples=400, seed=rng
        ).loc["x"]
        hits += row["low"] <= 0 <= row["high"]
    assert 0.85 <= hits / 300 <= 0.95


def test_bootstrap_refuses_missing_values_and_nonsense():
    table = pd.DataFrame({"a": [0.0, 1.0, np.nan]}, index=[7, 8, 9])
    with pytest.raises(ValueError, match=r"missing or infinite in 1 row; first row 9, column 'a'"):
        bootstrap(table, seed=1)
    with pytest.raises(ValueError, match="confidence=95"):
        bootstrap(table.dropna(), confidence=95, seed=1)
    with pytest.raises(ValueError, match="resamples=0"):
        bootstrap(table.dropna(), resamples=0, seed=1)


def test_sample_size_of_the_articles_own_example():
    """Claims C089: a five-point gap at 15% discordant prompts needs about 469 paired prompts."""
    assert paired_sample_size(0.05, discordant=0.15) == 469
    z = stats.norm.ppf([0.975, 0.8])
    written_out = ((z[0] * math.sqrt(0.15) + z[1] * math.sqrt(0.15 - 0.05**2)) / 0.05) ** 2
    assert paired_sample_size(-0.05, discordant=0.15) == math.ceil(written_out)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: paired_sample_size(0, discordant=0.1), "difference=0"),
        (lambda: paired_sample_size(0.2, discordant=0.1), "discordant=0.1"),
        (lambda: paired_sample_size(0.2), "give either"),
        (lambda: paired_sample_size(0.2, sd=0), "sd=0"),
        (lambda: paired_sample_size(0.2, sd=0.3, power=80), "power=80"),
        (lambda: paired_sample_size(0.2, discordant=1.2), "discordant=1.2"),
    ],
)
def test_impossible_plans_are_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
