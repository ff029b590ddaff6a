"""Replays of conversations, against a replay token by token and the figures of the worked examples."""

import itertools
import math
import os

import numpy as np
import pandas as pd
import pytest

import tierlab as tl
from tierlab.routing.policies import Always, Cascade, RandomMix, Threshold
from tierlab.routing.sessions import (
    Caches,
    EscalateOnly,
    PerSession,
    SwitchGate,
    chain_sessions,
    conversation_outcomes,
    equal_conversations,
    session_policies,
    session_rates,
)
from tierlab.routing.verdict import compare_conversations, one_switch

# USD per million tokens: plain, read, write, output, and the factor on all of them above 6,000 input tokens.
RATES = {
    "claude-large": (10.0, 1.0, 12.5, 50.0, 1.0),
    "gpt-middle": (9.0, 0.9, None, 45.0, 2.0),
    "deepseek-little": (1.0, 0.1, None, 3.0, 1.0),
}
# seconds to live, minimum, whole steps, whether the answer is cached: the rows of data/cache_rules.csv they fall under
RULES = {
    "claude-large": (300, 0, 1, False),
    "gpt-middle": (300, 1024, 128, False),
    "deepseek-little": (math.inf, 0, 64, True),
}
LARGE, MIDDLE, LITTLE = RATES
ORDER = (LITTLE, MIDDLE, LARGE)


@pytest.fixture(scope="module")
def prices(tmp_path_factory):
    rows = []
    for name, (plain, read, write, output, step) in RATES.items():
        for above, factor in ((0, 1.0), (6000, step)):
            if above and step == 1:
                continue
            rates = [
                None if rate is None else rate * factor for rate in (plain, read, write, output)
            ]
            rows.append((name, "own", above, *rates, "own", "2026-11-01"))
    columns = "model_id provider context_above uncached_input cache_read cache_write_short output source checked_on"
    path = tmp_path_factory.mktemp("prices") / "prices.csv"
    pd.DataFrame(rows, columns=columns.split()).to_csv(path, index=False)
    return tl.load_prices(path, as_of="2026-11-23")


