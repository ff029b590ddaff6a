"""When a router pays: its bill with its own calls, the days until it is paid back, and how accurate it must be."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tierlab.core.format import number, share, usd
from tierlab.core.vocabulary import PROVIDER_NAMES, needs_usd
from tierlab.evaluate.planning import paired_sample_size
from tierlab.prices.pricing import reprice
from tierlab.routing.policies import Always, Oracle, RandomMix
from tierlab.routing.route import pair_outcomes, route

YEAR = 365


def routed_bill(prices, message, *, small, flagship, small_share=0.8, question=(45, 3)):
    """Return the average cost of a message if a small model first says of each whether it is simple.

    Parameters
    ----------
    prices : Prices
    message : tierlab.core.product.Message
    small, flagship : str
        Model ids; the small model also answers the router's question.
    small_share : float
        Share 0-1 of the messages that the small model answers.
    question : (int, int)
        Tokens that the question adds to the message, and tokens of its reply; our estimate.

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
    given, written = message.input_tokens, message.output_tokens
    rows = {
        "question": (small, 1.0, given + added, reply),
        "small answers": (small, small_share, given, written),
        "flagship answers": (flagship, 1 - small_share, given, written),
        "all on the small model": (small, 1.0, given, written),
        "all on the flagship": (flagship, 1.0, given, written),
    }
    columns = ["model_id", "calls", "uncached_input_tokens", "output_tokens"]
    bill = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    for part, other in (("input", "output_tokens"), ("output", "uncached_input_tokens")):
        tokens = bill[columns[2:]].assign(**{other: 0})
        call = reprice(tokens, prices, [small, flagship])
        mine = np.where(bill["model_id"] == small, call[small], call[flagship])
        bill[f"{part}_usd"] = mine * bill["calls"]
    bill["usd"] = bill["input_usd"] + bill["output_usd"]
    return bill[["model_id", "calls", "input_usd", "output_usd", "usd"]].rename_axis("call")


