"""Looking while the run goes on: evidence after every example that stays valid however often one looks."""

import numpy as np
import pandas as pd

from tierlab.core.vocabulary import known, needs
from tierlab.evaluate.intervals import SHARE
from tierlab.evaluate.rows import paired, scored_rows

BETS = 200  # evenly spread over all admissible bets


def sequential_test(
    samples: pd.DataFrame,
    *,
    candidate: str,
    reference: str,
    margin: float | None = None,
    alpha: float = 0.05,
    truncated: str = "set_aside",
) -> pd.DataFrame:
    """Test a candidate against a reference after every example, and stop when the evidence is enough.

    Repeating McNemar's test until it says "different" finds a difference between equal models far more often than
    the 5% it promises. This rule may be looked at after every example, and the run stopped at any of them.

    Parameters
    ----------
    samples : DataFrame
        From `tierlab.sample`, in the order in which the examples were drawn; repeats are averaged, and the examples
        of a group make one step.
    candidate, reference : str
        Model ids.
    margin : float, optional
        To test for "not worse by more than this" and for "worse" by more, 0-1. Without it: for any difference.
    alpha : float
        Probability of a wrong finding at any time: of each of the two with a margin.
    truncated : {"set_aside", "wrong"}

    Returns
    -------
    DataFrame
        A row per step, numbered from 1: difference (mean so far), evidence (e-value, and one per finding with a
        margin: evidence_not_worse, evidence_worse) and finding: "cannot tell" until an e-value reaches 1/alpha,
        then what it found; it does not change afterwards.

    Notes
    -----
    Testing by betting (Waudby-Smith & Ramdas, JRSS B 86 (2024) 1-27): a stake grows by 1 + bet (difference + margin)
    at each step, so that it is a supermartingale while the margin is exceeded; the evidence is its mean over bets
    spread evenly. By Ville's inequality (1939) it ever reaches 1/alpha with probability alpha at most, for any n and
    any score in 0-1. Without a margin and with right-or-wrong scores it is Robbins' (1970) mixture for the sign test
    on the examples on which exactly one is right. It needs more examples than a test of planned size: what one pays
    for looking.

    Examples
    --------
    The eighth loss in a row decides (half of 2^9 / 9 is above 20), here on the eleventh example:

    >>> rows = {"prompt_id": [*range(30)] * 2, "model_id": ["a"] * 30 + ["b"] * 30, "score": [0] * 30 + [1, 1, 0] * 10}
    >>> steps = sequential_test(pd.DataFrame(rows), candidate="a", reference="b")
    >>> int((steps["finding"] == "cannot tell").sum()), steps["finding"].iloc[-1]
    (10, 'different')
    """
    needs("alpha", alpha, 0 < alpha < 1, SHARE)
    rows = scored_rows(samples, truncated=truncated)
    models = rows["model_id"].unique()
    for name in (candidate, reference):
        known("model", name, models)
    pair = paired(rows, candidate, reference)
    steps = pd.Series(pair.differences).groupby(pair.clusters, sort=False).mean().to_numpy(float)
    found = betting_evidence(steps, margin=margin)
    table = pd.DataFrame(found, index=pd.RangeIndex(1, len(steps) + 1, name="examples"))
    # The first finding of which the evidence is enough, from that step on.
    enough = table.ge(1 / alpha)
    finding = enough.idxmax(axis="columns").where(enough.any(axis="columns")).ffill()
    finding = finding.where(finding.isna(), finding.dropna().iloc[:1].squeeze())
    names = {name: f"evidence_{name.replace(' ', '_')}" for name in found}
    table = table.rename(columns={"different": "evidence"} if margin is None else names)
    table.insert(0, "difference", np.cumsum(steps) / table.index)
    return table.assign(finding=finding.fillna("cannot tell").astype(object))


def betting_evidence(differences, *, margin=None):
    """The e-values of `sequential_test` along the last axis.

    Parameters
    ----------
    differences : array_like of float
        Candidate's score minus reference's, -1 to 1, in the order in which they came.
    margin : float, optional

    Returns
    -------
    dict of str to ndarray
        Finding to evidence, of the shape of `differences`: "different" without a margin; "not worse" and "worse" with.

    Examples
    --------
    Five wins, no loss: the mean of (1 + bet)^5 and (1 - bet)^5 over bets from 0 to 1 is 63/6 and 1/6, half of each:

    >>> betting_evidence([1, 1, 1, 1, 1])["different"].round(1).tolist()
    [1.0, 1.3, 2.0, 3.2, 5.3]
    """
    differences = np.asarray(differences, float)
    if margin is None:
        up, down = _mixture(differences, 1.0), _mixture(-differences, 1.0)
        return {"different": (up + down) / 2}
    needs("margin", margin, 0 < margin < 1, SHARE)
    shifted = differences + margin
    return {
        "not worse": _mixture(shifted, 1 / (1 - margin)),
        "worse": _mixture(-shifted, 1 / (1 + margin)),
    }


def _mixture(gains, largest_bet):
    """Mean over bets of the stake after each gain; the largest bet is the one that a worst gain would use up."""
    bets = (np.arange(BETS) + 0.5) / BETS * largest_bet
    return sum(np.cumprod(1 + bet * gains, axis=-1) for bet in bets) / BETS
