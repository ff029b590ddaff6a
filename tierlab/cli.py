"""The command line: `tierlab`, or `python -m tierlab`."""

import ast
import contextlib
import json
import math
import os
import platform
import re
import shlex
import shutil
import sys
from collections import Counter
from dataclasses import dataclass, replace
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter, validators

import tierlab as tl  # its parts are loaded when a command uses them
from tierlab.core.files import OutputFolder, same_file
from tierlab.core.untrusted import Printable, guarded, shown
from tierlab.core.vocabulary import install_line, needs, unknown
from tierlab.core.workers import skip_grammar_of_addresses

app = App(
    name="tierlab",
    help="""Decide between flagship, mid-tier and small language models with numbers you can defend.

examples:
  tierlab new my_tiers                 a copy of the notebooks to work in
  tierlab run                          every notebook as a page in build/report
  tierlab prices                       the prices in force
  tierlab recommend customer_support --error-cost-usd 0.5
                                       which tier, why, and what would change it
  tierlab review decisions/*.md        do filed decisions still stand?
  tierlab sample mine.jsonl --check    check your own examples for real models
  tierlab route my_outcomes.csv        is a router worth building?
  tierlab compare results.eval --reference openai/gpt-5.5 --margin 0.05
                                       which models match it in your evaluation
  tierlab quarter 2026Q3 --usage logs/
                                       what the quarter cost and what to change

`tierlab COMMAND --help` shows examples of a command.""",
    help_format="plaintext",
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
)
Positive = Annotated[int, Parameter(validator=validators.Number(gte=1))]
Several = Parameter(consume_multiple=True)


@Parameter(name="*")
@dataclass(frozen=True)
class Rates:
    """Which prices apply.

    Parameters
    ----------
    prices : str
        article, maintained, or a path to a .csv or .parquet file
    as_of : str
        ISO date for which you decide; by default the date of the catalogue
    """

    prices: str = "maintained"
    as_of: str | None = None

    def load(self):
        return tl.load_prices(self.prices, as_of=self.as_of)


@Parameter(name="*")
@dataclass(frozen=True)
class Output:
    """Where the files go.

    Parameters
    ----------
    out : str
        folder for the files; by default one in build/
    force : bool
        replace files in the folder that tierlab did not make (but never an input)
    """

    out: str | None = None
    force: bool = False


def main(arguments=None):
    """Run one command.

    Parameters
    ----------
    arguments : list of str, optional
        By default those of the process.

    Returns
    -------
    int
        The exit status: 0 done; 1 a notebook failed or is stale, or a decision no longer stands; 2 a mistake in the
        input; 3 a quarter over its budget, if that was asked for; 130 interrupted.
    """
    given = sys.argv[1:] if arguments is None else arguments
    skip_grammar_of_addresses()
    how = {"exit_on_error": False, "print_error": False}
    try:
        with contextlib.redirect_stdout(Printable(sys.stdout)):
            if not given:
                app.help_print([])
                return 2
            return app(given, result_action="return_value", **how) or 0
    except CycloptsError as error:
        command = next((name for name in given[:1] if name in app), "")
        return _failed(f"{error} (see tierlab {f'{command} ' if command else ''}--help)")
    except BrokenPipeError:  # the reader of a pipe (head, less) has seen enough
        sys.stdout = None
        return 0
    except KeyboardInterrupt:
        kept = "; all answers so far are kept, and the same command resumes from there"
        return _failed(f"interrupted{kept if given[:1] == ['sample'] else ''}", status=130)
    except ModuleNotFoundError as error:
        return _failed(install_line(error))
    except (ValueError, OSError, ImportError) as error:
        return _failed(_in_flags(str(error), given[0]))
    except RuntimeError as error:
        if not isinstance(error, tl.pages.run.NotebookError):
            raise
        return _failed(str(error), status=1)


def _in_flags(text, command):
    """Put an error about one of Python's arguments, which begins with its name, into the words of a command.

    Examples
    --------
    >>> _in_flags("margin=5; a share is needed", "recommend")
    '--margin 5; a share is needed'
    """
    names = (
        name for argument in app[command].assemble_argument_collection() for name in argument.names
    )
    flags = {name[2:].replace("-", "_"): name for name in names if name.startswith("--")}
    flags |= {"strong_share": "--share"}
    for name, flag in flags.items():
        text = re.sub(rf"^{name} ?= ?", f"{flag} ", text)
    return text.replace("error_counts", "--count")


def _by_name(option, given):
    """Return what a repeatable option says of each name; a name that it names twice is refused."""
    said = {}
    for name, *values in given or ():
        if name in said:
            raise ValueError(f"{option} names {name!r} twice")
        said[name] = tuple(values) if len(values) > 1 else values[0]
    return said


def _needs_checkout(what, instead):
    if not tl.paths.IN_CHECKOUT:
        raise ValueError(f"{what} and needs a checkout of the repository; use `{instead}` instead")


def command():
    """Run `main` and exit with its status; the entry point of the installed command."""
    sys.exit(main())


def _failed(message, status=2):
    lines = "\n".join(line.rstrip()[:2000] for line in message.splitlines())
    print(f"tierlab: {lines}", file=Printable(sys.stderr))
    return status


@app.command
def new(folder: str):
    """Copy the notebooks into a new folder, to work in.

    examples:
      tierlab new my_tiers

    Parameters
    ----------
    folder : str
        a folder that does not exist yet or is empty
    """
    target = Path(folder)
    if target.exists() and any(target.iterdir()):
        raise ValueError(f"{folder} is not empty; name a new folder")
    left_out = shutil.ignore_patterns("app", "ruff.toml", ".ipynb_checkpoints")
    shutil.copytree(tl.paths.NOTEBOOKS, target, ignore=left_out, dirs_exist_ok=True)
    number = len(list(target.rglob("*.ipynb")))
    print(f"{target}: {number} notebooks; open them with: jupyter lab {target}")


