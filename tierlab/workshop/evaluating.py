"""Check of exercise 9: two tiers on the recorded examples, with intervals, a paired test and the cost of an error."""

import math

import numpy as np

from tierlab.core.format import usd
from tierlab.core.product import load_product
from tierlab.evaluate.intervals import wilson_interval
from tierlab.sampling.samples import load_samples
from tierlab.scaling.costs import error_cost_break_even
from tierlab.workshop.values import Hint, ask, compare, number, table

SMALL, LARGE = "qwen2.5-coder-0.5b-instruct", "qwen2.5-coder-1.5b-instruct"
_CLOSE = 0.01  # share of the break-even within which the decision flips


def hundred_examples(interval, p_value, break_even_usd, choose):
    """Exercise 9: Wilson intervals, McNemar's exact test, the break-even cost of an error, and a decision by it."""
    wide = load_samples("open_models").pivot(
        index="prompt_id", columns="model_id", values=["score", "cost_usd"]
    )
    score = wide["score"][[SMALL, LARGE]].dropna()
    right = score.eq(1)
    _intervals(interval, right, score, len(wide))
    yield "interval"
    _test(p_value, right)
    yield "p_value"
    cost, every = (wide["cost_usd"].loc[rows].mean() for rows in (score.index, wide.index))
    error, partly = 1 - right.mean(), 1 - score.mean()
    dollars = error_cost_break_even(cost[LARGE], cost[SMALL], error[LARGE], error[SMALL])
    gap = error[SMALL] - error[LARGE]
    compare(
        "break_even_usd",
        break_even_usd,
        dollars,
        rel=0.01,
        mistakes={
            1
            / dollars: "upside down: what the larger model costs more, over the errors that it saves",
            dollars
            * len(
                score
            ): "this takes the cost of all examples together; the cost of one request is asked for",
            dollars * gap: "this is the difference in cost alone; how many errors does it save?",
            (cost[LARGE] + cost[SMALL])
            / gap: "the costs are added; what the larger model costs more is asked for",
            cost[LARGE] / error[SMALL]
            - cost[SMALL] / error[LARGE]: "divide the difference by the difference",
            (cost[LARGE] - cost[SMALL])
            / (
                partly[SMALL] - partly[LARGE]
            ): "answers that are right in part count as errors here",
            (every[LARGE] - every[SMALL])
            / gap: "the costs are those of other examples than the errors",
        },
    )
    yield "break_even_usd"
    _decision(choose, dollars)
    yield "choose"
    product = load_product()
    each = gap * product.error_cost_usd - (cost[LARGE] - cost[SMALL])
    return (
        f"Where a wrong answer costs {usd(product.error_cost_usd)}, as with the kit's chatbot, the larger "
        f"model is worth {usd(each * product.requests_per_day)} a day at {product.requests_per_day:,} messages."
    )


def _intervals(interval, right, score, examples):
    n, normal = len(right), 1.959964
    for model, answer in table("interval", interval, [SMALL, LARGE]).items():
        name, count = f"interval[{model!r}]", int(right[model].sum())
        try:
            low, high = answer
        except (TypeError, ValueError):
            raise Hint(f"{name} is not a pair: (low, high) is asked for") from None
        if number(name, low) > number(name, high):
            raise Hint(f"{name}: the low end comes first")
        share = count / n
        half = normal * math.sqrt(share * (1 - share) / n)
        ends = [
            np.array(wilson_interval(*case))
            for case in ((count, n), (count, examples), (round(score[model].sum()), n))
        ]
        other = np.array(wilson_interval(int(right[right.columns.drop(model)[0]].sum()), n))
        mistakes = [
            (
                np.array([share - half, share + half]),
                "this is the normal approximation; Wilson's interval is asked for",
            ),
            (
                np.array(wilson_interval(count, n, confidence=0.9)),
                "this is another level; 95 % is asked for",
            ),
            (ends[1], "the examples without a score are counted as wrong; they are set aside"),
            (
                ends[2],
                "an answer that is right in part counts as right in part here; right is a score of one",
            ),
            (
                1 - ends[0][::-1],
                "this is the interval of the errors; that of the right answers is asked for",
            ),
            (other, "this is the interval of the other model"),
            (100 * ends[0], "a share from 0 to 1 is asked for, not per cent"),
        ]
        for wrong, why in mistakes:
            if np.allclose([low, high], wrong, 0, 0.002) and not np.allclose(
                wrong, ends[0], 0, 0.002
            ):
                raise Hint(f"{name}: {why}")
        for end, found, wanted in zip(("low", "high"), (low, high), ends[0], strict=True):
            compare(f"the {end} end of {name}", found, wanted, abs=0.002)


def _test(p_value, right):
    from scipy.stats import binomtest, chi2, fisher_exact

    gained, lost = (
        int((right[LARGE] & ~right[SMALL]).sum()),
        int((right[SMALL] & ~right[LARGE]).sum()),
    )
    both, exact = gained + lost, binomtest(lost, gained + lost).pvalue
    counts = [[right[m].sum(), (~right[m]).sum()] for m in (SMALL, LARGE)]
    compare(
        "p_value",
        p_value,
        exact,
        rel=0.01,
        mistakes={
            exact / 2: "this is one-sided; either model could have been the better one",
            1 - exact: "this is one minus it",
            fisher_exact(
                counts
            ).pvalue: "this takes the answers for those of different examples; both models saw the same ones",
            chi2.sf(
                (gained - lost) ** 2 / both, 1
            ): "this is the approximation by chi-squared; with few pairs that differ take the exact test",
            chi2.sf(
                (abs(gained - lost) - 1) ** 2 / both, 1
            ): "this is the approximation by chi-squared, corrected; take the exact test",
            binomtest(
                gained, len(right)
            ).pvalue: "examples on which both do equally well say nothing about which is better",
        },
    )


def _decision(choose, dollars):
    def at(usd):
        found = ask("choose", choose, usd)
        if not isinstance(found, str) or found not in (SMALL, LARGE):
            raise Hint(f"choose returns {found!r}; one of the two model ids is asked for")
        return found

    if at(0.0) == at(1e6):
        raise Hint("choose names the same model for a harmless and for a ruinous error")
    if at(0.0) == LARGE:
        raise Hint(
            "choose is the wrong way round: what speaks for the larger model when an error costs nothing?"
        )
    if at(dollars * (1 - _CLOSE)) == LARGE:
        raise Hint(
            "choose goes to the larger model too early: below the break-even its price is not worth it"
        )
    if at(dollars * (1 + _CLOSE)) == SMALL:
        raise Hint(
            "choose goes to the larger model too late: above the break-even its fewer errors pay for it"
        )