@pytest.fixture(scope="module")
def sessions():
    """200 random conversations, some rewritten on the way, of turns seconds to half an hour apart."""
    rng, rows = np.random.default_rng(20), []
    for session in range(200):
        at, context = rng.uniform(0, 1000), int(rng.integers(50, 3000))
        for turn in range(1, int(rng.integers(2, 9))):
            answers = rng.integers(20, 400, size=len(RATES))
            rows += [
                (len(rows) // len(RATES), name, session, turn, at, context, int(n), rng.random())
                for name, n in zip(RATES, answers, strict=True)
            ]
            at += float(rng.choice([20, 250, 299, 301, 2000]))
            context = context + int(rng.integers(0, 2500)) if rng.random() < 0.9 else context // 2
    columns = "prompt_id model_id session_id turn at uncached_input_tokens output_tokens score"
    table = pd.DataFrame(rows, columns=columns.split())
    table["at"] = pd.Timestamp("2026-11-23") + pd.to_timedelta(table["at"], unit="s")
    return table.sample(frac=1, random_state=1)  # the order of the rows must not matter


def token_by_token(table, decide):
    """Cost of every turn in plain Python: each token of each call is read, written or plain."""
    paid, cells = {}, {(r.prompt_id, r.model_id): r for r in table.itertuples()}
    turns = sorted({(r.session_id, r.turn, r.prompt_id) for r in table.itertuples()})
    for _, group in itertools.groupby(turns, key=lambda key: key[0]):
        held, since, before, model = {name: set() for name in RATES}, {}, 0, None
        for _, _, prompt in group:
            now = cells[prompt, LARGE].at.timestamp()
            if (
                cells[prompt, LARGE].uncached_input_tokens < before
            ):  # rewritten: nothing is known to be left
                held = {name: set() for name in RATES}
            before = cells[prompt, LARGE].uncached_input_tokens
            readable = {
                name: _readable(name, held[name], before, now - since.get(name, -math.inf))
                for name in RATES
            }
            model = decide(prompt, model, before, readable)
            cell, (_, minimum, step, answer) = cells[prompt, model], RULES[model]
            plain, read, write, output, factor = RATES[model]
            factor = factor if before > 6000 else 1.0
            write = plain if write is None else write
            usd = output * cell.output_tokens
            kept = set()
            for token in range(before):
                if token < readable[model]:
                    usd += read
                elif before >= minimum and token < before // step * step:
                    usd += write
                else:
                    usd += plain
                if before >= minimum and token < before // step * step:
                    kept.add(token)
            if answer and kept:
                kept |= set(range(len(kept), len(kept) + cell.output_tokens))
            held[model], since[model] = kept, now
            paid[prompt] = usd * factor / 1e6
    return paid


def _readable(name, held, context, idle):
    ttl, minimum, step, _ = RULES[name]
    if idle > ttl or context < minimum:
        return 0
    count = sum(1 for token in range(context) if token in held)
    return count // step * step


def _drawn(prompt):
    mix = RandomMix({LITTLE: 0.5, MIDDLE: 0.3, LARGE: 0.2})
    return mix.choose({"prompt_id": prompt, "seed": 7}).name


def _gate(prompt, model, context, readable):
    asked = _drawn(prompt)
    if model is None or RATES[asked][3] >= RATES[model][3]:
        return asked
    cost = {}
    for name in (model, asked):
        plain, read, write, output, _ = RATES[name]
        write, length, have, total = (
            (plain if write is None else write),
            context,
            readable[name],
            0.0,
        )
        for _ in range(4):  # four turns left: what is there is read, the rest written
            total += read * have + write * (length - have) + output * 200
            have, length = length, length + 300 + 200
        cost[name] = total
    return asked if cost[model] > cost[asked] else model


MIX = RandomMix({LITTLE: 0.5, MIDDLE: 0.3, LARGE: 0.2})
POLICIES = {
    "one model": (lambda prices: Always(MIDDLE), lambda prompt, model, *_: MIDDLE),
    "per turn": (lambda prices: MIX, lambda prompt, model, *_: _drawn(prompt)),
    "per session": (
        lambda prices: PerSession(MIX),
        lambda prompt, model, *_: model or _drawn(prompt),
    ),
    "escalate only": (
        lambda prices: EscalateOnly(MIX, ORDER),
        lambda prompt, model, *_: max(model or LITTLE, _drawn(prompt), key=ORDER.index),
    ),
    "switch gate": (
        lambda prices: SwitchGate(
            MIX, session_rates(prices, ORDER), turns_left=4, new_tokens=300, output_tokens=200
        ),
        _gate,
    ),
}


@pytest.mark.parametrize("name", POLICIES)
def test_replay_equals_a_replay_token_by_token(prices, sessions, name):
    policy, decide = POLICIES[name]
    routes = tl.route(sessions, policy(prices), seed=7, sessions=Caches(prices))
    expected = pd.Series(token_by_token(sessions, decide))
    cost = routes.set_index("prompt_id")["cost_usd"]
    assert len(cost) == len(expected) > 700
    np.testing.assert_allclose(cost, expected.loc[cost.index], rtol=1e-9)


def test_policies_differ_on_these_sessions(prices, sessions):
    caches = Caches(prices)
    costs = {
        name: tl.route(sessions, policy(prices), seed=7, sessions=caches)["cost_usd"].sum()
        for name, (policy, _) in POLICIES.items()
    }
    assert len({round(cost, 6) for cost in costs.values()}) == len(POLICIES)


def test_without_a_read_rate_a_conversation_costs_what_its_turns_cost(sessions, tmp_path):
    text = "model_id,provider,uncached_input,output,source,checked_on\n" + "".join(
        f"{name},own,{plain},{output},own,2026-11-01\n"
        for name, (plain, *_, output, _) in RATES.items()
    )
    (tmp_path / "plain.csv").write_text(text)
    plain = tl.load_prices(tmp_path / "plain.csv", as_of="2026-11-23")
    priced = tl.price_outcomes(sessions, plain)
    single = tl.route(priced, MIX, seed=7).set_index("prompt_id")["cost_usd"]
    replayed = tl.route(sessions, MIX, seed=7, sessions=Caches(plain)).set_index("prompt_id")
    np.testing.assert_allclose(replayed["cost_usd"], single.loc[replayed.index], rtol=1e-12)
    assert not replayed[["cache_read_tokens", "cache_write_tokens"]].to_numpy().any()


def test_answers_that_a_cascade_discards_warm_their_models_cache(prices):
    row = {"model_id": [LITTLE, LARGE] * 2, "prompt_id": [0, 0, 1, 1], "session_id": 1}
    table = pd.DataFrame(
        row | {"turn": [1, 1, 2, 2], "score": [0.0, 1.0] * 2, "output_tokens": 100}
    )
    table["uncached_input_tokens"] = [1000, 1000, 1400, 1400]
    policy = Cascade(
        (LITTLE, LARGE),
        judge=lambda features, answer: np.zeros(len(answer["score"])),
        threshold=0.5,
    )
    routes = tl.route(table, policy, seed=1, sessions=Caches(prices))
    # 1,000 in, in whole steps of 64: 960 cached and 100 of the answer after them; 1,060 read in steps: 1,024
    little = [1.0 * 1000 + 3.0 * 100, 0.1 * 1024 + 1.0 * 376 + 3.0 * 100]
    large = [12.5 * 1000 + 50.0 * 100, 1.0 * 1000 + 12.5 * 400 + 50.0 * 100]
    np.testing.assert_allclose(routes["router_cost_usd"] * 1e6, little)
    np.testing.assert_allclose(routes["cost_usd"] * 1e6, large)


@pytest.mark.parametrize(
    ("large", "small", "saved", "promised"),
    [
        ("claude-opus-5-5", "claude-haiku-5-5", 0.485, 0.777),
        ("claude-opus-4-8", "claude-haiku-4-5", 0.377, 0.640),
        ("claude-opus-5-5", "claude-sonnet-5-5", 0.058, 0.400),
    ],
)
def test_a_split_per_turn_over_all_1024_sequences(large, small, saved, promised):
    """Ten turns, a system prompt of 6,000 tokens, 2,000 in and 300 out a turn, nothing expires, 20% large."""
    sequences = np.array(list(itertools.product([0, 1], repeat=10)))
    session, turn, model = (part.ravel() for part in np.indices((1024, 10, 2)))
    table = pd.DataFrame(
        {
            "prompt_id": session * 10 + turn,
            "model_id": np.array([large, small], object)[model],
            "session_id": session,
            "turn": turn,
            "uncached_input_tokens": 6000 + 2000 * (turn + 1) + 300 * turn,
            "output_tokens": 300,
            "score": 1.0,
            "hard": sequences[session, turn],
        }
    )
    prices = tl.load_prices("maintained", as_of="2026-11-23")
    caches = Caches(prices, ttl_s=math.inf, minimum_tokens=0)
    policy = Threshold("hard", 0.5, (small, large))
    cost = tl.route(table, policy, sessions=caches).groupby("session_id")["cost_usd"].sum()
    weight = np.where(sequences, 0.2, 0.8).prod(axis=1)
    alone = {
        name: tl.route(table[table["session_id"] == 0], Always(name), sessions=caches)[
            "cost_usd"
        ].sum()
        for name in (large, small)
    }
    assert 1 - (weight @ cost.to_numpy()) / alone[large] == pytest.approx(saved, abs=5e-4)
    assert 1 - (0.2 + 0.8 * alone[small] / alone[large]) == pytest.approx(promised, abs=5e-4)
    if large == "claude-opus-5-5":  # 28,700 written, 154,800 read, 3,000 out
        assert alone[large] == pytest.approx((28_700 * 5 + 154_800 * 0.2 + 3_000 * 20) / 1e6)


def four_turns(**columns):
    """A conversation of one model, a minute between the turns, of which the second failed and has no tokens."""
    table = pd.DataFrame(
        {
            "prompt_id": range(4),
            "model_id": LARGE,
            "session_id": "s",
            "turn": [1, 2, 3, 4],
            "at": pd.date_range("2026-11-01 10:00", periods=4, freq="min"),
            "uncached_input_tokens": [1000, 0, 1230, 1500],
            "output_tokens": [30, 0, 30, 30],
            "score": 1.0,
        }
    )
    return table.assign(**columns)


def test_a_turn_that_failed_leaves_the_caches_as_they_are(prices):
    routes = tl.route(four_turns(), Always(LARGE), sessions=Caches(prices)).sort_values("turn")
    assert routes["cache_read_tokens"].tolist() == [0, 0, 1000, 1230]
    # 12.50 a written token, 1.00 a read one, 50.00 of output
    paid = [12.5 * 1000 + 50 * 30, 0, 1000 + 12.5 * 230 + 50 * 30, 1230 + 12.5 * 270 + 50 * 30]
    assert (routes["cost_usd"] * 1e6).tolist() == pytest.approx(paid)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"turn": [1, None, 3, 4]}, "no 'turn' in 1 of 4 turns; the first is prompt 1"),
        (
            {"session_id": ["s", "s", None, "s"]},
            "no 'session_id' in 1 of 4 turns; the first is prompt 2",
        ),
        (
            {"at": pd.to_datetime(["2026-11-01", "2026-11-02", "2026-11-03", None])},
            "no 'at' in 1 of 4 turns; the first is prompt 3",
        ),
        ({"at": [1, 2, 3, 4]}, "not an ISO time in 4 rows; first row 0, column 'at': 1"),
        ({"turn": [1, 2, 4, 3]}, "times run against the turns .* prompt 2: turn 4 of session s is"),
    ],
)
def test_turns_out_of_order_are_refused(prices, columns, said):
    with pytest.raises(ValueError, match=said):
        tl.route(four_turns(**columns), Always(LARGE), sessions=Caches(prices))


