"""A judge through the runner: what it is asked, what its replies become, and what it costs."""

import json
import re

import httpx2
import pytest

import tierlab as tl
from tests.calls import together
from tierlab.sampling.examples import Example
from tierlab.sampling.samples import account

EXAMPLES = [
    Example("q1", "own", "Greet me.", "judge", "Good day!", {"rubric": ["polite"]}),
    Example("q2", "own", "Which day follows Monday?", "exact", "Tuesday"),
]
WRITERS = ["openai-chat:gpt-4o-mini", "openai-chat:gpt-4o"]
JUDGE = "openai-chat:gpt-4.1"
# gpt-4o-mini and gpt-4o write; gpt-4.1 (2 and 8 USD per million tokens) judges: 10 tokens in and 4 out a reply.
JUDGE_USD = (10 * 2 + 4 * 8) / 1e6


def service(replies, asked=None):
    """A provider that answers by model: `replies[model](user text)`."""

    def handle(request):
        body = json.loads(request.content)
        user = body["messages"][-1]["content"]
        if asked is not None:
            asked.append((body["model"], user))
        message = {"role": "assistant", "content": replies[body["model"]](user)}
        usage = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return httpx2.Response(
            200,
            json={
                "id": "c",
                "object": "chat.completion",
                "created": 1,
                "model": body["model"],
                "choices": [choice],
                "usage": usage,
            },
        )

    return httpx2.MockTransport(handle)


def writers(**more):
    says = {
        "gpt-4o-mini": lambda user: "hi" if "Greet" in user else "Tuesday",
        "gpt-4o": lambda user: "Good day, dear reader!",
    }
    return says | more


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-secret")
    path = tmp_path / "store.sqlite"
    options = {
        "budget_usd": 1.0,
        "store": path,
        "stream": False,
        "warm_up": False,
        "progress": False,
    }
    tl.sample(EXAMPLES, WRITERS, **together(transport=service(writers()), **options))
    return path


def run(function, store, says, asked=None, **options):
    options = {"budget_usd": 1.0, "progress": False} | options
    return function(
        store, JUDGE, **together(transport=service({"gpt-4.1": says}, asked), **options)
    )


def by_length(user):
    answer = re.search(r"<<<ANSWER (\w+)\n(.*)\nANSWER \1>>>", user, re.S)[2]
    return json.dumps(
        {"reason": "short" if len(answer) < 5 else "kind", "score": 2 if len(answer) < 5 else 5}
    )


def test_the_judge_scores_what_only_a_judge_can_and_the_store_keeps_it(store):
    assert tl.load_samples(store).set_index(["prompt_id", "model_id"])["score"].isna().sum() == 2
    found = run(tl.judge, store, by_length)
    assert found.set_index("model_id")["judged"].to_dict() == {
        "gpt-4o-mini": 0.25,
        "gpt-4o": 1.0,
    }  # 2 and 5 of 1 to 5
    assert found["cost_usd"].tolist() == pytest.approx([JUDGE_USD] * 2)
    kept = tl.load_samples(store).set_index(["prompt_id", "model_id"])
    assert kept.loc[("q1", "gpt-4o"), "score"] == 1.0
    assert kept.loc[("q1", "gpt-4o-mini"), "score_reason"] == "gpt-4.1: short"
    assert kept.loc[("q2", "gpt-4o-mini"), "score"] == 1.0  # its own scorer's


def test_the_judges_calls_are_in_the_account_and_paid_once(store):
    before, asked = account(store), []
    run(tl.judge, store, by_length, asked)
    again = run(tl.judge, store, by_length, asked)
    assert len(asked) == 2 and again["judged"].notna().all()
    after = account(store)
    assert after["spent_usd"] - before["spent_usd"] == pytest.approx(2 * JUDGE_USD)
    assert after["calls"] == before["calls"] == 4  # answers


def test_every_answer_can_be_judged_beside_its_own_score(store):
    found = run(tl.judge, store, by_length, every=True)
    assert len(found) == 4
    own = found[found["prompt_id"] == "q2"].set_index("model_id")
    assert own["score"].to_dict() == {"gpt-4o-mini": 1.0, "gpt-4o": 0.0}
    agreement = tl.evaluate.scorers.judge.judge_agreement(
        (own["judged"] > 0.5).tolist(), (own["score"] > 0.5).tolist()
    )
    assert agreement.n == 2 and agreement.agreement == 0.5  # the judge likes both long answers
    assert (
        tl.load_samples(store).set_index(["prompt_id", "model_id"]).loc[("q2", "gpt-4o"), "score"]
        == 0.0
    )


@pytest.mark.parametrize("reply", ["I would rather not.", '{"score": 9}', ""])
def test_a_reply_that_is_no_score_leaves_the_answer_unscored(store, reply):
    found = run(tl.judge, store, lambda user: reply)
    assert found["judged"].isna().all()
    assert set(found["status"]) == {"unread" if reply else "empty"}
    assert tl.load_samples(store).query("prompt_id == 'q1'")["score"].isna().all()


def test_what_the_budget_does_not_allow_is_not_asked(store):
    asked = []
    spent = account(store)["spent_usd"]
    found = run(tl.judge, store, by_length, asked, budget_usd=spent)
    assert not asked and set(found["status"]) == {"over_budget"}


def test_a_judge_that_failed_is_asked_again_when_told_to(store):
    says, asked = {"gpt-4.1": by_length}, []
    broken = httpx2.MockTransport(
        lambda request: httpx2.Response(401, json={"error": {"message": "no"}})
    )
    options = {"budget_usd": 1.0, "progress": False}
    assert (
        tl.judge(store, JUDGE, **together(transport=broken, **options))["status"].tolist()
        == ["auth"] * 2
    )
    assert (
        tl.judge(store, JUDGE, **together(transport=service(says, asked), **options))[
            "status"
        ].tolist()
        == ["auth"] * 2
    )
    assert asked == []
    found = tl.judge(
        store, JUDGE, **together(transport=service(says, asked), retry=True, **options)
    )
    assert found["status"].tolist() == ["ok"] * 2 and len(asked) == 2


def test_a_judge_that_could_cost_more_than_a_dollar_wants_a_yes(store):
    asked = []
    costly = f"{JUDGE},usd_per_mtok=1000/1000"  # 200 tokens of output, four times: 0.8 USD and more for each answer
    options = {
        "budget_usd": 100,
        "progress": False,
        "transport": service({"gpt-4.1": by_length}, asked),
    }
    with pytest.raises(ValueError, match="give yes=True"):
        tl.judge(store, costly, **together(**options))
    assert asked == []
    assert tl.judge(store, costly, **together(yes=True, **options))["status"].tolist() == ["ok"] * 2
