"""Rules on money: the lineup and its prices, their ratios, context windows, and what a volume of requests costs."""

from itertools import product

import numpy as np
import pandas as pd

from tierlab.article.basis import (
    CLASSIFIER_TOKENS,
    DAYS_PER_MONTH,
    ERROR_GAP,
    INPUT_TOKENS,
    MIXES,
    OUTPUT_TOKENS,
    REQUESTS_PER_DAY,
    ROUTED_SHARES,
    NoFigure,
    find_models,
    in_force,
    labels_of,
    lengths,
    metric,
    over_lengths,
    price_ratio,
    rates,
    request_usd,
)
from tierlab.core.product import Conversation
from tierlab.core.vocabulary import TIERS
from tierlab.routing.policies import Rules
from tierlab.routing.route import route
from tierlab.routing.sessions import Caches, equal_conversations
from tierlab.scaling.costs import error_cost_break_even


@metric(source="the article's text")
def reading_speed(basis, words, minutes):
    """Words per minute."""
    return float(words) / float(minutes)


@metric(source="the article's text")
def tokens_per_request(basis):
    """Input and output tokens of the article's request."""
    return INPUT_TOKENS + OUTPUT_TOKENS


@metric()
def ordered_models(basis, on=None):
    """Lineup models whose provider's blended prices fall strictly from flagship to mid to small."""
    lineup = basis.prices.lineup(on)
    falling = [
        (np.diff(rates(basis.prices, row, on=on)["blended"]) > 0).all() for row in lineup.to_numpy()
    ]
    return 3 * sum(falling)


@metric()
def tier_of(basis, names):
    """Tier (1 small to 3 flagship) that the catalogue gives each named model."""
    tier = basis.prices.by_model["tier"]
    found = find_models(basis.prices, names)
    return tier[found].map({name: i + 1 for i, name in enumerate(TIERS)})


@metric()
def list_price(basis, models, mix="input|output", input_tokens=INPUT_TOKENS):
    """USD per million tokens of each model, by mix and input length."""
    names, mixes = find_models(basis.prices, models), mix.split("|")
    labels = labels_of(names if len(names) > 1 else [""], mixes)

    def price_at(tokens):
        return pd.Series(rates(basis.prices, names, tokens)[mixes].to_numpy().ravel(), labels)

    return over_lengths(price_at, input_tokens)


@metric()
def cost_ratio(basis, higher, lower, mix=MIXES, input_tokens=INPUT_TOKENS):
    """How many times more the higher model costs than the lower one."""
    return 1 / price_ratio(basis.prices, higher, lower, mix, input_tokens)


@metric()
def saving(basis, higher, lower, mix=MIXES, input_tokens=INPUT_TOKENS):
    """Share by which the lower model costs less than the higher one."""
    return 1 - price_ratio(basis.prices, higher, lower, mix, input_tokens)


@metric()
def output_gap(basis, higher, lower, input_tokens=INPUT_TOKENS):
    """Ratio of output prices over ratio of input prices, the more expensive to the cheaper model."""

    def gap_at(tokens):
        return price_ratio(basis.prices, higher, lower, "input", tokens) / price_ratio(
            basis.prices, higher, lower, "output", tokens
        )

    return over_lengths(gap_at, input_tokens)


@metric()
def gap_spread(basis, higher, lower):
    """Largest over smallest price ratio of the pairs, on the article's own request."""
    ratios = price_ratio(basis.prices, higher, lower, "blended")
    return ratios.max() / ratios.min()


@metric()
def catalogue_gap(basis, models):
    """Share by which the maintained input price lies above the article's."""
    theirs, ours = (
        rates(basis.catalogues[name], find_models(basis.catalogues[name], models))["input"]
        for name in ("article", "maintained")
    )
    return ours / theirs - 1


@metric()
def price_rank(basis, model, mix):
    """Rank of a model's price in its lineup, 1 the lowest; equal prices share the lower rank."""
    table = rates(basis.prices, basis.prices.models())[mix]
    return table.rank(method="min")[find_models(basis.prices, model)[0]]


@metric()
def lineup_price_change(basis, start, end):
    """Blended price of each provider's tier at the end over that at the start."""
    now, then = (
        rates(basis.prices, basis.prices.models(day), on=day)["blended"].to_numpy()
        for day in (end, start)
    )
    slots = basis.prices.lineup(start).stack().index.map(".".join)
    return pd.Series(now / then, slots)


@metric()
def cheapest_changed(basis, start, end):
    """Tiers whose cheapest lineup model, by blended price, is another one at the end."""

    def cheapest(tier, day):
        return rates(basis.prices, basis.prices.lineup(day)[tier], on=day)["blended"].idxmin()

    return sum(cheapest(tier, start) != cheapest(tier, end) for tier in TIERS)


@metric()
def context_window(basis, models):
    """Context window in tokens."""
    table = in_force(basis.prices).drop_duplicates("model_id").set_index("model_id")
    return table["context_window"].reindex(find_models(basis.prices, models))


@metric()
def window_at_base_price(basis, models):
    """Tokens that fit at the lowest price: the window, or the first context step if that comes sooner."""
    steps = (
        in_force(basis.prices).query("context_above > 0").groupby("model_id")["context_above"].min()
    )
    windows = context_window(basis, models)
    return windows.combine(steps.reindex(windows.index), np.fmin).where(windows.notna())


@metric()
def long_context_ratio(basis, models, short, long):
    """Input price per token of a long request over that of a short one."""
    names = find_models(basis.prices, models)
    far, near = (rates(basis.prices, names, int(tokens))["input"] for tokens in (long, short))
    return far / near


