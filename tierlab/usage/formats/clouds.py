"""Bills of clouds: rows of AWS's Cost and Usage Report (both versions) and of Azure's cost exports.

A row is a day or an hour of one meter; its text names the model, the direction and the tier. A quantity is in blocks
of tokens in some rows and in tokens in others, so that tokens are the money divided by the rate of a block.
"""

import re

import numpy as np
import pandas as pd

from tierlab.prices.names import resolved
from tierlab.usage.formats.google import bill_columns, bucket_in
from tierlab.usage.reader import TOKENS, Reader, picked
from tierlab.usage.sheet import mapped

_BLOCK = re.compile(r"\s*([\d,.]*)\s*([km]?)\s*(?:tokens?|units?)?\s*", re.IGNORECASE)
_SIZES = {"": 1.0, "k": 1e3, "m": 1e6}
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[a-z])(?=\d)")
_US_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")
_OTHER_TOKENS = re.compile(
    r"\b(?:aud|audio|img|image|txt|text|rt|realtime|embed\w*|hstng|hosting)\b"
)
_CACHED, _WRITTEN = {"cached", "cchd", "ccchd", "cd", "cache"}, {"wr", "write"}
_OUT, _IN = {"outp", "outpt", "opt", "out", "output"}, {"inp", "inpt", "in", "input"}

_aws_rows = picked(
    {
        "line_type": ("line_item_line_item_type", "lineItem/LineItemType"),
        "product": ("line_item_product_code", "lineItem/ProductCode"),
        "product_name": ("product_product_name", "product/ProductName"),
        "usage_type": ("line_item_usage_type", "lineItem/UsageType"),
        "description": ("line_item_line_item_description", "lineItem/LineItemDescription"),
        "at": ("line_item_usage_start_date", "lineItem/UsageStartDate"),
        "amount": ("line_item_usage_amount", "lineItem/UsageAmount"),
        "unit": ("pricing_unit", "pricing/unit"),
        "rate": ("line_item_unblended_rate", "lineItem/UnblendedRate"),
        "cost": ("line_item_unblended_cost", "lineItem/UnblendedCost"),
        "currency": ("line_item_currency_code", "lineItem/CurrencyCode"),
        "team": ("line_item_usage_account_id", "lineItem/UsageAccountId"),
        "id": ("identity_line_item_id", "identity/LineItemId"),
        "interval": ("identity_time_interval", "identity/TimeInterval"),
        "principal": ("line_item_iam_principal", "lineItem/IamPrincipal"),
    },
    usage=(TOKENS,),
)


def _aws(sheet):
    usage, product = sheet.words("usage_type"), sheet.words("product_name")
    about = sheet.words("product") + " " + product + " " + sheet.words("description")
    ours = about.str.contains("bedrock|claude") | usage.str.contains("-tokens|token-?count")
    sheet.refuse(~ours, "a service that serves no models", "product")
    text = pd.Series(sheet.text("usage_type"), dtype=object).fillna("")
    bucket = np.where(usage.str.contains("token"), mapped(text.to_numpy(object), _aws_bucket), None)
    spaced = text.map(lambda name: _CAMEL.sub("-", name))
    found = _bill(sheet, bucket, list(zip(text, product, spaced, strict=True)))
    routed = np.where(usage.str.contains("global"), "global", "regional")
    tier = usage.str.extract("(flex|priority)", expand=False).to_numpy(object)
    return found | {
        "platform": "bedrock",
        "region": np.where(pd.isna(found["region"]), routed, found["region"]),
        "service_tier": np.where(pd.isna(found["service_tier"]), tier, found["service_tier"]),
        "context_above": np.where(usage.str.contains("long-context|long-ctx"), 200_000.0, np.nan),
        "line": text.to_numpy(object),
        "key": sheet.identity("aws", "id", "interval", "usage_type", "line_type"),
    }


def _aws_bucket(usage_type):
    """The token bucket of a usage type, which may be written in one word ("CacheWrite1hInputTokenCount")."""
    return bucket_in(_CAMEL.sub(" ", usage_type).replace("12h", "1h"))


_azure_rows = picked(
    {
        "line_type": ("ChargeType", "chargeType"),
        "product": ("MeterCategory", "meterCategory"),
        "meter": ("MeterName", "meterName", "Meter"),
        "date": ("Date", "date", "UsageDate"),
        "amount": ("Quantity", "quantity", "UsageQuantity"),
        "unit": ("UnitOfMeasure", "unitOfMeasure"),
        "rate": ("EffectivePrice", "effectivePrice"),
        "cost": ("CostInBillingCurrency", "costInBillingCurrency", "Cost", "cost", "PreTaxCost"),
        "currency": ("BillingCurrency", "billingCurrency", "BillingCurrencyCode", "Currency"),
        "team": ("ResourceGroup", "resourceGroupName", "SubscriptionName"),
        "resource": ("ResourceId", "resourceId", "InstanceId"),
        "location": ("ResourceLocation", "resourceLocation"),
        "meter_id": ("MeterId", "meterId"),
    },
    usage=(TOKENS,),
)


