"""The models that could do a task, side by side: what a request costs on each, errors and waiting included.

Error rates come from one place (samples, counts, rates given by hand, or the task's assumptions), prices from the
catalogue over a workload or from what samples cost; both are drawn over their ranges.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from zlib import crc32

import numpy as np
import pandas as pd

from tierlab.core.vocabulary import ANSWERED, TIERS, unknown
from tierlab.decide.tasks import assumed, error_with_tools, expected_cost, rated
from tierlab.evaluate.compare import check_margin
from tierlab.evaluate.rows import levels, mostly_failing, scored_rows
from tierlab.routing.outcomes import price_outcomes
from tierlab.routing.sources import as_tiers
from tierlab.scaling.costs import APPROXIMATE_BAND, daily_cost
from tierlab.scaling.workload import Workload
from tierlab.speed.latency import seconds_per_request
from tierlab.speed.speeds import load_speeds

DRAWS = 1_000
INTERVAL = f"90% of {DRAWS:,} draws over the stated ranges"
AGENT_CALLS = 5  # tool calls of an agentic request where none are given: an assumption
_WORKLOADS = 16  # workloads drawn from a range: each prices every model
_TOKENS = ["uncached_input_tokens", "output_tokens"]
_ENDS = ["value", "low", "high"]
_COLUMNS = [
    "provider",
    "tier",
    "model_id",
    "price_usd",
    "price_basis",
    "error_rate",
    "error_low",
    "error_high",
    "seconds",
    "error_usd",
    "time_usd",
    "expected_usd",
    "low",
    "high",
    "best_share",
    "note",
]
_FLAGS = {
    "approximate_price": "is approximate",
    "before_first_price": "is its first known one, of a later day",
    "stale_price": "was checked long ago",
    "assumed_batch_rate": "has an assumed batch rate",
    "assumed_write_rate": "has an assumed rate for cache writes",
    "assumed_peak_hours": "is that of its peak hours",
    "assumed_platform": "is that of another seller",
}


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known about the models that could do a task; what is left out is assumed from the task.

    Mappings go by model or by tier. A range is a (low, high) pair or a (value, low, high) triple.

    Attributes
    ----------
    samples : DataFrame, optional
        Answers of the candidates to your examples (`tierlab.sample`, or an outcomes table). Errors and dollars per
        request are measured, pair by pair on the examples that both have a score on
        (`tierlab.evaluate.compare.levels`); where an answer has no cost, its own tokens are priced at the rates of
        the day. Seconds are the median.
    error_counts : mapping, optional
        (wrong answers, examples) of your own, by model, or by a tier that one candidate has.
    error_rates : mapping, optional
        Share 0-1 of requests answered wrongly, or a range.
    seconds : mapping, optional
        Seconds per request, or a range; by default those of the samples or of data/speeds.csv.
    tool_error_rates : mapping, optional
        Share of wrong tool calls, or a range; by default assumed.
    truncated : {"set_aside", "wrong"}
        As for `tierlab.compare`: whether an answer cut off by its limit has no score or a score of 0.
    margin : float
        How much worse than a rival the choice may be, 0-1: samples of fewer examples than that takes are not filed as
        a decision (`tierlab.file_record`).

    Raises
    ------
    ValueError
        For error rates from two places, or a margin that is not a share between 0 and 1.
    """

    samples: pd.DataFrame | None = None
    error_counts: Mapping | None = None
    error_rates: Mapping | None = None
    seconds: Mapping | None = None
    tool_error_rates: Mapping | None = None
    truncated: str = "set_aside"
    margin: float = 0.05

    def __post_init__(self):
        check_margin(self.margin)
        if (self.samples is not None) + bool(self.error_rates) + bool(self.error_counts) > 1:
            raise ValueError(
                "error rates come from one place: give samples, error_rates or error_counts"
            )


