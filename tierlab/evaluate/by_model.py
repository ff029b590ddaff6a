"""What each model did on the samples, by itself: quality, money and latency, each with its interval."""

import math

import numpy as np
import pandas as pd

from tierlab.core.vocabulary import ANSWERED, IN_DOUBT
from tierlab.evaluate.intervals import bootstrap, mean_interval, quantile_interval
from tierlab.evaluate.rows import NOT_SENT, example_scores, right_or_wrong, tally


def quality_by_model(rows, models, confidence):
    """Scores per model of a `scored_rows` table: the table `candidates` of `tierlab.compare`."""
    return _table({model: _quality(rows, model, confidence) for model in models})


def _quality(rows, model, confidence):
    own, examples = rows[rows["model_id"] == model], example_scores(rows, model)
    aside = own["aside"] != ""
    low, high, method = mean_interval(
        examples["score"],
        examples["cluster"],
        binary=right_or_wrong(examples),
        confidence=confidence,
    )
    return {
        "examples": own["prompt_id"].nunique(),
        "absent": rows["prompt_id"].nunique() - own["prompt_id"].nunique(),
        "answers": int((~aside).sum()),
        "set_aside": int(aside.sum()),
        "set_aside_as": tally(own["aside"][aside]),
        "non_answers": tally(own["status"][own["status"].ne("ok") & own["score"].notna()]),
        **{"score": examples["score"].mean(), "low": low, "high": high, "method": method},
    }


def costs_by_model(rows, models, confidence, seed):
    """Money per model of a `scored_rows` table: the table `costs` of `tierlab.compare`."""
    table = _table({model: _money(rows[rows["model_id"] == model]) for model in models}).assign(
        low=np.nan, high=np.nan
    )
    priced = table.index[table["per_solved"].notna()]
    if len(priced):
        sums = rows[rows["model_id"].isin(priced)].pivot_table(
            index="cluster",
            columns="model_id",
            values=["cost_usd", "score"],
            aggfunc="sum",
            fill_value=0.0,
        )  # a group in which a model has no row adds nothing to either sum
        ends = bootstrap(
            sums,
            lambda m: m["cost_usd"] / m["score"].where(m["score"] > 0),
            confidence=confidence,
            seed=seed,
        )
        table.loc[priced, ["low", "high"]] = ends.loc[priced, ["low", "high"]]
    return table[["per_request", "per_solved", "low", "high", "solved_per_usd", "note"]]


def _money(own):
    """Cost of one model's rows, per answer received and per unit of score, and what is not known about it."""
    failed, free = ~own["status"].isin(ANSWERED), own["status"].isin(NOT_SENT)
    received, solved, paid = (
        int(own["status"].isin(ANSWERED).sum()),
        own["score"].sum(),
        own["cost_usd"].sum(),
    )
    missing = int((own["cost_usd"].isna() & ~failed).sum())
    doubt = own["status"][failed & ~free & (own["cost_usd"].isna() | own["status"].isin(IN_DOUBT))]
    notes = []
    if missing or own["cost_usd"].isna().all():
        known = own["cost_usd"].notna().any()
        notes.append(f"the cost of {missing:,} answers is unknown" if known else "no cost is known")
        paid = np.nan
    elif len(doubt):
        notes.append(f"a lower bound: failed requests may be billed ({tally(doubt)})")
    if not received or not solved:
        notes.append("nothing solved" if received else "no answer received")
    return {
        "per_request": paid / received if received else np.nan,
        "per_solved": paid / solved if solved else np.nan,
        "solved_per_usd": solved / paid if paid else np.nan,
        "note": "; ".join(notes),
    }


def latency_by_model(rows, models, confidence):
    """Quantiles of complete answers per model: the table `latency` of `tierlab.compare`."""
    needed = math.ceil(math.log((1 - confidence) / 2) / math.log(0.95))
    result = {}
    for model in models:
        own = rows[(rows["model_id"] == model) & (rows["status"] == "ok")]
        sources = list(dict.fromkeys(own["source"].astype(str))) if "source" in own else []
        for measure in ("ttft_s", "end_to_end_s", "tokens_per_s"):
            times = own[measure].dropna().to_numpy(float)
            row, notes = {}, ["mixes sources"] if len(sources) > 1 else []
            for percent in (50, 95):
                names = (f"p{percent}", f"p{percent}_low", f"p{percent}_high")
                found = quantile_interval(times, percent / 100, confidence=confidence)
                row |= dict(zip(names, found, strict=True))
            if 0 < len(times) < needed:
                notes.append(
                    f"p95 has no upper end: {len(times):,} timed answers, {needed:,} are needed"
                )
            result[model, measure] = row | {
                "answers": len(times),
                "source": "; ".join(sources),
                "note": "; ".join(notes),
            }
    return pd.DataFrame.from_dict(result, orient="index").rename_axis(["model_id", "measure"])


def _table(rows):
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model_id")
