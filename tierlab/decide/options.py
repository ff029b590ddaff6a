"""The models that could do a task, side by side: what a request costs on each, all in, and how sure that is.

Error rates of the candidates: counted on examples, read from samples, given by hand, or assumed from the task.

What one request costs on each candidate: the catalogue's rates over a workload, or what samples cost; and how sure that is.
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from zlib import crc32

import numpy as np
import pandas as pd

from tierlab.core.vocabulary import ANSWERED, TIERS, unknown
from tierlab.decide.tasks import assumed, error_with_tools, expected_cost
from tierlab.evaluate.rows import levels, mostly_failing, scored_rows
from tierlab.routing.outcomes import price_outcomes
from tierlab.routing.sources import as_tiers
from tierlab.scaling.costs import APPROXIMATE_BAND, daily_cost
from tierlab.scaling.workload import NUMERIC, Workload

DRAWS = 1_000
INTERVAL = f"90% of {DRAWS:,} draws over the stated ranges"
AGENT_CALLS = 5  # tool calls of an agentic request where none are given: an assumption
_COLUMNS = ["provider", "tier", "model_id", "price_usd", "price_basis", "error_rate", "error_low", "error_high", "seconds",
            "error_usd", "time_usd", "expected_usd", "low", "high", "best_share", "note"]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Options:
    """What `weigh` found.

    Attributes
    ----------
    table : DataFrame
        One row per model, cheapest all in first: provider, tier, model_id; USD per request: price_usd, error_usd,
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
        By model_id, what the draws are made of besides the table: worth, shared (`tierlab.decide.options.Errors`),
        seconds_low, seconds_high.
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


def weigh(*, prices, task=None, error_cost_usd=None, workload=None, provider=None, models=None, samples=None, error_counts=None,
          error_rates=None, second_usd=0.0, seconds=None, tool_calls=None, tool_error_rates=None, truncated="set_aside",
          own_prices=None, spread=None, tasks=None, seed=0):  # fmt: skip
    """Price, errors and time of a request on each model; parameters as for `tierlab.recommend`.

    Parameters
    ----------
    own_prices : mapping, optional
        USD per request of models that the catalogue does not have.
    spread : DataFrame, optional
        worth and shared by model, of rates given in `error_rates`: those of `Options.spread`, from a record.
    tasks : DataFrame, optional
        The task table.

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
    notes = []
    workload = Workload(requests_per_day=1_000) if workload is None else workload
    _check(workload, second_usd, tool_calls, provider, models, samples)
    names, tiers, rows = _candidates(
        prices, provider, models, samples, own_prices or {}, truncated, notes
    )
    asked = {"task": task, "tasks": tasks, "rows": rows, "error_rates": _keyed(error_rates, prices, names),
             "error_counts": _keyed(error_counts, prices, names)}  # fmt: skip
    errors = error_rates_of(names, tiers, notes=notes, **asked)
    ends = errors.table if spread is None else errors.table.assign(**spread)
    ends, tool_calls = _with_tools(
        ends, errors, tiers, task, tool_calls, _keyed(tool_error_rates, prices, names), notes
    )

    def stream(name):
        return np.random.default_rng([seed, crc32(name.encode())])

    price, price_draws = request_prices(
        names,
        tiers,
        workload,
        prices,
        paid=errors.paid,
        own_prices=own_prices or {},
        draws=DRAWS,
        stream=stream,
        notes=notes,
    )
    price.loc[ends["value"].isna() & price["note"].eq(""), "note"] = (
        "no example with a scored answer in common with the others"
    )
    cost, cost_draws = _error_cost(error_cost_usd, task, tasks, stream, notes)
    times = _seconds(
        names,
        tiers,
        price["provider"],
        workload,
        rows,
        _keyed(seconds, prices, names),
        second_usd,
        notes,
    )
    waits = second_usd * (1 - workload.point().batch_share)
    table = price.assign(
        error_rate=ends["value"],
        error_low=ends["low"],
        error_high=ends["high"],
        seconds=times["value"],
    )
    table["error_usd"], table["time_usd"] = (
        table["error_rate"] * cost[0],
        table["seconds"] * waits if waits else 0.0,
    )
    table["expected_usd"] = (
        expected_cost(table["price_usd"], table["error_rate"], cost[0]) + table["time_usd"]
    )
    time_draws = spread(times, stream("time").random(DRAWS)) if waits else 0.0
    draws = expected_cost(
        price_draws, draw_errors(ends, stream, DRAWS), cost_draws[:, None], time_draws, waits
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
    filed = ends[["worth", "shared"]].assign(seconds_low=times["low"], seconds_high=times["high"])
    return Options(
        table,
        *cost,
        float(second_usd),
        tool_calls,
        errors.counted,
        errors.basis,
        tuple(notes),
        filed,
        rows,
    )


def _cheapest_share(draws):
    """Share of the draws in which each model is the cheapest; those that tie share one."""
    best = draws <= draws.min(axis=1, keepdims=True) * (1 + 1e-12)
    return (best / best.sum(axis=1, keepdims=True)).mean(axis=0)


def _check(workload, second_usd, tool_calls, provider, models, samples):
    if not (np.isfinite(second_usd) and second_usd >= 0):
        raise ValueError(f"second_usd={second_usd}; a cost is a number, 0 or more")
    if tool_calls is not None and (tool_calls != int(tool_calls) or tool_calls < 0):
        raise ValueError(f"tool_calls={tool_calls}; a whole number from 0 up is needed")
    if workload.point().requests_per_day <= 0:
        raise ValueError("requests_per_day is 0: a price per request needs requests")
    if provider is not None and (models is not None or samples is not None):
        raise ValueError(
            "provider picks from the lineup; with models or samples the candidates are named already"
        )


def _resolved(name, prices):
    """The catalogue's name of a model, or the name itself."""
    try:
        return prices.resolve(name)
    except ValueError:
        return name


