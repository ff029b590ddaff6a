"""FOCUS (FinOps Open Cost and Usage Specification), up to 1.4: rows of charges are read, and priced tables written.

The specification has no columns for tokens: the direction is in the meter of a SKU, the model in its id or in the
description. The service tier and the batch flag have no place but the details of a price.
"""

import json

import numpy as np
import pandas as pd

from tierlab.core.tables import TOKEN_COLUMNS, refuse
from tierlab.prices.names import listed, resolved
from tierlab.usage.columns import platforms, tiers
from tierlab.usage.formats.clouds import bill_columns, bucket_in, model_in
from tierlab.usage.reader import Reader, loaded
from tierlab.usage.sheet import mapped

_OTHER_COSTS = (
    "ListCost",
    "ContractedCost",
    "EffectiveCost",
    "PricingQuantity",
    "ListUnitPrice",
    "ContractedUnitPrice",
    "PricingCurrencyListUnitPrice",
    "PricingCurrencyEffectiveCost",
)
_BLOCKS = "tokens in a unit that may be a block of them: kept as dollars alone"
_IDENTITY = (
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ServiceProviderName",
    "ProviderName",
    "SkuId",
    "SkuPriceId",
    "SkuMeter",
    "ChargeDescription",
    "ChargeCategory",
    "InvoiceId",
    "SubAccountId",
    "RegionId",
    "ResourceId",
    "PricingCategory",
    "Tags",
)


def _columns(sheet):
    category = sheet.words("ServiceCategory")
    models = category.str.contains(r"\bai\b|machine learning|generative")
    sheet.refuse((category != "") & ~models, "a service that serves no models", "ServiceCategory")
    sheet.refuse(sheet.empty("BilledCost"), "no BilledCost")
    line = pd.Series(sheet.text("ChargeDescription", "SkuMeter"), dtype=object).fillna("")
    # The first of these texts that names a model counts, and the last that names a bucket.
    texts = sheet.words("SkuId") + "\x1f" + line + "\x1f" + sheet.words("SkuMeter")
    model = mapped(texts, lambda text: _first(_model, text.split("\x1f")))
    bucket = mapped(texts, lambda text: _first(bucket_in, text.split("\x1f")[::-1]))
    consumed = sheet.words("ConsumedUnit")
    used = sheet.words("ChargeCategory").isin(("usage", ""))
    counted = used & consumed.isin(("token", "tokens"))
    sheet.assume(used & ~counted & consumed.str.contains("token"), _BLOCKS)
    tokens = counted.to_numpy(bool) & ~pd.isna(model) & ~pd.isna(bucket)
    tags = sheet.cells("Tags").map(loaded)
    details = sheet.cells("SkuPriceDetails").map(loaded)
    for name in ("team", "task"):
        sheet.raw[f"tag_{name}"] = [tag.get(name) for tag in tags]
    for name in ("x_ServiceTier", "x_Batch", "x_Unit"):
        sheet.raw[name] = [detail.get(name) for detail in details]
    unit = np.where(pd.isna(model), None, sheet.text("x_Unit"))
    units = ~pd.isna(unit)
    tokens &= ~units
    tier = tiers(sheet, "x_Batch", "x_ServiceTier")
    money = sheet.numbers("BilledCost")
    found = bill_columns(sheet, tokens, bucket, "ConsumedQuantity", money, "BillingCurrency")
    sheet.money_only &= ~units
    quantity = np.where(units, sheet.numbers("ConsumedQuantity"), np.nan)
    of_tokens = units & pd.Series(unit, dtype=object).fillna("").str.endswith("_tokens").to_numpy(
        bool
    )
    return found | {
        "unit": unit,
        "quantity": quantity,
        "billed_usd": np.where(units, found["usd"], found["billed_usd"]),
        "usd": np.where(units, np.nan, found["usd"]),
        "own_tokens": np.where(of_tokens, quantity, found["own_tokens"]),
        "at": sheet.times("ChargePeriodStart", zone="UTC"),
        "model_id": sheet.resolved(model),
        "team": sheet.text("tag_team", "SubAccountId"),
        "task": sheet.text("tag_task"),
        "platform": platforms(sheet, "HostProviderName"),
        "region": sheet.text("RegionId"),
        "service_tier": tier["service_tier"],
        "batch": tier["batch"] | texts.str.lower().str.contains(r"\bbatch\b").to_numpy(bool),
        "provider": sheet.words("ServiceProviderName", "ProviderName").to_numpy(object),
        "line": line.to_numpy(object),
        "key": sheet.identity("focus", *_IDENTITY),
    }


