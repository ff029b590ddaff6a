"""The second half of the workshop: caching, routing, a fail-safe parser, an evaluation and the quarterly report."""

import csv
import inspect
import math
import os
import re
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2, fisher_exact

import tierlab as tl
from tests.hints import namespace, wrong
from tierlab.core import paths
from tierlab.quarter.simulated import PLANTS
from tierlab.quarter.variance import EFFECTS, variance
from tierlab.routing.policies import Rules
from tierlab.workshop import CHECKS, build
from tierlab.workshop.costs import help_desk
from tierlab.workshop.logs import SEEN_IN
from tierlab.workshop.routing import MISTAKES, session_cost

SMALL, FLAGSHIP = "claude-haiku-5-5", "claude-opus-5-5"

NUMBERS = (6, 7, 8, 9, 10, 11)
needs_data = pytest.mark.skipif(
    not Path(os.environ.get("TIERLAB_DATA_DIR", "/nowhere")).is_dir(),
    reason="TIERLAB_DATA_DIR does not name a folder with the public data sets",
)


def asked(number):
    module, name = CHECKS[number].split(".")
    return list(
        inspect.signature(getattr(import_module(f"tierlab.workshop.{module}"), name)).parameters
    )


def text_of(number):
    return next(
        path for path in build.solutions() if path.name.startswith(f"{number:02d}_")
    ).read_text(encoding="utf-8")