def _sampled(samples, models, prices, truncated, notes):
    """The scored rows of the candidates, under the catalogue's names where it knows them, with a cost wherever one is known."""
    rows = scored_rows(samples, truncated=truncated)  # says what is missing
    names = {name: _resolved(name, prices) for name in rows["model_id"].unique()}
    if len(set(names.values())) < len(names):
        raise ValueError(f"two names of the samples are one model: {', '.join(names)}")
    rows["model_id"] = rows["model_id"].map(names)
    if models is not None:
        asked = [_resolved(name, prices) for name in models]
        for name in asked:
            if name not in names.values():
                raise ValueError(
                    f"{unknown('model', name, names.values())}; the samples hold no answer of it"
                )
        rows = rows[rows["model_id"].isin(asked)].reset_index(drop=True)
    open_ = rows["cost_usd"].isna() & rows["status"].isin(ANSWERED)
    tokens = ["uncached_input_tokens", "output_tokens"]
    if (
        open_.any()
        and set(tokens) <= set(rows)
        and (counted := open_ & rows[tokens].notna().all(axis=1)).any()
    ):
        priced = price_outcomes(rows[counted], prices)
        rows.loc[counted, "cost_usd"] = priced["cost_usd"]
        for name, known in (
            priced["cost_usd"].notna().groupby(priced["model_id"], sort=False).sum().items()
        ):
            notes += [
                f"{known:,} answers of {name} are priced from their own tokens at the rates of {prices.as_of:%Y-%m-%d}"
            ] * bool(known)
    if not rows.loc[rows["status"].isin(ANSWERED), "cost_usd"].notna().any():
        raise ValueError(
            "what an answer cost is not known: the samples need a column cost_usd, or token counts (uncached_input_tokens, "
            "output_tokens) of models that the catalogue prices; one length for every model would not be a measured cost"
        )
    return rows


def _keyed(given, prices, names):
    """A mapping by tier or model whose keys may be any spelling of a model's name."""
    if given is None:
        return None
    keys = {}
    for key in given:  # of a name that nobody knows, whoever reads the mapping names the nearest
        keys[key] = key if key in TIERS or key in names else _resolved(key, prices)
    return {keys[key]: value for key, value in given.items()}


