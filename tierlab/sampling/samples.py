"""The samples table: the answers of a store, scored; an outcomes table with the answers in it."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from tierlab.core.paths import DATA
from tierlab.core.tables import TOKEN_COLUMNS
from tierlab.core.untrusted import regular, shown, unguarded
from tierlab.core.vocabulary import ANSWERED, unknown
from tierlab.evaluate.rows import cost_by_example, scored_rows
from tierlab.evaluate.scorers.answers import ToolCall, Unscored
from tierlab.evaluate.scorers.code import ISOLATIONS, isolation
from tierlab.evaluate.scoring import score_example
from tierlab.routing.outcomes import NEEDED, check_names, note
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
_ATTEMPTS = {  # sums over all attempts, as the account names them
    "attempts": "1",
    "warm_ups": "key LIKE 'warm-up:%'",
    "spent_usd": "CASE WHEN in_doubt THEN 0 ELSE cost_usd END",
    "in_doubt": "in_doubt",
    "in_doubt_usd": "CASE WHEN in_doubt THEN most_usd ELSE 0 END",
    "interrupted": "reason = 'interrupted'",
    "overrun_usd": "MAX(0, cost_usd - most_usd)",
}
_CALLS = """
SELECT c.key, c.request, r.status, r.cost_usd, r.attempts, r.reply, a.at, a.doubts FROM calls c
LEFT JOIN results r USING (key)
LEFT JOIN (SELECT key, MAX(sent_at) AS at, SUM(in_doubt) AS doubts FROM attempts GROUP BY key) a USING (key)
WHERE c.kind = 'answer'
"""
SCORE = "INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?)"
# A reply with NaN cannot be read by sqlite's JSON functions; within a text of the reply these quotes would be escaped.
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
    """Read a samples table from a store, a CSV or Parquet file, or the kit's recordings.

    Parameters
    ----------
    source : path or {"open_models", "intents"}
        A store of `tierlab.sample`; a .csv or .parquet file of a samples or outcomes table; or a recording of the kit:
        the answers of three open models to its examples, and to the messages of `load_intents`.

    Returns
    -------
    DataFrame
        As `tierlab.sample` returns it; answers of a file that were "measured" are now "recorded".

    Raises
    ------
    ValueError
        If there is no such file, or it has a column or a value that `tierlab.evaluate.rows.scored_rows` refuses. The
        message names the file and the row.
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
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else unguarded(read_csv(path))
        check_names(table, SAMPLE_COLUMNS)
        if missing := [column for column in NEEDED if column not in table]:
            raise ValueError(f"column {missing[0]!r} is missing; needed are {', '.join(NEEDED)}")
        # As rows of the file, so that a fault is found there.
        scored_rows(table.set_axis(pd.RangeIndex(len(table)) + 2 * (path.suffix == ".csv")))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    table = table if "status" in table else table.assign(status="ok")
    if "source" in table:
        table["source"] = table["source"].replace("measured", "recorded")
    return table


def account(store):
    """Count what a store holds and what it cost.

    Parameters
    ----------
    store : path

    Returns
    -------
    dict
        calls; by_status (calls with a result) and unanswered (calls without); other_model (answers that the server
        attributes to another model); attempts, and warm_ups among them; spent_usd (known costs); in_doubt (attempts
        of unknown cost that the provider may bill), and interrupted (those among them that ended with a run);
        in_doubt_usd (the most that they can cost); overrun_usd (by how much answers cost more than was reserved for
        them, where a server ignores the limit on output tokens).
    """
    kinds, calls = dict(read(store, _STATUSES)), len(read(store, _KEYS))
    sums = ", ".join(f"COALESCE(SUM({sql}), 0)" for sql in _ATTEMPTS.values())
    attempts = read(store, f"SELECT {sums} FROM attempts")[0]
    return {
        "calls": calls,
        "by_status": kinds,
        "unanswered": calls - sum(kinds.values()),
        "other_model": read(store, _OTHER_MODEL)[0][0],
        **dict(zip(_ATTEMPTS, attempts, strict=True)),
    }


