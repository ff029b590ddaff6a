"""The article's figures, recomputed: one small function per figure, over any catalogue.

Each function registered with `metric` can be named as a rule in data/claims.csv. It takes a `Basis` and the
rule's arguments as text, and returns one number or a labelled Series of them; which unit they are in stands in
the claims table. A model is written as "provider.tier" of the lineup, or by any name the catalogue knows;
several are joined by "|".
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import pandas as pd

from tierlab.catalog import TIERS, Prices, unknown
from tierlab.decision import task_tiers, tier_by_rule
from tierlab.paths import DATA
from tierlab.pricing import reprice
from tierlab.scaling import error_cost_break_even

# The article's own example (Why It Matters), and its shares of routed traffic (Routing and Hybrid Strategies).
REQUESTS_PER_DAY, INPUT_TOKENS, OUTPUT_TOKENS, DAYS_PER_MONTH = 1_000_000, 500, 300, 30
ROUTED_SHARES = (0.70, 0.80)
# Estimates of ours: the message plus about 45 tokens of the article's two classifier prompts, a one-word reply,
# and how many errors fewer a flagship makes per request.
CLASSIFIER_TOKENS, ERROR_GAP = (INPUT_TOKENS + 45, 3), 0.05
MIXES = "input|output|blended"
METRICS = {}


class NoFigure(ValueError):
    """A catalogue lacks what a metric needs; the claim cannot be checked against it."""


@dataclass(frozen=True)
class Basis:
    """What a metric may look at: the catalogue that gives the figures, both by name, and the task table."""

    prices: Prices
    catalogues: dict
    tasks: pd.DataFrame


def metric(function):
    """Register a function under its own name, so that a rule in data/claims.csv can name it."""
    METRICS[function.__name__] = function
    return function


@lru_cache(maxsize=8)
def _lineup(prices, on=None):
    return prices.lineup(on)


@lru_cache(maxsize=8)
def _in_force(prices, on=None):
    return prices.in_force(on).sort_values("context_above", kind="stable")


def _models(prices, text):
    """Model ids for "anthropic.small|gpt-4o": slots of the lineup on the catalogue's day, or names."""
    found = []
    for name in text.split("|"):
        provider, _, tier = name.rpartition(".")
        try:
            found.append(prices.resolve(_lineup(prices).at[provider, tier] if tier in TIERS else name))
        except (KeyError, ValueError) as error:
            raise NoFigure(f"no model {name} in {prices.source}") from error
    return found


def approximate_models(prices, args):
    """Models that a rule's arguments name by slot and whose price the catalogue itself calls approximate."""
    slots = re.findall(rf"(\w+\.(?:{'|'.join(TIERS)}))", args)
    rows = _in_force(prices)
    rough = set(rows.loc[rows["approximate"], "model_id"])
    return sorted(rough.intersection(_models(prices, "|".join(slots)))) if slots else []


def rates(prices, names, input_tokens=INPUT_TOKENS, *, on=None):
    """USD per million tokens at one input length: columns input, output, blended (the article's 500 + 300 tokens).

    NaN where the length exceeds the model's context window.
    """
    rows = _in_force(prices, on)
    rows = rows[rows["context_above"] < input_tokens].drop_duplicates("model_id", keep="last").set_index("model_id")
    missing = [name for name in names if name not in rows.index]
    if missing:
        raise NoFigure(f"no price of {', '.join(missing)} in {prices.source}")
    rows = rows.loc[list(names)]
    table = rows[["uncached_input", "output"]].set_axis(["input", "output"], axis=1)
    table["blended"] = table @ np.array([INPUT_TOKENS, OUTPUT_TOKENS]) / (INPUT_TOKENS + OUTPUT_TOKENS)
    return table.where(~(rows["context_window"] < input_tokens), np.nan)


def request_usd(prices, names, tokens=(INPUT_TOKENS, OUTPUT_TOKENS)):
    """US dollars of one request on each model: a Series by model id."""
    one = pd.DataFrame({"uncached_input_tokens": [tokens[0]], "output_tokens": [tokens[1]]})
    return reprice(one, prices, list(names)).iloc[0]