@app.command
def run(
    *notebooks: str,
    parameter: Annotated[list[tuple[str, str]], Parameter(name=("--parameter", "-p"))] = (),
    file: Annotated[str | None, Parameter(name=("--file", "-f"))] = None,
    output: Output = Output(),
    timeout: Positive = 120,
):
    """Run notebooks with checked parameters and write their HTML pages.

    examples:
      tierlab run
      tierlab run 01_pricing 02_scaling_costs
      tierlab run 02_scaling_costs -p trace azure_conv -p seed 7
      tierlab run -f quarter.yaml --out build/2026q3

    Parameters
    ----------
    notebooks : str
        names or paths; by default all notebooks
    parameter : list
        NAME VALUE: a parameter and its value, for each notebook that declares it; repeatable
    file : str
        YAML file of parameters: lines `name: value`, at the top or under a notebook's name
    output : Output
    timeout : int
        seconds that one cell may take
    """
    index = tl.pages.run.run(
        notebooks,
        parameters=(tl.pages.parameters.read_file(file) if file else {})
        | _by_name("--parameter", parameter),
        out=output.out,
        force=output.force,
        timeout=timeout,
        inputs=[file] if file else [],
    )
    print(index)


@Parameter(name="*")
@dataclass(frozen=True)
class Log:
    """Your usage.

    Parameters
    ----------
    usage : str
        file, folder or pattern of usage logs; or synthetic, or a public trace: azure_conv, azure_code, mooncake_conv
    format : str
        auto, requests (the kit's own columns, scanned in place), or a format named in the guide to the report
    column : list
        THEIRS OURS: a column of your own CSV or Parquet file, and the column of the kit that it is; repeatable
    guess_columns : bool
        match the columns of your own file by their names, and print the matches
    task : list
        THEIRS OURS: a task as your log names it, and the task of data/tasks.csv that it is; repeatable
    cache_inside : str
        whether input_tokens in your own file includes cached tokens
    date_format : str
        how your own file writes times, if not as ISO does: such as %d.%m.%Y, or s or ms since 1970
    decimal : str
        decimal mark of your own file, if its numbers leave that open: . or ,
    timezone : str
        IANA name of the time zone in which days begin
    billed : str
        cost reports of the provider, to reconcile the log with
    """

    usage: str = "synthetic"
    format: str = "auto"
    column: list[tuple[str, str]] | None = None
    guess_columns: bool = False
    task: list[tuple[str, str]] | None = None
    cache_inside: Literal["yes", "no"] | None = None
    date_format: str | None = None
    decimal: Literal[".", ","] | None = None
    timezone: str = "UTC"
    billed: str | None = None


@Parameter(name="*")
@dataclass(frozen=True)
class Aims:
    """What the quarter is compared with.

    Parameters
    ----------
    budget : str
        budget of the quarter in USD
    company : str
        name of your company, for the title
    settings : str
        tierlab.yaml: company, team, budget_usd, and teams, each with owner and budget_usd
    contract : str
        your contract (contract.yaml): discounts, commitments, capacity, credits, your own names of models
    last : str
        summary.json of the quarter before, to check its forecast and whether its decisions arrived
    records : str
        decision records (file, folder or pattern), to check whether they arrived
    outcomes : str
        scores of your own examples: prompt_id, model_id, score, task
    margin : str
        how much worse a cheaper model may be, 0-1; with --outcomes it settles which moves are safe
    may_wait : list
        tasks whose answers may take a day
    """

    budget: str | None = None
    company: str | None = None
    settings: str | None = None
    contract: str | None = None
    last: str | None = None
    records: str | None = None
    outcomes: str | None = None
    margin: str | None = None
    may_wait: Annotated[list[str] | None, Several] = None


_QUARTER = {  # parameters of notebook 90 -> the options of `quarter`
    "usage_path": "usage",
    "usage_format": "format",
    "columns": "column",
    "tasks": "task",
    "cache_inside": "cache_inside",
    "date_format": "date_format",
    "decimal": "decimal",
    "billed_path": "billed",
    "outcomes_path": "outcomes",
    "last_summary_path": "last",
    "records_path": "records",
    "budget_usd": "budget",
    "company": "company",
    "settings_path": "settings",
    "contract_path": "contract",
    "margin": "margin",
    "may_wait": "may_wait",
    "catalogue": "prices",
    "as_of": "as_of",
    "timezone": "timezone",
}


