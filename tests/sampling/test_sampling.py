"""Sampling: every example ends answered or recorded as failed, money stays below the cap, and nothing is paid twice."""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter, defaultdict
from dataclasses import replace
from types import SimpleNamespace

import httpx2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tierlab as tl
from tests.calls import together
from tests.frames import CANDIDATES, EVENTS, frames, response, transport
from tests.servers import KEY, ROOT, RawServer, Reply
from tierlab.core.vocabulary import ANSWERED, BATCH_RATES, BUCKETS, FAILURES
from tierlab.prices.pricing import Tariff, tariff
from tierlab.sampling import runner
from tierlab.sampling.examples import Example
from tierlab.sampling.providers import Candidate, Prompt, ProviderError
from tierlab.sampling.providers import Reply as Answer
from tierlab.sampling.run import estimate
from tierlab.sampling.runner import Call, Ledger, Runner
from tierlab.sampling.samples import SAMPLE_COLUMNS, account

OWN = Candidate(
    "compatible", "own", base_url="http://own.test/v1", usd_per_mtok=(1, 2)
)  # 1 / 2 USD per million tokens
COUNTS = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
COST = (10 * 1 + 3 * 2) / 1e6
OK = frames("compatible", usage=COUNTS, model="own")
STATUS = {
    "rate_limited": 429,
    "overloaded": 529,
    "unavailable": 500,
    "auth": 401,
    "bad_request": 404,
}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in list(os.environ):
        if name.split("_")[0] in ("ANTHROPIC", "OPENAI", "GEMINI", "GOOGLE"):
            monkeypatch.delenv(name)
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, KEY)


@pytest.fixture
def hurried(monkeypatch):
    """Waits between attempts a thousandth as long."""
    monkeypatch.setattr(runner, "FIRST_WAIT_S", runner.FIRST_WAIT_S / 1000)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "run.sqlite"


def questions(n, **more):
    return [Example(f"q{i}", "own", f"question {i}?", "exact", "Paris.", **more) for i in range(n)]


def run(examples, answer, store, candidates=(OWN,), **options):
    seen = []
    options = {"budget_usd": 1.0, "progress": False, "warm_up": False, "yes": True} | options
    samples = tl.sample(
        examples, candidates, **together(store=store, transport=transport(answer, seen), **options)
    )
    return samples, seen


def asked(request):
    """Which question a request asks."""
    body = request.content.decode()
    return body[body.index("question ") : body.index("?", body.index("question "))]


# --- one run --------------------------------------------------------------------------------------------------


def test_a_run_is_a_table_with_answers_scores_and_costs(store):
    samples, seen = run(questions(3), OK, store, repeats=2, provenance="a laptop")
    assert tuple(samples.columns) == SAMPLE_COLUMNS
    assert list(zip(samples["prompt_id"], samples["repeat"], strict=True)) == [
        (f"q{i}", r) for r in (0, 1) for i in range(3)
    ]
    assert len(seen) == 6
    row = samples.iloc[0]
    assert (row["model_id"], row["answer"], row["status"], row["score"], row["attempts"]) == (
        "own",
        "Paris.",
        "ok",
        1.0,
        1,
    )
    assert row["cost_usd"] == pytest.approx(COST, rel=1e-12)
    assert (row["uncached_input_tokens"], row["output_tokens"], row["source"]) == (
        10,
        3,
        "measured",
    )
    assert 0 < row["ttft_s"] <= row["end_to_end_s"]
    assert row["tokens_per_s"] == pytest.approx((3 - 1) / (row["end_to_end_s"] - row["ttft_s"]))
    assert "a laptop" in row["provenance"]
    assert row["flags"] == "given_price"
    found = samples.attrs["account"]
    assert (found["calls"], found["by_status"], found["unanswered"]) == (6, {"ok": 6}, 0)
    assert found["spent_usd"] == pytest.approx(6 * COST, rel=1e-12)
    pd.testing.assert_frame_equal(tl.load_samples(store), samples, check_like=True)


@pytest.mark.parametrize("provider", CANDIDATES)
@pytest.mark.parametrize("stream", [True, False])
def test_a_reply_costs_what_its_buckets_cost(provider, stream, store, maintained):
    samples, _ = run(
        questions(1), frames(provider, stream=stream), store, [CANDIDATES[provider]], stream=stream
    )
    rates = {
        row["model_id"]: row
        for row in maintained.in_force().query("context_above == 0").to_dict("records")
    }
    if provider == "compatible":
        expected = 0.0
    else:
        rate = rates[CANDIDATES[provider].model_id]
        expected = 100 * rate["uncached_input"] + 30 * rate["cache_read"] + 40 * rate["output"]
        if provider == "anthropic":
            expected += 30 * rate["cache_write_short"] + 20 * rate["cache_write_long"]
        elif provider != "google":
            expected += 50 * rate["cache_write_short"]
    assert samples["cost_usd"].iloc[0] == pytest.approx(expected / 1e6, rel=1e-12)
    assert samples["reasoning_tokens"].iloc[0] == 12
    if stream:  # of the 40, 12 were thought before the first of the answer
        writing = samples["end_to_end_s"].iloc[0] - samples["ttft_s"].iloc[0]
        assert samples["tokens_per_s"].iloc[0] == pytest.approx((40 - 12 - 1) / writing)


def test_a_machine_by_the_hour_is_paid_for_its_time(store):
    own = Candidate(
        "compatible", "own", base_url="http://own.test/v1", usd_per_mtok=(0, 0), usd_per_hour=36.0
    )
    samples, _ = run(questions(1), OK, store, [own], budget_usd=10)
    assert samples["cost_usd"].iloc[0] == pytest.approx(
        samples["end_to_end_s"].iloc[0] * 0.01, rel=1e-12
    )  # a cent a second


