"""The samples table: what a store of answers holds, scored; an outcomes table with the answers in it."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from tierlab.core.paths import DATA
from tierlab.core.tables import TOKEN_COLUMNS
from tierlab.core.untrusted import regular, shown, unguarded
from tierlab.core.vocabulary import ANSWERED, unknown
from tierlab.evaluate.rows import scored_rows
from tierlab.evaluate.scorers.answers import ToolCall, Unscored
from tierlab.evaluate.scorers.code import ISOLATIONS, isolation
from tierlab.evaluate.scoring import score_example
from tierlab.routing.outcomes import NEEDED, note
from tierlab.sampling.examples import Example
from tierlab.sampling.store import digest, packed, read

SAMPLES = DATA / "samples"
SAMPLE_COLUMNS = (
    "prompt_id",
    "model_id",
    "repeat",
    "task",
    "difficulty",
    "group",
    "prompt",
    "prompt_chars",
    "answer",
    "tool_calls",
    "score",
    "score_reason",
    "status",
    "attempts",
    *TOKEN_COLUMNS,
    "reasoning_tokens",
    "ttft_s",
    "end_to_end_s",
    "tokens_per_s",
    "stop_reason",
    "reported_model",
    "cost_usd",
    "flags",
    "source",
    "provenance",
    "at",
    "error",
)
_KEYS = "SELECT key FROM calls WHERE kind = 'answer' ORDER BY rowid"
_STATUSES = (
    "SELECT status, COUNT(*) FROM results JOIN calls USING (key) WHERE kind = 'answer' GROUP BY 1"
)
_ATTEMPTS = """
SELECT COUNT(*), COALESCE(SUM(CASE WHEN in_doubt THEN 0 ELSE cost_usd END), 0),
       COALESCE(SUM(CASE WHEN in_doubt THEN most_usd ELSE 0 END), 0), COALESCE(SUM(in_doubt), 0),
       COALESCE(SUM(reason = 'interrupted'), 0), COALESCE(SUM(MAX(0, cost_usd - most_usd)), 0),
       COALESCE(SUM(key LIKE 'warm-up:%'), 0) FROM attempts