def _model(text):
    """Return the model that a text names; a text that is an id stays whole, as it may say where it was bought."""
    return text if " " not in text and resolved(text).model_id else model_in(text)


def _first(function, texts):
    return next((found for text in texts if (found := function(text))), None)


READERS = (
    Reader(
        "focus",
        (("BilledCost", "ChargePeriodStart", "BillingCurrency"),),
        _columns,
        kind="usage",
        idle=_OTHER_COSTS,
    ),
)

# Bucket -> its meter, in words that the reader above understands.
_METERS = {
    "uncached_input_tokens": "Input Tokens",
    "cache_read_tokens": "Cached Input Tokens",
    "cache_write_short_tokens": "Cache Write Tokens",
    "cache_write_long_tokens": "Cache Write 1h Tokens",
    "output_tokens": "Output Tokens",
}
_COSTS = ("ListCost", "ContractedCost", "EffectiveCost", "BilledCost")
_ONE = {"day", "model_id", "platform", "region", "service_tier", "batch", "team", "task"}
# How a price is divided in a row with cache writes of both times to live: Anthropic charges twice the input rate for
# the longer one and 1.25 times for the shorter.
_LONG_WRITE = 2 / 1.25


def to_focus(priced: pd.DataFrame) -> pd.DataFrame:
    """Return a priced requests table as FOCUS 1.4, summed by day, model, platform, region, tier, team and task.

    Each token bucket has a row, and so has each other unit (searches, audio, ...) and the fees per request.

    Parameters
    ----------
    priced : DataFrame
        A requests table with `at`, joined with the result of `tierlab.price` (USD): the costs of the buckets and
        `list_usd` (or `cost_usd`). If `contracted_usd` is missing, it is the list cost; if `effective_usd` is, it is
        the contracted cost. BilledCost is `billed_usd` or, if that is missing, the effective cost.

    Returns
    -------
    DataFrame
        The columns of FOCUS. If `tierlab.read_usage` reads them, tokens, units and dollars are the same; fees are
        dollars without tokens.

    Raises
    ------
    ValueError
        If a row has no time or no cost.

    Examples
    --------
    >>> import tierlab as tl
    >>> log = pd.DataFrame({"at": pd.to_datetime(["2026-09-01"]), "model_id": ["gpt-5.5"],
    ...                     "uncached_input_tokens": [1000], "output_tokens": [100]})
    >>> rows = to_focus(log.join(tl.price(log, tl.load_prices())))
    >>> rows[["SkuId", "SkuMeter", "ConsumedQuantity", "ListCost"]].values.tolist()
    [['gpt-5.5', 'Input Tokens', 1000, 0.005], ['gpt-5.5', 'Output Tokens', 100, 0.003]]
    """
    table = priced.reindex(
        columns=priced.columns.union(
            [*_ONE - {"day"}, *TOKEN_COLUMNS, "unit", "quantity", "requests"], sort=False
        )
    )
    listed_usd = "list_usd" if "list_usd" in table else "cost_usd"
    costs = [table[listed_usd]]
    for name in ("contracted_usd", "effective_usd", "billed_usd"):
        costs.append(table[name].fillna(costs[-1]) if name in table else costs[-1])
    refuse(table, "at", table["at"].isna(), "no time")
    refuse(table, listed_usd, costs[0].isna(), "no cost: price the table first")
    table[list(TOKEN_COLUMNS)] = table[list(TOKEN_COLUMNS)].fillna(0)
    weight = table["cache_write_short_tokens"] + _LONG_WRITE * table["cache_write_long_tokens"]
    usd = {name: table.get(name.replace("_tokens", "_usd"), 0.0) for name in TOKEN_COLUMNS}
    for name, size in (("cache_write_short_tokens", 1.0), ("cache_write_long_tokens", _LONG_WRITE)):
        usd[name] = (table[name] * size / weight.where(weight > 0)).fillna(0) * table[
            "cache_write_usd"
        ]
    tokens = table[list(TOKEN_COLUMNS)].sum(axis=1)
    about = table[list(_ONE - {"day"})].assign(day=table["at"].dt.floor("D"))
    about["batch"] = about["batch"].eq(True)
    parts = []
    for name, meter in _METERS.items():
        # Where the list cost is zero, the other costs are divided by tokens.
        share = (usd[name] / costs[0].where(costs[0] > 0)).fillna(table[name] / tokens)
        part = about.assign(SkuMeter=meter, unit="Tokens", ConsumedQuantity=table[name])
        part[list(_COSTS)] = np.array([cost * share for cost in costs]).T
        parts.append(part[table[name] > 0])
    other = table.get("other_usd", pd.Series(0.0, table.index)).fillna(0)
    share = (other / costs[0].where(costs[0] > 0)).fillna((tokens == 0).astype(float))
    unit = table["unit"].astype(object).where(table["unit"].notna(), "Requests")
    quantity = table["quantity"].where(table["unit"].notna(), table["requests"].fillna(1))
    part = about.assign(SkuMeter=unit, unit=unit, ConsumedQuantity=quantity)
    part[list(_COSTS)] = np.array([cost * share for cost in costs]).T
    parts.append(part[table["unit"].notna() | (part[list(_COSTS)] != 0).any(axis=1)])
    keys = [*sorted(_ONE), "SkuMeter", "unit"]
    rows = pd.concat(parts).groupby(keys, dropna=False, sort=True).sum().reset_index()
    return _focus_columns(rows)