@dataclass(frozen=True, eq=False)
class Filed:
    """What a decision record adds to a question that is asked again.

    Attributes
    ----------
    own_prices : dict
        USD per request of models that the catalogue does not have.
    spread : DataFrame
        By model: worth, shared, and the model that it is like (see `Errors`).
    """

    own_prices: dict
    spread: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Options:
    """What `weigh` found.

    Attributes
    ----------
    table : DataFrame
        One row per model, the lowest total cost first: provider, tier, model_id; USD per request: price_usd, error_usd,
        time_usd, expected_usd (at the values shown, not averaged over their ranges), low, high (`INTERVAL`);
        price_basis ("catalogue", "samples", "given"); error_rate, error_low, error_high (share 0-1), seconds;
        best_share (share of the draws in which it is the cheapest), note (why a model is out of the running).
    error_cost_usd, error_cost_low, error_cost_high, second_usd : float
    tool_calls : int
        Per request, counted for assumed and given error rates only.
    counted : dict
        Model -> number of examples behind its error rate.
    basis : str
        Where the error rates come from: "assumed", "counted", "given", or the source of the samples.
    grounds : tuple of str
        Where the numbers come from that the catalogue does not give, as sentences.
    spread : DataFrame
        By model_id, what the draws are made of besides the table: worth, shared (see `Errors`), seconds_low,
        seconds_high.
    rows : DataFrame or None
        The samples, scored.
    """

    table: pd.DataFrame
    error_cost_usd: float
    error_cost_low: float
    error_cost_high: float
    second_usd: float
    tool_calls: int
    counted: dict
    basis: str
    grounds: tuple = field(repr=False)
    spread: pd.DataFrame = field(repr=False)
    rows: pd.DataFrame | None = field(repr=False, default=None)

    def running(self):
        """The rows that can be chosen."""
        return self.table[self.table["expected_usd"].notna()]


@dataclass(frozen=True, eq=False)
class Errors:
    """Error rates by model.

    Attributes
    ----------
    table : DataFrame
        By model: value, low, high (share 0-1); worth, how many independent right-or-wrong examples the rate is worth (0 for
        a range that nobody counted); shared, how far it moves with what all models have in common (-1 to 1; 0 is a rate
        that is known by itself); like, where it is there, the model whose rate it borrows.
    basis : str
        "assumed", "counted", "given", or the source of the samples.
    counted : dict
        Model -> number of examples, for rates that were counted on whole tasks.
    grounds : list of str
    paid : Series or None
        US dollars per request by model, as measured on the same examples.
    """

    table: pd.DataFrame
    basis: str
    counted: dict
    grounds: list
    paid: pd.Series | None = None