def test_the_same_run_again_sends_nothing(store):
    first, _ = run(questions(4), OK, store)
    again, seen = run(questions(4), OK, store, budget_usd=0, warm_up=True, provenance="elsewhere")
    assert seen == []
    pd.testing.assert_frame_equal(again, first)  # its provenance too is that of the answer
    assert again.attrs == first.attrs


def test_more_examples_candidates_or_repeats_are_asked_and_the_rest_is_not(store):
    run(questions(2), OK, store)
    _, seen = run(questions(3), OK, store)
    assert [asked(request) for request in seen] == ["question 2"]
    _, seen = run(questions(3), OK, store, repeats=2)
    assert len(seen) == 3
    _, seen = run(
        questions(3),
        OK,
        store,
        [OWN, Candidate(**vars(OWN) | {"temperature": 0.5, "label": "warm"})],
    )
    assert len(seen) == 3
    _, seen = run(questions(3, max_output_tokens=9), OK, store)
    assert len(seen) == 3


def test_a_mended_reference_is_scored_again_without_being_asked_again(store):
    first, _ = run([Example("q", "own", "question 1?", "exact", "London.")], OK, store)
    mended, seen = run([Example("q", "own", "question 1?", "exact", "Paris.")], OK, store)
    assert (first["score"].iloc[0], mended["score"].iloc[0], seen) == (0.0, 1.0, [])


def test_an_answer_keeps_the_prices_it_was_paid_at(store):
    run(questions(1), OK, store)
    pricier = Candidate(**vars(OWN) | {"usd_per_mtok": (100, 200)})
    again, _ = run(questions(2), OK, store, [pricier])
    assert list(again["cost_usd"]) == pytest.approx([COST, 100 * COST])
    assert ["1 / 2 USD" in text for text in again["provenance"]] == [True, False]


def test_a_warm_up_comes_first_and_is_counted(store):
    samples, seen = run(
        questions(2), OK, store, [OWN, Candidate(**vars(OWN) | {"label": "other"})], warm_up=True
    )
    assert ["ready" in request.content.decode() for request in seen] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]
    found = samples.attrs["account"]
    assert (found["warm_ups"], found["attempts"], found["calls"]) == (2, 6, 4)
    assert found["spent_usd"] == pytest.approx(6 * COST)


def test_a_run_inside_a_running_loop(store):
    async def notebook():
        return run(questions(2), OK, store)[0]

    assert list(asyncio.run(notebook())["status"]) == ["ok", "ok"]


def test_an_interrupt_inside_a_running_loop_stops_the_sending(store, monkeypatch):
    seen = []

    async def answer(request):
        seen.append(request)
        if len(seen) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.05)
        return response(OK)

    async def notebook():
        run(questions(200), answer, store, concurrency=2)

    loop = asyncio.new_event_loop()
    try:  # without asyncio.run's own handler of the signal, as in a notebook
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(notebook())
    finally:
        loop.close()
    sent = len(seen)
    time.sleep(0.3)
    assert len(seen) == sent < 50
    with tl.sampling.store.Store(store) as file:
        assert 1 <= file.interrupted <= 3  # two under way, one more on disk before its turn