@app.command
def quarter(
    quarter: str,
    /,
    *,
    log: Log = Log(),
    aims: Aims = Aims(),
    rates: Rates = Rates(),
    output: Output = Output(),
    no_pdf: bool = False,
    fail_over_budget: bool = False,
    timeout: Positive = 1800,
):
    """Write a quarter's report from your usage: page, PDF, figures, message.md (ten lines for a chat), summary.json.

    A section that needs a column which your log lacks says so.
    Exit status: 0 done, 1 the notebook failed, 2 an input is wrong; summary.json says the same.
    With --fail-over-budget, 3 if the report was written and the quarter is over its budget.

    examples:
      tierlab quarter 2026Q3                 a report on simulated usage, as a sample
      tierlab quarter 2026Q3 --usage logs/ --budget 50000 --out build/2026Q3
      tierlab quarter 2026Q3 --usage 'logs/*.parquet' --billed invoices/ \\
        --last build/2026Q2/summary.json
      tierlab quarter 2026Q3 --usage own.csv --column when at \\
        --column model model_id \\
                             --column in input_tokens --column out output_tokens
      tierlab quarter 2026Q3 --usage logs/ --contract contract.yaml
      tierlab quarter 2026Q3 --usage logs/ --task contracts legal_medical_analysis
      tierlab quarter 2026Q3 --usage logs/ --outcomes scores.csv --margin 0.05 \\
        --may-wait summarisation

    Parameters
    ----------
    quarter : str
        such as 2026Q3; the log should also hold the quarter before, as a comparison
    log : Log
    aims : Aims
    rates : Rates
    output : Output
    no_pdf : bool
        leave out the PDF
    fail_over_budget : bool
        exit with status 3 if the quarter is over its budget
    timeout : int
        seconds that one cell may take
    """
    from tierlab.quarter import report
    from tierlab.usage.read import guess_columns

    options = vars(log) | vars(aims) | vars(rates)
    given = {name: options[flag] for name, flag in _QUARTER.items() if options[flag] is not None}
    given |= {
        name: _by_name(f"--{_QUARTER[name]}", given[name])
        for name in ("columns", "tasks")
        if name in given
    }
    try:
        if log.guess_columns:
            given["columns"] = guess_columns(log.usage)
            print(_in_options(f"columns={given['columns']!r}"), file=sys.stderr)
        made, note = report.write(
            report.Inputs(quarter, **given),
            out=output.out,
            pdf=not no_pdf,
            timeout=timeout,
            force=output.force,
        )
    except ValueError as error:  # in the words of the command line
        name, equals, rest = str(error).partition(" = ")
        flag = f"--{_QUARTER[name].replace('_', '-')}" if equals and name in _QUARTER else name
        raise ValueError(_in_options(flag + equals + rest)) from error
    for path in made:
        print(path)
    if note:
        print(f"no PDF: {note}", file=sys.stderr)
    if not fail_over_budget:
        return 0
    over = json.loads(made[-1].read_text(encoding="utf-8"))["over_budget_usd"]
    if over is None:
        raise ValueError("--fail-over-budget needs a budget: give --budget or --settings")
    return 3 if over > 0 else 0


_OPTIONS = {  # words of read_usage -> of the command line
    r"tierlab\.usage\.read\.guess_columns\(\)": "--guess-columns",
    r"columns=\{\.\.\.\}": "--column THEIRS OURS",
    r"cache_inside=True": "--cache-inside yes",
    r"cache_inside=False": "--cache-inside no",
    r"date_format=": "--date-format ",
    r"decimal='(.)'": r"--decimal \1",
}


def _in_options(text):
    """Put a message of `read_usage` into the words of the command line.

    Examples
    --------
    >>> _in_options("say cache_inside=True; columns={'Model Name': 'model_id'} would do")
    "say --cache-inside yes; --column 'Model Name' model_id would do"
    """

    def options(found):
        try:
            pairs = ast.literal_eval(found[1]).items()
        except (ValueError, SyntaxError):  # a name with a brace in it
            return found[0]
        return " ".join(f"--column {shlex.quote(theirs)} {ours}" for theirs, ours in pairs)

    for ours, option in _OPTIONS.items():
        text = re.sub(ours, option, text)
    return re.sub(r"columns=(\{[^}]*\})", options, text)


@app.command
def prices(
    *,
    source: str = "maintained",
    as_of: str | None = None,
    changes: tuple[str, str] | None = None,
    model: str | None = None,
    all: bool = False,
    csv: bool = False,
):
    """Print the prices in force on a day, in USD per million tokens, or how prices change.

    examples:
      tierlab prices
      tierlab prices --source article
      tierlab prices --as-of 2026-12-01 --all
      tierlab prices --model claude-haiku-4-5
      tierlab prices --changes 2026-11-23 2027-01-05
      tierlab prices --csv > prices.csv

    Parameters
    ----------
    source : str
        article, maintained, or a path to a .csv or .parquet file
    as_of : str
        ISO date; by default the date on which the catalogue was checked
    changes : tuple
        START END: changes after START, up to END (ISO dates)
    model : str
        every rate of one model, by platform, region, service tier and context step
    all : bool
        every model of the catalogue, not only the lineup of the day
    csv : bool
        print all columns as CSV
    """

    known = tl.load_prices(source, as_of=as_of)
    if changes:
        table, about = known.changes(*changes), f"changes after {changes[0]}, up to {changes[1]}"
    elif model:
        table, about = known.offered(model), f"{model} on {known.as_of:%Y-%m-%d}"
    else:
        table, about = known.in_force(), f"prices in force on {known.as_of:%Y-%m-%d}"
        if not all:
            order = {model: place for place, model in enumerate(known.models())}
            table = table[table["model_id"].isin(order)]
            table = table.sort_values("model_id", key=lambda ids: ids.map(order), kind="stable")
    if csv:
        guarded(table).to_csv(sys.stdout, index=False, lineterminator="\n")
        return
    if not changes:
        table = table.assign(approximate=table["approximate"].map({True: "about", False: ""}))
        first = (
            ["platform", "region", "service_tier"] if model else ["provider", "tier", "model_id"]
        )
        rates = [*tl.BUCKETS, "batch_uncached_input", "batch_output"] if model else tl.BUCKETS
        table = table[[*first, "context_above", *rates, "approximate"]]
        table = table.rename(columns={"approximate": ""})
    print(f"{about}, USD per million tokens ({known.source})")
    text = table.to_string(index=False, na_rep="-", float_format="{:,.4g}".format)
    print(text if len(table) else "none")