def _candidates(prices, provider, models, samples, own_prices, truncated, notes):
    """Model ids, the tier of each ("" for none), and the scored samples of these models, if there are any."""
    rows = None if samples is None else _sampled(samples, models, prices, truncated, notes)
    named = models is not None or samples is not None
    try:
        lineup = prices.lineup()
    except ValueError:
        if not named:
            raise
        lineup = pd.DataFrame(columns=list(TIERS))
    if provider is not None and provider not in lineup.index:
        raise ValueError(unknown("provider", provider, lineup.index))
    slots = {model: tier for tier in TIERS for model in lineup[tier].dropna()}
    if rows is not None:
        names = list(dict.fromkeys(rows["model_id"]))
    elif models is not None:
        names = list(
            dict.fromkeys(name if name in own_prices else prices.resolve(name) for name in models)
        )
    else:
        own = lineup if provider is None else lineup.loc[[provider]]
        names = [model for row in own.to_numpy() for model in row if isinstance(model, str)]
    if not names:
        raise ValueError("there is no model to choose from")
    own = prices.by_model["tier"]
    sampled = {}
    if rows is not None and len(names) > 1:
        sampled = as_tiers(rows).drop_duplicates("model_id").set_index("model_id")["tier"].to_dict()
    tiers = [
        slots.get(name) or (own[name] if isinstance(own.get(name), str) else sampled.get(name, ""))
        for name in names
    ]
    return names, pd.Series(tiers, index=names), rows


def _with_tools(ends, errors, tiers, task, tool_calls, tool_error_rates, notes):
    """Errors with tool calls on top, where the rate does not hold them already: counted on whole tasks it does."""
    bare = [name for name in ends.index if name not in errors.counted]
    if errors.counted and not bare and tool_calls:
        raise ValueError(
            "error rates counted on whole tasks hold their tool calls already: leave tool_calls out"
        )
    if tool_calls is None:
        tool_calls = (
            AGENT_CALLS
            if task == "agentic_tools" and errors.basis in ("assumed", "counted") and bare
            else 0
        )
    if not tool_calls:
        return ends, 0
    if tool_error_rates is None:
        tools = assumed("tool_error_rate").reindex(tiers[bare]).set_axis(bare)
        notes.append(
            f"{tool_calls} tool calls a request, each wrong at the rate assumed for its tier (data/assumptions.csv)"
        )
    else:
        tools = ranged("tool_error_rates", tool_error_rates, bare, tiers)
    ends = ends.copy()
    for end in tools:
        ends.loc[bare, end] = error_with_tools(ends.loc[bare, end], tools[end], tool_calls)
    return ends, int(tool_calls)


def _error_cost(error_cost_usd, task, tasks, stream, notes):
    """(value, low, high) of the cost of an error, USD, and draws of it."""
    if error_cost_usd is not None:
        ends = np.atleast_1d(np.asarray(error_cost_usd, float))
        if (
            len(ends) not in (1, 3)
            or not np.isfinite(ends).all()
            or (ends < 0).any()
            or not (ends[-2:].min() <= ends[0] <= ends[-1])
        ):
            raise ValueError(
                f"error_cost_usd={error_cost_usd}; a number from 0 up is needed, or a (value, low, high) triple"
            )
        value, low, high = ends if len(ends) == 3 else ends.repeat(3)
    elif task is None:
        raise ValueError(
            "what does an error cost? Give error_cost_usd, or a task whose stakes are rated"
        )
    else:
        value, low, high = assumed("error_cost", task, tasks=tasks).iloc[0]
        notes.append(
            f"the cost of an error is assumed from the stakes of {task}: {value:g} USD ({low:g} to {high:g})"
        )
    ends = pd.DataFrame({"value": [float(value)], "low": [float(low)], "high": [float(high)]})
    if low == high:
        return tuple(ends.iloc[0]), np.full(DRAWS, float(value))
    position = stream("cost of an error").random(DRAWS)
    # It runs over powers of ten, which have no zero.
    drawn = np.exp(spread(np.log(ends), position)) if low > 0 else spread(ends, position)
    return tuple(ends.iloc[0]), drawn[:, 0]


