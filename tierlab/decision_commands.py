"""The commands `recommend` and `review`: decide, file the decision, and judge it again."""

import sys
from datetime import date

from tierlab.core.untrusted import shown

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
    recommend.add_argument("task", help="one of data/tasks.csv, or a task of your own with --stakes and --complexity")
    recommend.add_argument("--stakes", type=int, choices=(1, 2, 3), help="what can go wrong: 1 low, 2 medium, 3 high")
    recommend.add_argument("--complexity", type=int, choices=(1, 2, 3), help="how complex the reasoning is: 1 to 3")
    recommend.add_argument(
        "--error-cost-usd", type=float, metavar="USD", help="what a wrong answer costs (assumed from the stakes)"
    )
    recommend.add_argument(
        "--second-usd", type=float, default=0.0, metavar="USD", help="what a second of waiting is worth (0: nobody waits)"
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
    recommend.add_argument("--requests-per-day", type=float, metavar="N", help="requests a day (1,000)")
    recommend.add_argument("--input-tokens", type=float, metavar="N", help="whole input of a request (500)")
    recommend.add_argument("--output-tokens", type=float, metavar="N", help="visible output of a request (300)")
    recommend.add_argument("--cache-hit-rate", type=float, metavar="SHARE", help="of the input, 0-1 (0)")
    recommend.add_argument("--batch-share", type=float, metavar="SHARE", help="of the requests, 0-1 (0)")
    recommend.add_argument("--tool-calls", type=int, metavar="N", help="tool calls a request (agentic_tools: 5; else 0)")
    recommend.add_argument("--prices", default="maintained", metavar="SOURCE", help="article, maintained (default) or a path")
    recommend.add_argument("--as-of", metavar="DATE", help="ISO date of the prices")
    recommend.add_argument("--file", metavar="PATH", help="file the decision: a file that ends in .md, or a folder")
    recommend.add_argument("--title", help="what is decided about (the task)")
    recommend.add_argument("--owner", default="", help="who answers for it")
    recommend.add_argument("--notes", default="", help="words of your own, kept in the record")
    recommend.add_argument("--decided-on", metavar="DATE", help="ISO date of the decision (today)")
    recommend.add_argument("--replace", action="store_true", help="write over a record that is there")

    review = command(
        "review",
        _review,
        "Judge filed decisions again: what changed since, does each still stand, and by how many dollars.",
        ["review decisions/2026-06-12-support.md", "review decisions/*.md --as-of 2026-12-01"],
    )
    review.add_argument("records", nargs="+", metavar="RECORD", help="decision records (Markdown, from recommend --file)")
    review.add_argument("--prices", default="maintained", metavar="SOURCE", help="article, maintained (default) or a path")
    review.add_argument("--as-of", metavar="DATE", help="ISO date on which you stand (the day of the catalogue)")
    review.epilog += "\n\nexit status: 0 every decision stands, 1 one flips or its model is gone, 2 an input is wrong"


def _recommend(options):
    import tierlab as tl
    from tierlab.options import INTERVAL
    from tierlab.record import flip_words

    given = {name: getattr(options, name) for name in _WORKLOAD if getattr(options, name) is not None}
    workload = tl.Workload(**{"requests_per_day": 1_000} | given) if given else None  # step 2 is done by who says how much
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
    print(f"low and high of all_in_usd: {INTERVAL}; best_share: share of the draws in which a model is the cheapest")
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
            raise ValueError(f"--count {name} {wrong} {examples}: WRONG and EXAMPLES are whole numbers, as in --count mid 6 80")
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
        print(f"{path}\n{found}\n\nUS dollars a day:\n{found.money.round(2).to_string(na_rep='-')}\n")
    if not stand:
        print("A decision does not stand: decide again with `python -m tierlab recommend`.", file=sys.stderr)
    return 2 if bad else int(not stand)
