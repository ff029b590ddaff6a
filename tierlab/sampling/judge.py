"""A model as judge of the answers in a store: asked through the same runner, within the same budget, and resumable."""

import hashlib
import json
from typing import NamedTuple

import pandas as pd

from tierlab.evaluate.scorers.judge import read_rubric, rubric_prompt
from tierlab.prices.catalog import load_prices
from tierlab.sampling.examples import Example
from tierlab.sampling.providers import Prompt, candidate
from tierlab.sampling.run import (
    ask,
    check_keys,
    check_numbers,
    forget,
    run_async,
    tariffs_of,
    unanswered,
    work,
)
from tierlab.sampling.runner import Call, Ledger, Runner
from tierlab.sampling.samples import example_of, scorer_key
from tierlab.sampling.store import Store, packed, read

_REPLY_TOKENS = 200
_SHOWN = ("prompt_id", "model_id", "repeat", "score")
_ANSWERS = "SELECT c.key, c.request, r.reply FROM calls c JOIN results r USING (key) WHERE c.kind = 'answer' AND r.status = 'ok'"
_ENTER = "INSERT OR IGNORE INTO calls VALUES (?, 'judge', ?)"


def judge(
    store,
    judge,
    *,
    budget_usd,
    every=False,
    prices=None,
    concurrency=8,
    attempts=4,
    retry=False,
    yes=False,
    progress=True,
    transport=None,
):
    """Have a model score answers from 0 to 1 by the example's rubric and good answer.

    Parameters
    ----------
    store : path
        Of `tierlab.sample`.
    judge : Candidate or str
        Any candidate; not one whose own answers are judged, if another is at hand: models favour their own.
    budget_usd : float
        The most that the store may have cost in all, answers included.
    every : bool
        Judge every answer, to see how far the judge agrees with the scorers; by default only what has no scorer but
        a judge. The scores of other scorers stay.
    prices, concurrency, attempts, retry, yes, progress, transport
        As for `tierlab.sample`.

    Returns
    -------
    DataFrame
        One row per judged answer: prompt_id, model_id, repeat, score (by the scorer; NaN if it needs a judge),
        judged (0-1, NaN where the judge's reply could not be read or did not come), reason, status, cost_usd.
        The scores of examples with the scorer "judge" are written to the store: `load_samples` has them.
    """
    judge = candidate(judge) if isinstance(judge, str) else judge
    wanted = [answer for answer in _answers(store) if every or answer.example.scorer == "judge"]
    prompts = [rubric_prompt(answer.example, answer.text) for answer in wanted]
    told = _ask(
        store,
        judge,
        prompts,
        budget_usd,
        prices,
        concurrency,
        attempts,
        retry,
        yes,
        progress,
        transport,
    )
    rows, found = [], []
    for answer, reply in zip(wanted, told, strict=True):
        score = read_rubric(reply["text"])
        status = "unread" if score is None and reply["status"] == "ok" else reply["status"]
        judged, reason = (float("nan"), reply["error"]) if score is None else score
        rows.append(
            answer.shown
            | {"judged": judged, "reason": reason, "status": status, "cost_usd": reply["cost_usd"]}
        )
        if score is not None and answer.example.scorer == "judge":
            values = (
                answer.key,
                scorer_key(answer.example),
                score.score,
                f"{judge.name}: {score.reason}",
            )
            found.append(("INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?)", values))
    if found:
        with Store(store) as file:
            file.write_now(*found)
    return pd.DataFrame(rows, columns=[*_SHOWN, "judged", "reason", "status", "cost_usd"])


class _Answer(NamedTuple):
    key: str
    example: Example
    text: str
    shown: dict


def _answers(store):
    """Every complete answer of a store."""
    scores = {
        (key, scorer): score
        for key, scorer, score in read(store, "SELECT key, scorer, score FROM scores")
    }
    for key, request, reply in read(store, _ANSWERS):
        about = json.loads(request)
        example = example_of(about["example"])
        score = scores.get((key, scorer_key(example)), float("nan"))
        values = (
            example.example_id,
            about["model_id"],
            about["repeat"],
            float("nan") if example.scorer == "judge" else score,
        )
        yield _Answer(
            key, example, json.loads(reply)["text"], dict(zip(_SHOWN, values, strict=True))
        )


def _ask(
    store,
    judge,
    prompts,
    budget_usd,
    prices,
    concurrency,
    attempts,
    retry,
    yes,
    progress,
    transport,
):
    """The judge's reply to each prompt: text, status, cost_usd, error."""
    check_numbers(budget_usd, concurrency=concurrency, attempts=attempts)
    tariffs = tariffs_of([judge], load_prices("maintained") if prices is None else prices)
    check_keys([judge])
    calls = []
    for system, user in prompts:
        key = hashlib.sha256(packed(["judge", system, user, judge.settings]).encode()).hexdigest()
        prompt = Prompt(
            ({"role": "user", "content": user},), system, max_output_tokens=_REPLY_TOKENS
        )
        calls.append(Call(key, prompt, judge, "judge"))
    with Store(store) as file:
        runner = Runner(
            file,
            tariffs,
            Ledger(budget_usd, *file.spend()),
            concurrency,
            attempts,
            stream=False,
            transport=transport,
        )
        todo = unanswered(file, {call.key: call for call in calls}.values(), retry)
        ask(sum(runner.most_usd(call) * attempts for call in todo), runner.ledger, len(todo), yes)
        forget(file, todo, retry)
        if todo:
            file.write_now(
                *((_ENTER, (call.key, packed({"model_id": judge.name}))) for call in todo)
            )
        unsent = run_async(work(runner, todo, False, progress)) if todo else {}
        stored = {
            key: rest
            for key, *rest in file.read("SELECT key, status, cost_usd, reply FROM results")
        }
    return [_told(stored.get(call.key), unsent.get(call.key, "")) for call in calls]


def _told(stored, unsent):
    if stored is None:
        return {"text": "", "status": "over_budget", "cost_usd": 0.0, "error": unsent}
    status, cost, reply = stored
    reply = json.loads(reply)
    cost = float("nan") if cost is None else cost
    return {
        "text": reply.get("text") or "",
        "status": status,
        "cost_usd": cost,
        "error": reply.get("error", ""),
    }