def _azure(sheet):
    category = sheet.words("product")
    ours = category.str.contains(r"cognitive|foundry|openai|\bai\b|machine learning")
    sheet.refuse(~ours & (category != ""), "a service that serves no models", "product")
    sheet.raw["at"] = _days(sheet)
    meter = pd.Series(sheet.text("meter"), dtype=object).fillna("")
    bucket = mapped(meter.to_numpy(object), _meter_bucket)
    sheet.assume(
        meter.str.contains(r"5\.6 sol.*\binp?t?\b(?! cd)", case=False)
        & (bucket == "uncached_input"),
        "Azure's input meter of GPT-5.6 Sol counts cached and written tokens again",
    )
    long, short = (meter.str.contains(word, case=False) for word in ("longco", "shortco"))
    return _bill(sheet, bucket, [(name,) for name in meter]) | {
        "platform": "azure",
        "context_above": np.where(long, 272_000.0, np.where(short, 0.0, np.nan)),
        "line": meter.to_numpy(object),
        # Rows of an export have no id, and the same row twice is two charges.
        "key": np.zeros(len(sheet), np.uint64),
    }


def _meter_bucket(meter):
    """The token bucket that Azure's meter speaks of; None for what is not a text token."""
    words = set(re.sub(r"batch(?=[io])", "batch ", meter.lower()).split())
    if _OTHER_TOKENS.search(meter.lower()) and not words & {"txt", "text"}:
        return None
    if words & _CACHED:
        return "cache_write_short" if words & _WRITTEN else "cache_read"
    return "output" if words & _OUT else "uncached_input" if words & _IN else None


def _bill(sheet, bucket, named):
    """The columns of a bill's rows, by the bucket of each and the texts that may name its model.

    A row of tokens whose model no text names has its first text for a model, which has no price.
    """
    found = [_named(texts) for texts in named]
    model = np.array([each.model_id or texts[0] for each, texts in zip(found, named, strict=True)])
    sizes = pd.Series(mapped(sheet.words("unit").to_numpy(object), _size)).astype(float)
    rate, cost = sheet.numbers("rate"), sheet.numbers("cost")
    used = sheet.words("line_type").isin(
        ("usage", "discountedusage", "savingsplancoveredusage", "")
    )
    tokens = ~pd.isna(bucket) & sizes.notna().to_numpy(bool) & used.to_numpy(bool)
    blocks = np.where(rate > 0, cost / rate, sheet.numbers("amount"))
    sheet.raw["tokens"] = np.round(blocks * sizes)
    return bill_columns(sheet, tokens, bucket, "tokens", cost, "currency") | {
        "at": sheet.times("at", zone="UTC"),
        "model_id": np.where(tokens, model, None),
        "region": np.array([each.region for each in found], object),
        "service_tier": np.array([each.service_tier for each in found], object),
        "batch": np.array(["batch" in texts[0].lower() for texts in named], bool),
        "team": sheet.text("team"),
    }


def _named(texts):
    """What the first text that names a model says; of what names none, the first."""
    found = [resolved(text) for text in texts]
    return next((each for each in found if each.model_id), found[0])


def _size(unit):
    """Tokens in a unit of measure ("1K tokens", "1M"); None where it is none."""
    found = _BLOCK.fullmatch(unit)
    return found and float(found[1].replace(",", "") or 1) * _SIZES[found[2].lower()]


def _days(sheet):
    """Days as ISO writes them. Azure's exports write the month first, or the day, as the region of their account does.

    A number above 12 says for all rows which of the two is the day; where there is none, that is told.
    """
    days = sheet.cells("date")
    parts = days.astype("str").str.extract(_US_DATE)
    first, second = parts[0].astype(float), parts[1].astype(float)
    day_first = (first > 12) | ((first > 12).any() and not (second > 12).any())
    told = (first > 12).any() != (second > 12).any()
    sheet.assume(first.notna() & (not told), "days that may be months, taken as month/day/year")
    month, day = parts[0].mask(day_first, parts[1]), parts[1].mask(day_first, parts[0])
    written = parts[2] + "-" + month.str.zfill(2) + "-" + day.str.zfill(2)
    return days.where(first.isna(), written)


READERS = (
    Reader(
        "aws_cur",
        (
            ("line_item_usage_type", "line_item_usage_amount", "line_item_unblended_cost"),
            ("lineItem/UsageType", "lineItem/UsageAmount", "lineItem/UnblendedCost"),
        ),
        _aws,
        _aws_rows,
        provider="amazon",
        kind="usage",
    ),
    Reader(
        "azure_costs",
        (
            ("MeterName", "MeterCategory", "Quantity"),
            ("meterName", "meterCategory", "quantity"),
            ("Meter", "UsageQuantity", "PreTaxCost"),
        ),
        _azure,
        _azure_rows,
        provider="azure",
        kind="usage",
    ),
)
