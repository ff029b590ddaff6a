"""What notebook 03 says of its numbers: the headline of each finding, and its tables with headings in words."""

import numpy as np
import pandas as pd

from tierlab.core.format import number, share, usd
from tierlab.core.vocabulary import TIERS
from tierlab.decide.checklist import WORTH_TRYING, untested
from tierlab.decide.recommend import counts_said, rates_said, untested_said
from tierlab.decide.tasks import load_assumptions

_RANGES = {"from_usd": "cheapest from (USD an error)", "to_usd": "to (USD an error)"}
_NAMES = {"model_id": "model", "best_share": "cheapest in draws"}


def points(rate):
    """A difference of error rates in words: "1 point", "2.5 points"."""
    said = number(100 * rate)
    return f"{said} point" if said == "1" else f"{said} points"


def about(count):
    """A count in words, to three digits: "about 13,400"."""
    return f"about {float(f'{count:.3g}'):,.0f}"


def verdict(found):
    """The choice, what a day costs, and how near the next tier is, in two sentences."""
    running, day = found.running(), found.workload.point().requests_per_day
    best = running.iloc[0]
    total = f"{usd(best['expected_usd'] * day)} a day, errors included (error rates: {rates_said(found)})"
    first = f"{untested_said(found)} " if untested(found) else ""
    if found.close:
        tiers = " and ".join(running.set_index("model_id").loc[list(found.close), "tier"])
        return first + (
            f"Too close to call between {tiers}: measure both on your own examples. "
            f"{best['model_id']} costs {total}."
        )
    said = f"{first}Start with the {best['tier']} tier, {best['model_id']}: {total}."
    if len(running) == 1:
        return said
    rival = running.iloc[1]
    behind = usd((rival["expected_usd"] - best["expected_usd"]) * day)
    return (
        f"{said} The {rival['tier']} tier is only {behind} behind and wins in {share(rival['best_share'])} of the "
        "draws, so measure both before you rely on it."
        if rival["best_share"] >= WORTH_TRYING
        else f"{said} The {rival['tier']} tier is {behind} behind."
    )


def ranges(found):
    """Which tier is the cheapest where, in one sentence; `found` is `cheapest_ranges` of one provider."""
    rows = list(found.itertuples())
    first, last = rows[0], rows[-1]
    if first is last:
        return f"The {first.tier} tier is the cheapest at every cost of an error."
    between = "".join(f", {row.tier} from there to {usd(row.to_usd)}" for row in rows[1:-1])
    return (
        f"Up to {usd(first.to_usd)} an error the {first.tier} tier is the cheapest{between}, "
        f"{last.tier} above {usd(last.from_usd)}."
    )


def providers(found, now):
    """Which tier each provider's lineup calls for at a cost of an error; `found` is `cheapest_ranges`."""
    here = found[(found["from_usd"] <= now) & (now < found["to_usd"])].set_index("provider")["tier"]
    words = "; ".join(f"{tier} at {provider}" for provider, tier in here.items())
    return f"At {usd(now)} an error it is {words}."


def matches(matched):
    """How many task types get the tier that the article names, and which do not."""
    others = matched[~matched["agrees"]].to_dict("records")
    agree = len(matched) - len(others)
    said = f"{agree} of {len(matched)} task types get the tier that the article names"
    words = "; ".join(f"{row['name']} gets {row['tier']}, not {row['article']}" for row in others)
    return f"{said}. {words}." if words else f"{said}."


def settled(rivals):
    """The rival that is nearest to turning the choice, and the examples that would settle it."""
    known = rivals[rivals["examples"].notna()]
    if known.empty:
        return "No error rate turns the choice: an error costs too little."
    near = known.loc[known["distance"].idxmin()]
    return (
        f"{points(near['distance'])} of error rate would turn the choice to {near['tier']}; "
        f"{about(near['examples'])} examples of your own would settle it."
    )


def reviewed(found, day):
    """Whether a decision stands on a day, in dollars a day."""
    kept, best = found.money.loc["kept"], found.money.loc["best"]
    cheapest = f"{best['model_id']} costs {usd(best['expected_usd'])} a day, errors included"
    if found.stands:
        return f"On {day} the decision stands: {cheapest}."
    return f"On {day} the decision flips: {cheapest}, and {kept['model_id']} {usd(kept['expected_usd'])}."


