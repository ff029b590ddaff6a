"""Rules that compute the number behind each of the article's claims: money, quality, choices, tuning and time.

Every rule is a function marked `@metric`. It takes a `Basis` and its arguments as text, and returns a number or a Series
of numbers by label.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import pandas as pd

from tierlab.core.paths import DATA
from tierlab.core.product import Conversation
from tierlab.core.tables import load_tasks
from tierlab.core.vocabulary import TIERS
from tierlab.decide.tasks import task_tiers, tier_by_rule
from tierlab.evaluate.planning import required_examples
from tierlab.prices.catalog import Prices
from tierlab.prices.pricing import reprice
from tierlab.reasoning.distillation import tunable_models
from tierlab.reasoning.effort import billed_output, load_efforts
from tierlab.routing.policies import Rules
from tierlab.routing.route import route
from tierlab.routing.sessions import Caches, equal_conversations
from tierlab.scaling.costs import error_cost_break_even
from tierlab.speed.latency import router_seconds, seconds_range
from tierlab.speed.speeds import load_published, load_speeds, published_factors

# The article's own example (Why It Matters), and its shares of routed traffic (Routing and Hybrid Strategies).
REQUESTS_PER_DAY, INPUT_TOKENS, OUTPUT_TOKENS, DAYS_PER_MONTH = 1_000_000, 500, 300, 30
ROUTED_SHARES = (0.70, 0.80)
# Our estimates: the message plus about 45 tokens of the article's two classifier prompts, a reply of one word,
# and by how much a flagship's error rate is lower.
CLASSIFIER_TOKENS, ERROR_GAP = (INPUT_TOKENS + 45, 3), 0.05
MIXES = "input|output|blended"
TEXT = "the article's text"
MEASURED = "data/measured.csv: recorded answers of public data sets"
RECORDED = "data/samples: recorded answers of open models, and of a student that one of them taught"
PUBLISHED = "data/published_speeds.csv: what public pages say, read on 2026-11-24"
METRICS = {}


class NoFigure(ValueError):
    """A catalogue lacks what a rule needs; the claim cannot be checked against it."""


@dataclass(frozen=True)
class Basis:
    """What a rule may look at.

    Attributes
    ----------
    prices : Prices
        The catalogue that gives the figures.
    catalogues : mapping of str to Prices
        Both catalogues, "article" and "maintained".
    """

    prices: Prices
    catalogues: Mapping[str, Prices]


def metric(source=""):
    """Register a function under its own name, so that a rule in data/claims.csv can name it.

    Parameters
    ----------
    source : str
        The data of a rule that looks at no prices.
    """

    def register(function):
        function.source = source
        METRICS[function.__name__] = function
        return function

    return register


def in_force(prices, on=None):
    """Return the rates of a day by model, the lowest context step first."""
    return prices.in_force(on).sort_values("context_above", kind="stable")


def base_rates(prices):
    """Return the rates of the lowest context step, indexed by model."""
    return in_force(prices).drop_duplicates("model_id").set_index("model_id")


def find_models(prices, text):
    """Resolve the models that a rule names.

    Parameters
    ----------
    prices : Prices
    text : str
        Slots of the lineup on the catalogue's day, or names of models: "anthropic.small|gpt-4o".

    Returns
    -------
    list of str
        Model ids.

    Raises
    ------
    NoFigure
        If the catalogue has no such model.
    """
    found = []
    for name in text.split("|"):
        provider, _, tier = name.rpartition(".")
        try:
            found.append(
                prices.resolve(prices.lineup().at[provider, tier] if tier in TIERS else name)
            )
        except (KeyError, ValueError) as error:
            raise NoFigure(f"no model {name} in {prices.source}") from error
    return found


def approximate_models(prices, args):
    """Return the models that a rule's arguments name by slot and whose price the catalogue itself calls approximate."""
    slots = re.findall(rf"(\w+\.(?:{'|'.join(TIERS)}))", args)
    rows = in_force(prices)
    rough = set(rows.loc[rows["approximate"], "model_id"])
    return sorted(rough.intersection(find_models(prices, "|".join(slots)))) if slots else []


