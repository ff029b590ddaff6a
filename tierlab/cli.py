"""The command line: `tierlab`, or `python -m tierlab`."""

import argparse
import contextlib
import os
import platform
import re
import sys
from datetime import date
from importlib import metadata

from tierlab.core.untrusted import Printable, guarded, shown

EXAMPLES = """\
examples:
  python -m tierlab run                                        every notebook, as HTML pages in build/report
  python -m tierlab run 02_scaling_costs -p trace azure_conv   one notebook, with one parameter changed
  python -m tierlab run -f quarter.yaml --out build/2026q3     parameters from a file, into another folder
  python -m tierlab prices --source article                    the nine prices of the article
  python -m tierlab prices --changes 2026-11-23 2027-01-05     what changes, and when
  python -m tierlab quarter 2026Q3 --usage logs/               what the quarter cost, and what should change
  python -m tierlab datasets fetch azure_conv                  download one public data set, checked
  python -m tierlab route my_outcomes.csv                      is a router worth building, on your own outcomes
  python -m tierlab sample mine.jsonl --candidate anthropic:claude-haiku-4-5 --candidate openai:gpt-6-luna --budget-usd 2
                                                               your own examples through real models
  python -m tierlab recommend customer_support --error-cost-usd 0.5
                                                               which tier, why, and what would change it
  python -m tierlab review decisions/*.md                      do filed decisions still stand?
  python -m tierlab workshop my_answers                        a copy of the workshop's exercises, to work in
  python -m tierlab doctor                                     what is installed, which keys are set
"""
FORCE = "replace files in the folder that tierlab did not make (never an input)"


