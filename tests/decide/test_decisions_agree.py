"""recommend, compare and the hull give one answer to one question; and no decision is filed that the examples do not carry.

Expected values are plain Python on lists of rows: no function of the kit says what is right.
"""

import datetime
import math
import re
from statistics import fmean

import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tests.decide.decisions import recommend
from tests.proofs import runs
from tierlab.cli import main

CHEAP, STRONG = "claude-haiku-4-5", "claude-opus-4-8"
# 1,437 tokens in; the cheap model writes 1,062 tokens an answer, the strong one 216. Article: 1 / 5 and 5 / 25 USD a million.
USD = {CHEAP: (1_437 * 1 + 1_062 * 5) / 1e6, STRONG: (1_437 * 5 + 216 * 25) / 1e6}
OUTPUT = {CHEAP: 1_062, STRONG: 216}


def answers(cells, *, models=(CHEAP, STRONG), usd=USD):
    """An outcomes table from (number of examples, score of each model) in turn."""
    scores = [score for count, *score in cells for _ in range(count)]
    rows = [
        {
            "prompt_id": f"p{i}",
            "model_id": model,
            "score": float(row[place]),
            "cost_usd": usd[model],
        }
        | {
            "uncached_input_tokens": 1_437,
            "output_tokens": OUTPUT.get(model, 100),
            "end_to_end_s": 3.0,
            "prompt_chars": i,
        }
        for place, model in enumerate(models)
        for i, row in enumerate(scores)
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def outcomes():
    """364 prompts: 300 right by both, 1 by the cheap model alone, 18 by the strong one alone, 45 by neither."""
    return answers([(300, 1, 1), (1, 1, 0), (18, 0, 1), (45, 0, 0)])


@pytest.fixture
def file(outcomes, tmp_path):
    outcomes.to_csv(tmp_path / "outcomes.csv", index=False)
    return str(tmp_path / "outcomes.csv")


def said(capsys, *arguments, status=0):
    """What a command prints; of one that fails, what it says on stderr."""
    assert main([str(part) for part in arguments]) == status
    out, err = capsys.readouterr()
    return err if status else out


def advise(capsys, file, *arguments, status=0, cost=0.15):
    asked = [
        "recommend",
        "mine",
        "--samples",
        file,
        "--error-cost-usd",
        cost,
        "--prices",
        "article",
        *arguments,
    ]
    return said(capsys, *asked, status=status)


# The three answers on one table

BREAK_EVEN = (USD[STRONG] - USD[CHEAP]) / (17 / 364)  # 0.125 USD an error


class TestMeasuredDollars:
    def test_all_three_say_stay_at_fifteen_cents_and_leave_at_ten(self, article, outcomes):
        assert pytest.approx(0.125, abs=1e-4) == BREAK_EVEN
        means = outcomes.groupby("model_id")[["cost_usd", "score"]].mean()
        assert tl.hull(means).loc[STRONG, "error_cost_usd"] == pytest.approx(BREAK_EVEN)
        for cost, choice in ((0.10, CHEAP), (0.15, STRONG)):
            found = recommend(samples=outcomes, error_cost_usd=cost, prices=article)
            compared = tl.compare(outcomes, reference=STRONG, margin=0.05, error_cost_usd=cost)
            assert found.model_id == choice == compared.costs["expected"].idxmin()
            flip = found.flips.set_index("what").loc["cost of an error"]
            assert flip["above" if choice == CHEAP else "below"] == pytest.approx(BREAK_EVEN)
            assert found.table.set_index("model_id")["expected_usd"].to_dict() == pytest.approx(
                {CHEAP: USD[CHEAP] + cost * 63 / 364, STRONG: USD[STRONG] + cost * 46 / 364}
            )

    def test_so_does_the_command_from_a_file_with_three_columns_and_a_cost(
        self, outcomes, tmp_path, capsys
    ):
        path = tmp_path / "own.csv"
        outcomes[["prompt_id", "model_id", "score", "cost_usd"]].to_csv(path, index=False)
        text = advise(capsys, path)
        assert (
            f"flagship: {STRONG}" in text
            and "Below $0.125 an error it would be claude-haiku-4-5" in text
        )

    def test_own_tokens_are_priced_where_no_dollars_were_measured(self, article, outcomes):
        found = recommend(
            samples=outcomes.drop(columns="cost_usd"), error_cost_usd=0.15, prices=article
        )
        assert found.model_id == STRONG
        assert found.table.set_index("model_id")["price_usd"].to_dict() == pytest.approx(USD)
        assert any("own tokens at the rates of 2026-06-12" in line for line in found.grounds)

    def test_the_saving_is_that_of_the_common_examples(self):
        """The cheap model was asked the first 60 prompts alone, which are short; the last 40 cost ten times as much."""
        table = answers([(100, 1, 1)], models=("a", "b"), usd={"a": 1.0, "b": 2.0})
        late = table["prompt_id"].str[1:].astype(int) >= 60
        table.loc[late, "cost_usd"] = 20.0
        table = table[~((table["model_id"] == "a") & late)]
        compared = tl.compare(table, reference="b", margin=0.1)
        assert compared.pairs.loc["a", "saving"] == pytest.approx(0.5)
        assert "at $1.00 per request against $2.00" in compared.verdict


# Random tables


def random_table(rng):
    """Two to four models on 12 to 60 prompts: rows that lack, cut off and failed calls, ties, costs of each model's own."""
    models = [f"own-{letter}" for letter in "abcd"[: rng.integers(2, 5)]]
    n, graded, complete = int(rng.integers(12, 60)), rng.random() < 0.3, rng.random() < 0.4
    rows = []
    for model in models:
        skill, tokens = rng.uniform(0.3, 1.0), rng.uniform(100, 2_000)
        cut, absent = (
            (0.0, 0.0) if complete else (rng.choice([0.0, 0.1, 0.9]), rng.choice([0.0, 0.2]))
        )
        for prompt in range(n):
            if rng.random() < absent and prompt:
                continue
            status = rng.choice(["truncated", "timeout"]) if rng.random() < cut else "ok"
            score = round(rng.random(), 1) if graded else float(rng.random() < skill)
            score = score if status == "ok" else None
            usd = round(tokens * rng.uniform(0.5, 1.5)) * 1e-5
            rows.append(
                {
                    "prompt_id": prompt,
                    "model_id": model,
                    "score": score,
                    "status": status,
                    "cost_usd": usd,
                }
            )
    if rng.random() < 0.2:  # two models that are alike in everything
        twin = [row | {"model_id": models[1]} for row in rows if row["model_id"] == models[0]]
        rows = [row for row in rows if row["model_id"] != models[1]] + twin
    return rows, models


def scores_of(rows, truncated):
    """model -> prompt -> (score, USD) of what counts; a model of which most calls fail is wrong where it fails."""
    models, result = list(dict.fromkeys(row["model_id"] for row in rows)), {}
    own = {model: [row for row in rows if row["model_id"] == model] for model in models}

    def lost(row):
        return row["status"] == "timeout" or (
            row["status"] == "truncated" and truncated == "set_aside"
        )

    failing = [model for model in models if sum(map(lost, own[model])) > 0.5 * len(own[model])]
    failing = [] if len(failing) == len(models) else failing
    for model in models:
        kept = [row for row in own[model] if not lost(row) or model in failing]
        result[model] = {row["prompt_id"]: (row["score"] or 0.0, row["cost_usd"]) for row in kept}
    return result


def anchor_of(scores):
    """The model with the most examples in common with each of the others; of several, the first by name."""

    def shared(model):
        return sum(len(scores[model].keys() & scores[other].keys()) for other in scores)

    return max(sorted(scores), key=lambda model: shared(model) - len(scores[model]))


def plain(scores, anchor):
    """model -> (error rate, USD per request), pair by pair with the anchor."""
    common = {m: sorted(scores[m].keys() & scores[anchor].keys()) for m in scores if m != anchor}
    own = sorted(set().union(*common.values()))
    level = (
        [fmean(1 - scores[anchor][p][0] for p in own), fmean(scores[anchor][p][1] for p in own)]
        if own
        else None
    )
    result = {anchor: tuple(level)} if own else {}
    for model, shared in common.items():
        if shared:
            error, usd = (
                fmean(1 - scores[model][p][0] for p in shared),
                fmean(scores[model][p][1] for p in shared),
            )
            error += level[0] - fmean(1 - scores[anchor][p][0] for p in shared)
            result[model] = (
                min(1.0, max(0.0, error)),
                usd * level[1] / fmean(scores[anchor][p][1] for p in shared),
            )
    return result


def compared_like_recommend(table, scores, cost, truncated, article):
    """Both functions on one table equal arithmetic; returns what it gives, and what `recommend` found."""
    anchor = anchor_of(scores)
    wanted = plain(scores, anchor)
    found = recommend(samples=table, error_cost_usd=cost, prices=article, truncated=truncated)
    costs = tl.compare(
        table, reference=anchor, margin=0.05, error_cost_usd=cost, truncated=truncated
    ).costs["expected"]
    seen = found.table.set_index("model_id").dropna(subset="expected_usd")
    assert set(seen.index) == set(wanted)
    for model, (error, usd) in wanted.items():
        assert (seen.at[model, "error_rate"], seen.at[model, "price_usd"]) == pytest.approx(
            (error, usd)
        )
        assert seen.at[model, "expected_usd"] == pytest.approx(usd + cost * error) == costs[model]
    least = min(usd + cost * error for error, usd in wanted.values())
    assert seen.at[found.model_id, "expected_usd"] == pytest.approx(least)
    return wanted, found


def table_of(**ranges):
    """Models that cost 1, 2, 3 ... cents and err on every tenth, ninth, eighth ... of the examples in their range."""
    return pd.DataFrame(
        [
            {
                "prompt_id": i,
                "model_id": m,
                "score": float(i % (10 - k) > 0),
                "cost_usd": (k + 1) / 100,
            }
            for k, (m, own) in enumerate(ranges.items())
            for i in own
        ]
    )


def rates(table, article):
    found = recommend(samples=table, error_cost_usd=0.1, prices=article)
    return found.table.set_index("model_id")[["error_rate", "price_usd", "expected_usd"]]


def test_no_order_of_the_rows_changes_a_recommendation(article):
    """Three models that have answered 100 examples each, but not the same ones."""
    table = table_of(a=range(100), b=range(50, 150), c=range(20, 120))
    wanted = rates(table, article)
    for order in (
        table[::-1],
        table.sort_values("prompt_id"),
        table.sample(frac=1, random_state=1),
    ):
        pd.testing.assert_frame_equal(rates(order, article), wanted, check_like=True)


def test_of_models_that_are_alike_the_first_by_name_is_chosen(article):
    """One of them was chosen for the place of its rows."""
    one = table_of(b=range(100)).assign(score=1.0)
    for names in ("abc", "cba"):
        table = pd.concat([one.assign(model_id=name) for name in names])
        assert recommend(samples=table, error_cost_usd=1, prices=article).model_id == "a"
        cheaper = table.assign(cost_usd=table["cost_usd"].where(table["model_id"] == "c", 0.001))
        assert tl.compare(cheaper, reference="c", margin=0.1).choice == "a"


def test_a_model_that_shares_few_examples_takes_none_from_the_others(article):
    """The third model answered more examples than the others, nearly all of them its own."""
    pair = table_of(a=range(200), b=range(200))
    wanted, found = (
        rates(table, article).loc[["a", "b"]]
        for table in (pair, table_of(a=range(200), b=range(200), z=range(190, 420)))
    )
    pd.testing.assert_frame_equal(found, wanted, check_exact=False)


def test_recommend_compare_and_hull_agree_on_random_tables(article):
    rng = np.random.default_rng(20261129)
    seen = {"pairs": 0, "break-evens": 0, "complete": 0}
    for turn in range(runs(1_000, 20)):
        rows, models = random_table(rng)
        rows = [
            row for row in rows if row["model_id"] in models[:2] or turn % 2
        ]  # every other time a pair
        truncated, cost = str(rng.choice(["set_aside", "wrong"])), float(rng.uniform(0.001, 0.2))
        scores = scores_of(rows, truncated)
        if sum(map(bool, scores.values())) < 2 or not plain(scores, anchor_of(scores)):
            continue
        wanted, found = compared_like_recommend(
            pd.DataFrame(rows), scores, cost, truncated, article
        )
        if all(
            len(own) == len(scores[models[0]]) for own in scores.values()
        ):  # then the hull may look at all of them
            points = pd.DataFrame(
                {m: {"cost_usd": usd, "score": 1 - error} for m, (error, usd) in wanted.items()}
            ).T
            best = points.loc[tl.hull(points).query("error_cost_usd <= @cost").index[-1]]
            assert best["cost_usd"] + cost * (1 - best["score"]) == pytest.approx(
                found.table["expected_usd"].iloc[0]
            )
            seen["complete"] += 1
        if len(scores) > 2:
            continue
        seen["pairs"] += 1
        common = sorted(scores[models[0]].keys() & scores[models[1]].keys())
        both = [(p, m, *scores[m][p]) for m in models[:2] for p in common]
        both = pd.DataFrame(both, columns=["prompt_id", "model_id", "score", "cost_usd"])
        weak, strong = sorted(wanted, key=lambda model: wanted[model][1])
        curve = tl.cost_quality_curve(both, pd.Series(common, common), weak=weak, strong=strong)
        ends = [value for m in (weak, strong) for value in (1 - wanted[m][0], wanted[m][1])]
        assert curve[["score", "cost_usd"]].iloc[
            [0, -1]
        ].to_numpy().ravel().tolist() == pytest.approx(ends)
        gap = wanted[weak][0] - wanted[strong][0]
        if gap > 1e-9 and wanted[strong][1] > wanted[weak][1]:
            even = (wanted[strong][1] - wanted[weak][1]) / gap
            means = both.groupby("model_id")[["cost_usd", "score"]].mean()
            flip = found.flips.set_index("what").loc["cost of an error"]
            assert tl.hull(means).loc[strong, "error_cost_usd"] == pytest.approx(even)
            assert flip["above" if cost < even else "below"] == pytest.approx(even)
            seen["break-evens"] += 1
    assert min(seen.values()) > runs(1_000, 20) / 10, seen


# Failing candidates, few examples


class TestEnoughExamples:
    CELLS = ((40, 1, 1, 1), (8, 0, 1, 1), (2, 1, 0, 1), (10, 0, 0, 0))

    def table(self, cut):
        models = (CHEAP, STRONG, "third")
        table = answers(self.CELLS, models=models, usd=USD | {"third": 0.0001}).assign(status="ok")
        third = table.index[table["model_id"] == "third"][: len(table) // 3 if cut is None else cut]
        table.loc[third, ["status", "score"]] = ["truncated", None]
        return table

    def test_a_candidate_that_was_cut_off_57_times_of_60_turns_nothing(self, article):
        """The two have 18 and 12 of 60 wrong, with the third and without it."""
        two = recommend(
            samples=self.table(0).query("model_id != 'third'"), error_cost_usd=0.15, prices=article
        )
        three = recommend(samples=self.table(57), error_cost_usd=0.15, prices=article)
        assert three.model_id == two.model_id == STRONG
        own = three.table.set_index("model_id")
        assert own.loc[[CHEAP, STRONG], "error_rate"].tolist() == pytest.approx([18 / 60, 12 / 60])
        assert own.at["third", "error_rate"] >= 57 / 60 and own.at["third", "best_share"] == 0
        assert "third mostly fails: truncated 57 count as wrong" in three.grounds
        verdict = tl.compare(self.table(57), reference=STRONG, margin=0.05).verdict
        assert "third mostly fails: of 60 rows, truncated 57 count as wrong" in verdict
        kept = tl.check_outcomes(
            tl.as_outcomes(self.table(57)), incomplete="drop"
        )  # what a router and the hull look at
        assert (
            kept["prompt_id"].nunique() == 60
            and kept.query("model_id == 'third'")["score"].mean() <= 3 / 60
        )

    def test_a_few_cut_off_answers_take_no_example_from_the_others(self, article):
        found = recommend(samples=self.table(20), error_cost_usd=0.15, prices=article)
        rate = found.table.set_index("model_id")["error_rate"]
        assert rate[[CHEAP, STRONG]].tolist() == pytest.approx(
            [18 / 60, 12 / 60]
        )  # not those of the 40 that all have

    def test_nothing_is_filed_on_fewer_examples_than_the_margin_takes(self, tmp_path, capsys):
        self.table(0).query("model_id != 'third'").to_csv(tmp_path / "few.csv", index=False)
        asked = (tmp_path / "few.csv", "--file", tmp_path / "d.md")
        error = advise(capsys, *asked, status=2)
        # Ten of 60 disagree, six points and more apart in favour of the choice: for no difference, n by Nam 1997
        need = tl.required_examples(margin=0.05, discordant=10 / 60)
        assert (
            f"{STRONG} and {CHEAP} need {need - 60} more examples" in error
            and not (tmp_path / "d.md").exists()
        )
        assert f"60 in common, and a margin of 5 points takes {need}" in error
        money = (need - 60) * (USD[CHEAP] + USD[STRONG])
        assert f"about ${money:,.2f}" in error
        assert tl.required_examples(margin=0.2, discordant=10 / 60) <= 60
        advise(capsys, *asked, "--margin", 0.2)
        record = tl.load_record(tmp_path / "d.md")
        assert (record.examples, record.margin) == (60, 0.2) and 0 < record.examples_needed <= 60

    def test_a_rival_that_plainly_fails_needs_no_more_examples(self, article, tmp_path):
        found = recommend(
            samples=self.table(57), models=[STRONG, "third"], error_cost_usd=0.15, prices=article
        )
        assert set(found.table["model_id"]) == {STRONG, "third"} and found.model_id == STRONG
        tl.file_record(found, tmp_path / "d.md", title="x", decided_on="2026-11-29")

    def test_python_refuses_as_well(self, article, tmp_path):
        found = recommend(samples=self.table(0), error_cost_usd=0.15, prices=article)
        assert found.step == 4 and "more examples" in found.next_step
        with pytest.raises(ValueError, match="not filed"):
            tl.file_record(found, tmp_path / "d.md", title="x", decided_on="2026-11-29")

    def test_cut_off_answers_are_wrong_or_set_aside_as_the_command_is_told(self, tmp_path, capsys):
        self.table(20).to_csv(tmp_path / "cut.csv", index=False)

        def rate(*more):
            line = next(
                x
                for x in advise(capsys, tmp_path / "cut.csv", *more).splitlines()
                if re.match(r" *third +(small|mid|flagship)", x)
            )
            return float(line.split()[3])  # model, tier, price, error rate

        # The first 20 are cut off. Of the last 40 the third has 10 wrong and Haiku 18, all of its 18 of 60.
        assert rate("--truncated", "wrong") == pytest.approx((20 + 10) / 60, abs=1e-4)
        assert rate() == pytest.approx(18 / 60 + 10 / 40 - 18 / 40, abs=1e-4)

    def test_the_command_takes_the_names_that_the_samples_have(self, tmp_path, capsys):
        self.table(0).to_csv(tmp_path / "own.csv", index=False)
        text = advise(
            capsys, tmp_path / "own.csv", "--model", "third", "--model", "Claude Opus 4.8"
        )
        assert CHEAP not in text and "third" in text
        error = advise(capsys, tmp_path / "own.csv", "--model", "thrid", status=2)
        assert "unknown model 'thrid'; did you mean 'third'" in error


# What is known comes first


def test_what_is_known_is_said_before_what_is_open(outcomes):
    """1 better and 18 worse of 364: McNemar's exact p is 2 (1 + 19) / 2^19, Tango's 95% interval 2.7 to 7.4 points."""
    verdict = tl.compare(outcomes, reference=STRONG, margin=0.05).verdict
    assert f"p = {2 * 20 / 2**19:.5f}" in verdict
    assert verdict.startswith(f"{CHEAP} is worse than {STRONG} by 2.7 to 7.4 points")
    assert (
        "whether by more than 5 points is open (29,078 more examples" in verdict
        and "annot tell" not in verdict
    )


# Near ties


class TestNearTies:
    def test_a_tie_is_no_victory(self, article):
        """One example apart at half a cent of a cent: who leads changes with the next example."""
        usd = {CHEAP: 0.001, STRONG: 0.001025}
        table = answers([(80, 1, 1), (10, 1, 0), (10, 0, 1)], usd=usd)
        found = recommend(samples=table, error_cost_usd=0.1, prices=article)
        assert found.close == (CHEAP, STRONG)
        tie = f"Too close to call: small ({CHEAP}) and flagship ({STRONG})"
        assert found.reason.startswith(tie) and "measure them on more examples" in found.reason
        assert repr(found).startswith("too close to call: ")

    def test_a_rival_that_wins_more_draws_is_named(self, article, tmp_path):
        """Equal all in at the middle of a lopsided range, and the second is the cheaper one in most of it."""
        rates = {CHEAP: (0.10, 0.10, 0.40), STRONG: 0.098}
        asked = {"models": list(rates), "error_rates": rates, "prices": article}
        found = recommend(error_cost_usd=1, **asked)
        share = found.table.set_index("model_id")["best_share"]
        assert found.close == (CHEAP, STRONG) and share[STRONG] >= 0.8 * share[CHEAP]
        record = tl.file_record(
            found, tmp_path / "d.md", title="x", decided_on="2026-11-29"
        ).read_text("utf-8")
        assert "too close to call against claude-opus-4-8" in record

    def test_a_clear_choice_has_no_rival(self, article, outcomes):
        assert recommend(samples=outcomes, error_cost_usd=1, prices=article).close == ()


# The review draws what was drawn

FOUND = {
    "counted": {
        "error_counts": {"small": (12, 80), "mid": (9, 80), "flagship": (8, 80)},
        "error_cost_usd": 0.1,
    },
    "partly counted": {
        "error_counts": {"mid": (6, 80)},
        "error_cost_usd": 0.1,
        "task": "customer_support",
    },
    "assumed": {"task": "customer_support"},
    "agents": {"task": "agentic_tools", "error_cost_usd": 0.05},
    "waiting": {"task": "customer_support", "error_cost_usd": 0.1, "second_usd": 0.0005},
    "ranges": {
        "task": "customer_support",
        "error_cost_usd": (0.1, 0.05, 0.2),
        "workload": tl.Workload(
            requests_per_day=10, input_tokens=(200, 4_000), batch_share=(0.0, 0.5)
        ),
    },
    "approximate": {"task": "customer_support", "error_cost_usd": 0.1, "provider": "google"},
}


class TestReview:
    def assert_same_shares(self, found, prices, tmp_path):
        path = tl.file_record(found, tmp_path / "d.md", title="x", decided_on="2026-11-29")
        again = tl.review(path, prices=prices)
        columns = ["expected_usd", "low", "high", "best_share"]
        tables = [
            table.set_index("model_id")[columns].dropna().sort_index()
            for table in (found.table, again.table)
        ]
        pd.testing.assert_frame_equal(*tables, rtol=1e-9)
        share = found.table["best_share"].iloc[0]
        assert again.stands and f"the cheapest in {share:.0%} of the draws" in again.verdict
        return share

    @pytest.mark.parametrize("asked", FOUND.values(), ids=FOUND)
    def test_on_the_day_of_filing_every_share_is_the_one_that_was_filed(self, asked, tmp_path):
        prices = tl.load_prices("maintained", as_of="2026-06-12")
        found = recommend(**({"provider": "anthropic", "prices": prices} | asked))
        self.assert_same_shares(found, prices, tmp_path)

    def test_so_are_those_of_samples(self, article, outcomes, tmp_path):
        shares = [
            self.assert_same_shares(
                recommend(samples=outcomes, error_cost_usd=c, prices=article),
                article,
                tmp_path / str(c),
            )
            for c in (0.13, 0.15, 0.3)
        ]
        assert 0.4 < shares[0] < shares[1] < shares[2] < 1

    def test_counts_of_two_models_are_two_uncertainties(self, article):
        """By numerical integration: the chance that Beta(12.5, 68.5) less Beta(8.5, 72.5) is above 0.08 in price over 1 USD."""
        found = recommend(
            models=[CHEAP, STRONG],
            prices=article,
            error_cost_usd=0.16,
            error_counts={"small": (12, 80), "flagship": (8, 80)},
        )
        from scipy import integrate, stats

        gap, one, two = 0.008 / 0.16, stats.beta(12.5, 68.5), stats.beta(8.5, 72.5)
        wanted = integrate.quad(lambda x: two.pdf(x) * one.sf(x + gap), 0, 1 - gap)[0]
        assert found.table.set_index("model_id").at[STRONG, "best_share"] == pytest.approx(
            wanted, abs=0.04
        )

    def test_the_same_hard_examples_are_one_uncertainty(self, article):
        """The gap of two models is as uncertain as their disagreement: its normal approximation, from the four cells."""
        cells = [(150, 1, 1), (4, 1, 0), (16, 0, 1), (130, 0, 0)]
        table = answers(cells)
        found = recommend(samples=table, error_cost_usd=0.2, prices=article)
        gap, n = 12 / 300, 300
        needed = (USD[STRONG] - USD[CHEAP]) / 0.2
        z = (gap - needed) / ((20 / n - gap**2) / n) ** 0.5
        wanted = 0.5 * (1 + math.erf(z / 2**0.5))
        assert found.table.set_index("model_id").at[STRONG, "best_share"] == pytest.approx(
            wanted, abs=0.04
        )


# Files, dates, and the words of the command


class TestCommands:
    def test_a_decision_bears_the_day_on_which_it_was_filed_and_that_of_its_prices(
        self, file, tmp_path, capsys
    ):
        advise(
            capsys, file, "--file", tmp_path / "d.md", "--decided-on", "2026-12-05", "--margin", 0.1
        )
        record, text = tl.load_record(tmp_path / "d.md"), (tmp_path / "d.md").read_text("utf-8")
        assert record.decided_on == datetime.date(2026, 12, 5)
        # Six months after the prices, which were averaged up to there.
        assert record.review_on == datetime.date(2026, 12, 12)
        # 18 days of June, 31 + 31 + 30 + 31 + 30 and 5 of December
        assert "| 2026-12-05 | nobody named | 2026-12-12 | 2026-06-12 (176 days older) |" in text
        # Prices older than the decision are no fault, but the words do not call them later.
        told = said(capsys, "review", tmp_path / "d.md", "--prices", "article")
        assert "at the prices of 2026-06-12, older than the decision of 2026-12-05" in told

    @pytest.mark.parametrize("column", ["prompt_id", "model_id", "score"])
    def test_a_file_of_samples_lacks_only_what_is_needed(self, outcomes, tmp_path, capsys, column):
        outcomes.drop(columns=column).to_csv(tmp_path / "own.csv", index=False)
        error = advise(capsys, tmp_path / "own.csv", status=2)
        assert (
            f"column '{column}' is missing; needed are prompt_id, model_id, score" in error
            and len(error) < 250
        )

    def four_models(self, outcomes, tmp_path):
        """Two more models, of which one has answered 7 prompts and one has a cost that is missing."""
        few = (
            outcomes[outcomes["model_id"] == CHEAP].head(7).assign(model_id="few", cost_usd=0.0001)
        )
        bare = outcomes[outcomes["model_id"] == CHEAP].assign(model_id="bare", cost_usd=None)
        pd.concat([outcomes, few, bare]).to_csv(tmp_path / "four.csv", index=False)
        return tmp_path / "four.csv"

    def test_route_looks_at_the_two_models_that_are_named(self, outcomes, tmp_path, capsys):
        path = self.four_models(outcomes, tmp_path)
        text = said(
            capsys, "route", path, "--weak", CHEAP, "--strong", STRONG, "--out", tmp_path / "out"
        )
        assert f"{CHEAP} (weak) and {STRONG} (strong)" in text and "few" not in text
        means = pd.read_csv(tmp_path / "out" / "curve.csv")["score"].iloc[[0, -1]].tolist()
        assert means == pytest.approx([301 / 364, 318 / 364])

    def test_route_knows_tiers_where_the_table_does(self, outcomes, tmp_path, capsys):
        tiers = outcomes["model_id"].map({CHEAP: "small", STRONG: "flagship"})
        outcomes.assign(tier=tiers).to_csv(tmp_path / "own.csv", index=False)
        text = said(
            capsys,
            "route",
            tmp_path / "own.csv",
            "--weak",
            "small",
            "--strong",
            "flagship",
            "--out",
            tmp_path,
        )
        assert "small (weak) and flagship (strong)" in text

    def test_route_advises_in_flags(self, outcomes, tmp_path, capsys):
        path = self.four_models(outcomes, tmp_path)
        error = said(capsys, "route", path, status=2)
        assert "357 of 364 prompts lack an answer" in error and "--weak and --strong" in error
        assert "--drop-incomplete" in error and "incomplete=" not in error
        error = said(capsys, "route", path, "--weak", "few", "--strong", STRONG, status=2)
        assert "357 of 364 prompts lack an answer" in error and "--weak and" not in error
        error = said(capsys, "route", path, "--weak", "bare", "--strong", STRONG, status=2)
        assert (
            "a cost is missing in 364 rows" in error
            and "--prices" in error
            and "prices=" not in error
        )
        error = said(
            capsys, "route", path, "--weak", "claude-haiku-4.5", "--strong", STRONG, status=2
        )
        assert "did you mean 'claude-haiku-4-5'" in error

    def test_route_drops_what_is_incomplete_when_it_is_told_to(self, outcomes, tmp_path, capsys):
        table = outcomes.drop(index=range(4))  # the first four answers of the cheap model
        table.to_csv(tmp_path / "own.csv", index=False)
        said(capsys, "route", tmp_path / "own.csv", "--drop-incomplete", "--out", tmp_path / "out")
        means = pd.read_csv(tmp_path / "out" / "curve.csv")["score"].iloc[[0, -1]].tolist()
        assert means == pytest.approx([297 / 360, 314 / 360])