def _seconds(names, tiers, providers, workload, rows, seconds, second_usd, notes):
    """Seconds per request by model, with their range; NaN where nobody knows and the time is worth nothing."""
    if seconds is not None:
        return ranged("seconds", seconds, names, tiers, top=np.inf)
    if rows is not None and rows["end_to_end_s"].notna().any():
        times = rows.groupby("model_id", observed=True)["end_to_end_s"].median().reindex(names)
        table = pd.DataFrame({"value": times, "low": times, "high": times})
        notes += ["the time of a request is the median of the samples"] * bool(second_usd)
    else:
        table = _assumed_seconds(names, tiers, providers, workload)
        notes += [
            "speeds are the article's or assumed per provider and tier, with a range (data/speeds.csv)"
        ] * bool(second_usd)
    if second_usd and table["value"].isna().any():
        raise ValueError(
            f"no speed is known of {', '.join(table.index[table['value'].isna()])}; give seconds={{model: seconds}}"
        )
    return table


@lru_cache
def _speeds():
    """data/speeds.csv by provider and tier."""
    from tierlab.speed.speeds import load_speeds

    return load_speeds().set_index(["provider", "tier"])


def _assumed_seconds(names, tiers, providers, workload):
    from tierlab.speed.latency import seconds_per_request

    output = max(1.0, workload.point().mean_tokens().get("output", 0.0))
    keys = pd.MultiIndex.from_arrays([providers.reindex(names).to_numpy(), tiers.to_numpy()])
    own = _speeds().reindex(keys).set_axis(names)
    known = own.dropna(subset=["ttft_s", "tokens_per_s"])
    ends = {
        "value": ("", ""),
        "low": ("_low", "_high"),
        "high": ("_high", "_low"),
    }  # a slow speed is a long time
    times = {
        end: seconds_per_request(output, known[f"ttft_s{wait}"], known[f"tokens_per_s{pace}"])
        for end, (wait, pace) in ends.items()
    }
    return pd.DataFrame(times, index=known.index, columns=list(ends)).reindex(names)


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
    paid : Series or None
        US dollars per request by model, as measured on the same examples.
    """

    table: pd.DataFrame
    basis: str
    counted: dict
    paid: pd.Series | None = None


def error_rates_of(names, tiers, *, task, tasks, rows, error_rates, error_counts, notes):
    """Error rates of the candidates from the one place that was given; parameters as for `tierlab.recommend`.

    Notes
    -----
    Counts have the posterior of Jeffreys' prior, Beta(wrong + 1/2, right + 1/2): its mean is the value, so that 0 wrong
    of 10 is not "never", and its interval is close to Wilson's (Brown, Cai, DasGupta 2001,
    doi:10.1214/ss/1009213286). Samples (`rows`, of `tierlab.evaluate.rows.scored_rows`) have the rates of `tierlab.evaluate.rows.levels`,
    which `compare` has as well, with a Beta of that mean: as wide as the errors clustered by group, and never narrower at 0
    than Jeffreys'. Their correlations, by which examples that are hard for all models move all rates, are those of one
    common factor.
    """
    if sum(given is not None for given in (rows, error_rates, error_counts)) > 1:
        raise ValueError(
            "error rates come from one place: give samples, error_rates or error_counts"
        )
    if error_rates is not None:
        table = ranged("error_rates", error_rates, names, tiers)
        notes.append("error rates are given by hand")
        return Errors(table.assign(worth=0.0, shared=1.0), "given", {})
    if rows is not None:
        return _error_rates_sampled(names, rows, notes)
    return _counted(names, tiers, task, tasks, error_counts or {}, notes)


def draw_errors(table, stream, draws):
    """Draws of the error rates of an `Errors` table, shape (draws, models).

    Parameters
    ----------
    table : DataFrame
        Of `Errors`; a decision record files the same five columns.
    stream : callable
        Name -> Generator. Each model has its own, so that its draws depend on no other candidate; a borrowed rate moves with
        the one that it is borrowed from.
    draws : int
    """
    from scipy.stats import beta, norm

    common = stream("errors").standard_normal(draws)
    drawn = np.empty((draws, len(table)))
    for place, (name, row) in enumerate(table.iterrows()):
        alone = np.sqrt(1 - row["shared"] ** 2)
        own = stream(f"errors of {row.get('like', name)}").standard_normal(draws) if alone else 0.0
        position = norm.cdf(row["shared"] * common + alone * own)
        if row["worth"]:
            drawn[:, place] = beta(*_beta(row["value"], row["worth"])).ppf(position)
        else:
            drawn[:, place] = spread(table.iloc[[place]], position)[:, 0]
    return drawn


def _beta(rate, worth):
    """Parameters of the distribution of a rate: Jeffreys' Beta for a rate of (wrong + 1/2) / (worth + 1), and at 0 and 1."""
    wrong = min(max(rate * (worth + 1), 0.5), worth + 0.5)
    return wrong, worth + 1 - wrong


