"""Did it arrive: three outcomes told apart on simulated quarters whose truth is known, and intervals that cover it."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tests.proofs import runs
from tests.quarter.test_synthetic import ANSWERED, FLOW, MEAN, RATES, requests_of
from tierlab.cli import main
from tierlab.quarter import simulated
from tierlab.quarter.aggregate import build_cube
from tierlab.quarter.arrival import (
    ARRIVED,
    CANNOT_TELL,
    NOT_ARRIVED,
    Decided,
    arrivals,
    decided_by,
    decided_in,
)
from tierlab.quarter.simulated import HIT_RATE, LEAK, LEAK_PER_DAY, synthetic_quarters

PRICES = tl.load_prices("maintained", as_of="2026-10-01")
SINCE, END = pd.Timestamp("2026-07-01"), pd.Timestamp("2026-09-30")
RATES = RATES | {"claude-haiku-4-5": (1, 5)}


def decided(kind, since=SINCE, **names):
    return Decided("the report before", kind, kind, since, **names)


DECISIONS = {
    "moved": decided(
        "move", task="faq_answering", model_id="claude-sonnet-4-6", to="claude-haiku-4-5"
    ),
    "moved in part": decided("move", task="summarisation", model_id="gpt-4o", to="gpt-4o-mini"),
    "never moved": decided(
        "move", task="legal_medical_analysis", model_id="gemini-3.1-pro-preview", to="gpt-4o"
    ),
    "moved late": decided("move", task="code_review", model_id="gpt-5.4", to="gpt-4o-mini"),
    "moved for nothing": decided("move", task="planning", model_id="o4-mini", to="o3-mini"),
    "batched": decided("batch", task="entity_extraction", model_id="gpt-4o-mini"),
    "never batched": decided("batch", task="intent_classification", model_id="claude-haiku-4-5"),
    "stop": decided("stop", team="staging", began=pd.Timestamp("2026-05-15")),
    "cache": decided(
        "cache",
        task="customer_support",
        model_id="claude-sonnet-4-6",
        began=pd.Timestamp("2026-05-25"),
    ),
}
TRUTH = {
    "moved": ARRIVED,
    "moved in part": NOT_ARRIVED,
    "never moved": NOT_ARRIVED,
    "moved late": NOT_ARRIVED,
    "moved for nothing": CANNOT_TELL,
    "batched": ARRIVED,
    "never batched": NOT_ARRIVED,
}
MOVES = {  # what changes: the model or batch, from when, and what share of the requests
    "moved": ("2026-07-01", 1.0),
    "moved in part": ("2026-07-20", 0.3),
    "moved late": ("2026-09-26", 0.9),
    "moved for nothing": ("2026-07-10", 0.8),
}
BATCHED_FROM, BATCHED = "2026-07-15", 5 / 6  # of what was not in batch
COLUMNS = [
    "at",
    "model_id",
    "task",
    "team",
    "batch",
    *(f"{bucket}_tokens" for bucket in tl.BUCKETS if bucket != "cache_write_long"),
]
STOPPED, REPAIRED = pd.Timestamp("2026-07-10"), pd.Timestamp("2026-07-05")


def quarters(seed, monkeypatch, *, done):
    """Requests of two quarters in which everything of `MOVES` happens, and the leak and the cache end where `done`."""
    monkeypatch.setattr(simulated, "LEAK_START", "2026-05-15")
    log, _ = synthetic_quarters(seed=seed, plants=("leak",))
    rng = np.random.default_rng(seed)
    drawn, at = rng.random(len(log)), log["at"]
    for name, (start, share) in MOVES.items():
        one = DECISIONS[name]
        moves = log["task"].eq(one.task) & (at >= start) & (drawn < share)
        log.loc[moves, "model_id"] = one.to
    waits = log["task"].eq("entity_extraction") & (at >= BATCHED_FROM) & (drawn < BATCHED)
    log.loc[waits, "batch"] = True
    broken = log["task"].eq("customer_support") & (at >= "2026-05-25")
    if done:
        broken &= at < REPAIRED
        log = log[~(log["team"].eq("staging") & (at >= STOPPED))]
    log.loc[broken, "cache_write_short_tokens"] += log.loc[broken, "cache_read_tokens"]
    log.loc[broken, "cache_read_tokens"] = 0
    return build_cube(log[COLUMNS], PRICES).daily


def expected(name):
    """The saving by arithmetic, from the parameters alone."""
    if name == "stop":
        each = (LEAK.input_tokens * 5 + LEAK.output_tokens * 25) * MEAN * ANSWERED / 1e6
        return each * LEAK_PER_DAY * ((END - STOPPED).days + 1)
    if name == "cache":  # 70 % read at 0.1 of the input rate instead of written at 1.25
        flow = FLOW["customer_support"]
        each = flow.input_tokens * MEAN * ANSWERED * HIT_RATE * 3 * (1.25 - 0.1) / 1e6
        return each * requests_of(flow, REPAIRED, END)
    flow = FLOW[DECISIONS[name].task]

    def usd(model):
        given, answered = RATES[model]
        return (flow.input_tokens * given + flow.output_tokens * answered) * MEAN * ANSWERED / 1e6

    if name == "batched":  # half the price for more of those that went online
        more = (1 - flow.batch) * BATCHED
        return usd(flow.model_id) / 2 * more * requests_of(flow, pd.Timestamp(BATCHED_FROM), END)
    start, share = MOVES[name]
    each = (usd(flow.model_id) - usd(DECISIONS[name].to)) * (1 - flow.batch / 2)
    return each * share * requests_of(flow, pd.Timestamp(start), END)


def test_the_outcomes_are_told_apart_and_the_intervals_cover(monkeypatch):
    """200 seeds with TIERLAB_PROVE=1, else 10. Nothing that did not arrive is said to have."""
    covered = {name: [] for name in ("moved", "moved in part", "batched", "stop", "cache")}
    number, told = runs(200, 20), []
    for seed in range(number):
        daily = quarters(seed, monkeypatch, done=True)
        found = arrivals(daily, PRICES, list(DECISIONS.values())).set_index(pd.Index(DECISIONS))
        told.append(found["outcome"].eq(pd.Series(TRUTH | {"stop": ARRIVED, "cache": ARRIVED})))
        false = (found["outcome"] == ARRIVED) & ~told[-1]
        assert not false.any(), found[false].T
        for name, hits in covered.items():
            hits.append(found.at[name, "low"] <= expected(name) <= found.at[name, "high"])
    rates = {name: np.mean(hits) for name, hits in covered.items()}
    pooled = np.mean(list(rates.values()))
    print(f"{number} seeds: intervals cover {rates}, together {pooled:.3f}")
    print("outcomes told:", pd.concat(told, axis=1).mean(axis=1).to_dict())
    least, most = (0.93, 0.98) if number >= 200 else (0.88, 1.0)
    assert least <= pooled <= most, rates
    assert pd.concat(told, axis=1).mean(axis=1).min() >= 0.95


def test_what_went_on_as_before_has_not_arrived(monkeypatch):
    for seed in range(runs(20)):
        daily = quarters(seed, monkeypatch, done=False)
        found = arrivals(daily, PRICES, [DECISIONS["stop"], DECISIONS["cache"]])
        assert set(found["outcome"]) <= {NOT_ARRIVED}, found.T


SMALL = tl.load_prices("article")


def log_of(before, since, days=28):
    """A cube of two models on one task: (model, requests a day) on both sides of 1 July."""
    parts = []
    for (model, number), start in ((before, SINCE - pd.Timedelta(days=days)), (since, SINCE)):
        at = pd.date_range(start, periods=days, unit="us").repeat(number)
        tokens = {"uncached_input_tokens": 1_000_000, "output_tokens": 0}
        parts.append(pd.DataFrame({"at": at, "model_id": model, "task": "support", **tokens}))
    return build_cube(pd.concat(parts, ignore_index=True), SMALL).daily


MOVE = decided("move", task="support", model_id="gpt-4o", to="gpt-4o-mini")


def test_a_move_by_arithmetic():
    """28 days of 10 requests of a million tokens: $2.50 each on gpt-4o, $0.15 on gpt-4o-mini."""
    row = arrivals(log_of(("gpt-4o", 10), ("gpt-4o-mini", 10)), SMALL, [MOVE]).iloc[0]
    assert (row["outcome"], row["moved_share"], row["days"]) == (ARRIVED, 1, 28)
    assert row[["saved_usd", "low", "high"]].tolist() == pytest.approx([28 * 10 * 2.35] * 3)


@pytest.mark.parametrize(
    "daily, one, why",
    [
        (
            log_of(("gpt-4o", 10), ("gpt-4o-mini", 10), days=13),
            MOVE,
            "13 days of traffic since and 13",
        ),
        (log_of(("gpt-4o", 10), ("gpt-5", 10)), MOVE, "concerned is in the log since"),
        (
            log_of(("gpt-4o-mini", 10), ("gpt-4o-mini", 10)),
            MOVE,
            "100% of the traffic went this way",
        ),
        (
            log_of(("gpt-4o", 10), ("gpt-4o-mini", 10)),
            decided("stop", team="staging"),
            "which team",
        ),
        (
            log_of(("gpt-4o", 10), ("gpt-4o-mini", 10)),
            decided("batch", task="support", model_id="gpt-4o"),
            "batch endpoint",
        ),
        (
            log_of(("gpt-4o", 10), ("gpt-4o-mini", 10)),
            decided("cache", task="support", model_id="gpt-4o"),
            "when it began",
        ),
        (
            log_of(("gpt-4o", 10), ("gpt-4o-mini", 10)),
            decided("move", pd.Timestamp("2026-08-01"), task="support", to="gpt-4o-mini"),
            "in the log since",
        ),
    ],
)
def test_what_cannot_be_told_says_why(daily, one, why):
    row = arrivals(daily, SMALL, [one]).iloc[0]
    assert row["outcome"] == CANNOT_TELL and why in row["why"]
    assert np.isnan(row.get("saved_usd", np.nan))


def test_what_went_to_a_third_model_counts_and_is_named():
    """Of 10 requests a day 5 save $2.35 each; 5 went to gpt-5.5 and cost $2.50 more each."""
    moved = log_of(("gpt-4o", 5), ("gpt-4o-mini", 5))
    other = log_of(("gpt-4o", 5), ("gpt-5.5", 5))
    row = arrivals(pd.concat([moved, other], ignore_index=True), SMALL, [MOVE]).iloc[0]
    assert (row["outcome"], row["moved_share"]) == (NOT_ARRIVED, 0.5)
    assert row["saved_usd"] == pytest.approx(28 * 5 * (2.35 - 2.5))
    assert "50% went to gpt-5.5" in row["why"]


def test_more_requests_are_named_beside_the_saving():
    row = arrivals(log_of(("gpt-4o", 10), ("gpt-4o-mini", 20)), SMALL, [MOVE]).iloc[0]
    assert row["outcome"] == ARRIVED and row["saved_usd"] == pytest.approx(28 * 20 * 2.35)
    assert "volume +" in row["also_moved"]


def test_a_summary_and_a_record_become_decisions():
    event = {"over": "team", "name": "staging", "start": "2026-05-15T00:00:00.000", "lasts": True}
    rows = [
        {
            "kind": "stop",
            "what": "staging",
            "usd": 260.0,
            "team": "staging",
            "task": "",
            "model_id": "",
            "to": "",
        },
        {
            "kind": "move",
            "what": "faq",
            "usd": 37.0,
            "team": "",
            "task": "faq",
            "model_id": "gpt-4o",
            "to": "gpt-4o-mini",
        },
    ]
    stop, move = decided_in({"quarter": "2026Q2", "events": [event], "decisions": rows})
    assert (stop.since, stop.began) == (SINCE, pd.Timestamp("2026-05-15"))
    assert (move.task, move.to, move.promised_usd, move.began) == ("faq", "gpt-4o-mini", 37.0, None)
    record = SimpleNamespace(
        title="Support", task="customer_support", model_id="gpt-4o-mini", decided_on="2026-07-01"
    )
    one = decided_by(record, {"support": "customer_support", "other": "planning"})
    assert (one.kind, one.tasks, one.since) == ("move", ("customer_support", "support"), SINCE)
    daily = log_of(("gpt-4o", 10), ("gpt-4o-mini", 10))
    assert arrivals(daily, SMALL, [one]).at[0, "outcome"] == ARRIVED


def test_the_review_holds_a_filed_record_against_a_log(tmp_path, capsys):
    """A record that puts the FAQ on another model; the log's task is called otherwise."""
    found = tl.recommend(task="faq_answering", error_cost_usd=0.01, prices=PRICES)
    path = tl.file_record(found, tmp_path / "faq.md", title="FAQ", decided_on="2026-07-01")
    record = tl.load_record(path)
    days = pd.date_range("2026-06-01", "2026-07-31", unit="us").repeat(3)
    before = days < SINCE
    models = np.where(before, "claude-opus-4-8", record.model_id)
    tokens = {"uncached_input_tokens": 100_000, "output_tokens": 1_000}
    log = pd.DataFrame({"at": days, "model_id": models, "task": "questions", **tokens})
    log.to_csv(tmp_path / "log.csv", index=False)
    ours = ["--task", "questions", "faq_answering", "--as-of", "2026-10-01"]
    main(["review", str(path), "--usage", str(tmp_path / "log.csv"), *ours])
    said = capsys.readouterr().out.partition("Did it arrive?")[2]
    assert f"FAQ: faq_answering on {record.model_id}: arrived, 100% of the traffic moved" in said
    main(["review", str(path), "--usage", str(tmp_path / "log.csv"), "--as-of", "2026-10-01"])
    assert "cannot be told" in capsys.readouterr().out