def weigh(
    *,
    prices,
    task=None,
    error_cost_usd=None,
    second_usd=0.0,
    workload=None,
    provider=None,
    models=None,
    evidence=None,
    filed=None,
    seed=0,
):
    """Price, errors and time of a request on each model; parameters as for `tierlab.recommend`.

    Parameters
    ----------
    filed : Filed, optional
        Of a record that is reviewed.

    Returns
    -------
    Options

    Notes
    -----
    Draws take the ends of the ranges for granted: half lie below the central value and half above, evenly to each
    end. What is uncertain about the errors of a task moves all tiers together (a task is harder or easier than
    thought, and so are its tool calls), and so does a workload that is a range: all models share one draw. What was counted
    is drawn for each model; in samples, as far as they show it, models err on the same examples. Waiting counts for the
    requests that are not in batch. Every quantity has a stream of random numbers of its own, so that a record that is
    reviewed draws what it drew when it was filed.
    """
    workload = workload or Workload(requests_per_day=1_000)
    evidence = evidence or Evidence()
    task = None if task is None else rated(task)
    own_prices = filed.own_prices if filed else {}
    if not (np.isfinite(second_usd) and second_usd >= 0):
        raise ValueError(f"second_usd={second_usd}; a cost is a number, 0 or more")
    if workload.point().requests_per_day <= 0:
        raise ValueError("requests_per_day is 0: a price per request needs requests")
    rows, priced = None, []
    if evidence.samples is not None:
        rows, priced = _scored(evidence, models, prices)
    tiers = _candidates(prices, provider, models, rows, own_prices)
    evidence = _keyed(evidence, prices, tiers)
    errors = _errors(evidence, tiers, task, rows)
    ends = errors.table if filed is None else errors.table.assign(**filed.spread)
    ends, tool_calls, tooled = _with_tools(ends, errors, tiers, task, evidence.tool_error_rates)
    price, price_draws, bought = _prices(tiers, workload, prices, errors.paid, own_prices, seed)
    price.loc[ends["value"].isna() & price["note"].eq(""), "note"] = (
        "no example with a scored answer in common with the others"
    )
    cost, cost_draws, costed = _error_cost(error_cost_usd, task, seed)
    times, timed = _seconds(evidence.seconds, tiers, price["provider"], workload, rows)
    unknown_speed = times.index[times["value"].isna()]
    if second_usd and len(unknown_speed):
        raise ValueError(
            f"no speed is known of {', '.join(unknown_speed)}; give seconds={{model: seconds}}"
        )
    waits = second_usd * (1 - workload.point().batch_share)
    table = price.assign(
        error_rate=ends["value"],
        error_low=ends["low"],
        error_high=ends["high"],
        seconds=times["value"],
        error_usd=ends["value"] * cost["value"],
        time_usd=times["value"] * waits if waits else 0.0,
    )
    table["expected_usd"] = table["price_usd"] + table["error_usd"] + table["time_usd"]
    draws = expected_cost(
        price_draws,
        _error_draws(ends, seed),
        cost_draws,
        spread(times, _stream(seed, "time").random(DRAWS)) if waits else 0.0,
        waits,
    )
    running = table["expected_usd"].notna().to_numpy()
    if not running.any():
        raise ValueError(
            "no model is left to choose from: "
            + "; ".join(f"{i}: {n or 'no number'}" for i, n in table["note"].items())
        )
    low, high = np.quantile(np.where(running, draws, 0.0), [0.05, 0.95], axis=0)
    table["low"] = np.minimum(low, table["expected_usd"]).where(running)
    table["high"] = np.maximum(high, table["expected_usd"]).where(running)
    table["best_share"] = _cheapest_share(np.where(running, draws, np.inf))
    table = table.sort_values(["expected_usd", "price_usd"], kind="stable").reset_index()[_COLUMNS]
    return Options(
        table=table,
        error_cost_usd=cost["value"],
        error_cost_low=cost["low"],
        error_cost_high=cost["high"],
        second_usd=float(second_usd),
        tool_calls=tool_calls,
        counted=errors.counted,
        basis=errors.basis,
        grounds=(
            *priced,
            *errors.grounds,
            *tooled,
            *bought,
            *costed,
            *(timed if second_usd else ()),
        ),
        spread=ends[["worth", "shared"]].assign(
            seconds_low=times["low"], seconds_high=times["high"]
        ),
        rows=rows,
    )


def _stream(seed, name):
    """Random numbers of one quantity."""
    return np.random.default_rng([seed, crc32(name.encode())])


def _cheapest_share(draws):
    """Share of the draws in which each model is the cheapest; those that tie share one."""
    best = draws <= draws.min(axis=1, keepdims=True) * (1 + 1e-12)
    return (best / best.sum(axis=1, keepdims=True)).mean(axis=0)


# Who is compared


def resolved(name, prices):
    """The catalogue's name of a model, or the name itself."""
    try:
        return prices.resolve(name)
    except ValueError:
        return name


def _scored(evidence, models, prices):
    """The scored rows of the candidates, under the catalogue's names, with a cost wherever one is known; and grounds."""
    rows = scored_rows(evidence.samples, truncated=evidence.truncated)
    names = {name: resolved(name, prices) for name in rows["model_id"].unique()}
    if len(set(names.values())) < len(names):
        raise ValueError(f"two names of the samples are one model: {', '.join(names)}")
    rows["model_id"] = rows["model_id"].map(names)
    if models is not None:
        asked = [resolved(name, prices) for name in models]
        for name in asked:
            if name not in names.values():
                raise ValueError(
                    f"{unknown('model', name, names.values())}; the samples hold no answer of it"
                )
        rows = rows[rows["model_id"].isin(asked)].reset_index(drop=True)
    answered, grounds = rows["status"].isin(ANSWERED), []
    counted = rows.reindex(columns=_TOKENS).notna().all(axis=1)
    unpriced = answered & rows["cost_usd"].isna() & counted
    if unpriced.any():
        priced = price_outcomes(rows[unpriced], prices)
        rows.loc[unpriced, "cost_usd"] = priced["cost_usd"]
        known = priced["cost_usd"].notna().groupby(priced["model_id"], sort=False).sum()
        grounds = [
            f"{n:,} answers of {name} are priced from their own tokens at the rates of {prices.as_of:%Y-%m-%d}"
            for name, n in known[known > 0].items()
        ]
    if not rows.loc[answered, "cost_usd"].notna().any():
        raise ValueError(
            "what an answer cost is not known: the samples need a column cost_usd, or token counts (uncached_input_tokens, "
            "output_tokens) of models that the catalogue prices; one length for every model would not be a measured cost"
        )
    return rows, grounds