def rates(prices, names, input_tokens=INPUT_TOKENS, *, on=None):
    """Return what each model charges at one input length.

    Parameters
    ----------
    prices : Prices
    names : sequence of str
        Model ids.
    input_tokens : int
    on : str, optional
        ISO date; by default the day of the prices.

    Returns
    -------
    DataFrame
        Indexed by model, USD per million tokens: input, output, blended (the article's 500 + 300 tokens). NaN where the
        length exceeds the model's context window.

    Raises
    ------
    NoFigure
        If a model has no price.
    """
    table = _rates_of_all(prices, input_tokens, on)
    missing = [name for name in names if name not in table.index]
    if missing:
        raise NoFigure(f"no price of {', '.join(missing)} in {prices.source}")
    return table.loc[list(names)]


@lru_cache(maxsize=32)  # the claims ask for the same few lengths and days again and again
def _rates_of_all(prices, input_tokens, on):
    rows = in_force(prices, on)
    rows = rows[rows["context_above"] < input_tokens]
    rows = rows.drop_duplicates("model_id", keep="last").set_index("model_id")
    table = rows[["uncached_input", "output"]].set_axis(["input", "output"], axis=1)
    table["blended"] = (
        table @ np.array([INPUT_TOKENS, OUTPUT_TOKENS]) / (INPUT_TOKENS + OUTPUT_TOKENS)
    )
    return table.where(~(rows["context_window"] < input_tokens), np.nan)


def request_usd(prices, models, tokens=(INPUT_TOKENS, OUTPUT_TOKENS)):
    """Price one request on each of some models.

    Parameters
    ----------
    prices : Prices
    models : str
        As for `find_models`.
    tokens : (int, int)
        Input and output.

    Returns
    -------
    Series
        US dollars by model id.
    """
    one = pd.DataFrame({"uncached_input_tokens": [tokens[0]], "output_tokens": [tokens[1]]})
    return reprice(one, prices, find_models(prices, models)).iloc[0]


def _pair_usd(basis, higher, lower):
    return (request_usd(basis.prices, side).to_numpy() for side in (higher, lower))


def _classifier_usd(basis, model):
    return request_usd(basis.prices, model, CLASSIFIER_TOKENS).iloc[0] if model else 0.0


def _lengths(text):
    return [int(tokens) for tokens in str(text).split("|")]


def _over_lengths(values_at, input_tokens):
    """Return values at the first input length, then those that another length changes (and that still fit the window)."""
    first, *others = _lengths(input_tokens)
    parts = [values_at(first)]
    for tokens in others:
        far = values_at(tokens)
        changed = far.notna() & ~np.isclose(far, parts[0])
        parts.append(far[changed].add_suffix(f" at {tokens:,} tokens"))
    return pd.concat(parts)


def _labels(names, mixes):
    kinds = mixes if len(mixes) > 1 else [""]
    return [f"{name} {kind}".strip() for name, kind in product(names, kinds)]


def _price_ratio(prices, higher, lower, mix=MIXES, input_tokens=INPUT_TOKENS):
    """Return the price of the lower over the higher model of each pair, by mix and input length."""
    higher, lower = np.broadcast_arrays(find_models(prices, higher), find_models(prices, lower))
    mixes = mix.split("|")
    names = [f"{x} / {y}" if len(higher) > 1 else "" for x, y in zip(higher, lower, strict=True)]
    labels = _labels(names, mixes)

    def ratio_at(tokens):
        over, under = (rates(prices, side, tokens)[mixes].to_numpy() for side in (higher, lower))
        return pd.Series((under / over).ravel(), labels)

    return _over_lengths(ratio_at, input_tokens)


@metric(source=TEXT)
def reading_speed(basis, words, minutes):
    """Return words per minute."""
    return float(words) / float(minutes)


@metric(source=TEXT)
def tokens_per_request(basis):
    """Return input and output tokens of the article's request."""
    return INPUT_TOKENS + OUTPUT_TOKENS


@metric()
def ordered_models(basis, on=None):
    """Count the lineup models whose provider's blended prices fall strictly from flagship to mid to small."""
    lineup = basis.prices.lineup(on)
    falling = [
        (np.diff(rates(basis.prices, row, on=on)["blended"]) > 0).all() for row in lineup.to_numpy()
    ]
    return 3 * sum(falling)


@metric()
def tier_of(basis, names):
    """Return the tier (1 small to 3 flagship) that the catalogue gives each named model."""
    tier = basis.prices.by_model["tier"]
    found = find_models(basis.prices, names)
    return tier[found].map({name: i + 1 for i, name in enumerate(TIERS)})


