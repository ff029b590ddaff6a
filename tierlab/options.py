"""The models that could do a task, side by side: what a request costs on each, all in, and how sure that is."""

from dataclasses import dataclass, field
from functools import lru_cache
from zlib import crc32

import numpy as np
import pandas as pd

from tierlab.decision import assumed, error_with_tools, expected_cost
from tierlab.error_rates import draw_errors, error_rates_of, ranged
from tierlab.error_rates import spread as between
from tierlab.names import TIERS, unknown
from tierlab.outcome_table import price_outcomes
from tierlab.outcomes import as_tiers
from tierlab.providers import ANSWERED
from tierlab.request_prices import request_prices
from tierlab.scored import scored_rows
from tierlab.workload import Workload

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
        By model_id, what the draws are made of besides the table: worth, shared (`tierlab.error_rates.Errors`),
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
    names, tiers, rows = _candidates(prices, provider, models, samples, own_prices or {}, truncated, notes)
    asked = {"task": task, "tasks": tasks, "rows": rows, "error_rates": _keyed(error_rates, prices, names),
             "error_counts": _keyed(error_counts, prices, names)}  # fmt: skip
    errors = error_rates_of(names, tiers, notes=notes, **asked)
    ends = errors.table if spread is None else errors.table.assign(**spread)
    ends, tool_calls = _with_tools(ends, errors, tiers, task, tool_calls, _keyed(tool_error_rates, prices, names), notes)

    def stream(name):
        return np.random.default_rng([seed, crc32(name.encode())])

    price, price_draws = request_prices(
        names, tiers, workload, prices, paid=errors.paid, own_prices=own_prices or {}, draws=DRAWS, stream=stream, notes=notes
    )
    price.loc[ends["value"].isna() & price["note"].eq(""), "note"] = "no example with a scored answer in common with the others"
    cost, cost_draws = _error_cost(error_cost_usd, task, tasks, stream, notes)
    times = _seconds(names, tiers, price["provider"], workload, rows, _keyed(seconds, prices, names), second_usd, notes)
    waits = second_usd * (1 - workload.point().batch_share)
    table = price.assign(error_rate=ends["value"], error_low=ends["low"], error_high=ends["high"], seconds=times["value"])
    table["error_usd"], table["time_usd"] = table["error_rate"] * cost[0], table["seconds"] * waits if waits else 0.0
    table["expected_usd"] = expected_cost(table["price_usd"], table["error_rate"], cost[0]) + table["time_usd"]
    time_draws = between(times, stream("time").random(DRAWS)) if waits else 0.0
    draws = expected_cost(price_draws, draw_errors(ends, stream, DRAWS), cost_draws[:, None], time_draws, waits)
    running = table["expected_usd"].notna().to_numpy()
    if not running.any():
        raise ValueError(
            "no model is left to choose from: " + "; ".join(f"{i}: {n or 'no number'}" for i, n in table["note"].items())
        )
    low, high = np.quantile(np.where(running, draws, 0.0), [0.05, 0.95], axis=0)
    table["low"] = np.minimum(low, table["expected_usd"]).where(running)
    table["high"] = np.maximum(high, table["expected_usd"]).where(running)
    table["best_share"] = _cheapest_share(np.where(running, draws, np.inf))
    table = table.sort_values(["expected_usd", "price_usd"], kind="stable").reset_index()[_COLUMNS]
    filed = ends[["worth", "shared"]].assign(seconds_low=times["low"], seconds_high=times["high"])
    return Options(table, *cost, float(second_usd), tool_calls, errors.counted, errors.basis, tuple(notes), filed, rows)


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
        raise ValueError("provider picks from the lineup; with models or samples the candidates are named already")


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
                raise ValueError(f"{unknown('model', name, names.values())}; the samples hold no answer of it")
        rows = rows[rows["model_id"].isin(asked)].reset_index(drop=True)
    open_ = rows["cost_usd"].isna() & rows["status"].isin(ANSWERED)
    tokens = ["uncached_input_tokens", "output_tokens"]
    if open_.any() and set(tokens) <= set(rows) and (counted := open_ & rows[tokens].notna().all(axis=1)).any():
        priced = price_outcomes(rows[counted], prices)
        rows.loc[counted, "cost_usd"] = priced["cost_usd"]
        for name, known in priced["cost_usd"].notna().groupby(priced["model_id"], sort=False).sum().items():
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
        names = list(dict.fromkeys(name if name in own_prices else prices.resolve(name) for name in models))
    else:
        own = lineup if provider is None else lineup.loc[[provider]]
        names = [model for row in own.to_numpy() for model in row if isinstance(model, str)]
    if not names:
        raise ValueError("there is no model to choose from")
    own = prices.by_model["tier"]
    sampled = {}
    if rows is not None and len(names) > 1:
        sampled = as_tiers(rows).drop_duplicates("model_id").set_index("model_id")["tier"].to_dict()
    tiers = [slots.get(name) or (own[name] if isinstance(own.get(name), str) else sampled.get(name, "")) for name in names]
    return names, pd.Series(tiers, index=names), rows