@pytest.mark.parametrize("column", ["session_id", "turn"])
def test_conversations_need_their_columns(prices, column):
    table = four_turns().drop(columns=column)
    with pytest.raises(ValueError, match=f"column '{column}' is missing; conversations need"):
        tl.route(table, Always(LARGE), sessions=Caches(prices))


def test_deciding_once_per_session_keeps_the_promise(prices, sessions):
    found = compare_conversations(
        sessions, {"session": PerSession(MIX), "turn": MIX}, Caches(prices), reference=LARGE, seed=3
    )
    assert found.loc["session", "switches"] == 0 < found.loc["turn", "switches"]
    assert (
        found.loc["session", "low"]
        <= found.loc["session", "promised"]
        <= found.loc["session", "high"]
    )
    assert found.loc["turn", "high"] < found.loc["turn", "promised"]


def test_sessions_are_told_from_prefixes():
    trace = pd.DataFrame(
        {
            "at": pd.to_datetime(["2026-01-01"] * 6)
            + pd.to_timedelta([0, 10, 20, 30, 40, 50], unit="s"),
            "prefix_ids": [
                [0, 1, 2],
                [0, 1, 3, 4],
                [0, 9],
                [0, 1, 3, 4, 5],
                [0, 8],
                [0, 1, 3, 4, 6],
            ],
            "uncached_input_tokens": [1100, 1700, 600, 2500, 700, 1800],
            "output_tokens": [100, 50, 10, 10, 10, 10],
        }
    )
    found = chain_sessions(trace)
    # The third and fifth share only the block that everybody has. The last is too short to follow the second with
    # its answer (1,700 + 50 > ... is met: 1,800), so it regenerates the fourth's turn and stays in the session.
    assert found["session_id"].tolist() == [0, 0, 2, 0, 4, 0]
    assert found["turn"].tolist() == [1, 2, 1, 3, 1, 4]