def as_outcomes(samples: pd.DataFrame) -> pd.DataFrame:
    """Turn samples into an outcomes table for the routing lab: one row per example and model, repeats averaged.

    Parameters
    ----------
    samples : DataFrame
        From `tierlab.sample` or `tierlab.load_samples`.

    Returns
    -------
    DataFrame
        An outcomes table. The cost of an answer includes the calls for it that brought none, as in `tierlab.compare`;
        it is missing where that of one answer is not known. Samples without a score (a failure of the service, a
        truncated answer) are set aside and counted in `provenance`; those of a model that mostly fails count as wrong
        (`tierlab.evaluate.rows.scored_rows`). `tierlab.check_outcomes(..., incomplete="drop")` then leaves out the
        examples that some model has not answered.
    """
    rows = scored_rows(samples)
    scored, keys = samples.assign(score=rows["score"]), ["prompt_id", "model_id"]
    if "cost_usd" in samples:
        paid = rows[keys].join(cost_by_example(rows).rename("paid"), on=keys)["paid"]
        scored = scored.assign(cost_usd=paid)
    scored = scored.dropna(subset="score")
    averaged = ("score", "cost_usd", "end_to_end_s", "ttft_s", *TOKEN_COLUMNS)
    kept = ("task", "difficulty", "prompt", "prompt_chars", "source", "provenance")
    how = dict.fromkeys(averaged, "mean") | dict.fromkeys(kept, "first")
    answered = scored.groupby(keys, sort=False, observed=True, dropna=False)
    table = answered.agg({name: how[name] for name in how if name in scored}).reset_index()
    counts = [column for column in TOKEN_COLUMNS if column in table]
    table[counts] = table[counts].round()
    aside = len(samples) - len(scored)
    if not aside:
        return table
    return note(table, f"{aside:,} of {len(samples):,} samples without a score set aside")


def score_answers(file, *, allow_code=False, progress=False):
    """Score the answers without a score. A score is stored with the digest of its scorer, so a mended reference counts."""
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
        except Exception as error:  # one answer never ends the run; its row says what went wrong
            score, reason = None, str(error)
            if not isinstance(error, Unscored):
                reason = f"the scorer failed on it ({type(error).__name__}: {error})"
        found.append((SCORE, (key, scorer, score, shown(reason, 500))))
    if found:
        file.write(*found)


def code_run(examples, allow_code):
    """Return for the account how the code of replies was isolated from this machine, if any was run."""
    wanted = allow_code and any(example.scorer == "code" for example in examples)
    return {"code_run_by": ISOLATIONS[isolation()]} if wanted else {}


def tool_calls(calls):
    """Return the calls with parsed arguments; those that are not a JSON object stay as text under an empty name."""
    read_calls = []
    for name, text in calls:
        try:
            arguments = json.loads(text or "{}")
        except (ValueError, RecursionError):
            arguments = None
        read_calls.append(ToolCall(name, arguments if isinstance(arguments, dict) else {"": text}))
    return read_calls


def example_of(stored):
    """Return the `Example` that the store keeps with a call."""
    return Example(**stored | {"tools": tuple(stored["tools"])})


def scorer_key(example):
    """Return a digest of what a score depends on besides the answer: scorer, reference and options."""
    return digest(example.scorer, example.reference, example.scorer_args)[:16]


def samples_table(path, keys, unsent):
    """Return the rows of the calls with these keys, in this order; `unsent` says why a call was not made."""
    stored = {row[0]: row for row in read(path, _CALLS)}
    scores = read(path, "SELECT * FROM scores")
    scores = {(key, scorer): told for key, scorer, *told in scores}
    rows = [_row(stored[key], scores, unsent.get(key)) for key in dict.fromkeys(keys)]
    return pd.DataFrame(rows, columns=list(SAMPLE_COLUMNS))


def _row(stored, scores, unsent):
    """A row of the table from a row of `_CALLS`."""
    key, request, status, cost, attempts, reply, at, doubts = stored
    about, reply = json.loads(request), json.loads(reply or "{}")
    example = about["example"]
    tokens = reply.get("tokens") or {}
    score, reason = np.nan, ""
    if status == "truncated":
        reason = "cut off by the limit on output tokens"
    elif status in ANSWERED and status != "ok":
        score, reason = 0.0, f"no answer: {status}"
    elif status == "ok":
        judged = example["scorer"] == "judge"
        unscored = "needs a judge: tierlab.judge" if judged else "not scored yet"
        scorer = scorer_key(example_of(example))
        score, reason = scores.get((key, scorer), (np.nan, unscored))
    # Thoughts come before the first token, and so count for no speed.
    visible = tokens.get("output_tokens", 0) - tokens.get("reasoning_tokens", 0)
    writing = reply.get("end_to_end_s", np.nan) - reply.get("ttft_s", np.nan)
    answered = reply.get("text") is not None
    flags = [about["flags"], reply.get("flags", ""), "in_doubt" if doubts else ""]
    if answered and not tokens:
        flags.insert(1, "wrong_usage" if reply.get("usage_fault") else "no_usage")
    if status is None and not doubts:
        cost = 0.0
    elif doubts and not answered:
        cost = None  # the failed attempts may be billed or not
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