@Parameter(name="*")
@dataclass(frozen=True)
class Pair:
    """The two models.

    Parameters
    ----------
    weak : str
        model or tier; by default the cheapest
    strong : str
        model or tier; by default the most expensive
    drop_incomplete : bool
        leave out prompts that one of the models has not answered
    usd_per_mtok : list
        MODEL IN OUT: price of a model that the catalogue lacks, in USD per million tokens; repeatable
    """

    weak: str | None = None
    strong: str | None = None
    drop_incomplete: bool = False
    usd_per_mtok: list[tuple[str, float, float]] | None = None


@app.command
def route(
    outcomes: str,
    /,
    *,
    pair: Pair = Pair(),
    prices: str | None = None,
    as_of: str | None = None,
    error_cost_usd: float = 0.0,
    score: str | None = None,
    share: float = 0.2,
    seed: int = 0,
    output: Output = Output(),
):
    """Judge from outcomes whether a router between two models pays: summary, curve and page.

    examples:
      tierlab route my_outcomes.csv
      tierlab route my_outcomes.csv --prices maintained --as-of 2026-11-23 \\
        --share 0.3
      tierlab route my_outcomes.csv --score my_router_score --out build/my_router
      tierlab route zeroeval_gsm --prices maintained \\
        --weak claude-3-haiku-20240307 --strong claude-3-opus-20240229

    Parameters
    ----------
    outcomes : str
        CSV or Parquet with prompt_id, model_id, score and cost_usd (or tokens), or a public data set
    pair : Pair
    prices : str
        price the answers from their tokens: article, maintained, or a path to a .csv or .parquet file
    as_of : str
        ISO date of the prices, with --prices
    error_cost_usd : float
        USD that a wrong answer costs; shows what each policy saves after its errors
    score : str
        column with the router's score; by default a text router is trained, and scores each prompt out of fold
    share : float
        share of requests that may go to the strong model, 0-1
    seed : int
        seed of folds, splits and resamples
    output : Output
    """
    from tierlab.routing import report as routing_report

    if as_of and not prices:
        raise ValueError("--as-of goes with --prices")
    rates = tl.load_prices(prices, as_of=as_of) if prices else None
    inputs = [given for given in (outcomes, prices) if given]
    folder = routing_report.output(output.out, inputs=inputs, force=output.force)
    try:
        report = routing_report.router_report(
            outcomes,
            prices=rates,
            usd_per_mtok=_by_name("--usd-per-mtok", pair.usd_per_mtok),
            error_cost_usd=error_cost_usd,
            weak=pair.weak,
            strong=pair.strong,
            score=score,
            share=share,
            incomplete="drop" if pair.drop_incomplete else "raise",
            seed=seed,
        )
    except ValueError as error:
        both = bool(pair.weak and pair.strong)
        raise ValueError(routing_report.in_flags(str(error), both=both)) from None
    print(
        f"{report.name}: {report.weak} (weak) and {report.strong} (strong), router: {report.router}"
    )
    for title, table in report.tables.items():
        print(f"\n{title}\n{table.to_string(na_rep='-')}")
    print(f"\n{report.verdict}\n{routing_report.write(report, folder)}")


@Parameter(name="*")
@dataclass(frozen=True)
class Candidates:
    """The models to try.

    Parameters
    ----------
    candidate : list
        PROVIDER:MODEL[,SETTING=VALUE...] of anthropic, openai, openai-chat, google, compatible or replay; repeatable
    local : bool
        add a model served on this machine: the small open one of `make local`, or the one of --gguf
    gguf : str
        file of the local model, with --local
    usd_per_hour : float
        price of this machine in USD per hour, charged for the time of the local model
    provenance : str
        machine, runtime and date, kept with every answer
    """

    candidate: list[str] | None = None
    local: bool = False
    gguf: str | None = None
    usd_per_hour: float = 0.0
    provenance: str = ""


@Parameter(name="*")
@dataclass(frozen=True)
class Bounds:
    """The limits of the run.

    Parameters
    ----------
    budget_usd : float
        USD that all runs into the store may cost together
    repeats : int
        answers to each example
    limit : int
        use only the first N examples
    concurrency : int
        calls at the same time, per provider
    deadline : float
        seconds for one call with all its attempts
    retry : list
        ask failed calls again: all of them, or those with these statuses
    yes : bool
        start without asking, whatever the run may cost within the budget
    """

    budget_usd: float | None = None
    repeats: int = 1
    limit: Positive | None = None
    concurrency: int = 8
    deadline: float = 120.0
    retry: Annotated[list[str] | None, Several] = None
    yes: bool = False


@Parameter(name="*")
@dataclass(frozen=True)
class Question:
    """What the answers should decide.

    Parameters
    ----------
    reference : str
        candidate with which the others are compared
    margin : float
        how much worse is still good enough, 0-1 (0.05 is five points)
    error_cost_usd : float
        USD that a wrong answer costs
    """

    reference: str | None = None
    margin: float | None = None
    error_cost_usd: float | None = None