def test_a_turn_too_short_for_the_answer_before_it_begins_a_session():
    trace = pd.DataFrame(
        {
            "at": pd.to_datetime(["2026-01-01", "2026-01-02"]),
            "prefix_ids": [[0, 1, 2], [0, 1, 3]],
            "uncached_input_tokens": [1100, 1150],
            "output_tokens": [100, 5],
        }
    )
    assert chain_sessions(trace)["session_id"].tolist() == [0, 1]


@pytest.mark.skipif(
    "TIERLAB_DATA_DIR" not in os.environ,
    reason="TIERLAB_DATA_DIR names no folder with the public data",
)
def test_mooncake_has_the_published_number_of_conversations():
    found = chain_sessions(tl.load_requests("mooncake_conv"))
    turns = found.groupby("session_id").size()
    assert (len(found), len(turns), (turns > 1).sum(), turns.max()) == (12_031, 8_349, 1_875, 43)


def test_outcomes_of_a_log_say_what_is_assumed():
    log = pd.DataFrame({"session_id": [1, 1], "turn": [1, 2], "cache_read_tokens": [0, 90]})
    log = log.assign(uncached_input_tokens=[100, 30], output_tokens=[10, 20], model_id="x")
    found = conversation_outcomes(log, {"a": 0.9, "b": 0.7})
    assert found["uncached_input_tokens"].tolist() == [100, 100, 120, 120]
    assert found["score"].tolist() == [0.9, 0.7, 0.9, 0.7]
    assert found["provenance"].str.startswith("assumed").all()
    with pytest.raises(ValueError, match="conversations need session_id and turn"):
        conversation_outcomes(log.drop(columns="turn"), {"a": 1})


