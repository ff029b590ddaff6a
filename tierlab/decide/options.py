"""The models that could do a task, side by side: what a request costs on each, errors and waiting included.

`weigh` collects a row of numbers for each candidate: error rates from one source (`tierlab.decide.tasks`), seconds, and
what samples cost. `total_costs` prices them and draws every quantity over its range.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
import pandas as pd

from tierlab.core.tables import as_numbers
from tierlab.core.vocabulary import ANSWERED, TIERS, known, needs_usd, unknown
from tierlab.decide.tasks import (
    ERROR_COLUMNS,
    ERRORS,
    Task,
    assumed,
    beta_of,
    counted_errors,
    expected_cost,
    sampled_errors,
    with_tools,
)
from tierlab.evaluate.compare import check_margin
from tierlab.evaluate.rows import scored_rows
from tierlab.prices.catalog import Prices
from tierlab.routing.outcomes import price_outcomes
from tierlab.routing.sources import as_tiers
from tierlab.scaling.costs import APPROXIMATE_BAND, daily_cost
from tierlab.scaling.workload import Workload
from tierlab.speed.latency import seconds_per_request
from tierlab.speed.speeds import load_speeds

DRAWS = 1_000
INTERVAL = f"90% of {DRAWS:,} draws over the stated ranges"
GROWTH = (
    "dollars a day and a year are those of the volume on the first day; its growth comes on top"
)
COST = ["error_cost_usd", "error_cost_low", "error_cost_high"]
TIMES = ["seconds", "seconds_low", "seconds_high"]
_WORKLOADS = 16  # drawn from the ranges of a workload; each of them prices every model
_TOKENS = ["uncached_input_tokens", "output_tokens"]
_COLUMNS = [
    "provider",
    "tier",
    "model_id",
    "price_usd",
    "price_basis",
    *ERRORS,
    "seconds",
    "error_usd",
    "time_usd",
    "expected_usd",
    "low",
    "high",
    "best_share",
    "note",
    "worth",
    "shared",
    "seconds_low",
    "seconds_high",
    "basis",
    "wrong",
    "examples",
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
    """What you know about the models that could do a task; what you leave out is assumed from the task.

    Mappings go by model or by tier. A range is a (low, high) pair or a (value, low, high) triple.

    Attributes
    ----------
    samples : DataFrame, optional
        Answers of the candidates to your examples (`tierlab.sample`, or an outcomes table). They give the error rates
        and the dollars per request, pair by pair on the examples that both models have a score on
        (`tierlab.evaluate.rows.levels`). Where an answer has no cost, its own tokens are priced at the rates of the
        day. The seconds of a model are the median of its answers.
    error_counts : mapping, optional
        Your own counts, (wrong answers, examples), by model, or by a tier of one provider. A model of the catalogue
        that is not among the candidates joins them.
    error_rates : mapping, optional
        Share 0-1 of requests answered wrongly, or a range.
    seconds : mapping, optional
        Seconds per request, or a range; by default those of the samples or of data/speeds.csv.
    truncated : {"set_aside", "wrong"}
        Whether an answer cut off by its limit has no score or a score of 0, as for `tierlab.compare`.
    margin : float
        How much worse than a rival the choice may be, 0-1. `tierlab.file_record` files no decision on samples of fewer
        examples than the margin takes.

    Raises
    ------
    ValueError
        For error rates from two sources, or a margin that is not a share between 0 and 1.
    """

    samples: pd.DataFrame | None = None
    error_counts: Mapping[str, tuple[int, int]] | None = None
    error_rates: Mapping[str, float | tuple] | None = None
    seconds: Mapping[str, float | tuple] | None = None
    truncated: str = "set_aside"
    margin: float = 0.05

    def __post_init__(self):
        check_margin(self.margin)
        if (self.samples is not None) + bool(self.error_rates) + bool(self.error_counts) > 1:
            raise ValueError(
                "error rates come from one place: give samples, error_rates or error_counts"
            )


@dataclass(frozen=True, eq=False)
class Options:
    """The models that could do a task, with the total cost of a request on each.

    Attributes
    ----------
    table : DataFrame
        One row per model, the lowest total cost first: provider, tier, model_id; USD per request: price_usd, error_usd,
        time_usd, expected_usd (at the values shown, not averaged over their ranges), low, high (`INTERVAL`);
        price_basis ("catalogue", "samples", "given"); error_rate, error_low, error_high (share 0-1); seconds,
        seconds_low, seconds_high; best_share (share of the draws in which it is the cheapest); note (why it cannot be
        chosen, or ""); worth (how many independent right-or-wrong examples the error rate is worth; 0 for a range that
        was not counted); shared (how far the error rate moves with what all models have in common, -1 to 1; 0 for a
        rate known by itself); basis (where the error rate comes from: "assumed", "counted", "given", or the source of
        the samples); wrong (how many of your own counts); examples (how many are behind the error rate).
    cost : dict
        error_cost_usd, error_cost_low, error_cost_high: USD per error.
    second_usd : float
        USD per second of waiting.
    tool_calls : int
        Tool calls per request that assumed and given error rates include.
    counted : dict
        Model -> number of examples behind its error rate.
    basis : str
        Where the error rates come from, as in the table; "counted" if some are counted and the others assumed.
    grounds : tuple of str
        Sentences on where the numbers come from that the catalogue does not give.
    rows : DataFrame or None
        The samples, scored.
    task : Task or None
    workload : Workload
    prices : Prices
        The mean until the next review.
    """

    table: pd.DataFrame
    cost: dict
    second_usd: float
    tool_calls: int
    counted: dict
    basis: str
    grounds: tuple
    rows: pd.DataFrame | None
    task: Task | None
    workload: Workload
    prices: Prices

    def running(self):
        """Return the rows of the models that can be chosen."""
        return self.table[self.table["expected_usd"].notna()]


def weigh(*, prices, task, error_cost_usd, second_usd, workload, provider, models, evidence, seed):
    """Return the `Options` of a question; parameters as for `tierlab.recommend`, the task a `Task` or None."""
    needs_usd("second_usd", second_usd)
    if workload.point().requests_per_day <= 0:
        raise ValueError("requests_per_day is 0: a price per request needs requests")
    rows, grounds = None, []
    if evidence.samples is not None:
        rows, grounds = _scored(evidence, models, prices)
    tiers = _candidates(prices, provider, models, rows)
    for name in (resolved(key, prices) for key in evidence.error_counts or ()):
        if name in prices.by_model.index and name not in tiers:
            tier = prices.by_model["tier"][name]
            tiers[name] = tier if pd.notna(tier) else ""
    rates, counts, seconds = (
        _keyed(what, getattr(evidence, what), prices, tiers)
        for what in ("error_rates", "error_counts", "seconds")
    )
    if rows is not None:
        errors, said = sampled_errors(tiers, rows)
    elif rates:
        errors = _ranged("error_rates", rates, tiers, ERRORS, top=1)
        errors = errors.assign(worth=0.0, shared=1.0, basis="given")
        said = ["error rates are given by hand"]
    else:
        errors, said = counted_errors(counts, tiers, task)
    errors = errors.reindex(columns=ERROR_COLUMNS).astype({"wrong": "Int64", "examples": "Int64"})
    errors, tool_calls, called = with_tools(errors, tiers, task)
    cost, costed = _error_cost(error_cost_usd, task)
    times, timed = _seconds(seconds, tiers, prices, workload, rows)
    numbers = errors.assign(tier=tiers, like=tiers.index, **times)
    numbers["price_basis"] = "catalogue" if rows is None else "samples"
    table, bought = total_costs(
        numbers, prices=prices, workload=workload, cost=cost, second_usd=second_usd, seed=seed
    )
    if rows is not None:
        bought = [
            "the price of a request is what the samples cost, of each model: not the workload's tokens"
        ]
    grown = [GROWTH] if any(workload.ranges()["monthly_growth"]) else []
    return Options(
        table=table,
        cost=cost,
        second_usd=float(second_usd),
        tool_calls=tool_calls,
        counted=errors["examples"].dropna().to_dict(),
        basis="counted" if errors["wrong"].notna().any() else errors["basis"].iloc[0],
        grounds=(
            *grounds,
            *said,
            *called,
            *bought,
            *costed,
            *(timed if second_usd else ()),
            *grown,
        ),
        rows=rows,
        task=task,
        workload=workload,
        prices=prices,
    )


def total_costs(numbers, *, prices, workload, cost, second_usd, seed=0):
    """Compute price, errors and time of a request on each model, at the values given and over their ranges.

    Parameters
    ----------
    numbers : DataFrame
        By model: tier; error_rate, error_low, error_high, worth, shared (`Options`); like, the model whose error rate
        it borrows, or itself; seconds, seconds_low, seconds_high; price_basis; paid, USD per request where price_basis
        is not "catalogue".
    prices : Prices
    workload : Workload
    cost : dict
        As in `Options`.
    second_usd : float
        USD per second of waiting.
    seed : int

    Returns
    -------
    table : DataFrame
        The table of `Options`.
    grounds : list of str
        What a reader should know about the catalogue's prices.

    Notes
    -----
    Half of the draws lie below the central value of a range and half above, uniformly out to each end; the ends are
    taken as given. The uncertain errors of a task move all tiers together (the task is harder or easier than thought,
    and so are its tool calls), and a workload that is a range is drawn once for all models. Counted rates are drawn
    model by model; in samples, models err on the same examples as far as the samples show it. Waiting counts only for
    requests that are not in batch. Every quantity has its own stream of random numbers, so that the review of a record
    draws the same as its filing did.
    """
    slow = numbers.index[numbers["seconds"].isna()]
    if second_usd and len(slow):
        raise ValueError(
            f"no speed is known for {', '.join(slow)}; give seconds={{model: seconds}}"
        )
    waits = second_usd * (1 - workload.point().batch_share)
    table, price_draws, grounds = _priced(numbers, workload, prices, seed)
    table.loc[table["error_rate"].isna() & table["note"].eq(""), "note"] = (
        "no example with a scored answer in common with the others"
    )
    table["error_usd"] = table["error_rate"] * cost["error_cost_usd"]
    table["time_usd"] = table["seconds"] * waits if waits else 0.0
    table["expected_usd"] = table[["price_usd", "error_usd", "time_usd"]].sum(axis=1, skipna=False)
    running = table["expected_usd"].notna().to_numpy()
    if not running.any():
        raise ValueError(
            "no model is left to choose from: "
            + "; ".join(f"{i}: {n or 'no number'}" for i, n in table["note"].items())
        )
    waited = 0.0
    if waits:
        waited = spread(*table[TIMES].to_numpy(float).T, _stream(seed, "time").random(DRAWS))
    errors = _error_draws(table, seed)
    draws = expected_cost(price_draws, errors, _cost_draws(cost, seed), waited, waits)
    low, high = np.quantile(np.where(running, draws, 0.0), [0.05, 0.95], axis=0)
    table["low"] = np.minimum(low, table["expected_usd"]).where(running)
    table["high"] = np.maximum(high, table["expected_usd"]).where(running)
    # The share of the draws in which a model is the cheapest; models that tie share the draw.
    draws = np.where(running, draws, np.inf)
    best = draws <= draws.min(axis=1, keepdims=True) * (1 + 1e-12)
    table["best_share"] = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    table = table.rename_axis("model_id").reset_index()
    table = table.sort_values(["expected_usd", "price_usd", "model_id"], ignore_index=True)
    return table.reindex(columns=_COLUMNS), grounds


def _cost_draws(cost, seed):
    """Draws of the cost of an error, shape (draws, 1); or the one value that it has."""
    ends = np.array([cost[end] for end in COST])
    if ends[1] == ends[2]:
        return ends[0]
    position = _stream(seed, "cost of an error").random(DRAWS)
    if ends.min() > 0:  # it spans powers of ten, which have no zero
        return np.exp(spread(*np.log(ends), position))
    return spread(*ends, position)


def _priced(numbers, workload, prices, seed):
    """The candidates with what a request is billed, at the middle of the workload and over its ranges.

    Returns
    -------
    table : DataFrame
        `numbers` with provider, price_usd (USD per request) and note (why a model cannot be chosen).
    drawn : ndarray, shape (draws, models)
        USD per request. A workload that is a range is drawn for all models together, an approximate price for its model
        alone.
    grounds : list of str
    """
    own, is_listed = prices.by_model.reindex(numbers.index), numbers["price_basis"].eq("catalogue")
    early, late = own["launched_on"] > prices.as_of, own["retires_on"] <= prices.as_of
    note = pd.Series("", numbers.index)
    note = note.mask(early, "not launched before " + own["launched_on"].dt.strftime("%Y-%m-%d"))
    note = note.mask(late, "retired on " + own["retires_on"].dt.strftime("%Y-%m-%d"))
    note = note.mask(
        ~is_listed & numbers["paid"].isna(),
        "no price: the samples have no cost_usd of all its answers, nor tokens that the catalogue prices",
    )
    table = numbers.assign(provider=own["provider"].fillna(""), note=note)
    table["price_usd"] = numbers["paid"].astype(float).mask(table["note"].ne(""))
    drawn = np.tile(table["price_usd"].to_numpy(float), (DRAWS, 1))
    if not is_listed.any():
        return table, drawn, []
    listed = table.index[is_listed]
    # The workload at its middle, and drawn from its ranges; the volume cancels out.
    rng, works = _stream(seed, "workload"), [workload.point()]
    ranges = {name: ends for name, ends in workload.ranges().items() if ends[0] < ends[1]}
    ranges.pop("requests_per_day", None)
    for _ in range(_WORKLOADS if ranges else 0):
        drawn_ends = {name: rng.uniform(*ends) for name, ends in ranges.items()}
        works.append(replace(works[0], **drawn_ends))
    days = [daily(work, prices, listed) for work in works]
    per = np.array([day["cost_usd"] for day in days]) / works[0].requests_per_day
    for day in days:
        noted = day["note"][day["note"] != ""]
        table.loc[noted.index, "note"] = noted
    per[:, table.loc[listed, "note"].ne("")] = np.nan
    table.loc[listed, "price_usd"] = per[0]
    # A workload without ranges has one row, the middle; otherwise the middle is not among the draws.
    first = min(1, len(per) - 1)
    drawn[:, is_listed] = per[_stream(seed, "price").integers(first, len(per), DRAWS)]
    flags = {
        flag: [name for name, own in days[0]["flags"].items() if flag in own] for flag in _FLAGS
    }
    for name in flags["approximate_price"]:
        own_stream = _stream(seed, f"price of {name}")
        drawn[:, table.index.get_loc(name)] *= 1 + APPROXIMATE_BAND * own_stream.uniform(
            -1, 1, DRAWS
        )
    grounds = [
        f"the price of {', '.join(names)} {_FLAGS[flag]}" for flag, names in flags.items() if names
    ]
    return table, drawn, grounds


def daily(work, prices, listed):
    """Return `daily_cost` by model, with a note; a model that lacks a rate is set aside, and the others are priced."""
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


def _error_draws(table, seed):
    """Draws of the error rates, shape (draws, models).

    Each model has its own stream, so that its draws depend on no other candidate; a borrowed rate moves with the rate
    that it is borrowed from.
    """
    from scipy.stats import norm

    common = _stream(seed, "errors").standard_normal(DRAWS)
    drawn = np.empty((DRAWS, len(table)))
    for place, row in enumerate(table.to_dict("records")):
        own = _stream(seed, f"errors of {row['like']}").standard_normal(DRAWS)
        position = norm.cdf(row["shared"] * common + np.sqrt(1 - row["shared"] ** 2) * own)
        if row["worth"]:
            drawn[:, place] = beta_of(row["error_rate"], row["worth"]).ppf(position)
        else:
            drawn[:, place] = spread(*(row[end] for end in ERRORS), position).ravel()
    return drawn


def spread(value, low, high, position):
    """Return the value of each range at positions from 0 (low) through 0.5 (value) to 1 (high): positions x ranges.

    Examples
    --------
    >>> spread(2.0, 1.0, 6.0, [0, 0.25, 0.5, 1]).ravel().tolist()
    [1.0, 1.5, 2.0, 6.0]
    """
    position = np.asarray(position)[:, None]
    below, above = low + 2 * position * (value - low), value + (2 * position - 1) * (high - value)
    return np.where(position < 0.5, below, above)


def _stream(seed, name):
    """The random numbers of one quantity."""
    return np.random.default_rng([seed, crc32(name.encode())])


# The candidates


def resolved(name, prices):
    """Return the catalogue's name of a model, or the name itself if the catalogue lacks it."""
    try:
        return prices.resolve(name)
    except ValueError:
        return name