def ways(bill, messages):
    """Return the cost of a day for each way to route, in columns flagship, small and question (US dollars).

    Parameters
    ----------
    bill : DataFrame
        From `routed_bill`.
    messages : int
        Messages a day.
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
    """Show each of the `ways`: its cost a day and a message, its saving, and the article's million messages.

    Parameters
    ----------
    ways : DataFrame
        From `ways`.
    messages : int
        Messages a day.

    Returns
    -------
    DataFrame
        Text, with headings in words.
    """
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
    """Return what the shares alone promise to save against the flagship, by provider and pair of tiers.

    Parameters
    ----------
    prices : Prices
        Prices with a lineup of three tiers for each provider.
    message : tierlab.core.product.Message
    shares : sequence of float
        Shares of the messages that go to the lower tier, 0-1.

    Returns
    -------
    DataFrame
        Savings (share of the flagship's cost), a column per share; by provider, lower (the cheap tier), rest (the tier of
        the other messages) and times (how many times the lower tier's price the flagship costs).
    """
    lineup = prices.lineup()
    one = pd.DataFrame(
        {"uncached_input_tokens": [message.input_tokens], "output_tokens": [message.output_tokens]}
    )
    cost = reprice(one, prices, prices.models()).iloc[0]
    rows = {}
    for lower, rest in (("small", "flagship"), ("mid", "flagship"), ("small", "mid")):
        for provider, tier in lineup.iterrows():
            low, high = (cost[tier[name]] / cost[tier["flagship"]] for name in (lower, rest))
            rows[provider, lower, rest, 1 / low] = {
                share: 1 - share * low - (1 - share) * high for share in shares
            }
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.rename_axis(["provider", "lower", "rest", "times"])


def map_rows(savings):
    """Name each row of `promised_savings` in one line of text.

    Parameters
    ----------
    savings : DataFrame
        From `promised_savings`.

    Returns
    -------
    DataFrame
    """
    names = [
        f"{PROVIDER_NAMES.get(provider, provider)}: {lower} ({times:.3g}\N{MULTIPLICATION SIGN}), rest {rest}"
        for provider, lower, rest, times in savings.index
    ]
    return savings.set_axis(names)


def provider_rows(savings):
    """Show the savings with the rest on the flagship, a row per provider.

    Parameters
    ----------
    savings : DataFrame
        From `promised_savings`.

    Returns
    -------
    DataFrame
        Text, with headings in words.
    """
    table = savings.query("rest == 'flagship'").droplevel(["rest", "times"]).unstack("lower")
    table = table.sort_index(axis=1, level=1, ascending=False, sort_remaining=False)
    heads = [f"{lower}, {share(part)} of messages" for part, lower in table.columns]
    return table.map(share).set_axis(heads, axis=1).rename_axis("provider")


@dataclass(frozen=True)
class Payback:
    """The best router compared with the best single model, errors included.

    Attributes
    ----------
    single, router : str
        Names of the two policies.
    single_usd, router_usd : float
        What a message costs with each, price and errors (US dollars).
    requests_per_day, build_cost_usd : float
        Volume, and one-off cost of building the router (US dollars).
    low_usd, high_usd : float
        Interval of the gain on a message (US dollars); NaN if none is known.
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
        """US dollars that the router saves on a message."""
        return self.single_usd - self.router_usd

    def days(self, gain_usd=None):
        """Return the days until the building cost is paid back; infinite if nothing is gained."""
        gain = self.gain_usd if gain_usd is None else gain_usd
        a_day = gain * self.requests_per_day
        return self.build_cost_usd / a_day if a_day > 0 else np.inf

    def volume_for(self, days=YEAR):
        """Return the messages a day from which the building cost is paid back within some days."""
        return self.build_cost_usd / (days * self.gain_usd) if self.gain_usd > 0 else np.inf

    def headline(self):
        """Return the verdict in a sentence."""
        if self.gain_usd <= 0:
            return f"No: {self.single} costs less than any router"
        if self.low_usd <= 0:
            return f"Not decided: the gain over {self.single} cannot be told from zero"
        time = f"{number(self.days())} days"
        if self.days() > YEAR:
            return f"Not at this volume: it would take {time} to pay for itself"
        return f"Yes: it pays for itself in {time}"

    def words(self):
        """Say what a day costs with and without a router, and at which volume the verdict turns."""
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
    """Return the cost of a day with each policy: price, errors and total (US dollars), the cheapest first.

    Parameters
    ----------
    means : DataFrame
        By policy: score (0-1) and usd_per_1000, as `tierlab.compare_policies` estimates them.
    requests_per_day : float
    error_cost_usd : float
        Cost of a wrong answer (score 0 instead of 1), US dollars.
    """
    needs_usd("error_cost_usd", error_cost_usd)
    price = means["usd_per_1000"] / 1000 * requests_per_day
    errors = (1 - means["score"]) * error_cost_usd * requests_per_day
    table = pd.DataFrame({"price": price, "errors": errors, "total": price + errors})
    return table.sort_values("total", kind="stable")


def day_rows(means, days):
    """Show what a day costs with each policy and how much it gets right; `days` is the table of `day_costs`.

    Parameters
    ----------
    means : DataFrame
        By policy: score (0-1) and saving, as `tierlab.compare_policies` estimates them.
    days : DataFrame
        From `day_costs`.

    Returns
    -------
    DataFrame
        Text, with headings in words.
    """
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
    """Show the best router, the best single model, and the three others that cost least.

    Parameters
    ----------
    means, days
        As for `day_rows`.
    pay : Payback

    Returns
    -------
    DataFrame
        Text, with headings in words.
    """
    first = [pay.router, pay.single]
    others = [name for name in days.index if name not in first]
    return day_rows(means, days.loc[[*first, *others[:3]]])


def payback(means, policies, *, requests_per_day, error_cost_usd, build_cost_usd, gain=None):
    """Compare the best router with the best single model.

    Parameters
    ----------
    means, requests_per_day, error_cost_usd
        As for `day_costs`.
    policies : mapping of str to Policy
        Policies by name. An `Always` is a single model; a random mix and the oracle are neither that nor a router.
    build_cost_usd : float
        One-off cost of building the router (US dollars).
    gain : (float, float), optional
        Interval of the gain on a message: low, high (US dollars).

    Returns
    -------
    Payback
    """
    usd_each = day_costs(means, requests_per_day=1, error_cost_usd=error_cost_usd)["total"]
    kinds = {name: policies[name] for name in usd_each.index}
    single = next(name for name, policy in kinds.items() if isinstance(policy, Always))
    no_router = Always | RandomMix | Oracle
    router = next(name for name, policy in kinds.items() if not isinstance(policy, no_router))
    return Payback(
        single,
        router,
        usd_each[single],
        usd_each[router],
        requests_per_day,
        build_cost_usd,
        *(gain if gain is not None else (np.nan, np.nan)),
    )


def examples_words(pay, prompts):
    """Say how many examples that both have answered would show the gain of a router in four studies of five.

    Parameters
    ----------
    pay : Payback
        With the interval of its gain.
    prompts : int
        Prompts on which that interval rests.

    Returns
    -------
    str
    """
    # the interval is 1.96 standard errors to either side
    spread = (pay.high_usd - pay.low_usd) / (2 * 1.96) * np.sqrt(prompts)
    if not pay.gain_usd > 0 or not spread > 0:
        return "No gain, so no number of examples would show one."
    needed = paired_sample_size(pay.gain_usd, sd=spread)
    return f"To see the router's gain in four studies of five takes **{needed:,} messages** answered by both."


def by_difficulty(outcomes, *, weak, strong, error_cost_usd):
    """Split the messages into simple ones, on which the strong model scores no better than the weak one, and complex ones.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table with costs.
    weak, strong : str
        Model ids or tiers.
    error_cost_usd : float
        Cost of a wrong answer (score 0 instead of 1), US dollars.

    Returns
    -------
    DataFrame
        By label: share of the messages (0-1), and what one costs on the weak and on the strong model, price and
        errors (weak_usd, strong_usd).
    """
    needs_usd("error_cost_usd", error_cost_usd)
    grid = pair_outcomes(outcomes, [weak, strong])
    scores, costs = grid.values("score"), grid.values("cost_usd")
    label = np.where(scores[:, 0] >= scores[:, 1], "simple", "complex")
    total = pd.DataFrame(costs + error_cost_usd * (1 - scores), columns=["weak_usd", "strong_usd"])
    table = total.groupby(label).mean().reindex(["simple", "complex"])
    table.insert(0, "share", pd.Series(label).value_counts(normalize=True).reindex(table.index))
    return table.fillna(0.0)


def classifier_gain(parts, simple_right, complex_right, *, call_usd, single_usd):
    """Return what a classifier of stated accuracy saves on a message against a single model (US dollars, errors included).

    Parameters
    ----------
    parts : DataFrame
        From `by_difficulty`.
    simple_right, complex_right : float or array
        Share 0-1 of the simple and of the complex messages that it recognises.
    call_usd : float
        Cost of its own call (US dollars).
    single_usd : float
        Cost of a message on the single model, errors included (US dollars).

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
    """Return the share of complex messages that a classifier must recognise for a gain on a message.

    Parameters
    ----------
    parts, simple_right, call_usd, single_usd
        As for `classifier_gain`.
    gain_usd : float
        Wanted gain (US dollars).

    Returns
    -------
    float
        From 0 to 1; NaN if no share is enough.
    """
    # the gain is linear in the share
    none, all_ = (
        classifier_gain(parts, simple_right, share, call_usd=call_usd, single_usd=single_usd)
        for share in (0.0, 1.0)
    )
    needed = (gain_usd - none) / (all_ - none) if all_ != none else np.nan
    return max(needed, 0.0) if needed <= 1 else np.nan


def accuracies(outcomes, policies, *, weak, strong, seed, features=None):
    """Return the shares of the simple and of the complex messages that policies send to the right one of two models.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table.
    policies : mapping of str to Policy
        Policies by label.
    weak, strong : str
        Model ids.
    seed, features
        As for `route`.

    Returns
    -------
    DataFrame
        label, simple_right, complex_right (shares 0-1), as `figures.classifier_map` marks them.
    """
    scores = pair_outcomes(outcomes, [weak, strong]).values("score")
    simple, rows = scores[:, 0] >= scores[:, 1], []
    for name, policy in policies.items():
        routes = route(outcomes, policy, seed=seed, features=features)
        up = (routes["model_id"] == strong).to_numpy()
        rows.append((name, np.mean(~up[simple]), np.mean(up[~simple])))
    return pd.DataFrame(rows, columns=["label", "simple_right", "complex_right"])


def accuracy_rows(parts, points, pay, *, call_usd):
    """Show what each router marked in `figures.classifier_map` recognises, and what it would have to recognise.

    Parameters
    ----------
    parts : DataFrame
        From `by_difficulty`.
    points : DataFrame
        From `accuracies`.
    pay : Payback
    call_usd : float
        Cost of the classifier's own call (US dollars).

    Returns
    -------
    DataFrame
        Text, with headings in words.
    """
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
    """Show the days until a classifier is paid back, by what it recognises.

    Parameters
    ----------
    parts, pay, call_usd
        As for `accuracy_rows`.

    Returns
    -------
    DataFrame
        Text, with headings in words.
    """
    complex_right = np.linspace(0.1, 1, 10)
    table = pd.DataFrame({"complex recognised": [share(part) for part in complex_right]})
    for simple in (0.8, 0.9, 0.95, 1.0):
        gains = classifier_gain(
            parts, simple, complex_right, call_usd=call_usd, single_usd=pay.single_usd
        )
        table[f"{share(simple)} of simple"] = [
            f"{number(pay.days(gain))} days" if gain > 0 else "never" for gain in gains
        ]
    return table
