"""Routing per session instead of per turn: by arithmetic on conversations whose caches a change of model throws away."""

import pandas as pd
import pytest

import tierlab as tl
from tierlab.quarter import aggregate
from tierlab.quarter.savings import per_session
from tierlab.quarter.words import missing_said

PERIOD = pd.Period("2026Q3", freq="Q")
# Of a million tokens: input, read, write and output of Sonnet 4.6 and Haiku 4.5.
SONNET, HAIKU = (3, 0.3, 3.75, 15), (1, 0.1, 1.25, 5)


def conversation(number, models, *, cached=True):
    """Turns a minute apart, each sent 2,000 tokens more than the one before: 10,000, 12,000, ..."""
    held, rows = {}, []
    for turn, model in enumerate(models):
        whole, read = 10_000 + 2_000 * turn, held.get(model, 0) * cached
        held[model] = whole
        at = pd.Timestamp("2026-08-01") + pd.Timedelta(days=number % 60, minutes=turn)
        rows.append((at, model, str(number), 0, read, whole - read, 100))
    names = ["at", "model_id", "session_id", "uncached_input_tokens", "cache_read_tokens"]
    return pd.DataFrame(rows, columns=[*names, "cache_write_short_tokens", "output_tokens"])


def cost(rates, read, written, turns):
    return (rates[1] * read + rates[2] * written + rates[3] * 100 * turns) / 1e6


def analysed(log):
    prices = tl.load_prices("maintained", as_of="2026-10-01")
    cube = tl.build_cube(log, prices)
    return cube, prices, tl.analyse(cube, prices, "2026Q3")


MIXED = ["claude-sonnet-4-6", "claude-haiku-4-5", "claude-haiku-4-5"]
# As run: Sonnet writes 10,000; Haiku writes 12,000, then reads them and writes 2,000.
RAN = cost(SONNET, 0, 10_000, 1) + cost(HAIKU, 12_000, 14_000, 2)
# On one model: 10,000 and then twice 2,000 are written, 10,000 and 12,000 are read.
KEPT = cost(SONNET, 22_000, 14_000, 3) / 3 + cost(HAIKU, 22_000, 14_000, 3) * 2 / 3


def test_a_session_keeps_one_model_as_often_as_it_answered():
    plain = [conversation(100 + n, MIXED[:1] * 2) for n in range(5)]  # one model: no part of it
    cube, prices, q = analysed(pd.concat([conversation(n, MIXED) for n in range(60)] + plain))
    assert len(cube.turns) == cube.mixed_turns == 180
    found, why = per_session(cube, PERIOD, prices)
    assert why == "" and found["usd"] == pytest.approx(60 * (RAN - KEPT))
    row = q.savings.set_index("kind").loc["session"]
    assert row["usd"] == pytest.approx(60 * (RAN - KEPT)) and row["spend_usd"] == pytest.approx(
        60 * RAN
    )
    assert "an assumption: no log knows" in row["assumes"] and "sessions" not in q.missing


def test_a_log_whose_caches_do_not_behave_gives_no_number_and_says_why():
    """One of twenty conversations reads its cache; the replay lets all of them read it."""
    models = ["claude-sonnet-4-6"] * 2 + ["claude-haiku-4-5"] * 4
    log = pd.concat([conversation(n, models, cached=n % 20 == 0) for n in range(60)])
    _, _, q = analysed(log)
    assert "session" not in set(q.savings["kind"])
    assert any("their replay comes to" in line for line in missing_said(q))


def test_without_reads_or_with_too_many_rows_there_is_none(monkeypatch):
    log = pd.concat([conversation(n, MIXED, cached=False) for n in range(60)])
    _, _, q = analysed(log)
    assert "read from a cache" in q.missing["sessions"]
    monkeypatch.setattr(aggregate, "SESSION_ROWS", 100)
    monkeypatch.setattr("tierlab.quarter.savings.SESSION_ROWS", 100)
    cube, _, q = analysed(log)
    assert cube.turns.empty and q.missing["sessions"].endswith("there are 180")


def test_a_log_without_sessions_says_nothing_of_them():
    cube, prices, q = analysed(conversation(0, MIXED).drop(columns="session_id"))
    assert cube.mixed_turns == 0 and per_session(cube, PERIOD, prices) == (None, "")
    assert "sessions" not in q.missing


def test_the_next_report_cannot_tell_whether_sessions_kept_their_model():
    log = pd.concat([conversation(n, MIXED) for n in range(60)])
    prices = tl.load_prices("maintained", as_of="2026-10-01")
    decided = {"kind": "session", "what": "choose once", "usd": 1.0}
    last = {"quarter": "2026Q2", "decisions": [decided], "events": []}
    q = tl.analyse(tl.build_cube(log, prices), prices, "2026Q3", last_summary=last)
    assert q.arrival["outcome"].tolist() == ["cannot be told"]