class TestCaching:
    """Exercise 6, against a cache that is a plain dictionary of times."""

    RATES = {"plain": 3.0, "read": 0.3, "5m": 3.75, "1h": 6.0}  # noqa: RUF012

    @staticmethod
    def hits(desk, ttl_s):
        """Tokens of the leading blocks that were seen within `ttl_s`; every use refreshes."""
        seen, total = {}, 0
        for row in desk.itertuples():
            now, prefix = row.at.timestamp(), True
            for block in row.prefix_ids:
                prefix = prefix and block in seen and now - seen[block] <= ttl_s
                total += 512 * prefix
                seen[block] = now
        return total

    @pytest.fixture(scope="class")
    @classmethod
    def right(cls):
        desk = help_desk()
        whole = int(desk["uncached_input_tokens"].sum())
        hits = {
            name: cls.hits(desk, ttl)
            for name, ttl in {"5m": 300, "1h": 3600, "ideal": math.inf}.items()
        }
        paid = {t: (hits[t] * 0.3 + (whole - hits[t]) * cls.RATES[t]) / 1e6 for t in ("5m", "1h")}
        return {
            "h_star": {"5m": 0.2174, "1h": 0.5263},
            "hit_rate": {name: found / whole for name, found in hits.items()},
            "input_usd": {"none": whole * 3 / 1e6} | paid,
        }

    @pytest.fixture(scope="class")
    @classmethod
    def figures(cls, right):
        return [value for answer in right.values() for value in answer.values()]

    def test_right(self, right):
        assert tl.workshop.check(6, **right).words == "Right."
        solved = namespace(6)
        for name, answer in right.items():
            assert solved[name] == pytest.approx(answer, abs=1e-3 if name == "h_star" else None), (
                name
            )

    def test_the_trace_tells_its_story(self, right):
        """Five minutes are hit less than they need, an hour more; a hit rate never exceeds the ideal one."""
        rate, star = right["hit_rate"], right["h_star"]
        assert rate["5m"] < star["5m"] < star["1h"] < rate["1h"] < rate["ideal"]
        assert right["input_usd"]["5m"] > right["input_usd"]["none"] > right["input_usd"]["1h"]

    def test_each_input_begins_with_the_one_before(self):
        desk = help_desk()
        assert (desk["prefix_ids"].map(len) == desk["uncached_input_tokens"] // 512).all()
        for _, talk in desk.groupby("session"):
            for before, after in pairwise(talk.itertuples()):
                assert after.prefix_ids[: len(before.prefix_ids)] == before.prefix_ids
                assert (
                    after.uncached_input_tokens
                    >= before.uncached_input_tokens + before.output_tokens + 300
                )

    @pytest.mark.parametrize(
        ("ttl", "value", "kind"),
        [
            ("5m", 1 / 0.21739, "upside down"),
            ("5m", 1 - 0.21739, "may miss"),
            ("5m", 0.25 / 1.25, "for free"),
            ("5m", 0.25 / 0.9, "how many reads"),
            ("1h", 1 / 0.9, "how many reads"),
            ("1h", 1.0, "premium of a write alone"),
            ("1h", 0.2174, "other time to live"),
            ("1h", 52.63, "a hundred times too large"),
            ("1h", 0.51, "too small"),
            ("1h", None, "is nothing"),
        ],
    )
    def test_a_wrong_break_even(self, right, figures, ttl, value, kind):
        wrong(6, right, {"h_star": right["h_star"] | {ttl: value}}, kind, figures)

    def test_a_wrong_hit_rate(self, right, figures):
        desk = help_desk()
        found = tl.cache_hits(desk, ttl_s=300)
        for value, kind in {
            (found / desk["uncached_input_tokens"]).mean(): "average of the requests' shares",
            (found > 0).mean(): "share of requests",
            1 - right["hit_rate"]["5m"]: "that misses",
            right["hit_rate"]["ideal"]: "'ideal'.*in seconds",
            0.0: "nothing hits",
            0.5: "too large",
        }.items():
            wrong(6, right, {"hit_rate": right["hit_rate"] | {"5m": value}}, kind, figures)

    def test_a_wrong_bill(self, right, figures):
        whole, hit = right["input_usd"]["none"] / 3, right["hit_rate"]["1h"]
        for value, kind in {
            whole * (hit * 0.3 + (1 - hit) * 3): "is written to the cache",
            whole * (hit * 0.3 + 6): "not written again",
            whole * (1 - hit) * 6: "cheap, not free",
            whole * (hit * 6 + (1 - hit) * 0.3): "changed places",
            right["input_usd"]["none"]: "the cost of 'none'",
            1e6 * right["input_usd"]["1h"]: "a million times too large",
        }.items():
            wrong(6, right, {"input_usd": right["input_usd"] | {"1h": value}}, kind, figures)
        wrong(6, right, {"input_usd": {"none": 1.0}}, "no entry for '5m', '1h'", figures)

    @needs_data
    def test_the_ideal_hit_rate_of_mooncake_is_the_one_the_exercise_names(self):
        chat = tl.load_requests("mooncake_conv")
        found = tl.cache_hits(chat).sum() / chat["uncached_input_tokens"].sum()
        named = float(re.search(r"ideal hit rate is ([\d.]+\d)", text_of(6))[1])
        assert found == pytest.approx(named, abs=0.005) and named == pytest.approx(0.374, abs=0.005)


class TestPolicies:
    """Exercise 7, prompt by prompt."""

    @pytest.fixture(scope="class")
    @classmethod
    def prompts(cls):
        """(characters, score and cost on small, score and cost on the flagship) of each prompt."""
        table = tl.simulate_outcomes(2_000, seed=7, prices=tl.load_prices("article"))
        found = {}
        for row in table.itertuples():
            found.setdefault(row.prompt_id, {"chars": row.prompt_chars})[row.tier] = (
                row.score,
                row.cost_usd,
            )
        return [(p["chars"], *p["small"], *p["flagship"]) for p in found.values()]

    @pytest.fixture(scope="class")
    @classmethod
    def right(cls, prompts):
        n = len(prompts)
        small, flagship = sum(p[1] for p in prompts) / n, sum(p[3] for p in prompts) / n
        ranked = sorted(prompts, key=lambda p: -p[0])
        assert ranked[599][0] > ranked[600][0], "the cut falls between two lengths"
        points = []
        for cut in range(n + 1):
            if cut in (0, n) or ranked[cut - 1][0] > ranked[cut][0]:
                up, down = ranked[:cut], ranked[cut:]
                points.append(
                    (
                        sum(p[4] for p in up) + sum(p[2] for p in down),
                        sum(p[3] for p in up) + sum(p[1] for p in down),
                    )
                )
        best = [
            p for p in points if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points)
        ]
        return {
            "scores": {
                "random": small + 0.3 * (flagship - small),
                "length": sum(p[3] for p in ranked[:600]) / n + sum(p[1] for p in ranked[600:]) / n,
                "oracle": sum(max(p[1], p[3]) for p in prompts) / n,
            },
            "oracle_share": sum(p[3] > p[1] for p in prompts) / n,
            "frontier": pd.DataFrame(best, columns=["cost_usd", "score"]) / n,
        }

    @pytest.fixture(scope="class")
    @classmethod
    def figures(cls, right):
        return [*right["scores"].values(), right["oracle_share"]]

    def test_right(self, right):
        assert tl.workshop.check(7, **right).words == "Right."
        solved = namespace(7)
        assert solved["oracle_share"] == pytest.approx(right["oracle_share"])
        assert solved["scores"] == pytest.approx(right["scores"], abs=0.015)
        assert solved["scores"]["length"] == pytest.approx(right["scores"]["length"])
        assert len(solved["frontier"]) == len(right["frontier"])

    def test_at_the_same_share_length_wins_and_for_the_same_money_lots(self, prompts, right):
        """What the exercise says, from sums over the prompts."""
        small_usd, flagship_usd = (sum(p[side] for p in prompts) for side in (2, 4))
        longest = sorted(prompts, key=lambda p: -p[0])
        share = (
            sum(p[4] for p in longest[:600]) + sum(p[2] for p in longest[600:]) - small_usd
        ) / (flagship_usd - small_usd)
        small, flagship = (sum(p[side] for p in prompts) / len(prompts) for side in (1, 3))
        assert (
            right["scores"]["random"]
            < right["scores"]["length"]
            < small + share * (flagship - small)
        )

    @pytest.mark.parametrize("seed", range(5))
    def test_any_honest_draw_of_lots_is_right(self, prompts, right, seed):
        up = np.random.default_rng(seed).random(len(prompts)) < 0.3
        drawn = np.where(up, [p[3] for p in prompts], [p[1] for p in prompts]).mean()
        assert tl.workshop.check(7, **right | {"scores": right["scores"] | {"random": drawn}}).right

    def test_wrong_scores(self, prompts, right, figures):
        n, ranked = len(prompts), sorted(prompts, key=lambda p: p[0])
        small, flagship = (sum(p[side] for p in prompts) / n for side in (1, 3))
        for name, value, kind in [
            ("random", small + 0.7 * (flagship - small), "changed places"),
            ("random", right["scores"]["oracle"], "knows the answers"),
            ("random", small, "too small"),
            (
                "length",
                (sum(p[3] for p in ranked[:600]) + sum(p[1] for p in ranked[600:])) / n,
                "shortest prompts",
            ),
            (
                "length",
                (sum(p[3] for p in ranked[600:]) + sum(p[1] for p in ranked[:600])) / n,
                "too many to the flagship",
            ),
            ("length", right["scores"]["random"], "depend on the length"),
            ("oracle", flagship, "one tier for all"),
            ("oracle", sum(p[1] * p[3] for p in prompts) / n, "both are right"),
            ("oracle", 1.0, "too large"),
        ]:
            wrong(7, right, {"scores": right["scores"] | {name: value}}, kind, figures)
        for value, kind in {
            flagship: "the small tier is right as well",
            1 - small: "where both are wrong",
            sum(p[3] >= p[1] for p in prompts) / n: "equally well the cheaper",
            sum(p[3] < p[1] for p in prompts) / n: "the small tier does better",
        }.items():
            wrong(7, right, {"oracle_share": value}, kind, figures)

    def test_wrong_frontiers(self, prompts, right, figures):
        table = tl.simulate_outcomes(2_000, seed=7, prices=tl.load_prices("article"))
        chars = table.groupby("prompt_id")["prompt_chars"].first()
        curve = tl.cost_quality_curve(table, chars, weak="small", strong="flagship")[
            ["cost_usd", "score"]
        ]
        good = right["frontier"]
        beaten = next(
            row
            for row in curve.iloc[1:].itertuples()
            if (curve["score"].loc[: row.Index - 1] >= row.score).any()
        )
        swapped = pd.concat(
            [
                good.drop(index=[i for i in good.index if good["cost_usd"][i] <= beaten.cost_usd]),
                curve.loc[[beaten.Index]],
            ]
        )
        for value, kind in [
            (curve, "not monotone"),
            (good.iloc[::2], "lacks points"),
            (tl.hull(curve), "lacks points"),
            (good.assign(score=good["score"] + 0.01), "no cut of the length rule"),
            (swapped, "a cheaper one, which is left out"),
            (good.rename(columns={"score": "quality"}), "no column 'score'"),
            (
                good.astype(object).replace(good["score"].iloc[0], "a"),
                "something other than numbers",
            ),
            (good.head(0), "empty"),
            (good["score"], "asks for a DataFrame"),
        ]:
            wrong(7, right, {"frontier": value}, kind, figures)

    @needs_data
    def test_the_oracle_of_routellm_is_the_one_the_exercise_names(self):
        wide = tl.load_outcomes("routellm_gsm8k").pivot(
            index="prompt_id", columns="model_id", values="score"
        )
        strong, weak = wide["gpt-4-1106-preview"], wide["mistralai/Mixtral-8x7B-Instruct-v0.1"]
        score, share = re.search(r"oracle scores ([\d.]+) with about (\d+) %", text_of(7)).groups()
        assert (
            np.maximum(strong, weak).mean()
            == pytest.approx(float(score), abs=0.005)
            == pytest.approx(0.929, abs=0.005)
        )
        assert (
            (strong > weak).mean()
            == pytest.approx(float(share) / 100, abs=0.005)
            == pytest.approx(0.29, abs=0.005)
        )