def test_simulated_conversations_grow_by_what_was_said():
    table = tl.simulate_outcomes(40, seed=2, turns=4, system_tokens=1000)
    single = tl.simulate_outcomes(40, seed=2)
    first = table[table["tier"] == "small"].reset_index(drop=True)
    alone = single[single["tier"] == "small"].reset_index(drop=True)
    assert first["turn"].tolist() == [1, 2, 3, 4] * 10
    history = 1000
    for turn in range(4):
        history += alone["uncached_input_tokens"][turn]
        assert first["uncached_input_tokens"][turn] == history
        history += alone["output_tokens"][turn]
    assert (
        table.groupby("session_id", observed=True)[["task", "user"]].nunique().eq(1).all(axis=None)
    )
    assert first["at"].diff()[1:4].eq(pd.Timedelta("120s")).all()
    assert table["score"].tolist() == single["score"].tolist()


def test_every_turn_of_many_sessions_is_replayed_once(prices):
    n, sessions = 20_000, 2_000
    prompt = np.arange(n)
    part = {
        "prompt_id": prompt,
        "session_id": prompt % sessions,
        "turn": prompt // sessions,
        "score": 1.0,
    }
    part |= {"uncached_input_tokens": 500 * (1 + prompt // sessions), "output_tokens": 50}
    table = pd.concat([pd.DataFrame(part | {"model_id": name}) for name in (LITTLE, LARGE)])
    routes = tl.route(table, Always(LARGE), sessions=Caches(prices))
    assert routes["cache_write_tokens"].sum() == sessions * 5000
    assert routes["cache_read_tokens"].sum() == sessions * 500 * sum(range(10))


def test_one_turn_on_another_model_writes_its_whole_history():
    """6,000 + 200 a turn + 300 an answer; Haiku reads at 0.1, writes at 1.25, answers at 5; Opus at five times that."""
    june, shape = tl.load_prices("maintained", as_of="2026-06-12"), tl.load_product().conversation
    duo = {"small": "claude-haiku-4-5", "flagship": "claude-opus-4-8"}
    turns, alone = one_switch(shape, june, **duo)
    told = [
        [0, 6200, 1],
        [6200, 500, 1],
        [6700, 500, 1],
        [0, 7700, 5],
        [7200, 1000, 1],
    ]
    usd = [times * (0.1 * read + 1.25 * new + 5 * 300) / 1e6 for read, new, times in told]
    assert turns["cost_usd"].tolist() == pytest.approx(usd)
    assert turns["tier"].tolist() == ["small", "small", "small", "flagship", "small"]
    stays = [(0, 6200), *((6200 + 500 * n, 500) for n in range(4))]
    assert alone == pytest.approx(sum((0.1 * r + 1.25 * w + 5 * 300) / 1e6 for r, w in stays))
    policies = session_policies(Always(duo["small"]), shape, june, **duo)
    assert list(policies) == ["per turn", "per conversation", "escalate only", "switch gate"]
    # of five turns, 5, 4, 3, 2 or 1 are left at each: three on average
    assert shape.turns == 5 and policies["switch gate"].turns_left == 3
    table = equal_conversations(shape, dict.fromkeys(duo.values(), 1.0), sessions=3)
    assert len(table) == 2 * 3 * shape.turns
    for policy in policies.values():
        paid = tl.route(table, policy, sessions=tl.Caches(june))["cost_usd"].sum()
        assert paid == pytest.approx(3 * alone)
