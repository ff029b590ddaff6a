"""Error rates of the candidates: counted on examples, read from samples, given by hand, or assumed from the task."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tierlab.decision import assumed
from tierlab.names import TIERS, unknown
from tierlab.scored import levels, mostly_failing


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
    doi:10.1214/ss/1009213286). Samples (`rows`, of `tierlab.scored.scored_rows`) have the rates of `tierlab.scored.levels`,
    which `compare` has as well, with a Beta of that mean: as wide as the errors clustered by group, and never narrower at 0
    than Jeffreys'. Their correlations, by which examples that are hard for all models move all rates, are those of one
    common factor.
    """
    if sum(given is not None for given in (rows, error_rates, error_counts)) > 1:
        raise ValueError("error rates come from one place: give samples, error_rates or error_counts")
    if error_rates is not None:
        table = ranged("error_rates", error_rates, names, tiers)
        notes.append("error rates are given by hand")
        return Errors(table.assign(worth=0.0, shared=1.0), "given", {})
    if rows is not None:
        return _sampled(names, rows, notes)
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
    table = pd.DataFrame(np.nan, index=names, columns=["value", "low", "high"]).assign(worth=0.0, shared=1.0)
    if open_:
        table.loc[open_, ["value", "low", "high"]] = _assumed(open_, tiers[open_], task, tasks, notes)
    for name, (wrong, examples) in counts.items():
        rate = (wrong + 0.5) / (examples + 1)
        table.loc[name] = rate, *beta(*_beta(rate, examples)).ppf([0.025, 0.975]), examples, 0.0
    if counts:
        said = ", ".join(f"{name} {wrong} of {examples}" for name, (wrong, examples) in counts.items())
        notes.append(
            f"wrong answers counted on examples of yours: {said} (the rate is (wrong + 1/2) / (examples + 1), with its 95% interval)"
        )
    return Errors(table, "counted" if counts else "assumed", {name: examples for name, (_, examples) in counts.items()})


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


def _sampled(names, rows, notes):
    from scipy.stats import beta

    scored = rows[rows["score"].notna()].groupby("model_id")["prompt_id"].nunique().reindex(names).fillna(0)
    anchor = scored.idxmax()
    found = levels(rows, names, anchor)
    rate, examples = found.table["error_rate"], found.table["examples"]
    if not examples[anchor]:
        raise ValueError("no example has a scored answer of two candidates: they cannot be compared on the same examples")
    variance = (found.influence**2).sum(axis=0)
    flat = (variance < 1e-15) | rate.isin((0, 1))  # no spread was seen: each group counts as one answer
    worth = np.where(flat, np.minimum(examples, rows["cluster"].nunique()), rate * (1 - rate) / np.where(flat, 1.0, variance))
    table = pd.DataFrame({"value": rate, "low": np.nan, "high": np.nan, "worth": worth}, index=names)
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
    notes += [f"{name} mostly fails: {lost} count as wrong" for name, lost in mostly_failing(rows).items()]
    source = "; ".join(dict.fromkeys(rows["source"].astype(str))) if "source" in rows else "samples"
    return Errors(table, source, examples[examples > 0].astype(int).to_dict(), found.table["cost_usd"])


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
    sign = np.sign(loading[np.abs(loading).round(6).argmax()]) or 1.0  # an axis has no direction of its own
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
