"""Samples that are not alike: missing answers, repeats, failures with and without a cost, groups on some rows."""

import numpy as np
import pandas as pd
import pytest

from tierlab.evaluate.rows import levels, mostly_failing, paired, scored_rows


def samples(**scores):
    """A row per model and example; None is no row, and a tuple is (score, cost)."""
    rows = [
        {"prompt_id": example, "model_id": model, "score": one[0], "cost_usd": float(one[1])}
        for model, own in scores.items()
        for example, one in enumerate(one if isinstance(one, tuple) else (one, 1) for one in own)
        if one[0] is not None
    ]
    return pd.DataFrame(rows)


class TestLevels:
    def test_a_model_with_few_answers_is_put_on_the_anchors_own_level(self):
        """The anchor errs on the 2nd and 3rd of four examples, and costs 1, 2, 3 and 4; of the 5th it has no rival."""
        table = samples(
            a=[(1, 1), (0, 2), (0, 3), (1, 4), (0, 99)],
            b=[(0, 10), (0, 20), None, None],
            c=[None, (1, 1), (0, 1), (1, 1)],
        )
        found, _ = levels(scored_rows(table), ["a", "b", "c"], "a")
        assert found["examples"].to_dict() == {"a": 4, "b": 2, "c": 3}
        # b errs half as often again on two examples of the anchor's usual rate; c a third less on three of two thirds
        assert found["error_rate"].tolist() == pytest.approx([1 / 2, 1.0, 1 / 3 + 1 / 2 - 2 / 3])
        # the anchor costs 2.5 on its four examples, 1.5 on those of b and 3 on those of c
        assert found["cost_usd"].tolist() == pytest.approx([2.5, 15 * 2.5 / 1.5, 1 * 2.5 / 3])

    def test_a_rate_stays_a_share(self):
        """b is right where the anchor errs, and the anchor is right elsewhere: 0 - 1/2 + 1/4 would be below 0."""
        table = samples(a=[0, 1, 1, 1], b=[1, 1, None, None], c=[1, 1, 1, 1])
        found, _ = levels(scored_rows(table), ["a", "b", "c"], "a")
        assert found["error_rate"].to_dict() == {"a": 0.25, "b": 0.0, "c": 0.0}

    def test_squares_of_the_influence_are_the_variance_of_a_rate(self):
        """A quarter over four examples; in two groups of two alike, over two groups of one."""
        table = samples(a=[1, 1, 0, 0], b=[1, 1, 0, 0])
        _, alone = levels(scored_rows(table), ["a", "b"], "a")
        assert (alone**2).sum(axis=0).tolist() == pytest.approx([0.25 / 4] * 2)
        # b errs on three of four, which is its own variance where both have answered all
        _, more = levels(scored_rows(samples(a=[1, 1, 0, 0], b=[1, 0, 0, 0])), ["a", "b"], "a")
        assert (more**2).sum(axis=0).tolist() == pytest.approx([0.25 / 4, 0.75 * 0.25 / 4])
        # on two examples b scores as the anchor does: what is uncertain is the anchor's level
        some = samples(a=[1, 1, 0, 0], b=[1, None, 0, None], c=[1, 1, 0, 0])
        _, level = levels(scored_rows(some), ["a", "b", "c"], "a")
        assert (level**2).sum(axis=0).tolist() == pytest.approx([0.25 / 4] * 3)
        grouped = table.assign(group=[1, 1, 2, 2] * 2)
        _, groups = levels(scored_rows(grouped), ["a", "b"], "a")
        assert groups.shape == (2, 2)
        assert (groups**2).sum(axis=0).tolist() == pytest.approx([0.25 / 2] * 2)

    def test_what_an_answer_costs_holds_the_calls_that_failed(self):
        """Two answers at 2 and 4 and a failure at 3 of the first example; a failure that says no cost was free."""
        rows = pd.DataFrame(
            {
                "prompt_id": [0, 0, 0, 1, 1],
                "model_id": "a",
                "repeat": [0, 1, 2, 0, 1],
                "status": ["ok", "ok", "timeout", "ok", "timeout"],
                "score": [1, 0, None, 1, None],
                "cost_usd": [2.0, 4, 3, 5, np.nan],
            }
        )
        found, _ = levels(scored_rows(rows), ["a"], "a")
        assert found.loc["a"].to_dict() == {"examples": 2, "error_rate": 0.25, "cost_usd": 4.75}
        unknown = rows.assign(cost_usd=[2.0, np.nan, 3, 5, 1])
        assert np.isnan(levels(scored_rows(unknown), ["a"], "a")[0]["cost_usd"]["a"])

    def test_models_without_a_common_example_are_not_known(self):
        table = samples(a=[1, None, 1], b=[None, 1, 1], c=[None, 1, None])
        found, _ = levels(scored_rows(table), ["a", "b", "c"], "a")
        assert found["examples"].to_dict() == {"a": 1, "b": 1, "c": 0}
        assert found.loc["c", ["error_rate", "cost_usd"]].isna().all()

    def test_a_free_anchor_gives_no_ratio(self):
        table = samples(a=[(1, 0), (1, 0)], b=[(1, 3), (1, 5)])
        found, _ = levels(scored_rows(table), ["a", "b"], "a")
        assert found["cost_usd"].tolist() == [0, 4]

    def test_pairs_are_the_examples_of_both_in_the_tables_order(self):
        table = samples(a=[1, 0, 1, None], b=[None, 1, 0.5, 1])
        pair = paired(scored_rows(table), "b", "a")
        assert pair.differences.tolist() == [1, -0.5] and not pair.binary
        right = paired(scored_rows(samples(a=[1, 0], b=[0, 0])), "b", "a")
        assert right.differences.tolist() == [-1, 0] and right.binary
        repeated = pd.concat([samples(a=[1, 0], b=[1, 0]).assign(repeat=n) for n in (0, 1)])
        assert not paired(scored_rows(repeated), "b", "a").binary