@app.command
def sample(
    examples: str,
    /,
    *,
    candidates: Candidates = Candidates(),
    bounds: Bounds = Bounds(),
    question: Question = Question(),
    rates: Rates = Rates(),
    store: str = "build/samples/samples.sqlite",
    check: bool = False,
    allow_code: bool = False,
    output: Output = Output(),
):
    """Run your own examples through real models: cost estimate, answers, scores, verdict.

    examples:
      tierlab sample mine.jsonl --check
      tierlab sample kit --local --budget-usd 0
      tierlab sample mine.jsonl --candidate anthropic:claude-haiku-4-5 \\
        --budget-usd 20 \\
                     --candidate anthropic:claude-opus-4-8,effort=high,extra_output_tokens=4000 \\
                     --reference 'claude-opus-4-8 (effort high)' --margin 0.1
      tierlab sample mine.jsonl --budget-usd 0 \\
                     --candidate compatible:llama3.2,base_url=http://127.0.0.1:11434/v1,usd_per_mtok=0/0
      tierlab sample mine.jsonl ... \\
        --retry rate_limited timeout      ask only these again

    Parameters
    ----------
    examples : str
        JSONL or CSV file (form: data/examples/README.md), or 'kit' for the kit's own 100
    candidates : Candidates
    bounds : Bounds
    question : Question
    rates : Rates
    store : str
        file that keeps attempts and answers; the same command resumes from there
    check : bool
        check the examples and describe them; send nothing
    allow_code : bool
        run code that a model wrote (`tierlab doctor` says how it is isolated); otherwise such answers get no score
    output : Output
    """
    from tierlab.evaluate.compare import check_margin
    from tierlab.sampling import examples as kit_examples
    from tierlab.sampling import local

    if check:
        print(kit_examples.check_examples(examples))
        return
    if bounds.budget_usd is None:
        raise ValueError(
            "say what the run may cost at most with --budget-usd (0 for a local model or a replay)"
        )
    if (question.reference is None) != (question.margin is None):
        raise ValueError("--reference and --margin go together")
    if question.reference:  # before anything is paid
        check_margin(question.margin, question.error_cost_usd)
    named = list(candidates.candidate or ())
    chosen = tl.sampling.run.read_candidates(named) if named else []
    inputs = [examples, rates.prices, candidates.gguf, *(one.path for one in chosen)]
    out = _sample_folder(output, store, [given for given in inputs if given])
    asked, prices = tl.load_examples(examples)[: bounds.limit], rates.load()
    with local.serve(candidates.gguf) if candidates.local else contextlib.nullcontext() as served:
        if served:
            one = local.candidate(
                served, candidates.gguf or "", usd_per_hour=candidates.usd_per_hour
            )
            named.append(one)
        chosen = tl.sampling.run.read_candidates(named)
        names = [one.name for one in chosen]
        if question.reference and (question.reference not in names or len(names) < 2):
            nearest = unknown("candidate", question.reference, names)
            raise ValueError(f"--reference is one of two candidates or more: {nearest}")
        estimate = tl.sampling.run.estimate(
            asked, chosen, prices=prices, repeats=bounds.repeats, deadline_s=bounds.deadline
        )
        print(estimate.to_string(float_format="{:,.4f}".format))
        # The local server answers one request at a time, so that the times measured are those of the answer alone.
        places = 1 if served else bounds.concurrency
        samples = tl.sample(
            asked,
            chosen,
            limits=tl.Limits(bounds.budget_usd, places, deadline_s=bounds.deadline),
            store=store,
            prices=prices,
            repeats=bounds.repeats,
            retry=bounds.retry is not None and (bounds.retry or True),
            yes=bounds.yes or _agreed(min(estimate["most_usd"].sum(), bounds.budget_usd)),
            allow_code=allow_code,
            setup=tl.Setup(progress=sys.stderr.isatty(), provenance=candidates.provenance),
        )
    written = out.write("samples.csv", guarded(samples).to_csv(index=False, lineterminator="\n"))
    _say_samples(samples, question, names)
    print(written)


@app.command
def compare(
    results: str,
    /,
    *,
    reference: str,
    margin: float,
    metric: str | None = None,
    scale: tuple[float, float] | None = None,
    requests_per_day: float | None = None,
    error_cost_usd: float | None = None,
    prices: str | None = None,
    as_of: str | None = None,
):
    """Compare models in an evaluation that you already have.

    Reads logs of Inspect (.eval), lm-evaluation-harness (samples_*.jsonl),
    promptfoo (-o results.json) and Langfuse (scores and observations),
    folders of them, runs of `tierlab sample`, and tables with prompt_id, model_id and score.

    examples:
      tierlab compare logs/ --reference openai/gpt-5.5 --margin 0.05
      tierlab compare results.json --reference vendor:large --margin 0.05 \\
        --requests-per-day 20000
      tierlab compare ratings.eval --metric rubric/tone --scale 1 5 \\
        --reference ... --margin 0.1

    Parameters
    ----------
    results : str
        a log, a folder of logs, a run's store, or a .csv or .parquet file
    reference : str
        model that the others should match
    margin : float
        how much worse a candidate may be, 0-1
    metric : str
        which score to compare, if a log has several
    scale : float float
        WORST BEST: the ends of the scale of the score, if not 0 and 1
    requests_per_day : float
        requests a day; adds what the decision is worth a year
    error_cost_usd : float
        USD that a wrong answer costs; the cheapest model is then the one with the lowest cost, errors included
    prices : str
        compute costs from tokens: article, maintained, or a path; by default the costs in the file are taken
    as_of : str
        ISO date of the prices, with --prices
    """
    from tierlab.routing.evaluations import is_evaluation, read_evaluation

    if as_of and not prices:
        raise ValueError("--as-of goes with --prices")
    if requests_per_day is not None:
        right = 0 < requests_per_day < math.inf
        needs("requests_per_day", requests_per_day, right, "a number above 0")
    path = Path(results)
    if is_evaluation(path):
        table = read_evaluation(path, metric=metric, scale=scale)
    elif path.suffix:
        table = tl.load_samples(path)
    else:
        table = tl.load_outcomes(results, incomplete="drop")
    if prices is not None:
        table = tl.price_outcomes(table, tl.load_prices(prices, as_of=as_of))
    found = tl.compare(table, reference=reference, margin=margin, error_cost_usd=error_cost_usd)
    columns = ["examples", "answers", "set_aside", "score", "low", "high"]
    pairs = ["examples", "better", "worse", "difference", "low", "high", "finding", "more_examples"]
    for part in (found.candidates[columns], found.pairs[pairs]):
        print(part.round(3).to_string(na_rep="-") + "\n")
    print(found.verdict)
    each = found.costs["expected"]
    if (
        found.choice in (None, reference)
        or not each.reindex([found.choice, reference]).notna().all()
    ):
        return
    saved = each[reference] - each[found.choice]
    worth = f"{tl.usd(1000 * saved)} per thousand requests"
    if requests_per_day:
        worth += (
            f", {tl.usd(365 * requests_per_day * saved)} a year at {requests_per_day:,.0f} a day"
        )
    errors = "" if error_cost_usd is None else ", errors included"
    print(
        f"Choosing {found.choice} is worth {worth} (at each model's own cost per request in this log{errors})."
    )