def _counted(names, tiers, task, tasks, error_counts, notes):
    from scipy.stats import beta

    counts = _counts(error_counts, names, tiers)
    open_ = [name for name in names if name not in counts]
    table = pd.DataFrame(np.nan, index=names, columns=["value", "low", "high"]).assign(
        worth=0.0, shared=1.0
    )
    if open_:
        table.loc[open_, ["value", "low", "high"]] = _assumed(
            open_, tiers[open_], task, tasks, notes
        )
    for name, (wrong, examples) in counts.items():
        rate = (wrong + 0.5) / (examples + 1)
        table.loc[name] = rate, *beta(*_beta(rate, examples)).ppf([0.025, 0.975]), examples, 0.0
    if counts:
        said = ", ".join(
            f"{name} {wrong} of {examples}" for name, (wrong, examples) in counts.items()
        )
        notes.append(
            f"wrong answers counted on examples of yours: {said} (the rate is (wrong + 1/2) / (examples + 1), with its 95% interval)"
        )
    return Errors(
        table,
        "counted" if counts else "assumed",
        {name: examples for name, (_, examples) in counts.items()},
    )


def _assumed(names, tiers, task, tasks, notes):
    if task is None:
        raise ValueError(
            "where do errors come from? Give a task (assumed rates), error_counts or samples (your own), or error_rates"
        )
    table = assumed("error_rate", task, tasks=tasks).reindex(tiers).set_axis(names)
    if table["value"].isna().any():
        raise ValueError(
            f"no error rate is assumed for a model without a tier: {', '.join(table.index[table['value'].isna()])}"
        )
    tiers = ", ".join(dict.fromkeys(tiers))
    notes.append(
        f"error rates of {tiers} are assumed from the complexity of {task}, per tier and not per provider (data/assumptions.csv)"
    )
    return table


def _counts(error_counts, names, tiers):
    """(wrong, examples) by model."""
    counts = {}
    for key, pair in error_counts.items():
        models = [key] if key in names else [name for name in names if tiers[name] == key]
        if not models:
            raise ValueError(
                "error_counts: " + unknown("model or tier", key, [*dict.fromkeys(tiers), *names])
            )
        if len(models) > 1:
            raise ValueError(f"error_counts: {key!r} is the tier of {len(models)} candidates ({', '.join(models)}), and examples were "
                             f"answered by one: name the model ({models[-1]!r}), or choose one provider")  # fmt: skip
        wrong, examples = pair
        if not (0 <= wrong <= examples and examples >= 1):
            raise ValueError(
                f"{key}: {wrong} wrong answers of {examples} examples; from 0 to all of them may be wrong, of 1 example or more"
            )
        counts[models[0]] = (wrong, examples)
    return counts