def _candidates(prices, provider, models, rows, own_prices):
    """Tier of each candidate ("" for none), by model id."""
    named = models is not None or rows is not None
    if provider is not None and named:
        raise ValueError(
            "provider picks from the lineup; with models or samples the candidates are named already"
        )
    has_lineup = len(prices.lineups) or not named
    lineup = prices.lineup() if has_lineup else pd.DataFrame(columns=list(TIERS))
    if provider is not None and provider not in lineup.index:
        raise ValueError(unknown("provider", provider, lineup.index))
    sampled = {}
    if rows is not None:
        names = rows["model_id"].unique()
        if len(names) > 1:
            sampled = as_tiers(rows).set_index("model_id")["tier"].to_dict()
    elif models is not None:
        names = dict.fromkeys(
            name if name in own_prices else prices.resolve(name) for name in models
        )
    else:
        names = (lineup if provider is None else lineup.loc[[provider]]).stack().dropna()
    # The lineup knows best, then the catalogue; a model outside both has its place among the samples.
    slots = {model: tier for tier in TIERS for model in lineup[tier].dropna()}
    tiers = sampled | prices.by_model["tier"].dropna().to_dict() | slots
    if not len(names):
        raise ValueError("there is no model to choose from")
    return pd.Series({name: tiers.get(name, "") for name in names})


def _keyed(evidence, prices, tiers):
    """The evidence with the catalogue's names as keys; a name that nobody knows is refused with the nearest."""
    keyed = {}
    for what in ("error_counts", "error_rates", "seconds", "tool_error_rates"):
        given = getattr(evidence, what) or {}
        known = {key for key in given if key in TIERS or key in tiers}
        names = {key: key if key in known else resolved(key, prices) for key in given}
        for name in names.values():
            if name not in TIERS and name not in tiers:
                known = [*TIERS, *tiers.index]
                raise ValueError(f"{what}: " + unknown("model or tier", name, known))
        keyed[what] = {names[key]: value for key, value in given.items()}
    return replace(evidence, **keyed)


# How often they err


def _errors(evidence, tiers, task, rows):
    """Error rates of the candidates from the one place that was given.

    Notes
    -----
    Counts have the posterior of Jeffreys' prior, Beta(wrong + 1/2, right + 1/2): its mean is the value, so that 0 wrong
    of 10 is not "never", and its interval is close to Wilson's (Brown, Cai, DasGupta 2001,
    doi:10.1214/ss/1009213286). Samples (`rows`, of `tierlab.evaluate.rows.scored_rows`) have the rates of `tierlab.evaluate.rows.levels`,
    which `compare` has as well, with a Beta of that mean: as wide as the errors clustered by group, and never narrower at 0
    than Jeffreys'. Their correlations, by which examples that are hard for all models move all rates, are those of one
    common factor.
    """
    if rows is not None:
        return _sampled_errors(tiers, rows)
    if evidence.error_rates:
        table = _ranged("error_rates", evidence.error_rates, tiers, top=1)
        return Errors(
            table.assign(worth=0.0, shared=1.0), "given", {}, ["error rates are given by hand"]
        )
    counts = _counts(evidence.error_counts, tiers)
    uncounted, parts, grounds = tiers.drop(list(counts)), [], []
    if len(uncounted):
        table, ground = _assumed_errors(uncounted, task)
        parts.append(table.assign(worth=0.0, shared=1.0))
        grounds.append(ground)
    if counts:
        wrong, examples = np.array(list(counts.values()), float).T
        rate = (wrong + 0.5) / (examples + 1)
        low, high = _jeffreys(rate, examples)
        own = {"value": rate, "low": low, "high": high, "worth": examples, "shared": 0.0}
        parts.append(pd.DataFrame(own, index=list(counts)))
        said = ", ".join(f"{name} {bad} of {n}" for name, (bad, n) in counts.items())
        grounds.append(
            f"wrong answers counted on examples of yours: {said} (the rate is (wrong + 1/2) / (examples + 1), with its 95% interval)"
        )
    table = pd.concat(parts).loc[tiers.index]
    counted = {name: n for name, (_, n) in counts.items()}
    return Errors(table, "counted" if counts else "assumed", counted, grounds)