def _lengths(text):
    return [int(tokens) for tokens in str(text).split("|")]


def _over_lengths(values_at, input_tokens):
    """Values at the first input length, then those that another length changes (and that still fit the window)."""
    first, *others = _lengths(input_tokens)
    parts = [values_at(first)]
    for tokens in others:
        far = values_at(tokens)
        changed = far.notna() & ~np.isclose(far, parts[0])
        parts.append(far[changed].add_suffix(f" at {tokens:,} tokens"))
    return pd.concat(parts)


def _labels(names, mixes):
    return [f"{name} {kind}".strip() for name, kind in product(names, mixes if len(mixes) > 1 else [""])]


def _price_ratio(prices, dear, cheap, mix=MIXES, input_tokens=INPUT_TOKENS):
    """Price of the cheap over the dear model of each pair, by mix and input length."""
    dear, cheap = np.broadcast_arrays(_models(prices, dear), _models(prices, cheap))
    mixes = mix.split("|")
    names = [f"{x} / {y}" if len(dear) > 1 else "" for x, y in zip(dear, cheap, strict=True)]
    labels = _labels(names, mixes)

    def ratio_at(tokens):
        over, under = (rates(prices, side, tokens)[mixes].to_numpy() for side in (dear, cheap))
        return pd.Series((under / over).ravel(), labels)

    return _over_lengths(ratio_at, input_tokens)


@metric
def reading_speed(basis, words, minutes):
    """Words per minute."""
    return float(words) / float(minutes)


@metric
def tokens_per_request(basis):
    """Input and output tokens of the article's request."""
    return INPUT_TOKENS + OUTPUT_TOKENS


@metric
def ordered_models(basis, on=None):
    """Lineup models whose provider's blended prices fall strictly from flagship to mid to small."""
    lineup = _lineup(basis.prices, on)
    falling = [(np.diff(rates(basis.prices, row, on=on)["blended"]) > 0).all() for row in lineup.to_numpy()]
    return 3 * sum(falling)


@metric
def tier_of(basis, names):
    """Tier (1 small to 3 flagship) that the catalogue gives each named model."""
    tier = basis.prices.frame.drop_duplicates("model_id").set_index("model_id")["tier"]
    found = _models(basis.prices, names)
    return tier[found].map({name: i + 1 for i, name in enumerate(TIERS)})


@metric
def list_price(basis, models, mix="input|output", input_tokens=INPUT_TOKENS):
    """USD per million tokens of each model, by mix and input length."""
    names, mixes = _models(basis.prices, models), mix.split("|")
    labels = _labels(names if len(names) > 1 else [""], mixes)

    def price_at(tokens):
        return pd.Series(rates(basis.prices, names, tokens)[mixes].to_numpy().ravel(), labels)

    return _over_lengths(price_at, input_tokens)


@metric
def cost_ratio(basis, **pairs):
    """How many times more the dear model costs than the cheap one."""
    return 1 / _price_ratio(basis.prices, **pairs)


@metric
def saving(basis, **pairs):
    """Share by which the cheap model costs less than the dear one."""
    return 1 - _price_ratio(basis.prices, **pairs)


@metric
def output_gap(basis, dear, cheap, input_tokens=INPUT_TOKENS):
    """Ratio of output prices over ratio of input prices, dear to cheap."""

    def gap_at(tokens):
        return _price_ratio(basis.prices, dear, cheap, "input", tokens) / _price_ratio(
            basis.prices, dear, cheap, "output", tokens
        )

    return _over_lengths(gap_at, input_tokens)


@metric
def gap_spread(basis, **pairs):
    """Largest over smallest price ratio of the pairs, on the article's own request."""
    ratios = _price_ratio(basis.prices, mix="blended", **pairs)
    return ratios.max() / ratios.min()


@metric
def catalogue_gap(basis, models):
    """Share by which the maintained input price lies above the article's."""
    theirs, ours = (
        rates(basis.catalogues[name], _models(basis.catalogues[name], models))["input"] for name in ("article", "maintained")
    )
    return ours / theirs - 1