def _error_rates_sampled(names, rows, notes):
    from scipy.stats import beta

    scored = (
        rows[rows["score"].notna()]
        .groupby("model_id")["prompt_id"]
        .nunique()
        .reindex(names)
        .fillna(0)
    )
    anchor = scored.idxmax()
    found = levels(rows, names, anchor)
    rate, examples = found.table["error_rate"], found.table["examples"]
    if not examples[anchor]:
        raise ValueError(
            "no example has a scored answer of two candidates: they cannot be compared on the same examples"
        )
    variance = (found.influence**2).sum(axis=0)
    flat = (variance < 1e-15) | rate.isin(
        (0, 1)
    )  # no spread was seen: each group counts as one answer
    worth = np.where(
        flat,
        np.minimum(examples, rows["cluster"].nunique()),
        rate * (1 - rate) / np.where(flat, 1.0, variance),
    )
    table = pd.DataFrame(
        {"value": rate, "low": np.nan, "high": np.nan, "worth": worth}, index=names
    )
    table["shared"] = _common_factor(found.influence)
    for name, row in table[rate.notna()].iterrows():
        ends = beta(*_beta(row["value"], row["worth"])).ppf([0.025, 0.975])
        table.loc[name, ["low", "high"]] = min(ends[0], row["value"]), max(ends[1], row["value"])
    aside = int((rows["aside"] != "").sum())
    few = ", ".join(f"{name} {n}" for name, n in examples.items() if n < examples[anchor])
    notes.append(
        f"error rates and prices are measured on {examples[anchor]} of {rows['prompt_id'].nunique()} examples"
        + (f", each model on those that it has in common with {anchor} ({few})" if few else "")
        + f"; {aside} of {len(rows)} answers are set aside"
    )
    notes += [
        f"{name} mostly fails: {lost} count as wrong" for name, lost in mostly_failing(rows).items()
    ]
    source = "; ".join(dict.fromkeys(rows["source"].astype(str))) if "source" in rows else "samples"
    return Errors(
        table, source, examples[examples > 0].astype(int).to_dict(), found.table["cost_usd"]
    )


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
    sign = (
        np.sign(loading[np.abs(loading).round(6).argmax()]) or 1.0
    )  # an axis has no direction of its own
    return np.clip(sign * loading, -1.0, 1.0).round(6)


def ranged(what, given, names, tiers, *, top=1.0):
    """A number, a (low, high) pair or a (value, low, high) triple per model or tier, as a table by model: value, low, high.

    Examples
    --------
    >>> ranged("error_rates", {"small": (0.1, 0.3)}, ["a"], {"a": "small"}).iloc[0].round(3).tolist()
    [0.2, 0.1, 0.3]
    """
    for key in given:
        if key not in names and key not in TIERS:
            raise ValueError(f"{what}: " + unknown("model or tier", key, [*TIERS, *names]))
    rows = []
    for name in names:
        own = given.get(name, given.get(tiers[name]))
        if own is None:
            raise ValueError(f"{what} has nothing for {name} ({tiers[name] or 'no tier'})")
        ends = np.atleast_1d(np.asarray(own, float))
        low, high = ends[-2:] if len(ends) > 1 else (ends[0], ends[0])
        value = (low + high) / 2 if len(ends) == 2 else ends[0]
        if len(ends) > 3 or not 0 <= low <= value <= high <= top or not np.isfinite(high):
            allowed = "shares 0-1" if top == 1 else "from 0 up"
            raise ValueError(
                f"{what}[{name!r}] = {own!r}; allowed: a number, (low, high) or (value, low, high), {allowed}"
            )
        rows.append((value, low, high))
    return pd.DataFrame(rows, index=names, columns=["value", "low", "high"])


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


NO_COST = "no price: the samples have no cost_usd of all its answers, nor tokens that the catalogue prices"
_WORKLOADS = 16  # workloads drawn from a range: each prices every model