@metric()
def list_price(basis, models, mix="input|output", input_tokens=INPUT_TOKENS):
    """Return USD per million tokens of each model, by mix and input length."""
    names, mixes = find_models(basis.prices, models), mix.split("|")
    labels = _labels(names if len(names) > 1 else [""], mixes)

    def price_at(tokens):
        return pd.Series(rates(basis.prices, names, tokens)[mixes].to_numpy().ravel(), labels)

    return _over_lengths(price_at, input_tokens)


@metric()
def cost_ratio(basis, higher, lower, mix=MIXES, input_tokens=INPUT_TOKENS):
    """Return how many times more the higher model costs than the lower one."""
    return 1 / _price_ratio(basis.prices, higher, lower, mix, input_tokens)


@metric()
def saving(basis, higher, lower, mix=MIXES, input_tokens=INPUT_TOKENS):
    """Return the share by which the lower model costs less than the higher one."""
    return 1 - _price_ratio(basis.prices, higher, lower, mix, input_tokens)


@metric()
def output_gap(basis, higher, lower, input_tokens=INPUT_TOKENS):
    """Return the ratio of output prices over the ratio of input prices, the more expensive to the cheaper model."""

    def gap_at(tokens):
        return _price_ratio(basis.prices, higher, lower, "input", tokens) / _price_ratio(
            basis.prices, higher, lower, "output", tokens
        )

    return _over_lengths(gap_at, input_tokens)


@metric()
def gap_spread(basis, higher, lower):
    """Return the largest over the smallest price ratio of the pairs, on the article's own request."""
    ratios = _price_ratio(basis.prices, higher, lower, "blended")
    return ratios.max() / ratios.min()


@metric()
def catalogue_gap(basis, models):
    """Return the share by which the maintained input price lies above the article's."""
    theirs, ours = (
        rates(basis.catalogues[name], find_models(basis.catalogues[name], models))["input"]
        for name in ("article", "maintained")
    )
    return ours / theirs - 1


@metric()
def price_rank(basis, model, mix):
    """Return the rank of a model's price in its lineup, 1 the lowest; equal prices share the lower rank."""
    table = rates(basis.prices, basis.prices.models())[mix]
    return table.rank(method="min")[find_models(basis.prices, model)[0]]


@metric()
def lineup_price_change(basis, start, end):
    """Return the blended price of each provider's tier at the end over that at the start."""
    now, then = (
        rates(basis.prices, basis.prices.models(day), on=day)["blended"].to_numpy()
        for day in (end, start)
    )
    slots = basis.prices.lineup(start).stack().index.map(".".join)
    return pd.Series(now / then, slots)


@metric()
def cheapest_changed(basis, start, end):
    """Count the tiers whose cheapest lineup model, by blended price, is another one at the end."""

    def cheapest(tier, day):
        return rates(basis.prices, basis.prices.lineup(day)[tier], on=day)["blended"].idxmin()

    return sum(cheapest(tier, start) != cheapest(tier, end) for tier in TIERS)


@metric()
def context_window(basis, models):
    """Return the context window in tokens."""
    table = base_rates(basis.prices)
    return table["context_window"].reindex(find_models(basis.prices, models))


@metric()
def window_at_base_price(basis, models):
    """Return the tokens that fit at the lowest price: the window, or the first context step if that comes sooner."""
    steps = (
        in_force(basis.prices).query("context_above > 0").groupby("model_id")["context_above"].min()
    )
    windows = context_window(basis, models)
    return windows.combine(steps.reindex(windows.index), np.fmin).where(windows.notna())


@metric()
def long_context_ratio(basis, models, short, long):
    """Return the input price per token of a long request over that of a short one."""
    names = find_models(basis.prices, models)
    far, near = (rates(basis.prices, names, int(tokens))["input"] for tokens in (long, short))
    return far / near


@metric()
def day_cost(basis, mix, classifier=""):
    """Return US dollars a day of the article's volume, split over models by share."""
    slots, shares = zip(*(part.split(":") for part in mix.split("|")), strict=True)
    daily = REQUESTS_PER_DAY * request_usd(basis.prices, "|".join(slots))
    return daily @ np.array(shares, float) + REQUESTS_PER_DAY * _classifier_usd(basis, classifier)


@metric()
def volume_cost(basis, models, requests):
    """Return US dollars of a number of the article's requests, per model."""
    return float(requests) * request_usd(basis.prices, models)