def statuses(*given, model="a"):
    score = [1.0 if status == "ok" else np.nan for status in given]
    return pd.DataFrame(
        {"prompt_id": range(len(given)), "model_id": model, "status": given, "score": score}
    )


class TestFailing:
    CUT = "truncated"
    FINE = statuses("ok", "ok", "ok", "ok", model="b")

    @pytest.mark.parametrize(
        ("given", "wrong"),
        [
            (("ok", "ok", CUT, CUT), 0),
            (("ok", CUT, CUT, CUT), 3),
            (("ok", "timeout", CUT, "ok"), 0),
            (("ok", "timeout", CUT, CUT), 3),
            (("ok", CUT, "not_sent", "over_budget"), 0),  # of two that were asked
            ((CUT, "not_sent", "not_sent"), 1),
        ],
    )
    def test_more_than_half_without_an_answer_are_wrong_answers(self, given, wrong):
        rows = scored_rows(pd.concat([statuses(*given), self.FINE]))
        own = rows[rows["model_id"] == "a"]
        assert own["score"].eq(0).sum() == wrong
        assert own["score"].eq(1).sum() == given.count("ok")
        unsent = sum(status in ("not_sent", "over_budget") for status in given)
        failed = len(given) - given.count("ok") - unsent
        assert own["aside"].ne("").sum() == unsent + (0 if wrong else failed)
        assert list(mostly_failing(rows)) == (["a"] if wrong > len(given) / 2 else [])

    def test_where_all_fail_nothing_is_known_of_any(self):
        both = pd.concat([statuses("ok", *[self.CUT] * 3, model=name) for name in "ab"])
        rows = scored_rows(both)
        assert rows["score"].notna().sum() == 2 and not mostly_failing(rows)

    def test_an_answer_that_is_none_scores_0(self):
        rows = scored_rows(statuses("ok", "refused", "empty", "content_filter", "ok"))
        assert rows["score"].tolist() == [1, 0, 0, 0, 1] and rows["aside"].eq("").all()
        assert mostly_failing(rows) == {"a": "refused 1, empty 1, content_filter 1"}
        half = scored_rows(statuses("ok", "refused", "empty", "ok"))
        assert mostly_failing(half) == {}

    @pytest.mark.parametrize(("truncated", "scores"), [("wrong", 0.0), ("set_aside", np.nan)])
    def test_an_answer_that_was_cut_off(self, truncated, scores):
        rows = scored_rows(statuses("ok", "ok", "truncated"), truncated=truncated)
        assert rows["score"].tolist()[:2] == [1, 1]
        assert rows["score"].iloc[2] == pytest.approx(scores, nan_ok=True)

    def test_examples_without_a_group_are_groups_of_their_own(self):
        table = statuses("ok", "ok", "ok", "ok").assign(group=["x", None, "x", None])
        cluster = scored_rows(table)["cluster"]
        assert cluster[0] == cluster[2] and cluster.nunique() == 3
        with pytest.raises(ValueError, match="in two groups at once: 1 example"):
            scored_rows(
                pd.concat([table, table.assign(model_id="b", group=["y", None, "x", None])])
            )
