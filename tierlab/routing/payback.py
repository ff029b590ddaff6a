"""When a router pays: its bill with its own calls, the days until it is paid back, and how right it must be."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tierlab.core.format import number, share, usd
from tierlab.evaluate.planning import paired_sample_size
from tierlab.prices.pricing import reprice
from tierlab.routing.policies import Always, Oracle, RandomMix
from tierlab.routing.route import pair_outcomes, route

YEAR = 365


def routed_bill(prices, message, *, small, flagship, small_share=0.8, question=(45, 3)):
    """What one message costs on average when a small model says of each whether it is simple.

    Parameters
    ----------
    prices : Prices
    message : tierlab.core.product.Message
    small, flagship : str
        Model ids; the small model also answers the router's question.
    small_share : float
        Share 0-1 of the messages that the small model answers.
    question : (int, int)
        Tokens of the instruction that the question adds to the message, and of its reply; our estimate.

    Returns
    -------
    DataFrame
        By call (question, small answers, flagship answers; all on the small model, all on the flagship): model_id,
        calls per message, and input_usd, output_usd and usd per message.

    Examples
    --------
    >>> import tierlab as tl
    >>> bill = routed_bill(tl.load_prices("article"), tl.load_product().message,
    ...                    small="claude-haiku-4-5", flagship="claude-opus-4-8")
    >>> bill["usd"].round(5).tolist()
    [0.00056, 0.0016, 0.002, 0.002, 0.01]
    """
    added, reply = question
    rows = {
        "question": (small, 1.0, message.input_tokens + added, reply),
        "small answers": (small, small_share, message.input_tokens, message.output_tokens),
        "flagship answers": (
            flagship,
            1 - small_share,
            message.input_tokens,
            message.output_tokens,
        ),
        "all on the small model": (small, 1.0, message.input_tokens, message.output_tokens),
        "all on the flagship": (flagship, 1.0, message.input_tokens, message.output_tokens),
    }
    bill = pd.DataFrame.from_dict(
        rows, orient="index", columns=["model_id", "calls", "input_tokens", "output_tokens"]
    )
    tokens = bill[["input_tokens", "output_tokens"]].set_axis(
        ["uncached_input_tokens", "output_tokens"], axis=1
    )
    for part, other in (("input", "output_tokens"), ("output", "uncached_input_tokens")):
        call = reprice(tokens.assign(**{other: 0}), prices, [small, flagship])
        mine = np.where(bill["model_id"] == small, call[small], call[flagship])
        bill[f"{part}_usd"] = mine * bill["calls"]
    bill["usd"] = bill["input_usd"] + bill["output_usd"]
    return bill[["model_id", "calls", "input_usd", "output_usd", "usd"]].rename_axis("call")


def ways(bill, messages):
    """What a day costs on each way, by who is paid: flagship, small, question (US dollars).

    Parameters
    ----------
    bill : DataFrame
        From `routed_bill`.
    messages : int
        A day.
    """
    day = bill["usd"] * messages
    routed = [day["flagship answers"], day["small answers"]]
    rows = {
        "all on the flagship": (day["all on the flagship"], 0.0, 0.0),
        "80/20, with the router's calls": (*routed, day["question"]),
        "80/20, as promised": (*routed, 0.0),
        "all on the small model": (0.0, day["all on the small model"], 0.0),
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["flagship", "small", "question"])


def bill_rows(ways, messages):
    """Each way of `payback.ways`: a day, the saving, and the article's million messages."""
    total = ways.sum(axis=1)
    return pd.DataFrame(
        {
            "way": ways.index,
            "a day": total.map(usd).to_numpy(),
            "saving": (1 - total / total.max()).map(share).to_numpy(),
            "a message": (total / messages).map(usd).to_numpy(),
            "a million messages (the article)": (total / messages * 1e6).map(usd).to_numpy(),
        }
    )