def _assumed_errors(tiers, task):
    """Assumed error rates, and their ground."""
    if task is None or task.stakes is None:
        raise ValueError(
            "where do errors come from? Give a task (assumed rates), error_counts or samples (your own), or error_rates"
        )
    table = assumed("error_rate", task).reindex(tiers).set_axis(tiers.index)
    open_ = table.index[table["value"].isna()]
    if len(open_):
        raise ValueError(f"no error rate is assumed for a model without a tier: {', '.join(open_)}")
    return table, (
        f"error rates of {', '.join(tiers.unique())} are assumed from the complexity of {task.name}, "
        "per tier and not per provider (data/assumptions.csv)"
    )


def _counts(error_counts, tiers):
    """(wrong, examples) by model."""
    counts = {}
    for key, (wrong, examples) in error_counts.items():
        models = [key] if key in tiers else list(tiers.index[tiers == key])
        if len(models) != 1:
            raise ValueError(
                f"error_counts: {key!r} is the tier of {len(models)} candidates ({', '.join(models)}), and examples were "
                "answered by one: name the model, or choose one provider"
            )
        if not (0 <= wrong <= examples and examples >= 1):
            raise ValueError(
                f"{key}: {wrong} wrong answers of {examples} examples; from 0 to all of them may be wrong, of 1 example or more"
            )
        counts[models[0]] = (wrong, examples)
    return counts


def _sampled_errors(tiers, rows):
    names = list(tiers.index)
    scored = rows[rows["score"].notna()].groupby("model_id")["prompt_id"].nunique()
    anchor = scored.reindex(names).fillna(0).idxmax()
    found = levels(rows, names, anchor)
    rate, examples = found.table["error_rate"], found.table["examples"]
    if not examples[anchor]:
        raise ValueError(
            "no example has a scored answer of two candidates: they cannot be compared on the same examples"
        )
    variance = (found.influence**2).sum(axis=0)
    # Where no spread was seen, each group counts as one answer.
    flat = (variance < 1e-15) | rate.isin((0, 1))
    groups = np.minimum(examples, rows["cluster"].nunique())
    worth = np.where(flat, groups, rate * (1 - rate) / np.where(flat, 1.0, variance))
    low, high = _jeffreys(rate, worth)
    table = pd.DataFrame(
        {"value": rate, "low": np.minimum(low, rate), "high": np.maximum(high, rate)}
        | {"worth": worth, "shared": _common_factor(found.influence)},
        index=names,
    )
    few = ", ".join(f"{name} {n}" for name, n in examples.items() if n < examples[anchor])
    pairwise = f", each model on those that it has in common with {anchor} ({few})" if few else ""
    grounds = [
        f"error rates and prices are measured on {examples[anchor]} of {rows['prompt_id'].nunique()} examples{pairwise}; "
        f"{(rows['aside'] != '').sum()} of {len(rows)} answers are set aside"
    ]
    grounds += [
        f"{name} mostly fails: {lost} count as wrong" for name, lost in mostly_failing(rows).items()
    ]
    source = "; ".join(rows["source"].astype(str).unique()) if "source" in rows else "samples"
    counted = examples[examples > 0].astype(int).to_dict()
    return Errors(table, source, counted, grounds, found.table["cost_usd"])


