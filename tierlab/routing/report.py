"""One router on one outcomes table: summary, curve and page. The command `python -m tierlab route` prints and writes it."""

import base64
import html
import io
import re
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


@dataclass(frozen=True, eq=False)
class RouterReport:
    """What is known of a router between two models.

    Attributes
    ----------
    name : str
        The outcomes table, and `router` what ranks its prompts.
    account, origin, policies, metrics, held_out, curve, band : DataFrame
        Prompts per model; where they and their costs come from; policies with paired intervals; APGR and CPT; the
        threshold chosen on one half and judged on the other; the exact curve and its bootstrap band.
    verdict : str
        What the numbers say.
    """

    name: str
    router: str
    weak: str
    strong: str
    account: pd.DataFrame
    origin: pd.DataFrame
    policies: pd.DataFrame
    metrics: pd.DataFrame
    held_out: pd.DataFrame
    curve: pd.DataFrame
    band: pd.DataFrame
    verdict: str
    error_cost_usd: float


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
    folds=5,
    seed=0,
):
    """Judge a router between two models of an outcomes table.

    Parameters
    ----------
    source : str or path
        A public data set by name, or a CSV or Parquet file: prompt_id, model_id, score, and costs or tokens.
    prices : Prices, optional
        Prices the answers from their tokens; by default the table's own costs.
    usd_per_mtok : mapping of str to (float, float), optional
        Input and output rate of models that the catalogue lacks, USD per million tokens.
    weak, strong : str, optional
        By default the cheapest and the most expensive model by mean cost. With both, the table is checked for these two.
    score : str, optional
        Column with the router's score, higher for the strong model. By default a text router trained out of fold
        where there are prompts, else the length of the prompt.
    share : float
        Share 0-1 of requests that may go to the strong model.
    error_cost_usd : float
        What a lost answer costs, US dollars: above 0, what each policy nets is shown as well.
    incomplete : {"raise", "drop"}
        Prompts that one of the models has not answered.
    folds, seed : int

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
    ranks, router = rank_prompts(
        outcomes, weak=weak, strong=strong, score=score, folds=folds, seed=seed
    )
    choice = {"weak": weak, "strong": strong, "seed": seed}
    curve, band = (
        cost_quality_curve(outcomes, ranks, weak=weak, strong=strong),
        curve_band(outcomes, ranks, **choice),
    )
    held_out = calibrate_threshold(outcomes, ranks, strong_share=share, **choice)
    cut = held_out["threshold"].iloc[0]
    called = held_out.loc["held out", "strong_share"]
    policies = {
        f"always {weak}": Always(weak),
        f"always {strong}": Always(strong),
        "random, same share": RandomMix({weak: 1 - called, strong: called}),
        "router": Threshold("router_rank", (cut,), (weak, strong)),
        "oracle": Oracle((weak, strong)),
    }
    table = compare_policies(
        outcomes,
        policies,
        reference=f"always {strong}",
        seed=seed,
        features=ranks,
        error_cost_usd=error_cost_usd,
    )
    metrics = metric_intervals(outcomes, ranks, **choice)
    account, origin = outcome_account(outcomes), outcome_origin(outcomes)
    tables = {
        "account": account,
        "origin": origin,
        "policies": table,
        "metrics": metrics,
        "held_out": held_out,
    }
    name, verdict = Path(str(source)).name, _verdict(table, strong)
    return RouterReport(
        name,
        router,
        weak,
        strong,
        **tables,
        curve=curve,
        band=band,
        verdict=verdict,
        error_cost_usd=error_cost_usd,
    )


# What Python's errors advise, in the words of the command.
_FLAGS = {
    "incomplete='drop' leaves": "--drop-incomplete leaves",
    "give prices= to work": "give --prices to work",
    "give prices to load_outcomes": "give --prices or --usd-per-mtok",
    "unknown model or tier": "unknown model",
}


def in_flags(text, *, both):
    """An error of `router_report` in the words of the command `route`; `both` models were named or not."""
    lacks = "lack an answer" in text
    for python, flag in _FLAGS.items():
        text = text.replace(python, flag)
    text = re.sub(
        r"give usd_per_mtok=\{'(.*?)': \(input, output\)\}",
        r"give --usd-per-mtok '\1' IN OUT",
        text,
    )
    return text + ("; or name two models with --weak and --strong" if lacks and not both else "")


def rank_prompts(outcomes, *, weak, strong, score=None, folds=5, seed=0):
    """A router's score for every prompt, from the best source that the table has.

    Parameters
    ----------
    outcomes, weak, strong
        As for `tierlab.routing.curve.cost_quality_curve`.
    score : str, optional
        Column with the score. By default a text router trained out of fold where there are prompts, else the length
        of the prompt.
    folds, seed : int
        As for `tierlab.routing.text_router.out_of_fold_gain`.

    Returns
    -------
    (Series, str)
        Scores indexed by prompt_id, named router_rank, and what they are.

    Raises
    ------
    ValueError
        If there is no such column, or nothing to rank by.
    """
    first = outcomes.drop_duplicates("prompt_id").set_index("prompt_id")
    if score is not None:
        if score not in outcomes:
            raise ValueError(
                f"there is no column {score!r}; the table has {', '.join(outcomes.columns)}"
            )
        return first[score].astype(float).rename("router_rank"), f"column {score}"
    if "prompt" in outcomes and first["prompt"].notna().all():
        gain = out_of_fold_gain(outcomes, weak=weak, strong=strong, folds=folds, seed=seed)
        return gain.rename("router_rank"), f"text router, trained out of fold ({folds} folds)"
    if "prompt_chars" in outcomes:
        return first["prompt_chars"].astype(float).rename("router_rank"), "length of the prompt"
    raise ValueError(
        "nothing ranks the prompts: name a column with a score (--score), or give prompt or prompt_chars"
    )


def _verdict(table, strong):
    """What the numbers say; an interval that holds 0 decides nothing."""
    row = table.loc["router"]
    over, zero, saving, change = (
        row.loc[name] for name in ("over_control", "over_zero", "saving", "score_change")
    )
    if pd.isna(saving["estimate"]):
        return f"Costs are not known, so the saving against always {strong} is not either; quality changes by {_points(change['estimate'])} points."
    usd = (
        table.loc[(f"always {strong}", "usd_per_1000"), "estimate"]
        - row.loc["usd_per_1000", "estimate"]
    ) / 1000
    limit = (
        f", which pays while an error costs less than {usd / -change['estimate']:,.4f} USD"
        if change["estimate"] < 0 < usd
        else ""
    )
    learnt = (
        "beats a random mix of the same cost" if over["low"] > 0
        else "does worse than a random mix of the same cost" if over["high"] < 0
        else "cannot be told from a random mix of the same cost on these prompts"
    )  # fmt: skip
    dominated = (
        f" The best mix of single models at its cost scores {-100 * zero['estimate']:.2f} points more "
        f"(95% {-100 * zero['high']:.2f} to {-100 * zero['low']:.2f}), so it is not worth building."
        if zero["high"] < 0
        else ""
    )
    return (
        f"The router {learnt} ({_points(over['estimate'])} points, 95% {_points(over['low'])} to {_points(over['high'])}); against always {strong} "
        f"it saves {saving['estimate']:.1%} and changes quality by {_points(change['estimate'])} points{limit}.{dominated}"
    )


def _points(score):
    return f"{100 * score:+.2f}"


def tables(report):
    """The tables that are printed and shown: title -> DataFrame with rounded numbers."""
    measures = ["score", "usd_per_1000", "saving", "score_change", "over_control", "over_zero"]
    measures += ["net_usd_per_1000"] if report.error_cost_usd else []
    policies = (
        report.policies.loc[(slice(None), measures), :]
        .apply(_with_interval, axis=1)
        .unstack("measure")
    )
    metrics = report.metrics[["estimate", "low", "high", "reason"]].round(4)
    return {
        "Outcomes": report.account[
            ["prompts", "score", "usd_per_1000", "without_cost", "source"]
        ].round(4),
        "Where they come from": report.origin.apply(
            lambda texts: texts.str.ljust(texts.str.len().max())
        ),
        "Policies (in brackets: 95% of 1,000 paired bootstrap resamples)": policies.loc[
            report.policies.index.unique("policy"), measures
        ],
        "Metrics of the router": metrics
        if metrics["reason"].any()
        else metrics.drop(columns="reason"),
        "Threshold chosen on one half, judged on the other": report.held_out[
            ["prompts", "threshold", "strong_share", "score"]
        ].round(4),
    }


def _with_interval(row):
    return (
        "-"
        if pd.isna(row["estimate"])
        else f"{row['estimate']:.4f} [{row['low']:.4f}, {row['high']:.4f}]"
    )


def output(out=None, *, inputs=(), force=False):
    """The folder of the three files (build/route by default), refused where one of them would replace what is not ours."""
    folder = OutputFolder(out or paths.BUILD / "route", inputs=inputs, force=force)
    folder.claim("curve.csv", "policies.csv", "router.html")
    return folder


def write(report, folder):
    """Write curve.csv, policies.csv and router.html; returns the page's path."""
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
    image = new_output(
        "display_data",
        {"image/png": base64.b64encode(buffer.getvalue()).decode(), "text/plain": alt},
        metadata={"image/png": {"alt": alt}},
    )
    cells = [
        new_markdown_cell("# Is this router worth building?"),
        _words(f"Outcomes: {report.name}. Router: {report.router}."),
        _words(report.verdict),
    ]
    cells.append(new_code_cell("", outputs=[image]))
    for title, table in tables(report).items():
        cells.append(_words(title))
        with pd.option_context("display.max_colwidth", None):
            shown = table.to_html(border=0)
        cells.append(new_code_cell("", outputs=[new_output("display_data", {"text/html": shown})]))
    text, _ = page.page(new_notebook(cells=cells), stem="router")
    return folder.write("router.html", text)


def _words(text):
    """A paragraph of the page; names from files are text, never markup."""
    from nbformat.v4 import new_code_cell, new_output

    return new_code_cell(
        "", outputs=[new_output("display_data", {"text/html": f"<p>{html.escape(text)}</p>"})]
    )