def _scored(evidence, models, prices):
    """The scored rows of the candidates, under the catalogue's names and with a cost where one is known; and grounds."""
    rows = scored_rows(evidence.samples, truncated=evidence.truncated)
    names = {name: resolved(name, prices) for name in rows["model_id"].unique()}
    if len(set(names.values())) < len(names):
        raise ValueError(f"two names in the samples mean the same model: {', '.join(names)}")
    rows["model_id"] = rows["model_id"].map(names)
    if models is not None:
        asked = [resolved(name, prices) for name in models]
        for name in asked:
            if name not in names.values():
                raise ValueError(
                    f"{unknown('model', name, names.values())}; the samples have no answer of it"
                )
        rows = rows[rows["model_id"].isin(asked)].reset_index(drop=True)
    answered, grounds = rows["status"].isin(ANSWERED), []
    counted = rows.reindex(columns=_TOKENS).notna().all(axis=1)
    unpriced = answered & rows["cost_usd"].isna() & counted
    if unpriced.any():
        priced = price_outcomes(rows[unpriced], prices)
        rows.loc[unpriced, "cost_usd"] = priced["cost_usd"]
        covered = priced["cost_usd"].notna().groupby(priced["model_id"], sort=False).sum()
        grounds = [
            f"{n:,} answers of {name} are priced from their own tokens at the rates of {prices.as_of:%Y-%m-%d} and those scheduled until the review"
            for name, n in covered[covered > 0].items()
        ]
    if not rows.loc[answered, "cost_usd"].notna().any():
        raise ValueError(
            "what an answer cost is not known: the samples need a column cost_usd, or token counts (uncached_input_tokens, "
            "output_tokens) of models that the catalogue prices; one length for every model would not be a measured cost"
        )
    return rows, grounds


