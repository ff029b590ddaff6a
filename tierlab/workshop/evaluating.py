"""Check exercise 9: two tiers on the recorded examples, with intervals, a paired test and the cost of an error."""

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
    """Check exercise 9: Wilson intervals, McNemar's exact test, the break-even cost of an error, and a decision by it."""
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
            "upside down: what the larger model costs more, over the errors that it saves": (
                1 / dollars
            ),
            "this takes the cost of all examples together; the exercise asks for that of one request": (
                dollars * len(score)
            ),
            "this is the difference in cost alone; how many errors does it save?": dollars * gap,
            "the costs are added; the exercise asks what the larger model costs more": (
                (cost[LARGE] + cost[SMALL]) / gap
            ),
            "divide the difference by the difference": (
                cost[LARGE] / error[SMALL] - cost[SMALL] / error[LARGE]
            ),
            "answers that are right in part count as errors here": (
                (cost[LARGE] - cost[SMALL]) / (partly[SMALL] - partly[LARGE])
            ),
            "the costs are those of other examples than the errors": (
                (every[LARGE] - every[SMALL]) / gap
            ),
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
            raise Hint(f"{name} is not a pair: the exercise asks for (low, high)") from None
        if number(name, low) > number(name, high):
            raise Hint(f"{name}: the low end comes first")
        share = count / n
        half = normal * math.sqrt(share * (1 - share) / n)
        in_part = round(score[model].sum())
        others = int(right[right.columns.drop(model)[0]].sum())
        wilson = np.array(wilson_interval(count, n))
        mistakes = {
            "this is the normal approximation; the exercise asks for Wilson's interval": (
                [share - half, share + half]
            ),
            "this is another level; the exercise asks for 95 %": (
                wilson_interval(count, n, confidence=0.9)
            ),
            "the examples without a score are counted as wrong; they are set aside": (
                wilson_interval(count, examples)
            ),
            "an answer that is right in part counts as right in part here; right is a score of one": (
                wilson_interval(in_part, n)
            ),
            "this is the interval of the errors; the exercise asks for that of the right answers": (
                1 - wilson[::-1]
            ),
            "this is the interval of the other model": wilson_interval(others, n),
            "the exercise asks for a share from 0 to 1, not per cent": 100 * wilson,
        }
        for why, wrong in mistakes.items():
            # a mistake that leads to the right interval is none
            if np.allclose([low, high], wrong, 0, 0.002) and not np.allclose(
                wrong, wilson, 0, 0.002
            ):
                raise Hint(f"{name}: {why}")
        for end, found, wanted in zip(("low", "high"), (low, high), wilson, strict=True):
            compare(f"the {end} end of {name}", found, wanted, abs=0.002)


def _test(p_value, right):
    from scipy.stats import binomtest, chi2, fisher_exact

    gained = int((right[LARGE] & ~right[SMALL]).sum())
    lost = int((right[SMALL] & ~right[LARGE]).sum())
    both, exact = gained + lost, binomtest(lost, gained + lost).pvalue
    counts = [[right[m].sum(), (~right[m]).sum()] for m in (SMALL, LARGE)]
    compare(
        "p_value",
        p_value,
        exact,
        rel=0.01,
        mistakes={
            "this is one-sided; either model could have been the better one": exact / 2,
            "this is one minus it": 1 - exact,
            "this takes the answers for those of different examples; both models saw the same ones": fisher_exact(
                counts
            ).pvalue,
            "this is the approximation by chi-squared; with few pairs that differ take the exact test": (
                chi2.sf((gained - lost) ** 2 / both, 1)
            ),
            "this is the approximation by chi-squared, corrected; take the exact test": (
                chi2.sf((abs(gained - lost) - 1) ** 2 / both, 1)
            ),
            "examples on which both do equally well say nothing about which is better": binomtest(
                gained, len(right)
            ).pvalue,
        },
    )


def _decision(choose, dollars):
    def at(usd):
        found = ask("choose", choose, usd)
        if not isinstance(found, str) or found not in (SMALL, LARGE):
            raise Hint(f"choose returns {found!r}; the exercise asks for one of the two model ids")
        return found

    if at(0.0) == at(1e6):
        raise Hint("choose names the same model for a harmless and for a ruinous error")
    if at(0.0) == LARGE:
        raise Hint(
            "choose is the wrong way round: why pay for the larger model when an error costs nothing?"
        )
    if at(dollars * (1 - _CLOSE)) == LARGE:
        raise Hint(
            "choose goes to the larger model too early: below the break-even its price is not worth it"
        )
    if at(dollars * (1 + _CLOSE)) == SMALL:
        raise Hint(
            "choose goes to the larger model too late: above the break-even its fewer errors pay for it"
        )