def promised_savings(prices, message, shares):
    """What the shares alone promise to save, by provider, lower tier and tier of the rest, against the flagship.

    Parameters
    ----------
    prices : Prices
        With a lineup of three tiers for each provider.
    message : tierlab.core.product.Message
    shares : sequence of float
        Of the messages on the lower tier, 0-1.

    Returns
    -------
    DataFrame
        A column per share; by provider, lower, rest and times (the price of the flagship against that of the lower tier).
    """
    lineup = prices.lineup()
    one = pd.DataFrame(
        {"uncached_input_tokens": [message.input_tokens], "output_tokens": [message.output_tokens]}
    )
    cost = reprice(one, prices, prices.models()).iloc[0]
    rows = {}
    for lower, rest in (("small", "flagship"), ("mid", "flagship"), ("small", "mid")):
        for provider, tier in lineup.iterrows():
            low, high = (
                cost[tier[lower]] / cost[tier["flagship"]],
                cost[tier[rest]] / cost[tier["flagship"]],
            )
            rows[provider, lower, rest, 1 / low] = {
                share: 1 - share * low - (1 - share) * high for share in shares
            }
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.rename_axis(["provider", "lower", "rest", "times"])


def map_rows(savings):
    """`payback.promised_savings` with one line of text for each row."""
    names = [
        f"{provider}: {lower} ({times:.3g}x), rest {rest}"
        for provider, lower, rest, times in savings.index
    ]
    return savings.set_axis(names)


def provider_rows(savings):
    """Savings with the rest on the flagship, a row per provider."""
    table = savings.query("rest == 'flagship'").droplevel(["rest", "times"]).unstack("lower")
    table = table.sort_index(axis=1, level=1, ascending=False, sort_remaining=False)
    heads = [f"{lower}, {share(part)} of messages" for part, lower in table.columns]
    return table.map(share).set_axis(heads, axis=1).rename_axis("provider")


@dataclass(frozen=True)
class Payback:
    """A router beside the best single model, errors included.

    Attributes
    ----------
    single, router : str
        The two policies.
    single_usd, router_usd : float
        What a message costs with each, price and errors (US dollars).
    requests_per_day, build_cost_usd : float
    low_usd, high_usd : float
        Interval of the gain on a message; NaN where none is known.
    """

    single: str
    router: str
    single_usd: float
    router_usd: float
    requests_per_day: float
    build_cost_usd: float
    low_usd: float = np.nan
    high_usd: float = np.nan

    @property
    def gain_usd(self):
        """What the router saves on a message (US dollars)."""
        return self.single_usd - self.router_usd

    def days(self, gain_usd=None, requests_per_day=None):
        """Days until the building cost is paid back; infinite where nothing is gained."""
        gain = self.gain_usd if gain_usd is None else gain_usd
        a_day = np.asarray(gain) * (requests_per_day or self.requests_per_day)
        return self.build_cost_usd / a_day if a_day > 0 else np.inf

    def volume_for(self, days=YEAR):
        """Messages a day from which it is paid back within so many days."""
        return self.build_cost_usd / (days * self.gain_usd) if self.gain_usd > 0 else np.inf

    def headline(self):
        """The verdict in a sentence."""
        if self.gain_usd <= 0:
            return f"No: {self.single} costs less than any router"
        if self.low_usd <= 0:
            return f"Not decided: the gain over {self.single} cannot be told from zero"
        time = f"{number(self.days())} days"
        if self.days() > YEAR:
            return f"Not at this volume: it would take {time} to pay for itself"
        return f"Yes: it pays for itself in {time}"

    def words(self):
        """What a day costs with and without, and the volume at which the verdict turns."""
        one, other = (
            usd(part * self.requests_per_day) for part in (self.router_usd, self.single_usd)
        )
        told = (
            f"At {self.requests_per_day:,} messages a day, a day costs {one} with the best router "
            f"({self.router.removeprefix('router: ')}) and {other} with the best single model ({self.single}), errors included."
        )
        if self.gain_usd <= 0:
            return told
        turn = float(f"{self.volume_for():.3g}")
        return f"{told} Below {turn:,.0f} messages a day it takes more than a year."


