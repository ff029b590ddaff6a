"""Batches: what is asked and paid for, how each request ends, and a run that is cut off between any two steps."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import httpx2
import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tests.batch_services import (
    INPUT,
    OUTPUT,
    Anthropic,
    Google,
    Killed,
    OpenAI,
    OpenAIChat,
    answer,
)
from tests.servers import ROOT, Reply
from tierlab.cli import main
from tierlab.sampling.apis import batches
from tierlab.sampling.examples import Example
from tierlab.sampling.providers import Candidate, Prompt, ProviderError, connect
from tierlab.sampling.store import Store, read

SERVICES = {"anthropic": Anthropic, "openai": OpenAI, "openai-chat": OpenAIChat, "google": Google}
CITIES = ("Paris", "Rome", "Oslo", "Bern")
EXAMPLES = tuple(
    Example(
        example_id=city,
        task="classification",
        prompt=f"Is it {city}?",
        scorer="exact",
        reference="Paris",
    )
    for city in CITIES
)
TOOL = {
    "name": "get_weather",
    "description": "Weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    for name in (
        "ANTHROPIC_BASE_URL",
        "OPENAI_BASE_URL",
        "GOOGLE_GEMINI_BASE_URL",
        "GOOGLE_API_KEY",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, "not-a-secret")


@pytest.fixture
def store(tmp_path):
    return tmp_path / "samples.sqlite"


@pytest.fixture(params=SERVICES)
def provider(request):
    return request.param


def run(service, provider, store, *, examples=EXAMPLES, budget_usd=1.0, **more):
    return tl.sampling.batches.sample_batch(
        examples, [f"{provider}:{service.model}"], budget_usd=budget_usd, store=store, poll_s=0.001, deadline_s=60.0,
        progress=False, transport=service.transport, **more,
    )  # fmt: skip


def half_price(service, prices):
    """An answer at half the live rates, from the prices table."""
    row = (
        prices.in_force()[lambda rows: rows["model_id"] == service.model]
        .sort_values("context_above")
        .iloc[0]
    )
    return (INPUT * row["uncached_input"] + OUTPUT * row["output"]) / 1e6 / 2


class TestAnswers:
    def test_come_back_scored_at_half_the_live_price_and_without_a_latency(
        self, provider, store, maintained
    ):
        service = SERVICES[provider]()
        table = run(service, provider, store, prices=maintained)
        cost = half_price(service, maintained)
        assert table["status"].tolist() == ["ok"] * 4 and table["answer"].tolist() == ["Paris"] * 4
        assert table["score"].tolist() == [1.0] * 4
        assert table["cost_usd"].tolist() == pytest.approx([cost] * 4, rel=1e-12)
        assert table[["ttft_s", "end_to_end_s", "tokens_per_s"]].isna().all(axis=None)
        assert all("batch" in flags.split(";") for flags in table["flags"])
        assert (
            table["output_tokens"].tolist() == [OUTPUT] * 4
            and (table["source"] == "measured").all()
        )
        assert list(table.columns) == list(tl.sampling.samples.SAMPLE_COLUMNS)
        account = table.attrs["account"]
        assert account["spent_usd"] == pytest.approx(4 * cost, rel=1e-12)
        assert (account["in_doubt"], account["batches"], account["strangers"]) == (
            0,
            {"collected": 1},
            0,
        )
        assert sorted(service.asked.values()) == [1, 1, 1, 1]

    def test_a_batch_asks_what_a_live_call_asks(self, provider):
        service = SERVICES[provider]()
        effort = {"anthropic": "low", "google": "low"}.get(provider, "high")
        chosen = Candidate(
            provider,
            service.model,
            effort=effort,
            temperature=0.5,
            extra_body={"seed": 7},
            extra_output_tokens=50,
        )
        prompt = Prompt(
            ({"role": "user", "content": "Zürich 北京?"},), "Be brief.", (TOOL,), SCHEMA, 64
        )
        sent = []
        network = httpx2.MockTransport(
            lambda request: sent.append(json.loads(request.content)) or answer({}, 400)
        )

        async def both():
            adapter, wire = connect(chosen, transport=network), batches.LiveWire(chosen)
            for stream in (False, True):
                with pytest.raises(ProviderError):
                    await adapter.answer(prompt, chosen, stream)
            body = await wire.body(prompt)
            await adapter.close()
            await wire.close()
            return body

        body = asyncio.run(both())
        whole, streamed = sent
        assert body == whole
        assert body == {
            name: value
            for name, value in streamed.items()
            if name not in ("stream", "stream_options")
        }
        text = json.dumps(body, ensure_ascii=False).lower()
        assert all(
            part in text
            for part in ("zürich 北京?", "be brief.", "get_weather", '"seed": 7', "0.5", effort)
        )

    def test_the_bodies_are_what_was_submitted(self, provider, store):
        service = SERVICES[provider]()
        run(service, provider, store)
        chosen = Candidate(provider, service.model)

        async def bodies():
            wire = batches.LiveWire(chosen)
            found = [
                await wire.body(Prompt(({"role": "user", "content": one.prompt},)))
                for one in EXAMPLES
            ]
            await wire.close()
            return found

        assert [line[service.asked_in] for line in service.made[0]["lines"]] == asyncio.run(
            bodies()
        )

    def test_tool_calls_are_read(self, store):
        service = Anthropic()
        tool_use = [
            {"type": "tool_use", "id": "t", "name": "get_weather", "input": {"city": "Paris"}}
        ]
        plain = service.result
        service.result = lambda line: (
            ((found := plain(line)) and found["result"]["message"].update(content=tool_use))
            or found
        )
        example = Example(example_id="w", task="agents", prompt="Weather in Paris?", scorer="tool_call", tools=(TOOL,),
                          reference={"name": "get_weather", "arguments": {"city": "Paris"}})  # fmt: skip
        table = run(service, "anthropic", store, examples=(example,))
        assert table["score"].tolist() == [1.0], table["score_reason"].tolist()


class TestHowARequestEnds:
    @pytest.mark.parametrize(
        ("fate", "status", "paid"),
        [
            ("truncated", "truncated", "known"), ("refused", ("refused", "content_filter"), "known"),
            ("bad", "bad_request", "nothing"), ("overflow", "context_overflow", "nothing"), ("busy", "overloaded", "nothing"), ("slow", "timeout", "nothing"),
            ("no_end", "early_end", "in doubt"), ("missing", "unavailable", "in doubt"), ("stranger", "unavailable", "in doubt"),
            ("expired", "timeout", "nothing"), ("canceled", "unavailable", "nothing"),
        ],
    )  # fmt: skip
    def test_is_a_row_with_its_reason(self, provider, store, maintained, fate, status, paid):
        if provider == "google" and fate in ("expired", "canceled"):
            pytest.skip("Google ends whole batches, not single requests, in this way")
        service = SERVICES[provider]({"Rome": fate})
        table = run(service, provider, store, prices=maintained).set_index("prompt_id")
        rome, account, cost = (
            table.loc["Rome"],
            table.attrs["account"],
            half_price(service, maintained),
        )
        assert rome["status"] in ((status,) if isinstance(status, str) else status)
        assert (table.drop("Rome")["status"] == "ok").all()
        if fate == "truncated":
            assert np.isnan(rome["score"])
        if paid == "known":
            assert rome["cost_usd"] == pytest.approx(cost, rel=1e-12)
        elif paid == "nothing":
            assert rome["cost_usd"] == 0 and rome["error"] and np.isnan(rome["score"])
        else:
            assert np.isnan(rome["cost_usd"]) and "in_doubt" in rome["flags"] and rome["error"]
        assert account["in_doubt"] == (paid == "in doubt")
        assert account["spent_usd"] == pytest.approx(
            cost * (4 if paid == "known" else 3), rel=1e-12
        )
        assert account["strangers"] == (fate == "stranger")

    @pytest.mark.parametrize(
        ("ends_as", "status", "in_doubt"),
        [("failed", "bad_request", 0), ("expired", "timeout", 0), ("cancelled", "unavailable", 0)],
    )
    def test_a_batch_that_ends_early_says_so_of_what_has_no_result(
        self, store, ends_as, status, in_doubt
    ):
        service = OpenAI({"Rome": "missing"})
        service.ends_as = ends_as
        table = run(service, "openai", store).set_index("prompt_id")
        assert table.loc["Rome", "status"] == status and table.loc["Rome", "cost_usd"] == 0
        assert (
            table.drop("Rome")["status"] == ("bad_request" if ends_as == "failed" else "ok")
        ).all()
        assert table.attrs["account"]["in_doubt"] == in_doubt

    @pytest.mark.parametrize(
        ("state", "status", "in_doubt"),
        [("FAILED", "unavailable", 4), ("EXPIRED", "timeout", 0), ("CANCELLED", "unavailable", 0)],
    )
    def test_a_google_batch_that_ends_without_results_says_so(self, store, state, status, in_doubt):
        service = Google()
        service.shown = lambda batch: {
            "name": f"batches/{batch['id']}", "metadata": {"displayName": batch["name"], "state": f"BATCH_STATE_{state}"},
        }  # fmt: skip
        table = run(service, "google", store)
        assert set(table["status"]) == {status} and table.attrs["account"]["in_doubt"] == in_doubt
        assert table["cost_usd"].isna().all() if in_doubt else table["cost_usd"].sum() == 0

    def test_failed_requests_are_asked_again_alone(self, provider, store):
        service = SERVICES[provider]({"Rome": "busy"})
        first = run(service, provider, store)
        service.fates.clear()
        assert (
            run(service, provider, store)["status"].tolist() == first["status"].tolist()
        )  # not by itself
        table = run(service, provider, store, retry=["overloaded"])
        assert table["status"].tolist() == ["ok"] * 4
        assert sorted(service.asked.values()) == [1, 1, 1, 2]

    def test_an_effort_that_the_adapter_does_not_know_is_not_sent(self, store):
        service = Google()
        chosen = Candidate("google", service.model, effort="utmost")
        table = tl.sampling.batches.sample_batch(
            EXAMPLES,
            [chosen],
            budget_usd=1,
            store=store,
            poll_s=0.001,
            progress=False,
            transport=service.transport,
        )
        assert (
            set(table["status"]) == {"bad_request"}
            and not service.seen
            and table["cost_usd"].sum() == 0
        )


class TestSubmitting:
    def test_a_refused_batch_is_no_doubt_and_can_be_asked_again(self, provider, store):
        service = SERVICES[provider]()
        service.refuse = [
            answer({"error": {"type": "authentication_error", "message": "no", "code": 401}}, 401)
        ]
        table = run(service, provider, store)
        assert set(table["status"]) == {"auth"} and table["cost_usd"].sum() == 0
        assert table.attrs["account"]["in_doubt_usd"] == 0 and table.attrs["account"][
            "batches"
        ] == {"refused": 1}
        assert set(run(service, provider, store, retry=True)["status"]) == {"ok"}

    def test_a_busy_service_is_asked_again(self, provider, store):
        service = SERVICES[provider]()
        service.refuse = [
            answer(
                {"error": {"type": "rate_limit_error", "message": "slow down", "code": 429}}, 429
            )
        ] * 2
        assert set(run(service, provider, store)["status"]) == {"ok"}
        assert len(service.made) == 1

    @pytest.mark.parametrize("arrived", [True, False])
    def test_a_broken_connection_is_looked_up_and_never_sent_twice(self, provider, store, arrived):
        service = SERVICES[provider]()
        make = service.make

        def broken(*lines, **more):
            service.make = make
            if arrived:
                make(*lines, **more)
            raise httpx2.ReadTimeout("no answer")

        service.make = broken
        table = run(service, provider, store)
        account = table.attrs["account"]
        if arrived:
            assert set(table["status"]) == {"ok"} and account["batches"] == {"collected": 1}
        else:
            assert set(table["status"]) == {"unavailable"} and account["batches"] == {"lost": 1}
            assert account["in_doubt"] == 4 and table["cost_usd"].isna().all()
        assert len(service.made) == arrived

    def test_a_service_that_is_down_costs_nothing(self, store):
        def down(request):
            raise httpx2.ConnectError("refused")

        table = tl.sampling.batches.sample_batch(
            EXAMPLES, ["anthropic:claude-haiku-5-5"], budget_usd=1, store=store, poll_s=0.001, progress=False,
            transport=httpx2.MockTransport(down),
        )  # fmt: skip
        assert set(table["status"]) == {"unavailable"} and table["cost_usd"].sum() == 0
        assert table.attrs["account"]["in_doubt_usd"] == 0

    def test_many_requests_are_split_at_the_limits(self, provider, store, monkeypatch):
        service = SERVICES[provider]()
        monkeypatch.setattr(batches.APIS[provider], "most_requests", 3)
        table = run(service, provider, store, repeats=2)
        assert [len(batch["lines"]) for batch in service.made] == [3, 3, 2]
        assert set(table["status"]) == {"ok"} and table.attrs["account"]["batches"] == {
            "collected": 3
        }

    def test_groups_keep_within_the_bytes_that_are_sent(self):
        lines = [{"custom_id": str(n), "body": "ü" * (n % 50)} for n in range(500)]
        groups = batches.split(lines, 10_000, 5000)
        assert [line for group in groups for line in group] == lines and len(groups) > 5
        assert max(len(json.dumps({"requests": group})) for group in groups) <= 5000

    def test_ids_fit_the_narrowest_rule(self, store):
        service = Anthropic()
        run(service, "anthropic", store)
        ids = pd.Series([line["custom_id"] for line in service.made[0]["lines"]])
        assert ids.str.fullmatch("[a-zA-Z0-9_-]{1,64}").all() and ids.is_unique

    def test_a_retry_leaves_the_failures_of_other_runs_as_they_are(self, store, maintained):
        broken = httpx2.MockTransport(lambda request: answer({"error": {"message": "no"}}, 401))
        options = {"budget_usd": 1.0, "store": store, "prices": maintained, "progress": False}
        tl.sample(EXAMPLES, ["openai:gpt-5.4-nano"], warm_up=False, transport=broken, **options)
        run(SERVICES["anthropic"](), "anthropic", store, prices=maintained, retry=True)
        kept = tl.load_samples(store).groupby("model_id")["status"].agg(list)
        assert kept["gpt-5.4-nano"] == ["auth"] * 4


class TestMoney:
    @pytest.mark.parametrize("affordable", [0, 1, 3, 4])
    def test_what_does_not_fit_into_the_budget_is_not_sent(
        self, provider, store, maintained, affordable
    ):
        service = SERVICES[provider]()
        row = maintained.in_force()[lambda rows: rows["model_id"] == service.model].iloc[
            -1
        ]  # its dearest rates
        dearest = max(
            row["batch_uncached_input"],
            row["batch_cache_write_5m"],
            np.nan_to_num(row["batch_cache_write_1h"]),
        )
        prompt = len("Is it Rome?") + 32 * 2  # a byte per token, and the mark-up
        most = (prompt * dearest + 512 * row["batch_output"]) / 1e6
        table = run(
            service, provider, store, budget_usd=most * (affordable + 0.9), prices=maintained
        )
        assert (table["status"] == "over_budget").sum() == 4 - affordable
        assert sum(service.asked.values()) == affordable

    def test_what_is_under_way_and_in_doubt_is_held_against_the_budget(self, store):
        service = Anthropic(stays=True)
        options = {
            "budget_usd": 1,
            "store": store,
            "poll_s": 0.001,
            "progress": False,
            "transport": service.transport,
        }
        first = tl.sampling.batches.sample_batch(
            EXAMPLES, ["anthropic:claude-haiku-5-5"], **options, deadline_s=0
        )
        held = first.attrs["account"]["in_doubt_usd"]
        assert held > 0
        more = tl.sampling.batches.sample_batch(
            EXAMPLES,
            ["anthropic:claude-haiku-5-5"],
            **options | {"budget_usd": held},
            repeats=2,
            deadline_s=0,
        )
        assert more["status"].value_counts().to_dict() == {"in_batch": 4, "over_budget": 4}

    def test_random_budgets_are_never_passed(self, store, tmp_path):
        rng = np.random.default_rng(5)
        for number in range(8):
            service, budget = Anthropic({"Rome": "no_end", "Oslo": "busy"}), rng.uniform(0, 2e-3)
            path = tmp_path / f"{number}.sqlite"
            for _ in range(3):
                table = run(service, "anthropic", path, budget_usd=budget, repeats=3, retry=True)
                account = table.attrs["account"]
                assert account["spent_usd"] + account["in_doubt_usd"] <= budget + 1e-12

    def test_a_run_above_a_dollar_wants_a_yes(self, store):
        service = Anthropic()
        big = tuple(replace(one, max_output_tokens=10_000_000) for one in EXAMPLES)
        with pytest.raises(ValueError, match="give yes=True"):
            run(service, "anthropic", store, examples=big, budget_usd=50)
        assert not service.seen

    @pytest.mark.parametrize(
        ("chosen", "said"),
        [
            (
                Candidate("compatible", "m", base_url="http://127.0.0.1:1/v1", usd_per_mtok=(0, 0)),
                "compatible has no batches",
            ),
            (Candidate("replay", "m", path="x.csv"), "replay has no batches"),
            (Candidate("openai", "own", usd_per_mtok=(1, 2)), "a batch needs a batch rate"),
            (Candidate("openai", "no-such-model"), "unknown model"),
        ],
    )
    def test_without_a_batch_rate_nothing_is_sent(self, store, chosen, said):
        service = Anthropic()
        with pytest.raises(ValueError, match=said):
            tl.sampling.batches.sample_batch(
                EXAMPLES, [chosen], budget_usd=1, store=store, transport=service.transport
            )
        assert not service.seen and not store.exists()

    def test_a_model_without_a_batch_rate_is_refused(self, store, maintained):
        rates = maintained.in_force()
        name = rates.loc[rates["batch_output"].isna() & rates["output"].notna(), "model_id"].iloc[0]
        with pytest.raises(ValueError, match="has no batch rate"):
            tl.sampling.batches.sample_batch(
                EXAMPLES, [Candidate("openai", name)], budget_usd=1, store=store, prices=maintained
            )

    def test_an_answer_is_paid_once_whichever_way_it_came(self, store, maintained):
        live = Anthropic()
        message = live.result({"custom_id": "x"})["result"]["message"]
        candidates = [f"anthropic:{live.model}"]
        options = {"budget_usd": 1, "store": store, "prices": maintained, "progress": False}
        tl.sample(EXAMPLES[:2], candidates, **options, warm_up=False, stream=False,
                  transport=httpx2.MockTransport(lambda request: answer(message)))  # fmt: skip
        table = run(live, "anthropic", store, prices=maintained).set_index("prompt_id")
        cost = half_price(live, maintained)
        assert sum(live.asked.values()) == 2
        assert table["cost_usd"].tolist() == pytest.approx(
            [2 * cost, 2 * cost, cost, cost], rel=1e-12
        )
        assert table["flags"].tolist() == ["", "", "batch", "batch"]

        def unexpected(request):
            raise AssertionError("an answer was asked for again")

        again = tl.sample(
            EXAMPLES,
            candidates,
            **options,
            warm_up=False,
            transport=httpx2.MockTransport(unexpected),
        )
        assert again["flags"].tolist() == ["", "", "batch", "batch"]
        assert again["cost_usd"].tolist() == table["cost_usd"].tolist()

    def test_a_live_run_does_not_ask_what_is_in_a_batch(self, store):
        service = Anthropic(stays=True)
        options = {"budget_usd": 1, "store": store, "progress": False}
        tl.sampling.batches.sample_batch(
            EXAMPLES,
            ["anthropic:claude-haiku-5-5"],
            **options,
            deadline_s=0,
            transport=service.transport,
        )
        number = len(service.seen)
        table = tl.sample(
            EXAMPLES,
            ["anthropic:claude-haiku-5-5"],
            **options,
            warm_up=False,
            retry=True,
            transport=service.transport,
        )
        assert len(service.seen) == number and set(table["status"]) == {"in_batch"}
        with pytest.raises(ValueError, match="in_batch"):
            tl.sample(
                EXAMPLES,
                ["anthropic:claude-haiku-5-5"],
                **options,
                retry=["in_batch"],
                transport=service.transport,
            )


class TestResume:
    def steps(self, provider, tmp_path):
        service = SERVICES[provider]()
        run(service, provider, tmp_path / "whole.sqlite")
        return service.seen

    def settled(self, service, provider, store):
        """The same command until nothing changes; then what is lost is asked again."""
        table = run(service, provider, store)
        assert not set(table["status"]) & {"in_batch", "not_sent"}
        lost = table["status"] == "unavailable"
        account = table.attrs["account"]
        assert account["in_doubt"] == lost.sum() and table.loc[lost, "cost_usd"].isna().all()
        table = run(service, provider, store, retry=True)
        assert table["status"].tolist() == ["ok"] * 4
        return lost.any()

    def test_after_a_kill_at_any_request_each_answer_is_paid_once(self, provider, tmp_path):
        steps = self.steps(provider, tmp_path)
        creating = next(
            n for n, step in enumerate(steps) if step.startswith("POST") and ("batch" in step)
        )
        for number in range(len(steps)):
            for when in ("before", "after"):
                service, path = SERVICES[provider](), tmp_path / f"{number}{when}.sqlite"
                service.kill_at = number, when
                with pytest.raises(Killed):
                    run(service, provider, path)
                service.kill_at = None
                lost = self.settled(service, provider, path)
                assert lost == ((number, when) == (creating, "before"))
                assert sorted(service.asked.values()) == [1, 1, 1, 1], (number, when, steps[number])

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_after_a_kill_at_any_write_each_answer_is_paid_once(
        self, provider, tmp_path, monkeypatch, when
    ):
        write, turns = Store.write, iter(())

        async def cut(file, *statements):
            turn = next(turns, False)
            if turn and when == "before":
                raise Killed
            row = await write(file, *statements)
            if turn:
                raise Killed
            return row

        monkeypatch.setattr(Store, "write", cut)
        for number in range(20):
            service, path = SERVICES[provider](), tmp_path / f"{number}.sqlite"
            turns = iter([False] * number + [True])
            try:
                run(service, provider, path)
            except Killed:
                turns = iter(())
                self.settled(service, provider, path)
                assert sorted(service.asked.values()) == [1, 1, 1, 1], number
            else:
                assert number == 4  # planned, sending, submitted, collected
                return
        raise AssertionError("never ended")

    def test_after_kill_9_at_any_moment_each_answer_is_paid_once(
        self, raw_server, monkeypatch, store
    ):
        service = Anthropic()
        service.site = raw_server.url
        monkeypatch.setenv("ANTHROPIC_BASE_URL", raw_server.url)

        def slowly(request):
            content = b"" if request.body is None else json.dumps(request.body).encode()
            found = service(
                httpx2.Request(request.method, raw_server.url + request.path, content=content)
            )
            return Reply((0.5, found.text), headers={"content-type": "application/json"})

        raw_server.answer = slowly
        code = (
            "import sys, tierlab as tl; from tests.test_batches import EXAMPLES; "
            "tl.sampling.batches.sample_batch(EXAMPLES, ['anthropic:claude-haiku-5-5'], budget_usd=1, store=sys.argv[1], poll_s=0.1, progress=False)"
        )
        for number in (1, 2, 4):  # while the batch is made, and while it is looked at
            process = subprocess.Popen([sys.executable, "-c", code, str(store)], cwd=ROOT)
            while len(service.seen) < number:
                assert process.poll() is None
                time.sleep(0.01)
            process.kill()
            assert process.wait() == -signal.SIGKILL
        options = {"budget_usd": 1, "store": store, "poll_s": 0.01, "progress": False}
        table = tl.sampling.batches.sample_batch(
            EXAMPLES, ["anthropic:claude-haiku-5-5"], **options, deadline_s=20.0
        )
        assert not table.attrs["account"]["batch_errors"]
        assert table["status"].tolist() == ["ok"] * 4 and table.attrs["account"]["in_doubt"] == 0
        assert sorted(service.asked.values()) == [1, 1, 1, 1]

    def test_another_batch_of_the_same_size_is_not_taken_for_ours(self, provider, tmp_path, store):
        service = SERVICES[provider]()
        run(service, provider, tmp_path / "other.sqlite")  # somebody else's, in the same workspace
        making = next(
            n for n, step in enumerate(service.seen) if step.startswith("POST") and "batch" in step
        )
        ours = tuple(replace(one, prompt=one.prompt + "!") for one in EXAMPLES)
        service.kill_at = len(service.seen) + making, "before"
        with pytest.raises(Killed):
            run(service, provider, store, examples=ours)
        service.kill_at = None
        table = run(service, provider, store, examples=ours)
        assert set(table["status"]) == {"unavailable"} and table.attrs["account"]["batches"] == {
            "lost": 1
        }

    def test_what_is_not_ready_stays_in_the_batch_and_is_collected_later(self, provider, store):
        service = SERVICES[provider](stays=True)
        options = {
            "budget_usd": 1,
            "store": store,
            "poll_s": 0.001,
            "progress": False,
            "transport": service.transport,
        }
        table = tl.sampling.batches.sample_batch(
            EXAMPLES, [f"{provider}:{service.model}"], **options, deadline_s=0
        )
        account = table.attrs["account"]
        assert (
            set(table["status"]) == {"in_batch"}
            and table["cost_usd"].isna().all()
            and table["score"].isna().all()
        )
        assert (
            account["in_doubt"] == 4
            and account["in_doubt_usd"] > 0
            and account["batches"] == {"submitted": 1}
        )
        assert set(tl.load_samples(store)["status"]) == {"in_batch"}
        service.stays = False
        table = tl.sampling.batches.sample_batch(
            EXAMPLES, [f"{provider}:{service.model}"], **options
        )
        assert set(table["status"]) == {"ok"} and table.attrs["account"]["in_doubt"] == 0
        assert len(service.made) == 1

    def test_a_look_that_only_a_person_can_mend_ends_the_wait(self, provider, store):
        service = SERVICES[provider]()
        look = service.look
        for wrong in (
            answer({"error": {"message": "no", "code": 401}}, 401),
            httpx2.Response(200, text="<html>"),
        ):
            service.look = lambda batch_id, wrong=wrong: wrong
            table = run(service, provider, store)
            assert (
                set(table["status"]) == {"in_batch"}
                and len(table.attrs["account"]["batch_errors"]) == 1
            )
        service.look = look
        assert set(run(service, provider, store)["status"]) == {"ok"} and len(service.made) == 1

    def test_a_look_that_fails_is_not_the_end(self, provider, store):
        service = SERVICES[provider]()
        look, broken = (
            service.look,
            iter([answer({"error": {"message": "down", "code": 500}}, 500)] * 3),
        )
        service.look = lambda batch_id: next(broken, None) or look(batch_id)
        table = run(service, provider, store)
        assert set(table["status"]) == {"ok"} and table.attrs["account"]["batch_errors"] == {}


def ready(server, monkeypatch):
    for name, value in server.env().items():
        monkeypatch.setenv(name, value)


class TestEmulators:
    @pytest.mark.parametrize("provider", ["openai", "openai-chat"])
    def test_openai_from_submission_to_results(
        self, aimock, monkeypatch, store, maintained, provider
    ):
        ready(aimock, monkeypatch)
        table = tl.sampling.batches.sample_batch(
            EXAMPLES,
            [f"{provider}:gpt-6-luna"],
            budget_usd=1,
            store=store,
            prices=maintained,
            poll_s=0.01,
            progress=False,
        )
        assert table["status"].tolist() == ["ok"] * 4 and set(table["answer"]) == {
            "Mock batch completion"
        }
        assert table.attrs["account"]["batches"] == {"collected": 1}
        rates = maintained.in_force()[lambda rows: rows["model_id"] == "gpt-6-luna"].iloc[0]
        tokens = table[["uncached_input_tokens", "output_tokens"]]
        expected = (tokens * [rates["uncached_input"] / 2, rates["output"] / 2]).sum(axis=1) / 1e6
        assert table["cost_usd"].to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-12)

    def test_the_command(self, aimock, monkeypatch, tmp_path, capsys):
        ready(aimock, monkeypatch)
        mine = tmp_path / "mine.jsonl"
        mine.write_text(
            "".join(
                json.dumps(
                    {
                        "example_id": city,
                        "task": "classification",
                        "prompt": city,
                        "scorer": "contains",
                        "reference": ["Mock"],
                    }
                )
                + "\n"
                for city in CITIES
            )
        )
        monkeypatch.setattr(
            tl.sampling.batches.sample_batch,
            "__kwdefaults__",
            tl.sampling.batches.sample_batch.__kwdefaults__ | {"poll_s": 0.01},
        )
        command = [
            "sample",
            str(mine),
            "--candidate",
            "openai:gpt-6-luna",
            "--budget-usd",
            "1",
            "--batch",
        ]
        command += ["--store", str(tmp_path / "s.sqlite")]
        assert main(command) == 0, capsys.readouterr().err
        table = pd.read_csv(tmp_path / "samples.csv")
        assert table["status"].tolist() == ["ok"] * 4 and table["score"].tolist() == [1.0] * 4
        assert all("batch" in flags for flags in table["flags"])
        assert "collected" in capsys.readouterr().out
        journal = len(aimock.control("GET", "/__aimock/journal"))
        assert main(command) == 0
        assert len(aimock.control("GET", "/__aimock/journal")) == journal  # nothing is asked again

    def test_anthropic_that_does_not_get_ready(self, llmock, monkeypatch, store):
        ready(llmock, monkeypatch)
        options = {"budget_usd": 1, "store": store, "poll_s": 0.01, "progress": False}
        table = tl.sampling.batches.sample_batch(
            EXAMPLES, ["anthropic:claude-haiku-5-5"], **options, deadline_s=0
        )
        account = table.attrs["account"]
        assert (
            set(table["status"]) == {"in_batch"}
            and account["in_doubt"] == 4
            and account["batches"] == {"submitted": 1}
        )
        tl.sampling.batches.sample_batch(
            EXAMPLES, ["anthropic:claude-haiku-5-5"], **options, deadline_s=0
        )
        assert read(store, "SELECT COUNT(*) FROM batches") == [(1,)]


def test_no_key_is_in_the_store(store, monkeypatch):
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "sk-fake-0123456789abcdef")
    service = Anthropic({"Rome": "bad"})
    run(service, "anthropic", store)
    assert b"0123456789abcdef" not in b"".join(path.read_bytes() for path in store.parent.iterdir())