class TestFailSafe:
    """Exercise 8. 545 x 1 + 3 x 5 dollars per million messages, against the article's 3,600."""

    FIGURES = (560, 560 / 3600)

    @staticmethod
    def tier(reply):
        letters = [c for c in (reply or "") if c.isalpha() or c.isspace()]
        return "small" if "".join(letters).strip().lower() == "simple" else "flagship"

    @classmethod
    def right(cls):
        return {"tier": cls.tier, "sent_down": 4, "router_usd": 560.0, "overhead": 560 / 3600}

    def test_right(self):
        assert tl.workshop.check(8, **self.right()).words == "Right."
        solved = namespace(8)
        assert solved["sent_down"] == 4 and [
            solved["router_usd"],
            solved["overhead"],
        ] == pytest.approx(self.FIGURES)

    def test_the_eight_replies(self):
        """What each of the eight must become, by hand; the kit's own parser agrees."""
        expected = dict.fromkeys(["simple", "Simple.", " **simple**\n"], "small")
        expected |= dict.fromkeys(
            ["complex", "Complex.", "not simple", "I cannot tell.", ""], "flagship"
        )
        solved = namespace(8)
        assert {reply: solved["tier"](reply) for reply in solved["replies"]} == expected
        policy = tl.routing.policies.LLMClassifier({"simple": "small", "complex": "flagship"})
        assert {
            reply: policy.choose({"classifier_reply": reply}).name for reply in expected
        } == expected
        assert (
            sum(solved["sketch"](reply) == "small" != tier for reply, tier in expected.items()) == 4
        )

    @pytest.mark.parametrize(
        ("tier", "kind"),
        [
            (
                lambda r: "flagship" if r.strip().lower() == "complex" else "small",
                "'Complex.'.*says complex",
            ),
            (
                lambda r: "flagship" if "complex" in r.lower() else "small",
                "'not simple'.*not that one word",
            ),
            (
                lambda r: "small" if "simple" in r.lower() else "flagship",
                "'not simple'.*not that one word",
            ),
            (lambda r: "small" if r == "simple" else "flagship", "'Simple.'.*case, punctuation"),
            (
                lambda r: "small" if re.sub(r"\W", "", r.lower()) in ("simple", "") else "flagship",
                "''.*nobody can read",
            ),
            (
                lambda r: "small" if re.sub(r"[\W_]", "", r.lower()) == "simple" else "flagship",
                "stops with AttributeError",
            ),
            (
                lambda r: {"simple": "small", "Simple.": "small", " **simple**\n": "small"}.get(
                    r, "flagship"
                ),
                "'SIMPLE'.*case",
            ),
            (lambda r: "claude-haiku-4-5", "asks for 'small' or 'flagship'"),
            (lambda r: None, "returns nothing"),
            ("small", "not a function"),
        ],
    )
    def test_a_wrong_parser(self, tier, kind):
        wrong(8, self.right(), {"tier": tier}, kind, self.FIGURES)

    @pytest.mark.parametrize(
        ("changes", "kind"),
        [
            ({"sent_down": 7}, "some of them do say simple"),
            ({"sent_down": 3}, "rightly go down"),
            ({"sent_down": 1}, "these go up"),
            ({"sent_down": 5}, "one of these does go up"),
            ({"router_usd": 0.00056}, "one call"),
            ({"router_usd": 60}, "reads the message as well"),
            ({"router_usd": 515}, "own prompts are missing"),
            ({"router_usd": 2045}, "answers with one word"),
            ({"router_usd": 2800}, "the small model classifies"),
            ({"router_usd": 448}, "every message is classified"),
            ({"router_usd": 4160}, "the whole day"),
            ({"router_usd": 600}, "too large"),
            ({"overhead": 560 / 4160}, "share of the whole bill"),
            ({"overhead": 560 / 6400}, "share of the saving"),
            ({"overhead": 560 / 10_000}, "against Opus alone"),
            ({"overhead": 3600 / 560}, "upside down"),
            ({"overhead": "15.6 %"}, "is text"),
        ],
    )
    def test_wrong_figures(self, changes, kind):
        wrong(
            8,
            self.right(),
            changes,
            kind,
            (4, *self.FIGURES) if "sent_down" in changes else self.FIGURES,
        )