def day_costs(means, *, requests_per_day, error_cost_usd):
    """What a day costs with each policy: price, errors, total (US dollars), the cheapest first.

    Parameters
    ----------
    means : DataFrame
        By policy: score (0-1) and usd_per_1000, as `tierlab.compare_policies` estimates them.
    """
    price = means["usd_per_1000"] / 1000 * requests_per_day
    errors = (1 - means["score"]) * error_cost_usd * requests_per_day
    table = pd.DataFrame({"price": price, "errors": errors, "total": price + errors})
    return table.sort_values("total", kind="stable")


def day_rows(means, days):
    """What a day costs with each policy, and what it gets right; `means` and `days` as in `payback.day_costs`."""
    part = means.loc[days.index]
    return pd.DataFrame(
        {
            "policy": days.index,
            "a day, errors included": days["total"].map(usd),
            "price a day": days["price"].map(usd),
            "errors a day": days["errors"].map(usd),
            "right answers": part["score"].map(share),
            "saving on the price": part["saving"].map(share),
        }
    ).reset_index(drop=True)


def answer_rows(means, days, pay):
    """The best router, the best single model, and up to three others that cost least."""
    first = [pay.router, pay.single]
    others = [name for name in days.index if name not in first]
    return day_rows(means, days.loc[[*first, *others[:3]]])


def payback(means, policies, *, requests_per_day, error_cost_usd, build_cost_usd, gain=None):
    """The best router against the best single model.

    Parameters
    ----------
    means : DataFrame
        As for `day_costs`.
    policies : mapping of str to Policy
        An `Always` is a single model; a random mix and the oracle are neither that nor a router.
    gain : sequence of float, optional
        Interval of the gain on a message: low, high (US dollars).

    Returns
    -------
    Payback
    """
    usd_each = day_costs(means, requests_per_day=1, error_cost_usd=error_cost_usd)["total"]
    single = [name for name in usd_each.index if isinstance(policies[name], Always)]
    router = [
        name
        for name in usd_each.index
        if not isinstance(policies[name], Always | RandomMix | Oracle)
    ]
    best, ours = single[0], router[0]
    return Payback(
        best,
        ours,
        usd_each[best],
        usd_each[ours],
        requests_per_day,
        build_cost_usd,
        *((np.nan, np.nan) if gain is None else gain),
    )


def examples_words(pay, prompts):
    """How many examples, answered by both, would show the gain of a router in four studies of five."""
    spread = (pay.high_usd - pay.low_usd) / (2 * 1.96) * np.sqrt(prompts)
    if not pay.gain_usd > 0 or not spread > 0:
        return "No gain, so no number of examples would show one."
    needed = paired_sample_size(pay.gain_usd, sd=spread)
    return f"To see the router's gain in four studies of five takes **{needed:,} messages** answered by both."


def by_difficulty(outcomes, *, weak, strong, error_cost_usd):
    """Simple messages, on which the strong model scores no better than the weak one, and complex ones.

    Returns
    -------
    DataFrame
        By label: share of the messages (0-1), and what one costs on the weak and on the strong model, price and
        errors (weak_usd, strong_usd).
    """
    grid = pair_outcomes(outcomes, [weak, strong])
    scores, costs = grid.values("score"), grid.values("cost_usd")
    label = np.where(scores[:, 0] >= scores[:, 1], "simple", "complex")
    total = pd.DataFrame(costs + error_cost_usd * (1 - scores), columns=["weak_usd", "strong_usd"])
    table = total.groupby(label).mean().reindex(["simple", "complex"])
    table.insert(0, "share", pd.Series(label).value_counts(normalize=True).reindex(table.index))
    return table.fillna(0.0)