@metric
def price_rank(basis, model, mix):
    """Rank of a model's price in its lineup, 1 the lowest; equal prices share the lower rank."""
    table = rates(basis.prices, basis.prices.models())[mix]
    return table.rank(method="min")[_models(basis.prices, model)[0]]


@metric
def lineup_price_change(basis, start, end):
    """Blended price of each provider's tier at the end over that at the start."""
    now, then = (rates(basis.prices, basis.prices.models(day), on=day)["blended"].to_numpy() for day in (end, start))
    slots = _lineup(basis.prices, start).stack().index.map(".".join)
    return pd.Series(now / then, slots)


@metric
def cheapest_changed(basis, start, end):
    """Tiers whose cheapest lineup model, by blended price, is another one at the end."""
    best = []
    for day in (start, end):
        lineup = _lineup(basis.prices, day)
        best.append([rates(basis.prices, lineup[tier], on=day)["blended"].idxmin() for tier in TIERS])
    return sum(a != b for a, b in zip(*best, strict=True))


@metric
def context_window(basis, models):
    """Context window in tokens."""
    table = _in_force(basis.prices).drop_duplicates("model_id").set_index("model_id")
    return table["context_window"].reindex(_models(basis.prices, models))


@metric
def window_at_base_price(basis, models):
    """Tokens that fit at the lowest price: the window, or the first context step if that comes sooner."""
    steps = _in_force(basis.prices).query("context_above > 0").groupby("model_id")["context_above"].min()
    windows = context_window(basis, models)
    return windows.combine(steps.reindex(windows.index), np.fmin).where(windows.notna())


@metric
def long_context_ratio(basis, models, short, long):
    """Input price per token of a long request over that of a short one."""
    names = _models(basis.prices, models)
    far, near = (rates(basis.prices, names, int(tokens))["input"] for tokens in (long, short))
    return far / near


@metric
def too_small_for(basis, models, tokens):
    """Models whose context window is below a number of tokens."""
    windows = context_window(basis, models)
    return (windows < float(tokens)).sum() if windows.notna().all() else np.nan


def _classifier_usd(prices, model):
    return request_usd(prices, _models(prices, model), CLASSIFIER_TOKENS).iloc[0] if model else 0.0


@metric
def day_cost(basis, mix, classifier=""):
    """US dollars a day of the article's volume, split over models by share."""
    slots, shares = zip(*(part.split(":") for part in mix.split("|")), strict=True)
    daily = REQUESTS_PER_DAY * request_usd(basis.prices, _models(basis.prices, "|".join(slots)))
    return daily @ np.array(shares, float) + REQUESTS_PER_DAY * _classifier_usd(basis.prices, classifier)


@metric
def volume_cost(basis, models, requests):
    """US dollars of a number of the article's requests, per model."""
    return float(requests) * request_usd(basis.prices, _models(basis.prices, models))


def _pair_usd(prices, dear, cheap):
    return (request_usd(prices, _models(prices, side)).to_numpy() for side in (dear, cheap))


@metric
def month_difference(basis, dear, cheap):
    """US dollars a month between two models at the article's volume."""
    over, under = _pair_usd(basis.prices, dear, cheap)
    return DAYS_PER_MONTH * REQUESTS_PER_DAY * (over - under)[0]


@metric
def error_cost(basis, dear, cheap):
    """US dollars per error above which the dear model pays, if it makes ERROR_GAP fewer errors per request."""
    over, under = _pair_usd(basis.prices, dear, cheap)
    return pd.Series(error_cost_break_even(over, under, 0, ERROR_GAP), _models(basis.prices, dear))


@metric
def fixed_cost_requests(basis, fixed_usd, dear, cheap):
    """Requests after which a fixed cost is repaid by going from the dear to the cheap model."""
    over, under = _pair_usd(basis.prices, dear, cheap)
    return float(fixed_usd) / (over - under)[0]


@metric
def flagship_share(basis):
    """Share left to the flagship when the routed shares go elsewhere."""
    return pd.Series({f"of {share:.0%}": 1 - share for share in ROUTED_SHARES})