class TestHundredExamples:
    """Exercise 9, from the file and the textbook's formulas."""

    SMALL, LARGE = "qwen2.5-coder-0.5b-instruct", "qwen2.5-coder-1.5b-instruct"

    @pytest.fixture(scope="class")
    @classmethod
    def pairs(cls):
        """Of each example with both scores: (score, dollars) of the small and of the large model."""
        rows = {}
        with (paths.DATA / "samples" / "open_models.csv").open(
            encoding="utf-8", newline=""
        ) as file:
            for row in csv.DictReader(file):
                if row["score"]:
                    rows[row["prompt_id"], row["model_id"]] = (
                        float(row["score"]),
                        float(row["cost_usd"]),
                    )
        names = {prompt for prompt, _ in rows}
        return [
            (rows[p, cls.SMALL], rows[p, cls.LARGE])
            for p in names
            if {(p, cls.SMALL), (p, cls.LARGE)} <= rows.keys()
        ]

    @staticmethod
    def wilson(k, n, z=1.959964):
        """Wilson 1927, equation of the interval."""
        middle, half = (
            (k / n + z * z / (2 * n)),
            z * math.sqrt(k / n * (1 - k / n) / n + z * z / (4 * n * n)),
        )
        return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)

    @pytest.fixture(scope="class")
    @classmethod
    def counts(cls, pairs):
        """Examples; right ones of small and large; right on only one of them; mean dollars."""
        small, large = ([p[i][0] == 1 for p in pairs] for i in (0, 1))
        only = [
            sum(a and not b for a, b in zip(*two, strict=True))
            for two in ((small, large), (large, small))
        ]
        return (
            len(pairs),
            (sum(small), sum(large)),
            only,
            [sum(p[i][1] for p in pairs) / len(pairs) for i in (0, 1)],
        )

    @pytest.fixture(scope="class")
    @classmethod
    def right(cls, counts):
        n, hits, (lost, gained), (smaller, larger) = counts
        differ = lost + gained
        tail = sum(math.comb(differ, k) for k in range(min(lost, gained) + 1)) / 2**differ
        dollars = (larger - smaller) / ((hits[1] - hits[0]) / n)

        def choose(error_cost_usd):
            costs = [
                usd + (1 - k / n) * error_cost_usd
                for usd, k in zip((smaller, larger), hits, strict=True)
            ]
            return cls.SMALL if costs[0] <= costs[1] else cls.LARGE

        interval = {
            model: cls.wilson(k, n) for model, k in zip((cls.SMALL, cls.LARGE), hits, strict=True)
        }
        return {
            "interval": interval,
            "p_value": 2 * tail,
            "break_even_usd": dollars,
            "choose": choose,
        }

    @pytest.fixture(scope="class")
    @classmethod
    def figures(cls, right):
        return [
            *(end for pair in right["interval"].values() for end in pair),
            right["p_value"],
            right["break_even_usd"],
        ]

    def test_right(self, right):
        assert tl.workshop.check(9, **right).words == "Right."
        solved = namespace(9)
        assert [solved[name] for name in ("p_value", "break_even_usd")] == pytest.approx(
            [right[name] for name in ("p_value", "break_even_usd")]
        )
        for model, ends in right["interval"].items():
            assert [float(end) for end in solved["interval"][model]] == pytest.approx(
                ends, abs=0.002
            )

    def test_within_one_per_cent_is_near_enough(self, right):
        """The decision may flip anywhere within 1 % of the break-even, and the bounds may be off by 0.002."""
        dollars = right["break_even_usd"]
        for at in (0.992, 1.008):
            assert tl.workshop.check(
                9,
                **right
                | {"choose": lambda usd, at=at: self.LARGE if usd > at * dollars else self.SMALL},
            ).right
        shifted = {
            model: (low + 0.0015, high - 0.0015) for model, (low, high) in right["interval"].items()
        }
        assert tl.workshop.check(9, **right | {"interval": shifted}).right

    def test_wrong_intervals(self, right, counts, figures):
        n, (k, _), _, _ = counts
        half = 1.959964 * math.sqrt(k / n * (1 - k / n) / n)
        low, high = right["interval"][self.SMALL]
        for value, kind in [
            ((k / n - half, k / n + half), "normal approximation"),
            (self.wilson(k, 100), "counted as wrong"),
            (self.wilson(k, n, z=1.644854), "another level"),
            (right["interval"][self.LARGE], "the other model"),
            ((1 - high, 1 - low), "the interval of the errors"),
            ((100 * low, 100 * high), "not per cent"),
            ((high, low), "low end comes first"),
            ((low, high + 0.01), "the high end of .*too large"),
            (0.25, "not a pair"),
            (("a", "b"), "is text"),
            (None, "not a pair"),
        ]:
            wrong(9, right, {"interval": right["interval"] | {self.SMALL: value}}, kind, figures)

    def test_wrong_tests(self, right, counts, figures):
        n, hits, (lost, gained), _ = counts
        for value, kind in {
            right["p_value"] / 2: "one-sided",
            fisher_exact([[k, n - k] for k in hits]).pvalue: "different examples",
            chi2.sf((gained - lost) ** 2 / (gained + lost), 1): "chi-squared",
            1 - right["p_value"]: "one minus",
            0.05: "too large",
        }.items():
            wrong(9, right, {"p_value": value}, kind, figures)

    def test_wrong_break_evens(self, right, counts, figures):
        n, hits, _, (smaller, larger) = counts
        for value, kind in {
            1 / right["break_even_usd"]: "upside down",
            right["break_even_usd"] * n: "all examples together",
            larger - smaller: "how many errors does it save",
            (larger + smaller) / ((hits[1] - hits[0]) / n): "the costs are added",
            -right["break_even_usd"]: "wrong sign",
        }.items():
            wrong(9, right, {"break_even_usd": value}, kind, figures)

    @pytest.mark.parametrize(
        ("choose", "kind"),
        [
            (lambda self, dollars: lambda usd: self.SMALL, "the same model"),
            (
                lambda self, dollars: lambda usd: self.SMALL if usd > dollars else self.LARGE,
                "wrong way round",
            ),
            (
                lambda self, dollars: lambda usd: self.LARGE if usd > 0.9 * dollars else self.SMALL,
                "too early",
            ),
            (
                lambda self, dollars: lambda usd: self.LARGE if usd > 0.16 else self.SMALL,
                "too late",
            ),
            (
                lambda self, dollars: lambda usd: "large" if usd > dollars else "small",
                "two model ids",
            ),
            (lambda self, dollars: lambda usd: 1 / (usd - usd), "ZeroDivisionError"),
            (lambda self, dollars: self.LARGE, "not a function"),
        ],
    )
    def test_wrong_decisions(self, right, figures, choose, kind):
        wrong(9, right, {"choose": choose(self, right["break_even_usd"])}, kind, figures)


