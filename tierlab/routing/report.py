"""Judge one router on one outcomes table: the summary, curve and page of the command `tierlab route`."""

import base64
import html
import io
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tierlab.core import paths
from tierlab.core.files import OutputFolder
from tierlab.core.untrusted import guarded
from tierlab.routing.curve import cost_quality_curve, curve_band, metric_intervals
from tierlab.routing.outcomes import outcome_account, outcome_origin
from tierlab.routing.policies import Always, Oracle, RandomMix, Threshold
from tierlab.routing.sources import load_outcomes
from tierlab.routing.text_router import out_of_fold_gain
from tierlab.routing.verdict import calibrate_threshold, compare_policies

# Columns and rows of the tables that a reader sees, in words; the CSV files keep the names.
_WORDS = {
    "model_id": "model",
    "score": "mean score (0-1)",
    "usd_per_1000": "cost (USD per 1,000 prompts)",
    "without_cost": "answers without a cost",
    "cost_source": "source of costs",
    "saving": "saving (share of the cost)",
    "score_change": "change of mean score",
    "over_control": "gain over a random mix (score)",
    "over_zero": "gain over single models (score)",
    "net_usd_per_1000": "net gain, lost answers included (USD per 1,000 prompts)",
    "strong_share": "strong calls (share)",
    "apgr": "APGR (share of the quality gap)",
    "cpt_0.5": "CPT 50% (share of strong calls)",
    "cpt_0.8": "CPT 80% (share of strong calls)",
    "low": "low (95%)",
    "high": "high (95%)",
}


@dataclass(frozen=True, eq=False)
class RouterReport:
    """What is known of a router between two models.

    Attributes
    ----------
    name, router, weak, strong : str
        The outcomes table, what ranks its prompts, and the two models.
    tables : dict of str to DataFrame
        By title, the tables as they are printed and shown, with headings in words.
    policies, curve, band : DataFrame
        `compare_policies` of five policies, the exact curve, and its bootstrap band.
    verdict : str
        What the numbers say.
    """

    name: str
    router: str
    weak: str
    strong: str
    tables: dict
    policies: pd.DataFrame
    curve: pd.DataFrame
    band: pd.DataFrame
    verdict: str


def router_report(
    source,
    *,
    prices=None,
    usd_per_mtok=None,
    weak=None,
    strong=None,
    score=None,
    share=0.2,
    error_cost_usd=0.0,
    incomplete="raise",
    seed=0,
):
    """Judge a router between two models of an outcomes table.

    Parameters
    ----------
    source : str or path
        A public data set by name, or a CSV or Parquet file with prompt_id, model_id, score, and costs or tokens.
    prices : Prices, optional
        Prices the answers from their tokens; by default the table's own costs count.
    usd_per_mtok : mapping of str to (float, float), optional
        Input and output rate of models that the catalogue lacks, USD per million tokens.
    weak, strong : str, optional
        By default the cheapest and the most expensive model by mean cost. If both are named, only their rows are checked.
    score : str, optional
        Column with the router's score, higher for the strong model; by default as `rank_prompts` chooses.
    share : float
        Share 0-1 of requests that may go to the strong model.
    error_cost_usd : float
        What a lost answer costs, US dollars. Above 0, the report also shows what each policy nets.
    incomplete : {"raise", "drop"}
        What to do with prompts that one of the models has not answered.
    seed : int
        Makes folds, splits and resamples.

    Returns
    -------
    RouterReport

    Raises
    ------
    ValueError
        If the table cannot be used, a model is unknown, or nothing can rank the prompts.
    """
    named = [weak, strong] if weak and strong else None
    outcomes = load_outcomes(
        source, prices=prices, usd_per_mtok=usd_per_mtok, incomplete=incomplete, models=named
    )
    cost = outcomes.groupby("model_id", observed=True)["cost_usd"].mean().sort_values()
    if (weak is None or strong is None) and cost.isna().any():
        raise ValueError(
            f"the cost of {cost.index[cost.isna()][0]!r} is not known, so name --weak and --strong yourself"
        )
    weak, strong = weak or cost.index[0], strong or cost.index[-1]
    ranks, router = rank_prompts(outcomes, weak=weak, strong=strong, score=score, seed=seed)
    pair = {"weak": weak, "strong": strong}
    held_out = calibrate_threshold(outcomes, ranks, **pair, strong_share=share, seed=seed)
    called = held_out.loc["held out", "strong_share"]
    policies = compare_policies(
        outcomes,
        {
            f"always {weak}": Always(weak),
            f"always {strong}": Always(strong),
            "random, same share": RandomMix({weak: 1 - called, strong: called}),
            "router": Threshold("router_rank", held_out["threshold"].iloc[0], (weak, strong)),
            "oracle": Oracle((weak, strong)),
        },
        reference=f"always {strong}",
        seed=seed,
        features=ranks,
        error_cost_usd=error_cost_usd,
    )
    account = outcome_account(outcomes)
    columns = ["prompts", "score", "usd_per_1000", "without_cost", "source"]
    origin = outcome_origin(outcomes).apply(lambda texts: texts.str.ljust(texts.str.len().max()))
    metrics = metric_intervals(outcomes, ranks, **pair, seed=seed).round(4).droplevel("router")
    reason = ["reason"] if metrics["reason"].any() else []
    split = held_out[["prompts", "threshold", "strong_share", "score"]].round(4)
    tables = {
        "Outcomes": account[columns].round(4),
        "Where they come from": origin.rename(_WORDS),
        f"Policies, measured against always {strong} "
        "(in brackets: 95% of 1,000 paired bootstrap resamples)": _side_by_side(
            policies, error_cost_usd
        ),
        "Metrics of the router": metrics[["estimate", "low", "high", *reason]].rename(_WORDS),
        "Threshold chosen on one half, judged on the other": split,
    }
    return RouterReport(
        name=Path(str(source)).name,
        router=router,
        **pair,
        tables={title: _in_words(table) for title, table in tables.items()},
        policies=policies,
        curve=cost_quality_curve(outcomes, ranks, **pair),
        band=curve_band(outcomes, ranks, **pair, seed=seed),
        verdict=_verdict(policies, strong),
    )


