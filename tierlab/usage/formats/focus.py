"""FOCUS rows (FinOps Open Cost and Usage Specification): a row per charge, token quantities where the unit says so."""

import numpy as np
import pandas as pd

from tierlab.usage.formats.google import bill_columns, bucket_in, model_in
from tierlab.usage.reader import Reader, loaded

_IDENTITY = (
    *(
        "ChargePeriodStart",
        "ChargePeriodEnd",
        "ServiceProviderName",
        "ProviderName",
        "SkuId",
        "SkuPriceId",
        "SkuMeter",
    ),
    *(
        "ChargeDescription",
        "ChargeCategory",
        "SubAccountId",
        "RegionId",
        "ResourceId",
        "PricingCategory",
        "Tags",
    ),
)


def _columns(sheet):
    category = pd.Series(sheet.text("ServiceCategory"), dtype=object)
    other = category.notna() & ~category.astype("str").str.lower().str.contains(
        r"\bai\b|machine learning|generative"
    )
    sheet.refuse(other, "a service that serves no models", "ServiceCategory")
    sheet.refuse(sheet.empty("BilledCost"), "no BilledCost")
    money = sheet.numbers("BilledCost")
    words = {
        name: pd.Series(sheet.text(name), dtype=object).fillna("").astype("str")
        for name in ("SkuId", "SkuMeter")
    }
    line = (
        pd.Series(sheet.text("ChargeDescription", "SkuMeter"), dtype=object)
        .fillna("")
        .astype("str")
    )
    codes, texts = pd.factorize(words["SkuId"] + "\x1f" + line + "\x1f" + words["SkuMeter"])
    model = np.array(
        [
            *(next((m for part in t.split("\x1f") if (m := model_in(part))), None) for t in texts),
            None,
        ],
        object,
    )
    kinds = [
        next((b for part in reversed(t.split("\x1f")) if (b := bucket_in(part))), None)
        for t in texts
    ]
    model, bucket = model[codes], np.array([*kinds, None], object)[codes]
    units = pd.Series(sheet.text("ConsumedUnit"), dtype=object).fillna("").astype("str").str.lower()
    usage = (
        pd.Series(sheet.text("ChargeCategory"), dtype=object)
        .fillna("Usage")
        .eq("Usage")
        .to_numpy(bool)
    )
    tokens = (
        units.isin(("token", "tokens")).to_numpy(bool) & usage & ~pd.isna(model) & ~pd.isna(bucket)
    )
    provider = pd.Series(
        sheet.text("ServiceProviderName", "ProviderName"), dtype=object
    ).str.lower()
    tags = sheet.cells("Tags").map(loaded)
    for name in ("team", "task"):
        sheet.raw[f"tag_{name}"] = [tag.get(name) for tag in tags]
    return bill_columns(sheet, tokens, bucket, "ConsumedQuantity", money, "BillingCurrency") | {
        "at": sheet.times("ChargePeriodStart", zone="UTC"),
        "model_id": model,
        "team": sheet.text("tag_team", "SubAccountId"),
        "task": sheet.text("tag_task"),
        "region": sheet.text("RegionId"),
        "batch": (line + " " + words["SkuMeter"])
        .str.lower()
        .str.contains(r"\bbatch\b")
        .to_numpy(bool),
        "provider": provider.to_numpy(object),
        "line": line.to_numpy(object),
        "key": sheet.identity("focus", *_IDENTITY),
    }


READERS = (
    Reader(
        "focus", (("BilledCost", "ChargePeriodStart", "BillingCurrency"),), _columns, kind="usage"
    ),
)