def classifier_gain(parts, simple_right, complex_right, *, call_usd, single_usd):
    """What a classifier of stated accuracy saves on a message against a single model (US dollars, errors included).

    Parameters
    ----------
    parts : DataFrame
        From `by_difficulty`.
    simple_right, complex_right : float or array
        Share 0-1 of the simple and of the complex messages that it recognises.
    call_usd : float
        Its own call.
    single_usd : float
        A message on the single model, errors included.

    Examples
    --------
    >>> parts = pd.DataFrame({"share": [0.5, 0.5], "weak_usd": [1.0, 5.0], "strong_usd": [3.0, 3.0]},
    ...                      index=["simple", "complex"])
    >>> float(classifier_gain(parts, 1.0, 1.0, call_usd=0.5, single_usd=3.0))  # 3 - 0.5 - (1 + 3) / 2
    0.5
    """
    simple, difficult = parts.loc["simple"], parts.loc["complex"]
    easy = simple_right * simple["weak_usd"] + (1 - simple_right) * simple["strong_usd"]
    hard = complex_right * difficult["strong_usd"] + (1 - complex_right) * difficult["weak_usd"]
    paid = call_usd + simple["share"] * easy + difficult["share"] * hard
    return single_usd - paid


def complex_needed(parts, simple_right, *, call_usd, single_usd, gain_usd):
    """Share of complex messages that a classifier must recognise to gain so much on a message; NaN if none is enough."""
    none, all_ = (
        classifier_gain(parts, simple_right, share, call_usd=call_usd, single_usd=single_usd)
        for share in (0.0, 1.0)
    )
    needed = (gain_usd - none) / (all_ - none) if all_ != none else np.nan
    return max(needed, 0.0) if needed <= 1 else np.nan


def accuracies(outcomes, policies, *, weak, strong, seed, features=None):
    """Shares 0-1 of the simple and of the complex messages that policies send to the right one of two models.

    Returns
    -------
    DataFrame
        label (of the policy), simple_right, complex_right, as `figures.classifier_map` marks them.
    """
    scores = pair_outcomes(outcomes, [weak, strong]).values("score")
    simple, rows = scores[:, 0] >= scores[:, 1], []
    for name, policy in policies.items():
        routes = route(outcomes, policy, seed=seed, features=features)
        up = (routes["model_id"] == strong).to_numpy()
        rows.append((name, np.mean(~up[simple]), np.mean(up[~simple])))
    return pd.DataFrame(rows, columns=["label", "simple_right", "complex_right"])


def accuracy_rows(parts, points, pay, *, call_usd):
    """Each marked router of `figures.classifier_map`: what it recognises, and what it would have to."""
    within_a_year = pay.build_cost_usd / (YEAR * pay.requests_per_day)
    paid = {"call_usd": call_usd, "single_usd": pay.single_usd}
    table = pd.DataFrame(
        {
            "router": points["label"],
            "simple recognised": points["simple_right"].map(share),
            "complex recognised": points["complex_right"].map(share),
        }
    )
    for head, gain in (("gain", 0.0), ("pay in a year", within_a_year)):
        needed = [
            complex_needed(parts, simple, gain_usd=gain, **paid)
            for simple in points["simple_right"]
        ]
        table[f"needed to {head}"] = [
            "more than all" if np.isnan(part) else share(part) for part in needed
        ]
    return table


def gain_grid(parts, pay, *, call_usd):
    """Days until a classifier is paid back, over what it recognises."""
    steps = (0.8, 0.9, 0.95, 1.0)
    rows = np.linspace(0.1, 1, 10)
    grid = {
        f"{share(simple)} of simple": [
            _days(
                pay,
                classifier_gain(parts, simple, hard, call_usd=call_usd, single_usd=pay.single_usd),
            )
            for hard in rows
        ]
        for simple in steps
    }
    return pd.DataFrame({"complex recognised": [share(hard) for hard in rows], **grid})


def _days(pay, gain):
    return f"{number(pay.days(gain))} days" if gain > 0 else "never"
