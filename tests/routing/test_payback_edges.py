"""A router's payback, and the hull of models, at their edges: a year to the day, a tie, a point on the line."""

import numpy as np
import pandas as pd
import pytest

from tierlab.routing import payback
from tierlab.routing.curve import apgr, cpt, hull, paired_curve, ranked_runs
from tierlab.routing.policies import request_key


def pay(single=0.02, router=0.01, build=36.5, low=np.nan, requests=10):
    """A cent saved on each of ten messages a day: a tenth of a dollar, and 36.5 in a year."""
    return payback.Payback("single", "router: x", single, router, requests, build, low, 1.0)


class TestPayback:
    def test_a_year_to_the_day_pays_and_a_day_more_does_not(self):
        one = payback.Payback("single", "router: x", 2.0, 1.0, 1, 365.0)
        assert one.days() == 365 and one.headline() == "Yes: it pays for itself in 365 days"
        more = payback.Payback("single", "router: x", 2.0, 1.0, 1, 366.0)
        assert more.headline().startswith("Not at this volume: it would take 366 days")
        assert more.volume_for() == pytest.approx(366 / 365)
        twice = payback.Payback("single", "router: x", 2.0, 1.0, 2, 366.0)
        assert twice.days() == 183 and more.days(gain_usd=3.0) == 122

    def test_no_gain_is_none_and_one_that_may_be_zero_is_not_decided(self):
        level = pay(single=0.01, router=0.01)
        assert level.headline() == "No: single costs less than any router"
        assert level.days() == level.volume_for() == np.inf
        assert "Below" not in level.words() and "Below" in pay().words()
        assert pay(low=0.0).headline().startswith("Not decided")
        assert pay(low=1e-9).headline().startswith("Yes")

    def test_messages_on_which_both_score_alike_are_simple(self):
        """Weak 1, 0.5, 0 and strong 1, 0.5, 1; a wrong answer costs 10."""
        outcomes = pd.DataFrame(
            {
                "prompt_id": [0, 1, 2] * 2,
                "model_id": ["w"] * 3 + ["s"] * 3,
                "score": [1, 0.5, 0, 1, 0.5, 1],
                "cost_usd": [1.0, 1, 1, 4, 4, 4],
            }
        )
        asked = {"weak": "w", "strong": "s", "error_cost_usd": 10.0}
        table = payback.by_difficulty(outcomes, **asked)
        assert table.loc["simple"].tolist() == pytest.approx([2 / 3, 1 + 2.5, 4 + 2.5])
        assert table.loc["complex"].tolist() == pytest.approx([1 / 3, 11, 4])
        alike = payback.by_difficulty(outcomes[outcomes["prompt_id"] < 2], **asked)
        assert alike.loc["complex"].tolist() == [0, 0, 0]

    @pytest.mark.parametrize(
        ("gain", "needed"), [(-1.5, 0.0), (-1.0, 0.0), (0.0, 0.5), (1.0, 1.0), (1.01, np.nan)]
    )
    def test_the_share_of_complex_messages_that_must_be_recognised(self, gain, needed):
        """Half are complex, at 6 on the weak and 2 on the strong model: recognising all of them saves 2 a message."""
        parts = pd.DataFrame(
            {"share": 0.5, "weak_usd": [1.0, 6.0], "strong_usd": [2.0, 2.0]},
            index=["simple", "complex"],
        )
        # without a call: 0.5 x 1 + 0.5 x 6 = 3.5 where none is recognised, against 2.5 on one model
        found = payback.complex_needed(parts, 1.0, call_usd=0.0, single_usd=2.5, gain_usd=gain)
        assert found == pytest.approx(needed, nan_ok=True)
        alike = parts.assign(weak_usd=2.0)
        assert np.isnan(
            payback.complex_needed(alike, 1.0, call_usd=0, single_usd=2.5, gain_usd=gain)
        )


