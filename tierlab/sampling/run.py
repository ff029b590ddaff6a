"""Run your own examples through real models, within a budget, and have a model judge the answers.

Both go on where an earlier run stopped, since everything stays in a store; `tierlab.load_samples` reads its table again.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd

from tierlab.evaluate.scorers.judge import read_rubric, rubric_prompt
from tierlab.prices.catalog import Prices, load_prices
from tierlab.prices.pricing import tariff
from tierlab.sampling.examples import load_examples
from tierlab.sampling.providers import Candidate, Prompt, candidate
from tierlab.sampling.runner import SETUP, Call, Limits, Setup, check_count, make_calls
from tierlab.sampling.samples import (
    SCORE,
    account,
    code_run,
    example_of,
    samples_table,
    score_answers,
    scorer_key,
)
from tierlab.sampling.store import Store, digest, packed, read

# A question may be described anew (a mended reference). How an existing answer was priced and made stays.
_ENTER = """
INSERT INTO calls VALUES (?, 'answer', ?) ON CONFLICT (key) DO UPDATE SET request = CASE
  WHEN key NOT IN (SELECT key FROM results) THEN excluded.request
  ELSE json_set(excluded.request, '$.flags', json_extract(request, '$.flags'), '$.priced', json_extract(request, '$.priced'),
                '$.provenance', json_extract(request, '$.provenance')) END