def classifier_usd(prices, model):
    return (
        request_usd(prices, find_models(prices, model), CLASSIFIER_TOKENS).iloc[0] if model else 0.0
    )


@metric()
def day_cost(basis, mix, classifier=""):
    """US dollars a day of the article's volume, split over models by share."""
    slots, shares = zip(*(part.split(":") for part in mix.split("|")), strict=True)
    daily = REQUESTS_PER_DAY * request_usd(basis.prices, find_models(basis.prices, "|".join(slots)))
    calls = REQUESTS_PER_DAY * classifier_usd(basis.prices, classifier)
    return daily @ np.array(shares, float) + calls


@metric()
def volume_cost(basis, models, requests):
    """US dollars of a number of the article's requests, per model."""
    return float(requests) * request_usd(basis.prices, find_models(basis.prices, models))


def pair_usd(prices, higher, lower):
    return (request_usd(prices, find_models(prices, side)).to_numpy() for side in (higher, lower))


@metric()
def month_difference(basis, higher, lower):
    """US dollars a month between two models at the article's volume."""
    over, under = pair_usd(basis.prices, higher, lower)
    return DAYS_PER_MONTH * REQUESTS_PER_DAY * (over - under)[0]


@metric()
def error_cost(basis, higher, lower):
    """US dollars per error above which the higher model pays, if it makes ERROR_GAP fewer errors per request."""
    over, under = pair_usd(basis.prices, higher, lower)
    return pd.Series(
        error_cost_break_even(over, under, 0, ERROR_GAP), find_models(basis.prices, higher)
    )


@metric()
def fixed_cost_requests(basis, fixed_usd, higher, lower):
    """Requests after which a fixed cost is repaid by going from the higher to the lower model."""
    over, under = pair_usd(basis.prices, higher, lower)
    return float(fixed_usd) / (over - under)[0]


@metric(source="the article's text")
def flagship_share(basis):
    """Share left to the flagship when the routed shares go elsewhere."""
    return pd.Series({f"of {share:.0%}": 1 - share for share in ROUTED_SHARES})


@metric()
def routed_saving(basis, higher, lower, classifier=""):
    """Share saved against the higher model alone, at both ends of the routed shares."""
    (over,), (under,) = pair_usd(basis.prices, higher, lower)
    call = classifier_usd(basis.prices, classifier)
    return pd.Series({f"at {s:.0%}": s * (1 - under / over) - call / over for s in ROUTED_SHARES})


@metric()
def conversation_saving(
    basis, higher, lower, decided, turns, system_tokens, input_tokens, output_tokens
):
    """The same in conversations, expected over every order of the turns, each model with its own prompt cache.

    The model is drawn for each turn, or once for all of them (`decided`: turn, conversation).
    """
    (top,), (bottom,) = find_models(basis.prices, higher), find_models(basis.prices, lower)
    rates = in_force(basis.prices).set_index("model_id").loc[[top, bottom]]
    if rates[["cache_read", "cache_write_short"]].isna().any(axis=None):
        raise NoFigure(f"no cache rates of {top} and {bottom} in {basis.prices.source}")
    shape = Conversation(
        system_tokens=system_tokens,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        turns=turns,
    )
    draws = np.array([*product((0, 1), repeat=shape.turns if decided == "turn" else 1)])
    up = draws.repeat(shape.turns // draws.shape[1], axis=1)
    talks = equal_conversations(shape, {bottom: 1.0, top: 1.0}, sessions=len(draws))
    talks["up"] = up[talks["session_id"], talks["turn"] - 1]
    calls = route(talks, Rules({0: bottom, 1: top}, column="up"), sessions=Caches(basis.prices))
    cost = calls.groupby("session_id")["cost_usd"].sum()
    # The last order asks the higher model every time.
    left = {s: np.where(draws, 1 - s, s).prod(axis=1) @ cost / cost.iloc[-1] for s in ROUTED_SHARES}
    return pd.Series({f"at {s:.0%}": 1 - share for s, share in left.items()})


@metric()
def router_break_even(basis, higher, lower):
    """Share of requests that must go to the lower model before the classifier call, made on it, pays."""
    (over,), (under,) = pair_usd(basis.prices, higher, lower)
    return classifier_usd(basis.prices, lower) / (over - under)


@metric()
def routing_month_saving(basis, higher, lower, requests_per_day):
    """US dollars a month saved by sending 80% to the lower model, with the classifier call."""
    share = routed_saving(basis, higher, lower, classifier=lower).iloc[-1]
    monthly = DAYS_PER_MONTH * request_usd(basis.prices, find_models(basis.prices, higher)).iloc[0]
    return pd.Series({f"{n:,} a day": n * monthly * share for n in lengths(requests_per_day)})


@metric()
def lever_saving(basis, levers="batch|cache"):
    """Share saved per lineup model: by the batch rate on the article's request, by a cache read on an input token."""
    table = in_force(basis.prices).drop_duplicates("model_id").set_index("model_id")
    table = table.loc[basis.prices.models()]
    tokens = np.array([INPUT_TOKENS, OUTPUT_TOKENS])
    plain = table[["uncached_input", "output"]] @ tokens
    paid = {
        "batch": table[["batch_uncached_input", "batch_output"]] @ tokens / plain,
        "cache": table["cache_read"] / table["uncached_input"],
    }
    return pd.concat([(1 - paid[lever]).add_suffix(f" {lever}") for lever in levers.split("|")])
