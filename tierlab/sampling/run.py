"""Your own examples through real models: estimated first, never over the budget, resumable, and scored.

The answers stay in a store; `tierlab.load_samples` reads the table from it again.
"""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from tierlab.prices.catalog import Prices, load_prices
from tierlab.prices.pricing import tariff
from tierlab.sampling.examples import load_examples
from tierlab.sampling.providers import Candidate, Prompt, candidate
from tierlab.sampling.runner import SETUP, Call, Limits, Setup, check_count, make_calls
from tierlab.sampling.samples import account, code_run, samples_table, score_answers
from tierlab.sampling.store import Store, digest, packed

# What is asked may be described anew (a mended reference); how an answer that is there was priced and made may not.
_ENTER = """
INSERT INTO calls VALUES (?, 'answer', ?) ON CONFLICT (key) DO UPDATE SET request = CASE
  WHEN key NOT IN (SELECT key FROM results) THEN excluded.request
  ELSE json_set(excluded.request, '$.flags', json_extract(request, '$.flags'), '$.priced', json_extract(request, '$.priced'),
                '$.provenance', json_extract(request, '$.provenance')) END
"""


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
        Strings as `tierlab.sampling.providers.candidate` reads them: ``"anthropic:claude-haiku-4-5"``.
    limits : Limits
        Budget, calls at once, attempts and deadline: ``tl.Limits(budget_usd=5)``.
    store : path
        sqlite3 file. A run that was cut off goes on from here, and pays for nothing twice.
    prices : Prices, optional
        By default the maintained catalogue.
    repeats : int
        Answers of each candidate to each example.
    retry : bool or sequence of str
        Ask failed calls again: all, or those of a status. An answer is never asked again.
    yes : bool
        Start even if the run could cost more than 1 USD.
    allow_code : bool
        Run the answers of examples with the scorer "code", apart from this machine as far as
        `tierlab.evaluate.scorers.code.isolation` says; without it they have no score.
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
        Before anything is sent: no price or key for a candidate, two candidates of one name, a file in use, or
        a run that could cost more than 1 USD without `yes`.
    OSError
        If the store can no longer be written; what was answered until then is in it.
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
    """What a run would cost, before anything is sent.

    Returns
    -------
    DataFrame
        By candidate: calls; likely_usd, one attempt each with an input counted by OpenAI's o200k_base tokenizer
        (an assumption for other providers) and answers of full length, NaN for a machine paid by the hour, whose
        time nobody knows before; most_usd, the bound that is reserved: a token per byte of input, every attempt
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


def read_candidates(candidates):
    """Candidates, each with a name of its own."""
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
    """Rates of each candidate, by name."""
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
    """How a candidate is priced that brings its own price, or ""."""
    parts = []
    if chosen.usd_per_mtok is not None:
        into, out = chosen.usd_per_mtok
        parts.append(f"given price: {into:g} / {out:g} USD per million tokens")
    if chosen.usd_per_hour:
        parts.append(f"{chosen.usd_per_hour:g} USD per hour of the machine")
    return "; ".join(parts)