class TestQuarterly:
    """Exercise 10: figures from the priced rows of the log; the report itself is that of the solution."""

    @pytest.fixture(scope="class")
    @classmethod
    def solved(cls):
        return namespace(10)

    @pytest.fixture(scope="class")
    @classmethod
    def right(cls, solved):
        log = solved["log"]
        usd = tl.price(log[log["model_id"] != "house-model-7b"], solved["prices"], price_on="at")[
            "cost_usd"
        ]
        spend = usd.groupby(log["at"].dt.quarter).sum()
        return {
            "report": solved["report"],
            "effects": solved["effects"],
            "change_usd": spend[3] - spend[2],
            "unpriced_share": (log["model_id"] == "house-model-7b").mean(),
            "seen_in": SEEN_IN,
        }

    @pytest.fixture(scope="class")
    @classmethod
    def figures(cls, right):
        return [
            right["change_usd"],
            right["unpriced_share"],
            *(usd for usd in right["effects"] if abs(usd) > 0.01),
        ]

    def test_right(self, right, solved):
        assert tl.workshop.check(10, **right).words == "Right."
        assert tl.workshop.check(10, **right | {"effects": dict(right["effects"])}).right
        assert solved["change_usd"] == pytest.approx(right["change_usd"], abs=1e-6)
        assert sum(solved["effects"]) == pytest.approx(right["change_usd"], abs=1e-6)
        assert solved["unpriced_share"] == pytest.approx(right["unpriced_share"])

    def test_the_unpriced_share_is_shown(self, right):
        assert f"{right['unpriced_share']:.2%}** of the rows are in no figure" in text_of(10)

    def test_the_bills_lie_a_little_above_the_priced_log(self, right):
        table = right["report"].reconciliation
        assert len(table) == 9 and table["ratio"].between(-0.02, 0).all()

    def test_each_event_shows_most_where_the_key_says(self, maintained):
        """Leave one event out, on the same draws, and see which effect moves most."""

        def waterfall(plants):
            log, _ = tl.synthetic_quarters(requests_per_day=40, seed=10, plants=plants)
            daily = tl.build_cube(log, maintained).daily
            late = daily["day"] >= pd.Timestamp("2026-07-01")
            return variance(daily[late], daily[~late], maintained).set_index("effect")["usd"]

        whole = waterfall(PLANTS)
        moved = {
            event: whole - waterfall([plant for plant in PLANTS if plant != event])
            for event in SEEN_IN
        }
        assert {event: by.abs().idxmax() for event, by in moved.items()} == SEEN_IN

    def test_a_report_with_gaps(self, right, solved, figures):
        bare = tl.analyse(solved["cube"], solved["prices"], "2026Q3")
        wrong(
            10,
            right,
            {"report": bare},
            "quality needs scores.*reconciliation needs.*budget needs",
            figures,
        )
        wrong(10, right, {"report": solved["cube"]}, "not what tl.analyse returns", figures)

    def test_wrong_figures(self, right, figures):
        report, effects = right["report"], right["effects"]
        rounded = effects + np.array([0.9e-6, 0.9e-6, 0.9e-6, 0, 0, 0, 0])
        read = report.coverage.set_index("what")["count"]
        aside = read["rows read"] - read["rows priced"]
        for changes, kind in [
            ({"change_usd": report.spend_usd}, "spend of the quarter"),
            ({"change_usd": -right["change_usd"]}, "wrong sign"),
            ({"change_usd": report.spend_usd - 90}, "distance to the budget"),
            ({"change_usd": right["change_usd"] / report.before_usd}, "the share; .*US dollars"),
            ({"effects": effects / report.before_usd}, "the share; .*US dollars"),
            ({"effects": effects.drop("price")}, "no entry for 'price'"),
            ({"effects": effects.round(2)}, "effects.*is rounded"),
            ({"effects": rounded}, "are rounded"),
            ({"effects": list(effects)}, "a dict or a Series"),
            ({"unpriced_share": 0.0}, "in no figure"),
            ({"unpriced_share": aside}, "a number of rows"),
            ({"unpriced_share": 1 - right["unpriced_share"]}, "that is priced"),
            ({"unpriced_share": aside / read["rows priced"]}, "rows that are priced"),
            ({"unpriced_share": aside / read["rows of the quarter"]}, "one quarter"),
        ]:
            wrong(10, right, changes, kind, figures)

    @pytest.mark.parametrize(
        ("event", "effect", "kind"),
        [
            ("leak", "volume", "a kind that the quarter before did not have"),
            ("cache_break", "price", "another rate of the same list"),
            ("price_change", "volume", "leaves the requests as they are"),
            ("leak", "taskmix", "did you mean 'task_mix'"),
            ("leak", ["task_mix"], "unknown effect"),
        ],
    )
    def test_wrong_explanations(self, right, figures, event, effect, kind):
        wrong(10, right, {"seen_in": right["seen_in"] | {event: effect}}, kind, figures)

    def test_the_key_names_effects(self):
        assert set(SEEN_IN.values()) < set(EFFECTS) and set(SEEN_IN) < set(PLANTS)


