"""What a live router was asked, decided and paid: kept in a store, read as an outcomes table for the routing lab.

One row of `routed_requests` per request, written before anything is sent; what it decided is added at its end.
The calls are in the store's own tables: "routed" (the policy's), "explored" (the other models') and "router" (the
classifier's and the judge's).
"""

import hashlib
import json
from collections import Counter

import numpy as np
import pandas as pd

from tierlab.buckets import TOKEN_COLUMNS
from tierlab.names import unknown
from tierlab.providers import ANSWERED
from tierlab.store import packed, read

TABLE = "CREATE TABLE IF NOT EXISTS routed_requests (prompt_id TEXT PRIMARY KEY, request TEXT, decision TEXT)"
LOG_COLUMNS = (
    *("prompt_id", "model_id", "tier", "user", "task", "at", "prompt", "prompt_chars", "answer", "tool_calls", "score"),
    *("status", "cost_usd", "end_to_end_s", *TOKEN_COLUMNS, "reason", "step", "stands", "router_cost_usd", "judge_score"),
    *("flags", "source", "provenance", "error"),
)
_CALLS = """
SELECT c.key, c.kind, c.request, r.status, r.cost_usd, r.reply, a.doubts, a.most_usd, s.score
FROM calls c LEFT JOIN results r USING (key)
LEFT JOIN (SELECT key, SUM(in_doubt) AS doubts, SUM(CASE WHEN in_doubt THEN most_usd ELSE 0 END) AS most_usd
           FROM attempts GROUP BY key) a USING (key)
LEFT JOIN (SELECT key, score FROM scores WHERE scorer = 'live') s USING (key)
WHERE c.kind IN ('routed', 'explored', 'router') ORDER BY c.rowid
"""


def call_key(prompt_id, kind, name, step):
    """Key of a call in the store."""
    return hashlib.sha256(packed(["live", prompt_id, kind, name, step]).encode()).hexdigest()


def load_log(store):
    """The decision log of a live router: an outcomes table of what was really asked.

    Parameters
    ----------
    store : path
        Of `tierlab.LiveRouter`; it may be in use.

    Returns
    -------
    DataFrame
        One row per request and called model, in the order of the calls: the columns `LOG_COLUMNS` (without `prompt`
        where no prompt was kept), and one for every further feature that the policy was given. `tier` is the name by
        which the policy knows the model; `step` counts the answers of a request from 0 and is NaN for a model that
        was asked to explore; `stands` marks the answer that the user got; `router_cost_usd` is what the classifier
        and the judge cost, on the first row of a request and 0 on the others, so that it and `cost_usd` add up to
        what was paid. `cost_usd` is NaN where nobody knows whether a failed call is billed (flag in_doubt).
        `score` is NaN until given, and 0 for a call without an answer: the user got nothing, and `status` says why.
        `attrs["account"]`: requests, by_status (of the answers that stand; "not_sent" where the policy refused the
        request, "interrupted" where it was cut off or is still under way, "raised" where the caller got an error), answers_usd, explored_usd, router_usd (known costs),
        in_doubt_usd (the most that calls in doubt can cost), router_usd_without_row (of requests without any call).

    Raises
    ------
    ValueError
        If the file is no store, or no router has used it.

    Notes
    -----
    The policy that was live makes the same choices on it offline, for the prompts that every model has answered:
    ``tl.route(tl.check_outcomes(log, incomplete="drop"), policy)``. Ask with ``explore=1.0`` for a while to have such
    prompts.
    """
    requests, calls = _stored(store)
    own, first, rows = Counter(), {}, []
    for call in calls:
        about = requests[packed(call["prompt_id"])]
        if call["kind"] == "router":
            own[packed(call["prompt_id"])] += call["cost_usd"] or 0.0
        else:
            first.setdefault(packed(call["prompt_id"]), len(rows))
            rows.append(_row(about, call))
    for prompt_id, about in requests.items():
        own[prompt_id] += (about["decision"] or {}).get("stated_usd", 0.0)
    for prompt_id, position in first.items():
        rows[position]["router_cost_usd"] = own[prompt_id]
    features = dict.fromkeys(name for row in rows for name in row if name not in LOG_COLUMNS)
    log = pd.DataFrame(rows, columns=[*LOG_COLUMNS, *features])
    log["at"] = pd.to_datetime(log["at"])
    for name in ("classifier_cost_usd", "classifier_s"):
        if name in log:
            log[name] = log[name].fillna(0.0)  # not asked: no cost and no time
    if log["prompt"].isna().all():
        log = log.drop(columns="prompt")
    log.attrs["account"] = _account(requests, calls, own, first)
    return log


def recorded_judge(log):
    """The judge's scores of a log as a judge for `tierlab.stepwise.Cascade`, to run the same cascade offline.

    Returns
    -------
    callable
        ``judge(features, answer)`` -> the score that was given live, NaN (not accepted) where none was.
    """
    judged = log.set_index(["prompt_id", "tier"])["judge_score"]

    def judge(features, answer):
        ids, names = np.atleast_1d(features["prompt_id"]), np.atleast_1d(answer["name"])
        scores = judged.reindex(pd.MultiIndex.from_arrays([ids, names])).to_numpy(float)
        return scores if np.ndim(answer["name"]) else scores[0]

    return judge


