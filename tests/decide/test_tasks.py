"""The task table: the article's tiers, our ratings, and the article's rule that links them."""

from itertools import pairwise, product

import pytest

from tierlab.core.tables import load_tasks
from tierlab.core.vocabulary import TIERS
from tierlab.decide.tasks import task_tiers, tier_by_rule

# The article, Matching Tasks to Tiers, in its own order.
ARTICLE = {
    "intent_classification": ("small", "small"),
    "entity_extraction": ("small", "small"),
    "faq_answering": ("small", "mid"),
    "summarisation": ("mid", "mid"),
    "customer_support": ("mid", "mid"),
    "code_review": ("mid", "flagship"),
    "refactoring": ("flagship", "flagship"),
    "legal_medical_analysis": ("flagship", "flagship"),
    "agentic_tools": ("mid", "flagship"),
}


@pytest.fixture(scope="module")
def tasks():
    return load_tasks()


def test_the_table_holds_the_articles_nine_tasks_and_tiers(tasks):
    assert (
        dict(zip(tasks.index, zip(tasks["tier_low"], tasks["tier_high"], strict=True), strict=True))
        == ARTICLE
    )
    assert list(tasks.index) == list(ARTICLE)


@pytest.mark.parametrize("task", ARTICLE)
def test_the_rule_gives_the_articles_range(tasks, task):
    """Over every combination of the ratings, not only the ends."""
    row = tasks.loc[task]
    stakes, complexity = (
        range(row[f"{kind}_low"], row[f"{kind}_high"] + 1) for kind in ("stakes", "complexity")
    )
    seen = {TIERS[tier_by_rule(s, c) - 1] for s, c in product(stakes, complexity)}
    low, high = (TIERS.index(tier) for tier in ARTICLE[task])
    assert seen == set(TIERS[low : high + 1])
    assert task_tiers(tasks).loc[task].tolist() == [low + 1, high + 1]


@pytest.mark.parametrize(
    ("stakes", "complexity", "tier"),
    [
        (1, 1, "small"),
        (1, 3, "mid"),
        (3, 1, "mid"),
        (3, 3, "flagship"),
        (2, 2, "mid"),
        (2, 3, "mid"),
        (1, 2, "mid"),
    ],
)
def test_the_corners_and_what_lies_between(stakes, complexity, tier):
    assert TIERS[tier_by_rule(stakes, complexity) - 1] == tier


def test_a_higher_rating_never_gives_a_lower_tier():
    """task_tiers reads only the ends of the ranges; that is right because of this."""
    for fixed in (1, 2, 3):
        assert all(tier_by_rule(a, fixed) <= tier_by_rule(b, fixed) for a, b in pairwise((1, 2, 3)))
        assert all(tier_by_rule(fixed, a) <= tier_by_rule(fixed, b) for a, b in pairwise((1, 2, 3)))


def test_ratings_are_one_to_three_with_a_reason_and_a_source(tasks):
    for kind in ("stakes", "complexity"):
        low, high = tasks[f"{kind}_low"], tasks[f"{kind}_high"]
        assert low.between(1, 3).all() and high.between(1, 3).all() and (low <= high).all()
        assert tasks[f"{kind}_reason"].str.fullmatch(r"[A-Z][^.]+\.").all()
    assert tasks[["tier_source", "rating_source"]].notna().all(axis=None)


@pytest.mark.parametrize("rating", [0, 4, 1.5])
def test_a_rating_off_the_scale_is_refused(rating):
    with pytest.raises(ValueError, match=rf"ratings are 1, 2 or 3; got \[{rating}"):
        tier_by_rule(rating, 1)
