"""Drawn requests over the whole of genai-prices: the same price as its own calculation, or a flag, or an error."""

import re
from collections import Counter
from datetime import datetime

import genai_prices
import numpy as np
import pandas as pd
import pytest
from genai_prices.data_snapshot import get_snapshot

import tierlab as tl
from tests.proofs import runs

DAYS = pd.date_range("2024-06-01", "2027-02-28")
RECENT = pd.date_range("2026-10-15", "2027-02-28")
CONTEXT = {
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"speed": "fast"},
}


def sells_output(model):
    """Embeddings and rerankers answer with numbers, not with tokens."""
    parts = (
        [model.prices] if not isinstance(model.prices, list) else [p.prices for p in model.prices]
    )
    return any(vars(part).get("output_mtok") is not None for part in parts)


def draw(rng, models):
    """One request to one model of one seller: day and hour, tier, batch, context, buckets."""
    provider, model = models[rng.integers(len(models))]
    variants = [variant.when for variant in model.price_variants or ()]
    tiers = ["standard", *(tier for tier, when in CONTEXT.items() if when in variants)]
    tier = rng.choice(tiers) if rng.random() < 0.98 else rng.choice(["flex", "priority"])
    day = rng.choice(RECENT) if rng.random() < 0.8 else rng.choice(DAYS)
    window = min(model.context_window or 100_000, 600_000)
    most = window if rng.random() < 0.3 else window // 10
    shares = rng.dirichlet([3, 1, 1, 1]) * (rng.random(4) < [1, 0.5, 0.2, 0.05])
    return {
        "provider": provider,
        "model": model,
        "model_id": model.id,
        "platform": provider.id,
        "region": "global" if provider.id in ("azure", "google") else None,
        "at": pd.Timestamp(day) + pd.Timedelta(seconds=int(rng.integers(86_400))),
        "service_tier": tier,
        "sold": tier in tiers,
        "batch": bool({"processing": "batch"} in variants and rng.random() < 0.3),
        **dict(
            zip(
                tl.BUCKETS[:4],
                (shares * rng.integers(1, max(most, 2))).astype(int).tolist(),
                strict=True,
            )
        ),
        "output": int(rng.integers(0, 2_000)) if sells_output(model) else 0,
    }


def theirs(case):
    read, short, long = (case[bucket] for bucket in tl.BUCKETS[1:4])
    usage = {"input_tokens": sum(case[b] for b in tl.BUCKETS[:4]), "output_tokens": case["output"]}
    usage |= {
        "cache_read_tokens": read,
        "cache_write_tokens": short + long,
        "cache_write_1h_tokens": long,
    }
    usage = {
        name: count
        for name, count in usage.items()
        if count or name in ("input_tokens", "output_tokens")
    }
    context = CONTEXT.get(case["service_tier"], {}) | (
        {"processing": "batch"} if case["batch"] else {}
    )
    return float(
        case["model"]
        .calc_price(
            genai_prices.Usage(**usage),
            case["provider"],
            genai_request_timestamp=datetime.fromisoformat(case["at"].isoformat()),
            price_context=context,
        )
        .total_price
    )


def ours(cases, prices):
    """Return the cost and flags of each case, or its error; a table that raises is split in half and priced again."""
    columns = ["model_id", "platform", "region", "service_tier", "at", "batch"]
    table = pd.DataFrame([{name: case[name] for name in columns} for case in cases])
    for bucket in tl.BUCKETS:
        table[f"{bucket}_tokens"] = [case[bucket] for case in cases]
    try:
        priced = tl.price(table, prices, price_on="at")
    except ValueError as error:
        if len(cases) == 1:
            return [(None, str(error))]
        half = len(cases) // 2
        return ours(cases[:half], prices) + ours(cases[half:], prices)
    return list(zip(priced["cost_usd"], priced["flags"], strict=True))


@pytest.mark.parametrize("seed", [0, 1])
def test_drawn_requests_cost_what_genai_prices_says_or_say_why_not(maintained, seed, capsys):
    rng, counts, reasons = np.random.default_rng(seed), Counter(), Counter()
    models = [
        (provider, model) for provider in get_snapshot().providers for model in provider.models
    ]
    cases = [draw(rng, models) for _ in range(runs(5_000))]
    for case, (usd, flags) in zip(cases, ours(cases, maintained), strict=True):
        expected = theirs(case)
        if usd is None:
            kind = "raised" if expected else "without a price in either"
            reasons[re.sub(r"model .*?\bhas|on 20.*|.* is sold", "", flags)[:60]] += 1
        else:
            equal = usd == pytest.approx(expected, rel=1e-9, abs=1e-9)
            kind = "flagged" if flags else "equal" if equal else "wrong"
            reasons[flags] += 1
            assert kind != "wrong", (case, usd, expected)
        if not case["sold"] and kind != "without a price in either":
            assert kind in ("flagged", "raised")  # genai-prices answers with the standard rate
            kind = "tier that is not listed"
        counts[kind] += 1
    with capsys.disabled():
        print(f"\n{dict(counts)}; {dict(reasons.most_common(12))}")
    compared = counts["equal"] + counts["flagged"] + counts["raised"]
    assert counts["equal"] >= 0.95 * compared
