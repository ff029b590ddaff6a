"""What each model did on the samples, by itself: quality and money, each with its interval."""

import numpy as np
import pandas as pd

from tierlab.core.vocabulary import ANSWERED, IN_DOUBT
from tierlab.evaluate.intervals import bootstrap, mean_interval
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


def _table(rows):
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model_id")