"""
_CALLS = """
SELECT c.key, c.request, r.status, r.cost_usd, r.attempts, r.reply
FROM calls c LEFT JOIN results r USING (key) WHERE c.kind = 'answer'
"""
_SCORE = "INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?)"
# Inside a text of the reply the quotes would be escaped. Its NaN keeps sqlite's own JSON functions from reading it.
_OTHER_MODEL = """
SELECT COUNT(*) FROM results JOIN calls USING (key) WHERE kind = 'answer' AND instr(reply, '"flags": "other_model"')
"""
_TEXTS = (
    "prompt_id",
    "model_id",
    "task",
    "group",
    "prompt",
    "answer",
    "tool_calls",
    "score_reason",
    "stop_reason",
    "reported_model",
    "error",
)


def load_samples(source: str | Path) -> pd.DataFrame:
    """The samples table of a store, of a CSV or Parquet file (from a store, or an outcomes table), or of the kit's recording.

    Parameters
    ----------
    source : path or {"open_models", "intents"}
        The kit's own recordings of three open models: their answers to its examples, and to the messages of `load_intents`.

    Returns
    -------
    DataFrame
        As `tierlab.sample` returns it; what was measured when it was made is now "recorded".

    Raises
    ------
    ValueError
        If there is no such file, or it lacks a column of a samples table.
    """
    own = {path.stem: path for path in sorted(SAMPLES.glob("*.csv"))}
    path = regular(own.get(str(source), source))
    if not path.is_file():
        if path.suffix:
            raise ValueError(f"{path}: no such file of samples")
        near = unknown("samples", str(source), own)
        raise ValueError(f"{near} (or a path to a store, .csv or .parquet)")
    if path.suffix not in (".csv", ".parquet"):
        return samples_table(path, [key for (key,) in read(path, _KEYS)], {})
    texts = dict.fromkeys(_TEXTS, str)  # an answer of "1", or an id of "01", is not a number
    read_csv = partial(pd.read_csv, keep_default_na=False, na_values=[""], dtype=texts)
    table = pd.read_parquet(path) if path.suffix == ".parquet" else unguarded(read_csv(path))
    if missing := [column for column in NEEDED if column not in table]:
        raise ValueError(
            f"{path}: column {missing[0]!r} is missing; needed are {', '.join(NEEDED)}"
        )
    table = table if "status" in table else table.assign(status="ok")
    if "source" in table:
        table["source"] = table["source"].replace("measured", "recorded")
    return table


def account(store):
    """What a store holds and what it cost.

    Returns
    -------
    dict
        calls, by_status (those with a result) and unanswered (those without); other_model, answers of which the server
        says that another model gave them; attempts, of which warm_ups;
        spent_usd (known); in_doubt, attempts that the provider may bill though their cost is unknown, of which
        interrupted when a run was cut off; in_doubt_usd, the most that those can cost; overrun_usd, by how much
        answers cost more than was reserved for them (a server that ignores the limit on output tokens).
    """
    kinds = dict(read(store, _STATUSES))
    total, spent, doubt, doubts, cut, overrun, warm = read(store, _ATTEMPTS)[0]
    calls = read(store, "SELECT COUNT(*) FROM calls WHERE kind = 'answer'")[0][0]
    other = read(store, _OTHER_MODEL)[0][0]
    return {
        "calls": calls,
        "by_status": kinds,
        "unanswered": calls - sum(kinds.values()),
        "other_model": other,
        "attempts": total,
        "warm_ups": warm,
        "spent_usd": spent,
        "in_doubt": doubts,
        "in_doubt_usd": doubt,
        "interrupted": cut,
        "overrun_usd": overrun,
    }


def as_outcomes(samples: pd.DataFrame) -> pd.DataFrame:
    """The samples as an outcomes table for the routing lab: one row per example and model, repeats averaged.

    Rows without a score (a failure of the service, a truncated answer; of a model that mostly fails they are wrong, see
    `tierlab.evaluate.rows.scored_rows`) are set aside and counted in `provenance`;
    `tierlab.check_outcomes(..., incomplete="drop")` then leaves out the examples that not every model has answered.
    """
    scored = samples.assign(score=scored_rows(samples)["score"]).dropna(subset="score")
    averaged = ("score", "cost_usd", "end_to_end_s", "ttft_s", *TOKEN_COLUMNS)
    kept = ("task", "difficulty", "prompt", "prompt_chars", "source", "provenance")
    how = dict.fromkeys(averaged, "mean") | dict.fromkeys(kept, "first")
    keys = ["prompt_id", "model_id"]
    answered = scored.groupby(keys, sort=False, observed=True, dropna=False)
    table = answered.agg({name: how[name] for name in how if name in scored}).reset_index()
    counts = [column for column in TOKEN_COLUMNS if column in table]
    table[counts] = table[counts].round()
    aside = len(samples) - len(scored)
    if not aside:
        return table
    return note(table, f"{aside:,} of {len(samples):,} samples without a score set aside")


def score_answers(file, *, allow_code=False, progress=False):
    """Score what has no score yet; a score is kept by what was compared with, so that a mended reference counts."""
    from tqdm.auto import tqdm

    known = set(file.read("SELECT key, scorer FROM scores WHERE score IS NOT NULL"))
    rows = file.read(
        "SELECT c.key, c.request, r.reply FROM calls c JOIN results r USING (key) WHERE c.kind = 'answer' AND r.status = 'ok'"
    )
    found = []
    for key, request, reply in tqdm(
        rows, unit="answer", desc="scoring", disable=not progress, leave=False
    ):
        example = example_of(json.loads(request)["example"])
        scorer = scorer_key(example)
        if example.scorer == "judge" or (key, scorer) in known:
            continue
        try:
            answer = json.loads(reply)
            score, reason = score_example(
                example, answer["text"], tool_calls(answer["tool_calls"]), allow_code=allow_code
            )
        except (
            Exception
        ) as error:  # one answer never ends the run: what went wrong stands beside it
            failed = f"the scorer failed on it ({type(error).__name__}: {error})"
            score, reason = None, str(error) if isinstance(error, Unscored) else failed
        found.append((_SCORE, (key, scorer, score, shown(reason, 500))))
    if found:
        file.write(*found)


def code_run(examples, allow_code):
    """For the account: how far apart from this machine the code of replies was run, if any was."""
    wanted = allow_code and any(example.scorer == "code" for example in examples)
    return {"code_run_by": ISOLATIONS[isolation()]} if wanted else {}


def tool_calls(calls):
    """The calls with their arguments read; arguments that are not a JSON object stay as text under an empty name."""
    read_calls = []
    for name, text in calls:
        try:
            arguments = json.loads(text or "{}")
        except (ValueError, RecursionError):
            arguments = None
        read_calls.append(ToolCall(name, arguments if isinstance(arguments, dict) else {"": text}))
    return read_calls


def example_of(stored):
    """The Example that the store keeps with a call."""
    return Example(**stored | {"tools": tuple(stored["tools"])})


def scorer_key(example):
    """What a score depends on beside the answer: scorer, reference and options."""
    return digest(example.scorer, example.reference, example.scorer_args)[:16]


def samples_table(path, keys, unsent):
    """Rows of the calls with these keys, in this order; `unsent` says why a call was not made."""
    stored = {row[0]: row for row in read(path, _CALLS)}
    sql = "SELECT key, MAX(sent_at), SUM(in_doubt) FROM attempts GROUP BY key"
    sent = {key: rest for key, *rest in read(path, sql)}
    scores = {
        (key, scorer): (score, reason)
        for key, scorer, score, reason in read(path, "SELECT * FROM scores")
    }
    rows = [
        _row(stored[key], *sent.get(key, (None, 0)), scores, unsent.get(key))
        for key in dict.fromkeys(keys)
    ]
    return pd.DataFrame(rows, columns=list(SAMPLE_COLUMNS))


def _row(stored, at, doubts, scores, unsent):
    key, request, status, cost, attempts, reply = stored
    about, reply = json.loads(request), json.loads(reply or "{}")
    example = about["example"]
    tokens = reply.get("tokens") or {}
    unscored = {"judge": "needs a judge: tierlab.judge"}.get(example["scorer"], "not scored yet")
    scorer = scorer_key(example_of(example))
    score, reason = scores.get((key, scorer), (np.nan, unscored if status == "ok" else ""))
    if status in ANSWERED and status not in ("ok", "truncated"):
        score, reason = 0.0, f"no answer: {status}"
    elif status == "truncated":
        score, reason = np.nan, "cut off by the limit on output tokens"
    # Thoughts come before the first token.
    visible = tokens.get("output_tokens", 0) - tokens.get("reasoning_tokens", 0)
    writing = reply.get("end_to_end_s", np.nan) - reply.get("ttft_s", np.nan)
    answered = reply.get("text") is not None
    flags = [about["flags"], reply.get("flags", ""), "in_doubt" if doubts else ""]
    if answered and not tokens:
        flags.insert(1, "wrong_usage" if reply.get("usage_fault") else "no_usage")
    if status is None and not doubts:
        cost = 0.0
    elif doubts and not answered:
        cost = None  # nobody knows whether the failed attempts are billed
    values = {
        "prompt_id": example["example_id"],
        "model_id": about["model_id"],
        "repeat": about["repeat"],
        "task": example["task"],
        "difficulty": example["difficulty"],
        "group": example["group"],
        "prompt": about["prompt"],
        "prompt_chars": len(about["prompt"]),
        "answer": reply.get("text"),
        "tool_calls": packed(reply.get("tool_calls") or []),
        "score": score,
        "score_reason": reason,
        "status": status or ("over_budget" if unsent else "not_sent"),
        "attempts": attempts or 0,
        "cost_usd": np.nan if cost is None else cost,
        "tokens_per_s": (visible - 1) / writing if writing > 0 and visible > 1 else np.nan,
        "flags": ";".join(flag for flag in flags if flag),
        "provenance": "; ".join(t for t in (about["provenance"], about["priced"]) if t),
        "at": at,
        "error": reply.get("error") or reply.get("usage_fault") or unsent or "",
    }
    kept = ("ttft_s", "end_to_end_s", "stop_reason", "reported_model", "source")
    return (
        values
        | {name: tokens.get(name, np.nan) for name in (*TOKEN_COLUMNS, "reasoning_tokens")}
        | {k: reply.get(k, np.nan if k.endswith("_s") else None) for k in kept}
    )