def day_tables(found):
    """The rows of a recommendation, a day; and a message with its ranges."""
    rows, day = found.running(), found.workload.point().requests_per_day
    few = rows[["tier"]].assign(
        **{
            "total (USD a day)": rows["expected_usd"] * day,
            "price (USD)": rows["price_usd"] * day,
            "errors (USD)": rows["error_usd"] * day,
            "wrong answers": [
                counts_said(row) or share(row["error_rate"]) for _, row in rows.iterrows()
            ],
            "best_share": rows["best_share"].map(share),
            "model_id": rows["model_id"],
        }
    )
    of_message = {
        "tier": "tier",
        "expected_usd": "total of a message (USD)",
        "low": "low (USD)",
        "high": "high (USD)",
        "price_usd": "price (USD)",
        "error_usd": "errors (USD)",
        "time_usd": "waiting (USD)",
        "error_low": "wrong, low",
        "error_high": "wrong, high",
    }
    return {"numbers": few.rename(columns=_NAMES), "table": _columns(rows, of_message)}


def range_tables(found, extra):
    """Where each tier is the cheapest; and what each costs above the cheapest where a line has a corner."""
    few = found.replace({"to_usd": {np.inf: "no end"}})
    corners = {
        "tier": "tier",
        "error_cost_usd": "cost of an error (USD)",
        "extra_usd": "above the cheapest (USD a day)",
    }
    if found["provider"].nunique() == 1:
        few = few.drop(columns="provider")
    else:
        corners = {"provider": "provider"} | corners
        few = few.pivot(index="provider", columns="tier", values="to_usd").fillna("never")
        few = few.reindex(columns=[tier for tier in TIERS if tier in few])
        few = few.rename(columns=lambda tier: f"{tier} up to (USD an error)").reset_index()
    whole = _columns(extra.round(6), corners)
    return {"numbers": few.rename(columns=_NAMES | _RANGES), "table": whole}


def match_tables(matched, provider):
    """The task types of one provider by tier; and all, on every provider."""
    own = matched[provider].assign(cost=matched[provider]["error_cost_usd"].map(usd))
    few = own.groupby("tier", sort=False)[["name", "cost", "rule", "article"]].agg(
        lambda values: ", ".join(dict.fromkeys(values))
    )
    few = few.reindex([tier for tier in TIERS if tier in few.index]).rename_axis("tier")
    heads = {
        "name": "task types",
        "cost": "an error costs",
        "rule": "the two questions say",
        "article": "the article says",
    }
    whole = {
        "provider": "provider",
        "name": "task type",
        "tier": "tier",
        "best_share": _NAMES["best_share"],
        "close": "too close to call",
        "error_cost_usd": "cost of an error (USD)",
        "complexity": "complexity (1 to 3)",
        "rule": heads["rule"],
        "article": heads["article"],
    }
    everywhere = pd.concat(matched, names=["provider"]).reset_index()
    return {"numbers": few.rename(columns=heads), "table": _columns(everywhere, whole)}


def settling_tables(rivals):
    """How far each rival is from turning the choice; and what is assumed."""
    few = rivals[["tier"]].assign(
        lead=100 * rivals["lead"],
        needed=100 * rivals["needed"],
        examples=[about(n) if n == n else "none would" for n in rivals["examples"]],
        hundred=100 * rivals["distance"] * (rivals["examples"] / 100) ** 0.5,
        behind=rivals["behind_usd"],
    )
    heads = {
        "tier": "against",
        "lead": "lead (points)",
        "needed": "turns at (points)",
        "examples": "examples needed",
        "hundred": "100 show (points)",
        "behind": "behind (USD a day)",
    }
    columns = ["quantity", "rating", "tier", "value", "low", "high", "unit", "basis", "reason"]
    return {"numbers": _columns(few, heads), "table": load_assumptions()[columns]}


def review_tables(found):
    """A day as filed, kept and with the best model of the review; and what changed."""
    heads = {"decided": "as filed", "kept": "kept", "best": "best on the day"}
    money = found.money.rename(index=heads).rename_axis("decision")
    columns = {
        "expected_usd": "total (USD a day)",
        "bill_usd": "bill",
        "errors_usd": "errors",
        "low_usd": "low",
        "high_usd": "high",
        "model_id": "model",
    }
    changes = {"model_id": "model", "tier": "tier", "what": "what changed"}
    return {"numbers": _columns(money, columns), "table": _columns(found.changes, changes)}


def _columns(table, heads):
    return table[list(heads)].rename(columns=heads)