@metric
def routed_saving(basis, dear, cheap, classifier=""):
    """Share saved against the dear model alone, at both ends of the routed shares."""
    (over,), (under,) = _pair_usd(basis.prices, dear, cheap)
    call = _classifier_usd(basis.prices, classifier)
    return pd.Series({f"at {s:.0%}": s * (1 - under / over) - call / over for s in ROUTED_SHARES})


@metric
def router_break_even(basis, dear, cheap):
    """Share of requests that must go to the cheap model before the classifier call, made on it, pays."""
    (over,), (under,) = _pair_usd(basis.prices, dear, cheap)
    return _classifier_usd(basis.prices, cheap) / (over - under)


@metric
def routing_month_saving(basis, dear, cheap, requests_per_day):
    """US dollars a month saved by sending 80% to the cheap model, with the classifier call."""
    share = routed_saving(basis, dear, cheap, classifier=cheap).iloc[-1]
    monthly = DAYS_PER_MONTH * request_usd(basis.prices, _models(basis.prices, dear)).iloc[0]
    return pd.Series({f"{n:,} a day": n * monthly * share for n in _lengths(requests_per_day)})


@metric
def lever_saving(basis, levers="batch|cache"):
    """Share saved per lineup model: by the batch rate on the article's request, by a cache read on an input token."""
    table = _in_force(basis.prices).drop_duplicates("model_id").set_index("model_id").loc[basis.prices.models()]
    tokens = np.array([INPUT_TOKENS, OUTPUT_TOKENS])
    paid = {
        "batch": table[["batch_uncached_input", "batch_output"]] @ tokens / (table[["uncached_input", "output"]] @ tokens),
        "cache": table["cache_read"] / table["uncached_input"],
    }
    return pd.concat([(1 - paid[lever]).add_suffix(f" {lever}") for lever in levers.split("|")])


@metric
def output_multiple(basis, dear, cheap):
    """Times the dear model's output tokens that the cheaper one must emit to cost as much on output."""
    return 1 / _price_ratio(basis.prices, dear, cheap, mix="output")


@metric
def rule_tier(basis, cases):
    """Tier that the article's rule gives each "stakes-complexity" case."""
    ratings = np.array([case.split("-") for case in cases.split("|")], int).T
    return pd.Series(tier_by_rule(*ratings), cases.split("|"))


@metric
def task_tier(basis, task):
    """Lowest and highest tier that the article's rule gives a task at its ratings."""
    if task not in basis.tasks.index:
        raise ValueError(unknown("task", task, basis.tasks.index))
    return task_tiers(basis.tasks.loc[[task]]).iloc[0].set_axis(["from", "to"])


@metric
def measured(basis, names):
    """Numbers of data/measured.csv: computed from public data by this kit, and checked against it by a test."""
    return load_measured()["value"].loc[names.split("|")]


@metric
def rank_per_usd(basis, tier):
    """Rank of a tier by recorded score per dollar; 1 is the most."""
    values = load_measured()["value"]
    values = values[values.index.str.startswith("points_per_usd_")]
    return float((values > values[f"points_per_usd_{tier}"]).sum() + 1)


def load_measured(path=DATA / "measured.csv"):
    """data/measured.csv by name: value, unit, source, how."""
    return pd.read_csv(path).set_index("name")


def article_router(message, ask):
    """The article's two-tier router, line for line in what it does: `ask(model, text)` stands for the API."""
    said = ask("small", message).strip().lower()
    return ask("flagship" if said == "complex" else "small", message)


@metric
def router_calls(basis, replies):
    """Calls that the article's router makes for one message, by the classifier's reply."""
    return pd.Series({reply: len(_asked(reply)) for reply in replies.split("|")})


@metric
def router_tiers(basis, replies):
    """Number of tiers that the article's router can answer with."""
    return float(len({_asked(reply)[-1] for reply in replies.split("|")}))


@metric
def router_unsafe(basis, replies):
    """How many replies that do not say "simple" the article's router sends to the small model."""
    return float(sum(_asked(reply)[-1] == "small" for reply in replies.split("|")))


def _asked(reply):
    calls = []
    article_router("a message", lambda model, _: (calls.append(model), reply)[1])
    return calls