def _say_samples(samples, question, names):
    from tierlab.evaluate.compare import quality_by_model
    from tierlab.evaluate.rows import scored_rows

    for name, value in samples.attrs["account"].items():
        print(f"{name:<13} {value:,.4f}" if isinstance(value, float) else f"{name:<13} {value}")
    for status, rows in samples[samples["error"] != ""].groupby("status", sort=False):
        print(f"{status}: {len(rows):,}, the first: {rows['error'].iloc[0]}")
    if not question.reference:
        table = quality_by_model(scored_rows(samples), names, 0.95).round(3)
        print(f"\n{table.to_string(na_rep='-')}")
        return
    found = tl.compare(samples, **vars(question))
    for table in (found.candidates, found.pairs):
        print(f"\n{table.to_string(na_rep='-')}")
    print(f"\n{found.verdict}")


def _sample_folder(output, store, inputs):
    """Return the folder for samples.csv; refuse, before anything is paid, to replace a file that is not ours."""
    from tierlab.sampling.store import check

    if any(same_file(store, given) for given in inputs):
        raise ValueError(
            f"--store {store} is an input of this command and is never overwritten; choose another file"
        )
    check(Path(store))
    out = OutputFolder(
        output.out or Path(store).parent, inputs=[*inputs, store], force=output.force
    )
    out.claim("samples.csv")
    return out


def _agreed(most_usd):
    """Ask whether to start a run that could cost more than the limit; without anybody at the keyboard, the answer is no."""
    from tierlab.sampling.runner import ASK_ABOVE_USD

    if most_usd <= ASK_ABOVE_USD or not sys.stdin.isatty():
        return False
    answer = input(f"This could cost up to {most_usd:,.2f} USD. Start? [y/N] ")
    return answer.strip().lower() in ("y", "yes")


@Parameter(name="*")
@dataclass(frozen=True)
class TaskOptions:
    """The task.

    Parameters
    ----------
    stakes : int
        what a wrong answer leads to: 1 the question is asked again, 2 it takes somebody's time, 3 there is damage
    complexity : int
        1 one choice from a short text, 2 several steps, 3 many steps that must all hold; sets the error rates assumed
    error_cost_usd : float
        USD that a wrong answer costs (by default assumed from the stakes)
    second_usd : float
        USD that a second of waiting costs (0 if nobody waits)
    tool_calls : int
        tool calls per request (by default 5 for agentic_tools, otherwise 0)
    """

    stakes: Literal[1, 2, 3] | None = None
    complexity: Literal[1, 2, 3] | None = None
    error_cost_usd: float | None = None
    second_usd: float = 0.0
    tool_calls: int | None = None


@Parameter(name="*")
@dataclass(frozen=True)
class WorkloadOptions:
    """The workload.

    Parameters
    ----------
    requests_per_day : float
        requests a day (by default 1,000)
    input_tokens : float
        tokens of the whole input of a request (by default 500)
    output_tokens : float
        tokens of the visible output of a request (by default 300)
    cache_hit_rate : float
        share of the input that is read from a cache, 0-1 (by default 0)
    batch_share : float
        share of the requests that are sent in a batch, 0-1 (by default 0)
    """

    requests_per_day: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    cache_hit_rate: float | None = None
    batch_share: float | None = None


@Parameter(name="*")
@dataclass(frozen=True)
class Evidence:
    """What was measured.

    Parameters
    ----------
    count : list
        MODEL WRONG EXAMPLES: wrong answers that you counted, by model, or by tier with --provider; repeatable
    samples : str
        answers to your examples: a run's store or samples.csv, or a table with prompt_id, model_id, score, cost_usd
    truncated : str
        whether an answer cut off by its limit is set aside or counts as wrong
    margin : float
        how much worse than a rival the choice may be, 0-1; if --samples has too few examples, nothing is filed
    provider : str
        take only the lineup of this provider (by default of all)
    model : list
        a candidate, in place of the lineup or of all models in --samples; repeatable
    """

    count: list[tuple[str, int, int]] | None = None
    samples: str | None = None
    truncated: Literal["set_aside", "wrong"] = "set_aside"
    margin: float = 0.05
    provider: str | None = None
    model: list[str] | None = None


