"""A model as judge of the answers in a store: asked through the same runner, within the same budget, and resumable."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from tierlab.evaluate.scorers.judge import read_rubric, rubric_prompt
from tierlab.prices.catalog import Prices, load_prices
from tierlab.sampling.providers import Candidate, Prompt, candidate
from tierlab.sampling.run import tariffs_of
from tierlab.sampling.runner import SETUP, Call, Limits, Setup, make_calls
from tierlab.sampling.samples import example_of, scorer_key
from tierlab.sampling.store import Store, digest, packed, read

_COLUMNS = (
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
_ENTER = "INSERT OR IGNORE INTO calls VALUES (?, 'judge', ?)"
_SCORE = "INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?)"


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
    """Have a model score answers from 0 to 1 by the example's rubric and good answer.

    Parameters
    ----------
    store : path
        Of `tierlab.sample`.
    model : Candidate or str
        Any candidate; not one whose own answers are judged, if another is at hand: models favour their own.
    limits : Limits
        Its budget is for all that the store holds, answers included.
    every : bool
        Judge every answer, to see how far the judge agrees with the scorers; by default only what has no scorer but
        a judge. The scores of other scorers stay.
    prices, retry, yes, setup
        As for `tierlab.sample`.

    Returns
    -------
    DataFrame
        One row per judged answer: prompt_id, model_id, repeat, score (by the scorer; NaN if it needs a judge),
        judged (0-1, NaN where the judge's reply could not be read or did not come), reason, status, cost_usd.
        The scores of examples with the scorer "judge" are written to the store: `load_samples` has them.
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
    entries = [(_ENTER, (call.key, packed({"model_id": by.name}))) for call in calls]
    with Store(store) as file:
        unsent = make_calls(file, calls, entries, tariffs, limits, setup, retry=retry, yes=yes)
        told = {
            key: rest
            for key, *rest in file.read("SELECT key, status, cost_usd, reply FROM results")
        }
        scores = {
            (key, scorer): score
            for key, scorer, score in file.read("SELECT key, scorer, score FROM scores")
        }
        rows, found = [], []
        for call, (key, about, example) in zip(calls, wanted, strict=True):
            missing = ("over_budget", 0.0, packed({"error": unsent.get(call.key, "")}))
            status, cost, reply = told.get(call.key, missing)
            reply, own = json.loads(reply), scores.get((key, scorer_key(example)))
            score = read_rubric(reply.get("text") or "")
            if score is not None and example.scorer == "judge":
                values = (score.score, f"{by.name}: {score.reason}")
                found.append((_SCORE, (key, scorer_key(example), *values)))
            if score is None and status == "ok":
                status = "unread"
            judged, reason = (None, reply.get("error", "")) if score is None else score
            asked = (example.example_id, about["model_id"], about["repeat"])
            own = None if example.scorer == "judge" else own
            rows.append((*asked, own, judged, reason, status, cost))
        file.write(*found)
    numbers = dict.fromkeys(("score", "judged", "cost_usd"), float)
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(numbers)
