"""Error rates of the candidates: counted on examples, read from samples, given by hand, or assumed from the task."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tierlab.decision import assumed
from tierlab.names import TIERS, unknown
from tierlab.scored import scored_rows


@dataclass(frozen=True, eq=False)
class Errors:
    """Error rates by model.

    Attributes
    ----------
    table : DataFrame
        value, low, high (share 0-1) by model.
    draws : ndarray, shape (draws, models)
    basis : str
        "assumed", "counted", "given", or the source of the samples.
    counted : dict
        Model -> number of examples, for rates that were counted on whole tasks.
    """

    table: pd.DataFrame
    draws: np.ndarray
    basis: str
    counted: dict


def error_rates_of(names, tiers, *, task, tasks, samples, error_rates, error_counts, truncated, draws, rng, notes):
    """Error rates of the candidates from the one place that was given; parameters as for `tierlab.recommend`.

    Notes
    -----
    Counts have the posterior of Jeffreys' prior, Beta(wrong + 1/2, right + 1/2): its mean is the value, so that 0 wrong
    of 10 is not "never", and its interval is close to Wilson's (Brown, Cai, DasGupta 2001,
    doi:10.1214/ss/1009213286). Samples have the Bayesian bootstrap (Rubin 1981, doi:10.1214/aos/1176345338) over
    examples or their groups, the same weights for every model, with Jeffreys' half wrong and half right added to each
    model: for right-or-wrong scores without groups each model's draws are exactly that Beta.
    """
    if sum(given is not None for given in (samples, error_rates, error_counts)) > 1:
        raise ValueError("error rates come from one place: give samples, error_rates or error_counts")
    if error_rates is not None:
        table = ranged("error_rates", error_rates, names, tiers)
        notes.append("error rates are given by hand")
        return Errors(table, spread(table, rng.random(draws)), "given", {})
    if samples is not None:
        return _sampled(names, samples, truncated, draws, rng, notes)
    return _counted(names, tiers, task, tasks, error_counts or {}, draws, rng, notes)


def _counted(names, tiers, task, tasks, error_counts, draws, rng, notes):
    from scipy.stats import beta

    counts = _counts(error_counts, names, tiers)
    open_ = [name for name in names if name not in counts]
    table = pd.DataFrame(np.nan, index=names, columns=["value", "low", "high"])
    drawn = np.full((draws, len(names)), np.nan)
    if open_:
        own = _assumed(open_, tiers[open_], task, tasks, notes)
        table.loc[open_], drawn[:, [names.index(n) for n in open_]] = own, spread(own, rng.random(draws))
    for name, (wrong, examples) in counts.items():
        posterior = beta(wrong + 0.5, examples - wrong + 0.5)
        table.loc[name] = posterior.mean(), *posterior.ppf([0.025, 0.975])
        drawn[:, names.index(name)] = posterior.rvs(draws, random_state=rng)
    if counts:
        said = ", ".join(f"{name} {wrong} of {examples}" for name, (wrong, examples) in counts.items())
        notes.append(
            f"wrong answers counted on examples of yours: {said} (the rate is (wrong + 1/2) / (examples + 1), with its 95% interval)"
        )
    return Errors(table, drawn, "counted" if counts else "assumed", {name: examples for name, (_, examples) in counts.items()})


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
            raise ValueError("error_counts: " + unknown("model or tier", key, [*dict.fromkeys(tiers), *names]))
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


def _sampled(names, samples, truncated, draws, rng, notes):
    rows = scored_rows(samples, truncated=truncated)
    score = rows.pivot_table(index="prompt_id", columns="model_id", values="score", aggfunc="mean").reindex(columns=names)
    if missing := [name for name in names if score[name].isna().all()]:
        known = ", ".join(rows["model_id"].unique())
        raise ValueError(f"no scored answer of {', '.join(missing)} in the samples; models there: {known}")
    both = score.dropna()
    if both.empty:
        raise ValueError("no example has a scored answer of every candidate: they cannot be compared on the same examples")
    cluster = rows.drop_duplicates("prompt_id").set_index("prompt_id")["cluster"].reindex(both.index)
    wrong = (1 - both).groupby(cluster.to_numpy()).sum()
    sizes = cluster.value_counts().reindex(wrong.index).to_numpy(float)
    weight = rng.gamma(1.0, size=(draws, len(sizes)))
    half_wrong, half_right = rng.gamma(0.5, size=(2, draws, len(names)))
    drawn = (weight @ wrong.to_numpy() + half_wrong) / ((weight @ sizes)[:, None] + half_wrong + half_right)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    value = (wrong.sum() + 0.5) / (len(both) + 1)
    aside = int((rows["aside"] != "").sum())
    notes.append(f"error rates come from the {len(both)} of {rows['prompt_id'].nunique()} examples that every candidate has a score on: "
                 f"(wrong + 1/2) / (examples + 1), with its 95% interval; {aside} of {len(rows)} answers are set aside")  # fmt: skip
    source = "; ".join(dict.fromkeys(rows["source"].astype(str))) if "source" in rows else "samples"
    table = pd.DataFrame({"value": value, "low": low, "high": high}, index=names)
    return Errors(table, drawn, source, dict.fromkeys(names, len(both)))


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
            raise ValueError(f"{what}[{name!r}] = {own!r}; allowed: a number, (low, high) or (value, low, high), {allowed}")
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
    return np.where(position < 0.5, low + 2 * position * (value - low), value + (2 * position - 1) * (high - value))