def _candidates(prices, provider, models, rows):
    """The tier of each candidate ("" for none), by model id."""
    named = models is not None or rows is not None
    if provider is not None and named:
        raise ValueError(
            "provider chooses from the lineup; with models or samples the candidates are named already"
        )
    has_lineup = len(prices.lineups) or not named
    lineup = prices.lineup() if has_lineup else pd.DataFrame(columns=list(TIERS))
    if provider is not None:
        known("provider", provider, lineup.index)
    sampled = {}
    if rows is not None:
        names = rows["model_id"].unique()
        if len(names) > 1:
            sampled = as_tiers(rows).set_index("model_id")["tier"].to_dict()
    elif models is not None:
        names = dict.fromkeys(prices.resolve(name) for name in models)
    else:
        names = (lineup if provider is None else lineup.loc[[provider]]).stack().dropna()
    if not len(names):
        raise ValueError("there is no model to choose from")
    # The lineup goes first, then the catalogue; a model outside both gets its place among the samples.
    slots = {model: tier for tier in TIERS for model in lineup[tier].dropna()}
    tiers = sampled | prices.by_model["tier"].dropna().to_dict() | slots
    return pd.Series({name: tiers.get(name, "") for name in names})


def _keyed(what, given, prices, tiers):
    """A mapping of `Evidence` with the catalogue's names as keys; an unknown name is refused, naming the nearest."""
    keyed = {}
    for key, value in (given or {}).items():
        name = key if key in TIERS or key in tiers else resolved(key, prices)
        if name not in TIERS and name not in tiers:
            raise ValueError(f"{what}: {unknown('model or tier', name, [*TIERS, *tiers.index])}")
        if name in keyed:
            raise ValueError(f"{what}: {key!r} and another name of yours are one model, {name}")
        keyed[name] = value
    return keyed