class TestConversation:
    """Exercise 11: dollars from the kit's own replay of sessions; nothing expires, and every prompt is long enough to cache."""

    @pytest.fixture(scope="class")
    @classmethod
    def right(cls):
        prices = tl.load_prices("maintained", as_of="2026-11-23")
        caches = tl.Caches(prices)

        def session_usd(models):
            turn = np.arange(1, len(models) + 1)
            requests = pd.DataFrame(
                {
                    "session_id": 0,
                    "turn": turn,
                    "uncached_input_tokens": 6_000 + 2_000 * turn + 300 * (turn - 1),
                    "output_tokens": 300,
                }
            )
            outcomes = tl.conversation_outcomes(requests, {SMALL: 1.0, FLAGSHIP: 1.0})
            plan = Rules(
                dict(zip(turn.tolist(), models, strict=True)), column="turn", default=SMALL
            )
            return tl.route(outcomes, plan, sessions=caches)["cost_usd"].sum()

        alone, cheap = session_usd([FLAGSHIP] * 10), session_usd([SMALL] * 10)
        routed = session_usd([FLAGSHIP if turn in (4, 8) else SMALL for turn in range(1, 11)])
        promised = 0.8 * (1 - cheap / alone)
        return {
            "session_usd": session_usd,
            "routed_usd": routed,
            "saving": {
                "promised": promised,
                "per turn": 1 - routed / alone,
                "per session": promised,
            },
            "best_turns": {1, 2},
        }

    @pytest.fixture(scope="class")
    @classmethod
    def figures(cls, right):
        return [right["routed_usd"], *right["saving"].values(), right["session_usd"]([SMALL])]

    def test_right(self, right):
        found = tl.workshop.check(11, **right)
        assert found.right, found
        # 28,700 tokens written, 154,800 read and 3,000 answered at $5, $0.20 and $20 a million
        alone = (28_700 * 5 + 154_800 * 0.20 + 3_000 * 20) / 1e6
        assert right["session_usd"]([FLAGSHIP] * 10) == pytest.approx(alone)
        assert right["saving"]["promised"] == pytest.approx(0.777, abs=5e-4)
        # 2,000 conversations a day, each the difference between the bill by turns and the shares'
        day = 2_000 * (right["saving"]["promised"] - right["saving"]["per turn"]) * alone
        assert f"{tl.usd(day)} a day" in found.worth

    @pytest.mark.parametrize("mistake", MISTAKES)
    def test_a_wrong_replay(self, right, figures, mistake):
        prices = tl.load_prices("maintained", as_of="2026-11-23")
        rates = prices.in_force().query("context_above == 0").set_index("model_id")
        rates = rates[["cache_read", "cache_write_short", "output"]].astype(float)
        answer = {"session_usd": lambda models: session_cost(models, rates, mistake=mistake)}
        wrong(11, right, answer, MISTAKES[mistake], figures)

    def test_a_cache_that_outlives_its_conversation(self, right, figures):
        seen = []

        def session_usd(models):
            seen.append(models)
            return right["session_usd"](models) / len(seen)

        wrong(11, right, {"session_usd": session_usd}, "when it is called again", figures)

    def test_other_wrong_answers(self, right, figures):
        usd, saving = right["session_usd"], right["saving"]
        alone = usd([FLAGSHIP] * 10)
        shares = (1 - saving["promised"]) * alone
        for change, kind in (
            ({"session_usd": lambda models: 1e6 * usd(models)}, "a million times too large"),
            ({"session_usd": lambda models: 1.0}, "session_usd of"),
            ({"routed_usd": alone}, "the flagship alone"),
            ({"routed_usd": usd([SMALL] * 10)}, "the small model alone"),
            ({"routed_usd": shares}, "what the shares promise"),
            (
                {"routed_usd": usd([FLAGSHIP if n in (4, 8) else SMALL for n in range(10)])},
                "turn 1",
            ),
            (
                {"routed_usd": usd([SMALL if n in (4, 8) else FLAGSHIP for n in range(1, 11)])},
                "places",
            ),
            ({"routed_usd": round(right["routed_usd"], 4)}, "rounded"),
            ({"saving": saving | {"per turn": round(saving["per turn"], 2)}}, "rounded"),
            ({"saving": saving | {"per turn": saving["promised"]}}, "thrown away"),
            ({"saving": saving | {"per session": saving["per turn"]}}, "mid-conversation"),
            ({"saving": saving | {"promised": 1 - saving["promised"]}}, "left to pay"),
            ({"saving": {"promised": saving["promised"]}}, "no entry for 'per turn'"),
            ({"best_turns": {9, 10}}, "another pair of turns is cheaper"),
            ({"best_turns": {0, 1}}, "from 1 to 10"),
            ({"best_turns": {1}}, "two different turns"),
            ({"best_turns": "12"}, "not a set"),
        ):
            wrong(11, right, change, kind, figures)


@pytest.mark.parametrize("number", NUMBERS)
def test_an_exercise_as_it_starts_is_open(number):
    found = tl.workshop.check(number, **dict.fromkeys(asked(number), ...))
    assert found.status == "open" and all(name in found.words for name in asked(number))


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    "answer",
    [
        None,
        "text",
        3,
        -1.5,
        float("nan"),
        [],
        {},
        {"a": 1},
        pd.DataFrame({"a": [1]}),
        np.arange(3),
        len,
        object(),
    ],
)
def test_no_answer_breaks_a_check(number, answer):
    found = tl.workshop.check(number, **dict.fromkeys(asked(number), answer))
    assert found.status == "wrong" and found.words.startswith("Not yet: ")