"""
_JUDGED = (
    "prompt_id",
    "model_id",
    "repeat",
    "score",
    "judged",
    "reason",
    "status",
    "cost_usd",
)
_ANSWERS = """
SELECT c.key, c.request, r.reply FROM calls c JOIN results r USING (key) WHERE c.kind = 'answer' AND r.status = 'ok'
"""
_ENTER_JUDGED = "INSERT OR IGNORE INTO calls VALUES (?, 'judge', ?)"


def sample(
    examples: str | Path | Iterable,
    candidates: Iterable[Candidate | str],
    *,
    limits: Limits,
    store: str | Path,
    prices: Prices | None = None,
    repeats: int = 1,
    retry: bool | Iterable[str] = False,
    yes: bool = False,
    allow_code: bool = False,
    setup: Setup = SETUP,
) -> pd.DataFrame:
    """Run examples through candidates and score the answers.

    Parameters
    ----------
    examples : sequence of Example, or path
        From `tierlab.load_examples`.
    candidates : sequence of Candidate or str
        Strings have the form of `tierlab.sampling.providers.candidate`: ``"anthropic:claude-haiku-4-5"``.
    limits : Limits
        Budget, calls at once, attempts and deadline: ``tl.Limits(budget_usd=5)``.
    store : path
        sqlite3 file. A run that was cut off goes on from here and pays for nothing twice.
    prices : Prices, optional
        By default the maintained catalogue.
    repeats : int
        Answers of each candidate to each example, from 1 up.
    retry : bool or sequence of str
        Make failed calls again: all of them, or those with the statuses given, one of which may be "truncated". A
        complete answer is never asked for again.
    yes : bool
        Start even if the run could cost more than 1 USD.
    allow_code : bool
        Run the answers of examples with the scorer "code", isolated from this machine as
        `tierlab.evaluate.scorers.code.isolation` describes; otherwise they have no score.
    setup : Setup
        Streaming, warm-up, progress bar, provenance.

    Returns
    -------
    DataFrame
        The samples table: one row per example, candidate and repeat (columns: `tierlab.sampling.samples.SAMPLE_COLUMNS`).
        A call without an answer is a row with its status and no score. `attrs["account"]` is
        `tierlab.sampling.samples.account` of the store.

    Raises
    ------
    ValueError
        Before anything is sent: no price or key for a candidate, two candidates of one name, a file in use, or a run
        that could cost more than 1 USD without `yes`.
    OSError
        If the store can no longer be written; it keeps everything answered until then.
    """
    check_count("repeats", repeats)
    asked, chosen = load_examples(examples), read_candidates(candidates)
    prices = load_prices("maintained") if prices is None else prices
    tariffs = tariffs_of(chosen, prices)
    listed, calls, entries = f"{prices.source}, as of {prices.as_of:%Y-%m-%d}", [], []
    for repeat in range(repeats):
        for example in asked:
            prompt = _prompt(example)
            for one in chosen:
                key = _key(example.example_id, prompt, one, repeat)
                about = {
                    "model_id": one.name,
                    "repeat": repeat,
                    "example": asdict(example),
                    "prompt": prompt.text,
                    "priced": _given_price(one) or listed,
                    "flags": tariffs[one.name].flags,
                    "provenance": setup.provenance,
                }
                calls.append(Call(key, prompt, one))
                entries.append((_ENTER, (key, packed(about))))
    with Store(store) as file:
        unsent = make_calls(file, calls, entries, tariffs, limits, setup, retry=retry, yes=yes)
        score_answers(file, allow_code=allow_code, progress=setup.progress)
        table = samples_table(file.path, [call.key for call in calls], unsent)
    table.attrs["account"] = account(store) | code_run(asked, allow_code)
    return table


def estimate(examples, candidates, *, prices=None, repeats=1, attempts=4, deadline_s=120.0):
    """Estimate what a run would cost, before anything is sent.

    Parameters
    ----------
    examples, candidates, prices, repeats
        As for `sample`.
    attempts : int
        The most attempts for one call.
    deadline_s : float
        Seconds for one call.

    Returns
    -------
    DataFrame
        By candidate: calls; likely_usd, for one attempt each, the input counted by OpenAI's o200k_base tokenizer (an
        assumption for other providers) and answers of full length, NaN for a machine paid by the hour, whose time
        is not known beforehand; most_usd, the bound that is reserved: a token per byte of input, every attempt
        billed, and for a machine paid by the hour the whole deadline.
    """
    from tierlab.routing.sources import count_tokens

    chosen = read_candidates(candidates)
    tariffs = tariffs_of(chosen, load_prices("maintained") if prices is None else prices)
    prompts = [_prompt(example) for example in load_examples(examples)]
    counted = count_tokens([prompt.sent for prompt in prompts])
    rows = []
    for one in chosen:
        rates, likely, most = tariffs[one.name], 0.0, 0.0
        for prompt, tokens in zip(prompts, counted, strict=True):
            output = one.output_limit(prompt)
            likely += rates.cost({"uncached_input_tokens": tokens, "output_tokens": output})
            most += rates.most(prompt.most_input_tokens, output, deadline_s)
        likely = float("nan") if rates.usd_per_hour else likely
        rows.append((one.name, len(prompts) * repeats, likely * repeats, most * repeats * attempts))
    columns = ["model_id", "calls", "likely_usd", "most_usd"]
    return pd.DataFrame(rows, columns=columns).set_index("model_id")


def judge(
    store: str | Path,
    model: Candidate | str,
    *,
    limits: Limits,
    prices: Prices | None = None,
    every: bool = False,
    retry: bool | Iterable[str] = False,
    yes: bool = False,
    setup: Setup = SETUP,
) -> pd.DataFrame:
    """Have a model score the answers of a store from 0 to 1, by each example's rubric and good answer.

    Parameters
    ----------
    store : path
        A store of `tierlab.sample`.
    model : Candidate or str
        Any candidate, but better none whose own answers are judged: models favour their own.
    limits : Limits
        The budget is for everything in the store, its answers included.
    every : bool
        Judge every answer, to see how far the judge agrees with the scorers; by default only the answers to examples
        with the scorer "judge". The scores of other scorers stay.
    prices, retry, yes, setup
        As for `tierlab.sample`.

    Returns
    -------
    DataFrame
        One row per judged answer: prompt_id, model_id, repeat, score (by the scorer; NaN if it needs a judge),
        judged (0-1, NaN where the judge's reply could not be read or did not come), reason, status, cost_usd.
        The scores of examples with the scorer "judge" are written to the store, where `tierlab.load_samples` reads
        them.
    """
    by, setup = candidate(model), replace(setup, stream=False, warm_up=False)
    tariffs = tariffs_of([by], load_prices("maintained") if prices is None else prices)
    wanted, calls = [], []
    for key, request, reply in read(store, _ANSWERS):
        about = json.loads(request)
        example = example_of(about["example"])
        if every or example.scorer == "judge":
            system, user = rubric_prompt(example, json.loads(reply)["text"])
            asked = digest("judge", system, user, by.settings)
            calls.append(Call(asked, Prompt.of(user, system, max_output_tokens=200), by))
            wanted.append((key, about, example))
    entries = [(_ENTER_JUDGED, (call.key, packed({"model_id": by.name}))) for call in calls]
    with Store(store) as file:
        unsent = make_calls(file, calls, entries, tariffs, limits, setup, retry=retry, yes=yes)
        results = file.read("SELECT key, status, cost_usd, reply FROM results")
        told = {key: rest for key, *rest in results}
        scores = file.read("SELECT key, scorer, score FROM scores")
        scores = {(key, scorer): score for key, scorer, score in scores}
        rows, found = [], []
        for call, (key, about, example) in zip(calls, wanted, strict=True):
            missing = ("over_budget", 0.0, packed({"error": unsent.get(call.key, "")}))
            status, cost, reply = told.get(call.key, missing)
            reply, scorer = json.loads(reply), scorer_key(example)
            own = None if example.scorer == "judge" else scores.get((key, scorer))
            judged, reason = read_rubric(reply.get("text") or "") or (None, reply.get("error", ""))
            if judged is not None and example.scorer == "judge":
                found.append((SCORE, (key, scorer, judged, f"{by.name}: {reason}")))
            if judged is None and status == "ok":
                status = "unread"
            asked = (example.example_id, about["model_id"], about["repeat"])
            rows.append((*asked, own, judged, reason, status, cost))
        file.write(*found)
    numbers = dict.fromkeys(("score", "judged", "cost_usd"), float)
    return pd.DataFrame(rows, columns=list(_JUDGED)).astype(numbers)


def read_candidates(candidates):
    """Return the candidates, or refuse an empty list and two of one name."""
    chosen = [candidate(one) for one in candidates]
    names = [one.name for one in chosen]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two candidates are called {twice[0]!r}; give one a label")
    if not chosen:
        raise ValueError(
            "there are no candidates; one is written provider:model, such as anthropic:claude-haiku-4-5"
        )
    return chosen


def tariffs_of(chosen, prices):
    """Return the tariff of each candidate, by name."""
    free = {"replay": (0.0, 0.0)}  # nothing is sent; the recorded costs stay in the recorded table
    return {
        one.name: tariff(
            prices,
            one.model_id,
            usd_per_mtok=one.usd_per_mtok or free.get(one.provider),
            usd_per_hour=one.usd_per_hour,
        )
        for one in chosen
    }


def _prompt(example):
    return Prompt.of(
        example.prompt,
        example.system,
        tuple(example.tools),
        example.schema,
        example.max_output_tokens,
    )


def _key(example_id, prompt, chosen, repeat):
    asked = (prompt.messages, prompt.system, prompt.tools, prompt.schema, prompt.max_output_tokens)
    return digest(example_id, *asked, chosen.settings, repeat)


def _given_price(chosen):
    """How a candidate with its own price is priced; "" for the others."""
    parts = []
    if chosen.usd_per_mtok is not None:
        into, out = chosen.usd_per_mtok
        parts.append(f"given price: {into:g} / {out:g} USD per million tokens")
    if chosen.usd_per_hour:
        parts.append(f"{chosen.usd_per_hour:g} USD per hour of the machine")
    return "; ".join(parts)