# --- mistakes that are named before anything is sent ----------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget_usd": -1}, "budget_usd=-1"),
        ({"budget_usd": float("nan")}, "budget_usd=nan"),
        ({"concurrency": 0}, "concurrency=0"),
        ({"attempts": 0}, "attempts=0"),
        ({"repeats": 0}, "repeats=0"),
        ({"deadline_s": 0}, "deadline_s=0"),
        (
            {"retry": ("rate_limitted",)},
            "unknown status 'rate_limitted'; did you mean 'rate_limited'",
        ),
        ({"candidates": []}, "there are no candidates"),
        ({"candidates": [OWN, OWN]}, "two candidates are called 'own'"),
        ({"candidates": ["openai:gpt-7"]}, "unknown model 'gpt-7'.*usd_per_mtok"),
        ({"candidates": ["replay:m,path=gone.csv"]}, "gone.csv: no such file"),
        ({"examples": []}, "no examples"),
        (
            {"examples": [Example("q", "own", "?", "exakt", "x")]},
            "unknown scorer 'exakt'; did you mean 'exact'",
        ),
        ({"examples": questions(1) * 2}, "q0"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_sent(store, options, message):
    options = {"examples": questions(1), "candidates": [OWN]} | options
    seen = []
    with pytest.raises(ValueError, match=message):
        tl.sample(
            **together(
                **{
                    "budget_usd": 1,
                    "store": store,
                    "progress": False,
                    "transport": transport(OK, seen),
                }
                | options
            )
        )
    assert seen == []


@pytest.mark.parametrize("provider", ["anthropic", "openai", "google"])
def test_a_missing_key_is_named(store, monkeypatch, provider):
    name = {
        "anthropic": "ANTHROPIC_API_KEY",
        "openai": "OPENAI_API_KEY",
        "google": "GEMINI_API_KEY",
    }[provider]
    monkeypatch.delenv(name)
    with pytest.raises(ValueError, match=name):
        run(questions(1), OK, store, [CANDIDATES[provider]])


def test_a_run_that_could_cost_more_than_a_dollar_wants_a_yes_and_loses_nothing(store):
    costly = Candidate(**vars(OWN) | {"usd_per_mtok": (1000, 1000)})
    run(
        questions(2),
        lambda request: response({"error": {"message": "no"}}, 404),
        store,
        [costly],
        budget_usd=90,
    )
    with pytest.raises(ValueError, match=r"2 calls could cost up to \d\.\d\d USD.*yes=True"):
        run(questions(2), OK, store, [costly], budget_usd=90, yes=False, retry=True)
    assert list(tl.load_samples(store)["status"]) == ["bad_request"] * 2
    samples, _ = run(questions(2), OK, store, [costly], budget_usd=90, yes=True, retry=True)
    assert list(samples["status"]) == ["ok"] * 2


# --- what goes wrong ------------------------------------------------------------------------------------------

BEGUN = ("timeout", "broken_stream", "early_end", "malformed")  # the provider may bill these


def fault(provider, kind):
    """A response of some kind, or an exception; and what it shows in the tokens of `USAGE`."""
    whole = frames(provider)
    if kind in STATUS:
        return response(
            {"error": {"message": kind, "type": kind}}, STATUS[kind], {"retry-after": "0.01"}
        )
    if kind == "context_overflow":
        return response(
            {
                "error": {
                    "message": "prompt is too long: 300 tokens > 200 maximum",
                    "type": "invalid",
                }
            },
            400,
        )
    if kind == "early_end":
        return response([*whole[:3], ""])
    if kind == "broken_stream":
        return response([*whole[:3], httpx2.RemoteProtocolError("closed"), ""])
    if kind == "timeout":
        return response([*whole[:3], httpx2.ReadTimeout("stalled"), ""])
    if kind == "malformed":
        return response([whole[0].replace("{", "{{", 1), *whole[1:]])
    shapes = {
        "ok": {},
        "truncated": {"stop": "length"},
        "empty": {"pieces": ()},
        "refused": {"stop": "refusal"}
        if provider == "anthropic"
        else {"pieces": (), "refusal": "No."},
        "content_filter": {"stop": "filter"},
    }
    return response(frames(provider, **shapes[kind]))


LACKING = {"anthropic": ("content_filter",), "google": ("refused",)}


def test_fault_drill(store, hurried, maintained):
    """Every kind of fault at random on every provider: each call ends as its last attempt did, and the account adds up."""
    drawn, last = Counter(), defaultdict(list)
    kinds = [
        "ok",
        "ok",
        "ok",
        *STATUS,
        "context_overflow",
        *BEGUN,
        "truncated",
        "empty",
        "refused",
        "content_filter",
    ]
    hosts = {"anthropic": "anthropic", "own": "compatible", "googleapis": "google"}

    def answer(request):
        provider = next(
            (name for part, name in hosts.items() if part in request.url.host), "openai"
        )
        provider = (
            "openai-chat" if provider == "openai" and "chat" in request.url.path else provider
        )
        chance = random.Random(
            f"{provider} {asked(request)} {len(last[provider, asked(request)])}"
        )  # in whatever order
        kind = chance.choice([kind for kind in kinds if kind not in LACKING.get(provider, ())])
        drawn[provider, kind] += 1
        last[provider, asked(request)].append(kind)
        return fault(provider, kind)

    chosen = [
        Candidate(**vars(one) | {"label": name, "usd_per_mtok": (1, 2)})
        for name, one in CANDIDATES.items()
    ]
    samples, seen = run(
        questions(80), answer, store, chosen, concurrency=8, budget_usd=50, attempts=3
    )
    assert len(samples) == 80 * len(chosen)
    assert set(samples["status"]) == set(kinds)  # the drill met them all
    for row in samples.itertuples():
        met = last[row.model_id, row.prompt[:-1]]
        assert (row.status, row.attempts) == (met[-1], len(met))
        assert all(kind in tl.sampling.providers.RETRIED for kind in met[:-1])
        assert row.attempts == 3 or row.status not in tl.sampling.providers.RETRIED
        if row.status in FAILURES:
            assert row.error
            assert np.isnan(row.score)
            assert np.isnan(row.cost_usd) if set(met) & set(BEGUN) else row.cost_usd == 0
        else:
            assert row.score == {"ok": 1.0, "truncated": None}.get(row.status, 0.0) or np.isnan(
                row.score
            )
        assert ("in_doubt" in row.flags) == bool(set(met) & set(BEGUN))
    assert np.isnan(samples["score"][samples["status"] == "truncated"]).all()
    found = samples.attrs["account"]
    assert found["by_status"] == samples["status"].value_counts().to_dict()
    assert (found["attempts"], found["calls"], found["unanswered"]) == (len(seen), len(samples), 0)
    assert found["in_doubt"] == sum(n for (_, kind), n in drawn.items() if kind in BEGUN)
    tokens = {name: (130 if name == "google" else 180) * 1 + 40 * 2 for name in CANDIDATES}
    paid = sum(n * tokens[name] for (name, kind), n in drawn.items() if kind in ANSWERED)
    assert found["spent_usd"] == pytest.approx(paid / 1e6, rel=1e-9)
    assert found["spent_usd"] + found["in_doubt_usd"] <= 50


def test_the_server_is_given_the_time_it_asks_for(store):
    times = []

    def answer(request):
        times.append(time.monotonic())
        return (
            response(OK)
            if len(times) == 2
            else response({"error": {"message": "slow"}}, 429, {"retry-after": "0.9"})
        )

    samples, _ = run(questions(1), answer, store)
    assert times[1] - times[0] >= 0.9  # the first wait of its own would be half a second at most
    assert (samples["status"].iloc[0], samples["attempts"].iloc[0]) == ("ok", 2)


def test_a_wait_beyond_the_deadline_is_not_waited_for(store):
    answer = lambda request: response({"error": {"message": "slow"}}, 429, {"retry-after": "3600"})  # noqa: E731
    samples, seen = run(questions(2), answer, store, deadline_s=5)
    assert (list(samples["status"]), len(seen)) == (["rate_limited"] * 2, 2)


def test_the_deadline_holds_for_a_stream_that_trickles(store):
    async def trickle():
        for frame in OK[:2] * 100:
            yield frame.encode()
            await asyncio.sleep(0.05)

    samples, seen = run(
        questions(1),
        lambda request: httpx2.Response(200, headers=EVENTS, content=trickle()),
        store,
        deadline_s=0.3,
    )
    assert (samples["status"].iloc[0], samples["attempts"].iloc[0], len(seen)) == ("timeout", 1, 1)
    assert samples.attrs["account"]["in_doubt"] == 1


def test_a_call_whose_deadline_passed_while_it_waited_for_its_place_is_not_sent(store):
    async def answer(request):
        if asked(request) == "question 0":
            return response({"error": {"message": "slow"}}, 429, {"retry-after": "0.1"})
        await asyncio.sleep(30)

    samples, seen = run(questions(2), answer, store, concurrency=1, deadline_s=1.0)
    assert [asked(request) for request in seen] == ["question 0", "question 1"]
    assert list(samples["status"]) == ["timeout", "timeout"]
    assert samples.attrs["account"]["in_doubt"] == 1  # the second was sent


def test_concurrency_is_bounded_for_each_provider(store):
    now, most = Counter(), Counter()

    async def answer(request):
        host = request.url.host
        now[host] += 1
        most[host] = max(most[host], now[host])
        await asyncio.sleep(0.01)
        now[host] -= 1
        return response(frames("anthropic")) if "anthropic" in host else response(OK)

    claude = CANDIDATES["anthropic"]
    samples, _ = run(questions(40), answer, store, [OWN, claude], concurrency=3)
    assert most == {"own.test": 3, "api.anthropic.com": 3}
    assert (samples["status"] == "ok").all()


def test_failed_calls_alone_are_asked_again(store, hurried):
    kinds = {
        "question 0": "rate_limited",
        "question 1": "auth",
        "question 2": "truncated",
        "question 3": "ok",
    }
    first, _ = run(questions(4), lambda request: fault("compatible", kinds[asked(request)]), store)
    assert list(first["status"]) == list(kinds.values())
    _, seen = run(questions(4), OK, store)
    assert seen == []
    samples, seen = run(questions(4), OK, store, retry=("rate_limited",))
    assert [asked(request) for request in seen] == ["question 0"]
    assert list(samples["status"]) == ["ok", "auth", "truncated", "ok"]
    _, seen = run(questions(4), OK, store, retry=True)
    assert [asked(request) for request in seen] == ["question 1"]
    samples, seen = run(questions(4), OK, store, retry=("truncated",))
    assert [asked(request) for request in seen] == ["question 2"]
    assert (
        samples.attrs["account"]["attempts"] == 4 + 1 + 1 + 1 + 3
    )  # three more for the rate limit
    assert list(samples["status"]) == ["ok"] * 4


def test_a_retry_leaves_the_calls_of_other_runs_alone(store):
    run(questions(2), lambda request: response({"error": {"message": "no"}}, 401), store)
    run(questions(1), OK, store, retry=True)
    assert list(tl.load_samples(store)["status"]) == ["ok", "auth"]


def test_an_answer_without_usage_costs_something_unknown(store):
    samples, _ = run(questions(2), frames("compatible", usage=None, model="own"), store)
    assert list(samples["status"]) == ["ok", "ok"]
    assert samples["cost_usd"].isna().all()
    assert (samples["flags"] == "given_price;no_usage;in_doubt").all()
    found = samples.attrs["account"]
    assert (found["spent_usd"], found["in_doubt"]) == (0, 2)
    # 11 bytes of question, 32 for each of two roles, 512 of output at 1 and 2 USD per million
    assert found["in_doubt_usd"] == pytest.approx(2 * (11 + 64 + 512 * 2) / 1e6, rel=1e-12)


def test_tokens_without_a_rate_cost_something_unknown_and_the_run_goes_on(
    store, maintained, monkeypatch
):
    rates = np.array([[1, 0.1, np.nan, np.nan, 2]]) / 1e6
    monkeypatch.setattr(
        tl.sampling.run, "tariff", lambda *given, **more: Tariff(np.array([-1.0]), rates)
    )
    samples, _ = run(questions(3), frames("compatible"), store)
    assert samples["cost_usd"].isna().all()
    assert (samples["status"] == "ok").all()
    assert samples.attrs["account"]["in_doubt"] == 3


def test_more_tokens_than_were_allowed_are_paid_and_shown(store):
    usage = {"prompt_tokens": 10, "completion_tokens": 1_000_000, "total_tokens": 1_000_010}
    samples, _ = run(
        questions(5), frames("compatible", usage=usage), store, concurrency=1, budget_usd=0.01
    )
    paid = (samples["status"] == "ok").sum()
    assert (
        1 <= paid <= 2
    )  # what was promised before the first answer came: one call on its way, one that waits for its place
    assert (samples["status"] == "over_budget").sum() == 5 - paid
    found = samples.attrs["account"]
    assert found["spent_usd"] == pytest.approx(paid * 2.00001)
    assert found["overrun_usd"] == pytest.approx(paid * (2.00001 - (11 + 64 + 512 * 2) / 1e6))


def test_what_is_not_affordable_is_not_sent(store):
    worst = 4 * (11 + 64 + 512 * 2) / 1e6  # of one call with its four attempts
    samples, seen = run(questions(5), OK, store, budget_usd=worst + 2.5 * COST)
    # Each answer leaves the budget 16e-6 smaller: the worst case fits before the first, second and third, not before the fourth.
    assert len(seen) == 3
    assert list(samples["status"].value_counts().items()) == [("ok", 3), ("over_budget", 2)]
    left = samples[samples["status"] == "over_budget"]
    assert left["error"].str.contains("could cost up to 0.0044 USD").all()
    assert (left["cost_usd"] == 0).all()
    assert left["score"].isna().all()
    samples, seen = run(questions(5), OK, store, budget_usd=1)
    assert (len(seen), set(samples["status"])) == (2, {"ok"})


def test_a_free_model_runs_on_a_budget_that_is_spent(store):
    run(questions(1), OK, store)
    free = Candidate("compatible", "free", base_url="http://own.test/v1", usd_per_mtok=(0, 0))
    samples, _ = run(questions(1), OK, store, [free], budget_usd=0)
    assert list(samples["status"]) == ["ok"]


def test_a_disk_that_cannot_be_written_ends_the_run_with_its_name(store, monkeypatch):
    made, connect = [], sqlite3.connect

    def watched(path, *given, **more):
        connection = connect(path, *given, **more)
        made.extend([connection] * (path == store))  # the one that writes
        return connection

    def answer(request):
        made[0].execute("PRAGMA query_only = 1")
        return response(OK)

    monkeypatch.setattr(sqlite3, "connect", watched)
    with pytest.raises(OSError, match=r"run\.sqlite could not be written \("):
        run(questions(20), answer, store)
    samples, _ = run(questions(20), OK, store)
    assert (samples["status"] == "ok").all()
    assert samples.attrs["account"]["interrupted"] >= 1  # sent, and its answer could not be kept


def test_answers_are_kept_in_any_script(store):
    text = "日本語 🤖 'quoted', \"twice\"\nand a cut \ud83d"
    samples, _ = run(questions(1), frames("compatible", (text,), usage=COUNTS), store)
    assert samples["answer"].iloc[0] == text.replace("\ud83d", "\N{REPLACEMENT CHARACTER}")
    samples.to_csv(store.with_suffix(".csv"), index=False)
    assert tl.load_samples(store.with_suffix(".csv"))["answer"].iloc[0] == samples["answer"].iloc[0]


def test_a_replay_gives_back_what_was_recorded(store, tmp_path, hurried):
    kinds = {
        "question 0": "ok",
        "question 1": "truncated",
        "question 2": "timeout",
        "question 3": "refused",
    }
    recorded, _ = run(
        questions(4), lambda request: fault("compatible", kinds[asked(request)]), store
    )
    path = tmp_path / "samples.csv"
    recorded.to_csv(path, index=False)
    again = Candidate("replay", "own", path=str(path))
    samples, seen = run(questions(5), OK, tmp_path / "again.sqlite", [again], budget_usd=0)
    assert seen == []
    assert list(samples["status"]) == [*kinds.values(), "not_recorded"]
    assert list(samples["source"].dropna().unique()) == ["recorded"]
    for column in (
        "answer",
        "ttft_s",
        "end_to_end_s",
        "output_tokens",
        "cost_usd",
        "score",
        "stop_reason",
    ):
        pd.testing.assert_series_equal(
            samples[column][[0, 1, 3]], recorded[column][[0, 1, 3]], check_dtype=False
        )
    assert samples.attrs["account"]["spent_usd"] == 0


def test_names_of_digits_stay_text_and_a_recording_may_lack_reasoning_tokens(
    store, tmp_path, hurried
):
    named = [replace(one, example_id=f"0{n}", group="007") for n, one in enumerate(questions(2))]
    recorded, _ = run(named, OK, store)
    path = tmp_path / "samples.csv"
    recorded.assign(reasoning_tokens=float("nan")).to_csv(path, index=False)
    loaded = tl.load_samples(path)
    assert (list(loaded["prompt_id"]), list(loaded["group"])) == (["00", "01"], ["007", "007"])
    samples, _ = run(
        named,
        OK,
        tmp_path / "again.sqlite",
        [Candidate("replay", "own", path=str(path))],
        budget_usd=0,
    )
    assert list(samples["status"]) == ["ok", "ok"]
    recorded.assign(answer="Rome.").to_csv(other := tmp_path / "other.csv", index=False)
    replayed, _ = run(
        named,
        OK,
        tmp_path / "again.sqlite",
        [Candidate("replay", "own", path=str(other))],
        budget_usd=0,
    )  # one store
    assert list(replayed["answer"]) == ["Rome.", "Rome."]
    assert samples["reasoning_tokens"].isna().all() and list(samples["output_tokens"]) == list(
        recorded["output_tokens"]
    )


def test_an_estimate_bounds_the_run(store):
    table = estimate(questions(10), [OWN], repeats=2)
    assert table.loc["own", "calls"] == 20
    assert table.loc["own", "most_usd"] == pytest.approx(20 * 4 * (11 + 64 + 512 * 2) / 1e6)
    samples, _ = run(questions(10), OK, store, repeats=2)
    assert samples["cost_usd"].sum() < table.loc["own", "likely_usd"] < table.loc["own", "most_usd"]
    hourly = Candidate(**vars(OWN) | {"usd_per_hour": 36.0})
    more = estimate(questions(10), [hourly], repeats=2)
    assert np.isnan(more.loc["own", "likely_usd"])  # nobody knows how long its answers take
    assert more.loc["own", "most_usd"] - table.loc["own", "most_usd"] == pytest.approx(
        20 * 4 * 120 * 0.01
    )


# --- money ----------------------------------------------------------------------------------------------------

amounts = st.floats(0, 1e4, allow_nan=False)


@settings(max_examples=300, deadline=None)
@given(
    budget=amounts,
    before=st.tuples(amounts, amounts),
    calls=st.lists(
        st.tuples(amounts, st.floats(0, 1), st.floats(0, 1), st.integers(1, 4), st.integers(0, 3)),
        max_size=30,
    ),
)
def test_a_ledger_never_promises_more_than_there_is(budget, before, calls):
    ledger = Ledger(budget, *before)
    start = max(budget, sum(before))
    refused = []

    async def call(usd, spent, doubt, parts, pauses):
        if not await ledger.reserve(usd * parts):
            refused.append(usd * parts)
            return
        for part in range(parts):
            for _ in range(pauses):
                await asyncio.sleep(0)
            assert ledger.spent_usd + ledger.in_doubt_usd + ledger.reserved_usd <= start * (
                1 + 1e-12
            )
            last = part == parts - 1
            await ledger.settle(
                usd, spent_usd=usd * spent * last, in_doubt_usd=usd * doubt * (not last)
            )

    async def all_calls():
        async with asyncio.timeout(10):  # everybody gets an answer
            await asyncio.gather(*(call(*each) for each in calls))

    asyncio.run(all_calls())
    assert ledger.reserved_usd <= 1e-8
    assert ledger.spent_usd + ledger.in_doubt_usd <= start * (1 + 1e-12)
    assert all(
        usd > ledger.left_usd - 1e-8 for usd in refused
    )  # nobody was sent away who could have been paid for


class Memory:
    """In place of the store: rows in memory."""

    def __init__(self):
        self.rows, self.results = {}, {}

    async def awrite(self, *statements):
        await asyncio.sleep(0)
        for sql, values in statements:
            if sql == runner.START:
                self.rows[len(self.rows)] = SimpleNamespace(most=values[2], known=0.0, doubt=None)
            elif sql == runner.END:
                known, _, _, doubt, row = values
                self.rows[row].known, self.rows[row].doubt = known, doubt
            else:
                self.results[values[0]] = values[1]
        return len(self.rows) - 1

    def spend(self):
        """As the store counts it: an attempt without an end is in doubt."""
        doubt = [row.most for row in self.rows.values() if row.doubt or row.doubt is None]
        return sum(row.known for row in self.rows.values() if not row.doubt), sum(doubt)


def test_a_thousand_runs_never_pass_their_cap(monkeypatch):
    """Random prices, lengths, budgets and faults; a provider that bills whatever it may; runs that are cut off and go on."""
    monkeypatch.setattr(runner, "FIRST_WAIT_S", 0.0)
    chance, reasons = (
        random.Random(7),
        [reason for reason in FAILURES if reason not in ("not_recorded", "over_budget")],
    )
    refused = cut_off = 0
    for n in range(1000):
        rates = np.array(
            [[chance.expovariate(1) for _ in BUCKETS] for _ in range(2)]
        ) * 10.0 ** -chance.randint(3, 7)
        prices = {
            "own": Tariff(np.array([-1.0, 500.0]), rates, usd_per_hour=chance.choice([0.0, 3.0]))
        }
        billed = 0.0

        class Provider:
            async def answer(self, prompt, chosen, stream, prices=prices):
                nonlocal billed
                for _ in range(chance.randint(0, 3)):
                    await asyncio.sleep(0)
                split = [chance.randint(0, prompt.most_input_tokens // 4) for _ in BUCKETS[:4]]
                counts = dict(
                    zip(
                        (f"{b}_tokens" for b in BUCKETS),
                        (*split, chance.randint(0, prompt.max_output_tokens)),
                        strict=True,
                    )
                )
                seconds = chance.uniform(0, 2)
                cost = prices["own"].cost(counts, seconds)
                if chance.random() < 0.4:
                    reason = chance.choice(reasons)
                    billed += cost * (reason in BEGUN and chance.random() < 0.8)
                    raise ProviderError(reason)
                billed += cost
                return Answer(
                    "text",
                    (),
                    "stop",
                    "stop",
                    None if chance.random() < 0.1 else counts,
                    "own",
                    0.1,
                    seconds,
                )

            async def close(self):
                pass

        monkeypatch.setattr(runner, "connect", lambda *given, **more: Provider())
        calls = [
            Call(
                str(i),
                Prompt(
                    ({"role": "user", "content": "x" * chance.randint(1, 900)},),
                    max_output_tokens=chance.randint(1, 900),
                ),
                OWN,
            )
            for i in range(chance.randint(1, 25))
        ]
        memory, attempts = Memory(), chance.randint(1, 4)
        first = Runner(memory, prices, tl.Limits(0, chance.randint(1, 8), attempts, 2.0))
        budget = sum(first.most_usd(call) for call in calls) * chance.uniform(0, 1.5)

        async def work(
            stop, memory=memory, calls=calls, prices=prices, budget=budget, attempts=attempts
        ):
            maker = Runner(memory, prices, tl.Limits(budget, 3, attempts, 2.0))
            ledger = maker.ledger
            tasks = [
                asyncio.create_task(maker.call(call))
                for call in calls
                if call.key not in memory.results
            ]
            if stop:
                for _ in range(chance.randint(0, 60)):
                    await asyncio.sleep(0)
                    assert (
                        ledger.spent_usd + ledger.in_doubt_usd + ledger.reserved_usd
                        <= budget * (1 + 1e-12)
                    )
                for task in tasks:
                    task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=stop)
            assert ledger.reserved_usd <= 1e-9
            assert ledger.spent_usd + ledger.in_doubt_usd <= budget * (1 + 1e-12)
            assert (ledger.spent_usd, ledger.in_doubt_usd) == pytest.approx(
                memory.spend(), rel=1e-9, abs=1e-12
            )
            return results

        if cut := chance.random() < 0.3:
            asyncio.run(work(stop=True))
        results = asyncio.run(work(stop=False))
        cut_off += cut
        refused += sum(result.status == "over_budget" for result in results)
        assert billed <= budget * (1 + 1e-12), n
        assert sum(memory.spend()) <= budget * (1 + 1e-12)
    assert refused > 500  # the cap was met
    assert cut_off > 200


def _requests(prices, chance, n=400):
    """Random requests to all models of a lineup, some at a context step exactly, some just above."""
    frame = prices.in_force()
    names = [*prices.models()]
    rows = []
    for _ in range(n):
        model = names[chance.integers(len(names))]
        held = frame[frame["model_id"] == model]
        counts = chance.integers(0, 5000, 5) * chance.integers(0, 2, 5)
        steps = held["context_above"].to_numpy(float)
        if steps.max() > 0 and chance.random() < 0.5:
            counts[0] = max(0, int(steps.max()) - counts[1:4].sum() + chance.integers(-1, 2))
        rows.append([model, *counts])
    table = pd.DataFrame(rows, columns=["model_id", *(f"{b}_tokens" for b in BUCKETS)])
    return table


@pytest.mark.parametrize("source", ["article", "maintained"])
@pytest.mark.parametrize("batch", [False, True])
def test_a_tariff_is_the_price_of_one_request(source, batch, request):
    prices = request.getfixturevalue(source)
    table, columns = _requests(prices, np.random.default_rng(5)), BATCH_RATES if batch else BUCKETS
    rates = prices.in_force().set_index("model_id")
    compared = steps = 0
    for model, rows in table.groupby("model_id"):
        held = rates.loc[[model]]
        if held[[columns[0], columns[4]]].isna().to_numpy().any():
            with pytest.raises(ValueError, match=r"has no (batch )?rate on"):
                tariff(prices, model, batch=batch)
            continue
        one = tariff(prices, model, batch=batch)
        for bucket, column in zip(BUCKETS, columns, strict=True):
            if held[column].isna().any():
                rows = rows.assign(**{f"{bucket}_tokens": 0})
        costs = tl.price(rows.assign(batch=batch), prices)["cost_usd"]
        for (_, row), cost in zip(rows.iterrows(), costs, strict=True):
            counts = {f"{bucket}_tokens": int(row[f"{bucket}_tokens"]) for bucket in BUCKETS}
            whole = sum(list(counts.values())[:4])
            assert one.cost(counts) == pytest.approx(cost, rel=1e-12, abs=1e-18)
            assert one.most(whole, counts["output_tokens"]) >= cost * (1 - 1e-12)
            compared += 1
            steps += whole >= held["context_above"].max() > 0
    assert compared > 100 or (batch and source == "article")  # the article has no batch rates
    assert steps > 10 or source == "article"  # and no context steps


# --- kill -9 --------------------------------------------------------------------------------------------------

# Imports once and forks for each run: the run itself starts as fast as it can be killed.
RUNS = """
import os, sys
from tierlab.sampling.examples import Example
from tierlab.sampling.providers import Candidate, connect
from tierlab.prices.catalog import load_prices
from tierlab.sampling.run import sample
from tierlab.sampling.runner import Limits, Setup
import httpx2, jsonschema, openai
from openai.types.chat import ChatCompletionChunk
url, store, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
examples = [Example(f"q{i}", "own", f"question {i}?", "exact", "Paris.") for i in range(n)]
own, prices = Candidate("compatible", "own", base_url=url, usd_per_mtok=(1, 2)), load_prices("maintained")
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        sample(examples, [own], limits=Limits(50, 2), store=store, prices=prices, yes=True,
               setup=Setup(warm_up=False, progress=False, stream=False))
        os._exit(0)
    print(pid, flush=True)
    print(os.waitpid(pid, 0)[1], flush=True)
"""
KILLS = 50


def stored(store):
    """Questions with an answer on disk."""
    with sqlite3.connect(store, timeout=30) as file:
        if not file.execute("SELECT 1 FROM sqlite_master WHERE name = 'results'").fetchone():
            return set()
        rows = file.execute(
            "SELECT json_extract(c.request, '$.prompt') FROM calls c JOIN results USING (key)"
        ).fetchall()
    file.close()
    return {prompt for (prompt,) in rows}


def test_fifty_kills_lose_no_answer_and_pay_for_none_twice(tmp_path):
    n, chance, store = 400, random.Random(3), tmp_path / "run.sqlite"
    received, finished = Counter(), set()
    server = RawServer()
    body = frames("compatible", usage=COUNTS, stream=False)[0]

    def answer(request):
        question = request.body["messages"][-1]["content"]
        received[question] += 1
        again.update({question} & finished)
        return Reply((0.03, body), 200, {"content-type": "application/json"})

    again, kills = set(), 0
    server.answer = answer
    command = [sys.executable, "-c", RUNS, server.base_url("openai"), str(store), str(n)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as runs:
        status = None
        while status != 0:
            print("run", file=runs.stdin, flush=True)
            pid = int(runs.stdout.readline())
            if kills < KILLS:
                before, patience = (
                    received.total(),
                    chance.choice([0.05, 5, 5, 5]),
                )  # now and then before the first request
                while received.total() == before and (patience := patience - 0.002) > 0:
                    time.sleep(0.002)
                time.sleep(chance.uniform(0, 0.12))
                os.kill(pid, signal.SIGKILL)
                kills += 1
            status = int(runs.stdout.readline())
            if store.exists():
                finished |= stored(store)
        runs.stdin.close()
    server.close()
    assert kills == KILLS
    samples, found = tl.load_samples(store), account(store)
    assert not again  # nothing that had been stored was asked again
    assert (found["calls"], found["by_status"]) == (n, {"ok": n})
    assert set(received) == set(samples["prompt"])
    cut = Counter(
        dict(
            tl.sampling.store.read(
                store,
                "SELECT json_extract(c.request, '$.prompt'), COUNT(*) FROM attempts a JOIN calls c USING (key) "
                "WHERE reason = 'interrupted' GROUP BY 1",
            )
        )
    )
    # What the server was asked: once for the answer that is kept, and at most once for each attempt that was cut off.
    for question, times in received.items():
        assert 1 <= times <= 1 + cut[question], question
    assert received.total() <= n + found["interrupted"]
    assert received.total() - n > 0  # some were under way
    assert found["interrupted"] <= KILLS * 3  # two places, and one that waits for a place
    assert found["attempts"] == n + found["interrupted"]
    assert found["spent_usd"] == pytest.approx(n * COST)


# --- servers that others wrote, and a real model --------------------------------------------------------------

FRANCE = [
    Example("f", "own", "What is the capital of France?", "contains", ["Paris"]),
    Example("c", "own", "Please count to a thousand", "contains", ["1"]),
]


@pytest.mark.parametrize("stream", [True, False])
def test_all_providers_in_one_run_on_aimock(aimock, store, monkeypatch, stream):
    for name, value in aimock.env().items():
        monkeypatch.setenv(name, value)
    chosen = [
        *list(CANDIDATES.values())[:2],
        Candidate("openai-chat", "gpt-6-luna"),
        CANDIDATES["google"],
        Candidate("compatible", "own", base_url=aimock.base_url("openai"), usd_per_mtok=(0, 0)),
    ]
    samples = tl.sample(
        FRANCE,
        chosen,
        **together(budget_usd=20, store=store, stream=stream, progress=False, yes=True),
    )
    assert list(samples["status"]) == ["ok"] * 5 + ["truncated"] * 5
    assert list(samples["score"])[:5] == [1.0] * 5
    assert (samples["uncached_input_tokens"][:5] == 14).all()
    assert (samples["output_tokens"][:5] == 7).all()
    assert samples.attrs["account"]["spent_usd"] == pytest.approx(
        samples["cost_usd"].sum() + warm_ups(store)
    )


def warm_ups(store):
    return tl.sampling.store.read(
        store, "SELECT COALESCE(SUM(cost_usd), 0) FROM attempts WHERE key LIKE 'warm-up:%'"
    )[0][0]


def test_llmock_under_random_faults(store):
    from tests.servers import NotInstalled, serving_llmock

    try:
        with serving_llmock("--error-rate", "429=0.2", "--error-rate", "500=0.1") as server:
            own = Candidate(
                "compatible", "own", base_url=server.base_url("openai"), usd_per_mtok=(1, 2)
            )
            samples = tl.sample(
                questions(60),
                [own],
                **together(budget_usd=1, store=store, progress=False, warm_up=False),
            )
            served = server.control("GET", "/_llmock/requests")["requests"]
    except NotInstalled as reason:
        pytest.skip(str(reason))
    assert set(samples["status"]) <= {"ok", "rate_limited", "unavailable"}
    assert (
        samples["status"] == "ok"
    ).sum() > 45  # 0.3 to the power of four fail on each: about one in 123
    assert samples["attempts"].sum() == samples.attrs["account"]["attempts"] == len(served)
    assert samples["attempts"].max() > 1


def test_a_real_local_model(local_model, store, monkeypatch):
    own = Candidate(
        "compatible",
        "smollm2-135m-instruct",
        base_url=local_model,
        usd_per_mtok=(0, 0),
        temperature=0.0,
    )
    claude = Candidate(
        "anthropic",
        "smollm2",
        base_url=local_model.removesuffix("/v1"),
        usd_per_mtok=(0, 0),
        temperature=0.0,
    )
    examples = [
        Example("a", "own", "What is 2+3?", "contains", ["5"], max_output_tokens=40),
        Example("b", "own", "word " * 5000, "contains", ["5"]),
        Example("c", "own", "Count from 1 to 100.", "contains", ["5"], max_output_tokens=4),
    ]
    samples = tl.sample(
        examples,
        [own, claude],
        **together(budget_usd=0, store=store, concurrency=1, progress=False),
    )
    assert list(samples["status"]) == [
        "ok",
        "ok",
        "context_overflow",
        "context_overflow",
        "truncated",
        "truncated",
    ]
    assert list(samples["score"])[:2] == [1.0, 1.0]
    assert (samples["cost_usd"] == 0).all()
    assert (samples["output_tokens"][4:] == 4).all()
    answered = samples[samples["status"] == "ok"]
    assert (answered["ttft_s"] < answered["end_to_end_s"]).all()