def paid(store):
    """Features of each stored request and what it has cost at most (US dollars), explored answers left out."""
    requests, calls = _stored(store)
    total = {key: (about["decision"] or {}).get("stated_usd", 0.0) for key, about in requests.items()}
    for call in calls:
        if call["kind"] != "explored":
            total[packed(call["prompt_id"])] += (call["cost_usd"] or 0.0) + call["most_usd"]
    return [(_features(about), total[key]) for key, about in requests.items()]


def score_statements(file, scores, names):
    """Statements that keep scores: (prompt_id, name or None for the answer that stands, score) each.

    Raises
    ------
    ValueError
        For an unknown request or model, a request without an answer, or a score that is no number from 0 to 1.
    """
    statements = []
    for prompt_id, name, score in scores:
        if name is not None and name not in names:
            raise ValueError(unknown("model", name, names))
        if not 0 <= score <= 1:
            raise ValueError(f"the score of {prompt_id!r} is {score!r}; a number from 0 to 1 is needed")
        found = file.read("SELECT decision FROM routed_requests WHERE prompt_id = ?", (packed(prompt_id),))
        if not found:
            raise ValueError(f"no request {prompt_id!r} in {file.path}")
        keys = json.loads(found[0][0] or '{"keys": []}')["keys"]
        explored = call_key(prompt_id, "explored", name, None)
        key = dict(keys).get(name, explored) if name is not None else keys[-1][1] if keys else None
        if key is None or not file.read("SELECT 1 FROM results WHERE key = ?", (key,)):
            raise ValueError(f"request {prompt_id!r} has no answer" + (f" of {name!r}" if name else ""))
        values = (key, "live", float(score), "given")
        statements.append(("INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?)", values))
    return statements


def _stored(store):
    """Requests by packed prompt id, and their calls in order."""
    if not read(store, "SELECT 1 FROM sqlite_master WHERE name = 'routed_requests'"):
        raise ValueError(f"{store} holds no requests of a live router")
    calls = []
    for key, kind, call, status, cost, reply, doubts, most, score in read(store, _CALLS):
        reply = json.loads(reply or "{}")
        unknown_cost = cost is None or (doubts and reply.get("text") is None)
        calls.append(
            json.loads(call)
            | {"key": key, "kind": kind, "status": status or "interrupted", "cost_usd": None if unknown_cost else cost}
            | {"reply": reply, "in_doubt": bool(doubts), "most_usd": most or 0.0, "score": score}
        )
    requests = {}  # read after the calls: a request is written before its calls
    for prompt_id, request, decision in read(store, "SELECT * FROM routed_requests ORDER BY rowid"):
        requests[prompt_id] = json.loads(request) | {"decision": json.loads(decision) if decision else None}
    known = [call for call in calls if packed(call["prompt_id"]) in requests]
    return requests, known


def _features(about):
    decided = (about["decision"] or {}).get("features", {})
    return {name: about[name] for name in ("user", "task", "at")} | about["features"] | decided


def _row(about, call):
    reply, decision = call["reply"], about["decision"] or {"reason": "interrupted", "keys": []}
    answered = call["status"] in ("ok", "truncated")
    tokens = reply.get("tokens") or {}
    no_usage = "no_usage" if call["status"] in ANSWERED and not tokens else ""
    flags = [call["flags"], no_usage, "in_doubt" if call["in_doubt"] else ""]
    return {
        "prompt_id": about["prompt_id"], "model_id": call["model_id"], "tier": call["name"], "prompt": about.get("prompt"),
        "prompt_chars": about["prompt_chars"], "answer": reply.get("text"), "tool_calls": packed(reply.get("tool_calls") or []),
        "score": (np.nan if call["score"] is None else call["score"]) if answered else 0.0, "status": call["status"],
        "cost_usd": np.nan if call["cost_usd"] is None else call["cost_usd"], "end_to_end_s": np.nan if call.get("seconds") is None else call["seconds"],
        **{name: tokens.get(name, np.nan) for name in TOKEN_COLUMNS}, "reason": decision["reason"],
        "step": np.nan if call["step"] is None else call["step"],
        "stands": bool(decision["keys"]) and call["key"] == decision["keys"][-1][1], "router_cost_usd": 0.0,
        "judge_score": decision.get("judged", {}).get(call["key"], np.nan), "source": call["source"],
        "flags": ";".join(flag for flag in flags if flag), "provenance": about["provenance"], "error": reply.get("error") or "",
    } | _features(about)  # fmt: skip


def _account(requests, calls, own, first):
    ends = [(about["decision"] or {"status": "interrupted"})["status"] for about in requests.values()]
    known = Counter()
    for call in calls:
        known[call["kind"]] += call["cost_usd"] or 0.0
    return {
        "requests": len(requests), "by_status": dict(Counter(ends)), "answers_usd": known["routed"],
        "explored_usd": known["explored"], "router_usd": sum(own.values()),
        "in_doubt_usd": sum(call["most_usd"] for call in calls),
        "router_usd_without_row": sum(usd for prompt_id, usd in own.items() if prompt_id not in first),
    }  # fmt: skip