# The cost of an error, and the seconds of a request


def _error_cost(error_cost_usd, task):
    """The value and ends of the cost of an error, USD, and grounds."""
    if error_cost_usd is not None:
        return dict(zip(COST, _ends(COST[0], error_cost_usd, np.inf), strict=True)), []
    if task is None or task.stakes is None:
        raise ValueError(
            "what does an error cost? Give error_cost_usd, or a task whose stakes are rated"
        )
    value, low, high = assumed("error_cost", task).iloc[0].tolist()
    ground = f"the cost of an error is assumed from the stakes of {task.name}: {value:g} USD ({low:g} to {high:g})"
    return dict(zip(COST, (value, low, high), strict=True)), [ground]


def _seconds(seconds, tiers, prices, workload, rows):
    """Seconds per request by model, with their range (NaN where they are not known), and grounds."""
    if seconds:
        return _ranged("seconds", seconds, tiers, TIMES, top=np.inf), []
    if rows is not None and rows["end_to_end_s"].notna().any():
        median = rows.groupby("model_id", observed=True)["end_to_end_s"].median()
        times = pd.DataFrame(dict.fromkeys(TIMES, median)).reindex(tiers.index)
        return times, ["the time of a request is the median of the samples"]
    output = max(1.0, workload.point().mean_tokens().get("output", 0.0))
    keys = pd.MultiIndex.from_arrays([prices.by_model["provider"].reindex(tiers.index), tiers])
    own = load_speeds().set_index(["provider", "tier"]).reindex(keys).set_axis(tiers.index)
    own = own.dropna(subset=["ttft_s", "tokens_per_s"])
    # A slow speed is a long time.
    ends = {
        "seconds": ("", ""),
        "seconds_low": ("_low", "_high"),
        "seconds_high": ("_high", "_low"),
    }
    times = {
        end: seconds_per_request(output, own[f"ttft_s{wait}"], own[f"tokens_per_s{pace}"])
        for end, (wait, pace) in ends.items()
    }
    return pd.DataFrame(times, index=own.index).reindex(tiers.index), [
        "speeds are the article's or assumed per provider and tier, with a range (data/speeds.csv)"
    ]


def _ends(what, given, top):
    """The value, low and high of a number, a (low, high) pair or a (value, low, high) triple."""
    ends = as_numbers(given)
    ends = ends if 1 <= len(ends) <= 3 else as_numbers(None)
    low, high = ends[-2:] if len(ends) > 1 else (ends[0], ends[0])
    value = (low + high) / 2 if len(ends) == 2 else ends[0]
    if not 0 <= low <= value <= high <= top or not np.isfinite(high):
        allowed = "shares 0-1" if top == 1 else "from 0 up"
        raise ValueError(
            f"{what} = {given!r}; allowed: a number, (low, high) or (value, low, high), {allowed}"
        )
    return float(value), float(low), float(high)


def _ranged(what, given, tiers, columns, top):
    """The `_ends` of each model, from a mapping by model or tier."""
    rows = {}
    for name, tier in tiers.items():
        if name not in given and tier not in given:
            raise ValueError(f"{what} has nothing for {name} ({tier or 'no tier'})")
        rows[name] = _ends(f"{what}[{name!r}]", given.get(name, given.get(tier)), top)
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)