def _with_tools(ends, errors, tiers, task, tool_calls, tool_error_rates, notes):
    """Errors with tool calls on top, where the rate does not hold them already: counted on whole tasks it does."""
    bare = [name for name in ends.index if name not in errors.counted]
    if errors.counted and not bare and tool_calls:
        raise ValueError("error rates counted on whole tasks hold their tool calls already: leave tool_calls out")
    if tool_calls is None:
        tool_calls = AGENT_CALLS if task == "agentic_tools" and errors.basis in ("assumed", "counted") and bare else 0
    if not tool_calls:
        return ends, 0
    if tool_error_rates is None:
        tools = assumed("tool_error_rate").reindex(tiers[bare]).set_axis(bare)
        notes.append(f"{tool_calls} tool calls a request, each wrong at the rate assumed for its tier (data/assumptions.csv)")
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
            raise ValueError(f"error_cost_usd={error_cost_usd}; a number from 0 up is needed, or a (value, low, high) triple")
        value, low, high = ends if len(ends) == 3 else ends.repeat(3)
    elif task is None:
        raise ValueError("what does an error cost? Give error_cost_usd, or a task whose stakes are rated")
    else:
        value, low, high = assumed("error_cost", task, tasks=tasks).iloc[0]
        notes.append(f"the cost of an error is assumed from the stakes of {task}: {value:g} USD ({low:g} to {high:g})")
    ends = pd.DataFrame({"value": [float(value)], "low": [float(low)], "high": [float(high)]})
    if low == high:
        return tuple(ends.iloc[0]), np.full(DRAWS, float(value))
    position = stream("cost of an error").random(DRAWS)
    # It runs over powers of ten, which have no zero.
    drawn = np.exp(between(np.log(ends), position)) if low > 0 else between(ends, position)
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
        notes += ["speeds are the article's or assumed per provider and tier, with a range (data/speeds.csv)"] * bool(
            second_usd
        )
    if second_usd and table["value"].isna().any():
        raise ValueError(
            f"no speed is known of {', '.join(table.index[table['value'].isna()])}; give seconds={{model: seconds}}"
        )
    return table


@lru_cache
def _speeds():
    """data/speeds.csv by provider and tier."""
    from tierlab.speeds import load_speeds

    return load_speeds().set_index(["provider", "tier"])


def _assumed_seconds(names, tiers, providers, workload):
    from tierlab.latency import seconds_per_request

    output = max(1.0, workload.point().mean_tokens().get("output", 0.0))
    keys = pd.MultiIndex.from_arrays([providers.reindex(names).to_numpy(), tiers.to_numpy()])
    own = _speeds().reindex(keys).set_axis(names)
    known = own.dropna(subset=["ttft_s", "tokens_per_s"])
    ends = {"value": ("", ""), "low": ("_low", "_high"), "high": ("_high", "_low")}  # a slow speed is a long time
    times = {
        end: seconds_per_request(output, known[f"ttft_s{wait}"], known[f"tokens_per_s{pace}"])
        for end, (wait, pace) in ends.items()
    }
    return pd.DataFrame(times, index=known.index, columns=list(ends)).reindex(names)