@Parameter(name="*")
@dataclass(frozen=True)
class Filing:
    """The record.

    Parameters
    ----------
    file : str
        where to file the decision: a file that ends in .md, or a folder
    title : str
        what the decision is about (by default the task)
    owner : str
        who is responsible for the decision
    notes : str
        your own notes, kept in the record
    decided_on : str
        ISO date of the decision (by default today)
    replace : bool
        overwrite a record that exists
    """

    file: str | None = None
    title: str | None = None
    owner: str = ""
    notes: str = ""
    decided_on: str | None = None
    replace: bool = False


@app.command
def recommend(
    task: str,
    /,
    *,
    about: TaskOptions = TaskOptions(),
    workload: WorkloadOptions = WorkloadOptions(),
    evidence: Evidence = Evidence(),
    rates: Rates = Rates(),
    filing: Filing = Filing(),
):
    """Recommend the tier with the lowest total cost for a task (price, errors and waiting), and file the decision.

    examples:
      tierlab recommend customer_support --error-cost-usd 0.5
      tierlab recommend 'contract triage' --stakes 2 --complexity 1 \\
        --error-cost-usd 5 --provider openai
      tierlab recommend code_review --error-cost-usd 2 --provider openai \\
        --count mid 6 80 --count small 11 80
      tierlab recommend summarisation --error-cost-usd 0.15 \\
        --samples outcomes.csv --truncated wrong --file decisions
      tierlab recommend summarisation --error-cost-usd 1 \\
        --title 'Summaries of tickets' --owner Ana --file decisions

    Parameters
    ----------
    task : str
        one of data/tasks.csv, or a task of your own with --stakes and --complexity
    about : TaskOptions
    workload : WorkloadOptions
    evidence : Evidence
    rates : Rates
    filing : Filing
    """
    from tierlab.core.tables import iso_day
    from tierlab.decide.options import INTERVAL
    from tierlab.decide.recommend import counts_said, flip_words
    from tierlab.decide.record import age_said, settles_said

    day = str(iso_day(filing.decided_on).date()) if filing.decided_on else date.today()
    said = {name: value for name, value in vars(workload).items() if value is not None}
    found = tl.recommend(
        task=tl.Task(task, about.stakes, about.complexity, about.tool_calls),
        error_cost_usd=about.error_cost_usd,
        second_usd=about.second_usd,
        workload=tl.Workload(**{"requests_per_day": 1_000} | said) if said else None,
        prices=rates.load(),
        provider=evidence.provider,
        models=evidence.model,
        evidence=tl.Evidence(
            samples=tl.load_samples(evidence.samples) if evidence.samples else None,
            error_counts=_by_name("--count", evidence.count) or None,
            truncated=evidence.truncated,
            margin=evidence.margin,
        ),
    )
    shape = ("requests_per_day", "input_tokens", "output_tokens")
    assumed = tuple(
        name.replace("_per_", " a ").replace("_", " ") for name in shape if name not in said
    )
    found = replace(found, assumed=assumed)
    columns = ["model_id", "tier", "price_usd", "error_rate", "error_usd", "time_usd"]
    columns += ["expected_usd", "low", "high", "best_share", "counted", "note"]
    counts = [counts_said(row) or row["basis"] for _, row in found.table.iterrows()]
    table = found.table.assign(counted=counts)[columns]
    table = table.rename(columns={"expected_usd": "total_usd", "counted": "errors"})
    print(f"{found}\n\n{table.to_string(index=False, na_rep='-', float_format='{:.4g}'.format)}")
    print(
        f"low and high of total_usd: {INTERVAL}; best_share: share of the draws in which the model is the cheapest"
    )
    print("\nWhat would change it:")
    print("\n".join(f"  {line}" for line in flip_words(found.flips)) or "  nothing on its own")
    if settles_said(found):
        print(f"  {settles_said(found)}")
    if filing.file:
        if age_said(found, day):
            print(f"\nNote: {age_said(found, day)}.")
        path = tl.file_record(
            found,
            filing.file,
            title=filing.title or task.replace("_", " "),
            owner=filing.owner,
            decided_on=day,
            notes=filing.notes,
            replace=filing.replace,
        )
        print(f"\n{path}")


@app.command
def review(
    *records: str,
    usage: str | None = None,
    task: list[tuple[str, str]] | None = None,
    timezone: str = "UTC",
    rates: Rates = Rates(),
):
    """Review filed decisions: what has changed since, whether each still stands, and by how many dollars.

    Exit status: 0 every decision stands, 1 one of them flips or its model is gone, 2 an input is wrong.

    examples:
      tierlab review decisions/2026-06-12-support.md
      tierlab review decisions/*.md --as-of 2026-12-01
      tierlab review decisions/*.md --usage logs/

    Parameters
    ----------
    records : str
        decision records (Markdown, from recommend --file)
    usage : str
        usage logs from before and after the decisions, to check whether they arrived and what they saved
    task : list
        THEIRS OURS: a task as your log names it, and the task of data/tasks.csv that it is; repeatable
    timezone : str
        IANA name of the time zone in which the days of the log begin
    rates : Rates
    """
    import numpy as np

    from tierlab.decide.recommend import dollars

    if not records:
        raise ValueError("name the records to review, as in `tierlab review decisions/*.md`")
    known = rates.load()
    stand, bad, filed = True, False, []
    for path in records:
        try:
            record = tl.load_record(path)
            found = tl.review(record, prices=known)
        except (ValueError, OSError) as error:  # the other records are still reviewed
            bad, said = True, shown(str(error), 2000)
            print("tierlab: " + (said if path in said else f"{path}: {said}"), file=sys.stderr)
            continue
        stand &= found.stands
        filed.append(record)
        kept, volume = found.money.at["kept", "model_id"], record.workload["requests_per_day"]
        options = dollars(found.table, np.mean(volume), kept)
        if kept not in set(options["model_id"]):  # a model that is gone saves nothing
            options = options.drop(columns="saved_a_year")
        print(
            f"{path}\n{found}\n\nUS dollars a day:\n{found.money.rename_axis(None).round(2).to_string(na_rep='-')}\n\n"
            f"Every option in US dollars, and what the filed choice saves compared with it:\n"
            f"{options.round(2).to_string(index=False)}\n"
        )
    if usage and filed:
        from tierlab.quarter import report, words

        own = {"usage_path": usage, "tasks": _by_name("--task", task), "timezone": timezone}
        own |= {"catalogue": rates.prices, "as_of": rates.as_of or ""}
        print("Did it arrive?")
        print(words.arrived(report.records_against(filed, report.Inputs(**own))))
    if not stand:
        print("A decision no longer stands: run `tierlab recommend` again.", file=sys.stderr)
    return 2 if bad else int(not stand)


