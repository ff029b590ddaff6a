"""The maintained catalogue: the genai-prices package, with the gaps that data/overlay.csv fills.

genai-prices carries history and scheduled changes. What it lacks (launch and retirement dates, some windows
and batch rates) comes from the overlay, each fact with its source; an overlay fact never replaces a rate that
genai-prices has.
"""

from datetime import datetime
from functools import lru_cache

import pandas as pd

from tierlab.core.paths import DATA
from tierlab.core.vocabulary import BUCKETS, RATES
from tierlab.prices.names import COLUMNS, DATES, genai_models

_GENAI_KEYS = dict(
    zip(
        BUCKETS,
        ("input_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok", "output_mtok"),
        strict=True,
    )
)


def read():
    """The genai-prices history as a prices table.

    Returns
    -------
    frame : DataFrame
        The prices table, USD per million tokens.
    ends : DataFrame
        Dated ends that are no rates: on, model_id, rate (what ends).
    version : str
    """
    frame, ends, version = _read()
    return frame.copy(), ends.copy(), version


@lru_cache
def _read():
    import genai_prices

    overlay = pd.read_csv(DATA / "overlay.csv", dtype=str)
    facts = {
        model_id: dict(zip(t["field"], t["value"], strict=True))
        for model_id, t in overlay.groupby("model_id")
    }
    rows = [
        row
        for provider, model in genai_models()
        for row in _model_rows(provider, model, facts.get(model.id, {}))
    ]
    version = f"genai-prices {genai_prices.__version__} + overlay"
    frame = pd.DataFrame(rows).assign(
        source=version,
        checked_on=facts["*"]["checked_on"],
        approximate=False,
        reasoning_model=False,
    )
    frame = frame.reindex(columns=list(COLUMNS)).astype(dict.fromkeys(DATES, "datetime64[us]"))
    frame = frame.astype(
        {**dict.fromkeys((*RATES, "context_window", "max_output_tokens"), float), "tier": object}
    )
    ends = overlay[overlay["field"] == "ends"]
    what = ends["value"].str.rsplit(" ", n=1, expand=True).reindex(columns=[0, 1])
    ends = pd.DataFrame(
        {
            "on": pd.to_datetime(what[1]).astype("datetime64[us]"),
            "model_id": ends["model_id"],
            "rate": what[0],
        }
    )
    return frame, ends.reset_index(drop=True), version


def _model_rows(provider, model, facts):
    """Rows of one model: every date on which a rate starts x every context step."""
    from genai_prices.types import ModelPrice, StartDateConstraint, TieredPrices

    batch = [v for v in model.price_variants or () if v.when == {"processing": "batch"}]
    parts = [*([] if isinstance(model.prices, ModelPrice) else model.prices), *batch]
    if any(not isinstance(p.constraint, StartDateConstraint | None) for p in parts):
        return []  # prices by time of day: none of the three providers has one, and a day cannot carry it
    starts = [None, *sorted({p.constraint.start_date for p in parts if p.constraint})]
    known = {
        k.removeprefix("known_"): float(v) for k, v in facts.items() if k.startswith("known_batch_")
    }
    if known:  # a batch rate that only the overlay has holds from the day on which it was seen
        starts = [None, *sorted({*starts[1:], datetime.fromisoformat(facts["known_from"]).date()})]
    rows = []
    for start in starts:
        at = datetime.combine(start, datetime.min.time()) if start else datetime.min
        standard = model.get_prices(at)
        if getattr(standard, "input_mtok", None) is None:
            continue
        active = any(v.constraint is None or v.constraint.active(at) for v in batch)
        lists = [(standard, "")] + (
            [(model.get_prices(at, {"processing": "batch"}), "batch_")] if active else []
        )
        prices = {
            f"{prefix}{bucket}": getattr(p, key, None)
            for p, prefix in lists
            for bucket, key in _GENAI_KEYS.items()
        }
        if known and start and start.isoformat() >= facts["known_from"]:
            prices |= known
        tiered = [p for p in prices.values() if isinstance(p, TieredPrices)]
        for step in [0, *sorted({tier.start for p in tiered for tier in p.tiers})]:
            row = {name: _rate_at(p, step) for name, p in prices.items() if p is not None}
            first = facts.get("launched_on")
            rows.append({"valid_from": start or first, "context_above": step, **row})
    common = {
        "model_id": model.id,
        "provider": provider,
        "batch_assumed": False,
        "write_assumed": False,
    }
    common |= {"launched_on": facts.get("launched_on"), "retires_on": facts.get("retires_on")}
    common["context_window"] = model.context_window or facts.get("context_window")
    common["max_output_tokens"] = facts.get("max_output_tokens")
    rows = [common | row for row in rows]
    if facts.get("batch_history") == "same_ratio":
        _assume_batch(rows)
    if facts.get("cache_write") == "as_input":
        _assume_writes(rows)
    return rows


def _rate_at(price, step):
    if not hasattr(price, "tiers"):
        return float(price)
    reached = [tier.price for tier in price.tiers if tier.start <= step]
    return float(reached[-1] if reached else price.base)


def _assume_batch(rows):
    """Before its first verified batch rate a model's batch rates keep the same ratio to its standard rates."""
    verified = next(row for row in rows if "batch_output" in row)
    ratio = {b: verified[f"batch_{b}"] / verified[b] for b in BUCKETS if f"batch_{b}" in verified}
    for row in rows:
        if "batch_output" not in row:
            row |= {f"batch_{b}": row[b] * ratio[b] for b in ratio if b in row} | {
                "batch_assumed": True
            }


def _assume_writes(rows):
    """Automatic caching without a write fee: what is written is billed as plain input."""
    for row in rows:
        for prefix in ("", "batch_"):
            fee = row.get(f"{prefix}uncached_input")
            for bucket in ("cache_write_short", "cache_write_long"):
                if fee is not None and f"{prefix}{bucket}" not in row:
                    row |= {f"{prefix}{bucket}": fee, "write_assumed": True}
