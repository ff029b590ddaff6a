"""The maintained catalogue: the genai-prices package, with the gaps that data/overlay.csv fills.

genai-prices has the history and the scheduled changes of 47 sellers. The overlay supplies what it lacks (launch and
retirement dates, some windows and batch rates), each fact with its source. An overlay fact never replaces a rate that
genai-prices has, but it drops the rates of a maker that does not sell its model. Each rate is read as it resolves on
a day, never as a factor on another rate, because context steps and cache rates differ by service tier and by batch.
"""

import re
from datetime import date, datetime, time
from functools import lru_cache

import pandas as pd

from tierlab.core.paths import DATA
from tierlab.core.vocabulary import BUCKETS, RATES
from tierlab.prices.names import PROVIDERS, Listed, listed, makers
from tierlab.prices.table import COLUMNS, DATES

_GENAI_KEYS = dict(
    zip(
        BUCKETS,
        ("input_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok", "output_mtok"),
        strict=True,
    )
)
BATCH = {"processing": "batch"}
MODES = {  # service tier -> how genai-prices says it; OpenAI's "fast" is its priority tier
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"speed": "fast"},
}


@lru_cache
def read():
    """Read what the makers sell themselves, at their standard rates. The result is cached: do not change it.

    Returns
    -------
    frame : DataFrame
        The prices table, USD per million tokens.
    ends : DataFrame
        Dated ends other than changes of a rate: on, model_id, rate (what ends).
    version : str
    """
    own = [Listed(model.id, maker, maker, None, model) for maker, model in makers()]
    own = [entry for entry in own if _sold(entry)]
    rows = [row for entry in own for row in _model_rows(entry, _facts().get(entry.model.id, {}))]
    rows = [row for row in rows if "uncached_input" in row]
    overlay = _overlay()
    ends = overlay[overlay["field"] == "ends"]
    what = ends["value"].str.rsplit(" ", n=1, expand=True).reindex(columns=[0, 1])
    ends = pd.DataFrame(
        {
            "on": pd.to_datetime(what[1]).astype("datetime64[us]"),
            "model_id": ends["model_id"],
            "rate": what[0],
        }
    )
    return _table(rows), ends.reset_index(drop=True), version()


@lru_cache
def others():
    """Read the prices table of all other sellers, regions and service tiers. It is cached: do not change it."""
    rows, sold = [], {(maker, model.id) for maker, model in makers()}
    for entry in filter(_sold, listed()):
        own = (entry.provider, entry.model.id) in sold and entry.platform == entry.provider
        facts = _facts().get(entry.model.id, {}) if own else {}
        rows += [row for row in _model_rows(entry, facts) if not own or "uncached_input" not in row]
        if peak_hours(entry.model):
            rows += _model_rows(entry, facts, "offpeak")
        variants = [variant.when for variant in entry.model.price_variants or ()]
        for tier, when in MODES.items():
            if when in variants:
                rows += _model_rows(entry, facts, tier, when)
    return _table(rows)


@lru_cache
def premiums():
    """Read data/premiums.csv: what sellers add or take off by rule where genai-prices has no rate.

    In each rule, model and region are patterns, and `factor` multiplies the standard rate.
    """
    table = pd.read_csv(DATA / "premiums.csv", keep_default_na=False)
    table = table.assign(batch=table["batch"].eq("true"), model=table["model"].replace("", ".*"))
    return list(table.itertuples(index=False, name="Rule"))


@lru_cache
def _overlay():
    return pd.read_csv(DATA / "overlay.csv", dtype=str)


@lru_cache
def _facts():
    return {
        model_id: dict(zip(t["field"], t["value"], strict=True))
        for model_id, t in _overlay().groupby("model_id")
    }


def _sold(entry):
    """Return whether a seller sells a model; a maker that only publishes the weights does not."""
    weights = _facts().get(entry.model.id, {}).get("sold_by_maker") == "no"
    return not (weights and entry.platform == entry.provider)


@lru_cache
def version():
    """Return the name and version of the maintained catalogue."""
    import genai_prices

    return f"genai-prices {genai_prices.__version__} + overlay"


def _table(rows):
    frame = pd.DataFrame(rows).assign(source=version(), reasoning_model=False, tier=None)
    frame = frame.reindex(columns=list(COLUMNS)).astype(dict.fromkeys(DATES, "datetime64[us]"))
    numbers = dict.fromkeys((*RATES, "context_window", "max_output_tokens"), float)
    return frame.astype(numbers | {"tier": object, "context_above": "int64"})


def peak_hours(model):
    """Return (start, end) of the hours of a day (UTC) in which a model costs its peak rate; most have none."""
    from genai_prices.types import ModelPrice, TimeOfDateConstraint

    parts = [] if isinstance(model.prices, ModelPrice) else model.prices
    return [
        (part.constraint.start_time, part.constraint.end_time)
        for part in parts
        if isinstance(part.constraint, TimeOfDateConstraint)
    ]