def _common_factor(influence):
    """How far each rate moves with what all have in common: the loadings of one factor, by principal axes (Harman 1976)."""
    size = np.sqrt((influence**2).sum(axis=0))
    unit = influence / np.where(size > 0, size, 1.0)
    together = unit.T @ unit
    np.fill_diagonal(together, 0.0)
    loading = np.sqrt(np.abs(together).max(axis=0))
    for _ in range(50):
        np.fill_diagonal(together, np.minimum(loading**2, 1.0))
        top, vectors = np.linalg.eigh(together)
        loading = vectors[:, -1] * np.sqrt(max(top[-1], 0.0))
    # An axis has no direction of its own: the largest loading is positive.
    sign = np.sign(loading[np.abs(loading).round(6).argmax()]) or 1.0
    return np.clip(sign * loading, -1.0, 1.0).round(6)


def _with_tools(ends, errors, tiers, task, tool_error_rates):
    """Errors with tool calls on top where the rate does not hold them already, the calls of a request, and grounds."""
    # A rate that was counted on whole tasks holds its tool calls.
    bare = [name for name in ends.index if name not in errors.counted]
    calls = task.tool_calls if task else None
    if errors.counted and not bare and calls:
        raise ValueError(
            "error rates counted on whole tasks hold their tool calls already: leave tool_calls out"
        )
    if calls is None and bare and task and task.name == "agentic_tools":
        calls = AGENT_CALLS if errors.basis in ("assumed", "counted") else 0
    if not calls:
        return ends, 0, []
    if not tool_error_rates:
        tools = assumed("tool_error_rate").reindex(tiers[bare]).set_axis(bare)
        grounds = [
            f"{calls} tool calls a request, each wrong at the rate assumed for its tier (data/assumptions.csv)"
        ]
    else:
        tools, grounds = _ranged("tool_error_rates", tool_error_rates, tiers[bare], top=1), []
    ends = ends.copy()
    ends.loc[bare, _ENDS] = error_with_tools(ends.loc[bare, _ENDS], tools[_ENDS], calls)
    return ends, int(calls), grounds


def _error_draws(table, seed):
    """Draws of the error rates of an `Errors` table, shape (draws, models).

    Each model has a stream of its own, so that its draws depend on no other candidate; a borrowed rate moves with the
    one that it is borrowed from.
    """
    from scipy.stats import norm

    common = _stream(seed, "errors").standard_normal(DRAWS)
    drawn = np.empty((DRAWS, len(table)))
    for place, (name, row) in enumerate(table.iterrows()):
        own = _stream(seed, f"errors of {row.get('like', name)}").standard_normal(DRAWS)
        position = norm.cdf(row["shared"] * common + np.sqrt(1 - row["shared"] ** 2) * own)
        if row["worth"]:
            drawn[:, place] = _beta(row["value"], row["worth"]).ppf(position)
        else:
            drawn[:, place] = spread(table.iloc[[place]], position)[:, 0]
    return drawn


def _beta(rate, worth):
    """Distribution of a rate: Jeffreys' Beta for a rate of (wrong + 1/2) / (worth + 1), and at 0 and 1."""
    from scipy.stats import beta

    wrong = np.clip(rate * (worth + 1), 0.5, worth + 0.5)
    return beta(wrong, worth + 1 - wrong)


def _jeffreys(rate, worth):
    """Low and high of the 95% interval of rates."""
    return _beta(np.asarray(rate), np.asarray(worth)).ppf([[0.025], [0.975]])


# What an error and a second cost


def _error_cost(error_cost_usd, task, seed):
    """Value, low and high of the cost of an error (USD), draws of it (a column), and grounds."""
    grounds = []
    if error_cost_usd is not None:
        cost = _ends("error_cost_usd", error_cost_usd, np.inf)
    elif task is None or task.stakes is None:
        raise ValueError(
            "what does an error cost? Give error_cost_usd, or a task whose stakes are rated"
        )
    else:
        cost = assumed("error_cost", task).iloc[0].to_dict()
        grounds.append(
            f"the cost of an error is assumed from the stakes of {task.name}: "
            f"{cost['value']:g} USD ({cost['low']:g} to {cost['high']:g})"
        )
    ends, position = pd.DataFrame([cost]), _stream(seed, "cost of an error").random(DRAWS)
    # It runs over powers of ten, which have no zero.
    drawn = np.exp(spread(np.log(ends), position)) if cost["low"] > 0 else spread(ends, position)
    return cost, drawn if cost["low"] < cost["high"] else cost["value"], grounds