def _in_words(table):
    names = [_WORDS.get(name, name) for name in table.index.names]
    return table.rename(columns=_WORDS).rename_axis(index=names, columns=None)


# What Python's errors advise, in the words of the command.
_FLAGS = {
    "incomplete='drop' leaves": "--drop-incomplete leaves",
    "give prices= to work": "give --prices to work",
    "unknown model or tier": "unknown model",
}


def in_flags(text, *, both):
    """Put an error of `router_report` into the words of the command `route`.

    Parameters
    ----------
    text : str
        The message.
    both : bool
        Whether both models were named.

    Returns
    -------
    str
    """
    for python, flag in _FLAGS.items():
        text = text.replace(python, flag)
    named = both or "lack an answer" not in text
    return text if named else f"{text}; or name two models with --weak and --strong"


def rank_prompts(outcomes, *, weak, strong, score=None, seed=0):
    """Return a router's score for every prompt, from the best source that the table has.

    Parameters
    ----------
    outcomes, weak, strong
        As for `tierlab.routing.curve.cost_quality_curve`.
    score : str, optional
        Column with the score, higher for the strong model. By default a text router is trained out of fold if the table
        has prompts; otherwise the length of the prompt ranks them.
    seed : int
        As for `tierlab.routing.text_router.out_of_fold_gain`.

    Returns
    -------
    (Series, str)
        Scores indexed by prompt_id, named router_rank, and what they are.

    Raises
    ------
    ValueError
        If there is no such column, or the table has nothing to rank by.
    """
    first = outcomes.drop_duplicates("prompt_id").set_index("prompt_id")
    if score is not None:
        if score not in outcomes:
            raise ValueError(
                f"there is no column {score!r}; the table has {', '.join(outcomes.columns)}"
            )
        return first[score].astype(float).rename("router_rank"), f"column {score}"
    if "prompt" in outcomes and first["prompt"].notna().all():
        gain = out_of_fold_gain(outcomes, weak=weak, strong=strong, seed=seed)
        return gain.rename("router_rank"), "text router, trained out of fold (5 folds)"
    if "prompt_chars" in outcomes:
        return first["prompt_chars"].astype(float).rename("router_rank"), "length of the prompt"
    raise ValueError(
        "nothing ranks the prompts: name a column with a score (--score), or give prompt or prompt_chars"
    )


