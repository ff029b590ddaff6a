"""The models that could do a task, side by side: what a request costs on each, all in, and how sure that is."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tierlab.decision import assumed, error_with_tools, expected_cost
from tierlab.names import TIERS, unknown
from tierlab.outcomes import as_tiers
from tierlab.scaling import daily_cost
from tierlab.scored import scored_rows
from tierlab.workload import Workload

DRAWS = 1_000
INTERVAL = f"90% of {DRAWS:,} draws over the stated ranges"
AGENT_CALLS = 5  # tool calls of an agentic request where none are given: an assumption


@dataclass(frozen=True, eq=False)
class Options:
    """What `weigh` found.

    Attributes
    ----------
    table : DataFrame
        One row per model, cheapest all in first: provider, tier, model_id; USD per request: price_usd, error_usd,
        time_usd, expected_usd, low, high (`INTERVAL`); error_rate, error_low, error_high (share 0-1), seconds;
        best_share (share of the draws in which it is the cheapest), note (why a model is out of the running).
    error_cost_usd, second_usd : float
    basis : str
        Where the error rates come from: "assumed", "counted", "given", or the source of the samples.
    grounds : tuple of str
        Where the numbers come from that the catalogue does not give, as sentences.
    """

    table: pd.DataFrame
    error_cost_usd: float
    second_usd: float
    basis: str
    grounds: tuple = field(repr=False)

    def running(self):
        """The rows that can be chosen."""
        return self.table[self.table["expected_usd"].notna()]


def weigh(*, prices, task=None, error_cost_usd=None, workload=None, provider=None, models=None, samples=None, error_counts=None,
          error_rates=None, second_usd=0.0, seconds=None, tool_calls=None, tool_error_rates=None, tasks=None, seed=0):  # fmt: skip
    """Price, errors and time of a request on each model; parameters as for `tierlab.recommend`, and `tasks`, the task table.

    Returns
    -------
    Options

    Notes
    -----
    Draws take the ends of the ranges for granted and spread evenly between low, value and high. What is uncertain
    about the errors of a task moves all tiers together (a task is harder or easier than thought), so they share one
    draw; the samples' errors are resampled by example, all models on the same examples; counts have the Beta posterior of
    Jeffreys' prior, whose interval is close to Wilson's (Brown, Cai, DasGupta 2001, doi:10.1214/ss/1009213286).
    """
    rng = np.random.default_rng(seed)
    workload = Workload(requests_per_day=1_000) if workload is None else workload
    if second_usd < 0 or (error_cost_usd is not None and error_cost_usd < 0):
        raise ValueError(f"error_cost_usd={error_cost_usd}, second_usd={second_usd}; a cost is 0 or more")
    names, tiers = _candidates(prices, provider, models, samples)
    notes = []
    price = _prices(names, tiers, workload, prices, samples, notes)
    errors, error_draws, basis = _errors(names, tiers, task, tasks, samples, error_rates, error_counts, rng, notes)
    tool_calls = AGENT_CALLS if tool_calls is None and task == "agentic_tools" and basis == "assumed" else tool_calls or 0
    if tool_calls:
        errors, error_draws = _with_tools(errors, error_draws, tiers, tool_calls, tool_error_rates, rng, notes)
    cost, cost_draws = _error_cost(error_cost_usd, task, tasks, rng, notes)
    times, time_draws = _seconds(names, tiers, price["provider"], workload, samples, seconds, second_usd, rng, notes)
    table = price.assign(error_rate=errors["value"], error_low=errors["low"], error_high=errors["high"], seconds=times)
    table["error_usd"], table["time_usd"] = table["error_rate"] * cost, table["seconds"] * second_usd if second_usd else 0.0
    table["expected_usd"] = expected_cost(
        table["price_usd"], table["error_rate"], cost, times if second_usd else 0.0, second_usd
    )
    low, high = table["price_low"].to_numpy(), table["price_high"].to_numpy()
    spread = low + (high - low) * rng.random((DRAWS, len(table)))
    draws = expected_cost(spread, error_draws, cost_draws[:, None], time_draws if second_usd else 0.0, second_usd)
    table["low"], table["high"] = np.quantile(draws, [0.05, 0.95], axis=0)
    in_running = table["expected_usd"].notna().to_numpy()
    if not in_running.any():
        raise ValueError("no model is left to choose from: " + "; ".join(f"{i}: {n}" for i, n in table["note"].items()))
    best = np.where(in_running, draws, np.inf).argmin(axis=1)
    table["best_share"] = np.bincount(best, minlength=len(table)) / DRAWS
    table.loc[~in_running, ["low", "high"]] = np.nan
    columns = ["provider", "tier", "model_id", "price_usd", "error_rate", "error_low", "error_high", "seconds", "error_usd",
               "time_usd", "expected_usd", "low", "high", "best_share", "note"]  # fmt: skip
    table = table.sort_values(["expected_usd", "price_usd"], kind="stable").reset_index()[columns]
    return Options(table, float(cost), float(second_usd), basis, tuple(notes))


def _candidates(prices, provider, models, samples):
    """Model ids, and the tier of each ("" for none)."""
    lineup = prices.lineup()
    if provider is not None and provider not in lineup.index:
        raise ValueError(unknown("provider", provider, lineup.index))
    rows = lineup if provider is None else lineup.loc[[provider]]
    slots = {model: tier for tier in TIERS for model in lineup[tier].dropna()}
    if models is not None:
        names = list(dict.fromkeys(_known(prices, name) for name in models))
    elif samples is not None:
        names = list(dict.fromkeys(samples["model_id"].astype(str)))
    else:
        names = [model for row in rows.to_numpy() for model in row if isinstance(model, str)]
    if not names:
        raise ValueError("there is no model to choose from")
    own = prices.frame.drop_duplicates("model_id").set_index("model_id")["tier"]
    sampled = {}
    if samples is not None and samples["model_id"].nunique() > 1:
        sampled = as_tiers(samples).drop_duplicates("model_id").set_index("model_id")["tier"].to_dict()
    found = [
        slots.get(name) or (own[name] if name in own and isinstance(own[name], str) else sampled.get(name, ""))
        for name in names
    ]
    return names, pd.Series(found, index=names)


def _known(prices, name):
    try:
        return prices.resolve(name)
    except ValueError:
        if name in prices.frame["model_id"].to_numpy():
            return name
        raise


def _prices(names, tiers, workload, prices, samples, notes):
    """provider, tier, price_usd, price_low, price_high (USD per request) and note, by model."""
    known = set(prices.frame["model_id"])
    listed = [name for name in names if name in known]
    table = pd.DataFrame({"provider": "", "tier": tiers, "note": ""}, index=pd.Index(names, name="model_id"))
    table[["price_usd", "price_low", "price_high"]] = np.nan
    if listed:
        day = daily_cost(workload, prices, listed).set_index("model_id")
        per = workload.point().requests_per_day
        table.loc[listed, ["price_usd", "price_low", "price_high"]] = (day[["cost_usd", "low", "high"]] / per).to_numpy()
        table.loc[listed, "provider"] = day["provider"]
        over = day.index[day["cost_usd"].isna()]
        table.loc[over, "note"] = [f"{day.at[m, 'over_window_share']:.0%} of the requests do not fit its window" for m in over]
        rough = [model for model in listed if "approximate_price" in day.at[model, "flags"]]
        notes += [f"the price of {', '.join(rough)} is approximate"] * bool(rough)
        gone = prices.frame.drop_duplicates("model_id").set_index("model_id")["retires_on"].reindex(listed)
        gone = gone[gone <= prices.as_of]
        table.loc[gone.index, "note"] = [f"retired on {on:%Y-%m-%d}" for on in gone]
        table.loc[gone.index, ["price_usd", "price_low", "price_high"]] = np.nan
    own = [name for name in names if name not in known]
    if own:
        paid = samples.groupby("model_id", observed=True)["cost_usd"].mean().reindex(own)
        for column in ("price_usd", "price_low", "price_high"):
            table.loc[own, column] = paid.to_numpy()
        table.loc[paid.index[paid.isna()], "note"] = "no price in the catalogue and no cost in the samples"
        notes.append(f"the price of {', '.join(own)} is what the samples cost on average, not the workload's tokens")
    return table


def _errors(names, tiers, task, tasks, samples, error_rates, error_counts, rng, notes):
    """Error rates by model (value, low, high), draws of them (draws x models), and where they come from."""
    if sum(given is not None for given in (samples, error_rates, error_counts)) > 1:
        raise ValueError("error rates come from one place: give samples, error_rates or error_counts")
    if error_rates is not None:
        table = _given("error_rates", error_rates, names, tiers)
        notes.append("error rates are given by hand")
        return table, _draws(table, rng.random(DRAWS)), "given"
    if samples is not None:
        return _sampled_errors(names, samples, rng, notes)
    from scipy.stats import beta

    counted = _counts(error_counts or {}, names, tiers)
    open_ = [name for name in names if name not in counted]
    table = pd.DataFrame(np.nan, index=names, columns=["value", "low", "high"])
    draws = np.full((DRAWS, len(names)), np.nan)
    if open_:
        table.loc[open_], draws[:, [names.index(n) for n in open_]] = _assumed_errors(
            open_, tiers[open_], task, tasks, rng, notes
        )
    for name, (wrong, examples) in counted.items():
        own = beta(wrong + 0.5, examples - wrong + 0.5)
        table.loc[name] = wrong / examples, *own.ppf([0.025, 0.975])
        draws[:, names.index(name)] = own.rvs(DRAWS, random_state=rng)
    if counted:
        said = ", ".join(f"{name} {wrong} of {examples}" for name, (wrong, examples) in counted.items())
        notes.append(f"wrong answers counted on examples of yours: {said} (95% interval by Jeffreys' prior)")
    return table, draws, "counted" if counted else "assumed"


def _assumed_errors(names, tiers, task, tasks, rng, notes):
    if task is None:
        raise ValueError(
            "where do errors come from? Give a task (assumed rates), error_counts or samples (your own), or error_rates"
        )
    table = assumed("error_rate", task, tasks=tasks).reindex(tiers).set_axis(names)
    if table["value"].isna().any():
        raise ValueError(
            f"no error rate is assumed for a model without a tier: {', '.join(table.index[table['value'].isna()])}"
        )
    notes.append(
        f"error rates of {', '.join(dict.fromkeys(tiers))} are assumed from the complexity of {task}, per tier and not per "
        "provider (data/assumptions.csv)"
    )
    return table, _draws(table, rng.random(DRAWS))


def _counts(error_counts, names, tiers):
    """(wrong, examples) by model."""
    for key, pair in error_counts.items():
        if key not in names and key not in TIERS:
            raise ValueError("error_counts: " + unknown("model or tier", key, [*TIERS, *names]))
        wrong, examples = pair
        if not (0 <= wrong <= examples and examples >= 1):
            raise ValueError(
                f"error_counts[{key!r}] = {pair!r}; allowed: (wrong, examples) with 0 <= wrong <= examples, from 1 example up"
            )
    found = {name: error_counts.get(name, error_counts.get(tiers[name])) for name in names}
    return {name: pair for name, pair in found.items() if pair is not None}


def _sampled_errors(names, samples, rng, notes):
    rows = scored_rows(samples)
    score = rows.pivot_table(index="cluster", columns="model_id", values="score", aggfunc="mean").reindex(columns=names)
    if missing := [name for name in names if score[name].isna().all()]:
        raise ValueError(
            f"no scored answer of {', '.join(missing)} in the samples; models there: {', '.join(rows['model_id'].unique())}"
        )
    aside = int((rows["aside"] != "").sum())
    examples = rows["prompt_id"].nunique()
    notes.append(
        f"error rates come from {examples} examples of yours, one minus the mean score; {aside} of {len(rows)} answers are set aside"
    )
    weights = rng.multinomial(len(score), np.full(len(score), 1 / len(score)), DRAWS)
    there = score.notna().to_numpy(float)
    with np.errstate(invalid="ignore"):
        draws = 1 - (weights @ score.fillna(0).to_numpy()) / (weights @ there)
    draws = np.where(np.isnan(draws), 1 - score.mean().to_numpy(), draws)
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    table = pd.DataFrame({"value": 1 - score.mean(), "low": low, "high": high}, index=names)
    source = "; ".join(dict.fromkeys(rows["source"].astype(str))) if "source" in rows else "samples"
    return table, draws, source


def _given(what, rates, names, tiers):
    """A number, a (low, high) pair or a (value, low, high) triple per model or tier, as a table by model."""
    for key in rates:
        if key not in names and key not in TIERS:
            raise ValueError(f"{what}: " + unknown("model or tier", key, [*TIERS, *names]))
    rows = []
    for name in names:
        given = rates.get(name, rates.get(tiers[name]))
        if given is None:
            raise ValueError(f"{what} has nothing for {name} ({tiers[name] or 'no tier'})")
        ends = np.atleast_1d(np.asarray(given, float))
        low, high = ends[-2:] if len(ends) > 1 else (ends[0], ends[0])
        value = (low + high) / 2 if len(ends) == 2 else ends[0]
        if len(ends) > 3 or not 0 <= low <= value <= high or (what != "seconds" and high > 1):
            raise ValueError(f"{what}[{name!r}] = {given!r}; allowed: a number, (low, high) or (value, low, high), "
                             + ("from 0 up" if what == "seconds" else "shares 0-1"))  # fmt: skip
        rows.append((value, low, high))
    return pd.DataFrame(rows, index=names, columns=["value", "low", "high"])


def _draws(table, position):
    """Where each range stands at a position from 0 (low) over 0.5 (value) to 1 (high): draws x models."""
    low, value, high = (table[end].to_numpy(float) for end in ("low", "value", "high"))
    position = np.asarray(position)[:, None]
    return np.where(position < 0.5, low + 2 * position * (value - low), value + (2 * position - 1) * (high - value))


def _with_tools(errors, draws, tiers, tool_calls, tool_error_rates, rng, notes):
    names = list(errors.index)
    if tool_error_rates is None:
        tools = assumed("tool_error_rate").reindex(tiers).set_axis(names)
        notes.append(f"{tool_calls} tool calls a request, each wrong at the rate assumed for its tier (data/assumptions.csv)")
    else:
        tools = _given("tool_error_rates", tool_error_rates, names, tiers)
    table = pd.DataFrame({end: error_with_tools(errors[end], tools[end], tool_calls) for end in errors}, index=names)
    return table, error_with_tools(draws, _draws(tools, rng.random(DRAWS)), tool_calls)


def _error_cost(error_cost_usd, task, tasks, rng, notes):
    if error_cost_usd is not None:
        return error_cost_usd, np.full(DRAWS, float(error_cost_usd))
    if task is None:
        raise ValueError("what does an error cost? Give error_cost_usd, or a task whose stakes are rated")
    ends = np.log10(assumed("error_cost", task, tasks=tasks))
    value, low, high = (10 ** ends.iloc[0]).round(10)
    notes.append(f"the cost of an error is assumed from the stakes of {task}: {value:g} USD ({low:g} to {high:g})")
    return value, 10 ** _draws(ends, rng.random(DRAWS))[:, 0]


def _seconds(names, tiers, providers, workload, samples, seconds, second_usd, rng, notes):
    """Seconds per request by model, and draws of them; NaN where nobody knows and the time is worth nothing."""
    if seconds is not None:
        table = _given("seconds", seconds, names, tiers)
        return table["value"], _draws(table, rng.random(DRAWS))
    if samples is not None and "end_to_end_s" in samples and samples["end_to_end_s"].notna().any():
        times = samples.groupby("model_id", observed=True)["end_to_end_s"].median().reindex(names)
        table = pd.DataFrame({"value": times, "low": times, "high": times})
        notes += ["the time of a request is the median of the samples"] * bool(second_usd)
    else:
        table = _assumed_seconds(names, tiers, providers, workload)
        notes += ["speeds are the article's or assumed, with a range (data/speeds.csv)"] * bool(second_usd)
    if second_usd and table["value"].isna().any():
        raise ValueError(
            f"no speed is known of {', '.join(table.index[table['value'].isna()])}; give seconds={{model: seconds}}"
        )
    return table["value"], _draws(table, rng.random(DRAWS))


def _assumed_seconds(names, tiers, providers, workload):
    from tierlab.latency import seconds_per_request
    from tierlab.speeds import load_speeds

    output = workload.point().mean_tokens()["output"]
    keys = pd.MultiIndex.from_arrays([providers.reindex(names).to_numpy(), tiers.to_numpy()])
    own = load_speeds().set_index(["provider", "tier"]).reindex(keys).set_axis(names)
    known = own.dropna(subset=["ttft_s", "tokens_per_s"])
    ends = {"value": ("", ""), "low": ("_low", "_high"), "high": ("_high", "_low")}  # a slow speed is a long time
    times = {
        end: seconds_per_request(output, known[f"ttft_s{wait}"], known[f"tokens_per_s{pace}"])
        for end, (wait, pace) in ends.items()
    }
    return pd.DataFrame(times, index=known.index, columns=list(ends)).reindex(names)