def _seconds(seconds, tiers, providers, workload, rows):
    """Seconds per request by model, with their range; NaN where nobody knows. And grounds."""
    if seconds:
        return _ranged("seconds", seconds, tiers, top=np.inf), []
    if rows is not None and rows["end_to_end_s"].notna().any():
        times = rows.groupby("model_id", observed=True)["end_to_end_s"].median()
        table = pd.DataFrame(dict.fromkeys(_ENDS, times)).reindex(tiers.index)
        return table, ["the time of a request is the median of the samples"]
    output = max(1.0, workload.point().mean_tokens().get("output", 0.0))
    keys = pd.MultiIndex.from_arrays([providers, tiers])
    own = load_speeds().set_index(["provider", "tier"]).reindex(keys).set_axis(tiers.index)
    own = own.dropna(subset=["ttft_s", "tokens_per_s"])
    # A slow speed is a long time.
    speeds = {"value": ("", ""), "low": ("_low", "_high"), "high": ("_high", "_low")}
    times = {
        end: seconds_per_request(output, own[f"ttft_s{wait}"], own[f"tokens_per_s{pace}"])
        for end, (wait, pace) in speeds.items()
    }
    return pd.DataFrame(times, index=own.index).reindex(tiers.index), [
        "speeds are the article's or assumed per provider and tier, with a range (data/speeds.csv)"
    ]


def _ends(what, given, top):
    """Value, low and high of a number, a (low, high) pair or a (value, low, high) triple."""
    ends = np.atleast_1d(np.asarray(given, float))
    low, high = ends[-2:] if len(ends) > 1 else (ends[0], ends[0])
    value = (low + high) / 2 if len(ends) == 2 else ends[0]
    if len(ends) > 3 or not 0 <= low <= value <= high <= top or not np.isfinite(high):
        allowed = "shares 0-1" if top == 1 else "from 0 up"
        raise ValueError(
            f"{what} = {given!r}; allowed: a number, (low, high) or (value, low, high), {allowed}"
        )
    return {"value": float(value), "low": float(low), "high": float(high)}


def _ranged(what, given, tiers, top):
    """`_ends` of each model, from a mapping by model or tier."""
    rows = {}
    for name, tier in tiers.items():
        if name not in given and tier not in given:
            raise ValueError(f"{what} has nothing for {name} ({tier or 'no tier'})")
        rows[name] = _ends(f"{what}[{name!r}]", given.get(name, given.get(tier)), top)
    return pd.DataFrame.from_dict(rows, orient="index")


def spread(table, position):
    """Where each range stands at a position from 0 (low) over 0.5 (value) to 1 (high): positions x models.

    Examples
    --------
    >>> spread(pd.DataFrame({"value": [2.0], "low": [1.0], "high": [6.0]}), [0, 0.25, 0.5, 1]).ravel().tolist()
    [1.0, 1.5, 2.0, 6.0]
    """
    low, value, high = (table[end].to_numpy(float) for end in ("low", "value", "high"))
    position = np.asarray(position)[:, None]
    return np.where(
        position < 0.5,
        low + 2 * position * (value - low),
        value + (2 * position - 1) * (high - value),
    )


# What a request is billed