@metric()
def month_difference(basis, higher, lower):
    """Return US dollars a month between two models at the article's volume."""
    over, under = _pair_usd(basis, higher, lower)
    return DAYS_PER_MONTH * REQUESTS_PER_DAY * (over - under)[0]


@metric()
def error_cost(basis, higher, lower):
    """Return US dollars per error above which the higher model pays, if its error rate is ERROR_GAP lower."""
    over, under = _pair_usd(basis, higher, lower)
    return pd.Series(
        error_cost_break_even(over, under, 0, ERROR_GAP), find_models(basis.prices, higher)
    )


@metric()
def fixed_cost_requests(basis, fixed_usd, higher, lower):
    """Return the requests after which going from the higher to the lower model has repaid a fixed cost."""
    over, under = _pair_usd(basis, higher, lower)
    return float(fixed_usd) / (over - under)[0]


@metric(source=TEXT)
def flagship_share(basis):
    """Return the share left to the flagship when the routed shares go elsewhere."""
    return pd.Series({f"of {share:.0%}": 1 - share for share in ROUTED_SHARES})


@metric()
def routed_saving(basis, higher, lower, classifier=""):
    """Return the share saved against the higher model alone, at both ends of the routed shares."""
    (over,), (under,) = _pair_usd(basis, higher, lower)
    call = _classifier_usd(basis, classifier)
    return pd.Series({f"at {s:.0%}": s * (1 - under / over) - call / over for s in ROUTED_SHARES})


@metric()
def conversation_saving(
    basis, higher, lower, decided, turns, system_tokens, input_tokens, output_tokens
):
    """Return the same in conversations, expected over every order of the turns, each model with its own prompt cache.

    The model is drawn for each turn, or once for the whole conversation (`decided` is "turn" or "conversation").
    """
    (top,), (bottom,) = find_models(basis.prices, higher), find_models(basis.prices, lower)
    both = in_force(basis.prices).set_index("model_id").loc[[top, bottom]]
    if both[["cache_read", "cache_write_short"]].isna().any(axis=None):
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
    """Return the share of requests that must go to the lower model before the classifier call, made on it, pays."""
    (over,), (under,) = _pair_usd(basis, higher, lower)
    return _classifier_usd(basis, lower) / (over - under)


@metric()
def routing_month_saving(basis, higher, lower, requests_per_day):
    """Return US dollars a month saved by sending 80% to the lower model, with the classifier call."""
    share = routed_saving(basis, higher, lower, classifier=lower).iloc[-1]
    monthly = DAYS_PER_MONTH * request_usd(basis.prices, higher).iloc[0]
    return pd.Series({f"{n:,} a day": n * monthly * share for n in _lengths(requests_per_day)})


@metric()
def lever_saving(basis, levers="batch|cache"):
    """Return the share that each lever saves per lineup model.

    The batch rate is applied to the article's request, a cache read to one input token.
    """
    table = base_rates(basis.prices).loc[basis.prices.models()]
    tokens = np.array([INPUT_TOKENS, OUTPUT_TOKENS])
    plain = table[["uncached_input", "output"]] @ tokens
    paid = {
        "batch": table[["batch_uncached_input", "batch_output"]] @ tokens / plain,
        "cache": table["cache_read"] / table["uncached_input"],
    }
    return pd.concat([(1 - paid[lever]).add_suffix(f" {lever}") for lever in levers.split("|")])


def load_measured(path=DATA / "measured.csv"):
    """Read the numbers that were computed from public data.

    Parameters
    ----------
    path : path
        A table like data/measured.csv.

    Returns
    -------
    DataFrame
        Indexed by name: value, unit, source, how.
    """
    return pd.read_csv(path).set_index("name")


@metric(source=MEASURED)
def measured(basis, names):
    """Return numbers of data/measured.csv, which this kit computed from public data and a test computes again."""
    return load_measured()["value"].loc[names.split("|")]


@metric(source=MEASURED)
def rank_per_usd(basis, tier):
    """Return the rank of a tier by recorded score per dollar; 1 is the most."""
    values = load_measured()["value"]
    values = values[values.index.str.startswith("points_per_usd_")]
    return float((values > values[f"points_per_usd_{tier}"]).sum() + 1)


@metric(source=MEASURED)
def examples_needed(basis, margin, disagreement):
    """Return the examples that show "not worse by more than the margin" of equally good models that disagree as measured."""
    shares = measured(basis, disagreement)
    return shares.map(
        lambda share: float(required_examples(margin=float(margin), discordant=share))
    )