def main(arguments=None):
    """Run one command.

    The exit status: 0 done, 1 a notebook failed or is stale, 2 a mistake in the input, 130 interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        with contextlib.redirect_stdout(Printable(sys.stdout)):
            return options.command(options) or 0
    except BrokenPipeError:  # the reader of a pipe (head, less) has seen enough
        sys.stdout = None
        return 0
    except KeyboardInterrupt:
        kept = (
            "; what was answered is kept, and the same command goes on from there"
            if options.command is _sample
            else ""
        )
        print(f"tierlab: interrupted{kept}", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError) as error:
        print(
            "tierlab: " + "\n".join(line.rstrip()[:2000] for line in str(error).splitlines()),
            file=Printable(sys.stderr),
        )
        return 2
    except RuntimeError as error:
        from tierlab.pages.run import NotebookError

        if not isinstance(error, NotebookError):
            raise
        print(f"tierlab: {error}", file=Printable(sys.stderr))
        return 1


def _parser():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m tierlab",
        description="Decide between flagship, mid-tier and small language models with numbers you can defend.",
        epilog=EXAMPLES,
        formatter_class=raw,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name, function, summary, examples):
        epilog = "examples:\n" + "\n".join(
            line if line[0] == " " else f"  python -m tierlab {line}" for line in examples
        )
        sub = commands.add_parser(
            name, help=summary, description=summary, epilog=epilog, formatter_class=raw
        )
        sub.set_defaults(command=function)
        return sub

    run = command(
        "run",
        _run,
        "Run notebooks with checked parameters and write HTML pages.",
        [
            "run",
            "run 01_pricing 02_scaling_costs",
            "run 02_scaling_costs -p trace azure_conv -p seed 7",
            "run -f quarter.yaml --out build/2026q3",
        ],
    )
    run.add_argument(
        "notebooks", nargs="*", metavar="NOTEBOOK", help="name or path; without one, all of them"
    )
    run.add_argument(
        *("-p", "--parameter"),
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="value of a parameter, for each notebook that declares it",
    )
    run.add_argument(
        "-f",
        "--file",
        metavar="YAML",
        help="parameters from a file: `name: value`, or under a notebook's name",
    )
    run.add_argument("--out", metavar="DIR", help="folder of the report (build/report)")
    run.add_argument(
        "--force",
        action="store_true",
        help="run notebooks again whose inputs have not changed, and replace files in the folder that tierlab did not make",
    )
    run.add_argument(
        "--timeout", type=_seconds, default=120, metavar="SECONDS", help="limit for one cell (120)"
    )

    quarter = command(
        "quarter",
        _quarter,
        "Write a quarter's report from your usage: page, PDF, figures, summary.json.",
        [
            "quarter 2026Q3                                    two simulated quarters, to see what comes out",
            "quarter 2026Q3 --usage logs/ --budget 50000 --out build/2026Q3",
            "quarter 2026Q3 --usage 'logs/*.parquet' --billed invoices/ --last build/2026Q2/summary.json",
            "quarter 2026Q3 --usage own.csv --column when at --column model model_id --column in input_tokens --column out output_tokens",
            "quarter 2026Q3 --usage logs/ --task contracts legal_medical_analysis --task tickets customer_support",
            "quarter 2026Q3 --usage logs/ --outcomes scores.csv --margin 0.05 --may-wait summarisation",
        ],
    )
    quarter.add_argument(
        "quarter",
        help="such as 2026Q3; the log should hold the quarter before as well, to compare with",
    )
    quarter.add_argument("--usage", default="synthetic", metavar="PATH",
                         help="file, folder or pattern of usage logs; synthetic (default), or a public trace: azure_conv, azure_code, mooncake_conv")  # fmt: skip
    quarter.add_argument(
        "--format",
        default="auto",
        help="auto (default), requests (our own columns, scanned in place), or a format of tierlab.usage.read",
    )
    quarter.add_argument("--column", nargs=2, action="append", default=[], metavar=("THEIRS", "OURS"),
                         help="a column of your own CSV or Parquet file, and what it is here; again for each")  # fmt: skip
    quarter.add_argument(
        "--cache-inside",
        choices=["yes", "no"],
        help="whether your own column input_tokens includes cached ones",
    )
    quarter.add_argument(
        "--billed", metavar="PATH", help="the provider's cost reports, to reconcile with"
    )
    quarter.add_argument(
        "--outcomes",
        metavar="PATH",
        help="scores of your own examples: prompt_id, model_id, score, task",
    )
    quarter.add_argument(
        "--margin",
        metavar="SHARE",
        help="how much worse a cheaper model may be, 0-1; settles moves with --outcomes",
    )
    quarter.add_argument(
        "--may-wait", nargs="*", metavar="TASK", help="tasks whose answers may take a day"
    )
    quarter.add_argument("--task", nargs=2, action="append", default=[], metavar=("THEIRS", "OURS"),
                         help="a task as your log calls it, and which task of the kit it is (data/tasks.csv); again for each")  # fmt: skip
    quarter.add_argument("--budget", metavar="USD", help="of the quarter")
    quarter.add_argument(
        "--last", metavar="JSON", help="summary.json of the quarter before, for its forecast"
    )
    quarter.add_argument(
        "--prices",
        default="maintained",
        metavar="SOURCE",
        help="article, maintained (default) or a path",
    )
    quarter.add_argument(
        "--as-of",
        metavar="DATE",
        help="ISO date on which you stand; by default the day of the catalogue",
    )
    quarter.add_argument(
        "--timezone", default="UTC", help="IANA name of the zone in which days begin (UTC)"
    )
    quarter.add_argument("--out", metavar="DIR", help="folder of the report (build/<quarter>)")
    quarter.add_argument("--force", action="store_true", help=FORCE)
    quarter.add_argument("--no-pdf", action="store_true", help="leave out the PDF")
    quarter.add_argument(
        "--timeout",
        type=_seconds,
        default=1800,
        metavar="SECONDS",
        help="limit for one cell (1800)",
    )
    quarter.epilog += (
        "\n\nexit status: 0 done, 1 the notebook failed, 2 an input is wrong; summary.json in the folder says the same."
        "\nSections that need a column your log lacks say which."
    )

    prices = command(
        "prices",
        _prices,
        "Print prices in force on a day, in USD per million tokens, or how they change.",
        [
            "prices",
            "prices --source article",
            "prices --as-of 2026-12-01 --all",
            "prices --changes 2026-11-23 2027-01-05",
            "prices --csv > prices.csv",
        ],
    )
    prices.add_argument(
        "--source",
        default="maintained",
        help="article, maintained (default), or a path to a .csv or .parquet file",
    )
    prices.add_argument(
        "--as-of",
        metavar="DATE",
        help="ISO date; by default the day on which the catalogue was checked",
    )
    prices.add_argument(
        "--changes", nargs=2, metavar=("START", "END"), help="dated changes after START, up to END"
    )
    prices.add_argument(
        "--all",
        action="store_true",
        help="every model of the catalogue, not the lineup of the day alone",
    )
    prices.add_argument("--csv", action="store_true", help="all columns, as CSV")

    route = command(
        "route",
        _route,
        "Judge a router between two models on outcomes: summary, curve, page.",
        [
            "route my_outcomes.csv",
            "route my_outcomes.csv --prices maintained --as-of 2026-11-23 --share 0.3",
            "route my_outcomes.csv --score my_router_score --out build/my_router",
            "route zeroeval_gsm --prices maintained --weak claude-3-haiku-20240307 --strong claude-3-opus-20240229",
        ],
    )
    route.add_argument(
        "outcomes",
        help="CSV or Parquet with prompt_id, model_id, score and cost_usd (or tokens), or a public data set",
    )
    route.add_argument(
        "--prices",
        metavar="SOURCE",
        help="article, maintained or a path: price the answers from their tokens",
    )
    route.add_argument("--as-of", metavar="DATE", help="ISO date of the prices")
    route.add_argument("--usd-per-mtok", nargs=3, action="append", default=[], metavar=("MODEL", "IN", "OUT"),
                       help="price of a model that the catalogue lacks, USD per million tokens; again for each")  # fmt: skip
    route.add_argument(
        "--error-cost-usd",
        type=float,
        default=0.0,
        metavar="USD",
        help="what a lost answer costs: shows what a policy nets",
    )
    route.add_argument("--weak", metavar="MODEL", help="by default the cheapest")
    route.add_argument("--strong", metavar="MODEL", help="by default the most expensive")
    route.add_argument(
        "--drop-incomplete",
        action="store_true",
        help="leave out prompts that a model has not answered",
    )
    route.add_argument(
        "--score",
        metavar="COLUMN",
        help="the router's score; by default a text router trained out of fold",
    )
    route.add_argument(
        "--share",
        type=float,
        default=0.2,
        help="share of requests that may go to the strong model (0.2)",
    )
    route.add_argument(
        "--seed", type=int, default=0, help="seed of folds, splits and resamples (0)"
    )
    route.add_argument(
        "--out",
        metavar="DIR",
        help="folder for curve.csv, policies.csv and router.html (build/route)",
    )
    route.add_argument("--force", action="store_true", help=FORCE)

    sample = command(
        "sample",
        _sample,
        "Run your own examples through real models: estimate, answers, scores, verdict.",
        [
            "sample mine.jsonl --check",
            "sample kit --local --budget-usd 0",
            "sample mine.jsonl --candidate anthropic:claude-haiku-4-5 --candidate anthropic:claude-opus-4-8,effort=high,extra_output_tokens=4000 \\",
            "      --budget-usd 20 --reference 'claude-opus-4-8 (effort high)' --margin 0.1",
            "sample mine.jsonl --candidate compatible:llama3.2,base_url=http://127.0.0.1:11434/v1,usd_per_mtok=0/0 --budget-usd 0",
            "sample mine.jsonl ... --retry rate_limited timeout      ask those again, and nothing else",
        ],
    )
    sample.add_argument(
        "examples",
        help="JSONL or CSV file (form: data/examples/README.md), or 'kit' for the kit's own 100",
    )
    sample.add_argument("--candidate", action="append", default=[], metavar="PROVIDER:MODEL[,SETTING=VALUE...]",
                        help="a model to try; again for each. Providers: anthropic, openai, openai-chat, google, compatible, replay")  # fmt: skip
    sample.add_argument("--local", nargs="?", const="", metavar="GGUF",
                        help="also a model served on this machine: the small open one of `make local`, or a GGUF file")  # fmt: skip
    sample.add_argument(
        "--usd-per-hour",
        type=float,
        default=0.0,
        metavar="USD",
        help="price of this machine, for the local model's time (0)",
    )
    sample.add_argument(
        "--provenance",
        default="",
        metavar="TEXT",
        help="machine, runtime, date: kept with every answer",
    )
    sample.add_argument(
        "--budget-usd",
        type=float,
        metavar="USD",
        help="the most that the store's runs may cost together",
    )
    sample.add_argument("--store", default="build/samples/samples.sqlite", metavar="FILE",
                        help="where attempts and answers are kept; the same command goes on from there (build/samples/samples.sqlite)")  # fmt: skip
    sample.add_argument(
        "--repeats", type=int, default=1, metavar="N", help="answers to each example (1)"
    )
    sample.add_argument("--limit", type=int, metavar="N", help="the first N examples alone")
    sample.add_argument(
        "--concurrency",
        type=int,
        default=8,
        metavar="N",
        help="calls under way at once, per provider (8)",
    )
    sample.add_argument(
        "--deadline",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="for one call with all its attempts (120); not of --batch",
    )
    sample.add_argument(
        "--prices",
        default="maintained",
        metavar="SOURCE",
        help="article, maintained (default) or a path",
    )
    sample.add_argument("--as-of", metavar="DATE", help="ISO date of the prices")
    sample.add_argument(
        "--batch",
        action="store_true",
        help="through the providers' batch endpoints, at the batch rate",
    )
    sample.add_argument(
        "--retry",
        nargs="*",
        metavar="STATUS",
        help="ask failed calls again: all, or those of these statuses",
    )
    sample.add_argument(
        "--reference", metavar="MODEL", help="compare the others with this candidate"
    )
    sample.add_argument(
        "--margin",
        type=float,
        help="how much worse is still good enough, 0-1 (0.05 is five points)",
    )
    sample.add_argument(
        "--error-cost-usd", type=float, metavar="USD", help="what a wrong answer costs"
    )
    sample.add_argument(
        "--check",
        action="store_true",
        help="check the examples and say what they are; send nothing",
    )
    sample.add_argument("--allow-code", action="store_true",
                        help="run code that a model wrote (doctor says how far apart from this machine); without it such answers get no score")  # fmt: skip
    sample.add_argument(
        "--yes",
        action="store_true",
        help="start without asking, whatever it may cost within the budget",
    )
    sample.add_argument("--out", metavar="DIR", help="folder for samples.csv (that of the store)")
    sample.add_argument("--force", action="store_true", help=FORCE)

    add(command)

    refresh = command(
        "refresh",
        _refresh,
        "Rewrite the stored outputs of the notebooks and figures/.",
        ["refresh", "refresh --check", "refresh 08_article_claims"],
    )
    refresh.add_argument(
        "notebooks",
        nargs="*",
        metavar="NOTEBOOK",
        help="name or path; without one, all that have stored outputs",
    )
    refresh.add_argument(
        "--check", action="store_true", help="write nothing; fail and name what is stale"
    )
    refresh.add_argument(
        "--force", action="store_true", help="replace figures that tierlab did not make"
    )

    workshop = command(
        "workshop",
        _workshop,
        "Copy the workshop's exercises into a folder of your own, or write the kit's afresh from their solutions.",
        ["workshop my_answers", "workshop", "workshop --check"],
    )
    workshop.add_argument(
        "folder",
        nargs="?",
        metavar="DIR",
        help="your copy to work in; without it, the kit's own exercises",
    )
    workshop.add_argument(
        "--force",
        action="store_true",
        help="write over exercises that were changed, answers among them",
    )
    workshop.add_argument(
        "--check", action="store_true", help="write nothing; fail and name what is stale"
    )

    datasets = command(
        "datasets",
        _datasets,
        "List the public data sets, or download some.",
        ["datasets", "datasets fetch azure_conv"],
    )
    datasets.add_argument(
        "action", nargs="?", choices=["fetch"], help="download, unless they are cached"
    )
    datasets.add_argument("names", nargs="*", metavar="NAME", help="which ones")

    command(
        "doctor",
        _doctor,
        "Say what is installed, which keys are set, and which data sets are cached.",
        ["doctor"],
    )
    return parser


def _seconds(text):
    if not re.fullmatch(r"[1-9]\d*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of seconds from 1 up")
    return int(text)


def _run(options):
    from tierlab.pages import parameters, run

    values = parameters.read_file(options.file) if options.file else {}
    for name, value in options.parameter:
        values[name] = value
    print(
        run.run(
            options.notebooks,
            parameters=values,
            text=True,
            out=options.out,
            force=options.force,
            timeout=options.timeout,
            inputs=[options.file] if options.file else [],
        )
    )


_QUARTER = {  # parameters of notebook 90 -> the options of `quarter`
    "usage_path": "usage",
    "usage_format": "format",
    "columns": "column",
    "tasks": "task",
    "cache_inside": "cache_inside",
    "billed_path": "billed",
    "outcomes_path": "outcomes",
    "last_summary_path": "last",
    "budget_usd": "budget",
    "margin": "margin",
    "may_wait": "may_wait",
    "catalogue": "prices",
    "as_of": "as_of",
    "timezone": "timezone",
}


def _quarter(options):
    from tierlab.quarter import report

    given = {"quarter": options.quarter} | {
        name: getattr(options, flag) for name, flag in _QUARTER.items()
    }
    given |= {name: dict(given[name]) for name in ("columns", "tasks")}
    given = {name: value for name, value in given.items() if value not in (None, {})}
    try:
        made, note = report.write(
            given,
            out=options.out,
            pdf=not options.no_pdf,
            timeout=options.timeout,
            force=options.force,
        )
    except ValueError as error:  # in the words of the command line
        name, equals, rest = str(error).partition(" = ")
        flag = f"--{_QUARTER[name].replace('_', '-')}" if equals and name in _QUARTER else name
        raise ValueError(flag + equals + rest) from error
    for path in made:
        print(path)
    if note:
        print(f"no PDF: {note}", file=sys.stderr)


def _prices(options):
    import tierlab as tl

    prices = tl.load_prices(options.source, as_of=options.as_of)
    if options.changes:
        table = prices.changes(*options.changes)
        about = f"changes after {options.changes[0]}, up to {options.changes[1]}"
    else:
        table = prices.in_force()
        if not options.all:
            models = prices.models()
            table = table[table["model_id"].isin(models)].sort_values(
                "model_id", key=lambda ids: ids.map(models.index), kind="stable"
            )
        about = f"prices in force on {prices.as_of:%Y-%m-%d}"
    if options.csv:
        guarded(table).to_csv(sys.stdout, index=False, lineterminator="\n")
        return
    if not options.changes:
        shown = ["provider", "tier", "model_id", "context_above", *tl.BUCKETS, "approximate"]
        table = table[shown].assign(
            approximate=table["approximate"].map({True: "about", False: ""})
        )
        table = table.rename(columns={"approximate": ""})
    print(f"{about}, USD per million tokens ({prices.source})")
    print(
        table.to_string(index=False, na_rep="-", float_format="{:,.4g}".format)
        if len(table)
        else "none"
    )


def _route(options):
    import tierlab as tl
    from tierlab.routing import report as routing_report

    if options.as_of and not options.prices:
        raise ValueError("--as-of goes with --prices")
    prices = tl.load_prices(options.prices, as_of=options.as_of) if options.prices else None
    inputs = [given for given in (options.outcomes, options.prices) if given]
    folder = routing_report.output(options.out, inputs=inputs, force=options.force)
    rates = {model: (float(into), float(out)) for model, into, out in options.usd_per_mtok}
    try:
        report = routing_report.router_report(
            options.outcomes, prices=prices, usd_per_mtok=rates, error_cost_usd=options.error_cost_usd, weak=options.weak, strong=options.strong, score=options.score, share=options.share,
            incomplete="drop" if options.drop_incomplete else "raise", seed=options.seed,
        )  # fmt: skip
    except ValueError as error:
        raise ValueError(
            routing_report.in_flags(str(error), both=bool(options.weak and options.strong))
        ) from None
    print(
        f"{report.name}: {report.weak} (weak) and {report.strong} (strong), router: {report.router}"
    )
    for title, table in routing_report.tables(report).items():
        print(f"\n{title}\n{table.to_string(na_rep='-')}")
    print(f"\n{report.verdict}\n{routing_report.write(report, folder)}")


def _sample(options):
    from contextlib import nullcontext

    import tierlab as tl
    from tierlab.core.vocabulary import unknown
    from tierlab.evaluate.by_model import quality_by_model
    from tierlab.evaluate.compare import check_margin
    from tierlab.evaluate.rows import scored_rows
    from tierlab.sampling import examples, local, providers

    if options.check:
        print(examples.check_examples(options.examples))
        return None
    if options.budget_usd is None:
        raise ValueError(
            "say what the run may cost at most: --budget-usd (0 for a local model or a replay)"
        )
    if (options.reference is None) != (options.margin is None):
        raise ValueError("--reference and --margin go together")
    if options.reference:  # before anything is paid
        check_margin(options.margin, options.error_cost_usd)
    if options.limit is not None and options.limit < 1:
        raise ValueError(f"--limit is {options.limit}; a whole number from 1 up is needed")
    out = _sample_folder(
        options, tl.sampling.run.read_candidates(options.candidate) if options.candidate else []
    )
    asked = tl.load_examples(options.examples)[: options.limit]
    prices = tl.load_prices(options.prices, as_of=options.as_of)
    with nullcontext() if options.local is None else local.serve(options.local or None) as served:
        own = (
            []
            if served is None
            else [local.candidate(served, options.local, usd_per_hour=options.usd_per_hour)]
        )
        chosen = tl.sampling.run.read_candidates([*options.candidate, *own])
        names = [one.name for one in chosen]
        if options.reference and (options.reference not in names or len(names) < 2):
            raise ValueError(
                f"--reference is one of two candidates or more: {unknown('candidate', options.reference, names)}"
            )
        print(_estimated(asked, chosen, options, prices).to_string(float_format="{:,.4f}".format))
        settings = {
            "budget_usd": options.budget_usd,
            "store": options.store,
            "prices": prices,
            "repeats": options.repeats,
        }
        settings |= {"provenance": options.provenance, "allow_code": options.allow_code}
        retry = options.retry is not None and (options.retry or True)
        # The local server answers one request at a time: a second would wait, and its times would be those of a queue.
        places = {"compatible": 1} if own else {}
        places = dict.fromkeys(providers.ADAPTERS, options.concurrency) | places
        settings |= {"retry": retry, "progress": sys.stderr.isatty()}
        settings["yes"] = options.yes or _agreed(asked, chosen, options, prices)
        if options.batch:
            samples = tl.sampling.batches.sample_batch(asked, chosen, **settings)
        else:
            samples = tl.sample(
                asked, chosen, **settings, concurrency=places, deadline_s=options.deadline
            )
    written = out.write("samples.csv", guarded(samples).to_csv(index=False, lineterminator="\n"))
    for name, value in samples.attrs["account"].items():
        print(f"{name:<13} {value:,.4f}" if isinstance(value, float) else f"{name:<13} {value}")
    for status, rows in samples[samples["error"] != ""].groupby("status", sort=False):
        print(f"{status}: {len(rows):,}, the first: {rows['error'].iloc[0]}")
    if options.reference:
        found = tl.compare(
            samples,
            reference=options.reference,
            margin=options.margin,
            error_cost_usd=options.error_cost_usd,
        )
        print(
            f"\n{found.candidates.to_string(na_rep='-')}\n\n{found.pairs.to_string(na_rep='-')}\n\n{found.verdict}"
        )
    else:
        print(
            f"\n{quality_by_model(scored_rows(samples), names, 0.95).round(3).to_string(na_rep='-')}"
        )
    print(written)


def _sample_folder(options, chosen):
    """The folder of samples.csv; refused before anything is paid where it, or the store, would replace what is not ours."""
    from pathlib import Path

    from tierlab.core.files import OutputFolder, same_file
    from tierlab.sampling.store import check

    inputs = [options.examples, options.prices, options.local, *(one.path for one in chosen)]
    inputs = [given for given in inputs if given]
    if any(same_file(options.store, given) for given in inputs):
        raise ValueError(
            f"--store {options.store} is an input of this command and is not written over; choose another file"
        )
    check(Path(options.store))
    out = OutputFolder(
        options.out or Path(options.store).parent,
        inputs=[*inputs, options.store],
        force=options.force,
    )
    out.claim("samples.csv")
    return out


def _estimated(asked, chosen, options, prices):
    """What the run would cost: live with its attempts, or in a batch with one at the batch rate."""
    import tierlab as tl

    settings = {"prices": prices, "repeats": options.repeats}
    if options.batch:
        settings |= {"attempts": 1, "tariffs": tl.sampling.batches.batch_tariffs(chosen, prices)}
    return tl.sampling.run.estimate(asked, chosen, **settings)


def _agreed(asked, chosen, options, prices):
    """Whether a person at the keyboard wants a run that could cost more than the limit; without one, not."""
    import tierlab as tl

    most = _estimated(asked, chosen, options, prices)["most_usd"].sum()
    if min(most, options.budget_usd) <= tl.sampling.run.ASK_ABOVE_USD or not sys.stdin.isatty():
        return False
    return input(
        f"This could cost up to {min(most, options.budget_usd):,.2f} USD. Start? [y/N] "
    ).strip().lower() in (
        "y",
        "yes",
    )


def _refresh(options):
    from tierlab.pages import run

    notebooks = [run.find(name) for name in options.notebooks] or None
    stale = run.refresh(check=options.check, notebooks=notebooks, force=options.force)
    for line in stale:
        print(("stale: " if options.check else "rewritten: ") + line)
    if not stale:
        print("everything is fresh")
    return int(options.check and bool(stale))


def _workshop(options):
    from tierlab.workshop import build

    stale = build.generate(out=options.folder, check=options.check, force=options.force)
    for name in stale:
        print(
            ("stale: " if options.check else "written: " if options.folder else "rewritten: ")
            + name
        )
    if not stale:
        print("every exercise is fresh")
    return int(options.check and bool(stale))


def _datasets(options):
    from tierlab.core import datasets

    if options.action == "fetch":
        if not options.names:
            raise ValueError(f"name the data sets to fetch: {', '.join(datasets.REGISTRY)}")
        for name in options.names:
            print(datasets.path(name))
        return
    print(datasets.overview().to_string(index=False))


def _doctor(options):
    import tierlab as tl
    from tierlab.evaluate.scorers.code import ISOLATIONS, isolation
    from tierlab.pages import page
    from tierlab.sampling.providers import ADAPTERS

    print(f"python        {platform.python_version()} on {platform.system()}")
    for line in metadata.requires("tierlab") or ():
        name = re.match(r"[\w.-]+", line)[0]
        print(f"{name:<13} {_version(name)}")
    for provider, (room, names) in ADAPTERS.items():
        if (
            provider != room or not names
        ):  # another API of the same provider, or none that asks for a key
            continue
        found = [name for name in names if os.environ.get(name)]
        print(
            f"{provider:<13} {f'{found[0]} is set' if found else f'no key ({chr(32).join(names)} not set)'}"
        )
    prices = tl.load_prices("maintained")
    age = (
        date.today() - prices.as_of.date()
    ).days  # the one command whose answer may depend on the day
    print(f"prices        {prices.source}, {max(age, 0)} days ago")
    print(f"code scorer   {ISOLATIONS[isolation()]}")
    print(f"browser       {page.find_browser() or 'none found (needed for PDF only)'}")
    _datasets(argparse.Namespace(action=None))


def _version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "MISSING"


if __name__ == "__main__":
    sys.exit(main())


_WORKLOAD = ("requests_per_day", "input_tokens", "output_tokens", "cache_hit_rate", "batch_share")


def add(command):
    """Add both commands; `command(name, function, summary, examples)` makes a parser."""
    recommend = command(
        "recommend",
        _recommend,
        "Which tier does a task at the least cost, all in; and file the decision.",
        [
            "recommend customer_support --error-cost-usd 0.5",
            "recommend 'contract triage' --stakes 2 --complexity 1 --error-cost-usd 5 --provider openai",
            "recommend code_review --error-cost-usd 2 --provider openai --count mid 6 80 --count small 11 80",
            "recommend summarisation --error-cost-usd 0.15 --samples outcomes.csv --truncated wrong --margin 0.05 --file decisions",
            "recommend summarisation --error-cost-usd 1 --title 'Summaries of tickets' --owner Ana --file decisions",
        ],
    )
    recommend.add_argument(
        "task", help="one of data/tasks.csv, or a task of your own with --stakes and --complexity"
    )
    recommend.add_argument(
        "--stakes", type=int, choices=(1, 2, 3), help="what can go wrong: 1 low, 2 medium, 3 high"
    )
    recommend.add_argument(
        "--complexity", type=int, choices=(1, 2, 3), help="how complex the reasoning is: 1 to 3"
    )
    recommend.add_argument(
        "--error-cost-usd",
        type=float,
        metavar="USD",
        help="what a wrong answer costs (assumed from the stakes)",
    )
    recommend.add_argument(
        "--second-usd",
        type=float,
        default=0.0,
        metavar="USD",
        help="what a second of waiting is worth (0: nobody waits)",
    )
    recommend.add_argument("--count", nargs=3, action="append", default=[], metavar=("TIER", "WRONG", "EXAMPLES"),
                           help="wrong answers that you counted, of a model, or of a tier of one provider; again for each")  # fmt: skip
    recommend.add_argument(
        "--samples",
        metavar="FILE",
        help="answers to your examples: a run's store or samples.csv, or CSV or Parquet with prompt_id, model_id, score and "
        "cost_usd (or tokens)",
    )
    recommend.add_argument(
        "--truncated",
        choices=("set_aside", "wrong"),
        default="set_aside",
        help="an answer cut off by its limit has no score (default), or 0",
    )
    recommend.add_argument(
        "--margin",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="how much worse than a rival the choice may be, 0-1 (0.05): what it takes more examples than --samples has is not filed",
    )
    recommend.add_argument("--provider", help="only its lineup (all providers)")
    recommend.add_argument(
        "--model",
        action="append",
        metavar="MODEL",
        help="a candidate in place of the lineup, or of all in --samples; again for each",
    )
    recommend.add_argument(
        "--requests-per-day", type=float, metavar="N", help="requests a day (1,000)"
    )
    recommend.add_argument(
        "--input-tokens", type=float, metavar="N", help="whole input of a request (500)"
    )
    recommend.add_argument(
        "--output-tokens", type=float, metavar="N", help="visible output of a request (300)"
    )
    recommend.add_argument(
        "--cache-hit-rate", type=float, metavar="SHARE", help="of the input, 0-1 (0)"
    )
    recommend.add_argument(
        "--batch-share", type=float, metavar="SHARE", help="of the requests, 0-1 (0)"
    )
    recommend.add_argument(
        "--tool-calls",
        type=int,
        metavar="N",
        help="tool calls a request (agentic_tools: 5; else 0)",
    )
    recommend.add_argument(
        "--prices",
        default="maintained",
        metavar="SOURCE",
        help="article, maintained (default) or a path",
    )
    recommend.add_argument("--as-of", metavar="DATE", help="ISO date of the prices")
    recommend.add_argument(
        "--file", metavar="PATH", help="file the decision: a file that ends in .md, or a folder"
    )
    recommend.add_argument("--title", help="what is decided about (the task)")
    recommend.add_argument("--owner", default="", help="who answers for it")
    recommend.add_argument("--notes", default="", help="words of your own, kept in the record")
    recommend.add_argument("--decided-on", metavar="DATE", help="ISO date of the decision (today)")
    recommend.add_argument(
        "--replace", action="store_true", help="write over a record that is there"
    )

    review = command(
        "review",
        _review,
        "Judge filed decisions again: what changed since, does each still stand, and by how many dollars.",
        ["review decisions/2026-06-12-support.md", "review decisions/*.md --as-of 2026-12-01"],
    )
    review.add_argument(
        "records",
        nargs="+",
        metavar="RECORD",
        help="decision records (Markdown, from recommend --file)",
    )
    review.add_argument(
        "--prices",
        default="maintained",
        metavar="SOURCE",
        help="article, maintained (default) or a path",
    )
    review.add_argument(
        "--as-of", metavar="DATE", help="ISO date on which you stand (the day of the catalogue)"
    )
    review.epilog += "\n\nexit status: 0 every decision stands, 1 one flips or its model is gone, 2 an input is wrong"


def _recommend(options):
    import tierlab as tl
    from tierlab.decide.options import INTERVAL
    from tierlab.decide.record import flip_words

    given = {
        name: getattr(options, name) for name in _WORKLOAD if getattr(options, name) is not None
    }
    workload = (
        tl.Workload(**{"requests_per_day": 1_000} | given) if given else None
    )  # step 2 is done by who says how much
    found = tl.recommend(
        task=options.task, stakes=options.stakes, complexity=options.complexity, error_cost_usd=options.error_cost_usd,
        workload=workload, prices=tl.load_prices(options.prices, as_of=options.as_of), provider=options.provider,
        models=options.model, samples=tl.load_samples(options.samples) if options.samples else None,
        error_counts=_counts(options.count), second_usd=options.second_usd, tool_calls=options.tool_calls,
        truncated=options.truncated, margin=options.margin,
    )  # fmt: skip
    columns = ["model_id", "tier", "price_usd", "error_rate", "error_usd", "time_usd", "expected_usd", "low", "high", "best_share",
               "note"]  # fmt: skip
    table = found.table[columns].rename(columns={"expected_usd": "all_in_usd"})
    print(f"{found}\n\n{table.to_string(index=False, na_rep='-', float_format='{:.4g}'.format)}")
    print(
        f"low and high of all_in_usd: {INTERVAL}; best_share: share of the draws in which a model is the cheapest"
    )
    print("\nWhat would change it:")
    print("\n".join(f"  {line}" for line in flip_words(found.flips)) or "  nothing on its own")
    if options.file:
        path = tl.file_record(found, options.file, title=options.title or options.task.replace("_", " "), owner=options.owner,
                              decided_on=options.decided_on or date.today(), notes=options.notes, replace=options.replace)  # fmt: skip
        print(f"\n{path}")


def _counts(given):
    """TIER WRONG EXAMPLES of the command line, as error_counts."""
    counts = {}
    for name, wrong, examples in given:
        if not (wrong.isdecimal() and examples.isdecimal()):
            raise ValueError(
                f"--count {name} {wrong} {examples}: WRONG and EXAMPLES are whole numbers, as in --count mid 6 80"
            )
        counts[name] = (int(wrong), int(examples))
    return counts or None


def _review(options):
    import tierlab as tl

    prices = tl.load_prices(options.prices, as_of=options.as_of)
    stand, bad = True, False
    for path in options.records:
        try:
            found = tl.review(path, prices=prices)
        except (ValueError, OSError) as error:  # the other records are judged all the same
            bad, said = True, shown(str(error), 2000)
            print("tierlab: " + (said if path in said else f"{path}: {said}"), file=sys.stderr)
            continue
        stand &= found.stands
        print(
            f"{path}\n{found}\n\nUS dollars a day:\n{found.money.round(2).to_string(na_rep='-')}\n"
        )
    if not stand:
        print(
            "A decision does not stand: decide again with `python -m tierlab recommend`.",
            file=sys.stderr,
        )
    return 2 if bad else int(not stand)