def request_prices(names, tiers, workload, prices, *, paid, own_prices, draws, stream, notes):
    """Price of a request on each candidate, at the workload's middle and over its ranges.

    Parameters
    ----------
    names : list of str
    tiers : Series of str, by name
    workload : Workload
        Its ranges are drawn together for all models; the volume cancels.
    prices : Prices
    paid : Series or None
        USD per request by model, as measured in samples: then the workload's tokens price nothing.
    own_prices : mapping of str to float
        USD per request of models that the catalogue does not have.
    draws : int
    stream : callable
        Name -> Generator.
    notes : list of str
        Takes what had to be assumed.

    Returns
    -------
    table : DataFrame
        provider, tier, price_usd (USD per request), price_basis ("catalogue", "samples", "given"), note (why a model
        is out of the running), by model.
    drawn : ndarray, shape (draws, models)
        USD per request. Only an approximate price is drawn for its model alone.
    """
    known = set(prices.frame["model_id"])
    table = pd.DataFrame({"provider": "", "tier": tiers, "note": "", "price_basis": "catalogue", "price_usd": np.nan},
                         index=pd.Index(names, name="model_id"))  # fmt: skip
    listed = [name for name in names if name in known]
    _place(listed, prices, table)
    for name in names if paid is not None else [name for name in names if name not in known]:
        given = own_prices[name] if name in own_prices else np.nan if paid is None else paid[name]
        table.loc[name, ["price_usd", "price_basis"]] = (
            given,
            "given" if paid is None else "samples",
        )
        if np.isnan(given):
            table.loc[name, "note"] = NO_COST
        elif paid is None:
            notes.append(f"the price of {name} is given, not the workload's tokens")
    if paid is not None:
        notes.append(
            "the price of a request is what the samples cost, of each model: not the workload's tokens"
        )
    table.loc[table["note"].ne(""), "price_usd"] = np.nan
    drawn = np.tile(table["price_usd"].to_numpy(float), (draws, 1))
    if listed and paid is None:
        at = [names.index(name) for name in listed]
        per, flags = _listed_prices(listed, workload, prices, table, stream("workload"))
        table.loc[listed, "price_usd"] = per[0]
        drawn[:, at] = per[stream("price").integers(1, len(per), draws)] if len(per) > 1 else per[0]
        for place, name in zip(at, listed, strict=True):
            if "approximate_price" in flags[name]:
                drawn[:, place] *= 1 + APPROXIMATE_BAND * stream(f"price of {name}").uniform(
                    -1, 1, draws
                )
        notes += _flag_words(flags)
    return table, drawn


def _place(listed, prices, table):
    """Provider of each listed model, and a note where it is not sold on the day."""
    first = prices.by_model.reindex(listed)
    table.loc[listed, "provider"] = first["provider"]
    for column, words, out in (("launched_on", "not launched before", first["launched_on"] > prices.as_of),
                               ("retires_on", "retired on", first["retires_on"] <= prices.as_of)):  # fmt: skip
        table.loc[first.index[out], "note"] = [
            f"{words} {day:%Y-%m-%d}" for day in first.loc[out, column]
        ]


def _flag_words(flags):
    words = {"approximate_price": "is approximate", "before_first_price": "is its first known one, of a later day",
             "stale_price": "was checked long ago", "assumed_batch_rate": "has an assumed batch rate",
             "assumed_write_rate": "has an assumed rate for cache writes"}  # fmt: skip
    for flag, said in words.items():
        if models := [name for name, own in flags.items() if flag in own]:
            yield f"the price of {', '.join(models)} {said}"


def _listed_prices(listed, workload, prices, table, rng):
    """USD per request (first at the workload's middle, then at workloads drawn from its ranges) and flags by model."""
    ranges = {
        name: ends
        for name, ends in workload.ranges(NUMERIC).items()
        if ends[0] < ends[1] and name != "requests_per_day"
    }
    point = workload.point()
    works = [point]
    if ranges:
        works += [
            replace(point, **{n: rng.uniform(*ends) for n, ends in ranges.items()})
            for _ in range(_WORKLOADS)
        ]
    per, flags = np.empty((len(works), len(listed))), {}
    for row, work in enumerate(works):
        day = _daily(work, prices, listed, table)
        per[row] = day["cost_usd"] / work.requests_per_day
        over = day.index[day["over_window_share"] > 0]
        table.loc[over, "note"] = [
            f"{day.at[m, 'over_window_share']:.0%} of the requests do not fit its window"
            for m in over
        ]
        flags = flags or day["flags"].to_dict()
    per[:, table.loc[listed, "note"].ne("").to_numpy()] = np.nan
    return per, flags


def _daily(work, prices, listed, table):
    """`daily_cost` by model; a model that lacks a rate stands aside with a note, the others are priced."""
    try:
        return daily_cost(work, prices, listed).set_index("model_id")
    except ValueError as error:
        if len(listed) == 1:
            table.loc[listed[0], "note"] = f"no figure: {error}"
            return pd.DataFrame(
                {"cost_usd": np.nan, "over_window_share": 0.0, "flags": "", "provider": ""},
                index=listed,
            )
        return pd.concat([_daily(work, prices, [name], table) for name in listed])