class TestHull:
    def kept(self, *points):
        table = pd.DataFrame(points, columns=["cost_usd", "score"])
        found = hull(table)
        return found.index.tolist(), found["error_cost_usd"].tolist()

    def test_a_point_on_the_line_between_two_others_is_not_needed(self):
        assert self.kept((1, 0.5), (2, 0.6), (3, 0.7)) == ([0, 2], pytest.approx([0, 10]))
        assert self.kept((1, 0.5), (2, 0.61), (3, 0.7))[0] == [0, 1, 2]

    def test_of_equal_cost_the_better_and_of_equal_score_the_cheaper(self):
        assert self.kept((1, 0.5), (1, 0.6), (2, 0.6), (3, 0.9)) == (
            [1, 3],
            pytest.approx([0, 2 / 0.3]),
        )
        assert self.kept((2, 0.5), (1, 0.5)) == ([1], [0])
        assert self.kept((1, 0.5), (2, 0.4))[0] == [0]


class TestCurve:
    PAIRS = pd.DataFrame(
        {
            "router_score": [0.9, 0.5, 0.5, 0.1],
            "weak_score": [0.0, 0, 1, 1],
            "strong_score": [1.0, 0, 0, 1],
            "weak_cost_usd": 1.0,
            "strong_cost_usd": [3.0, 5, 7, 9],
        }
    )

    def test_equal_scores_move_together(self):
        """The first prompt gains 1, the two of equal score lose 1 together, the last gains nothing."""
        curve = paired_curve(self.PAIRS)
        assert curve["strong_share"].tolist() == [0, 0.25, 0.75, 1]
        assert curve["score"].tolist() == [0.5, 0.75, 0.5, 0.5]
        assert curve["cost_usd"].tolist() == [1, 1.5, 4, 6]
        assert curve["strong_calls"].tolist() == [0, 1, 3, 4]
        assert curve["threshold"].tolist() == [np.inf, 0.9, 0.5, 0.1]

    def test_weights_count_a_prompt_more_often(self):
        twice = pd.concat([self.PAIRS, self.PAIRS.iloc[[0]]], ignore_index=True)
        weighted = paired_curve(self.PAIRS, weights=np.array([2.0, 1, 1, 1]))
        plain = paired_curve(twice)
        for name in ("strong_share", "score", "cost_usd"):
            assert weighted[name].tolist() == pytest.approx(plain[name].tolist())

    def test_the_share_that_closes_a_part_of_the_gap(self):
        """From 0.5 to 0.9: half of the gap is 0.7, reached at a share of 0.3 by the line and at 0.6 by a threshold."""
        curve = pd.DataFrame({"strong_share": [0.0, 0.6, 1.0], "score": [0.5, 0.9, 0.9]})
        assert float(cpt(curve, 0.5)) == pytest.approx(0.3)
        assert float(cpt(curve, 0.5, variant="paper")) == 0.6
        assert float(cpt(curve, 1.0)) == pytest.approx(0.6) and float(cpt(curve, 0.0)) == 0
        assert float(cpt(curve, 0.0, variant="paper")) == 0
        assert float(apgr(curve)) == pytest.approx(0.6 / 2 + 0.4)
        # at 0.1 to 0.5 a sixth to five sixths, and 1 five times
        tenths = (1 + 2 + 3 + 4 + 5) / 6 + 5
        assert float(apgr(curve, variant="paper")) == pytest.approx(tenths / 10)
        for level in (-0.01, 1.01):
            with pytest.raises(ValueError, match="a part of the gap from 0 to 1"):
                cpt(curve, level)
        level = curve.assign(score=0.5)
        assert "no gap" in repr(apgr(level)) and np.isnan(cpt(level, 0.5))

    def test_runs_of_scores_end_at_their_last(self):
        order, ends = ranked_runs(np.array([0.5, 0.9, 0.5, 0.1]))
        assert order[0] == 1 and order[3] == 3 and ends.tolist() == [0, 2, 3]
        assert ranked_runs(np.array([1.0, 1.0]))[1].tolist() == [1]
        for scores in ([], [0.5, np.nan], [np.inf]):
            with pytest.raises(ValueError, match="router scores are missing"):
                ranked_runs(np.array(scores, float))


def test_a_whole_number_has_the_key_of_splitmix64():
    """Steele, Lea and Flood 2014 (doi:10.1145/2714064.2660195): steps of 2^64 over the golden ratio, made odd."""
    gamma = 11_400_714_819_323_198_485
    keys = request_key(np.array([0, 1, 3]))
    assert [int(key) for key in keys] == [0, gamma, 3 * gamma % 2**64]