def _model_rows(entry, facts, tier="standard", when=None):
    """Return the rows of one model at one tier, for every date on which a rate starts and every context step."""
    from genai_prices.types import ModelPrice

    model = entry.model
    variants = model.price_variants or ()
    batch = [v for v in variants if v.when == BATCH]
    own = [v for v in variants if when and v.when == when]
    # A batch rate that only the overlay has holds from the day on which it was seen.
    known = {
        k.removeprefix("known_"): float(v) for k, v in facts.items() if k.startswith("known_batch_")
    }
    peak = peak_hours(model)
    hour = peak[0][1 if tier == "offpeak" else 0] if peak else time.min
    rows = []
    for start in _starts(model, [*batch, *own], facts["known_from"] if known else None):
        at = datetime.combine(start or date.min, hour.replace(tzinfo=None))
        if own and not _active(own, at):
            continue
        standard = model.get_prices(at, when)
        if not vars(standard) and model.id.endswith(":free"):
            standard = ModelPrice(**dict.fromkeys(_GENAI_KEYS.values(), 0))
        if not vars(standard):
            continue  # listed without a price
        lists = {"": standard}
        if _active(batch, at):
            lists["batch_"] = model.get_prices(at, BATCH | (when or {}))
        prices = {
            f"{prefix}{bucket}": vars(p).get(key)  # a missing attribute would be slow to ask for
            for prefix, p in lists.items()
            for bucket, key in _GENAI_KEYS.items()
        }
        if known and start and start.isoformat() >= facts["known_from"]:
            prices |= known
        # A fee per request depends on the depth of the search, and only one of them is listed.
        fee = "requests_kcount" in vars(standard)
        common = {
            "valid_from": start or facts.get("launched_on"),
            "approximate": fee or facts.get("approximate") == "yes",
        }
        rows += [common | row for row in _by_step(prices)]
    common = {
        "model_id": entry.model_id,
        "provider": entry.provider,
        "platform": entry.platform,
        "region": entry.region or "",
        "service_tier": tier,
        "batch_assumed": False,
        "write_assumed": False,
        "launched_on": facts.get("launched_on"),
        "retires_on": facts.get("retires_on"),
        "context_window": model.context_window or facts.get("context_window"),
        "max_output_tokens": facts.get("max_output_tokens"),
    }
    rows = [common | {"checked_on": _checked_on(entry, row)} | row for row in rows]
    _assume(rows, entry, facts, tier)
    return rows


def _starts(model, variants, known_from):
    """Return the dates on which a rate of a model starts; None, the first, stands for all time before."""
    from genai_prices.types import ModelPrice, StartDateConstraint

    parts = [*([] if isinstance(model.prices, ModelPrice) else model.prices), *variants]
    limits = (part.constraint for part in parts)
    dated = {limit.start_date for limit in limits if isinstance(limit, StartDateConstraint)}
    if known_from is not None:
        dated.add(date.fromisoformat(known_from))
    return [None, *sorted(dated)]


def _active(variants, at):
    return any(v.constraint is None or v.constraint.active(at) for v in variants)


def _by_step(prices):
    """Return a row of rates for each context step of the prices of one day."""
    from genai_prices.types import TieredPrices

    tiered = [price for price in prices.values() if isinstance(price, TieredPrices)]
    return [
        {"context_above": step}
        | {name: rate_at(price, step) for name, price in prices.items() if price is not None}
        for step in [0, *sorted({tier.start for price in tiered for tier in price.tiers})]
    ]


def _assume(rows, entry, facts, tier):
    """Add the rates that genai-prices lacks and that follow from a rule or from the overlay."""
    if facts.get("batch_history") == "same_ratio" and tier == "standard":
        first = next(row for row in rows if "batch_output" in row)
        ratio = {b: first[f"batch_{b}"] / first[b] for b in BUCKETS if f"batch_{b}" in first}
        _assume_batch(rows, ratio)  # before the first verified batch rate
    for rule in premiums():
        here = rule.batch and rule.platform == entry.platform
        if here and re.fullmatch(rule.model, entry.model_id):
            _assume_batch(rows, dict.fromkeys(BUCKETS, rule.factor))
    if facts.get("cache_write") == "as_input":
        _assume_writes(rows)
    if entry.platform not in PROVIDERS or not any("cache_read" in row for row in rows):
        _as_input(rows)


def _checked_on(entry, row):
    """Return the day of the last check of a rate: genai-prices' own, unless the rate was looked at since."""
    ours = _facts()["*"]["checked_on"]
    theirs = _checks().get((entry.platform, entry.model.id))
    if theirs is None or (entry.platform == entry.provider and entry.model.id in _facts()):
        return ours
    begun = row["valid_from"]
    return ours if begun and str(begun) > theirs else theirs


@lru_cache
def _checks():
    """Read data/price_checks.csv: the days on which genai-prices' maintainers last compared a price with its page."""
    table = pd.read_csv(DATA / "price_checks.csv", dtype=str)
    return table.set_index(["platform", "model"])["checked_on"].to_dict()


def rate_at(price, step):
    """Return a price of genai-prices above a context step as a number."""
    if not hasattr(price, "tiers"):
        return float(price)
    reached = [tier.price for tier in price.tiers if tier.start <= step]
    return float(reached[-1] if reached else price.base)


def _assume_batch(rows, ratio):
    """Set the batch rates that are missing to a share of the standard rates, bucket by bucket."""
    for row in rows:
        if "batch_uncached_input" not in row:
            row |= {f"batch_{b}": row[b] * ratio[b] for b in ratio if b in row}
            row["batch_assumed"] = True


def _assume_writes(rows):
    """Bill cache writes as plain input where caching is automatic and has no fee for writes."""
    for row in rows:
        for prefix in ("", "batch_"):
            fee = row.get(f"{prefix}uncached_input")
            for bucket in ("cache_write_short", "cache_write_long"):
                if fee is not None and f"{prefix}{bucket}" not in row:
                    row |= {f"{prefix}{bucket}": fee, "write_assumed": True}


def _as_input(rows):
    """Bill cached tokens for which a seller has no rate as plain input: the rule of genai-prices.

    A long write is an exception where short ones have a rate: the longer life costs more, and nobody says how much.
    """
    for row in rows:
        for prefix in ("", "batch_"):
            if (fee := row.get(f"{prefix}uncached_input")) is not None:
                row.setdefault(f"{prefix}cache_read", fee)
                if f"{prefix}cache_write_short" not in row:
                    row[f"{prefix}cache_write_short"] = fee
                    row.setdefault(f"{prefix}cache_write_long", fee)