@metric(source=RECORDED)
def recorded(basis, name):
    """Return the numbers of one name in data/recorded.csv by label, with their interval where there is one.

    They come from recorded answers, and a test computes them again.
    """
    rows = pd.read_csv(DATA / "recorded.csv")
    return rows[rows["name"] == name].set_index("label")["value"]


@metric(source="data/fine_tuning.csv: what the providers' pages say, dated")
def tunable(basis, models, on):
    """Return 1 for each model that its provider, or a platform, lets somebody tune on a day; else 0."""
    names = tunable_models(on)
    return pd.Series({model: float(model in names) for model in find_models(basis.prices, models)})


@metric(source="the article's two questions")
def rule_tier(basis, cases):
    """Return the tier that the article's rule gives each "stakes-complexity" case."""
    ratings = np.array([case.split("-") for case in cases.split("|")], int).T
    return pd.Series(tier_by_rule(*ratings), cases.split("|"))


@metric(source="data/tasks.csv: our own ratings")
def task_tier(basis, task):
    """Return the lowest and highest tier that the article's rule gives a task at its ratings."""
    return task_tiers(load_tasks().loc[[task]]).iloc[0].set_axis(["from", "to"])


@metric(source="the article's code, run against a stand-in client")
def router_sketch(basis, replies, count):
    """Count what the article's router does with each reply of its classifier.

    `count` is calls (for one message: the classifier's and the chosen model's), tiers (that answer), or unsafe (replies
    after which the small model answers).
    """
    answered = pd.Series(replies.split("|")).str.strip().str.lower().eq("complex")
    counts = {"calls": 2.0, "tiers": answered.nunique(), "unsafe": (~answered).sum()}
    return float(counts[count])


@metric(source=PUBLISHED)
def published_speed(basis, models):
    """Return the lowest and highest output tokens per second that public pages give each model."""
    speeds = load_published().groupby("model_id")["tokens_per_s"]
    return _ends(speeds.min(), speeds.max(), find_models(basis.prices, models))


@metric(source=PUBLISHED)
def published_factor(basis, tier):
    """Return how many times faster than its provider's flagship a tier is: lowest and highest of every pair of pages."""
    factors = published_factors(load_published())
    factors = factors[factors["tier"] == tier].set_index("provider")
    return _ends(factors["factor_low"], factors["factor_high"], factors.index)


@metric(source=PUBLISHED)
def published_lead(basis, fast, slow):
    """Return how many times faster one model is than others: lowest and highest of every pair of pages."""
    speeds = load_published().groupby("model_id")["tokens_per_s"]
    (first,), others = find_models(basis.prices, fast), find_models(basis.prices, slow)
    low, high = (ends.reindex([first, *others]) for ends in (speeds.min(), speeds.max()))
    return _ends(low[first] / high[others], high[first] / low[others], others)


@metric(source=f"data/router_speeds.csv: recorded on one machine; {PUBLISHED}")
def embedding_wait(basis, models):
    """Return the slow end of a local embedding router over each model's time to the first token as a classifier."""
    waits = load_published().groupby("model_id")["ttft_s"]
    slow = router_seconds("embedding_local")[2]
    return _ends(slow / waits.max(), slow / waits.min(), find_models(basis.prices, models))


@metric(source="data/speeds.csv: speeds of the article, waits assumed")
def wait_share(basis, seconds, models):
    """Return which share some seconds are of one answer of the article's length."""
    times = seconds_range(load_speeds(), OUTPUT_TOKENS).set_index("model_id")["seconds"]
    return float(seconds) / times.reindex(find_models(basis.prices, models))


@metric(source="data/efforts.csv: assumed")
def reasoning_slowdown(basis, efforts):
    """Return how many times the tokens, and at one speed the time, an answer takes with reasoning at each effort."""
    shares = load_efforts()["share"][efforts.split("|")]
    return pd.Series(billed_output(1, shares), shares.index)


def _ends(low, high, names):
    """Return the two ends for each name, or one value where they are equal; missing where there is no page."""
    found = {}
    for name in names:
        first, last = low.get(name, np.nan), high.get(name, np.nan)
        one = {name: first}
        found |= {f"{name} from": first, f"{name} to": last} if first < last else one
    return pd.Series(found)
