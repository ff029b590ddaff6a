"""FOCUS rows (FinOps Open Cost and Usage Specification): a row per charge, token quantities where the unit says so."""

import pandas as pd

from tierlab.usage.formats.google import bill_columns, bucket_in, model_in
from tierlab.usage.reader import Reader, loaded
from tierlab.usage.sheet import mapped

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
    # The model stands in the first of these texts that names one, the bucket in the last.
    texts = sheet.words("SkuId") + "\x1f" + line + "\x1f" + sheet.words("SkuMeter")
    model = mapped(texts, lambda text: _first(model_in, text.split("\x1f")))
    bucket = mapped(texts, lambda text: _first(bucket_in, text.split("\x1f")[::-1]))
    counted = sheet.words("ConsumedUnit").isin(("token", "tokens"))
    counted &= sheet.words("ChargeCategory").isin(("usage", ""))
    tokens = counted.to_numpy(bool) & ~pd.isna(model) & ~pd.isna(bucket)
    tags = sheet.cells("Tags").map(loaded)
    for name in ("team", "task"):
        sheet.raw[f"tag_{name}"] = [tag.get(name) for tag in tags]
    money = sheet.numbers("BilledCost")
    return bill_columns(sheet, tokens, bucket, "ConsumedQuantity", money, "BillingCurrency") | {
        "at": sheet.times("ChargePeriodStart", zone="UTC"),
        "model_id": sheet.resolved(model),
        "team": sheet.text("tag_team", "SubAccountId"),
        "task": sheet.text("tag_task"),
        "region": sheet.text("RegionId"),
        "batch": texts.str.lower().str.contains(r"\bbatch\b").to_numpy(bool),
        "provider": sheet.words("ServiceProviderName", "ProviderName").to_numpy(object),
        "line": line.to_numpy(object),
        "key": sheet.identity("focus", *_IDENTITY),
    }


def _first(function, texts):
    return next((found for text in texts if (found := function(text))), None)


READERS = (
    Reader(
        "focus", (("BilledCost", "ChargePeriodStart", "BillingCurrency"),), _columns, kind="usage"
    ),
)