def _prices(tiers, workload, prices, paid, own_prices, seed):
    """Price of a request on each candidate, at the workload's middle and over its ranges.

    Parameters
    ----------
    tiers : Series
        By model.
    workload : Workload
        Its ranges are drawn together for all models; the volume cancels.
    prices : Prices
    paid : Series or None
        USD per request by model, as measured in samples: then the workload's tokens price nothing.
    own_prices : mapping of str to float
        USD per request of models that the catalogue does not have.
    seed : int

    Returns
    -------
    table : DataFrame
        provider, tier, price_usd (USD per request), price_basis ("catalogue", "samples", "given"), note (why a model
        is out of the running), by model_id.
    drawn : ndarray, shape (draws, models)
        USD per request. Only an approximate price is drawn for its model alone.
    grounds : list of str
    """
    own = prices.by_model.reindex(tiers.index)
    is_listed = tiers.index.isin(prices.by_model.index)
    early, late = own["launched_on"] > prices.as_of, own["retires_on"] <= prices.as_of
    note = pd.Series("", tiers.index)
    note[early] = "not launched before " + own["launched_on"][early].dt.strftime("%Y-%m-%d")
    note[late] = "retired on " + own["retires_on"][late].dt.strftime("%Y-%m-%d")
    table = pd.DataFrame({"provider": own["provider"].fillna(""), "tier": tiers, "note": note})
    table = table.rename_axis("model_id")
    if paid is not None:
        usd, basis = paid.reindex(tiers.index), "samples"
        grounds = [
            "the price of a request is what the samples cost, of each model: not the workload's tokens"
        ]
    else:
        usd = pd.Series(own_prices, dtype=float).reindex(tiers.index)
        basis = np.where(is_listed, "catalogue", "given")
        grounds = [
            f"the price of {name} is given, not the workload's tokens"
            for name in tiers.index[~is_listed & usd.notna()]
        ]
    unpriced = usd.isna() if paid is not None else usd.isna() & ~is_listed
    table.loc[unpriced, "note"] = (
        "no price: the samples have no cost_usd of all its answers, nor tokens that the catalogue prices"
    )
    table["price_usd"] = usd.mask(table["note"].ne(""))
    table["price_basis"] = basis
    drawn = np.tile(table["price_usd"].to_numpy(float), (DRAWS, 1))
    if paid is None and is_listed.any():
        listed = tiers.index[is_listed]
        per, notes, flags = _listed_prices(listed, workload, prices, _stream(seed, "workload"))
        table.loc[notes.index, "note"] = notes
        per[:, table.loc[listed, "note"].ne("")] = np.nan
        table.loc[listed, "price_usd"] = per[0]
        # At a workload without ranges there is one row, the middle; otherwise it is not drawn.
        first = min(1, len(per) - 1)
        drawn[:, is_listed] = per[_stream(seed, "price").integers(first, len(per), DRAWS)]
        for place in np.flatnonzero(is_listed & table.index.isin(flags["approximate_price"])):
            own_stream = _stream(seed, f"price of {table.index[place]}")
            drawn[:, place] *= 1 + APPROXIMATE_BAND * own_stream.uniform(-1, 1, DRAWS)
        grounds += [
            f"the price of {', '.join(flags[flag])} {said}"
            for flag, said in _FLAGS.items()
            if flags[flag]
        ]
    return table, drawn, grounds


def _listed_prices(listed, workload, prices, rng):
    """USD per request at the workload's middle and at workloads drawn from its ranges; notes and flags.

    Returns
    -------
    per : ndarray, shape (workloads, models)
    notes : Series
        By model that one of the workloads does not fit, or that lacks a rate.
    flags : dict
        Flag -> models.
    """
    ranges = {name: ends for name, ends in workload.ranges().items() if ends[0] < ends[1]}
    ranges.pop("requests_per_day", None)
    point = workload.point()
    works = [point]
    for _ in range(_WORKLOADS if ranges else 0):
        drawn = {name: rng.uniform(*ends) for name, ends in ranges.items()}
        works.append(replace(point, **drawn))
    days = [daily(work, prices, listed) for work in works]
    per = np.array([day["cost_usd"] / point.requests_per_day for day in days])
    notes = pd.concat([day["note"] for day in days])
    notes = notes[notes != ""]
    flags = {
        flag: [name for name, own in days[0]["flags"].items() if flag in own] for flag in _FLAGS
    }
    return per, notes[~notes.index.duplicated(keep="last")], flags


def daily(work, prices, listed):
    """`daily_cost` by model with a note; a model that lacks a rate stands aside, and the others are priced."""
    try:
        day = daily_cost(work, prices, list(listed)).set_index("model_id")
    except ValueError as error:
        if len(listed) > 1:
            return pd.concat([daily(work, prices, [name]) for name in listed])
        aside = {"cost_usd": np.nan, "flags": "", "note": f"no figure: {error}"}
        return pd.DataFrame(aside, index=listed)
    share = day["over_window_share"]
    said = share.map("{:.0%} of the requests do not fit its window".format)
    return day.assign(note=said.where(share > 0, ""))