def _verdict(table, strong):
    """Say what the numbers mean; an interval that holds 0 decides nothing."""
    estimate, low, high = (table[column]["router"] for column in ("estimate", "low", "high"))
    change = estimate["score_change"]
    if pd.isna(estimate["saving"]):
        return f"Costs are not known, so the saving against always {strong} is not either; quality changes by {_points(change)} points."
    learnt = "cannot be told from a random mix of the same cost on these prompts"
    if low["over_control"] > 0:
        learnt = "beats a random mix of the same cost"
    if high["over_control"] < 0:
        learnt = "does worse than a random mix of the same cost"
    said = (
        f"The router {learnt} ({_points(estimate['over_control'])} points, 95% {_points(low['over_control'])} to "
        f"{_points(high['over_control'])}); against always {strong} it saves {estimate['saving']:.1%} and changes "
        f"quality by {_points(change)} points"
    )
    usd = table.loc[(f"always {strong}", "usd_per_1000"), "estimate"] - estimate["usd_per_1000"]
    if change < 0 < usd:
        said += f", which pays while an error costs less than {usd / 1000 / -change:,.4f} USD"
    if high["over_zero"] < 0:
        said += (
            f". The best mix of single models at its cost scores {-100 * estimate['over_zero']:.2f} points more (95% "
            f"{-100 * high['over_zero']:.2f} to {-100 * low['over_zero']:.2f}), so it is not worth building"
        )
    return f"{said}."


def _points(score):
    return f"{100 * score:+.2f}"


def _side_by_side(policies, error_cost_usd):
    """Give each policy a row and each measure a column, every number with its interval."""
    measures = ["score", "usd_per_1000", "saving", "score_change", "over_control", "over_zero"]
    if error_cost_usd:
        measures.append("net_usd_per_1000")
    cells = policies.apply("{estimate:.4f} [{low:.4f}, {high:.4f}]".format_map, axis=1)
    cells = cells.where(policies["estimate"].notna(), "-").unstack("measure")
    return cells.loc[policies.index.unique("policy"), measures]


def output(out=None, *, inputs=(), force=False):
    """Return the folder for the three files (by default build/route); a file there that is not ours is refused.

    Parameters
    ----------
    out : path, optional
    inputs : collection of path
        Files that must not be written over.
    force : bool
        Write over files that are not ours.

    Returns
    -------
    OutputFolder
    """
    folder = OutputFolder(out or paths.BUILD / "route", inputs=inputs, force=force)
    folder.claim("curve.csv", "policies.csv", "router.html")
    return folder


def write(report, folder):
    """Write curve.csv, policies.csv and router.html, and return the path of the page.

    Parameters
    ----------
    report : RouterReport
    folder : OutputFolder
        From `output`.

    Returns
    -------
    Path
    """
    import matplotlib.pyplot as plt
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

    from tierlab.core import finding
    from tierlab.pages import page
    from tierlab.routing import figures

    folder.write("curve.csv", guarded(report.curve).to_csv(index=False, lineterminator="\n"))
    folder.write("policies.csv", guarded(report.policies).to_csv(lineterminator="\n"))
    finding.use_style()
    axes, buffer = figures.routing_curve(report.curve, band=report.band), io.BytesIO()
    axes.figure.savefig(buffer, format="png")
    plt.close(axes.figure)
    alt = f"Quality of routing between {report.weak} and {report.strong} against the share of strong calls, with the random line."
    picture = {"image/png": base64.b64encode(buffer.getvalue()).decode(), "text/plain": alt}
    # Names from files are text, never markup.
    head = [f"Outcomes: {report.name}. Router: {report.router}.", report.verdict]
    words = "".join(f"<p>{html.escape(text)}</p>" for text in head)
    with pd.option_context("display.max_colwidth", None):
        tables = [
            f"<h2>{html.escape(title)}</h2>{table.to_html(border=0)}"
            for title, table in report.tables.items()
        ]
    outputs = [new_output("display_data", {"text/html": text}) for text in (words, *tables)]
    outputs.insert(1, new_output("display_data", picture, metadata={"image/png": {"alt": alt}}))
    title = new_markdown_cell("# Is this router worth building?")
    notebook = new_notebook(cells=[title, new_code_cell("", outputs=outputs)])
    text, _ = page.page(notebook, stem="router")
    return folder.write("router.html", text)