def _focus_columns(rows):
    """Return the rows of `to_focus` under the names of the specification."""
    month = rows["day"].dt.to_period("M")
    makers = {row.model_id: row.provider for row in reversed(listed())}
    maker = rows["model_id"].map(makers).fillna("unknown")
    batch = np.where(rows["batch"], "true", "false")
    words = rows[["service_tier", "team", "task"]].astype(object)
    words = words.where(words.notna(), None)
    tokens = rows["unit"].eq("Tokens")
    sizes = rows["ConsumedQuantity"]
    details = [
        {"x_ServiceTier": tier, "x_Batch": flag}
        | ({} if unit in ("Tokens", "Requests") else {"x_Unit": unit})
        for tier, flag, unit in zip(words["service_tier"], batch, rows["unit"], strict=True)
    ]
    host = rows["platform"].astype(object).fillna(maker)
    period = {
        "BillingPeriodStart": month.dt.start_time,
        "BillingPeriodEnd": (month + 1).dt.start_time,
    }
    period |= {
        "ChargePeriodStart": rows["day"],
        "ChargePeriodEnd": rows["day"] + pd.Timedelta(days=1),
    }
    period = {name: times.dt.strftime("%Y-%m-%dT%H:%M:%SZ") for name, times in period.items()}
    return pd.DataFrame(
        {
            "BillingAccountId": "tierlab",
            **period,
            "ChargeCategory": "Usage",
            "ChargeDescription": rows["model_id"] + " " + rows["SkuMeter"].str.lower(),
            "ChargeFrequency": "Usage-Based",
            **{name: rows[name] for name in _COSTS},
            "BillingCurrency": "USD",
            "ConsumedQuantity": sizes if (sizes % 1).any() else sizes.astype("int64"),
            "ConsumedUnit": rows["unit"],
            "PricingQuantity": (sizes / 1e6).where(tokens, sizes),
            "PricingUnit": rows["unit"].where(~tokens, "1000000 Tokens"),
            "PricingCategory": "Standard",
            "ServiceProviderName": host,
            "HostProviderName": host,
            "InvoiceIssuerName": host,
            "RegionId": rows["region"],
            "ServiceCategory": "AI and Machine Learning",
            "ServiceName": "Model inference",
            "SkuId": rows["model_id"],
            "SkuMeter": rows["SkuMeter"],
            "SkuPriceDetails": [json.dumps(detail) for detail in details],
            "Tags": [
                json.dumps({"team": team, "task": task})
                for team, task in zip(words["team"], words["task"], strict=True)
            ],
        }
    )