@app.command
def refresh(*notebooks: str, check: bool = False, force: bool = False):
    """Rewrite the stored outputs of the notebooks and figures/ (in a checkout of the repository).

    examples:
      tierlab refresh
      tierlab refresh --check
      tierlab refresh 10_article_claims

    Parameters
    ----------
    notebooks : str
        names or paths; by default all notebooks with stored outputs
    check : bool
        write nothing; fail and name what is stale
    force : bool
        replace figures that tierlab did not make
    """
    _needs_checkout("refresh rewrites the stored outputs of the kit", "tierlab run")
    found = [tl.pages.run.find(name) for name in notebooks] or None
    stale = tl.pages.run.refresh(check=check, notebooks=found, force=force)
    for line in stale:
        print(("stale: " if check else "rewritten: ") + line)
    if not stale:
        print("everything is fresh")
    return int(check and bool(stale))


@app.command
def workshop(folder: str | None = None, /, *, check: bool = False, force: bool = False):
    """Copy the exercises of the workshop into a folder, or generate those of the kit again from their solutions.

    examples:
      tierlab workshop my_answers
      tierlab workshop --check

    Parameters
    ----------
    folder : str
        folder for a copy to work in; by default the exercises of the kit are generated again
    check : bool
        write nothing; fail and name what is stale
    force : bool
        overwrite exercises that were changed, including answers in them
    """
    from tierlab.workshop import build

    if folder is None:
        _needs_checkout(
            "without a folder, workshop rewrites the exercises of the kit",
            "tierlab workshop FOLDER",
        )
    stale = build.generate(out=folder, check=check, force=force)
    done = "stale: " if check else "written: " if folder else "rewritten: "
    for name in stale:
        print(done + name)
    if not stale:
        print("every exercise is fresh")
    return int(check and bool(stale))


datasets = App(
    name="datasets",
    help="""List or download public data sets.

examples:
  tierlab datasets
  tierlab datasets fetch azure_conv""",
)
app.command(datasets)


@datasets.default
def list_datasets():
    """List the public data sets.

    examples:
      tierlab datasets
      tierlab datasets fetch azure_conv
    """
    table = tl.datasets.overview()
    table["here"] = table["here"].map({True: "yes", False: "no"})
    print(table.to_string(index=False))


@datasets.command
def fetch(*names: str):
    """Download public data sets that are not cached yet, and print where they are.

    examples:
      tierlab datasets fetch azure_conv

    Parameters
    ----------
    names : str
        names of data sets, as `tierlab datasets` lists them
    """
    if not names:
        raise ValueError(f"name the data sets to fetch: {', '.join(tl.datasets.REGISTRY)}")
    for name in names:
        print(tl.datasets.path(name))


@app.command
def doctor():
    """Show what is installed, which keys are set, and which data sets are cached.

    examples:
      tierlab doctor
    """
    from tierlab.evaluate.scorers.code import ISOLATIONS, isolation
    from tierlab.sampling.providers import ADAPTERS

    print(f"{'python':<14} {platform.python_version()} on {platform.system()}")
    brought = []  # (package, the extra that brings it; None for all users)
    for line in metadata.requires("tierlab") or ():
        extra = re.search(r"extra == ['\"](\w+)['\"]", line)
        brought.append((re.match(r"[\w.-]+", line)[0], extra and extra[1]))
    size = Counter(extra for _, extra in brought)
    brought.sort(key=lambda pair: (pair[1] is not None, size[pair[1]]))  # the smallest extra first
    packages = {}
    for name, extra in brought:
        packages.setdefault(name, extra)
    for name, extra in packages.items():
        print(f"{name:<14} {_version(name, extra)}")
    for provider, (module, names) in ADAPTERS.items():
        if provider != module or not names:
            continue  # another API of the same provider, or one that needs no key
        found = [name for name in names if os.environ.get(name)]
        none = f"no key ({' and '.join(names)} not set)"
        print(f"{provider:<14} {f'{found[0]} is set' if found else none}")
    known = tl.load_prices("maintained")
    # The only command whose answer may depend on the day.
    age = (date.today() - known.as_of.date()).days
    print(f"{'prices':<14} {known.source}, {max(age, 0)} days ago")
    print(f"{'code scorer':<14} {ISOLATIONS[isolation()]}")
    print(f"{'browser':<14} {tl.pages.run.find_browser() or 'none found (needed for PDF only)'}")
    list_datasets()


def _version(name, extra):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"missing: pip install 'tierlab[{extra}]'" if extra else "MISSING"
